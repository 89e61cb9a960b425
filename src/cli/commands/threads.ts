/** The command about threads: which there are in the space, and ending one. */
import { InvalidArgumentError, type Command } from 'commander';
import { supervisors } from '../../services/threads/supervise.ts';
import { threads } from '../../services/threads/spawn.ts';
import type { Space } from '../../space.ts';
import type { Thread } from '../../services/threads/thread.ts';
import { UsageError } from '../failure.ts';
import { out, plural, printable, table, type Colour } from '../output.ts';
import { common, withSpace, type Common } from '../space.ts';

export function addThreadCommands(program: Command): void {
  common(program.command('threads').description('threads that programs spawned in the space, and their supervisors'))
    .option('-a, --all', 'show those that have ended, too')
    .option('--stop <number>', 'ask a thread to come to its end, kill it where it does not, and wait for it', numeral)
    .option('--kill <number>', 'end a thread, whatever it does, and wait for it', numeral)
    .action((options: ThreadFlags) => withSpace(options, (space) => act(space, options)));
}

interface ThreadFlags extends Common {
  readonly all?: boolean;
  readonly stop?: number;
  readonly kill?: number;
}

function numeral(text: string): number {
  const n = Number(text);
  if (!(Number.isInteger(n) && n > 0)) throw new InvalidArgumentError('expected the number of a thread.');
  return n;
}

async function act(space: Space, options: ThreadFlags): Promise<void> {
  if (options.stop !== undefined && options.kill !== undefined) throw new UsageError('either --stop or --kill');
  const number = options.stop ?? options.kill;
  if (number === undefined) {
    list(space, options);
    return;
  }
  const thread = threads(space).find((each) => each.number === number);
  if (thread === undefined) throw new UsageError(`there is no thread ${number}`);
  if (options.kill !== undefined) thread.kill();
  const { reason, code } = await (options.stop === undefined ? thread.waitAsync() : thread.stop());
  if (options.json === true) out.json({ number, reason, code });
  else out.line(`${thread.as} ${number} (${printable(thread.name)}) ${reason}, with ${code}`);
}

const COLOURS: Readonly<Record<Thread['status'], Colour>> = { running: 'green', sleeping: 'cyan', suspended: 'yellow', exited: 'dim' };

function list(space: Space, options: ThreadFlags): void {
  const found = threads(space).filter(({ status }) => options.all === true || status !== 'exited');
  const staff = supervisors(space).filter(({ lives }) => options.all === true || lives);
  if (options.json === true) {
    out.json({
      threads: found.map((thread) => {
        const { id, number, name, as, status, pid, started, ended, module, result } = thread;
        const end = result === undefined ? {} : { reason: result.reason, code: result.code, error: result.error?.message };
        return { id, number, name, as, status, pid, started, ended, module, ...end };
      }),
      supervisors: staff.map(({ state, lives }) => ({
        name: state.name,
        status: state.status,
        lives,
        pid: state.pid,
        strategy: state.strategy,
        restarts: state.restarts,
        children: [...state.children].map(({ name, policy, status, restarts, last, control }) => ({
          name,
          policy,
          status,
          restarts,
          last,
          control,
        })),
      })),
    });
    return;
  }
  if (found.length === 0) out.line(out.paint('dim', 'no threads'));
  else {
    const right = true;
    const columns = [
      { head: 'NR', right },
      { head: 'NAME' },
      { head: 'AS' },
      { head: 'STATUS' },
      { head: 'PID', right },
      { head: 'STARTED', right },
      { head: 'ENDED' },
    ];
    table(out, columns, found.map(row));
  }
  for (const { state, lives } of staff) {
    const children = [...state.children].map(
      ({ name, status, restarts }) => `${printable(name)} ${status}${restarts > 0 ? ` (${restarts})` : ''}`,
    );
    out.line();
    out.line(
      `supervisor ${out.paint('bold', printable(state.name))}: ${lives ? `process ${state.pid}` : state.status === 'runs' ? 'died' : state.status}, ${state.strategy}, ${plural(state.restarts, 'restart')}: ${children.join(', ')}`,
    );
  }
}

function row(thread: Thread): string[] {
  const { number, name, as, status, pid, started, result } = thread;
  const end = result === undefined ? '' : (result.error?.message ?? `${result.reason}, with ${result.code}`);
  return [
    String(number),
    printable(name),
    as,
    out.paint(COLOURS[status], status),
    String(pid),
    String(started),
    printable(end.slice(0, 100)),
  ];
}

/** Commands that look at a space while another process has it open: top, trace. */
import { InvalidArgumentError, type Command } from 'commander';
import { ActivityMeter, type Activity } from '../../services/activity.ts';
import { LogFollower, type Followed } from '../../services/follow.ts';
import { Labels } from '../../services/labels.ts';
import { UsageError } from '../failure.ts';
import { count, err, out, plural, printable, size, table } from '../output.ts';
import { common, spaceDirectory, theHost, type Common } from '../space.ts';
import { natural } from './space.ts';

export function addLiveCommands(program: Command): void {
  common(program.command('top').description('what another process does to the space now: transactions, log, hottest objects'))
    .option('-i, --interval <seconds>', 'time between two looks', seconds, 1)
    .option('-n, --count <n>', 'end after so many looks', natural)
    .option('--once', 'look once, for one interval')
    .option('--objects <n>', 'show so many of the hottest objects', natural)
    .action(top);
  common(
    program
      .command('trace [targets...]')
      .description('transactions as another process commits them; of all objects, or of these IDs or names'),
  )
    .option('-n, --count <n>', 'end after so many transactions', natural)
    .option('--all', 'begin with what the log has since the last checkpoint')
    .option('--once', 'print what the log has since the last checkpoint, and end')
    .option('-q, --quiet', 'only the objects, not their fields')
    .action(trace);
}

function seconds(text: string): number {
  const n = Number(text);
  if (!(n >= 0.05 && n <= 3600)) throw new InvalidArgumentError('expected a number of seconds from 0.05 to 3600.');
  return n;
}

/** Waits, or ends early when the user wants no more. */
class Waiter {
  stopped = false;
  #wake: (() => void) | undefined;
  readonly #onSignal = (): void => this.stop();
  readonly #onKey = (key: Buffer): void => {
    if (key.includes('q') || key[0] === 3) this.stop();
  };
  readonly #keys: boolean;

  constructor(keys: boolean) {
    this.#keys = keys && process.stdin.isTTY;
    process.once('SIGINT', this.#onSignal).once('SIGTERM', this.#onSignal);
    if (this.#keys) process.stdin.setRawMode(true).resume().on('data', this.#onKey);
  }

  stop(): void {
    this.stopped = true;
    this.#wake?.();
  }

  async wait(ms: number): Promise<void> {
    if (this.stopped) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  done(): void {
    process.off('SIGINT', this.#onSignal).off('SIGTERM', this.#onSignal);
    if (this.#keys) process.stdin.off('data', this.#onKey).setRawMode(false).pause();
  }
}

// --- top ----------------------------------------------------------------------------------------------------------------------

interface TopFlags extends Common {
  readonly interval: number;
  readonly count?: number;
  readonly once?: boolean;
  readonly objects?: number;
}

const ALTERNATE = '\x1b[?1049h\x1b[?25l';
const BACK = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const CLEAR_BELOW = '\x1b[J';

async function top(options: TopFlags): Promise<void> {
  const directory = spaceDirectory(options);
  const follower = new LogFollower(theHost(), directory);
  const labels = new Labels(theHost(), directory, follower.space);
  const meter = new ActivityMeter();
  learn(labels, follower.poll());
  const looks = options.once === true ? 1 : (options.count ?? Infinity);
  const screen = out.terminal && options.json !== true && looks > 1;
  const waiter = new Waiter(screen);
  const history: number[] = [];
  if (screen) out.write(ALTERNATE);
  try {
    let before = performance.now();
    for (let look = 0; look < looks; look++) {
      await waiter.wait(options.interval * 1000);
      if (waiter.stopped) break;
      const followed = follower.poll();
      learn(labels, followed);
      const now = performance.now();
      const most = options.objects ?? (screen ? Math.max(3, process.stdout.rows - 8) : 10);
      const activity = meter.interval(followed, now - before, most);
      before = now;
      history.push(activity.transactions);
      const named = {
        ...activity,
        hottest: activity.hottest.map((hot) => ({ ...hot, type: labels.type(hot.id), name: labels.name(hot.id) })),
      };
      const place = { end: follower.lsn, checkpoint: follower.checkpoint, missed: follower.missed };
      if (options.json === true) out.json({ ...named, log: place });
      else {
        if (screen) out.write(HOME);
        printTop(directory, named, place, history, screen);
        if (screen) out.write(CLEAR_BELOW);
      }
    }
  } finally {
    if (screen) out.write(BACK);
    waiter.done();
  }
}

/** Names and types follow from what is committed. */
function learn(labels: Labels, followed: readonly Followed[]): void {
  for (const { sections } of followed) for (const section of sections) labels.apply(section);
}

type Named = Omit<Activity, 'hottest'> & {
  readonly hottest: readonly (Activity['hottest'][number] & { readonly type: string | undefined; readonly name: string | undefined })[];
};

const BARS = '▁▂▃▄▅▆▇█';

function sparkline(values: readonly number[]): string {
  const most = Math.max(1, ...values);
  return values
    .map((value) => (value === 0 ? ' ' : (BARS[Math.min(BARS.length - 1, Math.floor((value / most) * BARS.length))] ?? ' ')))
    .join('');
}

const rate = (n: number): string => (n >= 10 ? count(Math.round(n)) : n.toFixed(1));

function printTop(
  directory: string,
  now: Named,
  log: { end: number; checkpoint: number; missed: number },
  history: readonly number[],
  screen: boolean,
): void {
  // On a screen each line replaces what stood there.
  const line = (text = ''): void => out.line(screen ? `${text}\x1b[K` : text.trimEnd());
  const strong = (text: string): string => out.paint('bold', text);
  line(`${strong('twz top')}  ${printable(directory)}  ${out.paint('dim', screen ? 'q ends' : '')}`);
  line(
    `transactions ${strong(`${rate(now.transactions)}/s`)}  log ${strong(`${size(now.bytes)}/s`)}  created ${rate(now.created)}/s  removed ${rate(now.removed)}/s  ${out.paint('cyan', sparkline(history.slice(-30)))}`,
  );
  line(
    out.paint(
      'dim',
      `${plural(now.objects, 'object')} changed lately, ${size(now.objectBytes)}; log ${size(Math.max(0, log.end - log.checkpoint))} since the checkpoint; seen ${count(now.total.transactions)} transactions, ${size(now.total.bytes)}${log.missed > 0 ? `; missed ${size(log.missed)}` : ''}`,
    ),
  );
  line();
  if (now.hottest.length === 0) {
    line(out.paint('dim', 'nothing is being committed'));
    return;
  }
  const right = true;
  const rows = now.hottest.map(({ id, transactions, bytes, version, size: length, type, name }) => [
    rate(transactions),
    size(Math.round(bytes)),
    count(version),
    size(length),
    id.slice(0, 12),
    printable(type ?? ''),
    printable(name ?? ''),
  ]);
  const columns = [
    { head: 'TX/S', right },
    { head: 'BYTES/S', right },
    { head: 'VERSION', right },
    { head: 'SIZE', right },
    { head: 'OBJECT' },
    { head: 'TYPE' },
    { head: 'NAME' },
  ];
  if (screen) out.write(CLEAR_BELOW);
  table(out, columns, rows);
}

// --- trace --------------------------------------------------------------------------------------------------------------------

interface TraceFlags extends Common {
  readonly count?: number;
  readonly all?: boolean;
  readonly once?: boolean;
  readonly quiet?: boolean;
}

const POLL_MS = 100;
/** Bytes of log to take at once: more would be long without a line. */
const TAKE = 4 << 20;

async function trace(targets: readonly string[], options: TraceFlags): Promise<void> {
  for (const target of targets)
    if (!target.startsWith('/') && !/^[0-9a-f]{4,32}$/i.test(target))
      throw new UsageError(`"${target}" is neither a path (/…) nor an object ID nor the first four or more digits of one`);
  const directory = spaceDirectory(options);
  const follower = new LogFollower(theHost(), directory);
  const tracer = new Tracer(new Labels(theHost(), directory, follower.space), targets, options);
  const waiter = new Waiter(false);
  try {
    if (options.all !== true && options.once !== true) tracer.skip(follower.poll());
    while (!waiter.stopped) {
      const followed = follower.poll(TAKE);
      for (const each of followed) {
        tracer.show(each);
        if (tracer.printed >= (options.count ?? Infinity)) return;
      }
      if (followed.length > 0) continue;
      if (options.once === true) break;
      await waiter.wait(POLL_MS);
    }
  } finally {
    if (follower.missed > 0) err.line(err.paint('yellow', `missed ${size(follower.missed)} of log: the program was faster`));
    waiter.done();
  }
}

class Tracer {
  readonly #labels: Labels;
  readonly #targets: readonly string[];
  readonly #options: TraceFlags;
  printed = 0;

  constructor(labels: Labels, targets: readonly string[], options: TraceFlags) {
    this.#labels = labels;
    this.#targets = targets.map((target) => (target.startsWith('/') ? target : target.toLowerCase()));
    this.#options = options;
  }

  skip(followed: readonly Followed[]): void {
    for (const { sections } of followed) for (const section of sections) this.#labels.apply(section, this.#options.quiet !== true);
  }

  show({ lsn, bytes, sections }: Followed): void {
    const objects = sections.map((section) => {
      // Names as they are before: a removal takes them away.
      const before = { name: this.#labels.name(section.id), type: this.#labels.type(section.id) };
      const fields = this.#labels.apply(section, this.#options.quiet !== true);
      const { id, operation, size: length, version, lines } = section;
      return { id, operation, version, size: length, lines, fields, ...before };
    });
    const wanted = objects
      .map((object) => ({
        ...object,
        name: object.name ?? this.#labels.name(object.id),
        type: object.type ?? this.#labels.type(object.id),
      }))
      .filter(
        ({ id, name }) =>
          this.#targets.length === 0 || this.#targets.some((target) => (target.startsWith('/') ? name === target : id.startsWith(target))),
      );
    if (wanted.length === 0) return;
    this.printed++;
    if (this.#options.json === true) {
      out.json({ lsn, bytes, objects: wanted });
      return;
    }
    out.line(`${out.paint('bold', String(lsn))}  ${size(bytes)}  ${plural(objects.length, 'object')}`);
    const colours = { create: 'green', adopt: 'green', change: 'cyan', remove: 'red' } as const;
    for (const { id, operation, version, lines, fields, name, type } of wanted) {
      const what =
        fields.length === 0
          ? plural(lines, 'line')
          : fields.map((field) => printable(field.length > 60 ? `${field.slice(0, 59)}…` : field)).join(', ');
      out.line(
        `  ${out.paint(colours[operation], operation)}  ${printable(name ?? id.slice(0, 12))}  ${out.paint('magenta', type ?? 'untyped')}  ${out.paint('dim', `version ${version}`)}  ${operation === 'remove' ? '' : what}`.trimEnd(),
      );
    }
  }
}

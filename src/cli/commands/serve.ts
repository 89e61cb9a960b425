/** `twz serve --local`: other users of this machine get at the space, as far as they have the right. */
import { InvalidArgumentError, type Command } from 'commander';
import { RIGHT } from '../../abi/format.ts';
import { serve } from '../../services/serve/serve.ts';
import { out, printable } from '../output.ts';
import { UsageError } from '../failure.ts';
import { common, withSpace, type Common } from '../space.ts';

export function addServeCommand(program: Command): void {
  common(program.command('serve').description('serve the space to other users of this machine, until it is stopped'))
    .option('--local', 'at a local socket; the directory is closed to other users')
    .option('--socket <path>', "path of the socket (default: the space's directory with .sock behind it)")
    .option('--others <rights>', "what of objects' default rights other users have: none, read, write", rights, 0)
    .action(run);
}

interface ServeFlags extends Common {
  readonly local?: boolean;
  readonly socket?: string;
  readonly others: number;
}

const RIGHTS: Readonly<Record<string, number>> = { none: 0, read: RIGHT.read, write: RIGHT.read | RIGHT.write };

function rights(text: string): number {
  const bits = RIGHTS[text];
  if (bits === undefined) throw new InvalidArgumentError('expected none, read or write.');
  return bits;
}

async function run(options: ServeFlags): Promise<void> {
  if (options.local !== true) throw new UsageError('say --local: other machines are not served');
  await withSpace(options, async (space) => {
    const { socket, others } = options;
    // Before it can be asked to stop.
    const stopped = new Promise<void>((resolve) => {
      process.once('SIGINT', resolve).once('SIGTERM', resolve);
    });
    const serving = await serve(space, { others, ...(socket === undefined ? {} : { socket }) });
    if (options.json === true) out.json({ directory: space.directory, socket: serving.socket, pid: process.pid });
    else out.line(`serving ${printable(space.directory)} at ${printable(serving.socket)}`);
    await stopped;
    await serving.close();
  });
}

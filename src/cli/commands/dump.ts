/** Commands that write a space as one file, and read it again: dump, load. */
import type { Command } from 'commander';
import { TwzError } from '../../abi/errors.ts';
import { dumpSpace, loadInto, loadNew, type LoadReport } from '../../services/dump.ts';
import { UsageError } from '../failure.ts';
import { err, out, plural, size } from '../output.ts';
import { Progress } from '../progress.ts';
import { common, findTarget, spaceDirectory, theHost, withSpace, type Common } from '../space.ts';

export function addDumpCommands(program: Command): void {
  common(program.command('dump [targets...]').description('write the space, or the targets and all they refer to, as lines of JSON'))
    .option('-o, --output <file>', 'write to a file; it appears whole or not at all')
    .option('-b, --binary', 'the binary form: smaller, faster, with checksums')
    .option('--only', 'the targets alone, not what they refer to')
    .action(dump);
  common(
    program.command('load <file>').description('read a dump into the space, or into a new one where there is none; `-` is standard input'),
  ).action(load);
}

interface DumpFlags extends Common {
  readonly output?: string;
  readonly binary?: boolean;
  readonly only?: boolean;
}

async function dump(targets: readonly string[], options: DumpFlags): Promise<void> {
  if (options.json === true && options.output === undefined) throw new UsageError('--json tells about the dump: it needs -o FILE');
  if (options.binary === true && options.output === undefined && out.terminal)
    throw new UsageError('the binary form does not go to a terminal: add -o FILE');
  const progress = new Progress('writing');
  await withSpace(options, async (space) => {
    const from = targets.length === 0 ? {} : { from: targets.map((target) => findTarget(space, target).id) };
    const form = options.binary === true ? 'binary' : 'text';
    const pieces = dumpSpace(space, { form, ...from, only: options.only ?? false, progress: progress.step });
    try {
      if (options.output === undefined) for (const piece of pieces) await out.send(piece);
      else {
        const bytes = writeFile(options.output, pieces);
        progress.done();
        if (options.json === true) out.json({ file: options.output, form, bytes });
        else err.line(err.paint('dim', `${options.output}: ${size(bytes)}`));
      }
    } finally {
      progress.done();
    }
  });
}

/** Aside, then renamed. */
function writeFile(path: string, pieces: Iterable<Uint8Array>): number {
  const host = theHost();
  const draft = `${path}.draft`;
  host.remove(draft);
  const file = host.open(draft, 'create');
  let at = 0;
  try {
    for (const piece of pieces) {
      host.write(file, piece, at);
      at += piece.length;
    }
    host.sync(file);
  } catch (error) {
    host.remove(draft);
    throw error;
  } finally {
    host.close(file);
  }
  host.rename(draft, path);
  return at;
}

const READ = 1 << 20;

function* readFile(path: string): Generator<Uint8Array> {
  const host = theHost();
  const file = host.open(path, 'read');
  try {
    for (let at = 0; ;) {
      const bytes = new Uint8Array(READ);
      const n = host.read(file, bytes, at);
      if (n === 0) return;
      yield bytes.subarray(0, n);
      at += n;
    }
  } finally {
    host.close(file);
  }
}

async function load(file: string, options: Common): Promise<void> {
  const directory = spaceDirectory(options);
  const host = theHost();
  const source = file === '-' ? (process.stdin as AsyncIterable<Uint8Array>) : readFile(file);
  if (file !== '-' && !host.exists(file)) throw new TwzError('FileMissing', `there is no file ${file}`, { file });
  const progress = new Progress('reading');
  let report: LoadReport;
  try {
    report = host.exists(`${directory}/space.twz`)
      ? await withSpace(options, (space) => loadInto(space, source, { progress: progress.step }))
      : await loadNew(host, directory, source, { progress: progress.step });
  } finally {
    progress.done();
  }
  if (options.json === true) out.json({ directory, ...report });
  else {
    const same = report.same === 0 ? '' : `; ${plural(report.same, 'object')} of them there already`;
    out.line(`loaded ${plural(report.objects, 'object')}, ${size(report.bytes)}, ${plural(report.names, 'name')} into ${directory}${same}`);
  }
}

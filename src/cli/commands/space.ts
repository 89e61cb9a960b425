/** Commands about a space as a whole: init, stat, check, log. */
import { InvalidArgumentError, type Command } from 'commander';
import { TwzError } from '../../abi/errors.ts';
import { open } from '../../space.ts';
import { checkSpace, lockSpace, type CheckReport } from '../../services/check.ts';
import { FINDINGS, type Finding, type Severity } from '../../services/check/findings.ts';
import { SpaceImage } from '../../services/check/image.ts';
import { eachWord, type LogFrame } from '../../services/check/log-scan.ts';
import { salvageSpace, type SalvageReport } from '../../services/check/salvage.ts';
import { EXIT, UsageError } from '../failure.ts';
import { count, err, hexDump, out, pairs, plural, printable, size, table, type Colour } from '../output.ts';
import { Progress } from '../progress.ts';
import type { Ending } from '../program.ts';
import { common, spaceDirectory, theHost, withSpace, type Common } from '../space.ts';

/** An option's value that must be a natural number. */
export function natural(text: string): number {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 0) throw new InvalidArgumentError('expected a number from 0 up.');
  return n;
}

export function addSpaceCommands(program: Command, ending: Ending): void {
  common(program.command('init [dir]').description('make a new space')).action(init);
  common(program.command('check').description('verify every invariant of the space; exit code 1 if anything is wrong'))
    .option('--repair', 'mend what can be mended without guessing; copies of all that is changed go to quarantine/')
    .option('--clear', 'with --repair: set references that lead nowhere to null')
    .option('--salvage <dir>', 'write all that can be read to a new space there; this one is left as it is')
    .option('-q, --quiet', 'print findings only')
    .action((options: CheckFlags) => {
      if (options.salvage === undefined) check(options, ending);
      else salvage(options.salvage, options, ending);
    });
  common(program.command('log').description('print the records of the log that the object files may not have yet'))
    .option('--from <lsn>', 'begin at this log sequence number', natural)
    .option('-n, --limit <frames>', 'print at most so many frames', natural)
    .option('--lines', 'print the bytes that each record stores')
    .action(log);
}

async function init(directory: string | undefined, options: Common): Promise<void> {
  const where = directory ?? spaceDirectory(options);
  if (theHost().exists(`${where}/space.twz`)) throw new TwzError('SpaceExists', `${where} holds a space already`, { directory: where });
  const space = open(where, { create: true, host: theHost() });
  const { id } = space.stat();
  space.close();
  if (options.json === true) out.json({ directory: where, space: id });
  else out.line(`made space ${id} in ${where}`);
}

// --- check ------------------------------------------------------------------------------------------------------------------

interface CheckFlags extends Common {
  readonly repair?: boolean;
  readonly clear?: boolean;
  readonly quiet?: boolean;
  readonly salvage?: string;
}

function salvage(to: string, options: CheckFlags, ending: Ending): void {
  if (options.repair === true) throw new UsageError('--salvage leaves the space as it is, and --repair mends it: one of them');
  const progress = new Progress('saving');
  let report: SalvageReport;
  try {
    report = salvageSpace(theHost(), spaceDirectory(options), to, progress.step);
  } finally {
    progress.done();
  }
  if (report.lost.length + report.collections.length > 0) ending.code = EXIT.findings;
  if (options.json === true) {
    out.json({ directory: to, ...report });
    return;
  }
  for (const { id, what } of report.mended) out.line(`${out.paint('green', 'mended')}  ${id}  ${printable(what)}`);
  for (const { id, name, entries, counted, path } of report.collections) {
    const where = path === undefined ? 'nothing could be read' : `${plural(entries, 'entry', 'entries')} of ${count(counted)} in ${path}`;
    out.line(`${out.paint('yellow', 'read')}  ${id}  ${printable(name)}: ${where}`);
  }
  for (const { file, reason } of report.lost) out.line(`${out.paint('red', 'lost')}  ${printable(file)}  ${printable(reason)}`);
  if (report.names > 0) out.line(`${out.paint('green', 'names')}  ${plural(report.names, 'name')} collected`);
  if (report.found > 0) out.line(`${out.paint('yellow', 'names')}  ${plural(report.found, 'object')} that nothing leads to: in /lost`);
  out.line(`saved ${plural(report.objects, 'object')}, ${size(report.bytes)} to ${to}; ${plural(report.lost.length, 'file')} lost`);
}

function check(options: CheckFlags, ending: Ending): void {
  const progress = new Progress('checking');
  let report: CheckReport;
  try {
    report = checkSpace(theHost(), spaceDirectory(options), {
      progress: progress.step,
      structs: progress.step,
      repair: options.repair === true ? { clear: options.clear ?? false } : undefined,
    });
  } finally {
    progress.done();
  }
  if (report.errors + report.warnings > 0) ending.code = EXIT.findings;
  if (options.json === true) out.json(report);
  else printReport(report, options.quiet ?? false);
}

const COLOURS: Readonly<Record<Severity, Colour>> = { error: 'red', warning: 'yellow', note: 'cyan' };

function findingRow(finding: Finding): string[] {
  const where = finding.object ?? finding.file ?? '';
  const at = finding.at === undefined ? '' : String(finding.at);
  const expected = finding.expected === undefined ? '' : out.paint('dim', ` (expected ${printable(finding.expected)})`);
  return [
    out.paint(COLOURS[finding.severity], finding.severity),
    out.paint('bold', finding.name),
    where,
    at,
    printable(finding.message) + expected,
  ];
}

function printReport(report: CheckReport, quiet: boolean): void {
  for (const step of report.repaired) out.line(`${out.paint('green', step.action)}  ${step.file}  ${printable(step.message)}`);
  if (report.repaired.length > 0) out.line();
  if (report.findings.length > 0) {
    const columns = [{ head: '' }, { head: 'FINDING' }, { head: 'OBJECT OR FILE' }, { head: 'AT', right: true }, { head: 'WHAT' }];
    table(out, columns, report.findings.map(findingRow));
    let left = 0;
    for (const n of Object.values(report.counts)) left += n;
    left -= report.findings.length;
    if (left > 0) out.line(out.paint('dim', `… and ${count(left)} more of the same`));
    if (!quiet) out.line();
  }
  if (quiet) return;
  const looked = `${plural(report.objects, 'object')}, ${size(report.bytes)}, ${plural(report.pointers, 'typed pointer')}, ${plural(report.names, 'name')}, ${plural(report.transactions, 'transaction')} in the log`;
  const sum = [plural(report.errors, 'error'), plural(report.warnings, 'warning'), plural(report.notes, 'note')].join(', ');
  const clean = report.errors + report.warnings === 0;
  out.line(`${clean ? out.paint('green', 'sound') : out.paint('red', sum)}: ${looked}`);
  const mendable = report.findings.some(({ name, severity }) => severity !== 'note' && FINDINGS[name].mend !== 'none');
  if (!clean && mendable && report.repaired.length === 0)
    err.line(err.paint('dim', 'twz check --repair mends what can be mended; twz explain NAME says more'));
}

// --- log --------------------------------------------------------------------------------------------------------------------

interface LogFlags extends Common {
  readonly from?: number;
  readonly limit?: number;
  readonly lines?: boolean;
}

function log(options: LogFlags): void {
  const directory = spaceDirectory(options);
  const lock = lockSpace(theHost(), directory);
  try {
    const image = new SpaceImage(theHost(), directory);
    const reader = image.reader();
    let printed = 0;
    for (let frame = reader?.next(); frame !== undefined; frame = reader?.next()) {
      if (frame.lsn < (options.from ?? 0)) continue;
      if (printed++ >= (options.limit ?? Infinity)) break;
      if (options.json === true) out.json(frameFacts(frame, options.lines ?? false));
      else printFrame(frame, options.lines ?? false);
    }
    if (options.json === true) return;
    const end = `the log ends at ${image.end.lsn}; ${plural(image.transactions, 'transaction')} committed since ${image.start.lsn}`;
    out.line(out.paint('dim', end));
  } finally {
    lock.release();
  }
}

function frameFacts(frame: LogFrame, lines: boolean): unknown {
  const sections = frame.sections?.map(({ id, operation, size: bytes, version, lines: n, body, ...rest }) => {
    const words: { at: number; bytes: Uint8Array }[] = [];
    if (lines)
      eachWord({ id, operation, size: bytes, version, lines: n, body, ...rest }, (at, word) => words.push({ at, bytes: word.slice() }));
    return { id, operation, size: bytes, version, lines: n, ...(lines ? { words } : {}) };
  });
  return {
    lsn: frame.lsn,
    bytes: frame.bytes,
    checksum: frame.checksum,
    salt: frame.salt,
    commit: frame.commit,
    file: frame.file,
    sections: sections ?? 'malformed',
  };
}

function printFrame(frame: LogFrame, lines: boolean): void {
  const commit = frame.commit ? out.paint('green', 'commit') : out.paint('dim', 'more  ');
  out.line(`${out.paint('bold', String(frame.lsn))}  ${commit}  ${size(frame.bytes)}  ${out.paint('dim', frame.file)}`);
  if (frame.sections === undefined) out.line(`  ${out.paint('red', 'malformed')}`);
  for (const section of frame.sections ?? []) {
    out.line(
      `  ${section.operation.padEnd(6)}  ${section.id}  version ${section.version}  ${size(section.size)}  ${plural(section.lines, 'line')}`,
    );
    if (lines) printWords(section);
  }
}

function printWords(section: Parameters<typeof eachWord>[0]): void {
  let start = 0;
  let run: number[] = [];
  const flush = (): void => {
    if (run.length > 0) hexDump(out, Uint8Array.from(run), start);
    run = [];
  };
  eachWord(section, (at, bytes) => {
    if (at !== start + run.length) {
      flush();
      start = at;
    }
    run.push(...bytes);
  });
  flush();
}

/** `stat` without a target. */
export async function spaceFacts(options: Common): Promise<void> {
  await withSpace(options, (space) => {
    const { recovery, ...facts } = space.stat();
    let objects = 0;
    for (const id of space.ids()) objects += id === '' ? 0 : 1;
    if (options.json === true) {
      out.json({ ...facts, objects, recovery });
      return;
    }
    const replay =
      recovery.transactions === 0
        ? 'nothing'
        : `${plural(recovery.transactions, 'transaction')}, ${size(recovery.bytes)}, ${plural(recovery.objects, 'object')} in ${recovery.ms.toFixed(1)} ms`;
    pairs(out, [
      ['space', facts.id],
      ['directory', facts.directory],
      ['host', facts.host],
      ['objects', count(objects)],
      ['replayed', replay],
      ['log end', String(facts.log.end)],
      ['checkpoint', String(facts.log.checkpoint)],
    ]);
    if (recovery.missing.length > 0)
      out.line(
        out.paint('red', `${plural(recovery.missing.length, 'object')} named by the log have no file: ${recovery.missing.join(', ')}`),
      );
  });
}

/** `twz import`: data sets with declared references (docs/cli.md), and object files that `export` wrote. */
import type { Command } from 'commander';
import { TwzError } from '../../abi/errors.ts';
import type { Host } from '../../host/host.ts';
import { importData, type Format, type ImportPhase, type ImportReport, type ImportSource, type Problem } from '../../services/import.ts';
import { readWhole } from '../../services/check/control.ts';
import { EXIT, UsageError } from '../failure.ts';
import { count, duration, err, out, plural, printable, size } from '../output.ts';
import type { Ending } from '../program.ts';
import { Progress } from '../progress.ts';
import { common, theHost, withSpace, type Common } from '../space.ts';
import { addEncodings, fileFormat, gather, importForeign } from './interchange.ts';
import { natural } from './space.ts';

interface Flags extends Common {
  readonly map?: string;
  readonly name?: string;
  readonly format?: string;
  readonly delimiter?: string;
  readonly skipBad?: boolean;
  readonly nullDangling?: boolean;
  readonly replace?: boolean;
  readonly problems: number;
  readonly bigints?: boolean;
  readonly keys?: readonly string[];
  readonly values?: readonly string[];
  readonly database?: readonly string[];
}

export function addImport(program: Command, ending: Ending): void {
  const command = common(
    program
      .command('import <files...>')
      .description('bring in JSON, NDJSON or CSV with a mapping, a file of another system, or object files that `export` wrote'),
  );
  addEncodings(command)
    .option('--database <name>', 'LMDB: take this database, and others that are given so (default: all)', gather)
    .option('-m, --map <file>', 'mapping (JSON): collections, fields, references')
    .option(
      '-n, --name <name>',
      'data: its name under /imports (a file of another system: or its path); an object file: the path to name it',
    )
    .option('--format <format>', 'json, ndjson, csv, sqlite, parquet or lmdb; by default what the name of the file says')
    .option('--delimiter <character>', 'between the values of CSV')
    .option('--skip-bad', 'leave bad records out and tell their lines, instead of refusing the import')
    .option('--null-dangling', 'store references to nothing as null, instead of refusing the import')
    .option('--replace', 'take the place of the import of that name')
    .option('--bigints', 'files of other systems: 64-bit integers as bigints')
    .option('--problems <n>', 'print so many bad lines', natural, 20)
    .addHelpText('after', '\nA file is PATH, or COLLECTION=PATH where all its records belong to one collection; - is standard input.')
    .action(async (files: string[], options: Flags) => {
      const [first = ''] = files;
      const format = options.map === undefined ? fileFormat(first, options.format) : undefined;
      if (format !== undefined) {
        if (files.length > 1) throw new UsageError(`${first}: one file of another system is imported at a time`);
        ending.code = await importForeign(first, format, options);
      } else if (options.map === undefined) await importObjects(files, options);
      else ending.code = await importFiles(files, options.map, options);
    });
}

// --- data -------------------------------------------------------------------------------------------------------------------

const FORMATS: Readonly<Record<string, Format>> = { json: 'json', ndjson: 'ndjson', jsonl: 'ndjson', csv: 'csv', tsv: 'csv' };
const CHUNK = 1 << 20;

function readMapping(host: Host, file: string): unknown {
  const bytes = readWhole(host, file);
  if (bytes === undefined) throw new TwzError('FileMissing', `there is no file ${file}`, { file });
  try {
    const mapping: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return mapping;
  } catch (cause) {
    throw new UsageError(`${file} is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

function formatOf(path: string, options: Flags): Format {
  const given = options.format ?? path.slice(path.lastIndexOf('.') + 1).toLowerCase();
  const format = FORMATS[given];
  if (format === undefined) throw new UsageError(`${path}: say what it is with --format json, ndjson or csv`);
  return format;
}

function* chunksOf(host: Host, path: string): Generator<Uint8Array> {
  const file = host.open(path, 'read');
  try {
    const chunk = new Uint8Array(CHUNK);
    for (let at = 0; ;) {
      const n = host.read(file, chunk, at);
      if (n === 0) return;
      yield chunk.subarray(0, n);
      at += n;
    }
  } finally {
    host.close(file);
  }
}

function lengthOf(host: Host, path: string): number {
  const file = host.open(path, 'read');
  try {
    return host.length(file);
  } finally {
    host.close(file);
  }
}

function sourceOf(host: Host, argument: string, options: Flags): ImportSource {
  const [, collection, path = argument] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/.exec(argument) ?? [];
  const format = formatOf(path, options);
  const delimiter = options.delimiter ?? (path.toLowerCase().endsWith('.tsv') ? '\t' : undefined);
  const facts = {
    name: path,
    format,
    ...(collection === undefined ? {} : { collection }),
    ...(delimiter === undefined ? {} : { delimiter }),
  };
  if (path === '-') return { ...facts, name: 'standard input', chunks: process.stdin };
  if (!host.exists(path)) throw new TwzError('FileMissing', `there is no file ${path}`, { file: path });
  return { ...facts, chunks: chunksOf(host, path), size: lengthOf(host, path) };
}

/** The name of the first file without its directory and its ending. */
function defaultName(files: readonly string[]): string {
  const path = files[0]?.replace(/^[A-Za-z_][A-Za-z0-9_]*=/, '') ?? '';
  const name = path.slice(path.lastIndexOf('/') + 1).replace(/\.[^.]*$/, '');
  if (name === '' || name === '-') throw new UsageError('give the import a name with --name');
  return name;
}

const PHASES: Readonly<Record<ImportPhase, readonly [what: string, unit: 'bytes' | 'items']>> = {
  read: ['reading', 'bytes'],
  resolve: ['resolving', 'items'],
  link: ['linking', 'items'],
};

async function importFiles(files: readonly string[], map: string, options: Flags): Promise<number> {
  const host = theHost();
  const mapping = readMapping(host, map);
  const sources = files.map((file) => sourceOf(host, file, options));
  const problems: Problem[] = [];
  const started = performance.now();
  let line: Progress | undefined;
  let phaseNow: ImportPhase | undefined;
  const report = await withSpace(options, async (space) => {
    try {
      return await importData(space, options.name ?? defaultName(files), mapping, sources, {
        onBad: options.skipBad === true ? 'skip' : 'refuse',
        onDangling: options.nullDangling === true || options.skipBad === true ? 'null' : 'refuse',
        replace: options.replace ?? false,
        onProblem: (problem) => {
          if (problems.length < options.problems) problems.push(problem);
        },
        progress: (phase, done, total) => {
          if (phase !== phaseNow) {
            line?.done();
            line = new Progress(...PHASES[phase]);
            phaseNow = phase;
          }
          line?.step(done, total);
        },
      });
    } finally {
      line?.done();
    }
  });
  printReport(report, problems, performance.now() - started, options);
  return report.skipped + report.dangling > 0 ? EXIT.findings : EXIT.done;
}

function printReport(report: ImportReport, problems: readonly Problem[], ms: number, options: Flags): void {
  if (options.json === true) {
    out.json({ ...report, problems });
    return;
  }
  for (const { source, line, reason } of problems) err.line(`${err.paint('yellow', `${source}:${line}`)}: ${printable(reason)}`);
  const left = report.skipped + report.dangling - problems.length;
  if (left > 0) err.line(err.paint('dim', `… and ${count(left)} more`));
  out.line(
    `/imports/${report.name}: ${plural(report.records, 'record')}, ${plural(report.references, 'reference')}, ${plural(report.objects, 'object')} from ${size(report.bytes)} in ${duration(ms)}`,
  );
  if (report.skipped + report.dangling > 0)
    out.line(out.paint('yellow', `left out: ${plural(report.skipped, 'record')}, ${plural(report.dangling, 'reference')}`));
}

// --- object files -----------------------------------------------------------------------------------------------------------

/** All of them or, if one fails, none. */
async function importObjects(files: readonly string[], options: Flags): Promise<void> {
  const other = files.find((file) => !file.endsWith('.twz'));
  if (other !== undefined) throw new UsageError(`${other}: data needs a mapping (-m FILE); without one, import takes object files (.twz)`);
  if (options.name !== undefined && files.length > 1) throw new UsageError('--name names one object; there are several');
  await withSpace(options, (space) => {
    const done = space.relaxed(() =>
      files.map((file) => {
        const bytes = readWhole(theHost(), file);
        if (bytes === undefined) throw new TwzError('FileMissing', `there is no file ${file}`, { file });
        const object = space.import(bytes);
        if (options.name !== undefined) space.names.set(options.name, object);
        return { id: object.id, bytes: bytes.length, name: options.name };
      }),
    );
    if (options.json === true) out.json(done);
    else for (const { id, bytes, name } of done) out.line(`${id}  ${size(bytes)}${name === undefined ? '' : `  ${name}`}`);
  });
}

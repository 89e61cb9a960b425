/** Files of other systems in `twz import` and `twz export`: docs/cli.md, "Files of other systems". */
import type { Command } from 'commander';
import {
  exportLmdb,
  exportParquet,
  exportSqlite,
  importLmdb,
  importParquet,
  importSqlite,
  type ExportFileReport,
  type ImportFileReport,
  type LmdbEncodingName,
  type LmdbEncodings,
} from '../../services/interchange.ts';
import type { Space } from '../../space.ts';
import { EXIT, UsageError } from '../failure.ts';
import { duration, out, plural, printable } from '../output.ts';
import { Progress } from '../progress.ts';
import { theHost, withSpace, type Common } from '../space.ts';

const BY_ENDING: Readonly<Record<string, FileFormat>> = {
  db: 'sqlite',
  sqlite: 'sqlite',
  sqlite3: 'sqlite',
  parquet: 'parquet',
  mdb: 'lmdb',
  lmdb: 'lmdb',
};
const FORMATS = ['sqlite', 'parquet', 'lmdb'] as const;
export type FileFormat = (typeof FORMATS)[number];

/** What keys and values of LMDB are: `ENCODING` for all, or `DATABASE=ENCODING`. */
interface EncodingFlags {
  readonly keys?: readonly string[];
  readonly values?: readonly string[];
}

export interface FileFlags extends Common, EncodingFlags {
  readonly name?: string;
  readonly format?: string;
  readonly replace?: boolean;
  readonly bigints?: boolean;
  readonly database?: readonly string[];
}

export interface ExportFileFlags extends Common, EncodingFlags {
  readonly force?: boolean;
  readonly dataVersion?: string;
}

/** An option that may be given several times. */
export const gather = (value: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), value];

/** Options that only LMDB has. */
export function addEncodings(command: Command): Command {
  return command
    .option('--keys <encoding>', 'LMDB: what keys are (text, u32be, json, …), of one database where it is NAME=ENCODING', gather)
    .option('--values <encoding>', 'LMDB: what values are', gather);
}

function encodingsOf({ keys = [], values = [] }: EncodingFlags): LmdbEncodings & { readonly encodings: Record<string, LmdbEncodings> } {
  let all: LmdbEncodings = {};
  const encodings: Record<string, LmdbEncodings> = {};
  const each = (said: string, part: 'keys' | 'values'): void => {
    const at = said.lastIndexOf('=');
    // What is none is refused where it is used.
    const encoding = said.slice(at + 1) as LmdbEncodingName;
    if (at < 0) all = { ...all, [part]: encoding };
    else encodings[said.slice(0, at)] = { ...encodings[said.slice(0, at)], [part]: encoding };
  };
  for (const said of keys) each(said, 'keys');
  for (const said of values) each(said, 'values');
  return { ...all, encodings };
}

function refuseFlags(format: FileFormat, flags: Readonly<Record<string, unknown>>): void {
  const [flag] = Object.entries(flags).find(([, value]) => value !== undefined) ?? [];
  if (flag !== undefined && format !== 'lmdb') throw new UsageError(`--${flag} is for LMDB files`);
}

/** The format of a file of another system: as it is said, or as the file's name says. Undefined for others. */
export function fileFormat(path: string, said: string | undefined): FileFormat | undefined {
  if (said !== undefined) return FORMATS.find((format) => format === said);
  return BY_ENDING[path.slice(path.lastIndexOf('.') + 1).toLowerCase()];
}

type Told = (table: string, rows: number) => void;

async function watched<T>(what: string, run: (progress: Told) => Promise<T>): Promise<T> {
  const line = new Progress(what, 'items');
  try {
    return await run((_table, rows) => line.step(rows, 0));
  } finally {
    line.done();
  }
}

function readAs(format: FileFormat, space: Space, to: string, file: string, options: FileFlags, progress: Told): Promise<ImportFileReport> {
  const settings = { replace: options.replace ?? false, bigints: options.bigints ?? false, progress };
  switch (format) {
    case 'sqlite':
      return importSqlite(space, to, file, settings);
    case 'parquet':
      return importParquet(space, to, file, settings);
    case 'lmdb': {
      const databases = options.database === undefined ? {} : { databases: options.database };
      return importLmdb(space, to, file, { ...settings, ...encodingsOf(options), ...databases });
    }
  }
}

/** A name under /imports, or a path of its own. */
function pathFor(file: string, name: string | undefined): string {
  const last = name ?? file.slice(file.lastIndexOf('/') + 1).replace(/\.[^.]*$/, '');
  if (last === '') throw new UsageError('give the import a name with --name');
  return last.startsWith('/') ? last : `/imports/${last}`;
}

export async function importForeign(file: string, format: FileFormat, options: FileFlags): Promise<number> {
  refuseFlags(format, { keys: options.keys, values: options.values, database: options.database });
  const started = performance.now();
  const report = await withSpace(options, (space) =>
    watched('reading', (progress) => readAs(format, space, pathFor(file, options.name), file, options, progress)),
  );
  if (options.json === true) out.json(report);
  else {
    for (const { map, rows, foreignKeys } of report.tables) {
      const keys = foreignKeys.map(({ columns, table }) => `${columns.join(', ')} refers to ${table}`).join('; ');
      out.line(printable(`${report.path}/${map}: ${plural(rows, 'row')}${keys === '' ? '' : ` (${keys})`}`));
    }
    out.line(
      printable(
        `${report.path}: ${plural(report.tables.length, 'map')}, ${plural(report.rows, 'row')} in ${duration(performance.now() - started)}`,
      ),
    );
  }
  return EXIT.done;
}

function writeAs(
  format: FileFormat,
  space: Space,
  from: string,
  file: string,
  options: ExportFileFlags,
  progress: Told,
): Promise<ExportFileReport> {
  const replace = options.force ?? false;
  switch (format) {
    case 'sqlite':
      return exportSqlite(space, from, file, { replace, progress });
    case 'parquet':
      return exportParquet(space, from, file, { replace, progress });
    case 'lmdb': {
      const { dataVersion: version = '1' } = options;
      if (version !== '1' && version !== '2') throw new UsageError(`--data-version is 1 or 2, not ${version}`);
      return exportLmdb(space, from, file, { replace, progress, version: version === '1' ? 1 : 2, ...encodingsOf(options) });
    }
  }
}

export async function exportForeign(from: string, file: string, format: FileFormat, options: ExportFileFlags): Promise<void> {
  refuseFlags(format, { keys: options.keys, values: options.values, 'data-version': options.dataVersion });
  if (!from.startsWith('/')) throw new UsageError('to such a file, export writes what has a path: a namespace of maps, or a map');
  if (theHost().exists(file) && options.force !== true) throw new UsageError(`${file} is there already: add -f to replace it`);
  const report = await withSpace(options, (space) =>
    watched('writing', (progress) => writeAs(format, space, from, file, options, progress)),
  );
  if (options.json === true) out.json(report);
  else out.line(printable(`${file}: ${plural(report.tables.length, 'table')}, ${plural(report.rows, 'row')}`));
}

/** Files of other systems in `twz import` and `twz export`: docs/cli.md, "Files of other systems". */
import {
  exportParquet,
  exportSqlite,
  importParquet,
  importSqlite,
  type ExportFileReport,
  type ImportFileReport,
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
};
const FORMATS = ['sqlite', 'parquet'] as const;
export type FileFormat = (typeof FORMATS)[number];

export interface FileFlags extends Common {
  readonly name?: string;
  readonly format?: string;
  readonly replace?: boolean;
  readonly bigints?: boolean;
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
  }
}

/** A name under /imports, or a path of its own. */
function pathFor(file: string, name: string | undefined): string {
  const last = name ?? file.slice(file.lastIndexOf('/') + 1).replace(/\.[^.]*$/, '');
  if (last === '') throw new UsageError('give the import a name with --name');
  return last.startsWith('/') ? last : `/imports/${last}`;
}

export async function importForeign(file: string, format: FileFormat, options: FileFlags): Promise<number> {
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
  replace: boolean,
  progress: Told,
): Promise<ExportFileReport> {
  switch (format) {
    case 'sqlite':
      return exportSqlite(space, from, file, { replace, progress });
    case 'parquet':
      return exportParquet(space, from, file, { replace, progress });
  }
}

export async function exportForeign(from: string, file: string, format: FileFormat, options: Common & { force?: boolean }): Promise<void> {
  if (!from.startsWith('/')) throw new UsageError('to such a file, export writes what has a path: a namespace of maps, or a map');
  if (theHost().exists(file) && options.force !== true) throw new UsageError(`${file} is there already: add -f to replace it`);
  const report = await withSpace(options, (space) =>
    watched('writing', (progress) => writeAs(format, space, from, file, options.force ?? false, progress)),
  );
  if (options.json === true) out.json(report);
  else out.line(printable(`${file}: ${plural(report.tables.length, 'table')}, ${plural(report.rows, 'row')}`));
}

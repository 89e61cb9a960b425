/**
 * LMDB environments become maps. Each database becomes a map. LMDB's own keys and values are bytes: what they mean the caller
 * says, or a survey of the entries finds out. A database with several values for a key becomes a map of pairs, (key, value), to `true`.
 *
 * The file is read twice: once to check it and to survey it, before anything is taken in, and once for the rows.
 */
import { TwzError } from '../../../abi/errors.ts';
import type { Host } from '../../../host/host.ts';
import type { Space } from '../../../space.ts';
import { encodingOf, type Encoding, type LmdbEncoding, type LmdbEncodings } from './encodings.ts';
import { LmdbFile, PageSet, type LmdbDatabase } from './reader.ts';
import { Survey, type Plan } from './survey.ts';
import { plainName } from '../row-maps.ts';
import { staged, type FileStage, type ImportFileOptions, type ImportFileReport, type TableInfo } from '../stage.ts';

export interface ImportLmdbOptions extends ImportFileOptions, LmdbEncodings {
  /** The databases to take (default: all, and `main`, which has no name in the file, where it has entries of its own). */
  readonly databases?: readonly string[];
  /** Encodings of single databases, by name. */
  readonly encodings?: Readonly<Record<string, LmdbEncodings>>;
  /** What is made of each (default: orderedMap). */
  readonly as?: 'orderedMap' | 'hashMap';
}

/** The map of the main database, which has no name. */
const MAIN = 'main';

/** The file of an environment, or of the directory that one is in. */
function fileIn(host: Host, path: string): string {
  const inside = `${path.replace(/\/+$/, '')}/data.mdb`;
  return host.exists(inside) ? inside : path;
}

/** Imports the databases of an LMDB file, or of the directory with its data.mdb, as maps in the namespace `to`. */
export async function importLmdb(space: Space, to: string, path: string, options: ImportLmdbOptions = {}): Promise<ImportFileReport> {
  const { host } = space.kernel;
  const file = new LmdbFile(host, fileIn(host, path));
  const checkUnchanged = (): void => {
    if (!file.unchanged()) throw new TwzError('FileBusy', `${path} was written to while it was read`, { file: path });
  };
  try {
    const chosen = chooseDatabases(file, path, options);
    const tables: { readonly database: LmdbDatabase; readonly info: TableInfo; readonly plan: Plan }[] = [];
    const seen = new PageSet();
    const maps = new Set<string>();
    const types = new Set<string>();
    for (const database of chosen) {
      const table = database.name === '' ? MAIN : database.name;
      const plan = await surveyed(file, path, table, database, chosen, options, seen);
      const info: TableInfo = {
        table,
        map: unlike(table.replaceAll(/[/\0]/g, '_') || '_', maps),
        type: plainName(table, types),
        key: plan.keys,
        columns: plan.columns,
        foreignKeys: [],
      };
      tables.push({ database, info, plan });
    }
    checkUnchanged();
    return await staged(space, path, to, options, async (stage: FileStage) => {
      const again = new PageSet();
      for (const { database, info, plan } of tables)
        await stage.table(info, plan.keys, rowsOf(file, database, plan, again), options.as ?? 'orderedMap');
      checkUnchanged();
    });
  } catch (error) {
    // What a writer did to pages meanwhile looks like damage.
    if (error instanceof TwzError && (error.name === 'FileInvalid' || error.name === 'ImportRefused')) checkUnchanged();
    throw error;
  } finally {
    file.close();
  }
}

/** A name that no other map has. */
function unlike(name: string, taken: Set<string>): string {
  let free = name;
  for (let i = 2; taken.has(free); i++) free = `${name}_${i}`;
  taken.add(free);
  return free;
}

function chooseDatabases(file: LmdbFile, path: string, { databases: wanted, encodings = {} }: ImportLmdbOptions): LmdbDatabase[] {
  const all = file.databases();
  for (const name of [...(wanted ?? []), ...Object.keys(encodings)])
    if (!all.some((database) => isCalled(database, name, all)))
      throw new TwzError('InvalidArgument', `${path} has no database ${JSON.stringify(name)}`, { database: name });
  if (wanted !== undefined) return all.filter((database) => wanted.some((name) => isCalled(database, name, all)));
  // Each of the others is an entry of the main one.
  return all.filter(({ name, entries }) => name !== '' || entries > all.length - 1 || all.length === 1);
}

/** The main one is called `main`, unless another is. */
function isCalled(database: LmdbDatabase, name: string, all: readonly LmdbDatabase[]): boolean {
  return database.name === name || (database.name === '' && name === MAIN && !all.some((other) => other.name === MAIN));
}

async function surveyed(
  file: LmdbFile,
  path: string,
  table: string,
  database: LmdbDatabase,
  all: readonly LmdbDatabase[],
  options: ImportLmdbOptions,
  seen: PageSet,
): Promise<Plan> {
  const bigints = options.bigints === true;
  const [, said] = Object.entries(options.encodings ?? {}).find(([name]) => isCalled(database, name, all)) ?? [];
  const chosen = (encoding: LmdbEncoding = 'auto'): Promise<Encoding | undefined> => encodingOf(encoding, bigints);
  const keys = await chosen(said?.keys ?? options.keys);
  const values = await chosen(said?.values ?? options.values);
  const survey = new Survey({ file: path, table, database, keys, values, bigints });
  for (const entry of file.entries(database, seen)) survey.add(entry);
  return survey.finish();
}

function* rowsOf(file: LmdbFile, database: LmdbDatabase, plan: Plan, seen: PageSet): Generator<readonly [unknown, unknown]> {
  for (const entry of file.entries(database, seen)) {
    const row = plan.row(entry);
    if (row !== undefined) yield row;
  }
}

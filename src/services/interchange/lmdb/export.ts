/**
 * Maps become databases of a new LMDB file. Entries go into pages as they come where that is LMDB's order, as it is for ordered maps whose keys are
 * written as texts, bytes or unsigned numbers; otherwise they are sorted first, through a file beside.
 */
import { TwzError } from '../../../abi/errors.ts';
import type { Host } from '../../../host/host.ts';
import type { Space } from '../../../space.ts';
import { tablesAt, type StoredTable } from '../export.ts';
import { writtenFile, type ExportFileOptions, type ExportFileReport } from '../files.ts';
import { collectionIn, type Column } from '../row-maps.ts';
import { encodingOf, shown, usualEncoding, type Encoding, type LmdbEncoding, type LmdbEncodings } from './encodings.ts';
import { compareBytes, compareIntegers, FLAG, type Compare, type DataVersion } from './format.ts';
import type { LmdbEntry } from './reader.ts';
import { Sorter } from './sorter.ts';
import { DECLARED } from './survey.ts';
import { EntryRefused, LmdbWriter, TreeWriter, type DatabaseRecord } from './writer.ts';

export interface ExportLmdbOptions extends ExportFileOptions, LmdbEncodings {
  /** Encodings of single databases, by name. */
  readonly encodings?: Readonly<Record<string, LmdbEncodings>>;
  /** Of the data: 1 for LMDB 0.9 and all that stands on it (the default), 2 for the npm package lmdb. */
  readonly version?: DataVersion;
}

/** How the rows of a table become entries. */
interface Coder {
  readonly table: StoredTable;
  readonly flags: number;
  /** Whether it was the main database of a file. */
  readonly main: boolean;
  readonly compare: Compare;
  readonly compareValues: Compare;
  /** Bytes of each value, where a key has several and all have as many; or 0. */
  readonly fixed: number;
  entry(row: readonly unknown[]): LmdbEntry;
}

/** Entries did not come in order. */
class OutOfOrder extends Error {}

interface Said {
  readonly name: LmdbEncoding | undefined;
  readonly words: readonly string[];
}

/** What the catalog says of a column that came from LMDB. */
function saidOf(column: Column | undefined): Said {
  const { declared = '' } = column ?? {};
  if (!declared.startsWith(DECLARED)) return { name: undefined, words: [] };
  const [name, ...words] = declared.slice(DECLARED.length).split(' ');
  // Whatever it is, it is looked up.
  return { name: name as LmdbEncoding, words };
}

async function chosen(wanted: LmdbEncoding | undefined, said: Said): Promise<Encoding | undefined> {
  return encodingOf(wanted === undefined || wanted === 'auto' ? (said.name ?? 'auto') : wanted, true);
}

/** What LMDB sorts as integers of the machine. */
function isInteger({ name }: Encoding): boolean {
  return name === 'u32le' || name === 'u64le';
}

function parsed(value: unknown, column: Column): unknown {
  if (typeof value !== 'string' || !saidOf(column).words.includes('nested')) return value;
  const whole: unknown = JSON.parse(value);
  return whole;
}

async function coderOf(table: StoredTable, file: string, options: ExportLmdbOptions): Promise<Coder> {
  const { keys, columns } = table;
  const wanted = { ...options, ...options.encodings?.[table.name] };
  const { words } = saidOf(keys[0]);
  const several = words.includes('several') && keys.length > 1;
  const parts = several ? keys.length - 1 : keys.length;
  const [first] = keys;
  const key =
    (await chosen(wanted.keys, saidOf(first))) ??
    (parts === 1 && first !== undefined ? usualEncoding(first.kind) : await encodingOf('json', true));
  const value = await valueEncoding(keys, columns, several, wanted.values);
  if (key === undefined) throw new TwzError('NotSupported', `${table.name} has no keys`, { table: table.name });
  const integers = isInteger(key);
  const fixed = several ? (value?.size ?? 0) : 0;
  const integerValues = several && value !== undefined && isInteger(value);
  const flags = integers ? FLAG.INTEGER_KEY : 0;
  const encoded = (encoding: Encoding, content: unknown, what: string, row: readonly unknown[]): Uint8Array => {
    try {
      return encoding.encode(content);
    } catch (error) {
      if (error instanceof TwzError) throw error;
      return refuse(file, table, row.slice(0, keys.length), `${what}: ${error instanceof Error ? error.message : String(error)}`, error);
    }
  };
  const content = (row: readonly unknown[]): unknown => {
    const [only] = columns;
    if (several) return row[parts];
    if (only?.field === '') return parsed(row[keys.length], only);
    return Object.fromEntries(
      columns.flatMap((column, i) => {
        const field = row[keys.length + i];
        return field === undefined ? [] : [[column.name, parsed(field, column)]];
      }),
    );
  };
  return {
    table,
    flags: flags | (several ? FLAG.DUPSORT : 0) | (fixed > 0 ? FLAG.DUPFIXED : 0) | (integerValues ? FLAG.INTEGER_DUP : 0),
    fixed,
    compareValues: integerValues ? compareIntegers : compareBytes,
    main: words.includes('main'),
    compare: integers ? compareIntegers : compareBytes,
    entry: (row) => [
      encoded(key, parts === 1 ? row[0] : row.slice(0, parts), 'key', row),
      value === undefined ? new Uint8Array() : encoded(value, content(row), 'value', row),
    ],
  };
}

/** Undefined where there is nothing but the key. */
async function valueEncoding(
  keys: readonly Column[],
  columns: readonly Column[],
  several: boolean,
  wanted: LmdbEncoding | undefined,
): Promise<Encoding | undefined> {
  const [column] = columns;
  if (several) {
    const last = keys.at(-1);
    return (await chosen(wanted, saidOf(last))) ?? (last === undefined ? undefined : usualEncoding(last.kind));
  }
  if (column === undefined) return undefined;
  const found = await chosen(wanted, saidOf(column));
  return found ?? (column.field === '' ? usualEncoding(column.kind) : await encodingOf('json', true));
}

function refuse(file: string, table: StoredTable, key: unknown, reason: string, cause?: unknown): never {
  const row = shown(Array.isArray(key) && key.length === 1 ? key[0] : key);
  throw new TwzError('ValueMismatch', `table ${table.name}, row ${row}: ${reason}`, { file, table: table.name, row }, cause);
}

/** Writes the maps of a namespace as the named databases of a new LMDB file, or one map as its main database. */
export async function exportLmdb(space: Space, from: string, file: string, options: ExportLmdbOptions = {}): Promise<ExportFileReport> {
  const { host } = space.kernel;
  const { version = 1 } = options;
  if (version !== 1 && version !== 2)
    throw new TwzError('InvalidArgument', `LMDB data is of version 1 or 2, not ${String(version)}`, { version });
  const single = collectionIn(space.names.get(from)) !== undefined;
  const tables = tablesAt(space, from);
  const coders: Coder[] = [];
  for (const table of tables) coders.push(await coderOf(table, file, options));
  // LMDB has no others beside a main database of integer keys, or of several values for a key.
  const main = coders.find((coder) => single || (coder.main && (coders.length === 1 || coder.flags === 0)));
  return writtenFile(host, file, options, async (part) => {
    const open = host.open(part, 'create');
    try {
      const job = new Export(host, file, part, new LmdbWriter(host, open, version), options);
      const written = job.run(coders, main);
      return { file, rows: written.reduce((sum, { rows }) => sum + rows, 0), tables: written };
    } finally {
      host.close(open);
    }
  });
}

class Export {
  readonly #host: Host;
  readonly #file: string;
  readonly #part: string;
  readonly #writer: LmdbWriter;
  readonly #options: ExportLmdbOptions;

  constructor(host: Host, file: string, part: string, writer: LmdbWriter, options: ExportLmdbOptions) {
    this.#host = host;
    this.#file = file;
    this.#part = part;
    this.#writer = writer;
    this.#options = options;
  }

  run(coders: readonly Coder[], main: Coder | undefined): { table: string; rows: number }[] {
    const named: (readonly [name: Uint8Array, record: DatabaseRecord])[] = [];
    const counts = new Map<Coder, number>();
    const encoder = new TextEncoder();
    for (const coder of coders) {
      if (coder === main) continue;
      const { name } = coder.table;
      // Version 2 keeps names with the NUL at their end.
      const bytes = encoder.encode(this.#writer.layout.version === 2 ? `${name}\0` : name);
      if (name === '' || name.includes('\0')) this.#misfit(coder, `${shown(name)} is no name of a database`);
      named.push([bytes, this.#tree(coder, [], counts)]);
    }
    named.sort(([a], [b]) => compareBytes(a, b));
    if (main !== undefined) this.#writer.finish(this.#tree(main, named, counts));
    else {
      const tree = new TreeWriter(this.#writer, 0);
      for (const [name, record] of named) this.#checked(undefined, name, () => tree.addDatabase(name, record));
      this.#writer.finish(tree.end());
    }
    return coders.map((coder) => ({ table: coder.table.name, rows: counts.get(coder) ?? 0 }));
  }

  #misfit(coder: Coder | undefined, reason: string, key?: Uint8Array): never {
    const table = coder?.table.name ?? '';
    const where = key === undefined ? '' : `, key ${shown(key)}`;
    throw new TwzError('ValueMismatch', `table ${table}${where}: ${reason}`, { file: this.#file, table });
  }

  #checked(coder: Coder | undefined, key: Uint8Array, add: () => void): void {
    try {
      add();
    } catch (error) {
      if (error instanceof EntryRefused) this.#misfit(coder, error.message, key);
      throw error;
    }
  }

  /** The tree of a table, with the records of other databases among its entries. */
  #tree(coder: Coder, named: readonly (readonly [Uint8Array, DatabaseRecord])[], counts: Map<Coder, number>): DatabaseRecord {
    if (coder.table.ordered) {
      const mark = this.#writer.mark();
      try {
        return this.#fill(coder, this.#entries(coder), named, counts);
      } catch (error) {
        if (!(error instanceof OutOfOrder)) throw error;
        this.#writer.rewind(mark);
      }
    }
    const sorter = new Sorter(this.#host, `${this.#part}.sort`, ([a, x], [b, y]) => coder.compare(a, b) || coder.compareValues(x, y));
    try {
      for (const entry of this.#entries(coder)) sorter.add(entry);
      return this.#fill(coder, sorter.sorted(), named, counts);
    } finally {
      sorter.close();
    }
  }

  *#entries(coder: Coder): Generator<LmdbEntry> {
    for (const row of coder.table.rows()) yield coder.entry(row);
  }

  #fill(
    coder: Coder,
    entries: Iterable<LmdbEntry>,
    named: readonly (readonly [Uint8Array, DatabaseRecord])[],
    counts: Map<Coder, number>,
  ): DatabaseRecord {
    const tree = new TreeWriter(this.#writer, coder.flags, coder.fixed);
    const several = (coder.flags & FLAG.DUPSORT) !== 0;
    let before: LmdbEntry | undefined;
    let rows = 0;
    let next = 0;
    const databases = (key: Uint8Array | undefined): void => {
      for (; next < named.length; next++) {
        const [name, record] = named[next] ?? [new Uint8Array(), new Uint8Array()];
        const order = key === undefined ? -1 : compareBytes(name, key);
        if (order > 0) return;
        if (order === 0) this.#misfit(coder, 'it is the name of another database as well', name);
        this.#checked(coder, name, () => tree.addDatabase(name, record));
      }
    };
    for (const entry of entries) {
      const [key, value] = entry;
      if (before !== undefined) {
        const order = coder.compare(before[0], key) || (several ? coder.compareValues(before[1], value) : 0);
        if (order > 0) throw new OutOfOrder();
        if (order === 0) this.#misfit(coder, 'several keys are written as it', key);
      }
      before = entry;
      databases(key);
      this.#checked(coder, key, () => (several ? tree.addOne(key, value) : tree.add(key, value)));
      if (++rows % 4096 === 0) this.#options.progress?.(coder.table.name, rows);
    }
    databases(undefined);
    counts.set(coder, rows);
    this.#options.progress?.(coder.table.name, rows);
    return tree.end();
  }
}

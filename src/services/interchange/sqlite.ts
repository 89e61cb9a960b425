/**
 * SQLite files. A table becomes an ordered map from its primary key to a struct of its other columns:
 *
 *   key      INTEGER i64, TEXT text, REAL f64, BLOB bytes, several columns a tuple, no primary key the rowid
 *   columns  the same; optional where NULL is allowed. Where the declaration leaves open what a column holds, its values tell.
 *
 * The file is read in place, as it is at one instant, after SQLite's own check of it.
 */
import type { Database, SQLiteValue } from 'node-sqlite3-wasm';
import { TwzError } from '../../abi/errors.ts';
import type { Host } from '../../host/host.ts';
import type { Space } from '../../space.ts';
import { tablesAt, type StoredTable } from './export.ts';
import { writtenFile, type ExportFileOptions, type ExportFileReport } from './files.ts';
import { optionalPackage } from './packages.ts';
import { refuse, staged, type FileStage, type ForeignKey, type ImportFileOptions, type ImportFileReport, type TableInfo } from './stage.ts';
import { plainName, type Column, type Kind } from './row-maps.ts';

export interface ImportSqliteOptions extends ImportFileOptions {
  /** The tables to take (default: all). */
  readonly tables?: readonly string[];
}

type Row = Readonly<Record<string, SQLiteValue>>;

/** Without `expand`, a result has values by column. */
function all(database: Database, sql: string): Row[] {
  return database.all(sql) as Record<string, SQLiteValue>[];
}

async function library(): Promise<typeof Database> {
  const loaded = await optionalPackage('SQLite', 'node-sqlite3-wasm', () => import('node-sqlite3-wasm'));
  return loaded.default.Database;
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** What SQLite says about a file, as one of our errors. */
function fromSqlite(error: unknown, file: string): unknown {
  if (!(error instanceof Error) || error.name !== 'SQLite3Error') return error;
  if (/not a database|malformed|unsupported file format/.test(error.message))
    return new TwzError('FileInvalid', `${file} is no SQLite database, or is damaged: ${error.message}`, { file }, error);
  if (/locked|busy/.test(error.message))
    return new TwzError(
      'FileBusy',
      `${file} is in use (or was, by a program that was killed: remove the directory ${file}.lock)`,
      { file },
      error,
    );
  return new TwzError('IoError', `${file}: SQLite says: ${error.message}`, { file }, error);
}

const MAGIC = 'SQLite format 3\0';

/** What the library cannot tell well by itself. */
function checkHeader(host: Host, file: string): void {
  if (!host.exists(file)) throw new TwzError('FileMissing', `there is no file ${file}`, { file });
  const header = new Uint8Array(100);
  const n = host.readFile(file, header);
  if (n < 100 || String.fromCharCode(...header.subarray(0, 16)) !== MAGIC)
    throw new TwzError('FileInvalid', `${file} is no SQLite database`, { file });
  if (header[19] === 2)
    throw new TwzError('NotSupported', `${file} is in WAL mode: end that first, with PRAGMA journal_mode = DELETE`, { file });
  if ((header[59] ?? 0) > 1) throw new TwzError('NotSupported', `${file} holds UTF-16; only UTF-8 is read`, { file });
}

// --- reading ------------------------------------------------------------------------------------------------------------------

/** Imports the tables of a SQLite file as ordered maps in the namespace `to`. */
export async function importSqlite(space: Space, to: string, file: string, options: ImportSqliteOptions = {}): Promise<ImportFileReport> {
  const Sqlite = await library();
  checkHeader(space.kernel.host, file);
  try {
    const database = new Sqlite(file, { readOnly: true, fileMustExist: true });
    try {
      database.exec('BEGIN');
      const problem = String(all(database, 'PRAGMA quick_check(1)')[0]?.['quick_check']);
      if (problem !== 'ok') throw new TwzError('FileInvalid', `${file} is damaged: ${problem}`, { file });
      return await staged(space, file, to, options, (stage) => new Reader(database, file, options).run(stage));
    } finally {
      database.close();
    }
  } catch (error) {
    throw fromSqlite(error, file);
  }
}

/** The kind that a declared type says; undefined where it leaves it open. */
function declaredKind(type: string): Kind | undefined {
  if (/INT/i.test(type)) return 'i64';
  if (/CHAR|CLOB|TEXT/i.test(type)) return 'text';
  if (/BLOB/i.test(type)) return 'bytes';
  return /REAL|FLOA|DOUB/i.test(type) ? 'f64' : undefined;
}

const WHAT: Readonly<Partial<Record<Kind, string>>> = {
  i64: 'an integer up to 2^53 - 1 (larger ones: import them as bigints)',
  bigI64: 'an integer',
  f64: 'a number',
  text: 'a text',
  bytes: 'a blob',
};

function fits(kind: Kind, value: SQLiteValue | undefined): boolean {
  switch (kind) {
    case 'i64':
      return Number.isSafeInteger(value);
    case 'f64':
      return typeof value === 'number';
    case 'bytes':
      return value instanceof Uint8Array;
    case 'bigI64':
      return typeof value === 'bigint' || Number.isSafeInteger(value);
    default:
      return typeof value === 'string';
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

class Reader {
  readonly #database: Database;
  readonly #file: string;
  readonly #options: ImportSqliteOptions;
  readonly #types = new Set<string>();

  constructor(database: Database, file: string, options: ImportSqliteOptions) {
    this.#database = database;
    this.#file = file;
    this.#options = options;
  }

  async run(stage: FileStage): Promise<void> {
    const { tables = [] } = this.#options;
    const present = all(
      this.#database,
      "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    ).map((row) => String(row['name']));
    const missing = tables.find((table) => !present.includes(table));
    if (missing !== undefined) throw new TwzError('InvalidArgument', `${this.#file} has no table ${missing}`, { table: missing });
    for (const table of tables.length === 0 ? present : tables) await this.#table(stage, table);
  }

  async #table(stage: FileStage, table: string): Promise<void> {
    const described = all(this.#database, `PRAGMA table_xinfo(${quoted(table)})`).filter((row) => row['hidden'] !== 1);
    const fields = new Set<string>();
    const columns: Column[] = [];
    const keys: { readonly at: number; readonly column: Column }[] = [];
    for (const row of described) {
      const name = String(row['name']);
      const at = Number(row['pk']);
      const type = String(row['type']);
      const kind = this.#kindOf(table, name, type);
      if (at > 0) keys.push({ at, column: { name, field: '', kind, optional: false, declared: type } });
      else columns.push({ name, field: plainName(name, fields), kind, optional: row['notnull'] === 0, declared: type });
    }
    const key = keys.sort((a, b) => a.at - b.at).map(({ column }) => column);
    const info: TableInfo = {
      table,
      map: table.replaceAll(/[/\0]/g, '_'),
      type: plainName(table, this.#types),
      key,
      columns,
      foreignKeys: this.#foreignKeys(table),
    };
    const names = new Set(described.map((row) => String(row['name']).toLowerCase()));
    const rowid = ['rowid', '_rowid_', 'oid'].find((name) => !names.has(name)) ?? 'rowid';
    const number: Column = { name: rowid, field: '', kind: this.#options.bigints === true ? 'bigI64' : 'i64', optional: false };
    await stage.table(info, key.length === 0 ? [number] : key, this.#rows(table, key.length === 0 ? [number] : key, columns));
  }

  #kindOf(table: string, column: string, type: string): Kind {
    const declared = declaredKind(type);
    let kind = declared;
    if (kind === undefined) {
      const found = all(this.#database, `SELECT DISTINCT typeof(${quoted(column)}) AS kind FROM ${quoted(table)}`)
        .map((row) => String(row['kind']))
        .filter((each) => each !== 'null')
        .sort()
        .join(' ');
      if (found === 'integer') kind = 'i64';
      else if (found === 'real' || found === 'integer real') kind = 'f64';
      else if (found === 'blob') kind = 'bytes';
      // A value of another kind is refused with its row.
      else kind = found === '' && type !== '' ? 'f64' : 'text';
    }
    return kind === 'i64' && this.#options.bigints === true ? 'bigI64' : kind;
  }

  #foreignKeys(table: string): ForeignKey[] {
    const found = new Map<string, { columns: string[]; table: string; to: string[] }>();
    const list = all(this.#database, `PRAGMA foreign_key_list(${quoted(table)})`);
    for (const row of list.sort((a, b) => Number(a['id']) - Number(b['id']) || Number(a['seq']) - Number(b['seq']))) {
      const id = String(row['id']);
      const known = found.get(id) ?? { columns: [], table: String(row['table']), to: [] };
      known.columns.push(String(row['from']));
      if (row['to'] !== null) known.to.push(String(row['to']));
      found.set(id, known);
    }
    return [...found.values()];
  }

  /** Texts with a NUL in them: the library cuts them off there, so they are read as bytes. */
  #withNul(table: string, columns: readonly Column[]): ReadonlySet<Column> {
    const texts = columns.filter(({ kind }) => kind === 'text');
    if (texts.length === 0) return new Set();
    const sums = texts.map(({ name }, i) => `max(typeof(${quoted(name)}) = 'text' AND instr(${quoted(name)}, char(0)) > 0) AS c${i}`);
    const [found] = all(this.#database, `SELECT ${sums.join(', ')} FROM ${quoted(table)}`);
    return new Set(texts.filter((_column, i) => found?.[`c${i}`] === 1));
  }

  *#rows(table: string, key: readonly Column[], columns: readonly Column[]): Generator<readonly [unknown, unknown]> {
    const every = [...key, ...columns];
    const nul = this.#withNul(table, every);
    const selected = every.map((column, i) => {
      const name = quoted(column.name);
      return `${nul.has(column) ? `CASE typeof(${name}) WHEN 'text' THEN CAST(${name} AS BLOB) ELSE ${name} END` : name} AS c${i}`;
    });
    const order = key.map(({ name }) => `${quoted(name)} COLLATE BINARY`).join(', ');
    const statement = this.#database.prepare(`SELECT ${selected.join(', ')} FROM ${quoted(table)} ORDER BY ${order}`);
    const names = every.map((_column, i) => `c${i}`);
    const parts = key.length;
    try {
      for (const result of statement.iterate()) {
        const row = result as Record<string, SQLiteValue>;
        const values = every.map((column, i) => this.#value(table, column, row[names[i] ?? ''], row, parts, nul.has(column)));
        if (columns.length === 0) {
          yield [parts === 1 ? values[0] : values, true];
          continue;
        }
        const value: Record<string, unknown> = {};
        for (const [i, { field }] of columns.entries()) value[field] = values[parts + i];
        yield [parts === 1 ? values[0] : values.slice(0, parts), value];
      }
    } finally {
      statement.finalize();
    }
  }

  #value(table: string, column: Column, stored: SQLiteValue | undefined, row: Row, parts: number, asBytes: boolean): unknown {
    if (stored === null && column.optional) return undefined;
    const value = asBytes && stored instanceof Uint8Array ? decoder.decode(stored) : stored;
    const { kind } = column;
    if (!fits(kind, value)) {
      const where = Array.from({ length: parts }, (_, i) => shown(row[`c${i}`])).join(', ');
      refuse(this.#file, table, column.name, where, `expected ${WHAT[kind] ?? kind}, found ${shown(value)}`);
    }
    return kind === 'bigI64' && typeof value === 'number' ? BigInt(value) : value;
  }
}

function shown(value: SQLiteValue | undefined): string {
  if (value === null || value === undefined) return 'NULL';
  if (value instanceof Uint8Array) return `a blob of ${value.length} bytes`;
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value);
}

// --- writing ------------------------------------------------------------------------------------------------------------------

const DECLARED: Readonly<Partial<Record<Kind, string>>> = { text: 'TEXT', bytes: 'BLOB', f64: 'REAL', f32: 'REAL' };

/** The type that a column is declared with: the one that it came with, where it says the same. */
function declaration({ kind, declared = '' }: Column): string {
  const plain = DECLARED[kind] ?? 'INTEGER';
  const same =
    /^[A-Za-z_][\w ]*(\( *\d+ *(, *\d+ *)?\))?$/.test(declared) &&
    (declaredKind(declared) ?? kind).replace('bigI', 'i') === kind.replace('bigI', 'i');
  return same ? declared : plain;
}

/** Writes the maps of a namespace, or one map, as the tables of a new SQLite file. */
export async function exportSqlite(space: Space, from: string, file: string, options: ExportFileOptions = {}): Promise<ExportFileReport> {
  const Sqlite = await library();
  const tables = tablesAt(space, from);
  return writtenFile(space.kernel.host, file, options, async (part) => {
    try {
      const database = new Sqlite(part);
      try {
        database.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; BEGIN');
        const written = tables.map((table) => ({ table: table.name, rows: writeTable(database, file, table, tables, options) }));
        database.exec('COMMIT');
        return { file, rows: written.reduce((sum, { rows }) => sum + rows, 0), tables: written };
      } finally {
        database.close();
      }
    } catch (error) {
      throw fromSqlite(error, file);
    }
  });
}

function writeTable(database: Database, file: string, table: StoredTable, all: readonly StoredTable[], options: ExportFileOptions): number {
  const { keys, columns } = table;
  const lines = columns.map((column) => `${quoted(column.name)} ${declaration(column)}${column.optional ? '' : ' NOT NULL'}`);
  if (!table.numbered) {
    const [only] = keys;
    // One of integers is the rowid itself.
    if (keys.length === 1 && only !== undefined && (DECLARED[only.kind] ?? 'INTEGER') === 'INTEGER')
      lines.unshift(`${quoted(only.name)} INTEGER PRIMARY KEY`);
    else {
      lines.unshift(...keys.map((column) => `${quoted(column.name)} ${declaration(column)} NOT NULL`));
      lines.push(`PRIMARY KEY (${keys.map(({ name }) => quoted(name)).join(', ')})`);
    }
  }
  for (const { columns: from, table: target, to } of table.foreignKeys) {
    if (!all.some(({ name }) => name.toLowerCase() === target.toLowerCase())) continue;
    const there = to.length === 0 ? '' : ` (${to.map(quoted).join(', ')})`;
    lines.push(`FOREIGN KEY (${from.map(quoted).join(', ')}) REFERENCES ${quoted(target)}${there}`);
  }
  if (lines.length === 0) throw new TwzError('NotSupported', `${table.name} has no columns`, { table: table.name });
  database.exec(`CREATE TABLE ${quoted(table.name)} (${lines.join(', ')})`);
  const stored = [...keys, ...columns];
  const names = new Set(columns.map(({ name }) => name.toLowerCase()));
  const rowid = ['rowid', '_rowid_', 'oid'].find((name) => !names.has(name)) ?? 'rowid';
  const into = stored.map(({ name }, i) => (table.numbered && i === 0 ? rowid : quoted(name)));
  // A text with a NUL goes in as bytes: the library would cut it off.
  const places = stored.map(({ kind }) => (kind === 'text' ? 'CAST(? AS TEXT)' : '?'));
  const statement = database.prepare(`INSERT INTO ${quoted(table.name)} (${into.join(', ')}) VALUES (${places.join(', ')})`);
  let rows = 0;
  try {
    for (const values of table.rows()) {
      statement.run(values.map((value, i) => bound(value, file, table, stored[i]?.name ?? '', values)));
      if (++rows % 4096 === 0) options.progress?.(table.name, rows);
    }
  } finally {
    statement.finalize();
  }
  options.progress?.(table.name, rows);
  return rows;
}

const encoder = new TextEncoder();

function bound(value: unknown, file: string, table: StoredTable, column: string, row: readonly unknown[]): SQLiteValue {
  if (value === undefined) return null;
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value === 'string') return value.includes('\0') ? encoder.encode(value) : value;
  const misfit = (what: string): never => {
    const key = row.slice(0, table.keys.length).map(String).join(', ');
    throw new TwzError('ValueMismatch', `table ${table.name}, row ${key}, column ${column}: SQLite has no ${what}`, {
      file,
      table: table.name,
      column,
      row: key,
    });
  };
  if (typeof value === 'number') return Number.isNaN(value) ? misfit('NaN') : value;
  if (typeof value === 'bigint') return value >= 2n ** 63n ? misfit('integers past 2^63') : value;
  return value instanceof Uint8Array ? value : misfit('such values');
}

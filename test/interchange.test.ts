/** T18: SQLite, Parquet and LMDB files become ordered maps and come out again, row by row the same; what does not fit is refused by name. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer, type ColumnSource, type SchemaElement } from 'hyparquet-writer';
import sqlite, { type SQLiteValue } from 'node-sqlite3-wasm';
import { chooseHost } from '../src/host/choose.ts';
import {
  bigU64,
  bool,
  bytes,
  f32,
  f64,
  i32,
  i64,
  i8,
  isTwzError,
  open,
  optional,
  orderedMap,
  struct,
  text,
  tuple,
  u16,
  u32,
  type ErrorName,
  type Space,
} from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';
import { optionalPackage } from '../src/services/interchange/packages.ts';
import { exportParquet, exportSqlite, importParquet, importSqlite, openMap } from '../src/services/interchange.ts';
import { runTwz, type Ran } from './twz.ts';

const home = mkdtempSync(join(tmpdir(), 'twizzler-interchange-'));
after(() => rmSync(home, { recursive: true, force: true }));
let files = 0;
const fresh = (ending = ''): string => join(home, `${files++}${ending}`);
const host = chooseHost(() => undefined);

/** A database, filled by SQL. */
function database(sql: string, fill?: (run: (insert: string, values: SQLiteValue[]) => void) => void): string {
  const file = fresh('.db');
  const db = new sqlite.Database(file);
  db.exec(sql);
  if (fill !== undefined) {
    db.exec('BEGIN');
    fill((insert, values) => db.all(insert, values));
    db.exec('COMMIT');
  }
  db.close();
  return file;
}

/** All rows of a table, with what SQLite calls their values' types. */
function dump(file: string, table: string, columns: readonly string[], order: string): unknown[] {
  const db = new sqlite.Database(file, { readOnly: true });
  const select = columns.map((name, i) => `"${name}" AS c${i}, typeof("${name}") AS t${i}, hex("${name}") AS h${i}`);
  const rows = db.all(`SELECT ${select.join(', ')} FROM "${table}" ORDER BY ${order}`);
  db.close();
  return rows;
}

/** The space is closed and sound. */
function sound(space: Space): void {
  const { directory } = space;
  space.close();
  const report = checkSpace(host, directory);
  assert.deepEqual(
    report.findings.filter(({ severity }) => severity !== 'note'),
    [],
  );
}

async function refused(name: ErrorName, pattern: RegExp, run: () => Promise<unknown>): Promise<void> {
  await assert.rejects(
    run,
    (error: unknown) => {
      assert.ok(isTwzError(error, name), String(error));
      assert.match(error.message, pattern);
      return true;
    },
    `${name} ${String(pattern)}`,
  );
}

const SHOP = `
  CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born INT, rating REAL, photo BLOB, "home town" VARCHAR(20));
  CREATE TABLE tags (name TEXT PRIMARY KEY, weight NUMERIC, free) WITHOUT ROWID;
  CREATE TABLE orders (customer INTEGER REFERENCES customers(id), tag TEXT, amount REAL NOT NULL,
    PRIMARY KEY (customer, tag), FOREIGN KEY (tag) REFERENCES tags);
  CREATE TABLE notes (line TEXT);
  CREATE TABLE words (word TEXT PRIMARY KEY COLLATE NOCASE, n INTEGER);
  INSERT INTO words VALUES ('ab', 1), ('B', 2), ('C', 3), ('c2', 4);
  CREATE TABLE pairs (a INTEGER NOT NULL, b BLOB NOT NULL, PRIMARY KEY (a, b));
  CREATE VIEW big AS SELECT * FROM orders WHERE amount > 10;
  INSERT INTO customers VALUES (1, 'Alice', 1990, 4.5, x'00ff', 'Bern'), (-7, 'Zoë 🦉', NULL, 2, x'', NULL), (9007199254740991, '', -5, -1e300, NULL, '');
  INSERT INTO customers VALUES (2, CAST(x'610062' AS TEXT), 0, NULL, NULL, NULL);
  INSERT INTO tags VALUES ('b', 1.5, 'x'), ('a', 2, NULL), ('', 3, 'y'), ('ab', NULL, 'z');
  INSERT INTO orders VALUES (1, 'b', 12.5), (1, 'a', 3), (-7, 'a', 0.1);
  INSERT INTO notes VALUES ('one'), (NULL), ('three');
  DELETE FROM notes WHERE line IS NULL;
  INSERT INTO pairs VALUES (1, x'00'), (1, x''), (0, x'ff00');
`;

const SHOP_TABLES: readonly (readonly [table: string, columns: readonly string[], order: string])[] = [
  ['customers', ['id', 'name', 'born', 'rating', 'photo', 'home town'], 'id'],
  ['tags', ['name', 'weight', 'free'], 'name'],
  ['orders', ['customer', 'tag', 'amount'], 'customer, tag'],
  ['notes', ['rowid', 'line'], 'rowid'],
  ['words', ['word', 'n'], 'word COLLATE BINARY'],
  ['pairs', ['a', 'b'], 'a, b'],
];

test('T18 SQLite: tables become ordered maps of structs, and the same tables again', async () => {
  const file = database(SHOP);
  const space = open(fresh());
  const report = await importSqlite(space, '/shop', file);
  assert.deepEqual(
    report.tables.map(({ table, rows, foreignKeys }) => [table, rows, foreignKeys]),
    [
      ['customers', 4, []],
      ['notes', 2, []],
      [
        'orders',
        3,
        [
          { columns: ['tag'], table: 'tags', to: [] },
          { columns: ['customer'], table: 'customers', to: ['id'] },
        ],
      ],
      ['pairs', 3, []],
      ['tags', 4, []],
      ['words', 4, []],
    ],
  );
  // The types are those that a program would declare.
  const Orders = struct('orders', { amount: f64 });
  const orders = space.names.get('/shop/orders', orderedMap(tuple(i64, text), Orders));
  assert.deepEqual(
    [...orders].map(([key, { amount }]) => [key, amount]),
    [
      [[-7, 'a'], 0.1],
      [[1, 'a'], 3],
      [[1, 'b'], 12.5],
    ],
  );
  const tags = space.names.get('/shop/tags', orderedMap(text, struct('tags', { weight: optional(f64), free: optional(text) })));
  assert.deepEqual(
    [...tags].map(([key, { weight, free }]) => [key, weight, free]),
    [
      ['', 3, 'y'],
      ['a', 2, undefined],
      ['ab', undefined, 'z'],
      ['b', 1.5, 'x'],
    ],
  );
  assert.deepEqual(
    [...openMap(space, '/shop/pairs')],
    [
      [[0, Uint8Array.of(255, 0)], true],
      [[1, new Uint8Array()], true],
      [[1, Uint8Array.of(0)], true],
    ],
  );

  const back = fresh('.db');
  const written = await exportSqlite(space, '/shop', back);
  assert.equal(written.rows, report.rows);
  for (const [table, columns, order] of SHOP_TABLES) {
    const rows = dump(file, table, columns, order);
    assert.ok(rows.length > 1);
    assert.deepEqual(dump(back, table, columns, order), rows, table);
  }
  const db = new sqlite.Database(back, { readOnly: true });
  assert.deepEqual(
    db.all('PRAGMA foreign_key_list(orders)').map(({ table, from }) => [table, from]),
    [
      ['customers', 'customer'],
      ['tags', 'tag'],
    ],
  );
  db.close();
  sound(space);
});

test('T18 SQLite: what does not fit is refused with its table, column and row, and nothing is left', async () => {
  const space = open(fresh());
  const cases: readonly (readonly [sql: string, context: Readonly<Record<string, string>>])[] = [
    [
      "CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER); INSERT INTO t VALUES ('a', 1), ('b', 'many')",
      { table: 't', column: 'n', row: '"b"' },
    ],
    ['CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1), (9007199254740992)', { table: 't', column: 'n', row: '2' }],
    ['CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1.5)', { table: 't', column: 'n', row: '1' }],
    ["CREATE TABLE t (s TEXT); INSERT INTO t VALUES (x'61')", { table: 't', column: 's', row: '1' }],
    ["CREATE TABLE t (any); INSERT INTO t VALUES ('a'), (2)", { table: 't', column: 'any', row: '2' }],
    ['CREATE TABLE t (k TEXT PRIMARY KEY); INSERT INTO t VALUES (NULL)', { table: 't', column: 'k', row: 'NULL' }],
  ];
  for (const [sql, context] of cases) {
    // A table before it, which is all in when this one is refused.
    const file = database(`CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1); ${sql}`);
    await assert.rejects(importSqlite(space, '/t', file), (error: unknown) => {
      assert.ok(isTwzError(error, 'ImportRefused'), String(error));
      assert.deepEqual(error.context, { source: file, ...context });
      return true;
    });
    assert.equal(space.names.lookup('/t'), undefined);
    assert.deepEqual(space.names.list('/imports'), []);
  }
  const large = database('CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (9223372036854775807), (-9223372036854775808)');
  await importSqlite(space, '/t', large, { bigints: true });
  const back = fresh('.db');
  await exportSqlite(space, '/t', back);
  assert.deepEqual(dump(back, 't', ['n'], 'rowid'), dump(large, 't', ['n'], 'rowid'));
  await refused('NameExists', /"\/t" is taken/, () => importSqlite(space, '/t', large));
  await importSqlite(space, '/t', database('CREATE TABLE u (n INTEGER)'), { replace: true });
  assert.deepEqual(
    space.names.list('/t').map(({ name }) => name),
    ['interchange.catalog', 'u'],
  );
  assert.deepEqual(space.reclaim().deleted, []);
  sound(space);
});

test('T18 SQLite: files that are none, or are damaged, are refused by name', async () => {
  const space = open(fresh());
  const good = database('CREATE TABLE t (k INTEGER PRIMARY KEY, s TEXT); CREATE INDEX u ON t (s)', (run) => {
    for (let i = 0; i < 2000; i++) run('INSERT INTO t VALUES (?, ?)', [i, `text ${i}`]);
  });
  const bytes = readFileSync(good);
  const variant = (change: (copy: Buffer) => Buffer): string => {
    const file = fresh('.db');
    writeFileSync(file, change(Buffer.from(bytes)));
    return file;
  };
  const attempts: readonly (readonly [ErrorName, RegExp, string])[] = [
    ['FileMissing', /no file/, join(home, 'nothing.db')],
    ['FileInvalid', /is no SQLite database/, variant(() => Buffer.from('name,age\nAlice,30\n'.repeat(100)))],
    ['FileInvalid', /is no SQLite database/, variant((copy) => copy.subarray(0, 50))],
    ['FileInvalid', /damaged/, variant((copy) => copy.subarray(0, 4096 * 3))],
    ['FileInvalid', /damaged/, variant((copy) => copy.fill(0xaa, 4096 * 2, 4096 * 3))],
    // The root of the index, which no row is read through.
    ['FileInvalid', /is damaged: /, variant((copy) => copy.fill(0, 4096 * 2 + 3, 4096 * 2 + 5))],
    ['NotSupported', /WAL/, variant((copy) => copy.fill(2, 18, 20))],
  ];
  for (const [name, pattern, file] of attempts) await refused(name, pattern, () => importSqlite(space, '/t', file));
  await refused('InvalidArgument', /no table u/, () => importSqlite(space, '/t', good, { tables: ['u'] }));
  const copy = fresh('.db');
  copyFileSync(good, copy);
  await importSqlite(space, '/t', copy);
  await refused('InvalidArgument', /is there already/, () => exportSqlite(space, '/t', copy));
  assert.deepEqual(readFileSync(copy), bytes);
  await exportSqlite(space, '/t', copy, { replace: true });
  assert.deepEqual(dump(copy, 't', ['k', 's'], 'k'), dump(good, 't', ['k', 's'], 'k'));
  assert.deepEqual(
    readdirSync(home).filter((name) => /part|lock|journal/.test(name)),
    [],
  );
  sound(space);
});

/** All rows of a Parquet file, as another program reads them. */
async function parquetRows(file: string): Promise<Record<string, unknown>[]> {
  const bytes = new Uint8Array(readFileSync(file));
  return parquetReadObjects({ file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength), utf8: false });
}

test('T18 Parquet: rows become an ordered map by their number, and the same rows again', async () => {
  const file = fresh('.parquet');
  const count = 4_000;
  const at = <T>(make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
  const columnData = [
    { name: 'id', type: 'INT64' as const, nullable: false, data: at((i) => BigInt(i) * 200_000_000_000n - 5n) },
    { name: 'name', type: 'STRING' as const, nullable: false, data: at((i) => (i % 97 === 0 ? '\uFEFFa\0b é🦉' : `name ${i % 1000}`)) },
    { name: 'score', type: 'DOUBLE' as const, data: at((i) => (i % 3 === 0 ? null : i / 7 - 1000)) },
    { name: 'small', type: 'INT32' as const, nullable: false, data: at((i) => i - 2_000) },
    { name: 'good', type: 'BOOLEAN' as const, nullable: false, data: at((i) => i % 5 === 0) },
    { name: 'raw data', type: 'BYTE_ARRAY' as const, data: at((i) => (i % 4 === 0 ? null : Uint8Array.of(i, i >> 8, 0))) },
    { name: 'when', type: 'TIMESTAMP' as const, nullable: false, data: at((i) => new Date(i * 1000)) },
  ];
  writeFileSync(file, new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 1_500 })));
  const space = open(fresh());
  const report = await importParquet(space, '/data', file);
  assert.equal(report.rows, count);
  const Rows = struct('rows', { id: i64, name: text, score: optional(f64), small: i32, good: bool, raw_data: optional(bytes), when: i64 });
  const rows = space.names.get('/data/rows', orderedMap(u32, Rows));
  let i = 0;
  for (const [key, row] of rows) {
    const expected = columnData.map(({ data }) => data[i] ?? undefined);
    expected[0] = Number(expected[0]);
    expected[6] = i * 1000;
    assert.deepEqual([key, row.id, row.name, row.score, row.small, row.good, row.raw_data, row.when], [i++, ...expected]);
  }
  assert.equal(i, count);
  const back = fresh('.parquet');
  await exportParquet(space, '/data', back);
  const again = await parquetRows(back);
  const before = (await parquetRows(file)).map((row) => ({ ...row, when: BigInt(Number(row['when'])) }));
  assert.equal(again.length, count);
  for (const [n, row] of again.entries()) assert.deepEqual(row, before[n]);

  // A map of a program's own: its keys are columns.
  const Thing = struct('Thing', { a: i8, b: u16, c: u32, d: bigU64, e: f32, key: optional(text) });
  space.relaxed(() => {
    const map = space.create(orderedMap(text, Thing));
    space.names.set('/things', map);
    map.set('x', { a: -128, b: 65535, c: 2 ** 32 - 1, d: 2n ** 64n - 1n, e: 0.5, key: 'k' });
    map.set('y', { a: 127, e: -Infinity });
  });
  const things = fresh('.parquet');
  await exportParquet(space, '/things', things);
  await importParquet(space, '/again', things, { bigints: true });
  assert.deepEqual(
    [...openMap(space, '/again/rows').values()].map((row) =>
      ['key_', 'a', 'b', 'c', 'd', 'e', 'key'].map((name) => Reflect.get(Object(row), name)),
    ),
    [
      ['x', -128, 65535, 4294967295n, 2n ** 64n - 1n, 0.5, 'k'],
      ['y', 127, 0, 0n, 0n, -Infinity, undefined],
    ],
  );
  sound(space);
});

test('T18 Parquet: foreign, damaged and nested files are refused by name', async () => {
  const space = open(fresh());
  const file = (columnData: ColumnSource[], ...schema: SchemaElement[]): string => {
    const path = fresh('.parquet');
    const said = schema.length === 0 ? {} : { schema: [{ name: 'root', num_children: 1 }, ...schema] };
    writeFileSync(path, new Uint8Array(parquetWriteBuffer({ columnData, ...said })));
    return path;
  };
  const numbers = file([{ name: 'n', data: Array.from({ length: 1000 }, (_, i) => i / 3) }]);
  const bytes = readFileSync(numbers);
  const variant = (change: (copy: Buffer) => Buffer): string => {
    const path = fresh('.parquet');
    writeFileSync(path, change(Buffer.from(bytes)));
    return path;
  };
  const attempts: readonly (readonly [ErrorName, RegExp, string])[] = [
    ['FileMissing', /no file/, join(home, 'nothing.parquet')],
    ['FileInvalid', /no Parquet file/, database('CREATE TABLE t (a)')],
    ['FileInvalid', /no Parquet file/, variant((copy) => copy.subarray(0, copy.length - 20))],
    ['FileInvalid', /no Parquet file/, variant((copy) => copy.fill(0xee, copy.length - 60, copy.length - 8))],
    ['FileInvalid', /no Parquet file/, variant((copy) => copy.fill(0xee, 4, 40))],
    [
      'NotSupported',
      /column list: a nested schema is not read/,
      file(
        [{ name: 'list', data: [[1, 2], [3]] }],
        { name: 'list', repetition_type: 'OPTIONAL', converted_type: 'LIST', num_children: 1 },
        { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
        { name: 'element', repetition_type: 'OPTIONAL', type: 'INT32' },
      ),
    ],
    [
      'NotSupported',
      /column price: a decimal number/,
      file([{ name: 'price', data: [1.5] }], {
        name: 'price',
        type: 'INT32',
        repetition_type: 'REQUIRED',
        converted_type: 'DECIMAL',
        scale: 2,
        precision: 9,
      }),
    ],
    ['ImportRefused', /table rows, row 1, column n: expected an integer/, file([{ name: 'n', data: [1n, 2n ** 53n], type: 'INT64' }])],
  ];
  for (const [name, pattern, path] of attempts) {
    await refused(name, pattern, () => importParquet(space, '/t', path));
    assert.equal(space.names.lookup('/t'), undefined);
    assert.deepEqual(space.names.lookup('/imports') === undefined ? [] : space.names.list('/imports'), []);
  }
  await importSqlite(space, '/two', database('CREATE TABLE a (x INTEGER); CREATE TABLE b (x INTEGER)'));
  await refused('NotSupported', /name the map/, () => exportParquet(space, '/two', fresh('.parquet')));
  await refused('NotSupported', /holds no maps/, () => exportParquet(space, '/imports', fresh('.parquet')));
  sound(space);
});

test('T18, T1 interchange: killed, an import leaves nothing that is seen, and the next one nothing else', async () => {
  const file = database('CREATE TABLE a (x INTEGER PRIMARY KEY); CREATE TABLE t (k INTEGER PRIMARY KEY, s TEXT)', (run) => {
    for (let i = 0; i < 3000; i++) run('INSERT INTO t VALUES (?, ?)', [i, `text ${i}`]);
  });
  const at = fresh();
  const program = `
    import { open } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)};
    import { importSqlite } from ${JSON.stringify(new URL('../src/services/interchange.js', import.meta.url).href)};
    await importSqlite(open(process.argv[1]), '/shop', process.argv[2], {
      batch: 500,
      progress: (table, rows) => { if (rows === 1500) process.kill(process.pid, 'SIGKILL'); },
    });
  `;
  const { signal, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program, at, file], { encoding: 'utf8' });
  assert.equal(signal, 'SIGKILL', stderr);
  const space = open(at);
  assert.equal(space.names.lookup('/shop'), undefined);
  assert.deepEqual(
    space.names.list('/imports').map(({ name }) => name),
    ['.shop.part'],
  );
  // The library's lock outlives the process.
  await refused('FileBusy', /remove the directory .*\.lock\)$/, () => importSqlite(space, '/shop', file));
  rmSync(`${file}.lock`, { recursive: true });
  await importSqlite(space, '/shop', file);
  assert.equal(openMap(space, '/shop/t').size, 3000);
  assert.deepEqual(space.names.list('/imports'), []);
  // What a space has that never saw the killed one; the first object to be deleted makes one of the kernel's own.
  const untouched = open(fresh());
  untouched.relaxed(() => untouched.delete(untouched.createRaw()));
  await importSqlite(untouched, '/shop', file);
  assert.equal([...space.ids()].length, [...untouched.ids()].length);
  sound(untouched);
  sound(space);
});

test('T18 interchange: a package that is missing is told with the line that installs it', async () => {
  const missing = Object.assign(new Error("Cannot find package 'x'"), { code: 'ERR_MODULE_NOT_FOUND' });
  await refused('PackageMissing', /SQLite needs .*: npm install node-sqlite3-wasm$/, () =>
    optionalPackage('SQLite', 'node-sqlite3-wasm', () => Promise.reject(missing)),
  );
  const broken = new Error('broken');
  await assert.rejects(
    optionalPackage('SQLite', 'x', () => Promise.reject(broken)),
    broken,
  );
});

test('T18 twz: import and export of files of other systems', () => {
  const at = fresh();
  const run = (...args: string[]): Ran => runTwz({ args: [...args, '-s', at], cwd: home, input: '', env: process.env });
  assert.equal(run('init').code, 0);
  const file = database("CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER); INSERT INTO t VALUES ('a', 1), ('b', NULL)");
  const imported = run('import', file, '--name', 'things');
  assert.deepEqual([imported.code, imported.err], [0, '']);
  assert.match(imported.out, /^\/imports\/things\/t: 2 rows\n\/imports\/things: 1 map, 2 rows in /);
  assert.match(run('export', '/imports/things', 'out.sqlite').out, /^out.sqlite: 1 table, 2 rows\n$/);
  assert.deepEqual(dump(join(home, 'out.sqlite'), 't', ['k', 'n'], 'k'), dump(file, 't', ['k', 'n'], 'k'));
  assert.deepEqual(
    [run('export', '/imports/things', 'out.sqlite').code, run('export', '/imports/things/t', 'out.sqlite', '-f').code],
    [2, 0],
  );
  const report: unknown = JSON.parse(run('import', file, '--name', '/mine', '--json').out);
  assert.ok(typeof report === 'object' && report !== null && 'path' in report && report.path === '/mine');
  const refused_ = run('import', 'cli.js', '--format', 'sqlite');
  assert.deepEqual([refused_.code, refused_.err.slice(0, 16)], [3, 'twz: FileMissing']);
});

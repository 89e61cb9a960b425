/** T21: the interface of SQL databases, and the same random statements on ours and on another build of SQLite. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import reference from 'node-sqlite3-wasm';
import { isTwzError } from '../src/index.ts';
import { openDatabase, type Database, type SqlInput, type SqlValue } from '../src/services/sqlite.ts';
import { Ground, fails, onHosts, rejects, thrown } from './hosts.ts';
import { runScript, type Tally } from './sqllogictest.ts';
import { amount } from './thorough.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const sha256 = (file: string): string =>
  createHash('sha256')
    .update(fs.readFileSync(path.join(ROOT, file)))
    .digest('hex');

test('T21: the program that is checked in is the one that its facts tell of, built of the C files that are there', () => {
  const facts: { wasm: string; sqlite: string; files: Record<string, string> } = JSON.parse(
    fs.readFileSync(path.join(ROOT, 'wasm/sqlite.json'), 'utf8'),
  );
  assert.equal(sha256('wasm/sqlite.wasm'), facts.wasm);
  const files = fs.readdirSync(path.join(ROOT, 'wasm/sqlite')).sort();
  assert.deepEqual(Object.keys(facts.files), files);
  for (const file of files) assert.equal(sha256(`wasm/sqlite/${file}`), facts.files[file], `${file} changed: run scripts/build-sqlite`);
  assert.match(facts.sqlite, /^3\.\d+\.\d+$/);
});

function withDatabase(body: (database: Database, ground: Ground) => void): (ground: Ground) => void {
  return (ground) => {
    const database = openDatabase(ground.open(), '/db', { durability: 'relaxed' });
    body(database, ground);
    database.close();
  };
}

onHosts(
  'T21: values of all types go in and come out as they were',
  withDatabase((database) => {
    database.exec('CREATE TABLE v(x)');
    const values: SqlInput[] = [
      null,
      0,
      -1,
      1.5,
      -0.1,
      2 ** 31,
      -(2 ** 31) - 1,
      2 ** 53 - 1,
      -(2 ** 53) + 1,
      1e300,
      5e-324,
      Infinity,
      '',
      'a\0b',
    ];
    values.push('Zoë 😀', 'x'.repeat(300_000), new Uint8Array(0), new Uint8Array([0, 255, 0]), new Uint8Array(70_000).fill(7));
    const insert = database.prepare('INSERT INTO v VALUES (?)');
    for (const value of values) insert.run(value);
    assert.deepEqual(database.prepare('SELECT x FROM v ORDER BY rowid').pluck().all(), values);
    const echo = database.prepare('SELECT ?').pluck();
    for (const value of values) assert.deepEqual(echo.get(value), value);
    assert.equal(echo.get(true), 1);
    assert.ok(Object.is(echo.get(-0), -0) || echo.get(-0) === 0);
    assert.equal(echo.get(NaN), null);
    // 64 bits, and what is no safe number.
    const big = 2n ** 63n - 1n;
    insert.run(big);
    const last = database.prepare('SELECT x FROM v ORDER BY rowid DESC LIMIT 1').pluck();
    fails('OutOfRange', () => last.get());
    assert.equal(last.safeIntegers().get(), big);
    assert.equal(echo.safeIntegers().get(-(2n ** 63n)), -(2n ** 63n));
    fails('OutOfRange', () => insert.run(2n ** 63n));
    for (const bad of [undefined, {}, [], new Date(), Symbol('s'), () => 1]) fails('InvalidArgument', () => insert.run(bad as SqlInput));
  }),
  ['linux', 'portable'],
);

test('T21: statements: parameters, rows in three shapes, iteration, columns', (t) => {
  const database = openDatabase(new Ground('linux', t).open(), '/db');
  database.exec(`CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, age INT); -- a comment
    INSERT INTO p VALUES (1, 'Ada', 36), (2, 'Bob', NULL);`);
  const insert = database.prepare('INSERT INTO p(name, age) VALUES (:name, $age)');
  assert.deepEqual(insert.run({ name: 'Cid', age: 7 }), { changes: 1, lastInsertRowid: 3 });
  fails('InvalidArgument', () => insert.run({ name: 'Dan' }));
  fails('InvalidArgument', () => insert.run('Dan'));
  fails('InvalidArgument', () => insert.run('a', 1, 2));
  const all = database.prepare('SELECT id, name AS "__proto__", age FROM p WHERE id >= ?');
  const [first] = all.all(1) as Record<string, SqlValue>[];
  assert.ok(first !== undefined && Object.hasOwn(first, '__proto__') && first['age'] === 36);
  assert.deepEqual(all.raw().get(2), [2, 'Bob', null]);
  assert.equal(all.raw(false).get(9), undefined);
  assert.deepEqual([...all.pluck().iterate(2)], [2, 3]);
  assert.deepEqual(all.columns()[1], { name: '__proto__', column: 'name', table: 'p', type: 'TEXT' });
  const bound = database.prepare('SELECT name FROM p WHERE id = ?').pluck().bind(2);
  assert.equal(bound.get(), 'Bob');
  fails('InvalidArgument', () => bound.get(1));
  fails('InvalidArgument', () => bound.bind(1));
  const walk = all.pluck().iterate(1);
  walk.next();
  fails('InvalidArgument', () => all.get(1));
  database.prepare('UPDATE p SET age = 1').run();
  assert.equal(walk.next().value, 2);
  walk.return?.();
  assert.equal(all.get(3), 3);
  for (const bad of ['SELECT 1; SELECT 2', '', ' -- nothing']) fails('InvalidArgument', () => database.prepare(bad));
  const error = thrown(() => database.prepare('SELECT id FROM p WHEREE id'));
  assert.ok(isTwzError(error, 'SqliteFailed') && error.context['sqlite'] === 'SQLITE_ERROR' && error.context['offset'] === 24);
  const taken = thrown(() => insert.run({ name: 'Ada', age: 1 }));
  assert.ok(isTwzError(taken, 'SqliteConstraint') && taken.context['sqlite'] === 'SQLITE_CONSTRAINT_UNIQUE', String(taken));
  const [one] = [database.prepare('SELECT 1')];
  one.finalize();
  fails('SqliteClosed', () => one.get());
  database.close();
  fails('SqliteClosed', () => all.get(1));
});

test('T21: transactions: nested, rolled back, asynchronous ones refused; durable ones resolve; pragmas; a rollback of changed pages', async (t) => {
  const space = new Ground('linux', t).open();
  const database = openDatabase(space, '/db');
  assert.equal(database.durability, 'durable');
  database.exec('CREATE TABLE n(x INTEGER PRIMARY KEY, pad TEXT)');
  const insert = database.prepare('INSERT INTO n VALUES (?, ?)');
  const count = database.prepare('SELECT count(*) FROM n').pluck();
  const synced = space.stat().log;
  insert.run(0, '');
  assert.equal(space.stat().log.synced, space.stat().log.end);
  assert.ok(space.stat().log.end > synced.end);
  const inner = database.transaction((x: number, ok: boolean) => {
    insert.run(x, '');
    if (!ok) throw new RangeError('no');
  });
  const outer = database.transaction(() => {
    inner(1, true);
    assert.throws(() => inner(2, false), RangeError);
    assert.ok(database.inTransaction);
    inner(3, true);
    return 'done';
  });
  assert.equal(outer(), 'done');
  assert.equal(count.get(), 3);
  assert.throws(() => inner(9, false), RangeError);
  fails('TransactionAsync', () => database.transaction(async () => insert.run(9, ''))());
  assert.equal(count.get(), 3);
  assert.ok(!database.inTransaction);
  database.durability = 'relaxed';
  assert.equal(database.pragma('synchronous', { simple: true }), 1);
  assert.deepEqual(database.pragma('journal_mode = WAL'), database.pragma('journal_mode = DELETE'));
  database.pragma('synchronous = FULL');
  assert.equal(database.durability, 'durable');
  const done = await Promise.all(Array.from({ length: 20 }, (_, i) => database.durable(() => insert.run(100 + i, 'x').changes)));
  assert.deepEqual(done, Array(20).fill(1));
  assert.equal(space.stat().log.synced, space.stat().log.end);
  await rejects(
    'SqliteConstraint',
    database.durable(() => insert.run(100, '')),
  );
  // Pages that are changed and taken back, more of them than the cache has room for.
  database.pragma('cache_size = 10');
  const before = database.serialize();
  database.exec('BEGIN');
  for (let i = 1000; i < 4000; i++) insert.run(i, 'p'.repeat(i % 900));
  assert.equal(count.get(), 3023);
  assert.equal(database.pragma('integrity_check', { simple: true }), 'ok');
  database.exec('ROLLBACK');
  assert.deepEqual(database.serialize(), before);
  database.transaction(() => {
    for (let i = 1000; i < 4000; i++) insert.run(i, 'p'.repeat(i % 900));
  })();
  assert.equal(count.get(), 3023);
  database.exec('DELETE FROM n WHERE x >= 500; VACUUM');
  assert.equal(database.pragma('integrity_check', { simple: true }), 'ok');
  assert.equal(count.get(), 23);
  const again = openDatabase(space, '/db', { readonly: true });
  assert.deepEqual(again.serialize(), database.serialize());
  // A transaction of the space around it counts for both.
  const thrownOut = thrown(() =>
    space.relaxed(() => {
      insert.run(77, 'gone');
      throw new Error('out');
    }),
  );
  assert.ok(thrownOut instanceof Error && thrownOut.message === 'out');
  assert.equal(count.get(), 23);
  insert.run(78, 'stays');
  assert.equal(count.get(), 24);
  assert.equal(again.prepare('SELECT max(x) FROM n').pluck().get(), 119);
  again.close();
  database.close();
});

test('T21: functions of JavaScript in SQL', (t) => {
  const database = openDatabase(new Ground('linux', t).open(), '/db');
  database.function('twice', { deterministic: true }, (x) => (typeof x === 'number' ? x * 2 : x));
  database.function('joined', { varargs: true }, (...all) => all.join('+'));
  database.function('fail', () => {
    throw new RangeError('on purpose');
  });
  const other = database.prepare('SELECT 40 + ?').pluck();
  database.function('ask', (x) => other.get(x) as number);
  assert.deepEqual(database.prepare("SELECT twice(21), twice(x'0102'), joined(1, 'b', NULL, 2.5), ask(2), twice(NULL)").raw().get(), [
    42,
    new Uint8Array([1, 2]),
    '1+b++2.5',
    42,
    null,
  ]);
  assert.throws(() => database.prepare('SELECT fail()').get(), RangeError);
  assert.equal(other.get(1), 41);
  // The zone is that of the process.
  for (const seconds of [0, 951_782_400, 1_709_164_799, 1_720_000_000, 2_000_000_000]) {
    const local = database.prepare("SELECT datetime(?, 'unixepoch', 'localtime')").pluck().get(seconds);
    const date = new Date((seconds - new Date(seconds * 1000).getTimezoneOffset() * 60) * 1000);
    assert.equal(local, date.toISOString().slice(0, 19).replace('T', ' '));
  }
  database.exec('CREATE TABLE t(a); CREATE INDEX i ON t(twice(a)); INSERT INTO t VALUES (4)');
  assert.equal(database.prepare('SELECT a FROM t WHERE twice(a) = 8').pluck().get(), 4);
  database.close();
});

// --- the same on another build of SQLite ----------------------------------------------------------------------------------------

/** Numbers that follow from a seed. */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function randomSql(random: (below: number) => number): string {
  const pick = <T>(...list: readonly T[]): T => list[random(list.length)] as T;
  const column = (): string => pick('a', 'b', 'c', 'rowid');
  const literal = (): string =>
    pick(
      'NULL',
      String(random(50)),
      String(random(1e9) - 5e8),
      `${random(1000)}.5`,
      `'${'xyz'.repeat(random(40))}${random(9)}'`,
      `x'4${random(9)}7e'`,
    );
  const expression = (deep = 2): string => {
    if (deep === 0 || random(3) === 0) return pick(column(), literal());
    const [x, y] = [expression(deep - 1), expression(deep - 1)];
    return pick(
      `(${x} ${pick('+', '-', '*', '||', '<', '=', 'IS', 'AND', 'OR', '%')} ${y})`,
      pick('abs(random() * 0)', `length(${x})`, `coalesce(${x}, ${y})`, `typeof(${x})`, `upper(${x})`, `substr(${x}, 2)`),
      `CASE WHEN ${x} THEN ${y} ELSE ${literal()} END`,
    );
  };
  const table = pick('t', 't', 'u');
  return pick(
    `INSERT INTO ${table} VALUES (${literal()}, ${literal()}, ${literal()})`,
    `INSERT OR REPLACE INTO u SELECT a, b, c FROM t ORDER BY rowid LIMIT ${random(30)}`,
    `INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${random(60) + 1}) SELECT i % 17, printf('%0${random(200) + 1}d', i), i * 0.5 FROM n`,
    `UPDATE ${table} SET ${pick('a', 'b', 'c')} = ${expression()} WHERE ${expression()}`,
    `DELETE FROM ${table} WHERE ${expression()} AND rowid % ${random(4) + 2} = 0`,
    `SELECT ${expression()}, ${expression()} FROM ${table} WHERE ${expression()} ORDER BY 1, 2, rowid`,
    `SELECT count(*), sum(length(b)), min(a), max(c) FROM ${table} GROUP BY ${pick('a', 'typeof(b)')} ORDER BY 1, 2, 3, 4`,
    `SELECT t.a, u.b FROM t JOIN u ON t.${pick('a', 'b')} = u.${pick('a', 'c')} ORDER BY 1, 2 LIMIT 50`,
    pick('BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT s', 'ROLLBACK TO s', 'RELEASE s'),
    pick(
      'CREATE INDEX IF NOT EXISTS ia ON t(a, b)',
      'DROP INDEX IF EXISTS ia',
      'CREATE INDEX IF NOT EXISTS ib ON t(length(b))',
      'REINDEX',
      'ANALYZE',
    ),
    pick('DELETE FROM t WHERE rowid > 300', 'VACUUM', 'PRAGMA integrity_check', 'PRAGMA page_count > 0'),
  );
}

const SEEDS = [1, 2, 3].slice(0, amount(1, 3));

test('T21: random statements give the same rows, the same errors and the same file as in another build of SQLite', (t) => {
  const ground = new Ground('linux', t);
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-reference-'));
  t.after(() => fs.rmSync(home, { recursive: true, force: true }));
  let failed = 0;
  for (const seed of SEEDS) {
    const random = generator(seed);
    const space = ground.open();
    const ours = openDatabase(space, `/db${seed}`, { durability: 'relaxed' });
    const theirs = new reference.Database(path.join(home, `db${seed}`));
    const both = (sql: string): void => {
      const outcome = (run: () => unknown): unknown => {
        try {
          return run();
        } catch (error) {
          if (!(error instanceof Error)) throw error;
          failed++;
          return `error: ${error.message}`;
        }
      };
      const rows = outcome(() => {
        const statement = ours.prepare(sql);
        try {
          return statement.reader ? statement.all() : (statement.run(), []);
        } finally {
          statement.finalize();
        }
      });
      const expected = outcome(() => theirs.all(sql).map((row) => ({ ...row })));
      // They are of different years: messages differ in words.
      if (typeof rows === 'string' && typeof expected === 'string') return;
      assert.deepEqual(rows, expected, `seed ${seed}: ${sql}`);
    };
    theirs.exec('PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE');
    for (const sql of ['PRAGMA cache_size = 20', 'CREATE TABLE t(a, b, c REAL)', 'CREATE TABLE u(a, b UNIQUE, c)']) {
      ours.exec(sql);
      theirs.exec(sql);
    }
    for (let i = 0; i < 400; i++) both(randomSql(random));
    assert.equal(ours.pragma('integrity_check', { simple: true }), 'ok');
    if (ours.inTransaction) both('ROLLBACK');
    both('SELECT rowid, * FROM t');
    both('SELECT rowid, * FROM u');
    theirs.close();
    // Another program opens what was serialized.
    fs.writeFileSync(path.join(home, 'copy'), ours.serialize());
    const copy = new reference.Database(path.join(home, 'copy'));
    assert.deepEqual(copy.all('PRAGMA integrity_check')[0], { integrity_check: 'ok' });
    assert.deepEqual(copy.all('SELECT count(*) AS n FROM t')[0], ours.prepare('SELECT count(*) AS n FROM t').get());
    copy.close();
    ours.close();
    space.close();
  }
  t.diagnostic(`seeds ${SEEDS.join(', ')}; ${failed / 2} statements failed on both`);
  assert.ok(failed > 10);
});

test('T21: the runner of sqllogictest tells right from wrong, and what is meant for others', (t) => {
  const database = openDatabase(new Ground('linux', t).open(), '/db', { durability: 'relaxed' });
  const script = `statement ok
CREATE TABLE t1(a INTEGER, b TEXT)

statement ok
INSERT INTO t1 VALUES (1, 'x'), (2, NULL), (3, '')

skipif sqlite
statement error
SELECT 1

query IT rowsort
SELECT a, b FROM t1
----
1
x
2
NULL
3
(empty)

query I nosort
SELECT max(a) FROM t1
----
4

statement error
SELECT nothing FROM nowhere
`;
  const tally: Tally = { statements: 0, queries: 0, skipped: 0, failures: [] };
  runScript(database, 'script', script, tally);
  assert.deepEqual(tally, { statements: 3, queries: 2, skipped: 1, failures: ['script:21: 3, expected 4'] });
  database.close();
});

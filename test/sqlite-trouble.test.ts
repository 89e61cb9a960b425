/** T21: SQL databases when others are at them, when there is no room, and when their bytes are not what they should be. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { META } from '../src/abi/format.ts';
import { TwzError, isTwzError } from '../src/abi/errors.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import type { File } from '../src/host/host.ts';
import { open } from '../src/index.ts';
import { openDatabase } from '../src/services/sqlite.ts';
import { Ground, fails, thrown } from './hosts.ts';
import { amount } from './thorough.ts';

const NEIGHBOUR = fileURLToPath(new URL('sqlite-neighbour.js', import.meta.url));

function neighbour(directory: string, rounds: number, index: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [NEIGHBOUR, directory, String(rounds), String(index)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    child.on('error', reject);
    child.on('close', (code, signal) => (code === 0 ? resolve() : reject(new Error(`ended by ${signal ?? code}`))));
  });
}

test('T21: processes change one database at once: no change is lost, and each sees a whole one', async (t) => {
  const ground = new Ground('linux', t);
  const space = ground.open();
  const database = openDatabase(space, '/counters', { durability: 'relaxed' });
  database.exec(`CREATE TABLE counter(id INTEGER PRIMARY KEY, n INTEGER NOT NULL); CREATE TABLE log(who, round, PRIMARY KEY(who, round));
    WITH RECURSIVE i(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM i WHERE x < 4) INSERT INTO counter SELECT x, 0 FROM i`);
  const [processes, rounds] = [3, amount(25, 60)];
  const sums = database.prepare('SELECT (SELECT sum(n) FROM counter) AS counted, (SELECT count(*) FROM log) AS logged');
  let looks = 0;
  let last = 0;
  let wrong = '';
  using watch = space.watch(space.names.get('/counters'), () => {
    const { counted, logged } = sums.get() as { counted: number; logged: number };
    if (counted !== logged || logged < last) wrong = `${counted} counted, ${logged} logged after ${last}`;
    last = logged;
    looks++;
  });
  await Promise.all(Array.from({ length: processes }, (_, i) => neighbour(ground.directory, rounds, i)));
  assert.equal(wrong, '');
  assert.ok(looks > 0 && watch !== undefined);
  assert.deepEqual(sums.get(), { counted: processes * rounds, logged: processes * rounds });
  assert.equal(database.pragma('integrity_check', { simple: true }), 'ok');
  t.diagnostic(`${looks} looks meanwhile`);
  database.close();
});

test('T21: two connections of one process: an iteration and a BEGIN that are overtaken end with that error, and nothing else is lost', (t) => {
  const space = new Ground('linux', t).open();
  const a = openDatabase(space, '/db', { durability: 'relaxed' });
  const b = openDatabase(space, '/db', { durability: 'relaxed' });
  a.exec('CREATE TABLE t(x); INSERT INTO t VALUES (1), (2), (3)');
  assert.equal(b.prepare('SELECT sum(x) FROM t').pluck().get(), 6);
  const walk = a.prepare('SELECT x FROM t').pluck().iterate();
  assert.equal(walk.next().value, 1);
  b.exec('INSERT INTO t VALUES (4)');
  fails('SqliteOvertaken', () => walk.next());
  a.exec('BEGIN');
  assert.equal(a.prepare('SELECT count(*) FROM t').pluck().get(), 4);
  a.exec('INSERT INTO t VALUES (10)');
  b.exec('INSERT INTO t VALUES (5)');
  fails('SqliteOvertaken', () => a.exec('COMMIT'));
  assert.ok(!a.inTransaction);
  assert.deepEqual(a.prepare('SELECT x FROM t').pluck().all(), [1, 2, 3, 4, 5]);
  // In the function of a transaction the same is tried again.
  let tries = 0;
  const add = a.transaction(() => {
    const n = a.prepare('SELECT count(*) FROM t').pluck().get() as number;
    if (tries++ === 0) b.exec('INSERT INTO t VALUES (6)');
    a.prepare('INSERT INTO t VALUES (?)').run(n * 100);
  });
  add();
  assert.equal(tries, 2);
  assert.deepEqual(b.prepare('SELECT x FROM t').pluck().all(), [1, 2, 3, 4, 5, 6, 600]);
  assert.equal(b.pragma('integrity_check', { simple: true }), 'ok');
  a.close();
  b.close();
  // The program and its memory went with the last connection; another begins anew.
  const c = openDatabase(space, '/db');
  assert.equal(c.prepare('SELECT count(*) FROM t').pluck().get(), 7);
  c.close();
});

/** A disk that is full when it is told to be. */
class FullHost extends LinuxHost {
  full = false;

  #refuse(): void {
    if (this.full) throw new TwzError('DiskFull', 'no space left on the device');
  }

  override write(file: File, from: Uint8Array, offset: number): void {
    this.#refuse();
    super.write(file, from, offset);
  }

  override preallocate(file: File, length: number): void {
    this.#refuse();
    super.preallocate(file, length);
  }
}

test('T21: a full disk: the transaction is taken back whole, its error is DiskFull, and what was there stays', (t) => {
  const ground = new Ground('linux', t);
  const host = new FullHost();
  const space = open(ground.directory, { host, segmentSize: 1 << 20 });
  t.after(() => space.kernel.release());
  const database = openDatabase(space, '/db', { durability: 'relaxed' });
  database.exec("CREATE TABLE t(x); INSERT INTO t VALUES ('before')");
  host.full = true;
  const fill = database.transaction(() => {
    const insert = database.prepare('INSERT INTO t VALUES (?)');
    for (let i = 0; i < 1500; i++) insert.run(`${i} `.repeat(300));
  });
  fails('DiskFull', fill);
  assert.ok(!database.inTransaction);
  assert.deepEqual(database.prepare('SELECT x FROM t').pluck().all(), ['before']);
  host.full = false;
  fill();
  assert.equal(database.prepare('SELECT count(*) FROM t').pluck().get(), 1501);
  assert.equal(database.pragma('integrity_check', { simple: true }), 'ok');
  database.close();
});

test('T21: what does not fit: a database as large as its object may be, and memory', (t) => {
  const space = new Ground('linux', t).open();
  const database = openDatabase(space, '/db', { durability: 'relaxed' });
  database.exec('CREATE TABLE t(x)');
  database.pragma('max_page_count = 50');
  const full = thrown(() => database.exec('INSERT INTO t VALUES (zeroblob(1000000))'));
  assert.ok(isTwzError(full, 'SqliteFailed') && full.context['sqlite'] === 'SQLITE_FULL', String(full));
  // More than SQLite's memory has.
  database.pragma('max_page_count = 1000000');
  fails('SqliteMemory', () => database.prepare('INSERT INTO t VALUES (?)').run(new Uint8Array(1_073_000_000)));
  assert.equal(database.prepare('SELECT count(*) FROM t').pluck().get(), 0);
  database.exec("INSERT INTO t VALUES ('still')");
  assert.equal(database.prepare('SELECT x FROM t').pluck().get(), 'still');
  database.close();
});

const SPOILT = amount(60, 120);

test('T21: bytes that are not what they should be are an error, or another value in a row, never the end of the process', (t) => {
  const ground = new Ground('linux', t);
  const space = ground.open();
  const make = openDatabase(space, '/db', { durability: 'relaxed' });
  make.exec(
    "CREATE TABLE t(x PRIMARY KEY, y); WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 2000) INSERT INTO t SELECT n, 'row ' || n FROM i",
  );
  make.close();
  // The program stays while there is a database open in it.
  const stays = openDatabase(space, ':memory:');
  const object = space.names.get('/db');
  const { handle } = object;
  const root = handle.dv.getUint32(META.root, true);
  const first = handle.dv.getUint32(root + 64, true);
  /** With one place of the object spoilt, everything is read; then it is put back. */
  const spoilt = (at: number, value: number): string => {
    const before = handle.dv.getUint8(at);
    const store = (byte: number): void =>
      space.relaxed(() => {
        handle.mark(at);
        handle.dv.setUint8(at, byte);
      });
    store(value);
    try {
      const database = openDatabase(space, '/db', { durability: 'relaxed' });
      try {
        return (
          String(database.prepare('SELECT count(*), sum(length(y)) FROM t').raw().get()) +
          String(database.pragma('integrity_check', { simple: true }))
        );
      } finally {
        database.close();
      }
    } catch (error) {
      if (!isTwzError(error)) throw error;
      return error.name;
    } finally {
      store(before);
    }
  };
  const sound = spoilt(first, 0x53);
  assert.equal(sound, '2000,14893ok');
  assert.equal(spoilt(root, 0), 'NotDatabase');
  assert.equal(spoilt(root + 8, 9), 'NotDatabase');
  assert.equal(spoilt(root + 67, 0x7f), 'PointerCorrupt');
  assert.equal(spoilt(root + 22, 0xff), 'PointerCorrupt');
  assert.equal(spoilt(first, 0), 'SqliteCorrupt');
  const seed = 5;
  let state = seed;
  let noticed = 0;
  for (let i = 0; i < SPOILT; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const at = first + (i < SPOILT / 3 ? (state >>> 8) % 100 : (state >>> 8) % 90_000);
    if (spoilt(at, (state >>> 3) & 255) !== sound) noticed++;
  }
  t.diagnostic(`seed ${seed}: ${noticed} of ${SPOILT} spoilt bytes noticed`);
  assert.ok(noticed > SPOILT / 6);
  assert.equal(spoilt(first, 0x53), sound);
  stays.close();
});

test('T21: an object that is open is not deleted; a space that is closed', (t) => {
  const space = new Ground('linux', t).open();
  const database = openDatabase(space, '/db', { durability: 'relaxed' });
  database.exec('CREATE TABLE t(x)');
  const other = openDatabase(space, ':memory:');
  other.exec('CREATE TABLE m(x); INSERT INTO m VALUES (1)');
  fails('ObjectPinned', () => space.names.remove('/db'));
  database.exec('INSERT INTO t VALUES (1)');
  database.close();
  space.names.remove('/db');
  assert.equal(space.names.lookup('/db'), undefined);
  assert.equal(other.prepare('SELECT x FROM m').pluck().get(), 1);
  space.close();
  fails('SpaceClosed', () => other.exec('SELECT 1'));
  other.close();
});

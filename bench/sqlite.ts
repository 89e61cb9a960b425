/**
 * SQL on objects against better-sqlite3, which is SQLite of the same version compiled for this machine, with its file mapped.
 *
 *   six queries of the Twizzler paper   mean, median, sort, find, build an index, probe it: the processor alone counts
 *   YCSB A to F                         one client, relaxed (theirs: WAL, synchronous=NORMAL)
 *   YCSB A, F                           one client that waits for the disk each time; 64 that wait together (theirs: synchronous=FULL)
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { open } from '../src/index.ts';
import { openDatabase } from '../src/services/sqlite.ts';
import { valueOf } from './entries.ts';
import { compare, generator, nanoseconds, type Absent, type Benchmark, type Context, type Result, type Side } from './harness.ts';
import { betterSqlite3, isAbsent, type Sqlite } from './peers.ts';
import { fillStore, inSqlite, oursSqlite, type Store } from './stores.ts';
import { CLIENTS, Draw, FIELD, FIELDS, KEYS, WORKLOADS, durably, relaxedly, type Workload } from './ycsb.ts';

/** Wanted of each query, and of the means. */
const SLOWER_MAX = 1.5;
const COMMITS_MIN = 2;

interface Query {
  readonly name: string;
  /** Milliseconds. */
  readonly run: (db: Sqlite, rows: number, round: number) => void;
}

let seen = 0;

function first(db: Sqlite, sql: string): void {
  const value = db.prepare(sql).pluck().get();
  if (typeof value !== 'number') throw new Error(`${sql}: no number`);
  seen += value;
}

const QUERIES: readonly Query[] = [
  { name: 'mean', run: (db) => first(db, 'SELECT avg(v) FROM t') },
  { name: 'median', run: (db, rows) => first(db, `SELECT v FROM t ORDER BY v LIMIT 1 OFFSET ${rows >> 1}`) },
  {
    name: 'sort',
    run: (db) => {
      for (const value of db.prepare('SELECT v FROM t ORDER BY v').pluck().iterate()) seen += Number(value);
    },
  },
  { name: 'find a row', run: (db, rows, round) => first(db, `SELECT v FROM t WHERE k = 'key${rows - 1 - (round % 7)}'`) },
  { name: 'build an index', run: (db) => void db.exec('DROP INDEX IF EXISTS by_k; CREATE INDEX by_k ON t(k)') },
  {
    name: 'probe the index',
    run: (db, rows, round) => {
      const probe = db.prepare('SELECT v FROM t WHERE k = ?').pluck();
      const random = generator(round + 1);
      for (let i = 0; i < rows / 10; i++) seen += Number(probe.get(`key${random(rows)}`));
    },
  },
];

function fill(db: Sqlite, rows: number): void {
  db.pragma('cache_size = -200000');
  db.exec('CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT, v INTEGER, r REAL)');
  const insert = db.prepare('INSERT INTO t VALUES (?, ?, ?, ?)');
  const random = generator(3);
  db.transaction(() => {
    for (let i = 0; i < rows; i++) insert.run(i, `key${i}`, random(1_000_000), i / 3);
  })();
}

function geometric(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** How many times as fast as the peer, on the geometric mean. */
function mean(context: Context, name: string, results: readonly Result[], target: number): void {
  const [any] = results;
  if (any === undefined || results.some(({ ratio }) => ratio === null)) return;
  const ratio = geometric(results.map((each) => (each.better === 'lower' ? 1 / (each.ratio ?? 1) : (each.ratio ?? 1))));
  context.report({
    ...any,
    name,
    ours: ratio,
    theirs: 1,
    unit: 'times as fast',
    better: 'higher',
    ratio,
    range: null,
    target,
    met: context.quick ? null : ratio >= target,
  });
}

async function queries(context: Context, collected: Result[]): Promise<void> {
  const rows = context.size(1_000_000, 500);
  const Better = betterSqlite3();
  const space = open(join(context.directory, 'queries'));
  const ours = openDatabase(space, '/db', { durability: 'relaxed' });
  const path = join(context.directory, 'queries-better');
  mkdirSync(path);
  const theirs = isAbsent(Better) ? undefined : new Better(join(path, 'db.sqlite'));
  theirs?.pragma('journal_mode = WAL');
  theirs?.pragma('synchronous = NORMAL');
  theirs?.pragma('temp_store = MEMORY');
  theirs?.pragma(`mmap_size = ${2 ** 35}`);
  for (const db of [ours, theirs]) if (db !== undefined) fill(db, rows);
  const own: Result[] = [];
  for (const { name, run } of QUERIES) {
    const side = (of: string, db: Sqlite): Side => {
      let round = 0;
      return {
        name: of,
        async measure() {
          const start = nanoseconds();
          run(db, rows, round++);
          return (nanoseconds() - start) / 1e6;
        },
      };
    };
    const report = (result: Result): void => {
      own.push(result);
      collected.push(result);
      context.report(result);
    };
    const peer: Side | Absent =
      theirs === undefined ? { name: 'better-sqlite3', absent: isAbsent(Better) ? Better.absent : '' } : side('better-sqlite3', theirs);
    await compare({ ...context, report }, 'sqlite', {
      name: `${name}, ${rows} rows`,
      unit: 'ms',
      better: 'lower',
      ours: side('sqlite on objects', ours),
      peers: [{ side: peer, target: SLOWER_MAX }],
    });
  }
  mean(context, 'the six queries, geometric mean', own, 1);
  ours.close();
  space.close();
  theirs?.close();
}

type How = (store: Store<string>, operations: ReturnType<Draw['operations']>) => Promise<void>;

async function ycsb(
  context: Context,
  name: string,
  workloads: readonly Workload[],
  sides: readonly [Store<string>, Store<string> | Absent],
  count: number,
  how: How,
  target: number | undefined,
): Promise<Result[]> {
  const records = context.entries ?? context.size(100_000, 300);
  const [ours, theirs] = sides;
  const draws = new Map<Store<string>, Draw>();
  for (const store of sides) {
    if ('absent' in store) continue;
    context.progress(`sqlite: ${records} records for ${store.name}`);
    await fillStore(store, KEYS, records, (i) => valueOf(i, 0, FIELDS * FIELD));
    draws.set(store, new Draw(records));
  }
  const results: Result[] = [];
  const report = (result: Result): void => {
    results.push(result);
    context.report(result);
  };
  for (const workload of workloads) {
    const side = (store: Store<string>): Side => ({
      name: store.name,
      async measure() {
        const n = workload.name === 'E' ? Math.ceil(count / 10) : count;
        const operations = draws.get(store)?.operations(workload, n) ?? [];
        const start = nanoseconds();
        await how(store, operations);
        return (n * 1e9) / (nanoseconds() - start);
      },
      ...(store.note === undefined ? {} : { note: store.note }),
    });
    await compare({ ...context, report }, 'sqlite', {
      name: `YCSB ${workload.name}, ${name}`,
      unit: 'ops/s',
      better: 'higher',
      ours: side(ours),
      peers: [{ side: 'absent' in theirs ? theirs : side(theirs), ...(target === undefined ? {} : { target }) }],
    });
  }
  await ours.close();
  if (!('absent' in theirs)) await theirs.close();
  return results;
}

async function run(whole: Context): Promise<void> {
  const context = { ...whole, rounds: Math.min(whole.rounds, 5) };
  const collected: Result[] = [];
  await queries(context, collected);
  const directory = (name: string): string => {
    const path = join(context.directory, name);
    mkdirSync(path);
    return path;
  };
  const relaxed = directory('relaxed');
  const few = WORKLOADS.filter(({ name }) => name === 'A' || name === 'F');
  collected.push(
    ...(await ycsb(
      context,
      'one client, relaxed',
      WORKLOADS,
      [oursSqlite(relaxed, KEYS, 'relaxed'), await inSqlite(relaxed, KEYS, 'NORMAL')],
      context.size(20_000, 50),
      relaxedly,
      undefined,
    )),
  );
  mean(context, 'the six queries and YCSB A to F, geometric mean', collected, 1);
  for (const [name, how, count] of [
    ['one client, durable', relaxedly, context.size(1_000, 20)],
    [`${CLIENTS} clients, durable`, durably, context.size(5_000, 100)],
  ] as const) {
    const place = directory(name.replaceAll(/\W+/g, '-'));
    await ycsb(
      context,
      name,
      few,
      [oursSqlite(place, KEYS, 'durable'), await inSqlite(place, KEYS, 'FULL')],
      count,
      how,
      how === durably ? COMMITS_MIN : undefined,
    );
  }
  if (seen === 0.5) throw new Error('nothing was read');
}

export const sqlite: Benchmark = {
  name: 'sqlite',
  about: "SQL on objects against better-sqlite3: the Twizzler paper's six queries on 1M rows, and YCSB on 100,000 records (or --entries).",
  run,
};

/**
 * One interface over all who keep entries, so that a benchmark is written once. Each store is opened in its best setting for the promise that
 * it is asked for; what the promise is, its note says.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { open } from '../src/index.ts';
import { specialize } from '../src/lib/collections/specialize.ts';
import { touch as touchValue, type Keys } from './entries.ts';
import type { Absent } from './harness.ts';
import { openDatabase, type Durability } from '../src/services/sqlite.ts';
import { betterSqlite3, classicLevel, isAbsent, lmdb, type LmdbOptions, type Sqlite } from './peers.ts';

type Eventually<T> = T | Promise<T>;

export interface Span<K> {
  /** From this key on, or down from it. */
  readonly start?: K;
  readonly limit?: number;
  readonly reverse?: boolean;
}

export interface Store<K> {
  readonly name: string;
  readonly note?: string;
  /** Where its files are. */
  readonly path: string;
  /** Where its files are, without a log whose size does not depend on that of the data. */
  readonly data?: string;
  /** Puts entries in one transaction. */
  batch(keys: readonly K[], values: readonly Uint8Array[]): Eventually<unknown>;
  /** Everything is on disk, and in its place. */
  settle(): Eventually<unknown>;
  /** Reads a value the cheapest way there is, and touches it. */
  peek(key: K): number;
  /** Reads a value that the caller may keep, and touches it. */
  keep(key: K): number;
  /** The same, and hands it out. */
  copy(key: K): Uint8Array;
  /** Touches the values of a range; returns the sum. */
  scan(span: Span<K>): Eventually<number>;
  /** Puts an entry. It survives the death of the process, or what the note says. */
  put(key: K, value: Uint8Array): Eventually<unknown>;
  /** Resolves when the entry is on disk. */
  durable(key: K, value: Uint8Array): Promise<unknown>;
  close(): Eventually<unknown>;
}

function missing(): never {
  throw new Error('a store lost an entry');
}

export function oursHashed<K extends string | number>(directory: string, keys: Keys<K>): Store<K> {
  const path = join(directory, 'ours-hash');
  const space = open(path);
  const map = space.relaxed(() => space.create(keys.hash));
  const touch = specialize(touchValue);
  return {
    name: 'hashMap',
    path,
    data: join(path, 'objects'),
    batch: (some, values) =>
      space.relaxed(() => {
        for (let i = 0; i < some.length; i++) map.set(some[i] ?? missing(), values[i] ?? missing());
      }),
    settle: () => space.checkpoint(),
    peek(key) {
      const view = map.view(key) ?? missing();
      const { length } = view;
      let sum = 0;
      for (let at = 0; at < length; at += 100) sum += view.u8(at);
      return sum + view.u8(length - 1);
    },
    keep: (key) => touch(map.get(key) ?? missing()),
    copy: (key) => map.get(key) ?? missing(),
    scan() {
      throw new Error('a hash map has no order');
    },
    put: (key, value) => space.relaxed(() => map.set(key, value)),
    durable: (key, value) => space.durable(() => map.set(key, value)),
    close: () => space.close(),
  };
}

export interface OrderedStore<K> extends Store<K> {
  /** Bulk load, of sorted entries. */
  load(entries: Iterable<readonly [K, Uint8Array]>): void;
  /** A scan by iterator, with keys and copies of the values. */
  iterate(span: Span<K>): number;
}

export function oursOrdered<K extends string | number>(directory: string, keys: Keys<K>): OrderedStore<K> {
  const path = join(directory, 'ours-ordered');
  const space = open(path);
  const map = space.relaxed(() => space.create(keys.ordered));
  const touch = specialize(touchValue);
  const rangeOf = ({ start, limit, reverse }: Span<K>) => ({
    ...(start === undefined ? {} : reverse === true ? { through: start } : { from: start }),
    ...(limit === undefined ? {} : { limit }),
    ...(reverse === undefined ? {} : { reverse }),
  });
  return {
    name: 'orderedMap',
    path,
    data: join(path, 'objects'),
    batch: (some, values) =>
      space.relaxed(() => {
        for (let i = 0; i < some.length; i++) map.set(some[i] ?? missing(), values[i] ?? missing());
      }),
    load: (entries) => space.relaxed(() => map.load(entries)),
    settle: () => space.checkpoint(),
    peek(key) {
      const view = map.view(key) ?? missing();
      const { length } = view;
      let sum = 0;
      for (let at = 0; at < length; at += 100) sum += view.u8(at);
      return sum + view.u8(length - 1);
    },
    keep: (key) => touch(map.get(key) ?? missing()),
    copy: (key) => map.get(key) ?? missing(),
    scan(span) {
      const cursor = map.cursor(rangeOf(span));
      let sum = 0;
      while (cursor.next()) {
        const { view } = cursor;
        const { length } = view;
        for (let at = 0; at < length; at += 100) sum += view.u8(at);
        sum += view.u8(length - 1);
      }
      return sum;
    },
    iterate(span) {
      let sum = 0;
      for (const [, value] of map.range(rangeOf(span))) sum += touch(value);
      return sum;
    },
    put: (key, value) => space.relaxed(() => map.set(key, value)),
    durable: (key, value) => space.durable(() => map.set(key, value)),
    close: () => space.close(),
  };
}

export type LmdbMode = 'durable' | 'default' | 'noSync' | 'noSync and write map';

const LMDB_MODES: Readonly<Record<LmdbMode, { readonly options: Partial<LmdbOptions>; readonly note: string }>> = {
  // With the default, overlappingSync, one would have to await db.flushed as well; this way is the faster of the two.
  durable: {
    options: { overlappingSync: false },
    note: 'lmdb: overlappingSync off, so that the promise of a put means that it is on disk',
  },
  default: { options: {}, note: 'lmdb default: commits are visible when their promise resolves, and on disk a little later' },
  noSync: { options: { noSync: true, noMemInit: true }, note: 'lmdb noSync: a power failure may corrupt the file' },
  'noSync and write map': {
    options: { noSync: true, useWritemap: true },
    note: 'lmdb with a write map: a power failure may corrupt the file, a stray store, too',
  },
};

export async function inLmdb<K extends string | number>(
  directory: string,
  keys: Keys<K>,
  mode: LmdbMode = 'default',
  file = mode.replaceAll(' ', '-'),
): Promise<Store<K> | Absent> {
  const name = mode === 'default' || mode === 'durable' ? 'lmdb' : `lmdb, ${mode}`;
  const peer = lmdb();
  if (isAbsent(peer)) return { name, absent: peer.absent };
  const path = join(directory, `${file}.lmdb`);
  const { options, note } = LMDB_MODES[mode];
  const store = peer.open<K>({ ...options, ...keys.lmdb, path, encoding: 'binary' });
  const touch = specialize(touchValue);
  const asynchronous = mode === 'default' || mode === 'durable';
  return {
    name,
    note,
    path,
    batch(some, values) {
      const all = (): void => {
        for (let i = 0; i < some.length; i++) void store.put(some[i] ?? missing(), values[i] ?? missing());
      };
      return asynchronous ? store.transaction(all) : store.transactionSync(all);
    },
    settle: () => store.flushed,
    peek: (key) => touch(store.getBinaryFast(key) ?? missing()),
    keep: (key) => touch(store.get(key) ?? missing()),
    copy: (key) => store.get(key) ?? missing(),
    scan(span) {
      let sum = 0;
      for (const { value } of store.getRange(span)) sum += touch(value);
      return sum;
    },
    put: (key, value) => store.putSync(key, value),
    durable: (key, value) => store.put(key, value),
    close: () => store.close(),
  };
}

/** Entries in a table of a database that speaks as better-sqlite3 does. */
function sqlStore<K extends string | number>(
  db: Sqlite,
  keys: Keys<K>,
  rest: Pick<Store<K>, 'name' | 'note' | 'path' | 'settle' | 'close'>,
): Store<K> {
  db.pragma('cache_size = -200000');
  db.exec(`CREATE TABLE kv (${keys.sqlite}`);
  const insert = db.prepare('INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v');
  const select = db.prepare('SELECT v FROM kv WHERE k = ?').pluck();
  const ascending = db.prepare('SELECT v FROM kv WHERE k >= ? ORDER BY k LIMIT ?').pluck();
  const descending = db.prepare('SELECT v FROM kv WHERE k <= ? ORDER BY k DESC LIMIT ?').pluck();
  const forwards = db.prepare('SELECT v FROM kv ORDER BY k LIMIT ?').pluck();
  const backwards = db.prepare('SELECT v FROM kv ORDER BY k DESC LIMIT ?').pluck();
  const touch = specialize(touchValue);
  const value = (key: K): Uint8Array => {
    const found = select.get(key);
    return found instanceof Uint8Array ? found : missing();
  };
  const batch = db.transaction((some: readonly K[], values: readonly Uint8Array[]) => {
    for (let i = 0; i < some.length; i++) insert.run(some[i] ?? missing(), values[i] ?? missing());
  });
  return {
    ...rest,
    batch,
    peek: (key) => touch(value(key)),
    keep: (key) => touch(value(key)),
    copy: value,
    scan({ start, limit = -1, reverse = false }) {
      const rows =
        start === undefined ? (reverse ? backwards : forwards).iterate(limit) : (reverse ? descending : ascending).iterate(start, limit);
      let sum = 0;
      for (const row of rows) sum += row instanceof Uint8Array ? touch(row) : missing();
      return sum;
    },
    put: (key, bytes) => insert.run(key, bytes),
    async durable(key, bytes) {
      insert.run(key, bytes);
    },
  };
}

export async function inSqlite<K extends string | number>(
  directory: string,
  keys: Keys<K>,
  synchronous: 'FULL' | 'NORMAL' = 'NORMAL',
): Promise<Store<K> | Absent> {
  const name = 'better-sqlite3';
  const Sqlite = betterSqlite3();
  if (isAbsent(Sqlite)) return { name, absent: Sqlite.absent };
  const path = join(directory, `sqlite-${synchronous}`);
  mkdirSync(path);
  const db = new Sqlite(join(path, 'kv.sqlite'));
  db.pragma('journal_mode = WAL');
  db.pragma(`synchronous = ${synchronous}`);
  db.pragma(`mmap_size = ${2 ** 35}`);
  return sqlStore(db, keys, {
    name,
    note:
      synchronous === 'FULL'
        ? 'SQLite: WAL, synchronous=FULL'
        : 'SQLite: WAL, synchronous=NORMAL; a power failure may lose what came after the last WAL checkpoint, never corrupts',
    path,
    settle: () => db.pragma('wal_checkpoint(TRUNCATE)'),
    close: () => db.close(),
  });
}

/** SQLite again, on an object. */
export function oursSqlite<K extends string | number>(directory: string, keys: Keys<K>, durability: Durability): Store<K> {
  const path = join(directory, `ours-sqlite-${durability}`);
  const space = open(path);
  const db = openDatabase(space, '/kv', { durability });
  const store = sqlStore(db, keys, {
    name: 'sqlite on objects',
    path,
    settle: () => space.checkpoint(),
    close: () => {
      db.close();
      space.close();
    },
  });
  const insert = db.prepare('INSERT INTO kv VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v');
  return { ...store, durable: (key, bytes) => db.durable(() => insert.run(key, bytes)) };
}

export async function inLevel<K extends string | number>(directory: string, keys: Keys<K>): Promise<Store<K> | Absent> {
  const name = 'classic-level';
  const peer = classicLevel();
  if (isAbsent(peer)) return { name, absent: peer.absent };
  const path = join(directory, 'kv.level');
  const store = new peer.ClassicLevel(path, { keyEncoding: keys.level, valueEncoding: 'view', cacheSize: 200 << 20 });
  await store.open();
  const touch = specialize(touchValue);
  const { levelKey } = keys;
  let last: (() => Promise<void>) | undefined;
  return {
    name,
    note: 'classic-level: cache of 200 MiB; without sync it survives the death of the process',
    path,
    batch(some, values) {
      const operations = some.map((key, i) => ({ type: 'put' as const, key: levelKey(key), value: values[i] ?? missing() }));
      last = () => store.batch(operations.slice(-1), { sync: true });
      return store.batch(operations, { sync: false });
    },
    // A synced write takes all before it to the disk.
    settle: () => last?.(),
    peek: (key) => touch(store.getSync(levelKey(key)) ?? missing()),
    keep: (key) => touch(store.getSync(levelKey(key)) ?? missing()),
    copy: (key) => store.getSync(levelKey(key)) ?? missing(),
    async scan({ start, limit, reverse }) {
      const iterator = store.iterator({
        ...(start === undefined ? {} : { gte: levelKey(start) }),
        ...(limit === undefined ? {} : { limit }),
        ...(reverse === undefined ? {} : { reverse }),
        highWaterMarkBytes: 1 << 20,
      });
      let sum = 0;
      for (;;) {
        const rows = await iterator.nextv(limit ?? 1000);
        if (rows.length === 0) break;
        for (const [, value] of rows) sum += touch(value);
        if (limit !== undefined) break;
      }
      await iterator.close();
      return sum;
    },
    put: (key, value) => store.put(levelKey(key), value, { sync: false }),
    durable: (key, value) => store.put(levelKey(key), value, { sync: true }),
    close: () => store.close(),
  };
}

const BATCH = 1000;

/** Fills a store in transactions of a thousand, in the order of the indices that `order` gives; returns the nanoseconds that it took. */
export async function fillStore<K extends string | number>(
  store: Store<K>,
  keys: Keys<K>,
  count: number,
  make: (index: number) => Uint8Array,
  order: (i: number) => number = (i) => i,
): Promise<number> {
  let spent = 0;
  for (let from = 0; from < count; from += BATCH) {
    const indices = Array.from({ length: Math.min(BATCH, count - from) }, (_, i) => order(from + i));
    const some = indices.map((index) => keys.of(index));
    const values = indices.map(make);
    const start = performance.now();
    await store.batch(some, values);
    spent += performance.now() - start;
  }
  const start = performance.now();
  await store.settle();
  return (spent + performance.now() - start) * 1e6;
}

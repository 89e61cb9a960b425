/**
 * Point reads among a million entries of 100 bytes: by text keys and by integer keys, all over the map and in a hot set of a thousand.
 *
 * Each way of reading has a loop compiled for it alone, so that no one pays for the others' types. All draw the same keys in the same order
 * and touch the first and the last byte of what they read; the sums are compared.
 */
import { join } from 'node:path';
import { bool, f64, hashMap, open, struct, text, u32, type Space } from '../src/index.ts';
import { specialize } from '../src/lib/collections/specialize.ts';
import { compile, type Program } from './c.ts';
import { INTEGER, TEXT, draws, touch, valueOf, type Keys } from './entries.ts';
import { contest, rate, shuffled, type Absent, type Benchmark, type Contest, type Context, type Side } from './harness.ts';
import { isAbsent, lmdb } from './peers.ts';
import { fillStore, inLevel, inLmdb, inSqlite, oursHashed, oursOrdered, type Store } from './stores.ts';

const HOT = 1000;

/** Reads per second of `read`, which is called for each of the keys. */
function reading<K>(name: string, read: (key: K) => number, keys: readonly K[], sum: number, note?: string): Side {
  const loop = specialize((each: (key: K) => number, all: readonly K[]): number => {
    let total = 0;
    for (let i = 0; i < all.length; i++) total += each(all[i] as K);
    return total;
  });
  return {
    name,
    measure() {
      let found = 0;
      const figure = rate(keys.length, () => {
        found = loop(read, keys);
      });
      if (found !== sum) throw new Error(`${name} read ${found}, and ${sum} was written`);
      return figure;
    },
    ...(note === undefined ? {} : { note }),
  };
}

function inC(program: Program | Absent, path: string, kind: string, count: number, reads: number, hot: number): Side | Absent {
  const name = 'lmdb, C';
  if (isAbsent(program)) return { name, absent: program.absent };
  return {
    name,
    note: "lmdb, C: LMDB's own API, Debian's version, one read transaction",
    measure() {
      const [each = Number.NaN] = program.run(['get', path, kind, count, reads, hot]);
      return 1e9 / each;
    },
  };
}

/** A program over LMDB's own API, with a file of its own. */
export function lmdbInC(directory: string, keys: { readonly c: string }, count: number): { program: Program | Absent; path: string } {
  const program = compile(directory, 'lmdb', { source: 'lmdb.c', libraries: ['lmdb'] });
  const path = join(directory, `c-${keys.c}.lmdb`);
  if (!isAbsent(program)) program.run(['load', path, keys.c, count, 1000]);
  return { program, path };
}

async function points<K extends string | number>(
  context: Context,
  benchmark: string,
  keys: Keys<K>,
  hashFactor: number,
  orderedFactor: number,
): Promise<void> {
  const count = context.size(1_000_000, 1000);
  const reads = context.size(300_000, 500);
  const order = shuffled(count, 3);
  const plain = new Map<K, Uint8Array>();
  const hash = oursHashed(context.directory, keys);
  const ordered = oursOrdered(context.directory, keys);
  const lmdbStore = await inLmdb(context.directory, keys, 'noSync');
  const sqlite = await inSqlite(context.directory, keys);
  const level = await inLevel(context.directory, keys);
  const stores: Store<K>[] = [hash, ordered, ...[lmdbStore, sqlite, level].flatMap((store) => ('absent' in store ? [] : [store]))];
  for (const store of stores) {
    context.progress(`${benchmark}: ${count} entries for ${store.name}`);
    await fillStore(
      store,
      keys,
      count,
      (i) => valueOf(i),
      (i) => order[i] ?? 0,
    );
  }
  for (const i of order) plain.set(keys.of(i), Buffer.from(valueOf(i)));
  const c = lmdbInC(context.directory, keys, count);

  const sets: readonly { name: string; indices: Uint32Array; hot: number }[] = [
    { name: `of ${count.toLocaleString('en-US')}`, indices: draws(reads, count, 5), hot: count },
    { name: `of a hot set of ${HOT.toLocaleString('en-US')}`, indices: draws(reads, HOT, 6).map((i) => order[i] ?? 0), hot: HOT },
  ];
  for (const { name, indices, hot } of sets) {
    const all = Array.from(indices, keys.of);
    let sum = 0;
    for (const i of indices) sum += touch(valueOf(i));
    const side = (store: Store<K>, copy: boolean, name = `${store.name}${copy ? ', a copy' : ', in place'}`): Side =>
      reading(name, copy ? (key) => store.keep(key) : (key) => store.peek(key), all, sum, store.note);
    const peer = (store: Store<K> | Absent, copy: boolean, as: string): Side | Absent =>
      'absent' in store ? { ...store, name: as } : side(store, copy, as);
    const what: Contest = {
      name: `get ${name}, ${keys.name}`,
      unit: 'gets/s',
      better: 'higher',
      ours: [hash, ordered].flatMap((store) => [{ side: side(store, false) }, { side: side(store, true) }]),
      peers: [
        { side: peer(lmdbStore, false, 'lmdb, getBinaryFast'), targets: [hashFactor, undefined, orderedFactor, undefined] },
        { side: peer(lmdbStore, true, 'lmdb, get') },
        { side: peer(sqlite, true, 'better-sqlite3') },
        { side: peer(level, true, 'classic-level, getSync') },
        { side: inC(c.program, c.path, keys.c, count, reads, hot) },
        { side: reading('plain JS Map', (key: K) => touch(plain.get(key) ?? new Uint8Array(0)), all, sum), reference: true },
      ],
    };
    await contest(context, benchmark, what);
  }
  for (const store of stores) await store.close();
}

const Person = struct('Person', { name: text, city: text, age: u32, balance: f64, active: bool });

interface PersonRecord {
  readonly name: string;
  readonly city: string;
  readonly age: number;
  readonly balance: number;
  readonly active: boolean;
}

const CITIES = ['Lisbon', 'Nairobi', 'Osaka', 'Quito'];

function person(i: number): PersonRecord {
  return { name: `person ${i}`, city: CITIES[i % 4] ?? '', age: i % 100, balance: i / 7, active: i % 3 === 0 };
}

async function personsInLmdb(
  directory: string,
  name: string,
  options: { readonly randomAccessStructure?: boolean },
  order: Uint32Array,
  keys: readonly string[],
  sum: number,
): Promise<Side | Absent> {
  const peer = lmdb();
  if (isAbsent(peer)) return { name, absent: peer.absent };
  const path = join(directory, `${name.replaceAll(/\W+/g, '-')}.lmdb`);
  const store = peer.open<string, PersonRecord>({ ...options, path, sharedStructuresKey: Symbol.for('structures') });
  for (let from = 0; from < order.length; from += 1000)
    await store.transaction(() => {
      for (const i of order.subarray(from, from + 1000)) void store.put(TEXT.of(i), person(i));
    });
  await store.flushed;
  return reading(name, (key: string) => store.get(key)?.age ?? 0, keys, sum);
}

/** One field of one struct among a million. */
async function fields(context: Context): Promise<void> {
  const count = context.size(1_000_000, 1000);
  const reads = context.size(300_000, 500);
  const order = shuffled(count, 9);
  const space: Space = open(join(context.directory, 'persons'));
  const map = space.relaxed(() => space.create(hashMap(text, Person)));
  context.progress(`kv: ${count} structs for everybody`);
  for (let from = 0; from < count; from += 1000)
    space.relaxed(() => {
      for (const i of order.subarray(from, from + 1000)) map.set(TEXT.of(i), person(i));
    });
  space.checkpoint();
  const plain = new Map(Array.from(order, (i) => [TEXT.of(i), person(i)]));
  const indices = draws(reads, count, 12);
  const keys = Array.from(indices, TEXT.of);
  const sum = indices.reduce((total, i) => total + person(i).age, 0);
  await contest(context, 'kv', {
    name: `a field of one of ${count.toLocaleString('en-US')} structs, text keys`,
    unit: 'reads/s',
    better: 'higher',
    ours: [{ side: reading('hashMap', (key: string) => map.get(key)?.age ?? 0, keys, sum) }],
    peers: [
      { side: await personsInLmdb(context.directory, 'lmdb, get', {}, order, keys, sum), targets: [6] },
      {
        side: await personsInLmdb(context.directory, 'lmdb, get, randomAccessStructure', { randomAccessStructure: true }, order, keys, sum),
      },
      { side: reading('plain JS Map', (key: string) => plain.get(key)?.age ?? 0, keys, sum), reference: true },
    ],
  });
  space.close();
}

export const kv: Benchmark = {
  name: 'kv',
  about:
    'Point reads by text keys among 1M entries of 100 bytes, all over the map and in a hot set of 1,000, in place (view, getBinaryFast) and as a copy (get); one field of one of 1M structs.',
  async run(context) {
    await points(context, 'kv', TEXT, 4, 2.5);
    await fields(context);
  },
};

export const kvInteger: Benchmark = {
  name: 'kv-int',
  about: 'The same by integer keys.',
  run: (context) => points(context, 'kv-int', INTEGER, 6, 4),
};

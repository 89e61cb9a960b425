/**
 * The core workloads of the Yahoo! Cloud Serving Benchmark: records of ten fields of a hundred bytes under keys in no order.
 *
 *   A  half reads, half updates            zipfian      D  95 % reads, 5 % inserts                     latest
 *   B  95 % reads, 5 % updates             zipfian      E  95 % scans of 1 to 100 records, 5 % inserts  zipfian
 *   C  reads                               zipfian      F  half reads, half reads, changes and writes   zipfian
 *
 * A record is one value for everybody. A reader touches each of its fields; an update reads the record, changes one field and writes the record.
 * What is done is drawn before the clock runs, and it is the same for every store.
 */
import { setImmediate } from 'node:timers/promises';
import { TEXT, valueOf, type Keys } from './entries.ts';
import {
  concurrently,
  contest,
  generator,
  nanoseconds,
  type Absent,
  type Benchmark,
  type Contest,
  type Context,
  type Result,
  type Side,
} from './harness.ts';
import { fillStore, inLevel, inLmdb, inSqlite, oursHashed, oursOrdered, type Store } from './stores.ts';

export const FIELDS = 10;
export const FIELD = 100;
const TURN = 256;
export const CLIENTS = 64;

/** Keys of records come in no order, as YCSB hashes them. */
export const KEYS: Keys<string> = { ...TEXT, of: (index) => `user${String(Math.imul(index + 1, 0x9e3779b1) >>> 0).padStart(10, '0')}` };

/** Ranks from 0 on, the first the likeliest: P(rank) ~ 1 / (rank + 1) ^ 0.99, by the method of Gray et al. that YCSB uses. */
class Zipfian {
  static readonly #THETA = 0.99;
  readonly #random: () => number;
  #items = 0;
  #zeta = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  next(items: number): number {
    for (; this.#items < items; this.#items++) this.#zeta += 1 / (this.#items + 1) ** Zipfian.#THETA;
    const u = this.#random();
    const uz = u * this.#zeta;
    if (uz < 1) return 0;
    const two = 1 + 0.5 ** Zipfian.#THETA;
    if (uz < two) return 1;
    const eta = (1 - (2 / items) ** (1 - Zipfian.#THETA)) / (1 - two / this.#zeta);
    return Math.min(items - 1, Math.floor(items * (eta * u - eta + 1) ** (1 / (1 - Zipfian.#THETA))));
  }
}

/** The popular ones lie anywhere. */
function scrambled(rank: number, items: number): number {
  let x = Math.imul(rank ^ (rank >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return ((x ^ (x >>> 16)) >>> 0) % items;
}

type Kind = 'read' | 'update' | 'insert' | 'scan' | 'modify';

export interface Workload {
  readonly name: string;
  readonly first: readonly [Kind, number];
  readonly second: Kind;
  readonly latest?: true;
}

/** In the order that YCSB advises: those that insert come last. */
export const WORKLOADS: readonly Workload[] = [
  { name: 'A', first: ['read', 0.5], second: 'update' },
  { name: 'B', first: ['read', 0.95], second: 'update' },
  { name: 'C', first: ['read', 1], second: 'read' },
  { name: 'F', first: ['read', 0.5], second: 'modify' },
  { name: 'D', first: ['read', 0.95], second: 'insert', latest: true },
  { name: 'E', first: ['scan', 0.95], second: 'insert' },
];

interface Operation {
  readonly kind: Kind;
  readonly key: string;
  readonly field: number;
  /** A field's new content, or a record. */
  readonly bytes: Uint8Array;
  readonly rows: number;
}

const NOTHING = new Uint8Array(0);

/** Draws operations for a store that holds the records 0 … `records` - 1; returns how many it holds then. */
export class Draw {
  readonly #random: (below: number) => number;
  readonly #zipfian: Zipfian;
  #version = 0;
  records: number;

  constructor(records: number, seed = 41) {
    this.#random = generator(seed);
    this.#zipfian = new Zipfian(() => this.#random(2 ** 32 - 1) / 2 ** 32);
    this.records = records;
  }

  operations({ first, second, latest }: Workload, count: number): Operation[] {
    // What is inserted in this round may be drawn only once it is there: a reader in flight must find it.
    const there = this.records;
    return Array.from({ length: count }, () => {
      const kind = this.#random(1000) < first[1] * 1000 ? first[0] : second;
      const rank = this.#zipfian.next(there);
      const index = latest === true ? there - 1 - rank : scrambled(rank, there);
      const common = { kind, key: KEYS.of(index), field: this.#random(FIELDS), bytes: NOTHING, rows: 1 + this.#random(100) };
      if (kind === 'insert') {
        const inserted = this.records++;
        return { ...common, key: KEYS.of(inserted), bytes: valueOf(inserted, 0, FIELDS * FIELD) };
      }
      return kind === 'update' || kind === 'modify' ? { ...common, bytes: valueOf(index, ++this.#version, FIELD) } : common;
    });
  }
}

/** Where sums go, so that no read is for nothing. */
let seen = 0;

function changed(store: Store<string>, { key, field, bytes }: Operation): Uint8Array {
  const record = store.copy(key);
  record.set(bytes, field * FIELD);
  return record;
}

/** One client that waits for each of its operations. The work is on disk a little later, or what the store's note says. */
export async function relaxedly(store: Store<string>, operations: readonly Operation[]): Promise<void> {
  for (let done = 0; done < operations.length;) {
    for (const operation of operations.slice(done, done + TURN)) {
      const { kind, key } = operation;
      let outcome: unknown;
      if (kind === 'read') seen += store.peek(key);
      else if (kind === 'scan') outcome = store.scan({ start: key, limit: operation.rows });
      else if (kind === 'insert') outcome = store.put(key, operation.bytes);
      else {
        if (kind === 'modify') seen += store.peek(key);
        outcome = store.put(key, changed(store, operation));
      }
      if (outcome instanceof Promise) await outcome;
    }
    done += TURN;
    await setImmediate();
  }
}

/** Many clients, each waiting until its writes are on disk. */
export function durably(store: Store<string>, operations: readonly Operation[]): Promise<void> {
  return concurrently(operations.length, CLIENTS, async (index) => {
    const operation = operations[index];
    if (operation === undefined) return;
    const { kind, key } = operation;
    if (kind === 'read') seen += store.peek(key);
    else if (kind === 'scan') await store.scan({ start: key, limit: operation.rows });
    else if (kind === 'insert') await store.durable(key, operation.bytes);
    else {
      if (kind === 'modify') seen += store.peek(key);
      await store.durable(key, changed(store, operation));
    }
  });
}

type Run = (store: Store<string>, operations: readonly Operation[]) => Promise<void>;

interface Contestant {
  readonly store: Store<string>;
  readonly draw: Draw;
}

function side({ store, draw }: Contestant, workload: Workload, count: number, run: Run): Side {
  return {
    name: store.name,
    async measure() {
      const operations = draw.operations(workload, count);
      const start = nanoseconds();
      await run(store, operations);
      return (count * 1e9) / (nanoseconds() - start);
    },
    ...(store.note === undefined ? {} : { note: store.note }),
  };
}

/** The geometric mean of the workloads, for each of ours and each peer. */
function means(context: Context, name: string, results: readonly Result[]): void {
  const pairs = new Map<string, Result[]>();
  for (const result of results) {
    const ours = /\((.*)\)$/.exec(result.name)?.[1] ?? '';
    const key = `${ours} ${result.peer}`;
    pairs.set(key, [...(pairs.get(key) ?? []), { ...result, name: ours }]);
  }
  for (const all of pairs.values()) {
    const [first] = all;
    if (first === undefined || first.theirs === null) continue;
    const mean = (of: (result: Result) => number): number => Math.exp(all.reduce((sum, each) => sum + Math.log(of(each)), 0) / all.length);
    const ours = mean((each) => each.ours);
    const theirs = mean((each) => each.theirs ?? Number.NaN);
    const target = first.peer.startsWith('lmdb') ? 2 : null;
    context.report({
      ...first,
      name: `${name}, geometric mean of ${all.length} (${first.name})`,
      ours,
      theirs,
      ratio: ours / theirs,
      range: null,
      target,
      met: context.quick || target === null ? null : ours / theirs >= target,
    });
  }
}

async function workloads(
  context: Context,
  name: string,
  count: (workload: Workload) => number,
  ours: readonly Contestant[],
  peers: readonly (Contestant | Absent)[],
  run: Run,
): Promise<void> {
  const results: Result[] = [];
  const report = (result: Result): void => {
    results.push(result);
    context.report(result);
  };
  for (const workload of WORKLOADS) {
    const sideOf = (each: Contestant): Side => side(each, workload, count(workload), run);
    const able = ours.filter(({ store }) => workload.name !== 'E' || store.name === 'orderedMap');
    const what: Contest = {
      name: `${workload.name}, ${name}`,
      unit: 'ops/s',
      better: 'higher',
      ours: able.map((each) => ({ side: sideOf(each) })),
      peers: peers.map((peer) => ({
        side: 'absent' in peer ? peer : sideOf(peer),
        targets: 'absent' in peer || !peer.store.name.startsWith('lmdb') ? [] : able.map(() => 1),
      })),
    };
    await contest({ ...context, report }, 'ycsb', what);
  }
  means(context, name, results);
}

async function filled(context: Context, store: Store<string> | Absent, records: number): Promise<Contestant | Absent> {
  if ('absent' in store) return store;
  context.progress(`ycsb: ${records} records for ${store.name}`);
  await fillStore(store, KEYS, records, (i) => valueOf(i, 0, FIELDS * FIELD));
  return { store, draw: new Draw(records) };
}

async function run(whole: Context): Promise<void> {
  const context = { ...whole, rounds: Math.min(whole.rounds, 5) };
  const { directory } = context;
  const records = context.entries ?? context.size(1_000_000, 300);
  const ours: Contestant[] = [];
  for (const store of [oursHashed(directory, KEYS), oursOrdered(directory, KEYS)]) {
    const made = await filled(context, store, records);
    if ('store' in made) ours.push(made);
  }
  const peers: (Contestant | Absent)[] = [
    await filled(context, await inLmdb(directory, KEYS, 'noSync'), records),
    await filled(context, await inLmdb(directory, KEYS, 'noSync and write map'), records),
    await filled(context, await inSqlite(directory, KEYS, 'NORMAL'), records),
    await filled(context, await inLevel(directory, KEYS), records),
  ];
  const many = context.size(20_000, 50);
  await workloads(context, 'one client, relaxed', ({ name }) => (name === 'E' ? many / 10 : many), ours, peers, relaxedly);

  // Filled without a sync a transaction, and opened again.
  const [unsynced] = peers;
  let durable: Contestant | Absent | undefined = unsynced;
  if (unsynced !== undefined && 'store' in unsynced) {
    await unsynced.store.close();
    const store = await inLmdb(directory, KEYS, 'durable', 'noSync');
    durable = 'absent' in store ? store : { store, draw: unsynced.draw };
  }
  const synced = durable === undefined ? [] : [durable];
  await workloads(
    context,
    `${CLIENTS} clients, durable`,
    ({ name }) => (name === 'E' ? many / 10 : many),
    ours,
    [...synced, ...peers.slice(3)],
    durably,
  );
  for (const each of [...ours, ...synced, ...peers.slice(1)]) if ('store' in each) await each.store.close();
}

export const ycsb: Benchmark = {
  name: 'ycsb',
  about:
    'YCSB A to F: 1M records (or --entries) of ten fields of 100 bytes, by one client that does not wait for the disk, and by 64 that do.',
  run,
};

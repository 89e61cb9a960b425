/**
 * Writing one entry at a time into a map of a million: durably with 1, 64 and 1024 in flight, and relaxed, with the times that a caller waits.
 * Every value differs from what was there.
 */
import { setImmediate } from 'node:timers/promises';
import { floor, logBytes } from './durable.ts';
import { INTEGER, valueOf } from './entries.ts';
import {
  compare,
  concurrently,
  contest,
  generator,
  rateAsync,
  type Absent,
  type Benchmark,
  type Context,
  type Peer,
  type Side,
} from './harness.ts';
import { fillStore, inLevel, inLmdb, inSqlite, oursHashed, oursOrdered, type Store } from './stores.ts';
import { open } from '../src/index.ts';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

const TURN = 256;

type Opened = Store<number> | Absent;

function opened(stores: readonly Opened[]): Store<number>[] {
  return stores.flatMap((store) => ('absent' in store ? [] : [store]));
}

async function fillAll(context: Context, stores: readonly Opened[], count: number): Promise<void> {
  for (const store of opened(stores)) {
    context.progress(`put: ${count} entries for ${store.name}`);
    await fillStore(store, INTEGER, count, (i) => valueOf(i));
  }
}

function noted(name: string, note: string | undefined, measure: Side['measure']): Side {
  return { name, measure, ...(note === undefined ? {} : { note }) };
}

function durably(store: Opened, count: number, many: number, puts: number): Side | Absent {
  if ('absent' in store) return store;
  const random = generator(31);
  let version = 0;
  return noted(store.name, store.note, () =>
    rateAsync(puts, () =>
      concurrently(puts, many, () => {
        const key = random(count);
        return store.durable(key, valueOf(key, ++version));
      }),
    ),
  );
}

/** Bytes that a put adds to the log: what the floor writes. */
function bytesOfPut(directory: string): number {
  const space = open(join(directory, 'one'));
  const map = space.relaxed(() => space.create(INTEGER.hash));
  space.relaxed(() => map.set(1, valueOf(1)));
  const bytes = logBytes(space, () => space.relaxed(() => map.set(1, valueOf(1, 1))));
  space.close();
  return bytes;
}

/** Filled without a sync a transaction, and opened again. */
async function filledDurableLmdb(context: Context, count: number): Promise<Opened> {
  const filling = await inLmdb(context.directory, INTEGER, 'noSync', 'durable');
  await fillAll(context, [filling], count);
  if ('absent' in filling) return filling;
  await filling.close();
  return inLmdb(context.directory, INTEGER, 'durable', 'durable');
}

async function durablePuts(context: Context, count: number): Promise<void> {
  const { directory } = context;
  const hash = oursHashed(directory, INTEGER);
  const ordered = oursOrdered(directory, INTEGER);
  const lmdbStore = await filledDurableLmdb(context, count);
  const sqlite = await inSqlite(directory, INTEGER, 'FULL');
  const level = await inLevel(directory, INTEGER);
  const all = [hash, ordered, lmdbStore, sqlite, level];
  await fillAll(context, [hash, ordered, sqlite, level], count);
  const bytes = bytesOfPut(directory);
  for (const many of [1, 64, 1024]) {
    const puts = context.size(many === 1 ? 300 : many * 20, many === 1 ? 10 : many);
    const sides = (store: Opened): Side | Absent => durably(store, count, many, puts);
    const peers = [lmdbStore, sqlite, level].filter((store) => many === 1 || store !== sqlite);
    await contest(context, 'put', {
      name: `durable puts, ${many} in flight`,
      unit: 'puts/s',
      better: 'higher',
      ours: [hash, ordered].flatMap((store) => {
        const side = sides(store);
        return 'absent' in side ? [] : [{ side }];
      }),
      peers: [
        ...peers.map((store) => ({ side: sides(store), targets: many === 1 ? [] : [2, 2] })),
        ...(many === 1
          ? [{ side: perSecond(floor(directory, bytes, puts, false)), targets: [0.9, undefined], reference: true as const }]
          : []),
      ],
    });
  }
  for (const store of opened(all)) await store.close();
}

/** The floor is told in microseconds. */
function perSecond(side: Side): Side {
  return {
    ...side,
    async measure() {
      return 1e6 / (await side.measure());
    },
  };
}

interface Timed {
  readonly side: Side;
  /** Microseconds, of the rounds so far. */
  readonly at: (quantile: number, round: number) => number;
}

/** Puts as a server makes them: one at a time, with turns of the event loop in between. Each put's time is kept. */
function relaxedly(store: Store<number>, count: number, puts: number): Timed {
  const random = generator(37);
  const rounds: Float64Array[] = [];
  let version = 0;
  const side = noted(store.name, store.note, async () => {
    const times = new Float64Array(puts);
    rounds.push(times);
    let spent = 0;
    for (let done = 0; done < puts;) {
      const turn = performance.now();
      for (const end = Math.min(done + TURN, puts); done < end; done++) {
        const key = random(count);
        const value = valueOf(key, ++version);
        const start = process.hrtime.bigint();
        const put = store.put(key, value);
        if (put instanceof Promise) await put;
        times[done] = Number(process.hrtime.bigint() - start) / 1000;
      }
      await setImmediate();
      spent += performance.now() - turn;
    }
    times.sort();
    return (puts * 1000) / spent;
  });
  return { side, at: (quantile, round) => rounds[round]?.[Math.min(puts - 1, Math.floor(puts * quantile))] ?? Number.NaN };
}

async function relaxedPuts(context: Context, count: number): Promise<void> {
  const { directory } = context;
  const lmdbStore = await inLmdb(directory, INTEGER, 'noSync');
  const under = join(directory, 'relaxed');
  mkdirSync(under);
  const lmdbMapped = await inLmdb(directory, INTEGER, 'noSync and write map');
  const sqlite = await inSqlite(directory, INTEGER, 'NORMAL');
  const level = await inLevel(under, INTEGER);
  const ours = [oursHashed(under, INTEGER), oursOrdered(under, INTEGER)];
  const peers = [lmdbStore, lmdbMapped, sqlite, level];
  await fillAll(context, [...ours, ...peers], count);
  const many = context.size(200_000, 300);
  const fewer = context.size(20_000, 300);
  const mine = ours.map((store) => relaxedly(store, count, many));
  const theirs = peers.map((store) => ('absent' in store ? store : relaxedly(store, count, fewer)));
  const sideOf = (each: Timed | Absent): Side | Absent => ('absent' in each ? each : each.side);
  await contest(context, 'put', {
    name: 'relaxed puts, one at a time',
    unit: 'puts/s',
    better: 'higher',
    ours: mine,
    peers: theirs.map((each) => ({ side: sideOf(each), targets: each === theirs[2] ? [10, undefined] : [] })),
  });
  for (const [name, quantile] of [
    ['median', 0.5],
    ['99 %', 0.99],
    ['99.9 %', 0.999],
  ] as const) {
    const told = (each: Timed): Side => {
      let round = 0;
      return { name: each.side.name, measure: () => each.at(quantile, round++) };
    };
    const [hash, ordered] = mine;
    for (const each of [hash, ordered]) {
      if (each === undefined) continue;
      await compare(context, 'put', {
        name: `time of a relaxed put, ${name}`,
        unit: 'us',
        better: 'lower',
        ours: told(each),
        peers: theirs.map((other): Peer => ({ side: 'absent' in other ? other : told(other) })),
      });
    }
  }
  for (const store of opened([...ours, ...peers])) await store.close();
}

export const put: Benchmark = {
  name: 'put',
  about:
    'Single puts of 100 bytes into maps of 1M entries: durable with 1, 64 and 1024 in flight; relaxed, with the times that the caller waits.',
  async run(context) {
    const count = context.size(1_000_000, 500);
    await durablePuts(context, count);
    await relaxedPuts(context, count);
  },
};

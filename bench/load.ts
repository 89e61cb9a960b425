/**
 * Filling: a million entries in transactions of a thousand, in order and at random, and the bulk load of what is sorted. Each load has a process
 * of its own, which reports what it took: time until everything is on disk, bytes there, bytes written on the way, memory.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inChild } from './child.ts';
import { TEXT, VALUE_BYTES, valueOf } from './entries.ts';
import { contest, nanoseconds, shuffled, type Absent, type Benchmark, type Context, type Side } from './harness.ts';
import { onDisk, peakResident, written } from './process.ts';
import { fillStore, inLevel, inLmdb, inSqlite, oursHashed, oursOrdered, type Store } from './stores.ts';

interface Figures {
  readonly nanoseconds: number;
  readonly bytes: number;
  readonly data: number;
  readonly written: number;
  readonly peak: number;
}

const STORES: Readonly<Record<string, (directory: string) => Store<string> | Promise<Store<string> | Absent>>> = {
  hashMap: (directory) => oursHashed(directory, TEXT),
  orderedMap: (directory) => oursOrdered(directory, TEXT),
  'orderedMap.load': (directory) => oursOrdered(directory, TEXT),
  lmdb: (directory) => inLmdb(directory, TEXT),
  'lmdb, noSync': (directory) => inLmdb(directory, TEXT, 'noSync'),
  'better-sqlite3': (directory) => inSqlite(directory, TEXT),
  'classic-level': (directory) => inLevel(directory, TEXT),
};

/** All entries in order, in one transaction. They are made a slice at a time while the clock stands. */
async function bulk(directory: string, count: number): Promise<{ store: Store<string>; spent: number }> {
  const store = oursOrdered(directory, TEXT);
  const SLICE = 1000;
  let making = 0;
  const entries = function* (): Generator<readonly [string, Uint8Array]> {
    for (let from = 0; from < count; from += SLICE) {
      const start = nanoseconds();
      const slice = Array.from({ length: Math.min(SLICE, count - from) }, (_, i) => [TEXT.of(from + i), valueOf(from + i)] as const);
      making += nanoseconds() - start;
      yield* slice;
    }
  };
  const start = nanoseconds();
  store.load(entries());
  await store.settle();
  return { store, spent: nanoseconds() - start - making };
}

function figures({ path, data = path }: Store<string>, spent: number, before: number): Figures {
  return { nanoseconds: spent, bytes: onDisk(path), data: onDisk(data), written: written() - before, peak: peakResident() };
}

async function loadOne(name: string, order: string, directory: string, count: number): Promise<Figures | Absent> {
  const before = written();
  if (name === 'orderedMap.load') {
    const { store, spent } = await bulk(directory, count);
    await store.close();
    return figures(store, spent, before);
  }
  const store = await STORES[name]?.(directory);
  if (store === undefined) throw new Error(`no such store: ${name}`);
  if ('absent' in store) return store;
  const at = order === 'random' ? shuffled(count, 3) : undefined;
  const spent = await fillStore(
    store,
    TEXT,
    count,
    (i) => valueOf(i),
    (i) => at?.[i] ?? i,
  );
  await store.close();
  return figures(store, spent, before);
}

/** A load in a process of its own; the files go. Where nothing is judged, one such process is enough. */
async function loaded(context: Context, name: string, order: string, count: number): Promise<Figures | Absent> {
  const directory = mkdtempSync(join(context.directory, 'load-'));
  try {
    if (context.quick && name !== 'hashMap') return await loadOne(name, order, directory, count);
    return JSON.parse(inChild([name, order, directory, count], fileURLToPath(import.meta.url)).stdout);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Who loads, and what every load took: the first figure is measured, the others are told of the same loads. */
class Loader {
  readonly name: string;
  readonly #take: () => Promise<Figures | Absent>;
  readonly #taken: Figures[] = [];
  readonly absent: Absent | undefined;

  constructor(name: string, take: () => Promise<Figures | Absent>, first: Figures | Absent) {
    this.name = name;
    this.#take = take;
    this.absent = 'absent' in first ? { ...first, name } : undefined;
  }

  measured(figure: (from: Figures) => number, note?: string): Side | Absent {
    if (this.absent !== undefined) return this.absent;
    return {
      name: this.name,
      measure: async () => {
        const figures = await this.#take();
        if ('absent' in figures) throw new Error(figures.absent);
        this.#taken.push(figures);
        return figure(figures);
      },
      ...(note === undefined ? {} : { note }),
    };
  }

  told(figure: (from: Figures) => number): Side | Absent {
    let round = 0;
    return this.absent ?? { name: this.name, measure: () => figure(this.#taken[round++] ?? never()) };
  }
}

function never(): never {
  throw new Error('there was no such round');
}

const NOTES: Readonly<Record<string, string>> = {
  lmdb: 'lmdb: transactions are awaited one after the other; their syncs overlap',
  'lmdb, noSync': 'lmdb noSync: a power failure while it loads may corrupt the file; synced at the end',
};

const present = (side: Side | Absent): Side[] => ('measure' in side ? [side] : []);

async function loads(whole: Context, order: 'sorted' | 'random', count: number): Promise<void> {
  // A load takes seconds and begins from nothing: three of each say enough.
  const context = { ...whole, rounds: whole.quick ? 1 : Math.min(whole.rounds, 3) };
  const names = Object.keys(STORES).filter((name) => order === 'sorted' || name !== 'orderedMap.load');
  const loaders: Loader[] = [];
  for (const name of names) {
    const first = name.includes('Map')
      ? { nanoseconds: 0, bytes: 0, data: 0, written: 0, peak: 0 }
      : await loaded(context, name, order, 10);
    loaders.push(new Loader(name, () => loaded(context, name, order, count), first));
  }
  const ours = loaders.filter(({ name }) => name.includes('Map'));
  const peers = loaders.filter(({ name }) => !name.includes('Map'));
  const name = `${count.toLocaleString('en-US')} entries, ${order === 'sorted' ? 'in order' : 'at random'}`;
  const wanted = (mine: string, theirs: string): number | undefined =>
    theirs.startsWith('lmdb') ? (mine === 'orderedMap.load' ? 5 : 2) : undefined;
  await contest(context, 'load', {
    name: `load of ${name}`,
    unit: 'entries/s',
    better: 'higher',
    fresh: true,
    ours: ours.flatMap((each) => present(each.measured((figures) => (count * 1e9) / figures.nanoseconds)).map((side) => ({ side }))),
    peers: peers.map((each) => ({
      side: each.measured((figures) => (count * 1e9) / figures.nanoseconds, NOTES[each.name]),
      targets: ours.map((mine) => wanted(mine.name, each.name)),
    })),
  });
  const user = count * (VALUE_BYTES + TEXT.of(0).length);
  const further: readonly [string, string, (figures: Figures) => number, number | undefined][] = [
    ['bytes on disk, the log apart', 'MB', ({ data }) => data / 1e6, 1.2],
    ['bytes on disk, log and spare segments included', 'MB', ({ bytes }) => bytes / 1e6, undefined],
    ['bytes written a byte of keys and values', 'x', (figures) => figures.written / user, undefined],
    ['peak memory, mapped pages included', 'MB', ({ peak }) => peak / 1e6, undefined],
  ];
  for (const [what, unit, figure, target] of further)
    for (const mine of ours)
      for (const side of present(mine.told(figure)))
        await contest(context, 'load', {
          name: `${what}: ${name}`,
          unit,
          better: 'lower',
          fresh: true,
          ours: [{ side }],
          peers: peers.map((each) => ({ side: each.told(figure), targets: each.name === 'lmdb' ? [target] : [] })),
        });
}

export const load: Benchmark = {
  name: 'load',
  about:
    'Filling with 1M entries of 100 bytes and text keys, in transactions of 1,000 or in bulk, until all is on disk: time, files, bytes written, memory.',
  async run(context) {
    const count = context.size(1_000_000, 500);
    await loads(context, 'sorted', count);
    if (!context.quick) await loads(context, 'random', count);
  },
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [name = '', order = '', directory = '', count] = process.argv.slice(2);
  mkdirSync(directory, { recursive: true });
  console.log(JSON.stringify(await loadOne(name, order, directory, Number(count))));
}

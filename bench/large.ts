/**
 * Maps that outgrow the memory: `npm run bench -- large --entries 1e8`. Filled in one process; opened, sampled at random, and read and checked
 * once from end to end in another. The same is done at a smaller size, for comparison: nothing but the load shall depend on size.
 *
 * 1e8 entries of 100 bytes take about 13 GB of disk for each kind of map, one after the other.
 */
import { rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { open, parseId, objectOf, type ByteView, type Space } from '../src/index.ts';
import { inChild } from './child.ts';
import { INTEGER, VALUE_BYTES } from './entries.ts';
import { contest, generator, nanoseconds, type Benchmark, type Context, type Side } from './harness.ts';
import { anonymous, onDisk } from './process.ts';

type Kind = 'hashMap' | 'orderedMap';

interface Loaded {
  readonly id: string;
  /** Entries a second, everything on disk at the end. */
  readonly rate: number;
  readonly bytes: number;
}

interface Read {
  readonly openMs: number;
  /** Gets a second. */
  readonly random: number;
  /** Rows a second. */
  readonly scan: number;
  readonly checked: number;
  /** Anonymous memory before the space was opened, and when everything had been read. */
  readonly before: number;
  readonly after: number;
}

const BATCH = 20_000;

/** 25 words that only this key has. */
function fill(words: Int32Array, key: number): void {
  let x = Math.imul(key, 0x9e3779b1);
  for (let i = 0; i < words.length; i++) {
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + key;
    words[i] = x;
  }
}

function check(view: ByteView | undefined, words: Int32Array, key: number): void {
  fill(words, key);
  if (view?.length !== VALUE_BYTES) throw new Error(`the entry of ${key} is missing or has another length`);
  for (let i = 0; i < words.length; i++)
    if ((view.u32(i * 4) | 0) !== words[i]) throw new Error(`the value of ${key} is not what was written`);
}

/** Keys in ascending order, or for a hash map, whose places have none, in an order of their own: every number below `count` once. */
function* entriesOf(
  from: number,
  to: number,
  values: readonly Uint8Array[],
  words: readonly Int32Array[],
): Generator<[number, Uint8Array]> {
  for (let key = from; key < to; key++) {
    const value = values[key - from];
    const filled = words[key - from];
    if (value === undefined || filled === undefined) throw new Error('a batch is too large');
    fill(filled, key);
    yield [key, value];
  }
}

function load(kind: Kind, directory: string, count: number): Loaded {
  const space = open(directory);
  const words = Array.from({ length: Math.min(BATCH, count) }, () => new Int32Array(VALUE_BYTES / 4));
  const values = words.map((each) => new Uint8Array(each.buffer));
  const start = nanoseconds();
  const put = filler(space, kind);
  for (let from = 0; from < count; from += BATCH) put.entries(entriesOf(from, Math.min(count, from + BATCH), values, words));
  space.checkpoint();
  const rate = (count * 1e9) / (nanoseconds() - start);
  space.close();
  return { id: put.id, rate, bytes: onDisk(join(directory, 'objects')) };
}

function filler(space: Space, kind: Kind): { id: string; entries: (entries: Iterable<[number, Uint8Array]>) => void } {
  if (kind === 'orderedMap') {
    const map = space.relaxed(() => space.create(INTEGER.ordered));
    return { id: objectOf(map).id, entries: (entries) => space.relaxed(() => map.load(entries)) };
  }
  const map = space.relaxed(() => space.create(INTEGER.hash));
  return {
    id: objectOf(map).id,
    entries(entries) {
      space.relaxed(() => {
        for (const [key, value] of entries) map.set(key, value);
      });
    },
  };
}

function read(kind: Kind, directory: string, id: string, count: number, sample: number): Read {
  const before = anonymous();
  const opening = nanoseconds();
  const space = open(directory);
  const map = kind === 'hashMap' ? space.get(parseId(id), INTEGER.hash) : space.get(parseId(id), INTEGER.ordered);
  if (map.size !== count) throw new Error(`${map.size} entries, and ${count} were put in`);
  const openMs = (nanoseconds() - opening) / 1e6;
  const words = new Int32Array(VALUE_BYTES / 4);
  const next = generator(61);
  const sampling = nanoseconds();
  for (let i = 0; i < sample; i++) {
    const key = next(count);
    check(map.view(key), words, key);
  }
  const random = (sample * 1e9) / (nanoseconds() - sampling);
  const scanning = nanoseconds();
  let checked = 0;
  if ('cursor' in map)
    for (const cursor = map.cursor(); cursor.next(); checked++) {
      if (cursor.key !== checked) throw new Error(`the key ${cursor.key} stands where ${checked} belongs`);
      check(cursor.view, words, checked);
    }
  // The size is right, and each key is there: so each entry is read once.
  else for (; checked < count; checked++) check(map.view(checked), words, checked);
  if (checked !== count) throw new Error(`${checked} entries were found, and ${count} were put in`);
  const scan = (count * 1e9) / (nanoseconds() - scanning);
  const after = anonymous();
  space.close();
  return { openMs, random, scan, checked, before, after };
}

const PROGRAM = fileURLToPath(import.meta.url);

function both(context: Context, kind: Kind, count: number): Loaded & Read {
  const directory = join(context.directory, `${kind}-${count}`);
  try {
    const sample = Math.min(count, context.size(1_000_000, 500));
    // One in processes of its own shows that those run.
    if (context.quick && kind === 'hashMap') {
      const loaded = load(kind, directory, count);
      return { ...loaded, ...read(kind, directory, loaded.id, count, sample) };
    }
    context.progress(`large: loading ${count} entries into a ${kind}`);
    const loaded: Loaded = JSON.parse(inChild(['load', kind, directory, count], PROGRAM).stdout);
    context.progress(`large: reading and checking ${count} entries of a ${kind}`);
    const found: Read = JSON.parse(inChild(['read', kind, directory, loaded.id, count, sample], PROGRAM).stdout);
    return { ...loaded, ...found };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function run(whole: Context): Promise<void> {
  const context = { ...whole, rounds: 1 };
  const count = context.entries ?? context.size(1_000_000, 2000);
  const { bavail, bsize } = statfsSync(context.directory);
  const need = count * 160;
  if (bavail * bsize < need) throw new Error(`${count} entries take about ${Math.ceil(need / 1e9)} GB of disk, and fewer are free`);
  const smaller = Math.max(1000, Math.min(1_000_000, Math.floor(count / 10)));
  for (const kind of ['orderedMap', 'hashMap'] as const) {
    const large = both(context, kind, count);
    const small = context.quick ? large : both(context, kind, smaller);
    const told = (name: string, value: number, note?: string): Side => ({
      name,
      measure: () => value,
      ...(note === undefined ? {} : { note }),
    });
    const row = (
      what: string,
      unit: string,
      better: 'lower' | 'higher',
      figure: (of: Loaded & Read) => number,
      limit?: number,
      note?: string,
    ) =>
      contest(context, 'large', {
        name: `${what}, ${count.toLocaleString('en-US')} entries`,
        unit,
        better,
        fresh: true,
        ours: [{ side: told(kind, figure(large), note), ...(limit === undefined ? {} : { limit }) }],
        peers: [{ side: told(`the same with ${smaller.toLocaleString('en-US')}`, figure(small)), reference: true }],
      });
    await row(kind === 'orderedMap' ? 'bulk load' : 'load in transactions of 20,000', 'entries/s', 'higher', ({ rate }) => rate);
    await row('bytes on disk an entry, the log apart', 'bytes', 'lower', ({ bytes, checked }) => bytes / checked);
    await row('open', 'ms', 'lower', ({ openMs }) => openMs);
    await row(
      'random reads',
      'gets/s',
      'higher',
      ({ random }) => random,
      undefined,
      'every value is compared with what was written, byte for byte',
    );
    await row(kind === 'orderedMap' ? 'scan of everything' : 'every key read once', 'entries/s', 'higher', ({ scan }) => scan);
    await row(
      'memory beyond mapped pages that reading all of it took',
      'MB',
      'lower',
      ({ before, after }) => Math.max(0.1, (after - before) / 1e6),
      50,
      'RssAnon when everything was read, less RssAnon before the space was opened',
    );
  }
}

export const large: Benchmark = {
  name: 'large',
  about: 'A map of 1M entries, or --entries 1e8: load, size, open, random reads, every entry read and checked once, memory.',
  run,
};

if (process.argv[1] === PROGRAM) {
  const [command, kind, directory = '', ...rest] = process.argv.slice(2);
  if (kind !== 'hashMap' && kind !== 'orderedMap') throw new Error(`no such kind: ${kind ?? 'none'}`);
  if (command === 'load') console.log(JSON.stringify(load(kind, directory, Number(rest[0]))));
  else console.log(JSON.stringify(read(kind, directory, rest[0] ?? '', Number(rest[1]), Number(rest[2]))));
}

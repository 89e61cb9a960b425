/**
 * Data that moves: what is touched of a large object, what comes along with a list of small ones, and one that comes as a whole.
 *
 * Bytes are those that the nodes count themselves, as they tell them to who watches them.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseId, type ObjectId } from '../src/index.ts';
import type { Cluster } from '../src/services/cluster/cluster.ts';
import { compare, concurrently, generator, nanoseconds, shuffled, type Benchmark, type Context, type Side } from './harness.ts';
import { onGround, type Ground } from './ground.ts';
import { Leaf, Numbers, PIECES } from './mobility-node.ts';

const MB = 1e6;

async function counted(cluster: Cluster, name: string): Promise<number> {
  return Number((await cluster.stat())[name]);
}

// --- touch --------------------------------------------------------------------------------------------------------------------------

/** Reads of numbers, by their indexes. */
type Pattern = (count: number) => Iterable<number>;

/** Numbers that lie on one of its pages. */
const ON_PAGE = 512;

/** A number of one of a hundred pages, anywhere. */
function* pages(count: number): Iterable<number> {
  const order = shuffled(Math.floor(count / ON_PAGE), 29);
  for (const page of order.subarray(0, Math.ceil(order.length / 100))) yield page * ON_PAGE + (page % ON_PAGE);
}

/** A hundredth of its bytes, in records of 4 KiB that begin anywhere: they lie on twice as many pages. */
function* records(count: number): Iterable<number> {
  const random = generator(29);
  for (let left = Math.ceil(count / 100 / ON_PAGE); left > 0; left--) {
    const start = random(count - ON_PAGE);
    for (let i = 0; i < ON_PAGE; i++) yield start + i;
  }
}

function* inOrder(count: number): Iterable<number> {
  const start = Math.floor(count / 3);
  for (let i = 0; i < count / 100; i++) yield start + i;
}

interface Large {
  readonly id: ObjectId;
  readonly count: number;
  readonly bytes: number;
}

interface Touched {
  readonly bytes: number;
  readonly ms: number;
}

/** A check of what was read: that it came at all. */
function sum(values: { get(index: number): number }, pattern: Iterable<number>): void {
  let words = 0;
  for (const i of pattern) words += values.get(i) === 0 ? 0 : 1;
  if (words === 0) throw new Error('zeros came');
}

const byTouch = (ground: Ground, { id, count }: Large, pattern: Pattern): Promise<Touched> =>
  ground.near(async (cluster) => {
    const begun = nanoseconds();
    using paged = await cluster.paged(id);
    paged.read(() => sum(paged.root(Numbers).values, pattern(count)), 60_000);
    return { ms: (nanoseconds() - begun) / 1e6, bytes: await counted(cluster, 'pagedBytes') };
  });

const whole = (ground: Ground, { id, count }: Large, pattern: Pattern): Promise<Touched> =>
  ground.near(async (cluster) => {
    const begun = nanoseconds();
    await cluster.bring(id);
    sum(cluster.space.get(id, Numbers).values, pattern(count));
    return { ms: (nanoseconds() - begun) / 1e6, bytes: await counted(cluster, 'fetchedBytes') };
  });

async function touching(context: Context, ground: Ground): Promise<void> {
  const far = await ground.far();
  const count = context.size(12_800_000, 128_000);
  const id = parseId(await far.do('numbers', count, 'noise'));
  const large: Large = { id, count, bytes: count * 8 };
  const size = `${Math.round(large.bytes / MB)} MB`;
  const patterns: readonly (readonly [string, Pattern, limit?: number])[] = [
    ['a page in a hundred', pages, 2],
    ['one range', inOrder, 2],
    ['records of 4 KiB that lie on two pages each', records],
  ];
  for (const [name, pattern, limit] of context.quick ? patterns.slice(0, 1) : patterns) {
    const sides = (figure: (touched: Touched) => number): readonly [Side, Side] => [
      { name: 'by touch', measure: async () => figure(await byTouch(ground, large, pattern)) },
      { name: 'fetched whole', measure: async () => figure(await whole(ground, large, pattern)) },
    ];
    const [ours, other] = sides(({ bytes }) => (bytes / large.bytes) * 100);
    const peers = [{ side: other, reference: true as const }];
    await compare(context, 'touch', {
      name: `moved for 1% of ${size}: ${name}`,
      unit: '%',
      better: 'lower',
      ours,
      peers,
      ...(limit === undefined ? {} : { limit }),
    });
    if (context.quick) continue;
    const [oursMs, otherMs] = sides(({ ms }) => ms);
    await compare(context, 'touch', {
      name: `reading 1% of ${size}: ${name}`,
      unit: 'ms',
      better: 'lower',
      ours: oursMs,
      peers: [{ side: otherMs, reference: true }],
    });
  }
}

export const touch: Benchmark = {
  name: 'touch',
  about: 'a hundredth of a large object that is on another node: the bytes that move, and how long it takes, beside fetching it whole',
  run: (context) => {
    const few = { ...context, rounds: Math.min(context.rounds, 3) };
    return onGround(few, 'touch', (ground) => touching(few, ground));
  },
};

// --- prefetch -----------------------------------------------------------------------------------------------------------------------

interface Walk {
  readonly ms: number;
  /** Bytes that came and were not looked at, of all that came. */
  readonly wasted: number;
}

function walked(ground: Ground, port: number, id: ObjectId, hops: number, prefetch: boolean): Promise<Walk> {
  const options = { servers: [`nats://127.0.0.1:${port}`], prefetch };
  return ground.near(async (cluster) => {
    const begun = nanoseconds();
    let seen = 0;
    for (let leaf: Leaf | null = cluster.space.get(id, Leaf); leaf !== null && seen < hops; leaf = leaf.next) seen++;
    const ms = (nanoseconds() - begun) / 1e6;
    if (seen !== hops) throw new Error(`${seen} of ${hops} objects`);
    const [families, bytes] = [await counted(cluster, 'fetched'), await counted(cluster, 'fetchedBytes')];
    // All objects of the list have one size.
    return { ms, wasted: ((bytes - (bytes / families) * seen) / bytes) * 100 };
  }, options);
}

async function prefetching(context: Context, ground: Ground): Promise<void> {
  const far = await ground.far();
  const hops = context.size(1000, 20);
  const roundTrip = context.size(10, 1);
  const port = await ground.through(roundTrip);
  const lists: readonly (readonly [string, length: number, every: number])[] = [
    ['a list', hops, 0],
    ['the first part of a list twice as long', 2 * hops, 0],
    ['a list, something else beside each fourth', hops, 4],
    ['a list, something else beside each', hops, 1],
  ];
  for (const [name, length, every] of context.quick ? lists.slice(0, 1) : lists) {
    const id = parseId(await far.do('list', length, every));
    const side = (what: string, prefetch: boolean, figure: (walk: Walk) => number): Side => ({
      name: what,
      measure: async () => figure(await walked(ground, port, id, hops, prefetch)),
    });
    await compare(context, 'prefetch', {
      name: `${hops.toLocaleString('en-US')} objects, ${roundTrip} ms: ${name}`,
      unit: 'ms',
      better: 'lower',
      ours: side('what they refer to comes along', true, ({ ms }) => ms),
      peers: [{ side: side('one by one', false, ({ ms }) => ms), target: 0.2, reference: true }],
    });
    if (context.quick) continue;
    await compare({ ...context, rounds: 1 }, 'prefetch', {
      name: `came in vain: ${name}`,
      unit: '%',
      better: 'lower',
      // What came in vain for nobody is a figure of its own: none at all would be no ratio.
      ours: side('what they refer to comes along', true, ({ wasted }) => Math.max(wasted, 0.01)),
      peers: [],
      limit: 25,
    });
  }
}

export const prefetch: Benchmark = {
  name: 'prefetch',
  about: 'a walk over 1000 objects of another node, none of which is here, over a link of 10 ms: with what comes along, and without',
  run: (context) => {
    const few = { ...context, rounds: Math.min(context.rounds, 3) };
    return onGround(few, 'prefetch', (ground) => prefetching(few, ground));
  },
};

// --- bulk ---------------------------------------------------------------------------------------------------------------------------

const PIECE = 256 << 10;
const WINDOW = 8;
const KEPT = 'an object that is brought is in its file, synced, when it is there; so are the messages that are written to a file';

async function transferring(context: Context, ground: Ground): Promise<void> {
  const far = await ground.far();
  const client = await ground.plain();
  const count = context.size(4 << 20, 64 << 10);
  const bytes = count * 8;
  // Each time another one, that nobody has.
  const ids: string[] = [];
  for (let i = 0; i < context.rounds + (context.quick ? 0 : 1); i++) ids.push(await far.do('numbers', count, 'noise'));
  await ground.near(async (cluster) => {
    const rate = (took: number): number => bytes / MB / (took / 1e9);
    const object = async (): Promise<number> => {
      const id = parseId(ids.pop() ?? '');
      const begun = nanoseconds();
      await cluster.bring(id);
      return rate(nanoseconds() - begun);
    };
    const pieces = async (path?: string): Promise<number> => {
      const file = path === undefined ? undefined : openSync(path, 'w');
      const begun = nanoseconds();
      await concurrently(Math.ceil(bytes / PIECE), WINDOW, async (i) => {
        const { data } = await client.request(PIECES, String(PIECE), { timeout: 60_000 });
        if (data.length !== PIECE) throw new Error(`${data.length} bytes`);
        if (file !== undefined) writeSync(file, data, 0, PIECE, i * PIECE);
      });
      if (file !== undefined) {
        fdatasyncSync(file);
        closeSync(file);
      }
      return rate(nanoseconds() - begun);
    };
    const name = 'a plain client of the engine, 256 KiB a message';
    await compare(context, 'bulk', {
      name: `an object of ${Math.round(bytes / MB)} MB`,
      unit: 'MB/s',
      better: 'higher',
      ours: { name: 'brought here', measure: object },
      peers: [
        { side: { name, measure: () => pieces() }, target: 0.6 },
        { side: { name: `${name}, written to a file`, measure: () => pieces(join(context.directory, 'pieces')), note: KEPT } },
      ],
    });
  });
}

export const bulk: Benchmark = {
  name: 'bulk',
  about: 'a large object from node to node, checked and entered, beside the same bytes in messages of a plain client of the engine',
  run: (context) => onGround(context, 'bulk', (ground) => transferring(context, ground)),
};

// --- packed -------------------------------------------------------------------------------------------------------------------------

async function packing(context: Context, ground: Ground): Promise<void> {
  const far = await ground.far();
  const count = context.size(1_250_000, 80_000);
  const links: readonly (readonly [string, number])[] = [
    ['10 Mbit/s', 10],
    ['100 Mbit/s', 100],
    ['loopback', Infinity],
  ];
  for (const [name, megabits] of context.quick ? links.slice(2) : links) {
    const ids: string[] = [];
    for (let i = 0; i < context.rounds + 1; i++) ids.push(await far.do('numbers', count, 'table'));
    const slow = megabits === Infinity ? undefined : { servers: [`nats://127.0.0.1:${await ground.through(1, megabits)}`] };
    const side = (what: string, cluster: Cluster): Side => {
      const left = [...ids];
      const measure = async (): Promise<number> => {
        const begun = nanoseconds();
        await cluster.bring(parseId(left.pop() ?? ''), 300_000);
        return (nanoseconds() - begun) / 1e6;
      };
      return { name: what, measure };
    };
    await ground.near(
      (packed) =>
        ground.near(
          (plain) =>
            compare(context, 'packed', {
              name: `${Math.round((count * 8) / MB)} MB of numbers over ${name}`,
              unit: 'ms',
              better: 'lower',
              ours: side('compressed where that pays', packed),
              peers: [{ side: side('never compressed', plain), reference: true, target: 1.1 }],
            }),
          { ...slow, compress: false },
        ),
      slow,
    );
  }
}

export const packed: Benchmark = {
  name: 'packed',
  about:
    'an object that shrinks to a quarter, from node to node over links of 10 and 100 Mbit/s and over loopback: with compression, and without',
  run: (context) => {
    const few = { ...context, rounds: Math.min(context.rounds, 3) };
    return onGround(few, 'packed', (ground) => packing(few, ground));
  },
};

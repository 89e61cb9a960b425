/**
 * The four cases of an invariant pointer: to the same object, to another object that is mapped, to one that is touched for the
 * first time, and the store of a pointer to another object.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ObjectId, type Space, array, moveCursor, objectOf, offsetOf, open, ref, struct } from '../src/index.ts';
import { compile } from './c.ts';
import {
  Chain,
  Node,
  type NodeCursor,
  type NodeReader,
  fieldOffsets,
  inSlices,
  makeChain,
  nodeCursor,
  nodeReader,
  nodesOf,
  words,
} from './graph.ts';
import {
  type Absent,
  type Benchmark,
  type Context,
  type Side,
  compare,
  generator,
  median,
  nanoseconds,
  shuffled,
  timeEach,
} from './harness.ts';
import { isAbsent } from './peers.ts';

const SPOKES = 500;
const SOURCES = 4096;
const Star = struct('Star', { spokes: array(ref(Node), SPOKES) });

/** Follows `hops` references round a ring. The sum keeps the loads from being left out. */
function ringAccessors(first: Node, hops: number): number {
  let node: Node | null = first;
  let sum = 0;
  for (let i = 0; i < hops && node !== null; i++) {
    sum += node.value;
    node = node.next;
  }
  return sum;
}

function ringCursor(at: NodeCursor, first: Node, hops: number): number {
  moveCursor(at, first);
  let sum = 0;
  for (let i = 0; i < hops; i++) {
    sum += at.value;
    at.follow('next');
  }
  return sum;
}

function ringReader(read: NodeReader, first: number, hops: number): number {
  let at = first;
  let sum = 0;
  for (let i = 0; i < hops; i++) {
    sum += read.value(at);
    at = read.next(at);
  }
  return sum;
}

function ringWords(memory: Uint32Array, first: number, value: number, next: number, hops: number): number {
  let at = first;
  let sum = 0;
  for (let i = 0; i < hops; i++) {
    sum += memory[(at + value) >>> 2] ?? 0;
    at = memory[(at + next) >>> 2] ?? 0;
  }
  return sum;
}

/** A ring whose every reference leads to another object, over as many nodes as the ring inside one object. */
function makeCrossRing(space: Space, count: number, objects: number): Node {
  const chains = Array.from({ length: objects }, () => space.relaxed(() => space.create(Chain, { count, first: null })));
  const nodes: Node[] = [];
  inSlices(space, count, (i) => {
    const home = chains[i % objects];
    if (home !== undefined) nodes.push(space.make(Node, home, { value: i, key: i, next: null }));
  });
  // Steps within a residue class are shuffled, the class itself goes round: neighbours never share an object.
  const rows = shuffled(Math.floor(count / objects), 2);
  const order = Array.from({ length: rows.length * objects }, (_, i) => (rows[Math.floor(i / objects)] ?? 0) * objects + (i % objects));
  inSlices(space, order.length, (i) => {
    const node = nodes[order[i] ?? 0];
    const next = nodes[order[(i + 1) % order.length] ?? 0];
    if (node !== undefined && next !== undefined) node.next = next;
  });
  const first = nodes[order[0] ?? 0];
  if (first === undefined) throw new Error('the ring is empty');
  return first;
}

async function rings(context: Context, space: Space): Promise<void> {
  const count = 4096;
  const hops = context.size(2_000_000, 5000);
  const fields = fieldOffsets(space);
  const { chain } = makeChain(space, count, 3);
  const [first, ...others] = nodesOf(chain);
  const last = others.at(-1);
  if (first === undefined || last === undefined) throw new Error('the ring is empty');
  space.relaxed(() => {
    last.next = first;
  });
  const cross = makeCrossRing(space, count, 16);
  space.checkpoint();
  const memory = words(space, objectOf(chain));
  const start = offsetOf(first);
  const at = nodeCursor(first);
  const far = nodeCursor(cross);
  const read = nodeReader(first);
  const readFar = nodeReader(cross);
  const side = (name: string, work: () => number): Side => ({
    name,
    measure: () => timeEach(hops, work),
  });
  const raw = side('Uint32Array over the same memory', () => ringWords(memory, start, fields.value, fields.next, hops));
  const forms = [
    {
      near: side('same object, reader', () => ringReader(read, start, hops)),
      far: side('another object, reader', () => {
        moveCursor(readFar, cross);
        return ringReader(readFar, offsetOf(cross), hops);
      }),
    },
    {
      near: side('same object, cursor', () => ringCursor(at, first, hops)),
      far: side('another object, cursor', () => ringCursor(far, cross, hops)),
    },
    {
      near: side('same object, accessors', () => ringAccessors(first, hops)),
      far: side('another object, accessors', () => ringAccessors(cross, hops)),
    },
  ];
  const common = { name: `ring of ${count} nodes`, unit: 'ns/hop', better: 'lower' } as const;
  for (const { near } of forms) await compare(context, 'pointer', { ...common, ours: near, peers: [{ side: raw, target: 1.5 }] });
  for (const { near, far: ours } of forms)
    await compare(context, 'pointer', { ...common, ours, peers: [{ side: near, target: 2.5, reference: true }] });
}

/** An object that refers to `count` others, each in its own file. */
function makeStar(space: Space, count: number): ObjectId {
  const star = space.relaxed(() => space.create(Star));
  inSlices(space, count, (i) => star.spokes.set(i, space.create(Node, { value: i, key: i, next: null })));
  return objectOf(star).id;
}

/** The system calls alone, by C, over the same files. */
function inC(context: Context, directory: string): Side | Absent {
  const name = 'C: open, fstat, mmap, close, read';
  const program = compile(context.directory, 'first-use', { source: 'first-use.c' });
  if (isAbsent(program)) return { name, absent: program.absent };
  const files = readdirSync(join(directory, 'objects'), { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.twz'));
  const list = files.map((path) => join(directory, 'objects', path)).join('\n');
  return { name, measure: () => program.run([], {}, list)[0] ?? Number.NaN };
}

async function firstUse(context: Context): Promise<void> {
  const count = context.size(SPOKES, 20);
  const directory = join(context.directory, 'star');
  const made = open(directory);
  const id = makeStar(made, count);
  made.close();
  await compare(context, 'pointer', {
    name: `first use of ${count} objects, mapped each`,
    unit: 'ns/object',
    better: 'lower',
    limit: 10_000,
    peers: [{ side: inC(context, directory) }],
    ours: {
      name: 'median',
      note: 'the objects are in the page cache; a first use opens the file, checks its header and ID, maps it and reads a field',
      measure() {
        const space = open(directory);
        const { spokes } = space.get(id, Star);
        const each: number[] = [];
        for (let i = 0; i < count; i++) {
          const start = nanoseconds();
          const value = spokes.get(i)?.value;
          each.push(nanoseconds() - start);
          if (value !== i) throw new Error(`spoke ${i} leads to ${value ?? 'nothing'}`);
        }
        space.close();
        return median(each);
      },
    },
  });
}

interface Stores {
  readonly entries: number;
  /** Stores references to `among` of the targets, the same ones every time. */
  side(among: number): Side;
}

/** The store itself, inside one long transaction: what it costs to log and commit is the business of `relaxed`. */
function storing(space: Space, entries: number, stores: number): Stores {
  const hub = space.relaxed(() => space.create(Chain, { count: entries, first: null }));
  const targets: Node[] = [];
  inSlices(space, entries, (i) => targets.push(space.create(Node, { value: i, key: i, next: null })));
  // One reference to each stays, so that no entry is given up while others are overwritten.
  inSlices(space, entries, (i) => space.make(Node, hub, { value: i, key: i, next: targets[i] ?? null }));
  const sources: Node[] = [];
  inSlices(space, SOURCES, (i) => sources.push(space.make(Node, hub, { value: i, key: i, next: null })));
  space.checkpoint();
  const order = shuffled(entries, 6);
  const random = generator(5);
  const side = (among: number): Side => {
    const used = Array.from({ length: among }, (_, i) => targets[order[i] ?? 0] ?? null);
    return {
      name: `${entries.toLocaleString('en-US')} entries, ${among.toLocaleString('en-US')} in use`,
      measure() {
        const from = Uint32Array.from({ length: stores }, () => random(sources.length));
        const to = Uint32Array.from({ length: stores }, () => random(among));
        let each = 0;
        space.relaxed(() => {
          each = timeEach(stores, () => {
            for (let i = 0; i < stores; i++) {
              const source = sources[from[i] ?? 0];
              if (source !== undefined) source.next = used[to[i] ?? 0] ?? null;
            }
          });
        });
        return each;
      },
    };
  };
  return { entries: objectOf(hub).fot().length, side };
}

/** What the same would be by hand: the target's number looked up in a Map, then stored. */
function storingByHand(entries: number, stores: number): Side {
  const targets = Array.from({ length: entries }, (_, i) => ({ value: i, key: i, next: null }));
  const numbers = new Map<object, number>(targets.map((target, i) => [target, i]));
  const memory = new Uint32Array(SOURCES * 4);
  const random = generator(5);
  return {
    name: 'Map.get of the target and two words stored',
    measure() {
      const from = Uint32Array.from({ length: stores }, () => random(SOURCES));
      const to = Uint32Array.from({ length: stores }, () => random(entries));
      return timeEach(stores, () => {
        for (let i = 0; i < stores; i++) {
          const target = targets[to[i] ?? 0];
          if (target === undefined) continue;
          memory[(from[i] ?? 0) * 4 + 2] = target.key;
          memory[(from[i] ?? 0) * 4 + 3] = numbers.get(target) ?? 0;
        }
      });
    },
  };
}

async function stores(context: Context, space: Space): Promise<void> {
  const count = context.size(50_000, 500);
  const many = context.size(100_000, 100);
  const common = { name: 'store to another object', unit: 'ns/store', better: 'lower' } as const;
  context.progress(`pointer: making an object with ${many} foreign entries`);
  const small = storing(space, 10, count);
  const large = storing(space, many, count);
  if (small.entries !== 10 || large.entries !== many)
    throw new Error(`the objects have ${small.entries} and ${large.entries} foreign entries`);
  await compare(context, 'pointer', { ...common, limit: 100, ours: small.side(10), peers: [{ side: storingByHand(10, count) }] });
  await compare(context, 'pointer', { ...common, limit: 100, ours: large.side(10), peers: [] });
  await compare(context, 'pointer', {
    ...common,
    ours: {
      ...large.side(many),
      note: 'with 100,000 in use every store misses the caches several times; a miss costs about what a hop of the random walk does',
    },
    peers: [{ side: storingByHand(many, count) }],
  });
}

async function run(context: Context): Promise<void> {
  const space = open(join(context.directory, 'rings'));
  await rings(context, space);
  space.close();
  const other = open(join(context.directory, 'stores'));
  await stores(context, other);
  other.close();
  await firstUse(context);
}

export const pointer: Benchmark = {
  name: 'pointer',
  about: 'The four cases of a pointer: same object, another object, first use with mapping, and the store.',
  run,
};

/**
 * The red-black tree of Twizzler's paper: lookups and inserts in a tree of 1M keys of 32 bits, in random order, beside plain C on a
 * mapped file and beside PMDK in C.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type RedBlackTree, type Space, open, orderedMap, redBlackTree as treeType, u32 } from '../src/index.ts';
import { type Program, compile } from './c.ts';
import { type Absent, type Benchmark, type Context, type Side, compare, generator, rateAsync, timeEach } from './harness.ts';
import { isAbsent } from './peers.ts';

const Tree = treeType(u32, u32);
const TURN = 256;

/** A bijection, the same as in C: keys are its results for 0, 1, 2 and so on. */
function mix(of: number): number {
  let x = of ^ (of >>> 16);
  x = Math.imul(x, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

interface Map32 {
  get(key: number): number | undefined;
  set(key: number, value: number): unknown;
}

/** Enters all keys, `batch` a transaction; the event loop turns meanwhile, so that the log is synced behind it. */
async function fill(space: Space, map: Map32, keys: Uint32Array, batch: number): Promise<void> {
  const some = (from: number, to: number): void => {
    for (let i = from; i < to; i++) map.set(keys[i] as number, i);
  };
  for (let i = 0; i < keys.length; i += batch) {
    space.relaxed(() => some(i, Math.min(keys.length, i + batch)));
    if (i % Math.max(TURN, batch) === 0) await setImmediate();
  }
}

function looking(name: string, map: Map32, keys: Uint32Array, count: number, note?: string): Side {
  const random = generator(17);
  return {
    name,
    ...(note === undefined ? {} : { note }),
    measure() {
      const wanted = Uint32Array.from({ length: count }, () => keys[random(keys.length)] as number);
      let found = 0;
      const each = timeEach(count, () => {
        for (let i = 0; i < count; i++) if (map.get(wanted[i] as number) !== undefined) found++;
      });
      if (found !== count) throw new Error(`${name} found ${found} of ${count} keys`);
      return each;
    },
  };
}

/** One figure of what a C program prints: 0 an insert, 1 a lookup; each in nanoseconds. */
function inC(name: string, program: Program | Absent, figure: 0 | 1, run: (program: Program) => number[], note?: string): Side | Absent {
  if (isAbsent(program)) return { name, absent: program.absent };
  return { name, ...(note === undefined ? {} : { note }), measure: () => run(program)[figure] ?? Number.NaN };
}

async function lookups(context: Context, space: Space, keys: Uint32Array, programs: Programs): Promise<void> {
  const count = context.size(1_000_000, 1000);
  const tree = space.relaxed(() => space.create(Tree));
  const ordered = space.relaxed(() => space.create(orderedMap(u32, u32)));
  await fill(space, tree, keys, 256);
  await fill(space, ordered, keys, 256);
  space.checkpoint();
  let seed = 1;
  await compare(context, 'red-black-tree', {
    name: `lookup among ${keys.length.toLocaleString('en-US')} keys`,
    unit: 'ns/lookup',
    better: 'lower',
    ours: looking('redBlackTree(u32, u32)', tree, keys, count),
    peers: [
      { side: inC('C on mmap', programs.plain, 1, (program) => program.run([programs.file, keys.length, count, seed++])), target: 1.7 },
      {
        side: inC('PMDK libpmemobj, C', programs.pmdk, 1, (program) => programs.runPmdk(program, keys.length, count, seed++, 256)),
        target: 0.5,
      },
      { side: looking('orderedMap(u32, u32)', ordered, keys, count), reference: true },
    ],
  });
}

async function inserts(context: Context, space: Space, keys: Uint32Array, batch: number, programs: Programs): Promise<void> {
  const ours: Side = {
    name: 'redBlackTree(u32, u32)',
    note: 'red-black-tree: what we commit is in the log within milliseconds and survives the death of the process at once, as with PMDK and PMEM_IS_PMEM_FORCE=1; C has neither transactions nor safety',
    async measure() {
      const tree: RedBlackTree<number, number> = space.relaxed(() => space.create(Tree));
      const perSecond = await rateAsync(keys.length, () => fill(space, tree, keys, batch));
      if (tree.size !== keys.length) throw new Error(`the tree has ${tree.size} entries`);
      space.relaxed(() => space.delete(tree));
      return 1e9 / perSecond;
    },
  };
  const fresh = (program: Program): number[] => {
    rmSync(programs.pool, { force: true });
    return programs.runPmdk(program, keys.length, 1, 1, batch);
  };
  await compare(context, 'red-black-tree', {
    name: `insert, ${batch === 1 ? 'a transaction each' : `${batch} a transaction`}`,
    unit: 'ns/insert',
    better: 'lower',
    ours,
    peers: [
      { side: inC('PMDK libpmemobj, C', programs.pmdk, 0, fresh), target: 1 / 3 },
      { side: inC('C on mmap', programs.plain, 0, (program) => program.run([programs.file, keys.length, 1, 1])), reference: true },
    ],
  });
}

interface Programs {
  readonly plain: Program | Absent;
  readonly pmdk: Program | Absent;
  readonly file: string;
  readonly pool: string;
  runPmdk(program: Program, ...args: readonly number[]): number[];
}

async function run(context: Context): Promise<void> {
  const { directory } = context;
  const pool = join(directory, 'rbtree.pool');
  const programs: Programs = {
    plain: compile(directory, 'rbtree', { source: 'rbtree.c' }),
    pmdk: compile(directory, 'rbtree-pmdk', { source: 'rbtree-pmdk.c', libraries: ['pmemobj'] }),
    file: join(directory, 'rbtree.data'),
    pool,
    runPmdk: (program, ...args) => program.run([pool, ...args], { PMEM_IS_PMEM_FORCE: '1' }),
  };
  const keys = Uint32Array.from({ length: context.size(1_000_000, 1000) }, (_, i) => mix(i));
  const space = open(join(directory, 'space'));
  await lookups(context, space, keys, programs);
  for (const batch of [1, 256]) await inserts(context, space, keys, batch, programs);
  space.close();
}

export const redBlackTree: Benchmark = {
  name: 'red-black-tree',
  about: "The paper's red-black tree: lookups and inserts beside C on mmap and PMDK.",
  run,
};

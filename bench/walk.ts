/**
 * Following references: a chain of 1M nodes, each hop depending on the one before, and a field of each summed up.
 * In random order every hop misses the caches, in allocation order almost none does.
 */
import { join } from 'node:path';
import { type Space, moveCursor, objectOf, offsetOf, open } from '../src/index.ts';
import { type Program, compile } from './c.ts';
import {
  Chain,
  type Node,
  type NodeCursor,
  type NodeReader,
  fieldOffsets,
  makeChain,
  nodeCursor,
  nodeReader,
  objectFile,
  words,
} from './graph.ts';
import { type Absent, type Benchmark, type Context, type Side, compare, shuffled, timeEach } from './harness.ts';
import { betterSqlite3, isAbsent, lmdb } from './peers.ts';

interface Plain {
  readonly value: number;
  readonly key: number;
  next: Plain | null;
}

function walkPlain(first: Plain | null): number {
  let sum = 0;
  for (let node = first; node !== null; node = node.next) sum += node.value;
  return sum;
}

function walkAccessors(first: Node | null): number {
  let sum = 0;
  for (let node = first; node !== null; node = node.next) sum += node.value;
  return sum;
}

function walkCursor(at: NodeCursor, first: Node): number {
  moveCursor(at, first);
  let sum = 0;
  do sum += at.value;
  while (at.follow('next'));
  return sum;
}

function walkReader(read: NodeReader, first: number): number {
  let sum = 0;
  for (let at = first; at !== 0; at = read.next(at)) sum += read.value(at);
  return sum;
}

function walkWords(memory: Uint32Array, first: number, value: number, next: number): number {
  let sum = 0;
  for (let at = first; at !== 0; at = memory[(at + next) >>> 2] ?? 0) sum += memory[(at + value) >>> 2] ?? 0;
  return sum;
}

function makePlain(order: Uint32Array | undefined, count: number): Plain | null {
  const nodes: Plain[] = Array.from({ length: count }, (_, i) => ({
    value: i,
    key: i,
    next: null,
  }));
  const at = (i: number): Plain | null => nodes[order === undefined ? i : (order[i] ?? count)] ?? null;
  for (let i = 0; i < count; i++) {
    const node = at(i);
    if (node !== null) node.next = at(i + 1);
  }
  return at(0);
}

/** A side that does `count` hops, and fails where the sum of the values shows that it skipped some. */
function hops(name: string, count: number, walk: () => number, note?: string): Side {
  const expected = (count * (count - 1)) / 2;
  const measure = (): number => {
    let sum = 0;
    const each = timeEach(count, () => {
      sum = walk();
    });
    if (sum !== expected) throw new Error(`${name} summed up ${sum} instead of ${expected}`);
    return each;
  };
  return { name, measure, ...(note === undefined ? {} : { note }) };
}

function inC(program: Program | Absent, file: string, first: number, count: number): Side | Absent {
  if (isAbsent(program)) return { name: 'C', absent: program.absent };
  return {
    name: 'C -O2, same file mapped',
    measure() {
      const [each, sum, done] = program.run([file, first]);
      if (each === undefined || sum !== (count * (count - 1)) / 2 || done !== count)
        throw new Error(`the C walk did ${done} hops and summed up ${sum}`);
      return each;
    },
  };
}

/** One get a hop: what following a reference is in a store of keys and values. */
async function inLmdb(directory: string, count: number, order: Uint32Array, hopsMade: number): Promise<Side | Absent> {
  const name = 'lmdb, one get a hop';
  const peer = lmdb();
  if (isAbsent(peer)) return { name, absent: peer.absent };
  const store = peer.open({
    path: join(directory, 'walk.lmdb'),
    keyEncoding: 'uint32',
    encoding: 'binary',
    noSync: true,
  });
  await store.transaction(() => {
    for (let i = 0; i < count; i++) {
      const record = Buffer.alloc(16);
      record.writeUInt32LE(order[i] ?? 0, 0);
      record.writeUInt32LE(order[(i + 1) % count] ?? 0, 8);
      void store.put(order[i] ?? 0, record);
    }
  });
  let at = order[0] ?? 0;
  const measure = (): number =>
    timeEach(hopsMade, () => {
      for (let i = 0; i < hopsMade; i++) {
        const record = store.getBinary(at);
        if (record === undefined) throw new Error(`lmdb lost record ${at}`);
        at = new DataView(record.buffer, record.byteOffset).getUint32(8, true);
      }
    });
  return { name, measure };
}

function inSqlite(directory: string, count: number, order: Uint32Array, hopsMade: number): Side | Absent {
  const name = 'better-sqlite3, one select a hop';
  const Sqlite = betterSqlite3();
  if (isAbsent(Sqlite)) return { name, absent: Sqlite.absent };
  const db = new Sqlite(join(directory, 'walk.sqlite'));
  db.pragma('synchronous = OFF');
  db.pragma('mmap_size = 1000000000');
  db.exec('CREATE TABLE node (id INTEGER PRIMARY KEY, value INTEGER, key INTEGER, next INTEGER)');
  const insert = db.prepare('INSERT INTO node VALUES (?, ?, ?, ?)');
  db.transaction(() => {
    const next = new Uint32Array(count);
    for (let i = 0; i < count; i++) next[order[i] ?? 0] = order[(i + 1) % count] ?? 0;
    for (let id = 0; id < count; id++) insert.run(id, id, id, next[id] ?? 0);
  })();
  const select = db.prepare('SELECT value, next FROM node WHERE id = ?');
  let at = order[0] ?? 0;
  const measure = (): number =>
    timeEach(hopsMade, () => {
      for (let i = 0; i < hopsMade; i++) {
        const row = select.get(at);
        if (typeof row !== 'object' || row === null || !('next' in row)) throw new Error(`SQLite lost record ${at}`);
        at = Number(row.next);
      }
    });
  return { name, measure };
}

interface Walks {
  readonly accessors: Side;
  readonly cursor: Side;
  readonly reader: Side;
  readonly words: Side;
  readonly c: Side | Absent;
}

function sides(space: Space, directory: string, chain: Chain, program: Program | Absent, fields: { value: number; next: number }): Walks {
  const { first, count } = chain;
  if (first === null) throw new Error('the chain is empty');
  const object = objectOf(chain);
  const memory = words(space, object);
  const at = nodeCursor(first);
  const read = nodeReader(first);
  const start = offsetOf(first);
  return {
    accessors: hops('accessors', count, () => walkAccessors(first)),
    cursor: hops('cursor', count, () => walkCursor(at, first)),
    reader: hops('reader', count, () => walkReader(read, start)),
    words: hops('Uint32Array over the same memory', count, () => walkWords(memory, start, fields.value, fields.next)),
    c: inC(program, objectFile(directory, object), start, count),
  };
}

async function run(context: Context): Promise<void> {
  const count = context.size(1_000_000, 2000);
  const directory = join(context.directory, 'space');
  context.progress(`walk: making two chains of ${count} nodes`);
  const made = open(directory);
  const fields = fieldOffsets(made);
  const ids = [makeChain(made, count, 1), makeChain(made, count, undefined)].map(({ chain }) => objectOf(chain).id);
  made.close();

  const space = open(directory);
  const program = compile(context.directory, 'walk', {
    source: 'walk.c',
    defines: { VALUE_AT: fields.value, NEXT_AT: fields.next },
  });
  const [random, sequential] = ids.map((id) => sides(space, directory, space.get(id, Chain), program, fields));
  if (random === undefined || sequential === undefined) throw new Error('no chains');
  const order = shuffled(count, 1);
  const plainRandom = makePlain(order, count);
  const plainSequential = makePlain(undefined, count);
  const unit = 'ns/hop';
  const better = 'lower';

  const peerHops = context.size(100_000, 500);
  await compare(context, 'walk', {
    name: 'random order',
    unit,
    better,
    ours: random.accessors,
    peers: [
      { side: random.c, target: 1.3 },
      { side: hops('plain JS objects', count, () => walkPlain(plainRandom)) },
      { side: await inLmdb(context.directory, count, order, peerHops) },
      { side: inSqlite(context.directory, count, order, peerHops) },
    ],
  });
  await compare(context, 'walk', {
    name: 'allocation order',
    unit,
    better,
    ours: sequential.accessors,
    peers: [{ side: hops('plain JS objects', count, () => walkPlain(plainSequential)), target: 3 }, { side: sequential.c }],
  });
  for (const [name, walks] of [
    ['random order', random],
    ['allocation order', sequential],
  ] as const) {
    for (const ours of [walks.cursor, walks.reader]) {
      await compare(context, 'walk', { name, unit, better, ours, peers: [{ side: walks.words, target: 1.5 }, { side: walks.c }] });
    }
  }
  space.close();
}

export const walk: Benchmark = {
  name: 'walk',
  about: 'Following references through 1M nodes, by accessors, cursor and reader, beside C on the same file, plain objects and raw words.',
  run,
};

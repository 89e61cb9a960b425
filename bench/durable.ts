/**
 * Transactions that are on disk when their promise resolves, one at a time and many in flight.
 *
 * The floor is a preallocated file to which the same number of bytes is appended and synced, by hand.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { type Space, open } from '../src/index.ts';
import { type Node, makeChain, nodesOf } from './graph.ts';
import {
  type Absent,
  type Benchmark,
  type Context,
  type Side,
  compare,
  concurrently,
  generator,
  nanoseconds,
  rateAsync,
} from './harness.ts';
import { classicLevel, isAbsent, lmdb } from './peers.ts';

const PREALLOCATED = 16 << 20;

/** Changes one node: returns a promise that resolves once it is durable. */
type Change = (node: number, value: number) => Promise<unknown>;

function inFlight(name: string, nodes: number, many: number, count: number, change: Change, note?: string): Side {
  const random = generator(13);
  let value = 0;
  const measure = (): Promise<number> => rateAsync(count, () => concurrently(count, many, () => change(random(nodes), ++value)));
  return { name, measure, ...(note === undefined ? {} : { note }) };
}

function ours(space: Space, nodes: readonly Node[]): Change {
  return (node, value) =>
    space.durable(() => {
      const changed = nodes[node];
      if (changed !== undefined) changed.value = value;
    });
}

interface PeerStore {
  readonly name: string;
  readonly change: Change;
  readonly note?: string;
}

async function inLmdb(directory: string, nodes: number): Promise<PeerStore | Absent> {
  const name = 'lmdb, put';
  const peer = lmdb();
  if (isAbsent(peer)) return { name, absent: peer.absent };
  // With the default, overlappingSync, one would have to await db.flushed as well; this way is the faster of the two.
  const store = peer.open({
    path: join(directory, 'durable.lmdb'),
    keyEncoding: 'uint32',
    encoding: 'binary',
    overlappingSync: false,
  });
  await store.transaction(() => {
    for (let i = 0; i < nodes; i++) void store.put(i, Buffer.alloc(16, i & 255));
  });
  const change: Change = (node, value) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(value, 0);
    return store.put(node, record);
  };
  return {
    name,
    change,
    note: 'lmdb: overlappingSync off, so that the promise of a put means that it is on disk',
  };
}

async function inLevel(directory: string, nodes: number): Promise<PeerStore | Absent> {
  const name = 'classic-level, put with sync';
  const peer = classicLevel();
  if (isAbsent(peer)) return { name, absent: peer.absent };
  const store = new peer.ClassicLevel(join(directory, 'durable.level'), {
    keyEncoding: 'view',
    valueEncoding: 'view',
  });
  await store.open();
  const key = (node: number): Uint8Array => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(node, 0);
    return bytes;
  };
  for (let from = 0; from < nodes; from += 10_000) {
    const length = Math.min(10_000, nodes - from);
    await store.batch(
      Array.from({ length }, (_, i) => ({
        type: 'put' as const,
        key: key(from + i),
        value: Buffer.alloc(16, i & 255),
      })),
      { sync: false },
    );
  }
  const change: Change = (node, value) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(value, 0);
    return store.put(key(node), record, { sync: true });
  };
  return { name, change };
}

/** Appends `bytes` and syncs, over and over, in a file that was written to before. */
export function floor(directory: string, bytes: number, count: number, asynchronous: boolean): Side {
  const name = asynchronous ? 'write and fdatasync, asynchronous calls' : 'pwrite and fdatasync';
  const fd = fs.openSync(join(directory, `floor-${asynchronous ? 'async' : 'sync'}`), 'w+');
  const megabyte = Buffer.alloc(1 << 20);
  for (let at = 0; at < PREALLOCATED; at += megabyte.length) fs.writeSync(fd, megabyte, 0, megabyte.length, at);
  fs.fsyncSync(fd);
  const record = Buffer.alloc(bytes);
  let at = 0;
  const prepare = (i: number): number => {
    record.writeUInt32LE(i, 0);
    at = at + bytes > PREALLOCATED ? bytes : at + bytes;
    return at - bytes;
  };
  const step = (i: number): Promise<void> =>
    new Promise((resolve, reject) => {
      fs.write(fd, record, 0, bytes, prepare(i), (failed) => {
        if (failed !== null) reject(failed);
        else fs.fdatasync(fd, (error) => (error === null ? resolve() : reject(error)));
      });
    });
  return {
    name,
    note: `the floor writes ${bytes} bytes a time, as many as a transaction puts into the log`,
    async measure() {
      const start = nanoseconds();
      for (let i = 0; i < count; i++) {
        if (asynchronous) await step(i);
        else {
          fs.writeSync(fd, record, 0, bytes, prepare(i));
          fs.fdatasyncSync(fd);
        }
      }
      return (nanoseconds() - start) / count / 1000;
    },
  };
}

/** Bytes that one such transaction adds to the log. */
export function logBytes(space: Space, change: () => void): number {
  const before = space.stat().log.appended;
  change();
  return space.stat().log.appended - before;
}

async function run(context: Context): Promise<void> {
  const nodes = context.size(1_000_000, 1000);
  const space = open(join(context.directory, 'space'));
  context.progress(`durable: making ${nodes} nodes for everybody`);
  const held = [...nodesOf(makeChain(space, nodes, 7).chain)];
  space.checkpoint();
  const change = ours(space, held);
  const bytes = logBytes(space, () => void change(0, 1));
  const stores = [await inLmdb(context.directory, nodes), await inLevel(context.directory, nodes)];
  const peers = (many: number, count: number, target?: number) =>
    stores.map((store) => ({
      side: 'absent' in store ? store : inFlight(store.name, nodes, many, count, store.change, store.note),
      ...(target === undefined ? {} : { target }),
    }));

  const single = context.size(300, 20);
  const random = generator(17);
  await compare(context, 'durable', {
    name: 'one at a time',
    unit: 'us/tx',
    better: 'lower',
    ours: {
      name: 'await durable',
      async measure() {
        const start = nanoseconds();
        for (let i = 0; i < single; i++) await change(random(nodes), i);
        return (nanoseconds() - start) / single / 1000;
      },
    },
    peers: [
      { side: floor(context.directory, bytes, single, false), target: 1.25 },
      { side: floor(context.directory, bytes, single, true) },
    ],
  });
  const name = (many: number): string => `${many} in flight`;
  await compare(context, 'durable', {
    name: name(1),
    unit: 'tx/s',
    better: 'higher',
    ours: inFlight('one node', nodes, 1, single, change),
    peers: peers(1, single),
  });
  for (const many of [64, 1024]) {
    const count = context.size(many * 20, many);
    await compare(context, 'durable', {
      name: name(many),
      unit: 'tx/s',
      better: 'higher',
      ours: inFlight('one node', nodes, many, count, change),
      peers: peers(many, count, 2),
    });
  }
  space.close();
}

export const durable: Benchmark = {
  name: 'durable',
  about:
    'Transactions that are on disk when their promise resolves: one at a time against the bare system calls, many in flight against lmdb and classic-level.',
  run,
};

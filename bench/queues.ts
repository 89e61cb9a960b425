/**
 * Rings between programs: a question and its answer by two rings beside the same by two bare words; messages of 64 bytes one way, beside
 * a Unix socket and postMessage; and a tree of 1000 nodes handed to another thread, beside a copy of it.
 *
 * Both sides look all the time and have a core each. On a machine with fewer free cores the figures are those of its scheduler.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import { sharedWords, type SyncWords } from '../src/index.ts';
import type { Consumer, Producer } from '../src/lib/rings/sides.ts';
import { createRing, openRing, type Ring } from '../src/lib/rings/ring.ts';
import { type Benchmark, type Context, type Side, compare, contest, nanoseconds } from './harness.ts';
import {
  ANSWERED,
  ASKED,
  BACK,
  MESSAGE,
  OPTIONS,
  QUEUES_CHILD,
  REGION_BYTES,
  SPIN,
  THERE,
  TREE,
  mapRegion,
  type Tree,
} from './queues-child.ts';

type Bytes = Ring<Uint8Array>;

/** The other process is new: of what it does the first of so many parts is not measured. */
const WARM = 4;

async function other(what: string, directory: string, count: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, [QUEUES_CHILD, what, directory, String(count)], { stdio: ['ignore', 'ignore', 'inherit'] });
  await once(child, 'spawn');
  return child;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null) await once(child, 'exit');
  if (child.exitCode !== 0) throw new Error(`the other side ended with ${child.exitCode}`);
}

async function consumers(ring: Bytes): Promise<void> {
  while (ring.stat().consumers === 0) await new Promise((resolve) => setImmediate(resolve));
}

/** Empty rings in memory that a child maps, too. */
function rings(words: SyncWords): { there: Bytes; back: Bytes } {
  words.u8.fill(0);
  return { there: createRing(words, THERE, OPTIONS), back: createRing(words, BACK, OPTIONS) };
}

// --- round trips ------------------------------------------------------------------------------------------------------------

function byRings(context: Context, words: SyncWords, count: number): Side {
  const measure = async (): Promise<number> => {
    const { there, back } = rings(words);
    const [producer, consumer] = [there.producer({ spin: SPIN }), back.consumer({ spin: SPIN })];
    const child = await other('echo', context.directory, count);
    await consumers(there);
    const warm = Math.floor(count / WARM);
    ask(words, producer, consumer, warm);
    const took = ask(words, producer, consumer, count - warm);
    await ended(child);
    return took / (count - warm);
  };
  return { name: 'two rings', measure };
}

function ask({ i32 }: SyncWords, producer: Producer<Uint8Array>, consumer: Consumer<Uint8Array>, count: number): number {
  const start = nanoseconds();
  for (let i = 0; i < count; i++) {
    i32[producer.claim() >>> 2] = i;
    producer.commit();
    if (i32[consumer.take() >>> 2] !== i) throw new Error('another answer');
    consumer.release();
  }
  return nanoseconds() - start;
}

function byWords(context: Context, words: SyncWords, count: number): Side {
  const { i32 } = words;
  const round = (i: number): void => {
    Atomics.store(i32, ASKED, i);
    while (Atomics.load(i32, ANSWERED) !== i);
  };
  const measure = async (): Promise<number> => {
    words.u8.fill(0);
    const child = await other('raw', context.directory, count);
    const warm = Math.floor(count / WARM);
    for (let i = 1; i <= warm; i++) round(i);
    const start = nanoseconds();
    for (let i = warm + 1; i <= count; i++) round(i);
    const took = nanoseconds() - start;
    await ended(child);
    return took / (count - warm);
  };
  return { name: 'two bare words', measure };
}

// --- one way ----------------------------------------------------------------------------------------------------------------

/** `batch`: how many are published together. */
function messages(context: Context, words: SyncWords, count: number, inPlace: boolean, batch = 1): Side {
  const payload = new Uint8Array(MESSAGE).fill(7);
  const { i32 } = words;
  const measure = async (): Promise<number> => {
    const { there } = rings(words);
    const producer = there.producer({ spin: SPIN });
    const child = await other(inPlace ? 'in place' : 'copied', context.directory, count);
    await consumers(there);
    const warm = Math.floor(count / WARM);
    let start = 0;
    for (let i = 0; i < count; i++) {
      if (i === warm) start = nanoseconds();
      if (inPlace) {
        const at = producer.claim() >>> 2;
        for (let word = 0; word < MESSAGE / 4; word++) i32[at + word] = i;
        if ((i + 1) % batch === 0 || i === count - 1) producer.commit();
      } else producer.submit(payload);
    }
    while (Atomics.load(i32, ANSWERED) !== count);
    const took = nanoseconds() - start;
    await ended(child);
    return ((count - warm) * 1e9) / took;
  };
  const how = inPlace ? 'filled and read in place' : 'copied in and out';
  return { name: `ring, ${how}${batch > 1 ? `, ${batch} published together` : ''}`, measure };
}

function socketMessages(context: Context, count: number): Side {
  const payload = Buffer.alloc(MESSAGE, 7);
  const write = async (socket: Socket): Promise<void> => {
    for (let i = 0; i < count; i++) if (!socket.write(payload)) await once(socket, 'drain');
  };
  const measure = async (): Promise<number> => {
    const server = createServer().listen(`${context.directory}/socket`);
    await once(server, 'listening');
    const connected = once(server, 'connection') as Promise<[Socket]>;
    const child = await other('socket', context.directory, count);
    const [socket] = await connected;
    const answered = once(socket, 'data');
    const start = nanoseconds();
    await write(socket);
    await answered;
    const took = nanoseconds() - start;
    socket.end();
    server.close();
    await ended(child);
    return (count * 1e9) / took;
  };
  return { name: 'Unix socket', measure, note: 'a write a message; the stream may join them' };
}

async function worker(what: string, buffer: SharedArrayBuffer, count: number): Promise<Worker> {
  const made = new Worker(QUEUES_CHILD, { workerData: { what, buffer, count } });
  if (what !== 'tree' && what !== 'walk tree') await once(made, 'message');
  else await once(made, 'online');
  return made;
}

function postedMessages(count: number): Side {
  const payload = new Uint8Array(MESSAGE).fill(7);
  const measure = async (): Promise<number> => {
    const thread = await worker('messages', new SharedArrayBuffer(8), count);
    const done = once(thread, 'message');
    const start = nanoseconds();
    for (let i = 0; i < count; i++) thread.postMessage(payload, []);
    await done;
    const took = nanoseconds() - start;
    await thread.terminate();
    return (count * 1e9) / took;
  };
  return { name: 'postMessage', measure };
}

// --- trees ------------------------------------------------------------------------------------------------------------------

const NODES = 1000;

/** A balanced tree in words; returns the place of its root. */
function plant({ i32 }: SyncWords): number {
  let end = TREE;
  const grow = (from: number, to: number): number => {
    if (from >= to) return 0;
    const at = end;
    end += 12;
    const middle = (from + to) >>> 1;
    const [left, right] = [grow(from, middle), grow(middle + 1, to)];
    i32.set([middle, left, right], at >>> 2);
    return at;
  };
  return grow(0, NODES);
}

function tree(from: number, to: number): Tree | null {
  if (from >= to) return null;
  const middle = (from + to) >>> 1;
  return { value: middle, left: tree(from, middle), right: tree(middle + 1, to) };
}

const answerOf = (walks: boolean): number => (walks ? (NODES * (NODES - 1)) / 2 : NODES / 2);

function handed(count: number, walks: boolean): Side {
  const measure = async (): Promise<number> => {
    const buffer = new SharedArrayBuffer(REGION_BYTES);
    const words = sharedWords(buffer);
    const { there, back } = rings(words);
    const root = plant(words);
    const [producer, consumer] = [there.producer({ spin: SPIN }), back.consumer({ spin: SPIN })];
    const thread = await worker(walks ? 'walk tree' : 'tree', buffer, count);
    await consumers(openRing(words, THERE, OPTIONS.record));
    const start = nanoseconds();
    for (let i = 0; i < count; i++) {
      words.i32[producer.claim() >>> 2] = root;
      producer.commit();
      if (words.i32[consumer.take() >>> 2] !== answerOf(walks)) throw new Error('another tree');
      consumer.release();
    }
    const took = nanoseconds() - start;
    await thread.terminate();
    return took / count / 1000;
  };
  return { name: 'a reference by a ring', measure };
}

function posted(count: number, walks: boolean): Side {
  const planted = tree(0, NODES);
  const measure = async (): Promise<number> => {
    const thread = await worker(walks ? 'post and walk tree' : 'post tree', new SharedArrayBuffer(8), count);
    const start = nanoseconds();
    for (let i = 0; i < count; i++) {
      const answer = once(thread, 'message');
      thread.postMessage(planted, []);
      if ((await answer)[0] !== answerOf(walks)) throw new Error('another tree');
    }
    const took = nanoseconds() - start;
    await thread.terminate();
    return took / count / 1000;
  };
  return { name: 'postMessage of the tree', measure };
}

async function run(context: Context): Promise<void> {
  const words = mapRegion(context.directory);
  const trips = context.size(300_000, 30);
  await compare(context, 'queues', {
    name: 'round trip between two processes, both spinning',
    unit: 'ns',
    better: 'lower',
    ours: byRings(context, words, trips),
    peers: [{ side: byWords(context, words, trips), target: 1.5, reference: true }],
  });
  const count = context.size(3_000_000, 500);
  const few = context.size(300_000, 500);
  await contest(context, 'queues', {
    name: 'messages of 64 bytes, one way',
    unit: 'messages/s',
    better: 'higher',
    ours: [
      { side: messages(context, words, count, true), ...(context.quick ? {} : { limit: 5e6 }) },
      ...(context.quick ? [] : [{ side: messages(context, words, count, true, 16) }, { side: messages(context, words, count, false) }]),
    ],
    peers: [
      { side: socketMessages(context, few), targets: [20, 20, 20] },
      { side: postedMessages(few), targets: [20, 20, 20] },
    ],
  });
  for (const walks of context.quick ? [false] : [false, true]) {
    await compare(context, 'queues', {
      name: `a tree of ${NODES} nodes to another thread${walks ? ', which walks it' : ''}, and an answer`,
      unit: 'us',
      better: 'lower',
      ours: handed(context.size(100_000, 20), walks),
      peers: [{ side: posted(context.size(500, 10), walks), ...(walks ? {} : { target: 0.01 }) }],
    });
  }
}

export const queues: Benchmark = {
  name: 'queues',
  about: 'rings between processes and threads: round trips, messages a second, a tree handed over',
  run,
};

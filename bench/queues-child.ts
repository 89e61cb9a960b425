/** The other side of the queues' benchmark: `queues-child.js WHAT FILE COUNT`, as a process or as a worker thread (see `workerData`). */
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { Region } from '../src/host/futex.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { sharedWords, type SyncWords } from '../src/index.ts';
import { fixedBytes, type RecordType } from '../src/lib/rings/records.ts';
import { openRing, ringBytes, type RingOptions } from '../src/lib/rings/ring.ts';

export const QUEUES_CHILD: string = fileURLToPath(import.meta.url);

export const MESSAGE = 64;
const RECORD: RecordType<Uint8Array> = fixedBytes(MESSAGE);
export const OPTIONS: RingOptions<Uint8Array> = { record: RECORD, records: 4096 };
/** Where the two rings lie, and behind them two words for who needs no ring and a tree. */
export const THERE = 0;
export const BACK: number = ringBytes(OPTIONS);
export const ASKED: number = (BACK * 2) / 4;
export const ANSWERED: number = ASKED + 32;
export const TREE: number = BACK * 2 + 4096;
export const REGION_BYTES: number = Math.ceil((TREE + 65536) / 65536) * 65536;
/** Looks before a sleep: enough not to sleep while the other side runs. */
export const SPIN = 100_000;

export function mapRegion(directory: string): SyncWords {
  const host = new LinuxHost();
  const window = host.openWindow();
  const file = host.open(`${directory}/queues`, 'create');
  host.truncate(file, REGION_BYTES);
  window.mapShared(0, REGION_BYTES, file, 0);
  return new Region(host.futex, new Uint8Array(window.buffer, 0, REGION_BYTES));
}

function sink(words: SyncWords, count: number, inPlace: boolean): void {
  const consumer = openRing(words, THERE, RECORD).consumer({ spin: SPIN });
  const { i32 } = words;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    if (inPlace) {
      sum += i32[consumer.take() >>> 2] ?? 0;
      consumer.release();
    } else sum += consumer.receive()?.[0] ?? 0;
  }
  // The sum is kept from being left out.
  Atomics.store(i32, ANSWERED, sum < 0 ? 0 : count);
}

/** Sends each record back. */
function echo(words: SyncWords, count: number): void {
  const consumer = openRing(words, THERE, RECORD).consumer({ spin: SPIN });
  const producer = openRing(words, BACK, RECORD).producer({ spin: SPIN });
  const { i32 } = words;
  for (let i = 0; i < count; i++) {
    const value = i32[consumer.take() >>> 2] ?? 0;
    consumer.release();
    i32[producer.claim() >>> 2] = value;
    producer.commit();
  }
}

function raw({ i32 }: SyncWords, count: number): void {
  for (let i = 1; i <= count; i++) {
    while (Atomics.load(i32, ASKED) !== i);
    Atomics.store(i32, ANSWERED, i);
  }
}

/** A binary tree of words (value, left, right): its sum. */
export function sumOf(i32: Int32Array, at: number): number {
  if (at === 0) return 0;
  const node = at >>> 2;
  return (i32[node] ?? 0) + sumOf(i32, i32[node + 1] ?? 0) + sumOf(i32, i32[node + 2] ?? 0);
}

export interface Tree {
  readonly value: number;
  readonly left: Tree | null;
  readonly right: Tree | null;
}

export function sumOfTree(tree: Tree | null): number {
  return tree === null ? 0 : tree.value + sumOfTree(tree.left) + sumOfTree(tree.right);
}

/** Receives references to trees, and answers with what is at them. */
function takeTrees(words: SyncWords, count: number, walks: boolean): void {
  const consumer = openRing(words, THERE, RECORD).consumer({ spin: SPIN });
  const producer = openRing(words, BACK, RECORD).producer({ spin: SPIN });
  const { i32 } = words;
  for (let i = 0; i < count; i++) {
    const tree = i32[consumer.take() >>> 2] ?? 0;
    consumer.release();
    i32[producer.claim() >>> 2] = walks ? sumOf(i32, tree) : (i32[tree >>> 2] ?? 0);
    producer.commit();
  }
}

function inProcess(what: string, directory: string, count: number): void {
  if (what === 'socket') {
    const socket = connect(`${directory}/socket`);
    let bytes = 0;
    socket.on('data', (data) => {
      bytes += data.length;
      if (bytes === count * MESSAGE) socket.end('done');
    });
    return;
  }
  const words = mapRegion(directory);
  if (what === 'raw') raw(words, count);
  else if (what === 'echo') echo(words, count);
  else sink(words, count, what === 'in place');
}

function inWorker({ what, buffer, count }: { what: string; buffer: SharedArrayBuffer; count: number }): void {
  if (what === 'messages') {
    let left = count;
    parentPort?.on('message', () => {
      if (--left === 0) parentPort?.postMessage('done', []);
    });
  } else if (what === 'post tree' || what === 'post and walk tree') {
    parentPort?.on('message', (tree: Tree) => parentPort?.postMessage(what === 'post tree' ? tree.value : sumOfTree(tree), []));
  } else takeTrees(sharedWords(buffer), count, what === 'walk tree');
  parentPort?.postMessage('ready', []);
}

if (!isMainThread && typeof workerData === 'object' && workerData !== null && 'what' in workerData)
  inWorker(workerData as Parameters<typeof inWorker>[0]);
else if (process.argv[1] === QUEUES_CHILD) inProcess(process.argv[2] ?? '', process.argv[3] ?? '', Number(process.argv[4]));

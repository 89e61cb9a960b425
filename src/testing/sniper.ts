/**
 * A thread that watches one word of the log's tail and kills the process the moment it changes: in the middle of an append. No host
 * call is near it: a commit is stores into mapped memory, which are what the next process finds.
 */
import { parentPort, workerData } from 'node:worker_threads';

export interface Watched {
  readonly buffer: ArrayBufferLike;
  readonly at: number;
  readonly word: number;
}

const { buffer, at, word }: Watched = workerData;
const words = new Int32Array(buffer, at + word * 4, 1);
// The first call of a function takes longest.
process.kill(process.pid, 0);
parentPort?.postMessage('ready', []);
const before = Atomics.load(words, 0);
while (Atomics.load(words, 0) === before);
process.kill(process.pid, 'SIGKILL');

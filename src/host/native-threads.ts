/**
 * Threads of this package that load native code. A thread that is ended in the midst of that aborts the whole process, and Node ends all
 * threads when the process comes to its end. So the process waits, then, until what was started has loaded it.
 */
import { Worker, workerData, type WorkerOptions } from 'node:worker_threads';
import { isTwzError } from '../abi/errors.ts';
import { libc } from './linux/libc.ts';

/** How long the end of the process, or of a thread, waits for one that loads, in milliseconds: only what hangs takes as long. */
const WAIT_MS = 60_000;
/** How often who is to end a thread looks whether it has loaded, in milliseconds. */
const LOOK_MS = 5;
/** Words that are 0 while a thread has not loaded it. */
const loading = new Map<Worker, Int32Array>();

function waitForAll(): void {
  for (const word of loading.values()) Atomics.wait(word, 0, 0, WAIT_MS);
}

/** A thread that calls `loadNative` before anything else of the system. */
export function startNativeThread(file: URL, options: WorkerOptions & { readonly workerData?: object }): Worker {
  const word = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(file, { ...options, workerData: { ...options.workerData, nativeLoaded: word } });
  if (loading.size === 0) process.on('exit', waitForAll);
  loading.set(worker, word);
  worker.once('exit', () => {
    loading.delete(worker);
    if (loading.size === 0) process.off('exit', waitForAll);
  });
  return worker;
}

/** Ends such a thread from outside: when it has loaded native code. */
export async function endNativeThread(worker: Worker): Promise<void> {
  const end = performance.now() + WAIT_MS;
  const word = loading.get(worker);
  if (word !== undefined)
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!loading.has(worker) || Atomics.load(word, 0) !== 0 || performance.now() > end) resolve();
        else setTimeout(look, LOOK_MS);
      };
      look();
    });
  await worker.terminate();
}

/** In such a thread: loads it, if this machine has it, and says so. */
export function loadNative(): void {
  try {
    libc();
  } catch (error) {
    // Whoever needs it will say so.
    if (!isTwzError(error, 'HostUnavailable')) throw error;
  }
  const word: unknown = workerData?.nativeLoaded;
  if (!(word instanceof Int32Array)) return;
  Atomics.store(word, 0, 1);
  Atomics.notify(word, 0);
}

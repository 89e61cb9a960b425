/**
 * Compare-and-sleep inside one process, for hosts that have no other: between its threads over shared memory (JavaScript's own), and
 * between the promises of one thread over memory that no other thread sees.
 */
import { TwzError } from '../abi/errors.ts';
import type { Awakening, Threads, Wait, WordState } from '../abi/sync.ts';
import type { Futex, Region } from './futex.ts';

type WaitAsync = (
  words: Int32Array,
  index: number,
  value: number,
  timeout?: number,
) => { readonly async: false; readonly value: string } | { readonly async: true; readonly value: Promise<'ok' | 'timed-out'> };

// Newer than the type library that this is compiled against.
const { waitAsync } = Atomics as typeof Atomics & { readonly waitAsync: WaitAsync };

/** How often several words are looked at while a thread blocks on them. */
const POLL_MS = 1;
/** Keeps the process alive while something is awaited; an hour is as good as any time. */
const KEEP_MS = 3_600_000;

interface Waiter {
  readonly index: number;
  wake(): void;
}

function isShared(words: Int32Array): boolean {
  return words.buffer instanceof SharedArrayBuffer;
}

export class LocalFutex implements Futex {
  readonly threads: Threads;
  /** Who waits on memory of this thread alone: by buffer and byte. */
  readonly #waiters = new WeakMap<ArrayBufferLike, Waiter[]>();
  readonly #nap = new Int32Array(new SharedArrayBuffer(4));

  constructor(threads: Threads) {
    this.threads = threads;
  }

  wait(words: Region, index: number, value: number, timeout: number): Wait {
    if (!isShared(words.i32)) {
      this.#demandEnd(timeout);
      Atomics.wait(this.#nap, 0, 0, timeout);
      return 'timedOut';
    }
    const why = Atomics.wait(words.i32, index, value, timeout);
    return why === 'ok' ? 'woken' : why === 'not-equal' ? 'changed' : 'timedOut';
  }

  /** A thread that blocks on memory that no other thread sees would never go on. */
  #demandEnd(timeout: number): void {
    if (timeout === Infinity)
      throw new TwzError(
        'NotSupported',
        'this host has no memory that other threads see: a blocking wait without a timeout would never end',
      );
  }

  wake(words: Region, index: number, count: number): number {
    if (isShared(words.i32)) return Atomics.notify(words.i32, index, count);
    const waiters = this.#waiters.get(words.i32.buffer) ?? [];
    const at = words.i32.byteOffset + index * 4;
    let woken = 0;
    for (const waiter of waiters.filter((each) => each.index === at)) {
      if (woken === count) break;
      waiter.wake();
      woken++;
    }
    return woken;
  }

  waitAny(states: readonly WordState[], timeout: number): Awakening {
    const [only] = states;
    if (only !== undefined && states.length === 1 && isShared(only.words.i32)) {
      const why = Atomics.wait(only.words.i32, only.index, only.value, timeout);
      return why === 'timed-out' ? { why: 'timedOut', at: -1 } : { why: why === 'ok' ? 'woken' : 'changed', at: 0 };
    }
    if (!states.some(({ words }) => isShared(words.i32))) this.#demandEnd(timeout);
    const deadline = this.threads.now() + timeout;
    for (;;) {
      const at = states.findIndex(({ words, index, value }) => Atomics.load(words.i32, index) !== value);
      if (at >= 0) return { why: 'changed', at };
      const left = deadline - this.threads.now();
      if (left <= 0) return { why: 'timedOut', at: -1 };
      Atomics.wait(this.#nap, 0, 0, Math.min(left, POLL_MS));
    }
  }

  waitAnyAsync(states: readonly WordState[], timeout: number, signal: AbortSignal | undefined): Promise<Awakening> {
    return new Promise((resolve, reject) => {
      let ended = false;
      const leave: (() => void)[] = [];
      const timer = setTimeout(() => settle({ why: 'timedOut', at: -1 }), timeout === Infinity ? KEEP_MS : Math.min(timeout, 0x7fffffff));
      const again = timeout === Infinity ? setInterval(() => timer.refresh(), KEEP_MS / 2) : undefined;
      const onAbort = (): void => {
        finish();
        reject(signal?.reason);
      };
      const finish = (): void => {
        ended = true;
        clearTimeout(timer);
        clearInterval(again);
        signal?.removeEventListener('abort', onAbort);
        for (const each of leave) each();
      };
      const settle = (awakening: Awakening): void => {
        if (ended) return;
        finish();
        resolve(awakening);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      for (const [at, { words, index, value }] of states.entries()) {
        if (!isShared(words.i32)) {
          leave.push(this.#enter(words.i32, index, () => settle({ why: 'woken', at })));
          continue;
        }
        const { i32 } = words;
        const outcome = waitAsync(i32, index, value);
        if (!outcome.async) {
          settle({ why: 'changed', at });
          break;
        }
        void outcome.value.then(() => {
          // It cannot be left: a wake that comes after the end goes to the next sleeper.
          if (ended) Atomics.notify(i32, index, 1);
          else settle({ why: 'woken', at });
        });
      }
    });
  }

  #enter(words: Int32Array, index: number, wake: () => void): () => void {
    const waiters = this.#waiters.get(words.buffer) ?? [];
    this.#waiters.set(words.buffer, waiters);
    const waiter: Waiter = { index: words.byteOffset + index * 4, wake };
    waiters.push(waiter);
    return () => {
      const i = waiters.indexOf(waiter);
      if (i >= 0) waiters.splice(i, 1);
    };
  }
}

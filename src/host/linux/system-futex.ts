/** The system's futex over regions of words: it works between threads and between processes that map the same file. */
import { TwzError } from '../../abi/errors.ts';
import type { Awakening, Threads, Wait, WordState } from '../../abi/sync.ts';
import type { Futex, Region } from '../futex.ts';
import { FutexCalls } from './futex-calls.ts';
import { addressOf } from './libc.ts';
import { Sleepers, type Place } from './sleepers.ts';
import { LinuxThreads } from './threads.ts';

const bases = new WeakMap<ArrayBufferLike, number>();

/** Where a shared buffer begins. It never moves. */
function baseOf(buffer: ArrayBufferLike): number {
  let base = bases.get(buffer);
  if (base === undefined) {
    base = addressOf(new Uint8Array(buffer, 0, 1));
    bases.set(buffer, base);
  }
  return base;
}

function addressOfWord(words: WordState['words'], index: number): number {
  const { i32 } = words;
  return baseOf(i32.buffer) + i32.byteOffset + index * 4;
}

export class LinuxFutex implements Futex {
  readonly threads: Threads = new LinuxThreads();
  readonly #calls: FutexCalls;
  readonly #sleepers: Sleepers;

  /** `many` false: as if the system could not sleep on several words at once. */
  constructor(many = true) {
    this.#calls = new FutexCalls(many);
    this.#sleepers = new Sleepers(this.#calls, many);
  }

  wait(words: Region, index: number, value: number, timeout: number): Wait {
    return this.#calls.wait(addressOfWord(words, index), value >>> 0, timeout);
  }

  wake(words: Region, index: number, count: number): number {
    return this.#calls.wake(addressOfWord(words, index), count);
  }

  waitAny(states: readonly WordState[], timeout: number): Awakening {
    const [only] = states;
    if (only !== undefined && states.length === 1) {
      const why = this.#calls.wait(addressOfWord(only.words, only.index), only.value >>> 0, timeout);
      return { why, at: why === 'timedOut' ? -1 : 0 };
    }
    return this.#waitSeveral(states, timeout);
  }

  #waitSeveral(states: readonly WordState[], timeout: number): Awakening {
    const calls = this.#calls;
    const deadline = performance.now() + timeout;
    // The first word must be one, so that waiting for nothing is a sleep: this one nobody wakes.
    calls.setVector(0, this.#idleAt, 0);
    for (const [i, { words, index, value }] of states.entries()) calls.setVector(i + 1, addressOfWord(words, index), value >>> 0);
    for (;;) {
      const left = deadline - performance.now();
      if (left <= 0) return { why: 'timedOut', at: -1 };
      const woken = calls.waitVector(states.length + 1, left);
      if (typeof woken === 'number' && woken > 0) return { why: 'woken', at: woken - 1 };
      if (woken !== 'look') continue;
      for (let i = 0; i < states.length; i++) {
        const why = calls.probeVector(i + 1);
        if (why === 'fault') throw unmapped();
        if (why !== 'timedOut') return { why, at: i };
      }
    }
  }

  readonly #idle = new Int32Array(new SharedArrayBuffer(4));
  readonly #idleAt: number = addressOf(new Uint8Array(this.#idle.buffer));

  waitAnyAsync(states: readonly WordState[], timeout: number, signal: AbortSignal | undefined): Promise<Awakening> {
    return new Promise((resolve, reject) => {
      const places: (Place | undefined)[] = [];
      let timer: NodeJS.Timeout | undefined;
      let ended = false;
      /** True where this wait is ended here, and not by a wake that came first. */
      const giveUp = (): boolean => {
        if (ended) return false;
        for (const [i, place] of places.entries()) {
          if (place === undefined) continue;
          if (!place.sleeper.remove(place.slot)) return false;
          places[i] = undefined;
        }
        return true;
      };
      const onAbort = (): void => {
        if (!giveUp()) return;
        finish();
        reject(signal?.reason);
      };
      const finish = (): void => {
        ended = true;
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      };
      const settled = (i: number, why: Wait | 'fault'): void => {
        places[i] = undefined;
        const { words, index } = states[i] as WordState;
        if (ended) {
          // A wake that this wait has no use for any more goes to the next sleeper.
          if (why === 'woken' && words.i32.length > 0) words.wake(index, 1);
          return;
        }
        finish();
        for (const place of places) place?.sleeper.remove(place.slot);
        if (why === 'fault') reject(unmapped());
        else resolve({ why, at: i });
      };
      try {
        for (const [i, { words, index, value }] of states.entries())
          places.push(this.#sleepers.add({ address: addressOfWord(words, index), value, settled: (why) => settled(i, why) }));
      } catch (error) {
        giveUp();
        finish();
        reject(error);
        return;
      }
      // A timer also keeps the process alive where there are no words to wait for.
      if (timeout !== Infinity)
        timer = setTimeout(
          () => {
            if (!giveUp()) return;
            finish();
            resolve({ why: 'timedOut', at: -1 });
          },
          Math.min(timeout, TIMER_MAX),
        );
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }
}

/** The longest that a timer of Node takes, 24 days. */
const TIMER_MAX = 0x7fffffff;

function unmapped(): TwzError {
  return new TwzError('StaleReference', 'a word to sleep on is not mapped any more');
}

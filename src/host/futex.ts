/**
 * Compare-and-sleep, as a host offers it: the machine's own, which works between processes, or one inside this process. What is common
 * to both is here: regions, arguments, and what happens before anybody sleeps.
 */
import {
  WAIT_WORDS_MAX,
  checkTimeout,
  checkWord,
  type Awakening,
  type SyncWords,
  type Threads,
  type Wait,
  type WordState,
} from '../abi/sync.ts';
import { TwzError } from '../abi/errors.ts';

export interface Futex {
  readonly threads: Threads;
  /** Sleeps while the word has the value, `timeout` milliseconds at most. The word had it a moment ago. */
  wait(words: Region, index: number, value: number, timeout: number): Wait;
  wake(words: Region, index: number, count: number): number;
  waitAny(states: readonly WordState[], timeout: number): Awakening;
  waitAnyAsync(states: readonly WordState[], timeout: number, signal: AbortSignal | undefined): Promise<Awakening>;
}

const NO_WORDS = new Int32Array(0);
const NO_BYTES = new Uint8Array(0);
const NO_VIEW = new DataView(new ArrayBuffer(0));

function gone(): TwzError {
  return new TwzError('StaleReference', 'the shared words are gone: their object was unmapped or the space closed');
}

/** A region of words over a host's futex. */
export class Region implements SyncWords {
  i32: Int32Array;
  u8: Uint8Array;
  dv: DataView;
  readonly #futex: Futex;
  /** Promises that wait on this region. */
  readonly #waits = new Set<AbortController>();

  /** `bytes` begin and end at a multiple of 4. */
  constructor(futex: Futex, bytes: Uint8Array) {
    const { buffer, byteOffset, length } = bytes;
    if (byteOffset % 4 !== 0 || length % 4 !== 0)
      throw new TwzError('WordMisaligned', `words cannot lie from ${byteOffset}, ${length} bytes: both must be multiples of 4`, {
        at: byteOffset,
        length,
      });
    this.#futex = futex;
    this.u8 = bytes;
    this.i32 = new Int32Array(buffer, byteOffset, length / 4);
    this.dv = new DataView(buffer, byteOffset, length);
  }

  get threads(): Threads {
    return this.#futex.threads;
  }

  wait(index: number, value: number, timeout = Infinity): Wait {
    checkWord(this, index);
    checkTimeout(timeout);
    if (Atomics.load(this.i32, index) !== value) return 'changed';
    return timeout === 0 ? 'timedOut' : this.#futex.wait(this, index, value, timeout);
  }

  async waitAsync(index: number, value: number, timeout = Infinity, signal?: AbortSignal): Promise<Wait> {
    return (await this.waitAnyAsync([{ words: this, index, value }], timeout, signal)).why;
  }

  wake(index: number, count = Infinity): number {
    checkWord(this, index);
    if (!(count >= 0)) throw new TwzError('InvalidArgument', `cannot wake ${count} sleepers`, { count });
    return this.#futex.wake(this, index, Math.min(count, 0x7fffffff));
  }

  waitAny(states: readonly WordState[], timeout = Infinity): Awakening {
    const ready = this.#ready(states, timeout);
    return ready ?? this.#futex.waitAny(states, timeout);
  }

  async waitAnyAsync(states: readonly WordState[], timeout = Infinity, signal?: AbortSignal): Promise<Awakening> {
    signal?.throwIfAborted();
    const ready = this.#ready(states, timeout);
    if (ready !== undefined) return ready;
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const regions = states.map(({ words }) => words as Region);
    for (const region of regions) region.#waits.add(stop);
    try {
      return await this.#futex.waitAnyAsync(states, timeout, stop.signal);
    } finally {
      signal?.removeEventListener('abort', onAbort);
      for (const region of regions) region.#waits.delete(stop);
    }
  }

  /** What is to be said without a sleep, or undefined. */
  #ready(states: readonly WordState[], timeout: number): Awakening | undefined {
    checkTimeout(timeout);
    if (states.length > WAIT_WORDS_MAX)
      throw new TwzError('OutOfRange', `a wait on ${states.length} words; the limit is ${WAIT_WORDS_MAX}`, { count: states.length });
    for (const { words, index } of states) {
      checkWord(words, index);
      if (!(words instanceof Region && words.#futex === this.#futex))
        throw new TwzError('InvalidArgument', 'words of several hosts cannot be waited for together');
    }
    const at = states.findIndex(({ words, index, value }) => Atomics.load(words.i32, index) !== value);
    if (at >= 0) return { why: 'changed', at };
    return timeout === 0 ? { why: 'timedOut', at: -1 } : undefined;
  }

  /** The region is gone: whoever uses it, or waits for it as a promise, is told so. */
  end(): void {
    for (const wait of this.#waits) wait.abort(gone());
    this.i32 = NO_WORDS;
    this.u8 = NO_BYTES;
    this.dv = NO_VIEW;
  }
}

/**
 * What the two sides of a region share: the thread that serves its faults, and whoever opened it.
 *
 *   word   0 lock                       1 state                     2 failures: faults that ended without their page
 *          3 recovered: how many failures there were when their pages were let go of last
 *          4 length of the text
 *   f64    8 until: when all faults end, in milliseconds of the system's monotonic clock; 0 for none
 *          9... counters, stored by the thread alone
 *   text   of the first failure since the last recovery: name, line feed, message
 *
 * and one byte a page, its state.
 *
 * Invariants:
 *  1. Pages are shown, or fail, under the lock, and only while the state is `open`. So nothing is stored into a range that was closed.
 *  2. `failures` rises before the first zeros can be read. It differs from `recovered` as long as there may be such zeros.
 */
import { TwzError } from '../../abi/errors.ts';
import { errorOf, type PageCounters } from '../pages.ts';

const LOCK = 0;
const STATE = 1;
const FAILURES = 2;
const RECOVERED = 3;
const TEXT = 4;
const WORDS_BYTES = 64;
const UNTIL = 0;
const TEXT_AT = 192;
const TEXT_MAX = 512;
export const CONTROL_BYTES = TEXT_AT + TEXT_MAX;
/** How long a lock is waited for, in milliseconds: it is held for one system call. */
const LOCK_MS = 10_000;

/** `dead`: the thread that served it has failed. */
export const REGION = { open: 0, closed: 1, dead: 2 } as const;

export const PAGE_STATE = {
  absent: 0,
  /** The source was asked. */
  asked: 1,
  /** At hand, not shown yet: the next touch is heard of. */
  held: 2,
  shown: 3,
  /** Shows zeros. */
  failed: 4,
} as const;

const COUNTER: Readonly<Record<keyof PageCounters, number>> = {
  faults: 1,
  ready: 2,
  questions: 3,
  fetched: 4,
  touched: 5,
  along: 6,
  held: 7,
  dropped: 8,
  failures: 9,
};

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Milliseconds, the same in all threads of the process. */
export function monotonic(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export class RegionWords {
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #numbers: Float64Array;
  readonly #text: Uint8Array;

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#words = new Int32Array(shared, 0, WORDS_BYTES / 4);
    this.#numbers = new Float64Array(shared, WORDS_BYTES, (TEXT_AT - WORDS_BYTES) / 8);
    this.#text = new Uint8Array(shared, TEXT_AT, TEXT_MAX);
  }

  lock(): void {
    const words = this.#words;
    while (Atomics.compareExchange(words, LOCK, 0, 1) !== 0)
      if (Atomics.wait(words, LOCK, 1, LOCK_MS) === 'timed-out')
        throw new TwzError('HostUnavailable', 'the thread that serves page faults stands still');
  }

  unlock(): void {
    Atomics.store(this.#words, LOCK, 0);
    Atomics.notify(this.#words, LOCK, 1);
  }

  get state(): number {
    return Atomics.load(this.#words, STATE);
  }

  set state(value: number) {
    Atomics.store(this.#words, STATE, value);
  }

  get failures(): number {
    return Atomics.load(this.#words, FAILURES);
  }

  /** Are there pages that show zeros, and nobody has let go of them? */
  get failing(): boolean {
    return Atomics.load(this.#words, FAILURES) !== Atomics.load(this.#words, RECOVERED);
  }

  /** Under the lock. */
  fail(name: string, message: string): void {
    if (!this.failing) {
      const { written } = encoder.encodeInto(`${name}\n${message}`, this.#text);
      Atomics.store(this.#words, TEXT, written);
    }
    Atomics.add(this.#words, FAILURES, 1);
  }

  /** Under the lock. */
  recover(): void {
    Atomics.store(this.#words, RECOVERED, Atomics.load(this.#words, FAILURES));
  }

  error(object: string): TwzError {
    // A copy: not every decoder takes shared memory.
    const text = decoder.decode(this.#text.slice(0, Atomics.load(this.#words, TEXT)));
    const at = text.indexOf('\n');
    return at < 0 ? errorOf('Unreachable', 'a page could not be had', object) : errorOf(text.slice(0, at), text.slice(at + 1), object);
  }

  get until(): number {
    return this.#numbers[UNTIL] as number;
  }

  set until(value: number) {
    this.#numbers[UNTIL] = value;
  }

  count(counter: keyof PageCounters, by: number): void {
    const at = COUNTER[counter];
    this.#numbers[at] = (this.#numbers[at] as number) + by;
  }

  counters(): PageCounters {
    const of = (counter: keyof PageCounters): number => this.#numbers[COUNTER[counter]] as number;
    return {
      faults: of('faults'),
      ready: of('ready'),
      questions: of('questions'),
      fetched: of('fetched'),
      touched: of('touched'),
      along: of('along'),
      held: of('held'),
      dropped: of('dropped'),
      failures: of('failures'),
    };
  }
}

/**
 * The watchdog: a thread that takes the right to a page away when the time that was set for what runs here is over. Code that loads from
 * that page now and then traps there.
 *
 * Entering and leaving are a few stores, without a look at the clock: the thread sees by a number that something else runs, and counts from
 * when it first saw it. So a time is over at most a tick late, and never early.
 *
 *   word   0 ticks: what the thread sleeps on      1 it sleeps until it is woken      2 the outermost entry, 0 for none
 *          3 the innermost entry                   4 the outermost whose time is over 5 the innermost whose time is over
 *          6 the thread is taking a right away
 *   f64    4 milliseconds of the outermost entry   5 of the innermost                 6 address of the innermost's page
 */
import { startNativeThread } from '../native-threads.ts';
import type { Watchdog, Window } from '../host.ts';
import { FutexCalls } from './futex-calls.ts';
import { addressOf } from './libc.ts';

export const WATCH = { tick: 0, asleep: 1, outer: 2, inner: 3, outerOver: 4, innerOver: 5, busy: 6 } as const;
export const WATCH_TIME = { outer: 4, inner: 5, address: 6 } as const;
export const WATCH_BYTES = 64;
/** Milliseconds. */
export const TICK_MS = 4;
const PAGE = 4096;

interface Entry {
  readonly number: number;
  readonly window: Window;
  readonly at: number;
  readonly ms: number;
}

class WatchdogThread implements Watchdog {
  readonly #words: Int32Array;
  readonly #times: Float64Array;
  readonly #calls = new FutexCalls();
  readonly #tick: number;
  readonly #entries: Entry[] = [];
  #last = 0;

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared);
    this.#times = new Float64Array(shared);
    this.#tick = addressOf(new Uint8Array(shared));
  }

  enter(window: Window, at: number, ms: number): number {
    // Never 0.
    const number = (this.#last = (this.#last + 1) & 0x7fffffff || 1);
    const entry = { number, window, at, ms };
    this.#entries.push(entry);
    this.#show(entry);
    if (this.#entries.length === 1) {
      this.#times[WATCH_TIME.outer] = ms;
      Atomics.store(this.#words, WATCH.outer, number);
      if (Atomics.load(this.#words, WATCH.asleep) === 1) this.#calls.wake(this.#tick, 1);
    }
    return number;
  }

  #show({ number, window, at, ms }: Entry): void {
    const words = this.#words;
    // Nothing runs while the address changes.
    Atomics.store(words, WATCH.inner, 0);
    while (Atomics.load(words, WATCH.busy) === 1);
    this.#times[WATCH_TIME.inner] = ms;
    this.#times[WATCH_TIME.address] = (window.address ?? 0) + at;
    Atomics.store(words, WATCH.inner, number);
  }

  get over(): boolean {
    const entry = this.#entries.at(-1);
    return entry !== undefined && Atomics.load(this.#words, WATCH.innerOver) === entry.number;
  }

  leave(entered: number): boolean {
    const words = this.#words;
    const entry = this.#entries.pop();
    if (entry === undefined || entry.number !== entered) throw new Error('the watchdog was left by who had not entered');
    Atomics.store(words, WATCH.inner, 0);
    while (Atomics.load(words, WATCH.busy) === 1);
    const over = Atomics.load(words, WATCH.innerOver) === entered;
    if (over) entry.window.protect(entry.at, PAGE, 'read');
    const outer = this.#entries.at(-1);
    if (outer === undefined) Atomics.store(words, WATCH.outer, 0);
    else {
      this.#show(outer);
      // The time of all was over, not only that of what ran inside.
      const first = this.#entries[0];
      if (first !== undefined && Atomics.load(words, WATCH.outerOver) === first.number) this.#stop(outer);
    }
    return over;
  }

  #stop(entry: Entry): void {
    Atomics.store(this.#words, WATCH.innerOver, entry.number);
    entry.window.protect(entry.at, PAGE, 'none');
  }
}

/** Starts the thread; it lives as long as this one. */
export function startWatchdog(): Watchdog {
  const shared = new SharedArrayBuffer(WATCH_BYTES);
  const file = import.meta.url.endsWith('.ts') ? './watchdog-thread.ts' : './watchdog-thread.js';
  const worker = startNativeThread(new URL(file, import.meta.url), {
    workerData: { shared },
    name: 'twizzler watchdog',
    execArgv: [],
    stdin: false,
  });
  worker.unref();
  return new WatchdogThread(shared);
}

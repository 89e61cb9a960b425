/** The watchdog's thread. */
import { workerData } from 'node:worker_threads';
import { loadNative } from '../native-threads.ts';
import { PROT, libc } from './libc.ts';
import { TICK_MS, WATCH, WATCH_TIME } from './watchdog.ts';

const PAGE = 4096;
/** Ticks without work after which it sleeps. */
const IDLE_TICKS = 250;

const { shared }: { shared: SharedArrayBuffer } = workerData;
loadNative();
const { mprotect } = libc();
const words = new Int32Array(shared);
const times = new Float64Array(shared);

/** One of the two entries, since it was first seen. */
class Seen {
  number = 0;
  since = 0;

  /** Whether its time is over. */
  over(number: number, limit: number, now: number): boolean {
    if (number !== this.number) {
      this.number = number;
      this.since = now;
      return false;
    }
    return number !== 0 && now - this.since >= limit;
  }
}

const outer = new Seen();
const inner = new Seen();
let idle = 0;

function look(): void {
  const now = performance.now();
  const outerNumber = Atomics.load(words, WATCH.outer);
  const innerNumber = Atomics.load(words, WATCH.inner);
  idle = outerNumber === 0 ? idle + 1 : 0;
  const outerOver = outer.over(outerNumber, times[WATCH_TIME.outer] ?? Infinity, now);
  const innerOver = inner.over(innerNumber, times[WATCH_TIME.inner] ?? Infinity, now);
  if (outerOver) Atomics.store(words, WATCH.outerOver, outerNumber);
  if ((!outerOver && !innerOver) || Atomics.load(words, WATCH.innerOver) === innerNumber) return;
  Atomics.store(words, WATCH.busy, 1);
  // Whoever changes what runs says so first, and waits then while this is busy.
  if (innerNumber !== 0 && Atomics.load(words, WATCH.inner) === innerNumber) {
    mprotect(times[WATCH_TIME.address] ?? 0, PAGE, PROT.none);
    Atomics.store(words, WATCH.innerOver, innerNumber);
  }
  Atomics.store(words, WATCH.busy, 0);
}

for (;;) {
  look();
  if (idle < IDLE_TICKS) Atomics.wait(words, WATCH.tick, 0, TICK_MS);
  else {
    Atomics.store(words, WATCH.asleep, 1);
    if (Atomics.load(words, WATCH.outer) === 0) Atomics.wait(words, WATCH.tick, 0);
    Atomics.store(words, WATCH.asleep, 0);
    idle = 0;
  }
}

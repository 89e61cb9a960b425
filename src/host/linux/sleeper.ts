/** The thread that sleeps so that another need not: on all words of a table at once, and on the doorbell that says that it changed. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadNative } from '../native-threads.ts';
import { FutexCalls } from './futex-calls.ts';
import { addressOf } from './libc.ts';
import { BELL, SLOT, SLOTS, STATE, STATE_MASK, STOP, TOLD, slotAt } from './sleeper-slots.ts';

loadNative();
const { table, many }: { table: Int32Array; many: boolean } = workerData;
const calls = new FutexCalls(many);
const bellAt = addressOf(new Uint8Array(table.buffer));
/** What the vector was made from: slots, and their states then. */
const slots = new Int32Array(SLOTS + 1);
const states = new Int32Array(SLOTS + 1);

/** Fills the vector. Returns how many words it has, the doorbell among them. */
function gather(): number {
  calls.setVector(0, bellAt, Atomics.load(table, BELL));
  let count = 1;
  for (let i = 0; i < SLOTS; i++) {
    const at = slotAt(i);
    const state = Atomics.load(table, at + SLOT.state);
    if ((state & STATE_MASK) !== STATE.waiting) continue;
    const address = (Atomics.load(table, at + SLOT.low) >>> 0) + Atomics.load(table, at + SLOT.high) * 2 ** 32;
    calls.setVector(count, address, Atomics.load(table, at + SLOT.value) >>> 0);
    // Given up and taken again while it was read.
    if (Atomics.load(table, at + SLOT.state) !== state) continue;
    slots[count] = i;
    states[count] = state;
    count++;
  }
  return count;
}

let news = false;

function settle(i: number, state: number): void {
  const waiting = states[i] as number;
  const at = slotAt(slots[i] as number) + SLOT.state;
  if (Atomics.compareExchange(table, at, waiting, (waiting & ~STATE_MASK) | state) === waiting) news = true;
  // Nobody waits here any more, and the wake was meant for somebody.
  else if (state === STATE.woken) calls.wake(calls.vectorAddress(i), 1);
}

while (Atomics.load(table, STOP) === 0) {
  const count = gather();
  const woken = calls.waitVector(count, Infinity);
  if (woken === 'timedOut') continue;
  if (typeof woken === 'number' && woken > 0) settle(woken, STATE.woken);
  if (woken === 'look') {
    for (let i = 1; i < count; i++) {
      const found = calls.probeVector(i);
      if (found !== 'timedOut') settle(i, STATE[found]);
    }
  }
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
  if (news && Atomics.exchange(table, TOLD, 1) === 0) parentPort?.postMessage(0);
  news = false;
}

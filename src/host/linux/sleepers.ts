/**
 * Waiting for words without blocking: the side of the thread that awaits. One sleeping thread is started with the first wait and takes up
 * to 127 words; more are started only for more. They keep the process alive while something is awaited, and not otherwise.
 */
import type { Worker } from 'node:worker_threads';
import { TwzError } from '../../abi/errors.ts';
import type { Wait } from '../../abi/sync.ts';
import { startNativeThread } from '../native-threads.ts';
import type { FutexCalls } from './futex-calls.ts';
import { addressOf } from './libc.ts';
import { BELL, SLOT, SLOTS, STATE, STATE_MASK, STOP, TABLE_BYTES, TOLD, slotAt } from './sleeper-slots.ts';

/** What one slot waits for. */
export interface Waiter {
  readonly address: number;
  readonly value: number;
  /** Called once; the slot is free again by then. */
  settled(why: Wait | 'fault'): void;
}

class Sleeper {
  readonly #calls: FutexCalls;
  readonly #table = new Int32Array(new SharedArrayBuffer(TABLE_BYTES));
  readonly #bellAt: number = addressOf(new Uint8Array(this.#table.buffer));
  readonly #waiters: (Waiter | undefined)[] = [];
  readonly #free: number[] = Array.from({ length: SLOTS }, (_, i) => SLOTS - 1 - i);
  readonly #worker: Worker;
  #awaited = 0;
  #rings = false;
  failure: Error | undefined;

  constructor(calls: FutexCalls, many: boolean) {
    this.#calls = calls;
    const file = import.meta.url.endsWith('.ts') ? './sleeper.ts' : './sleeper.js';
    this.#worker = startNativeThread(new URL(file, import.meta.url), {
      workerData: { table: this.#table, many },
      name: 'twizzler sleeper',
      execArgv: [],
      stdin: false,
    });
    this.#worker.on('message', () => this.#look());
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.unref();
  }

  get full(): boolean {
    return this.#free.length === 0 || this.failure !== undefined;
  }

  add(waiter: Waiter): number {
    const i = this.#free.pop() ?? 0;
    this.#waiters[i] = waiter;
    const at = slotAt(i);
    Atomics.store(this.#table, at + SLOT.low, (waiter.address % 2 ** 32) | 0);
    Atomics.store(this.#table, at + SLOT.high, Math.floor(waiter.address / 2 ** 32));
    Atomics.store(this.#table, at + SLOT.value, waiter.value | 0);
    Atomics.store(this.#table, at + SLOT.state, Atomics.load(this.#table, at + SLOT.state) + (STATE_MASK + 1) + STATE.waiting);
    if (this.#awaited++ === 0) this.#worker.ref();
    this.#ring();
    return i;
  }

  /** Gives up. False where the slot was settled before: `settled` is called then. */
  remove(i: number): boolean {
    const at = slotAt(i) + SLOT.state;
    const state = Atomics.load(this.#table, at);
    if ((state & STATE_MASK) !== STATE.waiting) return false;
    if (Atomics.compareExchange(this.#table, at, state, state & ~STATE_MASK) !== state) return false;
    this.#release(i);
    this.#ring();
    return true;
  }

  #release(i: number): void {
    this.#waiters[i] = undefined;
    this.#free.push(i);
    if (--this.#awaited === 0) this.#worker.unref();
  }

  /** Once for all that one turn of the event loop adds. */
  #ring(): void {
    if (this.#rings) return;
    this.#rings = true;
    queueMicrotask(() => {
      this.#rings = false;
      Atomics.add(this.#table, BELL, 1);
      this.#calls.wake(this.#bellAt, 1);
    });
  }

  #look(): void {
    Atomics.store(this.#table, TOLD, 0);
    for (let i = 0; i < SLOTS; i++) {
      const at = slotAt(i) + SLOT.state;
      const state = Atomics.load(this.#table, at);
      const why = state & STATE_MASK;
      if (why === STATE.free || why === STATE.waiting) continue;
      const waiter = this.#waiters[i];
      Atomics.store(this.#table, at, state & ~STATE_MASK);
      this.#release(i);
      waiter?.settled(why === STATE.woken ? 'woken' : why === STATE.changed ? 'changed' : 'fault');
    }
  }

  #fail(error: Error): void {
    this.failure = error;
    this.#awaited = 0;
    for (const waiter of this.#waiters.splice(0)) waiter?.settled('fault');
  }

  stop(): void {
    Atomics.store(this.#table, STOP, 1);
    Atomics.add(this.#table, BELL, 1);
    this.#calls.wake(this.#bellAt, 1);
  }
}

/** Where a waiter was put. */
export interface Place {
  readonly sleeper: Sleeper;
  readonly slot: number;
}

export type { Sleeper };

export class Sleepers {
  readonly #calls: FutexCalls;
  readonly #many: boolean;
  #all: Sleeper[] = [];

  constructor(calls: FutexCalls, many: boolean) {
    this.#calls = calls;
    this.#many = many;
  }

  get threads(): number {
    return this.#all.length;
  }

  add(waiter: Waiter): Place {
    let sleeper = this.#all.find((each) => !each.full);
    if (sleeper === undefined) {
      const failed = this.#all.find((each) => each.failure !== undefined);
      if (failed !== undefined) throw new TwzError('HostUnavailable', 'the thread that sleeps on words ended', {}, failed.failure);
      // The threads sleep in the system: ended by a bell, not by force.
      if (this.#all.length === 0) process.once('exit', () => this.#stop());
      sleeper = new Sleeper(this.#calls, this.#many);
      this.#all.push(sleeper);
    }
    return { sleeper, slot: sleeper.add(waiter) };
  }

  #stop(): void {
    for (const sleeper of this.#all) sleeper.stop();
    this.#all = [];
  }
}

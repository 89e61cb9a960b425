/**
 * What threads tell each other by words, without an owner: semaphore, condition, latch, barrier, counter.
 *
 *   semaphore  0 permits   1 who may sleep      latch    0 what is left to come
 *   condition  0 signals                        barrier  0 arrived   1 phase, bit 30 broken   2 parties
 *   counter    0-1 a number of 64 bits
 */
import { TwzError } from '../../abi/errors.ts';
import type { Mutex } from './mutex.ts';
import { SyncObject, type AsyncWaitOptions, type Pause, type WaitOptions } from './waiting.ts';

const MOST = 0x3fffffff;

function checkCount(count: number, least: number, what: string): void {
  if (!(Number.isInteger(count) && count >= least && count <= MOST))
    throw new TwzError('LockInvalid', `${count} ${what}; expected an integer from ${least} to ${MOST}`, { count });
}

/** Permits to take and to give back. Who took them is not noted: those of a thread that died are gone until somebody gives them. */
export class Semaphore extends SyncObject {
  get permits(): number {
    return Atomics.load(this.live, this.index);
  }

  /** Sets the permits that there are. For whoever creates it. */
  init(permits: number): void {
    checkCount(permits, 0, 'permits');
    Atomics.store(this.live, this.index, permits);
  }

  tryAcquire(): boolean {
    const { live, index } = this;
    for (let now = Atomics.load(live, index); now > 0; now = Atomics.load(live, index))
      if (Atomics.compareExchange(live, index, now, now - 1) === now) return true;
    return false;
  }

  acquireSync(options?: WaitOptions): void {
    if (this.tryAcquire()) return;
    Atomics.add(this.live, this.index + 1, 1);
    try {
      this.waitSync(() => this.#step(), options);
    } finally {
      Atomics.sub(this.live, this.index + 1, 1);
    }
  }

  async acquire(options?: AsyncWaitOptions): Promise<void> {
    options?.signal?.throwIfAborted();
    if (this.tryAcquire()) return;
    Atomics.add(this.live, this.index + 1, 1);
    try {
      await this.wait(() => this.#step(), options);
    } finally {
      Atomics.sub(this.live, this.index + 1, 1);
    }
  }

  #step(): Pause | undefined {
    return this.tryAcquire() ? undefined : { index: this.index, value: 0, why: () => 'the semaphore has no permits' };
  }

  release(count = 1): void {
    checkCount(count, 1, 'permits to give');
    Atomics.add(this.live, this.index, count);
    if (Atomics.load(this.live, this.index + 1) !== 0) this.words.wake(this.index, count);
  }
}

/** Waiting for something that is protected by a mutex to become true. May return without it: look again, in a loop. */
export class Condition extends SyncObject {
  /** Releases the mutex, sleeps until a signal, and takes the mutex again. False where the time was over. */
  waitForSync(mutex: Mutex, { timeout = Infinity }: WaitOptions = {}): boolean {
    const signals = Atomics.load(this.live, this.index);
    mutex.unlock();
    try {
      return this.words.wait(this.index, signals, timeout) !== 'timedOut';
    } finally {
      mutex.lockSync();
    }
  }

  async waitFor(mutex: Mutex, { timeout = Infinity, signal }: AsyncWaitOptions = {}): Promise<boolean> {
    const signals = Atomics.load(this.live, this.index);
    mutex.unlock();
    try {
      return (await this.words.waitAsync(this.index, signals, timeout, signal)) !== 'timedOut';
    } finally {
      await mutex.lock();
    }
  }

  /** Wakes one that waits. */
  signal(): void {
    Atomics.add(this.live, this.index, 1);
    this.words.wake(this.index, 1);
  }

  /** Wakes all that wait. */
  broadcast(): void {
    Atomics.add(this.live, this.index, 1);
    this.words.wake(this.index);
  }
}

/** Opens once, when what was counted has come. */
export class Latch extends SyncObject {
  get left(): number {
    return Atomics.load(this.live, this.index);
  }

  init(count: number): void {
    checkCount(count, 0, 'to come');
    Atomics.store(this.live, this.index, count);
  }

  countDown(count = 1): void {
    checkCount(count, 1, 'to count down by');
    const { live, index } = this;
    for (;;) {
      const now = Atomics.load(live, index);
      if (count > now) throw new TwzError('LockInvalid', `the latch waits for ${now}, and ${count} came`, { now, count });
      if (Atomics.compareExchange(live, index, now, now - count) !== now) continue;
      if (now === count) this.words.wake(index);
      return;
    }
  }

  waitOpenSync(options?: WaitOptions): void {
    this.waitSync(() => this.#step(), options);
  }

  async waitOpen(options?: AsyncWaitOptions): Promise<void> {
    await this.wait(() => this.#step(), options);
  }

  #step(): Pause | undefined {
    const value = Atomics.load(this.live, this.index);
    return value === 0 ? undefined : { index: this.index, value, why: () => `the latch waits for ${value} more` };
  }
}

const BROKEN = 1 << 30;

/** All parties wait for each other, again and again. */
export class Barrier extends SyncObject {
  init(parties: number): void {
    checkCount(parties, 1, 'parties');
    Atomics.store(this.live, this.index + 2, parties);
  }

  /** Blocks until all are here. True for one of them. Throws BarrierBroken, for all, where one runs out of time. */
  arriveSync({ timeout = Infinity }: WaitOptions = {}): boolean {
    const phase = this.#arrive();
    if (phase === undefined) return true;
    const deadline = this.threads.now() + timeout;
    while (Atomics.load(this.live, this.index + 1) === phase) {
      const left = Math.max(0, deadline - this.threads.now());
      if (this.words.wait(this.index + 1, phase, left) === 'timedOut') this.#break(phase);
    }
    this.#demandWhole();
    return false;
  }

  async arrive({ timeout = Infinity, signal }: AsyncWaitOptions = {}): Promise<boolean> {
    const phase = this.#arrive();
    if (phase === undefined) return true;
    const deadline = this.threads.now() + timeout;
    try {
      while (Atomics.load(this.live, this.index + 1) === phase) {
        const left = Math.max(0, deadline - this.threads.now());
        if ((await this.words.waitAsync(this.index + 1, phase, left, signal)) === 'timedOut') this.#break(phase);
      }
    } catch (error) {
      this.#break(phase);
      throw error;
    }
    this.#demandWhole();
    return false;
  }

  /** The phase to wait out; undefined for the last to arrive. */
  #arrive(): number | undefined {
    const { live, index } = this;
    this.#demandWhole();
    const parties = Atomics.load(live, index + 2);
    if (parties < 1) throw new TwzError('LockInvalid', `a barrier of ${parties} parties`, { parties });
    const phase = Atomics.load(live, index + 1);
    if (Atomics.add(live, index, 1) + 1 < parties) return phase;
    Atomics.store(live, index, 0);
    // Unless somebody gave up in this moment.
    if (Atomics.compareExchange(live, index + 1, phase, (phase + 1) % BROKEN) !== phase) this.#demandWhole();
    this.words.wake(index + 1);
    return undefined;
  }

  #break(phase: number): void {
    if (Atomics.compareExchange(this.live, this.index + 1, phase, phase | BROKEN) === phase) this.words.wake(this.index + 1);
  }

  #demandWhole(): void {
    if ((Atomics.load(this.live, this.index + 1) & BROKEN) !== 0)
      throw new TwzError('BarrierBroken', 'one of the parties of this barrier did not wait for the others');
  }

  /** Begins anew, with nobody there. Only when no party waits. */
  reset(): void {
    Atomics.store(this.live, this.index, 0);
    Atomics.and(this.live, this.index + 1, ~BROKEN);
  }
}

/** A number that all count on. 64 bits, atomic. */
export class Counter extends SyncObject {
  #wide: BigInt64Array | undefined;

  get #word(): BigInt64Array {
    const { live } = this;
    if (this.#wide?.buffer !== live.buffer) this.#wide = new BigInt64Array(live.buffer, live.byteOffset + this.index * 4, 1);
    return this.#wide;
  }

  init(value: number): void {
    if (!Number.isSafeInteger(value)) throw new TwzError('LockInvalid', `a counter of ${value}; expected a safe integer`, { value });
    Atomics.store(this.#word, 0, BigInt(value));
  }

  /** Adds, and gives what there was before. */
  add(amount = 1): number {
    return Number(Atomics.add(this.#word, 0, BigInt(amount)));
  }

  get value(): number {
    return Number(Atomics.load(this.#word, 0));
  }
}

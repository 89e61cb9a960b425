/**
 * A mutex: one thread at a time, of all processes that have the object open.
 *
 *   0 state: bits 0-29 the holder's thread number, 0 for nobody; bit 31 somebody may sleep; bit 30 the holder got it from a dead one
 *
 * Taking and releasing it without contention is one compare-and-exchange each. Who sleeps looks from time to time whether the holder
 * lives. If it does not, the sleeper takes over: it has the lock, and `ownerDied` says that what it protects may be half changed. It mends
 * that and calls `markConsistent`; if it releases the lock without, the lock is lost (bit 30 and no holder) until somebody calls `recover`.
 *
 * Invariants: the holder's bits change from 0 by who takes it, from a dead holder's by who takes over, and to 0 by the holder, only. When
 * the lock is released with bit 31 set, a sleeper is woken; one that is woken, or that has slept, sets the bit again when it takes it.
 */
import { TwzError } from '../../abi/errors.ts';
import { THREAD_MASK, type SyncWords } from '../../abi/sync.ts';
import { SyncObject, type AsyncWaitOptions, type Pause, type WaitOptions } from './waiting.ts';

const SLEEPERS = 1 << 31;
const ORPHANED = 1 << 30;
/** Looks before it sleeps: for holders that are about to release it. */
const SPINS = 64;

/** Waiting for one lock: what the steps have in common. */
interface Attempt {
  spins: number;
  slept: boolean;
  /** It was taken over from a dead holder. */
  heir: boolean;
}

export class Mutex extends SyncObject {
  readonly #self: number;

  constructor(words: SyncWords, offset: number) {
    super(words, offset);
    this.#self = words.threads.self;
  }

  /** Takes it if it is free. */
  tryLock(): boolean {
    const state = Atomics.compareExchange(this.live, this.index, 0, this.#self);
    if (state !== 0) this.#demandUsable(state);
    return state === 0;
  }

  /** Blocks until it has the lock. Give it to `using`, or call `unlock`. Throws LockTimeout, LockRecursion, LockLost. */
  lockSync(options?: WaitOptions): this {
    if (Atomics.compareExchange(this.live, this.index, 0, this.#self) === 0) return this;
    const attempt = { spins: SPINS, slept: false, heir: false };
    this.waitSync(() => this.#step(attempt, true), options);
    return this;
  }

  /** The same as a promise. Another task of this thread may hold it meanwhile: that is waited for, too. */
  async lock(options?: AsyncWaitOptions): Promise<this> {
    options?.signal?.throwIfAborted();
    if (Atomics.compareExchange(this.live, this.index, 0, this.#self) === 0) return this;
    const attempt = { spins: 0, slept: false, heir: false };
    await this.wait(() => this.#step(attempt, false), options);
    return this;
  }

  #step(attempt: Attempt, blocks: boolean): Pause | undefined {
    const i32 = this.live;
    const { index } = this;
    const self = this.#self;
    for (;;) {
      if (attempt.heir) return undefined;
      const state = Atomics.load(i32, index);
      const holder = state & THREAD_MASK;
      if (holder === 0) {
        this.#demandUsable(state);
        const taken = self | (attempt.slept ? SLEEPERS : state & SLEEPERS);
        if (Atomics.compareExchange(i32, index, state, taken) === state) return undefined;
        continue;
      }
      if (holder === self && blocks)
        throw new TwzError('LockRecursion', `this thread, ${this.threads.show(self)}, holds the lock that it waits for`, { holder });
      if (attempt.spins-- > 0) continue;
      const value = state | SLEEPERS;
      if (value !== state && Atomics.compareExchange(i32, index, state, value) !== state) continue;
      attempt.slept = true;
      return { index, value, idle: () => this.#inherit(attempt, value), why: () => `the lock is held by ${this.threads.show(holder)}` };
    }
  }

  /** Takes the lock of a dead holder over, at once: nobody may come between and not be told. */
  #inherit(attempt: Attempt, state: number): void {
    const holder = state & THREAD_MASK;
    if (holder === this.#self || this.threads.lives(holder)) return;
    attempt.heir = Atomics.compareExchange(this.live, this.index, state, this.#self | SLEEPERS | ORPHANED) === state;
  }

  #demandUsable(state: number): void {
    if (state === ORPHANED)
      throw new TwzError('LockLost', 'a holder of this lock died, and the one after it released it without saying that the data is whole');
  }

  /** Throws LockNotHeld where this thread does not have it. */
  unlock(): void {
    const i32 = this.live;
    if (Atomics.compareExchange(i32, this.index, this.#self, 0) !== this.#self) this.#unlockSlow(i32);
  }

  #unlockSlow(i32: Int32Array): void {
    const state = this.#held(i32);
    const left = state & ORPHANED;
    if ((Atomics.exchange(i32, this.index, left) & SLEEPERS) !== 0) this.words.wake(this.index, left === 0 ? this.wakes : Infinity);
  }

  /** How many sleepers a release wakes. */
  protected get wakes(): number {
    return 1;
  }

  #held(i32: Int32Array): number {
    const state = Atomics.load(i32, this.index);
    const holder = state & THREAD_MASK;
    if (holder === this.#self) return state;
    const who = holder === 0 ? 'nobody' : this.threads.show(holder);
    throw new TwzError('LockNotHeld', `the lock is held by ${who}, not by this thread, ${this.threads.show(this.#self)}`, { holder });
  }

  /** Does this thread hold it? */
  get held(): boolean {
    return (Atomics.load(this.live, this.index) & THREAD_MASK) === this.#self;
  }

  /** This thread got the lock from a holder that died with it. */
  get ownerDied(): boolean {
    const state = Atomics.load(this.live, this.index);
    return (state & THREAD_MASK) === this.#self && (state & ORPHANED) !== 0;
  }

  /** What the lock protects is whole again, after `ownerDied`. Throws LockNotHeld. */
  markConsistent(): void {
    const i32 = this.live;
    this.#held(i32);
    Atomics.and(i32, this.index, ~ORPHANED);
  }

  /** Makes a lost lock a free one. The caller knows that the data is whole. False where it is not lost. */
  recover(): boolean {
    return Atomics.compareExchange(this.live, this.index, ORPHANED, 0) === ORPHANED;
  }

  [Symbol.dispose](): void {
    this.unlock();
  }
}

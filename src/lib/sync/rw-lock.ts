/**
 * A read-write lock: many readers, or one writer. Writers come first: once one waits, new readers wait behind it.
 *
 *   0-3   a mutex: held by the writer, also while it waits for the readers to leave
 *   4-63  a reader each: its thread number, 0 for a free place
 *
 * A reader enters its place and then looks for a writer; a writer takes the mutex and then looks at the places: so one of the two sees
 * the other. A reader that died is taken out of its place by the writer that waits for it. Of a writer that died the next writer is told
 * (`ownerDied`); until then readers get LockLost.
 */
import { TwzError } from '../../abi/errors.ts';
import { THREAD_MASK, type SyncWords } from '../../abi/sync.ts';
import { Mutex } from './mutex.ts';
import { SyncObject, type AsyncWaitOptions, type Pause, type WaitOptions } from './waiting.ts';

const FIRST = 4;
const PLACES = 60;
export const RW_LOCK_BYTES: number = (FIRST + PLACES) * 4;

/** Readers wait for the writer together, and so are woken together. */
class WriterMutex extends Mutex {
  protected override get wakes(): number {
    return Infinity;
  }
}

/** The right to read, until it is released. */
export class ReadGuard {
  readonly #release: () => void;
  #held = true;

  constructor(release: () => void) {
    this.#release = release;
  }

  /** Throws LockNotHeld the second time. */
  unlock(): void {
    if (!this.#held) throw new TwzError('LockNotHeld', 'the lock was not held for reading any more');
    this.#held = false;
    this.#release();
  }

  [Symbol.dispose](): void {
    this.unlock();
  }
}

function writerDied(): TwzError {
  return new TwzError('LockLost', 'the writer of this lock died; a writer must take it and mend the data');
}

export class RwLock extends SyncObject {
  readonly #writer: WriterMutex;

  constructor(words: SyncWords, offset: number) {
    super(words, offset);
    this.#writer = new WriterMutex(words, offset);
  }

  // --- reading ------------------------------------------------------------------------------------------------------------

  /** Blocks until it may read. Throws LockTimeout, LockRecursion, LockLost. */
  readSync(options?: WaitOptions): ReadGuard {
    const deadline = this.threads.now() + (options?.timeout ?? Infinity);
    for (;;) {
      const place = this.#claim();
      if (place !== 0) return new ReadGuard(() => this.#leave(place));
      this.waitSync(() => this.#behind(true), this.#left(options, deadline));
    }
  }

  async read(options?: AsyncWaitOptions): Promise<ReadGuard> {
    options?.signal?.throwIfAborted();
    const deadline = this.threads.now() + (options?.timeout ?? Infinity);
    for (;;) {
      const place = this.#claim();
      if (place !== 0) return new ReadGuard(() => this.#leave(place));
      await this.wait(() => this.#behind(false), this.#left(options, deadline));
    }
  }

  #left<O extends WaitOptions>(options: O | undefined, deadline: number): O | WaitOptions {
    return options?.timeout === undefined ? (options ?? {}) : { ...options, timeout: Math.max(0, deadline - this.threads.now()) };
  }

  /** Enters a place, unless there is a writer: 0. */
  #claim(): number {
    const { live, index } = this;
    const { self } = this.threads;
    for (let i = 0; i < PLACES; i++) {
      const place = index + FIRST + ((self + i) % PLACES);
      if (Atomics.load(live, place) !== 0 || Atomics.compareExchange(live, place, 0, self) !== 0) continue;
      if (Atomics.load(live, index) === 0) return place;
      this.#leave(place);
      return 0;
    }
    return 0;
  }

  /** Waits for the writer, or for a place. A reader does not take over from a writer that died: it could not mend anything. */
  #behind(blocks: boolean): Pause | undefined {
    const { live, index } = this;
    for (;;) {
      const state = Atomics.load(live, index);
      const holder = state & THREAD_MASK;
      if (state === 0) {
        const place = index + FIRST;
        const reader = Atomics.load(live, place);
        const all = Array.from({ length: PLACES }, (_, i) => Atomics.load(live, place + i));
        if (all.includes(0)) return undefined;
        return { index: place, value: reader, idle: () => this.#evictAll(), why: () => `${PLACES} readers hold the lock` };
      }
      if (holder === 0) throw writerDied();
      if (holder === this.threads.self && blocks)
        throw new TwzError('LockRecursion', 'this thread writes under the lock that it waits for to read');
      const value = state | (1 << 31);
      if (value !== state && Atomics.compareExchange(live, index, state, value) !== state) continue;
      const idle = (): void => {
        if (holder !== this.threads.self && !this.threads.lives(holder)) throw writerDied();
      };
      return { index, value, idle, why: () => `the lock is held for writing by ${this.threads.show(holder)}` };
    }
  }

  #evictAll(): void {
    for (let place = this.index + FIRST; place < this.index + FIRST + PLACES; place++) this.#evict(place, Atomics.load(this.live, place));
  }

  #leave(place: number): void {
    Atomics.store(this.live, place, 0);
    if (Atomics.load(this.live, this.index) !== 0) this.words.wake(place);
  }

  #evict(place: number, reader: number): void {
    if (reader !== 0 && !this.threads.lives(reader)) Atomics.compareExchange(this.live, place, reader, 0);
  }

  // --- writing ------------------------------------------------------------------------------------------------------------

  /** Blocks until it may write. Throws LockTimeout, LockRecursion, LockLost. */
  writeSync(options?: WaitOptions): this {
    const deadline = this.threads.now() + (options?.timeout ?? Infinity);
    this.#writer.lockSync(options);
    try {
      this.waitSync(() => this.#drained(true), this.#left(options, deadline));
    } catch (error) {
      this.#writer.unlock();
      throw error;
    }
    return this;
  }

  async write(options?: AsyncWaitOptions): Promise<this> {
    const deadline = this.threads.now() + (options?.timeout ?? Infinity);
    await this.#writer.lock(options);
    try {
      await this.wait(() => this.#drained(false), this.#left(options, deadline));
    } catch (error) {
      this.#writer.unlock();
      throw error;
    }
    return this;
  }

  /** The first reader that is still there. */
  #drained(blocks: boolean): Pause | undefined {
    const { live } = this;
    const first = this.index + FIRST;
    for (let place = first; place < first + PLACES; place++) {
      const reader = Atomics.load(live, place);
      if (reader === 0) continue;
      if (blocks && reader === this.threads.self)
        throw new TwzError('LockRecursion', 'this thread reads under the lock that it waits for to write', { reader });
      return {
        index: place,
        value: reader,
        idle: () => this.#evict(place, reader),
        why: () => `the lock is held for reading by ${this.threads.show(reader)}`,
      };
    }
    return undefined;
  }

  /** Ends writing. Throws LockNotHeld. */
  unlock(): void {
    this.#writer.unlock();
  }

  /** As of a mutex: the writer before this one died. */
  get ownerDied(): boolean {
    return this.#writer.ownerDied;
  }

  markConsistent(): void {
    this.#writer.markConsistent();
  }

  recover(): boolean {
    return this.#writer.recover();
  }

  [Symbol.dispose](): void {
    this.unlock();
  }
}

/**
 * A sequence lock: readers store nothing and never make the writer wait; they read again where a writer came between. For small things
 * that are read far more often than written.
 *
 *   0-3 the writers' mutex   4 sequence: odd while a writer is at it
 */
import type { SyncWords } from '../../abi/sync.ts';
import { Mutex } from './mutex.ts';
import { SyncObject, type Pause, type WaitOptions } from './waiting.ts';

const SEQUENCE = 4;
const FENCE = new Int32Array(new SharedArrayBuffer(4));

export class SeqLock extends SyncObject {
  readonly #mutex: Mutex;

  constructor(words: SyncWords, offset: number) {
    super(words, offset);
    this.#mutex = new Mutex(words, offset);
  }

  /** What `load` gives, of one moment. It may run several times, and see anything in between: it must only load, and check nothing. */
  read<T>(load: () => T, options?: WaitOptions): T {
    for (;;) {
      let before = 0;
      this.waitSync(() => this.#even((sequence) => (before = sequence)), options);
      const value = load();
      // What was loaded must have been loaded before the sequence is looked at again, on every processor.
      Atomics.add(FENCE, 0, 0);
      if (Atomics.load(this.live, this.index + SEQUENCE) === before) return value;
    }
  }

  #even(found: (sequence: number) => void): Pause | undefined {
    const index = this.index + SEQUENCE;
    const value = Atomics.load(this.live, index);
    found(value);
    return value % 2 === 0 ? undefined : { index, value, why: () => 'a writer has begun and does not end' };
  }

  /** Runs `store` as the one writer. `ownerDied`: the writer before died or threw half way, so all must be stored anew. */
  write(store: (ownerDied: boolean) => void, options?: WaitOptions): void {
    this.#mutex.lockSync(options);
    const { live } = this;
    const index = this.index + SEQUENCE;
    // The odd sequence says it from here on, whatever becomes of this writer.
    const died = Atomics.or(live, index, 1) % 2 !== 0;
    if (this.#mutex.ownerDied) this.#mutex.markConsistent();
    try {
      // Where it throws, the sequence stays odd: what it left is not to be read.
      store(died);
      Atomics.add(live, index, 1);
      this.words.wake(index);
    } finally {
      this.#mutex.unlock();
    }
  }
}

/**
 * What all locks have in common: words in a region, and waiting for one of them in slices, so that a holder that died is noticed and a
 * wake that died with whoever it was for is made up for. A sleep that ends with its slice costs a few microseconds.
 */
import { TwzError } from '../../abi/errors.ts';
import { checkWord, type SyncWords, type Threads } from '../../abi/sync.ts';

export interface WaitOptions {
  /** Milliseconds; Infinity by default. Then LockTimeout. */
  readonly timeout?: number;
}

export interface AsyncWaitOptions extends WaitOptions {
  /** Gives up: the promise is rejected with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** How long a waiter sleeps before it looks whether the holder lives, in milliseconds. */
export const SLICE_MS = 20;

/** What a step of waiting found: done, or a word to sleep on while it has a value. */
export interface Pause {
  readonly index: number;
  readonly value: number;
  /** The slice is over, and nothing has changed. */
  idle?(): void;
  /** Why it does not go on, for LockTimeout. */
  why(): string;
}

export abstract class SyncObject {
  readonly words: SyncWords;
  /** Its first word. */
  readonly index: number;

  /** At a byte offset of a shared object's words. Use the field of the same name in a struct. */
  constructor(words: SyncWords, offset: number) {
    if (offset % 4 !== 0) throw new TwzError('WordMisaligned', `a lock cannot begin at offset ${offset}`, { offset });
    checkWord(words, offset / 4);
    this.words = words;
    this.index = offset / 4;
  }

  protected get threads(): Threads {
    return this.words.threads;
  }

  /** The words, or StaleReference where the object is gone. */
  protected get live(): Int32Array {
    const { i32 } = this.words;
    if (this.index >= i32.length) checkWord(this.words, this.index);
    return i32;
  }

  /** Blocks until `step` is done. */
  protected waitSync(step: () => Pause | undefined, { timeout = Infinity }: WaitOptions = {}): void {
    const deadline = this.threads.now() + timeout;
    for (let pause = step(); pause !== undefined; pause = step()) {
      const left = deadline - this.threads.now();
      if (!(left > 0)) throw timedOut(pause, timeout);
      if (this.words.wait(pause.index, pause.value, Math.min(left, SLICE_MS)) === 'timedOut') pause.idle?.();
    }
  }

  protected async wait(step: () => Pause | undefined, { timeout = Infinity, signal }: AsyncWaitOptions = {}): Promise<void> {
    signal?.throwIfAborted();
    const deadline = this.threads.now() + timeout;
    for (let pause = step(); pause !== undefined; pause = step()) {
      const left = deadline - this.threads.now();
      if (!(left > 0)) throw timedOut(pause, timeout);
      if ((await this.words.waitAsync(pause.index, pause.value, Math.min(left, SLICE_MS), signal)) === 'timedOut') pause.idle?.();
    }
  }
}

function timedOut(pause: Pause, timeout: number): TwzError {
  return new TwzError('LockTimeout', `${pause.why()}; ${timeout} ms are over`, { timeout });
}

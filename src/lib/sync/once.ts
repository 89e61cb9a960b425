/**
 * Once: of all threads and processes, one runs a function, and the others wait until it is done. If it throws, or its thread dies, the next
 * one runs it. Word 0: 0 not yet, a thread's number while it runs, -1 done.
 */
import { TwzError } from '../../abi/errors.ts';
import { SyncObject, type AsyncWaitOptions, type Pause, type WaitOptions } from './waiting.ts';

const DONE = -1;

export class Once extends SyncObject {
  get done(): boolean {
    return Atomics.load(this.live, this.index) === DONE;
  }

  /** True where this call ran the function. */
  callSync(run: () => void, options?: WaitOptions): boolean {
    let mine = false;
    this.waitSync(() => this.#step(() => (mine = true), true), options);
    if (!mine) return false;
    let outcome = 0;
    try {
      run();
      outcome = DONE;
    } finally {
      this.#end(outcome);
    }
    return true;
  }

  async call(run: () => void | Promise<void>, options?: AsyncWaitOptions): Promise<boolean> {
    let mine = false;
    await this.wait(() => this.#step(() => (mine = true), false), options);
    if (!mine) return false;
    let outcome = 0;
    try {
      await run();
      outcome = DONE;
    } finally {
      this.#end(outcome);
    }
    return true;
  }

  #end(outcome: number): void {
    Atomics.store(this.live, this.index, outcome);
    this.words.wake(this.index);
  }

  #step(take: () => void, blocks: boolean): Pause | undefined {
    const { live, index } = this;
    const { self } = this.threads;
    for (;;) {
      const value = Atomics.load(live, index);
      if (value === DONE) return undefined;
      if (value === 0) {
        if (Atomics.compareExchange(live, index, 0, self) !== 0) continue;
        take();
        return undefined;
      }
      if (value === self && blocks) throw new TwzError('LockRecursion', 'what runs once waits for itself', { value });
      return {
        index,
        value,
        idle: () => {
          if (value !== self && !this.threads.lives(value)) Atomics.compareExchange(live, index, value, 0);
        },
        why: () => `it is being done by ${this.threads.show(value)}`,
      };
    }
  }

  /** The next call runs its function again. Only when none runs. */
  reset(): void {
    Atomics.compareExchange(this.live, this.index, DONE, 0);
  }
}

/** Time for services that have no space, and so no host of their own. */
import { performance } from 'node:perf_hooks';
import type { Timer } from './host.ts';

export interface Clock {
  /** Milliseconds, monotonic. */
  now(): number;
  /** Calls back once after `ms`; does not keep the process alive. */
  timer(ms: number, callback: () => void): Timer;
  /** Calls back once the callbacks that are ready now, and what they resolve, have run. */
  soon(callback: () => void): void;
}

class Alarm implements Timer {
  readonly #handle: NodeJS.Timeout;

  constructor(ms: number, callback: () => void) {
    this.#handle = setTimeout(callback, ms).unref();
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }
}

export const clock: Clock = {
  now: () => performance.now(),
  timer: (ms, callback) => new Alarm(ms, callback),
  soon: (callback) => void setImmediate(callback),
};

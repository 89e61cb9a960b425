/** Threads told apart by process ID and Node's own thread number: for machines without Linux's lists of them. */
import { threadId } from 'node:worker_threads';
import type { Threads } from '../abi/sync.ts';

const ID_BITS = 22;
const ID_MASK = 2 ** ID_BITS - 1;

export class ProcessThreads implements Threads {
  /** Threads of one process differ in the upper bits, 255 of them; whether one has ended is known with its process. */
  readonly self: number = (process.pid & ID_MASK) | ((threadId % 256) << ID_BITS);

  of(pid: number): number {
    return this.lives(pid) ? pid & ID_MASK : 0;
  }

  lives(thread: number): boolean {
    try {
      process.kill(thread & ID_MASK, 0);
      return true;
    } catch (error) {
      return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
    }
  }

  ending(): undefined {
    return undefined;
  }

  show(thread: number): string {
    const who = `process ${thread & ID_MASK}`;
    return this.lives(thread) ? who : `${who}, which has ended`;
  }

  now(): number {
    return performance.now();
  }
}

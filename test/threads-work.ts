/** What the threads of the tests do: `main` is told by its argument. */
import { setImmediate } from 'node:timers/promises';
import { counter, struct, text, u32, type ThreadSelf } from '../src/index.ts';

/** Shared between a test and its threads. */
export const Board = struct('ThreadBoard', { done: counter, flag: u32, other: u32 });
/** What to do. */
export const Task = struct('ThreadTask', { what: text, n: u32, told: text });

export async function main(thread: ThreadSelf): Promise<number | void> {
  const task = thread.argument(Task);
  switch (task.what) {
    case 'add':
      thread.space.relaxed(() => (task.n += 1));
      return task.n;
    case 'nothing':
      return;
    case 'throw':
      throw new RangeError(`no more than ${task.n}`);
    case 'throw later':
      // oxlint-disable-next-line promise/catch-or-return -- this is what is to happen
      void setImmediate().then(() => {
        throw new SyntaxError('in another turn');
      });
      await new Promise((resolve) => thread.signal.addEventListener('abort', resolve));
      return;
    case 'exit':
      return process.exit(task.n);
    case 'stall':
      await new Promise(() => undefined);
      return;
    case 'text':
      return Number(task.told);
    case 'spin':
      // Neither gives way nor ends.
      thread.space.relaxed(() => (task.told = 'spins'));
      for (;;) Atomics.load(new Int32Array(1), 0);
    case 'wait':
      thread.space.relaxed(() => (task.told = `waits ${thread.started}`));
      await new Promise((resolve) => thread.signal.addEventListener('abort', resolve));
      return 7;
    case 'block':
      thread.space.relaxed(() => (task.told = 'blocks'));
      while (!thread.stopping) thread.point();
      return 8;
    default:
      throw new Error(`what is "${task.what}"?`);
  }
}

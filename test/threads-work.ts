/** What the threads of the tests do: `main` is told by its argument. */
import { setImmediate } from 'node:timers/promises';
import { Obj, counter, struct, structRecord, text, u32, type Infer, type RecordType, type ThreadSelf } from '../src/index.ts';

/** What to do. */
export const Task = struct('ThreadTask', { what: text, n: u32, told: text });
export const Note = struct('ThreadNote', { n: u32, by: u32 });
export const NOTES: RecordType<Infer<typeof Note>, { n?: number; by?: number }> = structRecord(Note);
/** Shared between a test and its threads. */
export const Tally = struct('ThreadTally', { hits: counter, word: u32 });

const untilStopped = (thread: ThreadSelf): Promise<unknown> =>
  new Promise((resolve) => {
    if (thread.signal.aborted) resolve(0);
    else thread.signal.addEventListener('abort', resolve);
  });

function shown(message: unknown): string {
  if (message instanceof Uint8Array) return `bytes ${[...message].join(' ')}`;
  return message instanceof Obj ? `object with ${message.root(Task).n}` : JSON.stringify(message);
}

export async function main(thread: ThreadSelf): Promise<number | undefined> {
  const task = thread.argument(Task);
  const tell = (what: string): void => thread.space.relaxed(() => void (task.told = what));
  switch (task.what) {
    case 'add':
      thread.space.relaxed(() => (task.n += 1));
      return task.n;
    case 'nothing':
      return undefined;
    case 'throw':
      throw new RangeError(`no more than ${task.n}`);
    case 'throw later':
      setTimeout(() => {
        throw new SyntaxError('in another turn');
      });
      await untilStopped(thread);
      return 0;
    case 'reject':
      void Promise.reject(new TypeError('nobody handles it'));
      await untilStopped(thread);
      return 0;
    case 'exit':
      return process.exit(task.n);
    case 'stall':
      await new Promise(() => undefined);
      return 0;
    case 'code':
      return Number(task.told);
    case 'spin':
      tell('spins');
      for (;;) Atomics.load(new Int32Array(1), 0);
    case 'wait':
      tell(`waits ${thread.started}`);
      await untilStopped(thread);
      return 7;
    case 'points':
      for (; !thread.stopping; thread.point()) thread.space.relaxed(() => (task.n += 1));
      return 8;
    case 'points of promises':
      for (; !thread.stopping; await thread.pointAsync()) {
        thread.space.relaxed(() => (task.n += 1));
        await setImmediate();
      }
      return 9;
    case 'messages':
      for await (const message of thread.messages()) tell(`${task.told}${shown(message)};`);
      return 10;
    case 'messages, blocking':
      for (let message = thread.receive(); message !== undefined; message = thread.receive()) tell(`${task.told}${shown(message)};`);
      return 10;
    case 'notes': {
      let sum = 0;
      for (const { n } of thread.mailbox(NOTES).consumer()) sum += n;
      return sum;
    }
    case 'signals':
      while (!thread.stopping) tell(`${task.told}${(await thread.awaitSignals()).join(' ')};`);
      return 11;
    case 'crash at first':
      if (thread.started === 1) process.kill(process.pid, 'SIGKILL');
      for await (const message of thread.messages()) tell(`${task.told}${shown(message)};`);
      return 0;
    case 'fail n times':
      if (thread.started <= task.n) throw new Error(`failed for the time ${thread.started}`);
      await untilStopped(thread);
      return 0;
    default:
      throw new Error(`what is "${task.what}"?`);
  }
}

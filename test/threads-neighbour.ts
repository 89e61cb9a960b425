/** Another process that has a space open: it spawns threads, or waits for those that others spawned. `threads-neighbour.js DIRECTORY`. */
import { open, spawn, threads, threadSync, type SpawnOptions } from '../src/index.ts';
import { Task } from './threads-work.ts';

const space = open(process.argv[2] ?? '');

export type Order =
  | { readonly order: 'spawn'; readonly what: string; readonly options: Omit<SpawnOptions, 'argument'> }
  | { readonly order: 'wait' | 'wait plain' | 'kill' | 'suspend'; readonly number: number };

const result = (number: number): unknown => {
  const found = threads(space).find((each) => each.number === number)?.result;
  return found === undefined ? undefined : { reason: found.reason, code: found.code };
};

process.on('message', (order: Order) => {
  if (order.order === 'spawn') {
    const argument = space.relaxed(() => space.create(Task, { what: order.what }));
    process.send?.(spawn(space, new URL('./threads-work.js', import.meta.url), { ...order.options, argument }).number);
    return;
  }
  const thread = threads(space).find(({ number }) => number === order.number);
  if (thread === undefined) throw new Error(`no thread ${order.number}`);
  if (order.order === 'kill') thread.kill();
  if (order.order === 'suspend') {
    void thread.suspend().then(() => process.send?.(thread.status));
    return;
  }
  if (order.order === 'wait') {
    process.send?.('waits', () => process.send?.({ ...thread.wait(), error: undefined }));
    return;
  }
  const { exit } = thread;
  process.send?.('waits', () => {
    threadSync([exit]);
    process.send?.(result(order.number));
  });
});
process.send?.('ready');

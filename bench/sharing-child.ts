/**
 * One of several processes at one store. It is told a task, in a line of JSON; says "ready", waits for another line, does the work, and says
 * how many nanoseconds that took. Then it is told the next, or ends with its standard input.
 */
import { createInterface } from 'node:readline';
import { open } from '../src/index.ts';
import { generator, nanoseconds } from './harness.ts';
import { isAbsent, lmdb } from './peers.ts';
import { KEYS, WORKLOADS, Draw, durably, relaxedly } from './ycsb.ts';
import type { Task } from './sharing.ts';
import type { Store } from './stores.ts';

function missing(): never {
  throw new Error('a store lost an entry');
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += 100) total += bytes[at] ?? 0;
  return total;
}

type Used = Pick<Store<string>, 'peek' | 'copy' | 'put' | 'durable' | 'close'>;

function ours(path: string): Used {
  const space = open(path);
  const map = space.names.get('/records', KEYS.hash);
  return {
    peek(key) {
      const view = map.view(key) ?? missing();
      const { length } = view;
      let total = 0;
      for (let at = 0; at < length; at += 100) total += view.u8(at);
      return total;
    },
    copy: (key) => map.get(key) ?? missing(),
    put: (key, value) => space.relaxed(() => map.set(key, value)),
    durable: (key, value) => space.durable(() => map.set(key, value)),
    close: () => space.close(),
  };
}

function theirs(path: string, durable: boolean): Used {
  const peer = lmdb();
  if (isAbsent(peer)) throw new Error(peer.absent);
  const options = durable ? { overlappingSync: false } : { noSync: true, noMemInit: true };
  const store = peer.open<string>({ ...options, ...KEYS.lmdb, path, encoding: 'binary' });
  return {
    peek: (key) => sum(store.getBinaryFast(key) ?? missing()),
    copy: (key) => store.get(key) ?? missing(),
    put: (key, value) => store.putSync(key, value),
    durable: (key, value) => store.put(key, value),
    close: () => store.close(),
  };
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function work({ kind, path, role, records, count, seed }: Task & { readonly seed: number }): Promise<void> {
  const used = kind === 'ours' ? ours(path) : theirs(path, role === 'durable');
  const absent = (): never => missing();
  const store: Store<string> = { name: kind, path, batch: absent, settle: absent, keep: absent, scan: absent, ...used };
  const [a] = WORKLOADS;
  if (a === undefined) throw new Error('no workload');
  const drawn = role === 'reader' ? [] : new Draw(records, seed).operations(a, count);
  console.log('ready');
  await lines.next();
  const start = nanoseconds();
  let total = 0;
  if (role === 'relaxed') await relaxedly(store, drawn);
  else if (role === 'durable') await durably(store, drawn);
  else {
    const random = generator(seed);
    for (let i = 0; i < count; i++) total += store.peek(KEYS.of(random(records)));
  }
  console.log(String(nanoseconds() - start), total);
  await store.close();
}

for (let line = await lines.next(); line.done !== true; line = await lines.next()) await work(JSON.parse(line.value));
process.exit(0);

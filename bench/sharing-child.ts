/**
 * One of several processes at one store. Arguments: kind of store, its path, role, records, operations, seed. Says "ready", waits for a
 * line, does its work, and says how many nanoseconds that took.
 */
import { once } from 'node:events';
import { open } from '../src/index.ts';
import { generator, nanoseconds } from './harness.ts';
import { isAbsent, lmdb } from './peers.ts';
import { KEYS, WORKLOADS, Draw, durably, relaxedly } from './ycsb.ts';
import type { Store } from './stores.ts';

const [kind = '', path = '', role = '', records = '0', count = '0', seed = '1'] = process.argv.slice(2);

function missing(): never {
  throw new Error('a store lost an entry');
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += 100) total += bytes[at] ?? 0;
  return total;
}

type Used = Pick<Store<string>, 'peek' | 'copy' | 'put' | 'durable' | 'close'>;

function ours(): Used {
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

function theirs(durable: boolean): Used {
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

const used = kind === 'ours' ? ours() : theirs(role === 'durable');
const absent = (): never => missing();
const store: Store<string> = { name: kind, path, batch: absent, settle: absent, keep: absent, scan: absent, ...used };
const operations = Number(count);
const [a] = WORKLOADS;
if (a === undefined) throw new Error('no workload');
const drawn = role === 'reader' ? [] : new Draw(Number(records), Number(seed)).operations(a, operations);
console.log('ready');
await once(process.stdin, 'data');
const start = nanoseconds();
let total = 0;
if (role === 'relaxed') await relaxedly(store, drawn);
else if (role === 'durable') await durably(store, drawn);
else {
  const random = generator(Number(seed));
  for (let i = 0; i < operations; i++) total += store.peek(KEYS.of(random(Number(records))));
}
console.log(String(nanoseconds() - start), total);
await store.close();
process.exit(0);

/**
 * Writes v2.mdb with the npm package lmdb (3.5.6), in a directory where it is installed:
 *   npm install lmdb && node make-v2.mjs v2.mdb && gzip -9n v2.mdb
 * What is in it, test/interchange-lmdb.test.ts says again.
 */
import { Buffer } from 'node:buffer';
import { open } from 'lmdb';

const root = open({ path: process.argv[2] ?? 'v2.mdb', noSubdir: true, mapSize: 1 << 22, pageSize: 4096, overlappingSync: false });
const all = (db, entries) =>
  db.transactionSync(() => {
    for (const [key, value, version] of entries) db.putSync(key, value, version);
  });
const count = (n, make) => Array.from({ length: n }, (_, i) => make(i));

all(
  root.openDB('people', {}),
  count(200, (i) => [`person ${i}`, { name: `Person ${i}`, age: i % 90, ...(i % 7 === 0 ? { note: 'é' } : {}) }]),
);
all(
  root.openDB('shared', { sharedStructuresKey: Symbol.for('structures') }),
  count(50, (i) => [i - 25, { id: i, half: i / 2, deep: { list: [i, 'x'] } }]),
);
all(
  root.openDB('pairs', {}),
  count(60, (i) => [[`group ${i % 3}`, i], BigInt(i) << 56n]),
);
all(
  root.openDB('texts', { encoding: 'string' }),
  count(20, (i) => [`key ${i}`, `text ${i}`]),
);
all(
  root.openDB('raw', { encoding: 'binary', keyEncoding: 'binary' }),
  count(5, (i) => [Buffer.from([i, 255]), Buffer.alloc(i * 3000, i)]),
);
all(
  root.openDB('json', { encoding: 'json' }),
  count(5, (i) => [`k${i}`, { a: i, b: [i] }]),
);
all(
  root.openDB('ids', { keyEncoding: 'uint32', encoding: 'string' }),
  count(300, (i) => [i * 70_000, `number ${i}`]),
);
all(
  root.openDB('versions', { encoding: 'string', useVersions: true }),
  count(5, (i) => [`v${i}`, `value ${i}`, i + 1]),
);
const several = root.openDB('several', { dupSort: true, encoding: 'ordered-binary' });
all(
  several,
  count(800, (i) => [i < 700 ? 'many' : `key ${i % 10}`, i]),
);
root.openDB('empty', {});
root.putSync('greeting', 'hello');
root.openDB('texts', { encoding: 'string' }).removeSync('key 7');
await root.close();

/**
 * T16, T4: collections lie in objects as docs/formats/collections.md describes them. The reader was written from that page
 * (collections-reader.ts).
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bytes, f64, hashMap, i32, objectOf, open, orderedMap, struct, text, tuple, u32, u8 } from '../src/index.ts';
import { Reader, filesOf, nobody, readHashMap, readOrderedMap, rootOf } from './collections-reader.ts';
import { Shop, collectionsExample } from './golden/make.ts';

const GOLDEN = fileURLToPath(new URL('../../test/golden/collections.twz', import.meta.url));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-formats-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

function readShop(file: Buffer): unknown {
  const prices = readHashMap(new Reader(file, rootOf(file), { key: 0, value: 4 }, nobody));
  const names = readOrderedMap(new Reader(file, rootOf(file) + 48, { key: 0, value: 0 }, nobody));
  return {
    prices: new Map(prices.map(({ key, value }) => [key.toString(), value.readUInt32LE()])),
    names: names.map(({ key, value }) => [key.toString(), value.toString()]),
  };
}

const SHOP = {
  prices: new Map([
    ['apple', 120],
    ['pear', 95],
  ]),
  names: [
    ['en', 'Shop'],
    ['eo', 'Butiko'],
    ['fr', 'Boutique'],
  ],
};

// --- the example --------------------------------------------------------------------------------------------------------------

test('T16 formats: the example of the collections page, by the reader and by the library', () => {
  const file = fs.readFileSync(GOLDEN);
  assert.deepEqual(readShop(file), SHOP);
  const space = open(path.join(scratch, 'library'));
  const shop = space.relaxed(() => space.import(file)).root(Shop);
  assert.deepEqual({ prices: new Map(shop.prices), names: [...shop.names] }, SHOP);
  space.close();
});

test('T16 formats: the example is what the library writes today', () => {
  const bytesNow = collectionsExample(path.join(scratch, 'example'));
  const now = Buffer.from(bytesNow);
  assert.deepEqual(readShop(now), SHOP);
  const old = fs.readFileSync(GOLDEN);
  // The ID, the nonce, the checksum, and the seed and so the table of the hash map are others each time.
  for (const [from, to] of [
    [8, 40],
    [112, 116],
    [0x1004, 0x1008],
    [0x4010, 0x4050],
  ] as const) {
    now.fill(0, from, to);
    old.fill(0, from, to);
  }
  assert.deepEqual(now, old);
});

// --- larger ones ----------------------------------------------------------------------------------------------------------------

test('T16 formats: split tables, levels, shared prefixes, keys of four bytes', () => {
  const space = open(path.join(scratch, 'large'));
  const count = 12_000;
  const mixed = (i: number): number => Math.imul(i, 0x9e3779b1) >>> 0;
  const names = Array.from({ length: count }, (_, i) => `user/${i % 7}/${String(mixed(i)).padStart(10, '0')}`);
  const Types = struct('Types', {
    hashed: hashMap(text, u32),
    ordered: orderedMap(text, u32),
    numbers: orderedMap(i32, f64),
    pairs: orderedMap(tuple(text, u8), u8),
  });
  const types = space.relaxed(() => space.create(Types));
  space.relaxed(() => {
    for (const [i, name] of names.entries()) {
      types.hashed.set(name, i);
      types.ordered.set(name, i);
      types.numbers.set(mixed(i) | 0, i / 2);
      if (i < 600) types.pairs.set([`a\0${Math.floor(i / 200)}`, i % 200], i % 5);
    }
    for (let i = 0; i < count; i += 3) {
      types.hashed.delete(names[i] ?? '');
      types.ordered.delete(names[i] ?? '');
      types.numbers.delete(mixed(i) | 0);
    }
  });
  const home = Buffer.from(objectOf(types).export());
  const root = rootOf(home);
  const kept = names.map((name, i) => [name, i] as const).filter((_, i) => i % 3 !== 0);

  const hashed = new Reader(home, root, { key: 0, value: 4 }, nobody);
  const read = readHashMap(hashed).map(({ key, value }) => [key.toString(), value.readUInt32LE()] as const);
  assert.deepEqual(new Map(read), new Map(kept));
  assert.ok(hashed.u32(8) > 0, 'no table was split');
  assert.equal(hashed.blocks, types.hashed.usage().blocks);

  const ordered = new Reader(home, root + 48, { key: 0, value: 4 }, nobody);
  assert.deepEqual(
    readOrderedMap(ordered).map(({ key, value }) => [key.toString(), value.readUInt32LE()]),
    [...kept].sort(([a], [b]) => (a < b ? -1 : 1)),
  );
  assert.ok(ordered.u32(8) >= 3, 'too few levels');
  assert.equal(ordered.blocks, types.ordered.usage().blocks);

  const numbers = new Reader(home, root + 96, { key: 4, value: 8 }, nobody);
  assert.deepEqual(
    readOrderedMap(numbers).map(({ key, value }) => [key.readUInt32BE() - 2 ** 31, value.readDoubleLE()]),
    kept.map(([, i]) => [mixed(i) | 0, i / 2] as const).sort(([a], [b]) => a - b),
  );
  assert.equal(numbers.blocks, types.numbers.usage().blocks);

  const pairs = readOrderedMap(new Reader(home, root + 144, { key: 0, value: 4 }, nobody));
  assert.deepEqual(pairs[201]?.key, Buffer.from('6100ff31000000000001', 'hex'));
  assert.equal(pairs.length, 600);
  space.close();
});

test('T16 formats: a map that has grown over objects', () => {
  const space = open(path.join(scratch, 'grown'));
  const map = space.relaxed(() => space.create(hashMap(u32, bytes)));
  for (let i = 0; i < 20; i++) space.relaxed(() => map.set(i, new Uint8Array(1 << 20).fill(i)));
  const { objects, blocks } = map.usage();
  assert.ok(objects > 1);
  const home = filesOf(space)(objectOf(map).id);
  const reader = new Reader(home, rootOf(home), { key: 4, value: 0 }, filesOf(space));
  const found = readHashMap(reader).map(({ key, value }) => [key.readUInt32BE(), value.length, value[77]] as const);
  assert.deepEqual(
    [...found].sort(([a], [b]) => a - b),
    Array.from({ length: 20 }, (_, i) => [i, 1 << 20, i]),
  );
  assert.equal(reader.blocks, blocks);
  space.close();
});

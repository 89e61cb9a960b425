/**
 * T16, T4: collections lie in objects as docs/formats/collections.md describes them. The reader here was written from that page: it knows
 * object files as bytes alone, and checks on its way what the page promises.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bytes, f64, hashMap, i32, objectOf, open, orderedMap, parseId, struct, text, tuple, u32, u8, type Space } from '../src/index.ts';
import { Shop, collectionsExample } from './golden/make.ts';

const GOLDEN = fileURLToPath(new URL('../../test/golden/collections.twz', import.meta.url));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-formats-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

// --- the reader -------------------------------------------------------------------------------------------------------------

/** Gives an object's file by its ID. */
type Files = (id: string) => Buffer;

interface Place {
  readonly file: Buffer;
  readonly at: number;
}

interface Record {
  readonly key: Buffer;
  /** Of fixed size: so many bytes. Text or bytes: their own. */
  readonly value: Buffer;
}

/** What the type says: bytes of a key and of a value, 0 where they differ. */
interface Sizes {
  readonly key: number;
  readonly value: number;
}

const padded = (length: number): number => Math.ceil(length / 4) * 4;

class Reader {
  readonly home: Buffer;
  readonly header: number;
  readonly sizes: Sizes;
  readonly #files: Files;
  readonly #members: Buffer[] = [];
  blocks = 0;

  constructor(home: Buffer, header: number, sizes: Sizes, files: Files) {
    this.home = home;
    this.header = header;
    this.sizes = sizes;
    this.#files = files;
    this.#members[0] = home;
  }

  u32(at: number): number {
    return this.home.readUInt32LE(this.header + at);
  }

  place(address: number): Place {
    const index = address >>> 22;
    const at = (address & 0x3fffff) * 16;
    let file = this.#members[index];
    if (file === undefined) {
      const [table, count] = [this.u32(24), this.u32(28)];
      assert.ok(index <= count, 'a member that is not there');
      const entry = table + index * 16;
      assert.equal(this.home.readUInt32LE(entry), 4096);
      const fot = this.home.readUInt32LE(entry + 4) >>> 8;
      assert.ok(fot >= 1 && fot < 16);
      file = this.#files(this.home.toString('hex', 1024 + fot * 32, 1024 + fot * 32 + 16));
      this.#members[index] = file;
    }
    return { file, at };
  }

  record(address: number): Record {
    this.blocks++;
    const { file, at } = this.place(address);
    const { key, value } = this.sizes;
    let from = at + value;
    let keyLength = key;
    if (key === 0) {
      keyLength = file.readUInt32LE(from);
      from += 4;
    }
    let valueLength = value;
    if (value === 0) {
      valueLength = file.readUInt32LE(from);
      from += 4;
    }
    const valueAt = value === 0 ? from + padded(keyLength) : at;
    for (let i = from + keyLength; i < from + padded(keyLength); i++) assert.equal(file[i], 0);
    return { key: file.subarray(from, from + keyLength), value: file.subarray(valueAt, valueAt + valueLength) };
  }
}

function hashOf(key: Buffer, seed: number): number {
  const zeros = Buffer.concat([key, Buffer.alloc(padded(key.length) - key.length)]);
  let x = seed ^ key.length;
  for (let i = 0; i < zeros.length; i += 4) {
    x = Math.imul(x ^ zeros.readInt32LE(i), 0x9e3779b1);
    x ^= x >>> 15;
  }
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

function readHashMap(reader: Reader): Record[] {
  const found: Record[] = [];
  const [count, seed, depth, directory] = [reader.u32(0), reader.u32(4), reader.u32(8), reader.u32(12)];
  const tables: number[] = [];
  if (depth === 0) {
    if (directory !== 0) tables.push(directory);
  } else {
    reader.blocks++;
    const { file, at } = reader.place(directory);
    for (let i = 0; i < 2 ** depth; i++) tables.push(file.readUInt32LE(at + i * 4));
  }
  for (const [i, table] of tables.entries()) {
    const { file, at } = reader.place(table);
    const [mask, used, local] = [file.readUInt32LE(at), file.readUInt32LE(at + 4), file.readUInt32LE(at + 8)];
    // All entries of the directory that share the first `local` bits lead to the same table.
    const first = i - (i % 2 ** (depth - local));
    assert.equal(tables[first], table);
    if (i !== first) continue;
    reader.blocks++;
    let here = 0;
    for (let p = 0; p <= mask; p++) {
      const slot = at + 16 + p * 8;
      const record = file.readUInt32LE(slot + 4);
      if (record === 0) continue;
      here++;
      const each = reader.record(record);
      const hash = file.readUInt32LE(slot);
      assert.equal(hash, hashOf(each.key, seed));
      if (depth > 0) assert.equal(Math.floor(hash / 2 ** (32 - local)), Math.floor(i / 2 ** (depth - local)));
      // No empty slot between the one that the hash names and this one.
      for (let q = hash & mask; q !== p; q = (q + 1) & mask) assert.notEqual(file.readUInt32LE(at + 16 + q * 8 + 4), 0);
      found.push(each);
    }
    assert.equal(here, used);
    assert.ok(used * 16 <= (mask + 1) * 13);
  }
  assert.equal(found.length, count);
  return found;
}

/** Four bytes of a key from `skip` on. */
const headOf = (key: Buffer, skip: number): number => Buffer.concat([key, Buffer.alloc(skip + 4)]).readUInt32BE(skip);

function readOrderedMap(reader: Reader): Record[] {
  const found: Record[] = [];
  const [count, root, levels, firstLeaf, lastLeaf] = [reader.u32(0), reader.u32(4), reader.u32(8), reader.u32(12), reader.u32(20)];
  const exact = reader.sizes.key === 4;
  const leaves: number[] = [];
  const inside = (key: Buffer, low: Buffer | undefined, high: Buffer | undefined): boolean =>
    (low === undefined || low.compare(key) <= 0) && (high === undefined || key.compare(high) < 0);
  const visit = (address: number, level: number, low: Buffer | undefined, high: Buffer | undefined): void => {
    reader.blocks++;
    const { file, at } = reader.place(address);
    const entries = file.readUInt16LE(at);
    assert.equal(file.readUInt16LE(at + 2), level);
    const skip = file.readUInt32LE(at + 4);
    const head = (i: number): number => file.readUInt32LE(at + 16 + i * 4);
    const begin = found.length;
    if (level === 0) {
      leaves.push(address);
      for (let i = 0; i < entries; i++) {
        const each = reader.record(file.readUInt32LE(at + 264 + i * 4));
        assert.equal(head(i), headOf(each.key, skip));
        assert.ok(inside(each.key, low, high));
        found.push(each);
      }
    } else {
      let left = low;
      for (let i = 0; i <= entries; i++) {
        let right = high;
        if (i < entries) {
          const separator = file.readUInt32LE(at + 348 + i * 4);
          if (exact) {
            assert.equal(separator, 0);
            right = Buffer.alloc(4);
            right.writeUInt32BE(head(i));
          } else {
            reader.blocks++;
            const block = reader.place(separator);
            right = block.file.subarray(block.at + 4, block.at + 4 + block.file.readUInt32LE(block.at));
            assert.equal(head(i), headOf(right, skip));
          }
        }
        visit(file.readUInt32LE(at + 680 + i * 4), level - 1, left, right);
        left = right;
      }
    }
    for (const each of found.slice(begin)) assert.deepEqual(each.key.subarray(0, skip), found[begin]?.key.subarray(0, skip));
  };
  if (levels > 0) visit(root, levels - 1, undefined, undefined);
  for (const [i, each] of found.entries()) if (i > 0) assert.ok(each.key.compare(found[i - 1]?.key ?? each.key) > 0);
  assert.equal(firstLeaf, leaves[0] ?? 0);
  assert.equal(lastLeaf, leaves.at(-1) ?? 0);
  for (const [i, address] of leaves.entries()) {
    const { file, at } = reader.place(address);
    assert.deepEqual([file.readUInt32LE(at + 8), file.readUInt32LE(at + 12)], [leaves[i - 1] ?? 0, leaves[i + 1] ?? 0]);
  }
  assert.equal(found.length, count);
  return found;
}

const rootOf = (file: Buffer): number => file.readUInt32LE(80);
const nobody: Files = () => assert.fail('the example lies in one object');

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

const filesOf =
  (space: Space): Files =>
  (id) =>
    Buffer.from(space.object(parseId(id)).export());

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

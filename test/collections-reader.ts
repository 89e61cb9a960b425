/**
 * A reader of collections that was written from docs/formats/collections.md: it knows object files as bytes alone, and checks on its way what
 * the page promises. formats-collections.test.ts and formats-sequences.test.ts use it.
 */
import assert from 'node:assert/strict';
import { parseId, type Space } from '../src/index.ts';

/** Gives an object's file by its ID. */
export type Files = (id: string) => Buffer;

export interface Place {
  readonly file: Buffer;
  readonly at: number;
}

export interface Record {
  readonly key: Buffer;
  /** Of fixed size: so many bytes. Text or bytes: their own. */
  readonly value: Buffer;
}

/** What the type says: bytes of a key and of a value, 0 where they differ. */
export interface Sizes {
  readonly key: number;
  readonly value: number;
}

export const padded = (length: number): number => Math.ceil(length / 4) * 4;

export class Reader {
  readonly home: Buffer;
  readonly header: number;
  readonly sizes: Sizes;
  /** Where the pool lies in the header. */
  readonly #pool: number;
  readonly #files: Files;
  readonly #members: Buffer[] = [];
  blocks = 0;

  constructor(home: Buffer, header: number, sizes: Sizes, files: Files, pool = 24) {
    this.#pool = pool;
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
      const [table, count] = [this.u32(this.#pool), this.u32(this.#pool + 4)];
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

export function hashOf(key: Buffer, seed: number): number {
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

export function readHashMap(reader: Reader): Record[] {
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
export const headOf = (key: Buffer, skip: number): number => Buffer.concat([key, Buffer.alloc(skip + 4)]).readUInt32BE(skip);

export function readOrderedMap(reader: Reader): Record[] {
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

export const rootOf = (file: Buffer): number => file.readUInt32LE(80);
export const nobody: Files = () => assert.fail('the example lies in one object');
export const filesOf =
  (space: Space): Files =>
  (id) =>
    Buffer.from(space.object(parseId(id)).export());

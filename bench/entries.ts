/** The entries that every store is given: keys by number, values made from the key and a version. */
import { hashMap, orderedMap, text, u32, bytes, type HashMap, type OrderedMap, type CollectionType } from '../src/index.ts';
import { generator } from './harness.ts';

export type Hash<K> = CollectionType<HashMap<K, Uint8Array>, Iterable<readonly [K, Uint8Array]>>;
export type Ordered<K> = CollectionType<OrderedMap<K, Uint8Array>, Iterable<readonly [K, Uint8Array]>>;

/** A kind of keys, and how each store is best told of them. */
export interface Keys<K extends string | number> {
  readonly name: string;
  /** The key of an index. Ascending with the index. */
  readonly of: (index: number) => K;
  readonly hash: Hash<K>;
  readonly ordered: Ordered<K>;
  readonly lmdb: { readonly keyEncoding?: 'uint32' };
  readonly sqlite: string;
  readonly level: 'utf8' | 'view';
  readonly levelKey: (key: K) => string | Uint8Array;
  /** A name for the C programs. */
  readonly c: 'text' | 'integer';
}

/** A string that was put together is its parts until somebody looks into it. One that was read from somewhere, as keys are, is not. */
function flat(text: string): string {
  return text.charCodeAt(0) > 0 ? text : '';
}

/** user000012345: what an application would use. */
export const TEXT: Keys<string> = {
  name: 'text keys',
  of: (index) => flat(`user${String(index).padStart(9, '0')}`),
  hash: hashMap(text, bytes),
  ordered: orderedMap(text, bytes),
  lmdb: {},
  sqlite: 'k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID',
  level: 'utf8',
  levelKey: (key) => key,
  c: 'text',
};

export const INTEGER: Keys<number> = {
  name: 'integer keys',
  // From 1: going down, lmdb's getRange leaves out the key 0.
  of: (index) => index + 1,
  hash: hashMap(u32, bytes),
  ordered: orderedMap(u32, bytes),
  lmdb: { keyEncoding: 'uint32' },
  sqlite: 'k INTEGER PRIMARY KEY, v BLOB)',
  level: 'view',
  levelKey(key) {
    const big = Buffer.allocUnsafe(4);
    big.writeUInt32BE(key, 0);
    return big;
  },
  c: 'integer',
};

export const VALUE_BYTES = 100;

/** The bytes of an entry's value: never the same for another index, nor for another version. */
export function valueOf(index: number, version = 0, length = VALUE_BYTES): Uint8Array {
  const words = Math.ceil(length / 4);
  const value = Buffer.allocUnsafeSlow(words * 4);
  const filled = new Int32Array(value.buffer, 0, words);
  let x = Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(version, 0x85ebca6b);
  for (let i = 0; i < words; i++) {
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + i;
    filled[i] = x;
  }
  return value.length === length ? value : value.subarray(0, length);
}

/** What a reader does with a value: the first byte of every hundred, and the last one. The same for everybody. */
export function touch(value: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < value.length; at += 100) sum += value[at] ?? 0;
  return sum + (value[value.length - 1] ?? 0);
}

/** `count` numbers below `below`. */
export function draws(count: number, below: number, seed: number): Uint32Array {
  const random = generator(seed);
  return Uint32Array.from({ length: count }, () => random(below));
}

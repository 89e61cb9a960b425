/**
 * HashMap: extendible hashing over tables of at most 8192 slots.
 *
 *   header (48)   0 count  4 seed  8 depth  12 directory  16 changes  24 pool
 *   directory     2^depth addresses of tables, by the hash's upper bits; with depth 0 the header holds the table's address itself
 *   table         0 mask  4 used  8 local depth  16 slots of {hash (4), address of the record (4)}, linear probing by the lower bits
 *
 * A table that is full doubles, and from 8192 slots on splits in two, so no change moves more than one table, however large the map.
 * Slots hold the hash, so neither ever touches a record. Records do not move (records.ts).
 */
import type { Field } from '../fields.ts';
import { INSPECT } from '../inspect.ts';
import { ByteView } from './byte-view.ts';
import { makeHashMap } from './hash-class.ts';
import { keyCodec, referencesIn, type KeyOf, type KeyType, type AnyKeyType } from './keys.ts';
import { membersOf, POOL_HEADER, poolAllocate, poolDestroy, poolRelease } from './pool.ts';
import { isSelf, replaceContent } from './replace.ts';
import { made, NO_VALUE, recordsOf, valueCodec } from './records.ts';
import { specialize } from './specialize.ts';
import { collectionType, type CollectionType } from './type.ts';
import { checkElements, checkPairs, damaged, inspectEntries, refuseContent, usageOf, type CollectionUsage } from './tools.ts';

/** A persistent hash map. Changes belong in transactions; iteration is in no order. */
export interface HashMap<K, V, I = V> extends Iterable<[K, V]> {
  readonly size: number;
  /** The value of a key: an accessor in place for a struct, a copy for text and bytes. */
  get(key: K): V | undefined;
  has(key: K): boolean;
  /** Sets a value. A struct is set field by field from zero; its place, and references to it, stay if the key was there. */
  set(key: K, value: I): this;
  /** False where there was no such key. References to its value must be gone. */
  delete(key: K): boolean;
  clear(): void;
  /** The value of a key, made from `value` where there is none. */
  getOrInsert(key: K, value: I): V;
  /** A value of text or bytes where it lies, without a copy; see ByteView. */
  view(key: K): ByteView | undefined;
  keys(): IterableIterator<K>;
  values(): IterableIterator<V>;
  entries(): IterableIterator<[K, V]>;
  forEach(callback: (value: V, key: K, map: this) => void): void;
  /** What it takes up. */
  usage(): CollectionUsage;
}

/** A persistent set. */
export interface HashSet<K> extends Iterable<K> {
  readonly size: number;
  has(key: K): boolean;
  add(key: K): this;
  delete(key: K): boolean;
  clear(): void;
  keys(): IterableIterator<K>;
  values(): IterableIterator<K>;
  entries(): IterableIterator<[K, K]>;
  forEach(callback: (value: K, key: K, set: this) => void): void;
  usage(): CollectionUsage;
}

export const HASH_HEADER: number = 24 + POOL_HEADER;

const TOOLS = {
  allocate: poolAllocate,
  release: poolRelease,
  members: membersOf,
  destroy: poolDestroy,
  damaged,
  refuseContent,
  isAt: isSelf,
  replace: replaceContent,
  usage: usageOf,
  ByteView,
  INSPECT,
  inspect: inspectEntries,
};
export type HashTools = typeof TOOLS;

/**
 * The type of hash maps from `key` to `value`. `key` is a field of a number, bool, text, bytes or oneOf, a collation or a tuple; `value`
 * any field: a number, text, bytes, a struct (kept in place), a reference, another collection.
 */
export function hashMap<T extends AnyKeyType, V, I>(
  key: T,
  value: Field<V, I>,
): CollectionType<HashMap<KeyOf<T>, V, I>, Iterable<readonly [KeyOf<T>, I]>> {
  const keys = keyCodec(key as KeyType<KeyOf<T>>);
  const values = valueCodec(value, 'a value');
  return collectionType({
    kind: 'HashMap',
    name: `HashMap<${keys.signature}, ${value.describe.type}>`,
    signature: `HashMap<${keys.signature},${values.signature}>`,
    size: HASH_HEADER,
    shape: { size: HASH_HEADER, key: keys.signature, value: value.describe },
    parts: [...referencesIn(key), value],
    check: checkPairs(
      'HashMap',
      (key, h) => keys.encode(key, h),
      () => values.check,
    ),
    make: () => specialize(makeHashMap<KeyOf<T>, V, I>)('HashMap', keys, recordsOf(keys, values), made(values), TOOLS),
  });
}

/** The type of hash sets of `key`s. */
export function hashSet<T extends AnyKeyType>(key: T): CollectionType<HashSet<KeyOf<T>>, Iterable<KeyOf<T>>> {
  const keys = keyCodec(key as KeyType<KeyOf<T>>);
  return collectionType({
    kind: 'HashSet',
    name: `HashSet<${keys.signature}>`,
    signature: `HashSet<${keys.signature}>`,
    size: HASH_HEADER,
    shape: { size: HASH_HEADER, key: keys.signature },
    parts: referencesIn(key),
    check: checkElements('HashSet', () => (key: never, h) => {
      keys.encode(key, h);
      return key;
    }),
    make: () => specialize(makeHashMap<KeyOf<T>, true, true>)('HashSet', keys, recordsOf(keys, NO_VALUE), NO_VALUE, TOOLS),
  });
}

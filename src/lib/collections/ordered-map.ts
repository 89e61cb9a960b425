/** OrderedMap: a map in the order of its keys, over a B+-tree (ordered-tree.ts). */
import type { ObjectHandle } from '../../abi/handle.ts';
import type { AccessorClass } from '../emit.ts';
import type { Field } from '../fields.ts';
import { INSPECT } from '../inspect.ts';
import { ByteView } from './byte-view.ts';
import { encodeBytes, keyCodec, referencesIn, type KeyCodec, type KeyOf, type KeyType, type AnyKeyType } from './keys.ts';
import { cursorOf, type CursorClass, type OrderedCursor, type Range } from './ordered-cursor.ts';
import { loadOf, type OrderedLoad } from './ordered-load.ts';
import { TREE } from './ordered-search.ts';
import { ORDERED_HEADER, treeOf, type OrderedTree } from './ordered-tree.ts';
import { isSelf, replaceContent } from './replace.ts';
import { made as plain, recordsOf, valueCodec, type Records } from './records.ts';
import { specialize } from './specialize.ts';
import { checkPairs, inspectEntries, refuseContent, usageOf, type CollectionUsage } from './tools.ts';
import { collectionType, type CollectionType } from './type.ts';

/** A persistent map in the order of its keys. Changes belong in transactions. */
export interface OrderedMap<K, V, I = V> extends Iterable<[K, V]> {
  readonly size: number;
  /** The value of a key: an accessor in place for a struct, a copy for text and bytes. */
  get(key: K): V | undefined;
  has(key: K): boolean;
  /** Sets a value. A struct is set field by field from zero; its place, and references to it, stay if the key was there. */
  set(key: K, value: I): this;
  /** False where there was no such key. References to its value must be gone. */
  delete(key: K): boolean;
  /** Deletes a range; returns how many entries it had. */
  deleteRange(range: Range<K>): number;
  clear(): void;
  /** The value of a key, made from `value` where there is none. */
  getOrInsert(key: K, value: I): V;
  /** A value of text or bytes where it lies, without a copy; see ByteView. */
  view(key: K): ByteView | undefined;
  /** Appends entries in ascending order behind the last key, with full leaves. Throws OutOfRange at the first that is out of order. */
  load(entries: Iterable<readonly [K, I]>): void;
  first(): [K, V] | undefined;
  last(): [K, V] | undefined;
  keys(range?: Range<K>): IterableIterator<K>;
  values(range?: Range<K>): IterableIterator<V>;
  entries(range?: Range<K>): IterableIterator<[K, V]>;
  /** The entries of a range: the same as `entries`. */
  range(range: Range<K>): IterableIterator<[K, V]>;
  /** The fastest way through many entries: nothing is made of them but what is asked for. */
  cursor(range?: Range<K>): OrderedCursor<K, V>;
  /** How many entries a range has. */
  count(range?: Range<K>): number;
  forEach(callback: (value: V, key: K, map: this) => void, range?: Range<K>): void;
  /** What it takes up. */
  usage(): CollectionUsage;
}

interface OrderedTools {
  readonly POOL: number;
  readonly encodeBytes: typeof encodeBytes;
  readonly refuseContent: typeof refuseContent;
  readonly CHANGES: number;
  readonly HEADER: number;
  readonly isSelf: typeof isSelf;
  readonly replace: typeof replaceContent;
  readonly usage: typeof usageOf;
  readonly ByteView: typeof ByteView;
  readonly INSPECT: typeof INSPECT;
  readonly inspect: typeof inspectEntries;
}

const TOOLS: OrderedTools = {
  POOL: TREE.POOL,
  encodeBytes,
  refuseContent,
  CHANGES: TREE.CHANGES,
  HEADER: ORDERED_HEADER,
  isSelf,
  replace: replaceContent,
  usage: usageOf,
  ByteView,
  INSPECT,
  inspect: inspectEntries,
};

function makeOrderedMap<K, V, I>(
  K: KeyCodec<K>,
  R: Records<K, V, I>,
  B: OrderedTree<K, I>,
  Cursor: CursorClass<K, V>,
  load: OrderedLoad<K, I>,
  T: OrderedTools,
): AccessorClass {
  return class OrderedMap {
    readonly #h: ObjectHandle;
    readonly $o: number;

    constructor(h: ObjectHandle, o: number) {
      this.#h = h;
      this.$o = o | 0;
    }

    get $h(): ObjectHandle {
      return this.#h;
    }

    get size(): number {
      const h = this.#h;
      if (h.cold) h.warm();
      return B.size(h, this.$o);
    }

    has(key: K): boolean {
      K.encode(key, this.#h);
      return B.find(this.#h, this.$o) !== 0;
    }

    get(key: K): V | undefined {
      K.encode(key, this.#h);
      const at = B.find(this.#h, this.$o);
      return at === 0 ? undefined : R.value(B.search.record, at);
    }

    /** The value of the key that is stored as these bytes. */
    $value(stored: Uint8Array): V | undefined {
      T.encodeBytes(K, stored);
      const at = B.find(this.#h, this.$o);
      return at === 0 ? undefined : R.value(B.search.record, at);
    }

    /** The key that is stored as these bytes. */
    $key(stored: Uint8Array): K | undefined {
      T.encodeBytes(K, stored);
      const at = B.find(this.#h, this.$o);
      return at === 0 ? undefined : R.key(B.search.record, at);
    }

    view(key: K): ByteView | undefined {
      K.encode(key, this.#h);
      const at = B.find(this.#h, this.$o);
      if (at === 0) return undefined;
      const r = B.search.record;
      return new T.ByteView(r, R.valueAt(r, at), R.valueLength(r, at));
    }

    set(key: K, value: I): this {
      B.assign(this.#h, this.$o, key, value);
      return this;
    }

    getOrInsert(key: K, value: I): V {
      K.encode(key, this.#h);
      const at = B.find(this.#h, this.$o);
      if (at !== 0) return R.value(B.search.record, at);
      B.insert(this.#h, this.$o, value);
      return this.get(key) as V;
    }

    delete(key: K): boolean {
      K.encode(key, this.#h);
      if (B.find(this.#h, this.$o) === 0) return false;
      B.removeFound(this.#h, this.$o);
      return true;
    }

    deleteRange(range: Range<K>): number {
      const cursor = new Cursor(this.#h, this.$o, range);
      let count = 0;
      while (cursor.next()) {
        K.encode(cursor.key, this.#h);
        if (B.find(this.#h, this.$o) === 0) continue;
        B.removeFound(this.#h, this.$o);
        count++;
      }
      return count;
    }

    clear(): void {
      B.empty(this.#h, this.$o, false);
    }

    load(entries: Iterable<readonly [K, I]>): void {
      load(this.#h, this.$o, entries);
    }

    first(): [K, V] | undefined {
      for (const entry of this.entries({ limit: 1 })) return entry;
      return undefined;
    }

    last(): [K, V] | undefined {
      for (const entry of this.entries({ limit: 1, reverse: true })) return entry;
      return undefined;
    }

    cursor(range: Range<K> = {}): OrderedCursor<K, V> {
      return new Cursor(this.#h, this.$o, range);
    }

    *keys(range: Range<K> = {}): Generator<K> {
      const cursor = new Cursor(this.#h, this.$o, range);
      while (cursor.next()) yield cursor.key;
    }

    *values(range: Range<K> = {}): Generator<V> {
      const cursor = new Cursor(this.#h, this.$o, range);
      while (cursor.next()) yield cursor.value;
    }

    *entries(range: Range<K> = {}): Generator<[K, V]> {
      const cursor = new Cursor(this.#h, this.$o, range);
      while (cursor.next()) yield [cursor.key, cursor.value];
    }

    range(range: Range<K>): Generator<[K, V]> {
      return this.entries(range);
    }

    [Symbol.iterator](): Generator<[K, V]> {
      return this.entries();
    }

    count(range: Range<K> = {}): number {
      const cursor = new Cursor(this.#h, this.$o, range);
      let count = 0;
      while (cursor.next()) count++;
      return count;
    }

    forEach(callback: (value: V, key: K, map: this) => void, range: Range<K> = {}): void {
      const cursor = new Cursor(this.#h, this.$o, range);
      while (cursor.next()) callback(cursor.value, cursor.key, this);
    }

    usage(): unknown {
      return T.usage(this.#h, this.$o + T.POOL);
    }

    $assign(content: unknown): void {
      if (T.isSelf(content, this.#h, this.$o)) return;
      const all = [...(T.refuseContent(content, 'OrderedMap', true) as Iterable<readonly [K, I]>)];
      T.replace(
        this.#h,
        this.$o,
        T.HEADER,
        [T.CHANGES],
        this.size === 0,
        (at) => new OrderedMap(this.#h, at),
        (into) => {
          for (const [key, value] of all) into.set(key, value);
        },
      );
    }

    $drop(): void {
      if (this.size > 0) B.empty(this.#h, this.$o, false);
    }

    $destroy(): void {
      B.empty(this.#h, this.$o, true);
    }

    [T.INSPECT](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
      return T.inspect('OrderedMap', this.size, this.entries(), true, depth, options, inspect);
    }
  };
}

/** The type of ordered maps from `key` to `value`; see `hashMap` for what they can be. */
export function orderedMap<T extends AnyKeyType, V, I>(
  key: T,
  value: Field<V, I>,
): CollectionType<OrderedMap<KeyOf<T>, V, I>, Iterable<readonly [KeyOf<T>, I]>> {
  const keys = keyCodec(key as KeyType<KeyOf<T>>);
  const values = valueCodec(value, 'a value');
  return collectionType({
    kind: 'OrderedMap',
    name: `OrderedMap<${keys.signature}, ${value.describe.type}>`,
    signature: `OrderedMap<${keys.signature},${values.signature}>`,
    size: ORDERED_HEADER,
    shape: { size: ORDERED_HEADER, key: keys.signature, value: value.describe },
    parts: [...referencesIn(key), value],
    check: checkPairs(
      'OrderedMap',
      (key, h) => keys.encode(key, h),
      () => values.check,
    ),
    make() {
      const records = recordsOf(keys, values);
      const made = plain(values);
      const tree = treeOf(keys, records, made);
      const cursor = cursorOf(keys, records, tree);
      return specialize(makeOrderedMap<KeyOf<T>, V, I>)(keys, records, tree, cursor, loadOf(keys, records, made, tree), TOOLS);
    },
  });
}

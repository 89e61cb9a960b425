/**
 * RedBlackTree: a map in the order of its keys, a node an entry (red-black-nodes.ts).
 *
 *   header (48)   0 count  4 root  16 changes  24 pool
 *
 * Where the key's first four bytes are all of it and values have one size, the value lies in the node, at 12 or at 16 as its alignment
 * wants. Otherwise the node holds the address of a record (records.ts). Either stays in its place while the key is there.
 *
 * An ordered map is smaller and mostly faster; this is for values that are small, and for changes that must touch few bytes: a new entry
 * is linked in with a handful of words, whatever the size of the map.
 */
import type { ObjectHandle } from '../../abi/handle.ts';
import type { AccessorClass } from '../emit.ts';
import type { Field } from '../fields.ts';
import { INSPECT } from '../inspect.ts';
import { unfit, wipe } from '../runtime.ts';
import { ByteView } from './byte-view.ts';
import {
  SCRATCH,
  keyCodec,
  referencesIn,
  refusePrefix,
  type KeyCodec,
  type AnyKeyType,
  type KeyOf,
  type KeyType,
  type Scratch,
} from './keys.ts';
import type { Range } from './ordered-cursor.ts';
import { poolDestroy, poolObject, poolRelease } from './pool.ts';
import { isSelf, replaceContent } from './replace.ts';
import { recordsOf, valueCodec, type Records, type ValueCodec } from './records.ts';
import { TREE_HEADER, allocateNode, linkNode, newWay, unlinkNode } from './red-black-nodes.ts';
import { makeWalk } from './red-black-walk.ts';
import { specialize } from './specialize.ts';
import { checkPairs, damaged, inspectEntries, refuseContent, usageOf, type CollectionUsage } from './tools.ts';
import { collectionType, type CollectionType } from './type.ts';

/** A persistent map in the order of its keys, as a red-black tree. Changes belong in transactions. */
export interface RedBlackTree<K, V, I = V> extends Iterable<[K, V]> {
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
  first(): [K, V] | undefined;
  last(): [K, V] | undefined;
  /** The last entry whose key is not above this one. */
  floor(key: K): [K, V] | undefined;
  /** The first entry whose key is not below this one. */
  ceiling(key: K): [K, V] | undefined;
  keys(range?: Range<K>): IterableIterator<K>;
  values(range?: Range<K>): IterableIterator<V>;
  entries(range?: Range<K>): IterableIterator<[K, V]>;
  forEach(callback: (value: V, key: K, map: this) => void, range?: Range<K>): void;
  /** What it takes up. */
  usage(): CollectionUsage;
}

interface TreeTools {
  readonly allocate: typeof allocateNode;
  readonly release: typeof poolRelease;
  readonly object: typeof poolObject;
  readonly destroy: typeof poolDestroy;
  readonly newWay: typeof newWay;
  readonly link: typeof linkNode;
  readonly unlink: typeof unlinkNode;
  readonly wipe: typeof wipe;
  readonly unfit: typeof unfit;
  readonly refusePrefix: typeof refusePrefix;
  readonly damaged: typeof damaged;
  readonly refuseContent: typeof refuseContent;
  readonly isSelf: typeof isSelf;
  readonly replace: typeof replaceContent;
  readonly usage: typeof usageOf;
  readonly ByteView: typeof ByteView;
  readonly INSPECT: typeof INSPECT;
  readonly inspect: typeof inspectEntries;
}

const TOOLS: TreeTools = {
  allocate: allocateNode,
  release: poolRelease,
  object: poolObject,
  destroy: poolDestroy,
  newWay,
  link: linkNode,
  unlink: unlinkNode,
  wipe,
  unfit,
  refusePrefix,
  damaged,
  refuseContent,
  isSelf,
  replace: replaceContent,
  usage: usageOf,
  ByteView,
  INSPECT,
  inspect: inspectEntries,
};

/** Does the value lie in the node? */
function isInline(exact: boolean, values: { readonly size: number }): boolean {
  return exact && values.size > 0;
}

function makeRedBlackTree<K, V, I>(
  K: KeyCodec<K>,
  R: Records<K, V, I>,
  C: ValueCodec<V, I>,
  inline: boolean,
  walkOf: typeof makeWalk<K>,
  S: Scratch,
  T: TreeTools,
): AccessorClass {
  const ROOT = 4;
  const CHANGES = 16;
  const POOL = 24;
  const LEFT = 4;
  const RIGHT = 8;
  const CONTENT = 12;
  const DEPTH_MAX = 64;
  const HEADER = 48;
  const { exact } = K;
  const VALUE = inline && (C.field?.align ?? 1) > 4 ? 16 : 12;
  const NODE = inline ? VALUE + C.size : 16;
  const drops = inline ? C.drops : R.drops;

  /** Object of the value's place that was found or made last: of the record, or of the node where the value lies in it. */
  let holder: ObjectHandle | undefined;
  /** Where the last search led, and the node that it found; 0 for none. */
  const way = T.newWay();
  let found = 0;

  const offset = (address: number): number => (address & 0x3fffff) << 4;
  const object = (h: ObjectHandle, o: number, address: number): ObjectHandle => (address >>> 22 === 0 ? h : T.object(h, o + POOL, address));

  const tooDeep = (h: ObjectHandle, o: number): never => h.corrupt(o, 'the red-black tree is too deep');

  // --- searching ----------------------------------------------------------------------------------------------------------

  /** Where the value or the record of a node lies; its object in `holder`. */
  function contentOf(h: ObjectHandle, o: number, node: number): number {
    const n = object(h, o, node);
    holder = n;
    if (inline) return offset(node) + VALUE;
    const c = n.dv.getUint32(offset(node) + CONTENT, true);
    holder = object(h, o, c);
    return offset(c);
  }

  /** Is the key of the node, whose head is the scratch key's, below it (negative) or above? */
  function compareEqual(h: ObjectHandle, o: number, n: ObjectHandle, at: number): number {
    const c = n.dv.getUint32(at + CONTENT, true);
    return R.compare(object(h, o, c), offset(c));
  }

  /** The place of the scratch key's value or record, with its object in `holder`; 0 where there is none. */
  function find(h: ObjectHandle, o: number): number {
    if (h.cold) h.warm();
    try {
      return search(h, o);
    } catch (error) {
      throw T.damaged(h, o, error);
    }
  }

  function search(h: ObjectHandle, o: number): number {
    const head = R.head(0) | 0;
    let n = h;
    let { dv } = h;
    let index = 0;
    let node = dv.getInt32(o + ROOT, true);
    for (let left = DEPTH_MAX; node !== 0; left--) {
      if (node >>> 22 !== index) {
        index = node >>> 22;
        n = object(h, o, node);
        dv = n.dv;
      }
      const at = (node & 0x3fffff) << 4;
      const theirs = dv.getInt32(at, false);
      if (theirs === head) {
        const order = exact ? 0 : compareEqual(h, o, n, at);
        if (order === 0) {
          if (!inline) return contentOf(h, o, node);
          holder = n;
          return at + VALUE;
        }
        node = dv.getInt32(at + (order < 0 ? RIGHT : LEFT), true) & 0x7fffffff;
      } else {
        // The borrow of theirs - head: 1 where theirs is below. Without a branch, which would be mispredicted every other time.
        const below = ((~theirs & head) | (~(theirs ^ head) & (theirs - head))) >>> 31;
        node = dv.getInt32(at + LEFT + (below << 2), true) & 0x7fffffff;
      }
      if (left === 0) tooDeep(h, o);
    }
    return 0;
  }

  /** As `find`, and keeps the way there, for changes: `found` is the node, 0 where there is none. */
  function trace(h: ObjectHandle, o: number): boolean {
    if (h.cold) h.warm();
    try {
      return follow(h, o);
    } catch (error) {
      throw T.damaged(h, o, error);
    }
  }

  function follow(h: ObjectHandle, o: number): boolean {
    const head = R.head(0) | 0;
    const { nodes, turns } = way;
    let n = h;
    let { dv } = h;
    let index = 0;
    let depth = 0;
    let node = dv.getInt32(o + ROOT, true);
    while (node !== 0) {
      if (depth >= DEPTH_MAX) tooDeep(h, o);
      if (node >>> 22 !== index) {
        index = node >>> 22;
        n = object(h, o, node);
        dv = n.dv;
      }
      const at = (node & 0x3fffff) << 4;
      const theirs = dv.getInt32(at, false);
      let below = ((~theirs & head) | (~(theirs ^ head) & (theirs - head))) >>> 31;
      if (theirs === head) {
        const order = exact ? 0 : compareEqual(h, o, n, at);
        if (order === 0) break;
        below = order < 0 ? 1 : 0;
      }
      nodes[depth] = node;
      turns[depth++] = below;
      node = dv.getInt32(at + LEFT + (below << 2), true) & 0x7fffffff;
    }
    found = node;
    way.depth = depth;
    return node !== 0;
  }

  // --- changing -----------------------------------------------------------------------------------------------------------

  /** A record with the scratch key, and a value of text or bytes; nothing leads to it yet. */
  function newRecord(h: ObjectHandle, o: number, value: I): number {
    const c = T.allocate(h, o, R.sizeFor(value));
    try {
      R.write(object(h, o, c), offset(c));
    } catch (error) {
      T.release(h, o + POOL, c);
      throw error;
    }
    return c;
  }

  /** Makes a node with the scratch key, and a record where there are any; returns its address. Nothing leads to it yet. */
  function newNode(h: ObjectHandle, o: number, value: I): number {
    const head = R.head(0);
    const c = inline ? 0 : newRecord(h, o, value);
    let node = 0;
    try {
      node = T.allocate(h, o, NODE);
    } finally {
      if (node === 0 && c !== 0) {
        R.drop(object(h, o, c), offset(c));
        T.release(h, o + POOL, c);
      }
    }
    const n = object(h, o, node);
    const at = offset(node);
    if (n.dirty[at >>> 6] !== 1) n.mark(at);
    n.dv.setUint32(at, head, false);
    if (c !== 0) {
      if (n.dirty[(at + CONTENT) >>> 6] !== 1) n.mark(at + CONTENT);
      n.dv.setUint32(at + CONTENT, c, true);
    }
    return node;
  }

  /** Puts the key of a node into the scratch area. */
  function recall(h: ObjectHandle, o: number, node: number): void {
    const at = contentOf(h, o, node);
    if (inline) {
      S.words[0] = object(h, o, node).dv.getInt32(offset(node), true);
      S.words[1] = 0;
      S.length = S.stored = 4;
    } else R.recall(holder as ObjectHandle, at);
  }

  /** Adds an entry where `trace` has just found none. */
  function insert(h: ObjectHandle, o: number, value: I): void {
    const node = newNode(h, o, value);
    T.link(h, o, way, node);
    if (C.none || C.size === 0) return;
    const at = contentOf(h, o, node);
    const n = holder as ObjectHandle;
    try {
      C.store(n, at, value);
    } catch (error) {
      recall(h, o, node);
      if (trace(h, o) && found === node) removeFound(h, o);
      throw error;
    }
  }

  /** Nothing of the old value is touched before it is certain that the new one can be stored. To read that may run any code. */
  function replaceWhole(h: ObjectHandle, o: number, key: K, value: I): void {
    const at = contentOf(h, o, found);
    const n = holder as ObjectHandle;
    if (T.isSelf(value, n, at)) return;
    const changes = h.dv.getUint32(o + CHANGES, true);
    const checked = C.check(value, n);
    if (h.cold) h.warm();
    if (h.dv.getUint32(o + CHANGES, true) === changes) {
      refill(n, at, checked);
      return;
    }
    K.encode(key, h);
    if (!trace(h, o)) insert(h, o, checked);
    else {
      const again = contentOf(h, o, found);
      refill(holder as ObjectHandle, again, checked);
    }
  }

  function refill(n: ObjectHandle, at: number, value: I): void {
    if (!inline) {
      R.replace(n, at, value);
      return;
    }
    try {
      C.drop(n, at);
      T.wipe(n, at, C.size);
      C.store(n, at, value);
    } catch (error) {
      n.spoil(error);
      throw error;
    }
  }

  /** Stores a value over the one of the node that `trace` has just found. */
  function replace(h: ObjectHandle, o: number, key: K, value: I): void {
    if (C.whole) {
      replaceWhole(h, o, key, value);
      return;
    }
    const node = found;
    const at = contentOf(h, o, node);
    const n = holder as ObjectHandle;
    if (inline) {
      C.store(n, at, value);
      return;
    }
    if (R.replace(n, at, value)) return;
    const old = object(h, o, node).dv.getUint32(offset(node) + CONTENT, true);
    const c = newRecord(h, o, value);
    const to = object(h, o, node);
    const link = offset(node) + CONTENT;
    if (to.dirty[link >>> 6] !== 1) to.mark(link);
    to.dv.setUint32(link, c, true);
    R.drop(object(h, o, old), offset(old));
    T.release(h, o + POOL, old);
  }

  /** Deletes the entry that `trace` has just found. */
  function removeFound(h: ObjectHandle, o: number): void {
    const node = found;
    if (drops) dropValue(h, o, node);
    const c = inline ? 0 : object(h, o, node).dv.getUint32(offset(node) + CONTENT, true);
    try {
      T.unlink(h, o, way, node);
    } catch (error) {
      throw T.damaged(h, o, error);
    }
    if (c !== 0) T.release(h, o + POOL, c);
    T.release(h, o + POOL, node);
  }

  function dropValue(h: ObjectHandle, o: number, node: number): void {
    const at = contentOf(h, o, node);
    if (inline) C.drop(holder as ObjectHandle, at);
    else R.drop(holder as ObjectHandle, at);
  }

  /** Gives back what hangs under a node. */
  function clearFrom(h: ObjectHandle, o: number, node: number, whole: boolean, depth: number): void {
    if (node === 0) return;
    if (depth > DEPTH_MAX) tooDeep(h, o);
    const n = object(h, o, node);
    const at = offset(node);
    clearFrom(h, o, n.dv.getUint32(at + LEFT, true), whole, depth + 1);
    clearFrom(h, o, n.dv.getUint32(at + RIGHT, true) & 0x7fffffff, whole, depth + 1);
    if (drops) dropValue(h, o, node);
    if (whole) return;
    const c = inline ? 0 : n.dv.getUint32(at + CONTENT, true);
    if (c !== 0 && c >>> 22 === 0) h.release(offset(c));
    if (node >>> 22 === 0) h.release(at);
  }

  function empty(h: ObjectHandle, o: number, whole: boolean): void {
    if (h.cold) h.warm();
    try {
      // Objects that go as a whole are not looked at where nothing in them is owned elsewhere.
      if (drops || !whole) clearFrom(h, o, h.dv.getUint32(o + ROOT, true), whole, 0);
      T.destroy(h, o + POOL);
    } catch (error) {
      throw T.damaged(h, o, error);
    }
    h.markRange(o, POOL);
    h.dv.setUint32(o, 0, true);
    h.dv.setUint32(o + ROOT, 0, true);
    h.dv.setUint32(o + CHANGES, (h.dv.getUint32(o + CHANGES, true) + 1) >>> 0, true);
  }

  // --- walking ------------------------------------------------------------------------------------------------------------

  function keyOf(h: ObjectHandle, o: number, node: number): K {
    if (inline) return K.decode(object(h, o, node), offset(node), 4, 0);
    const at = contentOf(h, o, node);
    return R.key(holder as ObjectHandle, at);
  }

  function valueOf(h: ObjectHandle, o: number, node: number): V {
    const at = contentOf(h, o, node);
    return inline ? C.load(holder as ObjectHandle, at) : R.value(holder as ObjectHandle, at);
  }

  /** The key of a node less the scratch key. */
  function compareNode(h: ObjectHandle, o: number, node: number): number {
    const n = object(h, o, node);
    const at = offset(node);
    const head = R.head(0);
    const theirs = n.dv.getUint32(at, false);
    if (theirs !== head) return theirs < head ? -1 : 1;
    return exact ? 0 : compareEqual(h, o, n, at);
  }

  const Walk = walkOf(K, { object, offset, compareNode, recall, tooDeep }, S, T);

  // --- the map --------------------------------------------------------------------------------------------------------------

  return class RedBlackTree {
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
      return h.dv.getUint32(this.$o, true);
    }

    has(key: K): boolean {
      K.encode(key, this.#h);
      return find(this.#h, this.$o) !== 0;
    }

    get(key: K): V | undefined {
      K.encode(key, this.#h);
      const at = find(this.#h, this.$o);
      if (at === 0) return undefined;
      return inline ? C.load(holder as ObjectHandle, at) : R.value(holder as ObjectHandle, at);
    }

    view(key: K): ByteView | undefined {
      if (C.size > 0) T.unfit('view', key, 'given: only values of text and bytes have views');
      K.encode(key, this.#h);
      const at = find(this.#h, this.$o);
      if (at === 0) return undefined;
      const r = holder as ObjectHandle;
      return new T.ByteView(r, R.valueAt(r, at), R.valueLength(r, at));
    }

    set(key: K, value: I): this {
      K.encode(key, this.#h);
      if (trace(this.#h, this.$o)) replace(this.#h, this.$o, key, value);
      else insert(this.#h, this.$o, value);
      return this;
    }

    getOrInsert(key: K, value: I): V {
      K.encode(key, this.#h);
      if (!trace(this.#h, this.$o)) insert(this.#h, this.$o, value);
      return this.get(key) as V;
    }

    delete(key: K): boolean {
      K.encode(key, this.#h);
      if (!trace(this.#h, this.$o)) return false;
      removeFound(this.#h, this.$o);
      return true;
    }

    clear(): void {
      empty(this.#h, this.$o, false);
    }

    #only(range: Range<K>): [K, V] | undefined {
      for (const entry of this.entries(range)) return entry;
      return undefined;
    }

    first(): [K, V] | undefined {
      return this.#only({ limit: 1 });
    }

    last(): [K, V] | undefined {
      return this.#only({ limit: 1, reverse: true });
    }

    floor(key: K): [K, V] | undefined {
      return this.#only({ through: key, limit: 1, reverse: true });
    }

    ceiling(key: K): [K, V] | undefined {
      return this.#only({ from: key, limit: 1 });
    }

    *keys(range: Range<K> = {}): Generator<K> {
      const walk = new Walk(this.#h, this.$o, range);
      for (let node = walk.next(); node !== 0; node = walk.next()) yield keyOf(this.#h, this.$o, node);
    }

    *values(range: Range<K> = {}): Generator<V> {
      const walk = new Walk(this.#h, this.$o, range);
      for (let node = walk.next(); node !== 0; node = walk.next()) yield valueOf(this.#h, this.$o, node);
    }

    *entries(range: Range<K> = {}): Generator<[K, V]> {
      const walk = new Walk(this.#h, this.$o, range);
      for (let node = walk.next(); node !== 0; node = walk.next()) yield [keyOf(this.#h, this.$o, node), valueOf(this.#h, this.$o, node)];
    }

    [Symbol.iterator](): Generator<[K, V]> {
      return this.entries();
    }

    forEach(callback: (value: V, key: K, map: this) => void, range: Range<K> = {}): void {
      for (const [key, value] of this.entries(range)) callback(value, key, this);
    }

    usage(): unknown {
      return T.usage(this.#h, this.$o + POOL);
    }

    $assign(content: unknown): void {
      if (T.isSelf(content, this.#h, this.$o)) return;
      const all = [...(T.refuseContent(content, 'RedBlackTree', true) as Iterable<readonly [K, I]>)];
      T.replace(
        this.#h,
        this.$o,
        HEADER,
        [CHANGES],
        this.size === 0,
        (at) => new RedBlackTree(this.#h, at),
        (into) => {
          for (const [key, value] of all) into.set(key, value);
        },
      );
    }

    $drop(): void {
      if (this.size > 0) empty(this.#h, this.$o, false);
    }

    $destroy(): void {
      empty(this.#h, this.$o, true);
    }

    [T.INSPECT](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
      return T.inspect('RedBlackTree', this.size, this.entries(), true, depth, options, inspect);
    }
  };
}

/**
 * The type of red-black trees from `key` to `value`; see `hashMap` for what they can be. Numbers of up to 32 bits with values of one size
 * make the smallest nodes: 16 bytes for a value of 4.
 */
export function redBlackTree<T extends AnyKeyType, V, I>(
  key: T,
  value: Field<V, I>,
): CollectionType<RedBlackTree<KeyOf<T>, V, I>, Iterable<readonly [KeyOf<T>, I]>> {
  const keys = keyCodec(key as KeyType<KeyOf<T>>);
  const values = valueCodec(value, 'a value');
  return collectionType({
    kind: 'RedBlackTree',
    name: `RedBlackTree<${keys.signature}, ${value.describe.type}>`,
    signature: `RedBlackTree<${keys.signature},${values.signature}>`,
    size: TREE_HEADER,
    shape: { size: TREE_HEADER, key: keys.signature, value: value.describe },
    parts: [...referencesIn(key), value],
    check: checkPairs(
      'RedBlackTree',
      (key, h) => keys.encode(key, h),
      () => values.check,
    ),
    make: () =>
      specialize(makeRedBlackTree<KeyOf<T>, V, I>)(
        keys,
        recordsOf(keys, values),
        values,
        isInline(keys.exact, values),
        specialize(makeWalk<KeyOf<T>>),
        SCRATCH,
        TOOLS,
      ),
  });
}

/**
 * The B+-tree under ordered maps: leaves hold the first bytes of the keys and the addresses of the records.
 *
 *   header (48)   0 count  4 root  8 levels  12 first leaf  16 changes  20 last leaf  24 pool
 *   node          0 count (2)  2 level (2), 0 for a leaf  4 skip  8 previous leaf  12 next leaf
 *   leaf (512)    16 heads (62 x 4)   264 records (62 x 4)
 *   inner (1024)  16 heads (83 x 4)   348 separators (83 x 4)   680 children (84 x 4)
 *
 * A head is four bytes of the key as a number, taken behind the bytes that all keys which may ever lie in the node share (`skip`): what
 * the separators on both sides of the node have in common. So a search compares numbers that lie side by side, and reads a record only
 * where heads are equal. Where a key has four bytes the head is all of it. A separator is a block {length (4), bytes}; a child holds the
 * keys from its left separator on, and below its right one.
 *
 * Records do not move (records.ts).
 */
import type { ObjectHandle } from '../../abi/handle.ts';
import type { KeyCodec } from './keys.ts';
import { POOL_HEADER, poolAllocate, poolDestroy, poolObject, poolRelease } from './pool.ts';
import type { Records, ValueCodec } from './records.ts';
import { specialize } from './specialize.ts';
import { damaged } from './tools.ts';
import { carryWords, commonBytes, headOf, openWords, shutWords, type Bytes } from './words.ts';

/** Where the pool's header lies in the header. */
export const ORDERED_POOL = 24;
export const ORDERED_HEADER: number = ORDERED_POOL + POOL_HEADER;

/** What a map and its cursors ask of their tree. `o` is the offset of the header in `h`. Keys are in the scratch area. */
export interface OrderedTree<I> {
  /** Looks for the scratch key: the offset of its record, with its object in `record`, or 0. `leaf` and `index` say where it is or would be. */
  find(h: ObjectHandle, o: number): number;
  /** Object of the record that was found or made last. */
  readonly record: ObjectHandle;
  /** Address of the leaf of the last search; 0 where there is none. */
  readonly leaf: number;
  readonly index: number;
  /** Adds an entry that `find` has just not found; returns the offset of its record. */
  insert(h: ObjectHandle, o: number, value: I): number;
  assign(h: ObjectHandle, o: number, value: I): void;
  /** Deletes the entry that `find` has just found. */
  removeFound(h: ObjectHandle, o: number): void;
  /** Is the scratch key behind the last one? Then an entry can be inserted there. */
  behindLast(h: ObjectHandle, o: number): boolean;
  /** Gives back everything. `whole`: the home goes as well. */
  empty(h: ObjectHandle, o: number, whole: boolean): void;
  size(h: ObjectHandle, o: number): number;
  /** Differs after each change of what entries there are. */
  changes(h: ObjectHandle, o: number): number;
  firstLeaf(h: ObjectHandle, o: number): number;
  lastLeaf(h: ObjectHandle, o: number): number;
  /** The object that an address lies in, and where. */
  object(h: ObjectHandle, o: number, address: number): ObjectHandle;
  offset(address: number): number;
  /** Of the leaf at an offset of an object: number of entries, neighbours, and the address of a record. */
  count(n: ObjectHandle, at: number): number;
  previous(n: ObjectHandle, at: number): number;
  next(n: ObjectHandle, at: number): number;
  entry(n: ObjectHandle, at: number, i: number): number;
}

interface TreeTools {
  readonly allocate: typeof poolAllocate;
  readonly release: typeof poolRelease;
  readonly object: typeof poolObject;
  readonly destroy: typeof poolDestroy;
  readonly damaged: typeof damaged;
  readonly open: typeof openWords;
  readonly shut: typeof shutWords;
  readonly carry: typeof carryWords;
  readonly common: typeof commonBytes;
  readonly headOf: typeof headOf;
}

const TOOLS: TreeTools = {
  allocate: poolAllocate,
  release: poolRelease,
  object: poolObject,
  destroy: poolDestroy,
  damaged,
  open: openWords,
  shut: shutWords,
  carry: carryWords,
  common: commonBytes,
  headOf,
};

function makeTree<K, V, I>(K: KeyCodec<K>, R: Records<K, V, I>, C: ValueCodec<V, I>, T: TreeTools): OrderedTree<I> {
  const ROOT = 4;
  const LEVELS = 8;
  const FIRST = 12;
  const CHANGES = 16;
  const LAST = 20;
  const POOL = 24;
  const LEVEL = 2;
  const SKIP = 4;
  const PREVIOUS = 8;
  const NEXT = 12;
  const HEADS = 16;
  const LEAF = 512;
  const LEAF_MAX = 62;
  const RECORDS = HEADS + LEAF_MAX * 4;
  const INNER = 1024;
  const INNER_MAX = 83;
  /** One less is used, so that a node with one child fits in with any neighbour. */
  const INNER_FULL = INNER_MAX - 1;
  const SEPARATORS = HEADS + INNER_MAX * 4;
  const CHILDREN = SEPARATORS + INNER_MAX * 4;
  /** A node with fewer is joined with a neighbour, where both leave some room. */
  const LEAF_MIN = 16;
  const INNER_MIN = 20;
  const JOINED = 56;
  const { exact } = K;
  const { open, shut, carry, common, headOf } = T;
  const KEY = R.keyAt;

  /** The way down to the leaf of the last search: addresses, and which child was taken. */
  const path: number[] = [];
  const turns: number[] = [];
  let leaf: ObjectHandle | undefined;
  let leafAt = 0;
  let leafAddress = 0;
  /** Where the key is in the leaf, or would be. */
  let index = 0;
  /** The record that was found. */
  let record: ObjectHandle | undefined;

  const offset = (address: number): number => (address & 0x3fffff) << 4;
  const object = (h: ObjectHandle, o: number, address: number): ObjectHandle => (address >>> 22 === 0 ? h : T.object(h, o + POOL, address));

  function put(h: ObjectHandle, at: number, value: number): void {
    if (h.dirty[at >>> 6] !== 1) h.mark(at);
    h.dv.setUint32(at, value, true);
  }

  function put16(h: ObjectHandle, at: number, value: number): void {
    if (h.dirty[at >>> 6] !== 1) h.mark(at);
    h.dv.setUint16(at, value, true);
  }

  function changed(h: ObjectHandle, o: number): void {
    put(h, o + CHANGES, (h.dv.getUint32(o + CHANGES, true) + 1) >>> 0);
  }

  // --- searching ----------------------------------------------------------------------------------------------------------

  /** Number of heads below `head` in an array of `count` at `at`. */
  function below(dv: DataView, at: number, count: number, head: number): number {
    let low = 0;
    while (count > 0) {
      const half = count >>> 1;
      if (dv.getUint32(at + (low + half) * 4, true) < head) {
        low += half + 1;
        count -= half + 1;
      } else count = half;
    }
    return low;
  }

  /** Which child of an inner node holds the scratch key. */
  function childFor(h: ObjectHandle, o: number, n: ObjectHandle, at: number): number {
    const { dv } = n;
    const count = dv.getUint16(at, true);
    const head = R.head(dv.getUint32(at + SKIP, true));
    let i = below(dv, at + HEADS, count, head);
    if (exact) return i < count && dv.getUint32(at + HEADS + i * 4, true) === head ? i + 1 : i;
    while (i < count && dv.getUint32(at + HEADS + i * 4, true) === head) {
      const separator = dv.getUint32(at + SEPARATORS + i * 4, true);
      const b = object(h, o, separator);
      if (R.compareKey(b, offset(separator) + 4, b.dv.getUint32(offset(separator), true)) > 0) break;
      i++;
    }
    return i;
  }

  /** Goes down to the leaf for the scratch key. False where there are no leaves. */
  function descend(h: ObjectHandle, o: number): boolean {
    const { dv } = h;
    let address = dv.getUint32(o + ROOT, true);
    const levels = dv.getUint32(o + LEVELS, true);
    if (levels === 0) return false;
    if (levels > 12) h.corrupt(o, 'an ordered map has too many levels');
    let n = object(h, o, address);
    for (let level = levels - 1, depth = 0; level > 0; level--, depth++) {
      const at = offset(address);
      const turn = childFor(h, o, n, at);
      path[depth] = address;
      turns[depth] = turn;
      address = n.dv.getUint32(at + CHILDREN + turn * 4, true);
      n = object(h, o, address);
    }
    leaf = n;
    leafAddress = address;
    leafAt = offset(address);
    return true;
  }

  /** Looks for the scratch key in the leaf: sets `index`; the record's offset, with its object in `record`, or 0. */
  function inLeaf(h: ObjectHandle, o: number): number {
    const n = leaf as ObjectHandle;
    const at = leafAt;
    const { dv } = n;
    const count = dv.getUint16(at, true);
    const head = R.head(dv.getUint32(at + SKIP, true));
    let i = below(dv, at + HEADS, count, head);
    for (; i < count && dv.getUint32(at + HEADS + i * 4, true) === head; i++) {
      const c = dv.getUint32(at + RECORDS + i * 4, true);
      const r = object(h, o, c);
      const order = exact ? 0 : R.compare(r, offset(c));
      if (order < 0) continue;
      index = i;
      if (order > 0) return 0;
      record = r;
      return offset(c);
    }
    index = i;
    return 0;
  }

  function find(h: ObjectHandle, o: number): number {
    if (h.cold) h.warm();
    try {
      if (descend(h, o)) return inLeaf(h, o);
      leafAddress = 0;
      index = 0;
      return 0;
    } catch (error) {
      throw T.damaged(h, o, error);
    }
  }

  // --- separators and skips -------------------------------------------------------------------------------------------------

  function keyOfRecord(h: ObjectHandle, o: number, c: number): Bytes {
    const r = object(h, o, c);
    const at = offset(c);
    const length = R.keyLength(r, at);
    return { h: r, at: at + KEY, length: K.compared === undefined ? length : K.compared(r, at + KEY, length) };
  }

  function separatorKey(h: ObjectHandle, o: number, address: number): Bytes {
    const b = object(h, o, address);
    return { h: b, at: offset(address) + 4, length: b.dv.getUint32(offset(address), true) };
  }

  /** Address of a block with the shortest key that is above `low` and not above `high`; 0 where heads say it all. */
  function newSeparator(h: ObjectHandle, o: number, lowRecord: number, highRecord: number): number {
    if (exact) return 0;
    const shared = common(keyOfRecord(h, o, lowRecord), keyOfRecord(h, o, highRecord));
    const length = Math.min(keyOfRecord(h, o, highRecord).length, shared + 1);
    const address = T.allocate(h, o + POOL, Math.max(16, 4 + ((length + 3) & ~3)));
    const b = object(h, o, address);
    const at = offset(address);
    b.markRange(at, 4 + length);
    const high = keyOfRecord(h, o, highRecord);
    b.dv.setUint32(at, length, true);
    for (let i = 0; i < length; i++) b.dv.setUint8(at + 4 + i, high.h.dv.getUint8(high.at + i));
    return address;
  }

  /** The separator to the left (`side` 0) or right (1) of what the path leads to below `depth`; 0 where there is none. */
  function fence(h: ObjectHandle, o: number, depth: number, side: 0 | 1): number {
    for (let d = depth - 1; d >= 0; d--) {
      const address = path[d] as number;
      const n = object(h, o, address);
      const at = offset(address);
      const i = (turns[d] as number) - 1 + side;
      if (i >= 0 && i < n.dv.getUint16(at, true)) return n.dv.getUint32(at + SEPARATORS + i * 4, true);
    }
    return 0;
  }

  function skipBetween(h: ObjectHandle, o: number, low: number, high: number): number {
    if (exact || low === 0 || high === 0) return 0;
    return common(separatorKey(h, o, low), separatorKey(h, o, high));
  }

  /** Gives a node another skip, and its heads anew. */
  function setSkip(h: ObjectHandle, o: number, address: number, skip: number): void {
    const n = object(h, o, address);
    const at = offset(address);
    if (n.dv.getUint32(at + SKIP, true) === skip) return;
    put(n, at + SKIP, skip);
    const count = n.dv.getUint16(at, true);
    const isLeaf = n.dv.getUint16(at + LEVEL, true) === 0;
    n.markRange(at + HEADS, count * 4 + 1);
    for (let i = 0; i < count; i++) {
      const c = n.dv.getUint32(at + (isLeaf ? RECORDS : SEPARATORS) + i * 4, true);
      const key = isLeaf ? keyOfRecord(h, o, c) : separatorKey(h, o, c);
      n.dv.setUint32(at + HEADS + i * 4, headOf(key, skip), true);
    }
  }

  // --- inserting ----------------------------------------------------------------------------------------------------------

  function newNode(h: ObjectHandle, o: number, level: number, skip: number): number {
    const address = T.allocate(h, o + POOL, level === 0 ? LEAF : INNER);
    const n = object(h, o, address);
    const at = offset(address);
    n.markRange(at, HEADS);
    n.dv.setUint16(at + LEVEL, level, true);
    n.dv.setUint32(at + SKIP, skip, true);
    return address;
  }

  /** Enters a record where `find` has just not found its key. The scratch key is its key. */
  function enter(h: ObjectHandle, o: number, c: number): void {
    if (h.dv.getUint32(o + LEVELS, true) === 0) {
      const root = newNode(h, o, 0, 0);
      put(h, o + ROOT, root);
      put(h, o + FIRST, root);
      put(h, o + LAST, root);
      put(h, o + LEVELS, 1);
      descend(h, o);
      index = 0;
    } else if ((leaf as ObjectHandle).dv.getUint16(leafAt, true) === LEAF_MAX) splitLeaf(h, o, c);
    const n = leaf as ObjectHandle;
    const at = leafAt;
    const count = n.dv.getUint16(at, true);
    open(n, at + HEADS, index, count);
    open(n, at + RECORDS, index, count);
    n.dv.setUint32(at + HEADS + index * 4, R.head(n.dv.getUint32(at + SKIP, true)), true);
    n.dv.setUint32(at + RECORDS + index * 4, c, true);
    put16(n, at, count + 1);
    put(h, o, h.dv.getUint32(o, true) + 1);
    changed(h, o);
  }

  /** Splits the full leaf of the last search, and puts `leaf` and `index` where the scratch key, of record `c`, belongs. */
  function splitLeaf(h: ObjectHandle, o: number, c: number): void {
    const depth = h.dv.getUint32(o + LEVELS, true) - 1;
    const left = leafAddress;
    const l = leaf as ObjectHandle;
    const at = leafAt;
    const after = l.dv.getUint32(at + NEXT, true);
    // Behind the last key of all: ascending keys fill their leaves.
    const split = after === 0 && index === LEAF_MAX ? LEAF_MAX : LEAF_MAX >>> 1;
    const lowRecord = l.dv.getUint32(at + RECORDS + (split - 1) * 4, true);
    const highRecord = split === LEAF_MAX ? c : l.dv.getUint32(at + RECORDS + split * 4, true);
    const lowFence = fence(h, o, depth, 0);
    const highFence = fence(h, o, depth, 1);
    const separator = newSeparator(h, o, lowRecord, highRecord);
    const right = newNode(h, o, 0, l.dv.getUint32(at + SKIP, true));
    const r = object(h, o, right);
    const rightAt = offset(right);
    carry(l, at + HEADS + split * 4, r, rightAt + HEADS, LEAF_MAX - split);
    carry(l, at + RECORDS + split * 4, r, rightAt + RECORDS, LEAF_MAX - split);
    put16(l, at, split);
    put16(r, rightAt, LEAF_MAX - split);
    put(r, rightAt + PREVIOUS, left);
    put(r, rightAt + NEXT, after);
    put(l, at + NEXT, right);
    if (after === 0) put(h, o + LAST, right);
    else put(object(h, o, after), offset(after) + PREVIOUS, right);
    setSkip(h, o, left, skipBetween(h, o, lowFence, separator));
    setSkip(h, o, right, skipBetween(h, o, separator, highFence));
    const head = exact ? headOfExact(h, o, highRecord) : 0;
    addChild(h, o, depth - 1, left, separator, head, right);
    if (index >= split && !(index === split && split < LEAF_MAX && belongsLeft(h, o, separator, head))) {
      leaf = object(h, o, right);
      leafAddress = right;
      leafAt = rightAt;
      index -= split;
    }
  }

  /** Is the scratch key below a separator? */
  function belongsLeft(h: ObjectHandle, o: number, separator: number, head: number): boolean {
    if (exact) return R.head(0) < head;
    const b = object(h, o, separator);
    return R.compareKey(b, offset(separator) + 4, b.dv.getUint32(offset(separator), true)) > 0;
  }

  function headOfExact(h: ObjectHandle, o: number, c: number): number {
    return object(h, o, c).dv.getUint32(offset(c) + KEY, false);
  }

  /** Enters a child to the right of the one that the path took at `depth`; -1: above the root. */
  function addChild(h: ObjectHandle, o: number, depth: number, left: number, separator: number, key: number, right: number): void {
    if (depth < 0) {
      const level = h.dv.getUint32(o + LEVELS, true);
      const root = newNode(h, o, level, 0);
      const n = object(h, o, root);
      const at = offset(root);
      put(n, at + CHILDREN, left);
      put(h, o + ROOT, root);
      put(h, o + LEVELS, level + 1);
      path.unshift(root);
      turns.unshift(0);
      depth = 0;
    } else if (object(h, o, path[depth] as number).dv.getUint16(offset(path[depth] as number), true) >= INNER_FULL) {
      const levels = h.dv.getUint32(o + LEVELS, true);
      splitInner(h, o, depth);
      // A new root came before the path.
      depth += h.dv.getUint32(o + LEVELS, true) - levels;
    }
    const address = path[depth] as number;
    const n = object(h, o, address);
    const at = offset(address);
    const i = turns[depth] as number;
    const count = n.dv.getUint16(at, true);
    open(n, at + HEADS, i, count);
    open(n, at + SEPARATORS, i, count);
    open(n, at + CHILDREN, i + 1, count + 1);
    const skip = n.dv.getUint32(at + SKIP, true);
    n.dv.setUint32(at + HEADS + i * 4, exact ? key : headOf(separatorKey(h, o, separator), skip), true);
    n.dv.setUint32(at + SEPARATORS + i * 4, separator, true);
    n.dv.setUint32(at + CHILDREN + (i + 1) * 4, right, true);
    put16(n, at, count + 1);
  }

  /** Does the path lead along the right edge down to `depth`? */
  function isRightmost(h: ObjectHandle, o: number, depth: number): boolean {
    for (let d = 0; d < depth; d++) {
      const address = path[d] as number;
      if (turns[d] !== object(h, o, address).dv.getUint16(offset(address), true)) return false;
    }
    return true;
  }

  /** Splits the full inner node at `depth` of the path, and corrects the path. */
  function splitInner(h: ObjectHandle, o: number, depth: number): void {
    const left = path[depth] as number;
    const l = object(h, o, left);
    const at = offset(left);
    const turn = turns[depth] as number;
    const count = l.dv.getUint16(at, true);
    // Behind the last child of all: ascending keys fill their nodes.
    const split = turn === count && isRightmost(h, o, depth) ? count - 1 : count >>> 1;
    const level = l.dv.getUint16(at + LEVEL, true);
    const lowFence = fence(h, o, depth, 0);
    const highFence = fence(h, o, depth, 1);
    const right = newNode(h, o, level, l.dv.getUint32(at + SKIP, true));
    const r = object(h, o, right);
    const rightAt = offset(right);
    const separator = l.dv.getUint32(at + SEPARATORS + split * 4, true);
    const head = l.dv.getUint32(at + HEADS + split * 4, true);
    const moved = count - split - 1;
    carry(l, at + HEADS + (split + 1) * 4, r, rightAt + HEADS, moved);
    carry(l, at + SEPARATORS + (split + 1) * 4, r, rightAt + SEPARATORS, moved);
    carry(l, at + CHILDREN + (split + 1) * 4, r, rightAt + CHILDREN, moved + 1);
    put(l, at + HEADS + split * 4, 0);
    put(l, at + SEPARATORS + split * 4, 0);
    put16(l, at, split);
    put16(r, rightAt, moved);
    setSkip(h, o, left, skipBetween(h, o, lowFence, separator));
    setSkip(h, o, right, skipBetween(h, o, separator, highFence));
    const levelsBefore = h.dv.getUint32(o + LEVELS, true);
    addChild(h, o, depth - 1, left, separator, head, right);
    // A new root came before the path, or the parent was split.
    const here = depth + (h.dv.getUint32(o + LEVELS, true) - levelsBefore);
    if (turn > split) {
      path[here] = right;
      turns[here] = turn - split - 1;
      if (here > 0) turns[here - 1] = (turns[here - 1] as number) + 1;
    }
  }

  // --- removing -----------------------------------------------------------------------------------------------------------

  /** Takes the entry at `index` of the leaf of the last search out. */
  function vacate(h: ObjectHandle, o: number): void {
    const n = leaf as ObjectHandle;
    const at = leafAt;
    const count = n.dv.getUint16(at, true);
    shut(n, at + HEADS, index, count);
    shut(n, at + RECORDS, index, count);
    put16(n, at, count - 1);
    put(h, o, h.dv.getUint32(o, true) - 1);
    changed(h, o);
    if (count - 1 < LEAF_MIN) joinLeaf(h, o);
  }

  function joinLeaf(h: ObjectHandle, o: number): void {
    const levels = h.dv.getUint32(o + LEVELS, true);
    const count = (leaf as ObjectHandle).dv.getUint16(leafAt, true);
    if (levels === 1) {
      if (count > 0) return;
      T.release(h, o + POOL, leafAddress);
      for (const at of [ROOT, LEVELS, FIRST, LAST]) put(h, o + at, 0);
      return;
    }
    join(h, o, levels - 2, 0);
  }

  /** Joins the child that the path took at `depth` with a neighbour, if they fit one node. */
  function join(h: ObjectHandle, o: number, depth: number, level: number): void {
    const parent = path[depth] as number;
    const p = object(h, o, parent);
    const at = offset(parent);
    const turn = turns[depth] as number;
    const count = p.dv.getUint16(at, true);
    for (const i of [turn - 1, turn]) {
      if (i < 0 || i >= count) continue;
      const left = p.dv.getUint32(at + CHILDREN + i * 4, true);
      const right = p.dv.getUint32(at + CHILDREN + (i + 1) * 4, true);
      const l = object(h, o, left);
      const r = object(h, o, right);
      const a = l.dv.getUint16(offset(left), true);
      const b = r.dv.getUint16(offset(right), true);
      const extra = level === 0 ? 0 : 1;
      const few = a + extra <= 1 || b + extra <= 1;
      if (a + b + extra > (few ? (level === 0 ? LEAF_MAX : INNER_MAX) : JOINED)) continue;
      absorb(h, o, depth, i, level);
      return;
    }
  }

  /** Puts child i + 1 of a node of the path into child i. */
  function absorb(h: ObjectHandle, o: number, depth: number, i: number, level: number): void {
    const parent = path[depth] as number;
    const p = object(h, o, parent);
    const at = offset(parent);
    const left = p.dv.getUint32(at + CHILDREN + i * 4, true);
    const right = p.dv.getUint32(at + CHILDREN + (i + 1) * 4, true);
    const separator = p.dv.getUint32(at + SEPARATORS + i * 4, true);
    const head = p.dv.getUint32(at + HEADS + i * 4, true);
    turns[depth] = i;
    const lowFence = fence(h, o, depth + 1, 0);
    turns[depth] = i + 1;
    const highFence = fence(h, o, depth + 1, 1);
    turns[depth] = i;
    const skip = skipBetween(h, o, lowFence, highFence);
    // One skip for both, so that their heads mean the same.
    setSkip(h, o, left, skip);
    setSkip(h, o, right, skip);
    const l = object(h, o, left);
    const r = object(h, o, right);
    const leftAt = offset(left);
    const rightAt = offset(right);
    const a = l.dv.getUint16(leftAt, true);
    const b = r.dv.getUint16(rightAt, true);
    if (level === 0) {
      carry(r, rightAt + HEADS, l, leftAt + HEADS + a * 4, b);
      carry(r, rightAt + RECORDS, l, leftAt + RECORDS + a * 4, b);
      put16(l, leftAt, a + b);
      const after = r.dv.getUint32(rightAt + NEXT, true);
      put(l, leftAt + NEXT, after);
      if (after === 0) put(h, o + LAST, left);
      else put(object(h, o, after), offset(after) + PREVIOUS, left);
      if (separator !== 0) T.release(h, o + POOL, separator);
    } else {
      put(l, leftAt + HEADS + a * 4, exact ? head : headOf(separatorKey(h, o, separator), skip));
      put(l, leftAt + SEPARATORS + a * 4, separator);
      carry(r, rightAt + HEADS, l, leftAt + HEADS + (a + 1) * 4, b);
      carry(r, rightAt + SEPARATORS, l, leftAt + SEPARATORS + (a + 1) * 4, b);
      carry(r, rightAt + CHILDREN, l, leftAt + CHILDREN + (a + 1) * 4, b + 1);
      put16(l, leftAt, a + b + 1);
    }
    T.release(h, o + POOL, right);
    const count = p.dv.getUint16(at, true);
    shut(p, at + HEADS, i, count);
    shut(p, at + SEPARATORS, i, count);
    shut(p, at + CHILDREN, i + 1, count + 1);
    put16(p, at, count - 1);
    if (depth === 0) {
      if (count - 1 > 0) return;
      put(h, o + ROOT, left);
      put(h, o + LEVELS, h.dv.getUint32(o + LEVELS, true) - 1);
      T.release(h, o + POOL, parent);
    } else if (count - 1 < INNER_MIN) join(h, o, depth - 1, level + 1);
  }

  // --- changing -----------------------------------------------------------------------------------------------------------

  /** Adds an entry that `find` has just not found; its record is in `record`, its offset is returned. */
  function insert(h: ObjectHandle, o: number, value: I): number {
    const c = T.allocate(h, o + POOL, R.sizeFor(value));
    const r = object(h, o, c);
    const at = offset(c);
    R.write(r, at);
    enter(h, o, c);
    record = r;
    if (C.size === 0) return at;
    try {
      C.store(r, at, value);
    } catch (error) {
      R.recall(r, at);
      if (find(h, o) === at) {
        R.drop(r, at);
        vacate(h, o);
        T.release(h, o + POOL, c);
      }
      throw error;
    }
    record = r;
    return at;
  }

  function assign(h: ObjectHandle, o: number, value: I): void {
    const at = find(h, o);
    if (at === 0) {
      insert(h, o, value);
      return;
    }
    if (R.replace(record as ObjectHandle, at, value)) return;
    const n = leaf as ObjectHandle;
    const slot = leafAt + RECORDS + index * 4;
    const old = n.dv.getUint32(slot, true);
    const c = T.allocate(h, o + POOL, R.sizeFor(value));
    R.write(object(h, o, c), offset(c));
    put(n, slot, c);
    T.release(h, o + POOL, old);
    changed(h, o);
  }

  /** Deletes the entry that `find` has just found. */
  function removeFound(h: ObjectHandle, o: number): void {
    const c = (leaf as ObjectHandle).dv.getUint32(leafAt + RECORDS + index * 4, true);
    if (C.drops) R.drop(object(h, o, c), offset(c));
    vacate(h, o);
    T.release(h, o + POOL, c);
  }

  /** Is the scratch key behind the last one? Then `leaf` and `index` are at the end. */
  function behindLast(h: ObjectHandle, o: number): boolean {
    const address = h.dv.getUint32(o + LAST, true);
    if (address === 0) return true;
    const n = object(h, o, address);
    const at = offset(address);
    const count = n.dv.getUint16(at, true);
    const c = n.dv.getUint32(at + RECORDS + (count - 1) * 4, true);
    if (count > 0 && R.compare(object(h, o, c), offset(c)) >= 0) return false;
    leaf = n;
    leafAddress = address;
    leafAt = at;
    index = count;
    if (count < LEAF_MAX) return true;
    // It will be split: the path is needed.
    descend(h, o);
    index = count;
    return true;
  }

  /** Visits each node, children first. */
  function nodes(h: ObjectHandle, o: number, address: number, level: number, visit: (address: number, level: number) => void): void {
    if (level > 0) {
      const n = object(h, o, address);
      const count = n.dv.getUint16(offset(address), true);
      for (let i = 0; i <= count; i++) nodes(h, o, n.dv.getUint32(offset(address) + CHILDREN + i * 4, true), level - 1, visit);
    }
    visit(address, level);
  }

  function empty(h: ObjectHandle, o: number, whole: boolean): void {
    if (h.cold) h.warm();
    const { drops } = C;
    const levels = h.dv.getUint32(o + LEVELS, true);
    if (levels > 0)
      nodes(h, o, h.dv.getUint32(o + ROOT, true), levels - 1, (address, level) => {
        const n = object(h, o, address);
        const at = offset(address);
        const count = n.dv.getUint16(at, true);
        for (let i = 0; i < count; i++) {
          const c = n.dv.getUint32(at + (level === 0 ? RECORDS : SEPARATORS) + i * 4, true);
          if (level === 0 && drops) R.drop(object(h, o, c), offset(c));
          if (c !== 0 && c >>> 22 === 0 && !whole) h.release(offset(c));
        }
        if (address >>> 22 === 0 && !whole) h.release(at);
      });
    T.destroy(h, o + POOL);
    for (const at of [0, ROOT, LEVELS, FIRST, LAST]) put(h, o + at, 0);
    changed(h, o);
  }

  return {
    find,
    get record() {
      return record as ObjectHandle;
    },
    get leaf() {
      return leafAddress;
    },
    get index() {
      return index;
    },
    insert,
    assign,
    removeFound,
    behindLast,
    empty,
    size: (h, o) => h.dv.getUint32(o, true),
    changes: (h, o) => h.dv.getUint32(o + CHANGES, true),
    firstLeaf: (h, o) => h.dv.getUint32(o + FIRST, true),
    lastLeaf: (h, o) => h.dv.getUint32(o + LAST, true),
    object,
    offset,
    count: (n, at) => n.dv.getUint16(at, true),
    previous: (n, at) => n.dv.getUint32(at + PREVIOUS, true),
    next: (n, at) => n.dv.getUint32(at + NEXT, true),
    entry: (n, at, i) => n.dv.getUint32(at + RECORDS + i * 4, true),
  };
}

/** The tree of one type of map, compiled for it. */
export function treeOf<K, V, I>(keys: KeyCodec<K>, records: Records<K, V, I>, values: ValueCodec<V, I>): OrderedTree<I> {
  return specialize(makeTree<K, V, I>)(keys, records, values, TOOLS);
}

/**
 * The B+-tree under ordered maps: its layout, and searching in it.
 *
 *   header (48)   0 count  4 root  8 levels  12 first leaf  16 changes  20 last leaf  24 pool
 *   node          0 count (2)  2 level (2), 0 for a leaf  4 skip  8 previous leaf  12 next leaf
 *   leaf (512)    16 heads (62 x 4)   264 records (62 x 4)
 *   inner (1024)  16 heads (83 x 4)   348 separators (83 x 4)   680 children (84 x 4)
 *
 * A head is four bytes of the key as a number, taken behind the bytes that all keys which may lie in the node share (`skip`): what the
 * separators on both sides of the node have in common, or at an edge of the tree the lowest or highest key. (A key beyond those is looked
 * for in the wrong place, and is not there either. Before one is added, the edge's nodes are given what they share with it.) So a search compares numbers that lie side by side, and reads a record only
 * where heads are equal. Where a key has four bytes the head is all of it. A separator is a block {length (4), bytes}; a child holds the
 * keys from its left separator on, and below its right one.
 *
 * Records do not move (records.ts).
 */
import type { ObjectHandle } from '../../abi/handle.ts';
import type { KeyCodec } from './keys.ts';
import { membersOf, poolAllocate } from './pool.ts';
import type { Records } from './records.ts';
import { specialize } from './specialize.ts';
import { damaged } from './tools.ts';
import { commonBytes, headOf, type Bytes } from './words.ts';

/** Offsets and sizes of headers and nodes, in bytes; how many a node holds. */
export const TREE = {
  ROOT: 4,
  LEVELS: 8,
  FIRST: 12,
  CHANGES: 16,
  LAST: 20,
  POOL: 24,
  LEVEL: 2,
  SKIP: 4,
  PREVIOUS: 8,
  NEXT: 12,
  HEADS: 16,
  LEAF: 512,
  LEAF_MAX: 62,
  RECORDS: 16 + 62 * 4,
  INNER: 1024,
  INNER_MAX: 83,
  SEPARATORS: 16 + 83 * 4,
  CHILDREN: 16 + 2 * 83 * 4,
} as const;

/** Searching, and where the last search led. `o` is the offset of the header in `h`. Keys are in the scratch area. */
export interface TreeSearch {
  /** The way down to the leaf: addresses, and which child was taken. */
  readonly path: number[];
  readonly turns: number[];
  leaf: ObjectHandle;
  leafAt: number;
  /** 0 where there is none. */
  leafAddress: number;
  /** Where the key is in the leaf, or would be. */
  index: number;
  /** Records of the lowest and highest keys: the fences of the nodes at the edges. 0 where unknown. */
  lowest: number;
  highest: number;
  /** How many bytes the scratch key, which is above all others, shares with the highest; -1 where that is not known. */
  above: number;
  /** Object of the record that was found. */
  record: ObjectHandle;
  readonly object: (h: ObjectHandle, o: number, address: number) => ObjectHandle;
  readonly offset: (address: number) => number;
  readonly put: (h: ObjectHandle, at: number, value: number) => void;
  readonly put16: (h: ObjectHandle, at: number, value: number) => void;
  readonly changed: (h: ObjectHandle, o: number) => void;
  /** Goes down to the leaf for the scratch key. False where there are no leaves. */
  readonly descend: (h: ObjectHandle, o: number) => boolean;
  /** Goes down to the last leaf. */
  readonly descendLast: (h: ObjectHandle, o: number) => boolean;
  readonly find: (h: ObjectHandle, o: number) => number;
  readonly separatorKey: (h: ObjectHandle, o: number, address: number) => Bytes;
  /** Address of a block with the shortest key that is above `low` and not above `high`; 0 where heads say it all. */
  readonly newSeparator: (h: ObjectHandle, o: number, lowRecord: number, highRecord: number) => number;
  /** The separator to the left (`side` 0) or right (1) of what the path leads to below `depth`; 0 where there is none. */
  readonly fence: (h: ObjectHandle, o: number, depth: number, side: 0 | 1) => number;
  /** The bytes that all keys between two separators share; where one is missing, all keys that are there. */
  readonly skipBetween: (h: ObjectHandle, o: number, low: number, high: number) => number;
  /** Sets `lowest` and `highest`. `c`: the record of the scratch key, if that counts as well. True where it lies outside of the others. */
  readonly limits: (h: ObjectHandle, o: number, c: number) => boolean;
  /** Is there a node on the path whose keys share more than `shared` bytes? */
  readonly sharesMore: (h: ObjectHandle, o: number, shared: number) => boolean;
  /** The scratch key, of record `c`, is the lowest or highest of all: the nodes at that edge may share fewer bytes with it. */
  readonly widen: (h: ObjectHandle, o: number, c: number) => void;
  /** Gives a node another skip, and its heads anew. */
  readonly setSkip: (h: ObjectHandle, o: number, address: number, skip: number) => void;
}

interface SearchTools {
  readonly allocate: typeof poolAllocate;
  readonly members: typeof membersOf;
  readonly damaged: typeof damaged;
  readonly common: typeof commonBytes;
  readonly headOf: typeof headOf;
  readonly TREE: typeof TREE;
  readonly nothing: () => ObjectHandle;
}

const TOOLS: SearchTools = {
  allocate: poolAllocate,
  members: membersOf,
  damaged,
  common: commonBytes,
  headOf,
  TREE,
  /** Stands for the handle of a search that has not been. */
  nothing: () => Object.create(null),
};

function makeSearch<K, V, I>(K: KeyCodec<K>, R: Records<K, V, I>, T: SearchTools): TreeSearch {
  const { ROOT, LEVELS, FIRST, CHANGES, LAST, POOL, LEVEL, SKIP, HEADS, RECORDS, SEPARATORS, CHILDREN } = T.TREE;
  const { common, headOf } = T;
  const { exact } = K;
  const KEY = R.keyAt;

  const offset = (address: number): number => (address & 0x3fffff) << 4;
  const object = T.members(POOL);

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
    let low = below(dv, at + HEADS, count, head);
    if (low === count || dv.getUint32(at + HEADS + low * 4, true) !== head) return low;
    if (exact) return low + 1;
    for (let high = behindEqual(dv, at, count, low, head); low < high;) {
      const middle = (low + high) >>> 1;
      const separator = dv.getUint32(at + SEPARATORS + middle * 4, true);
      const b = object(h, o, separator);
      if (R.compareKey(b, offset(separator) + 4, b.dv.getUint32(offset(separator), true)) > 0) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Where the heads equal to `head`, which begin at `low`, end. */
  function behindEqual(dv: DataView, at: number, count: number, low: number, head: number): number {
    if (low + 1 === count || dv.getUint32(at + HEADS + (low + 1) * 4, true) !== head) return low + 1;
    return head === 0xffffffff ? count : below(dv, at + HEADS, count, head + 1);
  }

  /** Goes down to the F.leaf for the scratch key. False where there are no leaves. */
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
      F.path[depth] = address;
      F.turns[depth] = turn;
      address = n.dv.getUint32(at + CHILDREN + turn * 4, true);
      n = object(h, o, address);
    }
    F.leaf = n;
    F.leafAddress = address;
    F.leafAt = offset(address);
    return true;
  }

  function descendLast(h: ObjectHandle, o: number): boolean {
    let address = h.dv.getUint32(o + ROOT, true);
    const levels = h.dv.getUint32(o + LEVELS, true);
    if (levels === 0) return false;
    if (levels > 12) h.corrupt(o, 'an ordered map has too many levels');
    let n = object(h, o, address);
    for (let depth = 0; depth < levels - 1; depth++) {
      const at = offset(address);
      const turn = n.dv.getUint16(at, true);
      F.path[depth] = address;
      F.turns[depth] = turn;
      address = n.dv.getUint32(at + CHILDREN + turn * 4, true);
      n = object(h, o, address);
    }
    F.leaf = n;
    F.leafAddress = address;
    F.leafAt = offset(address);
    return true;
  }

  /** Looks for the scratch key in the leaf: sets `F.index`; the F.record's offset, with its object in `F.record`, or 0. */
  function inLeaf(h: ObjectHandle, o: number): number {
    const n = F.leaf;
    const at = F.leafAt;
    const { dv } = n;
    const count = dv.getUint16(at, true);
    const head = R.head(dv.getUint32(at + SKIP, true));
    let low = below(dv, at + HEADS, count, head);
    F.index = low;
    if (low === count || dv.getUint32(at + HEADS + low * 4, true) !== head) return 0;
    let high = exact ? low : behindEqual(dv, at, count, low, head);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const c = dv.getUint32(at + RECORDS + middle * 4, true);
      const r = object(h, o, c);
      const order = R.compare(r, offset(c));
      if (order === 0) {
        F.index = middle;
        F.record = r;
        return offset(c);
      }
      if (order > 0) high = middle;
      else low = middle + 1;
    }
    F.index = low;
    if (!exact) return 0;
    const c = dv.getUint32(at + RECORDS + low * 4, true);
    F.record = object(h, o, c);
    return offset(c);
  }

  function find(h: ObjectHandle, o: number): number {
    if (h.cold) h.warm();
    F.above = -1;
    try {
      if (descend(h, o)) return inLeaf(h, o);
      F.leafAddress = 0;
      F.index = 0;
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

  /** The separator to the left (`side` 0) or right (1) of what the F.path leads to below `depth`; 0 where there is none. */
  function fence(h: ObjectHandle, o: number, depth: number, side: 0 | 1): number {
    for (let d = depth - 1; d >= 0; d--) {
      const address = F.path[d] as number;
      const n = object(h, o, address);
      const at = offset(address);
      const i = (F.turns[d] as number) - 1 + side;
      if (i >= 0 && i < n.dv.getUint16(at, true)) return n.dv.getUint32(at + SEPARATORS + i * 4, true);
    }
    return 0;
  }

  /** The bytes that all keys between two separators share; where one is missing, all keys that are there. */
  function skipBetween(h: ObjectHandle, o: number, low: number, high: number): number {
    if (exact || (low === 0 && F.lowest === 0) || (high === 0 && F.highest === 0)) return 0;
    return common(
      low === 0 ? keyOfRecord(h, o, F.lowest) : separatorKey(h, o, low),
      high === 0 ? keyOfRecord(h, o, F.highest) : separatorKey(h, o, high),
    );
  }

  /** Sets `F.lowest` and `F.highest`. `c`: the F.record of the scratch key, if that counts as well. True where it lies outside of the others. */
  function limits(h: ObjectHandle, o: number, c: number): boolean {
    const first = h.dv.getUint32(o + FIRST, true);
    const last = h.dv.getUint32(o + LAST, true);
    const count = object(h, o, last).dv.getUint16(offset(last), true);
    F.lowest = object(h, o, first).dv.getUint32(offset(first) + RECORDS, true);
    F.highest = count === 0 ? 0 : object(h, o, last).dv.getUint32(offset(last) + RECORDS + (count - 1) * 4, true);
    if (c === 0 || F.lowest === 0 || F.highest === 0) return false;
    const below = R.compare(object(h, o, F.lowest), offset(F.lowest)) > 0;
    const above = !below && R.compare(object(h, o, F.highest), offset(F.highest)) < 0;
    if (below) F.lowest = c;
    if (above) F.highest = c;
    return below || above;
  }

  function sharesMore(h: ObjectHandle, o: number, shared: number): boolean {
    if (F.leaf.dv.getUint32(F.leafAt + SKIP, true) > shared) return true;
    const inner = h.dv.getUint32(o + LEVELS, true) - 1;
    for (let depth = 0; depth < inner; depth++) {
      const address = F.path[depth] as number;
      if (object(h, o, address).dv.getUint32(offset(address) + SKIP, true) > shared) return true;
    }
    return false;
  }

  /** The scratch key, of F.record `c`, is the F.lowest or F.highest of all: the nodes at that edge may share fewer bytes with it. */
  function widen(h: ObjectHandle, o: number, c: number): void {
    const levels = h.dv.getUint32(o + LEVELS, true);
    let address = h.dv.getUint32(o + ROOT, true);
    for (let depth = 0; depth < levels; depth++) {
      const n = object(h, o, address);
      const at = offset(address);
      const skip = skipBetween(h, o, fence(h, o, depth, 0), fence(h, o, depth, 1));
      if (skip < n.dv.getUint32(at + SKIP, true)) setSkip(h, o, address, skip);
      if (depth === levels - 1) break;
      F.path[depth] = address;
      F.turns[depth] = F.lowest === c ? 0 : n.dv.getUint16(at, true);
      address = n.dv.getUint32(at + CHILDREN + (F.turns[depth] as number) * 4, true);
    }
    find(h, o);
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

  const F: TreeSearch = {
    path: [],
    turns: [],
    leaf: T.nothing(),
    leafAt: 0,
    leafAddress: 0,
    index: 0,
    lowest: 0,
    highest: 0,
    above: -1,
    record: T.nothing(),
    object,
    offset,
    put,
    put16,
    changed,
    descend,
    descendLast,
    find,
    separatorKey,
    newSeparator,
    fence,
    skipBetween,
    limits,
    sharesMore,
    widen,
    setSkip,
  };
  return F;
}

/** The search of one type of map, compiled for it. */
export function searchOf<K, V, I>(keys: KeyCodec<K>, records: Records<K, V, I>): TreeSearch {
  return specialize(makeSearch<K, V, I>)(keys, records, TOOLS);
}

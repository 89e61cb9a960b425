/** The B+-tree under ordered maps: changing it. The layout is in ordered-search.ts. */
import type { ObjectHandle } from '../../abi/handle.ts';
import type { KeyCodec } from './keys.ts';
import { searchOf, TREE, type TreeSearch } from './ordered-search.ts';
import { POOL_HEADER, poolAllocate, poolDestroy, poolRelease } from './pool.ts';
import type { Records, ValueCodec } from './records.ts';
import { isSelf } from './replace.ts';
import { specialize } from './specialize.ts';
import { carryWords, headOf, openWords, shutWords } from './words.ts';

export const ORDERED_HEADER: number = TREE.POOL + POOL_HEADER;

/** What a map and its cursors ask of their tree. `o` is the offset of the header in `h`. Keys are in the scratch area. */
export interface OrderedTree<K, I> {
  /** Looks for the scratch key: the offset of its record, with its object in `search`, or 0. `search` says where it is or would be. */
  find(h: ObjectHandle, o: number): number;
  /** Where the last search led. */
  readonly search: TreeSearch;
  /** Adds an entry that `find` has just not found; returns the offset of its record. */
  insert(h: ObjectHandle, o: number, value: I): number;
  assign(h: ObjectHandle, o: number, key: K, value: I): void;
  /** Deletes the entry that `find` has just found. */
  removeFound(h: ObjectHandle, o: number): void;
  /** Is the scratch key behind the last one? Then an entry can be inserted there. */
  behindLast(h: ObjectHandle, o: number): boolean;
  /** Is the scratch key below the lowest (negative) or above the highest? Such a one is not to be looked for. */
  beyond(h: ObjectHandle, o: number): number;
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
  readonly destroy: typeof poolDestroy;
  readonly open: typeof openWords;
  readonly shut: typeof shutWords;
  readonly carry: typeof carryWords;
  readonly headOf: typeof headOf;
  readonly isAt: typeof isSelf;
  readonly TREE: typeof TREE;
}

const TOOLS: TreeTools = {
  allocate: poolAllocate,
  release: poolRelease,
  destroy: poolDestroy,
  open: openWords,
  shut: shutWords,
  carry: carryWords,
  headOf,
  isAt: isSelf,
  TREE,
};

function makeTree<K, V, I>(K: KeyCodec<K>, R: Records<K, V, I>, C: ValueCodec<V, I>, F: TreeSearch, T: TreeTools): OrderedTree<K, I> {
  const { ROOT, LEVELS, FIRST, CHANGES, LAST, POOL, LEVEL, SKIP, PREVIOUS, NEXT } = T.TREE;
  const { HEADS, LEAF, LEAF_MAX, RECORDS, INNER, SEPARATORS, CHILDREN, INNER_MAX } = T.TREE;
  /** One less is used, so that a node with one child fits in with any neighbour. */
  const INNER_FULL = INNER_MAX - 1;
  /** A node with fewer is joined with a neighbour, where both leave some room. */
  const LEAF_MIN = 16;
  const INNER_MIN = 20;
  const JOINED = 56;
  const { exact } = K;
  const { open, shut, carry, headOf } = T;
  const { object, offset, put, put16, changed, descend, descendLast, find, separatorKey } = F;
  const { newSeparator, fence, skipBetween, limits, sharesMore, widen, setSkip } = F;
  const KEY = R.keyAt;

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

  /** Enters a F.record where `find` has just not found its key. The scratch key is its key. */
  function enter(h: ObjectHandle, o: number, c: number): void {
    if (h.dv.getUint32(o + LEVELS, true) === 0) {
      const root = newNode(h, o, 0, 0);
      put(h, o + ROOT, root);
      put(h, o + FIRST, root);
      put(h, o + LAST, root);
      put(h, o + LEVELS, 1);
      descend(h, o);
      F.index = 0;
    } else {
      if (!exact && F.above < 0) lookAbove(h, o);
      // One that is put behind all others, shares with them what the nodes above it say, and has room in its leaf, is where it belongs.
      const fits = F.above >= 0 && F.index < LEAF_MAX && !sharesMore(h, o, F.above);
      if (!exact && !fits && limits(h, o, c)) widen(h, o, c);
      if (F.leaf.dv.getUint16(F.leafAt, true) === LEAF_MAX) splitLeaf(h, o, c);
    }
    const n = F.leaf;
    const at = F.leafAt;
    const count = n.dv.getUint16(at, true);
    open(n, at + HEADS, F.index, count);
    open(n, at + RECORDS, F.index, count);
    n.dv.setUint32(at + HEADS + F.index * 4, R.head(n.dv.getUint32(at + SKIP, true)), true);
    n.dv.setUint32(at + RECORDS + F.index * 4, c, true);
    put16(n, at, count + 1);
    put(h, o, h.dv.getUint32(o, true) + 1);
    changed(h, o);
  }

  /** Sets `F.above` where the search led behind the last entry of all. */
  function lookAbove(h: ObjectHandle, o: number): void {
    const n = F.leaf;
    const at = F.leafAt;
    const count = n.dv.getUint16(at, true);
    if (F.index !== count || count === 0 || n.dv.getUint32(at + NEXT, true) !== 0) return;
    const c = n.dv.getUint32(at + RECORDS + (count - 1) * 4, true);
    F.above = R.above(object(h, o, c), offset(c));
  }

  /** Splits the full F.leaf of the last search, and puts `F.leaf` and `F.index` where the scratch key, of F.record `c`, belongs. */
  function splitLeaf(h: ObjectHandle, o: number, c: number): void {
    const depth = h.dv.getUint32(o + LEVELS, true) - 1;
    const left = F.leafAddress;
    const l = F.leaf;
    const at = F.leafAt;
    const after = l.dv.getUint32(at + NEXT, true);
    // Behind the last key of all: ascending keys fill their leaves.
    const split = after === 0 && F.index === LEAF_MAX ? LEAF_MAX : LEAF_MAX >>> 1;
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
    if (F.index >= split && !(F.index === split && split < LEAF_MAX && belongsLeft(h, o, separator, head))) {
      F.leaf = object(h, o, right);
      F.leafAddress = right;
      F.leafAt = rightAt;
      F.index -= split;
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

  /** Enters a child to the right of the one that the F.path took at `depth`; -1: above the root. */
  function addChild(h: ObjectHandle, o: number, depth: number, left: number, separator: number, key: number, right: number): void {
    if (depth < 0) {
      const level = h.dv.getUint32(o + LEVELS, true);
      const root = newNode(h, o, level, skipBetween(h, o, 0, 0));
      const n = object(h, o, root);
      const at = offset(root);
      put(n, at + CHILDREN, left);
      put(h, o + ROOT, root);
      put(h, o + LEVELS, level + 1);
      F.path.unshift(root);
      F.turns.unshift(0);
      depth = 0;
    } else if (object(h, o, F.path[depth] as number).dv.getUint16(offset(F.path[depth] as number), true) >= INNER_FULL) {
      const levels = h.dv.getUint32(o + LEVELS, true);
      splitInner(h, o, depth);
      // A new root came before the F.path.
      depth += h.dv.getUint32(o + LEVELS, true) - levels;
    }
    const address = F.path[depth] as number;
    const n = object(h, o, address);
    const at = offset(address);
    const i = F.turns[depth] as number;
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

  /** Does the F.path lead along the right edge down to `depth`? */
  function isRightmost(h: ObjectHandle, o: number, depth: number): boolean {
    for (let d = 0; d < depth; d++) {
      const address = F.path[d] as number;
      if (F.turns[d] !== object(h, o, address).dv.getUint16(offset(address), true)) return false;
    }
    return true;
  }

  /** Splits the full inner node at `depth` of the F.path, and corrects the F.path. */
  function splitInner(h: ObjectHandle, o: number, depth: number): void {
    const left = F.path[depth] as number;
    const l = object(h, o, left);
    const at = offset(left);
    const turn = F.turns[depth] as number;
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
    // A new root came before the F.path, or the parent was split.
    const here = depth + (h.dv.getUint32(o + LEVELS, true) - levelsBefore);
    if (turn > split) {
      F.path[here] = right;
      F.turns[here] = turn - split - 1;
      if (here > 0) F.turns[here - 1] = (F.turns[here - 1] as number) + 1;
    }
  }

  // --- removing -----------------------------------------------------------------------------------------------------------

  /** Takes the entry at `F.index` of the F.leaf of the last search out. */
  function vacate(h: ObjectHandle, o: number): void {
    const n = F.leaf;
    const at = F.leafAt;
    const count = n.dv.getUint16(at, true);
    shut(n, at + HEADS, F.index, count);
    shut(n, at + RECORDS, F.index, count);
    put16(n, at, count - 1);
    put(h, o, h.dv.getUint32(o, true) - 1);
    changed(h, o);
    if (count - 1 < LEAF_MIN) joinLeaf(h, o);
  }

  function joinLeaf(h: ObjectHandle, o: number): void {
    const levels = h.dv.getUint32(o + LEVELS, true);
    const count = F.leaf.dv.getUint16(F.leafAt, true);
    if (levels === 1) {
      if (count > 0) return;
      T.release(h, o + POOL, F.leafAddress);
      for (const at of [ROOT, LEVELS, FIRST, LAST]) put(h, o + at, 0);
      return;
    }
    join(h, o, levels - 2, 0);
  }

  /** Joins the child that the F.path took at `depth` with a neighbour, if they fit one node. */
  function join(h: ObjectHandle, o: number, depth: number, level: number): void {
    const parent = F.path[depth] as number;
    const p = object(h, o, parent);
    const at = offset(parent);
    const turn = F.turns[depth] as number;
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

  /** Puts child i + 1 of a node of the F.path into child i. */
  function absorb(h: ObjectHandle, o: number, depth: number, i: number, level: number): void {
    const parent = F.path[depth] as number;
    const p = object(h, o, parent);
    const at = offset(parent);
    const left = p.dv.getUint32(at + CHILDREN + i * 4, true);
    const right = p.dv.getUint32(at + CHILDREN + (i + 1) * 4, true);
    const separator = p.dv.getUint32(at + SEPARATORS + i * 4, true);
    const head = p.dv.getUint32(at + HEADS + i * 4, true);
    limits(h, o, 0);
    F.turns[depth] = i;
    const lowFence = fence(h, o, depth + 1, 0);
    F.turns[depth] = i + 1;
    const highFence = fence(h, o, depth + 1, 1);
    F.turns[depth] = i;
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

  /** A record with the scratch key, and a value of text or bytes; nothing leads to it yet. */
  function newRecord(h: ObjectHandle, o: number, value: I): number {
    const c = T.allocate(h, o + POOL, R.sizeFor(value));
    try {
      R.write(object(h, o, c), offset(c));
    } catch (error) {
      T.release(h, o + POOL, c);
      throw error;
    }
    return c;
  }

  /** Adds an entry that `find` has just not found; its F.record is in `F.record`, its offset is returned. */
  function insert(h: ObjectHandle, o: number, value: I): number {
    const c = newRecord(h, o, value);
    const r = object(h, o, c);
    const at = offset(c);
    enter(h, o, c);
    F.record = r;
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
    F.record = r;
    return at;
  }

  function assign(h: ObjectHandle, o: number, key: K, value: I): void {
    K.encode(key, h);
    const at = find(h, o);
    if (at === 0) {
      insert(h, o, value);
      return;
    }
    if (C.whole) {
      assignWhole(h, o, key, at, value);
      return;
    }
    if (R.replace(F.record, at, value)) return;
    const n = F.leaf;
    const slot = F.leafAt + RECORDS + F.index * 4;
    const old = n.dv.getUint32(slot, true);
    const c = newRecord(h, o, value);
    put(n, slot, c);
    R.drop(object(h, o, old), offset(old));
    T.release(h, o + POOL, old);
    changed(h, o);
  }

  /** Nothing of the old value is touched before it is certain that the new one can be stored. To read that may run any code. */
  function assignWhole(h: ObjectHandle, o: number, key: K, at: number, value: I): void {
    const r = F.record;
    if (T.isAt(value, r, at)) return;
    const changes = h.dv.getUint32(o + CHANGES, true);
    const checked = C.check(value, r);
    if (h.cold) h.warm();
    if (h.dv.getUint32(o + CHANGES, true) === changes) {
      R.replace(r, at, checked);
      return;
    }
    K.encode(key, h);
    const again = find(h, o);
    if (again === 0) insert(h, o, checked);
    else R.replace(F.record, again, checked);
  }

  /** Deletes the entry that `find` has just found. */
  function removeFound(h: ObjectHandle, o: number): void {
    const c = F.leaf.dv.getUint32(F.leafAt + RECORDS + F.index * 4, true);
    if (R.drops) R.drop(object(h, o, c), offset(c));
    vacate(h, o);
    T.release(h, o + POOL, c);
  }

  /** Is the scratch key behind the last one? Then it can be inserted, at the end. */
  function behindLast(h: ObjectHandle, o: number): boolean {
    F.above = -1;
    if (!descendLast(h, o)) {
      F.leafAddress = 0;
      F.index = 0;
      return true;
    }
    const n = F.leaf;
    const count = n.dv.getUint16(F.leafAt, true);
    F.index = count;
    if (count === 0) return true;
    lookAbove(h, o);
    return F.above >= 0;
  }

  function beyond(h: ObjectHandle, o: number): number {
    if (h.dv.getUint32(o + LEVELS, true) === 0) return 0;
    limits(h, o, 0);
    if (F.lowest !== 0 && R.compare(object(h, o, F.lowest), offset(F.lowest)) > 0) return -1;
    return F.highest !== 0 && R.compare(object(h, o, F.highest), offset(F.highest)) < 0 ? 1 : 0;
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
    const { drops } = R;
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
    search: F,
    insert,
    assign,
    removeFound,
    behindLast,
    beyond,
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
export function treeOf<K, V, I>(keys: KeyCodec<K>, records: Records<K, V, I>, values: ValueCodec<V, I>): OrderedTree<K, I> {
  return specialize(makeTree<K, V, I>)(keys, records, values, searchOf(keys, records), TOOLS);
}

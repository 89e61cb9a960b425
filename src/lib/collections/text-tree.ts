/**
 * The tree of a long text: a B+-tree of leaves, counted by UTF-16 code units, so that an edit anywhere touches one leaf and its ancestors.
 *
 *   header (48)   0 length in code units  4 root  8 height: 0 where the root is a leaf  24 pool
 *   leaf          u16 code units, u16 bytes of each (1 where all are below 256, else 2), u32 room in bytes; then the code units
 *   inner node    u32 count; from 8 on {address of the child (4), its code units (4)}
 *
 * Invariants: no leaf is empty, none begins or ends within a surrogate pair; the counts of a node add up to what its parent says.
 * Indexing within a leaf is one multiplication, and text in Latin letters takes a byte a letter.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { POOL_HEADER, poolAllocate, poolDestroy, poolObject, poolOffset, poolRelease } from './pool.ts';
import { damaged } from './tools.ts';

export const TEXT_POOL = 24;
export const TEXT_HEADER: number = TEXT_POOL + POOL_HEADER;
const ROOT = 4;
const HEIGHT = 8;
const LEAF = 8;
const LEAF_BLOCK = 2048;
const LEAF_ROOM: number = LEAF_BLOCK - LEAF;
const NODE = 8;
const FAN = 127;
const HEIGHT_MAX = 16;

interface Entry {
  readonly address: number;
  readonly units: number;
}

/** The way to the leaf that `descend` found: inner nodes from the root on, and the child taken in each. */
const nodes: number[] = [];
const taken: number[] = [];
let leaf = 0;
/** Position within that leaf. */
let within = 0;

function object(h: ObjectHandle, o: number, address: number): ObjectHandle {
  h.used = true;
  const t = poolObject(h, o + TEXT_POOL, address);
  if (t.cold) t.warm();
  return t;
}

function put(h: ObjectHandle, at: number, value: number): void {
  if (h.dirty[at >>> 6] !== 1) h.mark(at);
  h.dv.setUint32(at, value, true);
}

export function textLength(h: ObjectHandle, o: number): number {
  if (h.cold) h.warm();
  return h.dv.getUint32(o, true);
}

// --- leaves -----------------------------------------------------------------------------------------------------------------

function isNarrow(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 255) return false;
  return true;
}

/** Code units [from, to) of a leaf. */
function unitsOf(t: ObjectHandle, at: number, from: number, to: number): string {
  const width = t.dv.getUint16(at + 2, true);
  if (at + LEAF + to * width > t.size || to > t.dv.getUint16(at, true)) t.corrupt(at, 'a leaf of a text does not fit its object');
  const start = t.u8.byteOffset + at + LEAF + from * width;
  const units = width === 1 ? new Uint8Array(t.u8.buffer, start, to - from) : new Uint16Array(t.u8.buffer, start, to - from);
  const text: string = Reflect.apply(String.fromCharCode, undefined, units);
  return text;
}

function leafCount(t: ObjectHandle, at: number): number {
  return t.dv.getUint16(at, true);
}

/** Writes code units at a place of a leaf; the lines are marked. */
function write(t: ObjectHandle, at: number, width: number, text: string): void {
  const { dv } = t;
  if (width === 1) for (let i = 0; i < text.length; i++) dv.setUint8(at + i, text.charCodeAt(i));
  else for (let i = 0; i < text.length; i++) dv.setUint16(at + i * 2, text.charCodeAt(i), true);
}

function newLeaf(h: ObjectHandle, o: number, text: string): Entry {
  const width = isNarrow(text) ? 1 : 2;
  const bytes = text.length * width;
  let block = 64;
  while (block - LEAF < bytes) block *= 2;
  const address = poolAllocate(h, o + TEXT_POOL, block);
  const t = object(h, o, address);
  const at = poolOffset(address);
  t.markRange(at, LEAF + bytes);
  t.dv.setUint16(at, text.length, true);
  t.dv.setUint16(at + 2, width, true);
  t.dv.setUint32(at + 4, block - LEAF, true);
  write(t, at + LEAF, width, text);
  return { address, units: text.length };
}

/** Cuts a text into leaves; `packed`: full ones, as for text that goes on at its end. */
function cut(text: string, packed: boolean): string[] {
  const most = LEAF_ROOM / (isNarrow(text) ? 1 : 2) - 1;
  const parts = Math.ceil(text.length / most);
  const length = packed ? most : Math.ceil(text.length / parts);
  const pieces: string[] = [];
  for (let from = 0; from < text.length;) {
    let to = Math.min(text.length, from + length);
    if (to < text.length && isHigh(text.charCodeAt(to - 1))) to++;
    pieces.push(text.slice(from, to));
    from = to;
  }
  return pieces;
}

export function isHigh(unit: number): boolean {
  return (unit & 0xfc00) === 0xd800;
}

// --- inner nodes ------------------------------------------------------------------------------------------------------------

function countOf(t: ObjectHandle, at: number): number {
  const count = t.dv.getUint32(at, true);
  if (count === 0 || count > FAN) t.corrupt(at, `a node of a text has ${count} children`);
  return count;
}

function entriesOf(h: ObjectHandle, o: number, address: number): Entry[] {
  const t = object(h, o, address);
  const at = poolOffset(address) + NODE;
  return Array.from({ length: countOf(t, at - NODE) }, (_, i) => ({
    address: t.dv.getUint32(at + i * 8, true),
    units: t.dv.getUint32(at + i * 8 + 4, true),
  }));
}

function setEntries(h: ObjectHandle, o: number, address: number, entries: readonly Entry[]): Entry {
  const t = object(h, o, address);
  const at = poolOffset(address);
  t.markRange(at, NODE + entries.length * 8);
  t.dv.setUint32(at, entries.length, true);
  let sum = 0;
  for (const [i, { address: child, units }] of entries.entries()) {
    t.dv.setUint32(at + NODE + i * 8, child, true);
    t.dv.setUint32(at + NODE + i * 8 + 4, units, true);
    sum += units;
  }
  return { address, units: sum };
}

function newNode(h: ObjectHandle, o: number, entries: readonly Entry[]): Entry {
  return setEntries(h, o, poolAllocate(h, o + TEXT_POOL, NODE + FAN * 8), entries);
}

/** Finds the leaf of a position: where two leaves meet the one behind, or with `before` the one in front. */
function descend(h: ObjectHandle, o: number, position: number, before: boolean): void {
  if (h.cold) h.warm();
  let address = h.dv.getUint32(o + ROOT, true);
  const height = h.dv.getUint32(o + HEIGHT, true);
  if (height > HEIGHT_MAX) h.corrupt(o, `a text of ${height} levels`);
  nodes.length = taken.length = 0;
  try {
    for (let level = height; level > 0; level--) {
      const t = object(h, o, address);
      const at = poolOffset(address);
      const { dv } = t;
      const last = countOf(t, at) - 1;
      let i = 0;
      for (; i < last; i++) {
        const units = dv.getUint32(at + NODE + i * 8 + 4, true);
        if (before ? position <= units : position < units) break;
        position -= units;
      }
      nodes.push(address);
      taken.push(i);
      address = dv.getUint32(at + NODE + i * 8, true);
      if (address === 0) h.corrupt(o, 'a node of the text is missing');
    }
  } catch (error) {
    throw damaged(h, o, error);
  }
  leaf = address;
  within = position;
}

/** The counts on the way to the leaf change by so much. */
function count(h: ObjectHandle, o: number, change: number): void {
  for (let level = 0; level < nodes.length; level++) {
    const address = nodes[level] as number;
    const t = object(h, o, address);
    const at = poolOffset(address) + NODE + (taken[level] as number) * 8 + 4;
    put(t, at, t.dv.getUint32(at, true) + change);
  }
  put(h, o, h.dv.getUint32(o, true) + change);
}

/** Puts entries in the place of the child taken at `level` (the root's level is 0, -1 stands for the root itself). */
function replaceChild(h: ObjectHandle, o: number, level: number, by: readonly Entry[]): void {
  if (level < 0) {
    const [only, ...more] = by;
    if (only !== undefined && more.length === 0) put(h, o + ROOT, only.address);
    else if (only !== undefined) {
      put(h, o + ROOT, newNode(h, o, by).address);
      put(h, o + HEIGHT, h.dv.getUint32(o + HEIGHT, true) + 1);
    } else {
      put(h, o + ROOT, 0);
      put(h, o + HEIGHT, 0);
    }
    return;
  }
  const address = nodes[level] as number;
  const entries = entriesOf(h, o, address);
  entries.splice(taken[level] as number, 1, ...by);
  if (entries.length === 0) {
    poolRelease(h, o + TEXT_POOL, address);
    replaceChild(h, o, level - 1, []);
  } else if (entries.length <= FAN) {
    setEntries(h, o, address, entries);
    join(h, o, level - 1, entries.length, FAN);
  } else {
    // What is added at the end of a text leaves full nodes behind.
    const middle = (taken[level] as number) >= FAN - 1 ? FAN - 8 : entries.length >>> 1;
    const right = newNode(h, o, entries.slice(middle));
    replaceChild(h, o, level - 1, [setEntries(h, o, address, entries.slice(0, middle)), right]);
  }
}

/**
 * The child taken at `level` has `size` of `room` left. If it and a neighbour fill three quarters of one at most, they are joined.
 */
function join(h: ObjectHandle, o: number, level: number, size: number, room: number): void {
  if (size * 4 >= room || level < 0) {
    if (level < 0) flatten(h, o);
    return;
  }
  const parent = nodes[level] as number;
  const entries = entriesOf(h, o, parent);
  const index = taken[level] as number;
  const isLeaf = level === nodes.length - 1;
  for (const first of [index - 1, index]) {
    const [a, b] = [entries[first], entries[first + 1]];
    if (a === undefined || b === undefined) continue;
    let joined: Entry;
    if (isLeaf) {
      const text = leafText(h, o, a.address) + leafText(h, o, b.address);
      if (text.length * (isNarrow(text) ? 1 : 2) * 4 > room * 3) continue;
      joined = newLeaf(h, o, text);
      poolRelease(h, o + TEXT_POOL, a.address);
    } else {
      const all = [...entriesOf(h, o, a.address), ...entriesOf(h, o, b.address)];
      if (all.length * 4 > room * 3) continue;
      joined = setEntries(h, o, a.address, all);
    }
    poolRelease(h, o + TEXT_POOL, b.address);
    entries.splice(first, 2, joined);
    setEntries(h, o, parent, entries);
    join(h, o, level - 1, entries.length, FAN);
    return;
  }
}

function leafText(h: ObjectHandle, o: number, address: number): string {
  const t = object(h, o, address);
  const at = poolOffset(address);
  return unitsOf(t, at, 0, leafCount(t, at));
}

/** A root with one child gives way to it. */
function flatten(h: ObjectHandle, o: number): void {
  for (let height = h.dv.getUint32(o + HEIGHT, true); height > 0; height--) {
    const root = h.dv.getUint32(o + ROOT, true);
    const entries = entriesOf(h, o, root);
    const [only] = entries;
    if (entries.length !== 1 || only === undefined) return;
    put(h, o + ROOT, only.address);
    put(h, o + HEIGHT, height - 1);
    poolRelease(h, o + TEXT_POOL, root);
  }
}

// --- reading ----------------------------------------------------------------------------------------------------------------

/** The text from a position to the end of its leaf, or to `to`. */
export function textPiece(h: ObjectHandle, o: number, from: number, to: number): string {
  descend(h, o, from, false);
  const t = object(h, o, leaf);
  const at = poolOffset(leaf);
  try {
    return unitsOf(t, at, within, Math.min(leafCount(t, at), within + to - from));
  } catch (error) {
    throw damaged(h, o, error);
  }
}

export function textUnit(h: ObjectHandle, o: number, position: number): number {
  descend(h, o, position, false);
  const t = object(h, o, leaf);
  const at = poolOffset(leaf) + LEAF;
  return t.dv.getUint16(at - 6, true) === 1 ? t.dv.getUint8(at + within) : t.dv.getUint16(at + within * 2, true);
}

// --- editing ----------------------------------------------------------------------------------------------------------------

/** Inserts a piece that is no longer than a leaf. */
function insertPiece(h: ObjectHandle, o: number, position: number, text: string): void {
  if (h.dv.getUint32(o + ROOT, true) === 0) {
    put(h, o + ROOT, newLeaf(h, o, text).address);
    put(h, o, text.length);
    return;
  }
  descend(h, o, position, true);
  const t = object(h, o, leaf);
  const at = poolOffset(leaf);
  const units = leafCount(t, at);
  const width = t.dv.getUint16(at + 2, true);
  const after = units + text.length;
  if (after * width <= t.dv.getUint32(at + 4, true) && (width === 2 || isNarrow(text))) {
    const from = at + LEAF + within * width;
    t.markRange(at, LEAF + after * width);
    t.u8.copyWithin(from + text.length * width, from, at + LEAF + units * width);
    write(t, from, width, text);
    t.dv.setUint16(at, after, true);
    count(h, o, text.length);
    return;
  }
  const end = within === units;
  const keep = end && units * width * 4 > LEAF_ROOM * 3;
  const whole = unitsOf(t, at, 0, units);
  const pieces = keep ? cut(text, true) : cut(whole.slice(0, within) + text + whole.slice(within), end);
  const old = leaf;
  const made: Entry[] = [];
  try {
    for (const piece of pieces) made.push(newLeaf(h, o, piece));
  } catch (error) {
    for (const { address } of made) poolRelease(h, o + TEXT_POOL, address);
    throw error;
  }
  count(h, o, text.length);
  if (keep) made.unshift({ address: old, units });
  replaceChild(h, o, nodes.length - 1, made);
  if (!keep) poolRelease(h, o + TEXT_POOL, old);
}

export function textInsert(h: ObjectHandle, o: number, position: number, text: string): void {
  const before = textLength(h, o);
  if (before + text.length > 0xffffffff) throw new TwzError('OutOfRange', 'a text has at most 2^32 - 1 code units', { length: before });
  let done = 0;
  try {
    while (done < text.length) {
      let to = Math.min(text.length, done + LEAF_ROOM / 2 - 2);
      if (to < text.length && isHigh(text.charCodeAt(to - 1))) to++;
      insertPiece(h, o, position + done, text.slice(done, to));
      done = to;
    }
  } catch (error) {
    textDelete(h, o, position, done);
    throw error;
  }
}

export function textDelete(h: ObjectHandle, o: number, position: number, length: number): void {
  while (length > 0) {
    descend(h, o, position, false);
    const t = object(h, o, leaf);
    const at = poolOffset(leaf);
    const units = leafCount(t, at);
    const gone = Math.min(length, units - within);
    if (gone === 0) h.corrupt(o, 'a text is shorter than it says');
    length -= gone;
    count(h, o, -gone);
    if (gone === units) {
      const old = leaf;
      replaceChild(h, o, nodes.length - 1, []);
      poolRelease(h, o + TEXT_POOL, old);
      continue;
    }
    const width = t.dv.getUint16(at + 2, true);
    const from = at + LEAF + within * width;
    t.markRange(at, LEAF + units * width);
    t.u8.copyWithin(from, from + gone * width, at + LEAF + units * width);
    t.dv.setUint16(at, units - gone, true);
    join(h, o, nodes.length - 1, (units - gone) * width, LEAF_ROOM);
  }
}

/** Gives back everything. `whole`: the home goes as well. */
export function textClear(h: ObjectHandle, o: number, whole: boolean): void {
  if (h.cold) h.warm();
  const root = h.dv.getUint32(o + ROOT, true);
  if (root === 0) return;
  const visit = (address: number, level: number): void => {
    if (level > 0) for (const entry of entriesOf(h, o, address)) visit(entry.address, level - 1);
    if (address >>> 22 === 0 && !whole) h.release(poolOffset(address));
  };
  visit(root, h.dv.getUint32(o + HEIGHT, true));
  poolDestroy(h, o + TEXT_POOL);
  for (const at of [0, ROOT, HEIGHT]) put(h, o + at, 0);
}

/**
 * The nodes of red-black trees: linking one in, taking one out, and the colours. Nodes never move: where one with two children goes, the
 * next in order is put in its place by its links.
 *
 *   node   0 head: the key's first four bytes   4 left   8 right, with the colour in the uppermost bit: 1 for red   12 what is kept
 *
 * Invariants:
 *  1. The keys on the left of a node are below its key, those on the right above.
 *  2. The root is black. A red node has no red child.
 *  3. All ways from a node down to a missing child lead through the same number of black nodes. So the longest is twice the shortest.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { POOL_HEADER, poolAllocate, poolObject, poolOffset, poolRelease } from './pool.ts';

export const TREE_HEADER: number = 24 + POOL_HEADER;
export const TREE_POOL = 24;
export const TREE_ROOT = 4;
export const TREE_CHANGES = 16;
export const LEFT = 4;
export const RIGHT = 8;
/** Where the value lies, or the address of the record. */
export const CONTENT = 12;
const RED = 0x80000000;
export const ADDRESS_MASK = 0x7fffffff;
/** 2^31 addresses hold fewer than 2^31 nodes: no way down is longer than twice 31. */
export const DEPTH_MAX = 64;

/** A way down from the root: the nodes, and on which side each was left (0 left, 1 right). */
export interface Way {
  readonly nodes: Int32Array;
  readonly turns: Uint8Array;
  depth: number;
}

export function newWay(): Way {
  return { nodes: new Int32Array(DEPTH_MAX + 2), turns: new Uint8Array(DEPTH_MAX + 2), depth: 0 };
}

function object(h: ObjectHandle, o: number, address: number): ObjectHandle {
  if (address === 0) return h.corrupt(o, 'a node of the red-black tree is missing');
  return address >>> 22 === 0 ? h : poolObject(h, o + TREE_POOL, address);
}

function put(h: ObjectHandle, at: number, value: number): void {
  if (h.dirty[at >>> 6] !== 1) h.mark(at);
  h.dv.setUint32(at, value, true);
}

/** A zeroed block whose address leaves the uppermost bit free. */
export function allocateNode(h: ObjectHandle, o: number, size: number): number {
  const address = poolAllocate(h, o + TREE_POOL, size);
  if (address <= ADDRESS_MASK) return address;
  poolRelease(h, o + TREE_POOL, address);
  throw new TwzError('ObjectTooLarge', 'a red-black tree holds at most 511 objects of 64 MiB', { id: h.id });
}

/** The address of a child: `side` 0 left, 1 right. */
export function childOf(h: ObjectHandle, o: number, node: number, side: number): number {
  return object(h, o, node).dv.getInt32(poolOffset(node) + LEFT + side * 4, true) & ADDRESS_MASK;
}

function isRed(h: ObjectHandle, o: number, node: number): boolean {
  return node !== 0 && object(h, o, node).dv.getInt32(poolOffset(node) + RIGHT, true) < 0;
}

/** Sets a child and leaves the colour. */
function setChild(h: ObjectHandle, o: number, node: number, side: number, child: number): void {
  const n = object(h, o, node);
  const at = poolOffset(node) + LEFT + side * 4;
  put(n, at, side === 0 ? child : ((n.dv.getInt32(at, true) & RED) | child) >>> 0);
}

function paint(h: ObjectHandle, o: number, node: number, red: boolean): void {
  const n = object(h, o, node);
  const at = poolOffset(node) + RIGHT;
  const right = n.dv.getInt32(at, true) & ADDRESS_MASK;
  put(n, at, red ? (right | RED) >>> 0 : right);
}

/** Hangs a node, or nothing, under the first `depth` nodes of the way. */
function hang(h: ObjectHandle, o: number, way: Way, depth: number, node: number): void {
  if (depth === 0) put(h, o + TREE_ROOT, node);
  else setChild(h, o, way.nodes[depth - 1] as number, way.turns[depth - 1] as number, node);
}

/** Lets the child of `node` on `side` rise to its place, and returns it. Who leads to `node` has still to be told. */
function rotate(h: ObjectHandle, o: number, node: number, side: number): number {
  const risen = childOf(h, o, node, side);
  setChild(h, o, node, side, childOf(h, o, risen, 1 - side));
  setChild(h, o, risen, 1 - side, node);
  return risen;
}

function count(h: ObjectHandle, o: number, by: number): void {
  put(h, o, h.dv.getUint32(o, true) + by);
  put(h, o + TREE_CHANGES, (h.dv.getUint32(o + TREE_CHANGES, true) + 1) >>> 0);
}

/** Links a new node in at the end of the way. */
export function linkNode(h: ObjectHandle, o: number, way: Way, added: number): void {
  const { nodes, turns } = way;
  let { depth } = way;
  let node = added;
  paint(h, o, node, true);
  hang(h, o, way, depth, node);
  count(h, o, 1);
  while (depth >= 2 && isRed(h, o, nodes[depth - 1] as number)) {
    const parent = nodes[depth - 1] as number;
    const grand = nodes[depth - 2] as number;
    const side = turns[depth - 2] as number;
    const uncle = childOf(h, o, grand, 1 - side);
    if (!isRed(h, o, uncle)) {
      // A bend is made straight, then the middle one of the three rises.
      if (turns[depth - 1] !== side) setChild(h, o, grand, side, rotate(h, o, parent, 1 - side));
      const risen = rotate(h, o, grand, side);
      paint(h, o, risen, false);
      paint(h, o, grand, true);
      hang(h, o, way, depth - 2, risen);
      return;
    }
    paint(h, o, parent, false);
    paint(h, o, uncle, false);
    paint(h, o, grand, true);
    node = grand;
    depth -= 2;
  }
  if (depth === 0) paint(h, o, node, false);
}

/** Takes the node at the end of the way out of the tree. Its block is still to be given back. */
export function unlinkNode(h: ObjectHandle, o: number, way: Way, node: number): void {
  const { nodes, turns } = way;
  let { depth } = way;
  const left = childOf(h, o, node, 0);
  const right = childOf(h, o, node, 1);
  let missing = left === 0 ? right : left;
  let wasRed = isRed(h, o, node);
  if (left === 0 || right === 0) hang(h, o, way, depth, missing);
  else {
    const place = depth;
    turns[depth++] = 1;
    let next = right;
    for (let below = childOf(h, o, next, 0); below !== 0; below = childOf(h, o, next, 0)) {
      if (depth > DEPTH_MAX) h.corrupt(o, 'the red-black tree is too deep');
      nodes[depth] = next;
      turns[depth++] = 0;
      next = below;
    }
    // The next in order takes its place and its colour; what is missing from now on is missing where that one was.
    missing = childOf(h, o, next, 1);
    const nextRed = isRed(h, o, next);
    if (next !== right) {
      setChild(h, o, nodes[depth - 1] as number, 0, missing);
      setChild(h, o, next, 1, right);
    }
    setChild(h, o, next, 0, left);
    paint(h, o, next, wasRed);
    hang(h, o, way, place, next);
    nodes[place] = next;
    wasRed = nextRed;
  }
  count(h, o, -1);
  if (!wasRed) repair(h, o, way, depth, missing);
}

/** Below the end of the way one black node fewer lies than beside it. `node` hangs there, or nothing. */
function repair(h: ObjectHandle, o: number, way: Way, end: number, hung: number): void {
  const { nodes, turns } = way;
  let depth = end;
  let node = hung;
  while (depth > 0 && !isRed(h, o, node)) {
    const parent = nodes[depth - 1] as number;
    const side = turns[depth - 1] as number;
    let sibling = childOf(h, o, parent, 1 - side);
    if (isRed(h, o, sibling)) {
      // The sibling rises, so that there is a black one.
      rotate(h, o, parent, 1 - side);
      paint(h, o, sibling, false);
      paint(h, o, parent, true);
      hang(h, o, way, depth - 1, sibling);
      nodes[depth - 1] = sibling;
      nodes[depth] = parent;
      turns[depth++] = side;
      sibling = childOf(h, o, parent, 1 - side);
    }
    const near = childOf(h, o, sibling, side);
    const far = childOf(h, o, sibling, 1 - side);
    if (!isRed(h, o, near) && !isRed(h, o, far)) {
      paint(h, o, sibling, true);
      node = parent;
      depth--;
      continue;
    }
    if (!isRed(h, o, far)) {
      rotate(h, o, sibling, side);
      paint(h, o, sibling, true);
      paint(h, o, near, false);
      setChild(h, o, parent, 1 - side, near);
      sibling = near;
    }
    paint(h, o, sibling, isRed(h, o, parent));
    paint(h, o, parent, false);
    paint(h, o, childOf(h, o, sibling, 1 - side), false);
    rotate(h, o, parent, 1 - side);
    hang(h, o, way, depth - 1, sibling);
    return;
  }
  if (node !== 0) paint(h, o, node, false);
}

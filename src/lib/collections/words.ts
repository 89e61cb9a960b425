/** Arrays of 32-bit words in nodes, and keys as bytes. */
import type { ObjectHandle } from '../../abi/handle.ts';

/** Makes room for one at `i` in an array of `count` words. */
export function openWords(n: ObjectHandle, at: number, i: number, count: number): void {
  n.markRange(at + i * 4, (count - i + 1) * 4);
  if (i < count) n.u8.copyWithin(at + (i + 1) * 4, at + i * 4, at + count * 4);
}

/** Takes the one at `i` out of an array of `count` words. */
export function shutWords(n: ObjectHandle, at: number, i: number, count: number): void {
  n.markRange(at + i * 4, (count - i) * 4);
  n.u8.copyWithin(at + i * 4, at + (i + 1) * 4, at + count * 4);
  n.dv.setUint32(at + (count - 1) * 4, 0, true);
}

/** Copies `count` words from one node to another and clears them there. */
export function carryWords(from: ObjectHandle, fromAt: number, to: ObjectHandle, toAt: number, count: number): void {
  if (count === 0) return;
  to.markRange(toAt, count * 4);
  from.markRange(fromAt, count * 4);
  for (let i = 0; i < count; i++) to.dv.setUint32(toAt + i * 4, from.dv.getUint32(fromAt + i * 4, true), true);
  from.u8.fill(0, fromAt, fromAt + count * 4);
}

/** Bytes of a key that lies somewhere: its object, place and length. */
export interface Bytes {
  readonly h: ObjectHandle;
  readonly at: number;
  readonly length: number;
}

/** How many bytes two keys have in common at their beginning. */
export function commonBytes(a: Bytes, b: Bytes): number {
  const most = Math.min(a.length, b.length);
  let i = 0;
  while (i < most && a.h.dv.getUint8(a.at + i) === b.h.dv.getUint8(b.at + i)) i++;
  return i;
}

/** Four bytes of a key from byte `skip` on, with zeros behind its end, as a big-endian number. */
export function headOf(key: Bytes, skip: number): number {
  let head = 0;
  for (let i = skip; i < skip + 4; i++) head = (head << 8) | (i < key.length ? key.h.dv.getUint8(key.at + i) : 0);
  return head >>> 0;
}

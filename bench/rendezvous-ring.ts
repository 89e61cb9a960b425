/** The data of the rendezvous: a ring of nodes in random order, in which each node names the next. */
import { generator, shuffled } from './harness.ts';

export interface Ring {
  readonly next: Uint32Array;
  readonly value: Uint32Array;
}

/** Where a walk ended, and the sum of the values of the nodes that it left behind. */
export interface Walked {
  readonly at: number;
  readonly sum: number;
}

export type Walk = (start: number, hops: number) => Promise<Walked>;

/** The same for everyone: the seed decides. */
export function ringOf(count: number): Ring {
  const order = shuffled(count, 17);
  const random = generator(19);
  const next = new Uint32Array(count);
  for (let i = 0; i < count; i++) next[order[i] ?? 0] = order[(i + 1) % count] ?? 0;
  return { next, value: Uint32Array.from({ length: count }, () => random(1000)) };
}

export function walkRing({ next, value }: Ring, start: number, hops: number): Walked {
  let at = start;
  let sum = 0;
  for (let i = 0; i < hops; i++) {
    sum += value[at] ?? 0;
    at = next[at] ?? 0;
  }
  return { at, sum };
}

/** A node in the wire format of Protocol Buffers, as `message Pair { fixed32 a = 1; fixed32 b = 2; }`: the cheapest there is. */
export const PAIR_BYTES = 10;

export function encodePair([a, b]: readonly [number, number]): Buffer {
  const bytes = Buffer.allocUnsafe(PAIR_BYTES);
  bytes[0] = 0x0d;
  bytes.writeUInt32LE(a, 1);
  bytes[5] = 0x15;
  bytes.writeUInt32LE(b, 6);
  return bytes;
}

export function decodePair(bytes: Uint8Array): [number, number] {
  if (bytes.length !== PAIR_BYTES || bytes[0] !== 0x0d || bytes[5] !== 0x15) throw new Error('not a pair');
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return [view.getUint32(1, true), view.getUint32(6, true)];
}

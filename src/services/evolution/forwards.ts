/**
 * Forwards: where structs lie that a migration moved. Pointers of other objects go on naming the old place, so the old block stays taken,
 * zeroed, and the object lists (old place, struct) -> new place in a block that META.forwards leads to:
 *
 *   count u32 | reserved u32 | count x { old u32, new u32, name u32 }   sorted by old place, then name
 *
 * `name` is the low word of the fingerprint of the struct's name: a struct and the first that lies inline in it share a place.
 */
import { TwzError } from '../../abi/errors.ts';
import { META, PAGE } from '../../abi/format.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { fingerprintOf } from '../../lib/fingerprint.ts';

const HEADER = 8;
const ENTRY = 12;

export interface Forward {
  readonly from: number;
  readonly to: number;
  readonly name: number;
}

export function nameWord(name: string): number {
  return fingerprintOf(name).low;
}

/** Bytes of an object: mapped, or read for a tool. */
export type Image = Pick<ObjectHandle, 'dv' | 'size'>;

/** The list's first byte and length; [0, 0] where there is none, undefined where it lies outside the object. */
function listIn({ dv, size }: Image): readonly [at: number, count: number] | undefined {
  const at = dv.getUint32(META.forwards, true);
  if (at === 0) return [0, 0];
  if (at < PAGE || at + HEADER > size) return undefined;
  const count = dv.getUint32(at, true);
  return at + HEADER + count * ENTRY > size ? undefined : [at + HEADER, count];
}

export function readableForwards(image: Image): boolean {
  return listIn(image) !== undefined;
}

function listOf(h: ObjectHandle): readonly [at: number, count: number] {
  return listIn(h) ?? h.corrupt(META.forwards, 'the list of moved structs lies outside the object');
}

export function forwardsOf(h: ObjectHandle): Forward[] {
  const [at, count] = listOf(h);
  return Array.from({ length: count }, (_, i) => {
    const entry = at + i * ENTRY;
    return { from: h.dv.getUint32(entry, true), to: h.dv.getUint32(entry + 4, true), name: h.dv.getUint32(entry + 8, true) };
  });
}

/** Where the struct lies that was at `from`. */
export function forwarded(h: ObjectHandle, from: number, struct: string): number {
  listOf(h);
  return forwardedIn(h, from, struct);
}

/** As `forwarded`, in bytes that may be damaged: a list that cannot be read moves nothing. */
export function forwardedIn(h: Image, from: number, struct: string): number {
  const [at, count] = listIn(h) ?? [0, 0];
  const name = nameWord(struct);
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = at + middle * ENTRY;
    const place = h.dv.getUint32(entry, true);
    if (place < from || (place === from && h.dv.getUint32(entry + 8, true) < name)) low = middle + 1;
    else high = middle;
  }
  const entry = at + low * ENTRY;
  return low < count && h.dv.getUint32(entry, true) === from && h.dv.getUint32(entry + 8, true) === name
    ? h.dv.getUint32(entry + 4, true)
    : from;
}

/** Where the struct lay that lies at `to`, before a migration moved it. */
export function originOf(h: ObjectHandle, to: number, struct: string): number {
  const name = nameWord(struct);
  const from = forwardsOf(h).filter((each) => each.to === to && each.name === name);
  const [first] = from;
  if (from.length > 1)
    throw new TwzError(
      'NotSupported',
      `object ${h.id}: the ${struct} at ${to} was moved by more than one migration, and cannot be a key: which place keys know it by is not kept`,
      { id: h.id, at: to },
    );
  return first?.from ?? to;
}

/** Stores the list in the place of the one that there is. Inside a transaction. */
export function storeForwards(h: ObjectHandle, list: readonly Forward[]): void {
  const old = h.dv.getUint32(META.forwards, true);
  if (old !== 0) h.release(old);
  let at = 0;
  if (list.length > 0) {
    const length = HEADER + list.length * ENTRY;
    at = h.allocate(length);
    h.markRange(at, length);
    h.dv.setUint32(at, list.length, true);
    let entry = at + HEADER;
    for (const { from, to, name } of [...list].sort((a, b) => a.from - b.from || a.name - b.name)) {
      h.dv.setUint32(entry, from, true);
      h.dv.setUint32(entry + 4, to, true);
      h.dv.setUint32(entry + 8, name, true);
      entry += ENTRY;
    }
  }
  h.mark(META.forwards);
  h.dv.setUint32(META.forwards, at, true);
}

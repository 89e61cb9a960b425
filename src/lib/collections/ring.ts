/**
 * What Queue and Log share: elements with sequence numbers, put in at one end and taken out at the other. They lie in chunks that come and
 * go; the directory of the chunks is a ring.
 *
 *   header (64)   0 first: number of the first element (two words)  8 next: number that the next one gets (two words)
 *                 16 directory  20 its room: a power of two, 0 for none  24 bytes of the elements (two words, Log only)  40 pool
 *   directory     addresses of chunks: that of chunk n at n modulo the room, 0 for none
 *   chunk n       the elements n * CHUNK to (n + 1) * CHUNK - 1
 */
import type { META } from '../../abi/format.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { AccessorClass } from '../emit.ts';
import type { INSPECT } from '../inspect.ts';
import type { Elements, Taken } from './elements.ts';
import { POOL_HEADER, type poolAllocate, type poolDestroy, type poolObject, type poolRelease } from './pool.ts';
import type { CollectionUsage, damaged, inspectEntries, refuseContent, usageOf } from './tools.ts';

export const RING_HEADER: number = 40 + POOL_HEADER;

export interface RingTools {
  readonly META: Pick<typeof META, 'root' | 'tail' | 'row'>;
  readonly allocate: typeof poolAllocate;
  readonly release: typeof poolRelease;
  readonly object: typeof poolObject;
  readonly destroy: typeof poolDestroy;
  readonly damaged: typeof damaged;
  readonly usage: typeof usageOf;
  readonly refuseContent: typeof refuseContent;
  readonly outOfRange: (what: string, value: unknown) => never;
  readonly INSPECT: typeof INSPECT;
  readonly inspect: typeof inspectEntries;
}

/** What a Log keeps at most. */
export interface Retention {
  /** The newest so many elements. */
  readonly entries?: number;
  /** The newest elements of so many bytes altogether, and the last one whatever its size. */
  readonly bytes?: number;
}

export function makeRing<V, I>(kind: 'Queue' | 'Log', E: Elements<V, I>, keep: Retention, T: RingTools): AccessorClass {
  const NEXT = 8;
  const DIRECTORY = 16;
  const ROOM = 20;
  const BYTES = 24;
  const POOL = 40;
  const { root: ROOT_AT, tail: TAIL_AT, row: ROW_AT } = T.META;
  const { stride } = E;
  const owns = E.mode !== 'plain';
  const counts = kind === 'Log';
  let CHUNK = 128;
  while (CHUNK > 1 && CHUNK * stride > 2048) CHUNK /= 2;
  const WORD = 0x100000000;
  /** The object of the place that `locate` found. */
  let place: ObjectHandle | undefined;

  const offset = (address: number): number => (address & 0x3fffff) << 4;

  function object(h: ObjectHandle, o: number, address: number): ObjectHandle {
    if (address >>> 22 === 0) return h;
    h.used = true;
    return T.object(h, o + POOL, address);
  }

  function put(h: ObjectHandle, at: number, value: number): void {
    if (h.dirty[at >>> 6] !== 1) h.mark(at);
    h.dv.setUint32(at, value, true);
  }

  const wide = (h: ObjectHandle, at: number): number => h.dv.getUint32(at, true) + h.dv.getUint32(at + 4, true) * WORD;

  function putWide(h: ObjectHandle, at: number, value: number): void {
    if (h.dirty[at >>> 6] !== 1) h.mark(at);
    h.dv.setUint32(at, value >>> 0, true);
    h.dv.setUint32(at + 4, Math.floor(value / WORD), true);
  }

  /** Offset of the directory's entry for the chunk of an element; its object is in `place`. */
  function slotOf(h: ObjectHandle, o: number, seq: number): number {
    const directory = h.dv.getUint32(o + DIRECTORY, true);
    const room = h.dv.getUint32(o + ROOM, true);
    if (directory === 0 || room === 0) h.corrupt(o, `the ${kind} has no directory`);
    place = object(h, o, directory);
    return offset(directory) + (Math.floor(seq / CHUNK) % room) * 4;
  }

  /** Offset of an element that there is. */
  function locate(h: ObjectHandle, o: number, seq: number): number {
    try {
      const slot = slotOf(h, o, seq);
      const address = (place as ObjectHandle).dv.getUint32(slot, true);
      if (address === 0) h.corrupt(o, `the chunk of element ${seq} is missing`);
      place = object(h, o, address);
      return offset(address) + (seq % CHUNK) * stride;
    } catch (error) {
      throw T.damaged(h, o, error);
    }
  }

  /** The log that an append-only object is: the kernel is told how far it goes. */
  function isAppendOnly(h: ObjectHandle, o: number): boolean {
    return counts && h.kindName === 'append-only' && h.dv.getUint32(ROOT_AT, true) === o;
  }

  /** A directory for `room` chunks in the place of the old. */
  function resize(h: ObjectHandle, o: number, room: number): void {
    const old = h.dv.getUint32(o + DIRECTORY, true);
    const address = T.allocate(h, o + POOL, room * 4);
    const to = object(h, o, address);
    to.markRange(offset(address), room * 4);
    if (old !== 0) {
      const before = h.dv.getUint32(o + ROOM, true);
      const from = object(h, o, old);
      const first = Math.floor(wide(h, o) / CHUNK);
      for (let n = first; n < first + Math.min(before, room); n++)
        to.dv.setUint32(offset(address) + (n % room) * 4, from.dv.getUint32(offset(old) + (n % before) * 4, true), true);
    }
    put(h, o + DIRECTORY, address);
    put(h, o + ROOM, room);
    if (isAppendOnly(h, o)) put(to, ROW_AT, offset(address));
    if (old !== 0) T.release(h, o + POOL, old);
  }

  /** Makes the chunk for an element behind the last. */
  function reserve(h: ObjectHandle, o: number, seq: number): void {
    const room = h.dv.getUint32(o + ROOM, true);
    const needed = Math.floor(seq / CHUNK) - Math.floor(wide(h, o) / CHUNK) + 1;
    if (needed > room) resize(h, o, Math.max(4, room * 2));
    const slot = slotOf(h, o, seq);
    if ((place as ObjectHandle).dv.getUint32(slot, true) !== 0) return;
    const bytes = CHUNK * stride;
    const address = T.allocate(h, o + POOL, bytes < 16 ? 16 : bytes);
    const again = slotOf(h, o, seq);
    put(place as ObjectHandle, again, address);
  }

  function append(h: ObjectHandle, o: number, value: I): void {
    const seq = wide(h, o + NEXT);
    reserve(h, o, seq);
    const at = locate(h, o, seq);
    const t = place as ObjectHandle;
    E.put(h, o + POOL, t, at, value);
    putWide(h, o + NEXT, seq + 1);
    if (isAppendOnly(h, o)) put(t, TAIL_AT, at + stride);
    if (counts) putWide(h, o + BYTES, wide(h, o + BYTES) + E.bytes(h, o + POOL, t, at));
  }

  function release(h: ObjectHandle, o: number, seq: number): void {
    const slot = slotOf(h, o, seq);
    const d = place as ObjectHandle;
    const address = d.dv.getUint32(slot, true);
    if (address === 0) return;
    put(d, slot, 0);
    T.release(h, o + POOL, address);
  }

  /** Drops elements in front, up to `seq`. */
  function trim(h: ObjectHandle, o: number, seq: number): void {
    let first = wide(h, o);
    if (seq <= first) return;
    while (first < seq) {
      const end = Math.min(seq, (Math.floor(first / CHUNK) + 1) * CHUNK);
      if (owns || counts) {
        let at = locate(h, o, first);
        const t = place as ObjectHandle;
        let bytes = 0;
        for (let i = first; i < end; i++, at += stride) {
          if (counts) bytes += E.bytes(h, o + POOL, t, at);
          if (owns) E.drop(h, o + POOL, t, at);
        }
        if (counts) putWide(h, o + BYTES, wide(h, o + BYTES) - bytes);
      }
      if (end % CHUNK === 0) release(h, o, first);
      putWide(h, o, end);
      first = end;
    }
    const room = h.dv.getUint32(o + ROOM, true);
    const used = Math.floor(wide(h, o + NEXT) / CHUNK) - Math.floor(seq / CHUNK) + 1;
    if (room > 16 && used * 8 <= room) resize(h, o, room / 4);
  }

  /** Takes back the last elements, down to `seq`: those of an append that failed. */
  function unwind(h: ObjectHandle, o: number, seq: number): void {
    const next = wide(h, o + NEXT);
    // The one that failed may have been the first of a chunk, which is there already.
    const ahead = Math.floor(next / CHUNK) - Math.floor(wide(h, o) / CHUNK);
    if (next > seq && next % CHUNK === 0 && ahead < h.dv.getUint32(o + ROOM, true)) release(h, o, next);
    for (let last = wide(h, o + NEXT) - 1; last >= seq; last--) {
      const at = locate(h, o, last);
      const t = place as ObjectHandle;
      if (counts) putWide(h, o + BYTES, wide(h, o + BYTES) - E.bytes(h, o + POOL, t, at));
      E.drop(h, o + POOL, t, at);
      if (last % CHUNK === 0) release(h, o, last);
      putWide(h, o + NEXT, last);
    }
  }

  /** Keeps what retention says, and the last one whatever it says. */
  function retain(h: ObjectHandle, o: number): void {
    const next = wide(h, o + NEXT);
    if (keep.entries !== undefined) trim(h, o, next - keep.entries);
    if (keep.bytes === undefined) return;
    while (wide(h, o + BYTES) > keep.bytes && wide(h, o) < next - 1) trim(h, o, wide(h, o) + 1);
  }

  /** Gives back everything; numbers go on. `whole`: the home goes as well. */
  function empty(h: ObjectHandle, o: number, whole: boolean): void {
    if (h.cold) h.warm();
    const next = wide(h, o + NEXT);
    const directory = h.dv.getUint32(o + DIRECTORY, true);
    if (directory === 0) return;
    if (owns) {
      for (let seq = wide(h, o); seq < next; seq++) {
        const at = locate(h, o, seq);
        E.scrap(h, o + POOL, place as ObjectHandle, at, whole);
      }
    }
    if (!whole) {
      const room = h.dv.getUint32(o + ROOM, true);
      for (let i = 0; i < room; i++) {
        const address = object(h, o, directory).dv.getUint32(offset(directory) + i * 4, true);
        if (address !== 0 && address >>> 22 === 0) h.release(offset(address));
      }
      if (directory >>> 22 === 0) h.release(offset(directory));
    }
    T.destroy(h, o + POOL);
    putWide(h, o, next);
    put(h, o + DIRECTORY, 0);
    put(h, o + ROOM, 0);
    putWide(h, o + BYTES, 0);
  }

  class Base {
    readonly #h: ObjectHandle;
    readonly $o: number;

    constructor(h: ObjectHandle, o: number) {
      this.#h = h;
      this.$o = o | 0;
    }

    get $h(): ObjectHandle {
      return this.#h;
    }

    /** The number of the first element. */
    get first(): number {
      const h = this.#h;
      if (h.cold) h.warm();
      return wide(h, this.$o);
    }

    get next(): number {
      const h = this.#h;
      if (h.cold) h.warm();
      return wide(h, this.$o + NEXT);
    }

    get length(): number {
      return this.next - this.first;
    }

    get(seq: number): V | undefined {
      if (!(seq >= this.first && seq < this.next) || Math.trunc(seq) !== seq) return undefined;
      const at = locate(this.#h, this.$o, seq);
      return E.load(this.#h, this.$o + POOL, place as ObjectHandle, at);
    }

    take(seq: number): Taken<V> {
      const at = locate(this.#h, this.$o, seq);
      return E.take(this.#h, this.$o + POOL, place as ObjectHandle, at);
    }

    add(values: Iterable<I>): void {
      const h = this.#h;
      const { next } = this;
      try {
        for (const value of values) append(h, this.$o, value);
      } catch (error) {
        unwind(h, this.$o, next);
        throw error;
      }
      if (counts) retain(h, this.$o);
    }

    /** What goes meanwhile is left out, what comes is seen. */
    *numbers(from: number, to: number): Generator<number> {
      for (let seq = Math.max(from, this.first); seq < Math.min(to, this.next); seq = Math.max(seq + 1, this.first)) yield seq;
    }

    *values(from = 0, to = Infinity): Generator<V> {
      for (const seq of this.numbers(from, to)) yield this.get(seq) as V;
    }

    toArray(): V[] {
      return [...this.values()];
    }

    [Symbol.iterator](): Generator<V> {
      return this.values();
    }

    trim(before: number): void {
      if (!(before >= 0) || Math.trunc(before) !== before) T.outOfRange(kind, before);
      trim(this.#h, this.$o, Math.min(before, this.next));
    }

    clear(): void {
      empty(this.#h, this.$o, false);
    }

    usage(): CollectionUsage {
      return T.usage(this.#h, this.$o + POOL);
    }

    $assign(content: unknown): void {
      if (content === this) return;
      const { next } = this;
      this.add(T.refuseContent(content, kind, false) as Iterable<I>);
      trim(this.#h, this.$o, next);
    }

    $taken(): unknown[] {
      return Array.from(this.numbers(0, Infinity), (seq) => this.take(seq));
    }

    $drop(): void {
      empty(this.#h, this.$o, false);
    }

    $destroy(): void {
      empty(this.#h, this.$o, true);
    }

    [T.INSPECT](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
      return T.inspect(kind, this.length, this.values(), false, depth, options, inspect);
    }
  }

  class Queue extends Base {
    push(...values: I[]): number {
      if (values.length === 1) {
        const h = this.$h;
        if (h.cold) h.warm();
        append(h, this.$o, values[0] as I);
      } else this.add(values);
      return this.length;
    }

    extend(values: Iterable<I>): number {
      this.add(values === (this as Iterable<unknown>) ? (this.toArray() as Iterable<never>) : values);
      return this.length;
    }

    peek(): V | undefined {
      return this.get(this.first);
    }

    shift(): Taken<V> | undefined {
      const { first } = this;
      if (first === this.next) return undefined;
      const taken = this.take(first);
      trim(this.$h, this.$o, first + 1);
      return taken;
    }

    *drain(): Generator<Taken<V>> {
      while (this.length > 0) yield this.shift() as Taken<V>;
    }
  }

  class Log extends Base {
    get bytes(): number {
      return this.next === 0 ? 0 : wide(this.$h, this.$o + BYTES);
    }

    append(value: I): number {
      const seq = this.next;
      append(this.$h, this.$o, value);
      retain(this.$h, this.$o);
      return seq;
    }

    extend(values: Iterable<I>): number {
      this.add(values);
      return this.next;
    }

    *entries(from = 0, to = Infinity): Generator<[number, V]> {
      for (const seq of this.numbers(from, to)) yield [seq, this.get(seq) as V];
    }
  }

  return kind === 'Log' ? Log : Queue;
}

/**
 * Elements of sequences: how a value lies in a place of `stride` bytes.
 *
 *   plain     numbers, and structs, arrays and optionals of such: in place; its bytes may be copied anywhere
 *   pointer   ref and link: in place, 8 bytes; a move to another object enters the target in that object's FOT
 *   text, bytes   the pool address of a block {u32 length, bytes}; 0 where there are none
 *   boxed     what owns something (text in a struct, a collection …): the pool address of a block that never moves
 *   kept      the same in place, where places never move
 */
import { TwzError } from '../../abi/errors.ts';
import { PAGE } from '../../abi/format.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { Field, FixedArray } from '../fields.ts';
import { isAccessor, unfit, wipe } from '../runtime.ts';
import type { Instance, LayoutField, STRUCT } from '../struct.ts';
import { decodeText } from './keys.ts';
import { poolAllocate, poolObject, poolRelease } from './pool.ts';
import { VALUE_MAX, valueCodec } from './records.ts';
import { specialize } from './specialize.ts';

/** Types only: what a collection is when it is taken out of another. */
export declare const TAKEN: unique symbol;

/**
 * What an element was that has left its collection: the value itself, and of a struct a plain object with the values of its fields.
 * References stay references.
 */
export type Taken<V> = null extends V
  ? V
  : V extends { readonly [TAKEN]: infer T }
    ? T
    : V extends { readonly [STRUCT]: infer F }
      ? Instance<F> extends infer S
        ? { [K in Exclude<keyof S, typeof STRUCT>]: Taken<S[K]> }
        : never
      : V extends FixedArray<infer E, infer _I>
        ? Taken<E>[]
        : V extends { usage(): unknown } & Iterable<infer E>
          ? E[]
          : V;

export type ElementMode = 'plain' | 'pointer' | 'text' | 'bytes' | 'boxed' | 'kept';

export interface Elements<V, I> {
  readonly signature: string;
  readonly mode: ElementMode;
  readonly stride: number;
  readonly field: Field<V, I>;
  /** Throws what `put` would throw for a value, and changes nothing. */
  readonly check: (value: I, h: ObjectHandle) => I;
  /** `h` and `pool`: the collection's home and the offset of its pool there. `t` and `at`: the place. */
  load(h: ObjectHandle, pool: number, t: ObjectHandle, at: number): V;
  /** Fills a place that holds nothing, whatever its bytes are. It holds nothing still if this throws. */
  put(h: ObjectHandle, pool: number, t: ObjectHandle, at: number, value: I): void;
  /** Puts another value in the place of one. If this throws, the old one is still there. */
  set(h: ObjectHandle, pool: number, t: ObjectHandle, at: number, value: I): void;
  /** A value that stays when the element goes. */
  take(h: ObjectHandle, pool: number, t: ObjectHandle, at: number): Taken<V>;
  /** Gives back what it owns. The place holds nothing then. */
  drop(h: ObjectHandle, pool: number, t: ObjectHandle, at: number): void;
  /** As `drop`, where all objects of the pool go: only what lies at home, and what has objects of its own. `whole`: the home goes, too. */
  scrap(h: ObjectHandle, pool: number, t: ObjectHandle, at: number, whole: boolean): void;
  /** Moves an element to a place that holds nothing. Not for `kept`. */
  move(from: ObjectHandle, at: number, to: ObjectHandle, toAt: number): void;
  swap(a: ObjectHandle, at: number, b: ObjectHandle, bt: number): void;
  /** Bytes that it takes up. */
  bytes(h: ObjectHandle, pool: number, t: ObjectHandle, at: number): number;
}

/** What is used of a value's codec. */
interface Stored<V, I> {
  readonly size: number;
  readonly load: (t: ObjectHandle, at: number) => V;
  readonly store: (t: ObjectHandle, at: number, value: I) => void;
  readonly drop: (t: ObjectHandle, at: number) => void;
}

interface ElementTools {
  readonly allocate: typeof poolAllocate;
  readonly release: typeof poolRelease;
  readonly object: typeof poolObject;
  readonly wipe: typeof wipe;
  readonly text: typeof decodeText;
  readonly encode: (value: unknown, isText: boolean) => Uint8Array;
  readonly isAt: (value: unknown, h: ObjectHandle, at: number) => boolean;
  readonly taken: (value: unknown) => unknown;
  readonly PAGE: number;
}

const encoder = new TextEncoder();

function encode(value: unknown, isText: boolean): Uint8Array {
  if (isText ? typeof value !== 'string' : !(value instanceof Uint8Array))
    return unfit('an element', value, isText ? 'a string' : 'a Uint8Array');
  const data = typeof value === 'string' ? encoder.encode(value) : (value as Uint8Array);
  if (data.length > VALUE_MAX)
    throw new TwzError('OutOfRange', `an element of ${data.length} bytes; the limit in a collection is ${VALUE_MAX}`, {
      length: data.length,
    });
  return data;
}

function makeElements<V, I>(
  mode: ElementMode,
  stride: number,
  scalar: boolean,
  C: Stored<V, I>,
  T: ElementTools,
): Omit<Elements<V, I>, 'signature' | 'field' | 'check'> {
  const boxed = mode === 'boxed';
  const long = mode === 'text' || mode === 'bytes';
  const size = boxed ? (C.size < 16 ? 16 : C.size) : stride;

  // Compiled on first use, when all structs are declared. The calls below only ever meet the compiled functions: they are inlined.
  let compiledLoad: Stored<V, I>['load'] | undefined;
  let compiledStore: Stored<V, I>['store'] | undefined;
  let compiledDrop: Stored<V, I>['drop'] | undefined;

  function loadValue(t: ObjectHandle, at: number): V {
    if (compiledLoad === undefined) compiledLoad = C.load;
    return compiledLoad(t, at);
  }

  function storeValue(t: ObjectHandle, at: number, value: I): void {
    if (compiledStore === undefined) compiledStore = C.store;
    compiledStore(t, at, value);
  }

  function dropValue(t: ObjectHandle, at: number): void {
    if (compiledDrop === undefined) compiledDrop = C.drop;
    compiledDrop(t, at);
  }

  const offset = (address: number): number => (address & 0x3fffff) << 4;
  const object = (h: ObjectHandle, pool: number, address: number): ObjectHandle => (address >>> 22 === 0 ? h : T.object(h, pool, address));

  function point(t: ObjectHandle, at: number, address: number): void {
    if (t.dirty[at >>> 6] !== 1) t.mark(at);
    t.dv.setUint32(at, address, true);
  }

  /** A new block with text or bytes; 0 for none. */
  function enclose(h: ObjectHandle, pool: number, data: Uint8Array): number {
    if (data.length === 0) return 0;
    const address = T.allocate(h, pool, data.length + 4 < 16 ? 16 : data.length + 4);
    const r = object(h, pool, address);
    const at = offset(address);
    r.markRange(at, data.length + 4);
    r.dv.setUint32(at, data.length, true);
    r.u8.set(data, at + 4);
    return address;
  }

  function loadLong(h: ObjectHandle, pool: number, address: number): unknown {
    if (address === 0) return mode === 'text' ? '' : new Uint8Array(0);
    const r = object(h, pool, address);
    const at = offset(address) + 4;
    const length = r.dv.getUint32(at - 4, true);
    if (at + length > r.size) r.corrupt(at - 4, `an element of ${length} bytes does not fit the object`);
    return mode === 'text' ? T.text(r, at, length) : r.u8.slice(at, at + length);
  }

  /** Fills `size` bytes that hold nothing. */
  function fill(t: ObjectHandle, at: number, value: I): void {
    T.wipe(t, at, size);
    try {
      storeValue(t, at, value);
    } catch (error) {
      if (mode !== 'plain') dropValue(t, at);
      throw error;
    }
  }

  function refill(t: ObjectHandle, at: number, value: I): void {
    if (T.isAt(value, t, at)) return;
    if (mode === 'plain') {
      const old = t.u8.slice(at, at + size);
      try {
        fill(t, at, value);
      } catch (error) {
        t.u8.set(old, at);
        throw error;
      }
      return;
    }
    // The old value waits elsewhere in its object until the new one is in its place.
    const aside = t.allocate(size);
    t.markRange(aside, size);
    t.u8.copyWithin(aside, at, at + size);
    try {
      fill(t, at, value);
      dropValue(t, aside);
    } catch (error) {
      t.u8.copyWithin(at, aside, aside + size);
      throw error;
    } finally {
      t.release(aside);
    }
  }

  /** Moves a pointer between objects. What is left behind counts for nothing. */
  function movePointer(from: ObjectHandle, at: number, to: ObjectHandle, toAt: number): void {
    let low = from.dv.getUint32(at, true);
    const high = from.dv.getUint32(at + 4, true);
    let index = 0;
    if (high !== 0) {
      index = to.referAs(from, high >>> 8);
      from.unrefer(high >>> 8);
    } else if (low !== 0) index = to.refer(from);
    // A link to the object that it lies in must still be something.
    if (index === 0 && low === 0 && high !== 0) low = T.PAGE;
    if (to.dirty[toAt >>> 6] !== 1) to.mark(toAt);
    to.dv.setUint32(toAt, low, true);
    to.dv.setUint32(toAt + 4, (index << 8) >>> 0, true);
  }

  function move(from: ObjectHandle, at: number, to: ObjectHandle, toAt: number): void {
    if (mode === 'pointer' && from !== to) {
      movePointer(from, at, to, toAt);
      return;
    }
    to.markRange(toAt, stride);
    if (from === to) to.u8.copyWithin(toAt, at, at + stride);
    else to.u8.set(from.u8.subarray(at, at + stride), toAt);
  }

  return {
    mode,
    stride,
    move,

    load(h, pool, t, at) {
      if (long) return loadLong(h, pool, t.dv.getUint32(at, true)) as V;
      if (!boxed) return loadValue(t, at);
      const address = t.dv.getUint32(at, true);
      return loadValue(object(h, pool, address), offset(address));
    },

    put(h, pool, t, at, value) {
      if (scalar) storeValue(t, at, value);
      else if (long) {
        const data = T.encode(value, mode === 'text');
        t.mark(at);
        point(t, at, enclose(h, pool, data));
      } else if (boxed) {
        t.mark(at);
        const address = T.allocate(h, pool, size);
        try {
          fill(object(h, pool, address), offset(address), value);
        } catch (error) {
          T.release(h, pool, address);
          throw error;
        }
        point(t, at, address);
      } else fill(t, at, value);
    },

    set(h, pool, t, at, value) {
      if (scalar || mode === 'pointer') storeValue(t, at, value);
      else if (long) {
        const data = T.encode(value, mode === 'text');
        t.mark(at);
        const old = t.dv.getUint32(at, true);
        if (old !== 0) {
          const r = object(h, pool, old);
          if (r.dv.getUint32(offset(old), true) === data.length) {
            r.markRange(offset(old) + 4, data.length);
            r.u8.set(data, offset(old) + 4);
            return;
          }
        }
        point(t, at, enclose(h, pool, data));
        if (old !== 0) T.release(h, pool, old);
      } else if (boxed) {
        const address = t.dv.getUint32(at, true);
        refill(object(h, pool, address), offset(address), value);
      } else refill(t, at, value);
    },

    take(h, pool, t, at) {
      const value = this.load(h, pool, t, at);
      return (scalar || long || mode === 'pointer' ? value : T.taken(value)) as Taken<V>;
    },

    drop(h, pool, t, at) {
      if (mode === 'plain') return;
      if (!boxed && !long) {
        dropValue(t, at);
        return;
      }
      const address = t.dv.getUint32(at, true);
      if (address === 0) return;
      if (boxed) dropValue(object(h, pool, address), offset(address));
      T.release(h, pool, address);
    },

    scrap(h, pool, t, at, whole) {
      if (mode === 'plain') return;
      if (mode === 'pointer') {
        if (!whole && t === h) dropValue(t, at);
        return;
      }
      if (mode === 'kept') {
        dropValue(t, at);
        return;
      }
      const address = t.dv.getUint32(at, true);
      if (boxed) dropValue(object(h, pool, address), offset(address));
      if (address !== 0 && address >>> 22 === 0 && !whole) h.release(offset(address));
    },

    swap(a, at, b, bt) {
      if (a === b && at === bt) return;
      if (mode === 'pointer' && a !== b) {
        const aside = b.allocate(8);
        movePointer(a, at, b, aside);
        movePointer(b, bt, a, at);
        move(b, aside, b, bt);
        b.release(aside);
        return;
      }
      const old = a.u8.slice(at, at + stride);
      move(b, bt, a, at);
      b.markRange(bt, stride);
      b.u8.set(old, bt);
    },

    bytes(h, pool, t, at) {
      if (boxed) return stride + size;
      if (!long) return stride;
      const address = t.dv.getUint32(at, true);
      return address === 0 ? stride : stride + 4 + object(h, pool, address).dv.getUint32(offset(address), true);
    },
  };
}

/** Does it own more than its bytes? */
function owns(field: Field<unknown, never>): boolean {
  const { kind } = field.describe;
  if (kind === 'text' || kind === 'bytes' || kind === 'ref' || kind === 'link' || kind === 'collection') return true;
  if (kind === 'optional' || kind === 'array') return owns(field.of as Field<unknown, never>);
  return kind === 'struct' && layoutOf(field).some((each) => owns(each.field));
}

function layoutOf(field: object): readonly LayoutField[] {
  return 'layout' in field ? (field.layout as { readonly fields: readonly LayoutField[] }).fields : [];
}

/** Makes of a value in place one that stays. */
function takerOf(field: Field<unknown, never>): (value: unknown) => unknown {
  const { kind } = field.describe;
  if (kind === 'optional') {
    const inner = takerOf(field.of as Field<unknown, never>);
    return (value) => (value === undefined ? undefined : inner(value));
  }
  if (kind === 'array') {
    const inner = takerOf(field.of as Field<unknown, never>);
    return (value) => Array.from(value as Iterable<unknown>, inner);
  }
  if (kind === 'struct') {
    const fields = layoutOf(field).map((each) => ({ name: each.name, taken: takerOf(each.field) }));
    return (value) => Object.fromEntries(fields.map(({ name, taken }) => [name, taken(Reflect.get(value as object, name))]));
  }
  if (kind === 'collection') {
    const parts: unknown = 'parts' in field ? field.parts : [];
    const last: unknown = Array.isArray(parts) ? parts.at(-1) : undefined;
    const inner = typeof last === 'object' && last !== null ? takerOf(last as Field<unknown, never>) : (value: unknown): unknown => value;
    const pairs = 'key' in field.describe && field.describe.key !== undefined && field.describe.value !== undefined;
    return (value) => {
      if ('$taken' in (value as object)) return (value as { $taken(): unknown }).$taken();
      return Array.from(value as Iterable<unknown>, (each) =>
        pairs ? [(each as [unknown, unknown])[0], inner((each as [unknown, unknown])[1])] : inner(each),
      );
    };
  }
  return (value) => value;
}

/** The elements of one type of sequence, compiled for it. `moves`: whether places move. */
export function elementsOf<V, I>(field: Field<V, I>, moves: boolean): Elements<V, I> {
  const codec = valueCodec(field, 'an element');
  const { kind } = field.describe;
  const mode: ElementMode =
    kind === 'text' || kind === 'bytes'
      ? kind
      : kind === 'ref' || kind === 'link'
        ? 'pointer'
        : owns(field)
          ? moves
            ? 'boxed'
            : 'kept'
          : 'plain';
  const stride = mode === 'text' || mode === 'bytes' || mode === 'boxed' ? 4 : Math.ceil(field.size / field.align) * field.align;
  const scalar = kind === 'number' || kind === 'bigint' || kind === 'bool' || kind === 'oneOf';
  let taken: ((value: unknown) => unknown) | undefined;
  const tools: ElementTools = {
    allocate: poolAllocate,
    release: poolRelease,
    object: poolObject,
    wipe,
    text: decodeText,
    encode,
    isAt: (value, h, at) => isAccessor(value) && value.$h === h && value.$o === at,
    taken: (value) => (taken ??= takerOf(field))(value),
    PAGE,
  };
  const made = specialize(makeElements<V, I>)(mode, stride, scalar, codec, tools);
  return Object.assign(made, { signature: codec.signature, field, check: (value: I, h: ObjectHandle): I => codec.check(value, h) });
}

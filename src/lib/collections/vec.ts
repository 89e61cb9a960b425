/**
 * Vec: an array over as many objects as it takes. Its places are chunks (chunks.ts), what lies in them elements (elements.ts).
 *
 * An element stays where it is when others are pushed and popped: references to it and accessors of it stay good. What moves elements
 * (insert, remove, splice, swap, reverse, sort) moves them by their bytes; those that own something (a struct with text, a collection)
 * lie in blocks of their own, and only the blocks' addresses move.
 */
import { TwzError } from '../../abi/errors.ts';
import type { Field } from '../fields.ts';
import { INSPECT } from '../inspect.ts';
import { Obj } from '../object.ts';
import { isAccessor, outOfRange } from '../runtime.ts';
import { CHUNKS_HEADER, chunksOf } from './chunks.ts';
import { elementsOf, type Taken } from './elements.ts';
import { specialize } from './specialize.ts';
import { collectionType, type CollectionType } from './type.ts';
import { checkElements, inspectEntries, refuseContent, usageOf, type CollectionUsage } from './tools.ts';
import { makeVec, type VecTools } from './vec-class.ts';

/** A typed array that takes the elements of a Vec of numbers. */
export type NumbersOf<V> = V extends number
  ? Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array | Float64Array
  : V extends bigint
    ? BigUint64Array | BigInt64Array
    : never;

/**
 * A persistent array. Changes belong in transactions; each is whole, or throws and changes nothing. Indexes are integers from 0;
 * a wrong one throws OutOfRange, where an Array would give undefined or make a hole.
 */
export interface Vec<V, I = V> extends Iterable<V> {
  readonly length: number;
  /** An element: an accessor in place for a struct, a copy for text and bytes. Throws OutOfRange. */
  get(index: number): V;
  /** As `get`, but counts from the end where the index is negative, and gives undefined where there is no such element. */
  at(index: number): V | undefined;
  /** Puts another value in the place of an element. A struct is set field by field from zero; references to it stay. */
  set(index: number, value: I): void;
  /** Appends; returns the new length. Nothing that is there moves. */
  push(...values: I[]): number;
  /** Appends all; arrays and typed arrays are fastest. Returns the new length. */
  extend(values: Iterable<I>): number;
  /** Takes the last element away and returns what it was. References to it must be gone. */
  pop(): Taken<V> | undefined;
  /** Puts values in front of the element at `index`. Takes time for all elements behind it, as do `remove` and `splice`. */
  insert(index: number, ...values: I[]): void;
  /** Takes one element away and returns what it was. */
  remove(index: number): Taken<V>;
  /** Takes `count` elements away, puts others in their place, and returns what those were. */
  splice(index: number, count: number, ...values: I[]): Taken<V>[];
  /** Drops all elements from `length` on. */
  truncate(length: number): void;
  clear(): void;
  fill(value: I, from?: number, to?: number): void;
  swap(a: number, b: number): void;
  reverse(): void;
  /** Sorts in place, stably; numbers by value and text by its code units unless `compare` says otherwise. Orders in memory: a number an element. */
  sort(compare?: (a: V, b: V) => number): void;
  /** Position of a value, -1 for none; for structs and references: of this very place. */
  indexOf(value: V, from?: number): number;
  includes(value: V, from?: number): boolean;
  /** Position in a sorted Vec, or ~p, where p is the position to insert at. `compare` tells an element from what is sought. */
  binarySearch(sought: V | ((element: V) => number)): number;
  find(test: (value: V, index: number) => boolean): V | undefined;
  findIndex(test: (value: V, index: number) => boolean): number;
  some(test: (value: V, index: number) => boolean): boolean;
  every(test: (value: V, index: number) => boolean): boolean;
  /** The fastest way to read it all. What is pushed meanwhile is not seen. */
  forEach(callback: (value: V, index: number, vec: this) => void): void;
  map<R>(callback: (value: V, index: number) => R): R[];
  filter(test: (value: V, index: number) => boolean): V[];
  reduce<R>(callback: (sum: R, value: V, index: number) => R, initial: R): R;
  slice(from?: number, to?: number): V[];
  toArray(): V[];
  /** Copies numbers from `from` on, as many as `target` takes; returns how many. */
  copyTo(target: NumbersOf<V>, from?: number): number;
  keys(): IterableIterator<number>;
  values(): IterableIterator<V>;
  entries(): IterableIterator<[number, V]>;
  usage(): CollectionUsage;
}

const RAW: Readonly<Record<string, unknown>> = {
  'number u8': Uint8Array,
  'number i8': Int8Array,
  'number u16': Uint16Array,
  'number i16': Int16Array,
  'number u32': Uint32Array,
  'number i32': Int32Array,
  'number f32': Float32Array,
  'number f64': Float64Array,
  'bigint u64': BigUint64Array,
  'bigint i64': BigInt64Array,
};

const TOOLS: VecTools = {
  usage: usageOf,
  refuseContent,
  outOfRange: (index, length) => outOfRange('Vec', index, length),
  refuse(name, message) {
    throw new TwzError(name, message);
  },
  same(a, b) {
    if (a === b) return true;
    if (isAccessor(a)) return isAccessor(b) && a.$h === b.$h && a.$o === b.$o && a.constructor === b.constructor;
    if (a instanceof Uint8Array) return b instanceof Uint8Array && a.length === b.length && a.every((byte, i) => byte === b[i]);
    return a instanceof Obj && b instanceof Obj && a.id === b.id;
  },
  raw(values, type) {
    const wanted = RAW[type];
    if (typeof wanted !== 'function' || !(values instanceof wanted) || !ArrayBuffer.isView(values)) return undefined;
    return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  },
  INSPECT,
  inspect: inspectEntries,
};

/** The type of arrays of `element`, which is any field: a number, text, bytes, a struct, a reference, another collection. */
export function vec<V, I>(element: Field<V, I>): CollectionType<Vec<V, I>, Iterable<I>> {
  const elements = elementsOf(element, true);
  return collectionType({
    kind: 'Vec',
    name: `Vec<${element.describe.type}>`,
    signature: `Vec<${elements.signature}>`,
    size: CHUNKS_HEADER,
    shape: { size: CHUNKS_HEADER, value: element.describe },
    parts: [element],
    check: checkElements('Vec', () => elements.check),
    make: () => specialize(makeVec<V, I>)(elements, chunksOf(elements.stride, 8), TOOLS),
  });
}

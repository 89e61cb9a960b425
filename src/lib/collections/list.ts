/** List: doubly linked; entries are handles that stay good while others come and go (list-class.ts). */
import { isTwzError, TwzError } from '../../abi/errors.ts';
import type { Field } from '../fields.ts';
import { INSPECT } from '../inspect.ts';
import { unfit } from '../runtime.ts';
import { elementsOf, type Taken } from './elements.ts';
import { LIST_HEADER, makeList, type ListTools } from './list-class.ts';
import { poolAllocate, poolDestroy, poolObject, poolRelease } from './pool.ts';
import { specialize } from './specialize.ts';
import { collectionType, type CollectionType } from './type.ts';
import { checkElements, inspectEntries, refuseContent, usageOf, type CollectionUsage } from './tools.ts';

/** A place in a List. It stays good until its element is taken out; then it throws StaleReference. */
export interface ListEntry<V, I = V> {
  /** False once the element was taken out. Its room may serve another element of the List later: do not keep such entries. */
  readonly isPresent: boolean;
  get value(): V;
  /** Puts another value in the place. */
  set value(value: V | I);
  readonly next: ListEntry<V, I> | undefined;
  readonly previous: ListEntry<V, I> | undefined;
  /** Is it the same place? */
  is(other: ListEntry<V, I>): boolean;
}

/**
 * A persistent doubly linked list: it is changed anywhere in constant time, and its elements never move. Changes belong in transactions; each
 * is whole, or throws and changes nothing. An entry of another List is refused (ValueMismatch).
 */
export interface List<V, I = V> extends Iterable<V> {
  readonly length: number;
  readonly first: ListEntry<V, I> | undefined;
  readonly last: ListEntry<V, I> | undefined;
  /** Adds at the end; returns the new length. */
  push(...values: I[]): number;
  /** Adds at the beginning, in this order; returns the new length. */
  unshift(...values: I[]): number;
  /** Takes the last element out and returns what it was: of a struct a plain object. */
  pop(): Taken<V> | undefined;
  shift(): Taken<V> | undefined;
  insertBefore(entry: ListEntry<V, I>, value: I): ListEntry<V, I>;
  insertAfter(entry: ListEntry<V, I>, value: I): ListEntry<V, I>;
  remove(entry: ListEntry<V, I>): Taken<V>;
  /** Takes out `count` elements from `entry` on, puts others in their place, and returns what those were. */
  splice(entry: ListEntry<V, I>, count: number, ...values: I[]): Taken<V>[];
  clear(): void;
  values(): IterableIterator<V>;
  /** From the last to the first. */
  reversed(): IterableIterator<V>;
  /** The places, not the values. */
  entries(): IterableIterator<ListEntry<V, I>>;
  toArray(): V[];
  usage(): CollectionUsage;
}

const TOOLS: ListTools = {
  allocate: poolAllocate,
  release: poolRelease,
  object: poolObject,
  destroy: poolDestroy,
  usage: usageOf,
  refuseContent,
  foreign: (value) => unfit('List', value, 'an entry of this List'),
  stale() {
    throw new TwzError('StaleReference', 'the element of this List entry was taken out');
  },
  astray: (error) => error instanceof RangeError || isTwzError(error, 'PointerCorrupt'),
  INSPECT,
  inspect: inspectEntries,
};

/** The type of doubly linked lists of `element`, which is any field. */
export function list<V, I>(element: Field<V, I>): CollectionType<List<V, I>, Iterable<I>> {
  const elements = elementsOf(element, false);
  return collectionType({
    kind: 'List',
    name: `List<${element.describe.type}>`,
    signature: `List<${elements.signature}>`,
    size: LIST_HEADER,
    shape: { size: LIST_HEADER, value: element.describe },
    parts: [element],
    check: checkElements('List', () => elements.check),
    make: () => specialize(makeList<V, I>)(elements, TOOLS),
  });
}

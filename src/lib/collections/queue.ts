/** Queue: first in, first out; and Log: append-only, with numbers and retention. Both are rings of chunks (ring.ts). */
import { TwzError } from '../../abi/errors.ts';
import { META } from '../../abi/format.ts';
import type { Field } from '../fields.ts';
import { INSPECT } from '../inspect.ts';
import { elementsOf, type Taken } from './elements.ts';
import { poolAllocate, poolDestroy, poolObject, poolRelease } from './pool.ts';
import { makeRing, RING_HEADER, type Retention, type RingTools } from './ring.ts';
import { specialize } from './specialize.ts';
import { collectionType, type CollectionType } from './type.ts';
import { checkElements, damaged, inspectEntries, refuseContent, usageOf, type CollectionUsage } from './tools.ts';

/** A persistent queue. What is consumed gives its room back. Changes belong in transactions; each is whole, or throws and changes nothing. */
export interface Queue<V, I = V> extends Iterable<V> {
  readonly length: number;
  /** Appends; returns the new length. */
  push(...values: I[]): number;
  extend(values: Iterable<I>): number;
  /** Takes the first element out and returns what it was: of a struct a plain object. */
  shift(): Taken<V> | undefined;
  /** The first element, where it is. */
  peek(): V | undefined;
  /** Takes out one after the other, until none is left or the loop ends. */
  drain(): IterableIterator<Taken<V>>;
  clear(): void;
  /** From the first to the last; nothing is taken out. What is pushed meanwhile is seen. */
  values(): IterableIterator<V>;
  toArray(): V[];
  usage(): CollectionUsage;
}

/**
 * A persistent log. Each element gets a number, from 0 on, that stays its own; the oldest go when retention or `trim` says so, and the
 * objects that held them as a whole.
 */
export interface Log<V, I = V> extends Iterable<V> {
  readonly length: number;
  /** The number of the oldest element that is kept. */
  readonly first: number;
  /** The number that the next element gets. */
  readonly next: number;
  /** What retention counts: the elements as they lie in place, and text and bytes with their content. */
  readonly bytes: number;
  /** Returns the element's number. */
  append(value: I): number;
  /** Appends all; returns `next`. */
  extend(values: Iterable<I>): number;
  /** Undefined where there is no such element, or no longer. */
  get(seq: number): V | undefined;
  /** Elements from number `from` up to, and without, `to`. What is appended meanwhile is seen. */
  values(from?: number, to?: number): IterableIterator<V>;
  /** The same with their numbers. */
  entries(from?: number, to?: number): IterableIterator<[number, V]>;
  toArray(): V[];
  /** Drops all elements in front of number `before`. */
  trim(before: number): void;
  /** Drops all; numbers go on. */
  clear(): void;
  usage(): CollectionUsage;
}

const TOOLS: RingTools = {
  META,
  allocate: poolAllocate,
  release: poolRelease,
  object: poolObject,
  destroy: poolDestroy,
  damaged,
  usage: usageOf,
  refuseContent,
  outOfRange(what, value) {
    throw new TwzError('OutOfRange', `${what}: ${String(value)} is not the number of an element`);
  },
  INSPECT,
  inspect: inspectEntries,
};

function ringType<C, V, I>(kind: 'Queue' | 'Log', element: Field<V, I>, keep: Retention): CollectionType<C, Iterable<I>> {
  const elements = elementsOf(element, false);
  return collectionType({
    kind,
    name: `${kind}<${element.describe.type}>`,
    signature: `${kind}<${elements.signature}>`,
    size: RING_HEADER,
    shape: { size: RING_HEADER, value: element.describe },
    parts: [element],
    check: checkElements(kind, () => elements.check),
    make: () => specialize(makeRing<V, I>)(kind, elements, keep, TOOLS),
  });
}

/** The type of queues of `element`, which is any field. */
export function queue<V, I>(element: Field<V, I>): CollectionType<Queue<V, I>, Iterable<I>> {
  return ringType('Queue', element, {});
}

/** The type of logs of `element`. Retention is the program's, not the stored type's: each `append` enforces it. */
export function log<V, I>(element: Field<V, I>, retention: Retention = {}): CollectionType<Log<V, I>, Iterable<I>> {
  for (const [name, limit] of Object.entries(retention)) {
    if (!['entries', 'bytes'].includes(name) || !Number.isSafeInteger(limit) || limit < 1)
      throw new TwzError('TypeInvalid', `log: retention ${name} = ${String(limit)}; entries and bytes are positive integers`, { name });
  }
  return ringType('Log', element, retention);
}

/**
 * The class behind List. It is compiled anew for each type of List (specialize.ts), so it uses nothing but its parameters.
 *
 *   header (40)   0 length  4 first node  8 last node  16 pool
 *   node          0 node before it  4 node behind it (addresses, 0 for none)  8 the element
 *
 * A node that lives is known to both neighbours: so an entry that is kept too long is found out. When a List is cleared there is nobody to
 * ask, and its nodes name GONE as the one behind them.
 */
import type { ObjectHandle } from '../../abi/handle.ts';
import type { AccessorClass } from '../emit.ts';
import type { INSPECT } from '../inspect.ts';
import type { Elements, Taken } from './elements.ts';
import type { ListEntry } from './list.ts';
import { POOL_HEADER, type poolAllocate, type poolDestroy, type poolObject, type poolRelease } from './pool.ts';
import type { CollectionUsage, inspectEntries, refuseContent, usageOf } from './tools.ts';

export const LIST_HEADER: number = 16 + POOL_HEADER;

export interface ListTools {
  readonly allocate: typeof poolAllocate;
  readonly release: typeof poolRelease;
  readonly object: typeof poolObject;
  readonly destroy: typeof poolDestroy;
  readonly usage: typeof usageOf;
  readonly refuseContent: typeof refuseContent;
  readonly foreign: (value: unknown) => never;
  readonly stale: () => never;
  /** Is it what a node that is none leads to? */
  readonly astray: (error: unknown) => boolean;
  readonly INSPECT: typeof INSPECT;
  readonly inspect: typeof inspectEntries;
}

export function makeList<V, I>(E: Elements<V, I>, T: ListTools): AccessorClass {
  const FIRST = 4;
  const LAST = 8;
  const POOL = 16;
  const NEXT = 4;
  const ELEMENT = 8;
  const GONE = 0xffffffff;
  const size = ELEMENT + E.stride < 16 ? 16 : ELEMENT + E.stride;

  const offset = (address: number): number => (address & 0x3fffff) << 4;

  function object(h: ObjectHandle, o: number, address: number): ObjectHandle {
    if (h.cold) h.warm();
    if (address >>> 22 === 0) return h;
    h.used = true;
    return T.object(h, o + POOL, address);
  }

  function put(h: ObjectHandle, at: number, value: number): void {
    if (h.dirty[at >>> 6] !== 1) h.mark(at);
    h.dv.setUint32(at, value, true);
  }

  const before = (h: ObjectHandle, o: number, c: number): number => object(h, o, c).dv.getUint32(offset(c), true);
  const behind = (h: ObjectHandle, o: number, c: number): number => object(h, o, c).dv.getUint32(offset(c) + NEXT, true);

  /** Lets what stands in front of `c` and `c` itself know each other; 0 stands for the ends. */
  function link(h: ObjectHandle, o: number, a: number, b: number): void {
    if (a === 0) put(h, o + FIRST, b);
    else put(object(h, o, a), offset(a) + NEXT, b);
    if (b === 0) put(h, o + LAST, a);
    else put(object(h, o, b), offset(b), a);
  }

  function lives(h: ObjectHandle, o: number, c: number): boolean {
    try {
      const next = behind(h, o, c);
      if (next === GONE) return false;
      const previous = before(h, o, c);
      return (
        (previous === 0 ? h.dv.getUint32(o + FIRST, true) : behind(h, o, previous)) === c &&
        (next === 0 ? h.dv.getUint32(o + LAST, true) : before(h, o, next)) === c
      );
    } catch (error) {
      if (T.astray(error)) return false;
      throw error;
    }
  }

  /** A new node between two neighbours. */
  function insert(h: ObjectHandle, o: number, a: number, b: number, value: I): number {
    const c = T.allocate(h, o + POOL, size);
    try {
      E.put(h, o + POOL, object(h, o, c), offset(c) + ELEMENT, value);
    } catch (error) {
      T.release(h, o + POOL, c);
      throw error;
    }
    link(h, o, a, c);
    link(h, o, c, b);
    put(h, o, h.dv.getUint32(o, true) + 1);
    return c;
  }

  function remove(h: ObjectHandle, o: number, c: number): void {
    const t = object(h, o, c);
    link(h, o, before(h, o, c), behind(h, o, c));
    put(h, o, h.dv.getUint32(o, true) - 1);
    E.drop(h, o + POOL, t, offset(c) + ELEMENT);
    T.release(h, o + POOL, c);
  }

  function load(h: ObjectHandle, o: number, c: number): V {
    return E.load(h, o + POOL, object(h, o, c), offset(c) + ELEMENT);
  }

  function take(h: ObjectHandle, o: number, c: number): Taken<V> {
    return E.take(h, o + POOL, object(h, o, c), offset(c) + ELEMENT);
  }

  /** Inserts all in front of `b`, or none. */
  function insertAll(h: ObjectHandle, o: number, b: number, values: Iterable<I>): void {
    const made: number[] = [];
    try {
      for (const value of values) made.push(insert(h, o, b === 0 ? h.dv.getUint32(o + LAST, true) : before(h, o, b), b, value));
    } catch (error) {
      for (const c of made) remove(h, o, c);
      throw error;
    }
  }

  /** The nodes, from one end to the other. What is taken out meanwhile is left out, what comes behind is seen. */
  function* nodes(h: ObjectHandle, o: number, back: boolean): Generator<number> {
    if (h.cold) h.warm();
    const follow = back ? before : behind;
    for (let c = h.dv.getUint32(o + (back ? LAST : FIRST), true); c !== 0;) {
      const saved = follow(h, o, c);
      yield c;
      if (lives(h, o, c)) c = follow(h, o, c);
      else c = saved !== 0 && lives(h, o, saved) ? saved : 0;
    }
  }

  function empty(h: ObjectHandle, o: number, whole: boolean): void {
    if (h.cold) h.warm();
    for (let c = h.dv.getUint32(o + FIRST, true); c !== 0;) {
      const t = object(h, o, c);
      const next = behind(h, o, c);
      E.scrap(h, o + POOL, t, offset(c) + ELEMENT, whole);
      if (t === h && !whole) {
        put(h, offset(c) + NEXT, GONE);
        h.release(offset(c));
      }
      c = next;
    }
    if (h.dv.getUint32(o + FIRST, true) === 0) return;
    T.destroy(h, o + POOL);
    for (const at of [0, FIRST, LAST]) put(h, o + at, 0);
  }

  class Entry {
    readonly #list: List;
    readonly #c: number;

    constructor(list: List, c: number) {
      this.#list = list;
      this.#c = c;
    }

    /** The node's address, if it is one of this list and still there. */
    static addressOf(entry: unknown, list: List): number {
      if (!(entry instanceof Entry) || entry.#list.$h !== list.$h || entry.#list.$o !== list.$o) return T.foreign(entry);
      return entry.address;
    }

    get address(): number {
      const { $h: h, $o: o } = this.#list;
      return lives(h, o, this.#c) ? this.#c : T.stale();
    }

    get isPresent(): boolean {
      return lives(this.#list.$h, this.#list.$o, this.#c);
    }

    get value(): V {
      const { $h: h, $o: o } = this.#list;
      return load(h, o, this.address);
    }

    set value(value: I) {
      const { $h: h, $o: o } = this.#list;
      const c = this.address;
      E.set(h, o + POOL, object(h, o, c), offset(c) + ELEMENT, value);
    }

    get next(): Entry | undefined {
      return this.#list.entryOf(behind(this.#list.$h, this.#list.$o, this.address));
    }

    get previous(): Entry | undefined {
      return this.#list.entryOf(before(this.#list.$h, this.#list.$o, this.address));
    }

    is(other: unknown): boolean {
      return other instanceof Entry && other.#c === this.#c && other.#list.$h === this.#list.$h && other.#list.$o === this.#list.$o;
    }

    [T.INSPECT](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
      return this.isPresent ? `ListEntry ${inspect(this.value, { ...options, depth: depth - 1 })}` : 'ListEntry <gone>';
    }
  }

  class List {
    readonly #h: ObjectHandle;
    readonly $o: number;

    constructor(h: ObjectHandle, o: number) {
      this.#h = h;
      this.$o = o | 0;
    }

    get $h(): ObjectHandle {
      return this.#h;
    }

    #word(at: number): number {
      if (this.#h.cold) this.#h.warm();
      return this.#h.dv.getUint32(this.$o + at, true);
    }

    get length(): number {
      return this.#word(0);
    }

    entryOf(c: number): Entry | undefined {
      return c === 0 ? undefined : new Entry(this, c);
    }

    get first(): Entry | undefined {
      return this.entryOf(this.#word(FIRST));
    }

    get last(): Entry | undefined {
      return this.entryOf(this.#word(LAST));
    }

    push(...values: I[]): number {
      this.#word(0);
      insertAll(this.#h, this.$o, 0, values);
      return this.length;
    }

    unshift(...values: I[]): number {
      insertAll(this.#h, this.$o, this.#word(FIRST), values);
      return this.length;
    }

    #out(c: number): Taken<V> | undefined {
      if (c === 0) return undefined;
      const taken = take(this.#h, this.$o, c);
      remove(this.#h, this.$o, c);
      return taken;
    }

    pop(): Taken<V> | undefined {
      return this.#out(this.#word(LAST));
    }

    shift(): Taken<V> | undefined {
      return this.#out(this.#word(FIRST));
    }

    insertBefore(entry: ListEntry<V, I>, value: I): Entry {
      const c = Entry.addressOf(entry, this);
      return new Entry(this, insert(this.#h, this.$o, before(this.#h, this.$o, c), c, value));
    }

    insertAfter(entry: ListEntry<V, I>, value: I): Entry {
      const c = Entry.addressOf(entry, this);
      return new Entry(this, insert(this.#h, this.$o, c, behind(this.#h, this.$o, c), value));
    }

    remove(entry: ListEntry<V, I>): Taken<V> {
      return this.#out(Entry.addressOf(entry, this)) as Taken<V>;
    }

    splice(entry: ListEntry<V, I>, count: number, ...values: I[]): Taken<V>[] {
      let c = Entry.addressOf(entry, this);
      insertAll(this.#h, this.$o, c, values);
      const taken: Taken<V>[] = [];
      for (; c !== 0 && taken.length < count;) {
        const next = behind(this.#h, this.$o, c);
        taken.push(this.#out(c) as Taken<V>);
        c = next;
      }
      return taken;
    }

    *values(): Generator<V> {
      for (const c of nodes(this.#h, this.$o, false)) yield load(this.#h, this.$o, c);
    }

    *reversed(): Generator<V> {
      for (const c of nodes(this.#h, this.$o, true)) yield load(this.#h, this.$o, c);
    }

    *entries(): Generator<Entry> {
      for (const c of nodes(this.#h, this.$o, false)) yield new Entry(this, c);
    }

    [Symbol.iterator](): Generator<V> {
      return this.values();
    }

    toArray(): V[] {
      return [...this.values()];
    }

    clear(): void {
      empty(this.#h, this.$o, false);
    }

    usage(): CollectionUsage {
      return T.usage(this.#h, this.$o + POOL);
    }

    $assign(content: unknown): void {
      if (content === this) return;
      const { length } = this;
      insertAll(this.#h, this.$o, 0, T.refuseContent(content, 'List', false) as Iterable<I>);
      for (let i = 0; i < length; i++) remove(this.#h, this.$o, this.#word(FIRST));
    }

    $taken(): unknown[] {
      return Array.from(nodes(this.#h, this.$o, false), (c) => take(this.#h, this.$o, c));
    }

    $drop(): void {
      empty(this.#h, this.$o, false);
    }

    $destroy(): void {
      empty(this.#h, this.$o, true);
    }

    [T.INSPECT](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
      return T.inspect('List', this.length, this.values(), false, depth, options, inspect);
    }
  }

  return List;
}

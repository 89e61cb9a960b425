/** The class behind Vec. It is compiled anew for each type of Vec (specialize.ts), so it uses nothing but its parameters. */
import type { ObjectHandle } from '../../abi/handle.ts';
import type { AccessorClass } from '../emit.ts';
import type { INSPECT } from '../inspect.ts';
import type { Chunks } from './chunks.ts';
import type { Elements, Taken } from './elements.ts';
import type { CollectionUsage, inspectEntries, refuseContent, usageOf } from './tools.ts';
import type { NumbersOf } from './vec.ts';

export interface VecTools {
  readonly usage: typeof usageOf;
  readonly refuseContent: typeof refuseContent;
  readonly outOfRange: (index: unknown, length: number) => never;
  readonly refuse: (name: 'InvalidArgument' | 'NotSupported' | 'OutOfRange', message: string) => never;
  readonly same: (a: unknown, b: unknown) => boolean;
  /** Is it a typed array whose bytes are the elements'? */
  readonly raw: (values: unknown, type: string) => Uint8Array | undefined;
  readonly INSPECT: typeof INSPECT;
  readonly inspect: typeof inspectEntries;
}

export function makeVec<V, I>(E: Elements<V, I>, C: Chunks, T: VecTools): AccessorClass {
  const POOL = 24;
  const CHANGES = 20;
  const { stride, mode } = E;
  const { kind, type } = E.field.describe;
  const owns = mode !== 'plain';
  const BATCH = 4096;

  function warm(h: ObjectHandle): void {
    if (h.cold) h.warm();
  }

  function place(h: ObjectHandle, o: number, index: number): number {
    // What was read or called since the last one may have taken its memory for others.
    if (h.cold) h.warm();
    const at = C.locate(h, o, index);
    const t = C.handle as ObjectHandle;
    if (t.cold) t.warm();
    return at;
  }

  function load(h: ObjectHandle, o: number, index: number): V {
    const at = place(h, o, index);
    return E.load(h, o + POOL, C.handle as ObjectHandle, at);
  }

  function put(h: ObjectHandle, o: number, index: number, value: I): void {
    const at = place(h, o, index);
    E.put(h, o + POOL, C.handle as ObjectHandle, at, value);
  }

  function drop(h: ObjectHandle, o: number, index: number): void {
    const at = place(h, o, index);
    E.drop(h, o + POOL, C.handle as ObjectHandle, at);
  }

  /** Appends the elements `from` to `to` of an array. */
  function append(h: ObjectHandle, o: number, values: ArrayLike<I>, from: number, to: number): void {
    const before = C.length(h, o);
    C.reserve(h, o, before + to - from);
    let i = from;
    try {
      while (i < to) {
        let at = place(h, o, before + i - from);
        const t = C.handle as ObjectHandle;
        const end = Math.min(to, C.end - before + from);
        t.markRange(at, (end - i) * stride);
        for (; i < end; i++, at += stride) E.put(h, o + POOL, t, at, values[i] as I);
      }
    } catch (error) {
      if (owns) for (let done = before + i - from; done > before; done--) drop(h, o, done - 1);
      C.trim(h, o, before);
      throw error;
    }
    C.setLength(h, o, before + to - from);
  }

  /** Appends the bytes of a typed array. */
  function appendRaw(h: ObjectHandle, o: number, bytes: Uint8Array): void {
    const before = C.length(h, o);
    const after = before + bytes.length / stride;
    C.reserve(h, o, after);
    for (let index = before, from = 0; index < after;) {
      const at = place(h, o, index);
      const t = C.handle as ObjectHandle;
      const end = Math.min(after, C.end);
      const length = (end - index) * stride;
      t.markRange(at, length);
      t.u8.set(bytes.subarray(from, from + length), at);
      from += length;
      index = end;
    }
    C.setLength(h, o, after);
  }

  /** Moves `count` elements; the places that they come to hold nothing, or what moves itself. */
  function shift(h: ObjectHandle, o: number, from: number, to: number, count: number): void {
    const up = to > from;
    while (count > 0) {
      const source = up ? from + count - 1 : from;
      const target = up ? to + count - 1 : to;
      let at = place(h, o, source);
      const a = C.handle as ObjectHandle;
      let run = Math.min(count, up ? source - C.start + 1 : C.end - source);
      let bt = place(h, o, target);
      const b = C.handle as ObjectHandle;
      run = Math.min(run, up ? target - C.start + 1 : C.end - target);
      if (up) {
        at -= (run - 1) * stride;
        bt -= (run - 1) * stride;
      }
      if (a.cold) a.warm();
      if (mode === 'pointer' && a !== b) {
        for (let i = 0; i < run; i++) {
          const each = (up ? run - 1 - i : i) * stride;
          E.move(a, at + each, b, bt + each);
        }
      } else {
        b.markRange(bt, run * stride);
        if (a === b) b.u8.copyWithin(bt, at, at + run * stride);
        else b.u8.set(a.u8.subarray(at, at + run * stride), bt);
      }
      count -= run;
      if (!up) {
        from += run;
        to += run;
      }
    }
  }

  function insert(h: ObjectHandle, o: number, index: number, values: readonly I[]): void {
    const before = C.length(h, o);
    const { length } = values;
    if (index === before || length === 0) {
      append(h, o, values, 0, length);
      return;
    }
    C.reserve(h, o, before + length);
    shift(h, o, index, index + length, before - index);
    let i = 0;
    try {
      for (; i < length; i++) put(h, o, index + i, values[i] as I);
    } catch (error) {
      while (i > 0) drop(h, o, index + --i);
      shift(h, o, index + length, index, before - index);
      C.trim(h, o, before);
      throw error;
    }
    C.setLength(h, o, before + length);
  }

  function take(h: ObjectHandle, o: number, index: number): Taken<V> {
    const at = place(h, o, index);
    return E.take(h, o + POOL, C.handle as ObjectHandle, at);
  }

  function remove(h: ObjectHandle, o: number, index: number, count: number): void {
    if (count === 0) return;
    const before = C.length(h, o);
    if (owns) for (let i = index; i < index + count; i++) drop(h, o, i);
    shift(h, o, index + count, index, before - index - count);
    C.setLength(h, o, before - count);
    C.trim(h, o, before - count);
  }

  function swap(h: ObjectHandle, o: number, i: number, j: number): void {
    const at = place(h, o, i);
    const a = C.handle as ObjectHandle;
    const bt = place(h, o, j);
    if (a.cold) a.warm();
    E.swap(a, at, C.handle as ObjectHandle, bt);
  }

  /** Gives back everything. `whole`: the home goes as well. */
  function empty(h: ObjectHandle, o: number, whole: boolean): void {
    const length = C.length(h, o);
    if (length === 0 && C.count(h, o) === 0) return;
    if (owns && !(whole && mode !== 'boxed')) {
      for (let i = 0; i < length;) {
        let at = place(h, o, i);
        const t = C.handle as ObjectHandle;
        for (const end = Math.min(length, C.end); i < end; i++, at += stride) {
          if (t.cold) t.warm();
          E.scrap(h, o + POOL, t, at, whole);
        }
      }
    }
    C.clear(h, o, whole);
  }

  function compare(a: V, b: V): number {
    return a < b ? -1 : a > b ? 1 : 0;
  }

  function ordered(): void {
    if (kind === 'text' || kind === 'number' || kind === 'bigint' || kind === 'bool' || kind === 'oneOf') return;
    T.refuse('InvalidArgument', `elements of ${type} have no order of their own: give a function that compares`);
  }

  const relative = (index: number, length: number): number => {
    const whole = Math.trunc(index) || 0;
    return whole < 0 ? Math.max(0, length + whole) : Math.min(whole, length);
  };

  const ITERATOR: object = Object.getPrototypeOf(Object.getPrototypeOf([].values()));

  /** An iterator that needs no generator: those cost ten times as much. It sees what is pushed meanwhile, as with an Array. */
  class Walk<R> implements IterableIterator<R> {
    readonly #vec: Vec;
    readonly #of: (vec: Vec, index: number) => R;
    #next = 0;

    constructor(from: Vec, of: (vec: Vec, index: number) => R) {
      this.#vec = from;
      this.#of = of;
    }

    next(): IteratorResult<R, undefined> {
      const i = this.#next;
      if (i >= this.#vec.length) {
        this.#next = Infinity;
        return { value: undefined, done: true };
      }
      this.#next = i + 1;
      return { value: this.#of(this.#vec, i), done: false };
    }

    [Symbol.iterator](): this {
      return this;
    }
  }
  Object.setPrototypeOf(Walk.prototype, ITERATOR);

  class Vec {
    readonly #h: ObjectHandle;
    readonly $o: number;
    /** The chunk that was used last, its first place and the one behind it, and when that was so. */
    #t: ObjectHandle;
    #base = 0;
    #start = 0;
    #end = 0;
    #changes = 0;
    #epoch = -1;

    constructor(h: ObjectHandle, o: number) {
      this.#h = h;
      this.$o = o | 0;
      this.#t = h;
    }

    /** Is the place in the chunk that was used last, and is that still where it was? */
    #knows(h: ObjectHandle, o: number, index: number): boolean {
      return (
        index >= this.#start &&
        index < this.#end &&
        this.#epoch === C.epoch + h.turn &&
        !this.#t.cold &&
        h.dv.getUint32(o + CHANGES, true) === this.#changes
      );
    }

    /** As `place`, but the chunk's object is in `#t`. */
    #place(h: ObjectHandle, o: number, index: number): number {
      if (this.#knows(h, o, index)) return this.#base + (index - this.#start) * stride;
      const at = place(h, o, index);
      this.#t = C.handle as ObjectHandle;
      this.#start = C.start;
      this.#end = C.end;
      this.#base = at - (index - C.start) * stride;
      if (h.cold) h.warm();
      this.#epoch = C.epoch + h.turn;
      this.#changes = h.dv.getUint32(o + CHANGES, true);
      return at;
    }

    get $h(): ObjectHandle {
      return this.#h;
    }

    get length(): number {
      const h = this.#h;
      if (h.cold) h.warm();
      return C.length(h, this.$o);
    }

    /** The handle, where the index is one of an element; `more`: or the one behind the last. */
    #at(index: number, more: boolean): ObjectHandle {
      const h = this.#h;
      if (h.cold) h.warm();
      const length = C.length(h, this.$o) + (more ? 1 : 0);
      if (!(index >= 0 && index < length && Math.trunc(index) === index)) T.outOfRange(index, length);
      return h;
    }

    get(index: number): V {
      const h = this.#h;
      const o = this.$o;
      if (h.cold) h.warm();
      if (index >>> 0 !== index || index >= h.dv.getUint32(o, true)) this.#at(index, false);
      const at = this.#place(h, o, index);
      return E.load(h, o + POOL, this.#t, at);
    }

    at(index: number): V | undefined {
      const { length } = this;
      const whole = Math.trunc(index) || 0;
      const wanted = whole < 0 ? length + whole : whole;
      return wanted >= 0 && wanted < length ? load(this.#h, this.$o, wanted) : undefined;
    }

    set(index: number, value: I): void {
      const h = this.#h;
      const o = this.$o;
      if (h.cold) h.warm();
      if (index >>> 0 !== index || index >= h.dv.getUint32(o, true)) this.#at(index, false);
      const at = this.#place(h, o, index);
      E.set(h, o + POOL, this.#t, at, value);
    }

    push(...values: I[]): number {
      const h = this.#h;
      const o = this.$o;
      if (h.cold) h.warm();
      if (values.length !== 1) append(h, o, values, 0, values.length);
      else {
        const length = C.length(h, o);
        if (!this.#knows(h, o, length)) C.reserve(h, o, length + 1);
        const at = this.#place(h, o, length);
        E.put(h, o + POOL, this.#t, at, values[0] as I);
        C.setLength(h, o, length + 1);
        return length + 1;
      }
      return C.length(h, o);
    }

    extend(values: Iterable<I>): number {
      const h = this.#h;
      const o = this.$o;
      if (h.cold) h.warm();
      const raw = T.raw(values, `${kind} ${type}`);
      if (raw !== undefined) appendRaw(h, o, raw);
      else if (Array.isArray(values) || ArrayBuffer.isView(values)) {
        const list: unknown = values;
        append(h, o, list as ArrayLike<I>, 0, (list as ArrayLike<I>).length);
      } else {
        const before = C.length(h, o);
        try {
          let batch: I[] = [];
          for (const value of T.same(values, this) ? this.toArray() : T.refuseContent(values, 'Vec', false)) {
            batch.push(value as I);
            if (batch.length < BATCH) continue;
            append(h, o, batch, 0, BATCH);
            batch = [];
          }
          append(h, o, batch, 0, batch.length);
        } catch (error) {
          if (this.length > before) this.truncate(before);
          throw error;
        }
      }
      return C.length(h, o);
    }

    pop(): Taken<V> | undefined {
      const { length } = this;
      if (length === 0) return undefined;
      const h = this.#h;
      const last = take(h, this.$o, length - 1);
      remove(h, this.$o, length - 1, 1);
      return last;
    }

    insert(index: number, ...values: I[]): void {
      insert(this.#at(index, true), this.$o, index, values);
    }

    remove(index: number): Taken<V> {
      const h = this.#at(index, false);
      const taken = take(h, this.$o, index);
      remove(h, this.$o, index, 1);
      return taken;
    }

    splice(index: number, count: number, ...values: I[]): Taken<V>[] {
      const h = this.#at(index, true);
      const o = this.$o;
      const gone = Math.max(0, Math.min(Math.trunc(count) || 0, C.length(h, o) - index));
      const taken: Taken<V>[] = [];
      for (let i = 0; i < gone; i++) taken.push(take(h, o, index + i));
      insert(h, o, index + gone, values);
      remove(h, o, index, gone);
      return taken;
    }

    truncate(length: number): void {
      const before = this.length;
      if (!(length >= 0) || Math.trunc(length) !== length) T.outOfRange(length, before + 1);
      if (length === 0) this.clear();
      else if (length < before) remove(this.#h, this.$o, length, before - length);
    }

    clear(): void {
      warm(this.#h);
      empty(this.#h, this.$o, false);
    }

    fill(value: I, from = 0, to = this.length): void {
      const { length } = this;
      for (let i = relative(from, length), end = relative(to, length); i < end; i++) this.set(i, value);
    }

    swap(a: number, b: number): void {
      this.#at(a, false);
      swap(this.#at(b, false), this.$o, a, b);
    }

    reverse(): void {
      for (let i = 0, j = this.length - 1; i < j; i++, j--) swap(this.#h, this.$o, i, j);
    }

    sort(by?: (a: V, b: V) => number): void {
      if (by === undefined) ordered();
      const all = this.toArray();
      const h = this.#h;
      const o = this.$o;
      if (by === undefined && kind === 'number') {
        for (const [i, value] of Float64Array.from(all as number[])
          .sort()
          .entries())
          this.set(i, value as I);
        return;
      }
      const order = Uint32Array.from(all, (_, i) => i);
      const places = Array.from(order).sort((a, b) => (by ?? compare)(all[a] as V, all[b] as V));
      if (C.length(h, o) !== all.length) T.refuse('InvalidArgument', 'the Vec was changed while it was being sorted');
      for (let i = 0; i < places.length; i++) {
        let from = places[i] as number;
        while (from < i) from = places[from] as number;
        swap(h, o, i, from);
      }
    }

    indexOf(value: V, from = 0): number {
      const { length } = this;
      for (let i = relative(from, length); i < length; i++) if (T.same(load(this.#h, this.$o, i), value)) return i;
      return -1;
    }

    includes(value: V, from = 0): boolean {
      if (value === value) return this.indexOf(value, from) >= 0;
      return this.findIndex((each, i) => each !== each && i >= relative(from, this.length)) >= 0;
    }

    binarySearch(sought: V | ((element: V) => number)): number {
      if (typeof sought !== 'function') ordered();
      const test = typeof sought === 'function' ? (sought as (element: V) => number) : (each: V): number => compare(each, sought);
      let low = 0;
      let high = this.length - 1;
      while (low <= high) {
        const middle = Math.floor((low + high) / 2);
        const order = test(load(this.#h, this.$o, middle));
        if (order === 0) return middle;
        if (order < 0) low = middle + 1;
        else high = middle - 1;
      }
      return -1 - low;
    }

    findIndex(test: (value: V, index: number) => boolean): number {
      const { length } = this;
      for (let i = 0; i < length && i < this.length; i++) if (test(load(this.#h, this.$o, i), i)) return i;
      return -1;
    }

    find(test: (value: V, index: number) => boolean): V | undefined {
      const index = this.findIndex(test);
      return index < 0 ? undefined : this.at(index);
    }

    some(test: (value: V, index: number) => boolean): boolean {
      return this.findIndex(test) >= 0;
    }

    every(test: (value: V, index: number) => boolean): boolean {
      return this.findIndex((value, i) => !test(value, i)) < 0;
    }

    forEach(callback: (value: V, index: number, vec: this) => void): void {
      const h = this.#h;
      const o = this.$o;
      const length = this.length;
      for (let i = 0; i < length;) {
        if (h.cold) h.warm();
        if (i >= C.length(h, o)) return;
        let at = place(h, o, i);
        const t = C.handle as ObjectHandle;
        const changes = C.changes(h, o);
        const end = C.end < length ? C.end : length;
        do {
          callback(E.load(h, o + POOL, t, at), i, this);
          i++;
          at += stride;
          // The callback may have changed anything.
        } while (i < end && !h.cold && !t.cold && C.changes(h, o) === changes && i < C.length(h, o));
      }
    }

    map<R>(callback: (value: V, index: number) => R): R[] {
      const results: R[] = [];
      this.forEach((value, i) => results.push(callback(value, i)));
      return results;
    }

    filter(test: (value: V, index: number) => boolean): V[] {
      const results: V[] = [];
      this.forEach((value, i) => {
        if (test(value, i)) results.push(value);
      });
      return results;
    }

    reduce<R>(callback: (sum: R, value: V, index: number) => R, initial: R): R {
      let sum = initial;
      this.forEach((value, i) => {
        sum = callback(sum, value, i);
      });
      return sum;
    }

    slice(from = 0, to = this.length): V[] {
      const { length } = this;
      const results: V[] = [];
      const end = relative(to, length);
      for (let i = relative(from, length); i < end;) {
        let at = place(this.#h, this.$o, i);
        const t = C.handle as ObjectHandle;
        for (const stop = Math.min(C.end, end); i < stop; i++, at += stride) {
          if (t.cold) t.warm();
          results.push(E.load(this.#h, this.$o + POOL, t, at));
        }
      }
      return results;
    }

    toArray(): V[] {
      return this.slice();
    }

    copyTo(target: NumbersOf<V>, from = 0): number {
      const to: unknown = target;
      const { length } = this;
      const start = relative(from, length);
      if (!ArrayBuffer.isView(to) || (kind !== 'number' && kind !== 'bigint'))
        return T.refuse('InvalidArgument', `copyTo copies numbers to a typed array; the elements are ${type}`);
      const numbers = to as Float64Array;
      const end = Math.min(length, start + numbers.length);
      const raw = T.raw(to, `${kind} ${type}`);
      for (let i = start; i < end;) {
        let at = place(this.#h, this.$o, i);
        const t = C.handle as ObjectHandle;
        const stop = Math.min(C.end, end);
        if (raw !== undefined) {
          raw.set(t.u8.subarray(at, at + (stop - i) * stride), (i - start) * stride);
          i = stop;
        } else for (; i < stop; i++, at += stride) numbers[i - start] = E.load(this.#h, this.$o + POOL, t, at) as number;
      }
      return Math.max(0, end - start);
    }

    keys(): IterableIterator<number> {
      return new Walk(this, (_, i) => i);
    }

    values(): IterableIterator<V> {
      return new Walk(this, (vec, i) => vec.get(i));
    }

    entries(): IterableIterator<[number, V]> {
      return new Walk(this, (vec, i) => [i, vec.get(i)]);
    }

    [Symbol.iterator](): IterableIterator<V> {
      return new Walk(this, (vec, i) => vec.get(i));
    }

    usage(): CollectionUsage {
      return T.usage(this.#h, this.$o + POOL);
    }

    $assign(content: unknown): void {
      if (content === this) return;
      const before = this.length;
      this.extend(T.refuseContent(content, 'Vec', false) as Iterable<I>);
      remove(this.#h, this.$o, 0, before);
    }

    $taken(): unknown[] {
      const taken: unknown[] = [];
      for (let i = 0; i < this.length; i++) taken.push(take(this.#h, this.$o, i));
      return taken;
    }

    $drop(): void {
      this.clear();
    }

    $destroy(): void {
      warm(this.#h);
      empty(this.#h, this.$o, true);
    }

    [T.INSPECT](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
      return T.inspect('Vec', this.length, this, false, depth, options, inspect);
    }
  }

  return Vec;
}

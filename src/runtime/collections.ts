/**
 * Collections as programs use them: opened by where they lie, used by number. What an object's schema says of the types there is believed
 * where it fits the object; every argument is hostile, and so is what the collection holds: a program may have stored anything there. What is
 * no error of the library becomes PointerCorrupt, and where something was being changed the transaction cannot be committed.
 */
import { KernelBug, TwzError, isTwzError } from '../abi/errors.ts';
import { META, PAGE } from '../abi/format.ts';
import type { ObjectHandle } from '../abi/handle.ts';
import { demandPlain, keyBytes, keyFrom, textIn, type ValuePlace, type ValueShape } from './value-place.ts';

export interface Place {
  readonly h: ObjectHandle;
  readonly at: number;
}

/** What a schema says of a collection. */
export interface CollectionDescription {
  /** `HashMap`, `Vec` and so on. */
  readonly collection: string;
  readonly type: string;
  readonly size: number;
  /** Signature of the keys. */
  readonly key: string | undefined;
  readonly value: ValueShape | undefined;
  /** Its accessor: values of it are places, but text and bytes. */
  readonly at: (h: ObjectHandle, offset: number) => object;
}

/** What lies above this layer knows of types. */
export interface CollectionTypes {
  /** The collection that lies at an offset of an object; `type`: what it is, where the object's root does not tell. Throws TypeMismatch. */
  find(h: ObjectHandle, offset: number, type: string | undefined): CollectionDescription;
  /** Gives the root of an object the types of a schema text. Throws TypeInvalid. */
  setTypes(h: ObjectHandle, schema: string): void;
  /** Offset of the root where its type has that fingerprint; 0 for others. Throws as opening it would. */
  rootAs(h: ObjectHandle, fingerprint: bigint): number;
}

/** What is used of accessors: each collection has some of it. */
interface Accessor {
  readonly size?: number;
  readonly length?: number;
  get?(key: unknown): unknown;
  has?(key: unknown): boolean;
  set?(key: unknown, value: unknown): unknown;
  add?(key: unknown): unknown;
  delete?(key: unknown): boolean;
  clear?(): void;
  getOrInsert?(key: unknown, value: unknown): unknown;
  push?(value: unknown): number;
  append?(value: unknown): number;
  truncate?(length: number): void;
  entries?(range?: { from: unknown }): Iterator<unknown>;
  keys?(range?: { from: unknown }): Iterator<unknown>;
  values?(): Iterator<unknown>;
  readonly last?: { readonly value: unknown } | undefined;
}

interface Open {
  readonly h: ObjectHandle;
  readonly offset: number;
  readonly description: CollectionDescription;
  readonly accessor: Accessor;
  uses: number;
}

interface Walk {
  readonly open: Open;
  readonly entries: Iterator<unknown>;
  /** What `cursorNext` came to. */
  key: Uint8Array | undefined;
  value: unknown;
  index: number;
}

const OPEN_MAX = 4096;
const WALKS_MAX = 1024;
const MAPS = new Set(['HashMap', 'OrderedMap', 'RedBlackTree', 'IndexedMap']);
const ORDERED = new Set(['OrderedMap', 'RedBlackTree']);
/** These are emptied without a walk that what they hold could send anywhere. */
const CLEARED = new Set(['Vec', 'HashMap', 'HashSet']);

const UTF8 = new TextEncoder();

export class Collections {
  readonly #types: CollectionTypes;
  readonly #open = new Map<number, Open>();
  readonly #walks = new Map<number, Walk>();
  #next = 1;

  constructor(types: CollectionTypes) {
    this.#types = types;
  }

  /** A number for the collection that lies there. The same one twice has the same number. Throws TypeMismatch, ProgramLimit. */
  open(h: ObjectHandle, offset: number, type?: string): number {
    for (const [number, open] of this.#open) {
      if (open.h !== h || open.offset !== offset || (type !== undefined && open.description.type !== type)) continue;
      open.uses++;
      return number;
    }
    if (this.#open.size >= OPEN_MAX)
      throw new TwzError('ProgramLimit', `the program has ${OPEN_MAX} collections open, as many as it may`, { limit: OPEN_MAX });
    const description = this.#types.find(h, offset, type);
    const accessor: Accessor = description.at(h, offset);
    return this.#enter(this.#open, { h, offset, description, accessor, uses: 1 });
  }

  #enter<T>(into: Map<number, T>, what: T): number {
    // Numbers are not used again soon: what was closed is missed.
    do this.#next = this.#next >= 0x7fffffff ? 1 : this.#next + 1;
    while (this.#open.has(this.#next) || this.#walks.has(this.#next));
    into.set(this.#next, what);
    return this.#next;
  }

  close(number: number): void {
    const open = this.#opened(number);
    if (--open.uses === 0) this.#open.delete(number);
  }

  #opened(number: number): Open {
    const open = this.#open.get(number);
    if (open === undefined) throw new TwzError('GuestFault', `there is no collection ${number}`, { number });
    return open;
  }

  /** The object that a collection begins in. */
  homeOf(number: number): ObjectHandle {
    return this.#opened(number).h;
  }

  #homed(open: Open): ObjectHandle {
    const { h } = open;
    if (h.cold) h.warm();
    return h;
  }

  /** Reads, whatever lies there. */
  #read<T>(open: Open, read: (accessor: Accessor) => T): T {
    this.#homed(open);
    try {
      return read(open.accessor);
    } catch (error) {
      throw damaged(open, error);
    }
  }

  #change<T>(open: Open, change: (accessor: Accessor) => T): T {
    const h = this.#homed(open);
    const before = h.u8.slice(META.id, META.size);
    try {
      const result = change(open.accessor);
      // A place that was stored to may be anywhere, in the header, too. What says whose the object is and what it is does not change.
      if (h.cold) h.warm();
      if (before.some((byte, i) => h.u8[META.id + i] !== byte)) throw new RangeError('it leads into the header of its object');
      return result;
    } catch (error) {
      const typed = damaged(open, error);
      if (typed !== error) h.spoil(typed);
      throw typed;
    }
  }

  #lacks(open: Open, what: string): TwzError {
    return new TwzError('NotSupported', `${open.description.type.slice(0, 100)}: ${what}`, { type: open.description.collection });
  }

  #key(open: Open, key: Uint8Array): unknown {
    const { key: signature } = open.description;
    if (signature === undefined) throw this.#lacks(open, 'it has no keys, but places');
    return keyFrom(signature, key);
  }

  #place(open: Open, value: unknown): Place {
    if (isPlace(value)) {
      const { $h: h, $o: at } = value;
      if (h.cold) h.warm();
      if (at >= PAGE && at + (open.description.value?.size ?? 0) <= h.size) return { h, at };
      throw damaged(open, new RangeError(`a value lies at ${at} of ${h.size}`));
    }
    throw this.#lacks(open, 'its values are text, bytes or none: they cross as bytes');
  }

  size(number: number): number {
    return this.#read(this.#opened(number), (accessor) => accessor.size ?? accessor.length ?? 0);
  }

  // --- by key -------------------------------------------------------------------------------------------------------------

  find(number: number, key: Uint8Array): Place | undefined {
    const open = this.#opened(number);
    if (!MAPS.has(open.description.collection)) throw this.#lacks(open, 'it is no map');
    const wanted = this.#key(open, key);
    const value = this.#read(open, (accessor) => accessor.get?.(wanted));
    return value === undefined ? undefined : this.#place(open, value);
  }

  insert(number: number, key: Uint8Array): Place {
    const open = this.#opened(number);
    const { value } = open.description;
    if (value === undefined || isText(value)) throw this.#lacks(open, 'what it has is put there as bytes');
    const wanted = this.#key(open, key);
    return this.#place(
      open,
      this.#change(open, (accessor) => {
        if (accessor.getOrInsert === undefined) throw this.#lacks(open, 'it is no map that programs may change');
        return accessor.getOrInsert(wanted, undefined);
      }),
    );
  }

  remove(number: number, key: Uint8Array): boolean {
    const open = this.#opened(number);
    const wanted = this.#key(open, key);
    return this.#change(open, (accessor) => accessor.delete?.(wanted) ?? false);
  }

  /** The value of a key as bytes; undefined where there is no such key. Of a set nothing. */
  get(number: number, key: Uint8Array): Uint8Array | undefined {
    const open = this.#opened(number);
    const wanted = this.#key(open, key);
    if (open.description.value === undefined)
      return this.#read(open, (accessor) => accessor.has?.(wanted)) === true ? new Uint8Array(0) : undefined;
    const value = this.#read(open, (accessor) => accessor.get?.(wanted));
    return value === undefined ? undefined : this.#bytes(open, value);
  }

  put(number: number, key: Uint8Array, value: Uint8Array): void {
    const open = this.#opened(number);
    const wanted = this.#key(open, key);
    const { value: shape } = open.description;
    if (shape === undefined) {
      this.#change(open, (accessor) => accessor.add?.(wanted));
      return;
    }
    if (isText(shape)) {
      const whole = valueFrom(shape, value);
      this.#change(open, (accessor) => accessor.set?.(wanted, whole));
      return;
    }
    demandPlain(shape, value);
    this.#store(this.insert(number, key), value);
  }

  // --- by place -----------------------------------------------------------------------------------------------------------

  at(number: number, index: number): Place {
    const open = this.#opened(number);
    return this.#place(open, this.#element(open, index));
  }

  #element(open: Open, index: number): unknown {
    const { collection } = open.description;
    if (collection !== 'Vec' && collection !== 'Log') throw this.#lacks(open, 'its elements have no places to find them by');
    const value = this.#read(open, (accessor) => accessor.get?.(index));
    if (value === undefined) throw new TwzError('OutOfRange', `there is no element ${index}`, { index });
    return value;
  }

  push(number: number): Place {
    const open = this.#opened(number);
    if (open.description.key !== undefined || open.description.value === undefined || isText(open.description.value))
      throw this.#lacks(open, 'what it has is put there as bytes');
    const value = this.#change(open, (accessor) => {
      if (accessor.append !== undefined) return accessor.get?.(accessor.append(undefined));
      if (accessor.push === undefined) throw this.#lacks(open, 'nothing is appended to it');
      const length = accessor.push(undefined);
      return accessor.get === undefined ? lastOf(accessor) : accessor.get(length - 1);
    });
    return this.#place(open, value);
  }

  elementGet(number: number, index: number): Uint8Array {
    const open = this.#opened(number);
    return this.#bytes(open, this.#element(open, index));
  }

  elementPut(number: number, index: number, value: Uint8Array): void {
    const open = this.#opened(number);
    const { value: shape, key } = open.description;
    if (shape === undefined || key !== undefined) throw this.#lacks(open, 'its elements have no places to find them by');
    const atEnd = index === this.size(number);
    if (isText(shape)) {
      const whole = valueFrom(shape, value);
      this.#change(open, (accessor) => {
        if (atEnd && accessor.append !== undefined) accessor.append(whole);
        else if (atEnd && accessor.push !== undefined) accessor.push(whole);
        else if (accessor.set === undefined) throw this.#lacks(open, 'its elements are not changed');
        else accessor.set(index, whole);
      });
      return;
    }
    demandPlain(shape, value);
    this.#store(atEnd ? this.push(number) : this.at(number, index), value);
  }

  truncate(number: number, length: number): void {
    const open = this.#opened(number);
    const { collection } = open.description;
    if (!CLEARED.has(collection) || (collection !== 'Vec' && length !== 0)) throw this.#lacks(open, `it is not cut at ${length}`);
    this.#change(open, (accessor) => {
      if (length === 0) accessor.clear?.();
      else if (length < (accessor.length ?? 0)) accessor.truncate?.(length);
    });
  }

  // --- values as bytes ----------------------------------------------------------------------------------------------------

  #bytes(open: Open, value: unknown): Uint8Array {
    if (typeof value === 'string') return UTF8.encode(value);
    if (value instanceof Uint8Array) return value;
    const { h, at } = this.#place(open, value);
    return h.u8.slice(at, at + (open.description.value?.size ?? 0));
  }

  #store({ h, at }: Place, value: Uint8Array): void {
    h.markRange(at, value.length);
    h.u8.set(value, at);
  }

  // --- cursors ------------------------------------------------------------------------------------------------------------

  cursorOpen(number: number, from: Uint8Array): number {
    const open = this.#opened(number);
    const { collection, value, key } = open.description;
    if (this.#walks.size >= WALKS_MAX)
      throw new TwzError('ProgramLimit', `the program has ${WALKS_MAX} cursors open, as many as it may`, { limit: WALKS_MAX });
    if (from.length > 0 && !ORDERED.has(collection)) throw this.#lacks(open, 'it has no order to begin in with a key');
    const range = from.length === 0 ? undefined : { from: this.#key(open, from) };
    if (collection === 'Graph' || collection === 'Blob' || collection === 'TextDocument')
      throw this.#lacks(open, 'programs do not go through it');
    const entries = this.#read(open, (accessor) =>
      key === undefined ? accessor.values?.() : value === undefined ? accessor.keys?.() : accessor.entries?.(range),
    );
    if (entries === undefined) throw this.#lacks(open, 'programs do not go through it');
    return this.#enter(this.#walks, { open, entries, key: undefined, value: undefined, index: -1 });
  }

  #walk(cursor: number): Walk {
    const walk = this.#walks.get(cursor);
    if (walk === undefined) throw new TwzError('GuestFault', `there is no cursor ${cursor}`, { cursor });
    return walk;
  }

  /** The object that the collection of a cursor begins in. */
  homeOfCursor(cursor: number): ObjectHandle {
    return this.#walk(cursor).open.h;
  }

  /** The key of the next element, of a sequence its number; undefined at the end. */
  cursorNext(cursor: number): Uint8Array | undefined {
    const walk = this.#walk(cursor);
    const { open } = walk;
    const next = this.#read(open, () => walk.entries.next());
    if (next.done === true) {
      walk.key = undefined;
      walk.value = undefined;
      return undefined;
    }
    walk.index++;
    const { key, value } = open.description;
    if (key === undefined) {
      walk.key = keyBytes('u32', walk.index);
      walk.value = next.value;
    } else if (value === undefined) walk.key = keyBytes(key, next.value);
    else {
      const [its, of] = next.value as readonly [unknown, unknown];
      walk.key = keyBytes(key, its);
      walk.value = of;
    }
    return walk.key;
  }

  #current(cursor: number): Walk & { readonly key: Uint8Array } {
    const walk = this.#walk(cursor);
    if (walk.key === undefined) throw new TwzError('OutOfRange', 'the cursor is on no element', { cursor });
    return walk as Walk & { readonly key: Uint8Array };
  }

  cursorKey(cursor: number): Uint8Array {
    return this.#current(cursor).key;
  }

  cursorValue(cursor: number): Place {
    const { open, value } = this.#current(cursor);
    return this.#place(open, value);
  }

  cursorGet(cursor: number): Uint8Array {
    const { open, value } = this.#current(cursor);
    return open.description.value === undefined ? new Uint8Array(0) : this.#bytes(open, value);
  }

  cursorClose(cursor: number): void {
    this.#walk(cursor);
    this.#walks.delete(cursor);
  }

  // --- types --------------------------------------------------------------------------------------------------------------

  setTypes(h: ObjectHandle, schema: string): void {
    this.#types.setTypes(h, schema);
  }

  rootAs(h: ObjectHandle, fingerprint: bigint): number {
    return this.#types.rootAs(h, fingerprint);
  }
}

function isText({ kind }: ValueShape): boolean {
  return kind === 'text' || kind === 'bytes';
}

function valueFrom({ kind }: ValueShape, bytes: Uint8Array): string | Uint8Array {
  return kind === 'text' ? textIn(bytes, 'a value') : bytes.slice();
}

/** A place, or what the library gives of a struct. */
function isPlace(value: unknown): value is ValuePlace {
  return typeof value === 'object' && value !== null && '$h' in value && '$o' in value;
}

/** The last element of a list, in its place. */
function lastOf({ last }: Accessor): unknown {
  if (last === undefined) throw new TwzError('NotSupported', 'what is appended to it has no place');
  return last.value;
}

/** Whatever the library throws of its own stays; the rest comes of what lies there. */
function damaged({ h, offset, description }: Open, error: unknown): unknown {
  if (isTwzError(error) || error instanceof KernelBug || !(error instanceof Error)) return error;
  return new TwzError(
    'PointerCorrupt',
    `the ${description.collection} at offset ${offset} of object ${h.id} is damaged: ${error.message}`,
    { id: h.id, at: offset },
    error,
  );
}

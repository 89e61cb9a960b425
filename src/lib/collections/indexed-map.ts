/**
 * IndexedMap: an ordered map of structs, and ordered maps beside it that lead from what a record says to its key. All of them lie behind one
 * header, so every change of a record and of its entries is in the same transaction.
 *
 *   header   the ordered map of the records, then one ordered map for each index
 *   index    from the bytes of the index's key, a zero, and those of the record's key, to where the latter begin
 *   unique   from the bytes of the index's key to those of the record's
 *
 * A record is made in memory first (scratch-object.ts), its index keys are worked out and judged, and only then anything is stored.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { AccessorClass } from '../emit.ts';
import { bytes, u32, type Field } from '../fields.ts';
import { INSPECT } from '../inspect.ts';
import { assignTo, isAccessor, unfit } from '../runtime.ts';
import type { Init, Instance, Struct, StructImage } from '../struct.ts';
import { draftClass, Drafted, isWhole, viewOf, type FieldOf } from './drafts.ts';
import type { Link } from './key-scratch.ts';
import {
  KEY_MAX,
  keyCodec,
  referencesIn,
  refusePrefix,
  SCRATCH,
  tuple,
  type AnyKeyType,
  type KeyCodec,
  type KeyOf,
  type KeyType,
} from './keys.ts';
import type { Range } from './ordered-cursor.ts';
import { orderedMap, type OrderedMap } from './ordered-map.ts';
import { TREE } from './ordered-search.ts';
import { ORDERED_HEADER } from './ordered-tree.ts';
import { linkBytes } from './reference-keys.ts';
import { isSelf, replaceContent } from './replace.ts';
import { ScratchObject } from './scratch-object.ts';
import { inspectEntries, refuseContent } from './tools.ts';
import { collectionType, type CollectionType } from './type.ts';

/** How an index is declared; see `index`. */
export interface Index<V, X> {
  readonly key: AnyKeyType;
  readonly of: (value: V) => X | Iterable<X> | undefined;
  readonly unique: boolean;
  readonly multi: boolean;
}

/** An index by what `of` gives for a record; a record for which it gives undefined is not in it. `of` must depend on the record alone. */
export function index<V, T extends AnyKeyType>(
  key: T,
  of: (value: V) => KeyOf<T> | undefined,
  options?: { readonly unique?: boolean },
): Index<V, KeyOf<T>>;
/** The same for records with any number of such keys each. */
export function index<V, T extends AnyKeyType>(
  key: T,
  of: (value: V) => Iterable<KeyOf<T>> | undefined,
  options: { readonly multi: true; readonly unique?: boolean },
): Index<V, KeyOf<T>>;
export function index<V, X>(
  key: AnyKeyType,
  of: (value: V) => X | Iterable<X> | undefined,
  options: { readonly multi?: boolean; readonly unique?: boolean } = {},
): Index<V, X> {
  return { key, of, unique: options.unique === true, multi: options.multi === true };
}

/** What an index leads to, in the order of the index; where its keys are the same, in that of the records' keys. */
export interface IndexReader<K, V, X> {
  /** The records with this very key of the index. */
  get(value: X): IterableIterator<[K, V]>;
  /** The first of them. */
  find(value: X): [K, V] | undefined;
  range(range?: Range<X>): IterableIterator<[K, V]>;
  /** The records' keys. */
  keys(range?: Range<X>): IterableIterator<K>;
  count(range?: Range<X>): number;
}

/** An entry of an index that is missing, or is there and should not be. */
export interface IndexDifference<K> {
  readonly index: string;
  readonly key: K;
  readonly problem: 'missing' | 'stray';
}

/** A persistent map of structs with indexes that follow it. Records are read in place and changed by `set` and `update` alone. */
export interface IndexedMap<K, V, I, B> extends Iterable<[K, Readonly<V>]> {
  readonly size: number;
  /** The indexes by their names. */
  readonly by: { readonly [N in keyof B]: IndexReader<K, Readonly<V>, B[N]> };
  /** The record in place, to read: its setters throw NotSupported. */
  get(key: K): Readonly<V> | undefined;
  has(key: K): boolean;
  /** Sets a record from zero. Throws ValueMismatch where a unique index has its key for another record; then nothing is changed. */
  set(key: K, value: I): this;
  /** Changes a record through a draft, all or nothing: what `change` throws leaves it as it was. False where there is no such record. */
  update(key: K, change: (draft: V) => void): boolean;
  delete(key: K): boolean;
  clear(): void;
  keys(range?: Range<K>): IterableIterator<K>;
  values(range?: Range<K>): IterableIterator<Readonly<V>>;
  entries(range?: Range<K>): IterableIterator<[K, Readonly<V>]>;
  /** Works all index keys out anew and tells where the indexes differ: nowhere, unless records were changed around the map or a rule changed. */
  verify(): IndexDifference<K>[];
  /** Makes the indexes anew. Throws ValueMismatch, and changes nothing, where a unique one cannot be. */
  reindex(): void;
}

type Bytes = Uint8Array;

interface Entry {
  readonly plan: IndexPlan;
  readonly at: number;
  readonly bytes: Bytes;
  /** Where in them the record's key begins, if the index is not unique. */
  readonly head: number;
}

type Entries = Map<string, Entry>;

function bytesOf<K>(codec: KeyCodec<K>, key: K, home: ObjectHandle): Bytes {
  codec.encode(key, home);
  return SCRATCH.bytes.slice(0, SCRATCH.stored);
}

function nameOf(at: number, key: Bytes): string {
  let name = `${at}:`;
  for (const byte of key) name += String.fromCharCode(byte);
  return name;
}

function sameBytes(a: Bytes, b: Bytes): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The least bytes behind all that begin with these; undefined where there are none. */
function behind(key: Bytes): Bytes | undefined {
  let { length } = key;
  while (length > 0 && key[length - 1] === 255) length--;
  if (length === 0) return undefined;
  const next = key.slice(0, length);
  next[length - 1] = (next[length - 1] as number) + 1;
  return next;
}

/** An index at work: how its keys are encoded. */
class IndexPlan {
  readonly name: string;
  readonly unique: boolean;
  readonly signature: string;
  readonly #index: Index<object, unknown>;
  readonly #codec: KeyCodec<unknown>;
  readonly #single: boolean;
  /** What the index's own keys are, before they are parts of others. */
  readonly #own: Pick<KeyCodec<unknown>, 'prefixes' | 'signature'>;
  readonly type: { readonly accessor: AccessorClass };

  constructor(name: string, declared: Index<object, unknown>) {
    this.name = name;
    this.#index = declared;
    this.unique = declared.unique;
    const own = keyCodec(declared.key as KeyType<unknown>);
    this.#single = !('kind' in declared.key && declared.key.kind === 'tuple');
    const codec: unknown = this.#single ? keyCodec(tuple(declared.key) as KeyType<readonly unknown[]>) : own;
    this.#codec = codec as KeyCodec<unknown>;
    this.#own = own;
    this.signature = `${name}:${declared.unique ? 'unique ' : ''}${declared.multi ? 'multi ' : ''}${own.signature}`;
    const { links } = own;
    const key = links === 0 ? bytes : ({ kind: 'linkedBytes', links } as const);
    this.type = this.unique ? orderedMap(key, bytes) : orderedMap(key, u32);
  }

  get key(): AnyKeyType {
    return this.#index.key;
  }

  /** The bytes of a key that are compared: nobody reads it from them. */
  encode(key: unknown, home: ObjectHandle): Bytes {
    this.#codec.encode(this.#single ? [key] : key, home);
    const made = SCRATCH.bytes.slice(0, SCRATCH.length);
    this.#link(made, SCRATCH.links.slice(0, this.#codec.links));
    return made;
  }

  #link(key: Bytes, links: readonly Link[]): void {
    if (links.length > 0) linkBytes(key, links);
  }

  /** Puts the entries of a record among others. */
  collect(at: number, record: object, key: Bytes, home: ObjectHandle, into: Entries): void {
    const found = this.#index.of(record);
    if (found === undefined) return;
    const keys = this.#index.multi ? (found as Iterable<unknown>) : [found];
    for (const each of [...keys]) {
      const head = this.encode(each, home);
      const links = SCRATCH.links.slice(0, this.#codec.links);
      let whole = head;
      if (!this.unique) {
        whole = new Uint8Array(head.length + 1 + key.length);
        whole.set(head);
        whole.set(key, head.length + 1);
        this.#link(whole, links);
      }
      if (whole.length > KEY_MAX)
        throw new TwzError('OutOfRange', `index ${this.name}: a key of ${whole.length} bytes; the limit is ${KEY_MAX}`);
      into.set(nameOf(at, whole), { plan: this, at, bytes: whole, head: head.length + 1 });
    }
  }

  /** A range of this index as one of the bytes that are stored. */
  bounds(range: Range<unknown>, home: ObjectHandle): Range<Bytes> | undefined {
    if (typeof range !== 'object' || range === null) return unfit('a range', range, 'an object like {from, to}');
    const { from, after, to, through, prefix, reverse, limit } = range;
    const made: { -readonly [P in keyof Range<Bytes>]: Range<Bytes>[P] } = {};
    if (reverse !== undefined) made.reverse = reverse;
    if (limit !== undefined) made.limit = limit;
    if (from !== undefined) made.from = this.encode(from, home);
    if (to !== undefined) made.to = this.encode(to, home);
    if (after !== undefined) {
      const last = this.encode(after, home);
      // No entry has just these bytes, as there is a zero at least behind the index's key: all with this key are before.
      const next = this.unique ? last : behind(last);
      if (next === undefined) return undefined;
      made.after = next;
    }
    if (through !== undefined) {
      const last = this.encode(through, home);
      const next = this.unique ? last : behind(last);
      if (next !== undefined) made.through = next;
    }
    if (prefix !== undefined) {
      if (!this.#own.prefixes) refusePrefix(this.#own.signature, prefix);
      // Without the two zeros that end it.
      made.prefix = this.encode(prefix, home).slice(0, -2);
    }
    return made;
  }
}

/** Bytes of a key as what keys are decoded from. */
function memoryOf(key: Bytes, what: string): ObjectHandle {
  const memory: { u8: Bytes; dv: DataView; corrupt: ObjectHandle['corrupt'] } = {
    u8: key,
    dv: new DataView(key.buffer, key.byteOffset, key.length),
    corrupt(at, reason) {
      throw new TwzError('PointerCorrupt', `${what}: ${reason}`, { at });
    },
  };
  const view: unknown = memory;
  return view as ObjectHandle;
}

interface Whole<K> {
  readonly keys: KeyCodec<K>;
  readonly type: StructImage;
  readonly base: { readonly accessor: AccessorClass };
  readonly plans: readonly IndexPlan[];
}

type MapAt<K, V> = OrderedMap<K, V, unknown> & {
  $destroy(): void;
  $key(stored: Bytes): K | undefined;
  $value(stored: Bytes): V | undefined;
};

function mapAt<K, V>(type: { readonly accessor: AccessorClass }, h: ObjectHandle, o: number): MapAt<K, V> {
  const made: unknown = new type.accessor(h, o);
  return made as MapAt<K, V>;
}

function makeIndexedMap<K>({ keys, type, base, plans }: Whole<K>): AccessorClass {
  const fields: readonly FieldOf[] = type.layout.fields.map(({ name, field }) => ({ name, whole: isWhole(field.describe) }));
  const View = viewOf(type);
  const Draft = draftClass(fields);

  /** A record that was made in memory, and what is to be stored of it. */
  function prepare(h: ObjectHandle, value: unknown): { record: object; content: Record<string, unknown> } {
    const memory = new ScratchObject(h);
    const at = memory.allocate(type.layout.size);
    const record = new type.accessor(memory, at);
    assignTo(record, value, type.name);
    const given = isAccessor(value) ? record : (value as object);
    const content: Record<string, unknown> = {};
    for (const { name, whole } of fields) if (name in given) content[name] = Reflect.get(whole ? record : given, name);
    return { record: new View(memory, at), content };
  }

  class Reader {
    readonly #map: IndexedMap_;
    readonly #plan: IndexPlan;
    readonly #at: number;

    constructor(map: IndexedMap_, plan: IndexPlan, at: number) {
      this.#map = map;
      this.#plan = plan;
      this.#at = at;
    }

    *#raw(bounds: Range<Bytes> | undefined): Generator<K> {
      if (bounds === undefined) return;
      for (const [key, value] of this.#map.indexAt(this.#at).entries(bounds)) yield this.#map.keyIn(this.#plan, key, value);
    }

    keys(range: Range<unknown> = {}): Generator<K> {
      return this.#raw(this.#plan.bounds(range, this.#map.$h));
    }

    *range(range: Range<unknown> = {}): Generator<[K, object]> {
      for (const key of this.keys(range)) {
        const record = this.#map.get(key);
        if (record === undefined) missing(this.#plan);
        yield [key, record];
      }
    }

    get(value: unknown): Generator<[K, object]> {
      return this.range({ from: value, through: value });
    }

    find(value: unknown): [K, object] | undefined {
      for (const entry of this.get(value)) return entry;
      return undefined;
    }

    count(range: Range<unknown> = {}): number {
      const bounds = this.#plan.bounds(range, this.#map.$h);
      return bounds === undefined ? 0 : this.#map.indexAt(this.#at).count(bounds);
    }
  }

  function decodeKey(key: Bytes, what: string): K {
    return keys.decode(memoryOf(key, what), 0, key.length, 0);
  }

  class IndexedMap_ {
    readonly #h: ObjectHandle;
    readonly $o: number;
    readonly #base: MapAt<K, object>;
    #by: Readonly<Record<string, Reader>> | undefined;

    constructor(h: ObjectHandle, o: number) {
      this.#h = h;
      this.$o = o | 0;
      this.#base = mapAt<K, object>(base, h, o);
    }

    get $h(): ObjectHandle {
      return this.#h;
    }

    get size(): number {
      return this.#base.size;
    }

    get by(): Readonly<Record<string, Reader>> {
      this.#by ??= Object.fromEntries(plans.map((plan, i) => [plan.name, new Reader(this, plan, i)]));
      return this.#by;
    }

    indexAt(i: number): MapAt<Bytes, number | Bytes> {
      return mapAt((plans[i] as IndexPlan).type, this.#h, this.$o + ORDERED_HEADER * (i + 1));
    }

    /** The record's key in an entry of an index. */
    keyIn(plan: IndexPlan, entry: Bytes, value: number | Bytes): K {
      const key = plan.unique ? (value as Bytes) : entry.slice(value as number);
      if (keys.links === 0) return decodeKey(key, `index ${plan.name}`);
      // A reference is read from the record itself: there its pointer is.
      return this.#base.$key(key) ?? missing(plan);
    }

    #view(record: object): object {
      return isAccessor(record) ? new View(record.$h, record.$o) : record;
    }

    has(key: K): boolean {
      return this.#base.has(key);
    }

    get(key: K): object | undefined {
      const record = this.#base.get(key);
      return record === undefined ? undefined : this.#view(record);
    }

    /** The bytes of a key as it is stored: under a collation it may have been set as another text. */
    #stored(key: K): Bytes {
      if (keys.compared !== undefined) for (const same of this.#base.keys({ from: key, through: key })) return bytesOf(keys, same, this.#h);
      return bytesOf(keys, key, this.#h);
    }

    #entries(record: object, key: Bytes, into: Entries = new Map()): Entries {
      for (const [i, plan] of plans.entries()) plan.collect(i, record, key, this.#h, into);
      return into;
    }

    /** Stores a record and puts its entries in the place of those that it had, or throws and changes nothing. */
    #change(key: Bytes, before: Entries, after: Entries, store: () => void): void {
      const added: Entry[] = [];
      for (const [name, entry] of after) {
        if (before.has(name)) continue;
        if (entry.plan.unique) {
          const owner = this.indexAt(entry.at).get(entry.bytes);
          if (owner !== undefined && !sameBytes(owner as Bytes, key)) taken(entry.plan);
        }
        added.push(entry);
      }
      let done = 0;
      try {
        for (const entry of added) {
          this.#add(entry, key);
          done++;
        }
        store();
      } catch (error) {
        for (const entry of added.slice(0, done)) this.indexAt(entry.at).delete(entry.bytes);
        throw error;
      }
      for (const [name, entry] of before) if (!after.has(name)) this.indexAt(entry.at).delete(entry.bytes);
    }

    #add({ plan, at, bytes: entry, head }: Entry, key: Bytes): void {
      this.indexAt(at).set(entry, plan.unique ? key : head);
    }

    set(key: K, value: unknown): this {
      const stored = this.#stored(key);
      const { record, content } = prepare(this.#h, value);
      const after = this.#entries(record, stored);
      const current = this.get(key);
      const before: Entries = current === undefined ? new Map() : this.#entries(current, stored);
      this.#change(stored, before, after, () => this.#base.set(key, content));
      return this;
    }

    update(key: K, change: (draft: object) => void): boolean {
      const current = this.#base.get(key);
      if (current === undefined) return false;
      const stored = this.#stored(key);
      const drafted = new Drafted(type, current, this.#h);
      const draft = new Draft(drafted);
      try {
        change(draft);
      } finally {
        drafted.open = false;
      }
      if (drafted.touched.size === 0) return true;
      const before = this.#entries(this.#view(current), stored);
      const after = this.#entries(draft, stored);
      this.#change(stored, before, after, () => drafted.store(fields, type.name));
      return true;
    }

    delete(key: K): boolean {
      const current = this.get(key);
      if (current === undefined) return false;
      const entries = this.#entries(current, this.#stored(key));
      for (const entry of entries.values()) this.indexAt(entry.at).delete(entry.bytes);
      return this.#base.delete(key);
    }

    clear(): void {
      this.#base.clear();
      for (const i of plans.keys()) this.indexAt(i).clear();
    }

    keys(range: Range<K> = {}): Iterable<K> {
      return this.#base.keys(range);
    }

    *values(range: Range<K> = {}): Generator<object> {
      for (const record of this.#base.values(range)) yield this.#view(record);
    }

    *entries(range: Range<K> = {}): Generator<[K, object]> {
      for (const [key, record] of this.#base.entries(range)) yield [key, this.#view(record)];
    }

    [Symbol.iterator](): Generator<[K, object]> {
      return this.entries();
    }

    /** All entries that there should be, by name, with the keys of their records. */
    #expected(): Map<string, readonly [Entry, Bytes]> {
      const all = new Map<string, readonly [Entry, Bytes]>();
      for (const [key, record] of this.entries()) {
        const stored = bytesOf(keys, key, this.#h);
        for (const [name, entry] of this.#entries(record, stored)) {
          if (all.has(name)) taken(entry.plan);
          all.set(name, [entry, stored]);
        }
      }
      return all;
    }

    verify(): IndexDifference<K>[] {
      const found: IndexDifference<K>[] = [];
      const seen = new Set<string>();
      const owner = (i: number, entry: Bytes): K | undefined => {
        const value = this.indexAt(i).get(entry);
        return value === undefined ? undefined : this.keyIn(plans[i] as IndexPlan, entry, value);
      };
      for (const [key, record] of this.entries()) {
        const stored = bytesOf(keys, key, this.#h);
        for (const [name, entry] of this.#entries(record, stored)) {
          seen.add(name);
          const leads = owner(entry.at, entry.bytes);
          if (leads === undefined || !sameBytes(bytesOf(keys, leads, this.#h), stored))
            found.push({ index: entry.plan.name, key, problem: 'missing' });
        }
      }
      for (const [i, plan] of plans.entries())
        for (const [entry, value] of this.indexAt(i).entries())
          if (!seen.has(nameOf(i, entry))) found.push({ index: plan.name, key: this.keyIn(plan, entry, value), problem: 'stray' });
      return found;
    }

    /** Enters the record of a stored key, which was put there without it, in the indexes. `home`: where the header will be. */
    $index(stored: Bytes, home: ObjectHandle): void {
      const record = this.#base.$value(stored);
      if (record === undefined) return;
      const entries: Entries = new Map();
      for (const [i, plan] of plans.entries()) plan.collect(i, this.#view(record), stored, home, entries);
      this.#change(stored, new Map(), entries, () => undefined);
    }

    reindex(): void {
      const all = this.#expected();
      for (const i of plans.keys()) this.indexAt(i).clear();
      for (const [entry, key] of all.values()) this.#add(entry, key);
    }

    $assign(content: unknown): void {
      if (isSelf(content, this.#h, this.$o)) return;
      const all = [...(refuseContent(content, 'IndexedMap', true) as Iterable<readonly [K, unknown]>)];
      // All is judged before the old goes. Of records with the same key the last one counts.
      const last = new Map<string, readonly [K, Record<string, unknown>, Entries]>();
      for (const [key, value] of all) {
        const stored = bytesOf(keys, key, this.#h);
        const same = nameOf(0, stored.slice(0, SCRATCH.length));
        const { record, content: judged } = prepare(this.#h, value);
        last.set(same, [last.get(same)?.[0] ?? key, judged, this.#entries(record, stored)]);
      }
      const names = new Set<string>();
      for (const [, , entries] of last.values())
        for (const [name, entry] of entries) {
          if (entry.plan.unique && names.has(name)) taken(entry.plan);
          names.add(name);
        }
      replaceContent(
        this.#h,
        this.$o,
        ORDERED_HEADER * (plans.length + 1),
        Array.from({ length: plans.length + 1 }, (_, i) => ORDERED_HEADER * i + TREE.CHANGES),
        this.size === 0,
        (at) => new IndexedMap_(this.#h, at),
        (into) => {
          for (const [key, judged] of last.values()) into.set(key, judged);
        },
      );
    }

    $drop(): void {
      this.clear();
    }

    $destroy(): void {
      this.#base.$destroy();
      for (const i of plans.keys()) this.indexAt(i).$destroy();
    }

    [INSPECT](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
      return inspectEntries('IndexedMap', this.size, this.entries(), true, depth, options, inspect);
    }
  }
  return IndexedMap_;
}

function missing(plan: IndexPlan): never {
  throw new TwzError('PointerCorrupt', `index ${plan.name} leads to a record that is not there; \`reindex\` mends it`);
}

function taken(plan: IndexPlan): never {
  throw new TwzError('ValueMismatch', `index ${plan.name} is unique, and another record has this key`, { index: plan.name });
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** The type of ordered maps from `key` to a struct, with indexes: `indexedMap(u32, Person, { byName: index(text, (p) => p.name) })`. */
export function indexedMap<T extends AnyKeyType, F, B>(
  key: T,
  value: Struct<F>,
  indexes: { readonly [N in keyof B]: Index<Readonly<Instance<F>>, B[N]> },
): CollectionType<IndexedMap<KeyOf<T>, Instance<F>, Init<F> | Instance<F>, B>, Iterable<readonly [KeyOf<T>, Init<F> | Instance<F>]>> {
  if (value.describe.kind !== 'struct') throw new TwzError('TypeInvalid', 'the values of an indexed map are structs');
  const keys = keyCodec(key as KeyType<KeyOf<T>>);
  const declared: unknown = indexes;
  const plans = Object.entries(declared as Record<string, Index<object, unknown>>).map(([name, each]) => {
    if (!NAME.test(name)) throw new TwzError('TypeInvalid', `"${name}" cannot be the name of an index`, { name });
    return new IndexPlan(name, each);
  });
  const base = orderedMap(key, value as Field<Instance<F>, Init<F> | Instance<F>>);
  const listed = plans.map(({ signature }) => signature).join(',');
  const size = ORDERED_HEADER * (plans.length + 1);
  const type: unknown = value;
  return collectionType({
    kind: 'IndexedMap',
    name: `IndexedMap<${keys.signature}, ${value.name}; ${listed}>`,
    signature: `IndexedMap<${keys.signature},${value.signature};${listed}>`,
    size,
    shape: { size, key: keys.signature, value: value.describe },
    parts: [...referencesIn(key), ...plans.flatMap((plan) => referencesIn(plan.key)), value],
    make: () => makeIndexedMap<KeyOf<T>>({ keys, type: type as StructImage, base, plans }),
  });
}

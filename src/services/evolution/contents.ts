/**
 * Contents of collections, by what is stored of their types alone: the values as places, the keys as their bytes. So a collection can be
 * read and filled by its own code, whatever layout its values have, and without the program's key types.
 */
import type { ObjectHandle } from '../../abi/handle.ts';
import { blob } from '../../lib/collections/blob.ts';
import { CHUNKS_POOL } from '../../lib/collections/chunks.ts';
import { hashMap, hashSet } from '../../lib/collections/hash-map.ts';
import { NULL_LINK, type Link } from '../../lib/collections/key-scratch.ts';
import { keyCodec, storedKey, type KeyType } from '../../lib/collections/keys.ts';
import { list } from '../../lib/collections/list.ts';
import { orderedMap } from '../../lib/collections/ordered-map.ts';
import { TREE } from '../../lib/collections/ordered-search.ts';
import { ORDERED_HEADER } from '../../lib/collections/ordered-tree.ts';
import { poolBlocksAtHome, poolDestroy, poolObjects } from '../../lib/collections/pool.ts';
import { log, queue } from '../../lib/collections/queue.ts';
import { redBlackTree } from '../../lib/collections/red-black-tree.ts';
import { textDocument } from '../../lib/collections/text-document.ts';
import type { CollectionAccessor } from '../../lib/collections/type.ts';
import { vec } from '../../lib/collections/vec.ts';
import { bytes, text, u32, type Field, type FieldShape } from '../../lib/fields.ts';
import type { AccessorClass } from '../../lib/emit.ts';
import { TwzError } from '../../abi/errors.ts';
import { entryAt, readEntry } from '../../kernel/fot.ts';
import { Handle } from '../../kernel/object.ts';
import { alignOf, type ObjectSchema, type Shape } from '../check/schema.ts';
import { indexesOf, keyTypeOf } from '../key-types.ts';

export type CollectionShape = Extract<Shape, { kind: 'collection' }>;

/** Where a value lies. */
export class Place {
  readonly $h: Handle;
  readonly $o: number;

  constructor(h: Handle, o: number) {
    this.$h = h;
    this.$o = o;
  }
}

/** What is stored into a place: whatever fills it. Text and bytes are stored as they are. */
export interface Filling {
  fill(h: ObjectHandle, at: number): void;
}

export type Content = Place | string | Uint8Array;
export type NewContent = Filling | string | Uint8Array;

/** A field that is read as its place, is stored by what fills it, and of which nothing is given back. */
interface PlacedField extends Field<unknown, NewContent> {
  /** Of a struct: what says whether it owns anything. */
  readonly layout?: { readonly fields: readonly { readonly name: string; readonly offset: number; readonly field: object }[] };
}

function placed(schema: ObjectSchema, shape: Shape): PlacedField {
  const described: unknown = { kind: shape.kind, type: shape.type };
  const field: PlacedField = {
    size: shape.size,
    align: alignOf(schema, shape),
    signature: shape.type,
    describe: described as FieldShape,
    load: (emit, at) => `return new (${emit.constant(Place)})(h, ${at});`,
    store: (_emit, at) => `v.fill(h, ${at});`,
    drop: () => '',
  };
  if (shape.kind === 'optional' || shape.kind === 'array') return { ...field, of: placed(schema, shape.of) };
  if (shape.kind !== 'struct') return field;
  const fields = schema.types.get(shape.type)?.fields ?? [];
  return { ...field, layout: { fields: fields.map((each) => ({ ...each, field: placed(schema, each.shape) })) } };
}

function valueField(schema: ObjectSchema, { value, type }: CollectionShape): Field<unknown, NewContent> {
  if (value === undefined) throw new TypeError(`${type} has no values`);
  const field: unknown = value.kind === 'text' ? text : value.kind === 'bytes' ? bytes : placed(schema, value);
  return field as Field<unknown, NewContent>;
}

/** What all of them have, or some. */
interface Methods extends CollectionAccessor {
  readonly size?: number;
  entries(): Iterable<[Uint8Array, Content]>;
  values(): Iterable<Content>;
  set(key: Uint8Array, value: NewContent): void;
  load(entries: Iterable<readonly [Uint8Array, NewContent]>): void;
  push(value: NewContent): void;
  append(value: NewContent): void;
}

type Made = { readonly accessor: AccessorClass };

function typeOf(schema: ObjectSchema, shape: CollectionShape, resolve: (h: ObjectHandle, pointer: number) => Link): Made | undefined {
  const key = shape.key === undefined ? undefined : storedKey(keyTypeOf(shape.key), resolve);
  switch (shape.collection) {
    case 'Blob':
      return blob;
    case 'TextDocument':
      return textDocument;
    case 'Vec':
      return vec(valueField(schema, shape));
    case 'List':
      return list(valueField(schema, shape));
    case 'Queue':
      return queue(valueField(schema, shape));
    case 'Log':
      return log(valueField(schema, shape));
    default:
  }
  if (key === undefined) return undefined;
  switch (shape.collection) {
    case 'HashSet':
      return hashSet(key);
    case 'HashMap':
      return hashMap(key, valueField(schema, shape));
    case 'OrderedMap':
    case 'IndexedMap':
      return orderedMap(key, valueField(schema, shape));
    case 'RedBlackTree':
      return redBlackTree(key, valueField(schema, shape));
    default:
      return undefined;
  }
}

/** Collections without values of their own, of which only keys, bytes or text are stored. */
const PLAIN: ReadonlySet<string> = new Set(['Blob', 'TextDocument', 'HashSet']);
const KEYED: ReadonlySet<string> = new Set(['HashMap', 'OrderedMap', 'IndexedMap', 'RedBlackTree']);
const POOLS: Readonly<Record<string, number>> = {
  HashMap: 24,
  HashSet: 24,
  RedBlackTree: 24,
  OrderedMap: TREE.POOL,
  IndexedMap: TREE.POOL,
  Vec: CHUNKS_POOL,
  Blob: CHUNKS_POOL,
  TextDocument: 24,
  List: 16,
  Queue: 40,
  Log: 40,
};

const made = new WeakMap<CollectionShape, Contents | undefined>();

/** Undefined where there is no such collection here. A graph has none: it is a struct of maps. */
export function contentsOf(schema: ObjectSchema, shape: CollectionShape): Contents | undefined {
  if (!made.has(shape)) {
    // A reference in a key is read while a collection is: then its home is known.
    const type = typeOf(schema, shape, (h, pointer) => contents?.link(h, pointer) ?? NULL_LINK);
    const contents: Contents | undefined = type === undefined ? undefined : new Contents(shape, type);
    made.set(shape, contents);
  }
  return made.get(shape);
}

/** The collections of one stored type. `at` is the offset of a header in `h`. */
export class Contents {
  readonly #shape: CollectionShape;
  readonly #type: Made;
  /** Where the header lies of the collection that was opened last. */
  #home: ObjectHandle | undefined;

  constructor(shape: CollectionShape, type: Made) {
    this.#shape = shape;
    this.#type = type;
  }

  /** What a reference in a key leads to. Not what another collection goes on in: that is no lasting name. */
  link(h: ObjectHandle, pointer: number): Link {
    const low = h.dv.getUint32(pointer, true);
    const index = h.dv.getUint32(pointer + 4, true) >>> 8;
    if ((low === 0 && index === 0) || !(h instanceof Handle)) return NULL_LINK;
    const entry = index === 0 ? undefined : readEntry(h, index, entryAt(h, index)).id;
    const target = entry === undefined ? h : h.kernel.handle(entry);
    if (target.isPart)
      throw new TwzError('NotSupported', `${this.#shape.type}: a key refers to a place in ${target.id}, which is a part of an object`, {
        id: h.id,
      });
    return { target, at: low, named: target !== this.#home };
  }

  #open(h: ObjectHandle, at: number): Methods {
    this.#home = h;
    const accessor: unknown = new this.#type.accessor(h, at);
    return accessor as Methods;
  }

  /** Offsets of the pools' headers in that of the collection. */
  get pools(): readonly number[] {
    const first = POOLS[this.#shape.collection] ?? 0;
    if (this.#shape.collection !== 'IndexedMap') return [first];
    return Array.from({ length: this.#shape.size / ORDERED_HEADER }, (_, i) => i * ORDERED_HEADER + first);
  }

  /** Blocks of the home that are the collection's, its values aside. */
  blocksAtHome(h: ObjectHandle, at: number): number {
    if (h instanceof Handle && h.cold) h.warm();
    return this.pools.reduce((sum, pool) => sum + poolBlocksAtHome(h, at + pool), 0);
  }

  /** The objects that it has beside its home. */
  members(h: ObjectHandle, at: number): Handle[] {
    return this.pools.flatMap((pool) =>
      [...poolObjects(h, at + pool)].flatMap(({ handle }) => (handle instanceof Handle && handle !== h ? [handle] : [])),
    );
  }

  /** Has it any? Opens none of them. */
  hasMembers(h: ObjectHandle, at: number): boolean {
    if (h.cold) h.warm();
    return this.pools.some((pool) => h.dv.getUint32(at + pool + 4, true) > 0);
  }

  /** Values that are places; none of text and bytes, which lie in the collection's own blocks. */
  *places(h: ObjectHandle, at: number): Generator<Place> {
    const { collection, value } = this.#shape;
    if (PLAIN.has(collection) || value === undefined || value.kind === 'text' || value.kind === 'bytes') return;
    for (const place of this.#open(h, at).values()) if (place instanceof Place) yield place;
  }

  /**
   * Fills an empty collection at `to` with the content of `old`, which `of` makes values of this type. Yields the stored key of each entry
   * that was added; where there are none, an empty one.
   */
  *fill(
    h: ObjectHandle,
    to: number,
    old: Contents,
    oldHome: ObjectHandle,
    at: number,
    of: (value: Content) => NewContent,
  ): Generator<Uint8Array> {
    const { collection } = this.#shape;
    const target = this.#open(h, to);
    const source = old.#open(oldHome, at);
    if (PLAIN.has(collection)) {
      target.$assign(source);
      yield NO_KEY;
    } else if (collection === 'OrderedMap' || collection === 'IndexedMap') {
      for (const [key, value] of source.entries()) {
        target.load([[key, of(value)]]);
        yield key;
      }
    } else if (KEYED.has(collection)) {
      for (const [key, value] of source.entries()) {
        target.set(key, of(value));
        yield key;
      }
    } else {
      if (collection === 'Log') keepNumbers(h, to, oldHome, at);
      for (const value of source.values()) {
        if (collection === 'Log') target.append(of(value));
        else target.push(of(value));
        yield NO_KEY;
      }
    }
  }

  /** Gives back what it has beside its header, and its members. What its values own is not looked at. */
  release(h: ObjectHandle, at: number): void {
    this.#open(h, at).$drop();
    for (const [i, type] of indexTypes(this.#shape).entries()) {
      const map: unknown = new type.accessor(h, at + (i + 1) * ORDERED_HEADER);
      (map as CollectionAccessor).$drop();
    }
    // An empty one may have kept an object to go on with.
    for (const pool of this.pools) poolDestroy(h, at + pool);
  }
}

/** The maps behind the indexes of an indexed map. */
function indexTypes({ collection, type }: CollectionShape): Made[] {
  if (collection !== 'IndexedMap') return [];
  return (indexesOf(type) ?? []).map(({ unique, key }) => {
    const { links } = keyCodec(keyTypeOf(key) as KeyType<unknown>);
    const keys = links === 0 ? bytes : ({ kind: 'linkedBytes', links } as const);
    return unique ? orderedMap(keys, bytes) : orderedMap(keys, u32);
  });
}

const NO_KEY = new Uint8Array(0);

/** The elements of a log keep their numbers. */
function keepNumbers(h: ObjectHandle, to: number, oldHome: ObjectHandle, at: number): void {
  const first = oldHome.u8.slice(at, at + 8);
  h.markRange(to, 16);
  h.u8.set(first, to);
  h.u8.set(first, to + 8);
}

/**
 * An import, opened: records by key through the index, all records of a collection, and its structs. Nothing is read beyond what is
 * asked for, so opening takes the same time however large the import is.
 */
import { TwzError } from '../../abi/errors.ts';
import { META } from '../../abi/format.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { accessorAt, type Instance, type Struct } from '../../lib/struct.ts';
import type { Space } from '../../space.ts';
import type { DynamicStruct } from '../dynamic.ts';
import { keyText } from './convert.ts';
import { ImportRoot, layoutsOf, offsetIn, type CollectionLayout, type ImportPart } from './layout.ts';
import { INDEX_ENTRY } from './link.ts';
import { parseMapping, type Mapping } from './mapping.ts';
import { SipHash } from './siphash.ts';

/** Guesses of a lookup before it halves. */
const GUESSES = 8;

export const IMPORTS = '/imports';
/** Name of the root object of an import, beside those of its collections. */
export const ROOT_NAME = 'import.root';

/** A record whose type is not declared in the program: fields by name. */
export type ImportedRecord = object;

interface IndexPart {
  readonly handle: ObjectHandle;
  readonly high: number;
  readonly low: number;
  readonly count: number;
  /** Offset of the entries. */
  readonly entries: number;
}

interface OpenCollection {
  readonly layout: CollectionLayout;
  readonly number: number;
  readonly count: number;
  readonly references: number;
  readonly parts: readonly ObjectHandle[];
  readonly indexParts: readonly ImportPart[];
  readonly index: (IndexPart | undefined)[];
}

export interface CollectionInfo {
  readonly name: string;
  /** Name of the struct. */
  readonly type: string;
  readonly count: number;
  readonly references: number;
  readonly key: string | undefined;
}

/** Layouts by mapping: every opening of the same import gives accessors of the same classes. */
const layouts = new Map<string, readonly CollectionLayout[]>();

export class Import {
  readonly name: string;
  readonly mapping: Mapping;
  readonly #collections = new Map<string, OpenCollection>();
  readonly #hash: SipHash;

  /** Use `openImport`. */
  constructor(space: Space, name: string) {
    this.name = name;
    const root = space.names.get(`${IMPORTS}/${name}/${ROOT_NAME}`, ImportRoot);
    const json = root.mapping;
    this.mapping = parseMapping(JSON.parse(json));
    let known = layouts.get(json);
    if (known === undefined) {
      known = layoutsOf(this.mapping);
      layouts.set(json, known);
    }
    this.#hash = new SipHash(root.seed);
    for (let stored = root.collections; stored !== null; stored = stored.next) {
      const { name: collection } = stored;
      const number = known.findIndex((layout) => layout.collection.name === collection);
      const layout = known[number];
      if (layout === undefined)
        throw new TwzError('TypeMismatch', `import ${name}: its mapping has no collection ${collection}`, { name, collection });
      const parts = [...chain(stored.parts)].map(handleOf);
      const indexParts = [...chain(stored.index)];
      this.#collections.set(collection, {
        layout,
        number,
        count: stored.count,
        references: stored.references,
        parts,
        indexParts,
        index: [],
      });
    }
  }

  /** The collections, in the order of the mapping. */
  get collections(): readonly CollectionInfo[] {
    return this.mapping.collections.map(({ name, type, key }) => {
      const { count, references } = this.#collection(name);
      return { name, type, count, references, key };
    });
  }

  #collection(name: string): OpenCollection {
    const found = this.#collections.get(name);
    if (found === undefined)
      throw new TwzError(
        'NameMissing',
        `import ${this.name} has no collection "${name}"; it has ${[...this.#collections.keys()].join(', ')}`,
        { name },
      );
    return found;
  }

  count(collection: string): number {
    return this.#collection(collection).count;
  }

  /** The struct of a collection's records, as it was built from the mapping. */
  type(collection: string): DynamicStruct {
    return this.#collection(collection).layout.record;
  }

  #typeOf<F>({ layout }: OpenCollection, type: Struct<F> | undefined): Struct<F> | DynamicStruct {
    if (type === undefined) return layout.record;
    const { low, high } = layout.record.layout.fingerprint;
    const { fingerprint } = type.layout;
    if (fingerprint.low !== low || fingerprint.high !== high) {
      throw new TwzError(
        'TypeMismatch',
        `the records of ${this.name}/${layout.collection.name} are not ${type.name} as it is declared here`,
        { name: this.name, expected: type.name },
      );
    }
    return type;
  }

  /** The record with that key, or undefined. With a type: throws TypeMismatch where the records are of another. */
  get(collection: string, key: string | number): ImportedRecord | undefined;
  get<F>(collection: string, key: string | number, type: Struct<F>): Instance<F> | undefined;
  get<F>(collection: string, key: string | number, type?: Struct<F>): object | undefined {
    const open = this.#collection(collection);
    const struct = this.#typeOf(open, type);
    const { keyField } = open.layout;
    if (keyField === undefined) throw new TwzError('InvalidArgument', `the collection ${collection} has no key`, { collection });
    const text = open.layout.collection.keyIsText ? String(key) : String(Number(key));
    const hash = this.#hash.ofText(open.number, text);
    const high = hash[0] as number;
    const low = hash[1] as number;
    for (let number = partOf(open, high, low); number < open.indexParts.length && number >= 0; number++) {
      const part = indexPart(open, number);
      if (part.high > high || (part.high === high && part.low > low)) break;
      const { handle: h } = part;
      if (h.cold) h.warm();
      for (let i = lowerBound(part, high, low); i < part.count; i++) {
        // Following the entry before may have unmapped the index.
        if (h.cold) h.warm();
        const at = part.entries + i * INDEX_ENTRY;
        if (h.dv.getUint32(at, true) !== high || h.dv.getUint32(at + 4, true) !== low) return undefined;
        const target = h.follow(h.dv.getUint32(at + 12, true) >>> 8, at + 8);
        const record: object = accessorAt(open.layout.record, target, checked(h, at, target, open.layout));
        if (keyText(Reflect.get(record, keyField)) !== text) continue;
        if (type === undefined) return record;
        const typed: object = accessorAt(struct as Struct<F>, target, h.dv.getUint32(at + 8, true));
        return typed;
      }
    }
    return undefined;
  }

  /** All records of a collection, in the order in which they came. */
  all(collection: string): Generator<ImportedRecord>;
  all<F>(collection: string, type: Struct<F>): Generator<Instance<F>>;
  *all<F>(collection: string, type?: Struct<F>): Generator<object> {
    const open = this.#collection(collection);
    const { layout, parts } = open;
    const struct = this.#typeOf(open, type);
    const { size } = layout.record.layout;
    for (const h of parts) {
      if (h.cold) h.warm();
      const root = h.dv.getUint32(META.root, true);
      for (let slab = h.dv.getUint32(root + layout.slabsAt, true); slab !== 0; slab = nextSlab(h, slab, layout)) {
        if (slab + layout.slab.layout.size > h.size) h.corrupt(slab, 'a slab of records lies outside the object');
        const used = h.dv.getUint32(slab + layout.usedAt, true);
        if (used > layout.slabRecords) h.corrupt(slab + layout.usedAt, 'a slab says that it holds more records than fit');
        for (let i = 0; i < used; i++) {
          const gone = nextWord(h, slab + layout.goneAt + (i >>> 5) * 4);
          if ((gone & (1 << (i & 31))) !== 0) continue;
          yield accessorAt(struct as Struct<F>, h, slab + layout.recordsAt + i * size);
        }
      }
    }
  }
}

function nextWord(h: ObjectHandle, at: number): number {
  if (h.cold) h.warm();
  return h.dv.getUint32(at, true);
}

function nextSlab(h: ObjectHandle, slab: number, layout: CollectionLayout): number {
  return nextWord(h, slab + layout.nextAt);
}

function* chain(first: ImportPart | null): Generator<ImportPart> {
  for (let part = first; part !== null; part = part.next) yield part;
}

function handleOf(part: ImportPart): ObjectHandle {
  const { object } = part;
  if (object === null) throw new TwzError('ObjectMissing', 'an object of the import is not there');
  return object.handle;
}

/** The record that an index entry leads to. */
function checked(h: ObjectHandle, entry: number, target: ObjectHandle, layout: CollectionLayout): number {
  const at = h.dv.getUint32(entry + 8, true);
  const { size, align } = layout.record.layout;
  if (at < 4096 || at + size > target.size || at % align !== 0)
    h.corrupt(entry, `the index leads to offset ${at} of object ${target.id}, where no record can be`);
  return at;
}

/** The last part that begins at or before the hash; -1 where there is none. */
function partOf(open: OpenCollection, high: number, low: number): number {
  let from = 0;
  let to = open.indexParts.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    const part = open.indexParts[middle] as ImportPart;
    if (part.high < high || (part.high === high && part.low < low)) from = middle + 1;
    else to = middle;
  }
  // Equal hashes may begin in the part before.
  return Math.max(0, from - 1);
}

function indexPart(open: OpenCollection, number: number): IndexPart {
  const known = open.index[number];
  if (known !== undefined) return known;
  const stored = open.indexParts[number] as ImportPart;
  const { count, high, low } = stored;
  const handle = handleOf(stored);
  if (handle.cold) handle.warm();
  const root = handle.dv.getUint32(META.root, true);
  const type = open.layout.index(1);
  const entries = root + offsetIn(type, 'entries');
  if (root < 4096 || entries + count * INDEX_ENTRY > handle.size) handle.corrupt(META.root, 'the index lies outside the object');
  const part = { handle, high, low, count, entries };
  open.index[number] = part;
  return part;
}

/** Position of the first entry that is not before the hash. Hashes are spread evenly, so a guess is nearly right; halving sees to it that it ends soon. */
function lowerBound(part: IndexPart, high: number, low: number): number {
  const { dv } = part.handle;
  let from = 0;
  let to = part.count;
  for (let step = 0; from < to; step++) {
    let middle = (from + to) >>> 1;
    if (step < GUESSES) {
      const first = highAt(dv, part, from);
      const last = highAt(dv, part, to - 1);
      const share = last > first ? (high - first) / (last - first) : 0.5;
      middle = Math.min(to - 1, Math.max(from, from + Math.floor(share * (to - 1 - from))));
    }
    const there = highAt(dv, part, middle);
    if (there < high || (there === high && dv.getUint32(part.entries + middle * INDEX_ENTRY + 4, true) < low)) from = middle + 1;
    else to = middle;
  }
  return from;
}

function highAt(dv: DataView, part: IndexPart, i: number): number {
  return dv.getUint32(part.entries + i * INDEX_ENTRY, true);
}

/** Opens what `importData` made. Throws NameMissing, TypeMismatch. */
export function openImport(space: Space, name: string): Import {
  return new Import(space, name);
}

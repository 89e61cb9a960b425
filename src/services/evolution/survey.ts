/**
 * What there is in an object, found from its root by its own schema: every struct, every block that something of it owns, and what its
 * collections hold, in the objects that they have grown into as well. Reads only.
 *
 * A struct is a container where it begins a block of its own, or inline where it is part of one. A pointer may lead to either, and the
 * part may be met before the whole; so what was taken for a container is put right when the real one is met.
 */
import { META } from '../../abi/format.ts';
import { blockAround, liveBlocks } from '../../kernel/allocator.ts';
import { entryAt, fotEntries, readEntry } from '../../kernel/fot.ts';
import type { Handle } from '../../kernel/object.ts';
import { poolObjects } from '../../lib/collections/pool.ts';
import type { ObjectSchema, Shape, StructShape } from '../check/schema.ts';
import { contentsOf, type CollectionShape } from './contents.ts';
import { forwardsOf } from './forwards.ts';

export interface Container {
  readonly at: number;
  readonly struct: StructShape;
  /** Bytes of its block, or of its place in a collection; 0 where it has none of its own. */
  readonly room: number;
}

/** A pointer in `h` into another object, or in an object of a collection into that one; `type` undefined for a link. */
export interface FarPointer {
  readonly h: Handle;
  readonly at: number;
  readonly index: number;
  readonly offset: number;
  readonly type: string | undefined;
}

export interface TypedPointer {
  readonly h: Handle;
  readonly at: number;
  readonly type: string;
}

/** A collection's header. */
export interface FoundCollection {
  readonly h: Handle;
  readonly at: number;
  readonly shape: CollectionShape;
  /** It does not lie in the value of another. */
  readonly outer: boolean;
}

/**
 * What becomes of a collection. `skip`: its values are not looked at. `still`: they stay as they are, and pointers in them are wanted.
 * `inPlace`: they are structs that are converted where they lie. `goes`: they go elsewhere, or away.
 */
export type Fate = 'skip' | 'still' | 'inPlace' | 'goes';

export interface SurveyOptions {
  /** What goes is copied, so that its old places are of no interest. */
  readonly copies?: boolean;
  /** Told of each collection that lies in further objects before it is looked through. */
  readonly grown?: ((shape: CollectionShape) => void) | undefined;
}

export class Survey {
  readonly far: FarPointer[] = [];
  /** Pointers in values of collections that stay as they are. */
  readonly pointers: TypedPointer[] = [];
  /** All that were not skipped. */
  readonly collections: FoundCollection[] = [];
  readonly #h: Handle;
  readonly #schema: ObjectSchema;
  readonly #fate: (shape: CollectionShape) => Fate;
  readonly #containers = new Map<string, Map<number, Container>>();
  readonly #inline = new Map<string, Set<number>>();
  readonly #todo: [name: string, at: number][] = [];
  readonly #skipped: FoundCollection[] = [];
  /** Blocks that something owns, by the object that they lie in. */
  readonly #owned = new Map<Handle, number>();
  readonly #home = new Map<Handle, Map<number, boolean>>();
  readonly #copies: boolean;
  readonly #grown: SurveyOptions['grown'];
  /** How many collections are around what is looked at, and how many of them are copied. */
  #depth = 0;
  #copied = 0;

  constructor(h: Handle, schema: ObjectSchema, fate: (shape: CollectionShape) => Fate, { copies = false, grown }: SurveyOptions = {}) {
    this.#h = h;
    this.#copies = copies;
    this.#grown = grown;
    this.#schema = schema;
    this.#fate = fate;
    this.#target(schema.root, h.dv.getUint32(META.root, true), META.root);
    this.#drain();
  }

  #drain(): void {
    for (let next = this.#todo.pop(); next !== undefined; next = this.#todo.pop()) this.#visit(...next);
  }

  *containers(): Generator<Container> {
    for (const ofName of this.#containers.values()) yield* ofName.values();
  }

  /** Blocks in use that nothing typed leads to from the root. 0 where that cannot be told without reading what is too much to be read. */
  get unreached(): number {
    for (let each = this.#skipped.pop(); each !== undefined; each = this.#skipped.pop()) {
      const { h, at, shape } = each;
      const { value } = shape;
      if (value === undefined || value.kind === 'text' || value.kind === 'bytes' || !leadsOn(value, this.#schema)) continue;
      if (contentsOf(this.#schema, shape)?.hasMembers(h, at) !== false) return 0;
      this.#values(each);
      this.#drain();
    }
    const h = this.#h;
    const blocks = new Set<number>();
    for (const { at, room, struct } of this.containers()) if (room > 0 && !this.#isInline(struct.name, at)) blocks.add(at);
    const list = forwardsOf(h);
    const taken = new Set(list.map(({ to }) => blockAround(h, to)?.at));
    for (const { from } of list) {
      const block = blockAround(h, from);
      if (block !== undefined && !taken.has(block.at)) blocks.add(block.at);
    }
    return liveBlocks(h) - blocks.size - this.#ownedBy(h) - (h.dv.getUint32(META.forwards, true) === 0 ? 0 : 1);
  }

  /** The same for the objects of a collection: blocks there that are not its own, nor what its values own. */
  unreachedIn({ h, at, shape }: FoundCollection): number {
    let unreached = 0;
    for (const pool of contentsOf(this.#schema, shape)?.pools ?? []) {
      for (const { handle, blocks } of poolObjects(h, at + pool)) {
        const member = handle as Handle;
        if (member === h) continue;
        if (member.cold) member.warm();
        unreached += liveBlocks(member) - blocks - this.#ownedBy(member);
      }
    }
    return unreached;
  }

  #ownedBy(h: Handle): number {
    let count = this.#owned.get(h) ?? 0;
    if (h.dv.getUint32(META.schema, true) !== 0) count++;
    for (const entry of fotEntries(h)) if (entry.id === undefined) count += entry.resolver === '' ? 1 : 2;
    return count;
  }

  #isInline(name: string, at: number): boolean {
    return this.#inline.get(name)?.has(at) === true;
  }

  #target(name: string, at: number, from: number): void {
    const struct = this.#schema.types.get(name);
    if (struct === undefined || this.#containers.get(name)?.has(at) === true || this.#isInline(name, at)) return;
    if (at < 4096 || at + struct.size > this.#h.size) this.#h.corrupt(from, `the pointer leads to offset ${at}, where no ${name} can be`);
    const block = blockAround(this.#h, at);
    this.#contain({ at, struct, room: block?.at === at ? block.size : 0 });
    this.#todo.push([name, at]);
  }

  #contain(container: Container): void {
    const { name } = container.struct;
    let ofName = this.#containers.get(name);
    if (ofName === undefined) this.#containers.set(name, (ofName = new Map()));
    ofName.set(container.at, container);
  }

  #visit(name: string, at: number): void {
    // It turned out to be part of another, and was visited with it.
    if (this.#containers.get(name)?.has(at) !== true || this.#isInline(name, at)) return;
    this.#fields(this.#h, at, this.#schema.types.get(name) as StructShape, false);
  }

  #fields(h: Handle, at: number, struct: StructShape, still: boolean): void {
    for (const field of struct.fields) this.#value(h, at + field.offset, field.shape, still);
  }

  #own(h: Handle, blocks: number): void {
    this.#owned.set(h, (this.#owned.get(h) ?? 0) + blocks);
  }

  /** A part of something else. False where it was visited already, as what a pointer led to. */
  #part(name: string, at: number): boolean {
    let ofName = this.#inline.get(name);
    if (ofName === undefined) this.#inline.set(name, (ofName = new Set()));
    if (ofName.has(at)) return false;
    ofName.add(at);
    // What it owns was or will be counted there.
    const taken = this.#containers.get(name)?.delete(at) === true;
    return !taken || this.#todo.some(([other, place]) => other === name && place === at);
  }

  /** Does an entry of an object's table lead to the object that is looked at? */
  #leadsHome(h: Handle, index: number): boolean {
    if (h === this.#h) return false;
    let known = this.#home.get(h);
    if (known === undefined) this.#home.set(h, (known = new Map()));
    let home = known.get(index);
    if (home === undefined) {
      const at = entryAt(h, index);
      home = at !== 0 && readEntry(h, index, at).id === this.#h.id;
      known.set(index, home);
    }
    return home;
  }

  #value(h: Handle, at: number, shape: Shape, still: boolean): void {
    if (h.cold) h.warm();
    const { dv } = h;
    switch (shape.kind) {
      case 'text':
      case 'bytes':
        if (dv.getUint32(at, true) !== 0) this.#own(h, 1);
        return;
      case 'ref': {
        const low = dv.getUint32(at, true);
        const index = dv.getUint32(at + 4, true) >>> 8;
        if (low === 0 && index === 0) return;
        if (still) this.pointers.push({ h, at, type: shape.type });
        if (index === 0 && h === this.#h) this.#target(shape.type, low, at);
        else this.far.push({ h, at, index, offset: low, type: shape.type });
        if (index !== 0 && low !== 0 && this.#leadsHome(h, index)) this.#target(shape.type, low, at);
        return;
      }
      case 'link': {
        const index = dv.getUint32(at + 4, true) >>> 8;
        if (index !== 0) this.far.push({ h, at, index, offset: dv.getUint32(at, true), type: undefined });
        return;
      }
      case 'struct': {
        const struct = this.#schema.types.get(shape.type);
        if (struct !== undefined && (h !== this.#h || this.#part(shape.type, at))) this.#fields(h, at, struct, still);
        return;
      }
      case 'optional':
        if (dv.getUint8(at) !== 0) this.#value(h, at + shape.at, shape.of, still);
        return;
      case 'array':
        if (!isSimple(shape.of)) for (let i = 0; i < shape.length; i++) this.#value(h, at + i * shape.stride, shape.of, still);
        return;
      case 'collection':
        this.#collection(h, at, shape, still);
        return;
      default:
    }
  }

  #collection(h: Handle, at: number, shape: CollectionShape, still: boolean): void {
    const { value } = shape;
    if (shape.collection === 'Graph' && value !== undefined) {
      this.#value(h, at, value, still);
      return;
    }
    const contents = contentsOf(this.#schema, shape);
    if (contents === undefined) return;
    this.#own(h, contents.blocksAtHome(h, at));
    const found: FoundCollection = { h, at, shape, outer: this.#depth === 0 };
    if (value === undefined) return;
    if (this.#fate(shape) === 'skip') this.#skipped.push(found);
    else {
      this.collections.push(found);
      if (this.#grown !== undefined && contents.hasMembers(h, at)) this.#grown(shape);
      this.#values(found);
    }
  }

  #values({ h, at, shape }: FoundCollection): void {
    const contents = contentsOf(this.#schema, shape);
    const { value } = shape;
    if (contents === undefined || value === undefined) return;
    const fate = this.#fate(shape);
    // Nothing but numbers: there is nothing to be found in them.
    if (isSimple(value)) return;
    const struct = value.kind === 'struct' ? this.#schema.types.get(value.type) : undefined;
    const copied = fate === 'goes' && this.#copies ? 1 : 0;
    this.#depth++;
    this.#copied += copied;
    for (const place of contents.places(h, at)) {
      this.#value(place.$h, place.$o, value, fate === 'still' && this.#copied === 0);
      if (fate === 'inPlace' && struct !== undefined && place.$h === this.#h) this.#contain({ at: place.$o, struct, room: struct.size });
    }
    this.#depth--;
    this.#copied -= copied;
  }
}

function isSimple({ kind }: Shape): boolean {
  return kind === 'number' || kind === 'bigint' || kind === 'bool' || kind === 'oneOf';
}

/** Can a value own a block or lead to anything? */
export function leadsOn(shape: Shape, schema: ObjectSchema, depth = 0): boolean {
  if (shape.kind === 'optional' || shape.kind === 'array') return leadsOn(shape.of, schema, depth);
  if (shape.kind !== 'struct') return !isSimple(shape);
  return depth > 16 || (schema.types.get(shape.type)?.fields ?? []).some((field) => leadsOn(field.shape, schema, depth + 1));
}

/**
 * Which blocks of one object can move, and every word that must follow them.
 *
 * The walk goes from the roots through typed fields, in the object and in all objects by whose references it can be reached. A block that
 * it comes to can move: each pointer to it is known. Memory that no type describes is not understood, but it is looked at: where a word
 * of it could be a place in the object, plain or in the granules of collections, the block there stays.
 */
import { FOT, FOT_FLAG, KIND, META, PAGE, RIGHT } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import { BlockMap } from '../../kernel/blocks.ts';
import { fotEntries } from '../../kernel/fot.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Handle } from '../../kernel/object.ts';
import { objectIds } from '../../kernel/reclaim.ts';
import { ObjectImage, readPointer } from '../check/object-image.ts';
import { alignOf, parseSchema, type ObjectSchema, type Shape, type StructShape } from '../check/schema.ts';

/** A word, four bytes, that holds a place in the object. */
export interface Slot {
  readonly h: Handle;
  readonly at: number;
  readonly to: number;
}

interface Visit {
  readonly state: State;
  readonly at: number;
  readonly struct: StructShape;
  readonly schema: ObjectSchema;
}

/** Collections name blocks by granules of 16 bytes, in the low 22 bits of a word. */
const GRANULES = 0x3fffff;

class State {
  readonly h: Handle;
  readonly blocks: BlockMap;
  readonly schema: ObjectSchema | undefined;
  /** A bit for each 4 bytes that a type describes. */
  readonly #described: Uint8Array;
  readonly #visited = new Map<StructShape, Set<number>>();
  readonly root: number;
  /** Targets by FOT index. */
  readonly targets = new Map<number, ObjectId>();
  collections = false;

  constructor(h: Handle) {
    this.h = h;
    this.blocks = new BlockMap(h);
    this.#described = new Uint8Array(Math.ceil(h.size / 32));
    for (const entry of fotEntries(h)) if (entry.id !== undefined) this.targets.set(entry.index, entry.id);
    const { image } = this;
    this.root = image.u32(META.root);
    const text = image.u32(META.schema) === 0 ? undefined : image.textAt(image.u32(META.schema));
    const schema = text === undefined ? undefined : parseSchema(text);
    this.schema = typeof schema === 'object' ? schema : undefined;
  }

  /** For now: opening another object may unmap this one. */
  get image(): ObjectImage {
    if (this.h.cold) this.h.warm();
    return new ObjectImage(this.h.u8);
  }

  describe(at: number, size: number): void {
    for (let word = at >>> 2; word < (at + size + 3) >>> 2; word++)
      this.#described[word >>> 3] = (this.#described[word >>> 3] ?? 0) | (1 << (word & 7));
  }

  describes(at: number): boolean {
    return ((this.#described[at >>> 5] ?? 0) & (1 << ((at >>> 2) & 7))) !== 0;
  }

  /** False where it was there before. */
  visit(struct: StructShape, at: number): boolean {
    let visited = this.#visited.get(struct);
    if (visited === undefined) {
      visited = new Set();
      this.#visited.set(struct, visited);
    }
    if (visited.has(at)) return false;
    visited.add(at);
    return true;
  }

  get writable(): boolean {
    return this.h.kind !== KIND.immutable && this.h.kind !== KIND['append-only'] && (this.h.rights & RIGHT.write) !== 0;
  }
}

export class MoveWalk {
  readonly #kernel: Kernel;
  readonly #target: Handle;
  readonly #states = new Map<ObjectId, State>();
  readonly #pending: Visit[] = [];
  readonly slots: Slot[] = [];
  /** Blocks that typed fields lead to. */
  readonly reached = new Set<number>();
  readonly #pinned = new Set<number>();
  /** Nothing may move: others may know places in it that cannot be found. */
  frozen = false;

  constructor(kernel: Kernel, target: Handle) {
    this.#kernel = kernel;
    this.#target = target;
  }

  get blocks(): BlockMap {
    return this.#own.blocks;
  }

  get #own(): State {
    return this.#state(this.#target);
  }

  #state(h: Handle): State {
    let state = this.#states.get(h.id);
    if (state === undefined) {
      state = new State(h);
      this.#states.set(h.id, state);
    }
    return state;
  }

  movable(start: number): boolean {
    return !this.frozen && this.reached.has(start) && !this.#pinned.has(start);
  }

  get objects(): number {
    return this.#states.size - 1;
  }

  run(): void {
    for (const h of this.#referrers()) this.#state(h);
    for (const state of this.#states.values()) this.#start(state);
    for (let visit = this.#pending.pop(); visit !== undefined; visit = this.#pending.pop()) {
      const { state, at, struct, schema } = visit;
      this.#struct(state, state.image, at, struct, schema);
    }
    for (const state of this.#states.values()) this.#scan(state);
    this.frozen =
      this.#target.kind === KIND['append-only'] || this.#own.schema === undefined || (this.#own.collections && this.#hasParts());
  }

  /** The object itself, and those from which references lead to it, by however many others. */
  #referrers(): Handle[] {
    const referrers = new Map<ObjectId, ObjectId[]>();
    for (const id of [...objectIds(this.#kernel)]) {
      for (const entry of fotEntries(this.#kernel.open(id))) {
        if (entry.id === undefined) continue;
        const list = referrers.get(entry.id);
        if (list === undefined) referrers.set(entry.id, [id]);
        else list.push(id);
      }
    }
    const found = new Set<ObjectId>([this.#target.id]);
    for (const id of found) for (const referrer of referrers.get(id) ?? []) found.add(referrer);
    return Array.from(found, (id) => this.#kernel.open(id));
  }

  /** Does a collection of it go on in objects that have no types of their own? What is in those may name blocks at home. */
  #hasParts(): boolean {
    for (const id of this.#own.targets.values()) {
      if (!this.#kernel.has(id)) continue;
      if (this.#kernel.open(id).dv.getUint32(META.schema, true) === 0) return true;
    }
    return false;
  }

  // --- typed --------------------------------------------------------------------------------------------------------------

  /** What the header and the reference table lead to. */
  #start(state: State): void {
    const { image, root, schema } = state;
    const struct = schema?.types.get(schema.root);
    if (schema !== undefined && struct !== undefined && root !== 0 && this.#reach(state, root, struct, schema))
      this.#slot(state, META.root, state, root);
    const schemaAt = image.u32(META.schema);
    if (schemaAt !== 0 && schema !== undefined) this.#whole(state, META.schema, schemaAt);
    for (let index = 1; index < image.u32(META.fotCount); index++) {
      const at = image.fotAt(index);
      if (at === 0 || (image.u32(at + FOT.flags) & FOT_FLAG.name) === 0) continue;
      this.#whole(state, at, image.u32(at));
      if (image.u32(at + FOT.resolver) !== 0) this.#whole(state, at + FOT.resolver, image.u32(at + FOT.resolver));
    }
  }

  /** A word leads to a block that is text or bytes from its start to its end. */
  #whole(state: State, at: number, to: number): void {
    const start = state.blocks.startOf(to);
    if (start === 0) return;
    if (state.h === this.#target && start === to) this.reached.add(start);
    state.describe(start, state.blocks.sizeOf(start));
    this.#slot(state, at, state, to);
  }

  #slot(holder: State, at: number, state: State, to: number): void {
    if (state.h !== this.#target) return;
    if (holder.writable) this.slots.push({ h: holder.h, at, to });
    else this.#pinned.add(state.blocks.startOf(to));
  }

  /** Takes a struct into the walk. False where none can be. */
  #reach(state: State, at: number, struct: StructShape, schema: ObjectSchema): boolean {
    const start = state.blocks.startOf(at);
    if (start === 0 || at + struct.size > start + state.blocks.sizeOf(start)) return false;
    if (at % alignOf(schema, { kind: 'struct', type: struct.name, size: struct.size }) !== 0) return false;
    if (state.h === this.#target) this.reached.add(start);
    if (state.visit(struct, at)) this.#pending.push({ state, at, struct, schema });
    return true;
  }

  #struct(state: State, image: ObjectImage, at: number, struct: StructShape, schema: ObjectSchema): void {
    for (const field of struct.fields) this.#value(state, image, at + field.offset, field.shape, schema);
  }

  #value(state: State, image: ObjectImage, at: number, shape: Shape, schema: ObjectSchema): void {
    switch (shape.kind) {
      case 'optional':
        state.describe(at, shape.at);
        if (image.bytes[at] === 1) this.#value(state, image, at + shape.at, shape.of, schema);
        else state.describe(at, shape.size);
        return;
      case 'array':
        if (shape.of.kind === 'number' || shape.of.kind === 'bigint') state.describe(at, shape.size);
        else for (let i = 0; i < shape.length; i++) this.#value(state, image, at + i * shape.stride, shape.of, schema);
        return;
      case 'struct': {
        const inner = schema.types.get(shape.type);
        if (inner !== undefined) this.#struct(state, image, at, inner, schema);
        return;
      }
      case 'text':
      case 'bytes':
        state.describe(at, 8);
        if (image.u32(at) !== 0) this.#whole(state, at, image.u32(at));
        return;
      case 'ref':
        state.describe(at, 8);
        this.#pointer(state, image, at, schema.types.get(shape.type), schema);
        return;
      case 'number':
      case 'bigint':
      case 'bool':
      case 'oneOf':
      case 'link':
        state.describe(at, shape.size);
        return;
      default:
        // What its memory holds is its own affair.
        state.collections = true;
    }
  }

  #pointer(state: State, image: ObjectImage, at: number, struct: StructShape | undefined, schema: ObjectSchema): void {
    const { index, offset } = readPointer(image, at);
    const id = index === 0 ? state.h.id : state.targets.get(index);
    const target = id === undefined ? undefined : this.#states.get(id);
    if (target === undefined || (index === 0 && offset === 0)) return;
    const to = offset === 0 ? target.root : offset;
    // A late name, or a whole object: wherever its root is.
    if (offset !== 0) this.#slot(state, at, target, offset);
    const known = struct !== undefined && this.#reach(target, to, struct, schema);
    if (!known && target.h === this.#target) this.#pinned.add(target.blocks.startOf(to));
  }

  // --- not typed ------------------------------------------------------------------------------------------------------------

  /** Looks through memory in use that no type describes. */
  #scan(state: State): void {
    const own = this.#own;
    const { image } = state;
    const pin = (at: number): void => {
      const start = own.blocks.startOf(at);
      if (start !== 0) this.#pinned.add(start);
    };
    for (const start of state.blocks.blocks()) {
      const end = start + state.blocks.sizeOf(start);
      for (let at = start; at < end; at += 4) {
        if (state.describes(at)) continue;
        const word = image.u32(at);
        if (word === 0) continue;
        if (word >= PAGE && word < own.blocks.size) pin(word);
        if ((word & GRANULES) >= PAGE / 16) pin((word & GRANULES) * 16);
      }
    }
  }
}

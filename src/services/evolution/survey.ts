/**
 * What there is in an object, found from its root by its own schema: every struct, and every block that something of it owns. Reads only.
 *
 * A struct is a container where it begins a block of its own, or inline where it is part of one. A pointer may lead to either, and the
 * part may be met before the whole; so what was taken for a container is put right when the real one is met.
 */
import { META } from '../../abi/format.ts';
import { blockAround, liveBlocks } from '../../kernel/allocator.ts';
import { fotEntries } from '../../kernel/fot.ts';
import type { Handle } from '../../kernel/object.ts';
import type { ObjectSchema, Shape, StructShape } from '../check/schema.ts';
import { forwardsOf } from './forwards.ts';

export interface Container {
  readonly at: number;
  readonly struct: StructShape;
  /** Bytes of its block; 0 where it does not begin one. */
  readonly room: number;
}

/** A pointer into another object; `type` undefined for a link. */
export interface FarPointer {
  readonly at: number;
  readonly index: number;
  readonly offset: number;
  readonly type: string | undefined;
}

export class Survey {
  readonly far: FarPointer[] = [];
  readonly #h: Handle;
  readonly #schema: ObjectSchema;
  readonly #containers = new Map<string, Map<number, Container>>();
  readonly #inline = new Map<string, Set<number>>();
  readonly #todo: [name: string, at: number][] = [];
  #owned = 0;
  /** Blocks in use that nothing typed leads to from the root. */
  readonly unreached: number;

  constructor(h: Handle, schema: ObjectSchema) {
    this.#h = h;
    this.#schema = schema;
    this.#target(schema.root, h.dv.getUint32(META.root, true), META.root);
    for (let next = this.#todo.pop(); next !== undefined; next = this.#todo.pop()) this.#visit(...next);
    this.unreached = liveBlocks(h) - this.#reached();
  }

  *containers(): Generator<Container> {
    for (const ofName of this.#containers.values()) yield* ofName.values();
  }

  #reached(): number {
    const { dv } = this.#h;
    const blocks = new Set<number>();
    for (const { at, room } of this.containers()) if (room > 0) blocks.add(at);
    for (const { from } of forwardsOf(this.#h)) {
      // What moved left its block behind; what was inline in it did not have one.
      const block = blockAround(this.#h, from);
      if (block?.at === from) blocks.add(from);
    }
    let count = blocks.size + this.#owned;
    if (dv.getUint32(META.schema, true) !== 0) count++;
    if (dv.getUint32(META.forwards, true) !== 0) count++;
    for (const entry of fotEntries(this.#h)) if (entry.id === undefined) count += entry.resolver === '' ? 1 : 2;
    return count;
  }

  #target(name: string, at: number, from: number): void {
    const struct = this.#schema.types.get(name);
    if (struct === undefined || this.#containers.get(name)?.has(at) === true || this.#inline.get(name)?.has(at) === true) return;
    if (at < 4096 || at + struct.size > this.#h.size) this.#h.corrupt(from, `the pointer leads to offset ${at}, where no ${name} can be`);
    const block = blockAround(this.#h, at);
    const room = block?.at === at ? block.size : 0;
    let ofName = this.#containers.get(name);
    if (ofName === undefined) this.#containers.set(name, (ofName = new Map()));
    ofName.set(at, { at, struct, room });
    this.#todo.push([name, at]);
  }

  #visit(name: string, at: number): void {
    // It turned out to be part of another, and was visited with it.
    if (this.#containers.get(name)?.has(at) !== true) return;
    this.#fields(at, this.#schema.types.get(name) as StructShape);
  }

  #fields(at: number, struct: StructShape): void {
    for (const field of struct.fields) this.#value(at + field.offset, field.shape);
  }

  #value(at: number, shape: Shape): void {
    const { dv } = this.#h;
    switch (shape.kind) {
      case 'text':
      case 'bytes':
        if (dv.getUint32(at, true) !== 0) this.#owned++;
        return;
      case 'ref': {
        const low = dv.getUint32(at, true);
        const index = dv.getUint32(at + 4, true) >>> 8;
        if (index !== 0) this.far.push({ at, index, offset: low, type: shape.type });
        else if (low !== 0) this.#target(shape.type, low, at);
        return;
      }
      case 'link': {
        const index = dv.getUint32(at + 4, true) >>> 8;
        if (index !== 0) this.far.push({ at, index, offset: dv.getUint32(at, true), type: undefined });
        return;
      }
      case 'struct': {
        const struct = this.#schema.types.get(shape.type);
        if (struct === undefined) return;
        let ofName = this.#inline.get(shape.type);
        if (ofName === undefined) this.#inline.set(shape.type, (ofName = new Set()));
        ofName.add(at);
        const taken = this.#containers.get(shape.type);
        // Met before, by a pointer to it: what it owns was or will be counted there.
        if (taken?.delete(at) === true && !this.#todo.some(([name, place]) => name === shape.type && place === at)) return;
        this.#fields(at, struct);
        return;
      }
      case 'optional':
        if (dv.getUint8(at) !== 0) this.#value(at + shape.at, shape.of);
        return;
      case 'array':
        if (shape.of.kind === 'number' || shape.of.kind === 'bigint' || shape.of.kind === 'bool' || shape.of.kind === 'oneOf') return;
        for (let i = 0; i < shape.length; i++) this.#value(at + i * shape.stride, shape.of);
        return;
      default:
    }
  }
}

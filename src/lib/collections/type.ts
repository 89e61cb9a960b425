/**
 * A type of collection: what `hashMap(text, Person)` gives. It is a field, so it can stand in a struct; it can be the root of an object of
 * its own, and be referred to, as a struct can.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { AccessorClass, CursorClass, Emitter, ReaderClass } from '../emit.ts';
import type { Field, FieldShape } from '../fields.ts';
import { fingerprintOf } from '../fingerprint.ts';
import { describe, type Layout, type StructImage } from '../struct.ts';

declare const COLLECTION: unique symbol;

/** A type of collection whose accessor is a `C` and which is filled from an `I`. */
export interface CollectionType<C, I> extends Field<C, I>, StructImage {
  /** The name that it has in schemas and messages. */
  readonly name: string;
  readonly [COLLECTION]?: C;
}

/** What the accessors of collections have beside their own methods. */
export interface CollectionAccessor {
  /** Puts new content in the place of the old. */
  $assign(content: unknown): void;
  /** Gives back all that it holds beside its header. */
  $drop(): void;
  /** Deletes the objects that it has beside the one it lies in. */
  $destroy(): void;
}

export interface CollectionPlan {
  /** `HashMap`, `Vec` and so on. */
  readonly kind: string;
  /** What schemas and messages call it. */
  readonly name: string;
  /** Names the stored form: with the parts' signatures. */
  readonly signature: string;
  /** Bytes of the header, a multiple of 8. */
  readonly size: number;
  /** What tools are told. */
  readonly shape: Omit<Extract<FieldShape, { kind: 'collection' }>, 'kind' | 'type' | 'collection'>;
  /** Fields inside, for schemas: structs and what is referred to. */
  readonly parts: readonly (object | undefined)[];
  /** Throws what putting this content in would throw, and changes nothing; returns what was read of it. */
  readonly check?: (content: unknown, h: ObjectHandle) => unknown;
  /** The class of the accessors, made on first use. */
  readonly make: () => AccessorClass;
}

class Collection {
  readonly #plan: CollectionPlan;
  #accessor: AccessorClass | undefined;
  #layout: Layout | undefined;
  readonly version = 1;

  constructor(plan: CollectionPlan) {
    this.#plan = plan;
  }

  get name(): string {
    return this.#plan.name;
  }

  get layout(): Layout {
    if (this.#layout !== undefined) return this.#layout;
    const content = { name: 'content', offset: 0, field: fieldOf(this) };
    this.#layout = {
      size: this.#plan.size,
      align: 8,
      fields: [content],
      fingerprint: fingerprintOf(`${this.name}@1{content:${this.#plan.signature}}`),
    };
    return this.#layout;
  }

  get accessor(): AccessorClass {
    this.#accessor ??= this.#plan.make();
    return this.#accessor;
  }

  get cursor(): CursorClass {
    throw new TwzError('NotSupported', `${this.#plan.signature}: cursors are for structs`);
  }

  get reader(): ReaderClass {
    throw new TwzError('NotSupported', `${this.#plan.signature}: readers are for structs`);
  }

  get schema(): string {
    return JSON.stringify(describe(this));
  }

  get parts(): readonly (object | undefined)[] {
    return this.#plan.parts;
  }

  get size(): number {
    return this.#plan.size;
  }

  get align(): number {
    return 8;
  }

  get signature(): string {
    return this.#plan.signature;
  }

  get describe(): FieldShape {
    return { kind: 'collection', type: this.#plan.signature, collection: this.#plan.kind, ...this.#plan.shape };
  }

  load(emit: Emitter, at: string): string {
    return `return new (${emit.struct(this)})(h, ${at});`;
  }

  store(emit: Emitter, at: string): string {
    return `new (${emit.struct(this)})(h, ${at}).$assign(v);`;
  }

  check(emit: Emitter): string {
    const { check } = this.#plan;
    return check === undefined ? '' : `v = ${emit.constant(check)}(v, h);`;
  }

  drop(emit: Emitter, at: string): string {
    return `new (${emit.struct(this)})(h, ${at}).$drop();`;
  }
}

/** Fields are told apart by properties that exist for types alone. */
function fieldOf(collection: object): Field<unknown, never> {
  return collection as Field<unknown, never>;
}

/** The type of collection of a plan. The caller says what its accessors are. */
export function collectionType<C, I>(plan: CollectionPlan): CollectionType<C, I> {
  const made: unknown = new Collection(plan);
  return made as CollectionType<C, I>;
}

export function isCollectionAccessor(value: object): value is CollectionAccessor {
  return '$assign' in value && '$destroy' in value;
}

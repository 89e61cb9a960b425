/**
 * Structs: a layout declared once gives the type and the accessors.
 *
 *   const Person = struct('Person', { name: text, age: u8, get friend() { return ref(Person); } });
 *   type Person = Infer<typeof Person>;
 *
 * A reference is declared in a getter, so that types can refer to themselves and to each other. Layouts are worked out on first use,
 * when all of them are declared. Fields lie in the order of their declaration, each aligned to its own alignment.
 */
import { TwzError } from '../abi/errors.ts';
import { OBJECT_SIZE_MAX } from '../abi/format.ts';
import type { ObjectHandle } from '../abi/handle.ts';
import { compile, type AccessorClass, type CursorClass, type Emitter, type ReaderClass } from './emit.ts';
import type { CollectionType } from './collections/type.ts';
import type { Field, FieldShape, INIT, VALUE } from './fields.ts';
import { fingerprintOf, type Fingerprint } from './fingerprint.ts';

export declare const STRUCT: unique symbol;

type ValueOf<F> = F extends { readonly [VALUE]?: infer T } ? Exclude<T, never> : never;
type InitOf<F> = F extends { readonly [INIT]?: (init: infer I) => void } ? I : never;

/** The accessor type of a struct's fields. */
export type Instance<F> = { -readonly [K in keyof F]: ValueOf<F[K]> } & { readonly [STRUCT]: F };
/** What a struct can be initialized from: any of its fields. */
export type Init<F> = { [K in keyof F]?: InitOf<F[K]> };

export interface StructOptions {
  /** Raise it with each change: data of lower versions is migrated when it is opened, see `migration`. */
  readonly version?: number;
}

export interface Layout {
  readonly size: number;
  readonly align: number;
  readonly fields: readonly LayoutField[];
  readonly fingerprint: Fingerprint;
}

export interface LayoutField {
  readonly name: string;
  readonly offset: number;
  readonly field: Field<unknown, never>;
}

/** A declared struct. It is itself a field: nested in another struct it lies inline. */
export interface Struct<F> extends Field<Instance<F>, Init<F> | Instance<F>> {
  readonly name: string;
  readonly version: number;
  readonly layout: Layout;
  readonly accessor: AccessorClass;
  readonly cursor: CursorClass;
  readonly reader: ReaderClass;
  /** The layout as text, with those of the structs that it refers to: stored in objects for tools. */
  readonly schema: string;
  readonly [STRUCT]?: F;
}

/** A struct whose fields do not matter. */
export type AnyStruct = Struct<never> | StructImage;

/** What every struct has at run time, whatever its fields' types. */
export interface StructImage {
  readonly name: string;
  readonly version: number;
  readonly layout: Layout;
  readonly accessor: AccessorClass;
  readonly cursor: CursorClass;
  readonly reader: ReaderClass;
  readonly schema: string;
}

/** The accessor type of a declared struct: `type Person = Infer<typeof Person>`. */
export type Infer<S> =
  S extends CollectionType<infer C, infer _I> ? C : S extends { readonly [STRUCT]?: infer F } ? Instance<Exclude<F, undefined>> : never;

const referred = new WeakMap<object, () => StructImage>();

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const RESERVED: ReadonlySet<string> = new Set(['constructor', '__proto__', 'prototype', 'then']);

class StructType {
  readonly name: string;
  readonly version: number;
  readonly #fields: Readonly<Record<string, unknown>>;
  #layout: Layout | undefined;
  #accessor: AccessorClass | undefined;
  #cursor: CursorClass | undefined;
  #reader: ReaderClass | undefined;
  #schema: string | undefined;

  constructor(name: string, fields: Readonly<Record<string, unknown>>, version: number) {
    if (!NAME.test(name)) throw new TwzError('TypeInvalid', `struct "${name}": a name has letters, digits and underscores`, { name });
    this.name = name;
    this.version = version;
    this.#fields = fields;
  }

  get layout(): Layout {
    if (this.#layout !== undefined) return this.#layout;
    const fields: LayoutField[] = [];
    let at = 0;
    let align = 1;
    for (const name of Object.keys(this.#fields)) {
      if (!NAME.test(name) || RESERVED.has(name))
        throw new TwzError('TypeInvalid', `struct ${this.name}: "${name}" cannot be the name of a field`, { name });
      const field = this.#fields[name];
      if (!isField(field))
        throw new TwzError('TypeInvalid', `struct ${this.name}: "${name}" is not a field; use u32, text, ref(…) and the like`, { name });
      at = Math.ceil(at / field.align) * field.align;
      fields.push({ name, offset: at, field });
      at += field.size;
      align = Math.max(align, field.align);
    }
    if (fields.length === 0) throw new TwzError('TypeInvalid', `struct ${this.name} has no fields`, { name: this.name });
    const size = Math.ceil(at / align) * align;
    if (size > OBJECT_SIZE_MAX / 2) throw new TwzError('TypeInvalid', `struct ${this.name} has ${size} bytes`, { size });
    const signature = `${this.name}@${this.version}{${fields.map(({ name, field }) => `${name}:${field.signature}`).join(';')}}`;
    this.#layout = { size, align, fields, fingerprint: fingerprintOf(signature) };
    return this.#layout;
  }

  get accessor(): AccessorClass {
    this.#compile();
    return this.#accessor as AccessorClass;
  }

  get cursor(): CursorClass {
    this.#compile();
    return this.#cursor as CursorClass;
  }

  get reader(): ReaderClass {
    this.#compile();
    return this.#reader as ReaderClass;
  }

  #compile(): void {
    if (this.#accessor !== undefined) return;
    const targets = new Map<string, StructImage>();
    for (const { name, field } of this.layout.fields) {
      const target = referred.get(field);
      if (target !== undefined) targets.set(name, target());
    }
    const { accessor, cursor, reader } = compile(this.name, this.layout, this, targets);
    this.#accessor = accessor;
    this.#cursor = cursor;
    this.#reader = reader;
  }

  get schema(): string {
    this.#schema ??= JSON.stringify(describe(this));
    return this.#schema;
  }

  // --- as a field of another struct ---------------------------------------------------------------------------------------

  get size(): number {
    return this.layout.size;
  }

  get align(): number {
    return this.layout.align;
  }

  get signature(): string {
    return `${this.name}@${this.version}{${this.layout.fields.map(({ name, field }) => `${name}:${field.signature}`).join(';')}}`;
  }

  get describe(): FieldShape {
    return { kind: 'struct', type: this.name };
  }

  load(emit: Emitter, at: string): string {
    return `return new (${emit.struct(this)})(h, ${at});`;
  }

  store(emit: Emitter, at: string): string {
    return `${emit.use('assignTo')}(new (${emit.struct(this)})(h, ${at}), v, ${emit.name()});`;
  }

  check(emit: Emitter): string {
    return `v = ${emit.use('captureStruct')}(${emit.constant(this)}, v, h, ${emit.name()});`;
  }

  drop(emit: Emitter, at: string): string {
    return this.layout.fields.some(({ field }) => field.drop(emit, '0') !== '') ? `new (${emit.struct(this)})(h, ${at}).$drop();` : '';
  }
}

function isField(value: unknown): value is Field<unknown, never> {
  return typeof value === 'object' && value !== null && 'load' in value && 'store' in value && 'size' in value;
}

export interface Schema {
  readonly root: string;
  readonly types: Readonly<Record<string, SchemaType>>;
}

export interface SchemaType {
  readonly size: number;
  readonly version: number;
  readonly fields: readonly { readonly name: string; readonly offset: number; readonly shape: FieldShape }[];
}

/** Tells `schema` which struct a reference field leads to. */
export function refersTo(field: object, target: () => StructImage): void {
  referred.set(field, target);
}

/** The struct that a reference field leads to. */
export function targetOf(field: object): StructImage | undefined {
  return referred.get(field)?.();
}

/** Was it made by `struct`? */
export function isStruct(value: unknown): value is StructImage {
  return value instanceof StructType;
}

/** The layouts of a type and of all that it refers to. */
export function describe(root: StructImage): Schema {
  const types: Record<string, SchemaType> = {};
  const seen = new Map<string, StructImage>();
  const visit = (type: StructImage): void => {
    const known = seen.get(type.name);
    if (known !== undefined && known !== type)
      throw new TwzError('TypeInvalid', `struct ${root.name}: two structs named ${type.name} are reached from it`, { name: type.name });
    if (known !== undefined) return;
    seen.set(type.name, type);
    const { size, fields } = type.layout;
    types[type.name] = {
      size,
      version: type.version,
      fields: fields.map(({ name, offset, field }) => ({ name, offset, shape: field.describe })),
    };
    for (const { field } of fields) visitField(field);
  };
  const visitField = (field: object): void => {
    if (field instanceof StructType) visit(field);
    const target = referred.get(field);
    if (target !== undefined) visit(target());
    if ('of' in field && typeof field.of === 'object' && field.of !== null) visitField(field.of);
    if ('parts' in field && Array.isArray(field.parts))
      for (const part of field.parts) if (typeof part === 'object' && part !== null) visitField(part);
  };
  visit(root);
  return { root: root.name, types };
}

/** A struct and all that it holds inline or refers to, by name. */
export function structsOf(root: object): ReadonlyMap<string, StructImage> {
  const known = closures.get(root);
  if (known !== undefined) return known;
  const found = new Map<string, StructImage>();
  closures.set(root, found);
  const visit = (type: StructImage): void => {
    if (found.has(type.name)) return;
    found.set(type.name, type);
    for (const { field } of type.layout.fields) visitField(field);
  };
  const visitField = (field: object): void => {
    if (field instanceof StructType) visit(field);
    const target = referred.get(field);
    if (target !== undefined) visit(target());
    if ('of' in field && typeof field.of === 'object' && field.of !== null) visitField(field.of);
    if ('parts' in field && Array.isArray(field.parts))
      for (const part of field.parts) if (typeof part === 'object' && part !== null) visitField(part);
  };
  if (isImage(root)) visit(root);
  return found;
}

function isImage(root: object): root is StructImage {
  return 'layout' in root && 'schema' in root;
}

const closures = new WeakMap<object, ReadonlyMap<string, StructImage>>();

/**
 * Declares a struct. Throws TypeInvalid, here or on first use.
 *
 * `fields` is loosely typed on purpose: a tighter constraint would make TypeScript resolve getters that refer to the struct being
 * declared. What is not a field has the type `never` in the accessor, and throws TypeInvalid on first use.
 */
// oxlint-disable-next-line typescript/no-explicit-any -- see above
export function struct<const F extends Record<string, any>>(name: string, fields: F, options: StructOptions = {}): Struct<F> {
  return new StructType(name, fields, options.version ?? 1);
}

/** A reference to a struct, in the same object or in another. Reads as an accessor, or null. */
export function ref<C, I>(target: CollectionType<C, I>): Field<C | null>;
export function ref<F>(target: Struct<F>): Field<Instance<F> | null>;
export function ref<F>(target: Struct<F>): Field<Instance<F> | null> {
  const type = `ref(${target.name})`;
  const field: Field<Instance<F> | null> = {
    size: 8,
    align: 8,
    signature: type,
    describe: { kind: 'ref', type: target.name },
    load: (emit, at) => emit.loadRef(target, at),
    store: (emit, at) => emit.storeRef(target, at),
    check: (emit) => emit.checkRef(target),
    drop: (emit, at) => `${emit.use('dropPointer')}(h, ${at});`,
  };
  refersTo(field, () => target);
  return field;
}

/** The accessor for a struct that lies at an offset of an object. */
export function accessorAt<F>(type: Struct<F>, h: ObjectHandle, at: number): Instance<F> {
  const instance: object = new type.accessor(h, at);
  return instance as Instance<F>;
}

/**
 * Evolution, planned: what becomes of each field of an older struct. Pure: schemas and declared migrations in, operations or obstacles out.
 *
 * A struct is paired with the program's struct of its name, or with the one that a declared migration leads to. A stage takes one layout
 * to the next; where migrations are declared there may be several, and all but the first begin at a declared predecessor.
 */
import { migrationsTo, type Migration } from '../../lib/evolution.ts';
import { structsOf, type StructImage } from '../../lib/struct.ts';
import type { CollectionShape } from './contents.ts';
import { parseSchema, type ObjectSchema, type Shape, type StructField, type StructShape } from '../check/schema.ts';
import { indexesOf, referredBy } from '../key-types.ts';

/** One piece of a struct, from its offset in the older to its offset in the newer one. */
export type Operation =
  | { readonly kind: 'copy'; readonly from: number; readonly to: number; readonly size: number }
  | { readonly kind: 'number'; readonly from: number; readonly to: number; readonly old: string; readonly fresh: string }
  | {
      readonly kind: 'choice';
      readonly from: number;
      readonly to: number;
      readonly old: number;
      readonly fresh: number;
      readonly map: readonly number[];
    }
  | { readonly kind: 'block'; readonly from: number; readonly to: number }
  /** `target` is the older struct's name; undefined for a link. */
  | { readonly kind: 'pointer'; readonly from: number; readonly to: number; readonly target: string | undefined }
  | { readonly kind: 'struct'; readonly from: number; readonly to: number; readonly plan: StructPlan }
  | {
      readonly kind: 'array';
      readonly from: number;
      readonly to: number;
      readonly length: number;
      readonly fromStride: number;
      readonly toStride: number;
      readonly each: Operation;
    }
  | CollectionOperation
  /** `fromAt` undefined: the older value was always there. */
  | {
      readonly kind: 'optional';
      readonly from: number;
      readonly to: number;
      readonly fromAt: number | undefined;
      readonly toAt: number;
      readonly of: Operation;
    };

/** A collection and the next one in its place. A graph is none: it is a struct of maps, and so a struct here. */
export interface CollectionOperation {
  readonly kind: 'collection';
  readonly from: number;
  readonly to: number;
  readonly old: CollectionShape;
  readonly oldSchema: ObjectSchema;
  readonly fresh: CollectionShape;
  readonly freshSchema: ObjectSchema;
  /** Undefined where there are no values. */
  readonly value: Operation | undefined;
  /** The program's type of the newer one. */
  readonly type: Pick<StructImage, 'accessor'>;
  /** Which indexes it has has changed. */
  readonly indexed: boolean;
}

export interface Stage {
  readonly old: StructShape;
  readonly oldSchema: ObjectSchema;
  readonly fresh: StructShape;
  readonly freshSchema: ObjectSchema;
  readonly type: StructImage;
  readonly operations: Operation[];
  /** Fields that are not carried over. */
  readonly dropped: StructField[];
  /** Fields that the older struct did not have. */
  readonly added: Set<string>;
  readonly migration: Migration | undefined;
}

export interface StructPlan {
  readonly old: StructShape;
  readonly oldSchema: ObjectSchema;
  readonly type: StructImage;
  readonly size: number;
  readonly align: number;
  readonly stages: Stage[];
  /** Nothing of it changes but where its pointers lead. */
  same: boolean;
  /** What lies inline in it stays at its offsets. */
  steady: boolean;
  /** It, or something inline in it, needs the older data whole while it is converted. */
  code: boolean;
}

export interface Plan {
  readonly stored: ObjectSchema;
  readonly root: StructPlan;
  /** By the older name: the program's struct. */
  readonly structs: ReadonlyMap<string, StructPlan>;
  /** What becomes of the stored collections; nothing here of those that go. */
  readonly collections: ReadonlyMap<CollectionShape, CollectionOperation>;
  readonly code: boolean;
}

export interface Difference {
  readonly kind: 'same' | 'older' | 'newer' | 'other';
  /** Structs that differ, by the stored name. */
  readonly names: readonly string[];
  readonly reason: string;
}

const parsed = new WeakMap<StructImage, ObjectSchema | string>();

/** The schema of a declared struct. A string tells why tools cannot read it. */
export function schemaOfType(type: StructImage): ObjectSchema | string {
  let schema = parsed.get(type);
  if (schema === undefined) {
    schema = parseSchema(type.schema);
    parsed.set(type, schema);
  }
  return schema;
}

/** Names of predecessors, with the name of the program's struct each: for structs that were renamed. */
function renamedStructs(images: ReadonlyMap<string, StructImage>): Map<string, string> {
  const renamed = new Map<string, string>();
  for (const [name, image] of images) {
    const seen = new Set<StructImage>([image]);
    for (const type of seen) {
      for (const { from } of migrationsTo(type)) {
        seen.add(from);
        if (!images.has(from.name)) renamed.set(from.name, name);
      }
    }
  }
  return renamed;
}

/** Knows which stored struct is which of the program's. */
export class Pairing {
  readonly stored: ObjectSchema;
  readonly own: ObjectSchema;
  readonly images: ReadonlyMap<string, StructImage>;
  readonly #renamed: ReadonlyMap<string, string>;

  constructor(stored: ObjectSchema, own: ObjectSchema, type: StructImage) {
    this.stored = stored;
    this.own = own;
    this.images = structsOf(type);
    this.#renamed = renamedStructs(this.images);
  }

  /** The program's name for a struct. */
  name(stored: string): string {
    const renamed = this.#renamed.get(stored);
    if (renamed !== undefined || this.images.has(stored)) return renamed ?? stored;
    const derived = this.#derivedName(stored);
    return this.images.has(derived) ? derived : stored;
  }

  /** The names of collections, and of the structs that graphs consist of, have those of their values in them. */
  #derivedName(stored: string): string {
    const rename = (word: string): string => this.#renamed.get(word) ?? word;
    if (stored.includes('<')) return stored.replaceAll(/[A-Za-z_][A-Za-z0-9_]*/g, rename);
    const [, head = '', names = stored] = /^(Graph(?:Edge)?_)(.+)$/.exec(stored) ?? [];
    return head + names.split('__').map(rename).join('__');
  }

  image(stored: string): StructImage | undefined {
    return this.images.get(this.name(stored));
  }

  /** The same stored form, structs inside aside. */
  alike(a: Shape, b: Shape): boolean {
    if (a.kind === 'bigint' || a.kind === 'number') return (b.kind === 'bigint' || b.kind === 'number') && a.type === b.type;
    if (a.kind !== b.kind) return false;
    switch (a.kind) {
      case 'struct':
      case 'ref':
        return this.name(a.type) === this.name(b.type);
      case 'optional':
        return b.kind === 'optional' && this.alike(a.of, b.of);
      case 'array':
        return b.kind === 'array' && a.length === b.length && this.alike(a.of, b.of);
      case 'oneOf':
        return b.kind === 'oneOf' && a.values.join('\0') === b.values.join('\0');
      case 'collection':
        return b.kind === 'collection' && sameKind(a, b) && this.#alikeValues(a, b) && indexesIn(a) === indexesIn(b);
      default:
        return a.type === b.type;
    }
  }

  #alikeValues({ value: a }: CollectionShape, { value: b }: CollectionShape): boolean {
    return a === undefined || b === undefined ? a === b : this.alike(a, b);
  }

  alikeStructs(a: StructShape, b: StructShape): boolean {
    return (
      a.fields.length === b.fields.length &&
      a.fields.every((field, i) => {
        const other = b.fields[i];
        return other !== undefined && other.name === field.name && this.alike(field.shape, other.shape);
      })
    );
  }

  /** How the stored structs that both sides know stand to the program's. */
  compare(): Difference {
    const names: string[] = [];
    const kinds = new Set<'older' | 'newer'>();
    for (const [name, stored] of this.stored.types) {
      const own = this.own.types.get(this.name(name));
      if (own === undefined) continue;
      const alike = this.alikeStructs(stored, own);
      if (alike && stored.version === own.version && name === own.name) continue;
      names.push(name);
      if (stored.version === own.version && name === own.name) {
        const reason = `: version ${own.version} of ${own.name} has two layouts; raise the version of the new one (struct(…, { version: ${own.version + 1} }))`;
        return { kind: 'other', names, reason };
      }
      kinds.add(name === own.name && stored.version > own.version ? 'newer' : 'older');
    }
    if (kinds.size === 2) return { kind: 'other', names, reason: ': some of its structs are older and some newer' };
    const [kind] = kinds;
    return { kind: kind ?? 'same', names, reason: '' };
  }
}

/** May a program go on with newer data as if it were its own? Only where nothing that it could make or move has another size. */
export function readsAsPrefix(pairing: Pairing, names: readonly string[]): boolean {
  const { stored, own } = pairing;
  const then = stored.types.get(stored.root);
  const mine = own.types.get(own.root);
  if (then === undefined || mine === undefined || stored.root !== own.root || names.join() !== stored.root) return false;
  // What can be made inside the object would be made too small for the newer program.
  const leads = (shape: Shape): boolean =>
    shape.kind === 'ref' || shape.kind === 'struct'
      ? shape.type === own.root
      : shape.kind === 'optional' || shape.kind === 'array'
        ? leads(shape.of)
        : shape.kind === 'collection' && structsIn(shape, own).has(own.root);
  for (const { fields } of own.types.values()) if (fields.some(({ shape }) => leads(shape))) return false;
  return (
    then.size >= mine.size &&
    mine.fields.every((field, i) => {
      const other = then.fields[i];
      return other?.name === field.name && other.offset === field.offset && pairing.alike(field.shape, other.shape);
    })
  );
}

// --- planning -----------------------------------------------------------------------------------------------------------------

/** Widenings that keep every value. */
const WIDER: Readonly<Record<string, readonly string[]>> = {
  bool: ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64', 'f32', 'f64'],
  u8: ['u16', 'i16', 'u32', 'i32', 'u64', 'i64', 'f32', 'f64'],
  i8: ['i16', 'i32', 'i64', 'f32', 'f64'],
  u16: ['u32', 'i32', 'u64', 'i64', 'f32', 'f64'],
  i16: ['i32', 'i64', 'f32', 'f64'],
  u32: ['u64', 'i64', 'f64'],
  i32: ['i64', 'f64'],
  f32: ['f64'],
};

interface Way {
  readonly from: ObjectSchema;
  readonly name: string;
  readonly to: StructImage;
  readonly migration: Migration | undefined;
}

/** Plans an object's migration. A list of strings tells what cannot be carried over. */
export function planFor(pairing: Pairing): Plan | readonly string[] {
  return new Planner(pairing).plan();
}

class Planner {
  readonly #pairing: Pairing;
  readonly #obstacles: string[] = [];
  readonly #collections = new Map<CollectionShape, CollectionOperation>();
  readonly #known = new Map<ObjectSchema, Map<string, Map<StructImage, StructPlan>>>();

  constructor(pairing: Pairing) {
    this.#pairing = pairing;
  }

  plan(): Plan | readonly string[] {
    const { stored } = this.#pairing;
    const structs = new Map<string, StructPlan>();
    for (const name of stored.types.keys()) {
      const image = this.#pairing.image(name);
      if (image !== undefined) structs.set(name, this.#struct(stored, name, image));
    }
    const root = structs.get(stored.root);
    if (this.#obstacles.length > 0 || root === undefined) return this.#obstacles;
    return { stored, root, structs, collections: this.#collections, code: [...structs.values()].some(({ code }) => code) };
  }

  /** A struct of `schema` as an `image`. */
  #struct(schema: ObjectSchema, name: string, image: StructImage): StructPlan {
    let ofSchema = this.#known.get(schema);
    if (ofSchema === undefined) this.#known.set(schema, (ofSchema = new Map()));
    let ofName = ofSchema.get(name);
    if (ofName === undefined) ofSchema.set(name, (ofName = new Map()));
    const known = ofName.get(image);
    if (known !== undefined) return known;
    const old = schema.types.get(name) as StructShape;
    const { size, align } = image.layout;
    const plan: StructPlan = { old, oldSchema: schema, type: image, size, align, stages: [], same: true, steady: true, code: false };
    ofName.set(image, plan);
    for (const way of this.#ways(schema, old, image)) plan.stages.push(this.#stage(way));
    plan.code =
      plan.stages.length > 1 ||
      plan.stages.some((stage) => stage.migration?.code !== undefined || inlinePlans(stage.operations).some((inner) => inner.code));
    const [only] = plan.stages;
    plan.same = plan.stages.length === 1 && only !== undefined && isSame(only);
    plan.steady =
      plan.stages.length === 1 &&
      only !== undefined &&
      only.operations.every(isSteady) &&
      only.dropped.every(({ shape }) => !holdsStruct(shape));
    return plan;
  }

  /** The stages from a stored struct to the program's: by declared migrations, where one begins at it or after it. */
  #ways(schema: ObjectSchema, old: StructShape, image: StructImage): Way[] {
    const path = new Map<StructImage, Migration>();
    const reached = new Set<StructImage>([image]);
    let begin: StructImage | undefined;
    let oldest = image;
    for (const type of reached) {
      for (const migration of migrationsTo(type)) {
        const { from } = migration;
        if (reached.has(from)) continue;
        reached.add(from);
        path.set(from, migration);
        const layout = schemaOfType(from);
        const shape = typeof layout === 'string' ? undefined : layout.types.get(from.name);
        if (
          begin === undefined &&
          from.name === old.name &&
          from.version === old.version &&
          shape !== undefined &&
          this.#pairing.alikeStructs(old, shape)
        )
          begin = from;
        if (from.version > old.version && from.version < oldest.version) oldest = from;
      }
    }
    if (old.version === image.version && old.name === image.name) begin = undefined;
    if (begin !== undefined && path.get(begin)?.code !== undefined) this.#demandWhole(schema, begin);
    const ways: Way[] = [];
    let at = schema;
    let name = old.name;
    let type = begin ?? oldest;
    if (begin === undefined) {
      ways.push({ from: schema, name, to: type, migration: undefined });
      if (type !== image) [at, name] = [this.#schemaOf(type), type.name];
    }
    for (let step = path.get(type); step !== undefined; step = path.get(type)) {
      ways.push({ from: at, name, to: step.to, migration: step });
      type = step.to;
      if (type !== image) [at, name] = [this.#schemaOf(type), type.name];
    }
    return ways;
  }

  /** Code reads the older data by the declared predecessor: all that this leads to must be as stored. */
  #demandWhole(schema: ObjectSchema, from: StructImage): void {
    const declared = schemaOfType(from);
    if (typeof declared === 'string') return;
    const pairing = new Pairing({ root: from.name, types: schema.types }, declared, from);
    const { kind, names } = pairing.compare();
    if (kind === 'same') return;
    const listed = names.map(
      (name) =>
        `${name} version ${declared.types.get(pairing.name(name))?.version} where version ${schema.types.get(name)?.version} is stored`,
    );
    this.#obstacles.push(
      `${from.name} version ${from.version}, as the migration declares it, has ${listed.join(', ')}: declare the predecessor with what it had`,
    );
  }

  #schemaOf(type: StructImage): ObjectSchema {
    const schema = schemaOfType(type);
    return typeof schema === 'string' ? this.#pairing.own : schema;
  }

  #stage({ from, name, to, migration }: Way): Stage {
    const old = from.types.get(name) as StructShape;
    const freshSchema = this.#pairing.images.get(to.name) === to ? this.#pairing.own : this.#schemaOf(to);
    const fresh = freshSchema.types.get(to.name) as StructShape;
    const stage: Stage = { old, oldSchema: from, fresh, freshSchema, type: to, operations: [], dropped: [], added: new Set(), migration };
    if (migration === undefined && old.version !== to.version && this.#pairing.alikeStructs(old, fresh)) {
      this.#obstacles.push(
        `${to.name} version ${to.version} has the layout of version ${old.version} and so another meaning; declare it: migration(${to.name}V${old.version}, ${to.name}, { migrate(old, fresh) { … } })`,
      );
      return stage;
    }
    const images = new Map(structsOf(to));
    const taken = new Set<string>();
    for (const [i, field] of fresh.fields.entries()) {
      const wanted = migration?.renamed.get(field.name) ?? field.name;
      const source = old.fields.find((each) => each.name === wanted);
      if (source === undefined) {
        if (migration?.renamed.has(field.name) === true)
          this.#obstacles.push(`${field.label}: renamed from "${wanted}", and ${old.name} version ${old.version} has no such field`);
        stage.added.add(field.name);
        continue;
      }
      const operation = this.#operation({ old: from, fresh: freshSchema, images }, source.shape, field.shape, to.layout.fields[i]?.field);
      if (operation !== undefined) {
        stage.operations.push(placedAt(operation, source.offset, field.offset));
        taken.add(source.name);
      } else if (migration?.code === undefined) {
        this.#obstacles.push(
          keysDiffer(source, field) ??
            `${field.label} cannot be carried over from ${showShape(source.shape)} to ${showShape(field.shape)}; write it: migration(${old.name}V${old.version}, ${to.name}, { migrate(old, fresh) { fresh.${field.name} = … old.${source.name} … } })`,
        );
      } else stage.added.add(field.name);
    }
    stage.dropped.push(...old.fields.filter((field) => !taken.has(field.name)));
    return stage;
  }

  /** How a value of one shape becomes one of another, both at 0; undefined where it does not by itself. `field` is the program's. */
  #operation(sides: Sides, old: Shape, fresh: Shape, field: object | undefined): Operation | undefined {
    const [from, to] = [0, 0];
    const inner = field !== undefined && 'of' in field && typeof field.of === 'object' && field.of !== null ? field.of : undefined;
    if (fresh.kind === 'optional' && old.kind !== 'optional') {
      const of = this.#operation(sides, old, fresh.of, inner);
      return of === undefined ? undefined : { kind: 'optional', from, to, fromAt: undefined, toAt: fresh.at, of };
    }
    switch (old.kind) {
      case 'number':
      case 'bigint':
      case 'bool':
        if (fresh.kind !== 'number' && fresh.kind !== 'bigint' && fresh.kind !== 'bool') return undefined;
        if (old.type === fresh.type) return { kind: 'copy', from, to, size: old.size };
        return WIDER[old.type]?.includes(fresh.type) === true ? { kind: 'number', from, to, old: old.type, fresh: fresh.type } : undefined;
      case 'oneOf': {
        if (fresh.kind !== 'oneOf') return undefined;
        const map = old.values.map((value) => fresh.values.indexOf(value));
        return map.includes(-1) ? undefined : { kind: 'choice', from, to, old: old.size, fresh: fresh.size, map };
      }
      case 'text':
      case 'bytes':
        return fresh.kind === old.kind ? { kind: 'block', from, to } : undefined;
      case 'link':
        return fresh.kind === 'link' ? { kind: 'pointer', from, to, target: undefined } : undefined;
      case 'ref':
        if (fresh.kind !== 'ref' || this.#pairing.name(old.type) !== this.#pairing.name(fresh.type)) return undefined;
        return { kind: 'pointer', from, to, target: old.type };
      case 'struct': {
        const image = fresh.kind === 'struct' ? sides.images.get(fresh.type) : undefined;
        if (image === undefined || this.#pairing.name(old.type) !== this.#pairing.name(fresh.type)) return undefined;
        return { kind: 'struct', from, to, plan: this.#struct(sides.old, old.type, image) };
      }
      case 'optional': {
        if (fresh.kind !== 'optional') return undefined;
        const of = this.#operation(sides, old.of, fresh.of, inner);
        return of === undefined ? undefined : { kind: 'optional', from, to, fromAt: old.at, toAt: fresh.at, of };
      }
      case 'collection':
        return fresh.kind === 'collection' ? this.#collection(sides, old, fresh, field) : undefined;
      case 'array': {
        if (fresh.kind !== 'array' || fresh.length < old.length) return undefined;
        const each = this.#operation(sides, old.of, fresh.of, inner);
        if (each === undefined) return undefined;
        if (each.kind === 'copy' && old.stride === fresh.stride && old.stride === each.size)
          return { kind: 'copy', from, to, size: old.stride * old.length };
        return { kind: 'array', from, to, length: old.length, fromStride: old.stride, toStride: fresh.stride, each };
      }
    }
  }

  #collection(sides: Sides, old: CollectionShape, fresh: CollectionShape, field: object | undefined): Operation | undefined {
    if (!sameKind(old, fresh)) return undefined;
    const parts: unknown = field !== undefined && 'parts' in field ? field.parts : [];
    const last: unknown = Array.isArray(parts) ? parts.at(-1) : undefined;
    const part = typeof last === 'object' && last !== null ? last : undefined;
    let value: Operation | undefined;
    if (old.value !== undefined && fresh.value !== undefined) {
      value = this.#operation(sides, old.value, fresh.value, part);
      if (value === undefined) return undefined;
    }
    if (old.collection === 'Graph') return value;
    if (!isProgramType(field)) return undefined;
    const indexed = indexesIn(old) !== indexesIn(fresh);
    const schemas = { oldSchema: sides.old, freshSchema: sides.fresh };
    const operation: CollectionOperation = { kind: 'collection', from: 0, to: 0, old, fresh, ...schemas, value, type: field, indexed };
    if (sides.old === this.#pairing.stored) this.#collections.set(old, operation);
    return operation;
  }
}

/** What both sides of an operation know. */
interface Sides {
  readonly old: ObjectSchema;
  readonly fresh: ObjectSchema;
  readonly images: ReadonlyMap<string, StructImage>;
}

function isProgramType(field: object | undefined): field is Pick<StructImage, 'accessor'> {
  return field !== undefined && 'accessor' in field;
}

function placedAt(operation: Operation, from: number, to: number): Operation {
  return { ...operation, from: operation.from + from, to: operation.to + to };
}

/** The indexes of an indexed map, as its type names them. */
function indexesIn({ type }: CollectionShape): string {
  return JSON.stringify(indexesOf(type) ?? '');
}

/** The same in all but their values and their indexes. */
function sameKind(a: CollectionShape, b: CollectionShape): boolean {
  return a.collection === b.collection && a.key === b.key && (a.value === undefined) === (b.value === undefined);
}

/** What is to be done where the keys of a collection shall be others. */
function keysDiffer({ label, name, shape: old }: StructField, { shape: fresh }: StructField): string | undefined {
  if (old.kind !== 'collection' || fresh.kind !== 'collection' || old.key === fresh.key || old.key === undefined || fresh.key === undefined)
    return undefined;
  return `${label}: the keys of a collection do not change, here from ${old.key} to ${fresh.key}; make another collection of it: migration(…, { migrate(old, fresh) { for (const [key, value] of old.${name}) fresh.NAME.set(… key …, value) } })`;
}

export function collectionsIn(shape: Shape): CollectionShape[] {
  if (shape.kind === 'collection') return [shape];
  return shape.kind === 'array' || shape.kind === 'optional' ? collectionsIn(shape.of) : [];
}

/** Names of all structs that what a collection holds consists of or leads to. */
export function structsIn(collection: CollectionShape, schema: ObjectSchema): ReadonlySet<string> {
  const names = new Set<string>();
  const visit = (shape: Shape | undefined): void => {
    if (shape === undefined) return;
    if (shape.kind === 'struct' || shape.kind === 'ref') names.add(shape.type);
    else if (shape.kind === 'array' || shape.kind === 'optional') visit(shape.of);
    else if (shape.kind === 'collection') {
      visit(shape.value);
      for (const name of referredBy(shape.key ?? '')) names.add(name);
    }
  };
  visit(collection);
  for (const name of names) for (const { shape } of schema.types.get(name)?.fields ?? []) visit(shape);
  return names;
}

function showShape(shape: Shape): string {
  return shape.kind === 'ref' ? `ref(${shape.type})` : shape.type;
}

export function inlinePlans(operations: readonly Operation[]): StructPlan[] {
  return operations.flatMap((operation): StructPlan[] => {
    if (operation.kind === 'struct') return [operation.plan];
    if (operation.kind === 'array') return inlinePlans([operation.each]);
    return operation.kind === 'optional' ? inlinePlans([operation.of]) : [];
  });
}

function isSame(stage: Stage): boolean {
  return (
    stage.dropped.length === 0 &&
    stage.added.size === 0 &&
    stage.old.size === stage.fresh.size &&
    stage.migration?.code === undefined &&
    stage.operations.every(isSameOperation)
  );
}

function isSameOperation(operation: Operation): boolean {
  if (operation.from !== operation.to) return false;
  switch (operation.kind) {
    case 'number':
      return false;
    case 'choice':
      return operation.old === operation.fresh && operation.map.every((value, i) => value === i);
    case 'struct':
      return operation.plan.same;
    case 'array':
      return operation.fromStride === operation.toStride && isSameOperation(operation.each);
    case 'collection':
      return isSameContent(operation);
    case 'optional':
      return operation.fromAt === operation.toAt && isSameOperation(operation.of);
    default:
      return true;
  }
}

/** Do the collection's values stay as they are, wherever its header goes? */
export function isSameContent({ value, indexed }: CollectionOperation): boolean {
  return !indexed && (value === undefined || isSameOperation(value));
}

function isSteady(operation: Operation): boolean {
  const inner = inlinePlans([operation]);
  if (inner.length === 0) return true;
  if (operation.from !== operation.to || !inner.every(({ steady }) => steady)) return false;
  if (operation.kind === 'array') return operation.fromStride === operation.toStride && isSteady(operation.each);
  return operation.kind !== 'optional' || (operation.fromAt === operation.toAt && isSteady(operation.of));
}

function holdsStruct(shape: Shape): boolean {
  return shape.kind === 'struct' || ((shape.kind === 'array' || shape.kind === 'optional') && holdsStruct(shape.of));
}

/** Types from schema texts: the struct that a program declared, rebuilt for tools that were not there when it did. */
import { TwzError } from '../abi/errors.ts';
import { blob } from '../lib/collections/blob.ts';
import { graph } from '../lib/collections/graph.ts';
import { hashMap, hashSet } from '../lib/collections/hash-map.ts';
import { index, indexedMap } from '../lib/collections/indexed-map.ts';
import type { AnyKeyType } from '../lib/collections/keys.ts';
import { list } from '../lib/collections/list.ts';
import { orderedMap } from '../lib/collections/ordered-map.ts';
import { log, queue } from '../lib/collections/queue.ts';
import { redBlackTree } from '../lib/collections/red-black-tree.ts';
import { textDocument } from '../lib/collections/text-document.ts';
import type { CollectionType } from '../lib/collections/type.ts';
import { vec } from '../lib/collections/vec.ts';
import {
  array,
  bigI64,
  bigU64,
  bool,
  bytes,
  f32,
  f64,
  i16,
  i32,
  i64,
  i8,
  link,
  oneOf,
  optional,
  text,
  u16,
  u32,
  u64,
  u8,
  type Field,
} from '../lib/fields.ts';
import type { Obj } from '../lib/object.ts';
import { ref, struct, type Struct } from '../lib/struct.ts';
import { indexesOf, keyTypeOf } from './key-types.ts';
import type { CollectionShape } from './check/collection-image.ts';
import { parseSchema, type ObjectSchema, type Shape, type StructShape } from './check/schema.ts';

export type AnyField = Field<unknown, never>;
export type DynamicStruct = Struct<Record<string, AnyField>>;

const NUMBERS: Readonly<Record<string, AnyField>> = { u8, i8, u16, i16, u32, i32, f32, f64, u64, i64 };
const BIG: Readonly<Record<string, AnyField>> = { u64: bigU64, i64: bigI64 };

export type DynamicCollection = CollectionType<object, never>;
const MAPS: Readonly<Record<string, (key: AnyKeyType, value: AnyField) => DynamicCollection>> = {
  HashMap: (key, value) => hashMap(key, value),
  OrderedMap: (key, value) => orderedMap(key, value),
  RedBlackTree: (key, value) => redBlackTree(key, value),
};
const SEQUENCES: Readonly<Record<string, (element: AnyField) => DynamicCollection>> = {
  Vec: (element) => vec(element),
  List: (element) => list(element),
  Queue: (element) => queue(element),
  Log: (element) => log(element),
};
const WHOLES: Readonly<Record<string, DynamicCollection>> = { Blob: blob, TextDocument: textDocument };

/** The rules of indexes are a program's: without it a map can be read, by its indexes too, and not changed. */
function indexedOf(shape: CollectionShape, keyOf: (signature: string) => AnyKeyType, value: DynamicStruct): DynamicCollection | undefined {
  const declared = indexesOf(shape.type)?.map(({ name, unique, multi, key: of }) => {
    const unknownRule = (): never => {
      throw new TwzError('NotSupported', `the rule of the index "${name}" is not known here: the map can be read, not changed`, { name });
    };
    const made = multi ? index(keyOf(of), unknownRule, { multi: true, unique }) : index(keyOf(of), unknownRule, { unique });
    return [name, made] as const;
  });
  return declared === undefined ? undefined : indexedMap(keyOf(shape.key ?? ''), value, Object.fromEntries(declared));
}

/** The collection that a type stands for: the root of an object may be one itself. */
function rootCollection(name: string, { fields }: StructShape): CollectionShape | undefined {
  const shape = fields[0]?.shape;
  return shape?.kind === 'collection' && (name.includes('<') || name === shape.collection) ? shape : undefined;
}

/** Roots are opened alike, structs and collections. */
function rootOf(collection: DynamicCollection): DynamicStruct {
  const root: unknown = collection;
  return root as DynamicStruct;
}

/** What a schema describes, as a program would have declared it. */
export interface DynamicTypes {
  /** The structs, by name. They have the fingerprints of those that the schema was written from. */
  readonly structs: ReadonlyMap<string, DynamicStruct>;
  readonly field: (shape: Shape) => AnyField;
  readonly collection: (shape: CollectionShape) => DynamicCollection;
  /** The type of a collection's keys. */
  readonly key: (signature: string) => AnyKeyType;
}

/** A type of collection with values that are the same, and read otherwise. Of an indexed map and a graph the values are as they are. */
export function collectionWith(
  types: DynamicTypes,
  shape: CollectionShape,
  other: ((value: AnyField) => AnyField) | undefined,
): DynamicCollection {
  const { collection, key, value } = shape;
  if (other === undefined || value === undefined) return types.collection(shape);
  const sequence = Object.hasOwn(SEQUENCES, collection) ? SEQUENCES[collection] : undefined;
  if (sequence !== undefined && key === undefined) return sequence(other(types.field(value)));
  const map = Object.hasOwn(MAPS, collection) ? MAPS[collection] : undefined;
  return map === undefined || key === undefined ? types.collection(shape) : map(types.key(key), other(types.field(value)));
}

export function structsFrom(schema: ObjectSchema): ReadonlyMap<string, DynamicStruct> {
  return typesFrom(schema).structs;
}

export function typesFrom(schema: ObjectSchema): DynamicTypes {
  const made = new Map<string, DynamicStruct>();
  const needed = (name: string): DynamicStruct => {
    const type = made.get(name);
    if (type === undefined) throw new TwzError('TypeInvalid', `the schema refers to ${name} and does not describe it`, { name });
    return type;
  };
  /** A graph is described by its struct of maps: of it the structs of nodes and edges are needed. */
  const graphOf = (parts: string): DynamicCollection => {
    const valueIn = (struct: string | undefined, field: string): Shape | undefined =>
      schema.types.get(struct ?? '')?.fields.find(({ name }) => name === field)?.shape;
    const structIn = (shape: Shape | undefined): string | undefined => (shape?.kind === 'struct' ? shape.type : undefined);
    const mapIn = (field: string): string | undefined => {
      const shape = valueIn(parts, field);
      return shape?.kind === 'collection' ? structIn(shape.value) : undefined;
    };
    const edge = structIn(valueIn(mapIn('edges'), 'value'));
    const node = needed(mapIn('nodes') ?? parts);
    return edge === undefined ? graph(node) : graph(node, needed(edge));
  };
  const keyOf = (signature: string): AnyKeyType => keyTypeOf(signature, (name) => ref(needed(name)));
  const collectionOf = (shape: CollectionShape): DynamicCollection => {
    const { collection, key, value } = shape;
    const keys = key === undefined ? undefined : keyOf(key);
    const whole = Object.hasOwn(WHOLES, collection) ? WHOLES[collection] : undefined;
    if (whole !== undefined) return whole;
    const sequence = Object.hasOwn(SEQUENCES, collection) ? SEQUENCES[collection] : undefined;
    if (sequence !== undefined && key === undefined && value !== undefined) return sequence(fieldOf(value));
    if (collection === 'Graph' && value?.kind === 'struct') return graphOf(value.type);
    if (collection === 'IndexedMap' && keys !== undefined && value?.kind === 'struct') {
      const indexed = indexedOf(shape, keyOf, needed(value.type));
      if (indexed !== undefined) return indexed;
    }
    if (keys !== undefined && value === undefined && collection === 'HashSet') return hashSet(keys);
    const make = Object.hasOwn(MAPS, collection) ? MAPS[collection] : undefined;
    if (make === undefined || keys === undefined || value === undefined)
      throw new TwzError('NotSupported', `${shape.type}: this tool does not open such collections`, { type: shape.type });
    return make(keys, fieldOf(value));
  };
  const fieldOf = (shape: Shape): AnyField => {
    switch (shape.kind) {
      case 'number':
      case 'bigint': {
        const field = shape.kind === 'bigint' ? BIG[shape.type] : NUMBERS[shape.type];
        if (field === undefined) throw new TwzError('TypeInvalid', `the schema has a number of type ${shape.type}`, { type: shape.type });
        return field;
      }
      case 'bool':
        return bool;
      case 'text':
        return text;
      case 'bytes':
        return bytes;
      case 'link':
        return link;
      case 'oneOf': {
        const [first, ...rest] = shape.values;
        if (first === undefined) throw new TwzError('TypeInvalid', 'the schema has a oneOf without values');
        return oneOf(first, ...rest);
      }
      case 'optional':
        return optional(fieldOf(shape.of));
      case 'array':
        return array(fieldOf(shape.of), shape.length);
      case 'collection':
        return collectionOf(shape);
      case 'struct':
        return needed(shape.type);
      case 'ref':
        return ref(needed(shape.type));
    }
  };
  for (const [name, type] of schema.types) {
    if (rootCollection(name, type) !== undefined) continue;
    const fields: Record<string, AnyField> = {};
    // Getters: a field may refer to a struct that comes later, or to its own.
    for (const field of type.fields)
      Object.defineProperty(fields, field.name, { enumerable: true, configurable: true, get: () => fieldOf(field.shape) });
    made.set(name, struct(name, fields, { version: type.version }));
  }
  // Behind the structs that they hold.
  for (const [name, type] of schema.types) {
    const shape = rootCollection(name, type);
    if (shape !== undefined) made.set(name, rootOf(collectionOf(shape)));
  }
  return { structs: made, field: fieldOf, collection: collectionOf, key: keyOf };
}

export interface TypedObject {
  readonly schema: ObjectSchema;
  readonly types: ReadonlyMap<string, DynamicStruct>;
  readonly type: DynamicStruct;
}

/** What an object's own schema text says about it. Throws TypeMismatch where it has none. */
export function typesOf(object: Obj): TypedObject {
  const described = object.schema;
  const schema = described === undefined ? 'it carries no schema text' : parseSchema(JSON.stringify(described));
  if (typeof schema === 'string')
    throw new TwzError('TypeMismatch', `object ${object.id} has no type that tools can read: ${schema}`, { id: object.id });
  const types = structsFrom(schema);
  const type = types.get(schema.root);
  if (type === undefined) throw new TwzError('TypeMismatch', `object ${object.id} has no type that tools can read`, { id: object.id });
  return { schema, types, type };
}

/** A struct for a JSON object: texts, numbers, truth values; null is a link; other values are refused. */
export function structForJson(name: string, value: Readonly<Record<string, unknown>>): DynamicStruct {
  const fields: Record<string, AnyField> = {};
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === 'string') fields[key] = text;
    else if (typeof item === 'number') fields[key] = Number.isSafeInteger(item) ? i64 : f64;
    else if (typeof item === 'boolean') fields[key] = bool;
    else if (item === null) fields[key] = link;
    else throw new TwzError('ValueMismatch', `"${key}": expected a text, a number, true, false or null`, { field: key });
  }
  return struct(name, fields);
}

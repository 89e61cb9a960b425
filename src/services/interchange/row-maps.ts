/** Types that come from files, not from programs: fields for columns, and the maps that hold rows. */
import { TwzError } from '../../abi/errors.ts';
import type { Field } from '../../lib/fields.ts';
import { bigI64, bigU64, bool, bytes, f32, f64, i16, i32, i64, i8, optional, text, u16, u32, u64, u8 } from '../../lib/fields.ts';
import { hashMap } from '../../lib/collections/hash-map.ts';
import { tuple, type AnyKeyType } from '../../lib/collections/keys.ts';
import { orderedMap, type OrderedMap } from '../../lib/collections/ordered-map.ts';
import type { CollectionType } from '../../lib/collections/type.ts';
import type { Obj } from '../../lib/object.ts';
import { struct } from '../../lib/struct.ts';
import type { Space } from '../../space.ts';
import { parseSchema, type Shape } from '../check/schema.ts';
import { structsFrom } from '../dynamic.ts';

export type AnyField = Field<unknown, never>;

const SCALARS = { i8, i16, i32, i64, u8, u16, u32, u64, bigI64, bigU64, f32, f64, bool, text, bytes } as const;

/** What a column holds; the name of a field. */
export type Kind = keyof typeof SCALARS;

export interface Column {
  /** In the file. */
  readonly name: string;
  /** In the struct; empty for a part of the key, and for the one column that is the value itself. */
  readonly field: string;
  readonly kind: Kind;
  readonly optional: boolean;
  /** The type that the file declares it with, where it has words of its own. */
  readonly declared?: string;
}

export function isKind(name: string): name is Kind {
  return name in SCALARS;
}

/** A map of rows whose types only the file knows. */
export type RowMap = OrderedMap<unknown, unknown, unknown>;
export type RowMapType = CollectionType<RowMap, never>;

const FIELD_NAMES_TAKEN: ReadonlySet<string> = new Set(['constructor', 'prototype', '__proto__', 'then']);

/** A name in which only letters, digits and underscores are left, unlike those in `taken`, to which it is added. */
export function plainName(name: string, taken: Set<string>): string {
  let plain = name.replaceAll(/[^A-Za-z0-9_]/g, '_');
  if (!/^[A-Za-z_]/.test(plain)) plain = `_${plain}`;
  if (FIELD_NAMES_TAKEN.has(plain)) plain += '_';
  let free = plain;
  for (let i = 2; taken.has(free); i++) free = `${plain}_${i}`;
  taken.add(free);
  return free;
}

/** `orderedMap(key, struct(name, columns))`; a map to `true` where there is nothing but the key. `hashed`: a hash map. */
export function rowMapType(name: string, keys: readonly Column[], columns: readonly Column[], hashed = false): RowMapType {
  const parts = keys.map(({ kind }): AnyKeyType => SCALARS[kind]);
  const [first] = parts;
  const key: AnyKeyType = parts.length === 1 && first !== undefined ? first : tuple(...parts);
  const fields: Record<string, AnyField> = {};
  for (const column of columns) {
    const field: Field<unknown> = SCALARS[column.kind] as Field<unknown>;
    fields[column.field] = column.optional ? optional(field) : field;
  }
  const [only] = columns;
  const value: AnyField = only === undefined ? bool : only.field === '' ? SCALARS[only.kind] : struct(name, fields);
  return mapType(hashed ? hashMap(key, value) : orderedMap(key, value));
}

function mapType(type: unknown): RowMapType {
  return type as RowMapType;
}

// --- types of maps that are there ---------------------------------------------------------------------------------------------

/** A collection as the schema of its object tells it. */
export interface KnownCollection {
  readonly collection: string;
  /** Signatures of the parts of the key. */
  readonly keys: readonly string[];
  readonly value: Shape;
  /** Fields of the value, where it is a struct. */
  readonly fields: readonly { readonly name: string; readonly shape: Shape }[] | undefined;
  /** Throws NotSupported where its keys or values are none that files have. */
  open(space: Space): RowMap;
}

/** The parts of a key's signature. */
function partsOf(signature: string): readonly string[] {
  const inner = /^tuple\((.*)\)$/.exec(signature)?.[1];
  return inner === undefined ? [signature] : inner.split(',');
}

function scalar(signature: string): AnyField {
  if (isKind(signature)) return SCALARS[signature];
  throw new TwzError('NotSupported', `the type ${signature} is not written to files`, { type: signature });
}

/** What is known of an object whose root is a map. Undefined where it is something else. */
export function collectionIn(object: Obj): KnownCollection | undefined {
  const described = object.schema;
  const schema = described === undefined ? '' : parseSchema(JSON.stringify(described));
  if (typeof schema === 'string') return undefined;
  const shape = schema.types.get(schema.root)?.fields[0]?.shape;
  if (shape?.kind !== 'collection' || shape.key === undefined || shape.value === undefined) return undefined;
  const { collection, value } = shape;
  if (collection !== 'OrderedMap' && collection !== 'HashMap') return undefined;
  const keys = partsOf(shape.key);
  return {
    collection,
    keys,
    value,
    fields: value.kind === 'struct' ? schema.types.get(value.type)?.fields : undefined,
    open(space) {
      const parts = keys.map((part) => scalar(part));
      const [first] = parts;
      const key = parts.length === 1 && first !== undefined ? first : tuple(...parts);
      const types = new Map(schema.types);
      types.delete(schema.root);
      const structs = structsFrom({ root: '', types });
      const of =
        value.kind === 'struct'
          ? structs.get(value.type)
          : scalar(value.kind !== 'bigint' ? value.type : value.type === 'i64' ? 'bigI64' : 'bigU64');
      if (of === undefined) throw new TwzError('TypeInvalid', `the schema does not describe ${value.type}`, { type: value.type });
      return space.get(object.id, mapType(collection === 'HashMap' ? hashMap(key, of) : orderedMap(key, of)));
    },
  };
}

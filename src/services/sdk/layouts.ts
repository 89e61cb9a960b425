/**
 * What a TypeScript module declares with `struct`, for programs in other languages: the same layouts, with the fingerprint by which a program
 * sees that an object's root is of that type, and the schema by which an object that a program makes says so.
 */
import { TwzError } from '../../abi/errors.ts';
import type { FieldShape } from '../../lib/fields.ts';
import { isStruct, structsOf, type StructImage } from '../../lib/struct.ts';

export type CollectionFieldShape = Extract<FieldShape, { kind: 'collection' }>;

export interface PlacedField {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly align: number;
  readonly shape: FieldShape;
}

/** A struct, as its users in another language need it. */
export interface StructLayout {
  readonly name: string;
  readonly version: number;
  readonly size: number;
  readonly align: number;
  /** 16 hexadecimal digits. */
  readonly fingerprint: string;
  readonly schema: string;
  readonly fields: readonly PlacedField[];
}

/** All structs that a module exports and that those refer to: what lies inline in another comes before it. Throws TypeInvalid. */
export function layoutsOf(exported: Readonly<Record<string, unknown>>): StructLayout[] {
  const all = new Map<string, StructImage>();
  for (const value of Object.values(exported)) {
    if (!isStruct(value)) continue;
    for (const [name, type] of structsOf(value)) {
      if (!isStruct(type)) continue;
      const known = all.get(name);
      if (known !== undefined && known !== type)
        throw new TwzError('TypeInvalid', `two structs are named ${name}: programs in other languages could not tell them apart`, { name });
      all.set(name, type);
    }
  }
  const ordered = new Map<string, StructLayout>();
  const enter = (type: StructImage): void => {
    if (ordered.has(type.name)) return;
    for (const { field } of type.layout.fields)
      for (const inner of inlineIn(field.describe)) {
        const found = all.get(inner);
        if (found !== undefined) enter(found);
      }
    ordered.set(type.name, layoutOf(type));
  };
  for (const type of all.values()) enter(type);
  return [...ordered.values()];
}

/** Names of the structs that lie inline in a field. */
function inlineIn(shape: FieldShape): string[] {
  if (shape.kind === 'struct') return [shape.type];
  return shape.kind === 'optional' || shape.kind === 'array' ? inlineIn(shape.of) : [];
}

const hex = (word: number): string => word.toString(16).padStart(8, '0');

function layoutOf(type: StructImage): StructLayout {
  const { size, align, fields, fingerprint } = type.layout;
  return {
    name: type.name,
    version: type.version,
    size,
    align,
    fingerprint: hex(fingerprint.high) + hex(fingerprint.low),
    schema: type.schema,
    fields: fields.map(({ name, offset, field }) => ({
      name,
      offset,
      size: field.size,
      align: field.align,
      shape: field.describe,
    })),
  };
}

/** How programs use a collection: by what its keys and its elements are. */
export interface CollectionUse {
  readonly family: 'map' | 'set' | 'sequence' | 'other';
  /** A number's type, `bool`, `text`; undefined for others. */
  readonly key: string | undefined;
  readonly value: FieldShape | undefined;
}

const FAMILIES: Readonly<Record<string, CollectionUse['family']>> = {
  HashMap: 'map',
  OrderedMap: 'map',
  RedBlackTree: 'map',
  IndexedMap: 'map',
  HashSet: 'set',
  Vec: 'sequence',
  List: 'sequence',
  Queue: 'sequence',
  Log: 'sequence',
};

/** How a program has keys of that signature. */
const KEYS: Readonly<Record<string, string>> = {
  u8: 'u8',
  i8: 'i8',
  u16: 'u16',
  i16: 'i16',
  u32: 'u32',
  i32: 'i32',
  u64: 'u64',
  i64: 'i64',
  bigU64: 'u64',
  bigI64: 'i64',
  f64: 'f64',
  bool: 'bool',
  text: 'text',
};

export function useOf(shape: CollectionFieldShape): CollectionUse {
  const family = FAMILIES[shape.collection] ?? 'other';
  const key = shape.key !== undefined && Object.hasOwn(KEYS, shape.key) ? KEYS[shape.key] : undefined;
  const keyed = family === 'map' || family === 'set';
  return { family: keyed && key === undefined ? 'other' : family, key, value: shape.value };
}

/** Names for the values of a oneOf: what is not a letter, a digit or an underscore becomes one; no two are alike. */
export function valueNames(values: readonly string[]): string[] {
  const taken = new Set<string>();
  return values.map((value) => {
    let name = value.replaceAll(/[^A-Za-z0-9_]/g, '_');
    if (!/^[A-Za-z_]/.test(name)) name = `_${name}`;
    while (taken.has(name)) name += '_';
    taken.add(name);
    return name;
  });
}

export const MADE_BY = 'Made by `twz sdk` from the structs of a TypeScript module. Do not change it: change those.';

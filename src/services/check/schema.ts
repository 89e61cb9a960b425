/**
 * The schema text that an object carries for tools: JSON, docs/formats/object.md "Schema". It is data like any other, so nothing in it
 * is believed before it is checked: sizes, offsets and names all have to fit.
 */
import { OBJECT_SIZE_MAX } from '../../abi/format.ts';

export type Shape =
  | { readonly kind: 'number' | 'bigint' | 'bool' | 'text' | 'bytes' | 'link'; readonly type: string; readonly size: number }
  | { readonly kind: 'oneOf'; readonly type: string; readonly size: number; readonly values: readonly string[] }
  | { readonly kind: 'optional'; readonly type: string; readonly size: number; readonly of: Shape; readonly at: number }
  | {
      readonly kind: 'array';
      readonly type: string;
      readonly size: number;
      readonly of: Shape;
      readonly stride: number;
      readonly length: number;
    }
  | {
      readonly kind: 'collection';
      readonly type: string;
      readonly size: number;
      readonly collection: string;
      readonly key: string | undefined;
      readonly value: Shape | undefined;
    }
  | { readonly kind: 'struct' | 'ref'; readonly type: string; readonly size: number };

export interface StructField {
  readonly name: string;
  /** With the struct's name in front. */
  readonly label: string;
  readonly offset: number;
  readonly shape: Shape;
}

export interface StructShape {
  readonly name: string;
  readonly size: number;
  readonly version: number;
  readonly fields: readonly StructField[];
}

export interface ObjectSchema {
  readonly root: string;
  readonly types: ReadonlyMap<string, StructShape>;
}

class Malformed extends Error {}

const SIZES: Readonly<Record<string, number>> = {
  u8: 1,
  i8: 1,
  bool: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  f64: 8,
  u64: 8,
  i64: 8,
  text: 8,
  bytes: 8,
  link: 8,
};
/** Nested arrays and optionals. */
const DEPTH_MAX = 16;

function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Malformed(`${what} is no object`);
  return value as Readonly<Record<string, unknown>>;
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string') throw new Malformed(`${what} is no text`);
  return value;
}

function natural(value: unknown, what: string, most = OBJECT_SIZE_MAX): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > most)
    throw new Malformed(`${what} is no number up to ${most}`);
  return value;
}

function list(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new Malformed(`${what} is no list`);
  return value;
}

/** Parses a schema text. A string tells what is wrong with it. */
export function parseSchema(source: string): ObjectSchema | string {
  try {
    const raw = record(JSON.parse(source), 'the schema');
    const rawTypes = record(raw['types'], 'types');
    const sizes = new Map(
      Object.entries(rawTypes).map(([name, type]) => [name, natural(record(type, name)['size'], `${name}.size`)] as const),
    );
    const types = new Map<string, StructShape>();
    for (const [name, type] of Object.entries(rawTypes)) types.set(name, structOf(name, record(type, name), sizes));
    const root = text(raw['root'], 'root');
    if (!types.has(root)) throw new Malformed(`the root type ${root} is not described`);
    checkNesting(types);
    return { root, types };
  } catch (error) {
    if (error instanceof Malformed || error instanceof SyntaxError) return error.message;
    throw error;
  }
}

function structOf(name: string, raw: Readonly<Record<string, unknown>>, sizes: ReadonlyMap<string, number>): StructShape {
  const size = natural(raw['size'], `${name}.size`);
  if (size === 0) throw new Malformed(`${name} has no size`);
  const fields = list(raw['fields'], `${name}.fields`).map((item, i) => {
    const field = record(item, `${name}.fields[${i}]`);
    const fieldName = text(field['name'], `${name}.fields[${i}].name`);
    const offset = natural(field['offset'], `${name}.${fieldName}.offset`, size);
    const shape = shapeOf(field['shape'], `${name}.${fieldName}`, sizes, 0);
    if (offset + shape.size > size) throw new Malformed(`${name}.${fieldName} ends at ${offset + shape.size} of ${size}`);
    return { name: fieldName, label: `${name}.${fieldName}`, offset, shape };
  });
  return { name, size, version: natural(raw['version'], `${name}.version`, 2 ** 32), fields };
}

function shapeOf(value: unknown, what: string, sizes: ReadonlyMap<string, number>, depth: number): Shape {
  if (depth > DEPTH_MAX) throw new Malformed(`${what} is nested too deeply`);
  const raw = record(value, what);
  const type = text(raw['type'], `${what}.type`);
  switch (raw['kind']) {
    case 'number':
    case 'bigint':
    case 'bool':
    case 'text':
    case 'bytes':
    case 'link': {
      const size = SIZES[type];
      if (size === undefined) throw new Malformed(`${what} has the unknown type ${type}`);
      return { kind: raw['kind'], type, size };
    }
    case 'oneOf': {
      const values = list(raw['values'], `${what}.values`).map((item) => text(item, `${what}.values`));
      return { kind: 'oneOf', type, size: values.length <= 256 ? 1 : 2, values };
    }
    case 'optional': {
      const of = shapeOf(raw['of'], what, sizes, depth + 1);
      const at = natural(raw['at'], `${what}.at`, 4096);
      return { kind: 'optional', type, size: at + of.size, of, at };
    }
    case 'array': {
      const of = shapeOf(raw['of'], what, sizes, depth + 1);
      const stride = natural(raw['stride'], `${what}.stride`);
      const length = natural(raw['length'], `${what}.length`);
      if (stride < of.size || stride === 0 || stride * length > OBJECT_SIZE_MAX)
        throw new Malformed(`${what} has a stride of ${stride} for elements of ${of.size}`);
      return { kind: 'array', type, size: stride * length, of, stride, length };
    }
    case 'struct': {
      const size = sizes.get(type);
      if (size === undefined) throw new Malformed(`${what} is of the type ${type}, which is not described`);
      return { kind: 'struct', type, size };
    }
    case 'ref':
      return { kind: 'ref', type, size: 8 };
    case 'collection': {
      const size = natural(raw['size'], `${what}.size`);
      if (size === 0 || size % 8 !== 0) throw new Malformed(`${what} has a header of ${size} bytes`);
      const key = raw['key'] === undefined ? undefined : text(raw['key'], `${what}.key`);
      const value = raw['value'] === undefined ? undefined : shapeOf(raw['value'], what, sizes, depth + 1);
      return { kind: 'collection', type, size, collection: text(raw['collection'], `${what}.collection`), key, value };
    }
    default:
      throw new Malformed(`${what} has the unknown kind ${JSON.stringify(raw['kind'])}`);
  }
}

/** A struct that lies inline in itself would have no end. */
function checkNesting(types: ReadonlyMap<string, StructShape>): void {
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    if (path.includes(name)) throw new Malformed(`${name} lies inline in itself`);
    if (done.has(name)) return;
    const inner = (shape: Shape): void => {
      if (shape.kind === 'struct') visit(shape.type, [...path, name]);
      else if (shape.kind === 'optional' || shape.kind === 'array') inner(shape.of);
    };
    for (const field of types.get(name)?.fields ?? []) inner(field.shape);
    done.add(name);
  };
  for (const name of types.keys()) visit(name, []);
}

const SIGNATURE_MAX = 1 << 20;

/** The text that a type's fingerprint is made of. Undefined where it grows past all reason. */
export function signatureOf(schema: ObjectSchema, name: string): string | undefined {
  const known = new Map<string, string>();
  const ofStruct = (struct: string): string => {
    const before = known.get(struct);
    if (before !== undefined) return before;
    const type = schema.types.get(struct);
    const fields = (type?.fields ?? []).map((field) => `${field.name}:${ofShape(field.shape)}`).join(';');
    const text = `${struct}@${type?.version ?? 1}{${fields}}`;
    if (text.length > SIGNATURE_MAX) throw new Malformed('the signature is too long');
    known.set(struct, text);
    return text;
  };
  const ofShape = (shape: Shape): string => {
    if (shape.kind === 'struct') return ofStruct(shape.type);
    return shape.kind === 'ref' ? `ref(${shape.type})` : shape.type;
  };
  try {
    return ofStruct(name);
  } catch (error) {
    if (error instanceof Malformed) return undefined;
    throw error;
  }
}

/** Alignment in bytes. */
export function alignOf(schema: ObjectSchema, shape: Shape, depth = 0): number {
  switch (shape.kind) {
    case 'text':
    case 'bytes':
      return 4;
    case 'optional':
    case 'array':
      return alignOf(schema, shape.of, depth);
    case 'struct': {
      // What is nested deeper than this aligns no more than 8 either.
      if (depth > 16) return 1;
      return (schema.types.get(shape.type)?.fields ?? []).reduce(
        (most, field) => Math.max(most, alignOf(schema, field.shape, depth + 1)),
        1,
      );
    }
    case 'collection':
      return 8;
    default:
      return shape.size;
  }
}

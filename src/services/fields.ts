/** Fields by name: reading and storing one field of a typed object, as text, for tools. */
import { TwzError } from '../abi/errors.ts';
import { objectOf } from '../lib/cursor.ts';
import { isCollectionAccessor } from '../lib/collections/type.ts';
import { Obj } from '../lib/object.ts';
import type { Space } from '../space.ts';
import type { ObjectSchema, Shape } from './check/schema.ts';
import { typesOf, type TypedObject } from './dynamic.ts';

/** The value of a field in an accessor, whatever the struct. */
function valueOf(holder: object, name: string): unknown {
  return Reflect.get(holder, name);
}

interface Place {
  readonly holder: object;
  readonly name: string;
  readonly shape: Shape;
  readonly typed: TypedObject;
}

function fieldShape(schema: ObjectSchema, type: string, name: string): Shape {
  const fields = schema.types.get(type)?.fields ?? [];
  const field = fields.find((each) => each.name === name);
  if (field === undefined) {
    throw new TwzError('ValueMismatch', `${type} has no field "${name}"; it has ${fields.map((each) => each.name).join(', ')}`, {
      field: name,
    });
  }
  return field.shape;
}

/** Walks `a.b.c` from an object's root; references are followed. */
function placeOf(space: Space, object: Obj, path: string): Place {
  const typed = typesOf(object);
  let holder: object = space.get(object.id, typed.type);
  let type = typed.schema.root;
  const names = path.split('.');
  for (const [i, name] of names.entries()) {
    const shape = fieldShape(typed.schema, type, name);
    if (i === names.length - 1) return { holder, name, shape, typed };
    const next = valueOf(holder, name);
    const inner = shape.kind === 'optional' ? shape.of : shape;
    if (inner.kind !== 'struct' && inner.kind !== 'ref')
      throw new TwzError('ValueMismatch', `"${name}" is ${inner.type} and has no fields`, { field: name });
    if (typeof next !== 'object' || next === null)
      throw new TwzError('ValueMismatch', `"${name}" is null: there is nothing to go on to`, { field: name });
    holder = next;
    type = inner.type;
  }
  throw new TwzError('InvalidArgument', 'no field was named');
}

/** A field as JSON would have it; references are object IDs. */
export function getField(space: Space, object: Obj, path: string): unknown {
  const { holder, name } = placeOf(space, object, path);
  return plain(valueOf(holder, name));
}

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value;
  if (value instanceof Obj) return value.id;
  if ('toArray' in value && typeof value.toArray === 'function') {
    const items: unknown = value.toArray();
    return Array.isArray(items) ? items.map(plain) : items;
  }
  if (Array.isArray(value)) return value.map(plain);
  if (isCollectionAccessor(value) && Symbol.iterator in value) return Array.from(value as Iterable<unknown>, plain);
  return objectOf(value).id;
}

/** Finds the object that somebody named. Throws NameMissing and the like. */
export type Finder = (text: string) => Obj;

/** Stores a field from what somebody typed. Inside a transaction. */
export function setField(space: Space, object: Obj, path: string, typedText: string, find: Finder): void {
  const { holder, name, shape, typed } = placeOf(space, object, path);
  Reflect.set(holder, name, parseValue(find, shape, typedText, typed, name));
}

function misfit(name: string, text: string, expected: string): TwzError {
  return new TwzError('ValueMismatch', `"${name}": ${JSON.stringify(text)} is not ${expected}`, { field: name });
}

function parseValue(find: Finder, shape: Shape, text: string, typed: TypedObject, name: string): unknown {
  switch (shape.kind) {
    case 'number': {
      const n = Number(text);
      if (text.trim() === '' || (Number.isNaN(n) && text !== 'NaN')) throw misfit(name, text, `a number (${shape.type})`);
      return n;
    }
    case 'bigint':
      if (!/^-?\d+$/.test(text)) throw misfit(name, text, `an integer (${shape.type})`);
      return BigInt(text);
    case 'bool':
      if (text !== 'true' && text !== 'false') throw misfit(name, text, 'true or false');
      return text === 'true';
    case 'text':
      return text.startsWith('"') ? quoted(text, name) : text;
    case 'oneOf':
      if (!shape.values.includes(text)) throw misfit(name, text, `one of ${shape.values.join(', ')}`);
      return text;
    case 'bytes':
      if (!/^([0-9a-f]{2})*$/i.test(text)) throw misfit(name, text, 'bytes in hexadecimal');
      return Uint8Array.from(text.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
    case 'optional':
      return text === 'absent' ? undefined : parseValue(find, shape.of, text, typed, name);
    case 'array':
      return parseArray(find, shape, text, typed, name);
    case 'link':
      return text === 'null' ? null : find(text);
    case 'ref': {
      if (text === 'null') return null;
      const type = typed.types.get(shape.type);
      if (type === undefined) throw misfit(name, text, `a reference to ${shape.type}, which the schema does not describe`);
      return find(text).root(type);
    }
    case 'collection':
      throw new TwzError('ValueMismatch', `"${name}" is a collection: a program changes it`, { field: name });
    case 'struct':
      throw new TwzError('ValueMismatch', `"${name}" is a struct: set its fields one by one, as ${name}.FIELD`, { field: name });
  }
}

function quoted(text: string, name: string): string {
  const misfitting = misfit(name, text, 'a text in double quotes');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw misfitting;
  }
  if (typeof value !== 'string') throw misfitting;
  return value;
}

function parseArray(find: Finder, shape: Extract<Shape, { kind: 'array' }>, text: string, typed: TypedObject, name: string): unknown[] {
  let items: unknown;
  try {
    items = JSON.parse(text);
  } catch {
    throw misfit(name, text, 'a list as [1, 2, …]');
  }
  if (!Array.isArray(items) || items.length > shape.length) throw misfit(name, text, `a list of at most ${shape.length}`);
  return items.map((item) => parseValue(find, shape.of, typeof item === 'string' ? item : JSON.stringify(item), typed, name));
}

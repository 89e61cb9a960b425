/** Fields by name: reading and storing one field of a typed object, as text, for tools. */
import { TwzError } from '../abi/errors.ts';
import { objectOf } from '../lib/cursor.ts';
import type { DirectedGraph } from '../lib/collections/graph.ts';
import { isCollectionAccessor } from '../lib/collections/type.ts';
import { Obj } from '../lib/object.ts';
import { isAccessor } from '../lib/runtime.ts';
import type { Space } from '../space.ts';
import type { CollectionShape } from './check/collection-image.ts';
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

/**
 * A field as JSON would have it; references are object IDs. Of a collection the first entries, and behind them `{"$more": n}` where there
 * are more.
 */
export function getField(space: Space, object: Obj, path: string): unknown {
  const { holder, name, shape, typed } = placeOf(space, object, path);
  return plain(valueOf(holder, name), shape, typed);
}

/** Entries of a collection, and bytes or code units of one that has so many. */
const MOST = 1000;
const CONTENT_MOST = 1 << 16;

function plain(value: unknown, shape: Shape, typed: TypedObject): unknown {
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value;
  if (value instanceof Obj) return value.id;
  switch (shape.kind) {
    case 'optional':
      return plain(value, shape.of, typed);
    case 'array':
      return Array.from(value as Iterable<unknown>, (item) => plain(item, shape.of, typed));
    case 'struct':
      return structOf(value, shape.type, typed);
    case 'collection':
      return isCollectionAccessor(value) ? collectionOf(value, shape, typed) : undefined;
    default:
      return objectOf(value).id;
  }
}

function structOf(value: object, type: string, typed: TypedObject): unknown {
  const fields = typed.schema.types.get(type)?.fields ?? [];
  return Object.fromEntries(fields.map(({ name, shape }) => [name, plain(valueOf(value, name), shape, typed)]));
}

function collectionOf(collection: object, shape: CollectionShape, typed: TypedObject): unknown {
  if (shape.collection === 'Blob' || shape.collection === 'TextDocument') {
    const content = collection as { readonly size?: number; readonly length?: number; slice(from: number, to: number): unknown };
    return cut(content.slice(0, CONTENT_MOST), (content.size ?? content.length ?? 0) - CONTENT_MOST);
  }
  if (shape.collection === 'Graph') return graphOf(collection, shape, typed);
  const { value } = shape;
  const counted = collection as Iterable<unknown> & { readonly size?: number; readonly length?: number };
  return first(counted, counted.size ?? counted.length ?? 0, (entry) => {
    if (value === undefined) return plainKey(entry);
    if (shape.key === undefined || !Array.isArray(entry)) return plain(entry, value, typed);
    const [key, of]: readonly unknown[] = entry;
    return [plainKey(key), plain(of, value, typed)];
  });
}

function plainKey(key: unknown): unknown {
  if (Array.isArray(key)) return key.map(plainKey);
  return isAccessor(key) ? objectOf(key).id : key;
}

function graphOf(collection: object, shape: CollectionShape, typed: TypedObject): unknown {
  const graph = collection as DirectedGraph<object, object, object | undefined, object | undefined>;
  const { types } = typed.schema;
  const parts = types.get(shape.value?.type ?? '')?.fields ?? [];
  const valueOfPart = (name: string): Shape | undefined => {
    const of = parts.find((field) => field.name === name)?.shape;
    return of?.kind === 'collection' ? of.value : undefined;
  };
  const [node, record] = [valueOfPart('nodes'), valueOfPart('edges')];
  const edge = types.get(record?.type ?? '')?.fields.find(({ name }) => name === 'value')?.shape;
  const inner = (of: unknown, as: Shape | undefined): unknown[] => (of === undefined || as === undefined ? [] : [plain(of, as, typed)]);
  return {
    nodes: first(graph.nodes(), graph.size, ([id, of]) => [id, ...inner(of, node)]),
    edges: first(graph.edges(), graph.edgeCount, ({ id, from, to, value }) => [id, from, to, ...inner(value, edge)]),
  };
}

function cut(content: unknown, left: number): unknown {
  return left > 0 ? [content, { $more: left }] : content;
}

/** The first entries, and how many follow. */
function first<T>(entries: Iterable<T>, count: number, make: (entry: T) => unknown): unknown[] {
  const found: unknown[] = [];
  for (const entry of entries) {
    if (found.length === MOST) break;
    found.push(make(entry));
  }
  return found.length < count ? [...found, { $more: count - found.length }] : found;
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

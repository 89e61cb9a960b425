/**
 * Values between nodes: small ones as they are, objects as references. As JSON, where what JSON has no word for is a list that says what it
 * is: ["a", …] a list, ["o", {…}] a record, ["u"] undefined, ["n", "NaN"], ["i", "12"] a bigint, ["b", base64] bytes, ["r", ID, schema] a
 * reference to an object, with its schema where the other side need not have the object to know what it is.
 */
import { TwzError } from '../../abi/errors.ts';
import { META } from '../../abi/format.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import { Handle } from '../../kernel/object.ts';
import { Obj } from '../../lib/object.ts';
import { isAccessor } from '../../lib/runtime.ts';
import { accessorAt } from '../../lib/struct.ts';
import type { Space } from '../../space.ts';
import { parseSchema } from '../check/schema.ts';
import { structsFrom, typesOf, type DynamicStruct } from '../dynamic.ts';
import { isRecord } from './messages.ts';

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

const DEPTH_MAX = 32;
/** Bytes of a call's values: what is larger belongs into an object. */
export const VALUES_MAX = 256 << 10;
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** The references among values: which objects they lead to. */
export function referencesIn(values: readonly unknown[]): ObjectId[] {
  const ids: ObjectId[] = [];
  const look = (value: unknown, depth: number): void => {
    if (typeof value !== 'object' || value === null || depth > DEPTH_MAX) return;
    if (value instanceof Obj) ids.push(value.id);
    else if (isAccessor(value)) ids.push(value.$h.id);
    else if (!ArrayBuffer.isView(value)) for (const each of Object.values(value)) look(each, depth + 1);
  };
  look(values, 0);
  return ids;
}

/** Do references take along what is known of their types? `here`: where the objects are here; nothing is brought for it. */
export type Schemas = boolean | 'here';

/** Throws CodeInvalid. */
export function encodeValues(values: unknown, schemas: Schemas): Uint8Array {
  const bytes = encoder.encode(JSON.stringify(toJson(values, schemas, 0)));
  if (bytes.length > VALUES_MAX)
    throw new TwzError('CodeInvalid', `the values of a run have ${bytes.length} bytes; ${VALUES_MAX} at most: put them in an object`, {
      bytes: bytes.length,
    });
  return bytes;
}

function toJson(value: unknown, schemas: Schemas, depth: number): Json {
  if (depth > DEPTH_MAX) throw new TwzError('CodeInvalid', `values are nested more than ${DEPTH_MAX} deep`);
  switch (typeof value) {
    case 'boolean':
    case 'string':
      return value;
    case 'undefined':
      return ['u'];
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0) ? value : ['n', Object.is(value, -0) ? '-0' : String(value)];
    case 'bigint':
      return ['i', String(value)];
    case 'object':
      return value === null ? null : objectToJson(value, schemas, depth);
    default:
      throw new TwzError('CodeInvalid', `a ${typeof value} cannot go to another node`);
  }
}

function objectToJson(value: object, schemas: Schemas, depth: number): Json {
  if (value instanceof Obj) return reference(value, schemas);
  if (isAccessor(value)) {
    const { $h: h, $o: at } = value;
    if (schemas === 'here' && !isHere(h)) return ['r', h.id];
    if (h.cold) h.warm();
    if (h.dv.getUint32(META.root, true) !== at)
      throw new TwzError('CodeInvalid', `a reference into object ${h.id}, past its root, cannot go to another node: pass the object`, {
        id: h.id,
      });
    return reference(new Obj(h), schemas);
  }
  if (ArrayBuffer.isView(value)) {
    if (!(value instanceof Uint8Array)) throw new TwzError('CodeInvalid', 'of arrays of numbers only a Uint8Array can go to another node');
    return ['b', Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')];
  }
  if (Array.isArray(value)) return ['a', ...value.map((each) => toJson(each, schemas, depth + 1))];
  const prototype: unknown = Object.getPrototypeOf(value);
  // The plain objects of another realm have another `Object.prototype`.
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null)
    throw new TwzError('CodeInvalid', `${Object.prototype.toString.call(value)} cannot go to another node: no instances of classes`);
  return ['o', Object.fromEntries(Object.entries(value).map(([name, each]) => [name, toJson(each, schemas, depth + 1)]))];
}

function isHere(h: object): boolean {
  return h instanceof Handle && (h.slot !== undefined || h.kernel.has(h.id));
}

function reference(object: Obj, schemas: Schemas): Json {
  if (schemas === false || (schemas === 'here' && !isHere(object.handle))) return ['r', object.id];
  const text = decoder.decode(object.schemaText);
  return ['r', object.id, text, object.rootOffset];
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch (cause) {
    throw new TwzError('EngineCorrupt', 'values of another node are no JSON', {}, cause);
  }
}

/** Throws EngineCorrupt. References become accessors of the objects' roots, by the types that the objects themselves describe. */
export function decodeValues(space: Space, bytes: Uint8Array): unknown {
  return fromJson(space, parsed(bytes), 0);
}

/** The references among values that say nothing of a type, and lead to objects that are not here. Throws EngineCorrupt. */
export function strangersIn(space: Space, bytes: Uint8Array): ObjectId[] {
  const ids: ObjectId[] = [];
  const look = (value: unknown, depth: number): void => {
    if (depth > DEPTH_MAX) return;
    if (isRecord(value)) {
      for (const each of Object.values(value)) look(each, depth + 1);
      return;
    }
    if (!Array.isArray(value)) return;
    const [is, id, schema]: readonly unknown[] = value;
    if (is !== 'r') for (const each of value) look(each, depth + 1);
    else if (
      typeof id === 'string' &&
      isId(id) &&
      (typeof schema !== 'string' || schema === '') &&
      !isHere(space.kernel.handle(parseId(id)))
    )
      ids.push(parseId(id));
  };
  look(parsed(bytes), 0);
  return ids;
}

function fromJson(space: Space, value: unknown, depth: number): unknown {
  const strange = (): TwzError => new TwzError('EngineCorrupt', 'values of another node make no sense');
  if (value === null || typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string') return value;
  if (!Array.isArray(value) || depth > DEPTH_MAX) throw strange();
  const list: readonly unknown[] = value;
  const [is, first] = list;
  switch (is) {
    case 'a':
      return list.slice(1).map((each) => fromJson(space, each, depth + 1));
    case 'o':
      if (!isRecord(first)) throw strange();
      return Object.fromEntries(Object.entries(first).map(([name, each]) => [name, fromJson(space, each, depth + 1)]));
    case 'u':
      return undefined;
    case 'n':
      return Number(first);
    case 'i':
      if (typeof first !== 'string' || !/^-?\d+$/.test(first)) throw strange();
      return BigInt(first);
    case 'b':
      if (typeof first !== 'string') throw strange();
      return new Uint8Array(Buffer.from(first, 'base64'));
    case 'r':
      if (typeof first !== 'string' || !isId(first)) throw strange();
      return referred(space, parseId(first), list[2], list[3]);
    default:
      throw strange();
  }
}

/** Types by schema text: the same text is the same types. */
const types = new Map<string, DynamicStruct | undefined>();
const TYPES_MAX = 1000;

function typeOf(text: string): DynamicStruct | undefined {
  if (types.has(text)) return types.get(text);
  const schema = parseSchema(text);
  const type = typeof schema === 'string' ? undefined : structsFrom(schema).get(schema.root);
  if (types.size >= TYPES_MAX) types.clear();
  types.set(text, type);
  return type;
}

function referred(space: Space, id: ObjectId, schema: unknown, root: unknown): unknown {
  const h = space.kernel.handle(id);
  if (typeof schema === 'string' && typeof root === 'number') {
    // What it is need not be here to be known; it comes when it is looked at.
    const type = schema === '' ? undefined : typeOf(schema);
    if (type === undefined || h.slot !== undefined) return rootHere(space, h);
    return accessorAt(type, h, root);
  }
  return rootHere(space, h);
}

/** The root of an object that is here, by the types that it describes itself. */
export function rootHere(space: Space, h: Handle): unknown {
  const object = space.object(h.id);
  const text = decoder.decode(object.schemaText);
  if (text === '') return object;
  const type = typeOf(text) ?? typesOf(object).type;
  return object.root(type);
}

/**
 * The mapping: a JSON value that says which records there are, which fields they have, and which of those refer to what.
 *
 *   { "collections": {
 *       "people": {
 *         "type": "Person",              name of the struct; the collection's own by default
 *         "at": "/people",               JSON: where the records lie (default: the top). "*" stands for any name or position
 *         "when": { "kind": "person" },  several collections in one array or file: records with these values belong here
 *         "key": "id",                   the field that others refer by: text or an integer, different in each record
 *         "fields": {
 *           "id": "text",
 *           "age": { "type": "u8", "optional": true },
 *           "city": { "ref": "cities", "from": "home/city" },
 *           "friends": { "refs": "people", "separator": ";" },
 *           "nicknames": { "list": "text" } } } } }
 *
 * `from` is the path of names to the value in the record, by default the field's own name; "$name" is the name under which the record
 * lay in an object. `separator` cuts a text into a list, as CSV needs it.
 */
import { TwzError } from '../../abi/errors.ts';

export const SCALARS = ['text', 'json', 'bool', 'u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64', 'f32', 'f64'] as const;
export type Scalar = (typeof SCALARS)[number];

export type Content =
  | { readonly kind: 'scalar'; readonly type: Scalar }
  | { readonly kind: 'oneOf'; readonly values: readonly [string, ...string[]] }
  | { readonly kind: 'ref'; readonly to: string };

export interface MappedField {
  readonly name: string;
  readonly content: Content;
  readonly list: boolean;
  /** Scalars: absent and null are allowed. References may always be absent. */
  readonly optional: boolean;
  readonly from: readonly string[];
  readonly separator: string | undefined;
}

export interface MappedCollection {
  readonly name: string;
  /** Name of the struct. */
  readonly type: string;
  readonly at: readonly string[];
  readonly when: readonly (readonly [field: string, value: unknown])[];
  readonly key: string | undefined;
  readonly keyIsText: boolean;
  readonly fields: readonly MappedField[];
}

export interface Mapping {
  readonly collections: readonly MappedCollection[];
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
export const COLLECTIONS_MAX = 255;

function invalid(where: string, reason: string): TwzError {
  return new TwzError('InvalidArgument', `mapping: ${where}: ${reason}`, { where });
}

type Raw = Readonly<Record<string, unknown>>;

function isRaw(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function rawAt(value: unknown, where: string, known?: readonly string[]): Raw {
  if (!isRaw(value)) throw invalid(where, 'expected an object');
  const unknown = known === undefined ? undefined : Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined) throw invalid(where, `"${unknown}" is not known; there are ${known?.join(', ')}`);
  return value;
}

function textAt(raw: Raw, name: string, where: string): string | undefined {
  const value = raw[name];
  if (value !== undefined && typeof value !== 'string') throw invalid(`${where}.${name}`, 'expected a text');
  return value;
}

/** Reads a mapping. Throws InvalidArgument, which names the place. */
export function parseMapping(value: unknown): Mapping {
  const raw = rawAt(rawAt(value, 'the mapping', ['collections'])['collections'], 'collections');
  const names = Object.keys(raw);
  if (names.length === 0 || names.length > COLLECTIONS_MAX) throw invalid('collections', `expected 1 to ${COLLECTIONS_MAX} of them`);
  const collections = names.map((name) => parseCollection(name, raw[name]));
  for (const collection of collections) checkTargets(collection, collections);
  const types = collections.map(({ type }) => type);
  const twice = types.find((type, i) => types.indexOf(type) !== i);
  if (twice !== undefined) throw invalid('collections', `two of them have the type ${twice}`);
  return { collections };
}

function parseCollection(name: string, value: unknown): MappedCollection {
  const where = `collections.${name}`;
  if (!NAME.test(name)) throw invalid(where, 'a name has letters, digits and underscores');
  const raw = rawAt(value, where, ['type', 'at', 'when', 'key', 'fields']);
  const type = textAt(raw, 'type', where) ?? name;
  if (!NAME.test(type)) throw invalid(`${where}.type`, 'a name has letters, digits and underscores');
  const fields = Object.entries(rawAt(raw['fields'], `${where}.fields`)).map(([field, spec]) =>
    parseField(field, spec, `${where}.fields.${field}`),
  );
  if (fields.length === 0) throw invalid(`${where}.fields`, 'there are none');
  const key = textAt(raw, 'key', where);
  const keyField = fields.find((field) => field.name === key);
  if (key !== undefined && (keyField === undefined || !isKey(keyField)))
    throw invalid(`${where}.key`, `"${key}" is not a field of type text or of an integer type that is always there`);
  const when = Object.entries(raw['when'] === undefined ? {} : rawAt(raw['when'], `${where}.when`));
  return { name, type, at: parsePath(textAt(raw, 'at', where) ?? '', `${where}.at`), when, key, keyIsText: isText(keyField), fields };
}

function isText(field: MappedField | undefined): boolean {
  return field?.content.kind === 'scalar' && field.content.type === 'text';
}

function isKey(field: MappedField): boolean {
  return (
    !field.list && !field.optional && field.content.kind === 'scalar' && (field.content.type === 'text' || /^[ui]/.test(field.content.type))
  );
}

/** "/a/b" to its components; "" and "/" are the top. */
function parsePath(path: string, where: string): readonly string[] {
  const parts = path.replace(/^\//, '').split('/');
  if (parts.length === 1 && parts[0] === '') return [];
  if (parts.includes('')) throw invalid(where, `"${path}" has an empty component`);
  return parts;
}

const FIELD_KEYS = ['type', 'values', 'ref', 'refs', 'list', 'optional', 'from', 'separator'] as const;

function parseField(name: string, value: unknown, where: string): MappedField {
  if (!NAME.test(name) || ['constructor', 'prototype', 'then'].includes(name)) throw invalid(where, 'cannot be the name of a field');
  const raw = rawAt(typeof value === 'string' ? { type: value } : value, where, FIELD_KEYS);
  const kinds = (['type', 'values', 'ref', 'refs', 'list'] as const).filter((kind) => raw[kind] !== undefined);
  const [kind] = kinds;
  if (kind === undefined || kinds.length !== 1) throw invalid(where, 'expected one of type, values, ref, refs, list');
  const list = kind === 'list' || kind === 'refs';
  const optional = raw['optional'] ?? false;
  if (typeof optional !== 'boolean') throw invalid(`${where}.optional`, 'expected true or false');
  const separator = textAt(raw, 'separator', where);
  if (separator !== undefined && (!list || separator === ''))
    throw invalid(`${where}.separator`, 'a list is cut by it; it cannot be empty');
  const from = parsePath(textAt(raw, 'from', where) ?? name, `${where}.from`);
  return { name, content: parseContent(kind, raw[kind], where), list, optional: optional && !list && kind !== 'ref', from, separator };
}

function parseContent(kind: 'type' | 'values' | 'ref' | 'refs' | 'list', value: unknown, where: string): Content {
  if (kind === 'values') {
    if (!Array.isArray(value)) throw invalid(`${where}.values`, 'expected an array of texts');
    const values: unknown[] = value;
    const [first, ...rest] = values.map((each) => {
      if (typeof each !== 'string') throw invalid(`${where}.values`, 'expected an array of texts');
      return each;
    });
    if (first === undefined || new Set(values).size !== values.length)
      throw invalid(`${where}.values`, 'expected different texts, one at least');
    return { kind: 'oneOf', values: [first, ...rest] };
  }
  if (typeof value !== 'string') throw invalid(`${where}.${kind}`, 'expected a text');
  if (kind === 'ref' || kind === 'refs') return { kind: 'ref', to: value };
  const type = SCALARS.find((scalar) => scalar === value);
  if (type === undefined) throw invalid(`${where}.${kind}`, `"${value}" is not one of ${SCALARS.join(', ')}`);
  return { kind: 'scalar', type };
}

function checkTargets(collection: MappedCollection, all: readonly MappedCollection[]): void {
  for (const { name, content } of collection.fields) {
    if (content.kind !== 'ref') continue;
    const target = all.find((each) => each.name === content.to);
    const where = `collections.${collection.name}.fields.${name}`;
    if (target === undefined) throw invalid(where, `there is no collection "${content.to}"`);
    if (target.key === undefined) throw invalid(where, `the collection "${content.to}" has no key to refer by`);
  }
}

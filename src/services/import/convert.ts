/** From what a parser gave to what a field takes: checked before anything is stored, so that a bad record leaves nothing behind. */
import type { Content, MappedCollection, MappedField, Scalar } from './mapping.ts';

/** Why a record is not taken. */
export class Unfit extends Error {
  override readonly name = 'Unfit';
}

const RANGES: Readonly<Partial<Record<Scalar, readonly [number, number]>>> = {
  u8: [0, 255],
  i8: [-128, 127],
  u16: [0, 65535],
  i16: [-32768, 32767],
  u32: [0, 2 ** 32 - 1],
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u64: [0, Number.MAX_SAFE_INTEGER],
  i64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const TRUTH: ReadonlyMap<unknown, boolean> = new Map<unknown, boolean>([
  [true, true],
  [false, false],
  ['true', true],
  ['false', false],
  ['1', true],
  ['0', false],
]);

function show(value: unknown): string {
  const text = typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** The value at a path of a record; undefined where there is none. */
export function valueAt(record: unknown, path: readonly string[], name: string | undefined): unknown {
  if (path[0] === '$name' && path.length === 1) return name;
  let value = record;
  for (const step of path) {
    if (!isObject(value) || !Object.hasOwn(value, step)) return undefined;
    value = value[step];
  }
  return value;
}

function absent(value: unknown): boolean {
  return value === undefined || value === null;
}

function scalar(type: Scalar, value: unknown, field: string): string | number | boolean {
  if (type === 'text') {
    if (typeof value === 'string') return value;
  } else if (type === 'json') return JSON.stringify(value);
  else if (type === 'bool') {
    const truth = TRUTH.get(value);
    if (truth !== undefined) return truth;
  } else {
    // Empty cells of CSV and texts that happen to look like a number in another way are refused.
    const number = typeof value === 'string' && NUMBER.test(value) ? Number(value) : value;
    const range = RANGES[type];
    if (typeof number === 'number' && (range === undefined || (Number.isInteger(number) && number >= range[0] && number <= range[1])))
      return number;
  }
  throw new Unfit(`"${field}" is ${show(value)}, expected ${type}`);
}

function single(content: Content, value: unknown, field: string): string | number | boolean {
  if (content.kind === 'scalar') return scalar(content.type, value, field);
  if (content.kind === 'oneOf') {
    if (typeof value === 'string' && content.values.includes(value)) return value;
    throw new Unfit(`"${field}" is ${show(value)}, expected one of ${content.values.join(', ')}`);
  }
  throw new Unfit(`"${field}" is a reference`);
}

/** The key that a reference names, as text; undefined for none. */
function reference(value: unknown, keyIsText: boolean, field: string): string | undefined {
  if (absent(value) || value === '') return undefined;
  if (typeof value === 'string') {
    if (keyIsText) return value;
    if (/^[+-]?\d+$/.test(value)) return String(Number(value));
  } else if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  throw new Unfit(`"${field}" is ${show(value)}, expected a key`);
}

/** A list, however it is given: an array, a text to be cut, nothing. */
function elements(field: MappedField, value: unknown): readonly unknown[] {
  if (absent(value)) return [];
  if (Array.isArray(value)) return value;
  if (typeof value === 'string' && field.separator !== undefined) return value === '' ? [] : value.split(field.separator);
  throw new Unfit(`"${field.name}" is ${show(value)}, expected an array`);
}

export type Value = string | number | boolean | undefined | readonly (string | number | boolean)[];

/** How one field of a collection is read from a record. References are given as keys; the empty text of CSV is no number and no key. */
export function readerOf(
  field: MappedField,
  keyIsTextOf: (collection: string) => boolean,
): (record: unknown, name: string | undefined) => Value {
  const { content, from, list, optional, name: field_ } = field;
  const keyIsText = content.kind === 'ref' && keyIsTextOf(content.to);
  const emptyIsAbsent = content.kind !== 'scalar' || (content.type !== 'text' && content.type !== 'json');
  if (list) {
    return (record, name) => {
      const found: (string | number | boolean)[] = [];
      for (const value of elements(field, valueAt(record, from, name))) {
        const item = content.kind === 'ref' ? reference(value, keyIsText, field_) : single(content, value, field_);
        if (item !== undefined) found.push(item);
      }
      return found;
    };
  }
  if (content.kind === 'ref') return (record, name) => reference(valueAt(record, from, name), keyIsText, field_);
  return (record, name) => {
    const value = valueAt(record, from, name);
    if (absent(value) || (emptyIsAbsent && value === '')) {
      if (optional) return undefined;
      throw new Unfit(value === undefined ? `"${field_}" is missing` : `"${field_}" is ${show(value)}`);
    }
    return single(content, value, field_);
  };
}

/** Does the record belong to the collection? */
export function belongs(collection: MappedCollection, record: unknown): boolean {
  return collection.when.every(([field, expected]) => isObject(record) && record[field] === expected);
}

/** The text that a key is hashed as. */
export function keyText(value: unknown): string {
  return typeof value === 'number' ? String(value) : typeof value === 'string' ? value : '';
}

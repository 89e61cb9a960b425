/**
 * What passes between a caller and a module: values as they are, and references by the ID of their object. Each side takes what the other
 * gave apart anew, so nothing of the other's prototypes comes along.
 */
import { TwzError } from '../../abi/errors.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import { META } from '../../abi/format.ts';
import { Obj } from '../../lib/object.ts';
import { isAccessor } from '../../lib/runtime.ts';

/** What a caller and a module can give each other. */
export type ModuleValue =
  | undefined
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | object
  | readonly ModuleValue[]
  | { readonly [name: string]: ModuleValue };

export type Passed =
  | { readonly is: 'plain'; readonly value: undefined | null | boolean | number | bigint | string | Uint8Array }
  | { readonly is: 'list'; readonly of: readonly Passed[] }
  | { readonly is: 'record'; readonly of: readonly (readonly [string, Passed])[] }
  | { readonly is: 'object'; readonly id: string };

const DEPTH_MAX = 32;
const PARTS_MAX = 100_000;
const BYTES_MAX = 16 << 20;

/** Counts what passes in one go. */
class Meter {
  #parts = 0;
  #bytes = 0;

  add(bytes: number): void {
    this.#parts++;
    this.#bytes += bytes;
    if (this.#parts > PARTS_MAX || this.#bytes > BYTES_MAX)
      throw new TwzError('ModuleValue', `more than ${PARTS_MAX} values or ${BYTES_MAX} bytes: put them in an object and pass a reference`);
  }
}

/** Throws ModuleValue. */
export function pass(value: unknown, meter: Meter = new Meter(), depth = 0): Passed {
  if (depth > DEPTH_MAX) throw new TwzError('ModuleValue', `values are nested more than ${DEPTH_MAX} deep`);
  switch (typeof value) {
    case 'undefined':
    case 'boolean':
    case 'number':
    case 'bigint':
      meter.add(8);
      return { is: 'plain', value };
    case 'string':
      meter.add(value.length * 2);
      return { is: 'plain', value };
    case 'object':
      return value === null ? { is: 'plain', value } : passObject(value, meter, depth);
    default:
      throw new TwzError('ModuleValue', `a ${typeof value} cannot be passed`);
  }
}

function passObject(value: object, meter: Meter, depth: number): Passed {
  meter.add(16);
  if (value instanceof Obj) return { is: 'object', id: value.id };
  if (isAccessor(value)) {
    const { $h: h, $o: at } = value;
    if (h.cold) h.warm();
    if (h.dv.getUint32(META.root, true) !== at)
      throw new TwzError('ModuleValue', `a reference into object ${h.id}, past its root, cannot be passed: pass the object`, { id: h.id });
    return { is: 'object', id: h.id };
  }
  if (ArrayBuffer.isView(value)) {
    if (Object.prototype.toString.call(value) !== '[object Uint8Array]')
      throw new TwzError('ModuleValue', `${Object.prototype.toString.call(value)} cannot be passed: pass a Uint8Array`);
    meter.add(value.byteLength);
    return { is: 'plain', value: new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice() };
  }
  if (Array.isArray(value)) {
    const of: Passed[] = [];
    for (let i = 0; i < value.length; i++) of.push(pass(value[i], meter, depth + 1));
    return { is: 'list', of };
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  // The plain objects of another realm have another `Object.prototype`.
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null)
    throw new TwzError('ModuleValue', `${Object.prototype.toString.call(value)} cannot be passed: no instances of classes`);
  const of: (readonly [string, Passed])[] = [];
  for (const name of Object.keys(value)) {
    meter.add(name.length * 2);
    of.push([name, pass(Reflect.get(value, name), meter, depth + 1)]);
  }
  return { is: 'record', of };
}

/** What the other side passed. It is looked at as if anybody had written it. Throws ModuleValue. */
export function receive(passed: unknown, open: (id: ObjectId) => Obj, meter: Meter = new Meter(), depth = 0): unknown {
  meter.add(8);
  const strange = (): TwzError => new TwzError('ModuleValue', 'what was passed is no value');
  if (depth > DEPTH_MAX || typeof passed !== 'object' || passed === null || !('is' in passed)) throw strange();
  switch (passed.is) {
    case 'plain': {
      const value = 'value' in passed ? passed.value : undefined;
      if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array)) throw strange();
      return value;
    }
    case 'list':
      if (!('of' in passed) || !Array.isArray(passed.of)) throw strange();
      return passed.of.map((each: unknown) => receive(each, open, meter, depth + 1));
    case 'record': {
      if (!('of' in passed) || !Array.isArray(passed.of)) throw strange();
      const entries = passed.of.map((each: unknown): [string, unknown] => {
        if (!Array.isArray(each) || typeof each[0] !== 'string') throw strange();
        return [each[0], receive(each[1], open, meter, depth + 1)];
      });
      return Object.fromEntries(entries);
    }
    case 'object':
      if (!('id' in passed) || typeof passed.id !== 'string' || !isId(passed.id)) throw strange();
      return open(parseId(passed.id));
    default:
      throw strange();
  }
}

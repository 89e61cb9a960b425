/** Values of typed fields as JSON and back, so that the bytes come out the same. docs/formats/dump.md, "Values". */
import { PAGE } from '../../abi/format.ts';
import { isId, type ObjectId } from '../../abi/id.ts';
import { type ObjectImage, readPointer } from '../check/object-image.ts';
import type { ObjectSchema, Shape, StructShape } from '../check/schema.ts';

/** Longer texts and bytes stand in lines of their own. */
export const TEXT_MAX = 4096;
const BYTES_MAX = 256;

export class Unreadable extends Error {}

export const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

export function fromHex(text: unknown): Uint8Array {
  if (typeof text !== 'string' || text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) throw new Unreadable('expected hexadecimal digits');
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(i * 2, i * 2 + 2), 16));
}

export function base64Of(bytes: Uint8Array): string {
  let binary = '';
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}

export function fromBase64(text: unknown): Uint8Array {
  if (typeof text !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) throw new Unreadable('expected base64');
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** The first entry of the FOT for each target. */
export type Entries = ReadonlyMap<string, number>;

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A value that stands for itself is JSON; anything else is {"$…": …}. */
function only(value: unknown, name: string): unknown {
  return isRecord(value) && Object.keys(value).length === 1 ? value[name] : undefined;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** Null is a value: a reference to nothing. */
const orAbsent = (value: unknown): unknown => (value === undefined ? { $absent: true } : value);

// --- to JSON ------------------------------------------------------------------------------------------------------------------

export class ValueWriter {
  readonly #image: ObjectImage;
  readonly #schema: ObjectSchema;
  readonly #entries: Entries;
  /** What the values tell, so that it need not stand in bytes. */
  readonly #rest: Uint8Array;
  /** Structs of this object that were referred to. */
  readonly reached: { at: number; type: string }[] = [];
  /** Where texts and bytes lie, in the order of their fields. */
  blocks: number[] = [];

  constructor(image: ObjectImage, schema: ObjectSchema, entries: Entries, rest: Uint8Array) {
    this.#image = image;
    this.#schema = schema;
    this.#entries = entries;
    this.#rest = rest;
  }

  struct(at: number, type: StructShape): Record<string, unknown> {
    const value: Record<string, unknown> = {};
    for (const field of type.fields) {
      const item = this.#value(at + field.offset, field.shape);
      if (item !== undefined) value[field.name] = item;
    }
    return value;
  }

  /** One value of any shape. */
  value(at: number, shape: Shape): unknown {
    return this.#value(at, shape);
  }

  #told(at: number, length: number): void {
    this.#rest.fill(0, at, at + length);
  }

  #raw(at: number, length: number): unknown {
    this.#told(at, length);
    return { $hex: hexOf(this.#image.bytes.subarray(at, at + length)) };
  }

  #value(at: number, shape: Shape): unknown {
    const image = this.#image;
    switch (shape.kind) {
      case 'number':
      case 'bigint': {
        const value = readNumber(image.dv, at, shape.type);
        if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))) return this.#raw(at, shape.size);
        this.#told(at, shape.size);
        if (typeof value === 'number') return value;
        return Number.isSafeInteger(Number(value)) ? Number(value) : { $integer: String(value) };
      }
      case 'bool': {
        const byte = image.bytes[at] ?? 0;
        if (byte > 1) return this.#raw(at, 1);
        this.#told(at, 1);
        return byte === 1;
      }
      case 'oneOf': {
        const value = shape.values[shape.size === 1 ? (image.bytes[at] ?? 0) : image.u16(at)];
        if (value === undefined) return this.#raw(at, shape.size);
        this.#told(at, shape.size);
        return value;
      }
      case 'text':
      case 'bytes':
        return this.#block(at, shape.kind);
      case 'optional': {
        if (image.bytes[at] === 0) return undefined;
        if (image.bytes[at] !== 1) return this.#raw(at, 1);
        this.#told(at, 1);
        return orAbsent(this.#value(at + shape.at, shape.of));
      }
      case 'array':
        return Array.from({ length: shape.length }, (_, i) => orAbsent(this.#value(at + i * shape.stride, shape.of)));
      case 'struct': {
        const type = this.#schema.types.get(shape.type);
        return type === undefined ? this.#raw(at, shape.size) : this.struct(at, type);
      }
      case 'collection':
        return this.#raw(at, shape.size);
      case 'link':
      case 'ref':
        return this.#pointer(at, shape);
    }
  }

  #block(at: number, kind: 'text' | 'bytes'): unknown {
    const image = this.#image;
    const offset = image.u32(at);
    const length = image.u32(at + 4);
    this.#told(at, 8);
    if (offset === 0 && length === 0) return kind === 'text' ? '' : { $bytes: '' };
    if (length > 0 && length <= (kind === 'text' ? TEXT_MAX : BYTES_MAX) && offset >= PAGE && offset + length <= image.size) {
      const bytes = image.bytes.slice(offset, offset + length);
      const value = kind === 'text' ? textOf(bytes) : { $bytes: base64Of(bytes) };
      if (value !== undefined) {
        this.#told(offset, length);
        this.blocks.push(offset);
        return value;
      }
    }
    return { $block: [offset, length] };
  }

  #pointer(at: number, shape: Shape): unknown {
    const { index, offset } = readPointer(this.#image, at);
    this.#told(at, 8);
    if (index === 0 && offset === 0) return null;
    if (index === 0) {
      if (shape.kind === 'link') return offset === PAGE ? { $ref: '#' } : this.#raw(at, 8);
      this.reached.push({ at: offset, type: shape.type });
      return { $ref: `#${offset}` };
    }
    const entry = this.#image.fotEntry(index);
    if (entry?.id === undefined || this.#entries.get(entry.id) !== index) return this.#raw(at, 8);
    return { $ref: offset === 0 ? entry.id : `${entry.id}/${offset}` };
  }
}

function readNumber(dv: DataView, at: number, type: string): number | bigint {
  switch (type) {
    case 'u8':
      return dv.getUint8(at);
    case 'i8':
      return dv.getInt8(at);
    case 'u16':
      return dv.getUint16(at, true);
    case 'i16':
      return dv.getInt16(at, true);
    case 'u32':
      return dv.getUint32(at, true);
    case 'i32':
      return dv.getInt32(at, true);
    case 'f32':
      return dv.getFloat32(at, true);
    case 'f64':
      return dv.getFloat64(at, true);
    case 'u64':
      return dv.getBigUint64(at, true);
    default:
      return dv.getBigInt64(at, true);
  }
}

// --- from JSON ----------------------------------------------------------------------------------------------------------------

const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  u8: [0, 255],
  i8: [-128, 127],
  u16: [0, 65535],
  i16: [-32768, 32767],
  u32: [0, 2 ** 32 - 1],
  i32: [-(2 ** 31), 2 ** 31 - 1],
};

export class ValueReader {
  readonly #bytes: Uint8Array;
  readonly #dv: DataView;
  readonly #schema: ObjectSchema;
  readonly #entries: Entries;
  #blocks: readonly unknown[] = [];
  #used = 0;

  constructor(bytes: Uint8Array, schema: ObjectSchema, entries: Entries) {
    this.#bytes = bytes;
    this.#dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#schema = schema;
    this.#entries = entries;
  }

  /** Stores a struct. Throws Unreadable. */
  root(at: number, type: StructShape, value: unknown, blocks: readonly unknown[]): void {
    this.#blocks = blocks;
    this.#used = 0;
    this.#struct(at, type, value, type.name);
    if (this.#used !== blocks.length) throw new Unreadable(`${type.name}: ${blocks.length} blocks are named and ${this.#used} are needed`);
  }

  #struct(at: number, type: StructShape, value: unknown, where: string): void {
    if (at + type.size > this.#bytes.length) throw new Unreadable(`${where}: ${type.size} bytes at ${at} lie outside the object`);
    if (!isRecord(value)) throw new Unreadable(`${where}: expected the fields of ${type.name}`);
    const names = new Set(Object.keys(value));
    for (const field of type.fields) {
      if (names.delete(field.name)) this.#value(at + field.offset, field.shape, value[field.name], `${where}.${field.name}`);
      else if (field.shape.kind !== 'optional') throw new Unreadable(`${where}.${field.name} is missing`);
    }
    for (const name of names) throw new Unreadable(`${where} has no field ${name}`);
  }

  #put(at: number, bytes: Uint8Array, where: string): void {
    if (at < 0 || at + bytes.length > this.#bytes.length)
      throw new Unreadable(`${where}: ${bytes.length} bytes at ${at} lie outside the object`);
    this.#bytes.set(bytes, at);
  }

  #value(at: number, shape: Shape, value: unknown, where: string): void {
    const wrong = (expected: string): Unreadable =>
      new Unreadable(`${where}: ${JSON.stringify(value)?.slice(0, 40)}; expected ${expected}`);
    const hex = only(value, '$hex');
    if (hex !== undefined) {
      const bytes = fromHex(hex);
      if (bytes.length > shape.size) throw wrong(`at most ${shape.size} bytes`);
      this.#put(at, bytes, where);
      return;
    }
    switch (shape.kind) {
      case 'number':
      case 'bigint':
        if (!this.#number(at, shape.type, value)) throw wrong(`a number of type ${shape.type}`);
        return;
      case 'bool':
        if (typeof value !== 'boolean') throw wrong('true or false');
        this.#bytes[at] = value ? 1 : 0;
        return;
      case 'oneOf': {
        const n = typeof value === 'string' ? shape.values.indexOf(value) : -1;
        if (n < 0) throw wrong(`one of ${shape.values.join(', ')}`);
        if (shape.size === 1) this.#bytes[at] = n;
        else this.#dv.setUint16(at, n, true);
        return;
      }
      case 'text':
      case 'bytes':
        if (!this.#block(at, shape.kind, value, where)) throw wrong(shape.kind === 'text' ? 'a text' : '{"$bytes": base64}');
        return;
      case 'optional':
        if (only(value, '$absent') === true) return;
        this.#bytes[at] = 1;
        this.#value(at + shape.at, shape.of, value, where);
        return;
      case 'array':
        if (!Array.isArray(value) || value.length !== shape.length) throw wrong(`${shape.length} elements`);
        for (const [i, item] of (value as readonly unknown[]).entries())
          this.#value(at + i * shape.stride, shape.of, item, `${where}[${i}]`);
        return;
      case 'struct': {
        const type = this.#schema.types.get(shape.type);
        if (type === undefined) throw wrong('a described struct');
        this.#struct(at, type, value, where);
        return;
      }
      case 'collection':
        throw wrong('{"$hex": …}');
      case 'link':
      case 'ref':
        if (!this.#pointer(at, value)) throw wrong('null or {"$ref": …} to an object of the FOT');
    }
  }

  #number(at: number, type: string, value: unknown): boolean {
    const dv = this.#dv;
    if (type === 'u64' || type === 'i64') {
      const integer = only(value, '$integer');
      const text = typeof integer === 'string' ? integer : typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : '';
      if (!/^-?\d{1,20}$/.test(text)) return false;
      const wide = BigInt(text);
      if (type === 'u64' ? BigInt.asUintN(64, wide) !== wide : BigInt.asIntN(64, wide) !== wide) return false;
      dv.setBigUint64(at, BigInt.asUintN(64, wide), true);
      return true;
    }
    if (typeof value !== 'number') return false;
    if (type === 'f32') dv.setFloat32(at, value, true);
    else if (type === 'f64') dv.setFloat64(at, value, true);
    else {
      const [least, most] = RANGES[type] ?? [0, -1];
      if (!Number.isInteger(value) || value < least || value > most) return false;
      if (type.endsWith('8')) dv.setUint8(at, value & 255);
      else if (type.endsWith('16')) dv.setUint16(at, value & 65535, true);
      else dv.setUint32(at, value >>> 0, true);
    }
    return true;
  }

  #block(at: number, kind: 'text' | 'bytes', value: unknown, where: string): boolean {
    const dv = this.#dv;
    const block = only(value, '$block');
    if (Array.isArray(block)) {
      const [offset, length]: readonly unknown[] = block;
      if (!isU32(offset) || !isU32(length)) return false;
      dv.setUint32(at, offset, true);
      dv.setUint32(at + 4, length, true);
      return true;
    }
    const text = kind === 'text' ? value : only(value, '$bytes');
    if (typeof text !== 'string') return false;
    if (text === '') return true;
    const bytes = kind === 'text' ? encoder.encode(text) : fromBase64(text);
    const offset = this.#blocks[this.#used++];
    if (!isU32(offset)) throw new Unreadable(`${where}: "blocks" does not say where it lies`);
    this.#put(offset, bytes, where);
    dv.setUint32(at, offset, true);
    dv.setUint32(at + 4, bytes.length, true);
    return true;
  }

  #pointer(at: number, value: unknown): boolean {
    if (value === null) return true;
    const ref = only(value, '$ref');
    const match = typeof ref === 'string' ? /^(#|[0-9a-f]{32})(?:\/?(\d{1,10}))?$/.exec(ref) : null;
    if (match === null) return false;
    const [, target = '', offset = target === '#' ? String(PAGE) : '0'] = match;
    const index = target === '#' ? 0 : this.#entries.get(target);
    if (index === undefined) return false;
    this.#dv.setUint32(at, Number(offset), true);
    this.#dv.setUint32(at + 4, (index << 8) >>> 0, true);
    return true;
  }
}

export const isU32 = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32;

export function idIn(value: unknown, what: string): ObjectId {
  if (typeof value !== 'string' || !isId(value)) throw new Unreadable(`${what}: expected 32 hexadecimal digits`);
  return value;
}

/** What generated accessors call for everything that is not a plain load or store. */
import { TwzError } from '../abi/errors.ts';
import { META, PAGE } from '../abi/format.ts';
import { demandRead, type ObjectHandle } from '../abi/handle.ts';
import { evolution, superseded } from './evolution.ts';
import { Obj } from './object.ts';
import { structsOf, type Schema, type SchemaType, type StructImage } from './struct.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** A place in an object: what every accessor is. */
export interface Accessor {
  readonly $h: ObjectHandle;
  readonly $o: number;
}

export function isAccessor(value: unknown): value is Accessor {
  return typeof value === 'object' && value !== null && '$h' in value && '$o' in value;
}

/** A reference by name, to be stored in a field: resolved at each use. Made by `space.late`. */
export class LateReference {
  readonly path: string;
  readonly resolver: string;

  constructor(path: string, resolver: string) {
    this.path = path;
    this.resolver = resolver;
  }
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (typeof value === 'bigint') return `${value}n`;
  return typeof value === 'object' && value !== null ? `a ${value.constructor?.name ?? 'object'}` : String(value);
}

export function unfit(field: string, value: unknown, expected: string): never {
  const name =
    typeof value === 'number' && !/string|Uint8Array|bool|one of|reference|accessor/.test(expected) ? 'OutOfRange' : 'ValueMismatch';
  throw new TwzError(name, `${field}: ${show(value)} is not ${expected}`, { field });
}

export function unsafe(field: string, value: number, type: string): never {
  throw new TwzError(
    'OutOfRange',
    `${field}: the stored ${type} (about ${value}) is not exact as a number; declare it as big${type.toUpperCase()}`,
    { field },
  );
}

export function outOfRange(field: string, index: unknown, length: number): never {
  throw new TwzError('OutOfRange', `${field}: index ${show(index)} is not an integer from 0 to ${length - 1}`, { field, length });
}

// --- text and bytes -----------------------------------------------------------------------------------------------------------

const SHORT = 32;

/** Checks a block reference {offset u32, length u32} and returns its offset. */
function blockAt(h: ObjectHandle, at: number, length: number): number {
  const offset = h.dv.getUint32(at, true);
  if (offset < PAGE || offset + length > h.size) h.corrupt(at, `text or bytes lie at ${offset}, ${length} bytes long, outside the object`);
  return offset;
}

export function loadText(h: ObjectHandle, at: number): string {
  const { dv } = h;
  const length = dv.getUint32(at + 4, true);
  if (length === 0) return '';
  const offset = blockAt(h, at, length);
  if (length <= SHORT) {
    let short = '';
    let i = 0;
    for (; i < length; i++) {
      const code = dv.getUint8(offset + i);
      if (code > 127) break;
      short += String.fromCharCode(code);
    }
    if (i === length) return short;
  }
  return decoder.decode(h.u8.slice(offset, offset + length));
}

export function loadBytes(h: ObjectHandle, at: number): Uint8Array {
  const length = h.dv.getUint32(at + 4, true);
  if (length === 0) return new Uint8Array(0);
  const offset = blockAt(h, at, length);
  return h.u8.slice(offset, offset + length);
}

export function storeBytes(h: ObjectHandle, at: number, value: Uint8Array): void {
  // The two words may lie in two lines.
  h.mark(at);
  h.mark(at + 4);
  const old = h.dv.getUint32(at + 4, true);
  const length = value.length;
  if (old !== length) {
    // The new block first: where there is no room for it, the old value stays.
    const offset = length === 0 ? 0 : h.allocate(length);
    dropBlock(h, at);
    h.dv.setUint32(at, offset, true);
    h.dv.setUint32(at + 4, length, true);
  }
  if (length === 0) return;
  const offset = blockAt(h, at, length);
  h.markRange(offset, length);
  h.u8.set(value, offset);
}

export function storeText(h: ObjectHandle, at: number, value: string): void {
  storeBytes(h, at, encoder.encode(value));
}

/** Gives a block back and stores an empty reference. */
export function dropBlock(h: ObjectHandle, at: number): void {
  const offset = h.dv.getUint32(at, true);
  if (offset !== 0) h.release(offset);
  h.mark(at);
  h.mark(at + 4);
  h.dv.setUint32(at, 0, true);
  h.dv.setUint32(at + 4, 0, true);
}

export function wipe(h: ObjectHandle, at: number, length: number): void {
  h.markRange(at, length);
  h.u8.fill(0, at, at + length);
}

// --- pointers -----------------------------------------------------------------------------------------------------------------

/** Stores a pointer, counting the FOT entries that it leaves and enters. `index` is 0 for the same object. */
function storePointer(h: ObjectHandle, at: number, index: number, offset: number): void {
  if (h.dirty[at >>> 6] !== 1) h.mark(at);
  const old = h.dv.getUint32(at + 4, true) >>> 8;
  h.dv.setUint32(at, offset, true);
  h.dv.setUint32(at + 4, (index << 8) >>> 0, true);
  if (old !== 0) h.unrefer(old);
}

/** Stores a reference to a place in another object, a late-bound one, or null. */
export function storeFar(h: ObjectHandle, at: number, value: unknown, type: StructImage, field: string): void {
  if (value === null) {
    storePointer(h, at, 0, 0);
    return;
  }
  if (h.dirty[at >>> 6] !== 1) h.mark(at);
  if (value instanceof LateReference) {
    storePointer(h, at, h.referByName(value.path, value.resolver), 0);
    return;
  }
  if (!(value instanceof type.accessor)) unfit(field, value, `a reference to ${type.name} (an accessor of it) or null`);
  storePointer(h, at, value.$h === h ? 0 : h.refer(value.$h), value.$o);
}

export function dropPointer(h: ObjectHandle, at: number): void {
  if (h.dv.getUint32(at + 4, true) !== 0 || h.dv.getUint32(at, true) !== 0) storePointer(h, at, 0, 0);
}

export interface Place {
  h: ObjectHandle;
  at: number;
}

/** Where a pointer that does not stay in its object leads. Late-bound and whole-object pointers lead to the root. */
export function followFar(h: ObjectHandle, at: number, high: number, low: number, type: StructImage, into: Place): void {
  if ((high & 255) !== 0) h.corrupt(at, 'the pointer leads past the largest object');
  const target = high === 0 ? h : h.follow(high >>> 8, at);
  if (target !== h) demandRead(target);
  // Checked here, at first use: what leads to a root by the root, what leads further in by what the object says of its types.
  const place = low === 0 || low === target.dv.getUint32(META.root, true) ? rootOf(target, type) : innerOf(target, low, type);
  // Now that it is known it need not come here again.
  if (high !== 0 && h.fot[high >>> 8] === undefined && !superseded(type)) h.remember(high >>> 8, target);
  const { size, align } = type.layout;
  if (place < PAGE || place > target.size - size || place % align !== 0)
    h.corrupt(at, `the pointer leads to offset ${place} of object ${target.id}, where no ${type.name} can be`);
  // Last: code of a migration may have followed the same field meanwhile.
  into.h = target;
  into.at = place;
}

/** Offset of an object's root. Throws TypeMismatch where it is of another type. */
export function rootOf(h: ObjectHandle, type: StructImage): number {
  if (h.cold) h.warm();
  demandRead(h);
  if (h.judged !== type) judge(h, type);
  const root = h.dv.getUint32(META.root, true);
  if (root < PAGE || root + type.layout.size > h.size) h.corrupt(META.root, `the root lies at ${root}`);
  return root;
}

/** Compares what an object says of its types with what the program says, once for each object and type. */
function judge(h: ObjectHandle, type: StructImage): void {
  const { fingerprint } = type.layout;
  if (h.dv.getUint32(META.root, true) === 0)
    throw new TwzError('TypeMismatch', `object ${h.id} has no root; expected ${type.name}`, { id: h.id, expected: type.name });
  const alike = h.dv.getUint32(META.rootType, true) === fingerprint.low && h.dv.getUint32(META.rootType + 4, true) === fingerprint.high;
  if (!alike || !sameText(h, type)) {
    const evolved = evolution();
    if (evolved !== undefined) evolved.root(h, type);
    else if (!alike) mismatch(h, type);
    if (h.cold) h.warm();
  }
  if (!superseded(type)) h.judged = type;
}

/** Is the object's schema text the type's, byte for byte? */
function sameText(h: ObjectHandle, type: StructImage): boolean {
  const at = h.dv.getUint32(META.schema, true);
  if (at < PAGE || at + 4 > h.size) return at === 0;
  let bytes = texts.get(type);
  if (bytes === undefined) {
    bytes = encoder.encode(type.schema);
    texts.set(type, bytes);
  }
  const { length } = bytes;
  if (h.dv.getUint32(at, true) !== length || at + 4 + length > h.size) return false;
  const { u8 } = h;
  for (let i = 0; i < length; i++) if (u8[at + 4 + i] !== bytes[i]) return false;
  return true;
}

const texts = new WeakMap<StructImage, Uint8Array>();

/** The place inside an object that a pointer from another one means. */
function innerOf(h: ObjectHandle, at: number, type: StructImage): number {
  const evolved = evolution();
  if (evolved === undefined) return at;
  if (h.entered !== type && !(h.judged !== undefined && structsOf(h.judged).get(type.name) === type)) {
    evolved.enter(h, type);
    if (h.cold) h.warm();
    if (!superseded(type)) h.entered = type;
  }
  return h.dv.getUint32(META.forwards, true) === 0 ? at : evolved.forward(h, at, type);
}

export function mismatch(h: ObjectHandle, type: StructImage, reason = ''): never {
  const wanted = showType(JSON.parse(type.schema));
  throw new TwzError('TypeMismatch', `object ${h.id} holds ${rootType(h)}; asked for was ${wanted}${reason}`, {
    id: h.id,
    expected: type.name,
    version: type.version,
  });
}

/** What an object says of its root's type, for an error message. */
function rootType(h: ObjectHandle): string {
  const at = h.dv.getUint32(META.schema, true);
  const length = at < PAGE || at + 4 > h.size ? 0 : h.dv.getUint32(at, true);
  if (length === 0 || at + 4 + length > h.size) return 'another type';
  try {
    return showType(JSON.parse(decoder.decode(h.u8.slice(at + 4, at + 4 + length))));
  } catch {
    return 'a type that cannot be read';
  }
}

const SHOWN = 400;

/** A schema's root as "Person version 1 {name: text, age: u8}". Throws where it is no schema. */
function showType({ root, types }: Schema): string {
  const type = types[root] as SchemaType;
  const fields = type.fields.map(({ name, shape }) => `${name}: ${shape.type}`).join(', ');
  return `${root} version ${type.version} {${fields.length > SHOWN ? `${fields.slice(0, SHOWN)}…` : fields}}`;
}

export function loadLink(h: ObjectHandle, at: number): Obj | null {
  const low = h.dv.getUint32(at, true);
  const high = h.dv.getUint32(at + 4, true);
  if (high === 0) return low === 0 ? null : new Obj(h);
  const target = h.follow(high >>> 8, at);
  if (h.fot[high >>> 8] === undefined) h.remember(high >>> 8, target);
  return new Obj(target);
}

export function storeLink(h: ObjectHandle, at: number, value: unknown, field: string): void {
  if (value === null) storePointer(h, at, 0, 0);
  else if (value instanceof LateReference) {
    h.mark(at);
    storePointer(h, at, h.referByName(value.path, value.resolver), 0);
  } else {
    const target =
      value instanceof Obj ? value.handle : isAccessor(value) ? value.$h : unfit(field, value, 'a reference to an object, or null');
    h.mark(at);
    // A link to its own object still needs something that is not null.
    if (target.id === h.id) storePointer(h, at, 0, PAGE);
    else storePointer(h, at, h.refer(target), 0);
  }
}

/** Throws what storing a link would. */
export function checkLink(h: ObjectHandle, value: unknown, field: string): void {
  if (value === null || value instanceof LateReference) return;
  const target =
    value instanceof Obj ? value.handle : isAccessor(value) ? value.$h : unfit(field, value, 'a reference to an object, or null');
  if (target.id !== h.id) h.demandTarget(target);
}

/** Throws unless it is a late-bound reference: what else can be stored as a reference was looked at before. */
export function checkFar(value: unknown, type: StructImage, field: string): void {
  if (!(value instanceof LateReference)) unfit(field, value, `a reference to ${type.name} (an accessor of it) or null`);
}

// --- composites ---------------------------------------------------------------------------------------------------------------

interface Settable extends Pick<Accessor, '$h'> {
  readonly length: number;
  set(index: number, value: unknown): void;
}

type Check = (value: unknown, h: ObjectHandle) => unknown;

/** The elements that are given for an array, read and checked. */
export function captureAll(h: ObjectHandle, values: unknown, length: number, field: string, check: Check): unknown[] {
  if (typeof values !== 'object' || values === null || !(Symbol.iterator in values)) unfit(field, values, 'an iterable');
  const all = Array.from(values as Iterable<unknown>);
  if (all.length > length) throw new TwzError('OutOfRange', `${field}: more than ${length} elements`, { field, length });
  for (let i = 0; i < all.length; i++) all[i] = check(all[i], h);
  return all;
}

export function storeAll(target: Settable, values: unknown, field: string, check: Check): void {
  const all = captureAll(target.$h, values, target.length, field, check);
  let i = 0;
  try {
    for (; i < all.length; i++) target.set(i, all[i]);
  } catch (error) {
    if (i > 0) target.$h.spoil(error);
    throw error;
  }
}

/** What is to be stored in a struct, read from what a program gave and checked: a value for each field, or for those that are named. */
export class Captured {
  readonly values: readonly unknown[];
  readonly names: readonly string[] | undefined;

  constructor(values: readonly unknown[], names: readonly string[] | undefined) {
    this.values = values;
    this.names = names;
  }
}

/** What the accessors of a struct have for setting several fields. */
interface Setters extends Accessor {
  readonly $optional: ReadonlySet<string>;
  readonly $checks: ReadonlyMap<string, Check>;
  $set(init: unknown, what: string): void;
  $store(values: readonly unknown[]): void;
  $capture(prototype: object, init: unknown, h: ObjectHandle, what: string): Captured;
}

/**
 * Sets the fields that `init` has, or throws and sets none. Unknown ones are refused. Undefined empties an optional field and leaves any
 * other as it is.
 */
export function assignTo(target: object, init: unknown, what: string): void {
  if ('$set' in target) (target as Setters).$set(init, what);
  else if ('$assign' in target && typeof target.$assign === 'function') target.$assign(init);
  else unfit(what, target, 'an accessor of a struct or a collection');
}

/** What is given for a struct inside another, read and checked. */
export function captureStruct(type: Pick<StructImage, 'accessor'>, init: unknown, h: ObjectHandle, what: string): Captured {
  const prototype: unknown = type.accessor.prototype;
  return (prototype as Setters).$capture(prototype as object, init, h, what);
}

/** As `$capture`, for what is more than an object with values of known fields. */
export function captureSlowly(prototype: object, init: unknown, h: ObjectHandle, what: string): Captured {
  if (init instanceof Captured) return init;
  if (typeof init !== 'object' || init === null) return unfit(what, init, 'an object with fields to set');
  const { $checks: checks, $optional: optional } = prototype as Setters;
  const names: string[] = [];
  const values: unknown[] = [];
  const enter = (name: string, value: unknown, check: Check): void => {
    names.push(name);
    values.push(check(value, h));
  };
  if (isAccessor(init)) {
    // A subclass too: what an indexed map gives to read.
    if (!Object.prototype.isPrototypeOf.call(prototype, init)) return unfit(what, init, 'of the same type');
    for (const [name, check] of checks) enter(name, Reflect.get(init, name), check);
  } else {
    for (const [name, value] of Object.entries(init)) {
      const check = checks.get(name);
      if (check === undefined) throw new TwzError('ValueMismatch', `${what} has no field "${name}"`, { field: name });
      if (value !== undefined || optional.has(name)) enter(name, value, check);
    }
  }
  return new Captured(values, names);
}

/** As `$set`, for the same. */
export function setSlowly(target: Setters, init: unknown, h: ObjectHandle, what: string): void {
  const { names, values } = captureSlowly(setFrom(target), init, h, what);
  if (names === undefined) {
    target.$store(values);
    return;
  }
  let i = 0;
  try {
    for (; i < values.length; i++) Reflect.set(target, names[i] as string, values[i]);
  } catch (error) {
    if (i > 0) h.spoil(error);
    throw error;
  }
}

function setFrom(target: object): object {
  return Object.getPrototypeOf(target) as object;
}

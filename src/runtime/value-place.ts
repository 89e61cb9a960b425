/** Values of collections as programs use them: numbers and structs where they lie, text and bytes as a copy. And keys as bytes. */
import { TwzError } from '../abi/errors.ts';
import type { ObjectHandle } from '../abi/handle.ts';
import type { Field, FieldShape } from '../lib/fields.ts';

/** What a place field reads as: where the value lies. */
export class ValuePlace {
  readonly $h: ObjectHandle;
  readonly $o: number;

  constructor(h: ObjectHandle, o: number) {
    this.$h = h;
    this.$o = o;
  }
}

/** The same field, but that it reads as its place, and that a new one is all zeros. Not for text and bytes, which lie otherwise in collections. */
export function placeField(field: Field<unknown, never>): Field<ValuePlace, undefined> {
  return {
    size: field.size,
    align: field.align,
    signature: field.signature,
    describe: field.describe,
    ...('layout' in field ? { layout: field.layout } : {}),
    ...(field.of === undefined ? {} : { of: field.of }),
    load: (emit, at) => `return new (${emit.constant(ValuePlace)})(h, ${at});`,
    store: (emit, at) => `${emit.use('wipe')}(h, ${at}, ${field.size});`,
    drop: (emit, at) => field.drop(emit, at),
  };
}

/** What a collection's keys and values are: enough of a shape (docs/formats/object.md) to have them cross as bytes. */
export type ValueShape = Pick<FieldShape, 'kind' | 'type'> & { readonly size: number; readonly values?: readonly string[] };

const STRICT = new TextDecoder('utf-8', { fatal: true });
const UTF8 = new TextEncoder();

export function textIn(bytes: Uint8Array, what: string): string {
  try {
    return STRICT.decode(bytes.slice());
  } catch {
    throw new TwzError('ValueMismatch', `${what}: ${bytes.length} bytes that are not UTF-8`);
  }
}

interface NumberBytes {
  readonly size: number;
  readonly get: (view: DataView) => number | bigint | boolean;
  readonly set: (view: DataView, value: never) => void;
}

const number = <T extends number | bigint | boolean>(
  size: number,
  get: (view: DataView) => T,
  set: (view: DataView, value: T) => void,
): NumberBytes => ({ size, get, set });

/** A key past 2^53 of what is a number to the host cannot be one of its. */
const exact = (value: bigint): number => {
  const key = Number(value);
  if (!Number.isSafeInteger(key)) throw new TwzError('OutOfRange', `the key ${value} is past 2^53 - 1`);
  return key;
};

const NUMBERS: Readonly<Record<string, NumberBytes>> = {
  u8: number(
    1,
    (v) => v.getUint8(0),
    (v, n) => v.setUint8(0, n),
  ),
  i8: number(
    1,
    (v) => v.getInt8(0),
    (v, n) => v.setInt8(0, n),
  ),
  u16: number(
    2,
    (v) => v.getUint16(0, true),
    (v, n) => v.setUint16(0, n, true),
  ),
  i16: number(
    2,
    (v) => v.getInt16(0, true),
    (v, n) => v.setInt16(0, n, true),
  ),
  u32: number(
    4,
    (v) => v.getUint32(0, true),
    (v, n) => v.setUint32(0, n, true),
  ),
  i32: number(
    4,
    (v) => v.getInt32(0, true),
    (v, n) => v.setInt32(0, n, true),
  ),
  f64: number(
    8,
    (v) => v.getFloat64(0, true),
    (v, n) => v.setFloat64(0, n, true),
  ),
  u64: number(
    8,
    (v) => exact(v.getBigUint64(0, true)),
    (v, n) => v.setBigUint64(0, BigInt(n), true),
  ),
  i64: number(
    8,
    (v) => exact(v.getBigInt64(0, true)),
    (v, n) => v.setBigInt64(0, BigInt(n), true),
  ),
  bigU64: number(
    8,
    (v) => v.getBigUint64(0, true),
    (v, n) => v.setBigUint64(0, n, true),
  ),
  bigI64: number(
    8,
    (v) => v.getBigInt64(0, true),
    (v, n) => v.setBigInt64(0, n, true),
  ),
  bool: number(
    1,
    (v) => v.getUint8(0) !== 0,
    (v, n) => v.setUint8(0, n ? 1 : 0),
  ),
};

/** A key as the library has it. Throws ValueMismatch, OutOfRange, NotSupported. */
export function keyFrom(signature: string, bytes: Uint8Array): unknown {
  if (signature === 'text') return textIn(bytes, 'a key');
  if (signature === 'bytes') return bytes.slice();
  const kind = Object.hasOwn(NUMBERS, signature) ? NUMBERS[signature] : undefined;
  if (kind === undefined) throw unsupported(signature);
  if (bytes.length !== kind.size)
    throw new TwzError('ValueMismatch', `a key of the type ${signature} has ${kind.size} bytes, not ${bytes.length}`);
  return kind.get(new DataView(bytes.slice().buffer));
}

/** A key as programs have it. */
export function keyBytes(signature: string, key: unknown): Uint8Array {
  if (typeof key === 'string' && signature === 'text') return UTF8.encode(key);
  if (key instanceof Uint8Array) return key;
  const kind = Object.hasOwn(NUMBERS, signature) ? NUMBERS[signature] : undefined;
  if (kind === undefined) throw unsupported(signature);
  const bytes = new Uint8Array(kind.size);
  kind.set(new DataView(bytes.buffer), key as never);
  return bytes;
}

function unsupported(signature: string): TwzError {
  return new TwzError('NotSupported', `programs use no keys of the type ${signature.slice(0, 100)}: numbers, bool, text and bytes they do`);
}

/** Throws ValueMismatch where bytes are no value of that kind. */
export function demandPlain({ kind, type, size, values }: ValueShape, bytes: Uint8Array): void {
  if (kind !== 'number' && kind !== 'bigint' && kind !== 'bool' && kind !== 'oneOf')
    throw new TwzError('NotSupported', `a value of the type ${type.slice(0, 100)} is changed where it lies`);
  if (bytes.length !== size)
    throw new TwzError('ValueMismatch', `a value of the type ${type.slice(0, 100)} has ${size} bytes, not ${bytes.length}`);
  const low = bytes[0] ?? 0;
  const position = size === 2 ? low | ((bytes[1] ?? 0) << 8) : low;
  if ((kind === 'bool' && low > 1) || (kind === 'oneOf' && position >= (values?.length ?? 0)))
    throw new TwzError('ValueMismatch', `${position} is no ${type.slice(0, 100)}`);
}

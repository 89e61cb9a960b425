/**
 * Fields: what a struct is declared from. A field knows its size, its alignment, its signature (for the type's fingerprint), and how to
 * write the code that loads, stores and drops it. Sizes and alignments are in bytes; everything is little-endian.
 */
import { TwzError } from '../abi/errors.ts';
import type { Emitter } from './emit.ts';
import type { Obj } from './object.ts';

export declare const VALUE: unique symbol;
export declare const INIT: unique symbol;

/** A field that reads as `T` and is initialized from `I`. */
export interface Field<T, I = T> {
  /** Types only; no field has this at run time. */
  readonly [VALUE]?: T;
  readonly [INIT]?: (init: I) => void;
  readonly size: number;
  readonly align: number;
  /** Names the stored form, without names of types that are only referred to. */
  readonly signature: string;
  /** How tools show it. */
  readonly describe: FieldShape;
  /** The field inside an optional or an array. */
  readonly of?: object;
  /** Statements of a getter's body. `at` is an expression: the byte offset of the field in the object; `h` is the warm handle. */
  load(emit: Emitter, at: string): string;
  /** Statements that store the value `v`. */
  store(emit: Emitter, at: string): string;
  /**
   * Statements that throw what `store` would throw for the value `v` in the object `h`, and change nothing; where reading `v` runs code of
   * the program's, `v` is afterwards what was read.
   */
  check?(emit: Emitter): string;
  /** Statements that give back what the field owns (text, bytes, counted references), or nothing. */
  drop(emit: Emitter, at: string): string;
}

export type FieldShape =
  | { readonly kind: 'number' | 'bigint' | 'bool' | 'text' | 'bytes' | 'link'; readonly type: string }
  | { readonly kind: 'oneOf'; readonly type: string; readonly values: readonly string[] }
  | { readonly kind: 'optional'; readonly type: string; readonly of: FieldShape; readonly at: number }
  | { readonly kind: 'array'; readonly type: string; readonly of: FieldShape; readonly stride: number; readonly length: number }
  | {
      readonly kind: 'collection';
      readonly type: string;
      /** `HashMap`, `Vec` and so on. */
      readonly collection: string;
      readonly size: number;
      /** How keys are encoded, where there are any. */
      readonly key?: string;
      readonly value?: FieldShape;
    }
  | { readonly kind: 'struct' | 'ref'; readonly type: string };

// --- numbers ------------------------------------------------------------------------------------------------------------------

interface NumberKind {
  readonly type: string;
  readonly size: number;
  readonly get: string;
  readonly set: string;
  /** An expression over `v` that is true for a value that fits. */
  readonly fits: string;
}

function endian(kind: NumberKind): string {
  return kind.size === 1 ? '' : ', true';
}

function scalar<T>(kind: NumberKind, shape: 'number' | 'bigint' | 'bool' = 'number'): Field<T> {
  return {
    size: kind.size,
    align: kind.size,
    signature: kind.type,
    describe: { kind: shape, type: kind.type },
    load: (_emit, at) => `return h.dv.${kind.get}(${at}${endian(kind)});`,
    store: (emit, at) =>
      `if (!(${kind.fits})) ${emit.unfit(kind.type)}; const o = ${at}; if (h.dirty[o >>> 6] !== 1) h.mark(o); h.dv.${kind.set}(o, v${endian(kind)});`,
    check: (emit) => `if (!(${kind.fits})) ${emit.unfit(kind.type)};`,
    drop: () => '',
  };
}

export const u8: Field<number> = scalar({
  type: 'u8',
  size: 1,
  get: 'getUint8',
  set: 'setUint8',
  fits: "typeof v === 'number' && (v & 255) === v",
});
export const i8: Field<number> = scalar({
  type: 'i8',
  size: 1,
  get: 'getInt8',
  set: 'setInt8',
  fits: "typeof v === 'number' && (v << 24 >> 24) === v",
});
export const u16: Field<number> = scalar({
  type: 'u16',
  size: 2,
  get: 'getUint16',
  set: 'setUint16',
  fits: "typeof v === 'number' && (v & 65535) === v",
});
export const i16: Field<number> = scalar({
  type: 'i16',
  size: 2,
  get: 'getInt16',
  set: 'setInt16',
  fits: "typeof v === 'number' && (v << 16 >> 16) === v",
});
export const u32: Field<number> = scalar({
  type: 'u32',
  size: 4,
  get: 'getUint32',
  set: 'setUint32',
  fits: "typeof v === 'number' && (v >>> 0) === v",
});
export const i32: Field<number> = scalar({
  type: 'i32',
  size: 4,
  get: 'getInt32',
  set: 'setInt32',
  fits: "typeof v === 'number' && (v | 0) === v",
});
export const f32: Field<number> = scalar({ type: 'f32', size: 4, get: 'getFloat32', set: 'setFloat32', fits: "typeof v === 'number'" });
export const f64: Field<number> = scalar({ type: 'f64', size: 8, get: 'getFloat64', set: 'setFloat64', fits: "typeof v === 'number'" });
export const bigU64: Field<bigint> = scalar(
  { type: 'u64', size: 8, get: 'getBigUint64', set: 'setBigUint64', fits: "typeof v === 'bigint' && v >= 0n && v <= 0xffffffffffffffffn" },
  'bigint',
);
export const bigI64: Field<bigint> = scalar(
  {
    type: 'i64',
    size: 8,
    get: 'getBigInt64',
    set: 'setBigInt64',
    fits: "typeof v === 'bigint' && v >= -0x8000000000000000n && v <= 0x7fffffffffffffffn",
  },
  'bigint',
);

/** 64 bits read as a number: no BigInt. A stored value past ±(2^53 - 1) throws OutOfRange when it is read. */
function wide(type: 'u64' | 'i64', high: 'getUint32' | 'getInt32', fits: string): Field<number> {
  return {
    size: 8,
    align: 8,
    signature: type,
    describe: { kind: 'number', type },
    load: (emit, at) =>
      `const o = ${at}; const v = h.dv.${high}(o + 4, true) * 4294967296 + h.dv.getUint32(o, true); if (!Number.isSafeInteger(v)) ${emit.unsafe(type)}; return v;`,
    store: (emit, at) =>
      `if (!(${fits})) ${emit.unfit(`${type} up to 2^53 - 1`)}; const o = ${at}; if (h.dirty[o >>> 6] !== 1) h.mark(o); h.dv.setUint32(o, v >>> 0, true); h.dv.setInt32(o + 4, Math.floor(v / 4294967296), true);`,
    check: (emit) => `if (!(${fits})) ${emit.unfit(`${type} up to 2^53 - 1`)};`,
    drop: () => '',
  };
}

export const u64: Field<number> = wide('u64', 'getUint32', 'Number.isSafeInteger(v) && v >= 0');
export const i64: Field<number> = wide('i64', 'getInt32', 'Number.isSafeInteger(v)');

export const bool: Field<boolean> = {
  size: 1,
  align: 1,
  signature: 'bool',
  describe: { kind: 'bool', type: 'bool' },
  load: (_emit, at) => `return h.dv.getUint8(${at}) !== 0;`,
  store: (emit, at) =>
    `if (v !== true && v !== false) ${emit.unfit('bool')}; const o = ${at}; if (h.dirty[o >>> 6] !== 1) h.mark(o); h.dv.setUint8(o, v ? 1 : 0);`,
  check: (emit) => `if (v !== true && v !== false) ${emit.unfit('bool')};`,
  drop: () => '',
};

/** One of up to 65,536 strings, stored as its position: do not reorder them. */
export function oneOf<const V extends readonly [string, ...string[]]>(...values: V): Field<V[number]> {
  if (new Set<string>(values).size !== values.length || values.length > 65536) {
    throw new TwzError('TypeInvalid', `oneOf(${values.join(', ')}): values must differ, and be at most 65536`);
  }
  const size = values.length <= 256 ? 1 : 2;
  const bits = size * 8;
  const little = size === 1 ? '' : ', true';
  const type = `oneOf(${values.map((value) => JSON.stringify(value)).join('|')})`;
  const positions = new Map(values.map((value, i) => [value, i]));
  return {
    size,
    align: size,
    signature: type,
    describe: { kind: 'oneOf', type, values },
    load: (emit, at) =>
      `const o = ${at}; const v = ${emit.constant(values)}[h.dv.getUint${bits}(o${little})]; if (v === undefined) h.corrupt(o, 'not a value of the enumeration'); return v;`,
    store: (emit, at) =>
      `const n = ${emit.constant(positions)}.get(v); if (n === undefined) ${emit.unfit(`one of ${values.join(', ')}`)}; const o = ${at}; if (h.dirty[o >>> 6] !== 1) h.mark(o); h.dv.setUint${bits}(o, n${little});`,
    check: (emit) => `if (!${emit.constant(positions)}.has(v)) ${emit.unfit(`one of ${values.join(', ')}`)};`,
    drop: () => '',
  };
}

// --- text and bytes: {offset u32, length u32} of a block in the same object ---------------------------------------------------

export const text: Field<string> = {
  size: 8,
  align: 4,
  signature: 'text',
  describe: { kind: 'text', type: 'text' },
  load: (emit, at) => `return ${emit.use('loadText')}(h, ${at});`,
  store: (emit, at) => `if (typeof v !== 'string') ${emit.unfit('a string')}; ${emit.use('storeText')}(h, ${at}, v);`,
  check: (emit) => `if (typeof v !== 'string') ${emit.unfit('a string')};`,
  drop: (emit, at) => `${emit.use('dropBlock')}(h, ${at});`,
};

/** Reads as a copy; `rawBytes` gives the stored bytes themselves. */
export const bytes: Field<Uint8Array> = {
  size: 8,
  align: 4,
  signature: 'bytes',
  describe: { kind: 'bytes', type: 'bytes' },
  load: (emit, at) => `return ${emit.use('loadBytes')}(h, ${at});`,
  store: (emit, at) => `if (!(v instanceof Uint8Array)) ${emit.unfit('a Uint8Array')}; ${emit.use('storeBytes')}(h, ${at}, v);`,
  check: (emit) => `if (!(v instanceof Uint8Array)) ${emit.unfit('a Uint8Array')};`,
  drop: (emit, at) => `${emit.use('dropBlock')}(h, ${at});`,
};

// --- references ---------------------------------------------------------------------------------------------------------------

/** A reference to any object as a whole, whatever it holds. */
export const link: Field<Obj | null, object | null> = {
  size: 8,
  align: 8,
  signature: 'link',
  describe: { kind: 'link', type: 'link' },
  load: (emit, at) => `return ${emit.use('loadLink')}(h, ${at});`,
  store: (emit, at) => `${emit.use('storeLink')}(h, ${at}, v, ${emit.name()});`,
  check: (emit) => `${emit.use('checkLink')}(h, v, ${emit.name()});`,
  drop: (emit, at) => `${emit.use('dropPointer')}(h, ${at});`,
};

// --- composites ---------------------------------------------------------------------------------------------------------------

/** Notes that there is a value, and takes it back where the value is refused. */
function presentStore(emit: Emitter, offset: string, store: string): string {
  const [flag, was] = [emit.fresh(), emit.fresh()];
  return `const ${flag} = ${offset}, ${was} = h.dv.getUint8(${flag}); h.dv.setUint8(${flag}, 1); try { ${store} } catch (error) { h.dv.setUint8(${flag}, ${was}); throw error; }`;
}

/** A value that may be absent: reads as undefined. */
export function optional<T, I>(of: Field<T, I>): Field<T | undefined, I | undefined> {
  const at = Math.max(1, of.align);
  const type = `optional(${of.signature})`;
  return {
    size: at + of.size,
    align: of.align,
    signature: type,
    of,
    describe: { kind: 'optional', type, of: of.describe, at },
    load: (emit, offset) => `if (h.dv.getUint8(${offset}) === 0) return undefined; ${of.load(emit, `(${offset} + ${at})`)}`,
    store: (emit, offset) =>
      `{ const p = ${offset}; if (h.dirty[p >>> 6] !== 1) h.mark(p); if (v === undefined) { if (h.dv.getUint8(p) !== 0) { ${of.drop(emit, `(p + ${at})`)} h.dv.setUint8(p, 0); ${emit.use('wipe')}(h, p + ${at}, ${of.size}); } return; } } ${presentStore(emit, offset, of.store(emit, `(${offset} + ${at})`))}`,
    check: (emit) => (of.check === undefined ? '' : `if (v !== undefined) { ${of.check(emit)} }`),
    drop: (emit, offset) => {
      const inner = of.drop(emit, `(${offset} + ${at})`);
      return inner === '' ? '' : `if (h.dv.getUint8(${offset}) !== 0) { ${inner} }`;
    },
  };
}

/** What a fixed array reads as. */
export interface FixedArray<T, I = T> extends Iterable<T> {
  readonly length: number;
  /** Throws OutOfRange. */
  get(index: number): T;
  /** Throws OutOfRange. */
  set(index: number, value: I): void;
  fill(value: I): void;
  toArray(): T[];
}

/** `length` elements in place. */
export function array<T, I>(of: Field<T, I>, length: number): Field<FixedArray<T, I>, Iterable<I>> {
  if (!Number.isInteger(length) || length < 1)
    throw new TwzError('TypeInvalid', `array(…, ${length}): the length must be a positive integer`, { length });
  const stride = Math.ceil(of.size / of.align) * of.align;
  const type = `array(${of.signature},${length})`;
  return {
    size: stride * length,
    align: of.align,
    signature: type,
    of,
    describe: { kind: 'array', type, of: of.describe, stride, length },
    load: (emit, at) => `return new (${emit.arrayClass(of, stride, length)})(h, ${at});`,
    store: (emit, at) =>
      `${emit.use('storeAll')}(new (${emit.arrayClass(of, stride, length)})(h, ${at}), v, ${emit.name()}, ${emit.checker(of, '[]')});`,
    check: (emit) => `v = ${emit.use('captureAll')}(h, v, ${length}, ${emit.name()}, ${emit.checker(of, '[]')});`,
    drop: (emit, at) => {
      const e = emit.fresh();
      const inner = of.drop(emit, e);
      return inner === '' ? '' : `for (let ${e} = ${at}, n${e} = 0; n${e} < ${length}; n${e}++, ${e} += ${stride}) { ${inner} }`;
    },
  };
}

/** What keys and values of LMDB mean: its own are bytes. */
import { TwzError } from '../../../abi/errors.ts';
import { optionalPackage } from '../packages.ts';
import type { Kind } from '../row-maps.ts';

const WIDTHS = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, u64: 8, i64: 8, f32: 4, f64: 8 } as const;
type Fixed = keyof typeof WIDTHS;
type Wide = Exclude<Fixed, 'u8' | 'i8'>;

/**
 * `auto` is text where all is text without control characters, else bytes; integers where the database says so. `msgpack` and
 * `ordered-binary` are those of the npm package lmdb, and need the packages msgpackr and ordered-binary.
 */
export type LmdbEncodingName =
  | 'auto'
  | 'text'
  | 'bytes'
  | 'json'
  | 'msgpack'
  | 'ordered-binary'
  | 'bool'
  | 'u8'
  | 'i8'
  | `${Wide}${'le' | 'be'}`;

const WIDE: readonly Wide[] = ['u16', 'i16', 'u32', 'i32', 'u64', 'i64', 'f32', 'f64'];
export const LMDB_ENCODINGS: readonly LmdbEncodingName[] = [
  'auto',
  'text',
  'bytes',
  'json',
  'msgpack',
  'ordered-binary',
  'bool',
  'u8',
  'i8',
  ...WIDE.flatMap((kind): LmdbEncodingName[] => [`${kind}le`, `${kind}be`]),
];

/** An encoding of one's own. */
export interface LmdbCodec {
  decode(bytes: Uint8Array): unknown;
  /** Needed for writing. */
  encode?(value: unknown): Uint8Array;
}

export type LmdbEncoding = LmdbEncodingName | LmdbCodec;

export interface LmdbEncodings {
  /** What keys are (default: auto). */
  readonly keys?: LmdbEncoding;
  /** What values are (default: auto). */
  readonly values?: LmdbEncoding;
}

export interface Encoding {
  /** Empty for one of the caller's own. */
  readonly name: string;
  /** What it holds; undefined where each value says so itself. */
  readonly kind: Kind | undefined;
  /** Its bytes, where all have as many. */
  readonly size: number | undefined;
  /** The result keeps nothing of the bytes. Throws an error with a reason. */
  decode(bytes: Uint8Array): unknown;
  encode(value: unknown): Uint8Array;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Whether bytes are text that nobody took for numbers. */
export function isPlainText(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte < 32 && byte !== 9 && byte !== 10 && byte !== 13) return false;
  try {
    utf8.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

function misfit(value: unknown, expected: string): never {
  throw new TypeError(`expected ${expected}, found ${shown(value)}`);
}

export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60));
  if (value instanceof Uint8Array)
    return `${value.length} bytes${value.length > 24 ? '' : ` (${[...value].map((byte) => byte.toString(16).padStart(2, '0')).join('')})`}`;
  if (Array.isArray(value)) return `[${value.slice(0, 8).map(shown).join(', ')}]`;
  return typeof value === 'object' && value !== null ? `a value of the kind ${value.constructor?.name ?? 'Object'}` : String(value);
}

export const TEXT: Encoding = {
  name: 'text',
  kind: 'text',
  size: undefined,
  decode(bytes) {
    try {
      return utf8.decode(bytes);
    } catch (cause) {
      throw new TypeError(`expected a text, found ${shown(bytes)}`, { cause });
    }
  },
  encode: (value) => (typeof value === 'string' ? encoder.encode(value) : misfit(value, 'a text')),
};

export const BYTES: Encoding = {
  name: 'bytes',
  kind: 'bytes',
  size: undefined,
  decode: (bytes) => bytes.slice(),
  encode: (value) => (value instanceof Uint8Array ? value : misfit(value, 'bytes')),
};

const BOOL: Encoding = {
  name: 'bool',
  kind: 'bool',
  size: 1,
  decode: (bytes) => (bytes.length === 1 && (bytes[0] ?? 2) < 2 ? bytes[0] === 1 : misfit(bytes, 'one byte, 0 or 1')),
  encode: (value) => (typeof value === 'boolean' ? Uint8Array.of(value ? 1 : 0) : misfit(value, 'true or false')),
};

/** What JSON tells again as it was. */
function checkJson(value: unknown): void {
  if (typeof value === 'number' && !Number.isFinite(value)) misfit(value, 'a number that JSON has');
  if (typeof value === 'bigint' || value instanceof Uint8Array) misfit(value, 'what JSON has');
  if (typeof value === 'object' && value !== null) for (const inner of Object.values(value)) checkJson(inner);
}

const JSON_TEXT: Encoding = {
  name: 'json',
  kind: undefined,
  size: undefined,
  decode(bytes) {
    const value: unknown = JSON.parse(utf8.decode(bytes));
    return value;
  },
  encode(value) {
    // Integers of 64 bits are written as numbers where these are exact.
    const plain: unknown = Array.isArray(value) ? value.map(narrowed) : isRecord(value) ? mapFields(value, narrowed) : narrowed(value);
    checkJson(plain);
    return encoder.encode(JSON.stringify(plain));
  },
};

function narrowed(value: unknown): unknown {
  return typeof value === 'bigint' && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

export function mapFields(record: Readonly<Record<string, unknown>>, change: (value: unknown) => unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]));
}

const MIN: Readonly<Partial<Record<Fixed, bigint>>> = { i8: -(2n ** 7n), i16: -(2n ** 15n), i32: -(2n ** 31n), i64: -(2n ** 63n) };

/** Numbers of a width. Those of 64 bits are bigints where that is asked for. */
function fixed(kind: Fixed, little: boolean, bigints: boolean): Encoding {
  const size = WIDTHS[kind];
  const float = kind === 'f32' || kind === 'f64';
  const wide = kind === 'u64' || kind === 'i64';
  const low = MIN[kind] ?? 0n;
  const high = low + 2n ** BigInt(size * 8) - 1n;
  const name = size === 1 ? kind : `${kind}${little ? 'le' : 'be'}`;
  const read = (view: DataView): bigint | number => {
    switch (kind) {
      case 'u8':
        return view.getUint8(0);
      case 'i8':
        return view.getInt8(0);
      case 'u16':
        return view.getUint16(0, little);
      case 'i16':
        return view.getInt16(0, little);
      case 'u32':
        return view.getUint32(0, little);
      case 'i32':
        return view.getInt32(0, little);
      case 'u64':
        return view.getBigUint64(0, little);
      case 'i64':
        return view.getBigInt64(0, little);
      case 'f32':
        return view.getFloat32(0, little);
      case 'f64':
        return view.getFloat64(0, little);
    }
  };
  return {
    name,
    kind: wide && bigints ? (kind === 'u64' ? 'bigU64' : 'bigI64') : kind,
    size,
    decode(bytes) {
      if (bytes.length !== size) misfit(bytes, `${size} bytes of ${name}`);
      const value = read(new DataView(bytes.buffer, bytes.byteOffset, size));
      if (!wide || bigints) return value;
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : misfit(value, 'an integer up to 2^53 - 1 (larger ones: import them as bigints)');
    },
    encode(value) {
      const bytes = new Uint8Array(size);
      const view = new DataView(bytes.buffer);
      if (float) {
        if (typeof value !== 'number') return misfit(value, `a number for ${name}`);
        if (kind === 'f64') view.setFloat64(0, value, little);
        else if (Object.is(Math.fround(value), value)) view.setFloat32(0, value, little);
        else misfit(value, 'a number of 32 bits');
        return bytes;
      }
      const integer =
        typeof value === 'bigint' ? value : Number.isInteger(value) ? BigInt(value as number) : misfit(value, `an integer for ${name}`);
      if (integer < low || integer > high) misfit(value, `an integer from ${low} to ${high} for ${name}`);
      if (size === 8) view.setBigUint64(0, BigInt.asUintN(64, integer), little);
      else for (let i = 0; i < size; i++) bytes[little ? i : size - 1 - i] = Number((integer >> BigInt(i * 8)) & 255n);
      return bytes;
    },
  };
}

/** Bytes of their own, with room behind them: the package reads whole words. */
function padded(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(new ArrayBuffer(((bytes.length + 3) & ~3) + 16), 0, bytes.length);
  copy.set(bytes);
  return copy;
}

async function orderedBinary(): Promise<Encoding> {
  const { fromBufferKey, toBufferKey } = await optionalPackage('ordered-binary', 'ordered-binary', () => import('ordered-binary'));
  return {
    name: 'ordered-binary',
    kind: undefined,
    size: undefined,
    decode: (bytes) => fromBufferKey(padded(bytes)),
    encode: (value) => Uint8Array.from(toBufferKey(value)),
  };
}

/** `structures` is what the npm package keeps under a symbol, where records share it. */
async function messagePack(): Promise<Encoding & { share(structures: unknown[]): void }> {
  const { Packr } = await optionalPackage('msgpack', 'msgpackr', () => import('msgpackr'));
  let reading = new Packr({ mapsAsObjects: true });
  const writing = new Packr();
  return {
    name: 'msgpack',
    kind: undefined,
    size: undefined,
    decode: (bytes) => reading.unpack(bytes.slice()),
    encode: (value) => Uint8Array.from(writing.pack(value)),
    share(structures) {
      reading = new Packr({ mapsAsObjects: true, structures });
    },
  };
}

/** Takes in what records of msgpack share, where an encoding knows such. */
export function shareStructures(encoding: Encoding, structures: unknown[]): boolean {
  if (!('share' in encoding) || typeof encoding.share !== 'function') return false;
  encoding.share(structures);
  return true;
}

/** Undefined for `auto`. Throws InvalidArgument, PackageMissing. */
export async function encodingOf(said: LmdbEncoding, bigints: boolean): Promise<Encoding | undefined> {
  if (typeof said === 'object') {
    const unwritable = (): never => {
      throw new TwzError('InvalidArgument', 'the encoding has no function `encode`');
    };
    return {
      name: '',
      kind: undefined,
      size: undefined,
      decode: (bytes) => said.decode(bytes.slice()),
      encode: said.encode?.bind(said) ?? unwritable,
    };
  }
  switch (said) {
    case 'auto':
      return undefined;
    case 'text':
      return TEXT;
    case 'bytes':
      return BYTES;
    case 'json':
      return JSON_TEXT;
    case 'bool':
      return BOOL;
    case 'msgpack':
      return messagePack();
    case 'ordered-binary':
      return orderedBinary();
    default: {
      const [, kind = '', order] = /^(.*?)(le|be)?$/.exec(said) ?? [];
      if (!LMDB_ENCODINGS.includes(said) || !isFixed(kind))
        throw new TwzError('InvalidArgument', `"${said}" is no encoding of keys or values: one of ${LMDB_ENCODINGS.join(', ')}`, {
          encoding: said,
        });
      return fixed(kind, order === 'le', bigints);
    }
  }
}

function isFixed(kind: string): kind is Fixed {
  return Object.hasOwn(WIDTHS, kind);
}

/** Integers of a database that says that it has such. */
export function integersOf(size: number, bigints: boolean): Encoding {
  return size === 4 ? fixed('u32', true, bigints) : size === 8 ? fixed('u64', true, bigints) : BYTES;
}

/** What a kind of ours is written as, if nothing else is said: texts and bytes as they are, numbers with the most significant byte first. */
export function usualEncoding(kind: Kind): Encoding {
  switch (kind) {
    case 'text':
      return TEXT;
    case 'bytes':
      return BYTES;
    case 'bool':
      return BOOL;
    case 'bigU64':
      return fixed('u64', false, true);
    case 'bigI64':
      return fixed('i64', false, true);
    default:
      return fixed(kind, false, false);
  }
}

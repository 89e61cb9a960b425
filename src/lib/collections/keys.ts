/**
 * Keys of collections. Every key is a sequence of bytes whose order is the order of the keys (unsigned bytes, a prefix first), so that
 * hashing, comparing and searching are the same for all types:
 *
 *   number   big-endian, the sign bit flipped; a floating-point number's other bits too where it is negative
 *   text     UTF-8: the order is that of code points
 *   tuple    its parts in a row; text and bytes in it end with 0 0, and a zero byte of theirs is written 0 255
 *   collated the folded text, and if that is another, 255 and the text itself; the folded part alone is compared
 *            in a tuple: the folded text alone is a part; behind the parts lie the texts themselves
 *   ref      the target's ID (16 bytes), zero where that is the object which the collection lies in; then its offset (4, big-endian). Null is
 *            all zeros. Beside the key its record holds a pointer, so that the FOT knows what is referred to
 *
 * A key that is looked for is encoded into one scratch area, as whole words with zeros behind its end, and stored the same way.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { Field } from '../fields.ts';
import { unfit } from '../runtime.ts';
import { area, KEY_MAX, SCRATCH, type KeyCodec, type Link } from './key-scratch.ts';
import { linkBytes, linkedBytesKey, linksOf, placeKey, referenceKey, type LinkedBytes, type PlaceKey } from './reference-keys.ts';

export { KEY_MAX, SCRATCH, type KeyCodec, type Scratch } from './key-scratch.ts';

/** Keys of a type that has no prefixes were asked for by one. */
export function refusePrefix(signature: string, prefix: unknown): never {
  const instead = signature.startsWith('tuple(')
    ? 'for all tuples that begin with a part, give a range from it with the least of what follows: { from: [part, least], through: [part, most] }'
    : 'give a range: { from, to }';
  throw new TwzError(
    typeof prefix === 'number' ? 'OutOfRange' : 'ValueMismatch',
    `prefix: keys of the type ${signature} have none; text, bytes and collations of text do. Here ${instead}`,
    {
      field: 'prefix',
    },
  );
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

function tooLong(length: number): never {
  throw new TwzError('OutOfRange', `a key of ${length} bytes; the limit is ${KEY_MAX}`, { length });
}

function seal(length: number): void {
  // Zeros up to the next word and one word more.
  SCRATCH.bytes.fill(0, length, ((length + 3) & ~3) + 4);
  SCRATCH.length = SCRATCH.stored = length;
}

// --- numbers ----------------------------------------------------------------------------------------------------------------

function swap(word: number): number {
  return ((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

function put32(key: number): void {
  SCRATCH.words[0] = swap(key);
  SCRATCH.words[1] = 0;
  SCRATCH.length = SCRATCH.stored = 4;
}

function put64(high: number, low: number): void {
  SCRATCH.words[0] = swap(high);
  SCRATCH.words[1] = swap(low);
  SCRATCH.words[2] = 0;
  SCRATCH.length = SCRATCH.stored = 8;
}

function high32(h: ObjectHandle, at: number): number {
  return h.dv.getInt32(at, false);
}

function integer(type: string, low: number, high: number, flip: number): KeyCodec<number> {
  return {
    signature: type,
    size: 4,
    exact: true,
    prefixes: false,
    links: 0,
    encode(key) {
      if (typeof key !== 'number' || !(key >= low && key <= high) || (flip === 0 ? key >>> 0 : key | 0) !== key) unfit('a key', key, type);
      put32(key ^ flip);
    },
    decode: flip === 0 ? (h, at) => high32(h, at) >>> 0 : (h, at) => high32(h, at) ^ flip,
  };
}

const SIGN = -0x80000000;

function wide(type: 'u64' | 'i64', low: number, flip: number): KeyCodec<number> {
  return {
    signature: type,
    size: 8,
    exact: false,
    prefixes: false,
    links: 0,
    encode(key) {
      if (!Number.isSafeInteger(key) || key < low) unfit('a key', key, `${type} up to 2^53 - 1`);
      put64(Math.floor(key / 2 ** 32) ^ flip, key | 0);
    },
    decode: (h, at) => (flip === 0 ? high32(h, at) >>> 0 : high32(h, at) ^ flip) * 2 ** 32 + h.dv.getUint32(at + 4, false),
  };
}

function big(type: 'bigU64' | 'bigI64', low: bigint, high: bigint): KeyCodec<bigint> {
  const view = new DataView(area);
  const flip = low < 0n ? SIGN : 0;
  return {
    signature: type,
    size: 8,
    exact: false,
    prefixes: false,
    links: 0,
    encode(key) {
      if (typeof key !== 'bigint' || key < low || key > high) unfit('a key', key, type);
      view.setBigInt64(0, BigInt.asIntN(64, key), false);
      SCRATCH.words[0] = (SCRATCH.words[0] as number) ^ (flip === 0 ? 0 : 0x80);
      SCRATCH.words[2] = 0;
      SCRATCH.length = SCRATCH.stored = 8;
    },
    decode: (h, at) => (flip === 0 ? h.dv.getBigUint64(at, false) : BigInt.asIntN(64, h.dv.getBigUint64(at, false) ^ 0x8000000000000000n)),
  };
}

const floats = new Float64Array(1);
const floatWords = new Int32Array(floats.buffer);

const float64: KeyCodec<number> = {
  signature: 'f64',
  size: 8,
  exact: false,
  prefixes: false,
  links: 0,
  encode(key) {
    if (typeof key !== 'number') unfit('a key', key, 'a number');
    // One zero and one NaN, as in a Map; NaN comes last.
    floats[0] = key === 0 ? 0 : key;
    const high = floatWords[1] as number;
    const low = floatWords[0] as number;
    if (Number.isNaN(key)) put64(-1, -1);
    else if (high < 0) put64(~high, ~low);
    else put64(high ^ SIGN, low);
  },
  decode(h, at) {
    const high = high32(h, at);
    const low = h.dv.getInt32(at + 4, false);
    if (high === -1 && low === -1) return Number.NaN;
    floatWords[1] = high < 0 ? high ^ SIGN : ~high;
    floatWords[0] = high < 0 ? low : ~low;
    return floats[0] as number;
  },
};

const truth: KeyCodec<boolean> = {
  signature: 'bool',
  size: 4,
  exact: true,
  prefixes: false,
  links: 0,
  encode(key) {
    if (typeof key !== 'boolean') unfit('a key', key, 'bool');
    put32(key ? 1 : 0);
  },
  decode: (h, at) => high32(h, at) !== 0,
};

// --- text and bytes -----------------------------------------------------------------------------------------------------------

/** Writes UTF-8 at `at` of the scratch area; returns where it ends. */
function putText(key: string, at: number): number {
  if (key.length > KEY_MAX - at) tooLong(at + key.length);
  const { written, read } = encoder.encodeInto(key, SCRATCH.bytes.subarray(at, KEY_MAX));
  if (read < key.length) tooLong(at + key.length * 2);
  return at + written;
}

export function decodeText(h: ObjectHandle, at: number, length: number): string {
  const { dv } = h;
  if (length > 32) return decoder.decode(h.u8.slice(at, at + length));
  let short = '';
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    const w = dv.getInt32(at + i, true);
    if ((w & 0x80808080) !== 0) return decoder.decode(h.u8.slice(at, at + length));
    short += String.fromCharCode(w & 127, (w >>> 8) & 127, (w >>> 16) & 127, w >>> 24);
  }
  for (; i < length; i++) {
    const c = dv.getUint8(at + i);
    if (c > 127) return decoder.decode(h.u8.slice(at, at + length));
    short += String.fromCharCode(c);
  }
  return short;
}

const textKey: KeyCodec<string> = {
  signature: 'text',
  size: 0,
  exact: false,
  prefixes: true,
  links: 0,
  encode(key) {
    if (typeof key !== 'string') unfit('a key', key, 'a string');
    const n = key.length;
    if (n > KEY_MAX) tooLong(n);
    const { words } = SCRATCH;
    let i = 0;
    for (; i + 4 <= n; i += 4) {
      const a = key.charCodeAt(i);
      const b = key.charCodeAt(i + 1);
      const c = key.charCodeAt(i + 2);
      const d = key.charCodeAt(i + 3);
      if ((a | b | c | d) > 127) {
        seal(putText(key, 0));
        return;
      }
      words[i >> 2] = a | (b << 8) | (c << 16) | (d << 24);
    }
    let last = 0;
    for (let shift = 0, j = i; j < n; j++, shift += 8) {
      const c = key.charCodeAt(j);
      if (c > 127) {
        seal(putText(key, 0));
        return;
      }
      last |= c << shift;
    }
    words[i >> 2] = last;
    words[(i >> 2) + 1] = 0;
    SCRATCH.length = SCRATCH.stored = n;
  },
  decode: decodeText,
};

const bytesKey: KeyCodec<Uint8Array> = {
  signature: 'bytes',
  size: 0,
  exact: false,
  prefixes: true,
  links: 0,
  encode(key) {
    if (!(key instanceof Uint8Array)) unfit('a key', key, 'a Uint8Array');
    if (key.length > KEY_MAX) tooLong(key.length);
    SCRATCH.bytes.set(key);
    seal(key.length);
  },
  decode: (h, at, length) => h.u8.slice(at, at + length),
};

// --- collations -------------------------------------------------------------------------------------------------------------

/** Texts as keys that are compared by what `fold` makes of them; the text itself is kept. */
export interface Collation {
  readonly kind: 'collation';
  readonly name: string;
  readonly fold: (text: string) => string;
}

/**
 * A key type for texts that are the same if `fold` says so, and ordered by its result. The name is stored with the type: another rule
 * needs another name.
 */
export function collation(name: string, fold: (text: string) => string): Collation {
  return { kind: 'collation', name, fold };
}

/** Texts that differ only in case are the same key. */
export const caseless: Collation = collation('caseless', (value) => value.toLowerCase());

function collated({ name, fold }: Collation): KeyCodec<string> {
  const compared = (h: ObjectHandle, at: number, length: number): number => {
    for (let i = 0; i < length; i++) if (h.dv.getUint8(at + i) === 255) return i;
    return length;
  };
  return {
    signature: `collation(${JSON.stringify(name)})`,
    size: 0,
    exact: false,
    prefixes: true,
    links: 0,
    compared,
    encode(key) {
      if (typeof key !== 'string') unfit('a key', key, 'a string');
      const folded = fold(key);
      const length = putText(folded, 0);
      if (folded === key) {
        seal(length);
        return;
      }
      SCRATCH.bytes[length] = 255;
      seal(putText(key, length + 1));
      SCRATCH.length = length;
    },
    decode(h, at, length) {
      const end = compared(h, at, length);
      return end === length ? decodeText(h, at, length) : decodeText(h, at + end + 1, length - end - 1);
    },
  };
}

// --- tuples -----------------------------------------------------------------------------------------------------------------

/** Several keys in a row, ordered by the first, then by the second, and so on. */
export interface Tuple<T extends readonly unknown[]> {
  readonly kind: 'tuple';
  readonly parts: { readonly [I in keyof T]: KeyType<T[I]> };
}

/** A key type of several parts: `tuple(text, u32)` has keys like `['Bob', 5]`. */
export function tuple<const P extends readonly AnyKeyType[]>(...parts: P): Tuple<{ -readonly [I in keyof P]: KeyOf<P[I]> }> {
  const kept: unknown = parts;
  return { kind: 'tuple', parts: kept as Tuple<{ -readonly [I in keyof P]: KeyOf<P[I]> }>['parts'] };
}

/** Ends the key of a tuple that has collations: so many bytes are compared. */
const TRAILER = 4;
/** Stands for the length of a text that is what was folded to. */
const SAME = 0xffffffff;

function tupleKey(
  codecs: readonly KeyCodec<unknown>[],
  folds: readonly (((text: string) => string) | undefined)[],
): KeyCodec<readonly unknown[]> {
  const size = codecs.every((codec) => codec.size > 0) ? codecs.reduce((sum, codec) => sum + codec.size, 0) : 0;
  const parts = new Uint8Array(area.byteLength);
  const view = new DataView(parts.buffer);
  const folded = folds.some((fold) => fold !== undefined);
  const compared = (h: ObjectHandle, at: number, length: number): number =>
    length < TRAILER ? 0 : Math.min(length - TRAILER, h.dv.getUint32(at + length - TRAILER, true));

  /** Behind the parts: for each collation the length of the text itself, and that text where it is not the folded one. */
  function appendTexts(key: readonly unknown[], end: number): number {
    let at = end;
    for (const [i, fold] of folds.entries()) {
      if (fold === undefined) continue;
      const text = key[i] as string;
      if (at + TRAILER * 2 > KEY_MAX) tooLong(at + TRAILER * 2);
      if (fold(text) === text) {
        view.setUint32(at, SAME, true);
        at += 4;
        continue;
      }
      const to = putText(text, 0);
      if (at + to + TRAILER * 2 > KEY_MAX) tooLong(at + to);
      view.setUint32(at, to, true);
      parts.set(SCRATCH.bytes.subarray(0, to), at + 4);
      at += 4 + to;
    }
    view.setUint32(at, end, true);
    return at + TRAILER;
  }

  /** The texts of the collations, undefined where they are the folded ones. */
  function textsIn(h: ObjectHandle, at: number, length: number): (string | undefined)[] {
    const end = at + length - TRAILER;
    let place = at + compared(h, at, length);
    const text = (): string | undefined => {
      if (place + 4 > end) return undefined;
      const bytes = h.dv.getUint32(place, true);
      place += 4;
      if (bytes === SAME || place + bytes > end) return undefined;
      place += bytes;
      return decodeText(h, place - bytes, bytes);
    };
    return folds.map((fold) => (fold === undefined ? undefined : text()));
  }

  return {
    signature: `tuple(${codecs.map((codec) => codec.signature).join(',')})`,
    size,
    exact: false,
    prefixes: false,
    links: codecs.reduce((sum, codec) => sum + codec.links, 0),
    compared: folded ? compared : undefined,
    encode(key, home) {
      if (!Array.isArray(key) || key.length !== codecs.length) unfit('a key', key, `an array of ${codecs.length} parts`);
      let at = 0;
      const links: Link[] = [];
      for (const [i, codec] of codecs.entries()) {
        codec.encode(key[i], home);
        if (codec.links > 0) links.push(...SCRATCH.links.slice(0, codec.links));
        // Of a collation the folded text.
        if (folds[i] !== undefined) SCRATCH.stored = SCRATCH.length;
        at = appendPart(parts, at, codec.size);
      }
      const stored = folded ? appendTexts(key, at) : at;
      SCRATCH.bytes.set(parts.subarray(0, stored));
      seal(stored);
      SCRATCH.length = at;
      for (const [i, link] of links.entries()) SCRATCH.links[i] = link;
    },
    decode(h, at, length, links) {
      const key: unknown[] = [];
      const texts = folded ? textsIn(h, at, length) : [];
      const end = at + (folded ? compared(h, at, length) : length);
      for (const [i, codec] of codecs.entries()) {
        if (codec.size > 0) {
          key.push(codec.decode(h, at, codec.size, links));
          at += codec.size;
          links += codec.links * 8;
          continue;
        }
        const part: number[] = [];
        while (at < end) {
          const byte = h.dv.getUint8(at++);
          if (byte === 0 && h.dv.getUint8(at++) === 0) break;
          part.push(byte);
        }
        if (texts[i] !== undefined) {
          key.push(texts[i]);
          continue;
        }
        // What decodes it reads through a view alone.
        const u8 = Uint8Array.from(part);
        key.push(codec.decode({ ...EMPTY, u8, dv: new DataView(u8.buffer) }, 0, u8.length, 0));
      }
      return key;
    },
  };
}

const EMPTY: Pick<ObjectHandle, never> & ObjectHandle = Object.create(null);

/** Appends the key in the scratch area as a part of a tuple. */
function appendPart(parts: Uint8Array, at: number, size: number): number {
  const { bytes: from, stored } = SCRATCH;
  if (at + stored * 2 + 2 > KEY_MAX) tooLong(at + stored);
  if (size > 0) {
    parts.set(from.subarray(0, stored), at);
    return at + stored;
  }
  for (let i = 0; i < stored; i++) {
    const byte = from[i] as number;
    parts[at++] = byte;
    if (byte === 0) parts[at++] = 255;
  }
  parts[at++] = 0;
  parts[at++] = 0;
  return at;
}

// --- from fields ------------------------------------------------------------------------------------------------------------

/** What can be a key: a field of a number, bool, text, bytes, oneOf or a reference, a collation, or a tuple of such. */
export type KeyType<K> = Field<K, K> | Collation | Tuple<K & readonly unknown[]>;

/** Any key type, whatever its keys. */
export type AnyKeyType =
  | Field<unknown, never>
  | Collation
  | LinkedBytes
  | PlaceKey
  | { readonly kind: 'tuple'; readonly parts: readonly unknown[] };

/** The type of the keys of a key type. */
export type KeyOf<T> = T extends Collation
  ? string
  : T extends LinkedBytes
    ? Uint8Array
    : T extends Tuple<infer P>
      ? P
      : T extends Field<infer V, infer _I>
        ? V
        : never;

const U32 = integer('u32', 0, 0xffffffff, 0);

const BY_TYPE: Readonly<Record<string, unknown>> = {
  'number u8': integer('u8', 0, 255, 0),
  'number u16': integer('u16', 0, 65535, 0),
  'number u32': U32,
  'number i8': integer('i8', -128, 127, SIGN),
  'number i16': integer('i16', -32768, 32767, SIGN),
  'number i32': integer('i32', SIGN, 0x7fffffff, SIGN),
  'number f64': float64,
  'number f32': float64,
  'number u64': wide('u64', 0, 0),
  'number i64': wide('i64', Number.MIN_SAFE_INTEGER, SIGN),
  'bigint u64': big('bigU64', 0n, 0xffffffffffffffffn),
  'bigint i64': big('bigI64', -0x8000000000000000n, 0x7fffffffffffffffn),
  'bool bool': truth,
  'text text': textKey,
  'bytes bytes': bytesKey,
};

function oneOfKey(values: readonly string[], signature: string): KeyCodec<string> {
  const positions = new Map(values.map((value, i) => [value, i]));
  return {
    ...U32,
    signature,
    encode(key) {
      put32(positions.get(key) ?? unfit('a key', key, `one of ${values.join(', ')}`));
    },
    decode: (h, at) => values[high32(h, at)] ?? h.corrupt(at, 'not a value of the enumeration'),
  };
}

/** The codec of a key type. Throws TypeInvalid where it cannot be a key. */
export function keyCodec<K>(type: KeyType<K>): KeyCodec<K> {
  const codec: unknown = codecOf(type);
  return codec as KeyCodec<K>;
}

function codecOf(type: unknown): unknown {
  if (isKind(type, 'stored')) return (type as { readonly codec: unknown }).codec;
  if (isKind(type, 'collation')) return collated(type as Collation);
  if (isKind(type, 'tuple')) {
    const { parts } = type as Tuple<readonly unknown[]>;
    if (parts.length === 0) throw new TwzError('TypeInvalid', 'a tuple of keys has at least one part');
    const codecs = parts.map((part) => codecOf(part) as KeyCodec<unknown>);
    for (const [i, part] of parts.entries()) {
      const { compared, links, size } = codecs[i] as KeyCodec<unknown>;
      if (isKind(part, 'tuple') && (compared !== undefined || (links > 0 && size === 0)))
        throw new TwzError(
          'TypeInvalid',
          'a tuple with a collation, or with a reference beside text or bytes, cannot be part of another: put its parts there',
        );
    }
    return tupleKey(
      codecs,
      parts.map((part: unknown) => (isKind(part, 'collation') ? (part as Collation).fold : undefined)),
    );
  }
  const field = type as Field<unknown>;
  const shape = typeof type === 'object' && type !== null && 'describe' in type ? field.describe : undefined;
  if (isKind(type, 'linkedBytes')) return linkedBytesKey((type as LinkedBytes).links, bytesKey);
  if (isKind(type, 'place')) return placeKey((type as PlaceKey).type);
  if (shape?.kind === 'ref') return referenceKey(type as Field<object | null>);
  if (shape?.kind === 'oneOf') return oneOfKey(shape.values, shape.type);
  const codec = shape === undefined ? undefined : BY_TYPE[`${shape.kind} ${shape.type}`];
  if (codec === undefined)
    throw new TwzError(
      'TypeInvalid',
      `${shape?.type ?? String(type)} cannot be a key; numbers, text, bytes, bool, oneOf, references, collations and tuples can`,
    );
  return codec;
}

/** Puts a key as it is stored into the scratch area. */
export function encodeBytes<K>(codec: KeyCodec<K>, key: Uint8Array): void {
  SCRATCH.bytes.set(key);
  seal(key.length);
  if (codec.compared !== undefined) {
    const handle = { ...EMPTY, u8: key, dv: new DataView(key.buffer, key.byteOffset, key.length) };
    SCRATCH.length = codec.compared(handle, 0, key.length);
  }
}

/** A key type whose keys are the bytes that are stored of those of `type`, to take them from one collection to another as they are. */
export function storedKey(type: AnyKeyType, resolve: (h: ObjectHandle, pointer: number) => Link): AnyKeyType {
  const codec = keyCodec(type as KeyType<unknown>);
  const { links } = codec;
  const stored: KeyCodec<Uint8Array> = {
    ...codec,
    encode(key) {
      encodeBytes(codec, key);
      for (const [i, link] of linksOf(key).entries()) SCRATCH.links[i] = link;
    },
    decode(h, at, length, pointers) {
      const key = h.u8.slice(at, at + length);
      if (links > 0)
        linkBytes(
          key,
          Array.from({ length: links }, (_, i) => resolve(h, pointers + i * 8)),
        );
      return key;
    },
  };
  const made: unknown = { kind: 'stored', codec: stored };
  return made as AnyKeyType;
}

function isKind(type: unknown, kind: string): boolean {
  return typeof type === 'object' && type !== null && 'kind' in type && type.kind === kind;
}

/** The reference fields in a key type, for schemas. */
export function referencesIn(type: AnyKeyType): readonly object[] {
  if ('kind' in type) return type.kind === 'tuple' ? type.parts.flatMap((part) => referencesIn(part as AnyKeyType)) : [];
  return type.describe.kind === 'ref' ? [type] : [];
}

/**
 * Records: where a map keeps a key and its value, in one block that never moves while the key is there. So references may lead to a value.
 *
 *   0                    the value, where all values have one size (a field as in a struct)
 *   then                 u32 length of the key, where keys differ in size
 *   then                 u32 length of the value, where values do: text and bytes
 *   then, 8-aligned      a pointer for each reference in the key: so the FOT counts them, and tools find them
 *   then                 the key, with zeros up to a multiple of 4; then the value's bytes
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { Emitter } from '../emit.ts';
import type { Field } from '../fields.ts';
import { unfit, wipe } from '../runtime.ts';
import type { Link } from './key-scratch.ts';
import { SCRATCH, decodeText, type KeyCodec, type Scratch } from './keys.ts';
import { specialize } from './specialize.ts';

/** How values are kept. */
export interface ValueCodec<V, I> {
  readonly signature: string;
  /** Bytes in the record, or 0 where they differ. */
  readonly size: number;
  /** Where `size` is 0: `true` for text. */
  readonly isText: boolean;
  /** No values at all: a set. */
  readonly none: boolean;
  /** Where `size` is not 0. */
  readonly load: (h: ObjectHandle, at: number) => V;
  readonly store: (h: ObjectHandle, at: number, value: I) => void;
  /** Throws what `store` would throw, and changes nothing; returns what is to be stored. */
  readonly check: (value: I, h: ObjectHandle) => I;
  /** Gives back what the value owns beside its own bytes. */
  readonly drop: (h: ObjectHandle, at: number) => void;
  readonly drops: boolean;
  /** A struct, an array or a collection: storing another one begins with zeros. */
  readonly whole: boolean;
  /** The field, for tools. */
  readonly field: Field<V, I> | undefined;
}

/** Values longer than this are for a Blob or a Text. */
export const VALUE_MAX: number = 32 << 20;

const never = (): never => {
  throw new TwzError('NotSupported', 'this collection has no values');
};

export const NO_VALUE: ValueCodec<true, true> = {
  signature: '',
  size: 0,
  isText: false,
  none: true,
  load: never,
  store: never,
  check: (value) => value,
  drop: never,
  drops: false,
  whole: false,
  field: undefined,
};

/** The codec of a field that is used as an element or value. */
export function valueCodec<V, I>(field: Field<V, I>, what: string): ValueCodec<V, I> {
  if (typeof field !== 'object' || field === null || !('load' in field) || !('describe' in field))
    throw new TwzError('TypeInvalid', `${what}: not a field; use u32, text, a struct, ref(…) and the like`);
  const { kind } = field.describe;
  let check: ValueCodec<V, I>['check'] | undefined;
  const checker = (): ValueCodec<V, I>['check'] => {
    if (check !== undefined) return check;
    const emit = new Emitter();
    emit.what = what;
    return (check = emit.build(`return function (v, h) { ${field.check?.(emit) ?? ''} return v; }`) as ValueCodec<V, I>['check']);
  };
  if (kind === 'text' || kind === 'bytes')
    return {
      signature: field.signature,
      size: 0,
      isText: kind === 'text',
      none: false,
      load: never,
      store: never,
      get check() {
        return checker();
      },
      drop: never,
      drops: false,
      whole: false,
      field,
    };
  let load: ValueCodec<V, I>['load'] | undefined;
  let store: ValueCodec<V, I>['store'] | undefined;
  let drop: ValueCodec<V, I>['drop'] | undefined;
  const compiled = (parameters: string, make: (emit: Emitter) => string): unknown => {
    const emit = new Emitter();
    emit.what = what;
    return emit.build(`return function (${parameters}) { ${make(emit)} }`);
  };
  const codec: ValueCodec<V, I> = {
    signature: field.signature,
    size: Math.ceil(field.size / 4) * 4,
    isText: false,
    none: false,
    whole: kind === 'struct' || kind === 'array' || kind === 'collection',
    field,
    // On first use: the struct of a reference may be declared later.
    get load() {
      return (load ??= compiled('h, place', (emit) => field.load(emit, 'place')) as ValueCodec<V, I>['load']);
    },
    get store() {
      return (store ??= compiled('h, place, v', (emit) => field.store(emit, 'place')) as ValueCodec<V, I>['store']);
    },
    get check() {
      return checker();
    },
    get drop() {
      return (drop ??= compiled('h, place, v', (emit) => field.drop(emit, 'place')) as ValueCodec<V, I>['drop']);
    },
    get drops() {
      return field.drop(new Emitter(), 'place') !== '';
    },
  };
  return codec;
}

/** The same with all its parts made, as a plain object: one with getters is slow to look into. */
export function made<V, I>(codec: ValueCodec<V, I>): ValueCodec<V, I> {
  const { signature, size, isText, none, load, store, check, drop, drops, whole, field } = codec;
  return { signature, size, isText, none, load, store, check, drop, drops, whole, field };
}

export interface Records<K, V, I> {
  /** Hash of the key in the scratch area. */
  hash(seed: number): number;
  /** Puts a value of text or bytes in place and returns the bytes that a record for it and the scratch key takes. Throws ValueMismatch. */
  sizeFor(value: I): number;
  /** Writes the scratch key, and the text or bytes that `sizeFor` saw last, into a new record. If it throws, the record owns nothing. */
  write(h: ObjectHandle, at: number): void;
  /** Has the record the scratch key? */
  equals(h: ObjectHandle, at: number): boolean;
  /** Its key less the scratch key: negative, 0 or positive. */
  compare(h: ObjectHandle, at: number): number;
  /** How many bytes the scratch key has in common, at its beginning, with this record's key, which it is above; -1 where it is not above. */
  above(h: ObjectHandle, at: number): number;
  /** As `compare`, for a key of `length` bytes at `at`. */
  compareKey(h: ObjectHandle, at: number, length: number): number;
  /** Four bytes of the scratch key from byte `skip` on, as a big-endian number. */
  head(skip: number): number;
  key(h: ObjectHandle, at: number): K;
  /** Puts the record's key into the scratch area. */
  recall(h: ObjectHandle, at: number): void;
  value(h: ObjectHandle, at: number): V;
  /** Stores a value, one that was checked, over another. False where the record is not of the right size for it. */
  replace(h: ObjectHandle, at: number, value: I): boolean;
  /** Gives back what the value owns, and the pointers of the key. */
  drop(h: ObjectHandle, at: number): void;
  /** Is there ever anything to drop? */
  readonly drops: boolean;
  /** Where a value of text or bytes lies, and how long it is. */
  valueAt(h: ObjectHandle, at: number): number;
  valueLength(h: ObjectHandle, at: number): number;
  /** Offset of the key in a record, and its length. */
  keyAt: number;
  keyLength(h: ObjectHandle, at: number): number;
}

/** What the factory below uses. */
export interface RecordTools {
  readonly encodeInto: (text: string, into: Uint8Array) => number;
  readonly unfit: (field: string, value: unknown, expected: string) => never;
  readonly tooLong: (length: number) => never;
  readonly text: (h: ObjectHandle, at: number, length: number) => string;
  /** A copy. */
  readonly bytes: (h: ObjectHandle, at: number, length: number) => Uint8Array;
  /** There is nothing to view. */
  readonly notBytes: () => never;
  readonly wipe: (h: ObjectHandle, at: number, length: number) => void;
}

const encoder = new TextEncoder();

/** Copies up to this size are cut from a piece of memory for many, as Node's Buffer does it: a buffer of its own costs more than the copy. */
const SMALL = 4096;
let piece = new ArrayBuffer(0);
let taken = 0;

function copyOf(h: ObjectHandle, at: number, length: number): Uint8Array {
  if (length > SMALL) return h.u8.slice(at, at + length);
  if (taken + length > piece.byteLength) {
    piece = new ArrayBuffer(SMALL * 8);
    taken = 0;
  }
  const made = new Uint8Array(piece, taken, length);
  taken += (length + 7) & ~7;
  made.set(h.u8.subarray(at, at + length));
  return made;
}

const TOOLS: RecordTools = {
  encodeInto: (value, into) => encoder.encodeInto(value, into).written,
  unfit,
  tooLong(length) {
    throw new TwzError('OutOfRange', `a value of ${length} bytes; the limit in a collection is ${VALUE_MAX}`, { length });
  },
  notBytes() {
    throw new TwzError('NotSupported', 'only values of text or bytes can be viewed; get gives the others in place');
  },
  text: decodeText,
  bytes: copyOf,
  wipe,
};

function makeRecords<K, V, I>(K: KeyCodec<K>, V: ValueCodec<V, I>, S: Scratch, T: RecordTools, VALUE_LIMIT: number): Records<K, V, I> {
  const varKey = K.size === 0;
  const varValue = V.size === 0 && !V.none;
  const KEY_LENGTH = V.size;
  const VALUE_LENGTH = KEY_LENGTH + (varKey ? 4 : 0);
  const { links } = K;
  const LINKS = links === 0 ? 0 : (VALUE_LENGTH + (varValue ? 4 : 0) + 7) & ~7;
  const KEY = links === 0 ? VALUE_LENGTH + (varValue ? 4 : 0) : LINKS + links * 8;
  const { words } = S;
  const { compared } = K;
  const what = 'a value';
  /** The value that is being stored, encoded. */
  const nothing = new Uint8Array(0);
  let pending: Uint8Array = nothing;
  let buffer: Uint8Array = new Uint8Array(0);

  const keyLength = (h: ObjectHandle, at: number): number => (varKey ? h.dv.getUint32(at + KEY_LENGTH, true) : K.size);
  const valueAt = (h: ObjectHandle, at: number): number => at + KEY + ((keyLength(h, at) + 3) & ~3);

  function prepare(value: I): number {
    if (V.isText) {
      if (typeof value !== 'string') return T.unfit(what, value, 'a string');
      if (value.length > VALUE_LIMIT) T.tooLong(value.length);
      if (buffer.length < value.length * 3) buffer = new Uint8Array(Math.max(1024, value.length * 3));
      pending = buffer.subarray(0, T.encodeInto(value, buffer));
    } else {
      if (!(value instanceof Uint8Array)) return T.unfit(what, value, 'a Uint8Array');
      pending = value;
    }
    if (pending.length > VALUE_LIMIT) T.tooLong(pending.length);
    return pending.length;
  }

  function swap(word: number): number {
    return (((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
  }

  function partHead(from: Uint8Array, length: number, skip: number): number {
    let head = 0;
    for (let i = skip; i < skip + 4; i++) head = (head << 8) | (i < length ? (from[i] as number) : 0);
    return head >>> 0;
  }

  function compareKey(h: ObjectHandle, at: number, stored: number): number {
    const { dv } = h;
    const { length } = S;
    if (compared !== undefined) {
      const theirs = compared(h, at, stored);
      for (let i = 0; i < length && i < theirs; i++) {
        const difference = dv.getUint8(at + i) - (S.bytes[i] as number);
        if (difference !== 0) return difference;
      }
      return theirs - length;
    }
    // Both end with zeros up to a whole word.
    const shared = ((length < stored ? length : stored) + 3) >>> 2;
    for (let i = 0; i < shared; i++) {
      const a = dv.getInt32(at + i * 4, true);
      const b = words[i] as number;
      if (a !== b) return swap(a) < swap(b) ? -1 : 1;
    }
    return stored - length;
  }

  /** Stores the pointers of the scratch key. */
  function link(h: ObjectHandle, at: number): void {
    for (let i = 0; i < links; i++) {
      const { target, at: place, named } = S.links[i] as Link;
      let index = 0;
      if (target !== undefined) {
        try {
          index = named ? h.referAsKey(target) : h.refer(target);
        } catch (error) {
          unlink(h, at, i);
          throw error;
        }
      }
      const p = at + LINKS + i * 8;
      if (h.dirty[p >>> 6] !== 1) h.mark(p);
      h.dv.setUint32(p, place, true);
      h.dv.setUint32(p + 4, (index << 8) >>> 0, true);
    }
  }

  function unlink(h: ObjectHandle, at: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const index = h.dv.getUint32(at + LINKS + i * 8 + 4, true) >>> 8;
      if (index !== 0) h.unrefer(index);
    }
  }

  function copy(h: ObjectHandle, at: number): void {
    const { length } = pending;
    if (length <= 64) for (let i = 0; i < length; i++) h.u8[at + i] = pending[i] as number;
    else h.u8.set(pending, at);
    pending = nothing;
  }

  return {
    keyAt: KEY,
    keyLength,
    valueAt,
    valueLength: (h, at) => (varValue ? h.dv.getUint32(at + VALUE_LENGTH, true) : T.notBytes()),

    hash(seed) {
      const { length } = S;
      let x = seed ^ length;
      const whole = compared === undefined ? (length + 3) >>> 2 : length >>> 2;
      for (let i = 0; i < whole; i++) {
        x = Math.imul(x ^ (words[i] as number), 0x9e3779b1);
        x ^= x >>> 15;
      }
      // Behind the folded text lies the text itself.
      if (compared !== undefined) for (let i = whole * 4; i < length; i++) x = Math.imul(x ^ (S.bytes[i] as number), 0x9e3779b1);
      x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
      x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
      return (x ^ (x >>> 16)) >>> 0;
    },

    sizeFor(value) {
      const length = varValue ? prepare(value) : 0;
      return Math.max(16, KEY + ((S.stored + 3) & ~3) + length);
    },

    write(h, at) {
      if (links > 0) link(h, at);
      const { stored } = S;
      const { length } = pending;
      h.markRange(at, KEY + ((stored + 3) & ~3) + length);
      const { dv } = h;
      if (varKey) dv.setUint32(at + KEY_LENGTH, stored, true);
      if (varValue) dv.setUint32(at + VALUE_LENGTH, length, true);
      for (let i = 0; i < (stored + 3) >>> 2; i++) dv.setInt32(at + KEY + i * 4, words[i] as number, true);
      if (varValue) copy(h, at + KEY + ((stored + 3) & ~3));
    },

    equals(h, at) {
      const { dv } = h;
      const { length } = S;
      if (varKey) {
        const stored = dv.getUint32(at + KEY_LENGTH, true);
        if (compared === undefined ? stored !== length : stored < length || compared(h, at + KEY, stored) !== length) return false;
      }
      const whole = compared === undefined ? (length + 3) >>> 2 : length >>> 2;
      for (let i = 0; i < whole; i++) if (dv.getInt32(at + KEY + i * 4, true) !== words[i]) return false;
      if (compared !== undefined) for (let i = whole * 4; i < length; i++) if (dv.getUint8(at + KEY + i) !== S.bytes[i]) return false;
      return true;
    },

    compare: (h, at) => compareKey(h, at + KEY, keyLength(h, at)),

    compareKey,

    above(h, at) {
      const { dv } = h;
      const { length } = S;
      const stored = keyLength(h, at);
      const theirs = compared === undefined ? stored : compared(h, at + KEY, stored);
      const most = theirs < length ? theirs : length;
      for (let i = 0; i * 4 < most; i++) {
        const a = dv.getInt32(at + KEY + i * 4, true);
        const b = words[i] as number;
        if (a === b) continue;
        const first = Math.clz32((a ^ b) & -(a ^ b));
        const same = i * 4 + ((31 - first) >>> 3);
        if (same >= most) break;
        return swap(a) < swap(b) ? same : -1;
      }
      return length > theirs ? most : -1;
    },

    head(skip) {
      const i = skip >>> 2;
      const shift = (skip & 3) * 8;
      if (compared !== undefined && skip + 4 > S.length) return partHead(S.bytes, S.length, skip);
      const word = swap(words[i] as number);
      return shift === 0 ? word : ((word << shift) | (swap(words[i + 1] as number) >>> (32 - shift))) >>> 0;
    },

    key: (h, at) => K.decode(h, at + KEY, keyLength(h, at), at + LINKS),

    recall(h, at) {
      const stored = keyLength(h, at);
      const { dv } = h;
      const count = (stored + 3) >>> 2;
      for (let i = 0; i < count; i++) words[i] = dv.getInt32(at + KEY + i * 4, true);
      words[count] = 0;
      S.stored = stored;
      S.length = compared === undefined ? stored : compared(h, at + KEY, stored);
    },

    value(h, at) {
      if (!varValue) return V.load(h, at);
      const length = h.dv.getUint32(at + VALUE_LENGTH, true);
      const from = valueAt(h, at);
      if (from + length > h.size) h.corrupt(at, `a value of ${length} bytes does not fit the object`);
      const read: unknown = V.isText ? T.text(h, from, length) : T.bytes(h, from, length);
      return read as V;
    },

    replace(h, at, value) {
      if (!varValue) {
        if (V.whole) {
          try {
            V.drop(h, at);
            T.wipe(h, at, V.size);
            V.store(h, at, value);
          } catch (error) {
            h.spoil(error);
            throw error;
          }
        } else V.store(h, at, value);
        return true;
      }
      const length = prepare(value);
      const old = h.dv.getUint32(at + VALUE_LENGTH, true);
      const from = valueAt(h, at);
      if (length !== old) return false;
      h.markRange(from, length);
      copy(h, from);
      return true;
    },

    drops: V.drops || links > 0,

    drop(h, at) {
      if (!varValue && !V.none) V.drop(h, at);
      unlink(h, at, links);
    },
  };
}

/** The records of one type of map, compiled for it. */
export function recordsOf<K, V, I>(key: KeyCodec<K>, value: ValueCodec<V, I>): Records<K, V, I> {
  const factory: typeof makeRecords<K, V, I> = specialize(makeRecords<K, V, I>);
  return factory(key, made(value), SCRATCH, TOOLS, VALUE_MAX);
}

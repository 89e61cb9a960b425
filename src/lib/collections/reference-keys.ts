/**
 * References as keys. What identifies a reference is the target's ID and the offset in it, not the pointer: each object of a collection
 * has a FOT of its own, so the same target has other pointers in each.
 */
import { isTwzError, TwzError } from '../../abi/errors.ts';
import { META } from '../../abi/format.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { readId, type ObjectId } from '../../abi/id.ts';
import { Emitter } from '../emit.ts';
import { evolution } from '../evolution.ts';
import type { Field } from '../fields.ts';
import { isAccessor, LateReference, unfit, type Accessor } from '../runtime.ts';
import { targetOf, type StructImage } from '../struct.ts';
import { NULL_LINK, SCRATCH, type KeyCodec, type Link } from './key-scratch.ts';

/** Bytes of a reference in a key: ID and offset. */
const REFERENCE_KEY = 20;

function bigEndian(word: number): number {
  return ((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

function isZero(words: Int32Array): boolean {
  return ((words[0] as number) | (words[1] as number) | (words[2] as number) | (words[3] as number)) === 0;
}

function sameWords(a: Int32Array, b: Int32Array): boolean {
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2] && a[3] === b[3];
}

/** The place by which keys know a struct: a migration may have moved it since. */
function originOf({ $h: h, $o: at }: Accessor, type: StructImage): number {
  if (h.cold) {
    try {
      h.warm();
    } catch (error) {
      // Keys of what was deleted can still be looked for, and deleted.
      if (isTwzError(error, 'ObjectDeleted')) return at;
      throw error;
    }
  }
  return h.dv.getUint32(META.forwards, true) === 0 ? at : (evolution()?.origin(h, at, type) ?? at);
}

/** The codec of a `ref` field. */
export function referenceKey(field: Field<object | null>): KeyCodec<object | null> {
  const type = targetOf(field);
  if (type === undefined) throw new TwzError('TypeInvalid', `${field.signature} cannot be a key: it is not known what it leads to`);
  let load: ((h: ObjectHandle, place: number) => object | null) | undefined;
  const compiled = (): NonNullable<typeof load> => {
    const emit = new Emitter();
    emit.what = 'a key';
    return emit.build(`return function (h, place) { ${field.load(emit, 'place')} }`) as NonNullable<typeof load>;
  };
  const { words, links } = SCRATCH;
  return {
    signature: `ref(${JSON.stringify(field.describe.type)})`,
    size: REFERENCE_KEY,
    exact: false,
    prefixes: false,
    links: 1,
    encode(key, home) {
      links[0] = NULL_LINK;
      if (key === null) words.fill(0, 0, 6);
      else {
        if (key instanceof LateReference)
          throw new TwzError(
            'ValueMismatch',
            `a key: the late-bound reference ${key.path} cannot be one, as it may lead elsewhere tomorrow`,
            {
              path: key.path,
            },
          );
        if (!isAccessor(key) || !(key instanceof type.accessor))
          return unfit('a key', key, `a reference to ${type.name} (an accessor of it) or null`);
        const { idWords } = key.$h;
        if (isZero(idWords)) unfit('a key', key, 'a reference to what is stored; this is a draft');
        const named = !sameWords(idWords, home.idWords);
        for (let i = 0; i < 4; i++) words[i] = named ? (idWords[i] as number) : 0;
        words[4] = bigEndian(originOf(key, type));
        words[5] = 0;
        links[0] = { target: key.$h, at: key.$o, named };
      }
      SCRATCH.length = SCRATCH.stored = REFERENCE_KEY;
    },
    decode: (h, _at, _length, pointer) => (load ??= compiled())(h, pointer),
  };
}

// --- entries of indexes -------------------------------------------------------------------------------------------------------

const entryLinks = new WeakMap<Uint8Array, readonly Link[]>();

/** Tells where the references lead that were encoded into these bytes. */
export function linkBytes(key: Uint8Array, links: readonly Link[]): void {
  entryLinks.set(key, links);
}

export function linksOf(key: Uint8Array): readonly Link[] {
  return entryLinks.get(key) ?? [];
}

/** A key type for bytes that hold so many references, see `linkBytes`. */
export interface LinkedBytes {
  readonly kind: 'linkedBytes';
  readonly links: number;
}

export function linkedBytesKey(links: number, bytesKey: KeyCodec<Uint8Array>): KeyCodec<Uint8Array> {
  return {
    ...bytesKey,
    links,
    encode(key, home) {
      bytesKey.encode(key, home);
      const known = linksOf(key);
      for (let i = 0; i < links; i++) SCRATCH.links[i] = known[i] ?? NULL_LINK;
    },
  };
}

// --- for tools ----------------------------------------------------------------------------------------------------------------

/** A key type for references where no types are at hand: keys are places. */
export interface PlaceKey {
  readonly kind: 'place';
  /** What they lead to. */
  readonly type: string;
}

/** What a key says of a place, without opening anything. */
export class KeyPlace {
  readonly type: string;
  /** Undefined: the object that the collection lies in. */
  readonly id: ObjectId | undefined;
  /** 0 with no ID: null. */
  readonly at: number;

  constructor(type: string, id: ObjectId | undefined, at: number) {
    this.type = type;
    this.id = id;
    this.at = at;
  }
}

export function placeKey(type: string): KeyCodec<KeyPlace> {
  return {
    signature: `ref(${JSON.stringify(type)})`,
    size: REFERENCE_KEY,
    exact: false,
    prefixes: false,
    links: 1,
    encode(key) {
      unfit('a key', key, 'something that can be looked for without types');
    },
    decode(h, at) {
      const id = h.u8.slice(at, at + 16);
      return new KeyPlace(type, id.some((byte) => byte !== 0) ? readId(id, 0) : undefined, h.dv.getUint32(at + 16, false));
    },
  };
}

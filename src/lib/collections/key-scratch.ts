/** The key that is looked for, and what a type of keys can do. */
import type { ObjectHandle } from '../../abi/handle.ts';

/** Longest key in bytes, encoded. */
export const KEY_MAX = 65536;

/** The key that is looked for. */
export interface Scratch {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  /** Bytes that count for comparing. */
  length: number;
  /** Bytes to store: as many, or more where a collation keeps the text itself behind them. */
  stored: number;
  /** Where its references lead, in the order of the parts. */
  readonly links: Link[];
}

/** What a reference in a key leads to. */
export interface Link {
  /** Undefined for null. */
  readonly target: ObjectHandle | undefined;
  readonly at: number;
  /** The key has the target's ID. */
  readonly named: boolean;
}

export const NULL_LINK: Link = { target: undefined, at: 0, named: false };

export const area: ArrayBuffer = new ArrayBuffer(KEY_MAX + 64);
export const SCRATCH: Scratch = { bytes: new Uint8Array(area), words: new Int32Array(area), length: 0, stored: 0, links: [] };

export interface KeyCodec<K> {
  /** Names the stored form. */
  readonly signature: string;
  /** Bytes of every key, or 0 where they differ. */
  readonly size: number;
  /** The first four bytes, in place or not, say all of the key. */
  readonly exact: boolean;
  /** References in it, each with a pointer beside the key. */
  readonly links: number;
  /** Puts a key into the scratch area, for a collection whose header lies in `home`. Throws ValueMismatch and OutOfRange. */
  encode(key: K, home: ObjectHandle): void;
  /** The key whose `length` bytes lie at `at`, with the pointers from `links` on. */
  decode(h: ObjectHandle, at: number, length: number, links: number): K;
  /** How many of `length` stored bytes are compared; undefined where all are. */
  readonly compared?: ((h: ObjectHandle, at: number, length: number) => number) | undefined;
  /** The bytes of a prefix are a prefix of the bytes. */
  readonly prefixes: boolean;
}

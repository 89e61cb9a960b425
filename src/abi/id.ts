/**
 * Object IDs: 128 bits, made without a coordinator.
 *
 * A mutable object's ID is the folded SHA-256 of (nonce, key ID, default rights, kind), so nobody can hand out
 * a file with other rights or another key under the same ID. An immutable object's ID is the folded SHA-256 of its content.
 * In JavaScript an ID is a string of 32 lower-case hexadecimal digits; in files it is 16 bytes in that order.
 */
import { TwzError } from './errors.ts';

declare const OBJECT_ID: unique symbol;
export type ObjectId = string & { readonly [OBJECT_ID]: true };

const HEX = /^[0-9a-f]{32}$/;
const DIGITS = '0123456789abcdef';

export const NULL_ID: ObjectId = '0'.repeat(32) as ObjectId;

/** Parses what a person typed. Throws InvalidArgument. */
export function parseId(text: string): ObjectId {
  const id = text.toLowerCase();
  if (!HEX.test(id)) throw new TwzError('InvalidArgument', `"${text}" is not an object ID (32 hexadecimal digits)`, { text });
  return id as ObjectId;
}

export function isId(text: string): text is ObjectId {
  return HEX.test(text);
}

/** The character codes of the ID that is being read. */
const CODES: number[] = Array.from({ length: 32 }, () => 0);

/** Reads an ID at a byte offset. Made at once: a text that is put together of its digits is a tree of pieces until it is first compared. */
export function readId(bytes: Uint8Array, at: number): ObjectId {
  for (let i = 0; i < 16; i++) {
    const byte = bytes[at + i] ?? 0;
    CODES[2 * i] = DIGITS.charCodeAt(byte >>> 4);
    CODES[2 * i + 1] = DIGITS.charCodeAt(byte & 15);
  }
  return String.fromCharCode(...CODES) as ObjectId;
}

/** What a lower-case hexadecimal digit stands for. */
const digit = (code: number): number => (code & 15) + (code >>> 6) * 9;

/** Writes an ID at a byte offset. */
export function writeId(bytes: Uint8Array, at: number, id: ObjectId): void {
  for (let i = 0; i < 16; i++) bytes[at + i] = (digit(id.charCodeAt(2 * i)) << 4) | digit(id.charCodeAt(2 * i + 1));
}

/** Folds a SHA-256 digest (32 bytes) to an ID: the exclusive or of its halves. */
export function foldId(digest: Uint8Array): ObjectId {
  const folded = new Uint8Array(16);
  for (let i = 0; i < 16; i++) folded[i] = (digest[i] ?? 0) ^ (digest[i + 16] ?? 0);
  return readId(folded, 0);
}

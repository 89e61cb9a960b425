/**
 * What client and server of a space say to each other, byte for byte. Each side judges the other's frames as hostile.
 *
 *   frame:   "TWL1"  head length u32  body length u32  head (JSON, UTF-8)  body          little-endian
 *   body of a commit, for each object:  ID (16)  base version u64  lines u32  zero u32, then
 *            for each line:  mask << 24 | line u32, then 8 bytes for each bit of the mask, lowest first
 */
import { TwzError } from '../../abi/errors.ts';
import { LINE_WORDS } from '../../abi/format.ts';
import { isId, readId, writeId, type ObjectId } from '../../abi/id.ts';

export const PROTOCOL_VERSION = 1;
const MAGIC = 0x314c5754; // "TWL1" read as a little-endian u32
const PREFIX = 12;

export const FRAME_LIMITS = { head: 65536, body: 1 << 20 } as const;

export interface ServeFrame {
  readonly head: Readonly<Record<string, unknown>>;
  readonly body: Uint8Array;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });
const NOTHING = new Uint8Array(0);

function wrong(reason: string): TwzError {
  return new TwzError('ServeProtocol', reason);
}

/** Throws ServeLimit. */
export function encodeFrame(head: object, body: Uint8Array = NOTHING): Uint8Array {
  const text = encoder.encode(JSON.stringify(head));
  demandLengths(text.length, body.length);
  const bytes = new Uint8Array(PREFIX + text.length + body.length);
  const dv = new DataView(bytes.buffer);
  dv.setUint32(0, MAGIC, true);
  dv.setUint32(4, text.length, true);
  dv.setUint32(8, body.length, true);
  bytes.set(text, PREFIX);
  bytes.set(body, PREFIX + text.length);
  return bytes;
}

function demandLengths(head: number, body: number): void {
  if (head > FRAME_LIMITS.head || body > FRAME_LIMITS.body)
    throw new TwzError(
      'ServeLimit',
      `a frame of ${head} and ${body} bytes: a head has ${FRAME_LIMITS.head} at most, a body ${FRAME_LIMITS.body}`,
      { head, body },
    );
}

/** Puts frames together from what comes in pieces. It keeps no more than one frame may have, and what came with its end. */
export class Assembler {
  #pieces: Uint8Array[] = [];
  #length = 0;

  /** Throws ServeProtocol, ServeLimit: nothing sensible can follow. */
  *add(piece: Uint8Array): Generator<ServeFrame> {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#length += piece.length;
    for (let needed = this.#needed(); needed !== undefined && this.#length >= needed; needed = this.#needed()) {
      const all = this.#together();
      const rest = all.subarray(needed);
      this.#pieces = rest.length === 0 ? [] : [rest];
      this.#length = rest.length;
      yield decodeFrame(all.subarray(0, needed));
    }
  }

  /** Bytes of the frame that has begun; undefined while that is not known. */
  #needed(): number | undefined {
    if (this.#length < PREFIX) return undefined;
    if ((this.#pieces[0]?.length ?? 0) < PREFIX) this.#pieces = [this.#together()];
    const [first = NOTHING] = this.#pieces;
    const dv = new DataView(first.buffer, first.byteOffset, first.byteLength);
    if (dv.getUint32(0, true) !== MAGIC) throw wrong('a frame does not begin as one');
    const [head, body] = [dv.getUint32(4, true), dv.getUint32(8, true)];
    demandLengths(head, body);
    return PREFIX + head + body;
  }

  #together(): Uint8Array {
    const [first = NOTHING] = this.#pieces;
    if (this.#pieces.length === 1) return first;
    const all = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }
}

function decodeFrame(bytes: Uint8Array): ServeFrame {
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = PREFIX + dv.getUint32(4, true);
  let head: unknown;
  try {
    head = JSON.parse(decoder.decode(bytes.subarray(PREFIX, end)));
  } catch {
    throw wrong('the head of a frame is no JSON');
  }
  if (typeof head !== 'object' || head === null || Array.isArray(head)) throw wrong('the head of a frame is no object');
  return { head: { ...head }, body: bytes.slice(end) };
}

// --- fields of heads --------------------------------------------------------------------------------------------------------------

type Head = ServeFrame['head'];

export function numberIn(head: Head, name: string, most: number = Number.MAX_SAFE_INTEGER): number {
  const value = head[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > most)
    throw wrong(`"${name}" is no integer from 0 to ${most}`);
  return value;
}

export function textIn(head: Head, name: string, most = 4096): string {
  const value = head[name];
  if (typeof value !== 'string' || value.length > most) throw wrong(`"${name}" is no text of at most ${most} characters`);
  return value;
}

export function idIn(head: Head, name: string): ObjectId {
  const value = textIn(head, name, 32);
  if (!isId(value)) throw wrong(`"${name}" is no object ID`);
  return value;
}

export function bytesIn(head: Head, name: string, most: number): Uint8Array {
  const text = textIn(head, name, most * 2);
  if (!/^(?:[0-9a-f]{2})*$/.test(text)) throw wrong(`"${name}" is no bytes in hexadecimal digits`);
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** Places in objects: `[[ID, number], …]`. */
export function placesIn(head: Head, name: string, most: number): { readonly id: ObjectId; readonly at: number }[] {
  const value = head[name] ?? [];
  if (!Array.isArray(value) || value.length > most) throw wrong(`"${name}" is no list of at most ${most} places`);
  return value.map((each: unknown) => {
    const [id, at]: readonly unknown[] = Array.isArray(each) ? each : [];
    if (typeof id !== 'string' || !isId(id) || typeof at !== 'number' || !Number.isSafeInteger(at) || at < 0)
      throw wrong(`"${name}" has what is no place`);
    return { id, at };
  });
}

// --- bodies of commits ------------------------------------------------------------------------------------------------------------

export interface ChangedLine {
  readonly line: number;
  /** A bit for each 8 bytes that changed, from the lowest. */
  readonly mask: number;
  /** The line's words; those that did not change are zero. */
  readonly words: Int32Array;
}

export interface Changes {
  readonly id: ObjectId;
  /** The version that they are changes of. */
  readonly base: number;
  readonly lines: readonly ChangedLine[];
}

const SECTION = 32;

export function encodeChanges(changes: readonly Changes[]): Uint8Array {
  let length = 0;
  for (const { lines } of changes) {
    length += SECTION;
    for (const { mask } of lines) length += 4 + 8 * bits(mask);
  }
  const bytes = new Uint8Array(length);
  const dv = new DataView(bytes.buffer);
  let at = 0;
  for (const { id, base, lines } of changes) {
    writeId(bytes, at, id);
    dv.setUint32(at + 16, base % 2 ** 32, true);
    dv.setUint32(at + 20, Math.floor(base / 2 ** 32), true);
    dv.setUint32(at + 24, lines.length, true);
    at += SECTION;
    for (const { line, mask, words } of lines) {
      dv.setUint32(at, ((mask << 24) | line) >>> 0, true);
      at += 4;
      for (let i = 0; i < LINE_WORDS; i += 2) {
        if ((mask & (1 << (i >>> 1))) === 0) continue;
        dv.setInt32(at, words[i] ?? 0, true);
        dv.setInt32(at + 4, words[i + 1] ?? 0, true);
        at += 8;
      }
    }
  }
  return bytes;
}

function bits(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** Throws ServeProtocol. An object comes once, a line once, in order. */
export function decodeChanges(bytes: Uint8Array): Changes[] {
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const changes: Changes[] = [];
  const seen = new Set<ObjectId>();
  let at = 0;
  const demand = (length: number): void => {
    if (at + length > bytes.length) throw wrong('a commit ends too early');
  };
  while (at < bytes.length) {
    demand(SECTION);
    const id = readId(bytes, at);
    if (seen.has(id)) throw wrong('a commit names an object twice');
    seen.add(id);
    const base = dv.getUint32(at + 16, true) + dv.getUint32(at + 20, true) * 2 ** 32;
    const count = dv.getUint32(at + 24, true);
    if (dv.getUint32(at + 28, true) !== 0) throw wrong('a commit has something where zero stands');
    at += SECTION;
    const lines: ChangedLine[] = [];
    for (let before = -1, left = count; left > 0; left--) {
      demand(4);
      const head = dv.getUint32(at, true);
      at += 4;
      const [line, mask] = [head & 0xffffff, head >>> 24];
      if (line <= before || mask === 0) throw wrong('the lines of a commit are not in order');
      before = line;
      demand(8 * bits(mask));
      const words = new Int32Array(LINE_WORDS);
      for (let i = 0; i < LINE_WORDS; i += 2) {
        if ((mask & (1 << (i >>> 1))) === 0) continue;
        words[i] = dv.getInt32(at, true);
        words[i + 1] = dv.getInt32(at + 4, true);
        at += 8;
      }
      lines.push({ line, mask, words });
    }
    changes.push({ id, base, lines });
  }
  return changes;
}

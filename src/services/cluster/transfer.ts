/**
 * Data mobility: families that go from node to node as a whole, in one answer or in pieces that are asked for.
 *
 * What is small, or asked for by a node that does not know of pieces, is copied when it is offered, with a hash over all of it. A large
 * object is not: its pieces are copied when they are asked for, as long as it is what it was, and each has a hash of its own.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { Handle } from '../../kernel/object.ts';
import { LiveSection, sectionsOf } from '../../kernel/sections.ts';
import { inWindows, PIECE } from './chunks.ts';
import { left, type Core } from './core.ts';
import { toHex } from './record.ts';
import { numberIn, say, sayAgain, sayRoom, strange, textIn, type Head, type Said } from './messages.ts';

/** Bytes of pieces that go along with the first answer. */
export const FIRST = 512 << 10;
/** Bytes of an object from which on it is not copied before it is asked for. */
const LIVE_MIN = 1 << 20;
const KEEP_MS = 30_000;
/** Pieces that are under way at a time. */
const WINDOW = 8;
const NO_HASH = '0'.repeat(64);
/** Who asks for objects says so where it knows what this is about. */
export const PIECES = { pieces: true } as const;

/** Bytes as they were when they were offered. */
interface Part {
  readonly length: number;
  readonly isCurrent: boolean;
  copy(at: number, into: Uint8Array): void;
}

function copied(bytes: Uint8Array): Part {
  return { length: bytes.length, isCurrent: true, copy: (at, into) => into.set(bytes.subarray(at, at + into.length)) };
}

/** One part behind the other. */
class Whole implements Part {
  readonly #parts: readonly Part[];
  readonly length: number;

  constructor(parts: readonly Part[]) {
    this.#parts = parts;
    this.length = parts.reduce((sum, { length }) => sum + length, 0);
  }

  get isCurrent(): boolean {
    return this.#parts.every((part) => part.isCurrent);
  }

  copy(at: number, into: Uint8Array): void {
    let start = 0;
    for (const part of this.#parts) {
      const [from, to] = [Math.max(at, start), Math.min(at + into.length, start + part.length)];
      if (from < to) part.copy(from - start, into.subarray(from - at, to - at));
      start += part.length;
    }
  }
}

interface Offered {
  readonly part: Part;
  readonly until: number;
}

/** Families that are being sent, as they were when they were asked for. */
export class Offers {
  readonly #core: Core;
  readonly #offers = new Map<string, Offered>();
  #next = 0;
  sent = 0;

  constructor(core: Core) {
    this.#core = core;
  }

  /** The answer to who asked for these objects. */
  offer(ids: readonly ObjectId[], facts: Readonly<Record<string, unknown>>, asked: Head): Uint8Array {
    const { kernel } = this.#core.space;
    const handles = ids.map((id) => kernel.open(id));
    const inPieces = asked['pieces'] === true && handles.some(isLive);
    const bytes = inPieces ? undefined : sectionsOf(handles);
    const part = bytes === undefined ? new Whole(inParts(handles)) : copied(bytes);
    const { length } = part;
    this.sent += length;
    if (bytes !== undefined && length <= FIRST) return say({ ...facts, bytes: length }, bytes);
    const now = this.#core.clock.now();
    for (const [token, { until }] of this.#offers) if (until < now) this.#offers.delete(token);
    const token = String(++this.#next);
    this.#offers.set(token, { part, until: now + KEEP_MS });
    if (bytes === undefined) return say({ ...facts, ...PIECES, bytes: length, token });
    return say({ ...facts, bytes: length, token, hash: toHex(kernel.host.sha256(bytes)) }, bytes.subarray(0, FIRST));
  }

  piece({ head }: Said): Uint8Array {
    const { kernel } = this.#core.space;
    const token = textIn(head, 'token');
    const at = numberIn(head, 'at');
    const offered = this.#offers.get(token);
    if (offered === undefined || at >= offered.part.length) throw new TwzError('Stale', 'what was offered is offered no more');
    const { part } = offered;
    kernel.catchUp();
    if (!part.isCurrent) {
      this.#offers.delete(token);
      throw new TwzError('Stale', 'what was offered has changed meanwhile');
    }
    if (at + PIECE >= part.length) this.#core.clock.timer(KEEP_MS, () => this.#offers.delete(token));
    const { message, body } = sayRoom({ hash: NO_HASH }, Math.min(PIECE, part.length - at));
    part.copy(at, body);
    return sayAgain(message, { hash: toHex(kernel.host.sha256(body)) });
  }
}

function isLive(h: Handle): boolean {
  return h.size >= LIVE_MIN && LiveSection.isDense(h);
}

/** What is not large is copied, all that follows each other at once. */
function inParts(handles: readonly Handle[]): Part[] {
  const parts: Part[] = [];
  let small: Handle[] = [];
  const copySmall = (): void => {
    if (small.length > 0) parts.push(copied(sectionsOf(small)));
    small = [];
  };
  for (const h of handles) {
    if (!isLive(h)) {
      small.push(h);
      continue;
    }
    copySmall();
    parts.push(new LiveSection(h));
  }
  copySmall();
  return parts;
}

/** The rest of what another node has offered. Throws Stale where it has changed there meanwhile. */
export async function receive(core: Core, node: string, { head, body }: Said, deadline: number): Promise<Uint8Array> {
  const length = numberIn(head, 'bytes');
  if (length > 2 ** 31) throw strange(`${length} bytes are too many`);
  if (body.length === length) return body;
  const { host } = core.space.kernel;
  const token = textIn(head, 'token');
  const pieces = head['pieces'] === true ? PIECES : {};
  const all = new Uint8Array(length);
  all.set(body);
  const starts: number[] = [];
  for (let at = body.length; at < length; at += PIECE) starts.push(at);
  await inWindows(starts, WINDOW, async (at) => {
    left(core, deadline, 'receiving an object');
    const piece = await core.call(node, { do: 'piece', token, at, ...pieces }, deadline);
    if (piece.body.length !== Math.min(PIECE, length - at)) throw strange('a piece has another length');
    if (head['pieces'] === true && toHex(host.sha256(piece.body)) !== textIn(piece.head, 'hash'))
      throw strange('a piece is not what was sent');
    all.set(piece.body, at);
  });
  if (head['pieces'] !== true && toHex(host.sha256(all)) !== textIn(head, 'hash')) throw strange('what came is not what was offered');
  return all;
}

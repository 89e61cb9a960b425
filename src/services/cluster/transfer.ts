/**
 * Data mobility: families that go from node to node as a whole, in one answer or in pieces that are asked for.
 *
 * What is small goes in the answer. Of the rest each piece has a checksum of its own, and a large object is not copied when it is offered: its
 * pieces are, when they are asked for, as long as it is what it was. Who asks tells how fast pieces come; those of a slow link are compressed
 * where that makes them smaller. A node that does not know of that gets a copy, with a hash over all of it.
 */
import { TwzError } from '../../abi/errors.ts';
import { PAGE } from '../../abi/format.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import { checksumOf } from '../../host/checksum.ts';
import { compress, expand, PACKED } from '../../host/compress.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Handle } from '../../kernel/object.ts';
import { LiveSection, sectionsOf, type Section } from '../../kernel/sections.ts';
import { Staged } from '../../kernel/staged.ts';
import { inWindows, PIECE } from './chunks.ts';
import { left, type Core } from './core.ts';
import { splitSections, toHex } from './record.ts';
import { numberIn, say, sayAgain, sayRoom, strange, textIn, type Head, type Said } from './messages.ts';

/** The same on all nodes, in bytes. */
export interface PieceSizes {
  /** What goes along with the first answer, at most. */
  readonly first: number;
  readonly piece: number;
  /** From which on an object is not copied before it is asked for, where at least that part of its pages is not zero. */
  readonly live: number;
  readonly dense: number;
}

const SIZES: PieceSizes = { first: 512 << 10, piece: PIECE, live: 1 << 20, dense: 0.9 };
const KEEP_MS = 30_000;
/** Pieces that are under way at a time. */
const WINDOW = 8;
/** A link is slow if compressing is so many times as fast. */
const SLOW = 3;
/** Bytes a millisecond that compressing is taken to make where it was not measured. */
const COMPRESSING = 60_000;
/** What is looked at of a piece, in bytes, and to which part of itself it must shrink to be worth it. */
const SAMPLE = 8 << 10;
const SHRINKS = 0.8;
/** How much a new measurement counts. */
const NEW = 0.5;
const NODES_MAX = 1000;
const NO_SUM = '0'.repeat(8);
/** Messages of pieces that are kept to be written again: as many as are under way to one node. */
const SPARES_MAX = WINDOW;
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
  readonly sizes: PieceSizes;
  readonly #spares: Uint8Array[] = [];
  #next = 0;
  /** Bytes a millisecond. */
  #compressing = COMPRESSING;
  sent = 0;
  /** Bytes that did not have to go, for they were compressed. */
  saved = 0;

  constructor(core: Core, sizes = SIZES) {
    this.#core = core;
    this.sizes = sizes;
  }

  /** The answer to who asked for these objects. */
  offer(ids: readonly ObjectId[], facts: Readonly<Record<string, unknown>>, asked: Head): Uint8Array {
    const { kernel } = this.#core.space;
    const handles = ids.map((id) => kernel.open(id));
    let size = 0;
    for (const h of handles) size += h.size;
    const inPieces = asked['pieces'] === true && size > this.sizes.first;
    const bytes = inPieces ? undefined : sectionsOf(handles);
    const parts = bytes === undefined ? inParts(handles, this.sizes) : [copied(bytes)];
    const part = new Whole(parts);
    const { length } = part;
    this.sent += length;
    if (bytes !== undefined && length <= this.sizes.first) return say({ ...facts, bytes: length }, bytes);
    const now = this.#core.clock.now();
    for (const [token, { until }] of this.#offers) if (until < now) this.#offers.delete(token);
    const token = String(++this.#next);
    this.#offers.set(token, { part, until: now + KEEP_MS });
    if (bytes === undefined) return say({ ...facts, ...PIECES, bytes: length, token, live: liveOf(parts) });
    return say({ ...facts, bytes: length, token, hash: toHex(kernel.host.sha256(bytes)) }, bytes.subarray(0, this.sizes.first));
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
    const { piece } = this.sizes;
    if (at + piece >= part.length) this.#core.clock.timer(KEEP_MS, () => this.#offers.delete(token));
    const spare = this.#spares.pop();
    const { message, body } = sayRoom({ sum: NO_SUM }, Math.min(piece, part.length - at), spare);
    // It has gone by then. Fresh memory costs more than all the rest.
    this.#core.clock.timer(0, () => {
      if (this.#spares.length < SPARES_MAX) this.#spares.push(spare ?? message);
    });
    part.copy(at, body);
    const sum = checksumOf(body);
    const packed = head['packs'] === PACKED && this.#compressing > SLOW * numberIn(head, 'link') ? this.#packed(body) : undefined;
    return packed === undefined ? sayAgain(message, { sum }) : say({ sum, packed: PACKED }, packed);
  }

  /** Undefined where it does not become smaller. */
  #packed(body: Uint8Array): Uint8Array | undefined {
    const { clock } = this.#core;
    const middle = Math.max(0, (body.length - SAMPLE) >> 1);
    const sample = body.subarray(middle, middle + SAMPLE);
    if (compress(sample).length > SHRINKS * sample.length) return undefined;
    const begun = clock.now();
    const packed = compress(body);
    const took = clock.now() - begun;
    if (took > 0) this.#compressing += NEW * (body.length / took - this.#compressing);
    if (packed.length > SHRINKS * body.length) return undefined;
    this.saved += body.length - packed.length;
    return packed;
  }
}

function isLive(h: Handle, { live, dense }: PieceSizes): boolean {
  return h.size >= live && LiveSection.filled(h) >= dense;
}

/** What is not large is copied, all that follows each other at once. */
function inParts(handles: readonly Handle[], sizes: PieceSizes): Part[] {
  const parts: Part[] = [];
  let small: Handle[] = [];
  const copySmall = (): void => {
    if (small.length > 0) parts.push(copied(sectionsOf(small)));
    small = [];
  };
  for (const h of handles) {
    if (!isLive(h, sizes)) {
      small.push(h);
      continue;
    }
    copySmall();
    parts.push(new LiveSection(h));
  }
  copySmall();
  return parts;
}

/** Which large objects are among what is offered: where each begins, its ID and its size. */
function liveOf(parts: readonly Part[]): readonly (readonly [number, ObjectId, number])[] {
  const live: [number, ObjectId, number][] = [];
  let at = 0;
  for (const part of parts) {
    if (part instanceof LiveSection) live.push([at, part.id, part.size]);
    at += part.length;
  }
  return live;
}

/** What comes in pieces: the pages of large objects into files, the rest into memory. */
class Received {
  /** Where the pages of each begin in what comes, and end. */
  readonly #files: { readonly staged: Staged; readonly from: number; readonly to: number }[] = [];
  readonly #kept: Uint8Array;

  constructor(kernel: Kernel, length: number, live: unknown) {
    let kept = length;
    let before = 0;
    try {
      for (const [at, id, size] of liveIn(live)) {
        const [from, to] = [at + LiveSection.begin, at + LiveSection.begin + size - PAGE];
        if (at < before || at % 4 !== 0 || to > length || size % PAGE !== 0 || size <= PAGE)
          throw strange('what it announces lies elsewhere');
        before = to;
        const staged = Staged.begin(kernel, id, size);
        if (staged === undefined) continue;
        kept -= to - from;
        this.#files.push({ staged, from, to });
      }
    } catch (error) {
      void this.end();
      throw error;
    }
    this.#kept = new Uint8Array(kept);
  }

  put(bytes: Uint8Array, at: number): void {
    const end = at + bytes.length;
    let done = at;
    let gone = 0;
    const keep = (to: number): void => {
      if (to <= done) return;
      this.#kept.set(bytes.subarray(done - at, to - at), done - gone);
      done = to;
    };
    for (const { staged, from, to } of this.#files) {
      keep(Math.min(from, end));
      if (done >= from && done < to && done < end) {
        const until = Math.min(to, end);
        staged.write(bytes.subarray(done - at, until - at), PAGE + done - from);
        done = until;
      }
      gone += to - from;
    }
    keep(end);
  }

  /** When all has come. */
  get sections(): Section[] {
    const sections: Section[] = [];
    let at = 0;
    let gone = 0;
    for (const { staged, from, to } of this.#files) {
      const begin = from - LiveSection.begin - gone;
      sections.push(...splitSections(this.#kept.subarray(at, begin)));
      at = begin + LiveSection.begin;
      const words = new Int32Array(this.#kept.buffer, begin, LiveSection.begin / 4);
      if (words[0] !== to - from + LiveSection.begin - 4) throw strange('what it announces lies elsewhere');
      sections.push({ words: words.subarray(1), staged });
      gone += to - from;
    }
    return [...sections, ...splitSections(this.#kept.subarray(at))];
  }

  get bytes(): Uint8Array {
    return this.#kept;
  }

  async end(): Promise<void> {
    for (const { staged } of this.#files) await staged.end();
  }
}

function liveIn(live: unknown): [number, ObjectId, number][] {
  if (live === undefined) return [];
  if (!Array.isArray(live)) throw strange('what it announces is nothing');
  return live.map((each: unknown) => {
    if (!Array.isArray(each)) throw strange('what it announces is nothing');
    const [at, id, size] = each as unknown[];
    if (!Number.isSafeInteger(at) || !Number.isSafeInteger(size) || typeof id !== 'string' || !isId(id))
      throw strange('what it announces is nothing');
    return [at as number, parseId(id), size as number];
  });
}

/** What others have offered. */
export class Receiving {
  readonly #core: Core;
  readonly #size: number;
  /** Bytes a millisecond that came from nodes, as they came. */
  readonly #links = new Map<string, number>();
  /** Pieces may come compressed. */
  packs = true;
  /** Bytes of pieces as they came, and those that did not have to come, for they were compressed. */
  bytes = 0;
  saved = 0;

  constructor(core: Core, { piece } = SIZES) {
    this.#core = core;
    this.#size = piece;
  }

  /**
   * The rest of it, as sections; `end` is called when they are entered. `staged`: large objects may come in files. Throws Stale where it has
   * changed there meanwhile, EngineCorrupt for what is not what it should be.
   */
  async receive(
    node: string,
    { head, body }: Said,
    deadline: number,
    staged = false,
  ): Promise<{ readonly sections: Section[]; end(): Promise<void> }> {
    const core = this.#core;
    const { kernel } = core.space;
    const length = numberIn(head, 'bytes');
    if (length > 2 ** 31) throw strange(`${length} bytes are too many`);
    if (body.length === length) return { sections: splitSections(body), end: async () => undefined };
    const token = textIn(head, 'token');
    const inPieces = head['pieces'] === true;
    const all = new Received(kernel, length, staged && inPieces ? head['live'] : undefined);
    try {
      all.put(body, 0);
      const starts: number[] = [];
      for (let at = body.length; at < length; at += this.#size) starts.push(at);
      const came = { since: -1, bytes: 0 };
      await inWindows(starts, WINDOW, async (at) => {
        left(core, deadline, 'receiving an object');
        const link = this.#links.get(node);
        const asked = inPieces ? { ...PIECES, ...(link === undefined || !this.packs ? {} : { packs: PACKED, link }) } : {};
        const piece = await core.call(node, { do: 'piece', token, at, ...asked }, deadline);
        this.#measure(node, came, piece.body.length);
        const wanted = Math.min(this.#size, length - at);
        const bytes = piece.head['packed'] === PACKED ? expand(piece.body, wanted) : piece.body;
        if (bytes?.length !== wanted) throw strange('a piece has another length');
        if (inPieces && checksumOf(bytes) !== textIn(piece.head, 'sum')) throw strange('a piece is not what was sent');
        this.saved += wanted - piece.body.length;
        all.put(bytes, at);
      });
      if (!inPieces && toHex(kernel.host.sha256(all.bytes)) !== textIn(head, 'hash')) throw strange('what came is not what was offered');
      return all;
    } catch (error) {
      await all.end();
      throw error;
    }
  }

  /** What came since the first piece was here, as it came. That one has waited for who sent it. */
  #measure(node: string, came: { since: number; bytes: number }, bytes: number): void {
    this.bytes += bytes;
    const now = this.#core.clock.now();
    if (came.since < 0) {
      came.since = now;
      return;
    }
    came.bytes += bytes;
    const took = now - came.since;
    if (took <= 0) return;
    const link = came.bytes / took;
    if (this.#links.size >= NODES_MAX) this.#links.clear();
    this.#links.set(node, link + NEW * ((this.#links.get(node) ?? link) - link));
  }
}

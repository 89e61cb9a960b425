/**
 * Redo sections outside of the log: how nodes send each other what was committed. The words are those of a section in the log
 * (abi/log-format.ts); an object as a whole is a section that creates it.
 */
import { TwzError } from '../abi/errors.ts';
import { FLAG, KIND, LINE, LINE_WORDS, META, OBJECT_SIZE_MAX, OBJECT_SIZE_MIN, PAGE } from '../abi/format.ts';
import { readId, type ObjectId } from '../abi/id.ts';
import { OPERATION, SECTION } from '../abi/log-format.ts';
import { UNKNOWN } from './allocator.ts';
import { stampedHeader } from './apply.ts';
import { headerChecksum, type Kernel } from './kernel.ts';
import { forgetDeleted, forsake, importFilled, rememberDeleted } from './lifetime.ts';
import type { Handle } from './object.ts';
import { canShorten, shorten } from './shorten.ts';
import type { Staged } from './staged.ts';
import { enter } from './transaction.ts';

const HEADER_WORDS = SECTION.header >> 2;
const PAGE_WORDS = PAGE / 4;
const PAGE_LINES = PAGE_WORDS / LINE_WORDS;
const FLAGS_WORD = META.flags >> 2;

/** A section; or the begin of one that creates an object as `LiveSection` has it, of which what follows came in a file. */
export type Section = Int32Array | { readonly words: Int32Array; readonly staged: Staged };

export interface SectionHead {
  readonly id: ObjectId;
  readonly operation: number;
  readonly size: number;
  readonly lines: number;
}

function corrupt(reason: string): TwzError {
  return new TwzError('EngineCorrupt', `a record of changes: ${reason}`);
}

export function wordsOf(section: Section): Int32Array {
  return 'staged' in section ? section.words : section;
}

/** Judges a section of any origin. Throws EngineCorrupt. */
export function sectionHead(words: Int32Array): SectionHead {
  if (words.length < HEADER_WORDS) throw corrupt('a section is cut off');
  const id = readId(new Uint8Array(words.buffer, words.byteOffset, 16), 0);
  const [operation, size, lines] = [words[4] as number, words[5] as number, words[8] as number];
  if (operation < OPERATION.change || operation > OPERATION.remove) throw corrupt(`object ${id}: there is no operation ${operation}`);
  if (operation !== OPERATION.remove && (size < OBJECT_SIZE_MIN || size > OBJECT_SIZE_MAX || size % PAGE !== 0))
    throw corrupt(`object ${id}: ${size} is no size of an object`);
  return { id, operation, size, lines };
}

/** Calls back with each piece of lines: first word in the object, words, where they lie. A mask of 0: all of them, else 8 bytes a bit. */
function eachLine(
  words: Int32Array,
  { id, size, lines }: SectionHead,
  store: (to: number, count: number, at: number, mask: number) => void,
): void {
  let at = HEADER_WORDS;
  for (let left = lines; left > 0; left--) {
    if (at >= words.length) throw corrupt(`object ${id}: a section is cut off`);
    const head = words[at++] as number;
    const [line, mask] = [head & 0xffffff, head >>> 24];
    if (mask === 0) {
      const run = words[at++] ?? 0;
      if (run < 1 || run > left || (line + run) * LINE_WORDS * 4 > size || at + run * LINE_WORDS > words.length)
        throw corrupt(`object ${id}: a run lies outside`);
      store(line * LINE_WORDS, run * LINE_WORDS, at, 0);
      at += run * LINE_WORDS;
      left -= run - 1;
      continue;
    }
    let count = 0;
    for (let rest = mask; rest !== 0; rest &= rest - 1) count += 2;
    if ((line + 1) * LINE_WORDS * 4 > size || at + count > words.length) throw corrupt(`object ${id}: a line lies outside`);
    store(line * LINE_WORDS, LINE_WORDS, at, mask);
    at += count;
  }
  if (at !== words.length) throw corrupt(`object ${id}: there is something behind a section`);
}

function put(into: Int32Array, words: Int32Array, to: number, count: number, from: number, mask: number): void {
  if (mask === 0) {
    into.set(words.subarray(from, from + count), to);
    return;
  }
  for (let i = 0, at = from; i < LINE_WORDS; i += 2) {
    if ((mask & (1 << (i >>> 1))) === 0) continue;
    into[to + i] = words[at++] as number;
    into[to + i + 1] = words[at++] as number;
  }
}

/** The kind that stands in the header which the creating section at `section` writes; 0 where it writes none. */
export function kindIn(words: Int32Array, section: number): number {
  const at = section + HEADER_WORDS;
  const [head, kind] = [words[at] ?? 0, META.kind >> 2];
  // What makes an object marks its header first.
  if ((words[section + 8] ?? 0) === 0 || (head & 0xffffff) !== 0) return 0;
  const mask = head >>> 24;
  if (mask === 0) return words[at + 2 + kind] ?? 0;
  if ((mask & (1 << (kind >>> 1))) === 0) return 0;
  let to = at + 1;
  for (let bit = 0; bit < kind >>> 1; bit++) if ((mask & (1 << bit)) !== 0) to += 2;
  return words[to + (kind & 1)] ?? 0;
}

/** From so many lines with something in them on, a page goes as it is. */
const FULL = PAGE_LINES / 2;

/** Pages of an object that are not all zero, and in how many lines they are not. */
interface Filled {
  readonly h: Handle;
  readonly pages: readonly { readonly first: number; readonly lines: number }[];
}

function filledOf(h: Handle): Filled {
  if (h.cold) h.warm();
  const pages: { readonly first: number; readonly lines: number }[] = [];
  for (let page = 0; page < h.size / PAGE; page++) {
    const lines = page === 0 ? FULL - 1 : linesIn(h.words, page);
    if (lines > 0) pages.push({ first: page * PAGE_LINES, lines });
  }
  return { h, pages };
}

/** Words that its section has at most. */
function mostOf({ pages }: Filled): number {
  let most = HEADER_WORDS;
  for (const { lines } of pages) most += lines >= FULL ? 2 + PAGE_WORDS : lines * (1 + LINE_WORDS);
  return most + PAGE_LINES * (1 + LINE_WORDS);
}

/** Stores the section that creates an object as it is; what is zero is left out. Gives the index behind. */
function putSection({ h, pages }: Filled, out: Int32Array, start: number): number {
  const header = new Int32Array(stampedHeader(h).slice().buffer);
  if (h.kind !== KIND.immutable) header[FLAGS_WORD] = (header[FLAGS_WORD] as number) & ~FLAG.replica;
  let at = start + HEADER_WORDS;
  let count = 0;
  for (const { first, lines } of pages) {
    const from = first === 0 ? header : h.words;
    if (lines >= FULL) {
      out[at] = first;
      out[at + 1] = PAGE_LINES;
      out.set(from.subarray(first * LINE_WORDS, (first + PAGE_LINES) * LINE_WORDS), at + 2);
      at += 2 + PAGE_WORDS;
      count += PAGE_LINES;
      continue;
    }
    for (let line = first; line < first + PAGE_LINES; line++) {
      const behind = putLine(from, line, out, at);
      if (behind > at) count++;
      at = behind;
    }
  }
  putHead(h, out, start, count);
  return at;
}

function putHead({ idWords, size, version }: Handle, out: Int32Array, at: number, lines: number): void {
  out.set(idWords, at);
  out[at + 4] = OPERATION.create;
  out[at + 5] = size;
  out[at + 6] = version | 0;
  out[at + 7] = Math.floor(version / 2 ** 32);
  out[at + 8] = lines;
}

/** An object as it is, as the section that creates it. */
export function sectionOf(h: Handle): Int32Array {
  const filled = filledOf(h);
  const out = new Int32Array(mostOf(filled));
  return out.slice(0, putSection(filled, out, 0));
}

/** Objects as they are, as sections that create them, one behind the other, each behind its length in bytes. */
export function sectionsOf(handles: readonly Handle[]): Uint8Array {
  const all = handles.map(filledOf);
  const out = new Int32Array(all.reduce((sum, filled) => sum + 1 + mostOf(filled), 0));
  let at = 0;
  for (const filled of all) {
    const end = putSection(filled, out, at + 1);
    out[at] = (end - at - 1) * 4;
    at = end;
  }
  return new Uint8Array(out.buffer, 0, at * 4);
}

/**
 * An object as it is now, as `sectionsOf` has one, with all of its zeros; but what lies behind its first page is copied when it is asked for,
 * and is good as long as the object has the same version.
 */
export class LiveSection {
  /** Bytes before the second page of the object: length, head of the section, the first page as one run. */
  static readonly begin = 4 + SECTION.header + 8 + PAGE;
  readonly #h: Handle;
  readonly #version: number;
  readonly #size: number;
  /** What comes before the second page. */
  readonly #begin: Uint8Array;
  /** Bytes. */
  readonly length: number;

  constructor(h: Handle) {
    if (h.cold) h.warm();
    this.#h = h;
    [this.#version, this.#size] = [h.version, h.size];
    const words = new Int32Array(LiveSection.begin / 4);
    const header = words.subarray(1 + HEADER_WORDS + 2);
    header.set(new Int32Array(stampedHeader(h).slice().buffer));
    if (h.kind !== KIND.immutable) header[FLAGS_WORD] = (header[FLAGS_WORD] as number) & ~FLAG.replica;
    this.length = words.length * 4 + h.size - PAGE;
    words[0] = this.length - 4;
    putHead(h, words, 1, h.size / LINE);
    words[1 + HEADER_WORDS + 1] = h.size / LINE;
    this.#begin = new Uint8Array(words.buffer);
  }

  get id(): ObjectId {
    return this.#h.id;
  }

  /** Bytes of the object. */
  get size(): number {
    return this.#size;
  }

  /** Which part of the pages of an object is not zero, about: looks at some. */
  static filled(h: Handle): number {
    if (h.cold) h.warm();
    const pages = h.size / PAGE;
    const step = Math.max(1, pages >> 6);
    let [looked, filled] = [0, 0];
    for (let page = 1; page < pages; page += step) {
      looked++;
      if (linesIn(h.words, page) >= FULL) filled++;
    }
    return filled / looked;
  }

  get isCurrent(): boolean {
    const h = this.#h;
    if (!h.kernel.has(h.id)) return false;
    if (h.cold) h.warm();
    return h.version === this.#version && h.size === this.#size;
  }

  /** Copies its bytes from `at` on, as many as there is room for. */
  copy(at: number, into: Uint8Array): void {
    const first = Math.max(0, Math.min(into.length, this.#begin.length - at));
    if (first > 0) into.set(this.#begin.subarray(at, at + first));
    const from = PAGE + at + first - this.#begin.length;
    into.set(this.#h.u8.subarray(from, from + into.length - first), first);
  }
}

/** The words of a line that are not zero, with which they are before them. Gives the index behind; nothing where all are zero. */
function putLine(words: Int32Array, line: number, out: Int32Array, at: number): number {
  let mask = 0;
  let to = at + 1;
  for (let i = line * LINE_WORDS, bit = 1; bit < 256; i += 2, bit <<= 1) {
    const [a, b] = [words[i] as number, words[i + 1] as number];
    if ((a | b) === 0) continue;
    mask |= bit;
    out[to] = a;
    out[to + 1] = b;
    to += 2;
  }
  if (mask === 0) return at;
  out[at] = (mask << 24) | line;
  return to;
}

/** How many lines of a page have something in them. */
function linesIn(words: Int32Array, page: number): number {
  let lines = 0;
  for (let line = page * PAGE_WORDS, end = line + PAGE_WORDS; line < end; line += LINE_WORDS) {
    let all = 0;
    for (let i = line; i < line + LINE_WORDS; i += 2) all |= (words[i] as number) | (words[i + 1] as number);
    if (all !== 0) lines++;
  }
  return lines;
}

/** Stores the object file that a creating section stands for where all is zero, marked as a replica. */
function fill(image: Int32Array, words: Int32Array, head: SectionHead): void {
  eachLine(words, head, (to, count, at, mask) => put(image, words, to, count, at, mask));
  stamp(image);
}

/** As `fill`, where all but the first page is there. */
function fillFirst(image: Int32Array, words: Int32Array, { id, size, lines }: SectionHead): void {
  const at = HEADER_WORDS + 2;
  if (lines !== size / LINE || words[at - 2] !== 0 || words[at - 1] !== lines || (words.length + 1) * 4 !== LiveSection.begin)
    throw corrupt(`object ${id} is not as it was announced`);
  image.set(words.subarray(at));
  stamp(image);
}

function stamp(image: Int32Array): void {
  const kind = image[META.kind >> 2];
  // Of what is merged every node has a version of its own.
  if (kind !== KIND.immutable && kind !== KIND.progressive) image[FLAGS_WORD] = (image[FLAGS_WORD] as number) | FLAG.replica;
  image[META.checksum >> 2] = headerChecksum(image);
}

/**
 * Does in the running transaction what a section says, to an object that is not this node's own. Throws EngineCorrupt; ObjectForged and
 * the like of what does not hold together.
 */
export function applySection(kernel: Kernel, section: Section): ObjectId {
  const { transaction } = kernel;
  if (transaction === undefined) throw new TwzError('NotInTransaction', 'changes of another node were applied');
  const words = wordsOf(section);
  const staged = 'staged' in section ? section.staged : undefined;
  const head = sectionHead(words);
  const { id, operation } = head;
  if (staged !== undefined && (operation !== OPERATION.create || id !== staged.id || head.size !== staged.size))
    throw corrupt(`object ${staged.id} is not as it was announced`);
  if (operation === OPERATION.create && !kernel.has(id)) {
    if (staged === undefined) importFilled(kernel, id, head.size, (image) => fill(image, words, head));
    else staged.enter((image) => fillFirst(image, words, head));
    forgetDeleted(kernel, id);
    return id;
  }
  if (operation === OPERATION.remove && !kernel.has(id)) return id;
  const h = kernel.open(id);
  if (h.cold) h.reach();
  if (h.kind === KIND.immutable) {
    if (operation === OPERATION.change) throw corrupt(`object ${id} is immutable`);
    if (operation === OPERATION.remove) forsakeReplica(kernel, h);
    return id;
  }
  if (operation === OPERATION.remove) {
    endReplica(kernel, h);
    return id;
  }
  if (staged !== undefined) throw new TwzError('Stale', `object ${id} has come in another way`, { id });
  enter(kernel, transaction, h);
  change(kernel, h, words, head);
  return id;
}

/** Takes an object out of the space that another node has: it is not deleted, it is not here. Inside a transaction. */
export function forsakeReplica(kernel: Kernel, h: Handle): void {
  const { transaction } = kernel;
  if (transaction === undefined) throw new TwzError('NotInTransaction', 'a replica was taken out');
  if (h.pins > 0) throw new TwzError('ObjectPinned', `object ${h.id} cannot go while raw views of it are held`, { id: h.id });
  if (h.cold) h.reach();
  enter(kernel, transaction, h);
  forsake(h);
}

/** Takes an object out of the space that was deleted by the node that owned it. Inside a transaction. */
export function endReplica(kernel: Kernel, h: Handle): void {
  forsakeReplica(kernel, h);
  rememberDeleted(kernel, h.id);
}

function change(kernel: Kernel, h: Handle, words: Int32Array, head: SectionHead): void {
  const { size, operation } = head;
  const keep = (h.words[FLAGS_WORD] as number) & FLAG.replica;
  if (size > h.size) {
    const first = h.size / PAGE;
    kernel.resize(h, size, true);
    h.append(first, size / PAGE - first);
  } else if (size < h.size) {
    if (operation !== OPERATION.create || !canShorten(h)) throw corrupt(`object ${h.id} became shorter`);
    shorten(kernel, h, size);
  }
  if (operation === OPERATION.create) {
    h.markRange(0, size);
    h.words.fill(0);
  }
  eachLine(words, head, (to, count, at, mask) => {
    h.markRange(to * 4, count * 4);
    put(h.words, words, to, count, at, mask);
  });
  h.words[FLAGS_WORD] = ((h.words[FLAGS_WORD] as number) & ~FLAG.replica) | keep;
  h.fot = [];
  h.fotIndex = undefined;
  h.fotEpoch++;
  h.searched = undefined;
  h.released = UNKNOWN;
  h.judged = h.entered = undefined;
  h.turn++;
}

/** Sets or clears the mark of an object that another node owns. Inside a transaction. */
export function setReplica(kernel: Kernel, h: Handle, replica: boolean): void {
  const { transaction } = kernel;
  if (transaction === undefined) throw new TwzError('NotInTransaction', 'an object changed its owner');
  if (h.cold) h.reach();
  if (h.kind === KIND.immutable) return;
  enter(kernel, transaction, h);
  h.mark(META.flags);
  h.words[FLAGS_WORD] = replica ? (h.words[FLAGS_WORD] as number) | FLAG.replica : (h.words[FLAGS_WORD] as number) & ~FLAG.replica;
}

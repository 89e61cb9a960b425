/** Frames: what a transaction did, as it goes into the log. The layout is in abi/log-format.ts. */
import { LINE, LINE_WORDS, PAGE } from '../abi/format.ts';
import { FRAME, OPERATION, SECTION } from '../abi/log-format.ts';
import type { Log } from './log.ts';
import type { Handle } from './object.ts';

/** Worst case of a line in the log: its header and all of it. */
export const LINE_BYTES = 4 + LINE_WORDS * 4;
const SECTION_WORDS = SECTION.header >> 2;

const PAGE_LINES = PAGE / LINE;
/** From so many lines on they are logged as they are: they are copied faster than they are looked at. */
const RUN_MIN = 8 * PAGE_LINES;

/** Is there something in most lines of the page that begins with this line? Going by some of them. */
function isFull(words: Int32Array, line: number): boolean {
  let something = 0;
  for (let i = line * LINE_WORDS; i < (line + PAGE_LINES) * LINE_WORDS; i += 4 * LINE_WORDS) {
    if (((words[i] as number) | (words[i + 1] as number) | (words[i + 8] as number) | (words[i + 9] as number)) !== 0) something++;
  }
  return something > PAGE_LINES / 8;
}

/** Writes the frames of one transaction into the log's tail. */
export class FrameWriter {
  readonly #log: Log;
  readonly #words: Int32Array;
  /** Bytes that may still be needed, an upper bound. */
  #left = 0;
  #frame = 0;
  #at = 0;
  #limit = 0;
  #sections = 0;
  #continued = false;
  #section = 0;
  /** Lines in the section. */
  #count = 0;

  constructor(log: Log) {
    this.#log = log;
    this.#words = log.words;
  }

  /** `bytes`: an upper bound of what it takes. */
  write(handles: readonly Handle[], bytes: number): void {
    this.#left = bytes;
    this.#continued = false;
    this.#open();
    for (const h of handles) {
      if (h.volatile || (h.fresh && h.state === 'deleting')) continue;
      this.#object(h);
    }
    // Nothing to log, unless earlier frames wait for their commit.
    if (this.#sections === 0 && !this.#continued) return;
    this.#log.append(this.#at, this.#sections, true);
  }

  #open(): void {
    const log = this.#log;
    const bytes = Math.min(log.frameMax, this.#left + FRAME.header + SECTION.header + LINE_BYTES + 8);
    this.#frame = log.begin(bytes);
    this.#limit = this.#frame + (bytes >> 2);
    this.#at = this.#frame + (FRAME.header >> 2);
    this.#sections = 0;
  }

  /** Closes this frame as one that the transaction goes on after. */
  #next(): void {
    this.#left -= (this.#at - this.#frame) * 4;
    this.#log.append(this.#at, this.#sections, false);
    this.#continued = true;
    this.#open();
  }

  #begin(h: Handle, operation: number): void {
    if (this.#at + SECTION_WORDS + LINE_BYTES / 4 > this.#limit) this.#next();
    const at = this.#at;
    const words = this.#words;
    const { idWords } = h;
    for (let i = 0; i < 4; i++) words[at + i] = idWords[i] as number;
    const version = h.version + 1;
    words[at + 4] = operation;
    words[at + 5] = h.size;
    words[at + 6] = version | 0;
    words[at + 7] = Math.floor(version / 2 ** 32);
    words[at + 9] = 0;
    this.#section = at;
    this.#at = at + SECTION_WORDS;
    this.#count = 0;
    this.#sections++;
  }

  #finish(): void {
    this.#words[this.#section + 8] = this.#count;
  }

  #object(h: Handle): void {
    const removed = h.state === 'deleting';
    const anew = h.fresh || h.former !== undefined;
    this.#begin(h, removed ? OPERATION.remove : h.adopted ? OPERATION.adopt : anew ? OPERATION.create : OPERATION.change);
    const frame = this.#frame;
    if (!removed && !h.adopted) this.#lines(h, anew);
    this.#finish();
    h.logged = this.#count > 0 || removed || h.fresh || h.size !== h.sizeBefore || this.#frame !== frame;
    if (!h.logged) {
      this.#at = this.#section;
      this.#sections--;
    }
  }

  #lines(h: Handle, anew: boolean): void {
    if (h.whole) {
      this.#range(h, 0, h.size >>> 6);
      return;
    }
    const { lines, appended, count } = h;
    if (anew) for (let i = 0; i < count; i++) this.#range(h, lines[i] as number, (lines[i] as number) + 1);
    else for (let i = 0; i < count; i++) this.#line(h, lines[i] as number, i);
    for (let i = 0; i < appended.length; i += 2) this.#appended(h, appended[i] as number, appended[i + 1] as number);
  }

  /** The section of an object goes on in a further frame. */
  #goOn(h: Handle): void {
    this.#finish();
    this.#next();
    this.#begin(h, OPERATION.change);
  }

  /** The words of one line that differ from its old bytes; nothing where none does. */
  #line(h: Handle, line: number, index: number): void {
    if (this.#at + LINE_BYTES / 4 > this.#limit) this.#goOn(h);
    const { words, undo } = h;
    const from = line * LINE_WORDS;
    const old = index * LINE_WORDS;
    const out = this.#words;
    const head = this.#at;
    let at = head + 1;
    let mask = 0;
    for (let i = 0; i < LINE_WORDS; i += 2) {
      const a = words[from + i] as number;
      const b = words[from + i + 1] as number;
      if (a === undo[old + i] && b === undo[old + i + 1]) continue;
      mask |= 1 << (i >>> 1);
      out[at] = a;
      out[at + 1] = b;
      at += 2;
    }
    if (mask === 0) return;
    out[head] = (mask << 24) | line;
    this.#at = at;
    this.#count++;
  }

  /** Lines of whole pages that were zeros before. */
  #appended(h: Handle, first: number, end: number): void {
    for (let line = first; line < end;) {
      let full = line;
      while (full < end && isFull(h.words, full)) full += PAGE_LINES;
      if (full - line >= RUN_MIN) this.#run(h, line, full);
      else {
        full = Math.max(full, line + PAGE_LINES);
        this.#range(h, line, full);
      }
      line = full;
    }
  }

  /** Lines as they are, in one piece for each frame that they reach into. */
  #run(h: Handle, first: number, end: number): void {
    for (let line = first; line < end;) {
      const room = Math.floor((this.#limit - this.#at - 2) / LINE_WORDS);
      const count = Math.min(end - line, room);
      if (count < 2) {
        // A run of one line would be longer than the line by itself.
        this.#range(h, line, line + 1);
        line++;
        continue;
      }
      const out = this.#words;
      out[this.#at] = line;
      out[this.#at + 1] = count;
      out.set(h.words.subarray(line * LINE_WORDS, (line + count) * LINE_WORDS), this.#at + 2);
      this.#at += 2 + count * LINE_WORDS;
      this.#count += count;
      line += count;
    }
  }

  /** The words of lines that were zeros before. */
  #range(h: Handle, first: number, end: number): void {
    const { words } = h;
    const out = this.#words;
    for (let line = first; line < end; line++) {
      if (this.#at + LINE_BYTES / 4 > this.#limit) this.#goOn(h);
      const head = this.#at;
      let at = head + 1;
      let mask = 0;
      for (let i = line * LINE_WORDS, bit = 1; bit < 256; i += 2, bit <<= 1) {
        const a = words[i] as number;
        const b = words[i + 1] as number;
        if ((a | b) === 0) continue;
        mask |= bit;
        out[at] = a;
        out[at + 1] = b;
        at += 2;
      }
      if (mask === 0) continue;
      out[head] = (mask << 24) | line;
      this.#at = at;
      this.#count++;
    }
  }
}

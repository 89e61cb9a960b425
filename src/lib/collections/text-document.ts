/** TextDocument: a long text that is edited anywhere; its tree is in text-tree.ts. Positions are UTF-16 code units, as in a string. */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { INSPECT } from '../inspect.ts';
import { outOfRange, unfit } from '../runtime.ts';
import { relative, type Source, type Transactor } from './blob.ts';
import type { TAKEN } from './elements.ts';
import { isHigh, TEXT_HEADER, TEXT_POOL, textClear, textDelete, textInsert, textLength, textPiece, textUnit } from './text-tree.ts';
import { collectionType, type CollectionType } from './type.ts';
import { usageOf, type CollectionUsage } from './tools.ts';

/**
 * A persistent text. Changes belong in transactions; each is whole, or throws and changes nothing. Time for an edit grows with the logarithm
 * of the length, wherever it is. The text is always well formed: half of a surrogate pair is refused (ValueMismatch), and so is a position
 * between its halves where something would change (OutOfRange).
 */
export interface TextDocument extends Iterable<string> {
  readonly [TAKEN]: string;
  /** In UTF-16 code units. */
  readonly length: number;
  insert(at: number, text: string): void;
  /** Takes out `length` code units from `at`, fewer where the text ends before. */
  delete(at: number, length: number): void;
  /** Puts `text` in the place of `length` code units from `at`. */
  replace(at: number, length: number, text: string): void;
  append(text: string): void;
  clear(): void;
  /** As String.slice. */
  slice(from?: number, to?: number): string;
  /** As String.at. */
  at(index: number): string | undefined;
  /** As String.charCodeAt. */
  charCodeAt(index: number): number;
  /** As String.codePointAt. */
  codePointAt(index: number): number | undefined;
  indexOf(text: string, from?: number): number;
  includes(text: string, from?: number): boolean;
  /** The lines, without their ends: \n or \r\n. */
  lines(): IterableIterator<string>;
  /** The text in pieces of up to some 2000 code units; none ends within a surrogate pair. */
  chunks(from?: number, to?: number): IterableIterator<string>;
  /** Its UTF-8 as a stream. What is changed meanwhile is seen. */
  readable(): AsyncIterableIterator<Uint8Array>;
  /**
   * Appends what a stream gives, strings or UTF-8, each piece in a transaction of its own, and resolves to the number of code units when it
   * has ended. If it fails, what came before stays. Call it outside a transaction.
   */
  writeFrom(source: Source<string | Uint8Array>, space: Transactor): Promise<number>;
  toString(): string;
  /** As a string has it: by code points. */
  [Symbol.iterator](): IterableIterator<string>;
  usage(): CollectionUsage;
}

function checked(text: unknown): string {
  if (typeof text !== 'string') return unfit('TextDocument', text, 'a string');
  if (/\p{Surrogate}/u.test(text)) throw new TwzError('ValueMismatch', 'TextDocument: the string has half of a surrogate pair');
  return text;
}

class TextAccessor {
  readonly #h: ObjectHandle;
  readonly $o: number;

  constructor(h: ObjectHandle, o: number) {
    this.#h = h;
    this.$o = o | 0;
  }

  get $h(): ObjectHandle {
    return this.#h;
  }

  get length(): number {
    return textLength(this.#h, this.$o);
  }

  /** A position where something may change. */
  #place(at: number): number {
    const { length } = this;
    if (!(at >= 0 && at <= length && Math.trunc(at) === at)) outOfRange('TextDocument', at, length + 1);
    if (at > 0 && at < length && isHigh(textUnit(this.#h, this.$o, at - 1)))
      throw new TwzError('OutOfRange', `TextDocument: position ${at} is within a surrogate pair`, { at });
    return at;
  }

  insert(at: number, text: string): void {
    textInsert(this.#h, this.$o, this.#place(at), checked(text));
  }

  #end(at: number, length: number): number {
    if (!(length >= 0 && Math.trunc(length) === length) && length !== Infinity) outOfRange('TextDocument', length, this.length + 1);
    return this.#place(Math.min(this.length, this.#place(at) + length));
  }

  delete(at: number, length: number): void {
    const end = this.#end(at, length);
    textDelete(this.#h, this.$o, at, end - at);
  }

  replace(at: number, length: number, text: string): void {
    const end = this.#end(at, length);
    // The new one first: if there is no room for it, the old one is still there.
    textInsert(this.#h, this.$o, end, checked(text));
    textDelete(this.#h, this.$o, at, end - at);
  }

  append(text: string): void {
    textInsert(this.#h, this.$o, this.length, checked(text));
  }

  clear(): void {
    textClear(this.#h, this.$o, false);
  }

  slice(from = 0, to = Infinity): string {
    const { length } = this;
    const end = to === Infinity ? length : relative(to, length);
    let text = '';
    for (let at = relative(from, length); at < end;) {
      const piece = textPiece(this.#h, this.$o, at, end);
      text += piece;
      at += piece.length;
    }
    return text;
  }

  at(index: number): string | undefined {
    const { length } = this;
    const whole = Math.trunc(index) || 0;
    const wanted = whole < 0 ? length + whole : whole;
    return wanted >= 0 && wanted < length ? String.fromCharCode(textUnit(this.#h, this.$o, wanted)) : undefined;
  }

  charCodeAt(index: number): number {
    const whole = Math.trunc(index) || 0;
    return whole >= 0 && whole < this.length ? textUnit(this.#h, this.$o, whole) : NaN;
  }

  codePointAt(index: number): number | undefined {
    const whole = Math.trunc(index) || 0;
    return whole < 0 ? undefined : this.slice(whole, whole + 2).codePointAt(0);
  }

  indexOf(text: string, from = 0): number {
    const { length } = this;
    const start = Math.min(length, Math.max(0, Math.trunc(from) || 0));
    if (text === '') return start;
    // The end of one piece and the next one are looked at together.
    let window = '';
    let at = start;
    for (const piece of this.chunks(start)) {
      window += piece;
      const found = window.indexOf(text);
      if (found >= 0) return at + found;
      const kept = Math.min(window.length, text.length - 1);
      at += window.length - kept;
      window = kept === 0 ? '' : window.slice(-kept);
    }
    return -1;
  }

  includes(text: string, from = 0): boolean {
    return this.indexOf(text, from) >= 0;
  }

  *lines(): Generator<string> {
    let rest = '';
    for (const piece of this.chunks()) {
      const lines = (rest + piece).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield line.endsWith('\r') ? line.slice(0, -1) : line;
    }
    if (rest !== '') yield rest;
  }

  *chunks(from = 0, to = Infinity): Generator<string> {
    const end = to === Infinity ? to : relative(to, this.length);
    for (let at = relative(from, this.length); at < Math.min(end, this.length);) {
      const piece = textPiece(this.#h, this.$o, at, end);
      yield piece;
      at += piece.length;
    }
  }

  async *readable(): AsyncGenerator<Uint8Array> {
    const encoder = new TextEncoder();
    let text = '';
    for (const piece of this.chunks()) {
      text += piece;
      if (text.length < 32768) continue;
      yield encoder.encode(text);
      text = '';
    }
    if (text !== '') yield encoder.encode(text);
  }

  async writeFrom(source: Source<string | Uint8Array>, space: Transactor): Promise<number> {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    let written = 0;
    let rest = '';
    const write = (text: string): void => {
      if (text === '') return;
      space.relaxed(() => this.append(text));
      written += text.length;
    };
    for await (const piece of source) {
      const text: string = rest + (typeof piece === 'string' ? piece : decoder.decode(piece, { stream: true }));
      // A pair may lie in two pieces.
      const whole = text !== '' && isHigh(text.charCodeAt(text.length - 1)) ? text.length - 1 : text.length;
      rest = text.slice(whole);
      write(text.slice(0, whole));
    }
    write(rest + decoder.decode());
    return written;
  }

  toString(): string {
    return this.slice();
  }

  *[Symbol.iterator](): Generator<string> {
    for (const piece of this.chunks()) yield* piece;
  }

  usage(): CollectionUsage {
    return usageOf(this.#h, this.$o + TEXT_POOL);
  }

  $assign(content: unknown): void {
    if (content === this) return;
    const text = checked(content instanceof TextAccessor ? content.toString() : content);
    const before = this.length;
    textInsert(this.#h, this.$o, before, text);
    textDelete(this.#h, this.$o, 0, before);
  }

  $taken(): string {
    return this.toString();
  }

  $drop(): void {
    textClear(this.#h, this.$o, false);
  }

  $destroy(): void {
    textClear(this.#h, this.$o, true);
  }

  [INSPECT](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
    const { length } = this;
    const shown = this.slice(0, 100);
    return depth < 0
      ? `[TextDocument(${length})]`
      : `TextDocument(${length}) ${inspect(shown, options)}${length > shown.length ? '…' : ''}`;
  }
}

/** The type of long texts. `text` is for short ones, which are read and written whole. */
export const textDocument: CollectionType<TextDocument, string | TextDocument> = collectionType({
  kind: 'TextDocument',
  name: 'TextDocument',
  signature: 'TextDocument',
  size: TEXT_HEADER,
  shape: { size: TEXT_HEADER },
  parts: [],
  check: (content) => (content instanceof TextAccessor ? content : checked(content)),
  make: () => TextAccessor,
});

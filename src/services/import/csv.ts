/**
 * CSV (RFC 4180): fields in quotes may hold delimiters, newlines and doubled quotes; lines end with LF or CRLF. The delimiter can be
 * another character. The first record is the header, unless one is given. A record is given as an object: name of column to text.
 *
 * Bytes are scanned once for the end of a record; then the whole record is decoded, and cut. Faults in a record do not hide its end.
 */
import { TwzError } from '../../abi/errors.ts';
import { BomFilter, Carry, damaged, decode, type Parser, type Sink } from './parser.ts';

const QUOTE = 34;
const LF = 10;
const CR = 13;

export interface CsvOptions {
  /** One ASCII character; a comma by default. */
  readonly delimiter?: string;
  /** Names of the columns, where the first record has data already. */
  readonly header?: readonly string[];
}

type State = 'start' | 'plain' | 'quoted' | 'closed' | 'return';

export class CsvParser implements Parser {
  readonly #sink: Sink;
  readonly #carry: Carry;
  readonly #bom = new BomFilter();
  readonly #delimiter: string;
  readonly #delimiterByte: number;
  readonly #max: number;
  #header: readonly string[] | undefined;
  #state: State = 'start';
  #line = 1;
  /** Line that the current record begins on. */
  #begin = 1;
  #quotes = false;
  #fault: string | undefined;

  constructor(sink: Sink, recordMax: number, options: CsvOptions = {}) {
    const { delimiter = ',', header } = options;
    if (!/^[\t\x20-\x7e]$/.test(delimiter) || delimiter === '"') {
      throw new TwzError('InvalidArgument', `delimiter ${JSON.stringify(delimiter)}: expected one ASCII character that is no quote`, {
        delimiter,
      });
    }
    this.#sink = sink;
    this.#max = recordMax;
    this.#carry = new Carry(recordMax);
    this.#delimiter = delimiter;
    this.#delimiterByte = delimiter.charCodeAt(0);
    if (header !== undefined) this.#setHeader(header);
  }

  push(chunk: Uint8Array): void {
    for (const part of this.#bom.pass(chunk)) this.#scan(part);
  }

  #scan(chunk: Uint8Array): void {
    const { length } = chunk;
    let from = 0;
    for (let i = 0; i < length; i++) {
      const byte = chunk[i] as number;
      if (this.#state === 'quoted') {
        if (byte === LF) this.#line++;
        else if (byte === QUOTE) this.#state = 'closed';
      } else if (byte === LF) {
        this.#line++;
        this.#finish(chunk.subarray(from, i));
        from = i + 1;
      } else if (byte === this.#delimiterByte && this.#state !== 'return') this.#state = 'start';
      else this.#inside(byte);
    }
    if (from < length) this.#carry.add(chunk.subarray(from));
  }

  /** A byte outside quotes that ends neither field nor record. */
  #inside(byte: number): void {
    if (this.#state === 'return' || (this.#state === 'closed' && byte !== QUOTE)) {
      if (byte === CR && this.#state === 'closed') this.#state = 'return';
      else this.#fault ??= 'text behind a closing quote';
    } else if (byte === QUOTE) {
      if (this.#state === 'plain') this.#fault ??= 'a quote in a field that does not begin with one';
      else this.#state = 'quoted';
      this.#quotes = true;
    } else this.#state = 'plain';
  }

  #finish(last: Uint8Array): void {
    const whole = this.#carry.take(last);
    const quotes = this.#quotes;
    const fault = this.#fault;
    const begin = this.#begin;
    this.#state = 'start';
    this.#quotes = false;
    this.#fault = undefined;
    this.#begin = this.#line;
    if (whole === undefined) {
      this.#sink.bad(`longer than ${this.#max} bytes`, begin);
      return;
    }
    const bytes = whole[whole.length - 1] === CR ? whole.subarray(0, -1) : whole;
    if (bytes.length === 0) return;
    const text = decode(bytes);
    if (text === undefined) this.#sink.bad('not UTF-8', begin);
    else if (fault !== undefined) this.#sink.bad(fault, begin);
    else this.#give(quotes ? unquote(text, this.#delimiter) : text.split(this.#delimiter), begin);
  }

  #give(fields: readonly string[], line: number): void {
    const header = this.#header;
    if (header === undefined) {
      this.#setHeader(fields);
      return;
    }
    if (fields.length !== header.length) {
      this.#sink.bad(`${fields.length} fields; the header has ${header.length}`, line);
      return;
    }
    const row: Record<string, string> = {};
    for (let i = 0; i < header.length; i++) row[header[i] as string] = fields[i] as string;
    this.#sink.record(row, line, 0, undefined);
  }

  #setHeader(names: readonly string[]): void {
    const twice = names.find((name, i) => names.indexOf(name) !== i || name === '__proto__');
    if (twice !== undefined)
      throw new TwzError('ImportRefused', `line 1: the header has the column "${twice}" twice, or may not have it`, {
        line: 1,
        column: twice,
      });
    this.#header = names;
  }

  end(): void {
    this.#scan(this.#bom.rest);
    if (this.#state === 'quoted') throw damaged('the input ends inside quotes', this.#begin);
    this.#finish(new Uint8Array(0));
  }
}

/** The fields of a record that has quotes, and has them where they may be. */
function unquote(text: string, delimiter: string): string[] {
  const fields: string[] = [];
  for (let at = 0; ;) {
    if (text[at] === '"') {
      let field = '';
      let end = text.indexOf('"', at + 1);
      while (text[end + 1] === '"') {
        field += text.slice(at + 1, end + 1);
        at = end + 1;
        end = text.indexOf('"', at + 1);
      }
      fields.push(field + text.slice(at + 1, end));
      at = end + 1;
    } else {
      const end = text.indexOf(delimiter, at);
      fields.push(end === -1 ? text.slice(at) : text.slice(at, end));
      at = end === -1 ? text.length : end;
    }
    if (at >= text.length) return fields;
    at += delimiter.length;
  }
}

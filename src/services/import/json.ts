/**
 * JSON: finds the records in one large document without building it. Records are the elements of the arrays, and the members of the
 * objects, at the places that were asked for. A place is a path of member names; `*` stands for any member or element.
 *
 * Only the containers on the way to a record are parsed here. A record itself is cut out by its brackets and quotes and given to
 * JSON.parse, which is several times faster than a streaming parser that makes an event of every value.
 */
import { Carry, BomFilter, damaged, decode, giveJson, type Parser, type Sink } from './parser.ts';

/** What may come next, in the containers on the way. */
type Expect = 'value' | 'valueOrEnd' | 'key' | 'keyOrEnd' | 'colon' | 'commaOrEnd' | 'end';

interface Container {
  readonly array: boolean;
  /** Places that lead through here: how many of their components are passed is the depth. */
  readonly routes: readonly number[];
  /** The place that is this container itself, or -1. */
  readonly route: number;
}

type Taking =
  | undefined
  /** a record, or a value that nobody asked for */
  | 'record'
  | 'skipped'
  /** the name of a member of a container on the way */
  | 'name';

const QUOTE = 34;
const BACKSLASH = 92;
const LF = 10;

function isSpace(byte: number): boolean {
  return byte === 32 || byte === LF || byte === 13 || byte === 9;
}

export class JsonParser implements Parser {
  readonly #sink: Sink;
  readonly #places: readonly (readonly string[])[];
  readonly #max: number;
  readonly #carry: Carry;
  readonly #bom = new BomFilter();
  readonly #stack: Container[] = [];
  readonly #found = new Set<number>();
  #expect: Expect = 'value';
  #line = 1;

  // The value being taken.
  #taking: Taking;
  #begin = 1;
  #depth = 0;
  #string = false;
  #escaped = false;
  /** A number or a word: it ends before the next delimiter, not with a bracket or quote. */
  #word = false;
  #name: string | undefined;

  constructor(sink: Sink, recordMax: number, places: readonly (readonly string[])[]) {
    this.#sink = sink;
    this.#places = places;
    this.#max = recordMax;
    this.#carry = new Carry(recordMax);
  }

  push(chunk: Uint8Array): void {
    for (const part of this.#bom.pass(chunk)) this.#scan(part);
  }

  #scan(chunk: Uint8Array): void {
    const { length } = chunk;
    for (let i = 0; i < length;) {
      if (this.#taking !== undefined) {
        const end = this.#take(chunk, i);
        if (end === -1) {
          if (this.#taking !== 'skipped') this.#carry.add(chunk.subarray(i));
          return;
        }
        this.#taken(chunk.subarray(i, end));
        i = end;
        continue;
      }
      const byte = chunk[i] as number;
      if (isSpace(byte)) {
        if (byte === LF) this.#line++;
        i++;
      } else if (this.#structure(byte)) i++;
    }
  }

  // --- containers on the way ----------------------------------------------------------------------------------------------

  /** One byte between values. False: a value begins with it, and it is to be looked at again. */
  #structure(byte: number): boolean {
    const char = String.fromCharCode(byte);
    switch (this.#expect) {
      case 'commaOrEnd':
        if (char === ',') this.#expect = this.#stack.at(-1)?.array === true ? 'value' : 'key';
        else this.#close(char);
        return true;
      case 'colon':
        if (char !== ':') throw damaged(`expected ":" and found ${JSON.stringify(char)}`, this.#line);
        this.#expect = 'value';
        return true;
      case 'keyOrEnd':
      case 'key':
        if (char === '}' && this.#expect === 'keyOrEnd') {
          this.#close(char);
          return true;
        }
        if (byte !== QUOTE) throw damaged(`expected the name of a member and found ${JSON.stringify(char)}`, this.#line);
        this.#start('name', byte);
        return false;
      case 'valueOrEnd':
        if (char === ']') {
          this.#close(char);
          return true;
        }
        return this.#value(byte, char);
      case 'value':
        return this.#value(byte, char);
      case 'end':
        throw damaged(`the document is complete, and ${JSON.stringify(char)} follows`, this.#line);
    }
  }

  #close(char: string): void {
    const top = this.#stack.pop();
    if (top === undefined || char !== (top.array ? ']' : '}'))
      throw damaged(
        `expected "," or the end of the ${top?.array === true ? 'array' : 'object'} and found ${JSON.stringify(char)}`,
        this.#line,
      );
    this.#after();
  }

  #after(): void {
    this.#expect = this.#stack.length === 0 ? 'end' : 'commaOrEnd';
  }

  /** A value begins. True where it is a container on the way, and was entered. */
  #value(byte: number, char: string): boolean {
    const top = this.#stack.at(-1);
    if (top !== undefined && top.route !== -1) {
      this.#start('record', byte);
      return false;
    }
    const depth = this.#stack.length;
    const step = top === undefined ? undefined : top.array ? '' : this.#name;
    const routes = this.#places
      .map((_, i) => i)
      .filter(
        (i) =>
          top === undefined || (top.routes.includes(i) && (this.#places[i]?.[depth - 1] === '*' || this.#places[i]?.[depth - 1] === step)),
      );
    if (routes.length === 0 || (char !== '{' && char !== '[')) {
      this.#start('skipped', byte);
      return false;
    }
    const route = routes.find((i) => this.#places[i]?.length === depth) ?? -1;
    if (route !== -1) this.#found.add(route);
    this.#stack.push({ array: char === '[', routes, route });
    this.#expect = char === '[' ? 'valueOrEnd' : 'keyOrEnd';
    return true;
  }

  // --- values -------------------------------------------------------------------------------------------------------------

  #start(taking: 'record' | 'skipped' | 'name', byte: number): void {
    if (byte === 44 || byte === 58 || byte === 93 || byte === 125)
      throw damaged(`expected a value and found ${JSON.stringify(String.fromCharCode(byte))}`, this.#line);
    this.#taking = taking;
    this.#begin = this.#line;
    this.#depth = 0;
    this.#string = false;
    this.#escaped = false;
    this.#word = byte !== QUOTE && byte !== 123 && byte !== 91;
  }

  /** Goes on in the value: where it ends in the chunk, or -1. */
  #take(chunk: Uint8Array, from: number): number {
    const { length } = chunk;
    if (this.#word) {
      for (let i = from; i < length; i++) {
        const byte = chunk[i] as number;
        if (byte === 44 || byte === 93 || byte === 125 || isSpace(byte)) return i;
      }
      return -1;
    }
    let depth = this.#depth;
    let string = this.#string;
    for (let i = from; i < length; i++) {
      const byte = chunk[i] as number;
      if (string) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) {
          string = false;
          if (depth === 0) return i + 1;
        } else if (byte === LF) this.#line++;
      } else if (byte === QUOTE) string = true;
      else if (byte === 123 || byte === 91) depth++;
      else if (byte === 125 || byte === 93) {
        if (--depth === 0) return i + 1;
      } else if (byte === LF) this.#line++;
    }
    this.#depth = depth;
    this.#string = string;
    return -1;
  }

  #taken(last: Uint8Array): void {
    const taking = this.#taking;
    this.#taking = undefined;
    const bytes = taking === 'skipped' ? undefined : this.#carry.take(last);
    if (taking === 'name') {
      this.#name = bytes === undefined ? undefined : nameOf(bytes);
      if (this.#name === undefined) throw damaged('the name of a member is malformed', this.#begin);
      this.#expect = 'colon';
      return;
    }
    this.#after();
    if (taking === 'skipped') return;
    const top = this.#stack.at(-1);
    if (bytes === undefined) this.#sink.bad(`longer than ${this.#max} bytes`, this.#begin);
    else giveJson(this.#sink, bytes, this.#begin, top?.route ?? 0, top?.array === true ? undefined : this.#name);
  }

  end(): void {
    this.#scan(this.#bom.rest);
    if (this.#taking !== undefined && this.#word && this.#stack.length === 0) this.#taken(new Uint8Array(0));
    if (this.#taking !== undefined) throw damaged('the input ends inside a value', this.#begin);
    if (this.#expect !== 'end') throw damaged('the input ends before the document does', this.#line);
    for (const [i, place] of this.#places.entries()) {
      if (!this.#found.has(i)) throw damaged(`the document has no array or object at /${place.join('/')}`, this.#line);
    }
  }
}

function nameOf(bytes: Uint8Array): string | undefined {
  const text = decode(bytes);
  if (text === undefined) return undefined;
  try {
    const name: unknown = JSON.parse(text);
    return typeof name === 'string' ? name : undefined;
  } catch {
    return undefined;
  }
}

/**
 * What the parsers of the three formats share. A parser takes bytes in chunks of any size and gives records with the number of the
 * line that each begins on. It holds one record at most, so its memory is bounded by the longest record that is allowed.
 *
 * Two kinds of fault: a bad record is told to the sink, and parsing goes on behind it; damage that leaves no way to find the next
 * record is thrown as ImportRefused.
 */
import { TwzError } from '../../abi/errors.ts';

export interface Sink {
  /** `route` tells which of the places that were looked for it lay in, `name` its name there, if it had one. */
  record(value: unknown, line: number, route: number, name: string | undefined): void;
  bad(reason: string, line: number): void;
}

export interface Parser {
  /** The parser does not keep the chunk. */
  push(chunk: Uint8Array): void;
  /** The input is complete. */
  end(): void;
}

export const BOM: readonly number[] = [0xef, 0xbb, 0xbf];

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function damaged(reason: string, line: number): TwzError {
  return new TwzError('ImportRefused', `line ${line}: ${reason}; what follows cannot be told apart`, { line });
}

/** Undefined where the bytes are not UTF-8. */
export function decode(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Gives a JSON text to the sink as a record. */
export function giveJson(sink: Sink, bytes: Uint8Array, line: number, route: number, name: string | undefined): void {
  const text = decode(bytes);
  if (text === undefined) {
    sink.bad('not UTF-8', line);
    return;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    sink.bad(`not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, line);
    return;
  }
  sink.record(value, line, route, name);
}

/** Bytes of a record that began in an earlier chunk. */
export class Carry {
  readonly #max: number;
  #bytes: Uint8Array = new Uint8Array(0);
  length = 0;
  /** The record is longer than is allowed; its bytes are not kept. */
  overflown = false;

  constructor(max: number) {
    this.#max = max;
  }

  add(part: Uint8Array): void {
    const length = this.length + part.length;
    if (this.overflown || length > this.#max) {
      this.overflown = true;
      this.#bytes = new Uint8Array(0);
      this.length = 0;
      return;
    }
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(Math.min(this.#max, Math.max(4096, length * 2)));
      larger.set(this.#bytes.subarray(0, this.length));
      this.#bytes = larger;
    }
    this.#bytes.set(part, this.length);
    this.length = length;
  }

  /** What was carried with `last` behind it; undefined where that is too long. Valid until the next `add`. */
  take(last: Uint8Array): Uint8Array | undefined {
    let whole: Uint8Array | undefined = last;
    if (this.length > 0 || this.overflown || last.length > this.#max) {
      this.add(last);
      whole = this.overflown ? undefined : this.#bytes.subarray(0, this.length);
    }
    this.length = 0;
    this.overflown = false;
    return whole;
  }
}

/** Takes a byte-order mark off the beginning of the input, however it is cut. */
export class BomFilter {
  #seen = 0;
  #done = false;

  /** The chunk without the mark. What looked like one and is none comes first. */
  *pass(chunk: Uint8Array): Generator<Uint8Array> {
    let at = 0;
    while (!this.#done && at < chunk.length) {
      if (chunk[at] !== BOM[this.#seen]) {
        this.#done = true;
        if (this.#seen > 0) yield Uint8Array.from(BOM.slice(0, this.#seen));
        break;
      }
      at++;
      this.#seen++;
      if (this.#seen === BOM.length) this.#done = true;
    }
    if (at < chunk.length) yield chunk.subarray(at);
  }

  /** What the input ended in, if that was the beginning of a mark. */
  get rest(): Uint8Array {
    return this.#done ? new Uint8Array(0) : Uint8Array.from(BOM.slice(0, this.#seen));
  }
}

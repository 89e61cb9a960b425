/** NDJSON: a JSON value a line. Blank lines are passed over. */
import { BomFilter, Carry, giveJson, type Parser, type Sink } from './parser.ts';

export class NdjsonParser implements Parser {
  readonly #sink: Sink;
  readonly #carry: Carry;
  readonly #bom = new BomFilter();
  readonly #max: number;
  #line = 1;

  constructor(sink: Sink, recordMax: number) {
    this.#sink = sink;
    this.#max = recordMax;
    this.#carry = new Carry(recordMax);
  }

  push(chunk: Uint8Array): void {
    for (const part of this.#bom.pass(chunk)) this.#scan(part);
  }

  #scan(chunk: Uint8Array): void {
    let from = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      this.#give(chunk.subarray(from, end));
      from = end + 1;
      this.#line++;
    }
    if (from < chunk.length) this.#carry.add(chunk.subarray(from));
  }

  #give(last: Uint8Array): void {
    const bytes = this.#carry.take(last);
    if (bytes === undefined) this.#sink.bad(`longer than ${this.#max} bytes`, this.#line);
    else if (!blank(bytes)) giveJson(this.#sink, bytes, this.#line, 0, undefined);
  }

  end(): void {
    this.#scan(this.#bom.rest);
    this.#give(new Uint8Array(0));
  }
}

function blank(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 32 && byte !== 9 && byte !== 13) return false;
  return true;
}

/** Reading and writing of WebAssembly's binary format, as far as both sides of the rewriting need it. */
import { TwzError } from '../../abi/errors.ts';

export function invalid(reason: string, at?: number): TwzError {
  return new TwzError('ProgramInvalid', at === undefined ? reason : `${reason} (byte ${at} of the module)`, at === undefined ? {} : { at });
}

/** Reads forwards. Everything it is given is hostile. */
export class Reader {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  u8(): number {
    if (this.at >= this.end) throw invalid('the module ends in the middle of something', this.at);
    return this.bytes[this.at++] as number;
  }

  /** An unsigned number of up to 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8();
      if (shift === 28 && byte > 15) break;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 128) return value;
    }
    throw invalid('a number has more than 32 bits', this.at);
  }

  /** A signed number of up to 32 bits. */
  i32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8();
      value |= (byte & 0x7f) << shift;
      if (byte >= 128) continue;
      return shift < 28 && (byte & 0x40) !== 0 ? value | (-1 << (shift + 7)) : value;
    }
    throw invalid('a number has more than 32 bits', this.at);
  }

  /** Passes over a number of any length. */
  skipNumber(): void {
    for (let i = 0; i < 10; i++) if (this.u8() < 128) return;
    throw invalid('a number does not end', this.at);
  }

  skip(count: number): void {
    if (count > this.end - this.at) throw invalid('the module ends in the middle of something', this.at);
    this.at += count;
  }

  take(count: number): Uint8Array {
    const from = this.at;
    this.skip(count);
    return this.bytes.subarray(from, this.at);
  }

  text(): string {
    return TEXT.decode(this.take(this.u32()));
  }

  /** A reader of the next `count` bytes, which are passed over. */
  part(count: number): Reader {
    const from = this.at;
    this.skip(count);
    return new Reader(this.bytes, from, this.at);
  }
}

const TEXT = new TextDecoder('utf-8');
const UTF8 = new TextEncoder();

export class Writer {
  #bytes: Uint8Array;
  length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
  }

  #room(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
  }

  u8(value: number): this {
    this.#room(1);
    this.#bytes[this.length++] = value;
    return this;
  }

  u32(value: number): this {
    this.#room(5);
    while (value >= 128) {
      this.#bytes[this.length++] = (value % 128) | 128;
      value = Math.floor(value / 128);
    }
    this.#bytes[this.length++] = value;
    return this;
  }

  raw(bytes: ArrayLike<number>): this {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }

  /** The bytes, after their number. */
  counted(bytes: ArrayLike<number>): this {
    return this.u32(bytes.length).raw(bytes);
  }

  text(text: string): this {
    return this.counted(UTF8.encode(text));
  }

  clear(): void {
    this.length = 0;
  }

  /** What was written; valid until more is. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
}

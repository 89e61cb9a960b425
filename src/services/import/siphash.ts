/**
 * SipHash with 128 bits of result (Aumasson and Bernstein), c rounds a block and d at the end, on halves of 32 bits.
 *
 * Keyed with random bytes, so nobody can choose keys that collide: records are matched by this hash alone while they are imported
 * (2^-64 for four billion keys). The index keeps 64 bits of it and compares the key itself.
 */
const encoder = new TextEncoder();

export class SipHash {
  /** The result of the last `of`: four words, the first is the most significant in the order of the index. */
  readonly result: Uint32Array = new Uint32Array(4);
  readonly #key: Int32Array;
  readonly #v: Int32Array = new Int32Array(8);
  readonly #c: number;
  readonly #d: number;
  #text: Uint8Array = new Uint8Array(256);

  /** `key`: 16 bytes. */
  constructor(key: Uint8Array, c = 1, d = 3) {
    const view = new DataView(key.buffer, key.byteOffset, 16);
    this.#key = Int32Array.from({ length: 4 }, (_, i) => view.getInt32(i * 4, true));
    this.#c = c;
    this.#d = d;
  }

  /** Hashes a text of a domain (0 to 255): the same text in another domain has another hash. */
  ofText(domain: number, text: string): Uint32Array {
    const { length } = text;
    if (this.#text.length < length * 3 + 1) this.#text = new Uint8Array(length * 6 + 2);
    const bytes = this.#text;
    bytes[0] = domain;
    let i = 0;
    for (; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) break;
      bytes[i + 1] = code;
    }
    if (i === length) return this.of(bytes, length + 1);
    return this.of(bytes, encoder.encodeInto(text, bytes.subarray(1)).written + 1);
  }

  of(bytes: Uint8Array, length: number): Uint32Array {
    const v = this.#v;
    const k = this.#key;
    const k0 = k[0] as number;
    const k1 = k[1] as number;
    const k2 = k[2] as number;
    const k3 = k[3] as number;
    // Each 64-bit word is (low, high).
    v[0] = k0 ^ 0x70736575;
    v[1] = k1 ^ 0x736f6d65;
    v[2] = k2 ^ 0x6e646f6d ^ 0xee;
    v[3] = k3 ^ 0x646f7261;
    v[4] = k0 ^ 0x6e657261;
    v[5] = k1 ^ 0x6c796765;
    v[6] = k2 ^ 0x79746573;
    v[7] = k3 ^ 0x74656462;
    const whole = length & ~7;
    for (let at = 0; at < whole; at += 8) this.#block(word(bytes, at, at + 4), word(bytes, at + 4, at + 8));
    this.#block(word(bytes, whole, Math.min(length, whole + 4)), word(bytes, whole + 4, length) | (length << 24));
    v[4] = (v[4] ?? 0) ^ 0xee;
    rounds(v, this.#d);
    this.#output(0);
    v[2] = (v[2] ?? 0) ^ 0xdd;
    rounds(v, this.#d);
    this.#output(2);
    return this.result;
  }

  #block(low: number, high: number): void {
    const v = this.#v;
    v[6] = (v[6] ?? 0) ^ low;
    v[7] = (v[7] ?? 0) ^ high;
    rounds(v, this.#c);
    v[0] = (v[0] ?? 0) ^ low;
    v[1] = (v[1] ?? 0) ^ high;
  }

  #output(at: number): void {
    const v = this.#v;
    this.result[at] = (v[1] as number) ^ (v[3] as number) ^ (v[5] as number) ^ (v[7] as number);
    this.result[at + 1] = (v[0] as number) ^ (v[2] as number) ^ (v[4] as number) ^ (v[6] as number);
  }
}

/** The little-endian word of bytes [from, to), which are at most four. */
function word(bytes: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let i = from; i < to; i++) value |= (bytes[i] as number) << ((i - from) * 8);
  return value;
}

function rounds(v: Int32Array, count: number): void {
  let a0 = v[0] as number;
  let a1 = v[1] as number;
  let b0 = v[2] as number;
  let b1 = v[3] as number;
  let c0 = v[4] as number;
  let c1 = v[5] as number;
  let d0 = v[6] as number;
  let d1 = v[7] as number;
  let low: number;
  let t: number;
  for (let i = 0; i < count; i++) {
    low = (a0 + b0) | 0;
    a1 = (a1 + b1 + (low >>> 0 < a0 >>> 0 ? 1 : 0)) | 0;
    a0 = low;
    t = (b0 << 13) | (b1 >>> 19);
    b1 = ((b1 << 13) | (b0 >>> 19)) ^ a1;
    b0 = t ^ a0;
    t = a0;
    a0 = a1;
    a1 = t;
    low = (c0 + d0) | 0;
    c1 = (c1 + d1 + (low >>> 0 < c0 >>> 0 ? 1 : 0)) | 0;
    c0 = low;
    t = (d0 << 16) | (d1 >>> 16);
    d1 = ((d1 << 16) | (d0 >>> 16)) ^ c1;
    d0 = t ^ c0;
    low = (a0 + d0) | 0;
    a1 = (a1 + d1 + (low >>> 0 < a0 >>> 0 ? 1 : 0)) | 0;
    a0 = low;
    t = (d0 << 21) | (d1 >>> 11);
    d1 = ((d1 << 21) | (d0 >>> 11)) ^ a1;
    d0 = t ^ a0;
    low = (c0 + b0) | 0;
    c1 = (c1 + b1 + (low >>> 0 < c0 >>> 0 ? 1 : 0)) | 0;
    c0 = low;
    t = (b0 << 17) | (b1 >>> 15);
    b1 = ((b1 << 17) | (b0 >>> 15)) ^ c1;
    b0 = t ^ c0;
    t = c0;
    c0 = c1;
    c1 = t;
  }
  v[0] = a0;
  v[1] = a1;
  v[2] = b0;
  v[3] = b1;
  v[4] = c0;
  v[5] = c1;
  v[6] = d0;
  v[7] = d1;
}

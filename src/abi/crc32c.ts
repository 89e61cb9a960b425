/** CRC-32C (Castagnoli, polynomial 0x1edc6f41 reflected), four bytes a step. Little-endian words, as everywhere in the formats. */

const TABLES: readonly [Int32Array, Int32Array, Int32Array, Int32Array] = [
  new Int32Array(256),
  new Int32Array(256),
  new Int32Array(256),
  new Int32Array(256),
];
for (let n = 0; n < 256; n++) {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = (c & 1) !== 0 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  TABLES[0][n] = c;
}
for (let n = 0; n < 256; n++) {
  let c = TABLES[0][n] ?? 0;
  for (const table of TABLES.slice(1)) {
    c = (TABLES[0][c & 255] ?? 0) ^ (c >>> 8);
    table[n] = c;
  }
}
const [T0, T1, T2, T3] = TABLES;

/** Checksum of words[from, to), continuing `seed` (0 to begin). Returns an unsigned 32-bit number. */
export function crc32c(words: Int32Array, from: number, to: number, seed: number): number {
  let c = ~seed;
  for (let i = from; i < to; i++) {
    c ^= words[i] as number;
    c = (T3[c & 255] as number) ^ (T2[(c >>> 8) & 255] as number) ^ (T1[(c >>> 16) & 255] as number) ^ (T0[c >>> 24] as number);
  }
  return ~c >>> 0;
}

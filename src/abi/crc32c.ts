/** CRC-32C (Castagnoli, polynomial 0x1edc6f41 reflected), eight bytes a step. Little-endian words, as everywhere in the formats. */

const table = (): Int32Array => new Int32Array(256);
/** What a byte does to the checksum that is followed by as many bytes as the table's number. */
const TABLES = [table(), table(), table(), table(), table(), table(), table(), table()] as const;
for (let n = 0; n < 256; n++) {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = (c & 1) !== 0 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  TABLES[0][n] = c;
}
for (let n = 0; n < 256; n++) {
  let c = TABLES[0][n] ?? 0;
  for (const following of TABLES.slice(1)) {
    c = (TABLES[0][c & 255] ?? 0) ^ (c >>> 8);
    following[n] = c;
  }
}
const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES;

/** Checksum of words[from, to), continuing `seed` (0 to begin). Returns an unsigned 32-bit number. */
export function crc32c(words: Int32Array, from: number, to: number, seed: number): number {
  let c = ~seed;
  let i = from;
  for (; i + 2 <= to; i += 2) {
    c ^= words[i] as number;
    const d = words[i + 1] as number;
    c =
      (T7[c & 255] as number) ^
      (T6[(c >>> 8) & 255] as number) ^
      (T5[(c >>> 16) & 255] as number) ^
      (T4[c >>> 24] as number) ^
      (T3[d & 255] as number) ^
      (T2[(d >>> 8) & 255] as number) ^
      (T1[(d >>> 16) & 255] as number) ^
      (T0[d >>> 24] as number);
  }
  if (i < to) {
    c ^= words[i] as number;
    c = (T3[c & 255] as number) ^ (T2[(c >>> 8) & 255] as number) ^ (T1[(c >>> 16) & 255] as number) ^ (T0[c >>> 24] as number);
  }
  return ~c >>> 0;
}

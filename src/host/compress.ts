/** Bytes made smaller for a link that is slower than that takes. Brotli at its second lowest level, which gives up early on what does not shrink. */
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';

const { BROTLI_PARAM_LGWIN, BROTLI_PARAM_QUALITY, BROTLI_PARAM_SIZE_HINT } = constants;
const QUALITY = 1;
/** As large as what is compressed at once. */
const WINDOW_BITS = 18;

/** What these bytes are called where it is said which way they were compressed. */
export const PACKED = 'brotli';

export function compress(bytes: Uint8Array): Uint8Array {
  const params = { [BROTLI_PARAM_QUALITY]: QUALITY, [BROTLI_PARAM_LGWIN]: WINDOW_BITS, [BROTLI_PARAM_SIZE_HINT]: bytes.length };
  return brotliCompressSync(bytes, { params });
}

/** Undefined where they do not become so many bytes: never more memory than that is taken. */
export function expand(bytes: Uint8Array, length: number): Uint8Array | undefined {
  try {
    const expanded = brotliDecompressSync(bytes, { maxOutputLength: Math.max(1, length) });
    return expanded.length === length ? expanded : undefined;
  } catch {
    return undefined;
  }
}

/** A type's fingerprint: 64 bits of FNV-1a over its signature, kept as two 32-bit words so that no BigInt is needed. */

export interface Fingerprint {
  readonly low: number;
  readonly high: number;
}

/** FNV-1a with the 64-bit prime 0x100000001b3, by 32-bit halves. */
export function fingerprintOf(signature: string): Fingerprint {
  let low = 0x84222325;
  let high = 0xcbf29ce4;
  for (const byte of new TextEncoder().encode(signature)) {
    low = (low ^ byte) >>> 0;
    const product = low * 0x1b3;
    const carried = Math.floor(product / 2 ** 32) + high * 0x1b3 + low * 0x100;
    low = product >>> 0;
    high = (carried % 2 ** 32) >>> 0;
  }
  return { low, high };
}

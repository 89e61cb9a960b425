/**
 * The file of an LMDB environment, as 64-bit little-endian machines write it. All is in pages; a page number is 8 bytes.
 *
 *                 version 1 (LMDB 0.9)                       version 2 (LMDB 1.0, the npm package lmdb)
 *   page header   16 bytes                                   24 bytes
 *                   0  page number                             0  page number
 *                                                              8  transaction
 *                   8  size of the keys of a LEAF2 page       16  the same
 *                  10  flags                                  18  flags
 *                  12  lower, upper; or pages of overflow     20  the same
 *   offsets       from the start of the page                 from the end of the header
 *   big value     page number                                page number, transaction, number of pages: 24 bytes
 *
 *   meta          pages 0 and 1, the newer one holds; behind the header:
 *                   0 magic  4 version  8 address  16 size of the map  24 free list  72 main database  120 last page  128 transaction
 *   database      48 bytes: 0 page size (free list), or size of LEAF2 keys  4 flags  6 depth  8, 16, 24 pages: branch, leaf, overflow
 *                   32 entries  40 root, all ones where it is empty
 *   node          0 size of the value, or page number, low 32 bits  4 flags, or page number, high 16 bits  6 size of the key  8 key, value
 */

export const MAGIC = 0xbeefc0de;
export const METAS = 2;
export const DEPTH_MAX = 32;
export const DATABASE_BYTES = 48;
export const NODE_BYTES = 8;

export type DataVersion = 1 | 2;

export interface Layout {
  readonly version: DataVersion;
  /** Bytes of a page's header. */
  readonly header: number;
  /** What offsets in a page count from. */
  readonly base: number;
  /** In the header. */
  readonly pad: number;
  readonly flags: number;
  readonly lower: number;
  readonly upper: number;
  /** Bytes that a node has in place of a value in overflow pages. */
  readonly big: number;
}

export const LAYOUTS: Readonly<Record<DataVersion, Layout>> = {
  1: { version: 1, header: 16, base: 0, pad: 8, flags: 10, lower: 12, upper: 14, big: 8 },
  2: { version: 2, header: 24, base: 24, pad: 16, flags: 18, lower: 20, upper: 22, big: 24 },
};

export const META = { MAGIC: 0, VERSION: 4, MAP_SIZE: 16, FREE: 24, MAIN: 72, LAST: 120, TRANSACTION: 128, BYTES: 136 } as const;
export const DATABASE = { PAD: 0, FLAGS: 4, DEPTH: 6, BRANCHES: 8, LEAVES: 16, OVERFLOWS: 24, ENTRIES: 32, ROOT: 40 } as const;
export const NODE = { LOW: 0, FLAGS: 4, KEY_SIZE: 6 } as const;

export const PAGE = { BRANCH: 1, LEAF: 2, OVERFLOW: 4, META: 8, DIRTY: 0x10, LEAF2: 0x20, SUB: 0x40 } as const;
export const ENTRY = { BIG: 1, DATABASE: 2, DUPLICATES: 4 } as const;

/** Flags of a database. VERSIONS is of the npm package: 8 bytes before each value. */
export const FLAG = { REVERSE_KEY: 2, DUPSORT: 4, INTEGER_KEY: 8, DUPFIXED: 0x10, INTEGER_DUP: 0x20, VERSIONS: 0x100 } as const;
/** A flag of the environment, kept with those of the free list. */
export const ENCRYPTED = 0x2000;

/** What a key, and a value among several of a key, may have in LMDB 0.9. */
export const KEY_MAX = 511;

export type Compare = (a: Uint8Array, b: Uint8Array) => number;

/** As memcmp; what is a start of the other comes first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Integers in the byte order of the machine. */
export function compareIntegers(a: Uint8Array, b: Uint8Array): number {
  for (let i = a.length - 1; i >= 0; i--) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

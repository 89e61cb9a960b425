/**
 * The object file, byte for byte. docs/formats/object.md is the long form, with a worked example.
 *
 *   0      +---------------------------+
 *          | metadata page (4096)      |  doubles as the null page: no pointer into it is valid
 *   4096   +---------------------------+
 *          | data: allocations, FOT    |  pages, each owned by one size class, one large run,
 *          | chunks, page-map chunks   |  the FOT or the page map; free pages may be holes
 *   size   +---------------------------+
 *
 * Little-endian. Offsets are bytes from the start of the object.
 */

export const PAGE = 4096;
export const LINE = 64;
export const LINE_WORDS = LINE / 4;
export const OBJECT_MAGIC = 0x314f5754; // "TWO1" read as a little-endian u32
export const OBJECT_FORMAT = 1;
export const OBJECT_SIZE_MAX = 1 << 30;
export const OBJECT_SIZE_MIN = 2 * PAGE;

/** Field offsets in the metadata page. Lengths in bytes behind each. */
export const META = {
  magic: 0, // 4
  format: 4, // 4
  id: 8, // 16
  nonce: 24, // 16
  key: 40, // 16  ID of the verifying-key object, zero for none
  rights: 56, // 4   default rights: bits of RIGHT
  kind: 60, // 4   KIND
  size: 64, // 4   bytes, a multiple of PAGE
  flags: 68, // 4   FLAG
  version: 72, // 8   commits that changed this object, stamped when the page is written to the file
  root: 80, // 4   offset of the root, 0 for none
  rootType: 84, // 8   fingerprint of the root's type
  typeVersion: 92, // 4
  fotCount: 96, // 4   entries ever used; index 0 (self) counts
  fotFree: 100, // 4   head of the free list of FOT entries, 0 for none
  tieCount: 104, // 4
  schema: 108, // 4   offset of the schema text (UTF-8, length first), 0 for none
  checksum: 112, // 4   CRC-32C of the page with this field zero, stamped when the page is written to the file
  pageHint: 116, // 4   page number where the search for free pages starts
  forwards: 120, // 4   offset of the list of moved structs, 0 for none
  share: 124, // 4   of a shared object: offset of the word pair that counts the runs of the machine
  fotChunks: 128, // 18 x 4  page number of each FOT chunk
  pageChunks: 224, // 12 x 4  page number of each page-map chunk
  ties: 288, // 13 x 16 IDs of the objects this one lives as long as
  owner: 496, // 16  ID of the object whose collection goes on in this one, zero for none
  classes: 512, // 22 x 16 {free head, bump, bump end, live count} a size class
  tail: 864, // 4   of an append-only object: offset behind the element that was appended last, 0 for none
  row: 868, // 4   of an append-only object: offset of the directory of its log, 0 for none
  ledger: 872, // 4   of an append-only object: offset of the list of appends of other nodes, 0 for none
  merge: 880, // 16  of a progressive object: ID of the code object that merges two versions of it, zero for none
  fot: 1024, // 16 x 32 the first FOT entries
  pageMap: 2048, // 1024 x 2 the first page-map entries
} as const;

export const TIES_MAX = 13;

export const RIGHT = { read: 1, write: 2, execute: 4 } as const;
export const RIGHTS_ALL = 7;

export const KIND = { owned: 1, immutable: 2, volatile: 3, shared: 4, 'append-only': 5, progressive: 6 } as const;
export type Kind = keyof typeof KIND;

export const FLAG = {
  /** Deleted, but kept while something that it is tied to lives. */
  deleted: 1,
  /** Reclaimed by tracing when nothing reachable refers to it. */
  counted: 2,
  /** Raw views were handed out: FOT entries are never reclaimed on their counts alone. */
  raw: 4,
  /** Keys of collections in it name the object itself by its ID: a copy would need other keys. */
  ownKeys: 8,
  /** Another node owns it, and what is here follows that one: it is stored to after its ownership has moved here. Not sent along. */
  replica: 16,
} as const;

/**
 * FOT entry, 32 bytes: target 0 (16: ID, or u32 offset and u32 length of a path in this object), resolver 16 (u32 offset
 * of a resolver name record, 0 for the default), flags 20 (u32), count 24 (u32: pointers stored by accessors), next 28 (u32, free list).
 */
export const FOT = { entry: 32, target: 0, resolver: 16, flags: 20, count: 24, next: 28, embedded: 16, chunk0: 128, chunks: 18 } as const;
export const FOT_FLAG = {
  used: 1,
  name: 2,
  /** The target's ID stands in keys of collections, too: the entry cannot be pointed elsewhere. */
  key: 4,
  /** The target is a part of this object: a collection goes on in it. It is copied, sealed, exported and deleted together with this one. */
  part: 8,
} as const;
export const FOT_MAX = 1 << 24;

/** Page-map entry, u16: kind in the low 4 bits, size class in the next 6. */
export const PAGE_KIND = { free: 0, meta: 1, span: 2, largeHead: 3, largeRest: 4, fot: 5, pageMap: 6 } as const;
export const PAGE_MAP = { embedded: 1024, chunk0: 2048, chunks: 12 } as const;

/** Size classes of the allocator in bytes. Larger blocks take whole pages. */
export const SIZE_CLASSES: readonly number[] = [
  8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1360, 2048,
];

/** Pointer, u64: offset in the low 40 bits, FOT index in the upper 24. Zero is null. */
export const POINTER = { size: 8, indexShift: 8 } as const;

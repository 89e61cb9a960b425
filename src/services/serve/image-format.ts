/**
 * An image of an object, in memory that clients have for reading only:
 *
 *   0     magic "TWI1"
 *   4     sequence: odd while the server changes what follows
 *   8     state: IMAGE_STATE
 *   12    size of the object in bytes
 *   16    version u64
 *   4096  the object
 */
export const IMAGE = { magic: 0, sequence: 1, state: 2, size: 3, versionLow: 4, versionHigh: 5 } as const;
export const IMAGE_MAGIC = 0x31495754;
export const IMAGE_STATE = {
  live: 1,
  /** It changes no more: who still may read the object opens it anew. */
  withdrawn: 2,
  deleted: 3,
} as const;

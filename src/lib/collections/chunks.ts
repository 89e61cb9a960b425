/**
 * Chunks: a row of places over as many objects as it takes, for Vec and Blob. Places never move while the row grows.
 *
 *   header (48)   0 length (two words)  8 directory  12 its room, in chunks  16 count of chunks  20 changes  24 pool
 *   directory     addresses of chunks; it doubles when it is full
 *   chunk k       the first holds `first` places, each further one as many as all before it, until they reach the constant size
 *
 * `changes` counts the chunks that came and went: who has kept the place of one looks again then. An abort takes the count back, and what
 * follows could bring it to where it was, with other chunks; so `epoch` counts the same in memory.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { POOL_HEADER, poolAllocate, poolDestroy, poolObject, poolRelease } from './pool.ts';
import { specialize } from './specialize.ts';
import { damaged } from './tools.ts';

export const CHUNKS_HEADER: number = 24 + POOL_HEADER;
export const CHUNKS_POOL = 24;
const CHUNK_BYTES = 65536;

export interface Chunks {
  /** What `locate` found: the object, the first place in the chunk, and the first behind it. */
  handle: ObjectHandle | undefined;
  start: number;
  end: number;
  /** Counts chunks that came or went, in this process. */
  epoch: number;
  length(h: ObjectHandle, o: number): number;
  setLength(h: ObjectHandle, o: number, length: number): void;
  changes(h: ObjectHandle, o: number): number;
  /** Chunks that there are. */
  count(h: ObjectHandle, o: number): number;
  /** Byte offset of a place that there is. */
  locate(h: ObjectHandle, o: number, index: number): number;
  /** Makes room for `length` places. */
  reserve(h: ObjectHandle, o: number, length: number): void;
  /** Gives back what no place below `length` needs, but for one chunk. */
  trim(h: ObjectHandle, o: number, length: number): void;
  /** Gives back everything. */
  clear(h: ObjectHandle, o: number, whole: boolean): void;
}

interface ChunkTools {
  readonly allocate: typeof poolAllocate;
  readonly release: typeof poolRelease;
  readonly object: typeof poolObject;
  readonly destroy: typeof poolDestroy;
  readonly damaged: typeof damaged;
  readonly tooMany: (length: number) => never;
}

const TOOLS: ChunkTools = {
  allocate: poolAllocate,
  release: poolRelease,
  object: poolObject,
  destroy: poolDestroy,
  damaged,
  tooMany(length) {
    throw new TwzError('ObjectTooLarge', `${length} elements do not fit a collection`, { length });
  },
};

function makeChunks(STRIDE: number, FIRST_SHIFT: number, SHIFT: number, T: ChunkTools): Chunks {
  const HIGH = 4;
  const DIRECTORY = 8;
  const ROOM = 12;
  const COUNT = 16;
  const CHANGES = 20;
  const POOL = 24;
  const FIRST = 2 ** FIRST_SHIFT;
  const CHUNK = 2 ** SHIFT;
  const MASK = CHUNK - 1;
  /** Chunks that hold the first CHUNK places. */
  const LEVELS = SHIFT - FIRST_SHIFT + 1;

  const offset = (address: number): number => (address & 0x3fffff) << 4;

  function object(h: ObjectHandle, o: number, address: number): ObjectHandle {
    if (address >>> 22 === 0) return h;
    // It must not go to make room for this one.
    h.used = true;
    return T.object(h, o + POOL, address);
  }

  function put(h: ObjectHandle, at: number, value: number): void {
    if (h.dirty[at >>> 6] !== 1) h.mark(at);
    h.dv.setUint32(at, value, true);
  }

  const sizeOf = (k: number): number => (k === 0 ? FIRST : k < LEVELS ? FIRST << (k - 1) : CHUNK);
  /** How many chunks `length` places take. */
  function chunksFor(length: number): number {
    if (length === 0) return 0;
    const last = length - 1;
    if (last >= CHUNK) return LEVELS + Math.floor(last / CHUNK);
    return last < FIRST ? 1 : 33 - Math.clz32(last >>> FIRST_SHIFT);
  }

  function addressOf(h: ObjectHandle, o: number, k: number): number {
    const { dv } = h;
    const directory = dv.getUint32(o + DIRECTORY, true);
    if (directory === 0 || k >= dv.getUint32(o + ROOM, true)) h.corrupt(o, `chunk ${k} is missing`);
    const address = object(h, o, directory).dv.getUint32(offset(directory) + k * 4, true);
    if (address === 0) h.corrupt(o, `chunk ${k} is missing`);
    return address;
  }

  function locate(h: ObjectHandle, o: number, index: number): number {
    let k = 0;
    let within = index;
    let start = 0;
    let end = FIRST;
    if (index < CHUNK) {
      if (index >= FIRST) {
        k = 32 - Math.clz32(index >>> FIRST_SHIFT);
        end = FIRST << k;
        start = end >>> 1;
        within = index - start;
      }
    } else {
      const n = index <= 0x7fffffff ? index >>> SHIFT : Math.floor(index / CHUNK);
      k = LEVELS - 1 + n;
      within = index & MASK;
      start = n * CHUNK;
      end = start + CHUNK;
    }
    try {
      const address = addressOf(h, o, k);
      chunks.handle = object(h, o, address);
      chunks.start = start;
      chunks.end = end;
      return offset(address) + within * STRIDE;
    } catch (error) {
      throw T.damaged(h, o, error);
    }
  }

  /** A directory for twice as many chunks. */
  function widen(h: ObjectHandle, o: number): void {
    const room = h.dv.getUint32(o + ROOM, true);
    const old = h.dv.getUint32(o + DIRECTORY, true);
    const wider = Math.max(4, room * 2);
    const address = T.allocate(h, o + POOL, wider * 4);
    if (old !== 0) {
      const to = object(h, o, address);
      to.markRange(offset(address), room * 4);
      const from = object(h, o, old);
      to.u8.set(from.u8.subarray(offset(old), offset(old) + room * 4), offset(address));
    }
    put(h, o + DIRECTORY, address);
    put(h, o + ROOM, wider);
    if (old !== 0) T.release(h, o + POOL, old);
  }

  function changed(h: ObjectHandle, o: number): void {
    chunks.epoch++;
    put(h, o + CHANGES, (h.dv.getUint32(o + CHANGES, true) + 1) >>> 0);
  }

  const chunks: Chunks = {
    handle: undefined,
    start: 0,
    end: 0,
    epoch: 0,
    locate,

    length: (h, o) => h.dv.getUint32(o, true) + h.dv.getUint32(o + HIGH, true) * 0x100000000,

    setLength(h, o, length) {
      if (h.dirty[o >>> 6] !== 1) h.mark(o);
      h.dv.setUint32(o, length >>> 0, true);
      if (length > 0xffffffff || h.dv.getUint32(o + HIGH, true) !== 0) put(h, o + HIGH, Math.floor(length / 0x100000000));
    },

    changes: (h, o) => h.dv.getUint32(o + CHANGES, true),
    count: (h, o) => h.dv.getUint32(o + COUNT, true),

    reserve(h, o, length) {
      if (length * STRIDE > 2 ** 36) T.tooMany(length);
      const wanted = chunksFor(length);
      for (let count = h.dv.getUint32(o + COUNT, true); count < wanted; count++) {
        if (count === h.dv.getUint32(o + ROOM, true)) widen(h, o);
        const bytes = sizeOf(count) * STRIDE;
        const address = T.allocate(h, o + POOL, bytes < 16 ? 16 : bytes);
        const directory = h.dv.getUint32(o + DIRECTORY, true);
        put(object(h, o, directory), offset(directory) + count * 4, address);
        put(h, o + COUNT, count + 1);
        changed(h, o);
      }
    },

    trim(h, o, length) {
      const wanted = chunksFor(length) + 1;
      let count = h.dv.getUint32(o + COUNT, true);
      if (count <= wanted) return;
      changed(h, o);
      while (count > wanted) {
        count--;
        const address = addressOf(h, o, count);
        const directory = h.dv.getUint32(o + DIRECTORY, true);
        put(object(h, o, directory), offset(directory) + count * 4, 0);
        put(h, o + COUNT, count);
        T.release(h, o + POOL, address);
      }
    },

    clear(h, o, whole) {
      const count = h.dv.getUint32(o + COUNT, true);
      const directory = h.dv.getUint32(o + DIRECTORY, true);
      if (!whole) {
        for (let k = 0; k < count; k++) {
          const address = addressOf(h, o, k);
          if (address >>> 22 === 0) h.release(offset(address));
        }
        if (directory !== 0 && directory >>> 22 === 0) h.release(offset(directory));
      }
      T.destroy(h, o + POOL);
      put(h, o + DIRECTORY, 0);
      put(h, o + ROOM, 0);
      put(h, o + COUNT, 0);
      changed(h, o);
      chunks.setLength(h, o, 0);
    },
  };
  return chunks;
}

/** Rows of places of `stride` bytes; the first chunk has at least `first` places and 16 bytes. */
export function chunksOf(stride: number, first: number): Chunks {
  const shift = Math.max(0, 31 - Math.clz32(Math.floor(CHUNK_BYTES / stride)));
  const least = Math.ceil(Math.log2(Math.max(first, 16 / stride)));
  return specialize(makeChunks)(stride, Math.min(least, shift), shift, TOOLS);
}

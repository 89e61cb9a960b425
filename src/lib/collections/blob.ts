/**
 * Blob: bytes over as many objects as they take, in chunks (chunks.ts). The header is that of the chunks; a place is a byte.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { INSPECT } from '../inspect.ts';
import { outOfRange, unfit } from '../runtime.ts';
import { CHUNKS_HEADER, CHUNKS_POOL, chunksOf, type Chunks } from './chunks.ts';
import type { TAKEN } from './elements.ts';
import { collectionType, type CollectionType } from './type.ts';
import { usageOf, type CollectionUsage } from './tools.ts';

/** What runs a transaction: a space. */
export interface Transactor {
  relaxed<T>(body: () => T): T;
}

/** A stream, or anything else that gives one piece after the other. */
export type Source<T> = AsyncIterable<T> | Iterable<T>;

/** Persistent bytes, as long as need be. Changes belong in transactions; each is whole, or throws and changes nothing. */
export interface Blob {
  readonly [TAKEN]: Uint8Array;
  readonly size: number;
  /** A copy of `length` bytes from `at`, fewer where the Blob ends before. Throws OutOfRange where `at` lies behind the end. */
  read(at?: number, length?: number): Uint8Array;
  /** Copies bytes from `at` on, as many as `target` takes; returns how many. */
  readInto(target: Uint8Array, at?: number): number;
  /** Overwrites, and goes on behind the end. There are no holes: throws OutOfRange where `at` lies behind the end. */
  write(at: number, bytes: Uint8Array): void;
  /** Returns the new size. */
  append(bytes: Uint8Array): number;
  /** Drops all from `size` on. */
  truncate(size: number): void;
  clear(): void;
  /** A copy; negative positions count from the end, as with an Array. */
  slice(from?: number, to?: number): Uint8Array;
  /** Copies, some 64 KiB each. */
  chunks(from?: number, to?: number): IterableIterator<Uint8Array>;
  /** The same as a stream: for `for await`, `Readable.from`, `ReadableStream.from`. What is changed meanwhile is seen. */
  readable(from?: number, to?: number): AsyncIterableIterator<Uint8Array>;
  /**
   * Appends what a stream gives, each piece in a transaction of its own, and resolves to the number of bytes when it has ended. If it
   * fails, what came before stays. Call it outside a transaction.
   */
  writeFrom(source: Source<Uint8Array>, space: Transactor): Promise<number>;
  usage(): CollectionUsage;
}

const PIECE = 65536;
const C: Chunks = chunksOf(1, 64);

function checked(bytes: unknown): Uint8Array {
  return bytes instanceof Uint8Array ? bytes : unfit('Blob', bytes, 'a Uint8Array');
}

/** A position as Array takes it. */
export function relative(index: number, length: number): number {
  const whole = Math.trunc(index) || 0;
  return whole < 0 ? Math.max(0, length + whole) : Math.min(whole, length);
}

class BlobAccessor {
  readonly #h: ObjectHandle;
  readonly $o: number;

  constructor(h: ObjectHandle, o: number) {
    this.#h = h;
    this.$o = o | 0;
  }

  get $h(): ObjectHandle {
    return this.#h;
  }

  get size(): number {
    const h = this.#h;
    if (h.cold) h.warm();
    return C.length(h, this.$o);
  }

  #check(at: number): number {
    const { size } = this;
    if (!(at >= 0 && at <= size && Math.trunc(at) === at)) outOfRange('Blob', at, size + 1);
    return size;
  }

  /** Visits [from, to) by chunks. */
  #each(from: number, to: number, visit: (t: ObjectHandle, at: number, length: number, index: number) => void): void {
    for (let i = from; i < to;) {
      const at = C.locate(this.#h, this.$o, i);
      const t = C.handle as ObjectHandle;
      if (t.cold) t.warm();
      const end = Math.min(to, C.end);
      visit(t, at, end - i, i);
      i = end;
    }
  }

  read(at = 0, length = Infinity): Uint8Array {
    const size = this.#check(at);
    if (!(length >= 0)) outOfRange('Blob', length, size + 1);
    return this.slice(at, Math.min(size, at + length));
  }

  readInto(target: Uint8Array, at = 0): number {
    const size = this.#check(at);
    const end = Math.min(size, at + checked(target).length);
    this.#each(at, end, (t, from, length, i) => target.set(t.u8.subarray(from, from + length), i - at));
    return end - at;
  }

  write(at: number, bytes: Uint8Array): void {
    const size = this.#check(at);
    const end = at + checked(bytes).length;
    if (end > size) C.reserve(this.#h, this.$o, end);
    this.#each(at, end, (t, to, length, i) => {
      t.markRange(to, length);
      t.u8.set(bytes.subarray(i - at, i - at + length), to);
    });
    if (end > size) C.setLength(this.#h, this.$o, end);
  }

  append(bytes: Uint8Array): number {
    this.write(this.size, bytes);
    return this.size;
  }

  truncate(size: number): void {
    if (!(size >= 0) || Math.trunc(size) !== size) outOfRange('Blob', size, this.size + 1);
    if (size >= this.size) return;
    if (size === 0) {
      this.clear();
      return;
    }
    C.setLength(this.#h, this.$o, size);
    C.trim(this.#h, this.$o, size);
  }

  clear(): void {
    this.#empty(false);
  }

  #empty(whole: boolean): void {
    const h = this.#h;
    if (h.cold) h.warm();
    if (C.length(h, this.$o) > 0 || C.count(h, this.$o) > 0) C.clear(h, this.$o, whole);
  }

  slice(from = 0, to = this.size): Uint8Array {
    const { size } = this;
    const start = relative(from, size);
    const end = Math.max(start, relative(to, size));
    if (end - start > 2 ** 31)
      throw new TwzError('OutOfRange', `${end - start} bytes at once; read them in pieces`, { length: end - start });
    const bytes = new Uint8Array(end - start);
    this.readInto(bytes, start);
    return bytes;
  }

  *chunks(from = 0, to = Infinity): Generator<Uint8Array> {
    const end = to === Infinity ? to : relative(to, this.size);
    for (let at = relative(from, this.size); at < Math.min(end, this.size);) {
      const piece = this.slice(at, Math.min(end, at + PIECE, this.size));
      yield piece;
      at += piece.length;
    }
  }

  async *readable(from?: number, to?: number): AsyncGenerator<Uint8Array> {
    yield* this.chunks(from, to);
  }

  async writeFrom(source: Source<Uint8Array>, space: Transactor): Promise<number> {
    let written = 0;
    for await (const piece of source) {
      space.relaxed(() => this.append(piece));
      written += piece.length;
    }
    return written;
  }

  usage(): CollectionUsage {
    return usageOf(this.#h, this.$o + CHUNKS_POOL);
  }

  $assign(content: unknown): void {
    if (content === this) return;
    const bytes = content instanceof BlobAccessor ? content.slice() : checked(content);
    const { size } = this;
    if (size <= bytes.length) this.write(0, bytes);
    else {
      this.write(0, bytes);
      this.truncate(bytes.length);
    }
  }

  $taken(): Uint8Array {
    return this.slice();
  }

  $drop(): void {
    this.#empty(false);
  }

  $destroy(): void {
    this.#empty(true);
  }

  [INSPECT](): string {
    return `Blob(${this.size})`;
  }
}

/** The type of Blobs. */
export const blob: CollectionType<Blob, Uint8Array | Blob> = collectionType({
  kind: 'Blob',
  name: 'Blob',
  signature: 'Blob',
  size: CHUNKS_HEADER,
  shape: { size: CHUNKS_HEADER },
  parts: [],
  check: (content) => (content instanceof BlobAccessor ? content : checked(content)),
  make: () => BlobAccessor,
});

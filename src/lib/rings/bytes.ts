/**
 * One producer, one consumer, records of different lengths, one behind the other and never across the end: a record that does not fit
 * there leaves a mark and begins at the start. Positions count bytes.
 *
 *   record   length u32, 4 free bytes, the record, up to a multiple of 8
 *   mark     0xffffffff: go on at the start
 */
import { TwzError } from '../../abi/errors.ts';
import type { SyncWords } from '../../abi/sync.ts';
import { ring } from './bell.ts';
import { BYTES_HEAD, WORD, type RingShape } from './layout.ts';

const MARK = -1;

/** A peer stored what no ring holds. */
export function corrupt(length: number, size: number): never {
  throw new TwzError('QueueInvalid', `a record of ${length} bytes in a ring of records of up to ${size}`, { length, size });
}

const room = (length: number): number => ((length + 7) & ~7) + BYTES_HEAD;

export class BytesProducer {
  readonly #words: SyncWords;
  readonly #i32: Int32Array;
  readonly #tail: number;
  readonly #head: number;
  readonly #sleepers: number;
  readonly #mask: number;
  readonly #data: number;
  readonly #capacity: number;
  #next: number;
  #seen: number;
  /** Where the record claimed last begins, for `trim`. */
  #last: number;

  constructor(words: SyncWords, shape: RingShape) {
    this.#words = words;
    this.#i32 = words.i32;
    this.#tail = shape.word + WORD.tail;
    this.#head = shape.word + WORD.head;
    this.#sleepers = shape.word + WORD.sleepers;
    this.#mask = shape.capacity - 1;
    this.#data = shape.data;
    this.#capacity = shape.capacity;
    this.#next = this.#last = Atomics.load(this.#i32, this.#tail);
    this.#seen = Atomics.load(this.#i32, this.#head);
  }

  claim(length: number): number {
    const need = room(length);
    const at = this.#next & this.#mask;
    const rest = this.#capacity - at;
    const skip = need <= rest ? 0 : rest;
    const end = (this.#next + skip + need) | 0;
    if (((end - this.#seen) | 0) > this.#capacity) {
      this.#seen = Atomics.load(this.#i32, this.#head);
      if (((end - this.#seen) | 0) > this.#capacity) return -1;
    }
    if (skip !== 0) this.#i32[(this.#data + at) >>> 2] = MARK;
    this.#last = (this.#next + skip) | 0;
    this.#next = end;
    const start = this.#data + (this.#last & this.#mask);
    this.#i32[start >>> 2] = length;
    return start + BYTES_HEAD;
  }

  /** Makes the record claimed last shorter. */
  trim(length: number): void {
    if (Atomics.load(this.#i32, this.#tail) === this.#next) return;
    this.#i32[(this.#data + (this.#last & this.#mask)) >>> 2] = length;
    this.#next = (this.#last + room(length)) | 0;
  }

  publish(): void {
    Atomics.store(this.#i32, this.#tail, this.#next);
    if (Atomics.load(this.#i32, this.#sleepers) !== 0) ring(this.#words, this.#sleepers, 1);
  }

  forget(): void {
    this.#next = Atomics.load(this.#i32, this.#tail);
  }
}

export class BytesConsumer {
  readonly #words: SyncWords;
  readonly #i32: Int32Array;
  readonly #tail: number;
  readonly #head: number;
  readonly #waiters: number;
  readonly #mask: number;
  readonly #data: number;
  readonly #capacity: number;
  readonly #size: number;
  #next: number;
  #seen: number;
  /** Bytes of the record taken last. */
  length = 0;

  constructor(words: SyncWords, shape: RingShape) {
    this.#words = words;
    this.#i32 = words.i32;
    this.#tail = shape.word + WORD.tail;
    this.#head = shape.word + WORD.head;
    this.#waiters = shape.word + WORD.waiters;
    this.#mask = shape.capacity - 1;
    this.#data = shape.data;
    this.#capacity = shape.capacity;
    this.#size = shape.size;
    this.#next = Atomics.load(this.#i32, this.#head);
    this.#seen = Atomics.load(this.#i32, this.#tail);
  }

  take(): number {
    if (this.#next === this.#seen) {
      this.#seen = Atomics.load(this.#i32, this.#tail);
      if (this.#next === this.#seen) return -1;
    }
    let at = this.#next & this.#mask;
    let length = this.#i32[(this.#data + at) >>> 2] ?? 0;
    if (length === MARK) {
      this.#next = (this.#next + this.#capacity - at) | 0;
      at = 0;
      length = this.#i32[this.#data >>> 2] ?? 0;
    }
    if (length < 0 || length > this.#size) corrupt(length, this.#size);
    this.length = length;
    this.#next = (this.#next + room(length)) | 0;
    return this.#data + at + BYTES_HEAD;
  }

  release(): void {
    Atomics.store(this.#i32, this.#head, this.#next);
    if (Atomics.load(this.#i32, this.#waiters) !== 0) ring(this.#words, this.#waiters, 1);
  }
}

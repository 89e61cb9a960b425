/**
 * One producer, one consumer, records of one size. Each side owns one position and keeps what it last saw of the other's, so it reads
 * the other's line only when the ring seems full, or empty.
 *
 * Several records can be claimed before they are published, and taken before they are released: one store for all of them.
 */
import type { SyncWords } from '../../abi/sync.ts';
import { ring } from './bell.ts';
import { WORD, type RingShape } from './layout.ts';

export class PlainProducer {
  readonly #words: SyncWords;
  readonly #i32: Int32Array;
  readonly #tail: number;
  readonly #head: number;
  readonly #sleepers: number;
  readonly #mask: number;
  readonly #stride: number;
  readonly #data: number;
  readonly #capacity: number;
  /** The next position to claim. */
  #next: number;
  /** The consumer's position, as it was seen last. */
  #seen: number;

  constructor(words: SyncWords, shape: RingShape) {
    this.#words = words;
    this.#i32 = words.i32;
    this.#tail = shape.word + WORD.tail;
    this.#head = shape.word + WORD.head;
    this.#sleepers = shape.word + WORD.sleepers;
    this.#mask = shape.capacity - 1;
    this.#stride = shape.stride;
    this.#data = shape.data;
    this.#capacity = shape.capacity;
    this.#next = Atomics.load(this.#i32, this.#tail);
    this.#seen = Atomics.load(this.#i32, this.#head);
  }

  /** Where the next record goes, or -1 where the ring is full. */
  claim(_length: number): number {
    const next = this.#next;
    if (((next - this.#seen) | 0) >= this.#capacity) {
      this.#seen = Atomics.load(this.#i32, this.#head);
      if (((next - this.#seen) | 0) >= this.#capacity) return -1;
    }
    this.#next = (next + 1) | 0;
    return this.#data + (next & this.#mask) * this.#stride;
  }

  /** The last record claimed. All records have one length. */
  trim(_length: number): void {
    this.#seen |= 0;
  }

  /** Everything claimed can be received from now on. */
  publish(): void {
    Atomics.store(this.#i32, this.#tail, this.#next);
    if (Atomics.load(this.#i32, this.#sleepers) !== 0) ring(this.#words, this.#sleepers, 1);
  }

  /** Everything claimed and not published is free again. */
  forget(): void {
    this.#next = Atomics.load(this.#i32, this.#tail);
  }
}

export class PlainConsumer {
  readonly #words: SyncWords;
  readonly #i32: Int32Array;
  readonly #tail: number;
  readonly #head: number;
  readonly #waiters: number;
  readonly #mask: number;
  readonly #stride: number;
  readonly #data: number;
  #next: number;
  #seen: number;
  readonly length: number;

  constructor(words: SyncWords, shape: RingShape) {
    this.#words = words;
    this.#i32 = words.i32;
    this.#tail = shape.word + WORD.tail;
    this.#head = shape.word + WORD.head;
    this.#waiters = shape.word + WORD.waiters;
    this.#mask = shape.capacity - 1;
    this.#stride = shape.stride;
    this.#data = shape.data;
    this.length = shape.size;
    this.#next = Atomics.load(this.#i32, this.#head);
    this.#seen = Atomics.load(this.#i32, this.#tail);
  }

  /** Where the next record lies, or -1 where there is none. */
  take(): number {
    const next = this.#next;
    if (next === this.#seen) {
      this.#seen = Atomics.load(this.#i32, this.#tail);
      if (next === this.#seen) return -1;
    }
    this.#next = (next + 1) | 0;
    return this.#data + (next & this.#mask) * this.#stride;
  }

  /** What was taken is free for the producer. */
  release(): void {
    Atomics.store(this.#i32, this.#head, this.#next);
    if (Atomics.load(this.#i32, this.#waiters) !== 0) ring(this.#words, this.#waiters, 1);
  }
}

/**
 * Many producers, many consumers, or both. Each slot begins with a word that says whose turn it is:
 *
 *   bits 0-1   free 0, claimed 1, filled 2, taken 3
 *   bits 2-9   who claimed or took it: the number of a peer; VOID where a filled slot holds nothing
 *   bits 10-   the lap: how often the ring went round, modulo 2^22 (or what is left of 2^32 positions)
 *
 *   free(lap) -> claimed(lap, producer) -> filled(lap) -> taken(lap, consumer) -> free(lap + 1)
 *
 * A slot changes hands by one compare-and-exchange on this word, and with it it is known who has it: there is no instant at which a
 * slot is claimed and nobody knows by whom. Tail and head only say where to look. Whoever finds that the slot at the tail is claimed
 * moves the tail on, so nobody waits for a producer that died between the two. A slot that a dead peer holds is given on by whoever
 * waits for it: claimed becomes filled(VOID), which consumers skip; taken becomes free(lap + 1).
 *
 * The lap keeps a late compare-and-exchange from succeeding on a slot that went round meanwhile. It fails to only after exactly 2^32
 * positions (2^22 laps of a ring of fewer than 1024 slots) within one claim. Zeroed memory is a ring whose slots are free for lap 0.
 */
import type { SyncWords } from '../../abi/sync.ts';
import { ring } from './bell.ts';
import { corrupt } from './bytes.ts';
import { SLOT_HEAD, WORD, type RingShape } from './layout.ts';

const FREE = 0;
const CLAIMED = 1;
const FILLED = 2;
const TAKEN = 3;
const STATE = 3;
const VOID = 255;
const LAP_SHIFT = 10;

/** Where slots lie, and their laps. */
export class Slots {
  readonly i32: Int32Array;
  readonly #first: number;
  readonly #step: number;
  readonly #mask: number;
  readonly #shift: number;
  readonly #lapMask: number;

  constructor(words: SyncWords, shape: RingShape) {
    this.i32 = words.i32;
    this.#first = shape.data >>> 2;
    this.#step = shape.stride >>> 2;
    this.#mask = shape.capacity - 1;
    this.#shift = Math.log2(shape.capacity);
    this.#lapMask = 2 ** Math.min(32 - LAP_SHIFT, 32 - this.#shift) - 1;
  }

  get count(): number {
    return this.#mask + 1;
  }

  /** Index of the word of a position's slot. */
  word(position: number): number {
    return this.#first + (position & this.#mask) * this.#step;
  }

  /** A position's lap, where the slot's word has it. */
  lap(position: number): number {
    return ((position >>> this.#shift) & this.#lapMask) << LAP_SHIFT;
  }

  /** The lap that follows, from a slot's word. */
  next(word: number): number {
    return (((word >>> LAP_SHIFT) + 1) & this.#lapMask) << LAP_SHIFT;
  }
}

const lapOf = (word: number): number => word & (-1 << LAP_SHIFT);
const ownerOf = (word: number): number => (word >>> 2) & 255;

export class SlotsProducer {
  readonly #words: SyncWords;
  readonly #i32: Int32Array;
  readonly #slots: Slots;
  readonly #tail: number;
  readonly #sleepers: number;
  readonly #waiters: number;
  readonly #mine: number;
  /** Index of the slot's word that was claimed last and is not published, 0 for none; those claimed before it. */
  #last = 0;
  readonly #before: number[] = [];

  constructor(words: SyncWords, shape: RingShape, peer: number) {
    this.#words = words;
    this.#i32 = words.i32;
    this.#slots = new Slots(words, shape);
    this.#tail = shape.word + WORD.tail;
    this.#sleepers = shape.word + WORD.sleepers;
    this.#waiters = shape.word + WORD.waiters;
    this.#mine = (peer << 2) | CLAIMED;
  }

  claim(length: number): number {
    const i32 = this.#i32;
    const slots = this.#slots;
    for (;;) {
      const tail = Atomics.load(i32, this.#tail);
      const at = slots.word(tail);
      const lap = slots.lap(tail);
      const found = Atomics.load(i32, at);
      if (found === lap) {
        if (Atomics.compareExchange(i32, at, lap, lap | this.#mine) !== lap) continue;
        Atomics.compareExchange(i32, this.#tail, tail, (tail + 1) | 0);
        // Records are released in any order: who slept for another slot than this may go on with the next.
        if (Atomics.load(i32, this.#waiters) !== 0 && this.#isFree(tail + 1)) ring(this.#words, this.#waiters, 1);
        if (this.#last !== 0) this.#before.push(this.#last);
        this.#last = at;
        i32[at + 1] = length;
        return (at << 2) + SLOT_HEAD;
      }
      // Claimed in this lap, or even of a later one: the tail lags. Help it.
      if (lapOf(found) === lap || slots.next(lap) === lapOf(found)) Atomics.compareExchange(i32, this.#tail, tail, (tail + 1) | 0);
      // Of the lap before: nobody has claimed this position, so the tail is still there, and the ring is full.
      else return -1;
    }
  }

  #isFree(position: number): boolean {
    return Atomics.load(this.#i32, this.#slots.word(position)) === this.#slots.lap(position);
  }

  trim(length: number): void {
    if (this.#last !== 0) this.#i32[this.#last + 1] = length;
  }

  publish(): void {
    const count = this.#fillAll(FILLED);
    if (Atomics.load(this.#i32, this.#sleepers) !== 0) ring(this.#words, this.#sleepers, count);
  }

  /** In the order of the claims. Returns how many. */
  #fillAll(state: number): number {
    let count = 0;
    if (this.#before.length > 0) {
      for (const at of this.#before) this.#fill(at, state);
      count = this.#before.length;
      this.#before.length = 0;
    }
    if (this.#last !== 0) {
      this.#fill(this.#last, state);
      this.#last = 0;
      count++;
    }
    return count;
  }

  #fill(at: number, state: number): void {
    // Ours alone: only a word that names a dead peer is changed by others.
    Atomics.store(this.#i32, at, lapOf(Atomics.load(this.#i32, at)) | state);
  }

  /** Claimed slots cannot go back: they are filled with nothing. */
  forget(): void {
    const count = this.#fillAll((VOID << 2) | FILLED);
    if (count > 0 && Atomics.load(this.#i32, this.#sleepers) !== 0) ring(this.#words, this.#sleepers, count);
  }
}

export class SlotsConsumer {
  readonly #words: SyncWords;
  readonly #i32: Int32Array;
  readonly #slots: Slots;
  readonly #head: number;
  readonly #sleepers: number;
  readonly #waiters: number;
  readonly #mine: number;
  readonly #size: number;
  /** As with producers: the slot that was taken last and is not released, and those before it. */
  #last = 0;
  readonly #before: number[] = [];
  length = 0;

  constructor(words: SyncWords, shape: RingShape, peer: number) {
    this.#words = words;
    this.#i32 = words.i32;
    this.#slots = new Slots(words, shape);
    this.#head = shape.word + WORD.head;
    this.#sleepers = shape.word + WORD.sleepers;
    this.#waiters = shape.word + WORD.waiters;
    this.#mine = (peer << 2) | TAKEN;
    this.#size = shape.size;
  }

  /** -1 where there is nothing, or the next record is not whole yet. */
  take(): number {
    const i32 = this.#i32;
    const slots = this.#slots;
    for (;;) {
      const head = Atomics.load(i32, this.#head);
      const at = slots.word(head);
      const lap = slots.lap(head);
      const found = Atomics.load(i32, at);
      const state = found & STATE;
      if (lapOf(found) === lap) {
        if (state === FILLED) {
          if (Atomics.compareExchange(i32, at, found, lap | this.#mine) !== found) continue;
          Atomics.compareExchange(i32, this.#head, head, (head + 1) | 0);
          if (ownerOf(found) === VOID) {
            this.#free(at);
            if (Atomics.load(i32, this.#waiters) !== 0) ring(this.#words, this.#waiters, 1);
            continue;
          }
          // Records are published in any order: who was woken for one may have had to sleep again for the one before it.
          if (Atomics.load(i32, this.#sleepers) !== 0 && this.#isFilled(head + 1)) ring(this.#words, this.#sleepers, 1);
          if (this.#last !== 0) this.#before.push(this.#last);
          this.#last = at;
          const length = i32[at + 1] ?? -1;
          if (length < 0 || length > this.#size) corrupt(length, this.#size);
          this.length = length;
          return (at << 2) + SLOT_HEAD;
        }
        // Free or claimed: nobody has taken this position, so the head is still there, and there is nothing.
        if (state !== TAKEN) return -1;
      } else if (slots.next(lap) !== lapOf(found)) return -1;
      // Taken, or given back already: the head lags. Help it.
      Atomics.compareExchange(i32, this.#head, head, (head + 1) | 0);
    }
  }

  #isFilled(position: number): boolean {
    const found = Atomics.load(this.#i32, this.#slots.word(position));
    return lapOf(found) === this.#slots.lap(position) && (found & STATE) === FILLED;
  }

  #free(at: number): void {
    Atomics.store(this.#i32, at, this.#slots.next(Atomics.load(this.#i32, at)) | FREE);
  }

  release(): void {
    let count = 0;
    if (this.#before.length > 0) {
      for (const at of this.#before) this.#free(at);
      count = this.#before.length;
      this.#before.length = 0;
    }
    if (this.#last !== 0) {
      this.#free(this.#last);
      this.#last = 0;
      count++;
    }
    if (Atomics.load(this.#i32, this.#waiters) !== 0) ring(this.#words, this.#waiters, count);
  }
}

/**
 * Gives on every slot that a dead peer holds: what it claimed is skipped, what it had taken is free. Returns how many records went with
 * it. `entry` is the index of the peer's word and `found` its value. The word is looked at after a slot's, so what is given on is the
 * dead one's, even where another peer has the word next while a slow thread still sweeps.
 */
export function giveOn(words: SyncWords, shape: RingShape, peer: number, entry: number, found: number): number {
  const { i32 } = words;
  const slots = new Slots(words, shape);
  let count = 0;
  for (let i = 0; i < slots.count; i++) {
    const at = slots.word(i);
    const held = Atomics.load(i32, at);
    if (ownerOf(held) !== peer) continue;
    const state = held & STATE;
    const after = state === CLAIMED ? lapOf(held) | (VOID << 2) | FILLED : state === TAKEN ? slots.next(held) : held;
    if (after === held || Atomics.load(i32, entry) !== found) continue;
    if (Atomics.compareExchange(i32, at, held, after) === held) count++;
  }
  return count;
}

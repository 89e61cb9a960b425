/**
 * The two sides of a ring as programs use them. Each can wait in three ways: not at all (`try…`), blocking its thread, or as a promise.
 * Before it sleeps it looks `spin` times; asleep it looks every `patience` milliseconds whether the other side still lives.
 */
import { TwzError } from '../../abi/errors.ts';
import type { SyncWords, Wait } from '../../abi/sync.ts';
import type { AsyncWaitOptions, WaitOptions } from '../sync/waiting.ts';
import { ringAll } from './bell.ts';
import { BytesConsumer, BytesProducer } from './bytes.ts';
import { WORD, isBytes, isMany, type RingShape, type Role } from './layout.ts';
import { Peers } from './peers.ts';
import { PlainConsumer, PlainProducer } from './plain.ts';
import type { PlacedRecords, RecordType } from './records.ts';
import { SlotsConsumer, SlotsProducer } from './slots.ts';

export interface SideOptions {
  /** How often a waiting side looks before it sleeps. 1000 by default. */
  readonly spin?: number;
  /** Milliseconds between two looks at whether the other side lives, while asleep. 250 by default. */
  readonly patience?: number;
}

/** What both sides of one ring are made of. */
export interface RingParts<T, I> {
  readonly words: SyncWords;
  readonly shape: RingShape;
  readonly record: RecordType<T, I>;
}

const NO_OPTIONS = {};
const SPIN = 1000;
const PATIENCE = 250;

/** Waiting, the same for both sides: `attempt` gives a place, or -1. */
abstract class Side {
  protected readonly words: SyncWords;
  protected readonly i32: Int32Array;
  protected readonly shape: RingShape;
  readonly #peers: Peers;
  readonly #entry: number;
  readonly #role: Role;
  readonly #spin: number;
  readonly #patience: number;
  /** Tickets of those who sleep as this side does; the bell is behind. */
  readonly #tickets: number;
  /** Counts the dead of the other side. */
  readonly #lost: number;
  #lostSeen: number;
  #left = false;
  protected readonly closed: number;

  constructor({ words, shape }: RingParts<unknown, never>, role: Role, entry: number, options: SideOptions) {
    this.words = words;
    this.i32 = words.i32;
    this.shape = shape;
    this.#peers = new Peers(words, shape);
    this.#entry = entry;
    this.#role = role;
    this.#spin = options.spin ?? SPIN;
    this.#patience = options.patience ?? PATIENCE;
    this.#tickets = shape.word + (role === 'consumer' ? WORD.sleepers : WORD.waiters);
    this.#lost = shape.word + (role === 'consumer' ? WORD.producersLost : WORD.consumersLost);
    this.#lostSeen = Atomics.load(this.i32, this.#lost);
    this.closed = shape.word + WORD.closed;
  }

  /** A place for `length` bytes, or of the next record; -1 where there is none now. */
  protected abstract attempt(length: number): number;

  /** Whether nothing is to be waited for any more. */
  get isClosed(): boolean {
    return Atomics.load(this.i32, this.closed) !== 0;
  }

  /** Ends the queue for everyone: nothing more can be submitted, and consumers come to the end when it is empty. */
  close(): void {
    if (Atomics.exchange(this.i32, this.closed, 1) !== 0) return;
    ringAll(this.words, this.shape.word + WORD.sleepers);
    ringAll(this.words, this.shape.word + WORD.waiters);
  }

  /** Takes part no more. The queue stays as it is. */
  leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#peers.leave(this.#entry);
  }

  /** Looks who died, and gives on what they held. It is done while this side waits; who never waits may do it now and then. */
  checkPeers(): number {
    return this.#peers.inspect();
  }

  /** Whether nobody is left on the other side, and somebody died there that was not told of yet. */
  #isAlone(): boolean {
    this.#peers.inspect();
    const other = this.#role === 'consumer' ? 'producer' : 'consumer';
    return Atomics.load(this.i32, this.#lost) !== this.#lostSeen && this.#peers.count(other) === 0;
  }

  #spinning(length: number): number {
    for (let i = this.#spin; i > 0; i--) {
      const at = this.attempt(length);
      if (at >= 0) return at;
    }
    return -1;
  }

  #deadline({ timeout = Number.POSITIVE_INFINITY }: WaitOptions): number {
    return timeout === Number.POSITIVE_INFINITY ? timeout : this.words.threads.now() + timeout;
  }

  /** How long to sleep: not past the deadline, and not too long without a look at the others. */
  #slice(deadline: number): number {
    return deadline === Number.POSITIVE_INFINITY
      ? this.#patience
      : Math.max(0, Math.min(this.#patience, deadline - this.words.threads.now()));
  }

  #timedOut(): TwzError {
    return new TwzError('QueueTimedOut', this.#role === 'consumer' ? 'no record came in time' : 'no room came in time', {
      role: this.#role,
    });
  }

  #gone(): TwzError {
    const other = this.#role === 'consumer' ? 'producers' : 'consumers';
    this.#lostSeen = Atomics.load(this.i32, this.#lost);
    return new TwzError('PeerGone', `the ${other} of the queue died`, { role: this.#role });
  }

  /** What comes of a sleep: a place, -1 to sleep again. Throws PeerGone, QueueTimedOut. */
  #awoken(how: Wait, length: number, deadline: number): number {
    if (how !== 'timedOut') return -1;
    const alone = this.#isAlone();
    const at = this.attempt(length);
    if (at >= 0) return at;
    if (alone) throw this.#gone();
    if (deadline !== Number.POSITIVE_INFINITY && this.words.threads.now() >= deadline) throw this.#timedOut();
    return -1;
  }

  /** Notes the bell, and takes a ticket unless the one from before is good still. */
  #lieDown(bell: number): number {
    const rung = Atomics.load(this.i32, this.#tickets + 1);
    if (rung !== bell) Atomics.add(this.i32, this.#tickets, 1);
    return rung;
  }

  /** Blocks; -1 where the ring is closed. */
  protected waitFor(length: number, options: WaitOptions): number {
    let at = this.#spinning(length);
    if (at >= 0) return at;
    const deadline = this.#deadline(options);
    // No bell is NaN: the first sleep takes a ticket.
    for (let bell = Number.NaN; ;) {
      bell = this.#lieDown(bell);
      at = this.attempt(length);
      if (at >= 0) return at;
      // Closed, and what was submitted before that is received: it cannot become more after a look that follows the closing.
      if (this.isClosed) return this.attempt(length);
      at = this.#awoken(this.words.wait(this.#tickets + 1, bell, this.#slice(deadline)), length, deadline);
      if (at >= 0) return at;
    }
  }

  protected async waitForAsync(length: number, options: AsyncWaitOptions): Promise<number> {
    const deadline = this.#deadline(options);
    for (let bell = Number.NaN; ;) {
      options.signal?.throwIfAborted();
      bell = this.#lieDown(bell);
      let at = this.attempt(length);
      if (at >= 0) return at;
      if (this.isClosed) return this.attempt(length);
      const how = await this.words.waitAsync(this.#tickets + 1, bell, this.#slice(deadline), options.signal);
      at = this.#awoken(how, length, deadline);
      if (at >= 0) return at;
    }
  }
}

type ProducerCore = PlainProducer | BytesProducer | SlotsProducer;
type ConsumerCore = PlainConsumer | BytesConsumer | SlotsConsumer;

export class Producer<T, I = T> extends Side {
  readonly #core: ProducerCore;
  readonly #records: PlacedRecords<T, I>;
  readonly #size: number;

  /** As entry `entry` of the peers, which it has taken. */
  constructor(parts: RingParts<T, I>, entry: number, options: SideOptions = NO_OPTIONS) {
    super(parts, 'producer', entry, options);
    const { words, shape } = parts;
    this.#core = isMany(shape)
      ? new SlotsProducer(words, shape, entry + 1)
      : isBytes(shape)
        ? new BytesProducer(words, shape)
        : new PlainProducer(words, shape);
    this.#records = parts.record.place(words);
    this.#size = shape.size;
  }

  protected override attempt(length: number): number {
    return this.#core.claim(length);
  }

  #check(): void {
    if (Atomics.load(this.i32, this.closed) !== 0) throw new TwzError('QueueClosed', 'the queue was closed: nothing more can be submitted');
  }

  #fit(length: number): void {
    if (!(length >= 0 && length <= this.#size))
      throw new TwzError('OutOfRange', `a record of ${length} bytes in a ring of records of up to ${this.#size}`, {
        length,
        size: this.#size,
      });
  }

  #put(at: number, value: I, length: number): void {
    try {
      this.#records.write(at, value, length);
    } catch (error) {
      this.#core.forget();
      throw error;
    }
  }

  /** Submits without waiting; false where the ring is full. Throws QueueClosed. */
  offer(value: I): boolean {
    this.#check();
    const length = this.#records.measure(value);
    const at = this.#core.claim(length);
    if (at < 0) return false;
    this.#put(at, value, length);
    this.#core.publish();
    return true;
  }

  /** Submits without waiting. Throws QueueFull, QueueClosed. */
  trySubmit(value: I): void {
    if (!this.offer(value)) throw new TwzError('QueueFull', 'the queue is full', { capacity: this.shape.capacity });
  }

  /** Submits; blocks while the ring is full. Throws QueueClosed, QueueTimedOut, PeerGone. */
  submit(value: I, options: WaitOptions = NO_OPTIONS): void {
    const length = this.#records.measure(value);
    this.#put(this.claim(length, options), value, length);
    this.#core.publish();
  }

  /** As `submit`; the event loop goes on. */
  async submitAsync(value: I, options: AsyncWaitOptions = NO_OPTIONS): Promise<void> {
    const length = this.#records.measure(value);
    const at = await this.claimAsync(length, options);
    this.#put(at, value, length);
    this.#core.publish();
  }

  /** Submits all, waiting where the ring is full; those that fit at once become visible together. */
  submitAll(values: Iterable<I>, options: WaitOptions = NO_OPTIONS): void {
    let claimed = 0;
    for (const value of values) {
      this.#check();
      const length = this.#records.measure(value);
      let at = this.#core.claim(length);
      if (at < 0) {
        if (claimed > 0) this.#core.publish();
        claimed = 0;
        at = this.claim(length, options);
      }
      this.#put(at, value, length);
      claimed++;
    }
    if (claimed > 0) this.#core.publish();
  }

  // --- in place -------------------------------------------------------------------------------------------------------------

  /** The place of the next record, to be filled and then committed. Several may be reserved. Blocks as `submit`. */
  reserve(length: number = this.#size, options: WaitOptions = NO_OPTIONS): T {
    return this.#records.view(this.claim(length, options), length);
  }

  /** As `reserve`, or undefined where the ring is full. */
  tryReserve(length: number = this.#size): T | undefined {
    const at = this.tryClaim(length);
    return at < 0 ? undefined : this.#records.view(at, length);
  }

  /** Submits what was reserved. `length`: how long the last one of them came out, where lengths differ. */
  commit(length?: number): void {
    if (length !== undefined) {
      this.#fit(length);
      this.#core.trim(length);
    }
    this.#core.publish();
  }

  /** Takes back what was reserved. */
  cancel(): void {
    this.#core.forget();
  }

  /** As `reserve`: where the record begins in the words' memory, in bytes. Nothing is allocated. */
  claim(length: number = this.#size, options: WaitOptions = NO_OPTIONS): number {
    this.#check();
    this.#fit(length);
    const at = this.#core.claim(length);
    return at >= 0 ? at : this.#orClosed(this.waitFor(length, options));
  }

  /** As `claim`, or -1 where the ring is full. */
  tryClaim(length: number = this.#size): number {
    this.#check();
    this.#fit(length);
    return this.#core.claim(length);
  }

  async claimAsync(length: number = this.#size, options: AsyncWaitOptions = NO_OPTIONS): Promise<number> {
    this.#check();
    this.#fit(length);
    const at = this.#core.claim(length);
    return at >= 0 ? at : this.#orClosed(await this.waitForAsync(length, options));
  }

  /** A place that came with the closing is not used. */
  #orClosed(at: number): number {
    if (!this.isClosed) return at;
    this.#core.forget();
    this.#check();
    return at;
  }
}

export class Consumer<T, I = T> extends Side implements Iterable<T>, AsyncIterable<T> {
  readonly #core: ConsumerCore;
  readonly #records: PlacedRecords<T, I>;

  constructor(parts: RingParts<T, I>, entry: number, options: SideOptions = NO_OPTIONS) {
    super(parts, 'consumer', entry, options);
    const { words, shape } = parts;
    this.#core = isMany(shape)
      ? new SlotsConsumer(words, shape, entry + 1)
      : isBytes(shape)
        ? new BytesConsumer(words, shape)
        : new PlainConsumer(words, shape);
    this.#records = parts.record.place(words);
  }

  protected override attempt(_length: number): number {
    return this.#core.take();
  }

  #copy(at: number): T {
    const value = this.#records.read(at, this.#core.length);
    this.#core.release();
    return value;
  }

  /** A copy of the next record, or undefined where there is none now. */
  tryReceive(): T | undefined {
    const at = this.#core.take();
    return at < 0 ? undefined : this.#copy(at);
  }

  /** A copy of the next record; blocks while there is none. Undefined: the queue is closed and empty. Throws QueueTimedOut, PeerGone. */
  receive(options: WaitOptions = NO_OPTIONS): T | undefined {
    const at = this.take(options);
    return at < 0 ? undefined : this.#copy(at);
  }

  /** As `receive`; the event loop goes on. */
  async receiveAsync(options: AsyncWaitOptions = NO_OPTIONS): Promise<T | undefined> {
    const at = await this.takeAsync(options);
    return at < 0 ? undefined : this.#copy(at);
  }

  // --- in place -------------------------------------------------------------------------------------------------------------

  /** The next record itself, good until `release`. Further calls give those behind it. Blocks as `receive`. */
  peek(options: WaitOptions = NO_OPTIONS): T | undefined {
    const at = this.take(options);
    return at < 0 ? undefined : this.#records.view(at, this.#core.length);
  }

  tryPeek(): T | undefined {
    const at = this.#core.take();
    return at < 0 ? undefined : this.#records.view(at, this.#core.length);
  }

  /** What was peeked at is gone: its room can be used again. */
  release(): void {
    this.#core.release();
  }

  /** As `peek`: where the record lies in the words' memory, -1 at the end; `length` is its length. Nothing is allocated. */
  take(options: WaitOptions = NO_OPTIONS): number {
    const at = this.#core.take();
    return at >= 0 ? at : this.waitFor(0, options);
  }

  /** As `take`, or -1 where there is no record now. */
  tryTake(): number {
    return this.#core.take();
  }

  async takeAsync(options: AsyncWaitOptions = NO_OPTIONS): Promise<number> {
    const at = this.#core.take();
    return at >= 0 ? at : await this.waitForAsync(0, options);
  }

  /** Bytes of the record that was taken last. */
  get length(): number {
    return this.#core.length;
  }

  /** Gives every record that is there now, up to `most`, to `use`, in place; frees them together. Returns how many. */
  drain(use: (record: T) => void, most: number = this.shape.capacity): number {
    let count = 0;
    try {
      for (; count < most; count++) {
        const at = this.#core.take();
        if (at < 0) break;
        use(this.#records.view(at, this.#core.length));
      }
    } finally {
      if (count > 0) this.#core.release();
    }
    return count;
  }

  /** Blocks for each next record, to the end of the queue. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (let record = this.receive(); record !== undefined; record = this.receive()) yield record;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (let record = await this.receiveAsync(); record !== undefined; record = await this.receiveAsync()) yield record;
  }
}

/**
 * Requests and their completions: a ring there, a ring back, and numbers that say which belongs to which. One program asks, one or
 * several serve; completions come in any order.
 *
 *   0     what it is: magic, format, how many in flight, where the ring back and the words begin
 *   64    ring of requests
 *         ring of completions, as long: whoever serves never waits to complete
 *         a word for each request in flight: its number, once it is cancelled
 *
 * A request's number is its place among those in flight, and above it how often the place was used. The place is used again only when the
 * completion has come, be the request cancelled or not.
 */
import { TwzError } from '../../abi/errors.ts';
import type { SyncWords } from '../../abi/sync.ts';
import type { AsyncWaitOptions, WaitOptions } from '../sync/waiting.ts';
import type { RecordType } from './records.ts';
import { createRing, openRing, ringBytes, type Ring, type RingOptions } from './ring.ts';
import type { Consumer, Producer, SideOptions } from './sides.ts';
import { STATUS, tagged, type Tagged } from './tagged.ts';

const MAGIC = 0x31525754; // "TWR1" read as a little-endian u32
const FORMAT = 1;
/** Indexes of words. */
const HEADER = { magic: 0, format: 1, inFlight: 2, completions: 3, cancelled: 4, bytes: 64 } as const;
/** Bytes that the text of an error may have. */
const ERROR_TEXT = 240;
const IN_FLIGHT = 64;
const IN_FLIGHT_MAX = 1 << 16;

export interface RequestRecords<Q, A, QI = Q, AI = A> {
  readonly request: RecordType<Q, QI>;
  readonly completion: RecordType<A, AI>;
}

export interface RequestOptions<Q, A, QI = Q, AI = A> extends RequestRecords<Q, A, QI, AI> {
  /** Most requests at a time; further ones wait. 64 by default. */
  readonly inFlight?: number;
  /** Whether several may serve. */
  readonly manyResponders?: boolean;
}

interface Parts<Q, A, QI, AI> {
  readonly there: Ring<Tagged<Q>, Tagged<QI>>;
  readonly back: Ring<Tagged<A>, Tagged<AI>>;
  readonly words: SyncWords;
  /** Index of the first request's word. */
  readonly cancelled: number;
  readonly inFlight: number;
}

function ringsOf<Q, A, QI, AI>(
  options: RequestOptions<Q, A, QI, AI>,
): {
  there: RingOptions<Tagged<Q>, Tagged<QI>>;
  back: RingOptions<Tagged<A>, Tagged<AI>>;
} {
  const { request, completion, inFlight = IN_FLIGHT, manyResponders: many = false } = options;
  if (!Number.isInteger(inFlight) || inFlight < 1 || inFlight > IN_FLIGHT_MAX)
    throw new TwzError('OutOfRange', `${inFlight} requests in flight; expected 1 to ${IN_FLIGHT_MAX}`, { inFlight });
  // Records of different lengths leave room at the end of the memory: less than one of them takes.
  const spare = (variable: boolean): number => inFlight + (variable && !many ? 1 : 0);
  return {
    there: { record: tagged(request, 0), records: spare(request.variable), kind: many ? 'spmc' : 'spsc' },
    back: { record: tagged(completion, ERROR_TEXT), records: spare(true), kind: many ? 'mpsc' : 'spsc' },
  };
}

/** Bytes of memory that such a queue of requests takes. */
export function requestBytes<Q, A, QI, AI>(options: RequestOptions<Q, A, QI, AI>): number {
  const { there, back } = ringsOf(options);
  const { inFlight = IN_FLIGHT } = options;
  return HEADER.bytes + line(ringBytes(there)) + line(ringBytes(back)) + line(inFlight * 4);
}

const line = (bytes: number): number => (bytes + 63) & ~63;

/** Makes a queue of requests at byte `at`, a multiple of 64, of memory that is zero. */
export function createRequests<Q, A, QI, AI>(words: SyncWords, at: number, options: RequestOptions<Q, A, QI, AI>): Requests<Q, A, QI, AI> {
  const { there, back } = ringsOf(options);
  const { inFlight = IN_FLIGHT } = options;
  const completions = at + HEADER.bytes + line(ringBytes(there));
  const cancelled = completions + line(ringBytes(back));
  if (cancelled + inFlight * 4 > words.u8.length)
    throw new TwzError('OutOfRange', `a queue of requests at ${at} does not fit ${words.u8.length} bytes of memory`, { at });
  const parts = {
    there: createRing(words, at + HEADER.bytes, there),
    back: createRing(words, completions, back),
    words,
    cancelled: cancelled >>> 2,
    inFlight,
  };
  const put = (word: number, value: number): void => void Atomics.store(words.i32, (at >>> 2) + word, value);
  put(HEADER.format, FORMAT);
  put(HEADER.inFlight, inFlight);
  put(HEADER.completions, completions - at);
  put(HEADER.cancelled, cancelled - at);
  put(HEADER.magic, MAGIC);
  return new Requests(parts);
}

/** The queue of requests that somebody made at byte `at`. Throws QueueInvalid. */
export function openRequests<Q, A, QI, AI>(
  words: SyncWords,
  at: number,
  { request, completion }: RequestRecords<Q, A, QI, AI>,
): Requests<Q, A, QI, AI> {
  const get = (word: number): number => Atomics.load(words.i32, (at >>> 2) + word);
  if (!Number.isInteger(at) || at % 64 !== 0 || at < 0 || at + HEADER.bytes > words.u8.length || get(HEADER.magic) !== MAGIC)
    throw new TwzError('QueueInvalid', `no queue of requests begins at ${at}`, { at });
  if (get(HEADER.format) !== FORMAT)
    throw new TwzError('QueueInvalid', `the queue of requests at ${at} has format ${get(HEADER.format)}, this build reads ${FORMAT}`, {
      at,
    });
  const inFlight = get(HEADER.inFlight);
  const cancelled = at + get(HEADER.cancelled);
  if (inFlight < 1 || inFlight > IN_FLIGHT_MAX || cancelled < at || cancelled + inFlight * 4 > words.u8.length)
    throw new TwzError('QueueInvalid', `the description of the queue of requests at ${at} is damaged`, { at });
  return new Requests({
    there: openRing(words, at + HEADER.bytes, tagged(request, 0)),
    back: openRing(words, at + get(HEADER.completions), tagged(completion, ERROR_TEXT)),
    words,
    cancelled: cancelled >>> 2,
    inFlight,
  });
}

export class Requests<Q, A, QI = Q, AI = A> {
  readonly #parts: Parts<Q, A, QI, AI>;

  constructor(parts: Parts<Q, A, QI, AI>) {
    this.#parts = parts;
  }

  /** Takes part as the one who asks. Throws QueueTaken. */
  requester(options?: SideOptions): Requester<Q, A, QI, AI> {
    return new Requester(this.#parts, options);
  }

  /** Takes part as one who serves. Throws QueueTaken. */
  responder(options?: SideOptions): Responder<Q, A, QI, AI> {
    return new Responder(this.#parts, options);
  }
}

// --- asking -----------------------------------------------------------------------------------------------------------------

interface Waiting<A> {
  readonly resolve: (value: A) => void;
  readonly reject: (reason: unknown) => void;
  readonly deadline: number;
}

export class Requester<Q, A, QI = Q, AI = A> {
  readonly #parts: Parts<Q, A, QI, AI>;
  readonly #producer: Producer<Tagged<Q>, Tagged<QI>>;
  readonly #consumer: Consumer<Tagged<A>, Tagged<AI>>;
  /** Numbers to be used next, of the places that are free. */
  readonly #free: number[];
  readonly #inFlight = new Map<number, Waiting<A> | undefined>();
  /** Who waits for a place. */
  readonly #queued: (() => void)[] = [];
  #pumping = false;
  /** Ends the pump's sleep where a deadline came that is nearer. */
  #stir = new AbortController();

  constructor(parts: Parts<Q, A, QI, AI>, options: SideOptions = {}) {
    this.#parts = parts;
    this.#producer = parts.there.producer(options);
    this.#consumer = parts.back.consumer(options);
    // Numbers that no one before who asked here can have used lately.
    const first = parts.words.threads.self;
    this.#free = Array.from({ length: parts.inFlight }, (_, i) => this.#numberAt(first, parts.inFlight - 1 - i));
  }

  #numberAt(use: number, place: number): number {
    return ((use % Math.floor(2 ** 32 / this.#parts.inFlight)) * this.#parts.inFlight + place) >>> 0;
  }

  /** How many are on their way. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /**
   * Asks, and gives what comes back. Rejects with RequestFailed where it failed there, with the signal's reason or QueueTimedOut where it
   * was given up here (who serves can see that), with PeerGone where nobody serves any more.
   */
  async request(value: QI, options: AsyncWaitOptions = {}): Promise<A> {
    const { threads } = this.#parts.words;
    const deadline = options.timeout === undefined ? Number.POSITIVE_INFINITY : threads.now() + options.timeout;
    options.signal?.throwIfAborted();
    while (this.#free.length === 0) await new Promise<void>((resolve) => this.#queued.push(resolve));
    options.signal?.throwIfAborted();
    const id = this.#free.pop() ?? 0;
    this.#inFlight.set(id, undefined);
    try {
      // As many requests have room as can be in flight.
      this.#producer.trySubmit({ id, status: STATUS.done, value, text: '' });
    } catch (error) {
      this.#settled(id);
      throw error;
    }
    const { signal } = options;
    const give = (): void => this.#giveUp(id, signal?.reason);
    try {
      return await new Promise<A>((resolve, reject) => {
        this.#inFlight.set(id, { resolve, reject, deadline });
        signal?.addEventListener('abort', give, { once: true });
        if (deadline !== Number.POSITIVE_INFINITY) this.#stir.abort();
        void this.#pump();
      });
    } finally {
      signal?.removeEventListener('abort', give);
    }
  }

  /** Nobody waits for it any more; who serves is told. */
  #giveUp(id: number, reason: unknown): void {
    const waiting = this.#inFlight.get(id);
    if (waiting === undefined) return;
    Atomics.store(this.#parts.words.i32, this.#parts.cancelled + (id % this.#parts.inFlight), id | 0);
    this.#inFlight.set(id, undefined);
    waiting.reject(reason);
  }

  /** The place is free for the next use. */
  #settled(id: number): void {
    if (!this.#inFlight.delete(id)) return;
    const { inFlight } = this.#parts;
    this.#free.push(this.#numberAt(Math.floor(id / inFlight) + 1, id % inFlight));
    this.#queued.shift()?.();
  }

  /** Receives completions while there are any to come. */
  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#inFlight.size > 0) await this.#receive();
    } catch (error) {
      for (const [id, waiting] of this.#inFlight) {
        waiting?.reject(error);
        this.#settled(id);
      }
    } finally {
      this.#pumping = false;
    }
  }

  async #receive(): Promise<void> {
    const { threads } = this.#parts.words;
    let nearest = Number.POSITIVE_INFINITY;
    for (const waiting of this.#inFlight.values()) nearest = Math.min(nearest, waiting?.deadline ?? nearest);
    this.#stir = new AbortController();
    const timeout = nearest === Number.POSITIVE_INFINITY ? {} : { timeout: Math.max(0, nearest - threads.now()) };
    try {
      const completion = await this.#consumer.receiveAsync({ signal: this.#stir.signal, ...timeout });
      if (completion === undefined) throw new TwzError('QueueClosed', 'the queue was closed before the request was completed');
      this.#complete(completion);
    } catch (error) {
      if (this.#stir.signal.aborted) return;
      if (!(error instanceof TwzError && error.name === 'QueueTimedOut')) throw error;
      const now = threads.now();
      for (const [id, waiting] of this.#inFlight) if (waiting !== undefined && waiting.deadline <= now) this.#giveUp(id, error);
    }
  }

  #complete({ id, status, value, text }: Tagged<A>): void {
    const waiting = this.#inFlight.get(id);
    this.#settled(id);
    if (waiting === undefined) return;
    if (status === STATUS.done && value !== undefined) waiting.resolve(value);
    else if (status === STATUS.cancelled) waiting.reject(new TwzError('RequestCancelled', 'the request was cancelled', { id }));
    else waiting.reject(new TwzError('RequestFailed', text, { id }));
  }

  /** Nothing more is asked: who serves comes to the end. */
  close(): void {
    this.#producer.close();
  }

  leave(): void {
    this.#producer.leave();
    this.#consumer.leave();
  }
}

// --- serving ----------------------------------------------------------------------------------------------------------------

export interface Request<Q> {
  readonly id: number;
  readonly value: Q;
}

export class Responder<Q, A, QI = Q, AI = A> {
  readonly #parts: Parts<Q, A, QI, AI>;
  readonly #consumer: Consumer<Tagged<Q>, Tagged<QI>>;
  readonly #producer: Producer<Tagged<A>, Tagged<AI>>;

  constructor(parts: Parts<Q, A, QI, AI>, options: SideOptions = {}) {
    this.#parts = parts;
    this.#consumer = parts.there.consumer(options);
    this.#producer = parts.back.producer(options);
  }

  /** The next request; blocks. Undefined at the end of the queue. */
  receive(options?: WaitOptions): Request<Q> | undefined {
    return this.#judged(this.#consumer.receive(options));
  }

  async receiveAsync(options?: AsyncWaitOptions): Promise<Request<Q> | undefined> {
    return this.#judged(await this.#consumer.receiveAsync(options));
  }

  #judged(received: Tagged<Q> | undefined): Request<Q> | undefined {
    if (received === undefined) return undefined;
    if (received.value === undefined) throw new TwzError('QueueInvalid', 'a request without a value', { id: received.id });
    return { id: received.id, value: received.value };
  }

  /** Whether who asked has given up. It is to be completed all the same. */
  isCancelled(id: number): boolean {
    return Atomics.load(this.#parts.words.i32, this.#parts.cancelled + (id % this.#parts.inFlight)) === (id | 0);
  }

  /** Completes a request, in any order. */
  complete(id: number, value: AI): void {
    this.#producer.submit({ id, status: STATUS.done, value, text: '' });
  }

  /** Completes it with an error; of its message as much goes back as has room. */
  fail(id: number, error: unknown): void {
    this.#producer.submit({ id, status: STATUS.failed, value: undefined, text: error instanceof Error ? error.message : String(error) });
  }

  /**
   * Serves until the queue ends: up to `atOnce` requests at a time (all that come, by default). One that is cancelled before it began is
   * not begun. Resolves when all are completed.
   */
  async serve(handle: (value: Q, isCancelled: () => boolean) => AI | Promise<AI>, atOnce = Number.POSITIVE_INFINITY): Promise<void> {
    const running = new Set<Promise<void>>();
    for (let request = await this.receiveAsync(); request !== undefined; request = await this.receiveAsync()) {
      const served = this.#serveOne(request, handle).finally(() => running.delete(served));
      running.add(served);
      if (running.size >= atOnce) await Promise.race(running);
    }
    await Promise.all(running);
  }

  async #serveOne({ id, value }: Request<Q>, handle: (value: Q, isCancelled: () => boolean) => AI | Promise<AI>): Promise<void> {
    if (this.isCancelled(id)) {
      this.#producer.submit({ id, status: STATUS.cancelled, value: undefined, text: '' });
      return;
    }
    let answer: AI;
    try {
      answer = await handle(value, () => this.isCancelled(id));
      this.complete(id, answer);
    } catch (error) {
      this.fail(id, error);
    }
  }

  leave(): void {
    this.#producer.leave();
    this.#consumer.leave();
  }
}

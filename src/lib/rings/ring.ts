/**
 * Rings: queues of records in memory that several threads or processes see, fast and volatile. (`queue` in collections/ is the
 * persistent one, in transactions.) A record is handed over without a system call while neither side sleeps.
 *
 *     const ring = createRing(words, 0, { kind: 'spsc', record: fixedBytes(64), records: 1024 });
 *     ring.producer().submit(bytes);                                  // in one process
 *     openRing(words, 0, fixedBytes(64)).consumer().receive();   // in another
 */
import type { SyncWords } from '../../abi/sync.ts';
import { WORD, readShape, shapeOf, writeShape, type RingKind, type RingShape } from './layout.ts';
import { Peers } from './peers.ts';
import type { RecordType } from './records.ts';
import { Consumer, Producer, type RingParts, type SideOptions } from './sides.ts';

export interface RingOptions<T, I = T> {
  readonly record: RecordType<T, I>;
  /** How many producers and consumers there may be at a time: `spsc` (the fastest, and the default), `mpsc`, `spmc`, `mpmc`. */
  readonly kind?: RingKind;
  /** How many records it holds at least, of the longest. */
  readonly records: number;
  /** How many may take part at a time where there may be many. 30 by default. */
  readonly peers?: number;
}

const PEERS = 30;

export interface RingStat {
  readonly producers: number;
  readonly consumers: number;
  /** Who died while they took part. */
  readonly producersLost: number;
  readonly consumersLost: number;
  /** Records that the dead had claimed and not submitted, or taken and not released. */
  readonly abandoned: number;
  readonly closed: boolean;
  readonly bytes: number;
}

export class Ring<T, I = T> {
  readonly #parts: RingParts<T, I>;
  readonly #peers: Peers;

  constructor(parts: RingParts<T, I>) {
    this.#parts = parts;
    this.#peers = new Peers(parts.words, parts.shape);
  }

  get shape(): RingShape {
    return this.#parts.shape;
  }

  get words(): SyncWords {
    return this.#parts.words;
  }

  /** Takes part as a producer. Throws QueueTaken. */
  producer(options?: SideOptions): Producer<T, I> {
    return new Producer(this.#parts, this.#peers.enter('producer'), options);
  }

  /** Takes part as a consumer. Throws QueueTaken. */
  consumer(options?: SideOptions): Consumer<T, I> {
    return new Consumer(this.#parts, this.#peers.enter('consumer'), options);
  }

  /** Looks who died, and gives on what they held. */
  checkPeers(): number {
    return this.#peers.inspect();
  }

  stat(): RingStat {
    const { shape, words } = this.#parts;
    const get = (word: number): number => Atomics.load(words.i32, shape.word + word);
    return {
      producers: this.#peers.count('producer'),
      consumers: this.#peers.count('consumer'),
      producersLost: get(WORD.producersLost),
      consumersLost: get(WORD.consumersLost),
      abandoned: get(WORD.abandoned),
      closed: get(WORD.closed) !== 0,
      bytes: shape.bytes,
    };
  }
}

const shapeFor = <T, I>(at: number, { kind = 'spsc', record, records, peers = PEERS }: RingOptions<T, I>): RingShape =>
  shapeOf(at, kind, record, records, peers);

/** Bytes of memory that such a ring takes. Throws InvalidArgument, OutOfRange. */
export function ringBytes<T, I>(options: RingOptions<T, I>): number {
  return shapeFor(0, options).bytes;
}

/** Makes a ring at byte `at`, a multiple of 64, of memory that is zero. Throws InvalidArgument, OutOfRange. */
export function createRing<T, I>(words: SyncWords, at: number, options: RingOptions<T, I>): Ring<T, I> {
  const shape = shapeFor(at, options);
  writeShape(words, shape, options.record);
  return new Ring({ words, shape, record: options.record });
}

/** The ring that somebody made at byte `at`. Throws QueueInvalid where there is none, or one of other records. */
export function openRing<T, I>(words: SyncWords, at: number, record: RecordType<T, I>): Ring<T, I> {
  return new Ring({ words, shape: readShape(words, at, record), record });
}

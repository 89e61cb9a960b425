/**
 * A ring in memory, from its first byte, which lies on a line of 64:
 *
 *   0     what it is: written once, when it is made
 *   64    bells: who sleeps, and the words that they sleep on. Read by everyone, written when somebody goes to sleep or is woken
 *   128   tail: positions that producers claimed (one producer: published)
 *   256   head: positions that consumers claimed (one consumer: released)
 *   384   peers, a word each: who takes part
 *   data  slots, or bytes
 *
 * Tail and head lie 128 bytes apart, because processors fetch lines in pairs. Positions count up and wrap at 2^32.
 *
 * One producer and one consumer: a slot is a record. Otherwise each slot begins with a word (see slots.ts) and the record's length.
 * Records of different lengths for one producer and one consumer lie one behind the other (see bytes.ts).
 */
import { TwzError } from '../../abi/errors.ts';
import type { SyncWords } from '../../abi/sync.ts';

export const RING_MAGIC = 0x31515754; // "TWQ1" read as a little-endian u32
export const RING_FORMAT = 1;

/** Byte offsets. */
const AT = { magic: 0, format: 4, kind: 8, capacity: 12, size: 16, stride: 20, signature: 24, peers: 32, data: 36 } as const;
const PEERS = 384;

/** Indexes of words, from the ring's first. */
export const WORD = {
  /** Tickets of consumers that sleep on `bell`. */
  sleepers: 16,
  bell: 17,
  /** Tickets of producers that sleep on `room`. */
  waiters: 18,
  room: 19,
  closed: 20,
  /** Producers and consumers that died while they took part. */
  producersLost: 21,
  consumersLost: 22,
  /** Records that went with those who had claimed them. */
  abandoned: 23,
  tail: 32,
  head: 64,
  peers: PEERS / 4,
} as const;

/** A peer's word: its thread's number, and above it its role. */
export const ROLE = { producer: 1 << 30, consumer: 1 << 31 } as const;
export type Role = keyof typeof ROLE;

export const KIND = { manyProducers: 1, manyConsumers: 2, variable: 4 } as const;
export type RingKind = 'spsc' | 'mpsc' | 'spmc' | 'mpmc';

const KINDS: Readonly<Record<RingKind, number>> = {
  spsc: 0,
  mpsc: KIND.manyProducers,
  spmc: KIND.manyConsumers,
  mpmc: KIND.manyProducers | KIND.manyConsumers,
};

/** Most peers of a ring: a slot's word has eight bits for who claimed it, and one value is taken. */
export const PEERS_MAX = 254;
export const RING_BYTES_MAX = 1 << 30;
/** A slot of many: its word, the record's length, the record. */
export const SLOT_HEAD = 8;
/** What lies before each record of a ring of bytes: its length, and a word that is free. */
export const BYTES_HEAD = 8;

export interface RingShape {
  /** Bytes from the memory's start. */
  readonly at: number;
  /** Index of the ring's first word. */
  readonly word: number;
  readonly kind: number;
  /** Slots, or bytes of a ring of bytes. A power of two. */
  readonly capacity: number;
  /** Bytes of a record, or of the longest. */
  readonly size: number;
  readonly stride: number;
  readonly peers: number;
  /** Bytes from the memory's start to the first slot. */
  readonly data: number;
  /** All bytes of the ring. */
  readonly bytes: number;
}

export interface RecordShape {
  readonly size: number;
  readonly variable: boolean;
  /** Eight bytes that tell types apart. */
  readonly fingerprint: readonly [number, number];
}

const isPlain = (kind: number): boolean => (kind & (KIND.manyProducers | KIND.manyConsumers)) === 0;

/** Many producers or consumers. */
export const isMany = (shape: RingShape): boolean => !isPlain(shape.kind);
/** One producer, one consumer, records of different lengths. */
export const isBytes = (shape: RingShape): boolean => isPlain(shape.kind) && (shape.kind & KIND.variable) !== 0;

function powerOfTwo(least: number): number {
  return least <= 1 ? 1 : 2 ** Math.ceil(Math.log2(least));
}

/** Throws InvalidArgument, OutOfRange. */
export function shapeOf(at: number, kind: RingKind, record: RecordShape, records: number, peers: number): RingShape {
  if (!Number.isInteger(at) || at < 0 || at % 64 !== 0)
    throw new TwzError('InvalidArgument', `a ring at ${at}: it begins on a multiple of 64 bytes`, { at });
  if (!Number.isInteger(records) || records < 1)
    throw new TwzError('InvalidArgument', `a ring for ${records} records; expected a positive integer`, { records });
  if (!Number.isInteger(peers) || peers < 1 || peers > PEERS_MAX - 2)
    throw new TwzError('OutOfRange', `${peers} peers; a ring takes 1 to ${PEERS_MAX - 2}`, { peers });
  const bits = KINDS[kind] | (record.variable ? KIND.variable : 0);
  const bytes = isPlain(bits) && record.variable;
  const unit = isPlain(bits) ? record.size : record.size + SLOT_HEAD;
  const stride = (unit + 7) & ~7;
  // In a ring of bytes the longest record takes at most half: it fits when all else is gone, wherever the end is.
  const longest = ((record.size + 7) & ~7) + BYTES_HEAD;
  const capacity = bytes ? powerOfTwo(Math.max(records * longest, longest * 2)) : powerOfTwo(Math.max(2, records));
  return place(at, bits, capacity, record.size, stride, peers + 2);
}

function place(at: number, kind: number, capacity: number, size: number, stride: number, peers: number): RingShape {
  const data = at + ((PEERS + peers * 4 + 63) & ~63);
  const bytes = data - at + (isPlain(kind) && (kind & KIND.variable) !== 0 ? capacity : capacity * stride);
  if (!(bytes <= RING_BYTES_MAX)) throw new TwzError('OutOfRange', `a ring of ${bytes} bytes; the limit is ${RING_BYTES_MAX}`, { bytes });
  return { at, word: at >>> 2, kind, capacity, size, stride, peers, data, bytes };
}

/** Writes what the ring is. Its memory must be zero. */
export function writeShape({ i32, u8 }: SyncWords, shape: RingShape, record: RecordShape): void {
  if (shape.at + shape.bytes > u8.length) {
    const { at, bytes } = shape;
    throw new TwzError('OutOfRange', `a ring of ${bytes} bytes at ${at} does not fit ${u8.length} bytes of memory`, { at, bytes });
  }
  const put = (at: number, value: number): void => {
    Atomics.store(i32, shape.word + (at >>> 2), value);
  };
  put(AT.format, RING_FORMAT);
  put(AT.kind, shape.kind);
  put(AT.capacity, shape.capacity);
  put(AT.size, shape.size);
  put(AT.stride, shape.stride);
  put(AT.signature, record.fingerprint[0]);
  put(AT.signature + 4, record.fingerprint[1]);
  put(AT.peers, shape.peers);
  put(AT.data, shape.data - shape.at);
  put(AT.magic, RING_MAGIC);
}

/** Throws QueueInvalid where there is no ring, or one of other records. */
export function readShape({ i32, u8 }: SyncWords, at: number, record: RecordShape): RingShape {
  const word = at >>> 2;
  const get = (field: number): number => Atomics.load(i32, word + (field >>> 2));
  const refuse = (reason: string): never => {
    throw new TwzError('QueueInvalid', `no ring to use at ${at}: ${reason}`, { at });
  };
  if (!Number.isInteger(at) || at % 64 !== 0 || at < 0 || at + PEERS > u8.length) refuse('it would not lie in the memory');
  if (get(AT.magic) !== RING_MAGIC) refuse('no ring begins there');
  if (get(AT.format) !== RING_FORMAT) refuse(`its format is ${get(AT.format)}, this build reads ${RING_FORMAT}`);
  const capacity = get(AT.capacity);
  const stride = get(AT.stride);
  const peers = get(AT.peers);
  const shape = place(at, get(AT.kind), capacity, get(AT.size), stride, peers);
  const sound =
    capacity >= 2 &&
    (capacity & (capacity - 1)) === 0 &&
    stride >= 0 &&
    peers >= 3 &&
    peers <= PEERS_MAX &&
    shape.data === at + get(AT.data);
  if (!sound || at + shape.bytes > u8.length) refuse('its description is damaged');
  if (
    shape.size !== record.size ||
    ((shape.kind & KIND.variable) !== 0) !== record.variable ||
    get(AT.signature) !== record.fingerprint[0] ||
    get(AT.signature + 4) !== record.fingerprint[1]
  )
    refuse('it holds records of another type');
  return shape;
}

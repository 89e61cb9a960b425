/**
 * Devices by plain words: what docs/devices.md and docs/queues.md say of the bytes, written down a second time. Nothing here but loads,
 * stores, `threadSync` and wakes; no helper of the library's.
 */
import { threadSync, type SyncWords, type SyncWord } from '../src/index.ts';

export const at = (words: SyncWords, offset: number): number => Atomics.load(words.i32, offset >> 2);
export const put = (words: SyncWords, offset: number, value: number): number => Atomics.store(words.i32, offset >> 2, value);
export const wordAt = (words: SyncWords, offset: number): SyncWord => ({ words, index: offset >> 2, bits: 32 });

/** A device's root: the metadata page is followed by it. */
export interface Plain {
  readonly words: SyncWords;
  readonly root: number;
}

/** Adds 1 to the word, and wakes who sleeps on it. */
export function raise(words: SyncWords, offset: number): void {
  Atomics.add(words.i32, offset >> 2, 1);
  threadSync([{ wake: wordAt(words, offset) }]);
}

export const knock = ({ words, root }: Plain): void => raise(words, root + 192);

/** Sleeps while the word has the value; the driver must live. */
export function whileWord({ words, root }: Plain, offset: number, value: number): void {
  while (at(words, offset) === value) {
    if (at(words, root + 128) !== 1) throw new Error(`status ${at(words, root + 128)}`);
    const { outcome } = threadSync([{ sleep: wordAt(words, offset), value }], { timeout: 200 });
    if (outcome === 'timedOut' && !words.threads.lives(at(words, root + 132))) throw new Error('the driver died');
  }
}

/** A line of `bytes` from `first` whose owner, at `owner`, is this thread from now on. */
export function claim({ words }: Plain, first: number, count: number, bytes: number, owner: number): number {
  for (let line = first; line < first + count * bytes; line += bytes)
    if (Atomics.compareExchange(words.i32, (line + owner) >> 2, 0, words.threads.self) === 0) return line;
  throw new Error('all lines are in use');
}

// --- rings ----------------------------------------------------------------------------------------------------------------------

const ring = (words: SyncWords, ring: number, tickets: number): void => {
  if (at(words, ring + tickets) !== 0) raise(words, ring + tickets + 4);
};

/** Sleeps on a ring's bell until `attempt` gives something. Tickets lie at `tickets`, the bell behind. */
function awaited<T>(device: Plain, ringAt: number, tickets: number, attempt: () => T | undefined): T | undefined {
  const { words } = device;
  for (;;) {
    const bell = at(words, ringAt + tickets + 4);
    Atomics.add(words.i32, (ringAt + tickets) >> 2, 1);
    const found = attempt();
    if (found !== undefined) return found;
    if (at(words, ringAt + 80) !== 0) return attempt();
    whileWord(device, ringAt + tickets + 4, bell);
  }
}

/** One producer, one consumer, records of different lengths. */
export function receiveBytes(device: Plain, ringAt: number): Uint8Array | undefined {
  const { words } = device;
  const capacity = at(words, ringAt + 12);
  const data = ringAt + at(words, ringAt + 36);
  return awaited(device, ringAt, 64, () => {
    let head = at(words, ringAt + 256);
    if (head === at(words, ringAt + 128)) return undefined;
    let place = data + (head & (capacity - 1));
    if (at(words, place) === -1) {
      head = (head + capacity - (head & (capacity - 1))) | 0;
      place = data;
    }
    const length = at(words, place);
    const record = words.u8.slice(place + 8, place + 8 + length);
    put(words, ringAt + 256, (head + 8 + ((length + 7) & ~7)) | 0);
    ring(words, ringAt, 72);
    return record;
  });
}

export function submitBytes(device: Plain, ringAt: number, record: Uint8Array): boolean | undefined {
  const { words } = device;
  const capacity = at(words, ringAt + 12);
  const data = ringAt + at(words, ringAt + 36);
  const need = 8 + ((record.length + 7) & ~7);
  return awaited(device, ringAt, 72, () => {
    const tail = at(words, ringAt + 128);
    const place = tail & (capacity - 1);
    const skip = place + need > capacity ? capacity - place : 0;
    if (((tail + skip + need - at(words, ringAt + 256)) | 0) > capacity) return undefined;
    if (skip > 0) put(words, data + place, -1);
    const from = data + ((tail + skip) & (capacity - 1));
    put(words, from, record.length);
    words.u8.set(record, from + 8);
    put(words, ringAt + 128, (tail + skip + need) | 0);
    ring(words, ringAt, 64);
    return true;
  });
}

/** Nothing more is submitted: whoever sleeps is to know. */
export function endRing({ words }: Plain, ringAt: number): void {
  put(words, ringAt + 80, 1);
  raise(words, ringAt + 68);
  raise(words, ringAt + 76);
}

/** Takes part in a ring of many: the number of the peer. */
function enter({ words }: Plain, ringAt: number, role: number): number {
  for (let peer = 2; peer < at(words, ringAt + 32); peer++)
    if (Atomics.compareExchange(words.i32, (ringAt + 384 + peer * 4) >> 2, 0, words.threads.self | role) === 0) return peer + 1;
  throw new Error('the ring has peers enough');
}

interface Slot {
  readonly offset: number;
  readonly lap: number;
}

function slotOf({ words }: Plain, ringAt: number, position: number): Slot {
  const capacity = at(words, ringAt + 12);
  const slot = ringAt + at(words, ringAt + 36) + (position & (capacity - 1)) * at(words, ringAt + 20);
  const turns = 32 - Math.log2(capacity);
  return { offset: slot, lap: ((position >>> (32 - turns)) & (2 ** Math.min(22, turns) - 1)) << 10 };
}

const isOf = (word: number, lap: number): boolean => (word & ~1023) === lap;

/** Takes the next record of a ring with many consumers. */
export function receiveSlot(device: Plain, ringAt: number): Uint8Array | undefined {
  const { words } = device;
  const peer = enter(device, ringAt, -2147483648);
  const record = awaited(device, ringAt, 64, () => {
    const head = at(words, ringAt + 256);
    const { offset, lap } = slotOf(device, ringAt, head);
    const word = at(words, offset);
    if (!isOf(word, lap) || (word & 3) !== 2) return undefined;
    if (Atomics.compareExchange(words.i32, offset >> 2, word, lap | (peer << 2) | 3) !== word) return undefined;
    Atomics.compareExchange(words.i32, (ringAt + 256) >> 2, head, (head + 1) | 0);
    const bytes = words.u8.slice(offset + 8, offset + 8 + at(words, offset + 4));
    put(words, offset, slotOf(device, ringAt, (head + at(words, ringAt + 12)) | 0).lap);
    ring(words, ringAt, 72);
    return bytes;
  });
  put(words, ringAt + 384 + (peer - 1) * 4, 0);
  return record;
}

/** Submits to a ring with many producers. */
export function submitSlot(device: Plain, ringAt: number, record: Uint8Array): void {
  const { words } = device;
  const peer = enter(device, ringAt, 1 << 30);
  awaited(device, ringAt, 72, () => {
    const tail = at(words, ringAt + 128);
    const { offset, lap } = slotOf(device, ringAt, tail);
    if (Atomics.compareExchange(words.i32, offset >> 2, lap, lap | (peer << 2) | 1) !== lap) return undefined;
    Atomics.compareExchange(words.i32, (ringAt + 128) >> 2, tail, (tail + 1) | 0);
    put(words, offset + 4, record.length);
    words.u8.set(record, offset + 8);
    put(words, offset, lap | 2);
    ring(words, ringAt, 64);
    return true;
  });
  put(words, ringAt + 384 + (peer - 1) * 4, 0);
}

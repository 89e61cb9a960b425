/**
 * Opening a space: lock, control file, replay of the log's tail.
 *
 * Replay stores the committed words into private images, exactly as the transactions did; nothing is written to object files. So a
 * space is usable as soon as the tail is read, a crash during replay changes nothing, and the next checkpoint writes the result.
 */
import { crc32c } from '../abi/crc32c.ts';
import { TwzError } from '../abi/errors.ts';
import { LINE, LINE_WORDS, META } from '../abi/format.ts';
import { readId, type ObjectId } from '../abi/id.ts';
import { FRAME, FRAME_COMMIT, FRAME_MAX, OPERATION, SECTION, SEGMENT_HEADER } from '../abi/log-format.ts';
import type { Host, Lock } from '../host/host.ts';
import { encodeControl, readControl, type Control } from './control.ts';
import { Log, segmentName, type LogPosition } from './log.ts';
import type { Kernel } from './kernel.ts';
import type { Handle } from './object.ts';

export interface Recovery {
  /** Bytes of log that were replayed. */
  readonly bytes: number;
  readonly transactions: number;
  readonly objects: number;
  readonly ms: number;
  /** Objects that the log changes and whose files are gone. */
  readonly missing: readonly ObjectId[];
}

export interface Opened {
  readonly lock: Lock;
  readonly control: Control;
  readonly log: Log;
  readonly recovery: Recovery;
  /** Objects whose files do not have what the log has. */
  readonly changed: readonly Handle[];
  readonly removed: readonly Handle[];
}

export function recover(kernel: Kernel): Opened {
  const { host, directory, options } = kernel;
  const started = host.now();
  const controlPath = `${directory}/space.twz`;
  if (!host.exists(controlPath)) {
    if (!options.create) throw new TwzError('SpaceMissing', `${directory} holds no space`, { directory });
    host.makeDirectory(directory);
  }
  const lock = host.lock(`${directory}/lock`);
  try {
    if (!host.exists(controlPath)) createSpace(host, directory, options.segmentSize);
    const control = readControl(host, controlPath);
    const scan = new Scan(host, `${directory}/log`, control);
    const replay = new Replay(kernel);
    for (const transaction of scan.transactions()) replay.apply(transaction);
    // A checkpoint that is late finds twice its log; with that many segments in store, new ones need no zeroes written.
    const spares = Math.ceil((2 * options.checkpointBytes) / control.segmentSize) + 1;
    const log = new Log(host, `${directory}/log`, control.space, control.segmentSize, spares, kernel.windows, scan.segmentsEnd(), control.lsn);
    if (scan.adopted.length > 0) log.adopt(scan.adopted, scan.adoptedLsn, scan.committed);
    const outcome = replay.finish(log.end);
    const recovery: Recovery = {
      bytes: scan.committed.lsn - control.lsn,
      transactions: scan.count,
      objects: outcome.changed.length + outcome.removed.length,
      ms: host.now() - started,
      missing: outcome.missing,
    };
    return { lock, control, log, recovery, changed: outcome.changed, removed: outcome.removed };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** A new space appears whole or not at all: its control file is renamed into place last. */
function createSpace(host: Host, directory: string, segmentSize: number): void {
  host.makeDirectory(`${directory}/objects`);
  host.makeDirectory(`${directory}/log`);
  const control: Control = { generation: 0, space: host.random(16), lsn: segmentSize + SEGMENT_HEADER, chain: 0, segmentSize };
  const draft = `${directory}/space.draft`;
  const file = host.open(draft, 'create');
  try {
    host.write(file, encodeControl(control), 0);
    host.truncate(file, encodeControl(control).length * 2);
    host.sync(file);
  } finally {
    host.close(file);
  }
  host.syncDirectory(`${directory}`);
  host.rename(draft, `${directory}/space.twz`);
  host.syncDirectory(directory);
}

/** One frame's words, header included. */
type Frame = Int32Array;

const FIRST_READ = 1 << 16;
const NEXT_READ = 4 << 20;

/** Reads the log from the control file's position to the last complete transaction, in the segments and then in the tail. */
export class Scan {
  readonly #host: Host;
  readonly #directory: string;
  readonly #segmentSize: number;
  /** Behind the last valid frame. */
  #cursor: LogPosition;
  /** Behind the last frame that ends a transaction. */
  committed: LogPosition;
  /** Behind the last valid frame in the segments. */
  #segmentsEnd: LogPosition;
  #open: Frame[] = [];
  count = 0;
  /** Frames of complete transactions that only the tail has. */
  adopted = new Uint8Array(0);
  adoptedLsn = 0;

  constructor(host: Host, directory: string, control: Control) {
    this.#host = host;
    this.#directory = directory;
    this.#segmentSize = control.segmentSize;
    this.#cursor = this.committed = this.#segmentsEnd = { lsn: control.lsn, chain: control.chain };
  }

  *transactions(): Generator<readonly Frame[]> {
    for (const frame of this.#segmentFrames()) yield* this.#take(frame);
    this.#segmentsEnd = this.#cursor;
    const tail: Frame[] = [];
    let kept = 0;
    for (const frame of this.#tailFrames()) {
      tail.push(frame);
      const before = this.count;
      yield* this.#take(frame);
      if (this.count > before) kept = tail.length;
    }
    this.#keep(tail.slice(0, kept));
  }

  /** Where the segments' part of the committed log ends. */
  segmentsEnd(): LogPosition {
    return this.adopted.length > 0 ? this.#segmentsEnd : this.committed;
  }

  #keep(frames: readonly Frame[]): void {
    const first = frames[0];
    if (first === undefined) return;
    this.adoptedLsn = lsnOf(first);
    this.adopted = new Uint8Array(frames.reduce((sum, frame) => sum + frame.byteLength, 0));
    let at = 0;
    for (const frame of frames) {
      this.adopted.set(new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength), at);
      at += frame.byteLength;
    }
  }

  *#take(frame: Frame): Generator<readonly Frame[]> {
    this.#cursor = { lsn: lsnOf(frame) + frame.byteLength, chain: (frame[FRAME.checksum >> 2] as number) >>> 0 };
    this.#open.push(frame);
    if (((frame[FRAME.flags >> 2] as number) & FRAME_COMMIT) === 0) return;
    this.committed = this.#cursor;
    this.count++;
    const frames = this.#open;
    this.#open = [];
    yield frames;
  }

  /** The frame at a word, if it continues the log: right LSN, right length, right checksum. */
  #valid(words: Int32Array, at: number): Frame | undefined {
    const length = words[at] ?? 0;
    if (length < FRAME.header || length > FRAME_MAX || length % 8 !== 0 || at + length / 4 > words.length) return undefined;
    const frame = words.subarray(at, at + length / 4);
    const lsn = lsnOf(frame);
    if (lsn !== this.#cursor.lsn && lsn !== this.#nextStart()) return undefined;
    const chain = crc32c(frame, 2, frame.length, this.#cursor.chain);
    return chain === (frame[FRAME.checksum >> 2] as number) >>> 0 ? frame : undefined;
  }

  #nextStart(): number {
    return (Math.floor(this.#cursor.lsn / this.#segmentSize) + 1) * this.#segmentSize + SEGMENT_HEADER;
  }

  *#segmentFrames(): Generator<Frame> {
    let sequence = Math.floor(this.#cursor.lsn / this.#segmentSize);
    let offset = this.#cursor.lsn % this.#segmentSize;
    for (;;) {
      const before = this.#cursor.lsn;
      yield* this.#framesOf(sequence, offset);
      const moved = this.#cursor.lsn !== before;
      if (!moved && offset === SEGMENT_HEADER && sequence > Math.floor(this.#cursor.lsn / this.#segmentSize)) return;
      if (!this.#host.exists(`${this.#directory}/${segmentName(sequence + 1)}`)) return;
      sequence++;
      offset = SEGMENT_HEADER;
    }
  }

  *#framesOf(sequence: number, from: number): Generator<Frame> {
    const path = `${this.#directory}/${segmentName(sequence)}`;
    if (!this.#host.exists(path)) return;
    const file = this.#host.open(path, 'read');
    try {
      let offset = from;
      let size = FIRST_READ;
      for (;;) {
        const bytes = new Uint8Array(Math.min(size, this.#segmentSize - offset));
        const count = this.#host.read(file, bytes, offset);
        const words = new Int32Array(bytes.buffer, 0, count >> 2);
        let at = 0;
        for (let frame = this.#valid(words, at); frame !== undefined; frame = this.#valid(words, at)) {
          yield frame;
          at += frame.length;
        }
        // Did the data end, or only what was read of it?
        const next = words[at] ?? (at === words.length ? 1 : 0);
        const whole = at > 0 || size < FRAME_MAX;
        offset += at * 4;
        if (next === 0 || !whole || (at === 0 && size >= NEXT_READ) || offset + 8 > this.#segmentSize) return;
        size = NEXT_READ;
        if (at === 0 && count < bytes.length) return;
      }
    } finally {
      this.#host.close(file);
    }
  }

  *#tailFrames(): Generator<Frame> {
    const path = `${this.#directory}/tail`;
    if (!this.#host.exists(path)) return;
    const file = this.#host.open(path, 'read');
    let words: Int32Array;
    try {
      const first = new Uint8Array(FIRST_READ);
      const count = this.#host.read(file, first, 0);
      words = new Int32Array(first.buffer, 0, count >> 2);
      if (!endsWithin(words)) {
        const bytes = new Uint8Array(this.#host.length(file) & ~7);
        words = new Int32Array(bytes.buffer, 0, this.#host.read(file, bytes, 0) >> 2);
      }
    } finally {
      this.#host.close(file);
    }
    for (let at = 0; at + (FRAME.header >> 2) <= words.length; ) {
      const length = words[at] as number;
      if (length < FRAME.header || length > FRAME_MAX || length % 8 !== 0 || at + length / 4 > words.length) return;
      if (lsnOf(words.subarray(at)) >= this.#cursor.lsn) {
        const frame = this.#valid(words, at);
        if (frame === undefined) return;
        yield frame;
      }
      at += length / 4;
    }
  }
}

/** Does the chain of lengths end inside these words? */
function endsWithin(words: Int32Array): boolean {
  for (let at = 0; at < words.length; ) {
    const length = words[at] as number;
    if (length < FRAME.header || length % 8 !== 0) return true;
    at += length / 4;
  }
  return false;
}

function lsnOf(frame: Int32Array): number {
  return ((frame[FRAME.lsn >> 2] as number) >>> 0) + (frame[(FRAME.lsn >> 2) + 1] as number) * 2 ** 32;
}

/** Stores committed words into private images. */
class Replay {
  readonly #kernel: Kernel;
  readonly #touched = new Map<ObjectId, Handle>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  apply(frames: readonly Frame[]): void {
    for (const frame of frames) {
      const bytes = new Uint8Array(frame.buffer, frame.byteOffset, frame.byteLength);
      let at = FRAME.header >> 2;
      for (let section = 0; section < (frame[FRAME.sections >> 2] as number); section++) {
        if (at + (SECTION.header >> 2) > frame.length) throw new TwzError('LogCorrupt', `frame at LSN ${lsnOf(frame)}: a section runs past its end`, { lsn: lsnOf(frame) });
        at = this.#section(frame, at, readId(bytes, at * 4));
      }
    }
  }

  #section(frame: Frame, at: number, id: ObjectId): number {
    const operation = frame[at + 4] as number;
    const size = frame[at + 5] as number;
    const version = ((frame[at + 6] as number) >>> 0) + (frame[at + 7] as number) * 2 ** 32;
    const lines = frame[at + 8] as number;
    const h = this.#kernel.handle(id);
    this.#touched.set(id, h);
    if (operation === OPERATION.create) this.#create(h, size);
    else if (operation === OPERATION.remove) this.#remove(h);
    else if (operation === OPERATION.change) this.#open(h, size);
    else throw new TwzError('LogCorrupt', `frame at LSN ${lsnOf(frame)}: unknown operation ${operation}`, { lsn: lsnOf(frame), operation });
    h.version = version;
    return this.#lines(frame, at + (SECTION.header >> 2), lines, h);
  }

  #lines(frame: Frame, at: number, count: number, h: Handle): number {
    const { words } = h;
    for (let i = 0; i < count; i++) {
      const head = frame[at++] as number;
      const line = head & 0xffffff;
      if ((line + 1) * LINE > h.size && h.state === 'live') throw new TwzError('LogCorrupt', `frame at LSN ${lsnOf(frame)}: line ${line} lies outside object ${h.id}`, { lsn: lsnOf(frame), line });
      const store = h.state === 'live';
      for (let mask = head >>> 24, to = line * LINE_WORDS; mask !== 0; mask >>>= 1, to += 2) {
        if ((mask & 1) === 0) continue;
        if (store) {
          words[to] = frame[at] as number;
          words[to + 1] = frame[at + 1] as number;
        }
        at += 2;
      }
      if (store) h.addPending(line >>> 6);
    }
    return at;
  }

  #create(h: Handle, size: number): void {
    this.#remove(h);
    h.state = 'live';
    h.place(this.#kernel.takeSlot(size), size);
    this.#kernel.link(h);
  }

  #remove(h: Handle): void {
    h.pendingPages = [];
    h.pending = new Uint8Array(0);
    h.fileSize = 0;
    h.state = 'deleted';
    this.#kernel.unmap(h);
  }

  /** Shows as much of the file as there is; a checkpoint that was cut short may have left it at any length. */
  #open(h: Handle, size: number): void {
    const kernel = this.#kernel;
    if (h.state !== 'live') return;
    if (h.cold) {
      const path = kernel.path(h.id);
      if (!kernel.host.exists(path)) {
        h.state = 'missing';
        return;
      }
      const file = kernel.host.open(path, 'read');
      try {
        const length = Math.min(size, Math.floor(kernel.host.length(file) / 4096) * 4096);
        const slot = kernel.takeSlot(size);
        if (length > 0) slot.window.mapPrivate(slot.at, length, file, 0);
        h.place(slot, size);
        h.fileSize = length;
        h.fileMapped = length > 0;
        if (h.fileMapped) kernel.mappings++;
        kernel.link(h);
      } finally {
        kernel.host.close(file);
      }
    } else if (size > h.size) kernel.resize(h, size);
  }

  finish(lsn: number): { changed: Handle[]; removed: Handle[]; missing: ObjectId[] } {
    const changed: Handle[] = [];
    const removed: Handle[] = [];
    const missing: ObjectId[] = [];
    for (const h of this.#touched.values()) {
      if (h.state === 'live') {
        const { version } = h;
        this.#kernel.adopt(h);
        h.version = version;
        h.lastLsn = lsn;
        h.verified = h.dv.getUint32(META.size, true) === h.size;
        changed.push(h);
      } else if (h.state === 'deleted') removed.push(h);
      else missing.push(h.id);
    }
    return { changed, removed, missing };
  }
}

/**
 * The redo log: appending, flushing, segments. The layout is in abi/log-format.ts.
 *
 *      frames are built here          pwrite             fdatasync
 *      tail (mapped, 4 MiB)  ------------------> segment ---------> durable
 *      survives SIGKILL                          survives SIGKILL   survives power loss
 *
 * Invariants:
 *  1. synced <= written <= end. Frames below `written` are in their segment, below `synced` they are durable.
 *  2. Every frame in [written, end) is in the tail buffer, in order, without gaps.
 *  3. Where the host maps the tail, an append makes no system call; elsewhere it is one write.
 *  4. `reserve` throws before anything is changed; after it an append needs no new space on disk.
 *  5. After a failed write or sync nothing more is appended: what the disk holds is unknown (`LogFailed`).
 */
import { crc32c } from '../abi/crc32c.ts';
import { TwzError, assert } from '../abi/errors.ts';
import { FRAME, FRAME_COMMIT, FRAME_MAX, LOG_FORMAT, LOG_MAGIC, SEGMENT, SEGMENT_HEADER } from '../abi/log-format.ts';
import type { File, Host, Timer } from '../host/host.ts';
import type { Slot, Windows } from './windows.ts';

const TAIL_MAX = 4 << 20;
/** A relaxed transaction is on disk at most about twice this many milliseconds later. */
const RELAXED_MS = 5;
/** Background syncs that may be under way, unseen by a busy event loop, before one is waited for. */
const UNSEEN_MAX = 16;
/** After so many flushes with one waiter each, the next is not handed to another thread. */
const SINGLES = 3;
/** Commits between two looks at the clock, at most: a look costs as much as a tenth of a small transaction. */
const STRIDE_MAX = 16;

export interface LogPosition {
  readonly lsn: number;
  readonly chain: number;
}

interface Segment {
  /** Changes when the segment is used again. */
  sequence: number;
  readonly file: File;
  readonly through: File;
  /** Plain writes so far, and how many of them are known to be durable. */
  writes: number;
  durableWrites: number;
  /** Asynchronous writes that have not ended: until then it is not used again. */
  writing: number;
  /** Asynchronous writes and syncs that have not ended: until then its files stay open. A busy event loop hears of the end late. */
  underWay: number;
  closing: boolean;
}

/** A segment that is not in use, and will save a new one the writing of zeros. */
interface Spare {
  readonly path: string;
  /** Its files, where this process has used it before. */
  readonly segment: Segment | undefined;
}

interface Waiter {
  readonly lsn: number;
  readonly resolve: () => void;
  readonly reject: (error: TwzError) => void;
}

export function segmentName(sequence: number): string {
  return `${String(sequence).padStart(8, '0')}.log`;
}

export class Log {
  readonly #host: Host;
  readonly #directory: string;
  readonly #space: Uint8Array;
  readonly segmentSize: number;
  /** Longest frame in bytes. */
  readonly frameMax: number;
  readonly #tailSize: number;
  /** Nothing below this LSN needs a new segment. */
  #reserved = 0;
  readonly #salt: number;
  readonly #segments = new Map<number, Segment>();
  /** The names of segments that an earlier process made are durable. */
  #namesSynced = false;
  readonly #spares: Spare[] = [];
  readonly #sparesMax: number;

  /** The tail buffer and its words; frames are built in place. */
  readonly #tail: Uint8Array;
  readonly words: Int32Array;
  readonly #tailFile: File | undefined;
  readonly #mapped: boolean;
  #tailStart: number;
  /** Where the next frame goes in the tail, in bytes. */
  #at = 0;

  end: number;
  written: number;
  synced: number;
  chain: number;

  readonly #waiters: Waiter[] = [];
  #flushing = false;
  #scheduled = false;
  #timer: Timer | undefined;
  #lastSync: number;
  #unseen = 0;
  /** Flushes in a row that one caller waited for. */
  #singles = 0;
  #unlooked = 0;
  #stride = 1;
  #lastLook = 0;
  failure: TwzError | undefined;
  /** Bytes appended since the space was opened. */
  appended = 0;
  syncs = 0;

  constructor(
    host: Host,
    directory: string,
    space: Uint8Array,
    segmentSize: number,
    spares: number,
    windows: Windows,
    at: LogPosition,
    checkpoint: number,
  ) {
    this.#host = host;
    this.#directory = directory;
    this.#space = space;
    this.segmentSize = segmentSize;
    this.#sparesMax = spares;
    this.#tailSize = Math.min(TAIL_MAX, segmentSize);
    this.frameMax = Math.min(FRAME_MAX, this.#tailSize / 4);
    this.#salt = new DataView(host.random(4).buffer).getUint32(0, true);
    this.end = this.written = this.#tailStart = at.lsn;
    this.synced = checkpoint;
    this.chain = at.chain;
    this.#lastSync = host.now();

    const path = `${directory}/tail`;
    for (const name of host.list(directory))
      if (name.startsWith('spare')) this.#spares.push({ path: `${directory}/${name}`, segment: undefined });
    const slot: Slot | undefined = windows.take(this.#tailSize);
    assert(slot !== undefined, 'no slot for the log tail');
    try {
      let mapped = false;
      if (host.name !== 'portable') {
        this.#tailFile = host.open(path, 'create');
        if (host.length(this.#tailFile) < this.#tailSize) host.preallocate(this.#tailFile, this.#tailSize);
        mapped = slot.window.mapShared(slot.at, this.#tailSize, this.#tailFile, 0);
      }
      this.#mapped = mapped;
      // An earlier process wrote these and may have died before it synced them.
      for (let sequence = this.#sequenceOf(checkpoint); checkpoint < at.lsn && sequence <= this.#sequenceOf(at.lsn); sequence++) {
        if (host.exists(`${directory}/${segmentName(sequence)}`)) this.#segment(sequence);
      }
    } catch (error) {
      this.#closeFiles();
      throw error;
    }
    this.#tail = new Uint8Array(slot.window.buffer, slot.at, this.#tailSize);
    this.words = new Int32Array(slot.window.buffer, slot.at, this.#tailSize / 4);
    // What was found may be durable or not; it becomes so as soon as what is committed does.
    if (this.synced < this.end) this.#arm();
  }

  // --- segments -----------------------------------------------------------------------------------------------------------

  #sequenceOf(lsn: number): number {
    return Math.floor(lsn / this.segmentSize);
  }

  #segment(sequence: number): Segment {
    const open = this.#segments.get(sequence);
    if (open !== undefined) return open;
    const path = `${this.#directory}/${segmentName(sequence)}`;
    if (!this.#host.exists(path)) {
      const again = this.#createSegment(sequence, path);
      if (again !== undefined) {
        again.sequence = sequence;
        again.writes = 1;
        again.durableWrites = 0;
        this.#segments.set(sequence, again);
        return again;
      }
    } else if (!this.#namesSynced) {
      // Who made it may have died before its name was durable.
      this.#host.syncDirectory(this.#directory);
      this.#namesSynced = true;
    }
    const file = this.#host.open(path, 'write');
    let through: File;
    try {
      through = this.#host.open(path, 'writeThrough');
    } catch (error) {
      this.#host.close(file);
      throw error;
    }
    // What an earlier process wrote here may not have been synced.
    const segment: Segment = { sequence, file, through, writes: 1, durableWrites: 0, writing: 0, underWay: 0, closing: false };
    this.#segments.set(sequence, segment);
    return segment;
  }

  /** Builds the whole file under another name, so that a segment is either complete or absent. Gives the spare whose files are open. */
  #createSegment(sequence: number, path: string): Segment | undefined {
    const host = this.#host;
    const spare = this.#spares.pop();
    const draft = spare?.path ?? `${this.#directory}/draft`;
    const file = spare?.segment?.file ?? host.open(draft, 'create');
    try {
      const header = new Int32Array(SEGMENT_HEADER / 4);
      header[SEGMENT.magic >> 2] = LOG_MAGIC;
      header[SEGMENT.format >> 2] = LOG_FORMAT;
      header[SEGMENT.sequence >> 2] = sequence;
      header[SEGMENT.size >> 2] = this.segmentSize;
      new Uint8Array(header.buffer).set(this.#space, SEGMENT.space);
      header[SEGMENT.checksum >> 2] = crc32c(header, 0, SEGMENT.checksum >> 2, 0);
      host.preallocate(file, this.segmentSize);
      host.write(file, new Uint8Array(header.buffer), 0);
      host.sync(file);
      host.rename(draft, path);
      host.syncDirectory(this.#directory);
    } catch (error) {
      if (spare?.segment === undefined) host.close(file);
      else this.#close(spare.segment);
      host.remove(draft);
      host.remove(path);
      throw error;
    }
    if (spare?.segment === undefined) host.close(file);
    return spare?.segment;
  }

  /** Makes sure that `bytes` more can be appended, whatever the frames' sizes. Throws DiskFull and the like, with nothing changed. */
  reserve(bytes: number): void {
    if (this.failure !== undefined) throw this.failure;
    // Each segment may stay unused by up to a frame at its end.
    const needed = this.end + bytes + (1 + bytes / (this.segmentSize / 2)) * this.frameMax;
    if (needed < this.#reserved) return;
    const last = this.#sequenceOf(needed);
    for (let sequence = this.#sequenceOf(this.end); sequence <= last; sequence++) this.#segment(sequence);
    this.#reserved = (last + 1) * this.segmentSize;
  }

  /** Forgets all before `lsn`: its segments become spares for new ones, or go. */
  recycle(lsn: number): void {
    const first = this.#sequenceOf(lsn);
    for (const name of this.#host.list(this.#directory)) {
      const match = /^(\d{8,})\.log$/.exec(name);
      const sequence = Number(match?.[1] ?? Infinity);
      const segment = this.#segments.get(sequence);
      if (sequence >= first || (segment?.writing ?? 0) > 0) continue;
      const path = `${this.#directory}/${name}`;
      if (this.#spares.length < this.#sparesMax) {
        const spare = `${this.#directory}/spare${match?.[1] ?? ''}`;
        this.#host.rename(path, spare);
        this.#segments.delete(sequence);
        this.#spares.push({ path: spare, segment });
        continue;
      }
      this.#host.remove(path);
      this.#segments.delete(sequence);
      if (segment !== undefined) this.#close(segment);
    }
  }

  #close(segment: Segment): void {
    segment.closing = true;
    if (segment.underWay > 0) return;
    this.#host.close(segment.file);
    this.#host.close(segment.through);
  }

  /** Keeps a segment's files open while the work on them is under way. */
  async #holding(segment: Segment, work: Promise<void>): Promise<void> {
    segment.underWay++;
    try {
      await work;
    } finally {
      segment.underWay--;
      if (segment.closing) this.#close(segment);
    }
  }

  // --- appending ----------------------------------------------------------------------------------------------------------

  /** Begins a frame of at most `bytes`, which is at most `frameMax`: returns the word index of its header. */
  begin(bytes: number): number {
    // Never quite to its end: what follows would be the next segment's header.
    if ((this.end % this.segmentSize) + bytes >= this.segmentSize) this.#nextSegment();
    if (this.#at + bytes > this.#tailSize) {
      this.#spill();
      this.#at = 0;
      this.#tailStart = this.end;
    }
    return this.#at >> 2;
  }

  #nextSegment(): void {
    this.#spill();
    const sequence = this.#sequenceOf(this.end) + 1;
    this.end = this.written = this.#tailStart = sequence * this.segmentSize + SEGMENT_HEADER;
    this.#at = 0;
  }

  /** Completes the frame that `begin` opened and that ends before word `to`. It is in the log once this returns. */
  append(to: number, sections: number, commit: boolean): void {
    const words = this.words;
    const at = this.#at >> 2;
    if ((to & 1) !== 0) words[to++] = 0;
    const length = (to - at) * 4;
    words[at + 2] = (this.end % 2 ** 32) | 0;
    words[at + 3] = Math.floor(this.end / 2 ** 32);
    words[at + 4] = this.#salt;
    words[at + 5] = commit ? FRAME_COMMIT : 0;
    words[at + 6] = sections;
    words[at + 7] = 0;
    const chain = crc32c(words, at + 2, to, this.chain);
    words[at + 1] = chain;
    words[at + (FRAME.length >> 2)] = length;
    this.chain = chain;
    this.end += length;
    this.#at += length;
    this.appended += length;
    // Stops a reader of the tail at the newest frame.
    if (this.#at < this.#tailSize) words[this.#at >> 2] = 0;
    if (!this.#mapped && commit) this.#spill();
  }

  /** Hands [written, end) to the operating system. */
  #spill(): void {
    if (this.written === this.end) return;
    const segment = this.#segment(this.#sequenceOf(this.written));
    const from = this.written - this.#tailStart;
    try {
      this.#host.write(segment.file, this.#tail.subarray(from, this.#at), this.written % this.segmentSize);
    } catch (cause) {
      throw this.fail(cause);
    }
    segment.writes++;
    this.written = this.end;
  }

  // --- flushing -----------------------------------------------------------------------------------------------------------

  /** Nothing is appended from now on. */
  fail(cause: unknown, what = 'the log could not be written'): TwzError {
    this.failure ??= new TwzError('LogFailed', `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, {}, cause);
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.failure);
    return this.failure;
  }

  #reached(lsn: number): void {
    if (lsn > this.synced) this.synced = lsn;
    this.#lastSync = this.#host.now();
    this.#unseen = 0;
    this.syncs++;
    let done = 0;
    for (const waiter of this.#waiters) {
      if (waiter.lsn > this.synced) break;
      waiter.resolve();
      done++;
    }
    this.#waiters.splice(0, done);
  }

  /** Makes all that was appended durable before it returns. */
  sync(): void {
    if (this.failure !== undefined) throw this.failure;
    if (this.synced === this.end) return;
    this.#spill();
    const end = this.end;
    try {
      for (const segment of this.#unsynced()) {
        this.#host.sync(segment.file);
        segment.durableWrites = segment.writes;
      }
    } catch (cause) {
      throw this.fail(cause);
    }
    this.#reached(end);
  }

  /** Resolves when all that was appended so far is durable. Calls in one turn of the event loop share a sync. */
  durable(): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    if (this.synced === this.end) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ lsn: this.end, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#flushing) return;
    this.#scheduled = true;
    this.#host.soon(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  /** Starts an asynchronous flush of all there is; another follows it while somebody waits. */
  #flush(): void {
    if (this.#flushing || this.failure !== undefined || this.synced === this.end) return;
    this.#singles = this.#waiters.length === 1 ? this.#singles + 1 : 0;
    const end = this.end;
    if (this.#singles > SINGLES && this.#writeThrough(end)) return;
    this.#flushing = true;
    this.#flushTo(end).then(
      () => {
        this.#flushing = false;
        this.#reached(end);
        if (this.#waiters.length > 0) this.#schedule();
        else if (this.synced < this.end) this.#arm();
      },
      (cause: unknown) => {
        this.#flushing = false;
        this.fail(cause);
      },
    );
  }

  /**
   * For one caller that waits for each commit in turn: handing the write to another thread and back would cost a third more, and the
   * event loop has little else to do. As soon as two wait at once the flushes are asynchronous again. False where older bytes are unsynced.
   */
  #writeThrough(end: number): boolean {
    if (this.written === end || this.#unsynced().length > 0) return false;
    const segment = this.#segment(this.#sequenceOf(this.written));
    try {
      this.#host.write(segment.through, this.#tail.subarray(this.written - this.#tailStart, this.#at), this.written % this.segmentSize);
    } catch (cause) {
      this.fail(cause);
      return true;
    }
    this.written = end;
    this.#reached(end);
    return true;
  }

  /** One write-through of the new bytes where nothing older is unsynced, else a write and a sync of each segment. */
  async #flushTo(end: number): Promise<unknown> {
    const segment = this.#segment(this.#sequenceOf(this.written));
    if (this.written < end && this.#unsynced().length === 0) {
      // A copy: the tail may be reused before the device has read it.
      const bytes = this.#tail.slice(this.written - this.#tailStart, this.#at);
      const offset = this.written % this.segmentSize;
      segment.writing++;
      return this.#holding(segment, this.#host.writeThroughAsync(segment.through, bytes, offset))
        .then(() => {
          if (this.written < end) this.written = end;
        })
        .finally(() => segment.writing--);
    }
    try {
      this.#spill();
    } catch (cause) {
      return Promise.reject(cause);
    }
    return Promise.all(
      this.#unsynced().map(async (other) => {
        const { sequence, writes } = other;
        await this.#holding(other, this.#host.syncAsync(other.file));
        if (other.sequence === sequence) other.durableWrites = Math.max(other.durableWrites, writes);
      }),
    );
  }

  #unsynced(): Segment[] {
    const list: Segment[] = [];
    for (const segment of this.#segments.values()) if (segment.writes !== segment.durableWrites) list.push(segment);
    return list;
  }

  /** After a relaxed commit: sees to it that the log is synced within the promised time, even if the event loop never turns. */
  pace(): void {
    if (this.#timer === undefined) this.#arm();
    if (++this.#unlooked < this.#stride) return;
    const now = this.#host.now();
    // So many commits as took less than half a millisecond, going by the last ones.
    this.#stride = now - this.#lastLook < 0.25 ? Math.min(STRIDE_MAX, this.#stride * 2) : now - this.#lastLook > 0.5 ? 1 : this.#stride;
    this.#lastLook = now;
    this.#unlooked = 0;
    if (now - this.#lastSync < RELAXED_MS) return;
    this.#lastSync = now;
    if (!this.#flushing) {
      this.#flush();
      return;
    }
    // The event loop has not turned since the last flush began. Sync again without waiting, and now and then make sure.
    try {
      if (++this.#unseen >= UNSEEN_MAX) this.sync();
      else {
        this.#spill();
        for (const segment of this.#unsynced())
          this.#holding(segment, this.#host.syncAsync(segment.file)).catch((cause: unknown) => this.fail(cause));
      }
    } catch (error) {
      // The transaction that was committed just now does not fail for it; the next one does.
      if (error !== this.failure) throw error;
    }
  }

  #arm(): void {
    this.#timer?.cancel();
    this.#timer = this.#host.timer(RELAXED_MS, () => {
      this.#timer = undefined;
      this.#flush();
    });
  }

  /** Puts frames that were found only in the tail of a dead process at the end of the log; for good, if files are as new as they. */
  adopt(frames: Uint8Array, first: number, at: LogPosition, durable: boolean): void {
    assert(frames.length <= this.#tailSize, 'adopted frames exceed the tail');
    // Into the segment first: until they are there, the tail is all there is of them.
    const segment = this.#segment(this.#sequenceOf(first));
    this.#host.write(segment.file, frames, first % this.segmentSize);
    segment.writes++;
    if (durable) this.#host.syncAll(this.#directory);
    this.#at = 0;
    this.#tailStart = this.written = this.end = at.lsn;
    this.chain = at.chain;
    this.words[0] = 0;
    this.#arm();
  }

  #closeFiles(): void {
    for (const segment of this.#segments.values()) this.#close(segment);
    for (const { segment } of this.#spares) if (segment !== undefined) this.#close(segment);
    this.#segments.clear();
    if (this.#tailFile !== undefined) this.#host.close(this.#tailFile);
  }

  /** `clean`: a checkpoint has just made the log needless, so the next opening need not read the tail. */
  close(clean: boolean): void {
    this.#timer?.cancel();
    if (clean) this.words[0] = 0;
    this.#closeFiles();
    this.failure ??= new TwzError('SpaceClosed', 'the space was closed');
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.failure);
  }
}

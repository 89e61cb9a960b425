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
 *  6. Where several processes have the space open, `end`, `written` and so on are the live file's between `enter` and `leave`, and what
 *     this process knew last otherwise. Frames count from the `leave` that publishes their end.
 */
import { crc32c } from '../abi/crc32c.ts';
import { TwzError, assert } from '../abi/errors.ts';
import { FRAME, FRAME_COMMIT, FRAME_MAX, SEGMENT_HEADER } from '../abi/log-format.ts';
import { LIVE } from '../abi/live-format.ts';
import type { File, Host, Timer } from '../host/host.ts';
import type { Live, Mender } from './live.ts';
import { Segments, segmentName, type Segment } from './segments.ts';
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

interface Waiter {
  readonly lsn: number;
  readonly resolve: () => void;
  readonly reject: (error: TwzError) => void;
}

export class Log implements Mender {
  readonly #host: Host;
  readonly #directory: string;
  readonly segmentSize: number;
  /** Longest frame in bytes. */
  readonly frameMax: number;
  readonly #tailSize: number;
  /** Nothing below this LSN needs a new segment. */
  #reserved = 0;
  readonly #salt: number;
  readonly #segments: Segments;

  /** The tail buffer and its words; frames are built in place. */
  readonly #tail: Uint8Array;
  readonly words: Int32Array;
  readonly #tailFile: File | undefined;
  readonly #mapped: boolean;
  readonly #live: Live | undefined;
  /** How often `enter` was called without its `leave`. */
  #depth = 0;
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
  /** LSN up to which it had committed when it last looked whether others had synced that. */
  #owed = 0;
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
    live: Live | undefined,
  ) {
    this.#live = live;
    if (live !== undefined) live.mender = this;
    this.#host = host;
    this.#directory = directory;
    this.segmentSize = segmentSize;
    this.#segments = new Segments(host, directory, space, segmentSize, spares, live);
    this.#tailSize = Math.min(TAIL_MAX, segmentSize);
    this.frameMax = Math.min(FRAME_MAX, this.#tailSize / 4);
    this.#salt = new DataView(host.random(4).buffer).getUint32(0, true);
    this.end = this.written = this.#tailStart = at.lsn;
    this.synced = checkpoint;
    this.chain = at.chain;
    this.#lastSync = host.now();

    const path = `${directory}/tail`;
    const slot: Slot | undefined = windows.takeOwn(this.#tailSize);
    assert(slot !== undefined, 'no slot for the log tail');
    try {
      let mapped = false;
      if (host.name !== 'portable') {
        this.#tailFile = host.open(path, 'create');
        if (host.length(this.#tailFile) < this.#tailSize) host.preallocate(this.#tailFile, this.#tailSize);
        mapped = slot.window.mapShared(slot.at, this.#tailSize, this.#tailFile, 0);
      }
      this.#mapped = mapped;
    } catch (error) {
      this.#closeFiles();
      throw error;
    }
    this.#tail = new Uint8Array(slot.window.buffer, slot.at, this.#tailSize);
    this.words = new Int32Array(slot.window.buffer, slot.at, this.#tailSize / 4);
    // What was found may be durable or not; it becomes so as soon as what is committed does.
    if (this.synced < this.end) this.#arm();
  }

  // --- sharing --------------------------------------------------------------------------------------------------------------

  /** From here to `leave` this process alone appends, and knows what there is. Throws LeaseTimeout. */
  enter(): void {
    if (this.#live === undefined || this.#live.sole) return;
    if (this.#depth === 0) {
      this.#live.take(LIVE.append >> 2);
      this.#load(this.#live);
    }
    this.#depth++;
  }

  leave(): void {
    if (this.#live === undefined || this.#live.sole || --this.#depth > 0) return;
    const raised = this.#store(this.#live);
    this.#live.give(LIVE.append >> 2);
    // Whoever is woken for nothing may not sleep yet, and then nobody knows that it does.
    if (raised) this.#live.rouse();
  }

  #load({ i32, f64 }: Live): void {
    this.end = f64[LIVE.end >> 3] as number;
    this.written = f64[LIVE.written >> 3] as number;
    this.synced = Math.max(this.synced, f64[LIVE.synced >> 3] as number);
    this.#tailStart = f64[LIVE.tailStart >> 3] as number;
    this.#at = i32[LIVE.at >> 2] as number;
    this.chain = (i32[LIVE.chain >> 2] as number) >>> 0;
    if (i32[LIVE.failed >> 2] === 1) this.failure ??= new TwzError('LogFailed', 'another process could not write the log');
  }

  /** True where it raised the count of commits. */
  #store({ i32, f64 }: Live): boolean {
    f64[LIVE.written >> 3] = this.written;
    f64[LIVE.synced >> 3] = this.synced;
    f64[LIVE.tailStart >> 3] = this.#tailStart;
    i32[LIVE.at >> 2] = this.#at;
    i32[LIVE.chain >> 2] = this.chain;
    // What a commit that failed half way left behind does not count.
    if (f64[LIVE.end >> 3] === this.end || this.failure !== undefined) return false;
    f64[LIVE.end >> 3] = this.end;
    Atomics.add(i32, LIVE.commits >> 2, 1);
    return true;
  }

  /** The first to open the space says what there is. */
  share(): void {
    if (this.#live !== undefined) this.#store(this.#live);
  }

  /** A joiner learns what there is. */
  join(): void {
    this.enter();
    this.leave();
  }

  /** Who was appending died: what it had not published is cut off, so that no recovery finds it. */
  mend(): void {
    const live = this.#live;
    assert(live !== undefined, 'a log that is not shared was mended');
    this.#load(live);
    if (this.end < this.#tailStart) {
      this.#tailStart = this.written = this.end;
      this.#at = 0;
    } else this.#at = this.end - this.#tailStart;
    if (this.#at < this.#tailSize) this.words[this.#at >> 2] = 0;
    const offset = this.end % this.segmentSize;
    const path = `${this.#directory}/${segmentName(this.#segments.sequenceOf(this.end))}`;
    if (offset + FRAME.header <= this.segmentSize && this.#host.exists(path))
      this.#host.write(this.#segments.get(this.#segments.sequenceOf(this.end)).file, new Uint8Array(FRAME.header), offset);
    Atomics.add(live.i32, LIVE.turn >> 2, 2 - (Atomics.load(live.i32, LIVE.turn >> 2) & 1));
    this.#store(live);
    // The dead one may have raised the count, and woken nobody.
    live.announce();
  }

  /** The tail begins anew, once all that is in it is in its segment. */
  #rewind(): void {
    const live = this.#live;
    this.#at = 0;
    this.#tailStart = this.end;
    if (live === undefined || live.sole) return;
    Atomics.add(live.i32, LIVE.turn >> 2, 1);
    live.f64[LIVE.written >> 3] = live.f64[LIVE.end >> 3] as number;
    live.f64[LIVE.tailStart >> 3] = this.#tailStart;
    live.i32[LIVE.at >> 2] = 0;
    Atomics.add(live.i32, LIVE.turn >> 2, 1);
  }

  /** Copies [from, to) of the tail; false where it is not all there. Needs no lock. */
  copyTail(from: number, to: number, into: Uint8Array): boolean {
    const live = this.#live;
    if (live === undefined) return false;
    const turn = Atomics.load(live.i32, LIVE.turn >> 2);
    const start = live.f64[LIVE.tailStart >> 3] as number;
    if ((turn & 1) !== 0 || from < start || to - start > this.#tailSize) return false;
    into.set(this.#tail.subarray(from - start, to - start));
    return Atomics.load(live.i32, LIVE.turn >> 2) === turn;
  }

  /** Reads what is below `written` from its segment; returns how many bytes there were. Never past the end of a segment. */
  readSegment(lsn: number, into: Uint8Array): number {
    const offset = lsn % this.segmentSize;
    const { file } = this.#segments.get(this.#segments.sequenceOf(lsn));
    return this.#host.read(file, into.subarray(0, Math.min(into.length, this.segmentSize - offset)), offset);
  }

  /** Hands all there is to the operating system. */
  spill(): void {
    this.enter();
    try {
      this.#spill();
    } finally {
      this.leave();
    }
  }

  // --- segments -----------------------------------------------------------------------------------------------------------

  /** Makes sure that `bytes` more can be appended, whatever the frames' sizes. Throws DiskFull and the like, with nothing changed. */
  reserve(bytes: number): void {
    if (this.failure !== undefined) throw this.failure;
    // Each segment may stay unused by up to a frame at its end.
    const needed = this.end + bytes + (1 + bytes / (this.segmentSize / 2)) * this.frameMax;
    if (needed < this.#reserved) return;
    const last = this.#segments.sequenceOf(needed);
    for (let sequence = this.#segments.sequenceOf(this.end); sequence <= last; sequence++) this.#segments.get(sequence);
    this.#reserved = (last + 1) * this.segmentSize;
  }

  /** Forgets all before `lsn`: its segments become spares for new ones, or go. */
  recycle(lsn: number): void {
    this.#segments.recycle(lsn);
  }

  /** Another process has recycled what is below `lsn`. */
  forget(lsn: number): void {
    this.#segments.forget(lsn);
  }

  // --- appending ----------------------------------------------------------------------------------------------------------

  /** Begins a frame of at most `bytes`, which is at most `frameMax`: returns the word index of its header. */
  begin(bytes: number): number {
    // Never quite to its end: what follows would be the next segment's header.
    if ((this.end % this.segmentSize) + bytes >= this.segmentSize) this.#nextSegment();
    if (this.#at + bytes > this.#tailSize) {
      this.#spill();
      this.#rewind();
    }
    return this.#at >> 2;
  }

  #nextSegment(): void {
    this.#spill();
    const before = this.end;
    this.end = this.written = (this.#segments.sequenceOf(before) + 1) * this.segmentSize + SEGMENT_HEADER;
    // There is nothing in between.
    if (this.synced === before) this.synced = this.end;
    this.#rewind();
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
    const segment = this.#segments.get(this.#segments.sequenceOf(this.written));
    const from = this.written - this.#tailStart;
    try {
      this.#host.write(segment.file, this.#tail.subarray(from, this.#at), this.written % this.segmentSize);
    } catch (cause) {
      throw this.fail(cause);
    }
    this.written = this.end;
  }

  // --- flushing -----------------------------------------------------------------------------------------------------------

  /** Nothing is appended from now on. */
  fail(cause: unknown, what = 'the log could not be written'): TwzError {
    this.failure ??= new TwzError('LogFailed', `${what}: ${cause instanceof Error ? cause.message : String(cause)}`, {}, cause);
    if (this.#live !== undefined) Atomics.store(this.#live.i32, LIVE.failed >> 2, 1);
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.failure);
    return this.failure;
  }

  #reached(lsn: number): void {
    if (lsn > this.synced) this.synced = lsn;
    this.#lastSync = this.#host.now();
    this.#unseen = 0;
    this.syncs++;
    this.#settle();
  }

  /** Tells those whose commits are durable. */
  #settle(): void {
    let done = 0;
    for (const waiter of this.#waiters) {
      if (waiter.lsn > this.synced) break;
      waiter.resolve();
      done++;
    }
    this.#waiters.splice(0, done);
  }

  /** Takes note, for all, that the log is durable up to `lsn`. */
  #publish(lsn: number): void {
    this.enter();
    try {
      if (this.written < lsn) this.written = lsn;
      this.#reached(lsn);
    } finally {
      this.leave();
    }
  }

  /** Throws LogFailed. */
  demandSound(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  /** Makes all that was appended durable before it returns. */
  sync(): void {
    this.demandSound();
    let end = 0;
    let unsynced: Segment[] = [];
    this.enter();
    try {
      if (this.synced === this.end) return;
      end = this.end;
      if (this.#writeThrough(end)) {
        this.demandSound();
        return;
      }
      this.#spill();
      unsynced = this.#unsynced();
    } finally {
      this.leave();
    }
    try {
      for (const segment of unsynced) this.#host.sync(segment.file);
    } catch (cause) {
      throw this.fail(cause);
    }
    this.#publish(end);
  }

  /** Resolves when all that was appended so far is durable. Calls in one turn of the event loop share a sync. */
  durable(): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    if (this.synced >= this.end) return Promise.resolve();
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
    if (this.#flushing || this.failure !== undefined) return;
    let work: Promise<unknown>;
    let end: number;
    try {
      this.enter();
    } catch (cause) {
      this.fail(cause);
      return;
    }
    try {
      this.#settle();
      if (this.synced === this.end) return;
      this.#singles = this.#waiters.length === 1 ? this.#singles + 1 : 0;
      end = this.end;
      if (this.#singles > SINGLES && this.#writeThrough(end)) return;
      this.#flushing = true;
      work = this.#flushTo(end);
    } finally {
      this.leave();
    }
    work
      .then(() => this.#publish(end))
      .then(
        () => {
          this.#flushing = false;
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
   * event loop has little else to do. As soon as two wait at once the flushes are asynchronous again. False where older bytes are unsynced,
   * or where other processes would have to wait.
   */
  #writeThrough(end: number): boolean {
    if (this.written === end || this.synced !== this.written || this.#live?.alone === false) return false;
    const segment = this.#segments.get(this.#segments.sequenceOf(this.written));
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
    const segment = this.#segments.get(this.#segments.sequenceOf(this.written));
    if (this.written < end && this.synced === this.written) {
      // A copy: the tail may be reused before the device has read it.
      const bytes = this.#tail.slice(this.written - this.#tailStart, this.#at);
      const offset = this.written % this.segmentSize;
      segment.writing++;
      this.#live?.writes(this.written);
      return this.#segments.holding(segment, this.#host.writeThroughAsync(segment.through, bytes, offset)).finally(() => {
        segment.writing--;
        this.#live?.writes(Infinity);
      });
    }
    try {
      this.#spill();
    } catch (cause) {
      return Promise.reject(cause);
    }
    return Promise.all(this.#unsynced().map((other) => this.#segments.holding(other, this.#host.syncAsync(other.file))));
  }

  /** Segments with bytes that are not known to be durable. */
  #unsynced(): Segment[] {
    const list: Segment[] = [];
    if (this.synced === this.written) return list;
    const last = this.#segments.sequenceOf(this.written - 1);
    for (let sequence = this.#segments.sequenceOf(this.synced); sequence <= last; sequence++) list.push(this.#segments.get(sequence));
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
    if (this.#served()) return;
    if (!this.#flushing) {
      this.#flush();
      return;
    }
    // The event loop has not turned since the last flush began. Sync again without waiting, and now and then make sure.
    try {
      if (++this.#unseen >= UNSEEN_MAX) this.sync();
      else {
        this.spill();
        for (const segment of this.#unsynced())
          this.#segments.holding(segment, this.#host.syncAsync(segment.file)).catch((cause: unknown) => this.fail(cause));
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
      if (!this.#served()) this.#flush();
      else if (this.synced < this.end) this.#arm();
    });
  }

  /** Has another process synced what this one had committed at the last look? Then that is soon enough for the rest, too. */
  #served(): boolean {
    const live = this.#live;
    if (live === undefined || live.sole || this.#waiters.length > 0) return false;
    const owed = this.#owed;
    this.#owed = this.end;
    const synced = live.f64[LIVE.synced >> 3] as number;
    if (owed === 0 || synced < owed) return false;
    this.synced = Math.max(this.synced, synced);
    return true;
  }

  /** Puts frames that were found only in the tail of a dead process at the end of the log; for good, if files are as new as they. */
  adopt(frames: Uint8Array, first: number, at: LogPosition, durable: boolean): void {
    assert(frames.length <= this.#tailSize, 'adopted frames exceed the tail');
    // Into the segment first: until they are there, the tail is all there is of them.
    const segment = this.#segments.get(this.#segments.sequenceOf(first));
    this.#host.write(segment.file, frames, first % this.segmentSize);
    if (durable) this.#host.syncAll(this.#directory);
    this.#at = 0;
    this.#tailStart = this.written = this.end = at.lsn;
    this.chain = at.chain;
    this.words[0] = 0;
    this.#arm();
  }

  #closeFiles(): void {
    this.#segments.close();
    if (this.#tailFile !== undefined) this.#host.close(this.#tailFile);
  }

  /** `clean`: a checkpoint has just made the log needless, so the next opening need not read the tail. */
  close(clean: boolean): void {
    this.#timer?.cancel();
    if (clean) this.words[0] = 0;
    this.#closeFiles();
    this.#live?.writes(Infinity);
    this.failure ??= new TwzError('SpaceClosed', 'the space was closed');
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.failure);
  }
}

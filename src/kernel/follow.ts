/**
 * Following the log: what other processes commit.
 *
 *   mapped here    its words are stored into the private image, as the transaction stored them there
 *   not mapped     where its sections are in the log is noted, and they are read when the object is mapped
 *
 * This happens between transactions only, so a transaction sees one state of the space, and so does a program that does not give way.
 *
 * Invariants:
 *  1. Images show the log up to `seen`, whole transactions, in order.
 *  2. An object file has nothing that some member has not seen (see checkpoint.ts), so what a page that was not copied shows is as old as
 *     `seen` or older, and the sections in `foreign` bring it up to date.
 *  3. `foreign` has every section since the last checkpoint of an object that is not mapped; those below the checkpoint are in the file.
 */
import { TwzError, assert, isTwzError } from '../abi/errors.ts';
import { FOT, LINE, LINE_WORDS, META, OBJECT_SIZE_MAX, OBJECT_SIZE_MIN, PAGE } from '../abi/format.ts';
import { readId, type ObjectId } from '../abi/id.ts';
import { LIVE } from '../abi/live-format.ts';
import { FRAME, FRAME_COMMIT, FRAME_MAX, OPERATION, SECTION, sectionEnd, sectionVersion, SEGMENT_HEADER } from '../abi/log-format.ts';
import { tapFrame } from './afar.ts';
import { UNKNOWN } from './allocator.ts';
import { storeRun } from './apply.ts';
import { helpDraft } from './drafts.ts';
import type { Kernel } from './kernel.ts';
import { wasDeleted } from './lifetime.ts';
import type { Live } from './live.ts';
import type { Handle } from './object.ts';

const CHUNK = 4 << 20;
const HEADER_WORDS = FRAME.header >> 2;
const SECTION_WORDS = SECTION.header >> 2;
const RECENT = 256;
/** Lines of the metadata page. */
const HEADER_LINES = PAGE / LINE;
/** A section is read in one piece if it is no longer than this. */
const FIRST_READ = 4096;
/** What says which type the root is. */
const TYPE_WORDS = [META.root >> 2, META.rootType >> 2, (META.rootType >> 2) + 1, META.typeVersion >> 2, META.schema >> 2];

/** What others changed of an object that is not mapped here. */
interface Foreign {
  /** Where its sections lie in the log, in order: LSN of the first byte. */
  positions: number[];
  /** The first of them creates it. */
  created: boolean;
  removed: boolean;
  createdAt: number;
}

export class Follower {
  readonly #kernel: Kernel;
  readonly #live: Live;
  /** LSN up to which the images show the log. */
  seen: number;
  /** Checksum of the frame that ends there. */
  chain: number;
  #commits = -1;
  readonly foreign = new Map<ObjectId, Foreign>();
  readonly #recent: ({ readonly words: readonly number[]; readonly id: ObjectId } | undefined)[] = Array.from({ length: RECENT });
  #scratch = new Int32Array(16384);
  /** Transactions of others that were followed. */
  transactions = 0;

  /** `from`: where the object files stand. */
  constructor(kernel: Kernel, live: Live, from: number, chain: number) {
    this.#kernel = kernel;
    this.#live = live;
    this.seen = from;
    this.chain = chain;
    live.saw(from);
  }

  /** Brings the images to what is committed now. Not inside a transaction. */
  catchUp(): void {
    if (this.#live.sole) {
      if (this.#live.knocked) this.#kernel.welcome();
      return;
    }
    const commits = Atomics.load(this.#live.i32, LIVE.commits >> 2);
    if (commits === this.#commits) return;
    this.#commits = commits;
    this.followTo(this.#live.f64[LIVE.end >> 3] as number);
    this.#kernel.checkpointer.absorb(this.#live.f64[LIVE.checkpoint >> 3] as number);
    if (!this.#live.news) return;
    this.#acknowledge();
    if (this.#live.alone) this.#kernel.withdraw();
  }

  /** Nobody has committed anything that the images do not show. */
  get current(): boolean {
    return (this.#live.f64[LIVE.end >> 3] as number) === this.seen;
  }

  /** This process committed [from, to): what others committed before that is followed now. */
  committed(from: number, to: number): void {
    if (this.seen !== from) this.followTo(from);
    this.seen = to;
    this.chain = this.#kernel.log.chain;
    this.#live.saw(to);
  }

  /** From now on others may overwrite what the files have, once this process has followed what they change. */
  #acknowledge(): void {
    const kernel = this.#kernel;
    if (kernel.snapshots.size > 0 || kernel.handles.size > 0)
      for (const h of kernel.handles.values()) for (const page of h.pendingPages) kernel.detach(h, page);
    this.#live.acknowledge();
  }

  followTo(target: number): void {
    for (let tries = 0; this.seen < target;) {
      const before = this.seen;
      this.#step(target);
      if (this.seen !== before) tries = 0;
      // Where the tail is just beginning anew. Who does that holds the lock; it may have died.
      else if (++tries > 100) this.#kernel.log.join();
    }
    this.#live.saw(this.seen);
  }

  #room(bytes: number): Int32Array {
    if (this.#scratch.length * 4 < bytes)
      this.#scratch = new Int32Array(Math.max(bytes >> 2, Math.min(CHUNK >> 2, this.#scratch.length * 2)));
    return this.#scratch;
  }

  #step(target: number): void {
    const { log } = this.#kernel;
    const from = this.seen;
    if (target - from <= CHUNK) {
      const words = this.#room(target - from);
      const bytes = new Uint8Array(words.buffer, 0, target - from);
      if (log.copyTail(from, target, bytes)) {
        this.#frames(words, (target - from) >> 2);
        if (this.seen !== target) throw this.#corrupt(this.seen, 'the log does not go on where it should');
        return;
      }
    }
    const limit = Math.min(target, this.#live.f64[LIVE.written >> 3] as number);
    if (limit <= from) return;
    const words = this.#room(Math.min(limit - from, CHUNK));
    const count = log.readSegment(from, new Uint8Array(words.buffer, 0, Math.min(limit - from, words.length * 4)));
    this.#frames(words, count >> 2);
    if (this.seen !== from) return;
    // The rest of the segment is not in use.
    const next = (Math.floor(from / log.segmentSize) + 1) * log.segmentSize + SEGMENT_HEADER;
    if (next > target) throw this.#corrupt(from, 'no frame begins where one should');
    this.seen = next;
  }

  #corrupt(lsn: number, reason: string): TwzError {
    return new TwzError('LogCorrupt', `frame at LSN ${lsn}: ${reason}`, { lsn });
  }

  /** Applies the whole frames among the words. */
  #frames(words: Int32Array, end: number): void {
    const kernel = this.#kernel;
    for (let at = 0; at + HEADER_WORDS <= end;) {
      const length = words[at] as number;
      const lsn = ((words[at + (FRAME.lsn >> 2)] as number) >>> 0) + (words[at + (FRAME.lsn >> 2) + 1] as number) * 2 ** 32;
      if (length < FRAME.header || length > FRAME_MAX || length % 8 !== 0 || lsn !== this.seen || at + (length >> 2) > end) return;
      this.#frame(words, at, lsn);
      if (kernel.tap !== undefined) tapFrame(kernel.tap, words, at, false);
      if (((words[at + (FRAME.flags >> 2)] as number) & FRAME_COMMIT) !== 0) {
        kernel.commits++;
        this.transactions++;
        kernel.tap?.committed(lsn + length);
      }
      this.seen = lsn + length;
      this.chain = (words[at + 1] as number) >>> 0;
      at += length >> 2;
    }
  }

  #frame(words: Int32Array, frame: number, lsn: number): void {
    const end = frame + ((words[frame] as number) >> 2);
    let at = frame + HEADER_WORDS;
    for (let left = words[frame + (FRAME.sections >> 2)] as number; left > 0; left--) {
      if (at + SECTION_WORDS > end) throw this.#corrupt(lsn, 'a section runs past its end');
      at = this.#section(words, at, end, lsn + (at - frame) * 4, lsn + (end - frame) * 4);
      if (at > end) throw this.#corrupt(lsn, 'a section runs past its end');
    }
  }

  #id(words: Int32Array, at: number): ObjectId {
    const place = (words[at] as number) & (RECENT - 1);
    const recent = this.#recent[place];
    if (
      recent !== undefined &&
      recent.words[0] === words[at] &&
      recent.words[1] === words[at + 1] &&
      recent.words[2] === words[at + 2] &&
      recent.words[3] === words[at + 3]
    )
      return recent.id;
    const id = readId(new Uint8Array(words.buffer, words.byteOffset + at * 4, 16), 0);
    this.#recent[place] = { words: [...words.subarray(at, at + 4)], id };
    return id;
  }

  #section(words: Int32Array, at: number, end: number, position: number, frameEnd: number): number {
    const kernel = this.#kernel;
    const id = this.#id(words, at);
    const operation = words[at + 4] as number;
    if (operation === OPERATION.remove) kernel.watches?.removed(id);
    else kernel.watches?.changed(id);
    let h = kernel.handles.get(id);
    if (operation === OPERATION.adopt) {
      this.#adopt(id);
      return sectionEnd(words, at, end);
    }
    // Snapshots keep what is mapped as it was.
    if (kernel.snapshots.size > 0 && operation !== OPERATION.create && h?.slot === undefined) h = this.#mapForSnapshots(id);
    if (h?.slot !== undefined && h.state === 'live') return this.#change(h, words, at, end, frameEnd);
    this.#note(id, h, operation, position, frameEnd);
    return sectionEnd(words, at, end);
  }

  /** It is in its file. Who committed it is about to put that in its place, or died before. */
  #adopt(id: ObjectId): void {
    const kernel = this.#kernel;
    this.foreign.delete(id);
    kernel.checkpointer.adopted(id);
    const h = kernel.handle(id);
    if (h.slot !== undefined) return;
    h.state = 'live';
    h.createdAt = kernel.commits + 1;
  }

  #mapForSnapshots(id: ObjectId): Handle | undefined {
    try {
      return this.#kernel.open(id);
    } catch (error) {
      if (isTwzError(error)) return this.#kernel.handles.get(id);
      throw error;
    }
  }

  #note(id: ObjectId, h: Handle | undefined, operation: number, position: number, frameEnd: number): void {
    const { checkpointer, commits } = this.#kernel;
    const known = this.foreign.get(id);
    if (operation === OPERATION.change && known !== undefined) {
      known.positions.push(position);
      return;
    }
    const removed = operation === OPERATION.remove;
    const created = operation === OPERATION.create;
    this.foreign.set(id, { positions: removed ? [] : [position], created, removed, createdAt: created ? commits + 1 : 0 });
    if (removed) checkpointer.removed(id, frameEnd);
    if (created) checkpointer.exists(id);
    if (h !== undefined && !(operation === OPERATION.change)) {
      h.state = removed ? 'deleted' : 'live';
      h.fileSize = 0;
      h.verified = false;
    }
  }

  /** Stores what was committed of an object that is mapped. Gives the index behind the section. */
  #change(h: Handle, words: Int32Array, at: number, end: number, lsn: number): number {
    const kernel = this.#kernel;
    const operation = words[at + 4] as number;
    const size = words[at + 5] as number;
    if (operation === OPERATION.remove) {
      for (const snapshot of kernel.snapshots) snapshot.rescue(h);
      vacate(kernel, h);
      h.state = 'deleted';
      kernel.checkpointer.removed(h.id, lsn);
      return sectionEnd(words, at, end);
    }
    if (operation === OPERATION.create) {
      for (const snapshot of kernel.snapshots) {
        snapshot.rescue(h);
        snapshot.own(h.id);
      }
      vacate(kernel, h);
      h.state = 'live';
      createImage(kernel, h, size);
    } else if (size > h.size) {
      for (const snapshot of kernel.snapshots) snapshot.keepLine(h, 0);
      grow(kernel, h, size);
    }
    const next = this.#store(h, words, at, end);
    h.version = sectionVersion(words, at);
    if (operation === OPERATION.create) {
      const { version } = h;
      kernel.adopt(h);
      h.version = version;
      h.verified = true;
      h.createdAt = kernel.commits + 1;
    }
    h.lastLsn = lsn;
    h.turn++;
    kernel.checkpointer.changed(h);
    return next;
  }

  #store(h: Handle, from: Int32Array, section: number, end: number): number {
    const kernel = this.#kernel;
    const { words } = h;
    const { size } = kernel.snapshots;
    let before: (number | undefined)[] | undefined;
    let at = section + SECTION_WORDS;
    for (let left = from[section + 8] as number; left > 0; left--) {
      const head = from[at++] as number;
      const line = head & 0xffffff;
      const run = head >>> 24 === 0 ? (from[at++] as number) : 0;
      if (run < 0 || at + run * LINE_WORDS > end || (line + Math.max(1, run)) * LINE > h.size)
        throw this.#corrupt(h.lastLsn, `line ${line} lies outside object ${h.id}`);
      if (run > 0) {
        // Pages that were added at the end: no snapshot shows them.
        storeRun(h, line, run, from, at);
        for (let page = line >>> 6; page <= (line + run - 1) >>> 6; page++) kernel.detach(h, page);
        at += run * LINE_WORDS;
        left -= run - 1;
        continue;
      }
      if (line < HEADER_LINES) before ??= TYPE_WORDS.map((word) => words[word]);
      if (size > 0) for (const snapshot of kernel.snapshots) snapshot.keepLine(h, line);
      for (let mask = head >>> 24, to = line * LINE_WORDS; mask !== 0; mask >>>= 1, to += 2) {
        if ((mask & 1) === 0) continue;
        words[to] = from[at] as number;
        words[to + 1] = from[at + 1] as number;
        at += 2;
      }
      if (h.pending[line >>> 6] !== 1) {
        h.addPending(line >>> 6);
        kernel.detach(h, line >>> 6);
      }
    }
    h.searched = undefined;
    h.released = UNKNOWN;
    if (before !== undefined || (words[META.fotCount >> 2] as number) > FOT.embedded) {
      h.fot = [];
      h.fotIndex = undefined;
      h.fotEpoch++;
    }
    if (before !== undefined && TYPE_WORDS.some((word, i) => words[word] !== before?.[i])) h.judged = h.entered = undefined;
    return at;
  }

  // --- mapping what others changed ------------------------------------------------------------------------------------------------

  /** Is there an object of this ID, as far as others' commits say? Undefined: they do not. */
  has(id: ObjectId): boolean | undefined {
    const known = this.foreign.get(id);
    return known === undefined ? undefined : !known.removed;
  }

  /** The checkpoint is at `lsn`: what was noted below it is in the files. */
  forget(lsn: number): void {
    for (const [id, known] of this.foreign) {
      const last = known.positions.at(-1);
      if (last === undefined ? !this.#kernel.checkpointer.awaitsRemoval(id) : last < lsn) this.foreign.delete(id);
    }
  }

  /** Maps an object that others changed. False where its file has all of it. */
  bring(h: Handle): boolean {
    for (;;) {
      const known = this.foreign.get(h.id);
      if (known === undefined) return false;
      const checkpoint = this.#live.f64[LIVE.checkpoint >> 3] as number;
      if (known.removed) {
        // What went from here, and was not deleted, is elsewhere.
        if (this.#kernel.afar !== undefined && !wasDeleted(this.#kernel, h.id)) return false;
        h.state = 'deleted';
        throw h.gone();
      }
      if ((known.positions[0] as number) < checkpoint) {
        known.positions = known.positions.filter((position) => position >= checkpoint);
        known.created = false;
        if (known.positions.length === 0) {
          this.foreign.delete(h.id);
          return false;
        }
      }
      if (this.#bring(h, known, checkpoint)) return true;
    }
  }

  /** False where a checkpoint came in between. */
  #bring(h: Handle, known: Foreign, checkpoint: number): boolean {
    const kernel = this.#kernel;
    const { log } = kernel;
    if ((known.positions.at(-1) as number) >= (this.#live.f64[LIVE.written >> 3] as number)) log.spill();
    try {
      for (const position of known.positions) {
        const words = this.#readSection(position);
        const size = words[5] as number;
        if (h.slot !== undefined) {
          if (size > h.size) grow(kernel, h, size);
        } else if (known.created) createImage(kernel, h, size);
        else showFile(kernel, h, size);
        apply(h, words);
        h.version = sectionVersion(words, 0);
      }
    } catch (error) {
      if (h.slot !== undefined) drop(kernel, h);
      // The segment may be in use for something else by now.
      if ((this.#live.f64[LIVE.checkpoint >> 3] as number) !== checkpoint) return false;
      throw error;
    }
    if ((this.#live.f64[LIVE.checkpoint >> 3] as number) !== checkpoint) {
      drop(kernel, h);
      return false;
    }
    const { version } = h;
    if (!kernel.sound(h)) {
      drop(kernel, h);
      throw new TwzError('ObjectCorrupt', `object ${h.id}: what its file and the log have does not begin as an object`, { id: h.id });
    }
    kernel.adopt(h);
    h.version = version;
    h.verified = h.dv.getUint32(META.size, true) === h.size;
    h.lastLsn = this.seen;
    h.createdAt = known.createdAt;
    this.foreign.delete(h.id);
    kernel.checkpointer.changed(h);
    return true;
  }

  /** One section, as it stands in the log. */
  #readSection(position: number): Int32Array {
    for (let length = FIRST_READ; ; length = FRAME_MAX) {
      const bytes = new Uint8Array(length);
      const words = new Int32Array(bytes.buffer, 0, this.#kernel.log.readSegment(position, bytes) >> 2);
      const size = words[5] ?? 0;
      if (
        words.length >= SECTION_WORDS &&
        size >= OBJECT_SIZE_MIN &&
        size <= OBJECT_SIZE_MAX &&
        sectionEnd(words, 0, words.length) <= words.length
      )
        return words;
      if (length === FRAME_MAX) throw this.#corrupt(position, 'a section that was there is gone');
    }
  }
}

function apply(h: Handle, from: Int32Array): void {
  const { words } = h;
  let at = SECTION_WORDS;
  for (let left = from[8] as number; left > 0; left--) {
    const head = from[at++] as number;
    const line = head & 0xffffff;
    const run = head >>> 24 === 0 ? (from[at++] as number) : 0;
    if (run < 0 || (line + Math.max(1, run)) * LINE > h.size)
      throw new TwzError('LogCorrupt', `line ${line} lies outside object ${h.id}`, { id: h.id });
    if (run > 0) {
      storeRun(h, line, run, from, at);
      at += run * LINE_WORDS;
      left -= run - 1;
      continue;
    }
    for (let mask = head >>> 24, to = line * LINE_WORDS; mask !== 0; mask >>>= 1, to += 2) {
      if ((mask & 1) === 0) continue;
      words[to] = from[at] as number;
      words[to + 1] = from[at + 1] as number;
      at += 2;
    }
    h.addPending(line >>> 6);
  }
}

/** Memory for an object that has no file. */
function createImage(kernel: Kernel, h: Handle, size: number): void {
  h.fileSize = 0;
  h.place(kernel.takeSlot(size), size);
  kernel.link(h);
}

/** Shows as much of the file as there is: a checkpoint may be at it. */
function showFile(kernel: Kernel, h: Handle, size: number): void {
  const { host } = kernel;
  const path = kernel.path(h.id);
  if (!host.exists(path)) helpDraft(kernel, h.id);
  const file = host.open(path, 'read');
  try {
    const length = Math.min(size, Math.floor(host.length(file) / PAGE) * PAGE);
    const slot = kernel.takeSlot(size);
    if (length > 0) slot.window.mapPrivate(slot.at, length, file, 0);
    h.place(slot, size);
    h.fileSize = length;
    kernel.setMapped(h, length > 0);
    kernel.link(h);
  } finally {
    host.close(file);
  }
}

/** Unmaps; what was pending is in the log. */
function drop(kernel: Kernel, h: Handle): void {
  h.pendingPages = [];
  h.pending = new Uint8Array(0);
  kernel.unmap(h);
}

/** Lets go of the image; who holds it pinned goes on seeing the old one. */
function vacate(kernel: Kernel, h: Handle): void {
  h.pendingPages = [];
  h.pending = new Uint8Array(0);
  h.fileSize = 0;
  h.verified = false;
  h.judged = h.entered = undefined;
  h.copies = undefined;
  if (h.pins > 0) kernel.retire(h);
  else kernel.unmap(h);
}

function grow(kernel: Kernel, h: Handle, size: number): void {
  assert(h.slot !== undefined, 'an unmapped object grows');
  kernel.resize(h, size, true);
}

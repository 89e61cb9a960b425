/**
 * Opening a space: lock, control file, replay of the log's tail.
 *
 * Replay stores the committed words into private images, exactly as the transactions did, and the next checkpoint writes the result. So
 * a space is usable as soon as the tail is read. Only where the images do not fit are some of them written to their files before that;
 * replay starts where it did all the same until that checkpoint is done, so a crash during replay changes nothing.
 */
import { crc32c } from '../abi/crc32c.ts';
import { TwzError } from '../abi/errors.ts';
import { LINE, LINE_WORDS, META, OBJECT_SIZE_MAX, OBJECT_SIZE_MIN, PAGE } from '../abi/format.ts';
import { readId, type ObjectId } from '../abi/id.ts';
import { FRAME, FRAME_COMMIT, FRAME_MAX, OPERATION, SECTION, SEGMENT_HEADER } from '../abi/log-format.ts';
import type { File, Host } from '../host/host.ts';
import { encodeControl, readControl, type Control } from './control.ts';
import { applyChange, storeRun } from './apply.ts';
import type { Live } from './live.ts';
import { Log, type LogPosition } from './log.ts';
import { segmentName } from './segments.ts';
import type { Kernel } from './kernel.ts';
import type { Handle } from './object.ts';
import { adoptDraft, isDraft, removeDrafts } from './drafts.ts';

export interface Recovery {
  /** Bytes of log that were replayed. */
  readonly bytes: number;
  readonly transactions: number;
  readonly objects: number;
  readonly ms: number;
  /** Objects that the log changes and whose files are gone. */
  readonly missing: readonly ObjectId[];
}

export interface Recovered {
  readonly control: Control;
  readonly log: Log;
  readonly recovery: Recovery;
  /** LSN that the images show. */
  readonly from: number;
  /** Checksum of the frame that ends there. */
  readonly chain: number;
  /** Objects whose files do not have what the log has. */
  readonly changed: readonly Handle[];
  readonly removed: readonly Handle[];
}

/** Makes the directory where there is none. Gives the directories above that were made for it. Throws SpaceMissing, SpaceCorrupt. */
export function prepare({ host, directory, options }: Kernel): ReadonlySet<string> {
  if (host.exists(`${directory}/space.twz`)) return new Set();
  if (hasObjects(host, directory))
    throw new TwzError('SpaceCorrupt', `${directory} holds objects, and its control file is gone`, { directory });
  if (!options.create) throw new TwzError('SpaceMissing', `${directory} holds no space`, { directory });
  const made = missingAbove(host, directory);
  host.makeDirectory(directory);
  return made;
}

/** A checkpoint that is late finds twice its log; with that many segments in store, new ones need no zeroes written. */
export function sparesFor(checkpointBytes: number, segmentSize: number): number {
  return Math.ceil((2 * checkpointBytes) / segmentSize) + 1;
}

/** The caller holds the space's lock, and nobody else has it open. `made`: the directories that were made for it. */
export function recover(kernel: Kernel, made: ReadonlySet<string>, live: Live | undefined): Recovered {
  const { host, directory, options } = kernel;
  const started = host.now();
  const controlPath = `${directory}/space.twz`;
  let log: Log | undefined;
  try {
    const fresh = !host.exists(controlPath);
    if (fresh) createSpace(host, directory, options.segmentSize, made);
    const control = readControl(host, controlPath);
    // Who made the space may have died before the control file's name was durable.
    if (!fresh && control.generation === 0) host.syncDirectory(directory);
    requireSegment(host, directory, control);
    const replay = new Replay(kernel);
    kernel.makeRoom = () => replay.spill();
    const scan = new Scan(host, `${directory}/log`, control, (words, at) => replay.apply(words, at));
    scan.run();
    if (scan.dangling !== undefined) cut(host, directory, control, scan.dangling);
    const spares = sparesFor(options.checkpointBytes, control.segmentSize);
    log = new Log(
      host,
      `${directory}/log`,
      control.space,
      control.segmentSize,
      spares,
      kernel.windows,
      scan.segmentsEnd,
      control.lsn,
      live,
    );
    if (scan.adopted.length > 0) log.adopt(scan.adopted, scan.adoptedLsn, scan.committed, replay.spilled);
    log.share();
    const outcome = replay.finish(log.end);
    kernel.makeRoom = undefined;
    const recovery: Recovery = {
      bytes: scan.committed.lsn - control.lsn,
      transactions: scan.count,
      objects: replay.objects - outcome.missing.length,
      ms: host.now() - started,
      missing: outcome.missing,
    };
    return { control, log, recovery, from: log.end, chain: log.chain, changed: outcome.changed, removed: outcome.removed };
  } catch (error) {
    log?.close(false);
    throw error;
  }
}

function hasObjects(host: Host, directory: string): boolean {
  const objects = `${directory}/objects`;
  return host.exists(objects) && host.list(objects).length > 0;
}

/** Once anything was logged, the segment where replay starts is there. Without it nobody can say what is missing. */
function requireSegment(host: Host, directory: string, control: Control): void {
  const name = segmentName(Math.floor(control.lsn / control.segmentSize));
  if (host.exists(`${directory}/log/${name}`)) return;
  if (control.generation === 0 && !hasObjects(host, directory)) return;
  throw new TwzError('LogCorrupt', `${directory}: log segment ${name}, where replay starts, is gone`, { directory, segment: name });
}

/**
 * Ends the segments' part of the log before the frames of a transaction whose end was lost. They continue the chain, and so will the
 * next frame, which only the tail has at first: with both there, the next recovery could not tell which of them counts.
 */
function cut(host: Host, directory: string, control: Control, lsn: number): void {
  const file = host.open(`${directory}/log/${segmentName(Math.floor(lsn / control.segmentSize))}`, 'write');
  try {
    host.write(file, new Uint8Array(8), lsn % control.segmentSize);
  } finally {
    host.close(file);
  }
}

function parentOf(path: string): string {
  const trimmed = path.replace(/(?<=.)\/+$/, '');
  const cut = trimmed.lastIndexOf('/');
  return cut < 0 ? '.' : trimmed.slice(0, Math.max(1, cut));
}

/** The directories above that are not there yet. */
function missingAbove(host: Host, directory: string): Set<string> {
  const missing = new Set<string>();
  for (let at = parentOf(directory); !host.exists(at) && !missing.has(at); at = parentOf(at)) missing.add(at);
  return missing;
}

/**
 * A new space appears whole or not at all: its control file is renamed into place last, when the names of all directories are durable.
 * `made`: the directories above that were made for it.
 */
function createSpace(host: Host, directory: string, segmentSize: number, made: ReadonlySet<string>): void {
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
  host.syncDirectory(directory);
  let above = parentOf(directory);
  for (; made.has(above); above = parentOf(above)) host.syncDirectory(above);
  host.syncDirectory(above);
  host.rename(draft, `${directory}/space.twz`);
  host.syncDirectory(directory);
}

const FIRST_READ = 1 << 16;
const NEXT_READ = 4 << 20;
const HEADER_WORDS = FRAME.header >> 2;

/** Gets each frame of a complete transaction, in order: the words and the index of the frame's first. */
type Sink = (words: Int32Array, at: number) => void;

/** Reads the log from the control file's position to the last complete transaction, in the segments and then in the tail. */
class Scan {
  readonly #host: Host;
  readonly #directory: string;
  readonly #segmentSize: number;
  readonly #sink: Sink;
  /** Behind the last valid frame. */
  #lsn: number;
  #chain: number;
  /** Behind the last frame that ends a transaction. */
  committed: LogPosition;
  /** Where the segments' part of the committed log ends. */
  segmentsEnd: LogPosition;
  /** Frames of a transaction that has not ended yet: words and index, in turn. */
  #open: { readonly words: Int32Array; readonly at: number }[] = [];
  count = 0;
  /** Where in the segments frames begin whose transaction does not end anywhere. */
  dangling: number | undefined;
  /** Frames of complete transactions that only the tail has. */
  adopted: Uint8Array = new Uint8Array(0);
  adoptedLsn = 0;

  constructor(host: Host, directory: string, control: Control, sink: Sink) {
    this.#host = host;
    this.#directory = directory;
    this.#segmentSize = control.segmentSize;
    this.#sink = sink;
    this.#lsn = control.lsn;
    this.#chain = control.chain;
    this.committed = this.segmentsEnd = { lsn: control.lsn, chain: control.chain };
  }

  run(): void {
    this.#segments();
    const end = { lsn: this.#lsn, chain: this.#chain };
    const [open] = this.#open;
    this.#tail();
    if (open !== undefined && this.#open[0] === open) this.dangling = lsnAt(open.words, open.at);
    this.segmentsEnd = this.adopted.length > 0 ? end : this.committed;
  }

  /** Length in bytes of the frame at a word, if it continues the log: right LSN, right length, right checksum. Else 0. */
  #valid(words: Int32Array, at: number): number {
    const length = frameLength(words, at);
    if (length === 0) return 0;
    const lsn = lsnAt(words, at);
    if (lsn !== this.#lsn && lsn !== this.#nextStart()) return 0;
    return crc32c(words, at + 2, at + (length >> 2), this.#chain) === (words[at + 1] as number) >>> 0 ? length : 0;
  }

  #nextStart(): number {
    return (Math.floor(this.#lsn / this.#segmentSize) + 1) * this.#segmentSize + SEGMENT_HEADER;
  }

  #take(words: Int32Array, at: number, length: number): void {
    this.#lsn = lsnAt(words, at) + length;
    this.#chain = (words[at + 1] as number) >>> 0;
    const ends = ((words[at + (FRAME.flags >> 2)] as number) & FRAME_COMMIT) !== 0;
    if (!ends) {
      this.#open.push({ words, at });
      return;
    }
    if (this.#open.length > 0) {
      for (const frame of this.#open) this.#sink(frame.words, frame.at);
      this.#open = [];
    }
    this.#sink(words, at);
    this.count++;
    this.committed = { lsn: this.#lsn, chain: this.#chain };
  }

  #segments(): void {
    let sequence = Math.floor(this.#lsn / this.#segmentSize);
    for (let offset = this.#lsn % this.#segmentSize; this.#segment(sequence, offset); offset = SEGMENT_HEADER) sequence++;
  }

  /** Takes the frames of one segment. False where there is no next one to look at. */
  #segment(sequence: number, from: number): boolean {
    const path = `${this.#directory}/${segmentName(sequence)}`;
    if (!this.#host.exists(path)) return false;
    const before = this.#lsn;
    const file = this.#host.open(path, 'read');
    try {
      this.#frames(file, from);
    } finally {
      this.#host.close(file);
    }
    // A segment may be passed over unused, but not two.
    return this.#lsn !== before || Math.floor(before / this.#segmentSize) === sequence;
  }

  #frames(file: File, from: number): void {
    let size = FIRST_READ;
    for (let offset = from; offset + FRAME.header <= this.#segmentSize;) {
      const bytes = new Uint8Array(Math.min(size, this.#segmentSize - offset));
      const words = new Int32Array(bytes.buffer, 0, this.#host.read(file, bytes, offset) >> 2);
      let at = 0;
      for (let length = this.#valid(words, at); length > 0; length = this.#valid(words, at)) {
        this.#take(words, at, length);
        at += length >> 2;
      }
      offset += at * 4;
      // A frame that was cut off by the reading may go on behind it; anything else ends the log.
      const cut =
        at >= words.length - HEADER_WORDS || (claimedLength(words, at) > 0 && at + (claimedLength(words, at) >> 2) > words.length);
      if (!cut || words.length * 4 < bytes.length || (at === 0 && size === NEXT_READ)) return;
      size = NEXT_READ;
    }
  }

  #tail(): void {
    const path = `${this.#directory}/tail`;
    if (!this.#host.exists(path)) return;
    const file = this.#host.open(path, 'read');
    let words: Int32Array;
    try {
      const first = new Uint8Array(FIRST_READ);
      words = new Int32Array(first.buffer, 0, this.#host.read(file, first, 0) >> 2);
      if (!endsWithin(words)) {
        const bytes = new Uint8Array(this.#host.length(file) & ~7);
        words = new Int32Array(bytes.buffer, 0, this.#host.read(file, bytes, 0) >> 2);
      }
    } finally {
      this.#host.close(file);
    }
    let first = -1;
    let kept = 0;
    for (let at = 0, length = frameLength(words, at); length > 0; at += length >> 2, length = frameLength(words, at)) {
      const lsn = lsnAt(words, at);
      if (lsn < this.#lsn) continue;
      if (this.#valid(words, at) === 0) break;
      if (first < 0) {
        first = at;
        this.adoptedLsn = lsn;
      }
      const before = this.count;
      this.#take(words, at, length);
      if (this.count > before) kept = at + (length >> 2);
    }
    if (kept > 0) this.adopted = new Uint8Array(words.buffer, first * 4, (kept - first) * 4);
  }
}

function claimedLength(words: Int32Array, at: number): number {
  const length = words[at] ?? 0;
  return length < FRAME.header || length > FRAME_MAX || length % 8 !== 0 ? 0 : length;
}

/** Length of a frame that lies wholly in the words, or 0. */
function frameLength(words: Int32Array, at: number): number {
  const length = claimedLength(words, at);
  return at + (length >> 2) > words.length ? 0 : length;
}

/** Does the chain of lengths end inside these words? */
function endsWithin(words: Int32Array): boolean {
  for (let at = 0; at < words.length;) {
    const length = words[at] as number;
    if (length < FRAME.header || length % 8 !== 0) return true;
    at += length / 4;
  }
  return false;
}

function lsnAt(words: Int32Array, at: number): number {
  return ((words[at + (FRAME.lsn >> 2)] as number) >>> 0) + (words[at + (FRAME.lsn >> 2) + 1] as number) * 2 ** 32;
}

const SECTION_WORDS = SECTION.header >> 2;
const NO_ID = new Int32Array(4);

/** Stores committed words into private images. */
class Replay {
  readonly #kernel: Kernel;
  readonly #touched = new Map<ObjectId, Handle>();
  #last: Handle | undefined;
  /** Files are as new as the log: it must not be lost any more. */
  spilled = false;
  /** Found damaged when their images had to leave: nothing more is stored into them. */
  readonly #damaged = new Set<Handle>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  get objects(): number {
    return this.#touched.size;
  }

  /** No file is ahead of what a power failure leaves of the log. */
  #keepLog(): void {
    if (!this.spilled) this.#kernel.host.syncAll(this.#kernel.directory);
    this.spilled = true;
  }

  /** Brings the images to their files and unmaps them. False where there are none. */
  spill(): boolean {
    const kernel = this.#kernel;
    let left = false;
    this.#keepLog();
    for (const h of this.#touched.values()) {
      if (h.state !== 'live' || h.slot === undefined || h.pins > 0 || h.pendingPages.length === 0) continue;
      if (this.#kernel.sound(h)) {
        // The first checkpoint after a recovery syncs all files.
        applyChange(kernel, h, new Set(), () => undefined);
        h.fileSize = h.size;
      } else {
        this.#damaged.add(h);
        h.state = 'missing';
      }
      h.pendingPages = [];
      h.pending = new Uint8Array(0);
      kernel.unmap(h);
      left = true;
    }
    return left;
  }

  /** Applies one frame. */
  apply(words: Int32Array, frame: number): void {
    const end = frame + ((words[frame] as number) >> 2);
    let at = frame + HEADER_WORDS;
    for (let left = words[frame + (FRAME.sections >> 2)] as number; left > 0; left--) {
      if (at + SECTION_WORDS > end) throw this.#bad(words, frame, 'a section runs past its end');
      at = this.#section(words, frame, at, end);
    }
  }

  #bad(words: Int32Array, frame: number, reason: string): TwzError {
    const lsn = lsnAt(words, frame);
    return new TwzError('LogCorrupt', `frame at LSN ${lsn}: ${reason}`, { lsn });
  }

  /** The handle of the ID at a word. Transactions often change the same object again. */
  #handle(words: Int32Array, at: number): Handle {
    const { idWords } = this.#last ?? { idWords: NO_ID };
    if (
      this.#last !== undefined &&
      words[at] === idWords[0] &&
      words[at + 1] === idWords[1] &&
      words[at + 2] === idWords[2] &&
      words[at + 3] === idWords[3]
    ) {
      return this.#last;
    }
    const id = readId(new Uint8Array(words.buffer, words.byteOffset + at * 4, 16), 0);
    const h = this.#kernel.handle(id);
    this.#touched.set(id, h);
    this.#last = h;
    return h;
  }

  #section(words: Int32Array, frame: number, at: number, end: number): number {
    const operation = words[at + 4] as number;
    const size = words[at + 5] as number;
    const possible = size >= OBJECT_SIZE_MIN && size <= OBJECT_SIZE_MAX && size % PAGE === 0;
    if (!possible && operation !== OPERATION.remove) throw this.#bad(words, frame, `no object has ${size} bytes`);
    const h = this.#handle(words, at);
    if (operation === OPERATION.create) this.#create(h, size);
    else if (operation === OPERATION.remove) this.#remove(h);
    else if (operation === OPERATION.change) this.#open(h, size);
    else if (operation === OPERATION.adopt) this.#adopt(h);
    else throw this.#bad(words, frame, `unknown operation ${operation}`);
    h.version = ((words[at + 6] as number) >>> 0) + (words[at + 7] as number) * 2 ** 32;
    return this.#lines(words, frame, at, end, h);
  }

  #lines(from: Int32Array, frame: number, section: number, end: number, h: Handle): number {
    const { words } = h;
    const store = h.state === 'live';
    let at = section + SECTION_WORDS;
    for (let left = from[section + 8] as number; left > 0; left--) {
      const head = from[at++] as number;
      const line = head & 0xffffff;
      const run = head >>> 24 === 0 ? (from[at++] as number) : 0;
      const outside = run < 0 || at + run * LINE_WORDS > end || (store && (line + Math.max(1, run)) * LINE > h.size);
      if (outside) throw this.#bad(from, frame, `line ${line} lies outside object ${h.id}`);
      if (run > 0) {
        if (store) storeRun(h, line, run, from, at);
        at += run * LINE_WORDS;
        left -= run - 1;
        continue;
      }
      for (let mask = head >>> 24, to = line * LINE_WORDS; mask !== 0; mask >>>= 1, to += 2) {
        if ((mask & 1) === 0) continue;
        if (store) {
          words[to] = from[at] as number;
          words[to + 1] = from[at + 1] as number;
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

  /** It is in its file, whole; the name may be that of a draft yet. */
  #adopt(h: Handle): void {
    const kernel = this.#kernel;
    this.#remove(h);
    if (isDraft(kernel, h.id)) {
      this.#keepLog();
      adoptDraft(kernel, h.id);
    }
    h.state = kernel.host.exists(kernel.path(h.id)) ? 'live' : 'missing';
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
        kernel.setMapped(h, length > 0);
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
    removeDrafts(this.#kernel);
    for (const h of this.#damaged) h.state = 'live';
    for (const h of this.#touched.values()) {
      // Brought to its file already, or damaged.
      if (h.state === 'live' && h.slot === undefined) continue;
      if (h.state === 'live' && !this.#kernel.sound(h)) {
        // Damaged or swapped: left as it is, so that whoever opens it is told, and no checkpoint gives it a good checksum.
        h.pendingPages = [];
        h.pending = new Uint8Array(0);
        this.#kernel.unmap(h);
      } else if (h.state === 'live') {
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

/**
 * A handle: one object as this process sees it.
 *
 * The slot shows a private image of the object's file. Stores change only the image. `mark` notes the 64-byte line that is about to
 * change and keeps its old bytes, so a transaction can be undone, and logged as the difference.
 *
 * Invariants:
 *  1. Outside a transaction the image holds exactly the committed state (raw views excepted: see raw.ts).
 *  2. `dirty[line]` is 1 only for lines that the running transaction marked; `lines` lists them, `undo` has their old bytes. Or they are
 *     in `appended`: of pages that it added, where there is nothing to go back to but zeros.
 *  3. A page whose committed bytes are not yet in the file is in `pendingPages`, and such an object is never evicted.
 *  4. `cold` is true exactly when no slot is held or the object must not be touched; then `dv` is empty. Where rights are judged it is also
 *     true of an image that was not judged since they changed: nothing but `warm` looks at that one.
 */
import { TwzError, assert } from '../abi/errors.ts';
import { FLAG, KIND, LINE, LINE_WORDS, META, PAGE, RIGHT, type Kind } from '../abi/format.ts';
import type { FotEntry, ObjectHandle, WasmView } from '../abi/handle.ts';
import { NULL_ID, readId, writeId, type ObjectId } from '../abi/id.ts';
import type { Region } from '../host/futex.ts';
import { allocateBlock, releaseBlock, UNKNOWN } from './allocator.ts';
import {
  demandTarget,
  followEntry,
  fotEntries,
  referAs,
  referAsKey,
  referAsPart,
  referTo,
  referToName,
  rememberEntry,
  retargetEntry,
  unreferEntry,
  unreferPart,
} from './fot.ts';
import type { Kernel } from './kernel.ts';
import { createObject, deleteObject, wasDeleted } from './lifetime.ts';
import { wholeOf } from './parts.ts';
import type { Staged } from './staged.ts';
import { judgeShown } from './security/guard.ts';
import { keyOf, partNonce } from './security/records.ts';
import { RawState } from './raw.ts';
import { stampedHeader } from './apply.ts';
import { demandUnshared, generationOf, refuseReference, wordsOf } from './shared-object.ts';
import type { Former } from './shorten.ts';
import { stick, unstick } from './transaction.ts';
import type { File } from '../host/host.ts';
import type { Slot } from './windows.ts';

const NO_VIEW = new DataView(new ArrayBuffer(0));
const NO_BYTES = new Uint8Array(0);
const NO_WORDS = new Int32Array(0);
/** All clean, and as long as any object has lines. Pages of it that nobody touches take no memory. */
export const CLEAN: Uint8Array = new Uint8Array(1 << 24);
const NO_UNDO = new Int32Array(0);

export type State =
  /** usable */
  | 'live'
  /** deleted by the running transaction; comes back on abort */
  | 'deleting'
  | 'deleted'
  /** named by the log, but its file is gone and the log does not delete it */
  | 'missing'
  /** the creation was aborted, or the space closed */
  | 'void';

const KIND_NAMES: readonly Kind[] = ['owned', 'immutable', 'volatile', 'shared', 'append-only', 'progressive'];

function kindNamed(kind: number): Kind {
  return KIND_NAMES[kind - 1] ?? 'owned';
}

/** What shows objects otherwise than as they are now: as they were at one commit, or as another machine has them. Nothing in it is stored to. */
export interface Frozen {
  /** What a reference in one of its objects leads to. */
  handle(id: ObjectId): Handle;
  /** Shows one of its objects. Throws why it cannot. */
  map(own: Handle): void;
  /** Somebody wants an image to stay where it is. Throws where it does not. */
  hold(own: Handle): void;
  /** What is said to who wants to change one. */
  refusal(id: ObjectId): TwzError;
}

export class Handle implements ObjectHandle {
  // What loads, stores and references read comes first: together in memory.
  dv: DataView = NO_VIEW;
  cold = true;
  used = false;
  state: State = 'live';
  /** Who stored a pointer to this object last, and by which of its entries. */
  referrer: Handle | undefined;
  referrerIndex = 0;
  referrerEpoch = 0;
  u8: Uint8Array = NO_BYTES;
  words: Int32Array = NO_WORDS;
  size = 0;
  dirty: Uint8Array = CLEAN;
  fot: (Handle | undefined)[] = [];
  /** FOT index by the target's ID; by `resolver:path` for names. Built when a pointer is first stored. */
  fotIndex: Map<string, number> | undefined;
  /** Change of each entry's count in the running transaction, and which entries have one. */
  fotDelta: Int32Array = NO_WORDS;
  readonly fotChanged: number[] = [];
  /** Raised when an entry goes or changes its target. */
  fotEpoch = 0;
  /** How much was released since the last sweep for empty pages, in units of 8 bytes; below zero where that is not known. */
  released: number = UNKNOWN;
  /** Where searches for free pages go on. */
  searched: Uint32Array | undefined;

  turn = 0;
  judged: object | undefined;
  entered: object | undefined;
  /** Blocks that `release` leaves as they are: a migration needs their places. */
  held: ReadonlySet<number> | undefined;
  #idWords: Int32Array | undefined;
  /** The key that its header names, empty for none; undefined where nobody has asked yet. */
  key: ObjectId | '' | undefined;
  readonly kernel: Kernel;
  readonly id: ObjectId;
  slot: Slot | undefined;
  kind = 0;
  rights = 0;
  version = 0;
  /** Length of the file; 0 while there is none. */
  fileSize = 0;
  /** The slot shows the file, as far as that goes; otherwise plain memory. */
  fileMapped = false;
  /** The memory that its image lies in, where views of programs show it, too: all of the slot (see shared-image.ts). */
  imageFile: File | undefined;
  /** What it shows is another object's file, or less than there is of its own: its file changed while raw views kept it as it was. */
  stale = false;
  /** Header and ID were checked in this process. */
  verified = false;
  /** Number of the commit that created it, where that ran in this process. */
  createdAt = 0;

  /** Serial number of the transaction that it is enlisted in. */
  serial = 0;
  /** Created by the running transaction: nothing to undo, all to log. */
  fresh = false;
  /** Every line counts as marked (a copy). */
  whole = false;
  sizeBefore = 0;
  /** Lines of the pages that the running transaction added at the end, as [from, to) pairs, flat. They count as marked, and were zeros. */
  appended: number[] = [];
  /** Where it was before the running transaction shortened it; logged as if made anew. */
  former: Former | undefined;
  /** The file that it came in, of which the running transaction makes it. */
  staged: Staged | undefined;
  /** The transaction being committed wrote it to a draft. */
  adopted = false;
  /** The transaction being committed put something of it into the log. */
  logged = false;
  lines: Int32Array = NO_WORDS;
  undo: Int32Array = NO_UNDO;
  count = 0;

  pending: Uint8Array = NO_BYTES;
  pendingPages: number[] = [];
  lastLsn = 0;

  /** Why it must stay where it is: raw views, WebAssembly instances, cursors. */
  pins = 0;
  /** Those of them that are views of programs: they look at the image, wherever it lies, so it may move. */
  programViews = 0;
  /** How many of them are raw views. */
  views = 0;
  raw: RawState | undefined;
  /** The words of a shared object that were asked for. */
  region: Region | undefined;
  readonly snapshot: Frozen | undefined;
  /** Copies of this object that may still show pages of its file: until they have files of their own. */
  copies: Set<Handle> | undefined;

  /** Neighbours in the order of use. */
  older: Handle | undefined;
  newer: Handle | undefined;

  constructor(kernel: Kernel, id: ObjectId, snapshot?: Frozen) {
    this.kernel = kernel;
    this.id = id;
    this.snapshot = snapshot;
  }

  /** Shows `size` bytes of the slot. */
  place(slot: Slot, size: number): void {
    const { buffer } = slot.window;
    this.slot = slot;
    // An integer by representation, too: lengths of files arrive as doubles, and would make doubles of every offset computed from them.
    this.size = size | 0;
    this.dv = new DataView(buffer, slot.at, size);
    this.u8 = new Uint8Array(buffer, slot.at, size);
    this.words = new Int32Array(buffer, slot.at, size >> 2);
    // Where rights are judged, an image that may move or grow is shown by that to nobody who does not see it already.
    if (this.kernel.authority === undefined) this.cold = false;
  }

  /** Lets go of the views, so that nothing reaches the slot through this handle. */
  unplace(): Slot | undefined {
    const { slot } = this;
    this.slot = undefined;
    this.hide();
    return slot;
  }

  hide(): void {
    this.dv = NO_VIEW;
    this.u8 = NO_BYTES;
    this.words = NO_WORDS;
    this.cold = true;
  }

  /** The file that this image shows is about to be overwritten there: makes the page the image's own. */
  detach(page: number): void {
    if (this.slot === undefined || (page + 1) * PAGE > this.size) return;
    this.slot.window.own(this.slot.at + page * PAGE, PAGE);
  }

  show(): void {
    if (this.slot !== undefined) this.place(this.slot, this.size);
  }

  get capacity(): number {
    return this.slot === undefined ? 0 : 2 ** this.slot.order;
  }

  /** The ID as it stands in files. */
  get idWords(): Int32Array {
    if (this.#idWords !== undefined) return this.#idWords;
    const bytes = new Uint8Array(16);
    writeId(bytes, 0, this.id);
    this.#idWords = new Int32Array(bytes.buffer);
    return this.#idWords;
  }

  get flags(): number {
    // Opening another object may have unmapped this one.
    if (this.cold) this.reach();
    return this.dv.getUint32(META.flags, true);
  }

  /** Notes its key: the header must be there. */
  takeKey(): void {
    const id = readId(this.u8, META.key);
    this.key = id === NULL_ID ? '' : id;
  }

  granted(want: number): number {
    const authority = this.kernel.acting ?? this.kernel.authority;
    if (authority === undefined) return this.rights;
    // Finding out may map other objects; this one stays.
    this.pins++;
    try {
      return authority.rightsTo(this, want);
    } finally {
      this.pins--;
    }
  }

  get counted(): boolean {
    return (this.flags & FLAG.counted) !== 0;
  }

  get volatile(): boolean {
    return this.kind === KIND.volatile;
  }

  warm(): void {
    if (!this.cold) return;
    this.fetch();
    if (this.kernel.authority !== undefined) judgeShown(this);
  }

  reach(): void {
    this.demandLive();
    if (this.slot !== undefined) return;
    this.fetch();
    if (this.kernel.authority !== undefined) this.cold = true;
  }

  /** As `warm`, and nobody is asked, not even later: for the kernel's own objects. */
  fetch(): void {
    this.demandLive();
    if (this.snapshot === undefined) this.kernel.map(this);
    else if (this.slot === undefined) this.snapshot.map(this);
    else this.show();
    this.cold = false;
  }

  /** Throws where it is there no more, neither here nor on another node. */
  demandLive(): void {
    if (this.state !== 'live' && !this.#isElsewhere()) throw this.gone();
  }

  /** It went from here and not from the space that many machines share: it can be brought again. */
  #isElsewhere(): boolean {
    if (this.state !== 'deleted' || this.kernel.afar === undefined || wasDeleted(this.kernel, this.id)) return false;
    this.state = 'live';
    return true;
  }

  gone(): TwzError {
    const { id } = this;
    switch (this.state) {
      case 'deleted':
      case 'deleting':
        return new TwzError('ObjectDeleted', `object ${id} was deleted`, { id });
      case 'missing':
        return new TwzError('ObjectMissing', `object ${id} is named by the log but its file is gone`, { id });
      default:
        return this.kernel.closed
          ? new TwzError('SpaceClosed', 'the space was closed', { id })
          : new TwzError('StaleReference', `object ${id} was created by a transaction that was aborted`, { id });
    }
  }

  // --- stores -------------------------------------------------------------------------------------------------------------

  mark(at: number): void {
    if (this.cold) this.warm();
    if (this.serial !== this.kernel.serial) this.kernel.enlist(this);
    const line = at >>> 6;
    if (this.dirty[line] === 1) return;
    const n = this.count;
    if (n === this.lines.length) this.#growLines();
    this.dirty[line] = 1;
    this.lines[n] = line;
    this.count = n + 1;
    if (this.fresh) return;
    if (this.raw !== undefined) {
      this.undo.set(this.raw.baseLine(line), n * LINE_WORDS);
      return;
    }
    const { undo, words } = this;
    const from = line * LINE_WORDS;
    const to = n * LINE_WORDS;
    for (let i = 0; i < LINE_WORDS; i++) undo[to + i] = words[from + i] as number;
  }

  markRange(at: number, length: number): void {
    const last = (at + length - 1) >>> 6;
    for (let line = at >>> 6; line <= last; line++) if (this.dirty[line] !== 1) this.mark(line << 6);
  }

  /** Pages that were just added at the end: from now on no store into them has to be marked. */
  append(page: number, count: number): void {
    if (this.whole || this.raw !== undefined) return;
    const from = page * (PAGE / LINE);
    const to = from + count * (PAGE / LINE);
    this.dirty.fill(1, from, to);
    const { appended } = this;
    if (appended[appended.length - 1] === from) appended[appended.length - 1] = to;
    else appended.push(from, to);
  }

  /** Lists appended lines as if they had been marked one by one, for those who go by the list. */
  itemize(): void {
    const { appended } = this;
    this.appended = [];
    for (let i = 0; i < appended.length; i += 2) {
      for (let line = appended[i] as number; line < (appended[i + 1] as number); line++) {
        const n = this.count;
        if (n === this.lines.length) this.#growLines();
        this.lines[n] = line;
        this.count = n + 1;
        if (!this.fresh) this.undo.fill(0, n * LINE_WORDS, (n + 1) * LINE_WORDS);
      }
    }
  }

  #growLines(): void {
    // One that was made by this very transaction is part of it. It never has lines, so that this is the place to find out.
    if (this.kind === KIND.immutable) throw this.#immutable();
    const length = Math.max(16, this.lines.length * 2);
    const lines = new Int32Array(length);
    lines.set(this.lines);
    this.lines = lines;
    if (this.fresh) return;
    const undo = new Int32Array(length * LINE_WORDS);
    undo.set(this.undo);
    this.undo = undo;
  }

  #immutable(): TwzError {
    return new TwzError('ObjectImmutable', `object ${this.id} is immutable`, { id: this.id });
  }

  /** A fresh object keeps no undo; the array must catch up before it is marked as an old one. */
  ensureUndo(): void {
    if (this.undo.length >= this.lines.length * LINE_WORDS) return;
    this.undo = new Int32Array(this.lines.length * LINE_WORDS);
  }

  setU32(at: number, value: number): void {
    if (this.dirty[at >>> 6] !== 1) this.mark(at);
    this.dv.setUint32(at, value, true);
  }

  addPending(page: number): void {
    if (this.pending[page] === 1) return;
    if (page >= this.pending.length) {
      const pending = new Uint8Array(Math.max(page + 1, this.capacity / PAGE));
      pending.set(this.pending);
      this.pending = pending;
    }
    this.pending[page] = 1;
    this.pendingPages.push(page);
  }

  // --- ObjectHandle: allocation and pointers --------------------------------------------------------------------------------

  allocate(size: number): number {
    if (this.cold) this.warm();
    if (this.kind === KIND.shared) demandUnshared(this, 'allocation');
    return allocateBlock(this, size);
  }

  allocateWithin(size: number, limit: number): number {
    if (this.cold) this.warm();
    if (this.kind === KIND.shared) demandUnshared(this, 'allocation');
    return allocateBlock(this, size, limit);
  }

  extend(reserve: number): Handle {
    refuseReference(this);
    const { kernel, rights } = this;
    const key = keyOf(this);
    const { kindName: kind } = this;
    // With a key its rights are the collection's own.
    const h =
      key === undefined
        ? createObject(kernel, { kind, counted: true, rights, reserve })
        : createObject(kernel, { kind, counted: true, rights, reserve, key }, partNonce(kernel, this.id));
    h.belongTo(this);
    return h;
  }

  belongTo(home: ObjectHandle): void {
    this.markRange(META.owner, 16);
    writeId(this.u8, META.owner, home.id);
  }

  /** Does a collection of another object go on in this one? Nothing here says what its types are: that one does. */
  get isPart(): boolean {
    if (this.cold) this.reach();
    const { words } = this;
    const at = META.owner >> 2;
    return words[at] !== 0 || words[at + 1] !== 0;
  }

  isPartOf(home: Handle): boolean {
    if (this.cold) this.reach();
    const ours = home.idWords;
    for (let i = 0; i < 4; i++) if (this.words[(META.owner >> 2) + i] !== ours[i]) return false;
    return true;
  }

  /** The object whose collection it is. */
  get owner(): ObjectId | undefined {
    return this.isPart ? readId(this.u8, META.owner) : undefined;
  }

  remove(): void {
    deleteObject(this.kernel, this);
  }

  release(at: number): void {
    if (this.cold) this.warm();
    if (this.kind === KIND.shared) demandUnshared(this, 'giving blocks back');
    // What was appended stays; so does an outgrown directory.
    if (this.kind === KIND['append-only']) return;
    if (this.held === undefined || !this.held.has(at)) releaseBlock(this, at);
  }

  follow(index: number, at: number): Handle {
    return followEntry(this, index, at);
  }

  remember(index: number, target: ObjectHandle): void {
    assert(target instanceof Handle, 'a handle of another kernel');
    rememberEntry(this, index, target);
  }

  refer(target: ObjectHandle): number {
    assert(target instanceof Handle, 'a handle of another kernel');
    refuseReference(this);
    return referTo(this, target);
  }

  referAsKey(target: ObjectHandle): number {
    assert(target instanceof Handle, 'a handle of another kernel');
    return referAsKey(this, target);
  }

  referAsPart(target: ObjectHandle): number {
    assert(target instanceof Handle, 'a handle of another kernel');
    return referAsPart(this, target);
  }

  unreferPart(index: number): void {
    unreferPart(this, index);
  }

  parts(): readonly Handle[] {
    return wholeOf(this).slice(1);
  }

  demandTarget(target: ObjectHandle): void {
    assert(target instanceof Handle, 'a handle of another kernel');
    demandTarget(this, target);
  }

  spoil(error: unknown): void {
    const { transaction } = this.kernel;
    if (transaction === undefined || transaction.isDoomed) return;
    transaction.isDoomed = true;
    transaction.doomed = error;
  }

  referAs(from: ObjectHandle, index: number): number {
    assert(from instanceof Handle, 'a handle of another kernel');
    refuseReference(this);
    return referAs(this, from, index);
  }

  referByName(path: string, resolver: string): number {
    refuseReference(this);
    return referToName(this, path, resolver);
  }

  unrefer(index: number): void {
    unreferEntry(this, index);
  }

  fotEntries(): Iterable<FotEntry> {
    return fotEntries(this);
  }

  retarget(index: number, target: ObjectHandle): void {
    assert(target instanceof Handle, 'a handle of another kernel');
    retargetEntry(this, index, target);
  }

  get kindName(): Kind {
    return kindNamed(this.kind);
  }

  // --- raw access ---------------------------------------------------------------------------------------------------------

  expose(): void {
    if (this.cold) this.warm();
    if (this.kind === KIND.shared && this.snapshot === undefined) {
      // The bytes are everyone's as it is; all there is to do is to stay.
      if ((this.granted(RIGHT.write) & RIGHT.write) === 0) this.kernel.enlist(this);
      this.pins++;
      this.views++;
      return;
    }
    if (this.kernel.serial !== this.serial || this.cold) this.kernel.enlist(this);
    if (this.kind === KIND.immutable) throw this.#immutable();
    this.raw ??= new RawState(this);
    this.pins++;
    if (++this.views > 1) return;
    stick(this.kernel, this);
    this.kernel.exposed.add(this);
    if ((this.flags & FLAG.raw) === 0) this.setU32(META.flags, this.flags | FLAG.raw);
  }

  unexpose(): void {
    if (this.kind === KIND.shared && this.views > 0) {
      this.views--;
      this.pins--;
      return;
    }
    if (this.raw === undefined) return;
    if (this.views === 1) this.kernel.idle('letting go of raw views');
    this.pins--;
    if (--this.views > 0) return;
    this.raw.restore();
    this.raw = undefined;
    this.kernel.exposed.delete(this);
    unstick(this.kernel, this);
  }

  wasm(): WasmView {
    if (this.cold) this.warm();
    const { slot } = this;
    const memory = slot?.window.memory;
    if (slot === undefined || memory === undefined)
      throw new TwzError('NotSupported', 'this host has no WebAssembly memory behind its objects', { id: this.id });
    this.expose();
    return { memory, address: slot.at };
  }

  pin(): void {
    if (this.cold) this.warm();
    this.snapshot?.hold(this);
    this.pins++;
  }

  unpin(): void {
    this.pins--;
  }

  sync(): Region {
    return wordsOf(this);
  }

  get generation(): number {
    return generationOf(this);
  }

  image(): Uint8Array {
    if (this.cold) this.warm();
    const bytes = this.u8.slice();
    bytes.set(stampedHeader(this), 0);
    return bytes;
  }

  corrupt(at: number, reason: string): never {
    throw new TwzError('PointerCorrupt', `object ${this.id} at offset ${at}: ${reason}`, { id: this.id, at });
  }
}

/**
 * The kernel: one space, open in one process.
 *
 * This file holds the table of handles, the mapping of objects into slots, and eviction. Beside it:
 *   transaction.ts  enlist, commit, abort        log.ts        appending and flushing
 *   checkpoint.ts   log to object files          recovery.ts   opening: replay of the log's tail
 *   allocator.ts    blocks and pages in objects  fot.ts        references between objects
 *   lifetime.ts     create, copy, delete, tie    snapshot.ts   frozen versions        raw.ts  raw views
 */
import { TwzError, assert, isTwzError } from '../abi/errors.ts';
import { KIND, META, OBJECT_FORMAT, OBJECT_MAGIC, OBJECT_SIZE_MAX, OBJECT_SIZE_MIN, PAGE } from '../abi/format.ts';
import { readId, type ObjectId } from '../abi/id.ts';
import type { BellEnd } from '../host/bell.ts';
import type { Host, Lock, Timer } from '../host/host.ts';
import type { Afar, Tap } from './afar.ts';
import { Checkpointer } from './checkpoint.ts';
import { Follower } from './follow.ts';
import { FrameWriter } from './frame-writer.ts';
import { checkHeader } from './header.ts';
import { bindsId, contentNonce } from './identity.ts';
import type { Live } from './live.ts';
import type { Log } from './log.ts';
import { CLEAN, Handle } from './object.ts';
import { openSpace, type Door } from './door.ts';
import type { Recovery } from './recovery.ts';
import type { Authority } from './security/authority.ts';
import { keepShared, leaveShared, showShared } from './shared-object.ts';
import { dropImageFile } from './shared-image.ts';
import type { Paged } from './paged.ts';
import type { Snapshot } from './snapshot.ts';
import { SMALL, readSmall } from './small.ts';
import { enlist, Transaction } from './transaction.ts';
import { Watches, type Watcher } from './watch.ts';
import { Windows, type Slot } from './windows.ts';

export interface KernelOptions {
  /** Make the space where the directory holds none. */
  readonly create: boolean;
  /** Bytes a log segment; 1 MiB or more. */
  readonly segmentSize: number;
  /** Bytes of log after which a checkpoint begins. */
  readonly checkpointBytes: number;
  /** Bytes of address space for mapped objects. */
  readonly mappedMax: number;
  /** Objects mapped at once: the system has a limit on mappings. */
  readonly objectsMax: number;
  /** Nobody else may have the space open. */
  readonly exclusive: boolean;
  /** Milliseconds to wait for another program that holds what is needed. */
  readonly patience: number;
}

/** Gives the target of a late-bound reference, or undefined. `from` is the object that holds the reference. */
export type Resolver = (path: string, from: ObjectId) => ObjectId | undefined;

export class Kernel {
  readonly host: Host;
  readonly directory: string;
  readonly options: KernelOptions;
  readonly windows: Windows;
  readonly log: Log;
  readonly spaceId: Uint8Array;
  readonly checkpointer: Checkpointer;
  readonly recovery: Recovery;
  readonly #door: Door;
  /** What the processes share that have the space open; undefined where there can be one only. */
  readonly live: Live | undefined;
  readonly follower: Follower | undefined;
  #timer: Timer | undefined;
  readonly handles = new Map<ObjectId, Handle>();
  readonly snapshots = new Set<Snapshot>();
  /** Objects whose pages come when they are touched. */
  readonly paged = new Set<Paged>();
  readonly resolvers = new Map<string, Resolver>();
  watches: Watches | undefined;
  /** Who judges what this program may do; undefined: the default rights of each object say it. `acting`: of who runs in its stead. */
  authority: Authority | undefined;
  /** Where the space has joined others: who knows what is there, and who is told what is committed. */
  afar: Afar | undefined;
  tap: Tap | undefined;
  acting: Authority | undefined;
  /** Leases that stay with this process, and for how many objects with raw views. */
  readonly stuck = new Map<number, number>();
  /** Handles with raw views. */
  readonly exposed = new Set<Handle>();

  /** Serial number of the running transaction; -1 between transactions. */
  serial = -1;
  transaction: Transaction | undefined;
  readonly onlyTransaction = new Transaction();
  readonly writer: FrameWriter;
  lastSerial = 0;
  /** Commits since the space was opened: the clock of snapshots. */
  commits = 0;
  aborts = 0;
  evictions = 0;
  /** Objects that were imported, or were about to be. */
  imports = 0;
  maps = 0;
  closed = false;

  #oldest: Handle | undefined;
  #newest: Handle | undefined;
  #mappedObjects = 0;
  #fullSerial = -1;
  /** While the log is replayed: writes images to their files, and unmaps them; false where there are none. */
  makeRoom: (() => boolean) | undefined;
  /** ID of the object in which it is remembered what was deleted (lifetime.ts). */
  systemId: ObjectId | undefined;
  /** LSN behind the last transaction of this process that stored something. */
  committed = 0;
  /** Mappings of files: the system has a limit on them. */
  mappings = 0;
  /** This run of the machine, for shared objects. */
  bootHash: bigint | undefined;
  #randomPool: Uint8Array = new Uint8Array(0);

  constructor(host: Host, directory: string, options: KernelOptions) {
    this.host = host;
    this.directory = directory;
    this.options = options;
    this.windows = new Windows(host, Math.max(1, Math.ceil(options.mappedMax / 2 ** 32)));
    const opened = openSpace(this);
    this.#door = opened.door;
    this.live = opened.live;
    this.spaceId = opened.control.space;
    this.log = opened.log;
    this.writer = new FrameWriter(opened.log);
    this.recovery = opened.recovery;
    try {
      this.checkpointer = new Checkpointer(this, opened.control);
    } catch (error) {
      opened.log.close(false);
      opened.live?.close();
      this.windows.close();
      opened.door.close();
      throw error;
    }
    for (const h of opened.changed) this.checkpointer.changed(h);
    for (const h of opened.removed) this.checkpointer.removed(h.id, opened.log.end);
    if (opened.live === undefined) return;
    opened.live.answer = () => this.catchUp();
    this.follower = new Follower(this, opened.live, opened.from, opened.chain);
    try {
      this.follower.catchUp();
      opened.door.ajar();
    } catch (error) {
      this.release();
      throw error;
    }
    this.#watch(IDLE_MS);
  }

  // --- other processes ----------------------------------------------------------------------------------------------------

  /** Shows what others have committed by now; nothing changes inside a transaction. */
  catchUp(): void {
    if (this.transaction !== undefined || this.closed) return;
    this.follower?.catchUp();
    this.authority?.look?.();
  }

  /** Lets in who knocks, while this thread blocks. */
  admit(): void {
    if (this.live?.sole === true && this.live.knocked && this.transaction === undefined) this.welcome();
  }

  /** Somebody knocks: from now on this process is one of several. Not inside a transaction. */
  welcome(): void {
    const { live } = this;
    if (live === undefined) return;
    this.log.share();
    live.welcome();
    // What raw stores may change stays with this process.
    for (const stripe of this.stuck.keys()) live.lease(stripe);
  }

  /** The last one left does without what several need. */
  withdraw(): void {
    const { live, host } = this;
    let lock: Lock;
    try {
      // Nobody comes while this is held.
      lock = host.lock(`${this.directory}/lock`);
    } catch (error) {
      if (isTwzError(error, 'SpaceBusy')) return;
      throw error;
    }
    try {
      this.log.join();
      if (live?.alone !== true || this.follower?.current !== true) return;
      live.withdraw();
      for (const stripe of this.stuck.keys()) live.giveLease(stripe, 0);
    } finally {
      lock.release();
    }
  }

  /** A process that does nothing must follow the others all the same: they cannot clear the log before. */
  #watch(ms: number): void {
    this.#timer = this.host.timer(ms, () => {
      if (this.closed) return;
      const { commits } = this;
      try {
        this.catchUp();
      } catch (error) {
        // Whoever uses the space next gets the same error.
        if (!isTwzError(error)) throw error;
      }
      this.#watch(this.commits === commits ? Math.min(ms * 2, IDLE_MS) : BUSY_MS);
    });
  }

  /** A page of an object that others may write to its file from now on: whoever shows the file gets the page as its own. */
  detach(h: Handle, page: number): void {
    for (const snapshot of this.snapshots) snapshot.detach(h.id, page);
    if (h.copies !== undefined) for (const copy of h.copies) if (copy.fileMapped) copy.detach(page);
  }

  /** LSN up to which the images here show what was committed, by whomever. */
  get seen(): number {
    return Math.max(this.log.end, this.follower?.seen ?? 0);
  }

  /** Tells the watcher of each change of the object and its parts. Returns how to end that. */
  watch(h: Handle, watcher: Watcher): () => void {
    this.idle('a watch');
    this.catchUp();
    this.watches ??= new Watches(this);
    return this.watches.add(h, watcher);
  }

  /**
   * Others are followed as soon as they commit, from now on, and not only when something is done here: so many milliseconds after the last
   * time at the soonest, as who commits has to wake this process each time.
   */
  attend(ms: number): void {
    this.watches ??= new Watches(this);
    this.watches.attend(ms);
  }

  /** Another thread of this process has the space open: it is told of commits of this one, and this one of its, by that bell. */
  hear(end: BellEnd): void {
    this.watches ??= new Watches(this);
    this.watches.hear(end);
  }

  // --- handles ------------------------------------------------------------------------------------------------------------

  /** The one handle of this ID. Nothing is opened yet. */
  handle(id: ObjectId): Handle {
    if (this.closed) throw new TwzError('SpaceClosed', 'the space was closed');
    let h = this.handles.get(id);
    if (h === undefined) {
      h = new Handle(this, id);
      this.handles.set(id, h);
    }
    return h;
  }

  /** A mapped handle, or the typed error that says why there is none. Its content is for who warms it. */
  open(id: ObjectId): Handle {
    const h = this.handle(id);
    if (h.cold) h.reach();
    h.used = true;
    return h;
  }

  has(id: ObjectId): boolean {
    if (this.closed) throw new TwzError('SpaceClosed', 'the space was closed', { id });
    const h = this.handles.get(id);
    if (h !== undefined && (h.slot !== undefined || h.state !== 'live')) return h.state === 'live';
    const foreign = this.follower?.has(id);
    if (foreign !== undefined) return foreign;
    return this.checkpointer.adoptions.has(id) || this.host.exists(this.path(id));
  }

  path(id: ObjectId): string {
    return `${this.directory}/objects/${id.slice(0, 2)}/${id}.twz`;
  }

  resolveName(h: Handle, path: string, resolver: string): Handle {
    const resolve = this.resolvers.get(resolver);
    if (resolve === undefined) {
      throw new TwzError(
        'ResolverMissing',
        `object ${h.id} refers to "${path}" by the resolver "${resolver}", which this program has not registered`,
        { id: h.id, path, resolver },
      );
    }
    const id = resolve(path, h.id);
    if (id === undefined)
      throw new TwzError('NameUnresolved', `object ${h.id} refers to "${path}", and nothing has that name`, { id: h.id, path, resolver });
    if (h.snapshot === undefined) return this.open(id);
    const then = h.snapshot.handle(id);
    if (then.cold) then.reach();
    return then;
  }

  random(bytes: number): Uint8Array {
    if (this.#randomPool.length < bytes) this.#randomPool = this.host.random(Math.max(4096, bytes));
    const taken = this.#randomPool.subarray(0, bytes);
    this.#randomPool = this.#randomPool.subarray(bytes);
    return taken;
  }

  /** Makes an object part of the running transaction. Throws what forbids it. */
  enlist(h: Handle): void {
    enlist(this, h);
  }

  // --- mapping ------------------------------------------------------------------------------------------------------------

  /**
   * Brings a cold, live object into a slot and checks it the first time. A small one is read: that takes half the time of mapping it,
   * and none of the system's limited number of mappings.
   */
  map(h: Handle): void {
    if (this.closed) throw new TwzError('SpaceClosed', 'the space was closed', { id: h.id });
    if (h.slot !== undefined) {
      h.show();
      return;
    }
    if (this.mapForeign(h)) return;
    const length = readSmall(this, h);
    if (length === undefined) return;
    if (length < SMALL.length) {
      this.#checkLength(h, length);
      const slot = this.takeSlot(length);
      h.place(slot, length);
      h.u8.set(SMALL.subarray(0, length));
      this.#admit(h, slot, length);
    } else this.#mapLarge(h);
    this.maps++;
  }

  /** Maps what others changed since the last checkpoint; false where they did not. */
  mapForeign(h: Handle): boolean {
    if (this.follower === undefined || this.follower.foreign.size === 0 || !this.follower.bring(h)) return false;
    this.maps++;
    return true;
  }

  #mapLarge(h: Handle): void {
    const file = this.host.open(this.path(h.id), 'read');
    try {
      const length = this.host.length(file);
      this.#checkLength(h, length);
      const slot = this.takeSlot(length);
      try {
        slot.window.mapPrivate(slot.at, length, file, 0);
      } catch (error) {
        this.windows.give(slot, true);
        throw error;
      }
      h.place(slot, length);
      this.setMapped(h, true);
      this.#admit(h, slot, length);
    } finally {
      this.host.close(file);
    }
  }

  #checkLength(h: Handle, length: number): void {
    if (length < OBJECT_SIZE_MIN || length % PAGE !== 0 || length > OBJECT_SIZE_MAX) {
      throw new TwzError(
        'ObjectCorrupt',
        `object ${h.id}: the file has ${length} bytes; expected a multiple of ${PAGE} from ${OBJECT_SIZE_MIN} to ${OBJECT_SIZE_MAX}`,
        { id: h.id, length },
      );
    }
  }

  /** A placed object is checked and joins the order of use, or its slot is given back. */
  #admit(h: Handle, slot: Slot, length: number): void {
    try {
      if (!h.verified) this.verify(h);
      if (h.kind === KIND.shared) showShared(this, h);
    } catch (error) {
      h.unplace();
      this.setMapped(h, false);
      this.windows.give(slot, true);
      throw error;
    }
    h.fileSize = length;
    this.#link(h);
  }

  /** Notes whether an object's slot shows a file. */
  setMapped(h: Handle, mapped: boolean): void {
    if (h.fileMapped) this.mappings--;
    if (mapped) this.mappings++;
    h.fileMapped = mapped;
    h.stale = false;
  }

  /** Checks the header against itself, the file and the ID, and takes its facts over. */
  verify(h: Handle): void {
    checkHeader(this.host, h);
    const { dv, id } = h;
    if (dv.getUint32(META.kind, true) === KIND.immutable && readId(contentNonce(this.host, h.u8), 0) !== readId(h.u8, META.nonce)) {
      throw new TwzError('ObjectForged', `object ${id}: the content does not have the hash that names it`, { id });
    }
    this.adopt(h);
    h.verified = true;
  }

  /** Takes kind, rights and version from the header. */
  adopt(h: Handle): void {
    h.kind = h.dv.getUint32(META.kind, true);
    h.rights = h.dv.getUint32(META.rights, true);
    h.version = h.dv.getUint32(META.version, true) + h.dv.getUint32(META.version + 4, true) * 2 ** 32;
  }

  /** Reads the object's file, not its image. */
  readFile(h: Handle, into: Uint8Array, offset: number): void {
    const file = this.host.open(this.path(h.id), 'read');
    try {
      this.host.read(file, into, offset);
    } finally {
      this.host.close(file);
    }
  }

  /**
   * Fills a slot with the first `size` bytes of an object's image, as it is in the running transaction or as far as it is committed: a
   * large file's pages stay shared, private ones are copied. True where the slot now shows a file.
   */
  copyImage(from: Handle, slot: Slot, size: number, state: 'current' | 'committed'): boolean {
    const into = new Uint8Array(slot.window.buffer, slot.at, size);
    // From the slot: the views of an object that is being deleted are gone.
    const image = from.slot === undefined ? from.u8 : new Uint8Array(from.slot.window.buffer, from.slot.at, from.size);
    if (from.snapshot !== undefined || from.kind === KIND.shared) {
      into.set(image.subarray(0, size));
      return false;
    }
    const shared = Math.min(size, from.fileSize);
    if (shared > 0) {
      const file = this.host.open(this.path(from.id), 'read');
      try {
        if (shared < SMALL.length) this.host.read(file, into.subarray(0, shared), 0);
        else slot.window.mapPrivate(slot.at, shared, file, 0);
      } finally {
        this.host.close(file);
      }
    }
    const copy = (page: number): void => {
      const at = page * PAGE;
      if (at >= size) return;
      into.set(state === 'committed' && from.raw !== undefined ? from.raw.bytes(page) : image.subarray(at, at + PAGE), at);
    };
    for (const page of from.pendingPages) copy(page);
    if (from.serial === this.serial) {
      const pages = new Set<number>();
      for (let i = 0; i < from.count; i++) pages.add((from.lines[i] as number) >>> 6);
      for (const page of pages) copy(page);
    }
    for (let page = shared / PAGE; page < size / PAGE; page++) copy(page);
    return shared >= SMALL.length;
  }

  // --- slots and eviction -------------------------------------------------------------------------------------------------

  takeSlot(length: number): Slot {
    while (this.mappings >= this.options.objectsMax || this.windows.used + length > this.options.mappedMax) {
      if (!this.#evict()) break;
    }
    for (;;) {
      const slot = this.windows.take(length);
      if (slot !== undefined) return slot;
      if (!this.#evict())
        throw new TwzError('TransactionTooLarge', `no room to map ${length} bytes: everything mapped is in use`, {
          length,
          mapped: this.windows.used,
        });
    }
  }

  giveSlot(slot: Slot): void {
    this.windows.give(slot, true);
  }

  /**
   * Unmaps an object that was not used lately and can go; false where none can. Second chance: what was used since the last look goes
   * to the end of the line, once.
   */
  #evict(): boolean {
    // Looked for in vain already, and the same transaction still holds everything.
    if (this.#fullSerial === this.serial && this.serial !== -1) return false;
    if (this.#evictOne()) return true;
    this.#fullSerial = this.serial;
    return false;
  }

  #evictOne(): boolean {
    for (const applied of [false, true]) {
      let next: Handle | undefined;
      let chances = this.#mappedObjects;
      for (let h = this.#oldest; h !== undefined; h = next) {
        next = h.newer;
        if (h.used && chances-- > 0) {
          h.used = false;
          this.#unlink(h);
          this.#link(h);
          next ??= h;
          continue;
        }
        if (this.cool(h)) return true;
      }
      if (applied) return false;
      // Everything left has bytes that are not in its file yet: write those.
      if (this.makeRoom !== undefined) return this.makeRoom();
      this.checkpointer.relieve();
    }
    return false;
  }

  /** Unmaps an object that is whole in its file and that nothing holds in its place; false where it must stay. */
  cool(h: Handle): boolean {
    if (
      h.slot === undefined ||
      h.pins > 0 ||
      h.serial === this.serial ||
      h.raw !== undefined ||
      h.region !== undefined ||
      h.volatile ||
      h.pendingPages.length > 0 ||
      h.fileSize === 0
    )
      return false;
    this.unmap(h);
    this.evictions++;
    return true;
  }

  unmap(h: Handle): void {
    if (h.kind === KIND.shared) leaveShared(this, h);
    const slot = h.unplace();
    if (slot === undefined) return;
    this.#unlink(h);
    const mapped = h.fileMapped || dropImageFile(this, h);
    this.setMapped(h, false);
    h.dirty = CLEAN;
    h.fot = [];
    h.fotIndex = undefined;
    h.fotEpoch++;
    h.searched = undefined;
    this.windows.give(slot, mapped);
  }

  /** Unmaps an object that is pinned: its slot stays as it is for those who hold it. */
  retire(h: Handle): void {
    if (h.kind === KIND.shared) leaveShared(this, h);
    if (h.unplace() === undefined) return;
    dropImageFile(this, h);
    this.#unlink(h);
    this.setMapped(h, false);
    h.dirty = CLEAN;
    h.fot = [];
    h.fotIndex = undefined;
    h.fotEpoch++;
  }

  /** Is this the object that the log means? Its checksum cannot tell: the file may be half way through a checkpoint. */
  sound(h: Handle): boolean {
    const { dv, words, idWords } = h;
    if (dv.getUint32(META.magic, true) !== OBJECT_MAGIC || dv.getUint32(META.format, true) !== OBJECT_FORMAT) return false;
    for (let i = 0; i < 4; i++) if (words[(META.id >> 2) + i] !== idWords[i]) return false;
    return bindsId(this.host, h.u8, dv);
  }

  /** Gives an object room for `size` bytes, moving it to a larger slot if it must. `force`: even where it is pinned. */
  resize(h: Handle, size: number, force = false): void {
    const { slot } = h;
    assert(slot !== undefined, 'resize of an unmapped object');
    if (size <= 2 ** slot.order) {
      h.place(slot, size);
      return;
    }
    if (h.pins > h.programViews && !force)
      throw new TwzError('ObjectPinned', `object ${h.id} cannot move to grow to ${size} bytes while raw views of it are held`, {
        id: h.id,
        size,
      });
    h.pins++;
    const larger = this.takeSlot(size);
    h.pins--;
    const mapped = this.copyImage(h, larger, h.size, 'current');
    h.place(larger, size);
    // Who holds it pinned goes on seeing it as it was.
    const showed = dropImageFile(this, h) || h.fileMapped;
    if (h.pins === h.programViews) this.windows.give(slot, showed);
    this.setMapped(h, mapped);
    const dirty = new Uint8Array(h.capacity >>> 6);
    // It may have had more room before the running transaction shortened it.
    if (h.dirty !== CLEAN) dirty.set(h.dirty.subarray(0, dirty.length));
    h.dirty = dirty;
  }

  // --- order of use -------------------------------------------------------------------------------------------------------

  #link(h: Handle): void {
    h.older = this.#newest;
    h.newer = undefined;
    if (this.#newest !== undefined) this.#newest.newer = h;
    this.#newest = h;
    this.#oldest ??= h;
    this.#mappedObjects++;
  }

  /** An object that was placed without a file joins the order of use. */
  link(h: Handle): void {
    this.#link(h);
  }

  #unlink(h: Handle): void {
    if (h.older === undefined && h.newer === undefined && h !== this.#oldest) return;
    if (h.older !== undefined) h.older.newer = h.newer;
    else this.#oldest = h.newer;
    if (h.newer !== undefined) h.newer.older = h.older;
    else this.#newest = h.older;
    h.older = h.newer = undefined;
    this.#mappedObjects--;
  }

  get mappedObjects(): number {
    return this.#mappedObjects;
  }

  // --- end ----------------------------------------------------------------------------------------------------------------

  /** Throws unless the space is open and no transaction runs. */
  idle(what: string): void {
    if (this.closed) throw new TwzError('SpaceClosed', 'the space was closed');
    if (this.transaction !== undefined) throw new TwzError('TransactionNested', `${what} cannot run inside a transaction`);
  }

  /** Applies the log, so that the next opening has nothing to replay, and lets go of everything. */
  close(): void {
    if (this.closed) return;
    this.idle('close');
    let clean = false;
    // From here on nobody comes. Who is here already brings what is in the log to its place.
    const last = this.#door.narrow();
    try {
      // What was committed and could not be made durable: the caller must hear of it.
      if (this.log.failure !== undefined) throw this.log.failure;
      for (const h of this.handles.values()) keepShared(this, h);
      if (last) this.checkpointer.run();
      else this.log.sync();
      clean = last;
    } finally {
      this.release(clean);
    }
  }

  /** Lets go of everything as it is: what the log holds is recovered by the next opening. */
  release(clean = false): void {
    if (this.closed) return;
    for (const each of [...this.snapshots, ...this.paged]) each.close();
    this.closed = true;
    this.watches?.close();
    for (const h of this.handles.values()) {
      h.region?.end();
      dropImageFile(this, h);
      h.hide();
      h.state = 'void';
      h.dirty = CLEAN;
    }
    this.serial = -1;
    this.transaction = undefined;
    this.#timer?.cancel();
    this.checkpointer.stop();
    this.log.close(clean);
    this.live?.close();
    this.windows.close();
    this.#door.close();
  }
}

/** How often a process looks for what others have committed, in milliseconds: when nothing happens, and when something does. */
const IDLE_MS = 50;
const BUSY_MS = 2;

export { headerChecksum } from './header.ts';

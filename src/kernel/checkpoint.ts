/**
 * The checkpoint: brings the object files up to the log, so that the log can be recycled.
 *
 *   sync the log  ->  write changed pages, create and remove files  ->  sync those files  ->  control file: replay starts here
 *
 * Invariants:
 *  1. A page is written to a file only when the log is synced past every commit in it. So whatever the operating system writes back
 *     early, and whatever a power failure tears, replay repairs it.
 *  2. The control file moves on only when all that it leaves behind is durable in the files.
 *  3. Where several processes have the space open: one at a time writes to object files, and a page only when all the others have followed
 *     the log past every commit in it. From then on none of them shows the file's page where that matters: it has a copy.
 */
import { isTwzError } from '../abi/errors.ts';
import { PAGE } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import { LIVE } from '../abi/live-format.ts';
import type { File } from '../host/host.ts';
import { applyChange } from './apply.ts';
import { readControl, writeControl, type Control } from './control.ts';
import { adoptDraft } from './drafts.ts';
import type { Kernel } from './kernel.ts';
import type { Live } from './live.ts';
import type { Handle } from './object.ts';

/** Objects up to this size are read into memory rather than mapped. */
const SMALL_MAX = 65536;
/** Above this many files one sync of the whole file system is cheaper. */
const SINGLE_SYNCS_MAX = 16;
/** How long a slice of a background checkpoint may hold the event loop, in milliseconds, plus one object. */
const SLICE_MS = 4;
/** Between two looks at whether the others have followed the log, in milliseconds. */
const NAP_MS = 1;
/** For how long a transaction may be held up by a checkpoint that waits for others. */
const SHORT_MS = 30;
/** For how long a checkpoint in the background waits for others. */
const LONG_MS = 5000;
const napWord = new Int32Array(new SharedArrayBuffer(4));

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

export class Checkpointer {
  readonly #kernel: Kernel;
  readonly #file: File;
  #control: Control;
  #changed = new Set<Handle>();
  /** With the LSN behind the removal. */
  readonly #removed = new Map<ObjectId, number>();
  /** Objects that others committed in drafts, since the last checkpoint. */
  readonly #adopted = new Set<ObjectId>();
  /** An earlier process may have changed files and names, and died before it synced them: nobody knows which. */
  #inherited: boolean;
  #running = false;
  /** How often this process holds the lock of the object files. */
  #held = 0;
  /** Objects that another process has brought to their files. */
  #brought: Handle[] = [];
  /** No use trying before the log ends here. */
  #nextTry = 0;
  #stopped = false;
  checkpoints = 0;

  constructor(kernel: Kernel, control: Control) {
    this.#kernel = kernel;
    this.#control = control;
    this.#inherited = kernel.recovery.bytes > 0;
    this.#file = kernel.host.open(`${kernel.directory}/space.twz`, 'write');
  }

  /** LSN where replay would start. */
  get lsn(): number {
    return this.#control.lsn;
  }

  changed(h: Handle): void {
    this.#changed.add(h);
    this.#removed.delete(h.id);
  }

  removed(id: ObjectId, lsn: number): void {
    const h = this.#kernel.handles.get(id);
    if (h !== undefined) this.#changed.delete(h);
    this.#removed.set(id, lsn);
  }

  /** It was removed, and is there again. */
  exists(id: ObjectId): void {
    this.#removed.delete(id);
  }

  /** Another process committed it, in a draft. */
  adopted(id: ObjectId): void {
    this.#removed.delete(id);
    this.#adopted.add(id);
  }

  /** Committed by others in drafts, since the last checkpoint: who did may have died before it put them in their places. */
  get adoptions(): ReadonlySet<ObjectId> {
    return this.#adopted;
  }

  /** Deleted, and its file not yet removed. */
  awaitsRemoval(id: ObjectId): boolean {
    return this.#removed.has(id);
  }

  /** Called after each commit: begins a checkpoint when the log has grown enough. */
  pace(): void {
    const { log, options, live } = this.#kernel;
    const grown = log.end - this.#control.lsn;
    if (grown < options.checkpointBytes || log.end < this.#nextTry) return;
    // The event loop gets its chance first; a program that never lets it turn pays here.
    if (grown <= 2 * options.checkpointBytes) {
      if (!this.#running) this.#background();
      return;
    }
    // Others must have followed the log. Where one of them does not, it grows; now and then is often enough to look.
    this.#nextTry = live === undefined ? 0 : log.end + options.checkpointBytes / 8;
    try {
      this.#run(live === undefined ? Infinity : SHORT_MS);
    } catch (error) {
      // The transaction that brought us here is committed, so it does not fail: the log still has everything, and the next commit tries
      // again. A caller of `checkpoint` or `close` sees why.
      if (!isTwzError(error)) throw error;
    }
  }

  /** The whole checkpoint, now. Throws LeaseTimeout where another process does not follow the log. */
  run(): void {
    this.#run(this.#kernel.options.patience);
  }

  #run(patience: number): void {
    const { log, live } = this.#kernel;
    if (live === undefined) {
      if (log.end !== this.#control.lsn) this.#runAlone();
      return;
    }
    if (this.#held === 0 && patience < this.#kernel.options.patience) {
      if (!live.tryTake(LIVE.files >> 2)) return;
    } else if (this.#held === 0) live.take(LIVE.files >> 2);
    this.#held++;
    try {
      this.#reload();
      this.#kernel.catchUp();
      if (log.end === this.#control.lsn) return;
      if (live.alone) {
        this.#mapForeign();
        this.#runAlone();
        return;
      }
      const steps = this.#beside(live, patience);
      for (let step = steps.next(); ; step = steps.next()) {
        if (step.done === true) {
          if (step.value === undefined) return;
          this.#syncApplied();
          this.#advance(step.value);
          return;
        }
        Atomics.wait(napWord, 0, 0, Math.max(step.value, 0.1));
      }
    } finally {
      if (--this.#held === 0) live.give(LIVE.files >> 2);
    }
  }

  #runAlone(): void {
    const { log } = this.#kernel;
    log.sync();
    const at = { lsn: log.end, chain: log.chain };
    this.applyAll();
    this.#syncApplied();
    this.#advance(at);
  }

  // --- beside others ------------------------------------------------------------------------------------------------------

  /** What other processes' checkpoints have left. The lock of the files is held. */
  #reload(): void {
    const { host, directory, live } = this.#kernel;
    if (live === undefined) return;
    const control = readControl(host, `${directory}/space.twz`);
    if (control.generation > this.#control.generation) this.#control = control;
    if (Atomics.load(live.i32, LIVE.inherited >> 2) === 1) this.#inherited = true;
  }

  /** Maps all that others changed: its sections in the log are about to go. */
  #mapForeign(): void {
    const kernel = this.#kernel;
    const { follower } = kernel;
    if (follower === undefined) return;
    for (const [id, { removed }] of [...follower.foreign]) {
      if (removed) continue;
      try {
        kernel.open(id);
      } catch (error) {
        // Damaged: it is left as it is, so that whoever opens it is told.
        if (!isTwzError(error, 'ObjectCorrupt') && !isTwzError(error, 'FileMissing')) throw error;
      }
    }
  }

  /**
   * Brings what is committed to the object files, while others use them. A page may be overwritten only when every process has followed
   * the log past its last change: then each has its own copy of it. What changes all the time is written with all transactions kept out.
   * Yields how many milliseconds it would wait. Gives the position that the files have reached, or undefined where it gave up.
   */
  *#beside(live: Live, patience: number): Generator<number, { lsn: number; chain: number } | undefined> {
    const kernel = this.#kernel;
    const { log, host } = kernel;
    const { epoch } = live;
    const end = host.now() + patience;
    const followed = function* (lsn: number): Generator<number, boolean> {
      for (let naps = 1; ; naps++) {
        const { member, seen } = live.hindmost();
        if (seen >= lsn) return true;
        if (live.epoch !== epoch) return false;
        if (naps % 16 === 0 && live.reap(member)) continue;
        if (host.now() > end) throw live.late(member, 'has not followed the log');
        yield NAP_MS;
      }
    };
    kernel.catchUp();
    const at = { lsn: kernel.follower?.seen ?? 0, chain: kernel.follower?.chain ?? 0 };
    log.sync();
    this.#mapForeign();
    const batch = [...this.#changed];
    if (!(yield* followed(at.lsn))) return undefined;
    let sliceEnd = host.now() + SLICE_MS;
    for (const h of batch) {
      if (!this.#changed.has(h) || h.lastLsn > live.hindmost().seen) continue;
      this.#applyChange(h);
      if (host.now() < sliceEnd) continue;
      yield 0;
      if (this.#stopped || live.epoch !== epoch) return undefined;
      sliceEnd = host.now() + SLICE_MS;
    }
    const hot = batch.filter((h) => this.#changed.has(h));
    if (hot.length > 0) {
      live.shut(SHORT_MS);
      try {
        kernel.catchUp();
        const last = kernel.follower?.seen ?? 0;
        // The others do nothing now but follow.
        const waits = followed(last);
        for (let wait = waits.next(); wait.done !== true; wait = waits.next()) {
          if (host.now() > end) return undefined;
          Atomics.wait(napWord, 0, 0, wait.value);
        }
        if (live.hindmost().seen < last) return undefined;
        for (const h of hot) if (this.#changed.has(h)) this.#applyChange(h);
      } finally {
        live.open();
      }
    }
    // Who joins meanwhile has yet to follow. Nobody else remembers a removal below the checkpoint.
    for (;;) {
      this.#applyRemovals(live.hindmost().seen);
      if ([...this.#removed.values()].every((lsn) => lsn > at.lsn)) return at;
      if (!(yield* followed(at.lsn))) return undefined;
    }
  }

  /** Another process has brought everything below `lsn` to the files. Lets go of what is there now, a little at a time. */
  absorb(lsn: number): void {
    const { host, follower, log } = this.#kernel;
    if (lsn > this.#control.lsn) {
      this.#control = { ...this.#control, lsn };
      follower?.forget(lsn);
      log.forget(lsn);
      for (const [id, removed] of this.#removed) if (removed <= lsn) this.#removed.delete(id);
      this.#brought = [...this.#changed];
    }
    if (this.#brought.length === 0) return;
    for (const end = host.now() + SLICE_MS; this.#brought.length > 0 && host.now() < end;) {
      const h = this.#brought.pop();
      if (h === undefined || !this.#changed.has(h) || h.lastLsn > this.#control.lsn || h.slot === undefined) continue;
      const file = host.open(this.#kernel.path(h.id), 'read');
      try {
        this.#refresh(
          h,
          file,
          h.pendingPages.sort((a, b) => a - b),
        );
      } finally {
        host.close(file);
      }
      this.#changed.delete(h);
    }
  }

  /** Brings to their files what can be, so that it can be unmapped. */
  relieve(): void {
    const kernel = this.#kernel;
    const { live } = kernel;
    if (live === undefined) {
      this.applyAll();
      return;
    }
    if (this.#held === 0 && !live.tryTake(LIVE.files >> 2)) return;
    this.#held++;
    try {
      if (live.alone) {
        this.applyAll();
        return;
      }
      const { seen } = live.hindmost();
      for (const h of this.#changed) {
        if (h.lastLsn <= seen && (kernel.transaction === undefined || h.serial !== kernel.serial)) this.#applyChange(h);
      }
    } finally {
      if (--this.#held === 0) live.give(LIVE.files >> 2);
    }
  }

  #background(): void {
    this.#running = true;
    this.#kernel.host.soon(() => {
      this.#runAsync().then(
        () => {
          this.#running = false;
        },
        () => {
          // The log still has everything. The next commit that finds it long tries again, and the caller of `checkpoint` sees why.
          this.#running = false;
        },
      );
    });
  }

  /** The same in slices, with the waiting done elsewhere. Transactions go on in between; what they change waits for the next one. */
  async #runAsync(): Promise<void> {
    const { log, live } = this.#kernel;
    await log.durable();
    if (this.#stopped) return;
    if (live === undefined) {
      await this.#runAsyncAlone();
      return;
    }
    if (this.#held === 0 && !live.tryTake(LIVE.files >> 2)) return;
    this.#held++;
    try {
      this.#reload();
      this.#kernel.catchUp();
      if (live.alone) {
        this.#mapForeign();
        // Whoever would join waits until this is done.
        await this.#runAsyncAlone();
      } else await this.#runAsyncBeside(live);
    } finally {
      if (--this.#held === 0 && !this.#kernel.closed) live.give(LIVE.files >> 2);
    }
  }

  async #runAsyncAlone(): Promise<void> {
    const { host, log } = this.#kernel;
    const at = { lsn: log.end, chain: log.chain };
    const batch = [...this.#changed];
    let sliceEnd = host.now() + SLICE_MS;
    for (const h of batch) {
      if (!this.#changed.has(h)) continue;
      this.#applyChange(h);
      if (host.now() < sliceEnd) continue;
      await new Promise<void>((resolve) => host.soon(resolve));
      if (this.#stopped) return;
      sliceEnd = host.now() + SLICE_MS;
    }
    this.#applyRemovals(Infinity);
    await this.#syncLater();
    if (!this.#stopped) this.#advance(at);
  }

  async #runAsyncBeside(live: Live): Promise<void> {
    const { host } = this.#kernel;
    const steps = this.#beside(live, LONG_MS);
    for (let step = steps.next(); ; step = steps.next()) {
      if (step.done === true) {
        if (step.value === undefined) return;
        await this.#syncLater();
        if (!this.#stopped) this.#advance(step.value);
        return;
      }
      const ms = step.value;
      await new Promise<void>((resolve) => {
        if (ms > 0) host.timer(ms, resolve);
        else host.soon(resolve);
      });
      if (this.#stopped) return;
    }
  }

  async #syncLater(): Promise<void> {
    const { host, directory } = this.#kernel;
    this.#syncing = new Set([...this.#syncing, ...this.#unsynced]);
    this.#unsynced = new Set();
    try {
      await host.syncAllAsync(directory);
    } catch (cause) {
      throw this.#distrust(cause);
    }
    this.#syncing = new Set();
    this.#trust();
  }

  #trust(): void {
    this.#inherited = false;
    const { live } = this.#kernel;
    if (live !== undefined) Atomics.store(live.i32, LIVE.inherited >> 2, 0);
  }

  #advance(at: { lsn: number; chain: number }): void {
    if (at.lsn <= this.#control.lsn) return;
    const { log } = this.#kernel;
    const control = { ...this.#control, ...at, generation: this.#control.generation + 1 };
    try {
      writeControl(this.#kernel.host, this.#file, control);
    } catch (cause) {
      throw this.#distrust(cause);
    }
    this.#control = control;
    const { live } = this.#kernel;
    if (live !== undefined) {
      live.f64[LIVE.checkpoint >> 3] = at.lsn;
      live.announce();
    }
    log.enter();
    try {
      log.recycle(at.lsn);
    } finally {
      log.leave();
    }
    this.#kernel.follower?.forget(at.lsn);
    this.checkpoints++;
  }

  // --- applying -----------------------------------------------------------------------------------------------------------

  /** Files and directories changed since the last sync of them. */
  #unsynced = new Set<string>();
  /** Those that a sync elsewhere is under way for. Until it is done, a checkpoint that goes past it must sync them itself. */
  #syncing: ReadonlySet<string> = new Set();

  /** Writes every committed change to its file. Objects that the running transaction changes are left out. */
  applyAll(): void {
    const kernel = this.#kernel;
    for (const h of this.#changed) {
      if (kernel.transaction === undefined || h.serial !== kernel.serial) this.#applyChange(h);
    }
    this.#applyRemovals(Infinity);
  }

  #applyChange(h: Handle): void {
    const { log } = this.#kernel;
    if (h.lastLsn > log.synced) log.sync();
    this.#apply(h);
    this.#changed.delete(h);
  }

  /** `seen`: everybody has followed the log so far. */
  #applyRemovals(seen: number): void {
    const { host, log } = this.#kernel;
    if (this.#removed.size === 0 && this.#adopted.size === 0) return;
    log.sync();
    // Who committed it may have died before it put the file in its place.
    for (const id of this.#adopted) if (adoptDraft(this.#kernel, id)) this.#unsynced.add(parentOf(this.#kernel.path(id)));
    this.#adopted.clear();
    for (const [id, lsn] of this.#removed) {
      if (lsn > seen) continue;
      const path = this.#kernel.path(id);
      this.#unsynced.delete(path);
      // An object that came and went between two checkpoints never had a file.
      if (host.exists(path)) {
        host.remove(path);
        this.#unsynced.add(parentOf(path));
      }
      this.#removed.delete(id);
    }
  }

  #apply(h: Handle): void {
    applyChange(this.#kernel, h, this.#unsynced, (file, pages) => this.#refresh(h, file, pages));
  }

  /** The file now has what the private pages have: show the file again, and give the memory back. */
  #refresh(h: Handle, file: File, pages: readonly number[]): void {
    const { slot } = h;
    const grown = h.stale || h.fileSize !== h.size;
    h.fileSize = h.size;
    h.pendingPages = [];
    h.pending = new Uint8Array(0);
    if (slot === undefined) return;
    h.stale = grown && h.raw !== undefined;
    if (h.raw !== undefined || h.imageFile !== undefined) return;
    const kernel = this.#kernel;
    // A small object's memory is its own; it equals the file as it is.
    if (h.size <= SMALL_MAX && !h.fileMapped) return;
    if (grown || !h.fileMapped) {
      if (!h.fileMapped && kernel.mappings >= kernel.options.objectsMax && h.pins === 0) {
        kernel.unmap(h);
        return;
      }
      slot.window.mapPrivate(slot.at, h.size, file, 0);
      kernel.setMapped(h, true);
    } else {
      for (let i = 0; i < pages.length;) {
        const first = pages[i] as number;
        let count = 1;
        while (i + count < pages.length && pages[i + count] === first + count) count++;
        slot.window.drop(slot.at + first * PAGE, count * PAGE);
        i += count;
      }
    }
  }

  #syncApplied(): void {
    const { host, directory } = this.#kernel;
    const paths = new Set([...this.#syncing, ...this.#unsynced]);
    try {
      if (this.#inherited || paths.size > SINGLE_SYNCS_MAX) host.syncAll(directory);
      else for (const path of paths) this.#syncPath(path);
      this.#trust();
    } catch (cause) {
      throw this.#distrust(cause);
    }
    this.#unsynced.clear();
  }

  /** After a failed sync nobody knows what the files hold, and another that succeeds would prove nothing. The log still has it all. */
  #distrust(cause: unknown): unknown {
    if (isTwzError(cause, 'TooManyFiles')) return cause;
    return this.#kernel.log.fail(cause, 'the object files could not be synced');
  }

  #syncPath(path: string): void {
    const { host } = this.#kernel;
    if (!path.endsWith('.twz')) {
      host.syncDirectory(path);
      return;
    }
    // Removed since.
    if (!host.exists(path)) return;
    const file = host.open(path, 'write');
    try {
      host.sync(file);
    } finally {
      host.close(file);
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#kernel.host.close(this.#file);
  }
}

/**
 * The checkpoint: brings the object files up to the log, so that the log can be recycled.
 *
 *   sync the log  ->  write changed pages, create and remove files  ->  sync those files  ->  control file: replay starts here
 *
 * Invariants:
 *  1. A page is written to a file only when the log is synced past every commit in it. So whatever the operating system writes back
 *     early, and whatever a power failure tears, replay repairs it.
 *  2. The control file moves on only when all that it leaves behind is durable in the files.
 */
import { isTwzError } from '../abi/errors.ts';
import { PAGE } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import type { File } from '../host/host.ts';
import { applyChange } from './apply.ts';
import { writeControl, type Control } from './control.ts';
import type { Kernel } from './kernel.ts';
import type { Handle } from './object.ts';

/** Objects up to this size are read into memory rather than mapped. */
const SMALL_MAX = 65536;
/** Above this many files one sync of the whole file system is cheaper. */
const SINGLE_SYNCS_MAX = 16;
/** How long a slice of a background checkpoint may hold the event loop, in milliseconds, plus one object. */
const SLICE_MS = 4;

export class Checkpointer {
  readonly #kernel: Kernel;
  readonly #file: File;
  #control: Control;
  #changed = new Set<Handle>();
  #removed = new Set<ObjectId>();
  /** An earlier process may have changed files and names, and died before it synced them: nobody knows which. */
  #inherited: boolean;
  #running = false;
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

  removed(h: Handle): void {
    this.#changed.delete(h);
    this.#removed.add(h.id);
  }

  /** Deleted, and its file not yet removed. */
  awaitsRemoval(id: ObjectId): boolean {
    return this.#removed.has(id);
  }

  /** Called after each commit: begins a checkpoint when the log has grown enough. */
  pace(): void {
    const { log, options } = this.#kernel;
    const grown = log.end - this.#control.lsn;
    if (grown < options.checkpointBytes) return;
    // The event loop gets its chance first; a program that never lets it turn pays here.
    if (grown <= 2 * options.checkpointBytes) {
      if (!this.#running) this.#background();
      return;
    }
    try {
      this.run();
    } catch (error) {
      // The transaction that brought us here is committed, so it does not fail: the log still has everything, and the next commit tries
      // again. A caller of `checkpoint` or `close` sees why.
      if (!isTwzError(error)) throw error;
    }
  }

  /** The whole checkpoint, now. */
  run(): void {
    const { log } = this.#kernel;
    if (log.end === this.#control.lsn) return;
    log.sync();
    const at = { lsn: log.end, chain: log.chain };
    this.applyAll();
    this.#syncApplied();
    this.#advance(at);
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
    const { host, log, directory } = this.#kernel;
    await log.durable();
    if (this.#stopped) return;
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
    this.#applyRemovals();
    this.#syncing = new Set([...this.#syncing, ...this.#unsynced]);
    this.#unsynced = new Set();
    try {
      await host.syncAllAsync(directory);
    } catch (cause) {
      throw this.#distrust(cause);
    }
    this.#syncing = new Set();
    this.#inherited = false;
    if (!this.#stopped) this.#advance(at);
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
    log.recycle(at.lsn);
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
    this.#applyRemovals();
  }

  #applyChange(h: Handle): void {
    const { log } = this.#kernel;
    if (h.lastLsn > log.synced) log.sync();
    this.#apply(h);
    this.#changed.delete(h);
  }

  #applyRemovals(): void {
    const { host, log } = this.#kernel;
    if (this.#removed.size === 0) return;
    log.sync();
    for (const id of this.#removed) {
      const path = this.#kernel.path(id);
      this.#unsynced.delete(path);
      // An object that came and went between two checkpoints never had a file.
      if (host.exists(path)) {
        host.remove(path);
        this.#unsynced.add(path.slice(0, path.lastIndexOf('/')));
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
    if (h.raw !== undefined) return;
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
      this.#inherited = false;
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

/**
 * Objects that come bit by bit, from elsewhere: their bytes are written as they come, to a file beside the place of the object, and that file
 * is the draft of the transaction that enters it (drafts.ts). So they lie in memory once, and are written once.
 */
import { isTwzError, TwzError } from '../abi/errors.ts';
import type { ObjectId } from '../abi/id.ts';
import type { File } from '../host/host.ts';
import { mayBeDraft, prepareDraft, removeDraft, stagedPath } from './drafts.ts';
import type { Kernel } from './kernel.ts';
import { importFilled } from './lifetime.ts';
import type { Handle } from './object.ts';

/** After so many bytes that came, those so far begin to be made durable. */
const SYNC_EVERY = 8 << 20;

export class Staged {
  readonly #kernel: Kernel;
  readonly id: ObjectId;
  readonly size: number;
  readonly file: File;
  #syncing: Promise<void> | undefined;
  #unsynced = 0;
  #isOver = false;
  /** It is the file of an object now. */
  isPlaced = false;

  private constructor(kernel: Kernel, id: ObjectId, size: number, file: File) {
    this.#kernel = kernel;
    this.id = id;
    this.size = size;
    this.file = file;
  }

  /** Undefined where an object of that size and ID does not go around the log. Throws DiskFull and the like. */
  static begin(kernel: Kernel, id: ObjectId, size: number): Staged | undefined {
    const { host } = kernel;
    if (kernel.has(id) || !mayBeDraft(kernel, id, size)) return undefined;
    prepareDraft(kernel, id);
    const file = host.open(stagedPath(kernel, id), 'create');
    const staged = new Staged(kernel, id, size, file);
    try {
      host.truncate(file, 0);
      host.truncate(file, size);
    } catch (error) {
      void staged.end();
      throw error;
    }
    return staged;
  }

  /** Bytes of the object, from `at` on. */
  write(bytes: Uint8Array, at: number): void {
    const { host } = this.#kernel;
    if (this.#isOver || at + bytes.length > this.size)
      throw new TwzError('InvalidArgument', `${bytes.length} bytes at ${at} of an object of ${this.size}`, { id: this.id });
    host.write(this.file, bytes, at);
    this.#unsynced += bytes.length;
    if (this.#syncing !== undefined || this.#unsynced < SYNC_EVERY) return;
    this.#unsynced = 0;
    this.#syncing = this.#sync();
  }

  async #sync(): Promise<void> {
    try {
      await this.#kernel.host.syncAsync(this.file);
    } catch (error) {
      // The sync before the commit fails, too.
      if (!isTwzError(error)) throw error;
    } finally {
      this.#syncing = undefined;
    }
  }

  /** Enters it in the running transaction. `fill` stores its first page. Throws ObjectForged and the like. */
  enter(fill: (words: Int32Array) => void): Handle {
    return importFilled(this.#kernel, this.id, this.size, fill, (h) => this.#show(h));
  }

  #show(h: Handle): void {
    const { host, mappings, options } = this.#kernel;
    h.staged = this;
    if (mappings >= options.objectsMax) host.read(this.file, h.u8, 0);
    else {
      h.slot?.window.mapPrivate(h.slot.at, this.size, this.file, 0);
      this.#kernel.setMapped(h, true);
    }
  }

  /** Nothing more comes. What was not entered goes. */
  async end(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    await this.#syncing;
    const { host, closed, log } = this.#kernel;
    host.close(this.file);
    // A commit of which nobody knows what became may have it. The next recovery does.
    if (!this.isPlaced && !closed && log.failure === undefined) removeDraft(this.#kernel, this.id);
  }
}

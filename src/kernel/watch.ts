/**
 * Watches: who wants to know that objects have changed, by whomever.
 *
 *   own commits        settle   ->  changed  ->  due, and once the event loop comes round: told
 *   others' commits    a thread sleeps on the count of commits in the live file; woken, this process follows the log  ->  changed  ->  …
 *                      of a thread of this process: it rings a bell, which is sooner
 *
 * Invariants:
 *  1. Who is told finds the change that it is told of, or a later one, and is told again of whatever comes after it looked.
 *  2. Whoever commits wakes nobody unless somebody has said since the last wake that it sleeps: `LIVE.watched`.
 */
import { isTwzError, type TwzError } from '../abi/errors.ts';
import { FOT_FLAG } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import { LIVE } from '../abi/live-format.ts';
import { Bell, type BellEnd } from '../host/bell.ts';
import { Region } from '../host/futex.ts';
import { idsWith } from './fot.ts';
import type { Kernel } from './kernel.ts';
import type { Live } from './live.ts';
import type { Handle } from './object.ts';
import { wholeOf } from './parts.ts';

/** Why nothing more will be told. */
export type WatchEnd = 'closed' | 'deleted' | 'spaceClosed' | 'lost';

export interface Watcher {
  /** Something of the object has changed, once or more often. */
  changed(): void;
  /** It was deleted, or the space closed, or, with the error, cannot be followed any more. */
  ended(why: WatchEnd, error?: TwzError): void;
}

/** One object that is watched, with the parts that its collections go on in. */
class Watching {
  readonly id: ObjectId;
  readonly watcher: Watcher;
  /** The object and its parts, as far as they are known. */
  readonly ids = new Set<ObjectId>();
  /** Those that changed since the watcher was told. */
  readonly news = new Set<ObjectId>();
  deleted = false;

  constructor(id: ObjectId, watcher: Watcher) {
    this.id = id;
    this.watcher = watcher;
  }
}

export class Watches {
  readonly #kernel: Kernel;
  readonly #byId = new Map<ObjectId, Set<Watching>>();
  readonly #all = new Set<Watching>();
  #due = new Set<Watching>();
  /** The live file's words, while a thread sleeps on them. */
  #region: Region | undefined;
  /** Of another thread of this process. */
  #bell: Bell | undefined;
  /** Others are followed whether anything is watched or not, so many milliseconds after the last time at the soonest. */
  #attends: number | undefined;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Tells the watcher of changes from now on. Returns how to end that. */
  add(h: Handle, watcher: Watcher): () => void {
    const watching = new Watching(h.id, watcher);
    for (const { id } of wholeOf(h)) this.#know(watching, id);
    this.#all.add(watching);
    if (this.#kernel.live !== undefined && this.#region === undefined) void this.#listen(this.#kernel.live);
    return () => this.#remove(watching);
  }

  /** As `Kernel.attend`. */
  attend(ms: number): void {
    this.#attends = ms;
    if (this.#kernel.live !== undefined && this.#region === undefined) void this.#listen(this.#kernel.live);
  }

  /** As `Kernel.hear`. */
  hear(end: BellEnd): void {
    const { live } = this.#kernel;
    if (live === undefined) return;
    this.#bell?.close();
    this.#bell = live.bell = new Bell(end, () => this.#rung());
    if (this.#region !== undefined) this.#bell.listen();
  }

  /** Whoever rings again after this is heard again; but who commits often does not wake somebody each time. */
  #rung(): void {
    const kernel = this.#kernel;
    const bell = this.#bell;
    if (this.#region === undefined || bell === undefined || kernel.closed) return;
    if (this.#attends === undefined) bell.listen();
    else
      kernel.host.timer(this.#attends, () => {
        if (this.#bell !== bell) return;
        bell.listen();
        this.#look();
      });
    this.#look();
  }

  #look(): void {
    if (this.#region === undefined || this.#kernel.closed) return;
    try {
      this.#kernel.catchUp();
    } catch (error) {
      this.#fail(error);
    }
  }

  #know(watching: Watching, id: ObjectId): void {
    watching.ids.add(id);
    const those = this.#byId.get(id);
    if (those === undefined) this.#byId.set(id, new Set([watching]));
    else those.add(watching);
  }

  #remove(watching: Watching): void {
    if (!this.#all.delete(watching)) return;
    this.#due.delete(watching);
    for (const id of watching.ids) {
      const those = this.#byId.get(id);
      those?.delete(watching);
      if (those?.size === 0) this.#byId.delete(id);
    }
    // So that no thread of this process sleeps for nothing, which would keep it alive.
    if (this.#all.size === 0 && this.#attends === undefined) this.#stopListening();
  }

  // --- what happens ---------------------------------------------------------------------------------------------------------------

  changed(id: ObjectId): void {
    const those = this.#byId.get(id);
    if (those === undefined) return;
    for (const watching of those) {
      watching.news.add(id);
      this.#tell(watching);
    }
  }

  removed(id: ObjectId): void {
    const those = this.#byId.get(id);
    if (those === undefined) return;
    for (const watching of those) {
      if (watching.id === id) watching.deleted = true;
      this.#tell(watching);
    }
  }

  #tell(watching: Watching): void {
    if (this.#due.size === 0) this.#kernel.host.soon(() => this.#deliver());
    this.#due.add(watching);
  }

  #deliver(): void {
    const due = this.#due;
    this.#due = new Set();
    for (const watching of due) {
      if (!this.#all.has(watching)) continue;
      if (watching.deleted) {
        this.#remove(watching);
        watching.watcher.ended('deleted');
        continue;
      }
      this.#learn(watching);
      try {
        watching.watcher.changed();
      } catch (error) {
        // It is nobody's to catch; the others are told all the same.
        this.#kernel.host.soon(() => {
          throw error;
        });
      }
    }
  }

  /** What changed may have got parts. */
  #learn(watching: Watching): void {
    try {
      for (const id of watching.news) {
        const h = this.#kernel.open(id);
        if (h.cold) h.warm();
        for (const part of idsWith(h, FOT_FLAG.part)) {
          if (watching.ids.has(part)) continue;
          this.#know(watching, part);
          watching.news.add(part);
        }
      }
    } catch (error) {
      // A part that has gone meanwhile; or one that cannot be read, as whoever reads it will learn.
      if (!isTwzError(error)) throw error;
    }
    watching.news.clear();
  }

  // --- other processes ------------------------------------------------------------------------------------------------------------

  async #listen(live: Live): Promise<void> {
    const kernel = this.#kernel;
    const { i32 } = live;
    const region = new Region(kernel.host.futex, new Uint8Array(i32.buffer, i32.byteOffset, i32.byteLength));
    this.#region = region;
    this.#bell?.listen();
    try {
      while (this.#region === region) {
        // In this order: who commits after the second line sees the first.
        Atomics.store(i32, LIVE.watched >> 2, 1);
        const commits = Atomics.load(i32, LIVE.commits >> 2);
        kernel.catchUp();
        await region.waitAsync(LIVE.commits >> 2, commits);
        if (this.#attends === undefined) continue;
        // Whoever commits often does not wake somebody each time.
        kernel.catchUp();
        await new Promise<void>((resolve) => kernel.host.timer(this.#attends ?? 0, resolve));
      }
    } catch (error) {
      if (this.#region === region) this.#fail(error);
    }
  }

  #stopListening(): void {
    const region = this.#region;
    this.#region = undefined;
    region?.end();
  }

  /** Others can be followed no more. */
  #fail(error: unknown): void {
    this.#stopListening();
    if (!isTwzError(error)) throw error;
    for (const watching of this.#all) {
      this.#remove(watching);
      watching.watcher.ended('lost', error);
    }
  }

  close(): void {
    this.#attends = undefined;
    this.#bell?.close();
    this.#bell = undefined;
    for (const watching of this.#all) {
      this.#remove(watching);
      watching.watcher.ended('spaceClosed');
    }
    this.#stopListening();
  }
}

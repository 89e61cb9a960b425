/**
 * A snapshot: every object as it was at one commit, until `advance`.
 *
 * Nothing is copied when it is taken. Afterwards each commit hands the old bytes of the lines it changes to every snapshot that has not
 * mapped the object yet (`keep`). When the snapshot maps an object it takes the current image and lays the kept lines over it; from
 * then on that image is its own, and the checkpoint makes it copy each page before the file's page is overwritten (`detach`).
 *
 * Invariants: an image equals the state after commit `at`; images of one snapshot all have the same `at`.
 */
import { TwzError } from '../abi/errors.ts';
import { LINE_WORDS } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import type { Kernel } from './kernel.ts';
import { Handle, type Frozen } from './object.ts';

interface Kept {
  readonly lines: Map<number, Int32Array>;
  /** Size and version at the snapshot. */
  readonly size: number;
  readonly version: number;
}

export class Snapshot implements Frozen {
  readonly #kernel: Kernel;
  readonly #handles = new Map<ObjectId, Handle>();
  readonly #kept = new Map<Handle, Kept>();
  /** Objects that nobody will ask for any more. */
  readonly #released = new Set<ObjectId>();
  /** The last commit that it shows. */
  at: number;
  closed = false;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.at = kernel.commits;
  }

  handle(id: ObjectId): Handle {
    let h = this.#handles.get(id);
    if (h === undefined) {
      h = new Handle(this.#kernel, id, this);
      this.#handles.set(id, h);
    }
    return h;
  }

  hold(): void {}

  refusal(id: ObjectId): TwzError {
    return new TwzError('SnapshotReadOnly', `object ${id}: a snapshot cannot be changed`, { id });
  }

  /** Before the lines of a committed transaction are forgotten: keeps their old bytes, once a line. */
  keep(h: Handle): void {
    if (h.fresh || h.createdAt > this.at || this.#mapped(h) || this.#released.has(h.id)) return;
    let kept = this.#kept.get(h);
    if (kept === undefined) {
      kept = { lines: new Map(), size: h.sizeBefore, version: h.version };
      this.#kept.set(h, kept);
    }
    for (let i = 0; i < h.count; i++) {
      const line = h.lines[i] as number;
      if (!kept.lines.has(line)) kept.lines.set(line, h.undo.slice(i * LINE_WORDS, (i + 1) * LINE_WORDS));
    }
  }

  /** As `keep`, for a line that is about to change. */
  keepLine(h: Handle, line: number): void {
    if (h.createdAt > this.at || this.#mapped(h) || this.#released.has(h.id)) return;
    let kept = this.#kept.get(h);
    if (kept === undefined) {
      kept = { lines: new Map(), size: h.size, version: h.version };
      this.#kept.set(h, kept);
    }
    if (!kept.lines.has(line)) kept.lines.set(line, h.words.slice(line * LINE_WORDS, (line + 1) * LINE_WORDS));
  }

  #mapped(h: Handle): boolean {
    return this.#handles.get(h.id)?.slot !== undefined;
  }

  /** The object is about to be deleted: take its image while it is there. */
  rescue(h: Handle): void {
    if (!h.fresh && h.createdAt <= this.at && !this.#mapped(h) && !this.#released.has(h.id)) this.map(this.handle(h.id), h);
  }

  map(own: Handle, from: Handle = this.#kernel.handle(own.id)): void {
    if (this.closed) throw new TwzError('SnapshotClosed', 'the snapshot was closed', { id: own.id });
    if (from.slot === undefined && from.cold) from.fetch();
    if (from.slot === undefined || from.createdAt > this.at || from.fresh) {
      throw new TwzError('ObjectMissing', `object ${own.id} did not exist at the time of the snapshot`, { id: own.id });
    }
    const kept = this.#kept.get(from);
    const enlisted = from.serial === this.#kernel.serial;
    const size = kept?.size ?? (enlisted ? from.sizeBefore : from.size);
    const slot = this.#kernel.takeSlot(size);
    try {
      this.#kernel.copyImage(from, slot, size, 'committed');
    } catch (error) {
      this.#kernel.giveSlot(slot);
      throw error;
    }
    own.place(slot, size);
    own.kind = from.kind;
    own.rights = from.rights;
    own.version = kept?.version ?? from.version;
    own.fileSize = from.fileSize;
    own.verified = true;
    own.pins++;
    // Newest first: what the running transaction changed, then what commits since the snapshot changed.
    if (enlisted) {
      for (let i = 0; i < from.count; i++) {
        const line = from.lines[i] as number;
        if ((line + 1) * LINE_WORDS <= own.words.length)
          own.words.set(from.undo.subarray(i * LINE_WORDS, (i + 1) * LINE_WORDS), line * LINE_WORDS);
      }
    }
    for (const [line, old] of kept?.lines ?? []) if ((line + 1) * LINE_WORDS <= own.words.length) own.words.set(old, line * LINE_WORDS);
    this.#kept.delete(from);
  }

  /** Handles of images that it has. */
  mapped(): Iterable<Handle> {
    return this.#handles.values();
  }

  /** The file's page is about to be overwritten: make the image's page its own. */
  detach(id: ObjectId, page: number): void {
    this.#handles.get(id)?.detach(page);
  }

  /** The whole file may be overwritten: makes all of the image its own. */
  own(id: ObjectId): void {
    const own = this.#handles.get(id);
    if (own?.slot !== undefined) own.slot.window.own(own.slot.at, own.size);
  }

  /** Is the object's current state still that of the snapshot? */
  unchanged(id: ObjectId): boolean {
    const h = this.#kernel.handles.get(id);
    if (this.#handles.get(id)?.slot !== undefined) return false;
    return h === undefined || (h.state === 'live' && h.createdAt <= this.at && !this.#kept.has(h));
  }

  /** The version that the snapshot shows, where that can be told without mapping the object. */
  version(id: ObjectId): number | undefined {
    const own = this.#handles.get(id);
    if (own?.slot !== undefined) return own.version;
    const h = this.#kernel.handles.get(id);
    const kept = h === undefined ? undefined : this.#kept.get(h);
    return kept?.version ?? (h?.verified === true && h.createdAt <= this.at ? h.version : undefined);
  }

  /** Lets go of one object for good: what commits change of it is no longer kept for this snapshot. */
  release(id: ObjectId): void {
    this.#released.add(id);
    const from = this.#kernel.handles.get(id);
    if (from !== undefined) this.#kept.delete(from);
    const own = this.#handles.get(id);
    if (own === undefined) return;
    this.#handles.delete(id);
    own.fot = [];
    const slot = own.unplace();
    if (slot === undefined) return;
    own.pins--;
    if (own.pins === 0) this.#kernel.giveSlot(slot);
  }

  /** Moves on to the newest committed version. Accessors of the snapshot stay valid and show it. */
  advance(): void {
    if (this.closed) throw new TwzError('SnapshotClosed', 'the snapshot was closed');
    this.#forget();
    this.at = this.#kernel.commits;
  }

  #forget(): void {
    this.#kept.clear();
    this.#released.clear();
    for (const own of this.#handles.values()) {
      own.turn++;
      own.fot = [];
      own.judged = undefined;
      own.entered = undefined;
      const slot = own.unplace();
      if (slot === undefined) continue;
      own.pins--;
      // A cursor that still stands there goes on seeing the old version, not what would take its place.
      if (own.pins === 0) this.#kernel.giveSlot(slot);
    }
  }

  close(): void {
    if (this.closed) return;
    this.#forget();
    this.closed = true;
    this.#kernel.snapshots.delete(this);
  }
}

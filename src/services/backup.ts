/**
 * Backup: a space as it is at one moment, copied while programs go on changing it.
 *
 * A snapshot fixes the moment. Objects are read through it in slices between which the event loop turns, each let go of as soon as it is
 * copied. An object whose version is that of the last point of this very space is not read at all; of what is read, chunks that
 * the last point has are not written again. The point appears when everything in it is durable, here and in the space's own log.
 *
 * Versions alone do not tell whether an object changed: a restored space, or a copy of its directory, counts on from the same versions.
 * An object that was deleted and imported again may have any version. So the space's directory keeps the nonce of the last point that was taken of it, and only that point's versions are believed; an import
 * forgets it.
 */
import { TwzError, isTwzError } from '../abi/errors.ts';
import { KIND, META, OBJECT_SIZE_MIN, PAGE } from '../abi/format.ts';
import { readId, type ObjectId } from '../abi/id.ts';
import { BACKUPS_FILE } from '../abi/log-format.ts';
import type { Host } from '../host/host.ts';
import { stampedHeader } from '../kernel/apply.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { verifyImage } from '../kernel/lifetime.ts';
import { objectIds } from '../kernel/reclaim.ts';
import { Snapshot } from '../kernel/snapshot.ts';
import {
  BackupStore,
  CHUNK,
  hashOf,
  packsOf,
  type BackupObject,
  type Chunk,
  type PackDraft,
  type Point,
  type PointHead,
} from './backup/store.ts';
import { readWhole } from './check/control.ts';
import { Findings } from './check/findings.ts';
import { checkObject } from './check/object.ts';
import { SpaceDraft, writeWhole } from './draft.ts';

export type { PointHead } from './backup/store.ts';

export interface BackupOptions {
  /** Read every object, whatever its version says, and share nothing with earlier points. */
  readonly full?: boolean;
  /** Remove the oldest points, so that so many are left. */
  readonly keep?: number;
  /** A line for people. */
  readonly note?: string;
  /** Leave out objects that cannot be read, and tell them in the report. Without it they fail the backup. */
  readonly skipDamaged?: boolean;
  readonly progress?: (done: number, total: number) => void;
}

export interface BackupReport extends PointHead {
  /** Objects that were left out, with the reason. */
  readonly damaged: readonly { readonly id: ObjectId; readonly reason: string }[];
  /** Points that were removed. */
  readonly removed: readonly number[];
}

const NOTE_MAX = 1000;
/** How long a slice may hold the event loop, in milliseconds, plus one chunk. */
const SLICE_MS = 4;

/** Takes a backup of an open space into a directory: a new point, which holds the space as it is when this is called. */
export async function backupSpace(kernel: Kernel, directory: string, options: BackupOptions = {}): Promise<BackupReport> {
  kernel.idle('a backup');
  const { note = '', keep } = options;
  if (note.length > NOTE_MAX) throw new TwzError('InvalidArgument', `note: ${note.length} characters; the limit is ${NOTE_MAX}`);
  if (keep !== undefined && !(Number.isInteger(keep) && keep >= 1))
    throw new TwzError('InvalidArgument', `keep: ${keep} is not a number of points from 1 up`, { keep });
  const { host } = kernel;
  host.makeDirectory(directory);
  const store = new BackupStore(host, directory);
  demandBackup(store);
  const lock = host.lock(`${directory}/lock`);
  try {
    return await new Backup(kernel, store, options).run();
  } finally {
    lock.release();
  }
}

/** A directory that holds other things is not the place for a backup. */
function demandBackup(store: BackupStore): void {
  const stranger = store.host.list(store.directory).find((name) => name !== 'lock' && !/^\d{6,}\.(point|pack)(\.draft)?$/.test(name));
  if (stranger !== undefined)
    throw new TwzError('NotEmpty', `${store.directory} holds ${stranger}, which is no part of a backup`, { directory: store.directory });
}

class Backup {
  readonly #kernel: Kernel;
  readonly #host: Host;
  readonly #store: BackupStore;
  readonly #options: BackupOptions;
  readonly #known = new Map<string, Chunk>();
  readonly #damaged: { id: ObjectId; reason: string }[] = [];
  #sliceEnd: number;
  readonly #imports: number;
  #changed = 0;
  #bytes = 0;

  constructor(kernel: Kernel, store: BackupStore, options: BackupOptions) {
    this.#kernel = kernel;
    this.#host = kernel.host;
    this.#store = store;
    this.#options = options;
    this.#imports = kernel.imports;
    this.#sliceEnd = kernel.host.now() + SLICE_MS;
  }

  async run(): Promise<BackupReport> {
    const host = this.#host;
    // The moment: from here to the first pause nothing is committed.
    const snapshot = new Snapshot(this.#kernel);
    this.#kernel.snapshots.add(snapshot);
    const { end: lsn, segmentSize } = this.#kernel.log;
    const ids = [...objectIds(this.#kernel)].filter((id) => this.#kernel.handles.get(id)?.volatile !== true);
    let draft: PackDraft | undefined;
    try {
      const points = this.#store.points();
      const point = (points.at(-1) ?? 0) + 1;
      const last = this.#lastPoint(points);
      const base = this.#options.full === true ? undefined : this.#base(points, last);
      for (const known of this.#options.full === true ? [] : [last, base])
        for (const { chunks } of known?.list.values() ?? [])
          for (const chunk of chunks) if (chunk !== null) this.#known.set(chunk.hash, chunk);
      draft = this.#store.draft(point);
      const objects = await this.#copy(snapshot, draft, ids.sort(), base);
      const head: PointHead = {
        point,
        space: readId(this.#kernel.spaceId, 0),
        nonce: readId(host.random(16), 0),
        time: host.time(),
        note: this.#options.note ?? '',
        lsn,
        segmentSize,
        objects: objects.length,
        bytes: this.#bytes,
        added: draft.length,
        changed: this.#changed,
      };
      await draft.sealPack();
      // A version that a power failure takes back is given again, to another content.
      await this.#kernel.log.durable();
      await draft.publish(head, objects, () => this.#pause());
      draft = undefined;
      this.#remember(base ?? last, head);
      return { ...head, damaged: this.#damaged, removed: this.#thin() };
    } finally {
      snapshot.close();
      draft?.discard();
    }
  }

  async #pause(): Promise<void> {
    if (this.#host.now() < this.#sliceEnd) return;
    await new Promise<void>((resolve) => this.#host.soon(resolve));
    this.#demandOpen();
    this.#sliceEnd = this.#host.now() + SLICE_MS;
  }

  #demandOpen(): void {
    if (this.#kernel.closed) throw new TwzError('SpaceClosed', 'the space was closed while it was backed up');
  }

  // --- what is known --------------------------------------------------------------------------------------------------------

  /** The newest point, for its chunks. One that cannot be read is no help, and no hindrance. */
  #lastPoint(points: readonly number[]): Point | undefined {
    for (const point of [...points].reverse()) {
      const read = this.#readable(point);
      if (read !== undefined) return read;
    }
    return undefined;
  }

  #readable(point: number): Point | undefined {
    try {
      const read = this.#store.read(point);
      const other = readId(this.#kernel.spaceId, 0);
      if (read.space === other) return read;
      throw new TwzError('WrongSpace', `${this.#store.directory} is a backup of the space ${read.space}, not of ${other}`, {
        directory: this.#store.directory,
        space: read.space,
      });
    } catch (error) {
      if (isTwzError(error, 'BackupCorrupt') || isTwzError(error, 'BackupMissing')) return undefined;
      throw error;
    }
  }

  #marks(): Readonly<Record<string, unknown>> {
    const bytes = readWhole(this.#host, `${this.#kernel.directory}/${BACKUPS_FILE}`, 1 << 20);
    if (bytes === undefined) return {};
    try {
      const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
      return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
    } catch (error) {
      if (error instanceof SyntaxError) return {};
      throw error;
    }
  }

  /** The point whose versions can be believed. */
  #base(points: readonly number[], last: Point | undefined): Point | undefined {
    const marks = new Set(Object.values(this.#marks()));
    if (last !== undefined && marks.has(last.nonce)) return last;
    for (const point of [...points].reverse()) {
      try {
        if (marks.has(this.#store.head(point).nonce)) return this.#readable(point);
      } catch (error) {
        if (!isTwzError(error, 'BackupCorrupt')) throw error;
      }
    }
    return undefined;
  }

  /** From the next backup on, this point's versions can be believed. Of each backup one point is kept in mind. */
  #remember(before: Point | undefined, head: PointHead): void {
    const marks: Record<string, unknown> = {};
    for (const [directory, nonce] of Object.entries(this.#marks()).slice(-15))
      if (nonce !== before?.nonce && directory !== this.#store.directory) marks[directory] = nonce;
    marks[this.#store.directory] = head.nonce;
    this.#demandOpen();
    // What was brought in meanwhile may have a version that the point has of another content.
    if (this.#kernel.imports !== this.#imports) return;
    writeWhole(this.#host, `${this.#kernel.directory}/${BACKUPS_FILE}`, new TextEncoder().encode(`${JSON.stringify(marks)}\n`));
  }

  // --- copying ----------------------------------------------------------------------------------------------------------------

  async #copy(snapshot: Snapshot, draft: PackDraft, ids: readonly ObjectId[], base: Point | undefined): Promise<BackupObject[]> {
    const objects: BackupObject[] = [];
    for (const [i, id] of ids.entries()) {
      await this.#pause();
      if (this.#isShared(id)) continue;
      try {
        const object = this.#unchanged(snapshot, id, base) ?? (await this.#object(snapshot, draft, id));
        this.#bytes += object.size;
        objects.push(object);
      } catch (error) {
        if (this.#options.skipDamaged !== true || !isTwzError(error) || !['object', 'pointer'].includes(error.category)) throw error;
        this.#damaged.push({ id, reason: `${error.name}: ${error.message}` });
      }
      snapshot.release(id);
      this.#options.progress?.(i + 1, ids.length);
    }
    return objects;
  }

  /** What others store to at this moment has no version to back up. */
  #isShared(id: ObjectId): boolean {
    const h = this.#kernel.handles.get(id);
    if (h?.verified === true) return h.kind === KIND.shared;
    const path = this.#kernel.path(id);
    if (!this.#host.exists(path)) return false;
    const head = new Uint8Array(META.kind + 4);
    const file = this.#host.open(path, 'read');
    try {
      return this.#host.read(file, head, 0) === head.length && new DataView(head.buffer).getUint32(META.kind, true) === KIND.shared;
    } finally {
      this.#host.close(file);
    }
  }

  #unchanged(snapshot: Snapshot, id: ObjectId, base: Point | undefined): BackupObject | undefined {
    const known = base?.list.get(id);
    if (known === undefined) return undefined;
    return (snapshot.version(id) ?? this.#versionInFile(id)) === known.version ? known : undefined;
  }

  /** Of an object that this process has not opened: its file is what is committed. */
  #versionInFile(id: ObjectId): number | undefined {
    const page = new Uint8Array(PAGE);
    const file = this.#host.open(this.#kernel.path(id), 'read');
    try {
      if (this.#host.read(file, page, 0) < PAGE) return undefined;
    } finally {
      this.#host.close(file);
    }
    const dv = new DataView(page.buffer);
    return dv.getUint32(META.version, true) + dv.getUint32(META.version + 4, true) * 2 ** 32;
  }

  async #object(snapshot: Snapshot, draft: PackDraft, id: ObjectId): Promise<BackupObject> {
    this.#changed++;
    const small = snapshot.unchanged(id) ? this.#small(id) : undefined;
    if (small !== undefined) {
      const version = new DataView(small.buffer).getBigUint64(META.version, true);
      return { id, version: Number(version), size: small.length, chunks: [this.#chunk(draft, small)] };
    }
    const own = snapshot.handle(id);
    if (own.cold) own.warm();
    const chunks: (Chunk | null)[] = [];
    for (let at = 0; at < own.size; at += CHUNK) {
      const bytes = own.u8.slice(at, at + CHUNK);
      if (at === 0) bytes.set(stampedHeader(own));
      chunks.push(this.#chunk(draft, bytes));
      await this.#pause();
    }
    return { id, version: own.version, size: own.size, chunks };
  }

  /** The file of an object that is not in use, without mapping it, if it is one chunk. */
  #small(id: ObjectId): Uint8Array | undefined {
    const h = this.#kernel.handles.get(id);
    if (h?.cold === false || (h !== undefined && h.state !== 'live')) return undefined;
    const path = this.#kernel.path(id);
    const file = this.#host.open(path, 'read');
    let bytes: Uint8Array;
    try {
      const length = this.#host.length(file);
      if (length > CHUNK || length < OBJECT_SIZE_MIN) return undefined;
      bytes = new Uint8Array(length);
      this.#host.read(file, bytes, 0);
    } finally {
      this.#host.close(file);
    }
    verifyImage(this.#kernel, bytes, id);
    return bytes;
  }

  #chunk(draft: PackDraft, whole: Uint8Array): Chunk | null {
    let end = whole.length;
    while (end > 0 && whole[end - 1] === 0) end--;
    if (end === 0) return null;
    const bytes = whole.subarray(0, end);
    const hash = hashOf(this.#host, bytes);
    const known = this.#known.get(hash);
    if (known !== undefined) return known;
    const chunk = draft.add(hash, bytes);
    this.#known.set(hash, chunk);
    return chunk;
  }

  // --- old points -------------------------------------------------------------------------------------------------------------

  /** Removes the oldest points if that was asked for, and packs that no point needs. */
  #thin(): number[] {
    const points = this.#store.points();
    const { keep } = this.#options;
    const removed = keep === undefined ? [] : points.slice(0, Math.max(0, points.length - keep));
    for (const point of removed) this.#store.remove(point);
    if (removed.length > 0) sweep(this.#store);
    return removed;
  }
}

/** Packs that no point needs go. Where a point cannot be read nobody knows what it needs, and all stay. */
function sweep(store: BackupStore): void {
  store.host.syncDirectory(store.directory);
  const needed = new Set<number>();
  for (const point of store.points()) {
    try {
      for (const pack of packsOf(store.read(point))) needed.add(pack);
    } catch (error) {
      if (isTwzError(error, 'BackupCorrupt')) return;
      throw error;
    }
  }
  store.sweep(needed);
}

// --- looking and restoring ------------------------------------------------------------------------------------------------------

export interface PointFacts extends Partial<PointHead> {
  readonly point: number;
  /** Why the point cannot be used. */
  readonly problem: string | undefined;
}

/** The points of a backup, oldest first. With `verify`, every byte of each is read and checked. Throws BackupMissing. */
export function listBackup(
  host: Host,
  directory: string,
  options: { readonly verify?: boolean; readonly progress?: (done: number) => void } = {},
): PointFacts[] {
  const store = new BackupStore(host, directory);
  const points = store.points();
  if (points.length === 0) throw new TwzError('BackupMissing', `${directory} holds no backup`, { directory });
  const sound = new Set<string>();
  let done = 0;
  return points.map((point) => {
    try {
      if (options.verify !== true) return { ...store.head(point), problem: undefined };
      const { list, ...head } = store.read(point);
      const reader = store.reader();
      try {
        for (const { chunks } of list.values()) {
          for (const chunk of chunks) {
            if (chunk === null || sound.has(`${chunk.pack} ${chunk.at} ${chunk.hash}`)) continue;
            reader.read(chunk);
            sound.add(`${chunk.pack} ${chunk.at} ${chunk.hash}`);
          }
          options.progress?.(++done);
        }
      } finally {
        reader.close();
      }
      return { ...head, problem: undefined };
    } catch (error) {
      if (!isTwzError(error, 'BackupCorrupt')) throw error;
      return { point, problem: error.message };
    }
  });
}

export interface RestoreOptions {
  /** The point; the last one without it. */
  readonly at?: number;
  readonly progress?: (done: number, total: number) => void;
}

/**
 * Makes a space of a point of a backup, whole or not at all. Each chunk must have its hash, and each object must be one that a space
 * would open. Throws NotEmpty, BackupMissing, BackupCorrupt.
 */
export function restoreBackup(host: Host, backup: string, directory: string, options: RestoreOptions = {}): PointHead {
  const store = new BackupStore(host, backup);
  const number = options.at ?? store.points().at(-1);
  if (number === undefined) throw new TwzError('BackupMissing', `${backup} holds no backup`, { directory: backup });
  const { list, ...head } = store.read(number);
  const draft = new SpaceDraft(host, directory, head);
  const reader = store.reader();
  try {
    let done = 0;
    for (const object of list.values()) {
      const bytes = reader.object(object);
      demandSound(host, object, bytes);
      draft.object(object.id, bytes);
      options.progress?.(++done, list.size);
    }
    draft.file(BACKUPS_FILE, new TextEncoder().encode(`${JSON.stringify({ [backup]: head.nonce })}\n`));
    draft.finish();
  } catch (error) {
    draft.discard();
    throw error;
  } finally {
    reader.close();
  }
  return head;
}

function demandSound(host: Host, { id, version }: BackupObject, bytes: Uint8Array): void {
  const findings = new Findings();
  const usable = bytes.length >= PAGE && checkObject(host, id, bytes, findings, { stamped: true }).usable;
  const written = bytes.length < PAGE ? -1 : Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(META.version, true));
  if (usable && written === version) return;
  const why = usable ? `it has version ${written} instead of ${version}` : (findings.list[0]?.message ?? 'it is too short');
  throw new TwzError('BackupCorrupt', `object ${id}: ${why}`, { id });
}

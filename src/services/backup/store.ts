/**
 * Where backups lie. docs/formats/backup.md is the long form.
 *
 *   000001.point    what the space was at one moment: for each object its version, size and where its chunks are
 *   000001.pack     the bytes that no earlier point had, back to back
 *   lock            one backup at a time writes here
 *
 * Invariants:
 *  1. A point exists once its file has its name. That is the last step: pack, sync, rename; point, sync, rename.
 *  2. What a point refers to is in packs of its own number or lower ones, and those stay as long as it does.
 *  3. Nothing that has its name is ever written to again.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { OBJECT_SIZE_MAX } from '../../abi/format.ts';
import { isId, type ObjectId } from '../../abi/id.ts';
import type { File, Host } from '../../host/host.ts';
import { readWhole } from '../check/control.ts';

export const BACKUP_FORMAT = 1;
export const CHUNK = 1 << 20;

/** A piece of an object: where its bytes are. Zeros at its end are left out, and so is a chunk of nothing but zeros. */
export interface Chunk {
  /** SHA-256 in hexadecimal. */
  readonly hash: string;
  readonly pack: number;
  readonly at: number;
  readonly length: number;
}

export interface BackupObject {
  readonly id: ObjectId;
  readonly version: number;
  readonly size: number;
  readonly chunks: readonly (Chunk | null)[];
}

export interface PointHead {
  readonly point: number;
  readonly space: ObjectId;
  /** Names this point and no other, in this backup or elsewhere. */
  readonly nonce: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly note: string;
  readonly lsn: number;
  readonly segmentSize: number;
  readonly objects: number;
  /** Sum of the objects' sizes. */
  readonly bytes: number;
  /** Bytes that were new: the length of the pack. */
  readonly added: number;
  /** Objects that were new or changed. */
  readonly changed: number;
}

export interface Point extends PointHead {
  readonly list: ReadonlyMap<ObjectId, BackupObject>;
}

const NAME = /^(\d{6,})\.(point|pack)$/;
const nameOf = (point: number, kind: 'point' | 'pack'): string => `${String(point).padStart(6, '0')}.${kind}`;
const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
const encoder = new TextEncoder();

export const hashOf = (host: Host, bytes: Uint8Array): string => hexOf(host.sha256(bytes));

/** The digest of a point's file up to its last line, a block of 1 MiB after the other. */
class Digest {
  readonly #host: Host;
  #state: Uint8Array = new Uint8Array(32);

  constructor(host: Host) {
    this.#host = host;
  }

  add(block: Uint8Array): void {
    this.#state = this.#host.sha256(this.#state, block);
  }

  get hex(): string {
    return hexOf(this.#state);
  }
}

/** Writes a file from its start on, a block at a time. */
class BlockFile {
  readonly #host: Host;
  readonly #file: File;
  readonly #block = new Uint8Array(CHUNK);
  readonly #each: (block: Uint8Array) => void;
  #used = 0;
  #written = 0;

  constructor(host: Host, path: string, each: (block: Uint8Array) => void = () => undefined) {
    this.#host = host;
    host.remove(path);
    this.#file = host.open(path, 'create');
    this.#each = each;
  }

  get length(): number {
    return this.#written + this.#used;
  }

  add(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length;) {
      const part = bytes.subarray(from, from + CHUNK - this.#used);
      this.#block.set(part, this.#used);
      this.#used += part.length;
      from += part.length;
      if (this.#used === CHUNK) this.flush();
    }
  }

  flush(): void {
    if (this.#used === 0) return;
    const block = this.#block.subarray(0, this.#used);
    this.#each(block);
    this.#host.write(this.#file, block, this.#written);
    this.#written += this.#used;
    this.#used = 0;
  }

  async sync(): Promise<void> {
    this.flush();
    await this.#host.syncAsync(this.#file);
  }

  close(): void {
    this.#host.close(this.#file);
  }
}

/** The directory of a backup, for reading. */
export class BackupStore {
  readonly host: Host;
  readonly directory: string;

  constructor(host: Host, directory: string) {
    this.host = host;
    this.directory = directory;
  }

  path(name: string): string {
    return `${this.directory}/${name}`;
  }

  /** Numbers of the points, in order. */
  points(): number[] {
    return this.#numbers('point');
  }

  #numbers(kind: 'point' | 'pack'): number[] {
    let names: string[];
    try {
      names = this.host.list(this.directory);
    } catch (error) {
      if (isTwzError(error, 'FileMissing')) return [];
      throw error;
    }
    return names
      .map((name) => NAME.exec(name))
      .filter((match) => match?.[2] === kind)
      .map((match) => Number(match?.[1]))
      .sort((a, b) => a - b);
  }

  /** Only the first line: nothing of the rest is read. */
  head(point: number): PointHead {
    const bytes = readWhole(this.host, this.path(nameOf(point, 'point')), 65536);
    if (bytes === undefined) throw this.#missing(point);
    const end = bytes.indexOf(10);
    return this.#head(point, end < 0 ? bytes : bytes.subarray(0, end));
  }

  #missing(point: number): TwzError {
    return new TwzError('BackupMissing', `${this.directory} has no point ${point}`, { directory: this.directory, point });
  }

  #corrupt(point: number, reason: string): TwzError {
    return new TwzError('BackupCorrupt', `point ${point}: ${reason}`, { directory: this.directory, point });
  }

  #head(point: number, line: Uint8Array): PointHead {
    const raw = parse(line);
    if (raw?.['twizzler'] !== 'backup') throw this.#corrupt(point, 'the file does not begin as a point');
    if (raw['format'] !== BACKUP_FORMAT)
      throw this.#corrupt(point, `the format is ${JSON.stringify(raw['format'])}; this build reads ${BACKUP_FORMAT}`);
    const number = (name: string): number => {
      const value = raw[name];
      if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw this.#corrupt(point, `${name} is no number`);
      return value;
    };
    const string = (name: string): string => {
      const value = raw[name];
      if (typeof value !== 'string') throw this.#corrupt(point, `${name} is no text`);
      return value;
    };
    const space = string('space');
    const segmentSize = number('segmentSize');
    if (!isId(space)) throw this.#corrupt(point, 'space is no ID');
    if (number('point') !== point) throw this.#corrupt(point, `the file is that of point ${number('point')}`);
    if (segmentSize < 65536 || segmentSize % 4096 !== 0 || segmentSize > 2 ** 31) throw this.#corrupt(point, 'segmentSize cannot be');
    return {
      point,
      space,
      segmentSize,
      nonce: string('nonce'),
      time: number('time'),
      note: string('note'),
      lsn: number('lsn'),
      objects: number('objects'),
      bytes: number('bytes'),
      added: number('added'),
      changed: number('changed'),
    };
  }

  /** The whole point. Throws BackupMissing, BackupCorrupt. */
  read(point: number): Point {
    const bytes = readWhole(this.host, this.path(nameOf(point, 'point')));
    if (bytes === undefined) throw this.#missing(point);
    const last = bytes.lastIndexOf(10, bytes.length - 2) + 1;
    const digest = new Digest(this.host);
    for (let at = 0; at < last; at += CHUNK) digest.add(bytes.subarray(at, Math.min(last, at + CHUNK)));
    if (last === 0 || parse(bytes.subarray(last))?.['digest'] !== digest.hex) throw this.#corrupt(point, 'its digest does not match');
    const list = new Map<ObjectId, BackupObject>();
    let head: PointHead | undefined;
    for (let at = 0; at < last;) {
      const end = bytes.indexOf(10, at);
      const line = bytes.subarray(at, end);
      if (head === undefined) head = this.#head(point, line);
      else {
        const object = objectOf(line, point);
        if (object === undefined || list.has(object.id)) throw this.#corrupt(point, `the line at ${at} is no object`);
        list.set(object.id, object);
      }
      at = end + 1;
    }
    if (head === undefined || head.objects !== list.size) throw this.#corrupt(point, 'objects are missing');
    return { ...head, list };
  }

  /** Reads chunks; a pack stays open for the next. */
  reader(): ChunkReader {
    return new ChunkReader(this.host, (pack) => this.path(nameOf(pack, 'pack')));
  }

  /** Removes what no point needs: packs, and drafts of those who were cut short. The caller holds the lock. */
  sweep(needed: ReadonlySet<number>): number {
    let removed = 0;
    for (const pack of this.#numbers('pack')) {
      if (needed.has(pack)) continue;
      this.host.remove(this.path(nameOf(pack, 'pack')));
      removed++;
    }
    for (const name of this.host.list(this.directory)) if (name.endsWith('.draft')) this.host.remove(this.path(name));
    return removed;
  }

  remove(point: number): void {
    this.host.remove(this.path(nameOf(point, 'point')));
  }

  draft(point: number): PackDraft {
    return new PackDraft(this.host, this.directory, point);
  }
}

export function packsOf(point: Point): Set<number> {
  const packs = new Set<number>();
  for (const { chunks } of point.list.values()) for (const chunk of chunks) if (chunk !== null) packs.add(chunk.pack);
  return packs;
}

function parse(line: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(line));
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const isNatural = (value: unknown, most = Number.MAX_SAFE_INTEGER): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most;

/** `["ID", version, size, [["hash", pack, at, length], null, …]]` */
function objectOf(line: Uint8Array, point: number): BackupObject | undefined {
  const raw: unknown = parse(line);
  if (!Array.isArray(raw)) return undefined;
  const [id, version, size, list]: readonly unknown[] = raw;
  if (typeof id !== 'string' || !isId(id) || !isNatural(version) || !isNatural(size, OBJECT_SIZE_MAX) || !Array.isArray(list))
    return undefined;
  const chunks: (Chunk | null)[] = [];
  for (const item of list as readonly unknown[]) {
    if (item === null) {
      chunks.push(null);
      continue;
    }
    if (!Array.isArray(item)) return undefined;
    const [hash, pack, at, length]: readonly unknown[] = item;
    if (typeof hash !== 'string' || !isNatural(pack, point) || !isNatural(at) || !isNatural(length, CHUNK)) return undefined;
    chunks.push({ hash, pack, at, length });
  }
  return chunks.length === Math.ceil(size / CHUNK) ? { id, version, size, chunks } : undefined;
}

export class ChunkReader {
  readonly #host: Host;
  readonly #path: (pack: number) => string;
  readonly #open = new Map<number, File>();

  constructor(host: Host, path: (pack: number) => string) {
    this.#host = host;
    this.#path = path;
  }

  /** The bytes of a chunk, checked. Throws BackupCorrupt. */
  read(chunk: Chunk): Uint8Array {
    const corrupt = (reason: string, cause?: unknown): TwzError =>
      new TwzError('BackupCorrupt', `pack ${chunk.pack} at ${chunk.at}: ${reason}`, { pack: chunk.pack, at: chunk.at }, cause);
    let file = this.#open.get(chunk.pack);
    if (file === undefined) {
      try {
        file = this.#host.open(this.#path(chunk.pack), 'read');
      } catch (cause) {
        if (isTwzError(cause, 'FileMissing')) throw corrupt('the pack is gone', cause);
        throw cause;
      }
      this.#open.set(chunk.pack, file);
    }
    const bytes = new Uint8Array(chunk.length);
    if (this.#host.read(file, bytes, chunk.at) !== chunk.length) throw corrupt('the pack ends before');
    if (hashOf(this.#host, bytes) !== chunk.hash) throw corrupt(`${chunk.length} bytes do not have the SHA-256 ${chunk.hash}`);
    return bytes;
  }

  /** The whole object. */
  object({ size, chunks }: BackupObject): Uint8Array {
    const bytes = new Uint8Array(size);
    for (const [i, chunk] of chunks.entries()) if (chunk !== null) bytes.set(this.read(chunk).subarray(0, size - i * CHUNK), i * CHUNK);
    return bytes;
  }

  close(): void {
    for (const file of this.#open.values()) this.#host.close(file);
    this.#open.clear();
  }
}

/** A point in the making. */
export class PackDraft {
  readonly #host: Host;
  readonly #directory: string;
  readonly #point: number;
  readonly #pack: BlockFile;
  #closed = false;

  constructor(host: Host, directory: string, point: number) {
    this.#host = host;
    this.#directory = directory;
    this.#point = point;
    this.#pack = new BlockFile(host, this.#path('pack.draft'));
  }

  #path(ending: string): string {
    return `${this.#directory}/${String(this.#point).padStart(6, '0')}.${ending}`;
  }

  get length(): number {
    return this.#pack.length;
  }

  add(hash: string, bytes: Uint8Array): Chunk {
    const at = this.#pack.length;
    this.#pack.add(bytes);
    return { hash, pack: this.#point, at, length: bytes.length };
  }

  /** The pack gets its name. */
  async sealPack(): Promise<void> {
    await this.#pack.sync();
    this.close();
    this.#host.rename(this.#path('pack.draft'), this.#path('pack'));
  }

  /** The point gets its name: from here on it exists. `pause` is called between objects. */
  async publish(head: PointHead, objects: Iterable<BackupObject>, pause: () => Promise<void>): Promise<void> {
    const host = this.#host;
    const digest = new Digest(host);
    const file = new BlockFile(host, this.#path('point.draft'), (block) => digest.add(block));
    const line = (value: unknown): void => file.add(encoder.encode(`${JSON.stringify(value)}\n`));
    try {
      line({ twizzler: 'backup', format: BACKUP_FORMAT, ...head });
      for (const { id, version, size, chunks } of objects) {
        line([id, version, size, chunks.map((chunk) => (chunk === null ? null : [chunk.hash, chunk.pack, chunk.at, chunk.length]))]);
        await pause();
      }
      file.flush();
      line({ digest: digest.hex });
      await file.sync();
    } finally {
      file.close();
    }
    host.syncDirectory(this.#directory);
    host.rename(this.#path('point.draft'), this.#path('point'));
    host.syncDirectory(this.#directory);
  }

  close(): void {
    if (!this.#closed) this.#pack.close();
    this.#closed = true;
  }

  discard(): void {
    this.close();
    for (const ending of ['pack.draft', 'point.draft', 'pack']) this.#host.remove(this.#path(ending));
  }
}

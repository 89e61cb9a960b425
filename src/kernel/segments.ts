/**
 * The segments of the redo log: files of one size, made before they are needed, and used again. Layout in abi/log-format.ts.
 *
 * Invariants: a segment is complete or absent; one that is used again has no write under way, in this process or another; its name is
 * durable before anything in it counts.
 */
import { crc32c } from '../abi/crc32c.ts';
import { LOG_FORMAT, LOG_MAGIC, SEGMENT, SEGMENT_HEADER } from '../abi/log-format.ts';
import type { File, Host } from '../host/host.ts';
import type { Live } from './live.ts';

export interface Segment {
  /** Changes when the segment is used again. */
  sequence: number;
  readonly file: File;
  readonly through: File;
  /** Asynchronous writes that have not ended: until then it is not used again. */
  writing: number;
  /** Asynchronous writes and syncs that have not ended: until then its files stay open. A busy event loop hears of the end late. */
  underWay: number;
  closing: boolean;
}

/** A segment that is not in use, and will save a new one the writing of zeros. */
interface Spare {
  readonly path: string;
  /** Its files, where this process has used it before. */
  readonly segment: Segment | undefined;
}

export function segmentName(sequence: number): string {
  return `${String(sequence).padStart(8, '0')}.log`;
}

export class Segments {
  readonly #host: Host;
  readonly #directory: string;
  readonly #space: Uint8Array;
  readonly #size: number;
  readonly #live: Live | undefined;
  readonly #open = new Map<number, Segment>();
  /** The names of segments that an earlier process made are durable. */
  #namesSynced = false;
  readonly #spares: Spare[] = [];
  readonly #sparesMax: number;

  /** `size`: bytes a segment. `spares`: how many to keep for later. */
  constructor(host: Host, directory: string, space: Uint8Array, size: number, spares: number, live: Live | undefined) {
    this.#host = host;
    this.#directory = directory;
    this.#space = space;
    this.#size = size;
    this.#sparesMax = spares;
    this.#live = live;
    for (const name of host.list(directory))
      if (name.startsWith('spare')) this.#spares.push({ path: `${directory}/${name}`, segment: undefined });
  }

  sequenceOf(lsn: number): number {
    return Math.floor(lsn / this.#size);
  }

  /** An open segment; made where there is none. */
  get(sequence: number): Segment {
    const open = this.#open.get(sequence);
    if (open !== undefined) return open;
    const path = `${this.#directory}/${segmentName(sequence)}`;
    if (!this.#host.exists(path)) {
      const again = this.#createSegment(sequence, path);
      if (again !== undefined) {
        again.sequence = sequence;
        this.#open.set(sequence, again);
        return again;
      }
    } else if (!this.#namesSynced) {
      // Who made it may have died before its name was durable.
      this.#host.syncDirectory(this.#directory);
      this.#namesSynced = true;
    }
    const file = this.#host.open(path, 'write');
    let through: File;
    try {
      through = this.#host.open(path, 'writeThrough');
    } catch (error) {
      this.#host.close(file);
      throw error;
    }
    const segment: Segment = { sequence, file, through, writing: 0, underWay: 0, closing: false };
    this.#open.set(sequence, segment);
    return segment;
  }

  /** One that is still there: another process may have used it. */
  #spare(): Spare | undefined {
    for (let spare = this.#spares.pop(); spare !== undefined; spare = this.#spares.pop()) {
      if (this.#live === undefined || this.#host.exists(spare.path)) return spare;
      if (spare.segment !== undefined) this.#close(spare.segment);
    }
    return undefined;
  }

  /** Builds the whole file under another name, so that a segment is either complete or absent. Gives the spare whose files are open. */
  #createSegment(sequence: number, path: string): Segment | undefined {
    const host = this.#host;
    const spare = this.#spare();
    const draft = spare?.path ?? `${this.#directory}/draft`;
    const file = spare?.segment?.file ?? host.open(draft, 'create');
    try {
      const header = new Int32Array(SEGMENT_HEADER / 4);
      header[SEGMENT.magic >> 2] = LOG_MAGIC;
      header[SEGMENT.format >> 2] = LOG_FORMAT;
      header[SEGMENT.sequence >> 2] = sequence;
      header[SEGMENT.size >> 2] = this.#size;
      new Uint8Array(header.buffer).set(this.#space, SEGMENT.space);
      header[SEGMENT.checksum >> 2] = crc32c(header, 0, SEGMENT.checksum >> 2, 0);
      host.preallocate(file, this.#size);
      host.write(file, new Uint8Array(header.buffer), 0);
      host.sync(file);
      host.rename(draft, path);
      host.syncDirectory(this.#directory);
    } catch (error) {
      if (spare?.segment === undefined) host.close(file);
      else this.#close(spare.segment);
      host.remove(draft);
      host.remove(path);
      throw error;
    }
    if (spare?.segment === undefined) host.close(file);
    return spare?.segment;
  }

  /** Forgets all before `lsn`: its segments become spares for new ones, or go. */
  recycle(lsn: number): void {
    const first = this.sequenceOf(lsn);
    const names = this.#host.list(this.#directory);
    const theirs = this.#live?.writtenBelow() ?? Infinity;
    // Others have put some aside, too.
    let others = this.#live === undefined ? 0 : names.filter((name) => name.startsWith('spare')).length - this.#spares.length;
    if (others < 0) others = 0;
    for (const name of names) {
      const match = /^(\d{8,})\.log$/.exec(name);
      const sequence = Number(match?.[1] ?? Infinity);
      const segment = this.#open.get(sequence);
      if (sequence >= first || (segment?.writing ?? 0) > 0 || (sequence + 1) * this.#size > theirs) continue;
      const path = `${this.#directory}/${name}`;
      if (this.#spares.length + others < this.#sparesMax) {
        const spare = `${this.#directory}/spare${match?.[1] ?? ''}`;
        this.#host.rename(path, spare);
        this.#open.delete(sequence);
        this.#spares.push({ path: spare, segment });
        continue;
      }
      this.#host.remove(path);
      this.#open.delete(sequence);
      if (segment !== undefined) this.#close(segment);
    }
  }

  #close(segment: Segment): void {
    segment.closing = true;
    if (segment.underWay > 0) return;
    this.#host.close(segment.file);
    this.#host.close(segment.through);
  }

  /** Keeps a segment's files open while the work on them is under way. */
  async holding(segment: Segment, work: Promise<void>): Promise<void> {
    segment.underWay++;
    try {
      await work;
    } finally {
      segment.underWay--;
      if (segment.closing) this.#close(segment);
    }
  }

  /** Another process has recycled what is below `lsn`. */
  forget(lsn: number): void {
    for (const [sequence, segment] of this.#open) {
      if ((sequence + 1) * this.#size > lsn) continue;
      this.#open.delete(sequence);
      this.#close(segment);
    }
  }

  close(): void {
    for (const segment of this.#open.values()) this.#close(segment);
    for (const { segment } of this.#spares) if (segment !== undefined) this.#close(segment);
    this.#open.clear();
  }
}

/**
 * A whole new space, written aside: `DIR.draft` is built, synced, and renamed to DIR, so that DIR has all of it or is not there. What an
 * attempt that was cut short left behind is cleared by the next.
 */
import { TwzError } from '../abi/errors.ts';
import { PAGE } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import { BACKUPS_FILE, SEGMENT_HEADER } from '../abi/log-format.ts';
import type { Host, Lock } from '../host/host.ts';
import { CONTROL_FILE, encodeControl } from './check/control.ts';
import { QUARANTINE, objectPath } from './check/image.ts';
import { encodeSegmentHeader, segmentName } from './check/log-scan.ts';

export interface DraftOptions {
  readonly space: ObjectId;
  readonly segmentSize: number;
  /** The log goes on behind this position. */
  readonly lsn: number;
}

const trimmed = (path: string): string => path.replace(/(?<=.)\/+$/, '');

function parentOf(path: string): string {
  const cut = path.lastIndexOf('/');
  return cut < 0 ? '.' : path.slice(0, Math.max(1, cut));
}

function isZero(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}

/** Writes a file of its own, pages of zeros as holes. */
export function writeSparse(host: Host, path: string, bytes: Uint8Array): void {
  const file = host.open(path, 'create');
  try {
    host.truncate(file, 0);
    host.truncate(file, bytes.length);
    for (let at = 0; at < bytes.length;) {
      const zero = isZero(bytes.subarray(at, at + PAGE));
      let end = at + PAGE;
      while (end < bytes.length && isZero(bytes.subarray(end, end + PAGE)) === zero) end += PAGE;
      if (!zero) host.write(file, bytes.subarray(at, end), at);
      at = end;
    }
  } finally {
    host.close(file);
  }
}

/** Writes a small file so that it has the old content or the new. */
export function writeWhole(host: Host, path: string, bytes: Uint8Array): void {
  const draft = `${path}.draft`;
  const file = host.open(draft, 'create');
  try {
    host.truncate(file, 0);
    host.write(file, bytes, 0);
    host.sync(file);
  } finally {
    host.close(file);
  }
  host.rename(draft, path);
  host.syncDirectory(parentOf(path));
}

/** Throws NotEmpty unless nothing, or an empty directory, is there. */
export function demandEmpty(host: Host, directory: string): void {
  if (!host.exists(directory)) return;
  let names: string[];
  try {
    names = host.list(directory);
  } catch (cause) {
    throw new TwzError('NotEmpty', `${directory} is no directory`, { directory }, cause);
  }
  if (names.length > 0) throw new TwzError('NotEmpty', `${directory} is not empty: it holds ${names[0] ?? ''}`, { directory });
}

export class SpaceDraft {
  readonly #host: Host;
  readonly #directory: string;
  readonly #draft: string;
  readonly #options: DraftOptions;
  readonly #lock: Lock;
  readonly #shelves = new Set<string>();

  /** Throws NotEmpty; SpaceBusy where another is building there. */
  constructor(host: Host, directory: string, options: DraftOptions) {
    demandEmpty(host, directory);
    this.#host = host;
    this.#directory = trimmed(directory);
    this.#draft = `${this.#directory}.draft`;
    this.#options = options;
    host.makeDirectory(`${this.#draft}/objects`);
    host.makeDirectory(`${this.#draft}/log`);
    this.#lock = host.lock(`${this.#draft}/lock`);
    this.#clear();
  }

  #clear(): void {
    const host = this.#host;
    const files = (path: string): void => {
      for (const name of host.exists(path) ? host.list(path) : []) host.remove(`${path}/${name}`);
    };
    for (const shelf of host.list(`${this.#draft}/objects`)) files(`${this.#draft}/objects/${shelf}`);
    files(`${this.#draft}/log`);
    files(`${this.#draft}/${QUARANTINE}`);
    for (const name of [CONTROL_FILE, BACKUPS_FILE]) host.remove(`${this.#draft}/${name}`);
  }

  object(id: ObjectId, bytes: Uint8Array): void {
    const path = `${this.#draft}/${objectPath(id)}`;
    const shelf = parentOf(path);
    if (!this.#shelves.has(shelf)) this.#host.makeDirectory(shelf);
    this.#shelves.add(shelf);
    writeSparse(this.#host, path, bytes);
  }

  /** A file beside the objects. */
  file(name: string, bytes: Uint8Array): void {
    const path = `${this.#draft}/${name}`;
    this.#host.makeDirectory(parentOf(path));
    writeSparse(this.#host, path, bytes);
  }

  /** Everything is there: the space appears. */
  finish(): void {
    const host = this.#host;
    const { space, segmentSize, lsn } = this.#options;
    const sequence = Math.floor(lsn / segmentSize) + 1;
    const segment = new Uint8Array(segmentSize);
    segment.set(encodeSegmentHeader(space, sequence, segmentSize));
    // All of it is written, zeros too: an append must not need room.
    const log = host.open(`${this.#draft}/log/${segmentName(sequence)}`, 'create');
    try {
      host.write(log, segment, 0);
    } finally {
      host.close(log);
    }
    const start = sequence * segmentSize + SEGMENT_HEADER;
    this.file(CONTROL_FILE, encodeControl({ generation: 2, space, lsn: start, chain: 0, segmentSize }));
    host.syncAll(this.#draft);
    host.rename(this.#draft, this.#directory);
    host.syncDirectory(parentOf(this.#directory));
    this.#lock.release();
  }

  /** Nothing is left but empty directories aside. */
  discard(): void {
    this.#clear();
    this.#lock.release();
  }
}

/** Brings what was committed of one object to its file. The log must be durable past all of it. */
import { LINE_WORDS, META, PAGE } from '../abi/format.ts';
import type { File } from '../host/host.ts';
import { headerChecksum } from './header.ts';
import type { Kernel } from './kernel.ts';
import type { Handle } from './object.ts';

/**
 * Writes the pages that the file does not have, and gives the file the object's size. Adds what must be synced for it, files and
 * directories, to `unsynced`. `written` is called while the file is open.
 */
export function applyChange(
  kernel: Kernel,
  h: Handle,
  unsynced: Set<string>,
  written: (file: File, pages: readonly number[]) => void,
): void {
  const { host, snapshots } = kernel;
  const path = kernel.path(h.id);
  // Others may show the file as it is: it stays the same one.
  const renewed = kernel.live?.alone === false && h.fileSize === 0 && host.exists(path);
  const file = renewed ? host.open(path, 'write') : openFor(kernel, h, path, unsynced);
  try {
    if (host.length(file) > h.size) host.truncate(file, h.size);
    const pages = renewed
      ? Array.from({ length: h.size / PAGE }, (_, page) => page)
      : [0, ...h.pendingPages.filter((page) => page !== 0).sort((a, b) => a - b)];
    for (const snapshot of snapshots) for (const page of pages) snapshot.detach(h.id, page);
    detachCopies(h, pages);
    writePages(kernel, h, file, pages);
    if (host.length(file) < h.size) host.truncate(file, h.size);
    unsynced.add(path);
    written(file, pages);
  } finally {
    host.close(file);
  }
}

function openFor({ host, directory }: Kernel, h: Handle, path: string, unsynced: Set<string>): File {
  if (h.fileSize > 0) return host.open(path, 'write');
  const parent = path.slice(0, path.lastIndexOf('/'));
  if (!host.exists(parent)) {
    host.makeDirectory(parent);
    unsynced.add(`${directory}/objects`);
  }
  unsynced.add(parent);
  // Left by an earlier object of the same ID, or by a checkpoint that was cut short. Not emptied: a snapshot may show it.
  if (host.exists(path)) host.remove(path);
  return host.open(path, 'create');
}

/** Writes the pages in runs; the metadata page gets its version and checksum on the way. */
function writePages({ host }: Kernel, h: Handle, file: File, pages: readonly number[]): void {
  host.write(file, stampedHeader(h), 0);
  for (let i = 1; i < pages.length;) {
    const first = pages[i] as number;
    let count = 1;
    while (i + count < pages.length && pages[i + count] === first + count) count++;
    if (h.raw === undefined) host.write(file, h.u8.subarray(first * PAGE, (first + count) * PAGE), first * PAGE);
    else for (let page = first; page < first + count; page++) host.write(file, h.raw.bytes(page), page * PAGE);
    i += count;
  }
}

/** Those that have no file of their own yet show this one, where they were not stored to. */
function detachCopies(h: Handle, pages: readonly number[]): void {
  for (const copy of h.copies ?? []) {
    if ((copy.fileSize === 0 || copy.stale) && copy.fileMapped) for (const page of pages) copy.detach(page);
    else h.copies?.delete(copy);
  }
}

/** The metadata page with the current version, or another, and its checksum. */
export function stampedHeader(h: Handle, version = h.version): Uint8Array {
  const words = h.raw === undefined ? h.words.slice(0, PAGE / 4) : h.raw.base(0).slice();
  words[META.version >> 2] = version | 0;
  words[(META.version >> 2) + 1] = Math.floor(version / 2 ** 32);
  words[META.checksum >> 2] = headerChecksum(words);
  return new Uint8Array(words.buffer, 0, PAGE);
}

/** Stores a run of the log: lines as they are, from a word on. */
export function storeRun(h: Handle, line: number, count: number, from: Int32Array, at: number): void {
  h.words.set(from.subarray(at, at + count * LINE_WORDS), line * LINE_WORDS);
  for (let page = line >>> 6; page <= (line + count - 1) >>> 6; page++) h.addPending(page);
}

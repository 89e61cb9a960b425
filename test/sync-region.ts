/** A file of words, mapped by several processes. */
import { Region } from '../src/host/futex.ts';
import type { LinuxHost } from '../src/host/linux/linux.ts';

export const REGION_BYTES = 65536;
/** Where the locks lie that parent and child share, in bytes, and the plain words that they protect, by index. */
export const PLACE = {
  mutex: 4096,
  rwLock: 8192,
  once: 4160,
  semaphore: 4224,
  seqLock: 4288,
  condition: 4352,
  total: 600,
  halves: 640,
} as const;

export function mapWords(host: LinuxHost, path: string, bytes: number = REGION_BYTES): Region {
  const window = host.openWindow();
  const file = host.open(path, 'create');
  if (host.length(file) < bytes) host.truncate(file, bytes);
  window.mapShared(0, bytes, file, 0);
  host.close(file);
  return new Region(host.futex, new Uint8Array(window.buffer, 0, bytes));
}

/** A file of words, mapped by several processes. */
import { Region } from '../src/host/futex.ts';
import type { LinuxHost } from '../src/host/linux/linux.ts';

export const REGION_BYTES = 65536;

export function mapWords(host: LinuxHost, path: string): Region {
  const window = host.openWindow();
  const file = host.open(path, 'create');
  if (host.length(file) < REGION_BYTES) host.truncate(file, REGION_BYTES);
  window.mapShared(0, REGION_BYTES, file, 0);
  host.close(file);
  return new Region(host.futex, new Uint8Array(window.buffer, 0, REGION_BYTES));
}

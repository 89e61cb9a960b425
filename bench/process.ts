/** What the kernel knows of this process, and of files. Zeros where there is no /proc. */
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

function line(path: string, pattern: RegExp): number {
  try {
    return Number(pattern.exec(readFileSync(path, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Bytes of the most memory that this process ever had resident, pages of mapped files included. */
export function peakResident(): number {
  return line('/proc/self/status', /VmHWM:\s+(\d+) kB/) * 1024;
}

/** Bytes of memory of its own: neither pages of files nor shared ones. */
export function anonymous(): number {
  return line('/proc/self/status', /RssAnon:\s+(\d+) kB/) * 1024;
}

/** Bytes that this process caused to be written to the disk, or to be written later. */
export function written(): number {
  return line('/proc/self/io', /^write_bytes: (\d+)/m);
}

/** Bytes that a file, or all files in a directory, have on the disk. */
export function onDisk(path: string): number {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.blocks * 512;
  return readdirSync(path).reduce((sum, name) => sum + onDisk(join(path, name)), 0);
}

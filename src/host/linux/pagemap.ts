/**
 * Which pages of a private mapping are copies? /proc/self/pagemap has 8 bytes a page: bit 63 present, bit 62 swapped, bit 61 a file
 * page or shared anonymous. A present page without bit 61, or a swapped one, is a private copy.
 *
 * Newer systems (Linux 6.7) look for such pages themselves, by PAGEMAP_SCAN, and pass over what is not mapped.
 */
import * as fs from 'node:fs';
import { PAGE } from '../../abi/format.ts';
import { systemError } from '../node-files.ts';
import { addressOf, libc } from './libc.ts';

const ENTRY = 8;
const BATCH = 8192;
const entries = new Uint8Array(BATCH * ENTRY);
let pagemap: number | undefined;

/** struct pm_scan_arg of linux/fs.h, in words of 64 bits, and its ioctl. */
const SCAN = {
  size: 0,
  start: 2,
  end: 3,
  walked: 4,
  vector: 5,
  vectorLength: 6,
  inverted: 8,
  all: 9,
  any: 10,
  given: 11,
  words: 12,
} as const;
const PAGEMAP_SCAN = 0xc0606610;
const IS_FILE = 4n;
const IS_PRESENT_OR_SWAPPED = 24n;
const FOUND_MAX = 512;
/** Start, end and categories of what was found. */
const found = new BigInt64Array(new SharedArrayBuffer(FOUND_MAX * 3 * 8));
const scan = new BigInt64Array(new SharedArrayBuffer(SCAN.words * 8));
const scanBytes = new Uint8Array(scan.buffer);
let scans: boolean | undefined;

/** Undefined where the system does not look for itself. */
function scanned(file: number, address: number, pages: number): Uint32Array | undefined {
  if (scans === undefined) {
    scan[SCAN.size] = BigInt(scan.byteLength);
    scan[SCAN.vector] = BigInt(addressOf(new Uint8Array(found.buffer)));
    scan[SCAN.vectorLength] = BigInt(FOUND_MAX);
    scan[SCAN.inverted] = scan[SCAN.all] = IS_FILE;
    scan[SCAN.any] = scan[SCAN.given] = IS_PRESENT_OR_SWAPPED;
  }
  const ranges: number[] = [];
  const end = address + pages * PAGE;
  for (let from = address; from < end; from = Number(scan[SCAN.walked])) {
    scan[SCAN.start] = BigInt(from);
    scan[SCAN.end] = BigInt(end);
    scan[SCAN.walked] = 0n;
    const count = libc().ioctl(file, PAGEMAP_SCAN, scanBytes);
    scans = count >= 0;
    if (count < 0) return undefined;
    for (let i = 0; i < count; i++) {
      const start = Number(found[i * 3]) - address;
      if (ranges[ranges.length - 1] === start) ranges.pop();
      else ranges.push(start);
      ranges.push(Number(found[i * 3 + 1]) - address);
    }
    if (count < FOUND_MAX) break;
  }
  return Uint32Array.from(ranges);
}

/** Page-aligned byte ranges [start, end) relative to `address`, flat. */
export function privatePages(address: number, pages: number): Uint32Array {
  const ranges: number[] = [];
  try {
    pagemap ??= fs.openSync('/proc/self/pagemap', 'r');
    const known = scans === false ? undefined : scanned(pagemap, address, pages);
    if (known !== undefined) return known;
    for (let first = 0; first < pages; first += BATCH) {
      const count = Math.min(BATCH, pages - first);
      fs.readSync(pagemap, entries, 0, count * ENTRY, (address / PAGE + first) * ENTRY);
      for (let i = 0; i < count; i++) {
        const top = (entries[i * ENTRY + 7] ?? 0) >>> 5;
        const isPrivate = (top & 4) !== 0 ? (top & 1) === 0 : (top & 2) !== 0;
        if (!isPrivate) continue;
        const start = (first + i) * PAGE;
        if (ranges.length > 0 && ranges[ranges.length - 1] === start) ranges[ranges.length - 1] = start + PAGE;
        else ranges.push(start, start + PAGE);
      }
    }
  } catch (cause) {
    throw systemError('read /proc/self/pagemap', cause);
  }
  return Uint32Array.from(ranges);
}

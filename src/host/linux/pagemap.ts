/**
 * Which pages of a private mapping are copies? /proc/self/pagemap has 8 bytes a page: bit 63 present, bit 62 swapped, bit 61 a file
 * page or shared anonymous. A present page without bit 61, or a swapped one, is a private copy.
 */
import * as fs from 'node:fs';
import { PAGE } from '../../abi/format.ts';
import { systemError } from '../node-files.ts';

const ENTRY = 8;
const BATCH = 8192;
const entries = new Uint8Array(BATCH * ENTRY);
let pagemap: number | undefined;

/** Page-aligned byte ranges [start, end) relative to `address`, flat. */
export function privatePages(address: number, pages: number): Uint32Array {
  const ranges: number[] = [];
  try {
    pagemap ??= fs.openSync('/proc/self/pagemap', 'r');
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

/**
 * The allocator in an object.
 *
 * Every page belongs to one size class, one large run, the FOT, the page map, or nobody; the page map says which. A class has a free
 * list through its blocks and a page that it cuts new blocks from. All of this is ordinary object data, changed by ordinary marked
 * stores: an allocation is committed or undone with the transaction that made it, so a crash neither leaks nor dangles.
 *
 * Freeing a block does not look at its page. When the object would have to grow and enough was freed since the last look, a sweep takes
 * the pages whose blocks are all free out of their lists and gives them back: see `sweep`.
 *
 * Invariants:
 *  1. A block of class c starts at a multiple of SIZE_CLASSES[c] in its page, and lies in that page.
 *  2. A block is either in use, in its class's free list once, or above its class's bump offset.
 *  3. A block is zero when it is handed out. A free block holds the offset of the next in its first word, and in its second a mark by
 *     which a second release of it is noticed.
 *  4. No page below the hint in the header is free; a hint of 0 says that none is.
 */
import { TwzError } from '../abi/errors.ts';
import { META, OBJECT_SIZE_MAX, PAGE, PAGE_KIND, PAGE_MAP, SIZE_CLASSES } from '../abi/format.ts';
import type { Handle } from './object.ts';

const CLASS_ENTRY = 16;
const LARGEST = SIZE_CLASSES[SIZE_CLASSES.length - 1] ?? 0;
/** Class by (size + 7) / 8. */
const CLASS_OF = new Uint8Array(LARGEST / 8 + 1);
for (let units = 0, c = 0; units < CLASS_OF.length; units++) {
  while ((SIZE_CLASSES[c] ?? LARGEST) < units * 8) c++;
  CLASS_OF[units] = c;
}

/** Offset of a zeroed block; 0 where the object would have to grow past `limit` bytes for it. */
export function allocateBlock(h: Handle, size: number, limit = Infinity): number {
  if (size > LARGEST) return allocatePages(h, Math.ceil(size / PAGE), PAGE_KIND.largeHead, limit);
  const c = CLASS_OF[(size + 7) >>> 3] as number;
  const blockSize = SIZE_CLASSES[c] as number;
  const entry = META.classes + c * CLASS_ENTRY;
  if (h.dirty[entry >>> 6] !== 1) h.mark(entry);
  const free = h.dv.getUint32(entry, true);
  if (free !== 0) {
    if (!holdsBlock(h, free, c, blockSize)) h.corrupt(entry, `free list of class ${blockSize} leads to ${free}`);
    h.markRange(free, blockSize);
    h.dv.setUint32(entry, h.dv.getUint32(free, true), true);
    h.dv.setUint32(entry + 12, h.dv.getUint32(entry + 12, true) + 1, true);
    h.u8.fill(0, free, free + blockSize);
    return free;
  }
  let bump = h.dv.getUint32(entry + 4, true);
  if (bump === 0 || bump + blockSize > h.dv.getUint32(entry + 8, true)) {
    bump = allocatePages(h, 1, PAGE_KIND.span | (c << 4), limit);
    if (bump === 0) return 0;
    h.setU32(entry + 8, bump + PAGE);
  } else if (!holdsBlock(h, bump, c, blockSize)) h.corrupt(entry + 4, `the unused rest of class ${blockSize} begins at ${bump}`);
  h.dv.setUint32(entry + 4, bump + blockSize, true);
  h.dv.setUint32(entry + 12, h.dv.getUint32(entry + 12, true) + 1, true);
  return bump;
}

/** Can a block of class `c` begin at `at`? What the free list and the bump offset say is not believed unseen. */
function holdsBlock(h: Handle, at: number, c: number, blockSize: number): boolean {
  const inPage = at & (PAGE - 1);
  return (
    inPage % blockSize === 0 &&
    inPage + blockSize <= PAGE &&
    at >= PAGE &&
    at + blockSize <= h.size &&
    pageEntry(h, at >>> 12) === (PAGE_KIND.span | (c << 4))
  );
}

export function releaseBlock(h: Handle, at: number): void {
  if (at < PAGE || at >= h.size) h.corrupt(at, 'not inside the object');
  const kind = pageEntry(h, at >>> 12);
  if ((kind & 15) !== PAGE_KIND.span) {
    const size = blockSizeAt(h, at);
    freePages(h, at >>> 12, size / PAGE);
    return;
  }
  const c = kind >>> 4;
  const size = SIZE_CLASSES[c];
  const inPage = at & (PAGE - 1);
  if (size === undefined || inPage % size !== 0 || inPage + size > PAGE) h.corrupt(at, 'no block begins here');
  const entry = META.classes + c * CLASS_ENTRY;
  const { dv } = h;
  const mark = freeMark(at);
  if (dv.getUint32(at + 4, true) === mark && isListed(h, at, entry)) h.corrupt(at, 'the block is free already');
  if (at >= dv.getUint32(entry + 4, true) && at < dv.getUint32(entry + 8, true)) h.corrupt(at, 'the block was never handed out');
  if (h.dirty[at >>> 6] !== 1) h.mark(at);
  if (h.dirty[entry >>> 6] !== 1) h.mark(entry);
  // In one line and one logged word with the link.
  dv.setUint32(at, dv.getUint32(entry, true), true);
  dv.setUint32(at + 4, mark, true);
  dv.setUint32(entry, at, true);
  dv.setUint32(entry + 12, dv.getUint32(entry + 12, true) - 1, true);
  h.released += size >>> 3;
}

/** What the second word of a free block holds. A block in use may hold it too, by chance. */
export function freeMark(at: number): number {
  return (at ^ 0xf4eeb10c) >>> 0;
}

/** Is it in the free list of its class? Slow: asked only where the mark says so. */
function isListed(h: Handle, at: number, entry: number): boolean {
  let left = h.size >>> 3;
  for (let free = h.dv.getUint32(entry, true); free !== 0 && left > 0; left--) {
    if (free === at) return true;
    if (free + 4 > h.size) return false;
    free = h.dv.getUint32(free, true);
  }
  return false;
}

/** Size of the block that begins at `at`. Throws PointerCorrupt where none does. */
export function blockSizeAt(h: Handle, at: number): number {
  if (at < PAGE || at >= h.size) h.corrupt(at, 'not inside the object');
  const page = at >>> 12;
  const kind = pageEntry(h, page);
  if ((kind & 15) === PAGE_KIND.span) {
    const size = SIZE_CLASSES[kind >>> 4];
    if (size === undefined || (at & (PAGE - 1)) % size !== 0) h.corrupt(at, 'no block begins here');
    return size;
  }
  if ((kind & 15) !== PAGE_KIND.largeHead || (at & (PAGE - 1)) !== 0) h.corrupt(at, 'no block begins here');
  let pages = 1;
  while ((page + pages) * PAGE < h.size && (pageEntry(h, page + pages) & 15) === PAGE_KIND.largeRest) pages++;
  return pages * PAGE;
}

// --- pages ------------------------------------------------------------------------------------------------------------------

/** Byte offset of a page's entry in the page map, or 0 where the map does not reach so far. */
export function pageEntryAt(h: Handle, page: number): number {
  if (page < PAGE_MAP.embedded) return META.pageMap + page * 2;
  const q = page - PAGE_MAP.embedded;
  const k = 31 - Math.clz32(q / PAGE_MAP.chunk0 + 1);
  const chunk = h.dv.getUint32(META.pageChunks + k * 4, true);
  if (chunk === 0) return 0;
  const at = chunk * PAGE + (q - PAGE_MAP.chunk0 * (2 ** k - 1)) * 2;
  if (at + 2 > h.size) h.corrupt(META.pageChunks + k * 4, 'page-map chunk outside the object');
  return at;
}

export function pageEntry(h: Handle, page: number): number {
  const at = pageEntryAt(h, page);
  return at === 0 ? PAGE_KIND.free : h.dv.getUint16(at, true);
}

function setPageEntry(h: Handle, page: number, kind: number): void {
  const at = pageEntryAt(h, page);
  if (at === 0) h.corrupt(META.pageChunks, `the page map does not reach page ${page}`);
  if (h.dirty[at >>> 6] !== 1) h.mark(at);
  h.dv.setUint16(at, kind, true);
}

/** Takes `count` zeroed pages in a row; the first gets `kind`. Returns their offset; 0 where the object would grow past `limit` bytes. */
export function allocatePages(h: Handle, count: number, kind: number, limit = Infinity): number {
  if (h.serial !== h.kernel.serial) h.kernel.enlist(h);
  let page = findFreePages(h, count);
  if (page === 0 && sweepPays(h) && sweep(h) > 0) page = findFreePages(h, count);
  if (page === 0) {
    if (limit !== Infinity && pagesAfter(h, count) * PAGE > limit) return 0;
    page = appendPages(h, count);
  } else {
    h.markRange(page * PAGE, count * PAGE);
    h.u8.fill(0, page * PAGE, (page + count) * PAGE);
  }
  setPageEntry(h, page, kind);
  for (let i = 1; i < count; i++) setPageEntry(h, page + i, (kind & 15) === PAGE_KIND.largeHead ? PAGE_KIND.largeRest : kind);
  return page * PAGE;
}

/** First free run of `count` pages; 0 where there is none. */
function findFreePages(h: Handle, count: number): number {
  const hint = h.dv.getUint32(META.pageHint, true);
  if (hint === 0) return 0;
  const searched = (h.searched ??= new Uint32Array(SEARCHED));
  const from = Math.max(1, hint, searched[Math.min(count, SEARCHED - 1)] as number);
  const pages = h.size / PAGE;
  let run = 0;
  for (let page = from; page < pages; page++) {
    run = pageEntry(h, page) === PAGE_KIND.free ? run + 1 : 0;
    if (run < count) continue;
    const first = page - count + 1;
    // One page: all before it are in use.
    if (count === 1 || first === hint) h.setU32(META.pageHint, page + 1);
    for (let n = count; n < SEARCHED; n++) searched[n] = Math.max(searched[n] as number, page + 1);
    return first;
  }
  if (count === 1) h.setU32(META.pageHint, 0);
  for (let n = count; n < SEARCHED; n++) searched[n] = pages;
  return 0;
}

function appendPages(h: Handle, count: number): number {
  let first = h.size / PAGE;
  for (;;) {
    const last = first + count - 1;
    const missing = missingChunk(h, last);
    if (missing === undefined) break;
    // The chunk is placed in front of the run; its own pages may need the chunk as well, which is why it is entered first.
    const pages = (PAGE_MAP.chunk0 * 2 * 2 ** missing) / PAGE;
    grow(h, first + pages);
    h.setU32(META.pageChunks + missing * 4, first);
    for (let i = 0; i < pages; i++) setPageEntry(h, first + i, PAGE_KIND.pageMap);
    first += pages;
  }
  grow(h, first + count);
  if (count <= APPENDED_MAX) h.append(first, count);
  return first;
}

/** Of more pages in a row than this, it is not taken for granted that all of them will be stored to. */
const APPENDED_MAX = 64;

/** Pages of the object after `appendPages(h, count)`. */
function pagesAfter(h: Handle, count: number): number {
  let pages = h.size / PAGE + count;
  let chunk = missingChunk(h, pages - 1);
  if (chunk === undefined) return pages;
  // Chunk k has 2^k pages, and maps as many times `chunk0`.
  for (; PAGE_MAP.embedded + PAGE_MAP.chunk0 * (2 ** chunk - 1) < pages; chunk++) pages += 2 ** chunk;
  return pages;
}

function missingChunk(h: Handle, page: number): number | undefined {
  if (page < PAGE_MAP.embedded) return undefined;
  const k = 31 - Math.clz32((page - PAGE_MAP.embedded) / PAGE_MAP.chunk0 + 1);
  for (let i = 0; i <= k; i++) if (h.dv.getUint32(META.pageChunks + i * 4, true) === 0) return i;
  return undefined;
}

function grow(h: Handle, pages: number): void {
  const size = pages * PAGE;
  if (size > OBJECT_SIZE_MAX) {
    throw new TwzError('ObjectTooLarge', `object ${h.id} would grow to ${size} bytes; the limit is ${OBJECT_SIZE_MAX}`, { id: h.id, size });
  }
  h.kernel.resize(h, size);
  h.setU32(META.size, size);
}

export function freePages(h: Handle, page: number, count: number): void {
  for (let i = 0; i < count; i++) setPageEntry(h, page + i, PAGE_KIND.free);
  const hint = h.dv.getUint32(META.pageHint, true);
  if (hint === 0 || page < hint) h.setU32(META.pageHint, page);
  const { searched } = h;
  if (searched === undefined) return;
  // The run that they are part of now is news for searches of up to its length, and for no others.
  let first = page;
  while (first > 1 && page - first < SEARCHED && pageEntry(h, first - 1) === PAGE_KIND.free) first--;
  let end = page + count;
  while (end * PAGE < h.size && end - page < SEARCHED && pageEntry(h, end) === PAGE_KIND.free) end++;
  for (let n = Math.min(SEARCHED - 1, end - first); n > 0; n--) searched[n] = Math.min(searched[n] as number, first);
}

/**
 * Lengths of runs that the handle remembers searches for: no run of n pages or more begins before page `searched[n]`. Longer runs are
 * searched for from the hint on; filling them takes longer than that.
 */
const SEARCHED = 64;

// --- sweeping ---------------------------------------------------------------------------------------------------------------

/** A sweep looks at every free block: worth it when an eighth of the object was freed since the last one. */
const SWEEP_SHARE = 8;

function sweepPays(h: Handle): boolean {
  // A handle that was opened anew does not know what was freed before.
  if (h.released < 0) h.released = freeBlockBytes(h) >>> 3;
  return h.released * 8 * SWEEP_SHARE >= h.size;
}

/** What `released` begins with. */
export const UNKNOWN: number = -(2 ** 30);

/** Bytes of the free blocks in pages of size classes. */
function freeBlockBytes(h: Handle): number {
  const pages = new Uint32Array(SIZE_CLASSES.length);
  for (let page = 1; page < h.size / PAGE; page++) {
    const entry = pageEntry(h, page);
    if ((entry & 15) === PAGE_KIND.span) pages[entry >>> 4] = (pages[entry >>> 4] ?? 0) + 1;
  }
  let bytes = 0;
  for (const [c, size] of SIZE_CLASSES.entries()) {
    const live = h.dv.getUint32(META.classes + c * CLASS_ENTRY + 12, true);
    bytes += Math.max(0, (pages[c] as number) * Math.floor(PAGE / size) - live) * size;
  }
  return bytes;
}

/** Gives every page back whose blocks are all free; returns how many those were. In a transaction. */
export function sweep(h: Handle): number {
  h.released = 0;
  const counts = new Uint16Array(h.size / PAGE);
  let given = 0;
  for (let c = 0; c < SIZE_CLASSES.length; c++) given += sweepClass(h, c, counts);
  return given;
}

/** `counts`: free blocks a page, so far of other classes. */
function sweepClass(h: Handle, c: number, counts: Uint16Array): number {
  const size = SIZE_CLASSES[c] as number;
  const each = Math.floor(PAGE / size);
  const entry = META.classes + c * CLASS_ENTRY;
  const emptied: number[] = [];
  const bump = h.dv.getUint32(entry + 4, true);
  const bumpPage = bump === 0 ? 0 : (h.dv.getUint32(entry + 8, true) >>> 12) - 1;
  if (bumpPage > 0 && bumpPage < counts.length) {
    counts[bumpPage] = each - Math.floor((bump - bumpPage * PAGE) / size);
    if (counts[bumpPage] === each) emptied.push(bumpPage);
  }
  for (let at = h.dv.getUint32(entry, true); at !== 0; at = h.dv.getUint32(at, true)) {
    if (!holdsBlock(h, at, c, size)) h.corrupt(entry, `free list of class ${size} leads to ${at}`);
    const count = ((counts[at >>> 12] as number) += 1);
    if (count > each) h.corrupt(entry, `free list of class ${size} comes to a block of page ${at >>> 12} twice`);
    if (count === each) emptied.push(at >>> 12);
  }
  if (emptied.length === 0) return 0;
  unlink(h, entry, counts, each);
  if (counts[bumpPage] === each && bumpPage > 0) {
    h.setU32(entry + 4, 0);
    h.setU32(entry + 8, 0);
  }
  for (const page of emptied) freePages(h, page, 1);
  return emptied.length;
}

/** Takes the blocks of pages that are wholly free out of a free list. Stores only the links that change. */
function unlink(h: Handle, entry: number, counts: Uint16Array, each: number): void {
  let link = entry;
  let linked = h.dv.getUint32(entry, true);
  for (let at = linked; at !== 0; at = h.dv.getUint32(at, true)) {
    if (counts[at >>> 12] === each) continue;
    if (linked !== at) h.setU32(link, at);
    link = at;
    linked = h.dv.getUint32(at, true);
  }
  if (linked !== 0) h.setU32(link, 0);
}

/** The block in use or free that `at` lies in; undefined where there is none. */
export function blockAround(h: Handle, at: number): { readonly at: number; readonly size: number } | undefined {
  if (at < PAGE || at >= h.size) return undefined;
  let page = at >>> 12;
  const kind = pageEntry(h, page);
  if ((kind & 15) === PAGE_KIND.span) {
    const size = SIZE_CLASSES[kind >>> 4];
    if (size === undefined) return undefined;
    const start = at - ((at & (PAGE - 1)) % size);
    return (start & (PAGE - 1)) + size > PAGE ? undefined : { at: start, size };
  }
  while ((pageEntry(h, page) & 15) === PAGE_KIND.largeRest) page--;
  if ((pageEntry(h, page) & 15) !== PAGE_KIND.largeHead) return undefined;
  return { at: page * PAGE, size: blockSizeAt(h, page * PAGE) };
}

/** Blocks in use. */
export function liveBlocks(h: Handle): number {
  let blocks = 0;
  for (let c = 0; c < SIZE_CLASSES.length; c++) blocks += h.dv.getUint32(META.classes + c * CLASS_ENTRY + 12, true);
  for (let page = 1; page < h.size / PAGE; page++) if ((pageEntry(h, page) & 15) === PAGE_KIND.largeHead) blocks++;
  return blocks;
}

/**
 * Compaction: blocks move together so that pages become empty, and what is empty at the end of the object is cut off.
 *
 * Planned first, on a picture of the object: (1) in each size class the fullest pages, and those that must stay, take the blocks of the
 * others; (2) from the end of the object on, pages and runs move to the first free place below. Then the bytes move, all of it by ordinary
 * marked stores. Who asked for it fixes the pointers up: `relocate` says where a place is afterwards.
 */
import { FOT, META, PAGE, PAGE_KIND, PAGE_MAP, SIZE_CLASSES } from '../abi/format.ts';
import { freeMark, pageEntryAt } from './allocator.ts';
import type { BlockMap } from './blocks.ts';
import type { Handle } from './object.ts';

const CLASS_ENTRY = 16;

interface Chunk {
  /** Where the header names its first page. */
  readonly at: number;
  readonly first: number;
  readonly pages: number;
  /** First page that a page-map chunk maps. */
  readonly maps: number;
}

export class Compaction {
  readonly #h: Handle;
  readonly #blocks: BlockMap;
  readonly #movable: (start: number) => boolean;
  /** Page-map entries as they will be. */
  readonly #entries: Uint16Array;
  /** By page of a size class, before whole pages move: 1 where a block will be in use. */
  readonly #inUse = new Map<number, Uint8Array>();
  /** Blocks that move one by one, before whole pages move. */
  readonly #moves = new Map<number, number>();
  /** By page that moves as a whole: where to. */
  readonly #pageMoves = new Map<number, number>();
  readonly #changed = new Set<number>();
  readonly #fotMoves: { readonly at: number; readonly to: number }[] = [];
  readonly #dropped: Chunk[] = [];
  /** By length: no run of that many free pages begins before this page. */
  readonly #searched = new Map<number, number>();
  /** Bytes of the object afterwards. */
  readonly size: number;

  /** `shorten`: move whole pages, too, so that the object can end earlier. */
  constructor(h: Handle, blocks: BlockMap, movable: (start: number) => boolean, shorten: boolean) {
    this.#h = h;
    this.#blocks = blocks;
    this.#movable = movable;
    this.#entries = blocks.entries.slice();
    for (const [page, slots] of blocks.inUse) this.#inUse.set(page, slots.slice());
    const pages = new Map<number, number[]>();
    for (const page of blocks.inUse.keys()) {
      const c = blocks.classAt(page * PAGE);
      const list = pages.get(c);
      if (list === undefined) pages.set(c, [page]);
      else list.push(page);
    }
    for (const [c, list] of pages) this.#gather(c, list);
    this.size = shorten ? Math.max(2, this.#settle() + 1) * PAGE : h.size;
  }

  // --- planning -----------------------------------------------------------------------------------------------------------

  /** Empties as many pages of a class as can be: the fullest keep their blocks and take the others'. */
  #gather(c: number, pages: number[]): void {
    const blockSize = SIZE_CLASSES[c] ?? PAGE;
    const live = new Map<number, number>();
    const stuck = new Set<number>();
    let total = 0;
    for (const page of pages) {
      const slots = this.#slots(page);
      let count = 0;
      for (let slot = 0; slot < slots.length; slot++) {
        if (slots[slot] === 0) continue;
        count++;
        if (!this.#movable(page * PAGE + slot * blockSize)) stuck.add(page);
      }
      live.set(page, count);
      total += count;
    }
    const count = (page: number): number => live.get(page) ?? 0;
    pages.sort((a, b) => Number(stuck.has(b)) - Number(stuck.has(a)) || count(b) - count(a) || a - b);
    const each = Math.floor(PAGE / blockSize);
    let kept = 0;
    while (kept < pages.length && (kept * each < total || stuck.has(pages[kept] as number))) kept++;
    if (kept === pages.length) return;
    this.#changed.add(c);
    const places = this.#places(pages.slice(0, kept), blockSize);
    for (const page of pages.slice(kept)) {
      for (const [slot, used] of this.#slots(page).entries()) {
        const to = used === 1 ? places.next().value : undefined;
        if (typeof to === 'number') this.#moves.set(page * PAGE + slot * blockSize, to);
      }
      this.#inUse.delete(page);
      this.#entries[page] = PAGE_KIND.free;
    }
  }

  #slots(page: number): Uint8Array {
    return this.#inUse.get(page) ?? new Uint8Array(0);
  }

  /** Free blocks of these pages, one after the other; each is taken. */
  *#places(pages: readonly number[], blockSize: number): Generator<number> {
    for (const page of pages) {
      const slots = this.#slots(page);
      for (let slot = 0; slot < slots.length; slot++) {
        if (slots[slot] !== 0) continue;
        slots[slot] = 1;
        yield page * PAGE + slot * blockSize;
      }
    }
  }

  /** Moves what is last to the first place that it fits into, until something has to stay. Returns the last page in use. */
  #settle(): number {
    const chunks = this.#chunks(META.pageChunks, PAGE_MAP.chunks, PAGE_MAP.chunk0 * 2, PAGE_MAP.chunk0, PAGE_MAP.embedded);
    const tables = this.#chunks(META.fotChunks, FOT.chunks, FOT.chunk0 * FOT.entry, 0, 0);
    let top = this.#entries.length - 1;
    for (; top > 1; top--) {
      const entry = this.#entries[top] as number;
      let moved = true;
      if ((entry & 15) === PAGE_KIND.span) moved = this.#pageStays(top) ? false : this.#move(top, 1) > 0;
      else if ((entry & 15) === PAGE_KIND.largeHead || (entry & 15) === PAGE_KIND.largeRest) {
        const head = this.#headOf(top);
        moved = this.#movable(head * PAGE) && this.#move(head, top - head + 1) > 0;
      } else if ((entry & 15) === PAGE_KIND.fot) moved = this.#moveTable(top, tables);
      else if ((entry & 15) === PAGE_KIND.pageMap) moved = this.#dropChunk(top, chunks);
      if (!moved) break;
    }
    return top;
  }

  #headOf(page: number): number {
    while (((this.#entries[page] ?? 0) & 15) === PAGE_KIND.largeRest) page--;
    return page;
  }

  #chunks(table: number, slots: number, bytes0: number, maps0: number, from: number): Chunk[] {
    const chunks: Chunk[] = [];
    for (let k = 0; k < slots; k++) {
      const at = table + k * 4;
      const first = this.#h.dv.getUint32(at, true);
      if (first !== 0) chunks.push({ at, first, pages: Math.ceil((bytes0 * 2 ** k) / PAGE), maps: from + maps0 * (2 ** k - 1) });
    }
    return chunks;
  }

  #pageStays(page: number): boolean {
    const blockSize = SIZE_CLASSES[(this.#entries[page] as number) >>> 4] ?? PAGE;
    // Blocks that were moved here may move on; those that lie here from the start are asked about.
    for (const [slot, used] of (this.#blocks.inUse.get(page) ?? []).entries())
      if (used === 1 && !this.#movable(page * PAGE + slot * blockSize)) return true;
    return false;
  }

  /**
   * First page of the place below that the run moves to; 0 where there is none. What has moved stays: there was no place before the one
   * that it took, and none comes up. So `relocate` looks once.
   */
  #move(first: number, count: number): number {
    let run = 0;
    for (let page = this.#searched.get(count) ?? 1; page < first; page++) {
      run = this.#entries[page] === PAGE_KIND.free ? run + 1 : 0;
      if (run < count) continue;
      const to = page - count + 1;
      this.#searched.set(count, page + 1);
      for (let i = 0; i < count; i++) {
        this.#entries[to + i] = this.#entries[first + i] as number;
        this.#entries[first + i] = PAGE_KIND.free;
        this.#pageMoves.set(first + i, to + i);
      }
      const c = (this.#entries[to] as number) >>> 4;
      if (((this.#entries[to] as number) & 15) === PAGE_KIND.span) this.#changed.add(c);
      return to;
    }
    return 0;
  }

  #moveTable(top: number, tables: readonly Chunk[]): boolean {
    const table = tables.find(({ first, pages }) => first + pages - 1 === top);
    const to = table === undefined ? 0 : this.#move(table.first, table.pages);
    if (table === undefined || to === 0) return false;
    this.#fotMoves.push({ at: table.at, to });
    return true;
  }

  /** A part of the page map that maps nothing but itself goes with what it mapped. */
  #dropChunk(top: number, chunks: readonly Chunk[]): boolean {
    const chunk = chunks.find(({ first, pages }) => first + pages - 1 === top);
    if (chunk === undefined) return false;
    for (let page = chunk.maps; page < chunk.first; page++) if (this.#entries[page] !== PAGE_KIND.free) return false;
    for (let page = chunk.first; page <= top; page++) this.#entries[page] = PAGE_KIND.free;
    this.#dropped.push(chunk);
    return true;
  }

  // --- what comes of it -----------------------------------------------------------------------------------------------------

  /** Where the byte at `at` will be. */
  relocate(at: number): number {
    const start = this.#blocks.classAt(at) < 0 ? at : this.#blocks.startOf(at);
    const to = (this.#moves.get(start) ?? start) + (at - start);
    const page = this.#pageMoves.get(to >>> 12);
    return page === undefined ? to : page * PAGE + (to & (PAGE - 1));
  }

  get idle(): boolean {
    return this.#changed.size === 0 && this.#pageMoves.size === 0 && this.#dropped.length === 0;
  }

  /** Moves the bytes and brings the allocator's own data to the new state. The size is the caller's. */
  apply(): { blocks: number; bytes: number } {
    const h = this.#h;
    const moved = this.#copy();
    for (const { at, to } of this.#fotMoves) h.setU32(at, to);
    for (const { at } of this.#dropped) h.setU32(at, 0);
    for (const [page, entry] of this.#entries.entries()) {
      const at = entry === this.#blocks.entries[page] ? 0 : pageEntryAt(h, page);
      if (at === 0) continue;
      h.mark(at);
      h.dv.setUint16(at, entry, true);
    }
    for (const c of this.#changed) this.#relist(c);
    const hint = this.#entries.subarray(0, this.size / PAGE).indexOf(PAGE_KIND.free, 1);
    h.setU32(META.pageHint, Math.max(0, hint));
    h.searched = undefined;
    h.released = 0;
    return moved;
  }

  /** All sources are read before the first place is written: a place may have been a source. */
  #copy(): { blocks: number; bytes: number } {
    const h = this.#h;
    const moves: { readonly to: number; readonly bytes: Uint8Array }[] = [];
    let blocks = 0;
    let bytes = 0;
    for (const start of this.#blocks.blocks()) {
      const to = this.relocate(start);
      if (to === start) continue;
      const size = this.#blocks.sizeOf(start);
      moves.push({ to, bytes: h.u8.slice(start, start + size) });
      blocks++;
      bytes += size;
    }
    for (const [from, to] of this.#pageMoves) {
      if (((this.#blocks.entries[from] ?? 0) & 15) === PAGE_KIND.fot)
        moves.push({ to: to * PAGE, bytes: h.u8.slice(from * PAGE, (from + 1) * PAGE) });
    }
    for (const { to, bytes: content } of moves) {
      h.markRange(to, content.length);
      h.u8.set(content, to);
    }
    return { blocks, bytes };
  }

  /** The free list of a class, anew and in order; no page of it is left to be cut. */
  #relist(c: number): void {
    const h = this.#h;
    const entry = META.classes + c * CLASS_ENTRY;
    const blockSize = SIZE_CLASSES[c] ?? PAGE;
    const free: number[] = [];
    for (const [page, slots] of this.#inUse) {
      if ((this.#entries[this.#pageMoves.get(page) ?? page] as number) >>> 4 !== c) continue;
      const at = (this.#pageMoves.get(page) ?? page) * PAGE;
      for (let slot = 0; slot < slots.length; slot++) if (slots[slot] === 0) free.push(at + slot * blockSize);
    }
    free.sort((a, b) => a - b);
    let link = entry;
    for (const at of free) {
      h.setU32(link, at);
      h.setU32(at + 4, freeMark(at));
      link = at;
    }
    h.setU32(link, 0);
    h.setU32(entry + 4, 0);
    h.setU32(entry + 8, 0);
  }
}

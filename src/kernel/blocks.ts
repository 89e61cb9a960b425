/** Which blocks of an object are in use: a picture of its allocator, taken at once for those who go through all of it. */
import { META, PAGE, PAGE_KIND, SIZE_CLASSES } from '../abi/format.ts';
import { pageEntry } from './allocator.ts';
import type { Handle } from './object.ts';

const CLASS_ENTRY = 16;

export class BlockMap {
  /** Page-map entry of each page. */
  readonly entries: Uint16Array;
  /** For each page of a size class: 1 where a block is in use. */
  readonly inUse = new Map<number, Uint8Array>();
  readonly size: number;

  constructor(h: Handle) {
    if (h.cold) h.warm();
    this.size = h.size;
    const pages = h.size / PAGE;
    this.entries = new Uint16Array(pages);
    for (let page = 0; page < pages; page++) {
      const entry = pageEntry(h, page);
      this.entries[page] = entry;
      const blockSize = (entry & 15) === PAGE_KIND.span ? SIZE_CLASSES[entry >>> 4] : undefined;
      if (blockSize !== undefined) this.inUse.set(page, new Uint8Array(Math.floor(PAGE / blockSize)).fill(1));
    }
    for (let c = 0; c < SIZE_CLASSES.length; c++) this.#free(h, c);
  }

  #free(h: Handle, c: number): void {
    const entry = META.classes + c * CLASS_ENTRY;
    const blockSize = SIZE_CLASSES[c] as number;
    const free = (at: number): void => {
      const slots = this.classAt(at) === c ? this.inUse.get(at >>> 12) : undefined;
      const slot = (at & (PAGE - 1)) / blockSize;
      if (slots?.[slot] !== 1) h.corrupt(entry, `the free blocks of class ${blockSize} lead to ${at}`);
      slots[slot] = 0;
    };
    const end = h.dv.getUint32(entry + 8, true);
    const bump = h.dv.getUint32(entry + 4, true);
    if (bump !== 0) for (let at = bump; at + blockSize <= end; at += blockSize) free(at);
    for (let at = h.dv.getUint32(entry, true); at !== 0; at = h.dv.getUint32(at, true)) free(at);
  }

  /** Size class of the page that holds `at`; -1 where it is of none. */
  classAt(at: number): number {
    const entry = this.entries[at >>> 12] ?? 0;
    return (entry & 15) === PAGE_KIND.span ? entry >>> 4 : -1;
  }

  /** Where the block in use begins that holds `at`; 0 where there is none. */
  startOf(at: number): number {
    if (at < PAGE || at >= this.size) return 0;
    let page = at >>> 12;
    const kind = (this.entries[page] ?? 0) & 15;
    if (kind === PAGE_KIND.span) {
      const blockSize = SIZE_CLASSES[this.classAt(at)] ?? PAGE;
      const slot = Math.floor((at & (PAGE - 1)) / blockSize);
      return this.inUse.get(page)?.[slot] === 1 ? page * PAGE + slot * blockSize : 0;
    }
    if (kind !== PAGE_KIND.largeHead && kind !== PAGE_KIND.largeRest) return 0;
    while (page > 1 && ((this.entries[page] ?? 0) & 15) === PAGE_KIND.largeRest) page--;
    return page * PAGE;
  }

  /** Bytes of the block that begins at `start`. */
  sizeOf(start: number): number {
    const c = this.classAt(start);
    if (c >= 0) return SIZE_CLASSES[c] ?? 0;
    return this.runAt(start >>> 12) * PAGE;
  }

  /** Pages of the large block whose first page this is. */
  runAt(page: number): number {
    let pages = 1;
    while (((this.entries[page + pages] ?? 0) & 15) === PAGE_KIND.largeRest) pages++;
    return pages;
  }

  /** Every block in use: where it begins. */
  *blocks(): Generator<number> {
    for (let page = 1; page < this.entries.length; page++) {
      const entry = this.entries[page] as number;
      if ((entry & 15) === PAGE_KIND.largeHead) yield page * PAGE;
      const slots = this.inUse.get(page);
      if (slots === undefined) continue;
      const blockSize = SIZE_CLASSES[entry >>> 4] ?? PAGE;
      for (let slot = 0; slot < slots.length; slot++) if (slots[slot] === 1) yield page * PAGE + slot * blockSize;
    }
  }
}

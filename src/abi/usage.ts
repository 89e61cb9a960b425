/** How an object's bytes are used: read from its page map and size classes, by the format alone. */
import { META, PAGE, PAGE_KIND, PAGE_MAP, SIZE_CLASSES } from './format.ts';

/** Blocks of one size. */
export interface ClassUsage {
  /** Bytes a block. */
  readonly size: number;
  /** Pages cut into such blocks. */
  readonly pages: number;
  /** Blocks in use. */
  readonly blocks: number;
  /** Blocks that could be handed out without another page. */
  readonly free: number;
}

export interface Usage {
  /** Bytes of the object: used, free, and what is left over at the ends of pages. */
  readonly size: number;
  /** Bytes in blocks in use, the metadata page and the tables. */
  readonly used: number;
  /** Bytes in free pages and in free blocks. */
  readonly free: number;
  readonly pages: {
    readonly total: number;
    readonly metadata: number;
    /** Cut into blocks of a size class. */
    readonly small: number;
    /** Of blocks that have pages of their own. */
    readonly large: number;
    /** Of the reference table and the page map. */
    readonly tables: number;
    readonly free: number;
  };
  /** Size classes that have pages. */
  readonly classes: readonly ClassUsage[];
  /** Blocks that have pages of their own. */
  readonly large: { readonly blocks: number; readonly bytes: number };
  /** The share of the object's bytes that lies in free blocks: of use for blocks of that size only, until all of a page is free. */
  readonly fragmentation: number;
}

/** `dv` shows an object from its metadata page on. What does not fit the format counts as free. */
export function usageOf(dv: DataView): Usage {
  const total = Math.floor(Math.min(dv.getUint32(META.size, true), dv.byteLength) / PAGE);
  const kinds = new Uint32Array(16);
  const spans = new Uint32Array(64);
  let largeBlocks = 0;
  for (let page = 1; page < total; page++) {
    const entry = entryOf(dv, page);
    const kind = entry & 15;
    kinds[kind] = (kinds[kind] ?? 0) + 1;
    if (kind === PAGE_KIND.span) spans[(entry >>> 4) & 63] = (spans[(entry >>> 4) & 63] ?? 0) + 1;
    else if (kind === PAGE_KIND.largeHead) largeBlocks++;
  }
  const of = (kind: number): number => kinds[kind] ?? 0;
  const classes: ClassUsage[] = [];
  for (const [c, size] of SIZE_CLASSES.entries()) {
    const pages = spans[c] ?? 0;
    if (pages === 0) continue;
    const room = pages * Math.floor(PAGE / size);
    const blocks = Math.min(room, dv.getUint32(META.classes + c * 16 + 12, true));
    classes.push({ size, pages, blocks, free: room - blocks });
  }
  const large = of(PAGE_KIND.largeHead) + of(PAGE_KIND.largeRest);
  const tables = of(PAGE_KIND.fot) + of(PAGE_KIND.pageMap);
  const small = of(PAGE_KIND.span);
  const freePages = total - 1 - large - tables - small;
  const inBlocks = classes.reduce((sum, { size, blocks }) => sum + size * blocks, 0);
  const freeBlocks = classes.reduce((sum, { size, free }) => sum + size * free, 0);
  return {
    size: total * PAGE,
    used: (1 + large + tables) * PAGE + inBlocks,
    free: freePages * PAGE + freeBlocks,
    pages: { total, metadata: 1, small, large, tables, free: freePages },
    classes,
    large: { blocks: largeBlocks, bytes: large * PAGE },
    fragmentation: total === 0 ? 0 : freeBlocks / (total * PAGE),
  };
}

function entryOf(dv: DataView, page: number): number {
  if (page < PAGE_MAP.embedded) return dv.getUint16(META.pageMap + page * 2, true);
  const q = page - PAGE_MAP.embedded;
  const k = 31 - Math.clz32(q / PAGE_MAP.chunk0 + 1);
  const chunk = dv.getUint32(META.pageChunks + k * 4, true);
  const at = chunk * PAGE + (q - PAGE_MAP.chunk0 * (2 ** k - 1)) * 2;
  return chunk === 0 || at + 2 > dv.byteLength ? PAGE_KIND.free : dv.getUint16(at, true);
}

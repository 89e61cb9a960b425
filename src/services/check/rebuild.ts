/**
 * Rebuilds the bookkeeping of one object from what can be trusted, and never the other way: memory whose state is in doubt counts as
 * in use, so that nothing that may be data is handed out again. What is lost that way is room, not data.
 */
import { FOT, META, PAGE, PAGE_KIND, PAGE_MAP } from '../../abi/format.ts';
import { CLASSES, type ObjectImage } from './object-image.ts';
import { metaChecksum } from './object.ts';

/** Changes the image's bytes; returns what was done. */
export function rebuildObject(image: ObjectImage): string[] {
  const done: string[] = [];
  const pages = rebuildPageMap(image);
  if (pages > 0) done.push(`set page-map entries: ${pages}`);
  const lists = rebuildAllocator(image);
  if (lists > 0) done.push(`rebuilt size classes: ${lists}`);
  if (rebuildFotFreeList(image)) done.push('rebuilt the free list of the FOT');
  return done;
}

/** Gives the metadata page the checksum that it has. */
export function stamp(image: ObjectImage): void {
  image.dv.setUint32(META.checksum, metaChecksum(image.bytes), true);
}

function tableOwners(image: ObjectImage): Map<number, number> {
  const owners = new Map<number, number>();
  const enter = (base: number, slots: number, first: number, item: number, kind: number): void => {
    for (let k = 0; k < slots; k++) {
      const page = image.u32(base + k * 4);
      const count = Math.ceil((first * item * 2 ** k) / PAGE);
      if (page === 0 || page + count > image.pages) continue;
      for (let i = 0; i < count; i++) owners.set(page + i, kind);
    }
  };
  enter(META.fotChunks, FOT.chunks, FOT.chunk0, FOT.entry, PAGE_KIND.fot);
  enter(META.pageChunks, PAGE_MAP.chunks, PAGE_MAP.chunk0, 2, PAGE_KIND.pageMap);
  owners.set(0, PAGE_KIND.meta);
  return owners;
}

function rebuildPageMap(image: ObjectImage): number {
  const owners = tableOwners(image);
  let changed = 0;
  let before: number = PAGE_KIND.meta;
  for (let page = 0; page < image.pages; page++) {
    const at = image.pageEntryAt(page);
    const entry = image.pageEntry(page);
    const right = rightEntry(entry, before, owners.get(page));
    if (right !== entry && at !== 0) {
      image.dv.setUint16(at, right, true);
      changed++;
    }
    before = right & 15;
  }
  return changed;
}

/** What a page's entry must be. A page in doubt becomes a run of its own, which nobody will give away. */
function rightEntry(entry: number, before: number, owner: number | undefined): number {
  if (owner !== undefined) return owner;
  const kind = entry & 15;
  switch (kind) {
    case PAGE_KIND.free:
    case PAGE_KIND.largeHead:
      return kind;
    case PAGE_KIND.largeRest:
      return before === PAGE_KIND.largeHead || before === PAGE_KIND.largeRest ? kind : PAGE_KIND.largeHead;
    case PAGE_KIND.span:
      return entry >>> 4 < CLASSES ? entry : PAGE_KIND.largeHead;
    default:
      return PAGE_KIND.largeHead;
  }
}

function rebuildAllocator(image: ObjectImage): number {
  const spans = new Uint32Array(CLASSES);
  for (let page = 1; page < image.pages; page++) {
    const entry = image.pageEntry(page);
    if ((entry & 15) === PAGE_KIND.span) spans[entry >>> 4] = (spans[entry >>> 4] ?? 0) + 1;
  }
  let changed = 0;
  for (let c = 0; c < CLASSES; c++) if (rebuildClass(image, c, spans[c] ?? 0)) changed++;
  return changed;
}

function rebuildClass(image: ObjectImage, c: number, pages: number): boolean {
  const { at, blockSize, free, bump, end, live } = image.classRecord(c);
  const { dv } = image;
  const isOurs = (block: number): boolean =>
    block >= PAGE && block < image.size && image.pageEntry(Math.floor(block / PAGE)) === (PAGE_KIND.span | (c << 4));
  let changed = false;
  let rest = 0;
  const first = end - PAGE;
  const restIsSound = bump !== 0 && end % PAGE === 0 && bump >= first && bump <= end && (bump - first) % blockSize === 0 && isOurs(first);
  if (restIsSound) rest = Math.floor((end - bump) / blockSize);
  else if (bump !== 0 || end !== 0) {
    dv.setUint32(at + 4, 0, true);
    dv.setUint32(at + 8, 0, true);
    changed = true;
  }
  const listed = new Set<number>();
  let from = at;
  for (let block = free; block !== 0; block = image.u32(block)) {
    const aligned = (block % PAGE) % blockSize === 0 && (block % PAGE) + blockSize <= PAGE;
    const unused = restIsSound && block >= bump && block < end;
    if (!isOurs(block) || !aligned || unused || listed.has(block)) {
      // What came after is lost to the allocator and safe.
      dv.setUint32(from, 0, true);
      changed = true;
      break;
    }
    listed.add(block);
    from = block;
  }
  const inUse = pages * Math.floor(PAGE / blockSize) - listed.size - rest;
  if (inUse !== live) {
    dv.setUint32(at + 12, inUse, true);
    changed = true;
  }
  return changed;
}

function rebuildFotFreeList(image: ObjectImage): boolean {
  const before = image.bytes.slice();
  let head = 0;
  for (let index = Math.min(image.u32(META.fotCount), image.size / FOT.entry) - 1; index >= 1; index--) {
    const entry = image.fotEntry(index);
    if (entry === undefined || entry.used) continue;
    image.bytes.fill(0, entry.at, entry.at + FOT.entry);
    image.dv.setUint32(entry.at + FOT.next, head, true);
    head = index;
  }
  if (isSound(before, image)) {
    image.bytes.set(before);
    return false;
  }
  image.dv.setUint32(META.fotFree, head, true);
  return true;
}

/** Did the free list, as it was, hold every free entry once? */
function isSound(before: Uint8Array, image: ObjectImage): boolean {
  const dv = new DataView(before.buffer, before.byteOffset, before.length);
  const free = new Set<number>();
  const count = image.u32(META.fotCount);
  for (let index = 1; index < count; index++) {
    const entry = image.fotEntry(index);
    if (entry === undefined) break;
    if (entry.used) continue;
    free.add(index);
    for (let i = 0; i < FOT.next; i++) if (before[entry.at + i] !== 0) return false;
  }
  for (let index = dv.getUint32(META.fotFree, true); index !== 0;) {
    const entry = image.fotEntry(index);
    if (entry === undefined || !free.delete(index)) return false;
    index = dv.getUint32(entry.at + FOT.next, true);
  }
  return free.size === 0;
}

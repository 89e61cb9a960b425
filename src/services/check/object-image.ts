/**
 * One object as the checker sees it: plain bytes, read by the format alone. Nothing here trusts a value that it has not bounded.
 *
 * This is a second reader of the format, apart from the kernel's on purpose: what one writes wrongly the other does not accept.
 */
import { FOT, FOT_FLAG, META, PAGE, PAGE_KIND, PAGE_MAP, SIZE_CLASSES, TIES_MAX } from '../../abi/format.ts';
import { NULL_ID, readId, type ObjectId } from '../../abi/id.ts';

const CLASS_ENTRY = 16;
export const CLASSES = SIZE_CLASSES.length;

export interface FotRecord {
  readonly index: number;
  readonly at: number;
  readonly flags: number;
  readonly count: number;
  readonly next: number;
  readonly used: boolean;
  readonly id: ObjectId | undefined;
  readonly path: string | undefined;
  readonly resolver: string | undefined;
}

export interface ClassRecord {
  readonly at: number;
  readonly blockSize: number;
  readonly free: number;
  readonly bump: number;
  readonly end: number;
  readonly live: number;
}

/** Position of item `q` in chunks that double, the first of `first` items. */
export function chunkOf(q: number, first: number): { chunk: number; offset: number } {
  const chunk = Math.floor(Math.log2(q / first + 1));
  return { chunk, offset: q - first * (2 ** chunk - 1) };
}

export class ObjectImage {
  readonly bytes: Uint8Array;
  readonly dv: DataView;

  /** `bytes` has at least a metadata page. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  u16(at: number): number {
    return at >= 0 && at + 2 <= this.bytes.length ? this.dv.getUint16(at, true) : 0;
  }

  u32(at: number): number {
    return at >= 0 && at + 4 <= this.bytes.length ? this.dv.getUint32(at, true) : 0;
  }

  u64(at: number): number {
    return this.u32(at) + this.u32(at + 4) * 2 ** 32;
  }

  idAt(at: number): ObjectId {
    return at + 16 <= this.bytes.length ? readId(this.bytes, at) : NULL_ID;
  }

  get id(): ObjectId {
    return this.idAt(META.id);
  }

  /** Whole pages that are really there. */
  get pages(): number {
    return Math.floor(Math.min(this.u32(META.size), this.bytes.length) / PAGE);
  }

  get size(): number {
    return this.pages * PAGE;
  }

  get ties(): ObjectId[] {
    const count = Math.min(this.u32(META.tieCount), TIES_MAX);
    return Array.from({ length: count }, (_, i) => this.idAt(META.ties + i * 16));
  }

  /** Where the page map keeps a page's entry; 0 where the map does not reach so far or its chunk lies outside the object. */
  pageEntryAt(page: number): number {
    if (page < PAGE_MAP.embedded) return META.pageMap + page * 2;
    const { chunk, offset } = chunkOf(page - PAGE_MAP.embedded, PAGE_MAP.chunk0);
    if (chunk >= PAGE_MAP.chunks) return 0;
    const first = this.u32(META.pageChunks + chunk * 4);
    const at = first * PAGE + offset * 2;
    return first === 0 || at + 2 > this.size ? 0 : at;
  }

  /** The page map's entry: kind in the low 4 bits, size class above. */
  pageEntry(page: number): number {
    const at = this.pageEntryAt(page);
    return at === 0 ? PAGE_KIND.free : this.u16(at);
  }

  /** Where a FOT entry lies; 0 where the table does not reach so far or its chunk lies outside the object. */
  fotAt(index: number): number {
    if (index < FOT.embedded) return META.fot + index * FOT.entry;
    const { chunk, offset } = chunkOf(index - FOT.embedded, FOT.chunk0);
    if (chunk >= FOT.chunks) return 0;
    const first = this.u32(META.fotChunks + chunk * 4);
    const at = first * PAGE + offset * FOT.entry;
    return first === 0 || at + FOT.entry > this.size ? 0 : at;
  }

  /** A text in the object: length first, then UTF-8. Undefined where it lies outside, is too long or is not UTF-8. */
  textAt(at: number, longest = 1 << 20): string | undefined {
    if (at < PAGE || at + 4 > this.size) return undefined;
    const length = this.u32(at);
    if (length > longest || at + 4 + length > this.size) return undefined;
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.bytes.slice(at + 4, at + 4 + length));
    } catch {
      return undefined;
    }
  }

  fotEntry(index: number): FotRecord | undefined {
    const at = this.fotAt(index);
    if (at === 0) return undefined;
    const flags = this.u32(at + FOT.flags);
    const used = (flags & FOT_FLAG.used) !== 0;
    const named = used && (flags & FOT_FLAG.name) !== 0;
    const resolverAt = this.u32(at + FOT.resolver);
    return {
      index,
      at,
      flags,
      count: this.u32(at + FOT.count),
      next: this.u32(at + FOT.next),
      used,
      id: used && !named ? this.idAt(at) : undefined,
      path: named ? this.textAt(this.u32(at), 65536) : undefined,
      resolver: !named ? undefined : resolverAt === 0 ? '' : this.textAt(resolverAt, 65536),
    };
  }

  /** Entries in use. */
  *fotEntries(): Generator<FotRecord> {
    const count = Math.min(this.u32(META.fotCount), this.size / FOT.entry);
    for (let index = 1; index < count; index++) {
      const entry = this.fotEntry(index);
      if (entry?.used === true) yield entry;
    }
  }

  classRecord(c: number): ClassRecord {
    const at = META.classes + c * CLASS_ENTRY;
    return {
      at,
      blockSize: SIZE_CLASSES[c] ?? 0,
      free: this.u32(at),
      bump: this.u32(at + 4),
      end: this.u32(at + 8),
      live: this.u32(at + 12),
    };
  }
}

/** A decoded pointer: FOT index in the upper 24 bits, offset in the lower 40. */
export function readPointer(image: ObjectImage, at: number): { index: number; offset: number } {
  const high = image.u32(at + 4);
  return { index: high >>> 8, offset: (high & 0xff) * 2 ** 32 + image.u32(at) };
}

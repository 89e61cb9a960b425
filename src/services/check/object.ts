/**
 * The invariants of one object's bytes, checked in this order, each on the ground that the ones before have prepared:
 *
 *  1. header: magic, format, size, checksum, ID, content hash
 *  2. page map: every page has one owner, runs are whole, chunks are where the table says
 *  3. allocator: free lists and unused rests lie in pages of their class, and nothing is in them twice
 *  4. FOT: entries are well formed, the free list holds exactly the free ones
 *  5. root, schema text and ties lie where they can
 */
import { crc32c } from '../../abi/crc32c.ts';
import {
  FLAG,
  FOT,
  FOT_FLAG,
  FOT_MAX,
  KIND,
  META,
  OBJECT_FORMAT,
  OBJECT_MAGIC,
  OBJECT_SIZE_MAX,
  PAGE,
  PAGE_KIND,
  PAGE_MAP,
  RIGHTS_ALL,
  SIZE_CLASSES,
  TIES_MAX,
} from '../../abi/format.ts';
import { NULL_ID, foldId, type ObjectId } from '../../abi/id.ts';
import type { Host } from '../../host/host.ts';
import { readableForwards } from '../evolution/forwards.ts';
import { Findings, type FindingName } from './findings.ts';
import { CLASSES, ObjectImage, type ClassRecord } from './object-image.ts';

const KNOWN_FLAGS = FLAG.deleted | FLAG.counted | FLAG.raw | FLAG.ownKeys | FLAG.replica;

/** What the rest of the check needs to know of an object. */
export interface ObjectFacts {
  readonly image: ObjectImage;
  /** Which blocks are free, one bit for each 8 bytes. */
  readonly free: Uint8Array;
  /** The header can be trusted, so the kernel would open it. */
  readonly usable: boolean;
}

/** The state of the object as `checkObject` walks through it. */
class Inspection {
  readonly host: Host;
  readonly id: ObjectId;
  readonly image: ObjectImage;
  readonly findings: Findings;
  readonly free: Uint8Array;
  errors = 0;

  constructor(host: Host, id: ObjectId, image: ObjectImage, findings: Findings) {
    this.host = host;
    this.id = id;
    this.image = image;
    this.findings = findings;
    this.free = new Uint8Array(Math.ceil(image.size / 64));
  }

  report(name: FindingName, at: number, message: string, expected?: string): void {
    this.errors++;
    this.findings.add(name, message, { object: this.id, at, expected });
  }

  isFree(at: number): boolean {
    return ((this.free[at >>> 6] ?? 0) & (1 << ((at >>> 3) & 7))) !== 0;
  }

  setFree(at: number): void {
    this.free[at >>> 6] = (this.free[at >>> 6] ?? 0) | (1 << ((at >>> 3) & 7));
  }
}

export interface ObjectOptions {
  /** Bytes in the file, where the image was read from one that has not been changed by the log since. */
  readonly stamped: boolean;
}

/** Checks one object. `bytes` has at least a metadata page. */
export function checkObject(host: Host, id: ObjectId, bytes: Uint8Array, findings: Findings, options: ObjectOptions): ObjectFacts {
  const image = new ObjectImage(bytes);
  const inspection = new Inspection(host, id, image, findings);
  const usable = checkHeader(inspection, options);
  // Without a header that holds, everything below would only repeat that.
  if (usable) {
    checkPageMap(inspection);
    checkAllocator(inspection);
    checkFot(inspection);
    checkRoot(inspection);
  }
  return { image, free: inspection.free, usable };
}

/** What the rest of the check needs to know of an object that was checked before. */
export function factsOf(host: Host, id: ObjectId, bytes: Uint8Array): ObjectFacts {
  const image = new ObjectImage(bytes);
  const inspection = new Inspection(host, id, image, new Findings());
  checkAllocator(inspection);
  return { image, free: inspection.free, usable: true };
}

// --- 1: header --------------------------------------------------------------------------------------------------------------

function checkHeader(it: Inspection, options: ObjectOptions): boolean {
  const { image } = it;
  const hex = (n: number): string => `0x${n.toString(16).padStart(8, '0')}`;
  const magic = image.u32(META.magic);
  if (magic !== OBJECT_MAGIC) {
    it.report('MetaMagic', META.magic, `the magic number is ${hex(magic)}`, hex(OBJECT_MAGIC));
    return false;
  }
  const format = image.u32(META.format);
  if (format !== OBJECT_FORMAT) {
    it.report('MetaVersion', META.format, `the format version is ${format}`, String(OBJECT_FORMAT));
    return false;
  }
  if (options.stamped) {
    const stored = image.u32(META.checksum);
    const actual = metaChecksum(image.bytes);
    if (stored !== actual)
      it.report('MetaChecksum', META.checksum, `the checksum is ${hex(stored)}, the page gives ${hex(actual)}`, hex(actual));
  }
  checkFields(it);
  checkIdentity(it);
  return it.errors === 0;
}

/** CRC-32C of the metadata page with the checksum's own field zero. */
export function metaChecksum(bytes: Uint8Array): number {
  const page = bytes.slice(0, PAGE);
  page.fill(0, META.checksum, META.checksum + 4);
  return crc32c(new Int32Array(page.buffer), 0, PAGE / 4, 0);
}

function checkFields(it: Inspection): void {
  const { image } = it;
  const size = image.u32(META.size);
  if (size < PAGE || size > OBJECT_SIZE_MAX || size % PAGE !== 0) {
    it.report('MetaField', META.size, `the size is ${size}`, `a multiple of ${PAGE} up to ${OBJECT_SIZE_MAX}`);
  } else if (size > image.bytes.length) {
    it.report('FileTruncated', image.bytes.length, `the file has ${image.bytes.length} bytes`, `${size} bytes`);
  } else if (size < image.bytes.length) {
    // Not an error of the header: a crash may leave it so, and all that counts is there.
    it.findings.add('FileTooLong', `the file has ${image.bytes.length} bytes`, { object: it.id, at: size, expected: `${size} bytes` });
  }
  const kind = image.u32(META.kind);
  if (!Object.values(KIND).some((known) => known === kind)) {
    it.report(
      'MetaField',
      META.kind,
      `the kind is ${kind}`,
      Object.entries(KIND)
        .map(([name, n]) => `${n} (${name})`)
        .join(', '),
    );
  }
  const rights = image.u32(META.rights);
  if ((rights & ~RIGHTS_ALL) !== 0) it.report('MetaField', META.rights, `the default rights are ${rights}`, `bits of ${RIGHTS_ALL}`);
  const flags = image.u32(META.flags);
  if ((flags & ~KNOWN_FLAGS) !== 0) it.report('MetaField', META.flags, `the flags are ${flags}`, `bits of ${KNOWN_FLAGS}`);
  for (const [at, what] of [
    [META.tail, 'the end of the log'],
    [META.row, 'the directory of the log'],
    [META.ledger, 'the list of appends'],
  ] as const) {
    const place = image.u32(at);
    if (place === 0) continue;
    if (kind !== KIND['append-only']) it.report('MetaField', at, `${what} is at ${place}, and the object is not append-only`, '0');
    else if (place < PAGE || place > size) it.report('MetaField', at, `${what} is at ${place}`, `a place in the object, of ${size} bytes`);
  }
  if (kind !== KIND.progressive && image.idAt(META.merge) !== NULL_ID)
    it.report('MetaField', META.merge, 'merge code is named, and the object is not progressive', 'zeros');
  const ties = image.u32(META.tieCount);
  if (ties > TIES_MAX) it.report('MetaField', META.tieCount, `there are ${ties} ties`, `at most ${TIES_MAX}`);
  const entries = image.u32(META.fotCount);
  if (entries > FOT_MAX) it.report('MetaField', META.fotCount, `the FOT has ${entries} entries`, `at most ${FOT_MAX}`);
}

/** ID = fold(SHA-256(nonce 16, key 16, rights 4, kind 4, zero 8)). */
export function boundId(host: Host, image: ObjectImage): ObjectId {
  const input = new Uint8Array(48);
  input.set(image.bytes.subarray(META.nonce, META.nonce + 16), 0);
  input.set(image.bytes.subarray(META.key, META.key + 16), 16);
  input.set(image.bytes.subarray(META.rights, META.rights + 4), 32);
  input.set(image.bytes.subarray(META.kind, META.kind + 4), 36);
  return foldId(host.sha256(input));
}

/** The nonce of an immutable object: fold(SHA-256(the metadata page without ID, nonce, version and checksum; the data)). */
export function contentNonce(host: Host, image: ObjectImage): ObjectId {
  const meta = image.bytes.slice(0, PAGE);
  meta.fill(0, META.id, META.id + 32);
  meta.fill(0, META.version, META.version + 8);
  meta.fill(0, META.checksum, META.checksum + 4);
  return foldId(host.sha256(meta, image.bytes.subarray(PAGE, image.size)));
}

function checkIdentity(it: Inspection): void {
  const { host, image } = it;
  const stored = image.id;
  if (stored !== it.id) it.report('IdMismatch', META.id, `the header says ${stored}`, it.id);
  const bound = boundId(host, image);
  if (bound !== stored) it.report('IdForged', META.id, `nonce, key, rights and kind give ${bound}`, stored);
  if (image.u32(META.kind) !== KIND.immutable || it.errors > 0) return;
  const nonce = contentNonce(host, image);
  if (nonce !== image.idAt(META.nonce)) it.report('ContentMismatch', PAGE, `the content hashes to ${nonce}`, image.idAt(META.nonce));
}

// --- 2: page map ------------------------------------------------------------------------------------------------------------

const KIND_NAMES: readonly string[] = ['free', 'metadata', 'span', 'large run', 'rest of a large run', 'FOT', 'page map'];

/** The chunks that a table in the metadata page lists, by first page: how many pages and which kind they must have. */
function chunks(it: Inspection, table: 'fot' | 'pageMap'): Map<number, number> {
  const { image } = it;
  const [slots, base, first, item] =
    table === 'fot'
      ? ([FOT.chunks, META.fotChunks, FOT.chunk0, FOT.entry] as const)
      : ([PAGE_MAP.chunks, META.pageChunks, PAGE_MAP.chunk0, 2] as const);
  const name = table === 'fot' ? 'FotChunk' : 'PageMapChunk';
  const found = new Map<number, number>();
  for (let k = 0; k < slots; k++) {
    const page = image.u32(base + k * 4);
    if (page === 0) continue;
    const pages = Math.ceil((first * item * 2 ** k) / PAGE);
    if (page + pages > image.pages)
      it.report(name, base + k * 4, `chunk ${k} takes pages ${page} to ${page + pages - 1}`, `pages 1 to ${image.pages - 1}`);
    else found.set(page, pages);
  }
  return found;
}

function checkPageMap(it: Inspection): void {
  const { image } = it;
  const owner = new Uint8Array(image.pages);
  owner[0] = PAGE_KIND.meta;
  for (const [table, kind] of [
    ['fot', PAGE_KIND.fot],
    ['pageMap', PAGE_KIND.pageMap],
  ] as const) {
    for (const [first, pages] of chunks(it, table)) {
      for (let page = first; page < first + pages; page++) {
        if (owner[page] !== 0)
          it.report(
            'PageMapOverlap',
            image.pageEntryAt(page),
            `page ${page} is ${KIND_NAMES[owner[page] ?? 0]} and ${KIND_NAMES[kind]}`,
            'one owner',
          );
        owner[page] = kind;
      }
    }
  }
  let before: number = PAGE_KIND.meta;
  for (let page = 0; page < image.pages; page++) {
    const entry = image.pageEntry(page);
    checkPageEntry(it, page, entry, before, owner[page] ?? 0);
    before = entry & 15;
  }
}

function checkPageEntry(it: Inspection, page: number, entry: number, before: number, owner: number): void {
  const at = it.image.pageEntryAt(page);
  const kind = entry & 15;
  const name = KIND_NAMES[kind];
  if (name === undefined) {
    it.report('PageMapEntry', at, `page ${page} has the kind ${kind}`, '0 to 6');
    return;
  }
  if (kind === PAGE_KIND.span) {
    if (entry >>> 4 >= CLASSES) it.report('SpanClass', at, `page ${page} is of size class ${entry >>> 4}`, `0 to ${CLASSES - 1}`);
  } else if (entry >>> 4 !== 0) it.report('PageMapEntry', at, `page ${page} (${name}) names size class ${entry >>> 4}`, '0');
  if (kind === PAGE_KIND.largeRest && before !== PAGE_KIND.largeHead && before !== PAGE_KIND.largeRest) {
    it.report('PageMapEntry', at, `page ${page} continues a large run that does not begin`, 'a large run before it');
  }
  const tabled = kind === PAGE_KIND.meta || kind === PAGE_KIND.fot || kind === PAGE_KIND.pageMap;
  if (tabled && owner !== kind) it.report('PageMapEntry', at, `page ${page} is marked ${name}, and no table says so`, KIND_NAMES[owner]);
  // Page 0 may stand as free: nobody asks for it.
  else if (!tabled && owner !== 0 && !(page === 0 && kind === PAGE_KIND.free)) {
    it.report('PageMapOverlap', at, `page ${page} is ${KIND_NAMES[owner]} by its table and ${name} by the page map`, KIND_NAMES[owner]);
  }
}

// --- 3: allocator -----------------------------------------------------------------------------------------------------------

function checkAllocator(it: Inspection): void {
  const spans = new Uint32Array(CLASSES);
  for (let page = 1; page < it.image.pages; page++) {
    const entry = it.image.pageEntry(page);
    const c = entry >>> 4;
    if ((entry & 15) === PAGE_KIND.span && c < CLASSES) spans[c] = (spans[c] ?? 0) + 1;
  }
  for (let c = 0; c < CLASSES; c++) checkClass(it, c, spans[c] ?? 0);
}

function checkClass(it: Inspection, c: number, pages: number): void {
  const record = it.image.classRecord(c);
  const total = pages * Math.floor(PAGE / record.blockSize);
  const before = it.errors;
  const rest = checkBump(it, c, record);
  const free = checkFreeList(it, c, record, total);
  if (it.errors === before && record.live !== total - free - rest) {
    it.report('LiveCount', record.at + 12, `class ${record.blockSize} counts ${record.live} live blocks`, String(total - free - rest));
  }
}

const isSpanOf = (it: Inspection, at: number, c: number): boolean =>
  it.image.pageEntry(Math.floor(at / PAGE)) === (PAGE_KIND.span | (c << 4));

/** Marks the blocks that were never handed out as free; returns how many there are. */
function checkBump(it: Inspection, c: number, { at, bump, end, blockSize }: ClassRecord): number {
  if (bump === 0 && end === 0) return 0;
  const first = end - PAGE;
  const inside =
    end % PAGE === 0 && first >= PAGE && end <= it.image.size && bump >= first && bump <= end && (bump - first) % blockSize === 0;
  if (!inside || !isSpanOf(it, first, c)) {
    it.report('BumpBounds', at + 4, `class ${blockSize} has its unused rest at ${bump} to ${end}`, 'a rest of a page of this class');
    return 0;
  }
  let rest = 0;
  for (let block = bump; block + blockSize <= end; block += blockSize) {
    it.setFree(block);
    rest++;
  }
  return rest;
}

/** Marks the blocks of the free list as free; returns how many there are. */
function checkFreeList(it: Inspection, c: number, { at, free, blockSize }: ClassRecord, total: number): number {
  let from = at;
  let n = 0;
  for (let block = free; block !== 0;) {
    const inside =
      block >= PAGE && block + blockSize <= it.image.size && (block % PAGE) % blockSize === 0 && (block % PAGE) + blockSize <= PAGE;
    if (!inside || !isSpanOf(it, block, c)) {
      it.report('FreeListBounds', from, `the free list of class ${blockSize} leads to ${block}`, 'a block of this class');
      return n;
    }
    if (it.isFree(block)) {
      it.report('FreeListCycle', from, `the free list of class ${blockSize} comes to ${block} a second time`, 'each free block once');
      return n;
    }
    it.setFree(block);
    if (++n > total) return n;
    from = block;
    block = it.image.u32(block);
  }
  return n;
}

/** The live block that holds `at`: where it begins and how long it is. Undefined where the memory is not allocated. */
export function liveBlock(facts: Pick<ObjectFacts, 'image' | 'free'>, at: number): { at: number; size: number } | undefined {
  const { image, free } = facts;
  if (at < PAGE || at >= image.size) return undefined;
  let page = Math.floor(at / PAGE);
  const entry = image.pageEntry(page);
  switch (entry & 15) {
    case PAGE_KIND.span: {
      const size = SIZE_CLASSES[entry >>> 4];
      if (size === undefined) return undefined;
      const start = page * PAGE + Math.floor((at % PAGE) / size) * size;
      const isFree = ((free[start >>> 6] ?? 0) & (1 << ((start >>> 3) & 7))) !== 0;
      return isFree || (start % PAGE) + size > PAGE ? undefined : { at: start, size };
    }
    case PAGE_KIND.largeRest:
    case PAGE_KIND.largeHead: {
      while (page > 1 && (image.pageEntry(page) & 15) === PAGE_KIND.largeRest) page--;
      let pages = 1;
      while (page + pages < image.pages && (image.pageEntry(page + pages) & 15) === PAGE_KIND.largeRest) pages++;
      return { at: page * PAGE, size: pages * PAGE };
    }
    default:
      return undefined;
  }
}

// --- 4: FOT -----------------------------------------------------------------------------------------------------------------

const isZero = (bytes: Uint8Array, from: number, to: number): boolean => bytes.subarray(from, to).every((byte) => byte === 0);

function checkFot(it: Inspection): void {
  const { image } = it;
  const count = image.u32(META.fotCount);
  const free = new Set<number>();
  const targets = new Map<string, number>();
  for (let index = 1; index < count; index++) {
    const entry = image.fotEntry(index);
    if (entry === undefined) {
      it.report('FotEntry', META.fotCount, `entry ${index} of ${count} lies in no chunk of the table`, 'a chunk for each entry');
      break;
    }
    if (!entry.used) {
      free.add(index);
      if (entry.flags !== 0 || !isZero(image.bytes, entry.at, entry.at + 16)) {
        it.report('FotEntry', entry.at, `entry ${index} is not in use and not zero`, 'zero but for the free list');
      }
      continue;
    }
    if ((entry.flags & ~(FOT_FLAG.used | FOT_FLAG.name | FOT_FLAG.key | FOT_FLAG.part)) !== 0)
      it.report('FotEntry', entry.at + FOT.flags, `entry ${index} has the flags ${entry.flags}`, '1, 3, or 1 with 4 and 8');
    const key = entry.id ?? (entry.path === undefined || entry.resolver === undefined ? undefined : `${entry.resolver}:${entry.path}`);
    if (key === undefined)
      it.report('FotName', entry.at, `entry ${index} is late-bound, and its path cannot be read`, 'a text in the object');
    else if (entry.id === NULL_ID) it.report('FotEntry', entry.at, `entry ${index} leads to the null ID`, 'an object ID');
    else {
      const other = targets.get(key);
      if (other !== undefined)
        it.findings.add('FotDuplicate', `entries ${other} and ${index} both lead to ${key}`, { object: it.id, at: entry.at });
      targets.set(key, index);
    }
  }
  checkFotFreeList(it, free);
}

function checkFotFreeList(it: Inspection, free: Set<number>): void {
  const { image } = it;
  let from: number = META.fotFree;
  for (let index = image.u32(META.fotFree); index !== 0;) {
    if (!free.delete(index)) {
      it.findings.add('FotFreeList', `the free list leads to entry ${index}, which is in use, outside the table, or listed before`, {
        object: it.id,
        at: from,
      });
      return;
    }
    const entry = image.fotEntry(index);
    if (entry === undefined) return;
    from = entry.at + FOT.next;
    index = entry.next;
  }
  if (free.size > 0)
    it.findings.add('FotFreeList', `free entries that are not in the free list: ${free.size}`, {
      object: it.id,
      at: META.fotFree,
      expected: 'all of them',
    });
}

// --- 5: root, schema, ties --------------------------------------------------------------------------------------------------

function checkRoot(it: Inspection): void {
  const { image } = it;
  const root = image.u32(META.root);
  if (root !== 0) {
    const facts = { image, free: it.free };
    if (root < PAGE || root >= image.size) it.report('RootOffset', META.root, `the root is at ${root}`, `${PAGE} to ${image.size - 1}`);
    else if (liveBlock(facts, root) === undefined)
      it.report('RootOffset', META.root, `the root at ${root} lies in memory that is not allocated`, 'a live block');
  }
  const schema = image.u32(META.schema);
  if (schema !== 0 && image.textAt(schema) === undefined) {
    it.findings.add('SchemaText', `the schema text at ${schema} cannot be read`, {
      object: it.id,
      at: META.schema,
      expected: 'length and UTF-8 inside the object',
    });
  }
  if (!readableForwards(image))
    it.report('PointerBounds', META.forwards, `the list of moved structs is at ${image.u32(META.forwards)}`, 'a list inside the object');
  for (const [i, tie] of image.ties.entries()) {
    if (tie === NULL_ID) it.report('TieDangling', META.ties + i * 16, 'a tie leads to the null ID', 'an object ID');
  }
}

/**
 * Reads the file of an LMDB environment, page by page, as it is after its newest transaction.
 *
 * Nothing in the file is believed: each offset is compared with the page's end, each page number with the file's, a page may be reached
 * once, and a tree is as deep as it says. What fails that is FileInvalid. So reading ends, after as many steps as the file has pages.
 *
 * The file is not locked. A writer that commits may use pages again that are being read, so `unchanged` is to be asked at the end.
 */
import { TwzError } from '../../../abi/errors.ts';
import type { File, Host } from '../../../host/host.ts';
import {
  DATABASE,
  DATABASE_BYTES,
  DEPTH_MAX,
  ENCRYPTED,
  ENTRY,
  FLAG,
  LAYOUTS,
  MAGIC,
  META,
  METAS,
  NODE,
  NODE_BYTES,
  PAGE,
  type Layout,
} from './format.ts';

const EMPTY = 0xffffffff;
const PAGE_MIN = 256;
const PAGE_MAX = 65536;
/** Bytes of the longest value that is read. */
const VALUE_MAX = 32 * 1024 * 1024;

export interface LmdbDatabase {
  /** Empty for the main one. */
  readonly name: string;
  readonly flags: number;
  readonly entries: number;
  readonly depth: number;
  /** Undefined where it is empty. */
  readonly root: number | undefined;
  /** Of the keys of LEAF2 pages. */
  readonly fixed: number;
}

interface Meta {
  readonly layout: Layout;
  readonly pageSize: number;
  readonly flags: number;
  readonly main: LmdbDatabase;
  readonly last: number;
  readonly transaction: bigint;
}

/** What is asked of a host. */
export type Files = Pick<Host, 'exists' | 'open' | 'length' | 'read' | 'close'>;

/** Some bytes that have the form of a page. */
interface Page {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly count: number;
  readonly flags: number;
  /** Where nodes begin. */
  readonly upper: number;
}

export type LmdbEntry = readonly [key: Uint8Array, value: Uint8Array];

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const nameDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Pages that were met: one bit each, in pieces that are made when they are needed. */
export class PageSet {
  readonly #pieces = new Map<number, Uint8Array>();

  /** Whether the page was not there. */
  add(page: number): boolean {
    const index = Math.floor(page / 32768);
    let piece = this.#pieces.get(index);
    if (piece === undefined) this.#pieces.set(index, (piece = new Uint8Array(4096)));
    const at = (page % 32768) >> 3;
    const bit = 1 << (page & 7);
    const before = piece[at] ?? 0;
    piece[at] = before | bit;
    return (before & bit) === 0;
  }
}

export class LmdbFile {
  readonly #host: Files;
  readonly #file: File;
  readonly #name: string;
  readonly #meta: Meta;
  readonly #pages: number;

  constructor(host: Files, path: string) {
    if (!host.exists(path)) throw new TwzError('FileMissing', `there is no file ${path}`, { file: path });
    this.#host = host;
    this.#name = path;
    this.#file = host.open(path, 'read');
    try {
      this.#meta = this.#newest();
      this.#pages = Math.min(this.#meta.last + 1, Math.floor(host.length(this.#file) / this.#meta.pageSize));
      this.#refuseChecksums();
    } catch (error) {
      host.close(this.#file);
      throw error;
    }
  }

  close(): void {
    this.#host.close(this.#file);
  }

  get version(): number {
    return this.#meta.layout.version;
  }

  /** Whether no transaction was committed since the file was opened. */
  unchanged(): boolean {
    try {
      return this.#newest().transaction === this.#meta.transaction;
    } catch (error) {
      if (error instanceof TwzError && error.category !== 'storage') return false;
      throw error;
    }
  }

  damaged(what: string): never {
    throw new TwzError('FileInvalid', `${this.#name} is damaged: ${what}`, { file: this.#name });
  }

  // --- meta pages -------------------------------------------------------------------------------------------------------------

  #newest(): Meta {
    const first = this.#metaAt(0);
    const sizes = first === undefined ? [4096, 8192, 16384, 32768, 65536, 2048, 1024, 512, 256] : [first.pageSize];
    let second: Meta | undefined;
    for (const size of sizes) {
      second = this.#metaAt(size);
      if (second?.pageSize === size) break;
      second = undefined;
    }
    const newest = first === undefined || (second !== undefined && second.transaction > first.transaction) ? second : first;
    if (newest === undefined)
      throw new TwzError('FileInvalid', `${this.#name} is no LMDB environment, or is damaged: neither of its meta pages is one`, {
        file: this.#name,
      });
    return newest;
  }

  #unread(what: string): never {
    throw new TwzError('NotSupported', `${this.#name} ${what}`, { file: this.#name });
  }

  /** Undefined where no whole meta page is. */
  #metaAt(offset: number): Meta | undefined {
    const bytes = new Uint8Array(LAYOUTS[2].header + META.BYTES);
    if (this.#host.read(this.#file, bytes, offset) < bytes.length) return undefined;
    const view = viewOf(bytes);
    const layout = Object.values(LAYOUTS).find(({ header }) => view.getUint32(header, true) === MAGIC);
    if (layout === undefined) {
      if (view.getUint32(12, true) === MAGIC) this.#unread('was written by a 32-bit program, which is not read');
      if (view.getUint32(16) === MAGIC || view.getUint32(24) === MAGIC)
        this.#unread('was written on a big-endian machine, which is not read');
      return undefined;
    }
    const at = layout.header;
    const written = view.getUint32(at + META.VERSION, true);
    const version = layout.version === 2 ? written & 0xffff : written;
    if (version !== layout.version) this.#unread(`has data of version ${version}; versions 1 and 2 are read`);
    if ((view.getUint16(layout.flags, true) & PAGE.META) === 0) return undefined;
    const free = at + META.FREE;
    const pageSize = view.getUint32(free + DATABASE.PAD, true);
    if (pageSize < PAGE_MIN || pageSize > PAGE_MAX || (pageSize & (pageSize - 1)) !== 0) return undefined;
    const flags = view.getUint16(free + DATABASE.FLAGS, true);
    if ((flags & ENCRYPTED) !== 0) this.#unread('is encrypted, which is not read');
    const last = Number(view.getBigUint64(at + META.LAST, true));
    const main = this.#database(view, at + META.MAIN, '', last);
    if (!Number.isSafeInteger(last) || last < METAS - 1 || main === undefined) return undefined;
    return { layout, pageSize, flags, main, last, transaction: view.getBigUint64(at + META.TRANSACTION, true) };
  }

  /** The size of checksums, which stand at the end of each page, is at the end of the first one. */
  #refuseChecksums(): void {
    if (this.#meta.layout.version === 1) return;
    const size = new Uint8Array(2);
    this.#host.read(this.#file, size, this.#meta.pageSize - 2);
    if (size[0] !== 0 || size[1] !== 0) this.#unread('has pages with checksums, which are not read');
  }

  /** Undefined where it cannot be. */
  #database(view: DataView, at: number, name: string, last: number): LmdbDatabase | undefined {
    const low = view.getUint32(at + DATABASE.ROOT, true);
    const high = view.getUint32(at + DATABASE.ROOT + 4, true);
    const empty = low === EMPTY && high === EMPTY;
    const root = low + high * 2 ** 32;
    const depth = view.getUint16(at + DATABASE.DEPTH, true);
    const entries = Number(view.getBigUint64(at + DATABASE.ENTRIES, true));
    if (depth > DEPTH_MAX || !Number.isSafeInteger(entries)) return undefined;
    if (empty ? depth !== 0 || entries !== 0 : depth === 0 || root < METAS || root > last) return undefined;
    return {
      name,
      flags: view.getUint16(at + DATABASE.FLAGS, true),
      entries,
      depth,
      root: empty ? undefined : root,
      fixed: view.getUint32(at + DATABASE.PAD, true),
    };
  }

  // --- pages ------------------------------------------------------------------------------------------------------------------

  #load(number: number, into: Uint8Array, seen: PageSet): void {
    const { pageSize } = this.#meta;
    if (number < METAS || number >= this.#pages)
      this.damaged(`it refers to page ${number}, and has ${this.#pages} pages${number <= this.#meta.last ? ': its end is missing' : ''}`);
    if (!seen.add(number)) this.damaged(`page ${number} is in two places`);
    if (this.#host.read(this.#file, into, number * pageSize) < into.length) this.damaged(`page ${number} is not whole`);
    const view = viewOf(into);
    if (view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32 !== number) this.damaged(`page ${number} is another one`);
  }

  /** Checks what is needed to find the nodes. */
  #page(bytes: Uint8Array, what: string): Page {
    const { header, base, flags: flagsAt, lower: lowerAt, upper: upperAt } = this.#meta.layout;
    if (bytes.length < header) this.damaged(`${what} is shorter than a header`);
    const view = viewOf(bytes);
    const flags = view.getUint16(flagsAt, true);
    const lower = view.getUint16(lowerAt, true) + base;
    const upper = view.getUint16(upperAt, true) + base;
    if (
      lower < header ||
      (lower & 1) !== 0 ||
      lower > bytes.length ||
      ((flags & PAGE.LEAF2) === 0 && (upper < lower || upper > bytes.length))
    )
      this.damaged(`${what} has bounds that cannot be`);
    return { bytes, view, flags, count: (lower - header) >>> 1, upper };
  }

  #node(page: Page, index: number, what: string): number {
    const { header, base } = this.#meta.layout;
    const at = page.view.getUint16(header + index * 2, true) + base;
    if (
      at < page.upper ||
      at + NODE_BYTES > page.bytes.length ||
      at + NODE_BYTES + page.view.getUint16(at + NODE.KEY_SIZE, true) > page.bytes.length
    )
      this.damaged(`${what}, node ${index}: it lies outside of the page`);
    return at;
  }

  /** The leaves of a tree, from left to right. A page that is handed out is there until the next one is. */
  *#leaves(root: number | undefined, depth: number, seen: PageSet): Generator<readonly [Page, string]> {
    if (root === undefined) return;
    const { pageSize } = this.#meta;
    const buffers = Array.from({ length: depth }, () => new Uint8Array(pageSize));
    const open = (number: number, level: number): readonly [Page, string] => {
      const what = `page ${number}`;
      const bytes = buffers[level] ?? new Uint8Array(pageSize);
      this.#load(number, bytes, seen);
      const page = this.#page(bytes, what);
      const expected = level === depth - 1 ? PAGE.LEAF : PAGE.BRANCH;
      if ((page.flags & (PAGE.BRANCH | PAGE.LEAF | PAGE.OVERFLOW | PAGE.META | PAGE.SUB)) !== expected)
        this.damaged(`${what} is no ${expected === PAGE.LEAF ? 'leaf' : 'branch'}`);
      return [page, what];
    };
    if (depth === 1) {
      yield open(root, 0);
      return;
    }
    const path = [{ page: open(root, 0), next: 0 }];
    for (;;) {
      const top = path.at(-1);
      if (top === undefined) return;
      const [page, what] = top.page;
      if (top.next >= page.count) {
        path.pop();
        continue;
      }
      const at = this.#node(page, top.next++, what);
      const child = page.view.getUint32(at + NODE.LOW, true) + page.view.getUint16(at + NODE.FLAGS, true) * 2 ** 32;
      if (path.length === depth - 1) yield open(child, depth - 1);
      else path.push({ page: open(child, path.length), next: 0 });
    }
  }

  // --- databases --------------------------------------------------------------------------------------------------------------

  /** The main database, and then those with names. */
  databases(): LmdbDatabase[] {
    const { main } = this.#meta;
    const found = [main];
    const { root, depth } = main;
    // One with several values for a key has none inside.
    if ((main.flags & FLAG.DUPSORT) !== 0) return found;
    for (const [page, what] of this.#leaves(root, depth, new PageSet()))
      for (let i = 0; i < page.count; i++) {
        const at = this.#node(page, i, what);
        if (page.view.getUint16(at + NODE.FLAGS, true) !== ENTRY.DATABASE) continue;
        const start = at + NODE_BYTES;
        const end = start + page.view.getUint16(at + NODE.KEY_SIZE, true);
        if (page.view.getUint32(at + NODE.LOW, true) !== DATABASE_BYTES || end + DATABASE_BYTES > page.bytes.length)
          this.damaged(`${what}, node ${i}: it is no database`);
        const name = this.#databaseName(page.bytes.subarray(start, end));
        found.push(
          this.#database(page.view, end, name, this.#meta.last) ??
            this.damaged(`the record of the database ${JSON.stringify(name)} cannot be`),
        );
      }
    return found;
  }

  /** Version 2 keeps names with the NUL at their end. */
  #databaseName(bytes: Uint8Array): string {
    try {
      return nameDecoder.decode(bytes.at(-1) === 0 ? bytes.subarray(0, -1) : bytes);
    } catch (cause) {
      throw new TwzError('NotSupported', `${this.#name} has a database whose name is no text`, { file: this.#name }, cause);
    }
  }

  /**
   * All entries of a database, a value each, in its order, and without the records of other databases. What is handed out is there until the
   * next one is. `seen` has the pages that were met in this run, over all databases.
   */
  *entries(database: LmdbDatabase, seen: PageSet): Generator<LmdbEntry> {
    const main = database.name === '';
    const several = (database.flags & FLAG.DUPSORT) !== 0;
    let met = 0;
    for (const [page, what] of this.#leaves(database.root, database.depth, seen)) {
      if ((page.flags & PAGE.LEAF2) !== 0) this.damaged(`${what} has no room for values`);
      let room = page.bytes.length;
      for (let i = 0; i < page.count; i++) {
        const at = this.#node(page, i, what);
        const flags = page.view.getUint16(at + NODE.FLAGS, true);
        const start = at + NODE_BYTES;
        const end = start + page.view.getUint16(at + NODE.KEY_SIZE, true);
        const key = page.bytes.subarray(start, end);
        room -= end - at + ((flags & ENTRY.BIG) === 0 ? page.view.getUint32(at + NODE.LOW, true) : 0);
        if (room < 0) this.damaged(`${what}: its nodes lie on one another`);
        if ((flags & ENTRY.DUPLICATES) !== 0) {
          if (!several) this.damaged(`${what}, node ${i}: several values, in a database of single ones`);
          for (const value of this.#values(page, at, end, database, seen, what)) {
            met++;
            yield [key, value];
          }
          continue;
        }
        met++;
        if (flags === ENTRY.DATABASE && main) continue;
        if (flags !== 0 && flags !== ENTRY.BIG) this.damaged(`${what}, node ${i}: flags that cannot be`);
        yield [key, this.#value(page, at, end, flags, seen, what)];
      }
    }
    if (met !== database.entries) this.damaged(`a database says that it has ${database.entries} entries, and has ${met}`);
  }

  #value(page: Page, at: number, end: number, flags: number, seen: PageSet, what: string): Uint8Array {
    const size = page.view.getUint32(at + NODE.LOW, true);
    const { header, big } = this.#meta.layout;
    if ((flags & ENTRY.BIG) === 0) {
      if (end + size > page.bytes.length) this.damaged(`${what}: a value lies outside of it`);
      return page.bytes.subarray(end, end + size);
    }
    if (end + big > page.bytes.length) this.damaged(`${what}: a value lies outside of it`);
    const number = page.view.getUint32(end, true) + page.view.getUint32(end + 4, true) * 2 ** 32;
    const { pageSize } = this.#meta;
    const pages = Math.ceil((header + size) / pageSize);
    if (number < METAS || number + pages > this.#pages) this.damaged(`${what}: a value of ${size} bytes lies outside of the file`);
    if (size > VALUE_MAX) this.#unread(`has a value of ${size} bytes; up to ${VALUE_MAX} are read`);
    const bytes = new Uint8Array(header + size);
    this.#load(number, bytes, seen);
    for (let i = 1; i < pages; i++) if (!seen.add(number + i)) this.damaged(`page ${number + i} is in two places`);
    const view = viewOf(bytes);
    if ((view.getUint16(this.#meta.layout.flags, true) & PAGE.OVERFLOW) === 0 || view.getUint32(this.#meta.layout.lower, true) < pages)
      this.damaged(`page ${number} is none of a long value`);
    return bytes.subarray(header);
  }

  /** The values of a key that has several: a page within the node, or a tree of their own. */
  *#values(page: Page, at: number, end: number, database: LmdbDatabase, seen: PageSet, what: string): Generator<Uint8Array> {
    const size = page.view.getUint32(at + NODE.LOW, true);
    const flags = page.view.getUint16(at + NODE.FLAGS, true);
    if (end + size > page.bytes.length || (flags & ENTRY.BIG) !== 0) this.damaged(`${what}: values lie outside of it`);
    if ((flags & ENTRY.DATABASE) === 0) {
      const inner = this.#page(page.bytes.subarray(end, end + size), `a page in ${what}`);
      if ((inner.flags & (PAGE.LEAF | PAGE.SUB | PAGE.BRANCH)) !== (PAGE.LEAF | PAGE.SUB)) this.damaged(`a page in ${what} is no leaf`);
      yield* this.#keys(inner, inner.view.getUint16(this.#meta.layout.pad, true), database, what);
      return;
    }
    const tree = size === DATABASE_BYTES ? this.#database(page.view, end, database.name, this.#meta.last) : undefined;
    if (tree === undefined) this.damaged(`${what}: the record of a tree of values cannot be`);
    let met = 0;
    for (const [leaf, leafWhat] of this.#leaves(tree.root, tree.depth, seen))
      for (const key of this.#keys(leaf, tree.fixed, database, leafWhat)) {
        met++;
        yield key;
      }
    if (met !== tree.entries) this.damaged(`a key says that it has ${tree.entries} values, and has ${met}`);
  }

  *#keys(page: Page, fixed: number, database: LmdbDatabase, what: string): Generator<Uint8Array> {
    const { header } = this.#meta.layout;
    if ((page.flags & PAGE.LEAF2) === 0) {
      let room = page.bytes.length;
      for (let i = 0; i < page.count; i++) {
        const start = this.#node(page, i, what) + NODE_BYTES;
        const end = start + page.view.getUint16(start - NODE_BYTES + NODE.KEY_SIZE, true);
        room -= end - start + NODE_BYTES;
        if (room < 0) this.damaged(`${what}: its nodes lie on one another`);
        yield page.bytes.subarray(start, end);
      }
      return;
    }
    if ((database.flags & FLAG.DUPFIXED) === 0 || fixed === 0 || header + page.count * fixed > page.bytes.length)
      this.damaged(`${what} has values of a size that cannot be`);
    for (let i = 0; i < page.count; i++) yield page.bytes.subarray(header + i * fixed, header + (i + 1) * fixed);
  }
}

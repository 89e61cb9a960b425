/**
 * Writes the file of an LMDB environment from sorted entries: leaves from left to right, full, the branches above them as they fill, and at
 * the end the meta pages. Nothing is read back, and of each level of a tree no more than two pages are held.
 */
import { TwzError } from '../../../abi/errors.ts';
import type { File, Host } from '../../../host/host.ts';
import {
  compareBytes,
  DATABASE,
  DATABASE_BYTES,
  ENTRY,
  FLAG,
  KEY_MAX,
  LAYOUTS,
  MAGIC,
  META,
  METAS,
  NODE,
  NODE_BYTES,
  PAGE,
  type DataVersion,
  type Layout,
} from './format.ts';

const PAGE_SIZE = 4096;
const BUFFER = 256 * PAGE_SIZE;
const TRANSACTION = 1n;
const MAP_MIN = 1 << 20;
const NONE = 2n ** 64n - 1n;

const even = (size: number): number => (size + 1) & ~1;

/** The record of a database: 48 bytes. */
export type DatabaseRecord = Uint8Array;

/** An entry that cannot be written; `reason` says why. */
export class EntryRefused extends Error {}

export class LmdbWriter {
  readonly layout: Layout;
  /** A node that is longer has its value in pages of its own, or its values in a tree of their own. */
  readonly nodeMax: number;
  readonly #host: Host;
  readonly #file: File;
  readonly #buffer = new Uint8Array(BUFFER);
  #buffered = 0;
  #written = 0;
  #next = METAS;

  constructor(host: Host, file: File, version: DataVersion) {
    this.#host = host;
    this.#file = file;
    this.layout = LAYOUTS[version];
    this.nodeMax = (((PAGE_SIZE - this.layout.header) >> 1) & ~1) - 2;
    this.#put(new Uint8Array(METAS * PAGE_SIZE));
  }

  #put(bytes: Uint8Array): void {
    if (this.#buffered + bytes.length > BUFFER) this.#flush();
    if (bytes.length >= BUFFER) {
      this.#host.write(this.#file, bytes, this.#written);
      this.#written += bytes.length;
      return;
    }
    this.#buffer.set(bytes, this.#buffered);
    this.#buffered += bytes.length;
  }

  #flush(): void {
    if (this.#buffered > 0) this.#host.write(this.#file, this.#buffer.subarray(0, this.#buffered), this.#written);
    this.#written += this.#buffered;
    this.#buffered = 0;
  }

  /** A state to come back to. */
  mark(): WriterMark {
    this.#flush();
    return { next: this.#next, written: this.#written };
  }

  /** What was written since will be written over. */
  rewind({ next, written }: WriterMark): void {
    this.#buffered = 0;
    this.#next = next;
    this.#written = written;
  }

  /** Writes a page, of whose header only its own number and the transaction are missing. */
  page(bytes: Uint8Array, view: DataView, pages = 1): number {
    const number = this.#next;
    this.#next += pages;
    view.setBigUint64(0, BigInt(number), true);
    if (this.layout.version === 2) view.setBigUint64(8, TRANSACTION, true);
    this.#put(bytes);
    return number;
  }

  /** Writes a long value; returns its page and how many there are. */
  overflow(value: Uint8Array): readonly [page: number, pages: number] {
    const { header, flags, lower } = this.layout;
    const pages = Math.ceil((header + value.length) / PAGE_SIZE);
    const bytes = new Uint8Array(pages * PAGE_SIZE);
    const view = new DataView(bytes.buffer);
    view.setUint16(flags, PAGE.OVERFLOW, true);
    view.setUint32(lower, pages, true);
    bytes.set(value, header);
    return [this.page(bytes, view, pages), pages];
  }

  /** Writes the meta pages: the file is whole. */
  finish(main: DatabaseRecord): void {
    this.#flush();
    const { header, flags, version } = this.layout;
    const free = databaseRecord(FLAG.INTEGER_KEY, PAGE_SIZE, undefined);
    const bytes = new Uint8Array(METAS * PAGE_SIZE);
    for (let i = 0; i < METAS; i++) {
      const view = new DataView(bytes.buffer, i * PAGE_SIZE);
      const at = header;
      view.setBigUint64(0, BigInt(i), true);
      view.setUint16(flags, PAGE.META, true);
      view.setUint32(at + META.MAGIC, MAGIC, true);
      view.setUint32(at + META.VERSION, version, true);
      view.setBigUint64(at + META.MAP_SIZE, BigInt(Math.max(MAP_MIN, this.#next * PAGE_SIZE)), true);
      bytes.set(free, i * PAGE_SIZE + at + META.FREE);
      // Transaction N writes page N % 2; the other one is as in a file that was just made.
      const here = BigInt(i) === TRANSACTION;
      bytes.set(here ? main : databaseRecord(0, 0, undefined), i * PAGE_SIZE + at + META.MAIN);
      view.setBigUint64(at + META.LAST, BigInt(here ? this.#next - 1 : METAS - 1), true);
      view.setBigUint64(at + META.TRANSACTION, here ? TRANSACTION : 0n, true);
    }
    this.#host.truncate(this.#file, this.#next * PAGE_SIZE);
    this.#host.write(this.#file, bytes, 0);
  }
}

interface WriterMark {
  readonly next: number;
  readonly written: number;
}

interface Counts {
  readonly root: number;
  readonly depth: number;
  readonly branches: number;
  readonly leaves: number;
  readonly overflows: number;
  readonly entries: number;
}

/** `pad`: the size of fixed values, or of pages. Counts are undefined for an empty one. */
function databaseRecord(flags: number, pad: number, counts: Counts | undefined): DatabaseRecord {
  const record = new Uint8Array(DATABASE_BYTES);
  const view = new DataView(record.buffer);
  view.setUint32(DATABASE.PAD, pad, true);
  view.setUint16(DATABASE.FLAGS, flags, true);
  view.setBigUint64(DATABASE.ROOT, counts === undefined ? NONE : BigInt(counts.root), true);
  if (counts === undefined) return record;
  view.setUint16(DATABASE.DEPTH, counts.depth, true);
  view.setBigUint64(DATABASE.BRANCHES, BigInt(counts.branches), true);
  view.setBigUint64(DATABASE.LEAVES, BigInt(counts.leaves), true);
  view.setBigUint64(DATABASE.OVERFLOWS, BigInt(counts.overflows), true);
  view.setBigUint64(DATABASE.ENTRIES, BigInt(counts.entries), true);
  return record;
}

/** Nodes on their way into a page. */
class NodePage {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #layout: Layout;
  #count = 0;
  #upper: number;

  constructor(layout: Layout, size: number, flags: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
    this.#layout = layout;
    this.#upper = size;
    this.view.setUint16(layout.flags, flags, true);
    this.#bounds();
  }

  #bounds(): void {
    const { header, base, lower, upper } = this.#layout;
    this.view.setUint16(lower, header + this.#count * 2 - base, true);
    this.view.setUint16(upper, this.#upper - base, true);
  }

  get empty(): boolean {
    return this.#count === 0;
  }

  has(size: number): boolean {
    return this.#layout.header + (this.#count + 1) * 2 + even(size) <= this.#upper;
  }

  hasFixed(size: number): boolean {
    return this.#layout.header + (this.#count + 1) * size <= this.bytes.length;
  }

  /** Adds a value to a page that has nothing but values of that size. The bounds only count them. */
  addFixed(value: Uint8Array): void {
    this.bytes.set(value, this.#layout.header + this.#count++ * value.length);
    this.#upper -= value.length - 2;
    this.#bounds();
  }

  /** `low` and `flags` are the page number in a branch. */
  add(key: Uint8Array, low: number, flags: number, data: Uint8Array): void {
    const { header, base } = this.#layout;
    const at = (this.#upper -= even(NODE_BYTES + key.length + data.length));
    this.view.setUint16(header + this.#count++ * 2, at - base, true);
    this.view.setUint32(at + NODE.LOW, low, true);
    this.view.setUint16(at + NODE.FLAGS, flags, true);
    this.view.setUint16(at + NODE.KEY_SIZE, key.length, true);
    this.bytes.set(key, at + NODE_BYTES);
    this.bytes.set(data, at + NODE_BYTES + key.length);
    this.#bounds();
  }
}

interface Child {
  readonly key: Uint8Array;
  readonly page: number;
}

/** A level of branches: children that are not in a page yet, and how many of them the next page takes. */
interface Level {
  children: Child[];
  size: number;
  fits: number;
}

const NO_BYTES = new Uint8Array();

/** A tree that is written from its first key to its last. */
export class TreeWriter {
  readonly #writer: LmdbWriter;
  readonly #flags: number;
  /** Bytes of each value, where a key has several and all have as many; in a tree of values, of these. */
  readonly #fixed: number;
  readonly #inner: boolean;
  #leaf: NodePage;
  #first: Uint8Array = NO_BYTES;
  readonly #levels: Level[] = [];
  #branches = 0;
  #leaves = 0;
  #overflows = 0;
  #entries = 0;
  #several: { readonly key: Uint8Array; readonly values: Uint8Array[]; size: number; tree: TreeWriter | undefined } | undefined;

  constructor(writer: LmdbWriter, flags: number, fixed = 0, inner = false) {
    this.#writer = writer;
    this.#flags = flags;
    this.#fixed = fixed;
    this.#inner = inner;
    this.#leaf = this.#newLeaf();
  }

  #newLeaf(): NodePage {
    return new NodePage(this.#writer.layout, PAGE_SIZE, this.#inner ? this.#valueFlags() : PAGE.LEAF);
  }

  #valueFlags(): number {
    return PAGE.LEAF | (this.#fixed > 0 ? PAGE.LEAF2 : 0);
  }

  /** A page of several values. */
  #valuePage(size: number, values: readonly Uint8Array[]): NodePage {
    const { layout } = this.#writer;
    const page = new NodePage(layout, size, this.#valueFlags() | PAGE.SUB | (layout.version === 1 ? PAGE.DIRTY : 0));
    page.view.setUint16(layout.pad, this.#fixed, true);
    for (const value of values)
      if (this.#fixed > 0) page.addFixed(value);
      else page.add(value, 0, 0, NO_BYTES);
    return page;
  }

  #node(key: Uint8Array, size: number, flags: number, data: Uint8Array): void {
    if (!this.#leaf.has(NODE_BYTES + key.length + data.length)) this.#endLeaf();
    if (this.#leaf.empty) this.#first = key.slice();
    this.#leaf.add(key, size, flags, data);
  }

  #checkKey(key: Uint8Array): void {
    if (key.length === 0 || key.length > KEY_MAX) throw new EntryRefused(`a key of ${key.length} bytes: LMDB has those of 1 to ${KEY_MAX}`);
  }

  /** Adds an entry, behind all that are there. */
  add(key: Uint8Array, value: Uint8Array): void {
    this.#checkKey(key);
    this.#entries++;
    this.#value(key, value);
  }

  #value(key: Uint8Array, value: Uint8Array): void {
    if (NODE_BYTES + key.length + value.length <= this.#writer.nodeMax) {
      this.#node(key, value.length, 0, value);
      return;
    }
    const [page, pages] = this.#writer.overflow(value);
    this.#overflows += pages;
    const data = new Uint8Array(this.#writer.layout.big);
    const view = new DataView(data.buffer);
    view.setBigUint64(0, BigInt(page), true);
    if (data.length > 8) {
      view.setBigUint64(8, TRANSACTION, true);
      view.setBigUint64(16, BigInt(pages), true);
    }
    this.#node(key, value.length, ENTRY.BIG, data);
  }

  /** Adds the record of another database, under its name. */
  addDatabase(name: Uint8Array, record: DatabaseRecord): void {
    this.#checkKey(name);
    this.#entries++;
    this.#node(name, record.length, ENTRY.DATABASE, record);
  }

  /** Adds a value of a key that may have several, behind all that are there. */
  addOne(key: Uint8Array, value: Uint8Array): void {
    this.#checkKey(key);
    if (value.length > KEY_MAX)
      throw new EntryRefused(`a value of ${value.length} bytes: where a key has several, LMDB has those of up to ${KEY_MAX}`);
    if (this.#several === undefined || compareBytes(this.#several.key, key) !== 0) {
      this.#endSeveral();
      this.#several = { key: key.slice(), values: [], size: this.#writer.layout.header, tree: undefined };
    }
    const several = this.#several;
    this.#entries++;
    if (several.tree !== undefined) {
      several.tree.#addInner(value);
      return;
    }
    several.values.push(value.slice());
    several.size += this.#fixed > 0 ? even(this.#fixed) : 2 + even(NODE_BYTES + value.length);
    if (NODE_BYTES + key.length + several.size <= this.#writer.nodeMax) return;
    several.tree = new TreeWriter(this.#writer, this.#innerFlags(), this.#fixed, true);
    for (const each of several.values) several.tree.#addInner(each);
  }

  #innerFlags(): number {
    if (this.#fixed === 0) return 0;
    return FLAG.DUPFIXED | ((this.#flags & FLAG.INTEGER_DUP) !== 0 ? FLAG.INTEGER_KEY : 0);
  }

  #endSeveral(): void {
    if (this.#several === undefined) return;
    const { key, values, size, tree } = this.#several;
    this.#several = undefined;
    const [first = NO_BYTES, second] = values;
    if (second === undefined) this.#value(key, first);
    else if (tree !== undefined) {
      const record = tree.end();
      this.#node(key, record.length, ENTRY.DUPLICATES | ENTRY.DATABASE, record);
    } else this.#node(key, size, ENTRY.DUPLICATES, this.#valuePage(size, values).bytes);
  }

  /** Adds what is a value elsewhere, and may be empty. */
  #addInner(value: Uint8Array): void {
    this.#entries++;
    if (this.#fixed === 0) {
      this.#node(value, 0, 0, NO_BYTES);
      return;
    }
    if (!this.#leaf.hasFixed(this.#fixed)) this.#endLeaf();
    if (this.#leaf.empty) this.#first = value.slice();
    this.#leaf.addFixed(value);
  }

  #endLeaf(): void {
    if (this.#inner) this.#leaf.view.setUint16(this.#writer.layout.pad, this.#fixed, true);
    const page = this.#writer.page(this.#leaf.bytes, this.#leaf.view);
    this.#leaves++;
    this.#push(0, { key: this.#first, page });
    this.#leaf = this.#newLeaf();
  }

  #push(at: number, child: Child): void {
    const level = (this.#levels[at] ??= { children: [], size: 0, fits: 0 });
    this.#take(level, child);
    // A page is written when two are left for the one behind it: a branch with one child is none.
    if (level.children.length - level.fits >= 2) this.#endBranch(at, level, level.fits);
  }

  #take(level: Level, child: Child): void {
    // The first key of a branch is left out.
    level.size += 2 + even(NODE_BYTES + (level.children.length === 0 ? 0 : child.key.length));
    level.children.push(child);
    if (level.fits === level.children.length - 1 && level.size <= PAGE_SIZE - this.#writer.layout.header) level.fits++;
  }

  #endBranch(at: number, level: Level, count: number): void {
    const { children } = level;
    const page = new NodePage(this.#writer.layout, PAGE_SIZE, PAGE.BRANCH);
    for (const [i, { key, page: number }] of children.slice(0, count).entries())
      page.add(i === 0 ? NO_BYTES : key, number % 2 ** 32, Math.floor(number / 2 ** 32), NO_BYTES);
    this.#branches++;
    const number = this.#writer.page(page.bytes, page.view);
    level.children = [];
    level.size = 0;
    level.fits = 0;
    for (const child of children.slice(count)) this.#take(level, child);
    this.#push(at + 1, { key: children[0]?.key ?? NO_BYTES, page: number });
  }

  /** Writes what is left; returns what the database is entered with. */
  end(): DatabaseRecord {
    if (this.#entries === 0) return databaseRecord(this.#flags, 0, undefined);
    this.#endSeveral();
    this.#endLeaf();
    for (let at = 0; ; at++) {
      const level = this.#levels[at];
      const [child] = level?.children ?? [];
      if (level === undefined || child === undefined) throw new TwzError('InvalidArgument', 'the tree has ended already');
      if (level.children.length === 1 && this.#levels[at + 1] === undefined) {
        return databaseRecord(this.#flags, this.#inner ? this.#fixed : 0, {
          root: child.page,
          depth: at + 1,
          branches: this.#branches,
          leaves: this.#leaves,
          overflows: this.#overflows,
          entries: this.#entries,
        });
      }
      if (level.fits < level.children.length) this.#endBranch(at, level, level.fits - 1);
      this.#endBranch(at, level, level.children.length);
    }
  }
}

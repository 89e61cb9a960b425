/**
 * A file of the simulated disk: what a reader sees now, apart from what a power failure would leave.
 *
 *   current   pages as written            durable   pages as of the last sync
 *   versions  for each page written since: every state it had, and which of its sectors each write changed
 *
 * Invariants:
 *  1. Pages are immutable: a write replaces them. So copies of the disk share them, and a copy costs a list of pointers.
 *  2. A page without versions is the same in `current` and `durable`, or its sync failed: then the system thinks it is clean.
 *  3. Bytes past the length are zero, in both.
 */
import { Buffer } from 'node:buffer';
import type { Loss } from './loss.ts';

export const SECTOR = 512;
export const PAGE = 4096;
const SECTORS = PAGE / SECTOR;
const ALL_SECTORS = (1 << SECTORS) - 1;
/** Older versions of one page than these are forgotten. */
const VERSIONS_MAX = 12;

type Page = Uint8Array | undefined;

/** A page that takes room on the disk and holds zeros, as opposed to a hole. */
const ZERO: Uint8Array = new Uint8Array(PAGE);

interface Version {
  readonly page: Page;
  /** Sectors that this write changed, one bit each. */
  readonly sectors: number;
  readonly change: number;
}

interface Length {
  readonly length: number;
  readonly change: number;
}

/** Memory that shows a part of the file; what is stored there counts as written. */
export interface SharedMapping {
  readonly bytes: Uint8Array;
  readonly offset: number;
  /** Offsets in it of pages that show the file no longer. */
  readonly owned: ReadonlySet<number>;
}

export class SimulatedFile {
  #current: Page[] = [];
  #durable: Page[] = [];
  /** The arrays are used by other copies, too: copy before changing. */
  #shared = false;
  #versions = new Map<number, Version[]>();
  #length = 0;
  #durableLength = 0;
  #lengths: Length[] = [];
  mapping: SharedMapping | undefined;
  /** Private mappings whose untouched pages show what is written here. */
  readonly followers: Set<SharedMapping> = new Set();

  get length(): number {
    return this.#length;
  }

  /** Are there changes that no sync has covered? */
  get dirty(): boolean {
    return this.#versions.size > 0 || this.#lengths.length > 0;
  }

  pending(into: Set<number>): void {
    for (const versions of this.#versions.values()) for (const version of versions) into.add(version.change);
    for (const length of this.#lengths) into.add(length.change);
  }

  #own(): void {
    if (!this.#shared) return;
    this.#current = this.#current.slice();
    this.#durable = this.#durable.slice();
    this.#shared = false;
  }

  #put(index: number, page: Page, sectors: number, change: number): void {
    const versions = this.#versions.get(index);
    // Where an earlier sync failed, the whole page is written back once it is dirty again.
    const clean = versions === undefined && this.#current[index] === this.#durable[index];
    const version = { page, sectors: clean || versions !== undefined ? sectors : ALL_SECTORS, change };
    if (versions === undefined) this.#versions.set(index, [version]);
    else {
      versions.push(version);
      if (versions.length > VERSIONS_MAX) versions.shift();
    }
    this.#current[index] = page;
  }

  // --- as the process sees it -----------------------------------------------------------------------------------------------

  read(into: Uint8Array, offset: number): number {
    const count = Math.max(0, Math.min(into.length, this.#length - offset));
    for (let done = 0; done < count;) {
      const at = offset + done;
      const within = at % PAGE;
      let n = Math.min(PAGE - within, count - done);
      const page = this.#current[Math.floor(at / PAGE)];
      if (page !== undefined) into.set(page.subarray(within, within + n), done);
      else {
        // What was never stored to is zero, as far as that goes.
        while (done + n < count && this.#current[Math.floor((offset + done + n) / PAGE)] === undefined)
          n += Math.min(PAGE, count - done - n);
        into.fill(0, done, done + n);
      }
      done += n;
    }
    return count;
  }

  write(from: Uint8Array, offset: number, change: number): void {
    this.#own();
    for (let done = 0; done < from.length;) {
      const at = offset + done;
      const within = at % PAGE;
      const n = Math.min(PAGE - within, from.length - done);
      const index = Math.floor(at / PAGE);
      const page = this.#current[index]?.slice() ?? new Uint8Array(PAGE);
      page.set(from.subarray(done, done + n), within);
      for (const follower of this.followers) follow(follower, index * PAGE, this.#current[index] ?? ZERO, page);
      const last = Math.floor((within + n - 1) / SECTOR);
      this.#put(index, page, ((2 << last) - 1) & ~((1 << Math.floor(within / SECTOR)) - 1), change);
      done += n;
    }
    if (offset + from.length > this.#length) this.#setLength(offset + from.length, change);
  }

  truncate(length: number, change: number): void {
    if (length < this.#length) this.#zeroFrom(length, change);
    if (length !== this.#length) this.#setLength(length, change);
  }

  #zeroFrom(length: number, change: number): void {
    this.#own();
    for (let index = Math.floor(length / PAGE); index < this.#current.length; index++) {
      const page = this.#current[index];
      if (page === undefined) continue;
      const kept = Math.max(0, length - index * PAGE);
      if (kept >= PAGE) continue;
      const cut = kept === 0 ? undefined : page.slice().fill(0, kept);
      this.#put(index, cut, ALL_SECTORS & ~((1 << Math.floor(kept / SECTOR)) - 1), change);
    }
  }

  /** Takes room for every page up to the length, and extends the file. */
  preallocate(length: number, change: number): void {
    this.#own();
    for (let index = Math.floor(this.#length / PAGE); index * PAGE < length; index++) this.#current[index] ??= ZERO;
    if (length > this.#length) this.#setLength(length, change);
  }

  #setLength(length: number, change: number): void {
    this.#length = length;
    this.#lengths.push({ length, change });
  }

  /** Would a write here take new room on the disk? */
  needsRoom(offset: number, length: number): boolean {
    return this.roomAt(offset, length) < length;
  }

  /** How many bytes can be written here without taking new room. */
  roomAt(offset: number, length: number): number {
    for (let index = Math.floor(offset / PAGE); index * PAGE < offset + length; index++) {
      if (this.#current[index] === undefined) return Math.max(0, index * PAGE - offset);
    }
    return length;
  }

  /** Takes over what was stored through the mapping since the last time. */
  fold(change: () => number): void {
    if (this.mapping === undefined) return;
    const { bytes, offset } = this.mapping;
    for (let at = 0; at < bytes.length; at += PAGE) {
      const page = this.#current[(offset + at) / PAGE] ?? ZERO;
      if (Buffer.compare(bytes.subarray(at, at + PAGE), page) === 0) continue;
      for (let from = at; from < at + PAGE; from += SECTOR) {
        const seen = bytes.subarray(from, from + SECTOR);
        if (!sameBytes(seen, page, from - at)) this.write(seen, offset + from, change());
      }
    }
  }

  // --- durability -----------------------------------------------------------------------------------------------------------

  /** Makes all changes up to that one durable. */
  sync(upTo: number): void {
    if (!this.dirty) return;
    this.#own();
    for (const [index, versions] of this.#versions) {
      const count = versions.filter((version) => version.change <= upTo).length;
      if (count === 0) continue;
      this.#durable[index] = versions[count - 1]?.page;
      if (count === versions.length) this.#versions.delete(index);
      else versions.splice(0, count);
    }
    this.#syncLength(upTo);
  }

  /** Makes one write durable: its pages, and the length. Other pages stay as they are, unlike with `sync`. */
  syncWrite(change: number): void {
    this.#own();
    for (const [index, versions] of this.#versions) {
      const found = versions.findIndex((version) => version.change === change);
      if (found < 0) continue;
      this.#durable[index] = versions[found]?.page;
      if (found === versions.length - 1) this.#versions.delete(index);
      else versions.splice(0, found + 1);
    }
    this.#syncLength(change);
  }

  #syncLength(upTo: number): void {
    for (let next = this.#lengths[0]; next !== undefined && next.change <= upTo; next = this.#lengths[0]) {
      this.#durableLength = next.length;
      this.#lengths.shift();
    }
  }

  /** A sync failed: the system gives the changes up, readers still see them, and a later sync does not write them. */
  syncFailed(): void {
    this.#versions.clear();
  }

  /** The file after the power failed. */
  afterPowerLoss(loss: Loss): SimulatedFile {
    const file = new SimulatedFile();
    let pages = this.#durable;
    if (this.#versions.size > 0) {
      pages = pages.slice();
      for (const [index, versions] of this.#versions) pages[index] = mixed(pages[index], versions, loss);
    }
    const lengths = this.#lengths;
    const chosen = loss.pick(lengths.length, (i) => lengths[i]?.change ?? 0);
    const length = lengths[chosen]?.length ?? this.#durableLength;
    file.#length = file.#durableLength = length;
    file.#current = file.#durable = cutPages(pages, length);
    file.#shared = true;
    this.#shared = true;
    return file;
  }

  /** The file after the process died: everything written is still there, and still not durable. */
  afterProcessDeath(): SimulatedFile {
    const file = new SimulatedFile();
    file.#current = this.#current;
    file.#durable = this.#durable;
    file.#shared = true;
    this.#shared = true;
    for (const [index, versions] of this.#versions) file.#versions.set(index, versions.slice());
    file.#length = this.#length;
    file.#durableLength = this.#durableLength;
    file.#lengths = this.#lengths.slice();
    return file;
  }
}

/** Shows the new state of a page in a private mapping, unless it was stored to there. */
function follow({ bytes, offset, owned }: SharedMapping, at: number, before: Uint8Array, page: Uint8Array): void {
  const within = at - offset;
  if (within < 0 || within + PAGE > bytes.length || owned.has(within)) return;
  const shown = bytes.subarray(within, within + PAGE);
  if (sameBytes(shown, before, 0)) shown.set(page);
}

function sameBytes(bytes: Uint8Array, page: Uint8Array, from: number): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== page[from + i]) return false;
  return true;
}

/** A page of which each sector is in one of the states that it had. */
function mixed(durable: Page, versions: readonly Version[], loss: Loss): Page {
  let page: Uint8Array | undefined;
  for (let sector = 0; sector < SECTORS; sector++) {
    const touching = versions.filter((version) => (version.sectors & (1 << sector)) !== 0);
    if (touching.length === 0) continue;
    const chosen = touching[loss.pick(touching.length, (i) => touching[i]?.change ?? 0)];
    if (chosen === undefined) continue;
    page ??= durable?.slice() ?? new Uint8Array(PAGE);
    const from = sector * SECTOR;
    page.set((chosen.page ?? ZERO).subarray(from, from + SECTOR), from);
  }
  return page ?? durable;
}

/** Pages of a file of that length: nothing past it. */
function cutPages(pages: Page[], length: number): Page[] {
  const last = Math.floor(length / PAGE);
  if (pages.length <= last) return pages;
  const within = length % PAGE;
  const tail = pages[last];
  const cut = pages.slice(0, within === 0 ? last : last + 1);
  if (within > 0 && tail !== undefined) cut[last] = tail.slice().fill(0, within);
  return cut;
}

/**
 * Raw views: typed arrays and WebAssembly memory over an object, whose stores no accessor sees.
 *
 * For every page that raw stores may reach we can name its committed bytes, its base: a twin (a copy kept here) if the page has
 * committed bytes that the file or the mapping does not show, else the file's own page. At commit the host says which pages were copied, each is
 * compared with its base line by line, and the lines that differ are marked with the base as their old bytes. From there on a raw
 * store is like any other: logged, undone, seen by snapshots.
 *
 * A raw store outside a transaction joins the next transaction that commits in the space; it is dropped if that aborts.
 */
import { LINE, LINE_WORDS, PAGE } from '../abi/format.ts';
import type { Handle } from './object.ts';

const PAGE_WORDS = PAGE / 4;

export class RawState {
  readonly #h: Handle;
  readonly #twins = new Map<number, Int32Array>();

  constructor(h: Handle) {
    this.#h = h;
    h.itemize();
    // What no mapping can show again must be copied now, while the image still is the committed state: undoing must not need the file.
    if (!this.#shown) for (let page = 0; page < h.size / PAGE; page++) this.#copy(page);
    else for (const page of h.pendingPages) this.#copy(page);
    for (let page = h.fileSize / PAGE; page < h.size / PAGE; page++) this.#copy(page);
    this.#undoInto(h);
  }

  /** Whether dropping a page makes it the file's again. */
  get #shown(): boolean {
    return this.#h.fileMapped && !this.#h.stale && this.#h.slot?.window.maps === true;
  }

  #copy(page: number): void {
    this.#twins.set(page, this.#h.words.slice(page * PAGE_WORDS, (page + 1) * PAGE_WORDS));
  }

  /** Lines that the running transaction changed before the first raw view: their bases are their old bytes. */
  #undoInto(h: Handle): void {
    if (h.serial !== h.kernel.serial) return;
    for (let i = 0; i < h.count; i++) {
      const line = h.lines[i] as number;
      const old = h.fresh ? new Int32Array(LINE_WORDS) : h.undo.subarray(i * LINE_WORDS, (i + 1) * LINE_WORDS);
      this.base(line >>> 6).set(old, (line & 63) * LINE_WORDS);
    }
  }

  /** The committed bytes of a page. */
  base(page: number): Int32Array {
    let twin = this.#twins.get(page);
    if (twin === undefined) {
      twin = new Int32Array(PAGE_WORDS);
      if (page * PAGE < this.#h.fileSize) this.#h.kernel.readFile(this.#h, new Uint8Array(twin.buffer), page * PAGE);
      this.#twins.set(page, twin);
    }
    return twin;
  }

  baseLine(line: number): Int32Array {
    const from = (line & 63) * LINE_WORDS;
    return this.base(line >>> 6).subarray(from, from + LINE_WORDS);
  }

  /** Calls back with each line that differs from its base. */
  #differing(visit: (line: number) => void): void {
    const h = this.#h;
    const { slot, size, words } = h;
    if (slot === undefined) return;
    // Stores to an image that is shared with views copy no pages.
    const known = h.imageFile === undefined ? slot.window.privatePages(slot.at, size) : undefined;
    const ranges = known ?? Uint32Array.of(0, size);
    for (let r = 0; r < ranges.length; r += 2) {
      for (let page = (ranges[r] as number) / PAGE; page < (ranges[r + 1] as number) / PAGE; page++) {
        const base = this.base(page);
        for (let line = 0; line < PAGE / LINE; line++) {
          const from = page * PAGE_WORDS + line * LINE_WORDS;
          for (let i = 0; i < LINE_WORDS; i++) {
            if (words[from + i] === base[line * LINE_WORDS + i]) continue;
            visit(page * (PAGE / LINE) + line);
            break;
          }
        }
      }
    }
  }

  /** Marks every line that raw stores changed. */
  collect(): void {
    const h = this.#h;
    this.#differing((line) => {
      if (h.serial !== h.kernel.serial || h.dirty[line] !== 1) h.mark(line * LINE);
    });
  }

  /** Puts every page back to its base. Reads no file: what has no twin is dropped, and the mapping shows the file again. */
  restore(): void {
    const { slot, words } = this.#h;
    if (slot === undefined) return;
    const shown = this.#shown;
    const ranges = this.#privatePages();
    for (let r = 0; r < ranges.length; r += 2) {
      const end = (ranges[r + 1] as number) / PAGE;
      let kept = (ranges[r] as number) / PAGE;
      for (let page = kept; page <= end; page++) {
        const twin = page === end ? undefined : shown ? this.#twins.get(page) : this.base(page);
        if (twin === undefined && page < end) continue;
        if (page > kept) slot.window.drop(slot.at + kept * PAGE, (page - kept) * PAGE);
        if (twin !== undefined) words.set(twin, page * PAGE_WORDS);
        kept = page + 1;
      }
    }
  }

  #privatePages(): Uint32Array {
    const { slot, size } = this.#h;
    const all = Uint32Array.of(0, size);
    if (this.#h.imageFile !== undefined) return all;
    try {
      return slot?.window.privatePages(slot.at, size) ?? all;
    } catch {
      return all;
    }
  }

  /** The transaction committed: the marked lines' new bytes are their bases from now on. */
  committed(): void {
    const h = this.#h;
    for (let i = 0; i < h.count; i++) {
      const line = h.lines[i] as number;
      this.baseLine(line).set(h.words.subarray(line * LINE_WORDS, (line + 1) * LINE_WORDS));
    }
  }

  /** The committed bytes of a page, for writing to the file. */
  bytes(page: number): Uint8Array {
    return new Uint8Array(this.base(page).buffer);
  }
}

/**
 * Sorts entries of a few 32-bit words, more than fit in memory: full buffers are sorted and written out as runs, and runs are merged.
 *
 * Entries are compared word by word, as unsigned numbers. Memory: one buffer while entries come in, a block a run while they go out.
 */
import { assert } from '../../abi/errors.ts';
import type { Scratch, ScratchFile } from './scratch.ts';

/** Positions are packed behind 32 bits of rank in a double: that leaves 21 bits. */
const ENTRIES_MAX = 1 << 21;
const FIRST_ENTRIES = 4096;
const BLOCK_ENTRIES = 4096;

interface Run {
  readonly file: ScratchFile;
  readonly entries: number;
}

export interface SorterOptions {
  /** Words an entry. */
  readonly width: number;
  /** Bytes of entries to hold before they are written out. */
  readonly memory: number;
  /** A number below 2^32 that orders entries as their words do, as far as it goes; `at` is the entry's first word. By default the first word. */
  readonly rank?: (words: Uint32Array, at: number) => number;
}

export class Sorter {
  readonly #scratch: Scratch;
  readonly #width: number;
  readonly #capacity: number;
  readonly #rank: (words: Uint32Array, at: number) => number;
  #words: Uint32Array;
  #count = 0;
  readonly #runs: Run[] = [];
  /** Entries in all. */
  total = 0;

  constructor(scratch: Scratch, options: SorterOptions) {
    this.#scratch = scratch;
    this.#width = options.width;
    this.#capacity = Math.max(16, Math.min(ENTRIES_MAX, Math.floor(options.memory / (options.width * 4))));
    this.#rank = options.rank ?? ((words, at) => words[at] as number);
    this.#words = new Uint32Array(Math.min(FIRST_ENTRIES, this.#capacity) * options.width);
  }

  get runs(): number {
    return this.#runs.length;
  }

  /** Room for one more entry: fill `words` from `at` on, before the next call. */
  next(): { readonly words: Uint32Array; readonly at: number } {
    const at = this.#count * this.#width;
    if (this.#count === this.#capacity) {
      this.#spill();
      return this.next();
    }
    if (at === this.#words.length) {
      const larger = new Uint32Array(Math.min(this.#capacity * this.#width, at * 2));
      larger.set(this.#words);
      this.#words = larger;
    }
    this.#count++;
    this.total++;
    this.#place.words = this.#words;
    this.#place.at = at;
    return this.#place;
  }

  readonly #place: { words: Uint32Array; at: number } = { words: new Uint32Array(0), at: 0 };

  // --- one buffer ---------------------------------------------------------------------------------------------------------

  /** Positions of the buffer's entries, in order. */
  #order(): Uint32Array {
    const words = this.#words;
    const width = this.#width;
    const count = this.#count;
    const keys = new Float64Array(count);
    for (let i = 0; i < count; i++) keys[i] = this.#rank(words, i * width) * ENTRIES_MAX + i;
    keys.sort();
    const order = new Uint32Array(count);
    for (let i = 0; i < count;) {
      const rank = Math.floor((keys[i] as number) / ENTRIES_MAX);
      let end = i;
      while (end < count && Math.floor((keys[end] as number) / ENTRIES_MAX) === rank) {
        order[end] = (keys[end] as number) % ENTRIES_MAX;
        end++;
      }
      if (end - i > 1) order.subarray(i, end).sort((a, b) => compare(words, a * width, words, b * width, width));
      i = end;
    }
    return order;
  }

  #spill(): void {
    const file = this.#scratch.create();
    const width = this.#width;
    const block = new Uint32Array(BLOCK_ENTRIES * width * 4);
    let filled = 0;
    let written = 0;
    const flush = (): void => {
      file.write(new Uint8Array(block.buffer, 0, filled * 4), written);
      written += filled * 4;
      filled = 0;
    };
    for (const position of this.#order()) {
      const at = position * width;
      for (let i = 0; i < width; i++) block[filled++] = this.#words[at + i] as number;
      if (filled === block.length) flush();
    }
    flush();
    this.#runs.push({ file, entries: this.#count });
    this.#count = 0;
  }

  // --- all of them --------------------------------------------------------------------------------------------------------

  /** Calls `take` with each entry, in order, once; then the sorter is empty. `pause` is called now and then, and may take its time. */
  async drain(take: (words: Uint32Array, at: number) => void, pause: () => Promise<void>): Promise<void> {
    if (this.#runs.length === 0) {
      const order = this.#order();
      for (let i = 0; i < order.length; i++) {
        if ((i & 16383) === 16383) await pause();
        take(this.#words, (order[i] as number) * this.#width);
      }
    } else {
      if (this.#count > 0) this.#spill();
      this.#words = new Uint32Array(0);
      await this.#merge(take, pause);
    }
    this.drop();
  }

  async #merge(take: (words: Uint32Array, at: number) => void, pause: () => Promise<void>): Promise<void> {
    const width = this.#width;
    const heap = new Heap(
      this.#runs.map((run) => new RunReader(run, width)).filter((reader) => reader.more()),
      width,
    );
    for (let n = 1; heap.top !== undefined; n++) {
      const { top } = heap;
      take(top.words, top.at);
      heap.advance();
      if ((n & 16383) === 0) await pause();
    }
  }

  /** Forgets all entries. */
  drop(): void {
    for (const { file } of this.#runs) file.drop();
    this.#runs.length = 0;
    this.#words = new Uint32Array(0);
    this.#count = 0;
  }
}

function compare(a: Uint32Array, at: number, b: Uint32Array, bt: number, width: number): number {
  for (let i = 0; i < width; i++) {
    const difference = (a[at + i] as number) - (b[bt + i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

class RunReader {
  readonly #run: Run;
  readonly #width: number;
  readonly words: Uint32Array;
  at = 0;
  #end = 0;
  #read = 0;

  constructor(run: Run, width: number) {
    this.#run = run;
    this.#width = width;
    this.words = new Uint32Array(Math.min(run.entries, BLOCK_ENTRIES) * width);
  }

  /** Reads the next block; false where there is none. */
  more(): boolean {
    const left = this.#run.entries - this.#read;
    if (left === 0) return false;
    const entries = Math.min(left, BLOCK_ENTRIES);
    const bytes = entries * this.#width * 4;
    const got = this.#run.file.read(new Uint8Array(this.words.buffer, 0, bytes), this.#read * this.#width * 4);
    assert(got === bytes, 'a scratch file is shorter than it was written');
    this.#read += entries;
    this.at = 0;
    this.#end = entries * this.#width;
    return true;
  }

  advance(): boolean {
    this.at += this.#width;
    return this.at < this.#end || this.more();
  }
}

/** A binary heap of readers: the least entry on top. */
class Heap {
  readonly #items: RunReader[];
  readonly #width: number;

  constructor(items: RunReader[], width: number) {
    this.#items = items;
    this.#width = width;
    for (let i = (items.length >> 1) - 1; i >= 0; i--) this.#sink(i);
  }

  get top(): RunReader | undefined {
    return this.#items[0];
  }

  advance(): void {
    const [top] = this.#items;
    if (top === undefined) return;
    if (!top.advance()) {
      const last = this.#items.pop();
      if (last === undefined || last === top) return;
      this.#items[0] = last;
    }
    this.#sink(0);
  }

  #less(a: number, b: number): boolean {
    const left = this.#items[a];
    const right = this.#items[b];
    return left !== undefined && right !== undefined && compare(left.words, left.at, right.words, right.at, this.#width) < 0;
  }

  #sink(from: number): void {
    const items = this.#items;
    for (let i = from; ;) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2]) if (child < items.length && this.#less(child, least)) least = child;
      if (least === i) return;
      const moved = items[i] as RunReader;
      items[i] = items[least] as RunReader;
      items[least] = moved;
      i = least;
    }
  }
}

/**
 * Linking: from sorted entries to an index, and to references that are stored.
 *
 *   records and references, by hash  ->  a record, then all that refer to it  ->  index entry; pointers, by where they are stored
 *   pointers, by where they are stored  ->  stored in that order, so that each object is passed over once
 */
import { offsetOf } from '../../lib/cursor.ts';
import { offsetIn } from './layout.ts';
import type { Scratch } from './scratch.ts';
import { Sorter } from './sorter.ts';
import { ENTRY, REFERENCE, collectionOf, sourceOf, type Stage, type StagePart } from './stage.ts';

/** Pointers and index entries a transaction. */
const BATCH = 16384;
/** Bytes of objects passed over between two checkpoints. */
const PASSED_MAX = 64 << 20;
export const INDEX_ENTRY = 16;

/** What was wrong with a record, told by its line. */
export type Report = (reason: string, source: number, line: number) => void;

export interface LinkOptions {
  readonly sortBytes: number;
  readonly objectBytes: number;
  /** Lets others run. */
  readonly pause: () => Promise<void>;
  readonly progress: (phase: 'resolve' | 'link', done: number, total: number) => void;
  readonly duplicate: Report;
  /** A reference that leads to no record. */
  readonly dangling: Report;
}

/** Stores index entries of one collection, as they come in the order of their hashes. */
class IndexWriter {
  readonly #stage: Stage;
  readonly #collection: number;
  readonly #perPart: number;
  readonly #batch = new Uint32Array(BATCH * 4);
  #filled = 0;
  #left: number;
  #part: StagePart | undefined;
  #room = 0;
  /** Offsets in the part. */
  #entries = 0;
  #count = 0;
  #made = 0;

  constructor(stage: Stage, collection: number, objectBytes: number) {
    this.#stage = stage;
    this.#collection = collection;
    this.#left = stage.records(collection);
    this.#perPart = Math.max(64, Math.floor((objectBytes - 65536) / INDEX_ENTRY));
  }

  add(high: number, low: number, object: number, offset: number): void {
    const batch = this.#batch;
    const at = this.#filled * 4;
    batch[at] = high;
    batch[at + 1] = low;
    batch[at + 2] = object;
    batch[at + 3] = offset;
    if (++this.#filled === BATCH) this.flush();
  }

  flush(): void {
    if (this.#filled === 0) return;
    this.#stage.space.relaxed(() => {
      for (let done = 0; done < this.#filled;) done += this.#store(done);
    });
    this.#filled = 0;
  }

  /** Stores entries from `from` on as far as the part has room; how many. */
  #store(from: number): number {
    const part = this.#part !== undefined && this.#part.count < this.#room ? this.#part : this.#next(from);
    const count = Math.min(this.#filled - from, this.#room - part.count);
    const { handle: h } = part;
    const batch = this.#batch;
    const base = this.#entries + part.count * INDEX_ENTRY;
    h.markRange(base, count * INDEX_ENTRY);
    for (let i = 0; i < count; i++) {
      const at = base + i * INDEX_ENTRY;
      const entry = (from + i) * 4;
      const index = h.refer((this.#stage.parts[batch[entry + 2] as number] as StagePart).handle);
      h.dv.setUint32(at, batch[entry] as number, true);
      h.dv.setUint32(at + 4, batch[entry + 1] as number, true);
      h.dv.setUint32(at + 8, batch[entry + 3] as number, true);
      h.dv.setUint32(at + 12, (index << 8) >>> 0, true);
    }
    part.count += count;
    this.#left -= count;
    h.mark(this.#count);
    h.dv.setUint32(this.#count, part.count, true);
    return count;
  }

  #next(from: number): StagePart {
    this.#room = Math.min(this.#perPart, this.#left);
    const layout = this.#stage.layout(this.#collection).index(this.#room);
    const root = this.#stage.space.create(layout, {}, { reserve: layout.layout.size + 65536 });
    this.#entries = offsetOf(root) + offsetIn(layout, 'entries');
    this.#count = offsetOf(root) + offsetIn(layout, 'count');
    this.#part = this.#stage.add(root, this.#collection, 'index', this.#made++);
    this.#part.high = this.#batch[from * 4] as number;
    this.#part.low = this.#batch[from * 4 + 1] as number;
    return this.#part;
  }
}

/** Stores pointers, as they come in the order of the places where they are stored. */
class PointerWriter {
  readonly #stage: Stage;
  readonly #batch = new Uint32Array(BATCH * 4);
  #filled = 0;
  #object = -1;
  #passed = 0;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  add(words: Uint32Array, from: number): void {
    for (let i = 0; i < 4; i++) this.#batch[this.#filled * 4 + i] = words[from + i] as number;
    if (++this.#filled === BATCH) this.flush();
  }

  flush(): void {
    if (this.#filled === 0) return;
    const { space, parts } = this.#stage;
    const batch = this.#batch;
    space.relaxed(() => {
      for (let i = 0; i < this.#filled * 4; i += 4) {
        const h = (parts[batch[i] as number] as StagePart).handle;
        const at = batch[i + 1] as number;
        h.mark(at);
        const index = h.refer((parts[batch[i + 2] as number] as StagePart).handle);
        h.dv.setUint32(at, batch[i + 3] as number, true);
        h.dv.setUint32(at + 4, (index << 8) >>> 0, true);
      }
    });
    this.#filled = 0;
    this.#pass(batch[(BATCH - 1) * 4] as number);
  }

  /** Pages that were changed stay in memory until a checkpoint: one comes each time so many bytes were passed over. */
  #pass(object: number): void {
    if (object === this.#object) return;
    this.#object = object;
    this.#passed += (this.#stage.parts[object] as StagePart).handle.size;
    if (this.#passed < PASSED_MAX) return;
    this.#passed = 0;
    this.#stage.space.checkpoint();
    this.#stage.cool();
  }
}

/** Links all that the sorter holds. Returns how many references lead nowhere. */
export async function linkAll(stage: Stage, sorter: Sorter, scratch: Scratch, options: LinkOptions): Promise<number> {
  const { sortBytes: memory, pause, progress } = options;
  const parts = stage.parts.length;
  // Places in all objects, in steps of eight bytes, brought into 32 bits.
  const scale = Math.max(1, Math.ceil((parts * 2 ** 27) / 2 ** 32));
  const place = (words: Uint32Array, at: number): number =>
    Math.floor(((words[at] as number) * 2 ** 27 + (words[at + 1] as number) / 8) / scale);
  const pointers = new Sorter(scratch, { width: 4, memory, rank: place });
  const gone = new Sorter(scratch, { width: 2, memory: memory / 16, rank: place });
  const dangling = await resolve(stage, sorter, pointers, gone, options);
  let done = 0;
  const writer = new PointerWriter(stage);
  const { total } = pointers;
  await pointers.drain(
    (words, at) => {
      writer.add(words, at);
      done++;
    },
    async () => {
      progress('link', done, total);
      await pause();
    },
  );
  writer.flush();
  await removeGone(stage, gone, pause);
  return dangling;
}

/** Brings each reference to the record that it names, and enters the records into the index. */
async function resolve(stage: Stage, sorter: Sorter, pointers: Sorter, gone: Sorter, options: LinkOptions): Promise<number> {
  const indexes = stage.layouts.map((layout, i) =>
    layout.keyField === undefined ? undefined : new IndexWriter(stage, i, options.objectBytes),
  );
  const { total } = sorter;
  // The record at hand.
  const hash = new Uint32Array(4);
  let found = false;
  let object = 0;
  let offset = 0;
  let done = 0;
  let dangling = 0;
  const take = (words: Uint32Array, at: number): void => {
    done++;
    const tag = words[at + ENTRY.tag] as number;
    const again = words[at] === hash[0] && words[at + 1] === hash[1] && words[at + 2] === hash[2] && words[at + 3] === hash[3];
    if (!again) {
      for (let i = 0; i < 4; i++) hash[i] = words[at + i] as number;
      found = false;
    }
    if (tag < REFERENCE) {
      if (found) {
        options.duplicate('a record has this key already', sourceOf(tag), words[at + ENTRY.line] as number);
        const place = gone.next();
        place.words[place.at] = words[at + ENTRY.object] as number;
        place.words[place.at + 1] = words[at + ENTRY.offset] as number;
        return;
      }
      found = true;
      object = words[at + ENTRY.object] as number;
      offset = words[at + ENTRY.offset] as number;
      indexes[collectionOf(tag)]?.add(hash[0] as number, hash[1] as number, object, offset);
    } else if (found) {
      const pointer = pointers.next();
      pointer.words[pointer.at] = words[at + ENTRY.object] as number;
      pointer.words[pointer.at + 1] = words[at + ENTRY.offset] as number;
      pointer.words[pointer.at + 2] = object;
      pointer.words[pointer.at + 3] = offset;
    } else {
      dangling++;
      stage.lost(words[at + ENTRY.object] as number);
      options.dangling(
        `no record of ${stage.layout(collectionOf(tag)).collection.name} has the key that is referred to`,
        sourceOf(tag),
        words[at + ENTRY.line] as number,
      );
    }
  };
  await sorter.drain(take, async () => {
    options.progress('resolve', done, total);
    stage.cool();
    await options.pause();
  });
  for (const index of indexes) index?.flush();
  return dangling;
}

/** Takes out the records whose key came twice, now that nothing is stored to them any more. */
async function removeGone(stage: Stage, gone: Sorter, pause: () => Promise<void>): Promise<void> {
  const batch: [number, number][] = [];
  const flush = (): void => {
    stage.space.relaxed(() => {
      for (const [number, at] of batch) stage.remove(number, at);
    });
    batch.length = 0;
  };
  await gone.drain((words, at) => {
    batch.push([words[at] as number, words[at + 1] as number]);
    if (batch.length === 1024) flush();
  }, pause);
  flush();
}

/** Entries in an order of their own, however many: sorted runs go to a file beside, and are merged. */
import type { File, Host } from '../../../host/host.ts';
import type { LmdbEntry } from './reader.ts';

/** Bytes that are sorted at once. */
const RUN = 32 * 1024 * 1024;
const READ = 128 * 1024;
/** What an entry takes beside its bytes. */
const OVERHEAD = 200;

type CompareEntries = (a: LmdbEntry, b: LmdbEntry) => number;

interface Run {
  readonly from: number;
  readonly to: number;
}

export class Sorter {
  readonly #host: Host;
  readonly #path: string;
  readonly #compare: CompareEntries;
  readonly #runSize: number;
  #held: LmdbEntry[] = [];
  #size = 0;
  #file: File | undefined;
  #end = 0;
  readonly #runs: Run[] = [];

  /** `path` is where a file is made, if one is needed. */
  constructor(host: Host, path: string, compare: CompareEntries, runSize = RUN) {
    this.#host = host;
    this.#path = path;
    this.#compare = compare;
    this.#runSize = runSize;
  }

  /** The bytes are kept. */
  add(entry: LmdbEntry): void {
    this.#held.push(entry);
    this.#size += entry[0].length + entry[1].length + OVERHEAD;
    if (this.#size >= this.#runSize) this.#spill();
  }

  #spill(): void {
    if (this.#file === undefined) {
      this.#host.remove(this.#path);
      this.#file = this.#host.open(this.#path, 'create');
    }
    const from = this.#end;
    const bytes = new Uint8Array(this.#held.reduce((sum, [key, value]) => sum + 8 + key.length + value.length, 0));
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const [key, value] of this.#held.sort(this.#compare)) {
      view.setUint32(at, key.length, true);
      view.setUint32(at + 4, value.length, true);
      bytes.set(key, at + 8);
      bytes.set(value, at + 8 + key.length);
      at += 8 + key.length + value.length;
    }
    this.#host.write(this.#file, bytes, from);
    this.#end += at;
    this.#runs.push({ from, to: this.#end });
    this.#held = [];
    this.#size = 0;
  }

  *#entries({ from, to }: Run, file: File): Generator<LmdbEntry> {
    let buffer = new Uint8Array(0);
    let start = from;
    /** The bytes at `at`, read with what is behind them. */
    const bytesAt = (at: number, length: number): Uint8Array => {
      if (at < start || at + length > start + buffer.length) {
        buffer = new Uint8Array(Math.max(length, Math.min(READ, to - at)));
        start = at;
        this.#host.read(file, buffer, at);
      }
      return buffer.subarray(at - start, at - start + length);
    };
    for (let at = from; at < to;) {
      const head = bytesAt(at, 8);
      const view = new DataView(head.buffer, head.byteOffset, 8);
      const keySize = view.getUint32(0, true);
      const size = keySize + view.getUint32(4, true);
      const body = bytesAt(at + 8, size);
      yield [body.subarray(0, keySize), body.subarray(keySize)];
      at += 8 + size;
    }
  }

  *sorted(): Generator<LmdbEntry> {
    if (this.#file === undefined) {
      yield* this.#held.sort(this.#compare);
      return;
    }
    if (this.#held.length > 0) this.#spill();
    const file = this.#file;
    // A heap of runs, by the entry that each is at.
    const heap: { entry: LmdbEntry; readonly rest: Generator<LmdbEntry> }[] = [];
    const sink = (from: number): void => {
      for (let i = from; ;) {
        let least = i;
        for (const child of [2 * i + 1, 2 * i + 2]) {
          const a = heap[child];
          const b = heap[least];
          if (a !== undefined && b !== undefined && this.#compare(a.entry, b.entry) < 0) least = child;
        }
        const here = heap[i];
        const there = heap[least];
        if (least === i || here === undefined || there === undefined) return;
        heap[i] = there;
        heap[least] = here;
        i = least;
      }
    };
    for (const run of this.#runs) {
      const rest = this.#entries(run, file);
      const first = rest.next();
      if (first.done !== true) heap.push({ entry: first.value, rest });
    }
    for (let i = heap.length >> 1; i >= 0; i--) sink(i);
    for (let top = heap[0]; top !== undefined; top = heap[0]) {
      yield top.entry;
      const next = top.rest.next();
      if (next.done !== true) top.entry = next.value;
      else {
        const last = heap.pop();
        if (last !== undefined && last !== top) heap[0] = last;
      }
      sink(0);
    }
  }

  close(): void {
    if (this.#file === undefined) return;
    this.#host.close(this.#file);
    this.#file = undefined;
    this.#host.remove(this.#path);
  }
}

/**
 * A window of the simulated host: plain memory. A private mapping is a copy that remembers its file, a shared one is watched by the
 * file it shows.
 *
 * Stricter than a copy needs to be, so that a kernel that is right here is right over mmap:
 *  - `drop` brings back what the file has; where nothing is mapped, zeros;
 *  - mapping past the end of a file is an error, where a real one would kill the process at the first touch;
 *  - with `follow`, a page that nobody stored to shows what is written to its file later, as MAP_PRIVATE does. "Nobody stored to" is
 *    judged by comparing, so a page that was touched without being changed follows, too, unless `own` was called for it.
 */
import { TwzError } from '../../abi/errors.ts';
import type { File, Window } from '../host.ts';
import { Memory, type WasmMemory } from '../wasm-memory.ts';
import { PAGE, type SimulatedFile } from './file.ts';

/** What a window needs of its host. */
export interface WindowHost {
  /** The file, once the call has been let through. */
  map(file: File): SimulatedFile;
  readonly sharedMapping: boolean;
  readonly follow: boolean;
  readonly nextChange: () => number;
  readonly mapped: Set<SimulatedFile>;
}

interface Mapping {
  readonly at: number;
  readonly length: number;
  readonly file: SimulatedFile;
  readonly offset: number;
  readonly shared: boolean;
  readonly bytes: Uint8Array;
  /** Pages that `own` was called for. */
  readonly owned: Set<number>;
}

/** Memory of machines that are gone, zeroed: fresh memory costs more than all the rest of a short life. */
const discarded = new Map<number, ArrayBuffer[]>();
const DISCARDED_MAX = 16;

export class SimulatedWindow implements Window {
  readonly memory: WasmMemory | undefined;
  readonly buffer: ArrayBufferLike;
  readonly size: number;
  readonly maps = true;
  readonly #host: WindowHost;
  #mappings: Mapping[] = [];

  constructor(host: WindowHost, size: number, wasm: boolean) {
    this.#host = host;
    this.size = size;
    this.memory = wasm ? new Memory({ initial: size / 65536, maximum: size / 65536, shared: true }) : undefined;
    this.buffer = this.memory?.buffer ?? discarded.get(size)?.pop() ?? new ArrayBuffer(size);
  }

  mapPrivate(at: number, length: number, file: File, offset: number): void {
    this.#map(at, length, this.#host.map(file), offset, false);
  }

  mapShared(at: number, length: number, file: File, offset: number): boolean {
    if (!this.#host.sharedMapping) return false;
    this.#map(at, length, this.#host.map(file), offset, true);
    return true;
  }

  #map(at: number, length: number, file: SimulatedFile, offset: number, shared: boolean): void {
    this.#unmap(at, length);
    const bytes = new Uint8Array(this.buffer, at, length);
    const count = file.read(bytes, offset);
    if (count < length) throw new TwzError('IoError', `mapping of ${length} bytes of a file that has ${count} from ${offset}`);
    const mapping = { at, length, file, offset, shared, bytes, owned: new Set<number>() };
    this.#mappings.push(mapping);
    if (shared) {
      file.mapping = mapping;
      this.#host.mapped.add(file);
    } else if (this.#host.follow) file.followers.add(mapping);
  }

  /** Mappings are replaced whole or not at all: slots never overlap. A larger one may lie in the range, or the range in it. */
  #unmap(at: number, length: number): void {
    const gone = (mapping: Mapping): boolean => mapping.at < at + length && at < mapping.at + mapping.length;
    for (const mapping of this.#mappings) {
      if (!gone(mapping)) continue;
      mapping.file.followers.delete(mapping);
      if (!mapping.shared) continue;
      mapping.file.fold(this.#host.nextChange);
      mapping.file.mapping = undefined;
    }
    this.#mappings = this.#mappings.filter((mapping) => !gone(mapping));
  }

  clear(at: number, length: number, mapped: boolean): void {
    const count = this.#mappings.length;
    this.#unmap(at, length);
    if (!mapped && count !== this.#mappings.length) throw new Error('cleared as if no file were mapped, and one is');
    new Uint8Array(this.buffer, at, length).fill(0);
  }

  drop(at: number, length: number): void {
    const mapping = this.#mappings.find((each) => each.at <= at && at < each.at + each.length);
    const bytes = new Uint8Array(this.buffer, at, length).fill(0);
    if (mapping === undefined) return;
    const mapped = Math.min(length, mapping.at + mapping.length - at);
    for (let page = 0; page < mapped; page += PAGE) mapping.owned.delete(at - mapping.at + page);
    mapping.file.read(bytes.subarray(0, mapped), mapping.offset + at - mapping.at);
  }

  own(at: number, length: number): void {
    for (const mapping of this.#mappings) {
      const from = Math.max(at, mapping.at);
      const to = Math.min(at + length, mapping.at + mapping.length);
      for (let page = from; page < to; page += PAGE) mapping.owned.add(page - mapping.at);
    }
  }

  protect(): void {}

  sleep(): void {
    throw new TwzError('NotSupported', 'the simulated machine has one process');
  }

  wake(): void {}

  privatePages(): undefined {
    return undefined;
  }

  close(): void {
    this.#unmap(0, this.size);
  }

  /** Nobody will look at the window any more. */
  discard(): void {
    const { buffer, size } = this;
    const list = discarded.get(size) ?? [];
    discarded.set(size, list);
    if (!(buffer instanceof ArrayBuffer) || list.length >= DISCARDED_MAX) return;
    new Uint8Array(buffer).fill(0);
    list.push(buffer);
  }
}

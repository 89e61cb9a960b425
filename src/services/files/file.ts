/**
 * A file as an object: its root is a File, whose content is a Blob. An object whose root is a Blob is a file, too, without times.
 *
 * What a program writes goes into a buffer first, one run of bytes for each file. The buffers of all files are committed together, in one
 * transaction, so the space always shows a moment of the program's history, whichever file is looked at: before any change of the tree, when a
 * buffer is full or the next bytes do not go on where it ends, when what is in it is read, at sync, at close and at the end.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { blob, type Blob } from '../../lib/collections/blob.ts';
import { bigU64, u32 } from '../../lib/fields.ts';
import { struct, type Infer } from '../../lib/struct.ts';
import type { NodeStat, TreeFile } from '../../runtime/wasi/tree.ts';
import type { SpaceTree } from './tree.ts';

export const FileObject = struct('File', {
  content: blob,
  /** Nanoseconds since 1970. */
  created: bigU64,
  modified: bigU64,
  accessed: bigU64,
  changed: bigU64,
  /** Names that it has. */
  links: u32,
});
export type FileObject = Infer<typeof FileObject>;

const BUFFER_BYTES = 65536;
const FIRST_BUFFER = 4096;
/** A file grows by zeros in pieces of so many bytes, a transaction each. */
const PIECE_BYTES = 4 << 20;

export function inodeOf(id: ObjectId): bigint {
  return BigInt(`0x${id.slice(16)}`);
}

export class SpaceFile implements TreeFile {
  readonly kind = 'file';
  readonly id: ObjectId;
  readonly inode: bigint;
  readonly #tree: SpaceTree;
  /** Undefined for a Blob alone. */
  readonly #file: FileObject | undefined;
  readonly #content: Blob;
  /** Its last name is gone; the object goes when nobody holds it. */
  removed = false;
  #held = 0;
  #buffer: Uint8Array = new Uint8Array();
  #at = 0;
  #length = 0;
  #written = 0n;

  constructor(tree: SpaceTree, id: ObjectId, root: 'File' | 'Blob') {
    this.#tree = tree;
    this.id = id;
    this.inode = inodeOf(id);
    this.#file = root === 'File' ? tree.space.get(id, FileObject) : undefined;
    this.#content = this.#file?.content ?? tree.space.get(id, blob);
  }

  get held(): boolean {
    return this.#held > 0;
  }

  get countsLinks(): boolean {
    return this.#file !== undefined;
  }

  get links(): number {
    return this.#file?.links ?? 1;
  }

  /** Inside a transaction. */
  setLinks(links: number): void {
    if (this.#file === undefined) throw new TwzError('NotSupported', `object ${this.id} is a Blob: it does not count its names`);
    this.#file.links = links;
    this.#file.changed = this.#tree.now();
  }

  stat(): NodeStat {
    const file = this.#file;
    const modified = this.#length > 0 ? this.#written : (file?.modified ?? 0n);
    const changed = this.#length > 0 ? this.#written : (file?.changed ?? 0n);
    const { inode, links } = this;
    return { kind: 'file', inode, links: this.removed ? 0 : links, size: this.size(), accessed: file?.accessed ?? 0n, modified, changed };
  }

  size(): number {
    const { size } = this.#content;
    return this.#length > 0 ? Math.max(size, this.#at + this.#length) : size;
  }

  read(at: number, into: Uint8Array): number {
    if (this.#length > 0 && at < this.#at + this.#length && at + into.length > this.#at) this.#tree.flush();
    return at >= this.#content.size ? 0 : this.#content.readInto(into, at);
  }

  write(at: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const size = this.size();
    const end = at + bytes.length;
    this.#tree.demandRoom(size, end);
    if (at > size) this.#grow(at);
    if (!this.#append(at, bytes)) {
      this.#tree.change(() => {
        this.#content.write(at, bytes);
        this.#touch(this.#tree.now());
      });
    }
    if (end > size) this.#tree.grew(end - Math.max(size, at));
  }

  /** Into the buffer, if it is short; false where it is not. */
  #append(at: number, bytes: Uint8Array): boolean {
    if (bytes.length >= BUFFER_BYTES) return false;
    const goesOn = this.#length > 0 && at >= this.#at && at <= this.#at + this.#length && at + bytes.length <= this.#at + BUFFER_BYTES;
    if (!goesOn) {
      if (this.#length > 0) this.#tree.flush();
      this.#at = at;
    }
    const from = at - this.#at;
    const end = from + bytes.length;
    if (end > this.#buffer.length) {
      const wider = new Uint8Array(Math.min(BUFFER_BYTES, Math.max(FIRST_BUFFER, end * 2)));
      wider.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = wider;
    }
    this.#buffer.set(bytes, from);
    this.#length = Math.max(this.#length, end);
    this.#written = this.#tree.now();
    this.#tree.wait(this);
    return true;
  }

  #touch(now: bigint): void {
    if (this.#file === undefined) return;
    this.#file.modified = now;
    this.#file.changed = now;
  }

  /** Stores what waits; the tree calls it inside its transaction, perhaps more than once. */
  store(): void {
    if (this.#length === 0 || !this.#tree.space.has(this.id)) return;
    this.#content.write(this.#at, this.#buffer.subarray(0, this.#length));
    this.#touch(this.#written);
  }

  /** What waited is committed. */
  stored(): void {
    this.#length = 0;
  }

  resize(size: number): void {
    this.#tree.flush();
    const old = this.size();
    this.#tree.demandRoom(old, size);
    if (size > old) this.#grow(size);
    else {
      this.#tree.change(() => {
        this.#content.truncate(size);
        this.#touch(this.#tree.now());
      });
      this.#tree.grew(size - old);
    }
  }

  /** Zeros up to `size`. */
  #grow(size: number): void {
    this.#tree.flush();
    const zeros = new Uint8Array(Math.min(PIECE_BYTES, size - this.#content.size));
    while (this.#content.size < size) {
      const from = this.#content.size;
      const length = Math.min(zeros.length, size - from);
      this.#tree.change(() => {
        this.#content.write(from, zeros.subarray(0, length));
        this.#touch(this.#tree.now());
      });
      this.#tree.grew(length);
    }
  }

  setTimes(accessed: bigint | undefined, modified: bigint | undefined): void {
    const file = this.#file;
    if (file === undefined) throw new TwzError('NotSupported', `object ${this.id} is a Blob: it has no times`);
    this.#tree.change(() => {
      if (accessed !== undefined) file.accessed = accessed;
      if (modified !== undefined) file.modified = modified;
      file.changed = this.#tree.now();
    });
  }

  sync(): void {
    this.#tree.sync();
  }

  hold(): void {
    this.#held++;
  }

  letGo(): void {
    this.#held--;
    if (this.#held > 0) return;
    if (!this.removed) {
      if (this.#length > 0) this.#tree.flush();
      this.#buffer = new Uint8Array();
      return;
    }
    this.#length = 0;
    this.#tree.discard(this);
  }
}

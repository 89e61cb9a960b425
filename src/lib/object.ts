/** An object as a whole: what can be asked of it without knowing its type. */
import { TwzError } from '../abi/errors.ts';
import { META, type Kind } from '../abi/format.ts';
import { demandRead, type FotEntry, type ObjectHandle, type WasmView } from '../abi/handle.ts';
import { NULL_ID, readId, type ObjectId } from '../abi/id.ts';
import type { SyncWords } from '../abi/sync.ts';
import { usageOf, type Usage } from '../abi/usage.ts';
import { INSPECT } from './inspect.ts';
import type { CollectionType } from './collections/type.ts';
import { rootOf } from './runtime.ts';
import { accessorAt, type Instance, type Schema, type Struct } from './struct.ts';

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Bytes of an object and its parts as one array. What is larger goes from space to space, object by object (`twz copy`). */
const EXPORT_MAX = 2 ** 31;

export class Obj {
  readonly #handle: ObjectHandle;

  constructor(handle: ObjectHandle) {
    this.#handle = handle;
  }

  /** The kernel's side. Not part of the stable interface. */
  get handle(): ObjectHandle {
    return this.#handle;
  }

  #reached(): ObjectHandle {
    const { handle } = this;
    if (handle.cold) handle.reach();
    handle.used = true;
    return handle;
  }

  /** As `#reached`, for what shows the object's content. */
  #readable(): ObjectHandle {
    const h = this.#reached();
    demandRead(h);
    if (h.cold) h.warm();
    return h;
  }

  get id(): ObjectId {
    return this.handle.id;
  }

  [INSPECT](): string {
    return `Obj ${this.id}`;
  }

  /** Bytes, metadata page included. */
  get size(): number {
    return this.#reached().size;
  }

  get kind(): Kind {
    return this.#reached().kindName;
  }

  /** Of a progressive object: ID of the code object that merges two versions of it. */
  get merge(): ObjectId | undefined {
    const { u8, kindName } = this.#reached();
    if (kindName !== 'progressive') return undefined;
    const id = readId(u8, META.merge);
    return id === NULL_ID ? undefined : id;
  }

  /** Default rights: 1 read, 2 write, 4 execute. */
  get rights(): number {
    return this.#reached().rights;
  }

  /** How many commits have changed it. */
  get version(): number {
    return this.#reached().version;
  }

  /** The root, checked to be of this type. Throws TypeMismatch. */
  root<C, I>(type: CollectionType<C, I>): C;
  root<F>(type: Struct<F>): Instance<F>;
  root<F>(type: Struct<F>): Instance<F> {
    const h = this.#reached();
    return accessorAt(type, h, rootOf(h, type));
  }

  /** Offset of the root; 0 for none. */
  get rootOffset(): number {
    return this.#reached().dv.getUint32(META.root, true);
  }

  /** The schema as it is stored: UTF-8, empty where there is none. */
  get schemaText(): Uint8Array {
    const h = this.#readable();
    const at = h.dv.getUint32(META.schema, true);
    if (at === 0) return new Uint8Array(0);
    if (at + 4 > h.size) h.corrupt(META.schema, 'the schema lies outside the object');
    const length = h.dv.getUint32(at, true);
    if (at + 4 + length > h.size) h.corrupt(META.schema, 'the schema lies outside the object');
    return h.u8.slice(at + 4, at + 4 + length);
  }

  /** The layouts that the object was created with, or undefined. */
  get schema(): Schema | undefined {
    const stored = this.schemaText;
    if (stored.length === 0) return undefined;
    try {
      const schema: Schema = JSON.parse(decoder.decode(stored));
      return schema;
    } catch {
      return this.handle.corrupt(META.schema, 'the schema is no JSON');
    }
  }

  /** What it refers to. */
  fot(): FotEntry[] {
    this.#reached();
    return [...this.handle.fotEntries()];
  }

  /** Points one FOT entry, and with it every pointer through it, at another object. Inside a transaction. */
  retarget(index: number, target: Obj): void {
    this.handle.retarget(index, target.handle);
  }

  /** A copy of `length` bytes from `at`. Throws OutOfRange. */
  bytes(at = 0, length = this.size - at): Uint8Array {
    const h = this.#readable();
    if (!(at >= 0 && length >= 0 && at + length <= h.size))
      throw new TwzError('OutOfRange', `bytes ${at} to ${at + length} of an object of ${h.size}`, { at, length, size: h.size });
    return h.u8.slice(at, at + length);
  }

  /**
   * The bytes themselves, from `at`. Call it in a transaction: from then on stores into the view are part of transactions like any
   * other. The object stays where it is, and cannot outgrow its place, until `releaseRaw`. Offsets below 4096 are metadata: leave them.
   */
  raw(at = 4096, length = this.size - at): Uint8Array {
    const h = this.#readable();
    if (!(at >= 0 && length >= 0 && at + length <= h.size))
      throw new TwzError('OutOfRange', `bytes ${at} to ${at + length} of an object of ${h.size}`, { at, length, size: h.size });
    h.expose();
    return h.u8.subarray(at, at + length);
  }

  /** The memory and address to give to a WebAssembly instance; its stores are part of transactions, as with `raw`. */
  wasm(): WasmView {
    return this.#readable().wasm();
  }

  /** Ends one `raw` or `wasm`. What was stored outside a transaction since is dropped. Views must not be used afterwards. */
  releaseRaw(): void {
    this.handle.unexpose();
  }

  /** A zeroed block of `size` bytes in the object: its offset. Inside a transaction. */
  allocate(size: number): number {
    return this.handle.allocate(size);
  }

  /** Gives a block back. Throws PointerCorrupt where none begins at `at`, or one that is free already. Inside a transaction. */
  free(at: number): void {
    this.handle.release(at);
  }

  /**
   * The words of a shared object, for Atomics, `threadSync` and locks; index = offset / 4. The object stays mapped from then on, and the
   * words are good until the space is closed. Throws NotShared.
   */
  sync(): SyncWords {
    return this.#reached().sync();
  }

  /**
   * How many runs of the machine have used a shared object, from 1. Raised by the first program that maps it after a restart: what it
   * holds of an earlier run is what the system happened to write back. Throws NotShared.
   */
  get generation(): number {
    return this.#reached().generation;
  }

  /** What its pages are used for, how much of them is free, and how scattered that is. */
  usage(): Usage {
    return usageOf(this.#readable().dv);
  }

  /** The object's file, byte for byte, as a checkpoint would write it now. */
  image(): Uint8Array {
    return this.#readable().image();
  }

  /** As `image`, with the files of the objects behind it that its collections go on in: for `space.import`. Throws ObjectTooLarge. */
  export(): Uint8Array {
    const h = this.#readable();
    const parts = h.parts();
    if (parts.length === 0) return h.image();
    let length = h.size;
    for (const part of parts) {
      demandRead(part);
      length += part.size;
    }
    if (length > EXPORT_MAX)
      throw new TwzError('ObjectTooLarge', `object ${h.id} with its parts has ${length} bytes; an export has ${EXPORT_MAX} at most`, {
        id: h.id,
        length,
      });
    const bytes = new Uint8Array(length);
    let at = 0;
    for (const each of [h, ...parts]) {
      bytes.set(each.image(), at);
      at += each.size;
    }
    return bytes;
  }
}

/**
 * What the kernel gives to programs for one object, and what they may ask of it. Accessors hold (handle, offset), never an address,
 * so the object can be moved, grown or evicted under them.
 */
import { TwzError } from './errors.ts';
import { RIGHT, type Kind } from './format.ts';
import type { ObjectId } from './id.ts';
import type { SyncWords } from './sync.ts';

/** An entry of the foreign object table, decoded. */
export interface FotEntry {
  readonly index: number;
  /** Pointers that accessors stored through this entry. */
  readonly count: number;
  /** The target, or undefined for a late-bound name. */
  readonly id: ObjectId | undefined;
  readonly path: string | undefined;
  /** Name of the resolver; empty for the space's own names. */
  readonly resolver: string | undefined;
}

/** A memory to give to a WebAssembly instance, and where the object lies in it. */
export interface WasmView {
  readonly memory: { readonly buffer: ArrayBufferLike };
  readonly address: number;
}

export interface ObjectHandle {
  readonly id: ObjectId;
  /** The ID as it stands in files, in four little-endian words. Zeros where it can have none. */
  readonly idWords: Int32Array;
  /** Loads and stores go through this view, which ends where the object ends. Read again after anything that can move the object. */
  readonly dv: DataView;
  readonly u8: Uint8Array;
  /** Bytes. */
  readonly size: number;
  /** Not mapped now: call `warm` before using `dv`. It throws the typed error if the object is gone. */
  readonly cold: boolean;
  /** One byte a 64-byte line: 1 where a store needs no `mark`. */
  readonly dirty: Uint8Array;
  /** Handles of FOT entries that were followed before. */
  readonly fot: (ObjectHandle | undefined)[];
  /**
   * Raised when its bytes change other than by this program's stores: a transaction was undone, another process committed, a snapshot moved
   * on. Who keeps a place looks at it, besides counters that lie in the object: those may come to an earlier value again.
   */
  readonly turn: number;
  /** Set on each use: what was used lately is evicted last. */
  used: boolean;
  /** The struct that the root is known to be: its types were compared with the program's. */
  judged: object | undefined;
  /** The struct whose types were compared when a pointer led inside, past the root. */
  entered: object | undefined;
  readonly kindName: Kind;
  /** Default rights: bits of RIGHT. */
  readonly rights: number;
  /**
   * Rights of whoever runs now: the default rights, or what the active context gives. `want`: those asked for, so that another attached
   * context can be taken that gives them.
   */
  granted(want: number): number;
  /** Commits that changed it. */
  readonly version: number;
  warm(): void;
  /** Maps it for what everyone may know: that it is there, kind, size, rights, what it refers to. Its content is behind `warm`. */
  reach(): void;
  /** Must come before a store to [at, at + 8), once a transaction and line. */
  mark(at: number): void;
  markRange(at: number, length: number): void;
  /** A zeroed block of at least `size` bytes, 16-aligned from 16 bytes up. Never 0. */
  allocate(size: number): number;
  /** As `allocate`, but 0 where the object would have to grow past `limit` bytes for it. */
  allocateWithin(size: number, limit: number): number;
  /** Gives a block back. PointerCorrupt where none begins at `at`, or one that is free already. */
  release(at: number): void;
  /** The handle that a non-zero FOT index leads to. */
  follow(index: number, at: number): ObjectHandle;
  /** `target`, which this index led to, has been looked at: it may be followed without a question from now on. */
  remember(index: number, target: ObjectHandle): void;
  /** The FOT index under which this object refers to `target`, entered if need be; counts one pointer more. 0 where that is this object. */
  refer(target: ObjectHandle): number;
  /** As `refer`, for a pointer that goes with the target's ID in a key. */
  referAsKey(target: ObjectHandle): number;
  /** As `refer`, for what `extend` gave: from now on a part of this object. */
  referAsPart(target: ObjectHandle): number;
  /** As `unrefer`, for such a one that goes. */
  unreferPart(index: number): void;
  /** Its parts, and theirs. */
  parts(): readonly ObjectHandle[];
  /** Throws what `refer` would throw. */
  demandTarget(target: ObjectHandle): void;
  /** As `refer`, for what FOT entry `index` of another object leads to, be it gone or bound late: for a pointer that moves here. */
  referAs(from: ObjectHandle, index: number): number;
  /** As `refer`, for a path that is resolved at each use. */
  referByName(path: string, resolver: string): number;
  /** One pointer through this FOT index is gone. */
  unrefer(index: number): void;
  fotEntries(): Iterable<FotEntry>;
  /** A new object of this one's kind and rights for more of its content: reclaimed when nothing refers to it. `reserve` as at creation. */
  extend(reserve: number): ObjectHandle;
  /** Makes what `extend` made of another object go on with this one's content. */
  belongTo(home: ObjectHandle): void;
  /** Deletes an object that `extend` made. */
  remove(): void;
  /** Points an entry, and every pointer through it, at another object. */
  retarget(index: number, target: ObjectHandle): void;
  /** Makes raw stores part of transactions from now on, and keeps the object where it is. */
  expose(): void;
  unexpose(): void;
  wasm(): WasmView;
  /** Keeps the object mapped where it is. */
  pin(): void;
  unpin(): void;
  /** The words of a shared object; it stays where it is from then on. Throws NotShared. */
  sync(): SyncWords;
  /** How many runs of the machine have used a shared object. Throws NotShared. */
  readonly generation: number;
  /** The object's file as it would be written now. */
  image(): Uint8Array;
  /** Something was begun that can neither be completed nor taken back: the running transaction cannot be committed, and throws this. */
  spoil(error: unknown): void;
  /** Throws PointerCorrupt. */
  corrupt(at: number, reason: string): never;
}

/** Judges who comes to an object to read it. Who holds an accessor already has been judged. Throws ObjectForbidden. */
export function demandRead(h: Pick<ObjectHandle, 'id' | 'granted'>): void {
  demandRight(h, 'read');
}

/** Throws ObjectForbidden, which names the right that is missing. */
export function demandRight(h: Pick<ObjectHandle, 'id' | 'granted'>, right: keyof typeof RIGHT): void {
  const rights = h.granted(RIGHT[right]);
  if ((rights & RIGHT[right]) === 0)
    throw new TwzError('ObjectForbidden', `object ${h.id} does not give the right to ${right}`, { id: h.id, rights, missing: right });
}

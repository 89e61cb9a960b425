/**
 * What the kernel gives to programs for one object, and what they may ask of it. Accessors hold (handle, offset), never an address,
 * so the object can be moved, grown or evicted under them.
 */
import type { ObjectId } from './id.ts';

export interface ObjectHandle {
  readonly id: ObjectId;
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
  warm(): void;
  /** Must come before a store to [at, at + 8), once a transaction and line. */
  mark(at: number): void;
  markRange(at: number, length: number): void;
  /** A zeroed block of at least `size` bytes, 16-aligned from 16 bytes up. Never 0. */
  allocate(size: number): number;
  /** Gives a block back. PointerCorrupt where none begins at `at`. */
  release(at: number): void;
  /** The handle that a non-zero FOT index leads to. */
  follow(index: number, at: number): ObjectHandle;
  /** The FOT index under which this object refers to `target`, entered if need be; counts one pointer more. */
  refer(target: ObjectHandle): number;
  /** As `refer`, for a path that is resolved at each use. */
  referByName(path: string, resolver: string): number;
  /** One pointer through this FOT index is gone. */
  unrefer(index: number): void;
  /** Throws PointerCorrupt. */
  corrupt(at: number, reason: string): never;
}

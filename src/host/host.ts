/**
 * The machine beneath the kernel. Everything that reaches outside the process goes through here; the kernel runs unchanged on
 * every implementation. Calls throw `TwzError` of category storage or host, never a bare system error.
 *
 * Durability contract, which `simulated` enforces and the kernel must not exceed:
 * - `write` reaches the operating system: it survives the death of the process, not a power failure.
 * - `sync(file)` makes earlier writes to that file, and its size, survive a power failure.
 * - `syncDirectory` does the same for names created, renamed or removed in that directory.
 * - Stores through `mapShared` memory survive the death of the process. They are never made durable through the mapping.
 * - Whatever was written but not synced may survive a power failure in whole, in part (by 512-byte sector) or not at all, in any order.
 */

import type { Ed25519 } from './ed25519.ts';
import type { Futex } from './futex.ts';
import type { Pages } from './pages.ts';
import type { WasmMemory } from './wasm-memory.ts';

declare const FILE: unique symbol;
/** An open file. */
export type File = number & { readonly [FILE]: true };

export type OpenMode =
  /** must exist, reading only */
  | 'read'
  /** must exist, reading and writing */
  | 'write'
  /** made if it is missing, reading and writing */
  | 'create'
  /** must exist; each write returns when it is durable (O_DSYNC) */
  | 'writeThrough';

export type Rights = 'none' | 'read' | 'readWrite';

export interface Timer {
  cancel(): void;
}

export interface Lock {
  release(): void;
  /** An exclusive lock becomes a shared one. Who waits for it may come first: it is lost then, and this throws SpaceBusy. */
  share(): void;
}

/**
 * A region of address space that objects are mapped into. Addresses are bytes from its start; all are multiples of 4096.
 * The region reads as zero where nothing is mapped.
 */
export interface Window {
  readonly buffer: ArrayBufferLike;
  /** The WebAssembly memory behind the buffer, where there is one. */
  readonly memory: WasmMemory | undefined;
  readonly size: number;
  /** Whether what is mapped keeps showing the file where nothing was stored. A host without mmap copies the file instead. */
  readonly maps: boolean;
  /** Shows `length` bytes of the file from `offset`, as a private image: stores stay in this window. The file must be that long. */
  mapPrivate(at: number, length: number, file: File, offset: number): void;
  /** Shows the file itself: stores reach it, as if written. False where the host cannot. */
  mapShared(at: number, length: number, file: File, offset: number): boolean;
  /** The range reads as zero again and holds no memory. `mapped` false: no file is mapped in it, which makes this cheaper. */
  clear(at: number, length: number, mapped: boolean): void;
  /**
   * Lets go of the private copies in the range: it shows the file again. A host that does not map does nothing.
   */
  drop(at: number, length: number): void;
  /** Makes the pages of the range the window's own, as they are: what is written to their file does not show there from now on. */
  own(at: number, length: number): void;
  /** Limits what WebAssembly code may do in the range. A host without an MMU does nothing. */
  protect(at: number, length: number, rights: Rights): void;
  /**
   * Pages in the range whose bytes may differ from the mapped file, as page-aligned [start, end) pairs, flat.
   * Undefined: the host does not know, compare everything.
   */
  privatePages(at: number, length: number): Uint32Array | undefined;
  /**
   * Sleeps while the word at `at` holds `value`, at most `ms` milliseconds, until `wake` is called on the same word of the same file, in
   * this process or another. May return early. Only on a host that is `sharing`.
   */
  sleep(at: number, value: number, ms: number): void;
  /** Wakes up to `count` that sleep on the word at `at`. */
  wake(at: number, count: number): void;
  /** Where it lies in the process's address space, where that can be told. */
  readonly address?: number;
  /** Gives the region back. */
  close(): void;
}

/** Takes the right to a page of a window away when a time is over, whatever this thread does meanwhile. */
export interface Watchdog {
  /** From now on `ms` may pass. The page is that at `at`, of 4096 bytes. Returns what `leave` takes. A call inside another shortens its time, and never lengthens it. */
  enter(window: Window, at: number, ms: number): number;
  /** Is the time of what was entered last over? */
  readonly over: boolean;
  /** True where the time was over; the page has its right again then. */
  leave(entered: number): boolean;
}

export interface Isolation {
  /** A file that no directory has and no disk: memory that can be mapped in several places. */
  memoryFile(length: number): File;
  readonly watchdog: Watchdog;
}

export interface Host {
  readonly name: 'linux' | 'portable' | 'simulated';
  /** Can several processes have a space open: shared mapping, shared locks, sleeping on words? */
  readonly sharing: boolean;
  /** How many there are. */
  readonly processors: number;
  /** Names this process to people. */
  readonly pid: number;

  open(path: string, mode: OpenMode): File;
  close(file: File): void;
  /** Length in bytes. */
  length(file: File): number;
  truncate(file: File, length: number): void;
  /** Reads up to `into.length` bytes at `offset`; returns how many there were. */
  read(file: File, into: Uint8Array, offset: number): number;
  /** Reads a file from its start into `into`; returns how many bytes there were. Where it fills `into` there may be more. */
  readFile(path: string, into: Uint8Array): number;
  /** Writes all of `from` at `offset`. */
  write(file: File, from: Uint8Array, offset: number): void;
  sync(file: File): void;
  syncAsync(file: File): Promise<void>;
  /** Writes at `offset` through a `writeThrough` file; resolves when the bytes are durable. The bytes must not change meanwhile. */
  writeThroughAsync(file: File, from: Uint8Array, offset: number): Promise<void>;
  /** Extends the file to `length` with written zeros, so that later writes allocate nothing. */
  preallocate(file: File, length: number): void;

  exists(path: string): boolean;
  makeDirectory(path: string): void;
  /** Names in the directory, without order. FileMissing where there is none. */
  list(path: string): string[];
  rename(from: string, to: string): void;
  /** Removes a file. Not an error where it is missing. */
  remove(path: string): void;
  syncDirectory(path: string): void;
  /** Makes everything written and every name changed so far below the directory durable: cheaper than many single syncs. */
  syncAll(directory: string): void;
  syncAllAsync(directory: string): Promise<void>;

  /** Takes the lock file exclusively, or throws SpaceBusy at once. The operating system releases it when the process dies. */
  lock(path: string): Lock;
  /** As `lock`, but together with others that do the same. Throws SpaceBusy while somebody holds it exclusively. */
  lockShared(path: string): Lock;

  openWindow(): Window;
  /** What it takes to run programs that are not trusted; missing where they cannot be. */
  readonly isolation?: Isolation;
  /** Fetches pages when they are touched; nothing where the system does not give page faults to programs. */
  readonly pages?: Pages | undefined;

  /** Compare-and-sleep on words of windows and other shared memory. */
  readonly futex: Futex;
  /** Names this run of the machine: another text after each restart of it. */
  boot(): string;

  /** Milliseconds, monotonic. */
  now(): number;
  /** Milliseconds since 1970: for people to read, and for capabilities to expire by. Nothing else is decided by it. */
  time(): number;
  random(bytes: number): Uint8Array;
  sha256(...parts: Uint8Array[]): Uint8Array;
  /** Signatures. */
  readonly ed25519: Ed25519;
  /** Calls back once after `ms`; does not keep the process alive. */
  timer(ms: number, callback: () => void): Timer;
  /** Calls back once the callbacks that are ready now, and what they resolve, have run. */
  soon(callback: () => void): void;
}

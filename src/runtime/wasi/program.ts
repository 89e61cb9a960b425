/**
 * One program's state: its memory, its descriptors, and what it was given. The calls are functions over it (fd-calls.ts, path-calls.ts,
 * process-calls.ts, poll.ts); wasi.ts is the table of them.
 *
 * Invariants: a descriptor never gives more rights than the one it was opened through; a file is held once for each descriptor of it; every
 * access to the program's memory goes through `bytes` or `view`.
 */
import { isTwzError, type TwzError } from '../../abi/errors.ts';
import type { ProgramExit } from '../exit.ts';
import type { GuestMemory } from '../guest.ts';
import { CHANGING_RIGHTS, DIRECTORY_RIGHTS, ERRNO, FILE_RIGHTS, RIGHTS, RIGHTS_ALL, STREAM_RIGHTS } from './numbers.ts';
import { refuse } from './refusal.ts';
import type { TreeDirectory, TreeEntry, TreeFile } from './tree.ts';

/** A stream of bytes that the caller gives. Both directions are synchronous. */
export interface WasiStream {
  /** Fills what it can of `into`; 0 is the end. */
  read?(into: Uint8Array): number;
  /** Takes all of it; the bytes are its own. */
  write?(bytes: Uint8Array): void;
  /** Programs may ask whether they talk to a person. */
  readonly terminal?: boolean;
}

export interface WasiClock {
  /** Nanoseconds since 1970. */
  realtime(): bigint;
  /** Nanoseconds since some time. */
  monotonic(): bigint;
  /** Nanoseconds between two values. */
  readonly resolution: bigint;
  /** Returns after so many nanoseconds, or earlier. May throw to end the program. */
  pause(nanoseconds: bigint): void;
}

export interface Preopen {
  /** As the program sees it: `/`, `.`, `/data`. */
  readonly name: string;
  readonly directory: TreeDirectory;
  readonly readOnly?: boolean;
}

export interface WasiOptions {
  /** The first is the program's name. */
  readonly args?: readonly string[];
  /** `NAME=value`. */
  readonly env?: readonly string[];
  readonly preopens?: readonly Preopen[];
  readonly stdin?: WasiStream;
  readonly stdout?: WasiStream;
  readonly stderr?: WasiStream;
  readonly clock: WasiClock;
  /** Fills it with random bytes. */
  readonly random: (into: Uint8Array) => void;
  /** Most descriptors at once (default 1024). */
  readonly descriptorsMax?: number;
  /** Errors that are none of the program's business: they pass through it. */
  readonly passes?: (error: TwzError) => boolean;
}

interface Opened {
  rights: number;
  inheriting: number;
  flags: number;
}

export interface StreamDescriptor extends Opened {
  readonly kind: 'stream';
  readonly stream: WasiStream;
}

export interface FileDescriptor extends Opened {
  readonly kind: 'file';
  readonly file: TreeFile;
  position: number;
}

export interface DirectoryDescriptor extends Opened {
  readonly kind: 'directory';
  readonly directory: TreeDirectory;
  /** Set for what the program was given. */
  readonly preopen: Uint8Array | undefined;
  /** What fd_readdir goes through; read anew at cookie 0. */
  listing: readonly TreeEntry[] | undefined;
}

export type Descriptor = StreamDescriptor | FileDescriptor | DirectoryDescriptor;

const DESCRIPTORS_MAX = 1024;
/** Buffers of one call, as on Linux. */
const VECTORS_MAX = 1024;
const PATH_BYTES_MAX = 4096;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class Program {
  readonly clock: WasiClock;
  readonly random: (into: Uint8Array) => void;
  readonly passes: (error: TwzError) => boolean;
  readonly args: readonly Uint8Array[];
  readonly env: readonly Uint8Array[];
  /** It was compiled for `wasi_unstable`, the snapshot before. */
  older = false;
  /** When it began, by the monotonic clock. */
  readonly began: bigint;
  /** How it ended itself. */
  exit: ProgramExit | undefined;
  /** The last error of the space that it was told of as a number. */
  trouble: TwzError | undefined;
  readonly #descriptors = new Map<number, Descriptor>();
  readonly #descriptorsMax: number;
  #lowestFree = 0;
  #memory: GuestMemory | undefined;

  constructor(options: WasiOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.passes = options.passes ?? (() => false);
    this.began = options.clock.monotonic();
    this.args = (options.args ?? []).map(zeroEnded);
    this.env = (options.env ?? []).map(zeroEnded);
    this.#descriptorsMax = options.descriptorsMax ?? DESCRIPTORS_MAX;
    for (const stream of [options.stdin, options.stdout, options.stderr])
      this.add({ kind: 'stream', stream: stream ?? {}, rights: STREAM_RIGHTS, inheriting: 0, flags: 0 });
    for (const { name, directory, readOnly } of options.preopens ?? []) {
      const without = readOnly === true ? ~CHANGING_RIGHTS : -1;
      this.add({
        kind: 'directory',
        directory,
        preopen: encoder.encode(name),
        listing: undefined,
        rights: DIRECTORY_RIGHTS & without,
        inheriting: (DIRECTORY_RIGHTS | FILE_RIGHTS) & without,
        flags: 0,
      });
    }
  }

  // --- memory -------------------------------------------------------------------------------------------------------------

  /** The program has its memory; before that every pointer is bad. */
  attach(memory: GuestMemory): void {
    this.#memory = memory;
  }

  bytes(at: number, length: number, access: 'read' | 'write'): Uint8Array {
    try {
      return this.#memory?.bytes(at, length, access) ?? refuse(ERRNO.fault);
    } catch (error) {
      if (isTwzError(error, 'GuestFault')) refuse(ERRNO.fault);
      throw error;
    }
  }

  view(at: number, length: number, access: 'read' | 'write'): DataView {
    try {
      return this.#memory?.view(at, length, access) ?? refuse(ERRNO.fault);
    } catch (error) {
      if (isTwzError(error, 'GuestFault')) refuse(ERRNO.fault);
      throw error;
    }
  }

  /** The buffers of a read or a write, those that hold anything; together below 2^31 bytes. */
  vectors(at: number, count: number, access: 'read' | 'write'): Uint8Array[] {
    if (count > VECTORS_MAX) refuse(ERRNO.inval);
    const list = this.view(at, count * 8, 'read');
    const buffers: Uint8Array[] = [];
    let total = 0;
    for (let i = 0; i < count; i++) {
      const length = list.getUint32(i * 8 + 4, true);
      if (length === 0) continue;
      total += length;
      if (total > 0x7fffffff) refuse(ERRNO.inval);
      buffers.push(this.bytes(list.getUint32(i * 8, true), length, access));
    }
    return buffers;
  }

  text(at: number, length: number): string {
    if (length > PATH_BYTES_MAX) refuse(ERRNO.nametoolong);
    const bytes = this.bytes(at, length, 'read').slice();
    if (bytes.includes(0)) refuse(ERRNO.inval);
    try {
      return decoder.decode(bytes);
    } catch {
      return refuse(ERRNO.ilseq);
    }
  }

  // --- descriptors --------------------------------------------------------------------------------------------------------

  /** Gives it the lowest number that is free. */
  add(descriptor: Descriptor): number {
    this.demandRoom();
    let fd = this.#lowestFree;
    while (this.#descriptors.has(fd)) fd++;
    this.#descriptors.set(fd, descriptor);
    this.#lowestFree = fd + 1;
    return fd;
  }

  demandRoom(): void {
    if (this.#descriptors.size >= this.#descriptorsMax) refuse(ERRNO.mfile);
  }

  descriptor(fd: number, right = 0): Descriptor {
    const found = this.#descriptors.get(fd) ?? refuse(ERRNO.badf);
    if ((found.rights & right) !== right) refuse(ERRNO.notcapable);
    return found;
  }

  file(fd: number, right: number): FileDescriptor {
    const found = this.descriptor(fd);
    if (found.kind === 'directory') refuse(ERRNO.badf);
    if (found.kind === 'stream') refuse(right === RIGHTS.fdSeek || right === RIGHTS.fdTell ? ERRNO.spipe : ERRNO.inval);
    if ((found.rights & right) !== right) refuse(ERRNO.notcapable);
    return found;
  }

  directory(fd: number, right: number): DirectoryDescriptor {
    const found = this.descriptor(fd);
    if (found.kind !== 'directory') refuse(ERRNO.notdir);
    if ((found.rights & right) !== right) refuse(ERRNO.notcapable);
    return found;
  }

  close(fd: number): void {
    const found = this.descriptor(fd);
    this.#descriptors.delete(fd);
    this.#lowestFree = Math.min(this.#lowestFree, fd);
    if (found.kind === 'file') found.file.letGo();
  }

  renumber(from: number, to: number): void {
    const moved = this.descriptor(from);
    this.descriptor(to);
    if (from === to) return;
    this.close(to);
    this.#descriptors.delete(from);
    this.#descriptors.set(to, moved);
    this.#lowestFree = Math.min(this.#lowestFree, from);
    while (this.#descriptors.has(this.#lowestFree)) this.#lowestFree++;
  }

  /** Closes everything. Throws the first error of what was not written yet, once all is closed. */
  closeAll(): void {
    let failed: unknown;
    for (const fd of [...this.#descriptors.keys()]) {
      try {
        this.close(fd);
      } catch (error) {
        failed ??= error;
      }
    }
    if (failed !== undefined) throw failed;
  }
}

function zeroEnded(text: string): Uint8Array {
  return encoder.encode(`${text.replaceAll('\0', '')}\0`);
}

/** Rights as a program gives them, in 64 bits; what there is no right of is left out. */
export function rightsOf(bits: bigint): number {
  return Number(bits & BigInt(RIGHTS_ALL));
}

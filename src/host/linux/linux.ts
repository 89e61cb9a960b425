/**
 * The real machine: object files are mapped into WebAssembly memories with mmap(MAP_FIXED).
 *
 * A window is a shared WebAssembly memory of 4 GiB, so its bytes are a SharedArrayBuffer: typed arrays, DataViews, workers,
 * Atomics and WebAssembly code all see the mapped pages. MAP_PRIVATE keeps uncommitted bytes out of the file.
 */
import * as fs from 'node:fs';
import { PAGE } from '../../abi/format.ts';
import { TwzError } from '../../abi/errors.ts';
import type { File, Host, Isolation, Lock, Rights, Watchdog, Window } from '../host.ts';
import { NodeFiles, systemError } from '../node-files.ts';
import type { Pages } from '../pages.ts';
import { Memory, type WasmMemory } from '../wasm-memory.ts';
import { futexWait, futexWake } from './futex.ts';
import { LOCK, MADV_DONTNEED, MAP, PROT, addressOf, lastError, libc } from './libc.ts';
import { LinuxFutex } from './system-futex.ts';
import { privatePages } from './pagemap.ts';
import { bootId } from './threads.ts';
import { pagesOfThread } from './userfault.ts';
import { startWatchdog } from './watchdog.ts';

const WINDOW_SIZE = 2 ** 32;
const WASM_PAGE = 65536;
const O_CLOEXEC = 0o2000000;
const MFD_CLOEXEC = 1;

/** How a file is shown that others change: shared for reading or for storing, or as a private image that shows it where nothing was stored. */
export type Showing = 'read' | 'write' | 'private';

export class MappedWindow implements Window {
  readonly memory: WasmMemory = new Memory({ initial: WINDOW_SIZE / WASM_PAGE, maximum: WINDOW_SIZE / WASM_PAGE, shared: true });
  readonly #libc = libc();
  readonly buffer: ArrayBufferLike = this.memory.buffer;
  readonly size = WINDOW_SIZE;
  readonly maps = true;
  readonly #base = addressOf(new Uint8Array(this.buffer, 0, 1));

  get address(): number {
    return this.#base;
  }

  #map(at: number, length: number, flags: number, file: number, offset: number): void {
    const wanted = this.#base + at;
    if (this.#libc.mmap(wanted, length, PROT.readWrite, flags | MAP.fixed, file, offset) !== wanted)
      throw lastError(`mmap of ${length} bytes`);
  }

  mapPrivate(at: number, length: number, file: File, offset: number): void {
    this.#map(at, length, MAP.private | MAP.noReserve, file, offset);
  }

  mapShared(at: number, length: number, file: File, offset: number): boolean {
    this.#map(at, length, MAP.shared, file, offset);
    return true;
  }

  /** Shows `length` bytes of an open file. Throws ReadOnly where the file's seals or its mode do not allow that. */
  show(at: number, length: number, file: File, how: Showing): void {
    const wanted = this.#base + at;
    const prot = how === 'read' ? PROT.read : PROT.readWrite;
    const flags = (how === 'private' ? MAP.private | MAP.noReserve : MAP.shared) | MAP.fixed;
    if (this.#libc.mmap(wanted, length, prot, flags, file, 0) !== wanted) throw lastError(`mmap of ${length} bytes`);
  }

  clear(at: number, length: number, mapped: boolean): void {
    if (!mapped) this.drop(at, length);
    else this.#map(at, length, MAP.private | MAP.anonymous | MAP.noReserve, -1, 0);
  }

  drop(at: number, length: number): void {
    if (this.#libc.madvise(this.#base + at, length, MADV_DONTNEED) !== 0) throw lastError('madvise');
  }

  own(at: number, length: number): void {
    const bytes = new Uint8Array(this.buffer, at, length);
    // A store that changes nothing copies the page all the same. An atomic one is never left out as needless.
    for (let page = 0; page < length; page += PAGE) Atomics.or(bytes, page, 0);
  }

  protect(at: number, length: number, rights: Rights): void {
    if (this.#libc.mprotect(this.#base + at, length, PROT[rights]) !== 0) throw lastError('mprotect');
  }

  privatePages(at: number, length: number): Uint32Array | undefined {
    return privatePages(this.#base + at, length / PAGE);
  }

  sleep(at: number, value: number, ms: number): void {
    futexWait(this.#base + at, value, ms);
  }

  wake(at: number, count: number): void {
    futexWake(this.#base + at, count);
  }

  /** The memory itself goes when nothing refers to its buffer; the file mappings must go now, so that nothing keeps the files alive. */
  close(): void {
    this.clear(0, this.size, true);
  }
}

export class LinuxHost extends NodeFiles implements Host, Isolation {
  readonly name = 'linux';
  readonly sharing = true;
  readonly #libc = libc();
  #futex: LinuxFutex | undefined;
  #watchdog: Watchdog | undefined;
  readonly #memoryFiles = new Set<File>();

  lock(path: string): Lock {
    return this.#lock(path, LOCK.exclusive);
  }

  lockShared(path: string): Lock {
    return this.#lock(path, LOCK.shared);
  }

  #lock(path: string, how: number): Lock {
    let fd: number;
    try {
      fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644);
    } catch (cause) {
      throw systemError(`lock ${path}`, cause);
    }
    const take = (mode: number): void => {
      if (this.#libc.flock(fd, mode | LOCK.nonBlocking) === 0) return;
      fs.closeSync(fd);
      throw new TwzError('SpaceBusy', `${path} is held by another process or another handle of this one`, { path });
    };
    take(how);
    return { release: () => fs.closeSync(fd), share: () => take(LOCK.shared) };
  }

  /** Three calls and nothing else: this is the first use of a small object. */
  override readFile(path: string, into: Uint8Array): number {
    const { open, pread, close } = this.#libc;
    const fd = open(path, O_CLOEXEC);
    if (fd < 0) throw lastError(`open ${path}`);
    const count = pread(fd, into, into.length, 0);
    const error = count < 0 ? lastError(`read ${path}`) : undefined;
    close(fd);
    if (error !== undefined) throw error;
    return count;
  }

  override syncAll(directory: string): void {
    const file = this.open(directory, 'read');
    try {
      if (this.#libc.syncfs(file) !== 0) throw lastError(`syncfs ${directory}`);
    } finally {
      this.close(file);
    }
  }

  override async syncAllAsync(directory: string): Promise<void> {
    const file = this.open(directory, 'read');
    try {
      const result = await new Promise<number>((resolve, reject) => {
        this.#libc.syncfsAsync(file, (error, value) => (error === null ? resolve(value) : reject(systemError('syncfs', error))));
      });
      if (result !== 0) throw new TwzError('IoError', `syncfs ${directory} failed`, { directory });
    } finally {
      this.close(file);
    }
  }

  openWindow(): Window {
    return new MappedWindow();
  }

  memoryFile(length: number): File {
    const fd = this.#libc.memfdCreate('twizzler', MFD_CLOEXEC);
    if (fd < 0) throw lastError('memfd_create');
    const file = fd as File;
    this.#memoryFiles.add(file);
    try {
      this.truncate(file, length);
    } catch (error) {
      this.close(file);
      throw error;
    }
    return file;
  }

  /** What Node did not open it is not to close either: in worker threads it would warn. */
  override close(file: File): void {
    if (this.#memoryFiles.delete(file)) this.#libc.close(file);
    else super.close(file);
  }

  get watchdog(): Watchdog {
    this.#watchdog ??= startWatchdog();
    return this.#watchdog;
  }

  get isolation(): Isolation {
    return this;
  }

  get pages(): Pages | undefined {
    return pagesOfThread();
  }

  get futex(): LinuxFutex {
    this.#futex ??= new LinuxFutex();
    return this.#futex;
  }

  boot(): string {
    return bootId();
  }
}

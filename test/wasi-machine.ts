/** A program of WASI without code: the test makes its calls, over a memory of its own. Texts and structures are laid out for it. */
import { ERRNO, RIGHTS_ALL } from '../src/runtime/wasi/numbers.ts';
import type { WasiClock, WasiOptions } from '../src/runtime/wasi/program.ts';
import { Wasi, type WasiImports } from '../src/runtime/wasi/wasi.ts';
import type { Space } from '../src/index.ts';
import { PlainMemory } from '../src/testing/plain-memory.ts';
import { SpaceTree, type TreeLimits } from '../src/services/files/tree.ts';

export const ERRORS_BY_NUMBER: ReadonlyMap<number, string> = new Map(Object.entries(ERRNO).map(([name, n]) => [n, name]));

/** Time that goes on only when somebody sleeps. */
export class TestClock implements WasiClock {
  now = 1_000_000_000n;
  readonly resolution = 1n;
  readonly slept: bigint[] = [];

  realtime(): bigint {
    return 1_700_000_000_000_000_000n + this.now;
  }

  monotonic(): bigint {
    return this.now;
  }

  pause(nanoseconds: bigint): void {
    this.slept.push(nanoseconds);
    this.now += nanoseconds;
  }
}

export interface Opened {
  readonly lookup?: number;
  readonly oflags?: number;
  readonly rights?: bigint;
  readonly inheriting?: bigint;
  readonly flags?: number;
}

const SIZE = 1 << 20;
const PATHS = 1024;
const OUT = 16384;
const DATA = 65536;

export class Machine {
  readonly memory = { buffer: new ArrayBuffer(SIZE) };
  readonly u8 = new Uint8Array(this.memory.buffer);
  readonly dv = new DataView(this.memory.buffer);
  readonly wasi: Wasi;
  readonly clock: TestClock = new TestClock();
  readonly imports: WasiImports;
  #texts = PATHS;

  constructor(options: Partial<WasiOptions>, module?: string) {
    this.wasi = new Wasi({ clock: this.clock, random: (into) => into.fill(0xa5), ...options });
    this.wasi.attach(new PlainMemory(this.memory));
    this.imports = this.wasi.imports(module);
  }

  /** The errno's name. */
  call(name: string, ...args: readonly (number | bigint)[]): string {
    this.#texts = PATHS;
    const errno = this.raw(name, ...args);
    return ERRORS_BY_NUMBER.get(errno) ?? String(errno);
  }

  raw(name: string, ...args: readonly (number | bigint)[]): number {
    const run = this.imports[name];
    if (run === undefined) throw new Error(`no call ${name}`);
    return Number(run(...args));
  }

  /** Puts a text where it stays until the next call: its address and length. */
  text(text: string): [number, number] {
    const bytes = new TextEncoder().encode(text);
    const at = this.#texts;
    this.u8.set(bytes, at);
    this.#texts += bytes.length;
    return [at, bytes.length];
  }

  get out(): number {
    return OUT;
  }

  u32(): number {
    return this.dv.getUint32(OUT, true);
  }

  u64(): bigint {
    return this.dv.getBigUint64(OUT, true);
  }

  /** The new descriptor, or the errno's name. */
  open(path: string, options: Opened = {}, dir = 3): number | string {
    const { lookup = 1, oflags = 0, rights = BigInt(RIGHTS_ALL), inheriting = BigInt(RIGHTS_ALL), flags = 0 } = options;
    const base = oflags === 2 && options.rights === undefined ? rights & ~64n : rights;
    const errno = this.call('path_open', dir, lookup, ...this.text(path), oflags, base, inheriting, flags, OUT);
    return errno === 'success' ? this.u32() : errno;
  }

  /** As `open`, for what must go well. */
  opened(path: string, options: Opened = {}, dir = 3): number {
    const fd = this.open(path, options, dir);
    if (typeof fd === 'string') throw new Error(`open ${path}: ${fd}`);
    return fd;
  }

  #vector(bytes: number): [number, number] {
    this.dv.setUint32(OUT + 64, DATA, true);
    this.dv.setUint32(OUT + 68, bytes, true);
    return [OUT + 64, 1];
  }

  write(fd: number, text: string | Uint8Array, at?: bigint): number | string {
    const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
    this.u8.set(bytes, DATA);
    const vector = this.#vector(bytes.length);
    const errno = at === undefined ? this.call('fd_write', fd, ...vector, OUT) : this.call('fd_pwrite', fd, ...vector, at, OUT);
    return errno === 'success' ? this.u32() : errno;
  }

  /** The text that was read, or the errno's name after a colon. */
  read(fd: number, length = 65536, at?: bigint): string {
    const vector = this.#vector(length);
    const errno = at === undefined ? this.call('fd_read', fd, ...vector, OUT) : this.call('fd_pread', fd, ...vector, at, OUT);
    return errno === 'success' ? new TextDecoder().decode(this.u8.slice(DATA, DATA + this.u32())) : `:${errno}`;
  }

  seek(fd: number, offset: bigint, whence: number): bigint | string {
    const errno = this.call('fd_seek', fd, offset, whence, OUT);
    return errno === 'success' ? this.u64() : errno;
  }

  stat(path: string, follow = true, dir = 3): { type: number; size: number; links: number; modified: bigint; inode: bigint } | string {
    const errno = this.call('path_filestat_get', dir, follow ? 1 : 0, ...this.text(path), OUT);
    if (errno !== 'success') return errno;
    const { dv } = this;
    return {
      type: dv.getUint8(OUT + 16),
      size: Number(dv.getBigUint64(OUT + 32, true)),
      links: Number(dv.getBigUint64(OUT + 24, true)),
      modified: dv.getBigUint64(OUT + 48, true),
      inode: dv.getBigUint64(OUT + 8, true),
    };
  }

  /** Names in a directory, read through a buffer of that many bytes. */
  names(fd: number, room = 4096): string[] {
    const found: string[] = [];
    for (let cookie = 0n; ;) {
      const errno = this.call('fd_readdir', fd, DATA, room, cookie, OUT);
      if (errno !== 'success') throw new Error(`fd_readdir: ${errno}`);
      const used = this.u32();
      let at = 0;
      let whole = 0;
      while (at + 24 <= used) {
        const length = this.dv.getUint32(DATA + at + 16, true);
        if (at + 24 + length > used) break;
        found.push(new TextDecoder().decode(this.u8.slice(DATA + at + 24, DATA + at + 24 + length)));
        cookie = this.dv.getBigUint64(DATA + at, true);
        at += 24 + length;
        whole++;
      }
      if (used < room || whole === 0) return found;
    }
  }
}

/** A machine whose `/` is a namespace of the space. */
export function machineOn(
  space: Space,
  options: Partial<WasiOptions> & TreeLimits & { path?: string } = {},
): Machine & { tree: SpaceTree } {
  const tree = new SpaceTree(space, options);
  const directory = tree.open(options.path ?? '/files', true);
  return Object.assign(new Machine({ preopens: [{ name: '/', directory }], ...options }), { tree });
}

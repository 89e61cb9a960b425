/**
 * Calls of WASI with random and boundary arguments, over a real tree.
 *
 * After each call it must hold: it gave an error number that there is, or ended the program by the two calls that do; it changed no byte of the
 * program's memory but those that the call's definition names, by a table of their own here; nothing that lies outside the program's
 * directories was read or changed; nothing changed in the directory that is for reading only. The space must be sound at the end.
 */
import { isTwzError } from '../abi/errors.ts';
import type { Host } from '../host/host.ts';
import { Random } from '../host/simulated/random.ts';
import { ProgramExit } from '../runtime/exit.ts';
import { ERRNO } from '../runtime/wasi/numbers.ts';
import { WASI_CALLS, Wasi, type WasiImports } from '../runtime/wasi/wasi.ts';
import { checkSpace } from '../services/check.ts';
import { putFile } from '../services/files/transfer.ts';
import { SpaceTree } from '../services/files/tree.ts';
import { open, type Space } from '../space.ts';
import { PlainMemory } from './plain-memory.ts';

const SIZE = 65536;
/** Where paths lie, where vectors do, and where data goes. */
const PATHS = 4096;
const VECTORS = 12288;
const DATA = 16384;
/** A program is followed by another after so many calls: by then it may have closed all that it had. */
const LIFE = 400;
const SECRET = 'nobody who is in there may see this';
const NAMES = ['a', 'b', 'dir', 'dir/a', 'dir/b', 'dir/deep', 'dir/deep/a', 'link', 'up', 'loop', '☃'];
const WAYS_OUT = [
  '..',
  '../outside',
  '../outside/secret',
  '/outside/secret',
  'up/outside/secret',
  'dir/../../outside',
  'up',
  '.',
  './',
  '',
];
const ODD = ['a/', 'dir/', 'a/b', 'none/x', 'x'.repeat(255), 'x'.repeat(256), 'y/'.repeat(2100), 'a\0b', '\ufeff', 'dir//a', 'loop/a', '/'];
const FIXED = [...NAMES, ...NAMES, ...NAMES, 'a', 'a', 'a', 'a', 'a', ...WAYS_OUT, ...ODD];

/** What a call may write to, as ranges: by its arguments, and the vectors as they were. */
type Writes = (args: readonly number[], before: DataView) => readonly (readonly [at: number, length: number])[];

function vectorsOf(at: number, count: number, before: DataView): [number, number][] {
  if (count > 1024 || at + count * 8 > SIZE) return [];
  return Array.from({ length: count }, (_, i) => [before.getUint32(at + i * 8, true), before.getUint32(at + i * 8 + 4, true)]);
}

const at =
  (...places: readonly (readonly [argument: number, length: number])[]): Writes =>
  (args) =>
    places.map(([argument, length]) => [args[argument] ?? 0, length]);

const BLANK = new DataView(new ArrayBuffer(SIZE));
const TEXTS = 64;
const WRITES: Readonly<Record<string, Writes>> = {
  args_get: at([0, TEXTS], [1, TEXTS]),
  args_sizes_get: at([0, 4], [1, 4]),
  environ_get: at([0, TEXTS], [1, TEXTS]),
  environ_sizes_get: at([0, 4], [1, 4]),
  clock_res_get: at([1, 8]),
  clock_time_get: at([2, 8]),
  fd_fdstat_get: at([1, 24]),
  fd_filestat_get: at([1, 64]),
  fd_prestat_get: at([1, 8]),
  fd_prestat_dir_name: (args) => [[args[1] ?? 0, args[2] ?? 0]],
  fd_read: (args, before) => [[args[3] ?? 0, 4], ...vectorsOf(args[1] ?? 0, args[2] ?? 0, before)],
  fd_pread: (args, before) => [[args[4] ?? 0, 4], ...vectorsOf(args[1] ?? 0, args[2] ?? 0, before)],
  fd_write: at([3, 4]),
  fd_pwrite: at([4, 4]),
  fd_readdir: (args) => [
    [args[1] ?? 0, args[2] ?? 0],
    [args[4] ?? 0, 4],
  ],
  fd_seek: at([3, 8]),
  fd_tell: at([1, 8]),
  path_filestat_get: at([4, 64]),
  path_open: at([8, 4]),
  path_readlink: (args) => [
    [args[3] ?? 0, args[4] ?? 0],
    [args[5] ?? 0, 4],
  ],
  poll_oneoff: (args) => [
    [args[1] ?? 0, (args[2] ?? 0) * 32],
    [args[3] ?? 0, 4],
  ],
  random_get: (args) => [[args[0] ?? 0, args[1] ?? 0]],
};

export interface FuzzResult {
  readonly calls: number;
  /** Calls that went well, by name. */
  readonly succeeded: ReadonlyMap<string, number>;
  /** Error numbers that were seen. */
  readonly errors: ReadonlySet<number>;
}

export class FuzzFailure extends Error {
  override readonly name = 'FuzzFailure';
}

/** Lets a test show that the fuzz finds what is broken: changes the calls. */
export type Sabotage = (imports: Record<string, (...args: readonly unknown[]) => unknown>, memory: Uint8Array) => void;

class Fuzz {
  readonly #random: Random;
  readonly #space: Space;
  readonly #tree: SpaceTree;
  readonly #memory = { buffer: new ArrayBuffer(SIZE) };
  readonly #bytes = new Uint8Array(this.#memory.buffer);
  readonly #sabotage: Sabotage | undefined;
  #imports: WasiImports = {};
  #wasi: Wasi | undefined;
  #now = 1_000_000n;
  #descriptors: number[] = [];
  readonly succeeded = new Map<string, number>();
  readonly errors = new Set<number>();

  constructor(space: Space, seed: number, sabotage: Sabotage | undefined) {
    this.#random = new Random(seed);
    this.#space = space;
    this.#sabotage = sabotage;
    this.#tree = new SpaceTree(space, { bytesMax: 8 << 20, fileBytesMax: 1 << 20 });
    const text = (words: string): Uint8Array[] => [new TextEncoder().encode(words)];
    putFile(this.#tree, this.#tree.open('/outside', true), 'secret', text(SECRET));
    putFile(this.#tree, this.#tree.open('/fixed', true), 'a', text('fixed'));
    this.#tree.open('/fixed/dir', true);
    const inside = this.#tree.open('/inside', true);
    inside.makeLink('up', '..');
    inside.makeLink('loop', 'loop');
    this.begin();
  }

  /** Another program. */
  begin(): void {
    this.#wasi?.finish();
    this.#descriptors = [0, 1, 2, 3, 4];
    const inside = this.#tree.open('/inside');
    if (inside.find('a') === undefined) putFile(this.#tree, inside, 'a', [new Uint8Array(5000)]);
    this.#wasi = new Wasi({
      args: ['fuzz', 'one'],
      env: ['A=1'],
      preopens: [
        { name: '/', directory: this.#tree.open('/inside') },
        { name: '/fixed', directory: this.#tree.open('/fixed'), readOnly: true },
      ],
      stdin: { read: (into) => this.#random.below(into.length + 1) },
      stdout: { write: (bytes) => this.#seen(bytes) },
      clock: {
        realtime: () => 1_700_000_000_000_000_000n + this.#now,
        monotonic: () => this.#now,
        resolution: 1n,
        pause: (nanoseconds) => {
          this.#now += nanoseconds;
        },
      },
      random: (into) => into.set(this.#random.bytes(into.length)),
      descriptorsMax: 64,
    });
    this.#wasi.attach(new PlainMemory(this.#memory));
    const imports = { ...this.#wasi.imports() };
    this.#sabotage?.(imports, this.#bytes);
    this.#imports = imports;
  }

  #seen(bytes: Uint8Array): void {
    if (Buffer.from(bytes).includes(SECRET)) throw new FuzzFailure('it read what lies outside its directories');
  }

  /** Memory as a program would have it, more or less. */
  #prepare(): void {
    const random = this.#random;
    const view = new DataView(this.#memory.buffer);
    if (random.chance(0.02)) this.#bytes.set(random.bytes(256), random.below(SIZE - 256));
    for (let i = 0; i < 4; i++) {
      view.setUint32(VECTORS + i * 8, random.chance(0.9) ? DATA + random.below(4096) : this.#i32(), true);
      view.setUint32(VECTORS + i * 8 + 4, random.chance(0.9) ? random.below(3000) : this.#i32(), true);
    }
  }

  /** Puts a path where paths lie, and gives its address and length. */
  #path(slot: number): [number, number] {
    const text = new TextEncoder().encode(this.#random.pick(FIXED) ?? '');
    const place = PATHS + slot * 4600;
    if (this.#random.chance(0.03)) text.fill(0xff, 0, 1);
    this.#bytes.set(text, place);
    return [place, text.length];
  }

  #i32(): number {
    const random = this.#random;
    const edges = [0, 1, 2, 3, 4, 7, 8, 64, 255, SIZE - 8, SIZE - 1, SIZE, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff];
    if (random.chance(0.6)) return random.pick(edges) ?? 0;
    return random.chance(0.5) ? random.u32() : DATA + random.below(8192);
  }

  #i64(): bigint {
    const random = this.#random;
    const edges = [0n, 1n, 5n, 100n, 5000n, 1n << 20n, 1n << 31n, 1n << 32n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];
    if (random.chance(0.7)) return random.pick(edges) ?? 0n;
    return (BigInt(random.u32()) << BigInt(random.below(33))) & (2n ** 64n - 1n);
  }

  /** What a program that knows the call would give it; each argument is spoilt now and then. */
  #sensible(name: string, params: string): (number | bigint)[] {
    const random = this.#random;
    const fd = (): number => random.pick(random.chance(0.5) ? this.#descriptors.slice(-6) : this.#descriptors) ?? 3;
    const args: (number | bigint)[] = params.split('').map((type) => (type === 'I' ? this.#i64() : random.below(5)));
    if (name.startsWith('fd_')) args[0] = fd();
    if (name === 'fd_renumber') args[1] = fd();
    if (/^fd_(allocate|filestat_set_size|pwrite)$/.test(name)) args[name === 'fd_pwrite' ? 3 : 1] = BigInt(random.below(100_000));
    if (name === 'fd_allocate') args[2] = BigInt(random.below(10_000));
    if (name === 'fd_pread') args[3] = BigInt(random.below(5000));
    if (/^fd_p?(read|write)$/.test(name)) args.splice(1, 2, VECTORS, random.below(5));
    if (/^fd_(readdir|prestat_dir_name)$/.test(name)) args.splice(1, 2, DATA, random.below(600));
    for (const [argument, length] of WRITES[name]?.(
      params.split('').map((_, i) => i),
      BLANK,
    ) ?? [])
      if (length > 0 && length <= 64 && argument < args.length) args[argument] = DATA + 16384 + random.below(1000);
    if (name === 'random_get' || name === 'path_readlink') args[name === 'random_get' ? 1 : 4] = random.below(300);
    if (name.startsWith('path_')) this.#paths(name, args, fd);
    if (name === 'path_open') args.splice(5, 3, 2n ** 30n - 1n - (random.chance(0.4) ? 64n : 0n), 2n ** 30n - 1n, random.below(5));
    if (name === 'poll_oneoff') args.splice(0, 3, DATA, DATA + 8192, random.below(4));
    return args;
  }

  #paths(name: string, args: (number | bigint)[], fd: () => number): void {
    const first = /^path_(open|link|filestat)/.test(name) ? 2 : name === 'path_symlink' ? 0 : 1;
    args[name === 'path_symlink' ? 2 : 0] = this.#random.chance(0.7) ? 3 + this.#random.below(2) : fd();
    args.splice(first, 2, ...this.#path(0));
    if (name === 'path_open') args[4] = this.#random.chance(0.5) ? 1 : this.#random.below(16);
    if (name === 'path_symlink') args.splice(3, 2, ...this.#path(1));
    if (name === 'path_rename') args.splice(3, 3, 3, ...this.#path(1));
    if (name === 'path_link') args.splice(4, 3, 3, ...this.#path(1));
  }

  step(): void {
    const random = this.#random;
    const [name, params] = random.pick([...WASI_CALLS]) ?? ['sched_yield', ''];
    this.#prepare();
    const args = random.chance(0.15)
      ? params.split('').map((type) => (type === 'i' ? this.#i32() : this.#i64()))
      : this.#sensible(name, params).map((arg) => (random.chance(0.04) ? (typeof arg === 'number' ? this.#i32() : this.#i64()) : arg));
    // Programs that end begin anew; seldom, so that some grow old.
    if (/^(proc_exit|proc_raise|fd_close|fd_fdstat_set_rights)$/.test(name) && !random.chance(0.1)) return;
    const before = this.#bytes.slice();
    try {
      this.#judge(name, this.#call(name, args), args, before);
    } catch (error) {
      if (error instanceof FuzzFailure) throw error;
      throw new FuzzFailure(`${name}(${args.join(', ')}): ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    }
  }

  /** Undefined where the program ended. */
  #call(name: string, args: readonly (number | bigint)[]): unknown {
    // A program hands over signed numbers.
    const signed = args.map((arg) => (typeof arg === 'number' ? arg | 0 : BigInt.asIntN(64, arg)));
    if (this.#random.chance(0.01)) this.#misuse(name, signed);
    try {
      return this.#imports[name]?.(...signed);
    } catch (error) {
      if (!(error instanceof ProgramExit) || !name.startsWith('proc_')) throw error;
      this.begin();
      return undefined;
    }
  }

  #misuse(name: string, args: (number | bigint)[]): void {
    const wrong: readonly unknown[] = this.#random.chance(0.5) ? [...args, 1] : args.map((arg) => (typeof arg === 'bigint' ? 1.5 : 1n));
    if (wrong.length === 0) return;
    try {
      this.#imports[name]?.(...wrong);
    } catch (error) {
      if (isTwzError(error, 'WasiMisused')) return;
      throw error;
    }
    throw new FuzzFailure(`${name} took arguments of other types than it has`);
  }

  #judge(name: string, errno: unknown, args: readonly (number | bigint)[], before: Uint8Array): void {
    const said = `${name}(${args.join(', ')}) -> ${String(errno)}`;
    if (errno !== undefined) {
      if (typeof errno !== 'number' || !KNOWN.has(errno)) throw new FuzzFailure(`${said}: no error number`);
      this.errors.add(errno);
      if (errno === ERRNO.success) {
        this.succeeded.set(name, (this.succeeded.get(name) ?? 0) + 1);
        if (name === 'path_open') this.#descriptors.push(new DataView(this.#memory.buffer).getUint32(Number(args[8]), true));
        if (this.#descriptors.length > 200) this.#descriptors = [0, 1, 2, 3, 4];
      }
    }
    this.#judgeMemory(said, name, args.map(Number), before);
  }

  #judgeMemory(said: string, name: string, args: readonly number[], before: Uint8Array): void {
    const now = this.#bytes;
    if (Buffer.compare(now, before) !== 0) {
      const allowed = WRITES[name]?.(args, new DataView(before.buffer)) ?? [];
      for (let i = 0; i < SIZE; i++) {
        if (now[i] !== before[i] && !allowed.some(([from, length]) => i >= from && i < from + length))
          throw new FuzzFailure(`${said}: byte ${i} changed, which it may not write`);
      }
    }
    this.#seen(now);
  }

  /** What must not have changed. */
  outside(): void {
    const content = (path: string): string => new TextDecoder().decode(contentAt(this.#tree, path));
    const names = (path: string): string =>
      this.#space.names
        .list(path)
        .map((entry) => entry.name)
        .join(' ');
    if (names('/') !== 'fixed inside outside' || names('/outside') !== 'secret' || content('/outside/secret') !== SECRET)
      throw new FuzzFailure('something outside the directories of the program changed');
    if (names('/fixed') !== 'a dir' || names('/fixed/dir') !== '' || content('/fixed/a') !== 'fixed')
      throw new FuzzFailure('something changed in a directory that is for reading only');
  }

  end(): void {
    this.#wasi?.finish();
    this.#tree.flush();
    this.outside();
  }
}

const KNOWN: ReadonlySet<number> = new Set<number>(Object.values(ERRNO));

function contentAt(tree: SpaceTree, path: string): Uint8Array {
  const node = tree.at(path);
  if (node.kind !== 'file') throw new FuzzFailure(`${path} is no file any more`);
  const bytes = new Uint8Array(node.size());
  node.read(0, bytes);
  return bytes;
}

/** Runs so many calls. Throws FuzzFailure. `until` says when to stop before. */
export function fuzzWasi(
  host: Host,
  directory: string,
  seed: number,
  steps: number,
  options: { readonly sabotage?: Sabotage; readonly until?: () => boolean } = {},
): FuzzResult {
  const space = open(directory, { host });
  let calls = 0;
  try {
    const fuzz = new Fuzz(space, seed, options.sabotage);
    for (; calls < steps && options.until?.() !== true; calls++) {
      fuzz.step();
      if (calls % LIFE === LIFE - 1) {
        fuzz.begin();
        fuzz.outside();
      }
    }
    fuzz.end();
    space.close();
    const { findings } = checkSpace(host, directory);
    const bad = findings.filter(({ severity }) => severity !== 'note');
    if (bad.length > 0) throw new FuzzFailure(`the space is not sound: ${JSON.stringify(bad.slice(0, 3))}`);
    return { calls, succeeded: fuzz.succeeded, errors: fuzz.errors };
  } catch (error) {
    if (!space.closed) space.kernel.release();
    if (error instanceof FuzzFailure) throw new FuzzFailure(`seed ${seed}, call ${calls}: ${error.message}`);
    throw error;
  }
}

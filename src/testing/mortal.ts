/**
 * A host that dies: everything goes to a real host, and at the wanted call the process kills itself with SIGKILL.
 *
 * A call has up to three instants. `within` is that of a write of several pages, which the operating system may leave cut at a page:
 *
 *      before  |  the call  ..  within  ..  |  after
 *
 * Calls that end later, in another thread, are over when their promise is about to resolve. With the virtual clock time passes when it
 * is told to, so that the same seed makes the same calls in the same order, and they can be counted first.
 */
import type { Futex } from '../host/futex.ts';
import type { File, Host, Lock, OpenMode, Rights, Timer, Window } from '../host/host.ts';
import { Random } from '../host/simulated/random.ts';

export type Instant = 'before' | 'within' | 'after';

/** A call of the host: what the process was at, which call, on what kind of file. */
export interface Call {
  readonly phase: string;
  readonly name: string;
  readonly on: string;
  /** Can be cut in two. */
  readonly divisible: boolean;
}

/** Calls that leave nothing behind that another process could see: dying after one is dying before the next. */
export const TRACELESS: ReadonlySet<string> = new Set([
  'close',
  'length',
  'read',
  'readFile',
  'exists',
  'list',
  'mapPrivate',
  'clear',
  'drop',
]);

/** When a process can die of a call, with a difference. */
export function instantsOf(call: Call): readonly Instant[] {
  if (TRACELESS.has(call.name)) return ['before'];
  return call.divisible ? ['before', 'within', 'after'] : ['before', 'after'];
}

export interface Death {
  /** Counted from 1. */
  readonly call: number;
  readonly instant: Instant;
}

/** `log-lost`: a known bug, to see that it is noticed. What is appended to the log dies with the process. */
export type Bug = 'log-lost';

export interface MortalOptions {
  readonly seed: number;
  readonly clock: 'virtual' | 'real';
  readonly death?: Death | undefined;
  readonly bug?: Bug | undefined;
  /** Told the call, right before the end. */
  readonly lastWords: (call: Call, instant: Instant) => void;
}

const PAGE = 4096;
const DIES_AT_ONCE = 'unreachable: the process was killed';

/** The kinds of files of a space. */
function kindOf(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1);
  if (name === 'space.twz' || name === 'space.draft') return 'control';
  if (name === 'tail' || name === 'lock' || name === 'draft') return name;
  if (/^\d+\.log$/.test(name)) return 'segment';
  if (name.startsWith('spare')) return 'spare';
  return name.endsWith('.twz') ? 'object' : 'directory';
}

/** Where in `length` bytes at `offset` the first whole pages end; 0 where there is no such place. */
function cutOf(offset: number, length: number): number {
  const first = PAGE - (offset % PAGE);
  if (first >= length) return 0;
  return first + Math.floor((length - first - 1) / PAGE / 2) * PAGE;
}

export class MortalHost implements Host {
  readonly name: Host['name'];
  readonly sharing: boolean;
  readonly pid: number;
  readonly processors = 1;
  readonly #real: Host;
  readonly #options: MortalOptions;
  readonly #random: Random;
  readonly #kinds = new Map<File, string>();
  #now = 0;
  #timers: { at: number; run: () => void }[] = [];
  /** Callbacks and calls in other threads that have not ended. */
  #underWay = 0;
  /** What the process is at. */
  phase = 'open';
  readonly calls: Call[] = [];
  /** Where the log's tail is mapped, if it is. */
  tail: { readonly buffer: ArrayBufferLike; readonly at: number; readonly length: number } | undefined;

  constructor(real: Host, options: MortalOptions) {
    this.name = real.name;
    this.sharing = real.sharing;
    this.pid = real.pid;
    this.#real = real;
    this.#options = options;
    this.#random = new Random(options.seed);
  }

  get futex(): Futex {
    return this.#real.futex;
  }

  boot(): string {
    return this.#real.boot();
  }

  // --- dying ------------------------------------------------------------------------------------------------------------------

  #end(call: Call, instant: Instant): never {
    this.#options.lastWords(call, instant);
    process.kill(process.pid, 'SIGKILL');
    throw new Error(DIES_AT_ONCE);
  }

  #arrive(name: string, on: string, divisible: boolean): { readonly call: Call; readonly dies: Instant | undefined } {
    const call = { phase: this.phase, name, on, divisible };
    this.calls.push(call);
    const { death } = this.#options;
    const dies = death?.call === this.calls.length ? death.instant : undefined;
    if (dies === 'before') this.#end(call, 'before');
    return { call, dies };
  }

  /** `half`: does the first part of it. */
  #do<T>(name: string, on: string, run: () => T, half?: () => void): T {
    const { call, dies } = this.#arrive(name, on, half !== undefined);
    if (dies === 'within' && half !== undefined) {
      half();
      this.#end(call, 'within');
    }
    const result = run();
    if (dies !== undefined) this.#end(call, dies);
    return result;
  }

  async #later<T>(name: string, on: string, run: () => Promise<T>, half?: () => void): Promise<T> {
    const { call, dies } = this.#arrive(name, on, half !== undefined);
    if (dies === 'within' && half !== undefined) {
      half();
      this.#end(call, 'within');
    }
    this.#underWay++;
    try {
      const result = await run();
      if (dies !== undefined) this.#end(call, dies);
      return result;
    } finally {
      this.#underWay--;
    }
  }

  #kind(file: File): string {
    return this.#kinds.get(file) ?? 'file';
  }

  // --- files ------------------------------------------------------------------------------------------------------------------

  open(path: string, mode: OpenMode): File {
    const file = this.#do('open', kindOf(path), () => this.#real.open(path, mode));
    this.#kinds.set(file, kindOf(path));
    return file;
  }

  close(file: File): void {
    this.#do('close', this.#kind(file), () => this.#real.close(file));
  }

  length(file: File): number {
    return this.#do('length', this.#kind(file), () => this.#real.length(file));
  }

  truncate(file: File, length: number): void {
    this.#do('truncate', this.#kind(file), () => this.#real.truncate(file, length));
  }

  read(file: File, into: Uint8Array, offset: number): number {
    return this.#do('read', this.#kind(file), () => this.#real.read(file, into, offset));
  }

  readFile(path: string, into: Uint8Array): number {
    return this.#do('readFile', kindOf(path), () => this.#real.readFile(path, into));
  }

  #half(file: File, from: Uint8Array, offset: number): (() => void) | undefined {
    const cut = cutOf(offset, from.length);
    return cut === 0 ? undefined : (): void => this.#real.write(file, from.subarray(0, cut), offset);
  }

  write(file: File, from: Uint8Array, offset: number): void {
    if (this.#loses(file)) return;
    this.#do('write', this.#kind(file), () => this.#real.write(file, from, offset), this.#half(file, from, offset));
  }

  writeThroughAsync(file: File, from: Uint8Array, offset: number): Promise<void> {
    if (this.#loses(file)) return Promise.resolve();
    const run = (): Promise<void> => this.#real.writeThroughAsync(file, from, offset);
    return this.#later('writeThrough', this.#kind(file), run, this.#half(file, from, offset));
  }

  #loses(file: File): boolean {
    return this.#options.bug === 'log-lost' && this.#kind(file) === 'segment';
  }

  sync(file: File): void {
    this.#do('sync', this.#kind(file), () => this.#real.sync(file));
  }

  syncAsync(file: File): Promise<void> {
    return this.#later('syncAsync', this.#kind(file), () => this.#real.syncAsync(file));
  }

  preallocate(file: File, length: number): void {
    const had = this.#real.length(file);
    const half =
      length - had < 2 * PAGE ? undefined : (): void => this.#real.preallocate(file, had + Math.ceil((length - had) / 2 / PAGE) * PAGE);
    this.#do('preallocate', this.#kind(file), () => this.#real.preallocate(file, length), half);
  }

  // --- names ------------------------------------------------------------------------------------------------------------------

  exists(path: string): boolean {
    return this.#do('exists', kindOf(path), () => this.#real.exists(path));
  }

  makeDirectory(path: string): void {
    this.#do('makeDirectory', 'directory', () => this.#real.makeDirectory(path));
  }

  list(path: string): string[] {
    return this.#do('list', 'directory', () => this.#real.list(path).sort());
  }

  rename(from: string, to: string): void {
    this.#do('rename', `${kindOf(from)} to ${kindOf(to)}`, () => this.#real.rename(from, to));
  }

  remove(path: string): void {
    this.#do('remove', kindOf(path), () => this.#real.remove(path));
  }

  syncDirectory(path: string): void {
    this.#do('syncDirectory', 'directory', () => this.#real.syncDirectory(path));
  }

  syncAll(directory: string): void {
    this.#do('syncAll', 'directory', () => this.#real.syncAll(directory));
  }

  syncAllAsync(directory: string): Promise<void> {
    return this.#later('syncAllAsync', 'directory', () => this.#real.syncAllAsync(directory));
  }

  lock(path: string): Lock {
    return this.#locked(this.#do('lock', 'lock', () => this.#real.lock(path)));
  }

  lockShared(path: string): Lock {
    return this.#locked(this.#do('lockShared', 'lock', () => this.#real.lockShared(path)));
  }

  #locked(lock: Lock): Lock {
    return {
      release: () => this.#do('unlock', 'lock', () => lock.release()),
      share: () => this.#do('shareLock', 'lock', () => lock.share()),
    };
  }

  // --- memory -----------------------------------------------------------------------------------------------------------------

  openWindow(): Window {
    const real = this.#real.openWindow();
    return {
      buffer: real.buffer,
      memory: real.memory,
      size: real.size,
      maps: real.maps,
      mapPrivate: (at, length, file, offset) => this.#do('mapPrivate', this.#kind(file), () => real.mapPrivate(at, length, file, offset)),
      mapShared: (at, length, file, offset) => this.#do('mapShared', this.#kind(file), () => this.#share(real, at, length, file, offset)),
      clear: (at, length, mapped) => this.#do('clear', 'memory', () => real.clear(at, length, mapped)),
      drop: (at, length) => this.#do('drop', 'memory', () => real.drop(at, length)),
      own: (at, length) => real.own(at, length),
      protect: (at: number, length: number, rights: Rights) => real.protect(at, length, rights),
      privatePages: (at, length) => real.privatePages(at, length),
      sleep: (at, value, ms) => real.sleep(at, value, ms),
      wake: (at, count) => real.wake(at, count),
      close: () => this.#do('close', 'memory', () => real.close()),
    };
  }

  #share(real: Window, at: number, length: number, file: File, offset: number): boolean {
    if (this.#kind(file) !== 'tail') return real.mapShared(at, length, file, offset);
    this.tail = real.maps ? { buffer: real.buffer, at, length } : undefined;
    if (this.#options.bug !== 'log-lost') return real.mapShared(at, length, file, offset);
    if (real.maps) real.mapPrivate(at, length, file, offset);
    return real.maps;
  }

  // --- time and chance --------------------------------------------------------------------------------------------------------

  time(): number {
    return this.#real.time();
  }

  now(): number {
    return this.#options.clock === 'real' ? this.#real.now() : this.#now;
  }

  random(bytes: number): Uint8Array {
    return this.#random.bytes(bytes);
  }

  get ed25519(): Host['ed25519'] {
    return this.#real.ed25519;
  }

  sha256(...parts: Uint8Array[]): Uint8Array {
    return this.#real.sha256(...parts);
  }

  timer(ms: number, callback: () => void): Timer {
    if (this.#options.clock === 'real') return this.#real.timer(ms, callback);
    const timer = { at: this.#now + ms, run: callback };
    this.#timers.push(timer);
    return { cancel: () => (this.#timers = this.#timers.filter((each) => each !== timer)) };
  }

  soon(callback: () => void): void {
    this.#underWay++;
    this.#real.soon(() => {
      this.#underWay--;
      callback();
    });
  }

  /** Lets virtual time pass. */
  pass(ms: number): void {
    this.#now += ms;
    for (const timer of this.#timers.filter(({ at }) => at <= this.#now)) {
      this.#timers = this.#timers.filter((each) => each !== timer);
      timer.run();
    }
  }

  /** Resolves when nothing is under way any more. */
  async quiet(): Promise<void> {
    do await new Promise<void>((resolve) => this.#real.soon(resolve));
    while (this.#underWay > 0);
  }
}

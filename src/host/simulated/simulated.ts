/**
 * The simulated host: the whole machine beneath the kernel, deterministic and in memory. It keeps to the durability contract of
 * host.ts by the letter and gives nothing beyond it: what was not synced is lost, torn or reordered as a plan says.
 *
 *   every call  ->  stopped? count it, let virtual time pass
 *               ->  does it change the disk? then it is a point: the world may stop here (`stopAt`, `onPoint`)
 *               ->  fault plan: does it fail?
 *               ->  effect on the disk
 *
 * Invariants:
 *  1. The same seed and the same calls give the same run, bytes and times included.
 *  2. Nothing asynchronous happens but in `step`, `run` and `elapse`.
 *  3. `crash` and `kill` leave this host as it is; they give another one with the disk that would be found.
 */
import { createHash } from 'node:crypto';
import { TwzError, type ErrorName } from '../../abi/errors.ts';
import { ed25519, type Ed25519 } from '../ed25519.ts';
import type { File, Host, Lock, OpenMode, Timer, Window } from '../host.ts';
import { LocalFutex } from '../local-futex.ts';
import { Disk } from './disk.ts';
import { FaultPlan, type CallKind, type Fault } from './faults.ts';
import type { SimulatedFile } from './file.ts';
import { Loss, type LossPlan } from './loss.ts';
import { Random } from './random.ts';
import { Schedule } from './schedule.ts';
import { SimulatedWindow } from './window.ts';

export interface SimulatedOptions {
  readonly seed?: number;
  /** Bytes of a window, a power of two (default 64 MiB). */
  readonly windowSize?: number;
  /** Is there shared mapping? (default true) Without it this is a machine as the portable host sees it. */
  readonly sharedMapping?: boolean;
  /** Do untouched pages of a private mapping show later writes to the file? (default false) See window.ts. */
  readonly follow?: boolean;
  /** Windows are WebAssembly memories (default false: they cost much to make). */
  readonly wasm?: boolean;
  readonly faults?: readonly Fault[];
  /** Virtual milliseconds that a call takes, at most (default 0.02). */
  readonly callMs?: number;
}

const DEFAULTS = { seed: 1, windowSize: 64 << 20, sharedMapping: true, follow: false, wasm: false, faults: [], callMs: 0.02 } as const;

/** The world has stopped: thrown by the call at that point, and by every call after it. */
export class PowerLoss extends Error {
  override readonly name = 'PowerLoss';
}

interface OpenFile {
  readonly file: SimulatedFile;
  readonly path: string;
  readonly mode: OpenMode;
}

/** Virtual milliseconds that the device takes for a sync, at most. */
const DEVICE_MS = 1.5;

export class SimulatedHost implements Host {
  readonly name = 'simulated';
  readonly sharing = false;
  readonly pid = 1;
  readonly processors = 1;
  readonly options: Required<SimulatedOptions>;
  readonly #disk: Disk;
  readonly #random: Random;
  readonly #schedule = new Schedule();
  readonly #files = new Map<File, OpenFile>();
  readonly #locks = new Set<string>();
  readonly #windows: SimulatedWindow[] = [];
  readonly futex: LocalFutex = new LocalFutex({
    self: 1,
    of: () => 1,
    ending: () => undefined,
    lives: (thread) => thread === 1,
    show: (thread) => `thread ${thread}`,
    now: () => this.now(),
  });
  #nextFile = 3;
  #faults: FaultPlan;

  /** Calls so far that change the disk or make it durable, completions of asynchronous ones included. */
  points = 0;
  /** Calls so far. */
  calls = 0;
  /** The world stops before this point. */
  stopAt: number | undefined;
  stopped = false;
  /** The disk has no room: whatever needs some fails with DiskFull. Room that was taken before stays usable. */
  full = false;
  /** Looks at the world before each point. */
  onPoint: ((point: number, call: string) => void) | undefined;
  /** Things that the caller must never do, and that a real system would not report: asynchronous work on a closed file. */
  readonly violations: string[] = [];

  constructor(options: SimulatedOptions = {}, disk: Disk = new Disk()) {
    this.options = { ...DEFAULTS, ...options };
    this.#disk = disk;
    this.#random = new Random(this.options.seed);
    this.#faults = new FaultPlan(this.options.faults);
  }

  // --- crashes, faults, time --------------------------------------------------------------------------------------------------

  #heir(disk: Disk, options: SimulatedOptions): SimulatedHost {
    return new SimulatedHost({ ...this.options, faults: [], ...options, seed: options.seed ?? this.options.seed + 0x10001 }, disk);
  }

  /** The machine after a power failure now: a host of its own, over what the disk kept. */
  crash(plan: LossPlan, options: SimulatedOptions = {}): SimulatedHost {
    return this.#heir(this.#disk.afterPowerLoss(plan), options);
  }

  /** What was stored to mapped files counts as written from now on. */
  fold(): void {
    this.#disk.fold();
  }

  /**
   * What `crash` would leave, in words: the same words mean the same disk, byte for byte. Undefined where chance decides for each sector.
   */
  remains(plan: LossPlan): string | undefined {
    const remains = new Loss(plan, this.#disk.pending()).remains;
    return remains === undefined ? undefined : `${this.#disk.syncs}: ${remains}`;
  }

  /** The machine after the death of this process: everything written is there, the locks are free. */
  kill(options: SimulatedOptions = {}): SimulatedHost {
    return this.#heir(this.#disk.afterProcessDeath(), options);
  }

  /** This machine is not used any more, nor is any memory of it: other machines may have it. */
  discard(): void {
    this.stopped = true;
    for (const window of this.#windows.splice(0)) window.discard();
  }

  /** Replaces the fault plan; counting begins anew. */
  setFaults(faults: readonly Fault[]): void {
    this.#faults = new FaultPlan(faults);
  }

  /** Runs something that no fault meets and that the plan does not count. */
  calmly<T>(run: () => T): T {
    const faults = this.#faults;
    this.#faults = new FaultPlan([]);
    try {
      return run();
    } finally {
      this.#faults = faults;
    }
  }

  /** How many faults of the present plan have happened. */
  get faults(): number {
    return this.#faults.happened;
  }

  /** Open files: none may be left when all spaces are closed. */
  get openFiles(): readonly string[] {
    return [...this.#files.values()].map(({ path }) => path);
  }

  /** Lets the next event happen, and all that follows from it; false where there is none. */
  step(): Promise<boolean> {
    return this.#schedule.step();
  }

  /** Lets everything happen that is under way. */
  async run(): Promise<void> {
    while (await this.#schedule.step());
  }

  /** Lets so much virtual time pass. */
  async elapse(ms: number): Promise<void> {
    const end = this.#schedule.now + ms;
    while (await this.#schedule.step(end - this.#schedule.now));
    this.#schedule.now = end;
  }

  /** Time passes while the event loop does not turn. */
  pass(ms: number): void {
    this.#schedule.now += ms;
  }

  #live(): void {
    if (this.stopped) throw new PowerLoss('the world has stopped');
  }

  /** The world before a change of the disk. */
  #point(call: string): void {
    this.#live();
    const point = this.points++;
    // Here, so that who looks on changes nothing: each time that stores are taken over gives them numbers of their own.
    this.#disk.fold();
    if (point === this.stopAt) {
      this.stopped = true;
      this.#schedule.clear();
      throw new PowerLoss(`power lost at point ${point}, before ${call}`);
    }
    this.onPoint?.(point, call);
  }

  /** Lets a call through, or throws. `changes` says that it is a point. Partial effects are the caller's: it gets the fault. */
  #enter(kind: CallKind, what: string, changes: boolean): ErrorName | undefined {
    this.#live();
    this.calls++;
    this.#schedule.now += (this.#random.u32() / 2 ** 32) * this.options.callMs;
    if (changes) this.#point(`${kind} ${what}`);
    for (;;) {
      const fault = this.#faults.next(kind);
      // A call that a signal interrupted is made again, a short one goes on where it stopped.
      if (fault !== 'interrupted' && fault !== 'short') return fault;
    }
  }

  #pass(kind: CallKind, what: string, changes: boolean): void {
    const fault = this.#enter(kind, what, changes);
    if (fault !== undefined) throw this.#error(fault, kind, what);
  }

  #error(fault: ErrorName, kind: CallKind, what: string): TwzError {
    return new TwzError(fault, `${kind} ${what}: simulated ${fault}`, { errno: 'simulated' });
  }

  // --- files ------------------------------------------------------------------------------------------------------------------

  #open(file: File): OpenFile {
    const open = this.#files.get(file);
    if (open === undefined) throw new TwzError('IoError', `file ${file} is not open`, { errno: 'EBADF' });
    return open;
  }

  open(path: string, mode: OpenMode): File {
    const exists = this.#disk.exists(path);
    this.#pass('open', path, mode === 'create' && !exists);
    let file = this.#disk.file(path);
    if (file === undefined) {
      if (this.full && mode === 'create') throw this.#error('DiskFull', 'open', path);
      if (mode !== 'create') throw new TwzError('FileMissing', `open ${path}: no such file or directory`, { path, errno: 'ENOENT' });
      file = this.#disk.create(path);
    }
    const number = this.#nextFile++ as File;
    this.#files.set(number, { file, path, mode });
    return number;
  }

  close(file: File): void {
    this.#live();
    this.#open(file);
    this.#files.delete(file);
  }

  length(file: File): number {
    this.#live();
    return this.#open(file).file.length;
  }

  truncate(file: File, length: number): void {
    const open = this.#writable(file);
    this.#pass('truncate', `${open.path} to ${length}`, true);
    open.file.truncate(length, this.#disk.nextChange());
  }

  read(file: File, into: Uint8Array, offset: number): number {
    const open = this.#open(file);
    this.#pass('read', open.path, false);
    open.file.fold(this.#disk.nextChange);
    return open.file.read(into, offset);
  }

  #writable(file: File): OpenFile {
    this.#live();
    const open = this.#open(file);
    if (open.mode === 'read') throw new TwzError('IoError', `${open.path} is open for reading only`, { errno: 'EBADF' });
    return open;
  }

  /** Of a write that fails, a random part has happened. */
  #store(open: OpenFile, from: Uint8Array, offset: number, fault: ErrorName | undefined): number {
    if (this.full && open.file.needsRoom(offset, from.length)) fault ??= 'DiskFull';
    const length =
      fault === undefined
        ? from.length
        : fault === 'DiskFull'
          ? open.file.roomAt(offset, from.length)
          : this.#random.below(from.length + 1);
    const change = this.#disk.nextChange();
    if (length > 0) open.file.write(from.subarray(0, length), offset, change);
    if (fault !== undefined) throw this.#error(fault, 'write', open.path);
    return change;
  }

  readFile(path: string, into: Uint8Array): number {
    const file = this.open(path, 'read');
    try {
      return this.read(file, into, 0);
    } finally {
      this.close(file);
    }
  }

  write(file: File, from: Uint8Array, offset: number): void {
    const open = this.#writable(file);
    const fault = this.#enter('write', `${open.path} ${from.length} at ${offset}`, true);
    const change = this.#store(open, from, offset, fault);
    if (open.mode === 'writeThrough') this.#makeDurable(open, from.length, offset, change);
  }

  /** Between a write and its being durable the power may fail, too. */
  #makeDurable(open: OpenFile, length: number, offset: number, change: number): void {
    this.#point(`durable ${open.path} ${length} at ${offset}`);
    open.file.syncWrite(change);
    this.#disk.syncs++;
  }

  #syncFile(open: OpenFile, upTo: number, fault: ErrorName | undefined): void {
    open.file.fold(this.#disk.nextChange);
    this.#disk.syncs++;
    if (fault === undefined) {
      open.file.sync(upTo);
      return;
    }
    open.file.syncFailed();
    throw this.#error(fault, 'sync', open.path);
  }

  sync(file: File): void {
    this.#live();
    const open = this.#open(file);
    const fault = this.#enter('sync', open.path, true);
    open.file.fold(this.#disk.nextChange);
    this.#syncFile(open, this.#disk.newest, fault);
  }

  /** Runs `work` a while later, as the pool of threads does: the call itself only hands it over. */
  #later<T>(ms: number, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#schedule.at((this.#random.u32() / 2 ** 32) * ms, () => {
        try {
          resolve(work());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  #stillOpen(file: File, open: OpenFile, what: string): void {
    if (this.#files.get(file) !== open) this.violations.push(`${what} of ${open.path} was under way when the file was closed`);
  }

  async syncAsync(file: File): Promise<void> {
    this.#live();
    const open = this.#open(file);
    const upTo = this.#disk.newest;
    await this.#later(DEVICE_MS, () => {
      this.#stillOpen(file, open, 'a sync');
      const fault = this.#enter('sync', `${open.path} (asynchronous)`, true);
      this.#syncFile(open, upTo, fault);
    });
  }

  async writeThroughAsync(file: File, from: Uint8Array, offset: number): Promise<void> {
    const open = this.#writable(file);
    const given = from.slice();
    const change = await this.#later(DEVICE_MS / 2, () => {
      this.#stillOpen(file, open, 'a write');
      if (from.some((byte, i) => byte !== given[i])) this.violations.push(`bytes changed while they were written to ${open.path}`);
      const fault = this.#enter('write', `${open.path} ${given.length} at ${offset} (write-through)`, true);
      return this.#store(open, given, offset, fault);
    });
    await this.#later(DEVICE_MS, () => this.#makeDurable(open, given.length, offset, change));
  }

  preallocate(file: File, length: number): void {
    const open = this.#writable(file);
    const before = open.file.length;
    const room = this.full && length > before ? 'DiskFull' : undefined;
    const fault = this.#enter('preallocate', `${open.path} to ${length}`, true) ?? room;
    if (fault === undefined) open.file.preallocate(length, this.#disk.nextChange());
    else {
      if (length > before) open.file.preallocate(before + this.#random.below(length - before), this.#disk.nextChange());
      throw this.#error(fault, 'preallocate', open.path);
    }
  }

  // --- names ------------------------------------------------------------------------------------------------------------------

  exists(path: string): boolean {
    this.#live();
    return this.#disk.exists(path);
  }

  makeDirectory(path: string): void {
    this.#pass('makeDirectory', path, !this.#disk.exists(path));
    if (this.full && !this.#disk.exists(path)) throw this.#error('DiskFull', 'makeDirectory', path);
    this.#disk.makeDirectory(path);
  }

  list(path: string): string[] {
    this.#pass('list', path, false);
    return [...this.#disk.directory(path).entries.keys()];
  }

  rename(from: string, to: string): void {
    this.#pass('rename', `${from} to ${to}`, true);
    this.#disk.rename(from, to);
  }

  remove(path: string): void {
    this.#pass('remove', path, true);
    this.#disk.remove(path);
  }

  syncDirectory(path: string): void {
    const directory = this.#disk.directory(path);
    this.#pass('syncDirectory', path, true);
    directory.sync(this.#disk.newest);
    this.#disk.syncs++;
  }

  syncAll(directory: string): void {
    this.#pass('syncAll', directory, true);
    this.#disk.fold();
    this.#disk.syncAll(directory, this.#disk.newest);
  }

  async syncAllAsync(directory: string): Promise<void> {
    this.#live();
    this.#disk.fold();
    const upTo = this.#disk.newest;
    await this.#later(2 * DEVICE_MS, () => {
      this.#pass('syncAll', `${directory} (asynchronous)`, true);
      this.#disk.syncAll(directory, upTo);
    });
  }

  lock(path: string): Lock {
    this.#pass('lock', path, !this.#disk.exists(path));
    if (this.#locks.has(path)) throw new TwzError('SpaceBusy', `${path} is held by another handle`, { path });
    if (this.#disk.file(path) === undefined) this.#disk.create(path);
    this.#locks.add(path);
    return {
      release: () => this.#locks.delete(path),
      share: () => {
        throw new TwzError('NotSupported', 'the simulated machine has one process');
      },
    };
  }

  lockShared(): Lock {
    throw new TwzError('NotSupported', 'the simulated machine has one process');
  }

  // --- the rest ---------------------------------------------------------------------------------------------------------------

  openWindow(): Window {
    this.#pass('openWindow', '', false);
    const { sharedMapping, follow, windowSize, wasm } = this.options;
    const map = (file: File): SimulatedFile => {
      const open = this.#open(file);
      this.#pass('map', open.path, false);
      open.file.fold(this.#disk.nextChange);
      return open.file;
    };
    const window = new SimulatedWindow(
      { map, sharedMapping, follow, nextChange: this.#disk.nextChange, mapped: this.#disk.mapped },
      windowSize,
      wasm,
    );
    this.#windows.push(window);
    return window;
  }

  boot(): string {
    return `simulated ${this.options.seed}`;
  }

  time(): number {
    return Math.floor(1.6e12 + this.#schedule.now);
  }

  now(): number {
    this.#schedule.now += this.options.callMs / 20;
    return this.#schedule.now;
  }

  random(bytes: number): Uint8Array {
    return this.#random.bytes(bytes);
  }

  readonly ed25519: Ed25519 = ed25519;

  sha256(...parts: Uint8Array[]): Uint8Array {
    const hash = createHash('sha256');
    for (const part of parts) hash.update(part);
    return hash.digest();
  }

  timer(ms: number, callback: () => void): Timer {
    return this.#schedule.at(ms, callback);
  }

  soon(callback: () => void): void {
    this.#schedule.at(0, callback);
  }
}

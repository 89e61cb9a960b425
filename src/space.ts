/// <reference lib="esnext.disposable" preserve="true" />
/**
 * A space: the objects of one directory, open in this process. This file wires the layers together and is what programs hold.
 */
import { TwzError } from './abi/errors.ts';
import { KIND, META, type Kind } from './abi/format.ts';
import { parseId, type ObjectId } from './abi/id.ts';
import { chooseHost } from './host/choose.ts';
import type { Host } from './host/host.ts';
import { Kernel, type Resolver } from './kernel/kernel.ts';
import { createObject, deleteObject, forsake, tie, ties, untie, type CreateOptions } from './kernel/lifetime.ts';
import { Handle } from './kernel/object.ts';
import { actBy } from './kernel/security/authority.ts';
import { FAMILIES_PATH } from './kernel/afar.ts';
import { objectIds, reclaim, unreached, type Reclaimed } from './kernel/reclaim.ts';
import type { Recovery } from './kernel/recovery.ts';
import { copyWhole, importWhole, sealWhole } from './kernel/parts.ts';
import { Snapshot as KernelSnapshot } from './kernel/snapshot.ts';
import { run, runAlone } from './kernel/transaction.ts';
import type { CollectionType } from './lib/collections/type.ts';
import { Obj } from './lib/object.ts';
import { LateReference, assignTo, isAccessor, rootOf } from './lib/runtime.ts';
import { accessorAt, type Init, type Instance, type Struct, type StructImage } from './lib/struct.ts';
import { backupSpace, type BackupOptions, type BackupReport } from './services/backup.ts';
import { defragment, type Defragmented } from './services/defragment.ts';
import { migrateAll, type Migrated, type MigrateOptions } from './services/evolution/all.ts';
import { installEvolution } from './services/evolution/open.ts';
import { Here } from './services/cluster/here.ts';
import type { Generates, Given, Mobility, RunOptions, RunStream, Spawned, StreamOptions } from './services/mobility.ts';
import { Modules } from './services/modules/modules.ts';
import { Names } from './services/naming.ts';
import { Security } from './services/security.ts';
import { Watch, type WatchOptions } from './services/watch.ts';

export interface OpenOptions {
  /** Make the space where the directory holds none (default true). */
  readonly create?: boolean;
  /** The machine to run on; by default the best that there is. */
  readonly host?: Host;
  /** Bytes of a log segment (default 16 MiB); fixed when the space is made. */
  readonly segmentSize?: number;
  /** Bytes of log after which changes are brought to the object files (default 64 MiB). */
  readonly checkpointBytes?: number;
  /** Bytes of address space for mapped objects (default 64 GiB). Objects beyond it are unmapped, least recently used first. */
  readonly mappedMax?: number;
  /** Objects mapped at once (default 32,000; the system's own limit is vm.max_map_count). */
  readonly objectsMax?: number;
  /** Nobody else may have the space open meanwhile (default false): SpaceBusy where somebody has. */
  readonly exclusive?: boolean;
  /** Milliseconds to wait for another process that holds what is needed, before LeaseTimeout or SpaceBusy (default 10,000). */
  readonly patience?: number;
  /** Security contexts that this program acts by, the first of them active. Without any the default rights of each object hold. */
  readonly contexts?: readonly ObjectId[];
  /** Gets the one line that says that the portable host is used (default: standard error). */
  readonly notice?: (line: string) => void;
}

export interface SpaceStat {
  readonly host: Host['name'];
  readonly directory: string;
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly log: {
    readonly end: number;
    readonly synced: number;
    readonly checkpoint: number;
    readonly appended: number;
    readonly syncs: number;
    readonly checkpoints: number;
  };
  readonly transactions: { readonly commits: number; readonly aborts: number };
  readonly mapped: { readonly objects: number; readonly bytes: number; readonly maps: number; readonly evictions: number };
  readonly recovery: Recovery;
  /** Processes and threads that have the space open, this one first; `behind`: bytes of log that it has not followed yet. */
  readonly members: readonly { readonly pid: number; readonly behind: number }[];
}

/** What names an object: the object, an accessor of something in it, or its ID. */
export type Target = Obj | object | ObjectId;

const DEFAULTS = {
  create: true,
  segmentSize: 16 << 20,
  checkpointBytes: 64 << 20,
  mappedMax: 64 * 2 ** 30,
  objectsMax: 32_000,
  exclusive: false,
  patience: 10_000,
} as const;

/**
 * Opens the space in a directory, and makes it where there is none. Replays what an earlier process left in the log.
 * Throws SpaceBusy, SpaceMissing, SpaceCorrupt, SpaceVersion, LogCorrupt, ReadOnly, DiskFull and the like; ContextInvalid.
 */
export function open(directory: string, options: OpenOptions = {}): Space {
  const { host, notice, contexts, ...rest } = options;
  const settings = { ...DEFAULTS, ...rest };
  if (!(settings.segmentSize >= 65536 && settings.segmentSize % 4096 === 0)) {
    throw new TwzError('InvalidArgument', `segmentSize: ${settings.segmentSize} is not a multiple of 4096 from 65536 up`, {
      segmentSize: settings.segmentSize,
    });
  }
  const kernel = new Kernel(host ?? chooseHost(notice ?? console.error), directory, settings);
  const space = new Space(kernel);
  if (contexts === undefined || contexts.length === 0) return space;
  try {
    actBy(kernel, contexts.map(parseId));
  } catch (error) {
    space.close();
    throw error;
  }
  return space;
}

function handleOf(kernel: Kernel, target: Target): Handle {
  const handle =
    typeof target === 'string'
      ? kernel.open(parseId(target))
      : target instanceof Obj
        ? target.handle
        : isAccessor(target)
          ? target.$h
          : undefined;
  if (!(handle instanceof Handle)) throw new TwzError('InvalidArgument', 'expected an object, an accessor or an object ID');
  if (handle.kernel !== kernel) throw new TwzError('WrongSpace', `object ${handle.id} is of another space`, { id: handle.id });
  return handle;
}

/** Completes a new object, or it does not exist. */
function orForsaken<T>(h: Handle, complete: () => T): T {
  try {
    return complete();
  } catch (error) {
    forsake(h);
    throw error;
  }
}

export class Space {
  /** Mobile code: modules that are signed, stored and run. */
  readonly modules: Modules;
  readonly #kernel: Kernel;
  readonly names: Names;
  /** Keys, contexts, capabilities. */
  readonly security: Security;

  /** Who runs functions for this space: those that it has joined, by `join`; undefined: it does so itself. Not part of the stable interface. */
  mobility: Mobility | undefined;
  #here: Mobility | undefined;

  /** Use `open`. */
  constructor(kernel: Kernel) {
    this.modules = new Modules(this);
    this.#kernel = kernel;
    this.names = new Names(this);
    this.security = new Security(kernel);
    kernel.resolvers.set('', (path) => this.names.lookup(path));
  }

  // --- transactions -------------------------------------------------------------------------------------------------------

  /**
   * Runs a plain synchronous function as one atomic transaction and returns what it returns. If it throws, nothing has happened.
   * Its effect survives the death of the process at once, and a power failure some 10 ms later. Inside another transaction it is part
   * of that one.
   */
  relaxed<T>(body: () => T): T {
    const kernel = this.#kernel;
    const result = run(kernel, body);
    if (kernel.transaction === undefined) {
      kernel.log.pace();
      kernel.checkpointer.pace();
    }
    return result;
  }

  /** As `relaxed`, with the transactions of all other processes kept out: for what looks at all objects, and relies on what it saw. */
  #alone<T>(body: () => T): T {
    return this.relaxed(() => runAlone(this.#kernel, body));
  }

  /**
   * As `relaxed`, and resolves once its effect survives a power failure. Transactions in flight together share a sync. Inside another
   * transaction it is part of that one, and resolves when that one is durable.
   */
  async durable<T>(body: () => T): Promise<T> {
    const kernel = this.#kernel;
    const result = run(kernel, body);
    if (kernel.transaction !== undefined) {
      const outcome = (kernel.transaction.outcome ??= { aborted: false });
      // The outer function is synchronous: it has ended when this goes on.
      await Promise.resolve();
      if (outcome.aborted) throw new TwzError('TransactionNested', 'the transaction around this one was aborted');
    }
    kernel.checkpointer.pace();
    await kernel.log.durable();
    return result;
  }

  /** Makes everything that was committed durable before it returns. */
  sync(): void {
    this.#kernel.idle('sync');
    this.#kernel.log.sync();
  }

  /** Resolves when everything that was committed so far is durable. */
  async syncAsync(): Promise<void> {
    this.#kernel.idle('sync');
    await this.#kernel.log.durable();
  }

  /** Brings the object files up to date and recycles the log. Happens by itself when the log has grown. */
  checkpoint(): void {
    this.#kernel.idle('a checkpoint');
    this.#kernel.checkpointer.run();
  }

  /**
   * Shows what other processes have committed by now. Happens by itself when a transaction or a snapshot begins, at `get` and the like, and
   * a few milliseconds after a commit elsewhere, never while the program does not give way.
   */
  refresh(): void {
    this.#kernel.catchUp();
  }

  // --- objects ------------------------------------------------------------------------------------------------------------

  /** A new object whose root is a `type`. Inside a transaction. */
  create<C, I>(type: CollectionType<C, I>, init?: I, options?: CreateOptions): C;
  create<F>(type: Struct<F>, init?: Init<F>, options?: CreateOptions): Instance<F>;
  create<F>(type: Struct<F>, init?: Init<F>, options: CreateOptions = {}): Instance<F> {
    demandKind(options, type.name);
    const h = createObject(this.#kernel, options);
    return orForsaken(h, () => {
      const at = h.allocate(type.layout.size);
      storeRoot(h, type, at);
      const instance = accessorAt(type, h, at);
      if (init !== undefined) assignTo(instance, init, type.name);
      return instance;
    });
  }

  /** A new object without a type; lay it out with `allocate` and `raw`. Inside a transaction. */
  createRaw(size = 0, options: CreateOptions = {}): Obj {
    demandKind(options, '');
    const h = createObject(this.#kernel, size > 0 ? { ...options, reserve: options.reserve ?? size + 4096 } : options);
    return orForsaken(h, () => {
      if (size > 0) h.setU32(META.root, h.allocate(size));
      return new Obj(h);
    });
  }

  /** Allocates a `type` in the object of `where`. Inside a transaction: the memory and whatever points to it appear together. */
  make<C, I>(type: CollectionType<C, I>, where: Target, init?: I): C;
  make<F>(type: Struct<F>, where: Target, init?: Init<F>): Instance<F>;
  make<F>(type: Struct<F>, where: Target, init?: Init<F>): Instance<F> {
    const h = handleOf(this.#kernel, where);
    const instance = accessorAt(type, h, h.allocate(type.layout.size));
    if (init === undefined) return instance;
    try {
      assignTo(instance, init, type.name);
    } catch (error) {
      this.free(instance);
      throw error;
    }
    return instance;
  }

  /** Gives back what `make` allocated, with the text and bytes it owns. References to it must be gone. Inside a transaction. */
  free(accessor: object): void {
    if (!isAccessor(accessor)) throw new TwzError('InvalidArgument', 'expected an accessor');
    if ('$drop' in accessor && typeof accessor.$drop === 'function') accessor.$drop();
    accessor.$h.release(accessor.$o);
  }

  /** The root of an object. Throws ObjectMissing, ObjectDeleted, ObjectCorrupt, ObjectForged, TypeMismatch. */
  get<C, I>(id: ObjectId, type: CollectionType<C, I>): C;
  get<F>(id: ObjectId, type: Struct<F>): Instance<F>;
  get<F>(id: ObjectId, type: Struct<F>): Instance<F> {
    this.#kernel.catchUp();
    const h = this.#kernel.open(parseId(id));
    return accessorAt(type, h, rootOf(h, type));
  }

  object(target: Target): Obj {
    const h = handleOf(this.#kernel, target);
    if (h.cold) h.reach();
    return new Obj(h);
  }

  has(id: ObjectId): boolean {
    this.#kernel.catchUp();
    return this.#kernel.has(parseId(id));
  }

  /** IDs of all objects, in no order. */
  ids(): Iterable<ObjectId> {
    this.#kernel.catchUp();
    return objectIds(this.#kernel);
  }

  /** A new object with the same content, with copies of the objects that its collections go on in. File pages are shared until one of the two changes them. Inside a transaction. */
  copy(target: Target, options: CreateOptions = {}): Obj {
    return new Obj(copyWhole(handleOf(this.#kernel, target), options));
  }

  /** An immutable copy, named by its content; the objects that its collections go on in are sealed as well. The same content gives the same object. Inside a transaction. */
  seal(target: Target): ObjectId {
    return sealWhole(handleOf(this.#kernel, target)).id;
  }

  /** Enters what `Obj.export` gave, under its own ID. Inside a transaction. Throws ObjectForged, ObjectExists. */
  import(bytes: Uint8Array): Obj {
    return new Obj(importWhole(this.#kernel, bytes));
  }

  /** Deletes an object, with those that its collections go on in: now, or when nothing that it is tied to is left ("kept"). Inside a transaction. */
  delete(target: Target): 'deleted' | 'kept' {
    const h = handleOf(this.#kernel, target);
    return deleteObject(this.#kernel, h);
  }

  /** `target` lives at least as long as `to`. Inside a transaction. */
  tie(target: Target, to: Target): void {
    tie(handleOf(this.#kernel, target), handleOf(this.#kernel, to));
  }

  untie(target: Target, to: Target): void {
    untie(this.#kernel, handleOf(this.#kernel, target), typeof to === 'string' ? to : handleOf(this.#kernel, to).id);
  }

  /** IDs of what an object is tied to. */
  ties(target: Target): ObjectId[] {
    return ties(handleOf(this.#kernel, target));
  }

  /**
   * Deletes the counted objects that nothing reachable refers to. In a space that has joined others it asks the other nodes, and is no part of
   * a transaction. Throws ReferencesUnknown while one of them cannot be asked; NotJoined where this program has not joined.
   */
  reclaim(): Reclaimed {
    const kernel = this.#kernel;
    const { afar } = kernel;
    if (afar === undefined) {
      if (this.names.lookup(FAMILIES_PATH) !== undefined)
        throw new TwzError('NotJoined', 'other nodes may refer to objects of this space: join before it reclaims');
      return this.#alone(() => reclaim(kernel));
    }
    kernel.idle('reclaiming');
    const asked = unreached(kernel);
    const kept = asked.length > 0 ? afar.reached(asked) : [];
    return this.#alone(() => reclaim(kernel, { asked: new Set(asked), kept: new Set(kept) }));
  }

  /**
   * Moves the blocks of one object together and gives back what that empties; pointers to them follow, in all objects. Blocks that no
   * typed field leads to stay, and are reported. Accessors of the object that the program holds must be got anew: they do not follow.
   * The object's end is cut off only where this is a transaction of its own. Throws ObjectPinned while raw views or cursors are held.
   */
  defragment(target: Target): Defragmented {
    const own = this.#kernel.transaction === undefined;
    return this.#alone(() => defragment(this.#kernel, handleOf(this.#kernel, target), own));
  }

  /**
   * Migrates every object whose root is an older version of `type`, each in a relaxed transaction of its own: call it again after a crash
   * and it goes on. Objects that are opened with the newer type are migrated without it.
   */
  migrate<F>(type: Struct<F>, options: MigrateOptions = {}): Migrated {
    return migrateAll(this.#kernel, type, storeRoot, options);
  }

  // --- names, late binding, versions --------------------------------------------------------------------------------------

  /** A value for a reference field: bound by path, and resolved each time it is followed. */
  late<C, I>(type: CollectionType<C, I>, path: string, resolver?: string): C;
  late<F>(type: Struct<F>, path: string, resolver?: string): Instance<F>;
  late<F>(_type: Struct<F>, path: string, resolver = ''): Instance<F> {
    const reference: unknown = new LateReference(path, resolver);
    return reference as Instance<F>;
  }

  /** Registers how late-bound references of that resolver name find their targets. */
  resolver(name: string, resolve: Resolver): void {
    this.#kernel.resolvers.set(name, resolve);
  }

  /** The space as it is now, unmoved by later commits until `advance`. */
  snapshot(): Snapshot {
    this.#kernel.idle('a snapshot');
    this.#kernel.catchUp();
    return new Snapshot(this.#kernel);
  }

  /**
   * Copies the space as it is now to a point of a backup in `directory`, while the program goes on. What an earlier point there has is
   * not copied again. Resolves when the point is durable. Throws NotEmpty, WrongSpace, DiskFull and the like, and leaves earlier points
   * as they are. `twz restore`, or `restoreBackup` of `twizzler/tools`, makes a space of it.
   */
  backup(directory: string, options: BackupOptions = {}): Promise<BackupReport> {
    return backupSpace(this.#kernel, directory, options);
  }

  /**
   * Tells of changes of an object, by any process; parts that its collections go on in count as it. The listener is called when the event
   * loop comes round: once for all changes until then, and again for what comes after. Without a listener, iterate over the watch.
   * Not for shared objects (NotSupported): `threadSync` watches their words.
   */
  watch<T extends Target>(target: T, listener: (target: T) => unknown): Watch<T>;
  watch<T extends Target, V = T>(target: T, options?: WatchOptions<T, V>, listener?: (value: V) => unknown): Watch<V>;
  watch<T extends Target, V>(
    target: T,
    options: WatchOptions<T, V> | ((target: T) => unknown) = {},
    listener?: (value: V) => unknown,
  ): Watch<V> {
    if (typeof options === 'function') return this.watch<T, V>(target, {}, () => options(target));
    const h = handleOf(this.#kernel, target);
    if (h.cold) h.warm();
    if (h.kind === KIND.shared)
      throw new TwzError('NotSupported', `object ${h.id} is shared: watch its words, by threadSync`, { id: h.id });
    if (h.snapshot !== undefined) throw new TwzError('NotSupported', `object ${h.id} is of a snapshot: it does not change`, { id: h.id });
    return new Watch<V>(target, (watcher) => this.#kernel.watch(h, watcher), options, listener);
  }

  // --- code that moves ----------------------------------------------------------------------------------------------------

  get #runs(): Mobility {
    return this.mobility ?? (this.#here ??= new Here(this));
  }

  /**
   * Runs a function: here, or, once the space has joined others, where that is best. Its arguments are values and references, and it stands
   * alone: it uses its arguments, what they lead to, the data types of this package and `space`. A plain function is one transaction; an
   * async one makes transactions, and runs others. docs/cluster.md. Throws RunFailed, CodeInvalid, Denied, RunLimit, and what `run` of a
   * `Cluster` throws.
   */
  run<A extends readonly unknown[], R>(fn: (...given: A) => R, ...given: Given<A>): Promise<Awaited<R>> {
    return this.#runs.runWith({}, fn, ...given);
  }

  runWith<A extends readonly unknown[], R>(options: RunOptions, fn: (...given: A) => R, ...given: Given<A>): Promise<Awaited<R>> {
    return this.#runs.runWith(options, fn, ...given);
  }

  /** Begins a function, as `run`, and gives at once what can be asked for its result, and ended. */
  spawn<A extends readonly unknown[], R>(fn: (...given: A) => R, ...given: Given<A>): Spawned<Awaited<R>> {
    return this.#runs.spawnWith({}, fn, ...given);
  }

  spawnWith<A extends readonly unknown[], R>(options: RunOptions, fn: (...given: A) => R, ...given: Given<A>): Spawned<Awaited<R>> {
    return this.#runs.spawnWith(options, fn, ...given);
  }

  /** What a generator function gives, wherever it runs, as it comes. */
  stream<A extends readonly unknown[], T>(fn: Generates<A, T>, ...given: Given<A>): RunStream<T> {
    return this.#runs.streamWith({}, fn, ...given);
  }

  streamWith<A extends readonly unknown[], T>(options: StreamOptions, fn: Generates<A, T>, ...given: Given<A>): RunStream<T> {
    return this.#runs.streamWith(options, fn, ...given);
  }

  // --- facts and end ------------------------------------------------------------------------------------------------------

  get directory(): string {
    return this.#kernel.directory;
  }

  get closed(): boolean {
    return this.#kernel.closed;
  }

  stat(): SpaceStat {
    const { host, directory, log, checkpointer, commits, aborts, windows, maps, evictions, recovery, spaceId, live } = this.#kernel;
    return {
      host: host.name,
      directory,
      id: Array.from(spaceId, (byte) => byte.toString(16).padStart(2, '0')).join(''),
      log: {
        end: log.end,
        synced: log.synced,
        checkpoint: checkpointer.lsn,
        appended: log.appended,
        syncs: log.syncs,
        checkpoints: checkpointer.checkpoints,
      },
      transactions: { commits, aborts },
      mapped: { objects: this.#kernel.mappedObjects, bytes: windows.used, maps, evictions },
      recovery,
      members: [{ pid: host.pid, behind: 0 }, ...(live?.describe() ?? [])],
    };
  }

  /** Brings everything to disk and lets go of the directory. Accessors throw SpaceClosed afterwards. */
  close(): void {
    this.#kernel.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** For the parts of this package. Not part of the stable interface. */
  get kernel(): Kernel {
    return this.#kernel;
  }
}

/** What a kind asks of who creates an object of it. */
function demandKind({ kind, merge }: CreateOptions, type: string): void {
  if (kind === 'append-only' && !type.startsWith('Log<'))
    throw new TwzError('TypeInvalid', "the root of an append-only object is a log: `space.create(log(…), [], { kind: 'append-only' })`");
  if (kind === 'progressive' && merge === undefined)
    throw new TwzError('InvalidArgument', 'a progressive object names its merge code: `merge`, the ID of a code object');
}

/** Makes `at` the object's root, with its type's fingerprint and schema. */
export function storeRoot(h: Handle, type: StructImage, at: number): void {
  const schema = new TextEncoder().encode(type.schema);
  const schemaAt = h.allocate(4 + schema.length);
  h.markRange(schemaAt, 4 + schema.length);
  h.dv.setUint32(schemaAt, schema.length, true);
  h.u8.set(schema, schemaAt + 4);
  h.markRange(META.root, META.schema + 4 - META.root);
  h.dv.setUint32(META.root, at, true);
  h.dv.setUint32(META.rootType, type.layout.fingerprint.low, true);
  h.dv.setUint32(META.rootType + 4, type.layout.fingerprint.high, true);
  h.dv.setUint32(META.typeVersion, type.version, true);
  h.dv.setUint32(META.schema, schemaAt, true);
  h.judged = type;
}

/** What an accessor's layout is now must be what it was at the time of the snapshot. */
function demandSameTypes(then: Handle, now: Handle): void {
  if (now.cold) now.warm();
  const [a, b] = [new Obj(then).schemaText, new Obj(now).schemaText];
  const alike = a.length === b.length && a.every((byte, i) => byte === b[i]);
  if (!alike || then.dv.getUint32(META.root, true) !== now.dv.getUint32(META.root, true))
    throw new TwzError('TypeOutdated', `object ${now.id} was migrated since the snapshot was taken: advance it`, { id: now.id });
  then.judged = now.judged;
}

installEvolution(storeRoot);

/** A frozen version of the whole space. Reading only. */
export class Snapshot {
  readonly #kernel: Kernel;
  readonly #snapshot: KernelSnapshot;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#snapshot = new KernelSnapshot(kernel);
    kernel.snapshots.add(this.#snapshot);
  }

  /** The root of an object as it was. Throws ObjectMissing where it was not there yet. */
  get<C, I>(id: ObjectId, type: CollectionType<C, I>): C;
  get<F>(id: ObjectId, type: Struct<F>): Instance<F>;
  get<F>(id: ObjectId, type: Struct<F>): Instance<F> {
    const h = this.#snapshot.handle(parseId(id));
    return accessorAt(type, h, rootOf(h, type));
  }

  /** The same place as it was: references followed from it stay in the snapshot. */
  of<F extends object>(accessor: F): F {
    if (!isAccessor(accessor)) throw new TwzError('InvalidArgument', 'expected an accessor');
    const live = handleOf(this.#kernel, accessor);
    const h = this.#snapshot.handle(live.id);
    if (h.cold) h.warm();
    if (live.judged !== undefined && h.judged !== live.judged) demandSameTypes(h, live);
    const frozen: F = Reflect.construct(accessor.constructor as new (h: Handle, at: number) => F, [h, accessor.$o]);
    return frozen;
  }

  object(id: ObjectId): Obj {
    const h = this.#snapshot.handle(parseId(id));
    if (h.cold) h.warm();
    return new Obj(h);
  }

  /** Moves to the newest committed version. Accessors of this snapshot then show that. */
  advance(): void {
    this.#snapshot.advance();
  }

  close(): void {
    this.#snapshot.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

export { KIND, type Kind };

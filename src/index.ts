/** Twizzler: persistent data as memory. The package's main entry. */
export { TwzError, isTwzError, ERRORS, KernelBug, type ErrorName, type ErrorCategory, type ErrorContext } from './abi/errors.ts';
export { RIGHT, type Kind } from './abi/format.ts';
export type { SyncWords, Threads, Wait, WordState, Awakening } from './abi/sync.ts';
export { Mutex } from './lib/sync/mutex.ts';
export { Once } from './lib/sync/once.ts';
export { RwLock, type ReadGuard } from './lib/sync/rw-lock.ts';
export { SeqLock } from './lib/sync/seq-lock.ts';
export { Barrier, Condition, Counter, Latch, Semaphore } from './lib/sync/signals.ts';
export type { DeviceClass, DeviceStatus } from './abi/device-format.ts';
export { ClockDevice, DeviceTimer, TimerDevice, type Time, type TimerOptions } from './lib/devices/clock.ts';
export type { Address } from './lib/devices/address.ts';
export { BlockDevice, type BlockTarget, type Sectors } from './lib/devices/block.ts';
export {
  Connection,
  DatagramSocket,
  Listener,
  NetworkDevice,
  type Datagram,
  type Endpoint,
  type ListenOptions,
} from './lib/devices/network.ts';
export { ConsoleDevice } from './lib/devices/console.ts';
export { EntropyDevice } from './lib/devices/entropy.ts';
export { Device, DeviceHead } from './lib/devices/head.ts';
export { barrier, condition, counter, latch, mutex, once, rwLock, semaphore, seqLock } from './lib/sync/fields.ts';
export {
  threadSync,
  threadSyncAsync,
  word,
  type SyncWord,
  type ThreadSyncAsyncOptions,
  type ThreadSyncOp,
  type ThreadSyncOptions,
  type ThreadSyncResult,
} from './lib/sync/thread-sync.ts';
export type { AsyncWaitOptions, WaitOptions } from './lib/sync/waiting.ts';
export { sharedWords } from './words.ts';
export type { FotEntry, ObjectHandle, WasmView } from './abi/handle.ts';
export { isId, parseId, type ObjectId } from './abi/id.ts';
export type { ClassUsage, Usage } from './abi/usage.ts';
export type { Host } from './host/host.ts';
export type { CreateOptions } from './kernel/lifetime.ts';
export type { Reclaimed } from './kernel/reclaim.ts';
export type { Defragmented } from './services/defragment.ts';
export type { Recovery } from './kernel/recovery.ts';
export { blob, type Blob, type Source, type Transactor } from './lib/collections/blob.ts';
export { ByteView } from './lib/collections/byte-view.ts';
export { graph, type DirectedEdge, type DirectedGraph, type GraphContent } from './lib/collections/graph.ts';
export type { Direction, GraphPath, GraphVisit, WalkOptions } from './lib/collections/graph-ways.ts';
export { hashMap, hashSet, type HashMap, type HashSet } from './lib/collections/hash-map.ts';
export { index, indexedMap, type Index, type IndexDifference, type IndexedMap, type IndexReader } from './lib/collections/indexed-map.ts';
export { caseless, collation, tuple, type Collation, type KeyOf, type KeyType, type Tuple } from './lib/collections/keys.ts';
export type { OrderedCursor, Range } from './lib/collections/ordered-cursor.ts';
export { orderedMap, type OrderedMap } from './lib/collections/ordered-map.ts';
export type { Taken } from './lib/collections/elements.ts';
export { list, type List, type ListEntry } from './lib/collections/list.ts';
export { log, queue, type Log, type Queue } from './lib/collections/queue.ts';
export type { Retention } from './lib/collections/ring.ts';
export { textDocument, type TextDocument } from './lib/collections/text-document.ts';
export { redBlackTree, type RedBlackTree } from './lib/collections/red-black-tree.ts';
export type { CollectionUsage } from './lib/collections/tools.ts';
export type { CollectionType } from './lib/collections/type.ts';
export { vec, type NumbersOf, type Vec } from './lib/collections/vec.ts';
export { assign, closeCursor, cursor, moveCursor, objectOf, offsetOf, reader, same, type Cursor, type Reader } from './lib/cursor.ts';
export {
  array,
  bigI64,
  bigU64,
  bool,
  bytes,
  f32,
  f64,
  i16,
  i32,
  i64,
  i8,
  link,
  oneOf,
  optional,
  text,
  u16,
  u32,
  u64,
  u8,
  type Field,
  type FieldShape,
  type FixedArray,
} from './lib/fields.ts';
export { migration, type MigrationOptions } from './lib/evolution.ts';
export { Obj } from './lib/object.ts';
export type { RingKind } from './lib/rings/layout.ts';
export { fixedBytes, structRecord, variableBytes, type RecordType } from './lib/rings/records.ts';
export {
  createRequests,
  openRequests,
  requestBytes,
  Requester,
  Requests,
  Responder,
  type Request,
  type RequestOptions,
  type RequestRecords,
} from './lib/rings/requests.ts';
export { createRing, openRing, ringBytes, Ring, type RingOptions, type RingStat } from './lib/rings/ring.ts';
export { Consumer, Producer, type SideOptions } from './lib/rings/sides.ts';
export {
  ref,
  struct,
  type Infer,
  type Init,
  type Instance,
  type Schema,
  type SchemaType,
  type Struct,
  type StructOptions,
} from './lib/struct.ts';
export type { BackupOptions, BackupReport } from './services/backup.ts';
export type { Migrated, MigrateOptions } from './services/evolution/all.ts';
export type { Modules, ModuleLimits, RunOptions } from './services/modules/modules.ts';
export type {
  Given,
  RunLimits,
  RunOptions as SpaceRunOptions,
  RunStream,
  Spawned,
  SpawnStatus,
  StreamOptions,
} from './services/mobility.ts';
export type { ModuleSpace } from './services/modules/library.ts';
export type { ModuleLanguage, SignedModule } from './services/modules/signed.ts';
export type { ModuleValue } from './services/modules/values.ts';
export type { Judge, Judged, Peer } from './services/serve/judge.ts';
export { connect, ServedSpace, type ConnectOptions } from './services/serve/remote.ts';
export { serve, type ServeLimits, type ServeOptions, type Serving } from './services/serve/serve.ts';
export { Names, type NameEntry, type SetOptions } from './services/naming.ts';
export {
  Capability,
  Security,
  SigningKey,
  type ContextFacts,
  type ContextOptions,
  type DelegateOptions,
  type Explanation,
  type Finding,
  type Gate,
  type GrantOptions,
  type ItemFinding,
  type Mask,
  type MaskOptions,
  type Rights,
} from './services/security.ts';
export { createPort, openPort, Port, portBytes, type PortMessage, type PortOptions } from './services/port.ts';
export { Watch, type WatchOptions } from './services/watch.ts';
export type { WatchEnd } from './kernel/watch.ts';
export type { ConsoleStreams, InputStream, OutputStream } from './host/console-streams.ts';
export { devices, openDevice, type DeviceClasses, type DeviceEntry } from './services/devices/open.ts';
export {
  startDevices,
  type BlockOptions,
  type NetworkOptions,
  type ClockOptions,
  type DeviceOptions,
  type Devices,
  type TimerDeviceOptions,
} from './services/devices/start.ts';
export { ThreadRepr, type ThreadReason, type ThreadStatus } from './services/threads/control.ts';
export type { MailboxOptions } from './services/threads/mailbox.ts';
export { ThreadSelf } from './services/threads/self.ts';
export { spawn, threadOf, threads, type SpawnOptions } from './services/threads/spawn.ts';
export {
  Supervisor,
  SupervisorState,
  supervise,
  supervisors,
  type ChildSpec,
  type RestartPolicy,
  type SuperviseOptions,
} from './services/threads/supervise.ts';
export { Thread, type StopOptions, type ThreadResult } from './services/threads/thread.ts';
export {
  programs,
  Programs,
  Program,
  ProgramCode,
  Compartment,
  RemoteCompartment,
  withManifest,
  type CompartmentOptions,
  type GateValue,
  type Limits,
  type ProgramSource,
  type RemoteOptions,
  type StartOptions,
  type Surrounding,
} from './services/programs.ts';
export type { GateDeclaration, GateType, Manifest } from './abi/syscalls.ts';
export { files, Files, type FileEntry } from './services/files/files.ts';
export { runWasi, type PreopenedDirectory, type RunWasiOptions, type WasiResult } from './services/files/run.ts';
export type { Transferred, TransferOptions } from './services/files/transfer.ts';
export type { TreeLimits } from './services/files/tree.ts';
export type { WasiStream } from './runtime/wasi/program.ts';
export { open, Snapshot, Space, type OpenOptions, type SpaceStat, type Target } from './space.ts';

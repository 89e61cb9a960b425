/**
 * Errors are of three kinds and never mixed.
 *
 * 1. A bug of ours: `assert` throws `KernelBug`; nothing should catch it.
 * 2. An operating error: `TwzError`, with a name, a stable numeric code, a category and typed context.
 *    `twz explain CODE` prints its page from the table below.
 * 3. A program's fault: delivered to the owner of its compartment.
 *
 * Codes are never reused and never renumbered.
 */

import { CLUSTER_ERRORS } from './errors-of-cluster.ts';
import { PROGRAM_ERRORS } from './errors-of-programs.ts';
import { SERVICE_ERRORS } from './errors-of-services.ts';

export type ErrorCategory =
  | 'argument'
  | 'object'
  | 'pointer'
  | 'type'
  | 'transaction'
  | 'storage'
  | 'naming'
  | 'space'
  | 'host'
  | 'sync'
  | 'queue'
  | 'device'
  | 'module'
  | 'serve'
  | 'thread'
  | 'security'
  | 'program'
  | 'sqlite'
  | 'cluster';

export interface ErrorPage {
  readonly code: number;
  readonly category: ErrorCategory;
  /** What happened, one sentence. */
  readonly what: string;
  /** What the reader can do about it. */
  readonly remedy: string;
}

const page = (code: number, category: ErrorCategory, what: string, remedy: string): ErrorPage => ({ code, category, what, remedy });

export const ERRORS = {
  InvalidArgument: page(
    101,
    'argument',
    'An argument has a value that the call does not take.',
    'Read the message: it names the value and what was expected.',
  ),
  OutOfRange: page(
    102,
    'argument',
    'A number does not fit the field or the limit that it was meant for.',
    'Use a wider field, or check the value first.',
  ),
  NotSupported: page(
    103,
    'argument',
    'This host or this build cannot do what was asked.',
    'Use the Linux host, or the alternative that the message names.',
  ),
  WordMisaligned: page(
    104,
    'argument',
    'A word to sleep on does not begin at a multiple of its size.',
    'Words have 4 bytes, or 8 where asked for: give an offset that is a multiple of that.',
  ),

  ObjectMissing: page(
    201,
    'object',
    'No object with this ID is in the space.',
    'The object was never here, or was deleted long ago. Find who refers to it with `twz graph`, and mend with `twz check --repair`.',
  ),
  ObjectDeleted: page(202, 'object', 'The object was deleted.', 'Drop the reference, or tie the object to one that lives long enough.'),
  ObjectForbidden: page(
    203,
    'object',
    'The rights of this object do not allow the access.',
    'Open it for reading only, or ask its owner for a capability.',
  ),
  ObjectCorrupt: page(
    204,
    'object',
    'The object file does not satisfy its own checks.',
    'Run `twz check`; restore the file from a backup.',
  ),
  ObjectForged: page(
    205,
    'object',
    'The ID does not follow from the nonce, key and default rights in the header.',
    'The header was changed or the file was swapped. Restore it from a backup.',
  ),
  ObjectImmutable: page(
    206,
    'object',
    'The object is immutable; its ID is the hash of its content.',
    'Copy it (`space.copy`) and change the copy.',
  ),
  ObjectTooLarge: page(
    207,
    'object',
    'The object would grow past 1 GiB, or its allocator has no room.',
    'Spread the data over several objects; references cross them freely.',
  ),
  ObjectPinned: page(
    208,
    'object',
    'The object cannot be moved or evicted while raw views of it are held.',
    'Release the raw views, or create the object at its final size.',
  ),
  ObjectVersion: page(
    209,
    'object',
    'The object file has a format version that this build does not read.',
    'Use the build that wrote it, or export and import.',
  ),
  ObjectExists: page(
    210,
    'object',
    'An object with this ID is already in the space.',
    'It is the same object; use it, or remove it first.',
  ),
  ObjectTied: page(211, 'object', 'The object lives as long as others that it is tied to.', 'It goes when they go, or when it is untied.'),
  NotShared: page(
    212,
    'object',
    'Words that others see at once, and locks, are in shared objects alone.',
    "Create the object with `{ kind: 'shared' }`.",
  ),
  SharedFixed: page(
    213,
    'object',
    'A shared object keeps the size, the blocks and the metadata that it was created with: its stores are part of no transaction.',
    'Allocate in the transaction that creates it, or keep the data in an owned object.',
  ),
  SharedReference: page(
    214,
    'object',
    'A shared object cannot refer to other objects: no transaction would hold the reference and what it counts together.',
    'Keep the reference in an owned object, and in the shared one a number.',
  ),
  AppendOnly: page(
    215,
    'object',
    'What was appended to an append-only object does not change, and does not go.',
    'Append what is to hold instead. An object that is to change is made with another kind.',
  ),

  PointerCorrupt: page(
    301,
    'pointer',
    'A stored pointer does not lead to valid memory.',
    'The data was damaged or stored raw. Run `twz check` on the object named.',
  ),
  FotCorrupt: page(
    302,
    'pointer',
    'A pointer names a foreign-object-table entry that is free or malformed.',
    'Run `twz check` on the object named.',
  ),
  FotFull: page(
    303,
    'pointer',
    'The foreign object table has no free entry left (2^24 - 1).',
    'Spread the references over several objects.',
  ),
  NameUnresolved: page(
    304,
    'pointer',
    'A late-bound reference names something that its resolver does not find.',
    'Put an object at that path, or retarget the entry.',
  ),
  ResolverMissing: page(
    305,
    'pointer',
    'A late-bound reference needs a resolver that this program has not registered.',
    'Register it with `space.resolver(name, fn)` before following the reference.',
  ),
  NotInThisObject: page(
    306,
    'pointer',
    'The target lies in another object, and the field holds same-object references only.',
    'Allocate the target in the same object.',
  ),
  StaleReference: page(
    307,
    'pointer',
    'The accessor belongs to a closed space or to memory that is gone.',
    'Fetch the reference again from the space.',
  ),
  WrongSpace: page(308, 'pointer', 'The target belongs to another space.', 'Copy the object into this space first.'),

  TypeMismatch: page(
    401,
    'type',
    'The object holds another type, or another version of the type, than the program expects.',
    'Open it with the type it was created with; compare both with `twz show`.',
  ),
  TypeInvalid: page(402, 'type', 'A layout is declared wrongly.', 'Read the message: it names the type, the field and the rule.'),
  ValueMismatch: page(
    403,
    'type',
    'A value is not of the kind that the field takes.',
    'Read the message: it names the field and what it takes.',
  ),
  TypeOutdated: page(
    404,
    'type',
    'The object has an older version of the type, and cannot be migrated where it is.',
    'Open the object itself, in the space, with the newer type; or run `space.migrate(Type)`. Of an immutable one take a copy.',
  ),
  TypeNewer: page(
    405,
    'type',
    'The object has a newer version of the type than the program.',
    'Use the newer program. Data whose root only gained fields at its end is read by the older one, too.',
  ),

  NotInTransaction: page(
    501,
    'transaction',
    'Persistent data was stored to outside a transaction.',
    'Wrap the store in `space.relaxed(() => …)` or `space.durable(() => …)`.',
  ),
  TransactionAsync: page(
    502,
    'transaction',
    'The function of a transaction returned a promise.',
    'Await first, then change data in a plain synchronous function.',
  ),
  TransactionOvertaken: page(
    509,
    'transaction',
    'Another process changes the same objects all the time; the transaction was tried several times and changed nothing.',
    'Run it again. A raw view that another process holds keeps an object to that process: let go of it there.',
  ),
  TransactionTooLarge: page(
    503,
    'transaction',
    'The transaction changes more than fits in memory at once.',
    'Split it, or raise `mappedMax`.',
  ),
  TransactionNested: page(504, 'transaction', 'The operation cannot run inside a transaction.', 'Call it before or after.'),
  SnapshotReadOnly: page(
    505,
    'transaction',
    'A snapshot is a frozen version and cannot be changed.',
    'Change the object itself, then advance the snapshot.',
  ),
  SnapshotClosed: page(506, 'transaction', 'The snapshot was closed.', 'Take a new one.'),

  DiskFull: page(601, 'storage', 'The file system has no room.', 'Free room and try again; the space is as it was before the call.'),
  TooManyFiles: page(
    602,
    'storage',
    'The process or the system has no file descriptors left.',
    'Raise the limit (`ulimit -n`), or close other files; the space is as it was before the call.',
  ),
  ReadOnly: page(
    603,
    'storage',
    'The directory or the file system does not permit writing.',
    'Mend the permissions, or choose another directory.',
  ),
  IoError: page(
    604,
    'storage',
    'The device reported an error.',
    'Look at the system log; what was acknowledged as durable before is in the log.',
  ),
  LogCorrupt: page(605, 'storage', 'The log is damaged before its end.', 'Run `twz check`; `twz log` shows the last good record.'),
  LogFailed: page(
    606,
    'storage',
    'The log could not be written or synced, so the space refuses further changes.',
    'Mend the cause and open the space again: it recovers all that was acknowledged.',
  ),
  OutOfMemory: page(607, 'storage', 'The system gave no memory for a mapping.', 'Lower `mappedMax`, or raise vm.max_map_count.'),
  FileMissing: page(608, 'storage', 'A file or directory that was asked for is not there.', 'Check the path.'),
  NotEmpty: page(
    621,
    'storage',
    'The directory that is to be made holds something already.',
    'Name one that is not there yet, or an empty one.',
  ),
  BackupMissing: page(
    622,
    'storage',
    'The directory holds no backup, or not the point that was asked for.',
    'List the points with `twz backup DIR --list`.',
  ),
  BackupCorrupt: page(
    623,
    'storage',
    'A backup does not hold what its manifest says.',
    'Restore another point; `twz backup DIR --verify` says which are whole.',
  ),

  NameMissing: page(701, 'naming', 'Nothing has this name.', 'List the namespace with `twz ls`.'),
  NameExists: page(702, 'naming', 'The name is taken.', 'Choose another, remove it, or ask to replace it.'),
  NameInvalid: page(
    703,
    'naming',
    'The path is not well formed.',
    'Paths start with /, have components of 1 to 255 bytes, and no empty, . or .. components.',
  ),
  NotNamespace: page(704, 'naming', 'A component of the path is not a namespace.', 'Make one with `space.names.mkns`.'),
  NamespaceNotEmpty: page(705, 'naming', 'The namespace still holds names.', 'Remove them first, or remove recursively.'),
  LinkLoop: page(706, 'naming', 'More than 32 links were followed.', 'Break the loop.'),

  SpaceMissing: page(801, 'space', 'The directory holds no space.', 'Create one with `twz init`.'),
  SpaceExists: page(802, 'space', 'The directory already holds a space.', 'Open it, or choose another directory.'),
  SpaceBusy: page(803, 'space', 'Another process or handle has the space open.', 'Close it there first.'),
  SpaceCorrupt: page(804, 'space', 'The control file of the space is damaged.', 'Run `twz check --repair`, or restore it from a backup.'),
  SpaceVersion: page(
    805,
    'space',
    'The space has a format version that this build does not read.',
    'Use the build that wrote it, or export and import.',
  ),
  LeaseTimeout: page(
    807,
    'space',
    'Another process that has the space open holds what is needed, lives, and does not go on.',
    'Look at the process that the message names: it may be stopped, in a debugger, or in a long transaction.',
  ),
  SpaceClosed: page(806, 'space', 'The space was closed.', 'Open it again.'),

  HostUnavailable: page(
    901,
    'host',
    'The machine lacks something that the chosen host needs.',
    'Let the host be chosen automatically, or install what the message names.',
  ),
  ImportRefused: page(
    902,
    'argument',
    'A line or record of the input cannot be imported.',
    'Mend the line named, or import with bad lines skipped.',
  ),
  DumpInvalid: page(
    921,
    'argument',
    'The input is no dump, or a line or record of it is not well formed.',
    'Read the message: it names the line and what was expected. Nothing was loaded.',
  ),
  PackageMissing: page(
    903,
    'host',
    'An optional package that this file format needs is not installed.',
    'Install it beside twizzler, with the line that the message gives.',
  ),
  FileInvalid: page(
    904,
    'argument',
    'A file is not of the format that it was read as, or is damaged.',
    'Check what kind of file it is; restore it from a backup, or let the program that wrote it mend it.',
  ),
  FileBusy: page(
    905,
    'argument',
    'Another program has the file locked.',
    'Close it there. A program that was killed may have left the lock: remove the directory that the message names.',
  ),

  LockTimeout: page(
    1001,
    'sync',
    'A lock was not to be had in the time given.',
    'The message names the holder. Wait longer, let the holder go on if it is stopped, or end it: the lock then passes on.',
  ),
  LockRecursion: page(
    1002,
    'sync',
    'A thread waits for a lock that it holds itself.',
    'Unlock first, or hand what is locked to the inner function.',
  ),
  LockNotHeld: page(
    1003,
    'sync',
    'A lock was released by a thread that does not hold it.',
    'Release a lock once, in the thread that took it; `using` does.',
  ),
  LockLost: page(
    1004,
    'sync',
    'The holder of a lock died, and who got it next released it without saying that the data is whole again.',
    'Mend the data and call `recover` on the lock.',
  ),
  LockInvalid: page(
    1005,
    'sync',
    'The words of a lock hold what no lock has, or a count was set that it does not take.',
    'Something else stored over it, or it was not initialized. Create the object anew.',
  ),
  BarrierBroken: page(
    1006,
    'sync',
    'Not all parties of a barrier came: one of them ran out of time or gave up.',
    'Reset the barrier once all parties know.',
  ),

  QueueFull: page(
    1101,
    'queue',
    'The queue has no room now, and the call does not wait.',
    'Wait with `submit` or `submitAsync`, try again later, or make the queue larger.',
  ),
  QueueClosed: page(1102, 'queue', 'The queue was closed.', 'Nothing more can be submitted; what was submitted before can be received.'),
  QueueTimedOut: page(
    1103,
    'queue',
    'The time was over before there was room, or a record.',
    'Wait longer, or see what the other side does.',
  ),
  PeerGone: page(
    1104,
    'queue',
    'The other side of the queue died without leaving it.',
    'Start it again: it enters the same queue and goes on where it stands. What was submitted stays; what the dead one held is counted as abandoned.',
  ),
  QueueTaken: page(
    1105,
    'queue',
    'The part in the queue is taken: it is made for one producer or consumer, or for no more peers.',
    'Let the other one leave, or make the queue for many (`mpsc`, `mpmc`).',
  ),
  QueueInvalid: page(
    1106,
    'queue',
    'No queue of this type lies at that place, or its memory was damaged.',
    'Open it where it was created, with the same record type; create it in memory that is zero.',
  ),
  RequestCancelled: page(1107, 'queue', 'The request was cancelled before it was completed.', 'Submit it again if it is still wanted.'),
  RequestFailed: page(1108, 'queue', 'Who served the request failed at it.', 'Read the message: it is that of the error there.'),

  DeviceMissing: page(
    1201,
    'device',
    'There is no such device in the space.',
    'Start it with `startDevices`; `devices(space)` lists those that there are.',
  ),
  DeviceInvalid: page(
    1202,
    'device',
    'What lies there is no device of that class, or is damaged.',
    'Ask for the class that the message names.',
  ),
  DeviceGone: page(
    1203,
    'device',
    'The driver of the device has ended, or was killed: nothing comes from the device any more.',
    'Start the devices again, and open them anew.',
  ),
  DeviceBusy: page(
    1204,
    'device',
    'All timers, sockets or requests of the device are in use, or another process serves the devices.',
    'Release what is not needed, or start the device with more of them.',
  ),
  DeviceFailed: page(1205, 'device', 'The device could not do what was asked.', 'Read the message: it says what the system answered.'),
  DeviceTimedOut: page(1206, 'device', 'The device did not come to it in time.', 'Try again, or allow more time.'),
  ConnectionRefused: page(1207, 'device', 'Nobody listens at that address.', 'Start the server, or correct the address.'),
  ConnectionReset: page(1208, 'device', 'The other side broke the connection off.', 'Connect again.'),
  AddressTaken: page(1209, 'device', 'Another program listens at that address.', 'Take port 0, or end the other program.'),
  AddressForbidden: page(
    1210,
    'device',
    'The network device does not reach that address: by default there is loopback only.',
    'Start the device with `addresses: "all"`.',
  ),
  AddressInvalid: page(
    1211,
    'device',
    'What was given is no IP address or port.',
    'Give an address as 127.0.0.1 or ::1, and a port from 0 to 65535.',
  ),

  ThreadFailed: page(
    1301,
    'thread',
    'The main function of a thread threw, or its module could not be loaded.',
    'Read the message: it is that of the error there; `context` has its name and its stack.',
  ),
  ThreadKilled: page(
    1302,
    'thread',
    'A thread was ended from outside, or its process died.',
    'The code is 128 and the number of the signal where that is known, else -1. Look at the system log for one that nobody sent.',
  ),
  ThreadTimeout: page(
    1303,
    'thread',
    'A thread had not ended, or not stopped at a point, when the time was over.',
    'Wait longer, ask it to stop, or kill it. A thread that is to be suspended must come to `point()`.',
  ),
  ThreadEnded: page(
    1304,
    'thread',
    'The thread has ended, and can be sent nothing any more.',
    'Read how it ended with `result`, and spawn another.',
  ),
  ThreadRuns: page(1305, 'thread', 'The control object of a thread that runs cannot be released.', 'Stop it first, and wait for it.'),
  ThreadModule: page(
    1306,
    'thread',
    'The module of a thread has no main function, or the function gave what is no exit code.',
    'Export a function `main`, or as default, that returns nothing or an integer from 0 to 32767.',
  ),
  SupervisorGaveUp: page(
    1307,
    'thread',
    'A supervised thread ended more often than its limit of restarts allows.',
    'The message has how it ended last. Mend the cause, or raise `restartsMax`.',
  ),

  ...PROGRAM_ERRORS,
  ...SERVICE_ERRORS,
  ...CLUSTER_ERRORS,
} as const satisfies Record<string, ErrorPage>;

export type ErrorName = keyof typeof ERRORS;

export type ErrorContext = Readonly<Record<string, string | number | boolean | undefined>>;

/** An operating error: something outside the program's control, or a wrong request. Nothing was changed by the call that throws it. */
export class TwzError extends Error {
  override readonly name: ErrorName;
  readonly code: number;
  readonly category: ErrorCategory;
  readonly context: ErrorContext;

  constructor(name: ErrorName, message: string, context: ErrorContext = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = name;
    this.code = ERRORS[name].code;
    this.category = ERRORS[name].category;
    this.context = context;
  }

  toJSON(): { error: ErrorName; code: number; category: ErrorCategory; message: string; context: ErrorContext } {
    return { error: this.name, code: this.code, category: this.category, message: this.message, context: this.context };
  }
}

/** True for a `TwzError` (of that name, where one is given). */
export function isTwzError(error: unknown, name?: ErrorName): error is TwzError {
  return error instanceof TwzError && (name === undefined || error.name === name);
}

/** A broken invariant of this code itself. Never caught: the space must not go on. */
export class KernelBug extends Error {
  override readonly name = 'KernelBug';
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new KernelBug(message);
}

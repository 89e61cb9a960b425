/** Syscalls, as they are. Made by `twz sdk --syscalls` from the table of syscalls. Do not change it: change the table. */

export const SYSCALL_ABI: i32 = 1;

/** Does nothing: what a syscall costs. */
@external("twizzler", "null")
export declare function null_(): i64;

/** Ends the program. */
@external("twizzler", "exit")
export declare function exit(code: i32): void;

/** The text of the last error that a syscall of this thread gave. */
@external("twizzler", "error")
export declare function error(into: usize, intoCapacity: u32): i64;

/** 0: version of this table. 1: bytes a page. 2: bytes the heap may have. 3: processors. 4: this thread. */
@external("twizzler", "info")
export declare function info(which: u32): i64;

/** Writes to output (1) or errors (2). Gives how many bytes were taken. */
@external("twizzler", "write")
export declare function write(stream: u32, data: usize, dataLength: u32): i64;

/** Reads from input (0). 0 at its end. */
@external("twizzler", "read")
export declare function read(stream: u32, into: usize, intoCapacity: u32): i64;

/** Nanoseconds: 0 since some moment, never back; 1 since 1970. */
@external("twizzler", "clock")
export declare function clock(which: u32): i64;

/** Fills the buffer with random bytes. */
@external("twizzler", "random")
export declare function random(into: usize, intoCapacity: u32): i64;

/** How many arguments the program was given. */
@external("twizzler", "arguments")
export declare function arguments(): i64;

/** One of them. */
@external("twizzler", "argument")
export declare function argument(index: u32, into: usize, intoCapacity: u32): i64;

/**
 * Makes an object, in a transaction. Kind as in its header: 1 owned, 3 volatile, 4 shared. Default rights: bits 1 read, 2 write, 4 execute.
 * Size: bytes to keep room for.
 */
@external("twizzler", "object_create")
export declare function object_create(kind: u32, rights: u32, size: u32, id: usize): i64;

/** Deletes an object, in a transaction. */
@external("twizzler", "object_delete")
export declare function object_delete(id: usize): i64;

/** Maps an object: the address of its first byte. What is asked for and not given is missed at the access: a store traps. */
@external("twizzler", "object_map")
export declare function object_map(id: usize, rights: u32): i64;

/** Lets go of a mapping. */
@external("twizzler", "object_unmap")
export declare function object_unmap(at: usize): i64;

/** Which object is mapped there; gives the offset in it. */
@external("twizzler", "object_at")
export declare function object_at(at: usize, id: usize): i64;

/** Size, kind, rights that this program has, offset of the root (u32 each), version (u64), entries of the FOT (u32): 28 bytes. */
@external("twizzler", "object_stat")
export declare function object_stat(id: usize, into: usize, intoCapacity: u32): i64;

/** The root of the mapped object; 0 where it has none. */
@external("twizzler", "object_root")
export declare function object_root(at: usize): i64;

/** Makes what lies there the root of its object, in a transaction. */
@external("twizzler", "object_set_root")
export declare function object_set_root(at: usize): i64;

/** A zeroed block in the object that is mapped there, in a transaction. The object may grow. */
@external("twizzler", "allocate")
export declare function allocate(at: usize, size: u32): i64;

/** Gives a block back, in a transaction. */
@external("twizzler", "release")
export declare function release(at: usize): i64;

/**
 * The invariant pointer that leads from the object at `from` to the place `to`, to be stored there; in a transaction where that is another
 * object.
 */
@external("twizzler", "refer")
export declare function refer(from: usize, to: usize): i64;

/** As `refer`, to an object that need not be mapped, nor readable for this program. */
@external("twizzler", "refer_id")
export declare function refer_id(from: usize, id: usize, offset: u32): i64;

/** Where an invariant pointer of the object at `from` leads. Maps what it leads to. */
@external("twizzler", "resolve")
export declare function resolve(from: usize, pointer: i64, rights: u32): i64;

/** A pointer to another object was overwritten, in a transaction. */
@external("twizzler", "unrefer")
export declare function unrefer(from: usize, pointer: i64): i64;

/**
 * Says of which type the root of the mapped object is, by a schema text: who opens it finds that type. In a transaction, after
 * `object_set_root`.
 */
@external("twizzler", "object_set_types")
export declare function object_set_types(at: usize, schema: usize, schemaLength: u32): i64;

/** The root of the mapped object, where the fingerprint of its type is this; else 0. */
@external("twizzler", "object_root_as")
export declare function object_root_as(at: usize, fingerprint: i64): i64;

/**
 * Calls a function of the program as a transaction; all its stores to objects happen, or none. It may be called again, from the start. What
 * it gives is the result; below 0, nothing is changed. Mode 0: relaxed, 1: durable.
 */
@external("twizzler", "transact")
export declare function transact(run: u32, argument: u32, mode: u32): i64;

/** The object of that name. */
@external("twizzler", "name_find")
export declare function name_find(path: usize, pathLength: u32, id: usize): i64;

/** Names an object, in a transaction. */
@external("twizzler", "name_set")
export declare function name_set(path: usize, pathLength: u32, id: usize): i64;

/** Removes a name, in a transaction. */
@external("twizzler", "name_remove")
export declare function name_remove(path: usize, pathLength: u32): i64;

/**
 * Calls a function of the program in a thread of its own. `stack`: the address behind the memory that it may use as its stack, 0 where it
 * needs none. Gives the number of the thread.
 */
@external("twizzler", "thread_spawn")
export declare function thread_spawn(run: u32, argument: u32, stack: u32): i64;

/**
 * Sleeps while all the words have their values, and wakes others. An operation has 24 bytes: address of the word (u32), 0 sleep or 1 wake
 * (u32), value or how many to wake (i64), result (i64). 32-bit words. Timeout in nanoseconds, below 0 for none. Gives how many were ready
 * or woke somebody.
 */
@external("twizzler", "thread_sync")
export declare function thread_sync(operations: usize, count: u32, timeout: i64): i64;

/** A gate of another compartment: a number to call it by. */
@external("twizzler", "gate_find")
export declare function gate_find(compartment: usize, compartmentLength: u32, gate: usize, gateLength: u32): i64;

/**
 * Calls it. Values have 8 bytes each: numbers; for text and bytes address (u32) and length (u32); for objects the address of the ID. The
 * result is stored likewise, 8 bytes.
 */
@external("twizzler", "gate_call")
export declare function gate_call(gate: u32, values: usize, count: u32, result: usize): i64;

/** The security context of who called the gate that runs; zeros for none. */
@external("twizzler", "gate_caller")
export declare function gate_caller(id: usize): i64;

/** What the gate that runs gives, where that is text or bytes. */
@external("twizzler", "gate_result")
export declare function gate_result(data: usize, dataLength: u32): i64;

/** Attaches a security context. */
@external("twizzler", "context_attach")
export declare function context_attach(id: usize): i64;

/** Makes an attached context the active one. */
@external("twizzler", "context_activate")
export declare function context_activate(id: usize): i64;

/** The active context; zeros for none. */
@external("twizzler", "context_active")
export declare function context_active(id: usize): i64;

/** Detaches a security context. */
@external("twizzler", "context_detach")
export declare function context_detach(id: usize): i64;

/** The collection that is the root there, or a field of it: a number to use it by. */
@external("twizzler", "collection_open")
export declare function collection_open(at: usize): i64;

/** Lets go of it. */
@external("twizzler", "collection_close")
export declare function collection_close(collection: u32): i64;

/** How many elements it has. */
@external("twizzler", "collection_size")
export declare function collection_size(collection: u32): i64;

/** The value of a key, 0 where there is none. A key of text is UTF-8, a number its bytes as a field has them. */
@external("twizzler", "collection_find")
export declare function collection_find(collection: u32, key: usize, keyLength: u32): i64;

/** As `collection_find`, and makes what is missing; in a transaction. */
@external("twizzler", "collection_insert")
export declare function collection_insert(collection: u32, key: usize, keyLength: u32): i64;

/** 1 where the key was there, in a transaction. */
@external("twizzler", "collection_remove")
export declare function collection_remove(collection: u32, key: usize, keyLength: u32): i64;

/** An element by its place. */
@external("twizzler", "collection_at")
export declare function collection_at(collection: u32, index: u32): i64;

/** A new element at the end, in a transaction. */
@external("twizzler", "collection_push")
export declare function collection_push(collection: u32): i64;

/** Goes through the elements in order, from a key on where it has an order; an empty one for all. */
@external("twizzler", "cursor_open")
export declare function cursor_open(collection: u32, from: usize, fromLength: u32): i64;

/** The next element: its key is stored; gives the length of that, or -1 at the end. `cursor_value` gives its value. */
@external("twizzler", "cursor_next")
export declare function cursor_next(cursor: u32, key: usize, keyCapacity: u32): i64;

/** The value of the element that `cursor_next` came to. */
@external("twizzler", "cursor_value")
export declare function cursor_value(cursor: u32): i64;

/** Lets go of it. */
@external("twizzler", "cursor_close")
export declare function cursor_close(cursor: u32): i64;

/** What a field of text or bytes has. */
@external("twizzler", "text_get")
export declare function text_get(field: usize, into: usize, intoCapacity: u32): i64;

/** Sets it, in a transaction. */
@external("twizzler", "text_set")
export declare function text_set(field: usize, value: usize, valueLength: u32): i64;

/** As `collection_open`, for one that lies anywhere, such as in a value of another: its type as the schema of its object names it. */
@external("twizzler", "collection_open_as")
export declare function collection_open_as(at: usize, type: usize, typeLength: u32): i64;

/** The value of a key, stored: of text and bytes what they are, of a number its bytes. -1 where there is no such key. */
@external("twizzler", "collection_get")
export declare function collection_get(collection: u32, key: usize, keyLength: u32, into: usize, intoCapacity: u32): i64;

/** Sets it likewise, in a transaction. */
@external("twizzler", "collection_put")
export declare function collection_put(collection: u32, key: usize, keyLength: u32, value: usize, valueLength: u32): i64;

/** As `collection_get`, of an element by its place. */
@external("twizzler", "element_get")
export declare function element_get(collection: u32, index: u32, into: usize, intoCapacity: u32): i64;

/** As `collection_put`; at the end where there are just as many elements as `index`. */
@external("twizzler", "element_put")
export declare function element_put(collection: u32, index: u32, value: usize, valueLength: u32): i64;

/** As `collection_get`, of the element that `cursor_next` came to. */
@external("twizzler", "cursor_get")
export declare function cursor_get(cursor: u32, into: usize, intoCapacity: u32): i64;

/** The key of that element again, for a larger buffer. */
@external("twizzler", "cursor_key")
export declare function cursor_key(cursor: u32, into: usize, intoCapacity: u32): i64;

/** Drops all elements from that place on, 0 for all, in a transaction. */
@external("twizzler", "collection_truncate")
export declare function collection_truncate(collection: u32, length: u32): i64;

/** Codes of errors; a syscall gives them as negative numbers. */
export namespace Errors {
  export const InvalidArgument: i32 = 101;
  export const OutOfRange: i32 = 102;
  export const NotSupported: i32 = 103;
  export const WordMisaligned: i32 = 104;
  export const ObjectMissing: i32 = 201;
  export const ObjectDeleted: i32 = 202;
  export const ObjectForbidden: i32 = 203;
  export const ObjectCorrupt: i32 = 204;
  export const ObjectForged: i32 = 205;
  export const ObjectImmutable: i32 = 206;
  export const ObjectTooLarge: i32 = 207;
  export const ObjectPinned: i32 = 208;
  export const ObjectVersion: i32 = 209;
  export const ObjectExists: i32 = 210;
  export const ObjectTied: i32 = 211;
  export const NotShared: i32 = 212;
  export const SharedFixed: i32 = 213;
  export const SharedReference: i32 = 214;
  export const AppendOnly: i32 = 215;
  export const PointerCorrupt: i32 = 301;
  export const FotCorrupt: i32 = 302;
  export const FotFull: i32 = 303;
  export const NameUnresolved: i32 = 304;
  export const ResolverMissing: i32 = 305;
  export const NotInThisObject: i32 = 306;
  export const StaleReference: i32 = 307;
  export const WrongSpace: i32 = 308;
  export const TypeMismatch: i32 = 401;
  export const TypeInvalid: i32 = 402;
  export const ValueMismatch: i32 = 403;
  export const TypeOutdated: i32 = 404;
  export const TypeNewer: i32 = 405;
  export const NotInTransaction: i32 = 501;
  export const TransactionAsync: i32 = 502;
  export const TransactionOvertaken: i32 = 509;
  export const TransactionTooLarge: i32 = 503;
  export const TransactionNested: i32 = 504;
  export const SnapshotReadOnly: i32 = 505;
  export const SnapshotClosed: i32 = 506;
  export const DiskFull: i32 = 601;
  export const TooManyFiles: i32 = 602;
  export const ReadOnly: i32 = 603;
  export const IoError: i32 = 604;
  export const LogCorrupt: i32 = 605;
  export const LogFailed: i32 = 606;
  export const OutOfMemory: i32 = 607;
  export const FileMissing: i32 = 608;
  export const NotEmpty: i32 = 621;
  export const BackupMissing: i32 = 622;
  export const BackupCorrupt: i32 = 623;
  export const NameMissing: i32 = 701;
  export const NameExists: i32 = 702;
  export const NameInvalid: i32 = 703;
  export const NotNamespace: i32 = 704;
  export const NamespaceNotEmpty: i32 = 705;
  export const LinkLoop: i32 = 706;
  export const SpaceMissing: i32 = 801;
  export const SpaceExists: i32 = 802;
  export const SpaceBusy: i32 = 803;
  export const SpaceCorrupt: i32 = 804;
  export const SpaceVersion: i32 = 805;
  export const LeaseTimeout: i32 = 807;
  export const SpaceClosed: i32 = 806;
  export const HostUnavailable: i32 = 901;
  export const ImportRefused: i32 = 902;
  export const DumpInvalid: i32 = 921;
  export const PackageMissing: i32 = 903;
  export const FileInvalid: i32 = 904;
  export const FileBusy: i32 = 905;
  export const LockTimeout: i32 = 1001;
  export const LockRecursion: i32 = 1002;
  export const LockNotHeld: i32 = 1003;
  export const LockLost: i32 = 1004;
  export const LockInvalid: i32 = 1005;
  export const BarrierBroken: i32 = 1006;
  export const QueueFull: i32 = 1101;
  export const QueueClosed: i32 = 1102;
  export const QueueTimedOut: i32 = 1103;
  export const PeerGone: i32 = 1104;
  export const QueueTaken: i32 = 1105;
  export const QueueInvalid: i32 = 1106;
  export const RequestCancelled: i32 = 1107;
  export const RequestFailed: i32 = 1108;
  export const DeviceMissing: i32 = 1201;
  export const DeviceInvalid: i32 = 1202;
  export const DeviceGone: i32 = 1203;
  export const DeviceBusy: i32 = 1204;
  export const DeviceFailed: i32 = 1205;
  export const DeviceTimedOut: i32 = 1206;
  export const ConnectionRefused: i32 = 1207;
  export const ConnectionReset: i32 = 1208;
  export const AddressTaken: i32 = 1209;
  export const AddressForbidden: i32 = 1210;
  export const AddressInvalid: i32 = 1211;
  export const ThreadFailed: i32 = 1301;
  export const ThreadKilled: i32 = 1302;
  export const ThreadTimeout: i32 = 1303;
  export const ThreadEnded: i32 = 1304;
  export const ThreadRuns: i32 = 1305;
  export const ThreadModule: i32 = 1306;
  export const SupervisorGaveUp: i32 = 1307;
  export const CapabilityMalformed: i32 = 1401;
  export const CapabilityForged: i32 = 1402;
  export const CapabilityAccessor: i32 = 1403;
  export const CapabilityTarget: i32 = 1404;
  export const CapabilityKey: i32 = 1405;
  export const CapabilityExpired: i32 = 1406;
  export const CapabilityRevoked: i32 = 1407;
  export const CapabilityWidened: i32 = 1408;
  export const DelegationForbidden: i32 = 1409;
  export const DelegationBroken: i32 = 1410;
  export const DelegationDepth: i32 = 1411;
  export const ContextInvalid: i32 = 1412;
  export const ContextUndetachable: i32 = 1413;
  export const ContextDetached: i32 = 1414;
  export const ContextFull: i32 = 1415;
  export const KeyInvalid: i32 = 1416;
  export const ProgramInvalid: i32 = 1501;
  export const ProgramFault: i32 = 1502;
  export const ProgramTimeout: i32 = 1503;
  export const ProgramLimit: i32 = 1504;
  export const GuestFault: i32 = 1505;
  export const GateMissing: i32 = 1506;
  export const GateRefused: i32 = 1507;
  export const CompartmentClosed: i32 = 1508;
  export const GateFailed: i32 = 1510;
  export const WaitTimeout: i32 = 1509;
  export const WasiMisused: i32 = 1531;
  export const FilesQuota: i32 = 1532;
  export const FileKind: i32 = 1533;
  export const SqliteFailed: i32 = 1541;
  export const SqliteConstraint: i32 = 1542;
  export const SqliteOvertaken: i32 = 1543;
  export const SqliteClosed: i32 = 1544;
  export const NotDatabase: i32 = 1545;
  export const SqliteCorrupt: i32 = 1546;
  export const SqliteMemory: i32 = 1547;
  export const CompilerMissing: i32 = 1581;
  export const BuildFailed: i32 = 1582;
  export const ManifestInvalid: i32 = 1583;
  export const ServeUnreachable: i32 = 1551;
  export const ServeGone: i32 = 1552;
  export const ServeProtocol: i32 = 1553;
  export const ServeLimit: i32 = 1554;
  export const ServeUnproved: i32 = 1555;
  export const ServeTaken: i32 = 1556;
  export const ServeExposed: i32 = 1557;
  export const ModuleForged: i32 = 1571;
  export const ModuleUntrusted: i32 = 1572;
  export const ModuleVersion: i32 = 1573;
  export const ModuleInvalid: i32 = 1574;
  export const ModuleImport: i32 = 1575;
  export const ModuleFailed: i32 = 1576;
  export const ModuleTimeout: i32 = 1577;
  export const ModuleMemory: i32 = 1578;
  export const ModuleValue: i32 = 1579;
  export const Unreachable: i32 = 1601;
  export const TimedOut: i32 = 1602;
  export const Stale: i32 = 1603;
  export const Denied: i32 = 1604;
  export const Fenced: i32 = 1605;
  export const EngineTooOld: i32 = 1606;
  export const EngineLost: i32 = 1607;
  export const EngineRefused: i32 = 1608;
  export const EngineCorrupt: i32 = 1609;
  export const NotJoined: i32 = 1610;
  export const NodeUnknown: i32 = 1611;
  export const RunFailed: i32 = 1612;
  export const CodeInvalid: i32 = 1613;
  export const MessageTooLarge: i32 = 1630;
  export const PagedOutside: i32 = 1650;
  export const PagedReadOnly: i32 = 1651;
  export const PagedClosed: i32 = 1652;
  export const PagesInvalid: i32 = 1653;
  export const PlanImpossible: i32 = 1660;
  export const RunLost: i32 = 1700;
  export const RunStopped: i32 = 1701;
  export const RunLimit: i32 = 1702;
  export const RunDepth: i32 = 1703;
  export const RunsFull: i32 = 1704;
  export const RunChanged: i32 = 1705;
  export const AlreadyJoined: i32 = 1690;
  export const ReferencesUnknown: i32 = 1691;
  export const MergeFailed: i32 = 1695;
}

//! Syscalls, as they are. Made by `twz sdk --syscalls` from the table of syscalls. Do not change it: change the table.

/// An object ID, as files have it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Id {
    pub bytes: [u8; 16],
}

pub const SYSCALL_ABI: u32 = 1;

#[link(wasm_import_module = "twizzler")]
extern "C" {
    /// Does nothing: what a syscall costs.
    pub fn null() -> i64;

    /// Ends the program.
    pub fn exit(code: i32) -> !;

    /// The text of the last error that a syscall of this thread gave.
    pub fn error(into: *mut u8, into_capacity: u32) -> i64;

    /// 0: version of this table. 1: bytes a page. 2: bytes the heap may have. 3: processors. 4: this thread.
    pub fn info(which: u32) -> i64;

    /// Writes to output (1) or errors (2). Gives how many bytes were taken.
    pub fn write(stream: u32, data: *const u8, data_length: u32) -> i64;

    /// Reads from input (0). 0 at its end.
    pub fn read(stream: u32, into: *mut u8, into_capacity: u32) -> i64;

    /// Nanoseconds: 0 since some moment, never back; 1 since 1970.
    pub fn clock(which: u32) -> i64;

    /// Fills the buffer with random bytes.
    pub fn random(into: *mut u8, into_capacity: u32) -> i64;

    /// How many arguments the program was given.
    pub fn arguments() -> i64;

    /// One of them.
    pub fn argument(index: u32, into: *mut u8, into_capacity: u32) -> i64;

    /// Makes an object, in a transaction. Kind as in its header: 1 owned, 3 volatile, 4 shared. Default rights: bits 1 read, 2 write, 4
    /// execute. Size: bytes to keep room for.
    pub fn object_create(kind: u32, rights: u32, size: u32, id: *mut Id) -> i64;

    /// Deletes an object, in a transaction.
    pub fn object_delete(id: *const Id) -> i64;

    /// Maps an object: the address of its first byte. What is asked for and not given is missed at the access: a store traps.
    pub fn object_map(id: *const Id, rights: u32) -> i64;

    /// Lets go of a mapping.
    pub fn object_unmap(at: *const u8) -> i64;

    /// Which object is mapped there; gives the offset in it.
    pub fn object_at(at: *const u8, id: *mut Id) -> i64;

    /// Size, kind, rights that this program has, offset of the root (u32 each), version (u64), entries of the FOT (u32): 28 bytes.
    pub fn object_stat(id: *const Id, into: *mut u8, into_capacity: u32) -> i64;

    /// The root of the mapped object; 0 where it has none.
    pub fn object_root(at: *const u8) -> i64;

    /// Makes what lies there the root of its object, in a transaction.
    pub fn object_set_root(at: *const u8) -> i64;

    /// A zeroed block in the object that is mapped there, in a transaction. The object may grow.
    pub fn allocate(at: *const u8, size: u32) -> i64;

    /// Gives a block back, in a transaction.
    pub fn release(at: *const u8) -> i64;

    /// The invariant pointer that leads from the object at `from` to the place `to`, to be stored there; in a transaction where that is
    /// another object.
    pub fn refer(from: *const u8, to: *const u8) -> i64;

    /// As `refer`, to an object that need not be mapped, nor readable for this program.
    pub fn refer_id(from: *const u8, id: *const Id, offset: u32) -> i64;

    /// Where an invariant pointer of the object at `from` leads. Maps what it leads to.
    pub fn resolve(from: *const u8, pointer: i64, rights: u32) -> i64;

    /// A pointer to another object was overwritten, in a transaction.
    pub fn unrefer(from: *const u8, pointer: i64) -> i64;

    /// Says of which type the root of the mapped object is, by a schema text: who opens it finds that type. In a transaction, after
    /// `object_set_root`.
    pub fn object_set_types(at: *const u8, schema: *const u8, schema_length: u32) -> i64;

    /// The root of the mapped object, where the fingerprint of its type is this; else 0.
    pub fn object_root_as(at: *const u8, fingerprint: i64) -> i64;

    /// Calls a function of the program as a transaction; all its stores to objects happen, or none. It may be called again, from the start.
    /// What it gives is the result; below 0, nothing is changed. Mode 0: relaxed, 1: durable.
    pub fn transact(run: extern "C" fn(u32) -> i32, argument: u32, mode: u32) -> i64;

    /// The object of that name.
    pub fn name_find(path: *const u8, path_length: u32, id: *mut Id) -> i64;

    /// Names an object, in a transaction.
    pub fn name_set(path: *const u8, path_length: u32, id: *const Id) -> i64;

    /// Removes a name, in a transaction.
    pub fn name_remove(path: *const u8, path_length: u32) -> i64;

    /// Calls a function of the program in a thread of its own. `stack`: the address behind the memory that it may use as its stack, 0 where
    /// it needs none. Gives the number of the thread.
    pub fn thread_spawn(run: extern "C" fn(u32) -> i32, argument: u32, stack: u32) -> i64;

    /// Sleeps while all the words have their values, and wakes others. An operation has 24 bytes: address of the word (u32), 0 sleep or 1
    /// wake (u32), value or how many to wake (i64), result (i64). 32-bit words. Timeout in nanoseconds, below 0 for none. Gives how many
    /// were ready or woke somebody.
    pub fn thread_sync(operations: *const u8, count: u32, timeout: i64) -> i64;

    /// A gate of another compartment: a number to call it by.
    pub fn gate_find(compartment: *const u8, compartment_length: u32, gate: *const u8, gate_length: u32) -> i64;

    /// Calls it. Values have 8 bytes each: numbers; for text and bytes address (u32) and length (u32); for objects the address of the ID.
    /// The result is stored likewise, 8 bytes.
    pub fn gate_call(gate: u32, values: *const u8, count: u32, result: *const u8) -> i64;

    /// The security context of who called the gate that runs; zeros for none.
    pub fn gate_caller(id: *mut Id) -> i64;

    /// What the gate that runs gives, where that is text or bytes.
    pub fn gate_result(data: *const u8, data_length: u32) -> i64;

    /// Attaches a security context.
    pub fn context_attach(id: *const Id) -> i64;

    /// Makes an attached context the active one.
    pub fn context_activate(id: *const Id) -> i64;

    /// The active context; zeros for none.
    pub fn context_active(id: *mut Id) -> i64;

    /// Detaches a security context.
    pub fn context_detach(id: *const Id) -> i64;

    /// The collection that is the root there, or a field of it: a number to use it by.
    pub fn collection_open(at: *const u8) -> i64;

    /// Lets go of it.
    pub fn collection_close(collection: u32) -> i64;

    /// How many elements it has.
    pub fn collection_size(collection: u32) -> i64;

    /// The value of a key, 0 where there is none. A key of text is UTF-8, a number its bytes as a field has them.
    pub fn collection_find(collection: u32, key: *const u8, key_length: u32) -> i64;

    /// As `collection_find`, and makes what is missing; in a transaction.
    pub fn collection_insert(collection: u32, key: *const u8, key_length: u32) -> i64;

    /// 1 where the key was there, in a transaction.
    pub fn collection_remove(collection: u32, key: *const u8, key_length: u32) -> i64;

    /// An element by its place.
    pub fn collection_at(collection: u32, index: u32) -> i64;

    /// A new element at the end, in a transaction.
    pub fn collection_push(collection: u32) -> i64;

    /// Goes through the elements in order, from a key on where it has an order; an empty one for all.
    pub fn cursor_open(collection: u32, from: *const u8, from_length: u32) -> i64;

    /// The next element: its key is stored; gives the length of that, or -1 at the end. `cursor_value` gives its value.
    pub fn cursor_next(cursor: u32, key: *mut u8, key_capacity: u32) -> i64;

    /// The value of the element that `cursor_next` came to.
    pub fn cursor_value(cursor: u32) -> i64;

    /// Lets go of it.
    pub fn cursor_close(cursor: u32) -> i64;

    /// What a field of text or bytes has.
    pub fn text_get(field: *const u8, into: *mut u8, into_capacity: u32) -> i64;

    /// Sets it, in a transaction.
    pub fn text_set(field: *const u8, value: *const u8, value_length: u32) -> i64;

    /// As `collection_open`, for one that lies anywhere, such as in a value of another: its type as the schema of its object names it.
    pub fn collection_open_as(at: *const u8, type_: *const u8, type__length: u32) -> i64;

    /// The value of a key, stored: of text and bytes what they are, of a number its bytes. -1 where there is no such key.
    pub fn collection_get(collection: u32, key: *const u8, key_length: u32, into: *mut u8, into_capacity: u32) -> i64;

    /// Sets it likewise, in a transaction.
    pub fn collection_put(collection: u32, key: *const u8, key_length: u32, value: *const u8, value_length: u32) -> i64;

    /// As `collection_get`, of an element by its place.
    pub fn element_get(collection: u32, index: u32, into: *mut u8, into_capacity: u32) -> i64;

    /// As `collection_put`; at the end where there are just as many elements as `index`.
    pub fn element_put(collection: u32, index: u32, value: *const u8, value_length: u32) -> i64;

    /// As `collection_get`, of the element that `cursor_next` came to.
    pub fn cursor_get(cursor: u32, into: *mut u8, into_capacity: u32) -> i64;

    /// The key of that element again, for a larger buffer.
    pub fn cursor_key(cursor: u32, into: *mut u8, into_capacity: u32) -> i64;

    /// Drops all elements from that place on, 0 for all, in a transaction.
    pub fn collection_truncate(collection: u32, length: u32) -> i64;
}

/// Codes of errors; a syscall gives them as negative numbers.
pub mod errors {
    pub const INVALID_ARGUMENT: i64 = 101;
    pub const OUT_OF_RANGE: i64 = 102;
    pub const NOT_SUPPORTED: i64 = 103;
    pub const WORD_MISALIGNED: i64 = 104;
    pub const OBJECT_MISSING: i64 = 201;
    pub const OBJECT_DELETED: i64 = 202;
    pub const OBJECT_FORBIDDEN: i64 = 203;
    pub const OBJECT_CORRUPT: i64 = 204;
    pub const OBJECT_FORGED: i64 = 205;
    pub const OBJECT_IMMUTABLE: i64 = 206;
    pub const OBJECT_TOO_LARGE: i64 = 207;
    pub const OBJECT_PINNED: i64 = 208;
    pub const OBJECT_VERSION: i64 = 209;
    pub const OBJECT_EXISTS: i64 = 210;
    pub const OBJECT_TIED: i64 = 211;
    pub const NOT_SHARED: i64 = 212;
    pub const SHARED_FIXED: i64 = 213;
    pub const SHARED_REFERENCE: i64 = 214;
    pub const APPEND_ONLY: i64 = 215;
    pub const POINTER_CORRUPT: i64 = 301;
    pub const FOT_CORRUPT: i64 = 302;
    pub const FOT_FULL: i64 = 303;
    pub const NAME_UNRESOLVED: i64 = 304;
    pub const RESOLVER_MISSING: i64 = 305;
    pub const NOT_IN_THIS_OBJECT: i64 = 306;
    pub const STALE_REFERENCE: i64 = 307;
    pub const WRONG_SPACE: i64 = 308;
    pub const TYPE_MISMATCH: i64 = 401;
    pub const TYPE_INVALID: i64 = 402;
    pub const VALUE_MISMATCH: i64 = 403;
    pub const TYPE_OUTDATED: i64 = 404;
    pub const TYPE_NEWER: i64 = 405;
    pub const NOT_IN_TRANSACTION: i64 = 501;
    pub const TRANSACTION_ASYNC: i64 = 502;
    pub const TRANSACTION_OVERTAKEN: i64 = 509;
    pub const TRANSACTION_TOO_LARGE: i64 = 503;
    pub const TRANSACTION_NESTED: i64 = 504;
    pub const SNAPSHOT_READ_ONLY: i64 = 505;
    pub const SNAPSHOT_CLOSED: i64 = 506;
    pub const DISK_FULL: i64 = 601;
    pub const TOO_MANY_FILES: i64 = 602;
    pub const READ_ONLY: i64 = 603;
    pub const IO_ERROR: i64 = 604;
    pub const LOG_CORRUPT: i64 = 605;
    pub const LOG_FAILED: i64 = 606;
    pub const OUT_OF_MEMORY: i64 = 607;
    pub const FILE_MISSING: i64 = 608;
    pub const NOT_EMPTY: i64 = 621;
    pub const BACKUP_MISSING: i64 = 622;
    pub const BACKUP_CORRUPT: i64 = 623;
    pub const NAME_MISSING: i64 = 701;
    pub const NAME_EXISTS: i64 = 702;
    pub const NAME_INVALID: i64 = 703;
    pub const NOT_NAMESPACE: i64 = 704;
    pub const NAMESPACE_NOT_EMPTY: i64 = 705;
    pub const LINK_LOOP: i64 = 706;
    pub const SPACE_MISSING: i64 = 801;
    pub const SPACE_EXISTS: i64 = 802;
    pub const SPACE_BUSY: i64 = 803;
    pub const SPACE_CORRUPT: i64 = 804;
    pub const SPACE_VERSION: i64 = 805;
    pub const LEASE_TIMEOUT: i64 = 807;
    pub const SPACE_CLOSED: i64 = 806;
    pub const HOST_UNAVAILABLE: i64 = 901;
    pub const IMPORT_REFUSED: i64 = 902;
    pub const DUMP_INVALID: i64 = 921;
    pub const PACKAGE_MISSING: i64 = 903;
    pub const FILE_INVALID: i64 = 904;
    pub const FILE_BUSY: i64 = 905;
    pub const LOCK_TIMEOUT: i64 = 1001;
    pub const LOCK_RECURSION: i64 = 1002;
    pub const LOCK_NOT_HELD: i64 = 1003;
    pub const LOCK_LOST: i64 = 1004;
    pub const LOCK_INVALID: i64 = 1005;
    pub const BARRIER_BROKEN: i64 = 1006;
    pub const QUEUE_FULL: i64 = 1101;
    pub const QUEUE_CLOSED: i64 = 1102;
    pub const QUEUE_TIMED_OUT: i64 = 1103;
    pub const PEER_GONE: i64 = 1104;
    pub const QUEUE_TAKEN: i64 = 1105;
    pub const QUEUE_INVALID: i64 = 1106;
    pub const REQUEST_CANCELLED: i64 = 1107;
    pub const REQUEST_FAILED: i64 = 1108;
    pub const DEVICE_MISSING: i64 = 1201;
    pub const DEVICE_INVALID: i64 = 1202;
    pub const DEVICE_GONE: i64 = 1203;
    pub const DEVICE_BUSY: i64 = 1204;
    pub const DEVICE_FAILED: i64 = 1205;
    pub const DEVICE_TIMED_OUT: i64 = 1206;
    pub const CONNECTION_REFUSED: i64 = 1207;
    pub const CONNECTION_RESET: i64 = 1208;
    pub const ADDRESS_TAKEN: i64 = 1209;
    pub const ADDRESS_FORBIDDEN: i64 = 1210;
    pub const ADDRESS_INVALID: i64 = 1211;
    pub const THREAD_FAILED: i64 = 1301;
    pub const THREAD_KILLED: i64 = 1302;
    pub const THREAD_TIMEOUT: i64 = 1303;
    pub const THREAD_ENDED: i64 = 1304;
    pub const THREAD_RUNS: i64 = 1305;
    pub const THREAD_MODULE: i64 = 1306;
    pub const SUPERVISOR_GAVE_UP: i64 = 1307;
    pub const CAPABILITY_MALFORMED: i64 = 1401;
    pub const CAPABILITY_FORGED: i64 = 1402;
    pub const CAPABILITY_ACCESSOR: i64 = 1403;
    pub const CAPABILITY_TARGET: i64 = 1404;
    pub const CAPABILITY_KEY: i64 = 1405;
    pub const CAPABILITY_EXPIRED: i64 = 1406;
    pub const CAPABILITY_REVOKED: i64 = 1407;
    pub const CAPABILITY_WIDENED: i64 = 1408;
    pub const DELEGATION_FORBIDDEN: i64 = 1409;
    pub const DELEGATION_BROKEN: i64 = 1410;
    pub const DELEGATION_DEPTH: i64 = 1411;
    pub const CONTEXT_INVALID: i64 = 1412;
    pub const CONTEXT_UNDETACHABLE: i64 = 1413;
    pub const CONTEXT_DETACHED: i64 = 1414;
    pub const CONTEXT_FULL: i64 = 1415;
    pub const KEY_INVALID: i64 = 1416;
    pub const PROGRAM_INVALID: i64 = 1501;
    pub const PROGRAM_FAULT: i64 = 1502;
    pub const PROGRAM_TIMEOUT: i64 = 1503;
    pub const PROGRAM_LIMIT: i64 = 1504;
    pub const GUEST_FAULT: i64 = 1505;
    pub const GATE_MISSING: i64 = 1506;
    pub const GATE_REFUSED: i64 = 1507;
    pub const COMPARTMENT_CLOSED: i64 = 1508;
    pub const GATE_FAILED: i64 = 1510;
    pub const WAIT_TIMEOUT: i64 = 1509;
    pub const WASI_MISUSED: i64 = 1531;
    pub const FILES_QUOTA: i64 = 1532;
    pub const FILE_KIND: i64 = 1533;
    pub const SQLITE_FAILED: i64 = 1541;
    pub const SQLITE_CONSTRAINT: i64 = 1542;
    pub const SQLITE_OVERTAKEN: i64 = 1543;
    pub const SQLITE_CLOSED: i64 = 1544;
    pub const NOT_DATABASE: i64 = 1545;
    pub const SQLITE_CORRUPT: i64 = 1546;
    pub const SQLITE_MEMORY: i64 = 1547;
    pub const COMPILER_MISSING: i64 = 1581;
    pub const BUILD_FAILED: i64 = 1582;
    pub const MANIFEST_INVALID: i64 = 1583;
    pub const SERVE_UNREACHABLE: i64 = 1551;
    pub const SERVE_GONE: i64 = 1552;
    pub const SERVE_PROTOCOL: i64 = 1553;
    pub const SERVE_LIMIT: i64 = 1554;
    pub const SERVE_UNPROVED: i64 = 1555;
    pub const SERVE_TAKEN: i64 = 1556;
    pub const SERVE_EXPOSED: i64 = 1557;
    pub const MODULE_FORGED: i64 = 1571;
    pub const MODULE_UNTRUSTED: i64 = 1572;
    pub const MODULE_VERSION: i64 = 1573;
    pub const MODULE_INVALID: i64 = 1574;
    pub const MODULE_IMPORT: i64 = 1575;
    pub const MODULE_FAILED: i64 = 1576;
    pub const MODULE_TIMEOUT: i64 = 1577;
    pub const MODULE_MEMORY: i64 = 1578;
    pub const MODULE_VALUE: i64 = 1579;
    pub const UNREACHABLE: i64 = 1601;
    pub const TIMED_OUT: i64 = 1602;
    pub const STALE: i64 = 1603;
    pub const DENIED: i64 = 1604;
    pub const FENCED: i64 = 1605;
    pub const ENGINE_TOO_OLD: i64 = 1606;
    pub const ENGINE_LOST: i64 = 1607;
    pub const ENGINE_REFUSED: i64 = 1608;
    pub const ENGINE_CORRUPT: i64 = 1609;
    pub const NOT_JOINED: i64 = 1610;
    pub const NODE_UNKNOWN: i64 = 1611;
    pub const RUN_FAILED: i64 = 1612;
    pub const CODE_INVALID: i64 = 1613;
    pub const MESSAGE_TOO_LARGE: i64 = 1630;
    pub const PAGED_OUTSIDE: i64 = 1650;
    pub const PAGED_READ_ONLY: i64 = 1651;
    pub const PAGED_CLOSED: i64 = 1652;
    pub const PAGES_INVALID: i64 = 1653;
    pub const PLAN_IMPOSSIBLE: i64 = 1660;
    pub const RUN_LOST: i64 = 1700;
    pub const RUN_STOPPED: i64 = 1701;
    pub const RUN_LIMIT: i64 = 1702;
    pub const RUN_DEPTH: i64 = 1703;
    pub const RUNS_FULL: i64 = 1704;
    pub const RUN_CHANGED: i64 = 1705;
    pub const ALREADY_JOINED: i64 = 1690;
    pub const REFERENCES_UNKNOWN: i64 = 1691;
    pub const MERGE_FAILED: i64 = 1695;
}

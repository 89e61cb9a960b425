/* Syscalls, as they are. Made by `twz sdk --syscalls` from the table of syscalls. Do not change it: change the table. */
#ifndef TWIZZLER_SYSCALLS_H
#define TWIZZLER_SYSCALLS_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An object ID, as files have it. */
typedef struct twz_id { uint8_t bytes[16]; } twz_id;
typedef int32_t (*twz_function)(uint32_t);

#define TWZ_SYSCALL_ABI 1
#define TWZ_IMPORT(name) __attribute__((import_module("twizzler"), import_name(name)))

/* Does nothing: what a syscall costs. */
TWZ_IMPORT("null")
int64_t twz_null(void);

/* Ends the program. */
TWZ_IMPORT("exit") _Noreturn
void twz_exit(int32_t code);

/* The text of the last error that a syscall of this thread gave. */
TWZ_IMPORT("error")
int64_t twz_error(void *into, uint32_t into_capacity);

/* 0: version of this table. 1: bytes a page. 2: bytes the heap may have. 3: processors. 4: this thread. */
TWZ_IMPORT("info")
int64_t twz_info(uint32_t which);

/* Writes to output (1) or errors (2). Gives how many bytes were taken. */
TWZ_IMPORT("write")
int64_t twz_write(uint32_t stream, const void *data, uint32_t data_length);

/* Reads from input (0). 0 at its end. */
TWZ_IMPORT("read")
int64_t twz_read(uint32_t stream, void *into, uint32_t into_capacity);

/* Nanoseconds: 0 since some moment, never back; 1 since 1970. */
TWZ_IMPORT("clock")
int64_t twz_clock(uint32_t which);

/* Fills the buffer with random bytes. */
TWZ_IMPORT("random")
int64_t twz_random(void *into, uint32_t into_capacity);

/* How many arguments the program was given. */
TWZ_IMPORT("arguments")
int64_t twz_arguments(void);

/* One of them. */
TWZ_IMPORT("argument")
int64_t twz_argument(uint32_t index, void *into, uint32_t into_capacity);

/*
 * Makes an object, in a transaction. Kind as in its header: 1 owned, 3 volatile, 4 shared. Default rights: bits 1 read, 2 write, 4 execute.
 * Size: bytes to keep room for.
 */
TWZ_IMPORT("object_create")
int64_t twz_object_create(uint32_t kind, uint32_t rights, uint32_t size, twz_id *id);

/* Deletes an object, in a transaction. */
TWZ_IMPORT("object_delete")
int64_t twz_object_delete(const twz_id *id);

/* Maps an object: the address of its first byte. What is asked for and not given is missed at the access: a store traps. */
TWZ_IMPORT("object_map")
int64_t twz_object_map(const twz_id *id, uint32_t rights);

/* Lets go of a mapping. */
TWZ_IMPORT("object_unmap")
int64_t twz_object_unmap(const void *at);

/* Which object is mapped there; gives the offset in it. */
TWZ_IMPORT("object_at")
int64_t twz_object_at(const void *at, twz_id *id);

/* Size, kind, rights that this program has, offset of the root (u32 each), version (u64), entries of the FOT (u32): 28 bytes. */
TWZ_IMPORT("object_stat")
int64_t twz_object_stat(const twz_id *id, void *into, uint32_t into_capacity);

/* The root of the mapped object; 0 where it has none. */
TWZ_IMPORT("object_root")
int64_t twz_object_root(const void *at);

/* Makes what lies there the root of its object, in a transaction. */
TWZ_IMPORT("object_set_root")
int64_t twz_object_set_root(const void *at);

/* A zeroed block in the object that is mapped there, in a transaction. The object may grow. */
TWZ_IMPORT("allocate")
int64_t twz_allocate(const void *at, uint32_t size);

/* Gives a block back, in a transaction. */
TWZ_IMPORT("release")
int64_t twz_release(const void *at);

/*
 * The invariant pointer that leads from the object at `from` to the place `to`, to be stored there; in a transaction where that is another
 * object.
 */
TWZ_IMPORT("refer")
int64_t twz_refer(const void *from, const void *to);

/* As `refer`, to an object that need not be mapped, nor readable for this program. */
TWZ_IMPORT("refer_id")
int64_t twz_refer_id(const void *from, const twz_id *id, uint32_t offset);

/* Where an invariant pointer of the object at `from` leads. Maps what it leads to. */
TWZ_IMPORT("resolve")
int64_t twz_resolve(const void *from, int64_t pointer, uint32_t rights);

/* A pointer to another object was overwritten, in a transaction. */
TWZ_IMPORT("unrefer")
int64_t twz_unrefer(const void *from, int64_t pointer);

/*
 * Says of which type the root of the mapped object is, by a schema text: who opens it finds that type. In a transaction, after
 * `object_set_root`.
 */
TWZ_IMPORT("object_set_types")
int64_t twz_object_set_types(const void *at, const char *schema, uint32_t schema_length);

/* The root of the mapped object, where the fingerprint of its type is this; else 0. */
TWZ_IMPORT("object_root_as")
int64_t twz_object_root_as(const void *at, int64_t fingerprint);

/*
 * Calls a function of the program as a transaction; all its stores to objects happen, or none. It may be called again, from the start. What
 * it gives is the result; below 0, nothing is changed. Mode 0: relaxed, 1: durable.
 */
TWZ_IMPORT("transact")
int64_t twz_transact(twz_function run, uint32_t argument, uint32_t mode);

/* The object of that name. */
TWZ_IMPORT("name_find")
int64_t twz_name_find(const char *path, uint32_t path_length, twz_id *id);

/* Names an object, in a transaction. */
TWZ_IMPORT("name_set")
int64_t twz_name_set(const char *path, uint32_t path_length, const twz_id *id);

/* Removes a name, in a transaction. */
TWZ_IMPORT("name_remove")
int64_t twz_name_remove(const char *path, uint32_t path_length);

/*
 * Calls a function of the program in a thread of its own. `stack`: the address behind the memory that it may use as its stack, 0 where it
 * needs none. Gives the number of the thread.
 */
TWZ_IMPORT("thread_spawn")
int64_t twz_thread_spawn(twz_function run, uint32_t argument, uint32_t stack);

/*
 * Sleeps while all the words have their values, and wakes others. An operation has 24 bytes: address of the word (u32), 0 sleep or 1 wake
 * (u32), value or how many to wake (i64), result (i64). 32-bit words. Timeout in nanoseconds, below 0 for none. Gives how many were ready
 * or woke somebody.
 */
TWZ_IMPORT("thread_sync")
int64_t twz_thread_sync(const void *operations, uint32_t count, int64_t timeout);

/* A gate of another compartment: a number to call it by. */
TWZ_IMPORT("gate_find")
int64_t twz_gate_find(const char *compartment, uint32_t compartment_length, const char *gate, uint32_t gate_length);

/*
 * Calls it. Values have 8 bytes each: numbers; for text and bytes address (u32) and length (u32); for objects the address of the ID. The
 * result is stored likewise, 8 bytes.
 */
TWZ_IMPORT("gate_call")
int64_t twz_gate_call(uint32_t gate, const void *values, uint32_t count, const void *result);

/* The security context of who called the gate that runs; zeros for none. */
TWZ_IMPORT("gate_caller")
int64_t twz_gate_caller(twz_id *id);

/* What the gate that runs gives, where that is text or bytes. */
TWZ_IMPORT("gate_result")
int64_t twz_gate_result(const void *data, uint32_t data_length);

/* Attaches a security context. */
TWZ_IMPORT("context_attach")
int64_t twz_context_attach(const twz_id *id);

/* Makes an attached context the active one. */
TWZ_IMPORT("context_activate")
int64_t twz_context_activate(const twz_id *id);

/* The active context; zeros for none. */
TWZ_IMPORT("context_active")
int64_t twz_context_active(twz_id *id);

/* Detaches a security context. */
TWZ_IMPORT("context_detach")
int64_t twz_context_detach(const twz_id *id);

/* The collection that is the root there, or a field of it: a number to use it by. */
TWZ_IMPORT("collection_open")
int64_t twz_collection_open(const void *at);

/* Lets go of it. */
TWZ_IMPORT("collection_close")
int64_t twz_collection_close(uint32_t collection);

/* How many elements it has. */
TWZ_IMPORT("collection_size")
int64_t twz_collection_size(uint32_t collection);

/* The value of a key, 0 where there is none. A key of text is UTF-8, a number its bytes as a field has them. */
TWZ_IMPORT("collection_find")
int64_t twz_collection_find(uint32_t collection, const void *key, uint32_t key_length);

/* As `collection_find`, and makes what is missing; in a transaction. */
TWZ_IMPORT("collection_insert")
int64_t twz_collection_insert(uint32_t collection, const void *key, uint32_t key_length);

/* 1 where the key was there, in a transaction. */
TWZ_IMPORT("collection_remove")
int64_t twz_collection_remove(uint32_t collection, const void *key, uint32_t key_length);

/* An element by its place. */
TWZ_IMPORT("collection_at")
int64_t twz_collection_at(uint32_t collection, uint32_t index);

/* A new element at the end, in a transaction. */
TWZ_IMPORT("collection_push")
int64_t twz_collection_push(uint32_t collection);

/* Goes through the elements in order, from a key on where it has an order; an empty one for all. */
TWZ_IMPORT("cursor_open")
int64_t twz_cursor_open(uint32_t collection, const void *from, uint32_t from_length);

/* The next element: its key is stored; gives the length of that, or -1 at the end. `cursor_value` gives its value. */
TWZ_IMPORT("cursor_next")
int64_t twz_cursor_next(uint32_t cursor, void *key, uint32_t key_capacity);

/* The value of the element that `cursor_next` came to. */
TWZ_IMPORT("cursor_value")
int64_t twz_cursor_value(uint32_t cursor);

/* Lets go of it. */
TWZ_IMPORT("cursor_close")
int64_t twz_cursor_close(uint32_t cursor);

/* What a field of text or bytes has. */
TWZ_IMPORT("text_get")
int64_t twz_text_get(const void *field, void *into, uint32_t into_capacity);

/* Sets it, in a transaction. */
TWZ_IMPORT("text_set")
int64_t twz_text_set(const void *field, const void *value, uint32_t value_length);

/* As `collection_open`, for one that lies anywhere, such as in a value of another: its type as the schema of its object names it. */
TWZ_IMPORT("collection_open_as")
int64_t twz_collection_open_as(const void *at, const char *type, uint32_t type_length);

/* The value of a key, stored: of text and bytes what they are, of a number its bytes. -1 where there is no such key. */
TWZ_IMPORT("collection_get")
int64_t twz_collection_get(uint32_t collection, const void *key, uint32_t key_length, void *into, uint32_t into_capacity);

/* Sets it likewise, in a transaction. */
TWZ_IMPORT("collection_put")
int64_t twz_collection_put(uint32_t collection, const void *key, uint32_t key_length, const void *value, uint32_t value_length);

/* As `collection_get`, of an element by its place. */
TWZ_IMPORT("element_get")
int64_t twz_element_get(uint32_t collection, uint32_t index, void *into, uint32_t into_capacity);

/* As `collection_put`; at the end where there are just as many elements as `index`. */
TWZ_IMPORT("element_put")
int64_t twz_element_put(uint32_t collection, uint32_t index, const void *value, uint32_t value_length);

/* As `collection_get`, of the element that `cursor_next` came to. */
TWZ_IMPORT("cursor_get")
int64_t twz_cursor_get(uint32_t cursor, void *into, uint32_t into_capacity);

/* The key of that element again, for a larger buffer. */
TWZ_IMPORT("cursor_key")
int64_t twz_cursor_key(uint32_t cursor, void *into, uint32_t into_capacity);

/* Drops all elements from that place on, 0 for all, in a transaction. */
TWZ_IMPORT("collection_truncate")
int64_t twz_collection_truncate(uint32_t collection, uint32_t length);

/* Codes of errors; a syscall gives them as negative numbers. */
#define TWZ_ERROR_INVALID_ARGUMENT 101
#define TWZ_ERROR_OUT_OF_RANGE 102
#define TWZ_ERROR_NOT_SUPPORTED 103
#define TWZ_ERROR_WORD_MISALIGNED 104
#define TWZ_ERROR_OBJECT_MISSING 201
#define TWZ_ERROR_OBJECT_DELETED 202
#define TWZ_ERROR_OBJECT_FORBIDDEN 203
#define TWZ_ERROR_OBJECT_CORRUPT 204
#define TWZ_ERROR_OBJECT_FORGED 205
#define TWZ_ERROR_OBJECT_IMMUTABLE 206
#define TWZ_ERROR_OBJECT_TOO_LARGE 207
#define TWZ_ERROR_OBJECT_PINNED 208
#define TWZ_ERROR_OBJECT_VERSION 209
#define TWZ_ERROR_OBJECT_EXISTS 210
#define TWZ_ERROR_OBJECT_TIED 211
#define TWZ_ERROR_NOT_SHARED 212
#define TWZ_ERROR_SHARED_FIXED 213
#define TWZ_ERROR_SHARED_REFERENCE 214
#define TWZ_ERROR_APPEND_ONLY 215
#define TWZ_ERROR_POINTER_CORRUPT 301
#define TWZ_ERROR_FOT_CORRUPT 302
#define TWZ_ERROR_FOT_FULL 303
#define TWZ_ERROR_NAME_UNRESOLVED 304
#define TWZ_ERROR_RESOLVER_MISSING 305
#define TWZ_ERROR_NOT_IN_THIS_OBJECT 306
#define TWZ_ERROR_STALE_REFERENCE 307
#define TWZ_ERROR_WRONG_SPACE 308
#define TWZ_ERROR_TYPE_MISMATCH 401
#define TWZ_ERROR_TYPE_INVALID 402
#define TWZ_ERROR_VALUE_MISMATCH 403
#define TWZ_ERROR_TYPE_OUTDATED 404
#define TWZ_ERROR_TYPE_NEWER 405
#define TWZ_ERROR_NOT_IN_TRANSACTION 501
#define TWZ_ERROR_TRANSACTION_ASYNC 502
#define TWZ_ERROR_TRANSACTION_OVERTAKEN 509
#define TWZ_ERROR_TRANSACTION_TOO_LARGE 503
#define TWZ_ERROR_TRANSACTION_NESTED 504
#define TWZ_ERROR_SNAPSHOT_READ_ONLY 505
#define TWZ_ERROR_SNAPSHOT_CLOSED 506
#define TWZ_ERROR_DISK_FULL 601
#define TWZ_ERROR_TOO_MANY_FILES 602
#define TWZ_ERROR_READ_ONLY 603
#define TWZ_ERROR_IO_ERROR 604
#define TWZ_ERROR_LOG_CORRUPT 605
#define TWZ_ERROR_LOG_FAILED 606
#define TWZ_ERROR_OUT_OF_MEMORY 607
#define TWZ_ERROR_FILE_MISSING 608
#define TWZ_ERROR_NOT_EMPTY 621
#define TWZ_ERROR_BACKUP_MISSING 622
#define TWZ_ERROR_BACKUP_CORRUPT 623
#define TWZ_ERROR_NAME_MISSING 701
#define TWZ_ERROR_NAME_EXISTS 702
#define TWZ_ERROR_NAME_INVALID 703
#define TWZ_ERROR_NOT_NAMESPACE 704
#define TWZ_ERROR_NAMESPACE_NOT_EMPTY 705
#define TWZ_ERROR_LINK_LOOP 706
#define TWZ_ERROR_SPACE_MISSING 801
#define TWZ_ERROR_SPACE_EXISTS 802
#define TWZ_ERROR_SPACE_BUSY 803
#define TWZ_ERROR_SPACE_CORRUPT 804
#define TWZ_ERROR_SPACE_VERSION 805
#define TWZ_ERROR_LEASE_TIMEOUT 807
#define TWZ_ERROR_SPACE_CLOSED 806
#define TWZ_ERROR_HOST_UNAVAILABLE 901
#define TWZ_ERROR_IMPORT_REFUSED 902
#define TWZ_ERROR_DUMP_INVALID 921
#define TWZ_ERROR_PACKAGE_MISSING 903
#define TWZ_ERROR_FILE_INVALID 904
#define TWZ_ERROR_FILE_BUSY 905
#define TWZ_ERROR_LOCK_TIMEOUT 1001
#define TWZ_ERROR_LOCK_RECURSION 1002
#define TWZ_ERROR_LOCK_NOT_HELD 1003
#define TWZ_ERROR_LOCK_LOST 1004
#define TWZ_ERROR_LOCK_INVALID 1005
#define TWZ_ERROR_BARRIER_BROKEN 1006
#define TWZ_ERROR_QUEUE_FULL 1101
#define TWZ_ERROR_QUEUE_CLOSED 1102
#define TWZ_ERROR_QUEUE_TIMED_OUT 1103
#define TWZ_ERROR_PEER_GONE 1104
#define TWZ_ERROR_QUEUE_TAKEN 1105
#define TWZ_ERROR_QUEUE_INVALID 1106
#define TWZ_ERROR_REQUEST_CANCELLED 1107
#define TWZ_ERROR_REQUEST_FAILED 1108
#define TWZ_ERROR_DEVICE_MISSING 1201
#define TWZ_ERROR_DEVICE_INVALID 1202
#define TWZ_ERROR_DEVICE_GONE 1203
#define TWZ_ERROR_DEVICE_BUSY 1204
#define TWZ_ERROR_DEVICE_FAILED 1205
#define TWZ_ERROR_DEVICE_TIMED_OUT 1206
#define TWZ_ERROR_CONNECTION_REFUSED 1207
#define TWZ_ERROR_CONNECTION_RESET 1208
#define TWZ_ERROR_ADDRESS_TAKEN 1209
#define TWZ_ERROR_ADDRESS_FORBIDDEN 1210
#define TWZ_ERROR_ADDRESS_INVALID 1211
#define TWZ_ERROR_THREAD_FAILED 1301
#define TWZ_ERROR_THREAD_KILLED 1302
#define TWZ_ERROR_THREAD_TIMEOUT 1303
#define TWZ_ERROR_THREAD_ENDED 1304
#define TWZ_ERROR_THREAD_RUNS 1305
#define TWZ_ERROR_THREAD_MODULE 1306
#define TWZ_ERROR_SUPERVISOR_GAVE_UP 1307
#define TWZ_ERROR_CAPABILITY_MALFORMED 1401
#define TWZ_ERROR_CAPABILITY_FORGED 1402
#define TWZ_ERROR_CAPABILITY_ACCESSOR 1403
#define TWZ_ERROR_CAPABILITY_TARGET 1404
#define TWZ_ERROR_CAPABILITY_KEY 1405
#define TWZ_ERROR_CAPABILITY_EXPIRED 1406
#define TWZ_ERROR_CAPABILITY_REVOKED 1407
#define TWZ_ERROR_CAPABILITY_WIDENED 1408
#define TWZ_ERROR_DELEGATION_FORBIDDEN 1409
#define TWZ_ERROR_DELEGATION_BROKEN 1410
#define TWZ_ERROR_DELEGATION_DEPTH 1411
#define TWZ_ERROR_CONTEXT_INVALID 1412
#define TWZ_ERROR_CONTEXT_UNDETACHABLE 1413
#define TWZ_ERROR_CONTEXT_DETACHED 1414
#define TWZ_ERROR_CONTEXT_FULL 1415
#define TWZ_ERROR_KEY_INVALID 1416
#define TWZ_ERROR_PROGRAM_INVALID 1501
#define TWZ_ERROR_PROGRAM_FAULT 1502
#define TWZ_ERROR_PROGRAM_TIMEOUT 1503
#define TWZ_ERROR_PROGRAM_LIMIT 1504
#define TWZ_ERROR_GUEST_FAULT 1505
#define TWZ_ERROR_GATE_MISSING 1506
#define TWZ_ERROR_GATE_REFUSED 1507
#define TWZ_ERROR_COMPARTMENT_CLOSED 1508
#define TWZ_ERROR_GATE_FAILED 1510
#define TWZ_ERROR_WAIT_TIMEOUT 1509
#define TWZ_ERROR_WASI_MISUSED 1531
#define TWZ_ERROR_FILES_QUOTA 1532
#define TWZ_ERROR_FILE_KIND 1533
#define TWZ_ERROR_SQLITE_FAILED 1541
#define TWZ_ERROR_SQLITE_CONSTRAINT 1542
#define TWZ_ERROR_SQLITE_OVERTAKEN 1543
#define TWZ_ERROR_SQLITE_CLOSED 1544
#define TWZ_ERROR_NOT_DATABASE 1545
#define TWZ_ERROR_SQLITE_CORRUPT 1546
#define TWZ_ERROR_SQLITE_MEMORY 1547
#define TWZ_ERROR_COMPILER_MISSING 1581
#define TWZ_ERROR_BUILD_FAILED 1582
#define TWZ_ERROR_MANIFEST_INVALID 1583
#define TWZ_ERROR_SERVE_UNREACHABLE 1551
#define TWZ_ERROR_SERVE_GONE 1552
#define TWZ_ERROR_SERVE_PROTOCOL 1553
#define TWZ_ERROR_SERVE_LIMIT 1554
#define TWZ_ERROR_SERVE_UNPROVED 1555
#define TWZ_ERROR_SERVE_TAKEN 1556
#define TWZ_ERROR_SERVE_EXPOSED 1557
#define TWZ_ERROR_MODULE_FORGED 1571
#define TWZ_ERROR_MODULE_UNTRUSTED 1572
#define TWZ_ERROR_MODULE_VERSION 1573
#define TWZ_ERROR_MODULE_INVALID 1574
#define TWZ_ERROR_MODULE_IMPORT 1575
#define TWZ_ERROR_MODULE_FAILED 1576
#define TWZ_ERROR_MODULE_TIMEOUT 1577
#define TWZ_ERROR_MODULE_MEMORY 1578
#define TWZ_ERROR_MODULE_VALUE 1579
#define TWZ_ERROR_UNREACHABLE 1601
#define TWZ_ERROR_TIMED_OUT 1602
#define TWZ_ERROR_STALE 1603
#define TWZ_ERROR_DENIED 1604
#define TWZ_ERROR_FENCED 1605
#define TWZ_ERROR_ENGINE_TOO_OLD 1606
#define TWZ_ERROR_ENGINE_LOST 1607
#define TWZ_ERROR_ENGINE_REFUSED 1608
#define TWZ_ERROR_ENGINE_CORRUPT 1609
#define TWZ_ERROR_NOT_JOINED 1610
#define TWZ_ERROR_NODE_UNKNOWN 1611
#define TWZ_ERROR_RUN_FAILED 1612
#define TWZ_ERROR_CODE_INVALID 1613
#define TWZ_ERROR_MESSAGE_TOO_LARGE 1630
#define TWZ_ERROR_PAGED_OUTSIDE 1650
#define TWZ_ERROR_PAGED_READ_ONLY 1651
#define TWZ_ERROR_PAGED_CLOSED 1652
#define TWZ_ERROR_PAGES_INVALID 1653
#define TWZ_ERROR_PLAN_IMPOSSIBLE 1660
#define TWZ_ERROR_RUN_LOST 1700
#define TWZ_ERROR_RUN_STOPPED 1701
#define TWZ_ERROR_RUN_LIMIT 1702
#define TWZ_ERROR_RUN_DEPTH 1703
#define TWZ_ERROR_RUNS_FULL 1704
#define TWZ_ERROR_RUN_CHANGED 1705
#define TWZ_ERROR_ALREADY_JOINED 1690
#define TWZ_ERROR_REFERENCES_UNKNOWN 1691
#define TWZ_ERROR_MERGE_FAILED 1695

#ifdef __cplusplus
}
#endif
#endif

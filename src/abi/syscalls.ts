/**
 * The syscalls of programs: the one description from which the kernel's checks, the headers for C and Rust, the declarations for
 * AssemblyScript and docs/syscalls.md come.
 *
 * A program is a WebAssembly module; a syscall is a function that it imports from the module `twizzler`. Each gives a signed 64-bit number: what
 * was asked for, 0 where there is nothing to say, or the negative code of an error (docs/errors.md); `error` gives its text.
 *
 * How arguments cross:
 *   u32, i32, i64        as they are
 *   address              u32, a place in the program's memory: its heap, or an object that is mapped
 *   id                   address of the 16 bytes of an object ID, as files have them
 *   idOut                address where 16 bytes are stored
 *   bytes, text          two: address and length in bytes; text is UTF-8
 *   buffer               two: address and capacity in bytes. The result is the length of all there is; no more than the capacity is stored
 *   function             index in the program's table, of a function (u32) -> i32
 *
 * Numbers are never used again for something else.
 */
export type Argument = 'u32' | 'i32' | 'i64' | 'address' | 'id' | 'idOut' | 'bytes' | 'text' | 'buffer' | 'function';

export interface Syscall {
  readonly number: number;
  readonly name: string;
  readonly parameters: readonly (readonly [name: string, type: Argument])[];
  /** What the result is; `never`: it does not return. */
  readonly result: 'nothing' | 'number' | 'address' | 'length' | 'never';
  readonly what: string;
}

export const SYSCALL_ABI = 1;
/** The module that syscalls are imported from. */
export const SYSCALL_MODULE = 'twizzler';

type Parameters = Readonly<Record<string, Argument>>;

const call = <const N extends string>(number: number, name: N, given: Parameters, result: Syscall['result'], what: string) => ({
  number,
  name,
  parameters: Object.entries(given),
  result,
  what,
});

export const SYSCALLS = [
  call(0, 'null', {}, 'nothing', 'Does nothing: what a syscall costs.'),
  call(1, 'exit', { code: 'i32' }, 'never', 'Ends the program.'),
  call(2, 'error', { into: 'buffer' }, 'length', 'The text of the last error that a syscall of this thread gave.'),
  call(
    3,
    'info',
    { which: 'u32' },
    'number',
    '0: version of this table. 1: bytes a page. 2: bytes the heap may have. 3: processors. 4: this thread.',
  ),
  call(4, 'write', { stream: 'u32', data: 'bytes' }, 'length', 'Writes to output (1) or errors (2). Gives how many bytes were taken.'),
  call(5, 'read', { stream: 'u32', into: 'buffer' }, 'length', 'Reads from input (0). 0 at its end.'),
  call(6, 'clock', { which: 'u32' }, 'number', 'Nanoseconds: 0 since some moment, never back; 1 since 1970.'),
  call(7, 'random', { into: 'buffer' }, 'length', 'Fills the buffer with random bytes.'),
  call(8, 'arguments', {}, 'number', 'How many arguments the program was given.'),
  call(9, 'argument', { index: 'u32', into: 'buffer' }, 'length', 'One of them.'),

  call(
    16,
    'object_create',
    { kind: 'u32', rights: 'u32', size: 'u32', id: 'idOut' },
    'nothing',
    'Makes an object, in a transaction. Kind as in its header: 1 owned, 3 volatile, 4 shared. Default rights: bits 1 read, 2 write, 4 execute. Size: bytes to keep room for.',
  ),
  call(17, 'object_delete', { id: 'id' }, 'nothing', 'Deletes an object, in a transaction.'),
  call(
    18,
    'object_map',
    { id: 'id', rights: 'u32' },
    'address',
    'Maps an object: the address of its first byte. What is asked for and not given is missed at the access: a store traps.',
  ),
  call(19, 'object_unmap', { at: 'address' }, 'nothing', 'Lets go of a mapping.'),
  call(20, 'object_at', { at: 'address', id: 'idOut' }, 'number', 'Which object is mapped there; gives the offset in it.'),
  call(
    21,
    'object_stat',
    { id: 'id', into: 'buffer' },
    'length',
    'Size, kind, rights that this program has, offset of the root (u32 each), version (u64), entries of the FOT (u32): 28 bytes.',
  ),
  call(22, 'object_root', { at: 'address' }, 'address', 'The root of the mapped object; 0 where it has none.'),
  call(23, 'object_set_root', { at: 'address' }, 'nothing', 'Makes what lies there the root of its object, in a transaction.'),
  call(
    24,
    'allocate',
    { at: 'address', size: 'u32' },
    'address',
    'A zeroed block in the object that is mapped there, in a transaction. The object may grow.',
  ),
  call(25, 'release', { at: 'address' }, 'nothing', 'Gives a block back, in a transaction.'),
  call(
    26,
    'refer',
    { from: 'address', to: 'address' },
    'number',
    'The invariant pointer that leads from the object at `from` to the place `to`, to be stored there; in a transaction where that is another object.',
  ),
  call(
    27,
    'refer_id',
    { from: 'address', id: 'id', offset: 'u32' },
    'number',
    'As `refer`, to an object that need not be mapped, nor readable for this program.',
  ),
  call(
    28,
    'resolve',
    { from: 'address', pointer: 'i64', rights: 'u32' },
    'address',
    'Where an invariant pointer of the object at `from` leads. Maps what it leads to.',
  ),
  call(29, 'unrefer', { from: 'address', pointer: 'i64' }, 'nothing', 'A pointer to another object was overwritten, in a transaction.'),
  call(
    30,
    'object_set_types',
    { at: 'address', schema: 'text' },
    'nothing',
    'Says of which type the root of the mapped object is, by a schema text: who opens it finds that type. In a transaction, after `object_set_root`.',
  ),

  call(
    31,
    'object_root_as',
    { at: 'address', fingerprint: 'i64' },
    'address',
    'The root of the mapped object, where the fingerprint of its type is this; else 0.',
  ),
  call(
    32,
    'transact',
    { run: 'function', argument: 'u32', mode: 'u32' },
    'number',
    'Calls a function of the program as a transaction; all its stores to objects happen, or none. It may be called again, from the start. What it gives is the result; below 0, nothing is changed. Mode 0: relaxed, 1: durable.',
  ),
  call(33, 'name_find', { path: 'text', id: 'idOut' }, 'nothing', 'The object of that name.'),
  call(34, 'name_set', { path: 'text', id: 'id' }, 'nothing', 'Names an object, in a transaction.'),
  call(35, 'name_remove', { path: 'text' }, 'nothing', 'Removes a name, in a transaction.'),

  call(
    40,
    'thread_spawn',
    { run: 'function', argument: 'u32', stack: 'u32' },
    'number',
    'Calls a function of the program in a thread of its own. `stack`: the address behind the memory that it may use as its stack, 0 where it needs none. Gives the number of the thread.',
  ),
  call(
    41,
    'thread_sync',
    { operations: 'address', count: 'u32', timeout: 'i64' },
    'number',
    'Sleeps while all the words have their values, and wakes others. An operation has 24 bytes: address of the word (u32), 0 sleep or 1 wake (u32), value or how many to wake (i64), result (i64). 32-bit words. Timeout in nanoseconds, below 0 for none. Gives how many were ready or woke somebody.',
  ),

  call(48, 'gate_find', { compartment: 'text', gate: 'text' }, 'number', 'A gate of another compartment: a number to call it by.'),
  call(
    49,
    'gate_call',
    { gate: 'u32', values: 'address', count: 'u32', result: 'address' },
    'nothing',
    'Calls it. Values have 8 bytes each: numbers; for text and bytes address (u32) and length (u32); for objects the address of the ID. The result is stored likewise, 8 bytes.',
  ),
  call(50, 'gate_caller', { id: 'idOut' }, 'nothing', 'The security context of who called the gate that runs; zeros for none.'),
  call(51, 'gate_result', { data: 'bytes' }, 'nothing', 'What the gate that runs gives, where that is text or bytes.'),
  call(52, 'context_attach', { id: 'id' }, 'nothing', 'Attaches a security context.'),
  call(53, 'context_activate', { id: 'id' }, 'nothing', 'Makes an attached context the active one.'),
  call(54, 'context_active', { id: 'idOut' }, 'nothing', 'The active context; zeros for none.'),
  call(55, 'context_detach', { id: 'id' }, 'nothing', 'Detaches a security context.'),

  call(
    64,
    'collection_open',
    { at: 'address' },
    'number',
    'The collection that is the root there, or a field of it: a number to use it by.',
  ),
  call(65, 'collection_close', { collection: 'u32' }, 'nothing', 'Lets go of it.'),
  call(66, 'collection_size', { collection: 'u32' }, 'number', 'How many elements it has.'),
  call(
    67,
    'collection_find',
    { collection: 'u32', key: 'bytes' },
    'address',
    'The value of a key, 0 where there is none. A key of text is UTF-8, a number its bytes as a field has them.',
  ),
  call(
    68,
    'collection_insert',
    { collection: 'u32', key: 'bytes' },
    'address',
    'As `collection_find`, and makes what is missing; in a transaction.',
  ),
  call(69, 'collection_remove', { collection: 'u32', key: 'bytes' }, 'number', '1 where the key was there, in a transaction.'),
  call(70, 'collection_at', { collection: 'u32', index: 'u32' }, 'address', 'An element by its place.'),
  call(71, 'collection_push', { collection: 'u32' }, 'address', 'A new element at the end, in a transaction.'),
  call(
    72,
    'cursor_open',
    { collection: 'u32', from: 'bytes' },
    'number',
    'Goes through the elements in order, from a key on where it has an order; an empty one for all.',
  ),
  call(
    73,
    'cursor_next',
    { cursor: 'u32', key: 'buffer' },
    'length',
    'The next element: its key is stored; gives the length of that, or -1 at the end. `cursor_value` gives its value.',
  ),
  call(74, 'cursor_value', { cursor: 'u32' }, 'address', 'The value of the element that `cursor_next` came to.'),
  call(75, 'cursor_close', { cursor: 'u32' }, 'nothing', 'Lets go of it.'),
  call(76, 'text_get', { field: 'address', into: 'buffer' }, 'length', 'What a field of text or bytes has.'),
  call(77, 'text_set', { field: 'address', value: 'bytes' }, 'nothing', 'Sets it, in a transaction.'),
  call(
    78,
    'collection_open_as',
    { at: 'address', type: 'text' },
    'number',
    'As `collection_open`, for one that lies anywhere, such as in a value of another: its type as the schema of its object names it.',
  ),
  call(
    79,
    'collection_get',
    { collection: 'u32', key: 'bytes', into: 'buffer' },
    'length',
    'The value of a key, stored: of text and bytes what they are, of a number its bytes. -1 where there is no such key.',
  ),
  call(80, 'collection_put', { collection: 'u32', key: 'bytes', value: 'bytes' }, 'nothing', 'Sets it likewise, in a transaction.'),
  call(
    81,
    'element_get',
    { collection: 'u32', index: 'u32', into: 'buffer' },
    'length',
    'As `collection_get`, of an element by its place.',
  ),
  call(
    82,
    'element_put',
    { collection: 'u32', index: 'u32', value: 'bytes' },
    'nothing',
    'As `collection_put`; at the end where there are just as many elements as `index`.',
  ),
  call(83, 'cursor_get', { cursor: 'u32', into: 'buffer' }, 'length', 'As `collection_get`, of the element that `cursor_next` came to.'),
  call(84, 'cursor_key', { cursor: 'u32', into: 'buffer' }, 'length', 'The key of that element again, for a larger buffer.'),
  call(
    85,
    'collection_truncate',
    { collection: 'u32', length: 'u32' },
    'nothing',
    'Drops all elements from that place on, 0 for all, in a transaction.',
  ),
] as const satisfies readonly Syscall[];

export type SyscallName = (typeof SYSCALLS)[number]['name'];

/** What a program declares of itself, as JSON in its custom section of this name. */
export const MANIFEST_SECTION = 'twizzler';

/** How the values of a gate cross. Objects: `reference` as it is, `readable` and `writable` only where the caller has that right. */
export const GATE_TYPES = ['i32', 'u32', 'i64', 'f32', 'f64', 'bool', 'text', 'bytes', 'reference', 'readable', 'writable'] as const;
export type GateType = (typeof GATE_TYPES)[number];

export interface GateDeclaration {
  readonly parameters: readonly GateType[];
  readonly result?: GateType;
}

/**
 * A gate is an exported function. Numbers are its parameters as they are; text and bytes come as two, address and length, in memory that the
 * program gave by its export `twz_buffer(length) -> address`; objects as the address of an ID there. A result of text or bytes is given by
 * `gate_result`.
 */
export interface Manifest {
  readonly abi: number;
  readonly name?: string;
  readonly gates?: Readonly<Record<string, GateDeclaration>>;
}

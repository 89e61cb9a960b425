/**
 * Hostile programs, each with what must become of it: the error that its owner gets, or what its gate gives. They run in a process of their
 * own (hostile-child.ts), for what they try would end it.
 */
import type { ErrorName } from '../src/abi/errors.ts';
import type { Limits } from '../src/services/programs.ts';

export interface Hostile {
  readonly name: string;
  /** The body of a module; imports first. `go` is its gate, and takes the ID of an object that it may only read. */
  readonly text: string;
  readonly error?: ErrorName;
  readonly result?: number | bigint;
  readonly limits?: Partial<Limits>;
  /** Run inside a transaction. */
  readonly transaction?: boolean;
}

const MAP = '(import "twizzler" "object_map" (func $map (param i32 i32) (result i64)))';
const MEMORY = '(memory 2 64) (func (export "twz_buffer") (param i32) (result i32) (i32.const 1024))';
/** The address of the object, in $at. */
const AT = '(local $at i32) (local.set $at (i32.wrap_i64 (call $map (local.get $id) (i32.const 3))))';

const go = (body: string, result = ''): string => `(func (export "go") (param $id i32) ${result} ${body})`;
/** A gate that maps the object first. */
const mapped = (body: string, result = ''): string => `${MAP} ${MEMORY} ${go(`${result} ${AT} ${body}`)}`;
const plain = (body: string, result = ''): string => `${MEMORY} ${go(body, result)}`;

const NOWHERE = '0x60000000';
const SHARED = '0xc0000000';
const STOP = '0xfffff000';

const fault = (name: string, text: string): Hostile => ({ name, text, error: 'ProgramFault' });

export const HOSTILE: readonly Hostile[] = [
  // --- memory that it has no right to -----------------------------------------------------------------------------------------
  fault('loads where nothing is mapped', plain(`(local $a i32) (local.set $a (i32.const ${NOWHERE})) (drop (i32.load (local.get $a)))`)),
  fault('loads from a constant address where nothing is mapped', plain(`(drop (i32.load (i32.const ${NOWHERE})))`)),
  fault('stores to a constant address where nothing is mapped', plain(`(i32.store (i32.const ${NOWHERE}) (i32.const 1))`)),
  fault('loads with the largest offset', plain('(drop (i64.load offset=4294967295 (local.get $id)))')),
  fault('loads a vector at the end of memory', plain('(drop (v128.load offset=4294967295 (i32.const -1)))')),
  fault(
    'loads one lane of a vector past the end',
    plain('(drop (v128.load64_lane offset=4294967295 0 (i32.const -1) (v128.const i64x2 0 0)))'),
  ),
  fault('stores to an object that it may only read', mapped('(i32.store offset=4096 (local.get $at) (i32.const 1))')),
  { ...fault('the same in a transaction', mapped('(i32.store offset=4096 (local.get $at) (i32.const 1))')), transaction: true },
  fault('stores a vector there', mapped('(v128.store offset=4096 (local.get $at) (v128.const i64x2 1 1))')),
  fault('stores to its metadata', mapped('(i64.store offset=56 (local.get $at) (i64.const 7))')),
  fault('stores to the stop page', plain(`(i32.store (i32.const ${STOP}) (i32.const 1))`)),
  fault('fills what it may only read', mapped('(memory.fill (i32.add (local.get $at) (i32.const 4096)) (i32.const 1) (i32.const 64))')),
  fault('fills from its heap into nowhere', plain('(memory.fill (i32.const 65536) (i32.const 1) (i32.const 0x10000000))')),
  fault('fills all of memory', plain('(memory.fill (i32.const 0) (i32.const 1) (i32.const -1))')),
  fault('copies to what it may only read', mapped('(memory.copy (i32.add (local.get $at) (i32.const 4096)) (i32.const 0) (i32.const 64))')),
  fault('copies from nowhere', plain(`(memory.copy (i32.const 0) (i32.const ${NOWHERE}) (i32.const 65536))`)),
  fault('copies past the end of memory', plain('(memory.copy (i32.const 0) (i32.const -8) (i32.const 64))')),
  fault(
    'puts data into an object',
    `${MAP} ${MEMORY} (data $d "data") ${go(`${AT} (memory.init $d (local.get $at) (i32.const 0) (i32.const 4))`)}`,
  ),
  fault('loads atomically from nowhere', plain(`(drop (i32.atomic.load (i32.const ${NOWHERE})))`)),
  fault('stores atomically to nowhere', plain(`(i64.atomic.store (i32.const ${NOWHERE}) (i64.const 1))`)),
  fault('adds atomically to nowhere', plain(`(drop (i32.atomic.rmw.add (i32.const ${NOWHERE}) (i32.const 1)))`)),
  fault('adds atomically to what it may only read', mapped('(drop (i32.atomic.rmw.add offset=4096 (local.get $at) (i32.const 1)))')),
  fault('exchanges atomically in the stop page', plain(`(drop (i32.atomic.rmw.cmpxchg (i32.const ${STOP}) (i32.const 0) (i32.const 1)))`)),
  fault(
    'adds atomically among shared objects, where there is none',
    plain(`(drop (i64.atomic.rmw8.or_u (i32.const ${SHARED}) (i64.const 1)))`),
  ),
  fault('adds atomically with an offset that wraps', plain('(drop (i32.atomic.rmw.add offset=4294967292 (i32.const 4096) (i32.const 1)))')),
  fault('adds atomically across a word', plain('(drop (i32.atomic.rmw.add (i32.const 4098) (i32.const 1)))')),
  fault('waits on nowhere', plain(`(drop (memory.atomic.wait32 (i32.const ${NOWHERE}) (i32.const 0) (i64.const -1)))`)),
  { name: 'wakes nowhere', text: plain(`(memory.atomic.notify (i32.const ${NOWHERE}) (i32.const 1))`, '(result i32)'), result: 0 },
  fault('uses memory past its limit', plain('(drop (i32.load (i32.const 0x01000000)))')),
  { name: 'asks for more heap than it may have', text: plain('(memory.grow (i32.const 4000))', '(result i32)'), result: -1 },
  {
    name: 'asks for more heap again and again',
    text: plain('(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (memory.size)', '(result i32)'),
    result: 64,
  },
  {
    name: 'grows its table without end',
    text: `${MEMORY} (table $t 1 funcref) ${go('(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 100000)) (i32.const -1)))) (table.size $t)', '(result i32)')}`,
    result: 1000001,
  },

  // --- time and stack ---------------------------------------------------------------------------------------------------------------
  { name: 'never ends', text: plain('(loop $on (br $on))'), error: 'ProgramTimeout', limits: { time: 60 } },
  {
    name: 'never ends, without a loop',
    text: `${MEMORY} (func $f (param i32) (result i32) (if (result i32) (local.get 0) (then (i32.add (call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) (i32.const 1))))) (else (i32.const 1)))) ${go('(drop (call $f (i32.const 60)))')}`,
    error: 'ProgramTimeout',
    limits: { time: 60 },
  },
  {
    name: 'waits for ever',
    text: plain('(drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))'),
    error: 'ProgramTimeout',
    limits: { time: 60 },
  },
  {
    name: 'makes syscalls for ever',
    text: `(import "twizzler" "null" (func $null (result i64))) ${MEMORY} ${go('(loop $on (drop (call $null)) (br $on))')}`,
    error: 'ProgramTimeout',
    limits: { time: 60 },
  },
  {
    name: 'makes too many syscalls',
    text: `(import "twizzler" "null" (func $null (result i64))) ${MEMORY} ${go('(loop $on (drop (call $null)) (br $on))')}`,
    error: 'ProgramLimit',
    limits: { calls: 1000 },
  },
  {
    name: 'sleeps for ever by thread_sync',
    text: `(import "twizzler" "thread_sync" (func $sync (param i32 i32 i64) (result i64))) ${MEMORY} ${go('(i32.store (i32.const 64) (i32.const 128)) (drop (call $sync (i32.const 64) (i32.const 1) (i64.const -1)))')}`,
    error: 'ProgramTimeout',
    limits: { time: 60 },
  },
  fault('calls itself without end', `${MEMORY} (func $f (call $f)) ${go('(call $f)')}`),
  fault(
    'uses up its stack, with a syscall at each level',
    `${MAP} ${MEMORY} (func $f (param $id i32) (drop (call $map (local.get $id) (i32.const 1))) (call $f (local.get $id))) ${go('(call $f (local.get $id))')}`,
  ),
  fault(
    'uses up its stack in transactions in transactions',
    `(import "twizzler" "transact" (func $t (param i32 i32 i32) (result i64))) ${MEMORY} (table 1 funcref) (elem (i32.const 0) $f) (func $f (param i32) (result i32) (drop (call $t (i32.const 0) (i32.const 0) (i32.const 0))) (i32.const 0)) ${go('(drop (call $f (i32.const 0)))')}`,
  ),
  {
    name: 'never ends in its start function',
    text: `${MEMORY} (func $s (loop $on (br $on))) (start $s) ${go('')}`,
    error: 'ProgramTimeout',
    limits: { time: 60 },
  },
  fault('fails in its start function', `${MEMORY} (func $s unreachable) (start $s) ${go('')}`),

  // --- syscalls ---------------------------------------------------------------------------------------------------------------------
  {
    name: 'has an ID stored to nowhere',
    text: `(import "twizzler" "name_find" (func $f (param i32 i32 i32) (result i64))) ${MEMORY} (data (i32.const 64) "/object") ${go(`(call $f (i32.const 64) (i32.const 7) (i32.const ${NOWHERE}))`, '(result i64)')}`,
    result: -1505n,
  },
  {
    name: 'gives a text that wraps around memory',
    text: `(import "twizzler" "write" (func $w (param i32 i32 i32) (result i64))) ${MEMORY} ${go('(call $w (i32.const 1) (i32.const -16) (i32.const 64))', '(result i64)')}`,
    result: -1505n,
  },
  {
    name: 'gives a text of 4 GiB',
    text: `(import "twizzler" "write" (func $w (param i32 i32 i32) (result i64))) ${MEMORY} ${go('(call $w (i32.const 1) (i32.const 0) (i32.const -1))', '(result i64)')}`,
    result: -1505n,
  },
  {
    name: 'gives a path that is not UTF-8',
    text: `(import "twizzler" "name_find" (func $f (param i32 i32 i32) (result i64))) ${MEMORY} (data (i32.const 64) "/\\ff\\fe") ${go('(call $f (i32.const 64) (i32.const 3) (i32.const 128))', '(result i64)')}`,
    result: -1505n,
  },
  {
    name: 'has an ID stored into the header of an object',
    text: `${MAP} (import "twizzler" "context_active" (func $c (param i32) (result i64))) (import "twizzler" "gate_caller" (func $g (param i32) (result i64))) ${MEMORY} ${go(`(result i64) ${AT} (call $g (i32.add (local.get $at) (i32.const 16)))`)}`,
    result: -1505n,
  },
  {
    name: 'maps an object that is not there',
    text: `${MAP} ${MEMORY} ${go('(call $map (i32.const 512) (i32.const 3))', '(result i64)')}`,
    result: -201n,
  },
  {
    name: 'maps more than it may',
    text: `${MAP} ${MEMORY} ${go('(call $map (local.get $id) (i32.const 3))', '(result i64)')}`,
    error: 'ProgramLimit',
    limits: { objects: 0 },
  },
  {
    name: 'unmaps what is not mapped',
    text: `(import "twizzler" "object_unmap" (func $u (param i32) (result i64))) ${MEMORY} ${go(`(call $u (i32.const ${NOWHERE}))`, '(result i64)')}`,
    result: -1505n,
  },
  {
    name: 'follows a forged pointer past the end',
    text: `${MAP} (import "twizzler" "resolve" (func $r (param i32 i64 i32) (result i64))) ${MEMORY} ${go(`(result i64) ${AT} (call $r (local.get $at) (i64.const 0xffffffffff) (i32.const 1))`)}`,
    result: -301n,
  },
  {
    name: 'follows a forged pointer into the header',
    text: `${MAP} (import "twizzler" "resolve" (func $r (param i32 i64 i32) (result i64))) ${MEMORY} ${go(`(result i64) ${AT} (call $r (local.get $at) (i64.const 8) (i32.const 1))`)}`,
    result: -301n,
  },
  {
    name: 'follows a forged pointer by an entry that is not there',
    text: `${MAP} (import "twizzler" "resolve" (func $r (param i32 i64 i32) (result i64))) ${MEMORY} ${go(`(result i64) ${AT} (call $r (local.get $at) (i64.const 0x7fffff0000001000) (i32.const 1))`)}`,
    result: -302n,
  },
  {
    name: 'allocates in what it may only read',
    text: `${MAP} (import "twizzler" "allocate" (func $a (param i32 i32) (result i64))) ${MEMORY} ${go(`(result i64) ${AT} (call $a (local.get $at) (i32.const 64))`)}`,
    transaction: true,
    result: -203n,
  },
  {
    name: 'releases what is no block',
    text: `${MAP} (import "twizzler" "release" (func $a (param i32) (result i64))) ${MEMORY} ${go(`(result i64) ${AT} (call $a (i32.add (local.get $at) (i32.const 5000)))`)}`,
    transaction: true,
    result: -203n,
  },
  {
    name: 'deletes what it may only read',
    text: `(import "twizzler" "object_delete" (func $d (param i32) (result i64))) ${MEMORY} ${go('(call $d (local.get $id))', '(result i64)')}`,
    transaction: true,
    result: -203n,
  },
  {
    name: 'runs a transaction by a function that is not there',
    text: `(import "twizzler" "transact" (func $t (param i32 i32 i32) (result i64))) ${MEMORY} ${go('(call $t (i32.const 77) (i32.const 0) (i32.const 0))', '(result i64)')}`,
    result: -1505n,
  },
  {
    name: 'runs a transaction by a function of another type',
    text: `(import "twizzler" "transact" (func $t (param i32 i32 i32) (result i64))) ${MEMORY} (table 1 funcref) (elem (i32.const 0) $f) (func $f (param i64 f64) (result f64) (f64.const 1)) ${go('(call $t (i32.const 0) (i32.const 0) (i32.const 0))', '(result i64)')}`,
    error: 'ProgramFault',
  },
  {
    name: 'ends itself in a transaction',
    text: `(import "twizzler" "transact" (func $t (param i32 i32 i32) (result i64))) (import "twizzler" "exit" (func $x (param i32) (result i64))) ${MEMORY} (table 1 funcref) (elem (i32.const 0) $f) (func $f (param i32) (result i32) (drop (call $x (i32.const 3))) (i32.const 0)) ${go('(drop (call $t (i32.const 0) (i32.const 0) (i32.const 0)))')}`,
    result: 3,
  },
  {
    name: 'declares a syscall with a float',
    text: `(import "twizzler" "exit" (func $x (param f64) (result i64))) ${MEMORY} ${go('(drop (call $x (f64.const nan)))')}`,
    result: 0,
  },
  {
    name: 'declares a syscall with a reference',
    text: `(import "twizzler" "argument" (func $x (param externref) (result i64))) ${MEMORY} ${go('(call $x (ref.null extern))', '(result i64)')}`,
    result: -1505n,
  },
  {
    name: 'declares a syscall that gives 32 bits',
    text: `(import "twizzler" "null" (func $x (result i32))) ${MEMORY} ${go('(drop (call $x))')}`,
    error: 'ProgramFault',
  },
  {
    name: 'asks for random bytes without end',
    text: `(import "twizzler" "random" (func $r (param i32 i32) (result i64))) (memory 64 64) (func (export "twz_buffer") (param i32) (result i32) (i32.const 1024)) ${go('(call $r (i32.const 0) (i32.const 4000000))', '(result i64)')}`,
    result: -102n,
  },
  {
    name: 'sleeps on too many words',
    text: `(import "twizzler" "thread_sync" (func $sync (param i32 i32 i64) (result i64))) ${MEMORY} ${go('(call $sync (i32.const 0) (i32.const 5000) (i64.const 0))', '(result i64)')}`,
    result: -102n,
  },
  {
    name: 'sleeps on a word across words',
    text: `(import "twizzler" "thread_sync" (func $sync (param i32 i32 i64) (result i64))) ${MEMORY} ${go('(i32.store (i32.const 64) (i32.const 130)) (call $sync (i32.const 64) (i32.const 1) (i64.const 0))', '(result i64)')}`,
    result: -104n,
  },

  // --- modules ----------------------------------------------------------------------------------------------------------------------
  { name: 'imports what there is not', text: `(import "twizzler" "become_root" (func $x)) ${MEMORY} ${go('')}`, error: 'ProgramInvalid' },
  { name: 'imports from the host', text: `(import "node:fs" "readFileSync" (func $x)) ${MEMORY} ${go('')}`, error: 'ProgramInvalid' },
  { name: 'imports a global', text: `(import "env" "g" (global i32)) ${MEMORY} ${go('')}`, error: 'ProgramInvalid' },
  { name: 'imports a table', text: `(import "env" "t" (table 1 funcref)) ${MEMORY} ${go('')}`, error: 'ProgramInvalid' },
  {
    name: 'imports WASI, and was given none',
    text: `(import "wasi_snapshot_preview1" "fd_close" (func $x (param i32) (result i32))) ${MEMORY} ${go('')}`,
    error: 'ProgramInvalid',
  },
  { name: 'exports a name that is taken', text: `${MEMORY} ${go('')} (func (export "twz:start"))`, error: 'ProgramInvalid' },
  { name: 'begins with data in nowhere', text: `${MEMORY} (data (i32.const ${NOWHERE}) "x") ${go('')}`, error: 'ProgramInvalid' },
  { name: 'begins with data at the end of memory', text: `${MEMORY} (data (i32.const -1) "xy") ${go('')}`, error: 'ProgramInvalid' },
  { name: 'begins with a large table', text: `${MEMORY} (table 9000000 funcref) ${go('')}`, error: 'ProgramInvalid' },
  { name: 'begins with more memory than it may have', text: `(memory 200) ${go('')}`, error: 'ProgramLimit' },
  { name: 'begins with more memory than there is', text: `(memory 60000) ${go('')}`, error: 'ProgramInvalid' },
];

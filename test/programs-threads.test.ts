/** P1, P4: threads of programs, and compartments in threads of their own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RIGHT } from '../src/abi/format.ts';
import { struct, u32, type TwzError } from '../src/index.ts';
import { programs } from '../src/services/programs.ts';
import { Ground } from './hosts.ts';
import { wat } from './wat.ts';

const THREADED = wat(
  `(module
    (import "twizzler" "thread_spawn" (func $spawn (param i32 i32 i32) (result i64)))
    (import "twizzler" "thread_sync" (func $sync (param i32 i32 i64) (result i64)))
    (import "twizzler" "info" (func $info (param i32) (result i64)))
    (memory 2 16)
    (data (i32.const 512) "once")
    (table 4 funcref) (elem (i32.const 0) $work $spin $trap)
    ;; 64: a counter, 68: how many are done, 128: an operation of thread_sync
    (func $work (param $turns i32) (result i32)
      (loop $more
        (drop (i32.atomic.rmw.add (i32.const 64) (i32.const 1)))
        (br_if $more (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
      (drop (i32.atomic.rmw.add (i32.const 68) (i32.const 1)))
      ;; wakes who sleeps on 68, by an operation of its own thread's
      (call $wake (i32.add (i32.const 256) (i32.mul (i32.wrap_i64 (call $info (i32.const 4))) (i32.const 24))))
      (i32.const 0))
    (func $wake (param $at i32)
      (i32.store (local.get $at) (i32.const 68)) (i32.store offset=4 (local.get $at) (i32.const 1)) (i64.store offset=8 (local.get $at) (i64.const 100))
      (drop (call $sync (local.get $at) (i32.const 1) (i64.const 0))))
    (func $spin (param i32) (result i32) (loop $on (drop (i32.atomic.rmw.add (i32.const 64) (i32.const 1))) (br $on)) (i32.const 0))
    (func $trap (param i32) (result i32) (i32.store (i32.const 0x70000000) (i32.const 1)) (i32.const 0))
    (func (export "spawn") (param $run i32) (param $argument i32) (result i64) (call $spawn (local.get $run) (local.get $argument) (i32.const 0)))
    (func (export "counted") (result i32) (i32.atomic.load (i32.const 64)))
    (func (export "mark") (i32.store8 (i32.const 512) (i32.const 33)))
    (func (export "marked") (result i32) (i32.load8_u (i32.const 512)))
    (func (export "join") (param $count i32) (result i64) (local $done i32)
      (loop $again
        (local.set $done (i32.atomic.load (i32.const 68)))
        (if (i32.eq (local.get $done) (local.get $count)) (then (return (i64.const 0))))
        (i32.store (i32.const 128) (i32.const 68)) (i32.store (i32.const 132) (i32.const 0)) (i64.store (i32.const 136) (i64.extend_i32_u (local.get $done)))
        (drop (call $sync (i32.const 128) (i32.const 1) (i64.const -1)))
        (br $again))
      (i64.const -1)))`,
  {
    spawn: { parameters: ['u32', 'u32'], result: 'i64' },
    counted: { parameters: [], result: 'u32' },
    mark: { parameters: [] },
    marked: { parameters: [], result: 'u32' },
    join: { parameters: ['u32'], result: 'i64' },
  },
);

test('P1: threads of a program work in its memory, and it waits for them by threadSync', (t) => {
  const space = new Ground('linux', t).open();
  const program = programs(space).start(THREADED, { limits: { time: 60_000, threads: 3 } });
  program.call('mark');
  for (let i = 1; i <= 3; i++) assert.equal(program.call('spawn', 0, 10_000), BigInt(i));
  assert.equal(program.call('join', 3), 0n);
  assert.equal(program.call('counted'), 30_000);
  // The data that the program begins with was not put there again.
  assert.equal(program.call('marked'), 33);
  program.close();
});

test('P1: a compartment has no more threads than it may, and closing it ends those that run', async (t) => {
  const space = new Ground('linux', t).open();
  const program = programs(space).start(THREADED, { limits: { threads: 1 } });
  assert.equal(program.call('spawn', 1, 0), 1n);
  assert.throws(() => program.call('spawn', 1, 0), { name: 'ProgramLimit' });
  assert.equal(program.closed, true);
  // Another one in its place is not what the thread that is about to end stores to.
  const next = programs(space).start(THREADED);
  assert.equal(next.call('counted'), 0);
  next.close();
});

test('P5: a thread that traps is a fault of its compartment, told to its owner', async (t) => {
  const space = new Ground('linux', t).open();
  const fault = await new Promise<TwzError>((resolve) => {
    const program = programs(space).start(THREADED, { onFault: resolve });
    program.call('spawn', 2, 0);
    // Threads of programs do not keep a process alive.
    const alive = setInterval(() => program.closed && clearInterval(alive), 10);
  });
  assert.equal(fault.name, 'ProgramFault');
  assert.match(fault.message, /thread 1 .*memory access out of bounds/);
});

const Counter = struct('Counter', { n: u32 });
const ADDER = wat(
  `(module
    (import "twizzler" "object_map" (func $map (param i32 i32) (result i64)))
    (import "twizzler" "object_root" (func $root (param i32) (result i64)))
    (import "twizzler" "transact" (func $transact (param i32 i32 i32) (result i64)))
    (memory 1)
    (table 1 funcref) (elem (i32.const 0) $add)
    (global $at (mut i32) (i32.const 0))
    (func (export "twz_buffer") (param i32) (result i32) (i32.const 1024))
    (func (export "use") (param $id i32)
      (global.set $at (i32.wrap_i64 (call $root (i32.wrap_i64 (call $map (local.get $id) (i32.const ${RIGHT.read | RIGHT.write})))))))
    (func $add (param i32) (result i32) (i32.store (global.get $at) (i32.add (i32.load (global.get $at)) (local.get 0))) (i32.load (global.get $at)))
    (func (export "add") (param i32) (result i64) (call $transact (i32.const 0) (local.get 0) (i32.const 0)))
    (func (export "trap") unreachable)
    (func (export "spin") (loop $on (br $on))))`,
  {
    use: { parameters: ['reference'] },
    add: { parameters: ['u32'], result: 'i64' },
    trap: { parameters: [] },
    spin: { parameters: [] },
  },
);

test('P4: gates of a compartment in a thread of its own give promises; both sides change one object', async (t) => {
  const space = new Ground('linux', t).open();
  const counter = space.relaxed(() => space.create(Counter, { n: 1 }));
  const remote = programs(space).startThread(ADDER, { name: 'adder' });
  await remote.call('use', space.object(counter).id);
  assert.equal(await remote.call('add', 2), 3n);
  assert.equal(counter.n, 3);
  space.relaxed(() => (counter.n += 10));
  const sums = await Promise.all(Array.from({ length: 40 }, () => remote.call('add', 1)));
  assert.equal(counter.n, 53);
  assert.equal(new Set(sums).size, 40);
  await assert.rejects(remote.call('nothing'), { name: 'GateMissing' });
  await assert.rejects(remote.call('trap'), { name: 'ProgramFault' });
  await assert.rejects(remote.call('add', 1), { name: 'CompartmentClosed' });
  await remote.close();
  await assert.rejects(remote.call('add', 1), { name: 'CompartmentClosed' });
});

test('P5: a compartment in a thread that does not end is ended by its time, or killed', async (t) => {
  const space = new Ground('linux', t).open();
  const late = programs(space).startThread(ADDER, { limits: { time: 50 } });
  await assert.rejects(late.call('spin'), { name: 'ProgramTimeout' });
  await late.close();
  const killed = programs(space).startThread(ADDER, { limits: { time: Infinity } });
  const call = assert.rejects(killed.call('spin'), { name: 'CompartmentClosed' });
  await killed.kill();
  await call;
  const refused = programs(space).startThread(space.object(space.relaxed(() => space.create(Counter))).id);
  await assert.rejects(refused.call('add', 1), { name: 'TypeMismatch' });
  await refused.close();
});

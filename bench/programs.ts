/**
 * What programs pay for being in compartments: loads from objects and from the heap, calls of gates in the same thread and across threads,
 * and starting one. Beside it the same WebAssembly without a compartment.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Region } from '../src/host/futex.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { Instance, Module } from '../src/host/wasm-memory.ts';
import { open, type Space } from '../src/index.ts';
import { createRequests, requestBytes } from '../src/lib/rings/requests.ts';
import { CALL_RECORDS, encodeValues } from '../src/services/programs-remote.ts';
import { programs } from '../src/services/programs.ts';
import { wat } from '../test/wat.ts';
import { type Benchmark, type Context, compare, nanoseconds, shuffled, timeEach } from './harness.ts';
import { PROGRAMS_CHILD } from './programs-child.ts';

const PAGE = 65536;

/** Walks a ring of 64-byte nodes, each with the place of the next; sums 32-bit words in order. The memory is whatever the module is given. */
const walker = (pages: number): string => `
  (memory (export "memory") ${pages} 16384)
  (func (export "walk") (param $at i32) (param $hops i32) (result i32)
    (loop $on
      (local.set $at (i32.load (local.get $at)))
      (br_if $on (local.tee $hops (i32.sub (local.get $hops) (i32.const 1)))))
    (local.get $at))
  (func (export "sum") (param $at i32) (param $end i32) (result i32) (local $sum i32)
    (loop $on
      (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
      (br_if $on (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (local.get $end))))
    (local.get $sum))
  (func (export "nothing") (param i32) (result i32) (local.get 0))`;

const GATES = {
  walk: { parameters: ['u32', 'u32'], result: 'u32' },
  sum: { parameters: ['u32', 'u32'], result: 'u32' },
  nothing: { parameters: ['i32'], result: 'i32' },
} as const;

/** Lays the ring out at `base` in memory whose addresses begin at `base`. */
function layOut(words: Uint32Array, first: number, base: number, nodes: number): void {
  const order = shuffled(nodes, 7);
  for (let i = 0; i < nodes; i++) words[(first >>> 2) + (order[i] ?? 0) * 16] = base + (order[(i + 1) % nodes] ?? 0) * 64;
}

function functionOf(exports: Readonly<Record<string, unknown>>, name: string): (...given: number[]) => number {
  const found = exports[name];
  if (typeof found !== 'function') throw new Error(`no ${name}`);
  return found as (...given: number[]) => number;
}

async function loads(context: Context, space: Space): Promise<void> {
  const nodes = context.size(1_000_000, 1000);
  const hops = context.size(2_000_000, 1000);
  const bytes = nodes * 64;
  const object = space.relaxed(() => space.createRaw(bytes + 4096));
  const at = space.relaxed(() => object.allocate(bytes));
  const text = `(import "twizzler" "object_map" (func $map (param i32 i32) (result i64)))
    ${walker(Math.ceil(bytes / PAGE) + 1)}
    (func (export "twz_buffer") (param i32) (result i32) (i32.const 16))
    (func (export "map") (param i32) (result i64) (call $map (local.get 0) (i32.const 1)))`;
  const program = programs(space).start(wat(`(module ${text})`, { ...GATES, map: { parameters: ['reference'], result: 'i64' } }), {
    limits: { memory: 1 << 30, time: Infinity },
  });
  const mapped = Number(program.call('map', object.id)) + at;
  space.relaxed(() =>
    layOut(new Uint32Array(object.raw(at, bytes).buffer, object.raw(at, bytes).byteOffset, bytes >>> 2), 0, mapped, nodes),
  );
  object.releaseRaw();
  object.releaseRaw();
  const plain = new Instance(new Module(wat(`(module ${walker(Math.ceil(bytes / PAGE) + 1)})`)), {}).exports;
  const { memory } = plain;
  if (!(typeof memory === 'object' && memory !== null && 'buffer' in memory && memory.buffer instanceof ArrayBuffer))
    throw new Error('no memory');
  layOut(new Uint32Array(memory.buffer), 64, 64, nodes);
  const ours = { walk: program.gate('walk'), sum: program.gate('sum') };
  const theirs = { walk: functionOf(plain, 'walk'), sum: functionOf(plain, 'sum') };
  await compare(context, 'programs', {
    name: 'a hop in a random walk',
    unit: 'ns',
    better: 'lower',
    ours: { name: `${nodes} nodes in an object, in a compartment`, measure: () => timeEach(hops, () => void ours.walk(mapped, hops)) },
    peers: [{ side: { name: 'plain WebAssembly memory', measure: () => timeEach(hops, () => void theirs.walk(64, hops)) }, target: 1.05 }],
  });
  const passes = context.size(10, 1);
  const each = (run: (from: number, to: number) => unknown, from: number): number =>
    timeEach((bytes / 4) * passes, () => {
      for (let i = 0; i < passes; i++) run(from, from + bytes);
    });
  await compare(context, 'programs', {
    name: 'a word of a sum in order',
    unit: 'ns',
    better: 'lower',
    ours: { name: 'an object, in a compartment', measure: () => each(ours.sum, mapped) },
    peers: [{ side: { name: 'plain WebAssembly memory', measure: () => each(theirs.sum, 64) }, target: 1.05 }],
  });
  program.close();
}

async function gates(context: Context, space: Space): Promise<void> {
  const count = context.size(500_000, 1000);
  const module = wat(`(module ${walker(1)})`, GATES);
  const program = programs(space).start(module);
  const gate = program.gate('nothing');
  const plain = functionOf(new Instance(new Module(wat(`(module ${walker(1)})`)), {}).exports, 'nothing');
  const calls = (call: (i: number) => unknown): number =>
    timeEach(count, () => {
      for (let i = 0; i < count; i++) call(i);
    });
  await compare(context, 'programs', {
    name: 'a call of a gate in the same thread',
    unit: 'ns',
    better: 'lower',
    ours: { name: 'of a number', measure: () => calls(gate) },
    limit: 1000,
    peers: [{ side: { name: 'a function of plain WebAssembly', measure: () => calls(plain) }, reference: true }],
  });
  program.close();

  const remote = programs(space).startThread(module);
  await remote.call('nothing', 1);
  const words = new SharedArrayBuffer(Math.ceil(requestBytes(CALL_RECORDS) / 64) * 64);
  const requests = createRequests(new Region(new LinuxHost().futex, new Uint8Array(words)), 0, CALL_RECORDS);
  const worker = new Worker(PROGRAMS_CHILD, { workerData: { words } });
  const requester = requests.requester();
  const rounds = context.size(5000, 20);
  const roundTrip = async (ask: () => Promise<unknown>): Promise<number> => {
    const start = nanoseconds();
    for (let i = 0; i < rounds; i++) await ask();
    return (nanoseconds() - start) / rounds / 1000;
  };
  const given = encodeValues(['nothing', 1]);
  await compare(context, 'programs', {
    name: 'a call of a gate in another thread, and its answer',
    unit: 'us',
    better: 'lower',
    ours: { name: 'of a number', measure: () => roundTrip(() => remote.call('nothing', 1)) },
    peers: [{ side: { name: 'the queue of requests alone', measure: () => roundTrip(() => requester.request(given)) }, target: 1.3 }],
  });
  await remote.close();
  const ended = once(worker, 'exit');
  requester.close();
  await ended;
  requester.leave();
}

async function starts(context: Context, space: Space): Promise<void> {
  const count = context.size(1000, 5);
  const all = programs(space);
  const program = all.prepare(
    wat(
      `(module (import "twizzler" "object_map" (func $map (param i32 i32) (result i64))) (import "twizzler" "transact" (func $t (param i32 i32 i32) (result i64)))
        (memory 16 64) (data (i32.const 1024) "some data that it begins with")
        (func (export "go") (result i32) (i32.load (i32.const 1024))))`,
      { go: { parameters: [], result: 'i32' } },
    ),
  );
  const module = new Module(
    wat(
      '(module (memory 16 64) (data (i32.const 1024) "some data that it begins with") (func (export "go") (result i32) (i32.load (i32.const 1024))))',
    ),
  );
  await compare(context, 'programs', {
    name: 'starting a compartment, its first call, and closing it',
    unit: 'us',
    better: 'lower',
    ours: {
      name: 'module warm',
      measure: () =>
        timeEach(count, () => {
          for (let i = 0; i < count; i++) {
            const compartment = all.start(program);
            compartment.call('go');
            compartment.close();
          }
        }) / 1000,
    },
    limit: 200,
    peers: [
      {
        side: {
          name: 'a plain instance, with no memory of its own',
          measure: () =>
            timeEach(count, () => {
              for (let i = 0; i < count; i++) functionOf(new Instance(module, {}).exports, 'go')();
            }) / 1000,
        },
        reference: true,
      },
    ],
  });
  const many = context.size(1000, 10);
  await compare(context, 'programs', {
    name: `${many} compartments alive at once: starting one, and calling all`,
    unit: 'us',
    better: 'lower',
    ours: {
      name: 'a compartment',
      measure: () => {
        const compartments = Array.from({ length: many }, () => undefined).map(() => all.start(program));
        const took =
          timeEach(many, () => {
            for (const each of compartments) each.call('go');
          }) / 1000;
        for (const each of compartments) each.close();
        return took;
      },
    },
    peers: [],
    limit: 200,
  });
}

async function run(context: Context): Promise<void> {
  const space = open(`${context.directory}/space`);
  try {
    await loads(context, space);
    await gates(context, space);
    await starts(context, space);
  } finally {
    space.close();
  }
}

export const programsBenchmark: Benchmark = { name: 'programs', about: 'compartments: loads, gates, starting one', run };

/**
 * Syscalls from inside a program, with arguments at random and at the limits of what is allowed: the host must not fail, and the program
 * must gain no right.
 *
 *   npm run fuzz:programs -- --seconds 600 --seed 1
 *
 * The program has one function for each syscall, and the host calls those at random, in and outside transactions. It may read one object,
 * write another and has no right to a third. After every round: what it may not write is as it was, each mapping has no more rights than
 * are given, and a program beside it works.
 */
import { isTwzError } from '../abi/errors.ts';
import { RIGHT } from '../abi/format.ts';
import { MANIFEST_SECTION, SYSCALLS, SYSCALL_ABI, SYSCALL_MODULE, type GateDeclaration, type Syscall } from '../abi/syscalls.ts';
import { writeId, type ObjectId } from '../abi/id.ts';
import { hashMap, open, struct, text, u32, type Space } from '../index.ts';
import type { Handle } from '../kernel/object.ts';
import { Writer } from '../runtime/module/bytes.ts';
import { OBJECTS_FROM, SHARED_FROM, STOP_PAGE } from '../runtime/layout.ts';
import { withSection } from '../runtime/module/manifest.ts';
import type { Compartment } from '../runtime/compartment.ts';
import { ProgramExit } from '../runtime/exit.ts';
import type { Authority } from '../runtime/view.ts';
import { programs } from '../services/programs.ts';

const I32 = 0x7f;
const I64 = 0x7e;
const HEAP_PAGES = 4;
const WASM_PAGE = 65536;
/** Where IDs lie in its heap, and texts. */
const IDS_AT = 1024;
const TEXTS_AT = 2048;
const TEXTS = [
  '/object',
  '/',
  '/a/b/c',
  'key',
  'neighbour',
  'poke',
  '\0',
  '/object/',
  '..',
  'HashMap<text,u32>',
  'HashMap<u32,Victim>',
  'Vec<u32>',
  'x'.repeat(300),
];

function widths({ parameters }: Syscall): number[] {
  return parameters.flatMap(([, type]) =>
    type === 'i64' ? [I64] : type === 'bytes' || type === 'text' || type === 'buffer' ? [I32, I32] : [I32],
  );
}

const CALLS: readonly Syscall[] = SYSCALLS.filter(({ name }) => name !== 'exit');

/** A module with a function for each syscall, one that stores a word, and one in its table that does so in transactions. */
function fuzzedModule(): Uint8Array {
  const section = (id: number, entries: readonly Uint8Array[]): Uint8Array => {
    const inside = new Writer().u32(entries.length);
    for (const entry of entries) inside.raw(entry);
    return new Writer().u8(id).counted(inside.bytes).bytes.slice();
  };
  const own = CALLS.length;
  const types = CALLS.map((call) => new Writer().u8(0x60).counted(widths(call)).counted([I64]).bytes.slice());
  types.push(new Writer().u8(0x60).counted([I32, I32]).counted([]).bytes.slice());
  types.push(new Writer().u8(0x60).counted([I32]).counted([I32]).bytes.slice());
  const imports = CALLS.map(({ name }, i) => new Writer().text(SYSCALL_MODULE).text(name).u8(0).u32(i).bytes.slice());
  const functions = [...CALLS.map((_, i) => i), own, own + 1, own + 1].map((type) => new Writer().u32(type).bytes.slice());
  const memory = new Writer().u8(1).u32(HEAP_PAGES).u32(HEAP_PAGES).bytes.slice();
  const table = new Writer().u8(0x70).u8(1).u32(2).u32(2).bytes.slice();
  const names = [...CALLS.map(({ name }) => name), 'poke', 'store', 'twz_buffer'];
  const exports = names.map((name, i) =>
    new Writer()
      .text(name)
      .u8(0)
      .u32(own + i)
      .bytes.slice(),
  );
  const elements = new Writer().u32(0).u8(0x41).u8(0).u8(0x0b).counted([]).bytes.slice(0, 4);
  const element = new Writer()
    .raw(elements)
    .u32(1)
    .u32(own + own + 1)
    .bytes.slice();
  const bodies = CALLS.map((call, i) => {
    const code = new Writer().u8(0);
    for (const [at] of widths(call).entries()) code.u8(0x20).u32(at);
    return code.u8(0x10).u32(i).u8(0x0b).bytes.slice();
  });
  // poke(address, value); store(address): stores 1 there; twz_buffer: a place in the heap.
  bodies.push(Uint8Array.of(0, 0x20, 0, 0x20, 1, 0x36, 2, 0, 0x0b));
  bodies.push(Uint8Array.of(0, 0x20, 0, 0x41, 1, 0x36, 2, 0, 0x41, 0, 0x0b));
  bodies.push(new Writer().u8(0).u8(0x41).raw([0x80, 0x80, 0x04]).u8(0x0b).bytes.slice());
  const out = new Writer().raw([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  out
    .raw(section(1, types))
    .raw(section(2, imports))
    .raw(section(3, functions))
    .raw(section(4, [table]))
    .raw(section(5, [memory]));
  out
    .raw(section(7, exports))
    .raw(section(9, [element]))
    .raw(
      section(
        10,
        bodies.map((body) => new Writer().counted(body).bytes.slice()),
      ),
    );
  const gates: Record<string, GateDeclaration> = { poke: { parameters: ['u32', 'u32'] } };
  for (const call of CALLS) gates[call.name] = { parameters: widths(call).map((type) => (type === I64 ? 'i64' : 'u32')), result: 'i64' };
  return withSection(out.bytes, MANIFEST_SECTION, new TextEncoder().encode(JSON.stringify({ abi: SYSCALL_ABI, gates })));
}

export interface GuestFuzzOptions {
  readonly directory: string;
  readonly seed: number;
  /** Ends the run. */
  readonly goesOn: (calls: number) => boolean;
}

export interface GuestFuzzReport {
  readonly calls: number;
  readonly compartments: number;
  /** Calls that gave an error, and those that did what was asked. */
  readonly refused: number;
  readonly done: number;
  readonly faults: Readonly<Record<string, number>>;
}

const Victim = struct('Victim', { n: u32, name: text });
const CALLS_A_COMPARTMENT = 400;

/** Throws where something is not as it must be; the seed says what it was. */
export function fuzzGuest({ directory, seed, goesOn }: GuestFuzzOptions): GuestFuzzReport {
  let state = seed >>> 0 || 1;
  const random = (below: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  const pick = <T>(from: readonly T[]): T => from[random(from.length)] as T;

  const space = open(directory);
  const ids = populate(space);
  const { readable, writable, forbidden } = ids;
  const authority: Authority = {
    epoch: 0,
    rightsTo: (h: Handle) =>
      h.id === readable ? RIGHT.read : h.id === forbidden ? 0 : h.id === writable ? RIGHT.read | RIGHT.write : h.rights,
  };
  const all = programs(space);
  const module = fuzzedModule();
  const neighbour = all.start(module, { name: 'neighbour', authority });
  const faults: Record<string, number> = {};
  let calls = 0;
  let compartments = 0;
  let refused = 0;
  let done = 0;
  const before = [space.object(readable).image(), space.object(forbidden).image()];

  while (goesOn(calls)) {
    const started = start();
    compartments++;
    for (let i = 0; i < CALLS_A_COMPARTMENT && !started.closed && goesOn(calls); i++) one(started);
    judge(started);
    if (!started.closed) started.close();
  }
  neighbour.close();
  space.close();
  return { calls, compartments, refused, done, faults };

  function start(): Compartment {
    const compartment = all.start(module, {
      authority,
      arguments: ['one', 'two'],
      limits: { memory: HEAP_PAGES * WASM_PAGE, time: 2000, objects: 32 },
      input: (max) => new Uint8Array(Math.min(max, 10)),
    });
    for (const [i, id] of Object.values(ids).entries()) writeId(compartment.view.bytes(IDS_AT + i * 16, 16, 'write'), 0, id);
    let at = TEXTS_AT;
    for (const each of TEXTS) {
      const bytes = new TextEncoder().encode(each);
      compartment.view.bytes(at, bytes.length, 'write').set(bytes);
      at += 512;
    }
    return compartment;
  }

  function address(compartment: Compartment): number {
    const { mappings } = compartment.view;
    const mapping = mappings.length > 0 ? pick(mappings) : undefined;
    switch (random(12)) {
      case 0:
        return random(2 ** 32);
      case 1:
        return pick([0, 1, 8, -1 >>> 0, -8 >>> 0, 2 ** 31, 4095, 4096]);
      case 2:
        return HEAP_PAGES * WASM_PAGE - random(32);
      case 3:
        return pick([OBJECTS_FROM, SHARED_FROM, STOP_PAGE]) + random(64) - 16;
      case 4:
      case 5:
        return IDS_AT + 16 * random(Object.keys(ids).length);
      case 6:
        return TEXTS_AT + 512 * random(TEXTS.length);
      case 7:
      case 8:
        return mapping === undefined
          ? 0
          : mapping.at + pick([0, 4096, 4096 + random(4096), mapping.size, mapping.capacity, mapping.h.dv.getUint32(80, true)]);
      default:
        return random(HEAP_PAGES * WASM_PAGE);
    }
  }

  function value(compartment: Compartment, type: number): number | bigint {
    if (type === I64)
      return pick([
        0n,
        1n,
        -1n,
        2n ** 62n,
        -(2n ** 63n),
        4096n,
        BigInt(random(2 ** 32)),
        (BigInt(random(64)) << 40n) | BigInt(random(20000)),
      ]);
    return pick([
      () => address(compartment),
      () => address(compartment),
      () => random(8),
      () => random(64),
      () => pick([0, -1 >>> 0, 2 ** 31, 65536]),
    ])();
  }

  /** One call; never of a kind that would sleep for long. */
  function one(compartment: Compartment): void {
    calls++;
    const call = random(20) === 0 ? undefined : pick(CALLS);
    const given = call === undefined ? [address(compartment), random(2 ** 32)] : widths(call).map((type) => value(compartment, type));
    if (call?.name === 'thread_sync') given[2] = BigInt(random(1000));
    const run = (): unknown => compartment.call(call?.name ?? 'poke', ...given);
    try {
      const result = random(3) === 0 ? space.relaxed(run) : run();
      if (typeof result === 'bigint' && result < 0n) refused++;
      else done++;
    } catch (error) {
      if (!isTwzError(error) && !(error instanceof ProgramExit)) throw error;
      faults[error.name] = (faults[error.name] ?? 0) + 1;
    }
  }

  function judge(compartment: Compartment): void {
    for (const { h, rights, kind } of compartment.view.mappings) {
      const given = authority.rightsTo(h, RIGHT.read | RIGHT.write);
      if (h.state === 'live' && (rights & ~given) !== 0)
        throw new Error(`object ${h.id} is mapped with rights ${rights}; ${given} are given`);
      if (h.id === forbidden && kind !== 'nothing') throw new Error('an object is mapped that may not be read');
    }
    for (const [i, id] of [readable, forbidden].entries()) {
      const now = space.object(id).image();
      const was = before[i] as Uint8Array;
      if (now.length !== was.length || now.some((byte, at) => byte !== was[at]))
        throw new Error(`object ${id} was changed by a program without the right to`);
    }
    if (neighbour.closed || neighbour.call('arguments') !== 0n) throw new Error('the program beside it does not work any more');
  }
}

interface Populated {
  readonly readable: ObjectId;
  readonly writable: ObjectId;
  readonly forbidden: ObjectId;
  readonly shared: ObjectId;
  readonly sealed: ObjectId;
  readonly map: ObjectId;
  readonly missing: ObjectId;
}

function populate(space: Space): Populated {
  return space.relaxed(() => {
    const victim = (name: string): ObjectId => space.object(space.create(Victim, { n: 1, name })).id;
    const sealed = space.create(Victim, { n: 2, name: 'sealed' });
    const map = space.create(hashMap(u32, Victim));
    for (let i = 0; i < 100; i++) map.set(i, { n: i, name: `value ${i}` });
    const gone = space.create(Victim);
    const missing = space.object(gone).id;
    const made = {
      readable: victim('readable'),
      writable: victim('writable'),
      forbidden: victim('forbidden'),
      shared: space.createRaw(4096, { kind: 'shared' }).id,
      sealed: space.seal(sealed),
      map: space.object(map).id,
      missing,
    };
    space.delete(gone);
    space.names.set('/object', made.writable);
    return made;
  });
}

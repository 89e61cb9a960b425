/** P1, P2, P4, P5, P6: programs in compartments, judged from outside. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { RIGHT } from '../src/abi/format.ts';
import { orderedMap, struct, text, u32, type Infer, type ObjectId, type Space } from '../src/index.ts';
import type { Handle } from '../src/kernel/object.ts';
import type { Authority } from '../src/runtime/view.ts';
import { programs, type Compartment, type StartOptions } from '../src/services/programs.ts';
import { Ground, fails } from './hosts.ts';
import { wat } from './wat.ts';

const Counter = struct('Counter', { n: u32, m: u32 });
type Counter = Infer<typeof Counter>;

/** Imports, memory and a table of one function that most programs here have. */
const IMPORTS = `
  (import "twizzler" "object_map" (func $map (param i32 i32) (result i64)))
  (import "twizzler" "object_unmap" (func $unmap (param i32) (result i64)))
  (import "twizzler" "object_root" (func $root (param i32) (result i64)))
  (import "twizzler" "transact" (func $transact (param i32 i32 i32) (result i64)))`;
const BODY = `
  (memory 1 64)
  (global $buffer (mut i32) (i32.const 4096))
  (func (export "twz_buffer") (param i32) (result i32) (global.get $buffer))`;
const HEAD = IMPORTS + BODY;

/** A program that maps an object and loads and stores its root. */
const COUNTER = wat(
  `(module ${HEAD}
    (table 1 funcref) (elem (i32.const 0) $add)
    (global $at (mut i32) (i32.const 0))
    (func (export "map") (param $id i32) (param $rights i32) (result i64) (local $at i64)
      (local.set $at (call $map (local.get $id) (local.get $rights)))
      (if (i64.gt_s (local.get $at) (i64.const 0)) (then (global.set $at (i32.add (i32.wrap_i64 (local.get $at)) (i32.const 4096)))))
      (local.get $at))
    (func (export "root") (param $at i32) (result i64) (local $root i64)
      (local.set $root (call $root (local.get $at)))
      (if (i64.gt_s (local.get $root) (i64.const 0)) (then (global.set $at (i32.wrap_i64 (local.get $root)))))
      (local.get $root))
    (func (export "unmap") (param i32) (result i64) (call $unmap (local.get 0)))
    (func (export "load") (result i32) (i32.load (global.get $at)))
    (func (export "store") (param i32) (i32.store (global.get $at) (local.get 0)))
    (func $add (param i32) (result i32)
      (i32.store (global.get $at) (i32.add (i32.load (global.get $at)) (local.get 0)))
      (if (i32.eq (local.get 0) (i32.const 13)) (then (return (i32.const -1))))
      (if (i32.eq (local.get 0) (i32.const 666)) (then (unreachable)))
      (i32.load (global.get $at)))
    (func (export "add") (param i32) (result i64) (call $transact (i32.const 0) (local.get 0) (i32.const 0)))
    (func (export "hidden") (result i32) (i32.const 1)))`,
  {
    map: { parameters: ['reference', 'i32'], result: 'i64' },
    root: { parameters: ['u32'], result: 'i64' },
    unmap: { parameters: ['u32'], result: 'i64' },
    load: { parameters: [], result: 'i32' },
    store: { parameters: ['i32'] },
    add: { parameters: ['i32'], result: 'i64' },
  },
);

/** Rights by object; those that it does not name have none. */
class Rights implements Authority {
  epoch = 0;
  readonly #rights = new Map<ObjectId, number>();

  set(id: ObjectId, rights: number): this {
    this.#rights.set(id, rights);
    this.epoch++;
    return this;
  }

  rightsTo(h: Handle): number {
    return this.#rights.get(h.id) ?? 0;
  }
}

interface Scene {
  readonly space: Space;
  readonly counter: Counter;
  readonly id: ObjectId;
  start(options?: StartOptions): Compartment;
}

function scene(t: TestContext): Scene {
  const ground = new Ground('linux', t);
  const space = ground.open();
  const counter = space.relaxed(() => space.create(Counter, { n: 5 }));
  return {
    space,
    counter,
    id: space.object(counter).id,
    start: (options) => {
      const compartment = programs(space).start(COUNTER, options);
      t.after(() => compartment.close());
      return compartment;
    },
  };
}

/** Maps the object, and makes its root what `load`, `store` and `add` are about. */
function open(compartment: Compartment, id: ObjectId, rights: number): void {
  const at = compartment.call('map', id, rights);
  assert(typeof at === 'bigint' && at > 0n, `mapped at ${String(at)}`);
  compartment.call('root', Number(at));
}

test('P1: a program loads what the host stored, and what it stores in a transaction is stored', (t) => {
  const { space, counter, id, start } = scene(t);
  const program = start();
  open(program, id, RIGHT.read | RIGHT.write);
  assert.equal(program.call('load'), 5);
  assert.equal(program.call('add', 7), 12n);
  assert.equal(counter.n, 12);
  space.relaxed(() => (counter.n = 100));
  assert.equal(program.call('load'), 100);
});

test('P1: a store to an object that may only be read traps at the store, and nothing is changed; a load of one that may not be read traps', (t) => {
  const { space, counter, id, start } = scene(t);
  for (const [rights, gate, given] of [
    [RIGHT.read, 'store', [1]],
    [0, 'load', []],
  ] as const) {
    const program = start({ authority: new Rights().set(id, rights) });
    // Beside it one that may: the same code, the same object.
    const trusted = start({ authority: new Rights().set(id, RIGHT.read | RIGHT.write) });
    open(trusted, id, RIGHT.read | RIGHT.write);
    const at = program.call('map', id, RIGHT.read | RIGHT.write);
    assert(typeof at === 'bigint' && at > 0n);
    space.relaxed(() => {
      if (gate === 'store') trusted.call('store', 8);
      else assert.equal(trusted.call('load'), counter.n);
    });
    const before = counter.n;
    fails('ProgramFault', () => space.relaxed(() => program.call(gate, ...given)));
    assert.equal(counter.n, before);
    assert.equal(program.closed, true);
    fails('CompartmentClosed', () => program.call('load'));
  }
});

test('P1: a store outside a transaction traps, and the metadata page cannot be stored to at all', (t) => {
  const { space, counter, id, start } = scene(t);
  const one = start();
  open(one, id, RIGHT.read | RIGHT.write);
  fails('ProgramFault', () => one.call('store', 1));
  const other = start();
  open(other, id, RIGHT.read | RIGHT.write);
  // `map` leaves the place one page behind the beginning; one page before the root of a small object lies its header.
  const header = programs(space).start(
    wat(
      `(module ${HEAD} (func (export "go") (param $id i32) (i32.store (i32.wrap_i64 (call $map (local.get $id) (i32.const 3))) (i32.const 1))))`,
      { go: { parameters: ['reference'] } },
    ),
  );
  fails('ProgramFault', () => space.relaxed(() => header.call('go', id)));
  assert.equal(counter.n, 5);
});

test('P1: rights that are taken away are gone at the next entry, and come back', (t) => {
  const { space, id, counter, start } = scene(t);
  const rights = new Rights().set(id, RIGHT.read | RIGHT.write);
  const program = start({ authority: rights });
  open(program, id, RIGHT.read | RIGHT.write);
  assert.equal(program.call('add', 1), 6n);
  rights.set(id, RIGHT.read);
  assert.equal(program.call('load'), 6);
  rights.set(id, RIGHT.read | RIGHT.write);
  assert.equal(program.call('add', 1), 7n);
  rights.set(id, 0);
  fails('ProgramFault', () => program.call('load'));
  space.relaxed(() => (counter.n = 1));
});

test('P2: an object that may only be read can be opened for writing too; reading works, the write is what fails', (t) => {
  const { id, counter, start } = scene(t);
  const program = start({ authority: new Rights().set(id, RIGHT.read) });
  open(program, id, RIGHT.read | RIGHT.write);
  assert.equal(program.call('load'), 5);
  fails('ProgramFault', () => program.call('add', 1));
  assert.equal(counter.n, 5);
});

test('T8 in programs: a transaction that its function gives up, or that traps, changes nothing', (t) => {
  const { id, counter, start } = scene(t);
  const program = start();
  open(program, id, RIGHT.read | RIGHT.write);
  assert.equal(program.call('add', 13), -1n);
  assert.equal(counter.n, 5);
  assert.equal(program.call('load'), 5);
  assert.equal(program.call('add', 2), 7n);
  fails('ProgramFault', () => program.call('add', 666));
  assert.equal(counter.n, 7);
});

test('T8 in programs: called inside a transaction of the host, a program is part of it, both ways', (t) => {
  const { space, id, counter, start } = scene(t);
  const program = start();
  open(program, id, RIGHT.read | RIGHT.write);
  space.relaxed(() => {
    counter.n = 200;
    assert.equal(program.call('load'), 200);
    program.call('store', 203);
    assert.equal(counter.n, 203);
  });
  assert.equal(counter.n, 203);
  assert.throws(
    () =>
      space.relaxed(() => {
        program.call('store', 300);
        assert.equal(counter.n, 300);
        throw new Error('no');
      }),
    /no/,
  );
  assert.equal(counter.n, 203);
  assert.equal(program.call('load'), 203);
});

test('T8 in programs: what the host stores beside a program in one transaction, in the same page, stays', (t) => {
  const { space, id, counter, start } = scene(t);
  const program = start();
  open(program, id, RIGHT.read | RIGHT.write);
  space.relaxed(() => {
    program.call('store', 1);
    counter.m = 2;
    program.call('store', 3);
    counter.m = 4;
  });
  assert.deepEqual([counter.n, counter.m], [3, 4]);
});

test('T8 in programs: what a program committed is there after a death, and what it had not committed is not', (t) => {
  const ground = new Ground('linux', t);
  const space = ground.open();
  const counter = space.relaxed(() => {
    const made = space.create(Counter, { n: 5 });
    space.names.set('/counter', made);
    return made;
  });
  const program = programs(space).start(COUNTER);
  open(program, space.object(counter).id, RIGHT.read | RIGHT.write);
  program.call('add', 1);
  assert.throws(() =>
    space.relaxed(() => {
      program.call('store', 99);
      throw new Error('died here');
    }),
  );
  const again = ground.afterDeath(space);
  assert.equal(again.names.get('/counter', Counter).n, 6);
});

test('T8 in programs: large objects, with stores all over, against a model (seeded)', (t) => {
  const ground = new Ground('linux', t);
  const space = ground.open({ checkpointBytes: 1 << 20 });
  const seed = Number(process.env['SEED'] ?? 20261121);
  t.diagnostic(`SEED=${seed}`);
  let state = seed >>> 0;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const words = 1 << 16;
  const id = space.relaxed(() => {
    const object = space.createRaw(words * 4);
    return object.id;
  });
  const base = space.object(id);
  const from = space.relaxed(() => base.allocate(words * 4));
  const program = programs(space).start(
    wat(
      `(module ${HEAD} (global $at (mut i32) (i32.const 0))
        (func (export "map") (param $id i32) (global.set $at (i32.wrap_i64 (call $map (local.get $id) (i32.const 3)))))
        (func (export "put") (param $at i32) (param $value i32) (i32.store (i32.add (global.get $at) (local.get $at)) (local.get $value)))
        (func (export "get") (param $at i32) (result i32) (i32.load (i32.add (global.get $at) (local.get $at))))
        (func (export "fill") (param $at i32) (param $value i32) (param $length i32)
          (memory.fill (i32.add (global.get $at) (local.get $at)) (local.get $value) (local.get $length))))`,
      {
        map: { parameters: ['reference'] },
        put: { parameters: ['u32', 'u32'] },
        get: { parameters: ['u32'], result: 'u32' },
        fill: { parameters: ['u32', 'u32', 'u32'] },
      },
    ),
  );
  program.call('map', id);
  const model = new Uint32Array(words);
  for (let round = 0; round < 40; round++) {
    const before = model.slice();
    const aborted = random(4) === 0;
    try {
      space.relaxed(() => {
        for (let i = random(30); i >= 0; i--) {
          const word = random(words);
          const value = random(2 ** 32);
          if (random(5) === 0) {
            const length = Math.min(words - word, random(3000));
            program.call('fill', from + word * 4, value & 255, length * 4);
            model.fill(Math.imul(value & 255, 0x01010101) >>> 0, word, word + length);
          } else {
            program.call('put', from + word * 4, value);
            model[word] = value;
          }
        }
        if (aborted) throw new Error('enough');
      });
    } catch (error) {
      if (!aborted) throw error;
      model.set(before);
    }
    if (random(8) === 0) space.checkpoint();
    for (let i = 0; i < 50; i++) {
      const word = random(words);
      assert.equal(program.call('get', from + word * 4), model[word], `round ${round}, word ${word}`);
    }
  }
  program.close();
  const again = ground.afterDeath(space);
  assert.deepEqual(
    new Uint32Array(
      again
        .object(id)
        .image()
        .slice(from, from + words * 4).buffer,
    ),
    model,
  );
});

test('P4: only what a program declares can be called, with what it declares', (t) => {
  const { id, start } = scene(t);
  const program = start();
  fails('GateMissing', () => program.call('hidden'));
  fails('GateMissing', () => program.call('twz_buffer', 1));
  fails('GateMissing', () => program.call('twz:limit'));
  fails('GateRefused', () => program.call('load', 1));
  fails('GateRefused', () => program.call('add', 'one'));
  fails('GateRefused', () => program.call('map', 'not an ID', 1));
  assert.equal(typeof program.call('map', id, 1), 'bigint');
});

/** A program that calls gates of another. */
const CALLER = wat(
  `(module ${IMPORTS}
    (import "twizzler" "gate_find" (func $find (param i32 i32 i32 i32) (result i64)))
    (import "twizzler" "gate_call" (func $call (param i32 i32 i32 i32) (result i64)))
    ${BODY}
    (data (i32.const 64) "keeper") (data (i32.const 80) "write") (data (i32.const 96) "pass") (data (i32.const 112) "echo")
    (func $gate (param $name i32) (param $length i32) (result i32)
      (i32.wrap_i64 (call $find (i32.const 64) (i32.const 6) (local.get $name) (local.get $length))))
    (func $with (param $name i32) (param $length i32) (param $id i32) (result i64)
      (i32.store (i32.const 256) (local.get $id))
      (call $call (call $gate (local.get $name) (local.get $length)) (i32.const 256) (i32.const 1) (i32.const 512)))
    (func (export "write") (param $id i32) (result i64) (call $with (i32.const 80) (i32.const 5) (local.get $id)))
    (func (export "pass") (param $id i32) (result i64) (call $with (i32.const 96) (i32.const 4) (local.get $id)))
    (func (export "got") (result i32) (i32.load (i32.const 512)))
    (func (export "echo") (param $at i32) (param $length i32) (result i64)
      (i32.store (i32.const 256) (local.get $at)) (i32.store (i32.const 260) (local.get $length))
      (call $call (call $gate (i32.const 112) (i32.const 4)) (i32.const 256) (i32.const 1) (i32.const 512)))
    (func (export "echoed") (result i32) (i32.load8_u (i32.load (i32.const 512)))))`,
  {
    write: { parameters: ['reference'], result: 'i64' },
    pass: { parameters: ['reference'], result: 'i64' },
    got: { parameters: [], result: 'i32' },
    echo: { parameters: ['text'], result: 'i64' },
    echoed: { parameters: [], result: 'i32' },
  },
);

/** A program that has rights of its own, and changes objects for those who have them too. */
const KEEPER = wat(
  `(module
    (import "twizzler" "gate_result" (func $result (param i32 i32) (result i64)))
    ${HEAD}
    (table 1 funcref) (elem (i32.const 0) $set)
    (func $set (param $at i32) (result i32) (i32.store (local.get $at) (i32.const 77)) (i32.const 0))
    (func (export "write") (param $id i32) (result i32)
      (i32.wrap_i64 (call $transact (i32.const 0) (i32.wrap_i64 (call $root (i32.wrap_i64 (call $map (local.get $id) (i32.const 3))))) (i32.const 0))))
    (func (export "pass") (param $id i32) (result i32)
      (i32.load (i32.add (i32.wrap_i64 (call $map (local.get $id) (i32.const 1))) (i32.const 4096))))
    (func (export "echo") (param $at i32) (param $length i32) (result i32) (drop (call $result (local.get $at) (local.get $length))) (i32.const 0)))`,
  {
    write: { parameters: ['writable'], result: 'i32' },
    pass: { parameters: ['reference'], result: 'i32' },
    echo: { parameters: ['text'], result: 'text' },
  },
);

test('P4: a gate that writes for its callers asks for their rights: a deputy cannot be confused', (t) => {
  const { space, counter, id } = scene(t);
  const all = new Rights().set(id, RIGHT.read | RIGHT.write);
  programs(space).start(KEEPER, { name: 'keeper', authority: all });
  const rights = new Rights().set(id, RIGHT.read);
  const caller = programs(space).start(CALLER, { authority: rights });
  assert.equal(caller.call('write', id), -1507n);
  assert.equal(counter.n, 5);
  rights.set(id, RIGHT.read | RIGHT.write);
  assert.equal(caller.call('write', id), 0n);
  assert.equal(counter.n, 77);
});

test('P6: a program hands on a reference to what it cannot read itself, to one that can', (t) => {
  const { space, id } = scene(t);
  programs(space).start(KEEPER, { name: 'keeper', authority: new Rights().set(id, RIGHT.read) });
  const caller = programs(space).start(CALLER, { authority: new Rights() });
  assert.equal(caller.call('pass', id), 0n);
  assert.equal(caller.call('got'), 5);
  // And one that neither can read stays unread.
  const other = space.relaxed(() => space.object(space.create(Counter, { n: 1 })).id);
  assert.equal(caller.call('pass', other), -1510n);
  assert.equal(caller.closed, false);
  // The keeper is gone, and its gate with it.
  assert.equal(caller.call('pass', id), -1505n);
});

test('P4: text crosses gates by copy, to what the callee gave for it', (t) => {
  const { space } = scene(t);
  const keeper = programs(space).start(KEEPER, { name: 'keeper' });
  assert.equal(keeper.call('echo', 'grüße'), 'grüße');
  const caller = programs(space).start(CALLER);
  assert.equal(caller.call('echo', 'xyz'), 0n);
  assert.equal(caller.call('echoed'), 'x'.charCodeAt(0));
});

test('P1: programs are kept as immutable objects, found by name, and named by their content', (t) => {
  const ground = new Ground('linux', t);
  const space = ground.open();
  const id = programs(space).install(COUNTER, '/bin/counter');
  assert.equal(programs(space).install(COUNTER, '/bin/counter'), id);
  assert.equal(space.object(id).kind, 'immutable');
  const again = ground.afterDeath(space);
  const counter = again.relaxed(() => again.create(Counter, { n: 41 }));
  const program = programs(again).start('/bin/counter');
  open(program, again.object(counter).id, 3);
  assert.equal(program.call('add', 1), 42n);
  fails('TypeMismatch', () => programs(again).start(again.object(counter).id));
});

test('P1: what is mapped follows objects that grow, and goes with objects that are deleted', (t) => {
  const { space } = scene(t);
  const Map = orderedMap(text, u32);
  const map = space.relaxed(() => space.create(Map));
  const id = space.object(map).id;
  const program = programs(space).start(COUNTER);
  open(program, id, RIGHT.read);
  space.relaxed(() => {
    for (let i = 0; i < 2000; i++) map.set(`key ${i}`, i);
  });
  assert.equal(typeof program.call('load'), 'number');
  space.relaxed(() => {
    map.set('one more', 1);
    assert.equal(typeof program.call('load'), 'number');
    space.delete(map);
  });
  fails('ProgramFault', () => program.call('load'));
});

test('P1: what the host made larger between two calls can be stored to in a transaction, all of it, and outside one none of it', (t) => {
  const { space, id, counter, start } = scene(t);
  const program = start();
  const grow = (bytes = 5000): void => void space.relaxed(() => space.object(id).handle.allocate(bytes));
  // From here on it grows where it is.
  grow(70_000);
  open(program, id, RIGHT.read | RIGHT.write);
  grow();
  space.relaxed(() => program.call('store', 7));
  assert.equal(counter.n, 7);
  space.relaxed(() => {
    program.call('store', 8);
    grow();
    program.call('store', 9);
  });
  assert.equal(counter.n, 9);
  grow();
  fails('ProgramFault', () => program.call('store', 10));
  assert.equal(counter.n, 9);
});

test('P1: a deletion that is undone leaves what was mapped as it was', (t) => {
  const { space, id, counter, start } = scene(t);
  const program = start();
  open(program, id, RIGHT.read);
  assert.throws(
    () =>
      space.relaxed(() => {
        space.delete(counter);
        throw new Error('not after all');
      }),
    /not after all/,
  );
  assert.equal(program.call('load'), 5);
});

test('P1: objects that were evicted meanwhile are there again when the program runs', (t) => {
  const ground = new Ground('linux', t);
  const space = ground.open({ mappedMax: 4 << 20 });
  const counter = space.relaxed(() => space.create(Counter, { n: 5 }));
  const id = space.object(counter).id;
  const program = programs(space).start(COUNTER);
  open(program, id, RIGHT.read | RIGHT.write);
  for (let i = 0; i < 8; i++) {
    space.relaxed(() => space.createRaw(1 << 20));
    space.checkpoint();
  }
  assert.equal(program.call('add', 1), 6n);
  assert.equal(space.object(id).root(Counter).n, 6);
});

test('P1: a thousand compartments live beside each other, and closing gives all back', (t) => {
  const { space, id, counter, start } = scene(t);
  const all = Array.from({ length: 1000 }, () => start());
  for (const each of all) open(each, id, RIGHT.read);
  space.relaxed(() => (counter.n = 9));
  for (const each of all) assert.equal(each.call('load'), 9);
  for (const each of all) each.close();
  for (const each of all) assert.equal(each.view.mappings.length, 0);
});

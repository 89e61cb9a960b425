/** P1, P2, P3: programs in compartments by what their contexts hold: capabilities, masks, revocations. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RIGHT } from '../src/abi/format.ts';
import { ProgramCode, programs, type Compartment } from '../src/services/programs.ts';
import { ERRORS, type ObjectId } from '../src/index.ts';
import { Ground, fails } from './hosts.ts';
import { Secret, worldOf } from './security-world.ts';
import { wat } from './wat.ts';

const { read, write } = RIGHT;

/** Maps an object, and adds to the first word of its root. */
const ADDER = wat(
  `(module
    (import "twizzler" "object_map" (func $map (param i32 i32) (result i64)))
    (import "twizzler" "object_root" (func $root (param i32) (result i64)))
    (import "twizzler" "transact" (func $transact (param i32 i32 i32) (result i64)))
    (memory 1 64)
    (global $buffer (mut i32) (i32.const 4096))
    (func (export "twz_buffer") (param i32) (result i32) (global.get $buffer))
    (table 1 funcref) (elem (i32.const 0) $add)
    (global $at (mut i32) (i32.const 0))
    (func (export "map") (param $id i32) (param $rights i32) (result i64) (local $at i64) (local $root i64)
      (local.set $at (call $map (local.get $id) (local.get $rights)))
      (if (i64.gt_s (local.get $at) (i64.const 0)) (then
        (global.set $at (i32.add (i32.wrap_i64 (local.get $at)) (i32.const 4096)))
        (local.set $root (call $root (i32.wrap_i64 (local.get $at))))
        (if (i64.gt_s (local.get $root) (i64.const 0)) (then (global.set $at (i32.wrap_i64 (local.get $root)))))))
      (local.get $at))
    (func (export "load") (result i32) (i32.load (global.get $at)))
    (func $add (param i32) (result i32)
      (i32.store (global.get $at) (i32.add (i32.load (global.get $at)) (local.get 0)))
      (i32.load (global.get $at)))
    (func (export "add") (param i32) (result i64) (call $transact (i32.const 0) (local.get 0) (i32.const 0))))`,
  {
    map: { parameters: ['reference', 'i32'], result: 'i64' },
    load: { parameters: [], result: 'i32' },
    add: { parameters: ['i32'], result: 'i64' },
  },
);

function mapped(compartment: Compartment, id: ObjectId, rights: number): boolean {
  const at = compartment.call('map', id, rights);
  assert.ok(typeof at === 'bigint');
  return at > 0n;
}

test('P3: a program stores to a sealed object by the capability of its context, and no longer once that is revoked', (t) => {
  const ground = new Ground('linux', t);
  const { space, issuer, secret, alice, bob, carol } = worldOf(ground.open());
  const { security } = space;
  const start = (...contexts: ObjectId[]): Compartment => {
    const compartment = programs(space).start(ADDER, { authority: security.authority(contexts) });
    t.after(() => compartment.close());
    return compartment;
  };
  const both = security.grant({ target: secret, to: alice.context, rights: read | write, by: issuer, delegable: true });
  security.delegate(both, { to: bob.context, rights: read, by: alice.key });
  const hers = start(alice.context);
  const his = start(bob.context);
  const nobodys = start(carol.context);
  assert.ok(mapped(hers, secret, read | write));
  assert.ok(mapped(his, secret, read));
  assert.equal(hers.call('add', 5), 12n);
  assert.equal(his.call('load'), 12);
  // Late: it was mapped for what it has not, and the load is refused.
  if (mapped(nobodys, secret, read)) fails('ProgramFault', () => nobodys.call('load'));
  // The host itself has no context, and no right.
  fails('ObjectForbidden', () => space.get(secret, Secret));
  // By reading alone nothing is stored: the program ends there.
  assert.ok(mapped(his, secret, read | write));
  fails('ProgramFault', () => his.call('add', 1));
  const again = start(bob.context);
  assert.ok(mapped(again, secret, read));
  assert.equal(again.call('load'), 12);
  security.revoke(both, issuer);
  fails('ProgramFault', () => again.call('load'));
  fails('ProgramFault', () => hers.call('add', 1));
  security.grant({ target: secret, to: alice.context, rights: read, by: issuer });
  const last = start(alice.context);
  assert.ok(mapped(last, secret, read));
  assert.equal(last.call('load'), 12);
});

test('P3: a program acts by its own contexts, and its host by its own, whoever runs', (t) => {
  const ground = new Ground('linux', t);
  const { space, issuer, secret, alice, bob } = worldOf(ground.open());
  const { security } = space;
  security.grant({ target: secret, to: alice.context, rights: read | write, by: issuer });
  security.attach(bob.context);
  const hers = programs(space).start(ADDER, { authority: security.authority([alice.context]) });
  t.after(() => hers.close());
  const other = space.relaxed(() => space.create(Secret, { n: 1 }));
  assert.ok(mapped(hers, secret, read | write));
  assert.equal(hers.call('add', 1), 8n);
  assert.equal(other.n, 1);
  fails('ObjectForbidden', () => space.get(secret, Secret));
  // In a transaction of the host, too: what the program stores is by its rights, what the host stores by the host's.
  space.relaxed(() => {
    other.n = 2;
    assert.equal(hers.call('add', 1), 9n);
    fails('ObjectForbidden', () => space.get(secret, Secret));
  });
  assert.equal(hers.call('load'), 9);
  assert.equal(other.n, 2);
});

/** Two gates, number 0 and number 1. */
const DESK = wat(
  `(module (memory 1 64)
    (func (export "one") (result i32) (i32.const 11))
    (func (export "two") (result i32) (i32.const 22)))`,
  { one: { parameters: [], result: 'i32' }, two: { parameters: [], result: 'i32' } },
);

/** Calls a gate of the desk, and gives what came of it: the error, or the gate's result. */
const VISITOR = wat(
  `(module
    (import "twizzler" "gate_find" (func $find (param i32 i32 i32 i32) (result i64)))
    (import "twizzler" "gate_call" (func $call (param i32 i32 i32 i32) (result i64)))
    (memory 1 64)
    (data (i32.const 64) "desk") (data (i32.const 80) "one") (data (i32.const 96) "two")
    (func $visit (param $name i32) (result i64) (local $gave i64)
      (local.set $gave (call $call (i32.wrap_i64 (call $find (i32.const 64) (i32.const 4) (local.get $name) (i32.const 3))) (i32.const 256) (i32.const 0) (i32.const 512)))
      (if (result i64) (i64.lt_s (local.get $gave) (i64.const 0)) (then (local.get $gave)) (else (i64.load32_u (i32.const 512)))))
    (func (export "one") (result i64) (call $visit (i32.const 80)))
    (func (export "two") (result i64) (call $visit (i32.const 96))))`,
  { one: { parameters: [], result: 'i64' }, two: { parameters: [], result: 'i64' } },
);

test('P3 P4: a gated capability for a program lets its holder in by that gate and no other', (t) => {
  const ground = new Ground('linux', t);
  const { space, issuer, alice, bob } = worldOf(ground.open());
  const { security } = space;
  // Everyone may read the code; entering is for capabilities.
  const code = space.relaxed(() => {
    const draft = space.create(ProgramCode, { name: 'desk', module: DESK }, { rights: read, key: issuer.id });
    const id = space.seal(draft);
    space.delete(draft);
    return id;
  });
  const desk = programs(space).start(code, { name: 'desk' });
  t.after(() => desk.close());
  const visitor = (context: ObjectId): Compartment => {
    const compartment = programs(space).start(VISITOR, { authority: security.authority([context]) });
    t.after(() => compartment.close());
    return compartment;
  };
  const [hers, his] = [visitor(alice.context), visitor(bob.context)];
  const refused = BigInt(-ERRORS.GateRefused.code);
  assert.deepEqual([hers.call('one'), hers.call('two')], [refused, refused]);
  const gate = { offset: 1, length: 1, align: 1 };
  const entry = security.grant({ target: code, to: alice.context, rights: ['execute'], gate, by: issuer, delegable: true });
  assert.deepEqual([hers.call('one'), hers.call('two')], [refused, 22n]);
  assert.deepEqual([his.call('one'), his.call('two')], [refused, refused]);
  security.delegate(entry, { to: bob.context, by: alice.key });
  assert.deepEqual([his.call('one'), his.call('two')], [refused, 22n]);
  security.grant({ target: code, to: bob.context, rights: ['execute'], by: issuer });
  assert.deepEqual([his.call('one'), his.call('two')], [11n, 22n]);
  security.revoke(entry, issuer);
  assert.deepEqual([hers.call('one'), hers.call('two')], [refused, refused]);
});

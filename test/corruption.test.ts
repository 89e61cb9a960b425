/**
 * T18: damage of every kind that can be thought of, planted in a copy of one space. Each time
 *  - `check` names it,
 *  - opening and reading gives a typed error or works, and nothing hangs or crashes,
 *  - nothing else is harmed: every object that the damage does not concern reads as before,
 *  - `check --repair` leaves a space without errors, or says what it cannot mend.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { isTwzError, type TwzError } from '../src/abi/errors.ts';
import { open, type ObjectId, type Space } from '../src/index.ts';
import type { FindingName } from '../src/services/check/findings.ts';
import { CASES, people, type Case } from './damage-cases.ts';
import { Person, check, closedSpace, crashedSpace, found, host, type Fixture } from './damage.ts';
import { amount } from './thorough.ts';

// --- what must hold in every case -----------------------------------------------------------------------------------------------

/** Reads an object as a program would, references and texts included. */
function read(space: Space, id: ObjectId): string {
  let text = '';
  const { size } = space.object(id);
  const steps = Math.ceil(size / 16);
  let person: Person | null = space.get(id, Person);
  for (let i = 0; person !== null && i < steps && i < 100; i++) {
    text += `${person.name} ${person.age} ${person.mood} ${person.born} ${person.photo.length};`;
    const { others, thing } = person;
    for (let k = 0; k < others.length; k++) text += others.get(k)?.name ?? '-';
    text += thing === null ? '' : thing.id;
    person = person.friend;
  }
  return text;
}

/** Uses the allocator, as a program that changes the object would, and puts everything back. */
function use(space: Space, id: ObjectId): void {
  const undo = new Error('undone');
  try {
    space.relaxed(() => {
      for (let i = 0; i < 30; i++) space.make(Person, id, { name: `more ${i}`, photo: new Uint8Array(i * 200) });
      space.get(id, Person).name = 'another name, and a longer one';
      throw undo;
    });
  } catch (error) {
    if (error !== undo) throw error;
  }
}

function attempt<T>(name: string, body: () => T): T | TwzError {
  try {
    return body();
  } catch (error) {
    if (isTwzError(error)) return error;
    throw new Error(`${name}: not a typed error`, { cause: error });
  }
}

/** What only an object itself holds: its neighbours' damage is not its own. */
function own(space: Space, id: ObjectId): string {
  const person = space.get(id, Person);
  return `${person.name} ${person.age} ${person.mood} ${person.photo.length} ${space.object(id).fot().length}`;
}

const reference = new Map<string, string>();
function expected(crashed: boolean, id: ObjectId): string {
  if (reference.size === 0) {
    for (const state of [true, false]) {
      const fixture = state ? crashedSpace() : closedSpace();
      const space = open(fixture.directory, { host });
      for (const each of people(fixture)) reference.set(`${state} ${each}`, own(space, each));
      space.close();
    }
  }
  return reference.get(`${crashed} ${id}`) ?? '';
}

function openDamaged(it: Case, fixture: Fixture): void {
  const space = attempt('open', () => open(fixture.directory, { host, create: false }));
  if (isTwzError(space)) {
    assert.equal(it.harms, 'all', `the space does not open: ${space.name}: ${space.message}`);
    assert.ok(it.error?.includes(space.name), `${space.name} (${space.message}) instead of ${it.error?.join(' or ')}`);
    return;
  }
  try {
    assert.notEqual(it.harms, 'all', 'the space opens as if nothing were wrong');
    const harmed = it.harms === 'all' ? [] : it.harms(fixture);
    for (const id of people(fixture)) {
      if (!harmed.includes(id)) assert.equal(own(space, id), expected(it.crashed ?? false, id), `object ${id} is harmed`);
    }
    const errors: TwzError[] = [];
    for (const id of harmed) {
      for (const call of [() => read(space, id), () => use(space, id)]) {
        const result = attempt('using the object', call);
        if (isTwzError(result)) errors.push(result);
      }
    }
    const names = attempt('listing names', () => [
      space.names.list('/').length,
      space.names.list('/people').length,
      space.names.lookup('/people/nobody'),
    ]);
    if (isTwzError(names)) errors.push(names);
    if (it.error !== undefined) {
      assert.ok(errors.length > 0, `no error at all instead of ${it.error.join(' or ')}`);
      for (const error of errors)
        assert.ok(
          it.error.includes(error.name) || error.name === 'ObjectImmutable',
          `${error.name} (${error.message}) instead of ${it.error.join(' or ')}`,
        );
    }
  } finally {
    attempt('close', () => space.close());
  }
}

const ALLOWED: ReadonlySet<FindingName> = new Set([
  'FotDeleted',
  'NameDeleted',
  'TieDangling',
  'LinkDangling',
  'LogTorn',
  'LogUncommitted',
]);

for (const it of CASES) {
  const fixtureOf = (): Fixture => {
    const fixture = it.crashed === true ? crashedSpace() : closedSpace();
    it.plant(fixture);
    return fixture;
  };

  let first: Fixture | undefined;

  test(`T18 ${it.what}: check names it`, { timeout: 300_000 }, () => {
    first = fixtureOf();
    const names = found(check(first), true);
    for (const name of it.finds) assert.ok(names.includes(name), `found ${names.join(', ') || 'nothing'}; expected ${name}`);
  });

  test(`T18 ${it.what}: a typed error or it works, nothing else harmed`, { timeout: 300_000 }, () => {
    // What check has read, which changes nothing.
    openDamaged(it, first ?? fixtureOf());
  });

  test(`T18 ${it.what}: repair mends it, or says what it cannot mend`, { timeout: 300_000 }, () => {
    const fixture = fixtureOf();
    const report = check(fixture, { repair: { clear: true } });
    const left = found(report).filter((name) => !ALLOWED.has(name));
    if (it.stays === true) {
      assert.ok(left.length > 0);
      return;
    }
    for (const name of left) assert.ok((it.left ?? []).includes(name), `left after the repair: ${left.join(', ')}`);
    const space = open(fixture.directory, { host, create: false });
    const gone = [...people(fixture)].filter((id) => isTwzError(attempt('own', () => own(space, id))));
    const harmed = it.harms === 'all' ? [] : it.harms(fixture);
    for (const id of gone) assert.ok(harmed.includes(id), `object ${id} is gone after the repair`);
    // What is sealed is not stored to. By chance Bob lies beside what is harmed.
    for (const id of people(fixture)) if (!harmed.includes(id) && id !== fixture.sealed) use(space, id);
    space.close();
  });
}

test('T18 at least 20 kinds of damage were planted', () => {
  assert.ok(CASES.length >= 20);
  assert.equal(new Set(CASES.map((it) => it.what)).size, CASES.length);
  console.log(`${CASES.length} kinds of damage, ${new Set(CASES.flatMap((it) => it.finds)).size} kinds of findings`);
});

test('T18 fuzz: damaged files give typed errors only, no crash, no hang', { timeout: 300_000 }, () => {
  const program = new URL('./fuzz.js', import.meta.url).pathname;
  const seed = process.env['TWZ_SEED'] ?? '4711';
  const rounds = process.env['TWZ_ROUNDS'] ?? String(amount(8, 20));
  // In a process of its own: a wild access ends it by a signal.
  const result = spawnSync(process.execPath, [program, '--seed', seed, '--rounds', rounds], { encoding: 'utf8', maxBuffer: 64 << 20 });
  const last = result.stderr.trim().split('\n').at(-1) ?? '';
  assert.equal(result.signal, null, `ended by ${result.signal} in ${last}`);
  assert.equal(result.status, 0, `${result.stdout}\n${last}`);
  console.log(result.stdout.trim());
});

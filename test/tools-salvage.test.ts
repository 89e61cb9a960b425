/**
 * T18: of a damaged space all that can be read is saved to a new one, the old one is left as it is, and what is lost is told. Every kind of
 * damage of damage-cases.ts, one by one, and more than 20 of them at once.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';
import { isTwzError } from '../src/abi/errors.ts';
import { META } from '../src/abi/format.ts';
import { open, type ObjectId, type Space } from '../src/index.ts';
import { salvageSpace, type SalvageReport } from '../src/services/check/salvage.ts';
import { CASES, people } from './damage-cases.ts';
import { Person, check, closedSpace, crashedSpace, edit, editObject, fileOf, host, scratch, type Fixture } from './damage.ts';
import { Bench } from './tools.ts';

/** What only an object itself holds. */
function own(space: Space, id: ObjectId): string | undefined {
  try {
    const { name, age, mood, photo } = space.get(id, Person);
    return `${name} ${age} ${mood} ${photo.length}`;
  } catch (error) {
    if (isTwzError(error)) return undefined;
    throw error;
  }
}

const expected = new Map<string, string | undefined>();
for (const crashed of [false, true]) {
  const fixture = crashed ? crashedSpace() : closedSpace();
  const space = open(fixture.directory, { host });
  for (const id of people(fixture)) expected.set(`${crashed} ${id}`, own(space, id));
  space.close();
}

const stateOf = (directory: string): string[] =>
  fs
    .readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== 'lock')
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      return `${file} ${Buffer.from(host.sha256(fs.readFileSync(file))).toString('hex')}`;
    })
    .sort();

/** What is tried here is not durability. */
const unsynced: typeof host = new Proxy(host, {
  get(target, name): unknown {
    const value: unknown = Reflect.get(target, name);
    if (typeof value !== 'function') return value;
    return String(name).startsWith('sync') ? () => Promise.resolve() : value.bind(target);
  },
});

function salvaged(fixture: Fixture, compare = true): { report: SalvageReport; space: Space; directory: string } {
  const before = compare ? stateOf(fixture.directory) : [];
  const directory = path.join(scratch(), 'out');
  const report = salvageSpace(unsynced, fixture.directory, directory);
  if (compare) assert.deepEqual(stateOf(fixture.directory), before, 'the old space was changed');
  return { report, space: open(directory, { host: unsynced, create: false }), directory };
}

/** Damage after which an object's own content cannot be had, by what it is. */
const LOST: Readonly<Record<string, (it: Fixture) => readonly ObjectId[]>> = {
  'an object file cut in its header': (it) => [it.alice],
  'an empty object file': (it) => [it.alice],
  'a deleted object file': (it) => [it.alice],
  'a directory in the place of an object file': (it) => [it.alice],
  'an object file under the name of another that is lost': (it) => [it.alice],
  'another format version': (it) => [it.alice],
  'a zeroed metadata page': (it) => [it.alice],
  'changed content of an immutable object': (it) => [it.sealed],
  'a file in the place of a shelf': (it) => people(it).filter((id) => id.slice(0, 2) === it.alice.slice(0, 2)),
};
/** Damage to values themselves: the object is saved and reads otherwise, or with an error. */
const VALUES: ReadonlySet<string> = new Set([
  'an object file cut by a page',
  'an object file cut in the middle of a page',
  'a text that runs out of the object',
  'a value that its enumeration does not have',
  'a root outside the object',
  'a root of another type',
  'a zeroed page of data',
  'a flipped bit in a frame in the middle of the log',
  'the last frame of the log torn',
  'the log segment lost',
]);

let saved = 0;
let all = 0;

/** Cases that are about Alice alone: they are planted all at once, each in an object of its own. */
const template = closedSpace();
const AT_ONCE = CASES.filter((it) => {
  const harmed = it.harms === 'all' || it.crashed === true ? [] : it.harms(template);
  return harmed.length === 1 && harmed[0] === template.alice && !/shelf|the place of|another that/.test(it.what);
});

for (const it of CASES.filter((each) => !AT_ONCE.includes(each))) {
  test(`T18 ${it.what}: the rest is saved`, { timeout: 300_000 }, () => {
    const fixture = it.crashed === true ? crashedSpace() : closedSpace();
    it.plant(fixture);
    const { report, space, directory } = salvaged(fixture, it.crashed === true);
    const lost = LOST[it.what]?.(fixture) ?? [];
    const harmed = it.harms === 'all' ? [] : it.harms(fixture);
    for (const id of people(fixture)) {
      all++;
      const now = own(space, id);
      const right = now === expected.get(`${it.crashed ?? false} ${id}`);
      if (right) saved++;
      if (lost.includes(id)) {
        assert.equal(space.has(id), false, `${id} is there again?`);
        // What refers to it says so.
        assert.throws(
          () => space.get(id, Person),
          (error) => isTwzError(error, 'ObjectMissing'),
        );
      } else if (VALUES.has(it.what) && (harmed.includes(id) || it.crashed === true)) assert.ok(space.has(id), `${id} is not there`);
      else assert.ok(right, `${id} reads ${now}; expected ${expected.get(`${it.crashed ?? false} ${id}`)}`);
    }
    // Names lead where they led.
    assert.equal(space.names.lookup('/people/bob'), fixture.bob);
    assert.equal(space.names.lookup('/hub'), fixture.hub);
    if (!lost.includes(fixture.alice)) assert.equal(space.names.lookup('/boss'), fixture.alice);
    // It is a space like any other.
    space.relaxed(() => (space.get(fixture.carol, Person).age = 50));
    space.names.list('/people');
    space.close();
    const left = check({ ...fixture, directory });
    assert.ok(
      !left.findings.some(({ name }) => /^(Control|Segment|Log|Meta|Id|File(?!Missing))/.test(name)),
      JSON.stringify(left.findings),
    );
    if (lost.length > 0 && !['a deleted object file', 'a file in the place of a shelf'].includes(it.what))
      assert.ok(report.lost.length > 0);
  });
}

test('T18 more than 20 kinds of damage at once, an object each: what survives is counted', () => {
  const fixture = closedSpace();
  // Of the same make as Alice, so that what is damaged in her is there.
  const made = open(fixture.directory, { host: unsynced });
  const template = Buffer.from(made.object(fixture.alice).export());
  const victims = made.relaxed(() => AT_ONCE.map(() => made.copy(fixture.alice).id));
  for (const [i, id] of victims.entries()) made.relaxed(() => made.names.set(`/copy${i}`, id));
  made.close();
  assert.ok(AT_ONCE.length >= 20 && template.length > 0);
  for (const [i, it] of AT_ONCE.entries()) it.plant({ ...fixture, alice: victims[i] as ObjectId });
  const { report, space } = salvaged(fixture);
  let asBefore = 0;
  let there = 0;
  for (const [i, it] of AT_ONCE.entries()) {
    const id = victims[i] as ObjectId;
    const now = own(space, id);
    const right = now === expected.get(`false ${fixture.alice}`);
    if (right) asBefore++;
    if (space.has(id)) there++;
    if (it.what in LOST) assert.equal(space.has(id), false, it.what);
    else if (VALUES.has(it.what)) assert.ok(space.has(id), it.what);
    else assert.ok(right, `${it.what}: ${now}`);
  }
  for (const id of people(fixture)) assert.equal(own(space, id), expected.get(`false ${id}`));
  console.log(
    `${AT_ONCE.length} kinds at once: ${there} of ${victims.length} objects saved, ${asBefore} read as before; ${report.mended.length} mended, ${report.lost.length} files lost; the other ${people(fixture).length} as before`,
  );
  assert.ok(there >= AT_ONCE.length - 6 && asBefore >= AT_ONCE.length - 12);
  assert.equal(report.lost.length, AT_ONCE.filter((it) => it.what in LOST && !it.what.includes('deleted')).length);
  space.close();
});

test('T18 one flipped bit anywhere in a metadata page is found and put right, exactly', () => {
  const fixture = closedSpace();
  // One of an object, all at once.
  const flips = [
    META.nonce + 3,
    META.key,
    META.rights,
    META.kind,
    META.size + 1,
    META.root,
    META.rootType,
    META.pageMap + 2,
    META.checksum,
    4000,
  ].map((at, i) => [fixture.leaves[i] as ObjectId, at] as const);
  // Who refers to others.
  flips.push([fixture.bob, META.fot + 40]);
  const before = flips.map(([id]) => fs.readFileSync(fileOf(fixture, id)));
  for (const [id, at] of flips) edit(fileOf(fixture, id), (view) => view.setUint8(at, view.getUint8(at) ^ 32));
  const { space, report } = salvaged(fixture, false);
  for (const [i, [id, at]] of flips.entries()) assert.deepEqual(Buffer.from(space.object(id).export()), before[i], `byte ${at}`);
  assert.deepEqual(report.mended.map(({ id }) => id).sort(), flips.map(([id]) => id).sort());
  space.close();
});

test('T18 the root of names is damaged: its names are collected, and what nothing leads to is in /lost', () => {
  const fixture = closedSpace();
  const space = open(fixture.directory, { host });
  const root = space.names.lookup('/') as ObjectId;
  const namespace = space.names.lookup('/people') as ObjectId;
  space.close();
  for (const id of [root, namespace]) editObject(fixture, id, (view) => view.setUint32(view.getUint32(META.root, true), 77, true));
  const first = salvaged(fixture);
  assert.deepEqual(
    ['/people/alice', '/people/bob', '/boss', '/hub', '/large', '/sealed'].map((name) => first.space.names.lookup(name)),
    [fixture.alice, fixture.bob, fixture.alice, fixture.hub, fixture.large, fixture.sealed],
  );
  assert.equal(first.report.names, 7);
  first.space.close();
  // Gone for good, and the control file with it: the objects still tell which space it is.
  fs.writeFileSync(fileOf(fixture, root), new Uint8Array(16384));
  fs.rmSync(path.join(fixture.directory, 'space.twz'));
  fs.rmSync(path.join(fixture.directory, 'log'), { recursive: true });
  const second = salvaged(fixture);
  assert.equal(second.space.names.get('/lost').id.length, 32);
  assert.ok(second.space.names.list('/lost').some(({ id }) => id === fixture.hub));
  assert.equal(own(second.space, fixture.bob), expected.get(`false ${fixture.bob}`));
  second.space.close();
});

test('T18 salvage as a command', () => {
  const bench = new Bench();
  bench.good('init');
  bench.good('shell', '-c', 'new /a {"n": 1}');
  bench.good('shell', '-c', 'new /b {"n": 2}');
  const id = String(bench.json('stat', '/a')['id']);
  fs.truncateSync(path.join(bench.home, '.twizzler/objects', id.slice(0, 2), `${id}.twz`), 100);
  const ran = bench.run(['check', '--salvage', 'out']);
  assert.equal(ran.code, 1);
  assert.match(ran.out, new RegExp(`lost {2}objects/../${id}.twz .*\\nsaved 2 objects, .* to out; 1 file lost\\n$`, 's'));
  assert.equal(bench.good('shell', '-s', 'out', '-c', 'get /b n').trim(), '2');
  bench.bad('ObjectMissing', 'show', '/a', '-s', 'out');
  assert.ok(fs.existsSync(path.join(bench.home, 'out/quarantine', `${id}.twz`)));
  bench.bad('NotEmpty', 'check', '--salvage', 'out');
  bench.bad('SpaceMissing', 'check', '--salvage', 'new', '-s', 'nowhere');
  assert.equal(bench.run(['check', '--salvage', 'new', '--repair']).code, 2);
});

test('T18 of the kinds that were planted one by one, how much was saved', () => {
  console.log(`${CASES.length - AT_ONCE.length} kinds of damage, one at a time: ${saved} of ${all} objects read as before`);
  assert.ok(saved / all > 0.99);
});

/** T18: check finds nothing in a sound space, whatever was done to it, and repair changes nothing there. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';
import { META } from '../src/abi/format.ts';
import { fingerprintOf } from '../src/lib/fingerprint.ts';
import { open, objectOf } from '../src/index.ts';
import { SpaceImage } from '../src/services/check/image.ts';
import { ObjectImage } from '../src/services/check/object-image.ts';
import { parseSchema, signatureOf } from '../src/services/check/schema.ts';
import { typesOf } from '../src/services/dynamic.ts';
import { graphFrom, graphToDot } from '../src/services/graph.ts';
import { plainValue, viewObject, viewTyped } from '../src/services/show.ts';
import { Person, check, closedSpace, crashedSpace, fieldOffset, fileOf, found, host, scratch } from './damage.ts';

test('T18 check: a space that was closed is sound', () => {
  const fixture = closedSpace();
  const report = check(fixture);
  assert.deepEqual(found(report, true), []);
  // 6 and 40 leaves, root and /people, the list of deleted objects.
  assert.equal(report.objects, 6 + 40 + 2 + 1);
  assert.equal(report.names, 7);
  assert.ok(report.pointers >= 4 + 1 + 40 + 40, `${report.pointers} typed pointers were followed`);
});

test('T18 check: an empty space is sound', () => {
  const directory = scratch();
  open(directory, { host }).close();
  const report = check({ ...closedSpace(), directory });
  assert.deepEqual(found(report, true), []);
  assert.equal(report.objects, 0);
});

test('T18 check: what is only in the log is checked as recovery would give it, and nothing is written', () => {
  const fixture = crashedSpace();
  const before = filesOf(fixture.directory);
  const report = check(fixture);
  assert.deepEqual(found(report, true), []);
  assert.equal(report.transactions, 50);
  assert.deepEqual(filesOf(fixture.directory), before);
  const image = new SpaceImage(host, fixture.directory);
  const bob = image.object(fixture.bob);
  assert.ok(bob !== undefined);
  const view = new ObjectImage(bob.bytes);
  assert.equal(view.bytes[view.u32(META.root) + fieldOffset('age')], 50);
  const space = open(fixture.directory, { host });
  assert.equal(space.get(fixture.bob, Person).age, 50);
  assert.equal(space.get(fixture.carol, Person).name, 'Carol number 50');
  assert.equal(space.stat().recovery.transactions, 50);
  space.close();
  assert.deepEqual(found(check(fixture), true), []);
});

test('T18 check --repair changes nothing in a sound space', () => {
  const fixture = closedSpace();
  const before = filesOf(fixture.directory);
  const report = check(fixture, { repair: { clear: true } });
  assert.deepEqual(report.repaired, []);
  assert.deepEqual(filesOf(fixture.directory), before);
});

test('T18 check: objects created, changed, copied, deleted and reclaimed leave a sound space', () => {
  const fixture = closedSpace();
  const space = open(fixture.directory, { host });
  space.relaxed(() => {
    for (let i = 0; i < 200; i++) {
      const one = space.create(Person, { name: `number ${i}`, photo: new Uint8Array(i * 50) }, { counted: i % 3 === 0 });
      if (i % 2 === 0) one.friend = space.make(Person, one, { name: 'inside' });
      if (i % 5 === 0) space.delete(one);
      else if (i % 7 === 0) space.names.set(`/people/number ${i}`, one);
    }
    const copy = space.copy(fixture.hub);
    space.names.set('/copy', copy);
    copy.root(Person).name = 'a longer name than the one before, so that it moves';
  });
  space.reclaim();
  space.relaxed(() => space.names.remove('/people', { recursive: true }));
  space.checkpoint();
  space.relaxed(() => {
    space.get(fixture.bob, Person).photo = new Uint8Array(10_000);
    space.get(fixture.bob, Person).friend = null;
  });
  space.kernel.release();
  assert.deepEqual(found(check(fixture)), []);
  const reopened = open(fixture.directory, { host });
  reopened.close();
  assert.deepEqual(found(check(fixture)), []);
});

test('T6 a copy made in the transaction that stored its pointers counts them', () => {
  const fixture = closedSpace();
  const space = open(fixture.directory, { host });
  const made = space.relaxed(() => {
    const one = space.create(Person, { name: 'one', friend: space.get(fixture.bob, Person) });
    one.others.set(0, space.get(fixture.bob, Person));
    const copy = space.copy(one);
    return { copy: copy.id, again: space.copy(space.seal(one)).id };
  });
  for (const id of [made.copy, made.again]) {
    assert.deepEqual(
      space
        .object(id)
        .fot()
        .map((entry) => [entry.id, entry.count]),
      [[fixture.bob, 2]],
    );
    // One pointer goes: the other must still lead there.
    space.relaxed(() => (space.get(id, Person).friend = null));
    assert.equal(space.get(id, Person).others.get(0)?.name, 'Bob');
  }
  space.close();
  assert.deepEqual(found(check(fixture)), []);
});

test('T11 the schema text gives the type back: fingerprint, types of fields, values', () => {
  const schema = parseSchema(Person.schema);
  assert.ok(typeof schema !== 'string', JSON.stringify(schema));
  const signature = signatureOf(schema, 'Person');
  assert.ok(signature !== undefined);
  assert.deepEqual(fingerprintOf(signature), Person.layout.fingerprint);
  const fixture = closedSpace();
  const space = open(fixture.directory, { host });
  const { type } = typesOf(space.object(fixture.bob));
  assert.deepEqual(type.layout.fingerprint, Person.layout.fingerprint);
  assert.equal(Reflect.get(space.get(fixture.bob, type), 'name'), 'Bob');
  space.close();
});

test('T18 show: the typed view of an object from its bytes alone', () => {
  const fixture = closedSpace();
  const image = new ObjectImage(new Uint8Array(fs.readFileSync(fileOf(fixture, fixture.alice))));
  const view = viewObject(image);
  assert.equal(view.id, fixture.alice);
  assert.equal(view.type, 'Person');
  assert.equal(view.rights, 'rwx');
  const typed = viewTyped(image, () => undefined, { depth: 1, items: 4 });
  assert.ok(typeof typed !== 'string', JSON.stringify(typed));
  const value = plainValue(typed);
  assert.ok(typeof value === 'object' && value !== null && 'friend' in value && 'name' in value && 'born' in value);
  assert.equal(value.name, 'Alice');
  assert.equal(value.born, undefined);
  assert.ok(typeof value.friend === 'object' && value.friend !== null && 'friend' in value.friend && 'name' in value.friend);
  assert.equal(value.friend.name, 'Dave, who lives with Alice');
  assert.deepEqual(value.friend.friend, { ref: fixture.bob, at: rootOf(fixture.directory, fixture.bob) });
});

function rootOf(directory: string, id: string): number {
  const bytes = fs.readFileSync(path.join(directory, 'objects', id.slice(0, 2), `${id}.twz`));
  return bytes.readUInt32LE(META.root);
}

test('T18 graph: nodes and edges of the FOTs, as data and as DOT', () => {
  const fixture = closedSpace();
  const space = open(fixture.directory, { host });
  const read = (id: typeof fixture.alice): ObjectImage => new ObjectImage(space.object(id).export());
  const graph = graphFrom([fixture.hub], read, { depth: 1, most: 100 });
  assert.equal(graph.nodes.length, 41);
  assert.equal(graph.edges.length, 40);
  assert.equal(graph.cut, false);
  const ring = graphFrom([fixture.alice], read, { depth: 10, most: 100 });
  assert.equal(ring.nodes.length, 3);
  assert.equal(graphFrom([fixture.hub], read, { depth: 1, most: 5 }).cut, true);
  const dot = graphToDot(ring, (id) => id.slice(0, 8));
  assert.match(dot, new RegExp(`"${fixture.alice}" -> "${fixture.bob}"`));
  assert.equal(objectOf(space.get(fixture.alice, Person)).id, fixture.alice);
  space.close();
});

function filesOf(directory: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const name of fs.readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()) {
    const file = path.join(directory, name);
    if (fs.statSync(file).isFile()) files[name] = fs.readFileSync(file).toString('latin1');
  }
  return files;
}

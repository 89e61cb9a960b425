/** T18: tools read and carry sequences, texts, graphs and indexed maps: show, get, export, dump and load, copy, diff; a schema is enough. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { exportGraph } from '../src/services/export.ts';
import { getField } from '../src/services/fields.ts';
import { ObjectImage } from '../src/services/check/object-image.ts';
import { checkSpace } from '../src/services/check.ts';
import { copyObjects } from '../src/services/copy.ts';
import { diffSpaces } from '../src/services/diff.ts';
import { dumpSpace, loadInto, loadNew } from '../src/services/dump.ts';
import { typesOf } from '../src/services/dynamic.ts';
import { plainValue, viewTyped, type TypedValue } from '../src/services/show.ts';
import { blob, objectOf, open, struct, textDocument, u32, vec, type ObjectId, type Space } from '../src/index.ts';
import { Everything, everything, fileOf, STORY, type Fixture } from './collections-everything.ts';
import { host, scratch } from './damage.ts';
import { fails } from './hosts.ts';

/** The sequences and the like as plain data. */
function plain(all: Everything): Record<string, unknown> {
  const person = (p: { name: string; age: number }): unknown => [p.name, p.age];
  return {
    numbers: [...all.numbers],
    words: [...all.words],
    people: Array.from(all.people, person),
    friends: Array.from(all.friends as Iterable<{ name: string; age: number }>, person),
    names: [...all.names],
    deeds: Array.from(all.deeds, person),
    file: all.file.slice(),
    story: all.story.toString(),
    jobs: [...all.jobs],
    tickets: [...all.tickets],
    events: Array.from(all.events.entries(), ([seq, p]) => [seq, person(p)]),
    lines: [...all.lines.entries()],
    nodes: Array.from(all.roads.nodes(), ([id, town]) => [id, town.name, town.mayor?.name]),
    edges: Array.from(all.roads.edges(), ({ id, from, to, value }) => [id, from, to, value.km, value.name]),
    bare: [...all.bare.edges()].map(({ id, from, to }) => [id, from, to]),
    members: Array.from(all.members, ([key, p]) => [key, p.name, p.age]),
    byAge: Array.from(all.members.by.byAge.range(), ([key]) => key),
    byFriend: Array.from(all.members.by.byFriend.range(), ([key, p]) => [key, p.friend?.name]),
    inside: Array.from(all.inside, ([key, texts]) => [key, [...texts]]),
    maybe: [...all.maybe],
  };
}

const reader = (it: Fixture) => (id: ObjectId) =>
  fs.existsSync(fileOf(it, id)) ? new ObjectImage(new Uint8Array(fs.readFileSync(fileOf(it, id)))) : undefined;

for (const spread of [false, true]) {
  const where = spread ? ' over many objects' : '';

  test(`T18 a schema is enough to open sequences, graphs and indexed maps${where}`, () => {
    const it = everything(spread);
    const space = open(it.directory, { host });
    const { type } = typesOf(space.object(it.id));
    const untyped: unknown = space.get(it.id, type);
    assert.deepEqual(plain(untyped as Everything), plain(space.get(it.id, Everything)));
    fails('NotSupported', () => space.relaxed(() => (untyped as Everything).members.set('x', { name: 'x' })));
    fails('NotSupported', () => space.relaxed(() => (untyped as Everything).members.delete('m1')));
    space.relaxed(() => (untyped as Everything).numbers.push(7));
    assert.equal(space.get(it.id, Everything).numbers.at(-1), 7);
    space.close();
  });

  test(`T18 show prints the beginning of sequences, graphs and indexed maps${where}`, () => {
    const it = everything(spread);
    const image = reader(it)(it.id) ?? assert.fail();
    const shown = viewTyped(image, reader(it), { depth: 0, items: 3 });
    assert.ok(typeof shown !== 'string' && shown.kind === 'struct');
    const field = (name: string): TypedValue => shown.fields.find((each) => each.name === name)?.value ?? assert.fail(name);
    const value = plainValue(shown) as Record<string, unknown>;
    assert.deepEqual(value['numbers'], [0, 3, 6, { $more: 2997 }]);
    assert.deepEqual(value['words'], ['', 'word 1', 'word 2', { $more: 297 }]);
    assert.deepEqual(value['names'], ['', 'name 0', 'name 1', { $more: 48 }]);
    assert.deepEqual(value['file'], [Uint8Array.of(0, 7, 14), { $more: 99_997 }]);
    assert.deepEqual(value['story'], [STORY.slice(0, 24), { $more: STORY.length - 24 }]);
    assert.deepEqual(value['jobs'], ['job 200', 'job 201', 'job 202', { $more: 97 }]);
    assert.deepEqual(value['tickets'], [130, 131, 132, { $more: 867 }]);
    assert.deepEqual((value['lines'] as unknown[]).slice(0, 2), [
      [77, 'l'.repeat(37)],
      [78, 'l'.repeat(38)],
    ]);
    assert.deepEqual(value['maybe'], [1, undefined, 3]);
    const roads = value['roads'] as { nodes: unknown[]; edges: [number, { from: number; to: number; value: unknown }][] };
    assert.equal(roads.nodes.length, 4);
    assert.deepEqual(roads.edges[1]?.[1].value, { km: 2, name: 'R2' });
    assert.deepEqual([roads.edges[1]?.[0], roads.edges[1]?.[1].from, roads.edges[1]?.[1].to], [2, 2, 14]);
    const members = value['members'] as [string, { name: string }][];
    assert.deepEqual([members[1]?.[0], members[1]?.[1].name], ['m1', 'Member 1']);
    const people = field('people');
    assert.ok(people.kind === 'sequence' && people.length === 301 && people.items.length === 3 && people.items[0]?.kind === 'struct');
    const whole = viewTyped(image, reader(it), { depth: 0, items: Infinity });
    assert.ok(typeof whole !== 'string');
    const space = open(it.directory, { host });
    const all = plain(space.get(it.id, Everything));
    space.close();
    const content = plainValue(whole) as Record<string, unknown>;
    for (const name of ['numbers', 'words', 'names', 'file', 'story', 'jobs', 'tickets', 'lines', 'maybe'])
      assert.deepEqual(content[name], all[name], name);
  });

  test(`T18 get and export write sequences, graphs and indexed maps${where}`, () => {
    const it = everything(spread);
    const space = open(it.directory, { host });
    const object = space.object(it.id);
    const get = (name: string): unknown => getField(space, object, name);
    assert.deepEqual((get('numbers') as unknown[]).slice(999), [2997, { $more: 2000 }]);
    assert.deepEqual((get('people') as unknown[])[5], { name: 'between', age: 1, friend: null });
    assert.deepEqual((get('friends') as unknown[])[5], it.id);
    assert.equal(get('story'), STORY);
    assert.deepEqual((get('file') as unknown[])[1], { $more: 100_000 - 65_536 });
    assert.deepEqual((get('lines') as unknown[])[1], 'l'.repeat(38));
    assert.deepEqual((get('bare') as { edges: unknown }).edges, [[0, 0, 4]]);
    assert.deepEqual((get('roads') as { edges: unknown[] }).edges[1], [2, 2, 14, { km: 2, name: 'R2' }]);
    assert.deepEqual(((get('members') as unknown[])[1] as [string, { age: number }])[1].age, 1);
    const [line = ''] = exportGraph(space, object);
    const exported = JSON.parse(line) as Record<string, unknown>;
    const all = plain(space.get(it.id, Everything));
    for (const name of ['numbers', 'words', 'names', 'story', 'jobs', 'tickets']) assert.deepEqual(exported[name], all[name], name);
    assert.deepEqual(Buffer.from((exported['file'] as { $bytes: string }).$bytes, 'base64'), Buffer.from(all['file'] as Uint8Array));
    assert.deepEqual((exported['bare'] as { nodes: unknown[]; edges: unknown[] }).edges, [[0, 0, 4]]);
    const { nodes, edges } = exported['roads'] as { nodes: [number, { name: string; mayor: { $ref: string } }][]; edges: unknown[] };
    assert.ok(nodes.length === 39 && nodes[0]?.[1].mayor.$ref.startsWith(it.id) === true);
    assert.equal(edges.length, (all['edges'] as unknown[]).length);
    assert.equal((exported['members'] as unknown[]).length, 100);
    space.close();
  });

  test(`T18 dump and load, as text and binary, and copy bring sequences, graphs and indexed maps back${where}`, async () => {
    const it = everything(spread);
    const space = open(it.directory, { host });
    const before = plain(space.get(it.id, Everything));
    for (const form of ['text', 'binary'] as const) {
      const to = scratch();
      fs.rmSync(to, { recursive: true });
      await loadNew(host, to, [...dumpSpace(space, { form })]);
      const loaded = open(to, { host });
      assert.deepEqual(plain(loaded.get(it.id, Everything)), before);
      assert.deepEqual(diffSpaces(space, loaded).changed, []);
      loaded.close();
      assert.deepEqual(checkSpace(host, to).findings, []);
    }
    // The object alone has all of its collections with it.
    const alone = open(scratch(), { host });
    await loadInto(alone, [...dumpSpace(space, { from: [it.id], only: true })]);
    assert.deepEqual(plain(alone.get(it.id, Everything)), before);
    const copied = open(scratch(), { host });
    copyObjects(space, [it.id], copied, { only: true });
    assert.deepEqual(plain(copied.get(it.id, Everything)), before);
    for (const each of [alone, copied, space]) each.close();
  });

  test(`T18 diff compares sequences, graphs and indexed maps by what is in them${where}`, () => {
    const it = everything(spread);
    const other = everything(spread);
    const [a, b] = [open(it.directory, { host }), open(other.directory, { host })];
    assert.deepEqual(diffSpaces(a, b), { onlyA: [], onlyB: [], changed: [], same: [...a.ids()].length, names: [] });
    const all = b.get(it.id, Everything);
    b.relaxed(() => {
      all.numbers.set(5, 77);
      all.words.push('new');
      all.names.shift();
      all.file.write(90_000, Uint8Array.of(1, 2, 3));
      all.story.insert(10, 'very ');
      all.jobs.shift();
      all.lines.append('last');
      all.roads.addEdge(0, 1, { km: 1000 });
      all.members.update('m3', (draft) => {
        draft.age = 99;
      });
      const inner = all.inside.get('k3') ?? assert.fail();
      inner.set(1, 'changed');
    });
    const found = diffSpaces(a, b);
    assert.deepEqual([found.onlyA, found.onlyB, found.names], [[], [], []]);
    // Where a collection goes on in further objects, these are no differences of their own.
    assert.deepEqual([found.changed.length, found.changed[0]?.id], [1, it.id]);
    const fields = new Map(found.changed[0]?.fields.map(({ field, a: one, b: two }) => [field, [one, two]]));
    assert.deepEqual(fields.get('numbers[5]'), ['15', '77']);
    assert.deepEqual(fields.get('words[300]'), [undefined, '"new"']);
    assert.deepEqual(fields.get('names[0]'), ['""', '"name 0"']);
    assert.deepEqual(fields.get('names[50]'), ['"name 49"', undefined]);
    assert.match(fields.get('file')?.[1] ?? '', /^100000 bytes, SHA-256/);
    assert.match(fields.get('story')?.[1] ?? '', new RegExp(`^${STORY.length + 5} code units, SHA-256`));
    // By its number: the others are where they were.
    assert.deepEqual(fields.get('jobs[200]'), ['"job 200"', undefined]);
    assert.deepEqual(fields.get('lines[300]'), [undefined, '"last"']);
    assert.deepEqual(fields.get('roads.edges[120].value.km'), [undefined, '1000']);
    assert.deepEqual(fields.get('members["m3"].age'), ['3', '99']);
    assert.deepEqual(fields.get('inside["k3"][1]'), ['"in 1"', '"changed"']);
    for (const field of fields.keys()) assert.match(field, /^(numbers|words|names|file|story|jobs|lines|roads|members|inside)\b/);
    // What was not touched is not told.
    assert.equal(fields.size, 1 + 1 + 51 + 1 + 1 + 1 + 1 + 4 + 1 + 1);
    a.close();
    b.close();
  });
}

test('T18 a blob or a long text that is the root of an object is opened by its schema', () => {
  const space = open(scratch(), { host });
  const [file, story] = space.relaxed(() => [space.create(blob, Uint8Array.of(1, 2)), space.create(textDocument, 'so')] as const);
  const [one, other] = [file, story].map((root) => {
    const object = objectOf(root);
    const opened: unknown = space.get(object.id, typesOf(object).type);
    return opened;
  });
  assert.deepEqual((one as typeof file).slice(), Uint8Array.of(1, 2));
  assert.equal((other as typeof story).toString(), 'so');
  space.close();
});

test('T18 diff finds what differs in a further object alone', () => {
  const Part = struct('Part', { before: u32, bytes: blob, numbers: vec(u32) });
  const fill = (directory: string, last: number): { space: Space; id: ObjectId } => {
    const space = open(directory, { host });
    return { space, id: objectOf(space.relaxed(() => space.create(Part, { before: last }))).id };
  };
  const { space: a, id } = fill(scratch(), 1);
  a.relaxed(() => a.get(id, Part).bytes.append(new Uint8Array(20_000_000)));
  const to = scratch();
  a.close();
  fs.rmSync(to, { recursive: true });
  const source = a.stat().directory;
  fs.cpSync(source, to, { recursive: true });
  const [one, two] = [open(source, { host }), open(to, { host })];
  two.relaxed(() => two.get(id, Part).bytes.write(19_900_000, Uint8Array.of(1)));
  const found = diffSpaces(one, two);
  assert.deepEqual(
    found.changed.map((each) => [each.id, each.fields.map(({ field }) => field), each.bytes, each.parts]),
    [[id, ['bytes'], 1, 1]],
  );
  one.close();
  two.close();
});

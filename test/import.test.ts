/** T18, T3, T15: imports against plain models, in parts and runs of any size; bad input; refusals that leave nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isTwzError, objectOf, open, ref, struct, text, u32 } from '../src/index.ts';
import { each, importData, openImport, removeImport } from '../src/services/import.ts';
import { City, Person, SMALL, TOWN, encoder, importSmall, lines, scratch, seed, sound, source, town } from './import-town.ts';
import { amount } from './thorough.ts';

test(`T18 import, T3: what is imported is what the records say, in few objects or many, in memory or in runs (seed ${seed})`, async () => {
  let parts = 0;
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      town,
      fc.constantFrom(16 << 10, 40 << 10, 1 << 20),
      fc.constantFrom(600, 4000, 1 << 20),
      async ({ people, cities, shuffle }, objectBytes, sortBytes) => {
        // So few objects may be mapped at once that the kernel unmaps some of them under the import.
        const space = open(scratch(), { objectsMax: 6 });
        const mixed = [...people, ...cities].map((record) => ({ record, at: shuffle.next().value ?? 0 })).sort((a, b) => a.at - b.at);
        const report = await importData(space, 'town', TOWN, [source('town.ndjson', lines(mixed.map(({ record }) => record)))], {
          objectBytes,
          sortBytes,
        });
        parts = Math.max(parts, report.objects);
        runs = Math.max(runs, report.runs);
        let references = 0;
        for (const each_ of people)
          references += (each_.best === undefined ? 0 : 1) + (each_.friends?.length ?? 0) + (each_.home === undefined ? 0 : 1);
        for (const city of cities) references += city.mayor === undefined ? 0 : 1;
        assert.deepEqual(
          { records: report.records, references: report.references, skipped: report.skipped, dangling: report.dangling },
          { records: people.length + 10, references, skipped: 0, dangling: 0 },
        );
        const { directory } = space;
        space.close();

        const again = open(directory);
        const imported = openImport(again, 'town');
        for (const expected of people) {
          const found = imported.get('people', expected.id);
          assert.ok(found !== undefined, `${expected.id} is found by its key`);
          assert.deepEqual(personOf(found), expected);
        }
        for (const expected of cities) {
          const found = imported.get('cities', expected.code, City);
          assert.deepEqual({ name: found?.name, mayor: found?.mayor?.id }, { name: expected.name, mayor: expected.mayor });
        }
        assert.equal(imported.get('people', 'nobody'), undefined);
        assert.equal(imported.get('cities', 10), undefined);
        const order = mixed
          .map(({ record }) => record)
          .filter((record) => record.kind === 'person')
          .map(({ id }) => id);
        assert.deepEqual(
          [...imported.all('people')].map((each_) => Reflect.get(each_, 'id')),
          order,
        );
        sound(again);
      },
    ),
    { seed, numRuns: amount(6, 15) },
  );
  assert.ok(parts > 6 && runs > 3, `${parts} objects, ${runs} runs`);
});
/** A record back from what was imported. */
function personOf(found: object): unknown {
  const field = (of: unknown, name: string): unknown => (typeof of === 'object' && of !== null ? Reflect.get(of, name) : undefined);
  const list = (name: string, of: (value: unknown) => unknown): unknown[] => {
    const items: unknown[] = [];
    for (let cell = field(found, name); cell !== null && cell !== undefined; cell = field(cell, 'next'))
      items.push(of(field(cell, 'value')));
    return items;
  };
  const friends = list('friends', (value) => field(value, 'id'));
  const nicknames = list('nicknames', (value) => value);
  const record = {
    kind: 'person',
    id: field(found, 'id'),
    age: field(found, 'age'),
    score: field(found, 'score'),
    good: field(found, 'good'),
    mood: field(found, 'mood'),
    best: field(field(found, 'best'), 'id'),
    friends: friends.length === 0 ? undefined : friends,
    home: field(found, 'city') === null ? undefined : { city: field(field(found, 'city'), 'code') },
    nicknames: nicknames.length === 0 ? undefined : nicknames,
  };
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined));
}

test('T18 import, T15: records have typed accessors; a program that declares another layout is refused', async () => {
  const space = open(scratch());
  await importSmall(space, SMALL);
  const imported = openImport(space, 'town');
  const Same = struct('City', {
    code: u32,
    name: text,
    get mayor() {
      return ref(Person);
    },
  });
  const oslo = imported.get('cities', 7, Same);
  assert.equal(oslo?.name, 'Oslo');
  const Other = struct('City', {
    code: u32,
    title: text,
    get mayor() {
      return ref(Person);
    },
  });
  assert.throws(
    () => imported.get('cities', 7, Other),
    (error) => isTwzError(error, 'TypeMismatch'),
  );
  assert.throws(
    () => imported.get('towns', 7),
    (error) => isTwzError(error, 'NameMissing'),
  );
  assert.deepEqual(
    space.names.list('/imports/town').map(({ name }) => name),
    ['cities', 'import.root', 'people'],
  );
  // Ordinary objects: they can be changed, and grow, like any other.
  const City2 = imported.type('cities');
  space.relaxed(() => {
    if (oslo !== undefined) oslo.name = 'Kristiania, as it was called for a long time';
  });
  assert.equal(Reflect.get(imported.get('cities', 7, City2) ?? {}, 'name'), 'Kristiania, as it was called for a long time');
  sound(space);
});

test('T18 import: JSON documents with several collections, and objects whose members are the records', async () => {
  const space = open(scratch());
  const document = {
    note: 'x',
    people: SMALL.filter(({ kind }) => kind === 'person'),
    cities: { first: { kind: 'city', code: 7, name: 'Oslo' } },
  };
  const named = {
    collections: {
      ...TOWN.collections,
      cities: { ...TOWN.collections.cities, fields: { ...TOWN.collections.cities.fields, name: { type: 'text', from: '$name' } } },
    },
  };
  await importData(space, 'town', named, [source('town.json', JSON.stringify(document, undefined, 2))]);
  const imported = openImport(space, 'town');
  assert.deepEqual(
    imported.collections.map(({ name, count }) => [name, count]),
    [
      ['people', 3],
      ['cities', 1],
    ],
  );
  assert.equal(imported.get('cities', 7, City)?.name, 'first');
  sound(space);
});

test('T18 import: CSV files of several collections, with lists, another delimiter and no header', async () => {
  const space = open(scratch());
  const mapping = {
    collections: {
      people: {
        key: 'id',
        fields: {
          id: 'text',
          name: { type: 'text', from: 'Full name' },
          age: { type: 'u8', optional: true },
          city: { ref: 'cities' },
          friends: { refs: 'people', separator: ' ' },
        },
      },
      cities: { key: 'code', fields: { code: 'u32', name: 'text' } },
    },
  };
  const report = await importData(space, 'csv', mapping, [
    source('people.csv', '\ufeffid,Full name,age,city,friends\r\na,"Ann ""A"", Lee",30,7,b c\r\nb,"Bob\nB",,7,\r\nc,Cid,3,,a\r\n', {
      collection: 'people',
    }),
    source('cities.csv', '007;Oslo\n', { collection: 'cities', delimiter: ';', header: ['code', 'name'] }),
  ]);
  assert.deepEqual([report.records, report.references], [4, 5]);
  const imported = openImport(space, 'csv');
  const friendsOf = (id: string): string[] => {
    const found: string[] = [];
    for (
      let cell: unknown = Reflect.get(imported.get('people', id) ?? {}, 'friends');
      typeof cell === 'object' && cell !== null;
      cell = Reflect.get(cell, 'next')
    )
      found.push(String(Reflect.get(Object(Reflect.get(cell, 'value')), 'id')));
    return found;
  };
  assert.deepEqual(friendsOf('a'), ['b', 'c']);
  assert.equal(Reflect.get(imported.get('people', 'a') ?? {}, 'name'), 'Ann "A", Lee');
  assert.equal(Reflect.get(imported.get('people', 'b') ?? {}, 'name'), 'Bob\nB');
  assert.equal(Reflect.get(imported.get('people', 'b') ?? {}, 'age'), undefined);
  assert.equal(Reflect.get(imported.get('cities', '7') ?? {}, 'name'), 'Oslo');
  sound(space);
});

// --- bad input ----------------------------------------------------------------------------------------------------------------

const BAD: readonly (readonly [unknown, RegExp])[] = [
  [{ kind: 'person', id: 'x', score: 1, good: true }, /"mood" is missing/],
  [{ kind: 'person', id: 'x', score: 'much', good: true, mood: 'calm' }, /"score" is "much", expected f64/],
  [{ kind: 'person', id: 'x', score: 1, good: true, mood: 'sad' }, /expected one of calm, angry/],
  [{ kind: 'person', id: 'x', age: 256, score: 1, good: true, mood: 'calm' }, /"age" is 256, expected u8/],
  [{ kind: 'person', id: null, score: 1, good: true, mood: 'calm' }, /"id" is null/],
  [{ kind: 'person', id: 'x', score: 1, good: true, mood: 'calm', friends: 'ann' }, /expected an array/],
  [{ kind: 'person', id: 'x', score: 1, good: true, mood: 'calm', best: {} }, /expected a key/],
  [{ kind: 'dog' }, /belongs to no collection/],
  [7, /belongs to no collection/],
  [
    { kind: 'person', id: 'bob', score: 1, good: true, mood: 'calm', best: 'ann', friends: ['ann', 'cid'], nicknames: ['second'] },
    /has this key already/,
  ],
];

test('T18 import: bad records are skipped with their line numbers and reasons, and the rest is whole', async () => {
  const space = open(scratch());
  const records = [...SMALL.slice(0, 2), ...BAD.map(([record]) => record), ...SMALL.slice(2)];
  const { problems, skipped, dangling } = await importSmall(space, records, { onBad: 'skip' });
  assert.equal(skipped, BAD.length);
  assert.equal(dangling, 0);
  for (const [i, [, reason]] of BAD.entries()) {
    const problem = problems.find(({ line }) => line === i + 3);
    assert.match(problem?.reason ?? '', reason);
    assert.equal(problem?.source, 'town.ndjson');
  }
  const imported = openImport(space, 'town');
  assert.deepEqual(
    imported.collections.map(({ count, references }) => [count, references]),
    [
      [3, 5],
      [1, 1],
    ],
  );
  assert.deepEqual(
    [...imported.all('people', Person)].map(({ id, age }) => [id, age]),
    [
      ['ann', undefined],
      ['bob', 9],
      ['cid', undefined],
    ],
  );
  sound(space);
});

test('T18 import: asked to refuse, the first bad record ends it, and nothing of it is left', async () => {
  const space = open(scratch());
  space.names.mkns('/imports');
  const before = [...space.ids()].length;
  for (const [i, [record, reason]] of BAD.entries()) {
    await assert.rejects(importSmall(space, [...SMALL, record], { objectBytes: 20_000, sortBytes: 500 }), (error) => {
      assert.ok(isTwzError(error, 'ImportRefused'), String(error));
      assert.match(error.message, reason);
      assert.match(error.message, /^town\.ndjson, line 5: /);
      assert.deepEqual([error.context['line'], error.context['source']], [5, 'town.ndjson']);
      return true;
    });
    assert.deepEqual(space.names.list('/imports'), [], `bad record ${i}`);
  }
  space.checkpoint();
  // The list of deleted objects is all that is new.
  assert.ok([...space.ids()].length <= before + 1);
  sound(space);
});

test('T18 import: a reference to nothing is refused, or stored as null and told', async () => {
  const records = SMALL.filter((record) => record.kind === 'city' || record.id !== 'cid');
  const space = open(scratch());
  await assert.rejects(
    importSmall(space, records),
    (error) => isTwzError(error, 'ImportRefused') && error.message.includes('no record of people'),
  );
  const { problems, dangling, skipped } = await importSmall(space, records, { onDangling: 'null' });
  assert.deepEqual([dangling, skipped], [2, 0]);
  assert.deepEqual(
    problems.map(({ line }) => line).sort((a, b) => a - b),
    [1, 3],
  );
  const imported = openImport(space, 'town');
  assert.equal(imported.get('cities', 7, City)?.mayor, null);
  assert.deepEqual(
    [...each(imported.get('people', 'ann', Person)?.friends ?? null)].map(({ id }) => id),
    ['bob'],
  );
  sound(space);
});

test('T18 import: a document that breaks off is refused even when bad records are skipped', async () => {
  const space = open(scratch());
  const cut = source('town.json', '{"people": [{"kind": "person"');
  await assert.rejects(
    importData(space, 'town', TOWN, [cut], { onBad: 'skip' }),
    (error) => isTwzError(error, 'ImportRefused') && error.message.startsWith('town.json, line 1: '),
  );
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield encoder.encode(lines(SMALL));
    throw new Error('the disk was pulled out');
  }
  await assert.rejects(importData(space, 'town', TOWN, [{ name: 'x', format: 'ndjson', chunks: broken() }]), /the disk was pulled out/);
  assert.deepEqual(space.names.list('/imports'), []);
  sound(space);
});

test('T18 import: a mapping that makes no sense is refused before anything is read', async () => {
  const space = open(scratch());
  const bad: readonly (readonly [unknown, RegExp])[] = [
    [null, /expected an object/],
    [{}, /collections/],
    [{ collections: {} }, /1 to 255/],
    [{ collections: { a: { fields: {} } } }, /there are none/],
    [{ collections: { a: { fields: { x: 'u7' } } } }, /"u7" is not one of/],
    [{ collections: { a: { fields: { x: { ref: 'b' } } } } }, /no collection "b"/],
    [{ collections: { a: { fields: { x: { ref: 'a' } } } } }, /has no key/],
    [{ collections: { a: { key: 'x', fields: { x: 'f64' } } } }, /not a field of type text/],
    [{ collections: { a: { fields: { x: { type: 'text', ref: 'a' } } } } }, /one of type, values/],
    [{ collections: { a: { colour: 1, fields: { x: 'text' } } } }, /"colour" is not known/],
    [{ collections: { a: { fields: { x: 'text' } }, b: { type: 'a', fields: { x: 'text' } } } }, /two of them have the type a/],
    [{ collections: { a: { fields: { x: 'text' } }, aList: { fields: { x: 'text' } } } }, /two structs/],
    [{ collections: { a: { fields: { x: 'text' } }, b: { fields: { x: 'text' } } } }, /may belong to a or to b/],
    [{ collections: { 'a b': { fields: { x: 'text' } } } }, /letters, digits/],
  ];
  for (const [mapping, reason] of bad) {
    await assert.rejects(
      importData(space, 'x', mapping, [source('x.ndjson', '')]),
      (error) => isTwzError(error, 'InvalidArgument') && reason.test(error.message),
      JSON.stringify(mapping),
    );
  }
  for (const name of ['', '.x', 'a/b'])
    await assert.rejects(importData(space, name, TOWN, []), (error) => isTwzError(error, 'InvalidArgument'));
  sound(space);
});

// --- atomic -------------------------------------------------------------------------------------------------------------------

test('T18 import, T15: a second import of the name is refused, or takes its place in one step; it can be removed', async () => {
  const space = open(scratch());
  await importSmall(space, SMALL);
  const old = objectOf(openImport(space, 'town').get('cities', 7) ?? {}).id;
  await assert.rejects(importSmall(space, SMALL), (error) => isTwzError(error, 'NameExists'));
  await assert.rejects(importSmall(space, [...SMALL, { kind: 'dog' }], { replace: true }), (error) => isTwzError(error, 'ImportRefused'));
  assert.equal(openImport(space, 'town').get('cities', 7, City)?.name, 'Oslo');
  await importSmall(space, [{ ...SMALL[2], name: 'Bergen', mayor: undefined }], { replace: true });
  assert.equal(openImport(space, 'town').get('cities', 7, City)?.name, 'Bergen');
  assert.equal(space.has(old), false);
  removeImport(space, 'town');
  assert.throws(
    () => openImport(space, 'town'),
    (error) => isTwzError(error, 'NameMissing'),
  );
  sound(space);
});

/** T18: tools know collections: check walks them and finds what is damaged, show and export list them, a schema is enough to open them. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';
import { META } from '../src/abi/format.ts';
import {
  bool,
  bytes,
  caseless,
  collation,
  f64,
  hashMap,
  hashSet,
  i32,
  objectOf,
  offsetOf,
  oneOf,
  open,
  orderedMap,
  redBlackTree,
  ref,
  struct,
  text,
  tuple,
  u32,
  type ObjectId,
  type Space,
} from '../src/index.ts';
import { keyCodec, type KeyType } from '../src/lib/collections/keys.ts';
import { checkSpace, type CheckReport } from '../src/services/check.ts';
import { ObjectImage } from '../src/services/check/object-image.ts';
import type { FindingName } from '../src/services/check/findings.ts';
import { typesOf } from '../src/services/dynamic.ts';
import { exportGraph } from '../src/services/export.ts';
import { getField } from '../src/services/fields.ts';
import { keyTypeOf } from '../src/services/key-types.ts';
import { plainValue, viewTyped } from '../src/services/show.ts';
import { edit, host, restamp, scratch } from './damage.ts';
import { fails } from './hosts.ts';

const Person = struct('Person', {
  name: text,
  age: u32,
  get friend() {
    return ref(Person);
  },
});

const byLength = collation('length', (value) => 'x'.repeat(value.length));

const Everything = struct('Everything', {
  people: hashMap(text, Person),
  names: hashSet(caseless),
  ages: orderedMap(u32, text),
  points: orderedMap(tuple(text, i32), f64),
  scores: redBlackTree(u32, u32),
  notes: redBlackTree(text, bytes),
  moods: hashMap(oneOf('calm', 'angry'), bool),
  lengths: hashMap(byLength, u32),
});

interface Fixture {
  readonly directory: string;
  readonly id: ObjectId;
  /** A hash map as the root of an object, that goes on in a second one. */
  readonly large: ObjectId;
  readonly member: ObjectId;
  /** Where the collections' headers lie. */
  readonly at: Readonly<Record<string, number>>;
}

const templates = new Map<boolean, Fixture>();

/** A copy of a space; with `withLarge`, `large` and `member` are in it. */
function fixture(withLarge = false): Fixture {
  let template = templates.get(withLarge);
  if (template === undefined) {
    template = fill(scratch(), withLarge);
    templates.set(withLarge, template);
  }
  const directory = scratch();
  fs.cpSync(template.directory, directory, { recursive: true });
  return { ...template, directory };
}

function fill(directory: string, withLarge: boolean): Fixture {
  const space = open(directory, { host, segmentSize: 1 << 18 });
  const all = space.relaxed(() => {
    const made = space.create(Everything);
    for (let i = 0; i < 200; i++) made.people.set(`person ${i}`, { name: `P${i}`, age: i });
    for (let i = 0; i < 200; i++) {
      const [one, other] = [made.people.get(`person ${i}`), made.people.get(`person ${(i * 7 + 1) % 200}`)];
      if (one !== undefined && other !== undefined) one.friend = other;
    }
    for (let i = 0; i < 60; i++) made.names.add(`Name ${i}`);
    for (let i = 0; i < 300; i++) made.ages.set((i * 7919) % 1000, `age ${i}`);
    for (let i = 0; i < 200; i++) made.points.set([`p${i % 9}`, i - 100], i / 4);
    for (let i = 0; i < 100; i++) made.scores.set((i * 7919) % 1000, i);
    for (let i = 0; i < 50; i++) made.notes.set(`note ${i}`, new Uint8Array(i));
    made.moods.set('calm', true).set('angry', false);
    made.lengths.set('three', 5).set('one', 3);
    space.names.set('/all', made);
    return made;
  });
  const at = Object.fromEntries(Everything.layout.fields.map(({ name, offset }) => [name, offsetOf(all) + offset]));
  const { id } = objectOf(all);
  const { large, member } = withLarge ? fillLarge(space) : { large: id, member: id };
  space.close();
  return { directory, id, large, member, at };
}

function fillLarge(space: Space): Pick<Fixture, 'large' | 'member'> {
  const large = space.relaxed(() => space.create(hashMap(u32, Person)));
  const filler = 'x'.repeat(9_000_000);
  for (let i = 0; i < 2; i++) space.relaxed(() => large.set(i, { name: filler, age: i }));
  for (let i = 2; i < 400; i++) space.relaxed(() => large.set(i, { name: `${i}`, age: i, friend: large.get(i - 1) ?? null }));
  for (let i = 0; i < 2; i++)
    space.relaxed(() => {
      (large.get(i) ?? assert.fail()).name = '';
    });
  space.relaxed(() => space.names.set('/large', large));
  const member = objectOf(large).fot()[0]?.id;
  assert.ok(member !== undefined);
  return { large: objectOf(large).id, member };
}

const fileOf = (it: Fixture, id: ObjectId): string => path.join(it.directory, 'objects', id.slice(0, 2), `${id}.twz`);
const check = (it: Fixture): CheckReport => checkSpace(host, it.directory);
const names = (report: CheckReport): FindingName[] => [...new Set(report.findings.map(({ name }) => name))];
const imageOf = (it: Fixture, id: ObjectId): ObjectImage => new ObjectImage(new Uint8Array(fs.readFileSync(fileOf(it, id))));
const offset = (address: number): number => (address & 0x3fffff) << 4;

test('T18 check walks collections and finds nothing in sound ones', () => {
  const it = fixture(true);
  const report = check(it);
  assert.deepEqual(report.findings, []);
  // The friends of the people in both, and the pointer to the second object.
  assert.ok(report.pointers >= 200 + 398 + 1, `${report.pointers} pointers were followed`);
});

// --- planted damage -------------------------------------------------------------------------------------------------------------

interface Planted {
  readonly what: string;
  readonly finds: FindingName;
  /** The object to damage, `id` where left out. */
  readonly where?: 'large' | 'member';
  readonly plant: (dv: DataView, at: Fixture['at'], image: ObjectImage) => void;
}

const u32At = (dv: DataView, at: number): number => dv.getUint32(at, true);
const put = (dv: DataView, at: number, value: number): void => dv.setUint32(at, value, true);
/** The table of a hash map that has only one. */
const tableOf = (dv: DataView, header: number): number => offset(u32At(dv, header + 12));
/** The first slot of it that is in use. */
function slotOf(dv: DataView, header: number): number {
  let slot = tableOf(dv, header) + 16;
  while (u32At(dv, slot + 4) === 0) slot += 8;
  return slot;
}
const header = (at: Fixture['at'], name: string): number => at[name] ?? assert.fail(name);

const PLANTED: readonly Planted[] = [
  {
    what: 'a hash map counts an entry too many',
    finds: 'CollectionCount',
    plant: (dv, at) => put(dv, header(at, 'people'), u32At(dv, header(at, 'people')) + 1),
  },
  { what: 'the mask of a table', finds: 'CollectionTable', plant: (dv, at) => put(dv, tableOf(dv, header(at, 'people')), 254) },
  { what: 'the slots in use of a table', finds: 'CollectionTable', plant: (dv, at) => put(dv, tableOf(dv, header(at, 'names')) + 4, 3) },
  { what: 'the depth of a directory', finds: 'CollectionTable', plant: (dv, at) => put(dv, header(at, 'people') + 8, 200) },
  { what: 'the bits of a table', finds: 'CollectionTable', plant: (dv, at) => put(dv, tableOf(dv, header(at, 'people')) + 8, 1) },
  { what: 'the hash in a slot', finds: 'CollectionSlot', plant: (dv, at) => put(dv, slotOf(dv, header(at, 'people')), 12345) },
  { what: 'the seed of a hash map', finds: 'CollectionSlot', plant: (dv, at) => put(dv, header(at, 'moods') + 4, 99) },
  {
    what: 'the key in a record',
    finds: 'CollectionSlot',
    plant: (dv, at) => {
      const record = offset(u32At(dv, slotOf(dv, header(at, 'names')) + 4));
      dv.setUint8(record + 4, dv.getUint8(record + 4) ^ 1);
    },
  },
  {
    what: 'a slot that was taken out by hand',
    finds: 'CollectionPool',
    plant: (dv, at) => put(dv, slotOf(dv, header(at, 'people')) + 4, 0),
  },
  { what: 'a record outside', finds: 'CollectionRecord', plant: (dv, at) => put(dv, slotOf(dv, header(at, 'people')) + 4, 0x3ffff0) },
  {
    what: 'a record in the middle of a block',
    finds: 'CollectionRecord',
    plant: (dv, at) => put(dv, slotOf(dv, header(at, 'people')) + 4, u32At(dv, slotOf(dv, header(at, 'people')) + 4) + 1),
  },
  {
    what: 'a record that two slots share',
    finds: 'CollectionRecord',
    plant(dv, at) {
      const first = slotOf(dv, header(at, 'people'));
      let second = first + 8;
      while (u32At(dv, second + 4) === 0) second += 8;
      put(dv, second + 4, u32At(dv, first + 4));
    },
  },
  {
    what: 'the length of a key',
    finds: 'CollectionRecord',
    plant: (dv, at) => put(dv, offset(u32At(dv, slotOf(dv, header(at, 'names')) + 4)), 60_000),
  },
  {
    what: 'the text of a value',
    finds: 'PointerBounds',
    plant: (dv, at) => put(dv, offset(u32At(dv, slotOf(dv, header(at, 'people')) + 4)), 0x7ffffff0),
  },
  {
    what: 'a reference in a value',
    finds: 'PointerFot',
    plant: (dv, at) => put(dv, offset(u32At(dv, slotOf(dv, header(at, 'people')) + 4)) + 20, 77 << 8),
  },
  {
    what: 'the blocks at home',
    finds: 'CollectionPool',
    plant: (dv, at) => put(dv, header(at, 'scores') + 24 + 12, u32At(dv, header(at, 'scores') + 24 + 12) - 1),
  },
  {
    what: 'the blocks in another object',
    where: 'large',
    finds: 'CollectionPool',
    plant: (dv) => {
      const entry = u32At(dv, u32At(dv, META.root) + 24) + 16;
      put(dv, entry + 8, u32At(dv, entry + 8) + 1);
    },
  },
  {
    what: 'the pointer to another object',
    where: 'large',
    finds: 'PointerFot',
    plant: (dv) => put(dv, u32At(dv, u32At(dv, META.root) + 24) + 16 + 4, 99 << 8),
  },
  {
    what: 'the order of a red-black tree',
    finds: 'CollectionOrder',
    plant: (dv, at) => dv.setUint32(offset(u32At(dv, header(at, 'scores') + 4)), 0xfffffff0, false),
  },
  {
    what: 'the colour of a root',
    finds: 'CollectionBalance',
    plant: (dv, at) => {
      const root = offset(u32At(dv, header(at, 'scores') + 4));
      put(dv, root + 8, (u32At(dv, root + 8) | 0x80000000) >>> 0);
    },
  },
  {
    what: 'a red-black tree that leads back to its root',
    finds: 'CollectionNode',
    plant: (dv, at) => {
      const address = u32At(dv, header(at, 'scores') + 4);
      put(dv, offset(u32At(dv, offset(address) + 4)) + 4, address);
    },
  },
  { what: 'the head of a node', finds: 'CollectionNode', plant: (dv, at) => put(dv, offset(u32At(dv, header(at, 'notes') + 4)), 5) },
  { what: 'the levels of an ordered map', finds: 'CollectionNode', plant: (dv, at) => put(dv, header(at, 'ages') + 8, 1) },
  { what: 'the last leaf of an ordered map', finds: 'CollectionNode', plant: (dv, at) => put(dv, header(at, 'ages') + 20, 77) },
  {
    what: 'a key in an ordered map',
    finds: 'CollectionOrder',
    plant: (dv, at) => {
      const leaf = offset(u32At(dv, header(at, 'points') + 12));
      const record = offset(u32At(dv, leaf + 264));
      dv.setUint8(record + 12, 0xf0);
    },
  },
];

for (const { what, where, finds, plant } of PLANTED) {
  test(`T18 check finds damage in collections: ${what}`, () => {
    const it = fixture(where !== undefined);
    const id = where === undefined ? it.id : it[where];
    edit(fileOf(it, id), (dv, image) => {
      plant(dv, it.at, new ObjectImage(image));
      restamp(image);
    });
    const report = check(it);
    assert.ok(names(report).includes(finds), `${finds} is not among ${names(report).join(', ')}`);
  });
}

test('T18 check finds that an object of a collection is gone', () => {
  const it = fixture(true);
  fs.rmSync(fileOf(it, it.member));
  const found = names(check(it));
  assert.ok(found.includes('CollectionPool') && found.includes('FotDangling'), found.join(', '));
});

test('T18 whatever byte of a collection is wrong, check comes to an end', () => {
  const it = fixture();
  const file = fileOf(it, it.id);
  const sound = new Uint8Array(fs.readFileSync(file));
  let state = 12345;
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let round = 0; round < 25; round++) {
    const image = sound.slice();
    for (let i = 0; i < 20; i++) image[4096 + random(image.length - 4096)] = random(256);
    restamp(image);
    fs.writeFileSync(file, image);
    assert.ok(check(it).objects > 0);
  }
});

// --- reading without the program ------------------------------------------------------------------------------------------------

test('T18 a schema is enough to open collections', () => {
  const it = fixture(true);
  const space = open(it.directory, { host });
  const { type, types } = typesOf(space.object(it.id));
  const all: object = space.get(it.id, type);
  const typed = space.get(it.id, Everything);
  const fieldOf = (name: string): Iterable<unknown> => Reflect.get(all, name) as Iterable<unknown>;
  assert.deepEqual([...fieldOf('ages')], [...typed.ages]);
  assert.deepEqual([...fieldOf('points')], [...typed.points]);
  assert.deepEqual(new Set(fieldOf('names')), new Set(typed.names));
  assert.deepEqual([...fieldOf('lengths')], [...typed.lengths]);
  assert.equal(types.get('Person')?.layout.fingerprint.low, Person.layout.fingerprint.low);
  const lengths = Reflect.get(all, 'lengths') as { get(key: string): unknown };
  fails('NotSupported', () => lengths.get('three'));
  const large = space.get(it.large, typesOf(space.object(it.large)).type) as object as { get(key: number): { age: number } | undefined };
  assert.equal(large.get(399)?.age, 399);
  assert.deepEqual(getField(space, space.object(it.id), 'moods'), [...typed.moods]);
  space.close();
});

test('T18 show lists the first entries of collections', () => {
  const it = fixture(true);
  const read = (id: ObjectId): ObjectImage | undefined => (fs.existsSync(fileOf(it, id)) ? imageOf(it, id) : undefined);
  const shown = viewTyped(imageOf(it, it.id), read, { depth: 0, items: 4 });
  assert.ok(typeof shown !== 'string' && shown.kind === 'struct');
  const plain = plainValue(shown) as Record<string, unknown>;
  const ages = Array.from({ length: 300 }, (_, i) => [(i * 7919) % 1000, `age ${i}`] as const).toSorted(([a], [b]) => a - b);
  assert.deepEqual(plain['ages'], [...ages.slice(0, 4), { $more: 296 }]);
  assert.deepEqual((plain['points'] as unknown[])[0], [['p0', -100], 0]);
  assert.deepEqual((plain['names'] as unknown[]).slice(4), [{ $more: 56 }]);
  assert.match(String((plain['names'] as unknown[])[0]), /^Name \d+$/);
  const people = shown.fields.find(({ name }) => name === 'people')?.value;
  assert.ok(people?.kind === 'collection' && people.length === 200 && people.entries.length === 4);
  const root = viewTyped(imageOf(it, it.large), read, { depth: 0, items: 500 });
  assert.ok(typeof root !== 'string' && root.kind === 'struct');
  const content = root.fields[0]?.value;
  assert.ok(content?.kind === 'collection' && content.entries.length === 400);
});

test('T18 export writes collections with their elements', () => {
  const it = fixture(true);
  const space = open(it.directory, { host });
  const [line = ''] = exportGraph(space, space.object(it.id));
  const all = JSON.parse(line) as Record<string, unknown[]>;
  assert.equal(all['people']?.length, 200);
  assert.deepEqual(all['moods']?.toSorted(), [
    ['angry', false],
    ['calm', true],
  ]);
  assert.deepEqual(all['notes']?.[2], ['note 10', { $bytes: Buffer.from(new Uint8Array(10)).toString('base64') }]);
  const lines = [...exportGraph(space, space.object(it.large))];
  // The map itself, and the friends that lead from one to the next.
  assert.equal(lines.length, 1 + 398);
  space.close();
});

test('T18 signatures of keys', () => {
  for (const type of [
    u32,
    f64,
    text,
    bytes,
    bool,
    caseless,
    oneOf('a', 'b"|c'),
    tuple(text, tuple(i32, oneOf('x'))),
    collation('of "x"', (v) => v),
  ]) {
    const { signature } = keyCodec(type as KeyType<unknown>);
    assert.equal(keyCodec(keyTypeOf(signature) as KeyType<unknown>).signature, signature);
  }
  for (const wrong of [
    '',
    'u7',
    'tuple()',
    'tuple(u32',
    'oneOf(a)',
    'oneOf("a"',
    'collation(x)',
    'u32 ',
    'constructor',
    'tuple('.repeat(20),
  ])
    fails('TypeInvalid', () => keyTypeOf(wrong));
});

// --- lifetime -------------------------------------------------------------------------------------------------------------------

test('T18 a name keeps all objects of a collection; without it they go with its home', () => {
  const it = fixture(true);
  const space = open(it.directory, { host });
  assert.deepEqual(space.reclaim().deleted, []);
  assert.ok(space.has(it.member));
  space.relaxed(() => space.names.remove('/large'));
  space.relaxed(() => space.delete(it.large));
  assert.equal(space.has(it.member), false);
  assert.deepEqual(space.reclaim().deleted, []);
  space.close();
  assert.deepEqual(
    check(it).findings.filter(({ severity }) => severity !== 'note'),
    [],
  );
});

/**
 * T18: check --repair sets words of collections that follow from all the rest of them, and no others; --salvage saves what can be read of
 * collections that are damaged further.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { typesOf } from '../src/services/dynamic.ts';
import type { FindingName } from '../src/services/check/findings.ts';
import { salvageSpace } from '../src/services/check/salvage.ts';
import { checkSpace } from '../src/services/check.ts';
import { hashMap, objectOf, offsetOf, open, orderedMap, ref, struct, text, u32, type ObjectId, type Space } from '../src/index.ts';
import { Everything, damage, everything, fileOf, STORY, type Fixture } from './collections-everything.ts';
import { edit, host, restamp, scratch } from './damage.ts';

const get = (dv: DataView, at: number): number => dv.getUint32(at, true);
const put = (dv: DataView, at: number, value: number): void => dv.setUint32(at, value, true);
const to = (dv: DataView, at: number): number => (get(dv, at) & 0x3fffff) << 4;

function contentOf(it: Pick<Fixture, 'directory' | 'id'>): unknown {
  const space = open(it.directory, { host });
  const all = space.get(it.id, Everything);
  const content = {
    words: [...all.words],
    names: [...all.names],
    deeds: Array.from(all.deeds, ({ name }) => name),
    story: all.story.toString(),
    lines: [...all.lines.entries()],
    bytes: all.lines.bytes,
    edges: Array.from(all.roads.edges(), ({ id }) => id),
    next: space.relaxed(() => {
      const id = all.roads.addNode();
      all.roads.removeNode(id);
      return id;
    }),
    members: [...all.members.keys()],
    inside: Array.from(all.inside, ([key, list]) => [key, [...list]]),
  };
  space.close();
  return content;
}

interface Case {
  readonly what: string;
  readonly finds: FindingName;
  readonly plant: (dv: DataView, at: Fixture['at']) => void;
}

const second = (dv: DataView, header: number): number => to(dv, to(dv, header + 4) + 4);

const MENDED: readonly Case[] = [
  { what: 'the count of a List', finds: 'CollectionCount', plant: (dv, at) => put(dv, at('names'), 7) },
  { what: 'the last node of a List', finds: 'CollectionNode', plant: (dv, at) => put(dv, at('names') + 8, 0) },
  { what: 'the first node of a List', finds: 'CollectionNode', plant: (dv, at) => put(dv, at('names') + 4, 0x3ffff0) },
  { what: 'a way back in a List', finds: 'CollectionNode', plant: (dv, at) => put(dv, second(dv, at('deeds')), 77) },
  { what: 'a way on in a List', finds: 'CollectionNode', plant: (dv, at) => put(dv, second(dv, at('deeds')) + 4, 77) },
  {
    what: 'a List that leads back',
    finds: 'CollectionNode',
    plant: (dv, at) => put(dv, second(dv, at('deeds')) + 4, get(dv, at('deeds') + 4)),
  },
  { what: 'a List that ends early', finds: 'CollectionNode', plant: (dv, at) => put(dv, second(dv, at('names')) + 4, 0) },
  { what: 'the length of a text', finds: 'CollectionCount', plant: (dv, at) => put(dv, at('story'), 7) },
  { what: 'the units below a node of a text', finds: 'CollectionText', plant: (dv, at) => put(dv, to(dv, at('story') + 4) + 12, 7) },
  { what: 'the bytes of a log', finds: 'CollectionRing', plant: (dv, at) => put(dv, at('lines') + 24, 7) },
  { what: 'the blocks of a log', finds: 'CollectionPool', plant: (dv, at) => put(dv, at('lines') + 40 + 12, 7) },
  { what: 'the blocks of a Vec', finds: 'CollectionPool', plant: (dv, at) => put(dv, at('words') + 24 + 12, 7) },
  { what: 'the number of the next node', finds: 'CollectionEdge', plant: (dv, at) => put(dv, at('roads') + 192, 3) },
  { what: 'the nodes of a graph', finds: 'CollectionCount', plant: (dv, at) => put(dv, at('roads'), 3) },
  { what: 'the first leaf of an index', finds: 'CollectionNode', plant: (dv, at) => put(dv, at('members') + 48 + 12, 3) },
  { what: 'the way back between leaves', finds: 'CollectionNode', plant: (dv, at) => put(dv, to(dv, at('members') + 20) + 8, 3) },
  { what: 'the way on between leaves', finds: 'CollectionNode', plant: (dv, at) => put(dv, to(dv, at('members') + 12) + 12, 0) },
  { what: 'the entries of a hash map', finds: 'CollectionCount', plant: (dv, at) => put(dv, at('inside'), 3) },
  { what: 'the slots in use of a table', finds: 'CollectionTable', plant: (dv, at) => put(dv, to(dv, at('inside') + 12) + 4, 3) },
];

test('T18 repair sets words of collections that follow from all the rest of them', () => {
  const before = contentOf(everything());
  for (const { what, finds, plant } of MENDED) {
    const it = everything();
    damage(it, (dv) => plant(dv, it.at));
    const found = checkSpace(host, it.directory);
    assert.ok(
      found.findings.some(({ name }) => name === finds),
      `${what}: ${found.findings.map(({ name }) => name).join(', ')}`,
    );
    const { findings, repaired } = checkSpace(host, it.directory, { repair: { clear: false } });
    assert.deepEqual(findings, [], what);
    assert.ok(
      repaired.some(({ action, message }) => action === 'rebuilt' && message.includes('words of collections')),
      what,
    );
    assert.ok(fs.readdirSync(`${it.directory}/quarantine`).length > 0, `${what}: no copy was kept`);
    assert.deepEqual(contentOf(it), before, what);
  }
});

/** Two witnesses against one word, or nothing that says what it was. */
const LEFT: readonly Case[] = [
  { what: 'the first number of a log', finds: 'CollectionRing', plant: (dv, at) => put(dv, at('lines'), 100) },
  {
    what: 'a slot of a hash map',
    finds: 'CollectionPool',
    plant: (dv, at) => {
      let slot = to(dv, at('inside') + 12) + 16;
      while (get(dv, slot + 4) === 0) slot += 8;
      put(dv, slot + 4, 0);
    },
  },
  { what: 'the units of a leaf', finds: 'CollectionText', plant: (dv, at) => dv.setUint16(to(dv, to(dv, at('story') + 4) + 8), 100, true) },
  { what: 'the length of a Vec', finds: 'CollectionChunk', plant: (dv, at) => put(dv, at('words'), 100_000) },
  {
    what: 'a List that is broken twice',
    finds: 'CollectionNode',
    plant: (dv, at) => {
      put(dv, second(dv, at('names')) + 4, 77);
      put(dv, to(dv, at('names') + 8), 77);
    },
  },
];

test('T18 repair leaves a collection alone where it would have to guess', () => {
  for (const { what, finds, plant } of LEFT) {
    const it = everything();
    damage(it, (dv) => plant(dv, it.at));
    const planted = fs.readFileSync(fileOf(it, it.id));
    const { findings } = checkSpace(host, it.directory, { repair: { clear: true } });
    assert.ok(
      findings.some(({ name }) => name === finds),
      `${what}: ${findings.map(({ name }) => name).join(', ')}`,
    );
    assert.deepEqual(fs.readFileSync(fileOf(it, it.id)), planted, what);
  }
});

// --- salvage ----------------------------------------------------------------------------------------------------------------------

/** Salvages a damaged space; gives what is in each collection of /lost, by the field it comes from. */
function salvage(it: Fixture): { saved: Map<string, unknown>; report: ReturnType<typeof salvageSpace>; space: Space } {
  const directory = scratch();
  fs.rmSync(directory, { recursive: true });
  const report = salvageSpace(host, it.directory, directory);
  const space = open(directory, { host });
  const saved = new Map<string, unknown>();
  for (const { name, path } of report.collections) {
    const id = path === undefined ? undefined : space.names.lookup(path);
    if (id === undefined) continue;
    const root: unknown = space.get(id, typesOf(space.object(id)).type);
    saved.set(name.replace('Everything.', ''), root);
  }
  return { saved, report, space };
}

test('T18 salvage saves what can be read of damaged collections', () => {
  const it = everything();
  damage(it, (dv) => {
    const { at } = it;
    // A text in the middle of a Vec; the second chunk of numbers; a node in a List that is broken from both sides.
    put(dv, to(dv, to(dv, at('words') + 8)) + 4, 0x3ffff0);
    put(dv, to(dv, at('numbers') + 8) + 4, 0);
    put(dv, second(dv, at('names')) + 4, 77);
    put(dv, to(dv, to(dv, at('names') + 8)), 77);
    put(dv, to(dv, at('file') + 8), 0);
    put(dv, to(dv, at('story') + 4) + 8, 0);
    put(dv, to(dv, at('jobs') + 16) + 2 * 4, 0);
    put(dv, to(dv, to(dv, at('members') + 12) + 264), 0x7fff_ffff);
    put(dv, to(dv, at('members') + 12) + 264 + 4, 0x3ffff0);
    put(dv, to(dv, to(dv, at('roads') + 12) + 264), 7);
    put(dv, to(dv, at('roads') + 12) + 264 + 8, 0x3ffff0);
    // This one repair can put right.
    put(dv, at('deeds'), 5);
  });
  const { saved, report, space } = salvage(it);
  assert.deepEqual([...saved.keys()].sort(), ['file', 'jobs', 'members', 'names', 'numbers', 'roads', 'story', 'words']);
  assert.ok(report.mended.some(({ what }) => what.includes('words of collections')));
  const list = (name: string): unknown[] => [...(saved.get(name) as Iterable<unknown>)];
  assert.deepEqual(list('numbers'), [
    ...Array.from({ length: 8 }, (_, i) => i * 3),
    ...Array.from({ length: 2984 }, (_, i) => (i + 16) * 3),
  ]);
  assert.deepEqual(list('words').slice(0, 3), ['', 'word 2', 'word 3']);
  assert.equal(list('words').length, 299);
  assert.deepEqual(list('names'), ['', 'name 0', 'name 48', 'name 49']);
  assert.equal((saved.get('file') as { size: number }).size, 100_000 - 64);
  const story = String(saved.get('story'));
  assert.ok(story.length < STORY.length && STORY.endsWith(story));
  assert.ok(list('jobs').length < 100 && list('jobs').every((job) => /^job 2\d\d$/.test(String(job))));
  const members = new Map(saved.get('members') as Iterable<[string, { name: string; age: number }]>);
  assert.equal(members.has('m1'), false);
  assert.equal(members.get('m57')?.name, 'Member 57');
  assert.equal(members.size, 98);
  const roads = saved.get('roads') as {
    nodes(): Iterable<[number, { name: string }]>;
    edges(): Iterable<{ id: number; from: number; to: number }>;
  };
  const nodes = new Map(roads.nodes());
  assert.ok(!nodes.has(0) && !nodes.has(2) && nodes.get(39)?.name === 'T39');
  const edges = [...roads.edges()];
  assert.ok(edges.length > 80 && edges.every(({ from, to: end }) => nodes.has(from) && nodes.has(end)));
  // What was sound, or could be put right, is where it was.
  const all = space.get(it.id, Everything);
  assert.equal(all.deeds.length, 300);
  assert.deepEqual([...all.tickets].length, 870);
  space.close();
});

test('T18 salvage saves what can be read of damaged maps, with references as keys, too', () => {
  const Item = struct('Item', { n: u32 });
  const Maps = struct('Maps', { hashed: hashMap(text, u32), ordered: orderedMap(u32, text), keyed: orderedMap(ref(Item), u32) });
  const directory = scratch();
  const space = open(directory, { host });
  const maps = space.relaxed(() => {
    const made = space.create(Maps);
    for (let i = 0; i < 1000; i++) {
      made.hashed.set(`k${i}`, i);
      made.ordered.set(i, `v${i}`);
    }
    for (let n = 0; n < 20; n++) made.keyed.set(space.make(Item, made, { n }), n);
    space.names.set('/maps', made);
    return made;
  });
  const [id, root] = [objectOf(maps).id, offsetOf(maps)];
  space.close();
  const it: Fixture = { directory, id, members: [], at: (name) => root + (name === 'hashed' ? 0 : 48) };
  edit(fileOf(it, id as ObjectId), (dv, image) => {
    // A slot of the hash map, a record of the ordered one, and a leaf of it.
    const table = to(dv, to(dv, root + 12));
    let slot = (get(dv, root + 8) === 0 ? to(dv, root + 12) : table) + 16;
    while (get(dv, slot + 4) === 0) slot += 8;
    put(dv, slot + 4, 0x3ffff0);
    put(dv, to(dv, root + 48 + 12) + 264 + 4, 0x3ffff0);
    put(dv, to(dv, root + 96 + 12) + 264 + 4, 0x3ffff0);
    restamp(image);
  });
  const { saved, report, space: after } = salvage(it);
  assert.deepEqual(
    report.collections.map(({ name, entries, counted }) => [name, entries, counted]),
    [
      ['Maps.hashed', 999, 1000],
      ['Maps.ordered', 999, 1000],
      ['Maps.keyed', 19, 20],
    ],
  );
  const hashed = saved.get('Maps.hashed') as { get(key: string): number | undefined };
  assert.equal(Array.from({ length: 1000 }, (_, i) => hashed.get(`k${i}`)).filter((value, i) => value === i).length, 999);
  const ordered = new Map(saved.get('Maps.ordered') as Iterable<[number, string]>);
  assert.deepEqual([ordered.size, ordered.get(0), ordered.has(1), ordered.get(999)], [999, 'v0', false, 'v999']);
  const keyed = [...(saved.get('Maps.keyed') as Iterable<[{ n: number }, number]>)];
  assert.ok(keyed.length === 19 && keyed.every(([{ n }, value]) => n === value));
  after.close();
});

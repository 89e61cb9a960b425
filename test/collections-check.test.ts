/**
 * T18: check walks sequences, texts, graphs and indexed maps. Nothing is found in sound ones; what is planted is found and named. That nothing
 * is found after random use is in the model-based tests of each (sequences.ts, collections-machine.ts).
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { META } from '../src/abi/format.ts';
import { caseless, hashMap, objectOf, offsetOf, open, orderedMap, struct, text, tuple, u32 } from '../src/index.ts';
import type { FindingName } from '../src/services/check/findings.ts';
import { checkSpace, type CheckReport } from '../src/services/check.ts';
import { damage, everything, fileOf, type Fixture } from './collections-everything.ts';
import { edit, host, restamp, scratch } from './damage.ts';
import { amount } from './thorough.ts';

const check = (it: Fixture): CheckReport => checkSpace(host, it.directory);
const names = (report: CheckReport): FindingName[] => [...new Set(report.findings.map(({ name }) => name))];
const offset = (address: number): number => (address & 0x3fffff) << 4;
const get = (dv: DataView, at: number): number => dv.getUint32(at, true);
const put = (dv: DataView, at: number, value: number): void => dv.setUint32(at, value, true);
/** Where an address that is stored somewhere leads. */
const to = (dv: DataView, at: number): number => offset(get(dv, at));

for (const spread of [false, true])
  test(`T18 check walks sequences, graphs and indexed maps, and finds nothing in sound ones${spread ? ' of many objects' : ''}`, () => {
    const it = everything(spread);
    const report = check(it);
    assert.deepEqual(report.findings, []);
    // Elements, values of nodes, records: each has a reference.
    assert.ok(report.pointers >= 299 + 300 * 3 + 39 + 100, `${report.pointers} pointers were followed`);
    if (spread) assert.ok(it.members.length >= 15, `${it.members.length} objects`);
  });

interface Planted {
  readonly what: string;
  readonly finds: FindingName;
  readonly plant: (dv: DataView, at: Fixture['at']) => void;
}

/** Of a sequence in chunks: the directory and the first chunk. */
const directory = (dv: DataView, header: number): number => to(dv, header + 8);
const chunk = (dv: DataView, header: number, k = 0): number => to(dv, directory(dv, header) + k * 4);
/** Of a ring. */
const ring = (dv: DataView, header: number): number => to(dv, header + 16);
const firstLeaf = (dv: DataView, header: number): number => {
  let at = to(dv, header + 4);
  for (let height = get(dv, header + 8); height > 0; height--) at = to(dv, at + 8);
  return at;
};
const NODES = 0;
const EDGES = 48;
const OUT = 96;
const IN = 144;
/** The record of an ordered map's first leaf. */
const record = (dv: DataView, header: number, i = 0): number => to(dv, to(dv, header + 12) + 264 + i * 4);

const PLANTED: readonly Planted[] = [
  // --- Vec ---
  { what: 'a Vec is longer than its chunks', finds: 'CollectionChunk', plant: (dv, at) => put(dv, at('numbers'), 1_000_000) },
  { what: 'the length of a Vec is past all reason', finds: 'CollectionChunk', plant: (dv, at) => put(dv, at('numbers') + 4, 0xffffffff) },
  { what: 'the room of a Vec', finds: 'CollectionChunk', plant: (dv, at) => put(dv, at('words') + 12, 3) },
  { what: 'the count of chunks of a Vec', finds: 'CollectionChunk', plant: (dv, at) => put(dv, at('numbers') + 16, 2) },
  { what: 'the directory of a Vec', finds: 'CollectionChunk', plant: (dv, at) => put(dv, at('people') + 8, 0x7777) },
  { what: 'a chunk of a Vec is gone', finds: 'CollectionChunk', plant: (dv, at) => put(dv, directory(dv, at('numbers')) + 4, 0) },
  {
    what: 'two chunks of a Vec are one',
    finds: 'CollectionChunk',
    plant: (dv, at) => put(dv, directory(dv, at('numbers')) + 4, get(dv, directory(dv, at('numbers')))),
  },
  { what: 'a text in a Vec lies elsewhere', finds: 'CollectionElement', plant: (dv, at) => put(dv, chunk(dv, at('words')) + 4, 0x3ffff0) },
  {
    what: 'the length of a text in a Vec',
    finds: 'CollectionElement',
    plant: (dv, at) => put(dv, to(dv, chunk(dv, at('words')) + 4), 1_000_000),
  },
  {
    what: 'a struct in a Vec is there twice',
    finds: 'CollectionElement',
    plant: (dv, at) => put(dv, chunk(dv, at('people')), get(dv, chunk(dv, at('people')) + 4)),
  },
  { what: 'a struct in a Vec is gone', finds: 'CollectionCount', plant: (dv, at) => put(dv, chunk(dv, at('people')), 0) },
  {
    what: 'the name of a person in a Vec',
    finds: 'PointerBounds',
    plant: (dv, at) => put(dv, to(dv, chunk(dv, at('people'))), 0x7ffffff0),
  },
  { what: 'a reference in a Vec', finds: 'PointerFot', plant: (dv, at) => put(dv, chunk(dv, at('friends')) + 4, 77 << 8) },
  { what: 'the blocks of a Vec', finds: 'CollectionPool', plant: (dv, at) => put(dv, at('words') + 24 + 12, 7) },
  { what: 'the presence of an element', finds: 'ValueRange', plant: (dv, at) => dv.setUint8(chunk(dv, at('maybe')), 7) },

  // --- Blob ---
  { what: 'a Blob is longer than its chunks', finds: 'CollectionChunk', plant: (dv, at) => put(dv, at('file'), 10_000_000) },
  { what: 'a chunk of a Blob is gone', finds: 'CollectionChunk', plant: (dv, at) => put(dv, directory(dv, at('file')) + 8, 0) },
  {
    what: 'a chunk of a Blob is short',
    finds: 'CollectionChunk',
    plant: (dv, at) => put(dv, directory(dv, at('file')) + 20, get(dv, directory(dv, at('file')))),
  },
  { what: 'a chunk behind the last of a Blob', finds: 'CollectionChunk', plant: (dv, at) => put(dv, directory(dv, at('file')) + 60, 9) },
  { what: 'the directory of a Blob is gone', finds: 'CollectionChunk', plant: (dv, at) => put(dv, at('file') + 8, 0) },
  { what: 'the objects of a Blob', finds: 'CollectionPool', plant: (dv, at) => put(dv, at('file') + 24 + 4, 3) },

  // --- List ---
  { what: 'a List counts an element too many', finds: 'CollectionCount', plant: (dv, at) => put(dv, at('names'), 52) },
  { what: 'the first node of a List', finds: 'CollectionNode', plant: (dv, at) => put(dv, at('names') + 4, 0x3ffff0) },
  { what: 'the last node of a List', finds: 'CollectionNode', plant: (dv, at) => put(dv, at('names') + 8, get(dv, at('names') + 4)) },
  {
    what: 'a node that does not know the one before it',
    finds: 'CollectionNode',
    plant: (dv, at) => put(dv, to(dv, to(dv, at('names') + 4) + 4), 0),
  },
  {
    what: 'a List that leads back to its beginning',
    finds: 'CollectionNode',
    plant: (dv, at) => put(dv, to(dv, to(dv, at('names') + 4) + 4) + 4, get(dv, at('names') + 4)),
  },
  { what: 'a List that ends early', finds: 'CollectionNode', plant: (dv, at) => put(dv, to(dv, at('deeds') + 4) + 4, 0) },
  {
    what: 'the text in a node',
    finds: 'CollectionElement',
    plant: (dv, at) => put(dv, to(dv, to(dv, at('names') + 4) + 4) + 8, 0x5555),
  },
  { what: 'the reference in a node', finds: 'PointerFot', plant: (dv, at) => put(dv, to(dv, at('deeds') + 4) + 8 + 20, 77 << 8) },

  // --- TextDocument ---
  { what: 'a text is longer than it says', finds: 'CollectionCount', plant: (dv, at) => put(dv, at('story'), 5) },
  { what: 'the height of a text', finds: 'CollectionText', plant: (dv, at) => put(dv, at('story') + 8, 99) },
  { what: 'the children of a node of a text', finds: 'CollectionText', plant: (dv, at) => put(dv, to(dv, at('story') + 4), 0) },
  {
    what: 'the count of a leaf of a text',
    finds: 'CollectionText',
    plant: (dv, at) => put(dv, to(dv, at('story') + 4) + 12, get(dv, to(dv, at('story') + 4) + 12) - 1),
  },
  { what: 'a leaf of a text is gone', finds: 'CollectionText', plant: (dv, at) => put(dv, to(dv, at('story') + 4) + 8, 0) },
  { what: 'the width of a leaf', finds: 'CollectionText', plant: (dv, at) => dv.setUint16(firstLeaf(dv, at('story')) + 2, 3, true) },
  {
    what: 'a leaf that is longer than its room',
    finds: 'CollectionText',
    plant: (dv, at) => dv.setUint16(firstLeaf(dv, at('story')), 60_000, true),
  },
  {
    what: 'half of a character in a leaf',
    finds: 'CollectionText',
    plant: (dv, at) => {
      // The last child of the root is wide.
      const root = to(dv, at('story') + 4);
      const leaf = to(dv, root + 8 + (get(dv, root) - 1) * 8);
      assert.equal(dv.getUint16(leaf + 2, true), 2);
      dv.setUint16(leaf + 8 + 20, 0xd83d, true);
    },
  },

  // --- Queue ---
  { what: 'a queue that begins behind its end', finds: 'CollectionRing', plant: (dv, at) => put(dv, at('tickets'), 2000) },
  {
    what: 'a queue whose numbers are past all reason',
    finds: 'CollectionRing',
    plant: (dv, at) => put(dv, at('tickets') + 12, 0xffffffff),
  },
  { what: 'a queue with more elements than room', finds: 'CollectionChunk', plant: (dv, at) => put(dv, at('tickets') + 8, 100_000) },
  { what: 'the room of a queue', finds: 'CollectionChunk', plant: (dv, at) => put(dv, at('jobs') + 20, 5) },
  { what: 'a chunk of a queue is gone', finds: 'CollectionChunk', plant: (dv, at) => put(dv, ring(dv, at('tickets')) + 3 * 4, 0) },
  {
    what: 'a chunk where no elements are',
    finds: 'CollectionChunk',
    plant: (dv, at) => put(dv, ring(dv, at('tickets')), get(dv, ring(dv, at('tickets')) + 4)),
  },
  { what: 'a text in a queue', finds: 'CollectionElement', plant: (dv, at) => put(dv, to(dv, ring(dv, at('jobs')) + 8) + 4, 0x3ffff0) },

  // --- Log ---
  { what: 'the bytes of a log', finds: 'CollectionRing', plant: (dv, at) => put(dv, at('lines') + 24, 7) },
  { what: 'a log that forgot its first elements', finds: 'CollectionRing', plant: (dv, at) => put(dv, at('lines'), 100) },
  { what: 'the directory of a log is gone', finds: 'CollectionChunk', plant: (dv, at) => dv.setBigUint64(at('events') + 16, 0n, true) },
  {
    what: 'a chunk of a log is too short',
    finds: 'CollectionChunk',
    plant: (dv, at) => put(dv, ring(dv, at('events')), get(dv, at('names') + 4)),
  },
  { what: 'a reference in a log', finds: 'PointerFot', plant: (dv, at) => put(dv, to(dv, ring(dv, at('events'))) + 20, 77 << 8) },
  { what: 'the pool of a log', finds: 'CollectionPool', plant: (dv, at) => put(dv, at('lines') + 40 + 12, 1) },

  // --- Graph ---
  {
    what: 'an edge from a node that is not there',
    finds: 'CollectionEdge',
    plant: (dv, at) => put(dv, record(dv, at('roads') + EDGES), 99),
  },
  { what: 'an edge that leads elsewhere', finds: 'CollectionEdge', plant: (dv, at) => put(dv, record(dv, at('roads') + EDGES) + 4, 3) },
  {
    what: 'an edge that is not listed where it begins',
    finds: 'CollectionEdge',
    plant: (dv, at) => dv.setUint32(record(dv, at('bare') + OUT) + 4 + 8, 77, false),
  },
  {
    what: 'an edge that is listed at another end',
    finds: 'CollectionEdge',
    plant: (dv, at) => dv.setUint32(record(dv, at('bare') + IN) + 4, 3, false),
  },
  {
    what: 'an edge that is listed nowhere where it begins',
    finds: 'CollectionEdge',
    plant: (dv, at) => {
      // The map itself is sound, and empty.
      const header = at('bare') + OUT;
      dv.setUint16(to(dv, header + 12), 0, true);
      put(dv, header, 0);
      put(dv, header + 36, get(dv, header + 36) - 1);
    },
  },
  { what: 'the number of the next node', finds: 'CollectionEdge', plant: (dv, at) => put(dv, at('roads') + 192, 39) },
  { what: 'the number of the next edge', finds: 'CollectionEdge', plant: (dv, at) => put(dv, at('roads') + 196, 0) },
  { what: 'a graph counts a node too many', finds: 'CollectionCount', plant: (dv, at) => put(dv, at('roads') + NODES, 41) },
  { what: 'a node of a graph is gone', finds: 'CollectionRecord', plant: (dv, at) => put(dv, to(dv, at('bare') + NODES + 12) + 264, 0) },
  {
    what: 'a reference in the value of a node',
    finds: 'PointerFot',
    plant: (dv, at) => put(dv, record(dv, at('roads') + NODES) + 12, 77 << 8),
  },
  { what: 'the name of an edge', finds: 'PointerBounds', plant: (dv, at) => put(dv, record(dv, at('roads') + EDGES) + 12, 0x7ffffff0) },

  // --- IndexedMap ---
  {
    what: 'an index leads to no record',
    finds: 'CollectionIndex',
    plant: (dv, at) => dv.setUint8(record(dv, at('members') + 48) + 8 + 6, 0x7a),
  },
  {
    what: 'where the record in an entry of an index begins',
    finds: 'CollectionIndex',
    plant: (dv, at) => put(dv, record(dv, at('members') + 48), 2),
  },
  {
    what: 'a unique index leads to no record',
    finds: 'CollectionIndex',
    plant: (dv, at) => {
      const entry = record(dv, at('members') + 96);
      const value = entry + 8 + Math.ceil(get(dv, entry) / 4) * 4;
      dv.setUint8(value, 0x7a);
    },
  },
  {
    what: 'a unique index leads to a record twice',
    finds: 'CollectionIndex',
    plant: (dv, at) => {
      const [one, other] = [record(dv, at('members') + 96, 0), record(dv, at('members') + 96, 1)];
      assert.equal(get(dv, one + 4), 2);
      put(dv, other + 4, 2);
      const [a, b] = [one, other].map((entry) => entry + 8 + Math.ceil(get(dv, entry) / 4) * 4);
      dv.setUint16(b ?? 0, dv.getUint16(a ?? 0));
    },
  },
  { what: 'a record of an indexed map', finds: 'CollectionRecord', plant: (dv, at) => put(dv, to(dv, at('members') + 12) + 264, 0x3ffff0) },
  { what: 'an index counts an entry too many', finds: 'CollectionCount', plant: (dv, at) => put(dv, at('members') + 144, 1) },
  { what: 'the order of an index', finds: 'CollectionOrder', plant: (dv, at) => dv.setUint8(record(dv, at('members') + 48) + 8, 0xff) },
  { what: 'a reference in a record', finds: 'PointerFot', plant: (dv, at) => put(dv, record(dv, at('members')) + 20, 77 << 8) },
];

/** One space for all of these: each plants into the sound file. */
let planting: { readonly it: Fixture; readonly sound: Buffer } | undefined;

for (const { what, finds, plant } of PLANTED) {
  test(`T18 check finds damage in sequences, graphs and indexed maps: ${what}`, () => {
    if (planting === undefined) {
      const fresh = everything();
      planting = { it: fresh, sound: fs.readFileSync(fileOf(fresh, fresh.id)) };
    }
    const { it, sound } = planting;
    fs.writeFileSync(fileOf(it, it.id), sound);
    damage(it, (dv) => plant(dv, it.at));
    const found = names(check(it));
    assert.ok(found.includes(finds), `${finds} is not among ${found.join(', ')}`);
  });
}

test('T18 check finds damage in a collection that is a value of another', () => {
  const it = everything();
  damage(it, (dv) => {
    const table = to(dv, it.at('inside') + 12);
    let slot = table + 16;
    // The Vec under a key that has some texts.
    while (get(dv, slot + 4) === 0 || get(dv, to(dv, slot + 4)) < 3) slot += 8;
    put(dv, chunk(dv, to(dv, slot + 4)) + 4, 0x3ffff0);
  });
  assert.ok(names(check(it)).includes('CollectionElement'));
});

test('T18 check finds nothing in maps of many levels, and what is wrong between their nodes', () => {
  const Maps = struct('Maps', { folded: orderedMap(caseless, u32), pairs: orderedMap(tuple(text, u32), u32), hashed: hashMap(text, text) });
  const directory = scratch();
  const space = open(directory, { host });
  const maps = space.relaxed(() => space.create(Maps));
  const mixed = (i: number): number => Math.imul(i, 0x9e3779b1) >>> 0;
  space.relaxed(() => {
    for (let i = 0; i < 5000; i++) {
      maps.folded.set(`${i % 2 === 0 ? 'User' : 'uSER'} ${mixed(i)}`, i);
      maps.pairs.set([`user/${i % 7}`, mixed(i)], i);
      maps.hashed.set(`user ${mixed(i)}`, `${i}`);
    }
    for (let i = 0; i < 5000; i += 2) {
      maps.folded.delete(`user ${mixed(i)}`);
      maps.pairs.delete([`user/${i % 7}`, mixed(i)]);
      maps.hashed.delete(`user ${mixed(i)}`);
    }
  });
  const [id, at] = [objectOf(maps).id, offsetOf(maps)];
  space.close();
  const file = fileOf({ directory }, id);
  const sound = fs.readFileSync(file);
  assert.deepEqual(checkSpace(host, directory).findings, []);
  const plants: readonly [FindingName, (dv: DataView, root: number) => void][] = [
    // The head of a separator; a byte of one; children that are exchanged; a leaf that leads past the next one.
    ['CollectionNode', (dv, root) => put(dv, root + 16, get(dv, root + 16) ^ 1)],
    ['CollectionOrder', (dv, root) => dv.setUint8(to(dv, root + 348) + 4, 0xff)],
    ['CollectionOrder', (dv, root) => [get(dv, root + 680), get(dv, root + 684)].forEach((child, i) => put(dv, root + 684 - i * 4, child))],
    ['CollectionNode', (dv) => put(dv, to(dv, at + 48 + 12) + 12, get(dv, to(dv, to(dv, at + 48 + 12) + 12) + 12))],
  ];
  for (const [finds, plant] of plants) {
    fs.writeFileSync(file, sound);
    edit(file, (dv, image) => {
      assert.ok(get(dv, at + 48 + 8) >= 2, 'levels');
      plant(dv, to(dv, at + 48 + 4));
      restamp(image);
    });
    const found = names(checkSpace(host, directory));
    assert.ok(found.includes(finds), `${finds} is not among ${found.join(', ')}`);
  }
});

test('T18 check finds that an object of a sequence is gone, or counts other blocks', () => {
  const it = everything(true);
  const [member] = it.members;
  assert.ok(member !== undefined);
  fs.rmSync(fileOf(it, member));
  const found = names(check(it));
  assert.ok(found.includes('CollectionPool') && found.includes('FotDangling'), found.join(', '));
  const other = everything(true);
  damage(other, (dv) => {
    const entry = get(dv, other.at('file') + 24) + 16;
    assert.ok(get(dv, entry + 8) > 0, 'the blob has a second object');
    put(dv, entry + 8, get(dv, entry + 8) + 1);
  });
  assert.deepEqual(names(check(other)), ['CollectionPool']);
});

test('T18 whatever bytes of sequences, graphs and indexed maps are wrong, check comes to an end', () => {
  const it = everything();
  const file = fileOf(it, it.id);
  const sound = new Uint8Array(fs.readFileSync(file));
  const root = new DataView(sound.buffer).getUint32(META.root, true);
  let state = 4321;
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let round = 0; round < amount(15, 40); round++) {
    edit(file, (_dv, image) => {
      image.set(sound);
      for (let i = 0; i < 20; i++) image[4096 + random(image.length - 4096)] = random(256);
      // And the headers, where it hurts most.
      for (let i = 0; i < 4; i++) image[root + random(1000)] = random(256);
      restamp(image);
    });
    assert.ok(check(it).objects > 0);
  }
});

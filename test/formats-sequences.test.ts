/**
 * T16, T4: sequences, texts, red-black trees, graphs and indexed maps lie in objects as docs/formats/sequences.md and trees.md describe them.
 * The reader here was written from those pages: it knows object files as bytes alone, and checks on its way what they promise.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  blob,
  bytes,
  f64,
  graph,
  i16,
  index,
  indexedMap,
  list,
  log,
  objectOf,
  open,
  queue,
  redBlackTree,
  struct,
  text,
  textDocument,
  u32,
  u8,
  vec,
} from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { Reader, filesOf, headOf, nobody, readOrderedMap, rootOf, type Files, type Place } from './collections-reader.ts';
import { Atlas, Desk, sequencesExample, treesExample } from './golden/make.ts';

const GOLDEN = fileURLToPath(new URL('../../test/golden', import.meta.url));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-formats-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

// --- the reader of sequences ----------------------------------------------------------------------------------------------------

const NONE = { key: 0, value: 0 };
const wide = (it: Reader, at: number): number => Number(it.home.readBigUInt64LE(it.header + at));

/** The text or bytes that an element of four bytes leads to. */
function long(it: Reader, { file, at }: Place): Buffer {
  const address = file.readUInt32LE(at);
  if (address === 0) return Buffer.alloc(0);
  it.blocks++;
  const block = it.place(address);
  const length = block.file.readUInt32LE(block.at);
  assert.ok(length > 0);
  return block.file.subarray(block.at + 4, block.at + 4 + length);
}

/** Places of a Vec or Blob, `stride` bytes each. */
function* chunked(it: Reader, stride: number, least: number): Generator<Place> {
  const length = wide(it, 0);
  const [directory, room, count] = [it.u32(8), it.u32(12), it.u32(16)];
  if (directory === 0) {
    assert.deepEqual([length, room, count], [0, 0, 0]);
    return;
  }
  // Places of a chunk are a power of two: of the first 16 bytes or `least` places at least, of the others 64 KiB at most.
  let most = 1;
  while (most * 2 * stride <= 65536) most *= 2;
  let first = 1;
  while (first < least || first * stride < 16) first *= 2;
  it.blocks++;
  const table = it.place(directory);
  let index = 0;
  for (let k = 0; k < room; k++) {
    const address = table.file.readUInt32LE(table.at + k * 4);
    if (k >= count) {
      assert.equal(address, 0);
      continue;
    }
    it.blocks++;
    const { file, at } = it.place(address);
    const before = k === 0 ? 0 : Math.min(first * 2 ** (k - 1), most);
    const places = k === 0 ? Math.min(first, most) : before;
    for (let i = 0; i < places && index < length; i++, index++) yield { file, at: at + i * stride };
  }
  assert.equal(index, length);
}

function* listed(it: Reader): Generator<Place> {
  const [length, first, last] = [it.u32(0), it.u32(4), it.u32(8)];
  let before = 0;
  let count = 0;
  for (let address = first; address !== 0; count++) {
    it.blocks++;
    const { file, at } = it.place(address);
    assert.equal(file.readUInt32LE(at), before);
    yield { file, at: at + 8 };
    before = address;
    address = file.readUInt32LE(at + 4);
  }
  assert.deepEqual([before, count], [last, length]);
}

/** Elements of a queue or log, with their numbers. */
function* ring(it: Reader, stride: number): Generator<Place & { readonly seq: number }> {
  const [first, next] = [wide(it, 0), wide(it, 8)];
  const [directory, room] = [it.u32(16), it.u32(20)];
  let chunk = 128;
  while (chunk > 1 && chunk * stride > 2048) chunk /= 2;
  if (directory === 0) return;
  it.blocks++;
  const table = it.place(directory);
  let there = 0;
  for (let i = 0; i < room; i++) if (table.file.readUInt32LE(table.at + i * 4) !== 0) there++;
  it.blocks += there;
  for (let seq = first; seq < next; seq++) {
    const address = table.file.readUInt32LE(table.at + (Math.floor(seq / chunk) % room) * 4);
    const { file, at } = it.place(address);
    yield { file, at: at + (seq % chunk) * stride, seq };
  }
}

function textOf(it: Reader): string {
  const visit = (address: number, level: number): string => {
    it.blocks++;
    const { file, at } = it.place(address);
    if (level === 0) {
      const [units, width, room] = [file.readUInt16LE(at), file.readUInt16LE(at + 2), file.readUInt32LE(at + 4)];
      assert.ok(units > 0 && units * width <= room);
      return file.toString(width === 1 ? 'latin1' : 'utf16le', at + 8, at + 8 + units * width);
    }
    let found = '';
    const count = file.readUInt32LE(at);
    assert.ok(count >= 1 && count <= 127);
    for (let i = 0; i < count; i++) {
      const child = visit(file.readUInt32LE(at + 8 + i * 8), level - 1);
      assert.equal(child.length, file.readUInt32LE(at + 12 + i * 8));
      found += child;
    }
    return found;
  };
  const [length, root, height] = [it.u32(0), it.u32(4), it.u32(8)];
  const found = root === 0 ? '' : visit(root, height);
  assert.equal(found.length, length);
  return found;
}

// --- the reader of trees --------------------------------------------------------------------------------------------------------

interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** `inline`: where the value lies in the node, 0 for a record. */
function readRedBlack(it: Reader, inline: number): Entry[] {
  const found: Entry[] = [];
  const below = (address: number, parentRed: boolean): number => {
    if (address === 0) return 0;
    it.blocks++;
    const { file, at } = it.place(address);
    const right = file.readUInt32LE(at + 8);
    const red = right >= 2 ** 31;
    assert.ok(!(red && parentRed), 'red under red');
    const a = below(file.readUInt32LE(at + 4), red);
    if (inline === 0) {
      const entry = it.record(file.readUInt32LE(at + 12));
      assert.equal(file.readUInt32BE(at), headOf(entry.key, 0));
      found.push(entry);
    } else found.push({ key: file.subarray(at, at + 4), value: file.subarray(at + inline, at + inline + it.sizes.value) });
    const b = below(right % 2 ** 31, red);
    assert.equal(a, b, 'as many black nodes on each way');
    return a + (red ? 0 : 1);
  };
  below(it.u32(4), true);
  for (const [i, { key }] of found.entries()) if (i > 0) assert.ok(key.compare(found[i - 1]?.key ?? key) > 0);
  assert.equal(found.length, it.u32(0));
  return found;
}

interface ReadGraph {
  readonly nodes: Map<number, Buffer>;
  readonly edges: Map<number, { readonly from: number; readonly to: number; readonly value: Buffer }>;
  readonly blocks: number;
}

function readGraph(file: Buffer, header: number, node: number, edge: number, files: Files): ReadGraph {
  const number = (key: Buffer, at = 0): number => key.readUInt32BE(at);
  const maps = [node, 8 + edge, 4, 4].map((value, i) => new Reader(file, header + i * 48, { key: i < 2 ? 4 : 12, value }, files));
  const [nodes = [], edges = [], out = [], into = []] = maps.map(readOrderedMap);
  const found = {
    nodes: new Map(nodes.map(({ key, value }) => [number(key), value])),
    edges: new Map(
      edges.map(({ key, value }) => [number(key), { from: value.readUInt32LE(0), to: value.readUInt32LE(4), value: value.subarray(8) }]),
    ),
    blocks: maps.reduce((sum, { blocks }) => sum + blocks, 0),
  };
  const all = [...found.edges].map(([id, { from, to }]) => [from, to, id] as const);
  const sorted = (ends: readonly (readonly number[])[]): unknown[] =>
    ends.toSorted(([a = 0, b = 0, c = 0], [d = 0, e = 0, f = 0]) => a - d || b - e || c - f);
  const read = (entries: readonly Entry[]): number[][] => entries.map(({ key }) => [number(key), number(key, 4), number(key, 8)]);
  assert.deepEqual(read(out), sorted(all));
  assert.deepEqual(read(into), sorted(all.map(([from, to, id]) => [to, from, id])));
  const [nextNode, nextEdge] = [file.readUInt32LE(header + 192), file.readUInt32LE(header + 196)];
  for (const id of found.nodes.keys()) assert.ok(id < nextNode);
  for (const [id, { from, to }] of found.edges) assert.ok(id < nextEdge && found.nodes.has(from) && found.nodes.has(to));
  return found;
}

/** Of an entry of an index that is not unique: its own key, and that of the record. */
function splitIndex({ key, value }: Entry): [Buffer, Buffer] {
  const at = value.readUInt32LE();
  assert.equal(key[at - 1], 0);
  return [key.subarray(0, at - 1), key.subarray(at)];
}

// --- the examples -----------------------------------------------------------------------------------------------------------------

function readDesk(file: Buffer): unknown {
  const at = rootOf(file);
  const reader = (offset: number, pool = 24): Reader => new Reader(file, at + offset, NONE, nobody, pool);
  const words = reader(48);
  const diary = reader(296, 40);
  const read = {
    scores: Array.from(chunked(reader(0), 2, 8), (place) => place.file.readUInt16LE(place.at)),
    words: Array.from(chunked(words, 4, 8), (place) => long(words, place).toString()),
    drawers: Array.from(listed(reader(96, 16)), (place) => place.file.readUInt32LE(place.at)),
    file: Buffer.from(Array.from(chunked(reader(136), 1, 64), (place) => place.file.readUInt8(place.at))).toString(),
    note: textOf(reader(184)),
    jobs: Array.from(ring(reader(232, 40), 4), (place) => [place.seq, place.file.readUInt32LE(place.at)]),
    diary: Array.from(ring(diary, 4), (place) => [place.seq, long(diary, place).toString()]),
    bytes: wide(diary, 24),
  };
  return read;
}

const DESK = {
  scores: [7, 300, 65535],
  words: ['ink', '', 'pen'],
  drawers: [1, 2, 3],
  file: 'Twizzler',
  note: 'Paper ĉ',
  jobs: [
    [1, 11],
    [2, 12],
  ],
  diary: [
    [0, 'Monday'],
    [1, 'Tuesday'],
  ],
  bytes: 2 * 8 + 6 + 7,
};

/** A text field: offset and length of a block. */
const textIn = (file: Buffer, value: Buffer): string => {
  const [offset, length] = [value.readUInt32LE(0), value.readUInt32LE(4)];
  return file.toString('utf8', offset, offset + length);
};

function readAtlas(file: Buffer): unknown {
  const at = rootOf(file);
  const heights = readRedBlack(new Reader(file, at, { key: 4, value: 4 }, nobody), 12);
  const mottos = readRedBlack(new Reader(file, at + 48, NONE, nobody), 0);
  const roads = readGraph(file, at + 96, 4, 4, nobody);
  const guests = readOrderedMap(new Reader(file, at + 296, { key: 4, value: 12 }, nobody));
  const byAge = readOrderedMap(new Reader(file, at + 344, { key: 0, value: 4 }, nobody)).map(splitIndex);
  const byName = readOrderedMap(new Reader(file, at + 392, NONE, nobody));
  return {
    heights: heights.map(({ key, value }) => [key.readUInt32BE(), value.readUInt16LE()]),
    mottos: mottos.map(({ key, value }) => [key.toString(), value.toString()]),
    nodes: [...roads.nodes].map(([id, value]) => [id, value.readUInt32LE()]),
    edges: [...roads.edges].map(([id, { from, to, value }]) => [id, from, to, value.readUInt32LE()]),
    guests: guests.map(({ key, value }) => [key.readUInt32BE(), textIn(file, value), value.readUInt32LE(8)]),
    byAge: byAge.map(([age, key]) => [age.readUInt32BE(), key.readUInt32BE()]),
    byName: byName.map(({ key, value }) => [key.toString('latin1'), value.readUInt32BE()]),
  };
}

const ATLAS = {
  heights: [
    [10, 1],
    [20, 2],
    [30, 3],
  ],
  mottos: [['eo', 'Saluton']],
  nodes: [
    [0, 5000],
    [1, 700],
  ],
  edges: [[0, 0, 1, 12]],
  guests: [
    [7, 'Ann', 30],
    [8, 'Bo', 30],
  ],
  byAge: [
    [30, 7],
    [30, 8],
  ],
  byName: [
    ['Ann\0\0', 7],
    ['Bo\0\0', 8],
  ],
};

test('T16 formats: the examples of sequences and trees, by the reader and by the library', () => {
  const [desk, atlas] = ['sequences.twz', 'trees.twz'].map((name) => fs.readFileSync(path.join(GOLDEN, name)));
  assert.ok(desk !== undefined && atlas !== undefined);
  assert.deepEqual(readDesk(desk), DESK);
  assert.deepEqual(readAtlas(atlas), ATLAS);
  const space = open(path.join(scratch, 'library'));
  const it = space.relaxed(() => space.import(desk)).root(Desk);
  assert.deepEqual(
    {
      scores: [...it.scores],
      words: [...it.words],
      drawers: [...it.drawers],
      file: Buffer.from(it.file.slice()).toString(),
      note: it.note.toString(),
      jobs: Array.from(it.jobs, (value, i) => [i + 1, value]),
      diary: [...it.diary.entries()],
      bytes: it.diary.bytes,
    },
    DESK,
  );
  const map = space.relaxed(() => space.import(atlas)).root(Atlas);
  assert.deepEqual([...map.heights], ATLAS.heights);
  assert.deepEqual([...map.mottos], ATLAS.mottos);
  assert.deepEqual(
    Array.from(map.roads.edges(), ({ id, from, to, value }) => [id, from, to, value.km]),
    ATLAS.edges,
  );
  assert.deepEqual([...map.guests.by.byAge.keys()], [7, 8]);
  assert.deepEqual(map.guests.by.byName.find('Bo')?.[0], 8);
  assert.deepEqual(map.guests.verify(), []);
  space.close();
});

test('T16 formats: the examples of sequences and trees are what the library writes today', () => {
  for (const [name, make] of [
    ['sequences.twz', sequencesExample],
    ['trees.twz', treesExample],
  ] as const) {
    const now = Buffer.from(make(path.join(scratch, name)));
    const old = fs.readFileSync(path.join(GOLDEN, name));
    // The ID, the nonce and the checksum are others each time.
    for (const [from, to] of [
      [8, 40],
      [112, 116],
    ] as const) {
      now.fill(0, from, to);
      old.fill(0, from, to);
    }
    assert.deepEqual(now, old, name);
  }
});

// --- larger ones ------------------------------------------------------------------------------------------------------------------

const Large = struct('Large', {
  numbers: vec(f64),
  words: vec(text),
  names: list(text),
  file: blob,
  story: textDocument,
  jobs: queue(i16),
  lines: log(bytes),
  heights: redBlackTree(u32, f64),
  mottos: redBlackTree(text, u32),
  roads: graph(struct('Place', { n: u32 }), struct('Way', { km: u32 })),
  guests: indexedMap(text, struct('Person', { age: u8 }), { byAge: index(u8, (person) => person.age) }),
});

test('T16 formats: sequences, trees and graphs that have grown over many blocks and objects', () => {
  const limits = { ...POOL_LIMITS };
  Object.assign(POOL_LIMITS, { home: 64 << 10, member: 160 << 10 });
  const space = open(path.join(scratch, 'large'));
  try {
    for (const spread of [false, true]) {
      if (!spread) Object.assign(POOL_LIMITS, limits);
      else Object.assign(POOL_LIMITS, { home: 64 << 10, member: 160 << 10 });
      const it = space.relaxed(() => space.create(Large));
      const mixed = (i: number): number => Math.imul(i, 0x9e3779b1) >>> 0;
      const story = 'It was a dark and stormy night; the rain fell in torrents. '.repeat(400);
      space.relaxed(() => {
        it.numbers.extend(Array.from({ length: 8000 }, (_, i) => i / 4));
        it.words.extend(Array.from({ length: 3000 }, (_, i) => 'w'.repeat(i % 30)));
        for (let i = 0; i < 500; i++) it.names.unshift(`name ${i}`);
        it.file.append(Uint8Array.from({ length: 200_000 }, (_, i) => i * 7));
        it.story.append(story);
        for (let i = 0; i < 3; i++) it.story.insert(5000 * i, '… 😀 …');
        it.jobs.extend(Array.from({ length: 5000 }, (_, i) => (i % 1000) - 500));
        for (let i = 0; i < 3333; i++) it.jobs.shift();
        it.lines.extend(Array.from({ length: 1000 }, (_, i) => new Uint8Array(i % 100)));
        it.lines.trim(300);
        for (let i = 0; i < 3000; i++) {
          it.heights.set(mixed(i), i / 2);
          it.mottos.set(`key ${mixed(i)}`, i);
        }
        for (let i = 0; i < 3000; i += 3) {
          it.heights.delete(mixed(i));
          it.mottos.delete(`key ${mixed(i)}`);
        }
        for (let i = 0; i < 200; i++) it.roads.addNode({ n: i });
        for (let i = 0; i < 700; i++) it.roads.addEdge(i % 200, mixed(i) % 200, { km: i });
        it.roads.removeNode(17);
        for (let i = 0; i < 400; i++) it.guests.set(`guest ${mixed(i)}`, { age: i % 90 });
      });
      const files = filesOf(space);
      const home = files(objectOf(it).id);
      const at = (name: string): number => rootOf(home) + (Large.layout.fields.find((field) => field.name === name)?.offset ?? 0);
      const reader = (name: string, pool = 24, sizes = NONE): Reader => new Reader(home, at(name), sizes, files, pool);
      /** All blocks of the pool have been read. */
      const same = (read: Reader, name: 'numbers' | 'words' | 'names' | 'file' | 'story' | 'jobs' | 'lines' | 'heights' | 'mottos'): void =>
        assert.equal(read.blocks, it[name].usage().blocks, name);

      const numbers = reader('numbers');
      assert.deepEqual(
        Array.from(chunked(numbers, 8, 8), (place) => place.file.readDoubleLE(place.at)),
        [...it.numbers],
      );
      same(numbers, 'numbers');
      const words = reader('words');
      assert.deepEqual(
        Array.from(chunked(words, 4, 8), (place) => long(words, place).toString()),
        [...it.words],
      );
      same(words, 'words');
      const names = reader('names', 16);
      assert.deepEqual(
        Array.from(listed(names), (place) => long(names, place).toString()),
        [...it.names],
      );
      same(names, 'names');
      const file = reader('file');
      assert.deepEqual(
        Buffer.from(Array.from(chunked(file, 1, 64), (place) => place.file.readUInt8(place.at))),
        Buffer.from(it.file.slice()),
      );
      same(file, 'file');
      const read = reader('story');
      assert.equal(textOf(read), it.story.toString());
      assert.ok(read.u32(8) > 0, 'one leaf');
      same(read, 'story');
      const jobs = reader('jobs', 40);
      assert.deepEqual(
        Array.from(ring(jobs, 2), (place) => place.file.readInt16LE(place.at)),
        [...it.jobs],
      );
      same(jobs, 'jobs');
      const lines = reader('lines', 40);
      const found = Array.from(ring(lines, 4), (place) => [place.seq, long(lines, place)] as const);
      assert.deepEqual(
        found,
        [...it.lines.entries()].map(([seq, line]) => [seq, Buffer.from(line)]),
      );
      assert.equal(
        wide(lines, 24),
        found.reduce((sum, [, line]) => sum + 4 + (line.length === 0 ? 0 : 4 + line.length), 0),
      );
      same(lines, 'lines');
      const heights = reader('heights', 24, { key: 4, value: 8 });
      assert.deepEqual(
        readRedBlack(heights, 16).map(({ key, value }) => [key.readUInt32BE(), value.readDoubleLE()]),
        [...it.heights],
      );
      same(heights, 'heights');
      const mottos = reader('mottos', 24, { key: 0, value: 4 });
      assert.deepEqual(
        readRedBlack(mottos, 0).map(({ key, value }) => [key.toString(), value.readUInt32LE()]),
        [...it.mottos],
      );
      same(mottos, 'mottos');
      const roads = readGraph(home, at('roads'), 4, 4, files);
      assert.deepEqual(
        [...roads.nodes.keys()],
        Array.from(it.roads.nodes(), ([id]) => id),
      );
      assert.deepEqual(
        Array.from(roads.edges, ([id, { from, to, value }]) => [id, from, to, value.readUInt32LE()]),
        Array.from(it.roads.edges(), ({ id, from, to, value }) => [id, from, to, value.km]),
      );
      assert.equal(roads.blocks, it.roads.usage().blocks);
      const byAge = readOrderedMap(new Reader(home, at('guests') + 48, { key: 0, value: 4 }, files)).map(splitIndex);
      assert.deepEqual(
        byAge.map(([age, key]) => [age.readUInt32BE(), key.toString()]),
        Array.from(it.guests.by.byAge.range(), ([key, person]) => [person.age, key]),
      );
      assert.equal(it.numbers.usage().objects > 1, spread);
    }
  } finally {
    Object.assign(POOL_LIMITS, limits);
    space.close();
  }
});

/**
 * Makes the golden files: `node dist/test/golden/make.js DIRECTORY`. They were made once and are kept as they are; a change of format
 * gets a new format number and new golden files beside the old ones. formats.test.ts runs `fill` again to see that what is written
 * today still reads the same.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  array,
  bigU64,
  blob,
  bool,
  bytes,
  f32,
  f64,
  graph,
  hashMap,
  i16,
  i64,
  index,
  indexedMap,
  link,
  list,
  log,
  objectOf,
  oneOf,
  open,
  optional,
  orderedMap,
  parseId,
  queue,
  redBlackTree,
  ref,
  struct,
  text,
  textDocument,
  u16,
  u32,
  u8,
  vec,
  type Infer,
} from '../../src/index.ts';

/** The object of the worked example in docs/formats/object.md. */
export const Point = struct('Point', {
  x: f64,
  y: f64,
  label: text,
  get next() {
    return ref(Point);
  },
});

const Address = struct('Address', { street: text, number: u16 });

/** A field of every kind. */
export const Person = struct('Person', {
  name: text,
  age: u8,
  born: optional(i16),
  mood: oneOf('calm', 'angry'),
  awake: bool,
  height: f32,
  score: f64,
  balance: i64,
  serial: bigU64,
  home: Address,
  tags: array(u32, 3),
  photo: bytes,
  thing: link,
  get friend() {
    return ref(Person);
  },
});
export type Person = Infer<typeof Person>;

export const SEGMENT_SIZE = 65536;

/** Leaves a space as a killed process does: some of it in object files, some in a log segment, the last commit only in the log's tail. */
export function fill(directory: string): Readonly<Record<string, string>> {
  const space = open(directory, { segmentSize: SEGMENT_SIZE });
  const [alice, carol, eve] = space.relaxed(() => {
    const first = space.create(Person, {
      name: 'Alice',
      age: 30,
      born: -44,
      mood: 'angry',
      awake: true,
      height: 1.5,
      score: Math.PI,
      balance: -(2 ** 40),
      serial: 2n ** 63n + 1n,
      home: { street: 'Küstenstraße', number: 7 },
      tags: [1, 2, 3],
      photo: Uint8Array.of(0, 255, 1, 254),
    });
    const bob = space.make(Person, first, { name: 'Bob', age: 31 });
    const other = space.create(Person, { name: 'Carol', age: 32 });
    const gone = space.create(Person, { name: 'Eve', age: 33 });
    first.friend = bob;
    bob.friend = other;
    other.friend = space.late(Person, '/people/alice');
    other.thing = objectOf(first);
    first.thing = objectOf(first);
    space.free(space.make(Person, first, { name: 'nobody' }));
    space.tie(other, first);
    space.names.mkns('/people');
    space.names.set('/people/alice', first, { owns: true });
    space.names.link('/a', '/people/alice');
    return [first, other, gone];
  });
  const sealed = space.relaxed(() => space.seal(carol));
  space.checkpoint();
  const dave = space.relaxed(() => {
    alice.age = 40;
    alice.name = 'Alice, renamed in the log';
    space.delete(eve);
    const made = space.create(Person, { name: 'Dave', age: 34 }, { counted: true });
    carol.friend = made;
    return made;
  });
  space.sync();
  space.relaxed(() => {
    alice.age = 41;
    dave.age = 42;
  });
  const ids = { alice: objectOf(alice).id, carol: objectOf(carol).id, dave: objectOf(dave).id, eve: objectOf(eve).id, sealed };
  space.kernel.release();
  return ids;
}

/** The worked example: two points in one object, one reference to another object. */
export function example(directory: string): Uint8Array {
  const space = open(directory, { segmentSize: SEGMENT_SIZE });
  const first = space.relaxed(() => {
    const made = space.create(Point, { x: 1, y: 2, label: 'here' });
    const second = space.make(Point, made, { x: 3, y: 4 });
    made.next = second;
    second.next = space.create(Point, { label: 'far away' });
    return made;
  });
  const exported = objectOf(first).export();
  space.close();
  return exported;
}

export const Shop = struct('Shop', { prices: hashMap(text, u32), names: orderedMap(text, text) });

/** The worked example in docs/formats/collections.md: a hash map and an ordered map in one object. */
export function collectionsExample(directory: string): Uint8Array {
  const space = open(directory, { segmentSize: SEGMENT_SIZE });
  const shop = space.relaxed(() =>
    space.create(Shop, {
      prices: [
        ['apple', 120],
        ['pear', 95],
      ],
      names: [
        ['fr', 'Boutique'],
        ['en', 'Shop'],
        ['eo', 'Butiko'],
      ],
    }),
  );
  const exported = objectOf(shop).export();
  space.close();
  return exported;
}

export const Desk = struct('Desk', {
  scores: vec(u16),
  words: vec(text),
  drawers: list(u32),
  file: blob,
  note: textDocument,
  jobs: queue(u32),
  diary: log(text),
});

/** The worked example in docs/formats/sequences.md. */
export function sequencesExample(directory: string): Uint8Array {
  const space = open(directory, { segmentSize: SEGMENT_SIZE });
  const desk = space.relaxed(() => {
    const made = space.create(Desk, {
      scores: [7, 300, 65535],
      words: ['ink', '', 'pen'],
      drawers: [1, 2, 3],
      file: new TextEncoder().encode('Twizzler'),
      note: 'Paper ĉ',
      jobs: [10, 11, 12],
      diary: ['Monday', 'Tuesday'],
    });
    made.jobs.shift();
    return made;
  });
  const exported = objectOf(desk).export();
  space.close();
  return exported;
}

export const Town = struct('Town', { people: u32 });
export const Road = struct('Road', { km: u32 });
export const Guest = struct('Guest', { name: text, age: u32 });
export const Atlas = struct('Atlas', {
  heights: redBlackTree(u32, u16),
  mottos: redBlackTree(text, text),
  roads: graph(Town, Road),
  guests: indexedMap(u32, Guest, {
    byAge: index(u32, (guest) => guest.age),
    byName: index(text, (guest) => guest.name, { unique: true }),
  }),
});

/** The worked example in docs/formats/trees.md. */
export function treesExample(directory: string): Uint8Array {
  const space = open(directory, { segmentSize: SEGMENT_SIZE });
  const atlas = space.relaxed(() =>
    space.create(Atlas, {
      heights: [
        [30, 3],
        [10, 1],
        [20, 2],
      ],
      mottos: [['eo', 'Saluton']],
      roads: {
        nodes: [{ people: 5000 }, { people: 700 }],
        edges: [[0, 1, { km: 12 }]],
      },
      guests: [
        [7, { name: 'Ann', age: 30 }],
        [8, { name: 'Bo', age: 30 }],
      ],
    }),
  );
  const exported = objectOf(atlas).export();
  space.close();
  return exported;
}

/** An append-only object, and a progressive one. */
export function kindsExample(directory: string): Readonly<Record<'journal' | 'counter', Uint8Array>> {
  const space = open(directory, { segmentSize: SEGMENT_SIZE });
  const journal = space.relaxed(() => space.create(log(text), ['Monday'], { kind: 'append-only' }));
  for (const day of ['', 'Wednesday', 'Thursday', 'Friday', 'Saturday']) space.relaxed(() => journal.append(day));
  const merge = parseId('000102030405060708090a0b0c0d0e0f');
  const counter = space.relaxed(() => space.create(Point, { x: 1, y: 2, label: 'mine' }, { kind: 'progressive', merge }));
  const exported = { journal: objectOf(journal).export(), counter: objectOf(counter).export() };
  space.close();
  return exported;
}

function main(directory: string): void {
  const ids = fill(path.join(directory, 'space'));
  fs.rmSync(path.join(directory, 'space/lock'));
  fs.writeFileSync(path.join(directory, 'ids.json'), `${JSON.stringify(ids, undefined, 2)}\n`);
  fs.writeFileSync(path.join(directory, 'object.twz'), example(path.join(directory, 'scratch')));
  fs.writeFileSync(path.join(directory, 'collections.twz'), collectionsExample(path.join(directory, 'scratch2')));
  fs.writeFileSync(path.join(directory, 'sequences.twz'), sequencesExample(path.join(directory, 'scratch3')));
  fs.writeFileSync(path.join(directory, 'trees.twz'), treesExample(path.join(directory, 'scratch4')));
  const { journal, counter } = kindsExample(path.join(directory, 'scratch5'));
  fs.writeFileSync(path.join(directory, 'journal.twz'), journal);
  fs.writeFileSync(path.join(directory, 'counter.twz'), counter);
  for (const scratch of ['scratch', 'scratch2', 'scratch3', 'scratch4', 'scratch5'])
    fs.rmSync(path.join(directory, scratch), { recursive: true });
}

const [, script, directory] = process.argv;
if (directory !== undefined && script !== undefined && import.meta.url === pathToFileURL(script).href) main(directory);

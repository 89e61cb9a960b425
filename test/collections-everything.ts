/** A space with one of each sequence, a graph and an indexed map, for tests of the tools; and ways to find places in it. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import {
  blob,
  caseless,
  graph,
  hashMap,
  index,
  indexedMap,
  list,
  log,
  objectOf,
  offsetOf,
  open,
  optional,
  queue,
  ref,
  struct,
  text,
  textDocument,
  u32,
  vec,
  type Infer,
  type ObjectId,
} from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { edit, host, restamp, scratch } from './damage.ts';

export const Person = struct('Person', {
  name: text,
  age: u32,
  get friend() {
    return ref(Person);
  },
});
export const Town = struct('Town', { name: text, mayor: ref(Person) });
export const Road = struct('Road', { km: u32, name: text });

export const Everything = struct('Everything', {
  numbers: vec(u32),
  words: vec(text),
  people: vec(Person),
  friends: vec(ref(Person)),
  names: list(text),
  deeds: list(Person),
  file: blob,
  story: textDocument,
  jobs: queue(text),
  tickets: queue(u32),
  events: log(Person),
  lines: log(text),
  roads: graph(Town, Road),
  bare: graph(Town),
  members: indexedMap(text, Person, {
    byAge: index(u32, (p) => p.age),
    byName: index(caseless, (p) => p.name, { unique: true }),
    byFriend: index(ref(Person), (p) => p.friend ?? undefined),
    byLetter: index(text, (p) => new Set(p.name), { multi: true }),
  }),
  inside: hashMap(text, vec(text)),
  maybe: vec(optional(u32)),
});
export type Everything = Infer<typeof Everything>;

export const STORY = `${'It was a dark and stormy night. '.repeat(150)}${'Ĉu vi parolas Esperanton? 😀 '.repeat(150)}`;
const COUNT = 300;

/** Puts something in everything. */
export function fillAll(all: Everything): void {
  all.numbers.extend(Array.from({ length: 3000 }, (_, i) => i * 3));
  all.words.extend(Array.from({ length: COUNT }, (_, i) => (i % 7 === 0 ? '' : `word ${i}`)));
  for (let i = 0; i < COUNT; i++) {
    all.people.push({ name: `P${i}`, age: i, friend: i === 0 ? null : all.people.get(i - 1) });
    all.friends.push(all.people.get(i));
    all.deeds.push({ name: `D${i}`, age: i, friend: all.people.get(i) });
    all.events.append({ name: `E${i}`, age: i, friend: all.people.get(i) });
  }
  all.people.insert(5, { name: 'between', age: 1 });
  all.names.push(...Array.from({ length: 50 }, (_, i) => `name ${i}`));
  all.names.unshift('');
  all.file.append(Uint8Array.from({ length: 100_000 }, (_, i) => i * 7));
  all.story.append(STORY);
  all.jobs.extend(Array.from({ length: COUNT }, (_, i) => `job ${i}`));
  for (let i = 0; i < 200; i++) all.jobs.shift();
  all.tickets.extend(Array.from({ length: 1000 }, (_, i) => i));
  for (let i = 0; i < 130; i++) all.tickets.shift();
  all.lines.extend(Array.from({ length: COUNT }, (_, i) => 'l'.repeat(i % 40)));
  all.lines.trim(77);
  for (let i = 0; i < 40; i++) all.roads.addNode({ name: `T${i}`, mayor: all.people.get(i) });
  for (let i = 0; i < 120; i++) all.roads.addEdge(i % 40, (i * 7) % 40, { km: i, name: `R${i}` });
  all.roads.removeNode(7);
  for (let i = 0; i < 5; i++) all.bare.addNode({ name: `B${i}` });
  all.bare.addEdge(0, 4);
  for (let i = 0; i < 100; i++) all.members.set(`m${i}`, { name: `Member ${i}`, age: i % 9, friend: all.people.get(i) });
  for (let i = 0; i < 20; i++)
    all.inside.set(
      `k${i}`,
      Array.from({ length: i }, (_, n) => `in ${n}`),
    );
  all.maybe.extend([1, undefined, 3]);
}

export interface Fixture {
  readonly directory: string;
  readonly id: ObjectId;
  /** Objects that the collections go on in. */
  readonly members: readonly ObjectId[];
  /** Offset of a collection's header. */
  readonly at: (name: string) => number;
}

const templates = new Map<boolean, Fixture>();

function fill(spread: boolean): Fixture {
  const directory = scratch();
  const limits = { ...POOL_LIMITS };
  if (spread) Object.assign(POOL_LIMITS, { home: 24 << 10, member: 160 << 10 });
  try {
    const space = open(directory, { host, segmentSize: 1 << 18 });
    const all = space.relaxed(() => {
      const made = space.create(Everything);
      fillAll(made);
      space.names.set('/all', made);
      return made;
    });
    const root = offsetOf(all);
    const { id } = objectOf(all);
    const members = objectOf(all)
      .fot()
      .flatMap((entry) => (entry.id === undefined ? [] : [entry.id]));
    space.close();
    const at = (name: string): number =>
      root + (Everything.layout.fields.find((field) => field.name === name)?.offset ?? assert.fail(name));
    return { directory, id, members, at };
  } finally {
    Object.assign(POOL_LIMITS, limits);
  }
}

/** A copy of a space. `spread`: collections go on in many objects. */
export function everything(spread = false): Fixture {
  let template = templates.get(spread);
  if (template === undefined) {
    template = fill(spread);
    templates.set(spread, template);
  }
  const directory = scratch();
  fs.cpSync(template.directory, directory, { recursive: true });
  return { ...template, directory };
}

export const fileOf = (it: Pick<Fixture, 'directory'>, id: ObjectId): string =>
  path.join(it.directory, 'objects', id.slice(0, 2), `${id}.twz`);

/** Changes the object that all lies in. */
export function damage(it: Fixture, plant: (dv: DataView) => void): void {
  edit(fileOf(it, it.id), (dv, image) => {
    plant(dv);
    restamp(image);
  });
}

/**
 * Fuzz: object files, log segments and control files with random damage are opened, read, changed, checked, repaired and shown.
 * Every call must work or throw a TwzError; anything else is a failure. Run in a process of its own, so that a wild access is seen as
 * the signal that it ends in:
 *
 *   node dist/test/fuzz.js [--seed N] [--rounds N]
 *
 * The generator repairs checksums most of the time, since otherwise nothing would get past them.
 */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { crc32c } from '../src/abi/crc32c.ts';
import { META, PAGE } from '../src/abi/format.ts';
import { CONTROL, FRAME, SEGMENT_HEADER } from '../src/abi/log-format.ts';
import { isTwzError } from '../src/abi/errors.ts';
import { chooseHost } from '../src/host/choose.ts';
import { cursor, closeCursor, objectOf, open, type ObjectId, type Space } from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';
import { SpaceImage } from '../src/services/check/image.ts';
import { eachWord } from '../src/services/check/log-scan.ts';
import { ObjectImage } from '../src/services/check/object-image.ts';
import { getField } from '../src/services/fields.ts';
import { graphFrom, graphToDot } from '../src/services/graph.ts';
import { plainValue, viewObject, viewTyped } from '../src/services/show.ts';
import { Person, restamp } from './damage.ts';

const host = chooseHost(() => undefined);
const SEGMENT_SIZE = 1 << 18;
/** A round that takes longer is a failure: something runs in circles. */
const ROUND_MS_MAX = 60_000;

class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 up to `below`, which it is not. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below;
  }

  integer(below: number): number {
    return Math.floor(this.below(below));
  }

  chance(share: number): boolean {
    return this.below(1) < share;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.integer(list.length)] as T;
  }
}

// --- the space that is damaged ------------------------------------------------------------------------------------------------

function build(directory: string): void {
  const space = open(directory, { segmentSize: SEGMENT_SIZE, host });
  space.relaxed(() => {
    const alice = space.create(Person, { name: 'Alice', photo: new Uint8Array(3000) });
    const hub = space.create(Person, { name: 'Hub' });
    alice.friend = space.make(Person, alice, { name: 'Dave', age: 4 });
    space.free(space.make(Person, alice, { name: 'gone' }));
    for (let i = 0; i < 24; i++) {
      const leaf = space.create(Person, { name: `Leaf ${i}`, born: i });
      hub.others.set(i % 4, leaf);
      const knot = space.make(Person, hub, { name: `Knot ${i}` });
      knot.friend = hub.friend;
      knot.others.set(1, leaf);
      hub.friend = knot;
    }
    alice.thing = objectOf(hub);
    hub.friend = alice;
    space.names.mkns('/people');
    for (const [name, target] of [
      ['alice', alice],
      ['hub', hub],
    ] as const)
      space.names.set(`/people/${name}`, target);
    space.names.link('/boss', '/people/alice');
    space.names.set('/sealed', space.seal(alice));
    alice.others.set(2, space.late(Person, '/people/hub'));
  });
  space.relaxed(() => space.delete(space.create(Person, { name: 'short-lived' })));
  space.close();
  const again = open(directory, { host });
  const alice = again.names.get('/boss', Person);
  for (let i = 0; i < 30; i++) {
    again.relaxed(() => {
      alice.age = i;
      if (i % 5 === 0) again.names.set(`/people/${i}`, again.create(Person, { name: `Late ${i}` }));
      if (i === 21) again.names.remove('/people/10');
    });
  }
  again.sync();
  again.kernel.release();
}

type Files = ReadonlyMap<string, Uint8Array>;

function load(directory: string): Files {
  const files = new Map<string, Uint8Array>();
  for (const name of fs.readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()) {
    const file = path.join(directory, name);
    if (fs.statSync(file).isFile()) files.set(name, new Uint8Array(fs.readFileSync(file)));
  }
  return files;
}

/** Puts the directory back as it was. */
function restore(directory: string, files: Files): void {
  fs.rmSync(directory, { recursive: true, force: true });
  for (const [name, bytes] of files) {
    fs.mkdirSync(path.join(directory, path.dirname(name)), { recursive: true });
    fs.writeFileSync(path.join(directory, name), bytes);
  }
}

// --- damage -------------------------------------------------------------------------------------------------------------------

const VALUES = [
  0,
  1,
  2,
  3,
  7,
  63,
  64,
  255,
  256,
  4095,
  4096,
  4097,
  8192,
  12288,
  65535,
  65536,
  2 ** 24 - 1,
  2 ** 24,
  2 ** 30,
  2 ** 30 - 4096,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 4096,
  2 ** 32 - 1,
];

function mutate(random: Random, bytes: Uint8Array, from: number, to: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = from + random.integer(Math.max(1, to - from));
  switch (random.integer(6)) {
    case 0:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.integer(8));
      break;
    case 1:
      bytes[at] = random.integer(256);
      break;
    case 2:
    case 3: {
      const aligned = at & ~3;
      if (aligned + 4 <= bytes.length)
        view.setUint32(aligned, random.chance(0.6) ? random.pick(VALUES) : random.integer(bytes.length + 64), true);
      break;
    }
    case 4:
      bytes.fill(random.pick([0, 255]), at, Math.min(to, at + 1 + random.integer(64)));
      break;
    default:
      bytes.copyWithin(
        at,
        from + random.integer(Math.max(1, to - from)),
        Math.min(bytes.length, from + random.integer(Math.max(1, to - from)) + 32),
      );
  }
}

/** Where in an object file damage does most: the tables, the roots of structures, pointers. */
function mutateObject(random: Random, bytes: Uint8Array): Uint8Array {
  const times = 1 + random.integer(4);
  for (let i = 0; i < times; i++) {
    const zone = random.integer(10);
    if (zone < 1) mutate(random, bytes, 0, META.size);
    else if (zone < 5) mutate(random, bytes, META.size, META.pageMap + 64);
    else mutate(random, bytes, PAGE, bytes.length);
  }
  let result = bytes;
  if (random.chance(0.05)) result = bytes.slice(0, random.integer(bytes.length));
  else if (random.chance(0.03)) {
    result = new Uint8Array(bytes.length + random.pick([1, PAGE, 5 * PAGE]));
    result.set(bytes);
  }
  if (result.length >= PAGE && random.chance(0.85)) restamp(result);
  return result;
}

/** Damages frames, and mends their checksums from there on, so that what they say is read. */
function mutateSegment(random: Random, bytes: Uint8Array, replayAt: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const frames: { at: number; length: number; chain: number }[] = [];
  let chain = 0;
  for (let at = replayAt; at + FRAME.header <= bytes.length;) {
    const length = view.getUint32(at + FRAME.length, true);
    if (length < FRAME.header || length % 8 !== 0 || at + length > bytes.length) break;
    frames.push({ at, length, chain });
    chain = view.getUint32(at + FRAME.checksum, true);
    at += length;
  }
  const victim = random.pick(frames);
  if (victim === undefined) return;
  const keepHeader = random.chance(0.7);
  mutate(random, bytes, victim.at + (keepHeader ? FRAME.sections : 0), victim.at + victim.length);
  if (random.chance(0.3)) return;
  let before: number | undefined;
  for (const frame of frames) {
    if (frame.at < victim.at) continue;
    const words = new Int32Array(bytes.slice(frame.at, frame.at + frame.length).buffer);
    const seed = before ?? (frame === frames[0] ? undefined : frame.chain);
    // The chain before the first frame stands in the control file: such a frame stays broken.
    if (seed === undefined) return;
    before = crc32c(words, FRAME.lsn / 4, words.length, seed);
    view.setUint32(frame.at + FRAME.checksum, before, true);
  }
}

function mutateControl(random: Random, bytes: Uint8Array): void {
  const slot = random.integer(2) * CONTROL.slot;
  mutate(random, bytes, slot, slot + CONTROL.length);
  if (random.chance(0.2)) return;
  const words = new Int32Array(bytes.slice(slot, slot + CONTROL.checksum).buffer);
  new DataView(bytes.buffer).setUint32(slot + CONTROL.checksum, crc32c(words, 0, words.length, 0), true);
}

function plant(random: Random, directory: string, files: Files, replayAt: number): void {
  const names = [...files.keys()];
  const objects = names.filter((name) => name.endsWith('.twz') && name.startsWith('objects'));
  const choose = random.integer(10);
  const pick = (name: string): Uint8Array => (files.get(name) ?? new Uint8Array(0)).slice();
  if (choose < 7) {
    const times = 1 + random.integer(3);
    for (let i = 0; i < times; i++) {
      const name = random.pick(objects);
      fs.writeFileSync(path.join(directory, name), mutateObject(random, pick(name)));
    }
  } else if (choose < 9) {
    const name = `log/00000001.log`;
    const bytes = pick(name);
    mutateSegment(random, bytes, replayAt);
    fs.writeFileSync(path.join(directory, name), bytes);
    if (random.chance(0.8)) fs.rmSync(path.join(directory, 'log/tail'), { force: true });
    else if (random.chance(0.5)) {
      const tail = pick('log/tail');
      mutate(random, tail, 0, 8192);
      fs.writeFileSync(path.join(directory, 'log/tail'), tail);
    }
  } else {
    const bytes = pick('space.twz');
    mutateControl(random, bytes);
    fs.writeFileSync(path.join(directory, 'space.twz'), bytes);
  }
}

// --- use ----------------------------------------------------------------------------------------------------------------------

const typed = new Map<string, number>();

/** Runs one call: it works or throws a TwzError. */
function call<T>(body: () => T): T | undefined {
  try {
    return body();
  } catch (error) {
    if (!isTwzError(error)) throw error;
    typed.set(error.name, (typed.get(error.name) ?? 0) + 1);
    return undefined;
  }
}

function readAll(space: Space, id: ObjectId): void {
  call(() => {
    let person: Person | null = space.get(id, Person);
    for (let i = 0; person !== null && i < 60; i++) {
      const at: Person = person;
      for (const name of ['name', 'photo', 'age', 'mood', 'born', 'thing']) call(() => void Reflect.get(at, name));
      call(() => [...at.others].map((other) => other?.name));
      person = call((): Person | null => at.friend) ?? null;
    }
  });
  call(() => {
    const c = cursor(Person, space.get(id, Person));
    for (let i = 0; i < 60 && (call(() => c.follow('friend')) ?? false); i++) call(() => c.age);
    closeCursor(c);
  });
  call(() => space.object(id).schema);
  call(() => space.object(id).fot());
  call(() => space.object(id).bytes(0, 64));
  call(() => getField(space, space.object(id), 'friend.name'));
}

function changeAll(space: Space, random: Random, ids: readonly ObjectId[]): void {
  for (const id of ids) {
    call(() => {
      space.relaxed(() => {
        const person = space.get(id, Person);
        person.name = 'a name that is longer than the one before';
        person.photo = new Uint8Array(random.integer(9000));
        person.friend = space.make(Person, person, { name: 'new' });
        person.others.set(3, space.get(random.pick(ids), Person));
        for (let i = 0; i < 20; i++) space.make(Person, person, { photo: new Uint8Array(i * 100) });
      });
    });
  }
  call(() => space.relaxed(() => space.free(space.get(random.pick(ids), Person))));
  call(() => space.relaxed(() => space.seal(random.pick(ids))));
  call(() => space.relaxed(() => space.copy(random.pick(ids))));
  call(() => space.relaxed(() => space.tie(random.pick(ids), random.pick(ids))));
  call(() => space.relaxed(() => space.delete(random.pick(ids))));
  call(() => space.names.set(`/people/new ${random.integer(1000)}`, random.pick(ids)));
  call(() => space.names.rename('/people/hub', '/moved'));
  call(() => space.names.remove('/people', { recursive: true }));
  call(() => space.reclaim());
}

function useSpace(directory: string, random: Random): void {
  const space = call(() => open(directory, { host, create: false }));
  if (space === undefined) return;
  const ids = call(() => [...space.ids()]) ?? [];
  for (const path_ of ['/', '/people']) call(() => space.names.list(path_));
  for (const path_ of ['/boss', '/people/alice', '/people/nobody', '/sealed']) call(() => space.names.lookup(path_));
  for (const id of ids) readAll(space, id);
  const snapshot = call(() => space.snapshot());
  if (ids.length > 0) changeAll(space, random, ids);
  if (snapshot !== undefined) {
    for (const id of ids.slice(0, 5)) call(() => snapshot.get(id, Person).name);
    call(() => snapshot.close());
  }
  call(() => space.checkpoint());
  if (random.chance(0.5)) call(() => space.close());
  if (!space.closed) space.kernel.release();
}

function readBytes(directory: string): void {
  call(() => {
    const image = new SpaceImage(host, directory);
    const reader = image.reader();
    for (let frame = reader?.next(), i = 0; frame !== undefined && i < 1000; frame = reader?.next(), i++) {
      for (const section of frame.sections ?? []) eachWord(section, () => undefined);
    }
    const read = (id: ObjectId): ObjectImage | undefined => {
      const object = image.object(id);
      return object === undefined || object.bytes.length < PAGE ? undefined : new ObjectImage(object.bytes);
    };
    for (const id of image.ids()) {
      const object = read(id);
      if (object === undefined) continue;
      viewObject(object);
      const value = viewTyped(object, read, { depth: 2, items: 8 });
      if (typeof value !== 'string') plainValue(value);
    }
    graphToDot(graphFrom(image.ids(), read, { depth: 3, most: 200 }), (id) => id);
  });
}

// --- the rounds -----------------------------------------------------------------------------------------------------------------

function round(directory: string, files: Files, replayAt: number, seed: number): void {
  const random = new Random(seed);
  restore(directory, files);
  plant(random, directory, files, replayAt);
  call(() => checkSpace(host, directory));
  readBytes(directory);
  const repairFirst = random.chance(0.3);
  if (repairFirst) call(() => checkSpace(host, directory, { repair: { clear: random.chance(0.5) } }));
  useSpace(directory, random);
  call(() => checkSpace(host, directory));
}

function main(): number {
  const { values } = parseArgs({ options: { seed: { type: 'string' }, rounds: { type: 'string' } } });
  const seed = Number(values.seed ?? Math.floor(performance.timeOrigin) % 2 ** 31);
  const rounds = Number(values.rounds ?? 1000);
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-fuzz-'));
  let failures = 0;
  try {
    build(directory);
    const files = load(directory);
    const bytes = Buffer.from(files.get('space.twz') ?? []);
    const replayAt =
      Math.max(...[0, CONTROL.slot].map((at) => Number(bytes.readBigUInt64LE(at + CONTROL.lsn)))) % SEGMENT_SIZE || SEGMENT_HEADER;
    for (let i = 0; i < rounds; i++) {
      const started = performance.now();
      // Known before the round begins, so that a crash or an endless loop tells its seed.
      fs.writeSync(2, `round ${i} seed ${seed + i}\n`);
      try {
        round(directory, files, replayAt, seed + i);
      } catch (error) {
        failures++;
        console.log(`FAILED seed ${seed + i}: ${error instanceof Error ? error.stack : String(error)}`);
      }
      const ms = performance.now() - started;
      if (ms > ROUND_MS_MAX) {
        failures++;
        console.log(`FAILED seed ${seed + i}: took ${Math.round(ms)} ms`);
      }
    }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
  const errors = [...typed].sort((a, b) => b[1] - a[1]).map(([name, n]) => `${name} ${n}`);
  console.log(`fuzz: seed ${seed}, ${rounds} rounds, ${failures} failures; typed errors: ${errors.join(', ')}`);
  return failures === 0 ? 0 : 1;
}

process.exitCode = main();

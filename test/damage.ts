/** A small space with something of everything, and ways to damage it. For check.test.ts and corruption.test.ts. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { crc32c } from '../src/abi/crc32c.ts';
import { META, PAGE } from '../src/abi/format.ts';
import { chooseHost } from '../src/host/choose.ts';
import {
  array,
  bytes,
  link,
  objectOf,
  offsetOf,
  oneOf,
  open,
  optional,
  ref,
  struct,
  text,
  u32,
  u8,
  type Infer,
  type ObjectId,
  type Space,
} from '../src/index.ts';
import type { FindingName } from '../src/services/check/findings.ts';
import { checkSpace, type CheckOptions, type CheckReport } from '../src/services/check.ts';

export const Person = struct('Person', {
  name: text,
  age: u8,
  mood: oneOf('calm', 'angry'),
  born: optional(u32),
  photo: bytes,
  thing: link,
  get friend() {
    return ref(Person);
  },
  get others() {
    return array(ref(Person), 4);
  },
});
export type Person = Infer<typeof Person>;

export const host = chooseHost(() => undefined);
export const SEGMENT_SIZE = 1 << 18;

export interface Fixture {
  readonly directory: string;
  readonly alice: ObjectId;
  readonly bob: ObjectId;
  readonly carol: ObjectId;
  /** Refers to 40 others. */
  readonly hub: ObjectId;
  /** More than 1024 pages, so that the page map has a chunk. */
  readonly large: ObjectId;
  readonly sealed: ObjectId;
  readonly leaves: readonly ObjectId[];
  /** Offset of Alice's friend in her object, who has a text. */
  readonly dave: number;
  /** Offset of a block in Alice's object that is free. */
  readonly hole: number;
}

const made: string[] = [];
process.on('exit', () => {
  for (const directory of made) fs.rmSync(directory, { recursive: true, force: true });
});

export function scratch(): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-damage-'));
  made.push(directory);
  return directory;
}

function fill(space: Space, directory: string): Fixture {
  return space.relaxed(() => {
    const alice = space.create(Person, { name: 'Alice', age: 30, photo: new Uint8Array(3000) });
    const bob = space.create(Person, { name: 'Bob', age: 31, born: 1990 });
    const carol = space.create(Person, { name: 'Carol', age: 32 });
    const dave = space.make(Person, alice, { name: 'Dave, who lives with Alice', age: 33 });
    const gone = space.make(Person, alice, { name: 'Eve' });
    alice.friend = dave;
    dave.friend = bob;
    bob.friend = carol;
    carol.friend = alice;
    carol.thing = objectOf(bob);
    const hole = offsetOf(gone);
    space.free(gone);
    const hub = space.create(Person, { name: 'Hub' });
    const leaves: ObjectId[] = [];
    let last: Person = hub;
    for (let i = 0; i < 40; i++) {
      const leaf = space.create(Person, { name: `Leaf ${i}` });
      leaves.push(objectOf(leaf).id);
      const knot = space.make(Person, hub, { name: `Knot ${i}` });
      knot.others.set(0, leaf);
      last.friend = knot;
      last = knot;
    }
    const large = space.create(Person, { name: 'Large', photo: new Uint8Array(5 << 20) });
    space.make(Person, large, { name: 'behind' });
    space.names.mkns('/people');
    space.names.set('/people/alice', alice, { owns: true });
    space.names.set('/people/bob', bob);
    space.names.set('/hub', hub);
    space.names.set('/large', large);
    space.names.link('/boss', '/people/alice');
    const sealed = space.seal(carol);
    space.names.set('/sealed', sealed);
    const id = (of: object): ObjectId => objectOf(of).id;
    return {
      directory,
      alice: id(alice),
      bob: id(bob),
      carol: id(carol),
      hub: id(hub),
      large: id(large),
      sealed,
      leaves,
      dave: offsetOf(dave),
      hole,
    };
  });
}

let template: Fixture | undefined;
let crashed: Fixture | undefined;

/** A fresh copy of a space that was closed in good order. */
export function closedSpace(): Fixture {
  if (template === undefined) {
    const directory = scratch();
    const space = open(directory, { segmentSize: SEGMENT_SIZE, host });
    template = fill(space, directory);
    // Removed now, so that the space has its list of deleted objects, too.
    space.relaxed(() => space.delete(space.create(Person, { name: 'short-lived' })));
    space.close();
  }
  return copyOf(template);
}

/** A fresh copy of a space whose process died with transactions in the log only. */
export function crashedSpace(): Fixture {
  if (crashed === undefined) {
    const before = closedSpace();
    const space = open(before.directory, { host });
    for (let i = 1; i <= 50; i++) {
      space.relaxed(() => {
        space.get(before.bob, Person).age = i;
        space.get(before.carol, Person).name = `Carol number ${i}`;
      });
    }
    space.sync();
    space.kernel.release();
    crashed = before;
  }
  return copyOf(crashed);
}

/** A file or directory of a template; of a file, the pages that are not all zeros. */
interface Entry {
  readonly path: string;
  readonly size: number;
  readonly pages: readonly { readonly at: number; readonly bytes: Uint8Array }[] | undefined;
}

const ZEROS = Buffer.alloc(PAGE);

function entryOf(directory: string, name: string): Entry {
  const file = path.join(directory, name);
  if (fs.statSync(file).isDirectory()) return { path: name, size: 0, pages: undefined };
  const bytes = fs.readFileSync(file);
  const pages = Array.from({ length: Math.ceil(bytes.length / PAGE) }, (_, i) => ({
    at: i * PAGE,
    bytes: bytes.subarray(i * PAGE, (i + 1) * PAGE),
  })).filter((page) => !page.bytes.equals(ZEROS.subarray(0, page.bytes.length)));
  return { path: name, size: bytes.length, pages };
}

const read = new Map<string, readonly Entry[]>();

/** Copies without the zeros, which are most of a space: its template is read once, and the file system makes zeros of holes. */
function copyOf(from: Fixture): Fixture {
  const directory = scratch();
  const names = (): string[] => (fs.readdirSync(from.directory, { recursive: true }) as string[]).sort();
  const entries = read.get(from.directory) ?? names().map((name) => entryOf(from.directory, name));
  read.set(from.directory, entries);
  for (const { path: name, size, pages } of entries) {
    const target = path.join(directory, name);
    if (pages === undefined) {
      fs.mkdirSync(target);
      continue;
    }
    const file = fs.openSync(target, 'w');
    fs.ftruncateSync(file, size);
    for (const { at, bytes } of pages) fs.writeSync(file, bytes, 0, bytes.length, at);
    fs.closeSync(file);
  }
  return { ...from, directory };
}

export const fileOf = (fixture: Fixture, id: ObjectId): string => path.join(fixture.directory, 'objects', id.slice(0, 2), `${id}.twz`);

/** Changes a file's bytes in place. */
export function edit(file: string, change: (view: DataView, bytes: Uint8Array) => void): void {
  const bytes = new Uint8Array(fs.readFileSync(file));
  change(new DataView(bytes.buffer), bytes);
  fs.writeFileSync(file, bytes);
}

/** Changes an object's bytes and gives the header the checksum that it then has: damage that the checksum does not tell. */
export function editObject(fixture: Fixture, id: ObjectId, change: (view: DataView, bytes: Uint8Array) => void): void {
  edit(fileOf(fixture, id), (view, bytes) => {
    change(view, bytes);
    restamp(bytes);
  });
}

export function restamp(bytes: Uint8Array): void {
  const page = bytes.slice(0, PAGE);
  page.fill(0, META.checksum, META.checksum + 4);
  new DataView(bytes.buffer).setUint32(META.checksum, crc32c(new Int32Array(page.buffer), 0, PAGE / 4, 0), true);
}

export function fieldOffset(name: string): number {
  const field = Person.layout.fields.find((each) => each.name === name);
  assert.ok(field !== undefined);
  return field.offset;
}

export function check(fixture: Fixture, options?: CheckOptions): CheckReport {
  return checkSpace(host, fixture.directory, options);
}

/** The names of what was found, notes left out unless they are asked for. */
export function found(report: CheckReport, notes = false): FindingName[] {
  return [...new Set(report.findings.filter((finding) => notes || finding.severity !== 'note').map((finding) => finding.name))].sort();
}

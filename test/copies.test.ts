/** T6: a copy shares its original's pages on disk until one of the two changes, and that nobody can tell. */
import assert from 'node:assert/strict';
import { PAGE } from '../src/abi/format.ts';
import type { ObjectId } from '../src/abi/id.ts';
import { bytes, objectOf, struct, u32, type Infer, type Space } from '../src/index.ts';
import { onHosts } from './hosts.ts';

const Page = struct('CopiesPage', { head: u32, rest: bytes });
type Page = Infer<typeof Page>;

/** More than what is read into memory rather than mapped. */
const LARGE = 200_000;

const content = (seed: number): Uint8Array => Uint8Array.from({ length: LARGE }, (_, i) => (i * 7 + seed) % 251);

/** A large object whose file is up to date. */
function original(space: Space): Page {
  const made = space.relaxed(() => space.create(Page, { head: 0, rest: content(1) }));
  space.checkpoint();
  // It comes before its copies in the next checkpoint.
  space.relaxed(() => (made.head = 1));
  return made;
}

function copyOf(space: Space, page: Page): ObjectId {
  return space.copy(page).id;
}

function unchanged(space: Space, id: ObjectId): void {
  const copy = space.get(id, Page);
  assert.equal(copy.head, 1);
  assert.deepEqual(copy.rest, content(1));
}

onHosts('T6: what is written to the file of an original does not reach its copies', (ground) => {
  const space = ground.open();
  const page = original(space);
  const first = space.relaxed(() => copyOf(space, page));
  const second = space.relaxed(() => copyOf(space, page));
  space.relaxed(() => {
    page.head = 2;
    page.rest = content(2);
  });
  unchanged(space, first);
  space.checkpoint();
  unchanged(space, first);
  unchanged(space, second);
  space.relaxed(() => (page.head = 3));
  space.checkpoint();
  const { id } = objectOf(page);
  const next = ground.afterDeath(space);
  unchanged(next, first);
  unchanged(next, second);
  assert.equal(next.get(id, Page).head, 3);
});

onHosts('T6: nor does what is written while the copy is being made', (ground) => {
  const space = ground.open({ objectsMax: 2, mappedMax: 1 << 20 });
  const page = original(space);
  const id = space.relaxed(() => {
    page.rest = content(2);
    return objectOf(page).id;
  });
  space.checkpoint();
  space.relaxed(() => (space.get(id, Page).rest = content(1)));
  const copy = space.relaxed(() => {
    const made = copyOf(space, space.get(id, Page));
    // No room: what other transactions changed is written, and let go of.
    for (let i = 0; i < 6; i++) space.create(Page, { rest: new Uint8Array(100_000) });
    unchanged(space, made);
    return made;
  });
  space.relaxed(() => (space.get(id, Page).rest = content(3)));
  space.checkpoint();
  unchanged(space, copy);
  unchanged(ground.afterDeath(space), copy);
});

onHosts('T6: a copy that was checkpointed while a raw view of it was held shows its own file afterwards, not the original’s', (ground) => {
  let space = ground.open();
  const page = original(space);
  const object = space.relaxed(() => space.copy(page));
  const { id } = object;
  space.relaxed(() => object.raw(PAGE * 4, 16).fill(9));
  space.checkpoint();
  // The original's file changes where the copy still may show it.
  space.relaxed(() => (page.rest = content(2)));
  space.checkpoint();
  object.releaseRaw();
  const expected = object.bytes(PAGE);
  assert.equal(expected[PAGE * 3], 9);
  for (const at of [PAGE * 4, PAGE * 20]) {
    space.relaxed(() => {
      object.handle.mark(at);
      object.handle.u8[at] = 8;
    });
    expected[at - PAGE] = 8;
  }
  space.checkpoint();
  assert.ok(Buffer.compare(object.bytes(PAGE), expected) === 0);
  space = ground.afterClose(space);
  assert.ok(Buffer.compare(space.object(id).bytes(PAGE), expected) === 0);
});

onHosts('T11: what an object grew by while a raw view was held is there after the next checkpoints', (ground) => {
  let space = ground.open();
  const object = space.relaxed(() => space.createRaw(100_000, { reserve: 1 << 20 }));
  const { id } = object;
  space.checkpoint();
  space.relaxed(() => object.raw(PAGE, 16).fill(1));
  const at = space.relaxed(() => {
    const made = object.allocate(50_000);
    object.handle.markRange(made, 50_000);
    object.handle.u8.fill(5, made, made + 50_000);
    return made;
  });
  space.checkpoint();
  object.releaseRaw();
  space.relaxed(() => {
    object.handle.mark(at);
    object.handle.u8[at] = 6;
  });
  const expected = object.bytes(PAGE);
  space.checkpoint();
  assert.ok(Buffer.compare(object.bytes(PAGE), expected) === 0);
  space = ground.afterClose(space);
  assert.ok(Buffer.compare(space.object(id).bytes(PAGE), expected) === 0);
});

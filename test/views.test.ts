/** T5: objects come into windows as they are used and leave them again; whoever holds an accessor does not notice. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { array, assign, cursor, closeCursor, f64, objectOf, ref, struct, text, u32, type Infer, type ObjectId } from '../src/index.ts';
import { fails, Ground, onHosts } from './hosts.ts';
import { amount } from './thorough.ts';

const Chunk = struct('Chunk', {
  index: u32,
  name: text,
  sum: f64,
  row: array(u32, 4),
  get next() {
    return ref(Chunk);
  },
});
type Chunk = Infer<typeof Chunk>;

test('T5: a space of 20 GB is walked in 2 GB of address space, and accessors from before go on working', (t) => {
  const ground = new Ground('linux', t);
  const count = 80;
  const size = 256 << 20;
  const small = { mappedMax: 2 * 2 ** 30 } as const;
  let space = ground.open(small);
  const ids: ObjectId[] = [];
  // Each object says that it has 256 MiB; the file is as sparse as what was stored is.
  for (let i = 0; i < count; i++) {
    space.relaxed(() => {
      const chunk = space.create(Chunk, { index: i, name: `chunk ${i}`, row: [i, i, i, i] }, { reserve: size });
      const { handle } = objectOf(chunk);
      handle.allocate(size - (4 << 20));
      space.make(Chunk, chunk, { index: i });
      ids.push(objectOf(chunk).id);
    });
    if (i % 16 === 15) space.checkpoint();
  }
  for (const [i, id] of ids.entries())
    space.relaxed(() => (space.get(id, Chunk).next = space.get(ids[(i * 7 + 1) % count] as ObjectId, Chunk)));
  space = ground.afterClose(space, small);
  let apparent = 0;
  let kept = 0;
  for (const id of ids) {
    const stat = fs.statSync(`${space.directory}/objects/${id.slice(0, 2)}/${id}.twz`);
    apparent += stat.size;
    kept += stat.blocks * 512;
  }
  assert.ok(apparent > 18 * 2 ** 30, `${apparent} bytes`);
  assert.ok(kept < 1 << 30, `${kept} bytes on disk: the test fills the disk`);
  const held = ids.map((id) => space.get(id, Chunk));
  for (let round = 0; round < 2; round++) {
    let at: Chunk | null = held[0] ?? null;
    const seen = new Set<number>();
    while (at !== null && !seen.has(at.index)) {
      const { index }: Chunk = at;
      seen.add(index);
      assert.equal(at.name, `chunk ${index}`);
      assert.deepEqual(
        [...at.row],
        [index, index, index, index].map((each) => each + round),
      );
      at = at.next;
    }
    const cycle = new Set<number>();
    for (let i = 0; !cycle.has(i); i = (i * 7 + 1) % count) cycle.add(i);
    assert.deepEqual([...seen], [...cycle]);
    // Stores through accessors whose object may be anywhere, or nowhere, by now.
    for (const chunk of held) space.relaxed(() => assign(chunk, { row: [1, 1, 1, 1].map((more) => chunk.index + round + more) }));
  }
  const { mapped } = space.stat();
  assert.ok(mapped.bytes <= small.mappedMax, `${mapped.bytes} bytes are mapped`);
  assert.ok(mapped.evictions > count, `${mapped.evictions} evictions`);
  space = ground.afterDeath(space, small);
  for (const [i, id] of ids.entries()) assert.equal(space.get(id, Chunk).row.get(0), i + 2);
});

onHosts(
  'T5: what is more than one window holds lies in several; references lead from one to another, and an object comes back in any of them',
  (ground) => {
    // Each takes a quarter of a window of 4 GiB, or half of one of 64 MiB. Later there is room for one and a half windows, or for two.
    const [size, count, mappedMax] = ground.name === 'linux' ? [2 ** 30, 9, 6 * 2 ** 30] : [32 << 20, 5, 2 * 2 ** 32];
    let space = ground.open();
    const made = space.relaxed(() =>
      Array.from({ length: count }, (_, index) => {
        const chunk = space.create(Chunk, { index }, { reserve: size });
        objectOf(chunk).handle.allocate(size - (size >> 4));
        return chunk;
      }),
    );
    const ids = made.map((chunk) => objectOf(chunk).id);
    const windowsOf = (chunks: readonly Chunk[]): Set<unknown> => new Set(chunks.map((chunk) => objectOf(chunk).handle.dv.buffer));
    assert.equal(windowsOf(made).size, 3);
    space.relaxed(() => made.forEach((chunk, i) => (chunk.next = made[(i + 1) % count] ?? null)));
    const walk = (from: Chunk): void => {
      let at: Chunk | null = from;
      for (let i = from.index; i < 2 * count; i++) {
        assert.equal(at?.index, i % count);
        at = at?.next ?? null;
      }
    };
    walk(made[0] as Chunk);
    space = ground.afterClose(space, { mappedMax });
    const held = ids.map((id) => space.get(id, Chunk));
    const places = new Set<string>();
    const rounds = amount(3, 4);
    for (let round = 0; round < rounds; round++) {
      walk(held[round] as Chunk);
      for (const [i, chunk] of held.entries()) space.relaxed(() => (chunk.sum = i + round));
      for (const [i, chunk] of held.entries()) assert.deepEqual([chunk.index, chunk.sum], [i, i + round]);
      const present = held.filter((chunk) => !objectOf(chunk).handle.cold);
      assert.equal(windowsOf(present).size, 2);
      places.add(present.map((chunk) => `${chunk.index} at ${objectOf(chunk).handle.dv.byteOffset}`).join());
      // One is used out of turn, so that the next round finds other places free.
      assert.equal(held[round]?.index, round);
    }
    assert.ok(places.size > 1, 'they come back elsewhere');
    assert.ok(space.stat().mapped.bytes <= mappedMax, `${space.stat().mapped.bytes} bytes are mapped`);
    assert.ok(space.stat().mapped.evictions > count);
    space = ground.afterDeath(space);
    for (const [i, id] of ids.entries()) assert.equal(space.get(id, Chunk).sum, i + rounds - 1);
  },
  ['linux', 'simulated'],
);

onHosts('T5: what is used between two looks stays, what is not leaves in the order in which it came; slots are used again', (ground) => {
  let space = ground.open();
  const count = 60;
  const made = space.relaxed(() => Array.from({ length: count }, (_, index) => space.create(Chunk, { index })));
  const ids = made.map((chunk) => objectOf(chunk).id);
  space = ground.afterClose(space, { mappedMax: 20 * 16384 });
  const handles = ids.map((id) => space.kernel.handle(id));
  const present = (): number[] => handles.flatMap(({ cold }, index) => (cold ? [] : [index]));
  const use = (index: number): void => assert.equal(space.get(ids[index] as ObjectId, Chunk).index, index);
  const hot = [3, 7];
  const windows = new Set<unknown>();
  for (let index = 0; index < count; index++) {
    use(index);
    for (const each of hot) if (each < index) assert.ok(!handles[each]?.cold, `${each} was used just before ${index} came`);
    for (const each of hot) if (each < index) use(each);
    windows.add(handles[index]?.dv.buffer);
    const now = present();
    const rest = now.filter((each) => !hot.includes(each));
    // The others are the newest ones, without a gap.
    assert.deepEqual(
      rest,
      Array.from({ length: index + 1 }, (_, i) => i)
        .filter((each) => !hot.includes(each))
        .slice(-rest.length),
      `after ${index}`,
    );
  }
  assert.ok(present().length < count / 2, 'most have left');
  assert.ok(windows.size === 1, 'all of them in one window');
  const { evictions } = space.stat().mapped;
  assert.ok(evictions >= count - present().length, `${evictions} evictions`);
  for (let index = 0; index < count; index++) use(index);
});

onHosts('T5: a growing object moves and its accessors go with it, while others come and go', (ground) => {
  let space = ground.open();
  const made = space.relaxed(() => Array.from({ length: 60 }, (_, index) => space.create(Chunk, { index, name: `chunk ${index}` })));
  const ids = made.map((chunk) => objectOf(chunk).id);
  space = ground.afterClose(space, { mappedMax: 20 * 16384 });
  const chunks = ids.map((id) => space.get(id, Chunk));
  const hot = chunks[0] as Chunk;
  const start = space.stat().mapped;
  for (const chunk of chunks) {
    assert.equal(chunk.index, chunks.indexOf(chunk));
    assert.equal(hot.name, 'chunk 0');
  }
  const { mapped } = space.stat();
  assert.ok(mapped.evictions > start.evictions);
  // Growth, page by page, past its slot, with everything else pressing on it.
  const texts: Chunk[] = [];
  for (let i = 0; i < 40; i++) {
    space.relaxed(() => texts.push(space.make(Chunk, hot, { index: 1000 + i, name: 'x'.repeat(5000) + i })));
    assert.equal(chunks[1 + (i % 59)]?.index, 1 + (i % 59));
  }
  assert.ok(objectOf(hot).size > 40 * 5000);
  texts.forEach((chunk, i) => assert.equal(chunk.name, 'x'.repeat(5000) + i));
  assert.equal(hot.name, 'chunk 0');
});

onHosts('T5: what a cursor holds stays where it is, and leaves when it is let go of', (ground) => {
  let space = ground.open();
  const made = space.relaxed(() => Array.from({ length: 200 }, (_, index) => space.create(Chunk, { index })));
  const ids = made.map((chunk) => objectOf(chunk).id);
  const mappedMax = 20 * 16384;
  space = ground.afterClose(space, { mappedMax });
  const chunks = ids.map((id) => space.get(id, Chunk));
  const held = chunks[3] as Chunk;
  const c = cursor(Chunk, held);
  for (const chunk of chunks) assert.ok(chunk.index >= 0);
  assert.ok(!objectOf(held).handle.cold);
  assert.equal(c.index, 3);
  const cursors = chunks.map((chunk) => cursor(Chunk, chunk));
  for (const [i, each] of cursors.entries()) assert.equal(each.index, i);
  assert.ok(
    chunks.every((chunk) => !objectOf(chunk).handle.cold),
    'all are held, limit or no limit',
  );
  for (const each of [c, ...cursors]) closeCursor(each);
  for (const [i, chunk] of chunks.entries()) assert.equal(chunk.index, i);
  space.relaxed(() => space.create(Chunk));
  assert.ok(space.stat().mapped.bytes <= mappedMax);
});

test('T5: a transaction that stores into more than there is room for is refused by name, and undone', (t) => {
  const ground = new Ground('linux', t);
  let space = ground.open();
  const ids = Array.from({ length: 5 }, (_, index) =>
    space.relaxed(() => {
      const chunk = space.create(Chunk, { index }, { reserve: 2 ** 30 });
      objectOf(chunk).handle.allocate(2 ** 30 - (64 << 20));
      return objectOf(chunk).id;
    }),
  );
  space = ground.afterClose(space, { mappedMax: 2 ** 30 });
  fails('TransactionTooLarge', () => space.relaxed(() => ids.forEach((id) => (space.get(id, Chunk).index = 77))));
  for (const [i, id] of ids.entries()) assert.equal(space.get(id, Chunk).index, i);
});

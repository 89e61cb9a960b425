/** T9: an object is defragmented: what it says stays, the pointers to it follow, what is empty goes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { PAGE } from '../src/abi/format.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import {
  array,
  bytes,
  caseless,
  closeCursor,
  cursor,
  hashMap,
  link,
  objectOf,
  offsetOf,
  open,
  optional,
  ref,
  struct,
  text,
  u16,
  u32,
  type Infer,
  type ObjectId,
  type Space,
} from '../src/index.ts';
import type { LossMode } from '../src/host/simulated/loss.ts';
import { run } from '../src/kernel/transaction.ts';
import { checkSpace } from '../src/services/check.ts';
import { defragment } from '../src/services/defragment.ts';
import type { Ground } from './hosts.ts';
import { fails, onHosts, thrown } from './hosts.ts';
import { amount } from './thorough.ts';

const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

const Point = struct('DefragPoint', { x: u16, y: u16 });
const Node = struct('DefragNode', {
  value: u32,
  name: text,
  data: bytes,
  place: Point,
  also: optional(text),
  whole: link,
  get next() {
    return ref(Node);
  },
  get others() {
    return array(ref(Node), 3);
  },
});
type Node = Infer<typeof Node>;

function sound({ host, directory }: { host: Ground['host']; directory: string }): void {
  const { findings } = checkSpace(host, directory);
  assert.deepEqual(
    findings.filter(({ severity, name }) => severity !== 'note' && name !== 'LogBroken'),
    [],
  );
}

/** All that can be reached from a node, in words, without a word of where it lies. */
function told(first: Node | null): string[] {
  const numbers = new Map<string, number>();
  const nodes: Node[] = [];
  const numberOf = (node: Node | null): string => {
    if (node === null) return '-';
    const key = `${objectOf(node).id} ${offsetOf(node)}`;
    const known = numbers.get(key);
    if (known !== undefined) return String(known);
    numbers.set(key, nodes.length);
    nodes.push(node);
    return String(nodes.length - 1);
  };
  numberOf(first);
  const lines: string[] = [];
  for (const node of nodes) {
    const others = Array.from({ length: 3 }, (_, i) => numberOf(node.others.get(i)));
    const { x, y } = node.place;
    lines.push(
      `${objectOf(node).id} ${node.value} ${node.name} ${Buffer.from(node.data).toString('hex')} ${x},${y} ${node.also ?? '-'} ` +
        `${node.whole?.id ?? '-'} ${numberOf(node.next)} ${others.join(' ')}`,
    );
  }
  return lines;
}

/** A list in one object, most of it freed again. The roots of two objects. */
function scattered(space: Space, count: number, keep: (i: number) => boolean): [ObjectId, ObjectId] {
  return space.relaxed(() => {
    const home = space.create(Node, { name: 'home' });
    const other = space.create(Node, { name: 'other', value: 7 });
    const all = Array.from({ length: count }, (_, i) =>
      space.make(Node, home, {
        value: i,
        name: `node ${i} ${'x'.repeat((i * 37) % 300)}`,
        data: new Uint8Array((i * 53) % 6000).fill(i),
        place: { x: i, y: i + 1 },
        also: i % 3 === 0 ? `also ${i}` : undefined,
        whole: i % 5 === 0 ? other : i % 5 === 1 ? home : null,
      }),
    );
    let last = home;
    for (const [i, node] of all.entries()) {
      if (!keep(i)) continue;
      last.next = node;
      last = node;
    }
    const kept = all.filter((_, i) => keep(i));
    for (const [i, node] of kept.entries()) {
      node.others.set(0, kept[(i * 7 + 3) % kept.length] ?? null);
      node.others.set(1, i % 4 === 0 ? other : null);
    }
    // From elsewhere into the middle, and by a struct that only a third object leads to.
    other.next = kept[Math.floor(kept.length / 2)] ?? null;
    other.others.set(2, kept.at(-1) ?? null);
    const third = space.create(Node, { name: 'third' });
    third.next = space.make(Node, other, { value: 8, name: 'inside the other', next: kept[0] ?? null });
    home.others.set(2, third);
    for (const [i, node] of all.entries()) if (!keep(i)) space.free(node);
    return [objectOf(home).id, objectOf(other).id];
  });
}

onHosts('T9: defragment empties sparse pages and cuts the object off; every pointer to it follows, from other objects too', (ground) => {
  let space = ground.open();
  const [id, other] = scattered(space, 1000, (i) => i % 11 === 0);
  space.checkpoint();
  const before = told(space.get(id, Node));
  const beforeOther = told(space.get(other, Node));
  const snapshot = space.snapshot();
  const copy = space.relaxed(() => space.copy(id)).id;
  const beforeCopy = told(space.get(copy, Node));
  const { size } = space.object(id);
  const { fragmentation } = space.object(id).usage();
  const done = space.defragment(id);
  assert.equal(done.before, size);
  assert.equal(done.after, space.object(id).size);
  assert.ok(done.after < size / 5, `${done.before} bytes became ${done.after}`);
  assert.ok(done.moved.blocks > 50 && done.pointers > 150);
  // The other, the third, and the copy, whose references were copied too.
  assert.equal(done.referrers, 3);
  assert.deepEqual(done.unaccounted, { blocks: 0, bytes: 0, at: [] });
  assert.ok(space.object(id).usage().fragmentation < fragmentation);
  const same = (): void => {
    assert.deepEqual(told(space.get(id, Node)), before);
    assert.deepEqual(told(space.get(other, Node)), beforeOther);
    assert.equal(space.object(copy).size, size);
    assert.deepEqual(told(space.get(copy, Node)), beforeCopy);
  };
  same();
  assert.deepEqual(told(snapshot.get(id, Node)), before);
  assert.equal(snapshot.object(id).size, size);
  space = ground.afterDeath(space);
  same();
  space.checkpoint();
  same();
  snapshot.close();
  space.close();
  sound(ground);
  space = ground.open();
  same();
  // Once more: there is nothing left to do.
  assert.deepEqual(space.defragment(id).moved, { blocks: 0, bytes: 0 });
});

/** A life that ends in a defragmentation, for machines that crash in it. */
const SETTINGS = { segmentSize: 1 << 20 } as const;
const DIRECTORY = '/space';

test('T9: a crash at any point of a defragmentation, or of the checkpoint after it, leaves what the object said', () => {
  let crashes = 0;
  for (const sharedMapping of [true, false]) {
    const host = new SimulatedHost({ windowSize: 1 << 22, sharedMapping, follow: true });
    const space = open(DIRECTORY, { ...SETTINGS, host });
    const [id, other] = scattered(space, 24, (i) => i % 6 === 0);
    space.checkpoint();
    const expected = [told(space.get(id, Node)), told(space.get(other, Node))];
    const { size } = space.object(id);
    const crashed: { machine: SimulatedHost; what: string }[] = [];
    host.onPoint = (point, call) => {
      for (const mode of ['lose', 'keep', 'random'] satisfies LossMode[])
        crashed.push({ machine: host.crash({ mode, seed: point }), what: `before ${call}: power lost, ${mode}` });
      crashed.push({ machine: host.kill(), what: `before ${call}: process died` });
    };
    assert.ok(space.defragment(id).after < size);
    space.checkpoint();
    host.onPoint = undefined;
    const sizes = new Set<number>();
    for (const { machine, what } of crashed) {
      const found = open(DIRECTORY, { ...SETTINGS, host: machine });
      assert.deepEqual([told(found.get(id, Node)), told(found.get(other, Node))], expected, what);
      sizes.add(found.object(id).size);
      found.close();
      sound({ host: machine, directory: DIRECTORY });
      machine.discard();
      crashes++;
    }
    assert.equal(sizes.size, 2, 'some are found before it, some after');
    space.close();
    host.discard();
  }
  assert.ok(crashes > 40, `${crashes} crashes`);
});

test(`T9: whatever was freed, and whatever is stored as plain words, defragment leaves what the object said; seed ${SEED}`, () => {
  let moved = 0;
  fc.assert(
    fc.property(
      fc.integer({ min: 20, max: 120 }),
      fc.uniqueArray(fc.nat(119)),
      fc.array(fc.record({ node: fc.nat(119), granules: fc.boolean(), size: fc.constantFrom(64, 1000, 9000) }), { maxLength: 4 }),
      fc.boolean(),
      (count, kept, raw, abort) => {
        const host = new SimulatedHost({ windowSize: 1 << 23 });
        let space = open(DIRECTORY, { ...SETTINGS, host });
        const [id, other] = scattered(space, count, (i) => i === 0 || kept.includes(i));
        const nodes: Node[] = [];
        for (let node = space.get(id, Node).next; node !== null; node = node.next) nodes.push(node);
        // Blocks that the program keeps words in: places of nodes, in two ways of writing them.
        const blocks = space.relaxed(() =>
          raw.map(({ node, granules, size }) => {
            const to = nodes[node % nodes.length];
            assert.ok(to !== undefined);
            const object = space.object(id);
            const at = object.allocate(size);
            object.handle.mark(at);
            object.handle.dv.setUint32(at, granules ? (5 << 22) | (offsetOf(to) >>> 4) : offsetOf(to), true);
            return { at, size, to: offsetOf(to), value: to.value };
          }),
        );
        const before = told(space.get(id, Node));
        const bytesBefore = space.object(id).bytes(PAGE);
        if (abort) {
          space.checkpoint();
          const { kernel } = space;
          assert.equal(
            thrown(() => run(kernel, () => assert.fail(String(defragment(kernel, kernel.open(id), true).after)))) instanceof Error,
            true,
          );
          assert.ok(Buffer.compare(space.object(id).bytes(PAGE), bytesBefore) === 0, 'an abort puts every byte back');
        } else {
          const done = space.defragment(id);
          moved += done.moved.blocks;
          assert.equal(done.unaccounted.blocks, raw.length);
          assert.deepEqual(
            done.unaccounted.at,
            blocks.map(({ at }) => at).sort((x, y) => x - y),
          );
        }
        const same = (): void => {
          assert.deepEqual(told(space.get(id, Node)), before);
          assert.equal(space.get(other, Node).value, 7);
          for (const { to, value } of blocks) assert.equal(space.object(id).handle.dv.getUint32(to, true), value, 'what words name stays');
        };
        same();
        // It can be used as before.
        space.relaxed(() => {
          const home = space.get(id, Node);
          const more = Array.from({ length: 30 }, (_, i) => space.make(Node, home, { name: 'm'.repeat(i * 40) }));
          for (const node of more) space.free(node);
        });
        same();
        space.close();
        sound({ host, directory: DIRECTORY });
        space = open(DIRECTORY, { ...SETTINGS, host });
        same();
        space.close();
        host.discard();
      },
    ),
    { seed: SEED, numRuns: Number(process.env['FC_RUNS'] ?? amount(15, 25)), includeErrorInReport: true, endOnFailure: true },
  );
  assert.ok(moved > 0, `${moved} blocks were moved`);
});

const Town = struct('DefragTown', {
  people: hashMap(caseless, ref(Node)),
  places: hashMap(caseless, Point),
  first: ref(Node),
  place: ref(Point),
  raw: link,
});

onHosts(
  'T9: names and collections say what they said after all objects of a space were defragmented; values in place stay',
  (ground) => {
    let space = ground.open();
    const id = space.relaxed(() => {
      const town = space.create(Town);
      const all = Array.from({ length: 300 }, (_, i) => space.make(Node, town, { value: i, name: `person ${i}` }));
      for (const [i, node] of all.entries()) {
        if (i % 6 !== 0) space.free(node);
        else {
          town.people.set(`key ${i}`, node);
          if (town.first !== null) node.next = town.first;
          town.first = node;
        }
      }
      for (let i = 0; i < 200; i++) town.places.set(String(i), { x: i, y: i * 2 });
      // Into a record: a typed reference, and the map's own words.
      town.place = town.places.get('150') ?? null;
      for (let i = 0; i < 150; i++) town.places.delete(String(i));
      return objectOf(town).id;
    });
    space.names.mkns('/a');
    for (let i = 0; i < 400; i++) space.names.set(`/a/name ${i}`, id);
    for (let i = 0; i < 400; i++) if (i % 5 !== 0) space.names.remove(`/a/name ${i}`);
    const said = (): string[] => {
      const town = space.get(id, Town);
      const { place } = town;
      return [
        ...Array.from(town.people, ([key, node]) => `${key} ${node?.value} ${node?.name}`).sort(),
        ...Array.from(town.places, ([key, { x, y }]) => `${key} ${x},${y}`).sort(),
        ...told(town.first).map((line) => line.slice(33)),
        `${place?.x},${place?.y}`,
        ...Array.from({ length: 400 }, (_, i) => `${i} ${space.names.lookup(`/a/name ${i}`) === id}`),
      ];
    };
    const before = said();
    for (const each of [...space.ids()]) space.defragment(each);
    assert.deepEqual(said(), before);
    space.relaxed(() => {
      const town = space.get(id, Town);
      const { place } = town;
      assert.ok(place !== null);
      place.x = 9999;
      assert.equal(town.places.get('150')?.x, 9999, 'one place');
      place.x = 150;
      for (let i = 1000; i < 1200; i++) town.places.set(String(i), { x: 1, y: 1 });
      for (let i = 1000; i < 1200; i++) town.places.delete(String(i));
    });
    space.names.set('/a/name 1', id);
    space.names.remove('/a/name 1');
    assert.deepEqual(said(), before);
    space.close();
    sound(ground);
    space = ground.open();
    assert.deepEqual(said(), before);
  },
  ['simulated'],
);

onHosts(
  'T9: parts of the page map and of the reference table do not keep an object long',
  (ground) => {
    let space = ground.open();
    const [id, targets] = space.relaxed(() => {
      const home = space.create(Node, { name: 'home' });
      const filler = Array.from({ length: 40 }, () => objectOf(home).allocate(100 * PAGE));
      let last = home;
      const ids = Array.from({ length: 300 }, (_, i) => {
        const target = space.create(Node, { value: i });
        last.next = space.make(Node, home, { value: i, whole: target, data: new Uint8Array(i === 299 ? 9000 : 0).fill(1) });
        last = last.next;
        return objectOf(target).id;
      });
      for (const at of filler) objectOf(home).free(at);
      return [objectOf(home).id, ids];
    });
    assert.ok(space.object(id).size > 4000 * PAGE);
    const { after } = space.defragment(id);
    assert.ok(after < 40 * PAGE, `${after} bytes`);
    const same = (): void => {
      const found: (ObjectId | undefined)[] = [];
      for (let node = space.get(id, Node).next; node !== null; node = node.next) found.push(node.whole?.id);
      assert.deepEqual(found, targets);
    };
    same();
    space = ground.afterDeath(space);
    same();
    // It grows again past what the page map had parts for.
    space.relaxed(() => space.object(id).allocate(3000 * PAGE));
    space.close();
    sound(ground);
    space = ground.open();
    same();
  },
  ['simulated'],
);

onHosts(
  'T9: nothing moves in an object that others may name blocks of in words of their own, and what is free comes back all the same',
  (ground) => {
    const space = ground.open();
    const [town, raw] = space.relaxed(() => {
      const made = space.create(Town);
      const all = Array.from({ length: 400 }, (_, i) => space.make(Node, made, { value: i, next: made.first }));
      for (const [i, node] of all.entries()) {
        if (i % 9 !== 0) continue;
        if (made.first !== null) node.next = made.first;
        made.first = node;
      }
      for (const [i, node] of all.entries()) if (i % 9 !== 0) space.free(node);
      // As a collection that has grown: an object without a type.
      const part = space.createRaw(64);
      made.raw = part;
      return [objectOf(made), part] as const;
    });
    assert.equal(space.defragment(town).moved.blocks, 0);
    assert.equal(space.defragment(raw).moved.blocks, 0);
    space.relaxed(() => (town.root(Town).raw = null));
    assert.ok(space.defragment(town).moved.blocks > 0);
    space.close();
    sound(ground);
  },
  ['simulated'],
);

onHosts(
  'T9: defragment refuses what is held in its place, or may not be changed',
  (ground) => {
    const space = ground.open();
    const [id, other] = scattered(space, 400, (i) => i % 7 === 0);
    const standing = cursor(Node, space.get(id, Node));
    fails('ObjectPinned', () => space.defragment(id));
    closeCursor(standing);
    space.relaxed(() => space.object(id).raw());
    fails('ObjectPinned', () => space.defragment(id));
    space.object(id).releaseRaw();
    const sealed = space.relaxed(() => space.seal(id));
    fails('ObjectImmutable', () => space.defragment(sealed));
    // What an immutable object leads to stays in its place.
    const witness = space.relaxed(() => space.seal(other));
    const before = [told(space.get(id, Node)), told(space.get(witness, Node))];
    const { moved } = space.defragment(id);
    assert.ok(moved.blocks > 0);
    assert.deepEqual([told(space.get(id, Node)), told(space.get(witness, Node))], before);
    // In a transaction with other changes blocks move, and the object stays as long as it is.
    space.relaxed(() => {
      for (const node of [space.get(id, Node).next, space.get(id, Node).others.get(2)]) if (node !== null) node.value++;
      const done = space.defragment(id);
      assert.equal(done.after, done.before);
    });
    space.close();
    sound(ground);
  },
  ['simulated'],
);

/** T8, T16: much at once. Large new objects go around the log; appended pages need no marks; ordered maps take what ascends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTwzError } from '../src/abi/errors.ts';
import { PAGE } from '../src/abi/format.ts';
import type { ObjectId } from '../src/abi/id.ts';
import { Random } from '../src/host/simulated/random.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { bytes, objectOf, open, orderedMap, struct, text, u32, type Infer, type OrderedMap, type Space } from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';
import { fails, Ground, objectFile, onHosts, thrown } from './hosts.ts';

const Blob = struct('Blob', { name: text, data: bytes, more: bytes });
type Blob = Infer<typeof Blob>;

/** More than goes through a log of small segments. */
const LARGE = 300_000;
const RUN = 100_000;

const filled = (length: number, seed: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i * 7 + seed + (i >>> 8));
const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** Drafts, and notes of drafts. */
function drafts({ kernel: { host, directory } }: Space): string[] {
  const notes = host.exists(`${directory}/drafts`) ? host.list(`${directory}/drafts`) : [];
  const shelves = host.list(`${directory}/objects`).flatMap((shelf) => host.list(`${directory}/objects/${shelf}`));
  return [...notes, ...shelves.filter((name) => !name.endsWith('.twz'))];
}

const create = (space: Space, seed: number): ObjectId =>
  objectOf(space.create(Blob, { name: `blob ${seed}`, data: filled(LARGE, seed) })).id;

const holds = (space: Space, id: ObjectId, seed: number): boolean => equal(space.get(id, Blob).data, filled(LARGE, seed));

onHosts('T8: a large new object goes around the log, and is there after deaths, changes, checkpoints and closings', (ground) => {
  let space = ground.open();
  const before = space.stat().log.appended;
  const ids = space.relaxed(() => [create(space, 1), create(space, 2), create(space, 3)]);
  const [a, b, c] = ids as [ObjectId, ObjectId, ObjectId];
  assert.ok(space.stat().log.appended - before < 20_000, 'it went through the log');
  assert.deepEqual(drafts(space), []);
  assert.ok(space.kernel.host.exists(objectFile(space, a)));
  space = ground.afterDeath(space);
  assert.ok(holds(space, a, 1) && holds(space, b, 2) && holds(space, c, 3));
  space.relaxed(() => {
    const data = filled(LARGE, 1);
    data[200_000] = 99;
    space.get(a, Blob).name = 'renamed';
    space.get(a, Blob).more = data;
    space.delete(b);
  });
  space = ground.afterDeath(space);
  assert.equal(space.get(a, Blob).name, 'renamed');
  assert.equal(space.get(a, Blob).more[200_000], 99);
  assert.ok(holds(space, a, 1) && holds(space, c, 3) && !space.has(b));
  space.checkpoint();
  space.relaxed(() => (space.get(c, Blob).name = 'after'));
  space = ground.afterClose(ground.afterDeath(space));
  assert.equal(space.get(c, Blob).name, 'after');
  assert.ok(holds(space, a, 1) && holds(space, c, 3));
});

onHosts('T8: an object that was adopted is copied, snapshotted, exposed and grown like any other', (ground) => {
  let space = ground.open();
  const id = space.relaxed(() => create(space, 5));
  const snapshot = space.snapshot();
  const copy = space.relaxed(() => {
    const made = space.copy(space.get(id, Blob)).id;
    space.get(id, Blob).more = filled(LARGE, 6);
    return made;
  });
  assert.ok(equal(snapshot.get(id, Blob).data, filled(LARGE, 5)) && snapshot.get(id, Blob).more.length === 0);
  snapshot.close();
  const obj = objectOf(space.get(copy, Blob));
  assert.throws(
    () =>
      space.relaxed(() => {
        obj.raw().fill(1, PAGE * 3, PAGE * 4);
        throw new Error('stop');
      }),
    /stop/,
  );
  obj.releaseRaw();
  assert.ok(holds(space, copy, 5));
  space = ground.afterDeath(space);
  assert.ok(holds(space, copy, 5) && holds(space, id, 5) && equal(space.get(id, Blob).more, filled(LARGE, 6)));
});

onHosts('T8: an aborted transaction leaves no draft, and what a dead one left is removed', (ground) => {
  let space = ground.open();
  const kept = space.relaxed(() => create(space, 1));
  space.checkpoint();
  const lost = '0123456789abcdef0123456789abcdef';
  assert.throws(
    () =>
      space.relaxed(() => {
        create(space, 2);
        throw new Error('stop');
      }),
    /stop/,
  );
  assert.deepEqual(drafts(space), []);
  // As if a process had died between the writing and the commit.
  space.kernel.host.makeDirectory(`${space.directory}/objects/01`);
  ground.writeFile(`${space.directory}/drafts/${lost}`, new Uint8Array(0));
  ground.writeFile(`${space.directory}/objects/01/${lost}.draft`, filled(9000, 1));
  space = ground.afterDeath(space);
  assert.deepEqual(drafts(space), []);
  assert.ok(holds(space, kept, 1));
});

test('T8: where the disk is full a large new object is refused, and nothing is left of it', () => {
  const host = new SimulatedHost({ seed: 3 });
  const space = open('/space', { host, segmentSize: 1 << 20 });
  const kept = space.relaxed(() => create(space, 1));
  host.full = true;
  fails('DiskFull', () => space.relaxed(() => create(space, 2)));
  host.full = false;
  assert.deepEqual(drafts(space), []);
  const next = space.relaxed(() => create(space, 3));
  assert.ok(holds(space, kept, 1) && holds(space, next, 3));
  space.close();
});

onHosts(
  'T8: what a dead process left of large new objects is no finding',
  (ground) => {
    const space = ground.open();
    const [a, b] = space.relaxed(() => [create(space, 1), create(space, 2)]) as [ObjectId, ObjectId];
    space.relaxed(() => {
      space.get(a, Blob).name = 'changed';
      space.delete(b);
    });
    space.kernel.release();
    const report = checkSpace(ground.host, space.directory);
    assert.deepEqual(
      report.findings.filter(({ severity }) => severity !== 'note'),
      [],
    );
    const again = ground.open();
    assert.ok(holds(again, a, 1) && !again.has(b));
  },
  ['linux', 'simulated'],
);

test('T8: another process follows what goes around the log, renames it, changes it and deletes it', (t) => {
  const ground = new Ground('linux', t);
  const a = ground.open();
  const early = a.relaxed(() => create(a, 1));
  const b = ground.open();
  assert.ok(holds(b, early, 1));
  const [x, y, z] = a.relaxed(() => [create(a, 2), create(a, 3), create(a, 4)]) as [ObjectId, ObjectId, ObjectId];
  b.relaxed(() => {
    assert.ok(holds(b, x, 2));
    b.get(x, Blob).name = 'from b';
    b.delete(y);
  });
  // Both are in one thread: whoever writes to files would wait for the other to follow.
  a.refresh();
  b.checkpoint();
  assert.deepEqual(drafts(b), []);
  a.relaxed(() => {
    assert.equal(a.get(x, Blob).name, 'from b');
    // So many pages that they are logged as they are.
    a.get(x, Blob).more = filled(RUN, 9);
  });
  assert.ok(!a.has(y) && holds(a, z, 4) && holds(b, z, 4));
  b.refresh();
  assert.ok(equal(b.get(x, Blob).more, filled(RUN, 9)));
  b.refresh();
  a.checkpoint();
  const snapshot = b.snapshot();
  const grown = a.relaxed(() => create(a, 5));
  b.refresh();
  fails('ObjectMissing', () => snapshot.get(grown, Blob));
  assert.ok(holds(b, grown, 5));
  snapshot.close();
  b.close();
  const c = ground.afterDeath(a);
  for (const [id, seed] of [
    [early, 1],
    [x, 2],
    [z, 4],
    [grown, 5],
  ] as const)
    assert.ok(holds(c, id, seed));
  assert.ok(equal(c.get(x, Blob).more, filled(RUN, 9)));
});

// --- appended pages -------------------------------------------------------------------------------------------------------------

onHosts('T8: pages that a transaction adds are zeros again after its abort, raw views included', (ground) => {
  let space = ground.open();
  const id = space.relaxed(() => objectOf(space.create(Blob, { name: 'first' }, { reserve: 1 << 19 })).id);
  const obj = objectOf(space.get(id, Blob));
  const h = obj.handle;
  const grow = (rounds: number): void => {
    for (let i = 0; i < rounds; i++) {
      const at = obj.allocate(2048);
      assert.ok(
        h.u8.subarray(at, at + 2048).every((byte) => byte === 0),
        `round ${i}`,
      );
      h.markRange(at, 2048);
      h.u8.fill(i + 1, at, at + 2048);
    }
  };
  for (const raw of [false, true]) {
    const before = obj.bytes();
    const stop = new Error('stop');
    assert.equal(
      thrown(() =>
        space.relaxed(() => {
          grow(20);
          if (raw) obj.raw().fill(77, before.length - PAGE, before.length + 100);
          grow(5);
          throw stop;
        }),
      ),
      stop,
    );
    if (raw) obj.releaseRaw();
    assert.ok(equal(obj.bytes(), before));
  }
  const snapshot = space.snapshot();
  space.relaxed(() => {
    grow(30);
    if (ground.name !== 'portable') obj.raw(PAGE * 8, 10).fill(7);
    grow(10);
  });
  obj.releaseRaw();
  assert.equal(snapshot.get(id, Blob).name, 'first');
  snapshot.close();
  const after = obj.bytes();
  space = ground.afterDeath(space);
  assert.ok(equal(objectOf(space.get(id, Blob)).bytes(PAGE), after.slice(PAGE)));
});

// --- ordered maps -----------------------------------------------------------------------------------------------------------------

const Map32 = orderedMap(text, bytes);
type Loaded = OrderedMap<string, Uint8Array>;

/** Ascending from `from` on: runs of neighbours, then a leap that shares less with what was before. */
function* ascending(random: Random, from: string, count: number): Generator<string> {
  let last = from;
  for (let i = 0; i < count; i++) {
    const cut = random.below(last.length + 1);
    const digit = cut < last.length ? last.charCodeAt(cut) + 1 + random.below(2) : 48 + random.below(10);
    last = random.chance(0.6)
      ? `${last}${random.below(10)}`.slice(0, 30)
      : digit > 122
        ? `${last}0`
        : last.slice(0, cut) + String.fromCharCode(digit);
    if (last.length > 29) last = `${last.slice(0, 5)}z`;
    yield last;
  }
}

function agrees(map: Loaded, model: Map<string, number>): void {
  const keys = [...model.keys()].sort();
  assert.deepEqual([...map.keys()], keys);
  for (const key of keys) {
    assert.equal(map.get(key)?.[0], model.get(key), key);
    assert.equal(map.has(`${key}!`), model.has(`${key}!`));
  }
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`T16: loading is as setting one by one, whatever the keys share, seed ${seed}`, () => {
    const random = new Random(seed);
    const host = new SimulatedHost({ seed });
    const space = open('/space', { host });
    const map: Loaded = space.relaxed(() => space.create(Map32));
    const model = new Map<string, number>();
    const highest = (): string => [...model.keys()].sort().at(-1) ?? '';
    const value = new Uint8Array(1);
    for (let round = 0; round < 12; round++) {
      space.relaxed(() => {
        const keys = [...new Set(ascending(random, highest() || '5', random.below(160)))].filter((key) => key > highest()).sort();
        // The same bytes again and again, as of one who reads a file; now and then the map is used meanwhile.
        const entries = function* (): Generator<[string, Uint8Array]> {
          for (const key of keys) {
            const last = highest();
            if (random.chance(0.04) && last !== '') {
              map.delete(last);
              model.delete(last);
            }
            value[0] = random.below(256);
            model.set(key, value[0]);
            yield [key, value];
          }
        };
        map.load(entries());
        for (let i = random.below(6); i > 0; i--) {
          const key = String(random.below(1000));
          map.set(key, Uint8Array.of(i));
          model.set(key, i);
        }
        const from = random.pick([...model.keys()]) ?? '';
        if (random.chance(0.3)) {
          map.deleteRange({ from });
          for (const key of model.keys()) if (key >= from) model.delete(key);
        }
      });
      agrees(map, model);
    }
    space.close();
  });
}

onHosts('T16: a load that fails has added what came before, and the transaction decides', (ground: Ground) => {
  const space = ground.open();
  const map: Loaded = space.relaxed(() => space.create(Map32));
  const numbers = space.relaxed(() => space.create(orderedMap(u32, u32)));
  space.relaxed(() => {
    const some: [string, Uint8Array][] = ['a', 'b', 'c', 'c'].map((key) => [key, new Uint8Array(2)]);
    assert.ok(
      isTwzError(
        thrown(() => map.load(some)),
        'OutOfRange',
      ),
    );
    assert.ok(
      isTwzError(
        thrown(() => map.load([['b', new Uint8Array(1)]])),
        'OutOfRange',
      ),
    );
    assert.deepEqual([...map.keys()], ['a', 'b', 'c']);
    const wrong: [number, number][] = [
      [1, 1],
      [2, 2],
      [3, -1],
    ];
    assert.ok(
      isTwzError(
        thrown(() => numbers.load(wrong)),
        'OutOfRange',
      ),
    );
    assert.deepEqual([...numbers], wrong.slice(0, 2));
    numbers.load(Array.from({ length: 500 }, (_, i) => [10 + i, i]));
    assert.equal(numbers.get(509), 499);
    assert.equal(numbers.size, 502);
  });
  assert.equal(ground.afterDeath(space).get(objectOf(map).id, Map32).size, 3);
});

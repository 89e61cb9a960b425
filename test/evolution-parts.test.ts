/** T11, T13: migrated collections, their parts and other processes; and keys that are references. */
import assert from 'node:assert/strict';
import { META } from '../src/abi/format.ts';
import {
  hashMap,
  index,
  indexedMap,
  objectOf,
  orderedMap,
  ref,
  struct,
  text,
  tuple,
  u32,
  u64,
  vec,
  type ObjectId,
  type Space,
} from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { STAGE_LIMITS } from '../src/services/evolution/stage.ts';
import { message, problems } from './evolved.ts';
import { fails, onHosts } from './hosts.ts';

const V1 = struct('Item', { n: u32, name: text });
const V2 = struct('Item', { name: text, n: u64 }, { version: 2 });
const [Store1, Store2] = [struct('Store', { items: hashMap(u32, V1) }), struct('Store', { items: hashMap(u32, V2) })];
const COUNT = 3000;

/** Objects of collections that are full early, and short transactions. */
function crowded(t: { after(last: () => void): void }): void {
  const was = { ...POOL_LIMITS, bytes: STAGE_LIMITS.bytes };
  t.after(() => {
    Object.assign(POOL_LIMITS, { home: was.home, member: was.member });
    STAGE_LIMITS.bytes = was.bytes;
  });
  Object.assign(POOL_LIMITS, { home: 1 << 15, member: 1 << 18 });
  STAGE_LIMITS.bytes = 1 << 15;
}

function fill(space: Space): ObjectId {
  return space.relaxed(() => {
    const store = space.create(Store1);
    for (let i = 0; i < COUNT; i++) store.items.set(i, { n: i, name: `name ${i}` });
    return objectOf(store).id;
  });
}

const sum = (space: Space, id: ObjectId): number => {
  let total = 0;
  for (const { n, name } of space.get(id, Store2).items.values()) total += n + (name.startsWith('name') ? 0 : 1e9);
  return total;
};
const WHOLE = ((COUNT - 1) * COUNT) / 2;

onHosts('T11: copies of what has grown into many objects are migrated by themselves, and sealed ones are refused', (ground, t) => {
  crowded(t);
  let space = ground.open();
  const id = fill(space);
  const [copy, sealed] = space.relaxed(() => [space.copy(id).id, space.seal(id)] as const);
  const unsealed = space.relaxed(() => space.copy(sealed).id);
  const Holder = struct('Holder', { item: ref(V1) });
  const holders = [id, copy, unsealed].map((each) =>
    space.relaxed(() => objectOf(space.create(Holder, { item: space.get(each, Store1).items.get(COUNT - 1) ?? null })).id),
  );
  space = ground.afterDeath(space);
  const Newer = struct('Holder', { item: ref(V2) });
  // Each part says whose it is.
  for (const holder of holders) fails('TypeOutdated', () => space.get(holder, Newer).item?.n);
  const { objects, migrated, refused } = space.migrate(Store2);
  assert.deepEqual([objects, migrated, refused.map((each) => [each.id, each.error.name])], [4, 3, [[sealed, 'TypeOutdated']]]);
  for (const [i, each] of [id, copy, unsealed].entries()) {
    assert.equal(sum(space, each), WHOLE);
    assert.equal(space.get(holders[i] as ObjectId, Newer).item?.n, COUNT - 1);
  }
  assert.equal(space.get(sealed, Store1).items.get(7)?.name, 'name 7');
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

onHosts(
  'T11, T13: what another process changes while a collection is filled anew is in it; it sees the new one, and reads it no longer as the old',
  (ground, t) => {
    crowded(t);
    const space = ground.open();
    const id = fill(space);
    const other = ground.open();
    const theirs = other.get(id, Store1);
    const { log } = space.kernel;
    const pace = log.pace.bind(log);
    let changes = 0;
    // Between two of the transactions.
    log.pace = () => {
      pace();
      if (changes >= 2) return;
      changes++;
      other.relaxed(() => theirs.items.set(COUNT + changes, { n: 1000 * changes, name: 'name of the other' }));
    };
    assert.deepEqual(space.migrate(Store2).refused, []);
    assert.equal(changes, 2);
    assert.equal(sum(space, id), WHOLE + 3000);
    assert.equal(space.get(id, Store2).items.size, COUNT + 2);
    fails('TypeNewer', () => other.get(id, Store1));
    assert.equal(sum(other, id), WHOLE + 3000);
    // The other one migrates when it opens, and this one sees that.
    const small = space.relaxed(() => objectOf(space.create(Store1, { items: [[1, { n: 1, name: 'name' }]] })).id);
    assert.equal(space.get(small, Store1).items.get(1)?.n, 1);
    assert.equal(other.get(small, Store2).items.get(1)?.n, 1);
    fails('TypeNewer', () => space.get(small, Store1));
    other.close();
    space.close();
    assert.deepEqual(problems(ground.host, ground.directory), []);
  },
  ['linux'],
);

onHosts(
  'T11: maps whose keys are references keep them when their values change; a struct that keys refer to does not change',
  (ground, t) => {
    crowded(t);
    const Town = struct('Town', { name: text });
    const keys = { towns: hashMap(ref(Town), V1), pairs: orderedMap(tuple(ref(Town), u32), V1) };
    const newer = { towns: hashMap(ref(Town), V2), pairs: orderedMap(tuple(ref(Town), u32), V2) };
    const Atlas1 = struct('Atlas', {
      ...keys,
      all: vec(ref(Town)),
      indexed: indexedMap(ref(Town), V1, { byTown: index(u32, (each) => each.n) }),
    });
    const Atlas2 = struct('Atlas', {
      ...newer,
      all: vec(ref(Town)),
      indexed: indexedMap(ref(Town), V2, { byTown: index(u32, (each) => each.n) }),
    });
    let space = ground.open();
    const make = (count: number): ObjectId =>
      space.relaxed(() => {
        const atlas = space.create(Atlas1);
        const far = space.create(Town, { name: 'far' });
        for (let i = 0; i < count; i++) {
          const town = i === 1 ? far : space.make(Town, atlas, { name: `town ${i}` });
          atlas.all.push(town);
          atlas.towns.set(town, { n: i, name: `name ${i}` });
          atlas.pairs.set([town, i], { n: i, name: `name ${i}` });
          atlas.indexed.set(town, { n: i, name: `name ${i}` });
        }
        return objectOf(atlas).id;
      });
    const [small, large] = [make(20), make(400)];
    space = ground.afterDeath(space);
    const look = (id: ObjectId, count: number): void => {
      const atlas = space.get(id, Atlas2);
      assert.deepEqual([atlas.towns.size, atlas.pairs.size, atlas.indexed.size], [count, count, count]);
      for (let i = 0; i < count; i++) {
        const town = atlas.all.get(i);
        assert.deepEqual([atlas.towns.get(town)?.n, atlas.pairs.get([town, i])?.n, atlas.indexed.get(town)?.name], [i, i, `name ${i}`]);
      }
      assert.ok([...atlas.towns.keys()].some((town) => town?.name === 'far'));
      assert.deepEqual(atlas.indexed.verify(), []);
      assert.equal(atlas.indexed.by.byTown.find(7)?.[0]?.name, 'town 7');
    };
    look(small, 20);
    fails('TypeOutdated', () => space.get(large, Atlas2));
    assert.deepEqual(space.migrate(Atlas2).refused, []);
    look(small, 20);
    look(large, 400);
    const Town2 = struct('Town', { name: text, people: u32 }, { version: 2 });
    const Wrong = struct('Atlas', {
      towns: hashMap(ref(Town2), V2),
      pairs: orderedMap(tuple(ref(Town2), u32), V2),
      all: vec(ref(Town2)),
      indexed: indexedMap(ref(Town2), V2, { byTown: index(u32, (each) => each.n) }),
    });
    fails('TypeMismatch', () => space.get(small, Wrong));
    assert.match(
      message(() => space.get(small, Wrong)),
      /Atlas\.towns has keys that refer to a Town, which changes/,
    );
    look(small, 20);
    assert.equal(space.object(small).handle.dv.getUint32(META.forwards, true), 0);
    space.close();
    assert.deepEqual(problems(ground.host, ground.directory), []);
  },
);

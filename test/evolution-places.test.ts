/** T11: schema evolution and places: what stays where it is, what moves, and when a place that was left may be given back. */
import assert from 'node:assert/strict';
import { accessorAt } from '../src/lib/struct.ts';
import { array, caseless, hashMap, objectOf, offsetOf, ref, struct, text, u32, u8 } from '../src/index.ts';
import { blocksInUse, problems } from './evolved.ts';
import { fails, onHosts } from './hosts.ts';

onHosts('T11: a struct that fits stays in its block, but not where what lies inline in it would change its place', (ground) => {
  const Point = struct('Point', { x: u32, y: u32 });
  const Holder = struct('Holder', { point: ref(Point) });
  const Steady1 = struct('Steady', { id: u32, at: Point, n: u8 });
  const Shifted1 = struct('Shifted', { n: u8, at: Point, spare: u32 });
  const Steady2 = struct('Steady', { id: u32, at: Point, n: u32 }, { version: 2 });
  const Shifted2 = struct('Shifted', { first: u32, n: u8, at: Point }, { version: 2 });
  let space = ground.open();
  const [steady, shifted, toSteady, toShifted] = space.relaxed(() => {
    const a = space.create(Steady1, { at: { x: 1, y: 2 }, n: 3 });
    const b = space.create(Shifted1, { at: { x: 4, y: 5 }, n: 6 });
    const [c, d] = [space.create(Holder, { point: a.at }), space.create(Holder, { point: b.at })];
    return [objectOf(a).id, objectOf(b).id, objectOf(c).id, objectOf(d).id] as const;
  });
  const places = [steady, shifted].map((id) => space.object(id).rootOffset);
  space = ground.afterDeath(space);
  assert.deepEqual([space.get(steady, Steady2).n, space.get(shifted, Shifted2).n], [3, 6]);
  assert.equal(space.object(steady).rootOffset, places[0]);
  assert.notEqual(space.object(shifted).rootOffset, places[1]);
  for (let i = 0; i < 2; i++) {
    assert.deepEqual([space.get(toSteady, Holder).point?.y, space.get(toShifted, Holder).point?.y], [2, 5]);
    space = ground.afterClose(space);
  }
  space.migrate(Shifted2);
  assert.deepEqual([space.get(toSteady, Holder).point?.y, space.get(toShifted, Holder).point?.y], [2, 5]);
  assert.equal(blocksInUse(space.object(shifted)), 2);
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

onHosts('T11: a place that something unseen may refer to is not given back', (ground) => {
  const V1 = struct('Item', { name: text });
  const V2 = struct('Item', { name: text, a: u32, b: u32, c: u32 }, { version: 2 });
  const Holder1 = struct('Holder', { item: ref(V1) });
  const Holder2 = struct('Holder', { item: ref(V2) });
  let space = ground.open();
  const [item, holder, at] = space.relaxed(() => {
    const made = space.create(V1, { name: 'an item' });
    const seen = space.create(Holder1, { item: made });
    // Nothing typed leads to it: only the count of the entry tells that it is there.
    const unseen = space.make(Holder1, seen, { item: made });
    return [objectOf(made).id, objectOf(seen).id, offsetOf(unseen)] as const;
  });
  const before = blocksInUse(space.object(item));
  space = ground.afterDeath(space);
  assert.deepEqual({ ...space.migrate(V2) }, { objects: 1, migrated: 1, settled: 0, refused: [] });
  assert.equal(blocksInUse(space.object(item)), before + 2);
  const look = (): void => {
    const held = space.get(holder, Holder2);
    assert.equal(held.item?.name, 'an item');
    const unseen = accessorAt(Holder2, objectOf(held).handle, at);
    assert.deepEqual([unseen.item?.name, offsetOf(unseen.item ?? {})], ['an item', space.object(item).rootOffset]);
  };
  look();
  space = ground.afterClose(space);
  look();
  // Now it is gone, and the count says so.
  space.relaxed(() => space.free(accessorAt(Holder2, space.object(holder).handle, at)));
  assert.equal(space.migrate(V2).settled, 1);
  assert.equal(blocksInUse(space.object(item)), before);
  assert.equal(space.get(holder, Holder2).item?.name, 'an item');
});

onHosts(
  'T11: collections go along with the struct that holds them, and go with it; the older code is refused the newer values',
  (ground) => {
    const Town1 = struct('Town', { people: u32 });
    const [numbers, towns1] = [hashMap(caseless, u32), hashMap(caseless, Town1)];
    const V1 = struct('Atlas', { name: text, ages: numbers, towns: towns1 });
    const Plain1 = struct('Ages', { name: text, ages: numbers });
    const Plain2 = struct('Ages', { edition: array(u32, 20), name: text, ages: numbers }, { version: 2 });
    const Without = struct('Ages', { name: text }, { version: 3 });
    const Town2 = struct('Town', { people: u32, area: u32 }, { version: 2 });
    const towns2 = hashMap(caseless, Town2);
    const V2 = struct('Atlas', { name: text, ages: numbers, towns: towns2 });
    let space = ground.open();
    const [plain, atlas] = space.relaxed(() => {
      const ages = space.create(Plain1, { name: 'ages' });
      for (let i = 0; i < 500; i++) ages.ages.set(`name ${i}`, i);
      const made = space.create(V1, { name: 'atlas' });
      made.towns.set('here', { people: 5 });
      return [objectOf(ages).id, objectOf(made).id] as const;
    });
    space = ground.afterDeath(space);
    const ages = space.get(plain, Plain2);
    assert.deepEqual([ages.name, ages.edition.get(19), ages.ages.size, ages.ages.get('name 321')], ['ages', 0, 500, 321]);
    space.relaxed(() => {
      for (let i = 500; i < 1000; i++) ages.ages.set(`name ${i}`, i);
    });
    const here = space.get(atlas, V2).towns.get('here');
    assert.deepEqual([here?.people, here?.area], [5, 0]);
    fails('TypeNewer', () => space.get(atlas, V1));
    space = ground.afterClose(space);
    assert.equal(space.get(plain, Plain2).ages.get('name 999'), 999);
    assert.equal(space.get(plain, Plain2).ages.size, 1000);
    assert.equal(space.get(plain, Without).name, 'ages');
    assert.equal(space.migrate(Without).settled, 2);
    // The root, its name and the schema: nothing is left of the map.
    assert.equal(blocksInUse(space.object(plain)), 3);
    space.close();
    assert.deepEqual(problems(ground.host, ground.directory), []);
  },
);

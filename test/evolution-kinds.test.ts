/** T11: schema evolution in collections, case by case: code, roots, indexes, keys, places, older code, and what is refused by name. */
import assert from 'node:assert/strict';
import { META } from '../src/abi/format.ts';
import {
  caseless,
  graph,
  hashMap,
  index,
  indexedMap,
  list,
  log,
  migration,
  objectOf,
  offsetOf,
  open,
  orderedMap,
  queue,
  redBlackTree,
  ref,
  struct,
  text,
  tuple,
  u16,
  u32,
  u64,
  u8,
  vec,
} from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { blocksInUse, message, problems } from './evolved.ts';
import { fails, onHosts } from './hosts.ts';

/** Runs with objects of collections that are full early. */
function crowded(t: { after(last: () => void): void }): void {
  const was = { ...POOL_LIMITS };
  t.after(() => void Object.assign(POOL_LIMITS, was));
  Object.assign(POOL_LIMITS, { home: 1 << 15, member: 1 << 18 });
}

onHosts('T11: code converts values of collections, in one step or in several, when they are opened and by migrating all', (ground, t) => {
  crowded(t);
  const V1 = struct('Person', { name: text, age: u8 });
  const V2 = struct('Person', { first: text, last: text, age: u8 }, { version: 2 });
  const V3 = struct('Person', { last: text, first: text, born: u16, tags: vec(text) }, { version: 3 });
  migration(V1, V2, {
    migrate(old, fresh) {
      const [first = '', last = ''] = old.name.split(' ');
      fresh.first = first;
      fresh.last = last;
    },
  });
  migration(V2, V3, {
    migrate(old, fresh) {
      fresh.born = 2026 - old.age;
      fresh.tags.push(old.first, old.last);
    },
  });
  // One whose own code runs, too, beside a collection that stays as it is.
  const Town1 = struct('Town', { name: text, people: hashMap(caseless, V1), queue: queue(V1), streets: vec(text) });
  const Town3 = struct(
    'Town',
    { label: text, count: u32, oldest: u8, people: hashMap(caseless, V3), queue: queue(V3), streets: vec(text) },
    { version: 2 },
  );
  migration(Town1, Town3, {
    migrate(old, fresh) {
      fresh.label = old.name.toUpperCase();
      fresh.count = old.people.size + old.streets.length;
      fresh.oldest = Math.max(...Array.from(old.people.values(), (person) => person.age));
    },
  });
  let space = ground.open();
  const make = (count: number) =>
    space.relaxed(() => {
      const town = space.create(Town1, { name: 'here' });
      for (let i = 0; i < count; i++) {
        town.people.set(`Key ${i}`, { name: `First${i} Last${i}`, age: i % 100 });
        town.queue.push({ name: `Q${i} R${i}`, age: i % 50 });
        town.streets.push(`street ${i}`);
      }
      return objectOf(town).id;
    });
  const [small, large] = [make(20), make(600)];
  assert.ok([...space.ids()].length > 3);
  space = ground.afterDeath(space);
  const look = (id: typeof small, count: number): void => {
    const town = space.get(id, Town3);
    assert.deepEqual([town.label, town.count, town.oldest], ['HERE', count * 2, Math.min(count - 1, 99)]);
    assert.deepEqual([town.people.size, town.queue.length, town.streets.length], [count, count, count]);
    for (let i = 0; i < count; i += 7) {
      const person = town.people.get(`KEY ${i}`);
      assert.deepEqual([person?.first, person?.last, person?.born], [`First${i}`, `Last${i}`, 2026 - (i % 100)]);
      assert.deepEqual(person?.tags.toArray(), [`First${i}`, `Last${i}`]);
      assert.equal(town.streets.get(i), `street ${i}`);
    }
    assert.deepEqual([town.queue.peek()?.first, town.queue.peek()?.tags.length], ['Q0', 2]);
  };
  look(small, 20);
  fails('TypeOutdated', () => space.get(large, Town3));
  assert.equal(space.get(large, Town1).people.get('key 5')?.name, 'First5 Last5');
  assert.deepEqual(space.migrate(Town3).refused, []);
  look(small, 20);
  look(large, 600);
  space = ground.afterClose(space);
  look(large, 600);
  space.relaxed(() => {
    for (const id of [small, large]) {
      const town = space.get(id, Town3);
      for (const each of [town.people, town.queue, town.streets]) each.clear();
    }
  });
  // The root, its label, the schema and, for what was outgrown, the tables of three collections: nothing of the old is left.
  assert.equal(blocksInUse(space.object(small)), 3);
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

onHosts(
  'T11: a collection that is the root of its object is migrated, also where its struct has another name, in graphs as well',
  (ground) => {
    const V1 = struct('Person', { name: text, age: u8 });
    const V2 = struct('Human', { age: u32, name: text, note: text }, { version: 2 });
    migration(V1, V2, { defaults: { note: 'was a person' } });
    const E1 = struct('Knows', { since: u16 });
    const E2 = struct('Knows', { since: u32, how: text }, { version: 2 });
    const [Map1, Map2] = [hashMap(text, V1), hashMap(text, V2)];
    const [Graph1, Graph2] = [graph(V1, E1), graph(V2, E2)];
    let space = ground.open();
    const [map, net, holder] = space.relaxed(() => {
      const people = space.create(Map1, [
        ['ann', { name: 'Ann', age: 30 }],
        ['bob', { name: 'Bob', age: 40 }],
      ]);
      const made = space.create(Graph1, {
        nodes: [
          { name: 'a', age: 1 },
          { name: 'b', age: 2 },
        ],
        edges: [
          [0, 1, { since: 1999 }],
          [1, 0, { since: 2001 }],
        ],
      });
      const Holder = struct('Holder', { all: ref(Map1), one: ref(V1) });
      const held = space.create(Holder, { all: people, one: made.node(1) ?? null });
      return [objectOf(people).id, objectOf(made).id, objectOf(held).id] as const;
    });
    space = ground.afterDeath(space);
    const Holder = struct('Holder', { all: ref(Map2), one: ref(V2) });
    // Nothing but the root's type says what a graph becomes.
    fails('TypeOutdated', () => space.get(holder, Holder).one?.name);
    space.get(net, Graph2);
    assert.deepEqual([space.get(holder, Holder).one?.name, space.get(holder, Holder).all?.get('bob')?.age], ['b', 40]);
    const people = space.get(map, Map2);
    for (const [key, name, age] of [
      ['ann', 'Ann', 30],
      ['bob', 'Bob', 40],
    ] as const) {
      const { name: found, age: years, note } = people.get(key) ?? {};
      assert.deepEqual([found, years, note], [name, age, 'was a person']);
    }
    const now = space.get(net, Graph2);
    assert.deepEqual(
      Array.from(now.edges(), ({ id, from, to, value }) => [id, from, to, value.since, value.how]),
      [
        [0, 0, 1, 1999, ''],
        [1, 1, 0, 2001, ''],
      ],
    );
    space.relaxed(() => {
      assert.equal(now.addNode({ name: 'c', age: 3, note: '' }), 2);
      assert.equal(now.addEdge(2, 0, { since: 2026, how: 'well' }), 2);
    });
    assert.deepEqual(now.shortestPath(2, 1)?.nodes, [2, 0, 1]);
    fails('TypeMismatch', () => space.get(map, Map1));
    fails('TypeMismatch', () => space.get(net, Graph1));
    space.close();
    assert.deepEqual(problems(ground.host, ground.directory), []);
  },
);

onHosts(
  'T11: what values gain in the room that they have is stored where they lie; what is larger moves and is found by references',
  (ground) => {
    const V1 = struct('Item', { n: u32, a: u8 });
    const V2 = struct('Item', { n: u32, a: u8, b: u8 }, { version: 2 });
    const V3 = struct('Item', { n: u64, a: u8, b: u8 }, { version: 3 });
    const types = <V>(V: V & typeof V1) => ({
      hash: hashMap(text, V),
      vec: vec(V),
      list: list(V),
      log: log(V),
      tree: redBlackTree(u32, V),
      ordered: orderedMap(u32, V),
    });
    const all1 = struct('All', types(V1));
    // All have the fields that are looked at.
    const as1 = (V: unknown): typeof V1 => V as typeof V1;
    const [all2, all3] = [struct('All', types(as1(V2))), struct('All', types(as1(V3)))];
    const Holder = <V>(V: V & typeof V1) => struct('Holder', { items: vec(ref(V)) });
    let space = ground.open();
    const [id, holder] = space.relaxed(() => {
      const made = space.create(all1);
      for (let i = 0; i < 300; i++) {
        const value = { n: i, a: i & 255 };
        made.hash.set(`key ${i}`, value);
        made.vec.push(value);
        made.list.push(value);
        made.log.append(value);
        made.tree.set(i, value);
        made.ordered.set(i, value);
      }
      const items = [
        made.hash.get('key 7'),
        made.vec.get(7),
        made.list.first?.next?.value,
        made.log.get(7),
        made.tree.get(7),
        made.ordered.get(7),
      ];
      const held = space.create(Holder(V1));
      for (const item of items) held.items.push(item ?? null);
      return [objectOf(made).id, objectOf(held).id] as const;
    });
    const places = space.get(holder, Holder(V1)).items.map((item) => offsetOf(item ?? {}));
    const blocks = blocksInUse(space.object(id));
    space = ground.afterDeath(space);
    // In place: no list of moved structs, and not one block more.
    space.get(id, all2);
    assert.equal(space.object(id).handle.dv.getUint32(META.forwards, true), 0);
    assert.equal(blocksInUse(space.object(id)), blocks);
    const held2 = space.get(holder, Holder(as1(V2)));
    assert.deepEqual(
      held2.items.map((item) => offsetOf(item ?? {})),
      places,
    );
    assert.deepEqual(
      held2.items.map((item) => item?.n),
      [7, 7, 1, 7, 7, 7],
    );
    space = ground.afterDeath(space);
    const wide = space.get(id, all3);
    assert.deepEqual([wide.hash.get('key 299')?.n, wide.vec.get(299).n, wide.log.get(299)?.n, wide.tree.get(299)?.n], [299, 299, 299, 299]);
    assert.notEqual(space.object(id).handle.dv.getUint32(META.forwards, true), 0);
    const held3 = space.get(holder, Holder(as1(V3)));
    const numbers = (): unknown[] => held3.items.map((item) => item?.n);
    assert.deepEqual(numbers(), [7, 7, 1, 7, 7, 7]);
    space.migrate(all3);
    assert.equal(space.object(id).handle.dv.getUint32(META.forwards, true), 0);
    assert.deepEqual(numbers(), [7, 7, 1, 7, 7, 7]);
    // What is stored through the map is seen through the reference.
    space.relaxed(() => {
      const item = wide.hash.get('key 7');
      if (item !== undefined) item.n = 77;
    });
    assert.equal(held3.items.get(0)?.n, 77);
    space.close();
    assert.deepEqual(problems(ground.host, ground.directory), []);
  },
);

onHosts('T11: indexes come, go and follow their rules; where a unique one cannot be, nothing is changed', (ground) => {
  const V1 = struct('Person', { name: text, age: u8 });
  const V2 = struct('Person', { first: text, last: text, age: u8 }, { version: 2 });
  migration(V1, V2, {
    migrate(old, fresh) {
      const [first = '', last = ''] = old.name.split(' ');
      fresh.first = first;
      fresh.last = last;
    },
  });
  const World1 = struct('World', {
    people: indexedMap(u32, V1, { byName: index(text, (each) => each.name), byAge: index(u8, (each) => each.age) }),
  });
  const World2 = struct(
    'World',
    { people: indexedMap(u32, V2, { byAge: index(u8, (each) => each.age), byLast: index(caseless, (each) => each.last) }) },
    { version: 2 },
  );
  const Unique = struct(
    'World',
    { people: indexedMap(u32, V2, { byLast: index(text, (each) => each.last, { unique: true }) }) },
    { version: 2 },
  );
  let space = ground.open();
  const id = space.relaxed(() => {
    const world = space.create(World1);
    for (let i = 0; i < 100; i++) world.people.set(i, { name: `F${i} L${i % 10}`, age: i % 7 });
    return objectOf(world).id;
  });
  space = ground.afterDeath(space);
  const image = space.object(id).export();
  fails('ValueMismatch', () => space.get(id, Unique));
  assert.deepEqual(space.object(id).export(), image);
  const { people } = space.get(id, World2);
  assert.deepEqual(people.verify(), []);
  assert.equal(people.by.byLast.count({ from: 'L3', through: 'l3' }), 10);
  assert.equal(people.by.byAge.count({ from: 2, through: 2 }), 14);
  assert.equal(people.by.byLast.find('l9')?.[1].first, 'F9');
  space.relaxed(() => {
    people.set(1000, { first: 'New', last: 'One', age: 3 });
    people.delete(9);
  });
  assert.equal(people.by.byLast.find('l9')?.[1].first, 'F19');
  assert.deepEqual(people.verify(), []);
  space.migrate(World2);
  space.relaxed(() => people.clear());
  assert.equal(blocksInUse(space.object(id)), 2);
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

onHosts('T11: keys do not change by themselves; the message says what to do, and that works', (ground) => {
  const V = struct('Item', { n: u32 });
  const V1 = struct('Store', { items: hashMap(text, V), other: u8 });
  const Wrong = struct('Store', { items: hashMap(u32, V), other: u8 }, { version: 2 });
  const V2 = struct('Store', { byNumber: hashMap(u32, V), other: u8 }, { version: 2 });
  migration(V1, V2, {
    migrate(old, fresh) {
      for (const [key, value] of old.items) fresh.byNumber.set(Number(key), { n: value.n });
    },
  });
  let space = ground.open();
  const [id, root] = space.relaxed(() => {
    const made = space.create(V1, { other: 3 });
    for (let i = 0; i < 200; i++) made.items.set(`${i}`, { n: i * 2 });
    return [objectOf(made).id, objectOf(space.create(hashMap(tuple(text, u32), V))).id] as const;
  });
  space = ground.afterDeath(space);
  fails('TypeMismatch', () => space.get(id, Wrong));
  assert.match(
    message(() => space.get(id, Wrong)),
    /Store\.items: the keys of a collection do not change, here from text to u32.*for \(const \[key, value\] of old\.items\)/,
  );
  assert.match(
    message(() => space.get(root, hashMap(text, V))),
    /TypeMismatch.*the keys of a collection do not change.*tuple\(text,u32\)/,
  );
  assert.equal(space.get(id, V1).items.get('7')?.n, 14);
  const { byNumber, other } = space.get(id, V2);
  assert.deepEqual([byNumber.size, byNumber.get(150)?.n, other], [200, 300, 3]);
  space.migrate(V2);
  space.relaxed(() => byNumber.clear());
  assert.equal(blocksInUse(space.object(id)), 2);
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

onHosts('T11: older code is refused newer values, by the root and by a reference into what a collection has grown into', (ground, t) => {
  crowded(t);
  const V1 = struct('Item', { n: u32, name: text });
  const V2 = struct('Item', { name: text, n: u64 }, { version: 2 });
  const [Store1, Store2] = [struct('Store', { items: hashMap(u32, V1) }), struct('Store', { items: hashMap(u32, V2) })];
  const [Holder1, Holder2] = [struct('Holder', { item: ref(V1) }), struct('Holder', { item: ref(V2) })];
  let space = ground.open();
  const [store, holder, older] = space.relaxed(() => {
    const made = space.create(Store1);
    for (let i = 0; i < 3000; i++) made.items.set(i, { n: i, name: `name ${i}` });
    const item = made.items.get(2999) ?? null;
    return [objectOf(made).id, objectOf(space.create(Holder1, { item })).id, objectOf(space.create(Holder1, { item })).id] as const;
  });
  const far = objectOf(space.get(older, Holder1).item ?? {}).id;
  assert.notEqual(far, store);
  space = ground.afterDeath(space);
  fails('TypeOutdated', () => space.get(holder, Holder2).item?.n);
  fails('TypeOutdated', () => space.get(store, Store2));
  assert.match(
    message(() => space.get(store, Store2)),
    /Item version 1.*Item version 2.*HashMap<u32,Item.*too large.*space\.migrate\(Store\)/,
  );
  assert.equal(space.get(older, Holder1).item?.n, 2999);
  const { migrated, refused } = space.migrate(Store2);
  assert.deepEqual([migrated, refused], [1, []]);
  assert.equal(space.has(far), false);
  assert.deepEqual([space.get(holder, Holder2).item?.n, space.get(holder, Holder2).item?.name], [2999, 'name 2999']);
  space = ground.afterDeath(space);
  fails('TypeNewer', () => space.get(store, Store1));
  fails('TypeNewer', () => space.get(older, Holder1).item?.n);
  assert.equal(space.get(holder, Holder2).item?.n, 2999);
  assert.equal(space.get(store, Store2).items.get(77)?.name, 'name 77');
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

onHosts('T11: a log keeps its numbers and all that it has; what cannot be followed is refused, and nothing is left behind', (ground, t) => {
  crowded(t);
  const V1 = struct('Entry', { n: u32 });
  const V2 = struct('Entry', { n: u64, text, more: vec(u32) }, { version: 2 });
  const [Log1, Log2] = [struct('Journal', { log: log(V1, { bytes: 4000 }) }), struct('Journal', { log: log(V2, { bytes: 4000 }) })];
  const Holder = struct('Holder', { entry: ref(V1) });
  const [Large1, Large2] = [struct('Large', { vec: vec(V1), one: ref(V1) }), struct('Large', { vec: vec(V2), one: ref(V2) })];
  let space = ground.open();
  const [small, large, sealed] = space.relaxed(() => {
    const journal = space.create(Log1);
    for (let i = 0; i < 3000; i++) journal.log.append({ n: i });
    const made = space.create(Large1);
    for (let i = 0; i < 6000; i++) made.vec.push({ n: i });
    const holder = space.create(Holder, { entry: made.vec.get(5999) });
    const fixed = space.seal(holder);
    space.delete(holder);
    return [objectOf(journal).id, objectOf(made).id, fixed] as const;
  });
  space = ground.afterDeath(space);
  const { log: now } = space.get(small, Log2);
  assert.deepEqual([now.first, now.next, now.get(2500)?.n, now.length], [2000, 3000, 2500, 1000]);
  space.relaxed(() => assert.equal(now.append({ n: 3000, text: 'x'.repeat(100), more: [1] }), 3000));
  assert.ok(now.bytes <= 4000 && now.length < 200);
  // An immutable object refers to a value: its reference cannot be corrected.
  const objects = [...space.ids()].length;
  const { refused } = space.migrate(Large2);
  assert.deepEqual(
    refused.map(({ id, error }) => [id, error.name]),
    [[large, 'ObjectImmutable']],
  );
  assert.equal([...space.ids()].length, objects);
  assert.equal(space.get(large, Large1).vec.get(5345).n, 5345);
  space.relaxed(() => space.delete(sealed));
  // A struct that somebody made in the collection's object would be lost with it.
  space.relaxed(() => {
    const old = space.get(large, Large1);
    old.one = space.make(V1, old.vec.get(5999), { n: 5 });
  });
  assert.match(String(space.migrate(Large2).refused[0]?.error), /TypeMismatch.*blocks that are not its own/);
  assert.match(String(space.migrate(Large2, { unreached: 'leave' }).refused[0]?.error), /TypeMismatch.*lies among the values/);
  space.relaxed(() => (space.get(large, Large1).one = space.get(large, Large1).vec.get(1)));
  assert.deepEqual(space.migrate(Large2, { unreached: 'leave' }).refused, []);
  assert.deepEqual([space.get(large, Large2).vec.get(5998).n, space.get(large, Large2).one?.n], [5998, 1]);
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
  const again = open(ground.directory, { host: ground.host });
  assert.equal(again.get(large, Large2).vec.length, 6000);
  again.close();
});

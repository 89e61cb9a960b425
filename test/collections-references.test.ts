/**
 * T16: references as keys of maps, sets and indexes, against plain models, with undone transactions, deaths, power failures and reopening.
 * What they lead to lies in the collection's own object, in the objects that it grows into, and elsewhere. FC_SEED replays a run.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import {
  caseless,
  collation,
  hashMap,
  hashSet,
  index,
  indexedMap,
  link,
  objectOf,
  offsetOf,
  orderedMap,
  redBlackTree,
  ref,
  same,
  struct,
  text,
  tuple,
  u32,
  type Infer,
  type ObjectId,
  type Space,
} from '../src/index.ts';
import { isTwzError } from '../src/abi/errors.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { checkSpace } from '../src/services/check.ts';
import { ObjectImage } from '../src/services/check/object-image.ts';
import { typesOf } from '../src/services/dynamic.ts';
import { nameWord, storeForwards } from '../src/services/evolution/forwards.ts';
import { exportGraph } from '../src/services/export.ts';
import { plainValue, viewTyped } from '../src/services/show.ts';
import { event, Machine, type Event } from './collections-machine.ts';
import { fails, onHosts, thrown } from './hosts.ts';
import { amount } from './thorough.ts';

const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = { seed: SEED, numRuns: amount(6, 15), endOnFailure: true, includeErrorInReport: true } as const;

const Person = struct('Person', { name: text, age: u32, padding: text });
type Person = Infer<typeof Person>;
const Visit = struct('Visit', { who: ref(Person), day: u32, host: ref(Person) });

const Town = struct('Town', {
  people: hashMap(u32, Person),
  mayor: ref(Person),
  friends: hashSet(ref(Person)),
  notes: hashMap(ref(Person), text),
  days: orderedMap(tuple(ref(Person), u32), text),
  ranks: redBlackTree(ref(Person), u32),
  pairs: hashMap(tuple(text, ref(Person), ref(Person)), u32),
  visits: indexedMap(u32, Visit, {
    byWho: index(ref(Person), (visit) => visit.who),
    byBoth: index(tuple(ref(Person), ref(Person)), (visit) => [visit.who, visit.host] as [Person | null, Person | null], { unique: true }),
  }),
});
type Town = Infer<typeof Town>;

/** Small objects, so that a few hundred entries go on in others. */
function shrink(t: TestContext): void {
  const limits = { ...POOL_LIMITS };
  t.after(() => Object.assign(POOL_LIMITS, limits));
  Object.assign(POOL_LIMITS, { home: 48 << 10, member: 128 << 10 });
}

const COUNT = 60;
const PADDING = 'p'.repeat(2000);

/** Where things are that keys lead to: `id` for an object of its own, else a key of `people`, and 0 for the mayor. */
interface World {
  readonly town: ObjectId;
  readonly alone: readonly ObjectId[];
}

function settle(space: Space): World {
  return space.relaxed(() => {
    const town = space.create(Town);
    town.mayor = space.make(Person, town, { name: 'mayor' });
    for (let i = 1; i < COUNT / 2; i++) town.people.set(i, { name: `in ${i}`, padding: PADDING });
    const alone = Array.from({ length: COUNT / 2 }, (_, i) => objectOf(space.create(Person, { name: `alone ${i}` })).id);
    return { town: objectOf(town).id, alone };
  });
}

function person(space: Space, town: Town, world: World, i: number): Person | null {
  if (i === COUNT) return null;
  if (i === 0) return town.mayor;
  if (i < COUNT / 2) return town.people.get(i) ?? null;
  const id = world.alone[i - COUNT / 2];
  return id === undefined ? null : space.get(id, Person);
}

/** Text with the order of keys: null, what lies in the collection's object, then by ID and place. */
function orderOf(town: Town, key: Person | null): string {
  if (key === null) return '';
  const { id } = objectOf(key);
  return `${id === objectOf(town).id ? '0'.repeat(32) : id} ${String(offsetOf(key)).padStart(12, '0')}`;
}

interface Model {
  friends: Set<number>;
  notes: Map<number, string>;
  days: Map<string, string>;
  ranks: Map<number, number>;
  pairs: Map<string, number>;
  visits: Map<number, { readonly who: number; readonly host: number; readonly day: number }>;
}

const copy = (model: Model): Model => ({
  friends: new Set(model.friends),
  notes: new Map(model.notes),
  days: new Map(model.days),
  ranks: new Map(model.ranks),
  pairs: new Map(model.pairs),
  visits: new Map(model.visits),
});

const empty = (): Model => ({
  friends: new Set(),
  notes: new Map(),
  days: new Map(),
  ranks: new Map(),
  pairs: new Map(),
  visits: new Map(),
});

const who = fc.nat(COUNT);
const small = fc.nat(3);
type Step =
  | {
      readonly kind: 'add' | 'remove';
      readonly to: 'friends' | 'notes' | 'days' | 'ranks' | 'pairs' | 'visits';
      readonly keys: readonly (readonly [number, number, number])[];
    }
  | { readonly kind: 'clear'; readonly to: 'friends' | 'notes' | 'days' | 'ranks' | 'pairs' | 'visits' };
const to = fc.constantFrom('friends' as const, 'notes', 'days', 'ranks', 'pairs', 'visits');
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom('add' as const, 'add', 'remove'),
      to,
      keys: fc.array(fc.tuple(who, who, small), { minLength: 1, maxLength: 60 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const), to }) },
);
const turns: fc.Arbitrary<readonly ({ readonly steps: readonly Step[]; readonly undo: boolean } | Event)[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 8 }), undo: fc.nat(5).map((n) => n === 0) }) },
    { weight: 1, arbitrary: event },
  ),
  { minLength: 4, maxLength: 14 },
);

function take(space: Space, town: Town, world: World, model: Model, made: Step): void {
  if (made.kind === 'clear') {
    town[made.to].clear();
    model[made.to].clear();
    return;
  }
  const adds = made.kind === 'add';
  for (const [a, b, n] of made.keys) {
    const [p, q] = [person(space, town, world, a), person(space, town, world, b)];
    switch (made.to) {
      case 'friends':
        if (adds) {
          town.friends.add(p);
          model.friends.add(a);
        } else assert.equal(town.friends.delete(p), model.friends.delete(a));
        break;
      case 'notes':
        // Other lengths: the record is made anew.
        if (adds) {
          town.notes.set(p, `${'x'.repeat(b)}${n}`);
          model.notes.set(a, `${'x'.repeat(b)}${n}`);
        } else assert.equal(town.notes.delete(p), model.notes.delete(a));
        break;
      case 'days':
        if (adds) {
          town.days.set([p, n], `day ${b}`);
          model.days.set(`${a} ${n}`, `day ${b}`);
        } else assert.equal(town.days.delete([p, n]), model.days.delete(`${a} ${n}`));
        break;
      case 'ranks':
        if (adds) {
          town.ranks.set(p, b);
          model.ranks.set(a, b);
        } else assert.equal(town.ranks.delete(p), model.ranks.delete(a));
        break;
      case 'pairs':
        if (adds) {
          town.pairs.set([`t\0${n}`, p, q], b);
          model.pairs.set(`${n} ${a} ${b}`, b);
        } else assert.equal(town.pairs.delete([`t\0${n}`, p, q]), model.pairs.delete(`${n} ${a} ${b}`));
        break;
      case 'visits': {
        const key = a * 7 + n;
        if (adds) {
          const taken = [...model.visits].some(([other, visit]) => other !== key && visit.who === a && visit.host === b);
          const set = (): unknown => town.visits.set(key, { who: p, host: q, day: n });
          if (taken) fails('ValueMismatch', set);
          else {
            set();
            model.visits.set(key, { who: a, host: b, day: n });
          }
        } else assert.equal(town.visits.delete(key), model.visits.delete(key));
      }
    }
  }
}

/** All of it as a text, from the space and from a model. */
function story(space: Space, world: World, model?: Model): string {
  const town = space.get(world.town, Town);
  const numbers = new Map<string, number>();
  for (let i = 0; i <= COUNT; i++) numbers.set(orderOf(town, person(space, town, world, i)), i);
  const n = (key: Person | null): number => numbers.get(orderOf(town, key)) ?? -1;
  const sorted = (values: Iterable<unknown>): string[] => [...values].map((value) => JSON.stringify(value)).toSorted();
  if (model !== undefined)
    return JSON.stringify([
      sorted(model.friends),
      sorted(model.notes),
      sorted([...model.days].map(([key, value]) => [...key.split(' ').map(Number), value])),
      sorted(model.ranks),
      sorted([...model.pairs].map(([key, value]) => [...key.split(' ').map(Number), value])),
      sorted([...model.visits].map(([key, visit]) => [key, visit.who, visit.host, visit.day])),
    ]);
  return JSON.stringify([
    sorted([...town.friends].map(n)),
    sorted([...town.notes].map(([key, value]) => [n(key), value])),
    sorted([...town.days].map(([[key, day], value]) => [n(key), day, value])),
    sorted([...town.ranks].map(([key, value]) => [n(key), value])),
    sorted([...town.pairs].map(([[a, b, c], value]) => [Number(a.slice(2)), n(b), n(c), value])),
    sorted([...town.visits].map(([key, visit]) => [key, n(visit.who), n(visit.host), visit.day])),
  ]);
}

function compare(space: Space, world: World, model: Model): void {
  const town = space.get(world.town, Town);
  assert.equal(story(space, world), story(space, world, model));
  const order = (key: Person | null): string => orderOf(town, key);
  const ascends = (keys: readonly string[]): void => assert.deepEqual(keys, keys.toSorted());
  ascends([...town.days.keys()].map(([key, day]) => `${order(key)} ${day}`));
  ascends([...town.ranks.keys()].map(order));
  for (let i = 0; i <= COUNT; i++) {
    const p = person(space, town, world, i);
    assert.equal(town.friends.has(p), model.friends.has(i));
    assert.equal(town.notes.get(p), model.notes.get(i));
    assert.equal(town.ranks.get(p), model.ranks.get(i));
    const after = [...town.days.values({ from: [p, 0], to: [p, 9] })];
    assert.deepEqual(
      after,
      [0, 1, 2, 3].flatMap((day) => model.days.get(`${i} ${day}`) ?? []),
    );
    const visits = [...model.visits].filter(([, visit]) => visit.who === i).map(([key]) => key);
    assert.deepEqual(
      [...town.visits.by.byWho.get(p)].map(([key]) => key),
      visits.toSorted((a, b) => a - b),
    );
    for (const [key, visit] of model.visits)
      if (visit.who === i) assert.equal(town.visits.by.byBoth.find([p, person(space, town, world, visit.host)])?.[0], key);
  }
  assert.deepEqual(town.visits.verify(), []);
}

test('T16 references as keys: as the models say, through deaths and power failures', (t) => {
  shrink(t);
  fc.assert(
    fc.property(turns, (made) => {
      const machine = new Machine<Model>(empty(), copy);
      try {
        const world = settle(machine.space);
        machine.space.sync();
        for (const turn of made) {
          if (!('steps' in turn)) machine.happen(turn, (model) => story(machine.space, world, model));
          else {
            machine.transact(() => {
              const town = machine.space.get(world.town, Town);
              for (const each of turn.steps) take(machine.space, town, world, machine.model, each);
            }, turn.undo);
          }
          compare(machine.space, world, machine.model);
        }
        machine.space.relaxed(() => {
          const town = machine.space.get(world.town, Town);
          for (const name of ['friends', 'notes', 'days', 'ranks', 'pairs', 'visits'] as const) town[name].clear();
        });
        // Nothing leads to the others any more: every pointer was counted back.
        const referred = new Set(
          machine.space
            .object(world.town)
            .fot()
            .map(({ id }) => id),
        );
        for (const id of world.alone) assert.ok(!referred.has(id), 'an entry of the FOT was left');
      } finally {
        machine.end();
      }
    }),
    RUNS,
  );
});

onHosts(
  'T16 references as keys: over many objects, each with pointers of its own; check counts them, deletion takes all',
  (ground, t) => {
    shrink(t);
    const space = ground.open();
    const world = settle(space);
    const town = space.get(world.town, Town);
    space.relaxed(() => {
      for (let round = 0; round < 40; round++)
        for (let i = 0; i <= COUNT; i++) town.days.set([person(space, town, world, i), round], 'x'.repeat(90));
      for (let i = 0; i <= COUNT; i++) town.friends.add(person(space, town, world, i));
    });
    assert.ok(town.days.usage().objects > 2);
    // Keys that lead to values of the very map, in the same of its objects and in others.
    const Chain = hashMap(ref(Person), Person);
    const chain = space.relaxed(() => {
      const made = space.create(Chain);
      let last: Person | null = null;
      for (let i = 0; i < 150; i++) last = made.getOrInsert(last, { name: `link ${i}`, padding: PADDING });
      return objectOf(made).id;
    });
    const again = ground.afterDeath(space);
    const links = again.get(chain, Chain);
    assert.ok(links.usage().objects > 2);
    let last: Person | null = null;
    for (let i = 0; i < 150; i++) {
      last = links.get(last) ?? null;
      assert.equal(last?.name, `link ${i}`);
    }
    assert.equal(links.get(last), undefined);
    const then = again.get(world.town, Town);
    for (let i = 0; i <= COUNT; i++) {
      const p = person(again, then, world, i);
      assert.ok(then.friends.has(p));
      assert.equal(then.days.count({ from: [p, 0], through: [p, 99] }), 40);
    }
    for (const key of then.friends) if (key !== null) assert.ok(key.name.length > 0);
    again.close();
    const { findings } = checkSpace(ground.host, ground.directory);
    assert.deepEqual(
      findings.filter(({ severity }) => severity === 'error'),
      [],
    );
  },
  ['linux', 'simulated'],
);

onHosts('T16 references as keys: what a key leads to lives as long as the key', (ground) => {
  const space = ground.open();
  const { set, map, tree, ids } = space.relaxed(() => {
    const people = Array.from({ length: 4 }, (_, i) => space.create(Person, { name: `p${i}` }, { counted: true }));
    const [a, b, c] = people;
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    return {
      set: space.create(hashSet(ref(Person)), [a]),
      map: space.create(orderedMap(tuple(text, ref(Person)), u32), [[['x', b], 1]]),
      tree: space.create(redBlackTree(ref(Person), text), [[c, 'c']]),
      ids: people.map((each) => objectOf(each).id),
    };
  });
  assert.deepEqual(space.reclaim().deleted, [ids[3]]);
  space.relaxed(() => {
    set.clear();
    for (const key of [...map.keys()]) map.delete(key);
    for (const key of [...tree.keys()]) tree.delete(key);
  });
  assert.deepEqual(new Set(space.reclaim().deleted), new Set(ids.slice(0, 3)));
});

onHosts('T16 references as keys: what is refused', (ground) => {
  const space = ground.open();
  const { set, person: p } = space.relaxed(() => {
    const made = space.create(Person, { name: 'p' });
    space.names.set('/p', made);
    return { set: space.create(hashSet(ref(Person))), person: made };
  });
  space.relaxed(() => {
    const late = thrown(() => set.add(space.late(Person, '/p')));
    assert.ok(isTwzError(late, 'ValueMismatch'));
    assert.match(late.message, /late-bound reference \/p/);
    fails('ValueMismatch', () => set.has(space.late(Person, '/p')));
    const wrong: unknown = space.create(struct('Another', { name: text, age: u32, padding: text }), {});
    fails('ValueMismatch', () => set.add(wrong as Person));
    fails('ValueMismatch', () => set.add(undefined as never));
    set.add(p);
    // A key that names an object cannot be made to lead elsewhere.
    const entry = objectOf(set)
      .fot()
      .find(({ id }) => id === objectOf(p).id);
    fails('NotSupported', () => objectOf(set).retarget(entry?.index ?? 0, objectOf(space.create(Person, {}))));
  });
  assert.equal(set.size, 1);
  fails('TypeInvalid', () => hashSet(link as never));
  fails('TypeMismatch', () => space.get(objectOf(set).id, hashSet(ref(Visit))));
  // What was deleted is still found, and can be taken out.
  space.relaxed(() => space.delete(p));
  assert.equal(set.has(p), true);
  fails('ObjectDeleted', () => [...set]);
  space.relaxed(() => set.delete(p));
  assert.deepEqual([...set], []);
});

onHosts('T16 references as keys: of an indexed map, and in snapshots', (ground) => {
  const space = ground.open();
  const Badge = struct('Badge', { label: text, boss: ref(Person) });
  const Badges = indexedMap(tuple(ref(Person), u32), Badge, {
    byLabel: index(caseless, (badge) => badge.label),
    byBoss: index(ref(Person), (badge) => badge.boss),
  });
  const { badges, people } = space.relaxed(() => ({
    badges: space.create(Badges),
    people: Array.from({ length: 5 }, (_, i) => space.create(Person, { name: `p${i}` })),
  }));
  space.relaxed(() => {
    for (const [i, p] of people.entries()) badges.set([p, i], { label: i % 2 === 0 ? 'Even' : 'ODD', boss: people[(i + 1) % 5] ?? null });
  });
  assert.deepEqual([...badges.by.byLabel.keys({ from: 'even', through: 'EVEN' })].map(([p]) => p?.name ?? '').toSorted(), [
    'p0',
    'p2',
    'p4',
  ]);
  assert.equal(badges.by.byBoss.find(people[2] ?? null)?.[0][0]?.name, 'p1');
  assert.deepEqual(badges.verify(), []);
  const snapshot = space.snapshot();
  space.relaxed(() => {
    badges.update([people[1] ?? null, 1], (draft) => {
      draft.boss = people[0] ?? null;
    });
  });
  assert.equal(badges.by.byBoss.find(people[2] ?? null), undefined);
  assert.deepEqual(
    [...badges.by.byBoss.keys({ from: people[0] ?? null, through: people[0] ?? null })].map(([p]) => p?.name ?? '').toSorted(),
    ['p1', 'p4'],
  );
  const then = snapshot.of(badges);
  assert.equal(then.by.byBoss.find(people[2] ?? null)?.[0][0]?.name, 'p1');
  const [first] = then.keys();
  assert.ok(first !== undefined && badges.has(first), 'a key from a snapshot is the same key');
  snapshot.close();
  space.relaxed(() => badges.reindex());
  assert.deepEqual(badges.verify(), []);
});

onHosts('T16 references as keys: blocks that keys name stay where they are when others are moved together', (ground) => {
  const space = ground.open();
  const Holder = struct('Holder', {
    get next() {
      return ref(Holder);
    },
    name: text,
  });
  const Root = struct('Root', { first: ref(Holder), chosen: hashSet(ref(Holder)) });
  const root = space.relaxed(() => space.create(Root));
  const chosen = space.relaxed(() => space.create(hashMap(ref(Holder), u32)));
  const all: Infer<typeof Holder>[] = [];
  space.relaxed(() => {
    for (let i = 0; i < 2000; i++) {
      const made = space.make(Holder, root, { name: `holder ${i}`, next: root.first });
      root.first = made;
      all.push(made);
    }
    for (const [i, each] of all.entries()) {
      if (i % 500 === 1) root.chosen.add(each);
      if (i % 500 === 2) chosen.set(each, i);
    }
  });
  // Nine of ten go.
  space.relaxed(() => {
    let last: Infer<typeof Holder> | null = null;
    for (const [i, each] of all.entries()) {
      if (i % 10 < 3) {
        each.next = last;
        last = each;
      }
    }
    root.first = last;
    for (const [i, each] of all.entries()) if (i % 10 >= 3) space.free(each);
  });
  const report = space.defragment(root);
  assert.ok(report.moved.blocks > 0, 'others moved');
  const names = (keys: Iterable<Infer<typeof Holder> | null>): string[] => Array.from(keys, (key) => key?.name ?? '').toSorted();
  assert.deepEqual(names(root.chosen), ['holder 1', 'holder 1001', 'holder 1501', 'holder 501']);
  assert.deepEqual(names(chosen.keys()), ['holder 1002', 'holder 1502', 'holder 2', 'holder 502']);
  let count = 0;
  for (let at = root.first; at !== null; at = at.next) {
    const i = Number(at.name.slice(7));
    assert.equal(root.chosen.has(at), i % 500 === 1);
    assert.equal(chosen.get(at), i % 500 === 2 ? i : undefined);
    count++;
  }
  assert.equal(count, 600);
});

onHosts('T11 references as keys: a struct that a migration moved is the same key', (ground) => {
  const space = ground.open();
  const Pair = struct('Pair', { left: ref(Person), right: ref(Person) });
  const { set, pair, left } = space.relaxed(() => {
    const made = space.create(Pair);
    const first = space.make(Person, made, { name: 'left' });
    made.left = first;
    return { set: space.create(hashSet(ref(Person)), [first]), pair: made, left: first };
  });
  // As a migration leaves it: the struct elsewhere, and the old place in the list of moved ones.
  const name = nameWord('Person');
  space.relaxed(() => {
    pair.right = space.make(Person, pair, { name: 'moved' });
    storeForwards(objectOf(pair).handle, [{ from: offsetOf(left), to: offsetOf(pair.right), name }]);
  });
  const again = ground.afterDeath(space);
  const there = again.get(objectOf(pair).id, Pair);
  const keys = again.get(objectOf(set).id, hashSet(ref(Person)));
  assert.equal(keys.has(there.right), true);
  assert.deepEqual(
    [...keys].map((key) => key?.name),
    ['moved'],
  );
  again.relaxed(() => keys.add(there.right));
  assert.equal(keys.size, 1);
  again.relaxed(() => {
    const { right } = there;
    assert.ok(right !== null);
    const other = again.make(Person, there, {});
    storeForwards(objectOf(right).handle, [
      { from: offsetOf(left), to: offsetOf(right), name },
      { from: offsetOf(other), to: offsetOf(right), name },
    ]);
  });
  fails('NotSupported', () => keys.has(there.right));
});

onHosts(
  'T18 references as keys: tools read them, and check compares what a key says with where its pointer leads',
  (ground) => {
    const space = ground.open();
    const Place = struct('Place', { people: hashMap(u32, Person), chosen: hashMap(tuple(ref(Person), u32), text) });
    const place = space.relaxed(() => space.create(Place, { people: [[1, { name: 'own' }]] }));
    const far = space.relaxed(() => space.create(Person, { name: 'far' }));
    space.relaxed(() => {
      const own = place.people.get(1);
      place.chosen
        .set([own ?? null, 1], 'a')
        .set([far, 2], 'b')
        .set([null, 3], 'c');
    });
    const { id } = objectOf(place);
    const typed = typesOf(space.object(id));
    const chosen = Reflect.get(space.get(id, typed.type), 'chosen') as Iterable<readonly [readonly [Person | null, number], string]>;
    const seen = new Map(Array.from(chosen, ([[who, n], value]) => [n, `${who?.name} ${value}`]));
    assert.deepEqual([seen.get(1), seen.get(2), seen.get(3)], ['own a', 'far b', 'undefined c']);
    const Foreign = typed.types.get('Person');
    assert.ok(Foreign !== undefined);
    const found = Reflect.get(chosen, 'get') as (key: unknown) => unknown;
    assert.equal(found.call(chosen, [space.get(objectOf(far).id, Foreign), 2]), 'b');
    const lines = [...exportGraph(space, space.object(id))].map(
      (line) => JSON.parse(line) as { $type: string; name?: string; chosen?: unknown[] },
    );
    assert.deepEqual(lines.map((line) => line.name ?? line.$type).toSorted(), ['Place', 'far', 'own']);
    const refs = lines.find((line) => line.$type === 'Place')?.chosen;
    assert.ok(JSON.stringify(refs).includes(`[{"$ref":"${objectOf(far).id}/${offsetOf(far)}"},2],"b"]`), JSON.stringify(refs));
    const image = new ObjectImage(space.object(id).export());
    const shown = viewTyped(image, () => undefined, { depth: 0, items: 9 });
    assert.ok(typeof shown !== 'string');
    const plain = JSON.stringify((plainValue(shown) as { chosen: unknown }).chosen);
    assert.ok(plain.includes(`[[{"ref":"${objectOf(far).id}","at":${offsetOf(far)}},2],"b"]`) && plain.includes('[[null,3],"c"]'), plain);
    space.close();
    assert.deepEqual(checkSpace(ground.host, ground.directory).findings, []);
    // Another place in the key's pointer.
    const file = `${ground.directory}/objects/${id.slice(0, 2)}/${id}.twz`;
    const bytes = ground.readFile(file);
    const dv = new DataView(bytes.buffer);
    let planted = 0;
    for (let at = 4096; at + 16 < bytes.length; at += 16) {
      // Length of the value, then the pointer to `far`, then its ID.
      if (dv.getUint32(at, true) !== 1 || dv.getUint32(at + 8, true) !== offsetOf(far) || dv.getUint32(at + 12, true) === 0) continue;
      dv.setUint32(at + 8, offsetOf(far) + 8, true);
      planted++;
    }
    assert.equal(planted, 1);
    ground.writeFile(file, bytes);
    assert.deepEqual(
      checkSpace(ground.host, ground.directory)
        .findings.filter(({ severity }) => severity === 'error')
        .map(({ name }) => name),
      ['CollectionRecord'],
    );
  },
  ['linux'],
);

// --- collations in tuples ---------------------------------------------------------------------------------------------------------

const folded = collation('folded', (value) => value.toLowerCase().replaceAll('ß', 'ss'));
const WORDS = fc
  .oneof(fc.constantFrom('', 'a', 'A', 'aß', 'ASS', 'ass', '\0', 'a\0', 'A\0b', 'ä', 'Ä', '😀', '\uffff'), fc.string({ maxLength: 4 }))
  .map((value) => Buffer.from(value, 'utf8').toString('utf8'));

test('T16 collations in tuples: compared folded, kept as written', () => {
  const fold = (value: string): string => value.toLowerCase().replaceAll('ß', 'ss');
  const steps = fc.array(fc.record({ kind: fc.constantFrom('set' as const, 'set', 'delete'), a: WORDS, n: fc.nat(2), b: WORDS }), {
    maxLength: 200,
  });
  const orderKey = ([a, n, b]: readonly [string, number, string]): string => {
    const part = (value: string): string =>
      `${[...Buffer.from(value, 'utf8')].map((byte) => (byte + 1).toString(16).padStart(3, '0')).join('')}000`;
    return `${part(fold(a))}${n}${part(b.toLowerCase())}`;
  };
  fc.assert(
    fc.property(steps, (made) => {
      const machine = new Machine(undefined, () => undefined);
      try {
        const { space } = machine;
        const key = tuple(folded, u32, caseless);
        const maps = space.relaxed(
          () => [space.create(hashMap(key, u32)), space.create(orderedMap(key, u32)), space.create(redBlackTree(key, u32))] as const,
        );
        const model = new Map<string, { readonly key: readonly [string, number, string]; readonly value: number }>();
        space.relaxed(() => {
          for (const [i, { kind, a, n, b }] of made.entries()) {
            const at = orderKey([a, n, b]);
            if (kind === 'set') {
              for (const map of maps) map.set([a, n, b], i);
              model.set(at, { key: model.get(at)?.key ?? [a, n, b], value: i });
            } else {
              const there = model.delete(at);
              for (const map of maps) assert.equal(map.delete([a, n, b]), there);
            }
          }
        });
        const expected = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, { key: k, value }]) => [k, value]);
        assert.deepEqual([...maps[1]], expected);
        assert.deepEqual([...maps[2]], expected);
        assert.deepEqual(
          [...maps[0]].toSorted(([a], [b]) => (orderKey(a) < orderKey(b) ? -1 : 1)),
          expected,
        );
        for (const {
          key: [a, n, b],
          value,
        } of model.values())
          for (const map of maps) assert.equal(map.get([fold(a), n, b.toLowerCase()]), value);
      } finally {
        machine.end();
      }
    }),
    RUNS,
  );
});

onHosts('T16 collations in tuples: ranges by the first part, indexes, and what tools read', (ground) => {
  const space = ground.open();
  const Book = struct('Book', { title: text, year: u32 });
  const books = space.relaxed(() =>
    space.create(
      indexedMap(tuple(caseless, u32), Book, {
        byTitle: index(tuple(caseless, u32), (book) => [book.title, book.year] as [string, number], { unique: true }),
      }),
    ),
  );
  space.relaxed(() => {
    books.set(['Emma', 1], { title: 'Emma', year: 1815 });
    books.set(['EMMA', 2], { title: 'Emma', year: 1816 });
    books.set(['emma', 1], { title: 'EMMA', year: 1817 });
    fails('ValueMismatch', () => books.set(['other', 1], { title: 'emma', year: 1816 }));
  });
  assert.deepEqual(
    [...books.keys()],
    [
      ['Emma', 1],
      ['EMMA', 2],
    ],
  );
  assert.deepEqual(books.by.byTitle.find(['eMMa', 1817])?.[0], ['Emma', 1]);
  assert.deepEqual([...books.keys({ from: ['EMMA', 2] })], [['EMMA', 2]]);
  const map = space.relaxed(() =>
    space.create(hashSet(tuple(text, caseless)), [
      ['x', 'Y'],
      ['x', 'y'],
      ['z', 'q'],
    ]),
  );
  assert.equal(map.size, 2);
  assert.ok(same(map, space.get(objectOf(map).id, hashSet(tuple(text, caseless)))));
  fails('TypeInvalid', () => hashSet(tuple(u32, tuple(caseless, u32))));
  space.close();
  const { findings } = checkSpace(ground.host, ground.directory);
  assert.deepEqual(findings, []);
});

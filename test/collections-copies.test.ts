/**
 * T16, T6: collections that go on in further objects are copied, sealed, exported and deleted with these, against plain models, with undone
 * transactions, deaths, power failures and reopening among it. FC_SEED replays a run.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import { KIND, META } from '../src/abi/format.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import {
  bytes,
  hashMap,
  hashSet,
  objectOf,
  open,
  orderedMap,
  ref,
  struct,
  text,
  u32,
  vec,
  type Infer,
  type ObjectId,
  type Space,
} from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { checkSpace } from '../src/services/check.ts';
import { event, Machine, type Event } from './collections-machine.ts';
import { fails, onHosts } from './hosts.ts';
import { amount } from './thorough.ts';

const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = { seed: SEED, numRuns: amount(14, 20), endOnFailure: true, includeErrorInReport: true } as const;

/** Small objects, so that a few dozen entries go on in others. */
function shrink(t: TestContext, member = 24 << 10): void {
  const limits = { ...POOL_LIMITS };
  t.after(() => Object.assign(POOL_LIMITS, limits));
  Object.assign(POOL_LIMITS, { home: 16 << 10, member });
}

const Item = struct('Item', {
  label: text,
  get other() {
    return ref(Item);
  },
});
const Shop = struct('Shop', {
  items: hashMap(u32, Item),
  order: orderedMap(u32, text),
  sets: hashMap(u32, hashSet(u32)),
  row: vec(u32),
  first: ref(Item),
});
type Shop = Infer<typeof Shop>;

const PADDING = 'x'.repeat(700);

// --- the model ------------------------------------------------------------------------------------------------------------------

interface Content {
  items: Map<number, string>;
  order: Map<number, string>;
  sets: Map<number, Set<number>>;
  row: number;
  sealed: boolean;
}

/** By object ID. */
type Model = Map<ObjectId, Content>;

const copyOf = (content: Content): Content => ({
  ...content,
  items: new Map(content.items),
  order: new Map(content.order),
  sets: new Map([...content.sets].map(([key, set]) => [key, new Set(set)])),
});

type Step =
  | { readonly kind: 'items' | 'order'; readonly on: number; readonly from: number; readonly count: number; readonly gone: boolean }
  | { readonly kind: 'sets'; readonly on: number; readonly key: number; readonly count: number }
  | { readonly kind: 'row'; readonly on: number; readonly count: number }
  | { readonly kind: 'create' }
  | { readonly kind: 'copy' | 'seal' | 'delete' | 'export'; readonly on: number };

const on = fc.nat(6);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom('items' as const, 'order'),
      on,
      from: fc.nat(80),
      count: fc.nat(40),
      gone: fc.nat(3).map((n) => n === 0),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('sets' as const), on, key: fc.nat(3), count: fc.nat(1000) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('row' as const), on, count: fc.nat(9000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('create' as const) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom('copy' as const, 'copy', 'seal', 'seal', 'delete', 'export'), on }) },
);
const turns: fc.Arbitrary<readonly ({ readonly steps: readonly Step[]; readonly undo: boolean } | Event)[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 8 }), undo: fc.nat(5).map((n) => n === 0) }) },
    { weight: 1, arbitrary: event },
  ),
  { minLength: 4, maxLength: 12 },
);

function change(space: Space, id: ObjectId, content: Content, made: Step): void {
  const shop = space.get(id, Shop);
  switch (made.kind) {
    case 'items':
    case 'order':
      for (let key = made.from; key < made.from + made.count; key++) {
        if (made.gone) {
          assert.equal(shop[made.kind].delete(key), content[made.kind].delete(key));
          continue;
        }
        const label = `${key} ${PADDING}`;
        if (made.kind === 'order') shop.order.set(key, label);
        // Within the home, and from it to a part.
        else shop.items.set(key, { label });
        content[made.kind].set(key, label);
      }
      shop.first = shop.items.get(made.from) ?? null;
      break;
    case 'sets': {
      const set = shop.sets.getOrInsert(made.key, []);
      const model = content.sets.get(made.key) ?? new Set();
      content.sets.set(made.key, model);
      for (let i = 0; i < made.count; i++) {
        set.add(i);
        model.add(i);
      }
      break;
    }
    case 'row':
      shop.row.extend(Array.from({ length: made.count }, (_, i) => content.row + i));
      content.row += made.count;
      break;
    default:
  }
}

function take(space: Space, model: Model, made: Step): void {
  if (made.kind === 'create') {
    if (model.size < 6)
      model.set(objectOf(space.create(Shop)).id, { items: new Map(), order: new Map(), sets: new Map(), row: 0, sealed: false });
    return;
  }
  const [id, content] = [...model][made.on % Math.max(1, model.size)] ?? [];
  if (id === undefined || content === undefined) return;
  switch (made.kind) {
    case 'copy':
      if (model.size < 6) model.set(space.copy(id).id, { ...copyOf(content), sealed: false });
      break;
    case 'seal': {
      const sealed = space.seal(id);
      model.set(sealed, { ...copyOf(content), sealed: true });
      // The same content, the same object.
      assert.equal(space.seal(id), sealed);
      break;
    }
    case 'delete':
      assert.equal(space.delete(id), 'deleted');
      model.delete(id);
      break;
    case 'export': {
      const file = space.object(id).export();
      if (content.sealed) break;
      // The parts come and go with the object.
      space.delete(id);
      // Whoever deletes and imports at once does it in two transactions.
      elsewhere(file, id, content);
      model.delete(id);
      break;
    }
    default:
      if (!content.sealed) change(space, id, content, made);
  }
}

/** Imports into a space of its own. */
function elsewhere(file: Uint8Array, id: ObjectId, content: Content): void {
  const host = new SimulatedHost();
  const space = open('/elsewhere', { host });
  assert.equal(space.relaxed(() => space.import(file)).id, id);
  compare(space, id, content);
  space.kernel.release();
  host.discard();
}

function compare(space: Space, id: ObjectId, content: Content): void {
  const shop = space.get(id, Shop);
  assert.equal(space.object(id).kind, content.sealed ? 'immutable' : 'owned');
  assert.equal(shop.items.size, content.items.size);
  for (const [key, label] of content.items) assert.equal(shop.items.get(key)?.label, label);
  assert.deepEqual(
    [...shop.order],
    [...content.order].toSorted(([a], [b]) => a - b),
  );
  assert.equal(shop.sets.size, content.sets.size);
  for (const [key, set] of content.sets) assert.deepEqual(new Set(shop.sets.get(key) ?? []), set);
  assert.equal(shop.row.length, content.row);
  if (content.row > 0) assert.deepEqual([shop.row.get(0), shop.row.get(content.row - 1)], [0, content.row - 1]);
  // What leads into a collection leads into that of the same object.
  if (shop.first !== null) assert.ok([id, ...parts(space, id)].includes(objectOf(shop.first).id), 'a reference leads to another copy');
}

function parts(space: Space, id: ObjectId): ObjectId[] {
  return space
    .object(id)
    .handle.parts()
    .map((part) => part.id);
}

function story(space: Space, model?: Model): string {
  if (model !== undefined)
    return JSON.stringify(
      [...model]
        .map(([id, { items, order, sets, row }]) => [id, items.size, order.size, sets.size, row])
        .toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1)),
    );
  const found: unknown[][] = [];
  for (const id of space.ids()) {
    if (space.object(id).schema?.root !== 'Shop') continue;
    const shop = space.get(id, Shop);
    found.push([id, shop.items.size, shop.order.size, shop.sets.size, shop.row.length]);
  }
  return JSON.stringify(found.toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1)));
}

test('T16 copies of collections with their parts: as the models say, through deaths and power failures', (t) => {
  shrink(t, 96 << 10);
  let grown = 0;
  fc.assert(
    fc.property(turns, (made) => {
      const machine = new Machine<Model>(new Map(), (model) => new Map([...model].map(([id, content]) => [id, copyOf(content)])));
      try {
        machine.transact(() => take(machine.space, machine.model, { kind: 'create' }), false);
        const base = [...machine.space.ids()].length - 1;
        for (const turn of made) {
          if (!('steps' in turn)) machine.happen(turn, (model) => story(machine.space, model));
          else {
            machine.transact(() => {
              for (const each of turn.steps) take(machine.space, machine.model, each);
            }, turn.undo);
          }
          for (const [id, content] of machine.model) {
            compare(machine.space, id, content);
            if (parts(machine.space, id).length > 1) grown++;
          }
          assert.equal(story(machine.space), story(machine.space, machine.model));
        }
        // No object has a part of another; sealed ones may share, as the same content is the same object.
        const owned = [...machine.model].filter(([, { sealed }]) => !sealed).flatMap(([id]) => parts(machine.space, id));
        assert.equal(new Set(owned).size, owned.length);
        machine.space.relaxed(() => {
          for (const id of machine.model.keys()) machine.space.delete(id);
        });
        machine.space.reclaim();
        const left = [...machine.space.ids()].length;
        assert.ok(left <= base + 1, `${left} objects are left, and there were ${base} before: the system's own may be new`);
      } finally {
        machine.end();
      }
    }),
    RUNS,
  );
  assert.ok(grown > amount(0, 20), 'hardly anything went on in other objects');
});

// --- one by one -------------------------------------------------------------------------------------------------------------------

function grownShop(space: Space, count = 60): Shop {
  return space.relaxed(() => {
    const shop = space.create(Shop);
    for (let i = 0; i < count; i++) shop.items.set(i, { label: `${i} ${PADDING}` });
    shop.first = shop.items.get(count - 1) ?? null;
    return shop;
  });
}

onHosts('T16: a sealed collection is read, exported, imported and copied as a whole; its parts are sealed', (ground, t) => {
  shrink(t);
  const space = ground.open();
  const shop = grownShop(space);
  const sealed = space.relaxed(() => space.seal(shop));
  const members = parts(space, sealed);
  assert.ok(members.length > 1);
  for (const id of members) assert.equal(space.object(id).kind, 'immutable');
  const read = space.get(sealed, Shop);
  assert.equal(read.items.get(7)?.label, `7 ${PADDING}`);
  assert.ok(members.includes(objectOf(read.first ?? shop).id), 'a reference in it leads to what was sealed with it');
  fails('ObjectImmutable', () => space.relaxed(() => read.items.set(1, { label: 'other' })));
  fails('ObjectImmutable', () => space.relaxed(() => read.items.delete(1)));
  // The original goes, the sealed one stays.
  space.relaxed(() => space.delete(shop));
  assert.deepEqual(space.reclaim().deleted, []);
  const file = space.object(sealed).export();
  const again = ground.afterDeath(space);
  const twin = again.relaxed(() => again.copy(sealed)).root(Shop);
  again.relaxed(() => twin.items.set(7, { label: 'seven' }));
  assert.equal(again.get(sealed, Shop).items.get(7)?.label, `7 ${PADDING}`);
  assert.equal(twin.items.get(7)?.label, 'seven');
  assert.equal(twin.items.size, 60);
  // Its parts are counted: they go when nothing refers to them.
  again.relaxed(() => again.delete(sealed));
  assert.deepEqual(new Set(again.reclaim().deleted), new Set(members));
  assert.equal(again.relaxed(() => again.import(file)).id, sealed);
  assert.equal(again.get(sealed, Shop).items.get(59)?.label, `59 ${PADDING}`);
  again.close();
  const { findings } = checkSpace(ground.host, ground.directory);
  assert.deepEqual(findings, []);
});

onHosts('T16: sealed collections that share a part: it stays as long as one of them does', (ground, t) => {
  shrink(t);
  const space = ground.open();
  const shop = grownShop(space);
  const first = space.relaxed(() => space.seal(shop));
  // Only the home changes.
  space.relaxed(() => (shop.first = null));
  const second = space.relaxed(() => space.seal(shop));
  assert.notEqual(first, second);
  assert.deepEqual(parts(space, first), parts(space, second));
  const file = space.object(second).export();
  space.relaxed(() => space.delete(second));
  assert.deepEqual(space.reclaim().deleted, []);
  assert.equal(space.get(first, Shop).items.get(3)?.label, `3 ${PADDING}`);
  // What is there already of the parts is the same.
  assert.equal(space.relaxed(() => space.import(file)).id, second);
  assert.equal(space.get(second, Shop).items.get(3)?.label, `3 ${PADDING}`);
  fails('ObjectExists', () => space.relaxed(() => space.import(file)));
});

onHosts('T16: a part that is damaged in an export is refused, and nothing of the rest is there', (ground, t) => {
  shrink(t);
  const space = ground.open();
  const shop = grownShop(space);
  const { id } = objectOf(shop);
  const file = objectOf(shop).export();
  const home = objectOf(shop).size;
  assert.ok(file.length > home);
  space.relaxed(() => space.delete(shop));
  const before = new Set(space.ids());
  const damaged = file.slice();
  damaged[home + META.kind] = KIND.immutable;
  space.relaxed(() => {
    fails('ObjectCorrupt', () => space.import(damaged));
    fails('ObjectCorrupt', () => space.import(file.subarray(0, file.length - 4096)));
  });
  assert.deepEqual(new Set(space.ids()), before);
  space.relaxed(() => space.import(file));
  assert.equal(space.get(id, Shop).items.size, 60);
});

onHosts('T16: parts that refer to each other in a circle cannot be sealed, and can be copied', (ground, t) => {
  shrink(t);
  const space = ground.open();
  const shop = grownShop(space);
  // From a part to a part and to what lies at home, which leads to them.
  space.relaxed(() => {
    for (const [key, item] of shop.items) item.other = shop.items.get((key + 59) % 60) ?? null;
  });
  const before = new Set(space.ids());
  space.relaxed(() => fails('NotSupported', () => space.seal(shop)));
  assert.deepEqual(new Set(space.ids()), before);
  const copy = space.relaxed(() => space.copy(shop)).root(Shop);
  const mine = new Set([objectOf(copy).id, ...parts(space, objectOf(copy).id)]);
  let count = 0;
  for (let at = copy.first; at !== null && count <= 60; at = at.other) {
    assert.ok(mine.has(objectOf(at).id));
    count++;
  }
  assert.equal(count, 61, 'round and round');
  // A part that went is none, though something still leads there.
  space.relaxed(() => shop.items.clear());
  const rest = space.relaxed(() => space.copy(shop)).root(Shop);
  assert.equal(rest.items.size, 0);
  assert.deepEqual(parts(space, objectOf(rest).id), []);
});

onHosts('T16: keys that name parts cannot be copied or sealed; keys that stay at home can', (ground, t) => {
  shrink(t);
  const space = ground.open();
  const Club = struct('Club', {
    people: hashMap(u32, Item),
    founder: ref(Item),
    chosen: hashSet(ref(Item)),
    notes: orderedMap(u32, bytes),
  });
  const club = space.relaxed(() => {
    const made = space.create(Club);
    made.founder = space.make(Item, made, { label: 'founder' });
    made.chosen.add(made.founder);
    for (let i = 0; i < 60; i++) made.notes.set(i, new Uint8Array(700).fill(i));
    return made;
  });
  assert.ok(parts(space, objectOf(club).id).length > 1);
  const twin = space.relaxed(() => space.copy(club)).root(Club);
  const sealed = space.get(
    space.relaxed(() => space.seal(club)),
    Club,
  );
  for (const other of [twin, sealed]) {
    assert.equal(other.chosen.has(club.founder), false);
    assert.equal(other.chosen.has(other.founder), true);
    assert.deepEqual(
      [...other.chosen].map((item) => item?.label),
      ['founder'],
    );
  }
  const before = new Set(space.ids());
  space.relaxed(() => {
    for (let i = 0; i < 60; i++) club.people.set(i, { label: `${i} ${PADDING}` });
    club.chosen.add(club.people.get(59) ?? null);
  });
  const then = new Set(space.ids());
  assert.ok(then.size > before.size);
  space.relaxed(() => {
    fails('NotSupported', () => space.copy(club));
    fails('NotSupported', () => space.seal(club));
  });
  assert.deepEqual(new Set(space.ids()), then);
  const file = objectOf(club).export();
  space.relaxed(() => club.chosen.delete(club.people.get(59) ?? null));
  const last = space.relaxed(() => space.copy(club)).root(Club);
  assert.equal(last.people.get(59)?.label, `59 ${PADDING}`);
  // An export has the same IDs.
  const { id } = objectOf(club);
  space.relaxed(() => space.delete(club));
  const back = space.relaxed(() => space.import(file)).root(Club);
  assert.equal(objectOf(back).id, id);
  assert.equal(back.chosen.has(back.people.get(59) ?? null), true);
});

onHosts(
  'T6: an object goes with its parts: by its ID, as a struct, when its tie ends, by reclaim; a pinned part keeps all',
  (ground, t) => {
    shrink(t);
    const space = ground.open();
    const gone = (made: Shop, deletion: () => void): void => {
      const { id } = objectOf(made);
      const all = [id, ...parts(space, id)];
      assert.ok(all.length > 2);
      deletion();
      for (const each of all) assert.equal(space.has(each), false);
    };
    const one = grownShop(space);
    gone(one, () => space.relaxed(() => space.delete(objectOf(one).id)));
    const two = grownShop(space);
    gone(two, () => space.relaxed(() => space.delete(two)));
    const three = grownShop(space);
    const owner = space.relaxed(() => space.create(Item));
    space.relaxed(() => {
      space.tie(three, owner);
      assert.equal(space.delete(three), 'kept');
    });
    assert.equal(three.items.get(59)?.label, `59 ${PADDING}`);
    gone(three, () => space.relaxed(() => space.delete(owner)));
    // Undone, all of it is back.
    const four = grownShop(space);
    const { id } = objectOf(four);
    assert.throws(() =>
      space.relaxed(() => {
        space.delete(four);
        throw new Error('undone');
      }),
    );
    assert.equal(space.get(id, Shop).items.size, 60);
    const [part] = parts(space, id);
    assert.ok(part !== undefined);
    const raw = space.object(part);
    space.relaxed(() => raw.raw());
    space.relaxed(() => fails('ObjectPinned', () => space.delete(id)));
    assert.equal(space.get(id, Shop).items.get(59)?.label, `59 ${PADDING}`);
    raw.releaseRaw();
    gone(four, () => space.relaxed(() => space.delete(id)));
  },
);

onHosts('T6: what leads into a part of a counted object keeps all of it', (ground, t) => {
  shrink(t);
  const space = ground.open();
  const holder = space.relaxed(() => space.create(Item));
  const id = space.relaxed(() => {
    const shop = space.create(Shop, {}, { counted: true });
    for (let i = 0; i < 60; i++) shop.items.set(i, { label: `${i} ${PADDING}` });
    holder.other = shop.items.get(59) ?? null;
    return objectOf(shop).id;
  });
  assert.notEqual(objectOf(holder.other ?? holder).id, id);
  const members = parts(space, id);
  assert.deepEqual(space.reclaim().deleted, []);
  assert.equal(space.get(id, Shop).items.size, 60);
  space.relaxed(() => (holder.other = null));
  assert.deepEqual(new Set(space.reclaim().deleted), new Set([id, ...members]));
});

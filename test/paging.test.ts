/** G2: an object that is elsewhere is read before it is here; what is touched is fetched, once, and little else. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { META, PAGE } from '../src/abi/format.ts';
import { RIGHT, bytes, closeCursor, cursor, objectOf, orderedMap, reader, struct, text, u32, vec, ref } from '../src/index.ts';
import { pageIn, type PageCounters, type PagedObject } from '../src/services/pager.ts';
import { Ground, fails } from './hosts.ts';
import { exported, type Exported } from './paging-source.ts';
import { ALL_WAYS, NO_FAULTS, Person, idOf, inWays, people, world } from './paging-world.ts';

// --- how much is moved ----------------------------------------------------------------------------------------------------------

const ENTRIES = 26_000;
const VALUE = 4000;
const Big = orderedMap(u32, bytes);

/** 107 MB, in three objects. */
function big(t: TestContext): Exported {
  const space = new Ground('linux', t).open();
  const map = space.relaxed(() => {
    const made = space.create(Big);
    const value = new Uint8Array(VALUE);
    for (let i = 0; i < ENTRIES; i++) {
      new DataView(value.buffer).setUint32(0, i);
      made.set(i, value);
    }
    return made;
  });
  const result = exported(objectOf(map).export());
  assert.equal(result.facts.length, 3);
  space.kernel.release();
  return result;
}

const valueOf = (value: Uint8Array | undefined): number =>
  value?.length === VALUE ? new DataView(value.buffer, value.byteOffset).getUint32(0) : -1;

test('G2: touching 1 % of 107 MB moves at most 2 % of it, and the second touch moves nothing', { skip: NO_FAULTS }, async (t) => {
  const all = big(t);
  const size = all.facts.reduce((sum, each) => sum + each.size, 0);
  assert.ok(size > 100e6);
  const { space, paged, source } = await world(t, new Ground('linux', t), 'by touch', all);
  const countersOf = (of: PagedObject): (PageCounters | undefined)[] => all.facts.map(({ id }) => of.counters(id));
  const total = (of: PagedObject, counter: 'fetched' | 'faults'): number =>
    countersOf(of).reduce((sum, each) => sum + (each?.[counter] ?? 0), 0);
  /** Everything is answered in order: what was asked for before this has come. Returns the bytes that it moved itself. */
  const settle = (): number => {
    const fence = pageIn(space, source.source, all.facts);
    fence.read(() => fence.root(Big));
    const moved = total(fence, 'fetched');
    fence.close();
    return moved;
  };
  const judge = (of: PagedObject, how: string): number => {
    const moved = total(of, 'fetched');
    t.diagnostic(`${how}: ${((100 * moved) / size).toFixed(2)} %, ${total(of, 'faults')} faults`);
    assert.ok(moved <= 0.02 * size, `${moved} of ${size} bytes`);
    // No less than what was read, either: the counters count.
    assert.ok(moved >= share * VALUE);
    return moved;
  };
  const share = ENTRIES / 100;

  // In order.
  const expected = Array.from({ length: share }, (_, i) => 7000 + i);
  const inOrder = (): number[] =>
    paged.read(() => [...paged.root(Big).entries({ from: 7000, limit: share })].map(([, value]) => valueOf(value)));
  assert.deepEqual(inOrder(), expected);
  const aside = settle();
  assert.equal(judge(paged, 'in order') + aside, source.bytes);
  const before = countersOf(paged);
  for (let i = 0; i < 3; i++) assert.deepEqual(inOrder(), expected);
  assert.deepEqual(countersOf(paged), before);

  // Here and there, by another view, that has nothing yet.
  const other = pageIn(space, source.source, all.facts);
  const keys = Array.from({ length: share }, (_, i) => (i * 8219) % ENTRIES);
  const scattered = (): number[] => other.read(() => keys.map((key) => valueOf(other.root(Big).get(key))));
  assert.deepEqual(scattered(), keys);
  settle();
  judge(other, 'scattered');
  const after = countersOf(other);
  assert.deepEqual(scattered(), keys);
  assert.deepEqual(countersOf(other), after);
  other.close();
  assert.deepEqual(inOrder(), expected);
});

// --- what can be read -------------------------------------------------------------------------------------------------------------

inWays(
  'G2: fields, collections and references of paged objects are as in any other, and lead out of them',
  async (t, ground, how) => {
    const { all, third, thirdId } = people(t);
    const { space, paged, source } = await world(t, ground, how, all);
    let kept: Person | undefined;
    paged.read(() => {
      const alice = paged.root(Person);
      assert.deepEqual([alice.name, alice.age, alice.visits.length, alice.visits.get(20_002)], ['Alice', 30, 20_003, 19_999]);
      assert.equal(alice.visits.at(-1), 19_999);
      assert.deepEqual([...alice.tags], [['Alice', 0]]);
      const bob = alice.friend;
      assert.deepEqual([bob?.name, bob?.tags.get('Bob'), bob?.friend?.name], ['Bob', 1, 'Alice']);
      fails('ObjectMissing', () => alice.elsewhere);
      fails('NameUnresolved', () => bob?.elsewhere);
      kept = alice;
    });
    // What is the space's own is found there.
    space.relaxed(() => space.names.set('/carol', space.import(third)));
    assert.equal(
      paged.read(() => kept?.elsewhere?.name),
      'Carol',
    );
    paged.read(() => {
      const carol = paged.root(Person).friend?.elsewhere as Person;
      assert.deepEqual([carol.name, idOf(carol)], ['Carol', thirdId]);
      space.relaxed(() => (carol.age = 99));
    });
    assert.equal(space.get(thirdId, Person).age, 99);
    // All of it is here now.
    paged.read(() => assert.equal(paged.object.bytes().length, paged.object.size));
    const { questions } = source;
    paged.read(() => assert.equal(paged.object.export().length, paged.object.size));
    assert.equal(source.questions, questions);
  },
  ALL_WAYS,
);

const Hub = struct('Hub', { name: text, filler: bytes, targets: vec(ref(Person)) });

test('G2: what an object refers to comes with its header, and leads to objects of the space', { skip: NO_FAULTS }, async (t) => {
  const there = new Ground('simulated', t).open();
  const [hub, ...targets] = there.relaxed(() => {
    const made = Array.from({ length: 500 }, (_, age) => there.create(Person, { name: `person ${age}`, age }));
    return [there.create(Hub, { name: 'hub', filler: new Uint8Array(300_000), targets: made }), ...made] as const;
  });
  const all = exported(objectOf(hub).export());
  const { space, paged, source } = await world(t, new Ground('linux', t), 'by touch', all, { first: PAGE });
  paged.read(() => assert.equal(paged.root(Hub).name, 'hub'));
  // The last chunk of the table: of 512 entries, after chunks of 128 and 256.
  const chunk = objectOf(hub).handle.dv.getUint32(META.fotChunks + 8, true) * PAGE;
  assert.ok(chunk > 200_000);
  while (!paged.resident(chunk)) await new Promise(setImmediate);
  space.relaxed(() => {
    for (const each of targets) space.import(objectOf(each).export());
  });
  const agesOf = (): number[] => paged.read(() => [...paged.root(Hub).targets].map((each) => (each as Person).age));
  for (let i = 0; i < 2; i++)
    assert.deepEqual(
      agesOf(),
      Array.from({ length: 500 }, (_, age) => age),
    );
  // The filler has stayed where it was.
  assert.ok(source.bytes < 120_000, `${source.bytes} bytes`);
});

inWays('G2: a paged object is judged as any other', async (t, ground, how) => {
  const there = new Ground('simulated', t).open();
  const secret = there.relaxed(() => there.create(Person, { name: 'secret' }, { rights: RIGHT.write }));
  const { paged } = await world(t, ground, how, exported(there.kernel.handle(idOf(secret)).image()));
  fails('ObjectForbidden', () => paged.read(() => paged.root(Person)));
});

inWays('G2: a paged object is copied into the space by what copies any object', async (t, ground, how) => {
  const { space, paged } = await world(t, ground, how, people(t).all);
  const copy = space.relaxed(() => paged.read(() => space.copy(paged.object)));
  paged.close();
  const alice = copy.root(Person);
  space.relaxed(() => (alice.age = 7));
  assert.deepEqual([alice.name, alice.age, alice.visits.get(20_002)], ['Alice', 7, 19_999]);
});

inWays('G2: nothing of a paged object is changed, or held outside of what reads it', async (t, ground, how) => {
  const { space, paged } = await world(t, ground, how, people(t).all);
  const alice = paged.read(() => paged.root(Person));
  fails('PagedOutside', () => alice.name);
  fails('PagedOutside', () => alice.visits.length);
  fails('PagedOutside', () => paged.root(Person));
  paged.read(() => {
    space.relaxed(() => {
      fails('PagedReadOnly', () => (alice.age = 1));
      fails('PagedReadOnly', () => alice.visits.push(1));
      fails('PagedReadOnly', () => alice.tags.set('x', 1));
      fails('PagedReadOnly', () => paged.object.raw());
      fails('PagedReadOnly', () => paged.object.wasm());
      fails('PagedReadOnly', () => space.delete(paged.object));
    });
    fails('NotSupported', () => cursor(Person, alice));
    fails('NotSupported', () => reader(Person, alice));
    assert.equal(alice.age, 30);
    const walk = alice.visits[Symbol.iterator]();
    assert.equal(walk.next().value, 1);
    return walk;
  });
  const walk = paged.read(() => alice.visits[Symbol.iterator]());
  fails('PagedOutside', () => walk.next());
  fails('InvalidArgument', () => paged.read(() => Promise.resolve(alice)));
  fails('PagedOutside', () => alice.name);
  // Of the space's own objects there may be cursors meanwhile.
  const own = space.relaxed(() => space.create(Person, { name: 'own' }));
  paged.read(() => closeCursor(cursor(Person, own)));
});

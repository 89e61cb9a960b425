/**
 * T16: hash maps, hash sets and ordered maps against plain models, with undone transactions, death of the process, power failures and
 * reopening among the changes. Seed and path are printed when a run fails; FC_SEED replays one, FC_RUNS takes more.
 */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  bigI64,
  bool,
  bytes,
  caseless,
  f64,
  hashMap,
  hashSet,
  i32,
  i64,
  objectOf,
  oneOf,
  optional,
  orderedMap,
  ref,
  same,
  struct,
  text,
  tuple,
  u32,
  u64,
  u8,
  type CollectionType,
  type HashMap,
  type HashSet,
  type Infer,
  type ObjectId,
  type OrderedMap,
  type Range,
  type Space,
} from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { checkSpace } from '../src/services/check.ts';
import { event, Machine, type Event } from './collections-machine.ts';
import { fails, onHosts, thrown } from './hosts.ts';
import { amount } from './thorough.ts';

const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = {
  seed: SEED,
  numRuns: Number(process.env['FC_RUNS'] ?? amount(4, 8)),
  endOnFailure: true,
  includeErrorInReport: true,
} as const;

// --- kinds of keys and values -------------------------------------------------------------------------------------------------

/** Keys of a type, and the text that has their order and tells them apart. */
interface Keys<K> {
  readonly name: string;
  readonly key: fc.Arbitrary<K>;
  readonly order: (key: K) => string;
  readonly prefixes: boolean;
  readonly hash: () => CollectionType<HashMap<K, string>, Iterable<readonly [K, string]>>;
  readonly ordered: () => CollectionType<OrderedMap<K, string>, Iterable<readonly [K, string]>>;
  readonly set: () => CollectionType<HashSet<K>, Iterable<K>>;
}

const utf8 = (value: string): string => Buffer.from(value, 'utf8').toString('hex');
/** Numbers as texts in their order. */
const number = (value: number): string => {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value === 0 ? 0 : value);
  const bits = view.getBigUint64(0);
  if (Number.isNaN(value)) return 'z';
  return ((bits & 0x8000000000000000n) === 0n ? bits | 0x8000000000000000n : ~bits & 0xffffffffffffffffn).toString(16).padStart(16, '0');
};

const words = fc.oneof(
  fc.nat(60).map((n) => `user${String(n).padStart(6, '0')}`),
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.string({ maxLength: 3 }),
  fc.array(fc.constantFrom('a', 'b', '\0', 'é', '\uffff', '😀'), { maxLength: 9 }).map((parts) => parts.join('')),
);
const proper = (value: string): string => Buffer.from(value, 'utf8').toString('utf8');

function kind<K>(
  name: string,
  key: fc.Arbitrary<K>,
  order: (key: K) => string,
  types: Pick<Keys<K>, 'hash' | 'ordered' | 'set'>,
  prefixes = false,
): Keys<K> {
  return { name, key, order, prefixes, ...types };
}

const KINDS = {
  u32: kind('u32', fc.oneof(fc.nat(50), fc.nat(0xffffffff)), number, {
    hash: () => hashMap(u32, text),
    ordered: () => orderedMap(u32, text),
    set: () => hashSet(u32),
  }),
  i32: kind('i32', fc.oneof(fc.integer({ min: -20, max: 20 }), fc.integer()), number, {
    hash: () => hashMap(i32, text),
    ordered: () => orderedMap(i32, text),
    set: () => hashSet(i32),
  }),
  f64: kind(
    'f64',
    fc.oneof(fc.double(), fc.constantFrom(0, -0, Number.NaN, Infinity, -Infinity), fc.integer({ min: -9, max: 9 })),
    number,
    {
      hash: () => hashMap(f64, text),
      ordered: () => orderedMap(f64, text),
      set: () => hashSet(f64),
    },
  ),
  i64: kind('i64', fc.oneof(fc.maxSafeInteger(), fc.integer({ min: -9, max: 9 })), number, {
    hash: () => hashMap(i64, text),
    ordered: () => orderedMap(i64, text),
    set: () => hashSet(i64),
  }),
  bigI64: kind(
    'bigI64',
    fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -9n, max: 9n })),
    (value) => (value + 2n ** 63n).toString(16).padStart(16, '0'),
    { hash: () => hashMap(bigI64, text), ordered: () => orderedMap(bigI64, text), set: () => hashSet(bigI64) },
  ),
  text: kind(
    'text',
    words.map(proper),
    utf8,
    { hash: () => hashMap(text, text), ordered: () => orderedMap(text, text), set: () => hashSet(text) },
    true,
  ),
  bytes: kind(
    'bytes',
    fc.uint8Array({ maxLength: 9, max: 3 }).map((value) => value.map((byte) => byte * 85)),
    (value) => Buffer.from(value).toString('hex'),
    { hash: () => hashMap(bytes, text), ordered: () => orderedMap(bytes, text), set: () => hashSet(bytes) },
    true,
  ),
  caseless: kind(
    'caseless',
    words.map(proper),
    (value) => utf8(value.toLowerCase()),
    { hash: () => hashMap(caseless, text), ordered: () => orderedMap(caseless, text), set: () => hashSet(caseless) },
    true,
  ),
  oneOf: kind('oneOf', fc.constantFrom('b' as const, 'a', 'c'), (value) => String('bac'.indexOf(value)), {
    hash: () => hashMap(oneOf('b', 'a', 'c'), text),
    ordered: () => orderedMap(oneOf('b', 'a', 'c'), text),
    set: () => hashSet(oneOf('b', 'a', 'c')),
  }),
};

const PAIRS = {
  hash: () => hashMap(tuple(text, u8, bool), text),
  ordered: () => orderedMap(tuple(text, u8, bool), text),
  set: () => hashSet(tuple(text, u8, bool)),
};
const TUPLES = kind<[string, number, boolean]>(
  'tuple',
  fc.tuple(words.map(proper), fc.nat(3), fc.boolean()),
  // A part that ends sorts before one that goes on, whatever comes behind it.
  ([a, b, c]) => `${[...Buffer.from(a, 'utf8')].map((byte) => (byte + 1).toString(16).padStart(3, '0')).join('')}000${b}${c ? 1 : 0}`,
  PAIRS,
);

// --- the model ------------------------------------------------------------------------------------------------------------------

interface Entry<K> {
  readonly key: K;
  readonly value: string;
}

/** By the text of the key. */
type Model<K> = Map<string, Entry<K>>;

type Step<K> =
  | { readonly kind: 'set' | 'getOrInsert'; readonly key: K; readonly value: string }
  | { readonly kind: 'delete'; readonly key: K }
  | { readonly kind: 'many'; readonly keys: readonly K[]; readonly value: string }
  | { readonly kind: 'drop'; readonly share: number }
  | { readonly kind: 'clear' }
  | { readonly kind: 'deleteRange'; readonly range: Range<K> };

interface Turn<K> {
  readonly steps: readonly Step<K>[];
  readonly undo: boolean;
  readonly look: readonly Range<K>[];
}

function rangeOf<K>(key: fc.Arbitrary<K>, prefixes: boolean): fc.Arbitrary<Range<K>> {
  const maybe = fc.option(key, { nil: undefined });
  return fc
    .record({ from: maybe, after: maybe, to: maybe, through: maybe, prefix: maybe, reverse: fc.boolean(), limit: fc.option(fc.nat(9)) })
    .map(({ from, after, to, through, prefix, reverse, limit }) => ({
      ...(from === undefined ? {} : { from }),
      ...(after === undefined ? {} : { after }),
      ...(to === undefined ? {} : { to }),
      ...(through === undefined ? {} : { through }),
      ...(prefix === undefined || !prefixes ? {} : { prefix }),
      ...(reverse ? { reverse } : {}),
      ...(limit === null ? {} : { limit }),
    }));
}

function turns<K>({ key, prefixes }: Keys<K>): fc.Arbitrary<readonly (Turn<K> | Event)[]> {
  const value = fc.string({ maxLength: 60 }).map(proper);
  const range = rangeOf(key, prefixes);
  const step: fc.Arbitrary<Step<K>> = fc.oneof(
    { weight: 8, arbitrary: fc.record({ kind: fc.constantFrom('set' as const, 'getOrInsert'), key, value }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('many' as const), keys: fc.array(key, { minLength: 100, maxLength: 200 }), value }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('drop' as const), share: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('deleteRange' as const), range }) },
  );
  const turn = fc.record({
    steps: fc.array(step, { minLength: 1, maxLength: 6 }),
    undo: fc.nat(5).map((n) => n === 0),
    look: fc.array(range, { maxLength: 3 }),
  });
  return fc.array(fc.oneof({ weight: 4, arbitrary: turn }, { weight: 1, arbitrary: event }), { minLength: 4, maxLength: 14 });
}

/** The entries of a range, by the model. */
function select<K>({ order }: Keys<K>, model: Model<K>, range: Range<K>): Entry<K>[] {
  const { from, after, to, through, prefix, reverse, limit } = range;
  const chosen = [...model.entries()]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .filter(
      ([at]) =>
        (from === undefined || at >= order(from)) &&
        (after === undefined || at > order(after)) &&
        (to === undefined || at < order(to)) &&
        (through === undefined || at <= order(through)) &&
        (prefix === undefined || at.startsWith(order(prefix))),
    )
    .map(([, entry]) => entry);
  return (reverse === true ? chosen.toReversed() : chosen).slice(0, limit);
}

const show = <K>({ order }: Keys<K>, entries: Iterable<readonly [K, string]>): string =>
  JSON.stringify([...entries].map(([key, value]) => [order(key), value]));

const pairs = <K>(entries: readonly Entry<K>[]): (readonly [K, string])[] => entries.map(({ key, value }) => [key, value] as const);

type Any<K> = HashMap<K, string> | OrderedMap<K, string>;

function isOrdered<K>(map: Any<K>): map is OrderedMap<K, string> {
  return 'cursor' in map;
}

/** Does a step to a map and to its model. */
function take<K>(keys: Keys<K>, map: Any<K>, model: Model<K>, step: Step<K>): void {
  const { order } = keys;
  const put = (key: K, value: string): void => {
    map.set(key, value);
    // The key that was there first stays, as in a Map.
    model.set(order(key), { key: model.get(order(key))?.key ?? key, value });
  };
  switch (step.kind) {
    case 'set':
      put(step.key, step.value);
      break;
    case 'getOrInsert': {
      const there = model.get(order(step.key));
      assert.equal(map.getOrInsert(step.key, step.value), there?.value ?? step.value);
      if (there === undefined) model.set(order(step.key), { key: step.key, value: step.value });
      break;
    }
    case 'delete':
      assert.equal(map.delete(step.key), model.delete(order(step.key)));
      break;
    case 'many':
      for (const [i, key] of step.keys.entries()) put(key, `${step.value}${i}`);
      break;
    case 'drop':
      for (const [i, [at, { key }]] of [...model].entries()) {
        if (i % step.share !== 0) continue;
        assert.ok(map.delete(key));
        model.delete(at);
      }
      break;
    case 'clear':
      map.clear();
      model.clear();
      break;
    case 'deleteRange': {
      if (!isOrdered(map)) break;
      const gone = select(keys, model, step.range);
      assert.equal(map.deleteRange(step.range), gone.length);
      for (const { key } of gone) model.delete(order(key));
    }
  }
}

function compare<K>(keys: Keys<K>, map: Any<K>, model: Model<K>, look: readonly Range<K>[]): void {
  assert.equal(map.size, model.size);
  for (const [at, { key, value }] of model) {
    const found = map.get(key);
    assert.equal(found, value, at);
    assert.equal(Buffer.from(map.view(key)?.toUint8Array() ?? []).toString('utf8'), value);
  }
  const sorted = [...map].map(([key, value]) => [keys.order(key), value]).toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1));
  assert.deepEqual(
    sorted,
    [...model].map(([at, { value }]) => [at, value]).toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)),
  );
  if (!isOrdered(map)) return;
  for (const range of [{}, { reverse: true }, ...look]) {
    const expected = pairs(select(keys, model, range));
    assert.equal(show(keys, map.range(range)), show(keys, expected), inspect(range));
    assert.equal(map.count(range), expected.length);
  }
  const whole = select(keys, model, {});
  assert.equal(map.first()?.[1], whole[0]?.value);
  assert.equal(map.last()?.[1], whole.at(-1)?.value);
}

function live<K>(t: string, keys: Keys<K>, type: CollectionType<Any<K>, Iterable<readonly [K, string]>>): void {
  test(`T16 ${t}: keys of ${keys.name} as the model says, through deaths and power failures`, () => {
    fc.assert(
      fc.property(turns(keys), (story) => {
        const machine = new Machine<Model<K>>(new Map(), (model) => new Map(model));
        try {
          const id = machine.space.relaxed(() => objectOf(machine.space.create(type)).id);
          machine.space.sync();
          const map = (): Any<K> => machine.space.get(id, type);
          for (const turn of story) {
            if (!('steps' in turn)) {
              machine.happen(turn, (model) =>
                model === undefined
                  ? show(
                      keys,
                      [...map()].toSorted(([a], [b]) => (keys.order(a) < keys.order(b) ? -1 : 1)),
                    )
                  : show(keys, pairs(select(keys, model, {}))),
              );
            } else {
              const held = map();
              machine.transact(() => {
                for (const step of turn.steps) take(keys, held, machine.model, step);
              }, turn.undo);
              compare(keys, held, machine.model, turn.look);
            }
          }
          compare(keys, map(), machine.model, []);
          machine.space.relaxed(() => map().clear());
          assert.deepEqual(map().usage(), { objects: 1, blocks: 0, bytes: 0 });
        } finally {
          machine.end();
        }
      }),
      RUNS,
    );
  });
}

function both<K>(keys: Keys<K>): void {
  live('HashMap', keys, keys.hash());
  live('OrderedMap', keys, keys.ordered());
}

both(KINDS.u32);
both(KINDS.f64);
both(KINDS.text);
both(KINDS.caseless);
both(TUPLES);
live('OrderedMap', KINDS.i32, KINDS.i32.ordered());
live('OrderedMap', KINDS.i64, KINDS.i64.ordered());
live('OrderedMap', KINDS.bigI64, KINDS.bigI64.ordered());
live('OrderedMap', KINDS.bytes, KINDS.bytes.ordered());
live('HashMap', KINDS.oneOf, KINDS.oneOf.hash());

test('T16 HashSet: as a Set', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(300)), { maxLength: 600 }), (steps) => {
      const machine = new Machine(undefined, () => undefined);
      try {
        const set = machine.space.relaxed(() => machine.space.create(hashSet(u32)));
        const model = new Set<number>();
        machine.space.relaxed(() => {
          for (const [adds, key] of steps) {
            if (adds) {
              assert.equal(set.add(key), set);
              model.add(key);
            } else assert.equal(set.delete(key), model.delete(key));
          }
        });
        const sort = (values: Iterable<number>): number[] => [...values].toSorted((a, b) => a - b);
        assert.deepEqual(sort(set), sort(model));
        assert.deepEqual(sort([...set.entries()].map(([a, b]) => (a === b ? a : -1))), sort(model));
        assert.equal(set.size, model.size);
      } finally {
        machine.end();
      }
    }),
    RUNS,
  );
});

// --- values -----------------------------------------------------------------------------------------------------------------------

const Person = struct('MapPerson', {
  name: text,
  age: u8,
  born: optional(i32),
  tags: hashSet(text),
  get friend() {
    return ref(Person);
  },
});
type Person = Infer<typeof Person>;
const People = hashMap(text, Person);
const Town = struct('MapTown', { name: text, people: People, streets: orderedMap(u32, text) });

onHosts('T16 maps: structs lie in place, and references to them stay', (ground) => {
  const space = ground.open();
  const people = space.relaxed(() => space.create(People, [['bob', { name: 'Bob', age: 5, tags: ['a', 'b'] }]]));
  const bob: Person | undefined = people.get('bob');
  assert.ok(bob !== undefined);
  const other = space.relaxed(() => space.create(Person, { name: 'Al', friend: bob }));
  space.relaxed(() => {
    for (let i = 0; i < 500; i++) people.set(`p${i}`, { name: `P${i}`, friend: bob, age: i % 200 });
  });
  assert.equal(other.friend?.name, 'Bob');
  assert.ok(same(other.friend, people.get('bob') ?? null));
  space.relaxed(() => people.set('bob', { name: 'Robert' }));
  assert.equal(bob.name, 'Robert');
  assert.equal(bob.age, 0, 'another value begins with zeros');
  assert.equal(bob.tags.size, 0);
  space.relaxed(() => people.set('bob', bob));
  assert.equal(bob.name, 'Robert', 'a value set to itself stays');
  assert.equal(people.get('p7')?.friend?.name, 'Robert');
  const id = objectOf(people).id;
  const again = ground.afterDeath(space).get(id, People);
  assert.equal(again.size, 501);
  assert.equal(again.get('p499')?.friend?.name, 'Robert');
});

onHosts('T16 maps: in a struct, in a map, and by name', (ground) => {
  const space = ground.open();
  const Towns = orderedMap(text, Town);
  space.relaxed(() => {
    const towns = space.create(Towns);
    space.names.set('/towns', towns);
    towns.set('X', { name: 'Xville', people: [['ann', { name: 'Ann' }]], streets: new Map([[1, 'First']]) });
    towns.get('X')?.people.set('ben', { name: 'Ben', tags: ['tall'] });
  });
  const towns = space.names.get('/towns', Towns);
  assert.deepEqual([...(towns.get('X')?.people.keys() ?? [])].toSorted(), ['ann', 'ben']);
  assert.equal(towns.get('X')?.streets.get(1), 'First');
  const before = objectOf(towns).size;
  space.relaxed(() => {
    for (let round = 0; round < 50; round++) {
      towns.set('Y', { name: 'Y', people: [['eve', { name: 'Eve', tags: ['x', 'y'] }]] });
      towns.delete('Y');
    }
  });
  assert.ok(objectOf(towns).size <= before + 65536, 'what a deleted value held is used again');
  assert.match(inspect(towns.get('X')?.streets), /OrderedMap\(1\) \{ 1 => 'First' \}/);
});

onHosts('T16 maps: what is refused changes nothing', (ground) => {
  const space = ground.open();
  const people = space.relaxed(() => space.create(People));
  fails('NotInTransaction', () => people.set('a', { name: 'A' }));
  space.relaxed(() => {
    const wrong: unknown = { name: 'A', age: 300 };
    fails('OutOfRange', () => people.set('a', wrong as { name: string }));
    assert.equal(people.size, 0);
    const key: unknown = 5;
    fails('ValueMismatch', () => people.set(key as string, {}));
    fails('OutOfRange', () => people.set('x'.repeat(70_000), {}));
    const unknown: unknown = { nam: 'A' };
    fails('ValueMismatch', () => people.set('a', unknown as { name: string }));
    assert.equal(people.size, 0);
    people.set('a', { name: 'A' });
  });
  assert.deepEqual([...people.keys()], ['a']);
  fails('NotSupported', () => people.view('a'));
  const link: unknown = Person;
  fails('TypeInvalid', () => hashMap(link as typeof text, text));
  fails('TypeInvalid', () => hashMap(tuple(u32, tuple(u32, caseless)), text));
  const numbers = space.relaxed(() => space.create(orderedMap(u32, text)));
  fails('OutOfRange', () => numbers.range({ prefix: 5 }).next());
  space.relaxed(() => {
    numbers.load([
      [1, 'a'],
      [5, 'b'],
    ]);
    fails('OutOfRange', () => numbers.load([[4, 'c']]));
  });
  fails('TypeMismatch', () => space.get(objectOf(numbers).id, orderedMap(u32, bytes)));
});

onHosts('T16 maps: iteration goes on while entries come and go', (ground) => {
  const space = ground.open();
  const hash = space.relaxed(() => space.create(hashMap(u32, u32)));
  const ordered = space.relaxed(() => space.create(orderedMap(u32, u32)));
  space.relaxed(() => {
    for (let i = 0; i < 20_000; i++) {
      hash.set(i, i);
      if (i < 3000) ordered.set(i, i);
    }
  });
  space.relaxed(() => {
    const seen = new Set<number>();
    for (const [key] of hash) {
      assert.ok(!seen.has(key), `${key} twice`);
      seen.add(key);
      if (key < 20_000) {
        if (key % 2 === 0) hash.delete(key);
        hash.set(100_000 + key, 1);
      }
    }
    for (let i = 0; i < 20_000; i++) assert.ok(seen.has(i), `${i} was not seen`);
    const order: number[] = [];
    for (const key of ordered.keys()) {
      order.push(key);
      ordered.delete(key);
      if (key % 3 === 1) ordered.set(key - 1, 0);
    }
    assert.deepEqual(
      order,
      Array.from({ length: 3000 }, (_, i) => i),
    );
  });
  const cursor = ordered.cursor({ from: 5 });
  assert.ok(thrown(() => cursor.key) instanceof Error);
  assert.ok(cursor.next());
  const { key } = cursor;
  space.relaxed(() => ordered.delete(key));
  fails('OutOfRange', () => cursor.value);
  assert.ok(cursor.next() && cursor.key > key);
});

onHosts('T16 maps: bytes are copied out, each copy for itself, of whatever size', (ground) => {
  const space = ground.open();
  const map = space.relaxed(() => space.create(orderedMap(u32, bytes)));
  // Around the size from which a copy has a buffer of its own, and so many that the small ones fill several pieces of memory.
  const lengths = [0, 1, 7, 8, 9, 4095, 4096, 4097, 100_000, ...Array.from({ length: 200 }, (_, i) => i * 13)];
  space.relaxed(() => lengths.forEach((length, key) => map.set(key, new Uint8Array(length).fill(key))));
  const copies = [...map.values(), ...map.values()];
  copies.forEach((copy, i) => copy.fill(255 - (i & 127)));
  copies.forEach((copy, i) =>
    assert.ok(copy.length === lengths[i % lengths.length] && copy.every((byte) => byte === 255 - (i & 127)), `copy ${i}`),
  );
  for (const [key, value] of map) assert.deepEqual(value, new Uint8Array(lengths[key] ?? -1).fill(key));
});

onHosts('T10 maps: a snapshot shows the map as it was', (ground) => {
  const space = ground.open();
  const map = space.relaxed(() => space.create(orderedMap(u32, text), [[1, 'one']]));
  const snapshot = space.snapshot();
  const then = snapshot.of(map);
  space.relaxed(() => {
    for (let i = 0; i < 1000; i++) map.set(i, 'new');
  });
  assert.deepEqual([...then], [[1, 'one']]);
  assert.equal(map.size, 1000);
  snapshot.advance();
  assert.equal(then.get(999), 'new');
  snapshot.close();
});

// --- over many objects --------------------------------------------------------------------------------------------------------------

function fill(space: Space, map: Any<number>, count: number): void {
  const value = 'v'.repeat(1000);
  for (let i = 0; i < count; i += 1000)
    space.relaxed(() => {
      for (let j = i; j < i + 1000; j++) map.set(j, `${j}${value}`);
    });
}

/** Entries of a map that is too large for one object; objects are a quarter as large for the suite. */
const MANY = amount(25_000, 100_000);
const SHARE = amount(4, 1);

for (const [name, type] of [
  ['HashMap', hashMap(u32, text)],
  ['OrderedMap', orderedMap(u32, text)],
] as const) {
  onHosts(
    `T16 ${name}: over several objects, that go with it`,
    (ground, t) => {
      const limits = { ...POOL_LIMITS };
      t.after(() => Object.assign(POOL_LIMITS, limits));
      Object.assign(POOL_LIMITS, { home: limits.home / SHARE, member: limits.member / SHARE });
      const space = ground.open();
      const map: Any<number> = space.relaxed(() => space.create(type));
      const id: ObjectId = objectOf(map).id;
      fill(space, map, MANY);
      assert.ok(map.usage().objects >= 3, inspect(map.usage()));
      const after = ground.afterDeath(space);
      const again: Any<number> = after.get(id, type);
      for (let i = 0; i < MANY; i += 97) assert.ok(again.get(i)?.startsWith(`${i}v`));
      assert.equal([...again.keys()].length, MANY);
      after.close();
      const { findings } = checkSpace(ground.host, ground.directory);
      assert.deepEqual(
        findings.filter(({ severity }) => severity === 'error'),
        [],
      );
      const last = ground.open();
      const doomed: Any<number> = last.get(id, type);
      last.relaxed(() => last.delete(doomed));
      assert.deepEqual(
        [...last.ids()].filter((each) => last.object(each).schema !== undefined || last.object(each).size > 1 << 20),
        [],
        'nothing of it is left',
      );
    },
    ['linux'],
  );
}

onHosts('T16 maps: values that are wide numbers or one of an enumeration', (ground) => {
  const space = ground.open();
  const most = 2 ** 53 - 1;
  const counts = space.relaxed(() => space.create(hashMap(text, u64), [['most', most]]));
  const signed = space.relaxed(() => space.create(orderedMap(text, i64), [['least', -most]]));
  const states = space.relaxed(() => space.create(orderedMap(u32, oneOf('off', 'on')), [[1, 'on']]));
  assert.deepEqual([counts.get('most'), signed.get('least'), states.get(1)], [most, -most, 'on']);
  space.close();
});

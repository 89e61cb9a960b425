/**
 * T16: red-black trees against a plain model, with undone transactions, death of the process, power failures and reopening among the
 * changes; the balance of the tree is looked at by itself. Seed and path are printed by fast-check when a run fails; FC_SEED replays one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  caseless,
  f64,
  hashMap,
  objectOf,
  offsetOf,
  redBlackTree,
  ref,
  struct,
  text,
  tuple,
  u16,
  u32,
  type CollectionType,
  type ObjectId,
  type RedBlackTree,
  type Space,
} from '../src/index.ts';
import { TREE_POOL, TREE_ROOT } from '../src/lib/collections/red-black-nodes.ts';
import { POOL_LIMITS, poolObject, poolOffset } from '../src/lib/collections/pool.ts';
import { event, Machine, type Event } from './collections-machine.ts';
import { fails, onHosts } from './hosts.ts';
import { amount } from './thorough.ts';

const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

// --- the shape of the tree ----------------------------------------------------------------------------------------------------

/** Looks at every node; returns how many there are. */
function balanced(tree: object): number {
  const h = objectOf(tree).handle;
  const o = offsetOf(tree);
  let nodes = 0;
  const black = (address: number, parentRed: boolean): number => {
    if (address === 0) return 0;
    nodes++;
    const n = poolObject(h, o + TREE_POOL, address);
    const at = poolOffset(address);
    const right = n.dv.getUint32(at + 8, true);
    const red = right > 0x7fffffff;
    assert.ok(!(red && parentRed), 'a red node has a red child');
    const a = black(n.dv.getUint32(at + 4, true), red);
    const b = black((right & 0x7fffffff) >>> 0, red);
    assert.equal(a, b, 'both sides have as many black nodes');
    return a + (red ? 0 : 1);
  };
  if (h.cold) h.warm();
  const root = h.dv.getUint32(o + TREE_ROOT, true);
  // Red for its parent: the root must be black.
  black(root, true);
  return nodes;
}

// --- the model ------------------------------------------------------------------------------------------------------------------

interface Sort<K, V, I> {
  readonly name: string;
  readonly type: CollectionType<RedBlackTree<K, V, I>, Iterable<readonly [K, I]>>;
  readonly key: fc.Arbitrary<K>;
  /** Texts in the order of the keys, the same for the same key. */
  readonly order: (key: K) => string;
  readonly value: (n: number) => I;
  readonly show: (value: V) => string;
  readonly showInit: (value: I) => string;
}

const Place = struct('Place', { name: text, x: f64, near: u32 });
const utf8 = (value: string): string => Buffer.from(value, 'utf8').toString('hex');
const decimal = (value: number): string => String(value).padStart(12, '0');

const NUMBERS: Sort<number, number, number> = {
  name: 'u32 to u32',
  type: redBlackTree(u32, u32),
  key: fc.oneof(fc.nat(40), fc.nat({ max: 0xffffffff }), fc.constantFrom(0, 0x7fffffff, 0x80000000, 0xffffffff)),
  order: decimal,
  value: (n) => n,
  show: String,
  showInit: String,
};

const WIDE: Sort<number, number, number> = {
  name: 'u16 to f64',
  type: redBlackTree(u16, f64),
  key: fc.nat(50),
  order: decimal,
  value: (n) => n / 8,
  show: String,
  showInit: String,
};

const TEXTS: Sort<string, { readonly name: string; readonly x: number; readonly near: number }, { name: string; x: number; near: number }> =
  {
    name: 'text to struct',
    type: redBlackTree(text, Place),
    key: fc.oneof(fc.constantFrom('', 'a', 'ab', 'abc', 'abcd', 'abcde', 'abcdf', 'abc\0', 'ä', 'zz', '😀'), fc.string({ maxLength: 12 })),
    order: utf8,
    value: (n) => ({ name: `place ${n} ${'x'.repeat(n % 50)}`, x: n / 2, near: n }),
    show: ({ name, x, near }) => `${name} ${x} ${near}`,
    showInit: ({ name, x, near }) => `${name} ${x} ${near}`,
  };

const FOLDED: Sort<string, string, string> = {
  name: 'caseless to text',
  type: redBlackTree(caseless, text),
  key: fc.constantFrom('Bob', 'bob', 'BOB', 'alice', 'Alice', 'Al', 'carol', 'Bobby', 'boB', 'Ärger', 'ärger'),
  order: (key) => utf8(key.toLowerCase()),
  value: (n) => 'y'.repeat(n % 70),
  show: String,
  showInit: String,
};

const TUPLES: Sort<[string, number], number, number> = {
  name: 'tuple to u32',
  type: redBlackTree(tuple(text, u32), u32),
  key: fc.tuple(fc.constantFrom('', 'a', 'a\0', 'aa', 'b'), fc.nat(5)),
  order: ([name, n]) => `${utf8(name)} ${decimal(n)}`,
  value: (n) => n,
  show: String,
  showInit: String,
};

type Model<K, I> = Map<string, { readonly key: K; readonly value: I }>;

type Step<K> =
  | { readonly kind: 'set' | 'insert' | 'delete'; readonly key: K; readonly n: number }
  | { readonly kind: 'clear' }
  | { readonly kind: 'many'; readonly keys: readonly K[]; readonly remove: boolean };

type Command<K> = { readonly kind: 'transaction'; readonly steps: readonly Step<K>[]; readonly undo: boolean } | Event;

function commands<K>(key: fc.Arbitrary<K>): fc.Arbitrary<Command<K>[]> {
  const step: fc.Arbitrary<Step<K>> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constantFrom('set' as const, 'set', 'insert', 'delete', 'delete'), key, n: fc.nat(1000) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('many' as const), keys: fc.array(key, { maxLength: 40 }), remove: fc.boolean() }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const) }) },
  );
  const transaction = fc.record({
    kind: fc.constant('transaction' as const),
    steps: fc.array(step, { minLength: 1, maxLength: 6 }),
    undo: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
  });
  return fc.array(fc.oneof({ weight: 4, arbitrary: transaction }, { weight: 1, arbitrary: event }), { maxLength: 25 });
}

function sorted<K, I>(model: Model<K, I>): { readonly key: K; readonly value: I }[] {
  return [...model].toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, entry]) => entry);
}

/** Returns how many objects the tree had at most. */
function judge<K, V, I>({ type, key, order, value, show, showInit }: Sort<K, V, I>, steps: readonly Command<K>[]): number {
  void key;
  const machine = new Machine<Model<K, I>>(new Map(), (model) => new Map(model));
  const id: ObjectId = machine.space.relaxed(() => objectOf(machine.space.create(type)).id);
  machine.space.sync();
  const tree = (): RedBlackTree<K, V, I> => machine.space.get(id, type);
  const showModel = (model: Model<K, I>): string =>
    sorted(model)
      .map((entry) => `${order(entry.key)}=${showInit(entry.value)}`)
      .join('\n');
  const showTree = (): string => [...tree()].map(([each, of]) => `${order(each)}=${show(of)}`).join('\n');
  const apply = (step: Step<K>): void => {
    const { model } = machine;
    if (step.kind === 'clear') {
      tree().clear();
      model.clear();
    } else if (step.kind === 'many') {
      for (const [i, each] of step.keys.entries()) {
        if (step.remove) {
          assert.equal(tree().delete(each), model.delete(order(each)));
          continue;
        }
        tree().set(each, value(i));
        model.set(order(each), { key: each, value: value(i) });
      }
    } else if (step.kind === 'delete') assert.equal(tree().delete(step.key), model.delete(order(step.key)));
    else {
      const known = model.get(order(step.key));
      const wanted = known !== undefined && step.kind === 'insert' ? known.value : value(step.n);
      if (step.kind === 'set') tree().set(step.key, value(step.n));
      else assert.equal(show(tree().getOrInsert(step.key, value(step.n))), showInit(wanted));
      model.set(order(step.key), { key: step.key, value: wanted });
    }
  };
  let spread = 1;
  const agree = (): void => {
    const { model } = machine;
    assert.equal(showTree(), showModel(model));
    assert.equal(tree().size, model.size);
    spread = Math.max(spread, tree().usage().objects);
    assert.equal(balanced(tree()), model.size);
    const entries = sorted(model);
    assert.deepEqual(
      [...tree().keys({ reverse: true })].map((each) => order(each)),
      entries.map((entry) => order(entry.key)).toReversed(),
    );
  };
  for (const step of steps) {
    if (step.kind === 'transaction')
      machine.transact(() => {
        for (const each of step.steps) apply(each);
      }, step.undo);
    else machine.happen(step, (model) => (model === undefined ? showTree() : showModel(model)));
    agree();
  }
  machine.end();
  return spread;
}

/** Small objects: a tree soon goes on in others. */
function modelTest<K, V, I>(sort: Sort<K, V, I>, numRuns: number): void {
  test(`a red-black tree of ${sort.name} is what a plain map is`, () => {
    let most = 0;
    const limits = { ...POOL_LIMITS };
    Object.assign(POOL_LIMITS, { home: 12_288, member: 16_384 });
    try {
      fc.assert(
        fc.property(commands(sort.key), (steps) => {
          most = Math.max(most, judge(sort, steps));
        }),
        { seed: SEED, numRuns },
      );
    } finally {
      Object.assign(POOL_LIMITS, limits);
    }
    // The smallest nodes fill a page late; they have a test of their own.
    assert.ok(
      most > 1 || sort.type.name.endsWith('u32, u32>') || sort.type.name.endsWith('f64>'),
      'the tree never had more than one object',
    );
  });
}

modelTest(NUMBERS, amount(20, 60));
modelTest(WIDE, amount(8, 15));
modelTest(TEXTS, amount(15, 25));
modelTest(FOLDED, amount(15, 20));
modelTest(TUPLES, amount(15, 20));

// --- ranges ---------------------------------------------------------------------------------------------------------------------

const bound = fc.option(fc.nat(30), { nil: undefined });

test('ranges of a red-black tree, and its floor and ceiling, are those of a sorted list', () => {
  const machine = new Machine(0, (n) => n);
  const { space } = machine;
  const tree = space.relaxed(() => space.create(redBlackTree(u32, u32)));
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(30), { maxLength: 25 }),
      fc.record({
        from: bound,
        after: bound,
        to: bound,
        through: bound,
        limit: fc.option(fc.nat(9), { nil: undefined }),
        reverse: fc.boolean(),
      }),
      fc.nat(30),
      (keys, { from, after, to, through, limit, reverse }, probe) => {
        space.relaxed(() => {
          tree.clear();
          for (const key of keys) tree.set(key, key * 2);
        });
        const list = keys.toSorted((a, b) => a - b);
        const inside = list.filter(
          (key) =>
            (from === undefined || key >= from) &&
            (after === undefined || key > after) &&
            (to === undefined || key < to) &&
            (through === undefined || key <= through),
        );
        if (reverse) inside.reverse();
        const range = {
          reverse,
          ...(from === undefined ? {} : { from }),
          ...(after === undefined ? {} : { after }),
          ...(to === undefined ? {} : { to }),
          ...(through === undefined ? {} : { through }),
          ...(limit === undefined ? {} : { limit }),
        };
        assert.deepEqual([...tree.keys(range)], inside.slice(0, limit ?? 99));
        assert.deepEqual(
          tree.floor(probe)?.[0],
          list.findLast((key) => key <= probe),
        );
        assert.deepEqual(
          tree.ceiling(probe)?.[0],
          list.find((key) => key >= probe),
        );
        assert.deepEqual(tree.first()?.[0], list[0]);
        assert.deepEqual(tree.last()?.[0], list.at(-1));
      },
    ),
    { seed: SEED, numRuns: 150 },
  );
  machine.end();
});

test('small nodes over many objects', (t) => {
  const limits = { ...POOL_LIMITS };
  t.after(() => Object.assign(POOL_LIMITS, limits));
  Object.assign(POOL_LIMITS, { home: 16_384, member: 32_768 });
  const machine = new Machine(0, (n) => n);
  const { space } = machine;
  const tree = space.relaxed(() => space.create(redBlackTree(u32, u32)));
  const key = (i: number): number => Math.imul(i, 0x9e3779b1) >>> 0;
  for (let i = 0; i < 20_000; i += 1000)
    space.relaxed(() => {
      for (let j = i; j < i + 1000; j++) tree.set(key(j), j);
    });
  assert.ok(tree.usage().objects > 8);
  assert.equal(balanced(tree), 20_000);
  for (let i = 0; i < 20_000; i++) assert.equal(tree.get(key(i)), i);
  space.relaxed(() => {
    for (let i = 0; i < 20_000; i++) if (i % 10 !== 3) assert.ok(tree.delete(key(i)));
  });
  assert.equal(balanced(tree), 2000);
  const left = Array.from({ length: 2000 }, (_, i) => key(i * 10 + 3)).toSorted((a, b) => a - b);
  assert.deepEqual([...tree.keys()], left);
  space.relaxed(() => tree.clear());
  assert.equal(tree.usage().objects, 1);
  machine.end();
});

test('prefixes of a red-black tree of texts', () => {
  const machine = new Machine(0, (n) => n);
  const { space } = machine;
  const tree = space.relaxed(() => space.create(redBlackTree(text, u32)));
  const words = ['', 'a', 'ab', 'abc', 'abd', 'ac', 'b', 'ÿ', 'ÿÿ'];
  space.relaxed(() => {
    for (const [i, word] of words.entries()) tree.set(word, i);
  });
  for (const prefix of ['', 'a', 'ab', 'abc', 'abcd', 'ÿ', 'z']) {
    assert.deepEqual(
      [...tree.keys({ prefix })],
      words.filter((word) => word.startsWith(prefix)),
    );
    assert.deepEqual([...tree.keys({ prefix, reverse: true })], words.filter((word) => word.startsWith(prefix)).toReversed());
  }
  fails('OutOfRange', () => [...space.relaxed(() => space.create(redBlackTree(u32, u32))).keys({ prefix: 5 })]);
  machine.end();
});

/** Changes a map during a walk through it, up to key 60, and returns what was seen. */
function walkAndChange(map: {
  entries(): Iterable<[number, number]>;
  delete(key: number): unknown;
  set(key: number, value: number): unknown;
}): number[] {
  for (let i = 0; i < 100; i += 2) map.set(i, i);
  const seen: number[] = [];
  for (const [key] of map.entries()) {
    seen.push(key);
    map.delete(key);
    map.delete(key + 2);
    if (key % 8 === 0) map.set(key + 3, key + 3);
    if (key > 0) map.set(key - 1, 1000);
  }
  return seen;
}

test('a walk goes on while entries before, at and behind it come and go', () => {
  const machine = new Machine(0, (n) => n);
  const { space } = machine;
  const model = new Map<number, number>();
  const expected = walkAndChange({
    entries: function* () {
      for (let last = -1; ;) {
        const next = Math.min(...[...model.keys()].filter((key) => key > last && key < 60));
        if (next === Infinity) return;
        last = next;
        yield [next, 0];
      }
    },
    delete: (key) => model.delete(key),
    set: (key, value) => model.set(key, value),
  });
  space.relaxed(() => {
    const numbers = space.create(redBlackTree(u32, u32));
    const tuples = space.create(redBlackTree(tuple(u32), u32));
    const ways = [
      {
        entries: () => numbers.entries({ to: 60 }),
        delete: (key: number) => numbers.delete(key),
        set: (key: number, value: number) => numbers.set(key, value),
      },
      {
        entries: function* (): Generator<[number, number]> {
          for (const [[key], value] of tuples.entries({ to: [60] })) yield [key, value];
        },
        delete: (key: number) => tuples.delete([key]),
        set: (key: number, value: number) => tuples.set([key], value),
      },
    ];
    for (const way of ways) assert.deepEqual(walkAndChange(way), expected);
    assert.deepEqual(
      [...numbers.keys()],
      [...model.keys()].toSorted((a, b) => a - b),
    );
  });
  machine.end();
});
// --- values in place, and what is refused ---------------------------------------------------------------------------------------

const Person = struct('Person', {
  name: text,
  age: u32,
  tags: hashMap(text, u32),
  get friend() {
    return ref(Person);
  },
});
const People = redBlackTree(u32, Person);

onHosts('values keep their places in a red-black tree', (ground) => {
  let space: Space = ground.open();
  const id = space.relaxed(() => {
    const people = space.create(People);
    for (let i = 0; i < 300; i++) people.set((i * 7919) % 1000, { name: `p${i}`, age: i, tags: [['n', i]] });
    const [one, other] = [people.get(0), people.get(7919 % 1000)];
    assert.ok(one !== undefined && other !== undefined);
    one.friend = other;
    return objectOf(people).id;
  });
  space = ground.afterDeath(space);
  const people = space.get(id, People);
  space.relaxed(() => {
    // All but the two go, in another order than they came.
    for (let i = 299; i > 1; i--) assert.ok(people.delete((i * 7919) % 1000));
  });
  const friend = people.get(0)?.friend;
  assert.equal(friend?.name, 'p1');
  assert.equal(friend.tags.get('n'), 1);
  assert.equal(balanced(people), 2);
  space.relaxed(() => people.clear());
  assert.deepEqual({ ...people.usage() }, { objects: 1, blocks: 0, bytes: 0 });
});

test('what a red-black tree refuses leaves it as it was', () => {
  const machine = new Machine(0, (n) => n);
  const { space } = machine;
  space.relaxed(() => {
    const people = space.create(People);
    people.set(1, { name: 'one', age: 1 });
    const blocks = people.usage().blocks;
    fails('OutOfRange', () => people.set(2, { name: 'two', age: -1 }));
    fails('OutOfRange', () => people.set(-1, { name: 'no' }));
    fails('ValueMismatch', () => people.has('1' as never));
    fails('OutOfRange', () => [...people.keys({ limit: -1 })]);
    fails('OutOfRange', () => people.view(1));
    assert.equal(people.size, 1);
    assert.equal(people.usage().blocks, blocks);
    assert.equal(balanced(people), 1);
    const names = space.create(redBlackTree(text, text));
    fails('ValueMismatch', () => names.set('a', 5 as never));
    assert.deepEqual([...names], []);
    names.set('a', 'long enough');
    assert.equal(names.view('a')?.length, 11);
    assert.equal(names.view('b'), undefined);
  });
  machine.end();
});

test('a store that changes the tree itself', () => {
  const machine = new Machine(0, (n) => n);
  const { space } = machine;
  space.relaxed(() => {
    const people = space.create(People);
    for (let i = 0; i < 40; i++) people.set(i * 2, { age: i });
    people.set(11, {
      get age() {
        for (let i = 0; i < 40; i += 3) people.delete(i * 2);
        people.set(13, { age: 13 });
        return 5;
      },
    });
    assert.equal(people.get(11)?.age, 5);
    assert.equal(people.get(13)?.age, 13);
    assert.equal(balanced(people), people.size);
    fails('OutOfRange', () =>
      people.set(15, {
        get age() {
          people.set(17, { age: 17 });
          return -1;
        },
      }),
    );
    assert.ok(!people.has(15));
    assert.equal(people.get(17)?.age, 17);
    assert.equal(balanced(people), people.size);
  });
  machine.end();
});

test('a red-black tree grows into objects of its own, and deleting its home takes them', () => {
  const machine = new Machine(0, (n) => n);
  const { space } = machine;
  const type = redBlackTree(u32, text);
  const tree = space.relaxed(() => space.create(type));
  const big = 'x'.repeat(5_000_000);
  for (let i = 0; i < 5; i++) space.relaxed(() => tree.set(i, big));
  assert.equal(tree.usage().objects, 2);
  assert.equal(tree.get(4), big);
  assert.equal(balanced(tree), 5);
  const { id } = objectOf(tree);
  space.relaxed(() => space.names.set('/tree', id));
  space.relaxed(() => assert.ok(tree.delete(0)));
  assert.deepEqual(space.reclaim().deleted, []);
  assert.equal(tree.get(4)?.length, big.length);
  const member = objectOf(tree).fot()[0]?.id;
  assert.ok(member !== undefined && space.has(member));
  space.relaxed(() => space.names.remove('/tree'));
  space.relaxed(() => assert.equal(space.delete(id), 'deleted'));
  assert.equal(space.has(member), false);
  assert.deepEqual(space.reclaim().deleted, []);
  machine.end();
});

/**
 * T11, T16: a struct is set as a whole or not at all. Values that are refused somewhere, by each way to set one and at each kind of field,
 * are refused within a transaction that goes on: what was there is there still, and no block is lost.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  array,
  assign,
  bytes,
  graph,
  hashMap,
  hashSet,
  index,
  indexedMap,
  link,
  list,
  log,
  objectOf,
  oneOf,
  optional,
  orderedMap,
  queue,
  redBlackTree,
  ref,
  struct,
  text,
  textDocument,
  tuple,
  u32,
  u8,
  vec,
  type Infer,
} from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { blocksInUse, message, problems } from './evolved.ts';
import { Dice } from './evolution-world.ts';
import { fails, Ground, onHosts } from './hosts.ts';
import { amount } from './thorough.ts';

const Point = struct('Point', { x: u32, y: u32 });
const Flat = struct('Flat', { a: u32, b: u8, mood: oneOf('calm', 'angry') });
const Item = struct('Item', {
  a: u32,
  name: text,
  at: Point,
  row: array(u8, 3),
  maybe: optional(Point),
  raw: bytes,
  any: link,
  tags: vec(text),
  map: hashMap(text, Point),
  get friend() {
    return ref(Item);
  },
});
const Root = struct('Root', {
  hash: hashMap(text, Item),
  ordered: orderedMap(u32, Item),
  tree: redBlackTree(u32, Item),
  texts: redBlackTree(text, Item),
  flats: hashMap(u32, Flat),
  flatTree: redBlackTree(u32, Flat),
  indexed: indexedMap(u32, Item, { byName: index(text, (each) => each.name), byA: index(u32, (each) => each.a, { unique: true }) }),
  vec: vec(Item),
  flatVec: vec(Flat),
  list: list(Item),
  queue: queue(Item),
  log: log(Item),
  graph: graph(Item, Item),
  set: hashSet(u32),
  document: textDocument,
  one: Item,
  some: optional(Item),
  none: optional(Item),
  row: array(Item, 2),
  arrays: orderedMap(u32, array(Item, 2)),
  maps: hashMap(u32, hashMap(u32, Item)),
});
type Item = Infer<typeof Item>;
type Root = Infer<typeof Root>;

const fields = new Map<object, readonly string[]>();

/** The names of the fields that a class of accessors has: what is asked for a hundred thousand times is kept. */
function fieldsOf(prototype: object): readonly string[] {
  let names = fields.get(prototype);
  if (names === undefined) {
    names = Object.getOwnPropertyNames(prototype).filter((name) => name !== 'constructor' && !name.startsWith('$'));
    fields.set(prototype, names);
  }
  return names;
}

/** All that is seen of a value. */
function plain(value: unknown, depth = 0): unknown {
  if (value instanceof Uint8Array) return [...value];
  if (typeof value !== 'object' || value === null || depth > 12) return value;
  if ('$h' in value && '$optional' in value) {
    const shown: Record<string, unknown> = {};
    for (const name of fieldsOf(Object.getPrototypeOf(value) as object)) {
      const field: unknown = Reflect.get(value, name);
      shown[name] = name === 'friend' && typeof field === 'object' && field !== null ? Reflect.get(field, 'a') : plain(field, depth + 1);
    }
    return shown;
  }
  if ('nodes' in value && typeof value.nodes === 'function' && 'edges' in value && typeof value.edges === 'function')
    return [plain([...(value.nodes() as Iterable<unknown>)], depth + 1), plain([...(value.edges() as Iterable<unknown>)], depth + 1)];
  if (Symbol.iterator in value) return Array.from(value as Iterable<unknown>, (each) => plain(each, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each, depth + 1)]));
}

const good = (n: number): Record<string, unknown> => ({
  a: n,
  name: `item ${n}`,
  at: { x: n, y: 1 },
  row: [1, 2],
  maybe: n % 2 === 0 ? { x: n } : undefined,
  raw: new Uint8Array(n % 20),
  tags: ['one', 'two'],
  map: [['k', { x: 5, y: 6 }]],
});

class Refused extends Error {}

/** Values that are refused at their second field or later, each time anew. */
function refusals(gone: Item): Record<string, () => Record<string, unknown>> {
  const begin = { a: 4711, name: 'half', at: { x: 4711, y: 4711 } };
  return {
    'a number out of range': () => ({ ...begin, at: { x: 1, y: -1 } }),
    'another type': () => ({ ...begin, raw: 'no bytes' }),
    'a field that is not there': () => ({ ...begin, nothing: 1 }),
    'a getter that throws': () =>
      Object.defineProperty({ ...begin }, 'maybe', {
        enumerable: true,
        get() {
          throw new Refused();
        },
      }),
    'an array that is too long': () => ({ ...begin, row: [1, 2, 3, 4] }),
    'an element of an array': () => ({ ...begin, row: [1, 256] }),
    'an iterable that throws': () => ({
      ...begin,
      row: (function* () {
        yield 1;
        throw new Refused();
      })(),
    }),
    'a field of an optional struct': () => ({ ...begin, maybe: { x: 1, y: 'two' } }),
    'no reference': () => ({ ...begin, friend: {} }),
    'a reference to what is deleted': () => ({ ...begin, friend: gone }),
    'a link to what is deleted': () => ({ ...begin, any: objectOf(gone) }),
    'no link': () => ({ ...begin, any: 5 }),
    'an element of a collection': () => ({ ...begin, tags: ['one', 2] }),
    'a key of a collection': () => ({ ...begin, map: [[7, { x: 1 }]] }),
    'a value of a collection': () => ({
      ...begin,
      tags: ['three'],
      map: [
        ['k', { x: 1, y: 2 }],
        ['l', { x: 1, y: null }],
      ],
    }),
    'no collection': () => ({ ...begin, tags: 5 }),
  };
}

const FLAT: Record<string, () => Record<string, unknown>> = {
  'a number': () => ({ a: 4711, b: 256 }),
  'one of none': () => ({ a: 4711, b: 1, mood: 'glad' }),
  'a field that is not there': () => ({ a: 4711, c: 1 }),
};

const init = (value: unknown): never => value as never;

type Way = (root: Root, value: () => unknown, n: number) => void;

/** The ways to set an item where there is one, or where there is none. */
const WAYS: Record<string, Way> = {
  'hash, there': (root, value) => root.hash.set('key 1', init(value())),
  'hash, new': (root, value, n) => root.hash.set(`new ${n}`, init(value())),
  'hash, got or new': (root, value, n) => void root.hash.getOrInsert(`new ${n}`, init(value())),
  'hash, as a whole': (root, value) =>
    (root.hash = init([
      ['x', good(1)],
      ['y', value()],
    ])),
  'ordered, there': (root, value) => root.ordered.set(1, init(value())),
  'ordered, new': (root, value, n) => root.ordered.set(1000 + n, init(value())),
  'ordered, as a whole': (root, value) =>
    (root.ordered = init([
      [3, good(3)],
      [1, value()],
    ])),
  'tree, there': (root, value) => root.tree.set(1, init(value())),
  'tree, new': (root, value, n) => root.tree.set(1000 + n, init(value())),
  'tree, as a whole': (root, value) =>
    (root.tree = init([
      [3, good(3)],
      [1, value()],
    ])),
  'tree of texts, there': (root, value) => root.texts.set('key 1', init(value())),
  'indexed, there': (root, value) => root.indexed.set(1, init(value())),
  'indexed, new': (root, value, n) => root.indexed.set(1000 + n, init(value())),
  'indexed, updated': (root, value) =>
    void root.indexed.update(1, (draft) => {
      for (const [name, each] of Object.entries(value() as object)) Reflect.set(draft, name, each);
      // A draft has no such field, and would take any.
      if ('nothing' in draft) throw new Refused();
    }),
  'indexed, as a whole': (root, value) =>
    (root.indexed = init([
      [3, good(3000)],
      [1, value()],
    ])),
  'vec, there': (root, value) => root.vec.set(1, init(value())),
  'vec, pushed': (root, value) => void root.vec.push(init(good(1)), init(value())),
  'vec, inserted': (root, value) => root.vec.insert(1, init(good(1)), init(value())),
  'vec, as a whole': (root, value) => (root.vec = init([good(1), value()])),
  'list, there': (root, value) => {
    const { first } = root.list;
    if (first !== undefined) first.value = init(value());
  },
  'list, pushed': (root, value) => void root.list.push(init(good(1)), init(value())),
  'list, as a whole': (root, value) => (root.list = init([good(1), value()])),
  'queue, pushed': (root, value) => void root.queue.push(init(good(1)), init(value())),
  'queue, as a whole': (root, value) => (root.queue = init([good(1), value()])),
  'log, appended': (root, value) => void root.log.append(init(value())),
  'log, as a whole': (root, value) => (root.log = init([good(1), value()])),
  'graph, a node': (root, value) => void root.graph.addNode(init(value())),
  'graph, an edge': (root, value) => void root.graph.addEdge(0, 1, init(value())),
  'graph, as a whole': (root, value) =>
    (root.graph = init({
      nodes: [good(1), good(2)],
      edges: [
        [0, 1, good(3)],
        [1, 0, value()],
      ],
    })),
  'a field': (root, value) => (root.one = init(value())),
  'an optional field, there': (root, value) => (root.some = init(value())),
  'an optional field, absent': (root, value) => (root.none = init(value())),
  'several fields': (root, value) => assign(root.one, init(value())),
  'an element of an array': (root, value) => root.row.set(1, init(value())),
  'all of an array': (root, value) => (root.row = init([good(7), value()])),
  'an array in a map': (root, value) => root.arrays.set(1, init([good(7), value()])),
  'a map in a map': (root, value) =>
    root.maps.set(
      1,
      init([
        [1, good(7)],
        [2, value()],
      ]),
    ),
  'several fields of the root': (root, value) =>
    assign(root, init({ set: [1, 2], document: 'other', one: good(8), some: good(9), row: [value()] })),
};

const FLAT_WAYS: Record<string, Way> = {
  'hash, there': (root, value) => root.flats.set(1, init(value())),
  'hash, new': (root, value, n) => root.flats.set(1000 + n, init(value())),
  'tree, there': (root, value) => root.flatTree.set(1, init(value())),
  'tree, new': (root, value, n) => root.flatTree.set(1000 + n, init(value())),
  'vec, there': (root, value) => root.flatVec.set(1, init(value())),
  'vec, pushed': (root, value) => void root.flatVec.push(init({ a: 1 }), init(value())),
};

function fill(root: Root): void {
  for (let i = 0; i < 3; i++) {
    const item = (): never => init(good(i));
    root.hash.set(`key ${i}`, item());
    for (const map of [root.ordered, root.tree, root.indexed]) map.set(i, item());
    root.texts.set(`key ${i}`, item());
    root.vec.push(item());
    root.list.push(item());
    root.queue.push(item());
    root.log.append(item());
    root.graph.addNode(item());
    const flat = { a: i, b: i, mood: 'angry' } as const;
    root.flats.set(i, flat);
    root.flatTree.set(i, flat);
    root.flatVec.push(flat);
  }
  root.graph.addEdge(0, 1, init(good(9)));
  assign(root, init({ one: good(10), some: good(12), row: [good(13), good(14)], set: [7, 8], document: 'a text' }));
  root.arrays.set(1, init([good(15), good(16)]));
  root.maps.set(1, init([[1, good(17)]]));
  root.one.friend = root.vec.get(2);
}

test('T11, T16: what is refused somewhere is refused as a whole, by every way to set a struct, and the transaction goes on', (t) => {
  const ground = new Ground('simulated', t);
  let space = ground.open();
  const [id, gone] = space.relaxed(() => {
    const root = space.create(Root);
    fill(root);
    return [objectOf(root).id, space.create(Item, { a: 1 })] as const;
  });
  space.relaxed(() => space.delete(gone));
  const before = plain(space.get(id, Root));
  let refused = 0;
  const attempt = (how: string, way: Way, value: () => unknown): void => {
    space.relaxed(() => {
      const root = space.get(id, Root);
      assert.throws(() => way(root, value, refused), how);
      refused++;
      assert.deepEqual(plain(root), before, how);
      assert.deepEqual(root.indexed.verify(), [], how);
    });
  };
  const blocks = (): number => blocksInUse(space.object(id));
  const bad = refusals(gone);
  for (const [way, set] of Object.entries(WAYS)) {
    const count = blocks();
    for (const [what, value] of Object.entries(bad)) {
      // A draft is no accessor: it has a setter for each field, and what has none is no field of it.
      if (way === 'indexed, updated' && what === 'a field that is not there') continue;
      attempt(`${way}: ${what}`, set, value);
      assert.equal(blocks(), count, `${way}: ${what}`);
    }
  }
  for (const [way, set] of Object.entries(FLAT_WAYS))
    for (const [what, value] of Object.entries(FLAT)) attempt(`${way}: ${what}`, set, value);
  assert.ok(refused > 500);
  space = ground.afterDeath(space);
  assert.deepEqual(plain(space.get(id, Root)), before);
  // And what is not refused is set.
  space.relaxed(() => {
    const root = space.get(id, Root);
    root.one.friend = null;
    let n = 5000;
    for (const way of Object.values(WAYS)) way(root, () => good(n++), n);
  });
  assert.equal(space.get(id, Root).hash.get('y')?.a, 5003);
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

test('T11, T16: content may come from what it takes the place of, also where that has grown into many objects', (t) => {
  const was = { ...POOL_LIMITS };
  t.after(() => void Object.assign(POOL_LIMITS, was));
  Object.assign(POOL_LIMITS, { home: 1 << 14, member: 1 << 15 });
  const Maps = struct('Maps', {
    hash: hashMap(u32, Flat),
    set: hashSet(u32),
    ordered: orderedMap(u32, Flat),
    tree: redBlackTree(u32, Flat),
    vec: vec(Flat),
    graph: graph(Flat, Flat),
  });
  const ground = new Ground('simulated', t);
  const space = ground.open();
  const maps = space.relaxed(() => space.create(Maps));
  const dice = new Dice(1613);
  space.relaxed(() => {
    for (let i = 0; i < 1500; i++) {
      const value = { a: i, b: i & 255, mood: 'angry' } as const;
      for (const map of [maps.hash, maps.ordered, maps.tree]) map.set(i, value);
      maps.set.add(i);
      maps.vec.push(value);
      maps.graph.addNode(value);
    }
    for (let i = 0; i < 500; i++) maps.graph.addEdge(i, i + 1, { a: i });
  });
  const seen = (): unknown =>
    plain({ hash: [...maps.hash].length, ordered: maps.ordered, tree: maps.tree, vec: maps.vec, graph: maps.graph, set: maps.set.size });
  const before = seen();
  assert.ok([...space.ids()].length > 5);
  for (let round = 0; round < amount(2, 6); round++) {
    space.relaxed(() => {
      // The same, by another accessor of it: nothing happens.
      for (const name of ['hash', 'ordered', 'tree', 'set', 'graph'] as const) Reflect.set(maps, name, maps[name]);
      // The same entries, in another order, out of the old content itself.
      maps.hash = init([...maps.hash].toSorted(() => dice.below(3) - 1));
      maps.ordered = init([...maps.ordered].reverse());
      maps.tree = init([...maps.tree].reverse());
      maps.set = init([...maps.set].reverse());
      maps.vec = init([...maps.vec]);
      maps.graph = init({
        nodes: Array.from(maps.graph, ([, node]) => node),
        edges: Array.from(maps.graph.edges(), ({ from, to, value }) => [from, to, value]),
      });
    });
    assert.deepEqual(seen(), before);
    for (let i = 0; i < 20; i++) assert.equal(maps.hash.get(dice.below(1500))?.mood, 'angry');
    fails('OutOfRange', () =>
      space.relaxed(
        () =>
          (maps.hash = init([
            [1, { a: 1 }],
            [2, { b: 999 }],
          ])),
      ),
    );
  }
  space.relaxed(() => {
    for (const map of [maps.hash, maps.ordered, maps.tree, maps.set, maps.vec, maps.graph]) map.clear();
  });
  space.reclaim();
  // The one that remembers what was deleted is there, too.
  assert.equal([...space.ids()].length, 2);
  // The schema takes whole pages.
  assert.equal(blocksInUse(objectOf(maps)), 1);
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

onHosts(
  'T11, T16: to read what is given may run code that changes the very place; what cannot be taken back ends the transaction',
  (ground) => {
    const space = ground.open();
    const Three = struct('Three', { hash: hashMap(u32, Item), ordered: orderedMap(u32, Item), tree: redBlackTree(u32, Flat) });
    const root = space.relaxed(() => space.create(Three));
    space.relaxed(() => {
      for (const map of [root.hash, root.ordered]) for (let i = 0; i < 100; i++) map.set(i, init(good(i)));
      for (let i = 0; i < 100; i++) root.tree.set(i, { a: i });
    });
    for (const map of [root.hash, root.ordered, root.tree]) {
      space.relaxed(() =>
        map.set(
          50,
          init({
            get a() {
              for (let i = 0; i < 100; i++) map.delete(i);
              map.set(7, init({ a: 77 }));
              return 5;
            },
          }),
        ),
      );
      assert.deepEqual(
        Array.from(map as Iterable<[number, { a: number }]>, ([key, { a }]) => [key, a] as const).toSorted(([x], [y]) => x - y),
        [
          [7, 77],
          [50, 5],
        ],
      );
    }
    // Only what is stored tells that a unique index has a key twice: by then other fields are set.
    const Unique = struct('Unique', { n: u32, indexed: indexedMap(u32, Flat, { byA: index(u32, (each) => each.a, { unique: true }) }) });
    const unique = space.relaxed(() => space.create(Unique, { n: 1 }));
    let caught = 0;
    fails('ValueMismatch', () =>
      space.relaxed(() => {
        try {
          assign(unique, {
            n: 2,
            indexed: [
              [1, { a: 5 }],
              [2, { a: 5 }],
            ],
          });
        } catch {
          caught++;
        }
      }),
    );
    assert.deepEqual([caught, unique.n, unique.indexed.size], [1, 1, 0]);
    space.close();
    assert.deepEqual(problems(ground.host, ground.directory), []);
  },
);

onHosts('T16: a prefix where keys have none is refused, and the message says which have, and what to give instead', (ground) => {
  const Maps = struct('Maps', {
    numbers: orderedMap(u32, u8),
    tuples: orderedMap(tuple(text, u32), u8),
    tree: redBlackTree(u32, u8),
    texts: orderedMap(text, u8),
    indexed: indexedMap(u32, Flat, { byA: index(u32, (each) => each.a) }),
  });
  const space = ground.open();
  const maps = space.relaxed(() => space.create(Maps));
  space.relaxed(() => {
    for (const [i, key] of ['a', 'b', 'b', 'c'].entries()) maps.tuples.set([key, i], i);
    for (const key of ['a', 'ab', 'b']) maps.texts.set(key, 1);
  });
  const refused: readonly [() => unknown, RegExp][] = [
    [() => [...maps.numbers.keys({ prefix: 1 })], /keys of the type u32 have none; text, bytes and collations of text do.*\{ from, to \}/],
    [
      () => [...maps.tuples.keys({ prefix: ['b', 0] })],
      /keys of the type tuple\(text,u32\).*from: \[part, least\], through: \[part, most\]/,
    ],
    [() => [...maps.tree.keys({ prefix: 1 })], /keys of the type u32/],
    [() => [...maps.indexed.by.byA.range({ prefix: 1 })], /keys of the type u32/],
  ];
  for (const [i, [ask, pattern]] of refused.entries()) {
    fails(i === 1 ? 'ValueMismatch' : 'OutOfRange', ask);
    assert.match(message(ask), pattern);
  }
  // As the messages say.
  assert.deepEqual([...maps.tuples.values({ from: ['b', 0], through: ['b', 0xffffffff] })], [1, 2]);
  assert.deepEqual([...maps.texts.keys({ prefix: 'a' })], ['a', 'ab']);
  space.close();
});

/**
 * P7, P5: collections as programs use them. What is done through places and bytes is what a plain Map or array says; whatever is given, and
 * whatever lies in the object, comes to a typed error.
 */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { isTwzError } from '../src/abi/errors.ts';
import { META, PAGE } from '../src/abi/format.ts';
import {
  bool,
  f64,
  hashMap,
  hashSet,
  i64,
  list,
  log,
  offsetOf,
  oneOf,
  orderedMap,
  queue,
  redBlackTree,
  struct,
  text,
  u32,
  u8,
  vec,
  type Infer,
  type Space,
} from '../src/index.ts';
import { Collections } from '../src/runtime/collections.ts';
import { collectionTypes } from '../src/services/collection-types.ts';
import { Ground } from './hosts.ts';
import { amount } from './thorough.ts';

const Item = struct('Item', { n: u32, name: text });
const All = struct('All', {
  sizes: hashMap(text, f64),
  words: hashMap(text, text),
  ordered: orderedMap(u32, Item),
  tree: redBlackTree(i64, u32),
  names: hashSet(text),
  numbers: vec(u32),
  lines: vec(text),
  items: vec(Item),
  flags: vec(bool),
  kinds: vec(oneOf('a', 'b')),
  nested: hashMap(text, vec(u8)),
  linked: list(u32),
  waiting: queue(u32),
  history: log(text),
});
type All = Infer<typeof All>;
type Field = keyof typeof All extends never ? never : string;

const utf8 = (value: string): Uint8Array => new TextEncoder().encode(value);
const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const wide = (value: number): Uint8Array => new Uint8Array(BigInt64Array.of(BigInt(value)).buffer);

function randoms(t: TestContext): (below: number) => number {
  const seed = Number(process.env['SEED'] ?? 20261121);
  t.diagnostic(`SEED=${seed}`);
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function scene(t: TestContext): {
  space: Space;
  all: All;
  collections: Collections;
  number: (field: Field) => number;
  at: (field: Field) => number;
} {
  const space = new Ground('linux', t).open();
  const all = space.relaxed(() => space.create(All));
  const collections = new Collections(collectionTypes);
  const at = (field: Field): number => offsetOf(all) + (All.layout.fields.find(({ name }) => name === field)?.offset ?? 0);
  const number = (field: Field): number => collections.open(space.object(all).handle, at(field));
  return { space, all, collections, number, at };
}

test('P7: maps, sets and vectors that a program changes are those that TypeScript reads', (t) => {
  const { space, all, collections: c, number } = scene(t);
  const random = randoms(t);
  const [sizes, words, ordered, tree, names] = ['sizes', 'words', 'ordered', 'tree', 'names'].map(number) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const [numbers, lines, items] = ['numbers', 'lines', 'items'].map(number) as [number, number, number];
  const model = {
    sizes: new Map<string, number>(),
    words: new Map<string, string>(),
    ordered: new Map<number, number>(),
    tree: new Map<number, number>(),
    names: new Set<string>(),
    numbers: [] as number[],
    lines: [] as string[],
    items: [] as number[],
  };
  const view = ({ h, at }: { h: { dv: DataView }; at: number }): { dv: DataView; at: number } => ({ dv: h.dv, at });
  for (let round = 0; round < 40; round++) {
    space.relaxed(() => {
      for (let i = 0; i < 25; i++) {
        const n = random(60);
        const key = `k${n}`;
        const value = random(1000);
        const what = random(10);
        if (what === 0) {
          const place = c.insert(sizes, utf8(key));
          place.h.mark(place.at);
          view(place).dv.setFloat64(place.at, value / 4, true);
          model.sizes.set(key, value / 4);
        } else if (what === 1) {
          c.put(words, utf8(key), utf8('☂'.repeat(value % 50)));
          model.words.set(key, '☂'.repeat(value % 50));
        } else if (what === 2) {
          const place = c.insert(ordered, word(n));
          place.h.mark(place.at);
          view(place).dv.setUint32(place.at, value, true);
          model.ordered.set(n, value);
        } else if (what === 3) {
          c.put(tree, wide(n - 30), word(value));
          model.tree.set(n - 30, value);
        } else if (what === 4) {
          c.put(names, utf8(key), new Uint8Array(0));
          model.names.add(key);
        } else if (what === 5) {
          c.elementPut(numbers, model.numbers.length, word(value));
          model.numbers.push(value);
        } else if (what === 6) {
          const index = random(model.lines.length + 1);
          c.elementPut(lines, index, utf8(key));
          model.lines[index] = key;
        } else if (what === 7) {
          const place = c.push(items);
          place.h.mark(place.at);
          view(place).dv.setUint32(place.at, value, true);
          model.items.push(value);
        } else if (what === 8) {
          assert.equal(c.remove(sizes, utf8(key)), model.sizes.delete(key));
          assert.equal(c.remove(ordered, word(n)), model.ordered.delete(n));
          assert.equal(c.remove(tree, wide(n - 30)), model.tree.delete(n - 30));
        } else if (model.numbers.length > 100) {
          c.truncate(numbers, 20);
          model.numbers.length = 20;
        }
      }
    });
  }
  assert.deepEqual(new Map(all.sizes), model.sizes);
  assert.deepEqual(new Map(all.words), model.words);
  assert.deepEqual(
    Array.from(all.ordered, ([key, { n, name }]) => [key, n, name]),
    [...model.ordered].sort(([a], [b]) => a - b).map(([key, n]) => [key, n, '']),
  );
  assert.deepEqual(new Map(all.tree), model.tree);
  assert.deepEqual(new Set(all.names), model.names);
  assert.deepEqual(all.numbers.toArray(), model.numbers);
  assert.deepEqual(all.lines.toArray(), model.lines);
  assert.deepEqual(
    all.items.map(({ n }) => n),
    model.items,
  );
  // And the other way: what TypeScript stored is found, by key, by place and by cursor.
  for (const [key, value] of model.sizes) {
    const place = c.find(sizes, utf8(key));
    assert.ok(place !== undefined);
    assert.equal(place.h.dv.getFloat64(place.at, true), value);
  }
  assert.equal(c.find(sizes, utf8('none')), undefined);
  assert.equal(c.get(words, utf8('none')), undefined);
  const walked: number[] = [];
  const from = c.cursorOpen(tree, wide(-5));
  for (let key = c.cursorNext(from); key !== undefined; key = c.cursorNext(from)) {
    walked.push(Number(new DataView(key.slice().buffer).getBigInt64(0, true)));
    assert.deepEqual(c.cursorGet(from), word(model.tree.get(walked.at(-1) ?? 0) ?? -1));
  }
  assert.deepEqual(
    walked,
    [...model.tree.keys()].filter((key) => key >= -5).sort((a, b) => a - b),
  );
  assert.deepEqual(
    model.lines.map((_, i) => new TextDecoder().decode(c.elementGet(lines, i))),
    model.lines,
  );
});

test('P7: lists, queues and logs are gone through; a collection inside another is opened by its type', (t) => {
  const { space, all, collections: c, number } = scene(t);
  space.relaxed(() => {
    for (const value of [3, 1, 2]) {
      const place = c.push(number('linked'));
      place.h.mark(place.at);
      place.h.dv.setUint32(place.at, value, true);
    }
    all.waiting.push(7, 8);
    c.elementPut(number('history'), 0, utf8('first'));
    all.history.append('second');
    const inner = c.insert(number('nested'), utf8('bytes'));
    const bytes = c.open(inner.h, inner.at, 'Vec<u8>');
    c.elementPut(bytes, 0, Uint8Array.of(9));
  });
  const walk = (field: string): Uint8Array[] => {
    const cursor = c.cursorOpen(number(field), new Uint8Array(0));
    const found: Uint8Array[] = [];
    while (c.cursorNext(cursor) !== undefined) found.push(c.cursorGet(cursor));
    c.cursorClose(cursor);
    return found;
  };
  assert.deepEqual(all.linked.toArray(), [3, 1, 2]);
  assert.deepEqual(walk('linked'), [word(3), word(1), word(2)]);
  assert.deepEqual(walk('waiting'), [word(7), word(8)]);
  assert.deepEqual(all.history.toArray(), ['first', 'second']);
  assert.deepEqual(walk('history'), [utf8('first'), utf8('second')]);
  assert.deepEqual(all.nested.get('bytes')?.toArray(), [9]);
});

test('P7: what does not fit the collection is refused, with a typed error, and changes nothing', (t) => {
  const { space, all, collections: c, number, at } = scene(t);
  const { handle } = space.object(all);
  const refused = (name: string, body: () => unknown): void => {
    assert.throws(() => space.relaxed(body), { name }, String(body));
  };
  refused('TypeMismatch', () => c.open(handle, at('sizes') + 8));
  refused('TypeMismatch', () => c.open(handle, at('sizes'), 'HashMap<text,u8>'));
  refused('OutOfRange', () => c.open(handle, at('sizes') + 4, 'HashMap<text,f64>'));
  refused('OutOfRange', () => c.open(handle, 0, 'HashMap<text,f64>'));
  refused('OutOfRange', () => c.open(handle, handle.size - 8, 'HashMap<text,f64>'));
  refused('GuestFault', () => c.size(77));
  refused('GuestFault', () => c.cursorNext(77));
  refused('ValueMismatch', () => c.find(number('ordered'), utf8('abc')));
  refused('ValueMismatch', () => c.find(number('sizes'), Uint8Array.of(0xff)));
  refused('OutOfRange', () => c.put(number('tree'), new Uint8Array(8).fill(0x7f), word(1)));
  refused('ValueMismatch', () => c.put(number('words'), utf8('a'), Uint8Array.of(0xc0)));
  refused('ValueMismatch', () => c.put(number('sizes'), utf8('a'), word(1)));
  refused('NotSupported', () => c.put(number('ordered'), word(1), word(1)));
  refused('NotSupported', () => c.insert(number('words'), utf8('a')));
  refused('NotSupported', () => c.find(number('names'), utf8('a')));
  refused('NotSupported', () => c.push(number('lines')));
  refused('NotSupported', () => c.at(number('linked'), 0));
  refused('NotSupported', () => c.cursorOpen(number('sizes'), utf8('a')));
  refused('OutOfRange', () => c.at(number('numbers'), 0));
  refused('OutOfRange', () => c.elementPut(number('numbers'), 1, word(1)));
  refused('ValueMismatch', () => c.elementPut(number('flags'), 0, Uint8Array.of(2)));
  refused('ValueMismatch', () => c.elementPut(number('kinds'), 0, Uint8Array.of(2)));
  assert.throws(() => c.put(number('sizes'), utf8('a'), new Uint8Array(8)), { name: 'NotInTransaction' });
  for (const { name } of All.layout.fields) assert.equal(c.size(number(name)), 0, name);
  // What is good beside it.
  space.relaxed(() => {
    c.elementPut(number('flags'), 0, Uint8Array.of(1));
    c.elementPut(number('kinds'), 0, Uint8Array.of(1));
  });
  assert.deepEqual([all.flags.toArray(), all.kinds.toArray()], [[true], ['b']]);
});

test('P7: the types of an object that a program made are those that the schema says, and nothing else', (t) => {
  const { space, collections: c } = scene(t);
  const make = (schema: string, root = true): object => {
    let made: object | undefined;
    space.relaxed(() => {
      const object = space.object(space.create(Item, { n: 3 }));
      const h = object.handle;
      const place = h.allocate(Item.layout.size);
      h.markRange(PAGE, 0);
      if (root) {
        h.mark(80);
        h.dv.setUint32(80, place, true);
      }
      c.setTypes(h, schema);
      made = object.root(Item);
    });
    assert.ok(made !== undefined);
    return made;
  };
  assert.equal((make(Item.schema) as Infer<typeof Item>).n, 0);
  for (const schema of [
    '',
    '{}',
    '{"root":"Item","types":{}}',
    ` ${Item.schema}`,
    Item.schema.replace('"offset":4', '"offset":8'),
    'x'.repeat(2 << 20),
  ])
    assert.throws(() => make(schema), { name: 'TypeInvalid' }, schema.slice(0, 40));
  assert.throws(() => make(All.schema), { name: 'TypeMismatch' });
});

test('P5: whatever a program stored where a collection lies, using it ends, and with a typed error', (t) => {
  const { space, all, collections: c, number } = scene(t);
  const random = randoms(t);
  space.relaxed(() => {
    for (let i = 0; i < 40; i++) {
      all.sizes.set(`k${i}`, i);
      all.words.set(`k${i}`, `v${i}`);
      all.ordered.set(i, { n: i, name: 'x' });
      all.tree.set(i, i);
      all.names.add(`k${i}`);
      all.numbers.push(i);
      all.lines.push(`l${i}`);
      all.items.push({ n: i, name: 'y' });
      all.linked.push(i);
      all.waiting.push(i);
      all.history.append(`h${i}`);
    }
  });
  const { handle: h } = space.object(all);
  const fields = All.layout.fields.map(({ name }) => name);
  const keyOf = (field: string): Uint8Array =>
    field === 'ordered' ? word(random(60)) : field === 'tree' ? wide(random(60)) : utf8(`k${random(60)}`);
  const valueOf = (field: string): Uint8Array =>
    field === 'sizes' ? new Uint8Array(8) : field === 'tree' || field === 'numbers' ? word(1) : utf8('v');
  const keyed: readonly ((n: number, field: string) => unknown)[] = [
    (n, field) => (field === 'names' ? c.get(n, keyOf(field)) : c.find(n, keyOf(field))),
    (n, field) => c.get(n, keyOf(field)),
    (n, field) =>
      field === 'ordered' || field === 'sizes' || field === 'nested' ? c.insert(n, keyOf(field)) : c.put(n, keyOf(field), valueOf(field)),
    (n, field) => c.remove(n, keyOf(field)),
  ];
  const placed: readonly ((n: number, field: string) => unknown)[] = [
    (n) => c.elementGet(n, random(60)),
    (n) => c.at(n, random(60)),
    (n, field) => (field === 'lines' || field === 'history' ? c.elementPut(n, c.size(n), utf8('v')) : c.push(n)),
    (n, field) => c.elementPut(n, random(60), valueOf(field)),
  ];
  const both: readonly ((n: number, field: string) => unknown)[] = [
    (n) => c.size(n),
    (n) => c.truncate(n, random(3)),
    (n) => {
      const cursor = c.cursorOpen(n, new Uint8Array(0));
      try {
        for (let left = 100; left > 0 && c.cursorNext(cursor) !== undefined; left--) c.cursorGet(cursor);
      } finally {
        c.cursorClose(cursor);
      }
    },
  ];
  const usesOf = (field: string): readonly ((n: number, field: string) => unknown)[] =>
    ['sizes', 'words', 'ordered', 'tree', 'names', 'nested'].includes(field) ? [...keyed, ...both] : [...placed, ...both];
  class Undo extends Error {}
  const met = new Map<string, number>();
  const tried = (body: () => unknown): void => {
    try {
      body();
    } catch (error) {
      if (!isTwzError(error)) throw error;
      met.set(error.name, (met.get(error.name) ?? 0) + 1);
    }
  };
  const trials = Number(process.env['TRIALS'] ?? amount(150, 400));
  for (let trial = 0; trial < trials; trial++) {
    try {
      space.relaxed(() => {
        // Headers and what they lead to, anywhere behind the metadata.
        for (let i = 0; i <= random(6); i++) {
          const at = (random(3) > 0 ? offsetOf(all) + random(All.layout.size) : PAGE + random(h.size - PAGE - 8)) & ~3;
          h.mark(at);
          h.dv.setUint32(at, random(3) === 0 ? random(64) : random(2 ** 32), true);
        }
        for (let i = 0; i < 12; i++) {
          const field = fields[random(fields.length)] ?? '';
          const uses = usesOf(field);
          tried(() => uses[random(uses.length)]?.(number(field), field));
        }
        throw new Undo('as it was');
      });
    } catch (error) {
      if (!(error instanceof Undo) && !isTwzError(error)) throw error;
    }
  }
  t.diagnostic([...met].map(([name, count]) => `${name} ${count}`).join(', '));
  assert.ok((met.get('PointerCorrupt') ?? 0) > trials / 20, 'nothing was damaged');
  assert.equal(all.numbers.length, 40);
  assert.equal(all.sizes.get('k3'), 3);
});

test('P5: a hash map whose tables say that they share more bits than there are is refused by who goes through it', (t) => {
  const { space, all, collections: c, number } = scene(t);
  space.relaxed(() => all.sizes.set('a', 1));
  const { handle: h } = space.object(all);
  const header = offsetOf(all);
  const table = (h.dv.getUint32(header + 12, true) & 0x3fffff) << 4;
  const walk = (): void => {
    const cursor = c.cursorOpen(number('sizes'), new Uint8Array(0));
    while (c.cursorNext(cursor) !== undefined) c.cursorGet(cursor);
  };
  walk();
  for (const at of [table + 8, header + 8])
    assert.throws(
      () =>
        space.relaxed(() => {
          h.mark(at);
          h.dv.setUint32(at, 60, true);
          if (at === header + 8) c.truncate(number('sizes'), 0);
          else walk();
        }),
      { name: 'PointerCorrupt' },
    );
  walk();
});

test('P5: a collection whose table leads to an object that is no part of it changes and shows nothing of that', (t) => {
  const { space, all, collections: c, number } = scene(t);
  const Secret = struct('Secret', { a: u32, b: u32 });
  const secret = space.relaxed(() => {
    all.numbers.push(1);
    return space.create(Secret, { a: 7, b: 8 });
  });
  const { handle: victim } = space.object(secret);
  const { handle: h } = space.object(all);
  const header = offsetOf(all) + (All.layout.fields.find(({ name }) => name === 'numbers')?.offset ?? 0);
  const before = victim.u8.slice();
  const attack = (use: (n: number) => unknown): void => {
    assert.throws(
      () =>
        space.relaxed(() => {
          // The table of the pool, with the victim as object 1; the first chunk of the vector there, at its root.
          const table = h.allocate(48);
          h.markRange(table, 48);
          h.dv.setUint32(table + 16 + 4, (h.refer(victim) << 8) >>> 0, true);
          h.markRange(header, 48);
          h.dv.setUint32(header + 24, table, true);
          h.dv.setUint32(header + 28, 1, true);
          const directory = (h.dv.getUint32(header + 8, true) & 0x3fffff) << 4;
          h.mark(directory);
          h.dv.setUint32(directory, (1 << 22) | (offsetOf(secret) >> 4), true);
          use(number('numbers'));
        }),
      { name: 'PointerCorrupt' },
    );
    assert.deepEqual(victim.u8.slice(), before);
  };
  attack((n) => c.elementGet(n, 0));
  attack((n) => c.at(n, 0));
  attack((n) => c.elementPut(n, 0, word(99)));
  attack((n) => c.push(n));
  attack((n) => c.truncate(n, 0));
  // Who has the same object open in TypeScript is protected likewise.
  attack(() => all.numbers.set(0, 99));
  assert.equal(secret.a, 7);
  assert.deepEqual(all.numbers.toArray(), [1]);
});

test('P5: a collection that leads into the header of its own object does not change who it is', (t) => {
  const { space, all, collections: c, number } = scene(t);
  space.relaxed(() => all.numbers.push(1));
  const { handle: h } = space.object(all);
  const header = offsetOf(all) + (All.layout.fields.find(({ name }) => name === 'numbers')?.offset ?? 0);
  const { rights } = h;
  for (const use of [(n: number) => c.elementPut(n, 0, word(0)), (n: number) => c.push(n), (n: number) => c.at(n, 0)])
    assert.throws(
      () =>
        space.relaxed(() => {
          const directory = (h.dv.getUint32(header + 8, true) & 0x3fffff) << 4;
          h.mark(directory);
          h.dv.setUint32(directory, META.rights >> 4, true);
          use(number('numbers'));
        }),
      { name: 'PointerCorrupt' },
    );
  assert.equal(h.rights, rights);
  assert.deepEqual(all.numbers.toArray(), [1]);
});

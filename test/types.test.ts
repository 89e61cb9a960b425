/** T1, T11: typed memory. A layout is declared once and gives the type and the accessors; data of another layout is refused by name. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import * as fc from 'fast-check';
import {
  array,
  assign,
  bigI64,
  bigU64,
  bool,
  bytes,
  closeCursor,
  cursor,
  f32,
  f64,
  i16,
  i32,
  i64,
  i8,
  link,
  moveCursor,
  objectOf,
  offsetOf,
  oneOf,
  optional,
  reader,
  ref,
  same,
  struct,
  text,
  u16,
  u32,
  u64,
  u8,
  type Infer,
  type ObjectId,
  type Struct,
} from '../src/index.ts';
import { fails, Ground, onHosts, thrown } from './hosts.ts';
import { amount } from './thorough.ts';

const Point = struct('Point', { x: f64, y: f64 });
const Everything = struct('Everything', {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  u64,
  i64,
  bigU64,
  bigI64,
  f32,
  f64,
  bool,
  mood: oneOf('calm', 'angry', 'sad'),
  text,
  bytes,
  maybe: optional(u16),
  maybeText: optional(text),
  row: array(i16, 5),
  names: array(text, 3),
  points: array(Point, 2),
  grid: array(array(u8, 3), 2),
  at: Point,
  thing: link,
  get self() {
    return ref(Everything);
  },
  get page() {
    return ref(Page);
  },
  get several() {
    return array(ref(Page), 3);
  },
});
type Everything = Infer<typeof Everything>;
const Page = struct('Page', {
  number: u32,
  get owner() {
    return ref(Everything);
  },
});

onHosts('T1: every kind of field is stored as memory and read by the next process as what it was', (ground) => {
  let space = ground.open();
  const values = {
    u8: 255,
    i8: -128,
    u16: 65535,
    i16: -32768,
    u32: 2 ** 32 - 1,
    i32: -(2 ** 31),
    u64: Number.MAX_SAFE_INTEGER,
    i64: Number.MIN_SAFE_INTEGER,
    bigU64: 2n ** 64n - 1n,
    bigI64: -(2n ** 63n),
    f32: 0.5,
    f64: Number.MIN_VALUE,
    bool: true,
    mood: 'sad',
    text: 'zß水🌍\0',
    bytes: Uint8Array.of(0, 255, 1),
    maybe: 0,
    maybeText: '',
    row: [1, -2, 3, -4, 5],
    names: ['', 'a', 'bb'],
    points: [
      { x: 1, y: 2 },
      { x: 3, y: 4 },
    ],
    grid: [
      [1, 2, 3],
      [4, 5, 6],
    ],
    at: { x: -0, y: Number.NaN },
  } as const;
  const { first, page } = space.relaxed(() => {
    const made = space.create(Everything, values);
    const there = space.create(Page, { number: 5, owner: made });
    made.self = made;
    made.page = there;
    made.several.set(1, space.make(Page, made, { number: 6 }));
    made.thing = objectOf(there);
    return { first: objectOf(made).id, page: objectOf(there).id };
  });
  for (let round = 0; round < 2; round++) {
    space = round === 0 ? ground.afterDeath(space) : ground.afterClose(space);
    const e = space.get(first, Everything);
    for (const name of [
      'u8',
      'i8',
      'u16',
      'i16',
      'u32',
      'i32',
      'u64',
      'i64',
      'bigU64',
      'bigI64',
      'f32',
      'f64',
      'bool',
      'mood',
      'text',
    ] as const)
      assert.equal(e[name], values[name], name);
    assert.deepEqual(e.bytes, values.bytes);
    assert.deepEqual([e.maybe, e.maybeText], [0, '']);
    assert.deepEqual([...e.row], values.row);
    assert.deepEqual(e.names.toArray(), values.names);
    assert.deepEqual(
      [...e.points].map(({ x, y }) => [x, y]),
      [
        [1, 2],
        [3, 4],
      ],
    );
    assert.deepEqual(
      [...e.grid].map((row) => [...row]),
      values.grid,
    );
    assert.ok(Object.is(e.at.x, -0) && Number.isNaN(e.at.y));
    assert.ok(same(e.self, e));
    assert.equal(e.page?.number, 5);
    assert.ok(same(e.page?.owner ?? null, e));
    assert.deepEqual(
      [...e.several].map((each) => each?.number),
      [undefined, 6, undefined],
    );
    assert.equal(e.thing?.id, page);
    assert.equal(e.thing?.root(Page).number, 5);
  }
  // And everything can be taken back.
  const e = space.get(first, Everything);
  space.relaxed(() =>
    assign(e, { maybe: undefined, maybeText: undefined, self: null, page: null, thing: null, several: [null, null, null] }),
  );
  assert.deepEqual([e.maybe, e.maybeText, e.self, e.page, e.thing, e.several.get(1)], [undefined, undefined, null, null, null, null]);
});

onHosts('T1: a value that a field cannot hold is refused by name, and the field keeps what it had', (ground) => {
  const space = ground.open();
  const e = space.relaxed(() => space.create(Everything, { u8: 7, i64: 7, mood: 'angry', text: 'old', maybe: 7, row: [1, 2, 3, 4, 5] }));
  const bad: readonly (readonly [keyof Everything & string, readonly unknown[]])[] = [
    ['u8', [-1, 256, 1.5, Number.NaN, '1', null, undefined, 1n]],
    ['i8', [-129, 128, 0.1, true]],
    ['u16', [-1, 65536, Infinity]],
    ['i16', [-32769, 32768]],
    ['u32', [-1, 2 ** 32]],
    ['i32', [2 ** 31, -(2 ** 31) - 1]],
    ['u64', [-1, 2 ** 53, 1.5, 1n]],
    ['i64', [2 ** 53, -(2 ** 53), Number.NaN]],
    ['bigU64', [-1n, 2n ** 64n, 1]],
    ['bigI64', [2n ** 63n, -(2n ** 63n) - 1n, 1]],
    ['f32', ['1', null]],
    ['f64', [1n, undefined]],
    ['bool', [0, 1, 'true', null]],
    ['mood', ['happy', 0, '']],
    ['text', [5, null, undefined, {}]],
    ['bytes', ['abc', [1, 2], null]],
    ['maybe', [-1, null, 'x']],
    ['row', [[1, 2, 3, 4, 5, 6], 5, null]],
    ['at', [5, null, { x: 'no' }, { z: 1 }]],
    ['self', [5, {}, 'x', space.relaxed(() => space.create(Page))]],
    ['thing', [5, {}, 'x']],
  ];
  space.relaxed(() => {
    for (const [field, values] of bad) {
      const before = inspect(e[field]);
      for (const value of values) {
        assert.throws(
          () => Reflect.set(e, field, value),
          { name: /^(ValueMismatch|OutOfRange|WrongSpace)$/ },
          `${field} = ${String(value)}`,
        );
        assert.equal(inspect(e[field]), before);
      }
    }
    fails('OutOfRange', () => e.row.get(5));
    fails('OutOfRange', () => e.row.set(-1, 0));
    fails('OutOfRange', () => e.names.get(0.5));
  });
  assert.deepEqual([e.u8, e.i64, e.mood, e.text, e.maybe, [...e.row]], [7, 7, 'angry', 'old', 7, [1, 2, 3, 4, 5]]);
  // 64 bits that no number can hold are told, not rounded.
  const Wide = struct('Wide', { n: bigU64 });
  const Narrow = struct('Wide', { n: u64 });
  const wide = space.relaxed(() => space.create(Wide, { n: 2n ** 53n }));
  fails('OutOfRange', () => space.get(objectOf(wide).id, Narrow).n);
});

onHosts('T11: data of another layout is refused when it is opened, and the message says what is there and what was asked for', (ground) => {
  let space = ground.open();
  const V1 = struct('Person', { name: text, age: u8 });
  const person = space.relaxed(() => space.create(V1, { name: 'Ann', age: 30 }));
  const { id } = objectOf(person);
  space.names.set('/ann', person);
  space = ground.afterDeath(space);
  const refused = <F>(type: Struct<F>): void => {
    fails('TypeMismatch', () => space.get(id, type));
    fails('TypeMismatch', () => space.names.get('/ann', type));
    fails('TypeMismatch', () => space.object(id).root(type));
    const message = String(thrown(() => space.get(id, type)));
    assert.ok(message.includes(id) && message.includes('Person version 1 {name: text, age: u8}'), message);
    assert.ok(
      message.includes(`${type.name} version ${type.version} {${type.layout.fields.map(({ name }) => name).join(': ')[0]}`),
      message,
    );
  };
  refused(struct('Human', { name: text, age: u8 }));
  refused(struct('Person', { name: text, age: u16 }));
  refused(struct('Person', { age: u8, name: text }));
  refused(struct('Person', { name: text }));
  refused(struct('Person', { name: text, age: u8, born: u16 }));
  refused(struct('Person', { name: text, years: u8 }));
  refused(struct('Person', { name: text, age: u8 }, { version: 2 }));
  refused(struct('Person', { name: text, age: optional(u8) }));
  // The same layout declared again is the same type.
  assert.equal(space.get(id, struct('Person', { name: text, age: u8 })).name, 'Ann');
  // A reference is checked where it leads.
  const Old = struct('Holder', { to: ref(V1) });
  const holder = space.relaxed(() => space.create(Old, { to: space.get(id, V1) }));
  const New = struct('Holder', { to: ref(struct('Person', { name: text, age: u16 })) });
  space = ground.afterDeath(space);
  fails('TypeMismatch', () => space.get(objectOf(holder).id, New).to);
  assert.equal(space.get(objectOf(holder).id, Old).to?.age, 30);
});

test('T1: what is no layout is refused when it is declared or first used', () => {
  const layoutOf = (make: () => { readonly layout: object }) => () => make().layout;
  fails(
    'TypeInvalid',
    layoutOf(() => struct('', { a: u8 })),
  );
  fails(
    'TypeInvalid',
    layoutOf(() => struct('a b', { a: u8 })),
  );
  fails(
    'TypeInvalid',
    layoutOf(() => struct('A', {})),
  );
  fails(
    'TypeInvalid',
    layoutOf(() => struct('A', { a: 5 })),
  );
  fails(
    'TypeInvalid',
    layoutOf(() => struct('A', { constructor: u8 })),
  );
  fails(
    'TypeInvalid',
    layoutOf(() => struct('A', { 'a-b': u8 })),
  );
  fails('TypeInvalid', () => array(u8, 0));
  fails('TypeInvalid', () => array(u8, 1.5));
  fails('TypeInvalid', () => oneOf('a', 'a'));
  fails(
    'TypeInvalid',
    layoutOf(() => struct('A', { a: array(f64, 2 ** 30) })),
  );
});

test('T1: accessors are fully typed', (t) => {
  const space = new Ground('linux', t).open();
  space.relaxed(() => {
    const e = space.create(Everything, { mood: 'calm' });
    // @ts-expect-error: not one of the values
    fails('ValueMismatch', () => (e.mood = 'happy'));
    // @ts-expect-error: a text is a string
    fails('ValueMismatch', () => (e.text = 5));
    // @ts-expect-error: another struct
    fails('ValueMismatch', () => (e.self = space.create(Page)));
    // @ts-expect-error: no such field
    assert.equal(e.nothing, undefined);
    // @ts-expect-error: it may be absent
    const born: number = e.maybe;
    // @ts-expect-error: it may be null
    assert.throws(() => e.self.u8);
    // @ts-expect-error: no such field to begin with
    fails('ValueMismatch', () => space.create(Page, { name: 'x' }));
    const mood: 'calm' | 'angry' | 'sad' = e.mood;
    const deep: number | undefined = e.page?.owner?.page?.number;
    const point: number = e.points.get(0).x;
    assert.deepEqual([born, mood, deep, point], [undefined, 'calm', undefined, 0]);
  });
});

onHosts('T1: cursor and reader read what accessors read, in one object and over many', (ground) => {
  const space = ground.open();
  const Link = struct('Link', {
    value: u32,
    name: text,
    get next() {
      return ref(Link);
    },
  });
  const count = 200;
  const nodes = space.relaxed(() => {
    const homes = [0, 1, 2].map((value) => space.create(Link, { value, name: 'home' }));
    const made = Array.from({ length: count }, (_, value) =>
      space.make(Link, homes[(value >> 3) % 3] as object, { value, name: `n${value}` }),
    );
    for (let i = 0; i + 1 < count; i++) (made[i] as Infer<typeof Link>).next = made[i + 1] ?? null;
    return made;
  });
  const first = nodes[0] as Infer<typeof Link>;
  const expected = nodes.map(({ value, name }) => `${value} ${name}`);
  const c = cursor(Link, first);
  const seen: string[] = [];
  do seen.push(`${c.value} ${c.name}`);
  while (c.follow('next'));
  assert.deepEqual(seen, expected);
  moveCursor(c, nodes[100] as Infer<typeof Link>);
  assert.equal(c.value, 100);
  space.relaxed(() => {
    c.value = 1000;
    c.name = 'moved';
  });
  assert.deepEqual([nodes[100]?.value, nodes[100]?.name], [1000, 'moved']);
  closeCursor(c);
  const r = reader(Link, first);
  const read: number[] = [];
  for (let at = offsetOf(first); at !== 0; at = r.next(at)) read.push(r.value(at));
  assert.deepEqual(
    read,
    nodes.map(({ value }) => value),
  );
  moveCursor(r, first);
  assert.equal(r.name(offsetOf(first)), 'n0');
  for (const at of [0, 8, 4096, 2 ** 31, -8]) assert.equal(typeof thrownOr(() => r.value(at)), 'string');
  closeCursor(r);
  fails('InvalidArgument', () => cursor(Link, {} as Infer<typeof Link>));
});

/** A read at a position that no reference gave stays inside the object or throws. */
function thrownOr(body: () => unknown): string {
  try {
    return `value ${String(body())}`;
  } catch (error) {
    return String(error);
  }
}

test('T1: console.log shows what an accessor holds, not what is behind it', (t) => {
  const space = new Ground('linux', t).open();
  const e = space.relaxed(() => space.create(Everything, { u8: 1, text: 'abc', row: [1, 2, 3, 4, 5], at: { x: 1, y: 2 } }));
  const p = space.relaxed(() => space.create(Page, { number: 5, owner: e }));
  space.relaxed(() => {
    e.page = p;
    e.self = space.late(Everything, '/nowhere');
  });
  const shown = inspect(e);
  for (const part of [
    "text: 'abc'",
    'row: [ 1, 2, 3, 4, 5 ]',
    'at: Point { x: 1, y: 2 }',
    'maybe: undefined',
    'self: <NameUnresolved>',
    'Page {',
  ])
    assert.ok(shown.includes(part), `${part} in ${shown}`);
  assert.ok(shown.startsWith('Everything {') && shown.length < 5000, shown);
  assert.equal(inspect(objectOf(p)), `Obj ${objectOf(p).id}`);
  assert.match(inspect(p), /^Page \{\s+number: 5,\s+owner: Everything \{/);
});

test('T1: any struct of any values comes back as it went in', (t) => {
  const ground = new Ground('linux', t);
  let space = ground.open();
  const shape = {
    a: [u8, fc.integer({ min: 0, max: 255 })],
    b: [i32, fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })],
    c: [f64, fc.double()],
    d: [text, fc.string({ unit: 'grapheme', maxLength: 300 })],
    e: [bytes, fc.uint8Array({ maxLength: 300 })],
    f: [bool, fc.boolean()],
    g: [i64, fc.maxSafeInteger()],
    h: [bigU64, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })],
    i: [optional(f64), fc.option(fc.double(), { nil: undefined })],
    j: [array(u16, 3), fc.array(fc.integer({ min: 0, max: 65535 }), { minLength: 3, maxLength: 3 })],
    k: [optional(text), fc.option(fc.string({ maxLength: 20 }), { nil: undefined })],
  } as const;
  const names = Object.keys(shape) as (keyof typeof shape)[];
  const plain = (value: unknown): unknown =>
    typeof value === 'object' && value !== null && !(value instanceof Uint8Array) && Symbol.iterator in value
      ? [...(value as Iterable<unknown>)]
      : value;
  const record = fc.record(Object.fromEntries(names.map((name) => [name, shape[name][1] as fc.Arbitrary<unknown>])));
  fc.assert(
    fc.property(
      fc.shuffledSubarray(names, { minLength: 1 }),
      fc.array(record, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      (order, values, death) => {
        const Any = struct('Any', Object.fromEntries(order.map((name) => [name, shape[name][0]])));
        const picked = (from: Record<string, unknown>): Record<string, unknown> =>
          Object.fromEntries(order.map((name) => [name, from[name]]));
        const store = (id: ObjectId, value: Record<string, unknown>): void => {
          const instance: object = space.get(id, Any);
          for (const [name, each] of Object.entries(picked(value))) Reflect.set(instance, name, each);
        };
        const ids = values.map((value) =>
          space.relaxed(() => {
            const { id } = objectOf(space.create(Any));
            store(id, value);
            return id;
          }),
        );
        // Overwritten by the next one's values, and back: blocks of texts are given back and taken.
        space.relaxed(() => ids.forEach((id, i) => store(id, values[(i + 1) % values.length] ?? {})));
        space.relaxed(() => ids.forEach((id, i) => store(id, values[i] ?? {})));
        if (death) space = ground.afterDeath(space);
        for (const [i, id] of ids.entries()) {
          const found: object = space.get(id, Any);
          for (const name of order) assert.deepEqual(plain(Reflect.get(found, name)), (values[i] ?? {})[name]);
        }
        space.relaxed(() => ids.forEach((id) => space.delete(id)));
      },
    ),
    { numRuns: amount(25, 60), endOnFailure: false },
  );
});

/** T1, T11: layouts. Whatever is declared, its fields lie apart and aligned, are the same memory to everyone, and have a fingerprint of their own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  array,
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
  objectOf,
  offsetOf,
  oneOf,
  optional,
  reader,
  ref,
  struct,
  text,
  u16,
  u32,
  u64,
  u8,
  type Field,
  type FixedArray,
  type Infer,
  type Init,
  type Obj,
} from '../src/index.ts';
import { fingerprintOf } from '../src/lib/fingerprint.ts';
import { parseSchema, signatureOf } from '../src/services/check/schema.ts';
import { fails, Ground, onHosts } from './hosts.ts';
import { amount } from './thorough.ts';

const SEED = Number(process.env['TWZ_SEED'] ?? 20261121);

// --- any layout ---------------------------------------------------------------------------------------------------------------

const LEAVES = { u8, i8, u16, i16, u32, i32, u64, i64, bigU64, bigI64, f32, f64, bool, text, bytes, mood: oneOf('a', 'b', 'c') } as const;
type Leaf = keyof typeof LEAVES;

type Plan =
  | { readonly is: 'leaf'; readonly leaf: Leaf }
  | { readonly is: 'array'; readonly of: Plan; readonly length: number }
  | { readonly is: 'optional'; readonly of: Plan }
  | { readonly is: 'struct'; readonly fields: readonly Plan[] };

const { fields } = fc.letrec<{ plan: Plan; fields: readonly Plan[] }>((tie) => ({
  plan: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    { weight: 6, arbitrary: fc.record({ is: fc.constant('leaf'), leaf: fc.constantFrom(...(Object.keys(LEAVES) as Leaf[])) }) },
    { weight: 1, arbitrary: fc.record({ is: fc.constant('array'), of: tie('plan'), length: fc.integer({ min: 1, max: 5 }) }) },
    { weight: 1, arbitrary: fc.record({ is: fc.constant('optional'), of: tie('plan') }) },
    { weight: 1, arbitrary: fc.record({ is: fc.constant('struct'), fields: tie('fields') }) },
  ) as fc.Arbitrary<Plan>,
  fields: fc.array(tie('plan'), { minLength: 1, maxLength: 7 }),
}));
const layouts: fc.Arbitrary<Plan & { is: 'struct' }> = fields.map((each) => ({ is: 'struct', fields: each }));

type AnyField = Field<unknown, never>;

/** Declares what the plan says. Structs get their names in the order in which they are met. */
function declare(of: Plan & { is: 'struct' }): ReturnType<typeof struct> {
  let structs = 0;
  const field = (each: Plan): AnyField => {
    if (each.is === 'leaf') return LEAVES[each.leaf];
    if (each.is === 'array') return array(field(each.of), each.length);
    if (each.is === 'optional') return optional(field(each.of));
    return type(each);
  };
  const type = ({ fields: members }: Plan & { is: 'struct' }): ReturnType<typeof struct> => {
    const name = `S${structs++}`;
    return struct(name, Object.fromEntries(members.map((each, i) => [`f${i}`, field(each)])));
  };
  return type(of);
}

/** Another layout that differs in one place, the n-th of those that there are. */
function changed(of: Plan & { is: 'struct' }, n: number): Plan & { is: 'struct' } {
  const plain: readonly Leaf[] = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64', 'f32', 'f64', 'bool', 'text', 'bytes', 'mood'];
  const places: ((to: Plan) => Plan & { is: 'struct' })[] = [];
  const others: Plan[] = [];
  const visit = (each: Plan, replace: (to: Plan) => Plan & { is: 'struct' }): void => {
    const offer = (other: Plan): void => {
      places.push(replace);
      others.push(other);
    };
    if (each.is === 'leaf') {
      const at = plain.indexOf(each.leaf === 'bigU64' ? 'u64' : each.leaf === 'bigI64' ? 'i64' : each.leaf);
      offer({ is: 'leaf', leaf: plain[(at + 1) % plain.length] as Leaf });
      offer({ is: 'optional', of: each });
      offer({ is: 'array', of: each, length: 1 });
    } else if (each.is === 'array') {
      offer({ ...each, length: each.length + 1 });
      visit(each.of, (to) => replace({ ...each, of: to }));
    } else if (each.is === 'optional') {
      offer(each.of);
      visit(each.of, (to) => replace({ ...each, of: to }));
    } else {
      offer({ ...each, fields: [...each.fields, { is: 'leaf', leaf: 'u8' }] });
      for (const [i, member] of each.fields.entries()) visit(member, (to) => replace({ ...each, fields: each.fields.with(i, to) }));
    }
  };
  visit(of, (to) => to as Plan & { is: 'struct' });
  const at = n % places.length;
  return places[at]?.(others[at] as Plan) ?? of;
}

/** Some value for a field, other ones for other numbers, and as it is read back. */
function valueOf(of: Plan, n: number): unknown {
  if (of.is === 'array') return Array.from({ length: of.length }, (_, i) => valueOf(of.of, n + i));
  if (of.is === 'optional') return n % 3 === 0 ? undefined : valueOf(of.of, n + 1);
  if (of.is === 'struct') return Object.fromEntries(of.fields.map((each, i) => [`f${i}`, valueOf(each, n + i)]));
  switch (of.leaf) {
    case 'u8':
    case 'u16':
      return (n * 37) & 255;
    case 'i8':
    case 'i16':
      return 0 - ((n * 31) & 127);
    case 'u32':
      return (n * 2654435761) >>> 0;
    case 'i32':
      return (n * 2654435761) | 0;
    case 'u64':
      return n * 1e12 + 7;
    case 'i64':
      return -n * 1e12 - 7;
    case 'bigU64':
      return 2n ** 64n - 1n - BigInt(n);
    case 'bigI64':
      return -(2n ** 63n) + BigInt(n);
    case 'f32':
      return n + 0.5;
    case 'f64':
      return 1 / (n + 1);
    case 'bool':
      return n % 2 === 1;
    case 'mood':
      return ['a', 'b', 'c'][n % 3];
    case 'text':
      return 'é'.repeat(n % 50);
    case 'bytes':
      return new Uint8Array(n % 70).fill(n);
    default:
      return of.leaf satisfies never;
  }
}

/** What an accessor gives, as the plain value that was stored. */
function plainOf(of: Plan, value: unknown): unknown {
  if (of.is === 'optional') return value === undefined ? undefined : plainOf(of.of, value);
  if (of.is === 'array') return [...(value as FixedArray<unknown>)].map((each) => plainOf(of.of, each));
  if (of.is !== 'struct') return value;
  return Object.fromEntries(of.fields.map((each, i) => [`f${i}`, plainOf(each, Reflect.get(value as object, `f${i}`))]));
}

test(`T1: fields of any layout lie in order, aligned and apart; storing one changes no byte of another (seed ${SEED})`, (t) => {
  const space = new Ground('linux', t).open();
  let declared = 0;
  fc.assert(
    fc.property(layouts, fc.nat(1000), (of, n) => {
      const type = declare(of);
      const { layout } = type;
      let end = 0;
      for (const { name, offset, field } of layout.fields) {
        assert.equal(offset % field.align, 0, `${name} is aligned`);
        assert.ok(offset >= end && offset - end < field.align, `${name} lies behind the one before it, as near as can be`);
        assert.ok([1, 2, 4, 8].includes(field.align) && layout.align >= field.align);
        end = offset + field.size;
        declared++;
      }
      assert.ok(layout.size >= end && layout.size - end < layout.align && layout.size % layout.align === 0);
      space.relaxed(() => {
        const made: object = space.create(type);
        const object = objectOf(made);
        const at = offsetOf(made);
        assert.equal(at % layout.align, 0);
        for (const value of [n, n + 1, 0, n + 2]) {
          for (const [i, { name, offset, field }] of layout.fields.entries()) {
            const before = object.bytes(at, layout.size);
            const stored = valueOf(of.fields[i] as Plan, value + i);
            assert.ok(Reflect.set(made, name, stored));
            assert.deepEqual(plainOf(of.fields[i] as Plan, Reflect.get(made, name)), stored, name);
            const after = object.bytes(at, layout.size);
            after.set(before.subarray(offset, offset + field.size), offset);
            assert.deepEqual(after, before, `${name} = ${String(stored)}`);
          }
        }
        space.delete(made);
      });
    }),
    { seed: SEED, numRuns: amount(60, 150), endOnFailure: false },
  );
  t.diagnostic(`${declared} fields`);
});

test(`T11: two layouts have one fingerprint only if they are the same; the other is refused; the schema tells it, too (seed ${SEED})`, (t) => {
  const space = new Ground('linux', t).open();
  const counts = { same: 0, different: 0 };
  fc.assert(
    fc.property(layouts, fc.boolean(), fc.nat(10_000), (one, again, place) => {
      const a = declare(one);
      const other = again ? one : changed(one, place);
      const b = declare(other);
      // Plain numbers and big ones are two ways to read the same 64 bits.
      const stored = (of: Plan): string => JSON.stringify(of).replaceAll('"bigU64"', '"u64"').replaceAll('"bigI64"', '"i64"');
      const same = stored(one) === stored(other);
      assert.equal(same, again);
      counts[same ? 'same' : 'different']++;
      assert.equal(a.layout.fingerprint.low === b.layout.fingerprint.low && a.layout.fingerprint.high === b.layout.fingerprint.high, same);
      const schema = parseSchema(a.schema);
      assert.ok(typeof schema !== 'string', JSON.stringify(schema));
      assert.deepEqual(fingerprintOf(signatureOf(schema, a.name) ?? ''), a.layout.fingerprint);
      space.relaxed(() => {
        const made: object = space.create(a);
        const { id } = objectOf(made);
        if (same) assert.equal(offsetOf(space.get(id, b)), offsetOf(made));
        else fails('TypeMismatch', () => space.get(id, b));
        space.delete(id);
      });
    }),
    { seed: SEED, numRuns: amount(120, 300), endOnFailure: false },
  );
  t.diagnostic(`${counts.same} times the same, ${counts.different} times not`);
  assert.ok(counts.same > 50 && counts.different > 50);
});

// --- raw typed arrays ---------------------------------------------------------------------------------------------------------

const LENGTH = 500;
const Rows = struct('Rows', {
  pad: u8,
  u8: array(u8, LENGTH),
  i8: array(i8, LENGTH),
  u16: array(u16, LENGTH),
  i16: array(i16, LENGTH),
  u32: array(u32, LENGTH),
  i32: array(i32, LENGTH),
  f32: array(f32, LENGTH),
  f64: array(f64, LENGTH),
  u64: array(bigU64, LENGTH),
  i64: array(bigI64, LENGTH),
});
type Rows = Infer<typeof Rows>;

type ViewOf<T> = new (buffer: ArrayBufferLike, at: number, length: number) => { [index: number]: T };

/** The bytes of one field, as they are stored. */
function rawField(rows: Rows, name: keyof Rows & string): Uint8Array {
  const entry = Rows.layout.fields.find((field) => field.name === name);
  assert.ok(entry !== undefined);
  return objectOf(rows).raw(offsetOf(rows) + entry.offset, entry.field.size);
}

onHosts('T1: raw typed arrays over fields and over a whole object are the memory that accessors see, of every kind of number', (ground) => {
  let space = ground.open();
  const rows = space.relaxed(() => space.create(Rows));
  const { id } = objectOf(rows);
  const numbers = {
    u8: Uint8Array,
    i8: Int8Array,
    u16: Uint16Array,
    i16: Int16Array,
    u32: Uint32Array,
    i32: Int32Array,
    f32: Float32Array,
    f64: Float64Array,
  } as const satisfies Readonly<Record<string, ViewOf<number>>>;
  const bigs = { u64: BigUint64Array, i64: BigInt64Array } as const satisfies Readonly<Record<string, ViewOf<bigint>>>;
  const expected = (i: number): number => (i * 7) % 120;
  space.relaxed(() => {
    for (const [name, View] of Object.entries<ViewOf<number>>(numbers)) {
      const row = rows[name as keyof typeof numbers];
      const raw = rawField(rows, name as keyof typeof numbers);
      const view = new View(raw.buffer, raw.byteOffset, LENGTH);
      for (let i = 0; i < LENGTH; i++) {
        if (i % 2 === 0) view[i] = expected(i);
        else row.set(i, expected(i));
      }
      for (let i = 0; i < LENGTH; i++) assert.deepEqual([view[i], row.get(i)], [expected(i), expected(i)], `${name} ${i}`);
    }
    for (const [name, View] of Object.entries<ViewOf<bigint>>(bigs)) {
      const row = rows[name as keyof typeof bigs];
      const raw = rawField(rows, name as keyof typeof bigs);
      const view = new View(raw.buffer, raw.byteOffset, LENGTH);
      for (let i = 0; i < LENGTH; i += 2) view[i] = BigInt(expected(i));
      for (let i = 1; i < LENGTH; i += 2) row.set(i, BigInt(expected(i)));
      for (let i = 0; i < LENGTH; i++) assert.deepEqual([view[i], row.get(i)], [BigInt(expected(i)), BigInt(expected(i))], `${name} ${i}`);
    }
    // A whole object: the field is where its layout says, counted from the object's beginning.
    const whole = objectOf(rows).raw(0);
    const at = offsetOf(rows) + (Rows.layout.fields.find(({ name }) => name === 'f64')?.offset ?? 0);
    new Float64Array(whole.buffer, whole.byteOffset + at, LENGTH)[0] = -1.5;
    assert.equal(rows.f64.get(0), -1.5);
  });
  fails('OutOfRange', () => space.relaxed(() => objectOf(rows).raw(0, objectOf(rows).size + 1)));
  fails('OutOfRange', () => space.relaxed(() => objectOf(rows).raw(-8, 8)));
  space = ground.afterDeath(space);
  const again = space.get(id, Rows);
  assert.equal(again.f64.get(0), -1.5);
  for (const name of Object.keys(numbers) as (keyof typeof numbers)[])
    assert.deepEqual(
      again[name].toArray().slice(1),
      Array.from({ length: LENGTH - 1 }, (_, i) => expected(i + 1)),
      name,
    );
});

// --- inference ----------------------------------------------------------------------------------------------------------------

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const holds = <Claim extends true>(claim: Claim): Claim => claim;

const Place = struct('InferredPlace', { x: f64, y: f64 });
const Person = struct('InferredPerson', {
  name: text,
  age: u8,
  wide: bigU64,
  ok: bool,
  photo: bytes,
  mood: oneOf('calm', 'angry'),
  born: optional(u16),
  scores: array(f64, 4),
  home: Place,
  thing: link,
  get friend() {
    return ref(Person);
  },
  get firm() {
    return ref(Firm);
  },
});
type Person = Infer<typeof Person>;
const Firm = struct('InferredFirm', {
  get boss() {
    return ref(Person);
  },
  get staff() {
    return array(ref(Person), 2);
  },
});
type Firm = Infer<typeof Firm>;

test('T1: types of fields follow from the declaration, through recursion both ways, and wrong uses do not compile', (t) => {
  const space = new Ground('linux', t).open();
  holds<Equal<Person['name'], string>>(true);
  holds<Equal<Person['age'], number>>(true);
  holds<Equal<Person['wide'], bigint>>(true);
  holds<Equal<Person['ok'], boolean>>(true);
  holds<Equal<Person['photo'], Uint8Array>>(true);
  holds<Equal<Person['mood'], 'calm' | 'angry'>>(true);
  holds<Equal<Person['born'], number | undefined>>(true);
  holds<Equal<Person['scores'], FixedArray<number>>>(true);
  holds<Equal<Person['home']['x'], number>>(true);
  holds<Equal<Person['thing'], Obj | null>>(true);
  holds<Equal<Person['friend'], Person | null>>(true);
  holds<Equal<Person['firm'], Firm | null>>(true);
  holds<Equal<ReturnType<Firm['staff']['get']>, Person | null>>(true);
  // @ts-expect-error: the claim is false
  holds<Equal<Person['age'], string>>(true);
  const init: Init<{ age: typeof u8 }> = { age: 5 };
  assert.equal(init.age, 5);
  space.relaxed(() => {
    const ann = space.create(Person, { name: 'Ann', mood: 'calm', scores: [1, 2, 3, 4], home: { x: 1, y: 2 } });
    const firm = space.create(Firm, { boss: ann, staff: [ann, null] });
    ann.firm = firm;
    holds<Equal<NonNullable<NonNullable<Person['firm']>['boss']>['name'], string>>(true);
    assert.equal(ann.firm?.boss?.firm?.staff.get(0)?.name, 'Ann');
    // @ts-expect-error: a number is no text
    fails('ValueMismatch', () => space.create(Person, { name: 5 }));
    // @ts-expect-error: a firm is no person
    fails('ValueMismatch', () => (ann.friend = firm));
    // @ts-expect-error: 64 bits without loss are a bigint
    fails('OutOfRange', () => (ann.wide = 5));
    // @ts-expect-error: a part that lies inline cannot be missing
    fails('ValueMismatch', () => (ann.home = null));
    // @ts-expect-error: elements are numbers
    fails('ValueMismatch', () => ann.scores.set(0, '1'));
    // @ts-expect-error: another type than was asked for
    const wrong: Firm = space.get(objectOf(ann).id, Person);
    assert.equal(Reflect.get(wrong, 'name'), 'Ann');
    const c = cursor(Person, ann);
    holds<Equal<(typeof c)['name'], string>>(true);
    assert.equal(c.follow('friend'), false);
    // @ts-expect-error: no such field
    assert.throws(() => c.follow('enemy'));
    closeCursor(c);
    const r = reader(Person, ann);
    holds<Equal<ReturnType<(typeof r)['mood']>, 'calm' | 'angry'>>(true);
    // @ts-expect-error: a reader is asked with a position
    assert.throws(() => r.name());
    assert.equal(r.name(offsetOf(ann)), 'Ann');
    assert.equal(r.friend(offsetOf(ann)), 0);
    closeCursor(r);
  });
});

/** T16: sequences that grow over objects, against plain JavaScript. Seed and path are printed when a run fails; FC_SEED replays one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bigI64, bytes, f64, objectOf, offsetOf, ref, struct, text, vec, type Infer, type Taken, type Vec } from '../src/index.ts';
import { inspect } from 'node:util';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { fails, Ground, onHosts, thrown } from './hosts.ts';
import { DEEPS, Deep, NUMBERS, Point, POINTS, REFS, WORDS, type DeepInit, type Kind } from './sequence-elements.ts';
import { Fail, hold, SEED, Target, type Subject, type Targets } from './sequences.ts';
import { amount } from './thorough.ts';

// --- Vec --------------------------------------------------------------------------------------------------------------------

type VecStep<P> =
  | { readonly kind: 'push' | 'extend' | 'lazy'; readonly values: readonly P[]; readonly times: number }
  | { readonly kind: 'insert' | 'splice'; readonly at: number; readonly count: number; readonly values: readonly P[] }
  | { readonly kind: 'set' | 'fill'; readonly at: number; readonly count: number; readonly value: P }
  | { readonly kind: 'remove' | 'truncate' | 'refused' | 'own'; readonly at: number }
  | { readonly kind: 'swap'; readonly at: number; readonly other: number }
  | { readonly kind: 'pop' | 'reverse' | 'sort' | 'clear' | 'assign' };

function vecStep<P>(plain: fc.Arbitrary<P>): fc.Arbitrary<VecStep<P>> {
  const at = fc.nat();
  const values = fc.array(plain, { maxLength: 8 });
  return fc.oneof<fc.MaybeWeightedArbitrary<VecStep<P>>[]>(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constantFrom('push' as const, 'extend', 'lazy'),
        values,
        times: fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.nat(400) }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('insert' as const, 'splice'), at, count: fc.nat(20), values }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('set' as const, 'set', 'fill'), at, count: fc.nat(30), value: plain }) },
    {
      weight: 5,
      arbitrary: fc.record({ kind: fc.constantFrom('remove' as const, 'remove', 'truncate', 'refused', 'refused', 'own'), at }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('swap' as const), at, other: at }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('pop' as const, 'pop', 'reverse', 'sort', 'clear', 'assign') }) },
  );
}

function* lazily<P, I>(values: readonly P[], init: (plain: P) => I): Generator<I> {
  for (const value of values) yield init(value);
}

function vecSubject<V, I, P>(kind: Kind<V, I, P>): Subject<Vec<V, I>, Iterable<I>, P[], VecStep<P>> {
  const refused = (collection: Vec<V, I>, at: number, model: P[], targets: Targets): void => {
    const good = model.slice(0, 3).map((plain) => kind.init(plain, targets));
    for (const bad of kind.bad) {
      const attempts: (() => unknown)[] = [
        () => collection.push(bad),
        () => collection.push(...good, bad),
        () => collection.extend(new Set([...good, bad])),
        () => collection.insert(at % (model.length + 1), ...good, bad),
        () => collection.splice(at % (model.length + 1), 2, ...good, bad),
      ];
      if (model.length > 0) attempts.push(() => collection.set(at % model.length, bad));
      for (const attempt of attempts) assert.match(String(Reflect.get(thrown(attempt) as object, 'name')), /^(OutOfRange|ValueMismatch)$/);
    }
    for (const index of [-1, model.length + 1, 0.5, NaN]) {
      fails('OutOfRange', () => collection.get(index));
      fails('OutOfRange', () => collection.insert(index));
      fails('OutOfRange', () => collection.remove(index));
    }
  };
  return {
    name: `Vec of ${kind.name}`,
    type: vec(kind.field),
    nothing: [],
    empty: () => [],
    clone: (model) => [...model],
    step: vecStep(kind.plain),
    show: (collection) => collection.toArray().map((value) => kind.show(value)),
    expect: (model) => model,
    apply(step, collection, model, targets) {
      const init = (plain: P): I => kind.init(plain, targets);
      const at = 'at' in step ? step.at % Math.max(1, model.length) : 0;
      switch (step.kind) {
        case 'push':
        case 'extend':
        case 'lazy': {
          const values = Array.from(
            { length: model.length > kind.many ? 1 : Math.min(step.times, kind.many / 8) },
            () => step.values,
          ).flat();
          if (step.kind === 'push') for (const value of values) collection.push(init(value));
          else if (step.kind === 'extend') assert.equal(collection.extend(values.map(init)), model.length + values.length);
          else collection.extend(lazily(values, init));
          model.push(...values);
          break;
        }
        case 'insert':
          collection.insert(at, ...step.values.map(init));
          model.splice(at, 0, ...step.values);
          break;
        case 'splice':
          assert.deepEqual(
            collection.splice(at, step.count, ...step.values.map(init)).map((each) => kind.taken(each)),
            model.splice(at, step.count, ...step.values),
          );
          break;
        case 'set':
          if (model.length === 0) break;
          collection.set(at, init(step.value));
          model[at] = step.value;
          break;
        case 'fill':
          collection.fill(init(step.value), at, at + step.count);
          model.fill(step.value, at, at + step.count);
          break;
        case 'remove':
          if (model.length === 0) break;
          assert.deepEqual([kind.taken(collection.remove(at))], model.splice(at, 1));
          break;
        case 'truncate':
          collection.truncate(at);
          model.length = at;
          break;
        case 'refused':
          refused(collection, step.at, model, targets);
          break;
        case 'own': {
          // One of its own elements, and itself.
          if (model.length === 0 || model.length > kind.many) break;
          const own: unknown = collection.get(at);
          collection.set(0, own as I);
          collection.set(at, own as I);
          model[0] = model[at] as P;
          const whole: unknown = collection;
          collection.extend(whole as Iterable<I>);
          model.push(...model);
          break;
        }
        case 'swap': {
          if (model.length === 0) break;
          const other = step.other % model.length;
          collection.swap(at, other);
          [model[at], model[other]] = [model[other] as P, model[at] as P];
          break;
        }
        case 'pop': {
          const popped = collection.pop();
          assert.deepEqual(model.length === 0 ? [] : [kind.taken(popped as Taken<V>)], model.splice(-1));
          break;
        }
        case 'reverse':
          collection.reverse();
          model.reverse();
          break;
        case 'sort': {
          const { order } = kind;
          if (order === undefined) {
            collection.sort();
            model.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
          } else {
            const shown = collection.toArray();
            const places = shown.map((_, i) => i).sort((a, b) => order(shown[a] as V, shown[b] as V));
            const before = [...model];
            collection.sort(order);
            for (const [i, place] of places.entries()) model[i] = before[place] as P;
          }
          break;
        }
        case 'clear':
          collection.clear();
          model.length = 0;
          break;
        case 'assign': {
          // As content of itself: what a setter would do.
          const accessor = collection as Vec<V, I> & { $assign(content: unknown): void };
          accessor.$assign(collection);
          accessor.$assign(model.slice(1).map(init));
          model.shift();
          break;
        }
      }
      assert.equal(collection.length, model.length);
    },
  };
}

function holds<V, I, P>(kind: Kind<V, I, P>, runs: number): void {
  test(`T16: a Vec of ${kind.name} is the array that the model says; seed ${SEED}`, (t) => {
    const objects = hold(vecSubject(kind), runs);
    t.diagnostic(`up to ${objects} objects`);
  });
}

holds(NUMBERS, amount(5, 10));
holds(WORDS, amount(5, 10));
holds(POINTS, amount(4, 8));
holds(DEEPS, amount(5, 10));
holds(REFS, amount(5, 12));

test('T16: a Vec reads as an Array does', (t) => {
  const space = new Ground('simulated', t).open();
  const numbers = space.relaxed(() => space.create(vec(f64), [5, NaN, -0, 7, 7]));
  const array = [5, NaN, -0, 7, 7];
  assert.deepEqual([...numbers], array);
  assert.deepEqual([...numbers.keys()], [...array.keys()]);
  assert.deepEqual([...numbers.entries()], [...array.entries()]);
  assert.deepEqual(numbers.values().next(), { value: 5, done: false });
  for (const index of [-6, -5, -1, 0, 4, 5, 1.9]) assert.equal(numbers.at(index), array.at(index), `at ${index}`);
  for (const [from, to] of [
    [0, 2],
    [-2, undefined],
    [1, -1],
    [3, 1],
    [-99, 99],
  ] as const)
    assert.deepEqual(numbers.slice(from, to), array.slice(from, to));
  for (const value of [7, 5, NaN, 8, 0]) {
    assert.equal(numbers.indexOf(value), array.indexOf(value));
    assert.equal(numbers.indexOf(value, -1), array.indexOf(value, -1));
    assert.equal(numbers.includes(value), array.includes(value));
    assert.equal(numbers.includes(value, 2), array.includes(value, 2));
  }
  const odd = (value: number): boolean => value % 2 === 1;
  assert.equal(
    numbers.find((value) => value > 5),
    array.find((value) => value > 5),
  );
  assert.equal(
    numbers.findIndex((value) => value > 99),
    -1,
  );
  assert.deepEqual([numbers.some(odd), numbers.every(odd)], [array.some(odd), array.every(odd)]);
  assert.deepEqual(
    numbers.map((value, i) => value * i),
    array.map((value, i) => value * i),
  );
  assert.deepEqual(numbers.filter(odd), array.filter(odd));
  assert.equal(
    numbers.reduce((sum, value, i) => sum + (i === 1 ? 0 : value), 1),
    20,
  );
  const seen: number[] = [];
  space.relaxed(() =>
    numbers.forEach((value, i, whole) => {
      seen.push(value);
      if (i === 0) whole.push(1);
      if (i === 2) whole.truncate(4);
    }),
  );
  assert.deepEqual(seen, [5, NaN, -0, 7]);
  assert.equal(inspect(numbers), 'Vec(4) [ 5, NaN, -0, 7 ]');
  space.relaxed(() => numbers.sort());
  assert.deepEqual(numbers.toArray(), [-0, 5, 7, NaN]);
  assert.deepEqual(
    [numbers.binarySearch(5), numbers.binarySearch(6), numbers.binarySearch((each) => each - 7), numbers.binarySearch(-9)],
    [1, -3, 2, -1],
  );
  fails('NotInTransaction', () => numbers.push(1));
});

test('T16: numbers go in and out of a Vec as typed arrays', (t) => {
  const space = new Ground('simulated', t).open();
  const count = 30_000;
  const numbers = space.relaxed(() => space.create(vec(f64)));
  const all = Float64Array.from({ length: count }, (_, i) => i / 3);
  space.relaxed(() => {
    numbers.push(1);
    assert.equal(numbers.extend(all), count + 1);
    numbers.remove(0);
  });
  const back = new Float64Array(count + 5);
  assert.equal(numbers.copyTo(back), count);
  assert.deepEqual(back.subarray(0, count), all);
  const some = new Int32Array(10);
  assert.equal(numbers.copyTo(some, -4), 4);
  assert.deepEqual([...some].slice(0, 5), [9998, 9999, 9999, 9999, 0]);
  const large = space.relaxed(() => space.create(vec(bigI64), [-1n, 2n ** 60n]));
  const big = new BigInt64Array(2);
  assert.equal(large.copyTo(big), 2);
  assert.deepEqual([...big], [-1n, 2n ** 60n]);
  const words = space.relaxed(() => space.create(vec(text), ['a']));
  // @ts-expect-error: text is no number
  fails('InvalidArgument', () => words.copyTo(new Uint8Array(1)));
  fails('ValueMismatch', () => space.relaxed(() => numbers.extend(['x' as never])));
  fails('InvalidArgument', () => space.relaxed(() => space.create(vec(bytes), [new Uint8Array(1), new Uint8Array(0)]).sort()));
});

test('T3, T16: a reference to an element of a Vec stays good while others are pushed and popped', (t) => {
  const ground = new Ground('simulated', t);
  let space = ground.open();
  const Holder = struct('Holder', {
    points: vec(Point),
    get chosen() {
      return ref(Point);
    },
  });
  const holder = space.relaxed(() => {
    const made = space.create(Holder, { points: [{ x: 1 }, { x: 2 }] });
    made.chosen = made.points.get(1);
    return made;
  });
  const place = offsetOf(holder.points.get(1));
  const { id } = objectOf(holder);
  space.relaxed(() => {
    for (let i = 0; i < 5000; i++) holder.points.push({ x: i & 255 });
    for (let i = 0; i < 3000; i++) holder.points.pop();
    const { chosen } = holder;
    if (chosen !== null) chosen.y = 0.5;
  });
  space = ground.afterDeath(space);
  const found = space.get(id, Holder);
  assert.deepEqual([found.points.get(1).y, found.chosen?.y, offsetOf(found.points.get(1))], [0.5, 0.5, place]);
});

test('T3, T16: references that move between the objects of a Vec lead where they led, late-bound and dangling ones too', (t) => {
  const limits = { ...POOL_LIMITS };
  t.after(() => Object.assign(POOL_LIMITS, limits));
  Object.assign(POOL_LIMITS, { home: 16 << 10, member: 96 << 10 });
  const space = new Ground('simulated', t).open();
  const [here, gone] = space.relaxed(() => [space.create(Target, { n: 1 }), space.create(Target, { n: 2 })]);
  space.relaxed(() => space.names.set('/late', objectOf(here).id));
  const refs = space.relaxed(() => space.create(vec(ref(Target))));
  space.relaxed(() => {
    refs.extend(Array.from({ length: 4000 }, () => null));
    for (let i = 0; i < 4000; i += 3) refs.set(i, i % 2 === 0 ? space.late(Target, '/late') : gone);
    refs.set(1, space.make(Target, refs, { n: 3 }));
  });
  assert.ok(refs.usage().objects > 1);
  space.relaxed(() => space.delete(gone));
  for (const step of [() => refs.insert(0, null), () => refs.remove(0), () => refs.reverse(), () => refs.reverse()]) {
    space.relaxed(step);
    space.checkpoint();
  }
  for (let i = 0; i < 4000; i++) {
    if (i === 1) assert.equal(refs.get(i)?.n, 3);
    else if (i % 3 !== 0) assert.equal(refs.get(i), null);
    else if (i % 2 === 0) assert.equal(refs.get(i)?.n, 1);
    else fails('ObjectDeleted', () => refs.get(i));
  }
  const member = [...space.ids()].map((id) => space.object(id)).find((each) => each.rootOffset === 0 && each.fot().length > 0);
  const counted = (): number[] => [space.object(refs), member].map((each) => each?.fot().reduce((sum, { count }) => sum + count, 0) ?? -1);
  const [home, far] = counted() as [number, number];
  // Each of the 1334 that lead elsewhere is counted where it lies; home refers to the member, too.
  assert.equal(home - refs.usage().objects + 1 + far, 1334, `${home} and ${far}`);
  space.relaxed(() => refs.fill(null));
  assert.deepEqual(counted(), [refs.usage().objects - 1, 0]);
});

test('T16: an accessor that has seen a chunk of a Vec is not misled when chunks come and go, by aborts neither', (t) => {
  const space = new Ground('simulated', t).open({ segmentSize: 1 << 22 });
  const Pair = struct('Pair', { a: vec(f64), b: vec(f64) });
  const count = 40_000;
  const all = (value: number): Float64Array => new Float64Array(count).fill(value);
  const pair = space.relaxed(() => space.create(Pair, { a: all(1) }));
  const held = pair.a;
  const last = (): number => held.get(count - 1);
  /** The chunks of `a` go, and others come in their place, or elsewhere where `b` took theirs. */
  const replace = (value: number, elsewhere: boolean): void => {
    pair.a.truncate(10);
    if (elsewhere) pair.b.extend(all(-1));
    pair.a.extend(all(value));
    pair.a.truncate(count);
    assert.equal(last(), value);
  };
  assert.equal(last(), 1);
  const aborted = (): void =>
    space.relaxed(() => {
      replace(2, true);
      throw new Fail();
    });
  assert.throws(aborted, Fail);
  assert.equal(last(), 1);
  assert.throws(aborted, Fail);
  space.relaxed(() => {
    pair.a.truncate(10);
    pair.a.extend(all(3));
    assert.equal(last(), 3);
  });
  assert.throws(aborted, Fail);
  assert.equal(last(), 3);
  space.relaxed(() => replace(4, true));
  assert.equal(last(), 4);
});

onHosts(
  'T16: a Vec of 100 MB lies in several objects, and is there for the next process',
  (ground) => {
    let space = ground.open({ segmentSize: 16 << 20, checkpointBytes: 32 << 20 });
    const Blocks = vec(bytes);
    const blocks = space.relaxed(() => space.create(Blocks));
    const { id } = objectOf(blocks);
    const block = new Uint8Array(1 << 20);
    for (let i = 0; i < 100; i++) {
      block.fill(i);
      space.relaxed(() => blocks.push(block));
    }
    space = ground.afterDeath(space);
    const found = space.get(id, Blocks);
    assert.equal(found.length, 100);
    assert.ok(found.usage().objects >= 3 && found.usage().bytes > 85e6, JSON.stringify(found.usage()));
    for (const i of [0, 15, 16, 77, 99]) {
      const read = found.get(i);
      assert.deepEqual([read.length, read[0], read.at(-1)], [1 << 20, i, i]);
    }
    space.relaxed(() => space.delete(found));
    assert.equal([...space.ids()].length, 1);
  },
  ['linux'],
);

/** Are two types the same? */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function isTrue<_T extends true>(): void {}

test('T11, T16: sequences have exact types', () => {
  const Deeps = vec(Deep);
  isTrue<Same<Infer<typeof Deeps>, Vec<Deep, DeepInit>>>();
  isTrue<Same<ReturnType<Vec<number>['get']>, number>>();
  isTrue<Same<ReturnType<Vec<number>['pop']>, number | undefined>>();
  isTrue<Same<Taken<string>, string>>();
  isTrue<Same<Taken<Deep>['list'], number[]>>();
  isTrue<Same<Taken<Deep>['at'], { x: number; y: number }>>();
  isTrue<Same<Taken<Deep>['target'], Target | null>>();
  const check = (numbers: Vec<number>, deeps: Infer<typeof Deeps>): void => {
    // @ts-expect-error: a string is no number
    numbers.push('1');
    // @ts-expect-error: read only
    numbers.length = 4;
    // @ts-expect-error: no such field
    deeps.push({ nme: 'x' });
    deeps.push({ name: 'x', list: [1, 2] }, deeps.get(0));
  };
  assert.equal(check.length, 2);
  fails('TypeInvalid', () => vec(5 as never));
});

onHosts(
  'T7, T16: a Vec of references is read as a whole though its own memory is taken for what they lead to',
  (ground) => {
    const Large = struct('Large', { n: f64, filling: bytes });
    const Refs = vec(ref(Large));
    const first = ground.open();
    first.relaxed(() => {
      const refs = first.create(Refs);
      for (let n = 0; n < 30; n++) refs.push(first.create(Large, { n, filling: new Uint8Array(70_000) }));
      first.names.set('/refs', refs);
    });
    first.close();
    for (let objectsMax = 3; objectsMax < 8; objectsMax++)
      for (let before = 0; before < 6; before++) {
        const space = ground.open({ objectsMax });
        const refs = space.names.get('/refs', Refs);
        for (let i = 0; i < before; i++) assert.equal(refs.at(i)?.n, i);
        assert.deepEqual(
          refs.toArray().map((each) => each?.n),
          Array.from({ length: 30 }, (_, n) => n),
        );
        space.close();
      }
  },
  ['linux'],
);

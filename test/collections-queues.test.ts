/** T14, T16: Queue and Log against plain arrays. Seed and path are printed when a run fails; FC_SEED replays one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import {
  bytes,
  log,
  objectOf,
  queue,
  struct,
  text,
  u32,
  u8,
  type Infer,
  type Log,
  type Queue,
  type Retention,
  type Taken,
} from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { checkSpace } from '../src/services/check.ts';
import { fails, Ground, thrown } from './hosts.ts';
import { DEEPS, NUMBERS, REFS, WORDS, type Kind } from './sequence-elements.ts';
import { hold, SEED, type Subject, type Targets } from './sequences.ts';
import { amount } from './thorough.ts';

type Step<P> =
  | { readonly kind: 'push' | 'extend'; readonly values: readonly P[]; readonly times: number }
  | { readonly kind: 'shift' | 'trim' | 'drain'; readonly count: number }
  | { readonly kind: 'refused' | 'clear' | 'assign' };

function stepOf<P>(plain: fc.Arbitrary<P>): fc.Arbitrary<Step<P>> {
  const times = fc.oneof({ weight: 4, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.nat(200) });
  const count = fc.oneof({ weight: 2, arbitrary: fc.nat(10) }, { weight: 1, arbitrary: fc.nat(1000) });
  return fc.oneof<fc.MaybeWeightedArbitrary<Step<P>>[]>(
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constantFrom('push' as const, 'extend'), values: fc.array(plain, { maxLength: 8 }), times }),
    },
    { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('shift' as const, 'trim', 'drain'), count }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('refused' as const, 'refused', 'clear', 'assign') }) },
  );
}

/** How often what a step repeats is repeated. */
function all<P>(step: { readonly values: readonly P[]; readonly times: number }, length: number, many: number): P[] {
  return Array.from({ length: length > many ? 1 : Math.min(step.times, many / 8) }, () => step.values).flat();
}

const refusal = (attempt: () => unknown): void =>
  assert.match(String(Reflect.get(thrown(attempt) as object, 'name')), /^(OutOfRange|ValueMismatch)$/);

function queueSubject<V, I, P>(kind: Kind<V, I, P>): Subject<Queue<V, I>, Iterable<I>, P[], Step<P>> {
  return {
    name: `Queue of ${kind.name}`,
    type: queue(kind.field),
    nothing: [],
    empty: () => [],
    clone: (model) => [...model],
    step: stepOf(kind.plain),
    show: (collection) => Array.from(collection, (value) => kind.show(value)),
    expect: (model) => model,
    apply(step, collection, model, targets) {
      const init = (plain: P): I => kind.init(plain, targets);
      switch (step.kind) {
        case 'push':
        case 'extend': {
          const values = all(step, model.length, kind.many);
          if (step.kind === 'extend') collection.extend(values.map(init));
          else for (const value of values) collection.push(init(value));
          model.push(...values);
          break;
        }
        case 'shift':
          for (let i = 0; i < step.count; i++) {
            const first = collection.peek();
            assert.deepEqual(
              first === undefined ? [] : [kind.show(first)],
              model.slice(0, model.length === 0 ? 0 : 1).map((each) => each ?? kind.show(first as V)),
            );
            const taken = collection.shift();
            assert.deepEqual(model.length === 0 ? [] : [kind.taken(taken as Taken<V>)], model.splice(0, 1));
            if (model.length === 0) break;
          }
          break;
        case 'trim':
        case 'drain': {
          let left = step.count;
          const drained: P[] = [];
          if (left > 0)
            for (const each of collection.drain()) {
              drained.push(kind.taken(each));
              if (--left === 0) break;
            }
          assert.deepEqual(drained, model.splice(0, step.count));
          break;
        }
        case 'refused':
          for (const bad of kind.bad) {
            const good = model.slice(0, 3).map(init);
            for (const attempt of [
              () => collection.push(bad),
              () => collection.push(...good, bad),
              () => collection.extend(new Set([...good, bad])),
            ])
              refusal(attempt);
          }
          break;
        case 'clear':
          collection.clear();
          model.length = 0;
          break;
        case 'assign': {
          const accessor = collection as Queue<V, I> & { $assign(content: unknown): void };
          accessor.$assign(collection);
          model.splice(0, 2);
          accessor.$assign(model.map(init));
          break;
        }
      }
      assert.equal(collection.length, model.length);
    },
  };
}

interface Kept<P> {
  first: number;
  readonly kept: P[];
}

function logSubject<V, I, P>(kind: Kind<V, I, P>, retention: Retention): Subject<Log<V, I>, Iterable<I>, Kept<P>, Step<P>> {
  /** Retention by entries; by bytes where each element takes 4. */
  const limit = Math.min(retention.entries ?? Infinity, Math.max(1, Math.floor((retention.bytes ?? Infinity) / 4)));
  const retain = (model: Kept<P>): void => {
    const gone = Math.max(0, model.kept.length - limit);
    model.kept.splice(0, gone);
    model.first += gone;
  };
  const check = (collection: Log<V, I>, model: Kept<P>): void => {
    const { first, kept } = model;
    assert.deepEqual([collection.first, collection.next, collection.length], [first, first + kept.length, kept.length]);
    for (const seq of [first - 1, first + kept.length, first + 0.5, NaN]) assert.equal(collection.get(seq), undefined);
  };
  return {
    name: `Log of ${kind.name}`,
    type: log(kind.field, retention),
    nothing: [],
    empty: () => ({ first: 0, kept: [] }),
    clone: ({ first, kept }) => ({ first, kept: [...kept] }),
    step: stepOf(kind.plain),
    show: (collection) => [collection.first, collection.next, Array.from(collection.entries(), ([seq, value]) => [seq, kind.show(value)])],
    expect: ({ first, kept }) => [first, first + kept.length, kept.map((value, i) => [first + i, value])],
    apply(step, collection, model, targets: Targets) {
      const init = (plain: P): I => kind.init(plain, targets);
      const next = model.first + model.kept.length;
      switch (step.kind) {
        case 'push':
        case 'extend': {
          const values = all(step, model.kept.length, kind.many);
          if (step.kind === 'extend') assert.equal(collection.extend(values.map(init)), next + values.length);
          else for (const [i, value] of values.entries()) assert.equal(collection.append(init(value)), next + i);
          model.kept.push(...values);
          retain(model);
          break;
        }
        case 'shift': {
          const from = model.first + step.count;
          assert.deepEqual(
            Array.from(collection.values(from, from + 5), (value) => kind.show(value)),
            model.kept.slice(step.count, step.count + 5),
          );
          break;
        }
        case 'trim':
        case 'drain': {
          collection.trim(model.first + step.count);
          const gone = Math.min(step.count, model.kept.length);
          model.kept.splice(0, gone);
          model.first += gone;
          break;
        }
        case 'refused':
          for (const bad of kind.bad) {
            const good = model.kept.slice(0, 3).map(init);
            for (const attempt of [() => collection.append(bad), () => collection.extend(new Set([...good, bad]))]) refusal(attempt);
          }
          fails('OutOfRange', () => collection.trim(-1));
          break;
        case 'clear':
          collection.clear();
          model.kept.length = 0;
          model.first = next;
          break;
        case 'assign': {
          const accessor = collection as Log<V, I> & { $assign(content: unknown): void };
          accessor.$assign(collection);
          accessor.$assign(model.kept.slice(1).map(init));
          model.first = next;
          model.kept.shift();
          break;
        }
      }
      check(collection, model);
    },
  };
}

function holds<V, I, P>(kind: Kind<V, I, P>, runs: number, retention: Retention): void {
  test(`T14, T16: a Queue of ${kind.name} is what the model says; seed ${SEED}`, (t) => {
    t.diagnostic(`up to ${hold(queueSubject(kind), runs)} objects`);
  });
  test(`T16: a Log of ${kind.name} is what the model says; seed ${SEED}`, (t) => {
    t.diagnostic(`up to ${hold(logSubject(kind, retention), runs)} objects`);
  });
}

holds(NUMBERS, amount(4, 8), { bytes: 1600 });
holds(WORDS, amount(3, 6), {});
holds(DEEPS, amount(3, 6), { entries: 40 });
holds(REFS, amount(3, 6), { entries: 1000 });

test('T14, T16: a queue that work goes through takes no more room than what is in it', (t) => {
  const limits = { ...POOL_LIMITS };
  t.after(() => Object.assign(POOL_LIMITS, limits));
  Object.assign(POOL_LIMITS, { home: 32 << 10, member: 256 << 10 });
  const space = new Ground('simulated', t).open();
  const Job = struct('Job', { number: u32, what: text });
  const jobs = space.relaxed(() => space.create(queue(Job)));
  let made = 0;
  let done = 0;
  let most = 0;
  for (let round = 0; round < 60; round++) {
    space.relaxed(() => {
      const burst = round < 30 ? 600 : 0;
      for (let i = 0; i < burst; i++) jobs.push({ number: made, what: `job ${made++}` });
    });
    space.relaxed(() => {
      for (let i = 0; i < 300; i++) {
        const job: Taken<Infer<typeof Job>> | undefined = jobs.shift();
        if (job === undefined) break;
        assert.deepEqual(job, { number: done, what: `job ${done++}` });
      }
    });
    most = Math.max(most, jobs.usage().objects);
  }
  assert.deepEqual([made, done, jobs.length], [18_000, 18_000, 0]);
  assert.ok(most > 1, 'it never came to span objects');
  assert.ok(jobs.usage().objects <= 2 && jobs.usage().blocks <= 2, JSON.stringify(jobs.usage()));
});

test('T16: a Log keeps what retention says, and its old objects go as a whole', (t) => {
  const limits = { ...POOL_LIMITS };
  t.after(() => Object.assign(POOL_LIMITS, limits));
  Object.assign(POOL_LIMITS, { home: 32 << 10, member: 256 << 10 });
  const space = new Ground('simulated', t).open();
  const events = space.relaxed(() => space.create(log(bytes, { bytes: 100_000 })));
  for (let i = 0; i < 300; i++) space.relaxed(() => events.append(new Uint8Array(9992).fill(i)));
  // 9992 bytes, their length and their address.
  assert.deepEqual([events.length, events.bytes, events.next], [10, 100_000, 300]);
  assert.equal(events.get(events.first)?.[0], 290 & 255);
  assert.ok(events.usage().bytes < 600_000, JSON.stringify(events.usage()));
  space.relaxed(() => events.append(new Uint8Array(150_000)));
  assert.deepEqual([events.length, events.first], [1, 300]);
  assert.equal(inspect(space.relaxed(() => space.create(log(u32), [1, 2]))), 'Log(2) [ 1, 2 ]');
  assert.equal(inspect(space.relaxed(() => space.create(queue(text), ['a']))), "Queue(1) [ 'a' ]");
  fails('TypeInvalid', () => log(u32, { entries: 0 }));
  fails('TypeInvalid', () => log(u32, { size: 5 } as never));
  fails('NotInTransaction', () => events.append(new Uint8Array(1)));
  // Retention is not part of the stored type.
  assert.equal(space.get(objectOf(events).id, log(bytes)).length, 1);
});

test('T14, T16: an append that is refused at the first element of a chunk leaves no chunk behind', (t) => {
  const ground = new Ground('simulated', t);
  const space = ground.open();
  const Small = struct('SmallInQueue', { name: text, n: u8 });
  const queues = space.relaxed(() => Array.from({ length: 20 }, () => space.create(queue(Small))));
  for (const [i, each] of queues.entries()) {
    // Chunks have a power of two of elements.
    const count = 2 ** (i >> 1) - (i % 2);
    space.relaxed(() => {
      for (let j = 0; j < count; j++) each.push({ name: `value ${j}`, n: j % 256 });
      refusal(() => each.push({ name: 'good', n: 1 }, { name: 'bad', n: 256 }));
    });
    assert.equal(each.length, count);
  }
  space.close();
  assert.deepEqual(
    checkSpace(ground.host, ground.directory).findings.filter(({ severity }) => severity === 'error'),
    [],
  );
});

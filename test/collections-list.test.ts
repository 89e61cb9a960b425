/** T16: List against a plain array. Seed and path are printed when a run fails; FC_SEED replays one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { list, text, u32, type List, type ListEntry, type Taken } from '../src/index.ts';
import { fails, Ground, thrown } from './hosts.ts';
import { DEEPS, NUMBERS, REFS, WORDS, type Kind } from './sequence-elements.ts';
import { hold, SEED, type Subject } from './sequences.ts';
import { amount } from './thorough.ts';

type Step<P> =
  | { readonly kind: 'push' | 'unshift'; readonly values: readonly P[] }
  | { readonly kind: 'before' | 'after' | 'set'; readonly at: number; readonly value: P }
  | { readonly kind: 'splice'; readonly at: number; readonly count: number; readonly values: readonly P[] }
  | { readonly kind: 'remove' | 'refused'; readonly at: number }
  | { readonly kind: 'pop' | 'shift' | 'clear' | 'assign' };

function stepOf<P>(plain: fc.Arbitrary<P>): fc.Arbitrary<Step<P>> {
  const at = fc.nat();
  const values = fc.array(plain, { maxLength: 10 });
  return fc.oneof<fc.MaybeWeightedArbitrary<Step<P>>[]>(
    { weight: 5, arbitrary: fc.record({ kind: fc.constantFrom('push' as const, 'unshift'), values }) },
    { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('before' as const, 'after', 'set'), at, value: plain }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('splice' as const), at, count: fc.nat(8), values }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('remove' as const, 'remove', 'refused'), at }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('pop' as const, 'shift', 'pop', 'shift', 'clear', 'assign') }) },
  );
}

function entryAt<V, I>(collection: List<V, I>, index: number): ListEntry<V, I> {
  let entry = collection.first;
  for (let i = 0; i < index; i++) entry = entry?.next;
  assert.ok(entry !== undefined);
  return entry;
}

function subject<V, I, P>(kind: Kind<V, I, P>): Subject<List<V, I>, Iterable<I>, P[], Step<P>> {
  return {
    name: `List of ${kind.name}`,
    type: list(kind.field),
    nothing: [],
    empty: () => [],
    clone: (model) => [...model],
    step: stepOf(kind.plain),
    show: (collection) => [
      Array.from(collection, (value) => kind.show(value)),
      Array.from(collection.reversed(), (value) => kind.show(value)).reverse(),
    ],
    expect: (model) => [model, model],
    apply(step, collection, model, targets) {
      const init = (plain: P): I => kind.init(plain, targets);
      const at = 'at' in step ? step.at % Math.max(1, model.length) : 0;
      if ('at' in step && model.length === 0) return;
      switch (step.kind) {
        case 'push':
        case 'unshift':
          collection[step.kind](...step.values.map(init));
          model[step.kind](...step.values);
          break;
        case 'before':
        case 'after': {
          const entry = entryAt(collection, at);
          const made =
            step.kind === 'before' ? collection.insertBefore(entry, init(step.value)) : collection.insertAfter(entry, init(step.value));
          assert.ok((step.kind === 'before' ? made.next : made.previous)?.is(entry));
          assert.deepEqual(kind.show(made.value), step.value);
          assert.deepEqual(kind.show(entry.value), model[at]);
          model.splice(step.kind === 'before' ? at : at + 1, 0, step.value);
          break;
        }
        case 'set':
          entryAt(collection, at).value = init(step.value);
          model[at] = step.value;
          break;
        case 'splice':
          assert.deepEqual(
            collection.splice(entryAt(collection, at), step.count, ...step.values.map(init)).map((each) => kind.taken(each)),
            model.splice(at, step.count, ...step.values),
          );
          break;
        case 'remove': {
          const entry = entryAt(collection, at);
          assert.ok(entry.isPresent);
          assert.deepEqual([kind.taken(collection.remove(entry))], model.splice(at, 1));
          assert.ok(!entry.isPresent);
          fails('StaleReference', () => entry.value);
          fails('StaleReference', () => collection.remove(entry));
          break;
        }
        case 'refused': {
          const entry = entryAt(collection, at);
          for (const bad of kind.bad) {
            const good = model.slice(0, 3).map(init);
            for (const attempt of [
              () => collection.push(...good, bad),
              () => collection.unshift(...good, bad),
              () => collection.insertAfter(entry, bad),
              () => collection.splice(entry, 2, ...good, bad),
              () => (entry.value = bad),
            ])
              assert.match(String(Reflect.get(thrown(attempt) as object, 'name')), /^(OutOfRange|ValueMismatch)$/);
          }
          break;
        }
        case 'pop':
        case 'shift': {
          const taken = collection[step.kind]();
          const there = model.length > 0;
          const expected = model[step.kind]();
          assert.deepEqual(there ? kind.taken(taken as Taken<V>) : taken, expected);
          break;
        }
        case 'clear':
          collection.clear();
          model.length = 0;
          break;
        case 'assign': {
          const accessor = collection as List<V, I> & { $assign(content: unknown): void };
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
  test(`T16: a List of ${kind.name} is the array that the model says; seed ${SEED}`, (t) => {
    t.diagnostic(`up to ${hold(subject(kind), runs)} objects`);
  });
}

holds(NUMBERS, amount(9, 25));
holds(WORDS, amount(6, 15));
holds(DEEPS, amount(5, 10));
holds(REFS, amount(7, 20));

test('T16: a List may change while it is walked, and entries of others are refused', (t) => {
  const space = new Ground('simulated', t).open();
  const [letters, others] = space.relaxed(() => [space.create(list(text), ['a', 'b', 'c', 'd']), space.create(list(text), ['x'])]);
  const seen: string[] = [];
  space.relaxed(() => {
    for (const entry of letters.entries()) {
      const { value } = entry;
      seen.push(value);
      if (value === 'a') letters.remove(entry);
      if (value === 'b') letters.insertAfter(entry, 'b2');
      if (value === 'c') letters.push('e');
    }
  });
  assert.deepEqual(seen, ['a', 'b', 'b2', 'c', 'd', 'e']);
  assert.deepEqual([...letters.reversed()], ['e', 'd', 'c', 'b2', 'b']);
  assert.equal(inspect(letters), "List(5) [ 'b', 'b2', 'c', 'd', 'e' ]");
  assert.equal(inspect(letters.first), "ListEntry 'b'");
  const { first } = others;
  assert.ok(first !== undefined);
  fails('ValueMismatch', () => space.relaxed(() => letters.remove(first)));
  fails('ValueMismatch', () => space.relaxed(() => letters.insertAfter({} as never, 'y')));
  fails('NotInTransaction', () => (first.value = 'y'));
  const gone = space.relaxed(() => {
    const numbers = space.create(list(u32), [1, 2, 3]);
    const entry = numbers.first?.next;
    numbers.clear();
    return entry;
  });
  assert.equal(gone?.isPresent, false);
  assert.equal(inspect(gone), 'ListEntry <gone>');
});

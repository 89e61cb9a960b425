/** T11: schema evolution against a model: whatever changes in a type, each value that is left is what it was, and no block is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { objectOf, ref, struct, u8, type Space, type Struct } from '../src/index.ts';
import { typesOf } from '../src/services/dynamic.ts';
import { blocksInUse, problems } from './evolved.ts';
import { fieldsOf, items, KINDS, stored, type AnyField, type Fields, type Item, type Kind } from './evolving.ts';
import { Ground } from './hosts.ts';
import { amount } from './thorough.ts';

const SEED = 11;

/** A list of structs, the root among them. A version is raised where something changed. */
function declare(outer: readonly Item[], inner: readonly Item[], when: 'before' | 'after'): Struct<Fields> {
  const version = (of: readonly Item[]): number =>
    when === 'after' && stored(fieldsOf(of, 'before')) !== stored(fieldsOf(of, 'after')) ? 2 : 1;
  const Inner = struct('Inner', { ...fieldsOf(inner, when), end: u8 }, { version: version(inner) });
  const fields: Fields = { ...fieldsOf(outer, when), inner: Inner };
  Object.defineProperty(fields, 'next', { enumerable: true, get: (): AnyField => ref(made) });
  const made: Struct<Fields> = struct('Outer', fields, { version: version(outer) });
  return made;
}

const plain = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'toArray' in value && typeof value.toArray === 'function' ? value.toArray() : value;

/** What each struct of the list holds. */
function contentOf(first: object): unknown[] {
  const all: unknown[] = [];
  for (let at: unknown = first; typeof at === 'object' && at !== null; at = Reflect.get(at, 'next')) {
    const part = Reflect.get(at, 'inner') as object;
    const values: Record<string, unknown> = {};
    for (const [prefix, holder] of [
      ['', at],
      ['inner.', part],
    ] as const) {
      for (const name of Object.keys(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(holder))))
        if (/^[a-j]$/.test(name)) values[prefix + name] = plain(Reflect.get(holder, name));
    }
    all.push(values);
  }
  return all;
}

function fill(space: Space, type: Struct<Fields>, values: readonly Record<string, unknown>[]): object {
  return space.relaxed(() => {
    const made: object[] = [];
    for (const [i, value] of values.entries()) {
      const at: object = i === 0 ? space.create(type) : space.make(type, made[0] as object);
      for (const [name, item] of Object.entries(value)) {
        const [holder, field] = name.startsWith('inner.') ? [Reflect.get(at, 'inner') as object, name.slice(6)] : [at, name];
        Reflect.set(holder, field, item);
      }
      const before = made.at(-1);
      if (before !== undefined) Reflect.set(before, 'next', at);
      made.push(at);
    }
    return made[0] as object;
  });
}

const cases = fc.tuple(items, items, fc.integer({ min: 1, max: 4 })).chain(([outer, inner, count]) => {
  const values: Record<string, fc.Arbitrary<unknown>> = {};
  for (const { name, kind, fate } of outer) if (fate !== 'comes') values[name] = (KINDS[kind] as Kind).value;
  for (const { name, kind, fate } of inner) if (fate !== 'comes') values[`inner.${name}`] = (KINDS[kind] as Kind).value;
  return fc.record({
    outer: fc.constant(outer),
    inner: fc.constant(inner),
    values: fc.array(fc.record(values), { minLength: count, maxLength: count }),
  });
});

test(`T11: fields come, go, change places and widen, inline and referred to: the values are what they were (seed ${SEED})`, (t) => {
  const ground = new Ground('simulated', t);
  const space = ground.open();
  let moved = 0;
  fc.assert(
    fc.property(cases, ({ outer, inner, values }) => {
      const Old = declare(outer, inner, 'before');
      const New = declare(outer, inner, 'after');
      const { id } = objectOf(fill(space, Old, values));
      // What it would be, had it been made as it is now.
      const stays = (name: string): boolean =>
        (name.startsWith('inner.') ? inner : outer).some((item) => item.fate === 'stays' && item.name === name.replace('inner.', ''));
      const left = values.map((value) => Object.fromEntries(Object.entries(value).filter(([name]) => stays(name))));
      const model = fill(space, New, left);
      const found = space.get(id, New);
      assert.deepEqual(contentOf(found), contentOf(model));
      if (space.migrate(New).settled > 0) moved++;
      assert.deepEqual(contentOf(space.get(id, New)), contentOf(model));
      assert.equal(blocksInUse(objectOf(found)), blocksInUse(objectOf(model)));
      assert.equal(typesOf(objectOf(found)).type.schema, New.schema);
      space.relaxed(() => {
        space.delete(id);
        space.delete(model);
      });
    }),
    { seed: SEED, numRuns: amount(80, 200), endOnFailure: false },
  );
  t.diagnostic(`${moved} times something had to move`);
  assert.ok(moved > 20);
  space.close();
  assert.deepEqual(problems(ground.host, ground.directory), []);
});

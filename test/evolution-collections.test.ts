/**
 * T11: schema evolution in collections, against plain JavaScript: a random struct is the value of a collection of each kind, it changes at
 * random, and each value is what it was, each reference leads to the same one, and no block and no object is lost.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { objectOf, type ObjectId, type Space } from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { STAGE_LIMITS } from '../src/services/evolution/stage.ts';
import { blocksInUse, problems } from './evolved.ts';
import { items } from './evolving.ts';
import {
  Changer,
  Dice,
  evolve,
  held,
  look,
  typesAfter,
  typesBefore,
  unrefer,
  valuesOf,
  type Change,
  type Model,
  type Plain,
  type Types,
} from './evolution-world.ts';
import { fails, Ground, thrown } from './hosts.ts';
import { amount } from './thorough.ts';

const SEED = 1611;

interface Case {
  readonly change: Change;
  readonly samples: readonly Plain[];
  readonly own: Plain;
  readonly seed: number;
}

const cases: fc.Arbitrary<Case> = fc.tuple(items, items, items).chain(([value, inner, world]) =>
  fc.record({
    change: fc.constant({ value, inner, world }),
    samples: fc.array(fc.record({ ...valuesOf(value), ...valuesOf(inner, 'inner.') }), { minLength: 5, maxLength: 5 }),
    own: fc.record(valuesOf(world)),
    seed: fc.integer({ min: 1, max: 2 ** 31 }),
  }),
);

interface Built {
  readonly world: ObjectId;
  readonly holder: ObjectId;
  readonly next: number;
}

function build(space: Space, { World, Holder }: Types, { samples, own, seed }: Case, count: number): Built {
  const dice = new Dice(seed);
  const changer = new Changer(dice, samples);
  const [world, holder] = space.relaxed(() => {
    const made = space.create(World);
    changer.own(made, own);
    return [made, space.create(Holder)] as const;
  });
  space.relaxed(() => changer.add(world, count));
  space.relaxed(() => changer.remove(world));
  space.relaxed(() => changer.refer(world, holder));
  return { world: objectOf(world).id, holder: objectOf(holder).id, next: changer.next };
}

/** What a program with the newer types must find. */
function expected(space: Space, before: Model, types: Types, { change }: Case): Model {
  const fresh = space.relaxed(() => space.create(types.World));
  const model = space.relaxed(() => evolve(before, fresh, change));
  space.relaxed(() => space.delete(fresh));
  return model;
}

/** Is the space with the newer types as good as one that never had others? */
function goOn(space: Space, types: Types, built: Built, { seed, samples, change }: Case): void {
  const world = space.get(built.world, types.World);
  const holder = space.get(built.holder, types.Holder);
  const left = new Set([...change.value, ...change.inner].filter(({ fate }) => fate === 'stays').map(({ name }) => name));
  const usable = samples.map((sample) =>
    Object.fromEntries(Object.entries(sample).filter(([name]) => left.has(name.replace('inner.', '')) && !name.startsWith('inner.'))),
  );
  const stays = new Set(change.value.filter(({ fate }) => fate === 'stays').map(({ name }) => name));
  const fitting = usable.map((sample) => Object.fromEntries(Object.entries(sample).filter(([name]) => stays.has(name))));
  const changer = new Changer(new Dice(seed + 1), fitting, built.next);
  space.relaxed(() => changer.add(world, 5));
  unrefer(space, world, holder);
  space.relaxed(() => changer.remove(world));
  space.relaxed(() => changer.refer(world, holder));
  look(world);
  held(holder);
}

/** Takes all out: then there must be as many blocks and objects as in a world that is new. */
function leftOver(space: Space, types: Types, built: Built): void {
  const world = space.get(built.world, types.World);
  const holder = space.get(built.holder, types.Holder);
  unrefer(space, world, holder);
  space.relaxed(() => {
    for (const name of [
      'hash',
      'ordered',
      'tree',
      'texts',
      'vec',
      'list',
      'queue',
      'log',
      'graph',
      'indexed',
      'groups',
      'maybe',
      'pairs',
      'numbers',
    ] as const)
      world[name].clear();
  });
}

const objectsIn = (space: Space): number => [...space.ids()].length;

function inSpace(
  title: string,
  runs: number,
  count: number,
  limits: { readonly home: number; readonly member: number; readonly stage: number },
  body: (space: Space, one: Case, count: number) => void,
): void {
  test(`T11: ${title} (seed ${SEED})`, (t) => {
    const was = { ...POOL_LIMITS, bytes: STAGE_LIMITS.bytes };
    t.after(() => {
      Object.assign(POOL_LIMITS, { home: was.home, member: was.member });
      STAGE_LIMITS.bytes = was.bytes;
    });
    Object.assign(POOL_LIMITS, { home: limits.home, member: limits.member });
    STAGE_LIMITS.bytes = limits.stage;
    const ground = new Ground('simulated', t);
    const space = ground.open();
    fc.assert(
      fc.property(cases, (one) => body(space, one, count)),
      { seed: SEED, numRuns: runs, endOnFailure: true, includeErrorInReport: true },
    );
    space.close();
    assert.deepEqual(problems(ground.host, ground.directory), []);
  });
}

const ROOMY = { home: 1 << 24, member: 1 << 26, stage: 8 << 20 };
const CROWDED = { home: 1 << 15, member: 1 << 16, stage: 1 << 13 };

inSpace(
  'values of every kind of collection are migrated when their object is opened, by the model',
  amount(3, 6),
  12,
  ROOMY,
  (space, one, count) => {
    const [before, after] = [typesBefore(one.change), typesAfter(one.change)];
    const built = build(space, before, one, count);
    const old = look(space.get(built.world, before.World));
    const references = held(space.get(built.holder, before.Holder));
    const model = expected(space, old, after, one);
    assert.deepEqual(look(space.get(built.world, after.World)), model);
    // By the list of moved structs; then directly.
    assert.deepEqual(held(space.get(built.holder, after.Holder)), references);
    space.migrate(after.World);
    space.migrate(after.Holder);
    assert.deepEqual(look(space.get(built.world, after.World)), model);
    assert.deepEqual(held(space.get(built.holder, after.Holder)), references);
    goOn(space, after, built, one);
    leftOver(space, after, built);
    const fresh = space.relaxed(() => space.create(after.World));
    const own = space.relaxed(() => {
      const made = space.create(after.World);
      const world = space.get(built.world, after.World);
      for (const item of one.change.world) if (item.fate === 'stays') Reflect.set(made, item.name, Reflect.get(world, item.name));
      return made;
    });
    assert.equal(blocksInUse(space.object(built.world)), blocksInUse(objectOf(own)));
    space.relaxed(() => {
      for (const each of [built.world, built.holder, fresh, own]) space.delete(each);
    });
    assert.deepEqual(space.reclaim().deleted, []);
  },
);

inSpace(
  'collections that have grown into many objects are migrated by migrating all, by the model',
  amount(2, 4),
  60,
  CROWDED,
  (space, one, count) => {
    const [before, after] = [typesBefore(one.change), typesAfter(one.change)];
    const built = build(space, before, one, count);
    assert.ok(objectsIn(space) > 5);
    const old = look(space.get(built.world, before.World));
    const references = held(space.get(built.holder, before.Holder));
    const model = expected(space, old, after, one);
    const error = before.Value.schema === after.Value.schema ? undefined : thrown(() => space.get(built.world, after.World));
    if (error !== undefined) {
      assert.match(String(error as Error), /TypeOutdated.*too large.*space\.migrate\(World\)/);
      // A reference into what a collection has grown into is no way around it.
      fails('TypeOutdated', () => held(space.get(built.holder, after.Holder)));
    }
    const { refused } = space.migrate(after.World);
    assert.deepEqual(refused, []);
    assert.deepEqual(look(space.get(built.world, after.World)), model);
    space.migrate(after.Holder);
    assert.deepEqual(held(space.get(built.holder, after.Holder)), references);
    goOn(space, after, built, one);
    leftOver(space, after, built);
    space.relaxed(() => {
      space.delete(space.get(built.world, after.World));
      space.delete(built.holder);
    });
    space.reclaim();
    // The one that remembers what was deleted.
    assert.equal(objectsIn(space), 1);
  },
);

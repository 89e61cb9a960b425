/** T11: collections that are migrated in many transactions, ended at any point: the old is whole, or the new is, and nothing is left over. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { objectOf, open, type ObjectId, type Space } from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { STAGE_LIMITS } from '../src/services/evolution/stage.ts';
import { problems } from './evolved.ts';
import type { Item } from './evolving.ts';
import { Changer, Dice, evolve, held, look, typesAfter, typesBefore, type Change, type Model } from './evolution-world.ts';
import { amount } from './thorough.ts';

const SEED = 1612;

const item = (name: string, kind: number, after: number, fate: Item['fate']): Item => ({ name, kind, after, fate, place: after });

const CHANGE: Change = {
  value: [item('a', 0, 2, 'stays'), item('b', 4, 0, 'stays'), item('c', 4, 0, 'comes'), item('d', 2, 0, 'goes')],
  inner: [item('e', 7, 1, 'stays'), item('f', 2, 1, 'comes')],
  world: [item('g', 4, 0, 'stays')],
};

test(`T11: the process dies, or the power fails, while collections are filled anew: before or after, and it goes on (seed ${SEED})`, (t) => {
  const was = { ...POOL_LIMITS, bytes: STAGE_LIMITS.bytes };
  t.after(() => {
    Object.assign(POOL_LIMITS, { home: was.home, member: was.member });
    STAGE_LIMITS.bytes = was.bytes;
  });
  Object.assign(POOL_LIMITS, { home: 1 << 14, member: 1 << 15 });
  STAGE_LIMITS.bytes = 1 << 11;
  const [before, after] = [typesBefore(CHANGE), typesAfter(CHANGE)];
  const samples = [
    { a: 7, b: 'a text', d: 1, 'inner.e': [1, 2, 255] },
    { a: 200, b: '', d: 2 ** 31, 'inner.e': [0, 0, 0] },
  ];
  const build = (space: Space): readonly [ObjectId, ObjectId] => {
    const changer = new Changer(new Dice(SEED), samples);
    const [world, holder] = space.relaxed(() => [space.create(before.World), space.create(before.Holder)] as const);
    space.relaxed(() => changer.own(world, { g: 'the world' }));
    space.relaxed(() => changer.add(world, 20));
    space.relaxed(() => changer.refer(world, holder));
    return [objectOf(world).id, objectOf(holder).id];
  };
  const host = new SimulatedHost({ sharedMapping: false, follow: true });
  const space = open('/space', { segmentSize: 65536, checkpointBytes: 1 << 17, host });
  const [id, holder] = build(space);
  const old = look(space.get(id, before.World));
  const references = held(space.get(holder, before.Holder));
  const fresh = space.relaxed(() => space.create(after.World));
  const model: Model = space.relaxed(() => evolve(old, fresh, CHANGE));
  space.relaxed(() => space.delete(fresh));
  space.checkpoint();
  const machines: SimulatedHost[] = [];
  let points = 0;
  const dice = new Dice(SEED);
  host.onPoint = (point) => {
    points++;
    if (dice.below(amount(40, 6)) > 0) return;
    machines.push(dice.below(2) === 0 ? host.kill() : host.crash({ mode: dice.below(2) === 0 ? 'lose' : 'random', seed: point }));
  };
  assert.deepEqual(space.migrate(after.World).refused, []);
  space.sync();
  host.onPoint = undefined;
  machines.push(host.kill());
  const objects = [...space.ids()].length;
  space.close();
  host.discard();
  let halfway = 0;
  let done = 0;
  for (const machine of machines) {
    const again = open('/space', { segmentSize: 65536, host: machine });
    const stages = [...again.ids()].filter((each) => again.object(each).schema?.root === 'MigrationStage').length;
    const { refused, migrated } = again.migrate(after.World);
    assert.deepEqual(refused, []);
    if (migrated === 0) done++;
    if (stages > 0) halfway++;
    const world = again.get(id, after.World);
    assert.deepEqual(look(world), model);
    assert.deepEqual(held(again.get(holder, after.Holder)), references);
    // What was begun and not ended is gone.
    assert.equal([...again.ids()].length, objects);
    again.close();
    assert.deepEqual(
      problems(machine, '/space').filter(({ name }) => name !== 'LogBroken'),
      [],
    );
    machine.discard();
  }
  t.diagnostic(`${machines.length} of ${points} points, ${halfway} of them halfway, ${done} at the end, 0 bad`);
  assert.ok(halfway > 4 && done < machines.length, `${machines.length} crashes, ${halfway} halfway, ${done} at the end`);
});

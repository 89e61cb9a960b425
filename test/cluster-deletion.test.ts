/** G14: what is deleted on one node is deleted on all, says so everywhere, and takes room nowhere. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ref, struct, u32, isTwzError, type ObjectId } from '../src/index.ts';
import type { ClusterNode } from '../src/services/cluster/node.ts';
import { decodeRecord, RECORD_KIND } from '../src/services/cluster/record.ts';
import { World } from './worlds.ts';

const Item = struct('Item', {
  value: u32,
  get next() {
    return ref(Item);
  },
});

function make({ space }: ClusterNode, value = 1): ObjectId {
  return space.object(space.relaxed(() => space.create(Item, { value }))).id;
}

function valueOf({ space }: ClusterNode, id: ObjectId): number {
  return space.get(id, Item).value;
}

function told(world: World, node: ClusterNode, id: ObjectId): Promise<void> {
  return world.fails('ObjectDeleted', node.bring(id, node.clock.now() + 5000));
}

/** What the engine has of it. */
async function kept(world: World, node: ClusterNode, id: ObjectId): Promise<string[]> {
  const log = `log.${id}`;
  const names = Object.entries(RECORD_KIND);
  const records = await world.run(node.engine.read(log, 0, 5000));
  return records.map(({ bytes }) => names.find(([, kind]) => kind === decodeRecord(node.space.kernel.host, log, bytes).kind)?.[0] ?? '');
}

test('G14 an object is deleted on all nodes, and each says so: one that has a copy, one whose copy went, one that never had it, one that was away', async (t) => {
  const world = new World(t);
  const alice = await world.node('alice');
  const bob = await world.node('bob');
  let carol = await world.node('carol');
  const id = make(alice);
  await world.commit(alice, [id], () => (alice.space.get(id, Item).value = 2));
  await world.bring(bob, id);
  await world.bring(carol, id);
  const held = bob.space.get(id, Item);
  assert.deepEqual([held.value, valueOf(carol, id)], [2, 2]);
  const late = await world.node('late');
  await world.bring(late, id);
  assert.ok(late.cache.evict(late.table.byMember.get(id) ?? assert.fail()));
  world.die('carol');

  await world.commit(alice, [id], () => void alice.space.delete(id));
  await world.engines.until(() => !bob.space.has(id));
  assert.throws(() => held.value, (error: unknown) => isTwzError(error, 'ObjectDeleted'));
  for (const node of [alice, bob, late, await world.node('dave')]) await told(world, node, id);
  carol = await world.node('carol');
  await world.engines.until(() => !carol.space.has(id));
  await told(world, carol, id);
  // Those who knew it are gone, and it is known all the same.
  for (const name of ['alice', 'bob', 'carol', 'late']) await world.stop(name);
  const erin = await world.node('erin');
  await told(world, erin, id);
  await world.fails('ObjectDeleted', erin.fetching.locate(id, erin.clock.now() + 1000));
  assert.deepEqual(await kept(world, erin, id), ['end']);
});

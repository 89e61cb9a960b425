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

/** Names of the chunks that a node puts into the engine from now on. */
function recordChunks({ engine }: ClusterNode): ReadonlySet<string> {
  const names = new Set<string>();
  const put = engine.putChunk.bind(engine);
  engine.putChunk = (name, bytes, ms) => {
    names.add(name);
    return put(name, bytes, ms);
  };
  return names;
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

// --- reclaiming -------------------------------------------------------------------------------------------------------------------------

const Holder = struct('Holder', {
  get item() {
    return ref(Item);
  },
});

/** A holder for each, and a counted item that nobody refers to but those who are told to. */
function hold({ space }: ClusterNode): ObjectId {
  return space.object(space.relaxed(() => space.create(Holder))).id;
}

function reclaimed(world: World, node: ClusterNode): Promise<readonly ObjectId[]> {
  return world.run(node.reclaim(node.clock.now() + 10_000)).then(({ deleted }) => deleted);
}

test('G14 a counted object lives as long as any node refers to it: then it is reclaimed everywhere, with its log and its chunks', async (t) => {
  const world = new World(t);
  const alice = await world.node('alice');
  const bob = await world.node('bob');
  const carol = await world.node('carol');
  const chunks = recordChunks(alice);
  const [id, next] = alice.space.relaxed(() => {
    const last = alice.space.create(Item, { value: 7 }, { counted: true });
    const first = alice.space.create(Item, { value: 6, next: last }, { counted: true });
    // A circle.
    last.next = first;
    return [alice.space.object(first).id, alice.space.object(last).id] as const;
  });
  const holder = hold(bob);
  const held = hold(carol);
  await world.commit(alice, [id, next], () => (alice.space.get(id, Item).value = 5));
  await world.bring(bob, id, next);
  await world.commit(bob, [holder], () => (bob.space.get(holder, Holder).item = bob.space.get(id, Item)));
  assert.deepEqual(await reclaimed(world, alice), [], 'Bob refers to it');
  assert.deepEqual(await reclaimed(world, carol), []);
  // It goes from Bob to Carol, who has no copy of it.
  assert.ok(bob.cache.evict(bob.table.byMember.get(next) ?? assert.fail()));
  await world.bring(carol, holder);
  await world.bring(carol, id);
  carol.space.relaxed(() => (carol.space.get(held, Holder).item = carol.space.get(id, Item)));
  assert.ok(carol.cache.evict(carol.table.byMember.get(id) ?? assert.fail()));
  await world.commit(bob, [holder], () => (bob.space.get(holder, Holder).item = null));
  assert.deepEqual(await reclaimed(world, alice), [], 'Carol refers to it, and has no copy');
  assert.equal(valueOf(alice, next), 7);
  // Whoever has a copy alone does not keep it.
  await world.bring(carol, id);
  carol.space.relaxed(() => (carol.space.get(held, Holder).item = null));
  await world.engines.elapse(100);
  assert.deepEqual([...(await reclaimed(world, alice))].sort(), [id, next].sort());
  await world.engines.until(() => [alice, bob, carol].every(({ space }) => !space.has(id) && !space.has(next)));
  for (const node of [alice, bob, carol, await world.node('dave')]) await told(world, node, id);
  await world.engines.elapse(1000);
  assert.deepEqual([await kept(world, alice, id), await kept(world, alice, next)], [['end'], ['end']]);
  assert.ok(chunks.size >= 2);
  for (const name of chunks) assert.equal(await world.run(alice.engine.getChunk(name, 1000)), undefined);
});

test('G14 a node that is gone keeps what it refers to for its lease and a grace; then its references say that they were deleted', async (t) => {
  const world = new World(t);
  const alice = await world.node('alice');
  let bob = await world.node('bob', { grace: 10_000 });
  const carol = await world.node('carol');
  const ids = [0, 1].map((value) => alice.space.object(alice.space.relaxed(() => alice.space.create(Item, { value }, { counted: true }))).id);
  const [id, other] = ids as [ObjectId, ObjectId];
  const holder = hold(bob);
  for (const each of ids) await world.bring(bob, each);
  bob.space.relaxed(() => (bob.space.get(holder, Holder).item = bob.space.get(id, Item)));
  await world.bring(carol, id);
  // What nothing refers to, of a node that is gone for good: who has a copy of it may reclaim it.
  await world.own(bob, other);
  await world.bring(carol, other);
  world.die('bob');
  await world.engines.elapse(8000);
  await world.fails('ReferencesUnknown', alice.reclaim(alice.clock.now() + 5000));
  assert.throws(() => {
    const { space } = carol;
    space.reclaim();
  }, (error: unknown) => isTwzError(error, 'NotJoined'));
  await world.engines.elapse(8000);
  assert.deepEqual([...(await reclaimed(world, alice))].sort(), [id, other].sort());
  await world.engines.until(() => !carol.space.has(id) && !carol.space.has(other));
  bob = await world.node('bob');
  await world.engines.until(() => !bob.space.has(id) && !bob.space.has(other));
  assert.throws(
    () => bob.space.get(holder, Holder).item?.value,
    (error: unknown) => isTwzError(error, 'ObjectDeleted'),
  );
  await told(world, bob, other);
});

test('G14 a reference that moves while nodes are asked is seen at the one or at the other', async (t) => {
  for (const seed of [1]) {
    const world = new World(t, { seed, weather: { latency: [0.1, 10] } });
    const [alice, bob, carol] = [await world.node('alice'), await world.node('bob'), await world.node('carol')];
    const id = alice.space.object(alice.space.relaxed(() => alice.space.create(Item, { value: 3 }, { counted: true }))).id;
    const nodes = [bob, carol];
    const holders = nodes.map(hold);
    for (const node of nodes) await world.bring(node, id);
    const put = (to: number): void => {
      const { space } = nodes[to] as ClusterNode;
      space.relaxed(() => (space.get(holders[to] as ObjectId, Holder).item = space.get(id, Item)));
    };
    const drop = (from: number): void => {
      const { space } = nodes[from] as ClusterNode;
      space.relaxed(() => (space.get(holders[from] as ObjectId, Holder).item = null));
    };
    put(0);
    // Always at one of them, to and fro.
    let at = 0;
    let over = false;
    const moving = async (): Promise<void> => {
      while (!over) {
        put(1 - at);
        drop(at);
        at = 1 - at;
        await alice.pause(1 + world.engines.random.below(3));
      }
    };
    const moved = moving();
    const counts: number[] = [];
    for (let i = 0; i < 12; i++) counts.push((await reclaimed(world, alice)).length);
    over = true;
    await world.run(moved);
    assert.deepEqual(counts, counts.map(() => 0), `seed ${seed}`);
    drop(at);
    await world.engines.elapse(100);
    assert.deepEqual(await reclaimed(world, alice), [id]);
  }
});

/** G14: what is deleted on one node is deleted on all, says so everywhere, and takes room nowhere. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as pathOf } from 'node:path';
import { test } from 'node:test';
import { isTwzError, open, orderedMap, ref, struct, u32, type ObjectId } from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { join, type Cluster } from '../src/services/cluster/cluster.ts';
import type { ClusterNode } from '../src/services/cluster/node.ts';
import { decodeRecord, RECORD_KIND } from '../src/services/cluster/record.ts';
import { connectFor, noServer, onEngines, serverFor, until } from './engines.ts';
import { World } from './worlds.ts';

const Item = struct('Item', {
  value: u32,
  get next() {
    return ref(Item);
  },
});
const Numbers = orderedMap(u32, u32);

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
  assert.throws(
    () => held.value,
    (error: unknown) => isTwzError(error, 'ObjectDeleted'),
  );
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

// --- what counts, and what does not ---------------------------------------------------------------------------------------------------

test('G14 a deletion by who has a copy makes it the owner first; what was written together with it is seen with it, or neither', async (t) => {
  const world = new World(t);
  const [alice, bob, carol] = [await world.node('alice'), await world.node('bob'), await world.node('carol')];
  const [id, count] = [make(alice), make(alice, 0)];
  for (const node of [bob, carol]) await world.bring(node, id, count);
  // A node without a program that waits says so; one with a program gets it.
  assert.throws(
    () => bob.space.relaxed(() => bob.space.delete(id)),
    (error: unknown) => isTwzError(error, 'NotJoined'),
  );
  assert.equal(valueOf(bob, id), 1);
  await world.own(bob, id);
  await world.own(bob, count);
  const looks = [alice, carol].map((node) => () => assert.equal(node.space.has(id), valueOf(node, count) === 0, node.name));
  bob.space.relaxed(() => {
    bob.space.get(count, Item).value = 1;
    bob.space.delete(id);
  });
  await world.engines.until(() => {
    for (const look of looks) look();
    return [alice, carol].every(({ space }) => !space.has(id));
  });
  await told(world, alice, id);
});

test('G14 a deletion that was fenced does not count, and the object is there again; one that was acknowledged outlives its node', async (t) => {
  const world = new World(t);
  const alice = await world.node('alice');
  let bob = await world.node('bob');
  const [id, other] = [make(alice, 4), make(alice, 8)];
  await world.commit(alice, [id, other], () => (alice.space.get(id, Item).value = 5));
  await world.bring(bob, id, other);
  world.engines.cut('alice');
  await world.engines.elapse(6000);
  await world.own(bob, id);
  await world.commit(bob, [id], () => (bob.space.get(id, Item).value = 6));
  // Alice believes that it is hers still.
  const before = alice.space.get(id, Item);
  alice.space.relaxed(() => {
    alice.space.get(other, Item).value = 9;
    alice.space.delete(id);
  });
  await told(world, alice, id);
  const committed = alice.replicated(alice.space.kernel.log.end, [id, other], alice.clock.now() + 20_000);
  world.engines.heal('alice');
  await world.fails('Fenced', committed);
  await world.bring(alice, id);
  assert.deepEqual([before.value, valueOf(alice, other), valueOf(bob, id)], [6, 8, 6]);
  // And can be deleted again, and goes from a cache and comes, as if nothing had been.
  assert.ok(alice.cache.evict(alice.table.byMember.get(id) ?? assert.fail()));
  await world.bring(alice, id);
  assert.equal(before.value, 6);
  await world.commit(bob, [id], () => void bob.space.delete(id));
  world.die('bob', { mode: 'lose', seed: 1 });
  await world.engines.until(() => !alice.space.has(id));
  bob = await world.node('bob');
  await world.engines.until(() => !bob.space.has(id));
  for (const node of [alice, bob]) await told(world, node, id);
});

test('G14 what was deleted and not published when its node died is deleted when it is there again', async (t) => {
  const world = new World(t);
  let alice = await world.node('alice');
  const bob = await world.node('bob');
  const [id, fresh] = [make(alice), make(alice, 2)];
  await world.commit(alice, [id], () => (alice.space.get(id, Item).value = 3));
  await world.bring(bob, id, fresh);
  world.engines.cut('alice');
  alice.space.relaxed(() => {
    alice.space.delete(id);
    alice.space.delete(fresh);
  });
  world.die('alice');
  await world.engines.elapse(6000);
  assert.deepEqual([valueOf(bob, id), valueOf(bob, fresh)], [3, 2]);
  world.engines.heal('alice');
  alice = await world.node('alice');
  await world.engines.until(() => !bob.space.has(id) && !bob.space.has(fresh));
  for (const each of [id, fresh]) await told(world, bob, each);
  await world.engines.elapse(1000);
  assert.deepEqual([await kept(world, alice, id), alice.table.byId.size], [['end'], 0]);
});

test('G14 parts go with their object, and one by one, on all nodes; an object that is tied to another goes with it', async (t) => {
  const limits = { ...POOL_LIMITS };
  Object.assign(POOL_LIMITS, { home: 16 << 10, member: 64 << 10 });
  t.after(() => Object.assign(POOL_LIMITS, limits));
  const world = new World(t);
  const [alice, bob] = [await world.node('alice'), await world.node('bob')];
  const map = alice.space.relaxed(() => {
    const made = alice.space.create(Numbers);
    for (let i = 0; i < 20_000; i++) made.set(i, i);
    return made;
  });
  const { id } = alice.space.object(map);
  await world.bring(bob, id);
  const members = [...(bob.table.byId.get(id)?.members ?? [])];
  assert.ok(members.length > 3);
  assert.equal(bob.space.get(id, Numbers).size, 20_000);
  await world.own(bob, id);
  bob.space.relaxed(() => bob.space.get(id, Numbers).clear());
  await world.engines.until(() => members.some((each) => !alice.space.has(each)));
  const part = members.find((each) => !alice.space.has(each)) ?? assert.fail();
  for (const node of [alice, bob]) await told(world, node, part);
  await world.commit(bob, [id], () => void bob.space.delete(id));
  await world.engines.until(() => members.every((each) => !alice.space.has(each)));
  await told(world, alice, id);

  // Tied to what Bob owns, and deleted by Alice: it stays, everywhere, until that goes.
  const [tied, keeper] = [make(alice), make(bob)];
  await world.bring(alice, keeper);
  alice.space.relaxed(() => alice.space.tie(tied, keeper));
  await world.bring(bob, tied);
  alice.space.relaxed(() => assert.equal(alice.space.delete(tied), 'kept'));
  // It goes to Bob: he is to see to it now.
  await world.own(bob, tied);
  await world.engines.elapse(100);
  assert.deepEqual([valueOf(alice, tied), valueOf(bob, tied)], [1, 1]);
  await world.own(alice, keeper);
  await world.commit(alice, [keeper], () => void alice.space.delete(keeper));
  await world.engines.until(() => !alice.space.has(tied) && !bob.space.has(tied));
  for (const node of [alice, bob]) await told(world, node, tied);
});

test('G14 a deletion that meets a search, a fetch, a move or a full cache ends in ObjectDeleted, whatever came first', async (t) => {
  const world = new World(t, { seed: 5 });
  const [alice, bob, carol] = [await world.node('alice'), await world.node('bob', { cacheBytes: 0 }), await world.node('carol')];
  const ends = new Map<string, number>();
  for (let i = 0; i < 12; i++) {
    const id = make(alice, i);
    await world.commit(alice, [id], () => (alice.space.get(id, Item).value = i));
    if (i % 2 === 0) await world.bring(carol, id);
    const deadline = alice.clock.now() + 8000;
    const asked = [bob.bring(id, deadline), i % 3 === 0 ? carol.own(id, deadline) : carol.freshen(id, deadline)];
    const settled = Promise.allSettled(asked);
    // At another moment each time.
    for (let steps = i * 4; steps > 0; steps--) await world.engines.step();
    if (alice.table.byMember.get(id)?.role === 'owner' && alice.space.has(id))
      alice.space.relaxed(() => {
        try {
          alice.space.delete(id);
        } catch (error) {
          if (!isTwzError(error, 'NotJoined')) throw error;
        }
      });
    for (const result of await world.run(settled)) {
      const end = result.status === 'fulfilled' ? 'done' : isTwzError(result.reason) ? result.reason.name : String(result.reason);
      ends.set(end, (ends.get(end) ?? 0) + 1);
    }
    await world.engines.elapse(50);
    if (carol.table.byMember.get(id)?.role === 'owner') await world.commit(carol, [id], () => void carol.space.delete(id));
    await world.engines.until(() => [alice, bob, carol].every(({ space }) => !space.has(id)));
    for (const node of [alice, bob, carol]) await told(world, node, id);
  }
  assert.deepEqual([...ends.keys()].sort(), ['ObjectDeleted', 'done']);
  assert.deepEqual([bob.cache.bytes, carol.cache.bytes, bob.table.byId.size, carol.table.byId.size], [0, 0, 0, 0]);
  // Pinned, and gone.
  const id = make(alice);
  await world.run(bob.pin(id, bob.clock.now() + 5000));
  await world.commit(alice, [id], () => void alice.space.delete(id));
  await world.engines.until(() => !bob.space.has(id));
  assert.deepEqual([bob.cache.pinned, bob.cache.bytes], [0, 0]);
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
  return world.run(node.marking.reclaim(node.clock.now() + 10_000)).then(({ deleted }) => deleted);
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
  const ids = [0, 1].map(
    (value) => alice.space.object(alice.space.relaxed(() => alice.space.create(Item, { value }, { counted: true }))).id,
  );
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
  await world.fails('ReferencesUnknown', alice.marking.reclaim(alice.clock.now() + 5000));
  assert.throws(
    () => {
      const { space } = carol;
      space.reclaim();
    },
    (error: unknown) => isTwzError(error, 'NotJoined'),
  );
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
  const world = new World(t, { seed: 2, weather: { latency: [0.1, 10] } });
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
  assert.deepEqual(
    counts,
    counts.map(() => 0),
    'seed 2',
  );
  drop(at);
  await world.engines.elapse(100);
  assert.deepEqual(await reclaimed(world, alice), [id]);
});

// --- engines ----------------------------------------------------------------------------------------------------------------------------

const MS = 10_000;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

onEngines(
  'G14 what the engine keeps of a log and of chunks goes: all but the last record, that one when its time is over',
  async (engines) => {
    const a = await engines.connect('a');
    const append = async (log: string, text: string, expected: number, ttl?: number): Promise<number> => {
      const done = await a.append({ log, bytes: bytes(text), expected, ...(ttl === undefined ? {} : { ttl }) }, MS);
      return done.kind === 'done' ? done.seq : assert.fail(done.kind);
    };
    const texts = async (log: string): Promise<string> =>
      (await a.read(log, 0, MS)).map((each) => new TextDecoder().decode(each.bytes)).join();
    let last = 0;
    for (const text of ['1', '2', '3']) last = await append('log.x', text, last);
    await append('log.y', 'y', 0);
    await a.trim('log.x', MS);
    assert.deepEqual([await texts('log.x'), await texts('log.y'), (await a.last('log.x', MS))?.seq], ['3', 'y', last]);
    await a.trim('log.x', MS);
    await a.trim('log.none', MS);
    // Behind what is left it goes on, and nobody comes before it.
    assert.equal((await a.append({ log: 'log.x', bytes: bytes('no'), expected: 0 }, MS)).kind, 'refused');
    for (const name of ['x.1', 'x.2', 'xy.1']) await a.putChunk(name, bytes(name), MS);
    await a.dropChunks('x', MS);
    await a.dropChunks('none', MS);
    assert.deepEqual(await Promise.all(['x.1', 'x.2', 'xy.1'].map(async (name) => (await a.getChunk(name, MS))?.length)), [
      undefined,
      undefined,
      4,
    ]);
    await a.putChunk('x.1', bytes('again'), MS);
    assert.equal((await a.getChunk('x.1', MS))?.length, 5);
    // One alone, one with others, one in the place of all before it.
    const ends = [
      { log: 'log.x', bytes: bytes('end'), expected: last, ttl: 1000 },
      { log: 'log.z', bytes: bytes('z'), expected: 0 },
    ];
    assert.equal((await a.appendAll(ends, MS)).kind, 'done');
    await append('log.v', 'end', 0, 1000);
    const once = await append('log.w', 'w', 0);
    assert.equal((await a.replace({ log: 'log.w', bytes: bytes('end'), expected: once, ttl: 1000 }, MS)).kind, 'done');
    assert.deepEqual([await texts('log.x'), await texts('log.w')], ['3,end', 'end']);
    let left = '';
    do left = (await Promise.all(['log.x', 'log.v', 'log.w', 'log.z'].map(texts))).join(';');
    while (left !== '3;;;z');
  },
);

test(
  'G14 programs of two nodes on a real server: deleted where it is a copy, reclaimed when nobody refers to it',
  { skip: noServer },
  async (t) => {
    const server = await serverFor(t);
    const directory = mkdtempSync(pathOf(tmpdir(), 'twz-deletion-'));
    const nodes: Cluster[] = [];
    t.after(async () => {
      await Promise.all(nodes.map((cluster) => cluster.leave()));
      for (const { space } of nodes) space.close();
      rmSync(directory, { recursive: true });
    });
    const joined = ['alice', 'bob'].map((name) => join(open(pathOf(directory, name)), { servers: [server.url], name, runs: false }));
    nodes.push(...(await Promise.all(joined)));
    const [alice, bob] = nodes as [Cluster, Cluster];
    const engine = await connectFor(t, { servers: [server.url], space: 'twizzler', name: 'test' });
    const fails = (body: () => unknown): void =>
      assert.throws(body, (error: unknown) => isTwzError(error, 'ObjectDeleted') || assert.fail(String(error)));
    const gone = async (id: ObjectId): Promise<void> => {
      // Its log is its end, and its chunks are gone.
      const left = async (): Promise<boolean> =>
        (await engine.read(`log.${id}`, 0, MS)).length !== 1 ||
        (await Promise.all(chunks.map((name) => engine.getChunk(`${id}.0.${name}`, MS)))).some((chunk) => chunk !== undefined);
      for (const end = Date.now() + MS; await left();) assert.ok(Date.now() < end, `the engine has something of ${id}`);
    };
    const chunks: string[] = [];

    const item = alice.space.relaxed(() => alice.space.create(Item, { value: 1 }));
    const { id } = alice.space.object(item);
    await alice.commit(() => (item.value = 2));
    const [base] = await engine.read(`log.${id}`, 0, MS);
    const { host } = alice.space.kernel;
    for (const { hash } of JSON.parse(new TextDecoder().decode(decodeRecord(host, `log.${id}`, base?.bytes ?? bytes('')).body)))
      chunks.push(hash);
    assert.ok((await engine.getChunk(`${id}.0.${chunks[0]}`, MS)) !== undefined);
    const seen = bob.space.get(id, Item);
    assert.equal(seen.value, 2);
    await bob.commit(() => void bob.space.delete(id));
    await until(() => {
      for (const { space } of nodes) space.refresh();
      return nodes.every(({ space }) => !space.has(id));
    });
    for (const body of [() => seen.value, () => item.value]) fails(body);
    await assert.rejects(alice.bring(id), (error: unknown) => isTwzError(error, 'ObjectDeleted'));
    await assert.rejects(bob.paged(id), (error: unknown) => isTwzError(error, 'ObjectDeleted'));
    await gone(id);

    // What another node refers to stays.
    const keptId = alice.space.object(alice.space.relaxed(() => alice.space.create(Item, { value: 3 }, { counted: true }))).id;
    const held = bob.space.relaxed(() => bob.space.create(Holder));
    await bob.commit(() => (held.item = bob.space.get(keptId, Item)));
    assert.deepEqual(alice.space.reclaim().deleted, []);
    assert.deepEqual((await bob.reclaim()).deleted, []);
    await bob.commit(() => (held.item = null));
    assert.deepEqual((await alice.reclaim()).deleted, [keptId]);
    await until(() => {
      bob.space.refresh();
      return !bob.space.has(keptId);
    });
    fails(() => bob.space.get(keptId, Item));
    await gone(keptId);
  },
);

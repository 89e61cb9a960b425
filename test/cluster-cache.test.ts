/** G2, G6: what came from other nodes takes bounded room; what goes comes again when it is touched, and nothing goes that could not. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as pathOf } from 'node:path';
import { test } from 'node:test';
import {
  bytes,
  isTwzError,
  open,
  orderedMap,
  parseId,
  ref,
  struct,
  u32,
  type ErrorName,
  type Infer,
  type ObjectId,
  type Space,
} from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { join, type Cluster, type JoinOptions } from '../src/services/cluster/cluster.ts';
import type { Family } from '../src/services/cluster/families.ts';
import type { ClusterNode } from '../src/services/cluster/node.ts';
import { startServer } from '../src/services/cluster/server.ts';
import { foundServer, noServer, until } from './engines.ts';
import { World } from './worlds.ts';

const Block = struct('Block', {
  value: u32,
  data: bytes,
  get next() {
    return ref(Block);
  },
});
type Block = Infer<typeof Block>;
const Numbers = orderedMap(u32, u32);

/** Each block takes 24 KiB; there is room for four. */
const DATA = 12 << 10;
const BLOCK = 24 << 10;
const CACHE = 4 * BLOCK;
const NOWHERE = parseId('0123456789abcdef0123456789abcdef');

// --- nodes of a simulated engine --------------------------------------------------------------------------------------------------------

function make({ space }: ClusterNode | { readonly space: Space }, count: number, size = DATA): ObjectId[] {
  return Array.from({ length: count }, (_, i) => {
    const block = space.relaxed(() => space.create(Block, { value: i, data: new Uint8Array(size).fill(i + 1) }));
    return space.object(block).id;
  });
}

function valueOf({ space }: ClusterNode, id: ObjectId, size = DATA): number {
  const { value, data } = space.get(id, Block);
  assert.equal(data.length, size);
  assert.ok(data.every((byte) => byte === data[0]));
  return value;
}

function familyOf({ table }: ClusterNode, id: ObjectId): Family {
  const family = table.byMember.get(id);
  assert.ok(family, `no family of ${id}`);
  return family;
}

function here(node: ClusterNode, ids: readonly ObjectId[]): boolean[] {
  return ids.map((id) => node.space.has(id));
}

test('G2 copies take so many bytes at most: what was not used for the longest time goes, and comes again as it is by then', async (t) => {
  const world = new World(t);
  const alice = await world.node('alice');
  const bob = await world.node('bob', { cacheBytes: CACHE });
  const ids = make(alice, 10) as [ObjectId, ObjectId, ...ObjectId[]];
  const [first, second] = ids;
  await world.bring(bob, ...ids);
  await world.bring(bob, first);
  assert.deepEqual(
    here(bob, ids),
    ids.map(() => true),
  );
  assert.equal(bob.cache.bytes, 10 * BLOCK, 'who asked has a moment to look at it');
  await world.engines.elapse(1000);
  assert.equal(bob.cache.bytes, CACHE);
  assert.deepEqual([bob.cache.evicted, bob.cache.evictedBytes], [6, 6 * BLOCK]);
  assert.deepEqual(here(bob, ids), [true, false, false, false, false, false, false, true, true, true]);
  assert.equal(bob.table.byId.size, 4);

  // It goes on elsewhere meanwhile, and nobody tells who does not have it; what stayed is followed.
  const fetched = bob.fetching.fetched;
  for (const id of ids) alice.space.relaxed(() => (alice.space.get(id, Block).value += 100));
  await world.engines.elapse(100);
  assert.deepEqual(
    ids.filter((id) => bob.space.has(id)).map((id) => valueOf(bob, id)),
    [100, 107, 108, 109],
  );
  assert.throws(
    () => bob.space.get(second, Block),
    (error: unknown) => isTwzError(error, 'ObjectDeleted') || isTwzError(error, 'ObjectMissing'),
  );
  await world.bring(bob, second);
  assert.equal(valueOf(bob, second), 101);
  assert.equal(bob.fetching.fetched, fetched + 1);
  // And is followed from there on.
  alice.space.relaxed(() => (alice.space.get(second, Block).value = 7));
  await world.engines.until(() => valueOf(bob, second) === 7);
  // It went to a third node, and then from here: where it is is known.
  const carol = await world.node('carol', { cacheBytes: 0 });
  await world.own(carol, second);
  await world.engines.elapse(100);
  await world.commit(carol, [second], () => (carol.space.get(second, Block).value = 8));
  await world.engines.until(() => familyOf(bob, second).based);
  assert.ok(bob.cache.evict(familyOf(bob, second)));
  await world.bring(bob, second);
  assert.deepEqual([bob.fetching.redirects, valueOf(bob, second)], [0, 8]);
  // Where there is no room at all, what just came stays for a moment all the same.
  const [third, fourth] = [ids[2] as ObjectId, ids[3] as ObjectId];
  await world.bring(carol, third);
  await world.engines.elapse(300);
  await world.bring(carol, fourth);
  await world.engines.elapse(300);
  assert.deepEqual(here(carol, [third, fourth]), [false, true]);
  await world.engines.elapse(600);
  assert.deepEqual([carol.space.has(fourth), carol.cache.bytes], [false, 0]);
});

test('G2 what is owned here is no part of the cache; what is given away is', async (t) => {
  const world = new World(t);
  const alice = await world.node('alice');
  const bob = await world.node('bob', { cacheBytes: CACHE });
  const ids = make(alice, 6);
  for (const id of ids) await world.own(bob, id);
  await world.engines.elapse(3000);
  assert.equal(bob.cache.bytes, 0);
  assert.deepEqual(
    here(bob, ids),
    ids.map(() => true),
  );
  // Made here, and nobody else's: it takes no part either.
  const own = make(bob, 6);
  for (const id of own) await world.own(alice, id);
  assert.ok(bob.cache.bytes >= CACHE);
  await world.engines.elapse(3000);
  assert.equal(bob.cache.bytes, CACHE);
  for (const id of own) await world.own(bob, id);
  assert.equal(bob.cache.bytes, 0);
  for (const [i, id] of own.entries()) assert.equal(valueOf(bob, id), i);
});

test('G2 what is pinned stays until it is unpinned, also when the node began anew', async (t) => {
  const world = new World(t);
  const alice = await world.node('alice');
  let bob = await world.node('bob', { cacheBytes: CACHE });
  const [kept, ...others] = make(alice, 8) as [ObjectId, ...ObjectId[]];
  await world.run(bob.pin(kept, bob.clock.now() + 1000));
  await world.bring(bob, ...others);
  await world.engines.elapse(3000);
  assert.ok(bob.space.has(kept));
  assert.deepEqual([bob.cache.pinned, bob.cache.bytes], [1, CACHE]);
  // All of it as it was, with what is here and what is not.
  bob.space.checkpoint();
  await world.stop('bob');
  bob = await world.node('bob', { cacheBytes: CACHE });
  assert.deepEqual([bob.cache.pinned, bob.cache.bytes], [1, CACHE]);
  await world.bring(bob, ...others);
  await world.engines.elapse(3000);
  assert.ok(bob.space.has(kept));
  assert.ok(bob.cache.evicted > 0);
  bob.cache.pin(kept, false);
  await world.bring(bob, ...others);
  await world.engines.elapse(3000);
  assert.deepEqual([bob.space.has(kept), bob.cache.pinned], [false, 0]);
  await world.bring(bob, kept);
  assert.equal(valueOf(bob, kept), 0);
  await assert.rejects(world.run(bob.pin(NOWHERE, bob.clock.now() + 1000)), (error: unknown) => isTwzError(error, 'ObjectMissing'));
});

test('G2 what only this node may have stays: its owner is gone, or nobody has it for good', async (t) => {
  const world = new World(t);
  const [alice, bob, carol] = [await world.node('alice'), await world.node('bob'), await world.node('carol')];
  const [made, moved, safe, there] = make(alice, 4) as [ObjectId, ObjectId, ObjectId, ObjectId];
  await world.commit(alice, [safe], () => (alice.space.get(safe, Block).value = 30));
  await world.bring(bob, made, safe, there);
  assert.equal(bob.cache.evict(familyOf(bob, there)), true, 'who made it has it, and is there');
  // Carol owns it, and has stored to it, and nobody has asked for that to outlive her.
  await world.own(carol, moved);
  carol.space.relaxed(() => (carol.space.get(moved, Block).value = 20));
  await world.engines.elapse(100);
  assert.deepEqual([familyOf(alice, moved).epoch, familyOf(alice, moved).based], [1, false]);
  assert.equal(alice.cache.evict(familyOf(alice, moved)), false, 'who had it before her has it, too');

  // Dave has no room at all: he asks Carol to have it kept, and then it goes, and outlives her.
  const dave = await world.node('dave', { cacheBytes: 0 });
  await world.bring(dave, moved);
  await world.engines.until(() => !dave.space.has(moved));
  world.die('carol');
  world.die('alice');
  await world.engines.elapse(10_000);
  assert.equal(bob.cache.evict(familyOf(bob, made)), false, 'who made it is gone');
  assert.equal(valueOf(bob, made), 0);
  assert.equal(bob.cache.evict(familyOf(bob, safe)), true, 'the engine has it');
  await world.bring(bob, safe);
  assert.equal(valueOf(bob, safe), 30);
  await world.bring(dave, moved);
  assert.equal(valueOf(dave, moved), 20);
});

test('G2 what is coming, going to another owner, or not what its log says stays', async (t) => {
  const world = new World(t);
  const [alice, bob] = [await world.node('alice'), await world.node('bob')];
  const [id, other] = make(alice, 2) as [ObjectId, ObjectId];
  await world.bring(bob, id, other);
  const family = familyOf(bob, id);
  const owned = bob.own(id, bob.clock.now() + 5000);
  while (!bob.ownership.isMoving(family)) await world.engines.step();
  assert.equal(bob.cache.evict(family), false, 'it becomes its own');
  await world.run(owned);
  assert.equal(bob.cache.evict(family), false, 'it is its own');
  await world.own(alice, id);
  await world.commit(alice, [id], () => (alice.space.get(id, Block).value = 5));
  await world.engines.until(() => family.based);
  bob.replicas.hold(id, family.group);
  assert.equal(bob.cache.evict(family), false, 'it comes anew');
  bob.replicas.letGo(id);
  const reloaded = bob.fetching.reload(family);
  assert.equal(bob.cache.evict(family), false, 'it is to come anew');
  await world.run(reloaded);
  family.astray = true;
  assert.equal(bob.cache.evict(family), false, 'it went astray');
  family.astray = false;
  bob.cache.pin(id, true);
  assert.equal(bob.cache.evict(family), false, 'it is pinned');
  bob.cache.pin(id, false);
  // A raw view in the same process.
  bob.space.kernel.open(id).pins++;
  assert.equal(bob.cache.evict(family), false, 'somebody looks at it');
  bob.space.kernel.open(id).pins--;
  assert.equal(bob.cache.evict(family), true);
  assert.equal(bob.cache.evict(family), false, 'it is not here');
  // Whoever knew it before hears that it is gone, and is not kept waiting.
  await world.run(bob.replicas.reach(family, 1e6, bob.clock.now() + 1000));
  await world.run(bob.replicas.reachGroup(family, 1e6, bob.clock.now() + 1000));
  await world.run(bob.fetching.reload(family));
  assert.equal(bob.space.has(id), false);
  await world.own(bob, id);
  assert.deepEqual([familyOf(bob, id).role, valueOf(bob, id)], ['owner', 5]);
  assert.notEqual(familyOf(bob, id), family);
});

test('G2, G10 what is written together is seen together, whichever part of it went and comes again', async (t) => {
  const world = new World(t);
  const [alice, bob] = [await world.node('alice'), await world.node('bob')];
  const ids = make(alice, 3, 16);
  const write = (): void =>
    alice.space.relaxed(() => {
      for (const id of ids) alice.space.get(id, Block).value = looks;
    });
  let looks = 1;
  write();
  const seen = new Set<number>();
  const look = (): void => {
    const values = ids.filter((id) => bob.space.has(id)).map((id) => bob.space.get(id, Block).value);
    assert.equal(new Set(values).size, Math.min(1, values.length), values.join(', '));
    seen.add(values.length);
    looks++;
  };
  for (let round = 0; round < 4; round++) {
    const id = ids[round % 3] as ObjectId;
    const brought = Promise.all(ids.map((each) => bob.bring(each, bob.clock.now() + 5000)));
    let over = false;
    void brought.then(() => (over = true));
    while (!over) {
      if (looks % 5 === 0) write();
      await world.engines.step();
      look();
    }
    write();
    for (let steps = 0; steps < round; steps++) {
      await world.engines.step();
      look();
    }
    assert.equal(bob.cache.evict(familyOf(bob, id)), true);
    look();
    write();
  }
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    [0, 1, 2, 3],
  );
  await world.bring(bob, ...ids);
  await world.engines.elapse(100);
  for (const id of ids) assert.equal(valueOf(bob, id, 16), valueOf(alice, id, 16));
});

test('G2 an object whose collection goes on in others goes as one, and comes as one, through checkpoints and beginning anew', async (t) => {
  const before = { ...POOL_LIMITS };
  t.after(() => Object.assign(POOL_LIMITS, before));
  Object.assign(POOL_LIMITS, { home: 16 << 10, member: 64 << 10 });
  const world = new World(t);
  const alice = await world.node('alice');
  let bob = await world.node('bob');
  const numbers = alice.space.relaxed(() => alice.space.create(Numbers));
  const { id } = alice.space.object(numbers);
  const add = (from: number): void =>
    alice.space.relaxed(() => {
      for (let i = from; i < from + 3000; i++) numbers.set(i, 2 * i);
    });
  add(0);
  // Large ones do not go through the log where they are made first.
  const [large] = make(alice, 1, 300 << 10) as [ObjectId];
  for (let round = 0; round < 4; round++) {
    await world.bring(bob, id, large);
    const family = familyOf(bob, id);
    const members = [...family.members];
    assert.ok(members.length > 2);
    assert.equal(
      bob.cache.bytes,
      [...members, large].reduce((sum, each) => sum + bob.space.object(each).size, 0),
    );
    assert.equal(bob.space.get(id, Numbers).size, 3000 * (round + 1));
    assert.equal(bob.space.get(id, Numbers).get(3000 * (round + 1) - 1), 2 * (3000 * (round + 1) - 1));
    assert.equal(valueOf(bob, large, 300 << 10), round);
    // What was published since it came makes it larger.
    add(3000 * (round + 1));
    await world.engines.elapse(100);
    assert.equal(
      bob.cache.bytes,
      [...family.members, large].reduce((sum, each) => sum + bob.space.object(each).size, 0),
    );
    if (round === 1) bob.space.checkpoint();
    assert.ok(bob.cache.evict(family) && bob.cache.evict(familyOf(bob, large)));
    assert.ok(!here(bob, [...members, ...family.members, large]).includes(true));
    assert.equal(bob.cache.bytes, 0);
    alice.space.relaxed(() => alice.space.get(large, Block).value++);
    if (round === 2) bob.space.checkpoint();
    if (round < 1) continue;
    await world.stop('bob');
    bob = await world.node('bob');
    assert.deepEqual([...bob.table.byId.keys()], []);
    assert.ok(!here(bob, [...members, ...family.members, large]).includes(true));
  }
});

test('G6 what came along with others takes room as well, and goes first where nobody used it', async (t) => {
  const world = new World(t);
  const alice = await world.node('alice');
  const bob = await world.node('bob', { cacheBytes: CACHE });
  const ids = make(alice, 6);
  alice.space.relaxed(() => {
    for (const [i, id] of ids.entries()) alice.space.get(id, Block).next = i < 5 ? alice.space.get(ids[i + 1] as ObjectId, Block) : null;
  });
  const [first] = ids as [ObjectId];
  await world.run(bob.fetching.bring(first, bob.clock.now() + 1000, { more: 10, bytes: 1 << 20 }));
  assert.deepEqual(
    here(bob, ids),
    ids.map(() => true),
  );
  assert.equal(bob.cache.bytes, 6 * BLOCK);
  bob.cache.use([first, ids[1] as ObjectId]);
  await world.engines.elapse(1000);
  assert.deepEqual(here(bob, ids), [true, true, false, false, true, true]);
});

test('G2 what a transaction has asked for stays until it ends, however long it takes', async (t) => {
  const world = new World(t);
  const alice = await world.node('alice');
  const bob = await world.node('bob', { cacheBytes: CACHE });
  const ids = make(alice, 12);
  const began = bob.clock.now();
  for (const id of ids) {
    bob.cache.keep(bob.clock.now() - began);
    await world.bring(bob, id);
    await world.engines.elapse(400);
  }
  assert.deepEqual(
    here(bob, ids),
    ids.map(() => true),
  );
  await world.engines.elapse(15_000);
  assert.equal(bob.cache.bytes, CACHE);
});

// --- programs, agents and a real server -------------------------------------------------------------------------------------------------

interface Member {
  readonly space: Space;
  readonly cluster: Cluster;
}

async function fails(name: ErrorName, body: () => unknown): Promise<void> {
  await assert.rejects(
    async () => body(),
    (error: unknown) => isTwzError(error, name) || assert.fail(`expected ${name}: ${String(error)}`),
  );
}

test('G2 a program holds on to what comes and goes: its accessors, its references, its transactions', { skip: noServer }, async (t) => {
  assert.ok(foundServer);
  const directory = mkdtempSync(pathOf(tmpdir(), 'twz-cache-'));
  const server = await startServer({ binary: foundServer.path });
  const members: Member[] = [];
  t.after(async () => {
    for (const { space, cluster } of members) {
      await cluster.leave();
      space.close();
    }
    await server.stop();
    rmSync(directory, { recursive: true });
  });
  const member = async (name: string, options: Partial<JoinOptions> = {}): Promise<Member> => {
    const space = open(pathOf(directory, name));
    const cluster = await join(space, { servers: [server.url], name, lease: 1000, patience: 20_000, runs: false, ...options });
    members.push({ space, cluster });
    return { space, cluster };
  };
  const alice = await member('alice');
  const bob = await member('bob', { cacheBytes: CACHE });
  const stat = async (name: string): Promise<number> => Number((await bob.cluster.stat())[name]);
  /** Until no more than the cache may have is here; then it is known to this thread, too. */
  const shrunk = async (): Promise<void> => {
    let bytes = Infinity;
    const look = async (): Promise<void> => void (bytes = await stat('cachedBytes'));
    let looks = 0;
    await until(() => {
      if (looks++ % 16 === 0) void look();
      return bytes <= CACHE;
    });
    bob.space.refresh();
  };

  const ids = make(alice, 10);
  const held: Block[] = ids.map((id) => bob.space.get(id, Block));
  for (const [i, block] of held.entries()) assert.equal(block.value, i);
  await shrunk();
  assert.ok((await stat('evicted')) >= 6);
  const gone = held.filter((_, i) => !bob.space.has(ids[i] as ObjectId));
  assert.equal(gone.length, 6);
  const [first, second, third] = gone as [Block, Block, Block, ...Block[]];
  const at = held.indexOf(first);
  // It goes on elsewhere meanwhile; the accessor that was held all the time leads to it.
  const theirs = alice.space.get(ids[at] as ObjectId, Block);
  await alice.cluster.commit(() => (theirs.value = 1000));
  assert.equal(first.value, 1000);
  // So does a reference that is made to it now.
  const mine = bob.space.relaxed(() => bob.space.create(Block, { value: 1, data: new Uint8Array(8), next: second }));
  assert.equal(mine.next?.value, held.indexOf(second));
  // A transaction needs more than there is room for.
  assert.equal(
    bob.space.relaxed(() => held.reduce((sum, { value }) => sum + value, 0)),
    1045 - at,
  );
  await shrunk();
  // What is pinned stays, and what is stored to comes first, and stays: it is owned here.
  await bob.cluster.pin(third);
  assert.equal(await stat('pinned'), 1);
  await bob.cluster.commit(() => {
    for (const block of held) block.value++;
  });
  // The table of runs is its own as well.
  assert.deepEqual([await stat('cachedBytes'), await stat('replicas'), await stat('owned')], [0, 0, 11]);
  await until(() => {
    alice.space.refresh();
    return theirs.value === 1001;
  });
  await bob.cluster.unpin(third);
  assert.equal(await stat('pinned'), 0);
  // What this thread uses is known to who decides what goes.
  const [again, once, ...more] = make(alice, 5) as [ObjectId, ObjectId, ...ObjectId[]];
  for (const id of [again, once, ...more.slice(0, 2), again, ...more.slice(2)]) bob.space.get(id, Block);
  await shrunk();
  assert.deepEqual(
    [again, once, ...more].map((id) => bob.space.has(id)),
    [true, false, true, true, true],
  );
  // What went was not deleted; what is deleted then is.
  const others = make(alice, 6);
  for (const id of others) await bob.cluster.bring(id);
  await shrunk();
  const last = others.filter((id) => !bob.space.has(id)).map((id) => bob.space.get(id, Block))[0];
  assert.ok(last);
  bob.space.relaxed(() => bob.space.delete(last));
  await fails('ObjectDeleted', () => last.value);
  await fails('ObjectMissing', () => bob.cluster.pin(NOWHERE, 500));
  const carol = open(pathOf(directory, 'carol'));
  await fails('InvalidArgument', () => join(carol, { servers: [server.url], cacheBytes: -1 }));
  carol.close();
});

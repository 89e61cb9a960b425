/** T11: schema evolution, ended at any point: an object is as it was or migrated, and what was begun goes on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { migration, objectOf, open, ref, struct, text, u32, type Infer, type ObjectId, type Space } from '../src/index.ts';
import { blocksInUse, problems } from './evolved.ts';

test('T11: the process dies, or the power fails, at every point of migrating all: each object is before or after, and it goes on', (t) => {
  const V1 = struct('Node', {
    name: text,
    get next() {
      return ref(V1);
    },
  });
  const V2 = struct(
    'Node',
    {
      size: u32,
      name: text,
      upper: text,
      get next() {
        return ref(V2);
      },
    },
    { version: 2 },
  );
  migration(V1, V2, {
    migrate(old, fresh) {
      fresh.upper = old.name.toUpperCase();
      fresh.size = old.name.length;
    },
  });
  const COUNT = 4;
  const build = (space: Space): ObjectId[] =>
    space.relaxed(() => {
      const made: Infer<typeof V1>[] = [];
      for (let i = 0; i < COUNT; i++) {
        const node = space.create(V1, { name: `node ${i}` });
        node.next = space.make(V1, node, { name: 'x'.repeat(i), next: made[i - 1]?.next ?? null });
        made.push(node);
      }
      return made.map((node) => objectOf(node).id);
    });
  /** What a program with the newer type sees. */
  const look = (space: Space, ids: readonly ObjectId[]): void => {
    for (const [i, id] of ids.entries()) {
      const node = space.get(id, V2);
      assert.deepEqual([node.name, node.upper, node.size], [`node ${i}`, `NODE ${i}`, 6]);
      const inner = node.next;
      assert.deepEqual([inner?.name, inner?.upper, inner?.size], ['x'.repeat(i), 'X'.repeat(i), i]);
      assert.equal(inner?.next?.upper, i === 0 ? undefined : 'X'.repeat(i - 1));
    }
  };
  let crashes = 0;
  let halfway = 0;
  for (const sharedMapping of [true, false]) {
    const host = new SimulatedHost({ windowSize: 1 << 20, sharedMapping, follow: true });
    const space = open('/space', { segmentSize: 65536, host });
    const ids = build(space);
    space.checkpoint();
    const before = ids.map((id) => blocksInUse(space.object(id)));
    const machines: SimulatedHost[] = [];
    host.onPoint = (point) => {
      machines.push(host.kill());
      machines.push(host.crash({ mode: 'lose', seed: point }), host.crash({ mode: 'random', seed: point }));
    };
    space.migrate(V2, { progress: () => machines.push(host.kill(), host.crash({ mode: 'keep' })) });
    space.sync();
    host.onPoint = undefined;
    machines.push(host.kill());
    space.close();
    host.discard();
    for (const machine of machines) {
      let again = open('/space', { segmentSize: 65536, host: machine });
      const old = ids.filter((id) => again.object(id).schema?.types['Node']?.version === 1);
      if (old.length > 0 && old.length < COUNT) halfway++;
      // Whole as they were, or whole as they are.
      for (const id of old) assert.ok(again.get(id, V1).name.startsWith('node'));
      const { migrated, refused } = again.migrate(V2);
      assert.deepEqual([migrated, refused], [old.length, []]);
      look(again, ids);
      again.close();
      again = open('/space', { segmentSize: 65536, host: machine });
      look(again, ids);
      // Two texts more for each name that is not empty, and nothing left over.
      assert.deepEqual(
        ids.map((id) => blocksInUse(again.object(id))),
        before.map((blocks, i) => blocks + (i === 0 ? 1 : 2)),
      );
      again.close();
      assert.deepEqual(
        // Frames behind a gap are what a power failure leaves of writes that nobody was promised.
        problems(machine, '/space').filter(({ name }) => name !== 'LogBroken'),
        [],
      );
      machine.discard();
      crashes++;
    }
  }
  t.diagnostic(`${crashes} crashes, ${halfway} of them halfway, 0 bad`);
  assert.ok(crashes > 50 && halfway > 5, `${crashes} crashes, ${halfway} halfway`);
});

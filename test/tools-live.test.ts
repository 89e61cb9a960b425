/** T18: top and trace: a space is followed by its log while somebody else has it open: every commit is seen once, in order, or told as missed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { objectOf, offsetOf, open, struct, text, u32, type ObjectId, type Space } from '../src/index.ts';
import { ActivityMeter } from '../src/services/activity.ts';
import { LogFollower, type Followed } from '../src/services/follow.ts';
import { Labels } from '../src/services/labels.ts';
import { HOSTS, Ground } from './hosts.ts';
import { amount } from './thorough.ts';
import { Bench, chance, host } from './tools.ts';

const SEED = Number(process.env['TWZ_SEED'] ?? 2611);
const ROUNDS = amount(900, 3000);
const Counter = struct('Counter', { name: text, n: u32 });

for (const name of HOSTS) {
  test(`T18 a follower sees every commit once and in order, across segments, syncs, checkpoints and the death of the program (${name}); seed ${SEED}`, (t) => {
    const ground = new Ground(name, t);
    const next = chance(SEED);
    const options = { segmentSize: 65536, checkpointBytes: 1 << 30 };
    let space = ground.open(options);
    const follower = new LogFollower(ground.host, ground.directory);
    const other = new LogFollower(ground.host, ground.directory);
    const ids: ObjectId[] = [];
    space.relaxed(() => {
      for (let i = 0; i < 5; i++) ids.push(objectOf(space.create(Counter, { name: `counter ${i}` })).id);
    });
    const expected: string[] = [];
    const seen: string[] = [];
    const note = (followed: readonly Followed[]): void => {
      for (const { sections } of followed) {
        for (const { id, version, operation } of sections) if (operation === 'change' && ids.includes(id)) seen.push(`${id} ${version}`);
        const large = sections.filter(({ id, operation }) => operation === 'create' && !ids.includes(id)).length;
        // Whole or not at all.
        assert.ok([0, 3].includes(large) || sections.some(({ id }) => ids.includes(id)), `${large} of 3 objects`);
      }
    };
    let rounds = 0;
    for (; rounds < ROUNDS; rounds++) {
      const what = next(100);
      const id = ids[next(ids.length)] as ObjectId;
      space.relaxed(() => (space.get(id, Counter).n = rounds + 1));
      expected.push(`${id} ${space.object(id).version}`);
      if (what < 20) note(follower.poll(what < 10 ? 200 : Infinity));
      else if (what < 23) space.sync();
      else if (what === 23) {
        note(follower.poll());
        space.checkpoint();
      } else if (what === 24) {
        note(follower.poll());
        space = next(2) === 0 ? ground.afterClose(space, options) : ground.afterDeath(space, options);
      } else if (what === 25 && next(3) === 0) {
        // One transaction over many frames.
        const large = 40_000 + next(30_000);
        space.relaxed(() => {
          for (let i = 1; i <= 3; i++) {
            const made = space.createRaw(large);
            const { handle } = made;
            handle.markRange(made.rootOffset, large);
            handle.u8.fill(i, made.rootOffset, made.rootOffset + large);
          }
        });
      } else if (what === 26) {
        // Nothing of this may be seen.
        assert.throws(() =>
          space.relaxed(() => {
            space.get(id, Counter).n = 0;
            throw new Error('no');
          }),
        );
      }
    }
    note(follower.poll());
    assert.equal(follower.missed, 0);
    assert.deepEqual(seen, expected);
    assert.deepEqual(follower.poll(), []);
    // One that was not looking begins again after the checkpoint, and knows that it has missed something.
    space.checkpoint();
    space.relaxed(() => (space.get(ids[0] as ObjectId, Counter).n = 7));
    const late = other.poll();
    assert.ok(other.missed > 0);
    assert.equal(late.length, 1);
    assert.equal(late[0]?.sections[0]?.id, ids[0]);
  });
}

test('T18 labels follow what is committed: names, renames, new namespaces, types, and the fields that change', () => {
  const bench = new Bench();
  const space = bench.space('s');
  const at = bench.path('s');
  const old = space.relaxed(() => {
    const made = space.create(Counter, { name: 'old' });
    space.names.mkns('/n');
    space.names.set('/n/old', made);
    return objectOf(made).id;
  });
  space.checkpoint();
  const follower = new LogFollower(host, at);
  const labels = new Labels(host, at, follower.space);
  assert.equal(labels.name(old), '/n/old');
  assert.equal(labels.type(old), 'Counter');
  const fresh = space.relaxed(() => {
    const made = space.create(Counter, { name: 'fresh' });
    space.names.mkns('/m');
    space.names.set('/m/fresh', made);
    space.names.rename('/n/old', '/m/older');
    return objectOf(made).id;
  });
  const apply = (): string[] => follower.poll().flatMap(({ sections }) => sections.flatMap((section) => labels.apply(section, true)));
  apply();
  assert.equal(labels.name(fresh), '/m/fresh');
  assert.equal(labels.type(fresh), 'Counter');
  assert.equal(labels.name(old), '/m/older');
  space.relaxed(() => {
    space.get(fresh, Counter).n = 5;
    space.get(old, Counter).name = 'another';
  });
  assert.deepEqual(apply().sort(), ['n = 5', 'name = "another"']);
  space.relaxed(() => {
    space.names.remove('/m/fresh');
    space.delete(fresh);
  });
  apply();
  assert.equal(labels.name(fresh), undefined);
  space.close();
});

test('T18 rates: an even load comes out as itself from the first interval on, and fades when it ends', () => {
  const meter = new ActivityMeter();
  const id = 'ab'.repeat(16) as ObjectId;
  const section = { id, operation: 'change', size: 8192, version: 3, lines: 2, body: new Uint8Array(24) } as const;
  const busy = Array.from({ length: 50 }, (_, i) => ({ lsn: i * 88, bytes: 88, sections: [section] }));
  for (let i = 0; i < 8; i++) {
    const { hottest, transactions, bytes } = meter.interval(busy, 500);
    assert.deepEqual([transactions, bytes], [100, 8800]);
    assert.ok(Math.abs((hottest[0]?.transactions ?? 0) - 100) < 1e-6, `${hottest[0]?.transactions}`);
  }
  const after = meter.interval([], 3000);
  const faded = after.hottest[0]?.transactions ?? 0;
  assert.ok(faded > 30 && faded < 45, `${faded}`);
  assert.equal(meter.interval([], 60_000).objects, 0);
});

/** Someone has the space open while the commands look at it. */
function busy(bench: Bench): { space: Space; ids: ObjectId[] } {
  const space = open(bench.path('s'), { host, segmentSize: 1 << 18 });
  const ids = space.relaxed(() =>
    ['a', 'b'].map((name) => {
      const made = space.create(Counter, { name });
      space.names.set(`/${name}`, made);
      return objectOf(made).id;
    }),
  );
  for (let i = 1; i <= 10; i++) space.relaxed(() => (space.names.get(i % 5 === 0 ? '/b' : '/a', Counter).n = i));
  return { space, ids };
}

test('T18 trace and top as commands, while the space is open elsewhere', () => {
  const bench = new Bench();
  const { space, ids } = busy(bench);
  bench.bad('SpaceBusy', 'check', '-s', 's');
  const text = bench.good('trace', '-s', 's', '--once');
  assert.match(text, /create {2}\/a {2}Counter {2}version 1 {2}name = "a", n = 0\n/);
  assert.match(text, /\d+ {2}\d+ B {2}1 object\n {2}change {2}\/b {2}Counter {2}version 2 {2}n = 5\n/);
  assert.equal(text.match(/^\d/gm)?.length, 11);
  const only = bench
    .good('trace', '-s', 's', '--once', '--json', '/b')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { objects: { id: string; name: string; fields: string[] }[] });
  assert.deepEqual(
    only.map(({ objects }) => objects.map(({ id, name, fields }) => [id, name, ...fields])),
    [[[ids[1], '/b', 'name = "b"', 'n = 0']], [[ids[1], '/b', 'n = 5']], [[ids[1], '/b', 'n = 10']]],
  );
  assert.equal(bench.good('trace', '-s', 's', '--all', '-n', '2', '-q', (ids[0] ?? '').slice(0, 8)).match(/^\d/gm)?.length, 2);
  const now = bench.json('top', '-s', 's', '--once', '-i', '0.05') as { transactions: number; log: { end: number; checkpoint: number } };
  assert.equal(now.transactions, 0);
  assert.equal(now.log.end, space.stat().log.end);
  assert.match(bench.good('top', '-s', 's', '--once', '-i', '0.05'), /^twz top {2}s\ntransactions 0.0\/s .*nothing is being committed\n$/s);
  // Nobody has noticed.
  space.relaxed(() => (space.names.get('/a', Counter).n = 99));
  assert.ok(offsetOf(space.names.get('/a', Counter)) > 0);
  space.close();
  bench.bad('SpaceMissing', 'top', '-s', 'nowhere', '--once');
  bench.bad('SpaceMissing', 'trace', '-s', 'nowhere', '--once');
  assert.equal(bench.run(['top', '-s', 's', '-i', '0']).code, 2);
  assert.equal(bench.run(['trace', '-s', 's', 'people']).code, 2);
});

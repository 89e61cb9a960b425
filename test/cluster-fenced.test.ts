/** G9, G11, G12, G14: what goes with a commit that does not count, and what does not; in simulated worlds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { isTwzError, open, struct, u32, vec, type Infer, type ObjectId } from '../src/index.ts';
import { isSystem } from '../src/kernel/lifetime.ts';
import { applySection, sectionOf } from '../src/kernel/sections.ts';
import { run } from '../src/kernel/transaction.ts';
import { Job } from '../src/services/cluster/bodies.ts';
import { AgentContact } from '../src/services/cluster/contact.ts';
import type { LogRecord } from '../src/services/cluster/engine.ts';
import { Here } from '../src/services/cluster/here.ts';
import type { ClusterNode } from '../src/services/cluster/node.ts';
import { decodeRecord } from '../src/services/cluster/record.ts';
import { Runner, sourceOf } from '../src/services/cluster/runner.ts';
import { decodeValues, encodeValues } from '../src/services/cluster/values.ts';
import { World } from './worlds.ts';

const Cell = struct('Cell', { value: u32 });

function make({ space }: ClusterNode, value: number): ObjectId {
  return space.relaxed(() => space.object(space.create(Cell, { value })).id);
}

test('G12 what is known of a run goes with what it stored, where another node came before that: it can be asked for again', async (t) => {
  const world = new World(t);
  const [alice, bob] = [await world.node('alice'), await world.node('bob')];
  const id = make(alice, 1);
  const runner = new Runner(alice.space);
  // As an agent does when it has joined.
  await world.commit(alice, [id, runner.activations.id], () => undefined);
  await world.bring(bob, id);
  const add = (cell: Infer<typeof Cell>): number => (cell.value += 10);
  const ask = async (activation: string): Promise<{ readonly gave: unknown; readonly again: boolean }> => {
    const cell = alice.space.get(id, Cell);
    const ran = runner.run(activation, { source: sourceOf(add) }, encodeValues([cell], false));
    await world.run(alice.replicated(ran.lsn, ran.stored, alice.clock.now() + 5000));
    return { gave: decodeValues(alice.space, ran.gave), again: ran.again };
  };
  assert.deepEqual(
    [await ask('one'), await ask('one')],
    [
      { gave: 11, again: false },
      { gave: 11, again: true },
    ],
  );

  world.engines.cut('alice');
  await world.engines.elapse(6000);
  await world.own(bob, id);
  await world.commit(bob, [id], () => (bob.space.get(id, Cell).value = 100));
  const fenced = runner.run('two', { source: sourceOf(add) }, encodeValues([alice.space.get(id, Cell)], false));
  assert.equal(runner.activations.gave('two') === undefined, false);
  const told = world.fails('Fenced', alice.replicated(fenced.lsn, fenced.stored, alice.clock.now() + 60_000));
  // Who asks for it again meanwhile is not told that it was done.
  const again = runner.run('two', { source: sourceOf(add) }, encodeValues([alice.space.get(id, Cell)], false));
  assert.deepEqual([again.again, again.stored], [true, []]);
  const refused = world.fails('Fenced', alice.replicated(again.lsn, [], alice.clock.now() + 60_000));
  world.engines.heal('alice');
  await Promise.all([told, refused]);
  await world.own(alice, id);
  await world.own(alice, runner.activations.id);
  assert.deepEqual([runner.activations.gave('two'), alice.space.get(id, Cell).value], [undefined, 100]);
  assert.deepEqual(await ask('two'), { gave: 110, again: false });
  assert.deepEqual(await ask('one'), { gave: 11, again: true });
});

test('G10 the log of what is stored to all the time is begun anew: it has a bound, its old chunks go, and who was away or comes later has all', async (t) => {
  const world = new World(t);
  const LOG = 8000;
  const [alice, bob] = [await world.node('alice', { logBytes: LOG }), await world.node('bob', { logBytes: LOG })];
  const [id, other] = [make(alice, 0), make(alice, 0)];
  const log = `log.${id}`;
  const names = new Set<string>();
  const put = alice.engine.putChunk.bind(alice.engine);
  alice.engine.putChunk = (name, bytes, ms) => {
    names.add(name);
    return put(name, bytes, ms);
  };
  await world.commit(alice, [id, other], () => undefined);
  await world.bring(bob, id, other);
  const records = async (): Promise<number[]> => {
    const all = await world.run(alice.engine.read(log, 0, 5000));
    return all.map(({ bytes }) => decodeRecord(alice.space.kernel.host, log, bytes).kind);
  };
  let most = 0;
  let early: LogRecord[] = [];
  for (let value = 1; value <= 200; value++) {
    // What is written together is never seen apart, whichever of their logs begins anew.
    await world.commit(alice, [id, other], () => [id, other].forEach((each) => (alice.space.get(each, Cell).value = value)));
    assert.equal(bob.space.get(id, Cell).value, bob.space.get(other, Cell).value);
    most = Math.max(most, (await records()).length);
    if (value === 10) early = await world.run(alice.engine.read(log, 0, 5000));
    if (value === 100) world.engines.cut('bob');
    if (value === 150) world.engines.heal('bob');
  }
  assert.ok(most > 10 && most < 40, `${most} records`);
  await world.engines.until(() => bob.space.get(id, Cell).value === 200 && bob.space.get(other, Cell).value === 200);
  assert.ok(names.size > 4);
  await world.engines.elapse(5000);
  const there = [];
  for (const name of names) if ((await world.run(alice.engine.getChunk(name, 5000))) !== undefined) there.push(name);
  assert.equal(there.length, 2, `${there.length} chunks of ${names.size} are there`);

  // Nobody has it but the engine; and of that the server was killed: it has again what was dropped of the log, without the chunks.
  world.die('alice');
  world.die('bob');
  await world.engines.elapse(10_000);
  const connect = world.engines.connect.bind(world.engines);
  world.engines.connect = async (name) => {
    const engine = await connect(name);
    const read = engine.read.bind(engine);
    engine.read = async (from, seq, ms) => {
      const now = await read(from, seq, ms);
      const again = from === log ? early.filter((each) => each.seq >= seq && !now.some((one) => one.seq === each.seq)) : [];
      return [...again, ...now];
    };
    return engine;
  };
  const carol = await world.node('carol');
  await world.bring(carol, id);
  assert.equal(carol.space.get(id, Cell).value, 200);
  const again = await world.node('alice', { logBytes: LOG });
  await world.own(again, id);
  await world.commit(again, [id], () => again.space.get(id, Cell).value++);
  await world.engines.until(() => carol.space.get(id, Cell).value === 201);
});

test('G10 who reads a log while it is begun anew, and its chunks go, has what it says then', async (t) => {
  const world = new World(t);
  const alice = await world.node('alice', { logBytes: 2000 });
  const id = make(alice, 0);
  await world.commit(alice, [id], () => undefined);
  const value = async (to: number): Promise<void> => {
    await world.commit(alice, [id], () => (alice.space.get(id, Cell).value = to));
  };
  for (let i = 1; i <= 20; i++) await value(i);
  world.die('alice');
  await world.engines.elapse(10_000);
  const [carol, again] = [await world.node('carol'), await world.node('alice', { logBytes: 2000 })];
  world.engines.cut('alice');
  await world.engines.elapse(10_000);
  // She is there again when Carol has read the log, and not yet the chunks that it names.
  const get = carol.engine.getChunk.bind(carol.engine);
  let reads = 0;
  carol.engine.getChunk = async (name, ms) => {
    if (reads++ === 0) {
      world.engines.heal('alice');
      for (let i = 21; i <= 90; i++) {
        again.space.relaxed(() => (again.space.get(id, Cell).value = i));
        await again.replicated(again.space.kernel.log.end, [id], again.clock.now() + 5000);
      }
      await carol.pause(5000);
      world.engines.cut('alice');
    }
    return get(name, ms);
  };
  assert.ok(await world.run(carol.bring(id, carol.clock.now() + 60_000)));
  assert.ok(reads > 1);
  assert.equal(carol.space.get(id, Cell).value, 90);
});

test('G10 who comes back while another takes over what was its own, and begins the log anew, comes back all the same', async (t) => {
  const world = new World(t);
  const { engines } = world;
  const [first, bob] = [await world.node('alice'), await world.node('bob', { logBytes: 2000 })];
  const id = make(first, 1);
  await world.commit(first, [id], () => undefined);
  await world.bring(bob, id);
  await world.commit(first, [id], () => (first.space.get(id, Cell).value = 2));
  world.die('alice');
  await engines.elapse(10_000);
  const connect = engines.connect.bind(engines);
  let isTaken = false;
  const takeOver = async (): Promise<void> => {
    isTaken = true;
    engines.cut('alice');
    await bob.own(id, bob.clock.now() + 60_000);
    for (let i = 3; i < 90; i++) {
      bob.space.relaxed(() => (bob.space.get(id, Cell).value = i));
      await bob.replicated(bob.space.kernel.log.end, [id], bob.clock.now() + 60_000);
    }
    await bob.pause(5000);
    engines.heal('alice');
  };
  engines.connect = async (name) => {
    const engine = await connect(name);
    const get = engine.getChunk.bind(engine);
    engine.getChunk = async (chunk, ms) => {
      if (!isTaken) await takeOver();
      return get(chunk, ms);
    };
    return engine;
  };
  const again = await world.node('alice');
  assert.ok(isTaken);
  await engines.until(() => again.space.get(id, Cell).value === 89);
});

test('G9 what is got anew is shorter than what is here, and grows again in the same step', () => {
  const Numbers = struct('Numbers', { values: vec(u32) });
  const there = open('/there', { host: new SimulatedHost() });
  const here = open('/here', { host: new SimulatedHost() });
  const numbers = there.relaxed(() => there.create(Numbers));
  const { id } = there.object(numbers);
  const sections = [sectionOf(there.kernel.open(id))];
  there.kernel.tap = {
    section: (_id, words, at, end) => void sections.push(words.slice(at, end)),
    committed: () => undefined,
  };
  const ends = [20_000, 400_000].map((length) => {
    there.relaxed(() => numbers.values.extend(new Uint32Array(length).fill(length)));
    return sections.length;
  });
  const enter = (some: readonly Int32Array[]): void => run(here.kernel, () => some.forEach((words) => applySection(here.kernel, words)));
  const lengthHere = (): number => here.get(id, Numbers).values.length;
  enter(sections);
  assert.equal(lengthHere(), 420_000);
  const enterTwo = (): void => enter(sections.slice(0, ends[0]));
  assert.throws(() => run(here.kernel, () => (enterTwo(), assert.fail('undone'))), /undone/);
  assert.equal(lengthHere(), 420_000);
  enterTwo();
  assert.equal(lengthHere(), 20_000);
  for (let i = 0; i < 20_000; i += 999) assert.equal(here.get(id, Numbers).values.get(i), 20_000);
  enter(sections.slice(ends[0]));
  assert.equal(lengthHere(), 420_000);
  there.kernel.tap = undefined;
  there.close();
  here.close();
});

test('G12 a run of several transactions is not done where another node came before one of them, be it not the last', async (t) => {
  const world = new World(t);
  const [alice, bob] = [await world.node('alice'), await world.node('bob')];
  const [one, two] = [make(alice, 1), make(alice, 2)];
  await world.commit(alice, [one, two], () => undefined);
  await world.bring(bob, one, two);
  world.engines.cut('alice');
  await world.engines.elapse(6000);
  await world.own(bob, one);
  await world.commit(bob, [one], () => (bob.space.get(one, Cell).value = 100));
  const job = new Job(
    {
      space: alice.space,
      runner: new Runner(alice.space),
      replicated: (lsn, ids, ms) => alice.replicated(lsn, ids, alice.clock.now() + ms),
      within: undefined,
      mobility: new Here(alice.space),
    },
    { activation: 'run', named: false, depth: 0, ms: 60_000, limits: {} },
  );
  for (const id of [one, two]) job.transaction(() => (alice.space.get(id, Cell).value = 50));
  const told = world.fails('Fenced', job.settle());
  world.engines.heal('alice');
  await told;
  await world.engines.until(() => bob.space.get(two, Cell).value === 50);
  assert.equal(bob.space.get(one, Cell).value, 100);
  job.end();
});

test('G14 what a node remembers of what was deleted stays with it, whatever it is committed with', async (t) => {
  const world = new World(t);
  const [alice, bob] = [await world.node('alice'), await world.node('bob')];
  const { kernel } = alice.space;
  const [id, gone] = [make(alice, 1), make(alice, 2)];
  let stored: readonly ObjectId[] = [];
  alice.space.relaxed(() => {
    alice.space.get(id, Cell).value++;
    alice.space.delete(gone);
    stored = kernel.transaction?.handles.map((h) => h.id) ?? [];
  });
  const system = stored.find((each) => isSystem(kernel, each)) ?? assert.fail('nothing is remembered of what was deleted');
  await world.run(alice.replicated(kernel.log.end, stored, alice.clock.now() + 5000));
  assert.deepEqual([alice.table.byId.has(id), alice.table.byId.has(system)], [true, false]);
  await world.bring(bob, id);
  await world.fails('NotSupported', bob.bring(system, bob.clock.now() + 5000));
  assert.equal(bob.space.has(system), false);
});

test('G11 what a plain function needs of other nodes comes by the deadline of all of it', () => {
  const space = open('/space', { host: new SimulatedHost() });
  const asked: number[] = [];
  const agent = new AgentContact(
    {
      ask: () => Promise.reject(new Error('nobody waits')),
      askNow: (_what, ms) => {
        asked.push(ms);
        return { value: { here: true } };
      },
      close: () => undefined,
    },
    space,
    { patience: 10_000 },
  );
  const [id] = [space.relaxed(() => space.object(space.create(Cell)).id)];
  agent.own(id);
  const grace = (asked.pop() ?? 0) - 10_000;
  agent.within(300, () => {
    agent.own(id);
    agent.within(5000, () => agent.bring(id));
    agent.within(100, () => agent.own(id));
  });
  assert.deepEqual(
    asked.map((ms) => Math.ceil((ms - grace) / 100)),
    [3, 3, 1],
  );
  assert.throws(
    () => agent.within(0, () => agent.own(id)),
    (error: unknown) => isTwzError(error, 'TimedOut'),
  );
  agent.own(id);
  assert.equal(asked.pop(), 10_000 + grace);
  space.close();
});

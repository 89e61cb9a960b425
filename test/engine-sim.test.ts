/** G11, G13: the engine under faults, simulated: what is acknowledged is there once, nothing hangs, who watches learns the truth. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTwzError } from '../src/index.ts';
import type { Engine, Register } from '../src/services/cluster/engine.ts';
import { SimulatedEngines } from '../src/testing/cluster/engine.ts';
import { amount } from './thorough.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (from: Uint8Array | undefined): string => (from === undefined ? '' : new TextDecoder().decode(from));
const NODES = ['a', 'b', 'c'];
/** Late by so much: the turn that lets an answer come first, and no more. */
const SLACK_MS = 0.001;

interface Story {
  readonly acknowledged: string[];
  readonly trace: string[];
  faults: number;
  unknown: number;
  slowest: number;
}

/** Every call ends by its deadline, in a value or in one of these errors. */
async function timed<T>(engines: SimulatedEngines, story: Story, ms: number, call: (ms: number) => Promise<T>): Promise<T | undefined> {
  const began = engines.clock.now();
  try {
    return await call(ms);
  } catch (error) {
    assert.ok(isTwzError(error, 'TimedOut') || isTwzError(error, 'EngineLost'), String(error));
    return undefined;
  } finally {
    const took = engines.clock.now() - began;
    story.slowest = Math.max(story.slowest, took - ms);
  }
}

/** Appends its records to both logs in one step, each once: after an unknown end the last record tells. */
async function work(engines: SimulatedEngines, engine: Engine, node: string, count: number, story: Story): Promise<void> {
  for (let i = 0; i < count;) {
    const mine = `${node}${i}`;
    const call = <T>(step: (ms: number) => Promise<T>): Promise<T | undefined> => timed(engines, story, 500, step);
    const records = await call((ms) => engine.read('x', 0, ms));
    const other = await call((ms) => engine.last('y', ms));
    if (records === undefined) continue;
    if (records.some((record) => text(record.bytes) === mine)) {
      // An append of before, whose end was unknown.
      story.acknowledged.push(mine);
      i++;
      continue;
    }
    const appends = [
      { log: 'x', bytes: bytes(mine), expected: records.at(-1)?.seq ?? 0 },
      { log: 'y', bytes: bytes(mine), expected: other?.seq ?? 0 },
    ];
    const appended = await call((ms) => engine.appendAll(appends, ms));
    story.trace.push(`${engines.clock.now().toFixed(3)} ${mine} ${appended?.kind}`);
    if (appended?.kind === 'unknown') story.unknown++;
    if (appended?.kind === 'done') {
      story.acknowledged.push(mine);
      i++;
    }
    const held = await call((ms) => engine.get(`at.${node}`, ms));
    await call((ms) => engine.set(`at.${node}`, bytes(mine), held?.revision ?? 0, ms));
  }
}

async function storm(engines: SimulatedEngines, story: Story, over: () => boolean): Promise<void> {
  const { random, clock } = engines;
  const pause = (ms: number): Promise<void> => new Promise((resolve) => clock.timer(ms, resolve));
  const node = (): string => random.pick(NODES) ?? 'a';
  while (!over()) {
    await pause(random.below(12));
    story.faults++;
    const kind = random.below(4);
    const ms = random.chance(0.1) ? 8000 : random.below(60);
    const who = node();
    if (kind === 0) engines.killServer();
    else if (kind === 1) engines.pauseServer();
    else if (kind === 2) engines.cut(who);
    else engines.delay(who, 20);
    engines.lose(random.chance(0.3) ? 0.05 : 0);
    await pause(ms);
    if (kind === 0) engines.startServer();
    else if (kind === 1) engines.resumeServer();
    else if (kind === 2) engines.heal(who);
    else engines.delay(who, 0);
  }
  engines.lose(0);
}

async function run(seed: number): Promise<Story> {
  const engines = new SimulatedEngines({ seed });
  const story: Story = { acknowledged: [], trace: [], faults: 0, unknown: 0, slowest: 0 };
  const all = await engines.run(Promise.all(NODES.map((node) => engines.connect(node))));
  const watched = all.map((engine) => {
    const known = new Map<string, Register>();
    engine.watch('at', (register) => {
      assert.ok(register.revision > (known.get(register.key)?.revision ?? 0), 'revisions grow');
      known.set(register.key, register);
    });
    return known;
  });
  let over = false;
  const weather = storm(engines, story, () => over);
  const working = Promise.all(all.map((engine, i) => work(engines, engine, NODES[i] ?? '', 12, story))).finally(() => (over = true));
  await engines.run(working);
  await engines.run(weather);
  const [one = assert.fail()] = all;
  const truth = await engines.run(one.keys('at', 60_000));
  const inLog = async (log: string): Promise<string[]> => (await engines.run(one.read(log, 0, 60_000))).map((record) => text(record.bytes));
  const x = await inLog('x');
  assert.deepEqual(x, await inLog('y'), 'both logs, or none');
  assert.equal(new Set(x).size, x.length, 'no record twice');
  assert.deepEqual([...x].sort(), [...story.acknowledged].sort(), 'what is acknowledged, and nothing else');
  for (const node of NODES) assert.deepEqual(x.filter((record) => record.startsWith(node)).length, 12);
  // Every watcher comes to know what is the case.
  const asText = (registers: Iterable<Register>): string[] =>
    [...registers].map(({ key, revision, bytes: value }) => `${key} ${revision} ${text(value)}`).sort();
  await engines.until(() => watched.every((known) => asText(known.values()).join() === asText(truth).join()));
  assert.ok(story.slowest <= SLACK_MS, `a call was ${story.slowest} ms late`);
  for (const engine of all) await engines.run(engine.close());
  return story;
}

test('G13: three nodes append to two logs in a storm: acknowledged once, both or none, no call late; the same seed, the same run', async (t) => {
  const first = process.env['SEED'] === undefined ? 1 : Number(process.env['SEED']);
  const seeds = amount(4, 8);
  let unknown = 0;
  let faults = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    const story = await run(seed).catch((error: unknown) => {
      throw new Error(`SEED=${seed}: ${error instanceof Error ? error.stack : String(error)}`, { cause: error });
    });
    unknown += story.unknown;
    faults += story.faults;
    if (seed === first) assert.deepEqual((await run(seed)).trace, story.trace);
  }
  t.diagnostic(`seeds ${first} to ${first + seeds - 1}: ${faults} faults, ${unknown} appends whose end was unknown`);
  assert.ok(unknown > amount(2, 5) && faults > amount(20, 40), 'too little happened');
  assert.notDeepEqual((await run(first)).trace, (await run(first + 1)).trace);
});

test('G13: an append under way to a server that is killed may be stored with nobody told, and may not be', async () => {
  const ends = new Set<string>();
  for (let seed = 1; seed <= 20; seed++) {
    const engines = new SimulatedEngines({ seed, weather: { latency: [1, 1] } });
    const engine = await engines.run(engines.connect('a'));
    const appending = engine.append({ log: 'l', bytes: bytes('1'), expected: 0 }, 1000);
    engines.killServer();
    assert.deepEqual(await engines.run(appending), { kind: 'unknown' });
    engines.startServer();
    ends.add((await engines.run(engine.last('l', 5000))) === undefined ? 'lost' : 'stored');
  }
  assert.deepEqual([...ends].sort(), ['lost', 'stored']);
});

test('G13: a node that is cut off for a while goes on where it was; for longer, it is told that its connection is lost', async () => {
  const engines = new SimulatedEngines({ seed: 3 });
  const [a, b] = await engines.run(Promise.all([engines.connect('a'), engines.connect('b')]));
  const states: boolean[] = [];
  a.onState((connected) => states.push(connected));
  const heard: string[] = [];
  a.subscribe('s', ({ bytes: said }) => heard.push(text(said)));
  await engines.run(a.flush(1000));
  engines.cut('a');
  b.publish('s', bytes('meanwhile'));
  const appending = a.append({ log: 'l', bytes: bytes('1'), expected: 0 }, 5000);
  await engines.elapse(2000);
  assert.deepEqual(heard, []);
  engines.heal('a');
  assert.equal((await engines.run(appending)).kind, 'done');
  await engines.until(() => heard.length === 1);
  assert.deepEqual(states, []);
  engines.cut('a');
  await engines.until(() => !a.connected);
  b.publish('s', bytes('lost'));
  await engines.elapse(1000);
  engines.heal('a');
  await engines.until(() => a.connected);
  assert.deepEqual([states, heard], [[false, true], ['meanwhile']]);
});

test('G14: a lease that is not renewed ends although its holder lives, in virtual time and at no cost', async () => {
  const engines = new SimulatedEngines({ seed: 4 });
  const [a, b] = await engines.run(Promise.all([engines.connect('a'), engines.connect('b')]));
  const ends: number[] = [];
  b.watchLeases('', ({ bytes: value }) => {
    if (value === undefined) ends.push(engines.clock.now());
  });
  const began = engines.clock.now();
  assert.equal(await engines.run(a.lease('n', bytes('a'), 60_000, 1000)), true);
  engines.cut('a');
  await engines.until(() => ends.length === 1, 100_000);
  assert.ok(Math.abs((ends[0] ?? 0) - began - 60_000) < 10);
});

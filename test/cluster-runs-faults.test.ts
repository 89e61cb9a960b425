/** G11, G12: asking for runs of their own threads, in virtual time, with messages that are lost and nodes that are cut off or die. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TwzError, isTwzError, type ObjectId } from '../src/index.ts';
import { answer, hear, sayError } from '../src/services/cluster/messages.ts';
import { RemoteSource } from '../src/services/cluster/remote-stream.ts';
import { ResultStream } from '../src/services/cluster/run-stream.ts';
import { TaskCall } from '../src/services/cluster/task-call.ts';
import { Tasks, type Hand } from '../src/services/cluster/tasks.ts';
import { Random } from '../src/host/simulated/random.ts';
import { SimulatedEngines } from '../src/testing/cluster/engine.ts';

const CODE = '0123456789abcdef0123456789abcdef' as ObjectId;
const SEEDS = process.env['TWZ_THOROUGH'] === undefined ? 40 : 400;
const SILENCE = 3000;
const IDLE = 5000;

class World {
  readonly engines: SimulatedEngines;
  readonly random: Random;
  /** How often each run was begun, and how many values were made. */
  readonly begun = new Map<string, number>();
  made = 0;
  active = 0;
  dead = false;
  tasks: Tasks | undefined;

  constructor(seed: number) {
    this.engines = new SimulatedEngines({ seed });
    this.random = new Random(seed * 7 + 1);
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.engines.clock.timer(ms, resolve));
  }

  /** Counts up to what it is given, each number some time after the other. */
  hand(): Hand {
    let killed: (error: TwzError) => void = () => undefined;
    let isKilled = false;
    return {
      do: async ({ activation, values }, emit) => {
        this.begun.set(activation, (this.begun.get(activation) ?? 0) + 1);
        const kill = new Promise<never>((_resolve, reject) => (killed = reject));
        kill.catch((error: unknown) => error);
        this.active++;
        try {
          const [count = 0, fails = 0] = values;
          for (let i = 0; i < count && !isKilled; i++) {
            if (this.random.chance(0.3)) await Promise.race([this.pause(this.random.below(400)), kill]);
            if (fails > 0 && i === fails) throw new TwzError('RunFailed', 'it was to fail');
            this.made = i + 1;
            if (!(await Promise.race([emit(new Uint8Array([i])), kill]))) break;
          }
        } finally {
          this.active--;
        }
        return { gave: new Uint8Array([7]), stored: [], spans: undefined };
      },
      kill: async () => {
        isKilled = true;
        killed(new TwzError('RunLost', 'killed'));
      },
    };
  }

  async node(): Promise<void> {
    const engine = await this.engines.connect('there');
    const known = new Set<string>();
    const tasks = new Tasks({
      clock: this.engines.clock,
      runs: true,
      threads: 4,
      limits: {},
      messageMax: 1 << 20,
      start: async () => {
        await this.pause(this.random.below(300));
        return this.hand();
      },
      begun: (activation) => (known.has(activation) ? { gave: undefined } : undefined),
      counts: async () => undefined,
      begin: async (activation) => void known.add(activation),
      done: async () => undefined,
    });
    this.tasks = tasks;
    engine.subscribe('task.there', (message) => {
      if (this.dead) return;
      tasks.handle(hear(message.bytes), false).then(
        (bytes) => this.dead || answer(message, bytes),
        (error: unknown) => this.dead || answer(message, sayError(error)),
      );
    });
    await engine.flush(10_000);
  }

  async call(activation: string): Promise<TaskCall> {
    const engine = await this.engines.connect('here');
    return new TaskCall(
      {
        id: 'here',
        clock: this.engines.clock,
        agent: {
          task: () => Promise.reject(new Error('nothing runs here')),
          nodes: () => Promise.resolve(this.dead ? [] : [{ id: 'there' }]),
        },
        request: (subject, bytes, ms) => engine.request(subject, bytes, ms),
      },
      'there',
      activation,
    );
  }
}

const head = (life: string, kind: string) => ({
  ...{ life, kind, named: false, code: CODE, ms: 60_000, depth: 0, limits: {}, contexts: [], ahead: 3, idle: IDLE },
});

test('G11, G12 each value of a stream comes once and in order, or an error does, whatever happens on the way', async () => {
  let [whole, broken, failed] = [0, 0, 0];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const world = new World(seed);
    const { engines, random } = world;
    const { schedule } = engines;
    const count = 20;
    const fails = random.chance(0.2) ? 9 : 0;
    const wanted = random.chance(0.2) ? 5 : Infinity;
    const got: number[] = [];
    let error: unknown;
    const consume = async (): Promise<void> => {
      await world.node();
      const call = await world.call(`stream ${seed}`);
      if (random.chance(0.5)) engines.lose(0.1);
      if (random.chance(0.3)) schedule.at(random.below(1500), () => engines.cut('there'));
      if (random.chance(0.3)) schedule.at(1500 + random.below(1500), () => engines.heal('there'));
      if (random.chance(0.2)) schedule.at(random.below(3000), () => (world.dead = true));
      try {
        const source = await RemoteSource.begin(([item]) => item, call, head('stream', 'stream'), new Uint8Array([count, fails]), SILENCE);
        const stream = new ResultStream<number>(source);
        for await (const each of stream) {
          got.push(each);
          assert.ok(world.made <= got.length + 8, `${world.made} made where ${got.length} were asked for`);
          if (got.length >= wanted) break;
          if (random.chance(0.2)) await world.pause(random.below(2000));
        }
      } catch (cause) {
        error = cause;
      }
    };
    const began = schedule.now;
    await engines.run(consume());
    const told = `seed ${seed}: ${got.join(' ')} ${String(error)}`;
    assert.ok(schedule.now - began < 60_000 + count * (SILENCE + 3000), `${told}: no end`);
    assert.deepEqual(
      got,
      got.map((_, i) => i),
      told,
    );
    if (error === undefined) assert.equal(got.length, Math.min(count, wanted), told);
    else
      assert.ok(
        ['RunFailed', 'TimedOut', 'RunLost', 'RunStopped', 'Unreachable', 'EngineLost'].some((name) =>
          isTwzError(error, name as 'RunLost'),
        ),
        told,
      );
    if (isTwzError(error, 'RunFailed')) assert.equal(got.length, fails, told);
    if (error === undefined) whole++;
    else if (isTwzError(error, 'RunFailed')) failed++;
    else broken++;
    for (const times of world.begun.values()) assert.equal(times, 1, `${told}: begun ${times} times`);
    // Nobody asks any more: the node ends it by itself.
    engines.heal('there');
    await engines.elapse(IDLE + 10_000);
    assert.equal(world.active, 0, `${told}: it goes on there`);
  }
  assert.ok(whole > SEEDS / 4 && broken > SEEDS / 20 && failed > 0, `${whole} whole, ${broken} broken off, ${failed} failed`);
});

test('G12 a run that is asked for again and again is begun once, and its result is the same to all who ask', async () => {
  for (let seed = 1; seed <= SEEDS / 2; seed++) {
    const world = new World(seed);
    const { engines } = world;
    const all = async (): Promise<readonly number[]> => {
      await world.node();
      const calls = await Promise.all([1, 2, 3].map(() => world.call('same')));
      engines.lose(0.2);
      return Promise.all(
        calls.map(async (call) => {
          const until = engines.clock.now() + 60_000;
          let said = await call.begin(head('run', 'async'), new Uint8Array([0]), 500, until);
          while (said.head['state'] !== 'done') said = await call.wait(0, 500, until);
          return said.body[0] ?? NaN;
        }),
      );
    };
    assert.deepEqual(await engines.run(all()), [7, 7, 7], `seed ${seed}`);
    assert.equal(world.begun.get('same'), 1, `seed ${seed}`);
  }
});

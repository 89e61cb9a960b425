/** G3, G5, G11, G12: functions that run elsewhere and are more than one transaction: nested, spawned, streamed, with rights and limits. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as pathOf } from 'node:path';
import { after, before, test } from 'node:test';
import { TwzError, isTwzError, open, struct, u32, type ErrorName, type Infer, type Space } from '../src/index.ts';
import { join, type Cluster, type Telemetry } from '../src/services/cluster/cluster.ts';
import { startServer, type RunningServer } from '../src/services/cluster/server.ts';
import { RUNS_NODE } from './cluster-runs-node.ts';
import { foundServer, noServer } from './engines.ts';
import { until } from './until.ts';

const Account = struct('Account', { balance: u32 });
type Account = Infer<typeof Account>;

const skip = { skip: noServer };
const directory = mkdtempSync(pathOf(tmpdir(), 'twz-runs-'));
let server: RunningServer | undefined;
const members = new Map<string, { readonly space: Space; readonly cluster: Cluster }>();

interface Noted {
  readonly name: string;
  readonly parent: Noted | undefined;
  readonly from: number;
  readonly attributes: Record<string, unknown>;
  to: number;
  failed: string | undefined;
}

/** What is like `@opentelemetry/api`, and keeps the spans; nobody records them but `during`. */
const noted: Noted[] = [];
let recording = false;
let active: Noted | undefined;
const spanOf = (span: Noted) => ({
  span,
  spanContext: () => ({ traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 }),
  isRecording: () => recording,
  setAttributes: (more: object) => Object.assign(span.attributes, more),
  setStatus: ({ message }: { readonly message?: string }) => (span.failed = message),
  end: (to = NaN) => void (span.to = to),
});
const telemetry: Telemetry = {
  trace: {
    getTracer: () => ({
      startSpan: (name, { startTime, attributes }, parent: Noted | undefined) => {
        const span: Noted = { name, parent, from: startTime, attributes: { ...attributes }, to: NaN, failed: undefined };
        if (recording) noted.push(span);
        return spanOf(span);
      },
    }),
    setSpan: (_context, { span }: ReturnType<typeof spanOf>) => span,
  },
  context: { active: () => active },
};

before(async () => {
  if (foundServer === undefined) return;
  server = await startServer({ binary: foundServer.path });
  for (const name of ['alice', 'bob']) {
    const space = open(pathOf(directory, name));
    const cluster = await join(space, {
      servers: [server.url],
      name,
      lease: 1000,
      patience: 20_000,
      threads: 4,
      telemetry,
      ...(name === 'alice' ? { limits: { heapBytes: 64 << 20 } } : {}),
    });
    members.set(name, { space, cluster });
  }
});

after(async () => {
  for (const { space, cluster } of members.values()) {
    await cluster.leave();
    space.close();
  }
  await server?.stop();
  rmSync(directory, { recursive: true });
});

function at(name: string) {
  return members.get(name) ?? assert.fail(name);
}

async function fails(name: ErrorName, body: () => unknown): Promise<void> {
  await assert.rejects(
    async () => body(),
    (error: unknown) => isTwzError(error, name) || assert.fail(`expected ${name}: ${String(error)}`),
  );
}

function account(space: Space, balance: number): Account {
  return space.relaxed(() => space.create(Account, { balance }));
}

test('G3, G5 an async function makes transactions and runs others; the same program with one machine and with many', skip, async () => {
  const program = async (space: Space, options: { readonly at?: string }) => {
    const first = account(space, 100);
    return space.runWith(
      options,
      async (from: Account, amount: number) => {
        const Mine = struct('Account', { balance: u32 });
        const to = space.relaxed(() => {
          from.balance -= amount;
          return space.create(Mine, { balance: amount });
        });
        const more = await space.run((into: Account) => (into.balance += 1), to);
        return { to, more, left: from.balance };
      },
      first,
      30,
    );
  };
  const alone = open(pathOf(directory, 'alone'));
  const [here, there] = [await program(alone, {}), await program(at('bob').space, { at: 'alice' })];
  for (const { to, more, left } of [here, there]) assert.deepEqual([to.balance, more, left], [31, 31, 70]);
  alone.close();
});

test('G3 values and references come as a generator gives them; who wants no more ends it', skip, async () => {
  const { space } = at('bob');
  const counting = function* (count: number) {
    const Mine = struct('Account', { balance: u32 });
    for (let i = 0; i < count; i++) yield i % 2 === 0 ? i : space.relaxed(() => space.create(Mine, { balance: i }));
  };
  const got: number[] = [];
  for await (const each of space.streamWith({ at: 'alice' }, counting, 7)) got.push(typeof each === 'number' ? each : each.balance);
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6]);
  for await (const each of space.streamWith({ at: 'alice' }, counting, 1e9)) if (each === 4) break;
  for await (const each of space.streamWith({ at: 'bob' }, counting, 1e9)) if (each === 4) break;
});

test('G12 what is spawned is asked for its result, from any node', skip, async () => {
  const { space, cluster } = at('bob');
  const spawned = space.spawnWith({ at: 'alice' }, async (n: number) => n * 2, 21);
  assert.equal(await spawned.result, 42);
  assert.equal((await spawned.status()).state, 'done');
  assert.equal(await at('alice').cluster.spawned(spawned.id).result, 42);
  await fails('RunLost', () => cluster.spawned('nobody').result);
});

test('G12 what was broken off and is asked for again by its name goes on where it was: no step of it is done twice', skip, async () => {
  const { space } = at('alice');
  const [counter, gate] = [account(space, 0), account(space, 0)];
  const steps = async (count: Account, open: Account) => {
    space.relaxed(() => (count.balance += 1));
    await space.run((to: Account) => void (to.balance += 10), count);
    if (open.balance === 0) await new Promise(() => undefined);
    return space.relaxed(() => (count.balance += 100));
  };
  const spawn = () => at('bob').space.spawnWith({ at: 'alice', activation: 'steps' }, steps, space.object(counter), space.object(gate));
  const first = spawn();
  await until(() => counter.balance === 11);
  await first.stop();
  await fails('RunStopped', () => first.result);
  assert.equal((await first.status()).state, 'failed');
  space.relaxed(() => (gate.balance = 1));
  assert.equal(await spawn().result, 111);
  assert.equal(await spawn().result, 111);
  space.refresh();
  assert.equal(counter.balance, 111);
  // Its place is known to all: asked for from elsewhere, and wherever that would be best, it is where it was.
  const again = await space.runWith({ at: 'bob', activation: 'steps' }, steps, counter, gate);
  assert.deepEqual([again, counter.balance], [111, 111]);
});

test('G11 runs inside each other have an end: in depth, and by the deadline of the outer one', skip, async () => {
  const { space } = at('bob');
  const down = async function down(left: number): Promise<number> {
    return left === 0 ? 0 : 1 + (await space.run(down, left - 1));
  };
  assert.equal(await space.run(down, 3), 3);
  await fails('RunDepth', () => space.run(down, 17));
  // What it failed by is no refusal of the node: it is not begun again elsewhere.
  const tried = account(space, 0);
  const refused = async (count: Account) => {
    space.relaxed(() => (count.balance += 1));
    await space.runWith({ at: 'bob' }, async () => {
      throw new TwzError('Unreachable', 'nobody');
    });
  };
  await fails('Unreachable', () =>
    at('alice').space.runWith({ ship: 'code' }, refused, at('alice').cluster.reference(space.object(tried).id)),
  );
  space.refresh();
  assert.equal(tried.balance, 1);
  const late = async () => {
    await space.runWith({ deadline: 1e6 }, async () => {
      await new Promise(() => undefined);
    });
  };
  await fails('TimedOut', () => space.runWith({ at: 'bob', deadline: 200 }, late));
  await fails('NotSupported', () => space.runWith({ at: 'alice' }, () => space.run(() => 1)));
  await fails('CodeInvalid', () => space.run(function* () {}));
});

test('G11 streams wait for who asks, end when nobody does, and say what they failed by', skip, async () => {
  const { space } = at('alice');
  const made = account(space, 0);
  const threads = async () => (await at('alice').cluster.stat())['threads'];
  const counting = function* (count: Account, fails: number) {
    for (let i = 0; ; i++) {
      if (i === fails) throw new RangeError('enough');
      yield space.relaxed(() => count.balance++);
    }
  };
  const stream = (options: object, fails = -1) =>
    at('bob').space.streamWith({ at: 'alice', ahead: 1, ...options }, counting, space.object(made), fails);
  const first = stream({});
  for (let i = 0; i < 20; i++) assert.deepEqual(await first.next(), { done: false, value: i });
  await first.return();
  assert.deepEqual(await first.next(), { done: true, value: undefined });
  await until(async () => (await threads()) === 0);
  space.refresh();
  assert.ok(made.balance <= 24, `${made.balance} made for 20: it is no more than some ahead`);
  // An error comes behind what came before it.
  const [from, failing] = [made.balance, stream({}, 3)];
  for (let i = 0; i < 3; i++) assert.equal((await failing.next()).value, from + i);
  await assert.rejects(failing.next(), (error: unknown) => isTwzError(error, 'RunFailed') && error.message.includes('RangeError: enough'));
  assert.equal((await failing.next()).done, true);
  // Nobody asks any more.
  const left = stream({ idle: 100 });
  await left.next();
  await until(async () => (await threads()) === 0);
  await assert.rejects(
    async () => {
      for await (const each of left) assert.ok(each !== undefined);
    },
    (error: unknown) => isTwzError(error, 'RunStopped'),
  );
  for (const place of ['alice', 'bob']) {
    const silent = at('bob').space.streamWith({ at: place, silence: 200 }, async function* () {
      await new Promise(() => undefined);
      yield 1;
    });
    await fails('TimedOut', () => silent.next());
  }
  await until(async () => (await threads()) === 0);
});

test('G11, G12 whose node dies is lost, and says so; code that was to go to the owner goes to who succeeds it', skip, async () => {
  const { space, cluster } = at('bob');
  const node = fork(RUNS_NODE, [pathOf(directory, 'carol'), server?.url ?? '', 'carol']);
  await once(node, 'message');
  const there = await space.runWith({ at: 'carol' }, () => space.create(struct('Account', { balance: u32 }), { balance: 5 }));
  const add = (to: { balance: number }) => (to.balance += 1);
  const kept = cluster.reference(space.object(there).id);
  const run = () => space.runWith({ ship: 'code' }, add as (to: unknown) => number, kept);
  assert.equal(await run(), 6);
  assert.notEqual(cluster.plans.at(-1)?.data.place, cluster.id);
  const spawned = space.spawnWith({ at: 'carol' }, async () => {
    await new Promise(() => undefined);
  });
  await until(async () => (await spawned.status()).state === 'running');
  const stream = space.streamWith({ at: 'carol' }, async function* () {
    yield 1;
    await new Promise(() => undefined);
  });
  await stream.next();
  const gone = once(node, 'exit');
  node.kill('SIGKILL');
  await gone;
  assert.equal(await run(), 7);
  await Promise.all([fails('RunLost', () => spawned.result), fails('RunLost', () => stream.next())]);
  assert.equal((await spawned.status()).state, 'lost');
  await spawned.stop();
});

test('G11 what a run may use is limited, and what is above it undone', skip, async () => {
  const { space } = at('bob');
  const many = (count: number) => {
    const Mine = struct('Account', { balance: u32 });
    for (let i = 0; i < count; i++) space.create(Mine, { balance: i });
    return count;
  };
  for (const place of ['alice', 'bob']) {
    const limited = (limits: object, count: number) => space.runWith({ at: place, limits }, many, count);
    assert.equal(await limited({ storedObjects: 2 }, 2), 2);
    await fails('RunLimit', () => limited({ storedObjects: 2 }, 3));
    await fails('RunLimit', () => limited({ storedBytes: 1000 }, 50));
  }
  const fill = () => {
    const all: number[][] = [];
    for (;;) all.push(Array.from({ length: 10_000 }, () => all.length));
  };
  // Its own limit, in a thread of its own; and that of the node, whose thread for all begins again.
  for (const [limits, most] of [
    [{ heapBytes: 16 << 20 }, 16],
    [{}, 64],
  ] as const)
    await assert.rejects(
      space.runWith({ at: 'alice', limits }, fill),
      (error: unknown) => isTwzError(error, 'RunLimit') && error.context['limit'] === 'heapBytes' && error.context['most'] === most << 20,
    );
  assert.equal(await space.runWith({ at: 'alice' }, () => 1), 1);
});

test('G3 a trace of one run shows what took how long, on both nodes', skip, async () => {
  const { space } = at('bob');
  const mine = account(space, 1);
  const body = async (to: Account) => {
    space.relaxed(() => (to.balance += 1));
    return space.run((again: Account) => again.balance, to);
  };
  active = { name: 'program', parent: undefined, from: 0, to: 0, attributes: {}, failed: undefined };
  recording = true;
  assert.equal(await space.runWith({ at: 'alice' }, body, mine), 2);
  assert.equal(await space.runWith({ at: 'alice' }, (to: Account) => (to.balance += 1), mine), 3);
  recording = false;
  const path = (span: Noted | undefined): string => (span?.parent === undefined ? '' : `${path(span.parent)}/${span.name.slice(9)}`);
  const paths = new Set(noted.map(path));
  for (const each of [
    '',
    '/plan',
    '/request',
    '/request/execute',
    '/request/execute/run',
    '/request/execute/run/plan',
    '/request/execute/own',
  ])
    assert.ok(paths.has(`/run${each}`), `no /run${each} among ${[...paths].join(' ')}`);
  assert.ok(noted.some((span) => path(span).endsWith('/publish') && Number(span.attributes['twizzler.objects']) > 0));
  assert.ok(noted.some((span) => span.name === 'twizzler.fetch' && Number(span.attributes['twizzler.bytes']) > 0));
  assert.ok(noted.some((span) => span.attributes['twizzler.node'] === at('alice').cluster.id));
  for (const { name, from, to, parent } of noted) {
    assert.ok(to >= from, `${name} ends before it begins`);
    if (parent !== active)
      assert.ok(from >= (parent?.from ?? 0) - 5 && to <= (parent?.to ?? 0) + 5, `${name} is not within ${parent?.name}`);
  }
  const before = noted.length;
  await space.runWith({ at: 'alice' }, () => 1);
  assert.equal(noted.length, before, 'nobody records it, and nothing is noted');
});

test('G4 what waits behind a run counts as load of its node', skip, async () => {
  const { space, cluster } = at('bob');
  const spin = (ms: number) => {
    for (const end = Date.now() + ms; Date.now() < end;);
  };
  const busy = async () => (await cluster.nodes()).some(({ name, load }) => name === 'alice' && load >= 1);
  const waits = async () => (await cluster.nodes()).some(({ name, load }) => name === 'alice' && load >= 2);
  // It is told some times a second, which a busy machine may miss.
  let seen = false;
  for (let tries = 1; !seen; tries++) {
    assert.ok(tries <= 10, 'nobody hears of what waits');
    let over = false;
    const first = space.runWith({ at: 'alice' }, spin, 400 + 300 * tries).finally(() => (over = true));
    await until(async () => over || (await busy()));
    const others = Promise.all([1, 2].map((ms) => space.runWith({ at: 'alice' }, spin, ms)));
    await until(async () => (seen = await waits()) || over);
    await Promise.all([first, others]);
  }
  await until(async () => (await cluster.nodes()).every(({ load }) => load === 0));
});

test('G3 a run has the rights of who asks for it, wherever it runs', skip, async () => {
  const { space, cluster } = at('bob');
  const { security } = at('alice').space;
  const [key, hers] = [security.createKey(), security.createKey()];
  const sealed = at('alice').space.relaxed(() => at('alice').space.create(Account, { balance: 7 }, { key: key.id, rights: 0 }));
  const { id } = at('alice').space.object(sealed);
  const context = security.createContext({ key: hers.id });
  security.grant({ target: id, to: context, rights: ['read'], by: key });
  const read = (of: { readonly balance: number }) => of.balance;
  const store = (to: { balance: number }) => (to.balance += 1);
  const both = async (of: { balance: number }) => [of.balance, space.relaxed(() => (of.balance += 1))];
  const run = (fn: unknown) => space.runWith({ at: 'alice' }, fn as (of: unknown) => unknown, cluster.reference(id));
  // By the default rights of the object: none.
  for (const fn of [read, store, both]) await fails('Denied', () => run(fn));
  await cluster.bring(context);
  space.security.attach(context, hers);
  assert.equal(await run(read), 7);
  for (const fn of [store, both]) await fails('Denied', () => run(fn));
  assert.equal(await run(async (of: { balance: number }) => of.balance), 7);
  security.grant({ target: id, to: context, rights: ['write'], by: key });
  // It counts where the context is known to hold it.
  let stored: unknown;
  await until(async () => {
    try {
      stored = await run(store);
      return true;
    } catch (error) {
      if (!isTwzError(error, 'Denied')) throw error;
      return false;
    }
  });
  assert.equal(stored, 8);
  space.security.detach(context);
});

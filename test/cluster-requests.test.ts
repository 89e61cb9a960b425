/** G15: plain requests and queues by name between the programs of nodes, over the same connections. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as pathOf } from 'node:path';
import { after, before, test } from 'node:test';
import { isTwzError, open, parseId, struct, text, u32, type ErrorName, type Infer, type Space, type TwzError } from '../src/index.ts';
import { join, type Cluster } from '../src/services/cluster/cluster.ts';
import { startServer, type RunningServer } from '../src/services/cluster/server.ts';
import { foundServer, noServer, until } from './engines.ts';

const Task = struct('Task', { name: text, size: u32 });
type Task = Infer<typeof Task>;

const skip = { skip: noServer };

interface Member {
  readonly space: Space;
  readonly cluster: Cluster;
}

const directory = mkdtempSync(pathOf(tmpdir(), 'twz-requests-'));
let server: RunningServer | undefined;
let alice: Member;
let bob: Member;

async function member(name: string): Promise<Member> {
  const space = open(pathOf(directory, name));
  return { space, cluster: await join(space, { servers: [server?.url ?? ''], name, patience: 20_000, runs: false }) };
}

before(async () => {
  if (foundServer === undefined) return;
  server = await startServer({ binary: foundServer.path });
  [alice, bob] = await Promise.all([member('alice'), member('bob')]);
});

after(async () => {
  if (server !== undefined)
    for (const { space, cluster } of [alice, bob]) {
      await cluster.leave();
      space.close();
    }
  await server?.stop();
  rmSync(directory, { recursive: true });
});

async function fails(name: ErrorName, body: () => unknown): Promise<TwzError> {
  try {
    await body();
  } catch (error) {
    if (isTwzError(error, name)) return error;
    assert.fail(`expected ${name}: ${String(error)}`);
  }
  return assert.fail(`expected ${name}`);
}

function isTask(value: unknown): asserts value is Task {
  assert.ok(typeof value === 'object' && value !== null && 'size' in value && 'name' in value);
}

test('G15 a request by name is answered by one who serves it, with values, now or later', skip, async () => {
  const asked: unknown[] = [];
  const serving = await alice.cluster.serve('sum', async (value, { from }) => {
    await Promise.resolve();
    asked.push(value);
    assert.equal(from, bob.cluster.id);
    assert.ok(Array.isArray(value));
    return { sum: value.reduce((sum: number, each: number) => sum + each, 0), undefined };
  });
  assert.deepEqual(await bob.cluster.request('sum', [1, 2, 3]), { sum: 6, undefined });
  assert.deepEqual(asked, [[1, 2, 3]]);
  serving.close();
  // Answered behind what it takes to serve no more.
  await fails('Unreachable', () => alice.cluster.request('nobody.at.all', 1));
  // At once, and not at the deadline: that would be TimedOut.
  await fails('Unreachable', () => bob.cluster.request('sum', [1]));
});

test(
  'G15 what goes wrong is told: nobody there, no answer in time, what the handler threw, values that cannot go, bad names',
  skip,
  async () => {
    await fails('Unreachable', () => bob.cluster.request('nothing', null));
    let asked = 0;
    const serving = [
      await alice.cluster.serve('never', () => {
        asked++;
        return new Promise(() => undefined);
      }),
      await alice.cluster.serve('throws', (value) => {
        if (value === 1) throw new RangeError('too much');
        return Promise.reject(new TypeError('too late'));
      }),
      await alice.cluster.serve('strange', () => () => 1),
      await alice.cluster.serve('missing', () => alice.space.get(parseId('0123456789abcdef0123456789abcdef'), Task)),
    ];
    await fails('TimedOut', () => bob.cluster.request('never', null, { deadline: 50 }));
    assert.equal(asked, 1, 'it is not asked twice');
    const { message, context } = await fails('RunFailed', () => bob.cluster.request('throws', 1));
    assert.match(message, /RangeError: too much/);
    assert.equal(context['error'], 'RangeError');
    assert.match(String(context['stack']), /cluster-requests/);
    assert.match((await fails('RunFailed', () => bob.cluster.request('throws', 2))).message, /TypeError: too late/);
    assert.equal((await fails('RunFailed', () => bob.cluster.request('strange', 2))).context['error'], 'CodeInvalid');
    assert.equal((await fails('RunFailed', () => bob.cluster.request('missing', 2))).context['error'], 'ObjectMissing');
    await fails('CodeInvalid', () => bob.cluster.request('throws', () => 1));
    await fails('CodeInvalid', () => bob.cluster.request('throws', 'x'.repeat(300_000)));
    await fails('InvalidArgument', () => bob.cluster.request('a b', 1));
    await fails('InvalidArgument', () => bob.cluster.serve('*', () => 1));
    await fails('InvalidArgument', () => bob.cluster.publish('', 1));
    for (const each of serving) each.close();
  },
);

test('G15 references go in requests and come in answers; what they lead to comes when it is looked at', skip, async () => {
  const make = (name: string, size: number): Task => alice.space.relaxed(() => alice.space.create(Task, { name, size }));
  const [first, second] = [make('first', 1), make('second', 2)];
  const serving = await bob.cluster.serve('larger', (value) => {
    assert.ok(Array.isArray(value));
    const tasks: readonly unknown[] = value;
    return tasks.reduce((a, b) => {
      isTask(a);
      isTask(b);
      return a.size > b.size ? a : b;
    });
  });
  const larger = await alice.cluster.request('larger', [first, second]);
  isTask(larger);
  assert.equal(larger.name, 'second');
  assert.equal(alice.space.object(larger).id, alice.space.object(second).id);
  // A reference that its sender never looked at: it says nothing of its type, and the other side gets the object before it tells of it.
  const third = make('third', 3);
  const echo = await bob.cluster.serve('echo', (value) => value);
  const unseen = bob.cluster.reference(alice.space.object(third).id);
  const before = (await bob.cluster.stat())['fetched'];
  const back = await bob.cluster.request('echo', { task: unseen });
  assert.ok(typeof back === 'object' && back !== null && 'task' in back);
  isTask(back.task);
  assert.equal(back.task.name, 'third');
  assert.equal(Number((await bob.cluster.stat())['fetched']) - Number(before), 1);
  await fails('ObjectMissing', () => bob.cluster.request('echo', bob.cluster.reference(parseId('abababababababababababababababcd'))));
  for (const each of [serving, echo]) each.close();
});

test('G15 those who serve a name are one queue, those who subscribe get it all, and one of a queue gets each', skip, async () => {
  const served = { alice: 0, bob: 0 };
  const serving = [await alice.cluster.serve('who', () => ++served.alice), await bob.cluster.serve('who', () => ++served.bob)];
  await Promise.all(Array.from({ length: 40 }, () => bob.cluster.request('who', null)));
  assert.equal(served.alice + served.bob, 40);
  for (const each of serving) each.close();

  const all: unknown[] = [];
  const work: Record<'alice' | 'bob', unknown[]> = { alice: [], bob: [] };
  const other: unknown[] = [];
  const subscribed = [
    await alice.cluster.subscribe('jobs', (value) => void all.push(value)),
    await alice.cluster.subscribe('jobs', (value) => void work.alice.push(value), { queue: 'workers' }),
    await bob.cluster.subscribe('jobs', (value) => void work.bob.push(value), { queue: 'workers' }),
    await bob.cluster.subscribe('jobs.other', (value) => void other.push(value)),
  ];
  for (let i = 0; i < 60; i++) bob.cluster.publish('jobs', i);
  await until(() => all.length === 60 && work.alice.length + work.bob.length === 60);
  const numbers = Array.from({ length: 60 }, (_, i) => i);
  assert.deepEqual(all, numbers, 'in the order in which they were published');
  assert.deepEqual(
    [...work.alice, ...work.bob].sort((a, b) => Number(a) - Number(b)),
    numbers,
  );
  assert.deepEqual(other, []);
  for (const each of subscribed) each.close();
  bob.cluster.publish('jobs', 'nobody');
  assert.equal(all.length, 60);
});

test('G15 messages with references to what is not here come in their order; who has left neither asks nor hears', skip, async () => {
  const task = alice.space.relaxed(() => alice.space.create(Task, { name: 'fourth', size: 4 }));
  const heard: unknown[] = [];
  const subscription = await alice.cluster.subscribe('mixed', (value) =>
    heard.push(typeof value === 'object' && value !== null && 'size' in value ? value.size : value),
  );
  bob.cluster.publish('mixed', bob.cluster.reference(alice.space.object(task).id));
  bob.cluster.publish('mixed', 'behind it');
  await until(() => heard.length === 2);
  assert.deepEqual(heard, [4, 'behind it']);
  subscription.close();
  const carol = await member('carol');
  await carol.cluster.leave();
  await fails('NotJoined', () => carol.cluster.request('who', 1));
  await fails('NotJoined', () => carol.cluster.publish('who', 1));
  carol.space.close();
});

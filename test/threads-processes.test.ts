/** T13: threads that are ended, waited for and orphaned by other processes than the one that spawned them. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { threads, type ThreadResult } from '../src/index.ts';
import { KINDS, scene } from './threads-scene.ts';

const NEIGHBOUR = fileURLToPath(new URL('./threads-neighbour.js', import.meta.url));

async function neighbour(t: TestContext, directory: string): Promise<ChildProcess> {
  const child = fork(NEIGHBOUR, [directory], { execArgv: [] });
  t.after(() => child.kill('SIGKILL'));
  await once(child, 'message');
  return child;
}

async function say(child: ChildProcess, order: object): Promise<unknown> {
  const answer = once(child, 'message');
  child.send(order);
  return (await answer)[0];
}

for (const as of KINDS) {
  test(`T13 a ${as} is killed from another process; a third one, which blocks, is told by plain threadSync`, async (t) => {
    const { ground, space, task, start, until } = scene(t, 'wait');
    const thread = start({ as });
    const [killer, sleeper, waiter] = await Promise.all([1, 2, 3].map(() => neighbour(t, ground.directory)));
    if (killer === undefined || sleeper === undefined || waiter === undefined) throw new Error('no neighbours');
    await until(() => task.told !== '');
    assert.deepEqual(await Promise.all([say(sleeper, { order: 'wait plain', number: 1 }), say(waiter, { order: 'wait', number: 1 })]), [
      'waits',
      'waits',
    ]);
    const told = Promise.all([once(sleeper, 'message'), once(waiter, 'message')]);
    killer.send({ order: 'kill', number: 1 });
    const result: ThreadResult = await thread.waitAsync();
    assert.deepEqual([result.reason, result.code], ['killed', 137]);
    for (const [each] of await told) assert.deepEqual(each, { reason: 'killed', code: 137 });
    assert.equal(space.closed, false);
  });
}

test('T13 who spawned it dies: a process goes on, is asked to stop, or ends, as was said; its threads end with it', async (t) => {
  const { ground, space, until } = scene(t, 'nothing');
  const parent = await neighbour(t, ground.directory);
  const order = (what: string, as: string, orphan: string): Promise<unknown> =>
    say(parent, { order: 'spawn', what, options: { as, orphan } });
  assert.equal(await order('wait', 'process', 'stay'), 1);
  assert.equal(await order('wait', 'process', 'stop'), 2);
  assert.equal(await order('spin', 'process', 'end'), 3);
  assert.equal(await order('wait', 'thread', 'stay'), 4);
  await until(() => threads(space).every(({ started }) => started === 1));
  const [stays, stops, ends, thread] = threads(space);
  if (stays === undefined || stops === undefined || ends === undefined || thread === undefined) throw new Error('threads are missing');
  parent.kill('SIGKILL');
  const results = await Promise.all([stops, ends, thread].map((each) => each.waitAsync({ timeout: 60_000 })));
  assert.deepEqual(
    results.map(({ reason }) => reason),
    ['returned', 'killed', 'killed'],
  );
  // Who was told by the system is dead; as long as nobody has cleared a process away, it can still be seen.
  assert.ok([-1, 137].includes(results[1]?.code ?? 0));
  assert.equal(results[2]?.code, -1);
  assert.match(results[2]?.error?.message ?? '', /died without a word/);
  assert.equal(stays.status, 'running');
  stays.requestStop();
  assert.deepEqual(stays.wait(), { reason: 'returned', code: 7, error: undefined });
});

test('T13 who spawns is killed before its process has begun: whoever looks finds that it has ended', async (t) => {
  const { ground, space, until } = scene(t, 'nothing');
  const parent = await neighbour(t, ground.directory);
  // The process is stopped by the options of Node that it is started with: it waits for a debugger.
  assert.equal(
    await say(parent, { order: 'spawn', what: 'wait', options: { as: 'process', execArgv: ['--inspect-brk=0'], prints: false } }),
    1,
  );
  await until(() => (threads(space)[0]?.pid ?? 0) !== 0);
  const [thread] = threads(space);
  if (thread === undefined) throw new Error('no thread');
  const gone = once(parent, 'exit');
  parent.kill('SIGKILL');
  await gone;
  process.kill(thread.pid, 'SIGKILL');
  const { reason, code } = await thread.waitAsync();
  assert.deepEqual([reason, [-1, 137].includes(code), thread.started], ['killed', true, 0]);
});

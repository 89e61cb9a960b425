/** T1, T12, T13: threads as objects: they are started, waited for and ended by words of a control object, from wherever. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { isTwzError, spawn, threadSync, type Infer, type Space, type SpawnOptions, type Thread } from '../src/index.ts';
import { Ground } from './hosts.ts';
import { Task } from './threads-work.ts';

const WORK = new URL('./threads-work.js', import.meta.url);
const KINDS = ['thread', 'process'] as const;

interface Scene {
  readonly space: Space;
  readonly task: Infer<typeof Task>;
  start(options?: SpawnOptions): Thread;
}

/** A space, and a task in it. Threads that still run at the end are killed. */
function scene(t: TestContext, what: string, n = 0): Scene {
  const started: Thread[] = [];
  // Before the ground is cleared.
  t.after(async () => {
    for (const each of started) each.kill();
    await Promise.all(started.map((each) => each.waitAsync()));
  });
  const ground = new Ground('linux', t);
  const space = ground.open({ segmentSize: 1 << 20 });
  const task = space.relaxed(() => space.create(Task, { what, n }));
  return {
    space,
    task,
    start: (options = {}) => {
      const thread = spawn(space, WORK, { argument: task, ...options });
      started.push(thread);
      return thread;
    },
  };
}

for (const as of KINDS) {
  test(`T1 a ${as} runs a module with an object, and gives its exit code`, async (t) => {
    const { space, task, start } = scene(t, 'add', 4);
    const thread = start({ as, name: 'adder' });
    assert.equal(thread.name, 'adder');
    const result = await thread.waitAsync();
    assert.deepEqual(result, { reason: 'returned', code: 5, error: undefined });
    space.refresh();
    assert.equal(task.n, 5);
    assert.equal(thread.status, 'exited');
    assert.deepEqual([thread.started, thread.ended], [1, 1]);
    assert.deepEqual(thread.result, result);
  });

  test(`T12 a ${as} is waited for by a thread that blocks, right after it was started`, (t) => {
    const { start } = scene(t, 'nothing');
    assert.deepEqual(start({ as }).wait(), { reason: 'returned', code: 0, error: undefined });
  });

  test(`T13 how a ${as} fails is told with its error`, async (t) => {
    const { start } = scene(t, 'throw', 3);
    const { reason, code, error } = await start({ as }).waitAsync();
    assert.deepEqual([reason, code], ['failed', 1]);
    assert.ok(isTwzError(error, 'ThreadFailed'));
    assert.match(error.message, /failed: RangeError: no more than 3$/);
    assert.equal(error.context['error'], 'RangeError');
    assert.match(String(error.context['stack']), /threads-work/);
  });

  test(`T13 a ${as} that is killed has ended for everyone who waits`, async (t) => {
    const { space, task, start } = scene(t, 'wait');
    const thread = start({ as });
    while (task.told === '') {
      await new Promise(setImmediate);
      space.refresh();
    }
    const waits = [thread.waitAsync(), thread.waitAsync()];
    thread.kill();
    for (const { reason, code, error } of await Promise.all(waits)) {
      assert.deepEqual([reason, code], ['killed', 137]);
      assert.ok(isTwzError(error, 'ThreadKilled'));
      assert.match(error.message, /SIGKILL/);
    }
  });
}

test('T12 several threads are waited for by one plain threadSync that blocks, though one of them dies without a word', async (t) => {
  const { start } = scene(t, 'wait');
  const [one, other] = [start({ as: 'process' }), start({ as: 'process' })];
  while (one.started + other.started < 2) await new Promise(setImmediate);
  const ops = [one.exit, other.exit];
  process.kill(other.pid, 'SIGKILL');
  // This thread sees no end of a process from here on.
  const { at } = threadSync(ops);
  assert.equal(at, 1);
  assert.deepEqual([one.status, other.status], ['running', 'exited']);
  assert.equal(other.result?.code, 137);
});

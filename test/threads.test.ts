/** T1, T12, T13: threads as objects: they are started, and waited for by a word of a control object. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ThreadRepr, spawn, threadOf, threadSync, threadSyncAsync, threads } from '../src/index.ts';
import { Ground, fails, rejects } from './hosts.ts';
import { makeThread } from '../src/services/threads/spawn.ts';
import { KINDS, WORK, scene } from './threads-scene.ts';

for (const as of KINDS) {
  test(`T1 a ${as} runs a module with an object, and gives its exit code`, async (t) => {
    const { space, task, start } = scene(t, 'add', 4);
    const thread = start({ as, name: 'adder' });
    assert.deepEqual([thread.name, thread.number, thread.as], ['adder', 1, as]);
    const result = await thread.waitAsync();
    assert.deepEqual(result, { reason: 'returned', code: 5, error: undefined });
    space.refresh();
    assert.equal(task.n, 5);
    assert.equal(thread.status, 'exited');
    assert.deepEqual([thread.started, thread.ended], [1, 1]);
    assert.deepEqual(thread.result, result);
    // The words of the control object are what its documentation says.
    const { version, status, reason, code, number, started, ended } = space.get(thread.id, ThreadRepr);
    assert.deepEqual([version, status, reason, code, number, started, ended], [1, 255, 'returned', 5, 1, 1, 1]);
  });

  test(`T12 a ${as} is waited for by a thread that blocks, right after it was started`, (t) => {
    const { start } = scene(t, 'nothing');
    assert.deepEqual(start({ as }).wait(), { reason: 'returned', code: 0, error: undefined });
  });
}

test('T1 a module in TypeScript, as it was written, that uses this package', async (t) => {
  const { space, task, ground } = scene(t, 'nothing', 20);
  const file = join(dirname(ground.directory), 'written.ts');
  writeFileSync(
    file,
    `import { struct, text, u32, type ThreadSelf } from 'twizzler';
     const Task = struct('ThreadTask', { what: text, n: u32, told: text });
     export const main = (thread: ThreadSelf): number => thread.argument(Task).n as number + 1;`,
  );
  for (const as of KINDS)
    assert.equal((await spawn(space, as === 'thread' ? file : pathToFileURL(file), { as, argument: task }).waitAsync()).code, 21);
});

test('T12 several threads are waited for at once, by plain threadSync; a time that is over, and a signal', async (t) => {
  const { start, until, task } = scene(t, 'wait');
  const [one, other] = [start({ as: 'process' }), start({ as: 'thread' })];
  await until(() => task.told !== '' && one.status === 'running' && other.status === 'running');
  assert.equal(threadSync([one.exit, other.exit], { timeout: 1 }).outcome, 'timedOut');
  fails('ThreadTimeout', () => one.wait({ timeout: 1 }));
  await rejects('ThreadTimeout', one.waitAsync({ timeout: 1 }));
  const giving = new AbortController();
  const waiting = one.waitAsync({ signal: giving.signal });
  giving.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  const both = threadSyncAsync([one.exit, other.exit]);
  other.requestStop();
  assert.equal((await both).at, 1);
  assert.equal(other.result?.code, 7);
  assert.equal(one.status, 'running');
  assert.equal(one.result, undefined);
});

test('T12 a sleeper in plain threadSync that blocks its event loop wakes though the thread died without a word', async (t) => {
  const { start, until } = scene(t, 'wait');
  const [one, other] = [start({ as: 'process' }), start({ as: 'process' })];
  await until(() => one.started + other.started === 2);
  const ops = [one.exit, other.exit];
  process.kill(other.pid, 'SIGKILL');
  // This thread sees no end of a process from here on.
  const { at } = threadSync(ops, { timeout: 60_000 });
  assert.equal(at, 1);
  assert.deepEqual([one.status, other.status], ['running', 'exited']);
  assert.equal(other.result?.code, 137);
});

test('T12 threads are listed, found by their control object, and let go of', async (t) => {
  const { space, start, until, task } = scene(t, 'wait');
  const one = start({ name: 'first' });
  await until(() => task.told !== '');
  space.relaxed(() => (task.what = 'add'));
  const other = start({ name: 'second' });
  await other.waitAsync();
  assert.deepEqual(
    threads(space).map(({ number, name, status }) => [number, name, status]),
    [
      [1, 'first', 'running'],
      [2, 'second', 'exited'],
    ],
  );
  assert.equal(threadOf(space, other.id).result?.code, 1);
  fails('TypeMismatch', () => threadOf(space, task));
  fails('ThreadRuns', () => one.release());
  other.release();
  assert.equal(space.has(other.id), false);
  assert.deepEqual(
    threads(space).map(({ number }) => number),
    [1],
  );
  // What it was started with was kept by the table, and is anyone's.
  assert.equal(space.has(space.object(task).id), true);
});

test('T12 control objects do not pile up: those of the last threads that ended are kept', (t) => {
  const { space } = scene(t, 'nothing');
  const before = [...space.ids()].length;
  // As `spawn` does, but that no program is started.
  for (let i = 0; i < 80; i++) {
    const thread = makeThread(space, 'data:text/javascript,', 0, {});
    if (i !== 3) thread.control.settle('returned', 0);
  }
  const kept = threads(space);
  assert.deepEqual(
    kept.map(({ number }) => number),
    [4, ...Array.from({ length: 33 }, (_, i) => 48 + i)],
  );
  // Beside them the table, the root of names, and what the space notes of those that are deleted.
  assert.equal([...space.ids()].length - before, kept.length + 3);
  for (const each of kept) if (each.number !== 4) each.release();
  assert.deepEqual(
    threads(space).map(({ number, status }) => [number, status]),
    [[4, 'sleeping']],
  );
});

test('T12 a host without shared memory has no threads', (t) => {
  const ground = new Ground('portable', t);
  fails('NotSupported', () => spawn(ground.open(), WORK));
});

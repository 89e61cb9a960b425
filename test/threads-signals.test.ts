/** T12: what threads are asked: signals, to stop, to stand still. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fails, rejects } from './hosts.ts';
import { KINDS, scene } from './threads-scene.ts';

for (const as of KINDS) {
  test(`T12 a ${as} gets signals, small integers, each once however often it was posted before it was taken`, async (t) => {
    const { task, start, until } = scene(t, 'signals');
    const thread = start({ as });
    fails('OutOfRange', () => thread.post(32));
    thread.post(31);
    thread.post(0);
    thread.post(31);
    await until(() => task.told === '0 31;');
    thread.post(5);
    await until(() => task.told === '0 31;5;');
    thread.requestStop();
    assert.equal((await thread.waitAsync()).code, 11);
  });

  test(`T12 a ${as} is asked to stop, and killed where it does not`, async (t) => {
    const { space, task, start, until } = scene(t, 'wait');
    const heeds = start({ as });
    await until(() => task.told !== '');
    assert.equal((await heeds.stop()).code, 7);
    space.relaxed(() => (task.what = 'spin'));
    const spins = start({ as });
    await until(() => task.told === 'spins');
    await rejects('ThreadTimeout', spins.stop({ timeout: 1 }));
    const { reason, code } = await spins.stop({ within: 1 });
    assert.deepEqual([reason, code], ['killed', 137]);
    // Once more is no error.
    assert.equal((await spins.stop()).code, 137);
  });
}

test('T13 threads are killed while they are being loaded: they end, and their process does not', async (t) => {
  const { start } = scene(t, 'wait');
  const all = Array.from({ length: 6 }, () => start({ as: 'thread' }));
  for (const each of all.slice(0, 3)) each.kill();
  // The others as soon as they are there themselves, and open the space.
  const late = all.slice(3).map(async ({ control }, i) => {
    const parent = control.get('parent');
    while (control.get('self') === parent) await new Promise((resolve) => setImmediate(resolve));
    all[i + 3]?.kill();
  });
  await Promise.all(late);
  for (const { reason, code } of await Promise.all(all.map((each) => each.waitAsync()))) assert.deepEqual([reason, code], ['killed', 137]);
  for (const { started } of all.slice(0, 3)) assert.equal(started, 0);
});

test('T12 a process stands still, and goes on', async (t) => {
  const { task, start, until } = scene(t, 'points of promises');
  const thread = start({ as: 'process' });
  await until(() => task.n > 3);
  await thread.suspend();
  assert.equal(thread.status, 'suspended');
  const { threads } = thread.control.words;
  await until(() => threads.show(thread.control.get('self')).includes('stopped'));
  thread.resume();
  const { n } = task;
  await until(() => task.n > n + 3);
  await thread.suspend();
  // Who is to stop must go on first.
  assert.equal((await thread.stop()).code, 9);
  await rejects('ThreadEnded', thread.suspend());
});

for (const what of ['points', 'points of promises']) {
  test(`T12 a thread stands still at ${what}, and goes on`, async (t) => {
    const { space, task, start, until } = scene(t, what);
    const thread = start({ as: 'thread' });
    await until(() => task.n > 3);
    await thread.suspend();
    assert.equal(thread.status, 'suspended');
    space.refresh();
    const { n } = task;
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    space.refresh();
    assert.equal(task.n, n);
    thread.resume();
    await until(() => task.n > n + 3);
    assert.equal((await thread.stop()).code, what === 'points' ? 8 : 9);
  });
}

test('T12 a thread that comes to no point is not suspended', async (t) => {
  const { task, start, until } = scene(t, 'wait');
  const thread = start({ as: 'thread' });
  await until(() => task.told !== '');
  await rejects('ThreadTimeout', thread.suspend({ timeout: 5 }));
  assert.equal(thread.status, 'running');
});

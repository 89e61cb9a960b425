/** T13: supervised threads: all begin again together, the limit of restarts, and the death of the supervisor itself. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isTwzError, supervisors, threads } from '../src/index.ts';
import { rejects } from './hosts.ts';
import { scene } from './threads-scene.ts';
import { childrenOf, staff } from './threads-staff.ts';

test('T13 supervised, one for all: the others are stopped in reverse order, and all begin again in order', async (t) => {
  const all = staff(t, [{ what: 'wait' }, { what: 'fail n times', n: 2 }, { what: 'wait' }], { strategy: 'one for all' });
  const { supervisor, until, tasks } = all;
  await until(() => supervisor.child('b').started === 3 && tasks[0]?.told === 'waits 3' && tasks[2]?.told === 'waits 3');
  assert.deepEqual(childrenOf(all), [
    ['runs', 2],
    ['runs', 2],
    ['runs', 2],
  ]);
  const ends: string[] = [];
  const ending = supervisor.children.map((each) => each.waitAsync().then(({ code }) => ends.push(`${each.name} ${code}`)));
  await supervisor.stop();
  await Promise.all(ending);
  assert.deepEqual(ends, ['c 7', 'b 0', 'a 7']);
});

test('T13 supervised: with one restart more than the limit it gives up, and stops the others', async (t) => {
  const all = staff(t, [{ what: 'wait' }, { what: 'throw', n: 9 }], { restartsMax: 2, window: 600_000 });
  const { supervisor } = all;
  const error: unknown = await supervisor.ended.catch((cause: unknown) => cause);
  assert.ok(isTwzError(error, 'SupervisorGaveUp'));
  assert.match(error.message, /^more than 2 restarts in 600000 ms; the last was of "b": .*RangeError: no more than 9$/);
  assert.ok(isTwzError(error.cause, 'ThreadFailed'));
  assert.equal(supervisor.child('b').started, 3);
  assert.equal(supervisor.child('a').status, 'exited');
  assert.equal(supervisor.state.status, 'gave up');
  await rejects('SupervisorGaveUp', supervisor.stop());
});

test('T13 supervised: the supervisor is killed, and its children end with it, busy as they are; another takes its place', async (t) => {
  const { ground, space, until } = scene(t, 'nothing');
  const program = fileURLToPath(new URL('./threads-supervisor.js', import.meta.url));
  const first = fork(program, [ground.directory], { execArgv: [] });
  t.after(() => first.kill('SIGKILL'));
  await until(() => threads(space).length === 2 && threads(space).every(({ started }) => started === 1));
  const orphans = threads(space);
  first.kill('SIGKILL');
  for (const result of await Promise.all(orphans.map((each) => each.waitAsync()))) assert.equal(result.reason, 'killed');
  assert.deepEqual(
    supervisors(space).map(({ state, lives }) => [state.name, state.status, lives]),
    [['staff', 'runs', false]],
  );
  const second = fork(program, [ground.directory], { execArgv: [] });
  t.after(() => second.kill('SIGKILL'));
  await until(
    () => supervisors(space)[0]?.lives === true && threads(space).length === 4 && threads(space).every((each) => each.started === 1),
  );
  const ended = once(second, 'exit');
  const living = threads(space).slice(2);
  second.send('stop');
  assert.deepEqual(await ended, [0, null]);
  for (const each of living) assert.equal(each.wait().reason, 'killed');
});

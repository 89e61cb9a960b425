/** T13: supervised threads: they are started again by their policies, and stopped. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { supervise, supervisors, threads, type ChildSpec } from '../src/index.ts';
import { fails } from './hosts.ts';
import { WORK } from './threads-scene.ts';
import { childrenOf, staff } from './threads-staff.ts';

test('T13 supervised, one for one: who is killed is started again, with the same control object and the messages that wait in it', async (t) => {
  const all = staff(t, [
    { what: 'crash at first', as: 'process' },
    { what: 'wait', as: 'thread' },
  ]);
  const { supervisor, tasks, until } = all;
  const child = supervisor.child('a');
  child.send('before it was born');
  await until(() => tasks[0]?.told === '"before it was born";');
  assert.deepEqual([child.started, child.ended], [2, 1]);
  assert.equal(supervisor.child('b').started, 1);
  assert.deepEqual(childrenOf(all), [
    ['runs', 1],
    ['runs', 0],
  ]);
  assert.match(supervisor.state.children.get(0)?.last ?? '', /ended by SIGKILL/);
  assert.equal(supervisor.state.restarts, 1);
  // There are no more control objects than children.
  assert.equal(threads(all.space).length, 2);
  fails('InvalidArgument', () => supervisor.child('nobody'));
  // Between two runs it can be sent to, too; not after the last.
  child.kill();
  child.wait();
  child.send('between');
  await until(() => (tasks[0]?.told ?? '').endsWith('"between";'));
  assert.equal(child.started, 3);
  await supervisor.stop();
  fails('ThreadEnded', () => child.send('after'));
  assert.equal(supervisor.state.status, 'stopped');
  assert.deepEqual(
    supervisor.children.map(({ status }) => status),
    ['exited', 'exited'],
  );
});

test('T13 supervised: policies', async (t) => {
  const all = staff(t, [{ what: 'throw', restart: 'never' }, { what: 'nothing' }, { what: 'nothing', restart: 'always' }]);
  const { supervisor, until } = all;
  await until(() => supervisor.child('c').ended >= 2 && supervisor.child('a').ended === 1 && supervisor.child('b').ended === 1);
  await supervisor.stop();
  const [a, b, c] = supervisor.children.map(({ started }) => started);
  assert.deepEqual([a, b], [1, 1]);
  assert.ok((c ?? 0) >= 2);
  assert.match(supervisor.state.children.get(0)?.last ?? '', /RangeError/);
});

test('T13 supervised: when all have ended for good, it has', async (t) => {
  const all = staff(t, [{ what: 'nothing' }, { what: 'throw', restart: 'never' }]);
  await all.supervisor.ended;
  assert.equal(all.supervisor.state.status, 'stopped');
  await all.supervisor.stop();
});

test('T13 supervised: it is found by its name, once, and what is asked of it is checked', async (t) => {
  const all = staff(t, [{ what: 'wait' }], { name: 'shop' });
  const { space, supervisor } = all;
  const child: ChildSpec = { name: 'x', module: WORK };
  fails('NameExists', () => supervise(space, [child], { name: 'shop' }));
  fails('InvalidArgument', () => supervise(space, []));
  fails('InvalidArgument', () => supervise(space, [child, child]));
  fails('InvalidArgument', () => supervise(space, [child], { restartsMax: -1 }));
  fails('InvalidArgument', () => supervise(space, [child], { backoff: { first: Number.NaN } }));
  assert.deepEqual(
    supervisors(space).map(({ state, lives }) => [state.name, state.status, lives]),
    [['shop', 'runs', true]],
  );
  await supervisor.stop();
  assert.deepEqual(
    supervisors(space).map(({ state, lives }) => [state.name, state.status, lives]),
    [['shop', 'stopped', false]],
  );
});

/** T13, T18: `twz threads`, as a user types it while a program runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { spawn, supervise } from '../src/index.ts';
import { WORK } from './threads-scene.ts';
import { Task } from './threads-work.ts';
import { Bench } from './tools.ts';
import { until } from './until.ts';

test('T18 twz threads: lists, stops and kills what programs have spawned', async (t) => {
  const bench = new Bench();
  const space = bench.space('s');
  const argument = space.relaxed(() => space.create(Task, { what: 'wait' }));
  const one = spawn(space, WORK, { as: 'process', argument, name: 'one' });
  const supervisor = supervise(space, [{ name: 'two', module: WORK, argument, as: 'process', restart: 'always' }], { name: 'staff' });
  const two = supervisor.child('two');
  t.after(async () => {
    one.kill();
    await one.waitAsync();
    await supervisor.stop();
    space.close();
  });
  await until(() => one.started + two.started === 2);
  const told = bench.good('threads', '-s', 's');
  assert.match(told, /^NR +NAME +AS +STATUS +PID +STARTED +ENDED\n/);
  assert.match(told, new RegExp(`\\n *1 +one +process +running +${one.pid} +1\\s*\\n`));
  assert.match(told, new RegExp(`\\nsupervisor staff: process ${process.pid}, one for one, 0 restarts: two runs\\n$`));

  assert.equal(bench.good('threads', '-s', 's', '--stop', '1'), 'process 1 (one) returned, with 7\n');
  assert.doesNotMatch(bench.good('threads', '-s', 's'), /one +process/);
  assert.match(bench.good('threads', '-s', 's', '--all'), /one +process +exited +\d+ +1 +returned, with 7/);
  assert.match(bench.good('threads', '-s', 's', '--kill', '2'), /^process 2 \(two\) killed, with (137|-1)\n$/);
  await until(() => two.started === 2);
  const listed = bench.json('threads', '-s', 's') as { threads: { started: number }[]; supervisors: { restarts: number }[] };
  assert.deepEqual([listed.threads.map(({ started }) => started), listed.supervisors.map(({ restarts }) => restarts)], [[2], [1]]);

  for (const wrong of [
    ['--stop', '99'],
    ['--stop', 'x'],
    ['--stop', '1', '--kill', '1'],
  ])
    assert.equal(bench.run(['threads', '-s', 's', ...wrong]).code, 2, wrong.join(' '));
});

test('T18 a backup of a space with threads is sound: control objects are not missed in it', async () => {
  const bench = new Bench();
  const space = bench.space('s');
  const argument = space.relaxed(() => space.create(Task, { what: 'nothing' }));
  await spawn(space, WORK, { as: 'process', argument }).waitAsync();
  await space.backup(bench.path('b'));
  space.close();
  bench.good('restore', 'b', 'r');
  bench.good('check', '-s', 'r');
  assert.equal(bench.good('threads', '-s', 'r', '--all'), 'no threads\n');
  bench.good('check', '-s', 's');
});

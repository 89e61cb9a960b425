/** T13: how threads fail, exit, or cannot begin, and how that is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTwzError, spawn } from '../src/index.ts';
import { fails } from './hosts.ts';
import { KINDS, WORK, scene } from './threads-scene.ts';
import { Task } from './threads-work.ts';

for (const as of KINDS) {
  test(`T13 how a ${as} fails is told with its error`, async (t) => {
    const { space, start } = scene(t, 'throw', 3);
    const { reason, code, error } = await start({ as }).waitAsync();
    assert.deepEqual([reason, code], ['failed', 1]);
    assert.ok(isTwzError(error, 'ThreadFailed'));
    assert.match(error.message, /failed: RangeError: no more than 3$/);
    assert.equal(error.context['error'], 'RangeError');
    assert.match(String(error.context['stack']), /threads-work/);
    // In another turn of its event loop, and in a promise that nobody handles.
    const results = ['throw later', 'reject'].map((what) => {
      const argument = space.relaxed(() => space.create(Task, { what }));
      return start({ as, argument, prints: false }).waitAsync();
    });
    const messages = [/SyntaxError: in another turn$/, /TypeError: nobody handles it$/];
    for (const [i, later] of (await Promise.all(results)).entries()) {
      assert.deepEqual([later.reason, later.code], ['failed', 1]);
      assert.match(later.error?.message ?? '', messages[i] ?? /-/);
    }
  });

  test(`T13 a ${as} exits, or waits for what never comes: that is told, too`, async (t) => {
    const { space, start } = scene(t, 'nothing');
    const [exits, stalls, gives] = await Promise.all(
      [{ what: 'exit', n: 3 }, { what: 'stall' }, { what: 'code', told: '1.5' }].map((task) =>
        start({ as, argument: space.relaxed(() => space.create(Task, task)) }).waitAsync(),
      ),
    );
    assert.deepEqual(exits, { reason: 'exited', code: 3, error: undefined });
    assert.deepEqual([stalls?.reason, stalls?.code], ['failed', 13]);
    assert.match(stalls?.error?.message ?? '', /waits for something that never comes/);
    assert.match(gives?.error?.message ?? '', /ThreadModule: the main function gave 1\.5; expected/);
  });
}

test('T13 modules that are no modules of threads', async (t) => {
  const { space } = scene(t, 'nothing');
  fails('InvalidArgument', () => spawn(space, './worker.js'));
  fails('InvalidArgument', () => spawn(space, 'https://example.org/worker.js'));
  const [missing, empty, wrong] = await Promise.all(
    [
      new URL('./nothing-here.js', import.meta.url),
      'data:text/javascript,export const x = 1',
      'data:text/javascript,export const main = (',
    ].map((module) => spawn(space, module).waitAsync()),
  );
  assert.match(missing?.error?.message ?? '', /Cannot find module/);
  assert.match(empty?.error?.message ?? '', /ThreadModule: .* exports no function main, and none as default/);
  assert.match(wrong?.error?.message ?? '', /SyntaxError/);
  // Node itself does not start.
  const { reason, code } = await spawn(space, WORK, { as: 'process', execArgv: ['--no-such-option'], prints: false }).waitAsync();
  assert.deepEqual([reason, code], ['exited', 9]);
  fails('TransactionNested', () => space.relaxed(() => spawn(space, WORK)));
});

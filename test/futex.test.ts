/** T12: words that threads and processes sleep on. Real processes over a file mapped shared. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { isTwzError } from '../src/abi/errors.ts';
import { Region, type Futex } from '../src/host/futex.ts';
import { LinuxFutex } from '../src/host/linux/system-futex.ts';
import { LocalFutex } from '../src/host/local-futex.ts';
import { endNativeThread, startNativeThread } from '../src/host/native-threads.ts';
import { ProcessThreads } from '../src/host/process-threads.ts';
import { mapped, order, startChild, wakeSleeper } from './sync-parent.ts';
import { amount } from './thorough.ts';
import { until } from './until.ts';

const FUTEXES: Readonly<Record<string, () => Futex>> = {
  linux: () => new LinuxFutex(),
  'linux without futex_waitv': () => new LinuxFutex(false),
  local: () => new LocalFutex(new ProcessThreads()),
};

for (const [name, make] of Object.entries(FUTEXES)) {
  describe(`T12 words on ${name}`, () => {
    const futex = make();
    const region = (): Region => new Region(futex, new Uint8Array(new SharedArrayBuffer(4096)));

    test('a word that has another value is no reason to sleep', async () => {
      const words = region();
      words.i32[5] = 7;
      assert.equal(words.wait(5, 6), 'changed');
      assert.equal(await words.waitAsync(5, 6), 'changed');
      assert.deepEqual(
        words.waitAny([
          { words, index: 4, value: 0 },
          { words, index: 5, value: 0 },
        ]),
        { why: 'changed', at: 1 },
      );
      assert.equal(words.wake(5), 0);
    });

    test('a time that is over ends a sleep', async () => {
      const words = region();
      assert.equal(words.wait(1, 0, 0), 'timedOut');
      assert.equal(words.wait(1, 0, 2), 'timedOut');
      assert.equal(await words.waitAsync(1, 0, 2), 'timedOut');
      const both = [
        { words, index: 1, value: 0 },
        { words, index: 2, value: 0 },
      ];
      assert.deepEqual(words.waitAny(both, 2), { why: 'timedOut', at: -1 });
      assert.deepEqual(await words.waitAnyAsync(both, 2), { why: 'timedOut', at: -1 });
      assert.deepEqual(words.waitAny([], 2), { why: 'timedOut', at: -1 });
    });

    test('promises: each word wakes its own sleepers, and no others', async () => {
      const words = region();
      const outcomes: string[] = [];
      const sleeps = Array.from({ length: 300 }, (_, i) =>
        words.waitAsync(100 + i, 0).then((why) => {
          outcomes.push(`${i}`);
          return why;
        }),
      );
      for (const i of [299, 0, 150]) {
        Atomics.store(words.i32, 100 + i, 1);
        words.wake(100 + i);
        assert.notEqual(await sleeps[i], 'timedOut');
      }
      assert.deepEqual(outcomes, ['299', '0', '150']);
      for (let i = 0; i < 300; i++) {
        Atomics.store(words.i32, 100 + i, 1);
        words.wake(100 + i);
      }
      await Promise.all(sleeps);
    });

    test('promises: several words, and giving up', async () => {
      const words = region();
      const states = [
        { words, index: 1, value: 0 },
        { words, index: 2, value: 0 },
      ];
      const first = words.waitAnyAsync(states);
      Atomics.store(words.i32, 2, 1);
      words.wake(2);
      assert.equal((await first).at, 1);
      Atomics.store(words.i32, 2, 0);
      const stop = new AbortController();
      const second = words.waitAnyAsync(states, Infinity, stop.signal);
      stop.abort(new Error('enough'));
      await assert.rejects(second, /enough/);
      await assert.rejects(words.waitAsync(1, 0, 10, stop.signal), /enough/);
    });

    test('wrong words are refused by name', () => {
      const words = region();
      assert.throws(
        () => words.wait(1024, 0),
        (error) => isTwzError(error, 'OutOfRange'),
      );
      assert.throws(
        () => words.wake(1.5),
        (error) => isTwzError(error, 'OutOfRange'),
      );
      assert.throws(
        () => words.wait(0, 0, Number.NaN),
        (error) => isTwzError(error, 'InvalidArgument'),
      );
      assert.throws(
        () => new Region(futex, new Uint8Array(words.u8.buffer, 2, 8)),
        (error) => isTwzError(error, 'WordMisaligned'),
      );
      const many = Array.from({ length: 128 }, (_, index) => ({ words, index, value: 0 }));
      assert.throws(
        () => words.waitAny(many),
        (error) => isTwzError(error, 'OutOfRange'),
      );
      words.end();
      assert.throws(
        () => words.wait(0, 0),
        (error) => isTwzError(error, 'StaleReference'),
      );
    });
  });
}

describe('T12 words between processes', () => {
  test('one sleeps, blocking and as a promise, and the other wakes it', async (t) => {
    const { words, file } = mapped(t);
    const child = await startChild(t, file);
    for (const call of ['wait', 'waitAsync'] as const) {
      const answer = order(child, { call, index: 40, value: 0 });
      await wakeSleeper(words, 40);
      assert.equal(await answer, 'woken');
    }
    assert.equal(await order(child, { call: 'wait', index: 40, value: 5 }), 'changed');
  });

  test('as many are woken as was said', async (t) => {
    const { words, file } = mapped(t);
    const children = await Promise.all([1, 2, 3].map(() => startChild(t, file)));
    const answers = children.map((child) => order(child, { call: 'wait', index: 7, value: 0 }));
    // One and one more; the last one by name of everybody.
    await wakeSleeper(words, 7);
    await Promise.race(answers);
    await wakeSleeper(words, 7);
    let woken = 0;
    await until(() => (woken = words.wake(7)) > 0);
    assert.equal(woken, 1);
    assert.deepEqual(await Promise.all(answers), ['woken', 'woken', 'woken']);
  });

  test('no wake is lost, whichever way both sides sleep', async (t) => {
    const { words, file } = mapped(t);
    const child = await startChild(t, file);
    const seed = Number(process.env['SYNC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
    t.diagnostic(`seed ${seed}`);
    const rounds = amount(600, 1500);
    const done = order(child, { call: 'echo', rounds, seed });
    let random = seed ^ 0x5bd1e995;
    for (let i = 1; i <= rounds; i++) {
      Atomics.store(words.i32, 0, i);
      words.wake(0);
      random = (Math.imul(random, 1103515245) + 12345) >>> 0;
      while (Atomics.load(words.i32, 16) !== i) {
        const why = random % 2 === 0 ? words.wait(16, i - 1, 30_000) : await words.waitAsync(16, i - 1, 30_000);
        assert.notEqual(why, 'timedOut', `round ${i} of seed ${seed}: the answer did not wake`);
      }
    }
    assert.equal(await done, 'done');
  });

  test('a process that waits for nothing any more ends by itself', async (t) => {
    const { words, file } = mapped(t);
    const child = await startChild(t, file);
    const answer = order(child, { call: 'waitAsync', index: 3, value: 0 });
    await wakeSleeper(words, 3);
    await answer;
    const ended = once(child, 'exit');
    child.send({ call: 'stop' });
    assert.deepEqual(await ended, [0, null]);
  });
});

test('T12 a process does not end while a thread of the package loads native code, which would abort it', async () => {
  const url = new URL('../src/host/native-threads.js', import.meta.url).href;
  const thread = `import { workerData } from 'node:worker_threads'; import { loadNative } from '${url}'; Atomics.store(workerData.done, 0, 1); loadNative();`;
  const program = `
    import { startNativeThread } from '${url}';
    const done = new Int32Array(new SharedArrayBuffer(4));
    startNativeThread(new URL(${JSON.stringify(`data:text/javascript,${encodeURIComponent(thread)}`)}), { workerData: { done } });
    process.on('exit', () => console.log(Atomics.load(done, 0)));
    process.exit();`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]);
  assert.equal(stdout, '1\n');
});

test('T12 a thread of the package that is ended from outside has loaded native code before, or has failed', async () => {
  const url = new URL('../src/host/native-threads.js', import.meta.url).href;
  const loads = `import { workerData } from 'node:worker_threads'; import { loadNative } from '${url}'; Atomics.store(workerData.done, 0, 1); loadNative(); Atomics.wait(workerData.done, 1, 0);`;
  for (const [program, came] of [
    [loads, 1],
    ['process.exit(0)', 0],
  ] as const) {
    const done = new Int32Array(new SharedArrayBuffer(8));
    const worker = startNativeThread(new URL(`data:text/javascript,${encodeURIComponent(program)}`), { workerData: { done } });
    await endNativeThread(worker);
    assert.equal(Atomics.load(done, 0), came);
  }
});

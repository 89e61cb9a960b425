/** T12, T13: locks between real processes, that die and stop while they hold one, and over a space that several have open. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once as onceEvent } from 'node:events';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isTwzError } from '../src/abi/errors.ts';
import { Mutex, Once, RwLock, type SyncWords } from '../src/index.ts';
import { Ground, fails, rejects } from './hosts.ts';
import type { Say } from './locks-neighbour.ts';
import { LockHolder } from './locks-types.ts';
import { mapped, order, startChild } from './sync-parent.ts';
import { PLACE } from './sync-region.ts';
import { until } from './until.ts';

const NEIGHBOUR = fileURLToPath(new URL('./locks-neighbour.js', import.meta.url));

async function kill(child: ChildProcess): Promise<void> {
  const ended = onceEvent(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

async function withChild(t: TestContext): Promise<{ words: SyncWords; child: Awaited<ReturnType<typeof startChild>>; file: string }> {
  const { words: shared, file } = mapped(t);
  return { words: shared, file, child: await startChild(t, file) };
}

test('T12 the holder of a mutex is killed: the next one is told, and goes on', async (t) => {
  const { words: w, child, file } = await withChild(t);
  const lock = new Mutex(w, PLACE.mutex);
  assert.equal(await order(child, { call: 'hold' }), false);
  assert.equal(lock.tryLock(), false);
  fails('LockTimeout', () => lock.lockSync({ timeout: 5 }));
  const waiting = lock.lock();
  await kill(child);
  const guard = await waiting;
  assert.equal(guard.ownerDied, true);
  guard.markConsistent();
  assert.equal(guard.ownerDied, false);
  guard.unlock();
  assert.equal(lock.lockSync().ownerDied, false);
  lock.unlock();

  // Blocking, and without saying that all is well: lost, until somebody does.
  const next = await startChild(t, file);
  await order(next, { call: 'hold' });
  await kill(next);
  assert.equal(lock.lockSync({ timeout: 60_000 }).ownerDied, true);
  lock.unlock();
  fails('LockLost', () => lock.lockSync());
  fails('LockLost', () => lock.tryLock());
  await rejects('LockLost', lock.lock());
  assert.equal(lock.recover(), true);
  assert.equal(lock.recover(), false);
  lock.lockSync().unlock();
});

test('T12 the holder of a mutex is stopped: the error of the time that is over names it, and it goes on unharmed', async (t) => {
  const { words: w, child } = await withChild(t);
  const lock = new Mutex(w, PLACE.mutex);
  await order(child, { call: 'hold' });
  child.kill('SIGSTOP');
  // Stopped once the system says so.
  await until(() => w.threads.show(w.i32[PLACE.mutex / 4] ?? 0).includes('stopped'));
  assert.throws(
    () => lock.lockSync({ timeout: 50 }),
    (error) => isTwzError(error, 'LockTimeout') && error.message.includes(`process ${child.pid}, which is stopped`),
  );
  child.kill('SIGCONT');
  const waiting = lock.lock();
  assert.equal(await order(child, { call: 'release' }), 'released');
  assert.equal((await waiting).ownerDied, false);
  lock.unlock();
});

test('T12 a writer is killed, and a reader: who comes next goes on', async (t) => {
  const { words: w, child, file } = await withChild(t);
  const lock = new RwLock(w, PLACE.rwLock);
  await order(child, { call: 'write' });
  const [reading, writing] = [lock.read(), lock.write()];
  // A reader is refused while nobody has mended what the writer left, and let in after that: it may come at either time.
  const read = reading.then(
    (guard) => guard.unlock(),
    (error: unknown) => assert.ok(isTwzError(error, 'LockLost')),
  );
  await kill(child);
  const writer = await writing;
  assert.equal(writer.ownerDied, true);
  writer.markConsistent();
  writer.unlock();
  await read;
  const next = await startChild(t, file);
  assert.equal(await order(next, { call: 'read' }), true);
  const late = lock.write();
  await kill(next);
  (await late).unlock();
});

test('T12 who runs what runs once is killed: the next one runs it', async (t) => {
  const { words: w, child } = await withChild(t);
  assert.equal(await order(child, { call: 'once', index: 30, value: 0 }), 'running');
  const single = new Once(w, PLACE.once);
  let runs = 0;
  const calling = single.call(() => void runs++);
  await kill(child);
  assert.equal(await calling, true);
  assert.equal(runs, 1);
});

test('T12 threadSync between processes: one call wakes the parent and sleeps on two words', async (t) => {
  const { words: w, child } = await withChild(t);
  const woken = w.waitAsync(16, 0);
  const answer = order(child, { call: 'sync', index: 40, value: 0 });
  assert.notEqual(await woken, 'timedOut');
  // The second word, of 64 bits, is 5 at last: inverted sleeps end then.
  Atomics.store(new BigInt64Array(w.u8.buffer, 80, 1), 0, 5n);
  w.wake(20);
  assert.notEqual(await answer, 'timedOut');
});

test('T12 three processes count under one lock, and nothing is lost', async (t) => {
  const { words: w, child, file } = await withChild(t);
  const children = [child, await startChild(t, file), await startChild(t, file)];
  const seed = Number(process.env['SYNC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
  t.diagnostic(`seed ${seed}`);
  const rounds = 600;
  const done = await Promise.all(children.map((each, i) => order(each, { call: 'count', rounds, seed: seed + i })));
  assert.deepEqual(done, ['done', 'done', 'done']);
  assert.equal(w.i32[PLACE.total], rounds * children.length);
  assert.equal(w.i32[PLACE.halves], w.i32[PLACE.halves + 1]);
});

test('T12 T13 processes with one space open: a shared object made by one is locked and counted in by all', async (t) => {
  const ground = new Ground('linux', t);
  const space = ground.open({ segmentSize: 16 << 20 });
  const holder = space.relaxed(() => space.create(LockHolder, {}));
  const { id } = space.object(holder);
  const neighbours = await Promise.all(
    [1, 2].map(async () => {
      const child = fork(NEIGHBOUR, [ground.directory], { execArgv: [] });
      t.after(() => child.kill('SIGKILL'));
      await onceEvent(child, 'message');
      return child;
    }),
  );
  const say = async (child: (typeof neighbours)[number], order: Say): Promise<void> => {
    const done = onceEvent(child, 'message');
    child.send(order);
    assert.deepEqual(await done, ['done', undefined]);
  };
  const [maker] = neighbours;
  assert.ok(maker !== undefined);
  await say(maker, { say: 'make', holder: id });
  // What another process commits shows with the next transaction at the latest.
  space.relaxed(() => undefined);
  const { board } = holder;
  assert.ok(board !== null);
  assert.equal(space.object(board).kind, 'shared');
  assert.equal(board.total, 70);
  const rounds = 3000;
  const counting = neighbours.map((child) => say(child, { say: 'count', holder: id, rounds }));
  const { lock, counter: hits } = board;
  for (let i = 0; i < 200; i++) {
    using _ = await lock.lock();
    board.total++;
    hits.add();
  }
  await Promise.all(counting);
  assert.equal(board.total, 70 + 2 * rounds + 200);
  assert.equal(hits.value, 2 * rounds + 200);
  // Who made it is gone, and it is as it was.
  await Promise.all(neighbours.map((child) => kill(child)));
  assert.equal(board.total, 70 + 2 * rounds + 200);
  space.relaxed(() => {
    holder.board = null;
    space.delete(board);
  });
  fails('ObjectDeleted', () => board.total);
});

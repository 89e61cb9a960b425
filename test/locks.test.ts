/** T12: threadSync, and locks in shared words: what each promises in one thread and between threads. Processes: locks-processes.test.ts. */
import assert from 'node:assert/strict';
import { once as onceEvent } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  Barrier,
  Condition,
  Latch,
  Mutex,
  Once,
  RwLock,
  Semaphore,
  SeqLock,
  barrier,
  condition,
  counter,
  latch,
  mutex,
  once,
  rwLock,
  semaphore,
  seqLock,
  sharedWords,
  struct,
  threadSync,
  threadSyncAsync,
  u32,
  word,
  type SyncWords,
} from '../src/index.ts';
import { Ground, fails, rejects } from './hosts.ts';
import { until } from './until.ts';

const words = (): SyncWords => sharedWords(new SharedArrayBuffer(8192));

test('T12 threadSync: operations in order, ready or asleep, 32 and 64 bits, inverted', async () => {
  const w = words();
  const [a, b] = [word(w, 0), word(w, 8, 64)];
  const wide = new BigInt64Array(w.u8.buffer, 8, 1);
  assert.deepEqual(threadSync([{ sleep: a, value: 1 }, { wake: b }, { sleep: b, value: 0n }]), {
    outcome: 'ready',
    at: 0,
    results: [true, 0, false],
  });
  assert.deepEqual(
    threadSync(
      [
        { sleep: a, value: 0 },
        { sleep: b, value: 0n },
      ],
      { timeout: 1 },
    ),
    { outcome: 'timedOut', at: -1, results: [false, false] },
  );
  assert.deepEqual(threadSync([{ sleep: b, value: 0, invert: true }], { timeout: 1 }).outcome, 'ready');
  assert.deepEqual(threadSync([{ wake: a, count: 1 }]), { outcome: 'ready', at: -1, results: [0] });
  // Only the upper half differs.
  wide[0] = 1n << 40n;
  assert.equal(threadSync([{ sleep: b, value: 0n }]).outcome, 'ready');
  assert.equal(threadSync([{ sleep: b, value: 1n << 40n }], { timeout: 1 }).outcome, 'timedOut');
  const both = threadSyncAsync([
    { sleep: a, value: 0 },
    { sleep: b, value: 1n << 40n },
  ]);
  Atomics.store(wide, 0, 7n);
  w.wake(2);
  assert.equal((await both).at, 1);
  // Inverted: other wrong values are slept through, also where they are told.
  let over = false;
  const waiting = threadSyncAsync([{ sleep: a, value: -1, invert: true }]).finally(() => (over = true));
  for (const value of [3, 4]) {
    Atomics.store(w.i32, 0, value);
    await until(() => over || w.wake(0) > 0);
    assert.equal(over, false, `woken by the value ${value}`);
  }
  Atomics.store(w.i32, 0, -1);
  w.wake(0);
  assert.notEqual((await waiting).outcome, 'timedOut');
  Atomics.store(w.i32, 0, 0xffffffff);
  assert.equal(threadSync([{ sleep: a, value: 0xffffffff }], { timeout: 1 }).outcome, 'timedOut');
  const stop = new AbortController();
  const stopped = threadSyncAsync([{ sleep: a, value: -1 }], { signal: stop.signal });
  stop.abort(new Error('enough'));
  await assert.rejects(stopped, /enough/);
  fails('WordMisaligned', () => word(w, 2));
  fails('WordMisaligned', () => word(w, 4, 64));
  fails('OutOfRange', () => word(w, 8192));
  fails('OutOfRange', () => threadSync([{ sleep: a, value: 2 ** 40 }]));
});

test('T12 mutex: recursion, release by who does not hold it, and tasks of one thread', async () => {
  const w = words();
  const lock = new Mutex(w, 64);
  assert.equal(lock.tryLock(), true);
  assert.equal(lock.tryLock(), false);
  fails('LockRecursion', () => lock.lockSync());
  lock.unlock();
  fails('LockNotHeld', () => lock.unlock());
  {
    using guard = lock.lockSync();
    assert.equal(guard.held, true);
  }
  assert.equal(lock.held, false);
  const told: number[] = [];
  await Promise.all(
    [1, 2, 3, 4].map(async (task) => {
      using _ = await lock.lock();
      told.push(task);
      await new Promise((resolve) => setImmediate(resolve));
      told.push(task);
    }),
  );
  for (let i = 0; i < 8; i += 2) assert.equal(told[i], told[i + 1]);
  using _held = lock.lockSync();
  await rejects('LockTimeout', lock.lock({ timeout: 2 }));
  const stop = new AbortController();
  const waiting = lock.lock({ signal: stop.signal });
  stop.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
});

test('T12 semaphore, latch, once, condition: as promises in one thread', async () => {
  const w = words();
  const permits = new Semaphore(w, 64);
  permits.init(2);
  permits.acquireSync();
  await permits.acquire();
  assert.equal(permits.tryAcquire(), false);
  fails('LockTimeout', () => permits.acquireSync({ timeout: 1 }));
  const waiting = permits.acquire();
  permits.release();
  await waiting;
  assert.equal(permits.permits, 0);
  fails('LockInvalid', () => permits.release(0));

  const gate = new Latch(w, 128);
  gate.init(2);
  const opened = gate.waitOpen();
  gate.countDown();
  fails('LockTimeout', () => gate.waitOpenSync({ timeout: 1 }));
  gate.countDown();
  await opened;
  gate.waitOpenSync();
  fails('LockInvalid', () => gate.countDown());

  const single = new Once(w, 192);
  let runs = 0;
  await assert.rejects(
    single.call(() => Promise.reject(new Error('not yet'))),
    /not yet/,
  );
  const outcomes = await Promise.all([1, 2, 3].map(() => single.call(async () => void runs++)));
  assert.deepEqual([runs, outcomes.filter(Boolean).length], [1, 1]);
  assert.equal(
    single.callSync(() => runs++),
    false,
  );
  single.reset();
  assert.equal(
    single.callSync(() => runs++),
    true,
  );

  const lock = new Mutex(w, 256);
  const filled = new Condition(w, 320);
  const got = (async () => {
    using _ = await lock.lock();
    while (Atomics.load(w.i32, 200) === 0) await filled.waitFor(lock);
    return Atomics.load(w.i32, 200);
  })();
  await lock.lock();
  Atomics.store(w.i32, 200, 9);
  lock.unlock();
  filled.signal();
  assert.equal(await got, 9);
  lock.lockSync();
  assert.equal(filled.waitForSync(lock, { timeout: 1 }), false);
  assert.equal(lock.held, true);
});

test('T12 barrier: all or nobody, again and again', async () => {
  const meet = new Barrier(words(), 64);
  meet.init(3);
  for (let round = 0; round < 3; round++) {
    const leaders = await Promise.all([meet.arrive(), meet.arrive(), meet.arrive()]);
    assert.equal(leaders.filter(Boolean).length, 1);
  }
  const patient = meet.arrive();
  await rejects('BarrierBroken', meet.arrive({ timeout: 1 }));
  await rejects('BarrierBroken', patient);
  await rejects('BarrierBroken', meet.arrive());
  meet.reset();
  await Promise.all([meet.arrive(), meet.arrive(), meet.arrive()]);
});

test('T12 read-write lock: readers together, a writer alone and first', async () => {
  const lock = new RwLock(words(), 1024);
  const [one, two] = [lock.readSync(), lock.readSync()];
  const writing = lock.write();
  fails('LockRecursion', () => lock.writeSync());
  const reading = lock.read();
  fails('LockRecursion', () => lock.readSync());
  one.unlock();
  fails('LockNotHeld', () => one.unlock());
  two.unlock();
  const writer = await writing;
  await rejects('LockTimeout', lock.read({ timeout: 2 }));
  fails('LockRecursion', () => lock.readSync());
  writer.unlock();
  (await reading).unlock();
  fails('LockNotHeld', () => lock.unlock());
  // A reader too many waits for a place.
  const all = Array.from({ length: 60 }, () => lock.readSync());
  fails('LockTimeout', () => lock.readSync({ timeout: 1 }));
  for (const guard of all) guard.unlock();
  lock.writeSync().unlock();
});

test('T12 sequence lock: a writer that fails half way is not read', () => {
  const w = words();
  const lock = new SeqLock(w, 64);
  lock.write((died) => {
    assert.equal(died, false);
    w.i32[100] = w.i32[101] = 5;
  });
  assert.deepEqual(
    lock.read(() => [w.i32[100], w.i32[101]]),
    [5, 5],
  );
  assert.throws(
    () =>
      lock.write(() => {
        w.i32[100] = 6;
        throw new Error('half way');
      }),
    /half way/,
  );
  fails('LockTimeout', () => lock.read(() => w.i32[100], { timeout: 1 }));
  lock.write((died) => {
    assert.equal(died, true);
    w.i32[100] = w.i32[101] = 7;
  });
  assert.deepEqual(
    lock.read(() => [w.i32[100], w.i32[101]]),
    [7, 7],
  );
});

test('T12 locks are fields of shared objects, and of no others', (t) => {
  const ground = new Ground('linux', t);
  let space = ground.open();
  const All = struct('All', { hits: u32, mutex, rwLock, semaphore, condition, once, latch, barrier, counter, seqLock });
  const board = space.relaxed(() => space.create(All, { hits: 1, semaphore: 3, latch: 2, barrier: 4, counter: 40 }, { kind: 'shared' }));
  const { id } = space.object(board);
  assert.equal(board.counter.add(2), 40);
  assert.equal(board.semaphore.permits, 3);
  assert.equal(board.latch.left, 2);
  board.mutex.lockSync().unlock();
  board.rwLock.readSync().unlock();
  assert.equal(
    board.once.callSync(() => board.seqLock.write(() => board.hits++)),
    true,
  );
  space = ground.afterClose(space);
  const again = space.get(id, All);
  assert.deepEqual([again.hits, again.counter.value, again.once.done], [2, 42, true]);
  fails('ValueMismatch', () => space.relaxed(() => space.create(All, { mutex: 1 }, { kind: 'shared' })));
  fails('LockInvalid', () => space.relaxed(() => space.create(All, { semaphore: -1 }, { kind: 'shared' })));
  const owned = space.relaxed(() => space.create(All, { hits: 1 }));
  fails('NotShared', () => owned.mutex);
});

// --- threads ------------------------------------------------------------------------------------------------------------------

/** A thread that runs the code with `words` over the buffer, and what the package exports, in scope. */
function thread(buffer: SharedArrayBuffer, code: string): Worker {
  const index = JSON.stringify(new URL('../src/index.js', import.meta.url).href);
  const source = `import(${index}).then((twizzler) => {
    const words = twizzler.sharedWords(require('node:worker_threads').workerData);
    ${code}
  });`;
  return new Worker(source, { eval: true, workerData: buffer });
}

test('T12 threads of one process: a lock passes between them, and one that is terminated in its sleep ends', async () => {
  const buffer = new SharedArrayBuffer(8192);
  const w = sharedWords(buffer);
  const lock = new Mutex(w, 64).lockSync();
  const taker = thread(buffer, `const lock = new twizzler.Mutex(words, 64).lockSync(); words.i32[0] = words.threads.self; lock.unlock();`);
  lock.unlock();
  await onceEvent(taker, 'exit');
  assert.ok(w.i32[0] !== 0 && w.i32[0] !== w.threads.self);
  assert.equal(w.threads.lives(w.i32[0] ?? 0), false);

  // It dies with the lock: the next one is told, as with processes.
  const holder = thread(
    buffer,
    `new twizzler.Mutex(words, 64).lockSync(); twizzler.threadSync([{ sleep: twizzler.word(words, 0), value: words.i32[0] }]);`,
  );
  await until(() => Atomics.load(w.i32, 16) !== 0);
  await holder.terminate();
  const heir = await lock.lock();
  assert.equal(heir.ownerDied, true);
  heir.markConsistent();
  heir.unlock();
});

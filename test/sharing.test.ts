/** T10, T13: one space, open in several processes and threads at once. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { test, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { checkSpace } from '../src/services/check.ts';
import { isTwzError, offsetOf, type Infer, type Space } from '../src/index.ts';
import { crowd } from '../src/testing/crowd-run.ts';
import { Ground, fails } from './hosts.ts';
import { Neighbour } from './neighbour.ts';
import { Big, Counter, Shelf } from './sharing-types.ts';
import { amount } from './thorough.ts';

function shared(name: string, body: (ground: Ground, t: TestContext) => void | Promise<void>): void {
  test(name, (t) => body(new Ground('linux', t), t));
}

function counterIn(space: Space, name: string): Infer<typeof Counter> {
  return space.relaxed(() => {
    const counter = space.create(Counter, {});
    space.names.set(name, counter);
    return counter;
  });
}

const sound = (ground: Ground): void => {
  const { findings } = checkSpace(ground.host, ground.directory);
  assert.deepEqual(findings, []);
};

shared('T13: what one process commits the other sees: changes, new objects, names, removals', async (ground, t) => {
  const space = ground.open();
  const counter = counterIn(space, '/n');
  const neighbour = new Neighbour(t, ground.directory);
  assert.equal(await neighbour.does('open'), 2);
  assert.equal(await neighbour.does('add', '/n', 5), 5);
  space.refresh();
  assert.equal(counter.n, 5);
  space.relaxed(() => (counter.n += 10));
  assert.equal(await neighbour.does('add', '/n', 1), 16);
  const id = await neighbour.does('create', '/new');
  assert.equal(space.names.get('/new').id, id);
  assert.equal(await neighbour.does('remove', '/new'), 'deleted');
  fails('NameMissing', () => space.names.get('/new'));
  fails('ObjectDeleted', () => space.get(String(id) as never, Counter));
  assert.deepEqual(
    space.stat().members.map(({ pid }) => pid),
    [process.pid, neighbour.process.pid],
  );
  assert.equal(await neighbour.does('close'), 'closed');
  space.relaxed(() => (counter.n += 1));
  space.close();
  sound(ground);
  assert.equal(ground.open().names.get('/n', Counter).n, 17);
});

shared(
  'T13: checkpoints beside others: what each shows stays right, in objects read and mapped, and after all have left',
  async (ground, t) => {
    const space = ground.open();
    const big = space.relaxed(() => {
      const made = space.create(Big, {});
      for (let i = 0; i < 60_000; i++) made.data.push(i);
      space.names.set('/big', made);
      return made;
    });
    const small = counterIn(space, '/small');
    const neighbour = new Neighbour(t, ground.directory);
    assert.equal(await neighbour.does('fill', '/big', 0, 10, 7), 60_000);
    const snapshot = space.snapshot();
    const then = snapshot.of(big);
    for (let round = 1; round <= 5; round++) {
      assert.equal(await neighbour.does('fill', '/big', round * 1000, round * 1000 + 2000, 100 + round), 60_000);
      space.relaxed(() => {
        small.n = round;
        big.data.set(50_000 + round, round);
      });
      if (round % 2 === 0) space.checkpoint();
      else assert.equal(await neighbour.does('checkpoint'), 'done');
      space.refresh();
      const expected = (i: number): number =>
        i < 10
          ? 7
          : i >= 1000 && i < round * 1000 + 2000
            ? 100 + Math.min(round, Math.floor(i / 1000))
            : i > 50_000 && i <= 50_000 + round
              ? i - 50_000
              : i;
      for (let i = 0; i < 60_000; i++) assert.equal(big.data.get(i), expected(i), `round ${round}, entry ${i}`);
      for (let i = 0; i < 60_000; i++) assert.equal(then.data.get(i), i < 10 ? 7 : i, `snapshot in round ${round}, entry ${i}`);
    }
    assert.ok(space.stat().log.checkpoints >= 2);
    snapshot.close();
    space.close();
    assert.equal(await neighbour.does('add', '/small', 1), 6);
    assert.equal(await neighbour.does('close'), 'closed');
    sound(ground);
    const again = ground.open();
    assert.deepEqual([again.names.get('/small', Counter).n, again.names.get('/big', Big).data.get(6500)], [6, 105]);
  },
);

shared(
  'T10: a transaction sees the space as it was when it began; overtaken by another process, it runs again on what that left',
  (ground) => {
    const [a, b] = [ground.open(), ground.open()];
    const [x, y] = [counterIn(a, '/x'), counterIn(a, '/y')];
    const theirs = b.names.get('/x', Counter);
    const seen: number[][] = [];
    a.relaxed(() => {
      seen.push([x.n, y.n]);
      if (seen.length === 1) b.relaxed(() => (theirs.n += 10));
      seen.push([x.n, y.n]);
      x.n++;
    });
    // In the first try it did not see what was committed meanwhile.
    assert.deepEqual(seen, [
      [0, 0],
      [0, 0],
      [10, 0],
      [10, 0],
    ]);
    assert.equal(x.n, 11);
    // Changes of other objects get in nobody's way.
    let runs = 0;
    a.relaxed(() => {
      runs++;
      b.relaxed(() => (theirs.n += 1));
      y.n = x.n;
    });
    assert.deepEqual([runs, y.n, x.n], [1, 11, 12]);
    // Overtaken again and again, it has the space for itself in the end.
    let tries = 0;
    a.relaxed(() => {
      tries++;
      if (tries <= 4) b.relaxed(() => (theirs.n += 1));
      x.n *= 2;
    });
    assert.deepEqual([tries, x.n], [5, 32]);
    b.refresh();
    assert.equal(theirs.n, 32);
  },
);

shared('T10: who waits for the durable end of an inner transaction learns of the try that counted', async (ground) => {
  const [a, b] = [ground.open(), ground.open()];
  const [x, y] = [counterIn(a, '/x'), counterIn(a, '/y')];
  const theirs = b.names.get('/x', Counter);
  const inner: Promise<void>[] = [];
  a.relaxed(() => {
    inner.push(a.durable(() => void (y.note = 'inner')));
    if (inner.length === 1) b.relaxed(() => (theirs.n = 5));
    x.n++;
  });
  await Promise.all(inner);
  assert.deepEqual([inner.length, x.n, y.note], [2, 6, 'inner']);
  a.sync();
});

shared('T13: a lease that is held too long is a typed error that names the process, and nothing has changed', async (ground, t) => {
  const space = ground.open({ patience: 200 });
  const counter = counterIn(space, '/n');
  const other = counterIn(space, '/other');
  const neighbour = new Neighbour(t, ground.directory);
  await neighbour.does('open');
  assert.equal(await neighbour.does('hang', '/n'), 'hanging');
  assert.throws(
    () => space.relaxed(() => (counter.n = 1)),
    (error) => isTwzError(error, 'LeaseTimeout') && error.context['pid'] === neighbour.process.pid,
  );
  // Other objects are free.
  space.relaxed(() => (other.n = 1));
  neighbour.process.kill('SIGSTOP');
  fails('LeaseTimeout', () => space.relaxed(() => (counter.n = 1)));
  await neighbour.kill();
  // The dead hold nothing, and what they had not committed never was.
  space.relaxed(() => (counter.n += 1));
  assert.deepEqual([counter.n, other.n], [1, 1]);
  assert.equal(space.stat().members.length, 1);
});

shared('T13: who had the space for itself dies while another comes: that one recovers the log', async (ground, t) => {
  const neighbour = new Neighbour(t, ground.directory);
  await neighbour.does('open');
  const first = ground.open();
  counterIn(first, '/n');
  first.close();
  assert.equal(await neighbour.does('add', '/n', 3), 3);
  assert.equal(await neighbour.does('hang', '/n'), 'hanging');
  setImmediate(() => neighbour.process.kill('SIGKILL'));
  await neighbour.kill();
  const space = ground.open();
  assert.equal(space.names.get('/n', Counter).n, 3);
  space.close();
  sound(ground);
});

shared('T13: the exclusive use of a space, and the tools that need it, are refused while somebody has it open', (ground) => {
  const space = ground.open({ patience: 50 });
  fails('SpaceBusy', () => ground.open({ exclusive: true, patience: 50 }));
  fails('SpaceBusy', () => checkSpace(ground.host, ground.directory));
  space.close();
  const alone = ground.open({ exclusive: true });
  fails('SpaceBusy', () => ground.open({ patience: 50 }));
  alone.close();
  ground.open().close();
});

shared('T13: raw views keep an object to their process; others have it when they are gone', (ground) => {
  const [a, b] = [ground.open({ patience: 50 }), ground.open({ patience: 50 })];
  const mine = counterIn(a, '/n');
  const theirs = b.names.get('/n', Counter);
  const object = a.object(mine);
  const view = a.relaxed(() => object.raw(offsetOf(mine), 4));
  a.relaxed(() => view.fill(3));
  b.refresh();
  assert.equal(theirs.n, 0x03030303);
  fails('LeaseTimeout', () => b.relaxed(() => (theirs.n = 1)));
  object.releaseRaw();
  b.relaxed(() => (theirs.n = 1));
  a.refresh();
  assert.equal(mine.n, 1);
});

shared('T13: reclaiming keeps all others out, and finds what they refer to', async (ground, t) => {
  const space = ground.open();
  counterIn(space, '/n');
  space.relaxed(() => space.names.set('/shelf', space.create(Shelf)));
  const neighbour = new Neighbour(t, ground.directory);
  // Large enough for objects of its own, which live as long as something refers to them.
  for (let i = 0; i < 40; i++) assert.equal(await neighbour.does('put', `key-${i}`, 'x'.repeat(30_000)), 'put');
  const before = [...space.ids()].length;
  assert.deepEqual(space.reclaim().deleted, []);
  assert.equal([...space.ids()].length, before);
  const shelf = space.names.get('/shelf', Shelf);
  assert.equal(shelf.size, 40);
  assert.equal(shelf.get('key-7')?.length, 30_000);
});

shared('T13: threads of one process have a space each, and one that is ended in the middle leaves nothing behind', async (ground) => {
  const space = ground.open();
  const counter = counterIn(space, '/n');
  const url = (name: string): string => new URL(name, import.meta.url).href;
  const code = `
    const { workerData, parentPort } = require('node:worker_threads');
    (async () => {
      const { open } = await import(${JSON.stringify(url('../src/index.js'))});
      const { Counter } = await import(${JSON.stringify(url('sharing-types.js'))});
      const space = open(workerData);
      const counter = space.names.get('/n', Counter);
      for (let i = 0; i < 500; i++) space.relaxed(() => counter.n++);
      space.relaxed(() => { counter.n += 100000; parentPort.postMessage('in'); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); });
    })();`;
  const workers = [1, 2].map(() => new Worker(code, { eval: true, workerData: ground.directory }));
  const told = workers.map((worker) => new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject)));
  // One is in its last transaction; the other waits for that, until the first is gone.
  const first = await Promise.race(told.map((done, i) => done.then(() => i)));
  await workers[first]?.terminate();
  await told[1 - first];
  await workers[1 - first]?.terminate();
  space.refresh();
  assert.equal(counter.n, 1000);
  const before = counter.n;
  space.relaxed(() => counter.n++);
  assert.equal(counter.n, before + 1);
  space.close();
  sound(ground);
});

test('T13: a crowd of processes, killed and stopped at random: nothing lost, nothing torn, nobody stuck', async (t) => {
  const seed = Number(process.env['SEED'] ?? 1);
  const report = await crowd({ members: 4, seconds: amount(4, 8), seed, every: 400 });
  t.diagnostic(`seed ${seed}: ${JSON.stringify(report)}`);
  assert.deepEqual(report.faults, []);
  assert.ok(report.steps > 0 && report.kills > 0);
});

shared('T13: a member that died while it wrote object files: the next checkpoint makes sure of them', async (ground, t) => {
  const space = ground.open();
  counterIn(space, '/n');
  const neighbour = new Neighbour(t, ground.directory);
  await neighbour.does('add', '/n', 1);
  const { live } = space.kernel;
  assert.ok(live !== undefined);
  await neighbour.kill();
  space.checkpoint();
  space.close();
  sound(ground);
  assert.ok(fs.existsSync(ground.directory));
  assert.equal(ground.open().names.get('/n', Counter).n, 1);
});

shared('T10: who keeps a place in a collection finds it anew after a transaction was undone and another process committed', (ground) => {
  const [a, b] = [ground.open(), ground.open()];
  const big = a.relaxed(() => {
    const made = a.create(Big, {});
    a.names.set('/big', made);
    return made;
  });
  const theirs = b.names.get('/big', Big);
  // Each fills a chunk of its own: in the try that is undone, and in the commit that overtakes it.
  let tries = 0;
  a.relaxed(() => {
    tries++;
    const from = big.data.length;
    if (tries === 1)
      b.relaxed(() => {
        for (let i = 0; i < 3000; i++) theirs.data.push(i);
      });
    for (let i = 0; i < 3000; i++) big.data.push(100_000 + i);
    assert.equal(big.data.get(from), 100_000);
  });
  assert.deepEqual([tries, big.data.length, big.data.get(0), big.data.get(2999), big.data.get(3000)], [2, 6000, 0, 2999, 100_000]);
});

shared(
  'T6: reclaiming inside a transaction runs its function once for who is alone, and beside others where nobody is in the way',
  (ground) => {
    const a = ground.open();
    const x = counterIn(a, '/x');
    let runs = 0;
    const reclaiming = (): void =>
      a.relaxed(() => {
        runs++;
        x.n++;
        a.reclaim();
      });
    reclaiming();
    assert.deepEqual([runs, x.n], [1, 1]);
    const b = ground.open();
    reclaiming();
    assert.deepEqual([runs, x.n], [2, 2]);
    b.close();
  },
);

shared('T13: what was committed during a transaction by another process is told before it, in the order of the log', async (ground, t) => {
  const space = ground.open();
  const [mine] = [counterIn(space, '/mine'), counterIn(space, '/other')];
  const neighbour = new Neighbour(t, ground.directory);
  await neighbour.does('open');
  space.refresh();
  const told: number[] = [];
  space.kernel.tap = { section: () => undefined, committed: (lsn) => told.push(lsn) };
  const before = space.kernel.log.end;
  let asked: Promise<unknown> | undefined;
  space.relaxed(() => {
    mine.n++;
    asked ??= neighbour.does('add', '/other', 1);
    // The other process goes on while this one does not give way.
    while (space.kernel.follower?.current === true);
  });
  assert.equal(await asked, 1);
  assert.equal(told.length, 2);
  assert.ok(before < (told[0] ?? 0) && (told[0] ?? 0) < (told[1] ?? 0), `${before}, ${told.join(', ')}`);
  assert.equal(told[1], space.kernel.log.end);
});

/** T13: processes with one space open, and a system that gives them trouble: too many of them, no room for the log, clocks that jump. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { TwzError } from '../src/abi/errors.ts';
import { LIVE } from '../src/abi/live-format.ts';
import type { File } from '../src/host/host.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { readControl } from '../src/kernel/control.ts';
import { bytes, isTwzError, objectOf, open, ref, struct, type ObjectId, type Space } from '../src/index.ts';
import { Ground, fails } from './hosts.ts';
import { Neighbour } from './neighbour.ts';
import { Counter } from './sharing-types.ts';

function withCounter(t: TestContext, host: LinuxHost, patience = 10_000): { ground: Ground; space: Space } {
  const ground = new Ground('linux', t);
  const space = open(ground.directory, { host, patience, segmentSize: 1 << 20 });
  t.after(() => space.kernel.release());
  space.relaxed(() => space.names.set('/a', space.create(Counter, {})));
  return { ground, space };
}

test('T13: more readers than there is room for are refused by name; those who are there go on, and a place that is given back is taken', (t) => {
  const { ground, space } = withCounter(t, new LinuxHost());
  const counter = space.names.get('/a', Counter);
  const readers: Space[] = [];
  let refused: unknown;
  while (refused === undefined && readers.length < 300)
    try {
      readers.push(ground.open());
    } catch (error) {
      refused = error;
    }
  // The system's limit on descriptors may come first.
  assert.ok(isTwzError(refused, 'SpaceBusy') || isTwzError(refused, 'TooManyFiles'), String(refused));
  t.diagnostic(`${readers.length} readers, then ${refused.name}`);
  assert.ok(readers.length > 50);
  space.relaxed(() => counter.n++);
  for (const reader of readers) assert.equal(reader.names.get('/a', Counter).n, 1);
  readers.pop()?.close();
  const again = ground.open();
  again.relaxed(() => again.names.get('/a', Counter).n++);
  space.refresh();
  assert.equal(counter.n, 2);
  for (const reader of readers) reader.kernel.release();
});

/** A machine that has no room for a new segment of the log while `full`. */
class Crowded extends LinuxHost {
  full = false;
  override preallocate(file: File, length: number): void {
    if (this.full) throw new TwzError('DiskFull', 'no room for a segment', {});
    super.preallocate(file, length);
  }
}

test('T13: who has the space for itself and closes it at the moment at which another knocks lets that one in', async (t) => {
  const { space } = withCounter(t, new LinuxHost(), 5000);
  const neighbour = new Neighbour(t, space.directory);
  const opened = neighbour.does('open');
  const { live } = space.kernel;
  assert.ok(live?.sole);
  // The event loop would let it in: this thread does not give way.
  await new Promise(setImmediate);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let looks = 0; !live.knocked && looks < 60_000; looks++) Atomics.wait(pause, 0, 0, 1);
  assert.ok(live.knocked);
  space.close();
  assert.ok(Number(await opened) >= 1);
  assert.equal(await neighbour.does('add', '/a'), 1);
  await neighbour.does('close');
});

test('T13: somebody comes at any moment of a checkpoint: a deleted object is gone for good where the log has it no more', async (t) => {
  const { ground, space } = withCounter(t, new LinuxHost());
  const neighbour = new Neighbour(t, ground.directory);
  await neighbour.does('open');
  const { kernel } = space;
  const { live } = kernel;
  assert.ok(live !== undefined);
  let looks = Infinity;
  for (let moment = 1; moment <= looks; moment++) {
    const doomed = space.relaxed(() => space.create(Counter, {}));
    const { id } = objectOf(doomed);
    space.checkpoint();
    assert.ok(kernel.host.exists(kernel.path(id)));
    space.relaxed(() => space.delete(doomed));
    const deleted = kernel.log.end;
    // Who has just come has seen nothing yet.
    const hindmost = live.hindmost.bind(live);
    looks = 0;
    live.hindmost = () => (++looks === moment ? { member: 0, seen: -1 } : hindmost());
    space.checkpoint();
    live.hindmost = hindmost;
    const { lsn } = readControl(kernel.host, `${ground.directory}/space.twz`);
    assert.ok(lsn < deleted || !kernel.host.exists(kernel.path(id)), `at look ${moment} of ${looks}`);
    space.checkpoint();
    assert.ok(!kernel.host.exists(kernel.path(id)));
  }
  assert.ok(looks >= 3);
  await neighbour.does('close');
});

test('T13: no room for the log while others wait for the object: a typed error, and they go on', async (t) => {
  const host = new Crowded();
  const { ground, space } = withCounter(t, host);
  const counter = space.names.get('/a', Counter);
  const neighbour = new Neighbour(t, ground.directory);
  await neighbour.does('open');
  host.full = true;
  let committed = 0;
  fails('DiskFull', () => {
    for (;;) {
      space.relaxed(() => {
        counter.n++;
        counter.note = `${committed}`.repeat(1000);
      });
      committed++;
    }
  });
  assert.equal(counter.n, committed);
  // It holds neither the object nor the log.
  assert.equal(await neighbour.does('add', '/a', 1000), committed + 1000);
  space.refresh();
  assert.equal(counter.n, committed + 1000);
  host.full = false;
  space.relaxed(() => counter.n++);
  space.sync();
  assert.equal(await neighbour.does('add', '/a', 1), committed + 1002);
  await neighbour.kill();
});

/** A machine whose wall clock is set again and again, by years. */
class Jumping extends LinuxHost {
  jumps = 0;
  override time(): number {
    this.jumps++;
    return super.time() + (this.jumps % 2 === 0 ? -1 : 1) * 3e11;
  }
}

test('T13: clocks that jump change nothing: transactions, waiting, and the time that it takes to give up', async (t) => {
  const { ground, space } = withCounter(t, new Jumping(), 300);
  const counter = space.names.get('/a', Counter);
  const neighbour = new Neighbour(t, ground.directory);
  await neighbour.does('open');
  for (let i = 1; i <= 20; i++) {
    space.relaxed(() => counter.n++);
    assert.equal(await neighbour.does('add', '/a', 1), 2 * i);
    space.refresh();
  }
  assert.equal(await neighbour.does('hang', '/a'), 'hanging');
  const start = performance.now();
  fails('LeaseTimeout', () => space.relaxed(() => counter.n++));
  assert.ok(performance.now() - start >= 300);
  await neighbour.kill();
  space.relaxed(() => counter.n++);
  assert.equal(counter.n, 41);
  await space.durable(() => counter.n++);
});

/** A program that dies before what it has committed in a draft is in its place. */
class Dying extends LinuxHost {
  dead = false;
  override rename(from: string, to: string): void {
    if (this.dead && from.endsWith('.draft')) throw new TwzError('IoError', 'it is dead', {});
    super.rename(from, to);
  }
}

test('T13: a large object whose maker died when it had committed it is there for others, and keeps what it refers to', (t) => {
  const host = new Dying();
  const { ground, space } = withCounter(t, host);
  const Large = struct('Large', {
    data: bytes,
    get counted() {
      return ref(Counter);
    },
  });
  const other = ground.open();
  host.dead = true;
  const ids: ObjectId[] = [];
  space.relaxed(() => {
    const large = space.create(Large, { data: new Uint8Array(2 << 20).fill(7) });
    const counted = space.create(Counter, { n: 5 }, { counted: true });
    large.counted = counted;
    ids.push(objectOf(large).id, objectOf(counted).id);
  });
  space.kernel.release();
  const { live } = other.kernel;
  assert.ok(live !== undefined);
  // Who dies says nothing of it.
  Atomics.store(live.i32, LIVE.failed >> 2, 0);
  const [large, counted] = ids as [ObjectId, ObjectId];
  const listed = (): number => [...other.ids()].filter((id) => id === large).length;
  other.refresh();
  assert.deepEqual([other.has(large), other.has(counted)], [true, true]);
  assert.equal(listed(), 1);
  assert.deepEqual(other.reclaim().deleted, []);
  assert.equal(other.get(large, Large).counted?.n, 5);
  assert.equal(listed(), 1);
  other.checkpoint();
  assert.equal(listed(), 1);
});

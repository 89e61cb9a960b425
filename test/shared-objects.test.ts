/** T12: objects of the kind `shared`, on every host: life, what they refuse, crashes of their creation, and another process on the same file. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isTwzError } from '../src/abi/errors.ts';
import type { Host } from '../src/host/host.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { PowerLoss, SimulatedHost } from '../src/host/simulated/simulated.ts';
import { counter, mutex, open, ref, struct, text, u32, vec, type Infer, type Space } from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';
import { dumpSpace } from '../src/services/dump.ts';
import { fails, objectFile, onHosts } from './hosts.ts';
import { until } from './until.ts';

const CHILD = fileURLToPath(new URL('./sync-child.js', import.meta.url));
const Board = struct('Board', { hits: u32, limit: u32, title: text });
const Holder = struct('Holder', {
  name: text,
  get board() {
    return ref(Board);
  },
});

function makeBoard(space: Space): { holder: Infer<typeof Holder>; board: Infer<typeof Board> } {
  return space.relaxed(() => {
    const board = space.create(Board, { hits: 1, limit: 9, title: 'all' }, { kind: 'shared' });
    return { board, holder: space.create(Holder, { name: 'holder', board }) };
  });
}

const isBusy = (error: unknown): boolean => isTwzError(error);

onHosts('T12 a shared object is stored to without a transaction, and is as it was after closing and after death', async (ground) => {
  let space = ground.open();
  const { board, holder } = makeBoard(space);
  const [id, holderId] = [space.object(board).id, space.object(holder).id];
  assert.equal(space.object(id).kind, 'shared');
  board.hits = 7;
  assert.equal(holder.board?.hits, 7);
  const words = space.object(id).sync();
  const awaited = words.waitAsync(1, words.i32[1] ?? 0);
  assert.equal(Atomics.add(words.i32, space.object(id).rootOffset / 4, 1), 7);
  assert.equal(board.hits, 8);
  space = ground.afterClose(space);
  fails('StaleReference', () => words.wake(0));
  await assert.rejects(awaited, (error) => isTwzError(error, 'StaleReference'));
  fails('SpaceClosed', () => board.hits);
  assert.equal(space.get(holderId, Holder).board?.hits, 8);
  assert.equal(space.get(id, Board).title, 'all');
  space.get(id, Board).hits = 11;
  if (ground.name !== 'portable') {
    space = ground.afterDeath(space);
    assert.equal(space.get(id, Board).hits, 11);
  }
  space.close();
  const report = checkSpace(ground.host, ground.directory);
  assert.deepEqual(report.findings, []);
});

onHosts('T12 what is not covered by a transaction is refused by name, and the object is as it was', (ground) => {
  const space = ground.open();
  const { board, holder } = makeBoard(space);
  const object = space.object(board);
  const before = object.export();
  space.relaxed(() => {
    fails('SharedFixed', () => object.allocate(64));
    fails('SharedFixed', () => object.free(object.rootOffset));
    fails('SharedFixed', () => space.make(Board, board));
    fails('SharedFixed', () => (board.title = 'another and longer'));
    fails('SharedFixed', () => space.tie(board, holder));
    fails('InvalidArgument', () => space.copy(holder, { kind: 'shared' }));
  });
  fails('SharedReference', () => space.relaxed(() => space.create(Holder, { board }, { kind: 'shared' })));
  fails('SharedFixed', () => space.defragment(board));
  fails('NotShared', () => space.object(holder).sync());
  fails('NotShared', () => space.object(holder).generation);
  assert.deepEqual(object.export(), before);
  // Read-only by its default rights: no store gets past them.
  const fixed = space.relaxed(() => space.create(Board, { hits: 3 }, { kind: 'shared', rights: 1 }));
  fails('ObjectForbidden', () => space.relaxed(() => (fixed.hits = 4)));
  assert.equal(fixed.hits, 3);
});

onHosts('T12 an undone creation leaves no trace, and a deletion takes the object away', (ground) => {
  const space = ground.open();
  const count = (): number => [...space.ids()].length;
  const before = count();
  assert.throws(() =>
    space.relaxed(() => {
      space.create(Board, { hits: 1 }, { kind: 'shared' });
      throw new Error('changed my mind');
    }),
  );
  assert.equal(count(), before);
  const { board, holder } = makeBoard(space);
  const { id } = space.object(board);
  const words = space.object(board).sync();
  assert.throws(() =>
    space.relaxed(() => {
      space.delete(board);
      throw new Error('changed my mind');
    }),
  );
  board.hits = 5;
  assert.equal(Atomics.load(words.i32, space.object(board).rootOffset / 4), 5);
  space.relaxed(() => {
    holder.board = null;
    space.delete(board);
  });
  fails('ObjectDeleted', () => board.hits);
  fails('StaleReference', () => words.wake(0));
  space.checkpoint();
  assert.equal(ground.host.exists(objectFile(space, id)), false);
});

onHosts('T12 grown in its transaction, large or small, it keeps what was put in; copies, seals and snapshots are of a moment', (ground) => {
  let space = ground.open();
  const big = space.relaxed(() => space.createRaw(300_000, { kind: 'shared' }));
  big.raw().fill(7);
  big.releaseRaw();
  const numbers = space.relaxed(() => space.create(vec(u32), [1, 2, 3, 4, 5], { kind: 'shared' }));
  const { board } = makeBoard(space);
  const snapshot = space.snapshot();
  const then = snapshot.of(board);
  assert.equal(then.hits, 1);
  board.hits = 2;
  assert.equal(then.hits, 1);
  snapshot.close();
  const copy = space.relaxed(() => space.copy(board));
  const sealed = space.relaxed(() => space.seal(board));
  board.hits = 3;
  assert.equal(copy.kind, 'owned');
  assert.equal(copy.root(Board).hits, 2);
  assert.equal(space.get(sealed, Board).hits, 2);
  const ids = { big: big.id, numbers: space.object(numbers).id };
  space = ground.afterClose(space);
  assert.ok(
    space
      .object(ids.big)
      .bytes(8192, 200_000)
      .every((byte) => byte === 7),
  );
  assert.deepEqual([...space.get(ids.numbers, vec(u32))], [1, 2, 3, 4, 5]);
});

onHosts('T12 a backup and a dump leave shared objects out, as they do volatile ones', async (ground) => {
  const space = ground.open();
  const { board } = makeBoard(space);
  const { id } = space.object(board);
  const report = await ground.until(space.backup(`${ground.directory}-backup`));
  assert.equal(report.objects, [...space.ids()].length - 1);
  const dump = Buffer.concat([...dumpSpace(space)]).toString('utf8');
  assert.ok(!dump.includes(`"object":"${id}"`) && !dump.includes(`"id":"${id}"`));
});

test('T12 each run of the machine counts once', () => {
  const first = new SimulatedHost({ wasm: true });
  first.makeDirectory('/tmp');
  let space = open('/tmp/space', { host: first });
  const { board } = makeBoard(space);
  const { id } = space.object(board);
  assert.equal(space.object(id).generation, 1);
  space.close();
  space = open('/tmp/space', { host: first });
  assert.equal(space.object(id).generation, 1);
  space.sync();
  const second = first.crash({ mode: 'keep' });
  space = open('/tmp/space', { host: second });
  assert.equal(space.object(id).generation, 2);
  assert.equal(space.get(id, Board).limit, 9);
});

test('T12 at whatever point the power fails, a shared object and the reference to it are both there, whole, or neither', (t) => {
  let there = 0;
  let points = 0;
  for (let point = 1; ; point++) {
    const host = new SimulatedHost({ wasm: true, windowSize: 1 << 20 });
    host.makeDirectory('/tmp');
    host.syncDirectory('/');
    const space = open('/tmp/space', { host, segmentSize: 65536 });
    const holder = space.relaxed(() => space.create(Holder, { name: 'holder' }));
    const { id } = space.object(holder);
    space.checkpoint();
    const before = [...space.ids()].length;
    host.stopAt = host.points + point;
    let whole = true;
    try {
      space.relaxed(() => {
        holder.board = space.create(Board, { hits: 1, limit: 9, title: 'all' }, { kind: 'shared' });
      });
      space.checkpoint();
    } catch (error) {
      if (!(error instanceof PowerLoss) && !isBusy(error)) throw error;
      whole = false;
    }
    const ended = !host.stopped;
    for (const plan of [{ mode: 'lose' }, { mode: 'keep' }, { mode: 'random', seed: point }] as const) {
      const next: Host = host.crash(plan);
      const again = open('/tmp/space', { host: next, segmentSize: 65536 });
      const found = again.get(id, Holder).board;
      if (found !== null) {
        there++;
        assert.deepEqual([found.hits, found.limit, found.title], [1, 9, 'all']);
      } else assert.ok(!whole, `point ${point}: what returned is lost`);
      assert.equal([...again.ids()].length, before + (found === null ? 0 : 1), `point ${point}, ${plan.mode}`);
      assert.deepEqual(next.exists('/tmp/space/drafts') ? next.list('/tmp/space/drafts') : [], []);
      again.kernel.release();
    }
    points = point;
    if (ended) break;
  }
  t.diagnostic(`${points} points, ${there} times there`);
  assert.ok(points > 10 && there > 2);
});

onHosts(
  'T12 another process on the file of a shared object sees stores at once, sleeps and is woken',
  async (ground, t) => {
    const space = ground.open();
    const object = space.relaxed(() => space.createRaw(60_000, { kind: 'shared' }));
    const words = object.sync();
    const child = fork(CHILD, [objectFile(space, object.id), String(object.size)], { execArgv: [] });
    t.after(() => child.kill('SIGKILL'));
    await once(child, 'message');
    const answer = once(child, 'message');
    const index = object.rootOffset / 4;
    child.send({ call: 'wait', index, value: 0 });
    await until(() => words.wake(index) > 0);
    assert.deepEqual(await answer, ['woken', undefined]);
    assert.ok(ground.host instanceof LinuxHost);
  },
  ['linux'],
);

onHosts('T12 a lock that is initialized before its object has grown to its size is the one that others see', (ground) => {
  const space = ground.open();
  const Locked = struct('Locked', { permits: counter, lock: mutex, title: text });
  const locked = space.relaxed(() => {
    const made = space.create(Locked, {}, { kind: 'shared' });
    Reflect.set(made, 'permits', 3);
    // It moves.
    made.title = 'long '.repeat(20_000);
    return made;
  });
  assert.equal(locked.permits.value, 3);
  assert.ok(locked.lock.tryLock());
  locked.lock.unlock();
  assert.equal(space.get(space.object(locked).id, Locked).permits.value, 3);
  space.close();
});

/** T13: watches: whoever wants to know that an object has changed, by whomever, is told of the last state. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { LIVE } from '../src/abi/live-format.ts';
import { makeBell } from '../src/host/bell.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import type { Timer } from '../src/host/host.ts';
import { open, orderedMap, struct, text, u32, u8, vec, bytes, type Infer, type Space } from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { Ground, fails, onHosts } from './hosts.ts';
import { Neighbour } from './neighbour.ts';
import { Big, Counter, Shelf } from './sharing-types.ts';

const Board = struct('Board', { title: text, score: u32, moves: vec(u8), picture: bytes });
type Board = Infer<typeof Board>;

function boardIn(space: Space): Board {
  return space.relaxed(() => space.create(Board, { title: 'chess', score: 1 }));
}

/** Lets everything run that is ready. */
async function settle(ground: Ground, space: Space): Promise<void> {
  await ground.until(new Promise<void>((resolve) => space.kernel.host.soon(resolve)));
}

onHosts('T13 watch: any number of commits before the event loop comes round are told once, with the last state', async (ground) => {
  const space = ground.open();
  const board = boardIn(space);
  const told: string[] = [];
  using watch = space.watch(board, (b) => told.push(`${b.title} ${b.score}`));
  for (let i = 0; i < 5; i++) space.relaxed(() => (board.score = i));
  assert.deepEqual(told, []);
  await settle(ground, space);
  assert.deepEqual(told, ['chess 4']);
  space.relaxed(() => (board.title = 'go'));
  await settle(ground, space);
  assert.deepEqual(told, ['chess 4', 'go 4']);
  // Nothing has changed.
  space.relaxed(() => (board.title = 'go'));
  assert.throws(() =>
    space.relaxed(() => {
      board.score = 99;
      throw new Error('undone');
    }),
  );
  space.relaxed(() => space.create(Board, { title: 'another' }));
  await settle(ground, space);
  assert.deepEqual(told, ['chess 4', 'go 4']);
  watch.close();
  space.relaxed(() => (board.score = 7));
  await settle(ground, space);
  assert.equal(told.length, 2);
  assert.equal(await ground.until(watch.ended), 'closed');
});

onHosts('T13 watch: a part of an object is told of when it differs, by value', async (ground) => {
  const space = ground.open();
  const board = boardIn(space);
  const scores: number[] = [];
  const moves: number[][] = [];
  const pictures: string[] = [];
  space.watch(board, { of: (b) => b.score }, (score) => scores.push(score));
  space.watch(board, { of: (b) => [...b.moves] }, (all) => moves.push(all));
  space.watch(board, { of: (b) => b.picture }, (picture) => pictures.push(Buffer.from(picture).toString()));
  const step = async (change: () => unknown): Promise<void> => {
    space.relaxed(() => void change());
    await settle(ground, space);
  };
  await step(() => (board.score = 5));
  await step(() => (board.title = 'draughts'));
  await step(() => board.moves.push(3));
  await step(() => (board.picture = Buffer.from('a cat')));
  await step(() => (board.picture = Buffer.from('a dog')));
  await step(() => (board.picture = Buffer.from('a dog')));
  // There and back again, while nobody looks.
  space.relaxed(() => (board.score = 6));
  await step(() => (board.score = 5));
  assert.deepEqual(scores, [5]);
  assert.deepEqual(moves, [[3]]);
  assert.deepEqual(pictures, ['a cat', 'a dog']);
});

onHosts('T13 watch: an iterator gives what changed while nobody looked once, and ends with the object', async (ground) => {
  const space = ground.open();
  const board = boardIn(space);
  const watch = space.watch(board, { of: (b) => b.score });
  const steps = watch[Symbol.asyncIterator]();
  for (const score of [2, 3, 4]) space.relaxed(() => (board.score = score));
  assert.deepEqual(await ground.until(steps.next()), { value: 4, done: false });
  const next = steps.next();
  space.relaxed(() => (board.score = 5));
  assert.deepEqual(await ground.until(next), { value: 5, done: false });
  const last = steps.next();
  space.relaxed(() => space.delete(board));
  assert.deepEqual(await ground.until(last), { value: undefined, done: true });
  assert.equal(await ground.until(watch.ended), 'deleted');
});

onHosts('T13 watch: who gives up, aborts or closes the space is told no more', async (ground) => {
  const space = ground.open();
  const board = boardIn(space);
  let told = 0;
  const stop = new AbortController();
  const aborted = space.watch(board, { signal: stop.signal }, () => told++);
  const closed = space.watch(board, () => told++);
  const left = space.watch(board);
  stop.abort();
  fails('InvalidArgument', () => space.watch({}));
  assert.throws(() => space.watch(board, { signal: stop.signal }), { name: 'AbortError' });
  space.relaxed(() => fails('TransactionNested', () => space.watch(board)));
  using snapshot = space.snapshot();
  fails('NotSupported', () => space.watch(snapshot.of(board)));
  assert.equal(await ground.until(aborted.ended), 'closed');
  // It was due, and is told nothing all the same.
  space.relaxed(() => (board.score = 2));
  space.close();
  assert.equal(await ground.until(closed.ended), 'spaceClosed');
  for await (const _ of left) assert.fail('nothing comes any more');
  assert.equal(told, 0);
  fails('SpaceClosed', () => space.watch(board));
});

onHosts('T13 watch: what a collection goes on in is a part of it, also what it gets later', async (ground, t) => {
  const limits = { ...POOL_LIMITS };
  t.after(() => Object.assign(POOL_LIMITS, limits));
  Object.assign(POOL_LIMITS, { home: 16 << 10, member: 32 << 10 });
  const space = ground.open();
  const Row = struct('Row', { note: text, n: u32 });
  const Table = orderedMap(u32, Row);
  const table = space.relaxed(() => space.create(Table));
  let told = 0;
  space.watch(table, () => told++);
  const objects = new Set([space.object(table).id]);
  for (let round = 0; round < 40; round++) {
    const before = told;
    space.relaxed(() => {
      for (let i = 0; i < 50; i++) table.set(round * 50 + i, { note: 'x'.repeat(60), n: i });
    });
    await settle(ground, space);
    assert.equal(told, before + 1, `round ${round}`);
    // In the newest part alone, in place.
    const row = table.get(round * 50 + 49);
    assert.ok(row !== undefined);
    objects.add(space.object(row).id);
    space.relaxed(() => (row.n = 1000));
    await settle(ground, space);
    assert.equal(told, before + 2, `round ${round}`);
  }
  assert.ok(objects.size > 3, `${objects.size} objects`);
});

test('T13 watch: a listener that throws is an error of the program, and the others are told', async (t) => {
  const { directory } = new Ground('linux', t);
  const program = `
    import { open, struct, u32 } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)};
    const space = open(${JSON.stringify(directory)});
    const board = space.relaxed(() => space.create(struct('Board', { score: u32 })));
    space.watch(board, () => { throw new RangeError('of the listener'); });
    space.watch(board, { of: (b) => b.score }, (score) => console.log('told', score));
    process.on('uncaughtException', (error) => {
      console.log(error.message);
      process.exit();
    });
    space.relaxed(() => (board.score = 3));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program]);
  assert.equal(stdout, 'told 3\nof the listener\n');
});

// --- several processes ------------------------------------------------------------------------------------------------------------

/** Where nothing is looked at now and then: what is told of is told by a wake. */
class Timeless extends LinuxHost {
  override timer(): Timer {
    return { cancel: () => undefined };
  }
}

function beside(name: string, body: (space: Space, neighbour: Neighbour, t: TestContext) => Promise<void>): void {
  test(name, async (t) => {
    const ground = new Ground('linux', t);
    const space = open(ground.directory, { host: new Timeless() });
    t.after(() => space.kernel.release());
    space.relaxed(() => {
      space.names.set('/a', space.create(Counter, {}));
      space.names.set('/shelf', space.create(Shelf));
      space.names.set('/big', space.create(Big));
    });
    const neighbour = new Neighbour(t, ground.directory);
    const opened = neighbour.does('open');
    // It knocks; no timer answers here.
    const answer = setInterval(() => space.refresh(), 1);
    await opened;
    clearInterval(answer);
    await body(space, neighbour, t);
    await neighbour.kill();
  });
}

beside('T13 watch: who takes the log and commits nothing wakes nobody', async (space, neighbour) => {
  const { kernel } = space;
  const { i32 } = kernel.live ?? assert.fail('nobody shares the space');
  // Somebody says that it sleeps, and does not yet: that it is woken now is lost, for the count of commits is what it was.
  const sleeps = (): number => Atomics.load(i32, LIVE.watched >> 2);
  Atomics.store(i32, LIVE.watched >> 2, 1);
  const commits = Atomics.load(i32, LIVE.commits >> 2);
  kernel.log.join();
  await kernel.log.durable();
  assert.deepEqual([sleeps(), Atomics.load(i32, LIVE.commits >> 2)], [1, commits]);
  await neighbour.does('add', '/a');
  assert.equal(sleeps(), 0);
});

beside('T13 watch: a thread of the same process is told by its bell, whether its sleep ends or not', async (space, _neighbour, t) => {
  // Nobody wakes it from its sleep.
  const host = new Timeless();
  const { waitAnyAsync } = host.futex;
  let sleeps = 0;
  host.futex.waitAnyAsync = (states, timeout, signal) => {
    sleeps++;
    return waitAnyAsync.call(host.futex, states, Math.min(timeout, 1e9), signal).then(() => new Promise(() => undefined));
  };
  const other = open(space.directory, { host });
  t.after(() => other.kernel.release());
  const { near, far } = makeBell();
  space.kernel.hear(near);
  other.kernel.hear(far);
  const told: number[] = [];
  const counter = space.names.get('/a', Counter);
  using watch = other.watch(other.names.get('/a', Counter), ({ n }) => told.push(n));
  const next = async (): Promise<void> => {
    const count = told.length;
    while (told.length === count) await new Promise((resolve) => setImmediate(resolve));
  };
  for (let n = 1; n <= 5; n++) {
    space.relaxed(() => void counter.n++);
    await next();
  }
  assert.deepEqual([told, sleeps], [[1, 2, 3, 4, 5], 1]);
  watch.close();
  // Who watches nothing is not rung.
  space.relaxed(() => void counter.n++);
  assert.equal(other.names.get('/a', Counter).n, 6);
});

beside('T13 watch: what another process commits is told at once, and the last state always', async (space, neighbour) => {
  const counter = space.names.get('/a', Counter);
  let seen = 0;
  let told = 0;
  let wanted = Infinity;
  let done: () => void = () => undefined;
  space.watch(counter, { of: (c) => c.n }, (n) => {
    told++;
    assert.ok(n > seen, `${n} after ${seen}`);
    seen = n;
    if (n >= wanted) done();
  });
  for (let round = 1; round <= 40; round++) {
    const all = new Promise<void>((resolve) => (done = resolve));
    wanted = round * 8;
    const commits = neighbour.does('spree', '/a', 8);
    await all;
    assert.equal(counter.n, wanted);
    await commits;
  }
  assert.ok(told <= 320, `${told} times`);
});

beside('T13 watch: what is not mapped here, what grows elsewhere, and what is deleted elsewhere', async (space, neighbour) => {
  const shelf = space.names.get('/shelf', Shelf);
  const big = space.names.get('/big', Big);
  const lengths = space.watch(big, { of: (b) => b.data.length })[Symbol.asyncIterator]();
  const sizes = space.watch(shelf, { of: (s) => s.size })[Symbol.asyncIterator]();
  for (let i = 1; i <= 5; i++) {
    await neighbour.does('put', `key-${i}`, 'value');
    assert.equal((await sizes.next()).value, i);
  }
  space.relaxed(() => {
    for (let i = 0; i < 100_000; i++) big.data.push(0);
  });
  assert.equal((await lengths.next()).value, 100_000);
  assert.equal(await neighbour.does('create', '/new'), space.names.get('/new').id);
  const made = space.watch(space.names.get('/new', Counter));
  await neighbour.does('remove', '/new');
  assert.equal(await made.ended, 'deleted');
});

beside('T13 watch: a process that dies does not keep others from being told', async (space, neighbour, t) => {
  const counter = space.names.get('/a', Counter);
  const values = space.watch(counter, { of: (c) => c.n })[Symbol.asyncIterator]();
  const hanging = neighbour.does('hang', '/a');
  assert.equal(await hanging, 'hanging');
  await neighbour.kill();
  const next = new Neighbour(t, space.directory);
  const opened = next.does('add', '/a', 5);
  assert.equal((await values.next()).value, 5);
  assert.equal(await opened, 5);
  await next.kill();
});

test('T13 watch: a shared object is watched by its words', (t) => {
  const space = new Ground('linux', t).open();
  const board = space.relaxed(() => space.create(Counter, {}, { kind: 'shared' }));
  fails('NotSupported', () => space.watch(board));
});

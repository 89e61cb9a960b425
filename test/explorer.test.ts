/**
 * T12, T14: the explorer of interleavings is to be believed: on small random programs it comes to exactly those outcomes that plain
 * enumeration of all orders comes to, and it finds classic mistakes.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SyncWords } from '../src/abi/sync.ts';
import { Mutex } from '../src/lib/sync/mutex.ts';
import { RwLock } from '../src/lib/sync/rw-lock.ts';
import { explore, replay, type Program } from '../src/testing/explorer/explore.ts';
import { amount } from './thorough.ts';

function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A few atomic steps on two words; with waits that may time out where there are two threads. */
function randomThread(draw: (below: number) => number, steps: number, waits: boolean): (words: SyncWords) => unknown {
  const plan = Array.from({ length: steps }, () => ({ kind: draw(waits ? 6 : 5), word: draw(2), value: 1 + draw(2), expected: draw(3) }));
  return ({ i32, wait, wake }) =>
    plan.map(({ kind, word, value, expected }) => {
      if (kind === 0) return Atomics.load(i32, word);
      if (kind === 1) return Atomics.store(i32, word, value);
      if (kind === 2) return Atomics.compareExchange(i32, word, expected, value);
      if (kind === 3) return Atomics.load(i32, word) === expected ? 'same' : Atomics.add(i32, 1 - word, 1);
      if (kind === 4) return wake(word, 1);
      return wait(word, expected, 1);
    });
}

/** Every outcome that comes to be. */
function outcomes(program: Program<unknown>, preemptions?: number): { found: Set<string>; executions: number } {
  const found = new Set<string>();
  const check: Program<unknown>['check'] = ({ results, died, words }) => {
    found.add(JSON.stringify([results, died, words.i32[0], words.i32[1]]));
  };
  const result = explore({ ...program, check }, preemptions === undefined ? {} : { preemptions });
  assert.equal(result.failure, undefined, result.failure?.message);
  assert.ok(result.complete);
  return { found, executions: result.executions };
}

test('T14 explorer: comes to the outcomes of all orders, and to no others, on random programs', (t) => {
  const SEEDS = amount(36, 120);
  let [all, reduced, distinct] = [0, 0, 0];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const draw = generator(seed);
    const three = seed % 6 !== 1;
    const threads = Array.from({ length: three ? 3 : 2 }, () => randomThread(draw, three ? 2 : 3, !three));
    const program: Program<unknown> = { bytes: 64, threads, mortal: seed % 12 === 1 ? [0] : [] };
    const [every, some] = [outcomes(program, 1000), outcomes(program)];
    assert.deepEqual([...some.found].toSorted(), [...every.found].toSorted(), `seed ${seed}`);
    all += every.executions;
    reduced += some.executions;
    distinct += every.found.size;
  }
  assert.ok(reduced < all / 2 && distinct > 2.5 * SEEDS, 'tried too little');
  t.diagnostic(`seeds 1 to ${SEEDS}: ${distinct} outcomes; ${reduced} executions instead of ${all}`);
});

test('T14 explorer: two who each store and look cannot both see nothing', () => {
  const thread =
    (mine: number) =>
    ({ i32 }: SyncWords): number => {
      Atomics.store(i32, mine, 1);
      return Atomics.load(i32, 1 - mine);
    };
  const { found } = outcomes({ bytes: 64, threads: [thread(0), thread(1)] });
  assert.deepEqual([...found].map((text) => text.slice(0, 6)).toSorted(), ['[[0,1]', '[[1,0]', '[[1,1]']);
});

const bump = ({ i32 }: SyncWords): void => void Atomics.store(i32, 0, Atomics.load(i32, 0) + 1);

test('T14 explorer: finds a lost update, shows how it comes to be, and does it again', () => {
  const program: Program<void> = {
    bytes: 64,
    threads: [bump, bump],
    check: ({ words }) => assert.equal(words.i32[0], 2),
  };
  const { failure } = explore(program);
  assert.ok(failure !== undefined && failure.trace.length === 4, failure?.message);
  assert.equal(replay(program, failure.schedule)?.message, failure.message);
  assert.equal(replay(program, [0, 0, 1, 1]), undefined);
  const mended = explore({ ...program, threads: [({ i32 }) => void Atomics.add(i32, 0, 1), ({ i32 }) => void Atomics.add(i32, 0, 1)] });
  assert.equal(mended.failure, undefined);
});

test('T12 explorer: finds a wake that is lost, a race of plain stores, and what an exception tells', () => {
  const sleeper = ({ i32, wait }: SyncWords): void => {
    if (Atomics.load(i32, 0) === 0) wait(1, 0);
  };
  const waker = ({ i32, wake }: SyncWords): void => {
    Atomics.store(i32, 0, 1);
    wake(1);
  };
  assert.match(
    explore({ bytes: 64, threads: [sleeper, waker] }).failure?.message ?? '',
    /thread 0 sleeps on word 1, and nobody will wake it/,
  );
  const plain = ({ u8 }: SyncWords): void => void (u8[4] = 1);
  assert.match(explore({ bytes: 64, threads: [plain, plain] }).failure?.message ?? '', /a race: .* plainly/);
  const exclusive = ({ i32, u8 }: SyncWords): void => {
    if (Atomics.compareExchange(i32, 0, 0, 1) === 0) u8[4] = 1;
  };
  assert.equal(explore({ bytes: 64, threads: [exclusive, exclusive] }).failure, undefined);
  const throws = ({ i32 }: SyncWords): void => {
    if (Atomics.add(i32, 0, 1) === 1) throw new RangeError('second');
  };
  assert.match(explore({ bytes: 64, threads: [throws, throws] }).failure?.message ?? '', /threw RangeError: second/);
});

test('T12 explorer: a mortal thread dies before each of its steps, and others can ask', () => {
  const seen = new Set<string>();
  explore<unknown>({
    bytes: 64,
    mortal: [0],
    threads: [
      ({ i32 }: SyncWords): number => Atomics.add(i32, 0, 1) + Atomics.add(i32, 0, 1),
      ({ i32, threads }: SyncWords): string => `${threads.lives(1)} ${Atomics.load(i32, 0)}`,
    ],
    check: ({ results, died }) => void seen.add(`${died} ${String(results[1])}`),
  });
  for (const outcome of ['0 false 0', '0 false 1', '0 true 0', '0 true 1', 'undefined true 0', 'undefined true 2'])
    assert.ok(seen.has(outcome), `${outcome} of ${[...seen].join('; ')}`);
  assert.ok(!seen.has('undefined false 0'));
});

/** Adds one, in two steps, to what a lock guards. */
const guarded = ({ dv }: SyncWords): void => dv.setInt32(512, dv.getInt32(512, true) + 1, true);

test('T12 explored: a mutex keeps two threads apart in all orders, wakes whoever waits, and passes on from a thread that dies', (t) => {
  const thread = (words: SyncWords): string => {
    try {
      new Mutex(words, 64).lockSync();
    } catch (error) {
      return error instanceof Error ? error.name : 'thrown';
    }
    guarded(words);
    new Mutex(words, 64).unlock();
    return 'ok';
  };
  const both = explore({
    bytes: 1024,
    // Nobody is saved by the end of a slice: who is not woken sleeps for ever.
    timeOuts: 0,
    threads: [thread, thread],
    check: ({ words }) => assert.equal(words.dv.getInt32(512, true), 2),
  });
  assert.equal(both.failure, undefined, both.failure?.trace.join('\n'));
  const death = explore({
    bytes: 1024,
    mortal: [0],
    threads: [thread, thread],
    check: ({ results }) => assert.ok(results[1] === 'ok' || results[1] === 'LockLost', results[1]),
  });
  assert.equal(death.failure, undefined, death.failure?.trace.join('\n'));
  assert.ok(both.complete && death.complete);
  t.diagnostic(`${both.executions} executions, and ${death.executions} with a death`);
});

test('T12 explored: a read-write lock, a reader and a writer, in all orders', (t) => {
  const { failure, complete, executions } = explore<unknown>({
    bytes: 1024,
    timeOuts: 0,
    threads: [
      (words) => {
        const lock = new RwLock(words, 64);
        const guard = lock.writeSync();
        guarded(words);
        guarded(words);
        guard.unlock();
      },
      (words) => {
        const guard = new RwLock(words, 64).readSync();
        const seen = words.dv.getInt32(512, true);
        guard.unlock();
        return seen;
      },
    ],
    check: ({ results }) => assert.ok(results[1] === 0 || results[1] === 2, String(results[1])),
  });
  assert.equal(failure, undefined, failure?.trace.join('\n'));
  assert.ok(complete);
  t.diagnostic(`${executions} executions`);
});

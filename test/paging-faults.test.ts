/** G2, G11: page faults served by a thread: what is asked for, what is shown, several readers at once, and every way in which it can end. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import * as v8 from 'node:v8';
import * as vm from 'node:vm';
import { Worker } from 'node:worker_threads';
import { isTwzError } from '../src/abi/errors.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { FaultRegion, type FaultMemory } from '../src/host/linux/userfault-region.ts';
import { CONTROL_BYTES, PAGE_STATE, REGION, RegionWords } from '../src/host/linux/userfault-words.ts';
import {
  PAGE_LIMITS,
  createPageSource,
  type PageCounters,
  type PageLimits,
  type PageQuestion,
  type PagedRegion,
} from '../src/host/pages.ts';
import type { Window } from '../src/host/host.ts';
import { fails } from './hosts.ts';
import { TestSource, madeUp } from './paging-source.ts';

const PAGE = 4096;
const host = new LinuxHost();
const skip = host.pages === undefined ? 'this machine gives no page faults to programs' : false;

const sum = ({ touched, along, held, dropped }: PageCounters): number => touched + along + held + dropped;

// --- what is asked for --------------------------------------------------------------------------------------------------------------

/** A region over memory that is made up: what was asked for, shown and zeroed is written down. */
class Bench {
  readonly words = new RegionWords(new SharedArrayBuffer(CONTROL_BYTES));
  readonly states: Uint8Array;
  readonly asked: PageQuestion[] = [];
  readonly shown = new Set<number>();
  readonly zeroed = new Set<number>();
  readonly region: FaultRegion;
  now = 0;

  constructor(pages: number, limits: Partial<PageLimits> = {}) {
    this.states = new Uint8Array(pages);
    const memory: FaultMemory = {
      show: (page, bytes) => {
        for (let i = 0; i < bytes.length / PAGE; i++) {
          assert.ok(!this.shown.has(page + i) && !this.zeroed.has(page + i), `page ${page + i} is shown twice`);
          assert.equal(bytes[i * PAGE], (page + i) & 255);
          this.shown.add(page + i);
        }
        return true;
      },
      zero: (page) => this.zeroed.add(page),
      wake: () => undefined,
    };
    let last = 0;
    this.region = new FaultRegion(
      this.words,
      this.states,
      { object: 'made up', version: 1, size: pages * PAGE },
      { ...PAGE_LIMITS, ...limits },
      memory,
      (question) => {
        this.asked.push({ ...question, number: ++last });
        return last;
      },
    );
  }

  /** Answers the oldest question, or the one at `i`. */
  answer(i = 0): void {
    const [question] = this.asked.splice(i, 1) as [PageQuestion];
    const bytes = new Uint8Array(question.length);
    for (let at = 0; at < bytes.length; at += PAGE) bytes[at] = ((question.offset + at) / PAGE) & 255;
    this.region.answer({ number: question.number, bytes }, this.now);
  }

  /** Touches a page as a program does: waits for it. */
  touch(page: number): void {
    if (this.shown.has(page)) return;
    this.region.fault(page, this.now);
    while (!this.shown.has(page)) {
      assert.ok(this.asked.length > 0, `page ${page} is waited for, and nobody was asked`);
      this.answer();
    }
  }

  get outstanding(): number {
    return this.asked.reduce((bytes, { length }) => bytes + length, 0) + this.words.counters().held;
  }
}

test('G2: reading in order asks for more and more at once, before it is waited for, and never for much more than was read', () => {
  const bench = new Bench(25_000);
  let waited = 0;
  for (let page = 0; page < 5000; page++) {
    if (bench.states[page] === PAGE_STATE.absent) waited++;
    bench.touch(page);
    // What was asked for meanwhile arrives while the reader goes on.
    if (page % 8 === 0 && bench.asked.length > 0) bench.answer();
    const fetched = bench.words.counters().fetched / PAGE;
    assert.ok(fetched <= 2 * (page + 1) + 16, `${fetched} pages for ${page + 1}`);
  }
  const { questions, faults } = bench.words.counters();
  assert.ok(questions < 45, `${questions} questions`);
  assert.ok(faults < 100 && waited < 12, `${faults} faults, ${waited} times nothing was asked for yet`);
});

test('G2: where what was asked for ahead comes too late, more is asked for at once', () => {
  const bench = new Bench(25_000);
  for (let page = 0; page < 64; page++) bench.touch(page);
  const { questions } = bench.words.counters();
  assert.ok(questions <= 7, `${questions} questions`);
});

test('G2: touches here and there ask for single pages before long, and for more again when it pays', () => {
  const bench = new Bench(200_000);
  for (let i = 0; i < 400; i++) bench.touch((i * 7919) % 100_000);
  const single = bench.words.counters();
  assert.ok(single.fetched / PAGE < 480, `${single.fetched / PAGE} pages for 400`);
  // Now each touch is one of a pair.
  for (let i = 0; i < 500; i++) {
    bench.touch(100_000 + i * 40);
    bench.touch(100_000 + i * 40 + 1);
  }
  const pairs = bench.words.counters();
  assert.ok(pairs.ready - single.ready > 250, `${pairs.ready - single.ready} of 500 were at hand`);
  assert.equal(pairs.fetched, sum(pairs));
});

for (const budget of [1, 2, 3, 7, 64]) {
  test(`G2: with a budget of ${budget} pages, and answers in any order, no more is ever asked for or held, and every touch ends`, () => {
    let seed = 1000 + budget;
    const random = (below: number): number => ((seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff) >>> 8) % below;
    const bench = new Bench(400, { budget: budget * PAGE, first: 4 * PAGE, ahead: 16 * PAGE });
    const waiting = new Set<number>();
    let next = 0;
    for (let step = 0; step < 4000; step++) {
      const page = random(3) === 0 ? random(400) : next++ % 400;
      if (!bench.shown.has(page)) {
        waiting.add(page);
        bench.region.fault(page, step);
      }
      if (random(50) === 0) bench.region.prefetch(random(400), random(400), step);
      while (bench.asked.length > 0 && (waiting.size > 3 || random(2) === 0)) bench.answer(random(bench.asked.length));
      for (const each of waiting) if (bench.shown.has(each)) waiting.delete(each);
      assert.ok(bench.outstanding <= budget * PAGE, `seed ${1000 + budget}, step ${step}: ${bench.outstanding} bytes`);
      const counters = bench.words.counters();
      assert.equal(counters.fetched, sum(counters));
      assert.ok(waiting.size === 0 || bench.asked.length > 0, `seed ${1000 + budget}, step ${step}: nobody was asked`);
    }
    while (bench.asked.length > 0) bench.answer();
    for (const page of waiting) assert.ok(bench.shown.has(page), `page ${page}`);
    // What was held and not touched made room.
    if (budget === 7) assert.ok(bench.words.counters().dropped > 0);
  });
}

test('G11: a page that does not come in time fails with all that is waited for; what comes after that is not shown', () => {
  const bench = new Bench(100, { faultMs: 10 });
  bench.region.fault(5, 0);
  bench.region.fault(50, 3);
  assert.equal(bench.region.deadline, 10);
  bench.region.expire(9);
  assert.equal(bench.words.failing, false);
  bench.region.expire(10);
  assert.deepEqual([[...bench.zeroed], bench.words.failures > 0, bench.words.error('x').name], [[5, 50], true, 'TimedOut']);
  assert.equal(bench.region.deadline, Infinity);
  // Nobody is asked or waited for until the failure is judged.
  const { length } = bench.asked;
  bench.region.fault(70, 11);
  assert.ok(bench.zeroed.has(70) && bench.asked.length === length);
  while (bench.asked.length > 0) bench.answer();
  assert.equal(bench.shown.size, 0);
  assert.equal(bench.states[5], PAGE_STATE.failed);
  // As `recover` does.
  for (const page of bench.zeroed) bench.states[page] = PAGE_STATE.absent;
  bench.zeroed.clear();
  bench.words.recover();
  bench.touch(5);
  bench.touch(70);
});

test('G11: nothing is shown, or zeroed, in a region that is closed', () => {
  const bench = new Bench(100, { faultMs: 10 });
  bench.touch(0);
  const shown = bench.shown.size;
  bench.region.fault(50, 0);
  bench.words.state = REGION.closed;
  bench.answer();
  bench.region.fault(3, 0);
  bench.region.fault(90, 0);
  bench.region.expire(10);
  bench.region.fault(91, 10);
  assert.deepEqual([bench.shown.size, bench.zeroed.size], [shown, 0]);
});

test('G11: a refusal of what nobody waits for is no failure', () => {
  const bench = new Bench(100);
  bench.region.prefetch(10, 20, 0);
  const [{ number }] = bench.asked.splice(0) as [PageQuestion];
  bench.region.answer({ number, refusal: { name: 'Unreachable', message: 'no' } }, 0);
  assert.equal(bench.words.failing, false);
  bench.touch(10);
  bench.region.fault(60, 0);
  const [question] = bench.asked.splice(0) as [PageQuestion];
  bench.region.answer({ number: question.number, refusal: { name: 'Denied', message: 'no' } }, 0);
  assert.equal(bench.words.error('x').name, 'Denied');
});

// --- real faults --------------------------------------------------------------------------------------------------------------------

interface Shown {
  readonly window: Window;
  readonly words: Int32Array;
  readonly region: PagedRegion;
  readonly name: string;
  /** Loads the first word of each page, and checks it. */
  load(...pages: readonly number[]): void;
}

const window = skip === false ? host.openWindow() : undefined;
let places = 0;

function show(source: TestSource, pages: number, limits: Partial<PageLimits> = {}): Shown {
  assert.ok(window !== undefined && host.pages !== undefined);
  const at = places++ * (64 << 20);
  const name = `object ${'.'.repeat(places)}`;
  const region = host.pages.open(window, at, { object: name, version: 1, size: pages * PAGE }, source.source, {
    ...PAGE_LIMITS,
    ...limits,
  });
  const words = new Int32Array(window.buffer, at, (pages * PAGE) / 4);
  const load = (...wanted: readonly number[]): void => {
    for (const page of wanted)
      assert.equal(words[page * 1024 + (page % 1024)], madeUp(name, page * PAGE + (page % 1024) * 4), `page ${page}`);
  };
  return { window, words, region, name, load };
}

async function start(t: TestContext): Promise<TestSource> {
  const source = await TestSource.start(createPageSource(host.pages));
  t.after(() => source.stop());
  return source;
}

/** Another thread that loads pages of a region; resolves with the sum of their first words. */
function loadElsewhere({ words }: Shown, pages: readonly number[]): Promise<number> {
  const code = `const { parentPort, workerData: { buffer, at, pages } } = require('node:worker_threads');
    const words = new Int32Array(buffer, at);
    let sum = 0; for (const page of pages) sum = (sum + words[page * 1024]) | 0; parentPort.postMessage(sum);`;
  const worker = new Worker(code, { eval: true, workerData: { buffer: words.buffer, at: words.byteOffset, pages } });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

test('G2: what is touched is what the source has, each page once, in two objects at once', { skip }, async (t) => {
  const source = await start(t);
  const a = show(source, 3000);
  const b = show(source, 50, { first: PAGE });
  const marks = [a, b].map(({ region }) => region.begin(60_000));
  for (let i = 0; i < 300; i++) {
    a.load((i * 7919) % 3000, i, 2999 - i);
    b.load(i % 50);
  }
  // Everything is answered in order: what was asked for ahead has come when this has.
  const fence = show(source, 1);
  fence.region.begin(60_000);
  fence.load(0);
  const before = a.region.counters();
  assert.ok(before.touched > 0 && before.fetched === sum(before));
  for (let i = 0; i < 300; i++) a.load((i * 7919) % 3000, i, 2999 - i);
  assert.deepEqual(a.region.counters(), before);
  assert.ok(a.region.resident(0) && b.region.resident(49 * PAGE) && !show(source, 10).region.resident(0));
  assert.deepEqual(
    [a, b].map(({ region }, i) => region.failedSince(marks[i] as number)),
    [false, false],
  );
  assert.equal(a.region.counters().fetched + b.region.counters().fetched + PAGE, source.bytes);
});

test('G2: two threads that touch the same pages get them, and they are fetched once', { skip }, async (t) => {
  const source = await start(t);
  const shown = show(source, 400);
  shown.region.begin(60_000);
  const pages = Array.from({ length: 400 }, (_, i) => (i * 171) % 400);
  const others = [pages, pages.toReversed()].map((each) => loadElsewhere(shown, each));
  for (const page of pages) shown.load(page);
  const expected = pages.reduce((total, page) => (total + madeUp(shown.name, page * PAGE)) | 0, 0);
  assert.deepEqual(await Promise.all(others), [expected, expected]);
  assert.equal(source.bytes, 400 * PAGE);
});

test('G2: while a touch is waited for, garbage is collected in this thread and in others', { skip }, async (t) => {
  v8.setFlagsFromString('--expose-gc');
  const gc: () => void = vm.runInNewContext('gc');
  const source = await start(t);
  const shown = show(source, 400, { first: PAGE, ahead: PAGE });
  shown.region.begin(60_000);
  // Another thread stands still in a fault, and this one collects.
  source.mode = 'hold';
  const other = loadElsewhere(shown, [200]);
  source.asked(1);
  gc();
  source.mode = 'answer';
  assert.equal(await other, madeUp(shown.name, 200 * PAGE));
  // This thread stands still again and again, in the middle of whatever its collector has begun.
  let garbage: object[] = [];
  for (let page = 0; page < 200; page++) {
    for (let i = 0; i < 500; i++) garbage.push({ i, page: [i] });
    if (garbage.length > 20_000) garbage = [];
    if (page % 100 === 50) gc();
    shown.load(page);
  }
});

test('G11: what failed is let go of, and a reader in another thread hears of it, too', { skip }, async (t) => {
  const source = await start(t);
  const shown = show(source, 100, { faultMs: 30, first: PAGE, ahead: PAGE });
  let mark = shown.region.begin(60_000);
  shown.load(0);
  source.mode = 'silent';
  const other = loadElsewhere(shown, [7, 8]);
  assert.equal(await other, 0);
  assert.equal(shown.words[9 * 1024], 0);
  assert.ok(shown.region.failedSince(mark) && !shown.region.resident(7 * PAGE));
  assert.ok(isTwzError(shown.region.error(), 'TimedOut'));
  source.mode = 'answer';
  // Without anybody's `recover`: what begins next does not see the zeros.
  mark = shown.region.begin(60_000);
  shown.load(0, 7, 8, 9);
  assert.equal(shown.region.failedSince(mark), false);
});

test('G11: a region that is closed wakes who waits in it, and nothing is stored there any more', { skip }, async (t) => {
  const source = await start(t);
  const shown = show(source, 100);
  const mark = shown.region.begin(60_000);
  source.mode = 'hold';
  const other = loadElsewhere(shown, [50]);
  source.asked(1);
  shown.region.close();
  assert.equal(await other, 0);
  assert.ok(shown.region.failedSince(mark));
  fails('PagedClosed', () => shown.region.begin(1));
  // What was on its way is not shown in what takes the place.
  shown.window.clear(shown.words.byteOffset, shown.words.byteLength, true);
  const again = host.pages?.open(
    shown.window,
    shown.words.byteOffset,
    { object: shown.name, version: 2, size: 100 * PAGE },
    source.source,
    PAGE_LIMITS,
  );
  again?.begin(60_000);
  source.mode = 'answer';
  shown.load(...Array.from({ length: 100 }, (_, i) => i));
  // The page that the first region had asked for was fetched again.
  assert.ok(source.bytes > 100 * PAGE);
  shown.region.close();
  again?.close();
  shown.window.clear(shown.words.byteOffset, shown.words.byteLength, true);
  assert.ok(shown.words.subarray(0, 4096).every((word) => word === 0));
});

test('G11: regions are opened and closed while pages of them arrive', { skip }, async (t) => {
  const source = await start(t);
  const limits = { ...PAGE_LIMITS, first: PAGE };
  for (let round = 0; round < 60; round++) {
    const name = `round ${'.'.repeat(round)}`;
    assert.ok(window !== undefined && host.pages !== undefined);
    const at = 63 * (64 << 20);
    const region = host.pages.open(window, at, { object: name, version: 1, size: 64 * PAGE }, source.source, limits);
    const words = new Int32Array(window.buffer, at, 64 * 1024);
    const mark = region.begin(60_000);
    region.prefetch(0, (round % 64) * PAGE);
    const page = (round * 37) % 64;
    assert.equal(words[page * 1024], madeUp(name, page * PAGE), `round ${round}`);
    assert.equal(region.failedSince(mark), false);
    region.close();
    assert.equal(words[((page + 1) % 64) * 1024] === 0 || region.failedSince(mark), true);
  }
});

test('G11: where the thread that serves faults fails, readers are told so, and the host says that there is nobody', { skip }, async (t) => {
  const source = await start(t);
  const shown = show(source, 100);
  const mark = shown.region.begin(60_000);
  shown.load(0);
  source.mode = 'silent';
  const other = loadElsewhere(shown, [50]);
  source.asked(2);
  // Limits that are none make it throw.
  const none: PageLimits = JSON.parse('null');
  assert.ok(window !== undefined);
  let broken: PagedRegion | undefined;
  try {
    broken = host.pages?.open(window, 62 * (64 << 20), { object: 'broken', version: 1, size: PAGE }, source.source, none);
  } catch (error) {
    // The thread was quicker.
    assert.ok(isTwzError(error));
  }
  assert.equal(await other, 0);
  assert.ok(shown.region.failedSince(mark) && isTwzError(shown.region.error(), 'HostUnavailable'));
  fails('HostUnavailable', () => shown.region.begin(1));
  if (broken !== undefined) fails('HostUnavailable', () => broken?.begin(1));
  assert.equal(host.pages, undefined);
  shown.region.close();
  broken?.close();
});

/** T14: rings between real processes and threads; peers that are killed. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { isTwzError } from '../src/abi/errors.ts';
import { Region } from '../src/host/futex.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { fails } from './hosts.ts';
import { createTestRing, type TestRing } from './rings-region.ts';
import { mapWords } from './sync-region.ts';

const CHILD = fileURLToPath(new URL('./rings-child.js', import.meta.url));
const THREAD = fileURLToPath(new URL('./rings-thread.js', import.meta.url));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-rings-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

// --- between processes ------------------------------------------------------------------------------------------------------

let files = 0;

function region(): { file: string; words: Region } {
  const file = path.join(scratch, `ring-${files++}`);
  return { file, words: mapWords(new LinuxHost(), file) };
}

function start(file: string, part: string, number = 0, count = 0): ChildProcess {
  return fork(CHILD, [file, part, String(number), String(count)], { serialization: 'advanced' });
}

async function message(child: ChildProcess): Promise<unknown> {
  const [value]: unknown[] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code, signal]) => Promise.reject(new Error(`exit ${code} ${signal}`))),
  ]);
  return value;
}

/** Every record came once, and those of each producer in order. */
function checkReceived(lists: readonly (readonly (readonly number[])[])[], producers: number, count: number): void {
  const seen = new Set<string>();
  for (const list of lists) {
    const last = new Map<number, number>();
    for (const [producer = -1, value = -1] of list) {
      assert.ok(value > (last.get(producer) ?? -1), `producer ${producer}: ${value} after ${last.get(producer)}`);
      last.set(producer, value);
      seen.add(`${producer} ${value}`);
    }
  }
  assert.equal(lists.flat().length, producers * count);
  assert.equal(seen.size, producers * count);
}

for (const [kind, producers, consumers] of [
  ['spsc', 1, 1],
  ['mpsc', 2, 1],
  ['mpmc', 2, 2],
] as const) {
  test(`T14 ${kind} between ${producers + consumers} processes: every record once, in the order of its producer`, async () => {
    const { file, words } = region();
    const ring = createTestRing(words, kind, 16);
    const count = 2000;
    const takers = Array.from({ length: consumers }, () => start(file, 'consume'));
    await Promise.all(takers.map(message));
    const all = takers.map((child) => message(child) as Promise<number[][]>);
    const makers = Array.from({ length: producers }, (_, i) => start(file, 'produce', i, count));
    await Promise.all(makers.map(message));
    (kind === 'mpmc' ? ring.consumer() : ring.producer()).close();
    checkReceived(await Promise.all(all), producers, count);
    assert.equal(ring.stat().producersLost, 0);
  });
}

test('T14 worker threads and the main thread, which does not block', async () => {
  const buffer = new SharedArrayBuffer(65536);
  const ring = createTestRing(new Region(new LinuxHost().futex, new Uint8Array(buffer)), 'mpmc', 16);
  const spawn = (part: string, number: number, count: number): Worker =>
    new Worker(THREAD, { workerData: { buffer, part, number, count } });
  const makers = [0, 1].map((number) => spawn('produce', number, 1000));
  const taker = spawn('consume', 0, 0);
  const theirs = once(taker, 'message') as Promise<[number[][]]>;
  const consumer = ring.consumer();
  const ended = Promise.all(makers.map((maker) => once(maker, 'message'))).then(() => consumer.close());
  const mine: number[][] = [];
  for await (const { producer, value } of consumer) mine.push([producer, value]);
  await ended;
  checkReceived([mine, (await theirs)[0]], 2, 1000);
  await Promise.all([...makers, taker].map((worker) => worker.terminate()));
});

// --- the dead ---------------------------------------------------------------------------------------------------------------

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

test('T14 a producer that is killed with a claimed slot holds nobody up, and the consumer is told when it was the last', async () => {
  const { file, words } = region();
  const ring = createTestRing(words, 'mpsc', 4);
  const consumer = ring.consumer({ patience: 5 });
  const victim = start(file, 'claim', 1);
  assert.equal(await message(victim), 'holding');
  const other = ring.producer();
  other.submit({ producer: 2, value: 20 });
  // Behind the claimed slot: not to be had while the victim lives.
  fails('QueueTimedOut', () => consumer.receive({ timeout: 20 }));
  await kill(victim);
  assert.equal(consumer.receive()?.value, 20);
  assert.deepEqual([ring.stat().producersLost, ring.stat().abandoned, ring.stat().producers], [1, 1, 1]);
  other.leave();
  fails('PeerGone', () => consumer.receive());
  // It was told; who comes next is waited for.
  fails('QueueTimedOut', () => consumer.receive({ timeout: 20 }));
  ring.producer().submit({ producer: 3, value: 30 });
  assert.equal(consumer.receive()?.value, 30);
});

test('T14 the slot of a consumer that is killed comes back, and a producer that waits for it goes on', async () => {
  const { file, words } = region();
  const ring = createTestRing(words, 'mpmc', 2);
  const producer = ring.producer({ patience: 5 });
  producer.submit({ value: 1 });
  const victim = start(file, 'take');
  assert.equal(await message(victim), 1);
  producer.submit({ value: 2 });
  assert.equal(producer.offer({ value: 3 }), false);
  const waiting = producer.submitAsync({ value: 3 });
  const consumer = ring.consumer();
  await kill(victim);
  await waiting;
  assert.deepEqual([consumer.receive()?.value, consumer.receive()?.value], [2, 3]);
  assert.deepEqual([ring.stat().consumersLost, ring.stat().abandoned], [1, 1]);
});

test('T14 one producer, one consumer: the end of the other process is told, and another one takes over', async () => {
  const { file, words } = region();
  const ring = createTestRing(words, 'spsc', 4);
  const consumer = ring.consumer({ patience: 5 });
  const victim = start(file, 'claim');
  assert.equal(await message(victim), 'holding');
  fails('QueueTaken', () => ring.producer());
  const told = assert.rejects(consumer.receiveAsync(), { name: 'PeerGone' });
  await kill(victim);
  await told;
  const done = message(start(file, 'produce', 5, 3));
  for (let value = 0; value < 3; value++) assert.equal((await consumer.receiveAsync())?.value, value);
  assert.equal(await done, 'done');
});

test('T14 a thread that is terminated is as dead as a process', async () => {
  const buffer = new SharedArrayBuffer(65536);
  const ring: TestRing = createTestRing(new Region(new LinuxHost().futex, new Uint8Array(buffer)), 'mpsc', 4);
  const victim = new Worker(THREAD, { workerData: { buffer, part: 'claim', number: 0, count: 0 } });
  await once(victim, 'message');
  await victim.terminate();
  const producer = ring.producer();
  producer.submit({ value: 4 });
  assert.equal(ring.consumer({ patience: 5 }).receive()?.value, 4);
  assert.equal(ring.stat().abandoned, 1);
});

test('T14 producers killed at any time wedge nobody: what they submitted arrives once, in order, without holes', async (t) => {
  const { file, words } = region();
  const ring = createTestRing(words, 'mpsc', 8);
  const consumer = ring.consumer({ patience: 5 });
  const got = new Map<number, number>();
  const rounds = 4;
  const next = async (): Promise<number> => {
    const record = await consumer.receiveAsync().catch((error: unknown) => {
      assert.ok(isTwzError(error, 'PeerGone'));
      return undefined;
    });
    if (record === undefined) return await next();
    assert.equal(record.value, (got.get(record.producer) ?? -1) + 1, `producer ${record.producer}`);
    got.set(record.producer, record.value);
    return record.producer;
  };
  for (let round = 0; round < rounds; round++) {
    const victim = start(file, 'produce', round, 1e9);
    for (let i = 0; i < 50 * (round + 1); i++) await next();
    await kill(victim);
  }
  const survivor = ring.producer();
  const rest = survivor.submitAsync({ producer: rounds, value: 0 });
  while ((await next()) !== rounds);
  await rest;
  ring.checkPeers();
  assert.equal(ring.stat().producersLost, rounds);
  t.diagnostic(`${rounds} producers killed, ${ring.stat().abandoned} claimed records abandoned`);
});

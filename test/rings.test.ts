/** T14: rings against a model, and what they refuse. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SyncWords } from '../src/abi/sync.ts';
import { Region } from '../src/host/futex.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { array, f64, oneOf, optional, struct, text, u32, u8 } from '../src/index.ts';
import { WORD, type RingKind, type RingShape } from '../src/lib/rings/layout.ts';
import { fixedBytes, structRecord, variableBytes, type RecordType } from '../src/lib/rings/records.ts';
import { createRing, openRing, ringBytes } from '../src/lib/rings/ring.ts';
import { quietWords } from '../src/testing/explorer/memory.ts';
import { createTestRing } from './rings-region.ts';
import { fails } from './hosts.ts';

const KINDS: readonly RingKind[] = ['spsc', 'mpsc', 'spmc', 'mpmc'];
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

// --- against a model --------------------------------------------------------------------------------------------------------

/** As if so many positions had passed: a multiple of the capacity. */
function ageTo({ i32 }: SyncWords, shape: RingShape, position: number): void {
  i32[shape.word + WORD.tail] = i32[shape.word + WORD.head] = position | 0;
  if ((shape.kind & 3) === 0) return;
  const lapBits = Math.min(22, 32 - Math.log2(shape.capacity));
  const lap = Math.floor(position / shape.capacity) % 2 ** lapBits;
  for (let i = 0; i < shape.capacity; i++) i32[(shape.data + i * shape.stride) >>> 2] = lap << 10;
}

function runModel(kind: RingKind, record: RecordType<Uint8Array>, seed: number, age: boolean): number {
  const draw = generator(seed);
  const options = { kind, record, records: 1 + draw(6) };
  const words = quietWords(new ArrayBuffer(4096 + ringBytes(options)));
  const ring = createRing(words, 64 * draw(4), options);
  if (age) ageTo(words, ring.shape, 2 ** 32 - 8 * ring.shape.capacity);
  const [producer, consumer] = [ring.producer(), ring.consumer()];
  const model: Uint8Array[] = [];
  const lengthOf = (): number => (record.variable ? draw(record.size + 1) : record.size);
  const fresh = (length = lengthOf()): Uint8Array => Uint8Array.from({ length }, () => draw(256));
  let received = 0;
  for (let step = 0; step < 400; step++) {
    const choice = draw(7);
    if (choice === 0 || choice === 1) {
      const value = fresh();
      let fits = producer.offer(value);
      if (!fits && model.length === 0) {
        // What was cancelled among slots is skipped by the consumer first.
        assert.equal(consumer.tryReceive(), undefined);
        fits = producer.offer(value);
        assert.ok(fits, 'full, and holds nothing');
      }
      if (fits) model.push(value);
    } else if (choice === 2) {
      // Several in place, the last of them shorter than reserved.
      const reserved: Uint8Array[] = [];
      for (let i = draw(3); i >= 0; i--) {
        const place = producer.tryReserve();
        if (place === undefined) break;
        place.set(fresh(place.length));
        reserved.push(place);
      }
      const last = reserved.pop();
      model.push(...reserved.map((place) => place.slice()));
      if (last === undefined) continue;
      const length = record.variable ? draw(last.length + 1) : last.length;
      model.push(last.slice(0, length));
      producer.commit(length);
    } else if (choice === 3) {
      const value = consumer.tryReceive();
      assert.deepEqual(value, model.shift());
      if (value !== undefined) received++;
    } else if (choice === 4) {
      const views: Uint8Array[] = [];
      for (let i = draw(3); i >= 0; i--) {
        const view = consumer.tryPeek();
        if (view !== undefined) views.push(view);
      }
      assert.deepEqual(views, model.splice(0, views.length));
      received += views.length;
      if (views.length > 0) consumer.release();
    } else if (choice === 5) {
      const got: Uint8Array[] = [];
      const most = draw(5);
      const count = consumer.drain((view) => got.push(view.slice()), most);
      assert.equal(count, Math.min(most, model.length));
      assert.deepEqual(got, model.splice(0, count));
      received += count;
    } else if (producer.tryReserve() !== undefined) {
      producer.cancel();
      producer.commit(0);
    }
  }
  producer.close();
  assert.deepEqual([...consumer], model);
  return received;
}

for (const kind of KINDS) {
  test(`T14 ${kind} rings do as a model does, over the end of their positions too`, (t) => {
    let received = 0;
    for (let seed = 1; seed <= 24; seed++) {
      const record = seed % 2 === 0 ? fixedBytes(1 + (seed % 13)) : variableBytes(1 + (seed % 29));
      try {
        received += runModel(kind, record, seed, seed % 3 === 0);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    assert.ok(received > 1000);
    t.diagnostic(`seeds 1 to 24: ${received} records`);
  });
}

const Reading = struct('Reading', { id: u32, kind: oneOf('low', 'high'), values: array(f64, 3), note: optional(u8) });

test('T14 records are structs in place, and copies of them stay', () => {
  const record = structRecord(Reading);
  const ring = createRing(quietWords(new ArrayBuffer(8192)), 0, { record, records: 4 });
  const [producer, consumer] = [ring.producer(), ring.consumer()];
  producer.submit({ id: 1, kind: 'high', values: [1, 2, 3], note: 7 });
  const place = producer.reserve();
  place.id = 2;
  place.values.set(1, 0.5);
  producer.commit();
  const copy = consumer.receive();
  const view = consumer.peek();
  assert.deepEqual([copy?.id, copy?.kind, copy?.values.toArray(), copy?.note], [1, 'high', [1, 2, 3], 7]);
  assert.deepEqual([view?.id, view?.kind, view?.values.get(1), view?.note], [2, 'low', 0.5, undefined]);
  consumer.release();
  for (let i = 0; i < 9; i++) {
    producer.submit({ id: 100 + i });
    consumer.tryReceive();
  }
  assert.equal(copy?.id, 1);
  fails('TypeInvalid', () => structRecord(struct('Far', { name: text })));
  fails('TypeInvalid', () => structRecord(struct('Deep', { inner: array(struct('Inner', { name: text }), 2) })));
});

test('T14 rings refuse what is not theirs, by name', () => {
  const words = quietWords(new ArrayBuffer(8192));
  fails('QueueInvalid', () => openRing(words, 0, fixedBytes(8)));
  const ring = createRing(words, 0, { record: fixedBytes(8), records: 2 });
  fails('QueueInvalid', () => openRing(words, 0, fixedBytes(12)));
  fails('QueueInvalid', () => openRing(words, 0, variableBytes(8)));
  fails('QueueInvalid', () => openRing(words, 0, structRecord(struct('Eight', { a: f64 }))));
  fails('QueueInvalid', () => openRing(words, 8128, fixedBytes(8)));
  fails('InvalidArgument', () => createRing(words, 32, { record: fixedBytes(8), records: 2 }));
  fails('OutOfRange', () => createRing(words, 64, { record: fixedBytes(8), records: 1e6 }));
  const producer = ring.producer();
  fails('QueueTaken', () => openRing(words, 0, fixedBytes(8)).producer());
  fails('OutOfRange', () => producer.submit(new Uint8Array(7)));
  fails('ValueMismatch', () => Reflect.apply(producer.submit, producer, ['12345678']));
  producer.submit(new Uint8Array(8));
  producer.trySubmit(new Uint8Array(8));
  fails('QueueFull', () => producer.trySubmit(new Uint8Array(8)));
  assert.equal(producer.offer(new Uint8Array(8)), false);
  const consumer = ring.consumer();
  consumer.close();
  fails('QueueClosed', () => producer.submit(new Uint8Array(8)));
  assert.equal([...consumer].length, 2);
  producer.leave();
  assert.deepEqual([ring.stat().producers, ring.stat().consumers, ring.stat().closed], [0, 1, true]);
});

test('T14 back-pressure: a full ring makes a producer wait, as a promise and until its time is over', async () => {
  const words = new Region(new LinuxHost().futex, new Uint8Array(new SharedArrayBuffer(8192)));
  const ring = createTestRing(words, 'spsc', 2);
  const producer = ring.producer({ patience: 5 });
  for (const value of [1, 2]) await producer.submitAsync({ producer: 0, value });
  fails('QueueTimedOut', () => producer.submit({ value: 3 }, { timeout: 1 }));
  await assert.rejects(producer.submitAsync({ value: 3 }, { timeout: 1 }), { name: 'QueueTimedOut' });
  const stop = new AbortController();
  const aborted = producer.submitAsync({ value: 3 }, { signal: stop.signal });
  stop.abort(new Error('enough'));
  await assert.rejects(aborted, /enough/);
  const waiting = producer.submitAsync({ producer: 0, value: 3 });
  const consumer = ring.consumer();
  assert.equal(consumer.receive()?.value, 1);
  await waiting;
  assert.deepEqual([consumer.receive()?.value, consumer.receive()?.value], [2, 3]);
  fails('QueueTimedOut', () => consumer.receive({ timeout: 1 }));
});

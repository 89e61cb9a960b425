/** A process that maps a file of words and does with them what its parent says: `sync-child.js FILE [BYTES]`. Messages are `Order`s. */
import { LinuxHost } from '../src/host/linux/linux.ts';
import { Mutex, Once, RwLock, threadSync, word } from '../src/index.ts';
import { mapWords, PLACE, REGION_BYTES } from './sync-region.ts';

export interface Order {
  readonly call: 'wait' | 'waitAsync' | 'echo' | 'hold' | 'release' | 'write' | 'read' | 'once' | 'count' | 'sync' | 'stop';
  readonly index?: number;
  readonly value?: number;
  readonly rounds?: number;
  readonly seed?: number;
}

const words = mapWords(new LinuxHost(), process.argv[2] ?? '', Number(process.argv[3] ?? REGION_BYTES));

/** Answers each change of word 0 with the same in word 16; which way it sleeps is drawn. */
async function echo(rounds: number, seed: number): Promise<void> {
  let random = seed;
  for (let i = 1; i <= rounds; i++) {
    random = (Math.imul(random, 1103515245) + 12345) >>> 0;
    while (Atomics.load(words.i32, 0) === i - 1) {
      const states = [32, 0, 48].map((index) => ({ words, index, value: index === 0 ? i - 1 : 0 }));
      if (random % 4 === 0) words.waitAny(states);
      else if (random % 4 === 1) await words.waitAnyAsync(states);
      else if (random % 4 === 2) await words.waitAsync(0, i - 1);
      else words.wait(0, i - 1);
    }
    Atomics.store(words.i32, 16, i);
    words.wake(16);
  }
}

const mutex = new Mutex(words, PLACE.mutex);
const rwLock = new RwLock(words, PLACE.rwLock);

/** Counts up by steps that only a lock makes whole. */
async function count(rounds: number, seed: number): Promise<void> {
  const { i32 } = words;
  let random = seed;
  for (let i = 0; i < rounds; i++) {
    random = (Math.imul(random, 1103515245) + 12345) >>> 0;
    const how = (random >>> 16) % 4;
    if (how === 0) await mutex.lock();
    else mutex.lockSync();
    const before = i32[PLACE.total] ?? 0;
    if (how === 1) await new Promise((resolve) => setImmediate(resolve));
    i32[PLACE.total] = before + 1;
    mutex.unlock();
    if (how === 2) {
      using _writer = rwLock.writeSync();
      i32[PLACE.halves] = (i32[PLACE.halves] ?? 0) + 1;
      i32[PLACE.halves + 1] = (i32[PLACE.halves + 1] ?? 0) + 1;
    } else if (how === 3) {
      using _reader = rwLock.readSync();
      if (i32[PLACE.halves] !== i32[PLACE.halves + 1]) throw new Error('a reader saw half of a write');
    }
  }
}

process.on('message', ({ call, index = 0, value = 0, rounds = 0, seed = 1 }: Order) => {
  const answer = (result: unknown): void => void process.send?.(result);
  if (call === 'wait') answer(words.wait(index, value));
  else if (call === 'waitAsync') void words.waitAsync(index, value).then(answer);
  else if (call === 'hold') answer(mutex.lockSync().ownerDied);
  else if (call === 'release') {
    mutex.unlock();
    answer('released');
  } else if (call === 'write') answer(rwLock.writeSync().ownerDied);
  else if (call === 'read') answer(rwLock.readSync() !== undefined);
  else if (call === 'once') {
    new Once(words, PLACE.once).callSync(() => {
      answer('running');
      words.wait(index, value);
    });
  } else if (call === 'count') void count(rounds, seed).then(() => answer('done'));
  else if (call === 'sync') {
    Atomics.store(words.i32, 16, 1);
    const ops = [
      { wake: word(words, 64) },
      { sleep: word(words, index * 4), value },
      { sleep: word(words, 80, 64), value: 5n, invert: true },
    ];
    answer(threadSync(ops).outcome);
  } else if (call === 'echo') void echo(rounds, seed).then(() => answer('done'));
  else process.disconnect();
});
process.send?.('ready');

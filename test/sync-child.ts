/** A process that maps a file of words and does with them what its parent says: `sync-child.js FILE [BYTES]`. Messages are `Order`s. */
import { LinuxHost } from '../src/host/linux/linux.ts';
import { mapWords, REGION_BYTES } from './sync-region.ts';

export interface Order {
  readonly call: 'wait' | 'waitAsync' | 'echo' | 'stop';
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

process.on('message', ({ call, index = 0, value = 0, rounds = 0, seed = 1 }: Order) => {
  const answer = (result: unknown): void => void process.send?.(result);
  if (call === 'wait') answer(words.wait(index, value));
  else if (call === 'waitAsync') void words.waitAsync(index, value).then(answer);
  else if (call === 'echo') void echo(rounds, seed).then(() => answer('done'));
  else process.disconnect();
});
process.send?.('ready');

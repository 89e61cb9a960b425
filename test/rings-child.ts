/**
 * A process that takes part in a ring: `rings-child.js FILE PART NUMBER COUNT`. It says what it is doing by messages, so that its parent
 * can kill it there.
 */
import { LinuxHost } from '../src/host/linux/linux.ts';
import { RECORD, openTestRing } from './rings-region.ts';
import { mapWords } from './sync-region.ts';

const [file = '', part = '', number = '0', count = '0'] = process.argv.slice(2);
const words = mapWords(new LinuxHost(), file);
const tell = (message: unknown): void => void process.send?.(message);
/** Until the parent kills this process, or lets go of it. */
const stay = (): void => process.on('message', () => process.disconnect()) && undefined;

function produce(): void {
  const producer = openTestRing(words).producer();
  for (let i = 0; i < Number(count); i++) producer.submit({ producer: Number(number), value: i });
  producer.leave();
  tell('done');
  process.disconnect();
}

function consume(): void {
  const consumer = openTestRing(words).consumer();
  tell('ready');
  const got: number[][] = [];
  for (const { producer, value } of consumer) got.push([producer, value]);
  process.send?.(got, () => process.disconnect());
}

/** Has a record, and does not give it on. */
function hold(): void {
  const ring = openTestRing(words);
  if (part === 'claim') {
    Object.assign(ring.producer().reserve(), { producer: Number(number), value: -1 });
    tell('holding');
  } else tell(ring.consumer().peek()?.value);
  stay();
}

const PARTS: Readonly<Record<string, () => void>> = { produce, consume, claim: hold, take: hold };

if (RECORD.size !== 8) throw new Error('another record');
PARTS[part]?.();

/** A worker thread that takes part in a ring over the memory that it is given. */
import { parentPort, workerData } from 'node:worker_threads';
import { Region } from '../src/host/futex.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { openTestRing } from './rings-region.ts';

const { buffer, part, number, count } = workerData as { buffer: SharedArrayBuffer; part: string; number: number; count: number };
const ring = openTestRing(new Region(new LinuxHost().futex, new Uint8Array(buffer)));

if (part === 'produce') {
  const producer = ring.producer();
  for (let i = 0; i < count; i++) producer.submit({ producer: number, value: i });
  producer.leave();
  parentPort?.postMessage('done', []);
} else if (part === 'claim') {
  ring.producer().reserve();
  parentPort?.postMessage('holding', []);
  parentPort?.on('message', () => undefined);
} else {
  const got: number[][] = [];
  for (const { producer, value } of ring.consumer()) got.push([producer, value]);
  parentPort?.postMessage(got, []);
}

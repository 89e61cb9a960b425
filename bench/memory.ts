/** Memory: what is resident is what was touched, not what is there. */
import { join } from 'node:path';
import { type MemoryFigures, inChild } from './child.ts';
import { type Benchmark, type Context, compare } from './harness.ts';
import { makeLarge } from './big-spaces.ts';

const MB = 1e6;

function measure(directory: string, ids: readonly string[], touch: number): MemoryFigures {
  const { stdout } = inChild(['memory', directory, touch, ids.join(',')]);
  return JSON.parse(stdout);
}

async function run(context: Context): Promise<void> {
  let once: MemoryFigures | undefined;
  /** Where nothing is judged, one process serves for all. */
  const measured = (touch: number): MemoryFigures =>
    context.quick ? (once ??= measure(directory, ids, 1 << 20)) : measure(directory, ids, touch);
  const directory = join(context.directory, 'big');
  context.progress('memory: making a space of 10 GB');
  const ids = makeLarge(directory, context.size(10 * 2 ** 30, 16 << 20));
  const name = '10 GB space in a fresh process';
  await compare(context, 'memory', {
    name,
    unit: 'MB',
    better: 'lower',
    limit: 100,
    peers: [
      {
        reference: true,
        side: {
          name: 'Node with the program loaded, no space open',
          measure: () => measured(0).before / MB,
        },
      },
    ],
    ours: { name: 'resident after open', measure: () => measured(0).afterOpen / MB },
  });
  for (const megabytes of [64, 1024]) {
    const touch = context.size(megabytes << 20, 1 << 20);
    await compare(context, 'memory', {
      name,
      unit: 'MB',
      better: 'lower',
      peers: [{ reference: true, side: { name: 'what was touched', measure: () => touch / MB }, target: 1.25 }],
      ours: {
        name: `growth after ${megabytes} MiB were read`,
        measure() {
          const { afterOpen, afterTouch } = measured(touch);
          return (afterTouch - afterOpen) / MB;
        },
      },
    });
  }
}

export const memory: Benchmark = {
  name: 'memory',
  about: 'Resident memory of a fresh process that opens a 10 GB space and reads part of it.',
  run,
};

/** A value that nodes read and write in turn, at different rates: beside the same in a shared store. */
import { compare, median, type Benchmark, type Context, type Side } from './harness.ts';
import { onGround, type Ground } from './ground.ts';
import { makeBucket, makeKey, type Manner } from './reuse-turns.ts';

interface Cell {
  readonly nodes: number;
  readonly writes: number;
  readonly reads: number;
}

const CELLS: readonly Cell[] = [
  { nodes: 2, writes: 1, reads: 0 },
  { nodes: 2, writes: 1, reads: 10 },
  { nodes: 2, writes: 1, reads: 1000 },
  { nodes: 2, writes: 20, reads: 20 },
  { nodes: 3, writes: 1, reads: 0 },
  { nodes: 3, writes: 1, reads: 100 },
];

const NAMES: Readonly<Record<Manner, string>> = {
  ours: 'an object of the space',
  get: 'NATS KV and JSON, got for each read',
  watched: 'NATS KV and JSON, a copy kept by a subscription',
};

async function reusing(context: Context, ground: Ground): Promise<void> {
  const client = await ground.plain();
  await makeBucket(client);
  for (const { nodes, writes, reads } of context.quick ? CELLS.slice(1, 2) : CELLS) {
    const parties = await Promise.all(Array.from({ length: context.quick ? 1 : nodes }, (_, n) => ground.far(n)));
    const turns = context.size(Math.max(20, Math.ceil(200 / (writes + reads))), 2);
    const key = `${nodes}-${writes}-${reads}`;
    await makeKey(client, `get-${key}`);
    await makeKey(client, `watched-${key}`);
    const object = await parties[0]?.do('shared');
    const side = (manner: Manner): Side => {
      const id = manner === 'ours' ? (object ?? '') : `${manner}-${key}`;
      let written = 0;
      return {
        name: NAMES[manner],
        async measure() {
          const took: number[] = [];
          for (let turn = 0; turn < turns; turn++)
            for (const party of parties) {
              const { took: us, count } = await party.do('turns', { manner, id, writes, reads });
              written += writes;
              if (count !== written) throw new Error(`${manner}: ${count} writes are there of ${written}`);
              took.push(us);
            }
          return median(took);
        },
      };
    };
    const many = (count: number, what: string): string => (count === 1 ? `1 ${what}` : `${count} ${what}s`);
    await compare(context, 'reuse', {
      name: `${nodes} nodes in turn, each ${many(writes, 'write')}, ${many(reads, 'read')}`,
      unit: 'us/turn',
      better: 'lower',
      ours: side('ours'),
      peers: [{ side: side('get') }, { side: side('watched') }],
    });
  }
}

export const reuse: Benchmark = {
  name: 'reuse',
  about:
    'a small value that two or three nodes write to and read in turn, at several rates, each write kept by the engine: beside a key of NATS KV with JSON; ping-pong without any reuse is the worst there is',
  run: (context) => {
    const few = { ...context, rounds: Math.min(context.rounds, 5) };
    return onGround(few, 'reuse', (ground) => reusing(few, ground));
  },
};

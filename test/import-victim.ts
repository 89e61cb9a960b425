/** Imports without end in sight, and tells each step of its progress, until it is killed. Arguments: directory, records. */
import { writeSync } from 'node:fs';
import { open } from '../src/index.ts';
import { importData } from '../src/services/import.ts';

export const RING = {
  collections: { nodes: { type: 'Node', key: 'id', fields: { id: 'u32', name: 'text', next: { ref: 'nodes' }, all: { refs: 'nodes' } } } },
} as const;

/** Nodes that refer to the next, the last to the first, and to three more. */
export function* ring(total: number): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  for (let from = 0; from < total; from += 500) {
    let text = '';
    for (let id = from; id < Math.min(total, from + 500); id++) {
      text += `${JSON.stringify({ id, name: `node ${id}`, next: (id + 1) % total, all: [1, 7, 49].map((n) => (id * n + n) % total) })}\n`;
    }
    yield encoder.encode(text);
  }
}

const [, , directory, total] = process.argv;
if (directory !== undefined && total !== undefined) {
  const space = open(directory, { checkpointBytes: 1 << 20 });
  await importData(space, 'ring', RING, [{ name: 'ring', format: 'ndjson', chunks: ring(Number(total)) }], {
    objectBytes: 1 << 20,
    sortBytes: 1 << 20,
    progress: (phase) => writeSync(1, `${phase}\n`),
  });
  writeSync(1, 'done\n');
  // It neither closes the space nor ends.
  setInterval(() => undefined, 1000);
}

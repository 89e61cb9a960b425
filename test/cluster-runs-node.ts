/** A node of its own process, for tests that kill it: `cluster-runs-node.js DIRECTORY SERVER NAME`; says that it has joined. */
import { fileURLToPath } from 'node:url';
import { open } from '../src/index.ts';
import { join } from '../src/services/cluster/cluster.ts';

export const RUNS_NODE: string = fileURLToPath(import.meta.url);

if (process.argv[1] === RUNS_NODE) {
  const [, , directory = '', server = '', name = ''] = process.argv;
  await join(open(directory), { servers: [server], name, lease: 1000 });
  process.send?.('joined');
  process.once('disconnect', () => process.exit(0));
}

/**
 * Lets a crowd of nodes loose on what they share over a real server, and judges what they did. With --broken: calls that are not what they say,
 * which must be found.
 *
 *   npm run cluster:crowd -- --seconds 600 --seed 1 [--nodes 3] [--every 1500] [--broken acknowledged|apart|stale|twice] [--tell]
 */
import { parseArgs } from 'node:util';
import { ClusterCrowd } from './cluster-crowd-run.ts';
import { BROKEN } from './cluster/crowd-story.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    seed: { type: 'string', default: '1' },
    nodes: { type: 'string', default: '3' },
    every: { type: 'string', default: '1500' },
    broken: { type: 'string' },
    tell: { type: 'boolean', default: false },
  },
});
const broken = BROKEN.find((each) => each === values.broken);
if (values.broken !== undefined && broken === undefined) throw new Error(`--broken takes ${BROKEN.join(', ')}`);
const report = await new ClusterCrowd({
  seconds: Number(values.seconds),
  seed: Number(values.seed),
  nodes: Number(values.nodes),
  every: Number(values.every),
  broken,
  tell: values.tell ? (line) => console.log(line) : undefined,
}).run();
console.log(JSON.stringify({ ...values, ...report }, undefined, 2));
process.exitCode = report.faults.length === 0 ? 0 : 1;

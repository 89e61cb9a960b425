/**
 * Lets a crowd of processes loose on one space, and checks on it.
 *
 *   npm run crowd -- --members 8 --seconds 600 --seed 1
 */
import { parseArgs } from 'node:util';
import { crowd } from './crowd-run.ts';

const { values } = parseArgs({
  options: {
    members: { type: 'string', default: '8' },
    seconds: { type: 'string', default: '600' },
    seed: { type: 'string', default: '1' },
    every: { type: 'string', default: '100' },
  },
});
const report = await crowd({
  members: Number(values.members),
  seconds: Number(values.seconds),
  seed: Number(values.seed),
  every: Number(values.every),
});
console.log(JSON.stringify({ ...values, ...report }, undefined, 2));
process.exitCode = report.faults.length === 0 ? 0 : 1;

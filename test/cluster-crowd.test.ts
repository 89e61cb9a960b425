/** G13, G9, G11, G12: processes that are nodes, and a real server, killed and stopped at random. `npm run cluster:crowd` goes on for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClusterCrowd } from '../src/testing/cluster-crowd-run.ts';
import { foundServer, noServer } from './engines.ts';

const skip = { skip: noServer };
const binary = foundServer === undefined ? {} : { binary: foundServer.path };
const seed = Number(process.env['SEED'] ?? 1);

test('G13, G9: processes that are nodes are killed, and nothing is wrong, lost, done twice or under way for ever', skip, async (t) => {
  t.diagnostic(`seed ${seed}`);
  const report = await new ClusterCrowd({ seconds: 3, seed, every: 1500, ...binary }).run();
  t.diagnostic(JSON.stringify(report));
  assert.deepEqual(report.faults, []);
  assert.ok(report.acknowledged > 0);
});

test('G13: a crowd whose processes write one by one what belongs together is found out', skip, async (t) => {
  t.diagnostic(`seed ${seed}`);
  const { faults } = await new ClusterCrowd({ seconds: 20, seed, nodes: 2, every: 0, broken: 'apart', ...binary }).run();
  assert.match(faults.join('\n'), /torn|is in .* and not in all of|no order|written by nobody/);
});

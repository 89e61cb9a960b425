/** G13, G9, G11, G12: processes that are nodes, and a real server, killed and stopped at random. `npm run cluster:crowd` goes on for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClusterCrowd } from '../src/testing/cluster-crowd-run.ts';
import { Story, type Tallies } from '../src/testing/cluster/crowd-story.ts';
import { foundServer, noServer } from './engines.ts';

const skip = { skip: noServer };
const binary = foundServer === undefined ? {} : { binary: foundServer.path };
const seed = Number(process.env['SEED'] ?? 1);

test('G13, G9: processes that are nodes are killed, and nothing is wrong, lost, done twice or under way for ever', skip, async (t) => {
  t.diagnostic(`seed ${seed}`);
  const report = await new ClusterCrowd({ seconds: 10, seed, every: 1500, ...binary }).run();
  t.diagnostic(JSON.stringify(report));
  assert.deepEqual(report.faults, []);
  assert.ok(report.acknowledged > 0);
});

test('G13: a crowd whose processes write one by one what belongs together is found out', skip, async (t) => {
  t.diagnostic(`seed ${seed}`);
  const { faults } = await new ClusterCrowd({ seconds: 20, seed, nodes: 2, every: 0, broken: 'apart', ...binary }).run();
  assert.match(faults.join('\n'), /torn|is in .* and not in all of|no order|written by nobody/);
});

test('G12, G13: of runs it is found out which counted twice, not at all, though they should not have, or in another order', () => {
  /** Three runs one after the other, the last of which ends in an error: what is against them. */
  const judged = (error: string, t0: Tallies[string], gave: readonly number[] = [1, 2]): string => {
    const story = new Story();
    for (const [i, place] of [...gave, undefined].entries()) {
      const tag = i + 1;
      story.hear('a', { is: 'begin', tag, what: `run ${tag}`, at: 10 * i, ms: 5, runs: ['t0'] });
      story.hear('a', { is: 'end', tag, at: 10 * i + 5, error: place === undefined ? error : '', saw: undefined, gave: place });
    }
    return story.judge({}, { t0 }).faults.join('\n');
  };
  const both = [
    [1, 1],
    [2, 1],
  ] as const;
  for (const error of ['TimedOut', 'Unreachable', 'RunLost']) assert.equal(judged(error, both), '');
  for (const error of ['TimedOut', 'RunLost']) assert.equal(judged(error, [...both, [3, 1]]), '');
  assert.match(judged('Unreachable', [...both, [3, 1]]), /^wrong: t0: step 3 .* has counted$/);
  assert.match(judged('TimedOut', [...both, [3, 2]]), /^duplicated: t0: step 3 .* counted 2 times$/);
  assert.match(judged('TimedOut', [[1, 1]]), /^lost: t0: step 2 .* has not counted$/);
  assert.match(judged('TimedOut', [...both, [4, 1]]), /^wrong: t0: nobody has run what counted as 4$/);
  assert.match(judged('TimedOut', both, [2, 1]), /^wrong: t0: step 1 .* counted behind step 2 /);
  assert.match(judged('TimedOut', both, [1, 1]), /^wrong: t0: step 2 .* was number 1, as another was$/);
});

/** T6, T8, T9: power lost at every write and sync of random programs, on the simulated machine. `npm run sim` goes on for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CANARIES } from '../src/testing/canary.ts';
import { Simulation, SimulationFailure } from '../src/testing/simulation.ts';

const SEEDS = 5;
/** Every canary is found by one of the first seeds. */
const CANARY_SEEDS = 40;

test('T8: whatever write or sync the power fails at, what is found is the state before or after; so for T6 and T9', async (t) => {
  let points = 0;
  let recoveries = 0;
  let checks = 0;
  for (let seed = 1; seed <= SEEDS; seed++) {
    const result = await new Simulation({ seed }).run();
    points += result.steps;
    recoveries += result.powerLosses + result.deaths + result.nested;
    checks += result.checks;
  }
  t.diagnostic(`seeds 1 to ${SEEDS}: ${points} crash points, ${recoveries} recoveries, ${checks} checks, 0 bad`);
  assert.ok(points > 500);
});

for (const canary of CANARIES) {
  test(`T8: the simulation finds a host that is broken on purpose: ${canary}`, async (t) => {
    for (let seed = 1; seed <= CANARY_SEEDS; seed++) {
      try {
        await new Simulation({ seed, canary }).run();
      } catch (error) {
        assert.ok(error instanceof SimulationFailure);
        t.diagnostic(`found by seed ${error.seed} at step ${error.step}`);
        return;
      }
    }
    assert.fail(`not found by ${CANARY_SEEDS} seeds`);
  });
}

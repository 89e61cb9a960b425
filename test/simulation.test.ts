/** T6, T8, T9: power lost at every write and sync of random programs, on the simulated machine. `npm run sim` goes on for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CANARIES, type Canary } from '../src/testing/canary.ts';
import { Simulation, SimulationFailure } from '../src/testing/simulation.ts';
import { MUTANTS, simulateMutant } from './simulation-mutants.ts';
import { amount } from './thorough.ts';

/** A seed with every mode of loss at every point, and one with one mode. */
const THOROUGH = 1;
const BROAD = 3;
const ACTIONS = amount(30, 60);
/** Every canary is found by one of so many seeds, from 1 on with every mode of loss, or from where one finds it soon, with one mode a point. */
const CANARY_SEEDS = 20;
const CANARY_FROM: Partial<Record<Canary, number>> = { 'header-unsynced': 17 };
/** Of the kernels with a bug, those that are found soon. All of them: node dist/test/simulation-mutants.js */
const QUICK_MUTANTS: ReadonlySet<string> = new Set(['segment-unnamed', 'in-place-not-through', 'frames-unchecked']);
const MUTANT_POINTS = 3000;

async function simulate(seed: number, plans: number | undefined): Promise<{ points: number; line: string }> {
  const { steps: points, powerLosses, deaths, nested, checks } = await new Simulation({ seed, plans, actions: ACTIONS }).run();
  return { points, line: `seed ${seed}: ${points} crash points, ${powerLosses + deaths + nested} recoveries, ${checks} checks, 0 bad` };
}

test('T8: whatever write or sync the power fails at, what is found is the state before or after; so for T6 and T9', async (t) => {
  const thorough = await simulate(THOROUGH, undefined);
  t.diagnostic(`every mode of loss: ${thorough.line}`);
  const broad = await simulate(BROAD, 1);
  t.diagnostic(`one mode a point: ${broad.line}`);
  assert.ok(thorough.points > 2.5 * ACTIONS && broad.points > 4 * ACTIONS);
});

for (const canary of CANARIES) {
  test(`T8: the simulation finds a host that is broken on purpose: ${canary}`, async (t) => {
    const { [canary]: soon } = CANARY_FROM;
    const from = soon ?? 1;
    const plans = soon === undefined ? undefined : 1;
    for (let seed = from; seed < from + CANARY_SEEDS; seed++) {
      try {
        await new Simulation({ seed, plans, canary }).run();
      } catch (error) {
        assert.ok(error instanceof SimulationFailure);
        t.diagnostic(`found by seed ${error.seed} at step ${error.step}`);
        return;
      }
    }
    assert.fail(`not found by ${CANARY_SEEDS} seeds`);
  });
}

for (const mutant of MUTANTS.filter(({ name }) => QUICK_MUTANTS.has(name))) {
  test(`T8: the simulation finds a kernel that is broken on purpose: ${mutant.name}`, (t) => {
    const caught = simulateMutant(mutant, MUTANT_POINTS);
    assert.ok(caught !== undefined, `not found at ${MUTANT_POINTS} crash points`);
    t.diagnostic(`found by seed ${caught.seed} at step ${caught.step}`);
  });
}

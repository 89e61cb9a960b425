/** T6, T8, T9: power lost at every write and sync of random programs, on the simulated machine. `npm run sim` goes on for longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CANARIES, type Canary } from '../src/testing/canary.ts';
import { Simulation, SimulationFailure, type SimulationResult } from '../src/testing/simulation.ts';
import { MUTANTS, simulateMutant } from './simulation-mutants.ts';

/** Seeds with every mode of loss at every point, and further ones with one mode. */
const THOROUGH = 1;
const BROAD = 4;
/** Every canary is found by one of so many seeds, from 1 on, or from where one finds it soon. */
const CANARY_SEEDS = 20;
const CANARY_FROM: Partial<Record<Canary, number>> = { 'header-unsynced': 17 };
/** Of the kernels with a bug, those that are found soon. All of them: node dist/test/simulation-mutants.js */
const QUICK_MUTANTS: ReadonlySet<string> = new Set(['segment-unnamed', 'in-place-not-through', 'frames-unchecked']);
const MUTANT_POINTS = 3000;

async function simulate(from: number, to: number, plans: number | undefined): Promise<{ points: number; line: string }> {
  const results: SimulationResult[] = [];
  for (let seed = from; seed <= to; seed++) results.push(await new Simulation({ seed, plans }).run());
  const sum = (of: (result: SimulationResult) => number): number => results.reduce((total, result) => total + of(result), 0);
  const points = sum(({ steps }) => steps);
  const recoveries = sum(({ powerLosses, deaths, nested }) => powerLosses + deaths + nested);
  const line = `seeds ${from} to ${to}: ${points} crash points, ${recoveries} recoveries, ${sum(({ checks }) => checks)} checks, 0 bad`;
  return { points, line };
}

test('T8: whatever write or sync the power fails at, what is found is the state before or after; so for T6 and T9', async (t) => {
  const thorough = await simulate(1, THOROUGH, undefined);
  t.diagnostic(`every mode of loss: ${thorough.line}`);
  const broad = await simulate(THOROUGH + 1, THOROUGH + BROAD, 1);
  t.diagnostic(`one mode a point: ${broad.line}`);
  assert.ok(thorough.points > 150 && broad.points > 600);
});

for (const canary of CANARIES) {
  test(`T8: the simulation finds a host that is broken on purpose: ${canary}`, async (t) => {
    const { [canary]: from = 1 } = CANARY_FROM;
    for (let seed = from; seed < from + CANARY_SEEDS; seed++) {
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

for (const mutant of MUTANTS.filter(({ name }) => QUICK_MUTANTS.has(name))) {
  test(`T8: the simulation finds a kernel that is broken on purpose: ${mutant.name}`, (t) => {
    const caught = simulateMutant(mutant, MUTANT_POINTS);
    assert.ok(caught !== undefined, `not found at ${MUTANT_POINTS} crash points`);
    t.diagnostic(`found by seed ${caught.seed} at step ${caught.step}`);
  });
}

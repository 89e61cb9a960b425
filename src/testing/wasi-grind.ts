/**
 * npm run wasi:grind -- [--seed N] [--seconds S] [--calls C]
 *
 * Random calls of WASI over a real tree, a space for each seed, until the time is over (60 s by default). With --seed: that seed alone.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chooseHost } from '../host/choose.ts';
import { FuzzFailure, fuzzWasi } from './wasi-fuzz.ts';

function option(name: string): number | undefined {
  const at = process.argv.indexOf(`--${name}`);
  if (at < 0) return undefined;
  const value = Number(process.argv[at + 1]);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} takes a number`);
  return value;
}

const only = option('seed');
const until = performance.now() + (option('seconds') ?? 60) * 1000;
const perSeed = option('calls') ?? 20_000;
const host = chooseHost(console.error);
const succeeded = new Map<string, number>();
let calls = 0;
let seeds = 0;
for (let seed = only ?? 1; only === undefined ? performance.now() < until : seed === only; seed++) {
  const scratch = mkdtempSync(join(tmpdir(), 'twz-wasi-grind-'));
  try {
    const result = fuzzWasi(host, join(scratch, 'space'), seed, perSeed, { until: () => performance.now() >= until });
    calls += result.calls;
    seeds++;
    for (const [name, n] of result.succeeded) succeeded.set(name, (succeeded.get(name) ?? 0) + n);
  } catch (error) {
    if (!(error instanceof FuzzFailure)) throw error;
    console.error(`FAILED  ${error.message}\nreplay: npm run wasi:grind -- --seed ${seed} --calls ${perSeed}`);
    process.exitCode = 1;
    break;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
console.log(`${calls} calls, ${seeds} seeds, ${succeeded.size} of the calls went well at least once`);

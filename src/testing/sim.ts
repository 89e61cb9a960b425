/**
 * npm run sim -- [--seed N] [--step M] [--from N] [--points 100000] [--seconds S] [--plans P] [--canary NAME|all]
 *
 * Without --seed: seeds from 1 or --from on, until so many points were explored or so much time has passed. With --seed: that one, and with
 * --step only the crash at that step, told in full. With --canary: a host with a known bug, which must be found.
 */
import { CANARIES, type Canary } from './canary.ts';
import { Simulation, SimulationFailure, type SimulationResult } from './simulation.ts';

const DEFAULT_POINTS = 20_000;
const CANARY_SEEDS = 40;
const PROGRESS_MS = 2000;
const LOGGED_MS = 60_000;

interface Arguments {
  readonly seed: number | undefined;
  readonly step: number | undefined;
  readonly from: number;
  readonly points: number;
  readonly seconds: number;
  readonly plans: number | undefined;
  readonly canaries: readonly Canary[];
}

function parse(argv: readonly string[]): Arguments {
  const values = new Map<string, string>();
  for (let i = 0; i < argv.length; i++) {
    const name = argv[i] ?? '';
    if (!/^--(seed|step|from|points|seconds|plans|canary)$/.test(name)) throw new Error(`unknown argument ${name}`);
    const value = argv[i + 1];
    if (value !== undefined && !value.startsWith('--')) i++;
    values.set(name.slice(2), value === undefined || value.startsWith('--') ? '' : value);
  }
  const number = (name: string): number | undefined => {
    const value = values.get(name);
    if (value === undefined) return undefined;
    if (!/^\d+$/.test(value)) throw new Error(`--${name} takes a number, not "${value}"`);
    return Number(value);
  };
  const wanted = values.get('canary');
  const canaries = CANARIES.filter((canary) => wanted !== undefined && (wanted === canary || wanted === 'all' || wanted === ''));
  if (wanted !== undefined && canaries.length === 0) throw new Error(`--canary takes ${CANARIES.join(', ')} or all`);
  return {
    seed: number('seed'),
    step: number('step'),
    from: number('from') ?? 1,
    points: number('points') ?? DEFAULT_POINTS,
    seconds: number('seconds') ?? Infinity,
    plans: number('plans'),
    canaries,
  };
}

function report(failure: SimulationFailure): void {
  console.error(`\nFAILED  seed ${failure.seed}, step ${failure.step}\n${failure.message}`);
  console.error(`\nreplay: npm run sim -- --seed ${failure.seed} --step ${failure.step}`);
}

class Sums {
  readonly #started = performance.now();
  #told = performance.now();
  seeds = 0;
  points = 0;
  recoveries = 0;
  same = 0;
  checks = 0;
  transactions = 0;

  add(result: SimulationResult): void {
    this.seeds++;
    this.points += result.steps;
    this.recoveries += result.powerLosses + result.deaths + result.nested;
    this.same += result.same;
    this.checks += result.checks;
    this.transactions += result.transactions;
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  get line(): string {
    return `${this.points} crash points of ${this.seeds} programs (${this.transactions} transactions): ${this.recoveries} recoveries and ${this.same} that left the same, ${this.checks} checks, 0 bad, ${this.seconds.toFixed(0)} s`;
  }

  progress(): void {
    const { isTTY } = process.stderr;
    if (performance.now() - this.#told < (isTTY ? PROGRESS_MS : LOGGED_MS)) return;
    this.#told = performance.now();
    process.stderr.write(isTTY ? `\r${this.line}` : `${this.line}\n`);
  }
}

async function runSeeds(args: Arguments): Promise<boolean> {
  const sums = new Sums();
  const only = args.seed !== undefined;
  const tell = only && args.step !== undefined ? (line: string): void => console.log(line) : undefined;
  for (let seed = args.seed ?? args.from; only ? seed === args.seed : sums.points < args.points && sums.seconds < args.seconds; seed++) {
    try {
      sums.add(await new Simulation({ seed, step: args.step, plans: args.plans, tell }).run());
    } catch (error) {
      if (!(error instanceof SimulationFailure)) throw error;
      report(error);
      return false;
    }
    sums.progress();
  }
  if (process.stderr.isTTY) process.stderr.write('\r');
  console.log(sums.line);
  return true;
}

/** True if the bug was found, by any of the first seeds. */
async function runCanary(canary: Canary, seed: number | undefined): Promise<boolean> {
  for (let at = seed ?? 1; at < (seed ?? 1) + CANARY_SEEDS; at++) {
    try {
      await new Simulation({ seed: at, canary }).run();
    } catch (error) {
      if (!(error instanceof SimulationFailure)) throw error;
      console.log(`canary ${canary}: caught by seed ${error.seed} at step ${error.step}`);
      return true;
    }
  }
  console.error(`canary ${canary}: NOT caught in ${CANARY_SEEDS} seeds`);
  return false;
}

const args = parse(process.argv.slice(2));
let good = true;
if (args.canaries.length === 0) good = await runSeeds(args);
else for (const canary of args.canaries) good = (await runCanary(canary, args.seed)) && good;
process.exitCode = good ? 0 : 1;

/**
 * npm run cluster:check -- [--seed N] [--from N] [--seeds N] [--seconds S] [--ms MS] [--spoiled NAME] [--tell]
 *
 * With --spoiled: an engine with a known bug, which must be found.
 * Without --seed: seeds from 1 or --from on, until so many were run or so much time has passed. With --seed: that one, told in full with --tell.
 */
import { SPOILED } from './cluster/spoiled.ts';
import { Check, CheckFailure, type CheckResult } from './cluster/check.ts';

const values = new Map<string, string>();
const argv = process.argv.slice(2);
for (let i = 0; i < argv.length; i++) {
  const name = argv[i] ?? '';
  if (!/^--(seed|from|seeds|seconds|ms|spoiled|tell)$/.test(name)) throw new Error(`unknown argument ${name}`);
  const value = argv[i + 1];
  if (value !== undefined && !value.startsWith('--')) i++;
  values.set(name.slice(2), value === undefined || value.startsWith('--') ? '' : value);
}

function number(name: string, otherwise: number): number {
  const value = values.get(name);
  if (value === undefined) return otherwise;
  if (!/^\d+$/.test(value)) throw new Error(`--${name} takes a number, not "${value}"`);
  return Number(value);
}

const only = values.has('seed');
const first = number('seed', number('from', 1));
const last = only ? first : first + number('seeds', values.has('seconds') ? 1e9 : 100) - 1;
const seconds = number('seconds', Infinity);
const tell = values.has('tell') ? (line: string): void => console.log(line) : undefined;
const spoiled = SPOILED.find((each) => each === values.get('spoiled'));
if (values.has('spoiled') && spoiled === undefined) throw new Error(`--spoiled takes ${SPOILED.join(', ')}`);
const began = performance.now();
const sums: Record<string, number> = {};
let seed = first;
process.on('unhandledRejection', (error) => {
  console.error(`seed ${seed}: a promise was rejected, and nobody took it:`, error);
  process.exit(1);
});
for (; seed <= last && performance.now() - began < seconds * 1000; seed++) {
  try {
    const result: CheckResult = await new Check({ seed, ms: number('ms', 8000), tell, spoiled }).run();
    for (const [name, count] of Object.entries(result)) if (name !== 'seed') sums[name] = (sums[name] ?? 0) + Number(count);
  } catch (error) {
    if (!(error instanceof CheckFailure)) console.error(error);
    else console.error(`\nFAILED  seed ${error.seed}\n${error.message}`);
    console.error(`\nreplay: npm run cluster:check -- --seed ${seed} --tell`);
    process.exitCode = 1;
    break;
  }
}
console.log(`${seed - first} seeds: ${JSON.stringify(sums)}, ${((performance.now() - began) / 1000).toFixed(0)} s`);

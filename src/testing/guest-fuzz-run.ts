/** `npm run fuzz:programs`: see guest-fuzz.ts. */
import { randomInt } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { fuzzGuest } from './guest-fuzz.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    calls: { type: 'string', default: 'Infinity' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
  },
});
const seed = Number(values.seed);
const end = performance.now() + Number(values.seconds) * 1000;
const callsMax = Number(values.calls);
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-guest-'));
console.log(`seed ${seed}`);
try {
  const report = fuzzGuest({
    directory: path.join(directory, 'space'),
    seed,
    goesOn: (calls) => calls < callsMax && performance.now() < end,
  });
  console.log(JSON.stringify(report));
} finally {
  fs.rmSync(directory, { recursive: true, force: true });
}

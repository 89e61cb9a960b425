/** T13, T14, T19: the recipes of the examples, run as a new user would run them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

function program(example: string, output: RegExp): void {
  test(`T13, T19 examples/${example}: does what it says`, async (t) => {
    const home = mkdtempSync(join(tmpdir(), 'twizzler-recipe-'));
    t.after(() => rmSync(home, { recursive: true, force: true }));
    const main = fileURLToPath(new URL(`../examples/${example}/main.js`, import.meta.url));
    const child = spawn(process.execPath, [main, join(home, 'space')], { stdio: ['ignore', 'pipe', 'pipe'] });
    t.after(() => child.kill('SIGKILL'));
    let [told, errors] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => (told += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.deepEqual([code, errors], [0, '']);
    assert.match(told, output);
  });
}

program('cache', /^300 requests to 3 processes: 50 pages made, for 50 that there are\n$/);
program(
  'jobs',
  /^2 of the processes were killed; 200 mails of 200 were sent, 0 of them more than once\ndead after 3 attempts: nobody: "nobody" is no address\n$/,
);
program(
  'sessions',
  /^at first: nobody, visit 0\nsigned in: ann, visit 1\nat the other process: ann, visit 2\none is killed: ann, visit 3\nboth are new: ann, visit 4\n$/,
);
program(
  'rate-limit',
  /^3 processes asked \d+ times\ntoken bucket of 100 and 50 a second: \d+ allowed, at most \d+: kept\nwindow of 20 a minute: 20 allowed: kept\n$/,
);
program('workers', /^\d times a worker was killed, and started again\n400 pieces of 400 counted: 78498 primes below 1000000\n$/);

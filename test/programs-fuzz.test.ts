/** P5: each syscall with arguments at random and at its limits, from inside a program; the long run is `npm run fuzz:programs`. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const CALLS = 50_000;

test('P5: syscalls with random arguments harm neither the host nor a neighbour, and give no right (seeded)', (t) => {
  const seed = process.env['SEED'] ?? String(Date.now() % 2 ** 31);
  t.diagnostic(`SEED=${seed}`);
  const run = fileURLToPath(new URL('../src/testing/guest-fuzz-run.js', import.meta.url));
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, [run, '--calls', String(CALLS), '--seed', seed], {
    encoding: 'utf8',
    timeout: 600_000,
  });
  assert.deepEqual({ status, signal }, { status: 0, signal: null }, `${stdout}${stderr}`);
  const report: { calls: number; done: number; refused: number } = JSON.parse(stdout.split('\n')[1] ?? '{}');
  t.diagnostic(`${report.calls} calls, ${report.done} did something`);
  assert(report.calls === CALLS && report.done > 1000 && report.refused > 10_000, stdout);
});

/**
 * T8: real processes killed with SIGKILL, at calls of the host, inside appends to the log and at random instants. `npm run crash` does
 * the same for longer.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WrongArgument, parse } from '../src/testing/crash-arguments.ts';
import { Killing, KillingFailure, type KillingOptions } from '../src/testing/killing.ts';
import { amount } from './thorough.ts';

const SEED = 1;
const CRASH = fileURLToPath(new URL('../src/testing/crash.js', import.meta.url));

function killing(t: TestContext, options: Pick<KillingOptions, 'host' | 'bug'>): Killing {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-test-'));
  const made = new Killing({ ...options, seed: SEED, directory });
  t.after(() => {
    made.close();
    fs.rmSync(directory, { recursive: true, force: true });
  });
  t.diagnostic(`seed ${SEED}`);
  return made;
}

for (const [host, calls, kills] of [
  ['linux', amount(6, 12), amount(10, 20)],
  ['portable', amount(4, 6), amount(6, 10)],
] as const) {
  test(`T8: killed at calls of the host and at random instants, nothing that was committed is lost (${host})`, async (t) => {
    const killer = killing(t, { host });
    const { counts } = killer;
    await killer.atCalls(() => counts.calls < calls);
    await killer.atInstants(() => counts.kills < kills);
    t.diagnostic(
      `${counts.instants} kills at random instants, ${counts.appends} in an append, ${counts.calls} at calls, ${counts.inRecovery} of them in recovery: ${counts.recoveries} recoveries, ${counts.checks} checks, ${counts.committed} transactions, lost 0`,
    );
    assert.ok(counts.sitesKilled.size >= calls / 2, `${counts.sitesKilled.size} kinds of calls`);
    assert.ok(
      counts.instants + counts.appends >= (kills - calls) / 2 &&
        counts.recoveries >= kills / 2 &&
        counts.checks >= kills &&
        counts.committed >= kills,
    );
    assert.equal(counts.missed, 0, 'the same seed makes the same calls');
  });

  test(`T8: a host that loses what was appended to the log is found out (${host})`, async (t) => {
    const killer = killing(t, { host, bug: 'log-lost' });
    await assert.rejects(
      killer.atInstants(() => killer.counts.kills < 20),
      (error) => {
        assert.ok(error instanceof KillingFailure);
        t.diagnostic(error.message.split('\n').slice(0, 2).join(' '));
        return /not state 1 of the \d that may be found|check finds/.test(error.message);
      },
    );
  });
}

test('T8: npm run crash refuses what it does not know, and tells its options', () => {
  for (const args of [['--kils', '3'], ['3'], ['--kills', 'many'], ['--seed'], ['--host', 'vax'], ['--seconds', '-1']])
    assert.throws(() => parse(args), WrongArgument, args.join(' '));
  for (const [args, code] of [
    [['--kils', '3'], 2],
    [['--help'], 0],
  ] as const) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [CRASH, ...args], { encoding: 'utf8' });
    assert.equal(status, code, args.join(' '));
    assert.match(stdout + stderr, /--kills N.*--seconds S/s);
  }
});

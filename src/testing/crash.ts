/** npm run crash -- --help */
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { USAGE, WrongArgument, parse, type Arguments } from './crash-arguments.ts';
import { Counts, Killing, KillingFailure } from './killing.ts';
import type { HostName } from './life.ts';

const PROGRESS_MS = 500;
/** Kills of one program, before the next seed. */
const SHARE = 2000;

const started = performance.now();
const elapsed = (): number => (performance.now() - started) / 1000;

function sum(all: readonly Counts[]): Counts {
  const counts = new Counts();
  for (const each of all) counts.add(each);
  return counts;
}

function lineOf(counts: Counts): string {
  return `${counts.kills} kills: ${counts.instants} at random instants, ${counts.appends} in an append, ${counts.calls} at calls, ${counts.inRecovery} of them in recovery; ${counts.recoveries} recoveries, ${counts.checks} checks, ${counts.committed} transactions, lost 0, ${elapsed().toFixed(0)} s`;
}

function report(counts: Counts): void {
  console.log(lineOf(counts));
  const calls = [...counts.byCall].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).map(([name, n]) => `${name} ${n}`);
  console.log(`at calls: ${calls.join(', ')}`);
  console.log(`kinds of calls, by instant, file and what was going on: ${counts.sitesKilled.size} of ${counts.sites.size} were killed at`);
  const { cutFound, cutGone, missed } = counts;
  console.log(
    `killed between the end of a transaction and its return: ${cutFound + cutGone}; found whole ${cutFound}, found undone ${cutGone}`,
  );
  if (missed > 0) console.log(`not come to again, so not killed at: ${missed} calls`);
}

/** Programs of one seed after another, on one host: first half at calls, then half at instants. */
async function runHost(
  host: HostName,
  { kills, seconds, seed }: Arguments,
  directory: string,
  running: Map<HostName, Counts[]>,
): Promise<void> {
  const done: Counts[] = [];
  running.set(host, done);
  const inTime = (): boolean => elapsed() < seconds;
  const total = (): number => sum(done).kills;
  for (let at = seed; total() < kills && inTime(); at++) {
    const limit = Math.min(kills - total(), SHARE);
    const before = elapsed();
    const killing = new Killing({ seed: at, host, directory });
    done.push(killing.counts);
    try {
      await killing.atCalls(() => inTime() && killing.counts.calls < limit / 2 && elapsed() < before + (seconds - before) / 2);
      await killing.atInstants(
        () => inTime() && killing.counts.kills - killing.counts.calls < Math.min(limit - killing.counts.calls, killing.counts.calls + 1),
      );
    } catch (error) {
      if (!(error instanceof KillingFailure)) throw error;
      throw new KillingFailure(
        `FAILED  host ${host}, seed ${at}: ${error.message}\n\nreplay: npm run crash -- --seed ${at} --host ${host}`,
        { cause: error },
      );
    } finally {
      killing.close();
    }
  }
}

async function main(args: Arguments): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-crash-'));
  console.log(`seed ${args.seed}, in ${directory}`);
  const running = new Map<HostName, Counts[]>();
  const share = { ...args, kills: Math.ceil(args.kills / args.hosts.length) };
  const progress = (): string => lineOf(sum([...running.values()].flat()));
  const shown = process.stderr.isTTY ? setInterval(() => process.stderr.write(`\r${progress()}\x1b[K`), PROGRESS_MS) : undefined;
  try {
    await Promise.all(args.hosts.map((host) => runHost(host, share, directory, running)));
  } finally {
    clearInterval(shown);
    if (shown !== undefined) process.stderr.write('\r\x1b[K');
  }
  fs.rmSync(directory, { recursive: true, force: true });
  for (const [host, counts] of running) {
    console.log(`\non the ${host} host`);
    report(sum(counts));
  }
}

try {
  const args = parse(process.argv.slice(2));
  if (args === undefined) console.log(USAGE);
  else await main(args);
} catch (error) {
  if (error instanceof WrongArgument) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exitCode = 2;
  } else if (error instanceof KillingFailure) {
    console.error(error.message);
    // The other host's programs stop, too.
    process.exit(1);
  } else throw error;
}

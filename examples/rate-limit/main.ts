/** Three processes ask for one key as often as they can, for a second. Argument: directory (default ./space). */
import cluster from 'node:cluster';
import { open } from '../../src/index.ts';
import { SlidingWindow, TokenBucket } from './limits.ts';

const WORKERS = 3;
const MS = 1000;

const directory = process.argv[2] ?? './space';

interface Account {
  readonly asked: number;
  readonly allowed: number;
  readonly counted: number;
}

function worker(): void {
  const space = open(directory);
  const bucket = new TokenBucket(space, '/bucket', { capacity: 100, perSecond: 50 });
  const window = new SlidingWindow(space, '/window', { limit: 20, window: 60_000 });
  process.on('message', (end: number) => {
    let [asked, allowed, counted] = [0, 0, 0];
    for (; Date.now() < end; asked++) {
      if (bucket.take('ann').allowed) allowed++;
      if (window.take('ann').allowed) counted++;
    }
    process.send?.({ asked, allowed, counted } satisfies Account);
    space.close();
    process.disconnect();
  });
  process.send?.('ready');
}

async function primary(): Promise<void> {
  const workers = Array.from({ length: WORKERS }, () => cluster.fork());
  const told = <T>(): Promise<T[]> => Promise.all(workers.map((each) => new Promise<T>((resolve) => each.once('message', resolve))));
  await told();
  const begin = Date.now();
  const accounts = told<Account>();
  for (const each of workers) each.send(begin + MS);
  const sum = async (what: keyof Account): Promise<number> => (await accounts).reduce((total, account) => total + account[what], 0);
  const [asked, allowed, counted] = [await sum('asked'), await sum('allowed'), await sum('counted')];
  // Since the bucket was first asked; the last call may have been begun in time and decided a little later.
  const most = 100 + Math.floor(((Date.now() - begin) / 1000) * 50);
  console.log(`${WORKERS} processes asked ${asked} times`);
  console.log(`token bucket of 100 and 50 a second: ${allowed} allowed, at most ${most}: ${allowed <= most ? 'kept' : 'BROKEN'}`);
  console.log(`window of 20 a minute: ${counted} allowed: ${counted <= 20 ? 'kept' : 'BROKEN'}`);
}

if (cluster.isPrimary) await primary();
else worker();

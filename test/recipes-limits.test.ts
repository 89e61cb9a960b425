/** T13: the rate limits of the examples, exact over processes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SlidingWindow, TokenBucket } from '../examples/rate-limit/limits.ts';
import { Ground } from './hosts.ts';
import { Colleague, drawing } from './recipes-data.ts';
import { amount } from './thorough.ts';

const SEED = Number(process.env['SEED'] ?? 1);
const STEPS = amount(1500, 4000);

test('T13 rate limits: both give what a model gives, whichever program asks, and keep no keys that are not used', (t) => {
  const ground = new Ground('linux', t);
  const below = drawing(SEED);
  let now = 10_000;
  const clock = (): number => now;
  const spaces = [ground.open(), ground.open()];
  const buckets = spaces.map((space) => new TokenBucket(space, '/bucket', { capacity: 10, perSecond: 4, shards: 2, clock }));
  const windows = spaces.map((space) => new SlidingWindow(space, '/window', { limit: 5, window: 1000, shards: 2, clock }));
  const tokens = new Map<string, { tokens: number; at: number }>();
  const times = new Map<string, number[]>();
  const seen = { allowed: 0, refused: 0 };
  for (let step = 0; step < STEPS; step++) {
    // Sometimes for so long that all is forgotten.
    now += below(80) === 0 ? below(8000) : below(8) * 5;
    const key = `key ${below(3)}`;
    const calls = below(10) === 0 ? below(12) : 1;
    const bucket = tokens.get(key) ?? { tokens: 10, at: now };
    const there = Math.min(10, bucket.tokens + (now - bucket.at) * 0.004);
    const verdict = (buckets[below(2)] as TokenBucket).take(key, calls);
    assert.equal(verdict.allowed, there >= calls, `step ${step}: ${there} tokens for ${calls}`);
    if (verdict.allowed) tokens.set(key, { tokens: there - calls, at: now });
    assert.equal(verdict.remaining, Math.floor(verdict.allowed ? there - calls : there));
    assert.equal(verdict.retryAfter, verdict.allowed ? 0 : calls > 10 ? Infinity : Math.ceil((calls - there) / 0.004));

    const counted = (times.get(key) ?? []).filter((time) => time > now - 1000);
    const second = (windows[below(2)] as SlidingWindow).take(key, calls);
    assert.equal(second.allowed, counted.length + calls <= 5, `step ${step}: ${counted.length} calls, and ${calls}`);
    if (second.allowed) times.set(key, [...counted, ...Array.from({ length: calls }, () => now)]);
    else if (calls > 5) assert.equal(second.retryAfter, Infinity);
    else assert.equal(second.retryAfter, Number(counted[counted.length + calls - 5 - 1]) + 1000 - now);
    seen[verdict.allowed ? 'allowed' : 'refused']++;
    seen[second.allowed ? 'allowed' : 'refused']++;
  }
  t.diagnostic(`seed ${SEED}: ${JSON.stringify(seen)}`);
  assert.ok(seen.allowed > STEPS / 4 && seen.refused > STEPS / 4, JSON.stringify(seen));
  const [limit] = buckets as [TokenBucket];
  for (let i = 0; i < 1500; i++) {
    now += 10;
    limit.take(`visitor ${i}`);
  }
  // 2.5 s fill a bucket: those of the last 5 s may be kept.
  assert.ok(limit.keys < 700, `${limit.keys} keys`);
  // A clock that is set back stops nobody for ever, and gives nobody more at once.
  while (limit.take('late').allowed);
  now -= 100;
  assert.equal(limit.take('late').allowed, false);
  now -= 10_000_000;
  assert.equal(limit.take('late', 2).allowed, false);
  now += 500;
  assert.equal(limit.take('late', 2).allowed, true);
});

test('T13 rate limits: processes that hammer at one key get exactly what there is, between them', async (t) => {
  const ground = new Ground('linux', t);
  ground.open();
  const workers = Array.from({ length: 3 }, () => new Colleague(t, ground.directory));
  const all = async (deed: string, now: number, calls: number): Promise<number> => {
    const allowed = await Promise.all(workers.map((worker) => worker.does(deed, 'one', now, calls)));
    return allowed.reduce<number>((sum, each) => sum + Number(each), 0);
  };
  const start = 1_000_000;
  assert.equal(await all('bucket', start, 20), 60);
  assert.equal(await all('bucket', start, 500), 40);
  assert.equal(await all('bucket', start, 500), 0);
  assert.equal(await all('bucket', start + 2500, 500), 25);
  await workers.pop()?.kill();
  assert.equal(await all('bucket', start + 3500, 500), 10);
  assert.equal(await all('window', start, 20), 40);
  assert.equal(await all('window', start + 600, 500), 60);
  assert.equal(await all('window', start + 999, 500), 0);
  assert.equal(await all('window', start + 1000, 500), 40);
  assert.equal(await all('window', start + 1600, 500), 60);
});

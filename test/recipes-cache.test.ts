/** T13: the cache of the examples, shared by processes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cache } from '../examples/cache/cache.ts';
import { u32 } from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';
import { Ground } from './hosts.ts';
import { CACHE, Colleague, drawing, ledgerIn, Page } from './recipes-data.ts';
import { amount } from './thorough.ts';

const SEED = Number(process.env['SEED'] ?? 1);
const STEPS = amount(1500, 4000);

test('T13 cache: gives what was set last, nothing that expired, keeps to its bound, and drops nothing that was used lately', (t) => {
  const ground = new Ground('linux', t);
  const below = drawing(SEED);
  const max = 40;
  let now = 1000;
  const options = { max, shards: 1, clock: () => now };
  const spaces = [ground.open(), ground.open()];
  const caches = spaces.map((space) => new Cache(space, '/cache', u32, options));
  const model = new Map<string, { value: number; expires: number; used: number }>();
  let uses = 0;
  const seen = { hits: 0, expired: 0, dropped: 0 };
  for (let step = 0; step < STEPS; step++) {
    const which = below(2);
    const cache = caches[which] as Cache<number, number>;
    // Some keys are asked for more often than others.
    const key = below(3) === 0 ? `hot ${below(12)}` : `cold ${below(200)}`;
    now += below(3);
    const known = model.get(key);
    if (below(50) === 0) {
      assert.ok(!cache.delete(key) || known !== undefined);
      model.delete(key);
      continue;
    }
    spaces[which]?.refresh();
    const value = cache.get(key);
    // The others are told a moment later; here it is said when.
    cache.tell();
    uses++;
    if (value !== undefined && known !== undefined) {
      assert.equal(value, known.value, key);
      assert.ok(known.expires > now, `${key} has expired`);
      known.used = uses;
      seen.hits++;
      continue;
    }
    assert.equal(value, undefined, key);
    if (known !== undefined && known.expires <= now) seen.expired++;
    else if (known !== undefined) {
      assert.ok(uses - known.used > max / 2, `${key} was used ${uses - known.used} uses ago, and dropped`);
      seen.dropped++;
    }
    const ttl = below(4) === 0 ? 5 + below(40) : Infinity;
    cache.set(key, step, ttl);
    model.set(key, { value: step, expires: now + ttl, used: uses });
    assert.ok(cache.size <= max);
  }
  t.diagnostic(`seed ${SEED}: ${JSON.stringify(seen)}`);
  assert.ok(seen.hits > 0.17 * STEPS && seen.expired >= 5 && seen.dropped > 0.17 * STEPS, JSON.stringify(seen));
});

test('T13 cache: reading takes no transaction and waits for nobody', async (t) => {
  const ground = new Ground('linux', t);
  const space = ground.open();
  const [cache, others] = [space, ground.open()].map((each) => new Cache(each, '/cache', Page, { max: 100, shards: 1 }));
  assert.ok(cache !== undefined && others !== undefined);
  for (let i = 0; i < 100; i++) cache.set(`key ${i}`, { body: `body ${i}`, maker: i });
  const { commits, aborts } = space.stat().transactions;
  for (let round = 0; round < 3; round++)
    for (let i = 90; i < 100; i++) {
      assert.equal(cache.get(`key ${i}`)?.maker, i);
      assert.equal(cache.get(`key ${i}`)?.body, `body ${i}`);
    }
  await new Promise(setImmediate);
  assert.deepEqual(space.stat().transactions, { commits, aborts });
  // While another is changing the same object.
  const seen = ground.open().relaxed(() => {
    others.set('key 95', { body: 'changed', maker: 0 });
    return cache.get('key 95')?.body;
  });
  assert.equal(seen, 'body 95');
});

test('T13 cache: of many processes that want a value one makes it; one that dies at it does not keep the others from it', async (t) => {
  const ground = new Ground('linux', t);
  const space = ground.open();
  const made = ledgerIn(space);
  const workers = Array.from({ length: 3 }, () => new Colleague(t, ground.directory));
  await Promise.all(workers.map((worker) => worker.ready));
  const keys = Array.from({ length: 30 }, (_, i) => `page ${i}`);
  const bodies = keys.map((key) => `body of ${key}`);
  const answers = await Promise.all(workers.map((worker) => worker.does('load', keys)));
  for (const answer of answers) assert.deepEqual(answer, bodies);
  space.refresh();
  assert.deepEqual(
    [...made.values()],
    keys.map(() => 1),
  );

  const [dying, ...rest] = workers;
  assert.equal(await dying?.does('begin', 'late'), 'begun');
  const waiting = rest.map((worker) => worker.does('load', ['late']));
  await dying?.kill();
  for (const answer of await Promise.all(waiting)) assert.deepEqual(answer, ['body of late']);
  space.refresh();
  assert.equal(made.get('late'), 1);

  // Whoever is killed in the middle of its changes leaves a whole cache.
  let steps = 0;
  for (const [i, worker] of rest.entries()) {
    const busy = new Promise<void>((resolve) => {
      let rounds = 0;
      worker.told = (told) => {
        steps += told.steps === undefined ? 0 : 50;
        if (++rounds === 20 + 10 * i) resolve();
      };
    });
    worker.does('churn', SEED + i).catch(() => steps);
    await busy;
    assert.equal(worker.process.exitCode, null, worker.complaint);
    await worker.kill();
    assert.equal(worker.process.signalCode, 'SIGKILL', worker.complaint);
  }
  const cache = new Cache(space, '/cache', Page, CACHE);
  space.refresh();
  assert.ok(cache.size > 30 && cache.size <= 64, `${cache.size} entries`);
  assert.deepEqual(cache.verify(), []);
  for (let i = 0; i < 200; i++) cache.set(`more ${i}`, { body: '', maker: 0 });
  assert.deepEqual(cache.verify(), []);
  t.diagnostic(`${steps} steps`);
  space.close();
  assert.deepEqual(checkSpace(ground.host, ground.directory).findings, []);
});

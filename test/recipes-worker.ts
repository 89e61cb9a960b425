/** A process that takes part in the tests of the recipes: does what it is sent, and answers. Argument: directory. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Cache } from '../examples/cache/cache.ts';
import { JobQueue } from '../examples/jobs/jobs.ts';
import { SlidingWindow, TokenBucket } from '../examples/rate-limit/limits.ts';
import { httpSession } from '../examples/sessions/cookies.ts';
import { Sessions } from '../examples/sessions/sessions.ts';
import { callbackStore } from '../examples/sessions/stores.ts';
import { open } from '../src/index.ts';
import { CACHE, Ledger, Page, QUEUE, type Task } from './recipes-data.ts';

const [directory = ''] = process.argv.slice(2);
const space = open(directory);
const pauses = new Int32Array(new SharedArrayBuffer(4));
const die = (): never => {
  process.kill(process.pid, 'SIGKILL');
  for (;;);
};

/** Keys and values of its own for as long as it lives; says how far it is. */
function churn(seed: number): void {
  const cache = new Cache(space, '/cache', Page, CACHE);
  let random = seed;
  let steps = 0;
  const turn = (): void => {
    for (let i = 0; i < 50; i++) {
      random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
      const key = `key ${(random >>> 8) % 200}`;
      const page = cache.get(key);
      if (page !== undefined && page.body !== `body of ${key}`) throw new Error(`${key} has "${page.body}"`);
      if (random >>> 29 === 0) cache.delete(key);
      else if (page === undefined) cache.set(key, { body: `body of ${key}`, maker: process.pid }, random >>> 28 === 5 ? 1 : 60_000);
      steps++;
    }
    process.send?.({ steps });
    setImmediate(turn);
  };
  turn();
}

/** Does jobs as their plans say. */
function work(): Promise<void> {
  const jobs = new JobQueue<Task>(space, '/jobs', QUEUE);
  const ledger = space.names.get('/ledger', Ledger);
  return jobs.work(
    async ({ payload, key, attempt }) => {
      await new Promise(setImmediate);
      const first = attempt === 1;
      if (payload.plan === 'poison') throw new Error('it cannot be done');
      if (payload.plan === 'deadly' || (payload.plan === 'dies before' && first)) die();
      if (payload.plan === 'fails once' && first) throw new Error(`attempt ${attempt}`);
      // It does not give way, so its lease runs out, until another one has done the job.
      if (payload.plan === 'stalls' && first) for (; !ledger.has(key); space.refresh()) Atomics.wait(pauses, 0, 0, 1);
      return () => {
        ledger.set(key, (ledger.get(key) ?? 0) + 1);
        if (payload.plan === 'dies within' && first) die();
        process.nextTick(() => (payload.plan === 'dies after' && first ? die() : process.send?.({ done: key })));
      };
    },
    { signal: new AbortController().signal, concurrency: 2, poll: 5 },
  );
}

/** A server as any: sign in, count, say who it is, sign out. */
function serve(): Promise<number> {
  const sessions = new Sessions(space, '/sessions');
  const server = createServer((request, response) => {
    const session = httpSession(sessions, request, response, { secure: false });
    const [path, user] = (request.url ?? '').split('?');
    if (path === '/in') {
      session.renew();
      session.update((data) => (data['user'] = user));
    } else if (path === '/out') session.destroy();
    else if (path === '/count') session.update((data) => (data['count'] = Number(data['count'] ?? 0) + 1));
    response.writeHead(200, { 'content-type': 'application/json', connection: 'close' }).end(JSON.stringify(session.data));
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));
}

const deeds: Readonly<Record<string, (...args: never[]) => unknown>> = {
  bucket: (key: string, now: number, calls: number) => {
    const limit = new TokenBucket(space, '/bucket', { capacity: 100, perSecond: 10, clock: () => now });
    let allowed = 0;
    for (let i = 0; i < calls; i++) if (limit.take(key).allowed) allowed++;
    return allowed;
  },
  window: (key: string, now: number, calls: number) => {
    const limit = new SlidingWindow(space, '/window', { limit: 100, window: 1000, clock: () => now });
    let allowed = 0;
    for (let i = 0; i < calls; i++) if (limit.take(key).allowed) allowed++;
    return allowed;
  },
  load: async (keys: readonly string[]) => {
    const cache = new Cache(space, '/cache', Page, CACHE);
    const made = space.names.get('/ledger', Ledger);
    return Promise.all(
      keys.map((key) =>
        cache.load(
          key,
          async () => {
            await new Promise(setImmediate);
            space.relaxed(() => made.set(key, (made.get(key) ?? 0) + 1));
            return { body: `body of ${key}`, maker: process.pid };
          },
          ({ body }) => body,
        ),
      ),
    );
  },
  /** Begins to make a value, and never ends. */
  begin: (key: string) => {
    const cache = new Cache(space, '/cache', Page, { ...CACHE, patience: 300 });
    return new Promise((resolve) => {
      void cache.load(
        key,
        () => {
          resolve('begun');
          return new Promise<never>(() => undefined);
        },
        () => undefined,
      );
    });
  },
  churn: (seed: number) => churn(seed),
  work: () => void work(),
  serve: () => serve(),
  saveSession: (id: string, n: number) => {
    const store = callbackStore(new Sessions(space, '/sessions'));
    return new Promise((resolve) => store.set(id, { ...{ n }, cookie: { maxAge: 60_000 } }, resolve));
  },
};

process.on('message', ({ deed, args }: { deed: string; args: never[] }) => {
  void Promise.resolve(deeds[deed]?.(...args)).then((value) => process.send?.({ value: value ?? null }));
});
process.send?.({ value: 'open' });

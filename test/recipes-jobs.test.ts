/** T13, T14: the job queue of the examples: a model of it, and workers that are killed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JobQueue, type Claim } from '../examples/jobs/jobs.ts';
import { checkSpace } from '../src/services/check.ts';
import { Ground } from './hosts.ts';
import { Colleague, drawing, ledgerIn, QUEUE, type Task } from './recipes-data.ts';
import { amount } from './thorough.ts';

const SEED = Number(process.env['SEED'] ?? 1);
const STEPS = amount(800, 2000);
const JOBS = amount(120, 250);
/** So many jobs are done for each worker that is killed at random. */
const KILL_EVERY = amount(40, 60);

interface ModelJob {
  readonly number: number;
  readonly key: string;
  due: number;
  attempts: number;
  /** The claim that counts. */
  token: number | undefined;
  dead: boolean;
}

test('T14: jobs are added, claimed, completed, failed, extended and revived as a model says, by two programs in turn', (t) => {
  const ground = new Ground('linux', t);
  const below = drawing(SEED);
  let now = 1000;
  const options = { lease: 100, attempts: 3, backoff: (n: number) => 10 * n, remember: 500, clock: () => now };
  const queues = [ground.open(), ground.open()].map((space) => new JobQueue<string>(space, '/jobs', options));
  const jobs: ModelJob[] = [];
  const remembered = new Map<string, { number: number; until: number }>();
  const claims: Claim<string>[] = [];
  const held = (claim: Claim<string>): ModelJob | undefined =>
    jobs.find((job) => job.number === claim.number && job.token === claim.token && !job.dead);
  let numbers = 0;
  const seen = { claims: 0, refused: 0, dead: 0, known: 0 };
  for (let step = 0; step < STEPS; step++) {
    const queue = queues[below(2)] as JobQueue<string>;
    const what = below(100);
    const claim = claims[below(claims.length)];
    now += below(12);
    if (what < 30) {
      const key = below(3) === 0 ? '' : `key ${below(40)}`;
      const delay = below(3) === 0 ? below(50) : 0;
      const known = key === '' ? undefined : (jobs.find((job) => job.key === key) ?? remembered.get(key));
      const number = queue.add(`payload ${key}`, { key, delay });
      // One that is done may be remembered longer than it must, not shorter.
      if (known !== undefined && (!('until' in known) || known.until > now || number === known.number)) {
        assert.equal(number, known.number);
        seen.known++;
      } else {
        assert.equal(number, ++numbers);
        jobs.push({ number, key, due: now + delay, attempts: 0, token: undefined, dead: false });
      }
    } else if (what < 65) {
      const due = jobs.filter((job) => !job.dead && job.due <= now).sort((a, b) => a.due - b.due || a.number - b.number);
      while (due[0] !== undefined && due[0].attempts >= 3) (due.shift() as ModelJob).dead = true;
      const got = queue.claim();
      assert.equal(got?.number, due[0]?.number, `step ${step}`);
      if (got !== undefined && due[0] !== undefined) {
        const job = due[0];
        assert.deepEqual([got.key, got.payload, got.attempt], [job.key, `payload ${job.key}`, ++job.attempts]);
        job.due = now + 100;
        job.token = got.token;
        claims.push(got);
        seen.claims++;
      }
    } else if (claim !== undefined && what < 95) {
      const job = held(claim);
      if (job === undefined) seen.refused++;
      let effects = 0;
      if (what < 80) {
        assert.equal(
          queue.complete(claim, () => void effects++),
          job !== undefined,
        );
        assert.equal(effects, job === undefined ? 0 : 1);
        if (job !== undefined) {
          jobs.splice(jobs.indexOf(job), 1);
          if (job.key !== '') remembered.set(job.key, { number: job.number, until: now + 500 });
        }
      } else if (what < 88) {
        assert.equal(queue.fail(claim, new Error('no')), job !== undefined);
        if (job !== undefined && job.attempts >= 3) job.dead = true;
        else if (job !== undefined) [job.due, job.token] = [now + 10 * job.attempts, undefined];
      } else {
        assert.equal(queue.extend(claim), job !== undefined);
        if (job !== undefined) job.due = now + 100;
      }
    } else {
      const dead = jobs.filter((job) => job.dead);
      assert.deepEqual(
        queue
          .dead()
          .map(({ number }) => number)
          .sort((a, b) => a - b),
        dead.map(({ number }) => number).sort((a, b) => a - b),
      );
      const job = dead[below(dead.length)];
      if (job === undefined) continue;
      seen.dead++;
      if (below(2) === 0) {
        assert.ok(queue.revive(job.number));
        Object.assign(job, { dead: false, attempts: 0, due: now, token: undefined });
      } else {
        assert.ok(queue.discard(job.number));
        jobs.splice(jobs.indexOf(job), 1);
      }
    }
    assert.equal(queue.open, jobs.filter((job) => !job.dead).length);
  }
  t.diagnostic(`seed ${SEED}: ${JSON.stringify(seen)}`);
  assert.ok(
    seen.claims > 0.15 * STEPS && seen.refused > 0.05 * STEPS && seen.dead > 0.01 * STEPS && seen.known > 0.025 * STEPS,
    JSON.stringify(seen),
  );
});

test('T13, T14: workers are killed at their worst moments and at random: each job is done once in effect, and none is lost', async (t) => {
  const ground = new Ground('linux', t);
  const space = ground.open();
  const ledger = ledgerIn(space);
  const jobs = new JobQueue<Task>(space, '/jobs', QUEUE);
  const below = drawing(SEED);
  const plans: Task['plan'][] = ['poison', 'deadly', 'stalls', 'dies before', 'dies within', 'dies after'];
  for (let i = 0; i < 20; i++) plans.push('fails once');
  while (plans.length < JOBS) plans.splice(below(plans.length + 1), 0, 'plain');
  for (const [i, plan] of plans.entries()) jobs.add({ plan }, { key: `job ${i}` });

  const faults: string[] = [];
  const workers: Colleague[] = [];
  let [kills, deaths, done, over] = [0, 0, 0, false];
  await new Promise<void>((resolve) => {
    const employ = (i: number): void => {
      const worker = new Colleague(t, ground.directory);
      workers[i] = worker;
      worker.told = (): void => {
        // Somebody adds each of them twice.
        jobs.add({ plan: 'plain' }, { key: `job ${below(plans.length)}` });
        if (++done % KILL_EVERY !== 0) return;
        kills++;
        void workers[below(workers.length)]?.kill();
      };
      void worker.gone.then(() => {
        if (worker.process.signalCode !== 'SIGKILL') faults.push(worker.complaint);
        deaths++;
        if (!over) employ(i);
      });
      // It may be killed before it has begun.
      worker.does('work').catch(() => deaths);
    };
    for (let i = 0; i < 3; i++) employ(i);
    const looking = setInterval(() => {
      if (jobs.open > 0 && faults.length === 0) return;
      clearInterval(looking);
      resolve();
    }, 10);
  });
  over = true;
  for (const worker of workers) await worker.kill();
  t.diagnostic(`seed ${SEED}: ${plans.length} jobs, ${kills} kills, ${deaths} deaths`);
  assert.deepEqual(faults, []);
  space.refresh();
  const hopeless = plans.flatMap((plan, i) => (plan === 'poison' || plan === 'deadly' ? [`job ${i}`] : [])).sort();
  assert.deepEqual(
    jobs
      .dead()
      .map(({ key }) => key)
      .sort(),
    hopeless,
  );
  const counts = Object.fromEntries(ledger);
  for (const i of plans.keys()) assert.equal(counts[`job ${i}`], hopeless.includes(`job ${i}`) ? undefined : 1, `job ${i}: ${plans[i]}`);
  assert.ok(kills >= 2 && deaths >= kills + 5, `${kills} kills, ${deaths} deaths`);
  // What is done stays done.
  assert.equal(jobs.add({ plan: 'plain' }, { key: `job ${plans.indexOf('plain')}` }), plans.indexOf('plain') + 1);
  assert.equal(jobs.claim(), undefined);
  space.close();
  assert.deepEqual(checkSpace(ground.host, ground.directory).findings, []);
});

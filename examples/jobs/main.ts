/**
 * Mails are sent by three processes, and every now and then one of them is killed with SIGKILL. In the end each mail that can be sent has been
 * sent once, and the one that cannot is with the dead letters. Argument: directory (default ./space).
 */
import cluster from 'node:cluster';
import { hashMap, open, text, u32 } from '../../src/index.ts';
import { JobQueue } from './jobs.ts';

const WORKERS = 3;
const MAILS = 200;
/** Mails after which a process is killed. */
const KILL_EVERY = 70;

interface Mail {
  readonly to: string;
}

const directory = process.argv[2] ?? './space';
const space = open(directory);
const mails = new JobQueue<Mail>(space, '/mails', { lease: 1000, attempts: 3, backoff: (attempt) => 20 * attempt });
const sent = space.relaxed(() => {
  if (space.names.find('/sent') === undefined) space.names.set('/sent', space.create(hashMap(text, u32)));
  return space.names.get('/sent', hashMap(text, u32));
});

async function worker(): Promise<void> {
  const ending = new AbortController();
  process.once('disconnect', () => ending.abort());
  // All may be done before this one has begun.
  if (!process.connected) ending.abort();
  const send = async ({ payload: { to } }: { readonly payload: Mail }): Promise<() => void> => {
    if (!to.includes('@')) throw new Error(`"${to}" is no address`);
    await new Promise(setImmediate);
    // In the transaction that completes the job: both have happened, or neither. It may run again, so it does nothing else.
    return () => void sent.set(to, (sent.get(to) ?? 0) + 1);
  };
  await mails.work(send, { signal: ending.signal, concurrency: 4 });
  space.close();
}

async function primary(): Promise<void> {
  space.relaxed(() => {
    for (let i = 0; i < MAILS; i++) mails.add({ to: `reader-${i}@example.org` }, { key: `issue 1 to ${i}` });
    mails.add({ to: 'nobody' });
  });
  for (let i = 0; i < WORKERS; i++) cluster.fork();
  let killed = 0;
  await new Promise<void>((resolve) => {
    const looking = setInterval(() => {
      const left = mails.open;
      for (; sent.size >= (killed + 1) * KILL_EVERY; killed++) {
        Object.values(cluster.workers ?? {})[killed % WORKERS]?.process.kill('SIGKILL');
        cluster.fork();
      }
      if (left > 0) return;
      clearInterval(looking);
      resolve();
    }, 5);
  });
  await new Promise<void>((resolve) => cluster.disconnect(resolve));
  space.refresh();
  const twice = [...sent.values()].filter((times) => times !== 1).length;
  console.log(`${killed} of the processes were killed; ${sent.size} mails of ${MAILS} were sent, ${twice} of them more than once`);
  for (const { payload, attempts, error } of mails.dead()) console.log(`dead after ${attempts} attempts: ${payload.to}: ${error}`);
  space.close();
}

if (cluster.isPrimary) await primary();
else await worker();

/**
 * A server of two processes that share their sessions. A visitor signs in, and stays so: at the other process, when a process is killed, and when all
 * of them are started anew. Argument: directory (default ./space).
 */
import cluster, { type Worker } from 'node:cluster';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { open } from '../../src/index.ts';
import { httpSession } from './cookies.ts';
import { Sessions } from './sessions.ts';

const directory = process.argv[2] ?? './space';

function worker(): void {
  const sessions = new Sessions(open(directory), '/sessions');
  const server = createServer((request, response) => {
    const session = httpSession(sessions, request, response, { secure: false });
    if (request.url === '/sign-in') {
      // A new ID: one that somebody may have planted before is worth nothing.
      session.renew();
      session.update((data) => (data['user'] = 'ann'));
    }
    if (session.id !== undefined) session.update((data) => (data['visits'] = Number(data['visits'] ?? 0) + 1));
    const { user = 'nobody', visits = 0 } = session.data;
    response.writeHead(200, { connection: 'close' }).end(`${String(user)}, visit ${String(visits)}`);
  });
  // Each has a port of its own here, so that the visitor can say which one to ask.
  server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => process.send?.((server.address() as AddressInfo).port));
}

interface Server {
  readonly worker: Worker;
  readonly port: number;
}

const start = (): Promise<Server> =>
  new Promise((resolve) => {
    const forked = cluster.fork();
    forked.once('message', (port: number) => resolve({ worker: forked, port }));
  });

const kill = (server: Server): Promise<unknown> =>
  new Promise((resolve) => {
    server.worker.once('exit', resolve);
    server.worker.process.kill('SIGKILL');
  });

async function primary(): Promise<void> {
  let cookie = '';
  const visit = async (what: string, { port }: Server, path = '/'): Promise<void> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { cookie } });
    cookie = response.headers.get('set-cookie')?.split(';', 1)[0] ?? cookie;
    console.log(`${what}: ${await response.text()}`);
  };
  let [one, other] = await Promise.all([start(), start()]);
  await visit('at first', one);
  await visit('signed in', one, '/sign-in');
  await visit('at the other process', other);
  await kill(one);
  await visit('one is killed', other);
  await kill(other);
  [one, other] = await Promise.all([start(), start()]);
  await visit('both are new', one);
  await Promise.all([kill(one), kill(other)]);
}

if (cluster.isPrimary) await primary();
else worker();

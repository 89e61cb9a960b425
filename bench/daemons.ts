/** Servers that Debian packages, started for one benchmark on ports of loopback that were free, with nothing kept. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, chownSync, constants, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { findServer, startServer } from '../src/services/cluster/server.ts';
import type { Absent } from './harness.ts';
import { ROOT } from './peers.ts';

export interface Daemon {
  readonly port: number;
  close(): Promise<void>;
}

/** What a server gets to start; a disk on this machine may be slow to make files. */
const START_MS = 30_000;

function program(name: string, further: readonly string[]): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), ...further];
  return directories
    .map((directory) => join(directory, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

interface User {
  readonly uid: number;
  readonly gid: number;
}

interface Manner {
  readonly user?: User | undefined;
  readonly cwd?: string;
  readonly stop?: NodeJS.Signals;
}

async function start(command: string, args: readonly string[], port: number, manner: Manner = {}): Promise<Daemon> {
  const { user, cwd, stop = 'SIGTERM' } = manner;
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], cwd, ...user });
  running.add(child);
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2000);
  });
  let over = false;
  const gone = new Promise<void>((resolve) => {
    const end = (error?: unknown): void => {
      if (error instanceof Error) said += error.message;
      over = true;
      running.delete(child);
      resolve();
    };
    child.once('error', end);
    child.once('exit', () => end());
  });
  const until = Date.now() + START_MS;
  while (!(await answers(port))) {
    if (over || Date.now() > until) {
      child.kill('SIGKILL');
      throw new Error(`does not start: ${said.trim()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return {
    port,
    async close() {
      child.kill(stop);
      await gone;
    },
  };
}

const missing = (name: string, what: string): Absent => ({ name, absent: `not installed: ${what}` });

/** One that is there and does not start is skipped as well, with what it said. */
async function orAbsent(name: string, started: Promise<Daemon | Absent>): Promise<Daemon | Absent> {
  try {
    return await started;
  } catch (error) {
    return { name, absent: error instanceof Error ? error.message : String(error) };
  }
}

async function startRedis(): Promise<Daemon | Absent> {
  const command = program('redis-server', []);
  if (command === undefined) return missing('redis-server', "Debian's redis-server");
  const port = await freePort();
  return start(command, ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', tmpdir()], port);
}

/** With JetStream: the one that our nodes meet at. */
export async function natsServer(): Promise<Daemon | Absent> {
  if ((await findServer()) === undefined) return missing('nats-server', 'scripts/nats-server');
  return orAbsent('nats-server', startNats());
}

async function startNats(): Promise<Daemon> {
  const server = await startServer();
  return { port: server.port, close: () => server.stop() };
}

/** PostgreSQL does not run as root: then it is the user that its package makes. */
function postgresUser(): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((text) => text.startsWith('postgres:'));
  const [, , uid, gid] = line?.split(':') ?? [];
  return { uid: Number(uid ?? 65_534), gid: Number(gid ?? 65_534) };
}

function postgresPlaces(): string[] {
  try {
    const versions = readdirSync('/usr/lib/postgresql').toSorted((a, b) => Number(b) - Number(a));
    return versions.map((version) => `/usr/lib/postgresql/${version}/bin`);
  } catch {
    return [];
  }
}

export const POSTGRES_USER = 'bench';

async function startPostgres(): Promise<Daemon | Absent> {
  const [initdb, postgres] = ['initdb', 'postgres'].map((name) => program(name, postgresPlaces()));
  if (initdb === undefined || postgres === undefined) return missing('postgres', "Debian's postgresql");
  const user = postgresUser();
  // A place of its own: the user must reach it.
  const directory = mkdtempSync(join(tmpdir(), 'twizzler-bench-postgres-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true });
  try {
    if (user !== undefined) chownSync(directory, user.uid, user.gid);
    const data = join(directory, 'data');
    const made = spawnSync(initdb, ['-D', data, '-U', POSTGRES_USER, '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C'], {
      encoding: 'utf8',
      cwd: directory,
      ...user,
    });
    if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`);
    const port = await freePort();
    const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'fsync=off', 'jit=off', 'shared_buffers=128MB'];
    const args = ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])];
    // SIGTERM would wait for those who are connected.
    const daemon = await start(postgres, args, port, { user, cwd: directory, stop: 'SIGINT' });
    return {
      port,
      async close() {
        await daemon.close();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

export const redisServer = (): Promise<Daemon | Absent> => orAbsent('redis-server', startRedis());
export const postgresServer = (): Promise<Daemon | Absent> => orAbsent('postgres', startPostgres());

/** What they call themselves. */
export function daemonVersions(): string[] {
  return (
    [
      ['redis-server', '--version'],
      ['postgres', '--version'],
      ['nats-server', '--version'],
    ] as const
  ).map(([name, flag]) => {
    const command = program(name, [...postgresPlaces(), join(ROOT, '.engine/bin')]);
    const said = command === undefined ? '' : spawnSync(command, [flag], { encoding: 'utf8' }).stdout;
    return `${name} ${/\d+\.\d+(\.\d+)?/.exec(said)?.[0] ?? 'not installed'}`;
  });
}

/** A server of the engine on this machine, for development and tests: reached by this machine only, gone with the process that started it. */
import { TwzError } from '../../abi/errors.ts';
import { clock } from '../../host/clock.ts';
import { makeScratch, removeAll, startProgram, type Signal } from '../../host/processes.ts';
import { listenForLinks } from '../../host/sockets.ts';
import { joined, ownFile, runTool, writeFileWhole } from '../../host/tools.ts';
import { atLeast, OLDEST_SERVER, tooOld } from './wire.ts';

export interface FoundServer {
  readonly path: string;
  readonly version: string;
}

export interface ServerOptions {
  /** Path of nats-server; else the one of this project (`scripts/nats-server` puts it there), else the one that the system finds. */
  readonly binary?: string;
  /** Where it keeps what it stores; else a directory that is removed when it stops. */
  readonly directory?: string;
  /** Default: one that is free. */
  readonly port?: number;
  /** What is acknowledged has been synced. Default: within two minutes. */
  readonly durable?: boolean;
  /** More of the configuration, in the server's own words. */
  readonly config?: string;
  /** Milliseconds until it must serve (default 10,000). */
  readonly timeout?: number;
}

export interface RunningServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly version: string;
  readonly directory: string;
  kill(signal: Signal): void;
  /** Resolves when the process is gone. */
  readonly ended: Promise<number>;
  /** Ends it, and removes the directory if it was made for it. */
  stop(): Promise<void>;
}

const START_MS = 10_000;
const STOP_MS = 5_000;
const SAID_LINES = 20;

/** The server's program: that path only where one is given. Undefined where none is new enough. */
export async function findServer(binary?: string): Promise<FoundServer | undefined> {
  const candidates = binary === undefined ? [ownFile('.engine/bin/nats-server'), 'nats-server'] : [binary];
  for (const path of candidates) {
    const version = await versionOf(path);
    if (version !== undefined && atLeast(version, OLDEST_SERVER)) return { path, version };
  }
  return undefined;
}

async function versionOf(path: string): Promise<string | undefined> {
  const said = await runTool(path, ['--version']);
  return said === undefined ? undefined : /^nats-server: v(\d+\.\d+\.\d+)/m.exec(said.said)?.[1];
}

/** Starts a server; resolves when it serves. Throws NotSupported where there is none to start, EngineTooOld, EngineRefused with what it said. */
export async function startServer(options: ServerOptions = {}): Promise<RunningServer> {
  const found = await findServer(options.binary);
  if (found === undefined) {
    const version = options.binary === undefined ? undefined : await versionOf(options.binary);
    if (version !== undefined) throw tooOld(version, options.binary ?? '');
    throw new TwzError('NotSupported', `no nats-server ${OLDEST_SERVER} or newer: scripts/nats-server installs one`, {
      needed: OLDEST_SERVER,
    });
  }
  const directory = options.directory ?? makeScratch('twz-engine-');
  const config = joined(directory, 'server.conf');
  const settings = [
    `listen: "127.0.0.1:${options.port ?? -1}"`,
    `jetstream { store_dir: ${JSON.stringify(joined(directory, 'store'))}${options.durable === true ? ', sync_interval: always' : ''} }`,
    options.config ?? '',
  ];
  writeFileWhole(config, new TextEncoder().encode(settings.join('\n')));
  const said: string[] = [];
  let port: number | undefined;
  let serves: (() => void) | undefined;
  const serving = new Promise<void>((resolve) => (serves = resolve));
  const program = await startProgram(found.path, ['-c', config], (line) => {
    if (said.push(line) > SAID_LINES) said.shift();
    port ??= portIn(line);
    if (line.includes('Server is ready')) serves?.();
  });
  const stop = async (): Promise<void> => {
    program.keep(true);
    program.kill('SIGCONT');
    program.kill('SIGTERM');
    const late = clock.timer(STOP_MS, () => void program.kill('SIGKILL'));
    await program.ended;
    late.cancel();
    if (options.directory === undefined) removeAll(directory);
  };
  const ms = options.timeout ?? START_MS;
  const late = clock.timer(ms, () => void program.kill('SIGKILL'));
  const ended = await Promise.race([serving.then(() => false), program.ended.then(() => true)]);
  late.cancel();
  if (ended || port === undefined) {
    await stop();
    throw new TwzError('EngineRefused', `nats-server did not serve within ${ms} ms:\n${said.join('\n')}`, { path: found.path });
  }
  program.keep(false);
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    pid: program.pid,
    version: found.version,
    directory,
    kill: (signal) => void program.kill(signal),
    ended: program.ended,
    stop,
  };
}

function portIn(line: string): number | undefined {
  const found = /Listening for client connections on \S*?:(\d+)/.exec(line)?.[1];
  return found === undefined ? undefined : Number(found);
}

export interface RunningServers {
  readonly urls: readonly string[];
  readonly servers: readonly RunningServer[];
  /** Starts one again that has ended, with what it has stored. */
  restart(index: number): Promise<void>;
  stop(): Promise<void>;
}

/** Starts several that are one cluster: what is kept in three copies survives the loss of any one. Options as of one, without its port. */
export async function startServers(count: number, options: Omit<ServerOptions, 'port'> = {}): Promise<RunningServers> {
  const directory = options.directory ?? makeScratch('twz-engine-');
  const routes = await freePorts(count);
  const start = (index: number, port: number): Promise<RunningServer> =>
    startServer({
      ...options,
      port,
      directory: joined(directory, `${index}`),
      config: [
        `server_name: n${index}`,
        `cluster { name: twizzler, listen: "127.0.0.1:${routes[index]}", routes: [${routes.map((each) => `"nats://127.0.0.1:${each}"`).join(', ')}] }`,
        options.config ?? '',
      ].join('\n'),
    });
  const servers = await Promise.all(routes.map((_, index) => start(index, -1)));
  return {
    urls: servers.map(({ url }) => url),
    servers,
    restart: async (index) => {
      servers[index] = await start(index, servers[index]?.port ?? -1);
    },
    stop: async () => {
      await Promise.all(servers.map((server) => server.stop()));
      if (options.directory === undefined) removeAll(directory);
    },
  };
}

/** Ports that nobody listens to now. */
async function freePorts(count: number): Promise<number[]> {
  const all = await Promise.all(
    Array.from({ length: count }, () => listenForLinks({ host: '127.0.0.1', port: 0 }, 1, (link) => link.destroy())),
  );
  await Promise.all(all.map((listening) => listening.close()));
  return all.map(({ local }) => local.port);
}

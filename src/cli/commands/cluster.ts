/** Commands of a space that many machines share: join, nodes, where; plan.ts has plan. docs/cli.md, "Many machines". */
import { InvalidArgumentError, type Command } from 'commander';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import { isTwzError, TwzError } from '../../abi/errors.ts';
import { connectLink } from '../../host/sockets.ts';
import { fileBytes } from '../../host/tools.ts';
import { open, type Space } from '../../space.ts';
import type { Cluster, JoinOptions } from '../../services/cluster/cluster.ts';
import type { Engine, EngineOptions } from '../../services/cluster/engine.ts';
import type { NodeInfo } from '../../services/cluster/node.ts';
import type { RunningServer } from '../../services/cluster/server.ts';
import type { ClusterEvent } from '../../services/cluster/watching.ts';
import type { Whereabouts } from '../../services/cluster/whereabouts.ts';
import { UsageError } from '../failure.ts';
import { count, duration, err, out, pairs, plural, printable, size, table } from '../output.ts';
import { findTarget, spaceDirectory, theHost } from '../space.ts';

export function addClusterCommands(program: Command): void {
  reaching(program.command('join [dir]').description('make a space a node of a space that many machines share, until it is stopped'))
    .option('--name <name>', 'what people call this node', word)
    .option('--no-runs', 'functions of other nodes do not run here')
    .option('--cache <bytes>', 'room that copies of what other nodes own may take, as 512MiB (default: as much as there is)', bytes)
    .option('--no-prefetch', 'what an object refers to does not come along with it')
    .option('--no-compress', 'objects are never compressed on their way here')
    .option('--speed <times>', 'how fast functions of other nodes run here, against those nodes (default: 1)', positive)
    .option('--lease <ms>', 'milliseconds after its last sign that this node counts as gone (default: 4000)', positive)
    .option('--replicas <count>', 'copies that the servers keep of what is stored, where this node is the first (default: 1)', replicas)
    .option('--metrics <port>', 'serve /metrics and /status on 127.0.0.1', port)
    .option('--dev', 'start a nats-server on this machine, unless one serves there')
    .option('--store <dir>', "where that server keeps what it stores (default: the space's directory with .server behind it)")
    .action(join);
  reaching(program.command('nodes').description('list the nodes that are there')).action(nodes);
  reaching(
    program
      .command('where <target> [dir]')
      .description('say which nodes have an object: by its ID, or by its path in the space in a directory'),
  ).action(where);
}

// --- how the engine is reached ------------------------------------------------------------------------------------------------------

export interface Reaching {
  readonly servers?: readonly string[];
  readonly space?: string;
  readonly seed?: string;
  readonly creds?: string;
  readonly json?: boolean;
}

const DEFAULT_SERVER = 'nats://127.0.0.1:4222';
const CONNECT_MS = 5000;
export const ASK_MS = 2000;

export function reaching(command: Command): Command {
  return command
    .option('--servers <urls>', `NATS servers, with commas between (default: TWZ_SERVERS, else ${DEFAULT_SERVER})`, list)
    .option('--space <name>', 'name of the space that the nodes form (default: twizzler)', spaceName)
    .option('--seed <file>', 'file with the seed of an NKey')
    .option('--creds <file>', 'file with credentials: a JWT and its seed')
    .option('--json', 'print JSON');
}

function list(text: string): readonly string[] {
  const urls = text.split(',').map((url) => url.trim());
  if (urls.includes('')) throw new InvalidArgumentError('expected addresses like nats://host:4222, with commas between.');
  return urls;
}

function spaceName(text: string): string {
  if (!/^[a-z0-9_-]{1,64}$/.test(text))
    throw new InvalidArgumentError('expected a name of a-z, 0-9, _ and -. The directory of the space stands without an option.');
  return text;
}

function word(text: string): string {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(text)) throw new InvalidArgumentError('expected letters, digits, _ and -.');
  return text;
}

function port(text: string): number {
  const n = Number(text);
  if (!/^\d+$/.test(text) || n > 65535) throw new InvalidArgumentError('expected a port from 0 to 65535 (0: one that is free).');
  return n;
}

const SIZE = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|TiB)?$/;

function bytes(text: string): number {
  const [, number, unit = 'B'] = SIZE.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError('expected bytes, or a number of KiB, MiB, GiB or TiB, as 512MiB.');
  return Math.round(Number(number) * 1024 ** ['B', 'KiB', 'MiB', 'GiB', 'TiB'].indexOf(unit));
}

function positive(text: string): number {
  const n = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || n <= 0) throw new InvalidArgumentError('expected a number above 0.');
  return n;
}

function replicas(text: string): number {
  if (!/^[1-5]$/.test(text)) throw new InvalidArgumentError('expected a number from 1 to 5.');
  return Number(text);
}

function secret(file: string): string {
  const bytes = fileBytes(file);
  if (bytes === undefined) throw new TwzError('FileMissing', `there is no file ${file}`, { path: file });
  return new TextDecoder().decode(bytes);
}

function engineOptions({ servers, space, seed, creds }: Reaching): EngineOptions {
  if (seed !== undefined && creds !== undefined) throw new UsageError('--seed and --creds: one of them');
  const fromEnvironment = process.env['TWZ_SERVERS'] ?? '';
  return {
    servers: servers ?? (fromEnvironment === '' ? [DEFAULT_SERVER] : list(fromEnvironment)),
    space: space ?? 'twizzler',
    timeout: CONNECT_MS,
    ...(seed === undefined ? {} : { seed: secret(seed) }),
    ...(creds === undefined ? {} : { credentials: secret(creds) }),
  };
}

export async function withEngine<T>(options: Reaching, use: (engine: Engine) => Promise<T>): Promise<T> {
  const { connectNats } = await import('../../services/cluster/nats.ts');
  const engine = await connectNats({ ...engineOptions(options), name: 'twz' });
  try {
    return await use(engine);
  } finally {
    await engine.close();
  }
}

// --- join ---------------------------------------------------------------------------------------------------------------------------

interface JoinFlags extends Reaching {
  readonly name?: string;
  readonly runs: boolean;
  readonly prefetch: boolean;
  readonly compress: boolean;
  readonly cache?: number;
  readonly speed?: number;
  readonly lease?: number;
  readonly replicas?: number;
  readonly metrics?: number;
  readonly dev?: boolean;
  readonly store?: string;
}

async function join(dir: string | undefined, flags: JoinFlags): Promise<void> {
  if (flags.store !== undefined && flags.dev !== true) throw new UsageError('--store is for the server that --dev starts');
  const directory = dir ?? spaceDirectory({});
  const options = engineOptions(flags);
  // Before it can be asked to stop. Asked again, it ends at once.
  const stopped = new Promise<'stopped'>((resolve) => {
    const stop = (): void => resolve('stopped');
    process.once('SIGINT', stop).once('SIGTERM', stop);
  });
  const space = open(directory, { host: theHost() });
  let server: RunningServer | undefined;
  try {
    if (flags.dev === true) server = await serverHere(options.servers, flags.store ?? `${directory.replace(/\/+$/, '')}.server`);
    await beNode(space, options, flags, server, stopped);
  } finally {
    await server?.stop();
    space.close();
  }
}

async function beNode(
  space: Space,
  options: EngineOptions,
  flags: JoinFlags,
  server: RunningServer | undefined,
  stopped: Promise<'stopped'>,
): Promise<void> {
  const { name, runs, prefetch, compress, cache, speed, lease, replicas: copies, metrics, json = false } = flags;
  const { join: joinSpace } = await import('../../services/cluster/cluster.ts');
  const joinOptions: JoinOptions = {
    ...options,
    runs,
    prefetch,
    compress,
    ...(name === undefined ? {} : { name }),
    ...(cache === undefined ? {} : { cacheBytes: cache }),
    ...(speed === undefined ? {} : { speed }),
    ...(lease === undefined ? {} : { lease }),
    ...(copies === undefined ? {} : { replicas: copies }),
  };
  await using cluster = await joinSpace(space, joinOptions);
  const watched = metrics === undefined ? undefined : await serveMetrics(cluster, metrics);
  // Nothing else may keep the process while the connection is lost.
  const alive = setInterval(() => undefined, 1 << 30);
  try {
    const { id, facts } = cluster;
    const { version, replicas } = facts;
    const started = server === undefined ? {} : { started: server.pid };
    if (json)
      out.json({
        joined: { id, name: cluster.name, directory: space.directory, space: options.space, servers: options.servers, version, replicas },
        ...started,
        ...(watched === undefined ? {} : { metrics: watched.local.port }),
      });
    else {
      const kept = `nats-server ${version}${server === undefined ? '' : `, started here as process ${server.pid}`}, ${replicas === 1 ? '1 copy' : `${replicas} copies`} of what is stored`;
      out.line(
        `${out.paint('bold', cluster.name)} (${id}) has joined ${options.space} at ${printable(options.servers.join(', '))}: ${kept}`,
      );
      if (watched !== undefined) out.line(`metrics at http://127.0.0.1:${watched.local.port}/metrics`);
    }
    const subscription = cluster.watch((event) => tell(event, cluster.id, options.servers, json));
    const ended = await Promise.race([stopped, cluster.ended]);
    subscription.close();
    if (ended !== 'stopped')
      throw new TwzError('NotJoined', 'the thread of the node has ended: its space is as it was, and nothing was lost');
  } finally {
    clearInterval(alive);
    await watched?.close();
  }
}

function tell(event: ClusterEvent, own: string, servers: readonly string[], json: boolean): void {
  const { kind } = event;
  if (!('node' in event)) {
    if (json) out.json({ connected: kind === 'found' });
    else if (kind === 'lost')
      err.line(err.paint('yellow', `no connection to ${printable(servers.join(', '))}: it is tried again and again`));
    else err.line('connected again');
    return;
  }
  const { node } = event;
  if (node.id === own) return;
  if (json) out.json({ [kind]: { id: node.id, name: node.name, pid: node.pid } });
  else out.line(`${out.paint(kind === 'came' ? 'green' : 'yellow', kind)}  ${printable(node.name)} (${node.id})`);
}

async function serveMetrics(cluster: Cluster, at: number): Promise<{ readonly local: { readonly port: number }; close(): Promise<void> }> {
  const [{ listenForHttp }, { metricsText, statusOf }] = await Promise.all([
    import('../../host/http.ts'),
    import('../../services/cluster/metrics.ts'),
  ]);
  return listenForHttp(at, async (path) => {
    if (path === '/metrics')
      return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: metricsText(await statusOf(cluster)) };
    if (path === '/status') return { status: 200, type: 'application/json', body: `${JSON.stringify(await statusOf(cluster))}\n` };
    return undefined;
  });
}

// --- a server of this machine -------------------------------------------------------------------------------------------------------

/** Starts one, unless one serves at that address. */
async function serverHere(servers: readonly string[], directory: string): Promise<RunningServer | undefined> {
  const [url = '', other] = servers;
  const found = /^(?:nats:\/\/)?(?:127\.0\.0\.1|localhost)(?::(\d+))?$/.exec(url);
  if (found === null || other !== undefined)
    throw new UsageError(`--dev starts a server on this machine: not at ${servers.join(', ')}, but at an address like ${DEFAULT_SERVER}`);
  const at = found[1] === undefined ? 4222 : Number(found[1]);
  if (await serves(at)) return undefined;
  const { startServer } = await import('../../services/cluster/server.ts');
  try {
    return await startServer({ port: at, directory });
  } catch (error) {
    // Somebody else may have started one meanwhile.
    if (isTwzError(error, 'EngineRefused') && (await serves(at))) return undefined;
    throw error;
  }
}

async function serves(at: number): Promise<boolean> {
  try {
    const link = await connectLink({ host: '127.0.0.1', port: at }, AbortSignal.timeout(ASK_MS));
    link.destroy();
    return true;
  } catch (error) {
    if (isTwzError(error, 'ConnectionRefused')) return false;
    throw error;
  }
}

// --- nodes --------------------------------------------------------------------------------------------------------------------------

async function nodes(flags: Reaching): Promise<void> {
  const { askNodes } = await import('../../services/cluster/whereabouts.ts');
  const found = await withEngine(flags, (engine) => askNodes(engine, ASK_MS));
  const now = theHost().time();
  const age = (node: NodeInfo): number => Math.max(0, now - node.since);
  if (flags.json === true) {
    out.json(found.map((node) => ({ ...node, age: age(node) })));
    return;
  }
  if (found.length === 0) {
    out.line('no node is there');
    return;
  }
  table(
    out,
    [
      { head: 'ID' },
      { head: 'NAME' },
      { head: 'PID', right: true },
      { head: 'LOAD', right: true },
      { head: 'OBJECTS', right: true },
      { head: 'AGE', right: true },
    ],
    found.map((node) => [
      node.id,
      printable(node.name),
      String(node.pid),
      node.answered ? String(node.load) : '-',
      node.answered ? count(node.objects) : '-',
      Number.isFinite(node.since) ? duration(age(node)) : '-',
    ]),
  );
}

// --- where --------------------------------------------------------------------------------------------------------------------------

interface Asked {
  readonly id: ObjectId;
  /** The space in the directory, where one was looked into. */
  readonly space?: { readonly id: string; readonly has: boolean };
}

/** Its space is needed for what is no whole ID, and is looked into where it is named. */
function asked(target: string, dir: string | undefined): Asked {
  const whole = isId(target.toLowerCase());
  if (whole && dir === undefined) return { id: parseId(target.toLowerCase()) };
  const space = open(dir ?? spaceDirectory({}), { create: false, host: theHost() });
  try {
    const id = whole ? parseId(target.toLowerCase()) : findTarget(space, target).id;
    return { id, space: { id: space.stat().id, has: space.has(id) } };
  } finally {
    space.close();
  }
}

async function where(target: string, dir: string | undefined, flags: Reaching): Promise<void> {
  const { id, space } = asked(target, dir);
  const { askWhereabouts } = await import('../../services/cluster/whereabouts.ts');
  const { found, known } = await withEngine(flags, async (engine) => {
    const { listNodes } = await import('../../services/cluster/watching.ts');
    return { found: await askWhereabouts(engine, theHost(), id, ASK_MS), known: await listNodes(engine, ASK_MS) };
  });
  const here = space === undefined ? undefined : found.holders.find(({ node }) => node === space.id);
  const joined = space !== undefined && known.some((node) => node.id === space.id);
  if (found.holders.length === 0 && found.owner === undefined && space?.has !== true)
    throw new TwzError('ObjectMissing', `object ${id} is on no node that answers, and the engine does not know it${silent(found)}`, { id });
  if (flags.json === true) {
    const about = space === undefined ? {} : { here: { node: space.id, joined, has: space.has, role: here?.role ?? null } };
    out.json({ ...found, owner: found.owner ?? null, ...about });
    return;
  }
  const named = (node: string): string => {
    const name = known.find((each) => each.id === node)?.name;
    return name === undefined ? `${node}, which is not there` : `${printable(name)} (${node})`;
  };
  const rows: (readonly [string, string])[] = [['object', id]];
  const [first] = found.holders;
  if (first !== undefined) rows.push(['kind', `${first.kind}, ${size(first.size)}`]);
  if (found.owner !== undefined) rows.push(['owner', named(found.owner)]);
  rows.push(...holders(found, named));
  if (space !== undefined) rows.push(['here', hereIs(joined, space.has, here?.role)]);
  rows.push(['engine', engineHas(found)]);
  if (found.silent.length > 0) rows.push(['silent', found.silent.map(({ name }) => printable(name)).join(', ')]);
  pairs(out, rows);
}

function engineHas({ kept, epoch, holders: all }: Whereabouts): string {
  if (kept === 'all') return `has all of it, epoch ${epoch}`;
  if (kept === 'changes') return `has its changes only, epoch ${epoch}`;
  return all.some(({ shared }) => shared)
    ? 'has nothing of it: it has not changed since others have it'
    : 'has nothing of it: no other node has asked';
}

function silent({ silent: nodes }: Whereabouts): string {
  return nodes.length === 0 ? '' : `; ${nodes.map(({ name }) => printable(name)).join(', ')} did not answer`;
}

function holders({ holders: all, owner }: Whereabouts, named: (node: string) => string): (readonly [string, string])[] {
  const others = all.filter(({ node, role }) => role !== 'owner' || node !== owner);
  return others.map(({ node, role, group }) => [
    role === 'owner' ? 'claims it' : role === 'kept' ? 'stays at' : 'copy',
    `${named(node)}${role === 'copy' ? `, after ${plural(group, 'change')}` : ''}`,
  ]);
}

function hereIs(joined: boolean, has: boolean, role: string | undefined): string {
  const what = role === 'owner' ? 'yes, as its owner' : role === 'copy' ? 'yes, as a copy' : has ? 'yes' : 'no';
  return joined ? what : `${what}; the space has not joined`;
}

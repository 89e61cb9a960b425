/** Where the benchmarks of many machines take place: a server of the engine, nodes in processes of their own, and nodes in this one. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as pathOf } from 'node:path';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { open } from '../src/index.ts';
import { join, type Cluster, type JoinOptions } from '../src/services/cluster/cluster.ts';
import { natsServer } from './daemons.ts';
import { Links } from './delay.ts';
import { compare, type Absent, type Context } from './harness.ts';
import { MOBILITY_NODE, type ArgumentsOf, type Done, type GivenBy, type TaskName, type Told } from './mobility-node.ts';
import { isAbsent } from './peers.ts';

/** A node in a process of its own, that does what it is told. */
export class Far {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #number = 0;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.on('message', ({ number, value, error }: Done) => {
      const waiting = this.#waiting.get(number);
      this.#waiting.delete(number);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(new Error(error));
    });
    child.once('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`a node has ended with ${code ?? 'a signal'}`));
    });
  }

  do<K extends TaskName>(task: K, ...given: ArgumentsOf<K>): Promise<GivenBy<K>> {
    const number = ++this.#number;
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve: (value) => resolve(value as GivenBy<K>), reject });
      this.#child.send({ number, task, given } satisfies Told);
    });
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.disconnect();
    await gone;
  }
}

export class Ground {
  readonly port: number;
  readonly #directory = mkdtempSync(pathOf(tmpdir(), 'twizzler-ground-'));
  readonly #closing: (() => Promise<unknown>)[] = [];
  readonly #far: Far[] = [];
  #links: Links | undefined;
  #plain: NatsConnection | undefined;
  readonly #isShared: boolean;
  #near: Cluster | undefined;
  #names = 0;

  /** `isShared`: one node of this process does for all who do not say what it is to be like, and is not new to them. */
  constructor(port: number, close: () => Promise<void>, isShared: boolean) {
    this.port = port;
    this.#isShared = isShared;
    this.#closing.push(async () => rmSync(this.#directory, { recursive: true, force: true }), close);
  }

  get server(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** The n-th node that is in another process. */
  async far(n = 0): Promise<Far> {
    for (let at = this.#far.length; at <= n; at++) {
      const name = `far-${at}`;
      const child = fork(MOBILITY_NODE, [pathOf(this.#directory, name), this.server, name]);
      const [said] = await Promise.race([once(child, 'message'), once(child, 'exit')]);
      if (said !== 'ready') throw new Error('a node does not start');
      const far = new Far(child);
      this.#far.push(far);
      this.#closing.push(() => far.close());
    }
    return this.#far[n] as Far;
  }

  /** The port of the server, behind a link with that round trip in milliseconds, and so many megabits a second. */
  async through(roundTrip: number, megabits = Infinity): Promise<number> {
    if (roundTrip === 0 && megabits === Infinity) return this.port;
    if (this.#links === undefined) {
      const links = new Links();
      this.#links = links;
      this.#closing.push(() => links.close());
    }
    return this.#links.through(this.port, roundTrip, megabits);
  }

  /** Runs with a new node in this process, which has nothing yet. */
  async near<T>(use: (cluster: Cluster) => Promise<T>, options?: Partial<JoinOptions>): Promise<T> {
    if (this.#near !== undefined && options === undefined) return use(this.#near);
    const name = `near-${++this.#names}`;
    const directory = pathOf(this.#directory, name);
    const space = open(directory);
    const cluster = await join(space, { servers: [this.server], name, runs: false, patience: 120_000, ...options });
    const end = async (): Promise<void> => {
      await cluster.leave();
      space.close();
      rmSync(directory, { recursive: true, force: true });
    };
    if (this.#isShared && options === undefined) {
      this.#near = cluster;
      this.#closing.push(end);
      return use(cluster);
    }
    try {
      return await use(cluster);
    } finally {
      await end();
    }
  }

  /** A client without anything of ours; the far node has one that answers. */
  async plain(): Promise<NatsConnection> {
    await (await this.far()).do('plain');
    if (this.#plain === undefined) {
      const client = await connect({ servers: this.server });
      this.#plain = client;
      this.#closing.push(() => client.close());
    }
    return this.#plain;
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).toReversed()) await close();
  }
}

let shared: Ground | undefined;

/** The same for all where nothing is judged: ends with `closeGround`. */
export async function groundOf(context: Context): Promise<Ground | Absent> {
  if (shared !== undefined) return shared;
  const daemon = await natsServer();
  if (isAbsent(daemon)) return daemon;
  const ground = new Ground(daemon.port, () => daemon.close(), context.quick);
  if (context.quick) shared = ground;
  return ground;
}

export async function closeGround(): Promise<void> {
  const ground = shared;
  shared = undefined;
  await ground?.close();
}

/** Runs on a ground; where there can be none, that is reported. */
export async function onGround(context: Context, benchmark: string, use: (ground: Ground) => Promise<void>): Promise<void> {
  const ground = await groundOf(context);
  if (!(ground instanceof Ground)) return standIn(context, benchmark, ground);
  try {
    await use(ground);
  } finally {
    if (!context.quick) await ground.close();
  }
}

/** What stands in for a benchmark that cannot run here: it is no result. */
async function standIn(context: Context, benchmark: string, why: Absent): Promise<void> {
  const ours = { name: 'STAND-IN for ours', measure: () => 1, note: 'the stand-in is no result' };
  await compare(context, benchmark, { name: 'nothing', unit: 'ms', better: 'lower', ours, peers: [{ side: why, reference: true }] });
}

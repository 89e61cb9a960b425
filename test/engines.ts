/** Engines to test with: the simulated one, and a server of NATS where there is one. */
import { readdirSync, readFileSync } from 'node:fs';
import { after, test, type TestContext } from 'node:test';
import type { Engine, EngineOptions } from '../src/services/cluster/engine.ts';
import { connectNats } from '../src/services/cluster/nats.ts';
import { findServer, startServer, type RunningServer, type ServerOptions } from '../src/services/cluster/server.ts';
import { SimulatedEngines } from '../src/testing/cluster/engine.ts';

const named = process.env['NATS_SERVER'];
export const foundServer = await findServer(named === undefined || named === '' ? undefined : named);
export const noServer: string | false =
  foundServer === undefined && 'no nats-server 2.10.27 or newer: set NATS_SERVER, or run scripts/nats-server';

const binary = foundServer === undefined ? {} : { binary: foundServer.path };

export interface Engines {
  readonly kind: 'nats' | 'simulated';
  /** Another connection to the same server. */
  connect(node: string, space?: string): Promise<Engine>;
  until(so: () => boolean): Promise<void>;
  /** The server dies, and starts again with what it has stored. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** The server is stopped, and goes on. */
  pause(): Promise<void>;
  resume(): void;
}

export class SimulatedBench implements Engines {
  readonly kind = 'simulated';
  readonly engines: SimulatedEngines;

  constructor(t: TestContext, seed: number) {
    this.engines = new SimulatedEngines({ seed });
    const driving = this.engines.drive();
    t.after(() => driving.close());
  }

  connect(node: string, space?: string): Promise<Engine> {
    return this.engines.connect(node, space);
  }

  async until(so: () => boolean): Promise<void> {
    while (!so()) await new Promise<void>((resolve) => this.engines.clock.timer(1, resolve));
  }

  kill(): Promise<void> {
    this.engines.killServer();
    return Promise.resolve();
  }

  start(): Promise<void> {
    this.engines.startServer();
    return Promise.resolve();
  }

  pause(): Promise<void> {
    this.engines.pauseServer();
    return Promise.resolve();
  }

  resume(): void {
    this.engines.resumeServer();
  }
}

/** Starts a server that is gone with the test. */
export async function serverFor(t: TestContext, options: ServerOptions = {}): Promise<RunningServer> {
  const server = await startServer({ ...binary, ...options });
  t.after(() => server.stop());
  return server;
}

/** Connects, until the end of the test. */
export async function connectFor(t: TestContext, options: EngineOptions): Promise<Engine> {
  const engine = await connectNats(options);
  t.after(() => engine.close());
  return engine;
}

/** Looks again and again. */
export function until(so: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (so()) resolve();
      else setTimeout(look, 2);
    };
    look();
  });
}

/** Resolves when each of its threads has stopped: until then it may answer. */
export async function pauseServer({ pid, kill }: RunningServer): Promise<void> {
  kill('SIGSTOP');
  const tasks = `/proc/${pid}/task`;
  await until(() => readdirSync(tasks).every((task) => /^\d+ \(.*\) T/s.test(readFileSync(`${tasks}/${task}/stat`, 'utf8'))));
}

class NatsBench implements Engines {
  readonly kind = 'nats';
  readonly #t: TestContext;
  readonly #space: string;
  #server: RunningServer;

  constructor(t: TestContext, server: RunningServer, space: string) {
    this.#t = t;
    this.#server = server;
    this.#space = space;
  }

  connect(node: string, space = 'test'): Promise<Engine> {
    return connectFor(this.#t, { servers: [this.#server.url], space: `${this.#space}-${space}`, name: node });
  }

  until(so: () => boolean): Promise<void> {
    return until(so);
  }

  async kill(): Promise<void> {
    this.#server.kill('SIGKILL');
    await this.#server.ended;
  }

  async start(): Promise<void> {
    const { port, directory } = this.#server;
    this.#server = await serverFor(this.#t, { port, directory });
  }

  pause(): Promise<void> {
    return pauseServer(this.#server);
  }

  resume(): void {
    this.#server.kill('SIGCONT');
  }
}

/** One server for all tests of a file that leave it as it is, each with a space of its own. */
let common: Promise<RunningServer> | undefined;
let spaces = 0;
after(async () => (await common)?.stop());

/** The same test with both. `own`: it does things to the server. */
export function onEngines(title: string, body: (engines: Engines, t: TestContext) => Promise<void>, own = false): void {
  const seed = Number(process.env['SEED'] ?? 1);
  test(`${title} (simulated)`, async (t) => {
    t.diagnostic(`seed ${seed}`);
    await body(new SimulatedBench(t, seed), t);
  });
  test(`${title} (NATS)`, { skip: noServer }, async (t) => {
    const server = own ? serverFor(t) : (common ??= startServer(binary));
    await body(new NatsBench(t, await server, `t${++spaces}`), t);
  });
}

/**
 * The network between the nodes: a namespace for each of them and one for the server, in which there is a bridge that all are at. Links have
 * a delay and a little loss where the kernel has netem. Nothing is done outside those namespaces. Without the right to make them, loopback.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findServer, startServer, type RunningServer } from '../../src/services/cluster/cluster.ts';

export const DELAY = '1ms';
export const LOSS = '0.1%';
const PREFIX = 'twz-rdv';
const PORT = 4222;

export interface Network {
  readonly kind: 'namespaces' | 'loopback';
  /** What it is, or why it is no more than that. */
  readonly facts: readonly string[];
  readonly server: string;
  /** A command as it is run at a node: what comes before the program. */
  at(node: string): readonly string[];
  close(): Promise<void>;
}

interface Done {
  readonly ok: boolean;
  readonly said: string;
}

function ip(...args: string[]): Done {
  const { status, stderr, stdout, error } = spawnSync('ip', args, { encoding: 'utf8', timeout: 10_000 });
  return { ok: status === 0, said: `${error === undefined ? '' : error.message}${stderr ?? ''}${stdout ?? ''}`.trim() };
}

function must(...args: string[]): void {
  const { ok, said } = ip(...args);
  if (!ok) throw new Error(`ip ${args.join(' ')}: ${said}`);
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** What a run that was killed has left. */
function sweep(): void {
  for (const line of ip('netns', 'list').said.split('\n')) {
    const [name = ''] = line.split(' ');
    const pid = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !exists(Number(pid))) ip('netns', 'del', name);
  }
}

class Namespaces {
  readonly #made: string[] = [];
  readonly #ns = (name: string): string => `${PREFIX}-${process.pid}-${name}`;
  delayed = '';

  make(nodes: readonly string[]): void {
    this.#add('hub');
    const hub = this.#ns('hub');
    must('-n', hub, 'link', 'add', 'bridge', 'type', 'bridge');
    must('-n', hub, 'addr', 'add', '10.77.0.1/24', 'dev', 'bridge');
    must('-n', hub, 'link', 'set', 'bridge', 'up');
    for (const [i, node] of nodes.entries()) {
      this.#add(node);
      const own = this.#ns(node);
      must('-n', hub, 'link', 'add', `to-${node}`, 'type', 'veth', 'peer', 'name', 'net', 'netns', own);
      must('-n', hub, 'link', 'set', `to-${node}`, 'master', 'bridge', 'up');
      must('-n', own, 'addr', 'add', `10.77.0.${i + 2}/24`, 'dev', 'net');
      must('-n', own, 'link', 'set', 'net', 'up');
      for (const [where, device] of [
        [hub, `to-${node}`],
        [own, 'net'],
      ] as const) {
        const netem = ip('netns', 'exec', where, 'tc', 'qdisc', 'add', 'dev', device, 'root', 'netem', 'delay', DELAY, 'loss', LOSS);
        if (!netem.ok) this.delayed = netem.said.split('\n')[0] ?? '';
      }
    }
  }

  #add(name: string): void {
    must('netns', 'add', this.#ns(name));
    this.#made.push(this.#ns(name));
    must('-n', this.#ns(name), 'link', 'set', 'lo', 'up');
  }

  at(node: string): string[] {
    return ['ip', 'netns', 'exec', this.#ns(node)];
  }

  /** Their links go with them. */
  remove(): void {
    for (const name of this.#made.splice(0)) ip('netns', 'del', name);
  }
}

async function inNamespaces(nodes: readonly string[], directory: string, binary: string): Promise<Network> {
  const spaces = new Namespaces();
  const remove = (): void => spaces.remove();
  process.once('exit', remove);
  let server: RunningServer;
  try {
    spaces.make(nodes);
    const script = join(directory, 'nats-server');
    writeFileSync(script, `#!/bin/sh\nexec ${spaces.at('hub').join(' ')} '${binary}' "$@"\n`);
    chmodSync(script, 0o755);
    // The last of two that are the same counts.
    server = await startServer({ binary: script, directory: join(directory, 'server'), port: PORT, config: `listen: "10.77.0.1:${PORT}"` });
  } catch (error) {
    spaces.remove();
    process.off('exit', remove);
    throw error;
  }
  const links =
    spaces.delayed === ''
      ? `links with ${DELAY} of delay each way and ${LOSS} of loss`
      : `links without delay: this kernel has no netem (${spaces.delayed})`;
  return {
    kind: 'namespaces',
    facts: [`${nodes.length} nodes and the server, each in a network namespace of its own, at one bridge`, links],
    server: `nats://10.77.0.1:${PORT}`,
    at: (node) => spaces.at(node),
    close: async () => {
      await server.stop();
      spaces.remove();
      process.off('exit', remove);
    },
  };
}

async function onLoopback(directory: string, binary: string, why: string): Promise<Network> {
  const server = await startServer({ binary, directory: join(directory, 'server') });
  return {
    kind: 'loopback',
    facts: [`all on loopback, without delay: ${why}`],
    server: server.url,
    at: () => [],
    close: () => server.stop(),
  };
}

/** Throws where there is no server to start. */
export async function network(nodes: readonly string[], directory: string, wish: 'loopback' | 'namespaces' | 'any'): Promise<Network> {
  const named = process.env['NATS_SERVER'];
  const found = await findServer(named === undefined || named === '' ? undefined : named);
  if (found === undefined) throw new Error('no nats-server that is new enough: set NATS_SERVER, or run scripts/nats-server');
  if (wish === 'loopback') return onLoopback(directory, found.path, 'as was wished');
  try {
    sweep();
    return await inNamespaces(nodes, directory, found.path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    if (wish === 'namespaces') throw error;
    return onLoopback(directory, found.path, `no namespaces (${why})`);
  }
}

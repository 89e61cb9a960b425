/**
 * Our columns of the rendezvous: a node of the space in another process holds the ring, this process is another node, and the same function
 * walks it by three plans. `startOurs` is called once; `connect` for each link, with what gives the port of a server as it is seen over that
 * link.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join as pathOf } from 'node:path';
import { open, parseId, type ObjectId } from '../src/index.ts';
import { join, type Cluster, type RunOptions } from '../src/services/cluster/cluster.ts';
import { RENDEZVOUS_NODE, type Ring } from './rendezvous-node.ts';
import { walkRing, type Ring as Data, type Walk } from './rendezvous-ring.ts';

export interface Ground {
  /** An empty directory, removed at the end. */
  readonly directory: string;
  readonly ring: Data;
  /** Port of the nats-server; undefined where there is none. */
  readonly nats: number | undefined;
  /** One node serves for all plans: nothing is judged. */
  readonly shared: boolean;
}

export interface Plans {
  /** Chooses by itself. */
  readonly auto: Walk;
  readonly shipData: Walk;
  readonly shipCode: Walk;
  close(): Promise<void>;
}

export interface Ours {
  /** Not to be published, and not to be judged: there is no server to join through. */
  readonly standIn: boolean;
  connect(through: (port: number) => Promise<number>): Promise<Plans>;
  close(): Promise<void>;
}

const walk = (ring: Ring, start: number, hops: number): readonly [number, number] => {
  let place = ring.places.get(start);
  let sum = 0;
  for (let i = 0; i < hops && place !== null; i++) {
    sum += place.value;
    place = place.next;
  }
  return [place?.at ?? -1, sum];
};

function standIn(ring: Data): Ours {
  const here: Walk = async (start, hops) => walkRing(ring, start, hops);
  return {
    standIn: true,
    connect: async () => ({ auto: here, shipData: here, shipCode: here, close: async () => undefined }),
    close: async () => undefined,
  };
}

type Walker = (options: RunOptions) => Walk;

/** Each plan has a node of its own, so that what one brings here is not there for the others. */
class Party {
  readonly #clusters: Cluster[] = [];
  readonly #directory: string;
  readonly #server: string;
  readonly #ring: ObjectId;

  constructor(directory: string, server: string, ring: ObjectId) {
    this.#directory = directory;
    this.#server = server;
    this.#ring = ring;
  }

  async walker(name: string): Promise<Walker> {
    const space = open(pathOf(this.#directory, name));
    const cluster = await join(space, { servers: [this.#server], name, runs: false, patience: 120_000 });
    this.#clusters.push(cluster);
    const ring = cluster.reference(this.#ring);
    return (options) => async (start, hops) => {
      const [at, sum] = await cluster.runWith(options, walk, ring, start, hops);
      return { at, sum };
    };
  }

  async close(): Promise<void> {
    for (const cluster of this.#clusters) {
      await cluster.leave();
      cluster.space.close();
    }
  }
}

export async function startOurs({ directory, ring, nats, shared }: Ground): Promise<Ours> {
  if (nats === undefined) return standIn(ring);
  const holder: ChildProcess = fork(RENDEZVOUS_NODE, [pathOf(directory, 'holder'), `nats://127.0.0.1:${nats}`, String(ring.next.length)]);
  const [id] = await once(holder, 'message');
  let links = 0;
  return {
    standIn: false,
    connect: async (through) => {
      const party = new Party(directory, `nats://127.0.0.1:${await through(nats)}`, parseId(String(id)));
      const link = ++links;
      const auto = await party.walker(`auto-${link}`);
      const data = shared ? auto : await party.walker(`data-${link}`);
      const code = shared ? auto : await party.walker(`code-${link}`);
      return {
        auto: auto({}),
        shipData: data({ ship: 'data' }),
        shipCode: code({ ship: 'code' }),
        close: () => party.close(),
      };
    },
    close: async () => {
      const gone = once(holder, 'exit');
      holder.disconnect();
      await gone;
    },
  };
}

/**
 * A node of the benchmarks of many machines: `mobility-node.js DIRECTORY SERVER NAME`. It joins, and then does what it is told, one task
 * after the other. What it makes and what both sides use of that is here, too.
 */
import { fileURLToPath } from 'node:url';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { f64, objectOf, open, parseId, ref, struct, u32, vec, type Infer, type ObjectId, type Space } from '../src/index.ts';
import { join, type Cluster } from '../src/services/cluster/cluster.ts';
import { generator, nanoseconds } from './harness.ts';
import { endTurns, Shared, turnsOf, type TurnsAsked } from './reuse-turns.ts';

export const MOBILITY_NODE: string = fileURLToPath(import.meta.url);

/** A large object: numbers, one behind the other. */
export const Numbers = struct('Numbers', { values: vec(f64) });

/** A small object, and what it leads to. */
export const Leaf = struct('Leaf', {
  value: u32,
  get next() {
    return ref(Leaf);
  },
  get aside() {
    return ref(Leaf);
  },
});
export type Leaf = Infer<typeof Leaf>;

export const Stamp = struct('Stamp', { at: f64, count: u32 });

/** Answers of a plain client: what it is asked for is a message of so many bytes, or what came. */
export const ECHO = 'plain.echo';
export const PIECES = 'plain.pieces';

const MS = 120_000;

interface Node {
  readonly space: Space;
  readonly cluster: Cluster;
  readonly server: string;
}

let plain: NatsConnection | undefined;

const TASKS = {
  /** `kind`: what the bytes are like: numbers that a compressor makes nothing of, or a table as there are many. */
  async numbers({ space }: Node, count: number, kind: 'noise' | 'table'): Promise<ObjectId> {
    const random = generator(count);
    const made = space.relaxed(() => space.create(Numbers));
    for (let at = 0; at < count; at += 1 << 17) {
      const length = Math.min(1 << 17, count - at);
      const values = new Float64Array(length);
      if (kind === 'noise') {
        const words = new Uint32Array(values.buffer);
        for (let i = 0; i < words.length; i++) words[i] = random(2 ** 32);
      } else for (let i = 0; i < length; i++) values[i] = 20_000 + random(400) / 4 + ((at + i) >> 6);
      space.relaxed(() => made.values.extend(values));
    }
    // As it is when it has been there for a while.
    space.checkpoint();
    return objectOf(made).id;
  },

  /** A list of objects; of each `every` one something else hangs that no walk looks at. */
  async list({ space }: Node, count: number, every: number): Promise<ObjectId> {
    let first: Leaf | null = null;
    for (let at = 0; at < count; at += 100)
      space.relaxed(() => {
        for (let value = count - 1 - at; value >= Math.max(0, count - at - 100); value--) {
          const aside = every > 0 && value % every === 0 ? space.create(Leaf, { value: 1 }) : null;
          first = space.create(Leaf, { value, aside, next: first });
        }
      });
    if (first === null) throw new Error('no list');
    return objectOf(first).id;
  },

  async stamp({ space }: Node): Promise<ObjectId> {
    return objectOf(space.relaxed(() => space.create(Stamp))).id;
  },

  /** Stores when it does so, and gives how long that took in microseconds. */
  async store({ space, cluster }: Node, id: string, outlives: boolean): Promise<number> {
    const stamp = space.get(parseId(id), Stamp);
    const begun = nanoseconds();
    const body = (): void => {
      stamp.at = nanoseconds();
      stamp.count++;
    };
    if (outlives) await cluster.commit(body);
    else space.relaxed(body);
    return (nanoseconds() - begun) / 1000;
  },

  async plain({ server }: Node): Promise<void> {
    if (plain !== undefined) return;
    plain = await connect({ servers: server });
    plain.subscribe(ECHO, { callback: (_error, message) => void message.respond(message.data) });
    plain.subscribe(PIECES, { callback: (_error, message) => void message.respond(new Uint8Array(Number(message.string())).fill(7)) });
    await plain.flush();
  },

  async shared({ space }: Node): Promise<ObjectId> {
    return objectOf(space.relaxed(() => space.create(Shared))).id;
  },

  turns: ({ space, cluster, server }: Node, asked: TurnsAsked) => turnsOf(space, cluster, server, asked),
};

export type Tasks = typeof TASKS;
export type TaskName = keyof Tasks;
export type ArgumentsOf<K extends TaskName> = Tasks[K] extends (node: Node, ...rest: infer A) => unknown ? A : never;
export type GivenBy<K extends TaskName> = Awaited<ReturnType<Tasks[K]>>;

export interface Told {
  readonly number: number;
  readonly task: TaskName;
  readonly given: readonly unknown[];
}

export interface Done {
  readonly number: number;
  readonly value?: unknown;
  readonly error?: string;
}

async function main(): Promise<void> {
  const [, , directory = '', server = '', name = ''] = process.argv;
  const space = open(directory);
  const cluster = await join(space, { servers: [server], name, patience: MS });
  const node: Node = { space, cluster, server };
  const say = (done: Done | 'ready'): void => void process.send?.(done);
  process.on('message', ({ number, task, given }: Told) => {
    const run = TASKS[task] as (node: Node, ...given: readonly unknown[]) => Promise<unknown>;
    run(node, ...given).then(
      (value) => say({ number, value }),
      (error: unknown) => say({ number, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
  process.once('disconnect', () => {
    void Promise.all([plain?.close(), endTurns(), cluster.leave()]).then(() => {
      space.close();
      process.exit(0);
    });
  });
  say('ready');
}

if (process.argv[1] === MOBILITY_NODE) await main();

/** Several processes at one store: YCSB A by eight of them, how evenly they get on, and what a writer costs a reader. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { open } from '../src/index.ts';
import { valueOf } from './entries.ts';
import { compare, type Benchmark, type Context, type Side } from './harness.ts';
import { isAbsent, lmdb } from './peers.ts';
import { fillStore, inLmdb } from './stores.ts';
import { FIELD, FIELDS, KEYS } from './ycsb.ts';

const CHILD = fileURLToPath(new URL('sharing-child.js', import.meta.url));
const PROCESSES = 8;

export interface Task {
  readonly kind: 'ours' | 'lmdb';
  readonly path: string;
  readonly role: 'relaxed' | 'durable' | 'reader';
  readonly records: number;
  readonly count: number;
}

/** A process that does tasks, one after the other. */
class Child {
  readonly #process = spawn(process.execPath, [CHILD], { stdio: ['pipe', 'pipe', 'inherit'] });
  readonly #lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  readonly #gone = new Promise<void>((resolve) => this.#process.once('close', () => resolve()));

  tell(line: string): void {
    this.#process.stdin.write(`${line}\n`);
  }

  async hear(): Promise<string> {
    return String((await this.#lines.next()).value);
  }

  async end(): Promise<void> {
    this.#process.stdin.end();
    await this.#gone;
  }
}

/** Each task has a process of its own. Where nothing is judged, those that are there do the next ones, too. */
class Crowd {
  readonly #stays: boolean;
  #idle: Child[] = [];

  constructor(stays: boolean) {
    this.#stays = stays;
  }

  /** Does the tasks, each in one process, all from the same moment on; how many nanoseconds each took. */
  async together(tasks: readonly Task[]): Promise<number[]> {
    const children = tasks.map((task, i) => {
      const child = this.#idle.pop() ?? new Child();
      child.tell(JSON.stringify({ ...task, seed: 41 + i }));
      return child;
    });
    for (const child of children) if ((await child.hear()) !== 'ready') throw new Error('a process of the benchmark failed');
    for (const child of children) child.tell('go');
    const times: number[] = [];
    for (const child of children) times.push(Number.parseFloat(await child.hear()));
    if (this.#stays) this.#idle.push(...children);
    else for (const child of children) await child.end();
    return times;
  }

  async end(): Promise<void> {
    for (const child of this.#idle) await child.end();
    this.#idle = [];
  }
}

/** Operations a second of all together, while all are at work. */
function rateOf(all: Crowd, name: string, note: string | undefined, processes: number, task: Task): Side {
  return {
    name,
    ...(note === undefined ? {} : { note }),
    measure: async () => {
      const times = await all.together(Array.from({ length: processes }, () => task));
      return (processes * task.count * 1e9) / Math.max(...times);
    },
  };
}

async function run(context: Context): Promise<void> {
  const crowd = new Crowd(context.quick);
  try {
    await compareAll(context, crowd);
  } finally {
    await crowd.end();
  }
}

async function compareAll(context: Context, all: Crowd): Promise<void> {
  const { directory } = context;
  const processes = context.size(PROCESSES, 2);
  const records = context.size(100_000, 300);
  const path = join(directory, 'ours');
  const space = open(path);
  const map = space.relaxed(() => {
    const made = space.create(KEYS.hash);
    space.names.set('/records', made);
    return made;
  });
  for (let i = 0; i < records; i += 1000)
    space.relaxed(() => {
      for (let j = i; j < Math.min(records, i + 1000); j++) map.set(KEYS.of(j), valueOf(j, 0, FIELDS * FIELD));
    });
  space.close();
  const peer = lmdb();
  const filled = await inLmdb(directory, KEYS, 'noSync');
  if (!('absent' in filled)) {
    await fillStore(filled, KEYS, records, (i) => valueOf(i, 0, FIELDS * FIELD));
    await filled.close();
  }
  const theirPath = 'absent' in filled ? '' : filled.path;
  const absent = isAbsent(peer) ? { name: 'lmdb', absent: peer.absent } : undefined;
  for (const role of ['relaxed', 'durable'] as const) {
    const count = context.size(role === 'relaxed' ? 50_000 : 4000, 20);
    const note =
      role === 'relaxed' ? 'lmdb noSync: a power failure may corrupt the file' : 'lmdb: overlappingSync off; 64 in flight in each process';
    await compare(context, 'sharing', {
      name: `YCSB A, ${PROCESSES} processes, ${role}`,
      unit: 'ops/s',
      better: 'higher',
      ours: rateOf(all, 'hashMap', undefined, processes, { kind: 'ours', path, role, records, count }),
      peers: [{ side: absent ?? rateOf(all, 'lmdb', note, processes, { kind: 'lmdb', path: theirPath, role, records, count }), target: 3 }],
    });
  }

  // How much longer the last of the eight took than the first.
  const relaxed: Task = { kind: 'ours', path, role: 'relaxed', records, count: context.size(20_000, 20) };
  const spread =
    (task: Task): (() => Promise<number>) =>
    async () => {
      const times = await all.together(Array.from({ length: processes }, () => task));
      return Math.max(...times) / Math.min(...times);
    };
  await compare(context, 'sharing', {
    name: `YCSB A, ${PROCESSES} processes, slowest to fastest`,
    unit: 'x',
    better: 'lower',
    ours: { name: 'hashMap', measure: spread(relaxed) },
    peers: [{ side: absent ?? { name: 'lmdb', measure: spread({ ...relaxed, kind: 'lmdb', path: theirPath }) } }],
  });

  // A reader beside a writer, and beside a reader that keeps the other processor as busy.
  const reads = context.size(1_000_000, 100);
  const reader: Task = { kind: 'ours', path, role: 'reader', records, count: reads };
  const beside =
    (other: Task): (() => Promise<number>) =>
    async () => {
      const [time = Number.NaN] = await all.together([reader, other]);
      return time / reads;
    };
  await compare(context, 'sharing', {
    name: 'a reader beside a writer',
    unit: 'ns/read',
    better: 'lower',
    ours: { name: 'hashMap', measure: beside({ ...relaxed, count: context.size(200_000, 20) }) },
    peers: [{ side: { name: 'the same beside a reader', measure: beside({ ...reader, count: reads * 2 }) }, target: 1.2, reference: true }],
  });
}

export const sharing: Benchmark = {
  name: 'sharing',
  about: 'Eight processes at one store: YCSB A against lmdb, how evenly they get on, and what a writer costs a reader.',
  run,
};

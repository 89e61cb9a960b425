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

interface Task {
  readonly kind: 'ours' | 'lmdb';
  readonly path: string;
  readonly role: 'relaxed' | 'durable' | 'reader';
  readonly records: number;
  readonly count: number;
}

/** Runs one process for each task, all from the same moment on; how many nanoseconds each took. */
async function together(tasks: readonly Task[]): Promise<number[]> {
  const children = tasks.map(({ kind, path, role, records, count }, i) => {
    const child = spawn(process.execPath, [CHILD, kind, path, role, String(records), String(count), String(41 + i)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
    return { child, lines, gone };
  });
  for (const { lines } of children) if ((await lines.next()).value !== 'ready') throw new Error('a process of the benchmark failed');
  for (const { child } of children) child.stdin.write('go\n');
  const times: number[] = [];
  for (const { lines } of children) times.push(Number.parseFloat(String((await lines.next()).value)));
  for (const { gone } of children) await gone;
  return times;
}

/** Operations a second of all together, while all are at work. */
function crowd(name: string, note: string | undefined, processes: number, task: Task): Side {
  return {
    name,
    ...(note === undefined ? {} : { note }),
    measure: async () => {
      const times = await together(Array.from({ length: processes }, () => task));
      return (processes * task.count * 1e9) / Math.max(...times);
    },
  };
}

async function run(context: Context): Promise<void> {
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
      ours: crowd('hashMap', undefined, processes, { kind: 'ours', path, role, records, count }),
      peers: [{ side: absent ?? crowd('lmdb', note, processes, { kind: 'lmdb', path: theirPath, role, records, count }), target: 3 }],
    });
  }

  // How much longer the last of the eight took than the first.
  const relaxed: Task = { kind: 'ours', path, role: 'relaxed', records, count: context.size(20_000, 20) };
  const spread =
    (task: Task): (() => Promise<number>) =>
    async () => {
      const times = await together(Array.from({ length: processes }, () => task));
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
      const [time = Number.NaN] = await together([reader, other]);
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

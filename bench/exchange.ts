/** What takes one round trip: a small run on another node, and a commit until it is seen there. */
import { parseId, type ObjectId } from '../src/index.ts';
import type { Cluster } from '../src/services/cluster/cluster.ts';
import { compare, median, nanoseconds, type Benchmark, type Context, type Side } from './harness.ts';
import { onGround, type Ground } from './ground.ts';
import { ECHO, Stamp } from './mobility-node.ts';

const PAYLOAD = new Uint8Array(64).fill(1);

/** Microseconds of a call, one at a time. */
function single(name: string, count: number, call: () => Promise<unknown>): Side {
  return {
    name,
    measure: async () => {
      const took: number[] = [];
      for (let i = 0; i < count; i++) {
        const begun = nanoseconds();
        await call();
        took.push((nanoseconds() - begun) / 1000);
      }
      return median(took);
    },
  };
}

async function smallRuns(context: Context, ground: Ground): Promise<void> {
  const far = await ground.far();
  const client = await ground.plain();
  const id = parseId(await far.do('stamp'));
  const count = context.size(2000, 20);
  await ground.near(async (cluster) => {
    const stamp = cluster.reference(id);
    const add = (to: { readonly count: number }, more: number): number => to.count + more;
    const call = (): Promise<number> => cluster.runWith({ ship: 'code' }, add, stamp, 5);
    for (let i = 0; i < context.size(2000, 2); i++) await call();
    await compare(context, 'smallrun', {
      name: 'a function sent to an object, warm',
      unit: 'us',
      better: 'lower',
      ours: single('run', count, call),
      peers: [{ side: single('one request of a plain client of the engine', count, () => client.request(ECHO, PAYLOAD)), target: 1.3 }],
    });
  });
}

export const smallrun: Benchmark = {
  name: 'smallrun',
  about:
    'a small function that runs on another node over loopback, warm, beside one request and its answer of a plain client of the engine',
  run: (context) => onGround(context, 'smallrun', (ground) => smallRuns(context, ground)),
};

/** Milliseconds from the call that stores on one node until the program of another has seen it, each. */
async function seen(ground: Ground, cluster: Cluster, id: ObjectId, count: number, outlives: boolean): Promise<number> {
  const far = await ground.far();
  const { space } = cluster;
  const stamp = space.get(id, Stamp);
  const took: number[] = [];
  for (let i = 0; i < count; i++) {
    const before = stamp.count;
    const noticed = new Promise<void>((resolve) => {
      const watch = space.watch(stamp, ({ count: now, at }) => {
        if (now === before) return;
        took.push((nanoseconds() - at) / 1e6);
        watch.close();
        resolve();
      });
    });
    await far.do('store', id, outlives);
    await noticed;
  }
  return median(took);
}

async function views(context: Context, ground: Ground): Promise<void> {
  const far = await ground.far();
  const id = parseId(await far.do('stamp'));
  const count = context.size(300, 5);
  await ground.near(async (cluster) => {
    await cluster.bring(id);
    await compare(context, 'view', {
      name: 'a commit until another node has seen it (p50)',
      unit: 'ms',
      better: 'lower',
      ours: { name: 'relaxed', measure: () => seen(ground, cluster, id, count, false) },
      peers: [{ side: { name: 'cluster.commit', measure: () => seen(ground, cluster, id, count, true) }, reference: true }],
      limit: 2,
    });
  });
}

export const view: Benchmark = {
  name: 'view',
  about: 'a commit on one node, until a watch on another one has told of it',
  run: (context) => onGround(context, 'view', (ground) => views(context, ground)),
};

/**
 * What being judged costs: a capability that nobody has looked at before, a verdict that is kept, and what a program with contexts pays for
 * loads and stores beside one without.
 *
 * The reference of a first judgement is its signature alone, checked by node:crypto with a key that is at hand. The first judgement reads the
 * object's header, the capability and the key as well, and looks whether it was revoked.
 */
import { createPublicKey, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { objectOf, open, struct, u32, type ObjectId, type Space } from '../src/index.ts';
import { ContextAuthority } from '../src/kernel/security/authority.ts';
import type { Handle } from '../src/kernel/object.ts';
import { type Benchmark, type Context, type Side, compare, timeEach } from './harness.ts';

const Cell = struct('Cell', { n: u32 });

interface World {
  readonly space: Space;
  readonly context: ObjectId;
  /** As many sealed objects as asked for, each with a capability of that many delegations for the context. */
  readonly fresh: (count: number, delegations: number) => Handle[];
}

function worldIn(directory: string): World {
  const space = open(directory);
  const { security, kernel } = space;
  const key = security.createKey();
  const parties = Array.from({ length: 4 }, () => {
    const own = security.createKey();
    return { own, context: security.createContext({ key: own.id }) };
  });
  const context = security.createContext();
  const fresh = (count: number, delegations: number): Handle[] =>
    space.relaxed(() =>
      Array.from({ length: count }, () => {
        const { id } = objectOf(space.create(Cell, { n: 1 }, { key: key.id, rights: 0 }));
        const to = (i: number): ObjectId => (i === delegations ? context : (parties[i]?.context ?? context));
        const delegable = delegations > 0;
        let last = security.grant({ target: id, to: to(0), rights: 3, by: key, delegable, insert: !delegable });
        for (let i = 1; i <= delegations; i++) {
          const by = parties[i - 1]?.own ?? key;
          last = security.delegate(last, { to: to(i), by, delegable: i < delegations, insert: i === delegations });
        }
        return kernel.handle(id);
      }),
    );
  return { space, context, fresh };
}

/** Nanoseconds a first judgement. Another program has judged nothing of it before. */
function cold(context: Context, name: string, delegations: number): Side {
  const directory = `${context.directory}/cold${delegations}`;
  let round = 0;
  return {
    name,
    measure: () => {
      const world = worldIn(`${directory}-${round++}`);
      const ids = world.fresh(context.size(300, 4), delegations).map(({ id }) => id);
      world.space.close();
      const space = open(world.space.directory);
      const handles = ids.map((id) => space.kernel.open(id));
      const authority = new ContextAuthority(space.kernel, [world.context]);
      const took = timeEach(handles.length, () => {
        for (const h of handles) if ((authority.rightsTo(h, 1) & 1) === 0) throw new Error('a capability was refused');
      });
      space.close();
      return took;
    },
  };
}

function signatures(count: number, each: number): Side {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const key = createPublicKey(publicKey.export({ format: 'pem', type: 'spki' }));
  const messages = Array.from({ length: count }, () => randomBytes(96));
  const signed = messages.map((message) => sign(null, message, privateKey));
  return {
    name: each === 1 ? 'its signature alone, node:crypto' : `its ${each} signatures alone, node:crypto`,
    measure: () =>
      each *
      timeEach(count, () => {
        for (const [i, message] of messages.entries())
          if (!verify(null, message, key, signed[i] ?? message)) throw new Error('a signature was refused');
      }),
  };
}

function kept(authority: ContextAuthority, handles: readonly Handle[], count: number): () => number {
  return () =>
    timeEach(count, () => {
      let rights = 0;
      for (let i = 0; i < count; i++) rights |= authority.rightsTo(handles[i & 255] as Handle, 1);
      if ((rights & 1) === 0) throw new Error('a capability was refused');
    });
}

function loads(space: Space, id: ObjectId, count: number): () => number {
  const cell = space.get(id, Cell);
  return () =>
    timeEach(count, () => {
      let sum = 0;
      for (let i = 0; i < count; i++) sum += cell.n;
      if (sum === 0) throw new Error('it was one or more');
    });
}

function stores(space: Space, id: ObjectId, count: number): () => number {
  const cell = space.get(id, Cell);
  return () =>
    timeEach(count, () => {
      for (let i = 0; i < count; i++) space.relaxed(() => (cell.n = i | 1));
    });
}

async function run(context: Context): Promise<void> {
  for (const delegations of [0, 3]) {
    const what = delegations === 0 ? 'a capability, judged for the first time' : `one that was handed on ${delegations} times`;
    await compare(context, 'security', {
      name: what,
      unit: 'ns',
      better: 'lower',
      ours: cold(context, 'cold', delegations),
      ...(delegations === 0 ? { limit: 200_000 } : {}),
      peers: [{ side: signatures(context.size(300, 4), delegations + 1), reference: true }],
    });
  }
  const world = worldIn(`${context.directory}/kept`);
  const handles = world.fresh(256, 0);
  const authority = new ContextAuthority(world.space.kernel, [world.context]);
  const map = new Map(handles.map((h) => [h, 1]));
  const count = context.size(2_000_000, 1000);
  const bare: Side = {
    name: 'a look into a Map',
    measure: () =>
      timeEach(count, () => {
        let rights = 0;
        for (let i = 0; i < count; i++) rights |= map.get(handles[i & 255] as Handle) ?? 0;
        if (rights === 0) throw new Error('there is something in it');
      }),
  };
  for (const others of [false, true]) {
    const other = others ? open(world.space.directory) : undefined;
    await compare(context, 'security', {
      name: others ? 'a verdict that is kept, while another has the space open' : 'a verdict that is kept',
      unit: 'ns',
      better: 'lower',
      ours: { name: 'kept', measure: kept(authority, handles, count) },
      limit: 100,
      peers: [{ side: bare, reference: true }],
    });
    other?.close();
  }
  const free = world.space.relaxed(() => objectOf(world.space.create(Cell, { n: 1 })).id);
  world.space.close();
  const plain = open(`${context.directory}/kept`);
  const measured = [
    { name: 'a load', make: loads, count: context.size(20_000_000, 1000) },
    { name: 'a relaxed transaction of one store', make: stores, count: context.size(300_000, 100) },
  ];
  const without = measured.map(({ make, count: n }) => make(plain, free, n));
  // One after the other has the space for itself: being one of several has a price of its own (`sharing`).
  for (const [i, { name, make, count: n }] of measured.entries()) {
    await compare(context, 'security', {
      name,
      unit: 'ns',
      better: 'lower',
      ours: {
        name: 'by a capability',
        measure: () => {
          plain.security.attach(world.context);
          try {
            return make(plain, handles[0]?.id ?? free, n)();
          } finally {
            plain.security.detach(world.context);
            plain.kernel.authority = undefined;
          }
        },
      },
      peers: [{ side: { name: 'without contexts', measure: () => without[i]?.() ?? Number.NaN }, target: 1.1, reference: true }],
    });
  }
  plain.close();
}

export const security: Benchmark = { name: 'security', about: 'judging a capability, first and again; loads and stores by one', run };

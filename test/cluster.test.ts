/** G1, G2, G3, G6, G7, G9, G10, G11, G12, G15, M1: three nodes of one space, joined through a real server. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as pathOf } from 'node:path';
import { after, before, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import {
  isTwzError,
  log,
  open,
  orderedMap,
  ref,
  struct,
  text,
  u32,
  type ErrorName,
  type Infer,
  type Obj,
  type Space,
} from '../src/index.ts';
import { join, mergeCode, mergeCounts, type Cluster } from '../src/services/cluster/cluster.ts';
import { startServer, type RunningServer } from '../src/services/cluster/server.ts';
import { foundServer, noServer } from './engines.ts';

const Node = struct('Node', {
  value: u32,
  get next() {
    return ref(Node);
  },
});
type Node = Infer<typeof Node>;
const Account = struct('Account', { balance: u32 });
const Words = orderedMap(text, u32);
const Journal = log(text);

const skip = { skip: noServer };
const NAMES = ['alice', 'bob', 'carol'] as const;
type Name = (typeof NAMES)[number];

interface Member {
  readonly space: Space;
  readonly cluster: Cluster;
}

const directory = mkdtempSync(pathOf(tmpdir(), 'twz-cluster-'));
let server: RunningServer | undefined;
const members = new Map<Name, Member>();

async function member(name: Name): Promise<Member> {
  const space = open(pathOf(directory, name));
  const cluster = await join(space, { servers: [server?.url ?? ''], name, lease: 1000, patience: 20_000 });
  return { space, cluster };
}

before(async () => {
  if (foundServer === undefined) return;
  server = await startServer({ binary: foundServer.path });
  for (const name of NAMES) members.set(name, await member(name));
});

after(async () => {
  for (const { space, cluster } of members.values()) {
    await cluster.leave();
    space.close();
  }
  await server?.stop();
  rmSync(directory, { recursive: true });
});

function at(name: Name): Member {
  const found = members.get(name);
  assert.ok(found, name);
  return found;
}

async function fails(name: ErrorName, body: () => unknown): Promise<void> {
  await assert.rejects(
    async () => body(),
    (error: unknown) => isTwzError(error, name) || assert.fail(`expected ${name}: ${String(error)}`),
  );
}

/** What is committed elsewhere comes by itself. */
async function until(space: Space, so: () => boolean): Promise<void> {
  for (; !so(); await turn()) space.refresh();
}

function chain(space: Space, length: number): Obj {
  return space.relaxed(() => {
    let first: Node | null = null;
    for (let i = 0; i < length; i++) first = space.create(Node, { value: i, next: first });
    assert.ok(first);
    return space.object(first);
  });
}

test('G1 a reference is followed, and a function run on it, wherever the object is: one program, the same result', skip, async () => {
  const sum = (first: Node | null): number => {
    let total = 0;
    for (let node = first; node !== null; node = node.next) total += node.value;
    return total;
  };
  for (const owner of NAMES) {
    const { id } = chain(at(owner).space, 40);
    for (const name of NAMES) {
      const { space, cluster } = at(name);
      assert.equal(sum(space.get(id, Node)), 780, `${name} follows what ${owner} has`);
      assert.equal(await cluster.run(sum, space.get(id, Node)), 780, `${name} runs on it`);
    }
  }
});

test('G2, G6 an object comes once, with what it refers to; the second touch asks nobody', skip, async () => {
  const { id } = chain(at('alice').space, 300);
  const { space, cluster } = at('bob');
  const before = await cluster.stat();
  let count = 0;
  for (let node: Node | null = space.get(id, Node); node !== null; node = node.next) count++;
  assert.equal(count, 300);
  const then = await cluster.stat();
  assert.equal(Number(then['fetched']) - Number(before['fetched']), 300);
  assert.ok(Number(then['prefetched']) - Number(before['prefetched']) >= 280, 'nearly all came along with others');
  for (let node: Node | null = space.get(id, Node); node !== null; node = node.next) count++;
  assert.equal(count, 600);
  assert.equal((await cluster.stat())['fetched'], then['fetched']);
});

test(
  'G3, G12 a function that a node never saw goes there once, as an object; a run that was asked for twice is done once',
  skip,
  async () => {
    const { space } = at('alice');
    const account = space.relaxed(() => space.create(Account, { balance: 100 }));
    const reference = at('bob').space.get(space.object(account).id, Account);
    const add = (to: Infer<typeof Account>, amount: number): number => (to.balance += amount);
    const run = (amount: number, activation: string): Promise<number> =>
      at('bob').cluster.runWith({ at: 'alice', activation }, add, reference, amount);
    assert.equal(await run(5, 'one'), 105);
    assert.equal(await run(5, 'one'), 105);
    const sent = (await at('bob').cluster.stat())['sentBytes'];
    assert.equal(await run(7, 'two'), 112);
    assert.equal((await at('bob').cluster.stat())['sentBytes'], sent, 'the code was there');
    space.refresh();
    assert.equal(account.balance, 112);
    // What the function throws undoes what it did.
    await fails('RunFailed', () =>
      at('bob').cluster.runWith(
        { at: 'alice' },
        (to: Infer<typeof Account>) => {
          to.balance = 0;
          throw new RangeError('not enough');
        },
        reference,
      ),
    );
    space.refresh();
    assert.equal(account.balance, 112);
  },
);

test('G2 of an object that is large only the pages come that are touched', skip, async () => {
  const { space } = at('alice');
  const words = space.relaxed(() => {
    const made = space.create(Words);
    for (let i = 0; i < 60_000; i++) made.set(`word ${String(i).padStart(6, '0')}`, i);
    return made;
  });
  const { id } = space.object(words);
  const { cluster } = at('bob');
  const before = await cluster.stat();
  const paged = await cluster.paged(id, { ahead: 16 << 10 });
  const total = space.object(id).export().length;
  for (let round = 0; round < 2; round++)
    assert.equal(
      paged.read(() => paged.root(Words).get('word 031415')),
      31_415,
    );
  const fetched = paged.counters()?.fetched ?? 0;
  assert.ok(!paged.byTouch || fetched < total / 5, `${fetched} of ${total} bytes`);
  assert.equal((await cluster.stat())['fetched'], before['fetched'], 'no copy was made');
  await at('alice').cluster.commit(() => words.set('word 0', 7));
  await fails('Stale', () => paged.read(() => [...paged.root(Words).values()].length));
  paged.close();
});

test('G3 a function stands alone: surroundings, promises, instances and text of the system are refused', skip, async () => {
  const { cluster } = at('bob');
  const outside = 5;
  await fails('RunFailed', () => cluster.runWith({ at: 'alice' }, () => outside));
  await fails('CodeInvalid', () => cluster.runWith({ at: 'alice' }, () => Promise.resolve(1)));
  await fails('CodeInvalid', () => cluster.runWith({ at: 'alice' }, Math.max, 1, 2));
  await fails('CodeInvalid', () => cluster.runWith({ at: 'alice' }, (date: Date) => date.getTime(), new Date(0)));
  assert.equal(await cluster.runWith({ at: 'alice' }, () => typeof process + typeof require), 'undefinedundefined');
  await fails('NodeUnknown', () => cluster.runWith({ at: 'dave' }, () => 1));
  assert.deepEqual(
    await cluster.runWith({ at: 'alice' }, (value: unknown) => ({ value, more: [1n, undefined, -0, Number.NaN] }), {
      a: new Uint8Array([1, 2]),
    }),
    { value: { a: new Uint8Array([1, 2]) }, more: [1n, undefined, -0, Number.NaN] },
  );
});

test(
  'G11, G12 a run that does not end is ended at its deadline, with all that it had begun; the node runs others after it',
  skip,
  async () => {
    const { space } = at('alice');
    const account = space.relaxed(() => space.create(Account, { balance: 1 }));
    const there = at('bob').space.get(space.object(account).id, Account);
    const { cluster } = at('bob');
    const forever = (to: Infer<typeof Account>): never => {
      to.balance = 99;
      for (;;);
    };
    await fails('TimedOut', () => cluster.runWith({ at: 'alice', deadline: 300 }, forever, there));
    assert.equal(await cluster.runWith({ at: 'alice', deadline: 30_000 }, (to: Infer<typeof Account>) => to.balance, there), 1);
    assert.equal((await at('alice').cluster.stat())['stopped'], 1);
  },
);

test('G4 what nodes tell of themselves counts where a run is to be: load, speed, and what has come to them', skip, async () => {
  const { space } = at('alice');
  const { id } = chain(space, 10);
  const { cluster } = at('bob');
  const length = (first: Node | null): number => {
    let [count, waste] = [0, 0];
    for (let node = first; node !== null; node = node.next) count++;
    for (let i = 0; i < 2_000_000; i++) waste = (waste + i) | 0;
    return waste === 1 ? 0 : count;
  };
  const there = cluster.reference(id);
  const candidate = async (name: Name) => {
    const { data } = await cluster.explain(length, there);
    return data.candidates.find(({ place }) => place === at(name).cluster.id) ?? assert.fail(`${name} is no candidate`);
  };
  const [data] = (await candidate('carol')).arguments;
  assert.equal(data?.way, 'whole');
  assert.equal(await cluster.runWith({ at: 'carol' }, length, there), 10);
  const [came] = (await candidate('carol')).arguments;
  assert.equal(came?.way, 'there', 'where it has come it does not have to come again');
  assert.equal((await candidate('alice')).parts.waiting, undefined);
  const long = at('carol').cluster.runWith({ at: 'alice', deadline: 2000 }, () => {
    for (;;);
  });
  const ended = assert.rejects(long, (error: unknown) => isTwzError(error, 'TimedOut'));
  for (const until = Date.now() + 10_000; ((await candidate('alice')).parts.waiting ?? 0) === 0; await turn())
    assert.ok(Date.now() < until, 'nobody hears that Alice is busy');
  assert.equal((await candidate('carol')).parts.waiting, undefined);
  await ended;
  const [first] = await cluster.nodes();
  assert.deepEqual([first?.runs, first?.speed], [true, 1]);
  await fails('InvalidArgument', () => join(open(pathOf(directory, 'slow')), { servers: [server?.url ?? ''], speed: 0 }));
});

test('G3 a result that is an object is a reference; it comes when it is looked at', skip, async () => {
  const { space } = at('alice');
  const first = chain(space, 3);
  const { cluster } = at('carol');
  const before = (await cluster.stat())['fetched'];
  const second = await cluster.runWith({ at: 'alice' }, (node: Node) => node.next, space.get(first.id, Node));
  assert.equal((await cluster.stat())['fetched'], before);
  assert.equal(second?.value, 1);
  assert.equal(second.next?.value, 0);
});

test('G9 an object is stored to on every node in turn; a reference held across 12 moves goes on', skip, async () => {
  const { space } = at('alice');
  const account = space.relaxed(() => space.create(Account, { balance: 0 }));
  const { id } = space.object(account);
  const held = new Map(NAMES.map((name) => [name, at(name).space.get(id, Account)]));
  for (let i = 1; i <= 12; i++) {
    const name = NAMES[i % 3] ?? 'alice';
    const mine = held.get(name);
    assert.ok(mine);
    const now = await at(name).cluster.commit(() => ++mine.balance);
    assert.equal(now, i, `${name} sees what was committed before`);
  }
  for (const [name, mine] of held) {
    await at(name).cluster.fresh(id);
    assert.equal(mine.balance, 12, name);
  }
  assert.equal(await at('bob').cluster.where(id), at('alice').cluster.id);
});

test('G9 who is told of a version reads at that version, or learns that it does not come', skip, async () => {
  const { space, cluster } = at('alice');
  const account = space.relaxed(() => space.create(Account, { balance: 0 }));
  const { id } = space.object(account);
  const { space: there, cluster: bob } = at('bob');
  const mine = there.get(id, Account);
  let version = await cluster.version(id);
  for (let i = 1; i <= 20; i++) {
    space.relaxed(() => (account.balance = i));
    const next = await cluster.version(id);
    assert.ok(next > version, `${next} after ${version}`);
    await bob.at(id, next);
    assert.equal(mine.balance, i);
    version = next;
  }
  assert.equal(await bob.version(id), version);
  await bob.at(id, 0);
  await fails('Stale', () => bob.at(id, version + 1, 50));
  // Who has none of it gets it first; and who owns it has no later one.
  await at('carol').cluster.at(id, version);
  await fails('Stale', () => cluster.at(id, version + 1, 50));
});

test('G10 objects that are written together are never seen apart', skip, async () => {
  const { space, cluster } = at('alice');
  const [a, b] = space.relaxed(() => [space.create(Account, { balance: 0 }), space.create(Account, { balance: 1000 })] as const);
  const ids = [space.object(a).id, space.object(b).id] as const;
  const there = at('bob').space;
  const [c, d] = [there.get(ids[0], Account), there.get(ids[1], Account)];
  for (let i = 0; i < 30; i++) {
    await cluster.commit(() => {
      a.balance += 10;
      b.balance -= 10;
    });
    there.refresh();
    assert.equal(c.balance + d.balance, 1000);
  }
  await until(there, () => c.balance === 300);
  assert.equal(d.balance, 700);
  // And a transaction over objects of two owners has both, or neither.
  await at('bob').cluster.own(ids[1]);
  space.relaxed(() => {
    a.balance -= 300;
    b.balance += 300;
  });
  await until(there, () => d.balance === 1000);
  assert.equal(c.balance, 0);
});

test(
  'M1 what is immutable is checked by its content and never followed; collections with parts grow where they are followed; what stays, stays',
  skip,
  async () => {
    const { space, cluster } = at('alice');
    const there = at('carol').space;
    const words = space.relaxed(() => space.create(Words));
    const { id } = space.object(words);
    const map = there.get(id, Words);
    assert.equal(map.size, 0);
    await cluster.commit(() => {
      for (let i = 0; i < 5000; i++) words.set(`word ${i}`, i);
    });
    await until(there, () => map.size === 5000);
    assert.equal(map.get('word 4321'), 4321);
    const sealed = space.relaxed(() => space.seal(words));
    assert.equal(there.get(sealed, Words).get('word 17'), 17);
    assert.equal(there.object(sealed).kind, 'immutable');
    const shared = space.relaxed(() => space.createRaw(64, { kind: 'shared' }));
    await fails('NotSupported', () => there.object(shared.id).size);
    await fails('ObjectMissing', () => there.get('0123456789abcdef0123456789abcdef' as typeof id, Account));
  },
);

test('M1, G8 append-only and progressive objects: who does not own appends, and everybody stores to what is merged', skip, async () => {
  const { space, cluster } = at('alice');
  const journal = space.relaxed(() => space.create(Journal, ['first'], { kind: 'append-only' }));
  const { id } = space.object(journal);
  assert.equal(await at('bob').cluster.append(id, 'second'), 1);
  const there = at('bob').space.get(id, Journal);
  const numbers = await Promise.all(['x', 'y', 'x'].map((note) => at('carol').cluster.append(id, note, { activation: note })));
  assert.equal(numbers[0], numbers[2]);
  assert.deepEqual(new Set(numbers), new Set([2, 3]));
  await until(at('bob').space, () => there.length === 4);
  space.refresh();
  assert.deepEqual(there.toArray(), journal.toArray());
  assert.equal(await at('bob').cluster.where(id), cluster.id);
  await fails('AppendOnly', () => at('alice').space.relaxed(() => journal.trim(1)));

  const merge = mergeCode<Infer<typeof Words>>(space, mergeCounts);
  const counts = space.relaxed(() => space.create(Words, [], { kind: 'progressive', merge }));
  const shared = space.object(counts).id;
  await cluster.commit(() => counts.set('alice', 1));
  const [bobs, carols] = [at('bob').space.get(shared, Words), at('carol').space.get(shared, Words)];
  // Each on its own version, at once, without asking anybody.
  space.relaxed(() => counts.set('alice', 5));
  at('bob').space.relaxed(() => bobs.set('bob', 7));
  at('carol').space.relaxed(() => carols.set('carol', 9));
  const all = '[["alice",5],["bob",7],["carol",9]]';
  for (const [name, mine] of [
    ['alice', counts],
    ['bob', bobs],
    ['carol', carols],
  ] as const) {
    await until(at(name).space, () => JSON.stringify([...mine]) === all);
    await at(name).cluster.merge(shared);
  }
  await fails('NotSupported', () => cluster.merge(id));
  await fails('NotSupported', () => cluster.append(shared, 1));
});

test(
  'G11, G13 a node that is gone: what it had shared goes on where a copy is, what it had acknowledged is there, the rest says so',
  skip,
  async () => {
    const { space, cluster } = at('carol');
    const [kept, lost] = space.relaxed(() => [space.create(Account, { balance: 1 }), space.create(Account, { balance: 2 })] as const);
    const [keptId, lostId] = [space.object(kept).id, space.object(lost).id];
    await cluster.commit(() => (kept.balance = 11));
    const seen = at('bob').space.get(keptId, Account);
    assert.equal(seen.balance, 11);
    await cluster.leave();
    space.close();
    members.delete('carol');
    // Bob has a copy, and becomes the owner; Alice has none and gets it from him, or from the engine.
    await at('bob').cluster.commit(() => (seen.balance += 5));
    assert.equal(at('alice').space.get(keptId, Account).balance, 16);
    await fails('ObjectMissing', () => at('alice').space.get(lostId, Account));
    members.set('carol', await member('carol'));
    const again = at('carol').space.get(keptId, Account);
    await at('carol').cluster.fresh(keptId);
    assert.equal(again.balance, 16);
    assert.equal(at('alice').space.get(lostId, Account).balance, 2);
  },
);

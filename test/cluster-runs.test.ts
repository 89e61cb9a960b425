/** G3, G5, G11, G12: functions that run elsewhere and are more than one transaction: nested, spawned, streamed, with rights and limits. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as pathOf } from 'node:path';
import { after, before, test } from 'node:test';
import { isTwzError, open, struct, u32, type ErrorName, type Infer, type Space } from '../src/index.ts';
import { join, type Cluster } from '../src/services/cluster/cluster.ts';
import { startServer, type RunningServer } from '../src/services/cluster/server.ts';
import { foundServer, noServer } from './engines.ts';

const Account = struct('Account', { balance: u32 });
type Account = Infer<typeof Account>;

const skip = { skip: noServer };
const directory = mkdtempSync(pathOf(tmpdir(), 'twz-runs-'));
let server: RunningServer | undefined;
const members = new Map<string, { readonly space: Space; readonly cluster: Cluster }>();

before(async () => {
  if (foundServer === undefined) return;
  server = await startServer({ binary: foundServer.path });
  for (const name of ['alice', 'bob']) {
    const space = open(pathOf(directory, name));
    const cluster = await join(space, { servers: [server.url], name, lease: 1000, patience: 20_000, threads: 4 });
    members.set(name, { space, cluster });
  }
});

after(async () => {
  for (const { space, cluster } of members.values()) {
    await cluster.leave();
    space.close();
  }
  await server?.stop();
  rmSync(directory, { recursive: true });
});

function at(name: string) {
  return members.get(name) ?? assert.fail(name);
}

async function fails(name: ErrorName, body: () => unknown): Promise<void> {
  await assert.rejects(
    async () => body(),
    (error: unknown) => isTwzError(error, name) || assert.fail(`expected ${name}: ${String(error)}`),
  );
}

function account(space: Space, balance: number): Account {
  return space.relaxed(() => space.create(Account, { balance }));
}

test('G3, G5 an async function makes transactions and runs others; the same program with one machine and with many', skip, async () => {
  const program = async (space: Space, options: { readonly at?: string }) => {
    const first = account(space, 100);
    return space.runWith(
      options,
      async (from: Account, amount: number) => {
        const Mine = struct('Account', { balance: u32 });
        const to = space.relaxed(() => {
          from.balance -= amount;
          return space.create(Mine, { balance: amount });
        });
        const more = await space.run((into: Account) => (into.balance += 1), to);
        return { to, more, left: from.balance };
      },
      first,
      30,
    );
  };
  const alone = open(pathOf(directory, 'alone'));
  const [here, there] = [await program(alone, {}), await program(at('bob').space, { at: 'alice' })];
  for (const { to, more, left } of [here, there]) assert.deepEqual([to.balance, more, left], [31, 31, 70]);
  alone.close();
});

test('G3 values and references come as a generator gives them; who wants no more ends it', skip, async () => {
  const { space } = at('bob');
  const counting = function* (count: number) {
    const Mine = struct('Account', { balance: u32 });
    for (let i = 0; i < count; i++) yield i % 2 === 0 ? i : space.relaxed(() => space.create(Mine, { balance: i }));
  };
  const got: number[] = [];
  for await (const each of space.streamWith({ at: 'alice' }, counting, 7)) got.push(typeof each === 'number' ? each : each.balance);
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6]);
  for await (const each of space.streamWith({ at: 'alice' }, counting, 1e9)) if (each === 4) break;
  for await (const each of space.streamWith({ at: 'bob' }, counting, 1e9)) if (each === 4) break;
});

test('G12 what is spawned is asked for its result, from any node', skip, async () => {
  const { space, cluster } = at('bob');
  const spawned = space.spawnWith({ at: 'alice' }, async (n: number) => n * 2, 21);
  assert.equal(await spawned.result, 42);
  assert.equal((await spawned.status()).state, 'done');
  assert.equal(await at('alice').cluster.spawned(spawned.id).result, 42);
  await fails('RunLost', () => cluster.spawned('nobody').result);
});

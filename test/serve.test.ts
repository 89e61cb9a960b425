/** P1, P3, T13: a space served to other users of the machine: what may be read is memory, what may be written is judged. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { test, type TestContext } from 'node:test';
import {
  RIGHT,
  connect,
  isTwzError,
  serve,
  type Infer,
  type ObjectId,
  type ServedSpace,
  type Serving,
  type ServeOptions,
  type SigningKey,
  type Space,
} from '../src/index.ts';
import { encodeChain } from '../src/abi/security-format.ts';
import { Ground, rejects } from './hosts.ts';
import { signed } from './security-world.ts';
import { Leaf, Pair, tamper } from './serve-client.ts';
import { MAIN } from './twz.ts';
import { until } from './until.ts';

interface Scene {
  readonly space: Space;
  readonly pair: Infer<typeof Pair>;
  readonly id: ObjectId;
  readonly serving: Serving;
  readonly client: (options?: Parameters<typeof connect>[1]) => Promise<ServedSpace>;
}

async function scene(t: TestContext, options: ServeOptions = {}): Promise<Scene> {
  const ground = new Ground('linux', t);
  // The socket lies beside the directory, where everybody may come.
  fs.chmodSync(dirname(ground.directory), 0o755);
  const space = ground.open();
  const pair = space.relaxed(() => {
    const leaf = space.create(Leaf, { n: 1, name: 'leaf' });
    const made = space.create(Pair, { n: 1, name: 'pair', other: leaf });
    space.names.set('/pair', made);
    return made;
  });
  const serving = await serve(space, options);
  t.after(() => serving.close());
  const clients: ServedSpace[] = [];
  t.after(() => clients.forEach((each) => each.close()));
  return {
    space,
    pair,
    id: space.object(pair).id,
    serving,
    client: async (how) => {
      const client = await connect(serving.socket, how);
      clients.push(client);
      return client;
    },
  };
}

test('T13 a client reads objects as memory, follows references, and sees what is committed', async (t) => {
  const { space, pair, id, client } = await scene(t);
  const one = await client();
  assert.equal(await one.lookup('/pair'), id);
  assert.equal(await one.lookup('/nothing'), undefined);
  const there = await one.get(id, Pair);
  assert.deepEqual(await one.read(() => [there.n, there.name, there.other?.n, there.other?.name]), [1, 'pair', 1, 'leaf']);
  space.relaxed(() => {
    pair.n = 2;
    pair.name = 'another and a longer name';
    if (pair.other !== null) pair.other.n = 3;
  });
  await until(() => there.n === 2);
  assert.deepEqual(await one.read(() => [there.n, there.name, there.other?.n]), [2, 'another and a longer name', 3]);
  await rejects('TypeMismatch', one.get(id, Leaf));
  await rejects('ObjectMissing', one.get('0000000000000000000000000000000a' as ObjectId, Leaf));
  assert.throws(
    () => (there.n = 9),
    (error) => isTwzError(error, 'NotInTransaction'),
  );
  await rejects(
    'NotInTransaction',
    one.read(() => (there.n = 9)),
  );
  space.relaxed(() => space.delete(pair));
  await rejects(
    'ObjectDeleted',
    until(async () => (await one.read(() => there.n)) === 99),
  );
});

test('T13 a client commits, whole or not at all; its stores are nobody else’s before', async (t) => {
  const { space, pair, id, client } = await scene(t);
  const [one, other] = [await client(), await client()];
  const [mine, theirs] = [await one.get(id, Pair), await other.get(id, Pair)];
  const result = await one.transact(() => {
    mine.n = 10;
    mine.name = 'a name for which there is no room where the old one was';
    if (mine.other !== null) mine.other.n = 20;
    assert.equal(theirs.n, 1);
    return mine.n;
  });
  assert.equal(result, 10);
  assert.deepEqual([pair.n, pair.name, pair.other?.n], [10, 'a name for which there is no room where the old one was', 20]);
  assert.deepEqual([mine.n, theirs.n], [10, 10]);
  const used = (): number => space.object(pair).usage().used;
  const before = used();
  await assert.rejects(
    one.transact(() => {
      mine.n = 11;
      mine.name = 'gone again';
      throw new RangeError('no');
    }),
    RangeError,
  );
  assert.deepEqual([pair.n, mine.n, await one.read(() => mine.name)], [10, 10, pair.name]);
  const leaf = mine.other;
  await one.transact(() => (mine.other = null));
  assert.equal(pair.other, null);
  assert.deepEqual(space.object(pair).fot(), []);
  await one.transact(() => (mine.other = leaf));
  assert.equal(space.get(id, Pair).other?.n, 20);
  assert.equal(space.object(pair).fot()[0]?.count, 1);
  // What was asked for and not used goes with the client.
  await assert.rejects(
    one.transact(() => {
      mine.name = 'x'.repeat(1500);
      throw new RangeError('no');
    }),
    RangeError,
  );
  assert.ok(used() > before);
  one.close();
  await until(() => used() === before);
  await rejects(
    'SpaceClosed',
    one.transact(() => 1),
  );
});

test('T13 clients that change the same object overtake each other, and nothing is lost', async (t) => {
  const { pair, id, client, space } = await scene(t);
  const clients = [await client(), await client(), await client()];
  let runs = 0;
  const all = clients.map(async (each) => {
    const there = await each.get(id, Pair);
    for (let i = 0; i < 40; i++)
      await each.transact(() => {
        runs++;
        there.n += 1;
      });
  });
  for (let i = 0; i < 40; i++) {
    space.relaxed(() => (pair.n += 1));
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  await Promise.all(all);
  assert.equal(pair.n, 161);
  assert.ok(runs > 120, 'nobody was in anybody’s way');
});

test('P1 rights are judged at each request: reading, writing, immutable objects, objects without rights', async (t) => {
  const { space, client } = await scene(t);
  const made = (rights: number): ObjectId => space.object(space.relaxed(() => space.create(Leaf, { n: 5, name: 'x' }, { rights }))).id;
  const one = await client();
  const [all, reading, none] = [made(7), made(RIGHT.read), made(RIGHT.write)];
  const change = async (id: ObjectId): Promise<number> => {
    const leaf = await one.get(id, Leaf);
    return one.transact(() => (leaf.n += 1));
  };
  assert.equal(await change(all), 6);
  assert.equal((await one.get(reading, Leaf)).n, 5);
  await rejects('ObjectForbidden', change(reading));
  await rejects('ObjectForbidden', one.get(none, Leaf));
  const sealed = space.relaxed(() => space.seal(space.object(all)));
  assert.equal((await one.get(sealed, Leaf)).n, 6);
  await rejects('ObjectImmutable', change(sealed));
  const shared = space.relaxed(() => space.createRaw(4096, { kind: 'shared' })).id;
  await rejects('NotSupported', one.object(shared));
});

test('P3 capabilities: shown or held by the context that a client proves to be; stolen, narrowed, expired, revoked', async (t) => {
  const { space, client, serving } = await scene(t);
  const { security } = space;
  const owner = security.createKey();
  const party = (): { readonly key: SigningKey; readonly context: ObjectId } => {
    const key = security.createKey();
    return { key, context: security.createContext({ key: key.id }) };
  };
  const [alice, bob, mallory] = [party(), party(), party()];
  const leaf = space.relaxed(() => space.create(Leaf, { n: 1, name: 'sealed' }, { key: owner.id, rights: 0 }));
  const { id } = space.object(leaf);
  space.relaxed(() => space.names.set('/sealed', leaf));
  const reads = security.grant({ target: id, to: alice.context, rights: ['read'], by: owner, insert: false });
  const writes = security.grant({ target: id, to: bob.context, rights: ['read', 'write'], by: owner, delegable: true });
  const handed = security.delegate(writes, { to: alice.context, rights: ['read'], by: bob.key, insert: false });

  // Nothing shown, nothing held; another's capability; another's context.
  const bare = await client({ context: alice.context, key: alice.key });
  await rejects('ObjectForbidden', bare.get(id, Leaf));
  assert.equal(await bare.lookup('/sealed'), undefined);
  await rejects('CapabilityAccessor', client({ context: mallory.context, key: mallory.key, capabilities: [reads.bytes()] }));
  await rejects('ServeUnproved', client({ capabilities: [reads.bytes()] }));
  await rejects('ServeUnproved', client({ context: alice.context, key: mallory.key }));
  await rejects('ServeUnproved', client({ context: space.security.createContext(), key: mallory.key }));
  await rejects('ServeUnproved', client({ context: id, key: mallory.key }));
  const turned = reads.bytes();
  turned[100] = (turned[100] ?? 0) ^ 1;
  await rejects('CapabilityForged', bare.show(turned));
  await rejects('CapabilityMalformed', bare.show(turned.subarray(1)));
  const late = encodeChain([signed(space, owner, undefined, { target: id, accessor: alice.context, expires: 1 })]);
  await rejects('CapabilityExpired', bare.show(late));
  await rejects('ObjectForbidden', bare.get(id, Leaf));

  const first = await client({ context: alice.context, key: alice.key.toPem(), capabilities: [reads.bytes()] });
  const second = await client({ context: bob.context, key: bob.key });
  const [a, b] = [await first.get(id, Leaf), await second.get(id, Leaf)];
  assert.equal(await first.lookup('/sealed'), id);
  assert.deepEqual([a.n, b.n], [1, 1]);
  await rejects(
    'ObjectForbidden',
    first.transact(() => (a.n = 2)),
  );
  await second.transact(() => (b.n = 2), { durable: true });
  assert.equal(space.stat().log.synced, space.stat().log.end);
  assert.deepEqual([leaf.n, a.n, b.n], [2, 2, 2]);

  security.revoke(reads, owner);
  await second.transact(() => (b.n = 3));
  // It keeps what it has seen, and sees no more.
  assert.deepEqual([a.n, b.n], [2, 3]);
  await rejects(
    'ObjectForbidden',
    first.read(() => a.n),
  );
  await second.transact(() => (b.n = 4));
  await rejects('ObjectForbidden', first.get(id, Leaf));
  await rejects('CapabilityRevoked', first.show(reads.bytes()));
  // With what was handed on it may read again, and no more; until what that came from ends.
  await first.show(handed.bytes());
  assert.equal(await first.read(() => a.n), 4);
  await rejects(
    'ObjectForbidden',
    first.transact(() => (a.n = 5)),
  );
  security.setMask(bob.context, id, { rights: ['read'] }, bob.key);
  await rejects(
    'ObjectForbidden',
    second.transact(() => (b.n = 5)),
  );
  assert.equal(await second.read(() => b.n), 4);
  security.clearMask(bob.context, id, bob.key);
  await second.transact(() => (b.n = 6));
  security.revoke(writes, owner);
  await rejects(
    'ObjectForbidden',
    second.transact(() => (b.n = 7), { durable: true }),
  );
  // Nothing changes, and nobody asks: the images go all the same.
  await until(() => serving.images === 0);
  await rejects(
    'ObjectForbidden',
    first.read(() => a.n),
  );
  // Somebody else changes it: neither of the two is shown that.
  security.grant({ target: id, to: mallory.context, rights: ['read', 'write'], by: owner });
  const third = await client({ context: mallory.context, key: mallory.key });
  const c = await third.get(id, Leaf);
  await third.transact(() => (c.n = 8));
  assert.deepEqual([b.n, c.n], [6, 8]);
  await rejects(
    'ObjectForbidden',
    first.read(() => a.n),
  );
  await rejects(
    'ObjectForbidden',
    second.read(() => b.n),
  );
  assert.equal(leaf.n, 8);
});

test('P1 an image cannot be written, mapped for writing, or changed in length, not even by the user that serves', async (t) => {
  const { id, serving, pair } = await scene(t);
  const got = await tamper(serving.socket, id);
  assert.deepEqual(got, {
    read: 16,
    mapForReading: 'mapped',
    mapPrivately: 'mapped',
    mapForWriting: 'EACCES',
    protectForWriting: 'EACCES',
    write: 'EBADF',
    truncate: 'EINVAL',
    // The owner of the memory may open it anew: the seals hold all the same.
    reopen: 'opened',
    reopenedMap: 'EPERM',
    reopenedWrite: 'EPERM',
    reopenedTruncate: 'EPERM',
  });
  assert.equal(pair.n, 1);
});

function run(role: string, user: string, ...args: string[]): Promise<Record<string, unknown>> {
  return begin(role, user, ...args).result;
}

/** `ready`: it has said something. */
function begin(
  role: string,
  user: string,
  ...args: string[]
): { readonly ready: Promise<unknown>; readonly result: Promise<Record<string, unknown>> } {
  const file = new URL('serve-client.js', import.meta.url).pathname;
  const child = spawn(process.execPath, [file, role, user, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ready = new Promise((resolve) => child.stdout.once('data', resolve).once('close', resolve));
  let text = '';
  child.stdout.on('data', (chunk) => (text += String(chunk)));
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const result = ended.then(() => JSON.parse(text.trim().split('\n').at(-1) ?? '') as Record<string, unknown>);
  return { ready, result };
}

const asRoot = process.getuid?.() === 0 ? false : 'another user can only be played by root';

test('P1 another user of the machine gets what the server gives, and nothing past it', { skip: asRoot }, async (t) => {
  for (const others of [0, RIGHT.read, RIGHT.read | RIGHT.write]) {
    const { id, serving, pair, space } = await scene(t, { others });
    const got = await run('stranger', 'nobody', serving.socket, id, space.directory);
    const [readable, writable] = [(others & RIGHT.read) !== 0, (others & RIGHT.write) !== 0];
    const { tamper: tampered, ...rest } = got;
    assert.deepEqual(rest, {
      uid: 65534,
      list: 'EACCES',
      file: 'EACCES',
      lookup: readable ? id : 'nothing',
      read: readable ? [1, 1] : 'ObjectForbidden',
      write: writable ? 2 : 'ObjectForbidden',
    });
    if (!readable) assert.equal(tampered, 'ObjectForbidden');
    else
      assert.deepEqual(tampered, {
        read: 16,
        mapForReading: 'mapped',
        mapPrivately: 'mapped',
        mapForWriting: 'EACCES',
        protectForWriting: 'EACCES',
        write: 'EBADF',
        truncate: 'EINVAL',
        reopen: 'refused',
        reopenedMap: 'refused',
        reopenedWrite: 'refused',
        reopenedTruncate: 'refused',
      });
    assert.equal(pair.n, writable ? 2 : 1);
    assert.equal(fs.statSync(space.directory).mode & 0o777, 0o700);
  }
});

test('T13 a reader in another process sees both objects as one commit left them, while they change all the time', async (t) => {
  const { space, pair, id, serving } = await scene(t);
  const until = 3000;
  space.relaxed(() => (pair.name = 'x1'));
  const { ready, result } = begin('watcher', 'self', serving.socket, id, String(until));
  let done = false;
  const got = result.finally(() => (done = true));
  await ready;
  for (let n = 2; n <= until || !done; n = Math.min(n + 1, until + 1)) {
    if (n <= until)
      space.relaxed(() => {
        pair.n = n;
        pair.name = `${'x'.repeat(n % 40)}${n}`;
        if (pair.other !== null) pair.other.n = n;
      });
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  const { reads, torn, changes } = await got;
  t.diagnostic(`${String(reads)} reads, ${String(changes)} changes seen`);
  assert.equal(torn, 0);
  assert.ok(Number(changes) > 10, 'it saw nothing change');
});

test('T13 twz serve: it closes the directory, stops cleanly, and its clients learn of its death and go on with the next', async (t) => {
  const { space, id, serving } = await scene(t);
  await serving.close();
  const { directory } = space;
  space.close();
  const start = async (): Promise<{ readonly socket: string; readonly end: (signal: 'SIGTERM' | 'SIGKILL') => Promise<number | null> }> => {
    const child = spawn(process.execPath, [MAIN, 'serve', '--local', '--json', '-s', directory], { stdio: ['ignore', 'pipe', 'inherit'] });
    const gone = new Promise<number | null>((resolve) => child.once('close', resolve));
    const line = await new Promise<string>((resolve) => child.stdout.once('data', (chunk) => resolve(String(chunk))));
    const { socket } = JSON.parse(line) as { readonly socket: string };
    return {
      socket,
      end: (signal) => {
        child.kill(signal);
        return gone;
      },
    };
  };
  const server = await start();
  assert.equal(server.socket, `${directory}.sock`);
  assert.equal(fs.statSync(directory).mode & 0o777, 0o700);
  using client = await connect(server.socket);
  const pair = await client.get(id, Pair);
  assert.equal(await client.transact(() => (pair.n += 1)), 2);
  await server.end('SIGKILL');
  assert.equal(client.connected, false);
  // The memory is there; the server is not.
  assert.equal(pair.n, 2);
  await rejects(
    'ServeUnreachable',
    client.read(() => pair.n),
  );
  await rejects('ServeUnreachable', connect(server.socket));
  assert.ok(fs.existsSync(server.socket), 'it had no time to tidy up');

  const next = await start();
  assert.equal(await client.transact(() => (pair.n += 1)), 3);
  const late = client.read(() => pair.n);
  assert.equal(await late, 3);
  assert.equal(await next.end('SIGTERM'), 0);
  assert.equal(fs.existsSync(next.socket), false);
  await rejects(
    'ServeUnreachable',
    client.read(() => pair.n),
  );
});

test('T13 a server does not take the place of another, or of a file', async (t) => {
  const { space, serving } = await scene(t);
  await rejects('ServeTaken', serve(space));
  const file = `${space.directory}.txt`;
  fs.writeFileSync(file, 'precious');
  await rejects('ServeTaken', serve(space, { socket: file }));
  assert.equal(fs.readFileSync(file, 'utf8'), 'precious');
  const foreign = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  const path = `${space.directory}.other`;
  await new Promise<void>((resolve) => foreign.listen(path, resolve));
  t.after(() => foreign.close());
  await rejects('ServeProtocol', connect(path));
  await rejects('ServeUnreachable', connect(`${space.directory}.nobody`));
  await rejects('InvalidArgument', connect('x'.repeat(200)));
  assert.equal(serving.clients, 0);
});

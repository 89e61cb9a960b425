/** G11, G13, G16: what only a real server can show: versions, keys, lost acknowledgements, the life of the server's process. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';
import type { KeyPair } from '@nats-io/nkeys';
import { nkeys } from '@nats-io/transport-node';
import { isTwzError, type ErrorName } from '../src/index.ts';
import type { Engine } from '../src/services/cluster/engine.ts';
import { connectNats } from '../src/services/cluster/nats.ts';
import { permissionsFor } from '../src/services/cluster/permissions.ts';
import { findServer, startServer } from '../src/services/cluster/server.ts';
import { atLeast } from '../src/services/cluster/wire.ts';
import { connectFor, foundServer, noServer, pauseServer, serverFor, until } from './engines.ts';

const MS = 10_000;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (from: Uint8Array | undefined): string | undefined => (from === undefined ? undefined : new TextDecoder().decode(from));

const fails = (name: ErrorName, call: () => unknown, says?: RegExp): Promise<void> =>
  assert.rejects(
    async () => call(),
    (error: unknown) => {
      assert.ok(isTwzError(error, name), `expected ${name}: ${String(error)}`);
      if (says !== undefined) assert.match(error.message, says);
      return true;
    },
  );

async function listen(t: TestContext, accept: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    accept(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `nats://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Says what it is, and answers pings. */
const impostor = (info: object) => (socket: Socket) => {
  socket.write(
    `INFO ${JSON.stringify({ server_id: 'x', server_name: 'x', proto: 1, go: '', host: '', port: 0, max_payload: 1048576, headers: true, jetstream: true, client_id: 1, ...info })}\r\n`,
  );
  socket.on('data', (data) => {
    if (data.includes('PING')) socket.write('PONG\r\n');
  });
};

/** Between a connection and the server: changes what the server says first, and can hold back what it answers. */
class Between {
  hold = false;
  version: string | undefined;
  readonly sockets = new Set<Socket>();
  #held: (() => void)[] = [];

  readonly accept = (port: number) => (near: Socket) => {
    const far = connect(port, '127.0.0.1');
    this.sockets.add(near);
    const { version } = this;
    let first = true;
    far.on('data', (data) => {
      const said =
        first && version !== undefined ? Buffer.from(data.toString().replace(/"version":"[^"]*"/, `"version":"${version}"`)) : data;
      first = false;
      if (this.hold) this.#held.push(() => near.write(said));
      else near.write(said);
    });
    near.on('data', (data) => far.write(data));
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    far.on('error', () => near.destroy());
  };

  release(): void {
    this.hold = false;
    for (const give of this.#held) give();
    this.#held = [];
  }

  /** From now on nothing passes, and nobody is told. Later connections are as ever. */
  freeze(): void {
    for (const socket of this.sockets) {
      socket.pause();
      socket.removeAllListeners('data');
    }
    this.sockets.clear();
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
  }
}

test('G16: versions are compared by their numbers', () => {
  assert.ok(
    atLeast('2.10.27', '2.10.27') && atLeast('2.11.0', '2.10.27') && atLeast('3.0.0', '2.10.27') && atLeast('2.15.1-beta', '2.15.1'),
  );
  assert.ok(!atLeast('2.10.3', '2.10.27') && !atLeast('2.9.99', '2.10.27') && !atLeast('', '2.10.27') && !atLeast('latest', '2.10.27'));
});

test('G16: the manual names the permissions that a node needs, and no other', () => {
  const manual = readFileSync(new URL('../../docs/engine.md', import.meta.url), 'utf8');
  const [, listed = ''] = /authorization \{(.*?)```/s.exec(manual) ?? [];
  const { publish, subscribe } = permissionsFor('s', false);
  assert.deepEqual(new Set([...listed.matchAll(/"(.+?)"/g)].map(([, name]) => name)), new Set([...publish, ...subscribe]));
});

test('G16: a server that is too old, or has no JetStream, is refused by name; so is none at all', async (t) => {
  const old = await listen(t, impostor({ version: '2.9.10' }));
  await fails('EngineTooOld', () => connectNats({ servers: [old], space: 's' }), /2\.9\.10/);
  const bare = await listen(t, impostor({ version: '2.15.1', jetstream: false }));
  await fails('EngineRefused', () => connectNats({ servers: [bare], space: 's' }), /JetStream/);
  const mute = await listen(t, () => undefined);
  await fails('EngineLost', () => connectNats({ servers: [mute], space: 's', timeout: 50 }));
  // It takes the connection, and answers nothing that it is asked.
  const idle = await listen(t, impostor({ version: '2.15.1' }));
  await fails('TimedOut', () => connectNats({ servers: [idle], space: 's', timeout: 100 }));
  await fails('EngineLost', () => connectNats({ servers: ['nats://127.0.0.1:1'], space: 's' }));
  await fails('InvalidArgument', () => connectNats({ servers: [], space: 's' }));
  await fails('InvalidArgument', () => connectNats({ servers: [old], space: 'Not a name' }));
  await fails('KeyInvalid', () => connectNats({ servers: [old], space: 's', seed: 'SUnonsense' }));
  await fails('KeyInvalid', () => connectNats({ servers: [old], space: 's', credentials: 'nothing of it' }));
});

test(
  'G13: a server that is too old is refused at a later connection, too, until one that is not answers',
  { skip: noServer },
  async (t) => {
    const server = await serverFor(t);
    const between = new Between();
    const url = await listen(t, between.accept(server.port));
    const a = await connectFor(t, { servers: [url], space: 's' });
    const appended = await a.append({ log: 'l', bytes: bytes('1'), expected: 0 }, MS);
    assert.equal(appended.kind, 'done');
    between.version = '2.9.10';
    between.cut();
    const refusal = async (): Promise<boolean> => {
      const problem = await a.last('l', 50).catch((error: unknown) => error);
      return isTwzError(problem, 'EngineTooOld');
    };
    while (!(await refusal()));
    assert.equal(a.connected, false);
    await fails('EngineTooOld', () => a.publish('x', bytes('')), /2\.9\.10/);
    assert.equal(a.facts.version, '2.9.10');
    between.version = undefined;
    between.cut();
    await until(() => a.connected);
    assert.equal(text((await a.last('l', MS))?.bytes), '1');
  },
);

test('G13: an append whose acknowledgement is lost is unknown, and the last record tells', { skip: noServer }, async (t) => {
  const server = await serverFor(t);
  const between = new Between();
  const url = await listen(t, between.accept(server.port));
  const [a, b] = [await connectFor(t, { servers: [url], space: 's' }), await connectFor(t, { servers: [server.url], space: 's' })];
  between.hold = true;
  const unknown = { kind: 'unknown' };
  const append = { log: 'l', bytes: bytes('1'), expected: 0 };
  assert.deepEqual(await a.append(append, 100), unknown);
  const last = (await b.last('l', MS)) ?? assert.fail();
  assert.equal(text(last.bytes), '1');
  // The connection is lost before the answer comes: unknown at once, and not at the deadline.
  const second = a.append({ log: 'l', bytes: bytes('2'), expected: last.seq }, 600_000);
  while ((await b.last('l', MS))?.seq === last.seq);
  between.cut();
  assert.deepEqual(await second, unknown);
  between.release();
  await until(() => a.connected);
  assert.deepEqual(
    (await a.read('l', 0, MS)).map((record) => text(record.bytes)),
    ['1', '2'],
  );
  // The same bytes again do not go in twice.
  assert.deepEqual(await a.append({ log: 'l', bytes: bytes('2'), expected: last.seq }, MS), { kind: 'refused' });
});

test('G11: what is published to a server that takes nothing is not kept without end', { skip: noServer }, async (t) => {
  const server = await serverFor(t);
  const a = await connectFor(t, { servers: [server.url], space: 's' });
  await pauseServer(server);
  const chunk = new Uint8Array(1 << 19);
  let sent = 0;
  const publish = (): void => {
    for (; sent < 1000; sent++) a.publish('x', chunk);
  };
  assert.throws(publish, (error) => isTwzError(error, 'EngineLost'));
  assert.ok(sent >= 64 && sent <= 200, `${sent} of 512 KiB`);
  await fails('TimedOut', () => a.request('x', chunk, 20));
  server.kill('SIGCONT');
  await a.flush(MS);
  a.publish('x', chunk);
});

test('G13: a connection that falls silent is given up, however much waits to be sent over it', { skip: noServer }, async (t) => {
  const server = await serverFor(t);
  const between = new Between();
  const url = await listen(t, between.accept(server.port));
  const a = await connectFor(t, { servers: [url], space: 's', silence: 250 });
  const states: boolean[] = [];
  a.onState((connected) => states.push(connected));
  assert.equal((await a.append({ log: 'l', bytes: bytes('1'), expected: 0 }, MS)).kind, 'done');
  between.freeze();
  for (let i = 0; i < 40; i++) a.publish('x', new Uint8Array(1 << 19));
  assert.deepEqual(await a.append({ log: 'l', bytes: bytes('2'), expected: 1 }, 600_000), { kind: 'unknown' });
  assert.equal(text((await a.last('l', MS))?.bytes), '1');
  assert.deepEqual(states, [false, true]);
});

test('G16: a key is shown to the server, and a wrong one refused', { skip: noServer }, async (t) => {
  const user = nkeys.createUser();
  const seed = new TextDecoder().decode(user.getSeed());
  const other = new TextDecoder().decode(nkeys.createUser().getSeed());
  const permissions = 'permissions: { publish: { deny: "s.msg.secret" } }';
  const server = await serverFor(t, { config: `authorization { users: [ { nkey: ${user.getPublicKey()}, ${permissions} } ] }` });
  const servers = [server.url];
  const a = await connectFor(t, { servers, space: 's', seed });
  assert.equal((await a.append({ log: 'l', bytes: bytes('1'), expected: 0 }, MS)).kind, 'done');
  await fails('EngineRefused', () => connectNats({ servers, space: 's', seed: other }), /uthoriz/);
  await fails('EngineRefused', () => connectNats({ servers, space: 's' }), /uthoriz/);
  // What the server forbids is told by it, and at once.
  await fails('EngineRefused', () => a.request('secret', bytes(''), 600_000), /secret/);
  assert.equal((await a.last('l', MS))?.bytes.length, 1);
});

test('G16: a user that is given the permissions of a space can do all there, and nothing in another', { skip: noServer }, async (t) => {
  const keys = Array.from({ length: 3 }, () => nkeys.createUser());
  const [root = assert.fail(), maker = assert.fail(), user = assert.fail()] = keys;
  const seeds = keys.map((key) => new TextDecoder().decode(key.getSeed()));
  const may = (space: string, creating: boolean): string => {
    const { publish, subscribe } = permissionsFor(space, creating);
    return `permissions: { publish: ${JSON.stringify(publish)}, subscribe: ${JSON.stringify(subscribe)} }`;
  };
  const users = [
    `{ nkey: ${root.getPublicKey()} }`,
    `{ nkey: ${maker.getPublicKey()}, ${may('s', true)} }`,
    `{ nkey: ${user.getPublicKey()}, ${may('s', false)} }`,
  ];
  const server = await serverFor(t, { config: `authorization { users: [ ${users.join(', ')} ] }` });
  const servers = [server.url];
  const connectAs = (which: number, space: string): Promise<Engine> =>
    connectFor(t, { servers, space, seed: seeds[which] ?? '', timeout: MS });
  await connectAs(0, 'other');
  await fails('EngineRefused', () => connectAs(2, 's'), /STREAM\.CREATE/);
  const a = await connectAs(1, 's');
  const b = await connectAs(2, 's');
  const heard: string[] = [];
  a.follow('l', (_log, record) => heard.push(`log ${text(record.bytes)}`));
  a.watch('k', (register) => heard.push(`key ${text(register.bytes)}`));
  a.watchLeases('n', (lease) => heard.push(`lease ${text(lease.bytes)}`));
  a.subscribe('echo', ({ bytes: said, reply }) => reply?.(said));
  await a.flush(MS);
  assert.equal(text(await b.request('echo', bytes('hi'), MS)), 'hi');
  assert.equal((await b.append({ log: 'l', bytes: bytes('1'), expected: 0 }, MS)).kind, 'done');
  assert.ok(await b.set('k', bytes('1'), 0, MS));
  assert.ok(await b.lease('n', bytes('1'), 60_000, MS));
  await until(() => heard.length === 3);
  assert.deepEqual(heard.sort(), ['key 1', 'lease 1', 'log 1']);
  assert.deepEqual([(await b.read('l', 0, MS)).length, (await b.keys('', MS)).length, (await b.leases('', MS)).length], [1, 1, 1]);
  await b.putChunk('c', bytes('c'), MS);
  assert.equal(text(await b.getChunk('c', MS)), 'c');
  await b.dropChunk('c', MS);
  assert.equal(await b.getChunk('c', MS), undefined);
  for (const which of [1, 2]) await fails('EngineRefused', () => connectAs(which, 'other'), /other/);
});

test('G16: credentials that an operator has signed are shown to the server; others are refused', { skip: noServer }, async (t) => {
  const [operator, account, system] = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createAccount()];
  const user = nkeys.createUser();
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const sign = (issuer: KeyPair, subject: KeyPair, nats: object): string => {
    const claims = {
      jti: 'x',
      iat: 1_700_000_000,
      iss: issuer.getPublicKey(),
      sub: subject.getPublicKey(),
      name: 'x',
      nats: { version: 2, ...nats },
    };
    const said = `${encode({ typ: 'JWT', alg: 'ed25519-nkey' })}.${encode(claims)}`;
    return `${said}.${Buffer.from(issuer.sign(bytes(said))).toString('base64url')}`;
  };
  const none = { subs: -1, data: -1, payload: -1 };
  const limits = { ...none, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
  const stores = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const credentials = (by: KeyPair): string =>
    [
      '-----BEGIN NATS USER JWT-----',
      sign(by, user, { type: 'user', ...none }),
      '------END NATS USER JWT------',
      '-----BEGIN USER NKEY SEED-----',
      new TextDecoder().decode(user.getSeed()),
      '------END USER NKEY SEED------',
      '',
    ].join('\n');
  const preload = [account, system].map((each) => {
    const its = each === account ? { ...limits, ...stores } : limits;
    return `${each.getPublicKey()}: ${sign(operator, each, { type: 'account', limits: its })}`;
  });
  const config = [
    `operator: ${sign(operator, operator, { type: 'operator' })}`,
    `system_account: ${system.getPublicKey()}`,
    `resolver: MEMORY\nresolver_preload: { ${preload.join(', ')} }`,
  ].join('\n');
  const server = await serverFor(t, { config });
  const a = await connectFor(t, { servers: [server.url], space: 's', credentials: credentials(account) });
  assert.equal((await a.append({ log: 'l', bytes: bytes('1'), expected: 0 }, MS)).kind, 'done');
  const stranger = credentials(nkeys.createAccount());
  await fails('EngineRefused', () => connectNats({ servers: [server.url], space: 's', credentials: stranger }), /uthoriz/);
});

test(
  'G16: a server serves this machine only, keeps what it stored for the next, and ends with its starter',
  { skip: noServer },
  async (t) => {
    const [port, pid] = await new Promise<number[]>((resolve, reject) => {
      const program = `
      import { startServer } from ${JSON.stringify(new URL('../src/services/cluster/server.js', import.meta.url).href)};
      const server = await startServer({ binary: ${JSON.stringify(foundServer?.path)} });
      console.log(JSON.stringify([server.port, server.pid]));
      setInterval(() => undefined, 1000);`;
      const starter = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
      starter.once('error', reject);
      createInterface({ input: starter.stdout }).once('line', (line) => {
        starter.kill('SIGKILL');
        resolve(JSON.parse(line) as number[]);
      });
    });
    const runs = (): boolean => {
      try {
        return process.kill(pid ?? 0, 0);
      } catch {
        return false;
      }
    };
    await until(() => !runs());
    const server = await serverFor(t, { port: port ?? -1, durable: true });
    assert.equal(server.port, port);
    assert.ok(server.url.startsWith('nats://127.0.0.1:'));
    await fails(
      'EngineRefused',
      () => startServer({ binary: foundServer?.path ?? '', port: port ?? -1, timeout: MS }),
      /address already in use/,
    );
    await fails('EngineRefused', () => startServer({ binary: foundServer?.path ?? '', config: 'nonsense here' }));
    await server.stop();
    await server.stop();
    assert.notEqual(await server.ended, undefined);
  },
);

test('G16: only a server that is new enough is found', async () => {
  assert.equal(await findServer('no-such-program'), undefined);
  assert.equal(await findServer(process.execPath), undefined, 'Node is no server');
  await fails('NotSupported', () => startServer({ binary: 'no-such-program' }), /scripts\/nats-server/);
});

/** G16: nodes join and leave by one command; who is there and where objects are can be asked from outside. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { test, type TestContext } from 'node:test';
import { Worker } from 'node:worker_threads';
import { nkeys } from '@nats-io/transport-node';
import { isTwzError } from '../src/abi/errors.ts';
import { parseId } from '../src/abi/id.ts';
import { chooseHost } from '../src/host/choose.ts';
import { u32 } from '../src/lib/fields.ts';
import { struct } from '../src/lib/struct.ts';
import { Findings } from '../src/services/check/findings.ts';
import { SpaceImage } from '../src/services/check/image.ts';
import { join } from '../src/services/cluster/cluster.ts';
import { say } from '../src/services/cluster/messages.ts';
import { metricsText } from '../src/services/cluster/metrics.ts';
import { connectNats } from '../src/services/cluster/nats.ts';
import { findServer, startServer } from '../src/services/cluster/server.ts';
import { becomeNode } from '../src/services/cluster/sole.ts';
import { askWhereabouts } from '../src/services/cluster/whereabouts.ts';
import { open } from '../src/space.ts';
import { runTwz, startTwz, type Ran, type Staying } from './twz.ts';

const Leaf = struct('Leaf', { n: u32 });
const NOBODY = 'nats://127.0.0.1:1';
const host = chooseHost(() => undefined);

const none =
  (await findServer()) === undefined
    ? 'no nats-server that is new enough'
    : host.sharing
      ? false
      : 'a node needs shared memory between processes';

/** A directory with commands in it. What is put off is done when the test ends, the last of it first. */
interface Place {
  readonly cwd: string;
  twz(...args: string[]): Ran;
  stay(...args: string[]): Staying;
  putOff(what: () => unknown): void;
}

function place(t: TestContext, servers: string): Place {
  const cwd = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-cluster-'));
  const env = { ...process.env, NO_COLOR: '1', TWZ_SERVERS: servers, TWZ_SPACE: undefined };
  const later: (() => unknown)[] = [() => fs.rmSync(cwd, { recursive: true })];
  t.after(async () => {
    for (const what of later.toReversed()) await what();
  });
  return {
    cwd,
    twz: (...args) => runTwz({ args, cwd, env, input: '' }),
    stay: (...args) => {
      const staying = startTwz({ args, cwd, env });
      later.push(() => staying.end('SIGKILL'));
      return staying;
    },
    putOff: (what) => void later.push(what),
  };
}

function parsed<T>({ code, out, err }: Ran): T {
  assert.equal(code, 0, err);
  return JSON.parse(out) as T;
}

function refused(ran: Ran, code: number, pattern: RegExp): void {
  assert.match(ran.err, pattern);
  assert.deepEqual([ran.code, ran.out], [code, '']);
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

interface Got {
  readonly status: number;
  readonly body: string;
}

function get(port: number, at: string, more: { readonly method?: string; readonly host?: string } = {}): Promise<Got> {
  return new Promise((resolve, reject) => {
    const headers = more.host === undefined ? {} : { host: more.host };
    const asking = request({ host: '127.0.0.1', port, path: at, method: more.method ?? 'GET', headers, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.once('end', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    asking.once('error', reject).end();
  });
}

interface Node {
  readonly id: string;
  readonly name: string;
  readonly pid: number;
  readonly age: number;
}

interface Where {
  readonly owner: string | null;
  readonly epoch: number;
  readonly kept: string;
  readonly holders: readonly { readonly node: string; readonly role: string }[];
  readonly here?: { readonly node: string; readonly joined: boolean; readonly has: boolean; readonly role: string | null };
}

test('G16 three commands join three nodes, which see each other, know where objects are, and go in order', { skip: none }, async (t) => {
  const url = `nats://127.0.0.1:${await freePort()}`;
  const { cwd, twz, stay, putOff } = place(t, url);
  const [a, b, c] = ['a.twz', 'b.twz', 'c.twz'].map((name) => path.join(cwd, name)) as [string, string, string];
  const made = open(a);
  const leaf = made.relaxed(() => {
    const one = made.create(Leaf, { n: 7 });
    made.names.set('/leaf', one);
    return one;
  });
  const { id } = made.object(leaf);
  made.close();

  const more = ['--cache', '64MiB', '--speed', '2', '--lease', '4000', '--no-prefetch', '--replicas', '1'];
  const alice = stay('join', 'a.twz', '--dev', '--name', 'alice', '--no-runs', '--metrics', '0', '--json', ...more);
  const first = JSON.parse((await alice.said(/^\{"joined".*$/m))[0]) as {
    readonly joined: { readonly id: string; readonly version: string };
    readonly metrics: number;
    readonly started: number;
  };
  assert.ok(first.started > 0, 'it has started the server');
  const bob = stay('join', 'b.twz', '--name', 'bob', '--no-runs');
  const carol = stay('join', 'c.twz', '--name', 'carol', '--no-runs', '--dev');
  const joined = await bob.said(/^bob \(([0-9a-f]{32})\) has joined twizzler at (\S+): nats-server (\S+), 1 copy/m);
  assert.deepEqual(joined.slice(2), [url, first.joined.version]);
  // Where one serves, none is started.
  assert.doesNotMatch((await carol.said(/^carol .* has joined .*$/m))[0], /started/);
  await alice.said(/"came":\{[^}]*"name":"bob"/);
  await alice.said(/"came":\{[^}]*"name":"carol"/);
  await bob.said(/^came {2}carol/m);

  const nodes = parsed<Node[]>(twz('nodes', '--json'));
  assert.deepEqual(
    nodes.map(({ name, pid }) => [name, pid]),
    [
      ['alice', alice.pid],
      ['bob', bob.pid],
      ['carol', carol.pid],
    ],
  );
  assert.ok(nodes.every(({ age }) => age >= 0 && age < 120_000));
  const [aliceId, bobId, carolId] = nodes.map((node) => node.id);
  assert.deepEqual([aliceId, bobId], [first.joined.id, joined[1]]);
  assert.match(twz('nodes').out, /^ID +NAME +PID +LOAD +OBJECTS +AGE\n[0-9a-f]{32} +alice .*\n.* bob .*\n.* carol .*\n$/);
  assert.equal(twz('nodes', '--space', 'other').out, 'no node is there\n');

  // What one has is found by another, by its ID, and has stayed where it was.
  const asBob = parsed<Where>(twz('where', id, 'b.twz', '--json'));
  assert.deepEqual(asBob.here, { node: bobId, joined: true, has: false, role: null });
  assert.deepEqual([asBob.owner, asBob.epoch, asBob.kept, asBob.holders.length], [aliceId, 0, 'nothing', 1]);
  assert.match(
    twz('where', '/leaf', 'a.twz').out,
    /^owner +alice \([0-9a-f]{32}\)\nhere +yes, as its owner\nengine +has nothing of it: no other node has asked$/m,
  );
  refused(twz('where', 'f'.repeat(32)), 3, /ObjectMissing .* is on no node that answers, and the engine does not know it$/m);
  refused(twz('where', '/nothing', 'b.twz'), 3, /NameMissing/);

  refused(twz('join', 'b.twz'), 3, new RegExp(`AlreadyJoined \\(1690\\): b\\.twz has joined already: process ${bob.pid} is its node`));

  const left = await carol.end('SIGINT');
  assert.deepEqual([left.code, left.err], [0, '']);
  // It has said that it goes: nobody has to wait for its lease to end.
  assert.deepEqual(
    parsed<Node[]>(twz('nodes', '--json')).map(({ name }) => name),
    ['alice', 'bob'],
  );
  await alice.said(/"gone":\{[^}]*"name":"carol"/);
  await bob.said(/^gone {2}carol/m);

  // This process is its node now: it has a copy, then owns it.
  const space = open(c);
  putOff(() => space.close());
  const cluster = await join(space, { servers: [url], runs: false });
  putOff(() => cluster.leave());
  assert.equal(cluster.id, carolId);
  await cluster.bring(id);
  const copied = parsed<Where>(twz('where', id, 'c.twz', '--json'));
  assert.deepEqual([copied.owner, copied.kept, copied.here?.role], [aliceId, 'nothing', 'copy']);
  assert.deepEqual(
    copied.holders.map(({ node, role }) => [node, role]),
    [
      [aliceId, 'owner'],
      [carolId, 'copy'],
    ],
  );
  const mine = space.get(id, Leaf);
  await cluster.own(id);
  await cluster.commit(() => (mine.n = 8));
  const owned = parsed<Where>(twz('where', id, 'a.twz', '--json'));
  assert.deepEqual([owned.owner, owned.kept, owned.here?.role], [carolId, 'all', 'copy']);
  assert.ok(owned.epoch > copied.epoch);
  assert.match(twz('where', id).out, /^owner +node-[0-9a-f]{8} \([0-9a-f]{32}\)\ncopy +alice .*\nengine +has all of it, epoch \d+$/m);

  // Why runs were where they were; where one would be; asked of a program while it goes on.
  assert.equal(twz('plan', 'alice').out, 'alice has asked for no run yet\n');
  assert.match(twz('plan', 'a.twz', '/leaf').out, /^run at (alice|node-\w+): .*\n(.*\n)*\* (alice|node-\w+): /);
  refused(twz('plan', 'alice', 'f'.repeat(32)), 3, /ObjectMissing/);
  refused(twz('plan', 'alice', '/leaf'), 3, /InvalidArgument .*no ID/);
  const read = (leaf: { readonly n: number }): number => leaf.n;
  assert.equal(await cluster.run(read, mine), 8);
  await assert.rejects(
    cluster.run(() => {
      throw new Error('no');
    }),
    (error: unknown) => isTwzError(error, 'RunFailed'),
  );
  const planned = JSON.parse((await stay('plan', 'c.twz', '--json').said(/^\{"node".*$/m))[0]) as {
    readonly node: string;
    readonly runs: readonly { readonly place: string; readonly code: string; readonly took: number; readonly failed: boolean }[];
  };
  assert.deepEqual([planned.node, planned.runs.length], [carolId, 2]);
  assert.ok(planned.runs.every(({ place, took }) => place === carolId && took >= 0));
  const again = stay('plan', carolId ?? '', '-n', '1', '--code', planned.runs[1]?.code ?? '', id);
  await again.said(/^run at node-[0-9a-f]{8}: .*; its data was used once before\n/m);
  await stay('plan', 'c.twz', '-n', '1').said(/^\d.* ago: took .*; code [0-9a-f]{32}\nrun at node-[0-9a-f]{8}: /m);

  const metrics = await get(first.metrics, '/metrics?x');
  assert.equal(metrics.status, 200);
  assert.match(metrics.body, /^twizzler_nodes 3$/m);
  assert.match(metrics.body, /^twizzler_given_total 1$/m);
  assert.match(metrics.body, /^twizzler_sent_bytes_total [1-9]\d*$/m);
  assert.match(metrics.body, new RegExp(`^twizzler_node_objects\\{id="${bobId}",name="bob"\\} \\d+$`, 'm'));
  const status = JSON.parse((await get(first.metrics, '/status', { host: 'localhost' })).body) as Record<string, Record<string, unknown>>;
  assert.deepEqual([status['id'], status['engine']?.['connected'], status['counters']?.['given']], [aliceId, true, 1]);
  assert.equal((await get(first.metrics, '/other')).status, 404);
  assert.equal((await get(first.metrics, '/status', { method: 'POST' })).status, 405);
  assert.equal((await get(first.metrics, '/status', { host: 'rebound.example' })).status, 403);

  await cluster.leave();
  // One that dies leaves the space to the next.
  await bob.end('SIGKILL');
  becomeNode(host, b).release();
  const last = await alice.end('SIGTERM');
  assert.deepEqual([last.code, last.err], [0, '']);
  assert.equal(fs.readFileSync(path.join(a, 'node.lock'), 'utf8'), '');
  const findings = new Findings();
  assert.ok(new SpaceImage(host, a, findings).files.size > 0);
  assert.deepEqual(findings.list, []);
  refused(twz('nodes'), 3, /EngineLost \(1607\).*connection refused/);
});

test('G16 who has no credentials is refused; answers that mean nothing count for nothing', { skip: none }, async (t) => {
  const user = nkeys.createUser();
  const server = await startServer({ config: `authorization { users: [ { nkey: ${user.getPublicKey()} } ] }` });
  const { cwd, twz, putOff } = place(t, server.url);
  putOff(() => server.stop());
  const seed = new TextDecoder().decode(user.getSeed());
  fs.writeFileSync(path.join(cwd, 'seed'), `${seed}\n`);
  fs.writeFileSync(path.join(cwd, 'other'), nkeys.createUser().getSeed());
  fs.writeFileSync(path.join(cwd, 'wrong'), 'SUA but not a seed\n');
  refused(twz('nodes'), 3, /EngineRefused \(1608\).*[Aa]uthorization/);
  refused(twz('nodes', '--seed', 'other'), 3, /EngineRefused/);
  refused(twz('join', 'd.twz'), 3, /EngineRefused/);
  refused(twz('nodes', '--seed', 'wrong'), 3, /KeyInvalid .*the seed is no NKey/);
  assert.equal(twz('nodes', '--seed', 'seed').out, 'no node is there\n');

  const engine = await connectNats({ servers: [server.url], space: 'twizzler', seed });
  putOff(() => engine.close());
  await engine.lease(`node.${'0'.repeat(32)}`, new TextEncoder().encode('{"name":"mute","pid":1,"load":0,"objects":0}'), 60_000, 5000);
  refused(twz('where', 'f'.repeat(32), '--seed', 'seed'), 3, /ObjectMissing .*; mute did not answer$/m);
  assert.match(twz('nodes', '--seed', 'seed').out, /mute +1 +- +- +-\n$/);

  const id = parseId('f'.repeat(32));
  const right = {
    node: '0'.repeat(32),
    name: 'm',
    role: 'owner',
    kind: 'owned',
    size: 1,
    family: id,
    owner: '0'.repeat(32),
    epoch: 0,
    group: 0,
  };
  const answers = [
    new Uint8Array(3),
    say({ node: 7 }),
    say({ ...right, size: -1 }),
    say({ ...right, family: 'x' }),
    // Of a node that is not there.
    say({ ...right, node: '1'.repeat(32) }),
    say({ ...right }),
    say({ ...right, role: 'copy' }),
  ];
  engine.subscribe('about', ({ reply }) => {
    for (const answer of answers) reply?.(answer);
  });
  await engine.flush(5000);
  const found = await askWhereabouts(engine, host, id, 5000);
  assert.deepEqual([found.holders, found.silent], [[{ ...right, shared: false }], []]);
});

/** A server that is too old, and says so: in a thread of its own, for calls of twz block this one. */
async function oldServer(putOff: Place['putOff']): Promise<string> {
  const worker = new Worker(
    `const { parentPort } = require('node:worker_threads');
    const info = { server_id: 'OLD', server_name: 'old', version: '2.9.10', proto: 1, headers: true, jetstream: true, max_payload: 1048576 };
    const server = require('node:net').createServer((socket) => {
      socket.on('error', () => undefined).write('INFO ' + JSON.stringify(info) + '\\r\\n');
      socket.on('data', (bytes) => { if (bytes.includes('PING')) socket.write('PONG\\r\\n'); });
    });
    server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));`,
    { eval: true },
  );
  putOff(() => worker.terminate());
  const port = await new Promise<unknown>((resolve) => worker.once('message', resolve));
  return `nats://127.0.0.1:${String(port)}`;
}

test('G16 what is wrong is said by name: no server, one that is too old, flags that mean nothing', async (t) => {
  const { cwd, twz, putOff } = place(t, NOBODY);
  refused(twz('nodes'), 3, /EngineLost \(1607\): nats:\/\/127\.0\.0\.1:1: connection refused\n.*--servers/);
  refused(twz('where', 'f'.repeat(32)), 3, /EngineLost/);
  const old = await oldServer(putOff);
  refused(twz('nodes', '--servers', old), 3, /EngineTooOld \(1606\): nats-server 2\.9\.10 at .*: 2\.10\.27 or newer is needed/);
  if (host.sharing) {
    refused(twz('join', 'a.twz'), 3, /EngineLost/);
    refused(twz('join', 'a.twz', '--servers', old, '--dev', '--json'), 3, /"error":"EngineTooOld"/);
    // It has given the lock back.
    becomeNode(host, path.join(cwd, 'a.twz')).release();
  }
  refused(twz('join', 'a.twz', '--dev', '--servers', 'nats://10.0.0.1:4222'), 2, /--dev starts a server on this machine/);
  refused(twz('join', 'a.twz', '--store', 'x'), 2, /--store is for the server that --dev starts/);
  refused(twz('join', 'a.twz', '--space', './b.twz'), 2, /expected a name of a-z/);
  refused(twz('join', 'a.twz', '--name', 'a b'), 2, /expected letters/);
  refused(twz('join', 'a.twz', '--metrics', '65536'), 2, /expected a port/);
  refused(twz('join', 'a.twz', '--cache', '5MB'), 2, /expected bytes, or a number of KiB/);
  refused(twz('join', 'a.twz', '--speed', '0'), 2, /expected a number above 0/);
  refused(twz('join', 'a.twz', '--replicas', '9'), 2, /expected a number from 1 to 5/);
  refused(twz('plan', 'missing'), 3, /EngineLost/);
  refused(twz('plan', '-n', '0'), 2, /expected a number from 1 to 50/);
  refused(twz('nodes', '--servers', 'a,,b'), 2, /expected addresses/);
  refused(twz('nodes', '--seed', 'x', '--creds', 'y'), 2, /one of them/);
  refused(twz('nodes', '--creds', 'missing'), 3, /FileMissing .*there is no file missing/);
  refused(twz('where', 'abcd', 'missing'), 3, /SpaceMissing/);
});

test(
  'G16 one process of a space is its node at a time',
  { skip: host.sharing ? false : 'the host has no locks between processes' },
  (t) => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-cluster-'));
    t.after(() => fs.rmSync(directory, { recursive: true }));
    const lock = becomeNode(host, directory);
    assert.throws(
      () => becomeNode(host, directory),
      (error) => isTwzError(error, 'AlreadyJoined') && error.context['pid'] === process.pid,
    );
    // Between taking it and saying who has it.
    fs.writeFileSync(path.join(directory, 'node.lock'), '');
    assert.throws(
      () => becomeNode(host, directory),
      (error) => isTwzError(error, 'AlreadyJoined') && error.message.endsWith('another process is its node') && !('pid' in error.context),
    );
    lock.release();
    becomeNode(host, directory).release();
  },
);

test('G16 metrics: names that nodes give themselves stay within their quotes', () => {
  const id = '1'.repeat(32);
  const node = { id, name: 'a"} 1\ntwizzler_nodes 7\\', pid: 1, runs: true, speed: 1, load: 2, objects: 3, since: 0 };
  const engine = { kind: 'simulated', version: '2.15.1', replicas: 3, maxPayload: 1, atomic: true, connected: false } as const;
  const text = metricsText({ id, name: 'x', pid: 1, engine, counters: { fetchedBytes: 5, owned: 2 }, nodes: [node] });
  assert.deepEqual(
    text.split('\n').filter((line) => !line.startsWith('#')),
    [
      `twizzler_node_info{id="${id}",name="x",engine="simulated",version="2.15.1"} 1`,
      'twizzler_engine_connected 0',
      'twizzler_engine_replicas 3',
      'twizzler_fetched_bytes_total 5',
      'twizzler_owned 2',
      'twizzler_nodes 1',
      `twizzler_node_load{id="${id}",name="a\\"} 1\\ntwizzler_nodes 7\\\\"} 2`,
      `twizzler_node_objects{id="${id}",name="a\\"} 1\\ntwizzler_nodes 7\\\\"} 3`,
      '',
    ],
  );
});

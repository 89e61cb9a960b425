/** P5, P1: clients of a local server that mean no good: what they send is judged, limited and answered, and the others go on. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { connect as connectSocket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { LINE, META } from '../src/abi/format.ts';
import {
  RIGHT,
  connect,
  isTwzError,
  serve,
  struct,
  text,
  u32,
  type ErrorName,
  type Infer,
  type ObjectId,
  type ServeOptions,
  type Serving,
  type Space,
} from '../src/index.ts';
import { sendDescriptor } from '../src/host/linux/descriptors.ts';
import { FRAME_LIMITS, decodeChanges, encodeChanges, encodeFrame, type ChangedLine } from '../src/services/serve/frames.ts';
import { Wire } from '../src/services/serve/wire.ts';
import { Ground, fails, rejects } from './hosts.ts';
import { amount } from './thorough.ts';
import { chance } from './tools.ts';
import { until } from './until.ts';

const Leaf = struct('HostileLeaf', { n: u32, name: text });

interface Scene {
  readonly space: Space;
  readonly leaf: Infer<typeof Leaf>;
  readonly id: ObjectId;
  readonly serving: Serving;
  /** A client that behaves is served, and the object is as it was. */
  readonly unharmed: () => Promise<void>;
  /** A connection past the library. */
  readonly wire: () => Promise<Wire>;
}

async function scene(t: TestContext, options: ServeOptions = {}): Promise<Scene> {
  const space = new Ground('linux', t).open();
  const leaf = space.relaxed(() => space.create(Leaf, { n: 77, name: 'as it was' }));
  const { id } = space.object(leaf);
  const serving = await serve(space, options);
  t.after(() => serving.close());
  const client = await connect(serving.socket);
  t.after(() => client.close());
  const there = await client.get(id, Leaf);
  const wires: Wire[] = [];
  t.after(() => wires.forEach((each) => each.close()));
  return {
    space,
    leaf,
    id,
    serving,
    unharmed: async () => {
      assert.deepEqual(await client.read(() => [there.n, there.name]), [77, 'as it was']);
      await client.transact(() => (there.n = 78));
      await client.transact(() => (there.n = 77));
      assert.deepEqual([leaf.n, leaf.name], [77, 'as it was']);
    },
    wire: async () => {
      const wire = new Wire(serving.socket, 60_000);
      wires.push(wire);
      await wire.ask('hello', { version: 1 });
      return wire;
    },
  };
}

function raw(head: Uint8Array | string, headLength = head.length, bodyLength = 0, magic = 'TWL1'): Uint8Array {
  const bytes = typeof head === 'string' ? new TextEncoder().encode(head) : head;
  const frame = Buffer.alloc(12 + bytes.length);
  frame.write(magic, 0, 'latin1');
  frame.writeUInt32LE(headLength >>> 0, 4);
  frame.writeUInt32LE(bodyLength >>> 0, 8);
  frame.set(bytes, 12);
  return frame;
}

/** Sends bytes and gives what comes back until the server ends it. `hangUp`: the client ends it itself. */
function exchange(socket: string, bytes: Uint8Array, hangUp = false): Promise<string> {
  return new Promise((resolve) => {
    let got = '';
    const client = connectSocket(socket, () => {
      client.write(bytes, () => {
        if (hangUp) client.destroy();
      });
    });
    client.on('data', (chunk) => (got += chunk.toString('latin1')));
    // It is cut off: what it still wanted to send does not arrive.
    client.on('error', () => client.destroy());
    client.once('close', () => resolve(got));
  });
}

const GARBAGE: readonly (readonly [what: string, bytes: Uint8Array, says: RegExp])[] = [
  ['another protocol', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), /ServeProtocol/],
  ['zeros', new Uint8Array(100_000), /ServeProtocol/],
  ['a huge head', raw('{}', 0xffffffff), /ServeLimit/],
  ['a huge body', raw('{}', 2, 0xffffffff), /ServeLimit/],
  ['a head that is just too long', raw('{}', FRAME_LIMITS.head + 1), /ServeLimit/],
  ['a body that is just too long', raw('{}', 2, FRAME_LIMITS.body + 1), /ServeLimit/],
  ['a head that is no JSON', raw('{"re":1'), /ServeProtocol/],
  ['a head that is no UTF-8', raw(Uint8Array.of(0xff, 0xfe, 0x22)), /ServeProtocol/],
  ['a head that is a list', raw('[1]'), /ServeProtocol/],
  ['a head that is nothing', raw('null'), /ServeProtocol/],
  ['an empty head', raw(''), /ServeProtocol/],
  ['a head of depth', raw('['.repeat(60_000)), /ServeProtocol/],
  ['no number', raw('{"ask":"hello"}'), /ServeProtocol/],
  ['a number that is none', raw('{"re":-1,"ask":"hello"}'), /ServeProtocol/],
  ['another magic', raw('{"re":1,"ask":"hello","version":1}', undefined, 0, 'TWL2'), /ServeProtocol/],
];

test('P5 what is no frame ends the connection, with a reason, and nobody else’s', async (t) => {
  const { serving, unharmed } = await scene(t);
  for (const [what, bytes, says] of GARBAGE) assert.match(await exchange(serving.socket, bytes), says, what);
  await unharmed();
  // Half a frame, and gone; or there for ever: it holds what it has sent, and nothing else.
  for (const length of [0, 1, 11, 12, 13, 30])
    await exchange(serving.socket, raw('{"re":1,"ask":"hello","version":1}').subarray(0, length), true);
  const lasting = connectSocket(serving.socket, () => lasting.write(raw('{}', 65536, 1 << 20)));
  t.after(() => lasting.destroy());
  await unharmed();
});

test('P5 a frame in pieces of any size is the frame', async (t) => {
  const { serving } = await scene(t);
  const frames = Buffer.concat([
    encodeFrame({ re: 1, ask: 'hello', version: 1 }),
    encodeFrame({ re: 2, ask: 'lookup', path: '/x' }),
    raw('null'),
  ]);
  for (const size of [1, 5, 12, 13, 100]) {
    const got = await new Promise<string>((resolve) => {
      let all = '';
      const client = connectSocket(serving.socket);
      client.setNoDelay(true);
      client.on('data', (chunk) => (all += chunk.toString('latin1')));
      client.once('close', () => resolve(all));
      const send = (at: number): void => {
        if (at < frames.length) client.write(frames.subarray(at, at + size), () => send(at + size));
      };
      send(0);
    });
    assert.match(got, /"re":1,"version":1.*"re":2\}.*"re":0,"error".*ServeProtocol/s, `in pieces of ${size}`);
  }
});

test('P5 requests that are wrong are answered by typed errors, and the connection goes on', async (t) => {
  const { serving, wire, id, unharmed, space } = await scene(t);
  const early = new Wire(serving.socket, 60_000);
  await rejects('ServeProtocol', early.ask('open', { object: id }));
  await rejects('ServeProtocol', early.ask('hello', { version: 2 }));
  await early.ask('hello', { version: 1 });
  early.close();
  const one = await wire();
  const context = space.security.createContext({ key: space.security.createKey().id });
  const bare = space.security.createContext();
  const wrong: readonly (readonly [ask: string, head: object, error: ErrorName])[] = [
    ['dance', {}, 'ServeProtocol'],
    ['constructor', {}, 'ServeProtocol'],
    ['open', {}, 'ServeProtocol'],
    ['open', { object: 7 }, 'ServeProtocol'],
    ['open', { object: '../../etc/passwd' }, 'ServeProtocol'],
    ['open', { object: id.toUpperCase() + 'G' }, 'ServeProtocol'],
    ['open', { object: 'f'.repeat(32) }, 'ObjectMissing'],
    ['close', { object: 'f'.repeat(31) }, 'ServeProtocol'],
    ['lookup', { path: ['/'] }, 'ServeProtocol'],
    ['lookup', { path: '/'.repeat(5000) }, 'ServeProtocol'],
    ['prove', { context: 'xx', signature: '' }, 'ServeProtocol'],
    ['prove', { context: 'f'.repeat(32), signature: '' }, 'ObjectMissing'],
    ['prove', { context, signature: '' }, 'ServeUnproved'],
    ['prove', { context, signature: 'ff'.repeat(64) }, 'ServeUnproved'],
    ['prove', { context, signature: 'ff'.repeat(65) }, 'ServeProtocol'],
    ['prove', { context: bare, signature: 'ff'.repeat(64) }, 'ServeUnproved'],
    ['prove', { context: id, signature: 'ff'.repeat(64) }, 'ServeUnproved'],
    ['show', { capability: 'ff' }, 'ServeUnproved'],
    ['show', { capability: 'f' }, 'ServeProtocol'],
    ['show', { capability: 'ff'.repeat(4097) }, 'ServeProtocol'],
    ['allocate', { object: id, size: 0 }, 'ServeProtocol'],
    ['allocate', { object: id, size: -5 }, 'ServeProtocol'],
    ['allocate', { object: id, size: 2 ** 30 }, 'ServeProtocol'],
    ['allocate', { object: 'f'.repeat(32), size: 8 }, 'ObjectMissing'],
    ['refer', { object: id, target: 'f'.repeat(32) }, 'ObjectMissing'],
    ['commit', { released: 7 }, 'ServeProtocol'],
    ['commit', { released: [[id]] }, 'ServeProtocol'],
    ['commit', { released: [[id, 4096]] }, 'ServeProtocol'],
    ['commit', { used: [{ id }] }, 'ServeProtocol'],
  ];
  for (const [ask, head, error] of wrong) await rejects(error, one.ask(ask, head));
  assert.equal((await one.ask('lookup', { path: '/x' })).head['object'], undefined);
  // What is asked for and is not there leaves nothing behind.
  const { size } = space.kernel.handles;
  for (let i = 16; i < 80; i++) await rejects('ObjectMissing', one.ask('open', { object: `${i}`.repeat(16) }));
  assert.equal(space.kernel.handles.size, size);
  await unharmed();
});

const line = (number: number, value = 1): ChangedLine => ({
  line: number,
  mask: 1,
  words: Int32Array.of(value, 0, ...Array.from({ length: 14 }, () => 0)),
});

test('P1 a commit is judged: versions, rights, bounds, and what of an object is a client’s to change', async (t) => {
  const { wire, id, unharmed, space, leaf } = await scene(t);
  const one = await wire();
  const version = (): number => space.object(leaf).version;
  const at = space.object(leaf).rootOffset;
  const root = Math.floor(at / LINE);
  const commit = (lines: readonly ChangedLine[], base = version(), object: string = id): Promise<unknown> =>
    one.ask('commit', {}, encodeChanges([{ id: object as ObjectId, base, lines }]));
  const { size } = space.object(leaf);
  await rejects('TransactionOvertaken', commit([line(root)], version() - 1));
  await rejects('TransactionOvertaken', commit([line(root)], version() + 1));
  await rejects('ObjectMissing', commit([line(root)], 1, 'e'.repeat(32)));
  await rejects('OutOfRange', commit([line(size / LINE)]));
  await rejects('OutOfRange', commit([line(0xffffff)]));
  // Rights, kind, key, size, the table of references, the map of pages: all of the metadata page.
  for (const offset of [0, META.rights, META.kind, META.size, META.flags, META.root, META.ties, META.fot, META.pageMap, 4095])
    await rejects('ObjectForbidden', commit([line(Math.floor(offset / LINE))]));
  await rejects('ServeProtocol', commit([line(root), line(root)]));
  await rejects('ServeProtocol', commit([{ ...line(root), mask: 0 }]));
  await rejects('ServeProtocol', one.ask('commit', {}, encodeChanges([{ id, base: 1, lines: [line(root)] }]).subarray(0, 40)));
  const sealed = space.relaxed(() => space.seal(leaf));
  await rejects('ObjectForbidden', commit([line(root)], 1, sealed));
  const reading = space.object(space.relaxed(() => space.create(Leaf, { n: 1 }, { rights: RIGHT.read }))).id;
  await rejects('ObjectForbidden', commit([line(root)], 1, reading));
  const before = version();
  const joined = encodeChanges([{ id, base: before, lines: [] }]);
  await rejects('PointerCorrupt', one.ask('commit', { released: [[id, at + 8]] }, joined));
  await rejects('PointerCorrupt', one.ask('commit', { released: [[id, 4]] }, joined));
  await rejects('FotCorrupt', one.ask('commit', { unreferred: [[id, 9]] }, joined));
  // One of two that is refused takes the other with it.
  await rejects(
    'ObjectForbidden',
    one.ask(
      'commit',
      {},
      encodeChanges([
        { id, base: before, lines: [line(root, 5)] },
        { id: reading, base: 1, lines: [line(root)] },
      ]),
    ),
  );
  assert.equal(version(), before);
  await unharmed();
  // And one that is as it should be.
  const changed: ChangedLine = { line: root, mask: 1 << ((at % LINE) / 8), words: new Int32Array(16) };
  changed.words[(at % LINE) / 4] = 99;
  await commit([changed]);
  assert.equal(leaf.n, 99);
});

test('P5 limits: images, capabilities, blocks that are not used, clients', async (t) => {
  const { space, wire, serving, id } = await scene(t, {
    judge: { accept: () => undefined, rightsTo: () => 7 },
    limits: { images: 3, capabilities: 2, reserved: 4, clients: 6, clientsOfUser: 5, imageBytes: 1 << 20 },
  });
  const one = await wire();
  const made = space.relaxed(() => Array.from({ length: 4 }, () => space.object(space.create(Leaf, { n: 1 })).id));
  const open = async (which: ObjectId | undefined): Promise<void> => {
    const { descriptor } = await one.ask('open', { object: which });
    if (descriptor !== undefined) fs.closeSync(descriptor);
  };
  for (const each of made.slice(0, 3)) await open(each);
  await rejects('ServeLimit', open(made[3]));
  await open(made[0]);
  await one.ask('close', { object: made[0] });
  await open(made[3]);
  for (let i = 0; i < 2; i++) await one.ask('show', { capability: 'ff' });
  await rejects('ServeLimit', one.ask('show', { capability: 'ff' }));
  for (let i = 0; i < 4; i++) await one.ask('allocate', { object: id, size: 16 });
  await rejects('ServeLimit', one.ask('allocate', { object: id, size: 16 }));
  await rejects('ServeLimit', one.ask('refer', { object: id, target: made[0] }));
  const large = space.relaxed(() => space.createRaw(1 << 20)).id;
  await one.ask('close', { object: made[3] });
  await rejects('ServeLimit', open(large));
  // Two are here; three more of the same user may come.
  const more = [await wire(), await wire(), await wire()];
  await rejects('ServeGone', wire());
  more[0]?.close();
  await until(() => serving.clients <= 4);
  assert.equal((await (await wire()).ask('lookup', { path: '/' })).head['error'], undefined);
});

test('P5 one who sends and never reads is left waiting, and takes no memory; descriptors that are sent are closed', async (t) => {
  const { serving, unharmed, id } = await scene(t);
  const frames = [encodeFrame({ re: 1, ask: 'hello', version: 1 })];
  for (let i = 2; i < 2000; i++) frames.push(encodeFrame({ re: i, ask: 'open', object: id }));
  const flood = Buffer.concat(frames);
  const before = process.memoryUsage().arrayBuffers;
  const client = connectSocket(serving.socket).pause();
  t.after(() => client.destroy());
  await new Promise<void>((resolve) => client.once('connect', resolve));
  client.write(flood);
  for (let i = 0; i < 20; i++) await unharmed();
  assert.ok(process.memoryUsage().arrayBuffers - before < 16 << 20);
  client.destroy();

  const count = (): number => fs.readdirSync('/proc/self/fd').length;
  const sender = connectSocket(serving.socket);
  await new Promise<void>((resolve) => sender.once('connect', resolve));
  const handle: unknown = Reflect.get(sender, '_handle');
  assert.ok(typeof handle === 'object' && handle !== null && 'fd' in handle && typeof handle.fd === 'number');
  await unharmed();
  const open = count();
  const hello = encodeFrame({ re: 1, ask: 'hello', version: 1 });
  for (let i = 0; i < 200; i++) {
    while (sendDescriptor(handle.fd, hello, handle.fd) === 'full') await new Promise<void>((resolve) => setImmediate(resolve));
    if (i % 20 === 0) await unharmed();
  }
  await unharmed();
  assert.ok(count() <= open, `${count() - open} descriptors are open`);
  sender.destroy();
});

const REQUESTS = amount(500, 1500);

test('P5 random requests and commits, bent from good ones: typed answers, and an object of others that stays as it is', async (t) => {
  const seed = Number(process.env['TWZ_SEED'] ?? 20261121);
  t.diagnostic(`seed ${seed}`);
  const below = chance(seed);
  const seen = new Map<string, number>();
  const others = new Set<ObjectId>();
  const { space, wire, unharmed, leaf, id } = await scene(t, {
    judge: {
      accept: () => undefined,
      // The first object is not theirs; the others are.
      rightsTo: (target, { capabilities }) => (others.has(target.id) && capabilities.length > 0 ? RIGHT.read : 7),
    },
  });
  others.add(id);
  const theirs = space.relaxed(() => space.object(space.create(Leaf, { n: 1, name: 'theirs' })).id);
  let one = await wire();
  await one.ask('show', { capability: 'aa' });
  const pick = <T>(...values: readonly T[]): T => values[below(values.length)] as T;
  const value = (): unknown =>
    pick<unknown>(
      id,
      theirs,
      'f'.repeat(32),
      '',
      '/',
      0,
      1,
      8,
      -1,
      4096,
      2 ** 31,
      2 ** 53,
      1.5,
      null,
      true,
      [],
      {},
      [[id, 4096]],
      [[theirs, 4096]],
      [[theirs, 1]],
      'aa',
    );
  const names = [
    'object',
    'target',
    'size',
    'path',
    'key',
    'signature',
    'capability',
    'version',
    'released',
    'unreferred',
    'used',
    'referred',
  ];
  const version = (which: ObjectId): number => space.object(which).version;
  /** A request as a client might make it. */
  const made = (ask: string): Record<string, unknown> => {
    const object = pick(id, theirs, theirs, theirs);
    const places = (most: number): unknown => (below(4) === 0 ? [[object, pick(4096, 4112, 4160, 4608, 8192, below(most))]] : []);
    if (ask === 'lookup') return { path: pick('/', '/x', '/x/y') };
    if (ask === 'allocate') return { object, size: pick(8, 16, 100, 5000, 1 << 20) };
    if (ask === 'refer') return { object, target: pick(id, theirs) };
    if (ask === 'commit') return { released: places(16384), unreferred: places(4), used: places(16384), referred: places(4) };
    return { object, context: theirs, signature: 'aa', capability: 'aa', version: 1 };
  };
  for (let i = 0; i < REQUESTS; i++) {
    const ask = pick(
      'hello',
      'prove',
      'show',
      'open',
      'close',
      'lookup',
      'allocate',
      'allocate',
      'refer',
      'commit',
      'commit',
      'commit',
      'commit',
    );
    const head = made(ask);
    for (let bends = below(4) === 0 ? 1 + below(2) : 0; bends > 0; bends--) head[pick(...names)] = value();
    const target = pick(id, theirs, theirs, theirs);
    // Words of blocks, used and free, and sometimes any line at all.
    const at = new Set(Array.from({ length: below(4) }, () => (below(8) === 0 ? below(400) : 64 + below(64))));
    const lines = [...at].sort((a, b) => a - b).map((each) => line(each, pick(0, 1, 4096, 4160, below(2 ** 31))));
    const body = ask === 'commit' ? encodeChanges([{ id: target, base: version(target), lines }]) : new Uint8Array(below(8));
    for (let bends = below(6) === 0 ? 1 + below(3) : 0; bends > 0 && body.length > 0; bends--) body[below(body.length)] = below(256);
    let name = 'answered';
    try {
      const { descriptor } = await one.ask(ask, head, body.subarray(0, below(16) === 0 ? below(body.length + 1) : body.length));
      if (descriptor !== undefined) fs.closeSync(descriptor);
    } catch (error) {
      if (!isTwzError(error)) throw error;
      ({ name } = error);
      if (name === 'ServeGone' || one.gone) {
        one = await wire();
        await one.ask('show', { capability: 'aa' });
      }
    }
    seen.set(name, (seen.get(name) ?? 0) + 1);
    assert.deepEqual([leaf.n, leaf.name], [77, 'as it was'], `after request ${i}`);
  }
  t.diagnostic([...seen].map(([name, count]) => `${name} ${count}`).join(', '));
  assert.ok(['answered', 'ObjectForbidden', 'ServeProtocol'].every((name) => (seen.get(name) ?? 0) > REQUESTS / 15));
  await unharmed();
});

test('P5 bodies of commits: what was encoded is decoded, and nothing else is', () => {
  const id = 'ab'.repeat(16) as ObjectId;
  const changes = [
    {
      id,
      base: 2 ** 40 + 7,
      lines: [{ line: 70, mask: 0b1000_0001, words: Int32Array.of(1, -2, ...Array.from({ length: 12 }, () => 0), 3, 4) }],
    },
  ];
  assert.deepEqual(decodeChanges(encodeChanges(changes)), changes);
  const bytes = encodeChanges(changes);
  for (let length = 1; length < bytes.length; length++) fails('ServeProtocol', () => decodeChanges(bytes.subarray(0, length)));
  fails('ServeProtocol', () => decodeChanges(Uint8Array.of(...bytes, ...bytes)));
});

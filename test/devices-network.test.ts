/** T17: the network as objects: TCP and UDP by memory and threadSync alone. Loopback only. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import * as net from 'node:net';
import { test, type TestContext } from 'node:test';
import { openDevice, type NetworkDevice } from '../src/index.ts';
import { drive, firstReport, place, runs, world } from './devices-world.ts';
import { fails, rejects } from './hosts.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A server of Node's, on a port that is free. */
async function server(t: TestContext, serve: (socket: net.Socket) => void): Promise<number> {
  const sockets = new Set<net.Socket>();
  const made = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    serve(socket);
  });
  made.listen(0, '127.0.0.1');
  await once(made, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    made.close();
  });
  return (made.address() as net.AddressInfo).port;
}

async function all(stream: net.Socket): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += Buffer.isBuffer(chunk) ? chunk.toString() : '';
  return text;
}

/** Until no socket is in use: the driver has let go of all. */
async function idle(device: NetworkDevice, t: TestContext): Promise<void> {
  const { head, sockets } = device;
  const lines = head.words.dv.getUint32(head.at + 516, true);
  const { index } = head.interrupt(0);
  const used = (): number =>
    Array.from({ length: sockets }, (_, i) => Atomics.load(head.i32, (lines + i * 128) >> 2)).filter((owner) => owner !== 0).length;
  await head.until(
    () => {
      const value = Atomics.load(head.i32, index);
      return used() === 0 ? undefined : { index, value };
    },
    { timeout: 20_000 },
  );
  t.diagnostic('all sockets are idle');
}

// --- by plain words, from another process ---------------------------------------------------------------------------------------

test('T17 TCP: a server of plain words, asked by a client of Node', async (t) => {
  const { space } = await world(t, { network: true });
  const found = runs(space, 'echo');
  const { port } = (await firstReport(space)) as { port: number };
  const client = net.connect({ port, host: '127.0.0.1' });
  const text = 'abc'.repeat(100_000);
  client.end(text);
  assert.equal(await all(client), text);
  assert.equal(await found, text.length);
  await idle(openDevice(space, 'network'), t);
});

test('T17 TCP: a client of plain words, at a web server of Node', async (t) => {
  const web = createHttpServer((_request, response) => response.end('x'.repeat(50_000)));
  web.listen(0, '127.0.0.1');
  await once(web, 'listening');
  t.after(() => void web.close());
  const { space } = await world(t, { network: true });
  const { text, refused } = (await runs(space, 'web', String((web.address() as net.AddressInfo).port))) as {
    text: string;
    refused: number;
  };
  assert.match(text, /^HTTP\/1\.1 200 OK\r\n/);
  assert.ok(text.endsWith(`\r\n\r\n${'x'.repeat(50_000)}`));
  assert.equal(refused, 1207);
});

test('T17 UDP: datagrams by plain words', async (t) => {
  const { space } = await world(t, { network: true });
  const found = runs(space, 'datagram');
  const { port } = (await firstReport(space)) as { port: number };
  const client = createSocket('udp4');
  t.after(() => client.close());
  const answer = once(client, 'message');
  client.send('ping', port, '127.0.0.1');
  assert.equal(String((await answer)[0]), 'ping');
  assert.equal(await found, 'ping');
});

// --- as the library shows them --------------------------------------------------------------------------------------------------

test('T17 connections both ways, half closed, and their addresses', async (t) => {
  const { space } = await world(t, { network: { sockets: 4 } });
  const device = openDevice(space, 'network');
  const listener = await device.listen();
  const client = await device.connect(listener.local);
  const served = await listener.accept();
  assert.deepEqual([client.remote, served.local], [listener.local, listener.local]);
  assert.deepEqual(served.remote, client.local);
  await client.send(encoder.encode('question'));
  client.end();
  await assert.rejects(client.send(encoder.encode('more')), { name: 'QueueClosed' });
  assert.equal(decoder.decode(await served.receive()), 'question');
  assert.equal(await served.receive(), undefined);
  await served.send(encoder.encode('answer'));
  served.close();
  assert.equal(decoder.decode(await client.receive()), 'answer');
  assert.equal(await client.receive(), undefined);
  client.close();
  await assert.rejects(client.receive(), { name: 'QueueClosed' });
  const waiting = assert.rejects(listener.accept(), { name: 'QueueClosed' });
  listener.close();
  await waiting;
  await idle(device, t);
  await rejects('ConnectionRefused', device.connect(listener.local));
  await idle(device, t);
});

test('T17 IPv6', async (t) => {
  const { space } = await world(t, { network: true });
  const device = openDevice(space, 'network');
  const listener = await device.listen({ host: '::1' }).catch((error: Error) => error.name);
  if (typeof listener === 'string') {
    t.skip('this machine has no ::1');
    return;
  }
  using client = await device.connect(listener.local);
  assert.equal(client.remote.host, '::1');
  using served = await listener.accept();
  await client.send(encoder.encode('six'));
  assert.equal(decoder.decode(await served.receive()), 'six');
});

test('T17 addresses: loopback alone unless asked for, none that are wrong, none twice', async (t) => {
  const { space } = await world(t, { network: { sockets: 3 } });
  const device = openDevice(space, 'network');
  await rejects('AddressForbidden', device.connect({ host: '192.0.2.1', port: 9 }));
  await rejects('AddressForbidden', device.connect({ host: '::ffff:192.0.2.1', port: 9 }));
  await rejects('AddressForbidden', device.listen({ host: '0.0.0.0' }));
  await rejects('AddressForbidden', device.bind({ host: '::' }));
  for (const host of [
    '',
    '1.2.3',
    '256.1.1.1',
    '01.2.3.4',
    'example.com',
    ':::',
    '1::2::3',
    '::12345',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
  ])
    await rejects('AddressInvalid', device.connect({ host, port: 1 }));
  await rejects('AddressInvalid', device.connect({ port: 65_536 }));
  const listener = await device.listen();
  await rejects('AddressTaken', device.listen(listener.local));
  const bound = await device.bind();
  await bound.send(encoder.encode('x'), { host: '192.0.2.1', port: 9 });
  const third = await device.bind();
  await rejects('DeviceBusy', device.bind());
  third.close();
  for (const each of [listener, bound]) each.close();
  await idle(device, t);
  // Of a driver on this very thread.
  fails('NotSupported', () => device.connectSync(listener.local));
  await idle(device, t);
});

test('T17 back-pressure: who does not receive makes who sends wait, through the device', async (t) => {
  const { space } = await world(t, { network: true });
  const device = openDevice(space, 'network');
  let paused: net.Socket | undefined;
  const port = await server(t, (socket) => (paused = socket.pause()));
  using client = await device.connect({ port });
  const piece = new Uint8Array(1 << 20);
  let sent = 0;
  const stuck = async (): Promise<void> => {
    for (;;) {
      await client.send(piece, { timeout: 300 });
      sent += piece.length;
    }
  };
  await rejects('DeviceTimedOut', stuck());
  t.diagnostic(`${sent} bytes on their way`);
  assert.ok(sent < 64 << 20);
  let received = 0;
  paused?.on('data', (chunk) => (received += chunk.length));
  const ended = once(paused as net.Socket, 'end');
  paused?.resume();
  await client.send(piece);
  client.end();
  await ended;
  // The piece that did not go as a whole went in part.
  assert.ok(received >= sent + piece.length && received < sent + 2 * piece.length);
});

test('T17 a program that does not receive makes the other side wait', async (t) => {
  const { space } = await world(t, { network: true });
  const device = openDevice(space, 'network');
  const bytes = Buffer.alloc(24 << 20, 'z');
  let written = false;
  const port = await server(t, (socket) => socket.end(bytes, () => (written = true)));
  using client = await device.connect({ port });
  const first = await client.receive();
  let received = first?.length ?? 0;
  const timer = await rejects('DeviceTimedOut', (await device.bind()).receive({ timeout: 100 }));
  assert.equal(timer, undefined);
  assert.equal(written, false);
  for await (const chunk of client) received += chunk.length;
  assert.equal(received, bytes.length);
});

test('T17 a connection that the other side breaks off', async (t) => {
  const { space } = await world(t, { network: true });
  const device = openDevice(space, 'network');
  const port = await server(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const client = await device.connect({ port });
  await client.send(encoder.encode('x'));
  await rejects('ConnectionReset', client.receive());
  client.close();
  const aborting = await device.connect({ port });
  aborting.abort();
  aborting.abort();
  await assert.rejects(aborting.send(encoder.encode('x')), { name: 'QueueClosed' });
});

test('T17 more connections than sockets: those that find none wait, and get theirs', async (t) => {
  const { space } = await world(t, { network: { sockets: 3 } });
  const device = openDevice(space, 'network');
  const listener = await device.listen();
  const clients = Array.from({ length: 8 }, () => net.connect({ port: listener.local.port, host: '127.0.0.1' }));
  const answers = Promise.all(clients.map(all));
  for (let i = 0; i < clients.length; i++) {
    using connection = await listener.accept();
    await connection.send(encoder.encode(`you are ${i}`));
  }
  for (const client of clients) client.end();
  assert.deepEqual(
    (await answers).sort(),
    Array.from({ length: 8 }, (_, i) => `you are ${i}`),
  );
  listener.close();
  await idle(device, t);
});

test('T17 datagrams: whole, from whom, and dropped where nobody takes them', async (t) => {
  const { space } = await world(t, { network: true });
  const device = openDevice(space, 'network');
  using one = await device.bind();
  using two = await device.bind();
  await one.send(encoder.encode('a'), two.local);
  await one.send(new Uint8Array(0), two.local);
  const first = await two.receive();
  assert.deepEqual([decoder.decode(first.bytes), first.from], ['a', one.local]);
  assert.equal((await two.receive()).bytes.length, 0);
  fails('OutOfRange', () => one.sendSync(new Uint8Array(20_000), two.local));
  await one.send(encoder.encode('x'), { host: '192.0.2.1', port: 9 });
  for (let i = 0; i < 2000; i++) await one.send(new Uint8Array(1000), two.local);
  assert.equal(one.lastError?.name, 'AddressForbidden');
  await rejects('DeviceTimedOut', one.receive({ timeout: 20 }));
  assert.ok(two.dropped > 0);
  assert.equal((await two.receive()).bytes.length, 1000);
});

// --- the dead ---------------------------------------------------------------------------------------------------------------------

test(
  'T17 a program is killed: what it sent goes out, its connections are closed, its sockets come back',
  { timeout: 60_000 },
  async (t) => {
    const { space } = await world(t, { network: { sockets: 6 } });
    const device = openDevice(space, 'network');
    const texts: Promise<string>[] = [];
    const port = await server(t, (socket) => {
      texts.push(all(socket));
      socket.end();
    });
    const holder = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, space.directory, String(port)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [said]: unknown[] = await once(holder.stdout, 'data');
    const there = Number(String(said));
    const waiting = net.connect({ port: there, host: '127.0.0.1' });
    await once(waiting, 'connect');
    const reset = new Promise<void>((resolve) => waiting.once('close', () => resolve()));
    waiting.on('error', (error) => t.diagnostic(error.message));
    holder.kill('SIGKILL');
    await reset;
    await idle(device, t);
    assert.deepEqual(await Promise.all(texts), ['sent before', 'sent before']);
    await rejects('ConnectionRefused', device.connect({ port: there }));
  },
);

const HOLDER = `
  import { open, openDevice } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)};
  const network = openDevice(open(process.argv[1]), 'network');
  for (let i = 0; i < 2; i++) (await network.connect({ port: Number(process.argv[2]) })).sendSync(Buffer.from('sent before'));
  const bound = await network.bind();
  const listener = await network.listen();
  console.log(listener.local.port);
  setInterval(() => undefined, 1e6);
`;

test('T17 the driver of the network is killed: whoever waits is told', async (t) => {
  const space = place(t);
  const driver = await drive(t, space.directory, { network: true });
  const device = openDevice(space, 'network');
  const port = await server(t, () => undefined);
  const client = await device.connect({ port });
  const listener = await device.listen();
  const bound = await device.bind();
  const stuck = async (): Promise<void> => {
    for (;;) await client.send(new Uint8Array(1 << 20));
  };
  const waiting = [client.receive(), stuck(), listener.accept(), bound.receive()].map((each) => rejects('DeviceGone', each));
  driver.kill('SIGKILL');
  await Promise.all(waiting);
  await rejects('DeviceGone', device.connect({ port }));
  for (const each of [client, listener, bound]) each.close();
});

test('T17 the network is closed: connections end on both sides', async (t) => {
  const { space, devices } = await world(t, { network: true });
  const device = openDevice(space, 'network');
  const ends: Promise<string>[] = [];
  const port = await server(t, (socket) => ends.push(all(socket)));
  const client = await device.connect({ port });
  await client.send(encoder.encode('hello'));
  const listener = await device.listen();
  const waiting = [client.receive(), listener.accept()].map((each) => rejects('DeviceGone', each));
  await devices.close();
  await Promise.all(waiting);
  assert.equal(ends.length, 1);
  await Promise.allSettled(ends);
  client.close();
});

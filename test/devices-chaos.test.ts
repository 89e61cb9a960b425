/** T17: programs that use all devices at once are killed at any time. Nothing of them stays behind, and those that live notice nothing. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as net from 'node:net';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openDevice, startDevices, type Space } from '../src/index.ts';
import { place } from './devices-world.ts';

const PROGRAM = fileURLToPath(new URL('./devices-chaos-program.js', import.meta.url));
const ROUNDS = 3;

/** Resolves when programs have done so much more. */
async function progress(space: Space, more: number): Promise<void> {
  const done = space.names.get('/done');
  const words = done.sync();
  const index = done.rootOffset >> 2;
  const goal = Atomics.load(words.i32, index) + more;
  for (let now = Atomics.load(words.i32, index); now < goal; now = Atomics.load(words.i32, index)) await words.waitAsync(index, now);
}

/** Owners of the lines of a device that are not 0. */
function owners(space: Space, name: string, table: number, bytes: number, owner: number): number {
  const object = space.names.get(`/devices/${name}`);
  const { dv, i32 } = object.sync();
  const [count, first] = [dv.getUint32(object.rootOffset + table, true), dv.getUint32(object.rootOffset + table + 4, true)];
  return Array.from({ length: count }, (_, i) => Atomics.load(i32, (first + i * bytes + owner) >> 2)).filter((each) => each !== 0).length;
}

test('T17 programs that are killed in the midst of everything leave nothing behind', async (t) => {
  const seed = process.pid;
  t.diagnostic(`seed ${seed}`);
  let state = seed;
  const next = (below: number): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) % below;
  const space = place(t);
  space.relaxed(() => space.names.set('/done', space.createRaw(4096, { kind: 'shared' })));
  const output = new PassThrough();
  let lines = '';
  output.on('data', (chunk: Buffer) => (lines += chunk.toString()));
  const started = await startDevices(space, {
    console: { input: new PassThrough(), output },
    timer: { timers: 16 },
    entropy: true,
    network: { sockets: 24 },
    blocks: { disk: { file: `${space.directory}-disk`, size: 1 << 16, requests: 4 } },
  });
  t.after(() => started.close());
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket.on('close', () => sockets.delete(socket)));
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const failures: string[] = [];
  const start = (): ChildProcess => {
    const child = spawn(process.execPath, [PROGRAM, space.directory, String(port)], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr?.on('data', (chunk: Buffer) => failures.push(chunk.toString()));
    t.after(() => child.kill('SIGKILL'));
    return child;
  };
  const witness = start();
  await progress(space, 20);
  for (let round = 0; round < ROUNDS; round++) {
    const victim = start();
    await progress(space, 60 + next(100));
    const gone = once(victim, 'exit');
    victim.kill('SIGKILL');
    assert.deepEqual(await gone, [null, 'SIGKILL']);
  }
  // The one that was there all the time goes on.
  await progress(space, 50);
  const gone = once(witness, 'exit');
  witness.kill('SIGKILL');
  await gone;
  assert.deepEqual(failures, []);
  const head = openDevice(space, 'network').head;
  const left = (): number[] => [
    owners(space, 'network', 512, 128, 0),
    owners(space, 'timer', 512, 64, 4),
    owners(space, 'disk', 528, 64, 4),
    sockets.size,
  ];
  // Nothing wakes for the timers: a look now and then, and the test's own end where it never comes true.
  const idle = { index: head.interrupt(7).index, value: 0 };
  await head.until(() => (left().every((count) => count === 0) ? undefined : idle), { timeout: 60_000 }).catch(() => undefined);
  assert.deepEqual(left(), [0, 0, 0, 0]);
  // Each line is whole.
  assert.match(lines, /^(\d+\n)+$/);
  t.diagnostic(`${ROUNDS + 1} programs killed, ${lines.length} bytes written to the console`);
});

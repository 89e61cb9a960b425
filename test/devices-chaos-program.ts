/**
 * A program that uses all devices at once until it is killed: `devices-chaos-program.js DIRECTORY PORT`. It counts what it has done in the shared
 * object `/done`, so that its parent can kill it in the middle.
 */
import { open, openDevice } from '../src/index.ts';

const [directory = '', port = ''] = process.argv.slice(2);
const space = open(directory);
const done = space.names.get('/done');
const words = done.sync();

function count(): void {
  Atomics.add(words.i32, done.rootOffset >> 2, 1);
  words.wake(done.rootOffset >> 2);
}

async function forever(deed: () => Promise<unknown>): Promise<void> {
  for (;;) {
    await deed();
    count();
  }
}

const network = openDevice(space, 'network');
const timer = openDevice(space, 'timer');
const entropy = openDevice(space, 'entropy');
const terminal = openDevice(space, 'console');
const disk = openDevice(space, 'block', '/devices/disk');
const pages = space.relaxed(() => space.createRaw(4096, { kind: 'shared' }));

async function echo(): Promise<void> {
  using connection = await network.connect({ port: Number(port) });
  const bytes = await entropy.bytes(30_000);
  await connection.send(bytes);
  for (let have = 0; have < bytes.length;) {
    const got = await connection.receive();
    if (got === undefined || !got.every((byte, i) => byte === bytes[have + i])) throw new Error('the echo is wrong');
    have += got.length;
  }
}

async function serveOne(): Promise<void> {
  using listener = await network.listen();
  using connection = await network.connect(listener.local);
  using served = await listener.accept();
  await connection.send(new Uint8Array(10));
  await served.receive();
}

await Promise.all([
  forever(echo),
  forever(serveOne),
  forever(async () => {
    using pause = timer.arm({ every: 1 });
    await pause.wait();
  }),
  forever(() => terminal.write(`${process.pid}\n`)),
  forever(() => disk.write({ sector: 1, object: pages, at: pages.rootOffset })),
]);

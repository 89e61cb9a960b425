/** T17: devices as objects: console, clock, timers, random bytes. Programs use them by memory and threadSync alone. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { restoreBackup } from '../src/tools.ts';
import { devices, isTwzError, open, openDevice, startDevices, threadSyncAsync, type Space } from '../src/index.ts';
import { PROGRAM, drive, ended, place, reported, runs, world } from './devices-world.ts';
import { fails, rejects } from './hosts.ts';

/** Takes what comes out of a stream, up to a mark. */
async function until(stream: PassThrough, mark: string): Promise<string> {
  let text = '';
  while (!text.includes(mark)) {
    const chunk: unknown = stream.read();
    if (chunk === null) await once(stream, 'readable');
    else text += Buffer.isBuffer(chunk) ? chunk.toString() : '';
  }
  return text;
}

// --- by plain words, from another process -------------------------------------------------------------------------------------

test('T17 the clock: a few loads, from a process that makes no call', async (t) => {
  const { space } = await world(t, { clock: { resolution: 2 } });
  const before = [process.hrtime.bigint(), BigInt(Date.now()) * 1_000_000n] as const;
  const found = (await runs(space, 'clock')) as { resolution: number; monotonic: string; wall: string; later: boolean };
  assert.equal(found.resolution, 2_000_000);
  assert.ok(found.later);
  // Read after the program began, and before it ended.
  assert.ok(BigInt(found.monotonic) > before[0] && BigInt(found.monotonic) < process.hrtime.bigint());
  assert.ok(BigInt(found.wall) > before[1] - 1_000_000n && BigInt(found.wall) <= BigInt(Date.now() + 1) * 1_000_000n);
});

test('T17 a timer: words that say when, and one that is raised then', async (t) => {
  const { space } = await world(t, { timer: true, clock: true });
  assert.deepEqual(await runs(space, 'timer'), { fired: true, ticks: true });
});

test('T17 random bytes: a ring that is kept full, each record once', async (t) => {
  const { space } = await world(t, { entropy: true });
  const found = (await runs(space, 'entropy')) as string[];
  assert.equal(found.length, 200);
  assert.equal(new Set(found).size, 200);
  assert.ok(found.every((each) => /^[0-9a-f]{128}$/.test(each)));
});

test('T17 the console: a ring out, a ring in', async (t) => {
  const [input, output] = [new PassThrough(), Object.assign(new PassThrough(), { columns: 80, rows: 25 })];
  const { space } = await world(t, { console: { input, output } });
  const found = runs(space, 'console');
  assert.equal(await until(output, '? '), 'name? ');
  input.write('Ada\nand more');
  assert.equal(await until(output, '\n'), 'hello Ada\n');
  assert.deepEqual(await found, { name: 'Ada\n', columns: 80, rows: 25 });
});

// --- the tree --------------------------------------------------------------------------------------------------------------------

test('T17 devices are objects that the space names, and that go with their driver', async (t) => {
  const { space, devices: started } = await world(t, { clock: true, timer: { timers: 3 }, entropy: true });
  const [clock, timer, entropy] = devices(space);
  assert.deepEqual(
    [clock, timer, entropy].map((each) => [each?.path, each?.class, each?.number, each?.status]),
    [
      ['/devices/clock', 'clock', 0, 'ready'],
      ['/devices/timer', 'timer', 1, 'ready'],
      ['/devices/entropy', 'entropy', 2, 'ready'],
    ],
  );
  fails('DeviceMissing', () => openDevice(space, 'console'));
  fails('DeviceInvalid', () => openDevice(space, 'console', '/devices/clock'));
  fails('DeviceInvalid', () => openDevice(space, 'clock', '/report'));
  await rejects('DeviceBusy', startDevices(space, { clock: true }));
  const other = await startDevices(space, { clock: true, at: '/others' });
  assert.deepEqual(
    devices(space, '/others').map(({ path }) => path),
    ['/others/clock'],
  );
  await other.close();
  const before = [...space.ids()].length;
  await started.close();
  await started.close();
  assert.deepEqual(devices(space), []);
  assert.equal(space.names.find('/devices'), undefined);
  // The devices, their bus, and the namespace.
  assert.equal([...space.ids()].length, before - 5);
  const again = await startDevices(space, { clock: true });
  assert.equal(openDevice(space, 'clock').status, 'ready');
  await again.close();
});

test('T17 of two that start at once one drives the devices; a restored space has none, and begins anew', async (t) => {
  const space = place(t);
  const outcomes = await Promise.allSettled([startDevices(space, { clock: true }), startDevices(space, { clock: true })]);
  const [started] = outcomes.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const [refused] = outcomes.flatMap((each): unknown[] => (each.status === 'rejected' ? [each.reason] : []));
  assert.ok(started !== undefined && isTwzError(refused, 'DeviceBusy'));
  assert.equal(openDevice(space, 'clock').status, 'ready');
  // What has a name is kept.
  assert.deepEqual(space.reclaim().deleted, []);
  const backup = `${space.directory}-backup`;
  await space.backup(backup);
  await started.close();
  restoreBackup(new LinuxHost(), backup, `${space.directory}-restored`);
  const restored = open(`${space.directory}-restored`);
  assert.deepEqual(devices(restored), []);
  fails('DeviceMissing', () => openDevice(restored, 'clock'));
  const again = await startDevices(restored, { clock: true });
  assert.deepEqual(
    devices(restored).map(({ status }) => status),
    ['ready'],
  );
  await again.close();
  restored.close();
});

test('T17 nothing is started that was not asked for', async (t) => {
  const { devices: started, space } = await world(t, {});
  assert.deepEqual(started.names, []);
  assert.deepEqual(devices(space), []);
  await rejects('OutOfRange', startDevices(space, { at: '/x', timer: { timers: 0 } }));
  await rejects('OutOfRange', startDevices(space, { at: '/x', clock: { resolution: 0 } }));
  assert.equal(space.names.find('/x'), undefined);
});

// --- as the library shows them ----------------------------------------------------------------------------------------------------

test('T17 timers: one-shot, periodic, by the clock, many, cancelled, released', async (t) => {
  const { space } = await world(t, { clock: true, timer: { timers: 50 } });
  const device = openDevice(space, 'timer');
  const clock = openDevice(space, 'clock');
  const begun = process.hrtime.bigint();
  const all = Array.from({ length: 50 }, (_, i) => device.arm({ after: (i * 7) % 20 }));
  fails('DeviceBusy', () => device.claim());
  const times = await Promise.all(
    all.map(async (timer, i) => {
      assert.equal(await timer.wait(), 1);
      // Never early.
      return process.hrtime.bigint() - begun >= BigInt((i * 7) % 20) * 1_000_000n;
    }),
  );
  assert.ok(times.every(Boolean));
  const [first, second, third] = all as [(typeof all)[0], (typeof all)[0], (typeof all)[0]];
  for (let i = 0; i < 10; i++) {
    const due = process.hrtime.bigint() + 3_000_000n;
    first.arm({ at: due });
    first.waitSync();
    assert.ok(process.hrtime.bigint() >= due);
  }
  assert.ok(clock.monotonic() > begun);
  second.arm({ every: 1 });
  for (let fired = 0; fired < 5;) fired += second.waitSync();
  second.cancelSync();
  await rejects('DeviceTimedOut', second.wait({ timeout: 5 }));
  // A deadline that is long gone, and one that is far off.
  third.arm({ at: 1n });
  assert.equal(third.waitSync(), 1);
  third.arm({ after: 1e9 });
  fails('DeviceTimedOut', () => third.waitSync({ timeout: 1 }));
  third.arm({ after: 0 });
  assert.equal(await third.wait(), 1);
  fails('InvalidArgument', () => third.arm({ after: -1 }));
  fails('OutOfRange', () => third.arm({ every: 0 }));
  for (const timer of all) timer.release();
  fails('InvalidArgument', () => first.arm({ after: 1 }));
  // Their driver takes them back.
  await device.head.until(() => (tryClaim(space) ? undefined : { index: device.head.interrupt(7).index, value: 0 }), SOON);
});

/** What must happen by itself, and would otherwise be waited for without end. */
const SOON = { timeout: 20_000 } as const;

function tryClaim(space: Space): boolean {
  try {
    openDevice(space, 'timer').claim().release();
    return true;
  } catch {
    return false;
  }
}

test('T17 the console in lines and in bytes, to its end; long lines, and programs at once', async (t) => {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const { space } = await world(t, { console: { input, output } });
  const device = openDevice(space, 'console');
  assert.deepEqual(device.size, { columns: 0, rows: 0 });
  input.write('one\ntw');
  assert.equal(await device.read(), 'one\n');
  await rejects('DeviceTimedOut', device.read({ timeout: 5 }));
  input.write('o\nthree');
  assert.equal(await device.read(), 'two\n');
  device.mode = 'bytes';
  input.write('!');
  assert.equal(await device.read(), 'three');
  assert.equal(await device.read(), '!');
  device.mode = 'lines';
  input.end('rest');
  assert.equal(await device.read(), 'rest');
  assert.equal(await device.read(), undefined);
  const long = `${'ä'.repeat(100_000)}.`;
  const written = device.write(long);
  assert.equal(await until(output, '.'), long);
  await written;
});

test('T17 a console whose output stands still makes programs wait', async (t) => {
  const output = new PassThrough({ highWaterMark: 64 });
  const { space, devices: started } = await world(t, { console: { input: new PassThrough(), output } });
  const device = openDevice(space, 'console');
  const writing = device.write('x'.repeat(300_000));
  await rejects('DeviceTimedOut', openDevice(space, 'console').write('y'.repeat(300_000), { timeout: 50 }));
  output.resume();
  await writing;
  // Closing does not wait for it; what programs had written is handed on.
  output.pause();
  const stuck = rejects('DeviceGone', device.write('z'.repeat(300_000)));
  await rejects('DeviceTimedOut', device.read({ timeout: 20 }));
  await started.close();
  await stuck;
  assert.ok(output.readableLength + output.writableLength > 64 * 1016);
});

test('T17 random bytes of any length', async (t) => {
  const { space } = await world(t, { entropy: true });
  const device = openDevice(space, 'entropy');
  for (const length of [0, 1, 63, 64, 65, 1000]) assert.equal((await device.bytes(length)).length, length);
  const bytes = await device.bytes(64_000);
  // 64000 bytes, each of 256 values 250 times, more or less.
  assert.ok(new Set(bytes).size === 256);
  // What was taken is wiped, unless the driver was there again.
  const { u8 } = device.head.words;
  const last = (await device.bytes(64)).slice(0, 16);
  assert.equal(Buffer.from(u8.buffer, u8.byteOffset, u8.length).indexOf(last), -1);
});

// --- the dead ------------------------------------------------------------------------------------------------------------------

test('T17 the driver is killed: whoever waits is told, and another one takes over', async (t) => {
  const space = place(t);
  space.relaxed(() => space.names.set('/report', space.createRaw(65_536, { kind: 'shared' })));
  const driver = await drive(t, space.directory, { clock: true, timer: true, entropy: true, console: true });
  const clock = openDevice(space, 'clock');
  const timers = openDevice(space, 'timer');
  const console_ = openDevice(space, 'console');
  const entropy = openDevice(space, 'entropy');
  const timer = timers.arm({ after: 1e8 });
  const plain = spawn(process.execPath, [PROGRAM, space.directory, 'gone'], { stdio: ['ignore', 'ignore', 'inherit'] });
  const report = space.names.get('/report');
  await report.sync().waitAsync(report.rootOffset >> 2, 0);
  const waiting = [timer.wait(), console_.read(), entropy.bytes(100_000_000)].map((each) => rejects('DeviceGone', each));
  driver.kill('SIGKILL');
  await Promise.all(waiting);
  assert.equal(clock.status, 'gone');
  fails('DeviceGone', () => {
    for (;;) clock.read();
  });
  fails('DeviceGone', () => openDevice(space, 'clock'));
  fails('DeviceGone', () => console_.readSync());
  await ended(plain);
  assert.deepEqual(reported(space), { value: 'the driver died', open: [] });
  const again = await startDevices(space, { clock: true });
  assert.equal(openDevice(space, 'clock').status, 'ready');
  await again.close();
});

test('T17 devices are closed: whoever waits is told', async (t) => {
  const space = place(t);
  const driver = await drive(t, space.directory, { timer: true, entropy: true, console: true });
  const timer = openDevice(space, 'timer').arm({ after: 1e8 });
  const waiting = [timer.wait(), openDevice(space, 'console').read(), openDevice(space, 'entropy').bytes(100_000_000)].map((each) =>
    rejects('DeviceGone', each),
  );
  // One that sleeps without looking, by plain words.
  const bell = openDevice(space, 'entropy').head.interrupt(3);
  const sleeping = threadSyncAsync([{ sleep: bell, value: Atomics.load(bell.words.i32, bell.index) }]);
  driver.stdin?.write('close\n');
  await Promise.all(waiting);
  assert.notEqual((await sleeping).outcome, 'timedOut');
  await ended(driver);
  assert.deepEqual(devices(space), []);
});

test('T17 timers of a program that is killed come back', async (t) => {
  const { space } = await world(t, { timer: { timers: 2 }, clock: true });
  const holder = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, space.directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  fails('DeviceBusy', () => openDevice(space, 'timer').claim());
  holder.kill('SIGKILL');
  const { head } = openDevice(space, 'timer');
  await head.until(() => (tryClaim(space) ? undefined : { index: head.interrupt(7).index, value: 0 }), SOON);
});

const HOLDER = `
  import { open, openDevice } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)};
  const timer = openDevice(open(process.argv[1]), 'timer');
  timer.arm({ after: 1e9 });
  timer.arm({ every: 1 });
  console.log('holding');
  setInterval(() => undefined, 1e6);
`;

test('T17 the space is closed under its devices: they end', async (t) => {
  const space = place(t);
  const started = await startDevices(space, {
    clock: true,
    timer: true,
    entropy: true,
    console: { input: new PassThrough(), output: new PassThrough() },
  });
  const [timer, random, console_] = [
    openDevice(space, 'timer').arm({ after: 1e6 }),
    openDevice(space, 'entropy'),
    openDevice(space, 'console'),
  ];
  await console_.write('x');
  await random.bytes(1);
  const waiting = [timer.wait(), console_.read()].map((each) => rejects('DeviceGone', each));
  space.close();
  await Promise.all(waiting);
  await started.close();
  await rejects('DeviceGone', random.bytes(1));
  await rejects('DeviceGone', console_.write('x'));
  fails('DeviceGone', () => timer.arm({ after: 1 }));
  assert.equal(random.status, 'gone');
  timer.release();
  random.leave();
  console_.leave();
});

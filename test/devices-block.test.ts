/** T17: a file as a block device: sectors between it and the pages of objects, by memory and threadSync alone. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { openDevice, startDevices } from '../src/index.ts';
import { drive, place, runs } from './devices-world.ts';
import { fails, rejects } from './hosts.ts';

const diskOf = (directory: string): string => `${directory}-disk`;

test('T17 a block device by plain words: write, flush, read, discard, and errors', async (t) => {
  const space = place(t);
  const file = diskOf(space.directory);
  space.relaxed(() => {
    space.names.set('/report', space.createRaw(65_536, { kind: 'shared' }));
    space.names.set('/pages', space.createRaw(65_536, { kind: 'shared' }));
  });
  const started = await startDevices(space, { blocks: { disk: { file, size: 1 << 20 } } });
  assert.deepEqual(await runs(space, 'block'), {
    size: 512,
    sectors: 2048,
    // OutOfRange twice, and DeviceFailed.
    errors: [0, 0, 0, 102, 102, 1205],
    same: true,
    discarded: [0, 0, 0, 0],
  });
  await started.close();
  const bytes = fs.readFileSync(file);
  assert.equal(bytes.length, 1 << 20);
  assert.deepEqual([...bytes.subarray(6 * 512, 6 * 512 + 4)], [0, 7, 14, 21]);
});

test('T17 sectors of a file, against a plain array', async (t) => {
  const space = place(t);
  const file = diskOf(space.directory);
  const started = await startDevices(space, { blocks: { disk: { file, size: 64 * 512, requests: 4 } } });
  t.after(() => started.close());
  const device = openDevice(space, 'block', '/devices/disk');
  const pages = space.relaxed(() => space.createRaw(128 * 512, { kind: 'shared' }));
  const { u8 } = pages.sync();
  const model = new Uint8Array(64 * 512);
  const seed = process.pid;
  t.diagnostic(`seed ${seed}`);
  let state = seed;
  const next = (below: number): number => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) % below;
  for (let round = 0; round < 60; round++) {
    // Several at a time, of different sectors.
    await Promise.all(
      [0, 1, 2, 3, 4, 5].map(async (part) => {
        const [sector, count] = [part * 10 + next(8), 1 + next(2)];
        const [at, from] = [pages.rootOffset + part * 2048, sector * 512];
        const what = next(4);
        if (what === 0) {
          u8.fill(next(256), at, at + count * 512);
          model.set(u8.subarray(at, at + count * 512), from);
          await device.write({ sector, count, object: pages, at });
        } else if (what === 1) {
          model.fill(0, from, from + count * 512);
          await device.discard({ sector, count });
        } else if (what === 2) await device.flush();
        else {
          await device.read({ sector, count, object: pages, at });
          assert.deepEqual(u8.slice(at, at + count * 512), model.slice(from, from + count * 512));
        }
      }),
    );
  }
  assert.deepEqual(new Uint8Array(fs.readFileSync(file)), model);
});

test('T17 pages of owned objects: read by a transaction, written as committed', async (t) => {
  const space = place(t);
  const started = await startDevices(space, { blocks: { disk: { file: diskOf(space.directory), size: 1 << 16, sectorSize: 4096 } } });
  t.after(() => started.close());
  const device = openDevice(space, 'block', '/devices/disk');
  const [first, second] = space.relaxed(() => [space.createRaw(8192), space.createRaw(8192)]);
  space.relaxed(() => first.raw(first.rootOffset, 8192).fill(3));
  first.releaseRaw();
  await device.write({ sector: 1, count: 2, object: first, at: first.rootOffset });
  const { commits } = space.stat().transactions;
  await device.read({ sector: 1, count: 2, object: second, at: second.rootOffset });
  assert.equal(space.stat().transactions.commits, commits + 1);
  assert.deepEqual(second.bytes(second.rootOffset, 8192), new Uint8Array(8192).fill(3));
  const volatile = space.relaxed(() => space.createRaw(8192, { kind: 'volatile' }));
  await rejects('NotShared', device.write({ sector: 0, object: volatile, at: volatile.rootOffset }));
  await rejects('OutOfRange', device.read({ sector: 0, object: second, at: 0 }));
  await rejects('OutOfRange', device.read({ sector: 15, count: 2, object: second, at: 4096 }));
  await rejects('OutOfRange', device.discard({ sector: -1 }));
});

test('T17 a block device for reading, one that somebody has, one that is not there', async (t) => {
  const space = place(t);
  const file = diskOf(space.directory);
  await assert.rejects(startDevices(space, { blocks: { disk: { file } } }), { name: 'FileMissing' });
  await rejects('OutOfRange', startDevices(space, { blocks: { disk: { file, size: 1000 } } }));
  await rejects('OutOfRange', startDevices(space, { blocks: { disk: { file, size: 1024, sectorSize: 100 } } }));
  // What was made for a driver that did not start is gone: the root of the names may be there, and what remembers the deleted.
  assert.ok([...space.ids()].length <= 2);
  for (const name of ['a/b', '', 'system', 'sockets'])
    await rejects('InvalidArgument', startDevices(space, { blocks: { [name]: { file, size: 512 } } }));
  fs.writeFileSync(file, 'a'.repeat(1024 + 100));
  const started = await startDevices(space, { blocks: { disk: { file, readOnly: true } } });
  const device = openDevice(space, 'block', '/devices/disk');
  assert.deepEqual([device.readOnly, device.sectors, device.sectorSize], [true, 2, 512]);
  const pages = space.relaxed(() => space.createRaw(4096, { kind: 'shared' }));
  await device.read({ sector: 1, object: pages, at: pages.rootOffset });
  assert.equal(pages.bytes(pages.rootOffset, 1)[0], 97);
  await rejects('ReadOnly', device.write({ sector: 1, object: pages, at: pages.rootOffset }));
  await rejects('ReadOnly', device.discard({ sector: 1 }));
  await started.close();
  const writing = await startDevices(space, { blocks: { disk: { file } } });
  await rejects('DeviceBusy', startDevices(space, { at: '/more', blocks: { disk: { file } } }));
  await writing.close();
});

test('T17 requests of a program that is killed: their lines come back', async (t) => {
  const space = place(t);
  const started = await startDevices(space, { blocks: { disk: { file: diskOf(space.directory), size: 1 << 16, requests: 2 } } });
  t.after(() => started.close());
  const holder = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, space.directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(holder.stdout, 'data');
  const device = openDevice(space, 'block', '/devices/disk');
  await rejects('DeviceTimedOut', device.flush({ timeout: 20 }));
  const waiting = device.flush();
  holder.kill('SIGKILL');
  await waiting;
  // One that gives up leaves its line to the driver.
  const given = device.flush({ signal: AbortSignal.abort() }).catch((error: unknown) => error);
  assert.ok((await given) instanceof Error);
  await Promise.all(Array.from({ length: 20 }, () => device.flush()));
});

/** Claims all lines by hand: one never asked, one that was completed. */
const HOLDER = `
  import { open, openDevice } from ${JSON.stringify(new URL('../src/index.js', import.meta.url).href)};
  const { head } = openDevice(open(process.argv[1]), 'block', '/devices/disk');
  const lines = head.words.dv.getUint32(head.at + 532, true);
  for (const line of [lines, lines + 64]) Atomics.store(head.i32, (line + 4) >> 2, head.words.threads.self);
  Atomics.store(head.i32, (lines + 64 + 8) >> 2, 3);
  Atomics.store(head.i32, (lines + 64) >> 2, 1);
  head.knock();
  console.log('holding');
  setInterval(() => undefined, 1e6);
`;

test('T17 the driver of a block device is killed: whoever waits is told', async (t) => {
  const space = place(t);
  const file = diskOf(space.directory);
  const driver = await drive(t, space.directory, { blocks: { disk: { file, size: 1 << 20, requests: 2 } } });
  const device = openDevice(space, 'block', '/devices/disk');
  const pages = space.relaxed(() => space.createRaw(65_536, { kind: 'shared' }));
  driver.kill('SIGSTOP');
  await rejects('DeviceTimedOut', device.read({ sector: 0, object: pages, at: pages.rootOffset }, { timeout: 20 }));
  const waiting = [1, 2, 3, 4].map((sector) => rejects('DeviceGone', device.write({ sector, object: pages, at: pages.rootOffset })));
  const stopping = new AbortController();
  const aborted = assert.rejects(device.flush({ signal: stopping.signal }), { name: 'AbortError' });
  stopping.abort();
  await aborted;
  driver.kill('SIGKILL');
  await Promise.all(waiting);
  fails('DeviceGone', () => device.flushSync());
});

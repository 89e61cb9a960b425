/**
 * T5, T8: what the kernel asks of a machine, asked of every host that this machine has. The simulated host must behave like the
 * real ones, or nothing that the simulation shows is worth anything.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test, type TestContext } from 'node:test';
import { isTwzError, type ErrorName } from '../src/abi/errors.ts';
import type { Host } from '../src/host/host.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { PortableHost } from '../src/host/portable/portable.ts';
import { PowerLoss, SimulatedHost } from '../src/host/simulated/simulated.ts';

interface Machine {
  readonly host: Host;
  readonly directory: string;
  /** Lets everything happen that is under way. */
  readonly run: () => Promise<void>;
}

const PAGE = 4096;

function machine(name: Host['name'], t: TestContext): Machine {
  if (name === 'simulated') {
    const host = new SimulatedHost({ windowSize: 1 << 20 });
    host.makeDirectory('/tmp');
    return { host, directory: '/tmp', run: () => host.run() };
  }
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-host-'));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  return { host: name === 'linux' ? new LinuxHost() : new PortableHost(), directory, run: () => Promise.resolve() };
}

const fails = (name: ErrorName, call: () => unknown): void => assert.throws(call, (error) => isTwzError(error, name), `expected ${name}`);

function filled(length: number, first: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => first + i * 7);
}

function readAll(host: Host, file: string): Uint8Array {
  const open = host.open(file, 'read');
  const bytes = new Uint8Array(host.length(open));
  assert.equal(host.read(open, bytes, 0), bytes.length);
  host.close(open);
  return bytes;
}

const BEHAVIOURS: Readonly<Record<string, (machine: Machine) => void | Promise<void>>> = {
  'T8: a file has what was written, and zeros between'({ host, directory }) {
    const file = host.open(`${directory}/a`, 'create');
    const data = filled(5000, 3);
    host.write(file, data, 10_000);
    assert.equal(host.length(file), 15_000);
    const read = new Uint8Array(20_000).fill(9);
    assert.equal(host.read(file, read, 0), 15_000);
    assert.deepEqual(read.subarray(0, 10_000), new Uint8Array(10_000));
    assert.deepEqual(read.subarray(10_000, 15_000), data);
    assert.equal(host.read(file, read, 15_000), 0);
    host.sync(file);
    host.close(file);
    assert.deepEqual(readAll(host, `${directory}/a`).subarray(10_000), data);
  },

  'T8: truncation forgets, and what comes back is zero'({ host, directory }) {
    const file = host.open(`${directory}/a`, 'create');
    host.write(file, filled(9000, 1), 0);
    host.truncate(file, 4500);
    host.truncate(file, 12_000);
    const read = new Uint8Array(12_000);
    assert.equal(host.read(file, read, 0), 12_000);
    assert.deepEqual(read.subarray(0, 4500), filled(9000, 1).subarray(0, 4500));
    assert.deepEqual(read.subarray(4500), new Uint8Array(7500));
    host.close(file);
  },

  'T8: preallocation extends with zeros and keeps what there is'({ host, directory }) {
    const file = host.open(`${directory}/a`, 'create');
    host.write(file, filled(100, 1), 0);
    host.preallocate(file, 100_000);
    assert.equal(host.length(file), 100_000);
    host.preallocate(file, 5000);
    assert.equal(host.length(file), 100_000);
    host.close(file);
    const all = readAll(host, `${directory}/a`);
    assert.deepEqual(all.subarray(0, 100), filled(100, 1));
    assert.ok(all.subarray(100).every((byte) => byte === 0));
  },

  'T8: names are created, renamed over others, removed and listed'({ host, directory }) {
    host.makeDirectory(`${directory}/x/y`);
    host.makeDirectory(`${directory}/x/y`);
    for (const name of ['a', 'b']) {
      const file = host.open(`${directory}/x/${name}`, 'create');
      host.write(file, filled(10, name.charCodeAt(0)), 0);
      host.close(file);
    }
    assert.deepEqual(host.list(`${directory}/x`).sort(), ['a', 'b', 'y']);
    host.rename(`${directory}/x/a`, `${directory}/x/b`);
    host.syncDirectory(`${directory}/x`);
    assert.deepEqual(host.list(`${directory}/x`).sort(), ['b', 'y']);
    assert.deepEqual(readAll(host, `${directory}/x/b`), filled(10, 97));
    host.remove(`${directory}/x/b`);
    host.remove(`${directory}/x/b`);
    assert.equal(host.exists(`${directory}/x/b`), false);
    assert.equal(host.exists(`${directory}/x/y`), true);
    host.syncAll(directory);
  },

  'T8: a removed file lives on while it is open'({ host, directory }) {
    const file = host.open(`${directory}/a`, 'create');
    host.write(file, filled(100, 5), 0);
    host.remove(`${directory}/a`);
    const read = new Uint8Array(100);
    assert.equal(host.read(file, read, 0), 100);
    assert.deepEqual(read, filled(100, 5));
    host.close(file);
  },

  'T8: what is missing is a typed error'({ host, directory }) {
    fails('FileMissing', () => host.open(`${directory}/none`, 'read'));
    fails('FileMissing', () => host.open(`${directory}/none`, 'write'));
    fails('FileMissing', () => host.open(`${directory}/none/a`, 'create'));
    fails('FileMissing', () => host.list(`${directory}/none`));
    fails('FileMissing', () => host.rename(`${directory}/none`, `${directory}/some`));
    const file = host.open(`${directory}/a`, 'create');
    host.close(file);
    fails('IoError', () => host.write(file, new Uint8Array(1), 0));
    const reading = host.open(`${directory}/a`, 'read');
    fails('IoError', () => host.write(reading, new Uint8Array(1), 0));
    host.close(reading);
  },

  async 'T8: asynchronous syncs and durable writes resolve'({ host, directory, run }) {
    const created = host.open(`${directory}/a`, 'create');
    host.preallocate(created, 8192);
    const through = host.open(`${directory}/a`, 'writeThrough');
    const all = Promise.all([host.writeThroughAsync(through, filled(600, 1), 100), host.syncAsync(created), host.syncAllAsync(directory)]);
    await run();
    await all;
    host.write(through, filled(4, 60), 0);
    assert.deepEqual(readAll(host, `${directory}/a`).subarray(100, 700), filled(600, 1));
    host.close(created);
    host.close(through);
  },

  'T8: a space has one holder'({ host, directory }) {
    const lock = host.lock(`${directory}/lock`);
    fails('SpaceBusy', () => host.lock(`${directory}/lock`));
    lock.release();
    host.lock(`${directory}/lock`).release();
  },

  'T5: a window reads as zero, and a private mapping keeps its stores to itself'({ host, directory }) {
    const file = host.open(`${directory}/a`, 'create');
    host.write(file, filled(3 * PAGE, 1), 0);
    const window = host.openWindow();
    const bytes = new Uint8Array(window.buffer, 0, 1 << 19);
    assert.ok(window.size >= 1 << 19 && bytes[PAGE] === 0);
    window.mapPrivate(8 * PAGE, 2 * PAGE, file, PAGE);
    assert.deepEqual(bytes.slice(8 * PAGE, 10 * PAGE), filled(3 * PAGE, 1).subarray(PAGE));
    bytes[8 * PAGE] = 200;
    const pages = window.privatePages(8 * PAGE, 2 * PAGE);
    if (pages !== undefined) assert.deepEqual([...pages], [0, PAGE]);
    const read = new Uint8Array(1);
    host.read(file, read, PAGE);
    assert.equal(read[0], filled(3 * PAGE, 1)[PAGE]);
    host.write(file, Uint8Array.of(200), PAGE);
    window.drop(8 * PAGE, PAGE);
    assert.equal(bytes[8 * PAGE], 200);
    host.close(file);
    window.clear(8 * PAGE, 2 * PAGE, true);
    assert.ok(bytes.subarray(8 * PAGE, 10 * PAGE).every((byte) => byte === 0));
    window.close();
  },

  'T5: a shared mapping is the file'({ host, directory }) {
    const file = host.open(`${directory}/a`, 'create');
    host.preallocate(file, 4 * PAGE);
    const window = host.openWindow();
    const bytes = new Uint8Array(window.buffer, 0, 1 << 19);
    if (window.mapShared(4 * PAGE, 2 * PAGE, file, PAGE)) {
      bytes.set([1, 2, 3], 4 * PAGE + 5);
      const read = new Uint8Array(3);
      host.read(file, read, PAGE + 5);
      assert.deepEqual([...read], [1, 2, 3]);
      window.clear(4 * PAGE, 2 * PAGE, true);
      host.read(file, read, PAGE + 5);
      assert.deepEqual([...read], [1, 2, 3]);
    } else assert.equal(host.name, 'portable');
    window.close();
    host.close(file);
  },

  'T2: hashes and entropy'({ host }) {
    const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
    const text = new TextEncoder();
    assert.equal(hex(host.sha256(text.encode('a'), text.encode('bc'))), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    assert.equal(host.random(16).length, 16);
    assert.notDeepEqual(host.random(16), host.random(16));
  },

  async 'T8: time goes on, and callbacks come in their order'({ host, run }) {
    const order: string[] = [];
    const before = host.now();
    const done = new Promise<void>((resolve) => {
      host.timer(20, () => {
        order.push('timer');
        resolve();
      });
      host.timer(1, () => order.push('cancelled')).cancel();
      host.soon(() => order.push('soon'));
      order.push('now');
    });
    // A timer does not keep a real process alive.
    const alive = setTimeout(() => undefined, 10_000);
    await run();
    await done;
    clearTimeout(alive);
    assert.deepEqual(order, ['now', 'soon', 'timer']);
    assert.ok(host.now() > before);
  },
};

const HOSTS: readonly Host['name'][] = process.platform === 'linux' ? ['simulated', 'portable', 'linux'] : ['simulated', 'portable'];
for (const name of HOSTS)
  for (const [what, behaves] of Object.entries(BEHAVIOURS)) test(`${what} (${name})`, async (t) => behaves(machine(name, t)));

// --- what only the simulated host can do ----------------------------------------------------------------------------------------

function written(host: SimulatedHost, file: string, length: number): Uint8Array | undefined {
  if (!host.exists(file)) return undefined;
  const bytes = new Uint8Array(length);
  const open = host.open(file, 'read');
  host.read(open, bytes, 0);
  host.close(open);
  return bytes;
}

/** A file with 8 durable sectors of 1s, and 8 sectors of 2s and then 3s written over them. */
function overwritten(): SimulatedHost {
  const host = new SimulatedHost();
  const file = host.open('/a', 'create');
  host.write(file, new Uint8Array(PAGE).fill(1), 0);
  host.sync(file);
  host.syncDirectory('/');
  host.write(file, new Uint8Array(PAGE).fill(2), 0);
  host.write(file, new Uint8Array(PAGE).fill(3), 0);
  return host;
}

test('T8: simulated: power loss keeps what was synced and any mixture of the rest, by the sector', () => {
  const host = overwritten();
  assert.deepEqual(written(host.crash({ mode: 'lose' }), '/a', PAGE), new Uint8Array(PAGE).fill(1));
  assert.deepEqual(written(host.crash({ mode: 'first' }), '/a', PAGE), new Uint8Array(PAGE).fill(2));
  assert.deepEqual(written(host.crash({ mode: 'last' }), '/a', PAGE), new Uint8Array(PAGE).fill(3));
  const seen = new Set<number>();
  for (let seed = 0; seed < 20; seed++) {
    const found = written(host.crash({ mode: 'random', seed }), '/a', PAGE) ?? new Uint8Array();
    for (let at = 0; at < PAGE; at += 512) {
      seen.add(found[at] ?? 0);
      assert.ok(found.subarray(at, at + 512).every((byte) => byte === found[at]));
    }
  }
  assert.deepEqual(
    [...seen].sort((a, b) => a - b),
    [1, 2, 3],
  );
  assert.deepEqual(written(host.kill(), '/a', PAGE), new Uint8Array(PAGE).fill(3));
  assert.deepEqual(written(host.kill().crash({ mode: 'lose' }), '/a', PAGE), new Uint8Array(PAGE).fill(1));
});

test('T8: simulated: names are lost unless their directory was synced, renames whole', () => {
  const host = new SimulatedHost();
  host.makeDirectory('/d');
  host.syncDirectory('/');
  const file = host.open('/d/a', 'create');
  host.write(file, filled(10, 1), 0);
  host.sync(file);
  assert.deepEqual(host.crash({ mode: 'lose' }).list('/d'), []);
  host.syncDirectory('/d');
  host.rename('/d/a', '/d/b');
  for (let seed = 0; seed < 20; seed++) {
    const found = host.crash({ mode: 'random', seed });
    assert.equal(found.list('/d').length, 1);
    assert.deepEqual(written(found, `/d/${found.list('/d')[0]}`, 10), filled(10, 1));
  }
  assert.deepEqual(host.crash({ mode: 'lose' }).list('/d'), ['a']);
  assert.deepEqual(host.crash({ mode: 'keep' }).list('/d'), ['b']);
});

test('T8: simulated: a write-through makes its own bytes durable and no others', async () => {
  const host = new SimulatedHost();
  const file = host.open('/a', 'create');
  host.preallocate(file, 4 * PAGE);
  host.sync(file);
  host.syncDirectory('/');
  host.write(file, filled(100, 1), 0);
  const through = host.open('/a', 'writeThrough');
  const done = host.writeThroughAsync(through, filled(100, 2), 2 * PAGE);
  await host.run();
  await done;
  const found = written(host.crash({ mode: 'lose' }), '/a', 4 * PAGE) ?? new Uint8Array();
  assert.deepEqual(found.subarray(0, 100), new Uint8Array(100));
  assert.deepEqual(found.subarray(2 * PAGE, 2 * PAGE + 100), filled(100, 2));
});

test('T8: simulated: an asynchronous sync covers what was written before it began', async () => {
  const host = overwritten();
  const file = host.open('/a', 'write');
  const done = host.syncAsync(file);
  host.write(file, new Uint8Array(PAGE).fill(4), 0);
  await host.run();
  await done;
  assert.deepEqual(written(host.crash({ mode: 'lose' }), '/a', PAGE), new Uint8Array(PAGE).fill(3));
});

test('T8: simulated: after a failed sync the bytes are readable, and gone when the power fails, whatever is synced later', () => {
  const host = overwritten();
  const file = host.open('/a', 'write');
  host.setFaults([{ kinds: ['sync'], at: 0, fault: 'IoError' }]);
  fails('IoError', () => host.sync(file));
  host.sync(file);
  assert.deepEqual(written(host, '/a', PAGE), new Uint8Array(PAGE).fill(3));
  assert.deepEqual(written(host.crash({ mode: 'keep' }), '/a', PAGE), new Uint8Array(PAGE).fill(1));
  host.write(file, Uint8Array.of(4), 0);
  host.sync(file);
  assert.equal(written(host.crash({ mode: 'lose' }), '/a', PAGE)?.[PAGE - 1], 3);
});

test('T8: simulated: faults come when the plan says; interrupted and short calls go unseen', () => {
  const host = new SimulatedHost({
    faults: [
      { kinds: ['open'], at: 1, fault: 'TooManyFiles' },
      { kinds: ['read'], at: 0, times: 3, fault: 'interrupted' },
    ],
  });
  const file = host.open('/a', 'create');
  host.write(file, filled(10, 1), 0);
  fails('TooManyFiles', () => host.open('/a', 'read'));
  assert.deepEqual(written(host, '/a', 10), filled(10, 1));
  assert.equal(host.faults, 4);
  host.preallocate(file, PAGE);
  host.full = true;
  host.write(file, filled(10, 5), 100);
  fails('DiskFull', () => host.write(file, filled(10, 5), PAGE));
  fails('DiskFull', () => host.open('/b', 'create'));
});

test('T8: simulated: the world stops at the point asked for, and stays stopped; the same seed gives the same run', () => {
  const points = (host: SimulatedHost): string[] => {
    const seen: string[] = [];
    host.onPoint = (_, call) => seen.push(call);
    const file = host.open('/a', 'create');
    host.write(file, host.random(100), 0);
    host.sync(file);
    host.syncDirectory('/');
    return seen;
  };
  const first = points(new SimulatedHost({ seed: 5 }));
  assert.deepEqual(first, ['open /a', 'write /a 100 at 0', 'sync /a', 'syncDirectory /']);
  for (let stopAt = 0; stopAt < first.length; stopAt++) {
    const host = new SimulatedHost({ seed: 5 });
    host.stopAt = stopAt;
    assert.throws(() => points(host), PowerLoss);
    assert.throws(() => host.exists('/a'), PowerLoss);
    assert.equal(host.crash({ mode: 'keep' }).exists('/a'), stopAt > 0);
  }
});

/** T1, T18: imports that are killed in each phase, and the memory that a large one takes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chooseHost } from '../src/host/choose.ts';
import type { File, Host, OpenMode } from '../src/host/host.ts';
import { TwzError, isTwzError, open, ref, struct, text, u32, type Space } from '../src/index.ts';
import { each, importData, openImport, refs, removeStages } from '../src/services/import.ts';
import { scratch, sound } from './import-town.ts';
import { RING, ring } from './import-victim.ts';
import { amount } from './thorough.ts';

const VICTIM = fileURLToPath(new URL('import-victim.js', import.meta.url));

/** Kills an import at the n-th thing that it tells. Gives the last. */
function killAt(directory: string, total: number, n: number, stopAt: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [VICTIM, directory, String(total)], { stdio: ['ignore', 'pipe', 'inherit'] });
    let heard = '';
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (data: string) => {
      heard += data;
      const told = heard.split('\n').slice(0, -1);
      // Several may be heard at once; and it never ends by itself.
      if (told.length >= n || told.includes(stopAt) || told.includes('done')) child.kill('SIGKILL');
    });
    child.on('error', reject);
    child.on('close', (_code, signal) =>
      signal === 'SIGKILL' ? resolve(heard.trim().split('\n').at(-1) ?? '') : reject(new Error(`ended by ${signal}`)),
    );
  });
}

test('T1, T18 import: killed in any phase it leaves nothing that is seen, and the next one succeeds', async (t) => {
  const total = 12_000;
  const phases = new Set<string>();
  for (const [n, stopAt] of [
    [1, ''],
    [9, ''],
    [9999, 'resolve'],
    [9999, 'link'],
    [9999, 'done'],
  ] as const) {
    const directory = scratch();
    const last = await killAt(directory, total, n, stopAt);
    phases.add(last);
    const space = open(directory);
    const found = space.names.lookup('/imports/ring') !== undefined;
    if (last === 'done') assert.ok(found, 'what was reported done is there');
    if (!found) {
      assert.throws(
        () => openImport(space, 'ring'),
        (error) => isTwzError(error, 'NameMissing'),
      );
      await importData(space, 'ring', RING, [{ name: 'ring', format: 'ndjson', chunks: ring(total) }]);
    }
    assert.equal(removeStages(space), 0);
    assert.deepEqual(
      space.names.list('/imports').map(({ name }) => name),
      ['ring'],
    );
    walkRing(space, total);
    const parts = space.names.list('/imports/ring/nodes').length;
    // Root namespace, /imports, /imports/ring, its root, /imports/ring/nodes and what is in it, and the list of deleted objects.
    assert.ok([...space.ids()].length <= 6 + parts, 'no object is left over');
    sound(space);
  }
  t.diagnostic(`killed in: ${[...phases].join(', ')}`);
  assert.ok(phases.has('read') && phases.size >= 3);
});

function walkRing(space: Space, total: number): void {
  const Node = struct('Node', {
    id: u32,
    name: text,
    get next() {
      return ref(Node);
    },
    get all() {
      return refs(Node);
    },
  });
  let node = openImport(space, 'ring').get('nodes', 0, Node);
  for (let i = 0; i < total; i++) {
    assert.equal(node?.id, i);
    assert.equal(node.name, `node ${i}`);
    assert.deepEqual(
      [...each(node.all)].map(({ id }) => id),
      [1, 7, 49].map((n) => (i * n + n) % total),
    );
    node = node.next ?? undefined;
  }
  assert.equal(node?.id, 0, 'the ring closes');
}

// --- a full disk --------------------------------------------------------------------------------------------------------------

/** The host of this machine, on a disk that takes so many bytes of such files. */
function limited(room: number, files: RegExp): Host {
  const real = chooseHost(() => undefined);
  const counted = new Set<number>();
  let left = room;
  return new Proxy(real, {
    get(host, name) {
      if (name === 'open') {
        return (path: string, mode: OpenMode): File => {
          const file = real.open(path, mode);
          if (files.test(path)) counted.add(file);
          else counted.delete(file);
          return file;
        };
      }
      if (name === 'write') {
        return (file: File, from: Uint8Array, offset: number): void => {
          if (counted.has(file) && (left -= from.length) < 0) throw new TwzError('DiskFull', 'no room on the disk of this test');
          real.write(file, from, offset);
        };
      }
      const value: unknown = Reflect.get(host, name);
      return typeof value === 'function' ? value.bind(host) : value;
    },
  });
}

test('T18 import: a disk that fills up while it sorts ends it with DiskFull, and leaves nothing', async () => {
  const total = amount(2000, 4000);
  for (const room of [0, 75 * total, 175 * total]) {
    const space = open(scratch(), { host: limited(room, /scratch-/) });
    const run = (sortBytes: number): Promise<unknown> =>
      importData(space, 'ring', RING, [{ name: 'ring', format: 'ndjson', chunks: ring(total) }], { sortBytes });
    await assert.rejects(run(100_000), (error) => isTwzError(error, 'DiskFull'), `room for ${room} bytes`);
    assert.deepEqual(space.names.list('/imports'), []);
    // In memory it goes.
    await run(64 << 20);
    walkRing(space, total);
    sound(space);
  }
});

// --- memory -------------------------------------------------------------------------------------------------------------------

test('T18 import: memory does not grow with the input', async (t) => {
  const program = fileURLToPath(new URL('../examples/large-import/main.js', import.meta.url));
  const resident: number[] = [];
  for (const megabytes of [12, amount(28, 44)]) {
    const args = [
      '--max-old-space-size=48',
      program,
      '--megabytes',
      String(megabytes),
      '--dir',
      scratch(),
      '--sort-bytes',
      String(1 << 20),
      '--object-bytes',
      String(2 << 20),
      '--checkpoint-bytes',
      String(4 << 20),
      '--limit',
      '400',
    ];
    const { code, output } = await new Promise<{ code: number | null; output: string }>((resolve, reject) => {
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      let heard = '';
      child.stdout.on('data', (data: Buffer) => (heard += data.toString()));
      child.on('error', reject);
      child.on('close', (exit) => resolve({ code: exit, output: heard }));
    });
    assert.equal(code, 0, output);
    const report: { residentMiB: number; records: number; runs: number; objects: number; wrong: number } = JSON.parse(output);
    assert.equal(report.wrong, 0);
    assert.ok(report.runs > 5 && report.objects > 5, output);
    resident.push(report.residentMiB);
    t.diagnostic(
      `${megabytes} MiB, ${report.records} records, ${report.runs} runs, ${report.objects} objects: ${report.residentMiB} MiB resident`,
    );
  }
  const [small = 0, large = 0] = resident;
  // 130,000 keys and 320,000 references more would take more than 50 MiB if they were held in memory.
  assert.ok(large < small + 48, `${small} MiB for 12, ${large} MiB for 44`);
});

/**
 * T18: backups. A point is the space at one moment, whatever is committed while it is taken; a second one copies what changed; one that
 * is cut short leaves the others as they are; what is restored is, byte for byte, what was there.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';
import { isTwzError } from '../src/abi/errors.ts';
import type { File, Host } from '../src/host/host.ts';
import { open, type ObjectId, type Space } from '../src/index.ts';
import { listBackup, restoreBackup } from '../src/services/backup.ts';
import { checkSpace } from '../src/services/check.ts';
import { amount } from './thorough.ts';
import { Bench, Thing, chance, contentOf, host } from './tools.ts';

const SEED = Number(process.env['TWZ_SEED'] ?? 1811);

/** One random transaction. */
function change(space: Space, things: ObjectId[], next: (below: number) => number): void {
  space.relaxed(() => {
    for (let n = 1 + next(3); n > 0; n--) {
      const at = next(things.length);
      const id = things[at];
      const what = next(10);
      if (id === undefined || what < 3) {
        const made = space.create(Thing, { name: `thing ${things.length}`, count: next(1000) });
        if (id !== undefined) made.next = space.get(id, Thing);
        things.push(space.object(made).id);
      } else if (what === 3) {
        if (things.length < 5) continue;
        space.delete(id);
        things.splice(at, 1);
      } else if (what === 4) space.get(id, Thing).photo = Uint8Array.from({ length: next(40_000) }, (_, i) => (i * 7) & 255);
      else space.get(id, Thing).count = next(1 << 30);
    }
  });
}

test(`T18 a model: points taken while transactions go on are the moments they were taken at; seed ${SEED}`, async () => {
  const bench = new Bench();
  const next = chance(SEED);
  const things: ObjectId[] = [];
  let space = bench.space('s');
  const points: Map<ObjectId, string>[] = [];
  let during = 0;
  let copied = 0;
  for (let round = 0; round < amount(5, 7); round++) {
    for (let i = 0; i < 15; i++) change(space, things, next);
    if (round === 3)
      space.relaxed(
        () => (space.get(things[0] as ObjectId, Thing).photo = Uint8Array.from({ length: 3 << 20 }, (_, i) => (i >>> 4) & 255)),
      );
    if (round % 5 === 2) space.checkpoint();
    if (round % 4 === 3) {
      space.close();
      space = bench.space('s');
    }
    points.push(contentOf(space));
    const taken = space.backup(bench.path('bk'), { note: `round ${round}`, progress: (done) => (copied = Math.max(copied, done)) });
    let ended = false;
    taken.then(
      () => (ended = true),
      () => (ended = true),
    );
    // What is committed from here on is not in the point.
    change(space, things, next);
    while (!ended) {
      if (during < 400) change(space, things, next);
      if (during++ % 3 === 0 && round % 2 === 0) {
        // What was changed since the moment leaves memory.
        space.checkpoint();
        for (const h of space.kernel.handles.values()) space.kernel.cool(h);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    const report = await taken;
    assert.equal(report.point, round + 1);
    assert.equal(report.objects, points[round]?.size);
  }
  assert.ok(during > 12, 'no transaction came in between');
  assert.equal(space.kernel.snapshots.size, 0);
  space.close();
  assert.ok(listBackup(host, bench.path('bk'), { verify: true }).every(({ problem }) => problem === undefined));
  for (const [i, content] of points.entries()) {
    const directory = bench.path(`r${i}`);
    restoreBackup(host, bench.path('bk'), directory, { at: i + 1 });
    const report = checkSpace(host, directory);
    assert.equal(report.errors + report.warnings, 0, JSON.stringify(report.findings));
    const restored = bench.space(`r${i}`);
    assert.deepEqual(contentOf(restored), content, `point ${i + 1}`);
    // It goes on from there.
    const before = restored.stat().transactions.commits;
    change(
      restored,
      [...content.keys()].filter((id) => restored.object(id).schema?.root === 'Thing'),
      next,
    );
    assert.equal(restored.stat().transactions.commits, before + 1);
    restored.close();
  }
});

test('T18 a second backup copies what changed, and nothing else', async () => {
  const bench = new Bench();
  const space = bench.space('s');
  const ids: ObjectId[] = [];
  space.relaxed(() => {
    for (let i = 0; i < 200; i++) ids.push(space.object(space.create(Thing, { name: `thing ${i}`, count: i })).id);
  });
  const large = ids[7] as ObjectId;
  space.relaxed(
    () => (space.get(large, Thing).photo = Uint8Array.from({ length: 4 << 20 }, (_, i) => (Math.imul(i, 2654435761) >>> 24) & 255)),
  );
  const first = await space.backup(bench.path('bk'));
  assert.equal(first.changed, first.objects);
  const second = await space.backup(bench.path('bk'));
  assert.deepEqual([second.changed, second.added], [0, 0]);
  space.relaxed(() => {
    space.get(ids[3] as ObjectId, Thing).count = 1000;
    space.get(large, Thing).count = 1000;
  });
  const third = await space.backup(bench.path('bk'));
  assert.equal(third.changed, 2);
  assert.ok(third.added < 2.1 * 2 ** 20, `${third.added} bytes: of a large object only the chunk that changed`);
  // After reopening, too: nothing has been opened yet, and only headers are read.
  space.close();
  const again = bench.space('s');
  const fourth = await again.backup(bench.path('bk'));
  assert.deepEqual([fourth.changed, fourth.added], [0, 0]);
  assert.equal(again.stat().mapped.maps, 0);
  const full = await again.backup(bench.path('bk'), { full: true, keep: 2 });
  assert.equal(full.changed, full.objects);
  assert.deepEqual(full.removed, [1, 2, 3]);
  assert.deepEqual(
    listBackup(host, bench.path('bk'), { verify: true }).map(({ point }) => point),
    [4, 5],
  );
  // What only the removed points needed is gone, what the fourth needs is there.
  assert.deepEqual(fs.readdirSync(bench.path('bk')).sort(), [
    '000001.pack',
    '000003.pack',
    '000004.point',
    '000005.pack',
    '000005.point',
    'lock',
  ]);
  again.close();
});

test('T18 an object that is deleted and imported again, with the version that the backup has of another content, is read', async () => {
  const bench = new Bench();
  const bk = bench.path('bk');
  const space = bench.space('s');
  const id = space.relaxed(() => space.object(space.create(Thing, { count: 1 })).id);
  const back = (bytes: Uint8Array): void => {
    space.relaxed(() => void space.delete(id));
    space.relaxed(() => void space.import(bytes));
  };
  const old = space.object(id).export();
  space.relaxed(() => (space.get(id, Thing).count = 2));
  await space.backup(bk);
  back(old);
  assert.equal(space.object(id).version, 2);
  await space.backup(bk);
  // And while a backup is under way, after its moment.
  space.relaxed(() => (space.get(id, Thing).count = 3));
  const taken = space.backup(bk);
  space.relaxed(() => (space.get(id, Thing).count = 4));
  const { version } = space.object(id);
  await taken;
  const under = space.backup(bk);
  back(space.object(id).export());
  await under;
  space.relaxed(() => (space.get(id, Thing).count = 5));
  assert.ok(space.object(id).version > version);
  await space.backup(bk);
  space.close();
  const counts = [1, 2, 3, 4, 5].map((at) => {
    restoreBackup(host, bk, bench.path(`r${at}`), { at });
    const restored = bench.space(`r${at}`);
    const { count } = restored.get(id, Thing);
    restored.close();
    return count;
  });
  assert.deepEqual(counts, [2, 1, 3, 4, 5]);
});

test('T18 versions are believed of this very history only: not those of a restored space, a copy, or a repaired one', async () => {
  const bench = new Bench();
  const bk = bench.path('bk');
  const set = (directory: string, count: number): Promise<unknown> => {
    const space = bench.space(directory);
    space.relaxed(() => (space.names.get('/thing', Thing).count = count));
    return space.backup(bk).finally(() => space.close());
  };
  const first = bench.space('a');
  first.relaxed(() => first.names.set('/thing', first.create(Thing, { count: 1 })));
  await first.backup(bk);
  first.close();
  fs.cpSync(bench.path('a'), bench.path('copy'), { recursive: true });
  restoreBackup(host, bk, bench.path('restored'));
  // Three histories, in which the object has the same version and another content.
  await set('a', 10);
  await set('copy', 20);
  await set('restored', 30);
  await set('a', 11);
  const counts = [1, 2, 3, 4, 5].map((at) => {
    restoreBackup(host, bk, bench.path(`r${at}`), { at });
    const space = bench.space(`r${at}`);
    const { count } = space.names.get('/thing', Thing);
    space.close();
    return count;
  });
  assert.deepEqual(counts, [1, 10, 20, 30, 11]);
  checkSpace(host, bench.path('a'), { repair: { clear: false } });
  const repaired = bench.space('a');
  const report = await repaired.backup(bk);
  assert.equal(report.changed, report.objects);
  repaired.close();
});

/** A machine that stops at a given call that changes something in the backup, as a killed process does. */
function dying(inner: Host, directory: string, at: number): { host: Host; calls: () => number } {
  let calls = 0;
  const files = new Set<File>();
  const step = (): void => {
    if (++calls >= at) throw new Error('killed');
  };
  const changes = new Set(['rename', 'remove', 'syncDirectory', 'makeDirectory']);
  const onFiles = new Set(['write', 'sync', 'syncAsync', 'truncate']);
  const wrapped = new Proxy(inner, {
    get(target, name): unknown {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        const [first] = args;
        const inside = typeof first === 'string' && first.startsWith(directory);
        if ((inside && changes.has(String(name))) || (onFiles.has(String(name)) && files.has(first as File))) step();
        const result: unknown = value.apply(target, args);
        if (name === 'open' && inside) files.add(result as File);
        if (name === 'close') files.delete(first as File);
        return result;
      };
    },
  });
  return { host: wrapped, calls: () => calls };
}

test('T18 a backup that is killed at any of its steps leaves the earlier points, and the next one works', async () => {
  const bench = new Bench();
  const bk = bench.path('bk');
  const made = bench.space('s');
  made.relaxed(() => made.names.set('/thing', made.create(Thing, { name: 'first', photo: new Uint8Array(5000).fill(1) })));
  await made.backup(bk);
  made.close();
  fs.cpSync(bk, bench.path('before'), { recursive: true });
  let kills = 0;
  for (let at = 1; ; at++) {
    fs.rmSync(bk, { recursive: true });
    fs.cpSync(bench.path('before'), bk, { recursive: true });
    const machine = dying(host, bk, at);
    const space = open(bench.path('s'), { host: machine.host });
    space.relaxed(() => (space.names.get('/thing', Thing).count = at));
    const outcome = await space.backup(bk).then(
      () => 'done',
      (error: unknown) => {
        if (error instanceof Error && error.message === 'killed') return 'killed';
        throw error;
      },
    );
    space.close();
    const points = listBackup(host, bk, { verify: true });
    assert.ok(
      points.every(({ problem }) => problem === undefined),
      JSON.stringify(points),
    );
    assert.equal(points[0]?.point, 1);
    if (outcome === 'done') {
      assert.equal(points.length, 2);
      assert.ok(machine.calls() < at);
      break;
    }
    kills++;
    const next = bench.space('s');
    const report = await next.backup(bk);
    next.close();
    restoreBackup(host, bk, bench.path(`r${at}`), { at: report.point });
    const restored = bench.space(`r${at}`);
    assert.equal(restored.names.get('/thing', Thing).count, at);
    restored.close();
    assert.deepEqual(
      fs.readdirSync(bk).filter((name) => name.endsWith('.draft')),
      [],
    );
  }
  console.log(`${kills} of ${kills} kills survived`);
  assert.ok(kills >= 8);
});

test('T18 a restore that is killed at any of its steps leaves no space, and the next one works', async () => {
  const bench = new Bench();
  const bk = bench.path('bk');
  const made = bench.space('s');
  made.relaxed(() => made.names.set('/thing', made.create(Thing, { name: 'first' })));
  await made.backup(bk);
  made.close();
  let kills = 0;
  for (let at = 1; ; at++) {
    const directory = bench.path(`r${at}`);
    let done = true;
    try {
      restoreBackup(dying(host, directory, at).host, bk, directory);
    } catch (error) {
      if (!(error instanceof Error) || error.message !== 'killed') throw error;
      done = false;
      kills++;
      const there = fs.existsSync(directory);
      if (!there) {
        assert.throws(
          () => open(directory, { host, create: false }),
          (each) => isTwzError(each, 'SpaceMissing'),
        );
        // What it left behind is in nobody's way. (A copy of it: this process, which goes on, holds the lock.)
        if (fs.existsSync(`${directory}.draft`)) fs.cpSync(`${directory}.draft`, bench.path(`again${at}.draft`), { recursive: true });
        restoreBackup(host, bk, bench.path(`again${at}`));
        assert.equal(checkSpace(host, bench.path(`again${at}`)).errors, 0);
        continue;
      }
    }
    assert.equal(checkSpace(host, directory).errors, 0);
    if (done) break;
  }
  assert.ok(kills >= 10);
});

test('T18 backup and restore as commands: points, lists, times, refusals', async () => {
  const bench = new Bench();
  bench.good('init');
  bench.good('shell', '-c', 'new /thing {"n": 1}');
  assert.match(bench.good('backup', 'bk', '--note', 'before'), /^point 1: \d objects, .*\n$/);
  bench.good('shell', '-c', 'set /thing n 2');
  assert.equal(bench.json('backup', 'bk')['changed'], 1);
  assert.match(bench.good('backup', 'bk', '--list'), /^POINT.*\n +1 .*before\n +2 .*\n$/);
  const [first] = JSON.parse(bench.good('backup', 'bk', '--list', '--json')) as { time: number; note: string }[];
  assert.equal(first?.note, 'before');
  assert.match(bench.good('backup', 'bk', '--verify'), /sound: 2 points/);
  bench.good('restore', 'bk', 'one', '--at', '1');
  assert.equal(bench.good('shell', '-s', 'one', '-c', 'get /thing n').trim(), '1');
  assert.equal(bench.json('restore', 'bk', 'two')['point'], 2);
  assert.equal(bench.good('shell', '-s', 'two', '-c', 'get /thing n').trim(), '2');
  assert.match(bench.good('check', '-s', 'two'), /^sound/);
  assert.equal(bench.json('restore', 'bk', 'three', '--at', new Date((first?.time ?? 0) + 999_999_999).toISOString())['point'], 2);
  bench.bad('BackupMissing', 'restore', 'bk', 'four', '--at', '2001-01-01');
  bench.bad('BackupMissing', 'restore', 'bk', 'four', '--at', '77');
  bench.bad('BackupMissing', 'restore', 'nowhere', 'four');
  bench.bad('BackupMissing', 'backup', 'nowhere', '--list');
  bench.bad('NotEmpty', 'restore', 'bk', 'two');
  bench.bad('NotEmpty', 'backup', '.');
  bench.good('init', 'other');
  bench.bad('WrongSpace', 'backup', 'bk', '-s', 'other');
  assert.equal(bench.run(['restore', 'bk', 'four', '--at', 'soon']).code, 2);
  assert.equal(bench.run(['backup', 'bk', '--keep', '0']).code, 2);
  assert.equal(fs.existsSync(bench.path('four')), false);
  const space = bench.space('two');
  bench.bad('SpaceBusy', 'check', '-s', 'two');
  space.close();
});

test('T18 a damaged backup is told, and nothing is restored from it; a damaged object is not copied as if it were sound', () => {
  const bench = new Bench();
  bench.good('init');
  bench.good('shell', '-c', 'new /thing {"n": 1}');
  bench.good('backup', 'bk');
  bench.good('shell', '-c', 'set /thing n 2');
  bench.good('backup', 'bk');
  const flip = (file: string, at: number): void => {
    const bytes = fs.readFileSync(bench.path(file));
    bytes[at] = (bytes[at] ?? 0) ^ 4;
    fs.writeFileSync(bench.path(file), bytes);
  };
  flip('bk/000002.pack', 60);
  bench.bad('BackupCorrupt', 'restore', 'bk', 'r');
  assert.equal(fs.existsSync(bench.path('r')), false);
  bench.good('restore', 'bk', 'r', '--at', '1');
  const verified = bench.run(['backup', 'bk', '--verify']);
  assert.equal(verified.code, 1);
  assert.match(verified.out, / 2 +pack 2 at 0: \d+ bytes do not have the SHA-256/s);
  flip('bk/000001.point', 300);
  bench.bad('BackupCorrupt', 'restore', 'bk', 'r2', '--at', '1');
  // The next one does without what cannot be read.
  bench.good('backup', 'bk', '--full');
  bench.good('restore', 'bk', 'r3');
  const id = String(bench.json('stat', '/thing')['id']);
  flip(path.join('.twizzler/objects', id.slice(0, 2), `${id}.twz`), 50);
  bench.good('backup', 'bk');
  bench.bad('ObjectCorrupt', 'backup', 'bk', '--full');
  const left = bench.run(['backup', 'bk', '--full', '--skip-damaged', '--json']);
  assert.equal(left.code, 1);
  const report = JSON.parse(left.out) as { damaged: { id: string }[] };
  assert.deepEqual(
    report.damaged.map((each) => each.id),
    [id],
  );
});

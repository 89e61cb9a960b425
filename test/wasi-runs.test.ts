/** T21: what a run leaves behind: transactions, however the program ends; real directories into the space and back. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { Random } from '../src/host/simulated/random.ts';
import type { Space } from '../src/index.ts';
import { contentOf, exportFiles, fileAt, importFiles, putFile } from '../src/services/files/transfer.ts';
import { SpaceTree } from '../src/services/files/tree.ts';
import { fails, Ground, onHosts } from './hosts.ts';
import { amount } from './thorough.ts';
import { compiledC, noCompiler, runOn } from './wasi-found.ts';
import { machineOn } from './wasi-machine.ts';
import { realHome } from './wasi-home.ts';

const CREATE = 1;

function content(space: Space, path_: string): string | undefined {
  const tree = new SpaceTree(space);
  if (space.names.lookup(path_) === undefined) return undefined;
  return Buffer.concat([...contentOf(fileAt(tree, path_))].map((piece) => piece.slice())).toString();
}

const commits = (space: Space): number => space.stat().transactions.commits;

// --- what is committed, and when ----------------------------------------------------------------------------------------------

onHosts('T21: many small writes are one transaction; sync, close, and whoever reads them commit them', (ground) => {
  const space = ground.open();
  const m = machineOn(space);
  const [a, b] = [m.opened('a', { oflags: CREATE }), m.opened('b', { oflags: CREATE })];
  const since = commits(space);
  for (let i = 0; i < 500; i++) {
    m.write(a, `${i},`);
    m.write(b, `${i};`);
  }
  assert.equal(commits(space), since, 'they wait');
  assert.equal(m.read(b, 4, 0n), '0;1;');
  assert.equal(commits(space), since + 1, 'all files are committed together');
  m.write(a, 'end');
  const { end } = space.stat().log;
  assert.equal(m.call('fd_sync', a), 'success');
  const { log } = space.stat();
  assert.ok(log.end > end && log.synced === log.end, 'a sync makes them durable');
  m.write(b, 'more');
  m.tree.flush();
  assert.equal(commits(space), since + 3, 'the host can ask for it');
  m.write(a, 'x'.repeat(100_000));
  assert.equal(commits(space), since + 4, 'what is long does not wait');
});

onHosts('T21: killed at any point, the space shows all files as they were at one moment of the program', (ground) => {
  const seed = 11;
  const random = new Random(seed);
  let space = ground.open();
  for (let round = 0; round < amount(4, 8); round++) {
    const tree = new SpaceTree(space);
    const m = machineOn(space, { path: `/run-${round}` });
    const fds = ['a', 'b', 'c'].map((name) => m.opened(name, { oflags: CREATE }));
    const moments = [['', '', '']];
    const now = ['', '', ''];
    for (let i = 0; i < 40; i++) {
      const k = random.below(3);
      const piece = random.chance(0.05) ? `${i} `.repeat(30_000) : `${i} `;
      m.write(fds[k] ?? 0, piece);
      now[k] += piece;
      moments.push([...now]);
      // Things on the way that commit.
      if (random.chance(0.1)) m.read(fds[k] ?? 0, 10, 0n);
      if (random.chance(0.05)) m.call('path_create_directory', 3, ...m.text(`d${i}`));
      if (random.chance(0.05)) m.call('fd_datasync', fds[k] ?? 0);
    }
    assert.ok(tree.open(`/run-${round}`).exists());
    space = ground.afterDeath(space);
    const found = ['a', 'b', 'c'].map((name) => content(space, `/run-${round}/${name}`));
    const at = moments.findIndex((moment) => moment.every((text, i) => text === found[i]));
    assert.ok(at >= 0, `seed ${seed}, round ${round}: files of different moments`);
  }
});

onHosts('T21: files grow as far as they may, and no further', (ground) => {
  const m = machineOn(ground.open(), { fileBytesMax: 100_000, bytesMax: 150_000 });
  const a = m.opened('a', { oflags: CREATE });
  assert.equal(m.call('fd_filestat_set_size', a, 100_000n), 'success');
  assert.equal(m.write(a, 'x', 100_000n), 'dquot');
  assert.equal(m.write(a, 'x', 2n ** 50n), 'dquot');
  assert.equal(m.call('fd_filestat_set_size', a, 2n ** 40n), 'dquot');
  assert.equal(m.call('fd_filestat_set_size', a, 2n ** 60n), 'fbig');
  assert.equal(m.call('fd_allocate', a, 2n ** 63n, 2n ** 63n), 'fbig');
  const b = m.opened('b', { oflags: CREATE });
  assert.equal(m.write(b, 'x', 60_000n), 'dquot', 'all files together');
  assert.equal(m.call('fd_filestat_set_size', a, 10n), 'success');
  assert.equal(m.write(b, 'x', 60_000n), 1, 'what was given back can be used');
  assert.equal(m.wasi.trouble?.name, 'FilesQuota');
});

// --- programs in compartments -------------------------------------------------------------------------------------------------

const c = { skip: noCompiler() };

test('T21: what POSIX says of files holds, in a run of many transactions and in one that is one', c, (t) => {
  const space = new Ground('linux', t).open();
  const env = { COLOUR: 'blue' };
  const first = runOn(space, compiledC('posix'), ['posix'], { env });
  assert.deepEqual({ code: first.code, out: first.out }, { code: 0, out: '662 checks, 0 failed\n' });
  const since = commits(space);
  const second = runOn(space, compiledC('posix'), ['posix'], { env, atomic: true });
  assert.equal(second.out, '662 checks, 0 failed\n');
  assert.equal(commits(space), since + 1);
});

test('T21: however a program ends, what it wrote counts; unless the run is one transaction that did not end well', c, (t) => {
  const space = new Ground('linux', t).open();
  const ending = compiledC('ending');
  const limits = { time: 500 };
  for (const [how, code, fault] of [
    ['well', 0, undefined],
    ['code', 9, undefined],
    ['trap', 134, 'ProgramFault'],
    ['loop', 134, 'ProgramTimeout'],
  ] as const) {
    const ran = runOn(space, ending, ['ending', how, how], { limits });
    assert.deepEqual([ran.code, ran.fault?.name, ran.out], [code, fault, 'wrote\n'], how);
    assert.equal(content(space, '/files/out'), how);
    const atomic = runOn(space, ending, ['ending', how, `atomic ${how}`], { limits, atomic: true });
    assert.deepEqual([atomic.code, atomic.fault?.name, atomic.out], [code, fault, 'wrote\n'], how);
    assert.equal(content(space, '/files/out'), how === 'well' ? 'atomic well' : how);
  }
  const filled = runOn(space, ending, ['ending', 'fill'], { bytesMax: 1 << 20 });
  assert.deepEqual([filled.code, filled.err, filled.trouble?.name], [4, 'fill: Quota exceeded\n', 'FilesQuota']);
});

test('T21: a module that imports what there is not is refused by name', (t) => {
  const space = new Ground('linux', t).open();
  // (module (import "env" "fork" (func)))
  const module = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 2, 12, 1, 3, 101, 110, 118, 4, 102, 111, 114, 107, 0, 0);
  fails('ProgramInvalid', () => runOn(space, module, ['x']));
  fails('ProgramInvalid', () => runOn(space, Uint8Array.of(1, 2, 3), ['x']));
});

// --- real directories -----------------------------------------------------------------------------------------------------------

test('T21: a directory goes into the space and comes out the same; what cannot go is named', (t) => {
  const space = new Ground('linux', t).open();
  const tree = new SpaceTree(space);
  const { top, home } = realHome(t);
  const into = importFiles(tree, home, '/site');
  assert.deepEqual(
    { ...into, skipped: into.skipped.map((each) => each.path) },
    { files: 3, directories: 2, links: 1, bytes: 3_000_005, skipped: ['absolute'] },
  );
  assert.equal(content(space, '/site/sub/link'), 'hello');
  assert.equal(fileAt(tree, '/site/a.txt').stat().modified, 2_000_000_000_000n);
  fails('NameExists', () => importFiles(tree, home, '/site'));
  fs.writeFileSync(`${home}/a.txt`, 'again');
  importFiles(tree, home, '/site', { replace: true });
  assert.equal(content(space, '/site/a.txt'), 'again');
  assert.deepEqual(space.reclaim().deleted, [], 'what was replaced is gone');
  space.names.link('/site/other', '/site/a.txt');
  const out = exportFiles(tree, '/site', `${top}/out`);
  assert.deepEqual([out.files, out.links, out.skipped.map((each) => each.path)], [3, 1, ['other']]);
  for (const file of ['a.txt', 'sub/deep/big', 'sub/☃'])
    assert.ok(fs.readFileSync(`${top}/out/${file}`).equals(fs.readFileSync(`${home}/${file}`)));
  assert.equal(fs.readlinkSync(`${top}/out/sub/link`), '../a.txt');
  fails('NameExists', () => exportFiles(tree, '/site', `${top}/out`));
  fs.rmSync(`${top}/out/sub`, { recursive: true });
  fs.mkdirSync(`${top}/elsewhere`);
  fs.symlinkSync('../elsewhere', `${top}/out/sub`);
  fails('FileKind', () => exportFiles(tree, '/site', `${top}/out`, { replace: true }));
  assert.deepEqual(fs.readdirSync(`${top}/elsewhere`), [], 'a link in the way is not followed');
  fails('FileMissing', () => importFiles(tree, `${top}/none`, '/site'));
  fails('FileKind', () => exportFiles(tree, '/site/a.txt', `${top}/x`));
});

test('T21: a long file has its name when it is whole', (t) => {
  const space = new Ground('linux', t).open();
  const tree = new SpaceTree(space);
  const directory = tree.open('/site', true);
  function* pieces(): Generator<Uint8Array> {
    for (let i = 0; i < 3; i++) yield new Uint8Array(1 << 20).fill(i);
    assert.equal(directory.find('file'), undefined);
    throw new Error('the source broke');
  }
  assert.throws(() => putFile(tree, directory, 'file', pieces()), /the source broke/);
  assert.equal(directory.find('file'), undefined);
  assert.equal(space.reclaim().deleted.length > 0, true, 'what was written is found by reclaim');
});

/** T21: WASI preview 1 on a space: what programs see of files that are objects, call by call. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WASI_CALLS } from '../src/runtime/wasi/wasi.ts';
import { RIGHTS } from '../src/runtime/wasi/numbers.ts';
import { ProgramExit } from '../src/runtime/exit.ts';
import { fails, onHosts } from './hosts.ts';
import { Machine, machineOn } from './wasi-machine.ts';

const CREATE = 1;
const DIRECTORY = 2;
const EXCLUSIVE = 4;
const TRUNCATE = 8;
const APPEND = 1;
const [SET, CUR, END] = [0, 1, 2];

test('T21: preview 1 has 46 calls, and all are there', () => {
  assert.equal(WASI_CALLS.size, 46);
});

onHosts(
  'T21: a file that is created, written and closed is an object, there for the next program and after the death of the process',
  (ground) => {
    let space = ground.open();
    const m = machineOn(space);
    const fd = m.opened('greeting', { oflags: CREATE });
    assert.equal(m.write(fd, 'hello, '), 7);
    assert.equal(m.write(fd, 'space'), 5);
    assert.equal(m.call('fd_close', fd), 'success');
    space = ground.afterDeath(space);
    const next = machineOn(space);
    const again = next.opened('greeting');
    assert.equal(next.read(again), 'hello, space');
    assert.equal(next.read(again), '');
    assert.equal(space.names.get('/files/greeting').schema?.root, 'File');
    assert.equal(next.read(99), ':badf');
  },
);

onHosts('T21: open: each flag does what it says, and is refused where it cannot', (ground) => {
  const m = machineOn(ground.open());
  assert.equal(m.open('a'), 'noent');
  const a = m.opened('a', { oflags: CREATE | EXCLUSIVE });
  m.write(a, '0123456789');
  assert.equal(m.open('a', { oflags: CREATE | EXCLUSIVE }), 'exist');
  assert.equal(m.read(m.opened('a', { oflags: CREATE })), '0123456789', 'it is there: it is opened');
  assert.equal(m.open('a', { oflags: DIRECTORY }), 'notdir');
  assert.equal(m.open('a/', {}), 'notdir');
  assert.equal(m.open('new/', { oflags: CREATE }), 'isdir');
  assert.equal(m.open('a', { oflags: CREATE | DIRECTORY }), 'inval');
  assert.equal(m.open('a', { oflags: 16 }), 'inval');
  assert.equal(m.open('a', { flags: 32 }), 'inval');
  assert.equal(m.call('path_create_directory', 3, ...m.text('d')), 'success');
  assert.equal(m.open('d', { rights: BigInt(RIGHTS.fdWrite) }), 'isdir');
  assert.equal(typeof m.open('d', { oflags: DIRECTORY }), 'number');
  const appending = m.opened('a', { flags: APPEND });
  assert.equal(m.seek(appending, 0n, SET), 0n);
  m.write(appending, 'X');
  assert.equal(m.seek(appending, 0n, CUR), 11n);
  m.opened('a', { oflags: TRUNCATE });
  assert.equal(m.read(a, 100, 0n), '', 'another descriptor sees it');
});

onHosts('T21: read, write, seek and tell agree with each other, through several descriptors and behind the end', (ground) => {
  const m = machineOn(ground.open());
  const a = m.opened('a', { oflags: CREATE });
  const b = m.opened('a');
  m.write(a, 'abcdef');
  assert.equal(m.read(b, 3), 'abc', 'what one wrote the other reads at once');
  assert.equal(m.write(b, 'XY'), 2);
  assert.equal(m.seek(b, 0n, CUR), 5n);
  assert.equal(m.read(a, 10, 0n), 'abcXYf');
  assert.equal(m.call('fd_tell', a, m.out), 'success');
  assert.equal(m.u64(), 6n, 'reading at a place moves nothing');
  assert.equal(m.write(a, 'Z', 10n), 1);
  assert.equal(m.read(b, 20, 0n), 'abcXYf\0\0\0\0Z', 'between is zero');
  assert.equal(m.seek(a, -1n, END), 10n);
  assert.equal(m.seek(a, -12n, CUR), 'inval');
  assert.equal(m.seek(a, 0n, 3), 'inval');
  assert.equal(m.seek(a, 0n, CUR), 10n, 'a seek that failed moved nothing');
  assert.equal(m.seek(0, 0n, CUR), 'spipe');
  assert.equal(m.seek(3, 0n, CUR), 'badf');
  assert.equal(m.call('fd_filestat_set_size', a, 2n), 'success');
  assert.equal(m.call('fd_filestat_set_size', a, 4n), 'success');
  assert.equal(m.read(b, 20, 0n), 'ab\0\0', 'what was cut off does not come back');
  assert.equal(m.call('fd_allocate', a, 0n, 6n), 'success');
  assert.equal(m.read(b, 20, 0n), 'ab\0\0\0\0');
});

onHosts('T21: paths do not leave their directory: not by .., not by /, not by a link, wherever it stands', (ground) => {
  const space = ground.open();
  space.relaxed(() => space.names.mkns('/outside'));
  const outside = machineOn(space, { path: '/outside' });
  outside.write(outside.opened('secret', { oflags: CREATE }), 'secret');
  outside.wasi.finish();
  const m = machineOn(space);
  assert.equal(m.call('path_create_directory', 3, ...m.text('d')), 'success');
  for (const [target, name] of [
    ['..', 'up'],
    ['../outside', 'out'],
    ['d/../../outside/secret', 'zigzag'],
    ['self', 'self'],
    ['d', 'inner'],
  ] as const)
    assert.equal(m.call('path_symlink', ...m.text(target), 3, ...m.text(name)), 'success');
  assert.equal(m.call('path_symlink', ...m.text('/outside'), 3, ...m.text('absolute')), 'notcapable');
  space.names.link('/files/host', '/outside');
  for (const path of [
    '..',
    '../outside/secret',
    '/outside/secret',
    'd/../../outside/secret',
    'up/outside',
    'out/secret',
    'zigzag',
    'host/secret',
  ])
    assert.equal(m.open(path), 'notcapable', path);
  assert.equal(m.stat('self'), 'loop');
  const link = m.stat('host', false);
  assert.ok(typeof link === 'object' && link.type === 7, 'the link itself can be looked at');
  assert.equal(m.call('path_rename', 3, ...m.text('d'), 3, ...m.text('../outside/d')), 'notcapable');
  assert.equal(m.call('path_unlink_file', 3, ...m.text('out/secret')), 'notcapable');
  const inner = m.opened('inner', { oflags: DIRECTORY });
  assert.equal(m.open('../outside', {}, inner), 'notcapable', 'nor above a directory that it opened');
  assert.equal(typeof m.open('d/../inner/./../up/../d', { oflags: DIRECTORY }), 'string');
  assert.equal(typeof m.open('d/.././inner/', { oflags: DIRECTORY }), 'number', 'but about inside it');
  assert.equal(m.call('path_open', 3, 0, ...m.text('nul\0'), 0, 0n, 0n, 0, m.out), 'inval');
  assert.equal(m.open('x'.repeat(256)), 'nametoolong');
  assert.equal(m.open('y/'.repeat(3000)), 'nametoolong');
  assert.equal(m.open(''), 'noent');
  m.u8.set([0xff, 0xfe], 1024);
  assert.equal(m.call('path_filestat_get', 3, 0, 1024, 2, m.out), 'ilseq');
  assert.equal(m.call('path_filestat_get', 3, 0, 2 ** 20 - 1, 2, m.out), 'fault');
});

onHosts('T21: a file without a name lives until it is closed, and goes then; after a kill, with the next reclaim', (ground) => {
  let space = ground.open();
  const m = machineOn(space);
  const objects = (): number => [...space.ids()].length;
  m.call('fd_close', m.opened('first', { oflags: CREATE }));
  assert.equal(m.call('path_unlink_file', 3, ...m.text('first')), 'success');
  // Now there is the list of those that were deleted.
  const before = objects();
  const fd = m.opened('a', { oflags: CREATE });
  m.write(fd, 'here');
  assert.equal(m.call('path_unlink_file', 3, ...m.text('a')), 'success');
  assert.equal(m.open('a'), 'noent');
  assert.equal(m.read(fd, 10, 0n), 'here');
  m.write(fd, '!');
  assert.equal(m.read(fd, 10, 0n), 'here!');
  assert.equal(m.call('fd_filestat_get', fd, m.out), 'success');
  assert.equal(m.dv.getBigUint64(m.out + 24, true), 0n, 'no names');
  assert.equal(m.call('fd_close', fd), 'success');
  assert.equal(objects(), before);
  const other = m.opened('b', { oflags: CREATE });
  m.write(other, 'here');
  assert.equal(m.call('path_unlink_file', 3, ...m.text('b')), 'success');
  space = ground.afterDeath(space);
  assert.equal(objects(), before + 1);
  space.reclaim();
  assert.equal(objects(), before);
});

onHosts('T21: rename replaces, moves directories with what they hold, and refuses what makes no sense', (ground) => {
  const m = machineOn(ground.open());
  const rename = (from: string, to: string): string => m.call('path_rename', 3, ...m.text(from), 3, ...m.text(to));
  m.write(m.opened('a', { oflags: CREATE }), 'A');
  const held = m.opened('b', { oflags: CREATE });
  m.write(held, 'B');
  for (const name of ['d', 'd/e', 'full', 'empty']) assert.equal(m.call('path_create_directory', 3, ...m.text(name)), 'success');
  m.opened('full/x', { oflags: CREATE });
  assert.equal(rename('a', 'b'), 'success');
  assert.equal(m.read(m.opened('b')), 'A');
  assert.equal(m.read(held, 9, 0n), 'B', 'who has the old one open keeps it');
  assert.equal(m.open('a'), 'noent');
  assert.equal(rename('none', 'c'), 'noent');
  assert.equal(rename('b', 'd'), 'isdir');
  assert.equal(rename('d', 'b'), 'notdir');
  assert.equal(rename('d', 'full'), 'notempty');
  assert.equal(rename('d', 'd/e/f'), 'inval');
  assert.equal(rename('b', 'c/'), 'notdir');
  assert.equal(rename('b', 'b'), 'success');
  const dir = m.opened('d', { oflags: DIRECTORY });
  assert.equal(rename('d', 'empty'), 'success');
  assert.equal(m.call('path_create_directory', dir, ...m.text('new')), 'success', 'an open directory stays itself');
  assert.deepEqual(m.names(m.opened('empty', { oflags: DIRECTORY })), ['.', '..', 'e', 'new']);
  assert.equal(m.call('path_remove_directory', 3, ...m.text('empty')), 'notempty');
  assert.equal(m.call('path_remove_directory', 3, ...m.text('b')), 'notdir');
  assert.equal(m.call('path_unlink_file', 3, ...m.text('full')), 'isdir');
  for (const name of ['empty/e', 'empty/new', 'empty']) assert.equal(m.call('path_remove_directory', 3, ...m.text(name)), 'success');
  assert.equal(m.call('path_create_directory', dir, ...m.text('late')), 'noent', 'in a directory that is gone');
});

onHosts('T21: links: several names for one file, the last takes it along; and links to paths', (ground) => {
  const space = ground.open();
  const m = machineOn(space);
  const link = (from: string, to: string): string => m.call('path_link', 3, 0, ...m.text(from), 3, ...m.text(to));
  const fd = m.opened('a', { oflags: CREATE });
  m.write(fd, 'one');
  m.call('fd_close', fd);
  const before = [...space.ids()].length;
  assert.equal(link('a', 'b'), 'success');
  assert.equal(link('a', 'b'), 'exist');
  assert.equal(link('none', 'c'), 'noent');
  assert.equal(m.call('path_create_directory', 3, ...m.text('d')), 'success');
  assert.equal(link('d', 'e'), 'perm');
  const [a, b] = [m.stat('a'), m.stat('b')];
  assert.ok(typeof a === 'object' && typeof b === 'object');
  assert.deepEqual([a.inode, a.links], [b.inode, 2]);
  m.write(m.opened('b'), 'ONE');
  assert.equal(m.read(m.opened('a')), 'ONE');
  m.wasi.finish();
  space.names.remove('/files/a');
  const next = machineOn(space);
  assert.equal(next.read(next.opened('b')), 'ONE', 'a name that others remove does not take it along');
  assert.equal(next.call('path_symlink', ...next.text('b'), 3, ...next.text('l')), 'success');
  assert.equal(next.read(next.opened('l')), 'ONE');
  assert.equal(next.open('l', { lookup: 0 }), 'loop');
  assert.equal(next.call('path_readlink', 3, ...next.text('l'), 70000, 100, next.out), 'success');
  assert.equal(next.u8[70000], 'b'.charCodeAt(0));
  assert.equal(next.call('path_readlink', 3, ...next.text('b'), 70000, 100, next.out), 'inval');
  assert.equal(space.names.find('/files/l')?.id, space.names.find('/files/b')?.id, 'naming follows it, too');
  assert.ok([...space.ids()].length <= before + 1);
});

onHosts('T21: readdir: every name once through any buffer, with . and .., and from a cookie on', (ground) => {
  const m = machineOn(ground.open());
  const names = Array.from({ length: 40 }, (_, i) => `name-${i.toString().padStart(3, '0')}-${'x'.repeat(i)}`);
  for (const name of names) m.call('fd_close', m.opened(name, { oflags: CREATE }));
  const fd = m.opened('.', { oflags: DIRECTORY });
  for (const room of [100, 101, 333, 4096]) assert.deepEqual(m.names(fd, room), ['.', '..', ...names], `${room} bytes`);
  m.call('path_unlink_file', 3, ...m.text(names[0] ?? ''));
  assert.deepEqual(m.names(fd), ['.', '..', ...names.slice(1)], 'read anew from its beginning');
  assert.equal(m.call('fd_readdir', fd, 65536, 100, 2n ** 63n, m.out), 'success');
  assert.equal(m.u32(), 0);
  assert.equal(m.call('fd_readdir', 1, 65536, 100, 0n, m.out), 'notdir');
  assert.equal(m.call('fd_readdir', fd, 2 ** 20 - 10, 100, 0n, m.out), 'fault');
});

onHosts('T21: times are those that were set, or of the last write; sizes and kinds are told', (ground) => {
  const m = machineOn(ground.open());
  const fd = m.opened('a', { oflags: CREATE });
  assert.equal(m.call('path_filestat_set_times', 3, 1, ...m.text('a'), 5n, 7_000_000_001n, 5), 'success');
  const stat = m.stat('a');
  assert.ok(typeof stat === 'object');
  assert.deepEqual([stat.modified, stat.size, stat.type, stat.links], [7_000_000_001n, 0, 4, 1]);
  m.write(fd, 'x');
  const later = m.stat('a');
  assert.ok(typeof later === 'object' && later.modified > stat.modified && later.size === 1, 'what waits to be committed counts');
  for (const flags of [3, 12, 16]) assert.equal(m.call('fd_filestat_set_times', fd, 0n, 0n, flags), 'inval');
  assert.equal(m.call('path_filestat_set_times', 3, 1, ...m.text('.'), 0n, 0n, 5), 'notsup', 'directories have no times');
  const directory = m.stat('.');
  assert.ok(typeof directory === 'object' && directory.type === 3);
});

onHosts('T21: rights are given away, never gained, and asked for at each call', (ground) => {
  const space = ground.open();
  const m = machineOn(space);
  const fd = m.opened('a', { oflags: CREATE });
  m.write(fd, 'text');
  assert.equal(m.call('fd_fdstat_set_rights', fd, BigInt(RIGHTS.fdRead | RIGHTS.fdSeek), 0n), 'success');
  assert.equal(m.write(fd, 'x'), 'notcapable');
  assert.equal(m.call('fd_sync', fd), 'notcapable');
  assert.equal(m.read(fd, 9, 0n), 'text');
  assert.equal(m.call('fd_fdstat_set_rights', fd, BigInt(RIGHTS.fdRead | RIGHTS.fdWrite), 0n), 'notcapable');
  assert.equal(m.call('fd_fdstat_set_rights', fd, 2n ** 40n, 0n), 'notcapable');
  const reading = m.opened('a', { rights: BigInt(RIGHTS.fdRead) });
  assert.equal(m.write(reading, 'x'), 'notcapable');
  const directory = m.opened('.', { oflags: DIRECTORY, inheriting: BigInt(RIGHTS.fdRead | RIGHTS.pathOpen) });
  assert.equal(m.open('a', { rights: BigInt(RIGHTS.fdWrite) }, directory), 'notcapable');
  assert.equal(typeof m.open('a', { rights: BigInt(RIGHTS.fdRead) }, directory), 'number');
  const fixed = new Machine({ preopens: [{ name: '/', directory: m.tree.open('/files'), readOnly: true }] });
  assert.equal(fixed.read(fixed.opened('a', { rights: BigInt(RIGHTS.fdRead) })), 'text');
  for (const [call, ...args] of [
    ['path_create_directory', 3, ...fixed.text('d')],
    ['path_unlink_file', 3, ...fixed.text('a')],
    ['path_remove_directory', 3, ...fixed.text('a')],
    ['path_symlink', ...fixed.text('a'), 3, ...fixed.text('l')],
    ['path_rename', 3, ...fixed.text('a'), 3, ...fixed.text('b')],
    ['path_link', 3, 0, ...fixed.text('a'), 3, ...fixed.text('b')],
    ['path_filestat_set_times', 3, 0, ...fixed.text('a'), 0n, 0n, 5],
  ] as const)
    assert.equal(fixed.call(call, ...args), 'notcapable', call);
  assert.equal(fixed.open('b', { oflags: CREATE, rights: 2n }), 'notcapable');
  assert.equal(fixed.open('a', { oflags: TRUNCATE, rights: 2n }), 'notcapable');
  assert.equal(fixed.open('a', { rights: BigInt(RIGHTS.fdWrite) }), 'notcapable');
  assert.equal(m.read(m.opened('a')), 'text', 'nothing changed');
});

test('T21: arguments, environment, clocks, chance: what the caller gave, where the program asked for it', () => {
  const m = new Machine({ args: ['prog', 'ä'], env: ['A=1'] });
  assert.equal(m.call('args_sizes_get', m.out, m.out + 4), 'success');
  assert.deepEqual([m.u32(), m.dv.getUint32(m.out + 4, true)], [2, 8]);
  assert.equal(m.call('args_get', m.out, 70000), 'success');
  assert.equal(new TextDecoder().decode(m.u8.slice(70000, 70008)), 'prog\0ä\0');
  assert.deepEqual([m.u32(), m.dv.getUint32(m.out + 4, true)], [70000, 70005]);
  assert.equal(m.call('args_get', m.out, 2 ** 20 - 3), 'fault');
  assert.equal(m.call('environ_get', m.out, 70000), 'success');
  assert.equal(m.u8[70000], 65);
  assert.equal(m.call('clock_time_get', 1, 0n, m.out), 'success');
  assert.equal(m.u64(), m.clock.now);
  assert.equal(m.call('clock_time_get', 4, 0n, m.out), 'inval');
  assert.equal(m.call('clock_res_get', 0, 2 ** 32 - 4), 'fault');
  assert.equal(m.call('random_get', 70000, 100), 'success');
  assert.ok(m.u8.slice(70000, 70100).every((byte) => byte === 0xa5));
  assert.equal(m.u8[70100], 0);
  assert.equal(m.call('random_get', 70000, 2 ** 32 - 1), 'fault');
  assert.equal(m.call('sched_yield'), 'success');
  for (const call of ['sock_recv', 'sock_send', 'sock_shutdown', 'sock_accept']) {
    const count = WASI_CALLS.get(call)?.length ?? 0;
    const args = Array.from({ length: count }, () => 0);
    assert.equal(m.call(call, ...args), call === 'sock_accept' ? 'notsup' : 'notsock');
    assert.equal(m.call(call, ...args.with(0, 77)), 'badf');
  }
});

test('T21: poll waits for the first clock, and files are ready at once', () => {
  const m = new Machine({});
  const subscribe = (i: number, type: number, what: number, timeout = 0n, absolute = 0): void => {
    const at = 65536 + i * 48;
    m.dv.setBigUint64(at, BigInt(100 + i), true);
    m.dv.setUint8(at + 8, type);
    m.dv.setUint32(at + 16, what, true);
    m.dv.setBigUint64(at + 24, timeout, true);
    m.dv.setUint16(at + 40, absolute, true);
  };
  const poll = (count: number): (readonly [bigint, number])[] | string => {
    const errno = m.call('poll_oneoff', 65536, 81920, count, m.out);
    if (errno !== 'success') return errno;
    return Array.from({ length: m.u32() }, (_, i) => [m.dv.getBigUint64(81920 + i * 32, true), m.dv.getUint16(81920 + i * 32 + 8, true)]);
  };
  subscribe(0, 0, 1, 5000n);
  subscribe(1, 0, 1, 3000n);
  assert.deepEqual(poll(2), [[101n, 0]]);
  assert.deepEqual(m.clock.slept, [3000n]);
  subscribe(1, 0, 0, m.clock.realtime() + 1000n, 1);
  assert.deepEqual(poll(2), [[101n, 0]]);
  assert.deepEqual(m.clock.slept, [3000n, 1000n]);
  subscribe(1, 2, 1);
  subscribe(2, 1, 77);
  assert.deepEqual(poll(3), [
    [101n, 0],
    [102n, 8],
  ]);
  assert.equal(m.clock.slept.length, 2, 'nobody waited');
  subscribe(0, 0, 1, 2n ** 64n - 1n);
  assert.deepEqual(poll(1), [[100n, 0]], 'the end of time is waited for, too');
  subscribe(0, 0, 9, 1n);
  assert.deepEqual(poll(1), [[100n, 28]]);
  assert.equal(poll(0), 'inval');
  assert.equal(poll(2 ** 31), 'inval');
});

test('T21: a program that ended makes no more calls; one that declares calls otherwise is told so by a typed error', () => {
  const m = new Machine({});
  assert.throws(
    () => m.raw('proc_exit', 3),
    (error) => error instanceof ProgramExit && error.exitCode === 3,
  );
  assert.throws(() => m.raw('sched_yield'), ProgramExit);
  assert.equal(m.wasi.exit?.exitCode, 3);
  const signalled = new Machine({});
  assert.equal(signalled.call('proc_raise', 0), 'success');
  assert.equal(signalled.call('proc_raise', 31), 'inval');
  assert.throws(
    () => signalled.raw('proc_raise', 6),
    (error) => error instanceof ProgramExit && error.exitCode === 134,
  );
  const other = new Machine({});
  for (const args of [[], [1], [1, 2, 3], [1n, 2], [1.5, 2], [Number.NaN, 2]]) fails('WasiMisused', () => other.raw('fd_tell', ...args));
  fails('WasiMisused', () => other.raw('fd_allocate', 1, 2, 3));
});

test('T21: streams are the caller’s: read and written whole, terminals or not, and closed like anything else', () => {
  const written: string[] = [];
  const m = new Machine({
    stdin: {
      read(into) {
        into.set([104, 105]);
        return 2;
      },
      terminal: true,
    },
    stdout: { write: (bytes) => written.push(new TextDecoder().decode(bytes)) },
  });
  assert.equal(m.read(0), 'hi');
  assert.equal(m.write(1, 'out'), 3);
  assert.equal(m.write(2, 'nobody listens'), 14);
  assert.deepEqual(written, ['out']);
  for (const [fd, type] of [
    [0, 2],
    [1, 0],
  ] as const) {
    assert.equal(m.call('fd_fdstat_get', fd, m.out), 'success');
    assert.equal(m.dv.getUint8(m.out), type);
  }
  assert.equal(m.call('fd_renumber', 1, 2), 'success');
  assert.equal(m.write(2, 'err'), 3);
  assert.equal(m.write(1, 'x'), 'badf');
  assert.deepEqual(written, ['out', 'err']);
  assert.equal(m.call('fd_renumber', 2, 9), 'badf');
  assert.equal(m.call('fd_close', 2), 'success');
  assert.equal(m.call('fd_close', 2), 'badf');
});

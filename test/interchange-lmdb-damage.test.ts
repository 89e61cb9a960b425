/** T18: what LMDB files and maps do not fit into one another is refused by name; damage to a file ends in an error that says so. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { File } from '../src/host/host.ts';
import { bytes, f64, isTwzError, open, orderedMap, struct, text, u32, u64, type ErrorName } from '../src/index.ts';
import { LmdbFile, PageSet, type Files } from '../src/services/interchange/lmdb/reader.ts';
import { exportLmdb, importLmdb, openMap, type ImportLmdbOptions, type LmdbEncoding } from '../src/services/interchange.ts';
import { count, fileOf, fresh, golden, goldenBytes, home, PAGE, refused, rows, SEED, sound } from './lmdb-files.ts';
import { amount } from './thorough.ts';
import { runTwz, type Ran } from './twz.ts';

// --- what is refused ------------------------------------------------------------------------------------------------------------

test('T18 LMDB: what does not fit is refused by name, and nothing is left', async () => {
  const space = open(fresh());
  const file = golden(1);
  const importing = (options: ImportLmdbOptions) => (): Promise<unknown> => importLmdb(space, '/t', file, options);
  const attempts: readonly (readonly [ErrorName, RegExp, ImportLmdbOptions])[] = [
    ['ImportRefused', /table ids, row .*, column value: expected a text, found 8 bytes/, { databases: ['words', 'ids'], values: 'text' }],
    [
      'ImportRefused',
      /table large, row .*, column value: expected 4 bytes of u32le, found 5000 bytes/,
      { databases: ['large'], values: 'u32le' },
    ],
    ['ImportRefused', /column value: .*JSON/, { databases: ['words'], values: 'json' }],
    ['ImportRefused', /column value: expected a number/, { databases: ['tags'], values: { decode: (raw) => (raw[13] === 49 ? 1 : 'x') } }],
    ['ImportRefused', /column value: cannot/, { databases: ['words'], values: { decode: () => assert.fail('cannot') } }],
    ['ImportRefused', /read as the same/, { databases: ['ids'], keys: { decode: (raw) => raw[0] } }],
    [
      'ImportRefused',
      /column key: expected a number, a text or bytes/,
      { databases: ['ids'], keys: { decode: (raw) => ((raw[0] ?? 0) < 128 ? 1 : 'x') } },
    ],
    ['ImportRefused', /values of several kinds/, { databases: ['ids'], values: { decode: (raw) => (raw[0] === 1 ? 1n : 'x') } }],
    ['InvalidArgument', /no database "none"/, { databases: ['none'] }],
    ['InvalidArgument', /no database "none"/, { encodings: { none: {} } }],
  ];
  for (const [name, message, options] of attempts) {
    await refused(name, message, importing(options));
    assert.equal(space.names.lookup('/t'), undefined);
    assert.deepEqual(space.names.lookup('/imports') === undefined ? [] : space.names.list('/imports'), []);
  }
  const unknown: unknown = 'u33be';
  await refused('InvalidArgument', /"u33be" is no encoding/, importing({ keys: unknown as LmdbEncoding }));
  // A codec of one's own, both ways.
  const backwards = {
    decode: (raw: Uint8Array): string => Buffer.from(raw).reverse().toString('latin1'),
    encode: (value: unknown): Uint8Array => Buffer.from(String(value), 'latin1').reverse(),
  };
  await importLmdb(space, '/t', file, { databases: ['words'], keys: backwards, values: 'bytes' });
  assert.deepEqual(
    rows(space, '/t/words')[0],
    ['000 drow', Buffer.from('the 0th, é') as Uint8Array].map((part) => (typeof part === 'string' ? part : Uint8Array.from(part))),
  );
  const again = fresh('.mdb');
  await exportLmdb(space, '/t', again, { keys: backwards });
  await importLmdb(space, '/u', again);
  assert.deepEqual(openMap(space, '/u/words').get('word 000'), 'the 0th, é');

  space.relaxed(() => {
    for (const [name, key] of [
      ['empty', ''],
      ['long', 'k'.repeat(512)],
    ] as const)
      space.names.set(`/${name}`, space.create(orderedMap(text, text), [[key, 'x']]));
    space.names.set('/nan', space.create(orderedMap(text, struct('N', { n: f64 })), [['a', { n: NaN }]]));
    space.names.set('/raw', space.create(orderedMap(text, struct('R', { raw: bytes })), [['a', { raw: Uint8Array.of(1) }]]));
    space.names.set('/far', space.create(orderedMap(u64, text), [[2 ** 40, 'x']]));
    space.names.set(
      '/two',
      space.create(orderedMap(text, text), [
        ['a', 'x'],
        ['b', 'x'],
      ]),
    );
  });
  const writes: readonly (readonly [ErrorName, RegExp, string, object])[] = [
    ['ValueMismatch', /key of 0 bytes/, '/empty', {}],
    ['ValueMismatch', /key of 512 bytes: LMDB has those of 1 to 511/, '/long', {}],
    ['ValueMismatch', /table nan, row "a": value: expected a number that JSON has, found NaN/, '/nan', {}],
    ['ValueMismatch', /value: expected what JSON has, found 1 bytes \(01\)/, '/raw', {}],
    ['ValueMismatch', /row 1099511627776: key: expected an integer from 0 to 4294967295 for u32le/, '/far', { keys: 'u32le' }],
    ['ValueMismatch', /row "a": value: expected bytes/, '/two', { values: 'bytes' }],
    ['ValueMismatch', /several keys are written as it/, '/two', { keys: { decode: () => 0, encode: () => Uint8Array.of(1) } }],
    ['InvalidArgument', /has no function `encode`/, '/two', { keys: { decode: () => 0 } }],
    ['InvalidArgument', /version 1 or 2, not 3/, '/two', { version: 3 }],
  ];
  for (const [name, message, from, options] of writes) {
    const to = fresh('.mdb');
    await refused(name, message, () => exportLmdb(space, from, to, options));
    assert.ok(!existsSync(to));
  }
  assert.deepEqual(
    readdirSync(home).filter((name) => /part|sort/.test(name)),
    [],
  );
  sound(space);
});

/** A file in memory. */
function inMemory(content: Uint8Array): Files {
  return {
    exists: () => true,
    open: () => 1 as File,
    close: () => undefined,
    length: () => content.length,
    read(_file, into, offset) {
      const part = content.subarray(Math.min(offset, content.length), offset + into.length);
      into.set(part);
      return part.length;
    },
  };
}

/** Reads everything; the number of entries. */
function readAll(content: Uint8Array): number {
  const file = new LmdbFile(inMemory(content), 'file');
  const seen = new PageSet();
  let entries = 0;
  for (const database of file.databases()) for (const _entry of file.entries(database, seen)) entries++;
  return entries;
}

const META = { 1: 16, 2: 24 } as const;

test('T18 LMDB: files that are none, damaged or of other kinds are refused by name', async () => {
  const space = open(fresh());
  const variant = (version: 1 | 2, change: (copy: Buffer, metas: readonly number[]) => Buffer | void): string => {
    const copy = goldenBytes(version);
    return fileOf(change(copy, [META[version], PAGE + META[version]]) ?? copy);
  };
  const branches = (copy: Buffer): number[] =>
    count(copy.length / PAGE, (i) => i).filter((i) => i > 1 && copy.readUInt16LE(i * PAGE + 10) === 1);
  const attempts: readonly (readonly [ErrorName, RegExp, string])[] = [
    ['FileMissing', /no file/, join(home, 'nothing.mdb')],
    ['FileInvalid', /is no LMDB environment/, fileOf(new Uint8Array())],
    ['FileInvalid', /is no LMDB environment/, fileOf(Buffer.from('name,age\nAlice,30\n'.repeat(1000)))],
    [
      'FileInvalid',
      /is damaged: it refers to page \d+, and has 4 pages: its end is missing/,
      variant(1, (copy) => copy.subarray(0, 4 * PAGE + 9)),
    ],
    ['FileInvalid', /is damaged/, variant(2, (copy) => copy.subarray(0, 9 * PAGE))],
    // A branch that leads to itself.
    [
      'FileInvalid',
      /is in two places/,
      variant(1, (copy) => {
        assert.ok(branches(copy).length >= 2);
        for (const page of branches(copy)) copy.writeUInt32LE(page, page * PAGE + copy.readUInt16LE(page * PAGE + 16));
      }),
    ],
    // And one that leads far away.
    [
      'FileInvalid',
      /refers to page 4\d+, and has \d+ pages/,
      variant(1, (copy) => {
        for (const page of branches(copy)) copy.writeUInt32LE(4_000_000_000, page * PAGE + copy.readUInt16LE(page * PAGE + 16));
      }),
    ],
    [
      'FileInvalid',
      /says that it has 11 entries, and has 10/,
      variant(1, (copy, metas) => metas.forEach((at) => copy.writeUInt32LE(copy.readUInt32LE(at + 72 + 32) + 1, at + 72 + 32))),
    ],
    ['NotSupported', /32-bit/, variant(1, (copy) => copy.copyWithin(12, 16, 200))],
    ['NotSupported', /big-endian/, variant(1, (copy, metas) => metas.forEach((at) => copy.writeUInt32BE(0xbeefc0de, at)))],
    ['NotSupported', /has data of version 999/, variant(1, (copy, metas) => metas.forEach((at) => copy.writeUInt32LE(999, at + 4)))],
    ['NotSupported', /is encrypted/, variant(2, (copy, metas) => metas.forEach((at) => copy.writeUInt16LE(0x2008, at + 28)))],
    ['NotSupported', /checksums/, variant(2, (copy) => void copy.writeUInt16LE(32, PAGE - 2))],
  ];
  for (const [name, message, path] of attempts) {
    await refused(name, message, () => importLmdb(space, '/t', path));
    assert.equal(space.names.lookup('/t'), undefined);
  }
  // Where the newer meta page is none, the older one holds: the file as it was one transaction before.
  const newer = (copy: Buffer): number => (copy.readBigUInt64LE(META[1] + 128) > copy.readBigUInt64LE(PAGE + META[1] + 128) ? 0 : PAGE);
  const older = variant(1, (copy) => void copy.writeUInt32LE(0, newer(copy) + META[1]));
  await importLmdb(space, '/older', older, { databases: ['main', 'words'] });
  assert.deepEqual([openMap(space, '/older/main').get('greeting'), openMap(space, '/older/words').size], ['hello', 300]);
  // A commit while the file is read.
  const busy = golden(1);
  let told = 0;
  await refused('FileBusy', /was written to while it was read/, () =>
    importLmdb(space, '/t', busy, {
      progress() {
        if (told++ > 0) return;
        const copy = readFileSync(busy);
        const at = newer(copy);
        copy.copyWithin(PAGE - at + 16, at + 16, at + 16 + 136);
        copy.writeBigUInt64LE(99n, PAGE - at + META[1] + 128);
        writeFileSync(busy, copy);
      },
    }),
  );
  assert.ok(told > 1);
  assert.equal(space.names.lookup('/t'), undefined);
  assert.deepEqual(space.names.list('/imports'), []);
  sound(space);
});

test(`T18 LMDB: whatever is done to a file, reading it ends, in entries or an error that says so (seed ${SEED})`, async () => {
  let state = SEED;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const originals = { 1: goldenBytes(1), 2: goldenBytes(2) } as const;
  const damaged = (): Buffer => {
    const version = random(2) === 0 ? 1 : 2;
    const copy = Buffer.from(originals[version]);
    const pages = copy.length / PAGE;
    const page = (): number => random(pages) * PAGE;
    for (let n = 1 + random(6); n > 0; n--)
      switch (random(7)) {
        case 0:
          copy[random(copy.length)] = random(256);
          break;
        case 1:
          // A header, or the offsets behind it.
          copy[page() + random(60)] = random(256);
          break;
        case 2: {
          const at = page() + 8 + random(100) * 2;
          copy[at] = (copy[at] ?? 0) ^ (1 << random(8));
          break;
        }
        case 3:
          // The meta pages.
          copy[random(2) * PAGE + META[version] + 24 + random(112)] = random(256);
          break;
        case 4:
          copy.copyWithin(page(), page() + random(2) * 8, page() + PAGE);
          break;
        case 5:
          copy.writeUInt32LE(random(3) === 0 ? 0xffffffff : random(pages + 2), random(copy.length - 4));
          break;
        default:
          copy.fill(random(2) * 255, page() + random(PAGE), page() + random(PAGE));
      }
    return random(8) === 0 ? copy.subarray(0, random(copy.length)) : copy;
  };
  const results = new Map<string, number>();
  const note = (result: string): void => void results.set(result, (results.get(result) ?? 0) + 1);
  for (let i = 0; i < amount(250, 700); i++) {
    const content = damaged();
    try {
      assert.ok(readAll(content) <= content.length);
      note('read');
    } catch (error) {
      assert.ok(
        isTwzError(error, 'FileInvalid') || isTwzError(error, 'NotSupported'),
        `run ${i}: ${error instanceof Error ? error.stack : String(error)}`,
      );
      note(error.name);
    }
  }
  assert.ok((results.get('read') ?? 0) > 5 && (results.get('FileInvalid') ?? 0) > 50, JSON.stringify([...results]));
  const space = open(fresh());
  for (let i = 0; i < amount(12, 24); i++)
    try {
      await importLmdb(space, `/t${i}`, fileOf(damaged()), { ...(i % 2 === 0 ? {} : { values: 'json' }) });
      note('imported');
    } catch (error) {
      assert.ok(
        ['FileInvalid', 'NotSupported', 'ImportRefused'].some((name) => isTwzError(error) && error.name === name),
        `import ${i}: ${String(error)}`,
      );
      assert.equal(space.names.lookup(`/t${i}`), undefined);
    }
  sound(space);
});

test('T18 twz: import and export of LMDB files', () => {
  const at = fresh();
  const run = (...args: string[]): Ran => runTwz({ args: [...args, '-s', at], cwd: home, input: '', env: process.env });
  assert.equal(run('init').code, 0);
  const file = golden(1);
  const imported = run(
    'import',
    file,
    '--name',
    'old',
    '--database',
    'ids',
    '--database',
    'main',
    '--database',
    'json',
    '--values',
    'ids=u64le',
    '--values',
    'json=json',
  );
  assert.deepEqual([imported.code, imported.err], [0, '']);
  assert.match(imported.out, /^\/imports\/old\/main: 1 row\n\/imports\/old\/ids: 600 rows\n\/imports\/old\/json: 2 rows\n/);
  assert.match(run('export', '/imports/old', 'out.lmdb', '--data-version', '2').out, /^out.lmdb: 3 tables, 603 rows\n$/);
  assert.match(run('import', 'out.lmdb', '--name', '/back', '--values', 'json').err, /^twz: ImportRefused.* table main/);
  assert.equal(run('import', 'out.lmdb', '--name', '/back', '--values', 'json', '--values', 'main=text', '--values', 'ids=bytes').code, 0);
  const space = open(at);
  assert.equal(space.names.get('/imports/old/ids', orderedMap(u32, u64)).get(3000), 9);
  assert.deepEqual(rows(space, '/back/json', 'age', 'name', 'tags'), rows(space, '/imports/old/json', 'age', 'name', 'tags'));
  assert.equal(openMap(space, '/back/ids').size, 600);
  space.close();
  const misuse = run('export', '/back', 'x.parquet', '--data-version', '2');
  assert.deepEqual([misuse.code, misuse.err.split('\n')[0]], [2, 'twz: --data-version is for LMDB files']);
});

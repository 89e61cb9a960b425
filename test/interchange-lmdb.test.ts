/**
 * T18: LMDB files become maps and maps become LMDB files. Read are files that LMDB 0.9 and the npm package lmdb wrote (test/golden/lmdb has the
 * programs); what is written is read again, by that package, too, where it is installed.
 */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  bigU64,
  bool,
  bytes,
  f64,
  hashMap,
  i32,
  i64,
  open,
  optional,
  orderedMap,
  struct,
  text,
  tuple,
  u32,
  u64,
  u8,
  type CollectionType,
  type OrderedMap,
  type Space,
} from '../src/index.ts';
import { compareBytes, compareIntegers, FLAG, LAYOUTS } from '../src/services/interchange/lmdb/format.ts';
import { LmdbFile, PageSet } from '../src/services/interchange/lmdb/reader.ts';
import { Sorter } from '../src/services/interchange/lmdb/sorter.ts';
import { LmdbWriter, TreeWriter } from '../src/services/interchange/lmdb/writer.ts';
import { exportLmdb, importLmdb, openMap, type ImportLmdbOptions, type LmdbEncoding } from '../src/services/interchange.ts';
import { byText, count, fresh, golden, host, installed, PAGE, rows, SEED, someBytes, sound, V1 } from './lmdb-files.ts';
import { amount } from './thorough.ts';

const peer = await installed('lmdb');
const codecs = (await installed('msgpackr')) !== undefined && (await installed('ordered-binary')) !== undefined;
const needsPeer = { skip: peer === undefined && 'the package lmdb is not installed' };
const needsCodecs = { skip: !codecs && 'the packages msgpackr and ordered-binary are not installed' };

const pattern = Uint8Array.from({ length: 20_000 }, (_, i) => (i * 31) >> 3);

/** The databases of the golden file of version 1, as make-v1.c fills them. */
function checkV1(space: Space, at: string): void {
  assert.deepEqual(rows(space, `${at}/main`), [['greeting', 'hello again']]);
  const words = count(300, (i): [string, string] => [`word ${String((i * 7) % 300).padStart(3, '0')}`, `the ${i}th, é`]);
  // The second transaction removed those from 100 to 249.
  const left = words.filter(([key]) => !(key >= 'word 100' && key < 'word 250')).sort(byText);
  assert.deepEqual(rows(space, `${at}/words`), left);
  assert.deepEqual(rows(space, `${at}/large`), [
    ['a', pattern.slice(0, 5000)],
    ['b', pattern],
    ['c', new Uint8Array()],
    ['d', pattern.slice(0, 2040)],
  ]);
  assert.deepEqual(
    rows(space, `${at}/ids`),
    count(600, (i) => [i * 1000, i * i]),
  );
  assert.deepEqual(
    rows(space, `${at}/wide`),
    count(20, (i) => [i * 2 ** 40, i * 1000]),
  );
  assert.deepEqual(
    rows(space, `${at}/big endian`),
    count(10, (i): [number, number] => [((i * 40) & 255) * 2 ** 24 + i, i / 2]).sort(([a], [b]) => a - b),
  );
  const many = count(500, (i): [string, string] => ['many', `value number ${i}`]).sort(([, a], [, b]) => (a < b ? -1 : 1));
  const tags: readonly (readonly [string, string])[] = [...many, ['one', 'alone'], ['two', 'first'], ['two', 'second']];
  assert.deepEqual(
    rows(space, `${at}/tags`),
    tags.map((pair) => [pair, true]),
  );
  assert.deepEqual(
    rows(space, `${at}/edges`),
    [...count(3, (i) => ['few', i]), ...count(3000, (i) => ['many', i]), ['one', 77]].map((pair) => [pair, true]),
  );
  assert.deepEqual(rows(space, `${at}/json`, 'age', 'name', 'tags', 'pet'), [
    ['ann', { age: 30, name: 'Ann', tags: '["x","y"]' }],
    ['bob', { age: 41.5, name: 'Bob' }],
  ]);
  assert.deepEqual(rows(space, `${at}/empty`), []);
}

test('T18 LMDB: a file of LMDB 0.9 is read exactly, and what is written of it, in both versions, is the same', async () => {
  const space = open(fresh());
  const file = golden(1);
  const report = await importLmdb(space, '/v1', file, V1);
  assert.equal(report.rows, 1 + 150 + 4 + 600 + 20 + 10 + 503 + 3004 + 2);
  checkV1(space, '/v1');
  // The types are those that a program would declare.
  assert.equal(space.names.get('/v1/ids', orderedMap(u32, u64)).get(7000), 49);
  assert.equal(space.names.get('/v1/edges', orderedMap(tuple(text, u32), bool)).get(['few', 2]), true);
  assert.equal(space.names.get('/v1/words', orderedMap(text, text)).get('word 007'), 'the 1th, é');
  for (const version of [1, 2] as const) {
    const back = fresh('.mdb');
    const written = await exportLmdb(space, '/v1', back, { version });
    assert.equal(written.rows, report.rows);
    // What is in both is in the catalog: of the encodings nothing has to be said but what the databases do not.
    await importLmdb(space, `/back${version}`, back, V1);
    checkV1(space, `/back${version}`);
    if (version === 2) continue;
    // LMDB 0.9 does not copy a page within a node that says that it is its own to change.
    for (const name of [file, back]) {
      const content = readFileSync(name);
      assert.equal(content.readUInt16LE(content.indexOf('two', 2 * PAGE) + 3 + LAYOUTS[1].flags), 0x52);
    }
  }
  // A directory with a data.mdb, some of its databases, and hash maps.
  const directory = fresh();
  mkdirSync(directory);
  cpSync(file, join(directory, 'data.mdb'));
  await importLmdb(space, '/some', directory, { databases: ['main', 'ids', 'tags'], values: 'bytes', keys: 'bytes', as: 'hashMap' });
  assert.deepEqual(
    space.names.list('/some').map(({ name }) => name),
    ['ids', 'interchange.catalog', 'main', 'tags'],
  );
  const ids = space.names.get('/some/ids', hashMap(bytes, bytes));
  assert.deepEqual(ids.get(Uint8Array.of(0xe8, 3, 0, 0)), Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
  assert.equal(ids.size, 600);
  // A hash map comes in no order, and is sorted on its way out.
  await exportLmdb(space, '/some', fresh('.mdb'));
  sound(space);
});

test('T18 LMDB: a file of the npm package lmdb is read exactly', async () => {
  const space = open(fresh());
  const file = golden(2);
  const plainTypes = {
    databases: ['texts', 'raw', 'json', 'ids', 'versions', 'people', 'empty'],
    encodings: { json: { values: 'json' } },
  } as const;
  const report = await importLmdb(space, '/v2', file, plainTypes);
  assert.deepEqual(Object.fromEntries(report.tables.map(({ table, rows: n }) => [table, n])), {
    texts: 19,
    raw: 5,
    json: 5,
    ids: 300,
    versions: 5,
    people: 200,
    empty: 0,
  });
  assert.deepEqual(
    rows(space, '/v2/texts'),
    count(20, (i): [string, string] => [`key ${i}`, `text ${i}`])
      .filter(([key]) => key !== 'key 7')
      .sort(byText),
  );
  assert.deepEqual(
    rows(space, '/v2/raw'),
    count(5, (i) => [Uint8Array.of(i, 255), new Uint8Array(i * 3000).fill(i)]),
  );
  assert.deepEqual(
    rows(space, '/v2/json', 'a', 'b'),
    count(5, (i) => [`k${i}`, { a: i, b: `[${i}]` }]),
  );
  assert.deepEqual(
    rows(space, '/v2/ids'),
    count(300, (i) => [i * 70_000, `number ${i}`]),
  );
  assert.deepEqual(
    rows(space, '/v2/versions'),
    count(5, (i) => [`v${i}`, `value ${i}`]),
  );
  sound(space);
});

const V2: ImportLmdbOptions = {
  keys: 'ordered-binary',
  values: 'msgpack',
  encodings: {
    texts: { values: 'text' },
    raw: { keys: 'bytes', values: 'bytes' },
    json: { values: 'json' },
    ids: { keys: 'auto', values: 'text' },
    versions: { values: 'text' },
    several: { values: 'ordered-binary' },
  },
};

test('T18 LMDB: its keys of ordered-binary and values of msgpack become numbers, texts, tuples and structs', needsCodecs, async () => {
  const space = open(fresh());
  await importLmdb(space, '/v2', golden(2), V2);
  const back = fresh('.mdb');
  await exportLmdb(space, '/v2', back, { version: 2 });
  await importLmdb(space, '/back', back, V2);
  for (const at of ['/v2', '/back']) {
    assert.deepEqual(rows(space, `${at}/main`), [['greeting', 'hello']]);
    const people = count(200, (i): [string, object] => [
      `person ${i}`,
      { name: `Person ${i}`, age: i % 90, ...(i % 7 === 0 ? { note: 'é' } : {}) },
    ]);
    assert.deepEqual(rows(space, `${at}/people`, 'name', 'age', 'note'), people.sort(byText));
    // These share their structures, which stand under a symbol.
    assert.deepEqual(
      rows(space, `${at}/shared`, 'id', 'half', 'deep'),
      count(50, (i) => [i - 25, { id: i, half: i / 2, deep: `{"list":[${i},"x"]}` }]),
    );
    assert.deepEqual(
      rows(space, `${at}/pairs`),
      count(60, (i) => [
        [`group ${Math.floor(i / 20)}`, Math.floor(i / 20) + (i % 20) * 3],
        BigInt(Math.floor(i / 20) + (i % 20) * 3) << 56n,
      ]),
    );
    const several = count(800, (i): [string, number] => [i < 700 ? 'many' : `key ${i % 10}`, i]);
    assert.deepEqual(
      rows(space, `${at}/several`),
      several.sort(([a, x], [b, y]) => (a === b ? x - y : a < b ? -1 : 1)).map((pair) => [pair, true]),
    );
  }
  sound(space);
});

// --- round trips ----------------------------------------------------------------------------------------------------------------

interface KindCase {
  readonly name: string;
  readonly make: fc.Arbitrary<unknown>;
  readonly encodings: readonly LmdbEncoding[];
}

/** In JSON, too, no longer than keys may be. */
const someText = fc.string({ unit: 'binary', maxLength: 60 });
const finite = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (value === 0 ? 0 : value));

const KEYS = {
  text: { type: text, make: someText.filter((value) => value !== ''), encodings: ['text', 'json'] },
  bytes: { type: bytes, make: someBytes(1, 511), encodings: ['bytes'] },
  u32: { type: u32, make: fc.nat(0xffffffff), encodings: ['auto', 'u32le', 'u32be', 'u64le', 'json'] },
  i64: { type: i64, make: fc.maxSafeInteger(), encodings: ['auto', 'i64le', 'i64be', 'json'] },
  f64: { type: f64, make: finite, encodings: ['auto', 'f64le', 'json'] },
  bigU64: { type: bigU64, make: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), encodings: ['auto', 'u64le'] },
  tuple: { type: tuple(text, i32), make: fc.tuple(someText, fc.integer()), encodings: ['auto'] },
} as const;
type KeyName = keyof typeof KEYS;

const Thing = struct('Thing', { name: text, count: i64, size: optional(f64), good: bool });
const VALUES = {
  text: {
    type: text,
    make: fc.oneof(
      someText,
      fc.integer({ min: 1500, max: 9000 }).map((n) => 'x'.repeat(n)),
    ),
    encodings: ['text', 'json'],
  },
  bytes: { type: bytes, make: fc.oneof(someBytes(0, 40), someBytes(1900, 9000)), encodings: ['bytes'] },
  u8: { type: u8, make: fc.nat(255), encodings: ['auto', 'u32be', 'json'] },
  i64: { type: i64, make: fc.maxSafeInteger(), encodings: ['auto', 'i64le', 'json'] },
  struct: {
    type: Thing,
    make: fc.record({ name: someText, count: fc.maxSafeInteger(), size: fc.option(finite, { nil: undefined }), good: fc.boolean() }),
    encodings: ['auto', 'json'],
  },
} as const;
type ValueName = keyof typeof VALUES;

/** How what was written with an encoding that was not said is to be read. */
const USUAL: Readonly<Record<string, LmdbEncoding>> = {
  u32: 'u32be',
  i64: 'i64be',
  f64: 'f64be',
  bigU64: 'u64be',
  tuple: 'json',
  u8: 'u8',
  struct: 'json',
};

const readingOf = (name: string, said: LmdbEncoding): LmdbEncoding => (said === 'auto' ? (USUAL[name] ?? said) : said);
const tell = (value: unknown): string =>
  JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'bigint' ? `${inner}n` : inner instanceof Uint8Array ? [...inner] : inner,
  );

/** In each database keys ascend, as LMDB orders them, and branches have two children at least; the depths of the trees. */
function lawful(file: string, version: 1 | 2): number[] {
  const read = new LmdbFile(host, file);
  const databases = read.databases();
  const seen = new PageSet();
  for (const database of databases) {
    const compare = (database.flags & FLAG.INTEGER_KEY) !== 0 ? compareIntegers : compareBytes;
    let before: Uint8Array | undefined;
    for (const [key] of read.entries(database, seen)) {
      const order = before === undefined ? -1 : compare(before, key);
      assert.ok((database.flags & FLAG.DUPSORT) !== 0 ? order <= 0 : order < 0, `${database.name}: ${String(key)}`);
      before = key.slice();
    }
  }
  read.close();
  const bytesOf = readFileSync(file);
  const { header, base, flags, lower } = LAYOUTS[version];
  for (let at = 2 * PAGE; at < bytesOf.length; at += PAGE)
    if (bytesOf.readUInt32LE(at) === at / PAGE && bytesOf.readUInt16LE(at + flags) === 1)
      assert.ok((bytesOf.readUInt16LE(at + lower) + base - header) / 2 >= 2, `page ${at / PAGE} is a branch of one`);
  return databases.map(({ depth }) => depth);
}

const mapCase = fc
  .record({
    key: fc.constantFrom(...(Object.keys(KEYS) as KeyName[])),
    value: fc.constantFrom(...(Object.keys(VALUES) as ValueName[])),
    hashed: fc.boolean(),
  })
  .chain(({ key, value, hashed }) => {
    const keys: KindCase = { name: key, ...KEYS[key] };
    const values: KindCase = { name: value, ...VALUES[value] };
    return fc.record({
      key: fc.constant(key),
      value: fc.constant(value),
      hashed: fc.constant(hashed),
      keysAs: fc.constantFrom(...keys.encodings),
      valuesAs: fc.constantFrom(...values.encodings),
      entries: fc.uniqueArray(fc.tuple(keys.make, values.make), { selector: ([each]) => tell(each), maxLength: 150, size: 'max' }),
    });
  });

test(`T18 LMDB: maps come back from files of both versions as they were (seed ${SEED})`, async () => {
  let written = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(mapCase, { minLength: 1, maxLength: 3 }), fc.constantFrom(1 as const, 2 as const), async (maps, version) => {
      const space = open(fresh());
      space.relaxed(() => {
        space.names.mkns('/maps');
        for (const [i, { key, value, hashed, entries }] of maps.entries()) {
          const keyType: unknown = KEYS[key].type;
          const valueType: unknown = VALUES[value].type;
          // Types that are only known here: the map takes what its case makes.
          const make = (hashed ? hashMap : orderedMap) as (
            k: unknown,
            v: unknown,
          ) => CollectionType<OrderedMap<unknown, unknown, unknown>, never>;
          const map = space.create(make(keyType, valueType));
          for (const [each, content] of entries) map.set(each, content);
          space.names.set(`/maps/m${i}`, map);
        }
      });
      const file = fresh('.mdb');
      const encodings = Object.fromEntries(maps.map(({ keysAs, valuesAs }, i) => [`m${i}`, { keys: keysAs, values: valuesAs }]));
      await exportLmdb(space, '/maps', file, { version, encodings });
      lawful(file, version);
      const reading = Object.fromEntries(
        maps.map(({ key, value, keysAs, valuesAs }, i) => [`m${i}`, { keys: readingOf(key, keysAs), values: readingOf(value, valuesAs) }]),
      );
      for (const [i, { key, value, entries, valuesAs, keysAs }] of maps.entries()) {
        const name = `m${i}`;
        const bigints = key === 'bigU64';
        await importLmdb(space, `/back${i}`, file, { databases: [name], encodings: { [name]: reading[name] ?? {} }, bigints });
        const expected = entries.map((entry) => tell(entry)).sort();
        const found = rows(space, `/back${i}/${name}`, 'name', 'count', 'size', 'good');
        const told = found.map(([each, content]) => tell([each, bigints ? unwidened(content) : content])).sort();
        assert.deepEqual(told, expected, `${key} as ${tell(keysAs)}, ${value} as ${tell(valuesAs)}`);
        written += found.length;
      }
      space.close();
    }),
    { seed: SEED, numRuns: amount(6, 12), endOnFailure: true, includeErrorInReport: true },
  );
  assert.ok(written > amount(40, 100), `${written} rows`);
});

/** With bigints all integers of 64 bits are such. */
function unwidened(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, unwidened(inner)]));
}

/** 3,000 keys of some 300 bytes: a tree of four levels, in each page few. */
function tall(space: Space): [string, string][] {
  const entries = count(3000, (i): [string, string] => [`${String(i).padStart(5, '0')} ${'k'.repeat(250 + (i % 200))}`, `value ${i}`]);
  space.relaxed(() => space.names.set('/tall', space.create(orderedMap(text, text), entries)));
  return entries;
}

test('T18 LMDB: tall trees, and any number of values of a key', async () => {
  const space = open(fresh());
  const entries = tall(space);
  space.relaxed(() => {
    space.names.mkns('/pairs');
    for (const n of [1, 2, 3, 100, 101, 102, 300, 301, 5000]) {
      const map = space.create(orderedMap(tuple(text, u32), bool));
      space.names.set(`/pairs/p${n}`, map);
      for (let i = 0; i < n; i++) map.set([`key ${i % 3 === 0 ? 'a' : 'b'}`, i * 77], true);
    }
  });
  for (const version of [1, 2] as const) {
    const file = fresh('.mdb');
    await exportLmdb(space, '/tall', file, { version });
    const [depth = 0] = lawful(file, version);
    assert.ok(depth >= 4, `depth ${depth}`);
    await importLmdb(space, `/tall${version}`, file);
    assert.deepEqual(rows(space, `/tall${version}/main`), entries);
  }
  // Their order is another one as bytes: 256 before 1, and -1 behind them.
  space.relaxed(() =>
    space.names.set(
      '/signed',
      space.create(
        orderedMap(i64, text),
        count(600, (i): [number, string] => [i - 300, `value ${i}`]),
      ),
    ),
  );
  for (const keys of ['i64be', 'i64le', 'json'] as const) {
    const file = fresh('.mdb');
    await exportLmdb(space, '/signed', file, { keys });
    lawful(file, 1);
    await importLmdb(space, `/${keys}`, file, { keys });
    assert.deepEqual(rows(space, `/${keys}/main`), rows(space, '/signed'));
  }
  // Whole rows are keys here; the golden file has such as several values of one.
  const file = fresh('.mdb');
  await exportLmdb(space, '/pairs', file);
  await importLmdb(space, '/pairs2', file, { keys: 'json', values: 'bool' });
  for (const { name } of space.names.list('/pairs'))
    assert.deepEqual(
      rows(space, `/pairs2/${name}`)
        .map(([key]) => tell(key))
        .sort(),
      rows(space, `/pairs/${name}`)
        .map(([key]) => tell(key))
        .sort(),
    );
  sound(space);
});

test('T18 LMDB: the npm package reads what is written in version 2, and goes on in it', needsPeer, async () => {
  const space = open(fresh());
  const entries = tall(space);
  await importLmdb(space, '/v1', golden(1), V1);
  const file = fresh('.mdb');
  await exportLmdb(space, '/v1', file, { version: 2 });
  const single = fresh('.mdb');
  await exportLmdb(space, '/tall', single, { version: 2 });
  const program = `
    import { open } from 'lmdb';
    const path = { noSubdir: true, mapSize: 1 << 24 };
    const all = (db) => [...db.getRange()].map(({ key, value }) => [typeof key === 'object' ? [...key] : key, value]);
    const tall = open({ path: process.argv[2], ...path, encoding: 'string' });
    const root = open({ path: process.argv[1], ...path, encoding: 'string' });
    const words = root.openDB('words', { encoding: 'string' }), ids = root.openDB('ids', { keyEncoding: 'uint32', encoding: 'binary' });
    const tags = root.openDB('tags', { dupSort: true, encoding: 'string' }), large = root.openDB('large', { encoding: 'binary' });
    const edges = root.openDB('edges', { dupSort: true, dupFixed: true, integerDup: true, encoding: 'binary' });
    const told = { tall: all(tall), words: all(words), ids: all(ids).map(([k, v]) => [k, v.readUInt32LE(0)]), tags: all(tags), large: all(large).map(([k, v]) => v.length),
      edges: all(edges).map(([k, v]) => [k, v.readUInt32LE(0)]) };
    root.transactionSync(() => {
      for (let i = 0; i < 2000; i++) { words.putSync('more ' + i, 'x' + i); tags.putSync(i % 2 ? 'many' : 'two', 'y' + i); tags.removeSync('many', 'value number ' + i); }
      for (let i = 0; i < 600; i += 2) ids.removeSync(i * 1000);
    });
    tall.transactionSync(() => { for (let i = 0; i < 3000; i += 3) tall.removeSync(told.tall[i][0]); });
    await root.close();
    await tall.close();
    process.stdout.write(JSON.stringify(told));
  `;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program, file, single], {
    encoding: 'utf8',
    cwd: new URL('../../', import.meta.url),
    maxBuffer: 1 << 26,
  });
  assert.equal(status, 0, stderr);
  const told: unknown = JSON.parse(stdout);
  const pairs = (name: string): unknown => rows(space, `/v1/${name}`).map(([pair]) => pair);
  assert.deepEqual(told, {
    tall: entries,
    words: rows(space, '/v1/words'),
    ids: rows(space, '/v1/ids'),
    tags: pairs('tags'),
    large: [5000, 20_000, 0, 2040],
    edges: pairs('edges'),
  });
  await importLmdb(space, '/after', file, V1);
  assert.deepEqual(
    [openMap(space, '/after/words').size, openMap(space, '/after/ids').size, openMap(space, '/after/tags').size],
    [2150, 300, 2003],
  );
  await importLmdb(space, '/shorter', single);
  assert.deepEqual(
    rows(space, '/shorter/main'),
    entries.filter((_entry, i) => i % 3 !== 0),
  );
  sound(space);
});

test('T18 LMDB: trees of all numbers of pages are as LMDB would have them', () => {
  for (const version of [1, 2] as const)
    for (let n = 0; n < 140; n += 1 + (n >> 4)) {
      const file = fresh('.mdb');
      const handle = host.open(file, 'create');
      const writer = new LmdbWriter(host, handle, version);
      const tree = new TreeWriter(writer, 0);
      for (let i = 0; i < n; i++) tree.add(Buffer.from(String(i).padStart(500)), Buffer.from('value'));
      writer.finish(tree.end());
      host.close(handle);
      const [depth] = lawful(file, version);
      assert.equal(depth, n === 0 ? 0 : n <= 7 ? 1 : n <= 56 ? 2 : 3, `${n} entries`);
    }
});

test('T18 LMDB: entries of any number are sorted, through a file where they are many', () => {
  const compare = ([a, x]: readonly [Uint8Array, Uint8Array], [b, y]: readonly [Uint8Array, Uint8Array]): number =>
    Buffer.compare(a, b) || Buffer.compare(x, y);
  fc.assert(
    fc.property(
      fc.array(fc.tuple(someBytes(0, 20), someBytes(0, 300)), { maxLength: 200, size: 'max' }),
      fc.constantFrom(500, 5000, 10 ** 7),
      (entries, run) => {
        const path = fresh('.sort');
        const sorter = new Sorter(host, path, compare, run);
        for (const entry of entries) sorter.add(entry);
        assert.deepEqual([...sorter.sorted()], [...entries].sort(compare));
        sorter.close();
        assert.ok(!existsSync(path));
      },
    ),
    { seed: SEED, numRuns: 60, endOnFailure: true, includeErrorInReport: true },
  );
});

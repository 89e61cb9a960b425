/** T18: dump and load give an equal space, byte for byte; du, diff and copy tell the truth about two spaces; what is wrong is refused by line. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { isTwzError } from '../src/abi/errors.ts';
import {
  bigU64,
  f64,
  hashMap,
  i64,
  objectOf,
  open,
  orderedMap,
  struct,
  text,
  u32,
  type Obj,
  type ObjectId,
  type Space,
} from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';
import { diffSpaces } from '../src/services/diff.ts';
import { dumpSpace, loadInto, loadNew } from '../src/services/dump.ts';
import { spaceUsage } from '../src/services/usage.ts';
import { Person, closedSpace } from './damage.ts';
import { Bench, Thing, chance, contentOf, host } from './tools.ts';

const SEED = Number(process.env['TWZ_SEED'] ?? 77);

const Towns = struct('Towns', { people: hashMap(text, u32), near: orderedMap(text, text) });
const Odd = struct('Odd', { a: f64, b: f64, c: f64, big: bigU64, wide: i64 });

/** Values that JSON does not have, texts that are none, late-bound references, ties, a deleted object, a kept one, raw bytes. */
function odd(space: Space): void {
  const next = chance(SEED);
  let kept: Obj | undefined;
  space.relaxed(() => {
    const values = space.create(Odd, { a: NaN, b: -0, c: -Infinity, big: 2n ** 64n - 1n, wide: -(2 ** 53) + 1 });
    const thing = space.create(Thing, {
      name: 'ä\u0000\u{1f600}"\n',
      count: 2 ** 32 - 1,
      weight: 1e-300,
      mood: 'angry',
      photo: Uint8Array.of(0, 1, 255),
    });
    thing.owner = objectOf(thing);
    thing.small.set(0, 255);
    thing.next = space.late(Thing, '/late');
    const broken = space.create(Thing, { name: 'abc', photo: Uint8Array.from({ length: 3000 }, () => next(256)) });
    broken.owner = objectOf(values);
    const { handle } = objectOf(broken);
    const block = handle.dv.getUint32(objectOf(broken).rootOffset, true);
    handle.markRange(block, 3);
    handle.u8.set([0xff, 0xfe, 0x80], block);
    const towns = space.create(Towns);
    for (let i = 0; i < 1500; i++) {
      towns.people.set(`town ${i}`, i);
      towns.near.set(`town ${i}`, `next to ${i}`);
    }
    space.names.set('/towns', towns);
    const raw = space.createRaw(100_000);
    raw.raw(8192, 50_000).set(Uint8Array.from({ length: 50_000 }, () => next(4) * next(64)));
    space.tie(raw, values);
    kept = raw;
    space.delete(space.create(Thing));
    space.create(Thing, {}, { counted: true, rights: 5 });
    space.names.set('/odd', values);
  });
  kept?.releaseRaw();
  space.relaxed(() => assert.equal(kept === undefined ? '' : space.delete(kept), 'kept'));
}

const lines = (space: Space, form: 'text' | 'binary' = 'text'): Uint8Array[] => [...dumpSpace(space, { form })];
const textOf = (pieces: readonly Uint8Array[]): string => Buffer.concat(pieces).toString();

/** Hands bytes out in pieces of any length. */
function* cutUp(bytes: Uint8Array, next: (below: number) => number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length;) {
    const end = at + 1 + next(next(4) === 0 ? 40 : 200_000);
    yield bytes.subarray(at, end);
    at = end;
  }
}

test(`T18 a dump, text or binary, in pieces of any length, loads into an equal space; seed ${SEED}`, async () => {
  const bench = new Bench();
  const fixture = closedSpace();
  const space = open(fixture.directory, { host });
  odd(space);
  const content = contentOf(space);
  const text = textOf(lines(space));
  for (const form of ['text', 'binary'] as const) {
    const report = await loadNew(host, bench.path(form), cutUp(Buffer.concat(lines(space, form)), chance(SEED)));
    assert.equal(report.objects, content.size);
    const checked = checkSpace(host, bench.path(form));
    assert.deepEqual(
      checked.findings.filter(({ severity }) => severity === 'error'),
      [],
    );
    const loaded = bench.space(form);
    assert.deepEqual(contentOf(loaded), content);
    // Equal spaces have equal dumps.
    assert.equal(textOf(lines(loaded)), text);
    const difference = diffSpaces(space, loaded);
    assert.deepEqual([difference.onlyA, difference.onlyB, difference.changed, difference.names], [[], [], [], []]);
    assert.equal(loaded.get(fixture.alice, Person).friend?.name, 'Dave, who lives with Alice');
    const towns = loaded.names.get('/towns', Towns);
    assert.deepEqual([towns.people.size, towns.people.get('town 77'), towns.near.get('town 78')], [1500, 77, 'next to 78']);
    loaded.relaxed(() => (loaded.get(fixture.alice, Person).age = 99));
    loaded.close();
  }
  // No object fell back to bytes alone.
  assert.doesNotMatch(text, /^\{"object":"\w+","size":\d+\}$/m);
  // It can be read: the values stand there as themselves.
  assert.match(text, /\{"at":4096,"is":"Person","value":\{"name":"Bob","age":31,"mood":"calm","born":1990,/);
  assert.match(text, /"big":\{"\$integer":"18446744073709551615"\},"wide":-9007199254740991/);
  assert.ok(text.length < 1.6 * (5 << 20), `${text.length} characters`);
  space.close();
});

test('T18 a dump that is not whole or not right is refused by line or record, and leaves nothing', async () => {
  const bench = new Bench();
  const made = bench.space('s');
  made.relaxed(() => made.names.set('/thing', made.create(Thing, { name: 'thing', count: 7 })));
  const text = textOf(lines(made));
  const binary = Buffer.concat(lines(made, 'binary'));
  made.close();
  const all = text.trimEnd().split('\n');
  const at = all.findIndex((line) => line.includes('"is":"Thing"'));
  const changed = (line: number, from: string | RegExp, to: string): string =>
    all.map((each, i) => (i === line ? each.replace(from, to) : each)).join('\n');
  const cases: readonly (readonly [what: string, input: string | Uint8Array, message: RegExp])[] = [
    ['nothing', '', /this is no dump/],
    ['something else', 'hello\n', /^line 1: /],
    ['JSON of another kind', '{"a":1}\n', /^line 1: this is no dump/],
    ['another format', text.replace('"format":1', '"format":9'), /^line 1: format 9/],
    ['a line that is no JSON', changed(at, /^./, ''), new RegExp(`^line ${at + 1}: `)],
    ['a value changed', changed(at, '"count":7', '"count":8'), /has the SHA-256/],
    [
      'a number out of range',
      changed(at, '"count":7', '"count":-1'),
      new RegExp(`^line ${at + 1}: Thing.count: -1; expected a number of type u32`),
    ],
    ['a field missing', changed(at, '"count":7,', ''), new RegExp(`^line ${at + 1}: Thing.count is missing`)],
    ['a field too many', changed(at, '"count":7', '"count":7,"more":1'), new RegExp(`^line ${at + 1}: Thing has no field more`)],
    ['a text for a number', changed(at, '"count":7', '"count":"7"'), /Thing.count: "7"/],
    ['a struct outside the object', changed(at, '"at":4096', '"at":4000000000'), /lie outside the object/],
    ['the end cut off', all.slice(0, -1).join('\n'), /ends before its end/],
    ['cut in the middle', text.slice(0, text.length >> 1), /^line \d+: /],
    [
      'an object left out',
      [...all.slice(0, 2), ...all.slice(all.findIndex((line) => line.startsWith('{"end"')) + 1)].join('\n'),
      /schema|objects and/,
    ],
    [
      'bytes that are no text',
      Buffer.concat([Buffer.from(text.slice(0, 200)), Buffer.of(0xff, 0xfe), Buffer.from(text.slice(200))]),
      /^line \d+: /,
    ],
    ['binary, cut', binary.subarray(0, binary.length - 5), /^record \d+: the dump ends/],
    ['binary, a bit flipped', binary.map((byte, i) => (i === binary.length >> 1 ? byte ^ 16 : byte)), /^record \d+: /],
  ];
  for (const [what, input, message] of cases) {
    await assert.rejects(
      loadNew(host, bench.path('out'), [typeof input === 'string' ? Buffer.from(input) : input]),
      (error) => isTwzError(error, 'DumpInvalid') && message.test(error.message),
      what,
    );
    assert.equal(fs.existsSync(bench.path('out')), false, what);
  }
  // Who takes the sum out may change values.
  const edited = changed(at, '"count":7', '"count":8').replaceAll(/,"sha256":"\w+"/g, '');
  await loadNew(host, bench.path('out'), [Buffer.from(edited)]);
  const space = bench.space('out');
  assert.equal(space.names.get('/thing', Thing).count, 8);
  space.close();
  assert.equal(checkSpace(host, bench.path('out')).errors, 0);
});

test('T18 a dump goes into a space that is there: all or nothing, and what is there already must be the same', async () => {
  const bench = new Bench();
  const from = bench.space('from');
  const into = bench.space('into');
  let a: ObjectId | undefined;
  from.relaxed(() => {
    const first = from.create(Thing, { name: 'first' });
    first.next = from.create(Thing, { name: 'second' });
    from.names.mkns('/things');
    from.names.set('/things/first', first);
    from.names.link('/alias', '/things/first');
    a = objectOf(first).id;
  });
  const whole = lines(from);
  assert.deepEqual([(await loadInto(into, whole)).objects, into.names.get('/alias', Thing).next?.name], [2, 'second']);
  const again = await loadInto(into, lines(from, 'binary'));
  assert.deepEqual([again.same, again.names], [2, 0]);
  const before = contentOf(into);
  from.relaxed(() => {
    from.get(a as ObjectId, Thing).count = 5;
    from.names.set('/new', from.create(Thing, { name: 'new' }));
  });
  await assert.rejects(loadInto(into, lines(from)), (error) => isTwzError(error, 'ObjectExists'));
  assert.deepEqual(contentOf(into), before);
  into.relaxed(() => {
    into.delete(a as ObjectId);
    into.names.set('/new', into.create(Thing));
  });
  await assert.rejects(loadInto(into, lines(from)), (error) => isTwzError(error, 'NameExists'));
  assert.equal(into.has(a as ObjectId), false);
  into.close();
  from.close();
});

test('T18 dump, load, du, diff and copy as commands', () => {
  const bench = new Bench();
  bench.good('init');
  bench.good('shell', '-c', 'new /a {"n": 1, "t": "text"}');
  bench.good('shell', '-c', 'new /b {"n": 2}');
  bench.good('mkns', '/deep');
  bench.good('mv', '/b', '/deep/b');
  const text = bench.good('dump');
  assert.equal(bench.run(['load', '-', '-s', 'two'], text).code, 0);
  assert.equal(bench.good('dump', '-s', 'two'), text);
  assert.match(
    bench.good('diff', '.twizzler', 'two'),
    /^0 objects only in the first, 0 only in the second, 0 changed, 4 the same; 0 names differ\n$/,
  );
  bench.good('shell', '-s', 'two', '-c', 'set /a n 10');
  bench.good('ln', '-s', 'two', '/a', '/again');
  const ran = bench.run(['diff', '.twizzler', 'two']);
  assert.equal(ran.code, 1);
  assert.match(ran.out, /^\+ \/again {2}object \w{32}\n/);
  assert.match(ran.out, /\n~ \w{32} .*\n {4}- n: 1\n {4}\+ n: 10\n/);
  const found = JSON.parse(bench.run(['diff', '.twizzler', 'two', '--json']).out) as { changed: { fields: unknown[] }[] };
  assert.ok(found.changed.some(({ fields }) => JSON.stringify(fields) === '[{"field":"n","a":"1","b":"10"}]'));
  // One object alone, in the binary form, into a space of its own.
  assert.equal(bench.json('dump', '/deep/b', '--binary', '-o', 'b.dump')['form'], 'binary');
  assert.deepEqual(
    fs.readdirSync(bench.home).filter((name) => name.includes('draft')),
    [],
  );
  assert.match(bench.good('load', 'b.dump', '-s', 'three'), /^loaded 1 object, .* 2 names into three\n$/);
  assert.equal(bench.good('shell', '-s', 'three', '-c', 'get /deep/b n').trim(), '2');
  assert.match(bench.good('check', '-s', 'three'), /^sound/);
  bench.bad('DumpInvalid', 'load', '.twizzler/space.twz', '-s', 'four');
  bench.bad('FileMissing', 'load', 'nowhere', '-s', 'four');
  bench.bad('ObjectExists', 'load', 'two.dump', '-s', 'two', ...(fs.writeFileSync(bench.path('two.dump'), text), []));
  // copy
  assert.match(bench.good('copy', '.twizzler', '/a', 'four'), /^copied 1 object, .*, 1 name to four\n$/);
  assert.match(bench.good('copy', '.twizzler', '/a', 'four'), /1 object of them there already/);
  assert.match(bench.bad('ObjectExists', 'copy', 'two', '/a', 'four').err, /with another content/);
  assert.equal(bench.json('copy', '.twizzler', '/a', '/deep/b', 'five', '--no-names')['names'], 0);
  assert.equal(bench.run(['copy', '.twizzler', 'four']).code, 2);
  bench.bad('NameMissing', 'copy', '.twizzler', '/nobody', 'four');
  // du
  assert.match(bench.good('du'), / 2 {2}\/deep\n.* 1 {2}\/deep\/b\n/);
  const usage = bench.json('du') as { objects: number; total: Record<string, number> };
  assert.equal(usage.objects, 4);
  const { size, header, tables, used, inside, pages } = usage.total as Record<
    'size' | 'header' | 'tables' | 'used' | 'inside' | 'pages',
    number
  >;
  assert.equal(header + tables + used + inside + pages, size);
  assert.match(bench.good('du', '/a', '/deep/b'), /^\/a .* in 1 object\n.*\n\/deep\/b .* in 1 object\n/s);
});

test('T18 du: every object counts once, for its own name or the first that reaches it', () => {
  const bench = new Bench();
  const space = bench.space('s');
  space.relaxed(() => {
    const a = space.create(Thing, { name: 'a', photo: new Uint8Array(100_000) });
    const b = space.create(Thing, { name: 'b' });
    a.next = space.create(Thing, { name: 'between', photo: new Uint8Array(50_000).fill(1) });
    a.next.next = b;
    b.next = a;
    space.create(Thing, { name: 'nobody' });
    space.names.mkns('/n');
    space.names.set('/n/a', a);
    space.names.set('/n/b', b);
    space.names.set('/twice', a);
  });
  const usage = spaceUsage(space);
  const [n, twice] = usage.names.below;
  assert.deepEqual([n?.path, n?.objects, twice?.objects], ['/n', 4, 0]);
  assert.deepEqual(
    n?.below.map(({ path, objects }) => [path, objects]),
    [
      ['/n/a', 2],
      ['/n/b', 1],
    ],
  );
  assert.deepEqual([usage.unnamed.objects, usage.own.objects], [1, 1]);
  const ids = [...space.ids()];
  assert.equal(usage.objects, ids.length);
  assert.equal(
    usage.total.size,
    ids.reduce((sum, id) => sum + space.object(id).size, 0),
  );
  assert.ok(usage.total.used > 150_000 && (usage.total.holes ?? 0) >= 98_304);
  space.close();
});

/** T11, T16, T18: `twz migrate` and `twz defragment`, and what `twz show`, `get` and `diff` print of collections, as a user types it. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, before, test } from 'node:test';
import { runTwz, type Ran } from './twz.ts';

let home = '';

const twz = (...args: string[]): Ran =>
  runTwz({ args, cwd: home, input: '', env: { PATH: process.env['PATH'], HOME: home, TWZ_HISTORY: '' } });

function good(...args: string[]): string {
  const ran = twz(...args);
  assert.equal(ran.code, 0, `twz ${args.join(' ')}: ${ran.err}${ran.out}`);
  return ran.out;
}

/** The same file as two versions of a program have it. */
const OLD = `
import { struct, text, u8 } from 'twizzler';
export const Guest = struct('Guest', { name: text, age: u8 });
`;
const NEW = `
import { migration, struct, text, u8, u32 } from 'twizzler';
export const GuestV1 = struct('Guest', { name: text, age: u8 });
export const Guest = struct('Guest', { name: text, age: u32, town: text }, { version: 2 });
migration(GuestV1, Guest, { defaults: { town: 'Riga' } });
export const Pair = struct('Pair', { a: u8, b: u8 }, { version: 2 });
export const notOne = 7;
`;
const FILL = `
import { array, blob, graph, indexedMap, index, list, log, objectOf, open, queue, ref, struct, text, textDocument, u32, vec } from 'twizzler';
import { Guest } from './old.ts';
const Cell = struct('Cell', { n: u32, get next() { return ref(Cell); } });
const Town = struct('Town', { name: text });
const All = struct('All', {
  numbers: vec(u32), guests: vec(Guest), words: list(text), file: blob, story: textDocument, jobs: queue(text), lines: log(text),
  roads: graph(Town, Town), people: indexedMap(text, Town, { byName: index(text, (t) => t.name) }),
});
const space = open(process.env['TWZ_SPACE'] ?? '.');
space.relaxed(() => {
  for (let i = 0; i < 3; i++) space.names.set('/guest' + i, space.create(Guest, { name: 'G' + i, age: i }));
  const first = space.create(Cell, { n: 0 });
  space.names.set('/cells', first);
  const cells = Array.from({ length: 3000 }, (_, n) => space.make(Cell, first, { n }));
  first.next = cells[2999] ?? null;
  for (const cell of cells.slice(0, -1)) space.free(cell);
  const all = space.create(All);
  all.numbers.extend(Array.from({ length: 1000 }, (_, i) => i));
  all.guests.push({ name: 'Ann', age: 30 }, { name: 'Bo', age: 40 });
  all.words.push('one', 'two');
  all.file.append(new Uint8Array(100).fill(0xab));
  all.story.append('Once upon a time. '.repeat(100));
  all.jobs.push('a', 'b', 'c');
  all.jobs.shift();
  all.lines.extend(['x', 'y']);
  all.lines.trim(1);
  all.roads.addEdge(all.roads.addNode({ name: 'A' }), all.roads.addNode({ name: 'B' }), { name: 'to B' });
  all.people.set('a', { name: 'Zoe' });
  space.names.set('/all', all);
});
space.close();
`;

before(() => {
  home = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-maintain-'));
  for (const [name, text] of [
    ['old.ts', OLD],
    ['new.ts', NEW],
    ['fill.ts', FILL],
  ] as const)
    fs.writeFileSync(path.join(home, name), text);
  good('init');
  good('run', 'fill.ts');
});

after(() => fs.rmSync(home, { recursive: true, force: true }));

test('T18 show prints collections: counts, the first elements, and below what does not fit a line', () => {
  const shown = good('show', '/all', '--items', '3');
  assert.match(shown, /numbers +Vec<u32> +1,000 elements {2}\[0, 1, 2 … 1,000\]/);
  assert.match(shown, /guests +Vec<Guest> +2 elements\n +\[0\] +Guest\n +name {2}text {2}"Ann"/);
  assert.match(shown, /words +List<text> +2 elements {2}\["one", "two"\]/);
  assert.match(shown, /file +Blob +ababab … 100 B/);
  assert.match(shown, /story +TextDocument +1,800 code units {2}"Once upon a time. Once u"…/);
  assert.match(shown, /jobs +Queue<text> +2 elements {2}\["b", "c"\]/);
  assert.match(shown, /lines +Log<text> +1 entry\n +1 {2}text {2}"y"/);
  assert.match(shown, /nodes {2}nodes {2}2 entries\n +0 {2}Town\n +name {2}text {2}"A"/);
  assert.match(shown, /edges {2}edges {2}1 entry\n +0 {2}GraphEdge_Town_…\n +from +u32 +0\n +to +u32 +1/);
  assert.match(shown, /people .*1 entry\n +"a" {2}Town\n +name {2}text {2}"Zoe"/);
  const whole = JSON.parse(good('show', '/all', '--json')) as { value: Record<string, unknown[]> };
  assert.equal(whole.value['numbers']?.length, 1000);
  assert.deepEqual(whole.value['lines'], [[1, 'y']]);
  const got = good('shell', '-c', 'get /all guests');
  assert.deepEqual(JSON.parse(got), [
    { name: 'Ann', age: 30 },
    { name: 'Bo', age: 40 },
  ]);
});

test('T11 migrate brings all objects to the structs that a file exports, and says which it refuses', () => {
  assert.match(good('migrate', 'new.ts', '--type', 'Guest'), /^Guest version 2: 3 objects, 3 migrated/);
  assert.match(good('show', '/guest1'), /age +u32 +1\n +town +text +"Riga"/);
  const again = JSON.parse(good('migrate', 'new.ts', '--json')) as {
    type: string;
    objects: number;
    migrated: number;
    refused: unknown[];
  }[];
  assert.deepEqual(
    again.map(({ type, objects, migrated, refused }) => [type, objects, migrated, refused.length]),
    [
      ['Guest', 3, 0, 0],
      ['Pair', 0, 0, 0],
    ],
  );
  // Data that is newer than the program's struct is refused by name.
  const back = twz('migrate', 'old.ts');
  assert.deepEqual([back.code, /3 refused/.test(back.out), /TypeNewer/.test(back.out)], [1, true, true], back.out + back.err);
  const unknownType = twz('migrate', 'new.ts', '--type', 'Nobody');
  assert.deepEqual([unknownType.code, /exports no struct Nobody/.test(unknownType.err)], [2, true]);
  fs.writeFileSync(path.join(home, 'empty.ts'), 'export const x = 1;\n');
  assert.match(twz('migrate', 'empty.ts').err, /exports no structs/);
});

test('T6 defragment moves the blocks of an object together and gives back what that empties', () => {
  const moved = good('defragment', '/cells');
  assert.match(moved, /OBJECT +BEFORE +AFTER +MOVED +POINTERS/);
  const [, before, after] = / (\d+(?:\.\d)?) KiB +(\d+(?:\.\d)?) KiB +1 block +1/.exec(moved) ?? assert.fail(moved);
  assert.ok(Number(after) < Number(before) / 2, moved);
  assert.match(good('show', '/cells', '-d', '1'), /n +u32 +2999/);
  const all = JSON.parse(good('defragment', '--all', '--json')) as { objects: unknown[]; left: unknown[] };
  assert.ok(all.objects.length >= 5);
  assert.deepEqual(all.left, []);
  assert.equal(twz('defragment', '/cells', '--all').code, 2);
  assert.match(good('check'), /^sound/);
});

test('T18 diff prints what differs in collections', () => {
  fs.cpSync(path.join(home, '.twizzler'), path.join(home, 'other'), { recursive: true });
  fs.writeFileSync(
    path.join(home, 'change.mjs'),
    `import { open } from 'twizzler';
import { typesOf } from ${JSON.stringify(new URL('../src/services/dynamic.js', import.meta.url).href)};
const space = open(process.env['TWZ_SPACE']);
const id = space.names.lookup('/all');
const all = space.get(id, typesOf(space.object(id)).type);
space.relaxed(() => { all.words.push('three'); all.numbers.set(7, 70); });
space.close();
`,
  );
  good('run', '-s', 'other', 'change.mjs');
  const found = twz('diff', '.twizzler', 'other');
  assert.equal(found.code, 1, found.err);
  assert.match(found.out, /- numbers\[7\]: 7\n +\+ numbers\[7\]: 70\n +\+ words\[2\]: "three"/);
});

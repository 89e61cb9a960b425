/** T18, T19: the command `twz` as a user types it: every command, its JSON, its exit codes, and what it refuses. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, before, test } from 'node:test';
import { ERRORS } from '../src/abi/errors.ts';
import { META } from '../src/abi/format.ts';
import { errorsMarkdown, explainPage, listPages } from '../src/cli/explain.ts';
import { splitLine } from '../src/cli/shell-commands.ts';
import { FINDINGS } from '../src/services/check/findings.ts';
import { MAIN, runTwz, type Ran } from './twz.ts';

const REPOSITORY = new URL('../../', import.meta.url).pathname;
let home = '';

const twz = (args: readonly string[], input = '', env: Readonly<Record<string, string>> = {}): Ran =>
  runTwz({ args, cwd: home, input, env: { PATH: process.env['PATH'], HOME: home, TWZ_HISTORY: '', ...env } });

/** Runs a command that must succeed. */
function good(...args: string[]): string {
  const ran = twz(args);
  assert.equal(ran.code, 0, `twz ${args.join(' ')}: ${ran.err}${ran.out}`);
  return ran.out;
}

function json(...args: string[]): Record<string, unknown> {
  const value: unknown = JSON.parse(good(...args, '--json'));
  assert.ok(typeof value === 'object' && value !== null);
  return value as Record<string, unknown>;
}

const PROGRAM = `
import { open, struct, text, u8, ref, type Infer } from 'twizzler';
const Person = struct('Person', { name: text, age: u8, get friend() { return ref(Person); } });
type Person = Infer<typeof Person>;
const space = open(process.env['TWZ_SPACE'] ?? '.');
space.relaxed(() => {
  const alice: Person = space.create(Person, { name: 'Alice', age: 30 });
  const bob: Person = space.create(Person, { name: 'Bob \\u001b[31m', age: 31 });
  alice.friend = bob;
  space.names.mkns('/people');
  space.names.set('/people/alice', alice);
  space.names.set('/people/bob', bob);
});
console.log('arguments', process.argv.slice(2).join(' '));
if (process.argv.includes('--die')) process.kill(process.pid, 'SIGKILL');
space.close();
process.exitCode = process.argv.includes('--seven') ? 7 : 0;
`;

before(() => {
  home = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-cli-'));
  fs.writeFileSync(path.join(home, 'people.ts'), PROGRAM);
  good('init');
  good('run', 'people.ts');
  // Before anything is changed there.
  for (const copy of ['hurt', 'shelled']) fs.cpSync(path.join(home, '.twizzler'), path.join(home, copy), { recursive: true });
});

after(() => fs.rmSync(home, { recursive: true, force: true }));

test('T19 help, version and usage: unknown commands and flags are refused by name with exit code 2', () => {
  assert.match(good(), /Usage: twz/);
  assert.match(good('help', 'ls'), /list the names/);
  const { version } = JSON.parse(fs.readFileSync(path.join(REPOSITORY, 'package.json'), 'utf8')) as { version: string };
  assert.equal(good('--version').trim(), version);
  assert.equal(json('version')['twizzler'], version);
  for (const [args, what] of [
    [['lss'], /unknown command 'lss' \(Did you mean ls\?\)/],
    [['ls', '--frobnicate'], /unknown option '--frobnicate'/],
    [['ls', '/', '/'], /too many arguments/],
    [['show'], /either a target or --file/],
    [['tree', '-d', 'x'], /expected a number/],
    [['show', 'people'], /neither a path/],
    [['explain', 'Nonsense'], /nothing is named/],
  ] as const) {
    const ran = twz(args);
    assert.equal(ran.code, 2, args.join(' '));
    assert.match(ran.err, what);
    assert.equal(ran.out, '');
  }
});

test('T18 errors: one line with name and code, a hint, exit code 3; JSON on request', () => {
  const ran = twz(['ls', '/nobody']);
  assert.equal(ran.code, 3);
  assert.match(ran.err, /^twz: NameMissing \(701\): nothing has the name "\/nobody"\n/);
  const asJson = twz(['ls', '/nobody', '--json']);
  const value = JSON.parse(asJson.err) as Record<string, unknown>;
  assert.equal(value['error'], 'NameMissing');
  assert.equal(value['code'], 701);
  assert.equal(twz(['ls', '-s', 'nowhere']).code, 3);
  assert.match(twz(['ls', '-s', 'nowhere']).err, /SpaceMissing \(801\)/);
  assert.equal(fs.existsSync(path.join(home, 'nowhere')), false);
  assert.match(twz(['init']).err, /SpaceExists \(802\)/);
});

test('T18 the space: -s, then TWZ_SPACE, then the current directory, then ./.twizzler', () => {
  assert.equal(JSON.parse(good('init', 'other', '--json'))['directory'], 'other');
  assert.equal(json('stat')['directory'], './.twizzler');
  assert.equal(json('stat', '-s', 'other')['directory'], 'other');
  const env = { TWZ_SPACE: path.join(home, 'other') };
  assert.equal((JSON.parse(twz(['stat', '--json'], '', env).out) as Record<string, unknown>)['directory'], env.TWZ_SPACE);
  const inside = spawnSync(process.execPath, [MAIN, 'stat', '--json'], { cwd: path.join(home, 'other'), encoding: 'utf8' });
  assert.equal((JSON.parse(inside.stdout) as Record<string, unknown>)['directory'], '.');
});

test('T18 names: ls, tree, mkns, ln, mv, rm', () => {
  assert.equal(good('ls', '/people'), 'alice\nbob\n');
  assert.match(good('ls', '-l', '/people'), /Person.*alice/);
  good('mkns', '-p', '/a/b/c');
  good('mkns', '-p', '/a/b/c');
  assert.match(twz(['mkns', '/a']).err, /NameExists/);
  good('ln', '/people/alice', '/a/b/one');
  good('ln', '-S', '/people/bob', '/a/two');
  assert.equal(json('stat', '/a/two')['id'], json('stat', '/people/bob')['id']);
  good('mv', '/a/b/one', '/a/b/c/uno');
  assert.match(good('tree', '/a'), /├── b\/\n│ {3}└── c\/\n│ {7}└── uno\n└── two -> \/people\/bob/);
  assert.match(twz(['rm', '/a']).err, /NamespaceNotEmpty/);
  // One that fails leaves the others undone.
  assert.equal(twz(['rm', '/a/two', '/a/nobody']).code, 3);
  assert.match(good('ls', '/a'), /two/);
  good('rm', '-r', '/a');
  assert.equal(twz(['ls', '/a']).code, 3);
  // A name outlives its object, and can still be looked at and removed.
  good('shell', '-c', 'new /gone {"n": 1}');
  good('rm', String(json('stat', '/gone')['id']));
  assert.match(good('ls', '-l', '/'), /ObjectDeleted .*gone/);
  good('rm', '/gone');
  assert.equal(good('ls', '--ids').trim().split('\n').length, json('stat')['objects']);
});

test('T18 show, stat and graph: typed, in hexadecimal, as JSON and as DOT', () => {
  const shown = good('show', '/people/alice', '-d', '1');
  assert.match(shown, /Person at \d+/);
  assert.match(shown, /name +text +"Alice"/);
  assert.match(shown, /friend +ref Person +→ [0-9a-f]{32}/);
  assert.match(shown, /name +text +"Bob \\u001b\[31m"/);
  assert.ok(!shown.includes('\x1b'), 'no control characters of stored data reach the terminal, and no colours a pipe');
  const value = json('show', '/people/alice');
  assert.deepEqual((value['value'] as Record<string, unknown>)['name'], 'Alice');
  assert.match(good('show', '-x', '--length', '32', '/people/alice'), /^00000000 {2}54 57 4f 31 .* TWO1/);
  const facts = json('stat', '/people/alice');
  assert.equal(facts['type'], 'Person');
  const digits = String(facts['id']).slice(0, 10);
  assert.equal(json('stat', digits)['id'], facts['id']);
  assert.match(good('graph', '/people/alice'), /─▶ [0-9a-f]{8} {2}Person {2}1 pointer/);
  assert.match(good('graph', '/people/alice', '--format', 'dot'), /^digraph space \{/);
  assert.equal((json('graph', '/people/alice')['nodes'] as unknown[]).length, 2);
  assert.equal(twz(['graph', '--format', 'png']).code, 2);
});

test('T18 export and import: byte for byte, into another space', () => {
  const { id } = json('stat', '/people/bob');
  good('export', '/people/bob', 'bob.twz');
  assert.equal(twz(['export', '/people/bob', 'bob.twz']).code, 2);
  good('export', '-f', '/people/bob', 'bob.twz');
  assert.match(good('show', '--file', 'bob.twz'), /"Bob /);
  good('init', 'third');
  good('import', 'bob.twz', '-n', '/bob', '-s', 'third');
  assert.equal(json('stat', '/bob', '-s', 'third')['id'], id);
  assert.match(twz(['import', 'bob.twz', '-s', 'third']).err, /ObjectExists/);
  const piped = spawnSync(process.execPath, [MAIN, 'export', '/bob', '-', '-s', 'third'], { cwd: home });
  // All but the version, which counts the commit that entered it here, and the checksum over it.
  const unstamped = (bytes: Buffer): Buffer =>
    Buffer.from(bytes)
      .fill(0, META.version, META.version + 8)
      .fill(0, META.checksum, META.checksum + 4);
  assert.deepEqual(unstamped(piped.stdout), unstamped(fs.readFileSync(path.join(home, 'bob.twz'))));
});

test('T18 import of data: a mapping, bad lines told with their numbers, skipped or refused', () => {
  const mapping = { collections: { towns: { key: 'id', fields: { id: 'text', people: 'u32', near: { refs: 'towns', separator: ';' } } } } };
  fs.writeFileSync(path.join(home, 'map.json'), JSON.stringify(mapping));
  fs.writeFileSync(path.join(home, 'towns.csv'), 'id,people,near\na,1,b\nb,2,a;c\nc,many,a\n');
  const refused = twz(['import', 'towns.csv', '-m', 'map.json']);
  assert.equal(refused.code, 3);
  assert.match(refused.err, /ImportRefused \(902\): towns.csv, line 4/);
  const skipped = twz(['import', 'towns.csv', '-m', 'map.json', '--skip-bad', '--json']);
  assert.equal(skipped.code, 1);
  const report = JSON.parse(skipped.out) as { records: number; skipped: number; problems: { line: number }[] };
  assert.equal(report.records, 2);
  assert.equal(report.skipped, 1);
  assert.ok(report.problems.some((problem) => problem.line === 4));
  fs.writeFileSync(path.join(home, 'towns.ndjson'), '{"id":"a","people":1}\n{"id":"b","people":2,"near":["a"]}\n');
  // Lists are cut from texts by this mapping, and NDJSON has them as lists.
  const plain = twz(['import', '--replace', '-n', 'towns', 'towns=towns.ndjson', '-m', 'map.json']);
  assert.ok(plain.code === 0 || plain.code === 3, plain.err);
  assert.equal(twz(['import', 'towns.csv']).code, 2);
  assert.equal(twz(['check']).code, 0);
});

test('T19 run: TypeScript, arguments, exit code, and twizzler from anywhere', () => {
  good('init', 'ran');
  const far = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-far-'));
  fs.copyFileSync(path.join(home, 'people.ts'), path.join(far, 'people.ts'));
  const ran = twz(['run', '-s', 'ran', path.join(far, 'people.ts'), '--seven', '--json']);
  fs.rmSync(far, { recursive: true });
  assert.equal(ran.code, 7, ran.err);
  assert.equal(ran.out, 'arguments --seven --json\n');
  assert.equal(good('ls', '/people', '-s', 'ran'), 'alice\nbob\n');
  assert.equal(twz(['run', 'nothing.ts']).code, 3);
  fs.writeFileSync(path.join(home, 'throws.ts'), `const n: number = 1; throw new Error('mine ' + n);`);
  const thrown = twz(['run', 'throws.ts']);
  assert.equal(thrown.code, 1);
  assert.match(thrown.err, /mine 1/);
  const again = twz(['run', '-s', 'ran', 'people.ts']);
  assert.equal(again.code, 3);
  assert.match(again.err, /NameExists \(702\)/);
});

test('T8 a program killed in the middle: log shows what is only there, and the next command recovers it', () => {
  good('init', 'killed');
  const ran = twz(['run', '-s', 'killed', 'people.ts', '--die']);
  assert.equal(ran.code, null);
  assert.match(good('log', '-s', 'killed'), /commit/);
  const first = JSON.parse(good('log', '-s', 'killed', '--json', '--lines').split('\n')[0] ?? '') as { sections: { operation: string }[] };
  assert.ok(first.sections.some((section) => section.operation === 'create'));
  assert.equal(json('check', '-s', 'killed')['transactions'], 1);
  assert.equal(good('ls', '/people', '-s', 'killed'), 'alice\nbob\n');
  assert.equal(json('check', '-s', 'killed')['transactions'], 0);
});

test('T18 check: exit code 1 with findings, repair, and 0 afterwards', () => {
  assert.match(good('check', '-s', 'hurt'), /^sound: 4 objects/);
  fs.writeFileSync(path.join(home, 'hurt', 'stray.txt'), 'x');
  const ran = twz(['check', '-s', 'hurt']);
  assert.equal(ran.code, 1);
  assert.match(ran.out, /warning +StrayFile +stray.txt/);
  assert.match(ran.out, /0 errors, 1 warning/);
  assert.equal(twz(['check', '-s', 'hurt', '--repair']).code, 0);
  assert.ok(fs.existsSync(path.join(home, 'hurt', 'quarantine', 'stray.txt')));
  good('check', '-s', 'hurt');
});

test('T19 shell: a script from a pipe, fields, transactions, and the first error ends it', () => {
  const script = (text: string): Ran => twz(['shell', '-s', 'shelled'], text);
  const ran = script(
    `# a comment\ncd /people\npwd\nls\nget alice friend.age\nset alice age 41\nget alice age\nset alice friend alice\nget alice friend.name\nnew zoe like alice {"name":"Zoe","age":3}\nget zoe name\n`,
  );
  assert.equal(ran.code, 0, ran.err);
  assert.deepEqual(ran.out.trim().split('\n'), ['/people', 'alice', 'bob', '31', '41', '"Alice"', '"Zoe"']);
  const wrong = script('get /people/alice age\nset /people/alice age 300\nget /people/alice age\n');
  assert.equal(wrong.code, 3);
  assert.equal(wrong.out, '41\n');
  assert.match(wrong.err, /line 2: set \/people\/alice age 300\ntwz: OutOfRange/);
  const atomic = script('tx\nset /people/alice age 1\nset /people/bob age 300\ncommit\n');
  assert.equal(atomic.code, 3);
  assert.equal(script('get /people/alice age').out, '41\n');
  assert.equal(script('tx\ncd people\nset alice age 1\nset bob age 2\ncommit').code, 0);
  assert.equal(script('get /people/alice age\nget /people/bob age').out, '1\n2\n');
  assert.equal(script('tx\nset /people/alice age 9').code, 2);
  assert.equal(script('nonsense').code, 2);
  assert.equal(good('shell', '-s', 'shelled', '-c', 'get /people/alice age'), '1\n');
  assert.match(good('check', '-s', 'shelled'), /^sound/);
});

test('T19 shell: lines are split at blanks, quotes hold together, brackets go to the end', () => {
  assert.deepEqual(splitLine(`set a "b c" d\\ e 'f"g'`), ['set', 'a', 'b c', 'd e', 'f"g']);
  assert.deepEqual(splitLine('new /x {"a": "b c"}'), ['new', '/x', '{"a": "b c"}']);
  assert.deepEqual(splitLine('   # nothing'), []);
  assert.throws(() => splitLine('say "unfinished'), /ends inside/);
});

test('T18 explain: a page for every error and every finding, and docs/errors.md is printed from them', () => {
  assert.equal(listPages().length, Object.keys(ERRORS).length + Object.keys(FINDINGS).length);
  for (const [name, page] of Object.entries(ERRORS)) assert.equal(explainPage(String(page.code))?.name, name);
  assert.match(good('explain', '501'), /NotInTransaction \(501\)/);
  assert.match(good('explain', 'fotdangling'), /FotDangling/);
  assert.equal(
    fs.readFileSync(path.join(REPOSITORY, 'docs/errors.md'), 'utf8'),
    errorsMarkdown(),
    'run: node dist/src/cli/main.js explain --markdown > docs/errors.md',
  );
});

test('T18 every command is described in docs/cli.md', () => {
  const text = fs.readFileSync(path.join(REPOSITORY, 'docs/cli.md'), 'utf8');
  const commands = [...good().matchAll(/^ {2}([a-z]+) /gm)].map((match) => match[1] ?? '');
  assert.ok(commands.length >= 18, commands.join(' '));
  for (const command of commands) assert.match(text, new RegExp(`\`${command}\\b`), `docs/cli.md says nothing of ${command}`);
});

/**
 * T4, T2: the formats are as docs/formats describes them. Golden files are read by the library and by a second reader, in Python, that was
 * written from those pages and shares no code with the library. Both must find the same in old files and in files written now.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { META } from '../src/abi/format.ts';
import { headerChecksum } from '../src/kernel/kernel.ts';
import { isTwzError, log, objectOf, open, parseId, same, text, type ObjectId } from '../src/index.ts';
import { Person, Point, example, fill, kindsExample } from './golden/make.ts';
import { amount } from './thorough.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const GOLDEN = path.join(ROOT, 'test/golden');
const FORMATS = path.join(ROOT, 'docs/formats');

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-formats-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

const python = spawnSync('python3', ['--version'], { encoding: 'utf8' }).status === 0;
const needsPython = { skip: python ? false : 'python3 is not installed' };

interface ReaderRun {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function secondReader(target: string): ReaderRun {
  return spawnSync('python3', [path.join(GOLDEN, 'reader.py'), target], {
    encoding: 'utf8',
    env: { ...process.env, PYTHONIOENCODING: 'utf-8' },
  });
}

function readBySecond(target: string): unknown {
  const { status, stdout, stderr } = secondReader(target);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}

const golden = (name: string): string => fs.readFileSync(path.join(GOLDEN, name), 'utf8');
const ids = (text: string): Readonly<Record<string, ObjectId>> =>
  Object.fromEntries(Object.entries(JSON.parse(text)).map(([name, id]) => [name, parseId(String(id))]));

function copyOfGolden(): string {
  const directory = path.join(scratch, `space${fs.readdirSync(scratch).length}`);
  fs.cpSync(path.join(GOLDEN, 'space'), directory, { recursive: true });
  return directory;
}

// --- documents --------------------------------------------------------------------------------------------------------------

function hexDump(bytes: Uint8Array, start: number): string {
  const lines: string[] = [];
  let before = '';
  for (let at = 0; at < bytes.length; at += 16) {
    const line = bytes.subarray(at, at + 16);
    const hex = Array.from(line, (byte) => byte.toString(16).padStart(2, '0'));
    const text = Array.from(line, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('');
    const shown = `${hex.slice(0, 8).join(' ').padEnd(23)}  ${hex.slice(8).join(' ').padEnd(23)}  |${text}|`;
    if (shown !== before || at + 16 >= bytes.length) lines.push(`${(start + at).toString(16).padStart(8, '0')}  ${shown}`);
    else if (lines[lines.length - 1] !== '*') lines.push('*');
    before = shown;
  }
  return lines.join('\n');
}

test('T4 formats: the dumps in the documents are the bytes of the golden files', () => {
  let dumps = 0;
  for (const page of fs.readdirSync(FORMATS)) {
    const text = fs.readFileSync(path.join(FORMATS, page), 'utf8');
    for (const [, file = '', from, length, dump] of text.matchAll(/<!-- hexdump (\S+)(?: (\d+) (\d+))? -->\n\n```text\n(.*?)\n```/gs)) {
      const bytes = fs.readFileSync(path.join(ROOT, file));
      const start = Number(from ?? 0);
      assert.equal(dump, hexDump(bytes.subarray(start, start + Number(length ?? bytes.length)), start), `${page}: ${file}`);
      dumps++;
    }
  }
  assert.equal(dumps, 23);
});

// --- the second reader ------------------------------------------------------------------------------------------------------

test('T4 formats: the second reader reads the golden object', needsPython, () => {
  assert.deepEqual(readBySecond(path.join(GOLDEN, 'object.twz')), JSON.parse(golden('object.json')));
});

test('T4 formats: the second reader reads the golden space: object files, log and tail', needsPython, () => {
  assert.deepEqual(readBySecond(path.join(GOLDEN, 'space')), JSON.parse(golden('space.json')));
});

test(
  'M1 formats: the second reader reads golden objects of the kinds append-only and progressive, as the library writes them',
  needsPython,
  () => {
    const now = kindsExample(path.join(scratch, 'kinds'));
    for (const name of ['journal', 'counter'] as const) {
      const old = fs.readFileSync(path.join(GOLDEN, `${name}.twz`));
      assert.deepEqual(readBySecond(path.join(GOLDEN, `${name}.twz`)), JSON.parse(golden(`${name}.json`)));
      // The ID and the nonce are others each time.
      for (const bytes of [now[name], old]) bytes.fill(0, 8, 40);
      assert.deepEqual(plain(now[name]), plain(old), name);
    }
    const space = open(path.join(scratch, 'kinds-entered'));
    const [journal, counter] = (['journal', 'counter'] as const).map((name) =>
      space.relaxed(() => space.import(fs.readFileSync(path.join(GOLDEN, `${name}.twz`)))),
    );
    assert.deepEqual([journal?.kind, counter?.kind, counter?.merge], ['append-only', 'progressive', '000102030405060708090a0b0c0d0e0f']);
    const days = journal?.root(log(text));
    assert.equal(days?.get(2), 'Wednesday');
    assert.equal(
      space.relaxed(() => days?.append('Sunday')),
      6,
    );
    assert.throws(
      () => space.relaxed(() => days?.trim(1)),
      (error) => isTwzError(error, 'AppendOnly'),
    );
    space.close();
  },
);

/** A space's objects and names as the second reader sees them, with names in place of IDs. */
function anonymous(text: string, known: Readonly<Record<string, string>>): unknown {
  const labels = new Map(Object.entries(known).map(([name, id]) => [id, name]));
  const { objects, names, deleted } = JSON.parse(text);
  for (const [name, entry] of Object.entries<{ namespace?: string }>(names))
    if (entry.namespace !== undefined) labels.set(entry.namespace, name);
  const label = (id: string): string => labels.get(id) ?? 'system';
  const renamed: unknown = JSON.parse(JSON.stringify({ names, deleted }).replaceAll(/[0-9a-f]{32}/g, label));
  const each = Object.entries(objects).map(([id, object]) => `${label(id)} ${JSON.stringify(object).replaceAll(/[0-9a-f]{32}/g, label)}`);
  return { renamed, each: each.sort() };
}

test('T4 formats: what is written today is read the same by the second reader', needsPython, () => {
  const directory = path.join(scratch, 'today');
  const known = fill(directory);
  const { status, stdout, stderr } = secondReader(directory);
  assert.equal(status, 0, stderr);
  assert.deepEqual(anonymous(stdout, known), anonymous(golden('space.json'), ids(golden('ids.json'))));
});

test('T4 formats: the second reader reads what a closed space leaves', needsPython, () => {
  const directory = copyOfGolden();
  open(directory).close();
  const { status, stdout, stderr } = secondReader(directory);
  assert.equal(status, 0, stderr);
  assert.equal(JSON.parse(stdout).log.transactions, 0);
  assert.deepEqual(anonymous(stdout, ids(golden('ids.json'))), anonymous(golden('space.json'), ids(golden('ids.json'))));
});

function withOtherRights(mendChecksum: boolean): Uint8Array {
  const bytes = Uint8Array.from(fs.readFileSync(path.join(GOLDEN, 'object.twz')));
  const view = new DataView(bytes.buffer);
  view.setUint32(META.rights, 5, true);
  if (mendChecksum) view.setUint32(META.checksum, headerChecksum(new Int32Array(bytes.buffer, 0, 1024)), true);
  return bytes;
}

test('T2 formats: the second reader refuses changed rights, with a checksum to match or without', needsPython, () => {
  for (const [mend, message] of [
    [false, /checksum/],
    [true, /the ID does not follow/],
  ] as const) {
    const file = path.join(scratch, 'forged.twz');
    fs.writeFileSync(file, withOtherRights(mend));
    const { status, stderr } = secondReader(file);
    assert.equal(status, 1);
    assert.match(stderr, message);
  }
});

test('T2 formats: the library refuses changed rights, with a checksum to match or without', () => {
  const space = open(path.join(scratch, 'refuses'));
  for (const [mend, name] of [
    [false, 'ObjectCorrupt'],
    [true, 'ObjectForged'],
  ] as const) {
    assert.throws(
      () => space.relaxed(() => space.import(withOtherRights(mend))),
      (error) => isTwzError(error, name),
    );
  }
  assert.deepEqual([...space.ids()], []);
  space.close();
});

// --- killed processes -------------------------------------------------------------------------------------------------------

/** Lets the writer run for so many transactions and kills it. */
async function killedSpace(directory: string, seed: number, transactions: number): Promise<void> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('golden/writer.js', import.meta.url)), directory, String(seed)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  let seen = 0;
  for await (const chunk of child.stdout) {
    seen += String(chunk).length / 2;
    if (seen >= transactions) child.kill('SIGKILL');
  }
  await ended;
}

test('T8 formats: what a killed process leaves is read the same by both readers, object by object', needsPython, async (t) => {
  for (const [seed, transactions] of [
    [1, 20],
    [2, 300],
    [3, amount(500, 2000)],
  ] as const) {
    const directory = path.join(scratch, `killed${seed}`);
    await killedSpace(directory, seed, transactions);
    const { status, stdout, stderr } = spawnSync('python3', [path.join(GOLDEN, 'reader.py'), '--hashes', directory], { encoding: 'utf8' });
    assert.equal(status, 0, `seed ${seed}: ${stderr}`);
    const second = JSON.parse(stdout);
    const space = open(directory);
    const first: Record<string, string> = {};
    for (const id of space.ids())
      first[id] = createHash('sha256')
        .update(plain(space.object(id).export()))
        .digest('hex');
    t.diagnostic(`seed ${seed}: ${Object.keys(first).length} objects, ${second.transactions} transactions replayed`);
    assert.equal(space.stat().recovery.transactions, second.transactions, `seed ${seed}`);
    assert.deepEqual(first, second.objects, `seed ${seed}`);
    assert.ok(Object.keys(first).length > 2);
    space.close();
  }
});

// --- the library ------------------------------------------------------------------------------------------------------------

test('T4 formats: the library reads the golden space', () => {
  const known = ids(golden('ids.json'));
  const id = (name: string): ObjectId => known[name] ?? parseId('');
  const space = open(copyOfGolden());
  const { recovery } = space.stat();
  assert.equal(recovery.transactions, JSON.parse(golden('space.json')).log.transactions);
  assert.deepEqual(recovery.missing, []);

  const alice = space.get(id('alice'), Person);
  assert.equal(alice.name, 'Alice, renamed in the log');
  assert.equal(alice.age, 41);
  assert.equal(alice.born, -44);
  assert.equal(alice.mood, 'angry');
  assert.equal(alice.awake, true);
  assert.equal(alice.height, 1.5);
  assert.equal(alice.score, Math.PI);
  assert.equal(alice.balance, -(2 ** 40));
  assert.equal(alice.serial, 2n ** 63n + 1n);
  assert.equal(alice.home.street, 'Küstenstraße');
  assert.equal(alice.home.number, 7);
  assert.deepEqual(alice.tags.toArray(), [1, 2, 3]);
  assert.deepEqual([...alice.photo], [0, 255, 1, 254]);
  assert.equal(alice.friend?.name, 'Bob');
  assert.equal(alice.friend.friend?.name, 'Carol');
  assert.equal(alice.friend.friend.friend?.name, 'Dave');
  assert.equal(alice.friend.friend.friend.age, 42);

  assert.deepEqual(space.ties(id('carol')), [id('alice')]);
  const sealed = space.get(id('sealed'), Person);
  assert.equal(objectOf(sealed).kind, 'immutable');
  assert.ok(same(sealed.friend, alice), 'a late-bound reference follows the name');
  assert.throws(
    () => space.get(id('eve'), Person),
    (error) => isTwzError(error, 'ObjectDeleted'),
  );
  assert.ok(same(space.names.get('/a', Person), alice));
  assert.deepEqual(
    space.names.list('/people').map(({ name, owns }) => ({ name, owns })),
    [{ name: 'alice', owns: true }],
  );
  space.close();
});

test('T4 formats: an object file is entered in another space and leaves it as it came', () => {
  const bytes = fs.readFileSync(path.join(GOLDEN, 'object.twz'));
  const space = open(path.join(scratch, 'elsewhere'));
  const object = space.relaxed(() => space.import(bytes));
  const point = object.root(Point);
  assert.equal(point.label, 'here');
  assert.equal(point.next?.x, 3);
  assert.throws(
    () => point.next?.next,
    (error) => isTwzError(error, 'ObjectMissing'),
  );
  assert.deepEqual(plain(object.export()), plain(bytes));
  space.close();
});

/** Without version and checksum: entering a space is a commit, and counts. */
function plain(file: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(file);
  bytes.fill(0, 72, 80);
  bytes.fill(0, 112, 116);
  return bytes;
}

test('T4 formats: the example of the object page is what the library writes', () => {
  const bytes = example(path.join(scratch, 'example'));
  const old = fs.readFileSync(path.join(GOLDEN, 'object.twz'));
  // The ID, the nonce, the checksum and the ID in FOT entry 1 are another's each time.
  for (const [from, to] of [
    [8, 40],
    [112, 116],
    [1056, 1072],
  ] as const) {
    bytes.fill(0, from, to);
    old.fill(0, from, to);
  }
  assert.deepEqual(Buffer.from(bytes), old);
});

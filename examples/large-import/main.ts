/**
 * Imports NDJSON of any size, made on the fly, to show that memory does not grow with it: people who refer to others anywhere in the
 * file, before and behind them.
 *
 *   node --max-old-space-size=256 dist/examples/large-import/main.js --megabytes 10240 --dir DIR [--limit 1024]
 *
 * Prints JSON. Ends with 0 only if all is there and resident memory stayed below the limit (in MiB).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { open, oneOf, ref, struct, text, u32 } from '../../src/index.ts';
import { each, importData, openImport, refs } from '../../src/services/import.ts';

const MOODS = ['calm', 'angry', 'tired'] as const;

const Person = struct('Person', {
  id: text,
  name: text,
  age: u32,
  mood: oneOf(...MOODS),
  about: text,
  get parent() {
    return ref(Person);
  },
  get friends() {
    return refs(Person);
  },
});

const mapping = {
  collections: {
    people: {
      type: 'Person',
      key: 'id',
      fields: {
        id: 'text',
        name: 'text',
        age: 'u32',
        mood: { values: MOODS },
        about: 'text',
        parent: { ref: 'people' },
        friends: { refs: 'people' },
      },
    },
  },
};

/** A number below `total` that follows from i and n and lies anywhere. */
function scatter(i: number, n: number, total: number): number {
  return (Math.imul(i + n * 977, 0x9e3779b1) >>> 0) % total;
}

interface Made {
  readonly id: string;
  readonly name: string;
  readonly age: number;
  readonly mood: string;
  readonly about: string;
  readonly parent?: string;
  readonly friends: readonly string[];
}

function person(i: number, total: number): Made {
  const friends = Array.from({ length: i % 4 }, (_, n) => `p${scatter(i, n + 1, total)}`);
  const about = 'lives and thinks of those who lived before and will live '.slice(0, 20 + (i % 37)).repeat(1 + (i % 3));
  const made = { id: `p${i}`, name: `Person number ${i}`, age: i % 100, mood: MOODS[i % 3] ?? 'calm', about, friends };
  return i % 10 === 0 ? made : { ...made, parent: `p${scatter(i, 0, total)}` };
}

function* chunks(total: number): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  let pending = '';
  for (let i = 0; i < total; i++) {
    pending += `${JSON.stringify(person(i, total))}\n`;
    if (pending.length < 1 << 16 && i < total - 1) continue;
    yield encoder.encode(pending);
    pending = '';
  }
}

/** KiB of a line of /proc/self/status; 0 where there is none. */
function status(name: string): number {
  try {
    return Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0);
  } catch {
    return Math.round(process.memoryUsage.rss() / 1024);
  }
}

const { values } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '100' },
    limit: { type: 'string', default: '1024' },
    dir: { type: 'string' },
    'sort-bytes': { type: 'string', default: String(64 << 20) },
    'object-bytes': { type: 'string', default: String(64 << 20) },
    'checkpoint-bytes': { type: 'string', default: String(64 << 20) },
  },
});
const SAMPLE = 2000;
const BYTES_A_RECORD = 200;
const total = Math.max(1000, Math.round((Number(values.megabytes) * 2 ** 20) / BYTES_A_RECORD));
const directory = values.dir ?? mkdtempSync(join(tmpdir(), 'twizzler-large-'));

let rss = 0;
let anonymous = 0;
let phase = '';
const phases: Record<string, number> = {};
const started = performance.now();
const note = (now: string): void => {
  rss = Math.max(rss, status('VmRSS'));
  anonymous = Math.max(anonymous, status('RssAnon'));
  if (now !== phase) phases[now] = Math.round(performance.now() - started) / 1000;
  phase = now;
};

const space = open(directory, { checkpointBytes: Number(values['checkpoint-bytes']) });
let steps = 0;
const report = await importData(space, 'large', mapping, [{ name: 'made', format: 'ndjson', chunks: chunks(total) }], {
  sortBytes: Number(values['sort-bytes']),
  objectBytes: Number(values['object-bytes']),
  progress: (now, done, of) => {
    if (now !== phase || (++steps & 15) === 0) note(now);
    if (process.stderr.isTTY && (steps & 63) === 0) process.stderr.write(`\r\x1b[K${now} ${done} of ${of}, ${rss >> 10} MiB`);
  },
});
const seconds = (performance.now() - started) / 1000;
// The kernel's own record of the highest, which no sample misses.
rss = Math.max(rss, status('VmHWM'));
space.close();

const from = performance.now();
const again = open(directory);
const openMs = performance.now() - from;
const people = openImport(again, 'large');
let wrong = people.count('people') === total ? 0 : 1;
const lookup = performance.now();
for (let n = 0; n < SAMPLE; n++) {
  const i = Math.floor((n * total) / SAMPLE);
  const expected = person(i, total);
  const found = people.get('people', expected.id, Person);
  const friends = found === undefined ? [] : [...each(found.friends)].map((friend) => friend.id);
  if (
    found?.name !== expected.name ||
    found.about !== expected.about ||
    found.parent?.id !== expected.parent ||
    friends.join() !== expected.friends.join()
  )
    wrong++;
}
const lookupUs = ((performance.now() - lookup) * 1000) / SAMPLE;
again.close();
if (values.dir === undefined) rmSync(directory, { recursive: true, force: true });
const limit = Number(values.limit);
const residentMiB = rss >> 10;
console.log(
  JSON.stringify({
    ...report,
    megabytes: Math.round(report.bytes / 2 ** 20),
    seconds: Math.round(seconds * 10) / 10,
    recordsPerSecond: Math.round(report.records / seconds),
    phaseStarts: phases,
    residentMiB,
    anonymousMiB: anonymous >> 10,
    limit,
    openMs: Math.round(openMs * 10) / 10,
    lookupUs: Math.round(lookupUs * 10) / 10,
    wrong,
  }),
);
process.exitCode = wrong === 0 && residentMiB < limit ? 0 : 1;

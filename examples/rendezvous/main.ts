/**
 * One program over four topologies: Alice has data, Bob has a program, Carol has other data and a machine, Dave is idle and strong. The
 * program says what it wants of which data, and no host; where it runs and what moves is found out for each. Then the node that owns what is
 * stored to is killed.
 *
 *   npm run demo:cluster                    in network namespaces where that is allowed, else on loopback
 *   npm run demo:cluster -- --json          lines of JSON
 *   npm run demo:cluster -- --network loopback --synsets 2000
 *
 * Needs a nats-server (scripts/nats-server). Ends with 0 only if the answers were the same everywhere and nothing was lost.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Screen, bytes, count, milliseconds } from '../wordnet/screen.ts';
import { partOfWordnet, QUESTIONS } from './data.ts';
import { Party, type Name } from './party.ts';
import { killOwner, type Survived } from './kill.ts';
import { network, type Network } from './network.ts';
import { run, TOPOLOGIES, type Told } from './topologies.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    network: { type: 'string', default: 'any' },
    synsets: { type: 'string', default: '25000' },
    marks: { type: 'string', default: '200' },
    topologies: { type: 'string', default: 'abcd' },
  },
});
const screen = new Screen();
const directory = mkdtempSync(join(tmpdir(), 'twizzler-rendezvous-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));

function line(label: string, text: string): void {
  if (!values.json) screen.line(label, text);
}

function holds(label: string, so: boolean, text: string): void {
  if (!values.json) screen.holds(label, so, text);
  else if (!so) screen.failures++;
}

function json(value: object): void {
  if (values.json) process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** `alice 1, dave 5` */
function inOrder(places: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const place of places) counts.set(place, (counts.get(place) ?? 0) + 1);
  return [...counts].map(([place, times]) => `${place} ${times}`).join(', ');
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

function show(told: Told): void {
  json(told);
  const label = `(${told.topology})`;
  line(label, told.title);
  line(label, `ran at ${inOrder(told.places)}; ${milliseconds(told.ms)}`);
  for (const each of told.why) line(label, each);
  if (told.flows.length === 0) line(label, 'nothing moved');
  for (const { from, to, what, bytes: size } of told.flows)
    line(label, `${from.padStart(7)}  --${`${what} ${bytes(size)}`.padEnd(20, '-')}-->  ${to}`);
}

function showAll(all: readonly Told[]): void {
  const [first] = all;
  for (const answer of first?.answers ?? []) line('answers', answer);
  const rows = all.map((told) => [
    told.topology,
    String(told.answers) === String(first?.answers) ? 'the same' : 'ANOTHER',
    inOrder(told.places),
    bytes(told.dataBytes),
    bytes(told.codeBytes),
    String(told.roundTrips),
    milliseconds(told.ms),
  ]);
  for (const row of table([['', 'answers', 'ran at', 'data moved', 'code moved', 'round trips', 'time'], ...rows])) line('table', row);
  holds(
    'table',
    all.every((told) => String(told.answers) === String(first?.answers)),
    'the answers are the same everywhere',
  );
  const ways = new Set(all.map(({ places }) => inOrder(places)));
  const places = new Set(all.flatMap((told) => told.places));
  const expected = Math.min(3, all.length - 1);
  holds(
    'table',
    ways.size >= expected && places.size >= expected,
    `the program met its data at ${places.size} places: ${[...places].join(', ')}`,
  );
}

function showSurvived(survived: Survived): void {
  json({ topology: 'killed', ...survived });
  const { killed, owner, acknowledged, unknown, unknownDone, count: all, lost, twice, ms } = survived;
  line('kill', `${killed}, who owned what two programs store to, was killed with SIGKILL; ${owner} owns it now`);
  line('kill', `${count(acknowledged)} runs were acknowledged; ${unknown} were not, of which ${unknownDone} had been done`);
  line('kill', `${milliseconds(ms)} from the kill to the next acknowledged run`);
  holds('kill', lost === 0 && twice === 0 && all === acknowledged + unknownDone, `${count(all)} marks: ${lost} lost, ${twice} twice`);
  holds('kill', owner !== killed, 'another node has taken over');
}

async function demonstrate(net: Network): Promise<void> {
  for (const fact of net.facts) line('network', fact);
  json({ network: net.kind, facts: net.facts });
  const data = partOfWordnet(Number(values.synsets));
  const part = join(directory, 'part.json');
  writeFileSync(part, JSON.stringify(data));
  line(
    'data',
    `${count(data.synsets.length)} synsets of WordNet and ${count(data.words.length)} words; ${QUESTIONS.length} questions, one run each`,
  );
  const party = new Party({ network: net, directory, part });
  try {
    await Promise.all([party.invite('alice'), party.invite('bob'), party.invite('carol')]);
    const all: Told[] = [];
    const knows = new Set<Name>(['bob']);
    for (const topology of TOPOLOGIES.filter(({ name }) => values.topologies.includes(name))) {
      if (topology.busy === true) await party.invite('dave', 2);
      const told = await run(party, topology, QUESTIONS, knows);
      all.push(told);
      show(told);
    }
    showAll(all);
    showSurvived(await killOwner(party, Number(values.marks), Number(values.marks)));
  } finally {
    await party.stop();
  }
}

const wish = values.network === 'loopback' || values.network === 'namespaces' ? values.network : 'any';
if (!values.json) screen.title('Twizzler: one program, four topologies');
const net = await network(['alice', 'bob', 'carol', 'dave'], directory, wish);
try {
  await demonstrate(net);
} finally {
  await net.close();
}
process.exitCode = screen.failures === 0 ? 0 : 1;

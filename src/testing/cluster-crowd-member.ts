/**
 * One process of a crowd of nodes: opens its space, joins, and does this and that with what all share until it is killed or told to go. Says what
 * it does on standard output, is told what to do on standard input (cluster/crowd-story.ts). Arguments: directory, name, URL of the engine.
 */
import * as fs from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { isTwzError } from '../abi/errors.ts';
import { parseId, type ObjectId } from '../abi/id.ts';
import { Random } from '../host/simulated/random.ts';
import type { Infer } from '../index.ts';
import { join, type Cluster } from '../services/cluster/cluster.ts';
import { open } from '../space.ts';
import { imageOf } from './cluster/converged.ts';
import {
  ALONE,
  BALANCE,
  Cell,
  ENTRIES,
  Grave,
  Item,
  ITEMS,
  Ledger,
  Shelf,
  TALLIES,
  Tally,
  TOGETHER,
  torn,
  type Broken,
  type Command,
  type Said,
  type Table,
  type Together,
} from './cluster/crowd-story.ts';

const [directory = '', name = '', url = ''] = process.argv.slice(2);
const CLIENTS = 2;
const PATIENCE_MS = 8000;
const SHOW_MS = 5000;
/** Ends of steps that are the cluster's to choose. */
const EXPECTED: ReadonlySet<string> = new Set(['Unreachable', 'TimedOut', 'Fenced', 'Stale', 'EngineLost', 'RunLost', 'RunsFull']);

const now = (): number => Number(process.hrtime.bigint()) / 1e6;
const say = (said: Said): void => void fs.writeSync(1, `${JSON.stringify(said)}\n`);

say({ is: 'opening', at: now() });
const space = open(directory, { segmentSize: 1 << 20, checkpointBytes: 1 << 20, patience: 30_000 });
say({ is: 'joining', at: now() });
const cluster = await enter();
void cluster.ended.then(() => {
  if (!state.leaving) fail('the thread of the node has ended');
});
say({ is: 'here', at: now() });

let table: Table = {};
let broken: Broken | undefined;
/** What was read last, by name. */
const last = new Map<string, number>();
const state = { resting: false, leaving: false };
let tags = 0;
let clients: Promise<unknown> = Promise.resolve();

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as Command;
  switch (command.do) {
    case 'make':
      await make(command.names);
      break;
    case 'go':
      ({ table, broken } = command);
      tags = command.life * 1_000_000;
      clients = Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(new Random(command.seed * 7919 + command.life * 31 + i))));
      break;
    case 'rest':
      state.resting = true;
      await clients;
      say({ is: 'resting', at: now() });
      break;
    case 'show':
      await show(command.table, command.directory);
      break;
    case 'leave':
      state.resting = state.leaving = true;
      await clients;
      say({ is: 'leaving', at: now() });
      await cluster.leave();
      space.close();
      process.exit(0);
  }
}
process.exit(0);

function fail(what: string): never {
  say({ is: 'fault', fault: what });
  process.exit(9);
}

function described(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Tries for as long as the engine is away. */
async function enter(): Promise<Cluster> {
  for (;;) {
    try {
      return await join(space, { servers: [url], name, space: 'crowd', lease: 1500, patience: PATIENCE_MS, logBytes: 8192 });
    } catch (error) {
      if (!isTwzError(error) || !EXPECTED.has(error.name)) fail(`does not join: ${described(error)}`);
      await delay(100);
    }
  }
}

/** It is in the engine: from now on it is nowhere never. */
async function make(names: readonly string[]): Promise<void> {
  const made: Record<string, ObjectId> = {};
  const init = { tag: 0, count: 0, balance: BALANCE };
  await cluster.commit(() => {
    for (const each of names) {
      const object = each.startsWith('l')
        ? space.create(Ledger, init)
        : each.startsWith('s')
          ? space.create(Shelf, init)
          : each.startsWith('g')
            ? space.create(Grave, init)
            : each.startsWith('t')
              ? space.create(Tally)
              : space.create(Cell, init);
      made[each] = space.object(object).id;
    }
  });
  say({ is: 'made', table: made });
}

function idOf(of: string): ObjectId {
  const id = table[of];
  if (id === undefined) throw new Error(`nobody has made ${of}`);
  return id;
}

/** Tag, count and balance, of whatever type. */
function cellOf(of: string): Infer<typeof Cell> | Infer<typeof Ledger> | Infer<typeof Shelf> | Infer<typeof Grave> {
  if (of.startsWith('g')) return space.get(idOf(of), Grave);
  return of.startsWith('l') ? space.get(idOf(of), Ledger) : of.startsWith('s') ? space.get(idOf(of), Shelf) : space.get(idOf(of), Cell);
}

// --- steps ----------------------------------------------------------------------------------------------------------------------------

async function client(random: Random): Promise<void> {
  try {
    while (!state.resting) {
      await act(random);
      await delay(random.below(random.pick([5, 30, 120]) ?? 5));
    }
  } catch (error) {
    fail(`what is no error of the cluster's: ${described(error)}`);
  }
}

interface Step {
  readonly tag: number;
  readonly ms: number;
  /** What was read, where that counts. */
  saw: Record<string, number> | undefined;
  /** What a run gave. */
  gave: number | undefined;
}

async function act(random: Random): Promise<void> {
  const at = random.below(100);
  const some = random.pick(ALONE) ?? 'r0';
  const together = random.pick(TOGETHER) as Together;
  const { kind, names } = together;
  if (at < 22) await step(`add to ${some}`, random, (one) => write(one, [some], 0));
  else if (at < 50) {
    const chosen = kind === 'equal' ? names : pickTwo(names, random);
    const amount = kind === 'sum' ? 1 + random.below(5) : 0;
    await step(`${kind} ${chosen.join(', ')}`, random, (one) => write(one, chosen, amount));
  } else if (at < 59) await step(`read ${some}`, random, (one) => read(one, [some]));
  else if (at < 70) await step(`read ${names.join(', ')}`, random, (one) => read(one, names));
  else if (at < 79) await step(`look at ${names.join(', ')}`, random, ({ ms }) => look(together, ms));
  else if (at < 84) await step(`make in ${some}`, random, (one) => write(one, [random.pick(['s0', 's1']) ?? 's0'], 0));
  else if (at < 87) await step('dig', random, ({ ms }) => dig(random.pick(['g0', 'g1']) ?? 'g0', ms));
  else if (at < 91) await step('follow', random, ({ ms }) => follow(random.pick(['s0', 's1']) ?? 's0', 1 + random.below(30), ms));
  else {
    const first = random.pick(TALLIES) ?? 't0';
    const runs = random.below(3) === 0 ? TALLIES.toSorted((each) => (each === first ? -1 : 1)) : [first];
    const [isNamed, ship] = [random.below(2) === 0, random.pick([undefined, 'code', 'data'] as const)];
    const how = `run in ${runs.join(', ')}${isNamed ? ' by name' : ''}${ship === undefined ? '' : `, ${ship}`}`;
    await step(how, random, (one) => run(one, runs, isNamed, ship), runs);
  }
}

async function step(what: string, random: Random, body: (step: Step) => Promise<void>, runs?: readonly string[]): Promise<void> {
  const ms = random.pick([400, 2000, 8000]) ?? 2000;
  const one: Step = { tag: ++tags, ms, saw: undefined, gave: undefined };
  say({ is: 'begin', tag: one.tag, what, at: now(), ms, runs });
  let error = '';
  try {
    await body(one);
  } catch (cause) {
    if (!isTwzError(cause)) throw cause;
    error = cause.name;
    const { id } = cause.context;
    const fault = `step ${one.tag} (${what}): ${described(cause)} ${JSON.stringify(cause.context)}`;
    if (error === 'ObjectMissing' && typeof id === 'string') say({ is: 'missing', tag: one.tag, id: parseId(id), fault });
    else if (!EXPECTED.has(error)) say({ is: 'fault', fault });
  }
  say({ is: 'end', tag: one.tag, at: now(), error, saw: error === '' ? one.saw : undefined, gave: one.gave });
}

/** Runs where the system chooses: gives which of all that counted it is. */
function count(tally: Infer<typeof Tally>, tag: number): number {
  tally.runs.set(tag, (tally.runs.get(tag) ?? 0) + 1);
  return ++tally.done;
}

/** As `count`, in each in a transaction of its own. */
async function countInBoth(first: Infer<typeof Tally>, second: Infer<typeof Tally>, tag: number): Promise<number> {
  const place = space.relaxed(() => {
    first.runs.set(tag, (first.runs.get(tag) ?? 0) + 1);
    return ++first.done;
  });
  space.relaxed(() => {
    second.runs.set(tag, (second.runs.get(tag) ?? 0) + 1);
    second.done++;
  });
  return place;
}

/** One that has a name is asked for again where it was broken off: it goes on, and counts once all the same. */
async function run(one: Step, names: readonly string[], isNamed: boolean, ship: 'code' | 'data' | undefined): Promise<void> {
  const { tag } = one;
  const until = now() + one.ms;
  for (const each of names) await cluster.bring(idOf(each), one.ms);
  const [first, second] = names.map((each) => space.get(idOf(each), Tally)) as [Infer<typeof Tally>, Infer<typeof Tally>?];
  const options = { ...(ship === undefined ? {} : { ship }), ...(isNamed ? { activation: `step ${tag}` } : {}) };
  for (let tries = 1; ; tries++) {
    try {
      const deadline = Math.max(1, until - now());
      one.gave =
        second === undefined
          ? await space.runWith({ ...options, deadline }, count, first, tag)
          : await space.runWith({ ...options, deadline }, countInBoth, first, second, tag);
      if (broken === 'twice') await space.runWith({ deadline: PATIENCE_MS }, count, first, tag);
      return;
    } catch (error) {
      if (!isNamed || tries > 2 || !isTwzError(error) || !EXPECTED.has(error.name) || now() > until) throw error;
    }
  }
}

/** A transaction: each object gets the number of the step, and what it had is noted. */
async function write({ tag, ms }: Step, names: readonly string[], amount: number): Promise<void> {
  const mortal = names.some((each) => each.startsWith('g')) ? await mortalCell(ms) : undefined;
  const store = (some: readonly string[]): void => {
    const saw: Record<string, number> = {};
    let made: ObjectId | undefined;
    for (const each of some) {
      const cell = cellOf(each);
      saw[each] = cell.tag;
      cell.tag = tag;
      cell.count++;
      if (amount > 0) cell.balance += each === names[0] ? -amount : amount;
      if (each.startsWith('l')) note(space.get(idOf(each), Ledger), tag);
      if (each.startsWith('g') && mortal !== undefined) bury(space.get(idOf(each), Grave), mortal);
      if (each.startsWith('s')) made = shelve(space.get(idOf(each), Shelf), tag);
    }
    say({ is: 'write', tag, saw, made });
  };
  if (broken === 'acknowledged') space.relaxed(() => store(names));
  else if (broken === 'apart' && names.length > 1) {
    for (const each of names) await cluster.commit(() => store([each]), { deadline: ms });
  } else await cluster.commit(() => store(names), { deadline: ms });
}

async function mortalCell(ms: number): Promise<ObjectId> {
  return cluster.commit(() => space.object(space.create(Cell, { tag: 0, count: 0, balance: 0 })).id, { deadline: ms });
}

/** Nobody sees the reference and not that it leads nowhere. */
function bury(grave: Infer<typeof Grave>, mortal: ObjectId): void {
  grave.buried = space.get(mortal, Cell);
  space.delete(mortal);
}

async function dig(from: string, ms: number): Promise<void> {
  await cluster.fresh(idOf(from), ms);
  try {
    const { buried } = space.get(idOf(from), Grave);
    if (buried !== null) say({ is: 'fault', fault: `wrong: what was deleted with ${from} is there, ${buried.tag}` });
  } catch (error) {
    if (!isTwzError(error, 'ObjectDeleted')) throw error;
  }
}

function note({ count, entries }: Infer<typeof Ledger>, tag: number): void {
  entries.set(count, `by ${tag}, `.repeat(10));
  entries.delete(count - ENTRIES);
}

/** Each has the one before it, and the first none. */
function shelve(shelf: Infer<typeof Shelf>, tag: number): ObjectId | undefined {
  const { count, newest } = shelf;
  if (count > ITEMS) return undefined;
  const item = space.create(Item, { number: count, tag, before: newest });
  shelf.newest = item;
  return space.object(item).id;
}

/** As new as it was when it was asked for, and in the engine. */
async function read(one: Step, names: readonly string[]): Promise<void> {
  for (const each of names) await cluster.fresh(idOf(each), one.ms);
  const tags = await cluster.commit(() => names.map((each) => cellOf(each).tag), { deadline: one.ms });
  one.saw = Object.fromEntries(names.map((each, i) => [each, (broken === 'stale' ? last.get(each) : undefined) ?? tags[i] ?? 0]));
  for (const [i, each] of names.entries()) last.set(each, tags[i] ?? 0);
}

/** What is here at this moment, however old: outside of a transaction, and in one. */
async function look({ kind, names }: Together, ms: number): Promise<void> {
  for (const each of names) await cluster.bring(idOf(each), ms);
  const seen = (): readonly { readonly tag: number; readonly count: number; readonly balance: number }[] =>
    names.map((each) => {
      const { tag, count, balance } = cellOf(each);
      return { tag, count, balance };
    });
  const judge = (where: string, cells: ReturnType<typeof seen>): void => {
    if (torn(kind, cells)) say({ is: 'fault', fault: `torn: ${names.join(', ')} ${where}: ${JSON.stringify(cells)}` });
  };
  space.refresh();
  // What is not here any more would come at another moment.
  if (names.every((each) => space.has(idOf(each)))) judge('at a glance', seen());
  judge('in a transaction', space.relaxed(seen));
}

async function follow(from: string, most: number, ms: number): Promise<void> {
  await cluster.fresh(idOf(from), ms);
  walk(from, most, (fault) => say({ is: 'fault', fault }));
}

/** Along what was made. Numbers go down by one. */
function walk(from: string, most: number, fault: (what: string) => void): void {
  const shelf = space.get(idOf(from), Shelf);
  const { count } = shelf;
  // While what is referred to comes, what is known goes on.
  let item = shelf.newest;
  let number = item?.number ?? 1;
  if (item === null ? count > 0 : number !== Math.min(count, ITEMS))
    fault(`wrong: ${from} counts ${count}, and the last that was made is ${item?.number}`);
  for (let i = 0; i < most && item !== null; i++, number--) {
    if (item.number !== number) {
      fault(`wrong: in ${from} number ${item.number} is where ${number} should be`);
      return;
    }
    item = item.before;
    if (item === null && number !== 1) fault(`lost: in ${from} nothing is before number ${number}`);
  }
}

function pickTwo(names: readonly string[], random: Random): readonly string[] {
  const first = random.below(names.length);
  return [names[first] ?? '', names[(first + 1 + random.below(names.length - 1)) % names.length] ?? ''];
}

// --- the end --------------------------------------------------------------------------------------------------------------------------

async function show(of: Table, images: string): Promise<void> {
  table = of;
  for (const each of Object.keys(of)) await fresh(each);
  const finals: Record<string, { readonly tag: number; readonly count: number }> = {};
  const tallies: Record<string, [number, number][]> = {};
  for (const [each, id] of Object.entries(of)) {
    if (each.startsWith('t')) tallies[each] = [...space.get(id, Tally).runs];
    else {
      const { tag, count: times } = cellOf(each);
      finals[each] = { tag, count: times };
    }
    if (each.startsWith('l')) {
      const { count: times, entries } = space.get(id, Ledger);
      if (entries.size !== Math.min(times, ENTRIES))
        say({ is: 'fault', fault: `wrong: ${each} has ${entries.size} entries of ${times} steps` });
    }
    if (each.startsWith('s')) walk(each, Infinity, (fault) => say({ is: 'fault', fault }));
    fs.writeFileSync(`${images}/${each}`, imageOf(space, id));
  }
  for (const each of ['s0', 's1'])
    for (let item = space.get(idOf(each), Shelf).newest; item !== null; item = item.before) {
      const { id } = space.object(item);
      fs.writeFileSync(`${images}/${each}-${item.number}`, imageOf(space, id));
    }
  say({ is: 'shown', finals, tallies });
}

/** Tries for as long as nobody finds it too long. */
async function fresh(of: string): Promise<void> {
  for (;;) {
    try {
      await cluster.fresh(idOf(of), SHOW_MS);
      return;
    } catch (error) {
      if (!isTwzError(error) || !EXPECTED.has(error.name)) fail(`${of} does not come: ${described(error)}`);
      await delay(100);
    }
  }
}

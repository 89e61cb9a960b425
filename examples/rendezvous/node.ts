/** One node, in a process of its own: `node.js SETTINGS`. It does what its parent asks for, and ends with it. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isTwzError, open, parseId, type Space } from '../../src/index.ts';
import { join, type Cluster, type Explained } from '../../src/services/cluster/cluster.ts';
import { createGraph, createLexicon, type Part } from './data.ts';
import { CODE_BYTES, mark, program, spin, Tally, type Data, type Question } from './program.ts';

export const NODE: string = fileURLToPath(import.meta.url);

export interface Settings {
  readonly name: string;
  readonly directory: string;
  readonly server: string;
  readonly space: string;
  readonly speed: number;
  /** Whether it runs what others send. */
  readonly runs: boolean;
  /** File with the data. */
  readonly part: string;
}

export type Asked =
  | { readonly do: 'create'; readonly what: readonly (keyof Data)[] }
  | { readonly do: 'ask'; readonly data: Data; readonly questions: readonly Question[] }
  | { readonly do: 'stat' | 'tally' | 'stop' | 'idle' }
  | { readonly do: 'owner' | 'marks'; readonly tally: string }
  | { readonly do: 'mark'; readonly tally: string; readonly number: number; readonly ms: number }
  | { readonly do: 'busy' | 'loaded'; readonly node: string };

export interface Joined {
  readonly id: string;
}

export interface Ran {
  readonly answers: readonly string[];
  readonly ms: number;
  readonly plans: readonly Explained['data'][];
  readonly lines: readonly (readonly string[])[];
  /** Characters of the function that goes to the data. */
  readonly codeBytes: number;
}

export interface Marked {
  readonly ok: boolean;
  /** Name of the error. */
  readonly error?: string;
}

export type Stat = Readonly<Record<string, number | string | boolean>>;

/** Some tenths of a second. */
const SPINS = 200_000_000;

let busy = false;
let spinning: Promise<void> = Promise.resolve();

const stillBusy = (): boolean => busy;

async function keepBusy(cluster: Cluster, at: string): Promise<void> {
  busy = true;
  do await cluster.runWith({ at }, spin, SPINS);
  while (stillBusy());
}

async function loaded(cluster: Cluster, name: string): Promise<void> {
  for (;;) {
    const found = (await cluster.nodes()).find((each) => each.name === name);
    if (found !== undefined && found.load > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function ran(cluster: Cluster, data: Data, questions: readonly Question[]): Promise<Ran> {
  const from = performance.now();
  const answers = await program(cluster, data, questions);
  const ms = performance.now() - from;
  const plans = cluster.plans.slice(-questions.length);
  return { answers, ms, plans: plans.map(({ data: each }) => each), lines: plans.map(({ lines }) => lines), codeBytes: CODE_BYTES };
}

async function marked(cluster: Cluster, tally: string, number: number, ms: number): Promise<Marked> {
  const options = { ship: 'code', deadline: ms } as const;
  try {
    await cluster.runWith(options, mark, cluster.reference(parseId(tally)), number);
    return { ok: true };
  } catch (error) {
    // It may have been done or not: whether it was is looked up in the end.
    if (!isTwzError(error)) throw error;
    return { ok: false, error: error.name };
  }
}

function create(space: Space, part: string, what: readonly (keyof Data)[]): Partial<Data> {
  const wordnet = JSON.parse(readFileSync(part, 'utf8')) as Part;
  return {
    ...(what.includes('graph') ? { graph: space.object(createGraph(space, wordnet)).id } : {}),
    ...(what.includes('lexicon') ? { lexicon: space.object(createLexicon(space, wordnet)).id } : {}),
  };
}

async function answer(space: Space, cluster: Cluster, part: string, asked: Asked): Promise<unknown> {
  switch (asked.do) {
    case 'create':
      return create(space, part, asked.what);
    case 'ask':
      return ran(cluster, asked.data, asked.questions);
    case 'stat':
      return cluster.stat();
    case 'busy':
      spinning = keepBusy(cluster, asked.node);
      return undefined;
    case 'idle':
      busy = false;
      return spinning;
    case 'loaded':
      return loaded(cluster, asked.node);
    case 'tally': {
      const tally = space.relaxed(() => space.create(Tally));
      return space.object(tally).id;
    }
    case 'mark':
      return marked(cluster, asked.tally, asked.number, asked.ms);
    case 'owner':
      return (await cluster.where(parseId(asked.tally))) ?? '';
    case 'marks': {
      const id = parseId(asked.tally);
      await cluster.fresh(id);
      return [...space.get(id, Tally).marks];
    }
    case 'stop':
      busy = false;
      await spinning;
      await cluster.leave();
      space.close();
      return undefined;
  }
}

async function main({ name, directory, server, space: shared, speed, runs, part }: Settings): Promise<void> {
  const space = open(directory);
  const cluster = await join(space, { servers: [server], space: shared, name, speed, runs, lease: 1000, patience: 20_000 });
  process.on('message', ({ number, asked }: { readonly number: number; readonly asked: Asked }) => {
    void answer(space, cluster, part, asked).then(
      (value) => process.send?.({ number, value }),
      (error: unknown) => process.send?.({ number, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
    );
  });
  process.once('disconnect', () => process.exit(0));
  process.send?.({ number: 0, value: { id: cluster.id } satisfies Joined });
}

if (process.argv[1] === NODE) await main(JSON.parse(process.argv[2] ?? '') as Settings);

/** The four topologies, and what is told of one: where the program ran and why, and what moved. */
import type { Data, Question } from './program.ts';
import type { Name, Party } from './party.ts';
import type { Ran, Stat } from './node.ts';

export interface Topology {
  readonly name: string;
  readonly title: string;
  readonly graph: Name;
  readonly lexicon: Name;
  /** Somebody else's long runs are at Alice, and Dave is there. */
  readonly busy?: boolean;
}

export const TOPOLOGIES: readonly Topology[] = [
  { name: 'a', title: 'Bob has the program and all the data', graph: 'bob', lexicon: 'bob' },
  { name: 'b', title: 'Bob has the program, Alice the data', graph: 'alice', lexicon: 'alice' },
  { name: 'c', title: 'Bob has the program, Alice the graph, Carol the lexicon', graph: 'alice', lexicon: 'carol' },
  { name: 'd', title: 'as c, but Alice is busy, and Dave is idle and strong', graph: 'alice', lexicon: 'carol', busy: true },
];

export interface Flow {
  readonly from: Name;
  readonly to: Name;
  readonly what: string;
  readonly bytes: number;
}

export interface Told {
  readonly topology: string;
  readonly title: string;
  readonly answers: readonly string[];
  /** Where the runs were, in their order. */
  readonly places: readonly Name[];
  /** The plan of the last run: the reason, and the place that was chosen with the parts of its cost. */
  readonly why: readonly string[];
  readonly flows: readonly Flow[];
  readonly dataBytes: number;
  readonly codeBytes: number;
  /** Runs that were sent, objects that were asked for, and searches for where one is. */
  readonly roundTrips: number;
  readonly ms: number;
}

const difference = (after: Stat | undefined, before: Stat | undefined, name: string): number =>
  Number(after?.[name] ?? 0) - Number(before?.[name] ?? 0);

/** Names instead of IDs, and of the chosen place only. */
function whyOf(party: Party, data: Data, ran: Ran): string[] {
  const shown = (line: string): string => {
    let text = line;
    for (const { name, joined } of party.members.values()) text = text.replaceAll(joined.id, name);
    return text.replaceAll(data.graph, 'graph').replaceAll(data.lexicon, 'lexicon');
  };
  const [head = '', ...candidates] = (ran.lines.at(-1) ?? []).map(shown);
  const seen = new Set<string>();
  // Of each place the best way.
  const best = candidates.filter((line) => {
    const [place = ''] = line.slice(2).split(':');
    const first = line.startsWith('*') || !seen.has(place);
    seen.add(place);
    return first;
  });
  return [head, ...best];
}

/** Each thing once: what has come to a node stays there. */
function flowsOf(party: Party, data: Data, ran: Ran, knows: Set<Name>): Flow[] {
  const flows = new Map<string, Flow>();
  const add = (from: string, to: string, what: string, bytes: number): void => {
    const key = `${from} ${to} ${what}`;
    if (from !== to && !flows.has(key)) flows.set(key, { from: party.nameOf(from), to: party.nameOf(to), what, bytes });
  };
  for (const { here, place, candidates } of ran.plans) {
    if (!knows.has(party.nameOf(place))) add(here, place, 'code', ran.codeBytes);
    knows.add(party.nameOf(place));
    for (const { family, way, from, bytes } of candidates.find(({ chosen }) => chosen)?.arguments ?? [])
      if (way !== 'there') add(from, place, family === data.graph ? 'graph' : 'lexicon', bytes);
  }
  return [...flows.values()];
}

/** `knows`: the nodes that have the code already. */
export async function run(party: Party, topology: Topology, questions: readonly Question[], knows: Set<Name>): Promise<Told> {
  const { name, title, graph, lexicon, busy = false } = topology;
  const bob = party.get('bob');
  const data = {
    ...(await party.get(graph).ask({ do: 'create', what: ['graph'] })),
    ...(await party.get(lexicon).ask({ do: 'create', what: ['lexicon'] })),
  } as Data;
  if (busy) {
    await party.get('carol').ask({ do: 'busy', node: 'alice' });
    await bob.ask({ do: 'loaded', node: 'alice' });
  }
  const before = await party.stats();
  const ran = await bob.ask({ do: 'ask', data, questions });
  const after = await party.stats();
  if (busy) await party.get('carol').ask({ do: 'idle' });
  let [fetched, roundTrips] = [0, 0];
  for (const each of party.members.keys()) {
    const more = (what: string): number => difference(after.get(each), before.get(each), what);
    fetched += more('fetchedBytes');
    roundTrips += more('fetched') - more('prefetched') + more('finds');
  }
  const places = ran.plans.map((plan) => party.nameOf(plan.place));
  const flows = flowsOf(party, data, ran, knows);
  const codeBytes = ran.codeBytes * flows.filter(({ what }) => what === 'code').length;
  return {
    topology: name,
    title,
    answers: ran.answers,
    places,
    why: whyOf(party, data, ran),
    flows,
    dataBytes: Math.max(0, fetched - codeBytes),
    codeBytes,
    roundTrips: roundTrips + places.filter((each) => each !== 'bob').length,
    ms: ran.ms,
  };
}

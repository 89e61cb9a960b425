/**
 * Bob's program, the same over every topology: it names data and no machine. What it asks for is the chain between two words, and how much
 * had to be looked at for it.
 */
import { orderedMap, ref, struct, text, u32, vec, type Infer } from '../../src/index.ts';
import type { Cluster } from '../../src/services/cluster/cluster.ts';
import type { ObjectId } from '../../src/index.ts';

/** A synset of WordNet. All of them are in one object with the graph, and are reached by references. */
export const Synset = struct('Synset', {
  at: u32,
  name: text,
  gloss: text,
  get links() {
    return ref(Link);
  },
});
export type Synset = Infer<typeof Synset>;
export const Link = struct('Link', {
  get to() {
    return ref(Synset);
  },
  get next() {
    return ref(Link);
  },
});
export const Graph = struct('Graph', { synsets: vec(ref(Synset)) });
export type Graph = Infer<typeof Graph>;
/** What a word means: a place in the graph. */
export const Lexicon = orderedMap(text, u32);
export type Lexicon = Infer<typeof Lexicon>;

/** What is stored to while its owner is killed: every mark once. */
export const Tally = struct('Tally', { marks: vec(u32) });
export type Tally = Infer<typeof Tally>;

/** Goes to where the data is, or has it come. */
const chain = (graph: Graph, lexicon: Lexicon, from: string, to: string): string => {
  const goal = lexicon.get(to);
  const start = graph.synsets.get(lexicon.get(from) ?? -1);
  if (start === null || start === undefined || goal === undefined) return `${from} and ${to}: not both are known`;
  const before = new Map<number, number>([[start.at, -1]]);
  const names = [start.name];
  const queue = [start];
  const places = [start.at];
  for (let i = 0; i < queue.length; i++) {
    if (places[i] === goal) {
      const path: string[] = [];
      for (let at = i; at >= 0; at = before.get(places[at] ?? -1) ?? -1) path.unshift(names[at] ?? '');
      return `${path.join(' > ')} (${queue.length} seen)`;
    }
    for (let link = queue[i]?.links ?? null; link !== null; link = link.next) {
      const next = link.to;
      if (next === null) continue;
      const { at } = next;
      if (before.has(at)) continue;
      before.set(at, i);
      queue.push(next);
      places.push(at);
      names.push(next.name);
    }
  }
  return `${from} and ${to} do not hang together (${queue.length} seen)`;
};

export const CODE_BYTES: number = chain.toString().length;

export interface Data {
  readonly graph: ObjectId;
  readonly lexicon: ObjectId;
}

export type Question = readonly [from: string, to: string];

/** The program. */
export async function program(cluster: Cluster, data: Data, questions: readonly Question[]): Promise<string[]> {
  const graph = cluster.reference(data.graph);
  const lexicon = cluster.reference(data.lexicon);
  const answers: string[] = [];
  for (const [from, to] of questions) answers.push(await cluster.run(chain, graph, lexicon, from, to));
  return answers;
}

/** Adds a mark. Resolves when it outlives any one node. */
export const mark = (tally: Tally, number: number): number => tally.marks.push(number);

/** A long run of somebody else's. */
export const spin = (rounds: number): number => {
  let sum = 0;
  for (let i = 0; i < rounds; i++) sum = (sum * 31 + i) | 0;
  return sum;
};

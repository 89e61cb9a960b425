/** Questions to the graph. Each is answered by following references: no query language, no join, no load step. */
import { objectOf, offsetOf } from '../../src/index.ts';
import { each, type Import } from '../../src/services/import.ts';
import { LEXICAL, LINKS, Sense, Synset, Word, type LinkName } from './graph.ts';

/** A set or map of places: accessors are made anew each time, their places are not. */
class Places<T> {
  readonly #objects = new Map<string, Map<number, T>>();
  size = 0;

  get(accessor: object): T | undefined {
    return this.#objects.get(objectOf(accessor).id)?.get(offsetOf(accessor));
  }

  set(accessor: object, value: T): void {
    const { id } = objectOf(accessor);
    let offsets = this.#objects.get(id);
    if (offsets === undefined) {
      offsets = new Map();
      this.#objects.set(id, offsets);
    }
    offsets.set(offsetOf(accessor), value);
    this.size++;
  }
}

/** The word that stands for a synset: its first. */
export function nameOf(synset: Synset): string {
  return synset.senses?.value?.form ?? synset.id;
}

/** Synsets that a word is used in, the most frequent first. */
export function* synsetsOf(wordnet: Import, lemma: string): Generator<Synset> {
  const word = wordnet.get('words', lemma, Word);
  if (word === undefined) return;
  for (const sense of each(word.senses)) if (sense.synset !== null) yield sense.synset;
}

/** From the first noun sense of a word, or else from its first sense, up to the root. */
export function hypernymPath(wordnet: Import, lemma: string): Synset[] {
  const senses = [...synsetsOf(wordnet, lemma)];
  const path: Synset[] = [];
  let synset = senses.find(({ pos }) => pos === 'noun') ?? senses[0] ?? null;
  for (; synset !== null; synset = synset.hypernyms?.value ?? null) path.push(synset);
  return path;
}

export interface Step {
  readonly synset: Synset;
  /** How it was reached. */
  readonly by: LinkName | undefined;
}

/** The shortest chain of references between a sense of one word and a sense of another. */
export function chain(wordnet: Import, from: string, to: string): Step[] {
  const goals = new Places<true>();
  for (const synset of synsetsOf(wordnet, to)) goals.set(synset, true);
  const reached = new Places<{ readonly before: Synset | undefined; readonly by: LinkName | undefined }>();
  let level = [...synsetsOf(wordnet, from)];
  for (const synset of level) reached.set(synset, { before: undefined, by: undefined });
  while (level.length > 0) {
    const next: Synset[] = [];
    for (const synset of level) {
      if (goals.get(synset) === true) return unwind(synset, reached);
      for (const by of LINKS) {
        for (const neighbour of each(synset[by])) {
          if (reached.get(neighbour) !== undefined) continue;
          reached.set(neighbour, { before: synset, by });
          next.push(neighbour);
        }
      }
    }
    level = next;
  }
  return [];
}

function unwind(end: Synset, reached: Places<{ readonly before: Synset | undefined; readonly by: LinkName | undefined }>): Step[] {
  const steps: Step[] = [];
  for (let synset: Synset | undefined = end; synset !== undefined;) {
    const step = reached.get(synset);
    steps.unshift({ synset, by: step?.by });
    synset = step?.before;
  }
  return steps;
}

/** How many synsets lie below one, at any depth. */
export function below(synset: Synset): number {
  const seen = new Places<true>();
  const stack = [synset];
  for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
    for (const hyponym of each(top.hyponyms)) {
      if (seen.get(hyponym) === true) continue;
      seen.set(hyponym, true);
      stack.push(hyponym);
    }
  }
  return seen.size;
}

export interface Ranked {
  readonly name: string;
  readonly count: number;
}

function rank(list: Ranked[], entry: Ranked, length: number): void {
  list.push(entry);
  list.sort((a, b) => b.count - a.count);
  list.length = Math.min(list.length, length);
}

/** Top synsets (that nothing lies above), by how many lie below them. */
export function largestTrees(wordnet: Import, length: number): Ranked[] {
  const best: Ranked[] = [];
  for (const synset of wordnet.all('synsets', Synset)) {
    if (synset.hypernyms !== null || synset.hyponyms === null) continue;
    rank(best, { name: `${nameOf(synset)} (${synset.pos})`, count: below(synset) }, length);
  }
  return best;
}

/** Words that are used in the most senses. */
export function manySenses(wordnet: Import, length: number): Ranked[] {
  const best: Ranked[] = [];
  for (const word of wordnet.all('words', Word)) {
    let count = 0;
    for (let cell = word.senses; cell !== null; cell = cell.next) count++;
    if (count > (best[length - 1]?.count ?? 0)) rank(best, { name: word.lemma, count }, length);
  }
  return best;
}

export interface Walk {
  readonly nodes: number;
  readonly references: number;
  /** Of all texts, and of where each reference leads. */
  readonly checksum: string;
}

/** Reads everything: every text, and through every reference the key of what it leads to. */
export function walk(wordnet: Import): Walk {
  const sum = new Checksum();
  let nodes = 0;
  let references = 0;
  const follow = (target: { readonly id: string } | null): void => {
    if (target === null) return;
    references++;
    sum.text(target.id);
  };
  for (const word of wordnet.all('words', Word)) {
    nodes++;
    sum.text(word.lemma);
    for (const sense of each(word.senses)) follow(sense);
  }
  for (const sense of wordnet.all('senses', Sense)) {
    nodes++;
    sum.text(sense.id);
    sum.text(sense.form);
    const { word } = sense;
    if (word !== null) {
      references++;
      sum.text(word.lemma);
    }
    follow(sense.synset);
    for (const name of LEXICAL) for (const other of each(sense[name])) follow(other);
  }
  for (const synset of wordnet.all('synsets', Synset)) {
    nodes++;
    sum.text(synset.id);
    sum.text(synset.pos);
    sum.text(synset.gloss);
    for (const sense of each(synset.senses)) follow(sense);
    for (const name of LINKS) for (const other of each(synset[name])) follow(other);
  }
  return { nodes, references, checksum: sum.value };
}

/** Two sums of different multipliers: 64 bits. */
class Checksum {
  #a = 0x811c9dc5;
  #b = 0x9747b28c;

  text(text: string): void {
    let a = this.#a;
    let b = this.#b;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      a = Math.imul(a ^ code, 0x01000193);
      b = Math.imul(b + code, 0x85ebca6b) ^ (b >>> 13);
    }
    this.#a = Math.imul(a ^ 0xff, 0x01000193);
    this.#b = Math.imul(b + 0xff, 0x85ebca6b);
  }

  get value(): string {
    return [this.#a, this.#b].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  }
}

/** Follows references only: from each synset through all of its lists, and reads one byte of what each leads to. Hops made. */
export function hops(wordnet: Import): number {
  let made = 0;
  let verbs = 0;
  for (const synset of wordnet.all('synsets', Synset)) {
    for (const name of LINKS) {
      for (let cell = synset[name]; cell !== null; cell = cell.next) {
        const { value } = cell;
        if (value?.pos === 'verb') verbs++;
        made += 2;
      }
    }
  }
  return verbs >= 0 ? made : 0;
}

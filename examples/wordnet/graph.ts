/**
 * WordNet as typed records: words, the senses they are used in, and the sets of synonyms that senses belong to. The mapping tells the
 * importer the same layout, so that what it makes can be opened with these types.
 */
import { oneOf, ref, struct, text, type Infer } from '../../src/index.ts';
import { refs } from '../../src/services/import.ts';

export const Word = struct('Word', {
  lemma: text,
  /** The most frequent first. */
  get senses() {
    return refs(Sense);
  },
});
export type Word = Infer<typeof Word>;

export const Sense = struct('Sense', {
  id: text,
  /** As it is written in this sense. */
  form: text,
  get word() {
    return ref(Word);
  },
  get synset() {
    return ref(Synset);
  },
  get antonyms() {
    return refs(Sense);
  },
  get derivations() {
    return refs(Sense);
  },
  get related() {
    return refs(Sense);
  },
});
export type Sense = Infer<typeof Sense>;

export const POS = ['noun', 'verb', 'adjective', 'satellite', 'adverb'] as const;

export const Synset = struct('Synset', {
  id: text,
  pos: oneOf(...POS),
  gloss: text,
  get senses() {
    return refs(Sense);
  },
  get hypernyms() {
    return refs(Synset);
  },
  get hyponyms() {
    return refs(Synset);
  },
  get holonyms() {
    return refs(Synset);
  },
  get meronyms() {
    return refs(Synset);
  },
  get similar() {
    return refs(Synset);
  },
  get domains() {
    return refs(Synset);
  },
  get members() {
    return refs(Synset);
  },
  get others() {
    return refs(Synset);
  },
});
export type Synset = Infer<typeof Synset>;

/** Lists of references between synsets, by field. */
export const LINKS = ['hypernyms', 'hyponyms', 'holonyms', 'meronyms', 'similar', 'domains', 'members', 'others'] as const;
export type LinkName = (typeof LINKS)[number];
/** Lists of references between senses. */
export const LEXICAL = ['antonyms', 'derivations', 'related'] as const;

const lists = (names: readonly string[], to: string): Record<string, { refs: string }> =>
  Object.fromEntries(names.map((name) => [name, { refs: to }]));

export const mapping = {
  collections: {
    words: { type: 'Word', when: { kind: 'word' }, key: 'lemma', fields: { lemma: 'text', senses: { refs: 'senses' } } },
    senses: {
      type: 'Sense',
      when: { kind: 'sense' },
      key: 'id',
      fields: { id: 'text', form: 'text', word: { ref: 'words' }, synset: { ref: 'synsets' }, ...lists(LEXICAL, 'senses') },
    },
    synsets: {
      type: 'Synset',
      when: { kind: 'synset' },
      key: 'id',
      fields: { id: 'text', pos: { values: POS }, gloss: 'text', senses: { refs: 'senses' }, ...lists(LINKS, 'synsets') },
    },
  },
} as const;

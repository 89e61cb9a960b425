/** Kinds of elements to test sequences with: each with its plain form, and with what must be refused. */
import fc from 'fast-check';
import { f64, optional, ref, struct, text, u16, u32, u8, vec, type Field, type Infer, type Taken } from '../src/index.ts';
import { Target, TARGETS, type Targets } from './sequences.ts';

/** A kind of elements: `P` is their plain form. */
export interface Kind<V, I, P> {
  readonly name: string;
  readonly field: Field<V, I>;
  /** Elements that a Vec grows to. */
  readonly many: number;
  readonly plain: fc.Arbitrary<P>;
  init(plain: P, targets: Targets): I;
  show(value: V): P;
  taken(value: Taken<V>): P;
  /** What must be refused. */
  readonly bad: readonly I[];
  readonly order: ((a: V, b: V) => number) | undefined;
}

/** A value that the types forbid. */
export function wrong<I>(value: unknown): I {
  return value as I;
}

export const Point = struct('Point', { x: u8, y: f64 });

export const Deep = struct('Deep', {
  name: text,
  maybe: optional(text),
  at: Point,
  list: vec(u16),
  get target() {
    return ref(Target);
  },
});
export type Deep = Infer<typeof Deep>;

interface PlainDeep {
  readonly name: string;
  readonly maybe: string | undefined;
  readonly x: number;
  readonly list: readonly number[];
  readonly target: number | undefined;
}

const showDeep = (
  value: Pick<Deep, 'name' | 'maybe' | 'target'> & { readonly at: { readonly x: number }; readonly list: Iterable<number> },
): PlainDeep => ({
  name: value.name,
  maybe: value.maybe,
  x: value.at.x,
  list: [...value.list],
  target: value.target?.n,
});

const words = fc.oneof(
  { weight: 5, arbitrary: fc.string({ unit: 'grapheme', maxLength: 12 }) },
  { weight: 1, arbitrary: fc.nat(500).map((n) => 'long '.repeat(n)) },
);

export const NUMBERS: Kind<number, number, number> = {
  name: 'u32',
  field: u32,
  many: 4000,
  plain: fc.nat(),
  init: (plain) => plain,
  show: (value) => value,
  taken: (value) => value,
  bad: [-1, wrong('1')],
  order: undefined,
};

export const WORDS: Kind<string, string, string> = {
  name: 'text',
  field: text,
  many: 400,
  plain: words,
  init: (plain) => plain,
  show: (value) => value,
  taken: (value) => value,
  bad: [wrong(1)],
  order: undefined,
};

export const POINTS: Kind<{ x: number; y: number }, { x?: number; y?: number }, { x: number; y: number }> = {
  name: 'struct of numbers',
  field: Point,
  many: 4000,
  plain: fc.record({ x: fc.nat(255), y: fc.double({ noNaN: true }) }, { noNullPrototype: true }),
  init: (plain) => plain,
  show: ({ x, y }) => ({ x, y }),
  taken: (value) => value,
  bad: [{ x: 7, y: wrong('no') }, wrong({ z: 1 })],
  order: (a, b) => a.x - b.x,
};

export type DeepInit = typeof Deep extends Field<infer _V, infer I> ? I : never;

export const DEEPS: Kind<Deep, DeepInit, PlainDeep> = {
  name: 'struct that owns',
  field: Deep,
  many: 100,
  plain: fc.record(
    {
      name: words,
      maybe: fc.option(words, { nil: undefined }),
      x: fc.nat(255),
      list: fc.array(fc.nat(65535), { maxLength: 12 }),
      target: fc.option(fc.nat(TARGETS - 1), { nil: undefined }),
    },
    { noNullPrototype: true },
  ),
  init: ({ name, maybe, x, list, target }, targets) => ({
    name,
    maybe,
    at: { x },
    list,
    target: target === undefined ? null : targets.target(target),
  }),
  show: showDeep,
  taken: showDeep,
  bad: [{ name: 'a name', list: [1, 2, 3], maybe: wrong(5) }],
  order: (a, b) => a.at.x - b.at.x,
};
export const REFS: Kind<Infer<typeof Target> | null, Infer<typeof Target> | null, number | undefined> = {
  name: 'ref',
  field: ref(Target),
  many: 4000,
  plain: fc.option(fc.nat(TARGETS - 1), { nil: undefined }),
  init: (plain, targets) => (plain === undefined ? null : targets.target(plain)),
  show: (value) => value?.n,
  taken: (value) => value?.n,
  bad: [wrong(5)],
  order: (a, b) => (a?.n ?? -1) - (b?.n ?? -1),
};

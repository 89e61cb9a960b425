/** Types that change at random, for the models of schema evolution: which fields there are before and after, and what they hold. */
import * as fc from 'fast-check';
import { array, bool, bytes, f64, i32, i64, i8, optional, text, u16, u32, u64, u8, type Field } from '../src/index.ts';

export type AnyField = Field<unknown, never>;

/** What a field can be before and after, and a value of both. */
export interface Kind {
  readonly before: AnyField;
  readonly after: readonly AnyField[];
  readonly value: fc.Arbitrary<unknown>;
}

const short = fc.string({ maxLength: 40, unit: 'grapheme' });
export const KINDS: readonly Kind[] = [
  { before: u8, after: [u8, u16, u32, i64, f64, optional(u16)], value: fc.integer({ min: 0, max: 255 }) },
  { before: i8, after: [i8, i32, i64, f64, optional(i8)], value: fc.integer({ min: -128, max: 127 }) },
  { before: u32, after: [u32, u64, i64, f64], value: fc.integer({ min: 0, max: 2 ** 32 - 1 }) },
  { before: bool, after: [bool, optional(bool)], value: fc.boolean() },
  { before: text, after: [text, optional(text)], value: short },
  { before: bytes, after: [bytes, optional(bytes)], value: fc.uint8Array({ maxLength: 50 }) },
  { before: optional(u8), after: [optional(u8), optional(u32)], value: fc.option(fc.integer({ min: 0, max: 255 }), { nil: undefined }) },
  { before: array(u8, 3), after: [array(u8, 3), array(u32, 3)], value: fc.array(fc.nat(255), { minLength: 3, maxLength: 3 }) },
  { before: array(text, 2), after: [array(text, 2)], value: fc.array(short, { minLength: 2, maxLength: 2 }) },
];

export interface Item {
  readonly name: string;
  readonly kind: number;
  readonly after: number;
  readonly fate: 'stays' | 'goes' | 'comes';
  readonly place: number;
}

export const items = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'),
    kind: fc.nat(KINDS.length - 1),
    after: fc.nat(10),
    fate: fc.constantFrom('stays' as const, 'stays' as const, 'goes' as const, 'comes' as const),
    place: fc.nat(100),
  }),
  { selector: ({ name }) => name, minLength: 2, maxLength: 8 },
);

export type Fields = Record<string, AnyField>;

export const stored = (fields: Fields): string =>
  Object.entries(fields)
    .map(([name, { signature }]) => `${name}:${signature}`)
    .join();

/** The fields of a struct before its items changed, or after. */
export function fieldsOf(of: readonly Item[], when: 'before' | 'after'): Fields {
  const shown = of.filter(({ fate }) => fate !== (when === 'before' ? 'comes' : 'goes'));
  const ordered = when === 'before' ? shown : shown.toSorted((a, b) => a.place - b.place);
  return Object.fromEntries(
    ordered.map(({ name, kind, after }) => {
      const { before, after: choices } = KINDS[kind] as Kind;
      return [name, when === 'before' ? before : (choices[after % choices.length] ?? before)];
    }),
  );
}

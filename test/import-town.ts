/** What the tests of imports share: a town of people and cities that refer to each other, as types, as a mapping, and at random. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import fc from 'fast-check';
import { chooseHost } from '../src/host/choose.ts';
import { bool, f64, oneOf, optional, ref, struct, text, u32, u8, type Space } from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';
import { importData, refs, type ImportOptions, type ImportSource, type Problem } from '../src/services/import.ts';

export const seed = Number(process.env['TWZ_SEED'] ?? 20_261_121);
const host = chooseHost(() => undefined);
export const encoder = new TextEncoder();
const home = mkdtempSync(join(tmpdir(), 'twizzler-import-'));
after(() => rmSync(home, { recursive: true, force: true }));

let directories = 0;
export function scratch(): string {
  return join(home, String(directories++));
}

export function source(name: string, content: string, more: Partial<ImportSource> = {}): ImportSource {
  const format = name.endsWith('.csv') ? 'csv' : name.endsWith('.json') ? 'json' : 'ndjson';
  return { name, format, chunks: [encoder.encode(content)], ...more };
}

export const lines = (records: readonly unknown[]): string => records.map((record) => JSON.stringify(record)).join('\n');

/** The space is closed and sound: no error, no warning. */
export function sound(space: Space): void {
  const { directory } = space;
  space.close();
  const report = checkSpace(host, directory);
  assert.deepEqual(
    report.findings.filter(({ severity }) => severity !== 'note'),
    [],
  );
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.startsWith('scratch')),
    [],
  );
}

export const TextList = struct('TextList', {
  value: text,
  get next() {
    return ref(TextList);
  },
});
export const Person = struct('Person', {
  id: text,
  age: optional(u8),
  score: f64,
  good: bool,
  mood: oneOf('calm', 'angry'),
  get best() {
    return ref(Person);
  },
  get friends() {
    return refs(Person);
  },
  get city() {
    return ref(City);
  },
  get nicknames() {
    return ref(TextList);
  },
});
export const City = struct('City', {
  code: u32,
  name: text,
  get mayor() {
    return ref(Person);
  },
});

export const TOWN = {
  collections: {
    people: {
      type: 'Person',
      at: '/people',
      when: { kind: 'person' },
      key: 'id',
      fields: {
        id: 'text',
        age: { type: 'u8', optional: true },
        score: 'f64',
        good: 'bool',
        mood: { values: ['calm', 'angry'] },
        best: { ref: 'people' },
        friends: { refs: 'people' },
        city: { ref: 'cities', from: 'home/city' },
        nicknames: { list: 'text' },
      },
    },
    cities: {
      type: 'City',
      at: '/cities',
      when: { kind: 'city' },
      key: 'code',
      fields: { code: 'u32', name: 'text', mayor: { ref: 'people' } },
    },
  },
} as const;

export interface PersonRecord {
  readonly kind: 'person';
  readonly id: string;
  readonly age?: number;
  readonly score: number;
  readonly good: boolean;
  readonly mood: 'calm' | 'angry';
  readonly best?: string;
  readonly friends?: readonly string[];
  readonly home?: { readonly city: number };
  readonly nicknames?: readonly string[];
}
export interface CityRecord {
  readonly kind: 'city';
  readonly code: number;
  readonly name: string;
  readonly mayor?: string;
}

/** A town: everyone refers to anyone, before or behind, themselves too; some to nobody. */
export const town = fc.integer({ min: 1, max: 60 }).chain((size) => {
  const someone = fc.integer({ min: 0, max: size - 1 }).map((i) => `p${i}`);
  const code = fc.integer({ min: 0, max: 9 });
  const person = fc.record<Omit<PersonRecord, 'kind' | 'id'>>(
    {
      age: fc.integer({ min: 0, max: 255 }),
      score: fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n + 0),
      good: fc.boolean(),
      mood: fc.constantFrom('calm', 'angry'),
      best: someone,
      friends: fc.array(someone, { minLength: 1, maxLength: 6 }),
      home: code.map((city) => ({ city })),
      nicknames: fc.array(fc.string({ maxLength: 40 }), { minLength: 1, maxLength: 3 }),
    },
    { requiredKeys: ['score', 'good', 'mood'], noNullPrototype: true },
  );
  return fc.record({
    people: fc
      .array(person, { minLength: size, maxLength: size })
      .map((list) => list.map((one, i): PersonRecord => ({ kind: 'person', id: `p${i}`, ...one }))),
    cities: fc
      .array(fc.record({ name: fc.string({ unit: 'grapheme' }), mayor: fc.option(someone, { nil: undefined }) }), {
        minLength: 10,
        maxLength: 10,
      })
      .map((list) =>
        list.map(({ name, mayor }, code_): CityRecord => ({ kind: 'city', code: code_, name, ...(mayor === undefined ? {} : { mayor }) })),
      ),
    shuffle: fc.infiniteStream(fc.nat()),
  });
});

export const SMALL: readonly (PersonRecord | CityRecord)[] = [
  { kind: 'person', id: 'ann', score: 1, good: true, mood: 'calm', best: 'bob', friends: ['bob', 'cid'], home: { city: 7 } },
  { kind: 'person', id: 'bob', age: 9, score: -2.5, good: false, mood: 'angry', friends: ['bob'], nicknames: ['b', 'bobby'] },
  { kind: 'city', code: 7, name: 'Oslo', mayor: 'cid' },
  { kind: 'person', id: 'cid', score: 0, good: true, mood: 'calm' },
];

export async function importSmall(
  space: Space,
  records: readonly unknown[],
  options: ImportOptions = {},
): Promise<{ problems: Problem[]; skipped: number; dangling: number }> {
  const problems: Problem[] = [];
  const report = await importData(space, 'town', TOWN, [source('town.ndjson', lines(records))], {
    onProblem: (problem) => problems.push(problem),
    ...options,
  });
  return { problems, skipped: report.skipped, dangling: report.dangling };
}

/** T18: the parsers of an import against simple models, with inputs cut anywhere; the hash against its published vectors; the sorter. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isTwzError } from '../src/index.ts';
import { CsvParser, type CsvOptions } from '../src/services/import/csv.ts';
import { JsonParser } from '../src/services/import/json.ts';
import { NdjsonParser } from '../src/services/import/ndjson.ts';
import type { Parser, Sink } from '../src/services/import/parser.ts';
import { SipHash } from '../src/services/import/siphash.ts';
import { Sorter } from '../src/services/import/sorter.ts';
import type { Scratch, ScratchFile } from '../src/services/import/scratch.ts';
import { anyCharacter } from './any-character.ts';
import { amount } from './thorough.ts';

const seed = Number(process.env['TWZ_SEED'] ?? 20_261_121);
const RUNS = { seed, numRuns: amount(120, 300), verbose: 0 } as const;
const encoder = new TextEncoder();

interface Heard {
  readonly records: { readonly value: unknown; readonly line: number; readonly route: number; readonly name: string | undefined }[];
  readonly bad: { readonly reason: string; readonly line: number }[];
}

/** Feeds bytes in pieces of the sizes given, over and over. */
function feed(make: (sink: Sink) => Parser, bytes: Uint8Array, cuts: readonly number[]): Heard {
  const heard: Heard = { records: [], bad: [] };
  const parser = make({
    record: (value, line, route, name) => heard.records.push({ value, line, route, name }),
    bad: (reason, line) => heard.bad.push({ reason, line }),
  });
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = cuts.length === 0 ? bytes.length : Math.max(1, cuts[i % cuts.length] ?? 1);
    // A copy that is overwritten: a parser must not keep the chunk.
    const chunk = bytes.slice(at, at + length);
    parser.push(chunk);
    chunk.fill(120);
    at += length;
  }
  parser.end();
  return heard;
}

const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 5 });
const values = (heard: Heard): unknown[] => heard.records.map(({ value }) => value);

/** Values that JSON.stringify keeps. */
const json = fc.jsonValue({ maxDepth: 3 }).map((value): unknown => JSON.parse(JSON.stringify(value)));

// --- CSV ----------------------------------------------------------------------------------------------------------------------

const cell = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: anyCharacter, maxLength: 6 }),
  fc.constantFrom('', '"', '""', 'a"b', 'x,y', 'two\nlines', 'cr\r\nlf', ';', '\t', ' ', 'ü€😀'),
);

interface Table {
  readonly rows: string[][];
  readonly quoteAll: boolean;
  readonly newline: string;
  readonly bom: boolean;
  readonly last: boolean;
  readonly delimiter: string;
}

const table: fc.Arbitrary<Table> = fc.integer({ min: 2, max: 5 }).chain((columns) =>
  fc.record({
    rows: fc.array(fc.array(cell, { minLength: columns, maxLength: columns }), { minLength: 1, maxLength: 12 }),
    quoteAll: fc.boolean(),
    newline: fc.constantFrom('\n', '\r\n'),
    bom: fc.boolean(),
    last: fc.boolean(),
    delimiter: fc.constantFrom(',', ';', '\t', '|'),
  }),
);

/** The model: RFC 4180, written. Gives the text and the line that each row begins on. */
function writeCsv({ rows, quoteAll, newline, bom, last, delimiter }: Table): { text: string; lines: number[] } {
  const lines: number[] = [];
  let text = bom ? '\ufeff' : '';
  for (const [i, row] of rows.entries()) {
    lines.push(text.split('\n').length);
    const cells = row.map((value) =>
      quoteAll || /["\r\n]/.test(value) || value.includes(delimiter) ? `"${value.replaceAll('"', '""')}"` : value,
    );
    text += cells.join(delimiter) + (i < rows.length - 1 || last ? newline : '');
  }
  return { text, lines };
}

const csv =
  (options: CsvOptions, max = 1 << 20) =>
  (sink: Sink): Parser =>
    new CsvParser(sink, max, options);

test(`T18 csv: what RFC 4180 writes is read back, with its lines, however it is cut (seed ${seed})`, () => {
  fc.assert(
    fc.property(table, cuts, (model, pieces) => {
      // Unquoted, a byte-order mark at the beginning of the first cell is the mark of the file.
      fc.pre(!(model.rows[0]?.[0] ?? '').startsWith('\ufeff'));
      const { text, lines } = writeCsv(model);
      const header = model.rows[0]?.map((_, i) => `c${i}`) ?? [];
      const heard = feed(csv({ delimiter: model.delimiter, header }), encoder.encode(text), pieces);
      const wellFormed = (value: string): string => new TextDecoder().decode(encoder.encode(value));
      assert.deepEqual(heard.bad, []);
      assert.deepEqual(
        heard.records.map(({ value }) => Object.values(value as object)),
        model.rows.map((row) => row.map(wellFormed)),
      );
      assert.deepEqual(
        heard.records.map(({ line }) => line),
        lines,
      );
    }),
    RUNS,
  );
});

test('T18 csv: the first record is the header; blank lines are passed over; a BOM is no part of the first name', () => {
  const heard = feed(csv({}), encoder.encode('\ufeffid,"full name"\r\n\r\n1,"Ann ""A"" Lee"\r\n\n2,\n'), [1]);
  assert.deepEqual(values(heard), [
    { id: '1', 'full name': 'Ann "A" Lee' },
    { id: '2', 'full name': '' },
  ]);
  assert.deepEqual(
    heard.records.map(({ line }) => line),
    [3, 5],
  );
});

test('T18 csv: a bad record is told with its line, and the records around it are read', () => {
  const text = 'a,b\n1,2\n1,2,3\nx"y,2\n"x"y,2\n3,4\n"long long long long long long long",1\n5,6\n';
  const bytes = encoder.encode(text);
  const notUtf8 = Uint8Array.from([...bytes, 0xff, 44, 49, 10, ...encoder.encode('7,8\n')]);
  for (const pieces of [[], [1], [3]]) {
    const heard = feed(csv({}, 24), notUtf8, pieces);
    assert.deepEqual(values(heard), [
      { a: '1', b: '2' },
      { a: '3', b: '4' },
      { a: '5', b: '6' },
      { a: '7', b: '8' },
    ]);
    assert.deepEqual(
      heard.bad.map(({ line }) => line),
      [3, 4, 5, 7, 9],
    );
    assert.match(
      heard.bad.map(({ reason }) => reason).join('; '),
      /3 fields.*a quote in a field.*behind a closing quote.*longer than 24.*not UTF-8/,
    );
  }
});

test('T18 csv: an input that ends inside quotes is refused, and so is a header with a name twice', () => {
  assert.throws(
    () => feed(csv({}), encoder.encode('a,b\n1,"2\n3,4\n'), []),
    (error) => isTwzError(error, 'ImportRefused') && error.context['line'] === 2,
  );
  assert.throws(
    () => feed(csv({}), encoder.encode('a,a\n'), []),
    (error) => isTwzError(error, 'ImportRefused'),
  );
  assert.throws(
    () => csv({ delimiter: ',,' })({ record: () => undefined, bad: () => undefined }),
    (error) => isTwzError(error, 'InvalidArgument'),
  );
});

// --- NDJSON -------------------------------------------------------------------------------------------------------------------

const ndjson = (sink: Sink, max = 1 << 20): Parser => new NdjsonParser(sink, max);

test(`T18 ndjson: a value a line, with its line, however it is cut (seed ${seed})`, () => {
  const line = fc.oneof(
    json.map((value) => ({ value, text: JSON.stringify(value) })),
    fc.constantFrom(' ', '', '\t').map((text) => ({ value: undefined, text })),
  );
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 12 }),
      fc.constantFrom('\n', '\r\n'),
      fc.boolean(),
      fc.boolean(),
      cuts,
      (lines, newline, bom, last, pieces) => {
        const text = (bom ? '\ufeff' : '') + lines.map((each) => each.text).join(newline) + (last ? newline : '');
        const heard = feed((sink) => ndjson(sink), encoder.encode(text), pieces);
        const expected = lines
          .map(({ value, text: source }, i) => ({ value, line: i + 1, blank: source.trim() === '' }))
          .filter(({ blank }) => !blank);
        assert.deepEqual(
          values(heard),
          expected.map(({ value }) => value),
        );
        assert.deepEqual(
          heard.records.map((record) => record.line),
          expected.map((record) => record.line),
        );
        assert.deepEqual(heard.bad, []);
      },
    ),
    RUNS,
  );
});

test('T18 ndjson: bad lines are told and passed over, also one that is too long, cut off or not UTF-8', () => {
  const bytes = Uint8Array.from([
    ...encoder.encode('{"a":1}\n{"a":\n[1,2,\n{"a":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}\n{"a":2}\n"'),
    0xc3,
    ...encoder.encode('"\n{"a":3}\n{"a"'),
  ]);
  for (const pieces of [[], [1], [7]]) {
    const heard = feed((sink) => ndjson(sink, 20), bytes, pieces);
    assert.deepEqual(values(heard), [{ a: 1 }, { a: 2 }, { a: 3 }]);
    assert.deepEqual(
      heard.bad.map(({ line }) => line),
      [2, 3, 4, 6, 8],
    );
  }
});

// --- JSON ---------------------------------------------------------------------------------------------------------------------

type Node = unknown;

/** The model: parse it all, and walk to the places. */
function recordsAt(document: Node, path: readonly string[]): { value: Node; name: string | undefined }[] {
  const [step, ...rest] = path;
  if (typeof document !== 'object' || document === null) return [];
  const members = Object.entries(document).map(([name, value]) => ({
    name: Array.isArray(document) ? undefined : name,
    value: value as Node,
  }));
  if (step === undefined) return members.map(({ name, value }) => ({ value, name }));
  return members.filter(({ name }) => step === '*' || name === step).flatMap(({ value }) => recordsAt(value, rest));
}

const names = fc.constantFrom('a', 'b', 'c', 'people', 'x/y', 'quote"', 'ü', '\\');
const tree = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    json,
    fc.array(tie('node'), { maxLength: 4 }),
    fc
      .uniqueArray(fc.tuple(names, tie('node')), { maxLength: 4, selector: ([name]) => name })
      .map((entries) => Object.fromEntries(entries)),
  ),
})).node;

const jsonAt =
  (places: readonly (readonly string[])[], max = 1 << 20) =>
  (sink: Sink): Parser =>
    new JsonParser(sink, max, places);

test(`T18 json: the records at a path are those that JSON.parse would find, however it is cut and indented (seed ${seed})`, () => {
  const path = fc.array(fc.oneof(names, fc.constant('*')), { maxLength: 3 });
  let found = 0;
  fc.assert(
    fc.property(tree, path, fc.constantFrom('', '  ', '\t'), fc.boolean(), cuts, (node, place, indent, bom, pieces) => {
      const document: Node = JSON.parse(JSON.stringify(node));
      const text = (bom ? '\ufeff' : ' ') + JSON.stringify(document, undefined, indent) + '\n';
      const expected = recordsAt(document, place);
      let heard: Heard;
      try {
        heard = feed(jsonAt([place]), encoder.encode(text), pieces);
      } catch (error) {
        // No container lies at the path.
        assert.ok(isTwzError(error, 'ImportRefused'), String(error));
        assert.deepEqual(expected, []);
        return;
      }
      found += expected.length;
      assert.deepEqual(
        heard.records.map(({ value, name }) => ({ value, name })),
        expected,
      );
      assert.deepEqual(heard.bad, []);
    }),
    { ...RUNS, numRuns: amount(400, 1000) },
  );
  assert.ok(found > 200, `${found} records were found`);
});

test('T18 json: several places in one document; line numbers; a bad record between good ones', () => {
  const text =
    '{\n "people": [\n  {"id": 1},\n  {"id": 2, "x": [nul]},\n  {"id":\n   3}\n ],\n "skipped": [[{"people": [9]}], "]}"],\n "cities": {"rome": {"n": 4},\n "oslo": 5}\n}';
  for (const pieces of [[], [1], [5]]) {
    const heard = feed(jsonAt([['people'], ['cities']]), encoder.encode(text), pieces);
    assert.deepEqual(heard.records, [
      { value: { id: 1 }, line: 3, route: 0, name: undefined },
      { value: { id: 3 }, line: 5, route: 0, name: undefined },
      { value: { n: 4 }, line: 9, route: 1, name: 'rome' },
      { value: 5, line: 10, route: 1, name: 'oslo' },
    ]);
    assert.deepEqual(
      heard.bad.map(({ line }) => line),
      [4],
    );
  }
});

test('T18 json: cut off at every byte it is refused, and never hangs', () => {
  const bytes = encoder.encode('{"a": {"b": [{"x": "\\"]}"}, [1, -2.5e3, true], "text", null]}, "c": 1}');
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(
      () => feed(jsonAt([['a', 'b']]), bytes.subarray(0, length), [3]),
      (error) => isTwzError(error, 'ImportRefused'),
      `${length} bytes`,
    );
  }
  assert.equal(feed(jsonAt([['a', 'b']]), bytes, [3]).records.length, 4);
});

test(`T18 parsers: any bytes give records, bad records or ImportRefused, and nothing else (seed ${seed})`, () => {
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc
      .string({ unit: fc.constantFrom('{', '}', '[', ']', '"', ',', ':', '1', '\\', '\n', '\r', ' ', 'a', '\u00e9'), maxLength: 60 })
      .map((text) => encoder.encode(text)),
  );
  const makers = [(sink: Sink): Parser => ndjson(sink, 30), csv({}, 30), jsonAt([[]], 30), jsonAt([['a'], ['*', '*']], 30)];
  fc.assert(
    fc.property(noise, cuts, fc.constantFrom(...makers), (bytes, pieces, make) => {
      const tried = (by: readonly number[]): string => {
        try {
          return JSON.stringify(feed(make, bytes, by));
        } catch (error) {
          assert.ok(isTwzError(error, 'ImportRefused'), String(error));
          return error.message;
        }
      };
      // How it is cut makes no difference.
      assert.equal(tried(pieces), tried([]));
    }),
    { ...RUNS, numRuns: amount(1000, 3000) },
  );
});

// --- hash and sorter ------------------------------------------------------------------------------------------------------------

test('T18 siphash: the published vectors of SipHash-2-4 with 128 bits', () => {
  const hash = new SipHash(
    Uint8Array.from({ length: 16 }, (_, i) => i),
    2,
    4,
  );
  const hex = (length: number): string => {
    const result = hash.of(
      Uint8Array.from({ length }, (_, i) => i),
      length,
    );
    const view = new DataView(new ArrayBuffer(16));
    for (const [i, word] of [1, 0, 3, 2].entries()) view.setUint32(i * 4, result[word] ?? 0, true);
    return Array.from(new Uint8Array(view.buffer), (byte) => byte.toString(16).padStart(2, '0')).join('');
  };
  assert.equal(hex(0), 'a3817f04ba25a8e66df67214c7550293');
  assert.equal(hex(1), 'da87c1d86b99af44347659119b22fc45');
  assert.equal(hex(15), '5493e99933b0a8117e08ec0f97cfc3d9');
  assert.notDeepEqual(Array.from(hash.ofText(1, 'a')), Array.from(hash.ofText(2, 'a')));
});

/** Scratch files in memory. */
function memory(): Scratch {
  const create = (): ScratchFile => {
    let bytes = new Uint8Array(0);
    return {
      write: (part, at) => {
        const grown = new Uint8Array(Math.max(bytes.length, at + part.length));
        grown.set(bytes);
        grown.set(part, at);
        bytes = grown;
      },
      read: (into, at) => {
        into.set(bytes.subarray(at, at + into.length));
        return Math.max(0, Math.min(into.length, bytes.length - at));
      },
      drop: () => undefined,
    };
  };
  return { create, close: () => undefined } as Scratch;
}

test(`T18 sorter: gives what Array.sort gives, in one run or in many (seed ${seed})`, async () => {
  const word = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
  let spilled = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(word, word, word), { maxLength: 400, size: 'max' }),
      fc.constantFrom(300, 1000, 1 << 20),
      async (entries, bytes) => {
        const sorter = new Sorter(memory(), { width: 3, memory: bytes });
        for (const entry of entries) {
          const { words, at } = sorter.next();
          words.set(entry, at);
        }
        spilled += sorter.runs;
        const out: number[][] = [];
        await sorter.drain(
          (words, at) => out.push(Array.from(words.subarray(at, at + 3))),
          async () => undefined,
        );
        const expected = entries
          .map((entry) => [...entry])
          .sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0) || (a[1] ?? 0) - (b[1] ?? 0) || (a[2] ?? 0) - (b[2] ?? 0));
        assert.deepEqual(out, expected);
      },
    ),
    { ...RUNS, numRuns: amount(60, 150) },
  );
  assert.ok(spilled > amount(40, 100), `${spilled} runs were written out`);
});

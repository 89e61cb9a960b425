/** Every feature of this version, T1 to T19, has tests that are named for it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const DIRECTORY = new URL('../../test/', import.meta.url);
const FEATURES = Array.from({ length: 19 }, (_, i) => `T${i + 1}`);
/** A title: a text that begins with one feature or several. */
const TITLE = /(?<=\(\s*|\n {2}|async )(["'`])((?:T\d+, )*T\d+)(?::| )(?=[^\n]*\1)/g;

function featuresIn(text: string): string[] {
  return [...text.matchAll(TITLE)].flatMap((match) => (match[2] ?? '').split(', '));
}

test('tidy: each feature has a test of its own', (t) => {
  const counts = new Map<string, number>();
  for (const file of readdirSync(DIRECTORY)) {
    if (!file.endsWith('.test.ts') || file === 'features.test.ts') continue;
    for (const feature of featuresIn(readFileSync(new URL(file, DIRECTORY), 'utf8'))) counts.set(feature, (counts.get(feature) ?? 0) + 1);
  }
  t.diagnostic(FEATURES.map((feature) => `${feature}: ${counts.get(feature) ?? 0}`).join(', '));
  for (const feature of FEATURES) assert.ok(counts.has(feature), `${feature} has no test that is named for it`);
});

test('tidy: the search for titles of tests finds titles and nothing else', () => {
  assert.deepEqual(featuresIn("test('T8: a', f); onHosts(\n  `T3, T15 b`,\n f);\n  'T5: a window'({ host }) {"), ['T8', 'T3', 'T15', 'T5']);
  assert.deepEqual(featuresIn("// T8: why\nconst x = 'T8'; assert.ok(ok, 'T9: not a title');"), []);
});

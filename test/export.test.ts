/** T18: export of imports, which import again, and of graphs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { f64, open, optional, ref, struct, text, u8 } from '../src/index.ts';
import { exportCollection, exportGraph, exportImport } from '../src/services/export.ts';
import { importData, openImport } from '../src/services/import.ts';
import { TOWN, importSmall, scratch, seed, source, town } from './import-town.ts';
import { amount } from './thorough.ts';

test(`T18 export: what is exported imports as the same again (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(town, async ({ people, cities }) => {
      const space = open(scratch());
      await importSmall(space, [...people, ...cities]);
      const imported = openImport(space, 'town');
      const out = [...exportImport(imported)].join('');
      const records: unknown[] = out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      assert.deepEqual(records, [...people, ...cities]);
      await importData(space, 'again', TOWN, [source('again.ndjson', out)]);
      assert.deepEqual([...exportCollection(openImport(space, 'again'), 'people')], [...exportCollection(imported, 'people')]);
      space.close();
    }),
    { seed, numRuns: amount(4, 10) },
  );
});

test('T18 export: a graph is one line for each struct that can be reached, once, across objects and in circles', () => {
  const Leaf = struct('Leaf', { name: text, ratio: f64 });
  const Tree = struct('Tree', {
    inner: Leaf,
    maybe: optional(u8),
    get left() {
      return ref(Tree);
    },
    get leaf() {
      return ref(Leaf);
    },
  });
  const space = open(scratch());
  const root = space.relaxed(() => {
    const made = space.create(Tree, { maybe: 3 });
    made.inner.name = 'inner';
    made.left = space.create(Tree, { left: made });
    made.leaf = space.make(Leaf, made, { name: 'leaf', ratio: Number.NaN });
    const { left } = made;
    if (left !== null) left.leaf = space.late(Leaf, '/later');
    return made;
  });
  const found = [...exportGraph(space, root)].map((line): Record<string, unknown> => JSON.parse(line));
  assert.equal(found.length, 3);
  const at = found[0]?.['$at'];
  assert.deepEqual(found[0]?.['inner'], { name: 'inner', ratio: 0 });
  assert.equal(found[0]?.['maybe'], 3);
  const other = found.find((each_) => each_['$type'] === 'Tree' && each_['$at'] !== at);
  assert.deepEqual(other?.['left'], { $ref: at });
  assert.deepEqual(other?.['leaf'], { $name: '/later' });
  assert.deepEqual(found.find((each_) => each_['$type'] === 'Leaf')?.['ratio'], { $float: 'NaN' });
  space.close();
});

/** M1, G8: the kinds of objects, locally and between nodes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import { isTwzError, log, open, struct, text, u32, u8, vec, type ErrorName, type Space } from '../src/index.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';

const Entry = struct('Entry', { at: u32, note: text });
const Entries = log(Entry);

function fails(name: ErrorName, body: () => unknown): void {
  assert.throws(body, (error: unknown) => isTwzError(error, name) || assert.fail(`expected ${name}: ${String(error)}`));
}

function memory(): Space {
  return open('/space', { host: new SimulatedHost({ seed: 1, windowSize: 16 << 20, callMs: 0 }), segmentSize: 1 << 20 });
}

test('M1 append-only, locally: what was appended stays, whoever stores; what is appended comes behind it', () => {
  const space = memory();
  const journal = space.relaxed(() => space.create(Entries, [{ at: 0, note: '' }], { kind: 'append-only' }));
  assert.equal(space.object(journal).kind, 'append-only');
  for (let i = 1; i < 700; i++) space.relaxed(() => journal.append({ at: i, note: i % 3 === 0 ? '' : `entry ${i}` }));
  assert.equal(journal.length, 700);
  assert.equal(journal.get(691)?.note, 'entry 691');
  // Zeros that were appended are as good as anything else.
  fails('AppendOnly', () => space.relaxed(() => ((journal.get(0) as { at: number }).at = 7)));
  fails('AppendOnly', () => space.relaxed(() => ((journal.get(699) as { at: number }).at = 7)));
  fails('AppendOnly', () =>
    space.relaxed(() => {
      journal.append({ at: 1, note: 'with it' });
      (journal.get(699) as { note: string }).note = 'altered';
    }),
  );
  fails('AppendOnly', () => space.relaxed(() => journal.trim(1)));
  fails('AppendOnly', () => space.relaxed(() => journal.clear()));
  fails('AppendOnly', () =>
    space.relaxed(() => {
      space.object(journal).raw().fill(1);
    }),
  );
  space.object(journal).releaseRaw();
  assert.equal(journal.length, 700);
  assert.equal(journal.get(0)?.at, 0);
  fails('TypeInvalid', () => space.relaxed(() => space.create(Entry, {}, { kind: 'append-only' })));
  fails('TypeInvalid', () => space.relaxed(() => space.create(vec(u8), [], { kind: 'append-only' })));
  const narrow = space.relaxed(() => space.create(log(u8), [], { kind: 'append-only' }));
  for (let i = 0; i < 300; i++) space.relaxed(() => narrow.append(i & 1));
  assert.deepEqual(narrow.toArray().slice(-4), [0, 1, 0, 1]);
  // A copy is nobody's journal: it can be changed.
  const copy = space.relaxed(() => space.copy(journal));
  assert.equal(copy.kind, 'owned');
  space.relaxed(() => copy.root(Entries).trim(600));
  assert.equal(copy.root(Entries).length, 100);
  space.close();
});

test('M1 append-only: parts that the log goes on in are append-only, too', () => {
  const before = { ...POOL_LIMITS };
  Object.assign(POOL_LIMITS, { home: 16 << 10, member: 64 << 10 });
  try {
    const space = memory();
    const journal = space.relaxed(() => space.create(Entries, [], { kind: 'append-only' }));
    for (let i = 0; i < 3000; i++) space.relaxed(() => journal.append({ at: i, note: `entry number ${i} of a journal` }));
    assert.equal([...journal.values()].every(({ at }, i) => at === i), true);
    const kinds = [...space.ids()].map((id) => space.object(id).kind).filter((kind) => kind === 'append-only');
    assert.ok(kinds.length >= 3, `${kinds.length} objects`);
    for (const i of [0, 1000, 2999]) fails('AppendOnly', () => space.relaxed(() => ((journal.get(i) as { at: number }).at = 9999)));
    space.close();
  } finally {
    Object.assign(POOL_LIMITS, before);
  }
});

/** G11, G7: a page of a paged object that does not come, or is not what it should be, is an error; and every way in which paging ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTwzError, type ErrorName } from '../src/abi/errors.ts';
import { META, PAGE } from '../src/abi/format.ts';
import { objectOf, u32, vec } from '../src/index.ts';
import { pageIn, pageSource, type PagedFacts } from '../src/services/pager.ts';
import { Ground, fails, restamp, thrown } from './hosts.ts';
import { TestSource, exported } from './paging-source.ts';
import { NO_FAULTS, Person, inWays, people, world } from './paging-world.ts';

// --- what fails -------------------------------------------------------------------------------------------------------------------

const REFUSALS = [
  ['silent', 'TimedOut'],
  ['refuse', 'Unreachable'],
  ['throw', 'Unreachable'],
  ['short', 'PagesInvalid'],
  ['forged', 'ObjectForged'],
] as const satisfies readonly (readonly [TestSource['mode'], ErrorName])[];

inWays(
  'G11: a page that cannot be had is an error, whatever the reader made of the zeros, and is there when it can be had',
  async (t, ground, how) => {
    const { all } = people(t);
    const space = ground.open();
    const source = await TestSource.start(pageSource(space, { whole: how === 'whole' }), all.files);
    t.after(() => source.stop());
    const expected = [30, 20_003, 19_999, 'Bob'];
    const read = (alice: Person): unknown[] => [alice.age, alice.visits.length, alice.visits.at(-1), alice.friend?.name];
    for (const [mode, name] of REFUSALS) {
      const paged = pageIn(space, source.source, all.facts, { faultMs: 60, first: PAGE, ahead: PAGE });
      // From the first touch on.
      source.mode = mode;
      fails(name, () => paged.read(() => paged.root(Person)));
      source.mode = 'answer';
      const alice = paged.read(() => paged.root(Person));
      assert.equal(
        paged.read(() => alice.name),
        'Alice',
      );
      if (how === 'by touch') {
        // With some of it here: what is not here fails, whatever becomes of it.
        source.mode = mode;
        let seen: unknown;
        fails(name, () => paged.read(() => (seen = alice.visits.at(-1))));
        assert.notEqual(seen, 19_999);
        fails(name, () =>
          paged.read(() => {
            alice.visits.at(-1);
            throw new Error('what the reader made of it');
          }),
        );
        const error = thrown(() =>
          paged.read(() => {
            read(alice);
            throw new Error('what the reader made of it');
          }),
        );
        assert.ok(isTwzError(error, name) && error.cause !== undefined);
        // A part of a reader that catches it is no excuse.
        fails(name, () =>
          paged.read(() => {
            fails(name, () => paged.read(() => alice.visits.at(-1)));
            return 'all is well';
          }),
        );
        // What lib remembers of places counts for nothing, as where a transaction was undone.
        const { turn } = paged.object.handle;
        fails(name, () => paged.read(() => alice.visits.at(-1)));
        assert.notEqual(paged.object.handle.turn, turn);
        // What is here can still be read.
        assert.equal(
          paged.read(() => alice.name),
          'Alice',
        );
        source.mode = 'answer';
      }
      assert.deepEqual(
        paged.read(() => read(alice)),
        expected,
      );
      paged.close();
      fails('PagedClosed', () => alice.name);
      fails('PagedClosed', () => paged.read(() => alice.name));
    }
  },
);

test('G11: a read waits no longer than it was given, in all', { skip: NO_FAULTS }, async (t) => {
  const { all } = people(t);
  const { paged, source } = await world(t, new Ground('linux', t), 'by touch', all, { faultMs: 1e9, first: PAGE });
  const alice = paged.read(() => paged.root(Person));
  source.mode = 'silent';
  // Would never end.
  fails('TimedOut', () => paged.read(() => alice.visits.at(-1), 40));
  fails('TimedOut', () => paged.read(() => paged.read(() => alice.visits.at(-1), 1e9), 40));
  source.mode = 'answer';
  // The time of a part of it is the part's alone.
  paged.read(() => {
    assert.equal(
      paged.read(() => alice.age, 1),
      30,
    );
    for (const begun = performance.now(); performance.now() < begun + 2;);
    assert.equal(alice.visits.get(10_000), 9997);
  });
  assert.equal(
    paged.read(() => alice.visits.at(-1)),
    19_999,
  );
});

test(
  'G11: whatever the source does meanwhile, a read gives what is there or an error, and in the end what is there',
  { skip: NO_FAULTS },
  async (t) => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    t.diagnostic(`seed ${seed}`);
    let state = seed;
    const random = (below: number): number => ((state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) >>> 8) % below;
    const count = 300_000;
    const there = new Ground('simulated', t).open();
    const numbers = there.relaxed(() =>
      there.create(
        vec(u32),
        Uint32Array.from({ length: count }, (_, i) => i * 7),
      ),
    );
    const all = exported(objectOf(numbers).export());
    const space = new Ground('linux', t).open();
    const source = await TestSource.start(pageSource(space), all.files);
    t.after(() => source.stop());
    const modes = ['answer', 'answer', 'answer', 'answer', 'silent', 'refuse', 'short', 'throw', 'forged'] as const;
    const names: readonly ErrorName[] = REFUSALS.map(([, name]) => name);
    const outcomes = { given: 0, refused: 0 };
    for (let round = 0; round < 20; round++) {
      const paged = pageIn(space, source.source, all.facts, { faultMs: 15, first: PAGE << random(3), budget: PAGE << random(8) });
      for (let step = 0; step < 20; step++) {
        source.mode = modes[random(modes.length)] ?? 'answer';
        const from = random(count - 5000);
        const some = Array.from({ length: 1 + random(5) }, (_, i) => (random(2) === 0 ? random(count) : from + i * 1000));
        try {
          const got = paged.read(() => some.map((i) => paged.root(vec(u32)).get(i)));
          assert.deepEqual(
            got,
            some.map((i) => i * 7),
          );
          outcomes.given++;
        } catch (error) {
          assert.ok(
            names.some((name) => isTwzError(error, name)),
            String(error),
          );
          outcomes.refused++;
        }
      }
      source.mode = 'answer';
      // What is still on its way may be a refusal.
      for (let tries = 0; ; tries++) {
        try {
          assert.equal(
            paged.read(() => paged.root(vec(u32)).get(round)),
            round * 7,
          );
          break;
        } catch (error) {
          assert.ok(isTwzError(error) && tries < 200, String(error));
        }
      }
      paged.close();
    }
    t.diagnostic(JSON.stringify(outcomes));
    assert.ok(outcomes.given > 0 && outcomes.refused > 0);
  },
);

inWays('G7: what is not the object is refused before anything of it is shown', async (t, ground, how) => {
  const { all } = people(t);
  const [first] = all.facts as [PagedFacts];
  const good = all.files.get(first.id) as Uint8Array;
  const altered = (change: (view: DataView, file: Uint8Array) => void, stamp: boolean): Uint8Array => {
    const file = good.slice();
    change(new DataView(file.buffer), file);
    const bytesOf = stamp ? restamp(file) : file;
    const shared = new Uint8Array(new SharedArrayBuffer(bytesOf.length));
    shared.set(bytesOf);
    return shared;
  };
  const cases: readonly (readonly [ErrorName, Uint8Array, number])[] = [
    ['ObjectCorrupt', altered((view) => view.setUint32(META.magic, 1, true), true), good.length],
    ['ObjectCorrupt', altered((view) => view.setUint32(META.root, 8192, true), false), good.length],
    ['ObjectCorrupt', good, good.length - PAGE],
    ['ObjectForged', altered((view) => view.setUint8(META.id, 1), true), good.length],
    ['ObjectForged', altered((view) => view.setUint32(META.rights, 1, true), true), good.length],
    ['ObjectVersion', altered((view) => view.setUint32(META.format, 9, true), true), good.length],
  ];
  const space = ground.open();
  const files = new Map(cases.map(([, file], i) => [`${first.id} ${i}`, file]));
  const source = await TestSource.start(pageSource(space, { whole: how === 'whole' }), files);
  t.after(() => source.stop());
  for (const [version, [name, , size]] of cases.entries()) {
    const paged = pageIn(space, source.source, [{ id: first.id, version, size }]);
    for (let i = 0; i < 2; i++) fails(name, () => paged.read(() => paged.root(Person)));
    paged.close();
  }
  fails('InvalidArgument', () => pageIn(space, source.source, []));
  fails('InvalidArgument', () => pageIn(space, source.source, [{ ...first, size: 100 }]));
  fails('InvalidArgument', () => pageIn(space, source.source, all.facts, { budget: 1 }));
  fails('ObjectExists', () => pageIn(space, source.source, [first, { ...first, version: 99 }]));
  assert.equal(space.kernel.paged.size, 0);
});

// --- ends -------------------------------------------------------------------------------------------------------------------------

inWays('G2: several are open at once, one may be closed while another is read, and all end with the space', async (t, ground, how) => {
  const { all } = people(t);
  const { space, paged, source } = await world(t, ground, how, all);
  const second = pageIn(space, source.source, all.facts);
  const third = pageIn(space, source.source, all.facts);
  paged.read(() => {
    const a = paged.root(Person);
    second.read(() => {
      const b = second.root(Person);
      third.close();
      for (let i = 0; i < 20_003; i += 1000) assert.equal(a.visits.get(i), b.visits.get(i));
    });
    fails('PagedOutside', () => second.root(Person));
    assert.equal(a.name, 'Alice');
  });
  // Closed while it is read: what was read is worth nothing.
  const error = thrown(() =>
    second.read(() => {
      const { name } = second.root(Person);
      second.close();
      return name;
    }),
  );
  assert.ok(isTwzError(error, 'PagedClosed'));
  const alice = paged.read(() => paged.root(Person));
  space.close();
  fails('SpaceClosed', () => alice.name);
  fails('SpaceClosed', () => paged.read(() => 1));
  assert.equal(space.kernel.paged.size, 0);
});

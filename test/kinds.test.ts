/** M1, G8: the kinds of objects, locally and between nodes. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { Random } from '../src/host/simulated/random.ts';
import { SimulatedHost } from '../src/host/simulated/simulated.ts';
import {
  f64,
  hashMap,
  isTwzError,
  log,
  open,
  struct,
  text,
  u32,
  u8,
  vec,
  type ErrorName,
  type Infer,
  type ObjectId,
  type Space,
} from '../src/index.ts';
import { chooseHost } from '../src/host/choose.ts';
import type { Handle } from '../src/kernel/object.ts';
import { sectionOf } from '../src/kernel/sections.ts';
import { POOL_LIMITS } from '../src/lib/collections/pool.ts';
import { checkSpace } from '../src/services/check.ts';
import type { Engine } from '../src/services/cluster/engine.ts';
import { mergeCode, mergeCounts, mergeLatest } from '../src/services/cluster/merges.ts';
import { MergingThread } from '../src/services/cluster/merging-thread.ts';
import { mergeVersions } from '../src/services/cluster/merging.ts';
import { ClusterNode } from '../src/services/cluster/node.ts';
import { joinSections } from '../src/services/cluster/record.ts';
import { headsOf, type Version } from '../src/services/cluster/versions.ts';
import { encodeValues } from '../src/services/cluster/values.ts';
import { copyObjects, dumpSpace, loadNew, restoreBackup } from '../src/tools.ts';
import { SimulatedEngines } from '../src/testing/cluster/engine.ts';

const Entry = struct('Entry', { at: u32, note: text });
const Entries = log(Entry);

function fails(name: ErrorName, body: () => unknown): void {
  assert.throws(body, (error: unknown) => isTwzError(error, name) || assert.fail(`expected ${name}: ${String(error)}`));
}

async function ran<T>(host: SimulatedHost, promise: Promise<T>): Promise<T> {
  await host.run();
  return promise;
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
    assert.equal(
      [...journal.values()].every(({ at }, i) => at === i),
      true,
    );
    const kinds = [...space.ids()].map((id) => space.object(id).kind).filter((kind) => kind === 'append-only');
    assert.ok(kinds.length >= 3, `${kinds.length} objects`);
    for (const i of [0, 1000, 2999]) fails('AppendOnly', () => space.relaxed(() => ((journal.get(i) as { at: number }).at = 9999)));
    space.close();
  } finally {
    Object.assign(POOL_LIMITS, before);
  }
});

test('M1 backups, dumps, copies, exports and checks keep the kinds and what they say', async () => {
  const host = new SimulatedHost({ seed: 1, windowSize: 16 << 20, callMs: 0 });
  const at = (name: string): string => `/${name}`;
  const openAt = (name: string): Space => open(at(name), { host, segmentSize: 1 << 20 });
  const space = openAt('from');
  const merge = mergeCode<Infer<typeof Counts>>(space, mergeCounts);
  const [journal, counts] = space.relaxed(() => [
    space.create(Entries, [], { kind: 'append-only' }),
    space.create(Counts, [['a', 1]], { kind: 'progressive', merge }),
  ]);
  for (let i = 0; i < 300; i++) space.relaxed(() => journal.append({ at: i, note: `entry ${i}` }));
  const [first, second] = [space.object(journal).id, space.object(counts).id];
  const demandKinds = (there: Space): void => {
    assert.deepEqual([there.object(first).kind, there.object(second).kind], ['append-only', 'progressive']);
    assert.equal(there.object(second).merge, merge);
    const log = there.get(first, Entries);
    assert.equal(log.length, 300);
    fails('AppendOnly', () => there.relaxed(() => log.trim(1)));
    assert.equal(there.get(second, Counts).get('a'), 1);
  };
  const opened = (name: string): Space => {
    const { errors, warnings } = checkSpace(host, at(name));
    assert.deepEqual([errors, warnings], [0, 0], name);
    return openAt(name);
  };
  await ran(host, space.backup(at('backup')));
  const dump = [...dumpSpace(space, { from: [first, second] })];
  const copy = openAt('copy');
  assert.deepEqual(copyObjects(space, [first, second], copy).missing, []);
  assert.ok(copy.has(merge), 'the code goes along');
  copy.close();
  const entered = openAt('entered');
  for (const id of [first, second]) entered.relaxed(() => entered.import(space.object(id).export()));
  entered.close();
  space.close();
  restoreBackup(host, at('backup'), at('restored'));
  await ran(host, loadNew(host, at('loaded'), dump));
  for (const name of ['from', 'restored', 'loaded', 'copy', 'entered']) {
    const there = opened(name);
    demandKinds(there);
    there.close();
  }
});

// --- between nodes ------------------------------------------------------------------------------------------------------------------------

/** Nodes of a simulated engine; what each gets from it is counted. */
class World {
  readonly engines = new SimulatedEngines({ seed: 11 });
  readonly #hosts = new Map<string, SimulatedHost>();
  readonly #nodes = new Map<string, { readonly node: ClusterNode; readonly engine: Engine }>();
  /** Bytes of records and chunks that came to a node. */
  readonly came = new Map<string, number>();

  constructor(t: TestContext) {
    const { engines } = this;
    const step = engines.step.bind(engines);
    engines.step = async (ms) => {
      const before = engines.schedule.now;
      const stepped = await step(ms);
      for (const host of this.#hosts.values()) await host.elapse(engines.schedule.now - before);
      return stepped;
    };
    t.after(() => {
      for (const name of [...this.#nodes.keys()]) this.die(name);
    });
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.engines.run(promise);
  }

  async node(name: string, runs = true): Promise<ClusterNode> {
    const host = this.#hosts.get(name) ?? new SimulatedHost({ seed: 1 + this.#hosts.size, windowSize: 16 << 20, callMs: 0 });
    this.#hosts.set(name, host);
    const engine = await this.run(this.engines.connect(name));
    this.#count(name, engine);
    const space = open('/space', { host, segmentSize: 1 << 20, checkpointBytes: 4 << 20 });
    const node = new ClusterNode(space, engine, {
      name,
      own: true,
      clock: this.engines.clock,
      ...(runs ? { merger: (work) => Promise.resolve().then(() => mergeVersions(work)) } : {}),
    });
    this.#nodes.set(name, { node, engine });
    await this.run(node.start());
    return node;
  }

  #count(name: string, engine: Engine): void {
    const { read, getChunk, follow } = engine;
    const add = (bytes: number): void => void this.came.set(name, (this.came.get(name) ?? 0) + bytes);
    engine.read = async (...given) => {
      const records = await read.apply(engine, given);
      for (const { bytes } of records) add(bytes.length);
      return records;
    };
    engine.getChunk = async (...given) => {
      const chunk = await getChunk.apply(engine, given);
      add(chunk?.length ?? 0);
      return chunk;
    };
    engine.follow = (name, listener) =>
      follow.call(engine, name, (log, record) => {
        add(record.bytes.length);
        listener(log, record);
      });
  }

  die(name: string): void {
    const there = this.#nodes.get(name);
    assert.ok(there);
    this.#nodes.delete(name);
    there.node.die();
    void there.engine.close();
    there.node.space.close();
  }

  /** A node that has ended leaves a space in order. */
  check(name: string): void {
    const host = this.#hosts.get(name);
    assert.ok(host);
    const { errors, warnings, findings } = checkSpace(host, '/space');
    assert.deepEqual([errors, warnings], [0, 0], `${name}: ${JSON.stringify(findings[0])}`);
  }

  until(so: () => boolean, ms = 20_000): Promise<void> {
    const end = this.engines.clock.now() + ms;
    const wait = async (): Promise<void> => {
      while (!so()) {
        assert.ok(this.engines.clock.now() < end, 'it does not come');
        await new Promise<void>((resolve) => this.engines.clock.timer(5, resolve));
      }
    };
    return this.run(wait());
  }
}

function deadlineOf(node: ClusterNode, ms = 5000): number {
  return node.clock.now() + ms;
}

test('M1 append-only, between nodes: everybody appends, one orders; what is behind gets what it has not', async (t) => {
  const world = new World(t);
  const [a, b, c] = [await world.node('a'), await world.node('b'), await world.node('c')];
  const journal = a.space.relaxed(() => a.space.create(Entries, [], { kind: 'append-only' }));
  const { id } = a.space.object(journal);
  a.space.relaxed(() => {
    for (let i = 0; i < 2000; i++) journal.append({ at: i, note: `entry number ${i} of the journal` });
  });
  const append = (node: ClusterNode, note: string, activation = note, ms?: number): Promise<number> =>
    node.append(id, encodeValues({ at: 1, note }, false), activation, deadlineOf(node, ms));
  assert.equal(await world.run(append(b, 'first')), 2000, 'who has no copy appends, too');
  assert.equal(b.space.has(id), false);
  await world.run(b.bring(id, deadlineOf(b)));
  await world.run(c.bring(id, deadlineOf(c)));
  const whole = a.space.object(id).size;

  // All at once, and each twice.
  const notes = Array.from({ length: 12 }, (_, i) => `note ${i}`);
  const nodes = [a, b, c];
  const given = await world.run(
    Promise.all([...notes, ...notes].map((note, i) => append(nodes[i % 3] as ClusterNode, note).then((number) => ({ note, number })))),
  );
  assert.deepEqual(new Set(given.map(({ number }) => number)), new Set(notes.map((_, i) => 2001 + i)));
  for (const node of nodes) {
    const there = node.space.get(id, Entries);
    await world.until(() => (node.space.refresh(), there.length === 2013));
    for (const { note, number } of given) assert.equal(there.get(number)?.note, note);
    assert.equal(node.table.byId.get(id)?.owner, a.id, 'it has not moved');
  }

  // One that was away gets the rest, and nothing else.
  world.engines.cut('c');
  for (let i = 0; i < 20; i++) await world.run(append(b, `while c is away ${i}`));
  const before = world.came.get('c') ?? 0;
  world.engines.heal('c');
  const there = c.space.get(id, Entries);
  await world.until(() => (c.space.refresh(), there.length === 2033));
  const came = (world.came.get('c') ?? 0) - before;
  assert.ok(came > 0 && came * 10 < whole, `${came} of ${whole} bytes`);

  // Its sequencer dies; what it had answered is asked again of who succeeds it.
  const last = await world.run(append(b, 'before it died'));
  world.die('a');
  assert.equal(await world.run(append(b, 'before it died', 'before it died', 20_000)), last);
  assert.equal(await world.run(append(c, 'after it died', 'after it died', 20_000)), last + 1);
  assert.equal(b.space.get(id, Entries).get(last)?.note, 'before it died');
  assert.equal(b.ownership.succeeded + c.ownership.succeeded, 1);
  // The notes of the last appends are a ring.
  const more = await world.run(Promise.all(Array.from({ length: 300 }, (_, i) => append(c, `more ${i}`, `more ${i}`, 20_000))));
  for (const i of [100, 299]) assert.equal(await world.run(append(b, `more ${i}`)), more[i]);
  // What is no log of that kind has no sequencer.
  const other = b.space.relaxed(() => b.space.create(Entry, {}));
  await assert.rejects(world.run(b.append(b.space.object(other).id, encodeValues(1, false), 'x', deadlineOf(b))), (error: unknown) =>
    isTwzError(error, 'NotSupported'),
  );
  for (const name of ['b', 'c']) {
    world.die(name);
    world.check(name);
  }
});

const Counts = hashMap(text, u32);

function counter({ space }: ClusterNode, code = mergeCode<Infer<typeof Counts>>(space, mergeCounts)): ObjectId {
  const made = space.relaxed(() => space.create(Counts, [], { kind: 'progressive', merge: code }));
  return space.object(made).id;
}

function count({ space }: ClusterNode, id: ObjectId, who: string, by = 1): void {
  const counts = space.get(id, Counts);
  space.relaxed(() => counts.set(who, (counts.get(who) ?? 0) + by));
}

/** What is here is in the engine, once that can be reached. */
function published(world: World, node: ClusterNode, id: ObjectId): Promise<unknown> {
  return world.run(node.replicated(node.space.kernel.log.end, [id], deadlineOf(node, 20_000)));
}

function textOf(counts: Iterable<readonly [string, number | string]>): string {
  return JSON.stringify([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function contentOf({ space }: ClusterNode, id: ObjectId): string {
  space.refresh();
  return textOf(space.get(id, Counts));
}

test('M1 progressive, locally: stored to as an owned one; it names its merge code, and so do its copies', () => {
  const space = memory();
  const code = mergeCode<Infer<typeof Counts>>(space, mergeCounts);
  const counts = space.relaxed(() => space.create(Counts, [['a', 1]], { kind: 'progressive', merge: code }));
  space.relaxed(() => counts.set('a', 2));
  assert.equal(counts.get('a'), 2);
  const object = space.object(counts);
  assert.equal(object.kind, 'progressive');
  assert.equal(object.merge, code);
  const copy = space.relaxed(() => space.copy(counts));
  assert.deepEqual([copy.kind, copy.merge], ['progressive', code]);
  const plain = space.relaxed(() => space.copy(counts, { kind: 'owned' }));
  assert.deepEqual([plain.kind, plain.merge], ['owned', undefined]);
  fails('InvalidArgument', () => space.relaxed(() => space.create(Counts, [], { kind: 'progressive' })));
  fails('InvalidArgument', () => space.relaxed(() => space.create(Counts, [], { merge: code })));
  space.close();
});

test('M1, G8 progressive, between nodes: everybody stores, cut off or not; an intermediary merges with both endpoints down', async (t) => {
  const world = new World(t);
  const [a, b] = [await world.node('a'), await world.node('b')];
  const id = counter(a);
  count(a, id, 'a');
  assert.ok(await world.run(b.bring(id, deadlineOf(b))));
  assert.equal(contentOf(b, id), '[["a",1]]');
  count(b, id, 'b', 10);
  await world.until(() => contentOf(a, id) === '[["a",1],["b",10]]');
  assert.equal(a.progressive.merged + b.progressive.merged, 0, 'one contains the other');

  // Both are cut off, and go on; each is there for a moment, and not with the other.
  for (const name of ['a', 'b']) world.engines.cut(name);
  count(a, id, 'a', 5);
  count(b, id, 'b', 7);
  world.engines.heal('a');
  await published(world, a, id);
  world.die('a');
  world.engines.heal('b');
  await published(world, b, id);
  world.die('b');

  const c = await world.node('c');
  assert.ok(await world.run(c.bring(id, deadlineOf(c, 20_000))));
  await world.run(c.merge(id, deadlineOf(c)));
  assert.equal(contentOf(c, id), '[["a",6],["b",17]]');
  count(c, id, 'c', 100);
  await published(world, c, id);
  world.die('c');

  const again = [await world.node('a'), await world.node('b')];
  for (const node of again) {
    await world.run(node.merge(id, deadlineOf(node)));
    assert.equal(contentOf(node, id), '[["a",6],["b",17],["c",100]]');
  }
});

const Note = struct('Note', { when: f64, by: text, body: text });
const Notes = hashMap(text, Note);
type Notes = Infer<typeof Notes>;

test('G8 nodes that store at random, cut off and dying at random, come to the same: all that they stored, byte for byte', async (t) => {
  const seed = Number(process.env['KINDS_SEED'] ?? 4);
  const random = new Random(seed);
  t.diagnostic(`seed ${seed}`);
  const before = { ...POOL_LIMITS };
  t.after(() => void Object.assign(POOL_LIMITS, before));
  Object.assign(POOL_LIMITS, { home: 8 << 10, member: 16 << 10 });
  const world = new World(t);
  const names = ['a', 'b', 'c'] as const;
  const nodes = new Map<string, ClusterNode>();
  const start = async (name: string): Promise<ClusterNode> => {
    const node = await world.node(name, name !== 'c');
    nodes.set(name, node);
    return node;
  };
  const first = await start('a');
  for (const name of names.slice(1)) await start(name);
  const id = counter(first);
  const merge = mergeCode<Notes>(first.space, mergeLatest);
  const notes = first.space.relaxed(() => first.space.object(first.space.create(Notes, [], { kind: 'progressive', merge }))).id;
  for (const node of nodes.values()) for (const each of [id, notes]) assert.ok(await world.run(node.bring(each, deadlineOf(node, 20_000))));
  const made = new Map<string, number>();
  const written = new Map<string, string>();
  let merged = 0;
  for (let i = 0; i < 24; i++) {
    const name = names[random.below(3)] ?? 'a';
    let node = nodes.get(name) as ClusterNode;
    if (random.below(3) === 0) world.engines.cut(name);
    else if (random.below(2) === 0) world.engines.heal(name);
    if (random.below(8) === 0) {
      merged += node.progressive.merged;
      world.die(name);
      world.engines.heal(name);
      node = await start(name);
    }
    const who = `${name}${random.below(40)}`;
    count(node, id, who, i + 1);
    made.set(who, (made.get(who) ?? 0) + i + 1);
    const [key, body] = [`key ${random.below(20)}`, `${i} by ${name} `.repeat(1 + random.below(80))];
    node.space.relaxed(() => node.space.get(notes, Notes).set(key, { when: i, by: name, body }));
    written.set(key, body);
    await world.run(node.pause(random.below(60)));
  }
  for (const name of names) world.engines.heal(name);
  const all = textOf(made);
  const textOfNotes = ({ space }: ClusterNode): string => textOf([...space.get(notes, Notes)].map(([key, { body }]) => [key, body]));
  const everybody = [...nodes.values()];
  await world.until(() => everybody.every((node) => contentOf(node, id) === all), 60_000);
  await world.until(() => everybody.every((node) => (node.space.refresh(), textOfNotes(node) === textOf(written))), 60_000);
  for (const node of everybody) for (const each of [id, notes]) if (node.name !== 'c') await world.run(node.merge(each, deadlineOf(node)));
  for (const each of [id, notes])
    await world.until(() => {
      const images = everybody.map(({ space }) => space.object(each).handle.parts().concat(space.object(each).handle));
      return images.every((image) =>
        image.every((h, i) =>
          Buffer.from(h.u8)
            .subarray(4096)
            .equals(images[0]?.[i]?.u8.subarray(4096) ?? h.u8),
        ),
      );
    });
  for (const node of everybody) {
    if (node.name === 'c') assert.equal(node.progressive.merged, 0, 'code of others does not run there');
    merged += node.progressive.merged;
  }
  assert.ok(merged > 0);
});

test('G8 what is stored while a version of another node is on its way in is not put aside', async (t) => {
  const world = new World(t);
  const [a, b] = [await world.node('a'), await world.node('b')];
  const id = counter(a);
  count(a, id, 'a');
  assert.ok(await world.run(b.bring(id, deadlineOf(b))));
  // Until nothing is under way any more: what is read next is the version to come.
  await world.run(b.pause(500));
  const { read } = b.engine;
  let stored = 0;
  b.engine.read = async (...given) => {
    const records = await read.apply(b.engine, given);
    // The log has been read, and what was here was looked at before.
    if (stored < 5) count(b, id, `b${stored++}`);
    return records;
  };
  count(a, id, 'a');
  const all = '[["a",2],["b0",1],["b1",1],["b2",1],["b3",1],["b4",1]]';
  await world.until(() => contentOf(a, id) === all && contentOf(b, id) === all);
  assert.equal(stored, 5);
});

test('G8 versions: what contains another stands for it; of two that contain the same, everybody takes the same', () => {
  const version = (hash: string, vector: Readonly<Record<string, number>>): Version => ({
    vector: new Map(Object.entries(vector)),
    hash,
    chunks: false,
    body: new Uint8Array(0),
  });
  const [old, x, y, both, again] = [
    version('9', { a: 1 }),
    version('5', { a: 2 }),
    version('4', { a: 1, b: 1 }),
    version('1', { a: 2, b: 1 }),
    version('2', { b: 1, a: 2 }),
  ];
  const hashes = (...versions: readonly Version[]): string =>
    headsOf(versions)
      .map(({ hash }) => hash)
      .join(' ');
  assert.equal(hashes(old, x, y), '4 5');
  assert.equal(hashes(y, x, old), '4 5');
  assert.equal(hashes(x, both, y, old), '1');
  assert.equal(hashes(both, again, x), '2');
  assert.equal(hashes(again, y, both), '2');
});

test('G8 merge code: the version that both come from; what it throws is told, and nothing is lost', async (t) => {
  const world = new World(t);
  const [a, b] = [await world.node('a'), await world.node('b')];
  // A counter that is one number can be merged by what both come from.
  const code = mergeCode<Infer<typeof Counts>>(a.space, (mine, theirs, base) => {
    if (base === undefined) throw new RangeError('where do they come from?');
    if (theirs.get('n') === 13) throw new RangeError('unlucky');
    mine.set('n', (mine.get('n') ?? 0) + (theirs.get('n') ?? 0) - (base.get('n') ?? 0));
  });
  const id = counter(a, code);
  count(a, id, 'n', 10);
  assert.ok(await world.run(b.bring(id, deadlineOf(b))));
  const apart = (first: number, second: number): void => {
    for (const name of ['a', 'b']) world.engines.cut(name);
    count(a, id, 'n', first);
    count(b, id, 'n', second);
    for (const name of ['a', 'b']) world.engines.heal(name);
  };
  apart(100, 1000);
  await world.until(() => contentOf(a, id) === '[["n",1110]]' && contentOf(b, id) === '[["n",1110]]');

  const bad = counter(
    a,
    mergeCode<Infer<typeof Counts>>(a.space, () => JSON.parse('{') as undefined),
  );
  count(a, bad, 'n', 1);
  assert.ok(await world.run(b.bring(bad, deadlineOf(b))));
  for (const name of ['a', 'b']) world.engines.cut(name);
  count(a, bad, 'a', 1);
  count(b, bad, 'b', 1);
  for (const name of ['a', 'b']) world.engines.heal(name);
  for (const node of [a, b]) await published(world, node, bad);
  for (const node of [a, b])
    await assert.rejects(
      world.run(node.merge(bad, deadlineOf(node, 20_000))),
      (error: unknown) => isTwzError(error, 'MergeFailed') && error.message.includes('SyntaxError'),
    );
  assert.equal(contentOf(a, bad), '[["a",1],["n",1]]');
  assert.equal(contentOf(b, bad), '[["b",1],["n",1]]');
  // Both are there for whoever asks.
  assert.equal((await world.run(b.engine.read(`versions.${bad}`, 0, 2000))).length >= 2, true);
});

test('G8 merge code that does not end is ended with its thread, and others are merged after it', async () => {
  const space = memory();
  const counts = space.relaxed(() => space.create(Counts, [['a', 1]], { kind: 'progressive', merge: mergeCode(space, mergeCounts) }));
  const { id, handle } = space.object(counts);
  const version = (): Uint8Array => joinSections([sectionOf(handle as Handle)]);
  const mine = version();
  space.relaxed(() => counts.set('b', 2));
  const theirs = version();
  space.close();
  const thread = new MergingThread(
    chooseHost(() => undefined),
    new URL('../src/services/cluster/merger.js', import.meta.url),
  );
  const merge = (source: string, ms: number): Promise<Uint8Array> => thread.merge({ id, source, mine, theirs, base: undefined }, ms);
  await assert.rejects(merge('() => { for (;;); }', 50), (error: unknown) => isTwzError(error, 'MergeFailed'));
  assert.equal(thread.stopped, 1);
  await assert.rejects(merge('() => process.exit()', 20_000), (error: unknown) => isTwzError(error, 'MergeFailed'));
  await assert.rejects(merge('async () => 1', 20_000), (error: unknown) => isTwzError(error, 'MergeFailed'));
  const merged = await merge(mergeCounts.toString(), 20_000);
  assert.deepEqual(merged, mergeVersions({ id, source: mergeCounts.toString(), mine, theirs, base: undefined }), 'the same everywhere');
  await thread.end();
});

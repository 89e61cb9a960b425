/** G11, G13, G15, G16: the engine beneath the space of many machines does what its interface says, the simulated one as the real one. */
import assert from 'node:assert/strict';

import { isTwzError, type ErrorName } from '../src/index.ts';
import type { Append, Appended, LogRecord, Register } from '../src/services/cluster/engine.ts';

import { onEngines } from './engines.ts';

const MS = 10_000;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (from: Uint8Array | undefined): string | undefined => (from === undefined ? undefined : new TextDecoder().decode(from));
const texts = (records: readonly LogRecord[]): string[] => records.map((record) => text(record.bytes) ?? '');

const fails = (name: ErrorName, call: Promise<unknown> | (() => unknown)): Promise<void> =>
  assert.rejects(
    async () => (typeof call === 'function' ? call() : call),
    (error: unknown) => isTwzError(error, name) || assert.fail(`expected ${name}: ${String(error)}`),
  );

async function done(appending: Promise<Appended>): Promise<number> {
  const appended = await appending;
  assert.equal(appended.kind, 'done');
  return appended.kind === 'done' ? appended.seq : 0;
}

const refused = async (appending: Promise<Appended>): Promise<void> => assert.deepEqual(await appending, { kind: 'refused' });

// --- messages ---------------------------------------------------------------------------------------------------------------------------

onEngines('G15: requests are answered, by one of a queue, by many, or by nobody and that at once', async (engines) => {
  const [a, b, c] = [await engines.connect('a'), await engines.connect('b'), await engines.connect('c')];
  const heard: string[] = [];
  b.subscribe('say.>', ({ subject, bytes: said, reply }) => {
    heard.push(`${subject} ${text(said)} ${reply === undefined}`);
    reply?.(bytes('b'));
  });
  await b.flush(MS);
  assert.equal(text(await a.request('say.it', bytes('x'), MS)), 'b');
  a.publish('say.more.of.it', bytes('y'));
  await engines.until(() => heard.length === 2);
  assert.deepEqual(heard, ['say.it x false', 'say.more.of.it y true']);

  // Nobody: no subscriber, one of another subject, one that is closed, one of another space.
  await fails('Unreachable', a.request('nobody', bytes(''), MS));
  await fails('Unreachable', a.request('say', bytes(''), MS));
  await fails('Unreachable', (await engines.connect('a', 'other')).request('say.it', bytes(''), MS));

  let ofQueue = 0;
  const queued = [b, c].map((engine) =>
    engine.subscribe(
      'work',
      ({ reply }) => {
        ofQueue++;
        reply?.(bytes('done'));
      },
      'workers',
    ),
  );
  await Promise.all([b.flush(MS), c.flush(MS)]);
  for (let i = 0; i < 20; i++) assert.equal(text(await a.request('work', bytes(''), MS)), 'done');
  assert.equal(ofQueue, 20, 'each request goes to one of the queue');
  for (const subscription of queued) subscription.close();
  await Promise.all([b.flush(MS), c.flush(MS)]);
  await fails('Unreachable', a.request('work', bytes(''), MS));

  // Several answers, of one who is asked and of all.
  c.subscribe('say.it', ({ reply }) => {
    reply?.(bytes('c1'));
    reply?.(bytes('c2'));
  });
  await c.flush(MS);
  const answers: string[] = [];
  await a.ask('say.it', bytes('?'), MS, (answer) => answers.push(text(answer) ?? '') === 3);
  assert.deepEqual(answers.sort(), ['b', 'c1', 'c2']);
  await fails(
    'TimedOut',
    a.ask('say.it', bytes('?'), 50, () => false),
  );
  await fails(
    'Unreachable',
    a.ask('nobody', bytes('?'), MS, () => false),
  );
});

onEngines('G11: a request that is not answered ends by its deadline, and a hundred at once get each its own answer', async (engines) => {
  const [a, b] = [await engines.connect('a'), await engines.connect('b')];
  b.subscribe('silence', () => undefined);
  b.subscribe('echo', ({ bytes: said, reply }) => reply?.(said));
  await b.flush(MS);
  await fails('TimedOut', a.request('silence', bytes(''), 30));
  const all = Array.from({ length: 100 }, (_, i) => a.request('echo', bytes(String(i)), MS));
  assert.deepEqual(
    (await Promise.all(all)).map(text),
    Array.from({ length: 100 }, (_, i) => String(i)),
  );
});

onEngines('G15: bad names and messages that are too large are refused, those of the largest size pass', async (engines) => {
  const a = await engines.connect('a');
  for (const name of ['', '.', 'a..b', 'a.', 'a b', 'a.*', '>', 'ä', 'x'.repeat(201)]) {
    await fails('InvalidArgument', () => a.publish(name, bytes('')));
    await fails('InvalidArgument', () => a.append({ log: name, bytes: bytes(''), expected: 0 }, MS));
    await fails('InvalidArgument', () => a.get(name, MS));
    await fails('InvalidArgument', () => a.lease(name, bytes(''), 1000, MS));
    await fails('InvalidArgument', () => a.getChunk(name, MS));
  }
  const { maxPayload } = a.facts;
  a.subscribe('echo', ({ bytes: said, reply }) => reply?.(said));
  const most = new Uint8Array(maxPayload).fill(7);
  assert.equal((await a.request('echo', most, MS)).length, maxPayload);
  await done(a.append({ log: 'large', bytes: most, expected: 0 }, MS));
  assert.deepEqual((await a.last('large', MS))?.bytes.length, maxPayload);
  assert.deepEqual((await a.read('large', 0, MS))[0]?.bytes.length, maxPayload);
  await a.putChunk('large', most, MS);
  const over = new Uint8Array(maxPayload + 1);
  await fails('MessageTooLarge', () => a.append({ log: 'large', bytes: over, expected: 1 }, MS));
  await fails('MessageTooLarge', () => a.putChunk('over', over, MS));
  await fails('MessageTooLarge', () => a.set('over', over, 0, MS));
  await fails('MessageTooLarge', () => a.publish('echo', new Uint8Array(maxPayload * 2)));
  await fails('MessageTooLarge', () => a.request('echo', new Uint8Array(maxPayload * 2), MS));
  assert.equal((await a.request('echo', bytes('still'), MS)).length, 5);
});

// --- logs -------------------------------------------------------------------------------------------------------------------------------

onEngines('G13: a log is appended to where the last record is the expected one, and nowhere else', async (engines) => {
  const [a, b] = [await engines.connect('a'), await engines.connect('b')];
  assert.equal(await a.last('l', MS), undefined);
  assert.deepEqual(await a.read('l', 0, MS), []);
  const one = await done(a.append({ log: 'l', bytes: bytes('1'), expected: 0 }, MS));
  await refused(b.append({ log: 'l', bytes: bytes('again'), expected: 0 }, MS));
  await done(b.append({ log: 'other', bytes: bytes('o'), expected: 0 }, MS));
  const two = await done(b.append({ log: 'l', bytes: bytes('2'), expected: one }, MS));
  assert.ok(two > one);
  await refused(a.append({ log: 'l', bytes: bytes('late'), expected: one }, MS));
  await refused(a.append({ log: 'l', bytes: bytes('from nowhere'), expected: two + 5 }, MS));
  assert.deepEqual(texts(await a.read('l', 0, MS)), ['1', '2']);
  assert.deepEqual(texts(await a.read('l', one + 1, MS)), ['2']);
  assert.deepEqual(await a.read('l', two + 1, MS), []);
  const last = await a.last('l', MS);
  assert.deepEqual([last?.seq, text(last?.bytes)], [two, '2']);
  const empty = await done(a.append({ log: 'l', bytes: bytes(''), expected: two }, MS));
  assert.deepEqual((await a.last('l', MS))?.seq, empty);
});

onEngines('G13: of many who append at once one wins, each time', async (engines) => {
  const all = await Promise.all(['a', 'b', 'c', 'd'].map((node) => engines.connect(node)));
  const won = new Map<number, string>();
  let last = 0;
  for (let round = 0; round < 15; round++) {
    const results = await Promise.all(
      all.map((engine, i) => engine.append({ log: 'race', bytes: bytes(`${i}:${round}`), expected: last }, MS)),
    );
    const winners = results.flatMap((result, i) => (result.kind === 'done' ? [{ seq: result.seq, who: `${i}:${round}` }] : []));
    assert.equal(winners.length, 1);
    assert.ok(results.every(({ kind }) => kind !== 'unknown'));
    for (const { seq, who } of winners) won.set((last = seq), who);
  }
  const records = await (all[0] ?? assert.fail()).read('race', 0, MS);
  assert.deepEqual(
    records.map(({ seq, bytes: record }) => [seq, text(record)]),
    [...won],
  );
});

onEngines('G13: a log is replaced in one step, keeps its sequence, and can be appended to after it', async (engines) => {
  const a = await engines.connect('a');
  let last = 0;
  for (let i = 0; i < 5; i++) last = await done(a.append({ log: 'l', bytes: bytes(`r${i}`), expected: last }, MS));
  const beside = await done(a.append({ log: 'l.beside', bytes: bytes('b'), expected: 0 }, MS));
  await refused(a.replace({ log: 'l', bytes: bytes('wrong'), expected: last - 1 }, MS));
  assert.equal((await a.read('l', 0, MS)).length, 5);
  const all = await done(a.replace({ log: 'l', bytes: bytes('all'), expected: last }, MS));
  assert.ok(all > beside);
  assert.deepEqual(await a.read('l', 0, MS), [{ seq: all, bytes: (await a.last('l', MS))?.bytes }]);
  await refused(a.append({ log: 'l', bytes: bytes('anew'), expected: 0 }, MS));
  await done(a.append({ log: 'l', bytes: bytes('next'), expected: all }, MS));
  assert.deepEqual(texts(await a.read('l', 0, MS)), ['all', 'next']);
  assert.deepEqual(texts(await a.read('l.beside', 0, MS)), ['b']);
});

onEngines('G10: several logs are appended to all or none, next to each other', async (engines, t) => {
  const [a, b] = [await engines.connect('a'), await engines.connect('b')];
  const append = (log: string, expected: number): Append => ({ log, bytes: bytes(`of ${log}`), expected });
  if (!a.facts.atomic) {
    t.diagnostic(`nats-server ${a.facts.version} has none of it`);
    await fails('NotSupported', () => a.appendAll([append('x', 0)], MS));
    return;
  }
  const heard: string[] = [];
  b.follow('', (log, { seq }) => heard.push(`${log} ${seq}`));
  await b.flush(MS);
  const first = await done(a.append(append('x', 0), MS));
  const last = await done(a.appendAll([append('x', first), append('y', 0), append('z', 0)], MS));
  assert.deepEqual(await Promise.all(['x', 'y', 'z'].map(async (log) => (await b.last(log, MS))?.seq)), [last - 2, last - 1, last]);
  // One is refused, at the beginning, in the middle and at the end: none is stored.
  for (const wrong of [0, 1, 2]) {
    const expected = [last - 2, last - 1, last].map((seq, i) => (i === wrong ? seq - 1 : seq));
    await refused(
      a.appendAll(
        ['x', 'y', 'z'].map((log, i) => append(log, expected[i] ?? 0)),
        MS,
      ),
    );
  }
  const one = await done(a.appendAll([append('w', 0)], MS));
  await fails('InvalidArgument', () => a.appendAll([], MS));
  await fails('InvalidArgument', () => a.appendAll([append('v', 0), append('v', 0)], MS));
  const many = Array.from({ length: 200 }, (_, i) => append(`many.${i}`, 0));
  const of200 = await done(a.appendAll(many, MS));
  assert.equal((await b.last('many.0', MS))?.seq, of200 - 199);
  await engines.until(() => heard.length === 205);
  assert.deepEqual(heard.slice(0, 5), [`x ${first}`, `x ${last - 2}`, `y ${last - 1}`, `z ${last}`, `w ${one}`]);
  assert.equal((await b.read('x', 0, MS)).length, 2);
});

onEngines('G9: who follows a log, or all below a name, gets what is appended, in order', async (engines) => {
  const [a, b] = [await engines.connect('a'), await engines.connect('b')];
  const one: string[] = [];
  const below: string[] = [];
  const followed = b.follow('f.1', (log, record) => one.push(`${log} ${text(record.bytes)} ${record.seq}`));
  b.follow('f', (log, record) => below.push(`${log} ${text(record.bytes)}`));
  await b.flush(MS);
  const last = new Map<string, number>();
  for (const [i, log] of ['f.1', 'f.2', 'f.1', 'f', 'fo.1', 'f.1'].entries())
    last.set(log, await done(a.append({ log, bytes: bytes(String(i)), expected: last.get(log) ?? 0 }, MS)));
  await engines.until(() => one.length === 3 && below.length === 5);
  assert.deepEqual(
    one.map((each) => each.split(' ').slice(0, 2).join(' ')),
    ['f.1 0', 'f.1 2', 'f.1 5'],
  );
  assert.ok(one[2]?.endsWith(` ${last.get('f.1')}`));
  assert.deepEqual(below, ['f.1 0', 'f.2 1', 'f.1 2', 'f 3', 'f.1 5']);
  followed.close();
  await done(a.replace({ log: 'f.1', bytes: bytes('all'), expected: last.get('f.1') ?? 0 }, MS));
  await engines.until(() => below.length === 6);
  assert.equal(one.length, 3, 'nothing after close');
});

onEngines('G13: a long log is read whole', async (engines) => {
  const [a, b] = [await engines.connect('a'), await engines.connect('b')];
  let last = 0;
  for (let i = 0; i < 700; i++) last = await done(a.append({ log: 'long', bytes: bytes(`record ${i}`), expected: last }, MS));
  const records = await b.read('long', 0, MS);
  assert.deepEqual(
    texts(records),
    Array.from({ length: 700 }, (_, i) => `record ${i}`),
  );
  assert.equal((await b.read('long', records[600]?.seq ?? 0, MS)).length, 100);
});

// --- registers --------------------------------------------------------------------------------------------------------------------------

onEngines('G9: a register is set where it has that revision, deleted, and set again', async (engines) => {
  const [a, b] = [await engines.connect('a'), await engines.connect('b')];
  assert.equal(await a.get('k', MS), undefined);
  const first = (await a.set('k', bytes('1'), 0, MS)) ?? assert.fail();
  assert.equal(await b.set('k', bytes('x'), 0, MS), undefined);
  assert.deepEqual(text((await b.get('k', MS))?.bytes), '1');
  assert.equal((await b.get('k', MS))?.revision, first);
  const second = (await b.set('k', bytes('2'), first, MS)) ?? assert.fail();
  assert.ok(second > first);
  assert.equal(await a.set('k', bytes('late'), first, MS), undefined);
  assert.equal(await a.unset('k', first, MS), false);
  assert.equal(await a.unset('nothing', 0, MS), false);
  assert.equal(await a.unset('k', second, MS), true);
  assert.equal(await b.get('k', MS), undefined);
  assert.equal(await b.set('k', bytes('late'), second, MS), undefined);
  const third = (await b.set('k', bytes(''), 0, MS)) ?? assert.fail();
  assert.ok(third > second);
  assert.deepEqual((await a.get('k', MS))?.bytes?.length, 0, 'an empty value is one');
  const racing = await Promise.all([a, b, a, b].map((engine, i) => engine.set('raced', bytes(String(i)), 0, MS)));
  assert.equal(racing.filter((revision) => revision !== undefined).length, 1);
});

onEngines('G9: registers are listed by prefix, and watched: first what is there, then each change', async (engines) => {
  const [a, b] = [await engines.connect('a'), await engines.connect('b')];
  for (const key of ['dir', 'dir.a', 'dir.b', 'dirt', 'other.a']) await a.set(key, bytes(`of ${key}`), 0, MS);
  const gone = (await a.set('dir.gone', bytes(''), 0, MS)) ?? assert.fail();
  assert.ok(await a.unset('dir.gone', gone, MS));
  assert.deepEqual(
    (await b.keys('dir', MS)).map(({ key }) => key),
    ['dir', 'dir.a', 'dir.b'],
  );
  assert.deepEqual((await b.keys('', MS)).length, 5);
  assert.deepEqual(await b.keys('none', MS), []);
  const seen: Register[] = [];
  const watched = b.watch('dir', (register) => seen.push(register));
  await engines.until(() => seen.length === 3);
  assert.deepEqual(seen.map(({ key }) => key).sort(), ['dir', 'dir.a', 'dir.b']);
  const revision = (await a.set('dir.new', bytes('n'), 0, MS)) ?? assert.fail();
  await a.set('other.a', bytes('o'), (await a.get('other.a', MS))?.revision ?? 0, MS);
  await a.unset('dir.new', revision, MS);
  await engines.until(() => seen.length === 5);
  assert.deepEqual(
    seen.slice(3).map(({ key, bytes: value }) => [key, text(value)]),
    [
      ['dir.new', 'n'],
      ['dir.new', undefined],
    ],
  );
  assert.ok((seen[4]?.revision ?? 0) > (seen[3]?.revision ?? 0));
  watched.close();
  await a.set('dir.a', bytes('after'), (await a.get('dir.a', MS))?.revision ?? 0, MS);
  await b.flush(MS);
  assert.equal(seen.length, 5);
});

// --- leases and chunks ------------------------------------------------------------------------------------------------------------------

onEngines('G14: a lease is had by one, renewed, given back, and ends when it is not renewed', async (engines) => {
  const [a, b] = [await engines.connect('a'), await engines.connect('b')];
  const events: string[] = [];
  b.watchLeases('n', ({ key, bytes: value }) => events.push(`${key} ${text(value)}`));
  await b.flush(MS);
  assert.equal(await a.lease('n.1', bytes('a'), 60_000, MS), true);
  assert.equal(await b.lease('n.1', bytes('b'), 60_000, MS), false);
  assert.equal(await a.lease('n.1', bytes('a'), 60_000, MS), true);
  assert.equal(await b.lease('n.1', bytes('a'), 60_000, MS), true, 'told apart by its bytes');
  assert.deepEqual(
    (await b.leases('n', MS)).map(({ key, bytes: value }) => [key, text(value)]),
    [['n.1', 'a']],
  );
  await b.release('n.1', bytes('b'), MS);
  assert.equal((await a.leases('', MS)).length, 1, 'only who has it gives it back');
  await a.release('n.1', bytes('a'), MS);
  assert.deepEqual(await a.leases('', MS), []);
  assert.equal(await b.lease('n.1', bytes('b'), 1000, MS), true);
  // Not renewed from here on.
  await engines.until(() => events.length === 4);
  assert.deepEqual(events, ['n.1 a', 'n.1 undefined', 'n.1 b', 'n.1 undefined']);
  assert.deepEqual(await a.leases('n', MS), []);
  assert.equal(await a.lease('n.1', bytes('a'), 60_000, MS), true);
});

onEngines('G7: chunks are put, put again, got by others, and dropped', async (engines) => {
  const [a, b] = [await engines.connect('a'), await engines.connect('b')];
  const chunk = new Uint8Array(100_000).map((_, i) => i * 7);
  assert.equal(await b.getChunk('c1', MS), undefined);
  await a.putChunk('c1', chunk, MS);
  await a.putChunk('c1', chunk, MS);
  await b.putChunk('c1', chunk, MS);
  assert.deepEqual(new Uint8Array((await b.getChunk('c1', MS)) ?? []), chunk);
  await b.dropChunk('c1', MS);
  await b.dropChunk('c1', MS);
  assert.equal(await a.getChunk('c1', MS), undefined);
  // It was dropped by another: that it was there once does not count.
  await a.putChunk('c1', chunk, MS);
  assert.equal((await b.getChunk('c1', MS))?.length, chunk.length);
  await Promise.all(Array.from({ length: 20 }, (_, i) => a.putChunk(`many.${i}`, chunk.subarray(i), MS)));
  assert.deepEqual(
    (await Promise.all(Array.from({ length: 20 }, (_, i) => b.getChunk(`many.${i}`, MS)))).map((got) => got?.length),
    Array.from({ length: 20 }, (_, i) => chunk.length - i),
  );
});

// --- faults -----------------------------------------------------------------------------------------------------------------------------

onEngines(
  'G13: the server is killed and started again: what was acknowledged is there, followers and watchers go on',
  async (engines) => {
    const [a, b] = [await engines.connect('a'), await engines.connect('b')];
    const states: boolean[] = [];
    a.onState((connected) => states.push(connected));
    const followed: string[] = [];
    const watched: string[] = [];
    b.follow('l', (_log, record) => followed.push(text(record.bytes) ?? ''));
    b.watch('k', ({ key, bytes: value }) => watched.push(`${key} ${text(value)}`));
    b.subscribe('echo', ({ bytes: said, reply }) => reply?.(said));
    await b.flush(MS);
    const first = await done(a.append({ log: 'l', bytes: bytes('1'), expected: 0 }, MS));
    const revision = (await a.set('k.1', bytes('1'), 0, MS)) ?? assert.fail();
    await a.set('k.2', bytes('1'), 0, MS);
    await a.putChunk('c', bytes('chunk'), MS);
    assert.equal(await a.lease('n', bytes('a'), 600_000, MS), true);
    await engines.until(() => watched.length === 2 && followed.length === 1);

    await engines.kill();
    await engines.until(() => !a.connected && !b.connected);
    await fails('EngineLost', () => a.publish('echo', bytes('')));
    await fails('EngineLost', () => a.request('echo', bytes(''), 20));
    await fails('EngineLost', () => a.last('l', 20));
    assert.deepEqual(await a.append({ log: 'l', bytes: bytes('lost'), expected: first }, 20), { kind: 'unknown' });
    // What is asked for with time enough waits for the server.
    const waiting = a.append({ log: 'l', bytes: bytes('2'), expected: first }, MS);
    await engines.start();
    await done(waiting);
    await engines.until(() => a.connected && b.connected);
    assert.deepEqual(states, [false, true]);
    assert.deepEqual(texts(await b.read('l', 0, MS)), ['1', '2']);
    assert.equal(await a.unset('k.1', revision, MS), true);
    await engines.until(() => watched.length === 3);
    assert.deepEqual(watched.sort(), ['k.1 1', 'k.1 undefined', 'k.2 1']);
    assert.equal(text(await b.getChunk('c', MS)), 'chunk');
    assert.deepEqual(
      (await b.leases('', MS)).map(({ key }) => key),
      ['n'],
    );
    const second = (await b.last('l', MS))?.seq ?? 0;
    const before = followed.length;
    await b.flush(MS);
    await done(a.append({ log: 'l', bytes: bytes('3'), expected: second }, MS));
    await engines.until(() => followed.length > before);
    assert.equal(followed.at(-1), '3');
    assert.equal(text(await a.request('echo', bytes('there'), MS)), 'there');
  },
  true,
);

onEngines(
  'G11: while the server is stopped every call ends by its deadline, and goes on after',
  async (engines) => {
    const a = await engines.connect('a');
    const first = await done(a.append({ log: 'l', bytes: bytes('1'), expected: 0 }, MS));
    await engines.pause();
    const ms = 60;
    const append: Append = { log: 'l', bytes: bytes('2'), expected: first };
    const calls: Record<string, () => Promise<unknown>> = {
      request: () => a.request('x', bytes(''), ms),
      ask: () => a.ask('x', bytes(''), ms, () => true),
      flush: () => a.flush(ms),
      last: () => a.last('l', ms),
      read: () => a.read('l', 0, ms),
      get: () => a.get('k', ms),
      set: () => a.set('k', bytes(''), 0, ms),
      unset: () => a.unset('k', 1, ms),
      keys: () => a.keys('', ms),
      lease: () => a.lease('n', bytes(''), 1000, ms),
      release: () => a.release('n', bytes(''), ms),
      leases: () => a.leases('', ms),
      putChunk: () => a.putChunk('c', bytes(''), ms),
      getChunk: () => a.getChunk('c', ms),
      dropChunk: () => a.dropChunk('c', ms),
      dropChunks: () => a.dropChunks('c', ms),
      trim: () => a.trim('q', ms),
    };
    await Promise.all(Object.values(calls).map((call) => fails('TimedOut', call)));
    assert.deepEqual(await a.append(append, ms), { kind: 'unknown' });
    assert.deepEqual(await a.replace({ ...append, log: 'm' }, ms), { kind: 'unknown' });
    if (a.facts.atomic) assert.deepEqual(await a.appendAll([{ ...append, log: 'n' }], ms), { kind: 'unknown' });
    engines.resume();
    await a.flush(MS);
    // They had been sent: which is why nobody was told that they were not done.
    assert.deepEqual(texts(await a.read('l', 0, MS)), ['1', '2']);
  },
  true,
);

onEngines('G16: a closed engine ends what awaits it, sends what was published, and takes nothing more', async (engines) => {
  const [a, b] = [await engines.connect('a'), await engines.connect('b')];
  const heard: string[] = [];
  b.subscribe('last.words', ({ bytes: said }) => heard.push(text(said) ?? ''));
  b.subscribe('silence', () => undefined);
  await b.flush(MS);
  const awaited = fails('EngineLost', a.request('silence', bytes(''), MS));
  a.publish('last.words', bytes('bye'));
  await a.close();
  await a.close();
  await awaited;
  await engines.until(() => heard.length === 1);
  await fails('EngineLost', () => a.publish('last.words', bytes('')));
  await fails('EngineLost', () => a.request('last.words', bytes(''), MS));
  await fails('EngineLost', () => a.last('l', MS));
});

/** G13: several servers of the engine as one; what the adapter costs can be measured. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureEngine } from '../bench/engine.ts';
import { startServers } from '../src/services/cluster/server.ts';
import { connectFor, foundServer, noServer } from './engines.ts';

const MS = 10_000;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (from: Uint8Array | undefined): string | undefined => (from === undefined ? undefined : new TextDecoder().decode(from));

test('G13: three servers keep three copies: one dies, and what was acknowledged is there', { skip: noServer }, async (t) => {
  const cluster = await startServers(3, { binary: foundServer?.path ?? '' });
  t.after(() => cluster.stop());
  const options = { space: 's', replicas: 3 };
  const a = await connectFor(t, { ...options, servers: cluster.urls, timeout: 30_000 });
  const b = await connectFor(t, { ...options, servers: cluster.urls.toReversed(), timeout: 30_000 });
  assert.equal(a.facts.replicas, 3);
  const acknowledged: string[] = [];
  let last = 0;
  const append = async (record: string): Promise<void> => {
    const appended = await a.append({ log: 'l', bytes: bytes(record), expected: last }, 2000);
    if (appended.kind === 'done') last = appended.seq;
    else {
      const found = await a.last('l', 30_000);
      last = found?.seq ?? 0;
      if (text(found?.bytes) !== record) return append(record);
    }
    acknowledged.push(record);
  };
  for (let i = 0; i < 10; i++) await append(`${i}`);
  await a.putChunk('c', bytes('chunk'), MS);
  const revision = await b.set('k', bytes('1'), 0, MS);
  cluster.servers[0]?.kill('SIGKILL');
  await cluster.servers[0]?.ended;
  for (let i = 10; i < 20; i++) await append(`${i}`);
  assert.deepEqual(
    (await b.read('l', 0, 30_000)).map((record) => text(record.bytes)),
    acknowledged,
  );
  assert.equal((await b.get('k', 30_000))?.revision, revision);
  assert.equal(text(await b.getChunk('c', 30_000)), 'chunk');
  await cluster.restart(0);
});

test('G15: the adapter can be measured beside the client that it is made of', { skip: noServer }, async () => {
  const results = await measureEngine(true, 1, { binary: foundServer?.path ?? '' });
  assert.equal(results.length, 4);
  for (const { ours, theirs } of results) assert.ok(ours > 0 && (theirs ?? 0) > 0);
});

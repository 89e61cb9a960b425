/** T14: requests with completions, ports and streams, between processes. */
/* oxlint-disable unicorn/prefer-add-event-listener, unicorn/require-post-message-target-origin -- a Port is no window */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Region } from '../src/host/futex.ts';
import { LinuxHost } from '../src/host/linux/linux.ts';
import {
  createPort,
  createRequests,
  fixedBytes,
  isTwzError,
  openPort,
  openRequests,
  portBytes,
  requestBytes,
  sharedWords,
  variableBytes,
} from '../src/index.ts';
import { createStream } from '../src/services/streams.ts';
import { fails } from './hosts.ts';
import { BYTES, RECORDS, REQUESTS_AT } from './requests-region.ts';
import { mapWords } from './sync-region.ts';

const CHILD = fileURLToPath(new URL('./requests-child.js', import.meta.url));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-requests-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

let files = 0;

function region(): { file: string; words: Region } {
  const file = path.join(scratch, `words-${files++}`);
  return { file, words: mapWords(new LinuxHost(), file, BYTES) };
}

async function start(file: string, part: string): Promise<ChildProcess> {
  const child = fork(CHILD, [file, part]);
  await once(child, 'message');
  return child;
}

const rejects = (promise: Promise<unknown>, name: 'RequestFailed' | 'PeerGone' | 'QueueTimedOut'): Promise<void> =>
  assert.rejects(promise, (error) => isTwzError(error, name));

test('T14 requests between processes: completions out of order, errors, at most so many in flight, cancelling, a server that dies', async () => {
  const { file, words } = region();
  const requests = createRequests(words, REQUESTS_AT, { ...RECORDS, inFlight: 4 });
  const requester = requests.requester({ patience: 10 });
  let server = await start(file, 'serve');
  const order: number[] = [];
  const ask = async (value: number): Promise<number> => {
    const answer = await requester.request({ value });
    order.push(value);
    return answer.value;
  };
  // 1 is completed when 2 is; six at once, four in flight.
  const asked = [1, 2, 4, 6, 8, 10].map(ask);
  assert.ok(requester.inFlight <= 4);
  assert.deepEqual(await Promise.all(asked), [2, 4, 8, 12, 16, 20]);
  assert.ok(order.indexOf(1) > 0, String(order));
  await assert.rejects(requester.request({ value: 13 }), (error) => {
    assert.ok(isTwzError(error, 'RequestFailed'));
    return error.message === 'thirteen is unlucky';
  });
  // Given up here: the server sees it, completes, and the place is used again.
  const stop = new AbortController();
  const given = requester.request({ value: 1000 }, { signal: stop.signal });
  stop.abort(new Error('not wanted'));
  await assert.rejects(given, /not wanted/);
  await rejects(requester.request({ value: 1002 }, { timeout: 20 }), 'QueueTimedOut');
  for (let value = 0; value < 40; value += 2) assert.equal(await ask(value), value * 2);
  assert.equal(requester.inFlight, 0);
  const gone = once(server, 'exit');
  const last = rejects(requester.request({ value: 666 }), 'PeerGone');
  await gone;
  await last;
  server = await start(file, 'serve');
  assert.equal(await ask(20), 40);
  const served = once(server, 'message');
  requester.close();
  assert.equal((await served)[0], 'served');
});

test('T14 requests within a process: several who serve, bytes of different lengths, and what was cancelled is not begun', async () => {
  const records = { request: variableBytes(40), completion: variableBytes(80) };
  for (const manyResponders of [false, true]) {
    const options = { ...records, inFlight: 8, manyResponders };
    const words = sharedWords(new SharedArrayBuffer(requestBytes(options)));
    const requests = createRequests(words, 0, options);
    fails('QueueInvalid', () => openRequests(words, 64, records));
    fails('QueueInvalid', () => openRequests(words, 0, { ...records, request: fixedBytes(40) }));
    const requester = requests.requester();
    const begun: string[] = [];
    const handle = (value: Uint8Array): Uint8Array => {
      begun.push(Buffer.from(value).toString());
      return Uint8Array.from([...value, ...value]);
    };
    const stop = new AbortController();
    const given = requester.request(Buffer.from('given up'), { signal: stop.signal });
    stop.abort(new Error('no'));
    await assert.rejects(given, /no/);
    const serving = Array.from({ length: manyResponders ? 2 : 1 }, () => openRequests(words, 0, records).responder().serve(handle, 2));
    const texts = Array.from({ length: 100 }, (_, i) => 'x'.repeat(i % 41));
    const answers = await Promise.all(texts.map((text) => requester.request(Buffer.from(text))));
    assert.deepEqual(
      answers.map((answer) => Buffer.from(answer).toString()),
      texts.map((text) => text + text),
    );
    requester.close();
    await Promise.all(serving);
    assert.ok(!begun.includes('given up') && begun.length === 100);
  }
});

test('T14 a port between processes: values of many kinds, more than there is room for, closing and dying', async () => {
  const { file, words } = region();
  const port = createPort(words, REQUESTS_AT);
  const child = await start(file, 'echo');
  const sent: unknown[] = ['text', 7n, null, new Map([[1, { a: [1, 2] }]]), new Date(0), new Uint8Array([1, 2]), 'x'.repeat(4000)];
  for (let i = 0; i < 300; i++) sent.push({ i, fill: 'y'.repeat(i) });
  const got: unknown[] = [];
  const all = new Promise<void>((resolve) => {
    port.onmessage = ({ data }) => {
      if (got.push(data) === sent.length) resolve();
    };
  });
  for (const value of sent) port.postMessage(value);
  fails('OutOfRange', () => port.postMessage('x'.repeat(5000)));
  fails('ValueMismatch', () => port.postMessage(() => 1));
  await all;
  assert.equal(port.pending, 0);
  assert.deepEqual(
    got,
    sent.map((data) => ({ got: data })),
  );
  const ended = once(child, 'exit');
  port.close();
  assert.deepEqual(await ended, [0, null]);
  fails('QueueClosed', () => port.postMessage(1));
});

test('T14 a port tells of the end of its other side, however it comes', async () => {
  const words = sharedWords(new SharedArrayBuffer(portBytes()));
  const [one, other] = [createPort(words, 0), openPort(words, 0)];
  const closed = new Promise((resolve) => (other.onclose = resolve));
  const messages: unknown[] = [];
  one.postMessage('before');
  one.close();
  other.onmessage = ({ data }) => void messages.push(data);
  assert.equal(await closed, undefined);
  assert.deepEqual(messages, ['before']);
  const shared = region();
  const port = createPort(shared.words, REQUESTS_AT, { patience: 10 });
  const died = new Promise((resolve) => (port.onclose = resolve));
  port.onmessage = () => undefined;
  (await start(shared.file, 'echo')).kill('SIGKILL');
  assert.ok(isTwzError(await died, 'PeerGone'));
});

test('T14 a stream between processes: every byte there and back, through a ring much smaller than it', async () => {
  const { file, words } = region();
  const stream = createStream(words, REQUESTS_AT, { longest: 512, messages: 4 });
  const child = await start(file, 'invert');
  const ended = once(child, 'exit');
  const bytes = Buffer.alloc(200_000);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7919) >>> 3;
  const expected = createHash('sha256')
    .update(bytes.map((byte) => byte ^ 255))
    .digest('hex');
  const hash = createHash('sha256');
  stream.end(bytes);
  for await (const chunk of stream) hash.update(chunk as Uint8Array);
  assert.equal(hash.digest('hex'), expected);
  assert.deepEqual(await ended, [0, null]);
});

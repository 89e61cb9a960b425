/** T1, T3, T5, T8, T12, T14, T16, P3: the benchmarks run, tiny, with every suite: so they never rot. What they print at that size is judged for form only. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Links } from '../bench/delay.ts';
import type { Result } from '../bench/harness.ts';
import { main, UsageError } from '../bench/main.ts';
import { picture } from '../bench/picture.ts';

const MAIN = fileURLToPath(new URL('../bench/main.js', import.meta.url));

/** What the command prints, without a process of its own. */
async function printed(...args: readonly string[]): Promise<string[]> {
  const lines: string[] = [];
  await main(args, (text) => lines.push(...text.split('\n')));
  return lines;
}

const BENCHMARKS = (await printed()).map((line) => line.split(' ')[0] ?? '');

test('bench lists its benchmarks', () => {
  assert.deepEqual(BENCHMARKS, [
    'walk',
    'pointer',
    'relaxed',
    'durable',
    'open',
    'memory',
    'kv',
    'kv-int',
    'scan',
    'load',
    'put',
    'red-black-tree',
    'sync',
    'ycsb',
    'sharing',
    'large',
    'queues',
    'programs',
    'security',
    'sqlite',
    'rendezvous',
    'receive',
    'paging',
    'touch',
    'prefetch',
    'bulk',
    'packed',
    'smallrun',
    'view',
    'reuse',
  ]);
});

test('bench refuses an unknown name and an unknown flag', async () => {
  for (const args of [['no-such'], ['walk', '--no-such']]) await assert.rejects(printed(...args), UsageError);
  assert.throws(() => execFileSync(process.execPath, [MAIN, 'no-such'], { stdio: 'ignore' }), { status: 2 });
});

/** What all of them give, from one process: to load everything takes longer than most of them do at that size. */
let lines: readonly string[] | undefined;

function resultsOf(name: string): unknown[] {
  lines ??= execFileSync(process.execPath, [MAIN, 'all', '--quick', '--rounds', '1', '--json'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
    .trim()
    .split('\n');
  return lines.map((line): unknown => JSON.parse(line)).filter((result) => benchmarkOf(result) === name);
}

const benchmarkOf = (result: unknown): unknown =>
  typeof result === 'object' && result !== null && 'benchmark' in result ? result.benchmark : undefined;

for (const name of BENCHMARKS) {
  test(`bench ${name} runs at the smallest size`, () => {
    const results = resultsOf(name);
    assert.ok(results.length > 0);
    for (const result of results) {
      assert.ok(typeof result === 'object' && result !== null);
      for (const field of ['benchmark', 'name', 'ours', 'unit', 'peer', 'theirs', 'ratio', 'better', 'target', 'met'])
        assert.ok(field in result, field);
      assert.ok('ours' in result && typeof result.ours === 'number' && result.ours > 0);
      assert.ok('theirs' in result && (result.theirs === null ? 'skipped' in result : Number(result.theirs) > 0));
    }
  });
}

/** A server that sends back what it gets, and ends when its client has. */
async function echoServer(): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server;
}

test('a link of the benchmarks holds back what goes through it, in order, to the end', async () => {
  const server = await echoServer();
  const links = new Links();
  try {
    const { port } = server.address() as AddressInfo;
    assert.equal(await links.through(port, 0), port);
    const [slow, slower] = await Promise.all([links.through(port, 6), links.through(port, 12)]);
    for (const [through, roundTrip] of [
      [slow, 6],
      [slower, 12],
    ] as const) {
      const socket = connect({ port: through, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
      await once(socket, 'connect');
      const answer = once(socket, 'data');
      const begun = performance.now();
      socket.write('first ');
      const [first] = (await answer) as [Buffer];
      // Less than that is no link; more is a busy machine.
      assert.ok(performance.now() - begun >= roundTrip);
      let text = String(first);
      socket.setEncoding('utf8').on('data', (more: string) => (text += more));
      const words = Array.from({ length: 2000 }, (_, i) => `${i} `);
      for (const [i, word] of words.entries()) {
        socket.write(word);
        if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      socket.end();
      await once(socket, 'end');
      assert.equal(text, `first ${words.join('')}`);
    }
  } finally {
    await links.close();
    server.close();
  }
});

/** Results of one comparison: two of ours against a peer that ran, one that did not, and a limit. */
function sample(): Result[] {
  const common = { benchmark: 'b', unit: 'gets/s', range: null, better: 'higher', target: null, met: null, rounds: 1 } as const;
  return ['first', 'second (of two)'].flatMap((ours, i): Result[] => [
    { ...common, name: `get <all> (${ours})`, ours: 4000 * (i + 1), peer: 'peer & co', theirs: 2000, ratio: 2 * (i + 1) },
    { ...common, name: `get <all> (${ours})`, ours: 4000 * (i + 1), peer: 'absent', theirs: null, ratio: null, skipped: 'not there' },
    { ...common, name: `get <all> (${ours})`, ours: 4000 * (i + 1), peer: 'the limit set', theirs: 1, ratio: 4000 },
  ]);
}

test('a picture has a bar for everyone who ran, as long as the figure behind it says', () => {
  const svg = picture('b', [...sample(), ...sample().map((result) => ({ ...result, benchmark: 'another' }))]) ?? '';
  const bars = [...svg.matchAll(/<rect class="(ours|peer)" x="\d+" y="\d+" width="([\d.]+)"/g)].map(
    ([, who, width]) => [who, Number(width)] as const,
  );
  assert.deepEqual(
    bars.map(([who]) => who),
    ['ours', 'ours', 'peer'],
  );
  const [first = 0, second = 0, peer = 0] = bars.map(([, width]) => width);
  assert.ok(Math.abs(first - peer * 2) < 0.2 && Math.abs(second - peer * 4) < 0.2, String([first, second, peer]));
  assert.match(svg, />first<.*>4\.00 k\/s · 2\.00x<.*>second \(of two\)<.*· 4\.00x<.*>peer &amp; co<.*>2\.00 k\/s</s);
  assert.match(svg, />get &lt;all&gt;</);
  assert.equal(svg.split('<g ').length, svg.split('</g>').length);
  assert.equal(picture('nobody', sample()), undefined);
});

test('bench --from prints saved results and runs nothing', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'twizzler-from-'));
  try {
    const path = join(directory, 'results.jsonl');
    writeFileSync(
      path,
      sample()
        .map((result) => `${JSON.stringify(result)}\n`)
        .join(''),
    );
    const shown = (await printed('--from', path)).join('\n');
    assert.match(shown, /get <all> \(first\) +4,000 gets\/s +peer & co +2,000 gets\/s +2\.00 +higher/);
    assert.match(shown, /skipped: not there/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

/** T1, T3, T5, T8, T12, T14, T16: the benchmarks run, tiny, with every suite: so they never rot. What they print at that size is judged for form only. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Result } from '../bench/harness.ts';
import { picture } from '../bench/picture.ts';

const MAIN = fileURLToPath(new URL('../bench/main.js', import.meta.url));

function bench(...args: readonly string[]): string {
  return execFileSync(process.execPath, [MAIN, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

const BENCHMARKS = bench()
  .trim()
  .split('\n')
  .map((line) => line.split(' ')[0] ?? '');

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
  ]);
});

test('bench refuses an unknown name and an unknown flag', () => {
  for (const args of [['no-such'], ['walk', '--no-such']]) {
    assert.throws(() => execFileSync(process.execPath, [MAIN, ...args], { stdio: 'ignore' }), {
      status: 2,
    });
  }
});

for (const name of BENCHMARKS) {
  test(`bench ${name} runs at the smallest size`, () => {
    const results: unknown[] = bench(name, '--quick', '--json')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.ok(results.length > 0);
    for (const result of results) {
      assert.ok(typeof result === 'object' && result !== null);
      for (const field of ['benchmark', 'name', 'ours', 'unit', 'peer', 'theirs', 'ratio', 'better', 'target', 'met'])
        assert.ok(field in result, field);
      assert.ok('benchmark' in result && result.benchmark === name);
      assert.ok('ours' in result && typeof result.ours === 'number' && result.ours > 0);
      assert.ok('theirs' in result && (result.theirs === null ? 'skipped' in result : Number(result.theirs) > 0));
    }
  });
}

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

test('bench --from prints saved results and runs nothing', () => {
  const directory = mkdtempSync(join(tmpdir(), 'twizzler-from-'));
  try {
    const path = join(directory, 'results.jsonl');
    writeFileSync(
      path,
      sample()
        .map((result) => `${JSON.stringify(result)}\n`)
        .join(''),
    );
    const shown = bench('--from', path);
    assert.match(shown, /get <all> \(first\) +4,000 gets\/s +peer & co +2,000 gets\/s +2\.00 +higher/);
    assert.match(shown, /skipped: not there/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

/** T1, T3, T5, T8, T16: the benchmarks run, tiny, with every suite: so they never rot. What they print at that size is judged for form only. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

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
    'ycsb',
    'large',
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

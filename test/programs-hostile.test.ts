/** P5: hostile programs are contained and reported, and nobody else is harmed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { HOSTILE } from './hostile-programs.ts';

interface Became {
  readonly name: string;
  readonly error?: string;
  readonly message?: string;
  readonly result?: string;
  readonly n: number;
}

// V8 runs code that is new and code that is hot by different compilers.
for (const flags of [[], ['--no-liftoff'], ['--liftoff-only']]) {
  test(`P5: ${HOSTILE.length} hostile programs are contained, each with its error (${flags[0] ?? 'as V8 likes'})`, (t) => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-hostile-'));
    t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
    const child = fileURLToPath(new URL('./hostile-child.js', import.meta.url));
    const { stdout, stderr, status, signal } = spawnSync(process.execPath, [...flags, child, path.join(directory, 'space')], {
      encoding: 'utf8',
      timeout: 120_000,
    });
    const lines = stdout.split('\n').filter((line) => line !== '');
    const became = lines.map((line): Became => JSON.parse(line));
    const next = HOSTILE[became.length];
    assert.equal(signal, null, `killed by ${signal} in: ${next?.name ?? 'the end'}\n${stderr}`);
    assert.equal(status, 0, `failed in: ${next?.name ?? 'the end'}\n${stderr}`);
    assert.equal(became.length, HOSTILE.length);
    const wrong = HOSTILE.flatMap((hostile, i) => {
      const { error, message, result, n } = became[i] ?? { n: 0 };
      const right = hostile.error === undefined ? error === undefined && result === String(hostile.result) : error === hostile.error;
      return right && n === i + 2
        ? []
        : [`${hostile.name}: ${error ?? ''} ${message ?? ''} ${result ?? ''}, expected ${hostile.error ?? String(hostile.result)}`];
    });
    assert.deepEqual(wrong, []);
  });
}

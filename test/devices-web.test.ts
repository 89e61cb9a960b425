/** T17, T19: the example of a web server that has nothing but devices, run as a new user would run it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

test('T17, T19 examples/web: a server of devices is asked, killed, and another one serves', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'twizzler-web-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const main = fileURLToPath(new URL('../examples/web/main.js', import.meta.url));
  const child = spawn(process.execPath, [main, join(home, 'space')], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  let [told, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (told += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.deepEqual([code, errors], [0, '']);
  const lines = told.trim().split('\n');
  const served = lines.filter((line) => line.startsWith('127.'));
  assert.deepEqual(
    lines.filter((line) => !line.startsWith('127.')),
    [
      'asked for /: 200 made of objects',
      'asked for /time: the year is right',
      'asked for /random twice: two numbers',
      'asked for /nothing: 404 there is nothing',
      'asked for /later: 200 now',
      'killed; another one: 200 made of objects',
    ],
  );
  // By the console device. What a killed one had not written yet is not there.
  assert.deepEqual(served.slice(0, 2), ['127.0.0.1 GET / 200 OK', '127.0.0.1 GET /time 200 OK']);
});

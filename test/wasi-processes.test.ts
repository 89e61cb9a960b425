/** T21: programs of WASI in several processes at once, and in one that is killed. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { files, open } from '../src/index.ts';
import { checkSpace } from '../src/services/check.ts';
import { Ground } from './hosts.ts';
import { compiledC, noCompiler } from './wasi-found.ts';

const NEIGHBOUR = fileURLToPath(new URL('wasi-neighbour.js', import.meta.url));
const LINUX = { skip: noCompiler() };

/** Runs the program in a process of its own; it ends with the test at the latest. */
function started(t: TestContext, directory: string, path: string, file: string, ...more: string[]): ChildProcess {
  const child = spawn(process.execPath, [NEIGHBOUR, directory, path, file, ...more], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

function moduleFile(ground: Ground, name: string): string {
  const file = `${ground.directory}-${name}.wasm`;
  fs.writeFileSync(file, compiledC(name));
  return file;
}

test('T21: three processes run programs in one space, one of them in a single transaction', LINUX, async (t) => {
  const ground = new Ground('linux', t);
  ground.open().close();
  const posix = moduleFile(ground, 'posix');
  const ended = await Promise.all(
    [['/one'], ['/two'], ['/three', 'atomic']].map(async ([path = '', ...more]) => {
      const child = started(t, ground.directory, path, posix, ...more);
      const printed: string[] = [];
      child.stdout?.on('data', (piece: Buffer) => printed.push(piece.toString()));
      const [code] = await once(child, 'close');
      return [code, printed.join('')];
    }),
  );
  for (const each of ended) assert.deepEqual(each, [0, '662 checks, 0 failed\n']);
  assert.equal(checkSpace(ground.host, ground.directory).errors, 0);
});

const ROUNDS = 2;

test('T21: a process that is killed leaves its program’s files as they were at one moment, and a sound space', LINUX, async (t) => {
  const ground = new Ground('linux', t);
  ground.open().close();
  const writer = moduleFile(ground, 'writer');
  for (let round = 0; round < ROUNDS; round++) {
    const child = started(t, ground.directory, `/run-${round}`, writer);
    let seen = 0;
    for await (const piece of child.stdout ?? []) {
      seen += String(piece).length;
      if (seen > 2 + round) break;
    }
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    const space = open(ground.directory, { host: ground.host });
    const home = files(space);
    const numbers = (name: string): Uint32Array => {
      const bytes = home.read(`/run-${round}/${name}`);
      assert.equal(bytes.length % 4, 0, `${name} ends within a write`);
      return new Uint32Array(bytes.slice().buffer);
    };
    const [a, b, done] = [numbers('a'), numbers('b'), numbers('done')];
    assert.ok(a.length >= 2000 && (a.length === b.length || a.length === b.length + 1), `${a.length} and ${b.length} numbers`);
    assert.ok(a.every((n, i) => n === i) && b.every((n, i) => n === i));
    assert.ok(done.length === 10_000 && done.every((n) => n === done[0]), 'the file that was put in its place is whole');
    const last = done[0] ?? 0;
    assert.ok(last < b.length && b.length <= last + 2001, `it is of number ${last}, the others of ${b.length}`);
    t.diagnostic(`killed after ${b.length} numbers`);
    space.close();
    assert.equal(checkSpace(ground.host, ground.directory).errors, 0);
  }
});

/** P7: docs/programs-first.md takes a new user to a first program in six steps. This runs them as they stand there. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { packageFile } from '../src/host/tools.ts';
import { open } from '../src/index.ts';
import { programs } from '../src/services/programs.ts';
import { runTwz } from './twz.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-first-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

const page = fs.readFileSync(path.join(ROOT, 'docs/programs-first.md'), 'utf8');
const steps = [...page.matchAll(/^(\d)\. .*?```sh\n(.*?)```/gms)].map(([, number = '', command = '']) => ({
  number: Number(number),
  command: command.trim(),
}));

/** Runs one line of the page. */
function run(command: string): string {
  const [npx, twz, ...args] = command.split(/\s+/);
  assert.deepEqual([npx, twz], ['npx', 'twz'], command);
  const ran = runTwz({ args, cwd: scratch, input: '', env: { ...process.env, TWZ_SPACE: '' } });
  assert.equal(ran.code, 0, `${command}: ${ran.err}`);
  return ran.out;
}

test('P7: a new user writes, builds and runs a first program in six steps', (t) => {
  assert.deepEqual(
    steps.map(({ number }) => number),
    [1, 2, 3, 4, 5, 6],
  );
  const [install, ...others] = steps.map(({ command }) => command);
  // What the first step brings, without the network.
  assert.equal(install, 'npm install twizzler assemblyscript');
  const compiler = packageFile('assemblyscript/bin/asc.js', ROOT);
  if (compiler === undefined) {
    t.skip('needs the npm package assemblyscript');
    return;
  }
  fs.mkdirSync(path.join(scratch, 'node_modules'));
  fs.symlinkSync(ROOT, path.join(scratch, 'node_modules/twizzler'));
  fs.symlinkSync(path.join(path.dirname(compiler), '..'), path.join(scratch, 'node_modules/assemblyscript'));

  const said = others.map(run);
  assert.equal(said.at(-1), 'run number 1\n');
  assert.equal(run(others.at(-1) ?? ''), 'run number 2\n');

  const space = open(path.join(scratch, '.twizzler'));
  const compartment = programs(space).start(fs.readFileSync(path.join(scratch, 'counter.wasm')));
  assert.equal(compartment.call('times'), 2, 'the gate that it declares');
  assert.equal(compartment.name, 'counter');
  compartment.close();
  space.close();
});

/** T21: twz files, and twz run with programs of WASI. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { runTwz, type Ran } from './twz.ts';
import { compiledC, noCompiler } from './wasi-found.ts';
import { realHome } from './wasi-home.ts';

test('T21: twz files and twz run prog.wasm', { skip: noCompiler() }, (t) => {
  const { top, home } = realHome(t);
  const twz = (args: readonly string[], input = ''): Ran =>
    runTwz({ args, cwd: top, input, env: { ...process.env, TWZ_SPACE: `${top}/space`, NO_COLOR: '1' } });
  assert.equal(twz(['init', `${top}/space`]).code, 0);
  assert.match(twz(['files', 'import', home, '/site']).out, /^3 files, 2 directories, 1 link, .*\nleft out: absolute: /);
  assert.match(twz(['files', 'ls', '/site']).out, /file +5 B +1970-01-01 00:33:20 +a\.txt\ndirectory +sub/);
  assert.equal(twz(['files', 'put', '-', '/site/new'], 'from a pipe').code, 0);
  assert.equal(twz(['files', 'cat', '/site/new', '/site/sub/link']).out, 'from a pipehello');
  fs.writeFileSync(`${top}/hello.wasm`, compiledC('hello'));
  fs.writeFileSync(`${top}/ending.wasm`, compiledC('ending'));
  const hello = twz(['run', '--dir', '/site::/', `${top}/hello.wasm`, '--', 'you']);
  assert.deepEqual(hello, { code: 0, out: 'hello, you\n', err: '' });
  assert.match(twz(['install', `${top}/hello.wasm`]).out, /^\/bin\/hello {2}[0-9a-f]{32}\n$/);
  assert.deepEqual(twz(['run', '--dir', '/site::/', '/bin/hello', 'again']), { code: 0, out: 'hello, again\n', err: '' });
  assert.match(twz(['run', '/bin/none']).err, /NameMissing/);
  const trapped = twz(['run', '--atomic', '--dir', '/site::/', `${top}/ending.wasm`, 'trap']);
  assert.equal(trapped.code, 3);
  assert.match(trapped.err, /ProgramFault/);
});

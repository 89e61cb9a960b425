/** P7: programs are built from their sources, with what they declare; what cannot be built says why. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, test } from 'node:test';
import { isTwzError } from '../src/abi/errors.ts';
import { SYSCALL_ABI } from '../src/abi/syscalls.ts';
import { buildProgram } from '../src/services/build/build.ts';
import { compilersInstalled } from '../src/services/build/compilers.ts';
import { declarationsOf, takesMemory } from '../src/services/build/declarations.ts';
import { writeFirst } from '../src/services/build/first.ts';
import { programs } from '../src/services/programs.ts';
import { Ground } from './hosts.ts';

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-build-test-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));
const installed = await compilersInstalled();

let files = 0;
/** Writes a source in a directory of its own. */
function written(name: string, text: string, json?: string): string {
  const directory = path.join(scratch, String(++files));
  fs.mkdirSync(directory);
  fs.writeFileSync(path.join(directory, name), text);
  if (json !== undefined) fs.writeFileSync(path.join(directory, 'program.json'), json);
  return path.join(directory, name);
}

test('P7: what a program declares stands in its source, in program.json, or in both', () => {
  const source = '// program words\nint x;\n  // gate find(text, u32): text\n// gate none()\n// gateway(is, none)\n';
  assert.deepEqual(declarationsOf(source, undefined, 'program.json'), {
    abi: SYSCALL_ABI,
    name: 'words',
    gates: { find: { parameters: ['text', 'u32'], result: 'text' }, none: { parameters: [] } },
  });
  const both = declarationsOf(source, '{"name": "other", "gates": {"more": {"parameters": ["f64"]}}}', 'program.json');
  assert.equal(both.name, 'words');
  assert.deepEqual(Object.keys(both.gates ?? {}).sort(), ['find', 'more', 'none']);
  assert.equal(takesMemory(both), true);
  assert.equal(takesMemory(declarationsOf('// gate add(i32, f64): f64', undefined, '')), false);
  assert.deepEqual(declarationsOf('', undefined, ''), { abi: SYSCALL_ABI, gates: {} });
});

test('P7: declarations that are not well formed are refused by name', () => {
  for (const [source, json] of [
    ['// gate find text', undefined],
    ['// gate find(words)', undefined],
    ['// gate find(u32): nothing', undefined],
    ['// gate (u32)', undefined],
    ['', '{'],
    ['', '[]'],
    ['', '{"gates": []}'],
    ['', '{"gates": {"x": {}}}'],
    ['', '{"gates": {"x": {"parameters": ["u33"]}}}'],
    ['', '{"name": 3}'],
  ] as const)
    assert.throws(() => declarationsOf(source, json, 'program.json'), { name: 'ManifestInvalid' }, `${source}${json ?? ''}`);
});

test('P7: a source that is missing, or of no known language, is refused', async () => {
  await assert.rejects(buildProgram(path.join(scratch, 'none.c')), { name: 'FileMissing' });
  await assert.rejects(buildProgram(written('x.zig', '')), { name: 'InvalidArgument' });
  await assert.rejects(buildProgram(written('x', '')), { name: 'InvalidArgument' });
});

test('P7: a first program is written once, and its name is judged', () => {
  const directory = path.join(scratch, 'first');
  assert.deepEqual(
    writeFirst(directory, 'c').map((file) => path.basename(file)),
    ['types.ts', 'program.c'],
  );
  assert.throws(() => writeFirst(directory, 'c'), { name: 'NotEmpty' });
  for (const name of ['3', 'a b', 'a.b', '-x'])
    assert.throws(() => writeFirst(path.join(scratch, name), 'as'), { name: 'InvalidArgument' });
});

test('P7: without its compiler a source is not built, and the message says what to install', async () => {
  const { PATH } = process.env;
  process.env['PATH'] = path.join(scratch, 'nothing');
  try {
    await assert.rejects(buildProgram(written('x.c', 'int x;')), (error) => {
      assert.ok(isTwzError(error, 'CompilerMissing'));
      return /apt-get install clang lld/.test(error.message);
    });
  } finally {
    process.env['PATH'] = PATH;
  }
});

const GATES = `
#include "twizzler.h"
// program gates
// gate add(i32, f64): f64
// gate length(text): u32
// gate twice(text): text
TWZ_BUFFER(4096)
TWZ_EXPORT("add") double add(int32_t a, double b) { return a + b; }
TWZ_EXPORT("length") uint32_t length(const char *text, uint32_t length) { (void)text; return length; }
TWZ_EXPORT("twice") void twice(const char *text, uint32_t length) {
  static char made[256];
  if (length > 128) length = 128;
  __builtin_memcpy(made, text, length);
  __builtin_memcpy(made + length, text, length);
  twz_gate_result(made, 2 * length);
}
`;

test('P7: gates that a program in C declares are called with numbers and text', async (t) => {
  if (!installed.c) {
    t.skip('needs clang and lld');
    return;
  }
  const source = written('gates.c', GATES);
  const output = path.join(scratch, 'made/gates.wasm');
  const { manifest, bytes } = await buildProgram(source, { output });
  assert.equal(fs.statSync(output).size, bytes);
  assert.equal(manifest.name, 'gates');
  const space = new Ground('linux', t).open();
  const compartment = programs(space).start(fs.readFileSync(output));
  assert.equal(compartment.call('add', 2, 0.5), 2.5);
  assert.equal(compartment.call('length', 'Grüße'), 7);
  assert.equal(compartment.call('twice', 'ab☂'), 'ab☂ab☂');
  assert.equal(compartment.call('length', 'x'.repeat(4000)), 4000);
  assert.throws(() => compartment.call('hidden'), { name: 'GateMissing' });
  compartment.close();
});

test('P7: what the compiler refuses, and what is no program, is not built', async (t) => {
  if (!installed.c) {
    t.skip('needs clang and lld');
    return;
  }
  const refused = async (text: string, because: RegExp): Promise<void> => {
    const source = written('x.c', text);
    await assert.rejects(buildProgram(source), (error) => {
      assert.ok(isTwzError(error, 'BuildFailed'), String(error));
      assert.match(`${error.message} ${String(error.context['said'] ?? '')}`, because);
      return true;
    });
    assert.equal(fs.existsSync(source.replace('.c', '.wasm')), false);
  };
  await refused('#include "twizzler.h"\nTWZ_MAIN { return wrong; }', /undeclared identifier 'wrong'/);
  await refused('// gate missing()\n#include "twizzler.h"\nTWZ_MAIN { return 0; }', /exports no such function/);
  await refused(
    '// gate f(text)\n#include "twizzler.h"\nTWZ_EXPORT("f") void f(const char *a, uint32_t b) { (void)a; (void)b; }',
    /TWZ_BUFFER/,
  );
  await refused(
    'extern int other(void) __attribute__((import_module("elsewhere"), import_name("other")));\n#include "twizzler.h"\nTWZ_MAIN { return other(); }',
    /imports "elsewhere" "other"/,
  );
});

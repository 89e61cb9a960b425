/**
 * P7: what authors of programs use is what the host uses. The declarations of syscalls come from the one table, the structs of other languages
 * from the structs of TypeScript.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as station from '../examples/programs/station.ts';
import { SYSCALLS } from '../src/abi/syscalls.ts';
import {
  array,
  bool,
  bytes,
  f64,
  hashSet,
  i16,
  link,
  oneOf,
  optional,
  orderedMap,
  ref,
  struct,
  text,
  u32,
  u64,
  u8,
  vec,
} from '../src/index.ts';
import { layoutsAssemblyScript } from '../src/services/sdk/layouts-as.ts';
import { layoutsC } from '../src/services/sdk/layouts-c.ts';
import { layoutsRust } from '../src/services/sdk/layouts-rust.ts';
import { layoutsOf } from '../src/services/sdk/layouts.ts';
import { syscallsFor, syscallsMarkdown } from '../src/services/sdk/syscall-text.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-sdk-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

const stored = (file: string): string => fs.readFileSync(path.join(ROOT, file), 'utf8');

test('P7: the declarations for programs and the manual are what the table of syscalls gives', () => {
  const files = {
    'sdk/assemblyscript/twizzler/syscalls.ts': syscallsFor('as'),
    'sdk/c/syscalls.h': syscallsFor('c'),
    'sdk/rust/syscalls.rs': syscallsFor('rust'),
    'docs/syscalls.md': syscallsMarkdown(),
  };
  for (const [file, text] of Object.entries(files))
    assert.ok(stored(file) === text, `${file} is not what \`twz sdk --syscalls\` gives: write it again`);
  for (const { name, number } of SYSCALLS) {
    for (const [file, text] of Object.entries(files)) assert.ok(text.includes(name), `${file} has no ${name}`);
    assert.ok(files['docs/syscalls.md'].includes(`| ${number} | \`${name}(`), `the manual has no ${name}`);
  }
});

test('P7: numbers and names of syscalls are each used once', () => {
  const numbers = SYSCALLS.map(({ number }) => number);
  assert.equal(new Set(numbers).size, SYSCALLS.length);
  assert.equal(new Set(SYSCALLS.map(({ name }) => name)).size, SYSCALLS.length);
  assert.deepEqual(
    [...numbers].sort((a, b) => a - b),
    numbers,
  );
});

test('P7: the structs of the example, declared once, are those of all its programs', () => {
  const layouts = layoutsOf(station);
  assert.deepEqual(
    layouts.map(({ name }) => name),
    ['Place', 'Reading', 'Station'],
  );
  assert.equal(stored('examples/programs/assemblyscript/layouts.ts'), layoutsAssemblyScript(layouts));
  assert.equal(stored('examples/programs/c/layouts.h'), layoutsC(layouts, 'LAYOUTS_H_INCLUDED'));
  assert.equal(stored('examples/programs/rust/layouts.rs'), layoutsRust(layouts));
});

const Inner = struct('Inner', { a: u8, b: array(i16, 3), c: optional(f64) });
/** All kinds of fields, and names that other languages have for themselves. */
const Odd = struct('Odd', {
  yes: bool,
  type: u32,
  raw: bytes,
  to: link,
  inner: array(Inner, 2),
  o: optional(oneOf('a b', 'c"#')),
  m: orderedMap(u32, Inner),
  s: hashSet(text),
  get self() {
    return ref(Odd);
  },
  int: u64,
  get all() {
    return vec(ref(Odd));
  },
  t: array(text, 2),
  q: optional(Inner),
});

test('P7: a struct has the fingerprint, the schema and the offsets that the host has', () => {
  const layouts = layoutsOf({ Odd, more: 3, again: Odd });
  assert.deepEqual(
    layouts.map(({ name }) => name),
    ['Inner', 'Odd'],
    'what lies inline in another comes before it',
  );
  const { fingerprint, size, fields } = Odd.layout;
  const word = `0x${fingerprint.high.toString(16).padStart(8, '0')}${fingerprint.low.toString(16).padStart(8, '0')}`;
  for (const made of [layoutsAssemblyScript(layouts), layoutsC(layouts, 'ODD_H'), layoutsRust(layouts)]) {
    assert.ok(made.includes(word), `no fingerprint ${word}`);
    assert.ok(made.includes(`${size} bytes, version 1`));
  }
  const inC = layoutsC(layouts, 'ODD_H');
  for (const { name, offset } of fields) assert.match(inC, new RegExp(`offsetof\\(Odd, ${name}_?\\) == ${offset},`));
});

test('P7: two structs of one name are refused, as is a module without any', () => {
  assert.throws(() => layoutsOf({ a: struct('Same', { x: u8 }), b: struct('Same', { x: u32 }) }), { name: 'TypeInvalid' });
  assert.deepEqual(layoutsOf({ a: 1, b: undefined, c: vec(u8) }), []);
});

/** A compiler checks the assertions that are in what it is given. */
test('P7: a C compiler finds the offsets and sizes that the host lays out', (t) => {
  if (spawnSync('clang', ['--version']).status !== 0) {
    t.skip('clang is not installed');
    return;
  }
  fs.writeFileSync(path.join(scratch, 'odd.h'), layoutsC(layoutsOf({ Odd }), 'ODD_H'));
  const compile = (header: string): ReturnType<typeof spawnSync> => {
    fs.writeFileSync(path.join(scratch, 'odd.c'), `#include "${header}"\nOdd *use(void *o) { return Odd_self(Odd_root(o)); }\n`);
    const args = ['--target=wasm32', '-ffreestanding', '-fsyntax-only', '-Wall', '-Wextra', '-Werror', '-Wno-unused-function'];
    return spawnSync('clang', [...args, '-I', path.join(ROOT, 'sdk/c'), '-I', scratch, path.join(scratch, 'odd.c')], { encoding: 'utf8' });
  };
  const good = compile('odd.h');
  assert.equal(good.status, 0, String(good.stderr));
  fs.writeFileSync(path.join(scratch, 'bad.h'), layoutsC(layoutsOf({ Odd }), 'ODD_H').replace('uint32_t type;', 'uint64_t type;'));
  const bad = compile('bad.h');
  assert.notEqual(bad.status, 0);
  assert.match(String(bad.stderr), /another (offset|layout)/);
});

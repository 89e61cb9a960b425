/** T19: what the documents show works. Every `ts` example is compiled, strictly, and run; every link leads somewhere. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ERRORS } from '../src/index.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGES = [
  'README.md',
  'docs/guide.md',
  'docs/collections.md',
  'docs/collections-sequences.md',
  'docs/collections-trees.md',
  'docs/collections-graph.md',
  'docs/sharing.md',
  'docs/coming-from.md',
  'docs/processes.md',
  'docs/threads.md',
  'docs/programs.md',
  'docs/security.md',
  'docs/queues.md',
  'docs/devices.md',
  'docs/recipes.md',
  'docs/mobile-code.md',
  'docs/serve.md',
  'docs/wasi.md',
  'docs/sqlite.md',
];

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-docs-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

const page = (file: string): string => fs.readFileSync(path.join(ROOT, file), 'utf8');

interface Example {
  readonly line: number;
  readonly code: string;
  /** Fenced as `ts program`: it does not go on with the one before. */
  readonly begins: boolean;
}

function examplesOf(text: string): Example[] {
  return [...text.matchAll(/^```ts( program)?\n(.*?)^```$/gms)].map((match) => ({
    line: text.slice(0, match.index).split('\n').length + 1,
    code: match[2] ?? '',
    begins: match[1] !== undefined,
  }));
}

/** Fenced as `ts file:NAME.ts`: a module that the page's programs find beside them. */
const modulesOf = (text: string): { readonly name: string; readonly code: string }[] =>
  [...text.matchAll(/^```ts file:(\w+\.ts)\n(.*?)^```$/gms)].map(([, name = '', code = '']) => ({ name, code }));

/** A page is one program, but for the examples that begin another. */
function programsOf(examples: readonly Example[]): Example[][] {
  const programs: Example[][] = [];
  for (const example of examples) {
    if (example.begins || programs.length === 0) programs.push([]);
    programs.at(-1)?.push(example);
  }
  return programs;
}

/** `expression; // -> value` and `statement; // throws Name` become checks, on the line where they stand. */
function checked({ line, code }: Example, file: string): string {
  const lines = code.split('\n').map((text, i) => {
    const where = JSON.stringify(`${file}:${line + i}`);
    const gives = /^(\s*)(.+); \/\/ -> (.+)$/.exec(text);
    if (gives !== null) return `${gives[1] ?? ''}__equal(${gives[2] ?? ''}, ${gives[3] ?? ''}, ${where});`;
    const throws = /^(\s*)(.+); \/\/ throws (\w+)$/.exec(text);
    if (throws !== null) return `${throws[1] ?? ''}__throws(() => { ${throws[2] ?? ''}; }, '${throws[3] ?? ''}', ${where});`;
    return text;
  });
  return lines.join('\n');
}

const CHECKS = `import __assert from 'node:assert/strict';
const __counted = globalThis as { __checks?: number };
function __count(): void { __counted.__checks = (__counted.__checks ?? 0) + 1; }
function __equal(actual: unknown, expected: unknown, where: string): void {
  __count();
  try { __assert.deepEqual(actual, expected); } catch (error) { throw new Error(where, { cause: error }); }
}
function __throws(body: () => void, name: string, where: string): void { __count(); __assert.throws(body, (error) => error instanceof Error && error.name === name, where); }
`;

function project(): void {
  fs.mkdirSync(path.join(scratch, 'node_modules/@types'), { recursive: true });
  fs.symlinkSync(ROOT, path.join(scratch, 'node_modules/twizzler'));
  fs.symlinkSync(path.join(ROOT, 'node_modules/@types/node'), path.join(scratch, 'node_modules/@types/node'));
  fs.writeFileSync(path.join(scratch, 'package.json'), '{ "type": "module" }');
  const compilerOptions = {
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: true,
    types: ['node'],
  };
  fs.writeFileSync(path.join(scratch, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
}

test('T19 docs: every example compiles and gives what it says', (t) => {
  project();
  let examples = 0;
  const programs: string[] = [];
  for (const file of PAGES) {
    const found = examplesOf(page(file));
    examples += found.length;
    for (const { name, code } of modulesOf(page(file))) fs.writeFileSync(path.join(scratch, name), code, { flag: 'wx' });
    for (const [i, program] of programsOf(found).entries()) {
      const name = `${file.replaceAll(/\W/g, '-')}-${i}`;
      fs.writeFileSync(
        path.join(scratch, `${name}.ts`),
        `${CHECKS}\n${program.map((example) => `// ${file}:${example.line}\n${checked(example, file)}`).join('\n')}`,
      );
      programs.push(`${name}.js`);
    }
  }
  const tsc = spawnSync(process.execPath, [path.join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', scratch], { encoding: 'utf8' });
  assert.equal(tsc.status, 0, tsc.stdout + tsc.stderr);
  // One after the other in one process: to load the package takes longer than most of them do.
  const all = programs.map((program) => `await import('./${program}');\nconsole.log('${program} has ended');\n`).join('');
  fs.writeFileSync(path.join(scratch, 'all.js'), `${all}console.log(globalThis.__checks);\n`);
  const ran = spawnSync(process.execPath, ['all.js'], { cwd: scratch, encoding: 'utf8' });
  assert.equal(ran.status, 0, ran.stdout + ran.stderr);
  // The last line; examples may print, too.
  const checks = Number(ran.stdout.trim().split('\n').at(-1));
  t.diagnostic(`${examples} examples, ${checks} checks`);
  assert.ok(examples >= 12 && checks >= 40, 'read too little');
});

// --- links and names --------------------------------------------------------------------------------------------------------

/** All Markdown of the project. */
function* markdown(directory = ''): Generator<string> {
  for (const entry of fs.readdirSync(path.join(ROOT, directory), { withFileTypes: true })) {
    const file = path.posix.join(directory, entry.name);
    if (entry.isDirectory()) {
      if (!['node_modules', 'dist', '.git'].includes(entry.name)) yield* markdown(file);
    } else if (file.endsWith('.md')) yield file;
  }
}

const anchorsOf = (text: string): Set<string> =>
  new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
      title
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    ),
  );

test('T19 docs: every link leads to a file, and to a heading in it', (t) => {
  let links = 0;
  for (const file of markdown()) {
    const text = page(file).replaceAll(/^```.*?^```$/gms, '');
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      links++;
      const [to = '', anchor] = target.split('#');
      const where = to === '' ? file : path.posix.join(path.posix.dirname(file), to);
      assert.ok(fs.existsSync(path.join(ROOT, where)), `${file}: ${target}`);
      if (anchor !== undefined) assert.ok(anchorsOf(page(where)).has(anchor), `${file}: ${target}`);
    }
  }
  t.diagnostic(`${links} links`);
  assert.ok(links > 30, 'read too little');
});

test('T19 docs: error names in the documents exist', () => {
  const names = new Set(Object.keys(ERRORS));
  for (const file of PAGES) {
    for (const [, name = ''] of page(file).matchAll(
      /; \/\/ throws (\w+)$|`((?:Object|Space|Name|Type|Pointer|Fot|Log|Snapshot|Transaction)[A-Z]\w+)`/gm,
    )) {
      if (name !== '' && name !== 'Error') assert.ok(names.has(name), `${file}: ${name}`);
    }
  }
});

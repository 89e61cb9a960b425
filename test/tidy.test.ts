/**
 * House rules, held by a test: which layer may import which, and what no file may contain. A breach is printed as path:line. The gate says
 * how much it read and fails if that is too little, and each rule is shown a breach that it must find.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import * as path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/**
 * A layer imports itself and what is listed. `entry` is src/*.ts: it wires the layers together. Naming is built on the entry, because
 * namespaces are objects like those of any program; it is the one service that needs the kernel's own creation of well-known objects.
 */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  abi: [],
  host: ['abi'],
  kernel: ['abi', 'host'],
  lib: ['abi'],
  // The monitor of programs: it maps objects by the kernel's handles, with the host's windows.
  runtime: ['abi', 'host', 'kernel', 'lib'],
  services: ['abi', 'host', 'kernel', 'lib', 'runtime', 'entry'],
  entry: ['abi', 'host', 'kernel', 'lib', 'runtime', 'services'],
  cli: ['abi', 'host', 'kernel', 'lib', 'runtime', 'services', 'entry'],
  testing: ['abi', 'host', 'kernel', 'lib', 'runtime', 'services', 'entry'],
};

/** The client of the engine: one file has it. */
const NATS = ['@nats-io/nkeys', '@nats-io/transport-node'];

/** Packages and Node's modules, by layer. What reaches outside the process is in HOST_ONLY, and of the rest only these layers have any. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  host: ['koffi', 'amaro'],
  cli: ['commander', 'cli-table3'],
  // Optional, each loaded for the format that it reads.
  services: ['node-sqlite3-wasm', 'hyparquet', 'hyparquet-writer', 'msgpackr', 'ordered-binary', ...NATS],
};
const HOST_ONLY = /^node:(fs|net|http|http2|https|tls|dgram|dns|crypto|child_process|worker_threads|cluster|vm|v8|process)(\/|$)/;
const NODE_MODULES_IN: ReadonlySet<string> = new Set(['host', 'cli', 'testing']);

/** Programs of their own: they print and read the command line, as cli/ does. */
const MAINS: ReadonlySet<string> = new Set([
  'src/testing/sim.ts',
  'src/testing/cluster-check.ts',
  'src/testing/crash.ts',
  'src/testing/crowd.ts',
  'src/testing/crowd-member.ts',
  'src/testing/crowd-run.ts',
  'src/testing/cluster-crowd.ts',
  'src/testing/cluster-crowd-member.ts',
  'src/testing/cluster-crowd-run.ts',
  'src/testing/guest-fuzz-run.ts',
  'src/testing/victim.ts',
  'src/testing/fuzz.ts',
  'src/testing/grind.ts',
  'src/testing/wasi-grind.ts',
  'src/services/threads/main.ts',
  'src/services/modules/main.ts',
]);

/** Breaches that stand, each with its reason. One that is no longer there is a breach, too. */
const STANDING: readonly { readonly rule: string; readonly file: string; readonly code: string; readonly because: string }[] = [
  {
    rule: 'print',
    file: 'src/space.ts',
    code: 'console.error',
    because: 'the default for the one line that says why the portable host is used',
  },
  {
    rule: 'print',
    file: 'src/host/console.ts',
    code: 'process.stdin',
    because: 'the console device is the terminal of the program that asks for it',
  },
  {
    rule: 'print',
    file: 'src/host/console.ts',
    code: 'process.stdout',
    because: 'the console device is the terminal of the program that asks for it',
  },
  {
    rule: 'any',
    file: 'src/lib/struct.ts',
    code: 'any',
    because: 'a tighter constraint makes TypeScript resolve getters that refer to the struct being declared',
  },
];

// --- reading ------------------------------------------------------------------------------------------------------------------

interface Source {
  readonly file: string;
  /** src, test, bench or examples. */
  readonly area: string;
  /** The layer, in src. */
  readonly layer: string;
  readonly text: string;
  /** The text with comments and the insides of strings blanked, at the same positions. */
  readonly code: string;
}

interface Breach {
  readonly rule: string;
  readonly file: string;
  readonly line: number;
  readonly code: string;
  readonly message: string;
}

/** Blanks comments, strings, templates (not what is in `${}`) and regular expressions. */
function blank(text: string): string {
  const out = text.split('');
  const clear = (from: number, to: number): void => {
    for (let i = from; i < to; i++) if (out[i] !== '\n') out[i] = ' ';
  };
  const braces: number[] = [];
  let depth = 0;
  const template = (from: number): number => {
    for (let i = from; i < text.length; i++) {
      if (text[i] === '\\') i++;
      else if (text[i] === '`') {
        clear(from, i);
        return i + 1;
      } else if (text[i] === '$' && text[i + 1] === '{') {
        clear(from, i);
        braces.push(depth++);
        return i + 2;
      }
    }
    return text.length;
  };
  for (let i = 0; i < text.length;) {
    const c = text[i] ?? '';
    const rest = text.slice(i, i + 2);
    if (rest === '//' || rest === '/*') {
      const end = text.indexOf(rest === '//' ? '\n' : '*/', i + 2);
      const to = end < 0 ? text.length : rest === '//' ? end : end + 2;
      clear(i, to);
      i = to;
    } else if (c === "'" || c === '"') {
      let to = i + 1;
      while (to < text.length && text[to] !== c && text[to] !== '\n') to += text[to] === '\\' ? 2 : 1;
      clear(i + 1, to);
      i = to + 1;
    } else if (c === '`') i = template(i + 1);
    else if (c === '/' && /(?:^|[=(,:;!&|?{}[\n]|\breturn|=>)\s*$/.test(out.slice(Math.max(0, i - 40), i).join(''))) {
      let to = i + 1;
      for (let set = false; to < text.length && text[to] !== '\n' && (set || text[to] !== '/'); to++) {
        if (text[to] === '\\') to++;
        else if (text[to] === '[') set = true;
        else if (text[to] === ']') set = false;
      }
      clear(i + 1, to);
      i = to + 1;
    } else if (c === '}' && braces.length > 0 && braces[braces.length - 1] === depth - 1) {
      depth = braces.pop() ?? 0;
      i = template(i + 1);
    } else {
      if (c === '{') depth++;
      else if (c === '}') depth--;
      i++;
    }
  }
  return out.join('');
}

function source(file: string, text: string): Source {
  const [area = '', second = ''] = file.split('/');
  const layer = area !== 'src' ? '' : file.split('/').length === 2 ? 'entry' : second;
  return { file, area, layer, text, code: blank(text) };
}

const lineOf = (text: string, at: number): number => text.slice(0, at).split('\n').length;

// --- rules ------------------------------------------------------------------------------------------------------------------

type Rule = (s: Source) => Iterable<{ readonly at: number; readonly code: string; readonly message: string }>;

/** A rule that forbids what a pattern finds in the code, comments and strings apart. */
const forbid = (pattern: RegExp, message: string, where: (s: Source) => boolean = () => true): Rule =>
  function* (s) {
    if (!where(s)) return;
    for (const match of s.code.matchAll(new RegExp(pattern, 'g'))) yield { at: match.index, code: match[0].trim(), message };
  };

interface Import {
  readonly at: number;
  readonly specifier: string;
}

function* importsOf(s: Source): Generator<Import> {
  for (const match of s.code.matchAll(/(?:\bfrom|\bimport|\brequire\([^()'"]*\)|\bcreateRequire\([^)]*\))\s*\(?\s*(['"])/g)) {
    const start = match.index + match[0].length;
    yield { at: start, specifier: s.text.slice(start, s.text.indexOf(match[1] ?? '', start)) };
  }
}

const ruleImports: Rule = function* (s) {
  for (const { at, specifier } of importsOf(s)) {
    if (!specifier.startsWith('.')) {
      if (s.area !== 'src') continue;
      if (specifier.startsWith('node:') ? !NODE_MODULES_IN.has(s.layer) : !(PACKAGES[s.layer] ?? []).includes(specifier)) {
        yield { at, code: specifier, message: `${s.layer} does not import ${specifier}` };
      } else if (HOST_ONLY.test(specifier) && s.layer !== 'host' && s.layer !== 'testing')
        yield { at, code: specifier, message: `only host/ imports ${specifier}` };
      continue;
    }
    if (!specifier.endsWith('.ts')) yield { at, code: specifier, message: 'a relative import names a .ts file' };
    const target = path.posix.join(path.posix.dirname(s.file), specifier);
    if (s.area !== 'src') continue;
    const to = source(target, '').layer;
    if (to === '') yield { at, code: specifier, message: 'src/ imports src/ only' };
    else if (to !== s.layer && !(LAYERS[s.layer] ?? []).includes(to))
      yield { at, code: specifier, message: `${s.layer} does not import ${to}` };
  }
};

const LINES_MAX = 700;
const ruleLength: Rule = function* (s) {
  const lines = s.text.split('\n').length - 1;
  if (lines > LINES_MAX) yield { at: s.text.length - 1, code: String(lines), message: `${lines} lines; split it at ${LINES_MAX}` };
};

const ruleFileName: Rule = function* (s) {
  if (/(^|\/)(utils?|common|helpers?|types|misc|shared)(\.ts$|\/)/.test(s.file))
    yield { at: 0, code: s.file, message: 'a name that says nothing' };
};

const ruleLayer: Rule = function* (s) {
  if (s.area === 'src' && !(s.layer in LAYERS)) yield { at: 0, code: s.layer, message: `src/${s.layer}/ is not a layer` };
};

/** Comments and strings count here. */
const ruleWords: Rule = function* (s) {
  if (s.file === 'test/tidy.test.ts') return;
  for (const match of s.text.matchAll(/\b(TODO|FIXME|XXX|HACK)\b|@ts-(ignore|nocheck)|@ts-expect-error(?!: )/g))
    yield { at: match.index, code: match[0], message: 'finish it, or write an issue' };
  for (const match of s.text.matchAll(/(?<![\w.:/])\/(home|root|work|Users)\/\w+/g))
    yield { at: match.index, code: match[0], message: 'a path of one machine' };
};

const ruleFeature: Rule = function* (s) {
  if (s.area === 'test' && s.file.endsWith('.test.ts') && s.file !== 'test/tidy.test.ts' && !/\b[TPGMS]\d{1,2}\b/.test(s.text)) {
    yield { at: 0, code: '', message: 'a test file names the features that it shows (T8, …)' };
  }
};

const prints = (s: Source): boolean => s.area === 'src' && s.layer !== 'cli' && !MAINS.has(s.file);
const inSrc = (s: Source): boolean => s.area === 'src';
const timeless = (s: Source): boolean => inSrc(s) && s.layer !== 'host' && s.layer !== 'cli' && !MAINS.has(s.file);

const RULES: Readonly<Record<string, Rule>> = {
  imports: ruleImports,
  layer: ruleLayer,
  length: ruleLength,
  'file name': ruleFileName,
  words: ruleWords,
  feature: ruleFeature,
  any: forbid(/(?<=(?::|\bas|<|\||&|=>)\s*)any\b(?!\s*[:(.])|(?<=,\s*)any(?=\s*>)/, 'no any', (s) => inSrc(s) || s.area === 'test'),
  'double cast': forbid(/\bas unknown as\b/, 'no `as unknown as`'),
  'non-null': forbid(/[\w$)\]]!(?![=\w])/, 'no `!` for what may be missing', inSrc),
  'empty catch': forbid(/\bcatch\s*(?:\([^)]*\))?\s*\{\s*\}/, 'an error is handled, or passed on'),
  'dropped rejection': forbid(
    /\.catch\(\s*\(?\w*\)?\s*=>\s*(?:\{\s*\}|undefined|null)\s*\)/,
    'a rejection is handled, or passed on',
    inSrc,
  ),
  clock: forbid(/\bDate\.now\b|\bnew Date\b|\bMath\.random\b/, 'time and chance come from the host', (s) => inSrc(s) && s.layer !== 'host'),
  timer: forbid(/\bperformance\.now\b|\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/, 'time comes from the host', timeless),
  print: forbid(
    /\bconsole\.\w+|\bprocess\.(?:stdout|stderr|stdin|env|argv|exit\w*)\b/,
    'only cli/ prints or reads the environment',
    prints,
  ),
  'default export': forbid(/\bexport\s+default\b/, 'exports have names'),
  enum: forbid(/\b(?:const\s+)?enum\s+\w/, 'no enums: a constant object'),
  'interface name': forbid(/\b(?:interface|class)\s+(?:I[A-Z][a-z]\w*|\w+Manager)\b/, 'no I prefix, no Manager'),
  sleep: forbid(
    /\bsetTimeout\s*\(\s*(?:resolve|r|done)\b|\btimers\/promises|\bsleep\(/,
    'a test waits for what happens, not for time',
    (s) => s.area === 'test',
  ),
  focus: forbid(/\b(?:test|describe|it)\.(?:only|todo)\b/, 'no test is left out', (s) => s.area === 'test'),
};

function* breachesIn(s: Source, rules: Readonly<Record<string, Rule>> = RULES): Generator<Breach> {
  for (const [rule, find] of Object.entries(rules)) {
    for (const { at, code, message } of find(s)) yield { rule, file: s.file, line: lineOf(s.text, at), code, message };
  }
}

// --- the gate ---------------------------------------------------------------------------------------------------------------

/** Not TypeScript: packages, and programs in AssemblyScript, whose files are named alike. */
const OTHERS: ReadonlySet<string> = new Set(['node_modules', 'assemblyscript']);

/** All TypeScript below a directory, without declarations. */
function* filesIn(directory: string): Generator<string> {
  if (!existsSync(path.join(ROOT, directory))) return;
  for (const entry of readdirSync(path.join(ROOT, directory), { withFileTypes: true })) {
    const file = `${directory}/${entry.name}`;
    if (entry.isDirectory()) {
      if (!OTHERS.has(entry.name)) yield* filesIn(file);
    } else if (file.endsWith('.ts') && !file.endsWith('.d.ts')) yield file;
  }
}

const sources = ['src', 'test', 'bench', 'examples', 'scripts'].flatMap((area) =>
  [...filesIn(area)].sort().map((file) => source(file, readFileSync(path.join(ROOT, file), 'utf8'))),
);

test('tidy: the house rules hold', (t) => {
  const standing = new Set(STANDING);
  const breaches: string[] = [];
  let lines = 0;
  let imports = 0;
  for (const s of sources) {
    lines += s.text.split('\n').length - 1;
    imports += [...importsOf(s)].length;
    for (const breach of breachesIn(s)) {
      const allowed = STANDING.find(({ rule, file, code }) => rule === breach.rule && file === breach.file && code === breach.code);
      if (allowed === undefined) breaches.push(`${breach.file}:${breach.line}: ${breach.rule}: ${breach.message} (${breach.code})`);
      else standing.delete(allowed);
    }
  }
  for (const { rule, file, code } of standing) breaches.push(`${file}:1: ${rule}: "${code}" may stand and does not: take it off the list`);
  t.diagnostic(`${sources.length} files, ${lines} lines, ${imports} imports, ${Object.keys(RULES).length} rules`);
  assert.equal(breaches.length, 0, `\n${breaches.join('\n')}\n`);
  for (const layer of ['abi', 'host', 'kernel', 'lib', 'services', 'entry', 'cli'])
    assert.ok(
      sources.some((s) => s.layer === layer),
      `read nothing of ${layer}`,
    );
  assert.ok(sources.length > 80 && lines > 8000 && imports > 300, 'read too little');
});

const CANARIES: readonly (readonly [rule: string, file: string, text: string])[] = [
  ['imports', 'src/lib/a.ts', "import type { Kernel } from '../kernel/kernel.ts';"],
  ['imports', 'src/kernel/a.ts', "import { x } from '../lib/struct.ts';"],
  ['imports', 'src/kernel/a.ts', "import * as fs from 'node:fs';"],
  ['imports', 'src/cli/a.ts', "import { readFileSync } from 'node:fs';"],
  ['imports', 'src/kernel/a.ts', "const sqlite = await import('node-sqlite3-wasm');"],
  ['imports', 'src/services/a.ts', "const koffi = await import('koffi');"],
  ['imports', 'src/host/a.ts', "const fs = createRequire(import.meta.url)('left-pad');"],
  ['imports', 'src/abi/a.ts', "import { x } from './b.js';"],
  ['imports', 'src/abi/a.ts', "export { x } from '../../test/b.ts';"],
  ['layer', 'src/plumbing/a.ts', ''],
  ['length', 'test/a.ts', '\n'.repeat(701)],
  ['file name', 'src/lib/utils.ts', ''],
  ['words', 'src/lib/a.ts', '// TODO: later'],
  ['words', 'bench/a.ts', "const where = '/home/me';"],
  ['feature', 'test/a.test.ts', "test('works', () => {});"],
  ['any', 'src/lib/a.ts', 'const x: any = 1;'],
  ['double cast', 'src/lib/a.ts', 'x as unknown as string'],
  ['non-null', 'src/lib/a.ts', 'list[0]!.name'],
  ['empty catch', 'src/lib/a.ts', 'try { f(); } catch (error) { /* never mind */ }'],
  ['dropped rejection', 'src/lib/a.ts', 'void f().catch(() => {});'],
  ['clock', 'src/kernel/a.ts', 'const now = `${Date.now()}`;'],
  ['timer', 'src/services/a.ts', 'setTimeout(f, 1);'],
  ['print', 'src/kernel/a.ts', 'console.log(1)'],
  ['default export', 'src/lib/a.ts', 'export default 1;'],
  ['enum', 'src/lib/a.ts', 'const enum Kind { a }'],
  ['interface name', 'src/lib/a.ts', 'class ObjectManager {}'],
  ['sleep', 'test/a.ts', 'await new Promise((resolve) => setTimeout(resolve, 10));'],
  ['focus', 'test/a.ts', "test.only('T1', f);"],
];

test('tidy: each rule finds the breach that it is for, and nothing in clean code', () => {
  for (const [rule, file, text] of CANARIES) {
    const found = [...breachesIn(source(file, text))].map((breach) => breach.rule);
    assert.deepEqual(found, [rule], `${file}: ${text.slice(0, 60)}`);
  }
  assert.deepEqual(
    Object.keys(RULES).filter((rule) => !CANARIES.some(([name]) => name === rule)),
    [],
  );
  const clean =
    "/* any as unknown as enum X */ const a = 'catch {} any'; const b = /any!/; const c = `any ${a} as unknown as`; if (a !== b && !c) f(a);";
  assert.deepEqual([...breachesIn(source('src/lib/a.ts', clean))], []);
});

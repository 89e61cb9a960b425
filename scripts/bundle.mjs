/**
 * Joins what the compiler wrote into few files, so that a process or a thread that begins loads ten of them in place of hundreds: most of what
 * `twz` and a worker took to begin was resolving, opening and compiling one small module after the other. See docs/decisions/0033.
 *
 * Each module keeps its path: what is there afterwards gives the same names out of the file into which it was joined. A checkout in which only
 * the compiler ran works the same, and slower.
 */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { parseAst } from 'rolldown/parseAst';

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
/** What the compiler wrote, for those who change it on purpose (the simulation's broken kernels). */
const PLAIN = path.join(DIST, 'plain');

/**
 * Files and the modules that they are for: each has what those import and no file before it has, so imports lead to earlier files only.
 * Threads that only sleep or watch have the first, so that they do not load the rest.
 */
const FILES = [
  ['threads', ['ticker-thread', 'watchdog-thread', 'userfault-thread', 'sleeper'].map((name) => `src/host/linux/${name}.js`), false],
  ['space', ['src/index.js'], true],
  [
    'services',
    ['tools', 'services/import', 'services/interchange', 'services/sqlite', 'services/streams'].map((name) => `src/${name}.js`),
    true,
  ],
  ['cluster', ['src/services/cluster/cluster.js'], true],
  ['memory', ['src/host/memory-host.js'], true],
  [
    'testing',
    [
      'testing/index',
      'testing/crowd-run',
      'testing/cluster-crowd-run',
      'testing/life',
      'testing/killing',
      'host/linux/ticker',
      'host/typescript',
    ].map((name) => `src/${name}.js`),
    true,
  ],
  ['twz', ['src/cli/program.js'], true],
];

/** What there is of src; not what an earlier build left of sources that are gone. */
function modules() {
  return fs
    .readdirSync(path.join(DIST, '../src'), { recursive: true })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map((name) => path.posix.join('src', `${name.slice(0, -3)}.js`));
}

function staticImports(module) {
  const tree = parseAst(fs.readFileSync(path.join(DIST, module), 'utf8'));
  return tree.body
    .filter(({ source }) => source?.value.startsWith('.'))
    .map(({ source }) => path.posix.join(path.posix.dirname(module), source.value));
}

/** Which file each module goes into; those in none stay alone. */
function shares() {
  const share = new Map();
  for (const [file, heads, joined] of FILES) {
    const own = new Set(heads);
    for (const module of own) if (!share.has(module)) for (const next of staticImports(module)) own.add(next);
    // Who runs as it is loaded is loaded by whom it is meant for alone.
    for (const module of own) if (!share.has(module) && (joined || !heads.includes(module))) share.set(module, file);
  }
  return share;
}

function* metaProperties(node) {
  if (node.type === 'MemberExpression' && node.object.type === 'MetaProperty') yield node;
  else for (const child of Object.values(node)) if (typeof child === 'object' && child !== null) yield* metaProperties(child);
}

/** `import.meta.url` of a module that moves into another file, as it was. `askers` gets those that use it and are in none of FILES. */
function keepPlace(share, askers) {
  return {
    name: 'keep-place',
    transform: {
      filter: { code: 'import.meta' },
      handler(code, id) {
        const module = path.posix.relative(DIST, id);
        if (!share.has(module)) {
          if (path.isAbsolute(id)) askers.add(id);
          return null;
        }
        let out = code;
        for (const { start, end, property } of [...metaProperties(parseAst(code))].toReversed()) {
          if (property.name !== 'url') throw new Error(`${module}: import.meta.${property.name} of a module that is joined with others`);
          out = `${out.slice(0, start)}new URL('../${module}', import.meta.url).href${out.slice(end)}`;
        }
        return out;
      },
    },
  };
}

async function main() {
  fs.rmSync(path.join(DIST, 'joined'), { recursive: true, force: true });
  const share = shares();
  const askers = new Set();
  const all = modules();
  const bundle = await rolldown({
    input: Object.fromEntries(all.map((module) => [module.slice(0, -3), path.join(DIST, module)])),
    external: (id) => !id.startsWith('.') && !path.isAbsolute(id),
    platform: 'node',
    treeshake: false,
    preserveEntrySignatures: 'allow-extension',
    plugins: [keepPlace(share, askers)],
  });
  const { output } = await bundle.generate({
    format: 'es',
    entryFileNames: '[name].js',
    chunkFileNames: 'joined/[name].js',
    keepNames: true,
    minify: false,
    comments: false,
    codeSplitting: {
      includeDependenciesRecursively: false,
      groups: [{ debugName: 'files', name: (id) => share.get(path.posix.relative(DIST, id)) ?? null }],
    },
  });
  fs.rmSync(PLAIN, { recursive: true, force: true });
  for (const module of all) {
    fs.mkdirSync(path.dirname(path.join(PLAIN, module)), { recursive: true });
    fs.copyFileSync(path.join(DIST, module), path.join(PLAIN, module));
  }
  for (const { fileName, code, moduleIds } of output) {
    const lost = moduleIds.find((id) => fileName.startsWith('joined/') && askers.has(id));
    if (lost !== undefined) throw new Error(`${lost} asks where it is and would be moved: put it into one of FILES`);
    fs.mkdirSync(path.dirname(path.join(DIST, fileName)), { recursive: true });
    fs.writeFileSync(path.join(DIST, fileName), code);
  }
}

await main();

/**
 * npm run bench                     lists the benchmarks
 * npm run bench -- NAME… | all      runs them and prints a table
 *   --json                          one line of JSON a result instead
 *   --markdown                      writes docs/benchmarks as well: the page, its pictures, and results.jsonl (with all or --from)
 *   --from FILE                     takes the results from lines of JSON that --json printed, and runs nothing
 *   --quick                         tiny sizes, all in this process, nothing warmed up: shows that everything runs, judges nothing
 *   --rounds N                      rounds a figure is the median of (7; 2 when quick)
 *   --entries N                     how many entries, for those that take it (large, ycsb)
 *   --directory DIR                 where the data goes (the system's temporary directory)
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { durable } from './durable.ts';
import { smallrun, view } from './exchange.ts';
import { closeGround } from './ground.ts';
import type { Benchmark, Context, Result } from './harness.ts';
import { kv, kvInteger } from './kv.ts';
import { large } from './large.ts';
import { load } from './load.ts';
import { memory } from './memory.ts';
import { bulk, packed, prefetch, touch } from './mobility.ts';
import { open } from './open.ts';
import { ROOT } from './peers.ts';
import { paging } from './paging.ts';
import { picture } from './picture.ts';
import { pointer } from './pointer.ts';
import { programsBenchmark } from './programs.ts';
import { put } from './put.ts';
import { queues } from './queues.ts';
import { receive } from './receive.ts';
import { redBlackTree } from './red-black-tree.ts';
import { relaxed } from './relaxed.ts';
import { rendezvous } from './rendezvous.ts';
import { reuse } from './reuse.ts';
import { markdown, table } from './report.ts';
import { scan } from './scan.ts';
import { security } from './security.ts';
import { sharing } from './sharing.ts';
import { sqlite } from './sqlite.ts';
import { sync } from './sync.ts';
import { walk } from './walk.ts';
import { ycsb } from './ycsb.ts';

const BENCHMARKS: readonly Benchmark[] = [
  walk,
  pointer,
  relaxed,
  durable,
  open,
  memory,
  kv,
  kvInteger,
  scan,
  load,
  put,
  redBlackTree,
  sync,
  ycsb,
  sharing,
  large,
  queues,
  programsBenchmark,
  security,
  sqlite,
  rendezvous,
  receive,
  paging,
  touch,
  prefetch,
  bulk,
  packed,
  smallrun,
  view,
  reuse,
];

export class UsageError extends Error {}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001B[K${text}`);
}

interface Settings {
  readonly quick: boolean;
  readonly rounds: number;
  readonly parent: string;
  readonly entries?: number;
}

async function runHere(benchmark: Benchmark, settings: Settings, report: (result: Result) => void): Promise<void> {
  const directory = mkdtempSync(join(settings.parent, 'twizzler-bench-'));
  const context: Context = {
    quick: settings.quick,
    rounds: settings.rounds,
    directory,
    size: (full, quick) => (settings.quick ? quick : full),
    progress,
    report,
    ...(settings.entries === undefined ? {} : { entries: settings.entries }),
  };
  try {
    await benchmark.run(context);
  } finally {
    rmSync(directory, { recursive: true, force: true });
    progress('');
  }
}

/** Another process: neither the heap nor the compiled code of one benchmark shall bear on the next. */
async function runApart(benchmark: Benchmark, settings: Settings, report: (result: Result) => void): Promise<void> {
  const { rounds, parent, entries } = settings;
  const flags = ['--json', '--rounds', String(rounds), '--directory', parent];
  if (entries !== undefined) flags.push('--entries', String(entries));
  const child = spawn(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), benchmark.name, ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  for await (const line of createInterface({ input: child.stdout })) report(JSON.parse(line));
  const status = await ended;
  if (status === 0) return;
  // The others still have something to say.
  console.error(`benchmark ${benchmark.name} ended with ${status ?? 'a signal'}`);
  process.exitCode = 1;
}

function chosen(names: readonly string[]): readonly Benchmark[] {
  if (names.includes('all')) return BENCHMARKS;
  return names.map((name) => {
    const found = BENCHMARKS.find((benchmark) => benchmark.name === name);
    if (found === undefined)
      throw new UsageError(`no benchmark "${name}": ${BENCHMARKS.map((benchmark) => benchmark.name).join(', ')} or all`);
    return found;
  });
}

function arguments_(args: readonly string[]): ReturnType<typeof parse> {
  try {
    return parse(args);
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function parse(args: readonly string[]) {
  return parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      markdown: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      directory: { type: 'string' },
      entries: { type: 'string' },
      from: { type: 'string' },
    },
  });
}

function saved(path: string): Result[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** Writes the page, its pictures, and the lines that they are made of. */
function publish(results: readonly Result[]): void {
  const directory = join(ROOT, 'docs/benchmarks');
  const ran = BENCHMARKS.filter(({ name }) => results.some(({ benchmark }) => benchmark === name));
  const drawn = new Set<string>();
  for (const { name } of ran) {
    const svg = picture(name, results);
    if (svg === undefined) continue;
    drawn.add(name);
    writeFileSync(join(directory, `${name}.svg`), svg);
  }
  writeFileSync(join(directory, 'results.jsonl'), results.map((result) => `${JSON.stringify(result)}\n`).join(''));
  writeFileSync(join(directory, 'README.md'), markdown(ran, results, drawn, new Date()));
}

/** Runs the command with these arguments; `print` gets the lines of its output. */
export async function main(args: readonly string[], print: (text: string) => void): Promise<void> {
  const { values, positionals } = arguments_(args);
  if (values.from !== undefined) {
    const results = saved(values.from);
    if (!values.json) print(table(results));
    if (values.markdown) publish(results);
    return;
  }
  if (positionals.length === 0) {
    for (const { name, about } of BENCHMARKS) print(`${name.padEnd(16)}${about}`);
    return;
  }
  const rounds = Number(values.rounds ?? (values.quick ? 2 : 7));
  if (!Number.isInteger(rounds) || rounds < 1) throw new UsageError(`--rounds takes a whole number from 1, not "${values.rounds ?? ''}"`);
  if (values.markdown && !positionals.includes('all')) throw new UsageError('--markdown goes with all: it writes the whole page');
  const entries = values.entries === undefined ? undefined : Number(values.entries);
  if (entries !== undefined && !(Number.isInteger(entries) && entries >= 1000))
    throw new UsageError(`--entries takes a whole number from 1000, not "${values.entries ?? ''}"`);
  const settings: Settings = {
    quick: values.quick,
    rounds,
    parent: values.directory ?? tmpdir(),
    ...(entries === undefined ? {} : { entries }),
  };
  const benchmarks = chosen(positionals);
  const results: Result[] = [];
  const report = (result: Result): void => {
    results.push(result);
    progress('');
    if (values.json) print(JSON.stringify(result));
  };
  const [only] = benchmarks;
  // Where nothing is judged, they can share a process, and what nodes meet at.
  if (values.quick) {
    for (const benchmark of benchmarks) await runHere(benchmark, settings, report);
    await closeGround();
  } else if (benchmarks.length === 1 && only !== undefined) await runHere(only, settings, report);
  else for (const benchmark of benchmarks) await runApart(benchmark, settings, report);
  if (!values.json) print(table(results));
  if (values.markdown) publish(results);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await main(process.argv.slice(2), (text) => console.log(text));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    process.exitCode = 2;
  }
}

/**
 * Runs scripts of sqllogictest, SQLite's own corpus of statements and results, on databases that are objects.
 *
 *   node dist/test/sqllogictest.js [--every N] [--seconds S] FILE | DIRECTORY …
 *
 * `--every N` takes each n-th script of a directory, `--seconds S` ends after so long. The corpus (https://sqlite.org/sqllogictest) is not part
 * of this package: check it out beside it.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { isTwzError, open } from '../src/index.ts';
import { openDatabase, type Database, type SqlValue } from '../src/services/sqlite.ts';

export interface Tally {
  statements: number;
  queries: number;
  skipped: number;
  readonly failures: string[];
}

interface Record_ {
  readonly line: number;
  readonly kind: 'statement' | 'query';
  /** Of a statement: ok or error. Of a query: the types of its columns. */
  readonly expects: string;
  readonly sort: string;
  readonly sql: string;
  readonly result: readonly string[];
  readonly threshold: number;
}

/** The records that are meant for SQLite. */
export function* recordsOf(text: string, tally: Tally): Generator<Record_> {
  const lines = text.split(/\r?\n/);
  let threshold = 0;
  for (let i = 0; i < lines.length;) {
    let skip = false;
    for (; /^(skipif|onlyif) /.test(lines[i] ?? ''); i++) {
      const [word, engine] = (lines[i] ?? '').split(/\s+/);
      if ((word === 'skipif') === (engine === 'sqlite')) skip = true;
    }
    const line = i + 1;
    const [word, expects = '', sort = 'nosort'] = (lines[i++] ?? '').trim().split(/\s+/);
    if (word === 'hash-threshold') threshold = Number(expects);
    if (word === 'halt' && !skip) return;
    if (word !== 'statement' && word !== 'query') continue;
    const sql: string[] = [];
    for (; i < lines.length && lines[i] !== '' && lines[i] !== '----'; i++) sql.push(lines[i] ?? '');
    const result: string[] = [];
    if (lines[i] === '----') for (i++; i < lines.length && lines[i] !== ''; i++) result.push(lines[i] ?? '');
    if (skip) tally.skipped++;
    else yield { line, kind: word, expects, sort, sql: sql.join('\n'), result, threshold };
  }
}

/** As SQLite's C interface converts it, and the corpus prints it. */
function shown(value: SqlValue, type: string | undefined): string {
  if (value === null) return 'NULL';
  const text = value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value);
  const number = typeof value === 'bigint' || typeof value === 'number' ? Number(value) : Number.parseFloat(text) || 0;
  if (type === 'I') return typeof value === 'bigint' ? text : String(Math.trunc(number));
  if (type === 'R') return decimals(number);
  if (text === '') return '(empty)';
  return text.replaceAll(/[^ -~]/g, '@');
}

/** Three decimals of at most sixteen significant digits, as SQLite prints them. */
function decimals(value: number): string {
  if (Math.abs(value) < 1e15) return value.toFixed(3);
  const [mantissa = '', exponent = '0'] = value.toExponential(15).split('e+');
  const digits = mantissa.replace(/[-.]/g, '').padEnd(Number(exponent) + 1, '0');
  return `${value < 0 ? '-' : ''}${digits}.000`;
}

function resultOf(database: Database, { sql, expects, sort, result, threshold }: Record_): readonly string[] {
  const statement = database.prepare(sql).raw();
  const rows = statement.all() as SqlValue[][];
  statement.finalize();
  const texts = rows.map((row) => row.map((value, i) => shown(value, expects[i])));
  const byBytes = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  if (sort === 'rowsort') texts.sort((a, b) => byBytes(a.join('\0'), b.join('\0')));
  const flat = texts.flat();
  if (sort === 'valuesort') flat.sort(byBytes);
  const hashed = result.length === 1 && / values hashing to /.test(result[0] ?? '');
  if (!hashed && (threshold === 0 || flat.length <= threshold)) return flat;
  const hash = createHash('md5');
  for (const text of flat) hash.update(`${text}\n`);
  return [`${flat.length} values hashing to ${hash.digest('hex')}`];
}

/** Runs one script on an empty database. */
export function runScript(database: Database, name: string, text: string, tally: Tally): void {
  database.defaultSafeIntegers();
  for (const record of recordsOf(text, tally)) {
    if (record.kind === 'statement') {
      tally.statements++;
      let outcome = 'ok';
      let message = '';
      try {
        database.exec(record.sql);
      } catch (error) {
        if (!isTwzError(error)) throw error;
        outcome = 'error';
        message = error.message;
      }
      if (outcome !== record.expects) tally.failures.push(`${name}:${record.line}: ${outcome}, expected ${record.expects}: ${message}`);
      continue;
    }
    tally.queries++;
    let found: readonly string[];
    try {
      found = resultOf(database, record);
    } catch (error) {
      if (!isTwzError(error)) throw error;
      // A query that is to fail has no result, not even an empty one.
      found = record.result.length === 0 ? [] : [`error: ${error.message}`];
    }
    if (found.join('\n') !== record.result.join('\n'))
      tally.failures.push(`${name}:${record.line}: ${found.slice(0, 5).join(' ')}, expected ${record.result.slice(0, 5).join(' ')}`);
  }
}

function scripts(from: string, every: number): string[] {
  if (!fs.statSync(from).isDirectory()) return [from];
  const found = fs
    .readdirSync(from, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test'))
    .sort();
  return found.filter((_, i) => i % every === 0).map((name) => path.join(from, name));
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { every: { type: 'string', default: '1' }, seconds: { type: 'string', default: '86400' } },
  });
  const files = positionals.flatMap((from) => scripts(from, Number(values.every)));
  if (files.length === 0) throw new Error('no scripts');
  const total: Tally = { statements: 0, queries: 0, skipped: 0, failures: [] };
  const end = performance.now() + Number(values.seconds) * 1000;
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-slt-'));
  let done = 0;
  try {
    for (const file of files) {
      if (performance.now() > end) break;
      const space = open(path.join(directory, String(done)));
      const database = openDatabase(space, '/test', { durability: 'relaxed' });
      runScript(database, file, fs.readFileSync(file, 'utf8'), total);
      const health = database.pragma('integrity_check', { simple: true });
      if (health !== 'ok') total.failures.push(`${file}: ${String(health)}`);
      database.close();
      space.kernel.release();
      fs.rmSync(path.join(directory, String(done)), { recursive: true });
      done++;
    }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
  for (const failure of total.failures.slice(0, 50)) console.log(failure);
  const { statements, queries, skipped, failures } = total;
  console.log(
    `${done} of ${files.length} scripts: ${statements} statements, ${queries} queries, ${skipped} for other engines, ${failures.length} failed`,
  );
  if (failures.length > 0) process.exitCode = 1;
}

if (process.argv[1]?.endsWith('sqllogictest.js') === true) main();

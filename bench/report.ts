/** Results as a table for a terminal and as docs/benchmarks/README.md. */
import type { Benchmark, Result } from './harness.ts';
import { machine } from './machine.ts';

function figure(value: number | null, unit: string): string {
  if (value === null) return '-';
  if (unit.endsWith('/s')) return `${Math.round(value).toLocaleString('en-US')} ${unit}`;
  return `${value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3)} ${unit}`;
}

function wanted(result: Result): string {
  if (result.target === null) return '';
  return `${result.better === 'lower' ? '<=' : '>='} ${result.target}`;
}

function verdict(result: Result): string {
  if (result.skipped !== undefined) return `skipped: ${result.skipped}`;
  if (result.target === null) return loses(result) ? 'behind' : '';
  if (result.met === null) return 'not judged';
  return result.met ? 'met' : 'MISSED';
}

function loses(result: Result): boolean {
  if (result.ratio === null || result.reference === true) return false;
  return result.better === 'lower' ? result.ratio > 1 : result.ratio < 1;
}

function cells(result: Result): string[] {
  const { ratio, range } = result;
  return [
    result.name,
    figure(result.ours, result.unit),
    result.peer,
    figure(result.theirs, result.unit),
    ratio === null ? '-' : `${ratio.toFixed(2)}${range === null ? '' : ` (${range[0].toFixed(2)} to ${range[1].toFixed(2)})`}`,
    result.better,
    wanted(result),
    verdict(result),
  ];
}

const HEAD = ['what', 'ours', 'peer', 'theirs', 'ours / theirs', 'good is', 'wanted', ''];

export function table(results: readonly Result[]): string {
  const rows = [HEAD, ...results.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (row: readonly string[]): string => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function section(benchmark: Benchmark, results: readonly Result[], drawn: ReadonlySet<string>): string {
  const mine = results.filter((result) => result.benchmark === benchmark.name);
  const notes = [...new Set(mine.flatMap(({ note }) => (note === undefined ? [] : [note])))];
  const parts = [
    `## ${benchmark.name}`,
    benchmark.about,
    `\`npm run bench -- ${benchmark.name}\``,
    drawn.has(benchmark.name) ? `![${benchmark.name}: ours beside the others](${benchmark.name}.svg)` : '',
    markdownTable(HEAD, mine.map(cells)),
    notes.map((note) => `- ${note}`).join('\n'),
  ];
  return parts.filter((part) => part !== '').join('\n\n');
}

function where(results: readonly Result[]): string {
  const behind = results.filter((result) => result.met === false || loses(result));
  if (behind.length === 0) return 'Nowhere in this run.';
  return behind
    .map((result) => {
      const target = result.met === false ? `, wanted ${wanted(result)}` : '';
      return `- ${result.name}: ${figure(result.ours, result.unit)} against ${figure(result.theirs, result.unit)} of ${result.peer} (${result.ratio?.toFixed(2)}x${target})`;
    })
    .join('\n');
}

export function markdown(benchmarks: readonly Benchmark[], results: readonly Result[], drawn: ReadonlySet<string>, when: Date): string {
  const judged = results.filter(({ met }) => met !== null);
  return `# Benchmarks

Written by \`npm run bench -- all --markdown\` on ${when.toISOString().slice(0, 10)}: ${judged.filter(({ met }) => met).length} of ${judged.length} targets met. Run it on your own machine
before you believe any of it; ratios carry over from machine to machine, figures do not.

## Method

- Every peer runs in the same run, on the same file system, over the same data, with the nearest promise about durability that it offers; where
  promises differ the row says so.
- One round of each side is thrown away, then all sides take turns for at least five rounds, each round beginning with another
  one. A figure is the median of its rounds, the ratio is the ratio of the medians, and in brackets stand the smallest and the largest ratio
  of a single round.
- \`ours / theirs\` is read with the column \`good is\`: where lower is good (times, bytes) 0.5 means half of theirs, where higher is
  good (rates) 2 means twice theirs. \`wanted\` is the bound for that ratio. A row whose peer is "the limit set" is
  measured against a fixed figure.
- Written values change every time: SQLite skips a write of equal bytes, which would make it look ten times faster.
- Each benchmark has a process of its own, and its files are removed afterwards.
- \`npm run bench:peers\` installs the peers (better-sqlite3 compiles for about a minute and needs Python, make and a C++ compiler; its
  later major, 13, ships compiled but needs Node 22). C programs are compiled with \`gcc -O2 -march=native\`; PMDK needs \`libpmemobj-dev\`, LMDB's own API
  \`liblmdb-dev\`. Servers are Debian's \`redis-server\` and \`postgresql\`, started for the run, and a \`nats-server\`. What is missing is reported as skipped.
- The pictures show the medians, each panel from zero; \`results.jsonl\` has the lines that they and the tables are made of.

${markdownTable(['machine', ''], machine())}

## Where we lose

${where(results)}

${benchmarks.map((benchmark) => section(benchmark, results, drawn)).join('\n\n')}
`;
}

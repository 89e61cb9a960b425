/** Commands about room and difference: du, diff, copy. */
import type { Command } from 'commander';
import { open, type Space } from '../../space.ts';
import { copyObjects } from '../../services/copy.ts';
import { diffSpaces, type ObjectDiff, type SpaceDiff } from '../../services/diff.ts';
import { spaceUsage, usageFrom, type ObjectUsage, type SpaceUsage, type UsageNode } from '../../services/usage.ts';
import { EXIT, UsageError } from '../failure.ts';
import { count, err, out, pairs, plural, printable, size, table } from '../output.ts';
import { Progress } from '../progress.ts';
import type { Ending } from '../program.ts';
import { common, findTarget, theHost, withSpace, type Common } from '../space.ts';
import { natural } from './space.ts';

export function addCompareCommands(program: Command, ending: Ending): void {
  common(program.command('du [targets...]').description('what takes room: by name, or the targets and all they refer to'))
    .option('-d, --depth <levels>', 'names below the root to show', natural, 2)
    .option('-n, --largest <objects>', 'how many of the largest objects to list', natural, 10)
    .action(du);
  common(program.command('diff <a> <b>').description('what two spaces have that differs; exit code 1 if anything does'))
    .option('-n, --fields <n>', 'show at most so many fields of an object', natural, 20)
    .action((a: string, b: string, options: DiffFlags) => diff(a, b, options, ending));
  common(program.command('copy').description('copy objects and all they refer to from one space into another, under the same IDs'))
    .argument('<from>', 'the space to copy from')
    .argument('<targets...>', 'the objects, and last the space to copy to')
    .usage('[options] <from> <targets...> <to>')
    .option('--only', 'the targets alone, not what they refer to')
    .option('--no-names', 'leave their names out')
    .action(copy);
}

/** Opens another space than that of the command, and closes it whatever happens. */
async function withOther<T>(directory: string, use: (space: Space) => T | Promise<T>): Promise<T> {
  return withSpace({ space: directory }, use);
}

// --- du -----------------------------------------------------------------------------------------------------------------------

interface DuFlags extends Common {
  readonly depth: number;
  readonly largest: number;
}

async function du(targets: readonly string[], options: DuFlags): Promise<void> {
  await withSpace(options, (space) => {
    if (targets.length > 0) {
      duTargets(space, targets, options);
      return;
    }
    const progress = new Progress('reading');
    const usage = spaceUsage(space, { largest: options.largest, progress: progress.step });
    progress.done();
    if (options.json === true) out.json({ ...usage, unnamed: { total: usage.unnamed.total, objects: usage.unnamed.objects } });
    else printUsage(usage, options);
  });
}

function duTargets(space: Space, targets: readonly string[], options: DuFlags): void {
  const ids = targets.map((target) => findTarget(space, target).id);
  const each = targets.map((target, i) => ({ target, id: ids[i], ...usageFrom(space, ids.slice(i, i + 1)) }));
  if (options.json === true) {
    out.json(each);
    return;
  }
  for (const [i, { target, total, objects, missing }] of each.entries()) {
    if (i > 0) out.line();
    out.line(
      `${out.paint('bold', printable(target))}  ${size(total.size)} in ${plural(objects, 'object')}${missing > 0 ? `; ${count(missing)} missing` : ''}`,
    );
    printParts(total);
  }
}

function printParts(total: ObjectUsage): void {
  const share = (bytes: number): string =>
    `${size(bytes)}${total.size === 0 ? '' : out.paint('dim', `  ${Math.round((bytes / total.size) * 100)}%`)}`;
  pairs(out, [
    ['in use', share(total.used)],
    ['  schema texts', share(total.schema)],
    ['free in pages in use', share(total.inside)],
    ['free pages', share(total.pages)],
    ['metadata pages', share(total.header)],
    ['FOT and page maps', `${share(total.tables)}${out.paint('dim', `  ${plural(total.references, 'reference')}`)}`],
    ['all zeros', share(total.holes)],
  ]);
}

const COLUMNS = [
  { head: 'SIZE', right: true },
  { head: 'IN USE', right: true },
  { head: 'FREE', right: true },
  { head: 'OBJECTS', right: true },
  { head: 'NAME' },
];

function usageRow(total: ObjectUsage, objects: number, name: string): string[] {
  return [size(total.size), size(total.used), size(total.inside + total.pages), count(objects), name];
}

function printUsage(usage: SpaceUsage, options: DuFlags): void {
  const rows: string[][] = [];
  const walk = (node: UsageNode, level: number): void => {
    if (node.path !== '/') rows.push(usageRow(node.total, node.objects, printable(node.path)));
    if (level >= options.depth) return;
    for (const inner of [...node.below].sort((a, b) => b.total.size - a.total.size)) if (inner.objects > 0) walk(inner, level + 1);
  };
  walk(usage.names, 0);
  if (usage.unnamed.objects > 0) rows.push(usageRow(usage.unnamed.total, usage.unnamed.objects, out.paint('yellow', '(no name reaches)')));
  rows.push(usageRow(usage.own.total, usage.own.objects, out.paint('dim', "(the space's own)")));
  rows.push(usageRow(usage.total, usage.objects, out.paint('bold', 'total')));
  table(out, COLUMNS, rows);
  out.line();
  printParts(usage.total);
  if (usage.largest.length === 0) return;
  out.line();
  table(
    out,
    [{ head: 'SIZE', right: true }, { head: 'IN USE', right: true }, { head: 'LARGEST OBJECTS' }, { head: 'TYPE' }],
    usage.largest.map(({ id, type, usage: each }) => [size(each.size), size(each.used), id, type ?? '']),
  );
}

// --- diff ---------------------------------------------------------------------------------------------------------------------

interface DiffFlags extends Common {
  readonly fields: number;
}

async function diff(a: string, b: string, options: DiffFlags, ending: Ending): Promise<void> {
  const progress = new Progress('comparing');
  const found = await withOther(a, (first) => withOther(b, (second) => diffSpaces(first, second, progress.step)));
  progress.done();
  if (found.onlyA.length + found.onlyB.length + found.changed.length + found.names.length > 0) ending.code = EXIT.findings;
  if (options.json === true) out.json(found);
  else printDiff(found, options.fields);
}

function printDiff(found: SpaceDiff, most: number): void {
  for (const { name, a, b } of found.names) {
    if (a !== undefined) out.line(out.paint('red', `- ${printable(name)}  ${printable(a)}`));
    if (b !== undefined) out.line(out.paint('green', `+ ${printable(name)}  ${printable(b)}`));
  }
  for (const id of found.onlyA) out.line(out.paint('red', `- ${id}`));
  for (const id of found.onlyB) out.line(out.paint('green', `+ ${id}`));
  for (const each of found.changed) printObjectDiff(each, most);
  const { onlyA, onlyB, changed, same, names } = found;
  out.line(
    out.paint(
      'dim',
      `${plural(onlyA.length, 'object')} only in the first, ${count(onlyB.length)} only in the second, ${count(changed.length)} changed, ${count(same)} the same; ${plural(names.length, 'name')} differ`,
    ),
  );
}

const cut = (text: string): string => printable(text.length <= 100 ? text : `${text.slice(0, 99)}…`);

function printObjectDiff({ id, type, fields, bytes, first, parts }: ObjectDiff, most: number): void {
  const more = parts === 0 ? '' : `, in ${plural(parts, 'part')} of it, too`;
  out.line(
    `${out.paint('bold', `~ ${id}`)}  ${out.paint('magenta', type ?? 'untyped')}  ${out.paint('dim', `${plural(bytes, 'byte')}, from ${first} on${more}`)}`,
  );
  for (const { field, a, b } of fields.slice(0, most)) {
    if (a !== undefined) out.line(out.paint('red', `    - ${printable(field)}: ${cut(a)}`));
    if (b !== undefined) out.line(out.paint('green', `    + ${printable(field)}: ${cut(b)}`));
  }
  if (fields.length > most) out.line(out.paint('dim', `    … and ${count(fields.length - most)} more`));
  if (fields.length === 0) out.line(out.paint('dim', '    no typed field differs: memory that no type describes, or the allocator'));
}

// --- copy ---------------------------------------------------------------------------------------------------------------------

interface CopyFlags extends Common {
  readonly only?: boolean;
  readonly names: boolean;
}

async function copy(from: string, rest: readonly string[], options: CopyFlags): Promise<void> {
  const to = rest.at(-1);
  const targets = rest.slice(0, -1);
  if (to === undefined || targets.length === 0) throw new UsageError('copy takes a space, one target or more, and the space to copy to');
  const report = await withOther(from, (source) => {
    const ids = targets.map((target) => findTarget(source, target).id);
    const into = open(to, { create: true, host: theHost() });
    try {
      return copyObjects(source, ids, into, { only: options.only ?? false, names: options.names });
    } finally {
      into.close();
    }
  });
  if (options.json === true) {
    out.json(report);
    return;
  }
  const same = report.same === 0 ? '' : `; ${plural(report.same, 'object')} of them there already`;
  out.line(`copied ${plural(report.objects, 'object')}, ${size(report.bytes)}, ${plural(report.names, 'name')} to ${to}${same}`);
  for (const id of report.missing) err.line(err.paint('yellow', `${id} is referred to and is in neither space`));
}

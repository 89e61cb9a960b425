/** Commands that look into objects: show, graph, stat. */
import type { Command } from 'commander';
import { TwzError } from '../../abi/errors.ts';
import { META } from '../../abi/format.ts';
import { NULL_ID, type ObjectId } from '../../abi/id.ts';
import type { Usage } from '../../abi/usage.ts';
import type { Space } from '../../space.ts';
import { readWhole } from '../../services/check/control.ts';
import { ObjectImage } from '../../services/check/object-image.ts';
import { graphFrom, graphToDot, type Graph, type GraphEdge } from '../../services/graph.ts';
import { plainValue, viewObject, viewTyped, type ObjectReader, type ObjectView, type TypedValue } from '../../services/show.ts';
import { UsageError } from '../failure.ts';
import { count, hexDump, out, pairs, plural, printable, size, table } from '../output.ts';
import { Progress } from '../progress.ts';
import { common, findTarget, imageReader, theHost, withSpace, type Common } from '../space.ts';
import { natural, spaceFacts } from './space.ts';

export function addInspectCommands(program: Command): void {
  common(program.command('show [target]').description('show an object: its header, its typed view, what it refers to'))
    .option('-d, --depth <references>', 'follow so many references', natural, 0)
    .option(
      '--items <n>',
      'show so many elements of an array or collection and bytes of a block (16; with --json 10,000 of a collection)',
      natural,
    )
    .option('-x, --hex', 'print bytes instead of the typed view')
    .option('--at <offset>', 'begin here: bytes with --hex, else a struct of --type', natural)
    .option('--length <bytes>', 'print so many bytes (with --hex)', natural)
    .option('--type <name>', 'read as this struct of the schema')
    .option('--file <file>', 'show an object file, wherever it lies, without a space')
    .action(showCommand);
  common(program.command('stat [target]').description('facts about the space, or about one object')).action(
    async (target: string | undefined, options: Common) => {
      if (target === undefined) await spaceFacts(options);
      else await withSpace(options, (space) => printFacts(viewObject(new ObjectImage(findTarget(space, target).image())), options));
    },
  );
  common(program.command('graph [targets...]').description('which objects refer to which, from the targets on, or of the whole space'))
    .option('-f, --format <format>', 'text, dot or json', 'text')
    .option('-d, --depth <references>', 'follow so many references', natural)
    .option('-n, --limit <objects>', 'show at most so many objects', natural, 1000)
    .action((targets: string[], options: GraphFlags) => withSpace(options, (space) => graph(space, targets, options)));
}

// --- show -------------------------------------------------------------------------------------------------------------------

interface ShowFlags extends Common {
  readonly depth: number;
  readonly items?: number;
  readonly hex?: boolean;
  readonly at?: number;
  readonly length?: number;
  readonly type?: string;
  readonly file?: string;
}

async function showCommand(target: string | undefined, options: ShowFlags): Promise<void> {
  if ((target === undefined) === (options.file === undefined)) throw new UsageError('show takes either a target or --file');
  if (target !== undefined) {
    await withSpace(options, (space) => show(new ObjectImage(findTarget(space, target).image()), imageReader(space), options));
    return;
  }
  const file = options.file ?? '';
  const bytes = readWhole(theHost(), file);
  if (bytes === undefined) throw new TwzError('FileMissing', `there is no file ${file}`, { file });
  if (bytes.length < 4096) throw new TwzError('ObjectCorrupt', `${file} has ${bytes.length} bytes: not even a metadata page`, { file });
  show(new ObjectImage(bytes), () => undefined, options);
}

export function show(image: ObjectImage, read: ObjectReader, options: ShowFlags): void {
  if (options.hex === true) {
    showHex(image, options);
    return;
  }
  const view = viewObject(image);
  const typed = viewTyped(image, read, { depth: options.depth, ...amounts(options) }, options.at ?? image.u32(META.root), options.type);
  if (options.json === true) {
    out.json({ ...view, value: typeof typed === 'string' ? undefined : plainValue(typed) });
    return;
  }
  printHeader(view);
  out.line();
  if (typeof typed === 'string') out.line(out.paint('dim', `no typed view: ${typed}`));
  else printTyped(typed);
  printFot(view);
}

/** JSON has arrays and bytes whole, and of a collection no more than fits a program's memory. */
function amounts({ items, json }: ShowFlags): { items: number; entries: number } {
  if (json !== true) return { items: items ?? 16, entries: items ?? 16 };
  return { items: items ?? Infinity, entries: items ?? 10_000 };
}

function showHex(image: ObjectImage, options: ShowFlags): void {
  const at = options.at ?? 0;
  const bytes = image.bytes.subarray(at, at + (options.length ?? image.bytes.length));
  if (options.json === true) out.json({ at, length: bytes.length, hex: bytes });
  else hexDump(out, bytes, at);
}

function printHeader(view: ObjectView): void {
  const flags = view.flags.length === 0 ? '' : `  ${view.flags.join(' ')}`;
  out.line(`${out.paint('bold', view.id)}  ${view.kind}  ${size(view.size)}  version ${view.version}  ${view.rights}${flags}`);
  if (view.merge !== NULL_ID) out.line(`${out.paint('dim', 'merged by')}  ${view.merge}`);
  for (const tie of view.ties) out.line(`${out.paint('dim', 'tied to')}  ${tie}`);
}

function printFot(view: ObjectView): void {
  if (view.fot.length === 0) return;
  out.line();
  const most = 20;
  const rows = view.fot
    .slice(0, most)
    .map((entry) => [
      String(entry.index),
      count(entry.count),
      entry.id ?? `${entry.resolver === '' ? '' : `${entry.resolver}:`}${printable(entry.path ?? '')}`,
    ]);
  table(out, [{ head: 'FOT', right: true }, { head: 'POINTERS', right: true }, { head: 'TARGET' }], rows);
  if (view.fot.length > most) out.line(out.paint('dim', `… and ${count(view.fot.length - most)} more; --json has them all`));
}

/** What a typed value looks like in one line; structs and long arrays go on below. */
function oneLine(value: TypedValue): string {
  switch (value.kind) {
    case 'plain':
      if (value.value === undefined) return out.paint('dim', 'absent');
      if (typeof value.value !== 'string') return out.paint('yellow', String(value.value));
      return out.paint('green', value.type === 'oneOf' ? printable(value.value) : printable(JSON.stringify(value.value)));
    case 'bytes':
      return `${out.paint('yellow', Buffer.from(value.value).toString('hex'))}${value.length > value.value.length ? ` … ${size(value.length)}` : ''}`;
    case 'document': {
      const cut = value.value.length < value.length ? '…' : '';
      return `${plural(value.length, 'code unit')}  ${out.paint('green', printable(JSON.stringify(value.value)))}${cut}`;
    }
    case 'sequence':
      return `${plural(value.length, 'element')}${isPlain(value.items) ? `  ${inLine(value.items, value.length)}` : ''}`;
    case 'null':
      return out.paint('dim', 'null');
    case 'bad':
      return out.paint('red', `corrupt: ${value.message}`);
    case 'ref':
      if (value.target === undefined) return `${out.paint('cyan', '→')} ${printable(value.path ?? '?')} ${out.paint('dim', '(by name)')}`;
      return `${out.paint('cyan', '→')} ${value.target}${value.offset === 0 ? '' : out.paint('dim', ` +${value.offset}`)}`;
    case 'array':
      return value.items.some((item) => item.kind === 'struct' || item.kind === 'array') ? '' : inLine(value.items, value.length);
    case 'collection':
      return `${count(value.length)} ${value.length === 1 ? 'entry' : 'entries'}`;
    case 'struct':
      return '';
  }
}

/** Elements that go on in one line. */
function isPlain(items: readonly TypedValue[]): boolean {
  return items.length > 0 && items.every(({ kind }) => kind === 'plain' || kind === 'bytes' || kind === 'null' || kind === 'bad');
}

function inLine(items: readonly TypedValue[], length: number): string {
  return `[${items.map(oneLine).join(', ')}${items.length < length ? ` … ${count(length)}` : ''}]`;
}

function printTyped(value: TypedValue, indent = ''): void {
  if (value.kind === 'array') {
    for (const [i, item] of value.items.entries()) printMember(`[${i}]`, item, indent, [4, typeName(item).length]);
    return;
  }
  if (value.kind === 'sequence') {
    if (isPlain(value.items)) return;
    for (const [i, item] of value.items.entries()) printMember(`[${i}]`, item, indent, [4, typeName(item).length]);
    if (value.length > value.items.length) out.line(out.paint('dim', `${indent}… of ${count(value.length)}`));
    return;
  }
  if (value.kind === 'collection') {
    for (const { key, value: of } of value.entries) {
      if (of === undefined) out.line(`${indent}  ${oneLine(key)}`);
      else printMember(oneLine(key), of, `${indent}  `, [0, typeName(of).length]);
    }
    if (value.length > value.entries.length) out.line(out.paint('dim', `${indent}  … of ${count(value.length)}`));
    return;
  }
  if (value.kind !== 'struct') {
    out.line(indent + oneLine(value));
    return;
  }
  if (indent === '') out.line(`${out.paint('magenta', value.type)} ${out.paint('dim', `at ${value.at}`)}`);
  const names = value.fields.reduce((most, field) => Math.max(most, field.name.length), 0);
  const types = value.fields.reduce((most, field) => Math.max(most, typeName(field.value).length), 0);
  for (const field of value.fields) printMember(field.name, field.value, `${indent}  `, [names, types]);
}

/** Long ones are cut: the schema has them whole. */
function typeName(value: TypedValue): string {
  return value.type.length <= 16 ? value.type : `${value.type.slice(0, 15)}…`;
}

function printMember(name: string, value: TypedValue, indent: string, [names, types]: readonly [number, number]): void {
  out.line(`${indent}${name.padEnd(names)}  ${out.paint('dim', typeName(value).padEnd(types))}  ${oneLine(value)}`.trimEnd());
  const below = value.kind === 'ref' ? value.to : value;
  if (
    below?.kind === 'struct' ||
    below?.kind === 'collection' ||
    below?.kind === 'sequence' ||
    (below?.kind === 'array' && oneLine(below) === '')
  )
    printTyped(below, `${indent}  `);
}

// --- stat -------------------------------------------------------------------------------------------------------------------

export function printFacts(view: ObjectView, options: Common): void {
  if (options.json === true) {
    const { fot, untyped, ...facts } = view;
    out.json({ ...facts, references: fot.length, untyped });
    return;
  }
  const { usage } = view;
  let pointers = 0;
  for (const entry of view.fot) pointers += entry.count;
  pairs(out, [
    ['object', view.id],
    ['kind', [view.kind, ...view.flags].join(' ')],
    ...(view.merge === NULL_ID ? [] : [['merge', view.merge] as const]),
    ['rights', view.rights],
    ['size', size(view.size)],
    ['version', String(view.version)],
    ['type', view.type === undefined ? (view.untyped ?? '') : `${view.type} version ${view.typeVersion}`],
    ['root', view.root === 0 ? 'none' : String(view.root)],
    ['pages', pagesOf(usage)],
    ['used', size(usage.used)],
    ['free', `${size(usage.free)}, ${percent(usage.fragmentation)} of the object in free blocks`],
    ['blocks', blocksOf(usage)],
    ['refers to', `${plural(view.fot.length, 'object')} by ${plural(pointers, 'pointer')}`],
    ['tied to', view.ties.join(' ') || 'nothing'],
  ]);
}

function pagesOf({ pages }: Usage): string {
  return `${pages.total}: ${pages.small} small blocks, ${pages.large} large, ${pages.tables} tables, ${pages.free} free`;
}

/** By size class: in use, and how many there are in all. */
function blocksOf({ classes, large }: Usage): string {
  const small = classes.map((each) => `${each.size} B: ${each.blocks} of ${each.blocks + each.free}`);
  if (large.blocks > 0) small.push(`large: ${large.blocks}`);
  return small.join(', ') || 'none';
}

const percent = (share: number): string => `${(share * 100).toFixed(1)}%`;

// --- graph ------------------------------------------------------------------------------------------------------------------

interface GraphFlags extends Common {
  readonly format: string;
  readonly depth?: number;
  readonly limit: number;
}

export function graph(space: Space, targets: readonly string[], options: GraphFlags): void {
  const format = options.json === true ? 'json' : options.format;
  if (!['text', 'dot', 'json'].includes(format)) throw new UsageError(`--format ${format}: expected text, dot or json`);
  const progress = new Progress('reading');
  const start = targets.length === 0 ? [...space.ids()].sort() : targets.map((target) => findTarget(space, target).id);
  const found = graphFrom(start, imageReader(space), { depth: options.depth ?? Infinity, most: options.limit, progress: progress.step });
  progress.done();
  if (format === 'json') out.json(found);
  else if (format === 'dot') out.write(graphToDot(found, short));
  else printGraph(found);
}

const short = (id: ObjectId): string => id.slice(0, 8);

function printGraph(found: Graph): void {
  const names = new Map(found.nodes.map((node) => [node.id, node]));
  const edges = new Map<string, GraphEdge[]>();
  for (const edge of found.edges) {
    const list = edges.get(edge.from);
    if (list === undefined) edges.set(edge.from, [edge]);
    else list.push(edge);
  }
  for (const node of found.nodes) {
    const facts = node.missing
      ? out.paint('red', 'missing')
      : `${out.paint('magenta', node.type ?? 'untyped')}  ${out.paint('dim', `${node.kind}, ${size(node.size)}`)}`;
    out.line(`${out.paint('bold', node.id)}  ${facts}`);
    for (const edge of edges.get(node.id) ?? []) {
      const to = names.get(edge.to as ObjectId);
      const arrow = edge.by === 'tie' ? '┈▶' : edge.by === 'name' ? '⇢ ' : '─▶';
      const what =
        edge.by === 'name'
          ? printable(edge.to)
          : `${short(edge.to as ObjectId)}  ${to?.missing === true ? out.paint('red', 'missing') : (to?.type ?? 'untyped')}`;
      out.line(
        `  ${out.paint('cyan', arrow)} ${what}  ${out.paint('dim', edge.by === 'reference' ? plural(edge.count, 'pointer') : edge.by)}`,
      );
    }
  }
  out.line(
    out.paint(
      'dim',
      `${plural(found.nodes.length, 'object')}, ${plural(found.edges.length, 'reference')}${found.cut ? '; more lie beyond: raise --limit or --depth' : ''}`,
    ),
  );
}

/** Commands about names: ls, tree, rm, ln, mv, mkns. */
import type { Command } from 'commander';
import { isTwzError } from '../../abi/errors.ts';
import type { NameEntry } from '../../services/naming.ts';
import type { Space } from '../../space.ts';
import { UsageError } from '../failure.ts';
import { natural } from './space.ts';
import { out, plural, printable, size, table } from '../output.ts';
import { Progress } from '../progress.ts';
import { common, findTarget, withSpace, type Common } from '../space.ts';

export function addNameCommands(program: Command): void {
  common(program.command('ls [path]').description('list the names in a namespace'))
    .option('-l, --long', 'with ID, kind, size and type')
    .option('--ids', 'list all objects of the space, named or not')
    .action((path: string | undefined, options: LsFlags) => withSpace(options, (space) => list(space, path ?? '/', options)));
  common(program.command('tree [path]').description('list names, and what is below them'))
    .option('-d, --depth <levels>', 'how deep', natural)
    .action((path: string | undefined, options: Common & { depth?: number }) =>
      withSpace(options, (space) => tree(space, path ?? '/', options)),
    );
  common(program.command('mkns <path>').description('make a namespace'))
    .option('-p, --parents', 'make those above it too, and be content if it is there')
    .action((path: string, options: Common & { parents?: boolean }) => withSpace(options, (space) => makeNamespace(space, path, options)));
  common(program.command('ln <target> <path>').description('give an object a name, or with -S make a link to a path'))
    .option('-S, --symbolic', 'a link: it leads to whatever has that path when it is used')
    .option('-f, --force', 'replace the name if it is taken')
    .option('--owns', 'the object goes when the name is removed')
    .action((target: string, path: string, options: LnFlags) => withSpace(options, (space) => name(space, target, path, options)));
  common(program.command('mv <from> <to>').description('move a name, atomically'))
    .option('-f, --force', 'replace the name if it is taken')
    .action((from: string, to: string, options: Common & { force?: boolean }) =>
      withSpace(options, (space) => {
        space.names.rename(from, to, { replace: options.force ?? false });
        if (options.json === true) out.json({ from, to });
      }),
    );
  common(program.command('rm <targets...>').description('remove names (paths), or delete objects (IDs)'))
    .option('-r, --recursive', 'remove a namespace with all that is below')
    .option('-o, --object', 'delete the object that has the name, too')
    .action((targets: string[], options: RmFlags) => withSpace(options, (space) => remove(space, targets, options)));
}

// --- ls ---------------------------------------------------------------------------------------------------------------------

interface LsFlags extends Common {
  readonly long?: boolean;
  readonly ids?: boolean;
}

interface Facts {
  readonly kind: string;
  readonly size: number;
  readonly type: string | undefined;
}

/** What `ls -l` says of an object; a broken one must not hide the others. */
function facts(space: Space, id: string | undefined): Facts | string {
  if (id === undefined) return '';
  try {
    const object = findTarget(space, id);
    return { kind: object.kind, size: object.size, type: object.schema?.root };
  } catch (error) {
    if (isTwzError(error)) return error.name;
    throw error;
  }
}

export function list(space: Space, path: string, options: LsFlags): void {
  if (options.ids === true) {
    listIds(space, options);
    return;
  }
  const entries = entriesAt(space, path);
  if (options.json === true) {
    out.json(entries.map((entry) => (options.long === true ? { ...entry, object: facts(space, entry.id) } : entry)));
    return;
  }
  if (options.long !== true) {
    for (const entry of entries) out.line(label(entry));
    return;
  }
  const rows = entries.map((entry) => [...factCells(facts(space, entry.id)), entry.id ?? '', entry.owns ? 'owns' : '', label(entry)]);
  table(out, [{ head: 'KIND' }, { head: 'SIZE', right: true }, { head: 'TYPE' }, { head: 'ID' }, { head: '' }, { head: 'NAME' }], rows);
}

/** The names in a namespace, or the one name that is no namespace. */
function entriesAt(space: Space, path: string): NameEntry[] {
  try {
    return space.names.list(path);
  } catch (error) {
    if (!isTwzError(error, 'NotNamespace')) throw error;
    const parent = path.slice(0, path.lastIndexOf('/')) || '/';
    const last = path.slice(path.lastIndexOf('/') + 1);
    const entry = space.names.list(parent).find((each) => each.name === last);
    if (entry === undefined) throw error;
    return [entry];
  }
}

function factCells(found: Facts | string): string[] {
  if (typeof found === 'string') return [found === '' ? 'link' : out.paint('red', found), '', ''];
  return [found.kind, size(found.size), found.type ?? ''];
}

function label(entry: NameEntry): string {
  const text = printable(entry.name);
  if (entry.kind === 'namespace') return out.paint('blue', `${text}/`);
  return entry.kind === 'link' ? `${out.paint('cyan', text)} -> ${printable(entry.target ?? '')}` : text;
}

function listIds(space: Space, options: LsFlags): void {
  const ids = [...space.ids()].sort();
  if (options.json === true) {
    out.json(options.long === true ? ids.map((id) => ({ id, object: facts(space, id) })) : ids);
    return;
  }
  if (options.long !== true) {
    for (const id of ids) out.line(id);
    return;
  }
  const progress = new Progress('listing');
  const rows = ids.map((id, i) => {
    progress.step(i, ids.length);
    return [...factCells(facts(space, id)), id];
  });
  progress.done();
  table(out, [{ head: 'KIND' }, { head: 'SIZE', right: true }, { head: 'TYPE' }, { head: 'ID' }], rows);
}

// --- tree -------------------------------------------------------------------------------------------------------------------

interface Branch extends NameEntry {
  readonly names?: readonly Branch[];
}

export function tree(space: Space, path: string, options: Common & { depth?: number }): void {
  const base = path === '/' ? '' : path.replace(/\/+$/, '');
  const depth = options.depth ?? Infinity;
  if (options.json === true) {
    out.json(branches(space, base, depth, new Set()));
    return;
  }
  out.line(out.paint('blue', printable(path)));
  const counts = { names: 0, namespaces: 0 };
  printBranches(branches(space, base, depth, new Set()), '', counts);
  out.line(out.paint('dim', `${plural(counts.names, 'name')}, ${plural(counts.namespaces, 'namespace')}`));
}

/** A namespace that lies below itself is shown once. */
function branches(space: Space, path: string, depth: number, above: ReadonlySet<string>): Branch[] {
  const below = depth <= 0 ? [] : space.names.list(path === '' ? '/' : path);
  return below.map((entry) => {
    if (entry.kind !== 'namespace' || entry.id === undefined || above.has(entry.id)) return entry;
    return { ...entry, names: branches(space, `${path}/${entry.name}`, depth - 1, new Set([...above, entry.id])) };
  });
}

function printBranches(list_: readonly Branch[], indent: string, counts: { names: number; namespaces: number }): void {
  for (const [i, branch] of list_.entries()) {
    const last = i === list_.length - 1;
    out.line(`${out.paint('dim', `${indent}${last ? '└── ' : '├── '}`)}${label(branch)}`);
    if (branch.kind === 'namespace') counts.namespaces++;
    else counts.names++;
    printBranches(branch.names ?? [], `${indent}${last ? '    ' : '│   '}`, counts);
  }
}

// --- changes ----------------------------------------------------------------------------------------------------------------

export function makeNamespace(space: Space, path: string, options: Common & { parents?: boolean }): void {
  if (options.parents !== true) space.names.mkns(path);
  else {
    space.relaxed(() => {
      const parts = path.split('/').filter((part) => part !== '');
      for (let i = 1; i <= parts.length; i++) {
        const part = `/${parts.slice(0, i).join('/')}`;
        if (space.names.lookup(part) === undefined) space.names.mkns(part);
      }
    });
  }
  if (options.json === true) out.json({ path, id: space.names.lookup(path) });
}

interface LnFlags extends Common {
  readonly symbolic?: boolean;
  readonly force?: boolean;
  readonly owns?: boolean;
}

export function name(space: Space, target: string, path: string, options: LnFlags): void {
  if (options.symbolic === true) {
    if (options.owns === true) throw new UsageError('a link owns nothing: leave --owns out');
    space.relaxed(() => {
      if (
        options.force === true &&
        space.names.list(path.slice(0, path.lastIndexOf('/')) || '/').some((entry) => path.endsWith(`/${entry.name}`))
      )
        space.names.remove(path);
      space.names.link(path, target);
    });
    if (options.json === true) out.json({ path, to: target });
    return;
  }
  const object = findTarget(space, target);
  space.names.set(path, object, { owns: options.owns ?? false, replace: options.force ?? false });
  if (options.json === true) out.json({ path, id: object.id });
}

interface RmFlags extends Common {
  readonly recursive?: boolean;
  readonly object?: boolean;
}

/** All of them or, if one fails, none. */
export function remove(space: Space, targets: readonly string[], options: RmFlags): void {
  const done = space.relaxed(() =>
    targets.map((target) => {
      if (!target.startsWith('/')) {
        const object = findTarget(space, target);
        return { target, id: object.id, object: space.delete(object) };
      }
      const id = options.object === true ? space.names.lookup(target) : undefined;
      space.names.remove(target, { recursive: options.recursive ?? false });
      if (id === undefined || !space.has(id)) return { target };
      return { target, id, object: space.delete(space.object(id)) };
    }),
  );
  if (options.json === true) out.json(done);
  else
    for (const { target, object } of done) if (object === 'kept') out.line(`${target}: kept until the objects that it is tied to are gone`);
}

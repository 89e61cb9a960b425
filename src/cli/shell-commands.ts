/** The commands of the shell: how a line is split, what each does, and how Tab goes on. */
import { ObjectImage } from '../services/check/object-image.ts';
import { structForJson, typesOf } from '../services/dynamic.ts';
import { getField, setField } from '../services/fields.ts';
import { TwzError, isTwzError } from '../abi/errors.ts';
import type { Obj } from '../lib/object.ts';
import type { Space } from '../space.ts';
import { viewObject } from '../services/show.ts';
import { graph, printFacts, show } from './commands/inspect.ts';
import { list, makeNamespace, name, remove, tree } from './commands/names.ts';
import { explainPage } from './explain.ts';
import { UsageError } from './failure.ts';
import { out, plural, table } from './output.ts';
import { findTarget, imageReader } from './space.ts';

export interface Session {
  readonly space: Space;
  /** The current namespace. */
  directory: string;
  /** Commands of the open transaction, not yet done, and where each was given; undefined outside of one. */
  queue: { readonly line: string; readonly directory: string }[] | undefined;
  readonly json: boolean;
}

interface ShellCommand {
  readonly usage: string;
  readonly what: string;
  /** Least and most arguments. */
  readonly takes: readonly [number, number];
  /** Waits for `commit` inside a transaction. */
  readonly changes?: boolean;
  /** Flags that it knows. */
  readonly flags?: readonly string[];
  /** False: the shell ends. */
  run(session: Session, args: readonly string[], flags: ReadonlySet<string>): boolean | void;
}

/** Splits a line at blanks; quotes hold a word together, and a bracket holds all up to its end. */
export function splitLine(line: string): string[] {
  const words: string[] = [];
  let at = 0;
  while (at < line.length) {
    if (/\s/.test(line.charAt(at))) {
      at++;
      continue;
    }
    if (line.charAt(at) === '#' && words.length === 0) return [];
    if (line.charAt(at) === '{' || line.charAt(at) === '[') {
      words.push(line.slice(at).trim());
      break;
    }
    let word = '';
    let quote = '';
    for (; at < line.length && (quote !== '' || !/\s/.test(line.charAt(at))); at++) {
      const c = line.charAt(at);
      if (c === '\\' && at + 1 < line.length && quote !== "'") word += line.charAt(++at);
      else if (quote !== '' && c === quote) quote = '';
      else if (quote === '' && (c === '"' || c === "'")) quote = c;
      else word += c;
    }
    if (quote !== '') throw new UsageError(`the line ends inside ${quote}`);
    words.push(word);
  }
  return words;
}

/** A path as the session sees it: relative ones begin at its namespace; `.` and `..` are resolved. IDs stay as they are. */
export function absolute(session: Session, text: string): string {
  if (/^[0-9a-f]{32}$/i.test(text)) return text;
  const parts: string[] = [];
  for (const part of (text.startsWith('/') ? text : `${session.directory}/${text}`).split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/** A name in the namespace, else the digits of an ID. */
function targetOf(session: Session, text: string): Obj {
  const path = absolute(session, text);
  if (/^[0-9a-f]{4,31}$/i.test(text) && session.space.names.lookup(path) === undefined) return findTarget(session.space, text);
  return findTarget(session.space, path);
}

function setCommand(session: Session, args: readonly string[]): void {
  const [target = '', field = '', ...value] = args;
  const object = targetOf(session, target);
  session.space.relaxed(() => setField(session.space, object, field, value.join(' '), (text) => targetOf(session, text)));
}

function newCommand(session: Session, args: readonly string[]): void {
  const [path = '', ...rest] = args;
  const like = rest[0] === 'like' ? targetOf(session, rest[1] ?? '') : undefined;
  const text = (like === undefined ? rest : rest.slice(2)).join(' ') || '{}';
  const fields = parseObject(text);
  const { space } = session;
  space.relaxed(() => {
    const typed = like === undefined ? undefined : typesOf(like);
    if (typed === undefined && Object.keys(fields).length === 0)
      throw new UsageError('new needs fields, as {"name": "Zoe", "age": 7}, or `like OTHER`');
    const made = space.create(typed?.type ?? structForJson('Record', fields));
    for (const [key, value] of Object.entries(fields)) {
      if (!(key in made)) throw new TwzError('ValueMismatch', `${typed?.schema.root ?? 'Record'} has no field "${key}"`, { field: key });
      Reflect.set(made, key, value);
    }
    space.names.set(absolute(session, path), made);
  });
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`${text}: ${cause instanceof Error ? cause.message : 'not JSON'}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`${text}: expected fields, as {"name": "Zoe"}`);
  return value as Readonly<Record<string, unknown>>;
}

function commit(session: Session): void {
  const { queue, space } = session;
  if (queue === undefined) throw new UsageError('no transaction is open; `tx` begins one');
  session.queue = undefined;
  const here = session.directory;
  try {
    space.relaxed(() => {
      for (const { line, directory } of queue) {
        session.directory = directory;
        runLine(session, line);
      }
    });
  } finally {
    session.directory = here;
  }
  space.sync();
  out.line(`committed ${plural(queue.length, 'command')}`);
}

export const COMMANDS: Readonly<Record<string, ShellCommand>> = {
  ls: {
    usage: 'ls [-l] [PATH]',
    what: 'list names',
    takes: [0, 1],
    flags: ['-l'],
    run: (session, [path = '.'], flags) => list(session.space, absolute(session, path), { long: flags.has('-l'), json: session.json }),
  },
  cd: { usage: 'cd [PATH]', what: 'go to a namespace', takes: [0, 1], run: changeDirectory },
  pwd: { usage: 'pwd', what: 'print where you are', takes: [0, 0], run: (session) => out.line(session.directory) },
  tree: {
    usage: 'tree [PATH]',
    what: 'list names and what is below',
    takes: [0, 1],
    run: (session, [path = '.']) => tree(session.space, absolute(session, path), { json: session.json }),
  },
  show: {
    usage: 'show [-x] TARGET [DEPTH]',
    what: 'show an object: typed, or its bytes with -x; follow DEPTH references',
    takes: [1, 2],
    flags: ['-x'],
    run: showCommand,
  },
  stat: {
    usage: 'stat TARGET',
    what: 'facts about an object',
    takes: [1, 1],
    run: (session, [target = '']) => printFacts(viewObject(new ObjectImage(targetOf(session, target).image())), { json: session.json }),
  },
  graph: {
    usage: 'graph TARGET [DEPTH]',
    what: 'what an object refers to',
    takes: [1, 2],
    run: (session, [target = '', depth = '2']) =>
      graph(session.space, [targetOf(session, target).id], { format: 'text', depth: wholeNumber(depth), limit: 1000, json: session.json }),
  },
  get: {
    usage: 'get TARGET FIELD[.FIELD…]',
    what: 'print a field; references are followed',
    takes: [2, 2],
    run: (session, [target = '', field = '']) => out.json(getField(session.space, targetOf(session, target), field)),
  },
  set: {
    usage: 'set TARGET FIELD[.FIELD…] VALUE',
    what: 'store a field: a number, a text, true, null, a path or an ID, absent, [1, 2]',
    takes: [3, Infinity],
    changes: true,
    run: setCommand,
  },
  new: {
    usage: 'new PATH [like TARGET] {FIELDS}',
    what: 'make an object and name it',
    takes: [1, Infinity],
    changes: true,
    run: newCommand,
  },
  cp: {
    usage: 'cp TARGET PATH',
    what: 'copy an object, and name the copy',
    takes: [2, 2],
    changes: true,
    run: (session, [from = '', to = '']) =>
      session.space.relaxed(() => session.space.names.set(absolute(session, to), session.space.copy(targetOf(session, from)))),
  },
  ln: {
    usage: 'ln [-S] [-f] TARGET PATH',
    what: 'give an object a name; -S: make a link to a path',
    takes: [2, 2],
    changes: true,
    flags: ['-S', '-f'],
    run: (session, [target = '', path = ''], flags) =>
      name(session.space, absolute(session, target), absolute(session, path), { symbolic: flags.has('-S'), force: flags.has('-f') }),
  },
  mv: {
    usage: 'mv FROM TO',
    what: 'move a name',
    takes: [2, 2],
    changes: true,
    run: (session, [from = '', to = '']) => session.space.names.rename(absolute(session, from), absolute(session, to)),
  },
  rm: {
    usage: 'rm [-r] [-o] TARGET…',
    what: 'remove names, or delete objects by ID; -o: the named objects too',
    takes: [1, Infinity],
    changes: true,
    flags: ['-r', '-o'],
    run: (session, targets, flags) =>
      remove(
        session.space,
        targets.map((target) => absolute(session, target)),
        { recursive: flags.has('-r'), object: flags.has('-o') },
      ),
  },
  mkns: {
    usage: 'mkns [-p] PATH',
    what: 'make a namespace',
    takes: [1, 1],
    changes: true,
    flags: ['-p'],
    run: (session, [path = ''], flags) => makeNamespace(session.space, absolute(session, path), { parents: flags.has('-p') }),
  },
  tx: { usage: 'tx', what: 'begin a transaction: changes wait for `commit`, and happen all or none', takes: [0, 0], run: beginTransaction },
  commit: { usage: 'commit', what: 'do the waiting changes as one transaction, durably', takes: [0, 0], run: commit },
  abort: { usage: 'abort', what: 'drop the waiting changes', takes: [0, 0], run: abort },
  sync: { usage: 'sync', what: 'make everything durable', takes: [0, 0], run: ({ space }) => space.sync() },
  reclaim: {
    usage: 'reclaim',
    what: 'delete counted objects that nothing refers to',
    takes: [0, 0],
    run: ({ space }) => out.line(`deleted ${plural(space.reclaim().deleted.length, 'object')}`),
  },
  explain: { usage: 'explain NAME|CODE', what: 'explain an error or a finding', takes: [1, 1], run: explain },
  help: { usage: 'help', what: 'print this', takes: [0, 0], run: help },
  exit: { usage: 'exit', what: 'end', takes: [0, 0], run: () => false },
};
const ALIASES: Readonly<Record<string, string>> = { cat: 'show', quit: 'exit', dir: 'ls' };

function changeDirectory(session: Session, [path = '/']: readonly string[]): void {
  const to = absolute(session, path);
  session.space.names.list(to);
  session.directory = to;
}

function wholeNumber(text: string): number {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 0) throw new UsageError(`"${text}" is no number from 0 up`);
  return n;
}

function showCommand(session: Session, [target = '', depth = '0']: readonly string[], flags: ReadonlySet<string>): void {
  const object = targetOf(session, target);
  show(new ObjectImage(object.image()), imageReader(session.space), {
    depth: wholeNumber(depth),
    hex: flags.has('-x'),
    json: session.json,
  });
}

function beginTransaction(session: Session): void {
  if (session.queue !== undefined) throw new UsageError('a transaction is open already; `commit` or `abort` ends it');
  session.queue = [];
}

function abort(session: Session): void {
  if (session.queue === undefined) throw new UsageError('no transaction is open');
  out.line(`dropped ${plural(session.queue.length, 'command')}`);
  session.queue = undefined;
}

function explain(_session: Session, [what = '']: readonly string[]): void {
  const page = explainPage(what);
  if (page === undefined) throw new UsageError(`nothing is named "${what}"`);
  out.line(`${page.what} ${page.remedy}`);
}

function help(): void {
  table(
    out,
    [{ head: 'COMMAND' }, { head: 'WHAT IT DOES' }],
    Object.values(COMMANDS).map((command) => [command.usage, command.what]),
  );
  out.line(out.paint('dim', 'TARGET is a path, relative or from /, or an object ID or its first digits. # begins a comment.'));
}

/** Runs one line. False: the shell ends. */
export function runLine(session: Session, line: string): boolean {
  const [verb, ...words] = splitLine(line);
  if (verb === undefined) return true;
  const command = COMMANDS[ALIASES[verb] ?? verb];
  if (command === undefined) throw new UsageError(`unknown command "${verb}"; \`help\` lists them`);
  const flags = new Set<string>();
  const args: string[] = [];
  for (const word of words) {
    if (command.flags === undefined || !/^-[a-zA-Z]$/.test(word)) args.push(word);
    else if (command.flags.includes(word)) flags.add(word);
    else throw new UsageError(`${verb}: unknown flag ${word}; usage: ${command.usage}`);
  }
  const [least, most] = command.takes;
  if (args.length < least || args.length > most) throw new UsageError(`usage: ${command.usage}`);
  if (command.changes === true && session.queue !== undefined) {
    session.queue.push({ line, directory: session.directory });
    return true;
  }
  return command.run(session, args, flags) !== false;
}

/** Commands at the start of a line, names behind it. */
export function complete(session: Session, line: string): [string[], string] {
  const words = line.split(/\s+/);
  const last = words.at(-1) ?? '';
  if (words.length <= 1) {
    const verbs = [...Object.keys(COMMANDS), ...Object.keys(ALIASES)].filter((verb) => verb.startsWith(last)).sort();
    return [verbs.map((verb) => `${verb} `), last];
  }
  const verb = words[0] ?? '';
  if ((verb === 'get' || verb === 'set') && words.length === 3) return [fieldNames(session, words[1] ?? '', last), last];
  const slash = last.lastIndexOf('/') + 1;
  const base = last.slice(0, slash);
  try {
    const entries = session.space.names.list(absolute(session, base === '' ? '.' : base));
    const fitting = entries.filter((entry) => entry.name.startsWith(last.slice(slash)));
    return [fitting.map((entry) => base + entry.name + (entry.kind === 'namespace' ? '/' : ' ')), last];
  } catch (error) {
    if (error instanceof TwzError) return [[], last];
    throw error;
  }
}

function fieldNames(session: Session, target: string, start: string): string[] {
  try {
    const { schema } = typesOf(targetOf(session, target));
    const fields = schema.types.get(schema.root)?.fields ?? [];
    return fields.map((field) => field.name).filter((field) => field.startsWith(start));
  } catch (error) {
    if (isTwzError(error) || error instanceof UsageError) return [];
    throw error;
  }
}

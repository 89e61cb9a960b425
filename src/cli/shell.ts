/** The shell: one space, held open, and commands on it. On a terminal with prompt, history and completion; else it reads a script. */
import * as readline from 'node:readline';
import { homedir } from 'node:os';
import { TwzError } from '../abi/errors.ts';
import { open, type Space } from '../space.ts';
import { readWhole } from '../services/check/control.ts';
import { EXIT, UsageError, report } from './failure.ts';
import { err, out } from './output.ts';
import { complete, runLine, type Session } from './shell-commands.ts';
import { spaceDirectory, theHost, type Common } from './space.ts';

const HISTORY_MAX = 1000;

function historyPath(): string | undefined {
  const own = process.env['TWZ_HISTORY'];
  if (own !== undefined) return own === '' ? undefined : own;
  return `${homedir()}/.twz_history`;
}

function loadHistory(): string[] {
  const path = historyPath();
  try {
    const bytes = path === undefined ? undefined : readWhole(theHost(), path);
    return bytes === undefined
      ? []
      : new TextDecoder()
          .decode(bytes)
          .split('\n')
          .filter((line) => line !== '');
  } catch (error) {
    if (error instanceof TwzError) return [];
    throw error;
  }
}

/** Newest first, as readline keeps it. A history that cannot be kept is no reason to fail. */
function saveHistory(lines: readonly string[]): void {
  const path = historyPath();
  if (path === undefined) return;
  const host = theHost();
  const bytes = new TextEncoder().encode(
    lines
      .slice(0, HISTORY_MAX)
      .map((line) => `${line}\n`)
      .join(''),
  );
  try {
    const file = host.open(path, 'create');
    try {
      host.truncate(file, 0);
      host.write(file, bytes, 0);
    } finally {
      host.close(file);
    }
  } catch (error) {
    if (!(error instanceof TwzError)) throw error;
  }
}

export async function shell(options: Common & { readonly command?: string }): Promise<number> {
  const directory = spaceDirectory(options);
  const space = open(directory, { create: false, host: theHost() });
  const session: Session = { space, directory: '/', queue: undefined, json: options.json ?? false };
  try {
    if (options.command !== undefined) return runScript(session, [options.command]);
    if (process.stdin.isTTY && out.terminal) return await interactive(session, directory);
    return await script(session);
  } finally {
    closeQuietly(space);
  }
}

function closeQuietly(space: Space): void {
  if (!space.closed) space.close();
}

// --- a script -----------------------------------------------------------------------------------------------------------------

async function script(session: Session): Promise<number> {
  const reader = readline.createInterface({ input: process.stdin, crlfDelay: Infinity });
  let number = 0;
  for await (const line of reader) {
    number++;
    const code = runOne(session, line, number);
    if (code !== undefined) return code;
  }
  return unfinished(session);
}

function runScript(session: Session, lines: readonly string[]): number {
  for (const line of lines) {
    const code = runOne(session, line, undefined);
    if (code !== undefined) return code;
  }
  return unfinished(session);
}

/** A script ends at its first error. Undefined: go on. */
function runOne(session: Session, line: string, number: number | undefined): number | undefined {
  try {
    return runLine(session, line) ? undefined : EXIT.done;
  } catch (error) {
    if (number !== undefined && !session.json) err.line(err.paint('dim', `line ${number}: ${line.trim()}`));
    return report(error, session.json);
  }
}

function unfinished(session: Session): number {
  if (session.queue === undefined) return EXIT.done;
  return report(
    new UsageError(`the script ended in a transaction of ${session.queue.length} commands that was not committed; nothing of it was done`),
    session.json,
  );
}

// --- a terminal ---------------------------------------------------------------------------------------------------------------

function promptOf(session: Session): string {
  const where = out.paint('blue', session.directory);
  return session.queue === undefined ? `twz ${where}> ` : `twz ${where} ${out.paint('yellow', `tx ${session.queue.length}`)}> `;
}

async function interactive(session: Session, directory: string): Promise<number> {
  out.line(
    `space ${session.space.stat().id} in ${directory}; ${out.paint('bold', 'help')} lists the commands, ${out.paint('bold', 'exit')} or ^D ends`,
  );
  const reader = readline.createInterface({
    input: process.stdin,
    output: process.stdout,
    history: loadHistory(),
    historySize: HISTORY_MAX,
    removeHistoryDuplicates: true,
    completer: (line: string) => complete(session, line),
  });
  let history: readonly string[] = [];
  reader.on('history', (lines: string[]) => {
    history = [...lines];
  });
  const code = await new Promise<number>((done) => {
    const prompt = (): void => {
      reader.setPrompt(promptOf(session));
      reader.prompt();
    };
    reader.on('line', (line) => {
      let goOn = true;
      try {
        goOn = runLine(session, line);
      } catch (error) {
        if (report(error, false) === EXIT.bug) goOn = false;
      }
      if (goOn) prompt();
      else reader.close();
    });
    reader.on('SIGINT', () => {
      out.line('^C');
      reader.write(null, { ctrl: true, name: 'u' });
      prompt();
    });
    reader.on('close', () => done(EXIT.done));
    prompt();
  });
  if (session.queue !== undefined) err.line(err.paint('yellow', `the open transaction of ${session.queue.length} commands was dropped`));
  if (history.length > 0) saveHistory(history);
  return code;
}

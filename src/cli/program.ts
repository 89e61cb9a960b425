/** The commands of `twz` and how their lines are read. What each does is in commands/. */
import { Command, CommanderError } from 'commander';
import { EXIT, UsageError, report } from './failure.ts';
import { out } from './output.ts';
import { VERSION } from './version.ts';
import { addBackupCommands } from './commands/backup.ts';
import { addInspectCommands } from './commands/inspect.ts';
import { addNameCommands } from './commands/names.ts';
import { addCompareCommands } from './commands/compare.ts';
import { addDumpCommands } from './commands/dump.ts';
import { addLiveCommands } from './commands/live.ts';
import { addMaintainCommands } from './commands/maintain.ts';
import { addMeta } from './commands/meta.ts';
import { addSpaceCommands } from './commands/space.ts';
import { addThreadCommands } from './commands/threads.ts';
import { addTransferCommands } from './commands/transfer.ts';

const TOPICS = `
TARGET is a path (/people/bob) or an object ID, or the first digits of one.
The space is the directory given by -s, else by TWZ_SPACE, else the current directory if it is a space, else ./.twizzler.

Exit codes: 0 done, 1 findings, 2 wrong usage, 3 operating error, 4 a bug in twizzler, 130 interrupted.`;

/** Runs one command line; returns the exit code. */
export async function runMain(argv: readonly string[]): Promise<number> {
  const json = wantsJson(argv);
  const ending: Ending = { code: EXIT.done };
  const program = buildProgram(ending);
  try {
    if (argv.length === 0) {
      out.write(program.helpInformation());
      out.line(TOPICS);
      return EXIT.done;
    }
    await program.parseAsync([...argv], { from: 'user' });
    return ending.code;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT.done;
      return report(new UsageError(error.message.replace(/^error: /, '').replaceAll('\n', ' ')), json);
    }
    return report(error, json);
  }
}

/** `--json`, unless it belongs to a program that `run` starts. */
function wantsJson(argv: readonly string[]): boolean {
  const run = argv.indexOf('run');
  return (run < 0 ? argv : argv.slice(0, run)).includes('--json');
}

/** A command that ends with another code than 0 without an error says so here. */
export interface Ending {
  code: number;
}

function buildProgram(ending: Ending): Command {
  const program = new Command('twz')
    .description('Persistent data as memory: look at and change a Twizzler space.')
    .enablePositionalOptions()
    .helpCommand('help [COMMAND]', 'print help for a command')
    .helpOption('-h, --help', 'print help')
    .version(VERSION, '-V, --version', 'print the version')
    .addHelpText('after', TOPICS)
    .configureOutput({ writeOut: (text) => out.write(text), writeErr: () => undefined })
    .showSuggestionAfterError(true)
    .exitOverride();
  addMeta(program);
  addSpaceCommands(program, ending);
  addNameCommands(program);
  addInspectCommands(program);
  addTransferCommands(program, ending);
  addBackupCommands(program, ending);
  addDumpCommands(program);
  addCompareCommands(program, ending);
  addMaintainCommands(program, ending);
  addLiveCommands(program);
  addThreadCommands(program);
  for (const command of program.commands) {
    command.exitOverride().configureOutput({ writeOut: (text) => out.write(text), writeErr: () => undefined });
  }
  return program;
}

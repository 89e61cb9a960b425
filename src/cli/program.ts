/** The commands of `twz` and how their lines are read. What each does is in commands/. */
import { Command, CommanderError } from 'commander';
import { assert } from '../abi/errors.ts';
import { EXIT, UsageError, report } from './failure.ts';
import { out } from './output.ts';
import { VERSION } from './version.ts';

type Add = (program: Command, ending: Ending) => void;

/** The commands, and what adds them: loaded when one of them is called, for all of them take half a second. Help and unknown names load all, in this order. */
const GROUPS: readonly { readonly names: readonly string[]; readonly load: () => Promise<Add> }[] = [
  { names: ['version', 'explain'], load: async () => (await import('./commands/meta.ts')).addMeta },
  { names: ['init', 'check', 'log'], load: async () => (await import('./commands/space.ts')).addSpaceCommands },
  { names: ['ls', 'tree', 'mkns', 'ln', 'mv', 'rm'], load: async () => (await import('./commands/names.ts')).addNameCommands },
  { names: ['show', 'stat', 'graph'], load: async () => (await import('./commands/inspect.ts')).addInspectCommands },
  { names: ['export', 'import', 'run', 'shell'], load: async () => (await import('./commands/transfer.ts')).addTransferCommands },
  { names: ['backup', 'restore'], load: async () => (await import('./commands/backup.ts')).addBackupCommands },
  { names: ['dump', 'load'], load: async () => (await import('./commands/dump.ts')).addDumpCommands },
  { names: ['du', 'diff', 'copy'], load: async () => (await import('./commands/compare.ts')).addCompareCommands },
  { names: ['migrate', 'defragment'], load: async () => (await import('./commands/maintain.ts')).addMaintainCommands },
  { names: ['top', 'trace'], load: async () => (await import('./commands/live.ts')).addLiveCommands },
  { names: ['threads'], load: async () => (await import('./commands/threads.ts')).addThreadCommands },
  { names: ['key', 'ctx', 'cap'], load: async () => (await import('./commands/security.ts')).addSecurityCommands },
  { names: ['serve'], load: async () => (await import('./commands/serve.ts')).addServeCommand },
  { names: ['join', 'nodes', 'where'], load: async () => (await import('./commands/cluster.ts')).addClusterCommands },
  { names: ['plan'], load: async () => (await import('./commands/plan.ts')).addPlanCommand },
  { names: ['files'], load: async () => (await import('./commands/files.ts')).addFileCommands },
  { names: ['sql'], load: async () => (await import('./commands/sql.ts')).addSqlCommand },
  { names: ['sdk', 'build', 'install'], load: async () => (await import('./commands/sdk.ts')).addSdkCommands },
];

const TOPICS = `
TARGET is a path (/people/bob) or an object ID, or the first digits of one.
The space is the directory given by -s, else by TWZ_SPACE, else the current directory if it is a space, else ./.twizzler.

Exit codes: 0 done, 1 findings, 2 wrong usage, 3 operating error, 4 a bug in twizzler, 130 interrupted.`;

/** Runs one command line; returns the exit code. */
export async function runMain(argv: readonly string[]): Promise<number> {
  const json = wantsJson(argv);
  const ending: Ending = { code: EXIT.done };
  const program = await buildProgram(ending, argv[0]);
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

/** With the commands of the group that the first word is one of, or all. */
async function buildProgram(ending: Ending, first: string | undefined): Promise<Command> {
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
  const called = GROUPS.filter(({ names }) => names.includes(first ?? ''));
  for (const { names, load } of called.length > 0 ? called : GROUPS) {
    const before = program.commands.length;
    (await load())(program, ending);
    const added = program.commands.slice(before).map((command) => command.name());
    assert(
      added.length === names.length && names.every((name) => added.includes(name)),
      `the commands ${added.join(', ')} stand as ${names.join(', ')}`,
    );
  }
  for (const command of program.commands.flatMap((each) => [each, ...each.commands])) {
    command.exitOverride().configureOutput({ writeOut: (text) => out.write(text), writeErr: () => undefined });
  }
  return program;
}

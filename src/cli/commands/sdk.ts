/** Commands for those who write programs: sdk, build. */
import { basename } from 'node:path';
import { Option, type Command } from 'commander';
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { buildProgram } from '../../services/build/build.ts';
import { writeFirst } from '../../services/build/first.ts';
import { programs } from '../../services/programs.ts';
import { layoutsAssemblyScript } from '../../services/sdk/layouts-as.ts';
import { layoutsC } from '../../services/sdk/layouts-c.ts';
import { layoutsRust } from '../../services/sdk/layouts-rust.ts';
import { layoutsOf } from '../../services/sdk/layouts.ts';
import { LANGUAGES, syscallsFor, syscallsMarkdown, type Language } from '../../services/sdk/syscall-text.ts';
import { UsageError } from '../failure.ts';
import { err, out, plural, printable, size } from '../output.ts';
import { importProgram } from '../run.ts';
import { wholeFile } from '../run-wasm.ts';
import { common, theHost, withSpace, type Common } from '../space.ts';

export function addSdkCommands(program: Command): void {
  program
    .command('sdk [file]')
    .description('print the structs that a TypeScript module declares, for programs in another language')
    .addOption(new Option('-l, --lang <language>', 'as (AssemblyScript), c or rust').choices([...LANGUAGES, 'md']).default('as'))
    .option('-o, --output <file>', 'write to a file')
    .option('--syscalls', 'the syscalls instead; for md the manual')
    .action(sdk);
  common(program.command('build [source]').description('build a program from AssemblyScript, C or Rust; or write a first one'))
    .option('-o, --output <file>', 'by default the name of the source, with .wasm')
    .option('-g, --names', 'keep the names of functions, for the messages of faults')
    .option('--init <name>', 'write a first program into a directory of that name')
    .addOption(new Option('-l, --lang <language>', 'of the first program: as, c or rust').choices(LANGUAGES).default('as'))
    .action(build);
  common(program.command('install <file> [path]').description('keep a program in the space, as an immutable object'))
    .addHelpText('after', '\nPATH is a name in the space, by default /bin/ and the name of the file. `twz run PATH` runs it.')
    .action(install);
}

async function install(file: string, path: string | undefined, options: Common): Promise<void> {
  const module = wholeFile(file);
  const name = path ?? `/bin/${basename(file).replace(/\.wasm$/, '')}`;
  await withSpace(options, (space) => {
    const id = programs(space).install(module, name);
    const { gates } = programs(space).prepare(module);
    if (options.json === true) out.json({ id, path: name, gates: [...gates.keys()] });
    else out.line(`${name}  ${id}${gates.size === 0 ? '' : `, ${plural(gates.size, 'gate')}: ${[...gates.keys()].join(', ')}`}`);
  });
}

interface BuildFlags extends Common {
  readonly output?: string;
  readonly names?: boolean;
  readonly init?: string;
  readonly lang: Language;
}

async function build(source: string | undefined, options: BuildFlags): Promise<void> {
  if ((source === undefined) === (options.init === undefined)) throw new UsageError('name a source, or give --init NAME');
  if (options.init !== undefined) {
    const written = writeFirst(options.init, options.lang);
    if (options.json === true) out.json({ written });
    else for (const file of written) out.line(file);
    return;
  }
  try {
    const { output, bytes, manifest } = await buildProgram(source ?? '', { output: options.output, names: options.names ?? false });
    const gates = Object.keys(manifest.gates ?? {});
    if (options.json === true) out.json({ output, bytes, ...manifest });
    else out.line(`${output}  ${size(bytes)}${gates.length === 0 ? '' : `, ${plural(gates.length, 'gate')}: ${gates.join(', ')}`}`);
  } catch (error) {
    if (isTwzError(error, 'BuildFailed') && typeof error.context['said'] === 'string' && options.json !== true)
      for (const line of error.context['said'].split('\n')) err.line(printable(line));
    throw error;
  }
}

interface SdkFlags {
  readonly lang: Language | 'md';
  readonly output?: string;
  readonly syscalls?: boolean;
}

async function sdk(file: string | undefined, { lang, output, syscalls }: SdkFlags): Promise<void> {
  if ((file === undefined) !== (syscalls === true)) throw new UsageError('name a TypeScript module, or give --syscalls');
  const text = file === undefined ? (lang === 'md' ? syscallsMarkdown() : syscallsFor(lang)) : await declarations(file, lang, output);
  if (output === undefined) out.write(text);
  else writeText(output, text);
}

async function declarations(file: string, lang: Language | 'md', output: string | undefined): Promise<string> {
  if (lang === 'md') throw new UsageError('md is for --syscalls; for structs choose as, c or rust');
  const layouts = layoutsOf(await importProgram(file));
  if (layouts.length === 0)
    throw new TwzError('InvalidArgument', `${file} exports no structs: export those that programs shall have`, { file });
  if (lang === 'as') return layoutsAssemblyScript(layouts);
  if (lang === 'rust') return layoutsRust(layouts);
  return layoutsC(
    layouts,
    `${basename(output ?? file)
      .replaceAll(/[^A-Za-z0-9]/g, '_')
      .toUpperCase()}_INCLUDED`,
  );
}

function writeText(path: string, text: string): void {
  const host = theHost();
  host.remove(path);
  const file = host.open(path, 'create');
  try {
    host.write(file, new TextEncoder().encode(text), 0);
  } finally {
    host.close(file);
  }
}

/** Commands that bring things in and out, and run programs: import, export, run, shell. */
import type { Command } from 'commander';
import { UsageError } from '../failure.ts';
import { out, size } from '../output.ts';
import type { Ending } from '../program.ts';
import { runProgram } from '../run.ts';
import { isInstalled, runWasm, several, type RunWasmFlags } from '../run-wasm.ts';
import { shell } from '../shell.ts';
import { addImport } from './import.ts';
import { addEncodings, exportForeign, fileFormat, type ExportFileFlags } from './interchange.ts';
import { common, findTarget, theHost, withSpace, type Common } from '../space.ts';

export function addTransferCommands(program: Command, ending: Ending): void {
  const command = common(
    program
      .command('export <target> [file]')
      .description('write an object to a file, byte for byte; `-` is standard output; or maps to a file of another system'),
  );
  addEncodings(command)
    .option('--data-version <n>', 'LMDB: 1 for LMDB 0.9, 2 for the npm package lmdb (default: 1)')
    .option('-f, --force', 'replace the file if it is there')
    .option('--format <format>', 'sqlite, parquet or lmdb; by default what the name of the file says')
    .action(exportObject);
  addImport(program, ending);
  common(
    program
      .command('run <file> [args...]')
      .description('run a program in TypeScript or JavaScript, in which `twizzler` can be imported from anywhere; or a .wasm module'),
  )
    .option('--dir <path[::name]>', '.wasm: a directory of the space that the program has, under that name', several)
    .option('--ro <path[::name]>', '.wasm: the same, for reading only', several)
    .option('--env <name=value>', '.wasm: a variable of its environment', several)
    .option('--atomic', '.wasm: what it does counts only if it ends with 0')
    .passThroughOptions()
    .action(async (file: string, args: string[], options: RunWasmFlags) => {
      ending.code =
        file.endsWith('.wasm') || isInstalled(file) ? await runWasm(file, args, options) : await runProgram(file, args, options);
    });
  common(program.command('shell').description('look at and change a space by commands; reads a script from a pipe'))
    .option('-c, --command <line>', 'run this line and end')
    .action(async (options: Common & { command?: string }) => {
      ending.code = await shell(options);
    });
}

interface ExportFlags extends ExportFileFlags {
  readonly format?: string;
}

async function exportObject(target: string, file: string | undefined, options: ExportFlags): Promise<void> {
  const format = file === undefined ? undefined : fileFormat(file, options.format);
  if (options.format !== undefined && format === undefined)
    throw new UsageError(`${options.format} is no format that export writes to a file`);
  if (format !== undefined && file !== undefined) {
    await exportForeign(target, file, format, options);
    return;
  }
  await withSpace(options, (space) => {
    const object = findTarget(space, target);
    const bytes = object.export();
    const to = file ?? `${object.id}.twz`;
    if (to === '-') {
      out.write(bytes);
      return;
    }
    writeFile(to, bytes, options.force ?? false);
    if (options.json === true) out.json({ id: object.id, file: to, bytes: bytes.length });
    else out.line(`${object.id}  ${size(bytes.length)}  ${to}`);
  });
}

function writeFile(path: string, bytes: Uint8Array, force: boolean): void {
  const host = theHost();
  if (host.exists(path)) {
    if (!force) throw new UsageError(`${path} is there already: add -f to replace it`);
    host.remove(path);
  }
  const handle = host.open(path, 'create');
  try {
    host.write(handle, bytes, 0);
  } finally {
    host.close(handle);
  }
}

/** `twz run`: a program in TypeScript or JavaScript, in this process, with `twizzler` at hand. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { TwzError, isTwzError } from '../abi/errors.ts';
import { acceptTypeScript } from '../host/typescript.ts';
import { EXIT, report } from './failure.ts';
import { err } from './output.ts';
import { runWasm } from './run-wasm.ts';
import { spaceDirectory, theHost, type Common } from './space.ts';

/** What a file exports. Types are stripped as it is loaded, and `twizzler` is this package. */
export async function importProgram(file: string): Promise<Readonly<Record<string, unknown>>> {
  if (!theHost().exists(file)) throw new TwzError('FileMissing', `there is no file ${file}`, { file });
  acceptTypeScript();
  const exported: unknown = await import(pathToFileURL(resolve(file)).href);
  return exported as Readonly<Record<string, unknown>>;
}

/** Returns the exit code: the program's own, 1 for an error that it did not catch, 3 for an operating error that it did not catch. */
export async function runProgram(file: string, args: readonly string[], options: Common): Promise<number> {
  if (file.endsWith('.wasm')) return runWasm(file, args, options);
  process.argv.splice(1, process.argv.length, resolve(file), ...args);
  process.env['TWZ_SPACE'] = spaceDirectory(options);
  try {
    await importProgram(file);
  } catch (error) {
    if (isTwzError(error)) return report(error, false);
    err.line(error instanceof Error ? (error.stack ?? error.message) : String(error));
    return EXIT.findings;
  }
  return typeof process.exitCode === 'number' ? process.exitCode : EXIT.done;
}

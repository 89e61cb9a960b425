/** `twz run`: a program in TypeScript or JavaScript, in this process, with `twizzler` at hand. */
import { register } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { TwzError, isTwzError } from '../abi/errors.ts';
import { EXIT, report } from './failure.ts';
import { err } from './output.ts';
import { spaceDirectory, theHost, type Common } from './space.ts';

/** What a file exports. Types are stripped as it is loaded, and `twizzler` is this package. */
export async function importProgram(file: string): Promise<Readonly<Record<string, unknown>>> {
  if (!theHost().exists(file)) throw new TwzError('FileMissing', `there is no file ${file}`, { file });
  // Compiled code lies beside this file; the compiler rewrites imports, not URLs.
  const entries = {
    twizzler: new URL('../index.js', import.meta.url).href,
    'twizzler/testing': new URL('../testing/index.js', import.meta.url).href,
  };
  register(new URL('./run-hooks.js', import.meta.url), { data: { entries } });
  const exported: unknown = await import(pathToFileURL(resolve(file)).href);
  return exported as Readonly<Record<string, unknown>>;
}

/** Returns the exit code: the program's own, 1 for an error that it did not catch, 3 for an operating error that it did not catch. */
export async function runProgram(file: string, args: readonly string[], options: Common): Promise<number> {
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

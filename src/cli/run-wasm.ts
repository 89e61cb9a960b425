/** `twz run FILE.wasm`: a program of WASI in a compartment, with directories of the space as its own. */
import { basename } from 'node:path';
import { readStandardInput, realPieces, writeStandardOutput } from '../host/real-files.ts';
import { runWasi, type PreopenedDirectory } from '../services/files/run.ts';
import { report, UsageError } from './failure.ts';
import { theHost, withSpace, type Common } from './space.ts';

export interface RunWasmFlags extends Common {
  readonly dir?: readonly string[];
  readonly ro?: readonly string[];
  readonly env?: readonly string[];
  readonly atomic?: boolean;
}

/** Collects the values of an option that can be given more than once. */
export const several = (value: string, before: readonly string[] = []): string[] => [...before, value];

function directory(given: string, readOnly: boolean): PreopenedDirectory {
  const at = given.lastIndexOf('::');
  const path = at < 0 ? given : given.slice(0, at);
  const name = at < 0 ? given : given.slice(at + 2);
  if (!path.startsWith('/') || name === '') throw new UsageError(`"${given}" is no directory of the space: /PATH or /PATH::NAME`);
  return { path, name, readOnly };
}

function environment(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((each) => {
      const at = each.indexOf('=');
      if (at <= 0) throw new UsageError(`"${each}" is no variable: NAME=VALUE`);
      return [each.slice(0, at), each.slice(at + 1)];
    }),
  );
}

/** The path of a program in the space, and no file of the machine. */
export function isInstalled(file: string): boolean {
  return file.startsWith('/') && !/\.[cm]?[jt]s$/.test(file) && !theHost().exists(file);
}

export function wholeFile(file: string): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (const piece of realPieces(file)) pieces.push(piece.slice());
  return Buffer.concat(pieces);
}

/** Returns the program's exit code; that of an operating error where it was stopped. */
export async function runWasm(file: string, args: readonly string[], options: RunWasmFlags): Promise<number> {
  const directories = [
    ...(options.dir ?? []).map((each) => directory(each, false)),
    ...(options.ro ?? []).map((each) => directory(each, true)),
  ];
  const env = environment(options.env ?? []);
  const source = isInstalled(file) ? file : wholeFile(file);
  const given = args[0] === '--' ? args.slice(1) : args;
  return withSpace(options, (space) => {
    const { code, fault } = runWasi(space, source, {
      args: [basename(file), ...given],
      env,
      directories,
      stdin: { read: readStandardInput, terminal: process.stdin.isTTY },
      stdout: { write: (bytes) => writeStandardOutput(1, bytes), terminal: process.stdout.isTTY },
      stderr: { write: (bytes) => writeStandardOutput(2, bytes), terminal: process.stderr.isTTY },
      atomic: options.atomic ?? false,
    });
    return fault === undefined ? code : report(fault, false);
  });
}

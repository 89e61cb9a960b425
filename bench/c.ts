/** The C programs in bench/c, compiled when they are wanted. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Absent } from './harness.ts';
import { ROOT } from './peers.ts';

/** `$CC`, or the first of these that runs. */
export const COMPILER: string = process.env['CC'] ?? (spawnSync('gcc', ['--version']).error === undefined ? 'gcc' : 'clang');

export interface Program {
  /** Runs it and returns the numbers that it prints. */
  run(args: readonly (string | number)[], environment?: Readonly<Record<string, string>>, input?: string): number[];
}

export interface Build {
  readonly source: string;
  readonly defines?: Readonly<Record<string, number>>;
  readonly libraries?: readonly string[];
}

/** Compiles with -O2 into `directory`. */
export function compile(directory: string, name: string, build: Build): Program | Absent {
  const path = join(directory, `${name}.bin`);
  const defines = Object.entries(build.defines ?? {}).map(([key, value]) => `-D${key}=${value}`);
  const libraries = (build.libraries ?? []).map((library) => `-l${library}`);
  const made = spawnSync(COMPILER, ['-O2', '-march=native', '-o', path, join(ROOT, 'bench/c', build.source), ...defines, ...libraries], {
    encoding: 'utf8',
  });
  if (made.error !== undefined) return { name, absent: `no C compiler: ${COMPILER} does not run` };
  if (made.status !== 0) {
    const missing = /fatal error: (.*): No such file/.exec(made.stderr)?.[1] ?? /cannot find (-l\S+)/.exec(made.stderr)?.[1];
    return {
      name,
      absent: missing === undefined ? `does not compile: ${made.stderr.split('\n')[0] ?? ''}` : `${missing} is not installed`,
    };
  }
  return {
    run(args, environment = {}, input = '') {
      const ran = spawnSync(path, args.map(String), {
        encoding: 'utf8',
        input,
        env: { ...process.env, ...environment },
      });
      if (ran.status !== 0) throw new Error(`${name} ended with ${ran.status ?? ran.signal ?? 'no status'}: ${ran.stderr}`);
      return ran.stdout.trim().split(/\s+/).map(Number);
    },
  };
}

/**
 * Programs of WASI that others made, where they are installed: in packages (node_modules), or in the directory that TWZ_WASI_PROGRAMS names;
 * and programs in C, where clang can compile them for WASI. A test whose program is not there is skipped, and says which.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import type { Space } from '../src/index.ts';
import { runWasi, type RunWasiOptions, type WasiResult } from '../src/services/files/run.ts';
import type { ProgramSource } from '../src/services/programs.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** The file of that name in one of the packages, or the reason why the test is skipped. */
export function found(packagePath: string): { readonly file: string; readonly skip: false | string } {
  const own = process.env['TWZ_WASI_PROGRAMS'];
  const places = [path.join(ROOT, 'node_modules', packagePath), ...(own === undefined ? [] : [path.join(own, packagePath)])];
  const file = places.find((place) => fs.existsSync(place));
  return { file: file ?? '', skip: file === undefined && `${packagePath} is not installed` };
}

let scratch: string | undefined;
function scratchDirectory(): string {
  if (scratch !== undefined) return scratch;
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-wasi-'));
  after(() => fs.rmSync(made, { recursive: true, force: true }));
  scratch = made;
  return made;
}

let compiles: string | false | undefined;
/** Why there is no compiler for C, or false. */
export function noCompiler(): string | false {
  if (compiles !== undefined) return compiles;
  const source = path.join(scratchDirectory(), 'try.c');
  fs.writeFileSync(source, '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n');
  const { error, status } = spawnSync('clang', [...FLAGS, '-o', `${source}.wasm`, source], { stdio: 'ignore' });
  compiles = error !== undefined || status !== 0 ? 'clang, lld, wasi-libc and libclang-rt-14-dev-wasm32 are not installed' : false;
  return compiles;
}

const FLAGS = ['--target=wasm32-wasi', '-O1', '-Wall', '-Werror'];

/** Compiles test/wasi-c/NAME.c. */
export function compiledC(name: string): Uint8Array {
  const file = path.join(scratchDirectory(), `${name}.wasm`);
  if (!fs.existsSync(file)) execFileSync('clang', [...FLAGS, '-o', file, path.join(ROOT, 'test/wasi-c', `${name}.c`)]);
  return fs.readFileSync(file);
}

/** What is in an archive, by path. */
export function* untar(archive: Uint8Array): Generator<{ readonly name: string; readonly bytes: Uint8Array }> {
  const tar = gunzipSync(archive);
  const text = (at: number, length: number): string => tar.toString('utf8', at, at + length).replace(/\0.*$/s, '');
  for (let at = 0; at + 512 <= tar.length;) {
    const name = text(at, 100);
    if (name === '') return;
    const size = Number.parseInt(text(at + 124, 12), 8);
    if (text(at + 156, 1) === '0') yield { name, bytes: tar.subarray(at + 512, at + 512 + size) };
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

export interface Ran extends WasiResult {
  readonly out: string;
  readonly err: string;
}

/** Runs a program on `/files` of the space as its `/`, and collects what it prints. */
export function runOn(
  space: Space,
  program: ProgramSource,
  args: readonly string[],
  options: RunWasiOptions & { readonly input?: string } = {},
): Ran {
  const out: Uint8Array[] = [];
  const err: Uint8Array[] = [];
  const { input = '', ...rest } = options;
  const given = new TextEncoder().encode(input);
  let read = 0;
  const result = runWasi(space, program, {
    args,
    directories: [{ name: '/', path: '/files' }],
    stdin: {
      read(into) {
        const piece = given.subarray(read, read + into.length);
        into.set(piece);
        read += piece.length;
        return piece.length;
      },
    },
    stdout: { write: (bytes) => out.push(bytes) },
    stderr: { write: (bytes) => err.push(bytes) },
    ...rest,
  });
  const joined = (pieces: readonly Uint8Array[]): string => Buffer.concat(pieces).toString();
  return { ...result, out: joined(out), err: joined(err) };
}

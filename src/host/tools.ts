/** Programs of this machine that are run for what they make, such as compilers; and the files that they take and give. */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export interface ToolResult {
  /** Exit code; 1 where a signal ended it. */
  readonly code: number;
  /** What it said, of both its streams. */
  readonly said: string;
}

const SAID_MAX = 1 << 20;

/** Runs a program to its end. Undefined where there is none of that name. */
export function runTool(command: string, args: readonly string[]): Promise<ToolResult | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    const hear = (data: Buffer): void => {
      if (said.length < SAID_MAX) said += data.toString('utf8');
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.once('error', (error) => {
      if ('code' in error && error.code === 'ENOENT') resolve(undefined);
      else reject(error);
    });
    child.once('close', (code) => resolve({ code: code ?? 1, said }));
  });
}

/** What Node ends with where it does not know an option. */
const BAD_OPTION = 9;

/**
 * Runs a script with this process's own Node. A compiler that is WebAssembly itself runs once and not for long: to have it compiled well costs
 * more than it gains, twice the time of the whole.
 */
export async function runScript(script: string, args: readonly string[]): Promise<ToolResult | undefined> {
  const result = await runTool(process.execPath, ['--liftoff-only', script, ...args]);
  return result?.code === BAD_OPTION ? runTool(process.execPath, [script, ...args]) : result;
}

/** Where a file of an npm package lies, as seen from a directory, from the current one, or from this package; undefined where it is not installed. */
export function packageFile(file: string, from: string): string | undefined {
  for (const base of [path.join(path.resolve(from), 'x.js'), path.join(process.cwd(), 'x.js'), fileURLToPath(import.meta.url)]) {
    try {
      return createRequire(pathToFileURL(base)).resolve(file);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
    }
  }
  return undefined;
}

/** A file or directory of this package, by its path there. */
export function ownFile(file: string): string {
  return fileURLToPath(new URL(`../../../${file}`, import.meta.url));
}

/** Runs with a directory of its own, which is gone afterwards. */
export async function inScratch<T>(use: (directory: string) => Promise<T>): Promise<T> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'twz-build-'));
  try {
    return await use(directory);
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

/** The bytes of a file; undefined where there is none. */
export function fileBytes(file: string): Uint8Array | undefined {
  try {
    return new Uint8Array(fs.readFileSync(file));
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** Writes a file whole, aside and then renamed. Directories above it are made. */
export function writeFileWhole(file: string, bytes: Uint8Array): void {
  fs.mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  const draft = `${file}.draft`;
  fs.writeFileSync(draft, bytes);
  fs.renameSync(draft, file);
}

/** Its path without the name, and its name without and with the extension. */
export function partsOf(file: string): { readonly directory: string; readonly name: string; readonly extension: string } {
  const { dir, name, ext } = path.parse(file);
  return { directory: dir === '' ? '.' : dir, name, extension: ext };
}

export function joined(...parts: readonly string[]): string {
  return path.join(...parts);
}

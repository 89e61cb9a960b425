/**
 * Programs that run beside this process and end with it, however it ends: a shell between the two holds a pipe of which this process has
 * the other side, and kills the program when that side is gone.
 */
import { ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { Socket } from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { createInterface } from 'node:readline';
import { KernelBug, TwzError } from '../abi/errors.ts';

export type Signal = 'SIGTERM' | 'SIGKILL' | 'SIGSTOP' | 'SIGCONT' | 'SIGINT';

export interface RunningProgram {
  readonly pid: number;
  /** Resolves to its exit code, 128 and the signal's number where a signal ended it. */
  readonly ended: Promise<number>;
  /** False where it has ended already. */
  kill(signal: Signal): boolean;
  /** Does it keep this process from ending? At first it does. */
  keep(alive: boolean): void;
}

/** $1 … are the program; its ID goes to standard output, its own output to standard error. */
const KEEPER = `
"$@" 3<&- >&2 & program=$!
echo "$program"
{ read -r _ <&3; kill -KILL "$program"; } 2>/dev/null & watch=$!
exec 3<&-
wait "$program"; code=$?
kill "$watch" 2>/dev/null
exit "$code"`;

/** Starts a program. `heard` gets each line that it prints. Throws NotSupported where there is no shell. */
export function startProgram(command: string, args: readonly string[], heard: (line: string) => void): Promise<RunningProgram> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', KEEPER, 'sh', command, ...args], { stdio: ['ignore', 'pipe', 'pipe', 'pipe'], detached: true });
    const ended = new Promise<number>((done) => {
      child.once('close', (code) => {
        running = false;
        done(code ?? 1);
      });
    });
    let running = true;
    child.once('error', (cause) =>
      reject(new TwzError('NotSupported', `no shell to run ${command} with: ${cause.message}`, { command }, cause)),
    );
    const { stdout, stderr } = child;
    if (stdout === null || stderr === null) throw new KernelBug('a pipe that was asked for is not there');
    createInterface({ input: stderr }).on('line', heard);
    createInterface({ input: stdout }).once('line', (line) => {
      const pid = Number(line);
      resolve({
        pid,
        ended,
        kill: (signal) => {
          if (!running) return false;
          try {
            return process.kill(pid, signal);
          } catch (error) {
            if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
            throw error;
          }
        },
        keep: (alive) => {
          for (const each of [child, ...child.stdio]) {
            if (each instanceof ChildProcess || each instanceof Socket) {
              if (alive) each.ref();
              else each.unref();
            }
          }
        },
      });
    });
  });
}

/** A new directory of its own for what is gone afterwards. */
export function makeScratch(prefix: string): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), prefix));
}

export function removeAll(directory: string): void {
  fs.rmSync(directory, { recursive: true, force: true });
}

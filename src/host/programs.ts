/**
 * Programs beside this one: worker threads and processes of Node. How they are started, how their end is told, and what they find of what
 * they were started with. Whatever more they have to say to each other lies in shared memory.
 */
import { spawn } from 'node:child_process';
import * as os from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { libc } from './linux/libc.ts';
import { endNativeThread, loadNative, startNativeThread } from './native-threads.ts';

/** How a program ended. */
export interface Ending {
  readonly code: number;
  /** The system's number of the signal that ended it, 0 for none. */
  readonly signal: number;
  /** It could not be started, or its thread failed. */
  readonly error: Error | undefined;
}

export interface Program {
  /** Process ID: for a thread that of this process. */
  readonly pid: number;
  /** Resolves when it has ended. While it runs it keeps this process alive, unless `unref` was called. */
  readonly ended: Promise<Ending>;
  /** Ends it, wherever it is. */
  terminate(): void;
  unref(): void;
}

export interface ProgramOptions {
  readonly name: string;
  /** Options of Node; undefined: those of this process. */
  readonly execArgv: readonly string[] | undefined;
  /** Whether it prints where this process does. */
  readonly prints: boolean;
}

/** Runs the program `main` in a worker thread of this process; it finds `data` by `startedWith`. */
export function startThread(main: URL, data: object, { name, execArgv, prints }: ProgramOptions): Program {
  const worker = startNativeThread(main, {
    workerData: { twizzlerThread: data },
    name,
    stdout: !prints,
    stderr: !prints,
    ...(execArgv === undefined ? {} : { execArgv: [...execArgv] }),
  });
  let error: Error | undefined;
  worker.on('error', (cause) => (error = cause instanceof Error ? cause : new Error(String(cause))));
  const ended = new Promise<Ending>((resolve) => worker.once('exit', (code) => resolve({ code, signal: 0, error })));
  // The promise that it gives is that of its end, which is awaited already.
  return { pid: process.pid, ended, terminate: () => void endNativeThread(worker), unref: () => worker.unref() };
}

/** Options of Node that say what this process runs, with what comes after them: nothing for others. */
const SAYS_WHAT = new Set(['-e', '--eval', '-p', '--print', '-pe']);

function inherited(): string[] {
  return process.execArgv.filter((each, i, all) => !SAYS_WHAT.has(each) && !SAYS_WHAT.has(all[i - 1] ?? ''));
}

/** Runs the program `main` in a process of its own. */
export function startProcess(main: URL, data: object, { execArgv, prints }: ProgramOptions): Program {
  const child = spawn(process.execPath, [...(execArgv ?? inherited()), fileURLToPath(main), JSON.stringify(data)], {
    stdio: ['ignore', prints ? 'inherit' : 'ignore', prints ? 'inherit' : 'ignore'],
  });
  const ended = new Promise<Ending>((resolve) => {
    child.once('error', (error) => resolve({ code: 1, signal: 0, error }));
    child.once('exit', (code, signal) =>
      resolve({ code: code ?? 0, signal: signal === null ? 0 : os.constants.signals[signal], error: undefined }),
    );
  });
  return { pid: child.pid ?? 0, ended, terminate: () => void child.kill('SIGKILL'), unref: () => child.unref() };
}

/** What this program was started with, by one of the two above. `text`: the first argument of its command line. */
export function startedWith(text: string | undefined): unknown {
  if (!isMainThread) {
    loadNative();
    return workerData?.twizzlerThread;
  }
  return text === undefined ? undefined : JSON.parse(text);
}

const SYS_PRCTL: Readonly<Record<string, number>> = { x64: 157, arm64: 167 };
const PR_SET_PDEATHSIG = 1;

/** From now on the system ends this process when the thread that started it ends. Not for a worker thread: it ends with its process anyway. */
export function endWithParent(): void {
  const call = SYS_PRCTL[process.arch];
  if (isMainThread && process.platform === 'linux' && call !== undefined)
    libc().syscall(call, PR_SET_PDEATHSIG, os.constants.signals.SIGKILL, 0, 0, 0, 0);
}

/** Sends a process a signal. False where it is not there. */
export function signalProcess(pid: number, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

/** By the system's number: "SIGKILL" for 9. */
export function signalName(signal: number): string {
  return Object.entries(os.constants.signals).find(([, number]) => number === signal)?.[0] ?? `signal ${signal}`;
}

// --- threads that serve this one ------------------------------------------------------------------------------------------------

/** A thread that is told things, says nothing, and keeps no process alive. */
export interface Servant {
  tell(what: object): void;
}

export function startServant(main: URL, name: string): Servant {
  const worker = startNativeThread(main, { name, execArgv: [], stdin: false });
  worker.unref();
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
  return { tell: (what) => worker.postMessage(what) };
}

/** In a servant: what it is told. */
export function whenTold(hear: (what: unknown) => void): void {
  loadNative();
  parentPort?.on('message', hear);
}

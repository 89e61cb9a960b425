/**
 * Code that is trusted with the space and with nothing else: a worker thread with limits, and in it a realm of its own, with the language's
 * own globals and whatever it is given to import. Both sides of that: who starts it, and the program in the thread.
 *
 * The realm keeps honest code from what it was not given, and a mistake from the rest of the process. It is no wall against its author.
 */
import * as fs from 'node:fs';
import * as vm from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';
import { TwzError } from '../abi/errors.ts';
import { languageRealm } from './functions.ts';
import { endNativeThread, startNativeThread } from './native-threads.ts';

export interface ConfinedLimits {
  /** Milliseconds from when it is ready until it has ended. */
  readonly ms: number;
  /** Bytes of JavaScript heap. */
  readonly heapBytes: number;
  /** Bytes by which the process's own memory may grow meanwhile: buffers are outside the heap. */
  readonly bufferBytes: number;
  readonly stackBytes: number;
}

export type ConfinedEnd =
  | { readonly kind: 'said'; readonly what: unknown }
  | { readonly kind: 'timeout' | 'memory' }
  | { readonly kind: 'ended'; readonly code: number }
  | { readonly kind: 'failed'; readonly error: Error };

/** Loading may take this long, in milliseconds, whatever the limit. */
const LOADING_MS = 30_000;
const MEMORY_MS = 20;
const MIB = 2 ** 20;

/** Bytes of memory that belong to this process alone; undefined where the system does not say. */
function ownMemory(): number | undefined {
  try {
    const found = /^RssAnon:\s+(\d+) kB$/m.exec(fs.readFileSync('/proc/self/status', 'latin1'));
    return found === null ? undefined : Number(found[1]) * 1024;
  } catch {
    // No such file system: heap and time are limited all the same.
    return undefined;
  }
}

/** Runs the program `main` in a worker thread. Resolves with the last thing that it said, or with how it ended. */
export function runConfined(main: URL, data: object, limits: ConfinedLimits): Promise<ConfinedEnd> {
  return new Promise((resolve) => {
    const worker = startNativeThread(main, {
      name: 'module',
      workerData: { confined: data },
      // Its module loader is Node's own; nothing else of the command line or the environment is passed on.
      execArgv: ['--experimental-vm-modules', '--no-warnings'],
      argv: [],
      env: {},
      stdin: false,
      stdout: true,
      stderr: true,
      resourceLimits: {
        maxOldGenerationSizeMb: Math.ceil(limits.heapBytes / MIB),
        maxYoungGenerationSizeMb: Math.max(1, Math.ceil(limits.heapBytes / MIB / 8)),
        stackSizeMb: limits.stackBytes / MIB,
      },
    });
    let over: ConfinedEnd | undefined;
    let said: { readonly what: unknown } | undefined;
    const stop = (end: ConfinedEnd): void => {
      over ??= end;
      void endNativeThread(worker);
    };
    let deadline = setTimeout(() => stop({ kind: 'timeout' }), LOADING_MS);
    let before: number | undefined;
    const memory = setInterval(() => {
      const now = before === undefined ? undefined : ownMemory();
      if (now !== undefined && before !== undefined && now - before > limits.heapBytes + limits.bufferBytes) stop({ kind: 'memory' });
    }, MEMORY_MS);
    worker.on('message', (what: unknown) => {
      if (what === READY && before === undefined) {
        clearTimeout(deadline);
        before = ownMemory() ?? Infinity;
        deadline = setTimeout(() => stop({ kind: 'timeout' }), limits.ms);
      } else said ??= { what };
    });
    // What cannot be read is what cannot be passed.
    worker.on('messageerror', (error) => stop({ kind: 'failed', error }));
    worker.on('error', (cause: unknown) => {
      const error = cause instanceof Error ? cause : new Error(String(cause));
      over ??= 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? { kind: 'memory' } : { kind: 'failed', error };
    });
    worker.once('exit', (code) => {
      clearTimeout(deadline);
      clearInterval(memory);
      resolve(over ?? (said === undefined ? { kind: 'ended', code } : { kind: 'said', what: said.what }));
    });
  });
}

// --- in the thread --------------------------------------------------------------------------------------------------------------

const READY = 'ready';

/** What the program was started with. */
export function confinedData(): unknown {
  return workerData?.confined;
}

/** It is loaded: from now on its time counts. */
export function ready(): void {
  say(READY);
}

export function say(what: unknown): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
  parentPort?.postMessage(what);
}

const refuse = (): never => {
  throw new EvalError('no code from text here');
};

/**
 * From now on nothing that is handed out leads to a way of running text as code in this realm, the thread's own. Whoever holds the global
 * `Function` already, as the compiler of accessors does, keeps it.
 */
export function harden(): void {
  const kinds: readonly object[] = [function () {}, function* () {}, async function () {}, async function* () {}];
  for (const each of kinds)
    Object.defineProperty(Object.getPrototypeOf(each), 'constructor', { value: refuse, writable: false, configurable: false });
  Object.defineProperty(Error, 'prepareStackTrace', { value: undefined, writable: false, configurable: false });
  for (const name of ['fetch', 'WebSocket', 'EventSource', 'BroadcastChannel', 'MessageChannel', 'WebAssembly', 'gc', 'require'])
    Reflect.deleteProperty(globalThis, name);
}

/**
 * Compiles an ECMAScript module in a realm of its own, where `specifier` gives `given` and nothing else can be imported; and runs it.
 * Returns what it exports. Throws ModuleInvalid, ModuleImport, and what its top level throws.
 */
export async function evaluate(
  source: string,
  url: string,
  specifier: string,
  given: Readonly<Record<string, unknown>>,
): Promise<Readonly<Record<string, unknown>>> {
  const context = languageRealm('module');
  const foreign = (name: string): TwzError =>
    new TwzError('ModuleImport', `${url} imports "${name.slice(0, 200)}"; there is only "${specifier}"`, { module: url });
  let module: vm.SourceTextModule;
  try {
    module = new vm.SourceTextModule(source, {
      context,
      identifier: url,
      initializeImportMeta: () => undefined,
      importModuleDynamically: (name) => {
        throw foreign(name);
      },
    });
  } catch (cause) {
    throw new TwzError('ModuleInvalid', `${url} does not compile: ${cause instanceof Error ? cause.message : String(cause)}`, {}, cause);
  }
  const names = Object.keys(given);
  await module
    .link((name) => {
      if (name !== specifier) throw foreign(name);
      const library = new vm.SyntheticModule(
        names,
        () => {
          for (const each of names) library.setExport(each, given[each]);
        },
        { context, identifier: specifier },
      );
      return library;
    })
    .catch((cause: unknown) => {
      if (cause instanceof TwzError) throw cause;
      throw new TwzError('ModuleInvalid', `${url} does not link: ${cause instanceof Error ? cause.message : String(cause)}`, {}, cause);
    });
  await module.evaluate();
  return module.namespace as Readonly<Record<string, unknown>>;
}

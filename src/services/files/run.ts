/** Runs a program of WASI in a compartment: a module with `_start`, whose files are objects of the space. */
import { TwzError, isTwzError, type ErrorName } from '../../abi/errors.ts';
import type { Limits } from '../../runtime/compartment.ts';
import type { WasiClock, WasiStream } from '../../runtime/wasi/program.ts';
import { wasiSurrounding } from '../../runtime/wasi/surrounding.ts';
import { Wasi } from '../../runtime/wasi/wasi.ts';
import type { Authority } from '../../runtime/view.ts';
import type { Space } from '../../space.ts';
import { programs, type ProgramSource } from '../programs.ts';
import { SpaceTree, type TreeLimits } from './tree.ts';

export interface PreopenedDirectory {
  /** As the program sees it, `/` or `/data`. */
  readonly name: string;
  /** The namespace; made if it is not there, unless it is for reading only. */
  readonly path: string;
  readonly readOnly?: boolean;
}

export interface RunWasiOptions extends TreeLimits {
  /** The first is the program's name. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly directories?: readonly PreopenedDirectory[];
  readonly stdin?: WasiStream;
  readonly stdout?: WasiStream;
  readonly stderr?: WasiStream;
  /** The whole run is one transaction: it counts if the program ends with 0, and what it prints comes then (default false). */
  readonly atomic?: boolean;
  /** Those of the compartment; there is no end to its time and its calls by default. */
  readonly limits?: Partial<Limits> | undefined;
  readonly authority?: Authority | undefined;
  /** Most descriptors at once (default 1024). */
  readonly descriptorsMax?: number;
}

export interface WasiResult {
  readonly code: number;
  /** What stopped it, where it did not end by itself: a trap, a limit. */
  readonly fault: TwzError | undefined;
  /** The last error of the space that it was told of as a number. */
  readonly trouble: TwzError | undefined;
}

/** A program that is stopped has the code of one that aborts. */
const STOPPED = 134;
const FAULTS: ReadonlySet<ErrorName> = new Set(['ProgramFault', 'ProgramTimeout', 'ProgramLimit', 'WasiMisused']);

function spaceClock(space: Space): WasiClock {
  const { host } = space.kernel;
  const bell = new Int32Array(new SharedArrayBuffer(4));
  return {
    realtime: () => BigInt(host.time()) * 1_000_000n,
    monotonic: () => BigInt(Math.round(host.now() * 1e6)),
    resolution: 1_000_000n,
    pause(nanoseconds) {
      Atomics.wait(bell, 0, 0, Math.min(Number(nanoseconds) / 1e6, 2 ** 31));
    },
  };
}

/** Runs a program to its end, in this thread. Throws ProgramInvalid, and errors of the space that no program can do anything about. */
export function runWasi(space: Space, source: ProgramSource, options: RunWasiOptions = {}): WasiResult {
  if (options.atomic !== true) return runOnce(space, source, options);
  const printed: (() => void)[] = [];
  const later = (stream: WasiStream | undefined): WasiStream => ({
    ...stream,
    write: (bytes) => printed.push(() => stream?.write?.(bytes)),
  });
  const { stdout, stderr } = options;
  const undone: { result?: WasiResult } = {};
  try {
    return space.relaxed(() => {
      printed.length = 0;
      const result = runOnce(space, source, { ...options, stdout: later(stdout), stderr: later(stderr) });
      if (result.code === 0) return result;
      undone.result = result;
      throw result.fault ?? new TwzError('ProgramFault', `the program ended with ${result.code}`);
    });
  } catch (error) {
    if (undone.result === undefined) throw error;
    return undone.result;
  } finally {
    for (const print of printed) print();
  }
}

function runOnce(space: Space, source: ProgramSource, options: RunWasiOptions): WasiResult {
  const { directories = [], env = {}, ...rest } = options;
  const { kernel } = space;
  const tree = new SpaceTree(space, options);
  const wasi = new Wasi({
    ...rest,
    env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    preopens: directories.map(({ name, path, readOnly = false }) => ({ name, directory: tree.open(path, !readOnly), readOnly })),
    clock: spaceClock(space),
    random: (into) => into.set(kernel.host.random(into.length)),
    // Another process was first: the transaction around all this is tried again.
    passes: () => kernel.transaction !== undefined && kernel.onlyTransaction.overtaken,
  });
  let ended: { code: number; fault: TwzError | undefined };
  try {
    ended = start(space, source, wasi, options);
  } finally {
    // What it wrote counts, however it ended; a transaction around it that cannot be committed does not.
    if (kernel.transaction?.isDoomed !== true) {
      wasi.finish();
      tree.flush();
    }
  }
  return { ...ended, trouble: wasi.trouble };
}

function start(
  space: Space,
  source: ProgramSource,
  wasi: Wasi,
  { limits, authority, args = [], stdin, stdout, stderr }: RunWasiOptions,
): { code: number; fault: TwzError | undefined } {
  const all = programs(space);
  const program = all.load(source);
  const module = program.needs.has('wasi_unstable') ? 'wasi_unstable' : 'wasi_snapshot_preview1';
  const compartment = all.start(program, {
    limits: { time: Infinity, memory: 2 ** 30, ...limits },
    authority,
    arguments: args.slice(1),
    surroundings: [wasiSurrounding(wasi, module)],
    // For what it writes and reads by syscalls of the space.
    output: (stream, data) => (stream === 2 ? stderr : stdout)?.write?.(data),
    input: (max) => {
      const into = new Uint8Array(Math.min(max, 65536));
      return into.subarray(0, stdin?.read?.(into) ?? 0);
    },
  });
  try {
    return { code: compartment.run(), fault: undefined };
  } catch (error) {
    if (!isTwzError(error) || !FAULTS.has(error.name)) throw error;
    return { code: STOPPED, fault: error };
  } finally {
    compartment.close();
  }
}

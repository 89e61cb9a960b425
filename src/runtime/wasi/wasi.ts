/**
 * WASI preview 1: the table of its 46 calls, and the imports that are made of it for one program.
 *
 * Invariants: whatever a program gives, a call returns an error number, or throws ProgramExit (the program ended itself), or a TwzError; the
 * program's memory changes nowhere but where the call says. Arguments are judged by number and type before a call sees them, because a
 * module declares the types of what it imports as it likes.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ProgramExit } from '../exit.ts';
import type { GuestMemory } from '../guest.ts';
import * as fd from './fd-calls.ts';
import { ERRNO, type Errno } from './numbers.ts';
import * as path from './path-calls.ts';
import { pollOneoff } from './poll.ts';
import * as own from './process-calls.ts';
import { Program, type WasiOptions } from './program.ts';
import { errnoOf } from './refusal.ts';

/** `i` is 32 bits, `I` 64. */
type Arguments<S extends string> = S extends `i${infer R}`
  ? [number, ...Arguments<R>]
  : S extends `I${infer R}`
    ? [bigint, ...Arguments<R>]
    : [];

interface Call {
  readonly params: string;
  readonly run: (p: Program, args: readonly unknown[]) => Errno;
}

function call<S extends string>(params: S, run: (p: Program, ...args: Arguments<S>) => Errno): Call {
  return { params, run: (p, args) => run(p, ...(args as Arguments<S>)) };
}

/** There are no sockets here: what is none is said so, and what would make one is not supported. */
const noSocket = (p: Program, descriptor: number): Errno => {
  p.descriptor(descriptor);
  return ERRNO.notsock;
};
const unsupported = (p: Program, descriptor: number): Errno => {
  p.descriptor(descriptor);
  return ERRNO.notsup;
};

const CALLS: Readonly<Record<string, Call>> = {
  args_get: call('ii', own.argsGet),
  args_sizes_get: call('ii', own.argsSizesGet),
  environ_get: call('ii', own.environGet),
  environ_sizes_get: call('ii', own.environSizesGet),
  clock_res_get: call('ii', own.clockResGet),
  clock_time_get: call('iIi', own.clockTimeGet),
  fd_advise: call('iIIi', fd.fdAdvise),
  fd_allocate: call('iII', fd.fdAllocate),
  fd_close: call('i', fd.fdClose),
  fd_datasync: call('i', fd.fdDatasync),
  fd_fdstat_get: call('ii', fd.fdFdstatGet),
  fd_fdstat_set_flags: call('ii', fd.fdFdstatSetFlags),
  fd_fdstat_set_rights: call('iII', fd.fdFdstatSetRights),
  fd_filestat_get: call('ii', fd.fdFilestatGet),
  fd_filestat_set_size: call('iI', fd.fdFilestatSetSize),
  fd_filestat_set_times: call('iIIi', fd.fdFilestatSetTimes),
  fd_pread: call('iiiIi', fd.fdPread),
  fd_prestat_get: call('ii', fd.fdPrestatGet),
  fd_prestat_dir_name: call('iii', fd.fdPrestatDirName),
  fd_pwrite: call('iiiIi', fd.fdPwrite),
  fd_read: call('iiii', fd.fdRead),
  fd_readdir: call('iiiIi', fd.fdReaddir),
  fd_renumber: call('ii', fd.fdRenumber),
  fd_seek: call('iIii', fd.fdSeek),
  fd_sync: call('i', fd.fdSync),
  fd_tell: call('ii', fd.fdTell),
  fd_write: call('iiii', fd.fdWrite),
  path_create_directory: call('iii', path.pathCreateDirectory),
  path_filestat_get: call('iiiii', path.pathFilestatGet),
  path_filestat_set_times: call('iiiiIIi', path.pathFilestatSetTimes),
  path_link: call('iiiiiii', path.pathLink),
  path_open: call('iiiiiIIii', path.pathOpen),
  path_readlink: call('iiiiii', path.pathReadlink),
  path_remove_directory: call('iii', path.pathRemoveDirectory),
  path_rename: call('iiiiii', path.pathRename),
  path_symlink: call('iiiii', path.pathSymlink),
  path_unlink_file: call('iii', path.pathUnlinkFile),
  poll_oneoff: call('iiii', pollOneoff),
  proc_exit: call('i', own.procExit),
  proc_raise: call('i', own.procRaise),
  random_get: call('ii', own.randomGet),
  sched_yield: call('', own.schedYield),
  sock_accept: call('iii', unsupported),
  sock_recv: call('iiiiii', noSocket),
  sock_send: call('iiiii', noSocket),
  sock_shutdown: call('ii', noSocket),
};

/** The calls by name, and what each takes: `i` for 32 bits, `I` for 64. */
export const WASI_CALLS: ReadonlyMap<string, string> = new Map(Object.entries(CALLS).map(([name, { params }]) => [name, params]));

export type WasiImports = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;

function misused(name: string, params: string, args: readonly unknown[]): TwzError {
  const wanted = params
    .split('')
    .map((each) => (each === 'i' ? 'i32' : 'i64'))
    .join(', ');
  const given = args.map((arg) => typeof arg).join(', ');
  return new TwzError('WasiMisused', `${name} takes (${wanted}), the program gave (${given})`, { call: name });
}

/** One program's WASI: its imports, and what is left to do when it has ended. */
export class Wasi {
  readonly #program: Program;

  constructor(options: WasiOptions) {
    this.#program = new Program(options);
  }

  /** Must come before the program's first call. */
  attach(memory: GuestMemory): void {
    this.#program.attach(memory);
  }

  /** Functions for the import module of that name. A module imports one of the two. */
  imports(module: string = 'wasi_snapshot_preview1'): WasiImports {
    this.#program.older = module === 'wasi_unstable';
    return Object.fromEntries(Object.entries(CALLS).map(([name, each]) => [name, this.#entry(name, each)]));
  }

  #entry(name: string, { params, run }: Call): (...args: readonly unknown[]) => unknown {
    const p = this.#program;
    const types = params.split('');
    return (...args) => {
      if (p.exit !== undefined) throw p.exit;
      if (args.length !== types.length) throw misused(name, params, args);
      const judged = args.map((arg, i) => {
        if (types[i] === 'i') {
          if (typeof arg !== 'number' || arg !== Math.trunc(arg)) throw misused(name, params, args);
          return arg >>> 0;
        }
        if (typeof arg !== 'bigint') throw misused(name, params, args);
        return BigInt.asUintN(64, arg);
      });
      try {
        return run(p, judged);
      } catch (error) {
        const errno = errnoOf(error);
        if (errno === undefined) throw error;
        if (error instanceof TwzError) {
          if (p.passes(error)) throw error;
          p.trouble = error;
        }
        return errno;
      }
    };
  }

  /** How the program ended itself, if it did. */
  get exit(): ProgramExit | undefined {
    return this.#program.exit;
  }

  /** The last error of the space that the program was told of as a number: disk full, object deleted. */
  get trouble(): TwzError | undefined {
    return this.#program.trouble;
  }

  /** Closes what the program left open. What it wrote is committed. Throws the TwzError of what could not be. */
  finish(): void {
    this.#program.closeAll();
  }
}

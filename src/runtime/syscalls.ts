/**
 * The syscalls: decode, check, invoke. Whatever a handler takes of the program it takes by `Arguments`, which judges it; all is taken
 * before anything is changed.
 *
 * An error becomes the negative code of the result, and its text is kept for `error`. What the program must not go on after is thrown
 * through it instead.
 */
import { ERRORS, TwzError, isTwzError } from '../abi/errors.ts';
import type { ObjectId } from '../abi/id.ts';
import { SYSCALLS, type SyscallName } from '../abi/syscalls.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Handle } from '../kernel/object.ts';
import { Arguments } from './arguments.ts';
import { gateCalls } from './calls/gates.ts';
import { objectCalls } from './calls/objects.ts';
import { programCalls } from './calls/programs.ts';
import { threadCalls } from './calls/threads.ts';
import type { Caller } from './caller.ts';
import type { Compartment } from './compartment.ts';
import { ProgramExit } from './exit.ts';

/** What lies around compartments: what only services can do, and other compartments. */
export interface System {
  readonly kernel: Kernel;
  /** Runs a transaction as the space does. */
  transact<T>(body: () => T, durable: boolean): T;
  readonly names: {
    find(path: string): ObjectId | undefined;
    set(path: string, h: Handle): void;
    remove(path: string): void;
  };
  compartment(name: string): Compartment | undefined;
  closed(compartment: Compartment): void;
  /** Further calls, by name: those that need what lies above this layer. */
  calls?(compartment: Compartment): Partial<Record<SyscallName, Handler>>;
}

export type Handler = (given: Arguments) => number | bigint;
export type Handlers = Partial<Record<SyscallName, Handler>>;

/** Calls that look at no objects and use little of the stack. Before others what the program stored must be in the objects. */
const PLAIN = new Set<SyscallName>([
  'null',
  'error',
  'info',
  'clock',
  'random',
  'arguments',
  'argument',
  'write',
  'read',
  'thread_sync',
  'thread_spawn',
]);

/** Those of the calls that the program imports. */
export function syscalls(compartment: Compartment, system: System): Record<string, (...given: readonly unknown[]) => bigint> {
  const imports: Record<string, (...given: readonly unknown[]) => bigint> = {};
  const groups: (() => Handlers)[] = [
    () => objectCalls(compartment, system),
    () => programCalls(compartment),
    () => ({ ...threadCalls(compartment), thread_spawn: (a) => compartment.spawn(a.u32(), a.u32(), a.u32()) }),
    () => gateCalls(compartment, system),
    () => system.calls?.(compartment) ?? {},
  ];
  // A group is made when something is looked for in it: most programs need few.
  const made: Handlers[] = [];
  for (const name of compartment.program.syscalls) {
    let handler: Handler | undefined;
    for (let i = 0; handler === undefined && i < groups.length; i++) {
      const group = (made[i] ??= groups[i]?.() ?? {});
      handler = group[name];
    }
    imports[name] = enter(compartment, name, handler ?? missing(name));
  }
  return imports;
}

function missing(name: string): Handler {
  return () => {
    throw new TwzError('NotSupported', `the syscall ${name} is not there in this program's surroundings`, { name });
  };
}

/** The calls of a further thread of a program: those that need no kernel. */
export function threadSyscalls(caller: Caller): Record<string, (...given: readonly unknown[]) => bigint> {
  const handlers: Handlers = { ...programCalls(caller), ...threadCalls(caller) };
  const imports: Record<string, (...given: readonly unknown[]) => bigint> = {};
  for (const { name } of SYSCALLS) {
    const handler = handlers[name] ?? missing(name);
    imports[name] = (...given) => {
      try {
        return BigInt(handler(new Arguments(caller.memory, given)));
      } catch (error) {
        if (!isTwzError(error) || isFinal(error)) throw error;
        caller.lastError = error.message;
        return BigInt(-error.code);
      }
    };
  }
  return imports;
}

function enter(compartment: Compartment, name: SyscallName, handler: Handler): (...given: readonly unknown[]) => bigint {
  const { view, kernel } = compartment;
  const plain = PLAIN.has(name);
  return (...given) => {
    compartment.count();
    if (!plain) demandStack();
    try {
      if (!plain && kernel.transaction !== undefined) view.collect();
      const result = handler(new Arguments(view, given));
      if (!plain) view.prepare();
      return typeof result === 'bigint' ? result : BigInt(result);
    } catch (error) {
      if (!isTwzError(error) || error instanceof ProgramExit || isFinal(error) || kernel.onlyTransaction.overtaken) throw error;
      compartment.lastError = error.message;
      if (!plain) view.prepare();
      return BigInt(-error.code);
    }
  };
}

const FINAL = new Set<number>([
  ERRORS.ProgramFault.code,
  ERRORS.ProgramTimeout.code,
  ERRORS.ProgramLimit.code,
  ERRORS.CompartmentClosed.code,
]);

function isFinal(error: TwzError): boolean {
  return FINAL.has(error.code);
}

/** Calls of itself that what follows may need, at the most. */
const LEVELS = 200;

/** Is there enough of the stack left? A program could use it up, and have a syscall fail in the midst of something. */
export function demandStack(): void {
  try {
    descend(LEVELS);
  } catch {
    throw new TwzError('ProgramFault', 'the program used up its stack');
  }
}

function descend(levels: number): number {
  return levels === 0 ? 0 : descend(levels - 1) + 1;
}

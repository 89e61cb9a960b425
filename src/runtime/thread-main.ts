/**
 * A further thread of a program: the same module in the same memory. It calls one function of the program's table, and ends when that does.
 * It makes the syscalls that need no kernel; objects that the compartment has mapped are in its memory as well.
 */
import { TwzError } from '../abi/errors.ts';
import { chooseHost } from '../host/choose.ts';
import { startedWith } from '../host/programs.ts';
import { Instance, type WasmFunction, type WasmImports, type WasmMemory, type WasmModule } from '../host/wasm-memory.ts';
import type { Access, GuestMemory } from './guest.ts';
import type { Caller } from './caller.ts';
import { ProgramExit } from './exit.ts';
import { PLACE } from './module/rewrite.ts';
import { threadSyscalls } from './syscalls.ts';

interface Start {
  readonly module: WasmModule;
  readonly memory: WasmMemory;
  readonly needs: readonly string[];
  readonly run: number;
  readonly argument: number;
  readonly stack: number;
  readonly number: number;
  readonly heap: number;
  readonly arguments: readonly string[];
}

/** The heap, and nothing else: what is mapped above it can go at any time. */
class Heap implements GuestMemory {
  readonly #buffer: ArrayBufferLike;
  readonly #size: number;

  constructor(buffer: ArrayBufferLike, size: number) {
    this.#buffer = buffer;
    this.#size = size;
  }

  #demand(at: number, length: number, access: Access): number {
    const from = at >>> 0;
    if (!(length >= 0 && from + length <= this.#size))
      throw new TwzError('GuestFault', `a thread has syscalls ${access} its heap only; ${length} bytes at ${from} are not there`, {
        at: from,
        length,
      });
    return from;
  }

  bytes(at: number, length: number, access: Access): Uint8Array {
    return new Uint8Array(this.#buffer, this.#demand(at, length, access), length);
  }

  view(at: number, length: number, access: Access): DataView {
    return new DataView(this.#buffer, this.#demand(at, length, access), length);
  }
}

function isFunction(value: unknown): value is WasmFunction {
  return typeof value === 'function';
}

function run(start: Start): number {
  const { memory } = start;
  const caller: Caller = {
    host: chooseHost(() => undefined),
    memory: new Heap(memory.buffer, start.heap),
    buffer: memory.buffer,
    heap: start.heap,
    thread: start.number,
    arguments: start.arguments,
    lastError: '',
    write: () => {
      throw new TwzError('NotSupported', 'the further threads of a program have no streams');
    },
    read: () => {
      throw new TwzError('NotSupported', 'the further threads of a program have no streams');
    },
    rest: () => undefined,
  };
  const refuse = (module: string): WasmImports[string] =>
    new Proxy<Record<string, () => never>>(
      {},
      {
        get: (_, name) => () => {
          throw new TwzError('NotSupported', `"${module}" "${String(name)}" is not there in the further threads of a program`);
        },
      },
    );
  const imports: Record<string, WasmImports[string]> = { [PLACE.module]: { [PLACE.memory]: memory } };
  for (const need of start.needs) imports[need] = need === 'twizzler' ? threadSyscalls(caller) : refuse(need);
  const { exports } = new Instance(start.module, imports);
  // The heap grows in the first thread only: its limit here stays what the module begins with.
  const stack = exports[PLACE.stack];
  if (start.stack !== 0 && typeof stack === 'object' && stack !== null && 'value' in stack) stack.value = start.stack | 0;
  const table = exports[PLACE.table];
  const found: unknown =
    typeof table === 'object' && table !== null && 'get' in table && isFunction(table.get) ? table.get(start.run) : undefined;
  if (!isFunction(found)) throw new TwzError('GuestFault', `there is no function ${start.run} in the program's table`);
  try {
    found(start.argument);
    return 0;
  } catch (error) {
    if (error instanceof ProgramExit) return error.exitCode;
    throw error;
  }
}

const code = run(startedWith(undefined) as Start);
// Whoever started it hears of it as a fault.
if (code !== 0) throw new ProgramExit(code);

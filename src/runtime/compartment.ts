/**
 * A compartment: an instance of a program with its own view, its own rights, and limits.
 *
 *   call(gate)  ->  prepare the view  ->  the program runs, with syscalls  ->  collect what it stored (in a transaction), or discard it
 *
 * What goes wrong in it is its owner's to hear of and nobody else's: a trap, the end of its time or of its stack, an error that a syscall
 * cannot answer. The compartment is closed then, and a transaction that runs is doomed.
 */
import { TwzError, isTwzError } from '../abi/errors.ts';
import { RIGHT } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import type { GateType } from '../abi/syscalls.ts';
import { Instance, RuntimeError, type WasmFunction, type WasmGlobal, type WasmImports } from '../host/wasm-memory.ts';
import type { Host } from '../host/host.ts';
import { startThread, type Program as Thread } from '../host/programs.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Handle } from '../kernel/object.ts';
import { actAgain, actFor } from '../kernel/security/guard.ts';
import type { Caller } from './caller.ts';
import { ProgramExit } from './exit.ts';
import { GateValues, type GateValue } from './gate-values.ts';
import type { GuestMemory } from './guest.ts';
import { STOP_PAGE, WASM_PAGE } from './layout.ts';
import { PLACE } from './module/rewrite.ts';
import type { Gate, Program } from './program.ts';
import { syscalls, type System } from './syscalls.ts';
import { View, type Authority } from './view.ts';
import { takeWindow, giveWindow, type ProgramWindow } from './window-pool.ts';

export interface Limits {
  /** Bytes of its heap, rounded up to 64 KiB (default 256 MiB, at most 1 GiB). */
  readonly memory: number;
  /** Milliseconds that a call from outside may take (default 10,000). Infinity for no end. */
  readonly time: number;
  /** Objects that it may have mapped at once (default 4096). */
  readonly objects: number;
  /** Syscalls that a call from outside may make (default: no end). */
  readonly calls: number;
  /** How deep gates may call each other (default 32). */
  readonly depth: number;
  /** Threads that it may have besides the one that calls it (default 8). */
  readonly threads: number;
}

export const DEFAULT_LIMITS: Limits = { memory: 256 << 20, time: 10_000, objects: 4096, calls: Infinity, depth: 32, threads: 8 };

/** Functions that a program imports from a module that is not `twizzler`. */
export interface Surrounding {
  readonly modules: readonly string[];
  functions(compartment: Compartment): Readonly<Record<string, (...given: readonly unknown[]) => unknown>>;
  /** The compartment is closed. */
  close?(): void;
}

export interface CompartmentOptions {
  readonly name?: string | undefined;
  readonly arguments?: readonly string[] | undefined;
  readonly limits?: Partial<Limits> | undefined;
  /** Takes what the program writes. Stream 1 is output, 2 errors. */
  readonly output?: ((stream: number, data: Uint8Array) => void) | undefined;
  /** Gives what it reads; nothing at the end. */
  readonly input?: ((max: number) => Uint8Array) | undefined;
  readonly surroundings?: readonly Surrounding[] | undefined;
  /** Hears why it was closed, other than by `close`. */
  readonly onFault?: ((error: TwzError) => void) | undefined;
  /** The program's code object: who calls a gate from another compartment needs the right to execute it. */
  readonly code?: Handle | undefined;
  /** Name by which other compartments find its gates; undefined: they do not. */
  readonly context?: ObjectId | undefined;
}

/** Which compartments run in this thread, each called by the one before. */
const running: Compartment[] = [];

export class Compartment implements Caller {
  readonly name: string | undefined;
  readonly program: Program;
  readonly kernel: Kernel;
  readonly authority: Authority;
  readonly view: View;
  readonly limits: Limits;
  readonly options: CompartmentOptions;
  readonly #system: System;
  readonly #window: ProgramWindow;
  #exports: Readonly<Record<string, unknown>> = {};
  readonly #values: GateValues;
  #state: 'live' | 'closed' = 'live';
  #fault: TwzError | undefined;
  #exit: number | undefined;
  #calls = 0;
  #entered = 0;
  readonly #threads: { readonly number: number; readonly program: Thread }[] = [];
  #lastThread = 0;
  /** What the gate that runs was called by. */
  caller: Compartment | undefined;
  /** What `gate_result` gave. */
  result: Uint8Array | undefined;
  lastError = '';

  /** Throws ProgramInvalid, ProgramFault where its start fails, NotSupported. */
  constructor(system: System, program: Program, authority: Authority, options: CompartmentOptions = {}) {
    const limits = limitsOf(options.limits, program);
    this.name = options.name ?? program.manifest?.name;
    this.program = program;
    this.kernel = system.kernel;
    this.authority = authority;
    this.options = options;
    this.limits = limits;
    this.#system = system;
    this.#window = takeWindow(system.kernel.host, limits.memory);
    this.view = new View(system.kernel, this.#window.window, authority, limits);
    this.#values = new GateValues(this);
    try {
      const instance = new Instance(program.module, this.#imports());
      this.#exports = instance.exports;
      const limit = instance.exports[PLACE.limit];
      if (isGlobal(limit)) limit.value = limits.memory / WASM_PAGE;
      for (const name of [PLACE.data, PLACE.start]) {
        const begin = instance.exports[name];
        if (isFunction(begin)) this.#enter(() => begin());
      }
    } catch (error) {
      if (error instanceof ProgramExit) return;
      this.close();
      throw error;
    }
  }

  #imports(): WasmImports {
    const { memory } = this.#window.window;
    if (memory === undefined) throw new TwzError('NotSupported', 'this host has no WebAssembly memory');
    const imports: Record<string, WasmImports[string]> = {
      [PLACE.module]: { [PLACE.memory]: memory },
      twizzler: syscalls(this, this.#system),
      env: { abort: (...given) => this.#abort(given) },
    };
    const around = this.options.surroundings ?? [];
    for (const surrounding of around) {
      const functions = surrounding.functions(this);
      for (const module of surrounding.modules) imports[module] = functions;
    }
    for (const need of this.program.needs) {
      if (imports[need] === undefined)
        throw new TwzError('ProgramInvalid', `the program imports from "${need}", which it was not given`, { module: need });
    }
    return imports;
  }

  /** AssemblyScript's way to give up: message and file as its strings, line, column. */
  #abort(given: readonly unknown[]): never {
    const text = (at: unknown): string => {
      if (typeof at !== 'number' || at < 4) return '';
      const length = this.view.view(at - 4, 4, 'read').getUint32(0, true);
      if (length > 4096) return '';
      return new TextDecoder('utf-16le').decode(this.view.bytes(at, length, 'read').slice());
    };
    throw new TwzError(
      'ProgramFault',
      `the program gave up: ${text(given[0])} (${text(given[1])}:${String(given[2])}:${String(given[3])})`,
    );
  }

  // --- entering -----------------------------------------------------------------------------------------------------------

  /** Runs code of the program. */
  #enter<T>(body: () => T): T {
    if (this.#state !== 'live') throw this.#gone();
    if (running.length >= this.limits.depth)
      throw new TwzError('ProgramLimit', `gates call each other ${running.length} deep, as far as they may (limits.depth)`, {
        depth: running.length,
      });
    const before = running.at(-1);
    if (before !== undefined && before !== this) before.view.collect();
    // What it stores, itself or by syscalls, is judged by its own rights.
    const acted = actFor(this.kernel, this.authority);
    let result: T;
    try {
      result = this.#run(body);
    } finally {
      actAgain(this.kernel, acted);
    }
    if (before !== undefined && before !== this) before.view.prepare();
    return result;
  }

  #run<T>(body: () => T): T {
    const { view } = this;
    const { isolation } = this.kernel.host;
    view.prepare();
    const outermost = this.#entered === 0;
    if (outermost) this.#calls = 0;
    const timed = this.limits.time === Infinity || isolation === undefined ? undefined : isolation.watchdog;
    const watch = timed?.enter(this.#window.window, STOP_PAGE, this.limits.time) ?? 0;
    running.push(this);
    this.#entered++;
    let result: T;
    let over = false;
    try {
      result = body();
    } catch (error) {
      over = timed?.leave(watch) ?? false;
      view.discard();
      throw this.#failed(error, over);
    } finally {
      this.#entered--;
      running.pop();
      if (this.#state !== 'live' && this.#entered === 0) this.close();
    }
    timed?.leave(watch);
    view.collect();
    return result;
  }

  /** What the owner hears. */
  #failed(error: unknown, over: boolean): unknown {
    if (error instanceof ProgramExit) {
      this.#exit = error.exitCode;
      this.#end(undefined);
      return error;
    }
    if (isTwzError(error) && !(error.name in FATAL)) return error;
    const fault = over ? this.#late(error) : faultOf(error);
    // Whatever is neither is a mistake of ours.
    if (fault === undefined) return error;
    this.#end(fault);
    this.options.onFault?.(fault);
    return fault;
  }

  #late(cause: unknown): TwzError {
    return new TwzError(
      'ProgramTimeout',
      `the program ran for longer than ${this.limits.time} ms (limits.time)`,
      { time: this.limits.time },
      cause,
    );
  }

  #end(fault: TwzError | undefined): void {
    this.#fault = fault;
    const { transaction } = this.kernel;
    if (transaction !== undefined && fault !== undefined && !transaction.isDoomed) {
      transaction.isDoomed = true;
      transaction.doomed = fault;
    }
    this.#state = 'closed';
  }

  #gone(): TwzError {
    const why = this.#fault === undefined ? '' : `: ${this.#fault.message}`;
    return new TwzError('CompartmentClosed', `the compartment ${this.name ?? ''} has ended${why}`, {}, this.#fault);
  }

  // --- what syscalls see ----------------------------------------------------------------------------------------------------

  readonly thread = 0;

  get host(): Host {
    return this.kernel.host;
  }

  get memory(): GuestMemory {
    return this.view;
  }

  get buffer(): ArrayBufferLike {
    return this.#window.window.buffer;
  }

  get heap(): number {
    return this.limits.memory;
  }

  get arguments(): readonly string[] {
    return this.options.arguments ?? [];
  }

  write(stream: number, data: Uint8Array): void {
    this.options.output?.(stream, data);
  }

  read(max: number): Uint8Array {
    return this.options.input?.(max) ?? new Uint8Array(0);
  }

  rest(): void {
    if (this.host.isolation?.watchdog.over === true)
      throw new TwzError('ProgramTimeout', `the program ran for longer than ${this.limits.time} ms (limits.time)`);
    this.kernel.admit();
  }

  /** Starts a further thread of the program. Gives its number. */
  spawn(run: number, argument: number, stack: number): number {
    const { memory } = this.#window.window;
    this.tableFunction(run);
    if (this.#threads.length >= this.limits.threads)
      throw new TwzError('ProgramLimit', `the compartment has ${this.limits.threads} threads, as many as it may (limits.threads)`);
    const number = ++this.#lastThread;
    const data = {
      module: this.program.module,
      memory,
      needs: [...this.program.needs],
      run,
      argument,
      stack,
      number,
      heap: this.heap,
      arguments: this.arguments,
    };
    const file = import.meta.url.endsWith('.ts') ? './thread-main.ts' : './thread-main.js';
    const program = startThread(new URL(file, import.meta.url), data, {
      name: `twizzler program ${this.name ?? ''}`,
      execArgv: [],
      prints: true,
    });
    program.unref();
    const thread = { number, program };
    this.#threads.push(thread);
    void program.ended.then(({ code, error }) => {
      this.#threads.splice(this.#threads.indexOf(thread), 1);
      if (this.closed || (code === 0 && error === undefined)) return;
      const fault = new TwzError(
        'ProgramFault',
        `thread ${number} of the program failed: ${error?.message ?? `exit code ${code}`}`,
        { thread: number },
        error,
      );
      this.#end(fault);
      if (this.#entered === 0) this.close();
      this.options.onFault?.(fault);
    });
    return number;
  }

  /** Threads of the program that run besides the one that calls it. */
  get threads(): number {
    return this.#threads.length;
  }

  /** One syscall more. */
  count(): void {
    if (++this.#calls > this.limits.calls)
      throw new TwzError('ProgramLimit', `the program made more than ${this.limits.calls} syscalls (limits.calls)`, {
        limit: this.limits.calls,
      });
    if (this.#state !== 'live') throw this.#gone();
  }

  // --- what its owner does ----------------------------------------------------------------------------------------------------

  /** Runs it from its beginning to its end: `_start`, or `main`. Gives its exit code. */
  run(): number {
    const main = this.#function('_start') ?? this.#function('main');
    if (this.#exit === undefined) {
      if (main === undefined)
        throw new TwzError('GateMissing', 'the program has no `_start` or `main`; it is there to be called by its gates');
      try {
        const code = this.#enter(() => main());
        this.#exit ??= typeof code === 'number' ? code : 0;
      } catch (error) {
        if (!(error instanceof ProgramExit)) throw error;
      }
    }
    return this.#exit ?? 0;
  }

  #function(name: string): WasmFunction | undefined {
    const found = this.program.exports.has(name) ? this.#exports[name] : undefined;
    return isFunction(found) ? found : undefined;
  }

  /** A gate, to be called again and again. Throws GateMissing. */
  gate(name: string): (...values: readonly GateValue[]) => GateValue | undefined {
    const gate = this.program.gates.get(name);
    const run = gate === undefined ? undefined : this.#function(name);
    if (gate === undefined || run === undefined)
      throw new TwzError('GateMissing', `the program ${this.name ?? ''} declares no gate "${name}"`, { name });
    const { parameters, result } = gate.declaration;
    const plain = (type: GateType | undefined): boolean =>
      type === 'i32' || type === 'f64' || type === 'f32' || type === 'i64' || type === 'u32';
    if (parameters.every(plain) && (result === undefined || plain(result))) {
      return (...values) => {
        const numbers = this.#values.numbers(gate, values);
        const given = this.#enter(() => run(...numbers));
        return this.#values.number(result, given);
      };
    }
    return (...values) => this.#callWith(gate, run, values, undefined);
  }

  /** Calls a gate. Throws what is wrong with it, or what the program failed by. */
  call(name: string, ...values: readonly GateValue[]): GateValue | undefined {
    return this.gate(name)(...values);
  }

  #callWith(gate: Gate, run: WasmFunction, values: readonly GateValue[], caller: Compartment | undefined): GateValue | undefined {
    const outer = { caller: this.caller, result: this.result };
    this.#values.judge(gate, values, caller);
    try {
      const given = this.#enter(() => {
        this.caller = caller;
        this.result = undefined;
        return run(...this.#values.cross(gate, values, this.#function('twz_buffer')));
      });
      return this.#values.resultOf(gate, given, this.result);
    } finally {
      this.caller = outer.caller;
      this.result = outer.result;
    }
  }

  /** Another compartment calls a gate: its rights are what counts. */
  callFrom(caller: Compartment, gate: Gate, values: readonly GateValue[]): GateValue | undefined {
    const run = this.#function(gate.name);
    if (run === undefined) throw new TwzError('GateMissing', `there is no gate "${gate.name}"`, { name: gate.name });
    const { code } = this.options;
    if (code !== undefined && (caller.authority.rightsTo(code, RIGHT.execute, gate.ordinal) & RIGHT.execute) === 0)
      throw new TwzError('GateRefused', `the caller has not the right to execute object ${code.id} through gate "${gate.name}"`, {
        id: code.id,
      });
    return this.#callWith(gate, run, values, caller);
  }

  /** A function of the program's table, for `transact` and the like. */
  tableFunction(index: number): (argument: number) => number {
    const table = this.#exports[PLACE.table];
    const found = isTable(table) && index < table.length ? table.get(index) : undefined;
    if (!isFunction(found)) throw new TwzError('GuestFault', `there is no function ${index} in the program's table`, { index });
    return (argument) => {
      const result = found(argument);
      if (typeof result !== 'number')
        throw new TwzError('GuestFault', `function ${index} of the program's table gives no 32-bit number`, { index });
      return result | 0;
    };
  }

  /** Memory of the program's own for what comes from outside. */
  crossing(length: number): number {
    const place = this.#function('twz_buffer')?.(length);
    if (typeof place !== 'number') throw new TwzError('GateRefused', `the program exports no twz_buffer to take ${length} bytes`);
    return place >>> 0;
  }

  /** Where the stack has come to that the program keeps in its memory, as far as that is known: what is thrown through it leaves it as it was. */
  get stackTop(): unknown {
    const stack = this.#exports[PLACE.stack];
    return isGlobal(stack) ? stack.value : undefined;
  }

  set stackTop(top: unknown) {
    const stack = this.#exports[PLACE.stack];
    if (isGlobal(stack) && typeof top === 'number') stack.value = top;
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  /** Why it was closed, where something went wrong. */
  get fault(): TwzError | undefined {
    return this.#fault;
  }

  get exitCode(): number | undefined {
    return this.#exit;
  }

  /** Lets go of its memory and its objects. */
  close(): void {
    if (this.#entered > 0) throw new TwzError('InvalidArgument', 'the compartment is running: it cannot be closed from inside');
    if (this.#window.given) return;
    this.#state = 'closed';
    this.view.close();
    for (const surrounding of this.options.surroundings ?? []) surrounding.close?.();
    for (const { program } of this.#threads) program.terminate();
    giveWindow(this.#window, this.#threads.length === 0);
    this.#system.closed(this);
  }
}

/** Errors of syscalls that no program goes on after. */
const FATAL: Readonly<Record<string, true>> = { ProgramFault: true, ProgramTimeout: true, ProgramLimit: true };

/** What a program did, as the error that its owner gets; undefined where it is not the program's. */
function faultOf(error: unknown): TwzError | undefined {
  if (isTwzError(error)) return error;
  if (error instanceof RuntimeError)
    return new TwzError('ProgramFault', `the program trapped: ${error.message}`, { where: whereOf(error) }, error);
  if (error instanceof RangeError) return new TwzError('ProgramFault', 'the program used up its stack', { where: whereOf(error) }, error);
  if (error instanceof TypeError && whereOf(error) !== '')
    return new TwzError(
      'ProgramFault',
      `the program declares an import otherwise than it is: ${error.message}`,
      { where: whereOf(error) },
      error,
    );
  return undefined;
}

const FRAMES = 8;

/** The functions of the program that it was in, innermost first. */
function whereOf(error: Error): string {
  const frames = [...(error.stack ?? '').matchAll(/at (?:(\S+) \()?wasm:\/\/wasm\/[^:]*:wasm-function\[(\d+)\]:(0x[0-9a-f]+)/g)];
  return frames
    .slice(0, FRAMES)
    .map(([, name, index, at]) => `${name ?? `function ${index ?? ''}`}+${at ?? ''}`)
    .join(' < ');
}

function isFunction(value: unknown): value is WasmFunction {
  return typeof value === 'function';
}

function isGlobal(value: unknown): value is WasmGlobal {
  return typeof value === 'object' && value !== null && 'value' in value;
}

function isTable(value: unknown): value is { readonly length: number; get(index: number): unknown } {
  return typeof value === 'object' && value !== null && 'length' in value && 'get' in value;
}

function limitsOf(given: Partial<Limits> | undefined, program: Program): Limits {
  const limits = { ...DEFAULT_LIMITS, ...given };
  for (const [name, value] of Object.entries(limits)) {
    if (!(typeof value === 'number' && value >= 0))
      throw new TwzError('InvalidArgument', `limits.${name} is ${String(value)}; expected a number`, { name });
  }
  const memory = Math.min(Math.ceil(limits.memory / WASM_PAGE), program.pagesMax) * WASM_PAGE;
  if (program.pages * WASM_PAGE > memory)
    throw new TwzError(
      'ProgramLimit',
      `the program begins with ${program.pages * WASM_PAGE} bytes of memory; it may have ${limits.memory} (limits.memory)`,
      {
        limit: limits.memory,
      },
    );
  return { ...limits, memory };
}

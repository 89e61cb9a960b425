/** A program that is ready to be run: rewritten, compiled, and shown to import nothing but what there is. */
import { SYSCALLS, SYSCALL_MODULE, type GateDeclaration, type Manifest, type SyscallName } from '../abi/syscalls.ts';
import { Module, type WasmModule } from '../host/wasm-memory.ts';
import { invalid } from './module/bytes.ts';
import { rewrite } from './module/rewrite.ts';

const KNOWN = new Set<string>(SYSCALLS.map(({ name }) => name));
/** WASI's first version, by both of its names. */
export const WASI_MODULES: readonly string[] = ['wasi_snapshot_preview1', 'wasi_unstable'];
/** What AssemblyScript calls when it gives up. */
const ABORT_MODULE = 'env';

export interface Gate {
  readonly name: string;
  /** Its place among the gates that the program declares: the offset that gated capabilities name. */
  readonly ordinal: number;
  readonly declaration: GateDeclaration;
}

export class Program {
  readonly module: WasmModule;
  readonly manifest: Manifest | undefined;
  /** WebAssembly pages that its heap begins with, and as many as it ever asks for. */
  readonly pages: number;
  readonly pagesMax: number;
  readonly gates: ReadonlyMap<string, Gate>;
  readonly exports: ReadonlySet<string>;
  /** Those that it imports. */
  readonly syscalls: readonly SyscallName[];
  /** Names of the modules that it imports from. */
  readonly needs: ReadonlySet<string>;

  /** Throws ProgramInvalid. */
  constructor(bytes: Uint8Array) {
    const rewritten = rewrite(bytes);
    for (const { module, name } of rewritten.imports) {
      if (module === SYSCALL_MODULE ? KNOWN.has(name) : WASI_MODULES.includes(module) || (module === ABORT_MODULE && name === 'abort'))
        continue;
      throw invalid(`the module imports "${module}" "${name}", which there is not`);
    }
    try {
      this.module = new Module(rewritten.bytes);
    } catch (cause) {
      throw invalid(`the module does not compile: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
    this.manifest = rewritten.manifest;
    this.pages = rewritten.pages;
    this.pagesMax = rewritten.pagesMax;
    this.exports = new Set(rewritten.exports);
    this.syscalls = SYSCALLS.map(({ name }) => name).filter((each) =>
      rewritten.imports.some(({ module, name }) => module === SYSCALL_MODULE && name === each),
    );
    this.needs = new Set(rewritten.imports.map(({ module }) => module));
    const gates = new Map<string, Gate>();
    for (const [name, declaration] of Object.entries(rewritten.manifest?.gates ?? {})) {
      if (!this.exports.has(name)) throw invalid(`the program declares a gate "${name}", and exports no such function`);
      gates.set(name, { name, ordinal: gates.size, declaration });
    }
    this.gates = gates;
  }
}

/** WebAssembly.Memory without the DOM's type library, which declares it but would bring a browser's globals along. */

/** Give it to `new WebAssembly.Instance(module, { env: { memory } })`. */
export interface WasmMemory {
  readonly buffer: ArrayBufferLike;
}

type MemoryConstructor = new (descriptor: { initial: number; maximum: number; shared: boolean }) => WasmMemory;

/** A compiled program. */
export interface WasmModule {
  readonly [Symbol.toStringTag]: string;
}

/** Functions that a program imports; arguments are of whatever types it says. */
export type WasmImports = Readonly<Record<string, Readonly<Record<string, WasmMemory | ((...given: readonly unknown[]) => unknown)>>>>;

export type WasmFunction = (...given: readonly (number | bigint)[]) => unknown;

export interface WasmGlobal {
  value: unknown;
}

export interface WasmInstance {
  readonly exports: Readonly<Record<string, unknown>>;
}

interface WebAssemblyOfThisMachine {
  readonly Memory: MemoryConstructor;
  readonly Module: new (bytes: Uint8Array) => WasmModule;
  readonly Instance: new (module: WasmModule, imports: WasmImports) => WasmInstance;
  /** What a trap throws. */
  readonly RuntimeError: new (message: string) => Error;
}

const { WebAssembly } = globalThis as typeof globalThis & { readonly WebAssembly: WebAssemblyOfThisMachine };

export const { Memory, Module, Instance, RuntimeError } = WebAssembly;

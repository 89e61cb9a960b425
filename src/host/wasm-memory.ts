/** WebAssembly.Memory without the DOM's type library, which declares it but would bring a browser's globals along. */

/** Give it to `new WebAssembly.Instance(module, { env: { memory } })`. */
export interface WasmMemory {
  readonly buffer: ArrayBufferLike;
}

type MemoryConstructor = new (descriptor: { initial: number; maximum: number; shared: boolean }) => WasmMemory;

const { WebAssembly } = globalThis as typeof globalThis & { readonly WebAssembly: { readonly Memory: MemoryConstructor } };

export const Memory: MemoryConstructor = WebAssembly.Memory;

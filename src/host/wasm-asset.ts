/** WebAssembly modules that are part of this package. */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { systemError } from './node-files.ts';
import { Module, type WasmModule } from './wasm-memory.ts';

let large = false;

/**
 * V8 up to version 11 gives very large functions, an interpreter's loop for one, to a register allocator that is quick and makes them run
 * at half the speed. Later versions have no such allocator, and would complain about the flag.
 */
function optimiseLargeFunctions(): void {
  if (large || Number.parseInt(process.versions.v8, 10) > 11) return;
  large = true;
  setFlagsFromString('--no-turbo-use-mid-tier-regalloc-for-huge-functions');
}

/** Throws FileMissing and the like. */
export function compiledAsset(url: URL): WasmModule {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(url);
  } catch (cause) {
    throw systemError(`read ${url.pathname}`, cause);
  }
  optimiseLargeFunctions();
  return new Module(bytes);
}

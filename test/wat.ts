/** Programs for tests, in WebAssembly's text format. */
import wabt from 'wabt';
import { MANIFEST_SECTION, SYSCALL_ABI, type GateDeclaration } from '../src/abi/syscalls.ts';
import { withSection } from '../src/runtime/module/manifest.ts';

const { parseWat } = await wabt();

/** The module of a text; with a manifest where gates are declared. */
export function wat(text: string, gates?: Readonly<Record<string, GateDeclaration>>, name?: string): Uint8Array {
  const parsed = parseWat('program.wat', text, {
    threads: true,
    simd: true,
    bulk_memory: true,
    mutable_globals: true,
    reference_types: true,
  });
  try {
    const module = Uint8Array.from(parsed.toBinary({}).buffer);
    if (gates === undefined && name === undefined) return module;
    const manifest = JSON.stringify({ abi: SYSCALL_ABI, ...(name === undefined ? {} : { name }), gates: gates ?? {} });
    return withSection(module, MANIFEST_SECTION, new TextEncoder().encode(manifest));
  } finally {
    parsed.destroy();
  }
}

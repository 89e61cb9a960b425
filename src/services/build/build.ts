/**
 * `twz build`: a source becomes a program. A compiler makes the module; what the program declares of itself is put into it; and it is shown to be
 * one that runs: made ready as it will be, with imports that there are, and all gates exported.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { MANIFEST_SECTION, type Manifest } from '../../abi/syscalls.ts';
import { fileBytes, inScratch, joined, partsOf, writeFileWhole } from '../../host/tools.ts';
import { withSection } from '../../runtime/module/manifest.ts';
import { Program } from '../../runtime/program.ts';
import { compilerFor } from './compilers.ts';
import { declarationsOf, takesMemory } from './declarations.ts';

export interface BuildOptions {
  /** By default the source's name with `.wasm`, beside it. */
  readonly output?: string | undefined;
  /** Keeps the names of functions. */
  readonly names?: boolean;
}

export interface Built {
  readonly output: string;
  readonly bytes: number;
  readonly manifest: Manifest;
}

const UTF8 = new TextDecoder();

/** Throws CompilerMissing, BuildFailed, ManifestInvalid, FileMissing. */
export async function buildProgram(source: string, options: BuildOptions = {}): Promise<Built> {
  const compile = compilerFor(source);
  const text = fileBytes(source);
  if (text === undefined) throw new TwzError('FileMissing', `there is no file ${source}`, { file: source });
  const { directory, name } = partsOf(source);
  const beside = joined(directory, 'program.json');
  const json = fileBytes(beside);
  const manifest = declarationsOf(UTF8.decode(text), json === undefined ? undefined : UTF8.decode(json), beside);
  const output = options.output ?? joined(directory, `${name}.wasm`);
  const module = await inScratch(async (scratch) => {
    const made = joined(scratch, 'program.wasm');
    await compile({ source, output: made, scratch, names: options.names ?? false, takesMemory: takesMemory(manifest) });
    const compiled = fileBytes(made);
    if (compiled === undefined) throw new TwzError('BuildFailed', `the compiler made nothing of ${source}`, { source });
    return withSection(compiled, MANIFEST_SECTION, new TextEncoder().encode(JSON.stringify(manifest)));
  });
  demandProgram(source, module, manifest);
  writeFileWhole(output, module);
  return { output, bytes: module.length, manifest };
}

function demandProgram(source: string, module: Uint8Array, manifest: Manifest): void {
  let program: Program;
  try {
    program = new Program(module);
  } catch (error) {
    if (isTwzError(error, 'ProgramInvalid')) throw new TwzError('BuildFailed', `${source}: ${error.message}`, { source }, error);
    throw error;
  }
  if (takesMemory(manifest) && !program.exports.has('twz_buffer'))
    throw new TwzError(
      'BuildFailed',
      `${source}: its gates take more than numbers, and it gives no memory for that: in C add TWZ_BUFFER(65536), in Rust twizzler::buffer!(65536);`,
      { source },
    );
}

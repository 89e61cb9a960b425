/** The compilers: AssemblyScript's from npm, clang with lld, and rustc with the target wasm32-unknown-unknown. */
import { TwzError } from '../../abi/errors.ts';
import { joined, ownFile, packageFile, partsOf, runScript, runTool, type ToolResult } from '../../host/tools.ts';

export interface Compilation {
  readonly source: string;
  readonly output: string;
  /** For what is needed on the way. */
  readonly scratch: string;
  /** Names of functions stay in the module, for `context.where` of faults. */
  readonly names: boolean;
  /** Gates take more than numbers: the program gives memory for that. */
  readonly takesMemory: boolean;
}

type Compiler = (compilation: Compilation) => Promise<void>;

function missing(what: string, install: string): TwzError {
  return new TwzError('CompilerMissing', `${what} is not installed; ${install}`, { install });
}

function judge(result: ToolResult | undefined, source: string, otherwise: () => TwzError): void {
  if (result === undefined) throw otherwise();
  if (result.code !== 0)
    throw new TwzError('BuildFailed', `the compiler refused ${source}`, { source, code: result.code, said: result.said.trimEnd() });
}

const ASC = 'assemblyscript/bin/asc.js';

const assemblyScript: Compiler = async ({ source, output, names, takesMemory }) => {
  const noCompiler = (): TwzError => missing('the AssemblyScript compiler', 'npm install --save-dev assemblyscript');
  const script = packageFile(ASC, partsOf(source).directory);
  if (script === undefined) throw noCompiler();
  const sdk = ownFile('sdk/assemblyscript');
  const args = [source, ...(takesMemory ? [joined(sdk, 'twizzler/exports.ts')] : []), '--path', sdk, '--outFile', output];
  args.push('--optimizeLevel', '3', '--importMemory', '--exportTable', '--runtime', 'incremental');
  for (const [what, by] of [
    ['seed', 'twz_seed'],
    ['trace', 'twz_trace'],
  ])
    args.push('--use', `${what}=~lib/twizzler/program/${by}`);
  if (names) args.push('--debug');
  judge(await runScript(script, args), source, noCompiler);
};

const C_FLAGS = ['--target=wasm32', '-nostdlib', '-ffreestanding', '-O2', '-Wall', '-mbulk-memory', '-mmutable-globals'];
const LINK_FLAGS = ['-Wl,--no-entry', '-Wl,--import-memory', '-Wl,--export-table'];

const c: Compiler = async ({ source, output, names }) => {
  const noCompiler = (): TwzError => missing('clang with lld', 'on Debian: apt-get install clang lld');
  if ((await runTool('wasm-ld', ['--version'])) === undefined) throw noCompiler();
  const link = names ? LINK_FLAGS : [...LINK_FLAGS, '-Wl,--strip-debug'];
  const result = await runTool('clang', [...C_FLAGS, '-Wno-unused-function', '-I', ownFile('sdk/c'), source, '-o', output, ...link]);
  judge(result, source, noCompiler);
};

const TARGET = 'wasm32-unknown-unknown';
/** The second: where another toolchain comes before Debian's, which has the target. */
const RUST_COMPILERS = ['rustc', '/usr/bin/rustc'];

/** A rustc that has the target. */
async function rustCompiler(): Promise<string | undefined> {
  for (const compiler of RUST_COMPILERS) {
    const sysroot = await runTool(compiler, ['--print', 'target-libdir', '--target', TARGET]);
    if (sysroot === undefined || sysroot.code !== 0) continue;
    const libraries = await runTool('ls', [sysroot.said.trim()]);
    if (libraries?.code === 0 && libraries.said.includes('libcore')) return compiler;
  }
  return undefined;
}

const rust: Compiler = async ({ source, output, scratch, names }) => {
  const noCompiler = (): TwzError =>
    missing(`rustc with the target ${TARGET}`, `rustup target add ${TARGET}, or on Debian: apt-get install rustc libstd-rust-dev-wasm32`);
  const compiler = await rustCompiler();
  if (compiler === undefined) throw noCompiler();
  const flags = ['--edition', '2021', '--target', TARGET, '-C', 'panic=abort', '-C', 'opt-level=3'];
  const library = joined(scratch, 'libtwizzler.rlib');
  const sdk = ['--crate-type', 'rlib', '--crate-name', 'twizzler', ownFile('sdk/rust/twizzler.rs'), '-o', library];
  judge(await runTool(compiler, [...flags, ...sdk]), 'sdk/rust/twizzler.rs', noCompiler);
  const link = ['--import-memory', '--export-table', names ? '' : '--strip-debug'].filter((flag) => flag !== '');
  const args = [...flags, '--crate-type', 'cdylib', '--extern', `twizzler=${library}`, source, '-o', output];
  judge(await runTool(compiler, [...args, ...link.flatMap((flag) => ['-C', `link-arg=${flag}`])]), source, noCompiler);
};

const COMPILERS: Readonly<Record<string, Compiler>> = { '.ts': assemblyScript, '.c': c, '.cc': c, '.cpp': c, '.rs': rust };

export function compilerFor(source: string): Compiler {
  const { extension } = partsOf(source);
  const compiler = Object.hasOwn(COMPILERS, extension) ? COMPILERS[extension] : undefined;
  if (compiler === undefined)
    throw new TwzError(
      'InvalidArgument',
      `${source}: programs are built from AssemblyScript (.ts), C (.c), C++ (.cc, .cpp) and Rust (.rs); any other WebAssembly module runs as it is`,
      { source },
    );
  return compiler;
}

/** What there is to build with, for those who ask. */
export async function compilersInstalled(): Promise<{ readonly as: boolean; readonly c: boolean; readonly rust: boolean }> {
  return {
    as: packageFile(ASC, '.') !== undefined,
    c: (await runTool('clang', ['--version'])) !== undefined && (await runTool('wasm-ld', ['--version'])) !== undefined,
    rust: (await rustCompiler()) !== undefined,
  };
}

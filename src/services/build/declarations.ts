/**
 * What a program declares of itself: its name, and the gates by which others call it. In `program.json` beside the source,
 *
 *   {"name": "dictionary", "gates": {"define": {"parameters": ["text"], "result": "text"}}}
 *
 * or in comments of the source, which go before: `// program dictionary` and `// gate define(text): text`.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { SYSCALL_ABI, type GateDeclaration, type Manifest } from '../../abi/syscalls.ts';
import { readManifest } from '../../runtime/module/manifest.ts';

const PROGRAM = /^[ \t]*\/\/[ \t]*program[ \t]+(\S+)[ \t]*$/gm;
const GATE = /^[ \t]*\/\/[ \t]*gate[ \t]+(.*?)[ \t]*$/gm;
const SIGNATURE = /^([A-Za-z_][A-Za-z0-9_]*)\(([^()]*)\)(?::\s*([A-Za-z0-9]+))?$/;

/** Throws ManifestInvalid. `json`: the text of program.json, where there is one. */
export function declarationsOf(source: string, json: string | undefined, where: string): Manifest {
  const given = json === undefined ? {} : parsed(json, where);
  const gates: Record<string, unknown> = { ...record(given['gates'] ?? {}, `${where}: gates`) };
  for (const [, text = ''] of source.matchAll(GATE)) {
    const found = SIGNATURE.exec(text);
    if (found === null)
      throw new TwzError('ManifestInvalid', `"// gate ${text}": a gate is declared like "// gate find(text, u32): text"`, { gate: text });
    const [, name = '', parameters = '', result] = found;
    const types = parameters.trim() === '' ? [] : parameters.split(',').map((type) => type.trim());
    gates[name] = { parameters: types, ...(result === undefined ? {} : { result }) };
  }
  const named = [...source.matchAll(PROGRAM)].at(-1)?.[1] ?? given['name'];
  const manifest = { abi: SYSCALL_ABI, ...(named === undefined ? {} : { name: named }), gates };
  try {
    return readManifest(new TextEncoder().encode(JSON.stringify(manifest)));
  } catch (error) {
    if (isTwzError(error, 'ProgramInvalid')) throw new TwzError('ManifestInvalid', error.message, error.context, error);
    throw error;
  }
}

function parsed(json: string, where: string): Readonly<Record<string, unknown>> {
  try {
    return record(JSON.parse(json), where);
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new TwzError('ManifestInvalid', `${where} is no JSON: ${error.message}`, { file: where }, error);
    throw error;
  }
}

function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TwzError('ManifestInvalid', `${what} is no JSON object`, {});
  return value as Readonly<Record<string, unknown>>;
}

const NUMBERS: ReadonlySet<string> = new Set(['i32', 'u32', 'i64', 'f32', 'f64', 'bool']);

/** Does a gate take what needs memory of the program's? */
export function takesMemory({ gates }: Manifest): boolean {
  return Object.values(gates ?? {}).some(({ parameters }: GateDeclaration) => parameters.some((type) => !NUMBERS.has(type)));
}

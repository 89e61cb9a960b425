/** What a program declares of itself. */
import { GATE_TYPES, SYSCALL_ABI, type GateDeclaration, type GateType, type Manifest } from '../../abi/syscalls.ts';
import { Reader, Writer, invalid } from './bytes.ts';

const GATES_MAX = 1024;

/** Judges the JSON of a manifest. Throws ProgramInvalid. */
export function readManifest(json: Uint8Array): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (cause) {
    throw invalid(`the manifest is no JSON: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  if (!isRecord(value)) throw invalid('the manifest is no JSON object');
  const { abi, name, gates } = value;
  if (abi !== SYSCALL_ABI) throw invalid(`the program was made for version ${String(abi)} of the syscalls; this build has ${SYSCALL_ABI}`);
  if (name !== undefined && typeof name !== 'string') throw invalid('the name in the manifest is no text');
  if (gates !== undefined && !isRecord(gates)) throw invalid('the gates in the manifest are no JSON object');
  const declared: Record<string, GateDeclaration> = {};
  for (const [gate, declaration] of Object.entries(gates ?? {})) declared[gate] = gateOf(gate, declaration);
  if (Object.keys(declared).length > GATES_MAX) throw invalid(`a program has at most ${GATES_MAX} gates`);
  return { abi, ...(name === undefined ? {} : { name }), gates: declared };
}

function gateOf(gate: string, declaration: unknown): GateDeclaration {
  if (!isRecord(declaration) || !Array.isArray(declaration['parameters'])) throw invalid(`gate "${gate}": its parameters are missing`);
  const parameters = declaration['parameters'].map((type: unknown) => typeOf(gate, type));
  const result = declaration['result'];
  return result === undefined ? { parameters } : { parameters, result: typeOf(gate, result) };
}

function typeOf(gate: string, type: unknown): GateType {
  const known = GATE_TYPES.find((each) => each === type);
  if (known === undefined) throw invalid(`gate "${gate}": "${String(type)}" is no type; there are ${GATE_TYPES.join(', ')}`);
  return known;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The module with a custom section more, in place of one of that name. */
export function withSection(module: Uint8Array, name: string, content: Uint8Array): Uint8Array {
  const reader = new Reader(module);
  const out = new Writer(module.length + content.length + name.length + 16);
  out.raw(reader.take(8));
  while (!reader.done) {
    const from = reader.at;
    const id = reader.u8();
    const inside = reader.take(reader.u32());
    if (id === 0 && new Reader(inside).text() === name) continue;
    out.raw(module.subarray(from, reader.at));
  }
  out.u8(0).counted(new Writer().text(name).raw(content).bytes);
  return out.bytes.slice();
}

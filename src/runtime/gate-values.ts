/** How values cross a gate: judged by what it declares and by the caller's rights, and copied into the memory of the program that it leads to. */
import { TwzError } from '../abi/errors.ts';
import { RIGHT } from '../abi/format.ts';
import { isId, parseId, readId, writeId } from '../abi/id.ts';
import type { GateType } from '../abi/syscalls.ts';
import type { WasmFunction } from '../host/wasm-memory.ts';
import type { Compartment } from './compartment.ts';
import type { Gate } from './program.ts';

/** Objects by their IDs, as text. */
export type GateValue = number | bigint | boolean | string | Uint8Array;

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder('utf-8', { fatal: true });
const ID_BYTES = 16;
/** What text and bytes of one call may have, together. */
const CROSSING_MAX = 64 << 20;

export class GateValues {
  readonly #compartment: Compartment;

  constructor(compartment: Compartment) {
    this.#compartment = compartment;
  }

  /** Numbers only: they cross as they are. */
  numbers(gate: Gate, values: readonly GateValue[]): readonly (number | bigint)[] {
    const { parameters } = gate.declaration;
    if (values.length !== parameters.length) throw countOf(gate, values);
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      const type = parameters[i];
      if (type === 'i64' ? typeof value !== 'bigint' : typeof value !== 'number')
        throw refused(gate, i, `${describe(value)} is no ${type ?? ''}`);
    }
    return values as readonly (number | bigint)[];
  }

  number(type: GateType | undefined, given: unknown): GateValue | undefined {
    if (type === undefined) return undefined;
    if (type === 'u32' && typeof given === 'number') return given >>> 0;
    return typeof given === 'number' || typeof given === 'bigint' ? given : undefined;
  }

  /** Are they what the gate takes, and has the caller the rights that it asks for? */
  judge(gate: Gate, values: readonly GateValue[], caller: Compartment | undefined): void {
    const { parameters } = gate.declaration;
    if (values.length !== parameters.length) throw countOf(gate, values);
    for (const [i, type] of parameters.entries()) {
      const value = values[i];
      if (!fits(type, value)) throw refused(gate, i, `${describe(value)} is no ${type}`);
      if (type === 'readable' || type === 'writable') this.#demand(gate, i, type, String(value), caller);
    }
  }

  /** The rights are the caller's, not those of the program that the gate leads to. */
  #demand(gate: Gate, i: number, type: 'readable' | 'writable', value: string, caller: Compartment | undefined): void {
    const { kernel } = this.#compartment;
    const want = type === 'readable' ? RIGHT.read : RIGHT.write;
    const h = kernel.open(parseId(value));
    const rights = caller === undefined ? h.rights : caller.authority.rightsTo(h, want);
    if ((rights & want) === 0)
      throw refused(gate, i, `the caller has not the right to ${type === 'readable' ? 'read' : 'write'} object ${value}`);
  }

  /** What the function is called with; text, bytes and IDs are copied to where the program says. */
  cross(gate: Gate, values: readonly GateValue[], buffer: WasmFunction | undefined): (number | bigint)[] {
    const { parameters } = gate.declaration;
    const encoded = values.map((value, i) => encode(parameters[i], value));
    let length = 0;
    for (const bytes of encoded) if (bytes !== undefined) length += aligned(bytes.length);
    if (length > CROSSING_MAX) throw refused(gate, 0, `${length} bytes; a call takes no more than ${CROSSING_MAX}`);
    let at = 0;
    if (length > 0) {
      if (buffer === undefined)
        throw new TwzError('GateRefused', `gate "${gate.name}": the program exports no twz_buffer to take ${length} bytes`);
      const place = buffer(length);
      if (typeof place !== 'number') throw new TwzError('GateRefused', `gate "${gate.name}": twz_buffer gave no address`);
      at = place >>> 0;
    }
    const given: (number | bigint)[] = [];
    for (const [i, value] of values.entries()) {
      const bytes = encoded[i];
      if (bytes === undefined) {
        given.push(typeof value === 'boolean' ? Number(value) : (value as number | bigint));
        continue;
      }
      this.#compartment.view.bytes(at, bytes.length, 'write').set(bytes);
      given.push(at);
      if (parameters[i] === 'text' || parameters[i] === 'bytes') given.push(bytes.length);
      at += aligned(bytes.length);
    }
    return given;
  }

  resultOf(gate: Gate, given: unknown, result: Uint8Array | undefined): GateValue | undefined {
    const { result: type } = gate.declaration;
    switch (type) {
      case undefined:
        return undefined;
      case 'bool':
        return given !== 0;
      case 'text':
        return decode(gate, result ?? new Uint8Array(0));
      case 'bytes':
        return result ?? new Uint8Array(0);
      case 'reference':
      case 'readable':
      case 'writable': {
        const bytes =
          result ?? (typeof given === 'number' ? this.#compartment.view.bytes(given, ID_BYTES, 'read').slice() : new Uint8Array(0));
        if (bytes.length !== ID_BYTES)
          throw new TwzError('GateRefused', `gate "${gate.name}" gave ${bytes.length} bytes for an object; expected ${ID_BYTES}`);
        return readId(bytes, 0);
      }
      default:
        return this.number(type, given);
    }
  }
}

function aligned(length: number): number {
  return Math.ceil(length / 8) * 8;
}

function fits(type: GateType, value: GateValue | undefined): boolean {
  switch (type) {
    case 'i32':
      return typeof value === 'number' && Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 32;
    case 'u32':
      return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 32;
    case 'f32':
    case 'f64':
      return typeof value === 'number';
    case 'i64':
      return typeof value === 'bigint';
    case 'bool':
      return typeof value === 'boolean';
    case 'text':
      return typeof value === 'string';
    case 'bytes':
      return value instanceof Uint8Array;
    default:
      return typeof value === 'string' && isId(value);
  }
}

function encode(type: GateType | undefined, value: GateValue): Uint8Array | undefined {
  if (type === 'text') return UTF8.encode(String(value));
  if (value instanceof Uint8Array) return value.slice();
  if (type !== 'reference' && type !== 'readable' && type !== 'writable') return undefined;
  return idBytes(String(value));
}

/** An ID as objects have it. Throws InvalidArgument for what is none. */
export function idBytes(id: string): Uint8Array {
  const bytes = new Uint8Array(ID_BYTES);
  writeId(bytes, 0, parseId(id));
  return bytes;
}

function decode(gate: Gate, bytes: Uint8Array): string {
  try {
    return TEXT.decode(bytes);
  } catch {
    throw new TwzError('GateRefused', `gate "${gate.name}" gave a text that is not UTF-8`, { name: gate.name });
  }
}

function describe(value: GateValue | undefined): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return String(value);
}

function countOf(gate: Gate, values: readonly GateValue[]): TwzError {
  const { parameters } = gate.declaration;
  return new TwzError(
    'GateRefused',
    `gate "${gate.name}" takes ${parameters.length} arguments (${parameters.join(', ')}); ${values.length} were given`,
    {
      name: gate.name,
    },
  );
}

function refused(gate: Gate, i: number, reason: string): TwzError {
  return new TwzError('GateRefused', `gate "${gate.name}", argument ${i + 1}: ${reason}`, { name: gate.name, argument: i + 1 });
}

/** Syscalls about gates and contexts. */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { readId } from '../../abi/id.ts';
import type { GateType } from '../../abi/syscalls.ts';
import { textOf } from '../arguments.ts';
import type { Compartment } from '../compartment.ts';
import { ProgramExit } from '../exit.ts';
import { idBytes, type GateValue } from '../gate-values.ts';
import type { Gate } from '../program.ts';
import type { Handlers, System } from '../syscalls.ts';

const VALUE_BYTES = 8;
const FOUND_MAX = 4096;
const UTF8 = new TextEncoder();

export function gateCalls(compartment: Compartment, system: System): Handlers {
  const { view } = compartment;
  const found: { readonly target: Compartment; readonly gate: Gate }[] = [];

  const valueAt = (type: GateType, values: DataView, at: number): GateValue => {
    const low = values.getUint32(at, true);
    const high = values.getUint32(at + 4, true);
    switch (type) {
      case 'i32':
        return low | 0;
      case 'u32':
        return low;
      case 'i64':
        return values.getBigInt64(at, true);
      case 'f32':
        return values.getFloat32(at, true);
      case 'f64':
        return values.getFloat64(at, true);
      case 'bool':
        return low !== 0;
      case 'bytes':
        return view.bytes(low, high, 'read').slice();
      case 'text':
        return textOf(view.bytes(low, high, 'read'));
      default:
        return readId(view.bytes(low, 16, 'read'), 0);
    }
  };

  /** Numbers as they are; text, bytes and IDs are copied to where the program says: address and length. */
  const storeResult = (type: GateType | undefined, value: GateValue | undefined, at: number): void => {
    if (type === undefined || value === undefined) return;
    const out = view.view(at, VALUE_BYTES, 'write');
    switch (type) {
      case 'i32':
      case 'u32':
        out.setUint32(0, Number(value) >>> 0, true);
        return;
      case 'bool':
        out.setUint32(0, value === true ? 1 : 0, true);
        return;
      case 'i64':
        out.setBigInt64(0, typeof value === 'bigint' ? value : 0n, true);
        return;
      case 'f32':
        out.setFloat32(0, Number(value), true);
        return;
      case 'f64':
        out.setFloat64(0, Number(value), true);
        return;
      default: {
        const bytes = type === 'text' ? UTF8.encode(String(value)) : value instanceof Uint8Array ? value : idBytes(String(value));
        const address = compartment.crossing(bytes.length);
        view.bytes(address, bytes.length, 'write').set(bytes);
        const again = view.view(at, VALUE_BYTES, 'write');
        again.setUint32(0, address, true);
        again.setUint32(4, bytes.length, true);
      }
    }
  };

  /** Its failure is not this program's. */
  const callOf = (target: Compartment, gate: Gate, values: readonly GateValue[]): GateValue | undefined => {
    try {
      return target.callFrom(compartment, gate, values);
    } catch (error) {
      if (error instanceof ProgramExit)
        throw new TwzError('GateFailed', `the program behind gate "${gate.name}" ended itself with ${error.exitCode}`);
      if (!target.closed || !isTwzError(error)) throw error;
      throw new TwzError('GateFailed', `the program behind gate "${gate.name}" failed: ${error.message}`, { name: gate.name }, error);
    }
  };

  return {
    gate_find: (a) => {
      const name = a.text();
      const gateName = a.text();
      const target = system.compartment(name);
      const gate = target?.program.gates.get(gateName);
      if (target === undefined || target.closed || gate === undefined)
        throw new TwzError('GateMissing', `there is no compartment "${name}" with a gate "${gateName}"`, {
          compartment: name,
          gate: gateName,
        });
      const known = found.findIndex((each) => each.target === target && each.gate === gate);
      if (known >= 0) return known;
      if (found.length >= FOUND_MAX) throw new TwzError('ProgramLimit', `a program finds no more than ${FOUND_MAX} gates`);
      found.push({ target, gate });
      return found.length - 1;
    },
    gate_call: (a) => {
      const number = a.u32();
      const at = a.u32();
      const count = a.u32();
      const result = a.u32();
      const { target, gate } = found[number] ?? {};
      if (target === undefined || gate === undefined)
        throw new TwzError('GuestFault', `there is no gate ${number}: gate_find gives the numbers`, { gate: number });
      const { parameters, result: type } = gate.declaration;
      if (count !== parameters.length)
        throw new TwzError('GateRefused', `gate "${gate.name}" takes ${parameters.length} arguments; ${count} were given`, {
          name: gate.name,
        });
      if (type !== undefined) view.view(result, VALUE_BYTES, 'write');
      const given = view.view(at, count * VALUE_BYTES, 'read');
      const values = parameters.map((each, i) => valueAt(each, given, i * VALUE_BYTES));
      storeResult(type, callOf(target, gate, values), result);
      return 0;
    },
    gate_caller: (a) => {
      a.idOut()(compartment.caller?.options.context);
      return 0;
    },
    gate_result: (a) => {
      compartment.result = a.bytes().slice();
      return 0;
    },
  };
}

/** Gates of other compartments: called by number, with values of 8 bytes each. */
import * as sys from './syscalls';
import { ObjectId } from './objects';
import { failed } from './program';

/** What a gate is called with, in the order of its parameters. */
export class GateArguments {
  private values: u64[] = [];
  /** What the values lead to, kept until the call. */
  private kept: ArrayBuffer[] = [];

  /** A number or a truth value, of the type that the gate declares. */
  number<T>(value: T): GateArguments {
    let word: u64 = 0;
    if (isFloat<T>()) word = sizeof<T>() == 8 ? reinterpret<u64>(<f64>value) : <u64>reinterpret<u32>(<f32>value);
    else word = <u64>value;
    this.values.push(word);
    return this;
  }

  text(value: string): GateArguments {
    return this.block(String.UTF8.encode(value));
  }

  bytes(value: Uint8Array): GateArguments {
    return this.block(value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength));
  }

  object(id: ObjectId): GateArguments {
    const copy = new ArrayBuffer(16);
    memory.copy(changetype<usize>(copy), id.at, 16);
    this.kept.push(copy);
    this.values.push(<u64>changetype<usize>(copy));
    return this;
  }

  private block(data: ArrayBuffer): GateArguments {
    this.kept.push(data);
    this.values.push(<u64>changetype<usize>(data) | (<u64>data.byteLength << 32));
    return this;
  }

  get count(): u32 {
    return this.values.length;
  }

  get at(): usize {
    return this.values.dataStart;
  }
}

export class Gate {
  private readonly number: u32;

  constructor(number: u32) {
    this.number = number;
  }

  static find(compartment: string, gate: string): Gate | null {
    const c = String.UTF8.encode(compartment);
    const g = String.UTF8.encode(gate);
    const number = sys.gate_find(changetype<usize>(c), c.byteLength, changetype<usize>(g), g.byteLength);
    return failed(number) ? null : new Gate(<u32>number);
  }

  /** Calls it; its result is read by the functions below. Below 0: the error. */
  call(values: GateArguments): i64 {
    const result = sys.gate_call(this.number, values.at, values.count, memory.data(8, 8));
    failed(result);
    store<u64>(Gate.resultAt, load<u64>(memory.data(8, 8)));
    return result;
  }

  /** A number that the call gave. */
  result<T>(): T {
    return load<T>(Gate.resultAt);
  }

  textResult(): string {
    return String.UTF8.decodeUnsafe(load<u32>(Gate.resultAt), load<u32>(Gate.resultAt, 4));
  }

  bytesResult(): Uint8Array {
    const bytes = new Uint8Array(load<u32>(Gate.resultAt, 4));
    memory.copy(bytes.dataStart, load<u32>(Gate.resultAt), bytes.byteLength);
    return bytes;
  }

  objectResult(): ObjectId {
    return ObjectId.copyOf(load<u32>(Gate.resultAt));
  }

  private static readonly resultAt: usize = memory.data(16);
}

/** Inside a gate: the security context of who called it; zeros for none. */
export function caller(): ObjectId {
  const id = new ObjectId();
  failed(sys.gate_caller(id.at));
  return id;
}

/** Inside a gate: what it gives, where it declares text. */
export function giveText(value: string): void {
  const utf8 = String.UTF8.encode(value);
  failed(sys.gate_result(changetype<usize>(utf8), utf8.byteLength));
}

export function giveBytes(value: Uint8Array): void {
  failed(sys.gate_result(value.dataStart, value.byteLength));
}

/** The arguments of one syscall, as they come from the program: of any number and type, and each judged when it is taken. */
import { TwzError } from '../abi/errors.ts';
import { readId, writeId, type ObjectId } from '../abi/id.ts';
import type { GuestMemory } from './guest.ts';

const TEXT = new TextDecoder('utf-8', { fatal: true });
/** No syscall takes more than this at a time, in bytes. */
const BYTES_MAX = 64 << 20;

/** What a program gives as text. Throws GuestFault. */
export function textOf(bytes: Uint8Array): string {
  try {
    // A copy: the program's memory is shared, which the decoder does not take.
    return TEXT.decode(bytes.slice());
  } catch {
    throw new TwzError('GuestFault', `a text of ${bytes.length} bytes is not UTF-8`);
  }
}

export interface Buffer {
  readonly at: number;
  readonly capacity: number;
}

export class Arguments {
  readonly #memory: GuestMemory;
  readonly #given: readonly unknown[];
  #next = 0;

  constructor(memory: GuestMemory, given: readonly unknown[]) {
    this.#memory = memory;
    this.#given = given;
  }

  u32(): number {
    const value = this.#given[this.#next++];
    if (typeof value === 'number') return value >>> 0;
    if (typeof value === 'bigint') return Number(BigInt.asUintN(32, value));
    throw new TwzError('GuestFault', `argument ${this.#next} is no number`);
  }

  i32(): number {
    return this.u32() | 0;
  }

  i64(): bigint {
    const value = this.#given[this.#next++];
    if (typeof value === 'bigint') return BigInt.asIntN(64, value);
    if (typeof value === 'number' && Number.isFinite(value)) return BigInt(Math.trunc(value));
    throw new TwzError('GuestFault', `argument ${this.#next} is no number`);
  }

  bytes(): Uint8Array {
    const at = this.u32();
    const length = this.u32();
    if (length > BYTES_MAX) throw new TwzError('GuestFault', `${length} bytes; a syscall takes no more than ${BYTES_MAX}`, { length });
    return this.#memory.bytes(at, length, 'read');
  }

  text(): string {
    return textOf(this.bytes());
  }

  id(): ObjectId {
    return readId(this.#memory.bytes(this.u32(), 16, 'read'), 0);
  }

  /** A place for an ID, judged now. */
  idOut(): (id: ObjectId | undefined) => void {
    const at = this.u32();
    this.#memory.bytes(at, 16, 'write');
    return (id) => {
      const bytes = this.#memory.bytes(at, 16, 'write');
      if (id === undefined) bytes.fill(0);
      else writeId(bytes, 0, id);
    };
  }

  buffer(): Buffer {
    const at = this.u32();
    const capacity = this.u32();
    this.#memory.bytes(at, capacity, 'write');
    return { at, capacity };
  }

  /** Stores as much as fits, and gives the length of all there is. */
  fill({ at, capacity }: Buffer, data: Uint8Array): number {
    const length = Math.min(capacity, data.length);
    this.#memory.bytes(at, length, 'write').set(data.subarray(0, length));
    return data.length;
  }
}

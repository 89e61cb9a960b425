/** A memory without rights, in the place of a compartment's: for calls that a test makes itself. */
import { TwzError } from '../abi/errors.ts';
import type { GuestMemory } from '../runtime/guest.ts';

/** All of a memory, for reading and writing. It may grow. */
export class PlainMemory implements GuestMemory {
  readonly #memory: { readonly buffer: ArrayBufferLike };

  constructor(memory: { readonly buffer: ArrayBufferLike }) {
    this.#memory = memory;
  }

  #judged(at: number, length: number): ArrayBufferLike {
    const { buffer } = this.#memory;
    if (!(at >= 0 && length >= 0 && at + length <= buffer.byteLength))
      throw new TwzError('GuestFault', `${length} bytes at ${at} are not in the program's memory`, { at, length });
    return buffer;
  }

  bytes(at: number, length: number): Uint8Array {
    return new Uint8Array(this.#judged(at, length), at, length);
  }

  view(at: number, length: number): DataView {
    return new DataView(this.#judged(at, length), at, length);
  }
}

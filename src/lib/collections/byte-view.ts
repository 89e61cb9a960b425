/** Bytes where they lie. */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';

/** Bytes of a value or an element, read in place: no copy is made until one is asked for. Valid until the value is changed or deleted. */
export class ByteView {
  readonly #h: ObjectHandle;
  readonly #at: number;
  readonly length: number;

  constructor(h: ObjectHandle, at: number, length: number) {
    if (at + length > h.size) h.corrupt(at, `${length} bytes do not fit the object`);
    this.#h = h;
    this.#at = at;
    this.length = length;
  }

  #place(index: number, size: number): number {
    if (!(index >= 0 && index + size <= this.length))
      throw new TwzError('OutOfRange', `bytes ${index} to ${index + size} of ${this.length}`, { length: this.length });
    return this.#at + index;
  }

  #view(): DataView {
    if (this.#h.cold) this.#h.warm();
    return this.#h.dv;
  }

  /** Throws OutOfRange. Numbers are little-endian. */
  u8(index: number): number {
    const at = this.#place(index, 1);
    return this.#view().getUint8(at);
  }

  u32(index: number): number {
    const at = this.#place(index, 4);
    return this.#view().getUint32(at, true);
  }

  f64(index: number): number {
    const at = this.#place(index, 8);
    return this.#view().getFloat64(at, true);
  }

  /** Copies all of it, or as much as `target` takes; returns the number of bytes. */
  copyTo(target: Uint8Array): number {
    const length = Math.min(this.length, target.length);
    const dv = this.#view();
    const at = this.#at;
    if (length > 256) target.set(this.#h.u8.subarray(at, at + length));
    else for (let i = 0; i < length; i++) target[i] = dv.getUint8(at + i);
    return length;
  }

  toUint8Array(): Uint8Array {
    if (this.#h.cold) this.#h.warm();
    return this.#h.u8.slice(this.#at, this.#at + this.length);
  }
}

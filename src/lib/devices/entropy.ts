/** Random bytes, from a ring that the driver keeps full. What is taken is wiped, and nobody else gets it. */
import { ENTROPY, ENTROPY_RECORD } from '../../abi/device-format.ts';
import { TwzError } from '../../abi/errors.ts';
import { fixedBytes } from '../rings/records.ts';
import { openRing } from '../rings/ring.ts';
import type { Consumer } from '../rings/sides.ts';
import type { AsyncWaitOptions, WaitOptions } from '../sync/waiting.ts';
import { Device, SIDE } from './head.ts';

const RECORD = fixedBytes(ENTROPY_RECORD);

export class EntropyDevice extends Device {
  #consumer: Consumer<Uint8Array> | undefined;

  get #ring(): Consumer<Uint8Array> {
    return (this.#consumer ??= openRing(this.words, this.get(ENTROPY.ring), RECORD).consumer(SIDE));
  }

  /** Takes the record at `from`, or what of it is wanted. Returns how many bytes there are now. */
  #take(from: number, into: Uint8Array, have: number): number {
    if (from < 0) this.head.demandReady();
    const { u8 } = this.words;
    const end = Math.min(have + ENTROPY_RECORD, into.length);
    into.set(u8.subarray(from, from + end - have), have);
    u8.fill(0, from, from + ENTROPY_RECORD);
    this.#ring.release();
    return end;
  }

  /** Blocks while the ring is empty. Throws DeviceGone, DeviceTimedOut. */
  bytesSync(count: number, options?: WaitOptions): Uint8Array {
    const into = new Uint8Array(checked(count));
    for (let have = 0; have < count;)
      have = this.#take(
        this.head.patientlySync((patience) => this.#ring.take(patience), options),
        into,
        have,
      );
    return into;
  }

  async bytes(count: number, options?: AsyncWaitOptions): Promise<Uint8Array> {
    const into = new Uint8Array(checked(count));
    for (let have = 0; have < count;)
      have = this.#take(await this.head.patiently((patience) => this.#ring.takeAsync(patience), options), into, have);
    return into;
  }

  leave(): void {
    if (this.head.isThere) this.#consumer?.leave();
    this.#consumer = undefined;
  }
}

function checked(count: number): number {
  if (!(Number.isInteger(count) && count >= 0 && count <= 2 ** 30))
    throw new TwzError('OutOfRange', `${count} random bytes; expected 0 to 2^30`, { count });
  return count;
}

/** A machine in memory, for a space that is thrown away: nothing of it outlives it, and chance is what follows from what it is given. */
import { SimulatedHost } from './simulated/simulated.ts';

export class MemoryHost extends SimulatedHost {
  readonly #seed: readonly Uint8Array[];
  #drawn = 0;

  /** `seed`: the same bytes and the same calls give the same. `windowSize`: bytes, a power of two. */
  constructor(seed: readonly Uint8Array[], windowSize: number) {
    super({ windowSize, callMs: 0 });
    this.#seed = seed;
  }

  override random(bytes: number): Uint8Array {
    const drawn = new Uint8Array(bytes);
    for (let at = 0; at < bytes; at += 32) {
      const count = new Uint8Array(8);
      new DataView(count.buffer).setFloat64(0, ++this.#drawn, true);
      drawn.set(this.sha256(...this.#seed, count).subarray(0, Math.min(32, bytes - at)), at);
    }
    return drawn;
  }
}

/** The driver of the random bytes: keeps the ring full. */
import { ENTROPY, ENTROPY_RECORD, ENTROPY_RECORDS } from '../../abi/device-format.ts';
import { isTwzError } from '../../abi/errors.ts';
import { fixedBytes } from '../../lib/rings/records.ts';
import { createRing, ringBytes, type RingOptions } from '../../lib/rings/ring.ts';
import type { Producer } from '../../lib/rings/sides.ts';
import { line, type Driver, type Served } from './served.ts';

const RING: RingOptions<Uint8Array> = { kind: 'spmc', record: fixedBytes(ENTROPY_RECORD), records: ENTROPY_RECORDS };

export const ENTROPY_BYTES: number = ENTROPY.bytes + line(ringBytes(RING));

export class EntropyDriver implements Driver {
  readonly #device: Served;
  readonly #ring: Producer<Uint8Array>;
  readonly #running: Promise<void>;

  constructor(device: Served) {
    this.#device = device;
    device.room(ENTROPY.bytes);
    const ring = device.room(ringBytes(RING));
    this.#ring = createRing(device.words, ring, RING).producer({ patience: 1000 });
    device.put(ENTROPY.ring, ring);
    device.ready();
    this.#running = device.run(() => this.#fill());
  }

  async #fill(): Promise<void> {
    const { signal, host } = this.#device;
    for (;;) {
      try {
        await this.#ring.submitAsync(host.random(ENTROPY_RECORD), { signal });
      } catch (error) {
        // Programs that died: others come.
        if (!isTwzError(error, 'PeerGone')) throw error;
      }
    }
  }

  async close(): Promise<void> {
    this.#device.end();
    if (this.#device.isThere) this.#ring.close();
    await this.#running;
  }
}

/** Activity: how much is committed, and which objects are changed most, from what a `LogFollower` reads. */
import type { ObjectId } from '../abi/id.ts';
import type { Followed } from './follow.ts';

export interface HotObject {
  readonly id: ObjectId;
  /** A second, over the last few seconds. */
  readonly transactions: number;
  readonly bytes: number;
  readonly lines: number;
  readonly version: number;
  readonly size: number;
}

export interface Activity {
  /** A second, in the interval that ended now. */
  readonly transactions: number;
  readonly bytes: number;
  readonly created: number;
  readonly removed: number;
  /** Objects changed within the last few seconds, and the sum of their sizes. */
  readonly objects: number;
  readonly objectBytes: number;
  readonly hottest: readonly HotObject[];
  /** Since following began. */
  readonly total: { readonly transactions: number; readonly bytes: number };
}

interface Heat {
  transactions: number;
  bytes: number;
  lines: number;
  version: number;
  size: number;
}

/** After so many milliseconds half of an object's heat is gone. */
const HALF_MS = 3000;
const COLD = 0.05;

export class ActivityMeter {
  readonly #heat = new Map<ObjectId, Heat>();
  /** How much of the past there is: until there is enough, rates are of what there is. */
  #weight = 0;
  #transactions = 0;
  #bytes = 0;

  /** What was committed in an interval of `ms`. */
  interval(followed: readonly Followed[], ms: number, most = 20): Activity {
    const fade = 0.5 ** (ms / HALF_MS);
    for (const [id, heat] of this.#heat) {
      heat.transactions *= fade;
      heat.bytes *= fade;
      heat.lines *= fade;
      if (heat.transactions < COLD) this.#heat.delete(id);
    }
    // An even rate comes out as that rate.
    const share = (1 - fade) / (ms / 1000);
    this.#weight = this.#weight * fade + 1 - fade;
    const weight = this.#weight;
    let bytes = 0;
    let created = 0;
    let removed = 0;
    for (const { bytes: length, sections } of followed) {
      bytes += length;
      const seen = new Set<ObjectId>();
      for (const { id, operation, body, lines, version, size } of sections) {
        const heat = this.#heat.get(id) ?? { transactions: 0, bytes: 0, lines: 0, version, size };
        this.#heat.set(id, heat);
        if (!seen.has(id)) heat.transactions += share;
        seen.add(id);
        heat.bytes += body.length * share;
        heat.lines += lines * share;
        heat.version = version;
        heat.size = size;
        if (operation === 'create' || operation === 'adopt') created++;
        if (operation !== 'remove') continue;
        removed++;
        this.#heat.delete(id);
      }
    }
    this.#transactions += followed.length;
    this.#bytes += bytes;
    const hottest = [...this.#heat]
      .map(([id, heat]) => ({
        id,
        ...heat,
        transactions: heat.transactions / weight,
        bytes: heat.bytes / weight,
        lines: heat.lines / weight,
      }))
      .sort((a, b) => b.transactions - a.transactions || b.bytes - a.bytes || (a.id < b.id ? -1 : 1))
      .slice(0, most);
    let objectBytes = 0;
    for (const { size } of this.#heat.values()) objectBytes += size;
    const seconds = ms / 1000;
    return {
      transactions: followed.length / seconds,
      bytes: bytes / seconds,
      created: created / seconds,
      removed: removed / seconds,
      objects: this.#heat.size,
      objectBytes,
      hottest,
      total: { transactions: this.#transactions, bytes: this.#bytes },
    };
  }
}

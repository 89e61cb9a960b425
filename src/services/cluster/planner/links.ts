/**
 * Links as they were measured: averages in which a measurement weighs the more, the older what is known is. Two nodes have one entry,
 * in whatever order they are named. Bounded: what was measured longest ago goes.
 */
import { KeptLately } from './records.ts';
import type { Link, Links } from './model.ts';

/** What is taken for a link that was not measured: a network of one house. */
export const LINK_UNKNOWN: Link = { roundTrip: 1000, bandwidth: 100 };
const LINK_SAME: Link = { roundTrip: 0, bandwidth: Infinity };
/** A new measurement weighs this at least, and 63% when the last one is as old as AGE. */
const WEIGHT = 0.3;
const AGE = 2_000_000;

interface Measured {
  roundTrip: number;
  bandwidth: number;
  roundTripAt: number;
  bandwidthAt: number;
}

const weigh = (now: number, at: number): number => (at < 0 ? 1 : Math.max(WEIGHT, 1 - Math.exp((at - now) / AGE)));

export class MeasuredLinks implements Links {
  /** By the node that comes first in the alphabet, then by the other. */
  readonly #links: KeptLately<KeptLately<Measured>>;
  readonly #nodes: number;

  constructor(nodes = 64) {
    this.#nodes = nodes;
    this.#links = new KeptLately(nodes);
  }

  get size(): number {
    let size = 0;
    for (const links of this.#links.values()) size += links.size;
    return size;
  }

  /** A small message went there and back. */
  roundTrip(a: string, b: string, took: number, now: number): void {
    if (!(took >= 0) || a === b) return;
    const link = this.#of(a, b);
    link.roundTrip += weigh(now, link.roundTripAt) * (took - link.roundTrip);
    link.roundTripAt = now;
  }

  /** So many bytes came, and so much time passed from the first to the last of them: no round trip is in it. */
  transfer(a: string, b: string, bytes: number, took: number, now: number): void {
    if (!(took > 0 && bytes > 0) || a === b) return;
    const link = this.#of(a, b);
    // The mean is of the time a byte takes: that is what costs add up.
    const each = 1 / link.bandwidth + weigh(now, link.bandwidthAt) * (took / bytes - 1 / link.bandwidth);
    link.bandwidth = 1 / each;
    link.bandwidthAt = now;
  }

  between(a: string, b: string): Link {
    return a === b ? LINK_SAME : ((a < b ? this.#links.peek(a)?.peek(b) : this.#links.peek(b)?.peek(a)) ?? LINK_UNKNOWN);
  }

  #of(a: string, b: string): Measured {
    const [first, second] = a < b ? [a, b] : [b, a];
    const links = this.#links.get(first, () => new KeptLately(this.#nodes));
    return links.get(second, () => ({ ...LINK_UNKNOWN, roundTripAt: -1, bandwidthAt: -1 }));
  }
}

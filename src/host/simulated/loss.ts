/**
 * What a power failure leaves of the changes that no sync had covered. Every change on the disk has a number, in the order in which
 * it was made; a plan decides for each of them.
 *
 *   lose            nothing of it
 *   keep            all of it
 *   torn            all but the newest, and of that one any sectors
 *   hole            all but one
 *   first, last     only the earliest, only the latest: the worst reorderings
 *   prefix, suffix  all changes up to a random one, or all from it on
 *   random          every 512-byte sector, name and length on its own: any version that it ever had, torn writes included
 */
import { Random } from './random.ts';

export const LOSS_MODES = ['lose', 'keep', 'torn', 'hole', 'first', 'last', 'prefix', 'suffix', 'random'] as const;
export type LossMode = (typeof LOSS_MODES)[number];

export interface LossPlan {
  readonly mode: LossMode;
  readonly seed?: number;
}

export class Loss {
  readonly #mode: LossMode;
  readonly #random: Random;
  readonly #pending: readonly number[];
  #from = 0;
  #to = Infinity;
  #missing = -1;
  #torn = -1;

  /** `pending`: the numbers of the changes that may be lost, ascending. */
  constructor(plan: LossPlan, pending: readonly number[]) {
    this.#mode = plan.mode;
    this.#random = new Random(plan.seed ?? 0);
    this.#pending = pending;
    const first = pending[0] ?? 0;
    const last = pending[pending.length - 1] ?? 0;
    const middle = this.#random.pick(pending) ?? 0;
    if (plan.mode === 'lose') this.#to = -1;
    else if (plan.mode === 'torn') this.#torn = last;
    else if (plan.mode === 'hole') this.#missing = middle;
    else if (plan.mode === 'first') this.#to = first;
    else if (plan.mode === 'last') this.#from = last;
    else if (plan.mode === 'prefix') this.#to = middle;
    else if (plan.mode === 'suffix') this.#from = middle;
  }

  /** Which changes survive, in words that are the same for the same changes; undefined where chance decides for each of their sectors. */
  get remains(): string | undefined {
    const pending = this.#pending;
    if (pending.length === 0) return '';
    if (this.#mode === 'random' || this.#torn >= 0) return undefined;
    return pending.filter((change) => this.survives(change)).join();
  }

  /** Does this change survive, as a whole? */
  survives(change: number): boolean {
    if (this.#mode === 'random' || change === this.#torn) return this.#random.chance(0.5);
    return change >= this.#from && change <= this.#to && change !== this.#missing;
  }

  /** Which of several successive changes to one thing is the one found afterwards: an index, or -1 for none of them. */
  pick(count: number, changeAt: (index: number) => number): number {
    if (this.#mode === 'random') return this.#random.below(count + 1) - 1;
    for (let i = count - 1; i >= 0; i--) if (this.survives(changeAt(i))) return i;
    return -1;
  }
}

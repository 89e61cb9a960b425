/**
 * What is kept of earlier runs: one record a code, bounded in number and size, in which newer runs weigh more. A record tells what a run
 * is expected to touch, to compute and to return, and by how much the model was wrong about each way of running it.
 */
import type { Plan, PlanArgument, Outcome, Prices, Touch, Use, Way } from './model.ts';

/** A map of bounded size: what was used longest ago goes. */
export class KeptLately<V> {
  readonly #entries = new Map<string, V>();
  readonly #most: number;
  readonly #gone: (value: V) => void;

  constructor(most: number, gone: (value: V) => void = () => undefined) {
    this.#most = most;
    this.#gone = gone;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Without counting as a use. */
  peek(key: string): V | undefined {
    return this.#entries.get(key);
  }

  get(key: string, make: () => V): V {
    const known = this.#entries.get(key);
    const value = known ?? make();
    if (known !== undefined) this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size > this.#most) {
      for (const [oldest, gone] of this.#entries) {
        this.#entries.delete(oldest);
        this.#gone(gone);
        break;
      }
    }
    return value;
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }

  values(): IterableIterator<V> {
    return this.#entries.values();
  }
}

/** Exact at first, then exponential: the newest weighs `floor`. `spread` is the mean distance from the mean. */
export class Mean {
  n = 0;
  value = 0;
  spread = 0;
  readonly #floor: number;

  constructor(floor = 0.15) {
    this.#floor = floor;
  }

  add(x: number): void {
    if (!Number.isFinite(x)) return;
    this.n++;
    const weight = Math.max(1 / this.n, this.#floor);
    this.spread += weight * (Math.abs(x - this.value) - this.spread);
    if (this.n === 1) this.spread = 0;
    this.value += weight * (x - this.value);
  }

  or(prior: number): number {
    return this.n === 0 ? prior : this.value;
  }
}

/** What a run is expected to do to one argument. */
export interface Expected {
  readonly bytes: number;
  readonly pages: number;
  readonly ranges: number;
  /** Distinct objects beyond the first, and how many of these are found one after the other. */
  readonly strays: number;
  readonly chain: number;
  /** Share of runs that store to it. */
  readonly stores: number;
  /** Where part of it is there: share of what a run touches that is not, against touches that fall anywhere. */
  readonly novelty: number;
  readonly known: boolean;
}

/** Taken where nothing is known: a run touches so much, follows so many references, and most of what it touches is touched again. */
export const PRIOR = { bytes: 65_536, hops: 4, stores: 0.05, novelty: 0.02, processor: 100, result: 200 } as const;
/** A family's own mean counts as its runs against this many of its code. */
const OF_THE_CODE = 2;
/** Stores can be rare and dear, so it takes more of them to tell a family from the others. */
const STORES_OF_THE_CODE = 30;

class Touches {
  readonly bytes = new Mean();
  /** Of the argument's bytes. */
  readonly share = new Mean();
  /** A touched byte has so many pages and ranges. */
  readonly pages = new Mean();
  readonly ranges = new Mean();
  readonly objects = new Mean();
  readonly hops = new Mean();
  readonly stores = new Mean(0.02);
  readonly novelty = new Mean(0.3);

  add(argument: PlanArgument, touch: Touch, prices: Prices): void {
    const bytes = touch.bytes ?? (touch.pages === undefined ? undefined : touch.pages * prices.page);
    if (bytes !== undefined && bytes > 0) {
      this.bytes.add(bytes);
      this.share.add(bytes / Math.max(1, argument.bytes));
      this.pages.add((touch.pages ?? Math.ceil(bytes / prices.page)) / bytes);
      if (touch.ranges !== undefined) this.ranges.add(touch.ranges / bytes);
    }
    if (touch.objects !== undefined) this.objects.add(touch.objects);
    if (touch.hops !== undefined) this.hops.add(touch.hops);
    if (touch.stored !== undefined) this.stores.add(touch.stored ? 1 : 0);
  }

  /** Bytes of a run over so many: as many as ever, or the same share, whichever was steadier. */
  bytesOf(all: number): number {
    if (this.bytes.n === 0) return Math.min(all, PRIOR.bytes);
    const steady = this.bytes.spread / Math.max(1, this.bytes.value) <= this.share.spread / Math.max(1e-9, this.share.value);
    return steady ? this.bytes.value : this.share.value * all;
  }
}

/** Never 0: what did not store yet may do so. */
function storesOf(of: Touches, own: Touches | undefined): number {
  const seen = blend(own?.stores, of.stores, PRIOR.stores, STORES_OF_THE_CODE);
  return (of.stores.n * seen + OF_THE_CODE * PRIOR.stores) / (of.stores.n + OF_THE_CODE);
}

const blend = (own: Mean | undefined, of: Mean, prior: number, against = OF_THE_CODE): number =>
  own === undefined || own.n === 0 ? of.or(prior) : (own.n * own.value + against * of.or(own.value)) / (own.n + against);

/** How long a run took against the model. It counts less with every run of that code and with time, so that what was slow once is tried again. */
interface Correction {
  readonly ratio: Mean;
  at: number;
  run: number;
}

const CORRECTION_LEAST = 0.05;
const CORRECTION_MOST = 50;
/** Half of a correction is forgotten after so much time or so many runs without a look. */
const FORGOTTEN_AFTER = 60_000_000;
const FORGOTTEN_RUNS = 300;
/** Nothing lately, if older than this. */
const LATELY_RUNS = 150;
const PLACES = 16;
const FAMILIES = 16;
const ARGUMENTS = 16;

export class CodeRecord {
  runs = 0;
  /** Of the reference's processor. */
  readonly processor = new Mean();
  readonly result = new Mean();
  spent = 0;
  explorations = 0;
  extra = 0;
  readonly #touches: Touches[] = [];
  readonly #families = new KeptLately<Touches>(FAMILIES);
  /** By place, then by way. */
  readonly #corrections = new KeptLately<Map<string, Correction>>(PLACES);

  get entries(): number {
    return 1 + this.#touches.length + this.#families.size + this.#corrections.size;
  }

  expected(index: number, argument: PlanArgument, prices: Prices): Expected {
    const all = Math.max(0, argument.bytes);
    const of = this.#touches[Math.min(index, ARGUMENTS - 1)];
    const seen = this.#families.peek(argument.family);
    const own = seen !== undefined && seen.bytes.n >= 2 ? seen : undefined;
    if (of === undefined || of.bytes.n === 0) {
      const bytes = Math.min(all, PRIOR.bytes);
      const pages = Math.ceil(bytes / prices.page);
      return {
        bytes,
        pages,
        ranges: Math.min(PRIOR.hops, rangesOf(pages, all, prices)),
        strays: 0,
        chain: 0,
        stores: of === undefined ? PRIOR.stores : storesOf(of, undefined),
        novelty: PRIOR.novelty,
        known: false,
      };
    }
    const ofBytes = of.bytesOf(all);
    const bytes = own === undefined ? ofBytes : (own.bytes.n * own.bytesOf(all) + OF_THE_CODE * ofBytes) / (own.bytes.n + OF_THE_CODE);
    const pages = Math.max(bytes > 0 ? 1 : 0, bytes * blend(own?.pages, of.pages, 1 / prices.page));
    const ranges = of.ranges.n > 0 ? Math.max(1, bytes * blend(own?.ranges, of.ranges, 0)) : rangesOf(pages, all, prices);
    const strays = Math.max(0, blend(own?.objects, of.objects, 1) - 1);
    return {
      bytes,
      pages,
      ranges: Math.min(pages, ranges),
      strays,
      chain: Math.min(strays, of.hops.n === 0 ? strays : blend(own?.hops, of.hops, 0)),
      stores: storesOf(of, own),
      novelty: blend(own?.novelty, of.novelty, PRIOR.novelty),
      known: true,
    };
  }

  /** The model's error for that way at that place: its factor, and whether nothing was seen lately. */
  correction(place: string, way: string, now: number): { readonly factor: number; readonly uncertain: boolean } {
    const known = this.#corrections.peek(place)?.get(way);
    if (known === undefined) return { factor: 1, uncertain: true };
    const runs = this.runs - known.run;
    const half = 2 ** -((now - known.at) / FORGOTTEN_AFTER + runs / FORGOTTEN_RUNS);
    const trust = (half * known.ratio.n) / (known.ratio.n + 0.5);
    return { factor: Math.exp(trust * known.ratio.value), uncertain: runs > LATELY_RUNS };
  }

  learn(plan: Plan, outcome: Outcome, prices: Prices, uses: { readonly way: string; readonly speed: number; readonly busy: number }): void {
    const modelled = remodelled(plan, outcome, uses.busy);
    if (modelled > 0 && !restarted(plan, outcome)) {
      const ratio = Math.min(CORRECTION_MOST, Math.max(CORRECTION_LEAST, outcome.took / modelled));
      const ways = this.#corrections.get(plan.choice.place, () => new Map());
      const correction = ways.get(uses.way) ?? { ratio: new Mean(0.25), at: outcome.now, run: this.runs };
      ways.set(uses.way, correction);
      // Long ago: what is seen now counts as if it was the first or the second.
      if (this.runs - correction.run > LATELY_RUNS) correction.ratio.n = Math.min(1, correction.ratio.n);
      correction.ratio.add(Math.log(ratio));
      correction.at = outcome.now;
      correction.run = this.runs;
    }
    if (outcome.processor !== undefined) this.processor.add(outcome.processor * uses.speed);
    if (outcome.result !== undefined) this.result.add(outcome.result);
    for (const [index, argument] of plan.request.arguments.entries()) {
      const touch = counted(outcome.touches?.[index], plan.choice.uses[index]);
      if (touch === undefined || index >= ARGUMENTS) continue;
      while (this.#touches.length <= index) this.#touches.push(new Touches());
      const of = this.#touches[index];
      if (of === undefined) continue;
      const own = this.#families.get(argument.family, () => new Touches());
      const share = noveltyOf(plan, index, touch, prices);
      for (const record of [of, own]) {
        record.add(argument, touch, prices);
        if (share !== undefined) record.novelty.add(share);
      }
    }
  }
}

/** More was touched than the plan allowed for, and it began anew elsewhere. */
const restarted = (plan: Plan, outcome: Outcome): boolean =>
  plan.instead !== undefined &&
  plan.choice.uses.some((use, i) => use.limit !== undefined && (outcome.touches?.[i]?.fetched ?? 0) >= use.limit);

/** The model again, with what the run is now known to have computed, fetched and stored: what is left is the error of the model itself. */
function remodelled(plan: Plan, outcome: Outcome, busy: number): number {
  const { choice } = plan;
  let cost = choice.cost / choice.correction;
  cost += more(plan, outcome, busy);
  for (const [i, use] of choice.uses.entries()) {
    const touch = outcome.touches?.[i];
    if (touch?.stored !== undefined && use.owning !== undefined) cost += (touch.stored ? use.owning : 0) - (use.stores ?? 0) * use.owning;
    if (touch?.fetched !== undefined && use.fetches !== undefined && use.trip !== undefined)
      cost += (touch.fetched - use.fetches) * use.trip;
  }
  return cost;
}

/** How much more it computed than was expected, in time: it would have done so anywhere. */
export function more(plan: Plan, outcome: Outcome, busy: number): number {
  return outcome.processor === undefined ? 0 : outcome.processor / (1 - busy) - plan.choice.parts.processor;
}

/** A run that had the rest come whole touched more than it fetched by touch; how much more is not known: twice as much. */
function counted(touch: Touch | undefined, use: Use | undefined): Touch | undefined {
  if (touch?.fetched === undefined || use?.limit === undefined || touch.fetched < use.limit) return touch;
  return touch.bytes === undefined && touch.pages === undefined ? { ...touch, pages: 2 * touch.fetched } : touch;
}

/** Distinct ranges of pages that lie anywhere. */
function rangesOf(pages: number, all: number, prices: Prices): number {
  const ranges = Math.max(1, Math.ceil(all / prices.range));
  return ranges * (1 - (1 - 1 / ranges) ** pages);
}

/** What was fetched by touch against what touches that fall anywhere would have fetched, where part of the data was there. */
function noveltyOf(plan: Plan, index: number, touch: Touch, prices: Prices): number | undefined {
  const use = plan.choice.uses[index];
  const argument = plan.request.arguments[index];
  if (use === undefined || argument === undefined || touch.fetched === undefined) return undefined;
  const there = bytesAt(argument, plan.choice.place);
  if (there <= 0 || there >= argument.bytes || !byTouch(use.way)) return undefined;
  const bytes = touch.bytes ?? (touch.pages ?? 0) * prices.page;
  const all =
    use.way === 'page' ? (touch.pages ?? bytes / prices.page) : (touch.ranges ?? rangesOf(bytes / prices.page, argument.bytes, prices));
  const anywhere = all * (1 - there / argument.bytes);
  return anywhere < 0.01 ? undefined : Math.min(4, touch.fetched / anywhere);
}

const byTouch = (way: Way): boolean => way === 'page' || way === 'range';

/** Fresh bytes of an argument at a node. */
export function bytesAt(argument: PlanArgument, node: string): number {
  if (argument.owner === node) return argument.bytes;
  for (const copy of argument.copies) if (copy.node === node) return Math.min(copy.bytes, argument.bytes);
  return 0;
}

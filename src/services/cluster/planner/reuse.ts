/**
 * When it pays to bring data to a node. Whoever rents skis is to buy them when the rent paid equals the price: so each run that had to
 * go elsewhere adds to what was *paid* towards having its data at each place, and data moves when that covers the price. That alone is
 * at most twice as dear as knowing the future.
 *
 * Data of one code is used alike, so it can be done better: a *stretch* is the runs over one family until it changes elsewhere or is not
 * used any more, and from the lengths of earlier stretches follows whether to buy at once, later or not at all. Such advice may lose at
 * most a share of what was spent (ADVICE_LOSS): then the rule alone holds until the losses are forgotten.
 *
 * Bounded: so many families, and of each so many lengths and places; what was used longest ago goes.
 */
import { assert } from '../../../abi/errors.ts';
import { bytesAt, KeptLately, Mean } from './records.ts';
import type { Candidate, Plan, PlanArgument } from './model.ts';

const ARGUMENTS = 16;
const LENGTHS = 32;
const LENGTHS_OWN = 8;
const PLACES = 8;
/** Fewer stretches that went on for longer than this one advise nothing. */
const LENGTHS_LEAST = 2;
/** A family is not used any more when this many runs of the code, and so many times the usual distance, went by without it. */
const IDLE_RUNS = 8;
const IDLE_RUNS_LATER = 2;
const IDLE_GAPS = 4;
const LATER = 32;
const ADVICE_LOSS = 0.1;
/** Advice against buying holds until the rent is this many prices. */
const ADVICE_AGAINST = 2;
const FORGET = 0.995;
/** A copy is lost when less than this share of it is fresh. */
const LOST = 0.5;

interface Stretch {
  runs: number;
}

interface Usage {
  runs: number;
  readonly open: Map<string, Family>;
  readonly lengths: Stretch[];
  gap: number;
  spent: number;
  losses: number;
  readonly taken: Mean;
}

interface Family {
  readonly name: string;
  runs: number;
  version: number | undefined;
  readonly paid: Map<string, number>;
  readonly held: Map<string, number>;
  readonly lengths: number[];
  /** Of what was bought on advice, the part that runs have not saved yet. */
  debt: number;
  debtAt: string;
  usage: Usage | undefined;
  usedAt: number;
  /** Its length as it was noted when it seemed to be over. */
  noted: Stretch | undefined;
}

/** What is known of one argument's reuse, for a plan. */
export interface Outlook {
  /** Runs of this stretch before this one. */
  readonly runs: number;
  /** Lengths of stretches that were longer. */
  readonly longer: readonly number[];
  readonly advised: boolean;
  /** Stretches were seen to end. */
  readonly known: boolean;
  paid(place: string): number;
}

export interface Advice {
  /** Advised to have it now, later, or by the rule alone. */
  readonly verdict: 'now' | 'wait' | 'rule';
  /** What later runs are expected to save, together. */
  readonly saves: number;
  /** Stretches were seen to end. */
  readonly known: boolean;
}

const NOTHING: ReadonlyMap<string, number> = new Map();

/** Runs after this one that are expected in this stretch: as many as before where nothing else is known. */
export function aheadOf(outlook: Outlook): number {
  const { longer, runs } = outlook;
  return longer.length === 0 ? runs : longer.reduce((sum, length) => sum + length - runs, 0) / longer.length - 1;
}

export class Reuse {
  readonly #families: KeptLately<Family>;
  /** Of each code, one an argument. */
  readonly #usages: KeptLately<Usage[]>;
  readonly #dropped: boolean;

  constructor(families: number, codes: number, dropped: boolean) {
    this.#families = new KeptLately(families, (family) => over(family));
    this.#usages = new KeptLately(codes);
    this.#dropped = dropped;
  }

  get entries(): number {
    let entries = 0;
    for (const usages of this.#usages.values()) entries += usages.length;
    for (const family of this.#families.values()) entries += 1 + family.paid.size + family.held.size;
    return entries;
  }

  outlook(code: string, index: number, argument: PlanArgument): Outlook {
    const family = this.#families.peek(argument.family);
    const usage = this.#usages.peek(code)?.[Math.min(index, ARGUMENTS - 1)];
    const ended = family === undefined || this.#ended(family, argument);
    const runs = ended ? 0 : family.runs;
    const own = family?.lengths ?? [];
    const lengths = own.length >= LENGTHS_OWN ? own : (usage?.lengths ?? []).map((stretch) => stretch.runs);
    const longer = lengths.filter((length) => length > runs);
    const trusted = usage === undefined || usage.losses <= ADVICE_LOSS * usage.spent;
    const paid = ended ? NOTHING : family.paid;
    return {
      runs,
      longer,
      known: lengths.length > 0,
      advised: longer.length >= LENGTHS_LEAST && trusted,
      paid: (place) => paid.get(place) ?? 0,
    };
  }

  #ended(family: Family, argument: PlanArgument): boolean {
    if (family.runs === 0) return false;
    for (const [place, held] of family.held) {
      if (bytesAt(argument, place) < LOST * held) return true;
    }
    return this.#dropped && family.held.size === 0 && changedBetween(family, argument) === true;
  }

  /** Share of runs of this code before which others stored to that argument. */
  taken(code: string, index: number): number {
    return this.#usages.peek(code)?.[Math.min(index, ARGUMENTS - 1)]?.taken.or(0) ?? 0;
  }

  started(code: string, index: number, argument: PlanArgument): void {
    const usage = this.#usage(code, Math.min(index, ARGUMENTS - 1));
    const family = this.#families.get(argument.family, () => newFamily(argument.family));
    const changed = changedBetween(family, argument);
    if (changed !== undefined) usage.taken.add(changed ? 1 : 0);
    if (this.#ended(family, argument)) over(family);
    for (const [place, held] of family.held) family.held.set(place, Math.max(held, bytesAt(argument, place)));
    usage.runs++;
    if (family.usage === usage && family.runs > 0) {
      const gap = usage.runs - family.usedAt;
      usage.gap = gap > usage.gap ? gap : usage.gap + 0.02 * (gap - usage.gap);
    }
    // It goes on after all.
    if (family.noted !== undefined) {
      const at = family.usage?.lengths.indexOf(family.noted) ?? -1;
      if (at >= 0) family.usage?.lengths.splice(at, 1);
      family.noted = undefined;
    }
    family.usage?.open.delete(family.name);
    family.usage = usage;
    family.usedAt = usage.runs;
    family.runs++;
    family.version = argument.version;
    usage.open.set(family.name, family);
    for (const [name, oldest] of usage.open) {
      const idle = (usage.runs > LATER ? IDLE_RUNS_LATER : IDLE_RUNS) + IDLE_GAPS * usage.gap;
      if (usage.runs - oldest.usedAt <= idle) break;
      usage.open.delete(name);
      note(oldest);
    }
  }

  #usage(code: string, index: number): Usage {
    const usages = this.#usages.get(code, () => []);
    for (let i = usages.length; i <= index; i++)
      usages.push({ runs: 0, open: new Map(), lengths: [], gap: 0, spent: 0, losses: 0, taken: new Mean(0.05) });
    const usage = usages[index];
    assert(usage !== undefined, 'usages are without gaps');
    return usage;
  }

  /** `took` is what the run took, with as much computing as the plan had expected. */
  finished(index: number, plan: Plan, took: number): void {
    const argument = plan.request.arguments[index];
    const family = argument === undefined ? undefined : this.#families.peek(argument.family);
    const use = plan.choice.uses[index];
    if (argument === undefined || family === undefined || use === undefined) return;
    const { place } = plan.choice;
    const { usage } = family;
    const rent = leastElsewhere(plan, place);
    if (usage !== undefined) {
      usage.spent = usage.spent * FORGET + took;
      usage.losses *= FORGET;
    }
    if (family.debt > 0 && family.debtAt === place) family.debt = Math.max(0, family.debt - Math.max(0, rent - took));
    const bought = use.way !== 'there' && plan.reason === 'invested';
    if (bought) {
      const extra = plan.choice.cost - leastOf(plan);
      family.debt += Math.max(0, extra - (family.paid.get(place) ?? 0)) * shareOf(plan.choice, index);
      family.debtAt = place;
    }
    for (const [at, best] of bestByPlace(plan)) {
      if (at === place && (bought || use.way === 'whole')) {
        family.paid.delete(at);
        continue;
      }
      const share = shareOf(best.costing, index);
      if (share === 0) continue;
      // May be less than nothing: what was paid is an average over noise, too.
      const paid = Math.max(0, (family.paid.get(at) ?? 0) + (took - best.next) * share);
      if (paid > 0 && (family.paid.has(at) || family.paid.size < PLACES)) family.paid.set(at, paid);
      else if (paid === 0) family.paid.delete(at);
    }
    if (place === argument.owner) return;
    if (use.way !== 'there' && (family.held.has(place) || family.held.size < PLACES))
      family.held.set(place, use.way === 'whole' ? argument.bytes : (family.held.get(place) ?? bytesAt(argument, place)));
  }

  /** A store of our own changes the version: where it is not told, the next one that is seen is taken as ours. */
  stored(argument: PlanArgument, version: number | undefined): void {
    const family = this.#families.peek(argument.family);
    if (family !== undefined) family.version = version;
  }
}

function newFamily(name: string): Family {
  return {
    name,
    runs: 0,
    version: undefined,
    paid: new Map(),
    held: new Map(),
    lengths: [],
    debt: 0,
    debtAt: '',
    usage: undefined,
    usedAt: 0,
    noted: undefined,
  };
}

/** Notes the length of a stretch that seems to be over. */
function note(family: Family): void {
  const { usage } = family;
  if (usage === undefined || family.runs === 0 || family.noted !== undefined) return;
  family.noted = { runs: family.runs };
  usage.lengths.push(family.noted);
  if (usage.lengths.length > LENGTHS) usage.lengths.shift();
}

function over(family: Family): void {
  note(family);
  if (family.usage !== undefined) {
    family.usage.losses += family.debt;
    family.usage.open.delete(family.name);
  }
  if (family.runs > 0) family.lengths.push(family.runs);
  if (family.lengths.length > LENGTHS_OWN) family.lengths.shift();
  family.noted = undefined;
  family.runs = 0;
  family.debt = 0;
  family.paid.clear();
  family.held.clear();
}

/** Undefined where it cannot be told. */
function changedBetween(family: Family, argument: PlanArgument): boolean | undefined {
  if (family.version === undefined || argument.version === undefined) return undefined;
  return family.version !== argument.version;
}

const leastOf = (plan: Plan): number => plan.candidates.reduce((least, each) => Math.min(least, each.cost), Infinity);

function leastElsewhere(plan: Plan, place: string): number {
  let least = Infinity;
  for (const each of plan.candidates) if (each.place !== place) least = Math.min(least, each.cost);
  return Number.isFinite(least) ? least : plan.choice.cost;
}

/** The share of one argument in what a candidate moves. */
function shareOf(candidate: Candidate, index: number): number {
  let all = 0;
  for (const use of candidate.uses) all += use.moving;
  return all > 0 ? (candidate.uses[index]?.moving ?? 0) / all : 0;
}

/** What a run would take at each place with its data there, and the candidate that gets it there. */
export function bestByPlace(plan: { readonly candidates: readonly Candidate[] }): Map<string, { next: number; costing: Candidate }> {
  const places = new Map<string, { next: number; costing: Candidate }>();
  for (const candidate of plan.candidates) {
    const known = places.get(candidate.place);
    if (known === undefined || candidate.next < known.next) places.set(candidate.place, { next: candidate.next, costing: candidate });
  }
  return places;
}

/**
 * Whether to pay `buy` now for runs of `have` each, or to go on at `rent` (now) and `renting` (later), given how long stretches like this
 * one went on: each waiting time is tried on them.
 */
export function advise(outlook: Outlook, buy: number, have: number, rent: number, renting: number, paid: number): Advice {
  const extra = buy - rent;
  const { known } = outlook;
  if (!outlook.advised) return { verdict: 'rule', saves: 0, known };
  const left = outlook.longer.map((length) => length - outlook.runs);
  const mean = left.reduce((a, b) => a + b, 0) / left.length;
  const costOf = (waits: number): number => {
    let sum = 0;
    for (const runs of left) {
      if (waits === 0) sum += buy + (runs - 1) * have;
      else if (runs <= waits) sum += rent + (runs - 1) * renting;
      else sum += rent + (waits - 1) * renting + buy + (runs - waits - 1) * have;
    }
    return sum / left.length;
  };
  const now = costOf(0);
  for (const waits of new Set(left)) {
    if (costOf(waits) < now)
      return paid >= ADVICE_AGAINST * extra ? { verdict: 'rule', saves: 0, known } : { verdict: 'wait', saves: 0, known };
  }
  return { verdict: 'now', saves: (mean - 1) * Math.max(0, renting - have), known };
}

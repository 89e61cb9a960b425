/**
 * The rendezvous: where a function and the data that its references lead to meet. Code can go to the data, data can come to the code, or
 * both go to a third node; the planner tells what each would take, chooses, and learns from what happened. It does no I/O: `plan` reads,
 * `started` and `finished` note. docs/decisions/0031-where-code-and-data-meet.md says why it is so.
 *
 * What holds, and is tried in test/planner.test.ts:
 *   - what is kept is bounded, however many codes, families and nodes were seen;
 *   - at most a stated share of runs explore, and what they cost more is at most that share of the time spent;
 *   - data that comes for later runs' sake comes when runs elsewhere have paid for it, or when earlier data of that code was used long
 *     enough; losses by the latter are at most a tenth of the time spent;
 *   - `plan` changes nothing: the same request gives the same plan.
 */
import { TwzError } from '../../abi/errors.ts';
import { BUSY_MOST, optionsOf, type Knowledge, type Option } from './planner/costs.ts';
import { explain, type Explained } from './planner/explain.ts';
import {
  PRICES,
  type Candidate,
  type Outcome,
  type Plan,
  type PlanNode,
  type PlannerOptions,
  type PlanRequest,
  type Prices,
  type Reason,
  type Use,
} from './planner/model.ts';
import { CodeRecord, KeptLately, more, PRIOR, type Expected } from './planner/records.ts';
import { advise, aheadOf, Reuse, type Outlook } from './planner/reuse.ts';

export { explain, type Explained, type ExplainedCandidate } from './planner/explain.ts';
export { LINK_UNKNOWN, MeasuredLinks } from './planner/links.ts';
export * from './planner/model.ts';

const NODES = 512;
const IN_FLIGHT = 4096;
/** Runs in flight to one node that are counted. */
const SENT = 256;
/** A plan shows so many candidates. */
const SHOWN = 24;
/** Exploring begins after so many runs, and costs at most so many times the best more. What was not seen lately might take half of what is
 * expected, or a tenth where it is not known what runs touch. */
const EXPLORE_AFTER = 20;
const EXPLORE_EXTRA = 4;
const FREE = 2;
const HOPE_SEEN = 0.5;
const HOPE_UNSEEN = 0.1;
/** Where nothing is known of how long data lasts, this many further runs are hoped for. */
const HOPE = 0.5;
/** Who stores in fewer runs than this is taken not to, when exploring. */
const STORES_NEVER = 0.005;
/** Loads are apart when they differ by this many runs a processor. */
const LOAD_APART = 0.2;
/** What a failing node costs is half forgotten after this time. */
const TROUBLE_HALF = 10_000_000;
const GIVEN_MOST = 1000;

interface NodeRecord {
  readonly sent: Map<number, number>;
  given: number;
  trouble: number;
  troubleAt: number;
}

export class Planner {
  readonly #prices: Prices;
  readonly #exploration: number;
  readonly #near: number;
  readonly #codes: KeptLately<CodeRecord>;
  readonly #nodes = new KeptLately<NodeRecord>(NODES);
  readonly #inFlight = new KeptLately<Plan>(IN_FLIGHT, (plan) => this.#landed(plan));
  readonly #reuse: Reuse;
  readonly #restarts: boolean;
  readonly #ownsWhole: boolean;
  #last = 0;

  constructor(options: PlannerOptions = {}) {
    this.#prices = { ...PRICES, ...options.prices };
    this.#exploration = options.exploration ?? 0.02;
    this.#near = options.near ?? 0.05;
    this.#restarts = options.restarts ?? true;
    this.#ownsWhole = options.ownsWhole ?? true;
    const codes = options.codes ?? 1024;
    this.#codes = new KeptLately(codes);
    this.#reuse = new Reuse(options.families ?? 4096, codes, options.copies === 'dropped');
  }

  /** Entries that are kept, all together. */
  get entries(): number {
    let entries = this.#nodes.size + this.#inFlight.size + this.#reuse.entries;
    for (const record of this.#codes.values()) entries += record.entries;
    return entries;
  }

  /** What each way would take, and the one to choose. Throws PlanImpossible, InvalidArgument. */
  plan(request: PlanRequest): Plan {
    check(request);
    const record = this.#codes.peek(request.code.hash);
    const expected = request.arguments.map((argument, i) => (record ?? UNKNOWN).expected(i, argument, this.#prices));
    const options = optionsOf(request, this.#knowledge(request, record, expected), this.#prices);
    const outlooks = request.arguments.map((argument, i) => this.#reuse.outlook(request.code.hash, i, argument));
    const candidates = this.#scored(
      request,
      record,
      options,
      outlooks,
      expected.some((each) => !each.known),
    );
    const cheapest = candidates.reduce((a, b) => (b.alone < a.alone ? b : a));
    const best = candidates.reduce((a, b) => (b.score < a.score ? b : a));
    let choice = best;
    let reason: Reason = best === cheapest || best.score === best.alone ? 'cheapest' : 'invested';
    if (request.at !== undefined || request.force !== undefined || candidates.every((each) => each.place === best.place))
      reason = reason === 'invested' ? reason : 'ordered';
    else {
      const explored = this.#explored(record, candidates, best, Math.max(...outlooks.map(aheadOf), 0));
      const spread = explored ?? this.#spread(request, candidates, best);
      if (spread !== best) [choice, reason] = [spread, explored === undefined ? 'spread' : 'explored'];
    }
    const instead = request.at === undefined && request.force === undefined && this.#restarts ? insteadOf(choice, candidates) : undefined;
    if (instead !== undefined) {
      const limited = bounded(choice, instead, reason);
      candidates[candidates.indexOf(choice)] = limited;
      choice = limited;
    }
    candidates.sort((a, b) => a.score - b.score);
    if (candidates.length > SHOWN) candidates.length = SHOWN;
    if (!candidates.includes(choice)) candidates.push(choice);
    const uses = outlooks.reduce((most, outlook) => Math.max(most, outlook.runs), 0);
    return { id: ++this.#last, request, choice, reason, ...(instead === undefined ? {} : { instead }), candidates, uses };
  }

  /** The same once more, for a run that is like that one; undefined where runs are under way there, and there is more to think of. */
  again(plan: Plan, now: number): Plan | undefined {
    if ((this.#nodes.peek(plan.choice.place)?.sent.size ?? 0) > 0) return undefined;
    return { ...plan, id: ++this.#last, request: { ...plan.request, now } };
  }

  /** The run of this plan begins. */
  started(plan: Plan): void {
    const key = String(plan.id);
    if (this.#inFlight.peek(key) !== undefined) return;
    this.#inFlight.get(key, () => plan);
    const node = this.#node(plan.choice.place);
    node.sent.set(plan.id, plan.request.now);
    for (const oldest of node.sent.size > SENT ? node.sent.keys() : []) {
      node.sent.delete(oldest);
      break;
    }
    if (++node.given > GIVEN_MOST) for (const each of this.#nodes.values()) each.given /= 2;
    const record = this.#codes.get(plan.request.code.hash, () => new CodeRecord());
    record.runs++;
    if (plan.reason === 'explored') record.explorations++;
    for (const [i, argument] of plan.request.arguments.entries()) this.#reuse.started(plan.request.code.hash, i, argument);
  }

  /** It has ended, and this is what happened. A plan that was never started is started by this. */
  finished(plan: Plan, outcome: Outcome): void {
    if (!(outcome.took >= 0)) throw new TwzError('InvalidArgument', `a run takes a time, not ${outcome.took}`);
    this.started(plan);
    this.#inFlight.delete(String(plan.id));
    this.#landed(plan);
    const node = this.#node(plan.choice.place);
    if (outcome.failed === true) {
      node.trouble = troubleOf(node, outcome.now) + Math.max(outcome.took, plan.choice.cost);
      node.troubleAt = outcome.now;
      return;
    }
    node.trouble = troubleOf(node, outcome.now) / 2;
    node.troubleAt = outcome.now;
    const record = this.#codes.get(plan.request.code.hash, () => new CodeRecord());
    const { speed = 1, busy = 0 } = plan.request.nodes.find((each) => each.id === plan.choice.place) ?? {};
    record.spent += outcome.took;
    if (plan.reason === 'explored') record.extra += Math.max(0, outcome.took - Math.min(...plan.candidates.map((each) => each.cost)));
    const took = Math.max(0, outcome.took - more(plan, outcome, Math.min(busy, BUSY_MOST)));
    record.learn(plan, outcome, this.#prices, { way: wayOf(plan.choice), speed, busy: Math.min(busy, BUSY_MOST) });
    for (const [i, argument] of plan.request.arguments.entries()) {
      this.#reuse.finished(i, plan, took);
      const touch = outcome.touches?.[i];
      if (touch?.stored === true) this.#reuse.stored(argument, touch.version);
    }
  }

  explain(plan: Plan): Explained {
    return explain(plan);
  }

  #landed(plan: Plan): void {
    this.#nodes.peek(plan.choice.place)?.sent.delete(plan.id);
  }

  #node(id: string): NodeRecord {
    return this.#nodes.get(id, () => ({ sent: new Map(), given: 0, trouble: 0, troubleAt: 0 }));
  }

  #knowledge(request: PlanRequest, record: CodeRecord | undefined, expected: readonly Expected[]): Knowledge {
    return {
      ownsWhole: this.#ownsWhole,
      expected,
      taken: request.arguments.map((_, i) => this.#reuse.taken(request.code.hash, i)),
      processor: record?.processor.or(PRIOR.processor) ?? PRIOR.processor,
      result: record?.result.or(PRIOR.result) ?? PRIOR.result,
      runs: record?.runs ?? 0,
      sentSince: (node) => this.#queued(node),
      trouble: (node) => {
        const known = this.#nodes.peek(node);
        return known === undefined ? 0 : troubleOf(known, request.now);
      },
    };
  }

  /** Runs of ours there that its report does not count, beyond its free processors. */
  #queued(node: PlanNode): number {
    const sent = this.#nodes.peek(node.id)?.sent;
    if (sent === undefined || sent.size === 0) return 0;
    let since = 0;
    for (const at of sent.values()) if (node.reported === undefined || at >= node.reported) since++;
    const free = Math.max(1, Math.round((node.processors ?? 1) * (1 - (node.busy ?? 0))));
    return Math.max(0, since + 1 - free);
  }

  /** Options as candidates: with what was learned of the model's error, and with what later runs save. */
  #scored(
    request: PlanRequest,
    record: CodeRecord | undefined,
    options: readonly Option[],
    outlooks: readonly Outlook[],
    unknown: boolean,
  ): Candidate[] {
    const factor = (place: string, way: string): { factor: number; uncertain: boolean } =>
      record?.correction(place, way, request.now) ?? { factor: 1, uncertain: true };
    const drafts = options.map((option) => {
      const { factor: correction, uncertain } = factor(option.place, option.way);
      const cost = option.cost * correction;
      const next = Math.min(cost, option.next * factor(option.place, 'there').factor);
      return { option, correction, uncertain, cost, next, alone: cost - option.parts.savings };
    });
    const least = drafts.reduce((a, b) => (b.alone < a.alone ? b : a));
    const nexts = new Map<string, number>();
    for (const draft of drafts) nexts.set(draft.option.place, Math.min(draft.next, nexts.get(draft.option.place) ?? Infinity));
    return drafts.map((draft) => {
      const { option, cost, next } = draft;
      const gain = least.next - next;
      const bound = draft !== least && gain > 0 ? this.#savings(draft, least, outlooks, nexts.get(option.place) ?? next) : 0;
      return {
        place: option.place,
        uses: option.uses,
        parts: { ...option.parts, savings: option.parts.savings + bound },
        correction: draft.correction,
        cost,
        next,
        alone: draft.alone,
        score: draft.alone - bound,
        hope: !draft.uncertain ? 1 : unknown && option.uses.some(byTouch) ? HOPE_UNSEEN : HOPE_SEEN,
      };
    });
  }

  #savings(
    draft: { option: Option; alone: number; next: number },
    least: { alone: number; next: number },
    outlooks: readonly Outlook[],
    nextThere: number,
  ): number {
    const { uses, place } = draft.option;
    let most = -1;
    let paid = 0;
    for (const [i, use] of uses.entries()) {
      if (use.moving <= 0) continue;
      paid += outlooks[i]?.paid(place) ?? 0;
      if (most < 0 || use.moving > (uses[most]?.moving ?? 0)) most = i;
    }
    const outlook = outlooks[most];
    if (outlook === undefined) return 0;
    // What comes by touch is only a part of what was paid for.
    const full = least.next - nextThere;
    paid *= full > 0 ? Math.max(0, least.next - draft.next) / full : 1;
    const advice = advise(outlook, draft.alone, draft.next, least.alone, least.next, paid);
    if (advice.verdict === 'wait') return 0;
    return advice.verdict === 'now' ? Math.max(advice.saves, paid) : paid + (advice.known ? 0 : HOPE * (least.next - draft.next));
  }

  /** Something little is known of, that could be much better and cannot be much worse; undefined mostly. */
  #explored(record: CodeRecord | undefined, candidates: readonly Candidate[], best: Candidate, ahead: number): Candidate | undefined {
    if (record === undefined || record.runs < EXPLORE_AFTER) return undefined;
    if (record.explorations + 1 > this.#exploration * record.runs) return undefined;
    let found: Candidate | undefined;
    for (const each of candidates) {
      const worst = this.#restarts ? 0 : each.uses.reduce((sum, use) => sum + 2 * (use.limit ?? 0) * (use.trip ?? 0), 0);
      const stores = each.uses.reduce((sum, use) => sum + ((use.stores ?? 0) > STORES_NEVER ? (use.owning ?? 0) : 0), 0);
      // What the best one brings has to be brought later all the same.
      const extra = Math.max(each.alone + stores, worst) - best.next;
      if (each.hope === 1 || each === best || extra > EXPLORE_EXTRA * best.cost) continue;
      if (each.hope * (each.cost + ahead * each.next) >= best.cost + ahead * best.next) continue;
      if (
        record.extra + extra >
        this.#exploration * record.spent + (each.hope < HOPE_SEEN && extra <= FREE * best.cost ? FREE * best.cost : 0)
      )
        continue;
      if (found === undefined || each.cost < found.cost) found = each;
    }
    return found;
  }

  /** Of what costs nearly as little, that with the least to do; among equals the one that got least. */
  #spread(request: PlanRequest, candidates: readonly Candidate[], best: Candidate): Candidate {
    const margin = this.#near * best.cost;
    const loads = new Map<string, number>();
    const load = (place: string): number => {
      let known = loads.get(place);
      if (known === undefined) {
        const node = request.nodes.find((each) => each.id === place) ?? { id: place };
        const sent = this.#nodes.peek(place)?.sent.size ?? 0;
        known = ((node.waiting ?? 0) + sent) / (node.processors ?? 1) + (node.busy ?? 0);
        loads.set(place, known);
      }
      return known;
    };
    const given = (place: string): number => this.#nodes.peek(place)?.given ?? 0;
    const moved = bringsOf(best);
    let found = best;
    for (const each of candidates) {
      if (
        each.place === found.place ||
        each.score > best.score + margin ||
        each.cost > best.cost + margin ||
        each.next > best.next + margin ||
        bringsOf(each) > moved
      )
        continue;
      const less = load(found.place) - load(each.place);
      if (less > LOAD_APART || (Math.abs(less) <= LOAD_APART && given(each.place) < given(found.place))) found = each;
    }
    return found;
  }
}

/** Stands for code that never ran. */
const UNKNOWN = new CodeRecord();

const bringsOf = (candidate: Candidate): number => candidate.uses.reduce((sum, use) => sum + use.brings, 0);
/** Where to begin anew when there are too many fetches by touch: the cheapest elsewhere, if that costs less than to have it all come. */
function insteadOf(choice: Candidate, candidates: readonly Candidate[]): Candidate | undefined {
  const whole = choice.uses.reduce((sum, use) => sum + (use.limit ?? 0) * (use.trip ?? 0), 0);
  if (whole === 0) return undefined;
  let found: Candidate | undefined;
  for (const each of candidates) {
    if (each.place === choice.place || each.uses.some((use) => use.limit !== undefined)) continue;
    if (each.cost < whole && (found === undefined || each.cost < found.cost)) found = each;
  }
  return found;
}

/** As many fetches as were expected when exploring, else twice as many, or as many as running elsewhere costs. */
function bounded(choice: Candidate, instead: Candidate, reason: Reason): Candidate {
  const uses = choice.uses.map((use) => {
    if (use.limit === undefined || use.fetches === undefined || use.trip === undefined) return use;
    const expected = Math.ceil(use.fetches);
    const limit = reason === 'explored' ? expected : Math.max(2 * expected, Math.floor(instead.cost / use.trip));
    return { ...use, limit: Math.max(1, Math.min(use.limit, limit)) };
  });
  return { ...choice, uses };
}

const byTouch = (use: Use): boolean => use.way === 'page' || use.way === 'range';
const troubleOf = (node: NodeRecord, now: number): number => node.trouble * 2 ** -((now - node.troubleAt) / TROUBLE_HALF);

function wayOf(candidate: Candidate): string {
  let way = 'there';
  for (const use of candidate.uses) {
    if (use.way === 'there' || use.way === way) continue;
    way = way === 'there' ? use.way : 'mixed';
  }
  return way;
}

function check(request: PlanRequest): void {
  const sizes: (readonly [string, number | undefined])[] = [
    ['now', request.now],
    ['values', request.values],
    ['bytes of the code', request.code.bytes],
  ];
  for (const argument of request.arguments) {
    sizes.push([`bytes of ${argument.family}`, argument.bytes]);
    for (const copy of argument.copies) sizes.push([`bytes of ${argument.family} at ${copy.node}`, copy.bytes]);
  }
  for (const node of request.nodes) {
    sizes.push([`waiting of ${node.id}`, node.waiting], [`busy of ${node.id}`, node.busy], [`room of ${node.id}`, node.room]);
    if (node.speed !== undefined && !(node.speed > 0))
      throw new TwzError('InvalidArgument', `speed of ${node.id} is above 0, not ${node.speed}`);
    if (node.processors !== undefined && !(node.processors >= 1))
      throw new TwzError('InvalidArgument', `processors of ${node.id} are 1 or more, not ${node.processors}`);
  }
  for (const [name, value] of sizes)
    if (value !== undefined && !(value >= 0)) throw new TwzError('InvalidArgument', `${name} is 0 or more, not ${value}`);
}

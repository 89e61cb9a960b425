/** Where a run is to be: what the planner needs to know of objects, nodes and links, and what it is told of runs that were. */
import type { ObjectId } from '../../abi/id.ts';
import { clock } from '../../host/clock.ts';
import type { AgentContact } from './contact.ts';
import { idIn, isRecord, numberIn, textIn, type Head } from './messages.ts';
import type { NodeInfo } from './node.ts';
import { MeasuredLinks, Planner, type Explained, type CopyAt, type Force, type Plan, type PlanArgument, type Touch } from './planner.ts';

/** What is known of an object is asked for again after so many milliseconds. */
const KNOWN_MS = 500;
const KNOWN_MAX = 10_000;
/** A node tells its load some times a second; what it told is this old at most. */
const LATELY_MS = 1500;
/** So many further runs of a function that was best off here are so for that time without being thought about, if none takes so many times as
 * long as was expected. */
const SETTLED_RUNS = 15;
const SETTLED_MS = 100;
const SETTLED_LATE = 4;
/** Plans that are kept to be looked at. */
const PLANS_MAX = 100;
/** Fewer bytes than this say nothing of a link's bandwidth. */
const BANDWIDTH_BYTES = 64 << 10;

/** What an agent knows of an object. */
export interface About {
  readonly family: ObjectId;
  readonly owner: string;
  readonly bytes: number;
  readonly kind: 'owned' | 'immutable';
  readonly here: boolean;
}

function aboutIn(head: Head): About {
  return {
    family: idIn(head, 'family'),
    owner: textIn(head, 'owner'),
    bytes: numberIn(head, 'bytes'),
    kind: head['kind'] === 'immutable' ? 'immutable' : 'owned',
    here: head['here'] === true,
  };
}

const NONE: ReadonlySet<string> = new Set();

interface Known {
  readonly about: About | undefined;
  readonly at: number;
}

export interface Wish {
  readonly code: ObjectId;
  readonly codeBytes: number;
  readonly values: number;
  readonly at: string | undefined;
  readonly force: Force | undefined;
}

export interface Ended {
  /** Milliseconds: all of it, and at the place of the run. */
  readonly took: number;
  readonly ran: number;
  readonly result: number;
  readonly stored: readonly ObjectId[];
  readonly failed: boolean;
}

/** A run that was. */
export interface PastRun extends Explained {
  /** When it was asked for, in milliseconds since 1970. */
  readonly at: number;
  /** Milliseconds that it took in all; undefined while it runs. */
  readonly took: number | undefined;
  readonly failed: boolean;
}

/** A plan by which everything is here, good for some further runs that are like that one. */
interface Settled {
  readonly plan: Plan;
  readonly ids: readonly ObjectId[];
  readonly until: number;
  left: number;
}

interface Kept {
  readonly plan: Plan;
  readonly at: number;
  took: number | undefined;
  failed: boolean;
}

export class Chooser {
  readonly #agent: Pick<AgentContact, 'ask' | 'nodes'>;
  readonly #here: string;
  readonly #planner = new Planner({ prices: { fault: Number.MAX_SAFE_INTEGER }, restarts: false });
  /** When a run of this program ended there last. */
  readonly #ranAt = new Map<string, number>();
  readonly #links = new MeasuredLinks();
  readonly #known = new Map<ObjectId, Known>();
  readonly #sent = new Map<ObjectId, Set<string>>();
  /** Where families came for runs of this program, and how many bytes that was: they follow their owners there. */
  readonly #copies = new Map<string, Map<string, number>>();
  #nodes: readonly NodeInfo[] = [];
  #nodesAt = -Infinity;
  readonly #runs: Kept[] = [];
  readonly #settled = new Map<ObjectId, Settled>();

  constructor(agent: Pick<AgentContact, 'ask' | 'nodes'>, here: string) {
    this.#agent = agent;
    this.#here = here;
  }

  async about(id: ObjectId, ms: number): Promise<About | undefined> {
    const known = this.#known.get(id);
    if (known !== undefined && clock.now() - known.at < KNOWN_MS) return known.about;
    const answer = await this.#agent.ask({ do: 'about', id, ms });
    const about = isRecord(answer) ? aboutIn(answer) : undefined;
    this.#known.delete(id);
    this.#known.set(id, { about, at: clock.now() });
    if (this.#known.size > KNOWN_MAX) this.#known.clear();
    return about;
  }

  /** What is known of these is not true any more. */
  forget(ids: readonly ObjectId[]): void {
    for (const id of ids) this.#known.delete(id);
    this.#settled.clear();
  }

  async #present(): Promise<readonly NodeInfo[]> {
    if (clock.now() - this.#nodesAt > KNOWN_MS) {
      this.#nodes = await this.#agent.nodes();
      this.#nodesAt = clock.now();
    }
    return this.#nodes;
  }

  /** `without`: nodes that did not answer. Throws PlanImpossible. */
  async plan(ids: readonly ObjectId[], wish: Wish, ms: number, without: ReadonlySet<string> = NONE): Promise<Plan> {
    const isFree = wish.at === undefined && wish.force === undefined && without.size === 0;
    const plan = (isFree ? this.#again(ids, wish) : undefined) ?? (await this.#plan(ids, wish, ms, without));
    if (isFree) this.#settle(plan, ids, wish.code);
    return plan;
  }

  #again(ids: readonly ObjectId[], { code, values }: Wish): Plan | undefined {
    const settled = this.#settled.get(code);
    if (settled === undefined || ids.length !== settled.ids.length || ids.some((id, i) => id !== settled.ids[i])) return undefined;
    const now = clock.now();
    if (settled.left-- > 0 && now < settled.until && values <= 2 * (settled.plan.request.values ?? 0)) {
      const plan = this.#planner.again(settled.plan, now * 1000);
      if (plan !== undefined) return plan;
    }
    this.#settled.delete(code);
    return undefined;
  }

  #settle(plan: Plan, ids: readonly ObjectId[], code: ObjectId): void {
    if (this.#settled.has(code)) return;
    const { choice, reason } = plan;
    if (choice.place !== this.#here || reason === 'explored' || reason === 'spread' || choice.uses.some(({ way }) => way !== 'there'))
      return;
    if (this.#settled.size >= KNOWN_MAX) this.#settled.clear();
    this.#settled.set(code, { plan, ids, until: clock.now() + SETTLED_MS, left: SETTLED_RUNS });
  }

  async #plan(ids: readonly ObjectId[], wish: Wish, ms: number, without: ReadonlySet<string>): Promise<Plan> {
    const nodes = await this.#present();
    const families = new Map<ObjectId, PlanArgument>();
    for (const id of ids) {
      const about = await this.about(id, ms);
      if (about === undefined || families.has(about.family)) continue;
      const { family, kind, bytes, owner } = about;
      families.set(family, { family, kind, bytes, owner, copies: this.#copiesOf(about) });
    }
    const present = new Set(nodes.map(({ id }) => id));
    const plan = this.#planner.plan({
      now: clock.now() * 1000,
      here: this.#here,
      code: { hash: wish.code, bytes: wish.codeBytes, nodes: [...(this.#sent.get(wish.code) ?? [])] },
      arguments: [...families.values()],
      nodes: [
        { id: this.#here, speed: nodes.find(({ id }) => id === this.#here)?.speed ?? 1 },
        ...nodes
          .filter(({ id, runs }) => id !== this.#here && runs && !without.has(id))
          .map(({ id, load, speed }) => ({ id, speed, waiting: this.#waiting(id, load), reported: this.#nodesAt * 1000 })),
        // One that says nothing may be there all the same: it was where the object was found.
        ...[...families.values()]
          .filter(({ owner }) => !present.has(owner) && !without.has(owner) && owner !== this.#here)
          .map(({ owner }) => ({ id: owner })),
      ],
      links: this.#links,
      values: wish.values,
      ...(wish.at === undefined ? {} : { at: wish.at }),
      ...(wish.force === undefined ? {} : { force: wish.force }),
    });
    return plan;
  }

  /** What a node told of was, if this program had a run there lately, most likely that run. */
  #waiting(node: string, load: number): number {
    const last = this.#ranAt.get(node);
    return last !== undefined && clock.now() - last < LATELY_MS ? Math.max(0, load - 1) : load;
  }

  #copiesOf({ family, owner, bytes, here }: About): CopyAt[] {
    const copies: CopyAt[] = here && owner !== this.#here ? [{ node: this.#here, bytes }] : [];
    for (const [node, came] of this.#copies.get(family) ?? [])
      if (node !== owner && node !== this.#here) copies.push({ node, bytes: Math.min(came, bytes) });
    return copies;
  }

  /** `at`: milliseconds since 1970. */
  started(plan: Plan, at: number): void {
    this.#runs.push({ plan, at, took: undefined, failed: false });
    if (this.#runs.length > PLANS_MAX) this.#runs.shift();
    this.#planner.started(plan);
  }

  finished(plan: Plan, { took, ran, result, stored, failed }: Ended): void {
    const { place } = plan.choice;
    const now = clock.now() * 1000;
    const kept = this.#runs.find((each) => each.plan === plan);
    if (kept !== undefined) Object.assign(kept, { took, failed });
    if (failed || took * 1000 > SETTLED_LATE * plan.choice.cost) this.#settled.delete(plan.request.code.hash as ObjectId);
    if (failed) {
      this.#planner.finished(plan, { now, took: took * 1000, failed });
      return;
    }
    if (place !== this.#here) {
      this.#links.roundTrip(this.#here, place, Math.max(0, took - ran) * 1000, now);
      this.#ranAt.set(place, clock.now());
      const sent = this.#sent.get(plan.request.code.hash as ObjectId) ?? new Set();
      sent.add(place);
      this.#sent.set(plan.request.code.hash as ObjectId, sent);
      if (this.#sent.size > KNOWN_MAX) this.#sent.clear();
      for (const { family, way, brings } of plan.choice.uses) if (way !== 'there') this.#cameTo(place, family, brings);
    }
    const touches = plan.request.arguments.map(({ family }): Touch => ({ stored: stored.some((id) => id === family) }));
    this.#planner.finished(plan, { now, took: took * 1000, processor: ran * 1000, result, touches });
  }

  #cameTo(place: string, family: string, bytes: number): void {
    const copies = this.#copies.get(family) ?? new Map<string, number>();
    copies.set(place, (copies.get(place) ?? 0) + bytes);
    this.#copies.set(family, copies);
    if (this.#copies.size > KNOWN_MAX) this.#copies.clear();
  }

  /** Data came. */
  came(from: string, bytes: number, took: number): void {
    if (bytes < BANDWIDTH_BYTES) return;
    const { roundTrip } = this.#links.between(this.#here, from);
    this.#links.transfer(this.#here, from, bytes, Math.max(1, took * 1000 - roundTrip), clock.now() * 1000);
  }

  explain(plan: Plan): Explained {
    return this.#planner.explain(plan);
  }

  /** Those made lately, oldest first. */
  get plans(): readonly Explained[] {
    return this.#runs.map(({ plan }) => this.#planner.explain(plan));
  }

  /** The last of them, the newest first. */
  past(count: number): PastRun[] {
    const runs = this.#runs.slice(-count).toReversed();
    return runs.map(({ plan, at, took, failed }) => ({ ...this.#planner.explain(plan), at, took, failed }));
  }
}

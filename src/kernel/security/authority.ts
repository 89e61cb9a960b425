/**
 * Who judges. An authority is a set of attached contexts, one of them active; each compartment has its own, and a program in JavaScript that
 * opened the space with contexts has the kernel's.
 *
 *   rightsTo  ->  has anything changed since the verdicts were found?  ->  the active context's verdict  ->  enough: that is it
 *             ->  not enough, and the active context may be left: the first other that gives what is asked for becomes active
 *
 * Invariants:
 *  1. A verdict is used only while all that it was found by holds: what contexts say, revocations, the clock.
 *  2. Once `revoke` has returned, in whatever process, no judgement uses what was revoked.
 *  3. A context that cannot be read gives nothing.
 */
import { TwzError } from '../../abi/errors.ts';
import { RIGHTS_ALL } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import { LIVE } from '../../abi/live-format.ts';
import { admits, decodeChain, type Gate } from '../../abi/security-format.ts';
import type { Timer } from '../../host/host.ts';
import type { Kernel } from '../kernel.ts';
import type { Handle } from '../object.ts';
import { overtaken } from '../transaction.ts';
import { LoadedContext } from './contexts.ts';
import { barAll } from './guard.ts';
import { judgedAs } from './records.ts';
import { grantedBy } from './rule.ts';
import { Judge, isRefusal, type Accepted, type Refusal } from './statements.ts';

/** Says which rights somebody has. */
export interface Authority {
  /** RIGHT bits to an object, by the active context, with the automatic switch. `want`: rights asked for; `gate`: offset of the entry, for gated capabilities. */
  rightsTo(h: Handle, want: number, gate?: number): number;
  /** Raised whenever a revocation, attach, detach or mask may have changed an answer. */
  readonly epoch: number;
  /** Takes note of what has changed. */
  look?(): void;
}

/** What the authorities of one kernel share. */
export class SecurityState {
  readonly judge: Judge;
  /** Raised by changes of contexts and revocations that this process makes. */
  epoch = 0;
  readonly #kernel: Kernel;
  readonly #contexts = new Map<ObjectId, LoadedContext>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.judge = new Judge(kernel);
  }

  context(id: ObjectId): LoadedContext {
    let context = this.#contexts.get(id);
    // An object that was deleted and came back has another handle where the first was never committed.
    if (context === undefined || context.h !== this.#kernel.handle(id)) {
      context = new LoadedContext(this.#kernel.handle(id));
      this.#contexts.set(id, context);
    }
    return context;
  }

  /** The running transaction changed a context, or revoked something. */
  changed(context?: ObjectId): void {
    if (context !== undefined) this.#contexts.get(context)?.invalidate();
    this.epoch++;
  }

  /** What was changed is committed: from now on nobody, in no process, goes by what held before. */
  announce(): void {
    const { live } = this.#kernel;
    if (live === undefined || live.sole) return;
    Atomics.add(live.i32, LIVE.rights >> 2, 1);
    live.announce();
  }
}

const states = new WeakMap<Kernel, SecurityState>();

export function securityOf(kernel: Kernel): SecurityState {
  let state = states.get(kernel);
  if (state === undefined) {
    state = new SecurityState(kernel);
    states.set(kernel, state);
  }
  return state;
}

/** What one context says of one object. */
interface Verdict {
  readonly rights: number;
  /** For entering alone. */
  readonly gated: readonly { readonly gate: Gate; readonly rights: number }[];
}

interface Attached {
  readonly context: LoadedContext;
  readonly verdicts: Map<Handle, Verdict>;
  generation: number;
}

/** How one item of a context was judged. */
export interface ItemFinding {
  readonly item: Uint8Array;
  readonly verdict: Accepted | Refusal;
}

/** What one context says of one object, and why. */
export interface Finding {
  readonly context: ObjectId;
  readonly active: boolean;
  readonly undetachable: boolean;
  /** False: deleted or damaged, and gives nothing. */
  readonly valid: boolean;
  readonly defaults: number;
  readonly items: readonly ItemFinding[];
  readonly globalMask: number;
  readonly mask: { readonly rights: number; readonly override: number } | undefined;
  /** Before the masks. */
  readonly given: number;
  readonly granted: number;
}

const NOTHING: Verdict = { rights: 0, gated: [] };
const NO_GATES: Verdict['gated'] = [];
/** Timers take no longer times. */
const TIMER_MAX = 2 ** 30;

export class ContextAuthority implements Authority {
  readonly #kernel: Kernel;
  readonly #state: SecurityState;
  readonly #attached: Attached[] = [];
  #active: Attached | undefined;
  #epoch = 0;
  /** When the first capability expires that a verdict goes by. */
  #soonest = Infinity;
  #timer: Timer | undefined;
  #timerAt = Infinity;
  #steps = -1;
  #stateEpoch = -1;
  #rights = -1;
  #members = -1;

  constructor(kernel: Kernel, contexts: readonly ObjectId[] = []) {
    this.#kernel = kernel;
    this.#state = securityOf(kernel);
    for (const id of contexts) this.attach(id);
    this.look();
  }

  // --- judging ------------------------------------------------------------------------------------------------------------

  rightsTo(h: Handle, want: number, gate?: number): number {
    this.look();
    const active = this.#active;
    if (active === undefined) return defaultRights(h);
    const rights = this.#in(active, h, gate);
    if ((rights & want) === want || active.context.undetachable) return rights;
    for (const other of this.#attached) {
      if (other === active) continue;
      const there = this.#in(other, h, gate);
      if ((there & want) !== want) continue;
      this.#active = other;
      // From here there is no way back: what the others gave is gone.
      if (other.context.undetachable) this.#raise();
      return there;
    }
    return rights;
  }

  #in(attached: Attached, h: Handle, entry: number | undefined): number {
    let verdict = attached.verdicts.get(h);
    if (verdict === undefined) {
      verdict = this.#judge(attached.context, judgedAs(h));
      attached.verdicts.set(h, verdict);
    }
    let { rights } = verdict;
    if (entry !== undefined) for (const { gate, rights: more } of verdict.gated) if (admits(gate, entry)) rights |= more;
    return rights;
  }

  #judge(context: LoadedContext, h: Handle): Verdict {
    const { image } = context;
    if (image === undefined) return NOTHING;
    const mask = context.masks.get(h.id);
    let given = defaultRights(h);
    let gated: { gate: Gate; rights: number }[] | undefined;
    for (const item of context.items.get(h.id) ?? NO_ITEMS) {
      const verdict = this.#item(item, h, context.h.id);
      if (isRefusal(verdict)) continue;
      this.#expiresAt(verdict.until);
      if (verdict.gate === undefined) given |= verdict.rights;
      else (gated ??= []).push({ gate: verdict.gate, rights: grantedBy(verdict.rights, image.globalMask, mask) });
    }
    return { rights: grantedBy(given, image.globalMask, mask), gated: gated ?? NO_GATES };
  }

  #item(item: Uint8Array, h: Handle, accessor: ObjectId): Accepted | Refusal {
    try {
      return this.#state.judge.judge(decodeChain(item), h, accessor);
    } catch (error) {
      if (error instanceof TwzError) return { reason: error.name, message: error.message };
      throw error;
    }
  }

  #expiresAt(time: number): void {
    if (time >= this.#soonest) return;
    this.#soonest = time;
    // Who reads what is shown already asks nobody: it is barred when its time is over.
    if (this.#kernel.authority !== this || time >= this.#timerAt) return;
    this.#timer?.cancel();
    this.#timerAt = time;
    this.#timer = this.#kernel.host.timer(Math.min(TIMER_MAX, Math.max(1, time - this.#kernel.host.time())), () => {
      this.#timerAt = Infinity;
      if (!this.#kernel.closed && this.#kernel.transaction === undefined) this.look();
    });
  }

  /** What each attached context says of an object, the active one first, and why. */
  explain(object: Handle): Finding[] {
    this.look();
    const h = judgedAs(object);
    const defaults = defaultRights(h);
    const those = [...this.#attached].sort((a, b) => Number(b === this.#active) - Number(a === this.#active));
    return those.map((attached) => {
      const { context } = attached;
      const mask = context.masks.get(h.id);
      const globalMask = context.image?.globalMask ?? 0;
      const items = (context.items.get(h.id) ?? NO_ITEMS).map((item) => ({ item, verdict: this.#item(item, h, context.h.id) }));
      let given = defaults;
      for (const { verdict } of items) if (!isRefusal(verdict) && verdict.gate === undefined) given |= verdict.rights;
      return {
        context: context.h.id,
        active: attached === this.#active,
        undetachable: context.undetachable,
        valid: context.image !== undefined,
        defaults,
        items,
        globalMask,
        mask,
        given,
        granted: context.image === undefined ? 0 : grantedBy(given, globalMask, mask),
      };
    });
  }

  // --- contexts -----------------------------------------------------------------------------------------------------------

  /** In the order in which they were attached. */
  get contexts(): readonly ObjectId[] {
    return this.#attached.map(({ context }) => context.h.id);
  }

  /** Undefined where nothing is attached: then the default rights hold. */
  get active(): ObjectId | undefined {
    return this.#active?.context.h.id;
  }

  /** Adds a context; the first becomes the active one. Throws ContextInvalid. */
  attach(id: ObjectId): void {
    if (this.#attached.some(({ context }) => context.h.id === id)) return;
    if (!this.#kernel.has(id)) throw new TwzError('ContextInvalid', `there is no context ${id}`, { id });
    const context = this.#state.context(id);
    context.refresh();
    if (context.image === undefined) throw new TwzError('ContextInvalid', `object ${id} is no security context`, { id });
    const attached = { context, verdicts: new Map<Handle, Verdict>(), generation: context.generation };
    this.#attached.push(attached);
    this.#active ??= attached;
    this.#raise();
  }

  /** Takes a context off. The next of those that are left becomes active. Throws ContextUndetachable, ContextDetached. */
  detach(id: ObjectId): void {
    const attached = this.#find(id);
    if (attached.context.undetachable) throw undetachable(id);
    this.#attached.splice(this.#attached.indexOf(attached), 1);
    if (this.#active === attached) this.#active = this.#attached[0];
    this.#raise();
  }

  /** Makes an attached context the active one. Throws ContextUndetachable, ContextDetached. */
  activate(id: ObjectId): void {
    const attached = this.#find(id);
    if (attached === this.#active) return;
    if (this.#active?.context.undetachable === true) throw undetachable(this.#active.context.h.id);
    this.#active = attached;
    this.#raise();
  }

  #find(id: ObjectId): Attached {
    const attached = this.#attached.find(({ context }) => context.h.id === id);
    if (attached === undefined) throw new TwzError('ContextDetached', `context ${id} is not attached`, { id });
    return attached;
  }

  // --- what has changed ---------------------------------------------------------------------------------------------------

  get epoch(): number {
    this.look();
    return this.#epoch;
  }

  look(): void {
    const kernel = this.#kernel;
    const { live } = kernel;
    if (live !== undefined && !live.sole) {
      const rights = Atomics.load(live.i32, LIVE.rights >> 2);
      if (rights !== this.#rights) this.#others(rights);
    }
    if (kernel.commits + kernel.aborts !== this.#steps || this.#state.epoch !== this.#stateEpoch) this.#compare();
    if (this.#soonest !== Infinity && kernel.host.time() >= this.#soonest) this.#raise();
  }

  /** Another process has changed rights. A transaction that does not see that yet is undone, and runs again. */
  #others(rights: number): void {
    const kernel = this.#kernel;
    if (kernel.transaction === undefined) kernel.follower?.catchUp();
    else if (kernel.follower?.current === false) throw overtaken(kernel.transaction, -1);
    this.#rights = rights;
    this.#raise();
  }

  /** Transactions have ended, or contexts were changed here: is what the contexts say still the same? */
  #compare(): void {
    const { commits, aborts } = this.#kernel;
    this.#steps = commits + aborts;
    const { live } = this.#kernel;
    const members = live === undefined ? 0 : Atomics.load(live.i32, LIVE.epoch >> 2);
    // Who has gone may have died between changing rights and saying so.
    let changed = this.#state.epoch !== this.#stateEpoch || members !== this.#members;
    this.#members = members;
    this.#stateEpoch = this.#state.epoch;
    for (const attached of this.#attached) {
      attached.context.refresh();
      if (attached.generation === attached.context.generation) continue;
      attached.generation = attached.context.generation;
      changed = true;
    }
    if (changed) this.#raise();
  }

  #raise(): void {
    this.#epoch++;
    this.#soonest = Infinity;
    for (const { verdicts } of this.#attached) verdicts.clear();
    if (this.#kernel.authority === this) barAll(this.#kernel);
  }
}

/** From now on what this program may do is judged by these contexts, the first of them active. Throws ContextInvalid. */
export function actBy(kernel: Kernel, contexts: readonly ObjectId[]): ContextAuthority {
  const authority = new ContextAuthority(kernel, contexts);
  kernel.authority = authority;
  barAll(kernel);
  return authority;
}

const NO_ITEMS: readonly Uint8Array[] = [];

function undetachable(id: ObjectId): TwzError {
  return new TwzError('ContextUndetachable', `context ${id} is undetachable: it stays attached and active`, { id });
}

/** What the header says, which the ID binds. */
function defaultRights(h: Handle): number {
  if (!h.verified) h.reach();
  return h.rights & RIGHTS_ALL;
}

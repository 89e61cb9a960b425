/**
 * A cluster under faults, checked: some nodes on simulated machines, one engine, clients on every node that do what programs do, and
 * whatever can go wrong going wrong, all of it from one seed and in virtual time.
 *
 *   load     clients change objects alone and together, read them, make and delete some     faults come and go, and so do copies
 *   quiet    all faults are healed, all nodes are there, everybody catches up
 *   verdict  the history has one order (history.ts); nothing acknowledged is lost; logs are whole; replicas are their owner's, byte for byte
 *
 * At every step of the schedule every node is looked at: what is written together is seen together, and no call is past its deadline.
 */
import { isTwzError, TwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { LOSS_MODES } from '../../host/simulated/loss.ts';
import { Random } from '../../host/simulated/random.ts';
import { isReplica } from '../../kernel/afar.ts';
import { wasDeleted } from '../../kernel/lifetime.ts';
import { POOL_LIMITS } from '../../lib/collections/pool.ts';
import { orderedMap } from '../../lib/collections/ordered-map.ts';
import { f64, text } from '../../lib/fields.ts';
import { struct } from '../../lib/struct.ts';
import type { ClusterNode } from '../../services/cluster/node.ts';
import type { PieceSizes } from '../../services/cluster/transfer.ts';
import type { Space } from '../../space.ts';
import { judgeConverged } from './converged.ts';
import { judgeDeletions, judgeGone, type Deletion } from './deletions.ts';
import { SimulatedEngines } from './engine.ts';
import { Holders } from './holders.ts';
import { CheckFailure, type CheckOptions, type CheckResult } from './failure.ts';
import { History, type Final, type Step } from './history.ts';
import { Kinds } from './kinds.ts';
import { Member } from './member.ts';

export { CheckFailure, type CheckOptions, type CheckResult } from './failure.ts';

export const Cell = struct('CheckCell', { tag: f64, count: f64, balance: f64 });
export const Ledger = struct('CheckLedger', { tag: f64, count: f64, balance: f64, entries: orderedMap(f64, text) });

/** With odd seeds, objects go in many pieces, which are copied when they are asked for. */
const SMALL: PieceSizes = { first: 4096, piece: 3000, live: 4096, dense: 0 };

/** An object that clients know. */
interface Known {
  readonly name: string;
  readonly id: ObjectId;
  readonly ledger: boolean;
  /** The step that made it; 0: it was there before. */
  readonly made: number;
  readonly deletions: Deletion[];
  /** When a deletion of it was acknowledged. */
  gone: number;
  /** It outlives its nodes: some commit of it was acknowledged. */
  kept: boolean;
}

/** Objects that are written together: equal, or the sum of their balances stays. */
interface Together {
  readonly kind: 'equal' | 'sum';
  readonly members: readonly Known[];
}

interface Running {
  readonly step: Step;
  readonly deadline: number;
  readonly member: Member;
  readonly life: number;
  /** Milliseconds that its node was stopped meanwhile. */
  grace: number;
}

const CLIENTS = 2;
const PER_BATCH = 10;
/** A call may end so many milliseconds after its deadline: what it waited for last is told then. */
const SLACK_MS = 20;
/** What is deleted is asked for so long yet, in milliseconds. */
const REMEMBERED_MS = 2000;
const QUIET_MS = 120_000;
const POOL = { home: 16 << 10, member: 64 << 10 };

export class Check {
  readonly #options: CheckOptions;
  readonly #random: Random;
  readonly #engines: SimulatedEngines;
  readonly #members: Member[];
  readonly #history = new History();
  readonly #running = new Set<Running>();
  readonly #objects: Known[] = [];
  readonly #together: Together[] = [];
  readonly #holders = new Holders();
  #failure: CheckFailure | undefined;
  #loading = false;
  #clients = 0;
  #settled = true;
  readonly #kinds = new Kinds();
  readonly #counts = { faults: 0, moves: 0, successions: 0, looks: 0, evictions: 0, deletions: 0, reclaimed: 0 };

  constructor(options: CheckOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#engines = new SimulatedEngines({
      seed: options.seed,
      maxPayload: this.#random.pick([1 << 20, 64 << 10]) ?? 1 << 20,
      weather: { latency: this.#random.pick([[0.1, 1] as const, [0.5, 20] as const]) ?? [0.1, 1] },
    });
    this.#members = Array.from(
      { length: options.nodes ?? 3 },
      (_, i) =>
        new Member(
          this.#engines,
          'abcdefgh'[i] ?? 'x',
          options.seed * 1000 + i,
          options.seed % 2 === 0 ? undefined : SMALL,
          options.spoiled,
        ),
    );
  }

  get #now(): number {
    return this.#engines.schedule.now;
  }

  #tell(line: string): void {
    this.#options.tell?.(`${this.#now.toFixed(1).padStart(9)}  ${line}`);
  }

  #fail(kind: CheckFailure['kind'], message: string, cause?: unknown): void {
    this.#failure ??= new CheckFailure(this.#options.seed, kind, message, cause);
  }

  /** Runs it all. Throws CheckFailure. */
  async run(): Promise<CheckResult> {
    const before = { ...POOL_LIMITS };
    Object.assign(POOL_LIMITS, POOL);
    try {
      await this.#until(Promise.all(this.#members.map((member) => member.start())), 60_000, 'the beginning');
      await this.#furnish();
      this.#loading = true;
      const clients = (this.#options.deletions ?? true) ? CLIENTS + 1 : CLIENTS;
      for (const member of this.#members) for (let i = 0; i < clients; i++) void this.#client(member, i);
      void this.#kindsLoad();
      if (this.#options.evictions ?? true) void this.#evictions();
      if (this.#options.faults ?? true) void this.#weather();
      await this.#elapse(this.#options.ms ?? 8000);
      this.#loading = false;
      await this.#calm();
      return await this.#judge();
    } finally {
      this.#loading = false;
      for (const member of this.#members) member.die();
      Object.assign(POOL_LIMITS, before);
    }
  }

  // --- time -------------------------------------------------------------------------------------------------------------------------

  async #step(ms: number): Promise<boolean> {
    const stepped = await this.#engines.step(ms);
    for (const member of this.#members) await member.follow();
    this.#look();
    if (this.#failure !== undefined) throw this.#failure;
    return stepped;
  }

  async #elapse(ms: number): Promise<void> {
    const end = this.#now + ms;
    while (await this.#step(end - this.#now));
    this.#engines.schedule.now = end;
  }

  async #until<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
    const state = { settled: false };
    const over = (): void => void (state.settled = true);
    promise.then(over, over);
    const end = this.#now + ms;
    while (!state.settled) {
      if (await this.#step(end - this.#now)) continue;
      this.#fail('hung', `${what} does not end`);
      throw this.#failure ?? new Error(what);
    }
    return promise;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#engines.clock.timer(ms, resolve));
  }

  // --- looking on -------------------------------------------------------------------------------------------------------------------

  #look(): void {
    for (const running of this.#running) {
      const { step, deadline, grace, member, life } = running;
      if (member.life !== life || member.paused) continue;
      if (this.#now > deadline + grace + SLACK_MS) {
        this.#fail('hung', `${this.#history.tell(step.id)} is still under way at ${this.#now.toFixed(1)}`);
        return;
      }
    }
    for (const { node, name, paused } of this.#members) {
      if (node === undefined || paused || node.space.closed) continue;
      for (const together of this.#together) this.#lookAt(name, node.space, together);
      for (const known of this.#objects) if (known.deletions.length > 0) this.#lookAtDeleted(name, node.space, known);
    }
  }

  /** Whoever reads now must not see a part. */
  #lookAt(name: string, space: Space, { kind, members }: Together): void {
    const { kernel } = space;
    const cells = members.filter(({ id }) => kernel.has(id)).map(({ id }) => space.get(id, Cell));
    if (cells.length < (kind === 'equal' ? 2 : members.length)) return;
    this.#counts.looks++;
    const told = (): string =>
      `${members.map((each) => each.name).join(', ')} on ${name} at ${this.#now.toFixed(1)}: ${cells.map(({ tag, count, balance }) => `${balance} by ${this.#history.tell(tag)} (${count})`).join('; ')}`;
    if (kind === 'equal' && cells.some(({ tag }) => tag !== cells[0]?.tag)) this.#fail('torn', told());
    if (kind === 'sum' && cells.reduce((sum, { balance }) => sum + balance, 0) !== 100 * cells.length) this.#fail('torn', told());
  }

  /** What was written together with its deletion is not seen with it. */
  #lookAtDeleted(name: string, space: Space, known: Known): void {
    if (!space.kernel.has(known.id)) return;
    for (const { step, also } of known.deletions)
      if (also !== undefined && space.kernel.has(also.id) && space.get(also.id, also.ledger ? Ledger : Cell).tag === step.id)
        this.#fail('torn', `${name} has ${known.name}, and ${also.name} by ${this.#history.tell(step.id)}`);
  }

  // --- what there is ----------------------------------------------------------------------------------------------------------------

  async #furnish(): Promise<void> {
    const make = (member: Member, name: string, ledger = false): Known => {
      const { node } = member;
      if (node === undefined) throw new Error('a node is not there');
      const id = node.space.relaxed(() => {
        const init = { tag: 0, count: 0, balance: 100 };
        return node.space.object(ledger ? node.space.create(Ledger, init) : node.space.create(Cell, init)).id;
      });
      const known = { name, id, ledger, made: 0, deletions: [], gone: Infinity, kept: false };
      this.#objects.push(known);
      return known;
    };
    const [first, second, third] = this.#members as [Member, Member, Member];
    make(first, 'r0');
    make(second, 'r1');
    make(third, 'l0', true);
    make(first, 'l1', true);
    this.#together.push({ kind: 'equal', members: [make(first, 'p0'), make(first, 'p1')] });
    this.#together.push({ kind: 'equal', members: [make(second, 'q0'), make(second, 'q1'), make(third, 'q2')] });
    this.#together.push({ kind: 'sum', members: [make(second, 'b0'), make(second, 'b1'), make(third, 'b2')] });
    for (const { node } of this.#members) if (node !== undefined) this.#holders.furnish(node);
    this.#kinds.furnish(first.node as ClusterNode);
    await this.#elapse(100);
  }

  // --- clients ----------------------------------------------------------------------------------------------------------------------

  async #client(member: Member, number: number): Promise<void> {
    const isMortal = number === CLIENTS;
    const random = new Random(this.#options.seed * 77 + number * 7 + member.name.charCodeAt(0));
    this.#clients++;
    try {
      while (this.#loading) {
        await this.#sleep(random.below((isMortal ? 3 : 1) * (random.pick([10, 80, 400]) ?? 10)));
        if (!this.#loading || !member.up || member.paused) continue;
        await (isMortal ? this.#actOnMortals(member, random) : this.#act(member, random));
      }
    } catch (error) {
      this.#fail('wrong', `a client on ${member.name} got what is no error of ours: ${described(error)}`, error);
    } finally {
      this.#clients--;
    }
  }

  #alone(): Known[] {
    return this.#objects.filter(
      (each) => this.#now < each.gone + REMEMBERED_MS && !this.#together.some(({ members }) => members.includes(each)),
    );
  }

  /** Makes things that go, deletes some together with something that stays, and makes, moves and drops references, and reclaims. */
  async #actOnMortals(member: Member, random: Random): Promise<void> {
    const ms = random.pick([400, 2000, 8000]) ?? 2000;
    const at = random.below(10);
    if (at < 2) return this.#do(member, 'make', ms, (act) => this.#make(act, false));
    if (at < 6) {
      const { what, body } = this.#holders.act(random);
      return this.#do(member, what, ms, async (act) => {
        await body(act);
        // Nothing of that is in the history.
        act.step.saw.clear();
      });
    }
    const alone = this.#alone();
    const mortal = random.pick(alone.filter(({ made }) => made !== 0));
    const also = random.pick(alone.filter(({ made }) => made === 0));
    if (mortal === undefined || also === undefined) return;
    await this.#do(member, `delete ${mortal.name} and add to ${also.name}`, ms, (act) => this.#delete(act, mortal, also));
  }

  /** Appends and counts, of nodes at random. */
  async #kindsLoad(): Promise<void> {
    const random = new Random(this.#options.seed * 53 + 3);
    this.#clients++;
    try {
      while (this.#loading) {
        await this.#sleep(random.below(250));
        const member = random.pick(this.#members.filter(({ up, paused }) => up && !paused));
        if (!this.#loading || member === undefined) continue;
        const { what, body } = this.#kinds.act(random, (kind, message) => this.#fail(kind, message));
        void this.#do(member, what, random.pick([400, 2000, 8000]) ?? 2000, body);
      }
    } finally {
      this.#clients--;
    }
  }

  async #act(member: Member, random: Random): Promise<void> {
    const at = random.below(100);
    const alone = this.#alone();
    const some = random.pick(alone);
    const together = random.pick(this.#together);
    if (some === undefined || together === undefined) return;
    const ms = random.pick([400, 2000, 8000]) ?? 2000;
    if (at < 30) await this.#do(member, `add to ${some.name}`, ms, (act) => this.#write(act, [some]));
    else if (at < 60) {
      const chosen = together.kind === 'equal' ? together.members : pickTwo(together.members, random);
      const amount = together.kind === 'sum' ? 1 + random.below(5) : 0;
      await this.#do(member, `${together.kind} ${names(chosen)}`, ms, (act) => this.#write(act, chosen, amount));
    } else if (at < 72) await this.#do(member, `read ${some.name}`, ms, (act) => this.#read(act, [some]));
    else if (at < 84) await this.#do(member, `read ${names(together.members)}`, ms, (act) => this.#read(act, together.members));
    else if (at < 90) await this.#do(member, `bring ${names(together.members)}`, ms, (act) => this.#bring(act, together.members));
    else if (at < 95) await this.#do(member, 'make', ms, (act) => this.#make(act, random.chance(0.3)));
    else if (some.made !== 0) await this.#do(member, `delete ${some.name}`, ms, (act) => this.#delete(act, some, undefined));
  }

  /** One step of a client. It ends in a value or in an error of ours, or with its node. */
  async #do(member: Member, what: string, ms: number, body: (act: Act) => Promise<void>): Promise<void> {
    const { node, life } = member;
    if (node === undefined) return;
    const step = this.#history.begin(member.name, what, this.#now);
    const running: Running = { step, deadline: this.#now + ms, member, life, grace: 0 };
    this.#running.add(running);
    const act: Act = { step, node, deadline: node.clock.now() + ms, committed: false };
    const kept = new Set(this.#objects.filter((each) => each.kept));
    const ended = new Promise<void>((resolve) => this.#ends.set(running, resolve));
    const work = body(act).then(
      () => {
        if (member.life === life) step.outcome = 'done';
      },
      (error: unknown) => {
        if (member.life !== life) return;
        if (!isTwzError(error)) throw error;
        step.error = error.name;
        step.outcome = act.committed && error.name !== 'Fenced' ? 'unknown' : 'refused';
        const missing = [...kept].find(({ id }) => error.name === 'ObjectMissing' && error.context['id'] === id);
        const { id } = error.context;
        const alive = this.#objects.find((each) => each.id === id && each.deletions.length === 0);
        if (alive !== undefined && error.name === 'ObjectDeleted' && wasDeleted(node.space.kernel, alive.id))
          this.#fail('lost', `${this.#history.tell(step.id)}: ${alive.name} was never deleted`, error);
        if (missing !== undefined) this.#fail('lost', `${this.#history.tell(step.id)}: ${missing.name} is nowhere`, error);
        if (error.name === 'EngineCorrupt') this.#fail('wrong', `${this.#history.tell(step.id)}: ${error.message}`, error);
      },
    );
    try {
      await Promise.race([work, ended]);
    } finally {
      this.#ends.delete(running);
      this.#running.delete(running);
      if (step.outcome === 'running') step.outcome = act.committed ? 'unknown' : 'refused';
      // What is not known may have its effect later.
      if (step.outcome !== 'unknown') step.end = this.#now;
      this.#tell(this.#history.tell(step.id));
    }
  }

  readonly #ends = new Map<Running, () => void>();

  /** A node has died, and its clients with it. */
  #endAll(member: Member): void {
    for (const [running, end] of this.#ends) if (running.member === member) end();
  }

  async #own(act: Act, objects: readonly Known[]): Promise<void> {
    for (const { id } of objects) await act.node.own(id, act.deadline);
  }

  /** A transaction over objects: each gets the number of the step, and what it had is noted. */
  async #write(act: Act, objects: readonly Known[], amount = 0): Promise<void> {
    const { node, step } = act;
    const { space } = node;
    await this.#transact(act, objects, () => {
      for (const [i, object] of objects.entries()) this.#stamp(act, object, amount > 0 && i === 0 ? -amount : amount);
    });
    for (const { name } of objects) step.wrote.add(name);
    const ids = objects.map(({ id }) => id);
    await node.replicated(space.kernel.log.end, ids, act.deadline);
    for (const object of objects) object.kept = true;
    this.#demandThere(act, objects);
  }

  #stamp({ node, step }: Act, { id, name, ledger }: Known, amount = 0): void {
    const { space } = node;
    const cell = ledger ? space.get(id, Ledger) : space.get(id, Cell);
    step.saw.set(name, cell.tag);
    cell.tag = step.id;
    cell.count++;
    cell.balance += amount;
    if (ledger) addTo(space.get(id, Ledger).entries, step.id);
  }

  async #transact(act: Act, objects: readonly Known[], body: () => void): Promise<void> {
    const { node, step } = act;
    for (;;) {
      await this.#own(act, objects);
      try {
        node.space.relaxed(() => {
          step.saw.clear();
          body();
        });
        break;
      } catch (error) {
        // It went to another node before this one came to it.
        if (!isTwzError(error, 'NotJoined')) throw error;
        if (node.clock.now() >= act.deadline) throw new TwzError('TimedOut', 'others were always faster');
        await node.pause(1 + this.#random.below(10));
      }
    }
    act.committed = true;
  }

  /** What was gone before somebody asked for it must not be there. */
  #demandThere({ step }: Act, objects: readonly Known[]): void {
    const again = objects.find(({ gone }) => gone < step.start);
    if (again !== undefined) this.#fail('wrong', `${this.#history.tell(step.id)}: ${again.name} is gone since ${again.gone.toFixed(1)}`);
  }

  /** What is read counts when nobody else can have come before it. */
  async #read(act: Act, objects: readonly Known[]): Promise<void> {
    const { node, step } = act;
    const { space } = node;
    for (const { id } of objects) await node.freshen(id, act.deadline);
    const saw: [string, number][] = objects.map(({ id, name, ledger }) => [
      name,
      (ledger ? space.get(id, Ledger) : space.get(id, Cell)).tag,
    ]);
    const owned = objects.filter(({ id }) => !isReplica(space.kernel.open(id))).map(({ id }) => id);
    if (owned.length > 0) await node.replicated(space.kernel.log.end, owned, act.deadline);
    for (const [name, tag] of saw) step.saw.set(name, tag);
    this.#demandThere(act, objects);
  }

  async #bring(act: Act, objects: readonly Known[]): Promise<void> {
    for (const { id } of objects)
      if (!(await act.node.bring(id, act.deadline))) throw new TwzError('ObjectMissing', 'no node has it', { id });
  }

  async #make(act: Act, ledger: boolean): Promise<void> {
    const { node, step } = act;
    const { space } = node;
    const id = space.relaxed(() => {
      const init = { tag: step.id, count: 0, balance: 100 };
      return space.object(ledger ? space.create(Ledger, init) : space.create(Cell, init)).id;
    });
    await node.replicated(space.kernel.log.end, [id], act.deadline);
    this.#objects.push({ name: `n${step.id}`, id, ledger, made: step.id, deletions: [], gone: Infinity, kept: true });
  }

  /** Alone, or in one transaction with something that is written. */
  async #delete(act: Act, known: Known, also: Known | undefined): Promise<void> {
    const { node, step } = act;
    const { space } = node;
    await this.#transact(act, also === undefined ? [known] : [also, known], () => {
      if (also !== undefined) this.#stamp(act, also);
      space.delete(known.id);
    });
    if (also !== undefined) step.wrote.add(also.name);
    known.deletions.push({ step, also });
    this.#counts.deletions++;
    await node.replicated(space.kernel.log.end, also === undefined ? [known.id] : [known.id, also.id], act.deadline);
    this.#demandThere(act, [known]);
    known.gone = Math.min(known.gone, this.#now);
  }

  // --- caches -----------------------------------------------------------------------------------------------------------------------

  /** Copies go from nodes at any time, as if there were no room for them. */
  async #evictions(): Promise<void> {
    const random = new Random(this.#options.seed * 31 + 5);
    const often = random.pick([5, 50, 500]) ?? 50;
    while (this.#loading) {
      await this.#sleep(random.below(often) + 1);
      const node = random.pick(this.#members.filter(({ up, paused }) => up && !paused))?.node;
      const family = random.pick([...(node?.table.byId.values() ?? [])].filter(({ role }) => role === 'replica'));
      if (!this.#loading || node === undefined || family === undefined || !node.cache.evict(family)) continue;
      this.#counts.evictions++;
      this.#tell(`${node.name}: ${this.#objects.find(({ id }) => id === family.id)?.name ?? family.id} goes`);
    }
  }

  // --- faults -----------------------------------------------------------------------------------------------------------------------

  async #weather(): Promise<void> {
    const random = this.#random;
    this.#settled = false;
    try {
      const often = random.pick([300, 1500]) ?? 300;
      while (this.#loading) {
        await this.#sleep(random.below(often) + 20);
        if (this.#loading) await this.#fault(random);
      }
    } catch (error) {
      this.#fail('wrong', `a node does not begin: ${described(error)}`, error);
    } finally {
      this.#settled = true;
    }
  }

  async #fault(random: Random): Promise<void> {
    const member = random.pick(this.#members.filter(({ up, paused }) => up && !paused));
    if (member === undefined) return;
    this.#counts.faults++;
    const ms = random.pick([30, 300, 3000, 9000]) ?? 30;
    const tell = (what: string): void => this.#tell(`${member.name}: ${what}, ${ms} ms`);
    const engines = this.#engines;
    switch (random.below(9)) {
      case 0:
      case 1: {
        const plan = random.chance(0.4) ? { mode: random.pick(LOSS_MODES) ?? 'lose', seed: random.u32() } : undefined;
        tell(plan === undefined ? 'dies' : `loses its power (${plan.mode})`);
        this.#count(member);
        member.die(plan);
        this.#endAll(member);
        await this.#sleep(ms);
        await member.start();
        return this.#tell(`${member.name}: is there again`);
      }
      case 2:
        tell('is stopped');
        member.pause();
        await this.#sleep(ms);
        for (const running of this.#running) if (running.member === member) running.grace += ms;
        return member.resume();
      case 3:
        tell('is cut off');
        engines.cut(member.name);
        await this.#sleep(ms);
        return engines.heal(member.name);
      case 4:
        tell('is slow');
        engines.delay(member.name, 1 + random.below(200));
        await this.#sleep(ms);
        return engines.delay(member.name, 0);
      case 5:
        tell('and all others: messages are lost');
        engines.lose(random.pick([0.02, 0.2]) ?? 0.02);
        await this.#sleep(ms);
        return engines.lose(0);
      case 6:
        tell('server dies');
        engines.killServer();
        await this.#sleep(ms);
        return engines.startServer();
      case 7:
        tell('server is stopped');
        engines.pauseServer();
        await this.#sleep(ms);
        return engines.resumeServer();
      default:
        tell('leaves');
        this.#count(member);
        await member.stop();
        this.#endAll(member);
        await this.#sleep(ms);
        return member.start();
    }
  }

  #count({ node }: Member): void {
    if (node === undefined) return;
    this.#counts.moves += node.ownership.taken;
    this.#counts.successions += node.ownership.succeeded;
  }

  // --- the end ----------------------------------------------------------------------------------------------------------------------

  /** Nothing is wrong any more: everything ends, and everybody has the same. */
  async #calm(): Promise<void> {
    this.#tell('calm');
    const end = this.#now + QUIET_MS;
    while (this.#clients > 0 || !this.#settled || this.#running.size > 0)
      if (this.#now > end || !(await this.#step(end - this.#now))) {
        this.#fail('hung', `${this.#clients} clients, faults ${this.#settled ? 'over' : 'not over'}`);
        throw this.#failure ?? new Error('hung');
      }
    await this.#elapse(10_000);
  }

  async #judge(): Promise<CheckResult> {
    for (const member of this.#members) this.#count(member);
    const nodes = this.#members.map(({ node }) => node as ClusterNode);
    const fail = (kind: CheckFailure['kind'], message: string): void => this.#fail(kind, message);
    const doomed: (Known & { readonly isGone: boolean })[] = [];
    for (const known of this.#objects) {
      if (known.deletions.length === 0) continue;
      const gone = await this.#until(judgeGone(nodes, known, fail), QUIET_MS, `learning what became of ${known.name}`);
      if (gone !== undefined) doomed.push({ ...known, isGone: gone });
    }
    const living = this.#objects.filter(({ name }) => !doomed.some((each) => each.isGone && each.name === name));
    await this.#until(
      judgeConverged(
        nodes,
        living.map(({ id, name }) => ({ id, name })),
        fail,
      ),
      QUIET_MS,
      'converging',
    );
    await this.#until(this.#kinds.judge(nodes, fail), QUIET_MS, 'judging the kinds');
    if (this.#failure !== undefined) throw this.#failure;
    const final = new Map<string, Final>();
    const [first] = nodes as [ClusterNode];
    for (const { id, name, ledger, made } of living) {
      const { tag, count } = ledger ? first.space.get(id, Ledger) : first.space.get(id, Cell);
      if (ledger) {
        const { size } = first.space.get(id, Ledger).entries;
        if (size !== count * PER_BATCH) this.#fail('wrong', `${name} has ${size} entries of ${count} steps`);
      }
      final.set(name, { tag, count, made });
    }
    await this.#until(this.#holders.judge(nodes), QUIET_MS, 'finding what is referred to');
    this.#counts.reclaimed = this.#holders.reclaimed;
    const verdict = this.#history.judge(final);
    for (const kind of ['lost', 'duplicated', 'wrong'] as const) {
      const [one] = verdict[kind];
      if (one !== undefined) this.#fail(kind, `${one}${verdict[kind].length > 1 ? `, and ${verdict[kind].length - 1} more` : ''}`);
    }
    judgeDeletions(doomed, verdict.took, (id) => this.#history.tell(id), fail);
    if (this.#failure !== undefined) throw this.#failure;
    const { steps } = this.#history;
    const count = (outcome: Step['outcome']): number => steps.filter((step) => step.outcome === outcome).length;
    return {
      seed: this.#options.seed,
      steps: steps.length,
      acknowledged: count('done'),
      refused: count('refused'),
      unknown: count('unknown'),
      effects: verdict.effects,
      ...this.#counts,
    };
  }
}

interface Act {
  readonly step: Step;
  readonly node: ClusterNode;
  readonly deadline: number;
  committed: boolean;
}

function names(objects: readonly Known[]): string {
  return objects.map(({ name }) => name).join(', ');
}

function pickTwo(objects: readonly Known[], random: Random): Known[] {
  const first = random.below(objects.length);
  const second = (first + 1 + random.below(objects.length - 1)) % objects.length;
  return [objects[first] as Known, objects[second] as Known];
}

function addTo(entries: { set(key: number, value: string): unknown }, step: number): void {
  for (let i = 0; i < PER_BATCH; i++) entries.set(step * 1000 + i, `${step}/${i} `.repeat(20));
}

function described(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/**
 * The simulation: a random program on a simulated machine, and the power lost at every point of its life.
 *
 *   workload   transactions, relaxed and durable, aborts, checkpoints, closings, deaths        all from one seed
 *   step       before every write and every sync, and after commits: here the machine is forked and crashes, once a mode of loss
 *   verdict    the space is opened on what is left, and its content must be that after some number of transactions,
 *              `acknowledged <= number <= committed` (and after the death of the process alone: exactly `committed`)
 *
 * While a commit runs the transaction may already be found, so then `committed + 1` is right, too. What is found is compared in two
 * ways: line by line with the plain model, and byte by byte, by checksum, with the objects as they were after that transaction.
 *
 * What two modes, or two steps, leave the same is judged once: while no sync has ended, the same surviving changes are the same disk.
 *
 * A machine is forked in the middle of a call of the kernel, and judged after it. A failure names seed and step; the same seed gives
 * the same steps.
 */
import type { ObjectId } from '../abi/id.ts';
import { LOSS_MODES, type LossPlan } from '../host/simulated/loss.ts';
import { Random } from '../host/simulated/random.ts';
import { SimulatedHost, type SimulatedOptions } from '../host/simulated/simulated.ts';
import { open, type OpenOptions, type Space } from '../index.ts';
import { CanaryHost, type Canary } from './canary.ts';
import { imageOf, observe } from './facts.ts';
import { DIRECTORY, Judge, Misfit, describe, difference, type Allowed, type State } from './judge.ts';
import { World } from './model.ts';
import { Operations, storeBulk } from './operations.ts';

/** A relaxed transaction must be durable so many milliseconds later, left alone, and so many calls, where they are slow. */
const RELAXED_MS_MAX = 20;
const RELAXED_CALLS_MAX = 400;
const FAST_MS = 0.02;

export interface SimulationOptions {
  readonly seed: number;
  /** Crash at this step only. */
  readonly step?: number | undefined;
  /** Loss plans a step, chosen at random (default: one of each mode). */
  readonly plans?: number | undefined;
  /** Actions of the workload (default 60). */
  readonly actions?: number;
  readonly canary?: Canary | undefined;
  /** Gets the story of the run, line by line. */
  readonly tell?: ((line: string) => void) | undefined;
}

export interface SimulationResult {
  readonly seed: number;
  readonly steps: number;
  /** Recoveries judged: after power failures, after deaths of the process, and of recoveries themselves. */
  readonly powerLosses: number;
  readonly deaths: number;
  readonly nested: number;
  /** Power failures that left, byte for byte, what an earlier one had left: judged once. */
  readonly same: number;
  readonly checks: number;
  readonly transactions: number;
}

export class SimulationFailure extends Error {
  override readonly name = 'SimulationFailure';
  readonly seed: number;
  readonly step: number;

  constructor(seed: number, step: number, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.seed = seed;
    this.step = step;
  }
}

/** The program's own abort. */
class Abort extends Error {}

export class Simulation {
  readonly #options: SimulationOptions;
  readonly #random: Random;
  readonly #settings: OpenOptions;
  readonly #universe = new Map<ObjectId, 'doc' | 'raw'>();
  readonly #views: Operations['views'] = new Map();
  readonly #judge: Judge;
  #host: SimulatedHost;
  #space: Space | undefined;
  /** The state after each transaction; the first is the empty space. */
  #states: State[] = [{ world: new World(), text: '', image: '' }];
  #acknowledged = 0;
  /** The model of the transaction that is being committed. */
  #draft: World | undefined;
  /** False while a space is opened, and looked at, after a crash: how much was lost is not known yet. */
  #found = true;
  /** Counts lives: what was promised in an earlier one is of no account. */
  #life = 0;
  #steps = 0;
  /** Disks that were judged against the present promises: what remained, in words. */
  #judged = new Set<string>();
  #judgedFor = '';
  /** Transactions of several frames happen. */
  readonly #bulky: boolean;
  /** Machines that crashed and are not judged yet. */
  #crashed: (() => Promise<void>)[] = [];
  #failure: SimulationFailure | undefined;
  readonly #counts = { powerLosses: 0, deaths: 0, same: 0, transactions: 0 };

  constructor(options: SimulationOptions) {
    this.#options = options;
    const random = new Random(options.seed);
    this.#random = random;
    this.#settings = {
      segmentSize: 65536 * (1 + random.below(3)),
      checkpointBytes: random.pick([20_000, 60_000, 200_000, 1_000_000]) ?? 0,
      objectsMax: random.pick([8, 32_000]) ?? 0,
    };
    this.#bulky = random.chance(0.3);
    const machine: SimulatedOptions = {
      seed: options.seed,
      windowSize: this.#bulky ? 4 << 20 : 1 << 20,
      sharedMapping: random.chance(0.7),
      follow: random.chance(0.5),
      callMs: random.pick([FAST_MS, FAST_MS, 0.3, 3]) ?? FAST_MS,
    };
    this.#host = options.canary === undefined ? new SimulatedHost(machine) : new CanaryHost(machine, options.canary);
    this.#judge = new Judge(this.#settings, this.#universe);
    options.tell?.(`seed ${options.seed}: ${JSON.stringify({ ...this.#settings, ...machine })}`);
  }

  /** Runs the whole workload. Throws SimulationFailure. */
  async run(): Promise<SimulationResult> {
    const { seed, actions = 60 } = this.#options;
    try {
      this.#watch();
      this.#open();
      await this.#judgeCrashed();
      for (let i = 0; i < actions; i++) {
        await this.#interruptible(() => this.#act());
        await this.#judgeCrashed();
      }
      await this.#host.run();
      await this.#close();
      await this.#judgeCrashed();
    } catch (error) {
      throw (
        this.#failure ??
        new SimulationFailure(seed, this.#steps, error instanceof Misfit ? error.message : `unexpected: ${describe(error)}`, error)
      );
    }
    const { nested, checks } = this.#judge;
    return { seed, steps: this.#steps, nested, checks, ...this.#counts };
  }

  // --- the workload -----------------------------------------------------------------------------------------------------------

  #tell(line: string): void {
    this.#options.tell?.(`${String(this.#steps).padStart(6)}  ${line}`);
  }

  get #committed(): number {
    return this.#states.length - 1;
  }

  #now(): State {
    const state = this.#states[this.#committed];
    if (state === undefined) throw new Error('no state');
    return state;
  }

  #open(): void {
    this.#space = open(DIRECTORY, { ...this.#settings, host: this.#host });
  }

  #live(): Space {
    if (this.#space === undefined) throw new Error('no space is open');
    return this.#space;
  }

  /** Now and then the world stops in the middle of an action. */
  async #interruptible(action: () => Promise<void>): Promise<void> {
    const host = this.#host;
    if (this.#random.chance(0.05)) host.stopAt = host.points + this.#random.below(15);
    try {
      await action();
      host.stopAt = undefined;
    } catch (error) {
      if (!host.stopped) throw error;
    }
    if (host.stopped && host === this.#host) this.#resume(this.#random.chance(0.5));
  }

  async #act(): Promise<void> {
    const at = this.#random.below(104);
    if (at >= 100) await this.#alone();
    else if (at < 52) this.#transaction(false);
    else if (at < 72) this.#transaction(true);
    else if (at < 82) await this.#host.step();
    else if (at < 85) await this.#host.run();
    else if (at < 88) this.#host.pass(1 + this.#random.below(12));
    else if (at < 90) await this.#idle();
    else if (at < 92) this.#sync();
    else if (at < 95) this.#checkpoint();
    else if (at < 97) await this.#reopen();
    else this.#resume(at < 99);
  }

  /** One caller that waits for each of its transactions: after some of them the log is written through in place. */
  async #alone(): Promise<void> {
    const life = this.#life;
    for (let left = 4 + this.#random.below(5); left > 0; left--) {
      const before = this.#committed;
      this.#transaction(true);
      // What a dead machine's program goes on doing is no part of the story.
      if (this.#host.stopped) return;
      if (this.#committed === before) continue;
      while (life === this.#life && this.#acknowledged < this.#committed && this.#failure === undefined) {
        if ((await this.#host.step()) || this.#acknowledged === this.#committed) continue;
        if (this.#host.stopped) return;
        throw new Misfit('a durable transaction is never acknowledged');
      }
    }
  }

  #transaction(durable: boolean): void {
    const draft = this.#now().world.clone();
    const operations = new Operations(this.#live(), draft, this.#random, this.#universe, this.#views);
    const aborts = this.#random.chance(0.12);
    const count = 1 + this.#random.below(5);
    const nested = this.#random.chance(0.15);
    const bulk = this.#bulky && this.#random.chance(0.25);
    let error: unknown;
    const body = (): void => {
      try {
        operations.run(count);
        if (bulk) storeBulk(operations);
        if (nested) this.#live().relaxed(() => operations.run(2));
        if (aborts) throw new Abort();
        this.#draft = draft;
      } catch (reason) {
        error = reason;
        throw reason;
      }
    };
    const tell = (how: string): void => this.#tell(`${how} ${this.#committed + 1}: ${operations.trace.join('; ')}`);
    try {
      if (durable) this.#durable(body);
      else this.#live().relaxed(body);
    } catch (reason) {
      error ??= reason;
    }
    if (error !== undefined && !(error instanceof Abort)) {
      tell('failed');
      throw error;
    }
    if (this.#host.stopped) return;
    tell(aborts ? 'aborted' : durable ? 'durable' : 'relaxed');
    this.#settle(draft, aborts);
  }

  #durable(body: () => void): void {
    const life = this.#life;
    const host = this.#host;
    const number = this.#committed + 1;
    this.#live()
      .durable(body)
      .then(
        () => {
          if (life === this.#life) this.#acknowledged = Math.max(this.#acknowledged, number);
        },
        (reason: unknown) => {
          if (life === this.#life && !host.stopped && !(reason instanceof Abort))
            this.#fail(this.#steps, `a durable transaction was refused: ${describe(reason)}`, reason);
        },
      );
  }

  /** After a transaction: the space must be as the model says, whether it committed or not. */
  #settle(draft: World, aborted: boolean): void {
    const space = this.#live();
    if (!aborted) {
      if (this.#draft === undefined) throw new Error('the body of a transaction did not run to its end');
      this.#states.push({ world: draft, text: draft.toLines().join('\n'), image: imageOf(space) });
      this.#counts.transactions++;
    }
    this.#draft = undefined;
    for (const id of this.#views.keys()) if (!this.#now().world.objects.has(id)) this.#views.delete(id);
    if (aborted || this.#random.chance(0.2)) this.#compareLive();
    if (this.#random.chance(0.4)) this.#releaseViews();
    if (!aborted && this.#random.chance(0.3)) this.#explore(undefined);
  }

  #compareLive(): void {
    const { text, image } = this.#now();
    const found = observe(this.#live(), this.#universe).join('\n');
    if (found !== text) throw new Misfit(`the living space differs from the model:\n${difference(text, found)}`);
    if (this.#committed === 0 || this.#views.size > 0) return;
    const now = imageOf(this.#live());
    if (now !== image)
      throw new Misfit(`the living space differs from itself after transaction ${this.#committed}:\n${difference(image, now)}`);
  }

  #releaseViews(): void {
    for (const { obj } of this.#views.values()) obj.releaseRaw();
    this.#views.clear();
  }

  /** Left alone, everything relaxed becomes durable in the promised time. */
  async #idle(): Promise<void> {
    const { callMs } = this.#host.options;
    await this.#host.elapse(RELAXED_MS_MAX + (callMs > FAST_MS ? RELAXED_CALLS_MAX * callMs : 0));
    if (this.#host.stopped) return;
    this.#acknowledged = this.#committed;
    this.#tell(`idle: ${this.#committed} durable`);
    this.#explore('the end of idling');
  }

  #sync(): void {
    this.#live().sync();
    this.#acknowledged = this.#committed;
    this.#tell(`sync: ${this.#committed} durable`);
  }

  #checkpoint(): void {
    this.#live().checkpoint();
    this.#acknowledged = this.#committed;
    this.#tell(`checkpoint: ${this.#committed} durable`);
    this.#compareLive();
  }

  async #close(): Promise<void> {
    this.#releaseViews();
    this.#compareLive();
    this.#live().close();
    this.#acknowledged = this.#committed;
    this.#life++;
    await this.#host.run();
    const { openFiles, violations } = this.#host;
    if (openFiles.length > 0) throw new Misfit(`files are left open after closing: ${openFiles.join(', ')}`);
    if (violations.length > 0) throw new Misfit(violations.join('\n'));
  }

  async #reopen(): Promise<void> {
    await this.#close();
    this.#tell(`close: ${this.#committed} durable`);
    this.#open();
    this.#compareLive();
  }

  // --- life after a crash -----------------------------------------------------------------------------------------------------

  /** The process dies, or the power goes, and life goes on with what is found. */
  #resume(powerLost: boolean): void {
    const allowed = this.#allowed(powerLost);
    const plan: LossPlan = { mode: this.#random.pick(LOSS_MODES) ?? 'lose', seed: this.#random.u32() };
    this.#life++;
    this.#views.clear();
    this.#host = powerLost ? this.#host.crash(plan) : this.#host.kill();
    this.#watch();
    this.#found = false;
    this.#open();
    const what = powerLost ? `power lost, plan ${JSON.stringify(plan)}` : 'process died';
    const text = observe(this.#live(), this.#universe).join('\n');
    // Two states may read alike, and differ in objects that only the kernel knows.
    const image = imageOf(this.#live());
    const exact = this.#states.findLastIndex((state) => state.text === text && state.image === image);
    const index = exact >= 0 ? exact : this.#states.findLastIndex((state) => state.text === text);
    if (this.#draft !== undefined && allowed.next === text) this.#states.push({ world: this.#draft, text, image });
    else if (index >= allowed.first) this.#states = this.#states.slice(0, index + 1);
    else throw new Misfit(`${what}; found ${index}, expected ${allowed.first} to ${allowed.last}:\n${difference(this.#now().text, text)}`);
    this.#draft = undefined;
    // Not before: to look at many objects makes room for them, which may bring the log to the disk.
    this.#found = true;
    // What was found beyond the acknowledged is promised to nobody: it may have come from the log's tail, and be lost the next time.
    this.#tell(`${what}: ${this.#committed} found`);
    this.#compareLive();
  }

  // --- crashes ----------------------------------------------------------------------------------------------------------------

  #fail(step: number, message: string, cause?: unknown): void {
    this.#failure ??= new SimulationFailure(this.#options.seed, step, message, cause);
  }

  #watch(): void {
    const host = this.#host;
    host.onPoint = (_, call) => {
      if (host === this.#host) this.#explore(call);
    };
  }

  #allowed(powerLost: boolean): Allowed {
    const last = this.#committed;
    const first = powerLost || !this.#found ? this.#acknowledged : last;
    return { states: this.#states, first, last, next: this.#draft?.toLines().join('\n') };
  }

  /** Forks the machine, once a plan. `call` undefined: between calls, where only the process may die. */
  #explore(call: string | undefined): void {
    const step = ++this.#steps;
    // Also where this step is not looked at: the same seed gives the same run.
    this.#host.fold();
    if (this.#options.step !== undefined && this.#options.step !== step) return;
    const random = new Random(this.#options.seed * 31 + step);
    const powerLost = this.#allowed(true);
    if (call === undefined || random.chance(0.15)) {
      this.#counts.deaths++;
      this.#fork(
        step,
        -1,
        this.#host.kill({ seed: random.u32() }),
        this.#allowed(false),
        `process died ${call === undefined ? 'after a commit' : `before ${call}`}`,
      );
    }
    if (call === undefined) return;
    const { plans = LOSS_MODES.length } = this.#options;
    for (let i = 0; i < plans; i++) {
      const mode = plans < LOSS_MODES.length ? random.pick(LOSS_MODES) : LOSS_MODES[i];
      const plan: LossPlan = { mode: mode ?? 'random', seed: random.u32() };
      if (this.#wasJudged(plan)) {
        this.#counts.same++;
        continue;
      }
      this.#counts.powerLosses++;
      this.#fork(
        step,
        i,
        this.#host.crash(plan, { seed: random.u32() }),
        powerLost,
        `power lost before ${call}, plan ${JSON.stringify(plan)}`,
      );
    }
  }

  /** Was this very disk judged already? What is promised only moves on: a state that was right is right until the promise passes it. */
  #wasJudged(plan: LossPlan): boolean {
    const promises = `${this.#life} ${this.#acknowledged}`;
    if (promises !== this.#judgedFor) this.#judged.clear();
    this.#judgedFor = promises;
    const remains = this.#host.remains(plan);
    if (remains === undefined) return false;
    const judged = this.#judged.has(remains);
    this.#judged.add(remains);
    return judged;
  }

  #fork(step: number, ordinal: number, machine: SimulatedHost, allowed: Allowed, what: string): void {
    const afterwards = { ...allowed, first: Math.min(allowed.first, this.#acknowledged) };
    const random = new Random(this.#options.seed * 37 + step * 11 + ordinal);
    this.#crashed.push(async () => {
      try {
        await this.#judge.judge(machine, allowed, afterwards, ordinal < 0, random);
      } catch (error) {
        this.#fail(step, `${what}: ${describe(error)}`, error);
      }
    });
  }

  async #judgeCrashed(): Promise<void> {
    for (const judge of this.#crashed) {
      if (this.#failure !== undefined) break;
      await judge();
    }
    this.#crashed = [];
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/**
 * The simulation: a random program on a simulated machine, and the power lost at every point of its life.
 *
 *   workload   transactions, relaxed and durable, aborts, checkpoints, closings, deaths        all from one seed
 *   step       before every write and every sync, and after every commit: here the world is forked and crashes, once a loss plan
 *   verdict    the space is opened on what is left, and its content must be that after some number of transactions,
 *              `acknowledged <= number <= committed` (and after the death of the process alone: exactly `committed`)
 *
 * While a commit runs the transaction may already be found, so then `committed + 1` is right, too. What is found is compared in two
 * ways: line by line with the plain model, and byte by byte, by checksum, with the objects as they were after that transaction.
 *
 * A failure names seed and step; the same seed gives the same steps.
 */
import type { ObjectId } from '../abi/id.ts';
import { LOSS_MODES, type LossPlan } from '../host/simulated/loss.ts';
import { Random } from '../host/simulated/random.ts';
import { SimulatedHost, type SimulatedOptions } from '../host/simulated/simulated.ts';
import { isTwzError, open, type OpenOptions, type Space } from '../index.ts';
import { checkSpace } from '../services/check.ts';
import { CanaryHost, type Canary } from './canary.ts';
import { imageOf, observe } from './facts.ts';
import { World } from './model.ts';
import { Operations } from './operations.ts';

export const DIRECTORY = '/space';
/** A relaxed transaction must be durable so many milliseconds later, left alone. */
const RELAXED_MS_MAX = 20;
/** Findings of a check that a power failure may leave behind. */
const EXPECTED_FINDINGS: ReadonlySet<string> = new Set(['LogBroken']);

export interface SimulationOptions {
  readonly seed: number;
  /** Crash at this step only. */
  readonly step?: number | undefined;
  /** Loss plans a step (default 3). */
  readonly plans?: number;
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

interface State {
  readonly world: World;
  readonly text: string;
  readonly image: string;
}

/** What a recovery may find. */
interface Allowed {
  readonly first: number;
  readonly last: number;
  /** A transaction that is being committed. */
  readonly next: string | undefined;
}

export class Simulation {
  readonly #options: SimulationOptions;
  readonly #random: Random;
  readonly #settings: OpenOptions;
  readonly #hostOptions: SimulatedOptions;
  readonly #universe = new Map<ObjectId, 'doc' | 'raw'>();
  readonly #views: Operations['views'] = new Map();
  #host: SimulatedHost;
  #space: Space | undefined;
  /** The state after each transaction; the first is the empty space. */
  #states: State[] = [{ world: new World(), text: '', image: '' }];
  #acknowledged = 0;
  /** The model of the transaction that is being committed. */
  #draft: World | undefined;
  /** Counts lives: what was promised in an earlier one is of no account. */
  #life = 0;
  #steps = 0;
  #failure: SimulationFailure | undefined;
  #exploring = false;
  readonly #counts = { powerLosses: 0, deaths: 0, nested: 0, checks: 0, transactions: 0 };

  constructor(options: SimulationOptions) {
    this.#options = options;
    const random = new Random(options.seed);
    this.#random = random;
    this.#settings = {
      segmentSize: 65536 * (1 + random.below(3)),
      checkpointBytes: random.pick([20_000, 60_000, 200_000, 1_000_000]) ?? 0,
      objectsMax: random.pick([8, 32_000]) ?? 0,
    };
    this.#hostOptions = { seed: options.seed, windowSize: 4 << 20, sharedMapping: random.chance(0.7), follow: random.chance(0.5) };
    this.#host = options.canary === undefined ? new SimulatedHost(this.#hostOptions) : new CanaryHost(this.#hostOptions, options.canary);
  }

  /** Runs the whole workload. Throws SimulationFailure. */
  async run(): Promise<SimulationResult> {
    const { seed, actions = 60 } = this.#options;
    this.#options.tell?.(`seed ${seed}: ${JSON.stringify({ ...this.#settings, ...this.#hostOptions })}`);
    try {
      this.#watch();
      this.#open();
      for (let i = 0; i < actions; i++) {
        await this.#act();
        if (this.#failure !== undefined) throw this.#failure;
      }
      await this.#host.run();
      await this.#close();
    } catch (error) {
      throw (
        this.#failure ??
        (error instanceof SimulationFailure ? error : new SimulationFailure(seed, this.#steps, `unexpected: ${describe(error)}`, error))
      );
    }
    if (this.#failure !== undefined) throw this.#failure;
    return { seed, steps: this.#steps, ...this.#counts };
  }

  #watch(): void {
    const host = this.#host;
    host.onPoint = (_, call) => {
      // Only the present machine counts, and a crash is not looked for within the judging of another.
      if (host === this.#host && !this.#exploring) this.#explore(call);
    };
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

  async #act(): Promise<void> {
    const at = this.#random.below(100);
    if (at < 52) this.#transaction(false);
    else if (at < 72) this.#transaction(true);
    else if (at < 82) await this.#host.step();
    else if (at < 85) await this.#host.run();
    else if (at < 88) this.#host.pass(1 + this.#random.below(12));
    else if (at < 90) await this.#idle();
    else if (at < 92) this.#sync();
    else if (at < 95) this.#checkpoint();
    else if (at < 97) await this.#reopen();
    else if (at < 99) this.#die();
    else this.#losePower();
  }

  #transaction(durable: boolean): void {
    const { world } = this.#now();
    const draft = world.clone();
    const operations = new Operations(this.#live(), draft, this.#random, this.#universe, this.#views);
    const aborts = this.#random.chance(0.12);
    const count = 1 + this.#random.below(5);
    const nested = this.#random.chance(0.15);
    const body = (): void => {
      operations.run(count);
      if (nested) this.#live().relaxed(() => operations.run(2));
      if (aborts) throw new Abort();
      this.#draft = draft;
    };
    const tell = (how: string): void => this.#tell(`${how} ${this.#committed}: ${operations.trace.join('; ')}`);
    let error: unknown;
    if (durable) {
      const life = this.#life;
      const number = this.#committed + 1;
      this.#live()
        .durable(body)
        .then(
          () => {
            if (life === this.#life) this.#acknowledged = Math.max(this.#acknowledged, number);
          },
          (reason: unknown) => {
            if (life === this.#life && !(reason instanceof Abort))
              this.#fail(`a durable transaction was refused: ${describe(reason)}`, reason);
          },
        );
    } else {
      try {
        this.#live().relaxed(body);
      } catch (reason) {
        error = reason;
      }
    }
    if (error !== undefined && !(error instanceof Abort)) {
      tell('failed');
      throw error;
    }
    this.#settle(draft, aborts);
    tell(aborts ? 'aborted' : durable ? 'durable' : 'relaxed');
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
    if (found !== text) this.#fail(`the living space differs from the model:\n${difference(text, found)}`);
    if (this.#committed > 0 && this.#views.size === 0) {
      const now = imageOf(this.#live());
      if (now !== image)
        this.#fail(`the living space differs from itself after transaction ${this.#committed}:\n${difference(image, now)}`);
    }
  }

  #releaseViews(): void {
    for (const { obj } of this.#views.values()) obj.releaseRaw();
    this.#views.clear();
  }

  /** Left alone, everything relaxed becomes durable in the promised time. */
  async #idle(): Promise<void> {
    await this.#host.elapse(RELAXED_MS_MAX);
    this.#acknowledged = this.#committed;
    this.#tell(`idle: ${this.#committed} durable`);
    this.#explore(`after ${RELAXED_MS_MAX} ms of idling`);
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
    if (openFiles.length > 0) this.#fail(`files are left open after closing: ${openFiles.join(', ')}`);
    if (violations.length > 0) this.#fail(violations.join('\n'));
  }

  async #reopen(): Promise<void> {
    await this.#close();
    this.#tell(`close: ${this.#committed} durable`);
    this.#open();
    this.#compareLive();
  }

  /** The process dies and another one takes over. */
  #die(): void {
    this.#nextLife(this.#host.kill());
    this.#compareLive();
    this.#tell(`process died, ${this.#committed} found`);
  }

  /** The power goes, and life goes on with what was found. */
  #losePower(): void {
    this.#nextLife(this.#host.crash({ mode: this.#random.pick(LOSS_MODES) ?? 'lose', seed: this.#random.u32() }));
    const found = observe(this.#live(), this.#universe).join('\n');
    const index = this.#states.findLastIndex((state) => state.text === found);
    if (index < this.#acknowledged) this.#fail(`found transaction ${index} of ${this.#acknowledged} acknowledged ones`);
    this.#states.length = index + 1;
    // What was found on the disk is durable: there is no other place that it can have come from.
    this.#acknowledged = index;
    this.#tell(`power lost, ${index} found`);
    this.#compareLive();
  }

  #nextLife(host: SimulatedHost): void {
    this.#life++;
    this.#views.clear();
    this.#host = host;
    this.#watch();
    this.#open();
  }

  // --- crashes ----------------------------------------------------------------------------------------------------------------

  #fail(message: string, cause?: unknown): void {
    this.#failure ??= new SimulationFailure(this.#options.seed, this.#steps, message, cause);
  }

  /** Forks the world at this step, once a plan, and judges what is found. `call` undefined: between calls, only the process dies. */
  #explore(call: string | undefined): void {
    const step = ++this.#steps;
    if (this.#failure !== undefined || (this.#options.step !== undefined && this.#options.step !== step)) return;
    this.#exploring = true;
    try {
      const random = new Random(this.#options.seed * 31 + step);
      const next = this.#draft?.toLines().join('\n');
      const last = this.#committed;
      if (call === undefined || random.chance(0.15)) {
        this.#counts.deaths++;
        this.#judge(
          this.#host.kill({ seed: random.u32() }),
          { first: last, last, next },
          `process died ${call === undefined ? 'after a commit' : `before ${call}`}`,
          random,
        );
      }
      if (call === undefined) return;
      for (let i = 0; i < (this.#options.plans ?? 3); i++) {
        const mode = i === 0 ? 'lose' : random.chance(0.6) ? 'random' : (random.pick(LOSS_MODES) ?? 'keep');
        const plan: LossPlan = { mode, seed: random.u32() };
        this.#counts.powerLosses++;
        this.#judge(
          this.#host.crash(plan, { seed: random.u32() }),
          { first: this.#acknowledged, last, next },
          `power lost before ${call}, plan ${JSON.stringify(plan)}`,
          random,
        );
      }
    } catch (error) {
      this.#fail(describe(error), error);
    } finally {
      this.#exploring = false;
    }
  }

  /** Opens the space on a machine after a crash. It must hold one of the allowed states. */
  #judge(host: SimulatedHost, allowed: Allowed, what: string, random: Random): void {
    if (this.#failure !== undefined) return;
    const deep = random.chance(0.1);
    if (random.chance(0.04)) this.#check(host.kill(), what);
    // A death loses nothing; a power failure after it still may lose what nobody was promised.
    const less = { ...allowed, first: Math.min(allowed.first, this.#acknowledged) };
    if (deep) host.onPoint = (_, call) => this.#crashAgain(host, less, `${what}; then power lost in recovery before ${call}`, random);
    const { space, index } = this.#recover(host, allowed, what, random);
    host.onPoint = undefined;
    if (deep && space !== undefined && index !== undefined) this.#goOn(host, space, what, random);
  }

  #recover(host: SimulatedHost, allowed: Allowed, what: string, random: Random): { space?: Space; index?: number } {
    let space: Space;
    let text: string;
    let image: string | undefined;
    try {
      space = open(DIRECTORY, { ...this.#settings, host });
      text = observe(space, this.#universe).join('\n');
      if (random.chance(0.25)) image = imageOf(space);
    } catch (error) {
      this.#fail(`${what}: the space does not open: ${describe(error)}`, error);
      return {};
    }
    for (let i = allowed.last; i >= allowed.first; i--) {
      const state = this.#states[i];
      if (state?.text === text && (image === undefined || i === 0 || state.image === image)) return { space, index: i };
    }
    if (allowed.next === text) return { space, index: allowed.last + 1 };
    this.#wrong(allowed, what, space, text, image);
    return {};
  }

  #wrong(allowed: Allowed, what: string, space: Space, text: string, image: string | undefined): void {
    const same = this.#states.findLastIndex((state) => state.text === text);
    const range = `expected the state after transaction ${allowed.first} to ${allowed.last}${allowed.next === undefined ? '' : ' or the one being committed'}`;
    if (same < 0)
      this.#fail(
        `${what}: ${range}; found none that ever was. Against ${allowed.last}:\n${difference(this.#states[allowed.last]?.text ?? '', text)}`,
      );
    else if (same < allowed.first || same > allowed.last) this.#fail(`${what}: ${range}; found ${same}`);
    else
      this.#fail(
        `${what}: state ${same} is found, but not its bytes:\n${difference(this.#states[same]?.image ?? '', image ?? '')}${this.#bytes(space, same)}`,
      );
  }

  /** Which bytes differ from those of the living space, where that is in the same state. */
  #bytes(found: Space, index: number): string {
    if (index !== this.#committed || this.#draft !== undefined) return '';
    const lines: string[] = [];
    for (const id of this.#live().ids()) {
      if (!found.has(id)) continue;
      const left = this.#live().object(id).export();
      const right = found.object(id).export();
      const at = left.findIndex((byte, i) => byte !== right[i]);
      if (at < 0 && left.length === right.length) continue;
      const last = left.findLastIndex((byte, i) => byte !== right[i]);
      const some = (bytes: Uint8Array): string =>
        Array.from(bytes.subarray(at, at + 16), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
      lines.push(
        `  ${id}: ${left.length} bytes, found ${right.length}; first difference at ${at}, last at ${last}: ${some(left)}, found ${some(right)}`,
      );
    }
    return `\n${lines.join('\n')}`;
  }

  /** The power goes again while the space is being recovered. */
  #crashAgain(host: SimulatedHost, allowed: Allowed, what: string, random: Random): void {
    if (this.#failure !== undefined) return;
    this.#counts.nested++;
    const plan: LossPlan = { mode: random.pick(LOSS_MODES) ?? 'lose', seed: random.u32() };
    this.#recover(host.crash(plan), allowed, `${what}, plan ${JSON.stringify(plan)}`, random);
  }

  /** Life goes on after a recovery: one more transaction, made durable, survives; so does a checkpoint and a closing. */
  #goOn(host: SimulatedHost, space: Space, what: string, random: Random): void {
    const universe = new Map(this.#universe);
    space.relaxed(() => {
      const obj = space.createRaw(64);
      universe.set(obj.id, 'raw');
      space.names.set('/zz', obj);
    });
    const before = observe(space, universe).join('\n');
    space.sync();
    const found = (machine: SimulatedHost): string => observe(open(DIRECTORY, { ...this.#settings, host: machine }), universe).join('\n');
    const expect = (machine: SimulatedHost, when: string): void => {
      this.#counts.nested++;
      const after = found(machine);
      if (after !== before) this.#fail(`${what}; recovered; a transaction more, durable; ${when}:\n${difference(before, after)}`);
    };
    for (const mode of ['lose', 'random'] as const) expect(host.crash({ mode, seed: random.u32() }), `power lost, plan ${mode}`);
    host.onPoint = (_, call) => {
      if (random.chance(0.2)) expect(host.crash({ mode: 'random', seed: random.u32() }), `power lost in closing, before ${call}`);
    };
    space.close();
    host.onPoint = undefined;
    expect(host.crash({ mode: 'lose' }), 'closed, power lost');
    if (host.openFiles.length > 0) this.#fail(`${what}: files are left open after closing: ${host.openFiles.join(', ')}`);
  }

  /** An independent reader of the formats finds nothing wrong. */
  #check(host: SimulatedHost, what: string): void {
    if (!host.exists(`${DIRECTORY}/space.twz`)) return;
    this.#counts.checks++;
    const report = checkSpace(host, DIRECTORY);
    const bad = report.findings.filter((finding) => finding.severity === 'error' && !EXPECTED_FINDINGS.has(finding.name));
    if (bad.length > 0) this.#fail(`${what}: check finds ${JSON.stringify(bad.slice(0, 5))}`);
  }
}

function describe(error: unknown): string {
  if (isTwzError(error))
    return `${error.name}: ${error.message}${error.cause === undefined ? '' : ` (${describe(error.cause)})`}\n${error.stack ?? ''}`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** The lines that only one of two texts has; of lines about the same thing, the part where they part. */
function difference(expected: string, found: string): string {
  const subject = (line: string): string => line.split(' ').slice(0, 2).join(' ');
  const left = expected.split('\n');
  const right = found.split('\n');
  const lines: string[] = [];
  for (const line of left) {
    if (right.includes(line)) continue;
    const other = right.find((each) => subject(each) === subject(line)) ?? '';
    let at = 0;
    while (at < line.length && line[at] === other[at]) at++;
    lines.push(
      `  ${subject(line)} at ${at}\n    expected  ${excerpt(line, at)}\n    found     ${other === '' ? 'nothing' : excerpt(other, at)}`,
    );
  }
  for (const line of right) if (!left.some((each) => subject(each) === subject(line))) lines.push(`  not expected  ${excerpt(line, 0)}`);
  return lines.slice(0, 6).join('\n');
}

function excerpt(line: string, at: number): string {
  const from = Math.max(0, at - 60);
  return `${from > 0 ? '…' : ''}${line.slice(from, at + 200)}${line.length > at + 200 ? '…' : ''}`;
}

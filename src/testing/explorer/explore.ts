/**
 * Runs a program of a few threads in every order of its steps that can make a difference, with the real code: a thread is an ordinary
 * function over `SyncWords`, and while it runs the global `Atomics` is the explorer's.
 *
 *     const result = explore({
 *       bytes: 4096,
 *       prepare: (words) => { … },                          // alone, first
 *       threads: [(words) => { lock.acquire(); … }, …],     // return what `check` shall see
 *       check: ({ results, words }) => { … },               // throws what is wrong
 *     });
 *     assert.equal(result.failure, undefined);
 *
 * It finds threads that sleep for ever (a lost wake), exceptions, what `check` refuses, and plain accesses that race. A failure has the
 * order of steps that leads to it, and `replay` runs that again.
 *
 * What is explored, and what is not:
 * - A step is an access through `Atomics`, a wait, a wake, or asking whether a thread lives. Plain accesses go with the step before
 *   them; that is enough as long as they do not race, and races are found.
 * - All steps see one order (the language promises it for `Atomics`). Hardware's weaker orders for plain accesses are not explored;
 *   a program without races cannot tell.
 * - Without `preemptions` every order is covered up to swapping steps that have nothing to do with each other (dynamic partial-order
 *   reduction with sleep sets). With it, orders in which at most so many times a thread is cut short that could have gone on.
 * - Sleeps with a timeout come back when nobody else can go on; sleepers wake first come, first served, and never by themselves.
 * - Threads must be functions of what their steps return: no closures that are changed, no chance, no promises.
 * - `steps` bounds an execution: programs that spin are cut there (counted in `cut`), so write threads that sleep or give up.
 */
import { KernelBug } from '../../abi/errors.ts';
import { Execution, Failure, type Program, type Touch } from './execution.ts';
import { quietWords } from './memory.ts';
import { join, type Clock } from './races.ts';

export type { Outcome, Program } from './execution.ts';

export interface ExploreOptions {
  /** Most times that a thread is cut short in favour of another. Without: every order. */
  readonly preemptions?: number;
  /** Most executions. 1,000,000 by default. */
  readonly executions?: number;
  /** Most steps of one execution. 1000 by default. */
  readonly steps?: number;
}

export interface ExplorationFailure {
  readonly message: string;
  /** Who took each step; numbers from the count of threads on are their deaths. */
  readonly schedule: readonly number[];
  readonly trace: readonly string[];
  readonly cause: unknown;
}

export interface Exploration {
  /** Executions that came to their end. */
  readonly executions: number;
  readonly steps: number;
  /** Executions that were given up: another one covers them. */
  readonly pruned: number;
  /** Executions that reached the bound on steps. */
  readonly cut: number;
  /** Nothing was left out but what the bounds say. */
  readonly complete: boolean;
  readonly failure: ExplorationFailure | undefined;
}

/** A state on the way to the current execution's end, and what was chosen there. */
interface Node {
  readonly enabled: readonly number[];
  /** Chosen at some time, or to be. */
  readonly backtrack: Set<number>;
  readonly done: Set<number>;
  /** What need not be chosen here: an execution that was looked at before covers it. */
  readonly sleep: ReadonlyMap<number, readonly Touch[]>;
  readonly touches: ReadonlyMap<number, readonly Touch[]>;
  chosen: number;
  preemptions: number;
}

const dependent = (a: readonly Touch[], b: readonly Touch[]): boolean =>
  a.some((one) => b.some((other) => one.what === other.what && (one.write || other.write)));

interface Step {
  readonly index: number;
  readonly actor: number;
  readonly touches: readonly Touch[];
  /** Of each actor, how many steps it had to see: those before are ordered before this one. */
  readonly clock: Clock;
}

class Search {
  readonly #program: Program<unknown>;
  readonly #options: ExploreOptions;
  readonly #nodes: Node[] = [];
  readonly #prepared: ArrayBuffer;
  readonly #actors: number;
  #depth = 0;
  #clocks: Clock[] = [];
  #steps: Step[] = [];
  /** What the actors are about to touch. */
  #next: ReadonlyMap<number, readonly Touch[]> = new Map();
  #reads = new Map<number, Clock>();
  #writes = new Map<number, Clock>();
  executions = 0;
  steps = 0;
  pruned = 0;
  cut = 0;

  constructor(program: Program<unknown>, options: ExploreOptions) {
    this.#program = program;
    this.#options = options;
    this.#prepared = prepare(program);
    this.#actors = program.threads.length * 2;
  }

  get #bounded(): boolean {
    return this.#options.preemptions !== undefined;
  }

  run(): ExplorationFailure | undefined {
    const most = this.#options.executions ?? 1_000_000;
    do {
      const failure = this.#execute();
      if (failure !== undefined) return failure;
    } while (this.#backtrack() && this.executions + this.pruned + this.cut < most);
    return undefined;
  }

  get complete(): boolean {
    return this.#nodes.length === 0;
  }

  #execute(): ExplorationFailure | undefined {
    this.#depth = 0;
    this.#clocks = Array.from({ length: this.#actors }, () => Array.from({ length: this.#actors }, () => 0));
    this.#steps = [];
    this.#reads = new Map();
    this.#writes = new Map();
    let over: 'pruned' | 'cut' | undefined;
    const execution = new Execution(
      this.#program,
      this.#prepared,
      (state) => {
        if (this.#depth >= (this.#options.steps ?? 1000)) {
          over = 'cut';
          return undefined;
        }
        const node = this.#nodes[this.#depth] ?? this.#arrive(state);
        if (node === undefined) {
          over = 'pruned';
          return undefined;
        }
        if (!this.#bounded) this.#compare(node.enabled, node.touches);
        this.#advance(node);
        return node.chosen;
      },
      Atomics,
      false,
    );
    try {
      if (execution.run()) this.executions++;
      else if (over === 'cut') this.cut++;
      else this.pruned++;
      return undefined;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      const schedule = this.#nodes.slice(0, this.#depth).map(({ chosen }) => chosen);
      return replay(this.#program, schedule);
    } finally {
      this.steps += this.#depth;
    }
  }

  /** A state that no execution was in before. Undefined where all that can happen is covered by others. */
  #arrive(state: Execution): Node | undefined {
    const enabled = state.enabled();
    const before = this.#nodes[this.#depth - 1];
    const last = before?.chosen;
    const touches = new Map<number, readonly Touch[]>();
    for (let actor = 0; actor < this.#actors; actor++) {
      const touched = state.touches(actor);
      if (touched.length > 0) touches.set(actor, touched);
    }
    const sleep = new Map<number, readonly Touch[]>();
    if (before !== undefined && !this.#bounded) {
      const took = before.touches.get(before.chosen) ?? [];
      for (const [actor, touched] of before.sleep) if (!dependent(touched, took)) sleep.set(actor, touched);
      for (const actor of before.done) {
        const touched = before.touches.get(actor) ?? [];
        if (actor !== before.chosen && !dependent(touched, took)) sleep.set(actor, touched);
      }
    }
    const awake = enabled.filter((actor) => !sleep.has(actor));
    // The thread that runs goes on: others follow by backtracking.
    const chosen = last !== undefined && awake.includes(last) ? last : awake[0];
    if (chosen === undefined) {
      this.#compare(enabled, touches);
      return undefined;
    }
    const preemptions = before === undefined ? 0 : before.preemptions + this.#cost(before, chosen, enabled);
    const node: Node = { enabled, backtrack: new Set([chosen]), done: new Set(), sleep, touches, chosen, preemptions };
    // Whose sleep ends keeps the others asleep.
    if (state.isLate()) for (const actor of enabled) node.backtrack.add(actor);
    if (this.#bounded) {
      for (const actor of enabled) {
        const cost = before === undefined ? 0 : this.#cost(before, actor, enabled);
        if ((before?.preemptions ?? 0) + cost <= (this.#options.preemptions ?? 0)) node.backtrack.add(actor);
      }
    }
    this.#nodes.push(node);
    return node;
  }

  /** 1 where this cuts short a thread that could go on. A death is no switch. */
  #cost(before: Node, chosen: number, enabled: readonly number[]): number {
    const threads = this.#program.threads.length;
    return chosen !== before.chosen && chosen < threads && before.chosen < threads && enabled.includes(before.chosen) ? 1 : 0;
  }

  /**
   * Finds steps taken before that an actor's next step races with: nothing between the two orders them. Where such a step was taken,
   * one of those is tried that a way to the other order begins with.
   */
  #compare(enabled: readonly number[], about: ReadonlyMap<number, readonly Touch[]>): void {
    this.#next = about;
    for (const actor of enabled) {
      const touches = about.get(actor) ?? [];
      let ordered: Clock = this.#clocks[actor] ?? [];
      for (let i = this.#steps.length - 1; i >= 0; i--) {
        const step = this.#steps[i];
        if (step === undefined || step.actor === actor || i < (ordered[step.actor] ?? 0) || !dependent(step.touches, touches)) continue;
        this.#reverse(i, step, actor);
        ordered = join(ordered, step.clock);
      }
    }
  }

  /** Sees to it that from the state before step `i` a way is taken on which `actor` comes first. */
  #reverse(i: number, { actor: first }: Step, actor: number): void {
    const at = this.#nodes[i];
    if (at === undefined) throw new KernelBug('a step without a state');
    // The way: all later steps that do not follow from step i, then the actor. It can begin with whoever waits for none of the others.
    const begins: number[] = [];
    const way: Step[] = [];
    for (const step of [...this.#steps.slice(i + 1), undefined]) {
      const who = step?.actor ?? actor;
      const clock = step?.clock ?? this.#clocks[actor] ?? [];
      if (step !== undefined && i < (clock[first] ?? 0)) continue;
      const waits =
        way.some((before) => before.actor === who || before.index < (clock[before.actor] ?? 0)) ||
        (step === undefined && this.#waits(way, actor));
      if (!waits) begins.push(who);
      if (step !== undefined) way.push(step);
    }
    if (begins.some((who) => at.backtrack.has(who) || at.sleep.has(who))) return;
    const able = begins.find((who) => at.enabled.includes(who));
    if (able !== undefined) at.backtrack.add(able);
    else for (const who of at.enabled) at.backtrack.add(who);
  }

  /** Whether an actor's next step depends on one of these. */
  #waits(way: readonly Step[], actor: number): boolean {
    const touches = this.#next.get(actor) ?? [];
    return way.some((step) => dependent(step.touches, touches));
  }

  #advance(node: Node): void {
    const actor = node.chosen;
    const touches = node.touches.get(actor) ?? [];
    node.done.add(actor);
    // A thread's last step takes its death away: it could have come before.
    const death = actor + this.#program.threads.length;
    if (node.enabled.includes(death)) node.backtrack.add(death);
    let clock: Clock = this.#clocks[actor] ?? [];
    for (const { what, write } of touches) {
      clock = join(clock, this.#writes.get(what));
      if (write) clock = join(clock, this.#reads.get(what));
    }
    const now = clock.map((time, i) => (i === actor ? this.#steps.length + 1 : time));
    this.#clocks[actor] = now;
    for (const { what, write } of touches) {
      if (write) this.#writes.set(what, now);
      this.#reads.set(what, join(now, this.#reads.get(what)));
    }
    this.#steps.push({ index: this.#steps.length, actor, touches, clock: now });
    this.#depth++;
  }

  /** Goes back to the last state with something left to choose. False where there is none. */
  #backtrack(): boolean {
    for (;;) {
      const node = this.#nodes.at(-1);
      if (node === undefined) return false;
      const left = [...node.backtrack].find((actor) => !node.done.has(actor) && !node.sleep.has(actor));
      if (left !== undefined) {
        const before = this.#nodes.at(-2);
        node.chosen = left;
        node.preemptions = before === undefined ? 0 : before.preemptions + this.#cost(before, left, node.enabled);
        return true;
      }
      this.#nodes.pop();
    }
  }
}

/** The memory that all executions begin with. */
function prepare(program: Program<unknown>): ArrayBuffer {
  const buffer = new ArrayBuffer(program.bytes);
  program.prepare?.(quietWords(buffer));
  return buffer;
}

/** Runs the program in every order, or finds one that fails. */
export function explore<R>(program: Program<R>, options: ExploreOptions = {}): Exploration {
  const search = new Search(program as Program<unknown>, options);
  const failure = search.run();
  const { executions, steps, pruned, cut } = search;
  return { executions, steps, pruned, cut, complete: failure === undefined && search.complete && cut === 0, failure };
}

/** Runs one order again, for a debugger or a closer look. Undefined where nothing fails in it. */
export function replay<R>(program: Program<R>, schedule: readonly number[]): ExplorationFailure | undefined {
  let at = 0;
  const execution = new Execution(program as Program<unknown>, prepare(program as Program<unknown>), () => schedule[at++], Atomics, true);
  try {
    execution.run();
    return undefined;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return { message: error.message, schedule, trace: execution.trace, cause: error.cause };
  }
}

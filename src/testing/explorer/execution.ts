/**
 * One execution of a program's threads, one step after another. A thread is an ordinary function; it is suspended by an exception and
 * goes on by running anew from its start, with the results of its earlier steps from a record. So it must be a function of those alone.
 */
import { KernelBug } from '../../abi/errors.ts';
import type { SyncWords, Wait } from '../../abi/sync.ts';
import { exploredMemory, quietWords, type AtomicKind, type ExploredMemory, type Stepper } from './memory.ts';
import { Races } from './races.ts';

/** What a step touches. Steps of two threads that touch the same, one of them to change it, come out differently in another order. */
export interface Touch {
  /** A word's index; below 0 the sleepers of a word; from LIFE on whether a thread lives. */
  readonly what: number;
  readonly write: boolean;
}

const LIFE = 2 ** 40;
/** Only one dies. */
const ANYBODY = LIFE - 1;
/** A sleep that ends by itself ends for one, and then time stands still again. */
const TIME = LIFE - 2;
const sleepersOf = (index: number): number => -1 - index;

interface Pending {
  readonly kind: AtomicKind | 'wait' | 'resume' | 'wake' | 'alive';
  readonly index: number;
  readonly touches: readonly Touch[];
  readonly text: string;
  /** Does it. Returns the result. */
  readonly run: () => number | boolean | string;
}

interface Recorded {
  readonly kind: string;
  readonly index: number;
  readonly result: unknown;
}

type State = 'ready' | 'asleep' | 'done' | 'dead';

interface Running {
  readonly record: Recorded[];
  /** How much of the record this run has used. */
  cursor: number;
  state: State;
  pending: Pending | undefined;
  /** The word that it sleeps on, and whether it may give up. */
  sleepsOn: number;
  mayTimeOut: boolean;
  timeOuts: number;
  woken: Wait | undefined;
  result: unknown;
}

/** Unwinds a thread that another goes before. */
const SUSPENDED: unique symbol = Symbol('suspended');

export class Failure extends Error {}

export interface Program<R> {
  /** Bytes of memory. Thread `i` is number i + 1 to `threads` of the words; time stands still. */
  readonly bytes: number;
  /** Runs first, alone; its steps are none. */
  readonly prepare?: (words: SyncWords) => void;
  readonly threads: readonly ((words: SyncWords) => R)[];
  /** Threads that may die between any two steps; each execution loses at most one. */
  readonly mortal?: readonly number[];
  /** How often a sleep with a timeout comes back in one thread, when nobody else can go on. 4 by default. */
  readonly timeOuts?: number;
  /** Judges an execution that came to its end: throws what is wrong. */
  readonly check?: (outcome: Outcome<R>) => void;
}

export interface Outcome<R> {
  /** Undefined for who died. */
  readonly results: readonly (R | undefined)[];
  readonly died: number | undefined;
  /** The memory, as ordinary arrays. */
  readonly words: SyncWords;
}

/** Chooses among those that can go on. Undefined ends the execution. */
export type Choose = (execution: Execution) => number | undefined;

export class Execution implements Stepper {
  readonly #program: Program<unknown>;
  readonly #memory: ExploredMemory;
  readonly #buffer: ArrayBuffer;
  readonly #i32: Int32Array;
  readonly #threads: Running[];
  readonly #races: Races;
  readonly #choose: Choose;
  readonly #sleeping = new Map<number, number[]>();
  #current = -1;
  #granted = false;
  #suspending = false;
  #next: number | undefined;
  #died: number | undefined;
  /** What happened, for people; kept only where it was asked for. */
  readonly trace: string[] = [];
  readonly #traced: boolean;

  constructor(program: Program<unknown>, prepared: ArrayBuffer, choose: Choose, real: typeof Atomics, traced: boolean) {
    this.#traced = traced;
    this.#program = program;
    this.#buffer = prepared.slice(0);
    this.#i32 = new Int32Array(this.#buffer);
    this.#memory = exploredMemory(this.#buffer, this, real);
    this.#choose = choose;
    this.#races = new Races(program.threads.length);
    this.#threads = program.threads.map(() => ({
      record: [],
      cursor: 0,
      state: 'ready',
      pending: undefined,
      sleepsOn: 0,
      mayTimeOut: false,
      timeOuts: 0,
      woken: undefined,
      result: undefined,
    }));
  }

  /** Threads, and behind them the deaths of the mortal ones. */
  get actors(): number {
    return this.#threads.length * 2;
  }

  #thread(index: number): Running {
    const thread = this.#threads[index];
    if (thread === undefined) throw new KernelBug(`no thread ${index}`);
    return thread;
  }

  /** Who can go on now. */
  enabled(): number[] {
    const able = this.#threads.flatMap((thread, i) =>
      thread.state === 'ready' || (thread.state === 'asleep' && thread.woken !== undefined) ? [i] : [],
    );
    const deaths =
      this.#died === undefined
        ? (this.#program.mortal ?? []).filter((i) => !['done', 'dead'].includes(this.#thread(i).state)).map((i) => i + this.#threads.length)
        : [];
    // Time passes only when nobody else can go on. Who sleeps for ever is not saved by a death.
    const most = this.#program.timeOuts ?? 4;
    const late = this.#threads.flatMap((thread, i) =>
      thread.state === 'asleep' && thread.mayTimeOut && thread.timeOuts < most ? [i] : [],
    );
    const living = able.length > 0 ? able : late;
    return living.length > 0 ? [...living, ...deaths] : [];
  }

  /** Whether nobody can go on but by the end of a timeout. */
  isLate(): boolean {
    return !this.#threads.some((thread) => thread.state === 'ready' || (thread.state === 'asleep' && thread.woken !== undefined));
  }

  /** What an actor would touch next. */
  touches(actor: number): readonly Touch[] {
    const index = actor % this.#threads.length;
    const { pending, state } = this.#thread(index);
    if (pending === undefined || state === 'done' || state === 'dead') return [];
    const mortal = (this.#program.mortal ?? []).includes(index);
    const late = state === 'asleep' && this.#thread(index).woken === undefined ? [{ what: TIME, write: true }] : [];
    if (actor !== index) {
      const one = { what: ANYBODY, write: true };
      return mortal && this.#died === undefined ? [{ what: LIFE + index, write: true }, one] : [];
    }
    return mortal ? [...pending.touches, ...late, { what: LIFE + actor, write: false }] : [...pending.touches, ...late];
  }

  /** Runs to the end, or until `choose` gives up. Throws Failure. Returns whether it came to the end. */
  run(): boolean {
    const real = globalThis.Atomics;
    globalThis.Atomics = this.#memory.atomics;
    try {
      for (let i = 0; i < this.#threads.length; i++) {
        this.#next = undefined;
        this.#resume(i, false);
      }
      this.#next = this.#decide();
      while (this.#next !== undefined) {
        const actor = this.#next;
        this.#next = undefined;
        if (actor >= this.#threads.length) {
          this.#die(actor - this.#threads.length);
          this.#next = this.#decide();
        } else this.#resume(actor, true);
      }
    } finally {
      globalThis.Atomics = real;
    }
    if (this.enabled().length > 0) return false;
    const stuck = this.#threads.flatMap((thread, i) =>
      thread.state === 'asleep' ? [`thread ${i} sleeps on word ${thread.sleepsOn}`] : [],
    );
    if (stuck.length > 0) throw new Failure(`${stuck.join(', ')}, and nobody will wake it`);
    this.#judge();
    return true;
  }

  #judge(): void {
    const { check } = this.#program;
    if (check === undefined) return;
    try {
      check({ results: this.#threads.map(({ result }) => result), died: this.#died, words: quietWords(this.#buffer) });
    } catch (error) {
      throw new Failure(error instanceof Error ? error.message : String(error), { cause: error });
    }
  }

  #die(index: number): void {
    const thread = this.#thread(index);
    thread.state = 'dead';
    this.#died = index;
    this.#sleeping.get(thread.sleepsOn)?.splice(0, Number.MAX_SAFE_INTEGER, ...this.#sleepersBut(thread.sleepsOn, index));
    if (this.#traced) this.trace.push(`thread ${index} dies`);
  }

  #sleepersBut(word: number, index: number): number[] {
    return (this.#sleeping.get(word) ?? []).filter((other) => other !== index);
  }

  /** `grant`: the step that it waits to make is its turn now. Otherwise it only runs up to its first step. */
  #resume(index: number, grant: boolean): void {
    const thread = this.#thread(index);
    const body = this.#program.threads[index];
    if (body === undefined) throw new KernelBug(`no thread ${index}`);
    this.#current = index;
    this.#granted = grant;
    this.#suspending = false;
    thread.cursor = 0;
    try {
      thread.result = body(this.#memory.words);
    } catch (error) {
      if (this.#suspending) return;
      if (error instanceof Failure || error instanceof KernelBug) throw error;
      throw new Failure(`thread ${index} threw ${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}`, {
        cause: error,
      });
    }
    // It caught what suspends it: what it did since, it does again.
    if (this.#suspending) return;
    thread.state = 'done';
    thread.pending = undefined;
    this.#next = grant ? this.#decide() : undefined;
  }

  #decide(): number | undefined {
    return this.enabled().length === 0 ? undefined : this.#choose(this);
  }

  /** A step of the current thread: waits for its turn, does it, records it. */
  #step(pending: Pending): unknown {
    if (this.#suspending) throw SUSPENDED;
    const thread = this.#thread(this.#current);
    const known = thread.record[thread.cursor];
    if (known !== undefined) return this.#replay(thread, known, pending.kind, pending.index);
    thread.pending = pending;
    if (!this.#granted) this.#yieldTurn(this.#beginning ? undefined : this.#decide());
    this.#granted = false;
    this.#beginning = false;
    const result = pending.run();
    if (this.#traced) this.trace.push(`thread ${this.#current} ${pending.text} -> ${result}`);
    thread.record.push({ kind: pending.kind, index: pending.index, result });
    thread.cursor++;
    return result;
  }

  #beginning = true;

  #replay(thread: Running, known: Recorded, kind: string, index: number): unknown {
    if (known.kind !== kind || known.index !== index)
      throw new KernelBug(
        `thread ${this.#current} is no function of its steps: it did ${known.kind} ${known.index}, and now ${kind} ${index}`,
      );
    thread.cursor++;
    return known.result;
  }

  /** Goes on if it is the current thread's turn, suspends it otherwise. */
  #yieldTurn(next: number | undefined): void {
    if (next === this.#current) return;
    this.#next = next;
    this.#suspending = true;
    throw SUSPENDED;
  }

  #raced(other: number | undefined, text: string): void {
    if (other !== undefined) throw new Failure(`a race: thread ${this.#current} ${text}, and nothing orders it against thread ${other}`);
  }

  atomic(kind: AtomicKind, index: number, value: number, expected: number): number {
    const text =
      kind === 'compareExchange' ? `${kind} [${index}] ${expected} to ${value}` : `${kind} [${index}]${kind === 'load' ? '' : ` ${value}`}`;
    const touches = [{ what: index, write: kind !== 'load' }];
    return Number(this.#step({ kind, index, touches, text, run: () => this.#access(kind, index, value, expected, text) }));
  }

  #access(kind: AtomicKind, index: number, value: number, expected: number, text: string): number {
    const held = this.#i32[index] ?? 0;
    const fails = kind === 'compareExchange' && held !== expected;
    this.#raced(this.#races.atomic(this.#current, index, kind !== 'store', kind !== 'load' && !fails), text);
    if (kind !== 'load' && !fails) this.#i32[index] = AFTER[kind](held, value);
    return kind === 'store' ? value : held;
  }

  get current(): number {
    return this.#current;
  }

  lives(index: number): boolean {
    const touches = [{ what: LIFE + index, write: false }];
    const run = (): boolean => {
      const alive = this.#thread(index).state !== 'dead';
      if (!alive) this.#races.saw(this.#current, index);
      return alive;
    };
    return this.#step({ kind: 'alive', index, touches, text: `asks for thread ${index}`, run }) === true;
  }

  wait(index: number, value: number, timeout: number): Wait {
    const touches = [
      { what: index, write: false },
      { what: sleepersOf(index), write: true },
    ];
    const sleeps = this.#step({
      kind: 'wait',
      index,
      touches,
      text: `waits on [${index}] while ${value}`,
      run: () => {
        this.#raced(this.#races.atomic(this.#current, index, true, false), `waits on [${index}]`);
        if (this.#i32[index] !== value) return false;
        this.#fallAsleep(index, timeout !== Number.POSITIVE_INFINITY);
        return true;
      },
    });
    if (sleeps !== true) return 'changed';
    const woken = this.#step({
      kind: 'resume',
      index,
      touches: [{ what: sleepersOf(index), write: true }],
      text: `wakes up on [${index}]`,
      run: () => this.#wakeUp(index),
    });
    return woken === 'woken' ? 'woken' : 'timedOut';
  }

  #fallAsleep(index: number, mayTimeOut: boolean): void {
    const thread = this.#thread(this.#current);
    thread.state = 'asleep';
    thread.sleepsOn = index;
    thread.mayTimeOut = mayTimeOut;
    thread.woken = undefined;
    this.#sleeping.set(index, [...(this.#sleeping.get(index) ?? []), this.#current]);
  }

  #wakeUp(index: number): Wait {
    const thread = this.#thread(this.#current);
    const why = thread.woken ?? 'timedOut';
    if (why === 'timedOut') {
      thread.timeOuts++;
      this.#sleeping.set(index, this.#sleepersBut(index, this.#current));
    }
    thread.state = 'ready';
    thread.woken = undefined;
    return why;
  }

  wake(index: number, count: number): number {
    const touches = [{ what: sleepersOf(index), write: true }];
    const run = (): number => {
      const asleep = this.#sleeping.get(index) ?? [];
      const woken = asleep.splice(0, Math.min(count, asleep.length));
      for (const each of woken) {
        this.#thread(each).woken = 'woken';
        this.#races.woke(this.#current, each);
      }
      return woken.length;
    };
    return Number(this.#step({ kind: 'wake', index, touches, text: `wakes ${count} on [${index}]`, run }));
  }

  plain<T>(write: boolean, at: number, length: number, access: () => T): T {
    if (this.#suspending) throw SUSPENDED;
    const thread = this.#thread(this.#current);
    const known = thread.record[thread.cursor];
    const kind = write ? 'stores' : 'reads';
    if (known !== undefined) return this.#replay(thread, known, kind, at) as T;
    for (let word = at >>> 2; word < (at + length + 3) >>> 2; word++)
      this.#raced(this.#races.plain(this.#current, word, write), `${kind} bytes ${at} to ${at + length} plainly`);
    const result = access();
    thread.record.push({ kind, index: at, result });
    thread.cursor++;
    if (this.#traced) this.trace.push(`thread ${this.#current} ${kind} bytes ${at} to ${at + length}`);
    return result;
  }
}

const AFTER: Readonly<Record<Exclude<AtomicKind, 'load'>, (held: number, value: number) => number>> = {
  store: (_held, value) => value,
  exchange: (_held, value) => value,
  compareExchange: (_held, value) => value,
  add: (held, value) => held + value,
  sub: (held, value) => held - value,
  and: (held, value) => held & value,
  or: (held, value) => held | value,
  xor: (held, value) => held ^ value,
};

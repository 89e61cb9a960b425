/**
 * What the processes of a crowd of nodes share, what they say of what they do, and what must come of it. A process says each thing before it does
 * the next, in a line of JSON on a pipe: what it has said outlives it.
 */
import type { ObjectId } from '../../abi/id.ts';
import { orderedMap } from '../../lib/collections/ordered-map.ts';
import { f64, text } from '../../lib/fields.ts';

import { ref, struct } from '../../lib/struct.ts';
import { History, type Final, type Outcome, type Step } from './history.ts';

export const Cell = struct('CrowdCell', { tag: f64, count: f64, balance: f64 });
/** The last of its entries are there. */
export const Ledger = struct('CrowdLedger', { tag: f64, count: f64, balance: f64, entries: orderedMap(f64, text) });
/** Made with its shelf's number: the one before has one less. */
export const Item = struct('CrowdItem', {
  number: f64,
  tag: f64,
  get before() {
    return ref(Item);
  },
});
export const Shelf = struct('CrowdShelf', {
  tag: f64,
  count: f64,
  balance: f64,
  get newest() {
    return ref(Item);
  },
});

/** What it refers to was deleted when that was stored. */
export const Grave = struct('CrowdGrave', {
  tag: f64,
  count: f64,
  balance: f64,
  get buried() {
    return ref(Cell);
  },
});

/** How often each run counted, by the number of its step, and how many did. */
export const Tally = struct('CrowdTally', { done: f64, runs: orderedMap(f64, f64) });

export const ENTRIES = 200;
export const ITEMS = 300;
export const BALANCE = 100;

/** Calls of the crowd that are not what they say, each of which must be found. */
export const BROKEN = ['acknowledged', 'apart', 'stale', 'twice'] as const;
/**
 *   acknowledged  what is committed on its node only is said to be in the engine
 *   apart         what is to be written together is written one by one
 *   stale         what is said to be fresh is what was there before
 *   twice         a run that was done is done again
 */
export type Broken = (typeof BROKEN)[number];

/** Objects that are written together: equal, or the sum of their balances stays. */
export interface Together {
  readonly kind: 'equal' | 'sum';
  readonly names: readonly string[];
}

export const TOGETHER: readonly Together[] = [
  { kind: 'equal', names: ['p0', 'p1'] },
  { kind: 'equal', names: ['q0', 'q1', 'q2'] },
  { kind: 'sum', names: ['b0', 'b1', 'b2'] },
];
export const ALONE = ['r0', 'r1', 'l0', 'l1', 's0', 's1', 'g0', 'g1'] as const;
export const TALLIES = ['t0', 't1'] as const;
/** Who makes what at first, by the number of the node. */
export const FOUNDED: readonly (readonly string[])[] = [
  ['r0', 'l1', 'p0', 'p1', 's0', 'g0', 't0'],
  ['r1', 'q0', 'q1', 'b0', 'b1', 's1', 't1'],
  ['l0', 'q2', 'b2', 'g1'],
];

export type Table = Readonly<Record<string, ObjectId>>;

export type Command =
  | { readonly do: 'make'; readonly names: readonly string[] }
  | { readonly do: 'go'; readonly seed: number; readonly life: number; readonly table: Table; readonly broken?: Broken | undefined }
  /** Ends what is under way, and begins nothing. */
  | { readonly do: 'rest' }
  /** Shows all it has, as it is when nobody does anything any more: an image of each object as a file in that directory. */
  | { readonly do: 'show'; readonly table: Table; readonly directory: string }
  | { readonly do: 'leave' };

export type Said =
  | { readonly is: 'opening' | 'joining' | 'here' | 'resting' | 'leaving'; readonly at: number }
  | { readonly is: 'made'; readonly table: Table }
  /** `runs`: tallies that a function which is run counts in, one transaction each. */
  | {
      readonly is: 'begin';
      readonly tag: number;
      readonly what: string;
      readonly at: number;
      readonly ms: number;
      readonly runs?: readonly string[] | undefined;
    }
  /** From now on it may take effect. */
  | {
      readonly is: 'write';
      readonly tag: number;
      readonly saw: Readonly<Record<string, number>>;
      readonly made: ObjectId | undefined;
    }
  | {
      readonly is: 'end';
      readonly tag: number;
      readonly at: number;
      readonly error: string;
      readonly saw: Readonly<Record<string, number>> | undefined;
      /** Which of all runs that counted in the first tally it was. */
      readonly gave?: number | undefined;
    }
  /** That object is nowhere, it was told. */
  | { readonly is: 'missing'; readonly tag: number; readonly id: ObjectId; readonly fault: string }
  | { readonly is: 'fault'; readonly fault: string }
  | {
      readonly is: 'shown';
      readonly finals: Readonly<Record<string, { readonly tag: number; readonly count: number }>>;
      readonly tallies: Tallies;
    };

/** Of each tally how often it was counted in, by the number of the step. */
export type Tallies = Readonly<Record<string, readonly (readonly [number, number])[]>>;

/** What is wrong with objects that are written together, as somebody saw them at one moment. */
export function torn(kind: Together['kind'], cells: readonly { readonly tag: number; readonly balance: number }[]): boolean {
  if (kind === 'equal') return cells.some(({ tag }) => tag !== cells[0]?.tag);
  return cells.reduce((sum, { balance }) => sum + balance, 0) !== BALANCE * cells.length;
}

export interface Told {
  readonly step: Step;
  readonly ms: number;
  saw: Readonly<Record<string, number>>;
  wrote: boolean;
  readonly runs: readonly string[];
  gave: number;
}

/** All that was said, as one history. */
export class Story {
  readonly #history = new History();
  readonly #told = new Map<number, Told>();
  readonly #makers = new Map<ObjectId, Told>();

  get steps(): readonly Step[] {
    return this.#history.steps;
  }

  /** Undefined where nothing of a step was said. */
  hear(node: string, said: Said): Told | undefined {
    if (said.is === 'begin') {
      const { what, at, ms, runs = [] } = said;
      // A run may have its effect from the moment it is asked for.
      const told: Told = { step: this.#history.begin(node, what, at), ms, saw: {}, wrote: runs.length > 0, runs, gave: NaN };
      this.#told.set(said.tag, told);
      return told;
    }
    if (said.is !== 'write' && said.is !== 'end') return undefined;
    const told = this.#told.get(said.tag);
    if (told === undefined) throw new Error(`step ${said.tag} of ${node} was never begun`);
    if (said.is === 'write') {
      told.wrote = true;
      told.saw = said.saw;
      if (said.made !== undefined) this.#makers.set(said.made, told);
      return told;
    }
    if (said.saw !== undefined) told.saw = this.#known(node, said.saw);
    told.step.error = said.error;
    told.gave = said.gave ?? NaN;
    const none = told.runs.length > 0 ? 'Unreachable' : 'Fenced';
    this.#end(told, said.error === '' ? 'done' : told.wrote && said.error !== none ? 'unknown' : 'refused', said.at);
    return told;
  }

  /** Without what that node alone has so far: it sees its own commits before they are in the engine, and those count that come to be there. */
  #known(node: string, saw: Told['saw']): Told['saw'] {
    const alone = (tag: number): boolean => {
      const step = this.#told.get(tag)?.step;
      return step?.node === node && step.outcome !== 'done';
    };
    return Object.fromEntries(Object.entries(saw).filter(([, tag]) => !alone(tag)));
  }

  /** Had the step that made it been acknowledged before that other step began? If not, its node may have it alone, and not be there. */
  wasKept(id: ObjectId, tag: number): boolean {
    const made = this.#makers.get(id)?.step;
    const step = this.#told.get(tag)?.step;
    return made === undefined || step === undefined || (made.outcome === 'done' && made.end < step.start);
  }

  /** Whoever was at it is dead. */
  abandon(told: Told, now: number): void {
    if (told.step.outcome === 'running') this.#end(told, told.wrote ? 'unknown' : 'refused', now);
  }

  /** What is not known may have its effect later. */
  #end({ step }: Told, outcome: Outcome, at: number): void {
    step.outcome = outcome;
    if (outcome !== 'unknown') step.end = at;
  }

  tell(tag: number): string {
    const told = this.#told.get(tag);
    return told === undefined ? `step ${tag}` : this.#history.tell(told.step.id);
  }

  /** Everything that is against it. */
  judge(
    finals: Readonly<Record<string, { readonly tag: number; readonly count: number }>>,
    tallies: Tallies,
  ): {
    readonly faults: string[];
    readonly effects: number;
  } {
    // What nobody has begun is not there; the history says so of a number that it does not know.
    const idOf = (tag: number): number => (tag === 0 ? 0 : (this.#told.get(tag)?.step.id ?? this.steps.length + 1));
    for (const { step, saw, wrote, runs } of this.#told.values()) {
      if (runs.length > 0) continue;
      for (const [name, tag] of Object.entries(saw)) {
        step.saw.set(name, idOf(tag));
        if (wrote) step.wrote.add(name);
      }
    }
    const all = new Map<string, Final>();
    for (const [name, { tag, count }] of Object.entries(finals)) all.set(name, { tag: idOf(tag), count, made: 0 });
    const { wrong, lost, duplicated, effects } = this.#history.judge(all);
    const faults = [...wrong.map((each) => `wrong: ${each}`), ...lost.map((each) => `lost: ${each}`)];
    return { faults: [...faults, ...duplicated.map((each) => `duplicated: ${each}`), ...this.#judgeRuns(tallies)], effects };
  }

  /** Each run counted once at most, and if it was told to be done, once; those that were told were in one order that fits the time they took. */
  #judgeRuns(tallies: Tallies): string[] {
    const faults: string[] = [];
    for (const [name, counts] of Object.entries(tallies)) {
      const often = new Map(counts);
      for (const [tag, count] of often)
        if (this.#told.get(tag)?.runs.includes(name) !== true) faults.push(`wrong: ${name}: nobody has run what counted as ${tag}`);
        else if (count > 1) faults.push(`duplicated: ${name}: ${this.tell(tag)} counted ${count} times`);
      for (const [tag, { step, runs }] of this.#told) {
        if (!runs.includes(name)) continue;
        const isThere = often.has(tag);
        if (step.outcome === 'done' && !isThere) faults.push(`lost: ${name}: ${this.tell(tag)} has not counted`);
        if (step.outcome === 'refused' && isThere) faults.push(`wrong: ${name}: ${this.tell(tag)} has counted`);
      }
      const done = [...this.#told].filter(([, { step, runs }]) => step.outcome === 'done' && runs[0] === name);
      done.sort(([, a], [, b]) => a.gave - b.gave);
      let last: readonly [number, Told] | undefined;
      for (const each of done) {
        const [tag, { step, gave }] = each;
        if (last !== undefined && !(gave > last[1].gave))
          faults.push(`wrong: ${name}: ${this.tell(tag)} was number ${gave}, as another was`);
        if (last !== undefined && step.end < last[1].step.start)
          faults.push(`wrong: ${name}: ${this.tell(tag)} counted behind ${this.tell(last[0])}`);
        if (last === undefined || step.start > last[1].step.start) last = each;
      }
    }
    return faults;
  }
}

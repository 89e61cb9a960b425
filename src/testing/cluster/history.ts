/**
 * What clients of a cluster did and learned, and whether one order explains it.
 *
 * Every object holds the number of the step that wrote it last, and every step that writes an object reads that number first. So the steps
 * that took effect form a chain an object, which is read off backwards from what is there in the end; and one order for all of them exists,
 * in which each step falls between its call and its answer, exactly if these edges have no circle:
 *
 *   the writer before  ->  the writer        of each object
 *   writer  ->  who read it  ->  the next writer
 *   step  ->  its answer  ->  every later call
 *
 * Invariants that are judged:
 *   wrong       a circle; a step that took effect although it was told that it did not; one that took effect on a part of its objects
 *   lost        a step that was acknowledged and is in no chain
 *   duplicated  a step that is counted more than once
 */

export type Outcome = 'running' | 'done' | 'unknown' | 'refused';

export interface Step {
  /** From 1 on. */
  readonly id: number;
  readonly node: string;
  readonly what: string;
  readonly start: number;
  /** When it was answered. */
  end: number;
  outcome: Outcome;
  /** What it read, by object: the step that had written it. */
  readonly saw: Map<string, number>;
  /** Objects that it wrote. */
  readonly wrote: Set<string>;
  /** Which error it ended in. */
  error: string;
}

/** What an object holds in the end. */
export interface Final {
  readonly tag: number;
  readonly count: number;
  /** The step that made it; 0: it was there from the beginning. */
  readonly made: number;
}

export interface Verdict {
  readonly wrong: string[];
  readonly lost: string[];
  readonly duplicated: string[];
  /** Steps that took effect. */
  readonly effects: number;
  readonly took: ReadonlySet<number>;
}

export class History {
  readonly steps: Step[] = [];

  begin(node: string, what: string, now: number): Step {
    const step: Step = {
      id: this.steps.length + 1,
      node,
      what,
      start: now,
      end: Infinity,
      outcome: 'running',
      saw: new Map(),
      wrote: new Set(),
      error: '',
    };
    this.steps.push(step);
    return step;
  }

  tell(id: number): string {
    const step = this.steps[id - 1];
    if (step === undefined) return `step ${id}`;
    const { node, what, start, end, outcome, error } = step;
    return `step ${id} (${node}: ${what}, ${start.toFixed(1)} to ${end.toFixed(1)}, ${outcome}${error === '' ? '' : ` ${error}`})`;
  }

  /** `final`: of the objects that were not deleted. */
  judge(final: ReadonlyMap<string, Final>): Verdict {
    const wrong: string[] = [];
    const duplicated: string[] = [];
    const chains = new Map<string, number[]>();
    for (const [name, each] of final) chains.set(name, this.#chain(name, each, wrong, duplicated));
    const effects = new Set<number>();
    for (const chain of chains.values()) for (const id of chain) effects.add(id);
    const lost = this.#judgeSteps(final, chains, effects, wrong);
    if (wrong.length === 0 && lost.length === 0 && duplicated.length === 0) this.#order(chains, wrong);
    return { wrong, lost, duplicated, effects: effects.size, took: effects };
  }

  /** Writers of an object, the first one first. */
  #chain(name: string, { tag, count, made }: Final, wrong: string[], duplicated: string[]): number[] {
    const chain: number[] = [];
    const known = new Set<number>();
    for (let id = tag; id !== made;) {
      const step = this.steps[id - 1];
      const before = step?.saw.get(name);
      if (step === undefined || before === undefined || !step.wrote.has(name) || known.has(id)) {
        wrong.push(`${name}: what ${this.tell(id)} is said to have written was written by nobody, or twice`);
        break;
      }
      known.add(id);
      chain.unshift(id);
      id = before;
    }
    if (made !== 0) chain.unshift(made);
    const effects = chain.length - (made === 0 ? 0 : 1);
    if (count > effects) duplicated.push(`${name}: ${effects} steps, and ${count} are counted`);
    else if (count < effects) wrong.push(`${name}: ${effects} steps, and only ${count} are counted`);
    return chain;
  }

  #judgeSteps(
    final: ReadonlyMap<string, Final>,
    chains: ReadonlyMap<string, readonly number[]>,
    effects: ReadonlySet<number>,
    wrong: string[],
  ): string[] {
    const lost: string[] = [];
    const sets = new Map([...chains].map(([name, chain]) => [name, new Set(chain)]));
    for (const { id, outcome, wrote, saw } of this.steps) {
      const names = [...wrote].filter((name) => final.has(name));
      const there = names.filter((name) => sets.get(name)?.has(id) === true);
      if (outcome === 'done' && there.length < names.length)
        lost.push(`${this.tell(id)} was acknowledged, and is not in ${names.filter((name) => !there.includes(name)).join(', ')}`);
      else if (outcome === 'refused' && effects.has(id)) wrong.push(`${this.tell(id)} was refused, and is in ${there.join(', ')}`);
      else if (there.length > 0 && there.length < names.length)
        wrong.push(`${this.tell(id)} is in ${there.join(', ')} and not in all of ${names.join(', ')}`);
      if (outcome === 'done' && wrote.size === 0)
        for (const [name, tag] of saw)
          if (tag !== 0 && final.has(name) && sets.get(name)?.has(tag) !== true)
            wrong.push(`${this.tell(id)} read in ${name} what ${this.tell(tag)} wrote, which is not there in the end`);
    }
    return lost;
  }

  /** Is there one order? */
  #order(chains: ReadonlyMap<string, readonly number[]>, wrong: string[]): void {
    const edges = new Map<string, string[]>();
    const degree = new Map<string, number>();
    const node = (name: string): string => {
      if (!degree.has(name)) degree.set(name, 0);
      return name;
    };
    const edge = (from: string, to: string): void => {
      node(from);
      degree.set(node(to), (degree.get(to) ?? 0) + 1);
      const list = edges.get(from);
      if (list === undefined) edges.set(from, [to]);
      else list.push(to);
    };
    const counted = new Set<number>();
    const next = new Map<string, number>();
    for (const [name, chain] of chains) {
      for (const [i, id] of chain.entries()) {
        counted.add(id);
        const before = chain[i - 1];
        if (before !== undefined) edge(`s${before}`, `s${id}`);
        next.set(`${name} ${before ?? 0}`, id);
      }
    }
    for (const { id, outcome, wrote, saw } of this.steps) {
      if (outcome !== 'done' || wrote.size > 0) continue;
      counted.add(id);
      for (const [name, tag] of saw) {
        if (!chains.has(name)) continue;
        if (tag !== 0) edge(`s${tag}`, `s${id}`);
        const after = next.get(`${name} ${tag}`);
        if (after !== undefined) edge(`s${id}`, `s${after}`);
      }
    }
    // Time is a line; steps hang on it by their call and their answer.
    const marks: { readonly at: number; readonly id: number; readonly answer: boolean }[] = [];
    for (const id of counted) {
      const step = this.steps[id - 1] as Step;
      marks.push({ at: step.start, id, answer: false });
      if (step.outcome === 'done') marks.push({ at: step.end, id, answer: true });
    }
    // Of what happened at the same instant nobody knows the order: calls come first.
    marks.sort((a, b) => a.at - b.at || Number(a.answer) - Number(b.answer) || a.id - b.id);
    for (const [i, { id, answer }] of marks.entries()) {
      if (i > 0) edge(`t${i - 1}`, `t${i}`);
      if (answer) edge(`s${id}`, `t${i}`);
      else edge(`t${i}`, `s${id}`);
    }
    const free = [...degree].filter(([, count]) => count === 0).map(([name]) => name);
    let done = 0;
    for (let name = free.pop(); name !== undefined; name = free.pop()) {
      done++;
      for (const to of edges.get(name) ?? []) {
        const left = (degree.get(to) ?? 0) - 1;
        degree.set(to, left);
        if (left === 0) free.push(to);
      }
    }
    if (done === degree.size) return;
    wrong.push(`no order explains it: ${this.#circle(edges, degree)}`);
  }

  #circle(edges: ReadonlyMap<string, readonly string[]>, degree: ReadonlyMap<string, number>): string {
    const caught = (name: string): boolean => (degree.get(name) ?? 0) > 0;
    // Whoever is left has somebody before it that is left: back along those there is a circle.
    const before = new Map<string, string>();
    for (const [from, list] of edges) if (caught(from)) for (const to of list) if (caught(to)) before.set(to, from);
    let at = [...before.keys()][0] ?? '';
    const path: string[] = [];
    while (!path.includes(at)) {
      path.push(at);
      at = before.get(at) ?? '';
    }
    return path
      .slice(path.indexOf(at))
      .toReversed()
      .filter((name) => name.startsWith('s'))
      .map((name) => this.tell(Number(name.slice(1))))
      .join(' -> ');
  }
}

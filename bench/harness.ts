/**
 * How a figure is taken: every contestant runs once unmeasured, then all take turns for several rounds, so that a slow minute of the
 * machine hits all of them. A figure is the median of its rounds, a ratio is the ratio of the two medians.
 *
 * `ratio` is always ours / theirs. `better` says which way is good: `lower` for times and bytes, `higher` for rates.
 */

export type Better = 'lower' | 'higher';

export interface Result {
  readonly benchmark: string;
  readonly name: string;
  readonly ours: number;
  readonly unit: string;
  readonly peer: string;
  /** Null where the peer did not run; `skipped` says why. */
  readonly theirs: number | null;
  /** ours / theirs. */
  readonly ratio: number | null;
  /** Smallest and largest ratio of a single round. */
  readonly range: readonly [number, number] | null;
  readonly better: Better;
  /** What the ratio must reach: at most this where lower is better, at least this where higher is. Null: shown for comparison only. */
  readonly target: number | null;
  readonly met: boolean | null;
  readonly rounds: number;
  readonly skipped?: string;
  readonly note?: string;
  /** The peer is no rival, but another case of ours, a limit, or what there is without us. */
  readonly reference?: true;
}

/** One who takes part: `measure` runs one round and returns its figure in the unit of the comparison. */
export interface Side {
  readonly name: string;
  readonly measure: () => number | Promise<number>;
  readonly note?: string;
}

/** A peer that cannot run on this machine, with the reason. */
export interface Absent {
  readonly name: string;
  readonly absent: string;
}

export interface Peer {
  readonly side: Side | Absent;
  readonly target?: number;
  /** Not a rival: another case of ours, or what there is without us. */
  readonly reference?: true;
}

export interface Comparison {
  readonly name: string;
  readonly unit: string;
  readonly better: Better;
  readonly ours: Side;
  readonly peers: readonly Peer[];
  /** A figure that ours must reach whatever anybody else does, in the unit. */
  readonly limit?: number;
}

export interface Context {
  /** Tiny sizes, and nothing is warmed up: shows that it runs, the figures mean nothing. */
  readonly quick: boolean;
  readonly rounds: number;
  /** An empty directory of this run; removed when the run ends. */
  readonly directory: string;
  /** `full`, or `quick` in a quick run. */
  readonly size: (full: number, quick: number) => number;
  /** `--entries N`, for the benchmarks that take it. */
  readonly entries?: number;
  readonly progress: (text: string) => void;
  readonly report: (result: Result) => void;
}

export interface Benchmark {
  readonly name: string;
  readonly about: string;
  readonly run: (context: Context) => Promise<void>;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** Nanoseconds, monotonic. */
export function nanoseconds(): number {
  return Number(process.hrtime.bigint());
}

/** Nanoseconds a call of `work`, which does `count` of them. */
export function timeEach(count: number, work: () => void): number {
  const start = nanoseconds();
  work();
  return (nanoseconds() - start) / count;
}

/** Operations a second of `work`, which does `count` of them. */
export function rate(count: number, work: () => void): number {
  return 1e9 / timeEach(count, work);
}

export async function rateAsync(count: number, work: () => Promise<void>): Promise<number> {
  const start = nanoseconds();
  await work();
  return (count * 1e9) / (nanoseconds() - start);
}

/** Runs `operation` `count` times with `inFlight` of them outstanding. */
export async function concurrently(count: number, inFlight: number, operation: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await operation(next++);
  };
  await Promise.all(Array.from({ length: Math.min(inFlight, count) }, lane));
}

function isMet(ratio: number, better: Better, target: number | undefined): boolean | null {
  if (target === undefined) return null;
  return better === 'lower' ? ratio <= target : ratio >= target;
}

/** Several of ours against the same peers, in the same rounds. */
export interface Contest {
  readonly name: string;
  readonly unit: string;
  readonly better: Better;
  readonly ours: readonly { readonly side: Side; readonly limit?: number }[];
  /** With the target of each of ours. */
  readonly peers: readonly {
    readonly side: Side | Absent;
    readonly targets?: readonly (number | undefined)[];
    readonly reference?: true;
  }[];
  /** Each measurement has a process of its own: there is nothing to warm up. */
  readonly fresh?: true;
}

/** Runs all sides in turn and reports one result a peer (and one for the limit). */
export function compare(context: Context, benchmark: string, comparison: Comparison): Promise<void> {
  const { ours, peers, limit, ...rest } = comparison;
  return contest(context, benchmark, {
    ...rest,
    ours: [{ side: ours, ...(limit === undefined ? {} : { limit }) }],
    peers: peers.map(({ target, ...peer }) => ({ ...peer, targets: [target] })),
  });
}

/** As `compare`, with a result for each pair of ours and a peer. */
export async function contest(context: Context, benchmark: string, { ours, peers, ...what }: Contest): Promise<void> {
  const sides = [...ours, ...peers].flatMap(({ side }) => ('measure' in side ? [side] : []));
  const figures = new Map<Side, number[]>(sides.map((side) => [side, []]));
  for (let round = what.fresh === true || context.quick ? 0 : -1; round < context.rounds; round++) {
    // Each round starts with another one: who runs behind whom decides what the caches hold.
    for (let turn = 0; turn < sides.length; turn++) {
      const side = sides[(turn + round + 1) % sides.length];
      if (side === undefined) continue;
      context.progress(`${benchmark}: ${what.name}: ${side.name}, round ${round + 1} of ${context.rounds}`);
      const figure = await side.measure();
      if (round >= 0) figures.get(side)?.push(figure);
    }
  }
  for (const [i, { side: mine, limit }] of ours.entries()) {
    const taken = figures.get(mine) ?? [];
    for (const { side, targets, reference } of peers)
      reportPair(context, benchmark, what, mine, taken, side, 'absent' in side ? [] : (figures.get(side) ?? []), targets?.[i], reference);
    if (limit !== undefined) reportLimit(context, benchmark, what, mine, taken, limit);
  }
}

type Measured = Pick<Contest, 'name' | 'unit' | 'better'>;

function reportPair(
  context: Context,
  benchmark: string,
  { name, unit, better }: Measured,
  ours: Side,
  mine: readonly number[],
  side: Side | Absent,
  theirs: readonly number[],
  target: number | undefined,
  reference: true | undefined,
): void {
  const common = {
    benchmark,
    name: `${name} (${ours.name})`,
    ours: median(mine),
    unit,
    better,
    target: target ?? null,
    rounds: mine.length,
    peer: side.name,
  };
  if ('absent' in side) {
    context.report({ ...common, theirs: null, ratio: null, range: null, met: null, skipped: side.absent });
    return;
  }
  const ratios = mine.map((figure, i) => figure / (theirs[i] ?? Number.NaN));
  const ratio = common.ours / median(theirs);
  const note = [ours.note, side.note].filter((text) => text !== undefined).join('; ');
  context.report({
    ...common,
    theirs: median(theirs),
    ratio,
    range: [Math.min(...ratios), Math.max(...ratios)],
    met: context.quick ? null : isMet(ratio, better, target),
    ...(reference === undefined ? {} : { reference }),
    ...(note === '' ? {} : { note }),
  });
}

function reportLimit(
  context: Context,
  benchmark: string,
  { name, unit, better }: Measured,
  ours: Side,
  figures: readonly number[],
  limit: number,
): void {
  const ratio = median(figures) / limit;
  context.report({
    benchmark,
    name: `${name} (${ours.name})`,
    ours: median(figures),
    unit,
    peer: 'the limit set',
    theirs: limit,
    ratio,
    range: [Math.min(...figures) / limit, Math.max(...figures) / limit],
    better,
    target: 1,
    met: context.quick ? null : isMet(ratio, better, 1),
    reference: true,
    rounds: figures.length,
    ...(ours.note === undefined ? {} : { note: ours.note }),
  });
}

/** Numbers that repeat from run to run: benchmarks must not differ by what they draw. */
export function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** 0 … count-1 in an order that `seed` decides. */
export function shuffled(count: number, seed: number): Uint32Array {
  const random = generator(seed);
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random(i + 1);
    const held = order[i] ?? 0;
    order[i] = order[j] ?? 0;
    order[j] = held;
  }
  return order;
}

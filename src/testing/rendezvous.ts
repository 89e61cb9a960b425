/**
 * A world for the planner: nodes, links, data and a program, in virtual time and from a seed. It charges true costs, by prices and overheads
 * that are not the planner's, with noise; the planner is told only what a node could see. Fixed plans run in copies of the same world.
 *
 * The nodes: `here` asks; `owner` has the data at first; `third` has none of it. Times are microseconds.
 */
import { Random } from '../host/simulated/random.ts';
import {
  MeasuredLinks,
  Planner,
  type Plan,
  type PlanArgument,
  type PlannerOptions,
  type PlanNode,
  type Touch,
  type Way,
} from '../services/cluster/planner.ts';

/** One setting of everything that is swept. */
export interface Cell {
  readonly bytes: number;
  /** Share of the pages that a run touches at most; it touches no more pages than it follows references. */
  readonly fraction: number;
  readonly hops: number;
  /** Runs over the same data before the next data of that size. */
  readonly reuse: number;
  readonly roundTrip: number;
  /** Bytes a microsecond. */
  readonly bandwidth: number;
  /** Share of runs that store. */
  readonly writes: number;
  /** Share of runs before which the owner's own programs store. */
  readonly others: number;
  /** Each run touches the same pages, or any. */
  readonly touches: 'same' | 'any';
  readonly copies: 'followed' | 'dropped';
  /** The load of the three nodes: runs that wait, share of the processors taken, and the third one's speed and link. */
  readonly waiting: readonly [here: number, owner: number, third: number];
  readonly busy: readonly [here: number, owner: number, third: number];
  readonly thirdSpeed: number;
  /** Round trip to the third node against that to the owner. */
  readonly thirdNear: number;
  /** Processor time beyond that of following references. */
  readonly processor: number;
  /** Runs tell what they touched, wherever they were; else only those do that had to fetch it by touch. */
  readonly counted: boolean;
}

export const CELL: Cell = {
  bytes: 1 << 20,
  fraction: 1,
  hops: 1000,
  reuse: 10,
  roundTrip: 1000,
  bandwidth: 100,
  writes: 0,
  others: 0,
  touches: 'same',
  copies: 'followed',
  waiting: [0, 0, 0],
  busy: [0, 0, 0],
  thirdSpeed: 1,
  thirdNear: 1,
  processor: 20,
  counted: false,
};

const PAGE = 4096;
const RANGE = 65_536;
const NAMES = ['here', 'owner', 'third'] as const;
const SERVICE = 150;
const HOP = 0.03;

export interface FixedPlan {
  readonly place: string;
  readonly way: Way;
}

export const FIXED: readonly FixedPlan[] = [
  { place: 'owner', way: 'whole' },
  { place: 'here', way: 'whole' },
  { place: 'here', way: 'range' },
  { place: 'here', way: 'page' },
  { place: 'third', way: 'whole' },
  { place: 'third', way: 'page' },
];

export const fixedName = (plan: FixedPlan): string => (plan.place === 'owner' ? 'code to the owner' : `data to ${plan.place}, ${plan.way}`);

/** What of the data is at a node: bytes, and the share of the pages that runs touch, where these are the same ones. */
interface Resident {
  bytes: number;
  touched: number;
}

interface Step {
  readonly took: number;
  readonly processor: number;
  readonly touch: Touch;
}

export class World {
  /** May change at any time: that is what the tests of following do. */
  cell: Cell;
  now = 0;
  family = 0;
  version = 1;
  owner = 'owner';
  /** Noise, and apart from it what happens: it is the same under every plan. */
  readonly #random: Random;
  readonly #events: Random;
  #stores = false;
  readonly #seed: number;
  readonly #resident = new Map<string, Resident>();
  readonly #code = new Set<string>(['here']);
  /** Runs over the data that is there. */
  #runs = 0;

  constructor(cell: Cell, seed: number) {
    this.cell = cell;
    this.#seed = seed;
    this.#random = new Random(seed);
    this.#events = new Random(seed + 1);
    this.#fresh();
  }

  get name(): string {
    return `data-${this.#seed}-${this.family}`;
  }

  #noise(): number {
    return 0.9 + 0.2 * (this.#random.u32() / 2 ** 32);
  }

  #fresh(): void {
    this.family++;
    this.version++;
    this.owner = 'owner';
    this.#runs = 0;
    this.#resident.clear();
    this.#resident.set('owner', { bytes: this.cell.bytes, touched: 1 });
  }

  /** True round trip and bandwidth. */
  link(a: string, b: string): { roundTrip: number; bandwidth: number } {
    if (a === b) return { roundTrip: 0, bandwidth: Infinity };
    const near = a === 'third' || b === 'third' ? this.cell.thirdNear : 1;
    return { roundTrip: this.cell.roundTrip * near, bandwidth: this.cell.bandwidth };
  }

  nodes(): PlanNode[] {
    return NAMES.map((id, i) => ({
      id,
      waiting: this.cell.waiting[i] ?? 0,
      busy: this.cell.busy[i] ?? 0,
      speed: i === 2 ? this.cell.thirdSpeed : 1,
      service: SERVICE,
      reported: this.now,
    }));
  }

  argument(): PlanArgument {
    const copies = [...this.#resident]
      .filter(([node]) => node !== this.owner)
      .map(([node, { bytes }]) => ({ node, bytes: Math.round(bytes) }));
    return { family: this.name, kind: 'owned', bytes: this.cell.bytes, owner: this.owner, copies, version: this.version };
  }

  get codeAt(): readonly string[] {
    return [...this.#code];
  }

  /** What happens between two runs. */
  between(): void {
    if (this.#runs >= this.cell.reuse) this.#fresh();
    this.#runs++;
    this.#stores = this.#events.chance(this.cell.writes);
    if (this.#events.chance(this.cell.others)) this.changes();
  }

  #stored(): void {
    this.version++;
    if (this.cell.copies === 'followed') return;
    for (const node of [...this.#resident.keys()]) if (node !== this.owner) this.#resident.delete(node);
  }

  /** The owner's programs store. */
  changes(): void {
    this.moves('owner');
  }

  /** Moves the data to another owner, as another node's programs do. */
  moves(to: string): void {
    this.owner = to;
    this.#resident.set(to, { bytes: this.cell.bytes, touched: 1 });
    this.#stored();
  }

  run(place: string, way: Way, limit = Infinity, instead?: string): Step {
    const { cell } = this;
    const index = NAMES.findIndex((name) => name === place);
    const away = this.link('here', place);
    let took = place === 'here' ? 7 : away.roundTrip * this.#noise() + 190;
    if (!this.#code.has(place)) {
      took += 3000 / away.bandwidth;
      this.#code.add(place);
    }
    const pages = Math.max(1, Math.min(cell.hops, Math.ceil(cell.fraction * Math.ceil(cell.bytes / PAGE))));
    const stretches = Math.ceil(cell.bytes / RANGE);
    const ranges = cell.touches === 'same' ? Math.ceil((pages * PAGE) / RANGE) : stretches * (1 - (1 - 1 / stretches) ** pages);
    const resident = this.#resident.get(place) ?? { bytes: 0, touched: 0 };
    this.#resident.set(place, resident);
    let fetched: number | undefined;
    let over = false;
    if (resident.bytes < cell.bytes - 1) {
      const source = this.link(this.owner, place);
      const trip = source.roundTrip * this.#noise();
      if (way === 'page' || way === 'range') {
        const all = way === 'page' ? pages : ranges;
        const size = way === 'page' ? PAGE : Math.min(RANGE, cell.bytes);
        const missing = cell.touches === 'same' ? 1 - resident.touched : 1 - resident.bytes / cell.bytes;
        const made = Math.min(limit, all * missing);
        fetched = made;
        over = all * missing > limit;
        took += made * (trip + 110 + size / source.bandwidth);
        resident.bytes = Math.min(cell.bytes, resident.bytes + made * size);
        resident.touched = cell.touches === 'same' ? 1 : resident.bytes / cell.bytes;
      }
      if (over && instead !== undefined) {
        this.now += took;
        const again = this.run(instead, 'there');
        return { ...again, took: took + again.took, touch: { ...again.touch, ...(fetched === undefined ? {} : { fetched }) } };
      }
      if (over || (way !== 'page' && way !== 'range')) {
        took += trip + 90 + (cell.bytes - resident.bytes) / source.bandwidth;
        resident.bytes = cell.bytes;
        resident.touched = 1;
      }
    }
    const processor = (cell.processor + cell.hops * HOP) * this.#noise();
    const speed = (place === 'third' ? cell.thirdSpeed : 1) * (1 - (cell.busy[index] ?? 0));
    took +=
      processor / speed + ((cell.waiting[index] ?? 0) * SERVICE * this.#noise()) / speed + (place === 'here' ? 0 : 100 / away.bandwidth);
    const stored = this.#stores;
    if (stored) {
      if (place !== this.owner) {
        took += 2.2 * this.link(this.owner, place).roundTrip * this.#noise() + 900;
        took += (cell.bytes - resident.bytes) / this.link(this.owner, place).bandwidth;
        this.owner = place;
        this.#resident.set(place, { bytes: cell.bytes, touched: 1 });
      }
      this.#stored();
    }
    this.now += took;
    const seen = (fetched !== undefined && !over) || cell.counted;
    const touch: Touch = {
      stored,
      version: this.version,
      ...(seen ? { bytes: pages * PAGE, pages, ranges, hops: cell.hops } : {}),
      ...(fetched === undefined ? {} : { fetched }),
    };
    return { took, processor: processor / (place === 'third' ? cell.thirdSpeed : 1), touch };
  }
}

/** A node's planner in a world. */
export class Auto {
  readonly planner: Planner;
  readonly links = new MeasuredLinks();
  readonly world: World;
  readonly #random: Random;
  #measured = 0;

  constructor(world: World, seed: number, options: PlannerOptions = {}) {
    this.world = world;
    this.planner = new Planner({ copies: world.cell.copies, ...options });
    this.#random = new Random(seed + 77);
  }

  /** Nodes measure their links now and then, and not exactly. */
  #measure(): void {
    if (this.#measured++ % 5 !== 0) return;
    const { world } = this;
    for (const [a, b] of [
      ['here', 'owner'],
      ['here', 'third'],
      ['owner', 'third'],
    ] as const) {
      const link = world.link(a, b);
      this.links.roundTrip(a, b, link.roundTrip * (0.85 + 0.3 * (this.#random.u32() / 2 ** 32)), world.now);
      const bytes = 100_000;
      this.links.transfer(a, b, bytes, (bytes / link.bandwidth) * (0.85 + 0.3 * (this.#random.u32() / 2 ** 32)), world.now);
    }
  }

  plan(): Plan {
    const { world } = this;
    const argument = world.argument();
    return this.planner.plan({
      now: world.now,
      here: 'here',
      code: { hash: 'walk', bytes: 3000, nodes: world.codeAt },
      arguments: [argument],
      nodes: world.nodes(),
      links: this.links,
    });
  }

  step(): { readonly plan: Plan; readonly took: number } {
    this.world.between();
    this.#measure();
    const plan = this.plan();
    this.planner.started(plan);
    const { choice } = plan;
    const step = this.world.run(choice.place, choice.uses[0]?.way ?? 'there', choice.uses[0]?.limit, plan.instead?.place);
    this.planner.finished(plan, { now: this.world.now, took: step.took, processor: step.processor, result: 100, touches: [step.touch] });
    return { plan, took: step.took };
  }
}

export interface CellResult {
  readonly cell: Cell;
  readonly warmUp: number;
  readonly runs: number;
  /** Microseconds of the measured runs: of the planner, and of each fixed plan. */
  readonly auto: number;
  readonly fixed: readonly number[];
  readonly best: number;
  /** The same from the first run on. */
  readonly autoAll: number;
  readonly bestAll: number;
  readonly places: Readonly<Record<string, number>>;
  readonly reasons: Readonly<Record<string, number>>;
}

/** After so many runs, and so many stretches of data, the planner is to be as good as the best fixed plan. */
export const WARM_UP = { runs: 200, stretches: 3 } as const;

export function runCell(cell: Cell, seed: number): CellResult {
  const warmUp = roundUp(Math.max(WARM_UP.runs, WARM_UP.stretches * cell.reuse), cell.reuse);
  const runs = roundUp(Math.max(WARM_UP.runs, 2 * cell.reuse), cell.reuse);
  const places: Record<string, number> = { here: 0, owner: 0, third: 0 };
  const reasons: Record<string, number> = {};
  const auto = new Auto(new World(cell, seed), seed);
  let warm = 0;
  let steady = 0;
  for (let i = 0; i < warmUp + runs; i++) {
    const { plan, took } = auto.step();
    if (i < warmUp) warm += took;
    else {
      steady += took;
      places[plan.choice.place] = (places[plan.choice.place] ?? 0) + 1;
      reasons[plan.reason] = (reasons[plan.reason] ?? 0) + 1;
    }
  }
  const fixed: number[] = [];
  let bestAll = Infinity;
  for (const { place, way } of FIXED) {
    const world = new World(cell, seed);
    let early = 0;
    let late = 0;
    for (let i = 0; i < warmUp + runs; i++) {
      world.between();
      const { took } = world.run(place, way);
      if (i < warmUp) early += took;
      else late += took;
    }
    fixed.push(late);
    bestAll = Math.min(bestAll, early + late);
  }
  return { cell, warmUp, runs, auto: steady, fixed, best: Math.min(...fixed), autoAll: warm + steady, bestAll, places, reasons };
}

const roundUp = (n: number, step: number): number => Math.ceil(n / step) * step;

const SIZES = [1 << 10, 16 << 10, 256 << 10, 4 << 20, 100_000_000] as const;
const FRACTIONS = [0.01, 0.1, 1] as const;
const HOPS = [1, 10, 1000, 100_000] as const;
const REUSES = [1, 3, 10, 40, 150, 1000] as const;
const ROUND_TRIPS = [50, 1000, 10_000, 50_000] as const;
const BANDWIDTHS = [5, 100, 1000] as const;
const LOADS: readonly Pick<Cell, 'waiting' | 'busy' | 'thirdSpeed' | 'thirdNear'>[] = [
  { waiting: [0, 0, 0], busy: [0, 0, 0], thirdSpeed: 1, thirdNear: 1 },
  { waiting: [0, 8, 0], busy: [0.2, 0.8, 0], thirdSpeed: 1, thirdNear: 1 },
  { waiting: [6, 6, 0], busy: [0.9, 0.9, 0], thirdSpeed: 4, thirdNear: 0.2 },
];
const WRITES: readonly Pick<Cell, 'writes' | 'others' | 'copies'>[] = [
  { writes: 0, others: 0, copies: 'followed' },
  { writes: 0, others: 0.1, copies: 'dropped' },
  { writes: 0.1, others: 0, copies: 'followed' },
  { writes: 0.5, others: 0.3, copies: 'followed' },
  { writes: 0.5, others: 0.3, copies: 'dropped' },
];

/** Cells drawn from the whole sweep; `reuseMost` keeps the long stretches out where time is short. */
export function drawCells(count: number, seed: number, reuseMost = 1000): Cell[] {
  const random = new Random(seed);
  const draw = <T>(of: readonly T[]): T => of[random.below(of.length)] as T;
  return Array.from({ length: count }, () => ({
    bytes: draw(SIZES),
    fraction: draw(FRACTIONS),
    hops: draw(HOPS),
    reuse: draw(REUSES.filter((reuse) => reuse <= reuseMost)),
    roundTrip: draw(ROUND_TRIPS),
    bandwidth: draw(BANDWIDTHS),
    ...draw(WRITES),
    touches: draw(['same', 'any'] as const),
    ...draw(LOADS),
    processor: draw([20, 20, 5000]),
    counted: draw([true, false]),
  }));
}

export function cellName(cell: Cell): string {
  const load = `${cell.waiting.join('/')} waiting, ${cell.busy.join('/')} busy, third x${cell.thirdSpeed} at ${cell.thirdNear}`;
  return (
    `${cell.bytes} B, ${cell.fraction} touched (${cell.touches}), ${cell.hops} hops, reuse ${cell.reuse}, ${cell.roundTrip} us, ${cell.bandwidth} B/us, ` +
    `stores ${cell.writes}, others ${cell.others} (${cell.copies}), ${load}, ${cell.processor} us${cell.counted ? ', counted' : ''}`
  );
}

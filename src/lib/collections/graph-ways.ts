/** Ways through graphs: walks in breadth and in depth, and shortest paths. They ask for nothing but the edges of a node. */
import { TwzError } from '../../abi/errors.ts';
import { unfit } from '../runtime.ts';

/** Which edges of a node are gone along: those that begin there, those that end there, or all. */
export type Direction = 'out' | 'in' | 'both';

export interface WalkOptions {
  /** `out` unless said. */
  readonly direction?: Direction;
  /** At most so many steps from the start. */
  readonly depth?: number;
  /** At most so many nodes. */
  readonly limit?: number;
}

/** A node that a walk came to. */
export interface GraphVisit {
  readonly node: number;
  /** Steps from the start. */
  readonly depth: number;
  /** The node and the edge by which it came here; undefined at the start. */
  readonly from: number | undefined;
  readonly edge: number | undefined;
}

export interface GraphPath {
  /** From the first to the last, both included. */
  readonly nodes: readonly number[];
  /** One less than the nodes. */
  readonly edges: readonly number[];
  /** Sum of the weights; without weights the number of edges. */
  readonly length: number;
}

/** What is asked of a graph. */
export interface Ways {
  hasNode(node: number): boolean;
  /** Of each edge of a node: the node, the other end and the number of the edge. */
  ways(node: number, direction: Direction): Iterable<readonly [number, number, number]>;
}

export function directionOf(direction: unknown, usual: Direction): Direction {
  if (direction === undefined) return usual;
  if (direction === 'out' || direction === 'in' || direction === 'both') return direction;
  return unfit('direction', direction, "one of 'out', 'in', 'both'");
}

function boundOf(name: string, bound: unknown): number {
  if (bound === undefined) return Infinity;
  return typeof bound === 'number' && bound >= 0 ? bound : unfit(name, bound, 'a number from 0 on');
}

interface Bounds {
  readonly direction: Direction;
  readonly depth: number;
  readonly limit: number;
}

function boundsOf({ direction, depth, limit }: WalkOptions): Bounds {
  return { direction: directionOf(direction, 'out'), depth: boundOf('depth', depth), limit: boundOf('limit', limit) };
}

/** Checks what it is given at once, and walks when it is asked for more. */
export function breadthFirst(graph: Ways, start: number, options: WalkOptions): Generator<GraphVisit> {
  const bounds = boundsOf(options);
  graph.hasNode(start);
  return walkBreadth(graph, start, bounds);
}

function* walkBreadth(graph: Ways, start: number, { direction, depth, limit }: Bounds): Generator<GraphVisit> {
  let left = limit;
  const seen = new Set([start]);
  // A row of each depth after the other.
  for (let row: GraphVisit[] = [{ node: start, depth: 0, from: undefined, edge: undefined }]; row.length > 0;) {
    const next: GraphVisit[] = [];
    for (const visit of row) {
      if (left <= 0) return;
      const { node } = visit;
      if (!graph.hasNode(node)) continue;
      left--;
      yield visit;
      if (visit.depth + 1 > depth) continue;
      for (const [, other, edge] of graph.ways(node, direction)) {
        if (seen.has(other)) continue;
        seen.add(other);
        next.push({ node: other, depth: visit.depth + 1, from: node, edge });
      }
    }
    row = next;
  }
}

export function depthFirst(graph: Ways, start: number, options: WalkOptions): Generator<GraphVisit> {
  const bounds = boundsOf(options);
  graph.hasNode(start);
  return walkDepth(graph, start, bounds);
}

function* walkDepth(graph: Ways, start: number, { direction, depth, limit }: Bounds): Generator<GraphVisit> {
  if (limit <= 0 || !graph.hasNode(start)) return;
  let left = limit;
  /** The least depth at which each was come to. Where depth is bounded, one that is reached on a shorter way leads further. */
  const seen = new Map([[start, 0]]);
  left--;
  yield { node: start, depth: 0, from: undefined, edge: undefined };
  const stack = depth >= 1 ? [graph.ways(start, direction)[Symbol.iterator]()] : [];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const step = top.next();
    if (step.done === true) {
      stack.pop();
      continue;
    }
    const [from, node, edge] = step.value;
    const here = stack.length;
    const known = seen.get(node);
    if (known !== undefined && (depth === Infinity || known <= here)) continue;
    seen.set(node, here);
    if (known === undefined) {
      if (left <= 0) return;
      left--;
      yield { node, depth: here, from, edge };
    }
    if (here + 1 <= depth) stack.push(graph.ways(node, direction)[Symbol.iterator]());
  }
}

/** How a node was come to. */
interface Arrival {
  readonly from: number;
  readonly edge: number;
}

function pathTo(to: number, arrivals: ReadonlyMap<number, Arrival | undefined>, length: number): GraphPath {
  const nodes = [to];
  const edges: number[] = [];
  for (let arrival = arrivals.get(to); arrival !== undefined; arrival = arrivals.get(arrival.from)) {
    nodes.push(arrival.from);
    edges.push(arrival.edge);
  }
  return { nodes: nodes.reverse(), edges: edges.reverse(), length };
}

/** The path with the fewest edges. */
export function fewestEdges(graph: Ways, from: number, to: number, direction: Direction): GraphPath | undefined {
  if (!graph.hasNode(from) || !graph.hasNode(to)) return undefined;
  const arrivals = new Map<number, Arrival | undefined>([[from, undefined]]);
  if (from === to) return pathTo(to, arrivals, 0);
  let length = 0;
  for (let row = [from]; row.length > 0;) {
    const next: number[] = [];
    length++;
    for (const node of row)
      for (const [, other, edge] of graph.ways(node, direction)) {
        if (arrivals.has(other)) continue;
        arrivals.set(other, { from: node, edge });
        if (other === to) return pathTo(to, arrivals, length);
        next.push(other);
      }
    row = next;
  }
  return undefined;
}

/** A binary heap: nodes by their distance, the least first. */
class Heap {
  readonly #nodes: number[] = [];
  readonly #distances: number[] = [];

  /** Undefined where it is empty. */
  get least(): number | undefined {
    return this.#distances[0];
  }

  push(node: number, distance: number): void {
    const nodes = this.#nodes;
    const distances = this.#distances;
    let i = nodes.length;
    nodes.push(node);
    distances.push(distance);
    while (i > 0) {
      const parent = (i - 1) >>> 1;
      const theirs = distances[parent] as number;
      if (theirs <= distance) break;
      nodes[i] = nodes[parent] as number;
      distances[i] = theirs;
      i = parent;
    }
    nodes[i] = node;
    distances[i] = distance;
  }

  /** Takes the least one out. There must be one. */
  pop(): number {
    const nodes = this.#nodes;
    const distances = this.#distances;
    const least = nodes[0] as number;
    const node = nodes.pop() as number;
    const distance = distances.pop() as number;
    const count = nodes.length;
    if (count === 0) return least;
    let i = 0;
    for (;;) {
      let child = i * 2 + 1;
      if (child >= count) break;
      if (child + 1 < count && (distances[child + 1] as number) < (distances[child] as number)) child++;
      if ((distances[child] as number) >= distance) break;
      nodes[i] = nodes[child] as number;
      distances[i] = distances[child] as number;
      i = child;
    }
    nodes[i] = node;
    distances[i] = distance;
    return least;
  }
}

/** The path with the least sum of weights. An edge of infinite weight is closed. */
export function leastWeight(
  graph: Ways,
  from: number,
  to: number,
  direction: Direction,
  weightOf: (edge: number) => number,
): GraphPath | undefined {
  if (!graph.hasNode(from) || !graph.hasNode(to)) return undefined;
  const arrivals = new Map<number, Arrival | undefined>([[from, undefined]]);
  const distances = new Map([[from, 0]]);
  const done = new Set<number>();
  const heap = new Heap();
  heap.push(from, 0);
  for (let distance = heap.least; distance !== undefined; distance = heap.least) {
    const node = heap.pop();
    if (done.has(node)) continue;
    if (node === to) return pathTo(to, arrivals, distance);
    done.add(node);
    for (const [, other, edge] of graph.ways(node, direction)) {
      const weight = weightOf(edge);
      if (!(weight >= 0)) refuseWeight(edge, weight);
      if (done.has(other)) continue;
      const length = distance + weight;
      if (length >= (distances.get(other) ?? Infinity)) continue;
      distances.set(other, length);
      arrivals.set(other, { from: node, edge });
      heap.push(other, length);
    }
  }
  return undefined;
}

function refuseWeight(edge: number, weight: unknown): never {
  if (typeof weight !== 'number') return unfit('weight', weight, 'a number');
  throw new TwzError('OutOfRange', `weight: ${weight} of edge ${edge} is not a number from 0 on`, { edge });
}

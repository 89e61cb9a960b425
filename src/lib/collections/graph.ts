/**
 * Graph: nodes and directed edges with structs as their values. It is a struct of ordered maps:
 *
 *   nodes   number of a node -> its struct          out   [from, to, number of the edge] -> 0
 *   edges   number of an edge -> from, to, struct   in    [to, from, number of the edge] -> 0
 *
 * and the numbers that the next node and the next edge get. So the edges of a node are a range, and those between two nodes as well.
 */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { AccessorClass } from '../emit.ts';
import { u32, u8, type Field } from '../fields.ts';
import { INSPECT } from '../inspect.ts';
import { unfit } from '../runtime.ts';
import { struct, type Init, type Instance, type Struct, type StructImage } from '../struct.ts';
import {
  breadthFirst,
  depthFirst,
  directionOf,
  fewestEdges,
  leastWeight,
  type Direction,
  type GraphPath,
  type GraphVisit,
  type WalkOptions,
  type Ways,
} from './graph-ways.ts';
import { tuple } from './keys.ts';
import { orderedMap, type OrderedMap } from './ordered-map.ts';
import { TREE } from './ordered-search.ts';
import { valueCodec } from './records.ts';
import { isSelf, replaceContent } from './replace.ts';
import { inspectEntries, type CollectionUsage } from './tools.ts';
import { collectionType, type CollectionAccessor, type CollectionType } from './type.ts';

/** An edge as it is found. Its value is the struct's accessor, in place; undefined where edges have no struct. */
export interface DirectedEdge<E> {
  readonly id: number;
  readonly from: number;
  readonly to: number;
  readonly value: E;
}

/** What a graph is filled from: edges name nodes by their positions. */
export interface GraphContent<NI, EI> {
  readonly nodes: Iterable<NI>;
  readonly edges?: Iterable<readonly [from: number, to: number, init?: EI]>;
}

/**
 * A persistent graph. Nodes and edges have numbers that stay theirs and are not given again, also when they are removed. Edges are
 * directed; there may be several between two nodes, and from a node to itself. Changes belong in transactions.
 */
export interface DirectedGraph<N, NI = N, E = undefined, EI = E> extends Iterable<[number, N]> {
  /** How many nodes there are. */
  readonly size: number;
  readonly edgeCount: number;
  /** Adds a node and returns its number. The first one is 0. */
  addNode(init?: NI): number;
  /** The node's struct, in place. */
  node(id: number): N | undefined;
  hasNode(id: number): boolean;
  /** All nodes by number. */
  nodes(): IterableIterator<[number, N]>;
  /** Removes a node and all its edges. False where there is none. References to its value must be gone. */
  removeNode(id: number): boolean;
  /** Adds an edge and returns its number. Throws OutOfRange where a node is not there. */
  addEdge(from: number, to: number, init?: EI): number;
  edge(id: number): DirectedEdge<E> | undefined;
  hasEdge(id: number): boolean;
  /** All edges by number. */
  edges(): IterableIterator<DirectedEdge<E>>;
  removeEdge(id: number): boolean;
  /** The edges that begin at a node, by where they lead. */
  out(node: number): IterableIterator<DirectedEdge<E>>;
  /** The edges that end at a node, by where they come from. */
  in(node: number): IterableIterator<DirectedEdge<E>>;
  /** The edges from one node to another. */
  between(from: number, to: number): IterableIterator<DirectedEdge<E>>;
  /** The nodes at the other ends of a node's edges, each once, in order. `out` unless said. */
  neighbours(node: number, options?: { readonly direction?: Direction }): IterableIterator<number>;
  /** How many edges begin at a node, end there (`in`), or both: an edge to itself counts twice then. `out` unless said. */
  degree(node: number, direction?: Direction): number;
  /** Nodes that can be reached, the nearest first. */
  breadthFirst(start: number, options?: WalkOptions): IterableIterator<GraphVisit>;
  /** Nodes that can be reached, each way to its end before the next one. */
  depthFirst(start: number, options?: WalkOptions): IterableIterator<GraphVisit>;
  /** The path with the fewest edges, or with the least sum of weights; undefined where there is none. A weight below 0 is OutOfRange. */
  shortestPath(
    from: number,
    to: number,
    options?: { readonly direction?: Direction; readonly weight?: (edge: DirectedEdge<E>) => number },
  ): GraphPath | undefined;
  /** Removes all nodes and edges. Numbers go on. */
  clear(): void;
  /** What it takes up. */
  usage(): CollectionUsage;
}

type Ends = OrderedMap<[number, number, number], number>;

interface EdgeRecord<E> {
  readonly from: number;
  readonly to: number;
  readonly value: E;
}

/** The accessor of a graph's struct of maps. */
interface Parts<N, NI, E, EI> {
  readonly nodes: OrderedMap<number, N, NI>;
  readonly edges: OrderedMap<number, EdgeRecord<E>, { readonly from: number; readonly to: number; readonly value?: EI }>;
  readonly out: Ends;
  readonly in: Ends;
  nextNode: number;
  nextEdge: number;
  $drop(): void;
}

type PartsClass<N, NI, E, EI> = new (h: ObjectHandle, o: number) => Parts<N, NI, E, EI>;

/** The highest number: no node and no edge has it, so that it ends every range. */
const LAST = 0xffffffff;

function absent(node: number): never {
  throw new TwzError('OutOfRange', `the graph has no node ${node}`, { node });
}

function nextNumber(next: number, what: string): number {
  if (next >= LAST) throw new TwzError('OutOfRange', `the graph has given all numbers of ${what}s`);
  return next;
}

/** A graph's maps are collections of their own. */
function destroy(map: object): void {
  const whole = map as CollectionAccessor;
  whole.$destroy();
}

function makeGraph<N, NI, E, EI>(
  PartsOf: () => PartsClass<N, NI, E, EI>,
  headerOf: () => { readonly size: number; readonly counters: readonly number[] },
): AccessorClass {
  type Edge = DirectedEdge<E>;

  return class Graph implements DirectedGraph<N, NI, E, EI>, CollectionAccessor, Ways {
    readonly #h: ObjectHandle;
    readonly $o: number;
    readonly #parts: Parts<N, NI, E, EI>;

    constructor(h: ObjectHandle, o: number) {
      this.#h = h;
      this.$o = o | 0;
      this.#parts = new (PartsOf())(h, o);
    }

    get $h(): ObjectHandle {
      return this.#h;
    }

    get size(): number {
      return this.#parts.nodes.size;
    }

    get edgeCount(): number {
      return this.#parts.edges.size;
    }

    addNode(init?: NI): number {
      const parts = this.#parts;
      const id = nextNumber(parts.nextNode, 'node');
      parts.nextNode = id + 1;
      const empty: unknown = {};
      try {
        parts.nodes.set(id, init ?? (empty as NI));
      } catch (error) {
        if (parts.nextNode === id + 1) parts.nextNode = id;
        throw error;
      }
      return id;
    }

    node(id: number): N | undefined {
      return this.#parts.nodes.get(id);
    }

    hasNode(id: number): boolean {
      return this.#parts.nodes.has(id);
    }

    nodes(): IterableIterator<[number, N]> {
      return this.#parts.nodes.entries();
    }

    [Symbol.iterator](): IterableIterator<[number, N]> {
      return this.nodes();
    }

    removeNode(id: number): boolean {
      const parts = this.#parts;
      if (!parts.nodes.has(id)) return false;
      for (const [, , edge] of this.ways(id, 'both')) this.removeEdge(edge);
      return parts.nodes.delete(id);
    }

    #demand(from: number, to: number): void {
      const { nodes } = this.#parts;
      if (!nodes.has(from)) absent(from);
      if (!nodes.has(to)) absent(to);
    }

    addEdge(from: number, to: number, init?: EI): number {
      this.#demand(from, to);
      const parts = this.#parts;
      const id = nextNumber(parts.nextEdge, 'edge');
      parts.nextEdge = id + 1;
      try {
        this.#link(id, from, to, init);
      } catch (error) {
        if (parts.nextEdge === id + 1) parts.nextEdge = id;
        throw error;
      }
      return id;
    }

    #link(id: number, from: number, to: number, init: EI | undefined): void {
      const parts = this.#parts;
      parts.edges.set(id, init === undefined ? { from, to } : { from, to, value: init });
      try {
        // What `init` computes may have removed a node.
        if (init !== undefined) this.#demand(from, to);
        parts.out.set([from, to, id], 0);
        parts.in.set([to, from, id], 0);
      } catch (error) {
        parts.out.delete([from, to, id]);
        parts.edges.delete(id);
        throw error;
      }
    }

    edge(id: number): Edge | undefined {
      const record = this.#parts.edges.get(id);
      return record === undefined ? undefined : { id, from: record.from, to: record.to, value: record.value };
    }

    hasEdge(id: number): boolean {
      return this.#parts.edges.has(id);
    }

    *edges(): Generator<Edge> {
      for (const [id, { from, to, value }] of this.#parts.edges) yield { id, from, to, value };
    }

    removeEdge(id: number): boolean {
      const parts = this.#parts;
      const record = parts.edges.get(id);
      if (record === undefined) return false;
      const { from, to } = record;
      parts.out.delete([from, to, id]);
      parts.in.delete([to, from, id]);
      return parts.edges.delete(id);
    }

    *ways(node: number, direction: Direction): Generator<readonly [number, number, number]> {
      const parts = this.#parts;
      const range = { from: [node, 0, 0], through: [node, LAST, LAST] } satisfies object as {
        readonly from: [number, number, number];
        readonly through: [number, number, number];
      };
      if (direction !== 'in') yield* parts.out.keys(range);
      if (direction !== 'out') yield* parts.in.keys(range);
    }

    *#found(ends: Iterable<readonly [number, number, number]>): Generator<Edge> {
      for (const [, , id] of ends) {
        const edge = this.edge(id);
        if (edge !== undefined) yield edge;
      }
    }

    out(node: number): Generator<Edge> {
      this.hasNode(node);
      return this.#found(this.ways(node, 'out'));
    }

    in(node: number): Generator<Edge> {
      this.hasNode(node);
      return this.#found(this.ways(node, 'in'));
    }

    between(from: number, to: number): Generator<Edge> {
      this.hasNode(from);
      this.hasNode(to);
      return this.#found(this.#parts.out.keys({ from: [from, to, 0], through: [from, to, LAST] }));
    }

    neighbours(node: number, { direction }: { readonly direction?: Direction } = {}): Generator<number> {
      this.hasNode(node);
      return this.#neighbours(node, directionOf(direction, 'out'));
    }

    /** The other ends of both ways are merged as they come. */
    *#neighbours(node: number, direction: Direction): Generator<number> {
      const one = this.ways(node, direction === 'in' ? 'in' : 'out');
      const other = direction === 'both' ? this.ways(node, 'in') : undefined;
      let a = one.next();
      let b = other?.next();
      let last = -1;
      for (;;) {
        const left = a.done === true ? LAST : a.value[1];
        const right = b === undefined || b.done === true ? LAST : b.value[1];
        const least = Math.min(left, right);
        if (least === LAST) return;
        if (least > last) yield least;
        last = least;
        if (left === least) a = one.next();
        else b = other?.next();
      }
    }

    degree(node: number, direction?: Direction): number {
      let count = 0;
      for (const _way of this.ways(node, directionOf(direction, 'out'))) count++;
      return count;
    }

    breadthFirst(start: number, options: WalkOptions = {}): Generator<GraphVisit> {
      return breadthFirst(this, start, options);
    }

    depthFirst(start: number, options: WalkOptions = {}): Generator<GraphVisit> {
      return depthFirst(this, start, options);
    }

    shortestPath(
      from: number,
      to: number,
      { direction, weight }: { readonly direction?: Direction; readonly weight?: (edge: Edge) => number } = {},
    ): GraphPath | undefined {
      const along = directionOf(direction, 'out');
      if (weight === undefined) return fewestEdges(this, from, to, along);
      return leastWeight(this, from, to, along, (id) => {
        const edge = this.edge(id);
        return edge === undefined ? Infinity : weight(edge);
      });
    }

    clear(): void {
      this.$drop();
    }

    usage(): CollectionUsage {
      const parts = this.#parts;
      let objects = 1;
      let blocks = 0;
      let bytes = 0;
      for (const map of [parts.nodes, parts.edges, parts.out, parts.in]) {
        const each = map.usage();
        objects += each.objects - 1;
        blocks += each.blocks;
        bytes += each.bytes;
      }
      return { objects, blocks, bytes };
    }

    $assign(content: unknown): void {
      if (isSelf(content, this.#h, this.$o)) return;
      if (typeof content !== 'object' || content === null || !('nodes' in content)) unfit('a Graph', content, 'an object {nodes, edges}');
      const { size, counters } = headerOf();
      const isNew = this.#parts.nextNode === 0 && this.#parts.nextEdge === 0;
      replaceContent(
        this.#h,
        this.$o,
        size,
        counters,
        isNew,
        (at) => new Graph(this.#h, at),
        (into) => {
          const parts = into.#parts;
          try {
            if ('addEdge' in content) into.#copy(content as DirectedGraph<NI, NI, EI, EI>);
            else into.#fill(content as GraphContent<NI, EI>);
          } catch (error) {
            parts.nextNode = 0;
            parts.nextEdge = 0;
            throw error;
          }
        },
      );
    }

    /** Another graph's nodes and edges keep their numbers. */
    #copy(graph: DirectedGraph<NI, NI, EI, EI>): void {
      const parts = this.#parts;
      const nodes = [...graph.nodes()];
      const edges = [...graph.edges()];
      for (const [id, node] of nodes) parts.nodes.set(id, node);
      for (const { id, from, to, value } of edges) this.#link(id, from, to, value);
      parts.nextNode = (nodes.at(-1)?.[0] ?? -1) + 1;
      parts.nextEdge = (edges.at(-1)?.id ?? -1) + 1;
    }

    #fill({ nodes, edges = [] }: GraphContent<NI, EI>): void {
      const [allNodes, allEdges] = [[...nodes], [...edges]];
      for (const node of allNodes) this.addNode(node);
      for (const [from, to, init] of allEdges) this.addEdge(from, to, init);
    }

    $drop(): void {
      this.#parts.$drop();
    }

    $destroy(): void {
      const parts = this.#parts;
      for (const map of [parts.nodes, parts.edges, parts.out, parts.in]) destroy(map);
    }

    [INSPECT](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
      return inspectEntries('Graph', this.size, this.nodes(), true, depth, options, inspect);
    }
  };
}

/** Where the maps of a graph count their changes. */
function countersIn(parts: StructImage): number[] {
  return parts.layout.fields.filter(({ field }) => field.describe.kind === 'collection').map(({ offset }) => offset + TREE.CHANGES);
}

/** What a graph is filled from, read and checked. */
function checkGraph(node: Field<unknown, never>, edge: Field<unknown, never> | undefined): (content: unknown, h: ObjectHandle) => unknown {
  const nodes = valueCodec(node, 'a node');
  const edges = edge === undefined ? undefined : valueCodec(edge, 'an edge');
  return (content, h) => {
    if (typeof content !== 'object' || content === null || !('nodes' in content) || 'addEdge' in content) return content;
    const given = content as GraphContent<never, never>;
    const all = Array.from(given.nodes, (each) => (each === undefined ? undefined : nodes.check(each, h)));
    const links = Array.from(given.edges ?? [], ([from, to, init]) => {
      for (const end of [from, to]) if (!(end >= 0 && end < all.length)) absent(end);
      return [from, to, init === undefined || edges === undefined ? init : edges.check(init, h)] as const;
    });
    return { nodes: all, edges: links };
  };
}

/** One struct of maps for each pair of structs, so that a type may hold several graphs of the same. */
const NO_EDGE: object = {};
const made = new WeakMap<object, WeakMap<object, StructImage & Field<unknown, never>>>();

function partsOf(
  node: StructImage & Field<unknown, never>,
  edge: (StructImage & Field<unknown, never>) | undefined,
): StructImage & Field<unknown, never> {
  const ofNode = made.get(node) ?? new WeakMap<object, StructImage & Field<unknown, never>>();
  made.set(node, ofNode);
  const known = ofNode.get(edge ?? NO_EDGE);
  if (known !== undefined) return known;
  const name = edge === undefined ? node.name : `${node.name}__${edge.name}`;
  const record = struct(`GraphEdge_${name}`, { from: u32, to: u32, ...(edge === undefined ? {} : { value: edge }) });
  // Types of their own for `out` and `in`, so that each has code of its own.
  const parts = struct(`Graph_${name}`, {
    nodes: orderedMap(u32, node),
    edges: orderedMap(u32, record),
    out: orderedMap(tuple(u32, u32, u32), u8),
    in: orderedMap(tuple(u32, u32, u32), u8),
    nextNode: u32,
    nextEdge: u32,
  });
  ofNode.set(edge ?? NO_EDGE, parts);
  return parts;
}

type GraphType<N, NI, E, EI> = CollectionType<DirectedGraph<N, NI, E, EI>, GraphContent<NI, EI> | DirectedGraph<N, NI, E, EI>>;

/** The type of graphs whose nodes have the struct `node`, and whose edges the struct `edge`, if they have one. */
export function graph<N>(node: Struct<N>): GraphType<Instance<N>, Init<N> | Instance<N>, undefined, undefined>;
export function graph<N, E>(
  node: Struct<N>,
  edge: Struct<E>,
): GraphType<Instance<N>, Init<N> | Instance<N>, Instance<E>, Init<E> | Instance<E>>;
export function graph<N, NI, E, EI>(node: Field<N, NI> & StructImage, edge?: Field<E, EI> & StructImage): GraphType<N, NI, E, EI> {
  for (const each of edge === undefined ? [node] : [node, edge])
    if (typeof each !== 'object' || each === null || !('layout' in each) || each.describe.kind !== 'struct')
      throw new TwzError('TypeInvalid', 'graph: nodes and edges have structs');
  const parts = partsOf(node, edge);
  const names = edge === undefined ? node.name : `${node.name}, ${edge.name}`;
  return collectionType({
    kind: 'Graph',
    name: `Graph<${names}>`,
    signature: `Graph<${node.signature}${edge === undefined ? '' : `,${edge.signature}`}>`,
    size: parts.size,
    shape: { size: parts.size, value: parts.describe },
    parts: [parts],
    check: checkGraph(node, edge),
    make: () =>
      makeGraph<N, NI, E, EI>(
        () => {
          const accessor: unknown = parts.accessor;
          return accessor as PartsClass<N, NI, E, EI>;
        },
        () => ({ size: parts.layout.size, counters: countersIn(parts) }),
      ),
  });
}

/**
 * T16: graphs against a plain model, with undone transactions, death of the process, power failures and reopening among the changes; walks
 * and shortest paths against brute force. Seed and path are printed by fast-check when a run fails; FC_SEED replays one.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  f64,
  graph,
  hashMap,
  objectOf,
  same,
  struct,
  text,
  u32,
  type Direction,
  type DirectedGraph,
  type Infer,
  type ObjectId,
} from '../src/index.ts';
import { event, Machine, type Event } from './collections-machine.ts';
import { fails, Ground, onHosts } from './hosts.ts';
import { amount } from './thorough.ts';

const SEED = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

const Town = struct('Town', { name: text, tags: hashMap(text, u32) });
const Road = struct('Road', { km: f64, name: text });
const RoadMap = graph(Town, Road);
type Roads = Infer<typeof RoadMap>;
const Country = struct('Country', { before: u32, roads: RoadMap, others: graph(Town, Road), after: u32 });

interface Model {
  readonly nodes: Map<number, string>;
  readonly edges: Map<number, { readonly from: number; readonly to: number; readonly km: number }>;
}

type Step =
  | { readonly kind: 'node' | 'removeNode' | 'removeEdge'; readonly n: number }
  | { readonly kind: 'edge'; readonly from: number; readonly to: number; readonly km: number }
  | { readonly kind: 'clear' };
type Command = { readonly kind: 'transaction'; readonly steps: readonly Step[]; readonly undo: boolean } | Event;

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constantFrom('node' as const, 'node', 'node', 'removeNode', 'removeEdge'), n: fc.nat(30) }),
  },
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('edge' as const), from: fc.nat(12), to: fc.nat(12), km: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const) }) },
);
const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('transaction' as const),
        steps: fc.array(step, { minLength: 1, maxLength: 15 }),
        undo: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
      }),
    },
    { weight: 1, arbitrary: event },
  ),
  { maxLength: 20 },
);

const byNumber = (a: number, b: number): number => a - b;
const DIRECTIONS: readonly Direction[] = ['out', 'in', 'both'];

/** Edges of a node as [other end, number], in the order in which a graph gives them. */
function edgesOf({ edges }: Model, node: number, direction: Direction): [number, number][] {
  const row = (out: boolean): [number, number][] =>
    [...edges]
      .filter(([, { from, to }]) => (out ? from : to) === node)
      .map(([id, { from, to }]): [number, number] => [out ? to : from, id])
      .toSorted(([a, x], [b, y]) => a - b || x - y);
  return [...(direction === 'in' ? [] : row(true)), ...(direction === 'out' ? [] : row(false))];
}

/** Least sums of weights from a node to all others: every edge is looked at until nothing changes. */
function distances(model: Model, start: number, direction: Direction, weight: (km: number) => number): Map<number, number> {
  const found = new Map([[start, 0]]);
  for (let changed = true; changed;) {
    changed = false;
    for (const { from, to, km } of model.edges.values())
      for (const [a, b] of direction === 'out'
        ? [[from, to]]
        : direction === 'in'
          ? [[to, from]]
          : [
              [from, to],
              [to, from],
            ]) {
        const length = (found.get(a ?? -1) ?? Infinity) + weight(km);
        if (b === undefined || length >= (found.get(b) ?? Infinity)) continue;
        found.set(b, length);
        changed = true;
      }
  }
  return found;
}

function agreePaths(roads: Roads, model: Model, start: number): void {
  for (const direction of DIRECTIONS) {
    const steps = distances(model, start, direction, () => 1);
    const visits = [...roads.breadthFirst(start, { direction })];
    assert.deepEqual(new Map(visits.map(({ node, depth }) => [node, depth])), steps);
    assert.equal(visits.length, steps.size);
    assert.deepEqual(
      visits.map(({ depth }) => depth),
      visits.map(({ depth }) => depth).toSorted(byNumber),
    );
    const near = [...steps]
      .filter(([, depth]) => depth <= 2)
      .map(([node]) => node)
      .toSorted(byNumber);
    for (const walk of [roads.breadthFirst(start, { direction, depth: 2 }), roads.depthFirst(start, { direction, depth: 2 })])
      assert.deepEqual([...walk].map(({ node }) => node).toSorted(byNumber), near);
    assert.deepEqual([...roads.breadthFirst(start, { direction, limit: 3 })], visits.slice(0, 3));
    const deep: number[] = [];
    const descend = (node: number): void => {
      if (deep.includes(node)) return;
      deep.push(node);
      for (const [other] of edgesOf(model, node, direction)) descend(other);
    };
    descend(start);
    assert.deepEqual(
      [...roads.depthFirst(start, { direction })].map(({ node }) => node),
      deep,
    );
    assert.deepEqual(
      [...roads.depthFirst(start, { direction, limit: 2 })].map(({ node }) => node),
      deep.slice(0, 2),
    );
    const lengths = distances(model, start, direction, (km) => km);
    for (const to of model.nodes.keys())
      for (const weighted of [false, true]) {
        const path = roads.shortestPath(start, to, weighted ? { direction, weight: ({ value }) => value.km } : { direction });
        assert.equal(path?.length, (weighted ? lengths : steps).get(to));
        if (path === undefined) continue;
        assert.equal(path.nodes[0], start);
        assert.equal(path.nodes.at(-1), to);
        assert.equal(path.nodes.length, path.edges.length + 1);
        let sum = 0;
        for (const [i, id] of path.edges.entries()) {
          const edge = model.edges.get(id);
          assert.ok(edge !== undefined);
          const ends = [path.nodes[i], path.nodes[i + 1]];
          const right = direction === 'in' ? ends.toReversed() : ends;
          const fits = right[0] === edge.from && right[1] === edge.to;
          assert.ok(fits || (direction === 'both' && ends[0] === edge.to && ends[1] === edge.from));
          sum += weighted ? edge.km : 1;
        }
        assert.equal(sum, path.length);
      }
  }
}

function judge(steps: readonly Command[], asField: boolean): void {
  const machine = new Machine<Model>({ nodes: new Map(), edges: new Map() }, ({ nodes, edges }) => ({
    nodes: new Map(nodes),
    edges: new Map(edges),
  }));
  const id: ObjectId = machine.space.relaxed(
    () => objectOf(asField ? machine.space.create(Country, { before: 1, after: 2 }) : machine.space.create(RoadMap)).id,
  );
  machine.space.sync();
  const roads = (): Roads => (asField ? machine.space.get(id, Country).roads : machine.space.get(id, RoadMap));
  const showModel = ({ nodes, edges }: Model): string =>
    `${[...nodes].toSorted(([a], [b]) => a - b).join(' ')} | ${[...edges]
      .toSorted(([a], [b]) => a - b)
      .map(([edge, { from, to, km }]) => `${edge}:${from}-${to}=${km}`)
      .join(' ')}`;
  const showGraph = (): string =>
    `${[...roads()].map(([node, { name }]) => `${node},${name}`).join(' ')} | ${[...roads().edges()]
      .map((edge) => `${edge.id}:${edge.from}-${edge.to}=${edge.value.km}`)
      .join(' ')}`;
  const apply = (each: Step): void => {
    const { model } = machine;
    const it = roads();
    switch (each.kind) {
      case 'node': {
        const made = it.addNode({ name: `town ${each.n}`, tags: [['n', each.n]] });
        assert.ok(!model.nodes.has(made));
        model.nodes.set(made, `town ${each.n}`);
        break;
      }
      case 'edge': {
        const { from, to, km } = each;
        if (!model.nodes.has(from) || !model.nodes.has(to)) {
          fails('OutOfRange', () => it.addEdge(from, to, { km }));
          break;
        }
        const made = it.addEdge(from, to, { km, name: `road ${km}` });
        assert.ok(!model.edges.has(made));
        model.edges.set(made, { from, to, km });
        break;
      }
      case 'removeNode':
        assert.equal(it.removeNode(each.n), model.nodes.delete(each.n));
        for (const [edge, { from, to }] of model.edges) if (from === each.n || to === each.n) model.edges.delete(edge);
        break;
      case 'removeEdge':
        assert.equal(it.removeEdge(each.n), model.edges.delete(each.n));
        break;
      case 'clear':
        it.clear();
        model.nodes.clear();
        model.edges.clear();
        break;
    }
  };
  const agree = (): void => {
    const { model } = machine;
    const it = roads();
    assert.equal(showGraph(), showModel(model));
    assert.equal(it.size, model.nodes.size);
    assert.equal(it.edgeCount, model.edges.size);
    for (const node of [...model.nodes.keys(), 99]) {
      assert.deepEqual(
        [...it.out(node)].map((edge) => [edge.to, edge.id]),
        edgesOf(model, node, 'out'),
      );
      assert.deepEqual(
        [...it.in(node)].map((edge) => [edge.from, edge.id]),
        edgesOf(model, node, 'in'),
      );
      for (const direction of DIRECTIONS) {
        const edges = edgesOf(model, node, direction);
        assert.equal(it.degree(node, direction), edges.length);
        assert.deepEqual([...it.neighbours(node, { direction })], [...new Set(edges.map(([other]) => other))].toSorted(byNumber));
      }
      const [to = 0] = edgesOf(model, node, 'out')[0] ?? [];
      assert.deepEqual(
        [...it.between(node, to)].map((edge) => edge.id),
        edgesOf(model, node, 'out')
          .filter(([other]) => other === to)
          .map(([, edge]) => edge),
      );
    }
    if (asField) assert.deepEqual([machine.space.get(id, Country).before, machine.space.get(id, Country).after], [1, 2]);
  };
  for (const each of steps) {
    if (each.kind === 'transaction')
      machine.transact(() => {
        for (const one of each.steps) apply(one);
      }, each.undo);
    else machine.happen(each, (model) => (model === undefined ? showGraph() : showModel(model)));
    agree();
  }
  const [start] = machine.model.nodes.keys();
  if (start !== undefined) agreePaths(roads(), machine.model, start);
  // Nothing is left behind.
  machine.sound();
  machine.space.relaxed(() => roads().clear());
  assert.deepEqual(roads().usage(), { objects: 1, blocks: 0, bytes: 0 });
  machine.end();
}

for (const asField of [false, true])
  test(`T16: a graph ${asField ? 'in a struct' : 'as root'} is what plain maps are`, () => {
    fc.assert(
      fc.property(commands, (steps) => judge(steps, asField)),
      { seed: SEED, numRuns: amount(14, 40) },
    );
  });

test('T16: walks and shortest paths of random graphs are those of brute force', () => {
  const machine = new Machine(0, (n) => n);
  const { space } = machine;
  const end = fc.nat(14);
  fc.assert(
    fc.property(fc.array(fc.tuple(end, end, fc.nat(20)), { maxLength: 45 }), end, (all, start) => {
      const roads = space.relaxed(() =>
        space.create(RoadMap, {
          nodes: Array.from({ length: 15 }, (_, i) => ({ name: `${i}` })),
          edges: all.map(([from, to, km]) => [from, to, { km }] as const),
        }),
      );
      const model: Model = {
        nodes: new Map(Array.from({ length: 15 }, (_, i) => [i, `${i}`])),
        edges: new Map(all.map(([from, to, km], i) => [i, { from, to, km }])),
      };
      agreePaths(roads, model, start);
      space.relaxed(() => space.delete(roads));
    }),
    { seed: SEED, numRuns: amount(25, 60) },
  );
  machine.end();
});

onHosts('T16: values of nodes and edges keep their places, and a graph is copied with its numbers', (ground) => {
  let space = ground.open();
  const id = space.relaxed(() => {
    const country = space.create(Country);
    const { roads } = country;
    for (let i = 0; i < 300; i++) roads.addNode({ name: `t${i}` });
    const edge = roads.addEdge(5, 7, { km: 3 });
    const [five, road] = [roads.node(5), roads.edge(edge)];
    assert.ok(five !== undefined && road !== undefined);
    for (let i = 0; i < 300; i++) roads.addEdge(i, (i * 7) % 300, { km: i });
    for (let i = 10; i < 300; i++) roads.removeNode(i);
    five.name = 'Five';
    road.value.km = 3.5;
    assert.ok(same(five, roads.node(5) ?? null));
    assert.equal(roads.addNode(), 300);
    country.others = country.roads;
    return objectOf(country).id;
  });
  space = ground.afterDeath(space);
  const { roads, others } = space.get(id, Country);
  for (const each of [roads, others]) {
    assert.equal(each.node(5)?.name, 'Five');
    assert.equal(each.edge(0)?.value.km, 3.5);
    assert.equal(each.size, 11);
    assert.deepEqual(
      [...each.edges()].map(({ from, to }) => [from, to]),
      [
        [5, 7],
        [0, 0],
        [1, 7],
      ],
    );
  }
  space.relaxed(() => {
    assert.deepEqual([others.addNode(), others.addEdge(1, 2)], [301, 3]);
    others.clear();
  });
  assert.equal(roads.edgeCount, 3);
});

test('T16: what a graph refuses leaves it as it was; graphs without values of edges', () => {
  const machine = new Machine(0, (n) => n);
  const { space } = machine;
  const Bare = graph(Town);
  const { roads, bare } = space.relaxed(() => ({
    roads: space.create(RoadMap, {
      nodes: [{}, {}, {}],
      edges: [
        [0, 1, { km: 1 }],
        [1, 2, { km: -1 }],
      ],
    }),
    bare: space.create(Bare, { nodes: [{}, {}], edges: [[0, 1]] }),
  }));
  const typed: DirectedGraph<Infer<typeof Town>, never, undefined, never> = bare;
  assert.deepEqual([...typed.out(0)], [{ id: 0, from: 0, to: 1, value: undefined }]);
  const before = roads.usage();
  space.relaxed(() => {
    fails('OutOfRange', () => roads.addEdge(0, 3));
    fails('OutOfRange', () => roads.addEdge(-1, 0));
    fails('ValueMismatch', () => roads.addEdge(0, 1, { km: 'far' as never }));
    fails('ValueMismatch', () => roads.addNode({ name: 5 as never }));
    const removing = {
      km: 2,
      get name() {
        roads.removeNode(2);
        return 'gone';
      },
    };
    fails('OutOfRange', () => roads.addEdge(2, 0, removing));
    assert.deepEqual([roads.size, roads.edgeCount], [2, 1]);
  });
  assert.ok(roads.usage().blocks < before.blocks);
  fails('NotInTransaction', () => roads.addNode());
  space.relaxed(() => roads.addEdge(1, 0, { km: -1 }));
  const weight = ({ value }: { readonly value: Infer<typeof Road> }): number => value.km;
  fails('OutOfRange', () => roads.shortestPath(0, 1, { direction: 'both', weight }));
  fails('OutOfRange', () => roads.shortestPath(0, 1, { weight: () => Number.NaN }));
  fails('ValueMismatch', () => roads.shortestPath(0, 1, { weight: () => 'far' as never }));
  assert.equal(roads.shortestPath(0, 1, { weight: () => Infinity }), undefined);
  assert.equal(roads.shortestPath(0, 77), undefined);
  fails('ValueMismatch', () => roads.neighbours(0, { direction: 'up' as never }));
  fails('OutOfRange', () => roads.breadthFirst(0, { limit: -1 }));
  fails('OutOfRange', () => roads.depthFirst(-1));
  fails('TypeInvalid', () => graph(u32 as never));
  fails('ValueMismatch', () => space.relaxed(() => space.create(RoadMap, [] as never)));
  machine.end();
});

test('T16: a walk goes on while the graph changes', () => {
  const machine = new Machine(0, (n) => n);
  const { space } = machine;
  space.relaxed(() => {
    const ring = space.create(graph(Town), {
      nodes: Array.from({ length: 10 }, () => ({})),
      edges: Array.from({ length: 10 }, (_, i) => [i, (i + 1) % 10] as const),
    });
    const seen: number[] = [];
    for (const { node } of ring.breadthFirst(0)) {
      seen.push(node);
      if (node === 2) ring.addEdge(2, ring.addNode());
      if (node === 3) ring.removeNode(10);
      if (node === 5) ring.removeNode(6);
    }
    assert.deepEqual(seen, [0, 1, 2, 3, 4, 5]);
    for (const { id } of ring.edges()) ring.removeEdge(id);
    for (const [node] of ring) ring.removeNode(node);
    assert.deepEqual([ring.size, ring.edgeCount], [0, 0]);
    assert.equal(ring.addNode(), 11);
    // 2 is come to late at first, and then again on the shorter way.
    const late = space.create(graph(Town), {
      nodes: [{}, {}, {}, {}],
      edges: [
        [0, 1],
        [1, 2],
        [0, 2],
        [2, 3],
      ],
    });
    assert.deepEqual(
      [...late.depthFirst(0, { depth: 2 })].map(({ node }) => node),
      [0, 1, 2, 3],
    );
  });
  machine.end();
});

const NODES = amount(12_000, 40_000);

test(`T16: a graph of ${NODES} nodes and ${3 * NODES} edges`, (t) => {
  const space = new Ground('portable', t).open({ segmentSize: 1 << 26 });
  const Point = struct('Point', { x: u32 });
  const Line = struct('Line', { length: u32 });
  const linesOf = (i: number): [number, number][] => [
    [(i + 1) % NODES, 1],
    [(i * 2) % NODES, 5],
    [(i * 7 + 3) % NODES, 20],
  ];
  const net = space.relaxed(() => space.create(graph(Point, Line)));
  const PART = NODES / 4;
  for (let from = 0; from < NODES; from += PART)
    space.relaxed(() => {
      for (let i = from; i < from + PART; i++) net.addNode({ x: i });
    });
  for (let from = 0; from < NODES; from += PART)
    space.relaxed(() => {
      for (let i = from; i < from + PART; i++) for (const [to, length] of linesOf(i)) net.addEdge(i, to, { length });
    });
  assert.deepEqual([net.size, net.edgeCount], [NODES, 3 * NODES]);
  let visited = 0;
  for (const _visit of net.breadthFirst(0)) visited++;
  assert.equal(visited, NODES);
  assert.equal(net.degree(4), 3);
  const lengths = new Float64Array(NODES).fill(Infinity);
  lengths[0] = 0;
  const FAR = 60;
  const queue = [0];
  for (let next = 0; next < queue.length; next++) {
    const i = queue[next] ?? 0;
    const here = lengths[i] ?? Infinity;
    if (here > FAR) continue;
    for (const [to, length] of linesOf(i)) {
      if (here + length >= (lengths[to] ?? 0)) continue;
      lengths[to] = here + length;
      queue.push(to);
    }
  }
  for (const to of [9, 100, 1000]) {
    const length = lengths[to] ?? Infinity;
    assert.ok(length <= FAR);
    assert.equal(net.shortestPath(0, to, { weight: ({ value }) => value.length })?.length, length);
  }
});

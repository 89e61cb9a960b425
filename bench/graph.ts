/** The data of most benchmarks: nodes of 16 bytes with a value, a key and a reference to the next one. */
import { type Infer, type Obj, type Space, cursor, objectOf, offsetOf, reader, ref, struct, u32 } from '../src/index.ts';
import { shuffled } from './harness.ts';

export const Node = struct('Node', {
  value: u32,
  key: u32,
  get next() {
    return ref(Node);
  },
});
export type Node = Infer<typeof Node>;

/** A cursor on nodes. */
export const nodeCursor = (at: Node) => cursor(Node, at);
export type NodeCursor = ReturnType<typeof nodeCursor>;

/** A reader of the nodes of an object. */
export const nodeReader = (at: Node) => reader(Node, at);
export type NodeReader = ReturnType<typeof nodeReader>;

/** The root of a benchmark's object: where the chain starts. */
export const Chain = struct('Chain', { count: u32, first: ref(Node) });
export type Chain = Infer<typeof Chain>;

const SLICE = 20_000;

/** Calls `each` for 0 … count-1 in transactions of moderate size. */
export function inSlices(space: Space, count: number, each: (index: number) => void): void {
  for (let from = 0; from < count; from += SLICE) {
    space.relaxed(() => {
      for (let i = from; i < Math.min(count, from + SLICE); i++) each(i);
    });
  }
}

/** `count` nodes in one object, allocated one after another and linked in an order that the seed decides, or as allocated. */
export function makeChain(space: Space, count: number, seed: number | undefined): { chain: Chain; offsets: Uint32Array } {
  const chain = space.relaxed(() => space.create(Chain, { count, first: null }));
  const nodes: Node[] = [];
  inSlices(space, count, (i) => nodes.push(space.make(Node, chain, { value: i, key: i, next: null })));
  const order = seed === undefined ? undefined : shuffled(count, seed);
  const at = (i: number): Node | null => nodes[order === undefined ? i : (order[i] ?? count)] ?? null;
  inSlices(space, count, (i) => {
    const node = at(i);
    if (node !== null) node.next = at(i + 1);
  });
  space.relaxed(() => {
    chain.first = at(0);
  });
  return { chain, offsets: Uint32Array.from(nodes, offsetOf) };
}

/** The nodes of a chain, in its order. */
export function* nodesOf(chain: Chain): Iterable<Node> {
  for (let node = chain.first; node !== null; node = node.next) yield node;
}

/** An object from its first byte on as 32-bit words, for loops that use no accessor. */
export function words(space: Space, object: Obj): Uint32Array {
  const raw = space.relaxed(() => object.raw(0));
  return new Uint32Array(raw.buffer, raw.byteOffset, raw.byteLength >>> 2);
}

/** Where the fields of a node lie, found by looking: nothing but the accessors tells. */
export function fieldOffsets(space: Space): { value: number; next: number } {
  const found = space.relaxed(() => {
    const chain = space.create(Chain, { count: 0, first: null });
    const next = space.make(Node, chain, { value: 0, key: 0, next: null });
    const node = space.make(Node, chain, { value: 0x5eed1234, key: 0, next });
    const bytes = objectOf(node).bytes(offsetOf(node), 16);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const at = [0, 4, 8, 12];
    return {
      value: at.findIndex((offset) => view.getUint32(offset, true) === 0x5eed1234) * 4,
      next: at.findIndex((offset) => view.getUint32(offset, true) === offsetOf(next)) * 4,
    };
  });
  if (found.value < 0 || found.next < 0) throw new Error('a node does not hold its value and pointer as expected');
  return found;
}

/** The file that holds an object, once a checkpoint has brought it up to date. */
export function objectFile(directory: string, object: Obj): string {
  return `${directory}/objects/${object.id.slice(0, 2)}/${object.id}.twz`;
}

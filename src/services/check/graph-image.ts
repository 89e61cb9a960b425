/**
 * Graphs as the checker sees them: four ordered maps (lib/collections/graph.ts), and what must hold between them.
 *
 *  1. An edge leads from a node to a node.
 *  2. It is listed once among those that begin at the one, and once among those that end at the other.
 *  3. Numbers that are in use have been given.
 */
import type { CollectionReader, CollectionShape, Found, GraphPart, Key, Placed, WalkCollection } from './collection-image.ts';
import type { ObjectSchema, StructShape } from './schema.ts';

interface Part {
  readonly at: Placed;
  readonly shape: CollectionShape;
}

interface Edge {
  readonly from: number;
  readonly to: number;
  readonly place: Placed;
}

/** The struct of maps that lies at the header. */
function partsOf(home: Placed, shape: CollectionShape, schema: ObjectSchema): ((name: string) => Part | undefined) | undefined {
  const parts = shape.value?.kind === 'struct' ? schema.types.get(shape.value.type) : undefined;
  if (parts === undefined || parts.size > shape.size) return undefined;
  return (name) => {
    const field = parts.fields.find((each) => each.name === name);
    if (field?.shape.kind !== 'collection' || field.shape.collection !== 'OrderedMap') return undefined;
    return { at: { image: home.image, at: home.at + field.offset }, shape: field.shape };
  };
}

function offsetIn(struct: StructShape | undefined, name: string): number | undefined {
  const field = struct?.fields.find((each) => each.name === name);
  return field?.shape.type === 'u32' ? field.offset : undefined;
}

/** What a key is, where it can be read. */
export function decoded(key: Key | undefined): unknown {
  try {
    return key?.decode();
  } catch {
    return undefined;
  }
}

export function walkGraph(
  home: Placed,
  shape: CollectionShape,
  schema: ObjectSchema,
  reader: CollectionReader,
  walk: WalkCollection,
): boolean {
  const part = partsOf(home, shape, schema);
  const [nodes, edges, out, into] = [part?.('nodes'), part?.('edges'), part?.('out'), part?.('in')];
  if (nodes === undefined || edges === undefined || out === undefined || into === undefined) return false;
  const record = edges.shape.value?.kind === 'struct' ? schema.types.get(edges.shape.value.type) : undefined;
  const [fromAt, toAt] = [offsetIn(record, 'from'), offsetIn(record, 'to')];
  if (fromAt === undefined || toAt === undefined) return false;
  const allNodes = new Set<number>();
  const allEdges = new Map<number, Edge>();
  let whole = true;
  const each = (name: GraphPart, { at, shape: of }: Part, note: (key: number, value: Found) => void): void => {
    if (reader.part?.(name) === false) {
      whole = false;
      return;
    }
    walk(at, of, schema, {
      ...reader,
      entry: (key, value, position) => {
        const number = decoded(key);
        if (typeof number === 'number' && value !== undefined) note(number, value);
        const more = reader.entry(key, value, position);
        whole &&= more;
        return more;
      },
    });
  };
  each('nodes', nodes, (number) => allNodes.add(number));
  each('edges', edges, (number, { image, at }) => {
    allEdges.set(number, { from: image.u32(at + fromAt), to: image.u32(at + toAt), place: { image, at } });
  });
  // Who only looks at some of it does not ask whether all fits together.
  if (!whole || (reader.block === undefined && reader.member === undefined)) return true;
  const ends = (name: string, { at, shape: of }: Part): Set<number> => {
    const listed = new Set<number>();
    walk(at, of, schema, {
      ...reader,
      entry: (key) => {
        const ways = decoded(key);
        const [one, other, number] = Array.isArray(ways) ? (ways as readonly unknown[]) : [];
        const edge = typeof number === 'number' ? allEdges.get(number) : undefined;
        const [a, b] = name === 'out' ? [edge?.from, edge?.to] : [edge?.to, edge?.from];
        if (edge === undefined || typeof number !== 'number' || a !== one || b !== other)
          reader.bad(
            'CollectionEdge',
            key ?? at,
            `${name} lists edge ${String(number)} between ${String(one)} and ${String(other)}`,
            'an edge that is there',
          );
        else listed.add(number);
        return true;
      },
    });
    return listed;
  };
  const begins = ends('out', out);
  const comes = ends('in', into);
  for (const [number, { from, to, place }] of allEdges) {
    if (!allNodes.has(from) || !allNodes.has(to))
      reader.bad('CollectionEdge', place, `edge ${number} leads from node ${from} to ${to}`, 'nodes that are there');
    if (!begins.has(number) || !comes.has(number))
      reader.bad('CollectionEdge', place, `edge ${number} is not listed at ${begins.has(number) ? 'its end' : 'its beginning'}`);
  }
  numbers(home, shape, schema, reader, allNodes, allEdges);
  return true;
}

/** The numbers that come next are higher than all that there are. */
function numbers(
  home: Placed,
  shape: CollectionShape,
  schema: ObjectSchema,
  reader: CollectionReader,
  nodes: ReadonlySet<number>,
  edges: ReadonlyMap<number, Edge>,
): void {
  const struct = shape.value === undefined ? undefined : schema.types.get(shape.value.type);
  const highest = (all: Iterable<number>): number => {
    let most = -1;
    for (const number of all) if (number > most) most = number;
    return most;
  };
  for (const [name, all] of [
    ['nextNode', nodes.keys()],
    ['nextEdge', edges.keys()],
  ] as const) {
    const offset = offsetIn(struct, name);
    if (offset === undefined) continue;
    const next = home.image.u32(home.at + offset);
    const most = highest(all);
    const place = { image: home.image, at: home.at + offset };
    if (next <= most)
      reader.bad('CollectionEdge', place, `${name} is ${next}; number ${most} is in use`, `${most + 1} or more`, [
        { place, value: most + 1 },
      ]);
  }
}

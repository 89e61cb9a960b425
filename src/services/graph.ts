/** Graph: which objects refer to which, from their FOTs, ties included. Pure: the caller brings the bytes. */
import { META } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import type { ObjectImage } from './check/object-image.ts';
import { kindName, schemaOf, type ObjectReader } from './show.ts';

export interface GraphNode {
  readonly id: ObjectId;
  /** Type of the root, where the schema tells. */
  readonly type: string | undefined;
  readonly kind: string;
  readonly size: number;
  /** The object is referred to and is not in the space. */
  readonly missing: boolean;
}

export interface GraphEdge {
  readonly from: ObjectId;
  /** An object, or a path where the reference is late-bound. */
  readonly to: string;
  readonly by: 'reference' | 'name' | 'tie';
  /** Pointers through the FOT entry. */
  readonly count: number;
}

export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  /** More objects are reachable than were asked for. */
  readonly cut: boolean;
}

export interface GraphOptions {
  /** References to follow from where it starts. */
  readonly depth: number;
  /** Objects to show at most. */
  readonly most: number;
  readonly progress?: (done: number) => void;
}

/** Breadth first from `start`. */
export function graphFrom(start: Iterable<ObjectId>, read: ObjectReader, options: GraphOptions): Graph {
  const nodes = new Map<ObjectId, GraphNode>();
  const edges: GraphEdge[] = [];
  let cut = false;
  let level: ObjectId[] = [...start];
  for (let depth = 0; level.length > 0; depth++) {
    const next: ObjectId[] = [];
    for (const id of level) {
      if (nodes.has(id)) continue;
      if (nodes.size >= options.most) {
        cut = true;
        continue;
      }
      const image = read(id);
      nodes.set(id, nodeOf(id, image));
      options.progress?.(nodes.size);
      if (image === undefined) continue;
      for (const edge of edgesOf(id, image)) {
        edges.push(edge);
        if (edge.by === 'name') continue;
        if (depth < options.depth) next.push(edge.to as ObjectId);
        else if (!nodes.has(edge.to as ObjectId)) cut = true;
      }
    }
    level = next;
  }
  return { nodes: [...nodes.values()], edges: edges.filter((edge) => edge.by === 'name' || nodes.has(edge.to as ObjectId)), cut };
}

function nodeOf(id: ObjectId, image: ObjectImage | undefined): GraphNode {
  if (image === undefined) return { id, type: undefined, kind: '', size: 0, missing: true };
  const schema = schemaOf(image);
  return {
    id,
    type: typeof schema === 'string' ? undefined : schema.root,
    kind: kindName(image.u32(META.kind)),
    size: image.u32(META.size),
    missing: false,
  };
}

function* edgesOf(from: ObjectId, image: ObjectImage): Generator<GraphEdge> {
  for (const entry of image.fotEntries()) {
    if (entry.id !== undefined) yield { from, to: entry.id, by: 'reference', count: entry.count };
    else if (entry.path !== undefined) yield { from, to: entry.path, by: 'name', count: entry.count };
  }
  for (const tie of image.ties) yield { from, to: tie, by: 'tie', count: 1 };
}

const quote = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;

/** Graphviz. `short` gives the label of an ID. */
export function graphToDot(graph: Graph, short: (id: ObjectId) => string): string {
  const lines = ['digraph space {', '  node [shape=box, fontname="monospace"];'];
  for (const node of graph.nodes) {
    const label = node.missing ? `${short(node.id)}\nmissing` : `${node.type ?? 'untyped'}\n${short(node.id)}`;
    lines.push(`  ${quote(node.id)} [label=${quote(label)}${node.missing ? ', color=red' : ''}];`);
  }
  for (const edge of graph.edges) {
    const style = edge.by === 'tie' ? ', style=dashed, label="tie"' : edge.by === 'name' ? ', style=dotted' : '';
    lines.push(`  ${quote(edge.from)} -> ${quote(edge.to)} [weight=${Math.max(1, Math.min(1000, edge.count))}${style}];`);
  }
  lines.push('}');
  return `${lines.join('\n')}\n`;
}

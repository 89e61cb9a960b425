/** What a node tells to those who watch it: as text for Prometheus, and as JSON. */
import type { Cluster } from './cluster.ts';
import type { EngineFacts } from './engine.ts';
import type { NodeInfo } from './node.ts';

export interface NodeStatus {
  readonly id: string;
  readonly name: string;
  readonly pid: number;
  readonly engine: EngineFacts & { readonly connected: boolean };
  readonly counters: Readonly<Record<string, number>>;
  readonly nodes: readonly NodeInfo[];
}

export async function statusOf(cluster: Cluster): Promise<NodeStatus> {
  const [facts, nodes] = await Promise.all([cluster.stat(), cluster.nodes()]);
  const { connected, ...rest } = facts;
  const counters: Record<string, number> = { runsHere: cluster.runsHere, runsElsewhere: cluster.runsElsewhere };
  for (const [name, value] of Object.entries(rest)) if (typeof value === 'number') counters[name] = value;
  const { id, name, space } = cluster;
  return { id, name, pid: space.kernel.host.pid, engine: { ...cluster.facts, connected: connected === true }, counters, nodes };
}

/** What may fall as well as rise. */
const GAUGES: Readonly<Record<string, string>> = {
  owned: 'Shared families of objects that this node owns.',
  replicas: 'Families of objects of other nodes that this node has copies of.',
  cachedBytes: 'Bytes of those copies.',
  pinned: 'Families of objects that are pinned here.',
  peers: 'Nodes that this one knows, itself included.',
};

const HELP: Readonly<Record<string, string>> = {
  runsHere: 'Runs that this program asked for and that were done here.',
  runsElsewhere: 'Runs that this program asked for and that were done on other nodes.',
  fetched: 'Families of objects that were got from other nodes.',
  fetchedBytes: 'Bytes of objects that were got from other nodes.',
  prefetched: 'Those among them that nobody had asked for.',
  prefetchedBytes: 'Bytes of objects that nobody had asked for.',
  pagedBytes: 'Bytes of objects of other nodes that came because they were touched.',
  pagedQuestions: 'Times that other nodes were asked for such bytes.',
  evicted: 'Families of objects of other nodes that went from here to make room.',
  evictedBytes: 'Bytes of those that went.',
  stopped: 'Runs that were not over in time, and ended with their thread.',
  sentBytes: 'Bytes of objects that were given to other nodes.',
  savedBytes: 'Bytes of objects that neither had to go nor to come, for they were compressed on their way.',
  finds: 'Times that an object was looked for.',
  redirects: 'Times that an object was not where it had been last.',
  published: 'Records that were published to the engine.',
  publishedBytes: 'Bytes of records that were published to the engine.',
  applied: 'Records of other nodes that were applied to copies.',
  ended: 'Families that were deleted, here or on other nodes.',
  taken: 'Families whose ownership this node has taken.',
  given: 'Families whose ownership this node has given away.',
  succeeded: 'Families that this node took over from a node that was gone.',
};

/** The text format of Prometheus, version 0.0.4. */
export function metricsText({ id, name, engine, counters, nodes }: NodeStatus): string {
  const lines: string[] = [];
  const metric = (
    what: string,
    type: 'gauge' | 'counter',
    help: string | undefined,
    values: readonly (readonly [string, number])[],
  ): void => {
    if (help !== undefined) lines.push(`# HELP ${what} ${help}`);
    lines.push(`# TYPE ${what} ${type}`, ...values.map(([labels, value]) => `${what}${labels} ${value}`));
  };
  metric('twizzler_node_info', 'gauge', 'This node, and the oldest server of its engine.', [
    [labelled({ id, name, engine: engine.kind, version: engine.version }), 1],
  ]);
  metric('twizzler_engine_connected', 'gauge', 'Whether the node is connected to its engine.', [['', engine.connected ? 1 : 0]]);
  metric('twizzler_engine_replicas', 'gauge', 'Copies that the engine keeps of logs and registers.', [['', engine.replicas]]);
  for (const [counter, value] of Object.entries(counters)) {
    const gauge = GAUGES[counter];
    const what = `twizzler_${snake(counter)}`;
    if (gauge !== undefined) metric(what, 'gauge', gauge, [['', value]]);
    else metric(`${what}_total`, 'counter', HELP[counter], [['', value]]);
  }
  const each = (of: 'load' | 'objects'): (readonly [string, number])[] =>
    nodes.map((node) => [labelled({ id: node.id, name: node.name }), node[of]]);
  metric('twizzler_nodes', 'gauge', 'Nodes that are there.', [['', nodes.length]]);
  metric('twizzler_node_load', 'gauge', 'Runs that are under way on a node.', each('load'));
  metric('twizzler_node_objects', 'gauge', 'Objects that a node has open.', each('objects'));
  return `${lines.join('\n')}\n`;
}

function snake(name: string): string {
  return name.replaceAll(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
}

function labelled(labels: Readonly<Record<string, string>>): string {
  const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  return `{${Object.entries(labels)
    .map(([label, value]) => `${label}="${escaped(value)}"`)
    .join(',')}}`;
}

/** Which nodes there are, for whoever has a connection to the engine: a node, or somebody who only looks. */
import type { Engine, Subscription } from './engine.ts';
import { infoIn, type NodeInfo } from './node.ts';

export type ClusterEvent =
  | { readonly kind: 'came' | 'gone'; readonly node: NodeInfo }
  /** The connection to the engine. Nodes that come and go without it are told of once it is there again. */
  | { readonly kind: 'lost' | 'found' };

function nodeIn(key: string, bytes: Uint8Array | undefined): NodeInfo | undefined {
  return bytes === undefined ? undefined : infoIn(key.slice(key.lastIndexOf('.') + 1), bytes);
}

export async function listNodes(engine: Engine, ms: number): Promise<readonly NodeInfo[]> {
  const nodes = (await engine.leases('node', ms)).map(({ key, bytes }) => nodeIn(key, bytes)).filter((node) => node !== undefined);
  return nodes.sort((a, b) => (a.name === b.name ? compare(a.id, b.id) : compare(a.name, b.name)));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function watchNodes(engine: Engine, listener: (event: ClusterEvent) => void): Subscription {
  const there = new Map<string, NodeInfo>();
  const leases = engine.watchLeases('node', ({ key, bytes }) => {
    const before = there.get(key);
    const node = nodeIn(key, bytes);
    if (node === undefined) {
      there.delete(key);
      if (before !== undefined) listener({ kind: 'gone', node: before });
      return;
    }
    there.set(key, node);
    // Leases are renewed all the time. One that joined anew meanwhile is another one.
    if (before !== undefined && before.since === node.since) return;
    if (before !== undefined) listener({ kind: 'gone', node: before });
    listener({ kind: 'came', node });
  });
  const states = engine.onState((connected) => listener({ kind: connected ? 'found' : 'lost' }));
  return {
    close: () => {
      leases.close();
      states.close();
    },
  };
}

/**
 * Deletions as clients of a checked cluster asked for them, and what must come of them: who was told that it is done never sees the object
 * again; who was told that it does not count finds it; and what was written together with a deletion is there exactly if the object is not.
 */
import { isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { ClusterNode } from '../../services/cluster/node.ts';
import type { Step } from './history.ts';

const PATIENCE_MS = 30_000;
const CALL_MS = 5000;

export interface Deletion {
  readonly step: Step;
  /** What was written in the same transaction. */
  readonly also: { readonly name: string; readonly id: ObjectId; readonly ledger: boolean } | undefined;
}

export interface Deletable {
  readonly name: string;
  readonly id: ObjectId;
  readonly deletions: readonly Deletion[];
}

type Fail = (kind: 'wrong' | 'lost' | 'hung' | 'apart', message: string) => void;

/** Is it gone, now that everybody can know? Undefined where they do not agree, which is told. */
export async function judgeGone(nodes: readonly ClusterNode[], { id, name }: Deletable, fail: Fail): Promise<boolean | undefined> {
  const fates = await Promise.all(nodes.map((node) => fateOn(node, id)));
  const [first = ''] = fates;
  if (fates.some((fate) => fate !== first) || (first !== 'gone' && first !== 'there')) {
    fail('apart', `${name} (${id}): ${fates.map((fate, i) => `${fate} on ${nodes[i]?.name ?? ''}`).join(', ')}`);
    return undefined;
  }
  if (first === 'there') return false;
  const records = (await nodes[0]?.engine.read(`log.${id}`, 0, CALL_MS)) ?? [];
  if (records.length > 1) fail('wrong', `${name} (${id}) is gone, and its log has ${records.length} records`);
  return true;
}

async function fateOn(node: ClusterNode, id: ObjectId): Promise<string> {
  const until = node.clock.now() + PATIENCE_MS;
  for (;;) {
    try {
      await node.freshen(id, node.clock.now() + CALL_MS);
      return 'there';
    } catch (error) {
      if (!isTwzError(error)) throw error;
      if (error.name === 'ObjectDeleted') return 'gone';
      if (node.clock.now() > until) return `${error.name}: ${error.message}`;
      await node.pause(100);
    }
  }
}

/** Does that agree with what clients were told? `took`: steps that took effect. */
export function judgeDeletions(
  objects: readonly (Deletable & { readonly isGone: boolean })[],
  took: ReadonlySet<number>,
  tell: (step: number) => string,
  fail: Fail,
): void {
  for (const { name, deletions, isGone: gone } of objects) {
    const told = deletions.map(({ step }) => tell(step.id)).join(', ');
    if (!gone && deletions.some(({ step }) => step.outcome === 'done')) fail('lost', `${name} is there after ${told}`);
    if (gone && deletions.every(({ step }) => step.outcome === 'refused')) fail('wrong', `${name} is gone after ${told}`);
    const counted = deletions.filter(({ step, also }) => also !== undefined && took.has(step.id));
    if (!gone && counted.length > 0) fail('wrong', `${name} is there, and what was written together with its deletion is, too: ${told}`);
    if (gone && counted.length === 0 && deletions.every(({ also }) => also !== undefined))
      fail('wrong', `${name} is gone, and nothing of what was written together with its deletion is there: ${told}`);
  }
}

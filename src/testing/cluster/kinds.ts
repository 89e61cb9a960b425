/**
 * Objects of the kinds append-only and progressive, under the same faults as all others. An append is asked for by a name, and often again,
 * of another node: it is there once, where whoever was answered was told. A counter is counted up by every node in its own version.
 */
import type { ObjectId } from '../../abi/id.ts';
import { hashMap } from '../../lib/collections/hash-map.ts';
import { log } from '../../lib/collections/queue.ts';
import { text, u32 } from '../../lib/fields.ts';
import { mergeCode, mergeCounts } from '../../services/cluster/merges.ts';
import type { ClusterNode } from '../../services/cluster/node.ts';
import { encodeValues } from '../../services/cluster/values.ts';
import type { Random } from '../../host/simulated/random.ts';

const Journal = log(text);
const Counts = hashMap(text, u32);

export type Fail = (kind: 'wrong' | 'lost' | 'duplicated' | 'apart', message: string) => void;

/** Something that a client does. */
interface Act {
  readonly node: ClusterNode;
  readonly deadline: number;
  /** It has had its effect here. */
  committed: boolean;
}

export class Kinds {
  #journal: ObjectId | undefined;
  #counts: ObjectId | undefined;
  readonly #asked: string[] = [];
  readonly #numbers = new Map<string, number>();
  /** By name of the node: how often it has counted, and how much of that was acknowledged. */
  readonly #made = new Map<string, number>();
  readonly #kept = new Map<string, number>();

  furnish({ space }: ClusterNode): void {
    const merge = mergeCode(space, mergeCounts);
    space.relaxed(() => {
      this.#journal = space.object(space.create(Journal, [], { kind: 'append-only' })).id;
      this.#counts = space.object(space.create(Counts, [], { kind: 'progressive', merge })).id;
    });
  }

  /** Something to do at a node. */
  act(random: Random, fail: Fail): { readonly what: string; readonly body: (act: Act) => Promise<void> } {
    if (random.chance(0.3)) return { what: 'count', body: (act) => this.#count(act.node, act.deadline, () => (act.committed = true)) };
    const tag = this.#pick(random);
    return {
      what: tag,
      body: (act) => {
        act.committed = true;
        return this.#append(act.node, tag, act.deadline, fail);
      },
    };
  }

  /** The name of an append that is to be asked for: a new one, or one of the last. */
  #pick(random: Random): string {
    const known = random.chance(0.4) ? random.pick(this.#asked.slice(-6)) : undefined;
    if (known !== undefined) return known;
    const tag = `append ${this.#asked.length}`;
    this.#asked.push(tag);
    return tag;
  }

  async #append(node: ClusterNode, tag: string, deadline: number, fail: Fail): Promise<void> {
    const number = await node.append(this.#journal as ObjectId, encodeValues(tag, false), tag, deadline);
    const before = this.#numbers.get(tag) ?? number;
    if (before !== number) fail('duplicated', `${tag} is number ${before} and number ${number}`);
    this.#numbers.set(tag, number);
  }

  /** Gives back when it has its effect here; `kept` resolves when that outlives the node. */
  async #count(node: ClusterNode, deadline: number, stored: () => void): Promise<void> {
    const { space, name } = node;
    const id = this.#counts as ObjectId;
    if (!(await node.bring(id, deadline))) return;
    const now = space.relaxed(() => {
      const counts = space.get(id, Counts);
      counts.set(name, (counts.get(name) ?? 0) + 1);
      return counts.get(name) ?? 0;
    });
    this.#made.set(name, (this.#made.get(name) ?? 0) + 1);
    stored();
    await node.replicated(space.kernel.log.end, [id], deadline);
    this.#kept.set(name, Math.max(now, this.#kept.get(name) ?? 0));
  }

  /** When nothing is wrong any more. */
  async judge(nodes: readonly ClusterNode[], fail: Fail): Promise<void> {
    const [journal, counts] = [this.#journal as ObjectId, this.#counts as ObjectId];
    const logs: string[][] = [];
    for (const node of nodes) {
      const deadline = node.clock.now() + 20_000;
      await node.freshen(journal, deadline);
      await node.merge(counts, deadline);
      logs.push(node.space.get(journal, Journal).toArray());
    }
    const [first = []] = logs;
    if (logs.some((each) => each.join('\n') !== first.join('\n'))) fail('apart', 'the journal is not the same on all nodes');
    if (new Set(first).size !== first.length) fail('duplicated', 'something was appended twice');
    for (const [tag, number] of this.#numbers) if (first[number] !== tag) fail('lost', `${tag} is not number ${number}`);
    // Who merged first may not have what the last one published.
    for (const node of nodes) await node.merge(counts, node.clock.now() + 20_000);
    const finals = nodes.map(({ space }) => new Map(space.get(counts, Counts)));
    for (const { name } of nodes) {
      const [values, kept, made] = [finals.map((each) => each.get(name) ?? 0), this.#kept.get(name) ?? 0, this.#made.get(name) ?? 0];
      if (new Set(values).size > 1) fail('apart', `${name} has counted ${values.join(', ')} times`);
      if ((values[0] ?? 0) < kept) fail('lost', `${name} has counted ${kept} times, and there are ${values[0]}`);
      if ((values[0] ?? 0) > made) fail('duplicated', `${name} has counted ${made} times, and there are ${values[0]}`);
    }
  }
}

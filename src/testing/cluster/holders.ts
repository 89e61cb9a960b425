/**
 * References to counted objects, as clients of a checked cluster make, move and drop them, while others reclaim: what a holder refers to was
 * not reclaimed, whichever node the reference came from.
 */
import { isTwzError, TwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { Random } from '../../host/simulated/random.ts';
import { referredTo } from '../../kernel/reclaim.ts';
import { f64 } from '../../lib/fields.ts';
import { ref, struct } from '../../lib/struct.ts';
import type { ClusterNode } from '../../services/cluster/node.ts';

const Held = struct('CheckHeld', { tag: f64 });
const Holder = struct('CheckHolder', {
  get held() {
    return ref(Held);
  },
});

export interface Holding {
  readonly node: ClusterNode;
  readonly deadline: number;
  readonly step: { readonly id: number };
}

export class Holders {
  readonly #ids: ObjectId[] = [];
  reclaimed = 0;

  furnish({ space }: ClusterNode): void {
    this.#ids.push(space.object(space.relaxed(() => space.create(Holder))).id);
  }

  /** One thing that a client does, and what it is called. */
  act(random: Random): { readonly what: string; readonly body: (act: Holding) => Promise<void> } {
    const to = random.below(this.#ids.length);
    const from = (to + 1 + random.below(this.#ids.length - 1)) % this.#ids.length;
    const at = random.below(12);
    if (at < 3) return { what: `put into h${to}`, body: (act) => this.#put(act, this.#ids[to] as ObjectId) };
    if (at < 6)
      return { what: `move h${from} to h${to}`, body: (act) => this.#move(act, this.#ids[from] as ObjectId, this.#ids[to] as ObjectId) };
    return { what: 'reclaim', body: (act) => this.#reclaim(act) };
  }

  async #put(act: Holding, holder: ObjectId): Promise<void> {
    const { space } = act.node;
    const stored = await this.#transact(act, [holder], () => {
      const held = space.create(Held, { tag: act.step.id }, { counted: true });
      space.get(holder, Holder).held = held;
      return [holder, space.object(held).id];
    });
    await act.node.replicated(space.kernel.log.end, stored, act.deadline);
  }

  async #move(act: Holding, from: ObjectId, to: ObjectId): Promise<void> {
    const { node } = act;
    const { space } = node;
    await node.own(from, act.deadline);
    await this.bringHeld(act, from);
    await this.#transact(act, [from, to], () => {
      const [source, target] = [space.get(from, Holder), space.get(to, Holder)];
      target.held = source.held;
      source.held = null;
      return [];
    });
    await node.replicated(space.kernel.log.end, [from, to], act.deadline);
  }

  async #transact(act: Holding, holders: readonly ObjectId[], body: () => ObjectId[]): Promise<ObjectId[]> {
    const { node, deadline } = act;
    for (;;) {
      for (const id of holders) await node.own(id, deadline);
      try {
        return node.space.relaxed(body);
      } catch (error) {
        if (!isTwzError(error, 'NotJoined')) throw error;
        if (node.clock.now() >= deadline) throw new TwzError('TimedOut', 'others were always faster');
        await node.pause(5);
      }
    }
  }

  async #reclaim({ node, deadline }: Holding): Promise<void> {
    this.reclaimed += (await node.marking.reclaim(deadline)).deleted.length;
  }

  /** What a holder refers to comes, or the holder does not refer to it any more. */
  async bringHeld({ node, deadline }: Holding, holder: ObjectId): Promise<void> {
    const heldBy = (): ObjectId | undefined => [...referredTo(node.space.kernel.open(holder))][0];
    const id = heldBy();
    if (id === undefined) return;
    try {
      await node.bring(id, deadline);
    } catch (error) {
      // Its maker may have died before anybody else could have it.
      if (isTwzError(error) && error.name !== 'ObjectDeleted') return;
      if (!isTwzError(error)) throw error;
      await node.freshen(holder, deadline);
      if (node.space.has(holder) && heldBy() === id && node.table.byMember.get(holder)?.astray !== true)
        throw new Error(`${holder} refers to ${id}, which was reclaimed`, { cause: error });
      throw error;
    }
  }

  /** When everybody has all: nothing that is referred to is gone. */
  async judge(nodes: readonly ClusterNode[]): Promise<void> {
    for (const node of nodes)
      for (const holder of this.#ids) {
        const act = { node, deadline: node.clock.now() + 20_000, step: { id: 0 } };
        await node.freshen(holder, act.deadline);
        await this.bringHeld(act, holder);
      }
  }
}

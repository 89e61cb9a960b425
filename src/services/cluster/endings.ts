/**
 * Families that were deleted: what is left of them, here and in the engine.
 *
 *   deleted by its owner  ->  an end in its log, with all that was written together  ->  every replica goes, each in one transaction with that
 *                         ->  the rest of its log goes, and its chunks               ->  the end itself goes after 30 days
 *
 * Invariants:
 *  1. An end counts when it is in the log. Before that the family is in the table still, without its objects: it may be had again.
 *  2. Nothing of the log goes before its end is the last of it; no chunk before the rest of the log: who reads finds the whole, or the end.
 *  3. The family stands in the stored table until all of that is done: a node that died meanwhile goes on with it.
 */
import { isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { keepsDeleted, settleDeleted } from '../../kernel/lifetime.ts';
import { run } from '../../kernel/transaction.ts';
import type { Core } from './core.ts';
import type { Family } from './families.ts';
import type { Publisher } from './publisher.ts';
import type { Replicas } from './replicas.ts';

const CALL_MS = 2000;
/** Milliseconds after which it is tried again to delete what a tie had kept, where somebody held it. */
const AGAIN_MS = 100;

export class Endings {
  readonly #core: Core;
  readonly #publisher: Publisher;
  readonly #replicas: Replicas;
  #settling = false;
  #stopped = false;
  isThere: (node: string) => boolean = () => false;
  /** It is here no more. */
  onGone: (family: Family) => void = () => undefined;
  /** Families that ended while this node knew of them. */
  ended = 0;

  constructor(core: Core, publisher: Publisher, replicas: Replicas) {
    this.#core = core;
    this.#publisher = publisher;
    this.#replicas = replicas;
  }

  stop(): void {
    this.#stopped = true;
  }

  /** That node has deleted it; nothing of it is here any more. */
  over(family: Family, by: string): void {
    this.ended++;
    this.#replicas.unfollow(family);
    this.#core.table.drop(family);
    this.onGone(family);
    // One that has gone itself may not have come to that.
    if (by === this.#core.id || !this.isThere(by)) void this.#tidy(family.id);
    this.settle();
  }

  async #tidy(id: ObjectId): Promise<void> {
    const { engine, space, table } = this.#core;
    try {
      await this.#publisher.persist(() => engine.trim(`log.${id}`, CALL_MS));
      await this.#publisher.persist(() => engine.dropChunks(id, CALL_MS));
    } catch (error) {
      // This node ends: it goes on with it when it is there again.
      if (!this.#stopped || !isTwzError(error)) throw error;
      return;
    }
    if (this.#stopped || table.byId.has(id)) return;
    this.#replicas.quietly(() => run(space.kernel, () => table.erase({ id })));
  }

  /** Soon: what was deleted before, and is kept by nothing now, goes. */
  settle(): void {
    if (this.#settling || this.#stopped || !keepsDeleted(this.#core.space.kernel)) return;
    this.#settling = true;
    this.#core.clock.timer(0, () => this.#settleNow());
  }

  #settleNow(): void {
    this.#settling = false;
    const { kernel } = this.#core.space;
    if (this.#stopped || kernel.closed) return;
    try {
      this.#publisher.aloud(() => run(kernel, () => settleDeleted(kernel)));
    } catch (error) {
      if (!isTwzError(error)) throw error;
      this.#core.clock.timer(AGAIN_MS, () => this.settle());
    }
  }
}

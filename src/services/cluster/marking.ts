/**
 * Reclaiming over nodes: which objects does no node reach? Whoever wants to reclaim asks all nodes, again and again, until none of them has
 * anything new to say.
 *
 *   asker  ->  all     what others have reached so far
 *   all    ->  asker   what they reach from their own roots and from that: what is not theirs alone
 *
 * Invariants:
 *  1. A node goes by all that is here, replicas as well, be they old: what it has must be reached by whoever reads it.
 *  2. From its first answer on, whatever a commit here, or of another node's, makes an object refer to counts as reached: a reference that
 *     moves from one node to another while they are asked is seen at the one or at the other.
 *  3. All nodes are asked that are there, or were within their lease and grace: `keeps.<id>` in the engine. Nothing is reclaimed while one of
 *     them does not answer; all is asked anew where one came meanwhile.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { readId, writeId, type ObjectId } from '../../abi/id.ts';
import { reclaim, referredTo, Trace, unreached, type Reclaimed } from '../../kernel/reclaim.ts';
import { runAlone } from '../../kernel/transaction.ts';
import { left, type Core } from './core.ts';
import type { Family } from './families.ts';
import { hear, say, textIn, type Said } from './messages.ts';
import type { Ownership } from './ownership.ts';
import { toHex } from './record.ts';

/** Objects that one message names. */
const NAMED = 1024;
/** A node that is asked nothing for so many milliseconds forgets it. */
const FORGET_MS = 30_000;
const CALL_MS = 5000;
/** How often it is begun anew because a node came, or had begun anew. */
const ROUNDS = 8;

/** What this node has reached for one who asks. */
class Marked {
  readonly #core: Core;
  readonly #trace: Trace;
  readonly #told = new Set<ObjectId>();
  readonly #telling: ObjectId[] = [];
  readonly #absent = new Set<ObjectId>();
  #seen = 0;
  since = 0;

  constructor(core: Core) {
    this.#core = core;
    this.#trace = new Trace(core.space.kernel, (id) => this.#absent.add(id));
  }

  /** An object refers to those. */
  follow(ids: Iterable<ObjectId>): void {
    for (const id of ids) this.#trace.follow(id);
  }

  /** Some of what is reached and was not told: what other nodes may have as well. */
  take(): ObjectId[] {
    const { table, space } = this.#core;
    const { reached } = this.#trace;
    if (reached.size + this.#absent.size > this.#seen) {
      for (const id of reached) if (table.byId.has(id) && space.has(id) && space.kernel.open(id).counted) this.#tell(id);
      for (const id of this.#absent) this.#tell(id);
      this.#seen = reached.size + this.#absent.size;
    }
    return this.#telling.splice(0, NAMED);
  }

  get more(): boolean {
    return this.#telling.length > 0;
  }

  #tell(id: ObjectId): void {
    if (this.#told.has(id)) return;
    this.#told.add(id);
    this.#telling.push(id);
  }
}

export class Marking {
  readonly #core: Core;
  readonly #marked = new Map<string, Marked>();
  #touched = new Set<ObjectId>();
  readonly #ownership: Ownership;

  constructor(core: Core, ownership: Ownership) {
    this.#core = core;
    this.#ownership = ownership;
  }

  /** Somebody wants to know what objects refer to from now on. */
  get watching(): boolean {
    return this.#marked.size > 0;
  }

  /** It was changed, is new, or has come. */
  touched(id: ObjectId): void {
    this.#touched.add(id);
    if (this.#touched.size === 1) void Promise.resolve().then(() => this.#look());
  }

  #look(): void {
    const touched = this.#touched;
    this.#touched = new Set();
    const { kernel } = this.#core.space;
    if (kernel.closed || !this.watching) return;
    for (const id of touched) {
      if (!kernel.has(id)) continue;
      const ids = [...referredTo(kernel.open(id))];
      for (const marked of this.#marked.values()) marked.follow(ids);
    }
  }

  // --- of this node for others ----------------------------------------------------------------------------------------------------

  answer({ head, body }: Said): Uint8Array {
    const token = textIn(head, 'token');
    if (head['over'] === true) {
      this.#marked.delete(token);
      return say({});
    }
    const { space, clock } = this.#core;
    space.refresh();
    this.#look();
    let marked = this.#marked.get(token);
    if (marked === undefined) {
      if (head['first'] !== true) throw new TwzError('Stale', 'this node began anew meanwhile');
      marked = new Marked(this.#core);
      this.#marked.set(token, marked);
      this.#forget(token);
    }
    marked.since = clock.now();
    marked.follow(idsOf(body));
    const ids = marked.take();
    return say({ more: marked.more }, bytesOf(ids));
  }

  #forget(token: string): void {
    const { clock } = this.#core;
    clock.timer(FORGET_MS, () => {
      const marked = this.#marked.get(token);
      if (marked === undefined) return;
      if (clock.now() - marked.since >= FORGET_MS) this.#marked.delete(token);
      else this.#forget(token);
    });
  }

  // --- of others for this node ----------------------------------------------------------------------------------------------------

  /** Which of these, that nothing here reaches, may not go, and what leads there. Of those whose owner is gone for good this node becomes the owner. Throws ReferencesUnknown. */
  async reachedOf(ids: readonly ObjectId[], deadline: number): Promise<readonly ObjectId[]> {
    const { table } = this.#core;
    const { kept, nodes } = await this.#reached(deadline);
    const all = new Set(kept);
    for (const id of ids) {
      const family = table.byMember.get(id);
      if (all.has(id) || family === undefined || family.role === 'owner') continue;
      if (nodes.has(family.owner) || !(await this.#succeed(family, deadline))) all.add(id);
    }
    return [...all];
  }

  async #succeed(family: Family, deadline: number): Promise<boolean> {
    try {
      await this.#ownership.own(family, deadline);
      return family.role === 'owner';
    } catch (error) {
      if (!isTwzError(error)) throw error;
      return false;
    }
  }

  /** Deletes the counted objects that no node reaches, of those that are this node's own. Throws ReferencesUnknown. */
  async reclaim(deadline: number): Promise<Reclaimed> {
    const { space } = this.#core;
    const { kernel } = space;
    space.refresh();
    const ids = unreached(kernel);
    const kept = ids.length > 0 ? await this.reachedOf(ids, deadline) : [];
    return space.relaxed(() => runAlone(kernel, () => reclaim(kernel, { asked: new Set(ids), kept: new Set(kept) })));
  }

  /** Nodes whose references count. */
  async #keepers(deadline: number): Promise<readonly string[]> {
    const leases = await this.#core.engine.leases('keeps', left(this.#core, deadline, 'asking who is there'));
    return leases.map(({ key }) => key.slice(key.lastIndexOf('.') + 1));
  }

  /** All that any node reaches and others may have, and which nodes were asked. Throws ReferencesUnknown. */
  async #reached(deadline: number): Promise<{ readonly kept: ReadonlySet<ObjectId>; readonly nodes: ReadonlySet<string> }> {
    for (let round = 0; round < ROUNDS; round++) {
      const nodes = new Set([this.#core.id, ...(await this.#keepers(deadline))]);
      const kept = await this.#round(nodes, deadline);
      if (kept !== undefined && (await this.#keepers(deadline)).every((node) => nodes.has(node))) return { kept, nodes };
    }
    throw new TwzError('ReferencesUnknown', 'nodes came and went while they were asked what they refer to');
  }

  /** Undefined: it has to be begun anew. */
  async #round(nodes: ReadonlySet<string>, deadline: number): Promise<ReadonlySet<ObjectId> | undefined> {
    const token = toHex(this.#core.space.kernel.random(16));
    const all = new Set<ObjectId>();
    try {
      let news: ObjectId[] = [];
      let isSettled = false;
      // The first time, some are asked before others: what moved meanwhile is known by the second.
      for (let first = true; first || news.length > 0 || !isSettled; first = false) {
        isSettled = !first;
        const [telling, isFirst] = [news, first];
        const came = new Set<ObjectId>();
        await Promise.all(
          [...nodes].map(async (node) => {
            for (const id of await this.#askAll(node, token, isFirst, telling, deadline)) if (!all.has(id)) came.add(id);
          }),
        );
        news = [...came];
        for (const id of news) all.add(id);
      }
      return all;
    } catch (error) {
      if (isTwzError(error, 'Stale')) return undefined;
      throw error;
    } finally {
      for (const node of nodes) void this.#ask(node, { token, over: true }, [], deadline).catch(quietly);
    }
  }

  /** Tells a node what others have reached, and asks for all that it has to say. */
  async #askAll(node: string, token: string, first: boolean, ids: readonly ObjectId[], deadline: number): Promise<ObjectId[]> {
    const told: ObjectId[] = [];
    let [at, isFirst, more] = [0, first, true];
    while (more || at < ids.length) {
      const { head, body } = await this.#ask(node, { token, first: isFirst }, ids.slice(at, at + NAMED), deadline);
      at += NAMED;
      isFirst = false;
      more = head['more'] === true;
      told.push(...idsOf(body));
    }
    return told;
  }

  async #ask(node: string, head: Readonly<Record<string, unknown>>, ids: readonly ObjectId[], deadline: number): Promise<Said> {
    const asked = { do: 'mark', ...head };
    if (node === this.#core.id) return hear(this.answer({ head: asked, body: bytesOf(ids) }));
    try {
      left(this.#core, deadline, 'asking what nodes refer to');
      return await this.#core.call(node, asked, Math.min(deadline, this.#core.clock.now() + CALL_MS), bytesOf(ids));
    } catch (error) {
      if (!isTwzError(error, 'Unreachable') && !isTwzError(error, 'TimedOut')) throw error;
      throw new TwzError('ReferencesUnknown', `node ${node} may refer to what is to be reclaimed, and does not answer`, { node }, error);
    }
  }
}

/** It forgets by itself. */
function quietly(error: unknown): void {
  if (!isTwzError(error)) throw error;
}

function bytesOf(ids: readonly ObjectId[]): Uint8Array {
  const bytes = new Uint8Array(ids.length * 16);
  for (const [i, id] of ids.entries()) writeId(bytes, i * 16, id);
  return bytes;
}

function idsOf(bytes: Uint8Array): ObjectId[] {
  return Array.from({ length: bytes.length >> 4 }, (_, i) => readId(bytes, i * 16));
}

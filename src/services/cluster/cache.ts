/**
 * The cache: copies of what other nodes own take so many bytes here at most. What was not used for the longest time goes first, as a whole
 * family, in one transaction, and comes again when it is touched: as if it had never been here.
 *
 * Invariants:
 *  1. What goes can be had again: the engine has a base of it; or who made it owns it still, and is there.
 *  2. What is owned here, pinned, astray, coming, or about to change its owner stays.
 *  3. What came or was used just now stays, and all that a transaction has asked for until it ends: who waits for it gets on.
 */
import { isTwzError } from '../../abi/errors.ts';
import { isId, type ObjectId } from '../../abi/id.ts';
import type { Timer } from '../../host/host.ts';
import { forsakeReplica } from '../../kernel/sections.ts';
import { run } from '../../kernel/transaction.ts';
import { hashMap } from '../../lib/collections/hash-map.ts';
import { f64, text } from '../../lib/fields.ts';
import type { Infer } from '../../lib/struct.ts';
import type { Core } from './core.ts';
import { bytesOf, ownTable, rootOfFamily, type Family } from './families.ts';
import type { Replicas } from './replicas.ts';

/** Families that are pinned, by their first object, and since when. */
const Pins = hashMap(text, f64);
const PATH = '/cluster-pins';

/** Milliseconds that a family stays after it came or was used, and after which it is tried again where it was too much all the same. */
const HOLD_MS = 500;
const AGAIN_MS = 2000;
/** For how long a transaction that has asked may wait until it asks for more. */
const KEPT_MS = 10_000;
const CALL_MS = 2000;
/** So many go at once before others have their turn. */
const AT_ONCE = 32;

interface Entry {
  bytes: number;
  used: number;
}

export class ReplicaCache {
  readonly #core: Core;
  readonly #replicas: Replicas;
  readonly #limit: number;
  /** In the order of use. */
  readonly #entries = new Map<ObjectId, Entry>();
  readonly #pinned = new Set<ObjectId>();
  #pins: Infer<typeof Pins> | undefined;
  #timer: Timer | undefined;
  #sweeping = false;
  #stopped = false;
  /** Until then, all stays that was used since the other: transactions have asked for it. */
  #keptUntil = -Infinity;
  #keptFrom = Infinity;
  /** Somebody else deals with it. */
  isBusy: (family: Family) => boolean = () => false;
  isThere: (node: string) => boolean = () => false;
  onGone: (family: Family) => void = () => undefined;
  bytes = 0;
  evicted = 0;
  evictedBytes = 0;

  constructor(core: Core, replicas: Replicas, limit = Infinity) {
    this.#core = core;
    this.#replicas = replicas;
    this.#limit = limit;
    const { space, table } = core;
    if (space.names.lookup(PATH) !== undefined) for (const [id] of this.#known()) if (isId(id)) this.#pinned.add(id);
    for (const family of table.byId.values()) this.note(family);
  }

  #known(): Infer<typeof Pins> {
    this.#pins ??= ownTable(this.#core.space, PATH, Pins);
    return this.#pins;
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  get pinned(): number {
    return this.#pinned.size;
  }

  // --- what is here ---------------------------------------------------------------------------------------------------------------

  /** A family came, has another size or another owner, or is no more. */
  note(family: Family): void {
    const { table, space, clock } = this.#core;
    const { id } = family;
    const before = this.#entries.get(id);
    this.bytes -= before?.bytes ?? 0;
    if (!table.has(family) || family.role !== 'replica') {
      this.#entries.delete(id);
      return;
    }
    const bytes = bytesOf(space, family.members);
    this.bytes += bytes;
    if (before === undefined) this.#entries.set(id, { bytes, used: clock.now() });
    else before.bytes = bytes;
    if (this.bytes > this.#limit) this.#soon(HOLD_MS);
  }

  /** It was deleted: nobody can want it here any more. */
  end(family: Family): void {
    this.note(family);
    if (this.#pinned.has(family.id)) this.pin(family.id, false);
  }

  /** Somebody looks at these objects. */
  use(ids: readonly ObjectId[]): void {
    for (const id of ids) {
      const root = this.#core.table.byMember.get(id)?.id;
      const entry = root === undefined ? undefined : this.#entries.get(root);
      if (root === undefined || entry === undefined) continue;
      entry.used = this.#core.clock.now();
      this.#entries.delete(root);
      this.#entries.set(root, entry);
    }
  }

  /** A transaction that runs for so long asks for one object after the other, and begins anew with each. */
  keep(ms: number): void {
    const now = this.#core.clock.now();
    if (now > this.#keptUntil) this.#keptFrom = Infinity;
    this.#keptFrom = Math.min(this.#keptFrom, now - ms);
    this.#keptUntil = now + KEPT_MS;
  }

  /** It stays here, however much else comes; or may go again. Its first object's ID is remembered, from one run of the node to the next. */
  pin(id: ObjectId, pinned: boolean): void {
    const { space, table } = this.#core;
    const { kernel } = space;
    const root = table.byMember.get(id)?.id ?? (kernel.has(id) ? rootOfFamily(space, kernel.open(id)).id : id);
    if (pinned === this.#pinned.has(root)) return;
    const known = this.#known();
    this.#replicas.quietly(() => run(kernel, () => void (pinned ? known.set(root, kernel.host.time()) : known.delete(root))));
    if (pinned) this.#pinned.add(root);
    else this.#pinned.delete(root);
    if (this.bytes > this.#limit) this.#soon(HOLD_MS);
  }

  // --- what goes ------------------------------------------------------------------------------------------------------------------

  #soon(ms: number): void {
    if (this.#timer !== undefined || this.#stopped) return;
    this.#timer = this.#core.clock.timer(ms, () => {
      this.#timer = undefined;
      void this.#sweep();
    });
  }

  async #sweep(): Promise<void> {
    if (this.#sweeping) return;
    this.#sweeping = true;
    let ms = AGAIN_MS;
    let count = 0;
    try {
      for (const [id, entry] of [...this.#entries]) {
        if (this.bytes <= this.#limit || this.#stopped) return;
        const family = this.#core.table.byId.get(id);
        if (family === undefined || this.#pinned.has(id)) continue;
        if (this.#rest(entry) === 0 && !family.based && family.epoch > 0) await this.#getBased(family);
        const rest = this.#rest(entry);
        if (rest > 0) ms = Math.min(ms, rest);
        else if (this.evict(family) && ++count % AT_ONCE === 0) await this.#core.pause(0);
      }
    } finally {
      this.#sweeping = false;
    }
    if (this.bytes > this.#limit) this.#soon(ms);
  }

  /** Milliseconds that it stays yet. */
  #rest({ used }: Entry): number {
    const now = this.#core.clock.now();
    return Math.max(0, used + HOLD_MS - now, used >= this.#keptFrom ? this.#keptUntil - now : 0);
  }

  /** It had other owners before, so nobody may have all of it for good but the one that owns it now: the engine is to have it. */
  async #getBased(family: Family): Promise<void> {
    const { table, clock } = this.#core;
    if (!this.isThere(family.owner) || family.owner === this.#core.id) return;
    try {
      const { head } = await this.#core.call(family.owner, { do: 'base', family: family.id }, clock.now() + CALL_MS);
      if (head['based'] === true && table.has(family)) family.based = true;
    } catch (error) {
      // It stays until the next time.
      if (!isTwzError(error)) throw error;
    }
  }

  #mayGo(family: Family): boolean {
    const { table, id } = this.#core;
    if (!table.has(family) || family.role !== 'replica' || family.owner === id || family.astray) return false;
    if (this.#pinned.has(family.id) || this.isBusy(family)) return false;
    return family.based || (family.epoch === 0 && this.isThere(family.owner));
  }

  /** Takes a family out of the space, if that may be: false where it stays. */
  evict(family: Family): boolean {
    const { space, table } = this.#core;
    const { kernel } = space;
    if (this.#stopped || !this.#mayGo(family)) return false;
    try {
      this.#replicas.quietly(() =>
        run(kernel, () => {
          for (const id of family.members) if (kernel.has(id)) forsakeReplica(kernel, kernel.open(id));
          table.erase(family);
        }),
      );
    } catch (error) {
      // Somebody holds it: it stays until the next time.
      if (!isTwzError(error)) throw error;
      return false;
    }
    this.#replicas.unfollow(family);
    table.drop(family);
    this.evicted++;
    this.evictedBytes += this.#entries.get(family.id)?.bytes ?? 0;
    this.note(family);
    this.onGone(family);
    kernel.log.pace();
    kernel.checkpointer.pace();
    return true;
  }
}

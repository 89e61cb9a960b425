/**
 * Data mobility: where objects are, and how they come here, with their families. Both sides.
 *
 * Who is asked for an object sends along what it refers to, as far as it was told that there is use for that: the next reference that is
 * followed leads to something that is here. How much use there was is what decides how much is asked for next time.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { KIND } from '../../abi/format.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import { fotEntries } from '../../kernel/fot.ts';
import { isSystem, wasDeleted } from '../../kernel/lifetime.ts';
import type { Handle } from '../../kernel/object.ts';
import type { Section } from '../../kernel/sections.ts';
import { Arrivals, type Arrival } from './arrivals.ts';
import { deleted, left, type Core } from './core.ts';
import { bytesOf, Family, isOwnedKind, membersOf, metIn, rootOfFamily, textOfMet } from './families.ts';
import { heard, idIn, isRecord, numberIn, say, strange, textIn, type Head, type Said } from './messages.ts';
import type { About } from './choosing.ts';
import type { Ownership } from './ownership.ts';
import type { Progressive } from './progressive.ts';
import type { Publisher } from './publisher.ts';
import { decodeRecord, RECORD_KIND } from './record.ts';
import type { Replicas } from './replicas.ts';
import { Offers, PIECES, Receiving, type PieceSizes } from './transfer.ts';

const CALL_MS = 2000;
/** So often all of what went astray together must be had before some of it is taken. */
const PATIENT = 8;
/** Where an object lies is asked for this long at most, in milliseconds, where not all nodes answer. */
const FIND_MS = 1000;
const KNOWN_MAX = 100_000;
/** Families that are sent along with one that is asked for, and bytes of them, at most. */
const MORE_MAX = 256;
const MORE_BYTES_MAX = 1 << 20;

export interface Prefetch {
  /** Families beyond the one that is asked for. */
  readonly more: number;
  readonly bytes: number;
}

export const NO_PREFETCH: Prefetch = { more: 0, bytes: 0 };

export class Fetching {
  readonly #core: Core;
  readonly #ownership: Ownership;
  readonly #publisher: Publisher;
  readonly #replicas: Replicas;
  readonly #others: () => number;
  /** Where objects were found last. */
  readonly #known = new Map<ObjectId, string>();
  readonly #bringing = new Map<ObjectId, Promise<boolean>>();
  readonly offers: Offers;
  readonly receiving: Receiving;
  readonly arrivals: Arrivals;
  /** What of objects that have versions instead of an owner is here, and how they come. */
  progressive: Pick<Progressive, 'isHere' | 'publish' | 'bring'> | undefined;
  /** Families that are to be got anew, and who waits for each. */
  readonly #reloading = new Map<Family, (() => void)[]>();
  #isReloading = false;
  /** What came along with others' requests, until somebody asks for the list. */
  #came: ObjectId[] = [];
  /** Who has a replica of what was looked for last. */
  #copies: string[] = [];
  /** Somebody who is there has not answered. */
  #silent = false;
  stopped = false;
  /** Families that were got from other nodes, their bytes, those among them that nobody had asked for, and how often one was looked for. */
  fetched = 0;
  fetchedBytes = 0;
  prefetched = 0;
  prefetchedBytes = 0;
  finds = 0;
  redirects = 0;

  constructor(core: Core, ownership: Ownership, publisher: Publisher, replicas: Replicas, others: () => number, sizes?: PieceSizes) {
    this.#core = core;
    this.#ownership = ownership;
    this.#publisher = publisher;
    this.#replicas = replicas;
    this.#others = others;
    this.offers = new Offers(core, sizes);
    this.receiving = new Receiving(core, sizes);
    this.arrivals = new Arrivals(core, replicas);
  }

  // --- objects of this node's for others ------------------------------------------------------------------------------------------

  /** The answer to who asks this node, or to who asks all: then undefined where it has nothing to say. */
  async give({ head }: Said): Promise<Uint8Array> {
    const { kernel } = this.#core.space;
    const id = idIn(head, 'id');
    kernel.catchUp();
    if (!kernel.has(id)) return this.#gone(id);
    const root = rootOfFamily(this.#core.space, kernel.open(id));
    if (this.progressive?.isHere(id) === true) {
      const whole = await this.progressive.publish(id, this.#core.clock.now() + CALL_MS);
      return say({ node: this.#core.id, owned: true, progressive: whole, ...this.#sizeOf(root) });
    }
    if (this.#isOwnReplica(root)) return this.#copy(id, head);
    if (!this.#owns(root)) return head['copy'] === true ? this.#copy(id, head) : this.#elsewhere(id);
    const roots = [root];
    const prefetch = prefetchIn(head);
    if (prefetch.more > 0) this.#reachable(roots, prefetch);
    await this.#ownership.share(roots.filter(({ kind }) => kind !== KIND.immutable));
    const chosen: readonly Given[] = roots.map((each) => ({ root: each, family: this.#core.table.byId.get(each.id) }));
    // Whoever follows from there on misses nothing and gets nothing twice.
    while (!this.#publisher.idle) await this.#publisher.flush();
    if (!kernel.has(root.id)) return this.#gone(id);
    const facts: object[] = [];
    const ids: ObjectId[] = [];
    for (const { family, root: each } of chosen) {
      if (!kernel.has(each.id)) continue;
      if (family !== undefined && family.role !== 'owner') {
        if (each === root) return this.#elsewhere(id);
        continue;
      }
      const members = (family === undefined ? membersOf(each) : [...family.members]).filter((member) => kernel.has(member));
      ids.push(...members);
      facts.push(family === undefined ? { root: each.id, objects: members.length } : { ...logFacts(family), objects: members.length });
    }
    return this.offers.offer(ids, { node: this.#core.id, families: facts }, head);
  }

  #owns({ id, kind }: Handle): boolean {
    return kind === KIND.immutable || this.#core.table.byId.get(id)?.role !== 'replica';
  }

  /** Let go of, or got back, and nobody's else: whoever wants it follows it from here on. */
  #isOwnReplica({ id }: Handle): boolean {
    const family = this.#core.table.byId.get(id);
    return family?.role === 'replica' && family.owner === this.#core.id && !family.astray;
  }

  /** Adds what the chosen ones refer to, what is nearest first. */
  #reachable(roots: Handle[], { more, bytes }: Prefetch): void {
    const { kernel } = this.#core.space;
    const seen = new Set(roots.map(({ id }) => id));
    let rest = bytes;
    for (const root of roots) {
      if (root.cold) root.reach();
      for (const { id } of [...fotEntries(root)]) {
        if (id === undefined || seen.has(id) || !kernel.has(id)) continue;
        seen.add(id);
        const h = kernel.open(id);
        if (h.isPart || (!isOwnedKind(h.kind) && h.kind !== KIND.immutable) || !this.#owns(h)) continue;
        if (h.size > rest || roots.length > more) return;
        rest -= h.size;
        roots.push(h);
      }
    }
  }

  /** A replica, for who cannot reach its owner. */
  #copy(id: ObjectId, asked: Head): Uint8Array {
    const { table, space } = this.#core;
    const family = table.byMember.get(id);
    if (family === undefined || family.astray) return this.#elsewhere(id);
    const members = [...family.members].filter((each) => space.kernel.has(each));
    const facts = { node: this.#core.id, families: [{ ...logFacts(family), objects: members.length, owner: family.owner }] };
    return this.offers.offer(members, facts, asked);
  }

  /** Was it deleted, as far as this node knows, so that it counts? */
  isDeleted(id: ObjectId): boolean {
    const { space, table } = this.#core;
    return !space.has(id) && !table.byId.has(id) && wasDeleted(space.kernel, id);
  }

  /** The answer to who asks for what is not here. Throws ObjectDeleted. */
  async #gone(id: ObjectId): Promise<Uint8Array> {
    // It may have been deleted here just now: whether that counts is known when it is published.
    if (this.#core.table.byId.get(id)?.role === 'owner') await this.#publisher.flush();
    if (this.isDeleted(id)) throw deleted(id);
    return this.#elsewhere(id);
  }

  #elsewhere(id: ObjectId): Uint8Array {
    const { table } = this.#core;
    const family = table.byMember.get(id) ?? table.byId.get(id);
    const node =
      family === undefined || family.owner === this.#core.id ? (this.#ownership.moved.get(id) ?? this.#known.get(id)) : family.owner;
    return say({ node: this.#core.id, moved: node ?? '' });
  }

  /** The answer to who asks all nodes: short where this one does not own it. */
  async found(said: Said): Promise<Uint8Array> {
    const { id: node, space, table } = this.#core;
    const { kernel } = space;
    const id = idIn(said.head, 'id');
    kernel.catchUp();
    if (!kernel.has(id)) return say({ node, here: false, deleted: this.isDeleted(id) });
    const h = kernel.open(id);
    if (h.kind === KIND.volatile || h.kind === KIND.shared || isSystem(kernel, id)) return say({ node, here: true, stays: h.kindName });
    if (this.progressive?.isHere(id) === true) return this.give(said);
    const family = table.byMember.get(id);
    if (family?.astray === true) return say({ node, here: false });
    if (family !== undefined && family.role !== 'owner')
      return say({ node, here: true, copy: true, owner: family.owner, epoch: family.epoch, group: family.group });
    const size = this.#sizeOf(h);
    // Who asks all waits for an answer for a short time only: what is large is asked for when it is known where it is.
    const isLarge = size.bytes > this.offers.sizes.first && said.head['pieces'] === true;
    if (said.head['fetch'] !== true || isLarge) return say({ node, here: true, owned: true, ...size });
    return this.give(said);
  }

  // --- where objects are ----------------------------------------------------------------------------------------------------------

  /** Asks all nodes. Resolves with who owns the object, and what that one says; undefined where nobody that is there does. Throws ObjectDeleted. */
  async #ask(id: ObjectId, head: Head, deadline: number): Promise<{ readonly node: string; readonly said: Said } | undefined> {
    this.finds++;
    let best: { readonly node: string; readonly said: Said } | undefined;
    let stays: string | undefined;
    let isDeleted = false;
    this.#copies = [];
    const answered = new Set<string>();
    const ms = Math.min(FIND_MS, left(this.#core, deadline, 'looking for an object'));
    const heardAll = (bytes: Uint8Array): boolean => {
      const said = heard(bytes);
      const node = textIn(said.head, 'node');
      answered.add(node);
      if (said.head['owned'] === true || said.head['families'] !== undefined) {
        best = { node, said };
        return true;
      }
      if (said.head['deleted'] === true) isDeleted = true;
      if (typeof said.head['stays'] === 'string') stays = said.head['stays'];
      if (said.head['copy'] === true) this.#copies.push(node);
      return answered.size >= this.#others() && this.#others() > 0;
    };
    this.#silent = false;
    try {
      await this.#core.engine.ask('find', say({ ...head, id, from: this.#core.id, ms }), ms, heardAll);
    } catch (error) {
      if (!isTwzError(error, 'TimedOut') && !isTwzError(error, 'Unreachable')) throw error;
      this.#silent = answered.size < this.#others();
    }
    if (best !== undefined) this.hint(id, best.node);
    else if (isDeleted) throw deleted(id);
    else if (stays !== undefined) throw new TwzError('NotSupported', `object ${id} is ${stays}: it does not leave its node`, { id });
    return best;
  }

  /** Who owns an object. Undefined where nobody that is there does. Throws ObjectDeleted. */
  async locate(id: ObjectId, deadline: number): Promise<string | undefined> {
    const found = await this.#ask(id, {}, deadline);
    if (found === undefined) await this.#demandNotEnded(id, deadline);
    return found?.node;
  }

  /** Nobody has it: the engine knows whether it was deleted. */
  async #demandNotEnded(id: ObjectId, deadline: number): Promise<void> {
    const { engine, space } = this.#core;
    const log = `log.${id}`;
    const last = await engine.last(log, left(this.#core, deadline, 'looking for an object'));
    if (last !== undefined && decodeRecord(space.kernel.host, log, last.bytes).kind === RECORD_KIND.end) throw deleted(id);
  }

  #sizeOf(h: Handle): { readonly family: ObjectId; readonly bytes: number; readonly kind: 'owned' | 'immutable' } {
    const { space, table } = this.#core;
    const root = rootOfFamily(space, h);
    const bytes = bytesOf(space, table.byId.get(root.id)?.members ?? membersOf(root));
    return { family: root.id, bytes, kind: h.kind === KIND.immutable ? 'immutable' : 'owned' };
  }

  /** What is known of an object, wherever it is; undefined where nobody that is there has it. */
  async about(id: ObjectId, deadline: number): Promise<About | undefined> {
    const { space, table } = this.#core;
    const { kernel } = space;
    kernel.catchUp();
    if (kernel.has(id)) {
      const h = kernel.open(id);
      const owner = table.byMember.get(id)?.owner ?? this.#core.id;
      return { ...this.#sizeOf(h), owner: h.kind === KIND.immutable ? this.#core.id : owner, here: true };
    }
    const found = await this.#ask(id, {}, deadline);
    if (found === undefined) {
      await this.#demandNotEnded(id, deadline);
      return undefined;
    }
    const { head } = found.said;
    return {
      family: idIn(head, 'family'),
      bytes: numberIn(head, 'bytes'),
      kind: head['kind'] === 'immutable' ? 'immutable' : 'owned',
      owner: found.node,
      here: false,
    };
  }

  /** It is nowhere any more. */
  forget(id: ObjectId): void {
    this.#known.delete(id);
  }

  /** Where somebody has heard that an object is. */
  hint(id: ObjectId, node: string): void {
    if (node === this.#core.id) return;
    this.#known.delete(id);
    this.#known.set(id, node);
    if (this.#known.size <= KNOWN_MAX) return;
    for (const first of this.#known.keys()) {
      this.#known.delete(first);
      return;
    }
  }

  // --- bringing objects here ------------------------------------------------------------------------------------------------------

  /** Brings an object here, with its family; false where no node has it. Throws Unreachable, TimedOut, Denied, ObjectDeleted. */
  bring(id: ObjectId, deadline: number, prefetch: Prefetch = NO_PREFETCH): Promise<boolean> {
    const { space } = this.#core;
    space.refresh();
    if (space.has(id)) return Promise.resolve(true);
    const known = this.#bringing.get(id);
    if (known !== undefined) return known;
    const brought = this.#bring(id, deadline, prefetch).finally(() => this.#bringing.delete(id));
    this.#bringing.set(id, brought);
    return brought;
  }

  /** Families that came although nobody had asked for them, since this was called last. */
  takeCame(): ObjectId[] {
    return this.#came.splice(0);
  }

  async #bring(id: ObjectId, deadline: number, prefetch: Prefetch): Promise<boolean> {
    const { space, table } = this.#core;
    const family = table.byId.get(id);
    if (family?.astray === true) {
      // It was deleted here, and that did not count.
      await this.reload(family);
      if (space.has(id)) return true;
    }
    if (wasDeleted(space.kernel, id)) throw deleted(id);
    let node = this.#known.get(id);
    let refused: TwzError | undefined;
    let pieces: Head = PIECES;
    for (let tries = 0; tries < 8; tries++) {
      try {
        if (node === undefined) {
          const found = await this.#ask(id, { fetch: true, ...PIECES, ...prefetch }, deadline);
          if (found === undefined) break;
          if (found.said.head['progressive'] !== undefined) return this.#versions(id, found.said, deadline);
          if (found.said.head['families'] === undefined) {
            node = found.node;
            continue;
          }
          await this.#take(id, found.node, found.said, deadline);
          return true;
        }
        const ms = left(this.#core, deadline, 'bringing an object');
        const answer = await this.#core.call(node, { do: 'fetch', id, ms, ...pieces, ...prefetch }, deadline);
        const { moved } = answer.head;
        if (answer.head['progressive'] !== undefined) return await this.#versions(id, answer, deadline);
        if (moved === undefined) {
          await this.#take(id, node, answer, deadline);
          return true;
        }
        this.redirects++;
        this.#known.delete(id);
        node = typeof moved === 'string' && isId(moved) && moved !== node ? moved : undefined;
      } catch (error) {
        if (isTwzError(error, 'Stale') && pieces === PIECES) {
          // It changed while it was sent: it is copied there first.
          pieces = {};
          continue;
        }
        // Of what is immutable others may have copies.
        const isDeleted = node !== undefined && isTwzError(error, 'ObjectDeleted');
        if (!isDeleted && !isTwzError(error, 'Unreachable')) throw error;
        this.#known.delete(id);
        refused = error;
        node = undefined;
      }
    }
    if (await this.#fromCopy(id, deadline)) return true;
    if ((await this.progressive?.bring(id, deadline)) === true) return true;
    if (await this.#rebuild(id, deadline)) return true;
    if (refused !== undefined) throw refused;
    if (this.#silent) throw new TwzError('Unreachable', `no node that answers has object ${id}, and not all have answered`, { id });
    return false;
  }

  /** Of a progressive object: what is in the engine, whoever said so. */
  async #versions(id: ObjectId, { head }: Said, deadline: number): Promise<boolean> {
    await this.progressive?.bring(idIn(head, 'progressive'), deadline);
    return this.#core.space.has(id);
  }

  /** Its owner is not there: another node may have a replica. */
  async #fromCopy(id: ObjectId, deadline: number): Promise<boolean> {
    for (const node of this.#copies) {
      try {
        const answer = await this.#core.call(
          node,
          { do: 'fetch', id, copy: true, ms: left(this.#core, deadline, 'bringing a copy') },
          deadline,
        );
        if (answer.head['moved'] !== undefined) continue;
        await this.#take(id, node, answer, deadline);
        return true;
      } catch (error) {
        if (!isTwzError(error, 'Unreachable')) throw error;
      }
    }
    return false;
  }

  /** Enters what came from another node. */
  async #take(id: ObjectId, node: string, answer: Said, deadline: number): Promise<void> {
    const received = await this.receiving.receive(node, answer, deadline, true);
    try {
      await this.#enter(id, node, answer, received.sections, deadline);
    } finally {
      await received.end();
    }
  }

  async #enter(id: ObjectId, node: string, { head }: Said, sections: readonly Section[], deadline: number): Promise<void> {
    const { space } = this.#core;
    const families = familiesIn(head, node);
    const arrivals: Arrival[] = [];
    const others: Section[] = [];
    const came: ObjectId[] = [];
    let at = 0;
    for (const [i, { root, family, objects }] of families.entries()) {
      const own = sections.slice(at, at + objects);
      at += objects;
      // What came along may be here meanwhile, or may not fit what is.
      if (i > 0 && (space.has(root) || (family !== undefined && family.met.size > 0))) continue;
      let length = 0;
      for (const section of own) length += 'staged' in section ? section.staged.size : section.length * 4;
      this.fetched++;
      this.fetchedBytes += length;
      if (i > 0) {
        this.prefetched++;
        this.prefetchedBytes += length;
        this.#came.push(root);
      }
      came.push(root);
      if (family === undefined) others.push(...own);
      else arrivals.push({ family, sections: own });
    }
    const followed = await this.arrivals.enter(arrivals, others, deadline);
    for (const root of came) {
      this.hint(root, node);
      this.#hintAt(root, node);
    }
    for (const family of followed) this.#replicas.follow(family);
    if (followed.length > 0) void this.#compare(node, followed, deadline);
    if (this.isDeleted(id)) throw deleted(id);
    if (!space.has(id)) throw new TwzError('EngineCorrupt', `node ${node} sent something else than object ${id}`, { id });
    this.hint(id, node);
  }

  /** What an object refers to is where it came from, most likely. */
  #hintAt(root: ObjectId, node: string): void {
    const { kernel } = this.#core.space;
    if (!kernel.has(root)) return;
    const h = kernel.open(root);
    if (h.cold) h.reach();
    let count = 0;
    for (const { id } of fotEntries(h)) {
      if (id === undefined || kernel.has(id)) continue;
      this.hint(id, node);
      if (++count > 1000) return;
    }
  }

  /** What was published between their being sent and their being followed is read. */
  async #compare(node: string, families: readonly Family[], deadline: number): Promise<void> {
    try {
      await this.#core.engine.flush(left(this.#core, deadline, 'following objects'));
      const { head } = await this.#core.call(node, { do: 'heads', ids: families.map(({ id }) => id) }, deadline);
      const { heads } = head;
      for (const [i, family] of families.entries()) if (!Array.isArray(heads) || heads[i] !== family.seq) this.#replicas.nudge(family);
    } catch (error) {
      if (!isTwzError(error)) throw error;
      for (const family of families) this.#replicas.nudge(family);
    }
  }

  /** How far the logs of families are, as far as this node knows. */
  heads({ head }: Said): Uint8Array {
    const { ids } = head;
    if (!Array.isArray(ids)) throw strange('it asks for no logs');
    return say({ heads: ids.map((id: unknown) => this.#core.table.byId.get(String(id) as ObjectId)?.seq ?? -1) });
  }

  /** No node has it: the engine may have what it takes to have it again. */
  async #rebuild(id: ObjectId, deadline: number): Promise<boolean> {
    const arrival: Arrival = { family: new Family(id, 'replica', ''), sections: [] };
    if (!(await this.arrivals.advance(arrival, deadline))) return false;
    const { owner, based } = arrival.family;
    if (!based && arrival.ended !== true)
      throw new TwzError('Unreachable', `object ${id} is with node ${owner}, which is not there`, { id, node: owner });
    for (const family of await this.arrivals.enter([arrival], [], deadline)) {
      this.#replicas.follow(family);
      this.#replicas.nudge(family);
    }
    if (this.isDeleted(id)) throw deleted(id);
    return true;
  }

  /** Gets a family anew that is here, and is not what its log leads to; together with all others of which that is so. */
  reload(family: Family): Promise<void> {
    // It went from here: whoever wants it brings it.
    if (!this.#core.table.has(family)) return Promise.resolve();
    return new Promise((resolve) => {
      const waiters = this.#reloading.get(family);
      if (waiters === undefined) this.#reloading.set(family, [resolve]);
      else waiters.push(resolve);
      if (this.#isReloading) return;
      this.#isReloading = true;
      void this.#reloadAll().finally(() => (this.#isReloading = false));
    });
  }

  isReloading(family: Family): boolean {
    return this.#reloading.has(family);
  }

  async #reloadAll(): Promise<void> {
    let failures = 0;
    for (let ms = 20; !this.stopped && this.#reloading.size > 0;) {
      await Promise.resolve();
      const arrivals: Arrival[] = [];
      for (const family of [...this.#reloading.keys()]) {
        const arrival = await this.#anew(family).catch((error: unknown) => {
          if (!isTwzError(error)) throw error;
          return undefined;
        });
        if (arrival !== undefined) arrivals.push(arrival);
      }
      // What was written together is wrong together: as long as there is hope, none of it comes without the others.
      const missing = [...this.#reloading.keys()].filter(({ id }) => !arrivals.some(({ family }) => family.id === id));
      if (missing.length > 0 && ++failures > PATIENT) for (const { id } of missing) this.arrivals.hopeless.add(id);
      if (!this.stopped && arrivals.length > 0 && missing.every(({ id }) => this.arrivals.hopeless.has(id))) {
        const { size } = this.#reloading;
        await this.#publisher.settled(new Set(arrivals.map(({ family }) => family.id)));
        if (this.#reloading.size === size && (await this.#enterAnew(arrivals))) {
          failures = 0;
          ms = 20;
          continue;
        }
      }
      await this.#core.pause(ms);
      ms = Math.min(1000, ms * 2);
    }
  }

  async #enterAnew(arrivals: readonly Arrival[]): Promise<boolean> {
    try {
      for (const family of await this.arrivals.enter(arrivals, [], this.#core.clock.now() + CALL_MS)) {
        this.#replicas.follow(family);
        this.#replicas.nudge(family);
      }
    } catch (error) {
      if (!isTwzError(error)) throw error;
      return false;
    }
    const anew = new Set(arrivals.map(({ family }) => family.id));
    for (const [family, waiters] of [...this.#reloading]) {
      if (!anew.has(family.id)) continue;
      this.#reloading.delete(family);
      this.arrivals.hopeless.delete(family.id);
      for (const resolve of waiters) resolve();
    }
    return true;
  }

  /** A family as its owner has it, or another node, or the engine. */
  async #anew(family: Family): Promise<Arrival | undefined> {
    const { engine, space, clock, id } = this.#core;
    const deadline = clock.now() + CALL_MS;
    const last = await engine.last(family.log, CALL_MS);
    const record = last === undefined ? undefined : decodeRecord(space.kernel.host, family.log, last.bytes);
    if (record?.kind === RECORD_KIND.end) {
      const ended: Arrival = { family: new Family(family.id, 'replica', record.owner), sections: [] };
      await this.arrivals.advance(ended, deadline);
      return ended;
    }
    const owner = record?.owner ?? family.owner;
    if (owner !== id) {
      const arrival = await this.#askFor(family, owner, { do: 'fetch' }, deadline);
      if (arrival !== undefined) return arrival;
    }
    const rebuilt: Arrival = { family: new Family(family.id, 'replica', ''), sections: [] };
    if ((await this.arrivals.advance(rebuilt, deadline)) && rebuilt.family.based) return rebuilt;
    await this.#ask(family.id, {}, clock.now() + CALL_MS);
    for (const node of [...this.#copies]) {
      const arrival = await this.#askFor(family, node, { do: 'fetch', copy: true }, deadline);
      if (arrival !== undefined) return arrival;
    }
    return undefined;
  }

  async #askFor({ id }: Family, node: string, head: Head, deadline: number): Promise<Arrival | undefined> {
    try {
      const answer = await this.#core.call(node, { ...head, id, ms: CALL_MS }, Math.min(deadline, this.#core.clock.now() + CALL_MS));
      if (answer.head['moved'] !== undefined) return undefined;
      const [first] = familiesIn(answer.head, node);
      if (first?.family === undefined || first.root !== id) return undefined;
      const { sections } = await this.receiving.receive(node, answer, deadline);
      return { family: first.family, sections: sections.slice(0, first.objects) };
    } catch (error) {
      if (!isTwzError(error, 'Unreachable') && !isTwzError(error, 'TimedOut')) throw error;
      return undefined;
    }
  }
}

interface Given {
  readonly root: Handle;
  /** Undefined: it is immutable. */
  readonly family: Family | undefined;
}

function logFacts({ id, epoch, group, seq, hash, based, met }: Family): object {
  return { root: id, epoch, group, seq, hash, based, met: textOfMet(met) };
}

function prefetchIn(head: Head): Prefetch {
  if (head['more'] === undefined) return NO_PREFETCH;
  return { more: Math.min(MORE_MAX, numberIn(head, 'more')), bytes: Math.min(MORE_BYTES_MAX, numberIn(head, 'bytes')) };
}

interface Coming {
  readonly root: ObjectId;
  readonly family: Family | undefined;
  readonly objects: number;
}

function familiesIn(head: Head, node: string): Coming[] {
  const { families } = head;
  if (!Array.isArray(families) || families.length === 0) throw strange('it brings nothing');
  return families.map((each: unknown): Coming => {
    if (!isRecord(each)) throw strange('what it brings is nothing');
    const root = parseId(idIn(each, 'root'));
    const objects = numberIn(each, 'objects');
    if (each['epoch'] === undefined) return { root, family: undefined, objects };
    const family = new Family(root, 'replica', typeof each['owner'] === 'string' ? each['owner'] : node);
    family.epoch = numberIn(each, 'epoch');
    family.group = numberIn(each, 'group');
    family.seq = numberIn(each, 'seq');
    family.hash = textIn(each, 'hash');
    family.based = each['based'] === true;
    family.met = metIn(textIn(each, 'met'));
    return { root, family, objects };
  });
}

/**
 * Ownership: a family has one owner, and the log says who. Whoever appends an epoch to it owns the family from there on; the owner before is
 * refused when it appends next, whatever it believes and whatever its clock says.
 *
 *   share     this node's own family gets a log; it is empty until something is committed
 *   own       ask the owner to let go  ->  apply what it has published  ->  epoch + 1
 *             the owner is gone        ->  apply what is in the log     ->  epoch + 1
 *   release   nothing is stored here any more  ->  all is published  ->  the other may
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { isSystem, takeDeleted } from '../../kernel/lifetime.ts';
import type { Handle } from '../../kernel/object.ts';
import { sectionsOf, setReplica } from '../../kernel/sections.ts';
import { run } from '../../kernel/transaction.ts';
import { chunkNames, chunksOf, inWindows, putInChunks } from './chunks.ts';
import { deleted, left, Turns, type Core } from './core.ts';
import type { Append, LogRecord } from './engine.ts';
import { factsOf, Family, isOwnedKind, meet, partnersOf, rootOfFamily } from './families.ts';
import type { Publisher } from './publisher.ts';
import { decodeRecord, encodeRecord, RECORD_KIND, TOMBSTONE_MS, type Sealed } from './record.ts';
import type { Replicas } from './replicas.ts';
import { numberIn, say, type Said } from './messages.ts';

/** Chunks that are dropped at a time. */
const DROPS = 8;
/** Milliseconds that a family stays where it has come, if somebody stores to it there. */
const HOLD_MS = 5;
const RETRY_MS = 20;
const CALL_MS = 2000;
/** So many logs can be appended to in one step. */
const TOGETHER_MAX = 1000;

/** A record that has all of a family. */
interface Base {
  readonly family: Family;
  readonly record: Sealed;
  readonly append: Append;
  /** List of the chunks that have it. */
  readonly body: Uint8Array;
  /** It says that the family was deleted. */
  readonly ends: boolean;
}

export class Ownership {
  readonly #core: Core;
  readonly #publisher: Publisher;
  readonly #replicas: Replicas;
  readonly #turns = new Turns();
  #shared: Promise<void> = Promise.resolve();
  /** Is that node there, as far as anybody can tell? */
  readonly #alive: (node: string) => boolean;
  /** Logs to which an epoch of this node's may have been appended, behind that place. */
  readonly #begun = new Map<string, number>();
  /** Where families went that were owned here. */
  readonly moved = new Map<ObjectId, string>();
  taken = 0;
  given = 0;
  succeeded = 0;
  /** It came to be owned here, or is owned here no more. */
  onChanged: (family: Family) => void = () => undefined;
  /** Gets a family anew that went astray. */
  onAstray: (family: Family) => Promise<void> = async () => undefined;

  constructor(core: Core, publisher: Publisher, replicas: Replicas, alive: (node: string) => boolean) {
    this.#core = core;
    this.#publisher = publisher;
    this.#replicas = replicas;
    this.#alive = alive;
  }

  /**
   * The families of objects of this node's are shared from now on. Their logs are empty until something is committed: there is nothing that
   * anybody could have missed. Resolves when that outlives a loss of power here: or this node would come back with what others have made
   * theirs. Throws NotSupported for what never leaves the machine.
   */
  async share(objects: readonly Handle[]): Promise<void> {
    const { id, space, table, clock } = this.#core;
    const anew = new Map<ObjectId, Family>();
    for (const h of objects) {
      const root = rootOfFamily(space, h);
      if (table.byId.has(root.id) || anew.has(root.id)) continue;
      if (!isOwnedKind(root.kind) || isSystem(space.kernel, root.id))
        throw new TwzError('NotSupported', `object ${root.id} is ${root.kindName}: it does not leave this node`, { id: root.id });
      const family = new Family(root.id, 'owner', id);
      family.since = clock.now();
      anew.set(root.id, family);
    }
    for (const family of anew.values()) {
      table.add(family);
      table.meet(family, this.#publisher.takeCompany(family));
    }
    if (anew.size > 0) {
      this.#replicas.quietly(() =>
        run(space.kernel, () => {
          for (const family of anew.values()) table.store({ ...factsOf(family), seq: -1 });
        }),
      );
      this.#shared = space.kernel.log.durable();
    }
    await this.#shared;
  }

  /** Makes sure that the engine has all of the family, or that it was deleted, so that this outlives this node. Throws TimedOut. */
  async base(family: Family, deadline: number): Promise<void> {
    if (!family.based && family.role === 'owner') await this.#turns.take(`base ${family.id}`, () => this.#base(family, deadline));
  }

  /** The log of a family that this node owns begins anew with all that there is now: what led there goes, with its chunks. Throws TimedOut. */
  async compact(family: Family, deadline: number): Promise<void> {
    await this.#turns.take(`base ${family.id}`, () => this.#base(family, deadline, true));
  }

  async #base(family: Family, deadline: number, anew = false): Promise<void> {
    const { engine, table } = this.#core;
    while ((anew ? family.logged > 0 : !family.based) && table.has(family)) {
      left(this.#core, deadline, 'keeping an object');
      await this.#publisher.flush();
      // It went to another node, which has all of it.
      if (family.role !== 'owner') return;
      if (this.#publisher.hasNews(family)) continue;
      const { seq } = family;
      const { append, record, body, ends } = await this.#baseOf(family, deadline);
      // Nothing is published meanwhile; what was before is not in it.
      await this.#publisher.alone(async () => {
        if (family.seq !== seq || family.role !== 'owner') return;
        const old = anew ? await this.#chunksIn(family) : [];
        // Whatever the deadline: it may be stored though nobody says so, and what is published next would be refused because of it.
        for (;;) {
          const done = await engine.replace(append, CALL_MS);
          const last = done.kind === 'done' ? undefined : await this.#publisher.persist(() => engine.last(family.log, CALL_MS));
          if (done.kind === 'done' || this.#is(family, last, record)) {
            this.#based(family, { seq: done.kind === 'done' ? done.seq : (last?.seq ?? 0), hash: record.hash }, ends);
            if (old.length > 0) await this.#drop(old, ends ? [] : chunkNames(chunksOf(family), body));
            return;
          }
          if ((last?.seq ?? 0) !== seq) return this.#publisher.onFenced([family], this.#publisher.followed);
          await this.#core.pause(RETRY_MS);
        }
      });
    }
  }

  /** All of a family that this node owns as one record; or its end, where it was deleted when this node ended, and nobody was told. */
  async #baseOf(family: Family, deadline: number): Promise<Base> {
    const { space, id: owner } = this.#core;
    const { kernel } = space;
    const { epoch, group, hash: before, met, log, seq: expected } = family;
    const ends = !kernel.has(family.id);
    const members = [...family.members].filter((each) => kernel.has(each)).map((each) => kernel.open(each));
    const body = ends ? new Uint8Array(0) : await putInChunks(this.#core, chunksOf(family), sectionsOf(members), deadline);
    const kind = ends ? RECORD_KIND.end : RECORD_KIND.base;
    const record = encodeRecord(kernel.host, { kind, epoch, group, owner, before, partners: partnersOf(met), body });
    return { family, record, body, ends, append: { log, bytes: record.bytes, expected, ...(ends ? { ttl: TOMBSTONE_MS } : {}) } };
  }

  /** Names of the chunks that its log refers to. */
  async #chunksIn({ id, log }: Family): Promise<string[]> {
    const { engine, space } = this.#core;
    const names: string[] = [];
    for (const { bytes } of await engine.read(log, 0, CALL_MS)) {
      const { kind, epoch, body } = decodeRecord(space.kernel.host, log, bytes);
      if (kind === RECORD_KIND.base || kind === RECORD_KIND.redoInChunks) names.push(...chunkNames(chunksOf({ id, epoch }), body));
    }
    return names;
  }

  /** All but those that are kept. Nothing is published meanwhile that could refer to them again. */
  async #drop(old: readonly string[], kept: readonly string[]): Promise<void> {
    const names = new Set(old);
    for (const name of kept) names.delete(name);
    try {
      await inWindows([...names], DROPS, (name) => this.#core.engine.dropChunk(name, CALL_MS));
    } catch (error) {
      // They go with the family.
      if (!isTwzError(error)) throw error;
    }
  }

  /** Is that record the last of the log? */
  #is({ log }: Pick<Family, 'log'>, last: LogRecord | undefined, { hash }: Sealed): boolean {
    return last !== undefined && decodeRecord(this.#core.space.kernel.host, log, last.bytes).hash === hash;
  }

  #based(family: Family, { seq, hash }: Pick<Family, 'seq' | 'hash'>, ends: boolean): void {
    Object.assign(family, { seq, hash, based: !ends, logged: 0 });
    if (ends) this.#publisher.onEnded(family);
  }

  /**
   * What was committed here of these and never published is theirs from now on, and nobody gets some of it: their bases are appended in one
   * step, though this node ends in the midst of it. Where the engine cannot do that, each gets an epoch, so that nobody comes between the bases
   * that follow while this node is there. False where another node was before; nothing counts then. Throws TimedOut.
   */
  async catchUp(families: readonly Family[], deadline: number): Promise<boolean> {
    const { atomic } = this.#core.engine.facts;
    const isOneStep = atomic && families.length > 1 && families.length <= TOGETHER_MAX;
    if (!isOneStep && families.length > 1 && !(await this.#renew(families, deadline))) return false;
    for (const family of families) {
      family.group++;
      family.based = false;
    }
    for (const family of families) {
      const others = families.filter((each) => each !== family).map(({ id, group }) => ({ family: id, group }));
      this.#core.table.meet(family, meet(family.met, others));
    }
    return isOneStep ? this.#baseTogether(families, deadline) : true;
  }

  async #baseTogether(families: readonly Family[], deadline: number): Promise<boolean> {
    const { engine } = this.#core;
    const bases: Base[] = [];
    for (const family of families) bases.push(await this.#baseOf(family, deadline));
    const appends = bases.map(({ append }) => append);
    for (;;) {
      const appended = await engine.appendAll(
        appends,
        left(this.#core, Math.min(deadline, this.#core.clock.now() + CALL_MS), 'keeping objects'),
      );
      const lasts = await this.#publisher.persist(() => Promise.all(families.map(({ log }) => engine.last(log, CALL_MS))));
      // Somebody may have come after it by now.
      const there = bases.filter(({ family, record }, i) => this.#is(family, lasts[i], record));
      for (const { family, record, ends } of there)
        this.#based(family, { seq: lasts[families.indexOf(family)]?.seq ?? 0, hash: record.hash }, ends);
      if (appended.kind === 'done' || there.length > 0) return true;
      if (lasts.some((last, i) => (last?.seq ?? 0) !== families[i]?.seq)) return false;
      await this.#core.pause(RETRY_MS);
    }
  }

  /** Makes a family that is here as a replica this node's own, unless it goes from here meanwhile. Throws Unreachable, TimedOut. */
  own(family: Family, deadline: number): Promise<void> {
    return this.#turns.take(family.id, async () => {
      while (family.role !== 'owner' && this.#core.table.has(family)) await this.#take(family, deadline);
    });
  }

  /** Somebody here takes it or gives it away; or nobody knows whether it was taken. */
  isMoving({ id, log, seq }: Family): boolean {
    const begun = this.#begun.get(log);
    if (begun !== undefined && begun < seq) this.#begun.delete(log);
    return this.#turns.taken(id) || this.#begun.has(log);
  }

  async #take(family: Family, deadline: number): Promise<void> {
    const { engine, id } = this.#core;
    const what = `getting object ${family.id}`;
    if (family.astray) {
      left(this.#core, deadline, what);
      return this.onAstray(family);
    }
    const { owner } = family;
    if (owner !== id) {
      try {
        const { head } = await this.#core.call(
          owner,
          { do: 'release', family: family.id, epoch: family.epoch },
          Math.min(deadline, this.#core.clock.now() + CALL_MS),
        );
        await this.#replicas.reach(family, numberIn(head, 'seq'), deadline);
      } catch (error) {
        if (!isTwzError(error, 'Unreachable') && !isTwzError(error, 'TimedOut') && !isTwzError(error, 'Stale')) throw error;
        left(this.#core, deadline, what);
        // It may only be slow. Who takes over from one that is there does no harm to what was acknowledged, and loses what was not.
        if (isTwzError(error, 'TimedOut') && this.#alive(owner)) return this.#core.pause(RETRY_MS);
        const last = await engine.last(family.log, left(this.#core, deadline, what));
        if (last !== undefined) await this.#replicas.reach(family, last.seq, deadline);
        if (family.owner !== owner) return;
        if (!isTwzError(error, 'Stale')) this.succeeded++;
      }
      if (!this.#core.table.has(family)) return;
    }
    await this.#claim(family, left(this.#core, deadline, what));
  }

  async #claim(family: Family, ms: number): Promise<void> {
    const { id, table, clock } = this.#core;
    const { epoch, group } = family;
    const { done, seq, hash } = await this.#begin(family, ms);
    if (!done) {
      // Somebody else was first, or the owner has published more.
      if (seq > 0) await this.#replicas.reach(family, seq, clock.now() + ms);
      return;
    }
    this.#replicas.unfollow(family);
    this.#become(family, { role: 'owner', owner: id, epoch: epoch + 1, group, seq, hash });
    family.since = clock.now();
    this.moved.delete(family.id);
    this.taken++;
    table.refresh(family);
  }

  /** Appends an epoch of this node's. Not `done`: another record is there, the last with that `seq`; 0 where there is none. */
  async #begin(
    { log, seq, epoch, group, hash }: Family,
    ms: number,
  ): Promise<{ readonly done: boolean; readonly seq: number; readonly hash: string }> {
    const { engine, id: owner, space } = this.#core;
    const { host } = space.kernel;
    const nothing = { partners: [], body: new Uint8Array(0) };
    const record = encodeRecord(host, { kind: RECORD_KIND.epoch, epoch: epoch + 1, group, owner, before: hash, ...nothing });
    this.#begun.set(log, seq);
    const appended = await engine.append({ log, bytes: record.bytes, expected: seq }, ms);
    // Where nobody says so, it may be there all the same, now or later: until something is behind that place.
    if (appended.kind !== 'unknown') this.#begun.delete(log);
    if (appended.kind === 'done') return { done: true, seq: appended.seq, hash: record.hash };
    const last = await engine.last(log, ms);
    return { done: this.#is({ log }, last, record), seq: last?.seq ?? 0, hash: record.hash };
  }

  /** Begins another epoch of each of these, which this node owns; false where another node was before. Throws TimedOut. */
  async #renew(families: readonly Family[], deadline: number): Promise<boolean> {
    for (const family of families) {
      for (;;) {
        const { done, seq, hash } = await this.#begin(family, left(this.#core, deadline, 'owning an object'));
        if (done) {
          Object.assign(family, { epoch: family.epoch + 1, seq, hash });
          break;
        }
        if (seq !== family.seq) return false;
        await this.#core.pause(RETRY_MS);
      }
    }
    return true;
  }

  #become(family: Family, facts: Pick<Family, 'role' | 'owner' | 'epoch' | 'group' | 'seq' | 'hash'>): void {
    const { space, table } = this.#core;
    const { kernel } = space;
    // Others' commits that come to be known by this are published still: it is the owner until then.
    kernel.catchUp();
    this.#replicas.quietly(() =>
      run(kernel, () => {
        for (const id of family.members) {
          if (!kernel.has(id)) continue;
          const h = kernel.open(id);
          setReplica(kernel, h, false);
          takeDeleted(kernel, h);
        }
        table.store({ ...factsOf(family), ...facts, seq: -1 });
      }),
    );
    Object.assign(family, facts);
    this.onChanged(family);
  }

  /** Another node wants to own it. */
  release({ head }: Said, family: Family, from: string): Promise<Uint8Array> {
    return this.#turns.take(family.id, async () => {
      const { id, clock, space, table } = this.#core;
      if (family.role !== 'owner') throw new TwzError('Stale', `object ${family.id} is not owned here`, { owner: family.owner });
      if (numberIn(head, 'epoch') > family.epoch) throw new TwzError('Stale', `object ${family.id} is of a later epoch`, { owner: from });
      const wait = family.since + HOLD_MS - clock.now();
      if (wait > 0) await this.#core.pause(wait);
      const { kernel } = space;
      // From here on nobody on this node stores to it; whoever did before is published.
      this.#replicas.quietly(() =>
        run(kernel, () => {
          for (const each of family.members) if (kernel.has(each)) setReplica(kernel, kernel.open(each), true);
        }),
      );
      await this.#publisher.flush();
      if (!table.has(family)) throw deleted(family.id);
      if (family.role === 'owner') {
        Object.assign(family, { role: 'replica', owner: id });
        this.#replicas.quietly(() => run(kernel, () => table.store(factsOf(family))));
        this.#replicas.follow(family);
        this.moved.set(family.id, from);
        this.given++;
        this.onChanged(family);
      }
      return say({ seq: family.seq, group: family.group, epoch: family.epoch });
    });
  }

  /**
   * The engine has another owner's record in the place of this node's: what was committed here since does not count, in none of what was
   * written together. Nobody stores to it here, nor takes it for what it is not, until it was got anew.
   */
  fenced(families: readonly Family[]): void {
    const { space, table } = this.#core;
    const { kernel } = space;
    const mine = families.filter(({ role }) => role === 'owner');
    if (mine.length === 0) return;
    kernel.catchUp();
    this.#replicas.quietly(() =>
      run(kernel, () => {
        for (const family of mine) {
          for (const id of family.members) if (kernel.has(id)) setReplica(kernel, kernel.open(id), true);
          table.store({ ...factsOf(family), role: 'replica', seq: -1 });
        }
      }),
    );
    for (const family of mine) {
      Object.assign(family, { role: 'replica', astray: true, strayed: family.strayed + 1 });
      this.onChanged(family);
    }
  }
}

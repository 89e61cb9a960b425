/**
 * Replicas: families of other nodes, as far as they are here. Their logs are followed, and what they say is done in transactions of the space.
 *
 * Invariants:
 *  1. A record is applied behind the one whose hash it names, once: how far a family is applied is stored in the same transaction.
 *  2. Families that were written together are applied together where both are here: nobody sees one without the other.
 *     One that is coming holds the others: they go on as far as it is.
 *  3. A record that does not follow on is not applied: what is missing is read from the log; where that begins later, the family is got anew.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { OPERATION } from '../../abi/log-format.ts';
import { applySection, endReplica, sectionHead, setReplica } from '../../kernel/sections.ts';
import { run } from '../../kernel/transaction.ts';
import { chunksOf, getFromChunks } from './chunks.ts';
import { left, type Core } from './core.ts';
import type { LogRecord, Subscription } from './engine.ts';
import { meet, type Family, type FamilyFacts } from './families.ts';
import { decodeRecord, RECORD_KIND, splitSections, type FamilyRecord } from './record.ts';

const CALL_MS = 2000;
const RETRY_MS = 20;
/** What a partner's record is waited for before it is read from the log. */
const PARTNER_MS = 30;

type Entry = FamilyRecord & { readonly hash: string; readonly seq: number };

interface Following {
  readonly family: Family;
  readonly subscription: Subscription;
  /** Records that have come and are not applied, in order. */
  inbox: Entry[];
  reading: Promise<void> | undefined;
  waiting: boolean;
  doubting: boolean;
}

export class Replicas {
  readonly #core: Core;
  readonly #followed = new Map<ObjectId, Following>();
  readonly #changed: Set<() => void> = new Set();
  /** Families that are coming, and the group that each is at. */
  readonly #held = new Map<ObjectId, number>();
  #stopped = false;
  /** Gets a family anew that cannot be followed. */
  onLost: (family: Family) => Promise<void> = async () => undefined;
  /** This node believes that it owns that family, and others are further than it is. */
  onDoubt: (family: Family, deadline: number) => Promise<void> = async () => undefined;
  /** That node has deleted it, and it is here no more. */
  onEnded: (family: Family, by: string) => void = () => undefined;
  /** It takes more room than before, or less. */
  onSized: (family: Family) => void = () => undefined;
  /** While own commits must not be published. */
  quietly: <T>(body: () => T) => T = (body) => body();
  applied = 0;

  constructor(core: Core) {
    this.#core = core;
  }

  /** From now on what is published of the family is applied here, and everything since what is here. */
  follow(family: Family): void {
    if (this.#followed.has(family.id) || family.astray || this.#stopped || !this.#core.table.has(family)) return;
    const following: Following = {
      family,
      subscription: this.#core.engine.follow(family.log, (_log, record) => this.#heard(following, record)),
      inbox: [],
      reading: undefined,
      waiting: false,
      doubting: false,
    };
    this.#followed.set(family.id, following);
  }

  unfollow(family: Family): void {
    this.#followed.get(family.id)?.subscription.close();
    this.#followed.delete(family.id);
  }

  /** What was published of it since it came is read. */
  nudge(family: Family): void {
    const following = this.#followed.get(family.id);
    if (following !== undefined) this.#soon(following, 0);
  }

  stop(): void {
    this.#stopped = true;
    for (const { subscription } of this.#followed.values()) subscription.close();
    this.#followed.clear();
  }

  /** Resolves when the family is applied up to that place of its log, or has gone from here. Throws TimedOut, Stale. */
  async reach(family: Family, seq: number, deadline: number): Promise<void> {
    this.follow(family);
    while (family.seq < seq && this.#core.table.has(family)) {
      if (family.astray) throw new TwzError('Stale', `object ${family.id} is got anew`, { id: family.id });
      await this.#goOn(family, deadline);
    }
  }

  /** As `reach`, by the group. */
  async reachGroup(family: Family, group: number, deadline: number): Promise<void> {
    this.follow(family);
    while (family.group < group && !family.astray && family.role === 'replica' && this.#core.table.has(family)) {
      await this.#goOn(family, deadline);
    }
  }

  async #goOn(family: Family, deadline: number): Promise<void> {
    const ms = left(this.#core, deadline, `waiting for object ${family.id}`);
    const { seq } = family;
    const following = this.#followed.get(family.id);
    if (following !== undefined) await this.#read(following);
    if (family.seq !== seq) return;
    await new Promise<void>((resolve) => {
      const timer = this.#core.clock.timer(Math.min(ms, RETRY_MS), done);
      const changed = this.#changed;
      function done(): void {
        timer.cancel();
        changed.delete(done);
        resolve();
      }
      this.#changed.add(done);
    });
  }

  /** A family is coming, and is at that group: those that it was written together with go no further. */
  hold(id: ObjectId, group: number): void {
    this.#held.set(id, group);
  }

  isHeld(id: ObjectId): boolean {
    return this.#held.has(id);
  }

  letGo(id: ObjectId): void {
    this.#held.delete(id);
    for (const following of [...this.#followed.values()]) if (following.inbox.length > 0) this.#apply(following);
  }

  /** Brings everything up to date after the engine was away. */
  catchUp(): void {
    for (const following of this.#followed.values()) this.#soon(following, 0);
  }

  // --- what comes -----------------------------------------------------------------------------------------------------------------

  #heard(following: Following, record: LogRecord): void {
    if (this.#stopped) return;
    try {
      this.#put(following, record);
    } catch (error) {
      if (!isTwzError(error, 'EngineCorrupt')) throw error;
      void this.#lose(following);
      return;
    }
    this.#apply(following);
  }

  #put({ family, inbox }: Following, { seq, bytes }: LogRecord): void {
    if (seq <= family.seq || inbox.some((each) => each.seq === seq)) return;
    const entry: Entry = { ...decodeRecord(this.#core.space.kernel.host, family.log, bytes), seq };
    inbox.push(entry);
    if (inbox.length > 1) inbox.sort((a, b) => a.seq - b.seq);
  }

  /** Reads what is missing from the log. */
  #read(following: Following): Promise<void> {
    following.reading ??= this.#readNow(following).finally(() => (following.reading = undefined));
    return following.reading;
  }

  async #readNow(following: Following): Promise<void> {
    const { family } = following;
    const records = await this.#core.engine.read(family.log, family.seq + 1, CALL_MS);
    for (const record of records) this.#put(following, record);
    const [first] = following.inbox;
    // The log begins later than what is here ends, or its owner has begun it anew: what is here does not lead there.
    if (first !== undefined && first.seq > family.seq && !continues(family, first)) {
      // Whoever waits for it may be who gets it anew.
      void this.#lose(following);
      return;
    }
    this.#apply(following);
  }

  async #lose(following: Following): Promise<void> {
    following.inbox = [];
    if (!this.#isFollowed(following)) return;
    await this.onLost(following.family);
    this.#tell();
  }

  /** It may have gone from here while its log was read. */
  #isFollowed(following: Following): boolean {
    return this.#followed.get(following.family.id) === following;
  }

  #tell(): void {
    for (const done of [...this.#changed]) done();
  }

  // --- applying -------------------------------------------------------------------------------------------------------------------

  #apply(following: Following): void {
    while (this.#isFollowed(following)) {
      const ready = this.#ready(following);
      if (ready === undefined) return;
      if (ready.some(({ entry }) => entry.kind === RECORD_KIND.redoInChunks && !this.#whole.has(entry))) {
        if (!following.waiting) void this.#unpack(following, ready);
        return;
      }
      try {
        this.#commit(ready);
      } catch (error) {
        this.#failed(following, error);
        return;
      }
      this.#tell();
    }
  }

  readonly #whole = new WeakMap<Entry, Uint8Array>();

  async #unpack(following: Following, ready: readonly Ready[]): Promise<void> {
    following.waiting = true;
    try {
      for (const { following: each, entry } of ready)
        if (entry.kind === RECORD_KIND.redoInChunks)
          this.#whole.set(
            entry,
            await getFromChunks(
              this.#core,
              chunksOf({ id: each.family.id, epoch: entry.epoch }),
              entry.body,
              this.#core.clock.now() + 10 * CALL_MS,
            ),
          );
    } catch (error) {
      following.waiting = false;
      if (isTwzError(error, 'EngineCorrupt')) await this.#lose(following);
      else this.#later(following);
      return;
    }
    following.waiting = false;
    this.#apply(following);
  }

  #failed(following: Following, error: unknown): void {
    if (this.#stopped || this.#core.space.closed) return;
    // What holds it up now passes: raw views are let go of, leases are given back.
    if (isTwzError(error, 'ObjectPinned') || isTwzError(error, 'LeaseTimeout') || isTwzError(error, 'TransactionOvertaken'))
      this.#later(following);
    else void this.#lose(following);
  }

  #later(following: Following): void {
    if (following.waiting) return;
    following.waiting = true;
    this.#core.clock.timer(RETRY_MS, () => {
      following.waiting = false;
      if (!this.#stopped) this.#apply(following);
    });
  }

  /** The next record of the family, with those of others that belong to it; undefined where something is missing. */
  #ready(following: Following): Ready[] | undefined {
    const ready: Ready[] = [];
    const needed: { readonly following: Following; readonly group: number }[] = [{ following, group: -1 }];
    for (const { following: each, group } of needed) {
      const { family, inbox } = each;
      while (inbox[0] !== undefined && inbox[0].seq <= family.seq) inbox.shift();
      const [entry] = inbox;
      if (entry === undefined || !continues(family, entry)) {
        if (entry !== undefined || each !== following) this.#soon(each);
        return undefined;
      }
      if (entry.partners.some((partner) => partner.group > this.#limit(partner.family))) return undefined;
      // Others of its records come before the one that belongs to this.
      if (group >= 0 && entry.group !== group) {
        this.#apply(each);
        // That may have taken this one along.
        return family.group < group ? undefined : this.#ready(following);
      }
      ready.push({ following: each, entry });
      for (const partner of entry.partners) {
        const there = this.#core.table.byId.get(partner.family);
        if (there === undefined || there.group >= partner.group) continue;
        if (there.role === 'owner') {
          // Somebody else has stored to what this node believes to own.
          this.#doubt(there, following);
          return undefined;
        }
        this.follow(there);
        const other = this.#followed.get(partner.family);
        if (other === undefined) return undefined;
        if (!needed.some((known) => known.following === other)) needed.push({ following: other, group: partner.group });
      }
    }
    return ready;
  }

  #doubt(family: Family, following: Following): void {
    if (following.doubting) return;
    following.doubting = true;
    const over = (): void => {
      following.doubting = false;
      if (!this.#stopped) this.#soon(following, RETRY_MS);
    };
    void this.onDoubt(family, this.#core.clock.now() + CALL_MS).then(over, over);
  }

  /** How far a partner's records may be that are applied. */
  #limit(id: ObjectId): number {
    const held = this.#held.get(id);
    if (held !== undefined) return held;
    return this.#core.table.byId.get(id)?.astray === true ? -1 : Infinity;
  }

  /** If what is missing does not come by itself, it is read. */
  #soon(following: Following, ms = PARTNER_MS): void {
    if (following.reading !== undefined || following.waiting) return;
    following.waiting = true;
    this.#core.clock.timer(ms, () => {
      following.waiting = false;
      if (this.#stopped) return;
      const [first] = following.inbox;
      if (first === undefined || !continues(following.family, first)) void this.#read(following).catch(() => this.#soon(following));
      else this.#apply(following);
    });
  }

  #commit(ready: readonly Ready[]): void {
    const { space, table } = this.#core;
    const { kernel } = space;
    const parsed = ready.map(({ entry }) =>
      entry.kind === RECORD_KIND.redo || entry.kind === RECORD_KIND.redoInChunks ? splitSections(this.#whole.get(entry) ?? entry.body) : [],
    );
    let members = false;
    let sized = false;
    for (const sections of parsed)
      for (const words of sections) {
        const { id, operation, size } = sectionHead(words);
        if (operation !== OPERATION.change) members = true;
        else if (kernel.has(id) && kernel.open(id).size !== size) sized = true;
      }
    this.quietly(() =>
      run(kernel, () => {
        for (const [i, { following, entry }] of ready.entries()) {
          for (const words of parsed[i] ?? []) applySection(kernel, words);
          const { family } = following;
          const now = advanced(family, entry);
          if (entry.kind === RECORD_KIND.end) {
            for (const id of family.members) if (kernel.has(id)) endReplica(kernel, kernel.open(id));
            table.erase(family);
            continue;
          }
          table.store(now);
          if (entry.kind === RECORD_KIND.epoch && entry.owner !== this.#core.id && family.role === 'owner')
            for (const id of family.members) if (kernel.has(id)) setReplica(kernel, kernel.open(id), true);
        }
      }),
    );
    kernel.log.pace();
    kernel.checkpointer.pace();
    for (const { following, entry } of ready) {
      const { family } = following;
      Object.assign(family, advanced(family, entry));
      table.meet(family, family.met);
      following.inbox.shift();
      this.applied++;
      if (entry.kind === RECORD_KIND.end) {
        this.onEnded(family, entry.owner);
        continue;
      }
      if (members) table.refresh(family);
      if (members || sized) this.onSized(family);
    }
  }
}

interface Ready {
  readonly following: Following;
  readonly entry: Entry;
}

/** Does the record follow on what is here? A base of a later group has what is in no record; an end needs nothing of what was before. */
function continues(family: Family, { kind, group, before }: Entry): boolean {
  if (kind === RECORD_KIND.end) return true;
  return kind === RECORD_KIND.base ? group === family.group : before === family.hash;
}

function advanced(family: Family, { kind, epoch, group, owner, seq, hash, partners }: Entry): FamilyFacts & Pick<Family, 'based'> {
  if (epoch < family.epoch) throw new TwzError('EngineCorrupt', `${family.log}: an older epoch after a newer one`, { log: family.log });
  return {
    id: family.id,
    role: family.role,
    owner,
    epoch,
    group,
    seq,
    hash,
    met: meet(family.met, partners),
    based: family.based || kind === RECORD_KIND.base,
  };
}

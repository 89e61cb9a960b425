/**
 * Publishing: what is committed here of families that are shared goes to their logs in the engine, in order.
 *
 *   a commit, by any process of the node  ->  tap  ->  queue  ->  one record a family, by compare-and-set  ->  acknowledged
 *
 * Invariants:
 *  1. The record of a family is appended behind the one that this node knows as its last, or not at all: the engine refuses it where another
 *     node has taken the family over.
 *  2. Families that one transaction changed get their records together, all or none.
 *  3. What was not acknowledged is in no other node's hands, or will be acknowledged: an answer that was lost is looked up in the log.
 */
import { isTwzError } from '../../abi/errors.ts';
import { META } from '../../abi/format.ts';
import { readId, writeId, type ObjectId } from '../../abi/id.ts';
import { OPERATION, SECTION } from '../../abi/log-format.ts';
import type { Tap } from '../../kernel/afar.ts';
import { sectionOf } from '../../kernel/sections.ts';
import { chunksOf, putInChunks } from './chunks.ts';
import type { Core } from './core.ts';
import type { Append, Appended } from './engine.ts';
import { bytesOf, meet, partnersOf, type Family, type Met } from './families.ts';
import { decodeRecord, encodeRecord, joinSections, RECORD_KIND, TOMBSTONE_MS, type Partner, type Sealed } from './record.ts';

/** Bytes of commits that go into one record, about. */
const BATCH_BYTES = 256 << 10;
const CALL_MS = 2000;
const RETRY_MS = 50;
/** So many commits are known to be fenced, for who asks later. */
const FENCED_MAX = 10_000;
/** Of so many objects it is known what they were written together with, before anybody else has them. */
const COMPANY_MAX = 10_000;
/** What a record takes in the engine beside its bytes, about; and how many bytes a log may have, however small its family is. */
const RECORD_COST = 256;
const LOG_MIN = 1 << 20;
const OWNER_WORD = META.owner >> 2;

interface Commit {
  readonly lsn: number;
  readonly sections: { readonly family: Family; readonly words: Int32Array }[];
  /** Objects that it changed as well, and that nobody else has. */
  readonly alone: readonly ObjectId[];
  bytes: number;
}

interface Waiter {
  readonly lsn: number;
  readonly resolve: (fenced: boolean) => void;
}

export class Publisher implements Tap {
  readonly #core: Core;
  /** Are this process's own commits published, too? Those of an agent are not: it does what others have committed. */
  readonly #own: boolean;
  /** While this is set, own commits are not published. */
  quiet = false;
  /** While this is set, own commits are published, whoever this is. */
  #isAloud = false;
  #sections: Commit['sections'] = [];
  #unshared: ObjectId[] = [];
  /** What objects that nobody else has were written together with: whoever gets one of them must have that as well. */
  readonly #company = new Map<ObjectId, Met>();
  #bytes = 0;
  #queue: Commit[] = [];
  /** LSN up to which the log was followed, and up to which all of it is published. */
  followed = 0;
  published = 0;
  readonly #waiters: Waiter[] = [];
  readonly #afterBatch: (() => void)[] = [];
  /** LSNs of commits that another owner came before. */
  readonly #fenced = new Set<number>();
  #running: Promise<void> | undefined;
  #stopped = false;
  /** All that was written together with what is another's now, and the LSN of the first commit that does not count. */
  onFenced: (families: readonly Family[], from: number) => void = () => undefined;
  /** Is told of each object that a commit changed, whoever committed it. */
  onTouched: ((id: ObjectId) => void) | undefined;
  /** Its log has more than it takes to have it anew, by far. */
  onLong: (family: Family) => void = () => undefined;
  /** The engine has it that this node deleted the family. */
  onEnded: (family: Family) => void = () => undefined;
  readonly #alone: (() => Promise<void>)[] = [];
  /** Records that were appended, and their bytes. */
  records = 0;
  bytes = 0;

  readonly #logMin: number;

  /** `logMin`: bytes that a log has before it is begun anew, at least. */
  constructor(core: Core, own: boolean, logMin = LOG_MIN) {
    this.#core = core;
    this.#own = own;
    this.#logMin = logMin;
  }

  /** Own commits meanwhile are published, whatever else is done with them. */
  aloud<T>(body: () => T): T {
    this.#isAloud = true;
    try {
      return body();
    } finally {
      this.#isAloud = false;
    }
  }

  // --- what is committed ----------------------------------------------------------------------------------------------------------

  section(id: ObjectId, words: Int32Array, at: number, end: number, own: boolean): void {
    const { table } = this.#core;
    this.onTouched?.(id);
    if ((own && (!(this.#own || this.#isAloud) || this.quiet)) || table.byId.size === 0) return;
    const operation = words[at + 4] as number;
    let family = table.byMember.get(id);
    if (family === undefined && (operation === OPERATION.create || operation === OPERATION.adopt)) {
      family = this.#familyOfNew(id, words, at, operation);
      if (family !== undefined) {
        family.members.add(id);
        table.byMember.set(id, family);
      }
    }
    if (family === undefined) {
      if (operation === OPERATION.remove) this.#company.delete(id);
      else this.#unshared.push(id);
    }
    if (family === undefined || family.role !== 'owner') return;
    if (operation === OPERATION.remove) {
      family.members.delete(id);
      table.byMember.delete(id);
    }
    this.#sections.push({ family, words: operation === OPERATION.adopt ? adopted(id) : words.slice(at, end) });
    this.#bytes += (end - at) * 4;
  }

  committed(lsn: number): void {
    this.followed = Math.max(this.followed, lsn);
    const alone = this.#unshared;
    if (alone.length > 0) this.#unshared = [];
    if (this.#sections.length === 0) {
      if (this.#queue.length === 0) this.published = this.followed;
      return;
    }
    this.#queue.push({ lsn, sections: this.#sections, alone, bytes: this.#bytes });
    this.#sections = [];
    this.#bytes = 0;
    void this.#run();
  }

  #familyOfNew(id: ObjectId, words: Int32Array, at: number, operation: number): Family | undefined {
    const { kernel } = this.#core.space;
    const owner = operation === OPERATION.adopt ? kernel.open(id).owner : ownerIn(words, at);
    return owner === undefined ? undefined : this.#core.table.byMember.get(owner);
  }

  #keepCompany(id: ObjectId, partners: readonly Partner[]): void {
    const family = this.#core.table.byMember.get(id);
    // It is shared by now.
    if (family !== undefined) this.#core.table.meet(family, meet(family.met, partners));
    else {
      const before = this.#company.get(id) ?? new Map<ObjectId, number>();
      this.#company.delete(id);
      this.#company.set(id, meet(before, partners));
      for (const first of this.#company.keys()) {
        if (this.#company.size <= COMPANY_MAX) break;
        this.#company.delete(first);
      }
    }
  }

  /** It is shared from now on: what its objects were written together with, and how far that is. */
  takeCompany(family: Family): Met {
    let met = family.met;
    for (const id of family.members) {
      const known = this.#company.get(id);
      if (known === undefined) continue;
      met = meet(met, partnersOf(known));
      this.#company.delete(id);
    }
    return met;
  }

  // --- waiting --------------------------------------------------------------------------------------------------------------------

  /** Resolves when what is committed up to `lsn` is in the engine; true: another owner came before it. */
  when(lsn: number): Promise<boolean> {
    if (this.published >= lsn) return Promise.resolve(this.#isFenced(lsn));
    return new Promise((resolve) => this.#waiters.push({ lsn, resolve }));
  }

  /** Resolves when everything that was followed so far is in the engine. */
  async flush(): Promise<void> {
    const { followed } = this;
    if (this.published < followed) await this.when(followed);
  }

  /** Resolves when no commit that changed one of them is under way: what was written together with them is known to be astray, too. */
  async settled(families: ReadonlySet<ObjectId>): Promise<void> {
    while (!this.#stopped && this.#queue.some(({ sections }) => sections.some(({ family }) => families.has(family.id))))
      await new Promise<void>((resolve) => this.#afterBatch.push(resolve));
  }

  /** Nothing waits to be published, or is being published: that is in the queue until it is known what became of it. */
  get idle(): boolean {
    return this.#queue.length === 0;
  }

  /** Something of the family waits to be published, or is being published. */
  hasNews(family: Family): boolean {
    return this.#queue.some(({ sections }) => sections.some((each) => each.family === family));
  }

  /** Runs while nothing is published: what appends to the logs of this node beside it. */
  alone<T>(body: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#alone.push(async () => {
        try {
          resolve(await body());
        } catch (error) {
          reject(error);
        }
      });
      void this.#run();
    });
  }

  #isFenced(lsn: number): boolean {
    return this.#fenced.has(lsn);
  }

  stop(): void {
    this.#stopped = true;
    for (const resolve of this.#afterBatch.splice(0)) resolve();
  }

  // --- publishing -----------------------------------------------------------------------------------------------------------------

  #run(): Promise<void> {
    this.#running ??= this.#publishAll()
      .catch((error: unknown) => {
        // Whoever ends asks the engine for nothing more.
        if (!this.#stopped || !isTwzError(error)) throw error;
      })
      .finally(() => {
        this.#running = undefined;
        if ((this.#queue.length > 0 || this.#alone.length > 0) && !this.#stopped) void this.#run();
      });
    return this.#running;
  }

  async #publishAll(): Promise<void> {
    // What is committed in the same turn goes together.
    await Promise.resolve();
    while ((this.#queue.length > 0 || this.#alone.length > 0) && !this.#stopped) {
      for (let body = this.#alone.shift(); body !== undefined; body = this.#alone.shift()) await body();
      if (this.#queue.length === 0) break;
      let bytes = 0;
      let count = 0;
      while (count < this.#queue.length && (count === 0 || bytes < BATCH_BYTES)) bytes += (this.#queue[count++] as Commit).bytes;
      const batch = this.#queue.slice(0, count);
      await this.#publish(batch);
      this.#queue.splice(0, count);
      this.published = this.#queue.length === 0 ? this.followed : (batch.at(-1)?.lsn ?? this.published);
      for (let i = 0; i < this.#waiters.length;) {
        const waiter = this.#waiters[i] as Waiter;
        if (waiter.lsn > this.published) i++;
        else {
          this.#waiters.splice(i, 1);
          waiter.resolve(this.#isFenced(waiter.lsn));
        }
      }
      for (const resolve of this.#afterBatch.splice(0)) resolve();
    }
  }

  async #publish(batch: readonly Commit[]): Promise<void> {
    // Families that hang together by a transaction, each group with the sections of each.
    const groupOf = new Map<Family, Map<Family, Int32Array[]>>();
    for (const { sections } of batch) {
      let group: Map<Family, Int32Array[]> | undefined;
      for (const { family } of sections) {
        const known = groupOf.get(family);
        if (known === undefined || known === group) continue;
        if (group === undefined) group = known;
        else for (const [each, words] of known) group.set(each, words);
      }
      group ??= new Map();
      for (const { family, words } of sections) {
        const list = group.get(family);
        if (list === undefined) group.set(family, [words]);
        else list.push(words);
      }
      for (const family of group.keys()) groupOf.set(family, group);
    }
    const fenced = new Set<Family>();
    await Promise.all([...new Set(groupOf.values())].map((group) => this.#append(group, fenced)));
    for (const { sections, alone } of batch) {
      if (alone.length === 0) continue;
      const partners = [...new Set(sections.map(({ family }) => family))].map((family) => ({ family: family.id, group: family.group }));
      for (const id of alone) this.#keepCompany(id, partners);
    }
    if (fenced.size === 0) return;
    let from = Infinity;
    for (const { lsn, sections } of batch)
      if (sections.some(({ family }) => fenced.has(family))) {
        this.#fenced.add(lsn);
        from = Math.min(from, lsn);
      }
    for (const first of this.#fenced) {
      if (this.#fenced.size <= FENCED_MAX) break;
      this.#fenced.delete(first);
    }
    this.onFenced([...fenced], from);
  }

  /** Appends the records of families that were written together. */
  async #append(group: ReadonlyMap<Family, readonly Int32Array[]>, fenced: Set<Family>): Promise<void> {
    const { engine, space } = this.#core;
    const { host } = space.kernel;
    const families = [...group.keys()].filter((family) => {
      if (family.role === 'owner') return true;
      fenced.add(family);
      return false;
    });
    // One that went elsewhere takes those with it that it was written with.
    if (families.length < group.size) {
      for (const family of families) fenced.add(family);
      return;
    }
    const together = families.length > 1 && engine.facts.atomic;
    const partners: Partner[] = families.map((family) => ({ family: family.id, group: family.group + 1 }));
    const records: (Sealed & { readonly kind: number })[] = [];
    for (const family of families) {
      const all = group.get(family) ?? [];
      const ends = all.some((words) => isEnd(family, words));
      const sections = (ends ? [] : all).map((words) => this.#whole(words)).filter((words) => words !== undefined);
      let body = joinSections(sections);
      let kind: number = ends ? RECORD_KIND.end : RECORD_KIND.redo;
      if (body.length > engine.facts.maxPayload - 4096 - partners.length * 24) {
        body = await this.persist(() => putInChunks(this.#core, chunksOf(family), body, this.#core.clock.now() + 10 * CALL_MS));
        kind = RECORD_KIND.redoInChunks;
      }
      records.push({
        kind,
        ...encodeRecord(host, {
          kind,
          epoch: family.epoch,
          group: family.group + 1,
          owner: this.#core.id,
          before: family.hash,
          partners: partnersIn(family, together ? partners : [], ends),
          body,
        }),
      });
    }
    const appends = families.map((family, i): Append => {
      const { bytes, kind } = records[i] as Sealed & { readonly kind: number };
      return { log: family.log, bytes, expected: family.seq, ...(kind === RECORD_KIND.end ? { ttl: TOMBSTONE_MS } : {}) };
    });
    if (together) {
      const seq = await this.#settle(families, records, () => engine.appendAll(appends, CALL_MS));
      if (seq === undefined) for (const family of families) fenced.add(family);
      return;
    }
    for (const [i, append] of appends.entries()) {
      const [family, record] = [families[i] as Family, records[i] as Sealed];
      if ((await this.#settle([family], [record], () => engine.append(append, CALL_MS))) === undefined) fenced.add(family);
    }
  }

  /** Until it is known what became of it. Undefined: another record is there in its place. */
  async #settle(families: readonly Family[], records: readonly Sealed[], append: () => Promise<Appended>): Promise<number | undefined> {
    const [first, sealed] = [families[0] as Family, records[0] as Sealed];
    for (;;) {
      const done = await append();
      if (done.kind === 'done') {
        this.#appended(families, records, done.seq);
        return done.seq;
      }
      const last = await this.persist(() => this.#core.engine.last(first.log, CALL_MS));
      if ((last?.seq ?? 0) !== first.seq) {
        // It may have been stored, and the answer lost, and somebody may have come after it.
        const [next] = await this.persist(() => this.#core.engine.read(first.log, first.seq + 1, CALL_MS));
        if (next === undefined || decodeRecord(this.#core.space.kernel.host, first.log, next.bytes).hash !== sealed.hash) return undefined;
        // Those that go together follow each other.
        this.#appended(families, records, next.seq + families.length - 1);
        return next.seq;
      }
      // Nobody was before it: of those that go together another may have been.
      if (done.kind === 'refused' && families.length > 1) {
        const lasts = await this.persist(() => Promise.all(families.map(({ log }) => this.#core.engine.last(log, CALL_MS))));
        if (lasts.some((each, i) => (each?.seq ?? 0) !== families[i]?.seq)) return undefined;
      }
      await this.#core.pause(RETRY_MS);
      if (this.#stopped) return undefined;
    }
  }

  #appended(families: readonly Family[], records: readonly Sealed[], lastSeq: number): void {
    for (const [i, family] of families.entries()) {
      const record = records[i] as Sealed;
      family.seq = lastSeq - (families.length - 1 - i);
      family.hash = record.hash;
      family.group++;
      const { kind, partners } = decodeRecord(this.#core.space.kernel.host, family.log, record.bytes);
      this.#core.table.meet(family, meet(family.met, partners));
      this.records++;
      this.bytes += record.bytes.length;
      family.logged += record.bytes.length + RECORD_COST;
      if (kind === RECORD_KIND.end) this.onEnded(family);
      else if (family.logged > this.#logMin && family.logged > bytesOf(this.#core.space, family.members)) this.onLong(family);
    }
  }

  /** Tries until it succeeds: the engine may be away for a while. */
  async persist<T>(body: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await body();
      } catch (error) {
        if (this.#stopped) throw error;
        await this.#core.pause(RETRY_MS);
      }
    }
  }

  /** What went around the log is read from its object. */
  #whole(words: Int32Array): Int32Array | undefined {
    if (words[4] !== OPERATION.adopt) return words;
    const { kernel } = this.#core.space;
    const id = readId(new Uint8Array(words.buffer, words.byteOffset, 16), 0);
    return kernel.has(id) ? sectionOf(kernel.open(id)) : undefined;
  }
}

/** Does it delete the object that the family is of? */
function isEnd({ id }: Family, words: Int32Array): boolean {
  return words[4] === OPERATION.remove && readId(new Uint8Array(words.buffer, words.byteOffset, 16), 0) === id;
}

/** Whoever learns of the end alone, with nothing of what came before it, must have all that the family was ever written together with. */
function partnersIn({ id, met }: Family, together: readonly Partner[], ends: boolean): Partner[] {
  const others = together.filter(({ family }) => family !== id);
  return ends ? partnersOf(meet(met, others)) : others;
}

/** Stands for an object that is in its file. */
function adopted(id: ObjectId): Int32Array {
  const words = new Int32Array(SECTION.header >> 2);
  writeId(new Uint8Array(words.buffer), 0, id);
  words[4] = OPERATION.adopt;
  return words;
}

/** The owner that stands in the header which a creating section writes. */
function ownerIn(words: Int32Array, section: number): ObjectId | undefined {
  const found = new Int32Array(4);
  let at = section + (SECTION.header >> 2);
  for (let left = words[section + 8] as number; left > 0; left--) {
    const head = words[at++] as number;
    const first = (head & 0xffffff) * 16;
    const mask = head >>> 24;
    if (mask === 0) {
      const run = words[at++] as number;
      if (first <= OWNER_WORD && OWNER_WORD < first + run * 16)
        found.set(words.subarray(at + OWNER_WORD - first, at + OWNER_WORD - first + 4));
      at += run * 16;
      left -= run - 1;
      continue;
    }
    for (let i = 0; i < 16; i += 2) {
      if ((mask & (1 << (i >>> 1))) === 0) continue;
      const to = first + i - OWNER_WORD;
      if (to >= 0 && to < 4) found.set(words.subarray(at, at + 2), to);
      at += 2;
    }
  }
  return found.some((word) => word !== 0) ? readId(new Uint8Array(found.buffer), 0) : undefined;
}

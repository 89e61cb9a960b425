/**
 * A node: a space that has joined others, as far as that takes neither threads nor anybody who waits without giving way. An agent runs one
 * (agent.ts); simulations run many in one thread.
 *
 * Subjects in the engine: `node.<id>.call` what one node asks another, `find` what is asked of all, `lease` node.<id>: who is there.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { KIND } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import { sectionVersion } from '../../abi/log-format.ts';
import type { Tap } from '../../kernel/afar.ts';
import { isSystem } from '../../kernel/lifetime.ts';
import { sectionHead } from '../../kernel/sections.ts';
import { run } from '../../kernel/transaction.ts';
import type { Space } from '../../space.ts';
import { ReplicaCache } from './cache.ts';
import { deleted, left, type Clock, type Core } from './core.ts';
import { Doubts } from './doubts.ts';
import type { Engine, LogRecord, Message, Register, Subscription } from './engine.ts';
import { fromLastBase, sectionsOf } from './arrivals.ts';
import { FamilyTable, factsOf, isOwnedKind, meet, restOf, type Family } from './families.ts';
import { Endings } from './endings.ts';
import { Marking } from './marking.ts';
import { Fetching, type Prefetch } from './fetching.ts';
import { answer, hear, heard, idIn, numberIn, say, sayError, textIn, type Head, type Said } from './messages.ts';
import { Ownership } from './ownership.ts';
import { Publisher } from './publisher.ts';
import type { Merger } from './merge-work.ts';
import { Progressive } from './progressive.ts';
import { decodeRecord, NO_HASH, RECORD_KIND, toHex } from './record.ts';
import { Ranges } from './ranges.ts';
import { Replicas } from './replicas.ts';
import { Sequencer } from './sequencer.ts';
import type { PieceSizes } from './transfer.ts';

export interface NodeOptions {
  /** What people call it; letters, digits, `-` and `_`. */
  readonly name: string;
  readonly clock?: Clock;
  /** Publish what this process commits itself, too: where there is no other (default false). */
  readonly own?: boolean;
  /** Tell the others that functions of theirs run here (default false), and how fast against other nodes (default 1). */
  readonly runs?: boolean;
  readonly speed?: number;
  /** Merges versions of progressive objects: undefined where code of others does not run. */
  readonly merger?: Merger;
  /** Milliseconds that a node counts as there after its last sign (default 4000). */
  readonly lease?: number;
  /** Milliseconds beyond its lease that what a node refers to is kept when it is gone (default 60,000). */
  readonly grace?: number;
  /** Bytes that copies of what others own may take here (default: as many as there are). */
  readonly cacheBytes?: number;
  /** Bytes that the log of a family has in the engine before it is begun anew, at least (default 1 MiB). */
  readonly logBytes?: number;
  /** How objects go from node to node, if not as they always do: the same on all nodes. */
  readonly sizes?: PieceSizes;
  /** Objects may come compressed (default true). */
  readonly compress?: boolean;
}

export interface NodeInfo {
  readonly id: string;
  readonly name: string;
  readonly pid: number;
  /** Functions of other nodes run there. */
  readonly runs: boolean;
  /** Runs that are under way there. */
  readonly load: number;
  readonly objects: number;
  /** When it joined, in milliseconds since 1970 by its own clock; NaN where it does not say. */
  readonly since: number;
  /** How fast functions of others run there, as that node says of itself. */
  readonly speed: number;
}

const CALL_MS = 2000;
const AGAIN_MS = 10;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class ClusterNode implements Core {
  readonly id: string;
  readonly space: Space;
  readonly engine: Engine;
  readonly table: FamilyTable;
  readonly clock: Clock;
  readonly name: string;
  readonly publisher: Publisher;
  readonly replicas: Replicas;
  readonly ownership: Ownership;
  readonly fetching: Fetching;
  readonly ranges: Ranges;
  readonly cache: ReplicaCache;
  readonly endings: Endings;
  readonly marking: Marking;
  readonly sequencer: Sequencer;
  readonly progressive: Progressive;
  readonly peers = new Map<string, NodeInfo>();
  readonly #doubts = new Doubts();
  readonly #subscriptions: Subscription[] = [];
  readonly #lease: number;
  readonly #keep: number;
  #kept = -Infinity;
  readonly #runs: boolean;
  readonly #speed: number;
  #leaseTimer: { cancel(): void } | undefined;
  #stopped = false;
  /** It is known which families are what they were when it ended: before that none is got anew, for they are wrong together. */
  #judge: () => void = () => undefined;
  readonly #judged = new Promise<void>((resolve) => (this.#judge = resolve));
  /** What it owns is known: before that it gives nothing away. */
  #begun: () => void = () => undefined;
  readonly #ready = new Promise<void>((resolve) => (this.#begun = resolve));
  #since = NaN;
  #renewing: Promise<void> | undefined;
  /** Runs that are under way: told to the others. */
  load = 0;
  readonly #tap: Tap = {
    section: (id, words, at, end, own) => {
      this.progressive.section(id, words, at);
      this.publisher.section(id, words, at, end, own);
    },
    committed: (lsn) => {
      this.progressive.committed();
      this.publisher.committed(lsn);
    },
  };

  constructor(space: Space, engine: Engine, options: NodeOptions) {
    const { kernel } = space;
    this.id = toHex(kernel.spaceId);
    this.space = space;
    this.engine = engine;
    this.name = options.name;
    this.clock = options.clock ?? kernel.host;
    this.#lease = options.lease ?? 4000;
    this.#keep = this.#lease + (options.grace ?? 60_000);
    this.#runs = options.runs === true;
    this.#speed = options.speed ?? 1;
    this.table = new FamilyTable(space);
    this.publisher = new Publisher(this, options.own === true, options.logBytes);
    this.replicas = new Replicas(this);
    this.ownership = new Ownership(this, this.publisher, this.replicas, (node) => this.peers.has(node));
    this.fetching = new Fetching(
      this,
      this.ownership,
      this.publisher,
      this.replicas,
      () => this.peers.size - (this.peers.has(this.id) ? 1 : 0),
      options.sizes,
    );
    this.fetching.receiving.packs = options.compress !== false;
    this.ranges = new Ranges(this, (id, deadline) => this.fetching.locate(id, deadline));
    this.sequencer = new Sequencer(this);
    this.progressive = new Progressive(this, options.merger, (id, deadline) => this.bring(id, deadline));
    this.fetching.progressive = this.progressive;
    this.cache = new ReplicaCache(this, this.replicas, options.cacheBytes);
    this.cache.isThere = (node) => this.peers.has(node);
    this.cache.isBusy = (family) => this.ownership.isMoving(family) || this.replicas.isHeld(family.id) || this.fetching.isReloading(family);
    this.cache.onGone = ({ id, owner }) => this.fetching.hint(id, owner);
    this.endings = new Endings(this, this.publisher, this.replicas);
    this.endings.isThere = (node) => this.peers.has(node);
    this.endings.onGone = (family) => {
      this.cache.end(family);
      this.#doubts.over(family, kernel.log.end);
      this.fetching.forget(family.id);
      this.ownership.moved.delete(family.id);
    };
    this.marking = new Marking(this, this.ownership);
    this.publisher.onTouched = (id) => {
      if (this.marking.watching) this.marking.touched(id);
    };
    this.publisher.onLong = (family) => void this.#compact(family);
    this.publisher.onEnded = (family) => this.endings.over(family, this.id);
    this.replicas.onEnded = this.fetching.arrivals.onEnded = (family, by) => this.endings.over(family, by);
    this.fetching.arrivals.onEntered = (family) => {
      this.#doubts.over(family, kernel.log.end);
      this.cache.note(family);
    };
    this.replicas.onSized = (family) => this.cache.note(family);
    this.ownership.onChanged = (family) => {
      this.cache.note(family);
      if (family.role === 'owner') this.endings.settle();
    };
    this.publisher.onFenced = (families, from) => {
      this.ownership.fenced(families);
      if (families.length > 0) this.#doubts.began(families, from);
      for (const family of families) void this.fetching.reload(family);
    };
    this.ownership.onAstray = (family) => this.fetching.reload(family);
    this.replicas.onDoubt = (family, deadline) => this.#doubt(family, deadline);
    this.replicas.onLost = (family) => this.fetching.reload(family);
    this.replicas.quietly = (body) => {
      this.publisher.quiet = true;
      try {
        return body();
      } finally {
        this.publisher.quiet = false;
      }
    };
  }

  // --- coming and going -----------------------------------------------------------------------------------------------------------

  async start(): Promise<void> {
    const { engine, space } = this;
    space.kernel.tap = this.#tap;
    this.#since = space.kernel.host.time();
    this.#subscriptions.push(
      engine.subscribe(`node.${this.id}.call`, (message) => void this.#answer(message)),
      engine.subscribe('find', (message) => void this.#find(message)),
      engine.subscribe('status', ({ bytes }) => this.#status(bytes)),
      engine.watchLeases('node', (lease) => this.#seen(lease)),
      engine.onState((connected) => {
        if (connected) void this.#again();
      }),
    );
    await engine.flush(CALL_MS);
    // Before anything comes here: what this node refers to is kept from now on.
    await this.#keepReferences();
    this.#renewing = this.#renew();
    await this.#renewing;
    for (const lease of await engine.leases('node', CALL_MS)) this.#seen(lease);
    await this.#resume();
    this.progressive.start();
    this.#begun();
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    if (!this.space.closed) {
      this.space.refresh();
      await Promise.race([this.publisher.flush(), this.pause(CALL_MS)]);
      if (this.publisher.idle) this.#mark(true);
    }
    this.die();
    // One that is under way would take the lease again behind its release.
    await this.#renewing;
    try {
      await this.engine.release(`node.${this.id}`, this.#about(), CALL_MS);
    } catch (error) {
      // It ends by itself.
      if (!isTwzError(error)) throw error;
    }
  }

  /** Notes of what is owned here whether all of it is published. */
  #mark(published: boolean): void {
    this.replicas.quietly(() =>
      run(this.space.kernel, () => {
        for (const family of this.table.byId.values())
          if (family.role === 'owner')
            if (published) this.table.store(family, restOf(this.space, family));
            else this.table.store({ ...factsOf(family), seq: -1 });
      }),
    );
  }

  /** Ends at once, as if the process had died. */
  die(): void {
    this.#stopped = this.fetching.stopped = true;
    this.publisher.stop();
    this.replicas.stop();
    this.cache.stop();
    this.endings.stop();
    this.progressive.stop();
    if (this.space.kernel.tap === this.#tap) this.space.kernel.tap = undefined;
    this.#leaseTimer?.cancel();
    for (const subscription of this.#subscriptions) subscription.close();
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.timer(ms, resolve));
  }

  #about(): Uint8Array {
    const { id, name } = this;
    const [runs, speed, since] = [this.#runs, this.#speed, this.#since];
    return encoder.encode(JSON.stringify({ id, name, pid: this.space.kernel.host.pid, runs, speed, since }));
  }

  async #renew(): Promise<void> {
    if (this.#stopped) return;
    try {
      if (this.engine.connected) {
        this.engine.publish('status', say({ node: this.id, load: this.load, objects: this.space.kernel.handles.size }));
        await this.engine.lease(`node.${this.id}`, this.#about(), this.#lease, CALL_MS);
        if (this.clock.now() - this.#kept > this.#keep / 4) await this.#keepReferences();
      }
    } catch (error) {
      if (!isTwzError(error)) throw error;
    }
    if (!this.#stopped) this.#leaseTimer = this.clock.timer(this.#lease / 4, () => void (this.#renewing = this.#renew()));
  }

  /** Longer than its lease: whoever is away for a moment finds what it refers to. It is not given back when the node leaves. */
  async #keepReferences(): Promise<void> {
    const now = this.clock.now();
    await this.engine.lease(`keeps.${this.id}`, encoder.encode(this.id), this.#keep, CALL_MS);
    this.#kept = now;
  }

  #seen({ key, bytes }: Register): void {
    const id = key.slice(key.lastIndexOf('.') + 1);
    if (bytes === undefined) this.peers.delete(id);
    else {
      const info = infoIn(id, bytes);
      const before = this.peers.get(id);
      if (info !== undefined && (before?.pid !== info.pid || !Object.is(before.since, info.since))) this.peers.set(id, info);
    }
  }

  #status(bytes: Uint8Array): void {
    try {
      const { head } = hear(bytes);
      const info = this.peers.get(textIn(head, 'node'));
      if (info !== undefined) this.peers.set(info.id, { ...info, load: numberIn(head, 'load'), objects: numberIn(head, 'objects') });
    } catch (error) {
      // Whoever says such things is not believed.
      if (!isTwzError(error)) throw error;
    }
  }

  async #again(): Promise<void> {
    this.replicas.catchUp();
    this.progressive.catchUp();
    await this.#renew();
  }

  readonly #compacting = new Set<Family>();

  async #compact(family: Family): Promise<void> {
    if (this.#compacting.has(family)) return;
    this.#compacting.add(family);
    try {
      await this.ownership.compact(family, this.clock.now() + 10 * CALL_MS);
    } catch (error) {
      // What is published next asks for it again.
      if (!isTwzError(error)) throw error;
    } finally {
      this.#compacting.delete(family);
    }
  }

  /** Others know more of a family than this node that believes to own it. */
  async #doubt(family: Family, deadline: number): Promise<void> {
    await this.#judged;
    if (family.role !== 'owner') return;
    const last = await this.engine.last(family.log, left(this, deadline, 'looking who owns an object'));
    if (last === undefined || decodeRecord(this.space.kernel.host, family.log, last.bytes).owner === this.id) await this.pause(10);
    else this.publisher.onFenced([family], this.publisher.followed);
  }

  /** What was shared when this node ended last. */
  async #resume(): Promise<void> {
    const { space } = this;
    const mine: Family[] = [];
    const taken: Family[] = [];
    const astray: Family[] = [];
    for (const family of [...this.table.byId.values()]) {
      if (family.astray) astray.push(family);
      else if (family.role === 'replica') {
        this.replicas.follow(family);
        this.replicas.nudge(family);
      } else {
        const last = await this.engine.last(family.log, CALL_MS);
        const there = last === undefined ? undefined : decodeRecord(this.space.kernel.host, family.log, last.bytes);
        const ended = there?.kind === RECORD_KIND.end;
        // What was lost with the power is here again although it was deleted.
        if (there !== undefined && (there.owner !== this.id || (ended && space.has(family.id)))) taken.push(family);
        else if (ended) this.endings.over(family, this.id);
        else mine.push(family);
      }
    }
    const judged = new Map<Family, 'sound' | 'ahead' | 'unsure'>();
    // What others take over meanwhile makes a difference to all.
    for (let known = -1; known < taken.length;) {
      known = taken.length;
      judged.clear();
      for (const family of mine.filter((each) => !taken.includes(each))) {
        const found = await this.#resumeOwn(family, known > 0);
        if (found === 'taken') taken.push(family);
        else judged.set(family, found);
      }
    }
    const those = (what: string): Family[] => mine.filter((family) => judged.get(family) === what);
    const ahead = those('ahead');
    const isTold = await this.ownership.catchUp(ahead, this.clock.now() + 10 * CALL_MS);
    // All in one step: what was written together is together wrong.
    this.publisher.onFenced([...taken, ...those('unsure'), ...(isTold ? [] : ahead)], 0);
    for (const family of astray) void this.fetching.reload(family);
    this.#judge();
    this.endings.settle();
    for (const family of mine)
      if (family.role === 'owner' && !family.based) await this.ownership.base(family, this.clock.now() + 10 * CALL_MS);
    this.#mark(false);
    this.replicas.catchUp();
  }

  /**
   * One that this node owned when it was last looked at. `taken`: another does. `ahead`: not all of it is published. `unsure`: what is here is
   * not to be trusted: the power was lost before what was published was durable here; or what was not published may have been written together
   * with what others have taken over.
   */
  async #resumeOwn(family: Family, overtaken: boolean): Promise<'taken' | 'sound' | 'ahead' | 'unsure'> {
    for (let failed: LogRecord | undefined; ;) {
      const records = fromLastBase(this, family, await this.engine.read(family.log, 0, CALL_MS));
      const last = records.at(-1);
      if (last !== undefined && decodeRecord(this.space.kernel.host, family.log, last.bytes).owner !== this.id) return 'taken';
      try {
        return await this.#judgeOwn(family, records, overtaken);
      } catch (error) {
        // Another node has taken it over and begun its log anew meanwhile: its chunks went.
        if (!isTwzError(error, 'EngineCorrupt') || records[0]?.seq === failed?.seq) throw error;
        [failed] = records;
      }
    }
  }

  async #judgeOwn(family: Family, records: readonly LogRecord[], overtaken: boolean): Promise<'sound' | 'ahead' | 'unsure'> {
    const { kernel } = this.space;
    const clean = { seq: family.seq, hash: family.hash };
    const published = new Map<ObjectId, number>();
    const own = new Set<ObjectId>();
    let [epoch, group, seq, hash, based] = [family.epoch, family.group, 0, NO_HASH, false];
    family.logged = 0;
    for (const { seq: at, bytes } of records) {
      family.logged += bytes.length;
      const record = decodeRecord(kernel.host, family.log, bytes);
      ({ epoch, group, hash } = record);
      seq = at;
      this.table.meet(family, meet(family.met, record.partners));
      if (record.kind === RECORD_KIND.base) based = true;
      if (record.kind === RECORD_KIND.epoch || record.owner !== this.id) own.clear();
      for (const words of await sectionsOf(this, family.id, record, this.clock.now() + 10 * CALL_MS)) {
        const { id } = sectionHead(words);
        published.set(id, sectionVersion(words, 0));
        if (record.owner === this.id) own.add(id);
      }
    }
    Object.assign(family, { epoch, group, seq, hash, based });
    // It was deleted here, and that was not published.
    if (!kernel.has(family.id)) return based && overtaken ? 'unsure' : 'ahead';
    if (clean.seq >= 0 && clean.hash === hash && family.rest === restOf(this.space, family)) return 'sound';
    // It did not end in order.
    const versionOf = (id: ObjectId): number => (kernel.has(id) ? kernel.open(id).version : NaN);
    const behind = [...own].some((id) => versionOf(id) < (published.get(id) ?? 0));
    if (based && behind) return 'unsure';
    if (based && [...family.members].every((id) => versionOf(id) === published.get(id))) return 'sound';
    return based && overtaken ? 'unsure' : 'ahead';
  }

  // --- what is asked of it --------------------------------------------------------------------------------------------------------

  async call(node: string, head: Head, deadline: number, body?: Uint8Array): Promise<Said> {
    const ms = left(this, deadline, `asking node ${node}`);
    return heard(await this.engine.request(`node.${node}.call`, say({ ...head, from: this.id }, body), ms));
  }

  async #answer(message: Message): Promise<void> {
    let bytes: Uint8Array;
    try {
      bytes = await this.#do(hear(message.bytes));
    } catch (error) {
      bytes = sayError(error);
    }
    this.#reply(message, bytes);
  }

  async #find(message: Message): Promise<void> {
    let said: Said;
    try {
      said = hear(message.bytes);
    } catch (error) {
      // Whoever says such things gets no answer.
      if (!isTwzError(error)) throw error;
      return;
    }
    if (said.head['from'] === this.id) return;
    let bytes: Uint8Array;
    try {
      await this.#ready;
      bytes = await this.fetching.found(said);
    } catch (error) {
      if (!isTwzError(error)) throw error;
      bytes = say({ node: this.id, here: false });
    }
    this.#reply(message, bytes);
  }

  #reply(message: Message, bytes: Uint8Array): void {
    if (!this.#stopped) answer(message, bytes);
  }

  bring(id: ObjectId, deadline: number, prefetch?: Prefetch): Promise<boolean> {
    this.space.refresh();
    if (this.space.has(id)) {
      this.cache.use([id]);
      return Promise.resolve(true);
    }
    return this.#by(deadline, this.fetching.bring(id, deadline, prefetch), `bringing object ${id}`);
  }

  async #do(said: Said): Promise<Uint8Array> {
    const { head } = said;
    const from = textIn(head, 'from');
    const what = textIn(head, 'do');
    if (what === 'fetch' || what === 'release' || what === 'mark' || what === 'append') await this.#ready;
    switch (what) {
      case 'fetch':
        return this.fetching.give(said);
      case 'parts':
        return this.ranges.parts(said);
      case 'range':
        return this.ranges.range(said);
      case 'heads':
        return this.fetching.heads(said);
      case 'mark':
        return this.marking.answer(said);
      case 'piece':
        return this.fetching.offers.piece(said);
      case 'release': {
        const family = this.table.byId.get(idIn(head, 'family'));
        if (this.fetching.isDeleted(idIn(head, 'family'))) throw deleted(idIn(head, 'family'));
        if (family === undefined) throw new TwzError('Stale', `object ${String(head['family'])} is not shared here`);
        return this.ownership.release(said, family, from);
      }
      case 'append':
        return this.sequencer.answer(said);
      case 'base': {
        const family = this.table.byId.get(idIn(head, 'family'));
        if (family !== undefined) await this.ownership.base(family, this.clock.now() + 10 * CALL_MS);
        return say({ based: family?.based === true });
      }
      default:
        throw new TwzError('NotSupported', `node ${this.name} does not know "${what}"`);
    }
  }

  // --- owning and reading ---------------------------------------------------------------------------------------------------------

  /** Makes an object this node's own, to store to it. Throws ObjectMissing, Unreachable, TimedOut. */
  own(id: ObjectId, deadline: number): Promise<void> {
    this.space.refresh();
    const family = this.table.byMember.get(id);
    if (this.space.has(id) && (family === undefined || family.role === 'owner')) return Promise.resolve();
    return this.#by(deadline, this.#own(id, deadline), `getting object ${id}`);
  }

  async #own(id: ObjectId, deadline: number): Promise<void> {
    for (;;) {
      left(this, deadline, `getting object ${id}`);
      if (!(await this.bring(id, deadline))) throw new TwzError('ObjectMissing', `object ${id} is on no node`, { id });
      const family = this.table.byMember.get(id);
      if (family === undefined || family.role === 'owner') return;
      await this.ownership.own(family, deadline);
    }
  }

  /** ID of the node that owns an object; undefined where none that is there does. */
  locate(id: ObjectId, deadline: number): Promise<string | undefined> {
    return this.fetching.locate(id, deadline);
  }

  /** Appends to an append-only object, wherever its owner is; gives the element's number. Throws as `Sequencer.append`. */
  append(id: ObjectId, values: Uint8Array, activation: string, deadline: number): Promise<number> {
    return this.#by(deadline, this.sequencer.append(id, values, activation, deadline), `appending to object ${id}`);
  }

  /** Brings a progressive object to where it contains all versions that are in the engine. Throws MergeFailed, NotSupported, TimedOut. */
  async merge(id: ObjectId, deadline: number): Promise<void> {
    if (!(await this.bring(id, deadline))) throw new TwzError('ObjectMissing', `object ${id} is on no node`, { id });
    await this.#by(deadline, this.progressive.merge(id, deadline), `merging object ${id}`);
  }

  /** Brings an object here, with its family, to stay. Throws ObjectMissing, Unreachable, TimedOut. */
  async pin(id: ObjectId, deadline: number): Promise<void> {
    if (!(await this.bring(id, deadline))) throw new TwzError('ObjectMissing', `object ${id} is on no node`, { id });
    this.cache.pin(id, true);
  }

  /** Brings a replica to what the engine has of it now. Throws Stale where that cannot be told by the deadline. */
  async freshen(id: ObjectId, deadline: number): Promise<void> {
    if (!(await this.bring(id, deadline))) throw new TwzError('ObjectMissing', `object ${id} is on no node`, { id });
    try {
      await this.#by(deadline, this.#freshen(id, deadline), `reading object ${id}`);
    } catch (error) {
      if (!isTwzError(error, 'TimedOut') && !isTwzError(error, 'EngineLost')) throw error;
      throw new TwzError('Stale', `object ${id}: what is here may be old, and the engine does not say`, { id }, error);
    }
  }

  async #freshen(id: ObjectId, deadline: number): Promise<void> {
    const family = this.table.byMember.get(id);
    if (family === undefined) {
      if (this.progressive.isHere(id)) await this.progressive.see(id, deadline);
      return;
    }
    const last = await this.engine.last(family.log, left(this, deadline, 'reading an object'));
    if (family.role === 'owner') {
      await this.publisher.flush();
      if (last !== undefined && last.seq > family.seq) await this.#doubt(family, deadline);
    }
    if (family.astray) await this.fetching.reload(family);
    if (family.role !== 'owner' && last === undefined && family.seq > 0)
      throw new TwzError('Stale', `object ${id}: the engine has nothing of it any more`, { id });
    if (family.role !== 'owner' && last !== undefined) await this.replicas.reach(family, last.seq, deadline);
    // It went from here meanwhile.
    if (!this.table.has(family)) await this.freshen(id, deadline);
  }

  /** How many groups of changes what is here of an object contains, the same on all nodes. Throws ObjectMissing, TimedOut. */
  async versionOf(id: ObjectId, deadline: number): Promise<number> {
    if (!(await this.bring(id, deadline))) throw new TwzError('ObjectMissing', `object ${id} is on no node`, { id });
    const family = this.table.byMember.get(id);
    if (family?.role === 'owner') await this.#by(deadline, this.publisher.flush(), `publishing object ${id}`);
    return family?.group ?? 0;
  }

  /** Brings an object to that version, or a later one. Throws ObjectMissing; Stale where it does not come by the deadline. */
  async reachVersion(id: ObjectId, version: number, deadline: number): Promise<void> {
    try {
      while ((await this.versionOf(id, deadline)) < version) {
        const family = this.table.byMember.get(id);
        if (family?.astray === true) await this.#by(deadline, this.fetching.reload(family), `reading object ${id}`);
        else if (family?.role === 'replica') await this.replicas.reachGroup(family, version, deadline);
        else await this.pause(AGAIN_MS);
        left(this, deadline, `reading object ${id}`);
      }
    } catch (error) {
      if (!isTwzError(error, 'TimedOut') && !isTwzError(error, 'EngineLost')) throw error;
      throw new TwzError('Stale', `object ${id}: version ${version} has not come here`, { id, version }, error);
    }
  }

  /** Resolves when what was committed up to `lsn` is in the engine, and outlives this node. Throws Fenced, TimedOut. */
  async replicated(lsn: number, ids: readonly ObjectId[], deadline: number): Promise<void> {
    await this.#by(deadline, this.#replicated(lsn, ids, deadline), 'publishing a commit');
  }

  async #replicated(lsn: number, ids: readonly ObjectId[], deadline: number): Promise<void> {
    const { kernel } = this.space;
    kernel.catchUp();
    if (this.#stopped && lsn > this.publisher.followed)
      throw new TwzError('NotJoined', 'this node has left: what is committed is here alone');
    const stored = ids.filter((id) => kernel.has(id)).map((id) => kernel.open(id));
    const known = new Set(stored.map(({ id }) => this.table.byMember.get(id)));
    const sharing = this.ownership.share(stored.filter(({ id, kind }) => isOwnedKind(kind) && !isSystem(kernel, id)));
    const families = new Set(stored.map(({ id }) => this.table.byMember.get(id)).filter((family) => family !== undefined));
    const anew = new Map([...families].filter((family) => !known.has(family)).map((family) => [family, family.strayed]));
    await sharing;
    // What was here alone is in no log but this node's.
    if (stored.length < ids.length) await kernel.log.durable();
    for (const { id, kind } of stored) if (kind === KIND.progressive) await this.progressive.publish(id, deadline);
    if (await this.publisher.when(Math.min(lsn, this.publisher.followed))) throw fenced();
    if (ids.length === 0 && this.#doubts.covers(lsn, this.fetching.arrivals.hopeless))
      throw new TwzError('Stale', 'what was read may be what another node came before');
    for (const family of families) {
      await this.ownership.base(family, deadline);
      // Of what was not shared before there is no record: it is in the base, or it does not count.
      if (anew.has(family) && anew.get(family) !== family.strayed) throw fenced(family.id);
    }
  }

  async #by<T>(deadline: number, promise: Promise<T>, what: string): Promise<T> {
    // Whatever becomes of it after that is nobody's to wait for.
    promise.catch((error: unknown) => error);
    const ms = left(this, deadline, what);
    let timer: { cancel(): void } | undefined;
    const over = new Promise<never>((_resolve, reject) => {
      timer = this.clock.timer(ms, () => reject(new TwzError('TimedOut', `${what}: the deadline is over`)));
    });
    try {
      return await Promise.race([promise, over]);
    } finally {
      timer?.cancel();
    }
  }
}

function fenced(id?: ObjectId): TwzError {
  return new TwzError(
    'Fenced',
    'another node owns an object that was stored to: the commit does not count',
    id === undefined ? {} : { id },
  );
}

/** What a node says of itself; undefined where that means nothing. */
export function infoIn(id: string, bytes: Uint8Array): NodeInfo | undefined {
  try {
    const { name, pid, runs, speed: said, since } = JSON.parse(decoder.decode(bytes)) as Record<string, unknown>;
    const speed = typeof said === 'number' && said > 0 ? said : 1;
    return { id, name: String(name), pid: Number(pid), runs: runs === true, speed, load: 0, objects: 0, since: Number(since) };
  } catch {
    return undefined;
  }
}

/**
 * Progressive objects: every node stores to its own version, whether anybody can be reached or not. Versions go to a log in the engine
 * (versions.ts), from which any node takes those of others and merges them, whoever made them and whether they are there or not.
 *
 *   a commit here     ->  a moment later: a version, which contains what this node had  ->  the log
 *   a version there   ->  it contains what is here: taken as it is, in one transaction
 *                     ->  it does not: two that do not contain each other are merged (merging.ts), and that is a version as well
 *
 * Invariants:
 *  1. A number of this node's is given to one content: it is noted, durably and with that content, before the record is appended.
 *  2. What was stored here since the last version is never put aside: another version is entered in a transaction that sees that nothing was.
 *  3. A record leaves the log only for one that contains it.
 *  4. Everybody takes what `headsOf` gives: who has seen the same versions has the same.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { KIND, META } from '../../abi/format.ts';
import { isId, NULL_ID, readId, type ObjectId } from '../../abi/id.ts';
import { OPERATION } from '../../abi/log-format.ts';
import type { Handle } from '../../kernel/object.ts';
import { applySection, forsakeReplica, kindIn, sectionHead, sectionOf } from '../../kernel/sections.ts';
import { run } from '../../kernel/transaction.ts';
import { hashMap } from '../../lib/collections/hash-map.ts';
import { text } from '../../lib/fields.ts';
import { struct, type Infer } from '../../lib/struct.ts';
import { getFromChunks, putInChunks } from './chunks.ts';
import { left, Turns, type Core } from './core.ts';
import type { Subscription } from './engine.ts';
import { membersOf, ownTable, restOf, rootOfFamily } from './families.ts';
import { mergeFailed, type Merger } from './merge-work.ts';
import { joinSections, splitSections, toHex } from './record.ts';
import { Code } from './runner.ts';
import {
  common,
  compare,
  decodeVersion,
  encodeVersion,
  hashOf,
  headsOf,
  joined,
  raised,
  textOfVector,
  vectorIn,
  type Vector,
  type Version,
} from './versions.ts';

const Noted = struct('ClusterVersion', {
  /** Who this node is in vectors. */
  self: text,
  vector: text,
  hash: text,
  /** What its objects were when they were that version. */
  rest: text,
});
const NotedVersions = hashMap(text, Noted);
const PATH = '/cluster-versions';
const CALL_MS = 2000;
const RETRY_MS = 50;
const RETRY_MAX = 2000;
/** What is stored to within so many milliseconds is one version. */
const SOON_MS = 10;
/** A version that takes more of a message goes as chunks. */
const SHARE = 4;
/** Versions and bytes that the log keeps, so that it is known where two come from. */
const KEPT = 32;
const KEPT_BYTES = 1 << 20;
const MERGE_MS = 10_000;
const SPREAD_MS = 40;

interface State {
  readonly id: ObjectId;
  self: string;
  vector: Vector;
  hash: string;
  rest: string;
  readonly members: Set<ObjectId>;
  subscription: Subscription | undefined;
  planned: boolean;
  /** Milliseconds after which what failed is tried again. */
  wait: number;
  /** Versions that could not be merged: not tried again before there is another. */
  stuck: string;
}

/** What is in the log: all of it, and its last place. */
interface Found {
  readonly versions: readonly Version[];
  readonly last: number;
  readonly bytes: number;
}

export class Progressive {
  readonly #core: Core;
  readonly #merger: Merger | undefined;
  readonly #bring: (id: ObjectId, deadline: number) => Promise<boolean>;
  readonly #table: Infer<typeof NotedVersions>;
  readonly #states = new Map<ObjectId, State>();
  readonly #byMember = new Map<ObjectId, State>();
  readonly #turns = new Turns();
  #made: ObjectId[] = [];
  #touched = new Set<State>();
  #stopped = false;
  /** Versions that this node has published, taken, and made of two. */
  published = 0;
  adopted = 0;
  merged = 0;

  /** `merger`: undefined where code of others does not run. */
  constructor(core: Core, merger: Merger | undefined, bring: (id: ObjectId, deadline: number) => Promise<boolean>) {
    this.#core = core;
    this.#merger = merger;
    this.#bring = bring;
    this.#table = ownTable(core.space, PATH, NotedVersions);
    for (const [id, { self, vector, hash, rest }] of this.#table)
      if (isId(id) && core.space.has(id)) this.#add({ id, self, vector: vectorIn(JSON.parse(vector)), hash, rest });
  }

  #add(noted: Pick<State, 'id' | 'self' | 'vector' | 'hash' | 'rest'>): State {
    const state: State = { ...noted, members: new Set(), subscription: undefined, planned: false, wait: RETRY_MS, stuck: '' };
    this.#states.set(state.id, state);
    this.#refresh(state);
    return state;
  }

  #refresh(state: State): void {
    const { kernel } = this.#core.space;
    for (const id of state.members) this.#byMember.delete(id);
    state.members.clear();
    if (!kernel.has(state.id)) return;
    for (const id of membersOf(kernel.open(state.id))) {
      state.members.add(id);
      this.#byMember.set(id, state);
    }
  }

  /** What was stored to, or published, while this node was away. */
  start(): void {
    for (const state of this.#states.values()) {
      this.#follow(state);
      this.#soon(state, 0);
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const { subscription } of this.#states.values()) subscription?.close();
  }

  /** The engine was away. */
  catchUp(): void {
    for (const state of this.#states.values()) this.#soon(state, 0);
  }

  // --- what is committed here -----------------------------------------------------------------------------------------------------

  /** As the publisher's. */
  section(id: ObjectId, words: Int32Array, at: number): void {
    const state = this.#byMember.get(id);
    if (state !== undefined) this.#touched.add(state);
    else {
      const operation = words[at + 4];
      if (operation === OPERATION.adopt || (operation === OPERATION.create && kindIn(words, at) === KIND.progressive)) this.#made.push(id);
    }
  }

  committed(): void {
    if (this.#touched.size === 0 && this.#made.length === 0) return;
    const [touched, made] = [this.#touched, this.#made];
    this.#touched = new Set();
    this.#made = [];
    for (const state of touched) this.#soon(state, SOON_MS);
    // They are looked at when whoever commits has ended.
    if (made.length > 0) this.#core.clock.timer(0, () => this.#look(made));
  }

  #look(made: readonly ObjectId[]): void {
    const { space } = this.#core;
    if (this.#stopped || space.closed) return;
    for (const id of made) {
      const state = space.has(id) ? this.#stateOf(space.kernel.open(id)) : undefined;
      if (state !== undefined) this.#soon(state, SOON_MS);
    }
  }

  /** The state of a progressive object that is here, known from now on; undefined where it is none. */
  #stateOf(h: Handle): State | undefined {
    if (h.cold) h.reach();
    if (h.kind !== KIND.progressive) return undefined;
    const { id } = rootOfFamily(this.#core.space, h);
    const known = this.#states.get(id);
    if (known !== undefined) return known;
    const state = this.#add({ id, self: this.#core.id, vector: new Map(), hash: '', rest: '' });
    this.#follow(state);
    return state;
  }

  #follow(state: State): void {
    state.subscription ??= this.#core.engine.follow(logOf(state.id), (log, { bytes }) => {
      const version = this.#decoded(log, bytes);
      if (version === undefined) return;
      const order = compare(version.vector, state.vector);
      if (order === 'apart' || this.#isBehind(state, version)) this.#soon(state, 0);
    });
  }

  /** It is not here any more; others have it. */
  #drop(state: State): void {
    state.subscription?.close();
    for (const id of state.members) this.#byMember.delete(id);
    this.#states.delete(state.id);
    run(this.#core.space.kernel, () => this.#table.delete(state.id));
  }

  #soon(state: State, ms: number): void {
    if (state.planned || this.#stopped) return;
    state.planned = true;
    this.#core.clock.timer(ms, () => {
      state.planned = false;
      if (this.#stopped || this.#core.space.closed) return;
      void this.#try(state);
    });
  }

  async #try(state: State): Promise<void> {
    try {
      await this.#settle(state, this.#core.clock.now() + MERGE_MS, false);
      state.wait = RETRY_MS;
    } catch (error) {
      if (this.#stopped || this.#core.space.closed) return;
      if (!isTwzError(error)) throw error;
      // Who asks is told. What could not be merged waits for another version; anything else is tried again.
      if (isTwzError(error, 'MergeFailed')) return;
      this.#soon(state, state.wait);
      state.wait = Math.min(RETRY_MAX, state.wait * 2);
    }
  }

  // --- what is asked --------------------------------------------------------------------------------------------------------------

  isHere(id: ObjectId): boolean {
    const { space } = this.#core;
    return space.has(id) && this.#stateOf(space.kernel.open(id)) !== undefined;
  }

  /** Resolves when what is here now is in the engine. Throws TimedOut, EngineLost. */
  async publish(id: ObjectId, deadline: number): Promise<ObjectId> {
    const state = this.#demand(id);
    await this.#turns.take(state.id, () => this.#publish(state, deadline));
    return state.id;
  }

  /** Brings an object here from the versions in the engine; false where there are none. */
  async bring(id: ObjectId, deadline: number): Promise<boolean> {
    const { space } = this.#core;
    const found = await this.#read(id, deadline);
    if (found.versions.length === 0) return false;
    const [only] = headsOf(found.versions);
    if (only === undefined) return false;
    const state = this.#states.get(id) ?? this.#add({ id, self: this.#core.id, vector: new Map(), hash: '', rest: '' });
    // One of several is as good as another to begin with.
    await this.#turns.take(id, async () => {
      if (!space.has(id)) await this.#adopt(state, only, deadline);
    });
    this.#follow(state);
    try {
      await this.#settle(state, deadline, false);
    } catch (error) {
      if (!isTwzError(error)) throw error;
      this.#soon(state, RETRY_MS);
    }
    return true;
  }

  /** Resolves when what is here contains all that is in the engine. Throws MergeFailed, TimedOut, EngineLost. */
  async merge(id: ObjectId, deadline: number): Promise<void> {
    const state = this.#demand(id);
    while (!(await this.#settle(state, deadline, true))) {
      left(this.#core, deadline, `merging object ${id}`);
      await this.#core.pause(RETRY_MS);
    }
  }

  /** Takes what is in the engine, as far as that can be done without merging. Throws TimedOut, EngineLost. */
  async see(id: ObjectId, deadline: number): Promise<void> {
    try {
      await this.#settle(this.#demand(id), deadline, false);
    } catch (error) {
      if (!isTwzError(error, 'MergeFailed')) throw error;
    }
  }

  #demand(id: ObjectId): State {
    const { space } = this.#core;
    const h = space.kernel.open(id);
    const state = this.#stateOf(h);
    if (state === undefined) throw new TwzError('NotSupported', `object ${id} is ${h.kindName}: it has one version at a time`, { id });
    return state;
  }

  // --- versions -------------------------------------------------------------------------------------------------------------------

  async #read(id: ObjectId, deadline: number): Promise<Found> {
    const { engine } = this.#core;
    const log = logOf(id);
    const records = await engine.read(log, 0, Math.min(CALL_MS, left(this.#core, deadline, `reading the versions of object ${id}`)));
    let bytes = 0;
    for (const record of records) bytes += record.bytes.length;
    const versions = records.map((record) => this.#decoded(log, record.bytes)).filter((version) => version !== undefined);
    return { versions, last: records.at(-1)?.seq ?? 0, bytes };
  }

  /** Undefined: it is no version, and counts for nothing. */
  #decoded(log: string, bytes: Uint8Array): Version | undefined {
    try {
      return decodeVersion(this.#core.space.kernel.host, log, bytes);
    } catch (error) {
      if (!isTwzError(error, 'EngineCorrupt')) throw error;
      return undefined;
    }
  }

  /** Was anything stored to it since it was the version that is noted? */
  #isChanged(state: State): boolean {
    return state.rest === '' || state.rest !== restOf(this.#core.space, state);
  }

  /** Its turn is the caller's. */
  async #publish(state: State, deadline: number): Promise<void> {
    const { space } = this.#core;
    const { kernel } = space;
    space.refresh();
    if (!kernel.has(state.id)) return;
    this.#refresh(state);
    if (!this.#isChanged(state) && state.hash !== '') return;
    const found = await this.#read(state.id, deadline);
    let ahead = 0;
    for (const { vector } of found.versions) ahead = Math.max(ahead, vector.get(state.self) ?? 0);
    // This node does not know what it had made: it is what it was before that. Nobody takes it for what came after.
    if (ahead > (state.vector.get(state.self) ?? 0)) state.self = `${this.#core.id}.${toHex(kernel.random(4))}`;
    space.refresh();
    this.#refresh(state);
    const body = await this.#bodyOf(state, deadline);
    await kernel.log.durable();
    await this.#append(state, body, found, deadline);
  }

  /** What is here, as a version that is noted and not yet published. */
  async #bodyOf(state: State, deadline: number): Promise<Version> {
    const { space } = this.#core;
    const { kernel } = space;
    const code = mergeOf(kernel.open(state.id));
    if (!kernel.has(code)) await this.#bring(code, deadline);
    // From here on nothing is waited for, so that what is noted is what goes.
    this.#refresh(state);
    const sections = [...state.members].map((id) => sectionOf(kernel.open(id)));
    if (kernel.has(code)) sections.push(sectionOf(kernel.open(code)));
    const bytes = joinSections(sections);
    const vector = raised(state.vector, state.self);
    this.#note(state, { vector, hash: hashOf(kernel.host, bytes), rest: restOf(space, state) });
    return this.#asVersion(state.id, vector, bytes, deadline);
  }

  async #asVersion(id: ObjectId, vector: Vector, bytes: Uint8Array, deadline: number): Promise<Version> {
    const { engine, space } = this.#core;
    const chunks = bytes.length > engine.facts.maxPayload / SHARE;
    const body = chunks ? await putInChunks(this.#core, id, bytes, deadline) : bytes;
    return { vector, hash: hashOf(space.kernel.host, bytes), chunks, body };
  }

  #note(state: State, facts: Pick<State, 'vector' | 'hash' | 'rest'>): void {
    run(this.#core.space.kernel, () => this.#store(state, facts));
    Object.assign(state, facts);
  }

  /** Inside a transaction. */
  #store({ id, self }: State, { vector, hash, rest }: Pick<State, 'vector' | 'hash' | 'rest'>): void {
    this.#table.set(id, { self, vector: textOfVector(vector), hash, rest });
  }

  /** Appends it, unless it is there: what became of an append is looked up. */
  async #append(state: State, version: Version, before: Found, deadline: number): Promise<void> {
    const { engine } = this.#core;
    const log = logOf(state.id);
    const bytes = encodeVersion(version);
    let found = before;
    while (!found.versions.some(({ vector, hash }) => hash === version.hash && compare(vector, version.vector) === 'same')) {
      const append = { log, bytes, expected: found.last };
      const isAll = found.versions.every(({ vector }) => compare(vector, version.vector) === 'before');
      const full = found.versions.length >= KEPT || found.bytes + bytes.length > KEPT_BYTES;
      const ms = Math.min(CALL_MS, left(this.#core, deadline, `publishing object ${state.id}`));
      const done = isAll && full ? await engine.replace(append, ms) : await engine.append(append, ms);
      if (done.kind === 'done') {
        this.published++;
        break;
      }
      if (done.kind === 'unknown') await this.#core.pause(Math.min(RETRY_MS, left(this.#core, deadline, `publishing object ${state.id}`)));
      found = await this.#read(state.id, deadline);
    }
  }

  /** True where what is here contains all that there is. `asked`: somebody waits, and hears why not. */
  #settle(state: State, deadline: number, asked: boolean): Promise<boolean> {
    let waited = '';
    return this.#turns.take(state.id, async () => {
      for (;;) {
        await this.#publish(state, deadline);
        const { space } = this.#core;
        if (!space.has(state.id)) {
          this.#drop(state);
          return false;
        }
        const found = await this.#read(state.id, deadline);
        const heads = headsOf(found.versions);
        const [first, second] = heads;
        if (first === undefined) {
          // What was noted did not get there.
          state.hash = '';
          continue;
        }
        if (second === undefined) {
          if (!this.#isBehind(state, first)) {
            if (compare(first.vector, state.vector) === 'same') return true;
            // Its last version did not get there, and counts for nobody.
            state.hash = '';
            continue;
          }
          if (await this.#adopt(state, first, deadline)) return true;
          continue;
        }
        const pair = heads.map(({ hash }) => hash).join(' ');
        if (this.#merger === undefined || (!asked && state.stuck === pair)) {
          const better = heads.find((head) => this.#isBehind(state, head));
          if (better !== undefined) await this.#adopt(state, better, deadline);
          return false;
        }
        // Others see the same: the first who gets to it spares them the trouble.
        if (!asked && waited !== pair) {
          waited = pair;
          await this.#core.pause((this.#core.space.kernel.random(1)[0] ?? 0) % SPREAD_MS);
          continue;
        }
        try {
          await this.#append(state, await this.#mergeTwo(state, first, second, found, deadline), found, deadline);
          this.merged++;
          state.stuck = '';
        } catch (error) {
          if (isTwzError(error, 'MergeFailed')) state.stuck = pair;
          throw error;
        }
      }
    });
  }

  #isBehind(state: State, { vector, hash }: Version): boolean {
    const order = compare(vector, state.vector);
    return order === 'after' || (order === 'same' && hash > state.hash);
  }

  async #whole(id: ObjectId, { chunks, body, hash }: Version, deadline: number): Promise<Uint8Array> {
    if (!chunks) return body;
    const bytes = await getFromChunks(this.#core, id, body, deadline);
    if (hashOf(this.#core.space.kernel.host, bytes) !== hash) throw new TwzError('EngineCorrupt', 'a version is not what its hash says');
    return bytes;
  }

  async #mergeTwo(state: State, mine: Version, theirs: Version, { versions }: Found, deadline: number): Promise<Version> {
    const { space, clock } = this.#core;
    const { kernel } = space;
    const code = mergeOf(kernel.open(state.id));
    const from = common(mine.vector, theirs.vector);
    const base = versions.find(({ vector }) => compare(vector, from) === 'same');
    const bodies = await Promise.all(
      [mine, theirs, ...(base === undefined ? [] : [base])].map((each) => this.#whole(state.id, each, deadline)),
    );
    let source: string;
    try {
      if (!kernel.has(code)) await this.#bring(code, deadline);
      source = space.get(code, Code).source;
    } catch (error) {
      throw mergeFailed(state.id, error);
    }
    const ms = left(this.#core, deadline, `merging object ${state.id}`);
    const merged = await (this.#merger as Merger)(
      { id: state.id, source, mine: bodies[0] as Uint8Array, theirs: bodies[1] as Uint8Array, base: bodies[2] },
      Math.min(ms, MERGE_MS),
    );
    const sections = splitSections(merged);
    // What it takes to merge it again goes along.
    if (kernel.has(code)) sections.push(sectionOf(kernel.open(code)));
    return this.#asVersion(state.id, joined(mine.vector, theirs.vector), joinSections(sections), clock.now() + CALL_MS);
  }

  /** Puts a version in the place of what is here; false where something was stored to that meanwhile. */
  async #adopt(state: State, version: Version, deadline: number): Promise<boolean> {
    const { space } = this.#core;
    const { kernel } = space;
    const sections = splitSections(await this.#whole(state.id, version, deadline));
    this.#refresh(state);
    const { vector, hash } = version;
    const entered = run(kernel, () => {
      if (kernel.has(state.id) && this.#isChanged(state)) return false;
      const there = new Set<ObjectId>();
      for (const words of sections) there.add(sectionHead(words).id);
      for (const words of sections) applySection(kernel, words);
      for (const id of state.members) if (!there.has(id) && kernel.has(id)) forsakeReplica(kernel, kernel.open(id));
      this.#store(state, { vector, hash, rest: '' });
      return true;
    });
    if (!entered) return false;
    this.#refresh(state);
    // What is stored from here on is told apart from it.
    Object.assign(state, { vector, hash, rest: restOf(space, state) });
    this.#note(state, state);
    kernel.log.pace();
    kernel.checkpointer.pace();
    this.adopted++;
    return true;
  }
}

function logOf(id: ObjectId): string {
  return `versions.${id}`;
}

function mergeOf(h: Handle): ObjectId {
  if (h.cold) h.reach();
  const id = readId(h.u8, META.merge);
  if (id === NULL_ID) throw new TwzError('MergeFailed', `object ${h.id} names no merge code`, { id: h.id });
  return id;
}

/**
 * Families as they come here, and come here anew.
 *
 * Invariants:
 *  1. Families that were written together are entered so that nobody sees one of them without the others: those that are here already wait
 *     for the one that comes, go on to where it was when it was sent, and not beyond.
 *  2. All of it is entered in one transaction.
 *  3. A family that was here keeps its place in the table: who holds it sees it change.
 */
import { isTwzError, TwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { OPERATION } from '../../abi/log-format.ts';
import { rememberDeleted } from '../../kernel/lifetime.ts';
import { applySection, endReplica, forsakeReplica, sectionHead, wordsOf, type Section } from '../../kernel/sections.ts';
import { run } from '../../kernel/transaction.ts';
import { chunksOf, getFromChunks } from './chunks.ts';
import { left, type Core } from './core.ts';
import type { LogRecord } from './engine.ts';
import { factsOf, Family, meet } from './families.ts';
import { decodeRecord, RECORD_KIND, splitSections, type FamilyRecord } from './record.ts';
import type { Replicas } from './replicas.ts';

const PAUSE_MS = 10;

export interface Arrival {
  /** As it is told by who sent it; not yet in the table. */
  readonly family: Family;
  readonly sections: Section[];
  /** It is here already, so far in its log: this is what it takes to go on. */
  readonly from?: number;
  /** It was deleted, its log says. */
  ended?: boolean;
}

export class Arrivals {
  readonly #core: Core;
  readonly #replicas: Replicas;
  /** Families that went astray, and that nobody has: what was written together with them comes without them. */
  readonly hopeless = new Set<ObjectId>();
  onEntered: (family: Family) => void = () => undefined;
  /** What was here was deleted by that node. */
  onEnded: (family: Family, by: string) => void = () => undefined;

  constructor(core: Core, replicas: Replicas) {
    this.#core = core;
    this.#replicas = replicas;
  }

  /** Enters them as soon as they fit what is here, without those that were deleted meanwhile. `others`: sections of what is no family. Throws TimedOut, Stale. */
  async enter(given: readonly Arrival[], others: readonly Section[], deadline: number): Promise<Family[]> {
    const { table } = this.#core;
    const held = new Set<ObjectId>();
    let arrivals = given;
    const anew = given.some(({ family }) => table.byId.get(family.id)?.astray === true);
    try {
      for (;;) {
        // What went on by itself meanwhile is looked at anew.
        arrivals = arrivals.filter(({ family, from }) => from === undefined || table.byId.get(family.id)?.seq === from);
        for (const { family } of arrivals) held.add(family.id);
        for (const { family } of arrivals) this.#replicas.hold(family.id, family.group);
        const old = arrivals.filter((each) => this.#isOld(each, arrivals));
        if (old.length > 0) {
          for (const each of old) if (!(await this.advance(each, deadline))) await this.#core.pause(PAUSE_MS);
          left(this.#core, deadline, 'entering an object');
          continue;
        }
        const behind = this.#behind(arrivals);
        if (behind === undefined) break;
        if (behind.family.astray) {
          // It comes anew itself: together with what comes anew, and before what comes for the first time.
          if (anew) throw new TwzError('Stale', `object ${behind.family.id} went astray meanwhile`, { id: behind.family.id });
          await this.#core.pause(PAUSE_MS);
        } else if (behind.family.role === 'owner') await this.#replicas.onDoubt(behind.family, deadline);
        // What is here and comes anew cannot go on with it: they go on in one step.
        else if (arrivals.some(({ family }) => table.byId.has(family.id)))
          arrivals = [...arrivals, await this.#goingOn(behind.family, deadline)];
        else await this.#replicas.reachGroup(behind.family, behind.group, deadline);
        left(this.#core, deadline, 'entering an object');
      }
      // What was written together is wrong together.
      if (anew && [...table.byId.values()].some(({ id, astray }) => astray && !held.has(id) && !this.hopeless.has(id)))
        throw new TwzError('Stale', 'more went astray meanwhile');
      return this.#enterNow(arrivals, others);
    } finally {
      for (const id of held) this.#replicas.letGo(id);
    }
  }

  /** A family that is here, as far as its log leads now. */
  async #goingOn(known: Family, deadline: number): Promise<Arrival> {
    const family = new Family(known.id, 'replica', known.owner);
    Object.assign(family, factsOf(known), { based: known.based });
    const arrival: Arrival = { family, sections: [], from: known.seq };
    await this.advance(arrival, deadline);
    return arrival;
  }

  /** Something that is here was written together with what was published of it since. */
  #isOld({ family: { id, group } }: Arrival, arrivals: readonly Arrival[]): boolean {
    const others = new Set(arrivals.map(({ family }) => family.id));
    for (const other of this.#core.table.metBy(id))
      if (!others.has(other.id) && !other.astray && (other.met.get(id) ?? 0) > group) return true;
    return arrivals.some(({ family }) => (family.met.get(id) ?? 0) > group);
  }

  /** Something that is here must go on first. */
  #behind(arrivals: readonly Arrival[]): { readonly family: Family; readonly group: number } | undefined {
    const { table, space } = this.#core;
    const others = new Set(arrivals.map(({ family }) => family.id));
    for (const { family: each } of arrivals)
      for (const [id, group] of each.met) {
        const family = table.byId.get(id);
        if (family === undefined || others.has(id) || this.hopeless.has(id) || family.group >= group || !space.kernel.has(id)) continue;
        return { family, group };
      }
    return undefined;
  }

  /** Brings it to the end of its log, before it is entered, or finds that it was deleted; false where it is there. Throws Stale where its log does not lead on from it. */
  async advance(arrival: Arrival, deadline: number): Promise<boolean> {
    const { family } = arrival;
    const { engine } = this.#core;
    const read = (): Promise<LogRecord[]> => engine.read(family.log, family.seq + 1, left(this.#core, deadline, 'reading a log'));
    for (let records = await read(); ;) {
      const last = records.at(-1);
      if (last === undefined) return false;
      if (this.#ends(arrival, last)) return true;
      if (arrival.sections.length === 0) records = fromLastBase(this.#core, family, records);
      try {
        await this.#follow(arrival, records, deadline);
        return true;
      } catch (error) {
        if (!isTwzError(error, 'EngineCorrupt')) throw error;
        // Its chunks go when it has ended, and when its log was begun anew.
        const failed = records.find(({ seq }) => seq > family.seq);
        arrival.sections.length = 0;
        records = await read();
        const now = records.at(-1);
        if (now !== undefined && this.#ends(arrival, now)) return true;
        if (fromLastBase(this.#core, family, records)[0]?.seq === failed?.seq) throw error;
      }
    }
  }

  /** Notes that it was deleted, where that is its end. */
  #ends(arrival: Arrival, { seq, bytes }: LogRecord): boolean {
    const { family } = arrival;
    const { kind, epoch, group, owner, hash, partners } = decodeRecord(this.#core.space.kernel.host, family.log, bytes);
    if (kind !== RECORD_KIND.end) return false;
    Object.assign(family, { epoch, group, owner, hash, seq, met: meet(family.met, partners) });
    arrival.ended = true;
    return true;
  }

  async #follow({ family, sections }: Arrival, records: readonly LogRecord[], deadline: number): Promise<void> {
    const { space } = this.#core;
    for (const { seq, bytes } of records) {
      const record = decodeRecord(space.kernel.host, family.log, bytes);
      const { kind, epoch, group, owner, hash, partners } = record;
      const whole = kind === RECORD_KIND.base && (group !== family.group || sections.length === 0);
      if (kind !== RECORD_KIND.base && record.before !== family.hash)
        throw new TwzError('Stale', `${family.log} does not lead on from what came`, { log: family.log });
      if (whole) sections.length = 0;
      if (whole || kind !== RECORD_KIND.base)
        for (const words of await sectionsOf(this.#core, family.id, record, deadline)) sections.push(words);
      Object.assign(family, {
        epoch,
        group,
        owner,
        hash,
        seq,
        met: meet(family.met, partners),
        based: family.based || kind === RECORD_KIND.base,
      });
    }
  }

  #enterNow(arrivals: readonly Arrival[], others: readonly Section[]): Family[] {
    const { space, table } = this.#core;
    const { kernel } = space;
    this.#replicas.quietly(() =>
      run(kernel, () => {
        for (const section of others) applySection(kernel, section);
        for (const { family, sections, from, ended } of arrivals) {
          const known = table.byId.get(family.id);
          if (ended === true) {
            for (const id of known?.members ?? []) if (kernel.has(id)) endReplica(kernel, kernel.open(id));
            rememberDeleted(kernel, family.id);
            table.erase(family);
            continue;
          }
          const made = new Set<ObjectId>();
          for (const section of sections) {
            const { id, operation } = sectionHead(wordsOf(section));
            if (operation === OPERATION.create) made.add(id);
            applySection(kernel, section);
          }
          for (const id of from === undefined ? (known?.members ?? []) : [])
            if (!made.has(id) && kernel.has(id)) forsakeReplica(kernel, kernel.open(id));
          table.store(factsOf(family));
        }
      }),
    );
    for (const { family, ended } of arrivals) {
      const known = table.byId.get(family.id);
      if (ended === true && known !== undefined) this.onEnded(known, family.owner);
    }
    return arrivals
      .filter(({ ended }) => ended !== true)
      .map(({ family }) => {
        const known = table.byId.get(family.id);
        if (known === undefined) {
          table.add(family);
          this.onEntered(family);
          return family;
        }
        Object.assign(known, factsOf(family), { based: family.based, astray: false });
        table.meet(known, family.met);
        table.refresh(known);
        this.onEntered(known);
        return known;
      });
  }
}

/**
 * What is in a log from its last base on: that has all of what was before. Records that the base took the place of may be there again when the
 * server was killed, without the chunks that they name.
 */
export function fromLastBase({ space }: Core, { log }: Pick<Family, 'log'>, records: readonly LogRecord[]): LogRecord[] {
  const at = records.findLastIndex(({ bytes }) => decodeRecord(space.kernel.host, log, bytes).kind === RECORD_KIND.base);
  return records.slice(Math.max(0, at));
}

/** What a record changes. */
export async function sectionsOf(core: Core, id: ObjectId, { kind, epoch, body }: FamilyRecord, deadline: number): Promise<Int32Array[]> {
  if (kind === RECORD_KIND.redo) return splitSections(body);
  if (kind === RECORD_KIND.base || kind === RECORD_KIND.redoInChunks)
    return splitSections(await getFromChunks(core, chunksOf({ id, epoch }), body, deadline));
  return [];
}

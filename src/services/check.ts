/**
 * Check: reads a whole space and verifies every invariant of the formats, object by object and between objects.
 *
 *   control file, log, directories     check/image.ts      what recovery would give, without changing anything
 *   one object's bytes                 check/object.ts     header, page map, allocator, FOT, root
 *   between objects                    here                targets, ties, names
 *   typed data                         check/typed.ts      every pointer that the schema text tells
 *
 * The space must not be open anywhere: the check holds its lock. Mending is in check/repair.ts.
 */
import { FLAG, META, PAGE } from '../abi/format.ts';
import { isTwzError, TwzError } from '../abi/errors.ts';
import { NULL_ID, type ObjectId } from '../abi/id.ts';
import { holdSpace } from '../host/hold.ts';
import type { Host } from '../host/host.ts';
import { CONTROL_FILE } from './check/control.ts';
import { Findings, type Finding, type FindingName } from './check/findings.ts';
import { SpaceImage } from './check/image.ts';
import { NamesWalk, WELL_KNOWN, wellKnownId } from './check/names.ts';
import { checkObject, factsOf, type ObjectFacts } from './check/object.ts';
import { TypedWalk, type DamagedCollection } from './check/typed.ts';
import { repair, type RepairOptions, type RepairStep } from './check/repair.ts';

export interface CheckOptions {
  /** Called as objects are done. */
  readonly progress?: (done: number, total: number) => void;
  /** Called as typed data is walked. */
  readonly structs?: (done: number) => void;
  /** Mend what can be mended without guessing. */
  readonly repair?: RepairOptions | undefined;
}

export interface CheckReport {
  readonly space: string | undefined;
  readonly objects: number;
  readonly bytes: number;
  /** Committed transactions in the log that the object files may not have yet. */
  readonly transactions: number;
  readonly pointers: number;
  readonly names: number;
  readonly findings: readonly Finding[];
  readonly counts: Readonly<Partial<Record<FindingName, number>>>;
  readonly errors: number;
  readonly warnings: number;
  readonly notes: number;
  readonly repaired: readonly RepairStep[];
}

/** The directory must look like a space at all; then the lock is taken. */
export function lockSpace(host: Host, directory: string): { release(): void } {
  const looksLikeOne =
    host.exists(`${directory}/${CONTROL_FILE}`) || (host.exists(`${directory}/objects`) && host.exists(`${directory}/log`));
  if (!looksLikeOne) throw new TwzError('SpaceMissing', `${directory} holds no space`, { directory });
  return holdSpace(host, directory);
}

export function checkSpace(host: Host, directory: string, options: CheckOptions = {}): CheckReport {
  const lock = lockSpace(host, directory);
  try {
    const first = new Checker(host, directory).run(options.progress, options.structs);
    if (options.repair === undefined) return first.report([]);
    const steps = repair(first.image, first.findings, options.repair);
    // What is left is found by looking again, not by believing the repair.
    return new Checker(host, directory).run(options.progress, options.structs).report(steps);
  } finally {
    lock.release();
  }
}

/** Objects of which facts are kept while others refer into them. */
const CACHE_BYTES = 256 << 20;
/** IDs that a space remembers of those deleted last. */
const DELETED_MAX = 1024;

export class Checker {
  readonly findings = new Findings();
  readonly image: SpaceImage;
  readonly #ids: ReadonlySet<ObjectId>;
  readonly #cache = new Map<ObjectId, ObjectFacts>();
  #cached = 0;
  /** Objects checked so far, and whether their headers can be trusted. */
  readonly #usable = new Map<ObjectId, boolean>();
  #bytes = 0;
  #deleted: ReadonlySet<ObjectId> | undefined;
  readonly #walk = new TypedWalk(this);
  readonly #names = new NamesWalk(this);

  constructor(host: Host, directory: string) {
    this.image = new SpaceImage(host, directory, this.findings);
    this.#ids = new Set(this.image.ids());
  }

  run(progress?: CheckOptions['progress'], structs?: CheckOptions['structs']): this {
    for (const id of this.image.withoutFile()) {
      this.findings.add('LogObjectMissing', 'the log changes it, and neither a file nor the log has the rest', { object: id, file: 'log' });
    }
    let done = 0;
    for (const id of this.#ids) {
      this.#object(id);
      progress?.(++done, this.#ids.size);
    }
    this.#walk.run(structs);
    if (this.image.control !== undefined) this.#names.run(this.image.host, this.image.control.space);
    return this;
  }

  /** Collections in which something is wrong. */
  get damaged(): readonly DamagedCollection[] {
    return this.#walk.damaged;
  }

  get ids(): ReadonlySet<ObjectId> {
    return this.#ids;
  }

  // --- objects ------------------------------------------------------------------------------------------------------------

  #read(id: ObjectId): { bytes: Uint8Array; stamped: boolean } | undefined {
    try {
      return this.image.object(id);
    } catch (error) {
      if (!isTwzError(error)) throw error;
      this.findings.add('FileUnreadable', error.message, { object: id, file: this.image.files.get(id) });
      return undefined;
    }
  }

  #object(id: ObjectId): void {
    const read = this.#read(id);
    if (read === undefined) return;
    this.#bytes += read.bytes.length;
    if (read.bytes.length < PAGE) {
      this.findings.add('FileEmpty', `the file has ${read.bytes.length} bytes`, {
        object: id,
        at: read.bytes.length,
        expected: `at least ${PAGE}`,
      });
      return;
    }
    const facts = checkObject(this.image.host, id, read.bytes, this.findings, { stamped: read.stamped });
    this.#usable.set(id, facts.usable);
    if (!facts.usable) return;
    this.#keep(id, facts);
    this.#lifetime(id, facts);
    this.#targets(id, facts);
    this.#walk.root(id, facts);
  }

  #keep(id: ObjectId, facts: ObjectFacts): void {
    this.#cache.delete(id);
    this.#cache.set(id, facts);
    this.#cached += facts.image.bytes.length;
    for (const [old, { image }] of this.#cache) {
      if (this.#cached <= CACHE_BYTES || old === id) break;
      this.#cache.delete(old);
      this.#cached -= image.bytes.length;
    }
  }

  /** The facts of an object that others refer to; undefined where it cannot be used. Its own findings are reported elsewhere. */
  facts(id: ObjectId): ObjectFacts | undefined {
    const known = this.#cache.get(id);
    if (known !== undefined) return known;
    if (!this.#ids.has(id) || this.#usable.get(id) === false) return undefined;
    let read;
    try {
      read = this.image.object(id);
    } catch (error) {
      if (isTwzError(error)) return undefined;
      throw error;
    }
    if (read === undefined || read.bytes.length < PAGE) return undefined;
    const facts = this.#usable.has(id)
      ? factsOf(this.image.host, id, read.bytes)
      : checkObject(this.image.host, id, read.bytes, new Findings(), { stamped: read.stamped });
    if (!facts.usable) return undefined;
    this.#keep(id, facts);
    return facts;
  }

  #lifetime(id: ObjectId, { image }: ObjectFacts): void {
    let kept = false;
    for (const [i, tie] of image.ties.entries()) {
      if (this.#ids.has(tie)) kept = true;
      else if (tie !== NULL_ID && (image.u32(META.flags) & FLAG.deleted) === 0) {
        this.findings.add('TieDangling', `tied to ${tie}, which is not in the space`, {
          object: id,
          at: META.ties + i * 16,
          expected: 'an object of the space',
        });
      }
    }
    if ((image.u32(META.flags) & FLAG.deleted) !== 0 && !kept) {
      this.findings.add('DeletedLeft', 'marked deleted, and nothing that it is tied to is left', { object: id, at: META.flags });
    }
  }

  #targets(id: ObjectId, { image }: ObjectFacts): void {
    for (const entry of image.fotEntries()) {
      if (entry.id === undefined || entry.id === NULL_ID || this.#ids.has(entry.id)) continue;
      if (this.wasDeleted(entry.id))
        this.findings.add('FotDeleted', `entry ${entry.index} leads to ${entry.id}, which was deleted`, { object: id, at: entry.at });
      else
        this.findings.add('FotDangling', `entry ${entry.index} leads to ${entry.id}, which is not in the space`, {
          object: id,
          at: entry.at,
          expected: 'an object of the space',
        });
    }
  }

  /** Was the object deleted on purpose, as far as the space remembers? */
  wasDeleted(id: ObjectId): boolean {
    this.#deleted ??= this.#readDeleted();
    return this.#deleted.has(id) || this.image.removed(id);
  }

  /** The space's list: a count, then up to 1024 IDs from 16 bytes on, at the root of its object number 1. */
  #readDeleted(): Set<ObjectId> {
    const deleted = new Set<ObjectId>();
    const { control, host } = this.image;
    const facts = control === undefined ? undefined : this.facts(wellKnownId(host, control.space, WELL_KNOWN.system));
    if (facts === undefined) return deleted;
    const root = facts.image.u32(META.root);
    const count = Math.min(DELETED_MAX, facts.image.u32(root));
    for (let i = 0; i < count; i++) deleted.add(facts.image.idAt(root + 16 + i * 16));
    return deleted;
  }

  // --- report -------------------------------------------------------------------------------------------------------------

  report(repaired: readonly RepairStep[]): CheckReport {
    const { findings, image } = this;
    return {
      space: image.control?.space,
      objects: this.#ids.size,
      bytes: this.#bytes,
      transactions: image.transactions,
      pointers: this.#walk.pointers,
      names: this.#names.names,
      findings: findings.list,
      counts: Object.fromEntries(findings.counts),
      errors: findings.of('error'),
      warnings: findings.of('warning'),
      notes: findings.of('note'),
      repaired,
    };
  }
}

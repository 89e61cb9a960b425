/**
 * What a node knows of the families that it shares with others: an object and the parts that its collections go on in are one family, with
 * one log in the engine and one owner. It is kept in an object of the space, and changed in the transactions that it tells of: what was
 * applied, and how far that is, are never told apart by a crash.
 */
import { crc32c } from '../../abi/crc32c.ts';
import { FOT_FLAG, KIND } from '../../abi/format.ts';
import type { ObjectId } from '../../abi/id.ts';
import { isId } from '../../abi/id.ts';
import { FAMILIES_PATH } from '../../kernel/afar.ts';
import { idsWith } from '../../kernel/fot.ts';
import type { Handle } from '../../kernel/object.ts';
import { hashMap } from '../../lib/collections/hash-map.ts';
import { f64, oneOf, text, u32 } from '../../lib/fields.ts';
import { struct, type Infer } from '../../lib/struct.ts';
import type { Space } from '../../space.ts';
import { NO_HASH, type Partner } from './record.ts';
import { ownTable } from './tables.ts';

const FamilyState = struct('ClusterFamily', {
  role: oneOf('owner', 'replica'),
  /** ID of the node that owns it. */
  owner: text,
  epoch: u32,
  group: f64,
  /** Place of the last record that is applied. */
  seq: f64,
  hash: text,
  /** Families that records of it were written together with: ID and group, one behind the other, with spaces between. */
  met: text,
  /** What its objects were when the node that owns it ended in order; empty while it runs. */
  rest: text,
});
const Families = hashMap(text, FamilyState);
/** Of so many families that it was written together with it is known how far they must be. */
const MET_MAX = 64;

export { ownTable };

/** Families that records were written together with, and the group that their record had: who has both has that, or neither. */
export type Met = ReadonlyMap<ObjectId, number>;

export function meet(met: Met, partners: readonly { readonly family: ObjectId; readonly group: number }[]): Met {
  if (partners.length === 0) return met;
  const now = new Map(met);
  for (const { family, group } of partners) {
    const before = now.get(family) ?? 0;
    now.delete(family);
    now.set(family, Math.max(before, group));
  }
  for (const first of now.keys()) {
    if (now.size <= MET_MAX) break;
    now.delete(first);
  }
  return now;
}

/** The same as a record says it. */
export function partnersOf(met: Met): Partner[] {
  return [...met].map(([family, group]) => ({ family, group }));
}

export function textOfMet(met: Met): string {
  return [...met].map(([id, group]) => `${id} ${group}`).join(' ');
}

export function metIn(told: string): Met {
  const words = told.split(' ');
  const met = new Map<ObjectId, number>();
  for (let i = 0; i + 1 < words.length; i += 2) {
    const [id, group] = [words[i] ?? '', Number(words[i + 1])];
    if (isId(id) && Number.isSafeInteger(group)) met.set(id, group);
  }
  return met;
}

/** A family that is shared, in memory. */
export class Family {
  readonly id: ObjectId;
  role: 'owner' | 'replica';
  owner: string;
  epoch: number;
  group: number;
  seq: number;
  hash: string;
  /** The objects that it is of. */
  readonly members = new Set<ObjectId>();
  /** The engine has a base of it: it can be had when no node has it. */
  based = false;
  /** Bytes that its log has got behind its last base, since this node owns it. */
  logged = 0;
  /** When it came here, by the host's clock: it is not given away at once. */
  since = 0;
  /** What is here is not what its log says: nobody follows it or makes it its own before it was got anew. */
  astray = false;
  /** How often it went astray. */
  strayed = 0;
  met: Met = new Map();
  /** What its objects were when this node ended in order, and all of it was published: see `restOf`. */
  rest = '';

  constructor(id: ObjectId, role: 'owner' | 'replica', owner: string) {
    this.id = id;
    this.role = role;
    this.owner = owner;
    this.epoch = this.group = this.seq = 0;
    this.hash = NO_HASH;
  }

  get log(): string {
    return `log.${this.id}`;
  }
}

/** What is stored of it. */
export type FamilyFacts = Pick<Family, 'id' | 'role' | 'owner' | 'epoch' | 'group' | 'seq' | 'hash' | 'met'>;

export function factsOf({ id, role, owner, epoch, group, seq, hash, met }: Family): FamilyFacts {
  return { id, role, owner, epoch, group, seq, hash, met };
}

/** Do objects of that kind have an owner, and a log? */
export function isOwnedKind(kind: number): boolean {
  return kind === KIND.owned || kind === KIND['append-only'];
}

/** The family's first object: the one that none goes on in. */
export function rootOfFamily(space: Space, h: Handle): Handle {
  let root = h;
  for (let depth = 0; depth < 64; depth++) {
    const { owner } = root;
    if (owner === undefined || !space.kernel.has(owner)) return root;
    root = space.kernel.open(owner);
  }
  return root;
}

/** Bytes of those of the objects that are here. */
export function bytesOf({ kernel }: Space, ids: Iterable<ObjectId>): number {
  let bytes = 0;
  for (const id of ids) if (kernel.has(id)) bytes += kernel.open(id).size;
  return bytes;
}

/** IDs of an object and its parts. */
export function membersOf(h: Handle): ObjectId[] {
  const ids = [h.id];
  for (const id of ids) {
    if (!h.kernel.has(id)) continue;
    const each = h.kernel.open(id);
    if (each.cold) each.reach();
    ids.push(...idsWith(each, FOT_FLAG.part));
  }
  return ids;
}

/** Tells whether anything of the family was stored to since: a checksum of the versions of its objects. */
export function restOf({ kernel }: Space, { members }: Pick<Family, 'members'>): string {
  const ids = [...members].filter((id) => kernel.has(id)).sort();
  const words = ids.flatMap((id) => {
    const { idWords, version } = kernel.open(id);
    return [...idWords, version | 0, version / 2 ** 32];
  });
  return crc32c(Int32Array.from(words), 0, words.length, ids.length).toString(16);
}

export class FamilyTable {
  readonly #space: Space;
  readonly #table: Infer<typeof Families>;
  readonly byId = new Map<ObjectId, Family>();
  /** The family that an object is of. */
  readonly byMember = new Map<ObjectId, Family>();
  readonly #metBy = new Map<ObjectId, Set<ObjectId>>();

  constructor(space: Space) {
    this.#space = space;
    this.#table = ownTable(space, FAMILIES_PATH, Families);
    for (const [id, state] of this.#table) {
      // What was deleted here may have to be told to others yet; or it does not count, and is to be had again.
      if (!isId(id) || (!space.has(id) && state.role === 'replica' && state.seq >= 0)) continue;
      const family = new Family(id, state.role, state.owner);
      family.epoch = state.epoch;
      family.group = state.group;
      family.seq = state.seq;
      family.hash = state.hash;
      family.met = metIn(state.met);
      family.rest = state.rest;
      family.astray = state.role === 'replica' && state.seq < 0;
      this.add(family);
    }
  }

  /** A family that is shared from now on. Outside a transaction: `store` it in the one that makes it so. */
  add(family: Family): void {
    this.byId.set(family.id, family);
    this.meet(family, family.met);
    this.refresh(family);
  }

  /** Looks which objects it is of. */
  refresh(family: Family): void {
    const { kernel } = this.#space;
    for (const id of family.members) this.byMember.delete(id);
    family.members.clear();
    if (!kernel.has(family.id)) return;
    for (const id of membersOf(kernel.open(family.id))) {
      family.members.add(id);
      this.byMember.set(id, family);
    }
  }

  drop(family: Family): void {
    this.byId.delete(family.id);
    for (const id of family.members) this.byMember.delete(id);
    for (const id of family.met.keys()) {
      const known = this.#metBy.get(id);
      known?.delete(family.id);
      if (known?.size === 0) this.#metBy.delete(id);
    }
  }

  /** Is this what the table has of it, and not one that went and came again meanwhile? */
  has(family: Family): boolean {
    return this.byId.get(family.id) === family;
  }

  /** Families here that say how far that one must be. */
  metBy(id: ObjectId): Family[] {
    return [...(this.#metBy.get(id) ?? [])].map((each) => this.byId.get(each)).filter((each) => each !== undefined);
  }

  /** It was written together with those. */
  meet(family: Family, met: Met): void {
    family.met = met;
    for (const id of met.keys()) {
      const known = this.#metBy.get(id);
      if (known === undefined) this.#metBy.set(id, new Set([family.id]));
      else known.add(family.id);
    }
  }

  /** Inside a transaction. */
  store({ id, role, owner, epoch, group, seq, hash, met }: FamilyFacts, rest = ''): void {
    this.#table.set(id, { role, owner, epoch, group, seq, hash, met: textOfMet(met), rest });
  }

  /** As `store`, of what goes. */
  erase({ id }: Pick<Family, 'id'>): void {
    this.#table.delete(id);
  }
}

/**
 * Creation, copies, deletion, ties.
 *
 * The system object, whose ID follows from the space's, remembers two things: in its FOT the objects that are deleted but kept by a
 * tie, and in a ring the IDs of those deleted last, so that following a reference to one says "deleted" rather than "missing".
 */
import { TwzError, assert } from '../abi/errors.ts';
import {
  FLAG,
  FOT_FLAG,
  KIND,
  META,
  OBJECT_FORMAT,
  OBJECT_MAGIC,
  OBJECT_SIZE_MAX,
  OBJECT_SIZE_MIN,
  PAGE,
  PAGE_KIND,
  RIGHTS_ALL,
  TIES_MAX,
  type Kind,
} from '../abi/format.ts';
import { demandRead, demandRight } from '../abi/handle.ts';
import { readId, writeId, type ObjectId } from '../abi/id.ts';
import { BACKUPS_FILE } from '../abi/log-format.ts';
import { demandOwned, isReplica } from './afar.ts';
import { allocatePages } from './allocator.ts';
import { fotEntries, idsWith, redirect, referTo, settleCounts, unreferEntry } from './fot.ts';
import { contentNonce, deriveId } from './identity.ts';
import type { Kernel } from './kernel.ts';
import { Handle } from './object.ts';
import { beginShared, demandUnshared } from './shared-object.ts';
import { enter, secure, type Transaction } from './transaction.ts';
import type { Slot } from './windows.ts';

export interface CreateOptions {
  readonly kind?: Kind;
  /** Goes when nothing reachable refers to it and the space reclaims. */
  readonly counted?: boolean;
  /** Default rights: bits of RIGHT. */
  readonly rights?: number;
  /** Room to reserve, in bytes: the object does not move until it outgrows it. */
  readonly reserve?: number;
  /** ID of the verifying-key object. */
  readonly key?: ObjectId;
  /** Of a progressive object: ID of the code object that merges two versions of it. */
  readonly merge?: ObjectId;
}

const NO_KEY = new Uint8Array(16);

function running(kernel: Kernel, what: string): Transaction {
  const { transaction } = kernel;
  if (transaction === undefined) throw new TwzError('NotInTransaction', `${what} outside a transaction`);
  return transaction;
}

/** A fresh handle with zeroed memory of `size` bytes, part of the running transaction. */
function fresh(kernel: Kernel, transaction: Transaction, id: ObjectId, size: number, reserve: number): Handle {
  const h = vacant(kernel, id);
  const slot = kernel.takeSlot(Math.max(size, reserve));
  begin(kernel, transaction, h, slot, size);
  h.rights = RIGHTS_ALL;
  h.kind = KIND.owned;
  return h;
}

/** The handle for an object that is about to be made. */
function vacant(kernel: Kernel, id: ObjectId): Handle {
  const h = kernel.handle(id);
  if (h.state === 'deleting')
    throw new TwzError('ObjectDeleted', `object ${id} was deleted by this transaction; another can make it anew`, { id });
  assert(h.slot === undefined, 'a fresh object that is mapped');
  secure(kernel, h);
  return h;
}

/** From here on the object exists, for the running transaction. */
function begin(kernel: Kernel, transaction: Transaction, h: Handle, slot: Slot, size: number): void {
  h.state = 'live';
  h.fresh = true;
  h.verified = true;
  h.version = 0;
  h.place(slot, size);
  h.cold = false;
  kernel.link(h);
  enter(kernel, transaction, h);
}

/** Takes the creation of an object back that could not be completed: nothing refers to it yet. */
export function forsake(h: Handle): void {
  h.state = 'deleting';
  h.hide();
}

export function createObject(kernel: Kernel, options: CreateOptions = {}, wellKnown?: Uint8Array): Handle {
  const transaction = running(kernel, 'an object was created');
  const kind = KIND[options.kind ?? 'owned'];
  const rights = options.rights ?? RIGHTS_ALL;
  const reserve = options.reserve ?? 0;
  if (kind === KIND.immutable) throw new TwzError('InvalidArgument', 'an immutable object is made from another with `seal`');
  if (!(reserve >= 0 && reserve <= OBJECT_SIZE_MAX))
    throw new TwzError('ObjectTooLarge', `cannot reserve ${reserve} bytes; the limit is ${OBJECT_SIZE_MAX}`, { reserve });
  if (options.merge !== undefined && kind !== KIND.progressive)
    throw new TwzError('InvalidArgument', 'merge code is named by progressive objects alone');
  const nonce = wellKnown ?? kernel.random(16);
  const key = new Uint8Array(16);
  if (options.key !== undefined) writeId(key, 0, options.key);
  const id = deriveId(kernel.host, nonce, key, rights, kind);
  const h = fresh(kernel, transaction, id, OBJECT_SIZE_MIN, reserve);
  h.markRange(0, META.classes);
  const { dv, u8 } = h;
  dv.setUint32(META.magic, OBJECT_MAGIC, true);
  dv.setUint32(META.format, OBJECT_FORMAT, true);
  writeId(u8, META.id, id);
  u8.set(nonce, META.nonce);
  u8.set(key, META.key);
  dv.setUint32(META.rights, rights, true);
  dv.setUint32(META.kind, kind, true);
  dv.setUint32(META.size, OBJECT_SIZE_MIN, true);
  dv.setUint32(META.flags, options.counted === true ? FLAG.counted : 0, true);
  dv.setUint32(META.fotCount, 1, true);
  dv.setUint32(META.pageHint, 1, true);
  if (options.merge !== undefined) {
    h.markRange(META.merge, 16);
    writeId(u8, META.merge, options.merge);
  }
  h.mark(META.pageMap);
  dv.setUint16(META.pageMap, PAGE_KIND.meta, true);
  h.kind = kind;
  h.rights = rights;
  if (kind === KIND.shared) beginShared(h);
  return h;
}

/** The well-known nonce number `n` of a space. */
export function wellKnownNonce(kernel: Kernel, n: number): Uint8Array {
  const nonce = kernel.spaceId.slice();
  nonce[15] = (nonce[15] ?? 0) ^ n;
  return nonce;
}

export function wellKnownId(kernel: Kernel, n: number): ObjectId {
  return deriveId(kernel.host, wellKnownNonce(kernel, n), NO_KEY, RIGHTS_ALL, KIND.owned);
}

// --- copies -----------------------------------------------------------------------------------------------------------------

/** Memory that shows what `from` shows now; file pages stay shared until one side stores to them. */
function duplicate(kernel: Kernel, from: Handle, id: ObjectId): Handle {
  const transaction = running(kernel, 'an object was copied');
  const h = vacant(kernel, id);
  // Raw stores so far are stores of this transaction.
  from.raw?.collect();
  const size = from.size;
  from.pins++;
  try {
    const slot = kernel.takeSlot(size);
    try {
      kernel.setMapped(h, kernel.copyImage(from, slot, size, 'current'));
      if (h.fileMapped) (from.copies ??= new Set()).add(h);
    } catch (error) {
      kernel.windows.give(slot, true);
      throw error;
    }
    begin(kernel, transaction, h, slot, size);
    h.whole = true;
    return h;
  } finally {
    from.pins--;
  }
}

/** What an object of some kind has in its header for that: another kind has none of it. */
function forgetKind(bytes: Uint8Array, kind: number): void {
  bytes.fill(0, META.tail, META.ledger + 4);
  if (kind !== KIND.progressive) bytes.fill(0, META.merge, META.merge + 16);
}

/** A new object with the same content: owned unless told otherwise, and progressive where `from` is. */
export function copyObject(kernel: Kernel, from: Handle, options: CreateOptions = {}): Handle {
  if (from.cold) from.warm();
  const kind = KIND[options.kind ?? (from.kind === KIND.progressive ? 'progressive' : 'owned')];
  if (kind === KIND.immutable) throw new TwzError('InvalidArgument', 'an immutable object is made from another with `seal`');
  if (kind === KIND['append-only'])
    throw new TwzError('InvalidArgument', 'an append-only object is not made by copying: create one, and append what is to be in it');
  if (kind === KIND.shared) throw new TwzError('InvalidArgument', 'a shared object is not made by copying: create one, and copy into it');
  running(kernel, 'an object was copied');
  demandRead(from);
  settleCounts(from);
  const rights = options.rights ?? (from.kind === KIND.immutable ? RIGHTS_ALL : from.rights);
  const nonce = kernel.random(16).slice();
  const key = from.u8.slice(META.key, META.key + 16);
  const id = deriveId(kernel.host, nonce, key, rights, kind);
  const h = duplicate(kernel, from, id);
  writeId(h.u8, META.id, id);
  h.u8.set(nonce, META.nonce);
  h.dv.setUint32(META.rights, rights, true);
  h.dv.setUint32(META.kind, kind, true);
  h.dv.setUint32(META.flags, (h.flags & FLAG.raw) | (options.counted === true ? FLAG.counted : 0), true);
  h.dv.setUint32(META.tieCount, 0, true);
  h.u8.fill(0, META.ties, META.ties + 16 * TIES_MAX);
  h.u8.fill(0, META.owner, META.owner + 16);
  forgetKind(h.u8, kind);
  if (options.merge !== undefined) writeId(h.u8, META.merge, options.merge);
  h.kind = kind;
  h.rights = rights;
  return h;
}

export interface SealOptions {
  /** A part of another sealed object: it goes when nothing refers to it any more. */
  readonly part: boolean;
  /** What stands in the place of objects that were sealed before. */
  readonly to: ReadonlyMap<ObjectId, Handle>;
  /** Gets what was not there. */
  readonly made: Handle[];
}

/** An immutable object with the content that `from` has now. The same content gives the same ID, and then the object that is there. */
export function sealObject(kernel: Kernel, from: Handle, options?: SealOptions): Handle {
  running(kernel, 'an object was sealed');
  if (from.cold) from.warm();
  if (from.kind === KIND.immutable) return from;
  demandRead(from);
  settleCounts(from);
  const bytes = from.u8.slice();
  const view = new DataView(bytes.buffer);
  const rights = from.rights & ~2;
  view.setUint32(META.rights, rights, true);
  view.setUint32(META.kind, KIND.immutable, true);
  view.setUint32(META.flags, (from.flags & FLAG.raw) | (options?.part === true ? FLAG.counted : 0), true);
  if (options !== undefined) redirect(from, bytes, options.to);
  view.setUint32(META.tieCount, 0, true);
  bytes.fill(0, META.ties, META.ties + 16 * TIES_MAX);
  bytes.fill(0, META.owner, META.owner + 16);
  forgetKind(bytes, KIND.immutable);
  const nonce = contentNonce(kernel.host, bytes);
  const key = bytes.slice(META.key, META.key + 16);
  const id = deriveId(kernel.host, nonce, key, rights, KIND.immutable);
  if (kernel.has(id)) return kernel.open(id);
  const there = kernel.handle(id);
  if (there.state === 'deleting') {
    // Deleted by this transaction, and here it is again, the same by its name.
    there.state = 'live';
    there.show();
    return there;
  }
  const h = duplicate(kernel, from, id);
  options?.made.push(h);
  h.u8.set(bytes);
  writeId(h.u8, META.id, id);
  h.u8.set(nonce, META.nonce);
  h.kind = KIND.immutable;
  h.rights = rights;
  return h;
}

/** The header of an object file of any origin, checked as at opening: throws ObjectCorrupt, ObjectForged and the like. */
export function verifyImage(kernel: Kernel, bytes: Uint8Array, id: ObjectId): Handle {
  demandLength(bytes);
  const probe = new Handle(kernel, id);
  probe.u8 = bytes.slice();
  probe.dv = new DataView(probe.u8.buffer);
  probe.words = new Int32Array(probe.u8.buffer);
  probe.size = bytes.length;
  kernel.verify(probe);
  return probe;
}

function demandLength(bytes: Uint8Array): void {
  if (bytes.length < OBJECT_SIZE_MIN || bytes.length % PAGE !== 0 || bytes.length > OBJECT_SIZE_MAX) {
    throw new TwzError(
      'ObjectCorrupt',
      `an object file of ${bytes.length} bytes; expected a multiple of ${PAGE} from ${OBJECT_SIZE_MIN} to ${OBJECT_SIZE_MAX}`,
      { length: bytes.length },
    );
  }
}

/** An object that comes back may have a version that a backup knows with another content: the next one must read everything. */
function forgetBackups(kernel: Kernel): void {
  const { host, directory } = kernel;
  kernel.imports++;
  const marks = `${directory}/${BACKUPS_FILE}`;
  if (!host.exists(marks)) return;
  host.remove(marks);
  host.syncDirectory(directory);
}

/** As `verifyImage`, for a file that could be entered. */
export function verifyFile(kernel: Kernel, bytes: Uint8Array): Handle {
  demandLength(bytes);
  const id = readId(bytes, META.id);
  if (kernel.has(id)) throw new TwzError('ObjectExists', `object ${id} is in the space already`, { id });
  return verifyImage(kernel, bytes, id);
}

/** Enters an object file of any origin under the ID that it carries. The caller gets ObjectForged and the like as from opening. */
export function importObject(kernel: Kernel, bytes: Uint8Array): Handle {
  const transaction = running(kernel, 'an object was imported');
  const probe = verifyFile(kernel, bytes);
  const { id } = probe;
  forgetBackups(kernel);
  const h = fresh(kernel, transaction, id, bytes.length, 0);
  h.whole = true;
  h.u8.set(probe.u8);
  kernel.adopt(h);
  return h;
}

/** As `importObject`, for one whose file is written to its place by `fill`: nothing is copied. `show`: is called before that. */
export function importFilled(
  kernel: Kernel,
  id: ObjectId,
  size: number,
  fill: (words: Int32Array) => void,
  show?: (h: Handle) => void,
): Handle {
  const transaction = running(kernel, 'an object was imported');
  if (kernel.has(id)) throw new TwzError('ObjectExists', `object ${id} is in the space already`, { id });
  forgetBackups(kernel);
  const h = fresh(kernel, transaction, id, size, 0);
  h.whole = true;
  show?.(h);
  fill(h.words);
  // Where it is not what it says, the transaction is undone, and the object with it.
  kernel.verify(h);
  return h;
}

// --- deletion and ties --------------------------------------------------------------------------------------------------------

const SYSTEM = 1;
const RING = 1024;

/** Reckoned once: it is asked for with each commit of a node. */
function systemId(kernel: Kernel): ObjectId {
  return (kernel.systemId ??= wellKnownId(kernel, SYSTEM));
}

function system(kernel: Kernel): Handle {
  const id = systemId(kernel);
  if (kernel.has(id)) {
    const there = kernel.handle(id);
    if (there.cold) there.fetch();
    // The kernel keeps it, whatever the rights of who runs.
    if (kernel.authority !== undefined) enter(kernel, running(kernel, 'an object was deleted'), there);
    return there;
  }
  const h = createObject(kernel, {}, wellKnownNonce(kernel, SYSTEM));
  // The ring of deleted IDs: a count, then RING x 16 bytes.
  const at = allocatePages(h, Math.ceil((16 + RING * 16) / PAGE), PAGE_KIND.largeHead);
  h.setU32(META.root, at);
  return h;
}

/** Is it the object in which the space remembers what was deleted? It is of no use anywhere else. */
export function isSystem(kernel: Kernel, id: ObjectId): boolean {
  return id === systemId(kernel);
}

/** Was this object deleted, as far as the space remembers? */
export function wasDeleted(kernel: Kernel, id: ObjectId): boolean {
  const own = systemId(kernel);
  if (id === own || !kernel.has(own)) return false;
  const h = kernel.handle(own);
  if (h.cold) h.fetch();
  const at = h.dv.getUint32(META.root, true);
  return placeInRing(h, at, id) >= 0;
}

/** Where an ID stands in the ring of the system object; less than 0: nowhere. */
function placeInRing({ dv, words }: Handle, at: number, id: ObjectId): number {
  const count = Math.min(RING, dv.getUint32(at, true));
  const wanted = new Int32Array(4);
  writeId(new Uint8Array(wanted.buffer), 0, id);
  const [a, b, c, d] = wanted;
  for (let i = 0, word = (at + 16) >> 2; i < count; i++, word += 4)
    if (words[word] === a && words[word + 1] === b && words[word + 2] === c && words[word + 3] === d) return word << 2;
  return -1;
}

/** It is there again: another node had it still. Inside a transaction. */
export function forgetDeleted(kernel: Kernel, id: ObjectId): void {
  if (!wasDeleted(kernel, id)) return;
  const h = system(kernel);
  const at = placeInRing(h, h.dv.getUint32(META.root, true), id);
  h.markRange(at, 16);
  h.u8.fill(0, at, at + 16);
}

/** From now on a reference to it says that it was deleted. Inside a transaction. */
export function rememberDeleted(kernel: Kernel, id: ObjectId): void {
  if (!wasDeleted(kernel, id)) remember(kernel, id);
}

function remember(kernel: Kernel, id: ObjectId): void {
  const h = system(kernel);
  const at = h.dv.getUint32(META.root, true);
  const count = h.dv.getUint32(at, true);
  const entry = at + 16 + (count % RING) * 16;
  h.markRange(entry, 16);
  writeId(h.u8, entry, id);
  h.setU32(at, count + 1);
}

export function ties(h: Handle): ObjectId[] {
  if (h.cold) h.reach();
  const count = Math.min(TIES_MAX, h.dv.getUint32(META.tieCount, true));
  return Array.from({ length: count }, (_, i) => readId(h.u8, META.ties + i * 16));
}

/** `h` lives at least as long as `to`. */
export function tie(h: Handle, to: Handle): void {
  if (to.cold) to.reach();
  if (h === to) throw new TwzError('InvalidArgument', `object ${h.id} cannot be tied to itself`, { id: h.id });
  const now = ties(h);
  if (now.includes(to.id)) return;
  demandUnshared(h, 'a tie');
  if (now.length === TIES_MAX) throw new TwzError('OutOfRange', `object ${h.id} is tied to ${TIES_MAX} others already`, { id: h.id });
  const at = META.ties + now.length * 16;
  h.markRange(at, 16);
  writeId(h.u8, at, to.id);
  h.setU32(META.tieCount, now.length + 1);
}

/** Undoes `tie`. If `h` was only kept by that tie, it goes. */
export function untie(kernel: Kernel, h: Handle, to: ObjectId): void {
  const left = ties(h).filter((id) => id !== to);
  if (left.length < ties(h).length) demandUnshared(h, 'untying it');
  h.markRange(META.ties, 16 * TIES_MAX);
  h.u8.fill(0, META.ties, META.ties + 16 * TIES_MAX);
  for (const [i, id] of left.entries()) writeId(h.u8, META.ties + i * 16, id);
  h.setU32(META.tieCount, left.length);
  if ((h.flags & FLAG.deleted) !== 0) settleDeleted(kernel);
}

/** Does a tie keep it? Objects that are deleted and tied to each other alone do not keep each other. */
function kept(kernel: Kernel, h: Handle, seen: Set<Handle> = new Set()): boolean {
  seen.add(h);
  return ties(h).some((id) => {
    if (!kernel.has(id)) return false;
    const to = kernel.open(id);
    return !seen.has(to) && ((to.flags & FLAG.deleted) === 0 || kept(kernel, to, seen));
  });
}

/** Deletes now, or as soon as nothing that the object is tied to is left. */
export function deleteObject(kernel: Kernel, h: Handle): 'deleted' | 'kept' {
  running(kernel, 'an object was deleted');
  h.demandLive();
  if (h.snapshot !== undefined) throw h.snapshot.refusal(h.id);
  if (h.cold) h.reach();
  if (kernel.authority !== undefined) demandRight(h, 'write');
  if (kept(kernel, h)) {
    if ((h.flags & FLAG.deleted) !== 0) return 'kept';
    demandUnshared(h, 'being deleted while a tie keeps it');
    h.setU32(META.flags, h.flags | FLAG.deleted);
    referTo(system(kernel), h);
    return 'kept';
  }
  destroy(kernel, h);
  settleDeleted(kernel);
  return 'deleted';
}

/** Deletes an object, and what it goes on in. Those of a sealed one may be parts of others, too: they are reclaimed. */
function destroy(kernel: Kernel, h: Handle): void {
  const transaction = running(kernel, 'an object was deleted');
  const doomed = [h];
  const tied: Handle[] = [];
  for (const each of doomed) {
    if (each.cold) each.reach();
    if (each.pins > 0)
      throw new TwzError('ObjectPinned', `object ${each.id} cannot be deleted while raw views of it are held`, { id: each.id });
    if (each.kind === KIND.immutable) continue;
    for (const id of idsWith(each, FOT_FLAG.part)) {
      if (!kernel.has(id)) continue;
      const part = kernel.open(id);
      (kept(kernel, part) ? tied : doomed).push(part);
    }
  }
  for (const part of tied) deleteObject(kernel, part);
  // What may still be refused comes first.
  for (const each of doomed) {
    demandOwned(kernel, each);
    enter(kernel, transaction, each);
  }
  for (const each of doomed) {
    if (!each.volatile) remember(kernel, each.id);
    each.state = 'deleting';
    each.hide();
  }
}

/** It is this node's from now on: if it was deleted and kept by a tie, this node sees to it. Inside a transaction. */
export function takeDeleted(kernel: Kernel, h: Handle): void {
  if ((h.flags & FLAG.deleted) === 0) return;
  const list = system(kernel);
  if (![...fotEntries(list)].some((entry) => entry.id === h.id && entry.count > 0)) referTo(list, h);
}

/** Is any object kept by a tie? */
export function keepsDeleted(kernel: Kernel): boolean {
  const id = systemId(kernel);
  return kernel.has(id) && [...fotEntries(kernel.open(id))].some((entry) => entry.id !== undefined && entry.count > 0);
}

/** Deletes every kept object whose ties are all gone; each may free the next. */
export function settleDeleted(kernel: Kernel): void {
  if (!kernel.has(systemId(kernel))) return;
  const list = system(kernel);
  for (let again = true; again;) {
    again = false;
    for (const entry of fotEntries(list)) {
      if (entry.id === undefined || entry.count === 0) continue;
      const h = kernel.handle(entry.id);
      if (h.state === 'live' && kernel.has(h.id)) {
        if (h.cold) h.reach();
        // Another node sees to it that owns it; or owned it before, and this node's deletion did not count.
        if (!isReplica(h) && (h.flags & FLAG.deleted) !== 0) {
          if (kept(kernel, h)) continue;
          destroy(kernel, h);
        }
      }
      unreferEntry(list, entry.index);
      again = true;
    }
  }
}

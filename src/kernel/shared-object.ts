/**
 * Shared objects: mapped to everyone on the machine as they are. A store is seen at once, and is part of no transaction.
 *
 *   created in a transaction:  an ordinary image, private to it, grows as any other
 *   commit:     drafts/ID noted -> objects/../ID.draft written and synced -> frame with a `share` section -> log synced -> renamed to
 *               ID.twz -> mapped shared
 *   recovery:   `share` renames a draft that is still one; drafts that are noted and that nothing committed are removed
 *
 * Invariants:
 *  1. What a committed `share` names is whole on disk, as draft or as object. A file named as an object was committed.
 *  2. From the commit on the metadata page, the size and the blocks stay as they are; there are no FOT entries. So its checksum holds.
 *  3. A word pair says in which run of the machine (boot) the object was mapped last, and counts the runs. Bytes of an earlier run are
 *     what the system happened to write back, page by page: a type that cannot live with that compares the count and begins anew.
 */
import { TwzError, isTwzError } from '../abi/errors.ts';
import { KIND, META, RIGHT } from '../abi/format.ts';
import { isId, type ObjectId } from '../abi/id.ts';
import { Region } from '../host/futex.ts';
import { allocateBlock } from './allocator.ts';
import { stampedHeader } from './apply.ts';
import type { Kernel } from './kernel.ts';
import { CLEAN, type Handle } from './object.ts';

const DRAFTS = 'drafts';
/** A line of its own for the word pair, so that nothing is stored beside it. */
const STAMP_BYTES = 64;
/** Of the 64 bits: the run's hash below, the count above. */
const BOOT_BITS = 40n;
const BOOT_MASK = 2n ** BOOT_BITS - 1n;

/** In the directory of the object: a rename between directories may be torn. */
function draftPath(kernel: Kernel, id: ObjectId): string {
  return kernel.path(id).replace(/twz$/, 'draft');
}

/** Says that there may be a draft, so that nobody need look for drafts among the objects. */
function notePath(kernel: Kernel, id: ObjectId): string {
  return `${kernel.directory}/${DRAFTS}/${id}`;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

// --- creation -----------------------------------------------------------------------------------------------------------------

/** Completes the creation of a shared object, in its transaction. */
export function beginShared(h: Handle): void {
  h.setU32(META.share, allocateBlock(h, STAMP_BYTES));
}

/** Refuses what only the transaction may do that creates a shared object. */
export function demandUnshared(h: Handle, what: string): void {
  if (h.kind !== KIND.shared || h.fresh) return;
  throw new TwzError('SharedFixed', `object ${h.id} is shared: ${what} is for the transaction that creates it`, { id: h.id });
}

export function refuseReference(h: Handle): void {
  if (h.kind === KIND.shared) throw new TwzError('SharedReference', `object ${h.id} is shared, and cannot refer to others`, { id: h.id });
}

function isNew(h: Handle): boolean {
  return h.kind === KIND.shared && h.fresh && h.state === 'live';
}

/** Before the first frame: writes the new shared objects where no one looks, durably. Where that fails, nothing has happened. */
export function draftShared(kernel: Kernel, handles: readonly Handle[]): void {
  const { host, directory } = kernel;
  const all = handles.filter(isNew);
  if (all.length === 0) return;
  for (const h of all) {
    for (const [parent, above] of [
      [`${directory}/${DRAFTS}`, directory],
      [parentOf(kernel.path(h.id)), `${directory}/objects`],
    ] as const) {
      if (host.exists(parent)) continue;
      host.makeDirectory(parent);
      host.syncDirectory(above);
    }
    host.close(host.open(notePath(kernel, h.id), 'create'));
  }
  host.syncDirectory(`${directory}/${DRAFTS}`);
  for (const h of all) {
    stampBoot(kernel, h);
    const file = host.open(draftPath(kernel, h.id), 'create');
    try {
      h.version = 1;
      host.truncate(file, 0);
      // The page that everyone will see: nothing changes it any more.
      h.u8.set(stampedHeader(h), 0);
      host.write(file, h.u8, 0);
      host.sync(file);
    } finally {
      h.version = 0;
      host.close(file);
    }
    host.syncDirectory(parentOf(kernel.path(h.id)));
  }
}

/** The frames are in the log: the object takes its place, and its memory becomes everyone's. */
export function settleShared(kernel: Kernel, h: Handle): void {
  if (!h.fresh) return;
  h.version = 1;
  h.createdAt = kernel.commits;
  h.fresh = false;
  h.whole = false;
  h.count = 0;
  h.fileSize = h.size;
  try {
    // A file under objects/ is committed, and stays so.
    kernel.log.sync();
    adoptDraft(kernel, h.id);
    kernel.host.syncDirectory(parentOf(kernel.path(h.id)));
    kernel.host.remove(notePath(kernel, h.id));
    showShared(kernel, h);
  } catch (cause) {
    kernel.log.fail(cause, `the shared object ${h.id} was created, and could not be put in its place`);
  }
}

/** The transaction was undone. */
export function dropDraft(kernel: Kernel, h: Handle): void {
  if (h.kind !== KIND.shared || !h.fresh) return;
  try {
    removeDraft(kernel, h.id);
  } catch (error) {
    // The next recovery removes it.
    if (!isTwzError(error)) throw error;
  }
}

/** A draft that was committed becomes the object. False where there is none. */
export function adoptDraft(kernel: Kernel, id: ObjectId): boolean {
  const { host } = kernel;
  const draft = draftPath(kernel, id);
  if (!host.exists(draft)) return false;
  try {
    host.rename(draft, kernel.path(id));
  } catch (error) {
    // Another process was first.
    if (!isTwzError(error, 'FileMissing')) throw error;
  }
  return true;
}

/** As `adoptDraft`, for an object that another process has committed just now. */
export function helpDraft(kernel: Kernel, id: ObjectId): boolean {
  if (!kernel.host.exists(draftPath(kernel, id))) return kernel.host.exists(kernel.path(id));
  kernel.log.sync();
  return adoptDraft(kernel, id);
}

function removeDraft(kernel: Kernel, id: ObjectId): void {
  const { host } = kernel;
  const note = notePath(kernel, id);
  if (!host.exists(note)) return;
  const draft = draftPath(kernel, id);
  if (host.exists(draft)) {
    host.remove(draft);
    host.syncDirectory(parentOf(draft));
  }
  host.remove(note);
}

/** After the log was replayed, and nobody else has the space open: what is still a draft was never committed. */
export function removeDrafts(kernel: Kernel): void {
  const { host, directory } = kernel;
  if (!host.exists(`${directory}/${DRAFTS}`)) return;
  for (const name of host.list(`${directory}/${DRAFTS}`)) if (isId(name)) removeDraft(kernel, name);
}

// --- mapping ------------------------------------------------------------------------------------------------------------------

/** The image of a shared object becomes its file. A host that maps nothing keeps the copy, and writes it back when it lets go. */
export function showShared(kernel: Kernel, h: Handle): void {
  const { slot } = h;
  if (slot === undefined) return;
  const writes = (h.rights & RIGHT.write) !== 0;
  const file = kernel.host.open(kernel.path(h.id), 'write');
  try {
    kernel.setMapped(h, slot.window.mapShared(slot.at, h.size, file, 0));
  } finally {
    kernel.host.close(file);
  }
  h.dirty = writes ? new Uint8Array(h.size >>> 6).fill(1) : CLEAN;
  stampBoot(kernel, h);
}

/** Brings a shared object to disk as it is now. */
export function keepShared(kernel: Kernel, h: Handle): void {
  if (h.kind !== KIND.shared || h.state !== 'live' || h.slot === undefined || h.fileSize === 0 || h.snapshot !== undefined) return;
  const file = kernel.host.open(kernel.path(h.id), 'write');
  try {
    if (!h.fileMapped) kernel.host.write(file, new Uint8Array(h.slot.window.buffer, h.slot.at, h.size), 0);
    kernel.host.sync(file);
  } finally {
    kernel.host.close(file);
  }
}

/** It is about to be unmapped: who holds its words is told so. */
export function leaveShared(kernel: Kernel, h: Handle): void {
  h.region?.end();
  h.region = undefined;
  if (!h.fileMapped && !kernel.closed) keepShared(kernel, h);
}

/** The object's words. It stays mapped where it is as long as the space is open. */
export function wordsOf(h: Handle): Region {
  if (h.cold) h.warm();
  if (h.kind !== KIND.shared || h.snapshot !== undefined)
    throw new TwzError('NotShared', `object ${h.id} is ${h.snapshot === undefined ? h.kindName : 'of a snapshot'}, not shared`, {
      id: h.id,
    });
  const { region, u8 } = h;
  // While it is being made it grows, and may come to lie elsewhere.
  const here = region?.u8.byteOffset === u8.byteOffset && region.u8.length === u8.length && region.u8.buffer === u8.buffer;
  if (region !== undefined && here) return region;
  region?.end();
  h.region = new Region(h.kernel.host.futex, u8);
  return h.region;
}

// --- runs of the machine ------------------------------------------------------------------------------------------------------

function stampOf(h: Handle): BigInt64Array {
  const at = h.dv.getUint32(META.share, true);
  if (at === 0 || at % 8 !== 0 || at + 8 > h.size) h.corrupt(META.share, `the count of runs lies at ${at}`);
  return new BigInt64Array(h.u8.buffer, h.u8.byteOffset + at, 1);
}

/** FNV-1a, 64 bits, folded. Never 0. */
function hashBoot(text: string): bigint {
  let sum = 0xcbf29ce484222325n;
  for (const character of text) sum = BigInt.asUintN(64, (sum ^ BigInt(character.charCodeAt(0))) * 0x100000001b3n);
  return ((sum ^ (sum >> BOOT_BITS)) & BOOT_MASK) | 1n;
}

/** The first to map it in a run of the machine counts that run; of several at once, one does. */
function stampBoot(kernel: Kernel, h: Handle): void {
  const stamp = stampOf(h);
  const boot = (kernel.bootHash ??= hashBoot(kernel.host.boot()));
  for (let was = Atomics.load(stamp, 0); (was & BOOT_MASK) !== boot; was = Atomics.load(stamp, 0))
    Atomics.compareExchange(stamp, 0, was, (((BigInt.asUintN(64, was) >> BOOT_BITS) + 1n) << BOOT_BITS) | boot);
}

/** How many runs of the machine have used the object, from 1. */
export function generationOf(h: Handle): number {
  if (h.cold) h.warm();
  if (h.kind !== KIND.shared) throw new TwzError('NotShared', `object ${h.id} is ${h.kindName}, not shared`, { id: h.id });
  return Number(BigInt.asUintN(64, Atomics.load(stampOf(h), 0)) >> BOOT_BITS);
}

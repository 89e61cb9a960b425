/**
 * Shared objects: mapped to everyone on the machine as they are. A store is seen at once, and is part of no transaction.
 *
 *   created in a transaction:  an ordinary image, private to it, grows as any other
 *   commit:                    by a draft (drafts.ts)  ->  mapped shared
 *
 * Invariants:
 *  1. From the commit on the metadata page, the size and the blocks stay as they are; there are no FOT entries. So its checksum holds.
 *  2. A word pair says in which run of the machine (boot) the object was mapped last, and counts the runs. Bytes of an earlier run are
 *     what the system happened to write back, page by page: a type that cannot live with that compares the count and begins anew.
 */
import { TwzError } from '../abi/errors.ts';
import { KIND, META, RIGHT } from '../abi/format.ts';
import { Region } from '../host/futex.ts';
import { allocateBlock } from './allocator.ts';
import { stampedHeader } from './apply.ts';
import type { Kernel } from './kernel.ts';
import { CLEAN, type Handle } from './object.ts';

/** A line of its own for the word pair, so that nothing is stored beside it. */
const STAMP_BYTES = 64;
/** Of the 64 bits: the run's hash below, the count above. */
const BOOT_BITS = 40n;
const BOOT_MASK = 2n ** BOOT_BITS - 1n;

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

/** Before it is written to its draft: the first run of the machine that uses it. Nothing changes its metadata page any more. */
export function beginRuns(kernel: Kernel, h: Handle): void {
  stampBoot(kernel, h);
  h.u8.set(stampedHeader(h, 1), 0);
}

/** It is in its place: its memory becomes everyone's. */
export function settleShared(kernel: Kernel, h: Handle): void {
  if (kernel.log.failure !== undefined) return;
  try {
    showShared(kernel, h);
  } catch (cause) {
    kernel.log.fail(cause, `the shared object ${h.id} was created, and could not be mapped`);
  }
}

// --- mapping ------------------------------------------------------------------------------------------------------------------

/** The image of a shared object becomes its file. A host that maps nothing keeps the copy, and writes it back when it lets go. */
export function showShared(kernel: Kernel, h: Handle): void {
  const { slot } = h;
  if (slot === undefined) return;
  const file = kernel.host.open(kernel.path(h.id), 'write');
  try {
    kernel.setMapped(h, slot.window.mapShared(slot.at, h.size, file, 0));
  } finally {
    kernel.host.close(file);
  }
  permitStores(h, (h.rights & RIGHT.write) !== 0);
  stampBoot(kernel, h);
}

/** Stores to its memory need no mark, or are refused. */
export function permitStores(h: Handle, permitted: boolean): void {
  h.dirty = permitted ? new Uint8Array(h.size >>> 6).fill(1) : CLEAN;
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

/**
 * The foreign object table: what an object refers to. A pointer's upper 24 bits are an index into it; 0 is the object itself.
 *
 * An entry holds an object's ID, or a path and the name of a resolver (late binding: resolved at each use). Entries count the
 * pointers that accessors stored through them; one whose count falls to zero is reused.
 *
 * The four cases of a pointer: same object (index 0: no table); followed before (`h.fot[index]`); first use (read the entry, open
 * the target); store (`h.fotIndex`, a hash table in memory, filled from the object when a pointer is first stored).
 */
import { TwzError } from '../abi/errors.ts';
import { FLAG, FOT, FOT_FLAG, FOT_MAX, META, PAGE, PAGE_KIND, RIGHT } from '../abi/format.ts';
import type { FotEntry, ObjectHandle } from '../abi/handle.ts';
import { readId, writeId, type ObjectId } from '../abi/id.ts';
import { allocateBlock, allocatePages, releaseBlock } from './allocator.ts';
import type { Handle } from './object.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Byte offset of an entry, or 0 where the table does not reach so far. */
export function entryAt(h: Pick<ObjectHandle, 'dv' | 'size' | 'corrupt'>, index: number): number {
  if (index < FOT.embedded) return META.fot + index * FOT.entry;
  const q = index - FOT.embedded;
  const k = 31 - Math.clz32(q / FOT.chunk0 + 1);
  if (k >= FOT.chunks) return 0;
  const chunk = h.dv.getUint32(META.fotChunks + k * 4, true);
  if (chunk === 0) return 0;
  const at = chunk * PAGE + (q - FOT.chunk0 * (2 ** k - 1)) * FOT.entry;
  if (at + FOT.entry > h.size) h.corrupt(META.fotChunks + k * 4, 'FOT chunk outside the object');
  return at;
}

function usedEntry(h: Handle, index: number, pointerAt: number): number {
  const at = index === 0 || index >= h.dv.getUint32(META.fotCount, true) ? 0 : entryAt(h, index);
  if (at === 0 || (h.dv.getUint32(at + FOT.flags, true) & FOT_FLAG.used) === 0) {
    throw new TwzError('FotCorrupt', `object ${h.id} at offset ${pointerAt}: the pointer names FOT entry ${index}, which is not in use`, {
      id: h.id,
      at: pointerAt,
      index,
    });
  }
  return at;
}

function textAt(h: Handle, at: number): string {
  if (at < PAGE || at + 4 > h.size) h.corrupt(at, 'a name lies outside the object');
  const length = h.dv.getUint32(at, true);
  if (length > 65536 || at + 4 + length > h.size) h.corrupt(at, 'a name lies outside the object');
  return decoder.decode(h.u8.slice(at + 4, at + 4 + length));
}

function storeText(h: Handle, text: string): number {
  const bytes = encoder.encode(text);
  const at = allocateBlock(h, 4 + bytes.length);
  h.markRange(at, 4 + bytes.length);
  h.dv.setUint32(at, bytes.length, true);
  h.u8.set(bytes, at + 4);
  return at;
}

/** `fotDelta` holds 0 for an entry that the running transaction did not count, else this plus the change. */
const UNCHANGED = 1 << 30;

function changeOf(h: Handle, index: number): number {
  const delta = h.fotDelta[index] ?? 0;
  return delta === 0 ? 0 : delta - UNCHANGED;
}

export function readEntry(h: Handle, index: number, at: number): FotEntry {
  const pointers = h.dv.getUint32(at + FOT.count, true) + changeOf(h, index);
  if ((h.dv.getUint32(at + FOT.flags, true) & FOT_FLAG.name) === 0)
    return { index, count: pointers, id: readId(h.u8, at), path: undefined, resolver: undefined };
  const resolverAt = h.dv.getUint32(at + FOT.resolver, true);
  return {
    index,
    count: pointers,
    id: undefined,
    path: textAt(h, h.dv.getUint32(at, true)),
    resolver: resolverAt === 0 ? '' : textAt(h, resolverAt),
  };
}

/** All entries in use. */
export function* fotEntries(h: Handle): Generator<FotEntry> {
  if (h.cold) h.reach();
  const end = h.dv.getUint32(META.fotCount, true);
  for (let index = 1; index < end; index++) {
    if (h.cold) h.reach();
    const at = entryAt(h, index);
    // The table ends here, whatever the header says.
    if (at === 0) return;
    if ((h.dv.getUint32(at + FOT.flags, true) & FOT_FLAG.used) !== 0) yield readEntry(h, index, at);
  }
}

export function followEntry(h: Handle, index: number, pointerAt: number): Handle {
  const known = h.fot[index];
  if (known !== undefined && known.state === 'live') {
    if (known.cold) known.warm();
    known.used = true;
    return known;
  }
  if (h.cold) h.warm();
  const at = usedEntry(h, index, pointerAt);
  const entry = readEntry(h, index, at);
  if (entry.id === undefined) return h.kernel.resolveName(h, entry.path ?? '', entry.resolver ?? '');
  const target = h.snapshot === undefined ? h.kernel.handle(entry.id) : h.snapshot.handle(entry.id);
  if (target.cold) target.reach();
  if (untyped(target) || target.isPartOf(h)) rememberEntry(h, index, target);
  return target;
}

/**
 * What is known here is followed without a question: only what may be read, has the program's types, and lies where it always lay; and
 * only from where the types are the program's, too.
 */
function know(h: Handle, index: number, target: Handle): void {
  const readable = (target.granted(RIGHT.read) & RIGHT.read) !== 0 && !target.cold && target.dv.getUint32(META.forwards, true) === 0;
  h.fot[index] = readable && (target.isPartOf(h) || (isJudged(target) && isJudged(h))) ? target : undefined;
}

/**
 * As when it is followed, now that the target was looked at. A late-bound entry is resolved each time. While the target was got from another
 * node, the object may have gone on, and the entry may be another's by now.
 */
export function rememberEntry(h: Handle, index: number, target: Handle): void {
  if (h.cold) return;
  const at = entryAt(h, index);
  if (at !== 0 && (h.dv.getUint32(at + FOT.flags, true) & FOT_FLAG.name) === 0 && readId(h.u8, at) === target.id) know(h, index, target);
}

function isJudged(h: Handle): boolean {
  return h.judged !== undefined || h.entered !== undefined || untyped(h) || isPartOfJudged(h);
}

/** Raw memory. */
function untyped(h: Handle): boolean {
  return !h.cold && h.dv.getUint32(META.rootType, true) === 0 && h.dv.getUint32(META.rootType + 4, true) === 0 && !h.isPart;
}

/** What a collection has grown into has the types of the object that it is of. */
function isPartOfJudged(h: Handle): boolean {
  const owner = h.cold ? undefined : h.owner;
  const home = owner === undefined ? undefined : h.snapshot === undefined ? h.kernel.handles.get(owner) : h.snapshot.handle(owner);
  return home !== undefined && isJudged(home);
}

/** An entry's target as `h.fotIndex` has it; no ID has a colon. */
const keyOf = ({ id, path, resolver }: FotEntry): string => id ?? `${resolver}:${path}`;

function indexOf(h: Handle): Map<string, number> {
  if (h.fotIndex !== undefined) return h.fotIndex;
  const index = new Map<string, number>();
  for (const entry of fotEntries(h)) index.set(keyOf(entry), entry.index);
  h.fotIndex = index;
  return index;
}

/** Throws what keeps an object from referring to another. */
export function demandTarget(h: Handle, target: Handle): void {
  target.demandLive();
  if (target.kernel !== h.kernel) throw new TwzError('WrongSpace', `object ${target.id} is of another space`, { id: target.id });
}

export function referTo(h: Handle, target: Handle): number {
  target.demandLive();
  return referToAny(h, target);
}

/** As `referTo`, for a reference that is moved: its target may be gone. */
export function referToAny(h: Handle, target: Handle): number {
  // The target remembers who referred to it last, so that the usual store needs no table.
  if (target.referrer === h && target.referrerEpoch === h.fotEpoch) {
    count(h, target.referrerIndex, 1);
    return target.referrerIndex;
  }
  if (target.kernel !== h.kernel) throw new TwzError('WrongSpace', `object ${target.id} is of another space`, { id: target.id });
  if (target.snapshot !== undefined) target = h.kernel.handle(target.id);
  if (target === h) return 0;
  const known = (h.fotIndex ?? indexOf(h)).get(target.id);
  const index = known ?? newIdEntry(h, target);
  know(h, index, target);
  target.referrer = h;
  target.referrerIndex = index;
  target.referrerEpoch = h.fotEpoch;
  count(h, index, 1);
  return index;
}

/** As `referTo`, for a pointer that goes with the target's ID in a key. The object is told that the ID stands elsewhere, too. */
export function referAsKey(h: Handle, target: Handle): number {
  const index = referTo(h, target);
  if (index === 0) {
    if ((h.flags & FLAG.ownKeys) === 0) h.setU32(META.flags, h.flags | FLAG.ownKeys);
  } else mark(h, index, FOT_FLAG.key);
  return index;
}

/** As `referTo`, for an object in which a collection of this one goes on. */
export function referAsPart(h: Handle, target: Handle): number {
  const index = referTo(h, target);
  mark(h, index, FOT_FLAG.part);
  return index;
}

/** As `unreferEntry`, for a part that goes; others may still refer to it. */
export function unreferPart(h: Handle, index: number): void {
  unreferEntry(h, index);
  const at = entryAt(h, index) + FOT.flags;
  h.setU32(at, h.dv.getUint32(at, true) & ~FOT_FLAG.part);
}

/** IDs of what is referred to by entries with a flag. */
export function idsWith(h: Handle, flag: number): ObjectId[] {
  if (h.cold) h.warm();
  const ids: ObjectId[] = [];
  const end = h.dv.getUint32(META.fotCount, true);
  for (let index = 1; index < end; index++) {
    const at = entryAt(h, index);
    if (at === 0) break;
    if ((h.dv.getUint32(at + FOT.flags, true) & (flag | FOT_FLAG.used)) === (flag | FOT_FLAG.used)) ids.push(readId(h.u8, at));
  }
  return ids;
}

function mark(h: Handle, index: number, flag: number): void {
  const at = entryAt(h, index) + FOT.flags;
  const flags = h.dv.getUint32(at, true);
  if ((flags & flag) === 0) h.setU32(at, flags | flag);
}

/** As `referTo`, for what entry `index` of another object leads to: a pointer moves from there. Its target may be gone. */
export function referAs(h: Handle, from: Handle, index: number): number {
  if (from.cold) from.warm();
  const entry = readEntry(from, index, usedEntry(from, index, META.fot));
  if (entry.id === undefined) return referToName(h, entry.path ?? '', entry.resolver ?? '');
  return referToAny(h, h.kernel.handle(entry.id));
}

function newIdEntry(h: Handle, target: Handle): number {
  const index = newEntry(h);
  const at = entryAt(h, index);
  h.mark(at);
  writeId(h.u8, at, target.id);
  h.dv.setUint32(at + FOT.flags, FOT_FLAG.used, true);
  indexOf(h).set(target.id, index);
  return index;
}

export function referToName(h: Handle, path: string, resolver: string): number {
  const known = indexOf(h).get(`${resolver}:${path}`);
  if (known !== undefined) {
    count(h, known, 1);
    return known;
  }
  // The entry first: a full table is found before anything is stored.
  const index = newEntry(h);
  let pathAt = 0;
  let resolverAt = 0;
  try {
    pathAt = storeText(h, path);
    if (resolver !== '') resolverAt = storeText(h, resolver);
  } catch (error) {
    if (pathAt !== 0) releaseBlock(h, pathAt);
    giveBack(h, index, entryAt(h, index));
    throw error;
  }
  const at = entryAt(h, index);
  h.mark(at);
  h.dv.setUint32(at, pathAt, true);
  h.dv.setUint32(at + FOT.resolver, resolverAt, true);
  h.dv.setUint32(at + FOT.flags, FOT_FLAG.used | FOT_FLAG.name, true);
  indexOf(h).set(`${resolver}:${path}`, index);
  count(h, index, 1);
  return index;
}

/** Takes an entry from the free list, or a new one at the end. */
function newEntry(h: Handle): number {
  if (h.serial !== h.kernel.serial) h.kernel.enlist(h);
  const free = h.dv.getUint32(META.fotFree, true);
  if (free !== 0) {
    const at = free < h.dv.getUint32(META.fotCount, true) ? entryAt(h, free) : 0;
    if (at === 0 || (h.dv.getUint32(at + FOT.flags, true) & FOT_FLAG.used) !== 0)
      h.corrupt(META.fotFree, `the FOT's free list leads to entry ${free}`);
    h.setU32(META.fotFree, h.dv.getUint32(at + FOT.next, true));
    h.setU32(at + FOT.next, 0);
    return free;
  }
  const index = Math.max(1, h.dv.getUint32(META.fotCount, true));
  if (index >= FOT_MAX) throw new TwzError('FotFull', `object ${h.id} refers to ${FOT_MAX - 1} others already`, { id: h.id });
  if (entryAt(h, index) === 0) {
    const k = 31 - Math.clz32((index - FOT.embedded) / FOT.chunk0 + 1);
    const pages = allocatePages(h, (FOT.chunk0 * FOT.entry * 2 ** k) / PAGE, PAGE_KIND.fot);
    h.setU32(META.fotChunks + k * 4, pages / PAGE);
  }
  h.setU32(META.fotCount, index + 1);
  return index;
}

export function unreferEntry(h: Handle, index: number): void {
  if (h.cold) h.warm();
  if (index >= h.fotDelta.length || h.fotDelta[index] === 0) usedEntry(h, index, META.fot);
  count(h, index, -1);
}

/** One pointer more goes through this entry: a copy of one that does. */
export function referAgain(h: Handle, index: number): void {
  if (h.cold) h.warm();
  if (index >= h.fotDelta.length || h.fotDelta[index] === 0) usedEntry(h, index, META.fot);
  count(h, index, 1);
}

/** Pointers come and go many times in a transaction; the entries learn the sum at its end. */
function count(h: Handle, index: number, change: number): void {
  if (index >= h.fotDelta.length) {
    const delta = new Int32Array(Math.max(64, index + 1, h.fotDelta.length * 2));
    delta.set(h.fotDelta);
    h.fotDelta = delta;
  }
  const before = h.fotDelta[index] as number;
  if (before === 0) {
    // Before anything else of it: what is not in the transaction is not settled with it.
    if (h.serial !== h.kernel.serial) h.kernel.enlist(h);
    h.fotChanged.push(index);
  }
  h.fotDelta[index] = (before === 0 ? UNCHANGED : before) + change;
}

/** At commit: stores the counts, and frees the entries that lost their last pointer. */
export function settleCounts(h: Handle): void {
  // Raw stores may have copied a pointer without being counted.
  const exact = (h.flags & FLAG.raw) === 0;
  for (const index of h.fotChanged) {
    const change = (h.fotDelta[index] as number) - UNCHANGED;
    h.fotDelta[index] = 0;
    const at = usedEntry(h, index, META.fot);
    const now = Math.max(0, h.dv.getUint32(at + FOT.count, true) + change);
    if (change !== 0) h.setU32(at + FOT.count, now);
    if (now === 0 && exact) freeEntry(h, index, at);
  }
  h.fotChanged.length = 0;
}

/** At abort: forgets the counts, and what was entered. */
export function forgetCounts(h: Handle): void {
  for (const index of h.fotChanged) h.fotDelta[index] = 0;
  h.fotChanged.length = 0;
  h.fotIndex = undefined;
  h.fotEpoch++;
  h.fot = [];
}

function freeEntry(h: Handle, index: number, at: number): void {
  const entry = readEntry(h, index, at);
  if (entry.id === undefined) {
    releaseBlock(h, h.dv.getUint32(at, true));
    const resolverAt = h.dv.getUint32(at + FOT.resolver, true);
    if (resolverAt !== 0) releaseBlock(h, resolverAt);
  }
  h.fotIndex?.delete(keyOf(entry));
  h.fot[index] = undefined;
  h.fotEpoch++;
  giveBack(h, index, at);
}

/** Puts an entry on the free list. */
function giveBack(h: Handle, index: number, at: number): void {
  h.mark(at);
  h.u8.fill(0, at, at + FOT.entry);
  h.dv.setUint32(at + FOT.next, h.dv.getUint32(META.fotFree, true), true);
  h.setU32(META.fotFree, index);
}

/** Points an entry, and so every pointer through it, at another target. */
export function retargetEntry(h: Handle, index: number, target: Handle): void {
  if (h.cold) h.warm();
  const at = usedEntry(h, index, META.fot);
  const flags = h.dv.getUint32(at + FOT.flags, true);
  if ((flags & (FOT_FLAG.key | FOT_FLAG.part)) !== 0) {
    const what = (flags & FOT_FLAG.key) !== 0 ? 'a key of a collection, which names it by its ID' : 'a part of the object';
    throw new TwzError('NotSupported', `object ${h.id}: what entry ${index} leads to is ${what}`, { id: h.id, index });
  }
  const pointers = h.dv.getUint32(at + FOT.count, true);
  const old = readEntry(h, index, at);
  h.mark(at);
  if (old.id === undefined) {
    releaseBlock(h, h.dv.getUint32(at, true));
    const resolverAt = h.dv.getUint32(at + FOT.resolver, true);
    if (resolverAt !== 0) releaseBlock(h, resolverAt);
  }
  h.u8.fill(0, at, at + FOT.entry);
  writeId(h.u8, at, target.id);
  h.dv.setUint32(at + FOT.flags, FOT_FLAG.used, true);
  h.dv.setUint32(at + FOT.count, pointers, true);
  h.fotIndex = undefined;
  h.fotEpoch++;
  know(h, index, target);
}

/** Puts other IDs in the place of those that stand in a table: `h` is a copy that nothing was followed from yet. */
export function redirect(h: Handle, bytes: Uint8Array, to: ReadonlyMap<ObjectId, { readonly id: ObjectId }>): void {
  for (const { id, index } of fotEntries(h)) {
    const target = id === undefined ? undefined : to.get(id);
    if (target !== undefined) writeId(bytes, entryAt(h, index), target.id);
  }
}

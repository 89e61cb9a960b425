/**
 * The pool: one allocator over as many objects as a collection needs.
 *
 * What it hands out is an address of 32 bits: the number of an object (10 bits, 0 for the object that the collection itself lies in) and
 * the block's offset there in granules of 16 bytes (22 bits). So an object of a pool has up to 64 MiB, and a collection up to 64 GiB.
 * Half the size of a pointer, it lets an index entry be 8 bytes. The table of the objects holds ordinary invariant pointers.
 *
 *   header in the collection:  0 table: offset of the table, 0 for none   4 count of objects beside the home   8 current: where to
 *                              allocate   12 blocks in the home   16 reserved
 *   table entry, 16 bytes:     0 pointer (8)   8 blocks in use   12 state: 1 where blocks may be free in a full object
 *
 * All of it is ordinary object data: allocations are committed or undone with the transaction that made them.
 */
import { TwzError } from '../../abi/errors.ts';
import { META, PAGE } from '../../abi/format.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { specialize } from './specialize.ts';

export const POOL_HEADER = 24;
/** Bytes that objects of a pool are filled up to. What grows past `home` grows into objects of its own. Tests set them lower. */
export const POOL_LIMITS: { home: number; member: number } = { home: 1 << 24, member: 1 << 26 };
const SMALL_BLOCKS = 64;
const SMALL_SIZE = 4096;
const MEMBERS_MAX = 1023;
const ENTRY = 16;

const TABLE = 0;
const COUNT = 4;
const CURRENT = 8;
const HOME_BLOCKS = 12;

export const POOL_INDEX_SHIFT = 22;
export const POOL_GRANULE_MASK = 0x3fffff;

/** The object that an address lies in. `pool` is the offset of the pool's header in `home`. */
export function poolObject(home: ObjectHandle, pool: number, address: number): ObjectHandle {
  const index = address >>> POOL_INDEX_SHIFT;
  if (index === 0) return home;
  if (home.cold) home.warm();
  const at = home.dv.getUint32(pool + TABLE, true) + index * ENTRY;
  if (index > home.dv.getUint32(pool + COUNT, true) || at < PAGE || at + ENTRY > home.size)
    home.corrupt(pool, `an address names object ${index} of the collection, which it does not have`);
  const entry = home.dv.getUint32(at + 4, true) >>> 8;
  const known = home.fot[entry];
  if (known !== undefined && !known.cold) {
    known.used = true;
    return part(home, known, at);
  }
  if (entry === 0) home.corrupt(at, `object ${index} of the collection is gone`);
  return part(home, home.follow(entry, at), at);
}

/**
 * Only an object whose metadata says that it is this one's is changed as a part of it. The table is data: who may write the one object could
 * let it lead to any other.
 */
function part(home: ObjectHandle, h: ObjectHandle, at: number): ObjectHandle {
  if (h.cold) h.warm();
  const { dv } = h;
  const { idWords } = home;
  if (
    dv.getInt32(META.owner, true) !== idWords[0] ||
    dv.getInt32(META.owner + 4, true) !== idWords[1] ||
    dv.getInt32(META.owner + 8, true) !== idWords[2] ||
    dv.getInt32(META.owner + 12, true) !== idWords[3]
  ) {
    // What is sealed is found by its content, and may be a part of several.
    if (home.kindName === 'immutable' && h.kindName === 'immutable') return h;
    home.corrupt(at, `the table of the collection leads to object ${h.id}, which is no part of it`);
  }
  return h;
}

/** Gives the object of an address; `o` is the offset of the collection's header. */
export type Members = (h: ObjectHandle, o: number, address: number) => ObjectHandle;

/**
 * `poolObject` with a memory, for one type of collection. What it remembers is right as long as the home's FOT leads there and the object
 * is usable: an object's number goes to another one only when the object is deleted, or its creation undone.
 */
function makeMembers(pool: number, find: typeof poolObject, ALL: { epoch: number }): Members {
  let home: ObjectHandle | undefined;
  let header = 0;
  let members: ObjectHandle[] = [];
  let entries: number[] = [];
  let epoch = 0;

  function remember(h: ObjectHandle, o: number, address: number): ObjectHandle {
    const member = find(h, o + pool, address);
    if (h !== home || o !== header || epoch !== ALL.epoch) {
      epoch = ALL.epoch;
      home = h;
      header = o;
      members = [];
      entries = [];
    }
    const index = address >>> 22;
    while (members.length <= index) {
      members.push(h);
      entries.push(0);
    }
    members[index] = member;
    entries[index] = h.dv.getUint32(h.dv.getUint32(o + pool, true) + index * 16 + 4, true) >>> 8;
    return member;
  }

  return (h, o, address) => {
    const index = address >>> 22;
    if (index === 0) return h;
    if (h === home && o === header && index < members.length && epoch === ALL.epoch) {
      const member = members[index] as ObjectHandle;
      if (!member.cold && member === h.fot[entries[index] as number]) {
        member.used = true;
        return member;
      }
    }
    return remember(h, o, address);
  };
}

/** A memory of one's own; `pool` is the offset of the pool's header in that of the collection. */
export function membersOf(pool: number): Members {
  return specialize(makeMembers)(pool, poolObject, MEMORY);
}

const MEMORY = { epoch: 0 };

/** Headers have changed places: what is remembered of where each leads counts for nothing. */
export function forgetMembers(): void {
  MEMORY.epoch++;
}

export function poolOffset(address: number): number {
  return (address & POOL_GRANULE_MASK) << 4;
}

function setU32(h: ObjectHandle, at: number, value: number): void {
  if (h.dirty[at >>> 6] !== 1) h.mark(at);
  h.dv.setUint32(at, value, true);
}

/** A zeroed block of at least `size` bytes, 16 or more. Throws ObjectTooLarge where the collection is full. */
export function poolAllocate(home: ObjectHandle, pool: number, size: number): number {
  if (home.cold) home.warm();
  const current = home.dv.getUint32(pool + CURRENT, true);
  const address = current === 0 ? allocateAtHome(home, pool, size) : allocateIn(home, pool, current, size);
  return address !== 0 ? address : allocateElsewhere(home, pool, size);
}

function allocateAtHome(home: ObjectHandle, pool: number, size: number): number {
  const blocks = home.dv.getUint32(pool + HOME_BLOCKS, true);
  // A small collection that lies in a large object is not worth one of its own.
  const limit = blocks < SMALL_BLOCKS && size <= SMALL_SIZE ? POOL_LIMITS.member : POOL_LIMITS.home;
  if (home.size > limit) return 0;
  const at = home.allocateWithin(size, limit);
  if (at !== 0) setU32(home, pool + HOME_BLOCKS, home.dv.getUint32(pool + HOME_BLOCKS, true) + 1);
  return at >>> 4;
}

function allocateIn(home: ObjectHandle, pool: number, index: number, size: number): number {
  const h = poolObject(home, pool, index << POOL_INDEX_SHIFT);
  const at = h.allocateWithin(size, POOL_LIMITS.member);
  if (at === 0) return 0;
  const entry = home.dv.getUint32(pool + TABLE, true) + index * ENTRY + 8;
  setU32(home, entry, home.dv.getUint32(entry, true) + 1);
  return ((index << POOL_INDEX_SHIFT) | (at >>> 4)) >>> 0;
}

/** The current object is full: one in which blocks were freed, or a new one. */
function allocateElsewhere(home: ObjectHandle, pool: number, size: number): number {
  const count = home.dv.getUint32(pool + COUNT, true);
  const table = home.dv.getUint32(pool + TABLE, true);
  for (let index = 1; index <= count; index++) {
    const state = table + index * ENTRY + 12;
    if (home.dv.getUint32(state, true) !== 1) continue;
    setU32(home, state, 0);
    const address = allocateIn(home, pool, index, size);
    if (address === 0) continue;
    setU32(home, pool + CURRENT, index);
    return address;
  }
  const address = allocateIn(home, pool, newMember(home, pool), size);
  if (address === 0) throw new TwzError('ObjectTooLarge', `a block of ${size} bytes does not fit an object of a collection`, { size });
  return address;
}

/** Lets a pool that is empty begin with an object beside the home, so that nothing of it lies in the home, ever. */
export function poolLeaveHome(home: ObjectHandle, pool: number): void {
  if (home.dv.getUint32(pool + CURRENT, true) === 0) newMember(home, pool);
}

function newMember(home: ObjectHandle, pool: number): number {
  const index = freeIndex(home, pool, home.dv.getUint32(pool + COUNT, true));
  const h = home.extend(POOL_LIMITS.member);
  try {
    enter(home, pool, index, h);
  } catch (error) {
    h.remove();
    throw error;
  }
  setU32(home, pool + CURRENT, index);
  return index;
}

function freeIndex(home: ObjectHandle, pool: number, count: number): number {
  const table = home.dv.getUint32(pool + TABLE, true);
  for (let index = 1; index <= count; index++) if (home.dv.getUint32(table + index * ENTRY + 4, true) === 0) return index;
  if (count === MEMBERS_MAX)
    throw new TwzError('ObjectTooLarge', `a collection holds at most ${MEMBERS_MAX} objects of 64 MiB`, { id: home.id });
  return count + 1;
}

function enter(home: ObjectHandle, pool: number, index: number, h: ObjectHandle): void {
  const count = home.dv.getUint32(pool + COUNT, true);
  let table = home.dv.getUint32(pool + TABLE, true);
  if (index > count) {
    // Its size is a power of two: it is full whenever the number of entries in it is one.
    const entries = count + 1;
    if (table === 0 || (entries & (entries - 1)) === 0) {
      const larger = home.allocate(Math.max(4, entries * 2) * ENTRY);
      if (table !== 0) {
        home.markRange(larger, entries * ENTRY);
        home.u8.copyWithin(larger, table, table + entries * ENTRY);
        home.release(table);
      }
      table = larger;
      setU32(home, pool + TABLE, table);
    }
    setU32(home, pool + COUNT, index);
  }
  const at = table + index * ENTRY;
  const entry = home.referAsPart(h);
  home.markRange(at, ENTRY);
  home.dv.setUint32(at, PAGE, true);
  home.dv.setUint32(at + 4, (entry << 8) >>> 0, true);
  home.dv.setUint32(at + 8, 0, true);
  home.dv.setUint32(at + 12, 0, true);
}

/** Gives a block back. An object that has none left goes, unless it is the one that is being filled. */
export function poolRelease(home: ObjectHandle, pool: number, address: number): void {
  const index = address >>> POOL_INDEX_SHIFT;
  const h = poolObject(home, pool, address);
  h.release(poolOffset(address));
  if (index === 0) {
    setU32(home, pool + HOME_BLOCKS, home.dv.getUint32(pool + HOME_BLOCKS, true) - 1);
    return;
  }
  const at = home.dv.getUint32(pool + TABLE, true) + index * ENTRY;
  const left = home.dv.getUint32(at + 8, true) - 1;
  setU32(home, at + 8, left);
  if (index === home.dv.getUint32(pool + CURRENT, true)) return;
  if (left === 0) leave(home, at, h);
  else if (home.dv.getUint32(at + 12, true) !== 1) setU32(home, at + 12, 1);
}

function leave(home: ObjectHandle, at: number, h: ObjectHandle): void {
  const entry = home.dv.getUint32(at + 4, true) >>> 8;
  home.markRange(at, ENTRY);
  home.u8.fill(0, at, at + ENTRY);
  home.unreferPart(entry);
  h.remove();
}

/** Deletes the objects beside the home, whatever is in them, and forgets the blocks at home: the caller has given those back. */
export function poolDestroy(home: ObjectHandle, pool: number): void {
  const count = home.dv.getUint32(pool + COUNT, true);
  const table = home.dv.getUint32(pool + TABLE, true);
  for (let index = 1; index <= count; index++) {
    const at = table + index * ENTRY;
    if (home.dv.getUint32(at + 4, true) !== 0) leave(home, at, poolObject(home, pool, index << POOL_INDEX_SHIFT));
  }
  if (table !== 0) home.release(table);
  home.markRange(pool, POOL_HEADER);
  home.u8.fill(0, pool, pool + POOL_HEADER);
}

/** Blocks in the home that the pool knows of, with the table of the objects beside it. */
export function poolBlocksAtHome(home: ObjectHandle, pool: number): number {
  return home.dv.getUint32(pool + HOME_BLOCKS, true) + (home.dv.getUint32(pool + TABLE, true) === 0 ? 0 : 1);
}

/**
 * Takes a pool over that has nothing at its home: the header at `pool` of `home` gets what the one at `fromPool` of `from` has, and the
 * objects beside it are this one's from now on.
 */
export function poolTakeOver(home: ObjectHandle, pool: number, from: ObjectHandle, fromPool: number): void {
  const count = from.dv.getUint32(fromPool + COUNT, true);
  const words = [COUNT, CURRENT].map((word) => from.dv.getUint32(fromPool + word, true));
  const table = home.allocate(Math.max(4, 2 ** Math.ceil(Math.log2(count + 1))) * ENTRY);
  home.markRange(table, (count + 1) * ENTRY);
  home.markRange(pool, POOL_HEADER);
  for (let index = 1; index <= count; index++) {
    const old = from.dv.getUint32(fromPool + TABLE, true) + index * ENTRY;
    const entry = from.dv.getUint32(old + 4, true) >>> 8;
    if (entry === 0) continue;
    const at = table + index * ENTRY;
    const target = from.follow(entry, old);
    target.belongTo(home);
    home.dv.setUint32(at, PAGE, true);
    from.unreferPart(entry);
    home.dv.setUint32(at + 4, (home.referAsPart(target) << 8) >>> 0, true);
    for (const word of [8, 12]) home.dv.setUint32(at + word, from.dv.getUint32(old + word, true), true);
  }
  home.dv.setUint32(pool + TABLE, table, true);
  for (const [i, word] of [COUNT, CURRENT].entries()) home.dv.setUint32(pool + word, words[i] as number, true);
  home.dv.setUint32(pool + HOME_BLOCKS, 0, true);
}

/** The objects of a pool, the home first, with the blocks in use of each. */
export function* poolObjects(home: ObjectHandle, pool: number): Generator<{ readonly handle: ObjectHandle; readonly blocks: number }> {
  if (home.cold) home.warm();
  yield { handle: home, blocks: home.dv.getUint32(pool + HOME_BLOCKS, true) };
  const count = home.dv.getUint32(pool + COUNT, true);
  for (let index = 1; index <= count; index++) {
    const at = home.dv.getUint32(pool + TABLE, true) + index * ENTRY;
    if (home.dv.getUint32(at + 4, true) === 0) continue;
    const blocks = home.dv.getUint32(at + 8, true);
    yield { handle: poolObject(home, pool, index << POOL_INDEX_SHIFT), blocks };
  }
}

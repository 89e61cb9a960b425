/**
 * Places in objects. An object that is mapped begins at some address of the program's memory; what lies in it is at that address and its
 * offset. An invariant pointer has 64 bits: in the lower 40 an offset, in the upper 24 a number of the object's table of foreign objects, 0
 * for the object itself. Those are followed by an addition.
 */
import * as sys from './syscalls';
import { failed } from './program';
import { Kind, Rights } from './objects';

/** In the first page of an object: not 0 where structs of it have moved. */
const FORWARDS: usize = 120;

const anId: usize = memory.data(16);
const aStat: usize = memory.data(32);

let nearBase: usize = 0;
let nearSize: usize = 0;

/** The address of the first byte of the object that `at` lies in; 0 where none is mapped there. */
export function objectBase(at: usize): usize {
  return at - nearBase < nearSize ? nearBase : findBase(at);
}

function findBase(at: usize): usize {
  const offset = sys.object_at(at, anId);
  if (failed(offset)) return 0;
  nearBase = at - <usize>offset;
  nearSize = sys.object_stat(anId, aStat, 32) < 0 ? 1 : load<u32>(aStat);
  return nearBase;
}

/** What pointers led to: the object that they lie in, the number in its table, the address of the target. */
const CACHED: u32 = 64;
const cache: usize = memory.data(64 * 12);

/** Must be called after `object_unmap`; `Obj.unmap` and `transact` do. */
export function forgetMappings(): void {
  nearBase = 0;
  nearSize = 0;
  memory.fill(cache, 0, CACHED * 12);
}

/** Where the pointer that is stored at `at` leads; 0 for null, and where it cannot be followed (`lastError`). */
export function follow(at: usize): usize {
  const low = load<u32>(at);
  const high = load<u32>(at, 4);
  if (high != 0) return followFar(at, low, high);
  return low == 0 ? 0 : objectBase(at) + low;
}

function followFar(at: usize, low: u32, high: u32): usize {
  const base = objectBase(at);
  const index = high >>> 8;
  const slot = cache + <usize>((index ^ (<u32>base >>> 12)) & (CACHED - 1)) * 12;
  if (low != 0 && (high & 0xff) == 0 && load<u32>(slot) == <u32>base && load<u32>(slot, 4) == index) return load<u32>(slot, 8) + low;
  const result = sys.resolve(at, (<i64>high << 32) | <i64>low, Rights.read | Rights.write);
  if (failed(result)) return 0;
  const to = <usize>result;
  if (low != 0 && leadsStraight(to, low)) {
    store<u32>(slot, <u32>base);
    store<u32>(slot, index, 4);
    store<u32>(slot, <u32>(to - low), 8);
  }
  return to;
}

/** Late-bound pointers and those into objects whose structs moved are resolved each time. */
function leadsStraight(to: usize, low: u32): bool {
  if (sys.object_at(to, anId) != low || sys.object_stat(anId, aStat, 32) < 0) return false;
  return load<u32>(aStat, 4) == Kind.shared || ((load<u32>(aStat, 8) & Rights.read) != 0 && load<u32>(to - low, FORWARDS) == 0);
}

/** Stores a pointer to the place `to` at `at`; 0 for null. In a transaction. */
export function setReference(at: usize, to: usize): i64 {
  const old = load<u64>(at);
  if (to == 0) store<u64>(at, 0);
  else {
    const base = objectBase(at);
    if (base != 0 && to - base < nearSize) store<u64>(at, <u64>(to - base));
    else {
      const pointer = sys.refer(at, to);
      if (failed(pointer)) return pointer;
      store<i64>(at, pointer);
    }
  }
  return old >> 40 == 0 ? 0 : sys.unrefer(at, <i64>old);
}

/** The root of the object that is mapped at `base`, where its type has that fingerprint; else 0. */
export function rootOf(base: usize, fingerprint: u64): usize {
  if (base == 0) return 0;
  const root = sys.object_root_as(base, <i64>fingerprint);
  return failed(root) ? 0 : <usize>root;
}

/** A zeroed block in the object that `near` lies in, in a transaction; 0 where there is no room. */
export function allocate(near: usize, size: u32): usize {
  const at = sys.allocate(near, size);
  // The object may have grown.
  nearSize = 0;
  return failed(at) ? 0 : <usize>at;
}

export function release(at: usize): i64 {
  return sys.release(at);
}

/**
 * Settling: after a migration, pointers of other objects still name places that structs have left. They are corrected, the places given
 * back, and the lists of moved structs dropped.
 *
 * Nobody knows all pointers to an object. But a FOT entry counts those that go through it: where as many were found as it counts, all
 * were found. An object that some other refers to by more pointers than were found keeps its list, and all is as right as before.
 */
import { FLAG, META } from '../../abi/format.ts';
import { isTwzError } from '../../abi/errors.ts';
import type { FotEntry } from '../../abi/handle.ts';
import type { ObjectId } from '../../abi/id.ts';
import { blockAround } from '../../kernel/allocator.ts';
import { fotEntries } from '../../kernel/fot.ts';
import type { Kernel } from '../../kernel/kernel.ts';
import type { Handle } from '../../kernel/object.ts';
import { run } from '../../kernel/transaction.ts';
import type { ObjectSchema } from '../check/schema.ts';
import { isNamespace } from '../naming.ts';
import { forwarded, forwardsOf, storeForwards } from './forwards.ts';
import { homeOf, pointersOf } from './outsiders.ts';
import type { FarPointer } from './survey.ts';

/** `schemaOf` gives an object's own schema, undefined where it has none that can be read. Returns how many objects were settled. */
export function settle(kernel: Kernel, ids: readonly ObjectId[], schemaOf: (h: Handle) => ObjectSchema | undefined): number {
  const open = (id: ObjectId): Handle | undefined => {
    try {
      return kernel.open(id);
    } catch (error) {
      if (isTwzError(error)) return undefined;
      throw error;
    }
  };
  const moved = new Set<ObjectId>();
  for (const id of ids) {
    const h = open(id);
    if (h !== undefined && h.dv.getUint32(META.forwards, true) !== 0) moved.add(id);
  }
  if (moved.size === 0) return 0;
  const surveys = new Map<Handle, ReturnType<typeof pointersOf>>();
  for (const id of ids) {
    const h = open(id);
    // What cannot be looked into may refer to anything.
    if (h === undefined) return 0;
    const entries = [...fotEntries(h)].filter((entry) => entry.id !== undefined && moved.has(entry.id));
    // A namespace refers to objects as a whole.
    if (entries.length === 0 || isNamespace(h)) continue;
    const home = homeOf(h);
    if (home.cold) home.warm();
    const schema = (h.flags & FLAG.raw) === 0 ? schemaOf(home) : undefined;
    if (schema !== undefined && !surveys.has(home)) surveys.set(home, pointersOf(home, schema));
    const pointers = schema === undefined ? undefined : surveys.get(home);
    for (const target of pointers === undefined ? entries.map((entry) => entry.id) : correct(h, entries, pointers.get(h)))
      if (target !== undefined) moved.delete(target);
  }
  for (const id of moved) {
    const h = open(id);
    if (h !== undefined) run(kernel, () => giveBack(h));
  }
  return moved.size;
}

/** Corrects an object's pointers to what has moved. Returns the targets of which it may have pointers that were not found. */
function correct(
  h: Handle,
  entries: readonly FotEntry[],
  found: ReadonlyMap<number, readonly FarPointer[]> | undefined,
): (ObjectId | undefined)[] {
  const unseen: (ObjectId | undefined)[] = [];
  const stores: [at: number, to: number][] = [];
  for (const { index, count, id } of entries) {
    const through = found?.get(index) ?? [];
    if (through.length !== count || id === undefined) {
      unseen.push(id);
      continue;
    }
    const target = h.kernel.open(id);
    for (const { at, offset, type } of through) {
      const to = type === undefined ? offset : forwarded(target, offset, type);
      if (to !== offset) stores.push([at, to]);
    }
  }
  if (h.cold) h.warm();
  if (stores.length === 0) return unseen;
  try {
    run(h.kernel, () => {
      for (const [at, to] of stores) h.setU32(at, to);
    });
  } catch (error) {
    // It cannot be written to: its pointers stay, and so do the places that they name.
    if (isTwzError(error, 'ObjectImmutable') || isTwzError(error, 'ObjectForbidden')) return entries.map((entry) => entry.id);
    throw error;
  }
  return unseen;
}

function giveBack(h: Handle): void {
  const places = new Set<number>();
  const list = forwardsOf(h);
  const taken = new Set(list.map(({ to }) => blockAround(h, to)?.at));
  for (const { from } of list) {
    const block = blockAround(h, from);
    if (block !== undefined && !taken.has(block.at)) places.add(block.at);
  }
  for (const at of places) h.release(at);
  storeForwards(h, []);
}

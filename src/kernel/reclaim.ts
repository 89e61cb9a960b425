/**
 * Reclaiming: which objects does nothing need any more?
 *
 * The FOTs say what refers to what, so nothing has to be parsed. Roots are all objects with an explicit lifetime (and so every
 * namespace); from them references are followed; a counted object that is not reached is deleted. Cycles of counted objects go too.
 * An object that is tied to a living one lives.
 */
import { TwzError } from '../abi/errors.ts';
import { FLAG, FOT_FLAG, KIND } from '../abi/format.ts';
import { isId, type ObjectId } from '../abi/id.ts';
import { fotEntries, idsWith } from './fot.ts';
import type { Kernel } from './kernel.ts';
import { deleteObject, ties } from './lifetime.ts';
import type { Handle } from './object.ts';

export interface Reclaimed {
  readonly objects: number;
  readonly deleted: readonly ObjectId[];
}

/** IDs of all live objects, in no order. */
export function* objectIds(kernel: Kernel): Generator<ObjectId> {
  if (kernel.closed) throw new TwzError('SpaceClosed', 'the space was closed');
  const seen = new Set<string>();
  for (const [id, h] of kernel.handles) {
    if (h.state !== 'live' || h.slot === undefined) {
      if (h.state !== 'live') seen.add(id);
      continue;
    }
    seen.add(id);
    yield id;
  }
  const foreign = kernel.follower?.foreign;
  if (foreign !== undefined && foreign.size > 0)
    for (const [id, { removed }] of [...foreign]) {
      if (seen.has(id)) continue;
      seen.add(id);
      if (!removed) yield id;
    }
  for (const id of [...kernel.checkpointer.adoptions]) {
    if (seen.has(id)) continue;
    seen.add(id);
    yield id;
  }
  const { host, directory } = kernel;
  for (const part of host.list(`${directory}/objects`)) {
    for (const name of host.list(`${directory}/objects/${part}`)) {
      const id = name.replace(/\.twz$/, '');
      if (isId(id) && !seen.has(id)) yield id;
    }
  }
}

/** Deletes unreachable counted objects. Inside a transaction. */
export function reclaim(kernel: Kernel): Reclaimed {
  const all = [...objectIds(kernel)];
  const reached = new Set<ObjectId>();
  const todo: Handle[] = [];
  const counted: Handle[] = [];
  /** What collections have grown into, and what that is a part of. */
  const homes = new Map<ObjectId, Handle>();
  const reach = (h: Handle): void => {
    if (reached.has(h.id)) return;
    reached.add(h.id);
    todo.push(h);
    // What is used in one part of an object uses the object.
    const home = homes.get(h.id);
    if (home !== undefined) reach(home);
  };
  const roots: Handle[] = [];
  for (const id of all) {
    const h = kernel.open(id);
    if (h.counted) counted.push(h);
    else roots.push(h);
  }
  for (const h of counted) if (h.kind !== KIND.immutable) for (const part of idsWith(h, FOT_FLAG.part)) homes.set(part, h);
  for (const h of roots) reach(h);
  const drain = (): void => {
    for (let h = todo.pop(); h !== undefined; h = todo.pop()) {
      // What the running transaction took the last pointer from leads nowhere any more; its entry is freed at the commit.
      const exact = (h.flags & FLAG.raw) === 0;
      for (const entry of fotEntries(h)) {
        if (entry.id !== undefined && !(exact && entry.count === 0) && kernel.has(entry.id)) reach(kernel.open(entry.id));
      }
    }
  };
  drain();
  for (let again = true; again;) {
    again = false;
    for (const h of counted) {
      if (reached.has(h.id) || !ties(h).some((id) => reached.has(id))) continue;
      reach(h);
      drain();
      again = true;
    }
  }
  const deleted: ObjectId[] = [];
  for (const h of counted) {
    if (reached.has(h.id)) continue;
    // A part is gone with its object.
    if (h.state === 'live') deleteObject(kernel, h);
    deleted.push(h.id);
  }
  return { objects: all.length, deleted };
}

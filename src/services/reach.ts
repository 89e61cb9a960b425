/** What objects need: everything that they refer to, and what that refers to. */
import { FOT_FLAG } from '../abi/format.ts';
import type { ObjectId } from '../abi/id.ts';
import type { Space } from '../space.ts';
import { ObjectImage } from './check/object-image.ts';

export interface Reached {
  readonly ids: ReadonlySet<ObjectId>;
  /** Referred to, and not in the space. */
  readonly missing: ReadonlySet<ObjectId>;
}

/** The objects and all that can be reached from them by references and ties, and the merge code of progressive ones. */
export function closure(space: Space, from: Iterable<ObjectId>): Reached {
  const ids = new Set<ObjectId>();
  const missing = new Set<ObjectId>();
  const todo = [...from];
  for (let id = todo.pop(); id !== undefined; id = todo.pop()) {
    if (ids.has(id) || missing.has(id)) continue;
    if (!space.has(id)) {
      missing.add(id);
      continue;
    }
    ids.add(id);
    const object = space.object(id);
    for (const entry of object.fot()) if (entry.id !== undefined) todo.push(entry.id);
    todo.push(...space.ties(object));
    if (object.merge !== undefined) todo.push(object.merge);
  }
  return { ids, missing };
}

/** The objects, and those that their collections go on in. */
export function withParts(space: Space, ids: Iterable<ObjectId>): Set<ObjectId> {
  const found = new Set(ids);
  for (const id of found) for (const part of partsOf(space, id)) found.add(part);
  return found;
}

/** The objects that an object's collections go on in, as far as they are there. */
export function partsOf(space: Space, id: ObjectId): ObjectId[] {
  if (!space.has(id)) return [];
  const parts: ObjectId[] = [];
  for (const entry of new ObjectImage(space.object(id).image()).fotEntries())
    if (entry.id !== undefined && (entry.flags & FOT_FLAG.part) !== 0 && space.has(entry.id)) parts.push(entry.id);
  return parts;
}

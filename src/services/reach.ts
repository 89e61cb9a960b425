/** What objects need: everything that they refer to, and what that refers to. */
import type { ObjectId } from '../abi/id.ts';
import type { Space } from '../space.ts';

export interface Reached {
  readonly ids: ReadonlySet<ObjectId>;
  /** Referred to, and not in the space. */
  readonly missing: ReadonlySet<ObjectId>;
}

/** The objects and all that can be reached from them by references and ties. */
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
  }
  return { ids, missing };
}

/** Copy: objects and all that they refer to, from one space into another, under the same IDs. */
import type { ObjectId } from '../abi/id.ts';
import type { Space } from '../space.ts';
import { enter, namesOf, type LoadReport } from './dump.ts';
import { closure, withParts } from './reach.ts';

export interface CopyReport extends LoadReport {
  /** Referred to, and in neither space. */
  readonly missing: readonly ObjectId[];
}

export interface CopyOptions {
  /** Not what the objects refer to, but all that their collections lie in. */
  readonly only?: boolean;
  /** The names, too. */
  readonly names?: boolean;
}

/**
 * One transaction: all or nothing. An object that is there already must be the same, else ObjectExists; a name must be free or lead to the
 * same object, else NameExists.
 */
export function copyObjects(from: Space, targets: readonly ObjectId[], to: Space, options: CopyOptions = {}): CopyReport {
  const found = options.only === true ? { ids: withParts(from, targets), missing: new Set<ObjectId>() } : closure(from, targets);
  const objects = new Map<ObjectId, Uint8Array>();
  for (const id of found.ids) {
    const object = from.object(id);
    if (object.kind !== 'volatile' && object.kind !== 'shared') objects.set(id, object.image());
  }
  const names = options.names === false ? [] : namesOf(from, found.ids);
  const report = enter(to, { objects, names });
  return { ...report, missing: [...found.missing].filter((id) => !to.has(id)).sort() };
}

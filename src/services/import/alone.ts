/**
 * One import runs in a space at a time, of whatever kind, so every stage that is found when one begins is a dead one. A stage is a
 * namespace /imports/.NAME.part that becomes the import by one rename.
 */
import { TwzError } from '../../abi/errors.ts';
import { isCollectionAccessor } from '../../lib/collections/type.ts';
import type { Space } from '../../space.ts';
import { collectionIn } from '../interchange/row-maps.ts';
import { IMPORTS } from './open.ts';

const running = new WeakSet<Space>();

/** Runs an import. Throws NotSupported where one is running. */
export async function alone<T>(space: Space, run: () => Promise<T>): Promise<T> {
  if (running.has(space)) throw new TwzError('NotSupported', 'an import is running in this space; one runs at a time');
  running.add(space);
  try {
    return await run();
  } finally {
    running.delete(space);
  }
}

/** Removes dead stages, and tells how many there were. Nothing while an import runs. */
export function removeStages(space: Space): number {
  return running.has(space) || space.names.lookup(IMPORTS) === undefined ? 0 : clearStages(space);
}

/** For the import that is running: removes all stages. */
export function clearStages(space: Space): number {
  const left = space.names.list(IMPORTS).filter(({ name }) => /^\..*\.part$/.test(name));
  for (const { name } of left) space.relaxed(() => removeTree(space, `${IMPORTS}/${name}`));
  return left.length;
}

/** Removes a namespace of an import with all that is in it. Inside a transaction. */
export function removeTree(space: Space, path: string): void {
  for (const { kind, owns, id } of space.names.list(path)) {
    if (kind !== 'object' || !owns || id === undefined || !space.has(id)) continue;
    // A collection goes with the objects that it has grown into.
    const collection = collectionIn(space.object(id))?.open(space);
    if (collection !== undefined && isCollectionAccessor(collection)) space.delete(collection);
  }
  space.names.remove(path, { recursive: true });
}

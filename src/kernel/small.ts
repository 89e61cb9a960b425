/** Reading objects that are not mapped: small files are read in one go; what is not here is looked for where else it may be. */
import { TwzError, isTwzError } from '../abi/errors.ts';
import type { ObjectId } from '../abi/id.ts';
import { wanted } from './afar.ts';
import { helpDraft } from './drafts.ts';
import type { Kernel } from './kernel.ts';
import { wasDeleted } from './lifetime.ts';
import type { Handle } from './object.ts';

/** Where small files are read to first: their length is not known before. A file that fills it is mapped instead. */
export const SMALL = new Uint8Array(65536 + 1);

/** How often an object that goes again at once is brought. */
const BRING_TRIES = 8;

/**
 * Reads the object's file into `SMALL` and returns its length. Undefined where the object was mapped meanwhile: it is one that others made
 * just now, or that another node has.
 */
export function readSmall(kernel: Kernel, h: Handle): number | undefined {
  const { follower, afar } = kernel;
  try {
    // The file of what was taken out goes with the next checkpoint.
    if (afar !== undefined && kernel.checkpointer.awaitsRemoval(h.id)) throw missing(h.id);
    return read(kernel, h);
  } catch (error) {
    if (!isTwzError(error, 'ObjectMissing')) throw error;
    if (kernel.transaction !== undefined) throw afar === undefined ? error : wanted(kernel, { what: 'bring', id: h.id });
    if (follower !== undefined) {
      follower.catchUp();
      if (kernel.mapForeign(h)) return undefined;
      if (afar === undefined) return read(kernel, h);
    }
    for (let tries = 1; ; tries++) {
      if (afar?.bring(h.id) !== true) throw error;
      kernel.catchUp();
      // It may have gone again before anybody looked.
      const gone = h.state !== 'live' || (h.slot === undefined && !kernel.has(h.id));
      if (!gone) return h.slot !== undefined || kernel.mapForeign(h) ? undefined : read(kernel, h);
      if (tries === BRING_TRIES) throw error;
    }
  }
}

function read(kernel: Kernel, h: Handle): number {
  try {
    return kernel.host.readFile(kernel.path(h.id), SMALL);
  } catch (error) {
    if (!isTwzError(error, 'FileMissing')) throw error;
    // Another process committed it, and is about to put it in its place.
    if (helpDraft(kernel, h.id)) return kernel.host.readFile(kernel.path(h.id), SMALL);
    if (wasDeleted(kernel, h.id)) throw new TwzError('ObjectDeleted', `object ${h.id} was deleted`, { id: h.id });
    throw missing(h.id);
  }
}

function missing(id: ObjectId): TwzError {
  return new TwzError('ObjectMissing', `object ${id} is not in the space`, { id });
}

/**
 * The image of an object in memory that views of programs map, too.
 *
 * The kernel's image is a private mapping of the object's file: nobody else could show it. When the first program maps the object, the image
 * moves to memory that can be mapped anywhere, at the same place in the same slot. Loads and stores through the handle go on as before;
 * every view sees them at once, and keeps its own stores to itself until they are committed.
 *
 * It stays there until the object is unmapped. It takes memory for all of the object, which the file's pages do not.
 */
import { TwzError } from '../abi/errors.ts';
import type { File } from '../host/host.ts';
import type { Kernel } from './kernel.ts';
import type { Handle } from './object.ts';

/** Moves the image there, if it is not yet. What is given can be mapped as long as `h.imageFile` is the same. */
export function shareImage(kernel: Kernel, h: Handle): File {
  if (h.cold) h.reach();
  const { imageFile, slot } = h;
  if (imageFile !== undefined) return imageFile;
  const { isolation } = kernel.host;
  if (isolation === undefined || slot === undefined)
    throw new TwzError('NotSupported', 'this host cannot show an object to programs', { id: h.id });
  const file = isolation.memoryFile(h.capacity);
  try {
    kernel.host.write(file, h.u8, 0);
    slot.window.mapShared(slot.at, h.capacity, file, 0);
  } catch (error) {
    kernel.host.close(file);
    throw error;
  }
  kernel.setMapped(h, false);
  h.imageFile = file;
  return file;
}

/** The slot is given back, or has another image. True where it showed this memory. */
export function dropImageFile(kernel: Kernel, h: Handle): boolean {
  const { imageFile } = h;
  if (imageFile === undefined) return false;
  h.imageFile = undefined;
  kernel.host.close(imageFile);
  return true;
}

/** Spaces of a given size, for what must not depend on size. */
import { type ObjectId, objectOf, open } from '../src/index.ts';
import { Chain } from './graph.ts';

const WRITTEN_EVERY = 1 << 20;
const OBJECT = 1 << 29;

/**
 * A space of `bytes` in objects of up to 512 MiB, each with a typed root. The files are sparse: a byte is written in every MiB. To
 * open and to map a file, its length counts, not its blocks; a page that was never written reads as zero from a hole as from a block.
 */
export function makeLarge(directory: string, bytes: number): ObjectId[] {
  const space = open(directory);
  const ids: ObjectId[] = [];
  for (let rest = bytes; rest > 0; rest -= OBJECT) {
    const size = Math.min(rest, OBJECT);
    const { object, block, length } = space.relaxed(() => {
      const made = objectOf(space.create(Chain, { count: ids.length, first: null }, { reserve: size }));
      // Room for the metadata, the root and the page map.
      const left = size - made.size - size / 1024;
      return { object: made, block: made.allocate(left), length: left };
    });
    // In the file before it is opened raw: only so does a raw view keep no copies of untouched pages.
    space.checkpoint();
    space.relaxed(() => {
      const raw = object.raw(block, length);
      for (let at = 0; at < length; at += WRITTEN_EVERY) raw[at] = 1 + (at % 255);
    });
    space.checkpoint();
    object.releaseRaw();
    ids.push(object.id);
  }
  space.close();
  return ids;
}

/** A space of `count` objects of the least size. */
export function makeMany(directory: string, count: number): ObjectId[] {
  const space = open(directory);
  const ids: ObjectId[] = [];
  while (ids.length < count) {
    space.relaxed(() => {
      for (let i = 0; i < 1000 && ids.length < count; i++) ids.push(objectOf(space.create(Chain, { count: ids.length, first: null })).id);
    });
  }
  space.close();
  return ids;
}

/** Spaces of a given size, for what must not depend on size. */
import { type ObjectId, objectOf, open } from "../src/index.ts";
import { Chain } from "./graph.ts";

const WRITTEN_EVERY = 1 << 20;
const OBJECT = 1 << 29;

/**
 * A space of `bytes` in objects of up to 512 MiB, each with a typed root. The files are sparse: a word is written in every MiB of the upper half. To
 * open and to map a file, its length counts, not its blocks; a page that was never written reads as zero from a hole as from a block.
 */
export function makeLarge(directory: string, bytes: number): ObjectId[] {
  const space = open(directory);
  const ids: ObjectId[] = [];
  for (let rest = bytes; rest > 0; rest -= OBJECT) {
    const size = Math.min(rest, OBJECT);
    const id = space.relaxed(() => {
      const root = space.create(Chain, { count: ids.length, first: null }, { size });
      const raw = objectOf(root).raw();
      const words = new Uint32Array(raw.buffer, raw.byteOffset, raw.byteLength >>> 2);
      for (let at = size / 2; at < size; at += WRITTEN_EVERY) words[at >>> 2] = at;
      return objectOf(root).id;
    });
    ids.push(id);
    space.checkpoint();
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
      for (let i = 0; i < 1000 && ids.length < count; i++)
        ids.push(objectOf(space.create(Chain, { count: ids.length, first: null })).id);
    });
  }
  space.close();
  return ids;
}

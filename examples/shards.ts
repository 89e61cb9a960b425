/**
 * What the recipes for several processes have in common: an object that whoever is first makes, under a name; and several objects of one type, so
 * that programs which change different keys mostly change different objects, and do not wait for each other.
 */
import { ref, vec, type Instance, type Space, type Struct } from '../src/index.ts';

/** The object of that name, made if there is none. Any number of processes may do this at once: one makes it. */
export function shared<F>(space: Space, path: string, type: Struct<F>): Instance<F> {
  return space.relaxed(() => {
    if (space.names.find(path) === undefined) space.names.set(path, space.create(type));
    return space.names.get(path, type);
  });
}

/** As `shared`: several objects of the type. How many there are was said by the one who made them. */
export function sharedShards<F>(space: Space, path: string, type: Struct<F>, count: number): readonly Instance<F>[] {
  const Shards = vec(ref(type));
  const shards = space.relaxed(() => {
    if (space.names.find(path) === undefined) {
      const made = space.create(Shards);
      for (let i = 0; i < count; i++) made.push(space.create(type));
      space.names.set(path, made);
    }
    return space.names.get(path, Shards);
  });
  return shards.toArray().filter((shard) => shard !== null);
}

/** The shard of a key: the same in every process. */
export function shardOf<S>(shards: readonly S[], key: string): S {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  const shard = shards[(hash >>> 16) % shards.length];
  if (shard === undefined) throw new Error('there are no shards');
  return shard;
}

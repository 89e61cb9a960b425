/** Builds a search tree over several objects, says so, and changes all of it in one transaction, until it is killed. Arguments: directory, host. */
import { writeSync } from 'node:fs';
import { LinuxHost } from '../src/host/linux/linux.ts';
import { PortableHost } from '../src/host/portable/portable.ts';
import { bool, objectOf, open, ref, struct, text, u32, type Infer, type Obj, type Space } from '../src/index.ts';

export const Leaf = struct('KillLeaf', {
  key: u32,
  word: text,
  spoilt: bool,
  get left() {
    return ref(Leaf);
  },
  get right() {
    return ref(Leaf);
  },
  get parent() {
    return ref(Leaf);
  },
});
export type Leaf = Infer<typeof Leaf>;

export const KEYS = 20_000;
export const OBJECTS = 7;

export const wordOf = (key: number): string => (key % 3 === 0 ? '' : `word ${key}`);

/** A tree of the keys from `from` to `to` - 1. Each node lies in another object than its parent. */
function grow(space: Space, objects: readonly Obj[], from: number, to: number, parent: Leaf | null, depth: number): Leaf | null {
  if (from >= to) return null;
  const key = Math.floor((from + to) / 2);
  const object = objects[(depth + key) % objects.length];
  if (object === undefined) throw new Error('no object');
  const leaf = space.make(Leaf, object, { key, word: wordOf(key) });
  leaf.parent = parent;
  leaf.left = grow(space, objects, from, key, leaf, depth + 1);
  leaf.right = grow(space, objects, key + 1, to, leaf, depth + 1);
  return leaf;
}

function spoil(leaf: Leaf | null): void {
  if (leaf === null) return;
  spoil(leaf.left);
  spoil(leaf.right);
  leaf.spoilt = true;
  leaf.word = 'spoilt';
  leaf.left = leaf.right;
  leaf.parent = null;
}

const [, , directory, host] = process.argv;
if (directory !== undefined) {
  const space = open(directory, { host: host === 'linux' ? new LinuxHost() : new PortableHost() });
  const root = space.relaxed(() => {
    const objects = Array.from({ length: OBJECTS }, () => objectOf(space.create(Leaf)));
    const tree = grow(space, objects, 0, KEYS, null, 0);
    if (tree !== null) space.names.set('/tree', space.create(Leaf, { key: KEYS, left: tree }));
    return tree;
  });
  space.relaxed(() => {
    spoil(root);
    writeSync(1, 'all is spoilt\n');
    // Neither committed nor ended.
    for (;;);
  });
}

/** Appending to ordered maps: entries that ascend are put into the last leaf one after the other, without looking for their places. */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import type { KeyCodec } from './keys.ts';
import { TREE } from './ordered-search.ts';
import type { OrderedTree } from './ordered-tree.ts';
import { poolAllocate, poolRelease } from './pool.ts';
import type { Records, ValueCodec } from './records.ts';
import { specialize } from './specialize.ts';

/** Appends entries to the map whose header is at `o` of `h`. */
export type OrderedLoad<K, I> = (h: ObjectHandle, o: number, entries: Iterable<readonly [K, I]>) => void;

const TOOLS = {
  TREE,
  allocate: poolAllocate,
  release: poolRelease,
  outOfOrder(key: unknown): never {
    throw new TwzError('OutOfRange', `entries to load must ascend: ${String(key)} is not behind the last key`);
  },
};

type LoadTools = typeof TOOLS;

function makeLoad<K, V, I>(
  K: KeyCodec<K>,
  R: Records<K, V, I>,
  C: ValueCodec<V, I>,
  B: OrderedTree<K, I>,
  T: LoadTools,
): OrderedLoad<K, I> {
  const { CHANGES, POOL, SKIP, HEADS, RECORDS, LEAF_MAX } = T.TREE;
  const F = B.search;

  return (h, o, entries) => {
    /** The last leaf and its last record, as they are while `changes` is the number of changes. */
    let leaf = h;
    let leafAt = 0;
    let count: number = LEAF_MAX;
    let skip = 0;
    let record = h;
    let recordAt = 0;
    let changes = -1;
    /** Keys that share fewer bytes with the last one are put where they belong with a look at the nodes above. */
    let common = 0;

    /** Takes note of the last leaf. */
    function look(): void {
      F.descendLast(h, o);
      leaf = F.leaf;
      leafAt = F.leafAt;
      count = leaf.dv.getUint16(leafAt, true);
      skip = leaf.dv.getUint32(leafAt + SKIP, true);
      common = skip;
      while (F.sharesMore(h, o, common)) common++;
      const c = leaf.dv.getUint32(leafAt + RECORDS + (count - 1) * 4, true);
      record = B.object(h, o, c);
      recordAt = B.offset(c);
      changes = h.dv.getUint32(o + CHANGES, true);
    }

    function append(value: I): void {
      const c = T.allocate(h, o + POOL, R.sizeFor(value));
      const r = B.object(h, o, c);
      const at = B.offset(c);
      let written = false;
      try {
        R.write(r, at);
        written = true;
        if (C.size !== 0) C.store(r, at, value);
      } catch (error) {
        if (written) R.drop(r, at);
        T.release(h, o + POOL, c);
        throw error;
      }
      const head = leafAt + HEADS + count * 4;
      if (leaf.dirty[head >>> 6] !== 1) leaf.mark(head);
      leaf.dv.setUint32(head, R.head(skip), true);
      const place = leafAt + RECORDS + count * 4;
      if (leaf.dirty[place >>> 6] !== 1) leaf.mark(place);
      leaf.dv.setUint32(place, c, true);
      count++;
      F.put16(leaf, leafAt, count);
      F.put(h, o, h.dv.getUint32(o, true) + 1);
      F.changed(h, o);
      changes = (changes + 1) >>> 0;
      record = r;
      recordAt = at;
    }

    for (const [key, value] of entries) {
      K.encode(key, h);
      if (h.cold) h.warm();
      // Whoever makes the entries may use this very map.
      if (!C.whole && count < LEAF_MAX && h.dv.getUint32(o + CHANGES, true) === changes) {
        const shared = R.above(record, recordAt);
        if (shared < 0) T.outOfOrder(key);
        if (K.exact || shared >= common) {
          append(value);
          continue;
        }
      }
      if (!B.behindLast(h, o)) T.outOfOrder(key);
      B.insert(h, o, value);
      look();
    }
  };
}

/** The loading of one type of map, compiled for it. */
export function loadOf<K, V, I>(
  keys: KeyCodec<K>,
  records: Records<K, V, I>,
  values: ValueCodec<V, I>,
  tree: OrderedTree<K, I>,
): OrderedLoad<K, I> {
  return specialize(makeLoad<K, V, I>)(keys, records, values, tree, TOOLS);
}

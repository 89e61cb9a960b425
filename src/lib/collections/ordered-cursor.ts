/** Walking through ordered maps: ranges, and cursors that stay right while the map changes. */
import { TwzError } from '../../abi/errors.ts';
import type { ObjectHandle } from '../../abi/handle.ts';
import { unfit } from '../runtime.ts';
import { ByteView } from './byte-view.ts';
import { SCRATCH, refusePrefix, type KeyCodec, type Scratch } from './keys.ts';
import type { OrderedTree } from './ordered-tree.ts';
import type { Records } from './records.ts';
import { specialize } from './specialize.ts';

/** A part of the keys, in order. Without bounds it is all of them. */
export interface Range<K> {
  /** From this key on. */
  readonly from?: K;
  /** Behind this key. */
  readonly after?: K;
  /** Up to this key, without it. */
  readonly to?: K;
  /** Up to this key, with it. */
  readonly through?: K;
  /** Keys that begin so: of text, bytes and collations alone. */
  readonly prefix?: K;
  /** From the last to the first. */
  readonly reverse?: boolean;
  /** At most so many. */
  readonly limit?: number;
}

/** A place between and on the entries of a range. It stays right when the map is changed: it goes on behind the last key that it was on. */
export interface OrderedCursor<K, V> {
  /** Moves to the next entry; false behind the last. */
  next(): boolean;
  /** The entry that it is on. Throws OutOfRange where it is on none, or that was deleted. */
  readonly key: K;
  readonly value: V;
  readonly view: ByteView;
}

export type CursorClass<K, V> = new (h: ObjectHandle, o: number, range: Range<K>) => OrderedCursor<K, V>;

interface CursorTools {
  readonly unfit: typeof unfit;
  readonly refusePrefix: typeof refusePrefix;
  readonly ByteView: typeof ByteView;
  readonly outOfRange: (what: string) => never;
}

const TOOLS: CursorTools = {
  unfit,
  refusePrefix,
  ByteView,
  outOfRange(what) {
    throw new TwzError('OutOfRange', what);
  },
};

function makeCursor<K, V, I>(K: KeyCodec<K>, R: Records<K, V, I>, B: OrderedTree<K, I>, S: Scratch, T: CursorTools): CursorClass<K, V> {
  const KEY = R.keyAt;
  let record: ObjectHandle | undefined;

  const BEFORE = 0;
  const BEHIND = 1;

  function demand(range: Range<K>): void {
    if (typeof range !== 'object' || range === null) T.unfit('a range', range, 'an object like {from, to}');
    if (range.prefix !== undefined && !K.prefixes) T.refusePrefix(K.signature, range.prefix);
    if (range.limit !== undefined && !(range.limit >= 0)) T.unfit('limit', range.limit, 'a number from 0 on');
  }

  /** Puts the scratch key behind all keys that begin with it. False where there is nothing behind. */
  function raise(): boolean {
    let { length } = S;
    while (length > 0 && S.bytes[length - 1] === 255) length--;
    if (length === 0) return false;
    S.bytes[length - 1] = (S.bytes[length - 1] as number) + 1;
    S.bytes.fill(0, length, ((S.stored + 3) & ~3) + 4);
    S.length = length;
    S.stored = length;
    return true;
  }

  /** One place among the entries: a leaf and an index before which it is. */
  class Place {
    address = 0;
    index = 0;

    /** Before the first entry that is not before the scratch key, or (BEHIND) behind it. */
    seek(h: ObjectHandle, o: number, side: number): void {
      const edge = B.beyond(h, o);
      if (edge < 0) {
        this.first(h, o);
        return;
      }
      if (edge > 0) {
        this.end(h, o);
        return;
      }
      const at = B.find(h, o);
      this.address = B.search.leafAddress;
      this.index = at !== 0 && side === BEHIND ? B.search.index + 1 : B.search.index;
    }

    first(h: ObjectHandle, o: number): void {
      this.address = B.firstLeaf(h, o);
      this.index = 0;
    }

    end(h: ObjectHandle, o: number): void {
      this.address = B.lastLeaf(h, o);
      this.index = this.address === 0 ? 0 : B.count(B.object(h, o, this.address), B.offset(this.address));
    }
  }

  class Cursor {
    readonly #h: ObjectHandle;
    readonly #o: number;
    readonly #range: Range<K>;
    readonly #reverse: boolean;
    #left: number;
    #changes = -1;
    #turn = 0;
    /** The leaf that it is in, where in it, and the index behind (reverse: at) the last entry of the range there; the leaf that ends it. */
    #leaf: ObjectHandle | undefined;
    #at = 0;
    #address = 0;
    #index = 0;
    #stop = 0;
    #endAddress = 0;
    #endIndex = 0;
    /** Words and length of the key that it is on, and its record; 0 where it is on none. */
    #saved = new Int32Array(8);
    #savedLength = -1;
    #record = 0;

    constructor(h: ObjectHandle, o: number, range: Range<K>) {
      demand(range);
      this.#h = h;
      this.#o = o;
      this.#range = range;
      this.#reverse = range.reverse === true;
      this.#left = range.limit ?? Infinity;
    }

    /** Sets the bounds anew, and goes on from the key that it is on. */
    #seek(): void {
      const h = this.#h;
      const o = this.#o;
      if (h.cold) h.warm();
      const { from, after, to, through, prefix } = this.#range;
      this.#changes = B.changes(h, o);
      this.#turn = h.turn;
      const low = new Place();
      const high = new Place();
      low.first(h, o);
      high.end(h, o);
      if (prefix !== undefined) {
        K.encode(prefix, this.#h);
        low.seek(h, o, BEFORE);
        K.encode(prefix, this.#h);
        if (raise()) high.seek(h, o, BEFORE);
      }
      if (from !== undefined) this.#later(low, from, BEFORE);
      if (after !== undefined) this.#later(low, after, BEHIND);
      if (to !== undefined) this.#earlier(high, to, BEFORE);
      if (through !== undefined) this.#earlier(high, through, BEHIND);
      let start = this.#reverse ? high : low;
      const stop = this.#reverse ? low : high;
      if (this.#savedLength >= 0) {
        this.#recall();
        start = new Place();
        start.seek(h, o, this.#reverse ? BEFORE : BEHIND);
      }
      this.#endAddress = stop.address;
      this.#endIndex = stop.index;
      this.#address = start.address;
      this.#index = start.index;
      // Bounds the wrong way round have nothing between them.
      if (start.address === 0 || compare(h, o, low, high) >= 0) {
        this.#left = 0;
        return;
      }
      this.#enter(start.address, start.index);
    }

    #later(place: Place, key: K, side: number): void {
      const other = new Place();
      K.encode(key, this.#h);
      other.seek(this.#h, this.#o, side);
      if (compare(this.#h, this.#o, place, other) < 0) move(place, other);
    }

    #earlier(place: Place, key: K, side: number): void {
      const other = new Place();
      K.encode(key, this.#h);
      other.seek(this.#h, this.#o, side);
      if (compare(this.#h, this.#o, place, other) > 0) move(place, other);
    }

    #enter(address: number, at: number): void {
      this.#address = address;
      this.#leaf = B.object(this.#h, this.#o, address);
      this.#at = B.offset(address);
      this.#index = at;
      const count = B.count(this.#leaf, this.#at);
      if (this.#reverse) this.#stop = address === this.#endAddress ? this.#endIndex : 0;
      else this.#stop = address === this.#endAddress ? this.#endIndex : count;
    }

    #recall(): void {
      S.words.set(this.#saved.subarray(0, (this.#savedLength + 7) >>> 2));
      S.stored = this.#savedLength;
      S.length = this.#savedLength;
    }

    #save(r: ObjectHandle, at: number): void {
      let length = R.keyLength(r, at);
      if (K.compared !== undefined) length = K.compared(r, at + KEY, length);
      if (length + 8 > this.#saved.length * 4) this.#saved = new Int32Array((length >>> 2) * 2 + 8);
      const saved = this.#saved;
      const { dv } = r;
      const words = length >>> 2;
      for (let i = 0; i < words; i++) saved[i] = dv.getInt32(at + KEY + i * 4, true);
      if ((length & 3) !== 0) saved[words] = dv.getInt32(at + KEY + words * 4, true) & ((1 << ((length & 3) * 8)) - 1);
      else saved[words] = 0;
      saved[words + 1] = 0;
      this.#savedLength = length;
    }

    next(): boolean {
      const h = this.#h;
      const o = this.#o;
      if (h.cold) h.warm();
      this.#record = 0;
      if (this.#left <= 0) return false;
      if (B.changes(h, o) !== this.#changes || h.turn !== this.#turn) {
        this.#seek();
        if (this.#left <= 0) return false;
      }
      let n = this.#leaf as ObjectHandle;
      if (n.cold) n.warm();
      if (this.#reverse) {
        while (this.#index <= this.#stop) {
          if (this.#address === this.#endAddress) return this.#finish();
          const before = B.previous(n, this.#at);
          if (before === 0) return this.#finish();
          n = B.object(h, o, before);
          this.#enter(before, B.count(n, B.offset(before)));
        }
        this.#index--;
      } else
        while (this.#index >= this.#stop) {
          if (this.#address === this.#endAddress) return this.#finish();
          const after = B.next(n, this.#at);
          if (after === 0) return this.#finish();
          this.#enter(after, 0);
          n = this.#leaf as ObjectHandle;
        }
      const i = this.#reverse ? this.#index : this.#index++;
      const c = B.entry(n, this.#at, i);
      this.#record = c;
      this.#save(B.object(h, o, c), B.offset(c));
      this.#left--;
      return true;
    }

    #finish(): false {
      this.#left = 0;
      return false;
    }

    /** The record that it is on: its object in `record`. */
    #on(): number {
      const h = this.#h;
      const o = this.#o;
      if (this.#record === 0) T.outOfRange('the cursor is on no entry');
      if (h.cold) h.warm();
      if (B.changes(h, o) !== this.#changes || h.turn !== this.#turn) {
        this.#recall();
        if (B.find(h, o) === 0) T.outOfRange('the entry that the cursor was on is gone');
        this.#record = B.entry(B.object(h, o, B.search.leafAddress), B.offset(B.search.leafAddress), B.search.index);
      }
      record = B.object(h, o, this.#record);
      return B.offset(this.#record);
    }

    get key(): K {
      const at = this.#on();
      return R.key(record as ObjectHandle, at);
    }

    get value(): V {
      const at = this.#on();
      return R.value(record as ObjectHandle, at);
    }

    get view(): ByteView {
      const at = this.#on();
      const r = record as ObjectHandle;
      return new T.ByteView(r, R.valueAt(r, at), R.valueLength(r, at));
    }
  }

  function move(place: Place, to: Place): void {
    place.address = to.address;
    place.index = to.index;
  }

  /** Is one place before (negative) or behind another? */
  function compare(h: ObjectHandle, o: number, a: Place, b: Place): number {
    if (a.address === b.address) return a.index - b.index;
    if (a.address === 0 || b.address === 0) return 0;
    // By the entries beside them: in a leaf of its own each has one, on one side or the other.
    const aBehind = entryBefore(h, o, a);
    const bBehind = entryBefore(h, o, b);
    if (aBehind === 0 || bBehind === 0) return aBehind === bBehind ? 0 : aBehind === 0 ? -1 : 1;
    if (aBehind === bBehind) return 0;
    R.recall(B.object(h, o, bBehind), B.offset(bBehind));
    return R.compare(B.object(h, o, aBehind), B.offset(aBehind));
  }

  /** The record before a place; 0 before the first. */
  function entryBefore(h: ObjectHandle, o: number, place: Place): number {
    let { address, index: i } = place;
    while (i === 0) {
      address = B.previous(B.object(h, o, address), B.offset(address));
      if (address === 0) return 0;
      i = B.count(B.object(h, o, address), B.offset(address));
    }
    return B.entry(B.object(h, o, address), B.offset(address), i - 1);
  }

  return Cursor;
}

/** The cursors of one type of map, compiled for it. */
export function cursorOf<K, V, I>(keys: KeyCodec<K>, records: Records<K, V, I>, tree: OrderedTree<K, I>): CursorClass<K, V> {
  return specialize(makeCursor<K, V, I>)(keys, records, tree, SCRATCH, TOOLS);
}

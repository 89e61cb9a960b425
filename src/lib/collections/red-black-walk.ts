/** Walking through red-black trees: ranges, and walks that stay right while the tree changes. */
import type { ObjectHandle } from '../../abi/handle.ts';
import type { unfit } from '../runtime.ts';
import type { KeyCodec, Scratch, refusePrefix } from './keys.ts';
import type { Range } from './ordered-cursor.ts';
import type { damaged } from './tools.ts';

/** What a walk asks of its tree. */
export interface WalkedTree {
  readonly object: (h: ObjectHandle, o: number, address: number) => ObjectHandle;
  readonly offset: (address: number) => number;
  /** The key of a node less the scratch key. */
  readonly compareNode: (h: ObjectHandle, o: number, node: number) => number;
  /** Puts the key of a node into the scratch area. */
  readonly recall: (h: ObjectHandle, o: number, node: number) => void;
  readonly tooDeep: (h: ObjectHandle, o: number) => never;
}

/** Nodes of a range, in order: the next one, or 0 behind the last. */
export type WalkClass<K> = new (h: ObjectHandle, o: number, range: Range<K>) => { next(): number };

export interface WalkTools {
  readonly unfit: typeof unfit;
  readonly refusePrefix: typeof refusePrefix;
  readonly damaged: typeof damaged;
}

/** A factory as the tree's own: it uses nothing but its parameters. */
export function makeWalk<K>(K: KeyCodec<K>, B: WalkedTree, S: Scratch, T: WalkTools): WalkClass<K> {
  const ROOT = 4;
  const CHANGES = 16;
  const LEFT = 4;
  const RIGHT = 8;
  const DEPTH_MAX = 64;
  const { object, offset, compareNode, recall, tooDeep } = B;

  /** A place among the nodes, with the way on from there: the nodes that come later, the next one last. */
  class Trail {
    readonly stack: number[] = [];
    readonly side: number;

    /** `side` is 0 for ascending, 1 for descending. */
    constructor(side: number) {
      this.side = side;
    }

    /** The node that comes next; 0 for none. */
    get next(): number {
      return this.stack.at(-1) ?? 0;
    }

    /** Down from a node to the outermost one on the side that comes first. */
    descend(h: ObjectHandle, o: number, from: number): void {
      for (let node = from; node !== 0;) {
        if (this.stack.length > DEPTH_MAX) tooDeep(h, o);
        this.stack.push(node);
        node = object(h, o, node).dv.getInt32(offset(node) + LEFT + this.side * 4, true) & 0x7fffffff;
      }
    }

    /** To the first node that does not come before the scratch key; `beyond`: that comes after it. */
    seek(h: ObjectHandle, o: number, beyond: boolean): void {
      this.stack.length = 0;
      let steps = 0;
      for (let node = h.dv.getUint32(o + ROOT, true); node !== 0; steps++) {
        if (steps > DEPTH_MAX) tooDeep(h, o);
        const order = this.side === 0 ? compareNode(h, o, node) : -compareNode(h, o, node);
        const comes = order > 0 || (order === 0 && !beyond);
        if (comes) this.stack.push(node);
        node = object(h, o, node).dv.getInt32(offset(node) + (comes === (this.side === 0) ? LEFT : RIGHT), true) & 0x7fffffff;
      }
    }

    /** Goes past the next node. */
    pass(h: ObjectHandle, o: number): void {
      const node = this.stack.pop() as number;
      this.descend(h, o, object(h, o, node).dv.getInt32(offset(node) + RIGHT - this.side * 4, true) & 0x7fffffff);
    }
  }

  interface Bound {
    readonly key: K;
    readonly beyond: boolean;
    readonly prefix: boolean;
  }

  /** The bounds of a range where it begins and where it ends, as they are met on the way. */
  function boundsOf(range: Range<K>): { starts: Bound[]; ends: Bound[] } {
    if (typeof range !== 'object' || range === null) T.unfit('a range', range, 'an object like {from, to}');
    const { from, after, to, through, prefix, limit } = range;
    if (prefix !== undefined && !K.prefixes) T.refusePrefix(K.signature, prefix);
    if (limit !== undefined && !(limit >= 0)) T.unfit('limit', limit, 'a number from 0 on');
    const reverse = range.reverse === true;
    const low: Bound[] = [];
    const high: Bound[] = [];
    // In both directions: is the key itself left behind by what starts or ends here?
    if (from !== undefined) low.push({ key: from, beyond: reverse, prefix: false });
    if (after !== undefined) low.push({ key: after, beyond: !reverse, prefix: false });
    if (to !== undefined) high.push({ key: to, beyond: reverse, prefix: false });
    if (through !== undefined) high.push({ key: through, beyond: !reverse, prefix: false });
    if (prefix !== undefined) {
      low.push({ key: prefix, beyond: reverse, prefix: false });
      high.push({ key: prefix, beyond: reverse, prefix: true });
    }
    return reverse ? { starts: high, ends: low } : { starts: low, ends: high };
  }

  /** Makes the scratch key one behind all that begin with it. False where there is nothing behind. */
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

  /** Nodes of a range, in order. It stays right when the tree changes: it goes on behind the key of the last one. */
  class Walk {
    readonly #h: ObjectHandle;
    readonly #o: number;
    readonly #side: number;
    readonly #starts: readonly Bound[];
    readonly #ends: readonly Bound[];
    #left: number;
    #changes = -1;
    #turn = 0;
    #trail: Trail;
    #end = 0;
    #saved = new Int32Array(4);
    #savedLength = -1;

    constructor(h: ObjectHandle, o: number, range: Range<K>) {
      const { starts, ends } = boundsOf(range);
      this.#h = h;
      this.#o = o;
      this.#side = range.reverse === true ? 1 : 0;
      this.#starts = starts;
      this.#ends = ends;
      this.#left = range.limit ?? Infinity;
      this.#trail = new Trail(this.#side);
    }

    /** The trail to where a bound lies; undefined where it bounds nothing. */
    #place({ key, beyond, prefix }: Bound): Trail | undefined {
      const trail = new Trail(this.#side);
      K.encode(key, this.#h);
      if (prefix && !raise()) return undefined;
      trail.seek(this.#h, this.#o, beyond);
      return trail;
    }

    /** Does node `a` come before `b`? 0 comes last. */
    #precedes(a: number, b: number): boolean {
      if (a === b || a === 0) return false;
      if (b === 0) return true;
      recall(this.#h, this.#o, b);
      const order = compareNode(this.#h, this.#o, a);
      return this.#side === 0 ? order < 0 : order > 0;
    }

    #seek(): void {
      const h = this.#h;
      const o = this.#o;
      this.#changes = h.dv.getUint32(o + CHANGES, true);
      this.#turn = h.turn;
      let start = new Trail(this.#side);
      if (this.#savedLength >= 0) {
        S.words.set(this.#saved.subarray(0, (this.#savedLength + 7) >>> 2));
        S.length = S.stored = this.#savedLength;
        start.seek(h, o, true);
      } else start.descend(h, o, h.dv.getUint32(o + ROOT, true));
      for (const bound of this.#starts) {
        const other = this.#place(bound);
        if (other !== undefined && this.#precedes(start.next, other.next)) start = other;
      }
      let end = 0;
      for (const bound of this.#ends) {
        const other = this.#place(bound);
        if (other !== undefined && this.#precedes(other.next, end)) end = other.next;
      }
      this.#trail = start;
      this.#end = end;
      if (end !== 0 && !this.#precedes(start.next, end)) this.#left = 0;
    }

    /** Keeps the key of a node: it may be gone when the walk goes on. */
    #save(node: number): void {
      recall(this.#h, this.#o, node);
      const { length, words } = S;
      if (length + 8 > this.#saved.length * 4) this.#saved = new Int32Array((length >>> 2) * 2 + 8);
      const saved = this.#saved;
      const whole = length >>> 2;
      for (let i = 0; i < whole; i++) saved[i] = words[i] as number;
      // Behind the part that is compared there may be more.
      saved[whole] = (length & 3) === 0 ? 0 : (words[whole] as number) & ((1 << ((length & 3) * 8)) - 1);
      saved[whole + 1] = 0;
      this.#savedLength = length;
    }

    /** The next node; 0 behind the last. */
    next(): number {
      const h = this.#h;
      const o = this.#o;
      if (h.cold) h.warm();
      try {
        if (this.#left <= 0) return 0;
        if (h.dv.getUint32(o + CHANGES, true) !== this.#changes || h.turn !== this.#turn) this.#seek();
        const node = this.#trail.next;
        if (this.#left <= 0 || node === 0 || node === this.#end) {
          this.#left = 0;
          return 0;
        }
        this.#left--;
        this.#trail.pass(h, o);
        this.#save(node);
        return node;
      } catch (error) {
        throw T.damaged(h, o, error);
      }
    }
  }

  return Walk;
}

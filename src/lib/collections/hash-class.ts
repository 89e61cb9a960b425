/** The class behind HashMap and HashSet. It is compiled anew for each type of them (specialize.ts), so it uses nothing but its parameters. */
import type { ObjectHandle } from '../../abi/handle.ts';
import type { AccessorClass } from '../emit.ts';
import type { ByteView } from './byte-view.ts';
import type { HashTools } from './hash-map.ts';
import type { KeyCodec } from './keys.ts';
import type { Records, ValueCodec } from './records.ts';

export function makeHashMap<K, V, I>(kind: string, K: KeyCodec<K>, R: Records<K, V, I>, C: ValueCodec<V, I>, T: HashTools): AccessorClass {
  const SEED = 4;
  const DEPTH = 8;
  const DIRECTORY = 12;
  const CHANGES = 16;
  const POOL = 24;
  const HEADER = 48;
  const TABLE_HEADER = 16;
  const USED = 4;
  const LOCAL = 8;
  const MIN_SLOTS = 8;
  const MAX_SLOTS = 8192;
  const DEPTH_MAX = 24;

  /** What `find` found: object and offset of the record; of the table and of the slot, also where the key is missing. */
  let record: ObjectHandle | undefined;
  let table: ObjectHandle | undefined;
  let tableAt = 0;
  let slotAt = 0;
  let hash = 0;

  const offset = (address: number): number => (address & 0x3fffff) << 4;
  const object = T.members(POOL);

  function put(h: ObjectHandle, at: number, value: number): void {
    if (h.dirty[at >>> 6] !== 1) h.mark(at);
    h.dv.setUint32(at, value, true);
  }

  /** Address of the table for a hash; 0 where there is none. */
  function tableFor(h: ObjectHandle, o: number, wanted: number): number {
    const { dv } = h;
    const directory = dv.getUint32(o + DIRECTORY, true);
    const depth = dv.getUint32(o + DEPTH, true);
    if (depth === 0 || directory === 0) return directory;
    return object(h, o, directory).dv.getUint32(offset(directory) + (wanted >>> (32 - depth)) * 4, true);
  }

  /** Offset of the record with the scratch key, in `record`; 0 where there is none. */
  function find(h: ObjectHandle, o: number): number {
    if (h.cold) h.warm();
    hash = R.hash(h.dv.getUint32(o + SEED, true));
    try {
      return findHashed(h, o);
    } catch (error) {
      throw T.damaged(h, o, error);
    }
  }

  function findHashed(h: ObjectHandle, o: number): number {
    const wanted = hash;
    const address = tableFor(h, o, wanted);
    if (address === 0) {
      tableAt = 0;
      return 0;
    }
    const t = object(h, o, address);
    const base = offset(address);
    table = t;
    tableAt = base;
    const { dv } = t;
    const mask = dv.getUint32(base, true);
    for (let p = wanted & mask, left = mask; left >= 0; p = (p + 1) & mask, left--) {
      const s = base + TABLE_HEADER + p * 8;
      const c = dv.getUint32(s + 4, true);
      if (c === 0) {
        slotAt = s;
        return 0;
      }
      if (dv.getUint32(s, true) !== wanted) continue;
      const r = object(h, o, c);
      const at = offset(c);
      if (!R.equals(r, at)) continue;
      record = r;
      slotAt = s;
      return at;
    }
    return h.corrupt(o, 'a table of the hash map is full');
  }

  function newTable(h: ObjectHandle, o: number, slots: number, local: number): number {
    const address = T.allocate(h, o + POOL, TABLE_HEADER + slots * 8);
    const t = object(h, o, address);
    const at = offset(address);
    t.markRange(at, TABLE_HEADER);
    t.dv.setUint32(at, slots - 1, true);
    t.dv.setUint32(at + LOCAL, local, true);
    return address;
  }

  /** Puts a slot into a table that has room; nothing there has to be looked at. */
  function place(t: ObjectHandle, at: number, wanted: number, c: number): void {
    const { dv } = t;
    const mask = dv.getUint32(at, true);
    let s = at + TABLE_HEADER + (wanted & mask) * 8;
    for (let p = wanted & mask; dv.getUint32(s + 4, true) !== 0; s = at + TABLE_HEADER + p * 8) p = (p + 1) & mask;
    if (t.dirty[s >>> 6] !== 1) t.mark(s);
    dv.setUint32(s, wanted, true);
    dv.setUint32(s + 4, c, true);
    put(t, at + USED, t.dv.getUint32(at + USED, true) + 1);
  }

  /** Moves the slots of a table to others, by a function of the hash. */
  function scatter(h: ObjectHandle, o: number, from: number, to: (wanted: number) => number): void {
    const t = object(h, o, from);
    const base = offset(from);
    const mask = t.dv.getUint32(base, true);
    for (let p = 0; p <= mask; p++) {
      const s = base + TABLE_HEADER + p * 8;
      const c = t.dv.getUint32(s + 4, true);
      if (c === 0) continue;
      const wanted = t.dv.getUint32(s, true);
      const target = to(wanted);
      place(object(h, o, target), offset(target), wanted, c);
    }
  }

  /** Makes room in the table for the hash. */
  function grow(h: ObjectHandle, o: number, wanted: number): void {
    const old = tableFor(h, o, wanted);
    const t = object(h, o, old);
    const slots = t.dv.getUint32(offset(old), true) + 1;
    const local = t.dv.getUint32(offset(old) + LOCAL, true);
    if (slots < MAX_SLOTS) {
      const larger = newTable(h, o, slots * 2, local);
      scatter(h, o, old, () => larger);
      point(h, o, wanted, local, larger);
    } else {
      if (local === DEPTH_MAX) h.corrupt(o, 'too many keys have the same hash');
      if (local === h.dv.getUint32(o + DEPTH, true)) deepen(h, o);
      const low = newTable(h, o, slots, local + 1);
      const high = newTable(h, o, slots, local + 1);
      const bit = 1 << (31 - local);
      scatter(h, o, old, (each) => ((each & bit) === 0 ? low : high));
      point(h, o, (wanted & ~bit) >>> 0, local + 1, low);
      point(h, o, (wanted | bit) >>> 0, local + 1, high);
    }
    T.release(h, o + POOL, old);
  }

  /** Lets the directory lead to a table for all hashes that share the first `local` bits of this one. */
  function point(h: ObjectHandle, o: number, wanted: number, local: number, address: number): void {
    const depth = h.dv.getUint32(o + DEPTH, true);
    if (depth === 0) {
      put(h, o + DIRECTORY, address);
      return;
    }
    const directory = h.dv.getUint32(o + DIRECTORY, true);
    const d = object(h, o, directory);
    const count = 2 ** (depth - local);
    const first = local === 0 ? 0 : (wanted >>> (32 - local)) * count;
    for (let i = 0; i < count; i++) put(d, offset(directory) + (first + i) * 4, address);
  }

  /** Doubles the directory. */
  function deepen(h: ObjectHandle, o: number): void {
    const depth = h.dv.getUint32(o + DEPTH, true);
    const old = h.dv.getUint32(o + DIRECTORY, true);
    const entries = 2 ** depth;
    const larger = T.allocate(h, o + POOL, Math.max(16, entries * 8));
    const to = object(h, o, larger);
    to.markRange(offset(larger), entries * 8);
    const from = object(h, o, old);
    for (let i = 0; i < entries; i++) {
      const address = depth === 0 ? old : from.dv.getUint32(offset(old) + i * 4, true);
      to.dv.setUint32(offset(larger) + i * 8, address, true);
      to.dv.setUint32(offset(larger) + i * 8 + 4, address, true);
    }
    put(h, o + DIRECTORY, larger);
    put(h, o + DEPTH, depth + 1);
    if (depth > 0) T.release(h, o + POOL, old);
  }

  /** Enters a record under `hash`, which `find` has just not found. */
  function enter(h: ObjectHandle, o: number, c: number): void {
    if (h.dv.getUint32(o + DIRECTORY, true) === 0) {
      put(h, o + DIRECTORY, newTable(h, o, MIN_SLOTS, 0));
      place(object(h, o, tableFor(h, o, hash)), offset(tableFor(h, o, hash)), hash, c);
    } else {
      const t = table as ObjectHandle;
      const slots = t.dv.getUint32(tableAt, true) + 1;
      const used = t.dv.getUint32(tableAt + USED, true) + 1;
      if (used * 16 <= slots * 13) {
        const s = slotAt;
        if (t.dirty[s >>> 6] !== 1) t.mark(s);
        t.dv.setUint32(s, hash, true);
        t.dv.setUint32(s + 4, c, true);
        put(t, tableAt + USED, used);
      } else {
        for (;;) {
          grow(h, o, hash);
          const address = tableFor(h, o, hash);
          const grown = object(h, o, address);
          const at = offset(address);
          if ((grown.dv.getUint32(at + USED, true) + 1) * 16 > (grown.dv.getUint32(at, true) + 1) * 13) continue;
          place(grown, at, hash, c);
          break;
        }
      }
    }
    put(h, o, h.dv.getUint32(o, true) + 1);
    changed(h, o);
  }

  function changed(h: ObjectHandle, o: number): void {
    put(h, o + CHANGES, (h.dv.getUint32(o + CHANGES, true) + 1) >>> 0);
  }

  /** Takes the slot that `find` found out of its table, and closes the gap. */
  function vacate(h: ObjectHandle, o: number): void {
    const t = table as ObjectHandle;
    const at = tableAt;
    const mask = t.dv.getUint32(at, true);
    const first = at + TABLE_HEADER;
    let gap = (slotAt - first) >>> 3;
    for (let p = (gap + 1) & mask; ; p = (p + 1) & mask) {
      const c = t.dv.getUint32(first + p * 8 + 4, true);
      if (c === 0) break;
      const wanted = t.dv.getUint32(first + p * 8, true);
      // May it move back to the gap? Not before the place that it is looked for from.
      if (((p - (wanted & mask)) & mask) < ((p - gap) & mask)) continue;
      const s = first + gap * 8;
      if (t.dirty[s >>> 6] !== 1) t.mark(s);
      t.dv.setUint32(s, wanted, true);
      t.dv.setUint32(s + 4, c, true);
      gap = p;
    }
    const s = first + gap * 8;
    if (t.dirty[s >>> 6] !== 1) t.mark(s);
    t.dv.setUint32(s, 0, true);
    t.dv.setUint32(s + 4, 0, true);
    const used = t.dv.getUint32(at + USED, true) - 1;
    put(t, at + USED, used);
    put(h, o, h.dv.getUint32(o, true) - 1);
    changed(h, o);
    if (used * 8 <= mask) shrink(h, o, hash, used);
  }

  /** A table with few slots in use: made smaller, or joined with its other half. */
  function shrink(h: ObjectHandle, o: number, wanted: number, used: number): void {
    const old = tableFor(h, o, wanted);
    const t = object(h, o, old);
    const slots = t.dv.getUint32(offset(old), true) + 1;
    const local = t.dv.getUint32(offset(old) + LOCAL, true);
    if (local === 0) {
      if (h.dv.getUint32(o + DEPTH, true) > 0) {
        const directory = h.dv.getUint32(o + DIRECTORY, true);
        put(h, o + DEPTH, 0);
        put(h, o + DIRECTORY, old);
        T.release(h, o + POOL, directory);
      }
      if (used === 0) {
        put(h, o + DIRECTORY, 0);
        T.release(h, o + POOL, old);
      } else if (slots > MIN_SLOTS) {
        const smaller = newTable(h, o, slots / 2, 0);
        scatter(h, o, old, () => smaller);
        put(h, o + DIRECTORY, smaller);
        T.release(h, o + POOL, old);
      }
      return;
    }
    const other = tableFor(h, o, (wanted ^ (1 << (32 - local))) >>> 0);
    const b = object(h, o, other);
    if (b.dv.getUint32(offset(other) + LOCAL, true) !== local) return;
    if (used + b.dv.getUint32(offset(other) + USED, true) > slots / 4) return;
    const joined = newTable(h, o, slots, local - 1);
    scatter(h, o, old, () => joined);
    scatter(h, o, other, () => joined);
    point(h, o, wanted, local - 1, joined);
    T.release(h, o + POOL, old);
    T.release(h, o + POOL, other);
  }

  /** A record with the scratch key, and a value of text or bytes; nothing leads to it yet. */
  function newRecord(h: ObjectHandle, o: number, value: I): number {
    const c = T.allocate(h, o + POOL, R.sizeFor(value));
    try {
      R.write(object(h, o, c), offset(c));
    } catch (error) {
      T.release(h, o + POOL, c);
      throw error;
    }
    return c;
  }

  function insert(h: ObjectHandle, o: number, value: I): void {
    if (h.dv.getUint32(o, true) === 0 && h.dv.getUint32(o + SEED, true) === 0) {
      // The ID's bits are random, and the same in every run of a simulation.
      put(h, o + SEED, (Number.parseInt(h.id.slice(0, 8), 16) ^ o) >>> 0 || 1);
      hash = R.hash(h.dv.getUint32(o + SEED, true));
    }
    const c = newRecord(h, o, value);
    const r = object(h, o, c);
    const at = offset(c);
    enter(h, o, c);
    record = r;
    if (C.none || C.size === 0) return;
    try {
      C.store(r, at, value);
    } catch (error) {
      R.recall(r, at);
      if (find(h, o) === at) {
        R.drop(r, at);
        vacate(h, o);
        T.release(h, o + POOL, c);
      }
      throw error;
    }
    record = r;
  }

  /** Sets the value of a key. */
  function assign(h: ObjectHandle, o: number, key: K, value: I): void {
    K.encode(key, h);
    const at = find(h, o);
    if (at === 0) {
      insert(h, o, value);
      return;
    }
    if (C.whole) {
      assignWhole(h, o, key, at, value);
      return;
    }
    if (C.none || R.replace(record as ObjectHandle, at, value)) return;
    const t = table as ObjectHandle;
    const s = slotAt;
    const old = t.dv.getUint32(s + 4, true);
    const c = newRecord(h, o, value);
    put(t, s + 4, c);
    R.drop(object(h, o, old), offset(old));
    T.release(h, o + POOL, old);
    changed(h, o);
  }

  /** Nothing of the old value is touched before it is certain that the new one can be stored. To read that may run any code. */
  function assignWhole(h: ObjectHandle, o: number, key: K, at: number, value: I): void {
    const r = record as ObjectHandle;
    if (T.isAt(value, r, at)) return;
    const changes = h.dv.getUint32(o + CHANGES, true);
    const checked = C.check(value, r);
    if (h.cold) h.warm();
    if (h.dv.getUint32(o + CHANGES, true) === changes) {
      R.replace(r, at, checked);
      return;
    }
    K.encode(key, h);
    const again = find(h, o);
    if (again === 0) insert(h, o, checked);
    else R.replace(record as ObjectHandle, again, checked);
  }

  function remove(h: ObjectHandle, o: number): boolean {
    const at = find(h, o);
    if (at === 0) return false;
    const t = table as ObjectHandle;
    const c = t.dv.getUint32(slotAt + 4, true);
    if (R.drops) R.drop(record as ObjectHandle, at);
    vacate(h, o);
    T.release(h, o + POOL, c);
    return true;
  }

  /** Calls back with the address of each table. */
  function tables(h: ObjectHandle, o: number, visit: (address: number) => void): void {
    const depth = h.dv.getUint32(o + DEPTH, true);
    const directory = h.dv.getUint32(o + DIRECTORY, true);
    if (directory === 0) return;
    if (depth > DEPTH_MAX) h.corrupt(o, `the directory of the hash map has 2^${depth} entries`);
    if (depth === 0) {
      visit(directory);
      return;
    }
    let last = 0;
    for (let i = 0; i < 2 ** depth; i++) {
      const address = object(h, o, directory).dv.getUint32(offset(directory) + i * 4, true);
      if (address !== last) visit(address);
      last = address;
    }
  }

  /** Gives back everything. `whole`: the home goes as well, so that what lies there need not be given back. */
  function empty(h: ObjectHandle, o: number, whole: boolean): void {
    if (h.cold) h.warm();
    const owned: number[] = [];
    const { drops } = R;
    tables(h, o, (address) => {
      const t = object(h, o, address);
      const base = offset(address);
      const slots = t.dv.getUint32(base, true) + 1;
      for (let p = 0; p < slots; p++) {
        const c = t.dv.getUint32(base + TABLE_HEADER + p * 8 + 4, true);
        if (c === 0) continue;
        if (drops) R.drop(object(h, o, c), offset(c));
        if (c >>> 22 === 0 && !whole) h.release(offset(c));
      }
      owned.push(address);
    });
    if (h.dv.getUint32(o + DEPTH, true) > 0) owned.push(h.dv.getUint32(o + DIRECTORY, true));
    if (!whole) for (const address of owned) if (address >>> 22 === 0) h.release(offset(address));
    T.destroy(h, o + POOL);
    put(h, o, 0);
    put(h, o + DEPTH, 0);
    put(h, o + DIRECTORY, 0);
    changed(h, o);
  }

  /**
   * Yields the offset of each record, with its object in `record`, a table at a time in the order of the hashes' upper bits. What is
   * added or deleted meanwhile may be seen or not; everything else is seen exactly once.
   */
  function* records(h: ObjectHandle, o: number): Generator<number> {
    let from = 0;
    while (from < 2 ** 32) {
      if (h.cold) h.warm();
      const address = tableFor(h, o, from >>> 0);
      if (address === 0) return;
      const t = object(h, o, address);
      const base = offset(address);
      const local = t.dv.getUint32(base + LOCAL, true);
      if (local > DEPTH_MAX) h.corrupt(o, `a table of the hash map says that it shares ${local} bits`);
      const end = (Math.floor(from / 2 ** (32 - local)) + 1) * 2 ** (32 - local);
      const slots = t.dv.getUint32(base, true) + 1;
      const found: number[] = [];
      for (let p = 0; p < slots; p++) {
        const s = base + TABLE_HEADER + p * 8;
        const c = t.dv.getUint32(s + 4, true);
        // A table that was joined meanwhile holds hashes that were seen.
        if (c !== 0 && t.dv.getUint32(s, true) >= from) found.push(t.dv.getUint32(s, true), c);
      }
      let changes = h.dv.getUint32(o + CHANGES, true);
      let { turn } = h;
      let moved = false;
      for (let i = 0; i < found.length; i += 2) {
        const c = found[i + 1] as number;
        if (h.cold) h.warm();
        if (h.dv.getUint32(o + CHANGES, true) !== changes || h.turn !== turn) {
          moved = true;
          turn = h.turn;
          changes = h.dv.getUint32(o + CHANGES, true);
        }
        if (moved && !holds(h, o, found[i] as number, c)) continue;
        record = object(h, o, c);
        yield offset(c);
      }
      from = end;
    }
  }

  /** Does a slot still hold this record? */
  function holds(h: ObjectHandle, o: number, wanted: number, c: number): boolean {
    const address = tableFor(h, o, wanted);
    if (address === 0) return false;
    const { dv } = object(h, o, address);
    const base = offset(address) + TABLE_HEADER;
    const mask = dv.getUint32(base - TABLE_HEADER, true);
    for (let p = wanted & mask, left = mask; left >= 0; p = (p + 1) & mask, left--) {
      const found = dv.getUint32(base + p * 8 + 4, true);
      if (found === 0) return false;
      if (found === c && dv.getUint32(base + p * 8, true) === wanted) return true;
    }
    return false;
  }

  class Base {
    readonly #h: ObjectHandle;
    readonly $o: number;

    constructor(h: ObjectHandle, o: number) {
      this.#h = h;
      this.$o = o | 0;
    }

    get $h(): ObjectHandle {
      return this.#h;
    }

    get size(): number {
      const h = this.#h;
      if (h.cold) h.warm();
      return h.dv.getUint32(this.$o, true);
    }

    has(key: K): boolean {
      K.encode(key, this.$h);
      return find(this.#h, this.$o) !== 0;
    }

    get(key: K): V | undefined {
      K.encode(key, this.$h);
      const at = find(this.#h, this.$o);
      return at === 0 ? undefined : R.value(record as ObjectHandle, at);
    }

    delete(key: K): boolean {
      K.encode(key, this.$h);
      return remove(this.#h, this.$o);
    }

    clear(): void {
      empty(this.#h, this.$o, false);
    }

    *keys(): Generator<K> {
      for (const at of records(this.#h, this.$o)) yield R.key(record as ObjectHandle, at);
    }

    usage(): unknown {
      return T.usage(this.#h, this.$o + POOL);
    }

    $drop(): void {
      if (this.size > 0 || this.#h.dv.getUint32(this.$o + DIRECTORY, true) !== 0) empty(this.#h, this.$o, false);
    }

    $destroy(): void {
      empty(this.#h, this.$o, true);
    }
  }

  class HashMap extends Base {
    set(key: K, value: I): this {
      assign(this.$h, this.$o, key, value);
      return this;
    }

    getOrInsert(key: K, value: I): V {
      K.encode(key, this.$h);
      const at = find(this.$h, this.$o);
      if (at !== 0) return R.value(record as ObjectHandle, at);
      insert(this.$h, this.$o, value);
      return this.get(key) as V;
    }

    view(key: K): ByteView | undefined {
      K.encode(key, this.$h);
      const at = find(this.$h, this.$o);
      if (at === 0) return undefined;
      const r = record as ObjectHandle;
      return new T.ByteView(r, R.valueAt(r, at), R.valueLength(r, at));
    }

    *values(): Generator<V> {
      for (const at of records(this.$h, this.$o)) yield R.value(record as ObjectHandle, at);
    }

    *entries(): Generator<[K, V]> {
      for (const at of records(this.$h, this.$o)) {
        const r = record as ObjectHandle;
        yield [R.key(r, at), R.value(r, at)];
      }
    }

    [Symbol.iterator](): Generator<[K, V]> {
      return this.entries();
    }

    forEach(callback: (value: V, key: K, map: this) => void): void {
      for (const [key, value] of this.entries()) callback(value, key, this);
    }

    $assign(content: unknown): void {
      if (T.isAt(content, this.$h, this.$o)) return;
      const all = [...(T.refuseContent(content, kind, true) as Iterable<readonly [K, I]>)];
      T.replace(
        this.$h,
        this.$o,
        HEADER,
        [CHANGES],
        this.size === 0,
        (at) => new HashMap(this.$h, at),
        (into) => {
          for (const [key, value] of all) into.set(key, value);
        },
      );
    }

    [T.INSPECT](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
      return T.inspect(kind, this.size, this.entries(), true, depth, options, inspect);
    }
  }

  class HashSet extends Base {
    add(key: K): this {
      K.encode(key, this.$h);
      if (find(this.$h, this.$o) === 0) insert(this.$h, this.$o, undefined as I);
      return this;
    }

    values(): Generator<K> {
      return this.keys();
    }

    *entries(): Generator<[K, K]> {
      for (const key of this.keys()) yield [key, key];
    }

    [Symbol.iterator](): Generator<K> {
      return this.keys();
    }

    forEach(callback: (value: K, key: K, set: this) => void): void {
      for (const key of this.keys()) callback(key, key, this);
    }

    $assign(content: unknown): void {
      if (T.isAt(content, this.$h, this.$o)) return;
      const all = [...(T.refuseContent(content, kind, false) as Iterable<K>)];
      T.replace(
        this.$h,
        this.$o,
        HEADER,
        [CHANGES],
        this.size === 0,
        (at) => new HashSet(this.$h, at),
        (into) => {
          for (const key of all) into.add(key);
        },
      );
    }

    [T.INSPECT](depth: number, options: object, inspect: (value: unknown, options: object) => string): string {
      return T.inspect(kind, this.size, this.keys(), false, depth, options, inspect);
    }
  }

  return C.none ? HashSet : HashMap;
}

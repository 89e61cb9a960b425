/**
 * A cache that many processes share without copying it: bounded, least recently used entries go first, entries may expire.
 *
 *   entries     what is cached, by key
 *   byUse       the keys in the order of their last use
 *   byExpiry    the keys that expire, by when
 *   loading     keys that some process is just making the value of, and until when it may take
 *
 * `get` takes no transaction and no lock: a look-up in mapped memory. It notes in this process that the key was used, and a moment later
 * one transaction tells the others for all keys together; keys that are among the newer half need no telling. So a cache that is only read
 * writes nothing, and an entry that is in use is not the one that goes.
 *
 * A value is what its field gives: of a struct an accessor in place. Read it at once: it is good until this process changes the cache
 * or gives way to its event loop.
 */
import {
  bool,
  f64,
  hashMap,
  isTwzError,
  orderedMap,
  struct,
  text,
  tuple,
  u64,
  type Field,
  type HashMap,
  type OrderedMap,
  type Space,
} from '../../src/index.ts';
import { shardOf, sharedShards } from '../shards.ts';

export interface CacheOptions {
  /** Entries at most. */
  readonly max: number;
  /** Milliseconds that an entry is good (default: for ever). */
  readonly ttl?: number;
  /** Objects that the entries are spread over (default 8), each with its part of `max`. Only the first who opens the cache is asked. */
  readonly shards?: number;
  /** Milliseconds that a process may take to make a value before another one tries (default 10,000). */
  readonly patience?: number;
  /** Milliseconds, by a clock that all processes share (default Date.now). */
  readonly clock?: () => number;
}

interface Entry<V> {
  value: V;
  /** Infinity: never. */
  expires: number;
  /** The shard's count of uses at the last one that was told. */
  used: number;
}

interface Shard<V, I> {
  uses: number;
  readonly entries: HashMap<string, Entry<V>, { value: I; expires: number; used: number }>;
  readonly byUse: OrderedMap<number, string>;
  readonly byExpiry: OrderedMap<readonly [number, string], boolean>;
  readonly loading: HashMap<string, number>;
}

/** Milliseconds between a use and telling the others. */
const TELL_MS = 20;
/** Milliseconds between two looks at what another process is making. */
const LOOK_MS = 5;
/** Expired entries that one `set` takes out. */
const SWEEP = 4;

function shardsOf<V, I>(space: Space, path: string, value: Field<V, I>, count: number): readonly Shard<V, I>[] {
  const Entry = struct('CacheEntry', { value, expires: f64, used: u64 });
  const Shard = struct('CacheShard', {
    uses: u64,
    entries: hashMap(text, Entry),
    byUse: orderedMap(u64, text),
    byExpiry: orderedMap(tuple(f64, text), bool),
    loading: hashMap(text, f64),
  });
  const found: unknown = sharedShards(space, path, Shard, count);
  return found as readonly Shard<V, I>[];
}

export class Cache<V, I> {
  readonly #space: Space;
  readonly #shards: readonly Shard<V, I>[];
  readonly #max: number;
  readonly #ttl: number;
  readonly #patience: number;
  readonly #clock: () => number;
  readonly #used = new Map<string, Shard<V, I>>();
  #telling: NodeJS.Timeout | undefined;
  readonly #making = new Map<string, Promise<void>>();
  hits = 0;
  misses = 0;

  constructor(space: Space, path: string, value: Field<V, I>, options: CacheOptions) {
    if (!(Number.isInteger(options.max) && options.max > 0)) throw new RangeError(`max: ${options.max} is not a whole number from 1 up`);
    this.#space = space;
    this.#shards = shardsOf(space, path, value, Math.min(options.shards ?? 8, options.max));
    this.#max = Math.floor(options.max / this.#shards.length);
    this.#ttl = options.ttl ?? Infinity;
    this.#patience = options.patience ?? 10_000;
    this.#clock = options.clock ?? Date.now;
  }

  /** No transaction, no lock, no copy. What other processes set is seen when this one has given way to its event loop, or by `refresh`. */
  get(key: string): V | undefined {
    const shard = shardOf(this.#shards, key);
    const entry = shard.entries.get(key);
    if (entry === undefined || entry.expires <= this.#clock()) {
      this.misses++;
      return undefined;
    }
    this.hits++;
    if (shard.uses - entry.used > this.#max / 2 && !this.#used.has(key)) this.#use(shard, key);
    return entry.value;
  }

  set(key: string, value: I, ttl: number = this.#ttl): void {
    const shard = shardOf(this.#shards, key);
    this.#space.relaxed(() => {
      const now = this.#clock();
      const old = shard.entries.get(key);
      if (old !== undefined) this.#unlist(shard, key, old);
      this.#sweep(shard, now, SWEEP);
      while (shard.entries.size >= this.#max && !shard.entries.has(key)) {
        const oldest = shard.byUse.first();
        if (oldest === undefined) break;
        this.#remove(shard, oldest[1]);
      }
      const [expires, used] = [now + ttl, ++shard.uses];
      shard.entries.set(key, { value, expires, used });
      shard.byUse.set(used, key);
      if (expires !== Infinity) shard.byExpiry.set([expires, key], true);
    });
  }

  delete(key: string): boolean {
    const shard = shardOf(this.#shards, key);
    return this.#space.relaxed(() => this.#remove(shard, key));
  }

  /**
   * The value of the key; where there is none, `make` makes it: once, whichever and however many processes ask for it meanwhile. They wait for
   * the one that makes it. If that dies or throws, another one does it. `read` is called at once when the value is there.
   */
  async load<R>(key: string, make: () => Promise<I> | I, read: (value: V) => R, ttl: number = this.#ttl): Promise<R> {
    for (;;) {
      this.#space.refresh();
      const found = this.get(key);
      if (found !== undefined) return read(found);
      let making = this.#making.get(key);
      if (making === undefined) {
        making = (this.#claim(key) ? this.#make(key, make, ttl) : pause(LOOK_MS)).finally(() => this.#making.delete(key));
        this.#making.set(key, making);
      }
      await making;
    }
  }

  /** True: this process makes the value. */
  #claim(key: string): boolean {
    const shard = shardOf(this.#shards, key);
    return this.#space.relaxed(() => {
      const now = this.#clock();
      const entry = shard.entries.get(key);
      if ((entry !== undefined && entry.expires > now) || (shard.loading.get(key) ?? 0) > now) return false;
      shard.loading.set(key, now + this.#patience);
      return true;
    });
  }

  async #make(key: string, make: () => Promise<I> | I, ttl: number): Promise<void> {
    const shard = shardOf(this.#shards, key);
    let value: I;
    try {
      value = await make();
    } catch (error) {
      this.#space.relaxed(() => shard.loading.delete(key));
      throw error;
    }
    this.#space.relaxed(() => {
      shard.loading.delete(key);
      this.set(key, value, ttl);
    });
  }

  /** Takes expired entries out, up to `limit` of each shard. `set` does it for a few each time. */
  sweep(limit = 1000): number {
    let count = 0;
    for (const shard of this.#shards) count += this.#space.relaxed(() => this.#sweep(shard, this.#clock(), limit));
    return count;
  }

  /** Tells the others which keys were used here. Happens by itself. */
  tell(): void {
    clearTimeout(this.#telling);
    this.#telling = undefined;
    if (this.#space.closed) return;
    const used = [...this.#used];
    this.#used.clear();
    this.#space.relaxed(() => {
      for (const [key, shard] of used) {
        const entry = shard.entries.get(key);
        if (entry === undefined) continue;
        shard.byUse.delete(entry.used);
        entry.used = ++shard.uses;
        shard.byUse.set(entry.used, key);
      }
    });
  }

  /** Entries, those included that have expired and not been taken out yet. */
  get size(): number {
    return this.#shards.reduce((sum, { entries }) => sum + entries.size, 0);
  }

  /** What the three orders of the entries say differently, which is nothing. */
  verify(): string[] {
    const faults: string[] = [];
    for (const [i, { entries, byUse, byExpiry }] of this.#shards.entries()) {
      const expiring = [...entries.values()].filter(({ expires }) => expires !== Infinity).length;
      if (byUse.size !== entries.size) faults.push(`shard ${i}: ${entries.size} entries, ${byUse.size} in the order of use`);
      if (byExpiry.size !== expiring) faults.push(`shard ${i}: ${expiring} entries expire, ${byExpiry.size} in the order of expiry`);
      for (const [used, key] of byUse) if (entries.get(key)?.used !== used) faults.push(`shard ${i}: use ${used} is not that of ${key}`);
      for (const [expires, key] of byExpiry.keys())
        if (entries.get(key)?.expires !== expires) faults.push(`shard ${i}: ${key} does not expire at ${expires}`);
    }
    return faults;
  }

  #use(shard: Shard<V, I>, key: string): void {
    this.#used.set(key, shard);
    this.#telling ??= setTimeout(() => {
      try {
        this.tell();
      } catch (error) {
        // Somebody who was stopped holds the shard. It is but a hint.
        if (!isTwzError(error, 'LeaseTimeout')) throw error;
      }
    }, TELL_MS).unref();
  }

  #unlist(shard: Shard<V, I>, key: string, { used, expires }: Entry<V>): void {
    shard.byUse.delete(used);
    if (expires !== Infinity) shard.byExpiry.delete([expires, key]);
  }

  #remove(shard: Shard<V, I>, key: string): boolean {
    const entry = shard.entries.get(key);
    if (entry === undefined) return false;
    this.#unlist(shard, key, entry);
    return shard.entries.delete(key);
  }

  #sweep(shard: Shard<V, I>, now: number, limit: number): number {
    let count = 0;
    for (let first = shard.byExpiry.first(); first !== undefined && first[0][0] <= now && count < limit; first = shard.byExpiry.first()) {
      this.#remove(shard, first[0][1]);
      count++;
    }
    return count;
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Rate limits that are exact over any number of processes: whether a call is allowed is decided in a transaction, so no two processes give out
 * the same token.
 *
 *   TokenBucket     `capacity` calls at once, and `perSecond` more as time goes by
 *   SlidingWindow   at most `limit` calls in any `window` milliseconds; keeps the time of each
 *
 * A key that was not used for so long that it has all its calls again is as good as one that was never there. So keys live in two maps:
 * what is used goes to the younger one; when that has been filled for as long, the older one is emptied and they change places. Keys that are not
 * used any more go without an index that says when.
 *
 * A refused call stores nothing: hammering at a limit that is reached writes no log and keeps nobody waiting.
 */
import { f64, hashMap, queue, struct, text, u8, type Infer, type Space } from '../../src/index.ts';
import { shardOf, sharedShards } from '../shards.ts';

export interface Verdict {
  readonly allowed: boolean;
  /** Calls that would be allowed right after this one. */
  readonly remaining: number;
  /** Milliseconds until the same call would be allowed; 0 where it was, Infinity where it asks for more than there ever is. */
  readonly retryAfter: number;
}

interface CommonOptions {
  /** Objects that the keys are spread over (default 16). */
  readonly shards?: number;
  /** Milliseconds, by a clock that all processes share (default Date.now). */
  readonly clock?: () => number;
}

/** What both limits ask of the two maps of a shard. */
interface Keys<V> {
  get(key: string): V | undefined;
  clear(): void;
}

interface Shard<M> {
  /** Which of the two is the younger. */
  young: number;
  /** Since when. */
  since: number;
  readonly even: M;
  readonly odd: M;
}

interface Generations<M> {
  readonly young: M;
  readonly old: M;
}

/** After `span` without use a key has all its calls again. Stores only where a map has had its time. Inside a transaction. */
function generations<V, M extends Keys<V>>(shard: Shard<M>, now: number, span: number): Generations<M> {
  const age = now - shard.since;
  // Set back by more than that, the clock begins anew.
  if (age >= span || age < -span) {
    (shard.young === 0 ? shard.odd : shard.even).clear();
    // Each use comes by here: what the younger one has was used before its time was over.
    if (age >= 2 * span) (shard.young === 0 ? shard.even : shard.odd).clear();
    shard.young = 1 - shard.young;
    shard.since = now;
  }
  return shard.young === 0 ? { young: shard.even, old: shard.odd } : { young: shard.odd, old: shard.even };
}

function atLeast(what: string, value: number, least: number): number {
  if (!(value >= least && Number.isFinite(value))) throw new RangeError(`${what}: ${value} is not a number from ${least} up`);
  return value;
}

// --- token bucket -------------------------------------------------------------------------------------------------------------

/** What was in it at that time. A key without one has a full bucket. */
const Bucket = struct('Bucket', { tokens: f64, at: f64 });
const Buckets = struct('Buckets', { young: u8, since: f64, even: hashMap(text, Bucket), odd: hashMap(text, Bucket) });

export interface TokenBucketOptions extends CommonOptions {
  readonly capacity: number;
  readonly perSecond: number;
}

export class TokenBucket {
  readonly #space: Space;
  readonly #shards: readonly Infer<typeof Buckets>[];
  readonly #capacity: number;
  readonly #perMs: number;
  readonly #clock: () => number;

  constructor(space: Space, path: string, options: TokenBucketOptions) {
    this.#space = space;
    this.#capacity = atLeast('capacity', options.capacity, 1);
    this.#perMs = atLeast('perSecond', options.perSecond, 1e-9) / 1000;
    this.#clock = options.clock ?? Date.now;
    this.#shards = sharedShards(space, path, Buckets, options.shards ?? 16);
  }

  /** Takes `calls` tokens out of the bucket of the key, or none. */
  take(key: string, calls = 1): Verdict {
    atLeast('calls', calls, 0);
    const capacity = this.#capacity;
    const span = capacity / this.#perMs;
    const shard = shardOf(this.#shards, key);
    return this.#space.relaxed(() => {
      const now = this.#clock();
      const { young, old } = generations(shard, now, span);
      const bucket = young.get(key) ?? old.get(key);
      let tokens = capacity;
      let at = now;
      if (bucket !== undefined) {
        tokens = Math.min(capacity, bucket.tokens + Math.max(0, now - bucket.at) * this.#perMs);
        // The clock was set back. What is in the bucket stays; it fills again from when the clock has come there, or, if that is far, from now.
        if (bucket.at > now + span) bucket.at = now;
        at = Math.max(now, bucket.at);
      }
      if (tokens < calls)
        return {
          allowed: false,
          remaining: Math.floor(tokens),
          retryAfter: calls > capacity ? Infinity : Math.ceil((calls - tokens) / this.#perMs) + (at - now),
        };
      young.set(key, { tokens: tokens - calls, at });
      return { allowed: true, remaining: Math.floor(tokens - calls), retryAfter: 0 };
    });
  }

  /** Keys that room is kept for. */
  get keys(): number {
    this.#space.refresh();
    return this.#shards.reduce((sum, { even, odd }) => sum + even.size + odd.size, 0);
  }
}

// --- sliding window -----------------------------------------------------------------------------------------------------------

/** When the calls were that were allowed, in order. */
const Calls = queue(f64);
const Windows = struct('Windows', { young: u8, since: f64, even: hashMap(text, Calls), odd: hashMap(text, Calls) });

export interface SlidingWindowOptions extends CommonOptions {
  readonly limit: number;
  /** Milliseconds. */
  readonly window: number;
}

export class SlidingWindow {
  readonly #space: Space;
  readonly #shards: readonly Infer<typeof Windows>[];
  readonly #limit: number;
  readonly #window: number;
  readonly #clock: () => number;

  constructor(space: Space, path: string, options: SlidingWindowOptions) {
    this.#space = space;
    this.#limit = atLeast('limit', options.limit, 1);
    this.#window = atLeast('window', options.window, 1);
    this.#clock = options.clock ?? Date.now;
    this.#shards = sharedShards(space, path, Windows, options.shards ?? 16);
  }

  /** Counts `calls` more, if there are not too many then. */
  take(key: string, calls = 1): Verdict {
    atLeast('calls', calls, 0);
    const limit = this.#limit;
    const window = this.#window;
    const shard = shardOf(this.#shards, key);
    return this.#space.relaxed(() => {
      const now = this.#clock();
      const { young, old } = generations(shard, now, window);
      const before = young.get(key) ?? old.get(key);
      const length = before?.length ?? 0;
      let over = 0;
      for (const at of before ?? []) {
        // A clock that was set back by more than a window begins anew.
        if (at > now - window && at <= now + window) break;
        over++;
      }
      const counted = length - over;
      if (counted + calls > limit) {
        if (calls > limit) return { allowed: false, remaining: limit - counted, retryAfter: Infinity };
        // So many of those that count must have had their time.
        const awaited = nth(before ?? [], over + counted + calls - limit - 1);
        return { allowed: false, remaining: limit - counted, retryAfter: awaited + window - now };
      }
      const mine = young.getOrInsert(key, before ?? []);
      for (let i = 0; i < over; i++) mine.shift();
      for (let i = 0; i < calls; i++) mine.push(now);
      return { allowed: true, remaining: limit - counted - calls, retryAfter: 0 };
    });
  }

  /** Keys that room is kept for. */
  get keys(): number {
    this.#space.refresh();
    return this.#shards.reduce((sum, { even, odd }) => sum + even.size + odd.size, 0);
  }
}

function nth(times: Iterable<number>, n: number): number {
  let i = 0;
  for (const time of times) if (i++ === n) return time;
  throw new RangeError(`there is no time ${n}`);
}

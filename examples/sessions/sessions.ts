/**
 * Sessions of an HTTP server, shared by all its processes: what one of them saved the next request finds, whichever process that goes to, and
 * after a crash.
 *
 *   sessions    what is kept of each, as JSON, by ID
 *   byExpiry    the IDs by when they expire
 *
 * stores.ts makes stores for Express and Fastify of it, cookies.ts the middleware for Hono and for node:http.
 */
import { bool, f64, hashMap, orderedMap, struct, text, tuple, type Infer, type Space } from '../../src/index.ts';
import { shardOf, sharedShards } from '../shards.ts';

const Session = struct('Session', { data: text, expires: f64 });
const Shard = struct('Sessions', { sessions: hashMap(text, Session), byExpiry: orderedMap(tuple(f64, text), bool) });
type Shard = Infer<typeof Shard>;

export interface SessionsOptions {
  /** Milliseconds that a session lives after its last use (default: a day). */
  readonly ttl?: number;
  /** Objects that the sessions are spread over (default 16). */
  readonly shards?: number;
  /** Milliseconds, by a clock that all processes share (default Date.now). */
  readonly clock?: () => number;
}

/** Expired sessions that one change takes out. */
const SWEEP = 4;
/** A session's end that would move by less than this part of its life stays where it is. */
const TOUCH_PART = 1 / 60;

export class Sessions {
  readonly #space: Space;
  readonly #shards: readonly Shard[];
  readonly #clock: () => number;
  readonly ttl: number;

  constructor(space: Space, path: string, options: SessionsOptions = {}) {
    this.#space = space;
    this.#shards = sharedShards(space, path, Shard, options.shards ?? 16);
    this.#clock = options.clock ?? Date.now;
    this.ttl = options.ttl ?? 86_400_000;
  }

  /** The session's JSON, as the last request anywhere left it. No transaction. */
  load(id: string): string | undefined {
    this.#space.refresh();
    const found = shardOf(this.#shards, id).sessions.get(id);
    return found === undefined || found.expires <= this.#clock() ? undefined : found.data;
  }

  save(id: string, data: string, ttl: number = this.ttl): void {
    const shard = shardOf(this.#shards, id);
    this.#space.relaxed(() => this.#put(shard, id, data, ttl));
  }

  /**
   * Changes a session on what it holds now: requests for it in other processes lose nothing by it, as they would where each saves what it once
   * loaded. `change` may run more than once. Undefined where there is no such session.
   */
  update(id: string, change: (data: string) => string, ttl: number = this.ttl): string | undefined {
    const shard = shardOf(this.#shards, id);
    return this.#space.relaxed(() => {
      const found = shard.sessions.get(id);
      if (found === undefined || found.expires <= this.#clock()) return undefined;
      const data = change(found.data);
      this.#put(shard, id, data, ttl);
      return data;
    });
  }

  /** The session was used: it lives on from now. */
  touch(id: string, ttl: number = this.ttl): void {
    this.#space.refresh();
    const shard = shardOf(this.#shards, id);
    const seen = shard.sessions.get(id);
    if (seen === undefined || this.#end(seen.expires, ttl) === seen.expires) return;
    this.#space.relaxed(() => {
      const found = shard.sessions.get(id);
      if (found === undefined || found.expires <= this.#clock()) return;
      const expires = this.#end(found.expires, ttl);
      if (expires === found.expires) return;
      shard.byExpiry.delete([found.expires, id]);
      found.expires = expires;
      shard.byExpiry.set([expires, id], true);
    });
  }

  /** False where there was none. */
  destroy(id: string): boolean {
    const shard = shardOf(this.#shards, id);
    return this.#space.relaxed(() => this.#remove(shard, id));
  }

  /** IDs and contents of all that have not expired. */
  *all(): Generator<[id: string, data: string]> {
    this.#space.refresh();
    const now = this.#clock();
    for (const { sessions } of this.#shards) for (const [id, { data, expires }] of sessions) if (expires > now) yield [id, data];
  }

  /** How many have not expired. */
  get size(): number {
    this.#space.refresh();
    const now = this.#clock();
    return this.#shards.reduce((sum, { byExpiry }) => sum + byExpiry.size - byExpiry.count({ through: [now, '\u{10ffff}'] }), 0);
  }

  clear(): void {
    this.#space.relaxed(() => {
      for (const shard of this.#shards) {
        shard.sessions.clear();
        shard.byExpiry.clear();
      }
    });
  }

  /** Takes out what has expired; returns how many. Each change does it for a few. */
  sweep(): number {
    let count = 0;
    for (const shard of this.#shards) count += this.#space.relaxed(() => this.#sweep(shard, Infinity));
    return count;
  }

  #put(shard: Shard, id: string, data: string, ttl: number): void {
    this.#sweep(shard, SWEEP);
    const before = shard.sessions.get(id)?.expires;
    const expires = this.#end(before, ttl);
    shard.sessions.set(id, { data, expires });
    if (before === expires) return;
    if (before !== undefined) shard.byExpiry.delete([before, id]);
    shard.byExpiry.set([expires, id], true);
  }

  /** When it expires that is used now. */
  #end(before: number | undefined, ttl: number): number {
    const expires = this.#clock() + ttl;
    return before !== undefined && Math.abs(expires - before) < ttl * TOUCH_PART ? before : expires;
  }

  #remove(shard: Shard, id: string): boolean {
    const found = shard.sessions.get(id);
    if (found === undefined) return false;
    shard.byExpiry.delete([found.expires, id]);
    return shard.sessions.delete(id);
  }

  #sweep(shard: Shard, limit: number): number {
    const now = this.#clock();
    let count = 0;
    for (let first = shard.byExpiry.first(); first !== undefined && first[0][0] <= now && count < limit; first = shard.byExpiry.first()) {
      this.#remove(shard, first[0][1]);
      count++;
    }
    return count;
  }
}

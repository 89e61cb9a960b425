/**
 * A queue of jobs that survives crashes of whoever adds them and whoever does them.
 *
 *   jobs    all jobs that are not done, by number
 *   due     their numbers by when somebody may take them: one that waits, when its time comes; one that was claimed, when its lease ends
 *   dead    numbers of those that were tried too often
 *   keys    numbers by idempotence key, for jobs that are done as well
 *   done    the keys of jobs that are done, by when they may be forgotten
 *
 * To claim a job is to move it in `due` behind the end of its lease. So the job of a worker that was killed is due again by itself; nobody has
 * to notice. A job is done at least once. What it has changed in the space when it is completed is changed once: the effect and the
 * completion are one transaction, and a worker whose job was meanwhile given to another is refused.
 */
import {
  bool,
  f64,
  hashMap,
  hashSet,
  isTwzError,
  oneOf,
  orderedMap,
  struct,
  text,
  tuple,
  u32,
  u64,
  type Infer,
  type Space,
} from '../../src/index.ts';
import { shared } from '../shards.ts';

const Job = struct('Job', {
  state: oneOf('waiting', 'claimed', 'dead'),
  attempts: u32,
  key: text,
  /** JSON. */
  payload: text,
  due: f64,
  /** Which claim of all is the one that counts. */
  token: u64,
  /** Why the last attempt failed. */
  error: text,
});
type Job = Infer<typeof Job>;

const Jobs = struct('Jobs', {
  numbers: u64,
  tokens: u64,
  jobs: hashMap(u64, Job),
  due: orderedMap(tuple(f64, u64), bool),
  dead: hashSet(u64),
  keys: hashMap(text, u64),
  done: orderedMap(tuple(f64, text), bool),
});

export interface QueueOptions {
  /** Milliseconds that a worker may be silent before its job is given to another (default 30,000). */
  readonly lease?: number;
  /** Attempts before a job is put with the dead ones (default 5). */
  readonly attempts?: number;
  /** Milliseconds to wait after attempt n has failed (default: 1 s, doubled each time, an hour at most). */
  readonly backoff?: (attempt: number) => number;
  /** Milliseconds that the key of a job that is done is remembered (default: a day). */
  readonly remember?: number;
  /** Milliseconds, by a clock that all processes share (default Date.now). */
  readonly clock?: () => number;
}

export interface Claim<T> {
  readonly number: number;
  readonly key: string;
  readonly payload: T;
  /** 1 for the first. */
  readonly attempt: number;
  readonly token: number;
}

export interface Letter<T> {
  readonly number: number;
  readonly key: string;
  readonly payload: T;
  readonly attempts: number;
  readonly error: string;
}

/** Does a job. A function that it returns is the effect: it runs in the transaction that completes the job. */
export type Handler<T> = (claim: Claim<T>) => Promise<(() => void) | void> | (() => void) | void;

export interface WorkOptions {
  readonly signal: AbortSignal;
  /** Jobs that are done at a time (default 1). */
  readonly concurrency?: number;
  /** Milliseconds between two looks where nothing is due (default 20). */
  readonly poll?: number;
}

const HOUR = 3_600_000;
/** Keys that are forgotten with each job that is completed. */
const FORGET = 4;

export class JobQueue<T> {
  readonly #space: Space;
  readonly #root: Infer<typeof Jobs>;
  readonly #options: Required<QueueOptions>;

  constructor(space: Space, path: string, options: QueueOptions = {}) {
    this.#space = space;
    this.#root = shared(space, path, Jobs);
    this.#options = {
      lease: 30_000,
      attempts: 5,
      backoff: (attempt) => Math.min(1000 * 2 ** (attempt - 1), HOUR),
      remember: 24 * HOUR,
      clock: Date.now,
      ...options,
    };
  }

  /**
   * Adds a job; returns its number. With a key: if there is a job of that key, or was one lately, nothing is added and that one's number is
   * returned. Inside a transaction it is part of that: an order and the job to ship it are there together, or not at all.
   */
  add(payload: T, options: { readonly key?: string; readonly delay?: number } = {}): number {
    const { key = '', delay = 0 } = options;
    return this.#space.relaxed(() => {
      const root = this.#root;
      const known = key === '' ? undefined : root.keys.get(key);
      if (known !== undefined) return known;
      const number = ++root.numbers;
      const due = this.#options.clock() + delay;
      root.jobs.set(number, { key, payload: JSON.stringify(payload), due });
      root.due.set([due, number], true);
      if (key !== '') root.keys.set(key, number);
      return number;
    });
  }

  /** Takes the job that has been due for longest; undefined where none is. */
  claim(): Claim<T> | undefined {
    // Where nothing is due there is nothing to be sure of.
    if (this.wait() > 0) return undefined;
    return this.#space.relaxed(() => {
      const root = this.#root;
      const now = this.#options.clock();
      for (;;) {
        const first = root.due.first();
        if (first === undefined || first[0][0] > now) return undefined;
        const number = first[0][1];
        const job = this.#job(number);
        if (job.attempts >= this.#options.attempts) {
          this.#bury(number, job, job.state === 'claimed' ? 'the last worker did not end it in time' : job.error);
          continue;
        }
        job.state = 'claimed';
        job.attempts++;
        job.token = ++root.tokens;
        this.#move(number, job, now + this.#options.lease);
        return { number, key: job.key, payload: JSON.parse(job.payload) as T, attempt: job.attempts, token: job.token };
      }
    });
  }

  /**
   * The job is done: `effect` and its removal are one transaction. False where the job was given to another worker meanwhile, or is done; then
   * `effect` was not run.
   */
  complete(claim: Claim<T>, effect?: () => void): boolean {
    return this.#space.relaxed(() => {
      const root = this.#root;
      const job = this.#held(claim);
      if (job === undefined) return false;
      effect?.();
      const now = this.#options.clock();
      if (job.key !== '') root.done.set([now + this.#options.remember, job.key], true);
      root.due.delete([job.due, claim.number]);
      root.jobs.delete(claim.number);
      for (let n = 0, first = root.done.first(); n < FORGET && first !== undefined && first[0][0] <= now; n++, first = root.done.first()) {
        root.done.delete(first[0]);
        root.keys.delete(first[0][1]);
      }
      return true;
    });
  }

  /** The attempt failed: again later, or, where it was the last, to the dead ones. False as for `complete`. */
  fail(claim: Claim<T>, error: unknown): boolean {
    return this.#space.relaxed(() => {
      const job = this.#held(claim);
      if (job === undefined) return false;
      const reason = error instanceof Error ? error.message : String(error);
      if (job.attempts >= this.#options.attempts) this.#bury(claim.number, job, reason);
      else {
        job.state = 'waiting';
        job.error = reason;
        this.#move(claim.number, job, this.#options.clock() + this.#options.backoff(job.attempts));
      }
      return true;
    });
  }

  /** The worker is still at it: the lease begins anew. False as for `complete`. */
  extend(claim: Claim<T>): boolean {
    return this.#space.relaxed(() => {
      const job = this.#held(claim);
      if (job !== undefined) this.#move(claim.number, job, this.#options.clock() + this.#options.lease);
      return job !== undefined;
    });
  }

  /** Milliseconds until a job is due: 0 now, Infinity where there is none. No transaction. */
  wait(): number {
    this.#space.refresh();
    const first = this.#root.due.first();
    return first === undefined ? Infinity : Math.max(0, first[0][0] - this.#options.clock());
  }

  /**
   * Does jobs until the signal comes; resolves when those under way are done. A handler that throws fails its attempt. Rejects where the
   * space does not work, as with LeaseTimeout.
   */
  async work(handler: Handler<T>, { signal, concurrency = 1, poll = 20 }: WorkOptions): Promise<void> {
    const running = new Set<Promise<void>>();
    const failures: unknown[] = [];
    while (!signal.aborted && failures.length === 0) {
      const claim = running.size < concurrency ? this.claim() : undefined;
      if (claim === undefined) {
        const idle = pause(Math.max(1, Math.min(poll, this.wait())));
        await (running.size < concurrency ? Promise.race([idle, ...running]) : Promise.race(running));
        continue;
      }
      const work = this.#attempt(claim, handler)
        .catch((error: unknown) => void failures.push(error))
        .finally(() => running.delete(work));
      running.add(work);
      await new Promise(setImmediate);
    }
    await Promise.all(running);
    if (failures.length > 0) throw failures[0];
  }

  async #attempt(claim: Claim<T>, handler: Handler<T>): Promise<void> {
    const beat = setInterval(() => this.#beat(claim), this.#options.lease / 3);
    try {
      const effect = await handler(claim);
      this.complete(claim, effect ?? undefined);
    } catch (error) {
      this.fail(claim, error);
    } finally {
      clearInterval(beat);
    }
  }

  #beat(claim: Claim<T>): void {
    try {
      this.extend(claim);
    } catch (error) {
      // Somebody who was stopped keeps the queue. The next beat tries again.
      if (!isTwzError(error, 'LeaseTimeout')) throw error;
    }
  }

  /** Jobs that were tried too often. */
  dead(): Letter<T>[] {
    this.#space.refresh();
    return [...this.#root.dead].map((number) => {
      const { key, payload, attempts, error } = this.#job(number);
      return { number, key, payload: JSON.parse(payload) as T, attempts, error };
    });
  }

  /** A dead one gets all its attempts again. */
  revive(number: number): boolean {
    return this.#space.relaxed(() => {
      const root = this.#root;
      if (!root.dead.delete(number)) return false;
      const job = this.#job(number);
      job.state = 'waiting';
      job.attempts = 0;
      job.due = this.#options.clock();
      root.due.set([job.due, number], true);
      return true;
    });
  }

  /** Removes a dead one; its key may be used again. */
  discard(number: number): boolean {
    return this.#space.relaxed(() => {
      const root = this.#root;
      if (!root.dead.delete(number)) return false;
      const { key } = this.#job(number);
      if (key !== '') root.keys.delete(key);
      return root.jobs.delete(number);
    });
  }

  /** Jobs that wait or are being done. */
  get open(): number {
    this.#space.refresh();
    return this.#root.due.size;
  }

  #job(number: number): Job {
    const job = this.#root.jobs.get(number);
    if (job === undefined) throw new Error(`there is no job ${number}`);
    return job;
  }

  #held(claim: Claim<T>): Job | undefined {
    const job = this.#root.jobs.get(claim.number);
    return job?.state === 'claimed' && job.token === claim.token ? job : undefined;
  }

  #move(number: number, job: Job, due: number): void {
    this.#root.due.delete([job.due, number]);
    job.due = due;
    this.#root.due.set([due, number], true);
  }

  #bury(number: number, job: Job, error: string): void {
    this.#root.due.delete([job.due, number]);
    job.state = 'dead';
    job.error = error;
    this.#root.dead.add(number);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

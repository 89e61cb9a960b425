/**
 * Functions that run in the program itself: of a space that has joined nobody all of them, of a node those that are best off here. A plain
 * function takes as long as it takes, and nothing else happens meanwhile; the deadline of others ends what they would do next.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { clock } from '../../host/clock.ts';
import type { Space } from '../../space.ts';
import {
  demandKind,
  type Generates,
  type Given,
  type Mobility,
  type RunOptions,
  type RunStream,
  type Spawned,
  type SpawnStatus,
  type StreamOptions,
} from '../mobility.ts';
import { Job, quietly, runBody, runItems, type BodyCore, type InnerOptions, type JobFacts } from './bodies.ts';
import { toHex } from './record.ts';
import { ResultStream, type Source } from './run-stream.ts';
import { Runner, sourceOf, type Code } from './runner.ts';
import { decodeValues, encodeValues } from './values.ts';

const HOUR_MS = 3_600_000;
const PATIENCE_MS = 10_000;
/** So long a stream may take, all in all. */
export const STREAM_MS = 24 * HOUR_MS;

/** A generator that runs in this thread: it goes on when the next value is asked for. */
export class HereSource implements Source {
  readonly #space: Space;
  readonly #silence: number;
  readonly #begin: (job: Job) => Promise<void>;
  readonly #job: () => Job;
  #running: { readonly job: Job; readonly over: Promise<void> } | undefined;
  #asked: ((item: Uint8Array) => void) | undefined;
  #goOn: ((more: boolean) => void) | undefined;

  /** `silence`: milliseconds without a value, after which it has failed. */
  constructor(core: BodyCore, facts: JobFacts, code: Code, values: Uint8Array, silence: number) {
    this.#silence = silence;
    this.#space = core.space;
    this.#job = () => new Job(core, facts);
    this.#begin = (job) => runItems(core, job, code, values, (item) => this.#emit(item));
  }

  #emit(item: Uint8Array): Promise<boolean> {
    return new Promise((resolve) => {
      this.#goOn = resolve;
      this.#asked?.(item);
    });
  }

  async pull(): Promise<{ readonly items: readonly unknown[]; readonly done: boolean }> {
    const item = new Promise<Uint8Array>((resolve) => (this.#asked = resolve));
    if (this.#running === undefined) {
      const job = this.#job();
      this.#running = { job, over: quietly(this.#begin(job)) };
    } else this.#answer(true);
    const { job, over } = this.#running;
    const timer = clock.timer(this.#silence, () =>
      job.end(new TwzError('TimedOut', `a stream gave nothing for ${this.#silence} ms`, { ms: this.#silence })),
    );
    let came: Uint8Array | void;
    try {
      came = await Promise.race([item, over]);
    } finally {
      timer.cancel();
    }
    return came instanceof Uint8Array ? { items: [decodeValues(this.#space, came)], done: false } : { items: [], done: true };
  }

  #answer(more: boolean): boolean {
    const goOn = this.#goOn;
    this.#goOn = undefined;
    goOn?.(more);
    return goOn !== undefined;
  }

  async end(): Promise<void> {
    if (this.#running === undefined) return;
    const { job, over } = this.#running;
    // One that waits for something else than to be asked goes no further than that.
    if (!this.#answer(false)) job.end();
    try {
      await over;
    } catch (error) {
      if (!isTwzError(error, 'RunStopped')) throw error;
    }
  }
}

/** A computation in this thread. */
class SpawnedHere<R> implements Spawned<R> {
  readonly id: string;
  readonly result: Promise<R>;
  #state: SpawnStatus['state'] = 'beginning';
  #since = 0;
  #ms = 0;
  #stop: (error: TwzError) => void = () => undefined;

  constructor(id: string, begin: (stopped: Promise<never>) => Promise<unknown>) {
    this.id = id;
    const stopped = quietly(new Promise<never>((_resolve, reject) => (this.#stop = reject)));
    this.result = quietly(this.#run(begin, stopped));
  }

  async #run(begin: (stopped: Promise<never>) => Promise<unknown>, stopped: Promise<never>): Promise<R> {
    try {
      await Promise.race([new Promise<void>((resolve) => clock.soon(resolve)), stopped]);
      this.#state = 'running';
      this.#since = clock.now();
      const result = await begin(stopped);
      this.#state = 'done';
      return result as R;
    } catch (error) {
      this.#state = 'failed';
      throw error;
    } finally {
      this.#ms = clock.now() - this.#since;
    }
  }

  status(): Promise<SpawnStatus> {
    const running = this.#state === 'running';
    return Promise.resolve({ state: this.#state, node: undefined, ms: running ? clock.now() - this.#since : this.#ms });
  }

  async stop(): Promise<void> {
    this.#stop(new TwzError('RunStopped', `what was spawned as ${this.id} was ended`));
    await this.result.then(
      (value) => value,
      (error: unknown) => error,
    );
  }
}

/** Who runs functions for a space that has joined nobody. */
export class Here implements Mobility {
  readonly #space: Space;
  readonly #core: BodyCore;
  readonly #spawned = new Map<string, Spawned<unknown>>();

  constructor(space: Space) {
    this.#space = space;
    this.#core = { space, runner: new Runner(space), replicated: undefined, within: undefined, mobility: this };
  }

  async runWith<A extends readonly unknown[], R>(
    options: RunOptions & Partial<InnerOptions>,
    fn: (...given: A) => R,
    ...given: Given<A>
  ): Promise<Awaited<R>> {
    return (await this.#run(options, fn, given)) as Awaited<R>;
  }

  async #run(
    options: RunOptions & Partial<InnerOptions>,
    fn: (...given: never[]) => unknown,
    given: readonly unknown[],
    stopped?: Promise<never>,
  ): Promise<unknown> {
    const space = this.#space;
    space.kernel.idle('a run');
    const kind = demandKind(fn, false);
    alone(options);
    const { limits = {}, deadline = PATIENCE_MS, depth = 0, activation = toHex(space.kernel.random(16)) } = options;
    const named = options.named ?? options.activation !== undefined;
    const code = { source: sourceOf(fn) };
    const values = encodeValues(given, false);
    const { runner } = this.#core;
    if (kind === 'plain') return decodeValues(space, runner.run(activation, code, values, { limits, once: !named }).gave);
    const known = named ? runner.activations.gave(activation) : undefined;
    if (known !== undefined) return decodeValues(space, known);
    const job = new Job(this.#core, { activation, named, depth, ms: deadline, limits });
    stopped?.catch((error: unknown) => {
      if (error instanceof TwzError) job.end(error);
    });
    const gave = await runBody(this.#core, job, code, values);
    if (named) space.relaxed(() => runner.activations.note(activation, gave));
    return decodeValues(space, gave);
  }

  spawnWith<A extends readonly unknown[], R>(
    options: RunOptions & Partial<InnerOptions>,
    fn: (...given: A) => R,
    ...given: Given<A>
  ): Spawned<Awaited<R>> {
    demandKind(fn, false);
    const id = options.activation ?? toHex(this.#space.kernel.random(16));
    const spawned = new SpawnedHere<Awaited<R>>(id, (stopped) => this.#run({ deadline: HOUR_MS, ...options }, fn, given, stopped));
    this.#spawned.set(id, spawned);
    const gone = (): void => void clock.timer(HOUR_MS, () => this.#spawned.delete(id));
    void spawned.result.then(gone, gone);
    return spawned;
  }

  streamWith<A extends readonly unknown[], T>(
    options: StreamOptions & Partial<InnerOptions>,
    fn: Generates<A, T>,
    ...given: Given<A>
  ): RunStream<T> {
    const space = this.#space;
    space.kernel.idle('a stream');
    demandKind(fn, true);
    alone(options);
    const { limits = {}, depth = 0, silence = PATIENCE_MS } = options;
    const facts = { activation: toHex(space.kernel.random(16)), named: false, depth, ms: STREAM_MS, limits };
    return new ResultStream<T>(new HereSource(this.#core, facts, { source: sourceOf(fn) }, encodeValues(given, false), silence));
  }

  spawned(id: string): Spawned<unknown> {
    const found = this.#spawned.get(id);
    if (found === undefined) throw new TwzError('RunLost', `nothing is known here of ${id}`, { id });
    return found;
  }
}

function alone({ at, limits }: Pick<RunOptions, 'at' | 'limits'>): void {
  if (at !== undefined) throw new TwzError('NotJoined', `a run at "${at}": this program has joined no other nodes`);
  if (limits?.heapBytes !== undefined)
    throw new TwzError('NotJoined', 'a limit of the heap needs a thread of its own, which nodes have: join');
}

/**
 * Functions that are more than one transaction: async ones, and generators. Each has a realm of its own, and a `space` that knows which run
 * it is: its transactions and the runs that it starts are its steps, numbered as they begin. Under a name that somebody gave, a step that was
 * done gives what it gave, so a run that was broken off and is asked for again goes on where it was.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import { Realm, type SentFunction } from '../../host/functions.ts';
import type { Timer } from '../../host/host.ts';
import type { Space } from '../../space.ts';
import {
  lesser,
  type Generates,
  type Given,
  type Mobility,
  type RunLimits,
  type RunOptions,
  type RunStream,
  type Spawned,
  type StreamOptions,
} from '../mobility.ts';
import { LIBRARY, ModuleSpace } from '../modules/library.ts';
import { demandWithin, failed, givenIn, textOf, type Code, type Runner } from './runner.ts';
import type { Span } from './tracing.ts';
import { decodeValues, encodeValues } from './values.ts';

/** So many runs may lie inside each other. */
export const DEPTH_MAX = 16;

export interface JobFacts {
  readonly activation: string;
  /** Somebody gave it that name: it can be asked for again after its node ended. */
  readonly named: boolean;
  /** How many runs it lies in. */
  readonly depth: number;
  /** Milliseconds that it may take. */
  readonly ms: number;
  readonly limits: RunLimits;
  /** What it takes is noted there. */
  readonly span?: Span | undefined;
}

/** What a run inside another is told of it. */
export interface InnerOptions extends RunOptions {
  readonly named: boolean;
  readonly depth: number;
  /** What the outer one stored before has to be in the engine first. */
  readonly after?: Promise<void>;
  readonly span?: Span | undefined;
}

/** What bodies need of where they run. */
export interface BodyCore {
  readonly space: Space;
  readonly runner: Runner;
  /** What these transactions stored outlives the node when this resolves; undefined where there is only one. */
  readonly replicated: ((lsn: number, ids: readonly ObjectId[], ms: number) => Promise<void>) | undefined;
  /** What a transaction needs of other nodes comes in so many milliseconds; undefined where there is only one. */
  readonly within: (<T>(ms: number, body: () => T) => T) | undefined;
  /** Who runs what it starts. */
  readonly mobility: Mobility;
}

/** One that nobody need wait for: who does gets what it rejects with all the same. */
export function quietly<T>(promise: Promise<T>): Promise<T> {
  promise.catch((error: unknown) => error);
  return promise;
}

/** Throws RunDepth. */
export function demandDepth(depth: number): void {
  if (depth > DEPTH_MAX) throw new TwzError('RunDepth', `runs lie inside each other more than ${DEPTH_MAX} deep`, { most: DEPTH_MAX });
}

/** A run that is under way. */
export class Job {
  readonly #core: BodyCore;
  readonly #facts: JobFacts;
  readonly #until: number;
  readonly #timer: Timer;
  /** Rejects when it ends before it is done. */
  readonly broken: Promise<never>;
  #break: (error: TwzError) => void = () => undefined;
  #over: TwzError | undefined;
  #steps = 0;
  readonly #unsettled: { readonly lsn: number; readonly ids: readonly ObjectId[] }[] = [];
  /** It was given what an earlier step had given: that may not be in the engine, or may not count. */
  #repeats = false;
  /** All that it stored to. */
  readonly stored = new Set<ObjectId>();

  constructor(core: BodyCore, facts: JobFacts) {
    demandDepth(facts.depth);
    const { host } = core.space.kernel;
    this.#core = core;
    this.#facts = facts;
    this.#until = host.now() + facts.ms;
    this.broken = quietly(new Promise<never>((_resolve, reject) => (this.#break = reject)));
    this.#timer = host.timer(Math.min(facts.ms, 2 ** 31 - 1), () =>
      this.end(new TwzError('TimedOut', 'a run was not over at its deadline', { ms: facts.ms })),
    );
  }

  /** From now on it does nothing more. */
  end(error = new TwzError('RunStopped', 'the run is over: nothing of it goes on')): void {
    this.#timer.cancel();
    if (this.#over !== undefined) return;
    this.#over = error;
    this.#break(error);
  }

  #demand(): void {
    if (this.#over !== undefined) throw this.#over;
  }

  left(): number {
    return Math.max(1, this.#until - this.#core.space.kernel.host.now());
  }

  #step(): string {
    this.#demand();
    return `${this.#facts.activation}/${++this.#steps}`;
  }

  /** A transaction of it. */
  transaction<T>(body: () => T): T {
    const { space, runner } = this.#core;
    const { kernel } = space;
    this.#demand();
    if (kernel.transaction !== undefined) return space.relaxed(body);
    const { named, limits } = this.#facts;
    const name = this.#step();
    let ids: readonly ObjectId[] = [];
    const { within = (_ms, run) => run() } = this.#core;
    const store = (): T => {
      const known = named ? runner.activations.gave(name) : undefined;
      // What it gave is what it was called to give.
      if (known !== undefined) {
        this.#repeats = true;
        return repeated(space, known, name) as T;
      }
      const value = body();
      const { transaction } = kernel;
      demandWithin(kernel, limits);
      if (named && transaction !== undefined && transaction.handles.length > 0) runner.activations.note(name, noted(value));
      ids = (transaction?.handles ?? []).map(({ id }) => id);
      return value;
    };
    const result = within(this.left(), () => space.relaxed(store));
    if (ids.length > 0) this.#unsettled.push({ lsn: kernel.committed, ids });
    for (const id of ids) this.stored.add(id);
    return result;
  }

  /** What it has stored so far outlives the node: each transaction of it may be one that another node came before. */
  async settle(): Promise<void> {
    const unsettled = this.#unsettled.splice(0);
    const repeats = this.#repeats;
    this.#repeats = false;
    const { replicated, space } = this.#core;
    const { seen } = space.kernel;
    for (const { lsn, ids } of unsettled) await replicated?.(lsn, ids, this.left());
    if (repeats) await replicated?.(seen, [], this.left());
  }

  /** For a run inside of this one. */
  inner(options: RunOptions): InnerOptions {
    const { named, depth, limits, span } = this.#facts;
    // Memory is that of a thread: this one's is limited, and others are by their nodes.
    const { heapBytes: _ofThread, ...stored } = limits;
    demandDepth(depth + 1);
    const name = this.#step();
    return {
      ...options,
      deadline: Math.min(options.deadline ?? Infinity, this.left()),
      activation: options.activation ?? name,
      named: named || options.activation !== undefined,
      depth: depth + 1,
      limits: lesser(options.limits ?? {}, stored),
      span,
    };
  }
}

const NOT_AGAIN = new Uint8Array([0]);

function noted(value: unknown): Uint8Array {
  try {
    return encodeValues(value, true);
  } catch (error) {
    if (!isTwzError(error, 'CodeInvalid')) throw error;
    return NOT_AGAIN;
  }
}

function repeated(space: Space, known: Uint8Array, name: string): unknown {
  if (known.length === NOT_AGAIN.length && known[0] === NOT_AGAIN[0])
    throw new TwzError('RunChanged', `step ${name} was done, and what it gave cannot be given again`, { step: name });
  return decodeValues(space, known);
}

/** The space as such functions have it. */
class RunSpace extends ModuleSpace {
  readonly #job: Job;
  readonly #core: BodyCore;

  constructor(core: BodyCore, job: Job) {
    super(core.space);
    this.#core = core;
    this.#job = job;
  }

  override relaxed<T>(body: () => T): T {
    return this.#job.transaction(body);
  }

  override async durable<T>(body: () => T): Promise<T> {
    const result = this.#job.transaction(body);
    await this.#core.space.kernel.log.durable();
    return result;
  }

  run<A extends readonly unknown[], R>(fn: (...given: A) => R, ...given: Given<A>): Promise<Awaited<R>> {
    return this.runWith({}, fn, ...given);
  }

  async runWith<A extends readonly unknown[], R>(options: RunOptions, fn: (...given: A) => R, ...given: Given<A>): Promise<Awaited<R>> {
    // Numbered as it begins.
    const inner = this.#job.inner(options);
    await this.#job.settle();
    return this.#core.mobility.runWith(inner, fn, ...given);
  }

  spawn<A extends readonly unknown[], R>(fn: (...given: A) => R, ...given: Given<A>): Spawned<Awaited<R>> {
    return this.spawnWith({}, fn, ...given);
  }

  /** It may go on when the run that spawned it is over. */
  spawnWith<A extends readonly unknown[], R>(options: RunOptions, fn: (...given: A) => R, ...given: Given<A>): Spawned<Awaited<R>> {
    const { deadline: _left, ...inner } = this.#job.inner(options);
    const all: InnerOptions = {
      ...inner,
      ...options,
      activation: inner.activation ?? '',
      limits: inner.limits ?? {},
      after: quietly(this.#job.settle()),
    };
    return this.#core.mobility.spawnWith(all, fn, ...given);
  }

  stream<A extends readonly unknown[], T>(fn: Generates<A, T>, ...given: Given<A>): RunStream<T> {
    return this.streamWith({}, fn, ...given);
  }

  streamWith<A extends readonly unknown[], T>(options: StreamOptions, fn: Generates<A, T>, ...given: Given<A>): RunStream<T> {
    const { depth, limits = {} } = this.#job.inner(options);
    const inner: StreamOptions & Pick<InnerOptions, 'depth' | 'after'> = { ...options, depth, limits, after: quietly(this.#job.settle()) };
    return this.#core.mobility.streamWith(inner, fn, ...given);
  }
}

function compiled(core: BodyCore, job: Job, code: Code): SentFunction {
  const realm = new Realm({ ...LIBRARY, space: new RunSpace(core, job) });
  return typeof code === 'string' ? realm.compile(textOf(core.space, code), `run:${code}`) : realm.compile(code.source, 'run:here');
}

/** Runs an async function to its end: what it stored outlives the node then. Throws what it throws, as RunFailed; what ended the job. */
export async function runBody(core: BodyCore, job: Job, code: Code, values: Uint8Array): Promise<Uint8Array> {
  try {
    const fn = compiled(core, job, code);
    const given = givenIn(core.space, values);
    const result = await Promise.race([begun(() => fn(...given)), job.broken]);
    const gave = encodeValues(result, true);
    await job.settle();
    return gave;
  } catch (cause) {
    throw failed(cause);
  } finally {
    job.end();
  }
}

async function begun(body: () => unknown): Promise<unknown> {
  return body();
}

/** Runs a generator: `emit` gets each value, and says whether another is wanted. */
export async function runItems(
  core: BodyCore,
  job: Job,
  code: Code,
  values: Uint8Array,
  emit: (item: Uint8Array) => Promise<boolean>,
): Promise<void> {
  try {
    const fn = compiled(core, job, code);
    const made = fn(...givenIn(core.space, values));
    if (!isIterator(made)) throw new TwzError('CodeInvalid', 'a stream is of a generator function');
    for (;;) {
      const { done, value } = (await Promise.race([begun(() => made.next()), job.broken])) as IteratorResult<unknown>;
      if (done === true) break;
      const item = encodeValues(value, true);
      await job.settle();
      if (await Promise.race([emit(item), job.broken])) continue;
      await Promise.race([begun(() => made.return?.()), job.broken]);
      break;
    }
    await job.settle();
  } catch (cause) {
    throw failed(cause);
  } finally {
    job.end();
  }
}

function isIterator(value: unknown): value is Iterator<unknown> | AsyncIterator<unknown> {
  return typeof value === 'object' && value !== null && 'next' in value && typeof value.next === 'function';
}

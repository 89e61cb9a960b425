/** Code that moves, as programs see it: what `space.run`, `space.spawn` and `space.stream` take and give, on one machine or on many. */
import { TwzError } from '../abi/errors.ts';
import type { Obj } from '../lib/object.ts';

/** What a function of these parameters is called with: an object may be named by a reference that nobody has followed. */
export type Given<A extends readonly unknown[]> = { readonly [K in keyof A]: A[K] | Obj };

/** What is to move: data comes here, or the code goes to where an argument is. */
export type Shipped = 'data' | 'code';

/** What a run may use at most. Above it: RunLimit, and its transaction is undone. A node has limits of its own, too: the lesser ones hold. */
export interface RunLimits {
  /** Objects that one transaction of it may store to, new ones included. */
  readonly storedObjects?: number;
  /** Bytes that one transaction of it may change, new objects included, by lines of 64. */
  readonly storedBytes?: number;
  /** Bytes of JavaScript heap (from 16 MiB): it has a thread of its own then. */
  readonly heapBytes?: number;
}

export interface RunOptions {
  /** Milliseconds (default: the patience of the space; of what is spawned an hour). */
  readonly deadline?: number;
  /** Where it is to run: for what belongs to a machine. An ID or a name of a node; by default the system chooses. */
  readonly at?: string;
  /** By default the system chooses. Where code cannot go to the owner of the data because that is gone, it goes to who can succeed it. */
  readonly ship?: Shipped;
  /** Names the run, for an hour: asked for twice by the same name, from wherever, it is done once. */
  readonly activation?: string;
  readonly limits?: RunLimits;
}

export interface StreamOptions extends Omit<RunOptions, 'activation' | 'deadline'> {
  /** Milliseconds without a value after which it has failed: TimedOut (default: the patience of the space). */
  readonly silence?: number;
  /** Bytes of values that are made before anybody has asked for them (default 256 KiB; at least one value). */
  readonly ahead?: number;
  /** Milliseconds for which nobody need ask for more before its node ends it: RunStopped (default 60,000). */
  readonly idle?: number;
}

export interface SpawnStatus {
  /** `lost`: its node is gone, or its thread, and nobody knows how far it was. */
  readonly state: 'beginning' | 'running' | 'done' | 'failed' | 'lost';
  /** ID of the node where it runs; undefined while that is not decided. */
  readonly node: string | undefined;
  /** Milliseconds that it has run; NaN where it failed elsewhere. */
  readonly ms: number;
}

/** A computation that runs somewhere. */
export interface Spawned<R> {
  /** Names it on every node: `spawned(id)` there is this computation. */
  readonly id: string;
  /** What it gives in the end. Rejects with RunFailed, RunLost, RunStopped, RunLimit, TimedOut, and errors of this package. */
  readonly result: Promise<R>;
  status(): Promise<SpawnStatus>;
  /** Ends it: what it had begun is undone. Resolves when it has ended. It may have been done before. */
  stop(): Promise<void>;
}

/** Values of a generator that runs somewhere, as they come. Each comes once, in order; `return` (or leaving `for await`) ends it there. */
export type RunStream<T> = AsyncGenerator<T, void, undefined>;

/** A generator function. */
export type Generates<A extends readonly unknown[], T> = (...given: A) => Iterable<T> | AsyncIterable<T>;

/** Who runs functions for a space: the space itself, or the nodes that it has joined. */
export interface Mobility {
  runWith<A extends readonly unknown[], R>(options: RunOptions, fn: (...given: A) => R, ...given: Given<A>): Promise<Awaited<R>>;
  spawnWith<A extends readonly unknown[], R>(options: RunOptions, fn: (...given: A) => R, ...given: Given<A>): Spawned<Awaited<R>>;
  streamWith<A extends readonly unknown[], T>(options: StreamOptions, fn: Generates<A, T>, ...given: Given<A>): RunStream<T>;
  /** What was spawned by that ID. */
  spawned(id: string): Spawned<unknown>;
}

/** A plain function is one transaction; one that is async makes several; a generator gives values as it goes. */
export type BodyKind = 'plain' | 'async' | 'stream';

export function kindOf(fn: (...given: never[]) => unknown): BodyKind {
  switch (Object.prototype.toString.call(fn)) {
    case '[object AsyncFunction]':
      return 'async';
    case '[object GeneratorFunction]':
    case '[object AsyncGeneratorFunction]':
      return 'stream';
    default:
      return 'plain';
  }
}

/** Throws CodeInvalid. */
export function demandKind(fn: (...given: never[]) => unknown, isStream: boolean): BodyKind {
  const kind = kindOf(fn);
  if ((kind === 'stream') !== isStream)
    throw new TwzError('CodeInvalid', isStream ? 'a stream is of a generator function' : 'a generator function gives a stream: `stream`');
  return kind;
}

/** The lesser of both, for each limit. */
export function lesser(a: RunLimits, b: RunLimits): RunLimits {
  const limits: Record<string, number> = {};
  for (const name of ['storedObjects', 'storedBytes', 'heapBytes'] as const) {
    const limit = Math.min(a[name] ?? Infinity, b[name] ?? Infinity);
    if (limit < Infinity) limits[name] = limit;
  }
  return limits;
}

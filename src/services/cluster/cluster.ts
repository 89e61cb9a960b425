/**
 * A space that many machines share: `join` makes this program's space a node of it. docs/cluster.md
 *
 * References lead to objects wherever they are; functions run where their data is, or data comes to where they are. No host is named.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { parseId, type ObjectId } from '../../abi/id.ts';
import { makeBell } from '../../host/bell.ts';
import { clock } from '../../host/clock.ts';
import { Caller, makeLine, startColleague, type Colleague } from '../../host/colleagues.ts';
import type { Lock, Timer } from '../../host/host.ts';
import { optionalPackage } from '../../host/optional.ts';
import { Handle } from '../../kernel/object.ts';
import { reclaim, unreached, type Reclaimed } from '../../kernel/reclaim.ts';
import { run as transact, runAlone } from '../../kernel/transaction.ts';
import { Obj } from '../../lib/object.ts';
import { isAccessor } from '../../lib/runtime.ts';
import type { Space, Target } from '../../space.ts';
import type { Generates, Given, Mobility, RunLimits, RunOptions, RunStream, Spawned, StreamOptions } from '../mobility.ts';
import { pageIn, pageSource, type PagedFacts, type PagedObject, type PagedOptions, type PageSource } from '../pager.ts';
import type { AgentStart } from './agent.ts';
import { agentOf, type AgentContact } from './contact.ts';
import { Conventions, type Handler, type TopicListener } from './conventions.ts';
import type { Engine, EngineFacts, EngineOptions, Subscription } from './engine.ts';
import { fromThread } from './messages.ts';
import { Mobile } from './mobile.ts';
import { HEAP_MIN } from './tasks.ts';
import { connectNats } from './nats.ts';
import type { NodeInfo } from './node.ts';
import type { Explained } from './planner.ts';
import { answerPlans } from './plans.ts';
import { toHex } from './record.ts';
import { becomeNode } from './sole.ts';
import { encodeValues } from './values.ts';
import { Tracing, type Telemetry } from './tracing.ts';
import { watchNodes, type ClusterEvent } from './watching.ts';

export { findServer, startServer, type RunningServer, type ServerOptions } from './server.ts';
export type { Explained } from './planner.ts';
export type { Given, RunLimits, RunOptions, RunStream, Spawned, SpawnStatus, StreamOptions } from '../mobility.ts';
export type { NodeInfo } from './node.ts';
export type { EngineFacts, Subscription } from './engine.ts';
export type { PagedObject, PagedOptions } from '../pager.ts';
export { mergeCode, mergeCounts, mergeLatest, mergeSets, type Merge } from './merges.ts';
export type { Telemetry, TelemetrySpan } from './tracing.ts';
export type { ClusterEvent } from './watching.ts';
export type { Handler, MessageInfo, TopicListener } from './conventions.ts';

export interface JoinOptions extends Omit<EngineOptions, 'space' | 'name'> {
  /** Name of the space that the nodes form: [a-z0-9_-] (default `twizzler`). */
  readonly space?: string;
  /** What people call this node (default: `node` and the first digits of its ID). */
  readonly name?: string;
  /** Milliseconds that references and runs may take where nothing else is said (default 10,000). */
  readonly patience?: number;
  /** Whether functions of other nodes run here (default true): the nodes of a space trust each other with that. */
  readonly runs?: boolean;
  /** Functions that may run here at a time in threads of their own: async ones, what is spawned, streams (default 8). */
  readonly threads?: number;
  /** What a run may use here at most, whatever its caller says. */
  readonly limits?: RunLimits;
  /**
   * The module `@opentelemetry/api`, or what is like it: runs of this program are traced by it, over all nodes that have a part in them. By
   * default the package, if the program has it. `false`: nothing is traced.
   */
  readonly telemetry?: Telemetry | false;
  /** How fast functions run here, against the other nodes (default 1): a machine that is twice as fast says 2. */
  readonly speed?: number;
  /** Milliseconds after its last sign that a node counts as gone (default 4000). */
  readonly lease?: number;
  /**
   * Milliseconds beyond its lease that what this node refers to is kept when it is gone (default 60,000). Counted objects that it alone refers to
   * may be reclaimed after that: its references say that they were deleted.
   */
  readonly grace?: number;
  /**
   * Bytes that copies of what other nodes own may take here (default: as many as there are). What was not used for the longest time goes, and
   * comes again when it is touched. What is watched, shown to programs, open as a database or held by raw views, `pin` first.
   */
  readonly cacheBytes?: number;
  /** Whether what an object refers to comes along with it, as far as that was of use so far (default true). */
  readonly prefetch?: boolean;
  /** Whether objects are compressed on their way here, where the link is slow and they become smaller (default true). */
  readonly compress?: boolean;
  /** Bytes that the log of a family has in the engine before it is begun anew with all of the family, at least (default 1 MiB). */
  readonly logBytes?: number;
}

const END_MS = 2000;
export class Cluster implements Mobility {
  readonly space: Space;
  /** ID of this node. */
  readonly id: string;
  readonly name: string;
  readonly facts: EngineFacts;
  readonly #agentThread: Colleague;
  readonly #agent: AgentContact;
  readonly #engine: Engine;
  readonly #lock: Lock;
  readonly #patience: number;
  readonly #mobile: Mobile;
  #pages: PageSource | undefined;
  readonly #conventions: Conventions;
  #left = false;

  /** Use `join`. */
  constructor(parts: {
    space: Space;
    name: string;
    agentThread: Colleague;
    agent: AgentContact;
    engine: Engine;
    lock: Lock;
    patience: number;
    tracing: Tracing | undefined;
  }) {
    this.space = parts.space;
    this.id = toHex(parts.space.kernel.spaceId);
    this.name = parts.name;
    this.facts = parts.engine.facts;
    this.#agentThread = parts.agentThread;
    this.#agent = parts.agent;
    this.#engine = parts.engine;
    this.#lock = parts.lock;
    this.#patience = parts.patience;
    this.#mobile = new Mobile({
      space: parts.space,
      id: this.id,
      name: parts.name,
      agent: parts.agent,
      patience: parts.patience,
      request: (subject, bytes, ms) => parts.engine.request(subject, bytes, ms),
      tracing: parts.tracing,
    });
    parts.space.mobility = this;
    answerPlans(parts.engine, this, this.#mobile.chooser);
    this.#conventions = new Conventions({
      id: this.id,
      space: parts.space,
      engine: parts.engine,
      clock,
      bring: (id, ms) => parts.agent.bringSoon(id, ms),
    });
  }

  #here(): Space {
    if (this.#left) throw new TwzError('NotJoined', 'this node has left the space');
    return this.space;
  }

  // --- code that moves ------------------------------------------------------------------------------------------------------------

  /**
   * Runs a function where it is best: it goes to the data, or the data comes here. Its arguments are values, and references to objects,
   * which arrive as accessors of their roots. It stands alone: it uses its arguments, what they lead to, the data types of this package and
   * `space`. A plain function is one transaction, done once or not at all; an async one makes transactions and runs of its own, each of them
   * done once or not at all. What it stored outlives the node when this resolves. A result that is an object is a reference. It acts by the
   * contexts of this space. Throws RunFailed, CodeInvalid, Denied, RunLimit, RunLost, Unreachable, TimedOut, Fenced, and errors of this package.
   */
  run<A extends readonly unknown[], R>(fn: (...given: A) => R, ...given: Given<A>): Promise<Awaited<R>> {
    return this.runWith({}, fn, ...given);
  }

  async runWith<A extends readonly unknown[], R>(options: RunOptions, fn: (...given: A) => R, ...given: Given<A>): Promise<Awaited<R>> {
    this.#here();
    return this.#mobile.runWith(options, fn, ...given);
  }

  /** Begins a computation somewhere, in a thread of its own, as `run` would; it may take long (`deadline`, an hour unless it says so). */
  spawn<A extends readonly unknown[], R>(fn: (...given: A) => R, ...given: Given<A>): Spawned<Awaited<R>> {
    return this.spawnWith({}, fn, ...given);
  }

  spawnWith<A extends readonly unknown[], R>(options: RunOptions, fn: (...given: A) => R, ...given: Given<A>): Spawned<Awaited<R>> {
    this.#here();
    return this.#mobile.spawnWith(options, fn, ...given);
  }

  /** What was spawned by that ID, on whichever node. Its `result` rejects with RunLost where nobody knows of it. */
  spawned(id: string): Spawned<unknown> {
    this.#here();
    return this.#mobile.spawned(id);
  }

  /**
   * Values and references that a generator function gives, wherever it runs, as they come. It is some way ahead (`ahead`), and waits there
   * until more is wanted. Throws midway what `run` throws; TimedOut where nothing came for too long (`silence`).
   */
  stream<A extends readonly unknown[], T>(fn: Generates<A, T>, ...given: Given<A>): RunStream<T> {
    return this.streamWith({}, fn, ...given);
  }

  streamWith<A extends readonly unknown[], T>(options: StreamOptions, fn: Generates<A, T>, ...given: Given<A>): RunStream<T> {
    this.#here();
    return this.#mobile.streamWith(options, fn, ...given);
  }

  /** Where a run would be, and why; it does not run. */
  async explain<A extends readonly unknown[], R>(fn: (...given: A) => R, ...given: Given<A>): Promise<Explained> {
    this.#here();
    return this.#mobile.explain(fn, given);
  }

  /** Why the last runs of this program were where they were, oldest first. */
  get plans(): readonly Explained[] {
    return this.#mobile.plans;
  }

  get runsHere(): number {
    return this.#mobile.runsHere;
  }

  get runsElsewhere(): number {
    return this.#mobile.runsElsewhere;
  }

  /** A reference to an object, wherever it is, to hand to a function: the object does not come for that. */
  reference(id: ObjectId): Obj {
    return new Obj(this.#here().kernel.handle(parseId(id)));
  }

  // --- data that moves ------------------------------------------------------------------------------------------------------------

  /** Runs a plain synchronous function as a transaction; resolves when its effect is in the engine and outlives this node. Throws Fenced, TimedOut. */
  async commit<T>(body: () => T, options: { readonly deadline?: number } = {}): Promise<T> {
    const space = this.#here();
    const { kernel } = space;
    kernel.idle('a commit');
    const stored: ObjectId[] = [];
    const ms = options.deadline ?? this.#patience;
    const until = clock.now() + ms;
    const result = this.#agent.within(ms, () =>
      transact(kernel, () => {
        stored.length = 0;
        const value = body();
        for (const { id } of kernel.transaction?.handles ?? []) stored.push(id);
        return value;
      }),
    );
    const lsn = stored.length > 0 ? kernel.committed : kernel.seen;
    kernel.log.pace();
    kernel.checkpointer.pace();
    await this.#agent.replicated(lsn, stored, Math.max(1, until - clock.now()));
    return result;
  }

  /**
   * Appends an element to an append-only object, wherever that is owned, which it stays; resolves with the element's number when it outlives
   * the node that gave it. It is appended once, however often it is asked for with the same `activation`. Throws ObjectMissing, NotSupported
   * (the object is of another kind), Unreachable, TimedOut (it may have been appended), and what appending it there throws.
   */
  async append(target: Target, value: unknown, options: Pick<RunOptions, 'deadline' | 'activation'> = {}): Promise<number> {
    const { kernel } = this.#here();
    const { activation = toHex(kernel.random(16)), deadline = this.#patience } = options;
    const values = encodeValues(value, false);
    const number = await this.#agent.ask({ do: 'append', id: idOf(target), values, activation, ms: deadline });
    this.space.refresh();
    return number as number;
  }

  /**
   * Brings a progressive object to where it contains all versions that are in the engine, this node's among them. What versions contain comes
   * without this, too. Throws MergeFailed (nothing is lost: each version is kept), NotSupported, ObjectMissing, TimedOut, EngineLost.
   */
  async merge(target: Target, ms = this.#patience): Promise<void> {
    await this.#agent.ask({ do: 'merge', id: idOf(target), ms });
    this.space.refresh();
  }

  /** Brings an object here before it is needed. Throws ObjectMissing, Unreachable, TimedOut. */
  async bring(target: Target, ms = this.#patience): Promise<void> {
    const id = idOf(target);
    if (!(await this.#agent.bringSoon(id, ms))) throw new TwzError('ObjectMissing', `object ${id} is on no node`, { id });
    this.space.refresh();
  }

  /**
   * An object that is large, read where it is not: only the pages that are touched come, when they are. In one version, for reading: what is
   * read is read inside `read` of what this gives. Stale where its owner commits meanwhile: open it again. Throws ObjectMissing, Unreachable.
   */
  async paged(target: Target, options: PagedOptions & { readonly deadline?: number } = {}): Promise<PagedObject> {
    const space = this.#here();
    const { deadline = this.#patience, ...rest } = options;
    const parts = await this.#agent.ask({ do: 'parts', id: idOf(target), ms: deadline });
    if (this.#pages === undefined) {
      const { source, end } = pageSource(space);
      this.#agentThread.tell({ pages: end }, [end.port]);
      this.#pages = source;
    }
    return pageIn(space, this.#pages, parts as readonly PagedFacts[], rest);
  }

  /** Makes an object this node's own, before it is stored to. */
  async own(target: Target, ms = this.#patience): Promise<void> {
    await this.#agent.ask({ do: 'own', id: idOf(target), ms });
    this.space.refresh();
  }

  /** Brings an object here, with its family, and keeps it, however full the cache is. Throws ObjectMissing, Unreachable, TimedOut. */
  async pin(target: Target, ms = this.#patience): Promise<void> {
    await this.#agent.ask({ do: 'pin', id: idOf(target), ms });
    this.space.refresh();
  }

  /** It may go again. */
  async unpin(target: Target): Promise<void> {
    await this.#agent.ask({ do: 'unpin', id: idOf(target), ms: this.#patience });
  }

  /**
   * Deletes the counted objects that nothing refers to on any node, of those that this node owns, or whose owner is gone. Resolves when that is
   * committed here. Throws ReferencesUnknown while a node that may refer to them cannot be asked, Unreachable, TimedOut.
   */
  async reclaim(ms = this.#patience): Promise<Reclaimed> {
    const { kernel } = this.#here();
    kernel.idle('reclaiming');
    const asked = unreached(kernel);
    const kept = asked.length > 0 ? await this.#agent.reachedSoon(asked, ms) : [];
    this.space.refresh();
    return this.space.relaxed(() => runAlone(kernel, () => reclaim(kernel, { asked: new Set(asked), kept: new Set(kept) })));
  }

  /** From here on it is read as new as anybody could have known it when this was called. Throws Stale. */
  async fresh(target: Target, ms = this.#patience): Promise<void> {
    await this.#agent.ask({ do: 'fresh', id: idOf(target), ms });
    this.space.refresh();
  }

  /**
   * The version of an object, with its family, that is here: a number that means the same on all nodes, and grows with what is published. Whoever
   * is told of it can read `at` it. Throws ObjectMissing, Unreachable, TimedOut.
   */
  async version(target: Target, ms = this.#patience): Promise<number> {
    this.#here().kernel.idle('a version');
    return (await this.#agent.ask({ do: 'version', id: idOf(target), ms })) as number;
  }

  /** From here on it is read at that version or a later one. Throws Stale where that does not come in time. */
  async at(target: Target, version: number, ms = this.#patience): Promise<void> {
    await this.#agent.ask({ do: 'at', id: idOf(target), version, ms });
    this.space.refresh();
  }

  /** ID of the node that owns an object; undefined where none that is there has it. */
  async where(target: Target, ms = this.#patience): Promise<string | undefined> {
    const found = await this.#agent.ask({ do: 'locate', id: idOf(target), ms });
    return typeof found === 'string' ? found : undefined;
  }

  // --- requests and queues ----------------------------------------------------------------------------------------------------------

  /**
   * Answers requests by that name from now on, with what the handler gives or promises; of several that serve a name, one gets each request.
   * What it throws, who asked gets as RunFailed.
   */
  async serve(name: string, handler: Handler): Promise<Subscription> {
    this.#here();
    return this.#conventions.serve(name, handler, this.#patience);
  }

  /**
   * Asks whoever serves that name, once. Values and references as in `run`. Throws Unreachable at once where nobody serves it, TimedOut,
   * RunFailed with what the handler threw.
   */
  async request(name: string, value: unknown, options: { readonly deadline?: number } = {}): Promise<unknown> {
    this.#here();
    return this.#conventions.request(name, value, options.deadline ?? this.#patience);
  }

  /** Tells all who have subscribed to that name, and one of each queue. It is lost to those who are not there. Throws EngineLost. */
  publish(name: string, value: unknown): void {
    this.#here();
    this.#conventions.publish(name, value);
  }

  /** Resolves when what is published from now on comes. `queue`: of all that give this name of a queue, one gets each message. */
  async subscribe(name: string, listener: TopicListener, options: { readonly queue?: string } = {}): Promise<Subscription> {
    this.#here();
    return this.#conventions.subscribe(name, listener, options.queue, this.#patience);
  }

  async nodes(): Promise<readonly NodeInfo[]> {
    this.#here();
    return this.#agent.nodes();
  }

  /** Counters of this node: what was fetched, published, owned. */
  async stat(): Promise<Readonly<Record<string, number | string | boolean>>> {
    return (await this.#agent.ask({ do: 'facts' })) as Readonly<Record<string, number | string | boolean>>;
  }

  /** Tells of nodes that come, beginning with those that are there, and of those that go; and of the connection. */
  watch(listener: (event: ClusterEvent) => void): Subscription {
    this.#here();
    return watchNodes(this.#engine, listener);
  }

  /** Resolves when the node has ended: by `leave`, or because its thread died. */
  get ended(): Promise<void> {
    return this.#agentThread.ended;
  }

  // --- end ------------------------------------------------------------------------------------------------------------------------

  /** Publishes what is left to publish, and goes. The space stays open. */
  async leave(): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    if (this.space.mobility === this) this.space.mobility = undefined;
    try {
      await this.#agent.ask({ do: 'stop' });
    } catch (error) {
      // It had ended already.
      if (!isTwzError(error)) throw error;
    }
    await byThen(this.#agentThread.ended);
    await this.#agentThread.terminate();
    this.#agent.close();
    await this.#engine.close();
    this.#lock.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }
}

/** Threads that are asked to end have some time for it. */
async function byThen(ended: Promise<void>): Promise<void> {
  let timer: Timer | undefined;
  await Promise.race([ended, new Promise<void>((resolve) => (timer = clock.timer(END_MS, resolve)))]);
  timer?.cancel();
}

function idOf(target: Target): ObjectId {
  if (typeof target === 'string') return parseId(target);
  if (target instanceof Obj) return target.id;
  if (isAccessor(target) && target.$h instanceof Handle) return target.$h.id;
  throw new TwzError('InvalidArgument', 'expected an object, an accessor or an object ID');
}

function program(name: string): URL {
  return new URL(import.meta.url.endsWith('.ts') ? `./${name}.ts` : `./${name}.js`, import.meta.url);
}

/**
 * Joins a space that many machines share, through the NATS servers named. From now on references lead to objects on other nodes, too.
 * Throws EngineLost, EngineRefused, EngineTooOld, AlreadyJoined, NotSupported.
 */
export async function join(space: Space, options: JoinOptions): Promise<Cluster> {
  const { kernel } = space;
  kernel.idle('joining');
  if (!kernel.host.sharing)
    throw new TwzError(
      'NotSupported',
      `a node has its space open in several threads, and the ${kernel.host.name} host has no shared memory for that`,
    );
  if (kernel.afar !== undefined) throw new TwzError('InvalidArgument', 'the space has joined already');
  const lock = becomeNode(kernel.host, kernel.directory);
  try {
    return await enter(space, options, lock);
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function enter(space: Space, options: JoinOptions, lock: Lock): Promise<Cluster> {
  const { kernel } = space;
  const id = toHex(kernel.spaceId);
  const {
    space: shared = 'twizzler',
    name = `node-${id.slice(0, 8)}`,
    patience = 10_000,
    runs = true,
    speed = 1,
    lease,
    grace,
    cacheBytes,
    prefetch = true,
    compress = true,
    logBytes,
    threads = 8,
    limits = {},
    telemetry,
    ...rest
  } = options;
  if (cacheBytes !== undefined && !(cacheBytes >= 0))
    throw new TwzError('InvalidArgument', `cacheBytes is 0 or more, not ${cacheBytes}`, { cacheBytes });
  for (const [limit, least] of [
    ['heapBytes', HEAP_MIN],
    ['storedObjects', 0],
    ['storedBytes', 0],
  ] as const)
    if (!((limits[limit] ?? least) >= least))
      throw new TwzError('InvalidArgument', `limits.${limit} is ${least} or more, not ${limits[limit]}`, { limit });
  if (!(Number.isInteger(threads) && threads >= 0)) throw new TwzError('InvalidArgument', `threads is a number from 0 up, not ${threads}`);
  if (!(speed > 0 && speed < Infinity)) throw new TwzError('InvalidArgument', `speed is above 0, not ${speed}`, { speed });
  const engineOptions: EngineOptions = { ...rest, space: shared, name };
  const engine = await connectNats(engineOptions);
  const near = makeLine();
  // They come in at once, even while this thread blocks.
  if (kernel.live?.sole === true) kernel.welcome();
  const start: AgentStart = {
    directory: kernel.directory,
    engine: engineOptions,
    name,
    lease,
    grace,
    runs,
    speed,
    cacheBytes,
    prefetch,
    compress,
    logBytes,
    patience,
    threads,
    limits,
  };
  const agentThread = startColleague(program('agent'), 'agent', { ...start }, [near.far]);
  const agent = agentOf(new Caller(near.near), space, { patience, prefetch, isBounded: cacheBytes !== undefined });
  try {
    await agentThread.ready;
  } catch (error) {
    agent.close();
    await agentThread.terminate();
    await engine.close();
    throw fromThread(error);
  }
  const bell = makeBell();
  agentThread.tell({ bell: bell.far }, [bell.far.port]);
  kernel.hear(bell.near);
  const api = telemetry ?? ((await optionalPackage('@opentelemetry/api')) as Telemetry | undefined) ?? false;
  const tracing = api === false ? undefined : new Tracing(api, () => kernel.host.time());
  return new Cluster({ space, name, agentThread, agent, engine, lock, patience, tracing });
}

/**
 * The agent's thread: it has the space open as another member, and the node runs here. Other threads of the process ask it; so one that
 * waits without giving way gets its objects all the same.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import type { BellEnd } from '../../host/bell.ts';
import { chooseHost } from '../../host/choose.ts';
import {
  answerLine,
  asColleague,
  endColleague,
  makeLine,
  sayReady,
  startColleague,
  type Asked,
  type Colleague,
} from '../../host/colleagues.ts';
import { open } from '../../space.ts';
import { servePages, type PageSourceEnd } from '../pager.ts';
import type { RunLimits } from '../mobility.ts';
import { Activations } from './activations.ts';
import type { Claimed } from './contact.ts';
import type { Engine, EngineOptions, Subscription } from './engine.ts';
import type { ExecutorStart } from './executor.ts';
import type { Prefetch } from './fetching.ts';
import { ThreadHand, type HandStart } from './hands.ts';
import { answer as respond, hear, sayError, textIn } from './messages.ts';
import { MergingThread } from './merging-thread.ts';
import { connectNats } from './nats.ts';
import { ClusterNode } from './node.ts';
import { toHex } from './record.ts';
import { Tasks } from './tasks.ts';
import { answerAbout } from './whereabouts.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Commits of this node are followed at once, but so many milliseconds after the last ones at the soonest. */
const ATTEND_MS = 1;
/** How often the executor is looked at, and how long it has to end, in milliseconds. */
const WATCH_MS = 50;
const STOP_MS = 2000;
const START_MS = 20_000;
/** Runs that are known to have ended the executor. */
const FATAL_MAX = 100;

export interface AgentStart {
  readonly directory: string;
  readonly engine: EngineOptions;
  readonly name: string;
  readonly lease: number | undefined;
  readonly grace: number | undefined;
  /** Whether functions of other nodes run here. */
  readonly runs: boolean;
  /** How fast, against other nodes. */
  readonly speed: number;
  readonly cacheBytes: number | undefined;
  readonly prefetch: boolean;
  readonly compress: boolean;
  readonly logBytes: number | undefined;
  readonly patience: number;
  /** Runs in threads of their own at a time, and what runs may use here. */
  readonly threads: number;
  readonly limits: RunLimits;
}

/** What threads ask their agent. */
export type AgentQuestion =
  | {
      readonly do: 'bring';
      readonly id: string;
      readonly ms: number;
      readonly prefetch: Prefetch;
      /** What else was used since it asked last; and for how long a transaction has been asking, where one does. */
      readonly used: readonly string[];
      readonly asking: number;
    }
  | { readonly do: 'about' | 'parts' | 'own' | 'fresh' | 'version' | 'merge' | 'pin' | 'unpin'; readonly id: string; readonly ms: number }
  | { readonly do: 'at'; readonly id: string; readonly version: number; readonly ms: number }
  | { readonly do: 'locate'; readonly id: string; readonly ms: number }
  | { readonly do: 'reached'; readonly ids: readonly string[]; readonly ms: number }
  | { readonly do: 'append'; readonly id: string; readonly values: Uint8Array; readonly activation: string; readonly ms: number }
  | { readonly do: 'replicated'; readonly lsn: number; readonly ids: readonly string[]; readonly ms: number }
  | { readonly do: 'nodes' | 'facts' | 'stop' }
  /** What is said to runs of this node; and to others by a thread that has no connection of its own. */
  | { readonly do: 'task'; readonly bytes: Uint8Array }
  | { readonly do: 'request'; readonly subject: string; readonly bytes: Uint8Array; readonly ms: number }
  | { readonly do: 'claim'; readonly activation: string; readonly place: string | undefined; readonly lasts: number; readonly ms: number }
  | { readonly do: 'unclaim'; readonly activation: string; readonly place: string; readonly ms: number };

export type AgentAnswer = { readonly value: unknown } | { readonly error: Uint8Array };

function idOf(text: unknown): ObjectId {
  if (typeof text !== 'string' || !isId(text)) throw new TwzError('InvalidArgument', `${String(text)} is no ID`);
  return parseId(text);
}

function program(name: string): URL {
  return new URL(import.meta.url.endsWith('.ts') ? `./${name}.ts` : `./${name}.js`, import.meta.url);
}

async function main(): Promise<void> {
  const { data, lines } = asColleague();
  const start = data as AgentStart;
  const space = open(start.directory, { create: false, host: chooseHost(() => undefined) });
  const engine = await connectNats(start.engine);
  const { name, lease, grace, runs, speed, cacheBytes, compress, logBytes } = start;
  const merging = new MergingThread(space.kernel.host, program('merger'));
  const node = new ClusterNode(space, engine, {
    name,
    runs,
    speed,
    compress,
    ...(runs ? { merger: (work, ms) => merging.merge(work, ms) } : {}),
    ...(lease === undefined ? {} : { lease }),
    ...(grace === undefined ? {} : { grace }),
    ...(cacheBytes === undefined ? {} : { cacheBytes }),
    ...(logBytes === undefined ? {} : { logBytes }),
  });

  const pulse = new Int32Array(new SharedArrayBuffer(16));
  const fatal: { readonly mark: number; readonly memory: boolean }[] = [];
  const queue = new Queue(engine, `run.${node.id}`);
  let executor: Colleague | undefined;
  let stopping = false;
  let stopped = 0;

  const startExecutor = async (): Promise<void> => {
    const line = makeLine();
    answerLine(line.far, safely);
    pulse.fill(0);
    const executorStart: ExecutorStart = {
      directory: start.directory,
      engine: start.engine,
      pulse,
      fatal,
      isBounded: start.cacheBytes !== undefined,
      prefetch: start.prefetch,
      limits: start.limits,
    };
    if (space.kernel.live?.sole === true) space.kernel.welcome();
    const started = startColleague(program('executor'), 'executor', executorStart, [line.near], start.limits.heapBytes);
    executor = started;
    await started.ready;
    // One that had no memory left.
    void started.ended.then(() => {
      if (executor === started && !stopping) void restart();
    });
  };

  /** Who asks for a run meanwhile is told to ask again. */
  const restart = async (): Promise<void> => {
    const ended = executor;
    executor = undefined;
    if (Atomics.load(pulse, 0) % 2 === 1) fatal.push({ mark: Atomics.load(pulse, 2), memory: ended?.failure === 'memory' });
    if (fatal.length > FATAL_MAX) fatal.shift();
    queue.forget();
    const again = sayError(new TwzError('Unreachable', 'runs begin again in a moment', { again: true }));
    const meanwhile = engine.subscribe(`run.${node.id}`, ({ reply }) => reply?.(again));
    try {
      await engine.flush(STOP_MS);
    } catch (error) {
      // The engine is away: nobody asks.
      if (!isTwzError(error)) throw error;
    }
    await ended?.terminate();
    await startExecutor();
    meanwhile.close();
  };

  /** A run that is not over when its time is ends with its thread: what it had begun is undone. */
  const watch = (seen: number, since: number): void => {
    node.clock.timer(WATCH_MS, () => {
      if (stopping) return;
      const now = Atomics.load(pulse, 0);
      node.load = (now % 2) + queue.waiting(now, now === seen, Atomics.load(pulse, 3)) + tasks.active;
      const over = now % 2 === 1 && now === seen && node.clock.now() - since > Atomics.load(pulse, 1) + WATCH_MS;
      watch(now, now === seen && !over ? since : node.clock.now());
      // One that begins again does nothing.
      if (!over || executor === undefined) return;
      stopped++;
      void restart();
    });
  };

  const stop = async (): Promise<void> => {
    stopping = true;
    await tasks.stop();
    asked?.close();
    if (executor !== undefined) {
      executor.tell({});
      await Promise.race([executor.ended, node.pause(STOP_MS)]);
      await executor.terminate();
    }
    await node.stop();
    await merging.end();
    await engine.close();
    space.close();
    // What was asked last is answered before.
    node.clock.timer(0, endColleague);
  };

  const answer = async (question: AgentQuestion): Promise<unknown> => {
    const deadline = node.clock.now() + ('ms' in question ? question.ms : 0);
    switch (question.do) {
      case 'bring': {
        node.cache.use(question.used.map(idOf));
        if (question.asking > 0) node.cache.keep(question.asking);
        const before = node.fetching.fetchedBytes;
        const here = await node.bring(idOf(question.id), deadline, question.prefetch);
        return { here, came: node.fetching.takeCame(), bytes: node.fetching.fetchedBytes - before };
      }
      case 'about':
        return (await node.fetching.about(idOf(question.id), deadline)) ?? null;
      case 'parts':
        return node.ranges.about(idOf(question.id), deadline);
      case 'own':
        return node.own(idOf(question.id), deadline);
      case 'pin':
        return node.pin(idOf(question.id), deadline);
      case 'unpin':
        return node.cache.pin(idOf(question.id), false);
      case 'merge':
        return node.merge(idOf(question.id), deadline);
      case 'fresh':
        return node.freshen(idOf(question.id), deadline);
      case 'version':
        return node.versionOf(idOf(question.id), deadline);
      case 'at':
        return node.reachVersion(idOf(question.id), question.version, deadline);
      case 'locate': {
        const id = idOf(question.id);
        const family = node.table.byMember.get(id);
        if (family !== undefined) return family.owner;
        return space.has(id) ? node.id : ((await node.fetching.locate(id, deadline)) ?? null);
      }
      case 'reached':
        return node.marking.reachedOf(question.ids.map(idOf), deadline);
      case 'append':
        return node.append(idOf(question.id), question.values, question.activation, deadline);
      case 'replicated':
        return node.replicated(question.lsn, question.ids.map(idOf), deadline);
      case 'task':
        return tasks.handle(hear(question.bytes), true);
      case 'request':
        return engine.request(question.subject, question.bytes, question.ms);
      case 'claim':
        return claim(engine, hashOf(question.activation), question);
      case 'unclaim':
        return engine.release(`act.${hashOf(question.activation)}`, encoder.encode(question.place), question.ms);
      case 'nodes':
        return [...node.peers.values()];
      case 'facts':
        return { ...factsOf(node), stopped, threads: tasks.active, tasks: tasks.began };
      case 'stop':
        return stop();
    }
  };
  const safely = async (what: Asked): Promise<AgentAnswer> => {
    try {
      return { value: await answer(what as AgentQuestion) };
    } catch (error) {
      return { error: sayError(error) };
    }
  };
  const activations = new Activations(space);
  const hashOf = (activation: string): string => toHex(space.kernel.host.sha256(encoder.encode(activation)).subarray(0, 16));
  const handStart: HandStart = {
    directory: start.directory,
    name,
    contexts: [],
    isBounded: cacheBytes !== undefined,
    prefetch: start.prefetch,
    patience: start.patience,
  };
  const tasks = new Tasks({
    clock: node.clock,
    runs,
    threads: start.threads,
    limits: start.limits,
    messageMax: engine.facts.maxPayload,
    start: async (kind, ms) => {
      for (const id of kind.contexts)
        if (!(await node.bring(id, node.clock.now() + ms))) throw new TwzError('ContextInvalid', `there is no context ${id}`, { id });
      if (space.kernel.live?.sole === true) space.kernel.welcome();
      return ThreadHand.start(program('task-thread'), handStart, kind, (line, own) =>
        answerLine(line, async (what) => {
          const answered = own(what);
          return answered === undefined ? safely(what) : { value: await answered };
        }),
      );
    },
    begun: (activation) => {
      space.refresh();
      return activations.begun(activation) ? { gave: activations.gave(activation) } : undefined;
    },
    counts: (ms) => node.replicated(space.kernel.seen, [], node.clock.now() + ms),
    begin: (activation, ms) => noted(node, ms, () => activations.note(activation)),
    done: (activation, gave, ms) => noted(node, ms, () => activations.note(activation, gave)),
  });
  const asked = engine.subscribe(`task.${node.id}`, (message) => {
    void (async () => {
      let bytes: Uint8Array;
      try {
        bytes = await tasks.handle(hear(message.bytes), false);
      } catch (error) {
        bytes = sayError(error);
      }
      respond(message, bytes);
    })();
  });
  for (const line of lines) answerLine(line, safely);
  answerAbout(node);
  await node.start();
  // From now on there is something that what is noted of runs can be had anew from.
  const known = node.publisher.aloud(() => activations.id);
  await node.replicated(space.kernel.seen, [known], node.clock.now() + START_MS);
  space.kernel.attend(ATTEND_MS);
  if (start.runs) {
    await startExecutor();
    watch(0, node.clock.now());
  }
  sayReady(
    { id: node.id, facts: engine.facts },
    (line) => answerLine(line, safely),
    (told) => {
      if ('bell' in told) space.kernel.hear(told.bell as BellEnd);
      if ('pages' in told) servePages(told.pages as PageSourceEnd, (request) => node.ranges.serve(request));
    },
  );
}

/** The table of runs is written together with what they store, and counts with that: another node may have come before it. */
async function noted(node: ClusterNode, ms: number, note: () => void): Promise<void> {
  const deadline = node.clock.now() + ms;
  for (;;) {
    try {
      node.publisher.aloud(() => node.space.relaxed(note));
      return;
    } catch (error) {
      const id = isTwzError(error, 'NotJoined') ? error.context['id'] : undefined;
      if (id === undefined) throw error;
      await node.own(idOf(id), deadline);
    }
  }
}

/**
 * What waits for the executor, which cannot hear of it while it runs something: who asks is counted from when a run takes longer than a look
 * at it, so that short runs cost nothing.
 */
class Queue {
  readonly #engine: Engine;
  readonly #subject: string;
  readonly #asked = new Set<string>();
  #since = 0;
  #tap: Subscription | undefined;

  constructor(engine: Engine, subject: string) {
    this.#engine = engine;
    this.#subject = subject;
  }

  /** `pulse`: rises by two with each run, and is odd during one. `same`: it is what it was when it was looked at last. `known`: to the executor. */
  waiting(pulse: number, same: boolean, known: number): number {
    // It does nothing, so nothing waits: what was answered without a run is not counted by the pulse.
    if (pulse % 2 === 0 && same) this.forget();
    if (this.#tap === undefined) {
      if (pulse % 2 === 0 || !same) return known;
      this.#since = pulse;
      this.#tap = this.#engine.subscribe(this.#subject, ({ bytes }) => this.#heard(bytes));
    }
    const waiting = this.#asked.size - Math.floor((pulse - this.#since) / 2);
    if (waiting > 0 || pulse === this.#since) return Math.max(known, waiting);
    this.forget();
    return known;
  }

  #heard(bytes: Uint8Array): void {
    try {
      const { head } = hear(bytes);
      // Who asks again was heard before, or is the one that runs.
      if (head['again'] !== true) this.#asked.add(textIn(head, 'activation'));
    } catch (error) {
      if (!isTwzError(error)) throw error;
    }
  }

  forget(): void {
    this.#tap?.close();
    this.#tap = undefined;
    this.#asked.clear();
  }
}

/** Where a run that has a name is to be: at the place that is asked for, or where it was asked for before. */
async function claim(
  engine: Engine,
  name: string,
  { place, lasts, ms }: { readonly place: string | undefined; readonly lasts: number; readonly ms: number },
): Promise<Claimed | undefined> {
  const lease = `act.${name}`;
  for (;;) {
    const [held] = await engine.leases(lease, ms);
    if (held?.bytes !== undefined) return { place: decoder.decode(held.bytes), fresh: false };
    if (place === undefined) return undefined;
    if (await engine.lease(lease, encoder.encode(place), lasts, ms)) return { place, fresh: true };
  }
}

/** What the agent can tell of itself. */
export function factsOf(node: ClusterNode): Readonly<Record<string, number | string | boolean>> {
  let [owned, replicas] = [0, 0];
  for (const { role } of node.table.byId.values()) {
    if (role === 'owner') owned++;
    else replicas++;
  }
  const { publisher, ownership, fetching, cache } = node;
  return {
    connected: node.engine.connected,
    owned,
    replicas,
    cachedBytes: cache.bytes,
    pinned: cache.pinned,
    evicted: cache.evicted,
    evictedBytes: cache.evictedBytes,
    fetched: fetching.fetched,
    fetchedBytes: fetching.fetchedBytes,
    prefetched: fetching.prefetched,
    prefetchedBytes: fetching.prefetchedBytes,
    pagedBytes: node.ranges.bytes,
    pagedQuestions: node.ranges.asked,
    sentBytes: fetching.offers.sent,
    savedBytes: fetching.offers.saved + fetching.receiving.saved,
    finds: fetching.finds,
    redirects: fetching.redirects,
    published: publisher.records,
    publishedBytes: publisher.bytes,
    applied: node.replicas.applied,
    ended: node.endings.ended,
    taken: ownership.taken,
    given: ownership.given,
    succeeded: ownership.succeeded,
    sequenced: node.sequencer.sequenced,
    versions: node.progressive.published,
    adopted: node.progressive.adopted,
    merged: node.progressive.merged,
    peers: node.peers.size,
  };
}

await main();

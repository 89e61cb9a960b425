/**
 * The agent's thread: it has the space open as another member, and the node runs here. Other threads of the process ask it; so one that
 * waits without giving way gets its objects all the same.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
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
import type { EngineOptions } from './engine.ts';
import type { ExecutorStart } from './executor.ts';
import type { Prefetch } from './fetching.ts';
import { sayError } from './messages.ts';
import { MergingThread } from './merging-thread.ts';
import { connectNats } from './nats.ts';
import { ClusterNode } from './node.ts';
import { answerAbout } from './whereabouts.ts';

/** Commits of this node are followed at once, but so many milliseconds after the last ones at the soonest. */
const ATTEND_MS = 1;
/** How often the executor is looked at, and how long it has to end, in milliseconds. */
const WATCH_MS = 50;
const STOP_MS = 2000;

export interface AgentStart {
  readonly directory: string;
  readonly engine: EngineOptions;
  readonly name: string;
  readonly lease: number | undefined;
  /** Whether functions of other nodes run here. */
  readonly runs: boolean;
  /** How fast, against other nodes. */
  readonly speed: number;
  readonly cacheBytes: number | undefined;
  readonly prefetch: boolean;
  readonly compress: boolean;
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
  | { readonly do: 'about' | 'parts' | 'own' | 'fresh' | 'merge' | 'pin' | 'unpin'; readonly id: string; readonly ms: number }
  | { readonly do: 'locate'; readonly id: string; readonly ms: number }
  | { readonly do: 'append'; readonly id: string; readonly values: Uint8Array; readonly activation: string; readonly ms: number }
  | { readonly do: 'replicated'; readonly lsn: number; readonly ids: readonly string[]; readonly ms: number }
  | { readonly do: 'nodes' | 'facts' | 'stop' };

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
  const { name, lease, runs, speed, cacheBytes, compress } = start;
  const merging = new MergingThread(space.kernel.host, program('merger'));
  const node = new ClusterNode(space, engine, {
    name,
    runs,
    speed,
    compress,
    ...(runs ? { merger: (work, ms) => merging.merge(work, ms) } : {}),
    ...(lease === undefined ? {} : { lease }),
    ...(cacheBytes === undefined ? {} : { cacheBytes }),
  });

  const pulse = new Int32Array(new SharedArrayBuffer(8));
  let executor: Colleague | undefined;
  let stopping = false;
  let stopped = 0;

  const startExecutor = async (): Promise<void> => {
    const line = makeLine();
    answerLine(line.far, safely);
    Atomics.store(pulse, 0, 0);
    const executorStart: ExecutorStart = {
      directory: start.directory,
      engine: start.engine,
      pulse,
      isBounded: start.cacheBytes !== undefined,
      prefetch: start.prefetch,
    };
    if (space.kernel.live?.sole === true) space.kernel.welcome();
    executor = startColleague(program('executor'), 'executor', executorStart, [line.near]);
    await executor.ready;
  };

  /** Who asks for a run meanwhile is told to ask again. */
  const restart = async (): Promise<void> => {
    const again = sayError(new TwzError('Unreachable', 'runs begin again in a moment', { again: true }));
    const meanwhile = engine.subscribe(`run.${node.id}`, ({ reply }) => reply?.(again));
    try {
      await engine.flush(STOP_MS);
    } catch (error) {
      // The engine is away: nobody asks.
      if (!isTwzError(error)) throw error;
    }
    await executor?.terminate();
    await startExecutor();
    meanwhile.close();
    watch(0, node.clock.now());
  };

  /** A run that is not over when its time is ends with its thread: what it had begun is undone. */
  const watch = (seen: number, since: number): void => {
    node.clock.timer(WATCH_MS, () => {
      if (stopping) return;
      const now = Atomics.load(pulse, 0);
      // What waits behind it is not seen: the thread that would hear of it is the one that runs.
      node.load = now % 2;
      const over = now % 2 === 1 && now === seen && node.clock.now() - since > Atomics.load(pulse, 1) + WATCH_MS;
      if (!over) {
        watch(now, now === seen ? since : node.clock.now());
        return;
      }
      stopped++;
      void restart();
    });
  };

  const stop = async (): Promise<void> => {
    stopping = true;
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
        const here = await node.bring(idOf(question.id), deadline, question.prefetch);
        return { here, came: node.fetching.takeCame() };
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
      case 'locate': {
        const id = idOf(question.id);
        const family = node.table.byMember.get(id);
        if (family !== undefined) return family.owner;
        return space.has(id) ? node.id : ((await node.fetching.locate(id, deadline)) ?? null);
      }
      case 'append':
        return node.append(idOf(question.id), question.values, question.activation, deadline);
      case 'replicated':
        return node.replicated(question.lsn, question.ids.map(idOf), deadline);
      case 'nodes':
        return [...node.peers.values()];
      case 'facts':
        return { ...factsOf(node), stopped };
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
  for (const line of lines) answerLine(line, safely);
  answerAbout(node);
  await node.start();
  space.kernel.attend(ATTEND_MS);
  if (start.runs) {
    await startExecutor();
    watch(0, node.clock.now());
  }
  sayReady(
    { id: node.id, facts: engine.facts },
    (line) => answerLine(line, safely),
    (told) => {
      if ('pages' in told) servePages(told.pages as PageSourceEnd, (request) => node.ranges.serve(request));
    },
  );
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

/**
 * Runs that have a thread of their own while they last: those of async functions and generators, what is spawned, and runs with contexts or
 * with a limit of memory. A node keeps them here, by their names; who asked for one asks how it goes, and what has come of it, until it is
 * over. Nothing is pushed: whoever asks again gets the same answer, and what nobody asks for stops.
 *
 * Subject: `task.<id>`. Heads: `do` begin, wait or stop; `activation`. Answers: `state`, `ms` that it has run; of a stream the `sizes` of the
 * values in the body, from `after` on; of others, when `done`, what it gave. What it failed by is the answer when all else was given.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import type { BodyKind, RunLimits } from '../mobility.ts';
import { lesser } from '../mobility.ts';
import { demandDepth } from './bodies.ts';
import type { Clock } from './core.ts';
import { idIn, isRecord, numberIn, say, sayError, strange, textIn, type Head, type Said } from './messages.ts';

/** What a run of its own is. */
export type TaskLife = 'run' | 'spawn' | 'stream';

/** What a thread gets to do. */
export interface Work {
  readonly activation: string;
  readonly named: boolean;
  readonly kind: BodyKind;
  readonly code: ObjectId;
  readonly depth: number;
  readonly ms: number;
  readonly limits: RunLimits;
  /** Somebody wants to know what it takes: names the span that it belongs to. */
  readonly trace: string | undefined;
  readonly values: Uint8Array;
}

export interface Worked {
  readonly gave: Uint8Array;
  readonly stored: readonly ObjectId[];
  readonly spans: unknown;
}

/** Who does it: one thing at a time. */
export interface Hand {
  /** `emit`: gets each value of a stream, and says whether it is to go on. Rejects with what it failed by. */
  do(work: Work, emit: (item: Uint8Array) => Promise<boolean>): Promise<Worked>;
  /** Ends it at once, whatever it does. Who waits for what it does learns RunLost, or RunLimit where it had no memory left. */
  kill(): Promise<void>;
}

/** What hands are alike by: whose rights they have, and how much memory. */
export interface HandKind {
  readonly contexts: readonly ObjectId[];
  readonly heapBytes: number | undefined;
}

export interface TasksCore {
  readonly clock: Clock;
  /** Functions of other nodes run here. */
  readonly runs: boolean;
  /** Runs of their own threads at a time. */
  readonly threads: number;
  readonly limits: RunLimits;
  /** Bytes of a message. */
  readonly messageMax: number;
  start(kind: HandKind, ms: number): Promise<Hand>;
  begun(activation: string): { readonly gave: Uint8Array | undefined } | undefined;
  /** What is known of those that have been is in the engine, and counts. Throws Stale. */
  counts(ms: number): Promise<void>;
  begin(activation: string, ms: number): Promise<void>;
  /** Notes what one that has a name gave. */
  done(activation: string, gave: Uint8Array, ms: number): Promise<void>;
}

interface Task {
  readonly life: TaskLife;
  readonly activation: string;
  readonly since: number;
  readonly ahead: number;
  readonly idle: number;
  state: 'running' | 'done' | 'failed';
  ms: number;
  gave: Uint8Array;
  stored: readonly ObjectId[];
  spans: unknown;
  error: unknown;
  /** Values that nobody has acknowledged, the number of the first of them, and their bytes. */
  items: Uint8Array[];
  first: number;
  bytes: number;
  asked: number;
  /** Questions that are not answered yet. */
  waiting: number;
  hand: Hand | undefined;
  /** Somebody ended it, by this. */
  stopped: TwzError | undefined;
  /** Told that there is more to say, that there is room, that it is over. */
  wake: Set<() => void>;
  room: ((more: boolean) => void) | undefined;
}

/** Threads that have nothing to do are kept so long, and so many of them. */
const IDLE_MS = 30_000;
const IDLE_MAX = 2;
/** What was over is told of so long, and so much of it. */
const KEEP_MS = 600_000;
const KEEP_MAX = 1000;
const KEEP_BYTES = 64 << 20;
const WAIT_MAX = 10_000;
/** A generator has so long to end when nobody wants more. */
const RETURN_MS = 1000;
const SPACE_FOR_HEAD = 64 << 10;
const BATCH = 256 << 10;
const STORED_MAX = 64;
const NOTHING = new Uint8Array(0);
/** Less heap than this is too little for the package itself. */
export const HEAP_MIN = 16 << 20;

export class Tasks {
  readonly #core: TasksCore;
  readonly #tasks = new Map<string, Task>();
  #kept = 0;
  #idle: { readonly key: string; readonly hand: Hand; readonly since: number }[] = [];
  #sweeping = false;
  #stopped = false;
  /** Those that are under way. */
  active = 0;
  began = 0;

  constructor(core: TasksCore) {
    this.#core = core;
  }

  /** `own`: of this node's own program, which asks it also where it does nothing for others. */
  async handle({ head, body }: Said, own: boolean): Promise<Uint8Array> {
    const activation = textIn(head, 'activation');
    const known = this.#known(activation, head);
    switch (head['do']) {
      case 'begin':
        return this.#answer(known ?? (await this.#begin(activation, head, body, own)), head);
      case 'wait':
        if (known === undefined) throw lost(activation, 'nothing is known of it');
        return this.#answer(known, head);
      case 'stop':
        if (known?.state === 'running') {
          await this.#stop(known, new TwzError('RunStopped', `run ${activation} was ended`), true);
        }
        return say({});
      default:
        throw strange('nobody does that with a run');
    }
  }

  /** One that was broken off goes on where it was, if it has a name. */
  #known(activation: string, head: Head): Task | undefined {
    const known = this.#tasks.get(activation);
    const goesOn = head['do'] === 'begin' && head['named'] === true && known?.state === 'failed' && wasBroken(known.error);
    return goesOn ? undefined : known;
  }

  // --- beginning and ending -------------------------------------------------------------------------------------------------------

  async #begin(activation: string, head: Head, values: Uint8Array, own: boolean): Promise<Task> {
    const { clock, runs, threads, limits } = this.#core;
    if (!own && !runs) throw new TwzError('Unreachable', 'functions of other nodes do not run here');
    if (this.#stopped) throw new TwzError('Unreachable', 'the node is leaving');
    const work = workIn(activation, head, values, limits);
    demandDepth(work.depth);
    const life = lifeIn(head);
    const task: Task = {
      life,
      activation,
      since: clock.now(),
      ahead: numberIn(head, 'ahead'),
      idle: numberIn(head, 'idle'),
      state: 'running',
      ms: 0,
      gave: NOTHING,
      stored: [],
      spans: undefined,
      error: undefined,
      items: [],
      first: 0,
      bytes: 0,
      asked: clock.now(),
      waiting: 0,
      hand: undefined,
      stopped: undefined,
      wake: new Set(),
      room: undefined,
    };
    // A plain function is one transaction, and noted with that.
    const before = work.kind === 'plain' ? undefined : this.#core.begun(activation);
    if (before?.gave !== undefined) {
      this.#keep(task);
      void this.#repeat(task, before.gave, work.ms);
      return task;
    }
    if (before !== undefined && !work.named) throw lost(activation, 'it had begun before this node did');
    if (this.active >= threads)
      throw new TwzError('RunsFull', `${this.active} functions run here in threads of their own: it may be ${threads}`, { most: threads });
    this.#keep(task);
    this.active++;
    this.began++;
    void this.#run(task, work, before === undefined && work.kind !== 'plain', {
      contexts: contextsIn(head),
      heapBytes: work.limits.heapBytes,
    });
    return task;
  }

  /** It was done before. */
  async #repeat(task: Task, gave: Uint8Array, ms: number): Promise<void> {
    try {
      await this.#core.counts(ms);
      this.#over(task, { state: 'done', gave });
    } catch (error) {
      this.#over(task, { state: 'failed', error });
    }
  }

  /** `isNew`: it is to be noted that it begins. */
  async #run(task: Task, work: Work, isNew: boolean, kind: HandKind): Promise<void> {
    const { clock } = this.#core;
    const key = `${kind.heapBytes ?? ''} ${kind.contexts.join(' ')}`;
    const deadline = clock.timer(Math.min(work.ms, 2 ** 31 - 1), () => {
      void this.#stop(task, new TwzError('TimedOut', 'a run was not over at its deadline', { ms: work.ms }), false);
    });
    const watched = task.life === 'stream' ? this.#watch(task) : undefined;
    try {
      if (isNew) await this.#core.begin(work.activation, work.ms);
      const hand = this.#free(key) ?? (await this.#core.start(kind, work.ms));
      task.hand = hand;
      if (task.stopped !== undefined) {
        this.#rest(key, hand);
        throw task.stopped;
      }
      const { gave, stored, spans } = await hand.do(work, (item) => this.#emit(task, item));
      this.#rest(key, hand);
      if (task.stopped !== undefined) throw task.stopped;
      // Its steps are noted, if that is not.
      if (work.named && work.kind !== 'plain') await this.#core.done(work.activation, gave, work.ms).catch(demandExpected);
      this.#over(task, { state: 'done', gave, stored, spans });
    } catch (error) {
      const { hand } = task;
      // What the function threw says nothing of its thread.
      if (hand !== undefined && task.stopped === undefined && !isTwzError(error, 'RunLost') && !isMemory(error)) this.#rest(key, hand);
      this.#over(task, { state: 'failed', error: task.stopped ?? error });
    } finally {
      this.active--;
      deadline.cancel();
      watched?.cancel();
    }
  }

  #over(task: Task, end: Pick<Task, 'state'> & Partial<Task>): void {
    Object.assign(task, end);
    task.ms = this.#core.clock.now() - task.since;
    task.hand = undefined;
    this.#kept += task.gave.length + task.bytes;
    for (const wake of task.wake) wake();
    this.#forget();
  }

  /** `gently`: a generator runs what it has for that, for a while. */
  async #stop(task: Task, error: TwzError, gently: boolean): Promise<void> {
    if (task.state !== 'running') return;
    task.stopped ??= error;
    const { clock } = this.#core;
    if (task.life === 'stream' && gently) {
      const over = new Promise<void>((resolve) => task.wake.add(resolve));
      this.#room(task, false);
      let timer: { cancel(): void } | undefined;
      await Promise.race([over, new Promise<void>((resolve) => (timer = clock.timer(RETURN_MS, resolve)))]);
      timer?.cancel();
    }
    // It may have begun to end by itself meanwhile.
    if (task.state === ('running' as Task['state'])) await task.hand?.kill();
  }

  #watch(task: Task): { cancel(): void } {
    const { clock } = this.#core;
    let cancelled = false;
    let timer = { cancel: (): void => undefined };
    const look = (): void => {
      const left = task.asked + task.idle - clock.now();
      if (cancelled) return;
      if (left <= 0 && task.waiting === 0)
        void this.#stop(task, new TwzError('RunStopped', `nobody has asked a stream for more in ${task.idle} ms`), true);
      else timer = clock.timer(Math.max(left, 1), look);
    };
    look();
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  // --- values ---------------------------------------------------------------------------------------------------------------------

  #emit(task: Task, item: Uint8Array): Promise<boolean> {
    if (task.stopped !== undefined) return Promise.resolve(false);
    task.items.push(item);
    task.bytes += item.length;
    for (const wake of task.wake) wake();
    if (task.bytes < task.ahead) return Promise.resolve(true);
    return new Promise((resolve) => (task.room = resolve));
  }

  #room(task: Task, more: boolean): void {
    const { room } = task;
    task.room = undefined;
    room?.(more);
  }

  async #answer(task: Task, head: Head): Promise<Uint8Array> {
    const { clock } = this.#core;
    task.asked = clock.now();
    const after = numberIn(head, 'after');
    for (; task.first < after && task.items.length > 0; task.first++) task.bytes -= task.items.shift()?.length ?? 0;
    if (task.bytes < task.ahead && task.stopped === undefined) this.#room(task, true);
    if (task.state === 'running' && task.items.length === 0) {
      task.waiting++;
      await this.#wait(task, Math.min(WAIT_MAX, numberIn(head, 'wait')));
      task.waiting--;
    }
    task.asked = clock.now();
    const ms = task.state === 'running' ? clock.now() - task.since : task.ms;
    if (task.items.length > 0) return this.#batch(task, ms);
    // Not to be taken for a refusal: it was begun.
    if (task.state === 'failed') return sayError(task.error, { state: 'failed' });
    const { state, stored, gave, spans } = task;
    return say({ state, ms, stored: stored.slice(0, STORED_MAX), ...(spans === undefined ? {} : { spans }) }, gave);
  }

  #wait(task: Task, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel();
        task.wake.delete(wake);
        resolve();
      };
      const timer = this.#core.clock.timer(ms, wake);
      task.wake.add(wake);
    });
  }

  #batch(task: Task, ms: number): Uint8Array {
    const most = Math.min(BATCH, this.#core.messageMax - SPACE_FOR_HEAD);
    const sizes: number[] = [];
    let length = 0;
    for (const { length: size } of task.items) {
      if (sizes.length > 0 && (length + size > most || sizes.length >= 4096)) break;
      sizes.push(size);
      length += size;
    }
    const body = new Uint8Array(length);
    let at = 0;
    for (const [i, size] of sizes.entries()) {
      body.set(task.items[i] as Uint8Array, at);
      at += size;
    }
    return say({ state: 'running', ms, sizes }, body);
  }

  // --- what is kept ---------------------------------------------------------------------------------------------------------------

  #keep(task: Task): void {
    this.#tasks.set(task.activation, task);
    this.#forget();
  }

  #forget(): void {
    const now = this.#core.clock.now();
    for (const [name, task] of this.#tasks) {
      if (task.state === 'running') continue;
      const isOld = now - task.asked > KEEP_MS;
      if (!isOld && this.#tasks.size <= KEEP_MAX && this.#kept <= KEEP_BYTES) break;
      this.#kept -= task.gave.length + task.bytes;
      this.#tasks.delete(name);
    }
  }

  #free(key: string): Hand | undefined {
    const at = this.#idle.findIndex((each) => each.key === key);
    return at < 0 ? undefined : this.#idle.splice(at, 1)[0]?.hand;
  }

  #rest(key: string, hand: Hand): void {
    this.#idle.push({ key, hand, since: this.#core.clock.now() });
    if (this.#idle.length > IDLE_MAX || this.#stopped) void this.#idle.shift()?.hand.kill();
    this.#sweep();
  }

  #sweep(): void {
    if (this.#sweeping || this.#idle.length === 0) return;
    this.#sweeping = true;
    this.#core.clock.timer(IDLE_MS, () => {
      this.#sweeping = false;
      const since = this.#core.clock.now() - IDLE_MS;
      for (const { hand } of this.#idle.filter((each) => each.since <= since)) void hand.kill();
      this.#idle = this.#idle.filter((each) => each.since > since);
      this.#sweep();
    });
  }

  /** Ends all that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const error = new TwzError('RunLost', 'the node has left');
    await Promise.all([
      ...[...this.#tasks.values()].map((task) => this.#stop(task, error, false)),
      ...this.#idle.map(({ hand }) => hand.kill()),
    ]);
  }
}

function demandExpected(error: unknown): void {
  if (!isTwzError(error)) throw error;
}

function wasBroken(error: unknown): boolean {
  return isTwzError(error, 'RunLost') || isTwzError(error, 'RunStopped') || isTwzError(error, 'TimedOut');
}

function isMemory(error: unknown): boolean {
  return isTwzError(error, 'RunLimit') && error.context['limit'] === 'heapBytes';
}

export function lost(activation: string, why: string): TwzError {
  return new TwzError('RunLost', `run ${activation}: ${why}`, { activation });
}

export function noMemory(most: number | undefined): TwzError {
  return new TwzError('RunLimit', 'a run had no memory left', { limit: 'heapBytes', ...(most === undefined ? {} : { most }) });
}

function lifeIn(head: Head): TaskLife {
  const { life } = head;
  if (life !== 'run' && life !== 'spawn' && life !== 'stream') throw strange('a run is of no kind');
  return life;
}

function contextsIn({ contexts }: Head): readonly ObjectId[] {
  if (!Array.isArray(contexts)) throw strange('"contexts" is no list');
  return contexts.map((each: unknown) => {
    if (typeof each !== 'string' || !isId(each)) throw strange('a context is no ID');
    return parseId(each);
  });
}

function workIn(activation: string, head: Head, values: Uint8Array, own: RunLimits): Work {
  const { kind } = head;
  if (kind !== 'plain' && kind !== 'async' && kind !== 'stream') throw strange('a function is of no kind');
  return {
    activation,
    named: head['named'] === true,
    kind,
    code: idIn(head, 'code'),
    depth: numberIn(head, 'depth'),
    ms: numberIn(head, 'ms'),
    limits: lesser(limitsIn(head), own),
    trace: typeof head['trace'] === 'string' ? head['trace'] : undefined,
    values: values.slice(),
  };
}

/** The limits that a head names. Throws EngineCorrupt. */
export function limitsIn({ limits }: Head): RunLimits {
  if (limits === undefined) return {};
  if (!isRecord(limits)) throw strange('"limits" is no record');
  const found: Record<string, number> = {};
  for (const name of ['storedObjects', 'storedBytes', 'heapBytes']) if (limits[name] !== undefined) found[name] = numberIn(limits, name);
  return found;
}

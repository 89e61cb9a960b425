/**
 * Functions of one thread of a node, wherever they run: planned from here, sent or run, and followed until they are over. What a function
 * needs of this thread's rights goes along with it.
 *
 *   plain, no contexts    `run.<node>`: its executor's own thread, one after the other
 *   all others            `task.<node>`: a thread of their own (tasks.ts); here in this thread, where it is planned here
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { isId, parseId, type ObjectId } from '../../abi/id.ts';
import { clock } from '../../host/clock.ts';
import type { Space } from '../../space.ts';
import {
  demandKind,
  type BodyKind,
  type Generates,
  type Given,
  type Mobility,
  type RunOptions,
  type RunStream,
  type Shipped,
  type Spawned,
  type StreamOptions,
} from '../mobility.ts';
import { demandDepth, Job, runBody, type BodyCore, type InnerOptions } from './bodies.ts';
import { Chooser } from './choosing.ts';
import type { AgentContact } from './contact.ts';
import { HereSource, STREAM_MS } from './here.ts';
import { heard, numberIn, say, type Head, type Said } from './messages.ts';
import type { Explained, Plan } from './planner.ts';
import { toHex } from './record.ts';
import { PlannedSource, RemoteSource } from './remote-stream.ts';
import { ResultStream } from './run-stream.ts';
import { codeObject, Runner, sourceOf, type Ran } from './runner.ts';
import { SpawnedThere } from './spawned.ts';
import { LOOK_MS, TaskCall, type TaskParts } from './task-call.ts';
import { traced, type Span, type Tracing } from './tracing.ts';
import { decodeValues, encodeValues, referencesIn } from './values.ts';

export interface MobileParts extends Omit<TaskParts, 'clock'> {
  readonly space: Space;
  readonly name: string;
  readonly agent: AgentContact;
  /** Milliseconds, where nothing else is said. */
  readonly patience: number;
  readonly tracing?: Tracing | undefined;
}

interface Code {
  readonly id: ObjectId;
  readonly bytes: number;
}

type Sent = (...given: never[]) => unknown;
type Inner<O> = O & Partial<InnerOptions>;

interface Planned {
  readonly plan: Plan;
  readonly code: ObjectId;
}

/** After so many milliseconds without an answer, it is asked for again. */
const AGAIN_MS = 1000;
/** Where runs begin again in a moment, it is asked after so many. */
const BUSY_MS = 20;
const HOUR_MS = 3_600_000;
const AHEAD = 256 << 10;
const IDLE_MS = 60_000;

export class Mobile implements Mobility {
  readonly #parts: MobileParts & TaskParts;
  readonly #core: BodyCore;
  readonly chooser: Chooser;
  readonly #codes = new WeakMap<object, Code>();
  runsHere = 0;
  runsElsewhere = 0;

  constructor(parts: MobileParts) {
    const { space, agent, id } = parts;
    this.#parts = { ...parts, clock };
    this.chooser = new Chooser(agent, id);
    this.#core = {
      space,
      runner: new Runner(space),
      replicated: (lsn, ids, ms) => agent.replicated(lsn, ids, ms),
      within: (ms, body) => agent.within(ms, body),
      mobility: this,
    };
  }

  /** What bodies that run in this thread need of it. */
  get core(): BodyCore {
    return this.#core;
  }

  get plans(): readonly Explained[] {
    return this.chooser.plans;
  }

  // --- runs -----------------------------------------------------------------------------------------------------------------------

  async runWith<A extends readonly unknown[], R>(
    options: Inner<RunOptions>,
    fn: (...given: A) => R,
    ...given: Given<A>
  ): Promise<Awaited<R>> {
    return (await this.#run(options, fn, given)) as Awaited<R>;
  }

  async #run(options: Inner<RunOptions>, fn: Sent, given: readonly unknown[]): Promise<unknown> {
    const { space, id, patience, tracing } = this.#parts;
    const { kernel } = space;
    kernel.idle('a run');
    const kind = demandKind(fn, false);
    const activation = options.activation ?? toHex(kernel.random(16));
    const attributes = { node: id, activation, kind };
    const run: Run = {
      kind,
      activation,
      named: options.named ?? options.activation !== undefined,
      ms: options.deadline ?? patience,
      given,
      values: encodeValues(given, false),
      options,
      span: options.span === undefined ? tracing?.begin('run', attributes) : options.span.child('run', attributes),
      failed: false,
    };
    try {
      const result = await this.#somewhere(run, fn);
      run.span?.end();
      return result;
    } catch (error) {
      run.span?.end(error);
      throw error;
    }
  }

  async #somewhere(run: Run, fn: Sent): Promise<unknown> {
    const { id } = this.#parts;
    const { options, given, span } = run;
    let { at } = options;
    let { ship } = options;
    const without = new Set<string>();
    for (;;) {
      const { plan, code } = await this.#plan({ at, ship }, fn, given, run.values.length, run.ms, without, span);
      const { place } = plan.choice;
      const claimed = run.named ? await this.#claim(run.activation, place, run.ms) : undefined;
      if (claimed !== undefined && claimed.place !== place) {
        // It was asked for before, and is to be where it was.
        at = claimed.place;
        if (!(await this.#isThere(at))) throw gone(run.activation, at);
        continue;
      }
      try {
        return await this.#ran(plan, code, run);
      } catch (error) {
        // It was not done there: nobody listens, or has a thread for it. Another place may do.
        if (run.failed || (!isTwzError(error, 'Unreachable') && !isTwzError(error, 'RunsFull')) || place === id) throw error;
        if (claimed?.fresh === false) throw gone(run.activation, place, error);
        if (claimed !== undefined) await this.#unclaim(run.activation, place);
        if (options.at !== undefined || without.has(place)) throw error;
        without.add(place);
        // Who owned the data is gone: whoever can succeed it may run it.
        ship = ship === 'code' ? undefined : ship;
        this.chooser.forget(referencesIn(given));
      }
    }
  }

  /** Runs it where the plan says. */
  async #ran(plan: Plan, code: ObjectId, run: Run): Promise<unknown> {
    const { space, id } = this.#parts;
    const { place, uses } = plan.choice;
    const { given, ms, options, span } = run;
    this.chooser.started(plan, this.#core.space.kernel.host.time());
    const began = clock.now();
    const ended = { took: 0, ran: 0, result: 0, stored: [] as readonly ObjectId[], failed: true };
    try {
      let done: Done;
      if (place !== id) {
        this.runsElsewhere++;
        done = await traced(span, 'request', { place }, (request) => this.#sent(place, code, run, request));
      } else {
        this.runsHere++;
        for (const { family, way, from, brings } of uses) if (way !== 'there') await this.#bringFrom(family, from, brings, ms, span);
        if (options.limits?.heapBytes !== undefined) {
          done = await this.#sent(place, code, run, span);
          space.refresh();
        } else done = await this.#here(code, run);
      }
      Object.assign(ended, { ran: done.ran, result: done.gave.length, stored: done.stored, failed: false });
      return decodeValues(space, done.gave);
    } catch (error) {
      // What the function itself threw says nothing of the place.
      if (isTwzError(error, 'RunFailed')) ended.failed = false;
      this.chooser.forget(referencesIn(given));
      throw error;
    } finally {
      this.chooser.finished(plan, { ...ended, took: clock.now() - began });
    }
  }

  /** By another thread, of this node or of another. */
  async #sent(place: string, code: ObjectId, run: Run, span: Span | undefined): Promise<Done> {
    const { kind, activation, values, ms, options } = run;
    const asked = clock.now();
    const trace = span === undefined ? {} : { trace: span.parent };
    const { head, body } = this.#ownThread(kind, options)
      ? await this.#task(new TaskCall(this.#parts, place, activation), code, run, trace)
      : await this.#request(place, { activation, code, ...trace, ...limitsOf(options) }, values, ms);
    span?.adopt(head['spans'], clock.now() - asked);
    span?.set({ 'bytes.sent': values.length, 'bytes.got': body.length });
    return { gave: body, ran: numberIn(head, 'ms'), stored: idsIn(head['stored']) };
  }

  /** In this thread. */
  async #here(code: ObjectId, { kind, activation, named, values, ms, options, span }: Run): Promise<Done> {
    const { space, agent } = this.#parts;
    const { runner } = this.#core;
    if (kind === 'async')
      return traced(span, 'execute', {}, async (inner) => {
        const known = named ? runner.activations.gave(activation) : undefined;
        if (known !== undefined) {
          await agent.replicated(space.kernel.seen, [], ms, inner);
          return { gave: known, ran: 0, stored: [] };
        }
        const { depth = 0, limits = {} } = options;
        const began = clock.now();
        const job = new Job(this.#core, { activation, named, depth, ms, limits, span: inner });
        const gave = await runBody(this.#core, job, code, values);
        if (named) space.relaxed(() => runner.activations.note(activation, gave));
        return { gave, ran: clock.now() - began, stored: [...job.stored] };
      });
    const inner = span?.child('execute');
    let ran: Ran;
    const before = agent.span;
    agent.span = inner;
    try {
      ran = agent.within(ms, () => runner.run(activation, code, values, limitsOf(options)));
      inner?.end();
    } catch (error) {
      inner?.end(error);
      throw error;
    } finally {
      agent.span = before;
    }
    if (ran.stored.length > 0 || ran.again) await agent.replicated(ran.lsn, ran.stored, ms, span);
    return { gave: ran.gave, ran: ran.ms, stored: ran.stored };
  }

  #ownThread(kind: BodyKind, { limits }: Inner<RunOptions>): boolean {
    return kind !== 'plain' || limits?.heapBytes !== undefined || this.#contexts.length > 0;
  }

  get #contexts(): readonly ObjectId[] {
    return this.#parts.space.security.contexts;
  }

  #head(life: 'run' | 'spawn' | 'stream', kind: BodyKind, named: boolean, code: ObjectId, ms: number, options: Inner<RunOptions>): Head {
    const { depth = 0, limits = {} } = options;
    return { life, kind, named, code, ms, depth, limits, contexts: this.#contexts, ahead: AHEAD, idle: IDLE_MS };
  }

  /** Until it is over. */
  async #task(call: TaskCall, code: ObjectId, run: Run, trace: Head): Promise<Said> {
    const { kind, named, values, options, ms } = run;
    const until = clock.now() + ms;
    try {
      const head = { ...this.#head('run', kind, named, code, ms, options), ...trace };
      let said = await call.begin(head, values, LOOK_MS, until);
      while (said.head['state'] !== 'done') said = await call.wait(0, LOOK_MS, until);
      return said;
    } catch (error) {
      run.failed = call.failed;
      if (isTwzError(error, 'TimedOut')) await call.abandon();
      throw error;
    }
  }

  /** Asks until there is an answer: a request that got lost is asked for again, and one that was done is not done again. */
  async #request(node: string, head: Head, values: Uint8Array, ms: number): Promise<Said> {
    const { request } = this.#parts;
    const until = clock.now() + ms;
    for (let wait = AGAIN_MS; ; wait *= 2) {
      const left = until - clock.now();
      try {
        const again = wait > AGAIN_MS ? { again: true } : {};
        return heard(await request(`run.${node}`, say({ ...head, ...again, ms: left }, values), Math.min(left, wait)));
      } catch (error) {
        const again = isTwzError(error, 'Unreachable') && error.context['again'] === true;
        // An earlier request may have been heard: what went away may have done it.
        if (wait > AGAIN_MS && isTwzError(error, 'Unreachable') && !again)
          throw new TwzError('TimedOut', `node ${node} went away, and may have done it before`, { node }, error);
        if ((!again && !isTwzError(error, 'TimedOut')) || until - clock.now() < 1) throw error;
        if (again) await new Promise<void>((resolve) => clock.timer(BUSY_MS, resolve));
      }
    }
  }

  // --- what is spawned ------------------------------------------------------------------------------------------------------------

  spawnWith<A extends readonly unknown[], R>(options: Inner<RunOptions>, fn: (...given: A) => R, ...given: Given<A>): Spawned<Awaited<R>> {
    const { space, patience } = this.#parts;
    space.kernel.idle('a run');
    const kind = demandKind(fn, false);
    demandDepth(options.depth ?? 0);
    const id = options.activation ?? toHex(space.kernel.random(16));
    const named = options.named ?? options.activation !== undefined;
    const values = encodeValues(given, false);
    const ms = options.deadline ?? HOUR_MS;
    const begin = async (): Promise<TaskCall> => {
      await options.after;
      const without = new Set<string>();
      for (;;) {
        const { plan, code } = await this.#plan(options, fn, given, values.length, patience, without);
        const { place } = plan.choice;
        const claimed = await this.#claim(id, place, patience, ms + HOUR_MS);
        const call = new TaskCall(this.#parts, claimed?.place ?? place, id);
        try {
          await call.begin(this.#head('spawn', kind, named, code, ms, options), values, 0, clock.now() + patience);
          return call;
        } catch (error) {
          // What it failed by is for who waits for it.
          if (call.failed) return call;
          if (isTwzError(error, 'TimedOut')) await call.abandon();
          if (!isTwzError(error, 'Unreachable') && !isTwzError(error, 'RunsFull')) throw error;
          if (claimed?.fresh === false) throw gone(id, claimed.place, error);
          await this.#unclaim(id, place);
          if (place === this.#parts.id || options.at !== undefined || without.has(place)) throw error;
          without.add(place);
        }
      }
    };
    return new SpawnedThere<Awaited<R>>(space, id, begin());
  }

  spawned(id: string): Spawned<unknown> {
    const { space, agent, patience } = this.#parts;
    const find = async (): Promise<TaskCall> => {
      const claimed = await agent.claim(id, undefined, 0, patience);
      if (claimed === undefined) throw new TwzError('RunLost', `nothing is known of run ${id}`, { activation: id });
      return new TaskCall(this.#parts, claimed.place, id, true);
    };
    return new SpawnedThere(space, id, find());
  }

  // --- streams --------------------------------------------------------------------------------------------------------------------

  streamWith<A extends readonly unknown[], T>(options: Inner<StreamOptions>, fn: Generates<A, T>, ...given: Given<A>): RunStream<T> {
    const { space, id, patience } = this.#parts;
    space.kernel.idle('a stream');
    const kind = demandKind(fn, true);
    demandDepth(options.depth ?? 0);
    const activation = toHex(space.kernel.random(16));
    const values = encodeValues(given, false);
    const { silence = patience, ahead = AHEAD, idle = IDLE_MS, depth = 0, limits = {} } = options;
    const source = new PlannedSource(async () => {
      await options.after;
      const without = new Set<string>();
      for (;;) {
        const { plan, code } = await this.#plan(options, fn, given, values.length, silence, without);
        const { place, uses } = plan.choice;
        if (place === id && limits.heapBytes === undefined) {
          for (const { family, way, from, brings } of uses) if (way !== 'there') await this.#bringFrom(family, from, brings, silence);
          return new HereSource(this.#core, { activation, named: false, depth, ms: STREAM_MS, limits }, code, values, silence);
        }
        const head = { ...this.#head('stream', kind, false, code, STREAM_MS, options), ahead, idle };
        const call = new TaskCall(this.#parts, place, activation);
        try {
          return await RemoteSource.begin((item) => decodeValues(space, item), call, head, values, silence);
        } catch (error) {
          if (call.failed || (!isTwzError(error, 'Unreachable') && !isTwzError(error, 'RunsFull'))) throw error;
          if (place === id || options.at !== undefined || without.has(place)) throw error;
          without.add(place);
        }
      }
    });
    return new ResultStream<T>(source);
  }

  // --- where ----------------------------------------------------------------------------------------------------------------------

  /** Where a run would be, and why; it does not run. */
  async explain(fn: Sent, given: readonly unknown[]): Promise<Explained> {
    const { plan } = await this.#plan({}, fn, given, encodeValues(given, false).length, this.#parts.patience);
    return this.chooser.explain(plan);
  }

  async #plan(
    { at, ship }: { readonly at?: string | undefined; readonly ship?: Shipped | undefined },
    fn: Sent,
    given: readonly unknown[],
    values: number,
    ms: number,
    without?: ReadonlySet<string>,
    above?: Span,
  ): Promise<Planned> {
    const { id: code, bytes: codeBytes } = this.#code(fn);
    const place = at === undefined ? undefined : await this.#nodeNamed(at);
    const wish = { code, codeBytes, values, at: place, force: ship };
    const span = above?.child('plan', { code });
    const plan = await this.chooser.plan(referencesIn(given), wish, ms, without);
    span?.set({ place: plan.choice.place, reason: plan.reason, candidates: plan.candidates.length, cost: plan.choice.cost });
    span?.end();
    return { plan, code };
  }

  async #bringFrom(family: string, from: string, bytes: number, ms: number, span?: Span): Promise<void> {
    const { agent, space } = this.#parts;
    const began = clock.now();
    const id = parseId(family);
    if (!(await agent.bringSoon(id, ms, span))) throw new TwzError('ObjectMissing', `object ${id} is on no node`, { id });
    space.refresh();
    this.chooser.came(from, bytes, clock.now() - began);
    this.chooser.forget([id]);
  }

  #code(fn: Sent): Code {
    const known = this.#codes.get(fn);
    if (known !== undefined) return known;
    const source = sourceOf(fn);
    const code = { id: codeObject(this.#parts.space, source), bytes: source.length };
    this.#codes.set(fn, code);
    return code;
  }

  async #nodeNamed(name: string): Promise<string> {
    const { id, name: own, agent } = this.#parts;
    if (name === id || name === own) return id;
    const found = (await agent.nodes()).find((each) => each.id === name || each.name === name);
    if (found === undefined) throw new TwzError('NodeUnknown', `no node is called "${name}"`, { name });
    return found.id;
  }

  async #isThere(node: string): Promise<boolean> {
    const { id, agent } = this.#parts;
    return node === id || (await agent.nodes()).some((each) => each.id === node);
  }

  // --- names ----------------------------------------------------------------------------------------------------------------------

  #claim(activation: string, place: string, ms: number, lasts = HOUR_MS) {
    return this.#parts.agent.claim(activation, place, lasts, ms);
  }

  async #unclaim(activation: string, place: string): Promise<void> {
    const { agent, patience } = this.#parts;
    await agent.ask({ do: 'unclaim', activation, place, ms: patience });
  }
}

interface Run {
  readonly kind: BodyKind;
  readonly activation: string;
  readonly named: boolean;
  readonly ms: number;
  readonly given: readonly unknown[];
  readonly values: Uint8Array;
  readonly options: Inner<RunOptions>;
  readonly span: Span | undefined;
  /** It was begun, and failed. */
  failed: boolean;
}

interface Done {
  readonly gave: Uint8Array;
  /** Milliseconds that it ran. */
  readonly ran: number;
  readonly stored: readonly ObjectId[];
}

function limitsOf({ limits }: RunOptions): Pick<RunOptions, 'limits'> {
  return limits === undefined ? {} : { limits };
}

function gone(activation: string, place: string, cause?: unknown): TwzError {
  return new TwzError(
    'RunLost',
    `run ${activation} was asked for before, at node ${place}, which is gone: nobody knows whether it was done`,
    { activation, node: place },
    cause,
  );
}

function idsIn(value: unknown): ObjectId[] {
  return Array.isArray(value) ? value.filter((each: unknown): each is ObjectId => typeof each === 'string' && isId(each)) : [];
}

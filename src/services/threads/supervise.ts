/**
 * Supervisors: threads that are started in order, started again when they end, and stopped in the reverse order. What a supervisor knows is an
 * object; a child keeps its control object, and with it its mailbox, over restarts.
 *
 *   one for one   a child that ends is started again by itself
 *   one for all   the others are stopped, in reverse order, and all are started again in order
 *
 * Invariants: a child runs at most once at a time; more than `restartsMax` restarts within `window` end the supervisor, and with it all children.
 */
import { TwzError } from '../../abi/errors.ts';
import { orderedMap } from '../../lib/collections/ordered-map.ts';
import { vec } from '../../lib/collections/vec.ts';
import { oneOf, text, u32 } from '../../lib/fields.ts';
import { ref, struct, type Infer } from '../../lib/struct.ts';
import type { Space } from '../../space.ts';
import { FLAG, REQUEST } from './control.ts';
import { makeThread, moduleUrl, startProgram, demandSharing, type SpawnOptions } from './spawn.ts';
import { STOP_MS, type Thread, type ThreadResult } from './thread.ts';

export type RestartPolicy = 'never' | 'on failure' | 'always';

export interface ChildSpec extends Omit<SpawnOptions, 'orphan'> {
  /** Differs from those of the other children. */
  readonly name: string;
  readonly module: string | URL;
  /** When it is started again (`on failure` by default: unless it returned, or exited, with 0). */
  readonly restart?: RestartPolicy;
  /** Milliseconds that it has to come to its end when it is asked to (5000 by default). */
  readonly within?: number;
}

export interface SuperviseOptions {
  /** Under which others find it (`supervisor` by default). */
  readonly name?: string;
  /** `one for one` by default. */
  readonly strategy?: 'one for one' | 'one for all';
  /** Restarts of all children together in `window` milliseconds (5 in 10,000 by default); with one more it gives up. */
  readonly restartsMax?: number;
  readonly window?: number;
  /** Milliseconds before a restart: `first` (20), twice as many after each restart, `most` (5000) at most; `first` again for who ran so long. */
  readonly backoff?: { readonly first?: number; readonly most?: number };
  /** What becomes of children that are processes when the supervisor dies (`end` by default). */
  readonly orphan?: 'stay' | 'stop' | 'end';
}

const Supervised = struct('Supervised', {
  name: text,
  policy: oneOf('never', 'on failure', 'always'),
  status: oneOf('runs', 'waits', 'ended'),
  restarts: u32,
  /** How it ended last. */
  last: text,
  /** ID of its control object. */
  control: text,
});

/** What a supervisor knows. Of a supervisor that was killed it is what it knew last. */
export const SupervisorState = struct('SupervisorState', {
  name: text,
  strategy: oneOf('one for one', 'one for all'),
  status: oneOf('runs', 'stops', 'stopped', 'gave up'),
  pid: u32,
  /** The thread that it is in, as locks name their holders. */
  self: u32,
  restarts: u32,
  children: vec(Supervised),
});
export type SupervisorState = Infer<typeof SupervisorState>;

/** Where the states of all supervisors have their name. */
export const SUPERVISORS = '/supervisors';
const Supervisors = orderedMap(text, ref(SupervisorState));

interface Child {
  readonly spec: ChildSpec;
  readonly index: number;
  readonly thread: Thread;
  /** Restarts in a row. */
  streak: number;
  began: number;
  /** It is started, and its end is not taken note of. */
  running: boolean;
  ended: Promise<void>;
}

const policyOf = ({ restart = 'on failure' }: ChildSpec): RestartPolicy => restart;

function checkOptions(specs: readonly ChildSpec[], { restartsMax = 0, window = 0, backoff = {} }: SuperviseOptions): void {
  const names = new Set(specs.map(({ name }) => name));
  if (specs.length === 0 || names.size < specs.length)
    throw new TwzError('InvalidArgument', 'a supervisor has one child at least, and each a name of its own');
  for (const [name, value] of Object.entries({ restartsMax, window, ...backoff }))
    if (!(value >= 0)) throw new TwzError('InvalidArgument', `${name}: ${value}; expected a number from 0`, { [name]: value });
}

/** Starts the children, in order, and looks after them as long as this program runs. Throws NameExists, and what `spawn` throws. */
export function supervise(space: Space, specs: readonly ChildSpec[], options: SuperviseOptions = {}): Supervisor {
  demandSharing(space);
  checkOptions(specs, options);
  return new Supervisor(space, specs, options);
}

/** The states of all supervisors of the space, by name; `lives`: whether its program still runs. */
export function supervisors(space: Space): { readonly state: SupervisorState; readonly lives: boolean }[] {
  space.refresh();
  if (space.names.find(SUPERVISORS) === undefined) return [];
  const { threads } = space.kernel.host.futex;
  const states = [...space.names.get(SUPERVISORS, Supervisors).values()].filter((state) => state !== null);
  return states.map((state) => ({ state, lives: threads.lives(state.self) && ['runs', 'stops'].includes(state.status) }));
}

export class Supervisor {
  readonly #space: Space;
  readonly #options: SuperviseOptions;
  readonly #children: Child[] = [];
  readonly #state: SupervisorState;
  /** When children were restarted lately. */
  #lately: number[] = [];
  /** All children are being stopped and started again. */
  #together = false;
  #stopping = false;
  readonly #stop = new AbortController();
  /** Resolves when it was stopped, or all children have ended for good. Rejects with SupervisorGaveUp: who does not await it ends with that. */
  readonly ended: Promise<void>;
  #settle: { resolve(): void; reject(error: unknown): void } = { resolve: () => undefined, reject: () => undefined };

  /** Use `supervise`. */
  constructor(space: Space, specs: readonly ChildSpec[], options: SuperviseOptions) {
    this.#space = space;
    this.#options = options;
    this.ended = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.#state = this.#enter(specs);
    const orphan = options.orphan ?? 'end';
    for (const [index, spec] of specs.entries()) {
      const flags = FLAG.supervised | (spec.as === 'process' ? FLAG.process : 0);
      const thread = makeThread(space, moduleUrl(spec.module), flags, { ...spec, orphan });
      this.#children.push({ spec, index, thread, streak: 0, began: 0, running: false, ended: Promise.resolve() });
    }
    space.relaxed(() => {
      for (const { index, thread } of this.#children) {
        const child = this.#state.children.get(index);
        if (child !== undefined) child.control = thread.id;
      }
    });
    for (const child of this.#children) this.#start(child);
  }

  /** What it knows, as an object of the space. */
  get state(): SupervisorState {
    return this.#state;
  }

  get children(): readonly Thread[] {
    return this.#children.map(({ thread }) => thread);
  }

  /** By its name. Throws InvalidArgument. */
  child(name: string): Thread {
    const found = this.#children.find(({ spec }) => spec.name === name);
    if (found === undefined) throw new TwzError('InvalidArgument', `the supervisor has no child "${name}"`, { name });
    return found.thread;
  }

  // --- state --------------------------------------------------------------------------------------------------------------

  #enter(specs: readonly ChildSpec[]): SupervisorState {
    const space = this.#space;
    const { name = 'supervisor', strategy = 'one for one' } = this.#options;
    const { host } = space.kernel;
    return space.relaxed(() => {
      if (space.names.find(SUPERVISORS) === undefined) space.names.set(SUPERVISORS, space.create(Supervisors));
      const all = space.names.get(SUPERVISORS, Supervisors);
      for (const { state, lives } of supervisors(space)) {
        if (lives && state.name === name)
          throw new TwzError('NameExists', `a supervisor "${name}" runs, in process ${state.pid}`, { name });
        if (lives) continue;
        all.delete(state.name);
        space.delete(state);
      }
      const children = specs.map((spec) => ({ name: spec.name, policy: policyOf(spec), status: 'waits' as const }));
      const state = space.create(SupervisorState, {
        name,
        strategy,
        pid: host.pid,
        self: host.futex.threads.self,
        children,
      });
      all.set(name, state);
      return state;
    });
  }

  #note(change: (state: SupervisorState) => void): void {
    if (!this.#space.closed) this.#space.relaxed(() => change(this.#state));
  }

  #noteChild(child: Child, status: 'runs' | 'waits' | 'ended', result?: ThreadResult): void {
    this.#note((state) => {
      const known = state.children.get(child.index);
      if (known === undefined) return;
      known.status = status;
      if (result !== undefined) known.last = result.error?.message ?? `${result.reason}, with ${result.code}`;
    });
  }

  // --- children -------------------------------------------------------------------------------------------------------------

  #now(): number {
    return this.#space.kernel.host.now();
  }

  #start(child: Child): void {
    child.began = this.#now();
    child.running = true;
    this.#noteChild(child, 'runs');
    child.ended = this.#follow(child);
  }

  /** From its start to what its end leads to. What goes wrong in here ends the supervisor. */
  async #follow(child: Child): Promise<void> {
    try {
      await startProgram(this.#space, child.thread, child.spec);
    } catch (error) {
      // It could not be started, which its control object says.
      if (child.thread.control.gone) throw error;
    }
    child.running = false;
    if (this.#space.closed || child.thread.control.gone) {
      // There is nothing to look after any more.
      this.#finish('stopped');
      return;
    }
    const { result } = child.thread;
    if (result === undefined) return;
    this.#noteChild(child, 'ended', result);
    if (this.#stopping || this.#together) return;
    void this.#react(child, result).catch((error: unknown) => this.#fail(error));
  }

  async #react(child: Child, result: ThreadResult): Promise<void> {
    const well = result.code === 0 && result.reason !== 'killed' && result.reason !== 'failed';
    const policy = policyOf(child.spec);
    if (policy === 'never' || (policy === 'on failure' && well)) {
      child.thread.control.request(REQUEST.last);
      if (this.#children.every((each) => !each.running && this.#state.children.get(each.index)?.status === 'ended'))
        this.#finish('stopped');
      return;
    }
    this.#noteChild(child, 'waits');
    if (!this.#permit()) {
      await this.#giveUp(child, result);
      return;
    }
    const group = this.#options.strategy === 'one for all' ? this.#children : [child];
    this.#together = group.length > 1;
    if (group.length > 1) await this.#stopAll();
    await this.#pause(child);
    this.#together = false;
    if (this.#stopping || this.#space.closed) return;
    for (const each of group) this.#again(each);
  }

  /** Whether one more restart is within the limit. */
  #permit(): boolean {
    const { restartsMax = 5, window = 10_000 } = this.#options;
    const now = this.#now();
    this.#lately = [...this.#lately.filter((at) => now - at < window), now];
    return this.#lately.length <= restartsMax;
  }

  async #pause(child: Child): Promise<void> {
    const { first = 20, most = 5000 } = this.#options.backoff ?? {};
    if (this.#now() - child.began > most) child.streak = 0;
    const ms = Math.min(first * 2 ** child.streak++, most);
    if (ms === 0 || this.#stopping) return;
    const { words } = child.thread.control;
    try {
      // Nobody changes the status of a child that has ended but its supervisor.
      await words.waitAsync(child.thread.control.index('status'), child.thread.control.get('status') | 0, ms, this.#stop.signal);
    } catch (error) {
      if (!this.#stopping && !this.#space.closed) throw error;
    }
  }

  #again(child: Child): void {
    child.thread.control.again(this.#space.kernel.host.futex.threads.self);
    this.#note((state) => {
      state.restarts++;
      const known = state.children.get(child.index);
      if (known !== undefined) known.restarts++;
    });
    this.#start(child);
  }

  /** In reverse order, one after the other. */
  async #stopAll(): Promise<void> {
    for (const child of [...this.#children].reverse()) {
      if (!child.running) continue;
      await child.thread.stop({ within: child.spec.within ?? STOP_MS });
      await child.ended;
    }
  }

  // --- end ------------------------------------------------------------------------------------------------------------------

  #finish(status: 'stopped' | 'gave up', error?: unknown): void {
    this.#stopping = true;
    for (const { thread } of this.#children) if (!thread.control.gone) thread.control.request(REQUEST.last);
    this.#note((state) => (state.status = status));
    if (error === undefined) this.#settle.resolve();
    else this.#settle.reject(error);
  }

  async #giveUp(child: Child, result: ThreadResult): Promise<void> {
    this.#stopping = true;
    this.#note((state) => (state.status = 'stops'));
    await this.#stopAll();
    const { restartsMax = 5, window = 10_000 } = this.#options;
    const last = result.error?.message ?? `it ended with ${result.code}`;
    const error = new TwzError(
      'SupervisorGaveUp',
      `more than ${restartsMax} restarts in ${window} ms; the last was of "${child.spec.name}": ${last}`,
      { name: this.#state.name, child: child.spec.name },
      result.error,
    );
    this.#finish('gave up', error);
  }

  #fail(error: unknown): void {
    if (!this.#space.closed) this.#finish('gave up', error);
  }

  /** Stops the children, the last one first, and ends. A child that does not come to its end in its time is killed. */
  async stop(): Promise<void> {
    if (!this.#stopping) {
      this.#stopping = true;
      this.#stop.abort();
      this.#note((state) => (state.status = 'stops'));
      await this.#stopAll();
      this.#finish('stopped');
    }
    await this.ended;
  }
}

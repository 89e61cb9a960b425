/** How a thread of a node asks its agent, and lets the kernel ask it. */
import { TwzError } from '../../abi/errors.ts';
import { isId, type ObjectId } from '../../abi/id.ts';
import type { Asked, Contact } from '../../host/colleagues.ts';
import type { Space } from '../../space.ts';
import type { AgentQuestion } from './agent.ts';
import { NO_PREFETCH, type Prefetch } from './fetching.ts';
import type { HandQuestion } from './hands.ts';
import { heard, isRecord } from './messages.ts';
import type { NodeInfo } from './node.ts';
import { traced, type Span } from './tracing.ts';

/** Beyond the deadline that it is given, the agent has this long to say that it was over. */
const GRACE_MS = 500;
const MORE_MAX = 256;
/** Objects that are remembered to have come, and of how many of them each question tells whether they were used. */
const CAME_MAX = 100_000;
const LOOK_MAX = 256;
const PREFETCH_BYTES = 1 << 20;

export interface Claimed {
  readonly place: string;
  /** Nobody had asked for it before. */
  readonly fresh: boolean;
}

/** Throws what the answer says. */
export function valueOf(answer: unknown): unknown {
  if (!isRecord(answer)) throw new Error('an agent that answers nothing');
  if (answer['error'] instanceof Uint8Array) heard(answer['error']);
  return answer['value'];
}

export interface ContactOptions {
  /** Milliseconds that a reference is waited for, where nothing else is said (default 10,000). */
  readonly patience?: number;
  /** There is a bound on what came: the agent is told what is used (default false). */
  readonly isBounded?: boolean;
  /** What is referred to comes along (default true). */
  readonly prefetch?: boolean;
}

export class AgentContact {
  readonly #contact: Contact;
  readonly #space: Space;
  patience: number;
  /** What this thread does belongs to it, where somebody wants to know. */
  span: Span | undefined;
  /** What came along with what was asked for last. */
  #last: string[] = [];
  #more = 2;
  readonly #isBounded: boolean;
  readonly #isAlone: boolean;
  /** What came for this thread, and how far that list was looked through for what is used. */
  #came: ObjectId[] = [];
  #looked = 0;
  /** When the transaction began to ask that asks now. */
  #since = 0;
  /** What this thread does must be over by then. */
  #until = Infinity;

  constructor(contact: Contact, space: Space, { patience = 10_000, isBounded = false, prefetch = true }: ContactOptions) {
    this.#contact = contact;
    this.#space = space;
    this.patience = patience;
    this.#isBounded = isBounded;
    this.#isAlone = !prefetch;
  }

  async ask(question: AgentQuestion | HandQuestion): Promise<unknown> {
    return valueOf(await this.#contact.ask(asked(question)));
  }

  askNow(question: AgentQuestion, ms: number): unknown {
    // It may have to come in first, as another member of the space.
    this.#space.kernel.admit();
    return valueOf(this.#contact.askNow(asked(question), ms + GRACE_MS));
  }

  /** What a plain function needs of others comes in so many milliseconds, all in all. */
  within<T>(ms: number, body: () => T): T {
    const before = this.#until;
    this.#until = Math.min(before, this.#space.kernel.host.now() + ms);
    try {
      return body();
    } finally {
      this.#until = before;
    }
  }

  /** Milliseconds that something may take. Throws TimedOut. */
  #left(what: string): number {
    const left = this.#until - this.#space.kernel.host.now();
    if (left <= 0) throw new TwzError('TimedOut', `${what}: the deadline is over`);
    return Math.min(this.patience, left);
  }

  bring(id: ObjectId, times = 0): boolean {
    const { host } = this.#space.kernel;
    const ms = this.#left(`bringing object ${id}`);
    if (times === 1) this.#since = host.now();
    const span = this.span?.child('fetch', { object: id });
    try {
      return this.#brought(this.askNow(this.#question(id, ms, times > 1 ? host.now() - this.#since : 0), ms), span);
    } finally {
      span?.end();
    }
  }

  async bringSoon(id: ObjectId, ms: number, above?: Span): Promise<boolean> {
    return traced(above, 'fetch', { object: id }, async (span) => this.#brought(await this.ask(this.#question(id, ms, 0)), span));
  }

  #question(id: ObjectId, ms: number, asking: number): AgentQuestion {
    const [prefetch, used] = [this.#prefetch(), this.#used()];
    if (this.#isBounded) this.#came.push(id);
    return { do: 'bring', id, ms, prefetch, used, asking };
  }

  #brought(answer: unknown, span?: Span): boolean {
    if (!isRecord(answer)) return false;
    if (typeof answer['bytes'] === 'number') span?.set({ bytes: answer['bytes'] });
    this.#last = Array.isArray(answer['came']) ? answer['came'].map(String) : [];
    if (this.#isBounded) for (const id of this.#last) if (isId(id)) this.#came.push(id);
    return answer['here'] === true;
  }

  /** Some of what came for this thread and was used since: by the mark after which the kernel, too, judges what to unmap. */
  #used(): string[] {
    const { handles } = this.#space.kernel;
    const used: string[] = [];
    if (this.#came.length > CAME_MAX) this.#came = this.#came.slice(-CAME_MAX / 2);
    for (let left = Math.min(LOOK_MAX, this.#came.length); left > 0; left--) {
      const id = this.#came[this.#looked++ % this.#came.length] as ObjectId;
      const h = handles.get(id);
      if (h?.slot === undefined || (!h.used && h.pins === 0)) continue;
      h.used = false;
      used.push(id);
    }
    return used;
  }

  /** Of what came along last time so much was used: as much again, or less, is asked for next time. */
  #prefetch(): Prefetch {
    if (this.#isAlone) return NO_PREFETCH;
    const { handles } = this.#space.kernel;
    let used = 0;
    for (const id of this.#last) if (isId(id) && handles.get(id)?.slot !== undefined) used++;
    if (used >= 0.75 * this.#last.length) this.#more = Math.min(MORE_MAX, this.#more * 2);
    else if (used < 0.5 * this.#last.length) this.#more = Math.max(1, this.#more >> 1);
    this.#last = [];
    return { more: this.#more, bytes: PREFETCH_BYTES };
  }

  own(id: ObjectId): void {
    const ms = this.#left(`getting object ${id}`);
    const span = this.span?.child('own', { object: id });
    try {
      this.askNow({ do: 'own', id, ms }, ms);
    } finally {
      span?.end();
    }
  }

  reached(ids: readonly ObjectId[]): readonly ObjectId[] {
    const ms = this.patience;
    return idsIn(this.askNow({ do: 'reached', ids, ms }, ms));
  }

  async reachedSoon(ids: readonly ObjectId[], ms: number): Promise<readonly ObjectId[]> {
    return idsIn(await this.ask({ do: 'reached', ids, ms }));
  }

  async replicated(lsn: number, ids: readonly ObjectId[], ms: number, above = this.span): Promise<void> {
    await traced(above, 'publish', { objects: ids.length }, () => this.ask({ do: 'replicated', lsn, ids, ms }));
  }

  /** Says something to this node's own runs, as others do by the engine. */
  async task(bytes: Uint8Array): Promise<Uint8Array> {
    return (await this.ask({ do: 'task', bytes })) as Uint8Array;
  }

  /** Where a run that has a name is to be: at `place`, or where it was before; undefined where it was nowhere, and no place is given. */
  async claim(activation: string, place: string | undefined, lasts: number, ms: number): Promise<Claimed | undefined> {
    const claimed = await this.ask({ do: 'claim', activation, place, lasts, ms });
    return isRecord(claimed) ? { place: String(claimed['place']), fresh: claimed['fresh'] === true } : undefined;
  }

  async nodes(): Promise<readonly NodeInfo[]> {
    return (await this.ask({ do: 'nodes' })) as readonly NodeInfo[];
  }

  close(): void {
    if (this.#space.kernel.afar === this) this.#space.kernel.afar = undefined;
    this.#contact.close();
  }
}

function idsIn(answer: unknown): ObjectId[] {
  return Array.isArray(answer) ? answer.map(String).filter(isId) : [];
}

function asked(question: AgentQuestion | HandQuestion): Asked {
  return { ...question };
}

/** From now on the space's references lead to other nodes as well. */
export function agentOf(contact: Contact, space: Space, options: ContactOptions = {}): AgentContact {
  const agent = new AgentContact(contact, space, options);
  space.kernel.afar = agent;
  return agent;
}

/** How a thread of a node asks its agent, and lets the kernel ask it. */
import { isId, type ObjectId } from '../../abi/id.ts';
import type { Asked, Contact } from '../../host/colleagues.ts';
import type { Space } from '../../space.ts';
import type { AgentQuestion } from './agent.ts';
import { NO_PREFETCH, type Prefetch } from './fetching.ts';
import { heard, isRecord } from './messages.ts';
import type { NodeInfo } from './node.ts';

/** Beyond the deadline that it is given, the agent has this long to say that it was over. */
const GRACE_MS = 500;
const MORE_MAX = 256;
/** Objects that are remembered to have come, and of how many of them each question tells whether they were used. */
const CAME_MAX = 100_000;
const LOOK_MAX = 256;
const PREFETCH_BYTES = 1 << 20;

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

  constructor(contact: Contact, space: Space, { patience = 10_000, isBounded = false, prefetch = true }: ContactOptions) {
    this.#contact = contact;
    this.#space = space;
    this.patience = patience;
    this.#isBounded = isBounded;
    this.#isAlone = !prefetch;
  }

  async ask(question: AgentQuestion): Promise<unknown> {
    return valueOf(await this.#contact.ask(asked(question)));
  }

  askNow(question: AgentQuestion, ms: number): unknown {
    // It may have to come in first, as another member of the space.
    this.#space.kernel.admit();
    return valueOf(this.#contact.askNow(asked(question), ms + GRACE_MS));
  }

  bring(id: ObjectId, times = 0): boolean {
    const { host } = this.#space.kernel;
    const ms = this.patience;
    if (times === 1) this.#since = host.now();
    return this.#brought(this.askNow(this.#question(id, ms, times > 1 ? host.now() - this.#since : 0), ms));
  }

  async bringSoon(id: ObjectId, ms: number): Promise<boolean> {
    return this.#brought(await this.ask(this.#question(id, ms, 0)));
  }

  #question(id: ObjectId, ms: number, asking: number): AgentQuestion {
    const [prefetch, used] = [this.#prefetch(), this.#used()];
    if (this.#isBounded) this.#came.push(id);
    return { do: 'bring', id, ms, prefetch, used, asking };
  }

  #brought(answer: unknown): boolean {
    if (!isRecord(answer)) return false;
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
    const ms = this.patience;
    this.askNow({ do: 'own', id, ms }, ms);
  }

  async replicated(lsn: number, ids: readonly ObjectId[], ms: number): Promise<void> {
    await this.ask({ do: 'replicated', lsn, ids, ms });
  }

  async nodes(): Promise<readonly NodeInfo[]> {
    return (await this.ask({ do: 'nodes' })) as readonly NodeInfo[];
  }

  close(): void {
    if (this.#space.kernel.afar === this) this.#space.kernel.afar = undefined;
    this.#contact.close();
  }
}

function asked(question: AgentQuestion): Asked {
  return { ...question };
}

/** From now on the space's references lead to other nodes as well. */
export function agentOf(contact: Contact, space: Space, options: ContactOptions = {}): AgentContact {
  const agent = new AgentContact(contact, space, options);
  space.kernel.afar = agent;
  return agent;
}

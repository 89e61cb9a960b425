/**
 * Plain requests and queues by name, over the program's own connection to the engine: for what is neither data that moves nor code that does.
 * A message is at most once. A reference in it is a reference: what it leads to does not go along, and comes when it is looked at.
 *
 * Subjects: `serve.<name>` what is requested, `topic.<name>` what is published.
 */
import { TwzError, isTwzError } from '../../abi/errors.ts';
import type { ObjectId } from '../../abi/id.ts';
import type { Clock } from '../../host/clock.ts';
import type { Space } from '../../space.ts';
import { left } from './core.ts';
import type { Engine, Message, Subscription } from './engine.ts';
import { answer, hear, heard, numberIn, say, sayError, textIn, type Head, type Said } from './messages.ts';
import { decodeValues, encodeValues, strangersIn } from './values.ts';

/** All that serve a name are one queue: each request goes to one of them. */
const SERVERS = 'servers';
/** How long what a message refers to may take to come, in milliseconds, where nobody has given a deadline. */
const KNOW_MS = 10_000;

export interface MessageInfo {
  /** ID of the node that sent it. */
  readonly from: string;
}

export type Handler = (value: unknown, info: MessageInfo) => unknown;
export type TopicListener = (value: unknown, info: MessageInfo) => void;

/** What it needs of its node. */
export interface ConventionsCore {
  readonly id: string;
  readonly space: Space;
  readonly engine: Engine;
  readonly clock: Clock;
  /** Brings an object here without blocking. Throws Unreachable, TimedOut. */
  bring(id: ObjectId, ms: number): Promise<boolean>;
}

export class Conventions {
  readonly #core: ConventionsCore;
  /** Messages that made no sense, or referred to what could not be had. */
  refused = 0;

  constructor(core: ConventionsCore) {
    this.#core = core;
  }

  // --- requests -------------------------------------------------------------------------------------------------------------------

  async serve(name: string, handler: Handler, ms: number): Promise<Subscription> {
    const { engine } = this.#core;
    const subscription = engine.subscribe(`serve.${name}`, (message) => void this.#serve(message, handler), SERVERS);
    await engine.flush(ms);
    return subscription;
  }

  async #serve(message: Message, handler: Handler): Promise<void> {
    let bytes: Uint8Array;
    try {
      const said = hear(message.bytes);
      const ms = numberIn(said.head, 'ms');
      const value = await this.#valueIn(said, ms);
      bytes = say({}, await gaveOf(handler, value, { from: textIn(said.head, 'from') }));
    } catch (error) {
      bytes = sayError(error);
    }
    answer(message, bytes);
  }

  async request(name: string, value: unknown, ms: number): Promise<unknown> {
    const { clock, engine, id } = this.#core;
    const deadline = clock.now() + ms;
    const said = heard(await engine.request(`serve.${name}`, say({ from: id, ms }, encodeValues(value, 'here')), ms));
    return this.#valueIn(said, left(this.#core, deadline, `request "${name}"`));
  }

  // --- queues ---------------------------------------------------------------------------------------------------------------------

  publish(name: string, value: unknown): void {
    this.#core.engine.publish(`topic.${name}`, say({ from: this.#core.id }, encodeValues(value, 'here')));
  }

  async subscribe(name: string, listener: TopicListener, queue: string | undefined, ms: number): Promise<Subscription> {
    const { clock, engine } = this.#core;
    let closed = false;
    // What a listener throws is the program's, and the next message comes all the same.
    const fail = (error: unknown): void =>
      clock.soon(() => {
        throw error;
      });
    const tell = (value: unknown, head: Head): void => {
      try {
        listener(value, { from: textIn(head, 'from') });
      } catch (error) {
        fail(error);
      }
    };
    // One after the other, in the order in which they came, also where one has to wait for what it refers to.
    const inbox: Said[] = [];
    let busy = false;
    const deliver = async (): Promise<void> => {
      if (busy) return;
      busy = true;
      for (let said = inbox.shift(); said !== undefined; said = inbox.shift()) {
        try {
          const value = await this.#valueIn(said, KNOW_MS);
          if (!closed) tell(value, said.head);
        } catch (error) {
          if (isTwzError(error)) this.refused++;
          else fail(error);
        }
      }
      busy = false;
    };
    const subscription = engine.subscribe(
      `topic.${name}`,
      ({ bytes }) => {
        let said: Said;
        try {
          said = hear(bytes);
          textIn(said.head, 'from');
        } catch (error) {
          if (!isTwzError(error)) throw error;
          this.refused++;
          return;
        }
        inbox.push(said);
        void deliver();
      },
      queue,
    );
    await engine.flush(ms);
    return {
      close: () => {
        closed = true;
        subscription.close();
      },
    };
  }

  // --- values ---------------------------------------------------------------------------------------------------------------------

  /** What was said; objects that nothing is known of are brought here first, as to look at them would block. */
  async #valueIn({ body }: Said, ms: number): Promise<unknown> {
    const { space } = this.#core;
    if (space.closed) throw new TwzError('NotJoined', 'this node has left the space');
    for (const id of strangersIn(space, body))
      if (!(await this.#core.bring(id, ms))) throw new TwzError('ObjectMissing', `object ${id} is on no node`, { id });
    if (space.kernel.transaction === undefined) space.refresh();
    return decodeValues(space, body);
  }
}

/** Runs it, and gives what it gave as values; what it throws is RunFailed. */
async function gaveOf(handler: Handler, value: unknown, info: MessageInfo): Promise<Uint8Array> {
  try {
    return encodeValues(await handler(value, info), 'here');
  } catch (cause) {
    const [name, message] = cause instanceof Error ? [cause.name, cause.message] : [typeof cause, String(cause)];
    const stack = cause instanceof Error ? (cause.stack ?? '').slice(0, 4096) : '';
    throw new TwzError('RunFailed', `${name}: ${message}`, { error: name, stack }, cause);
  }
}

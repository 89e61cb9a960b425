/**
 * Requests of a connection, and what awaits their answers. Each ends by its deadline, or with the connection: its answer may be lost then,
 * and it may have been done. What cannot be sent now waits here and not in the connection's buffers.
 */
import { TwzError } from '../../abi/errors.ts';
import type { Clock } from '../../host/clock.ts';
import type { Timer } from '../../host/host.ts';
import type { Header, Reply } from './wire.ts';

/** What carries them. */
export interface Line {
  readonly clock: Clock;
  readonly connected: boolean;
  /** Can something be sent now? */
  readonly open: boolean;
  /** Will it never be able to again, or not before somebody changes something? */
  readonly hopeless: boolean;
  /** Why not. */
  lost(): TwzError;
  send(subject: string, bytes: Uint8Array, headers: readonly Header[] | undefined, answerTo: string): void;
}

/** Bytes of requests that wait for the connection. */
const WAITING_MAX = 64 << 20;
const NO_RESPONDERS = 503;

interface Pending {
  readonly subject: string;
  readonly timer: Timer;
  /** True: it was the last. */
  take(reply: Reply): boolean;
  fail(error: unknown): void;
}

/** What has come is looked at first: a thread that was busy past the deadline finds the answer. */
export function deadline(clock: Clock, ms: number, callback: () => void): Timer {
  let over = false;
  const timer = clock.timer(ms, () =>
    clock.soon(() => {
      if (!over) callback();
    }),
  );
  return {
    cancel: () => {
      over = true;
      timer.cancel();
    },
  };
}

export function timedOut(what: string): TwzError {
  return new TwzError('TimedOut', `${what}: no answer within the deadline`, { what });
}

export class Requests {
  readonly #line: Line;
  /** Subject that answers go to, before the token. */
  readonly #inbox: string;
  readonly #pending = new Map<string, Pending>();
  readonly #waiting = new Set<() => void>();
  #waitingBytes = 0;
  #tokens = 0;

  constructor(line: Line, inbox: string) {
    this.#line = line;
    this.#inbox = inbox;
  }

  request(subject: string, bytes: Uint8Array, ms: number, headers?: readonly Header[]): Promise<Reply> {
    if (!this.#line.open) return this.#wait(bytes.length, ms, subject).then((left) => this.request(subject, bytes, left, headers));
    return new Promise((resolve, reject) => {
      this.#ask(subject, bytes, ms, headers, reject, (reply) => {
        resolve(reply);
        return true;
      });
    });
  }

  requestMany(subject: string, bytes: Uint8Array, ms: number, take: (reply: Reply) => boolean): Promise<void> {
    if (!this.#line.open) return this.#wait(bytes.length, ms, subject).then((left) => this.requestMany(subject, bytes, left, take));
    return new Promise((resolve, reject) => {
      this.#ask(subject, bytes, ms, undefined, reject, (reply) => {
        if (!take(reply) && !(reply.code === NO_RESPONDERS && reply.bytes.length === 0)) return false;
        resolve();
        return true;
      });
    });
  }

  async ready(ms: number): Promise<number> {
    return this.#line.open ? ms : this.#wait(0, ms, 'the connection');
  }

  /** An answer has come. */
  answer(token: string, reply: Reply): void {
    const pending = this.#pending.get(token);
    if (pending?.take(reply) === true) this.#end(token, pending);
  }

  /** Those of that subject, or all. */
  fail(error: TwzError, subject?: string): void {
    for (const [token, pending] of this.#pending) {
      if (subject === undefined || pending.subject === subject) this.#end(token, pending).fail(error);
    }
  }

  /** It is open again, or hopeless. */
  wake(): void {
    for (const go of this.#waiting) go();
  }

  /** Resolves to the milliseconds that are left when something can be sent. */
  #wait(bytes: number, ms: number, what: string): Promise<number> {
    const line = this.#line;
    if (line.hopeless || this.#waitingBytes + bytes > WAITING_MAX) return Promise.reject(line.lost());
    const end = line.clock.now() + ms;
    return new Promise((resolve, reject) => {
      const settle = (how: () => void): void => {
        timer.cancel();
        this.#waiting.delete(go);
        this.#waitingBytes -= bytes;
        how();
      };
      const timer = deadline(line.clock, ms, () => settle(() => reject(line.connected ? timedOut(what) : line.lost())));
      const go = (): void => settle(() => (line.hopeless ? reject(line.lost()) : resolve(Math.max(1, end - line.clock.now()))));
      this.#waiting.add(go);
      this.#waitingBytes += bytes;
    });
  }

  #ask(
    subject: string,
    bytes: Uint8Array,
    ms: number,
    headers: readonly Header[] | undefined,
    fail: (error: unknown) => void,
    take: (reply: Reply) => boolean,
  ): void {
    const token = (++this.#tokens).toString(36);
    const { clock } = this.#line;
    const timer = clock.timer(ms, () =>
      clock.soon(() => {
        if (this.#pending.delete(token)) fail(timedOut(subject));
      }),
    );
    this.#pending.set(token, { subject, timer, take, fail });
    try {
      this.#line.send(subject, bytes, headers, this.#inbox + token);
    } catch (error) {
      timer.cancel();
      this.#pending.delete(token);
      throw error;
    }
  }

  #end(token: string, pending: Pending): Pending {
    pending.timer.cancel();
    this.#pending.delete(token);
    return pending;
  }
}

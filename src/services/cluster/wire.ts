/** One connection to the engine's servers, as the engine over JetStream (jetstream.ts) needs it: nats.ts makes it of the client. */
import { TwzError } from '../../abi/errors.ts';
import type { Clock } from '../../host/clock.ts';
import type { Subscription } from './engine.ts';

export type Header = readonly [name: string, value: string];

export interface Reply {
  readonly bytes: Uint8Array;
  /** Status in the headers: 204, 404, 408, 503 …; 0 where there is none. */
  readonly code: number;
  /** Value of a header, '' where there is none. */
  header(name: string): string;
}

export interface Delivery extends Reply {
  readonly subject: string;
  /** Where an answer goes; '' where none is wanted. */
  readonly answerTo: string;
}

export interface Wire {
  readonly kind: 'nats' | 'simulated';
  readonly clock: Clock;
  /** No other connection has it. */
  readonly id: string;
  readonly connected: boolean;
  readonly closed: boolean;
  /** Of the server that it is connected to, or was last. */
  readonly version: string;
  /** Of the oldest that it was connected to. */
  readonly oldest: string;
  /** Bytes of a message, headers included. */
  readonly maxPayload: number;
  /** Throws EngineLost while there is no connection, or where the server takes nothing. */
  publish(subject: string, bytes: Uint8Array, headers?: readonly Header[], answerTo?: string): void;
  /** Resolves to the first answer, whatever is in it; code 503 where nobody listens. Waits for the connection, and for room. */
  request(subject: string, bytes: Uint8Array, ms: number, headers?: readonly Header[]): Promise<Reply>;
  /** Until `take` gives true, or code 503. Throws TimedOut at the deadline. */
  requestMany(subject: string, bytes: Uint8Array, ms: number, take: (reply: Reply) => boolean): Promise<void>;
  /** Waits for the connection, and for room. Resolves to the milliseconds that are left. */
  ready(ms: number): Promise<number>;
  subscribe(subject: string, listener: (delivery: Delivery) => void, queue?: string): Subscription;
  flush(ms: number): Promise<void>;
  onState(listener: (connected: boolean) => void): Subscription;
  close(): Promise<void>;
}

/** Headers of what is appended; a message may not have that many bytes. */
export const HEADERS_MAX = 512;

const NAME = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;
const NAME_LENGTH_MAX = 200;

/** Throws InvalidArgument for what is not parts of [A-Za-z0-9_-] with dots between. */
export function checkName(name: string, what: string): string {
  if (!NAME.test(name) || name.length > NAME_LENGTH_MAX)
    throw new TwzError(
      'InvalidArgument',
      `${what} ${JSON.stringify(name.slice(0, 80))}: expected parts of A-Z, a-z, 0-9, _ and - with dots between, at most ${NAME_LENGTH_MAX} in all`,
      { name },
    );
  return name;
}

/** What to subscribe to for a name or for all below it, as `a.b` or `a.>` or `>`. */
export function checkPattern(pattern: string, what: string): string {
  if (pattern !== '>') checkName(pattern.endsWith('.>') ? pattern.slice(0, -2) : pattern, what);
  return pattern;
}

/** The names that a prefix of whole parts stands for: itself and all below it; all there are where it is empty. */
export function patternsOf(prefix: string): readonly string[] {
  return prefix === '' ? ['>'] : [checkName(prefix, 'prefix'), `${prefix}.>`];
}

const VERSION = /^(\d+)\.(\d+)\.(\d+)/;

/** Is it that version or a newer one? What is no version is old. */
export function atLeast(version: string, least: string): boolean {
  const [, ...is] = VERSION.exec(version) ?? [];
  const [, ...wanted] = VERSION.exec(least) ?? [];
  if (is.length === 0) return false;
  for (const [i, part] of wanted.entries()) {
    const difference = Number(is[i]) - Number(part);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** The oldest server that keeps what it has acknowledged. */
export const OLDEST_SERVER = '2.10.27';
/** Messages that go after a time of their own, and reading many at once. */
export const SERVER_WITH_TTL = '2.11.0';
/** Several appends, all or none. */
export const SERVER_WITH_BATCHES = '2.12.0';

export function tooOld(version: string, server: string): TwzError {
  return new TwzError('EngineTooOld', `nats-server ${version} at ${server}: ${OLDEST_SERVER} or newer is needed`, {
    version,
    needed: OLDEST_SERVER,
    server,
  });
}

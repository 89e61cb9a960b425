/**
 * Objects whose bytes come from elsewhere when they are touched.
 *
 *   a thread that reads  --page fault-->  the thread that serves faults  --question-->  a source, in a third thread
 *                        <-----page-----                                 <---answer----
 *
 * A source answers for ranges of bytes of objects, each in one version. It lives in a thread of its own: who reads stands still until the
 * page is there. Where faults cannot be served (`Host.pages` gives nothing) the same source is asked for the whole object before it is read.
 *
 * Nobody who reads can be thrown at in the middle of a load. So a page that cannot be had reads as zeros, and before it does the region
 * counts a failure: what was read is worth something only if `failedSince` says so afterwards.
 */
import * as fs from 'node:fs';
import { MessageChannel, receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { ERRORS, TwzError, type ErrorName } from '../abi/errors.ts';
import { PAGE } from '../abi/format.ts';
import type { Window } from './host.ts';
import type { ThreadPort } from './ports.ts';

/** One version of an object, as a source knows it. */
export interface PagedWhat {
  readonly object: string;
  readonly version: number;
  /** Bytes, a multiple of 4096. */
  readonly size: number;
}

export interface PageLimits {
  /** Milliseconds within which a page that is touched must be there. */
  readonly faultMs: number;
  /** Bytes to ask for where a touch follows from none before it. */
  readonly first: number;
  /** Bytes to ask for at once, at most, where touches follow each other. */
  readonly ahead: number;
  /** Bytes of one object that are asked for, or at hand and not touched yet, at most. */
  readonly budget: number;
}

export const PAGE_LIMITS: PageLimits = { faultMs: 5000, first: 16 << 10, ahead: 1 << 20, budget: 4 << 20 };

/** In bytes, if not said otherwise. fetched = touched + along + held + dropped. */
export interface PageCounters {
  /** Touches of pages that were not there, by number. */
  readonly faults: number;
  /** Those of them for which nobody had to be asked, by number. */
  readonly ready: number;
  /** Questions to the source, by number. */
  readonly questions: number;
  /** What the source has given. */
  readonly fetched: number;
  /** Pages of it that were touched for certain. */
  readonly touched: number;
  /** Pages that were shown together with a touched one, or prefetched: whether they were touched cannot be told. */
  readonly along: number;
  /** At hand, and not touched yet. */
  readonly held: number;
  /** Fetched in vain. */
  readonly dropped: number;
  /** Faults that ended without the page, by number. */
  readonly failures: number;
}

/** A range of a window that shows an object whose pages come when they are touched. */
export interface PagedRegion {
  /**
   * Something is about to be read, for `ms` milliseconds at most: faults in that time end by then. What it gives is for `failedSince`.
   * Throws where nothing can be read here any more.
   */
  begin(ms: number): number;
  /** As `begin` says of the time; 0: nothing is read any more. */
  allow(ms: number): void;
  /** Has something read as zeros since that was not the object's? */
  failedSince(mark: number): boolean;
  /** Why. */
  error(): TwzError;
  /** Lets go of what failed: it is fetched again when it is touched again. Nothing is read in this thread meanwhile. */
  recover(): void;
  /** Asks for pages that will be touched; does not wait for them. */
  prefetch(at: number, length: number): void;
  /** Is the page there? */
  resident(at: number): boolean;
  counters(): PageCounters;
  /** From now on nothing is stored into the range. Whoever still reads it reads zeros, and is told so by `failedSince`. */
  close(): void;
}

/** Serves page faults. */
export interface Pages {
  /** Shows an object in [at, at + what.size) of the window: nothing of it is there at first. */
  open(window: Window, at: number, what: PagedWhat, source: PageSource, limits: PageLimits): PagedRegion;
  /** What a source rings when it has answered: a descriptor, good until the process ends. */
  readonly bell: number;
}

// --- questions and answers ------------------------------------------------------------------------------------------------------

export interface PageRequest {
  readonly object: string;
  readonly version: number;
  readonly offset: number;
  readonly length: number;
  /** Milliseconds that who asks will wait at least. */
  readonly ms: number;
}

export interface PageQuestion extends PageRequest {
  readonly number: number;
}

export interface PageRefusal {
  readonly name: ErrorName;
  readonly message: string;
}

export interface PageAnswer {
  readonly number: number;
  /** Bytes, or why there are none. */
  readonly bytes?: Uint8Array;
  readonly refusal?: PageRefusal;
}

/** The bytes of an answer, if they are what was asked for. */
export function answered({ bytes, refusal }: PageAnswer, length: number): Uint8Array | PageRefusal {
  if (bytes === undefined) return refusal ?? { name: 'PagesInvalid', message: 'the source said nothing' };
  if (bytes.length === length) return bytes;
  return { name: 'PagesInvalid', message: `the source gave ${bytes.length} bytes; ${length} were asked for` };
}

/** What the answering side has: for `postMessage`, with `port` in the list of what is transferred. */
export interface PageSourceEnd {
  readonly port: ThreadPort;
  /** Counts answers. */
  readonly answers: Int32Array;
  /** -1 for none. */
  readonly bell: number;
}

/** The asking side of a source. */
export class PageSource {
  /** Undefined once the thread that serves faults has it. */
  #port: MessagePort | undefined;
  readonly #answers: Int32Array;
  readonly #bell: number;
  #last = 0;

  constructor(port: ThreadPort, answers: Int32Array, bell: number) {
    this.#port = port as MessagePort;
    this.#answers = answers;
    this.#bell = bell;
  }

  /** Does it answer whoever serves the faults? */
  servesFaults(pages: Pages | undefined): boolean {
    return pages !== undefined && pages.bell === this.#bell;
  }

  /** Gives the port away. Undefined where that was done before. */
  take(): ThreadPort | undefined {
    const port = this.#port;
    this.#port = undefined;
    return port;
  }

  /** Fills `into` with bytes from `offset`, while this thread stands still. Throws what the source says, and TimedOut. */
  fetch(what: PagedWhat, offset: number, into: Uint8Array, ms: number): void {
    const port = this.#port;
    if (port === undefined) throw new TwzError('HostUnavailable', 'the source answered a thread that served page faults and has ended');
    const question: PageQuestion = {
      number: ++this.#last,
      object: what.object,
      version: what.version,
      offset,
      length: into.length,
      ms,
    };
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
    port.postMessage(question);
    const deadline = performance.now() + ms;
    for (;;) {
      const seen = Atomics.load(this.#answers, 0);
      for (let message = receiveMessageOnPort(port); message !== undefined; message = receiveMessageOnPort(port)) {
        const answer: PageAnswer = message.message;
        if (answer.number !== question.number) continue;
        const bytes = answered(answer, into.length);
        if (!(bytes instanceof Uint8Array)) throw new TwzError(bytes.name, bytes.message, { id: what.object });
        into.set(bytes);
        return;
      }
      const left = deadline - performance.now();
      if (left <= 0) throw new TwzError('TimedOut', `object ${what.object}: no answer within ${ms} ms`, { id: what.object });
      Atomics.wait(this.#answers, 0, seen, left);
    }
  }

  close(): void {
    this.#port?.close();
    this.#port = undefined;
  }
}

/** A source: `source` is for whoever reads, in this thread; `end` is for the thread that answers. `pages`: where it will serve faults. */
export function createPageSource(pages: Pages | undefined): { readonly source: PageSource; readonly end: PageSourceEnd } {
  const { port1, port2 } = new MessageChannel();
  const answers = new Int32Array(new SharedArrayBuffer(4));
  const bell = pages?.bell ?? -1;
  // It is read when there is something to read, and keeps nobody alive.
  port1.unref();
  return { source: new PageSource(port1, answers, bell), end: { port: port2, answers, bell } };
}

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer);

function refusalOf(error: unknown): PageRefusal {
  if (error instanceof TwzError) return { name: error.name, message: error.message };
  return { name: 'Unreachable', message: `the source failed: ${error instanceof Error ? error.message : String(error)}` };
}

/** Bytes that can be given away as they are. */
function whole(bytes: Uint8Array): bytes is Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer && bytes.byteOffset === 0 && bytes.length === bytes.buffer.byteLength;
}

/**
 * Answers questions, in the thread that got the end. What `serve` gives is given away: an array that has its buffer to itself is of no use
 * here afterwards. What it throws ends the fault that asked: Unreachable if it is no TwzError. `check` may throw, too: it sees the bytes
 * before anybody else does. Returns how to stop.
 */
export function servePages(
  { port: given, answers, bell }: PageSourceEnd,
  serve: (request: PageRequest) => Uint8Array | Promise<Uint8Array>,
  check: (request: PageRequest, bytes: Uint8Array) => void = () => undefined,
): () => void {
  const port = given as MessagePort;
  let open = true;
  const answer = async (question: PageQuestion): Promise<void> => {
    let reply: PageAnswer;
    try {
      const given = serve(question);
      // What is there at once is given at once.
      const bytes = given instanceof Uint8Array ? given : await given;
      check(question, bytes);
      reply = { number: question.number, bytes };
    } catch (error) {
      reply = { number: question.number, refusal: refusalOf(error) };
    }
    if (!open) return;
    port.postMessage(reply, reply.bytes !== undefined && whole(reply.bytes) ? [reply.bytes.buffer] : []);
    Atomics.add(answers, 0, 1);
    Atomics.notify(answers, 0);
    if (bell >= 0) fs.writeSync(bell, ONE);
  };
  port.on('message', (question: PageQuestion) => void answer(question));
  return () => {
    if (!open) return;
    open = false;
    port.close();
  };
}

/** An error that came as its name and its message. */
export function errorOf(name: string, message: string, object: string): TwzError {
  const known = Object.keys(ERRORS).find((each): each is ErrorName => each === name);
  return new TwzError(known ?? 'Unreachable', message, { id: object });
}

// --- where faults cannot be served ----------------------------------------------------------------------------------------------

/** A range that holds all of an object: nothing can fail any more once it is there. */
class WholeRegion implements PagedRegion {
  readonly #size: number;
  readonly #questions: number;

  constructor(size: number, questions: number) {
    this.#size = size;
    this.#questions = questions;
  }

  begin(): number {
    return 0;
  }

  allow(): void {}

  failedSince(): boolean {
    return false;
  }

  error(): TwzError {
    return new TwzError('Unreachable', 'nothing has failed');
  }

  recover(): void {}

  prefetch(): void {}

  resident(): boolean {
    return true;
  }

  counters(): PageCounters {
    const fetched = this.#size;
    return { faults: 0, ready: 0, questions: this.#questions, fetched, touched: 0, along: fetched, held: 0, dropped: 0, failures: 0 };
  }

  close(): void {}
}

/** Fetches all of an object into a range that reads as zeros, within `ms` milliseconds. Throws what the source says, and TimedOut. */
export function fetchWhole(window: Window, at: number, what: PagedWhat, source: PageSource, limits: PageLimits, ms: number): PagedRegion {
  const deadline = performance.now() + ms;
  let questions = 0;
  for (let offset = 0; offset < what.size; questions++) {
    const length = Math.min(Math.max(PAGE, limits.ahead), what.size - offset);
    const left = Math.max(1, Math.ceil(deadline - performance.now()));
    source.fetch(what, offset, new Uint8Array(window.buffer, at + offset, length), Math.min(left, limits.faultMs));
    offset += length;
  }
  return new WholeRegion(what.size, questions);
}

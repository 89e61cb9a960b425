/**
 * Threads that others ask: by promises, or blocking until the answer is there. Both sides.
 *
 *   ask       a message on the port      ->  answered by a message
 *   askNow    the same on a port of its own, and the word of a shared buffer that the one who asks sleeps on
 */
import { MessageChannel, parentPort, receiveMessageOnPort, workerData, type MessagePort, type Worker } from 'node:worker_threads';
import { TwzError } from '../abi/errors.ts';
import type { ThreadPort } from './ports.ts';
import { endNativeThread, loadNative, startNativeThread } from './native-threads.ts';

/** What is asked and answered: what can be copied between threads. */
export type Asked = object;

/** How a thread asks another. */
export interface Contact {
  /** Resolves with the answer; rejects where the other ended. What the answer says is between the two. */
  ask(what: Asked): Promise<unknown>;
  /** Blocks this thread until the answer is there. Throws TimedOut after `ms`. */
  askNow(what: Asked, ms: number): unknown;
  close(): void;
}

const MIB = 2 ** 20;

interface Ports {
  readonly ask: MessagePort;
  readonly now: MessagePort;
  readonly word: Int32Array;
}

function portsOf({ ask, now, word }: Line): Ports {
  return { ask: ask as MessagePort, now: now as MessagePort, word };
}

/** Two ends of a way to ask: what one thread gives to another to pass on. */
export interface Line {
  readonly ask: ThreadPort;
  readonly now: ThreadPort;
  readonly word: Int32Array;
}

interface Question {
  readonly ticket: number;
  readonly what: Asked;
}

export class Caller implements Contact {
  readonly #line: Ports;
  readonly #waiting = new Map<number, { readonly resolve: (value: unknown) => void; readonly reject: (error: Error) => void }>();
  #tickets = 0;
  #closed = false;

  constructor(given: Line) {
    const line = portsOf(given);
    this.#line = line;
    line.ask.on('message', ({ ticket, value }: { ticket: number; value: unknown }) => {
      this.#waiting.get(ticket)?.resolve(value);
      this.#waiting.delete(ticket);
      if (this.#waiting.size === 0) line.ask.unref();
    });
    line.ask.once('close', () => this.close());
    line.ask.unref();
    line.now.unref();
  }

  ask(what: Asked): Promise<unknown> {
    if (this.#closed) return Promise.reject(ended());
    const ticket = ++this.#tickets;
    return new Promise((resolve, reject) => {
      this.#waiting.set(ticket, { resolve, reject });
      this.#line.ask.ref();
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
      this.#line.ask.postMessage({ ticket, what } satisfies Question);
    });
  }

  askNow(what: Asked, ms: number): unknown {
    if (this.#closed) throw ended();
    const { now, word } = this.#line;
    const ticket = ++this.#tickets;
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
    now.postMessage({ ticket, what } satisfies Question);
    const until = performance.now() + ms;
    for (;;) {
      const before = Atomics.load(word, 0);
      for (let got = receiveMessageOnPort(now); got !== undefined; got = receiveMessageOnPort(now)) {
        const { ticket: answered, value } = got.message as { ticket: number; value: unknown };
        // What was given up on may be answered late.
        if (answered === ticket) return value;
      }
      const left = until - performance.now();
      if (left <= 0) throw new TwzError('TimedOut', `no answer within ${ms} ms`, { ms });
      Atomics.wait(word, 0, before, left);
      if (this.#closed) throw ended();
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#line.ask.close();
    this.#line.now.close();
    for (const { reject } of this.#waiting.values()) reject(ended());
    this.#waiting.clear();
  }
}

function ended(): TwzError {
  return new TwzError('NotJoined', 'the thread that is asked has ended');
}

/** A line: one end for who asks, the other for who answers. */
export function makeLine(): { readonly near: Line; readonly far: Line } {
  const [ask, now] = [new MessageChannel(), new MessageChannel()];
  const word = new Int32Array(new SharedArrayBuffer(4));
  return { near: { ask: ask.port1, now: now.port1, word }, far: { ask: ask.port2, now: now.port2, word } };
}

/** Lines that this thread answers. */
const answered: Line[] = [];

/** Answers what comes by a line. */
export function answerLine(line: Line, answer: (what: Asked) => Promise<unknown>): void {
  const { ask, now, word } = portsOf(line);
  answered.push(line);
  ask.once('close', () => answered.splice(answered.indexOf(line), 1));
  ask.on('message', ({ ticket, what }: Question) => {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
    void answer(what).then((value) => ask.postMessage({ ticket, value }));
  });
  now.on('message', ({ ticket, what }: Question) => {
    void answer(what).then((value) => {
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
      now.postMessage({ ticket, value });
      Atomics.add(word, 0, 1);
      Atomics.notify(word, 0);
    });
  });
}

export interface Colleague {
  /** Resolves when the thread has said that it is ready; rejects with what it failed by. */
  readonly ready: Promise<unknown>;
  readonly ended: Promise<void>;
  /** What it ended by, where that was an error: `memory` where it had no more. */
  readonly failure: Error | 'memory' | undefined;
  /** Gives it a line to answer. */
  give(line: Line): void;
  /** `moved`: ports in it that go over to the thread. */
  tell(what: Asked, moved?: readonly ThreadPort[]): void;
  terminate(): Promise<void>;
}

/** Starts the program `main` as a thread of this process that keeps it alive no longer than it must. `heapBytes`: of JavaScript heap, at most. */
export function startColleague(main: URL, name: string, data: Asked, lines: readonly Line[], heapBytes?: number): Colleague {
  const worker: Worker = startNativeThread(main, {
    name,
    workerData: { colleague: data, lines },
    transferList: lines.map(portsOf).flatMap(({ ask, now }) => [ask, now]),
    execArgv: [],
    stdin: false,
    ...(heapBytes === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: Math.ceil(heapBytes / MIB) } }),
  });
  worker.unref();
  let failure: Error | 'memory' | undefined;
  worker.on('error', (cause: unknown) => {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    failure = 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'memory' : error;
  });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const ready = new Promise<unknown>((resolve, reject) => {
    worker.ref();
    worker.once('message', (what: unknown) => {
      worker.unref();
      resolve(what);
    });
    void ended.then(() => reject(failure instanceof Error ? failure : new Error(`the thread ${name} ended`)));
  });
  return {
    ready,
    ended,
    get failure() {
      return failure;
    },
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
    give: (line) => worker.postMessage({ line }, [portsOf(line).ask, portsOf(line).now]),
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
    tell: (what, moved = []) => worker.postMessage({ what }, moved as readonly MessagePort[]),
    terminate: () => endNativeThread(worker),
  };
}

/** In such a thread: what it was started with, and its lines. */
export function asColleague(): { readonly data: Asked; readonly lines: readonly Line[] } {
  loadNative();
  const { colleague, lines } = workerData as { colleague: Asked; lines: readonly Line[] };
  return { data: colleague, lines };
}

/** In such a thread: ends it. */
export function endColleague(): void {
  for (const { ask, now } of answered) {
    ask.close();
    now.close();
  }
  parentPort?.close();
}

/** In such a thread: says that it is ready; from then on hears of further lines, and what it is told. */
export function sayReady(what: unknown, onLine: (line: Line) => void, onTold: (what: Asked) => void): void {
  parentPort?.on('message', ({ line, what: told }: { line?: Line; what?: Asked }) => {
    if (line !== undefined) onLine(line);
    if (told !== undefined) onTold(told);
  });
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
  parentPort?.postMessage(what);
}

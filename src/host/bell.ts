/**
 * Two threads of one process that tell each other that there is something to look at. It costs who rings a message, and only where the other
 * has said since the last one that it listens.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { ThreadPort } from './ports.ts';

/** One side: what can be given to another thread. */
export interface BellEnd {
  readonly port: ThreadPort;
  /** Who listens, of both sides. */
  readonly listening: Int32Array;
  readonly side: 0 | 1;
}

export function makeBell(): { readonly near: BellEnd; readonly far: BellEnd } {
  const { port1, port2 } = new MessageChannel();
  const listening = new Int32Array(new SharedArrayBuffer(8));
  return { near: { port: port1, listening, side: 0 }, far: { port: port2, listening, side: 1 } };
}

/** It keeps no thread alive. */
export class Bell {
  readonly #port: MessagePort;
  readonly #listening: Int32Array;
  readonly #side: number;

  constructor({ port, listening, side }: BellEnd, rung: () => void) {
    this.#port = port as MessagePort;
    this.#listening = listening;
    this.#side = side;
    this.#port.on('message', rung);
    this.#port.unref();
  }

  /** From now on this side is told, once: before it looks, so that it misses nothing. */
  listen(): void {
    Atomics.store(this.#listening, this.#side, 1);
  }

  ring(): void {
    const other = 1 - this.#side;
    if (Atomics.load(this.#listening, other) === 0 || Atomics.exchange(this.#listening, other, 0) === 0) return;
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
    this.#port.postMessage(0);
  }

  close(): void {
    this.#port.close();
  }
}

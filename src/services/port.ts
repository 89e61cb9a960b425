/**
 * Two programs that talk: a ring there and a ring back, in the shape of a MessagePort, for values that can be cloned. One makes it, the
 * other opens it.
 */
import { TwzError } from '../abi/errors.ts';
import type { SyncWords } from '../abi/sync.ts';
import { deserialize, serialize } from '../host/node-values.ts';
import { variableBytes } from '../lib/rings/records.ts';
import { createRing, openRing, ringBytes, type Ring, type RingOptions } from '../lib/rings/ring.ts';
import type { Consumer, Producer, SideOptions } from '../lib/rings/sides.ts';

export interface PortOptions extends SideOptions {
  /** Bytes of the longest message, or of the longest chunk of a stream. 4096 by default; both sides give the same. */
  readonly longest?: number;
  /** How many messages of that length have room, each way. 16 by default. */
  readonly messages?: number;
}

/** Bytes of the longest message, where nothing else is said. */
export const LONGEST = 4096;
const MESSAGES = 16;

const optionsOf = ({ longest = LONGEST, messages = MESSAGES }: PortOptions): RingOptions<Uint8Array> => ({
  record: variableBytes(longest),
  records: messages,
});

const line = (bytes: number): number => (bytes + 63) & ~63;

/** Bytes of memory that a port or a stream takes. */
export function portBytes(options: PortOptions = {}): number {
  return line(ringBytes(optionsOf(options))) * 2;
}

export interface Ends {
  readonly producer: Producer<Uint8Array>;
  readonly consumer: Consumer<Uint8Array>;
}

function ends(there: Ring<Uint8Array>, back: Ring<Uint8Array>, options: PortOptions): Ends {
  return { producer: there.producer(options), consumer: back.consumer(options) };
}

/** Makes the two rings. */
export function createEnds(words: SyncWords, at: number, options: PortOptions): Ends {
  const rings = optionsOf(options);
  const second = at + line(ringBytes(rings));
  return ends(createRing(words, at, rings), createRing(words, second, rings), options);
}

/** The two rings that somebody made. */
export function openEnds(words: SyncWords, at: number, options: PortOptions): Ends {
  const { record } = optionsOf(options);
  const second = openRing(words, at, record);
  return ends(openRing(words, at + line(second.shape.bytes), record), second, options);
}

export interface PortMessage {
  readonly data: unknown;
}

/** In the shape of a MessagePort. Messages are received from the first `onmessage` on. */
export class Port {
  readonly #producer: Producer<Uint8Array>;
  readonly #consumer: Consumer<Uint8Array>;
  readonly #longest: number;
  readonly #pending: Uint8Array[] = [];
  #sending = false;
  #listening = false;
  #closed = false;
  #onmessage: ((message: PortMessage) => void) | null = null;
  /** The other side closed it, or died (then with PeerGone), or a handler threw. Called once. */
  onclose: ((error?: unknown) => void) | null = null;

  constructor({ producer, consumer }: Ends, longest: number) {
    this.#producer = producer;
    this.#consumer = consumer;
    this.#longest = longest;
  }

  get onmessage(): ((message: PortMessage) => void) | null {
    return this.#onmessage;
  }

  set onmessage(handler: ((message: PortMessage) => void) | null) {
    this.#onmessage = handler;
    if (handler !== null && !this.#listening && !this.#closed) {
      this.#listening = true;
      void this.#listen();
    }
  }

  /** Messages that wait here because there is no room. */
  get pending(): number {
    return this.#pending.length;
  }

  /**
   * Sends a copy. It never waits: what has no room is kept here until there is. Throws OutOfRange for what is too long (hand over where it
   * lies in shared memory instead), ValueMismatch for what cannot be cloned, QueueClosed.
   */
  postMessage(value: unknown): void {
    if (this.#closed) throw new TwzError('QueueClosed', 'the port was closed');
    const bytes = serialize(value);
    if (bytes.length > this.#longest)
      throw new TwzError('OutOfRange', `a message of ${bytes.length} bytes; the port takes up to ${this.#longest}`, {
        length: bytes.length,
      });
    if (this.#pending.length === 0 && this.#producer.offer(bytes)) return;
    this.#pending.push(bytes);
    if (!this.#sending) void this.#send();
  }

  async #send(): Promise<void> {
    this.#sending = true;
    try {
      for (let bytes = this.#pending[0]; bytes !== undefined; bytes = this.#pending[0]) {
        await this.#producer.submitAsync(bytes);
        this.#pending.shift();
      }
    } catch (error) {
      this.#end(error);
    } finally {
      this.#sending = false;
    }
  }

  async #listen(): Promise<void> {
    try {
      for (;;) {
        const bytes = await this.#consumer.receiveAsync();
        if (bytes === undefined || this.#closed) break;
        this.#onmessage?.({ data: deserialize(bytes) });
      }
      this.#end();
    } catch (error) {
      this.#end(error);
    }
  }

  #end(error?: unknown): void {
    if (this.#closed) return;
    this.#leave();
    this.onclose?.(error);
  }

  #leave(): void {
    this.#closed = true;
    this.#pending.length = 0;
    this.#producer.close();
    this.#consumer.close();
    this.#producer.leave();
    this.#consumer.leave();
  }

  /** Ends it for both sides. What was sent before, and had room, still arrives. */
  close(): void {
    if (!this.#closed) this.#leave();
  }
}

/** Makes a port at byte `at`, a multiple of 64, of memory that is zero. */
export function createPort(words: SyncWords, at: number, options: PortOptions = {}): Port {
  return new Port(createEnds(words, at, options), options.longest ?? LONGEST);
}

/** The other side of a port that somebody made. Throws QueueInvalid. */
export function openPort(words: SyncWords, at: number, options: PortOptions = {}): Port {
  return new Port(openEnds(words, at, options), options.longest ?? LONGEST);
}

/**
 * What a space of many machines asks of the engine beneath it: messages between nodes, logs that only one can append to at a time,
 * registers, leases, and chunks named by their content. NATS JetStream is one (nats.ts), the simulated one another (testing/cluster).
 *
 * Every call that waits has a deadline in milliseconds and ends by it: in a value, or in a TwzError. Whatever is not said below is
 *   TimedOut       the deadline was over; it may have been done
 *   EngineLost     the connection was lost; it may have been done
 *   EngineRefused  the engine said no, in its own words
 *
 * Names (of subjects, logs, registers, leases) are of [A-Za-z0-9_-], in parts with dots between.
 */

export interface EngineFacts {
  readonly kind: 'nats' | 'simulated';
  /** Version of the oldest server that was met, as `2.15.1`. */
  readonly version: string;
  /** Copies that the engine keeps of logs and registers. */
  readonly replicas: number;
  /** Bytes that a message may have. */
  readonly maxPayload: number;
  /** Several logs can be appended to at once, all or none. */
  readonly atomic: boolean;
}

export interface Message {
  readonly subject: string;
  readonly bytes: Uint8Array;
  /** Answers who asked; undefined where nobody did. May be called several times: who asked by `ask` gets them all. */
  readonly reply: ((bytes: Uint8Array) => void) | undefined;
}

export interface Subscription {
  /** Nothing is delivered after this. */
  close(): void;
}

export interface LogRecord {
  /** Place in the engine's stream: grows with every record of this log, and not by one. */
  readonly seq: number;
  readonly bytes: Uint8Array;
}

export interface Append {
  readonly log: string;
  readonly bytes: Uint8Array;
  /** `seq` of the record that must be the last one; 0: the log must be empty. */
  readonly expected: number;
  /** Milliseconds after which the record goes (default never). Servers before 2.11 keep it. */
  readonly ttl?: number;
}

export interface Register {
  readonly key: string;
  /** Undefined: it was deleted. */
  readonly bytes: Uint8Array | undefined;
  /** Grows with each change. */
  readonly revision: number;
}

/** What happened to an append. `unknown`: it may be in the log or not; ask for the `last` record to learn it. */
export type Appended = { readonly kind: 'done'; readonly seq: number } | { readonly kind: 'refused' } | { readonly kind: 'unknown' };

export interface Engine {
  readonly facts: EngineFacts;
  readonly connected: boolean;

  // --- messages: at most once, lost where nobody listens ---
  // Bytes that are given must stay as they are until the call has ended, those of `publish` and of `reply` until the microtasks after it have
  // run; bytes that are received may be kept, and are not to be changed. More than `maxPayload` ends in MessageTooLarge.
  /** Throws EngineLost while there is no connection, or where the server takes nothing more. */
  publish(subject: string, bytes: Uint8Array): void;
  /** `subject` may end in `.>` for all below. With a queue name, one of the subscribers of that queue gets each message. */
  subscribe(subject: string, listener: (message: Message) => void, queue?: string): Subscription;
  /** One answer. Throws Unreachable at once where nobody subscribes, else TimedOut. */
  request(subject: string, bytes: Uint8Array, ms: number): Promise<Uint8Array>;
  /** Every answer until the deadline, or until `answer` gives true. */
  ask(subject: string, bytes: Uint8Array, ms: number, answer: (bytes: Uint8Array) => boolean): Promise<void>;
  /** Resolves when all subscriptions made before it are known to the server. */
  flush(ms: number): Promise<void>;

  // --- logs: ordered, kept, appended to by compare-and-set ---
  /** Appends if the last record is the expected one. Never throws for what may have happened: see Appended. One at a time a log. */
  append(append: Append, ms: number): Promise<Appended>;
  /** All or none, in this order, next to each other. NotSupported where `facts.atomic` is false. */
  appendAll(appends: readonly Append[], ms: number): Promise<Appended>;
  /** As append, and drops every earlier record of that log, in the same step. */
  replace(append: Append, ms: number): Promise<Appended>;
  /** Drops all records but the last. */
  trim(log: string, ms: number): Promise<void>;
  /** The last record, from the replica that decides; undefined where there is none. */
  last(log: string, ms: number): Promise<LogRecord | undefined>;
  /** Records from `seq` on, oldest first, up to what is there now. */
  read(log: string, seq: number, ms: number): Promise<LogRecord[]>;
  /** Records as they are appended, of every log that begins with this prefix of whole parts, or of that log. Some may be lost: look for gaps by what is in them. */
  follow(log: string, listener: (log: string, record: LogRecord) => void): Subscription;

  // --- registers: the last value of a key ---
  get(key: string, ms: number): Promise<Register | undefined>;
  /** Sets it if it has that revision still (0: if it is not there). The new revision, or undefined where it has another. */
  set(key: string, bytes: Uint8Array, revision: number, ms: number): Promise<number | undefined>;
  /** As `set`; deleted where it had that revision. */
  unset(key: string, revision: number, ms: number): Promise<boolean>;
  keys(prefix: string, ms: number): Promise<Register[]>;
  /** Every register below the prefix as it is now, then as it changes. */
  watch(prefix: string, listener: (register: Register) => void): Subscription;

  // --- leases: registers that go when they are not renewed ---
  /** Takes or renews it for `ttl` milliseconds, or up to the next whole second after; false where another has it (told apart by `bytes`). */
  lease(name: string, bytes: Uint8Array, ttl: number, ms: number): Promise<boolean>;
  release(name: string, bytes: Uint8Array, ms: number): Promise<void>;
  leases(prefix: string, ms: number): Promise<Register[]>;
  /** Tells of leases that are taken, and of those that end (`bytes` undefined). */
  watchLeases(prefix: string, listener: (lease: Register) => void): Subscription;

  // --- chunks: bytes under the hash of them; kept until they are dropped ---
  /** Nothing is sent twice where it is known to be there. */
  putChunk(name: string, bytes: Uint8Array, ms: number): Promise<void>;
  getChunk(name: string, ms: number): Promise<Uint8Array | undefined>;
  dropChunk(name: string, ms: number): Promise<void>;
  /** All below a prefix of whole parts. */
  dropChunks(prefix: string, ms: number): Promise<void>;

  /** Is told when the connection is lost, and when it is there again. */
  onState(listener: (connected: boolean) => void): Subscription;
  close(): Promise<void>;
}

/** How a node reaches its engine. */
export interface EngineOptions {
  /** `nats://host:port`, several for a cluster. */
  readonly servers: readonly string[];
  /** Subjects and streams of different spaces are kept apart by it: [a-z0-9_-]. */
  readonly space: string;
  /** Copies of logs and registers (default 1). */
  readonly replicas?: number;
  /** NKey seed (`SU…`), or the text of a credentials file with JWT and seed. */
  readonly seed?: string;
  readonly credentials?: string;
  /** Name shown in the server's list of connections. */
  readonly name?: string;
  /** Milliseconds until the first connection must be there (default 10,000). */
  readonly timeout?: number;
  /** Milliseconds without a word from the server after which the connection is taken for lost (default 10,000). */
  readonly silence?: number;
}

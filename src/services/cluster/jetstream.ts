/**
 * The engine over JetStream. Of a space `s` there are four streams: `s-log` with `s.log.<log>`, `s-reg` with `s.reg.<key>`, `s-lease` with
 * `s.lease.<name>`, in memory, and `s-chunk` with `s.chunk.<name>`. What is stored in the first three is published again below `s.live.`, which
 * is what follows and watches listen to: that needs no consumer and no acknowledgement. Messages between nodes are below `s.msg.`.
 *
 * Logs have no message IDs: the expected sequence makes an append happen once, and older servers answer a repeated ID wrongly.
 */
import { TwzError } from '../../abi/errors.ts';
import type { Append, Appended, Engine, EngineFacts, EngineOptions, LogRecord, Message, Register, Subscription } from './engine.ts';
import { Leases } from './leases.ts';
import { Registers } from './registers.ts';
import { Stream, type StreamConfig } from './stream.ts';
import {
  atLeast,
  checkName,
  checkPattern,
  HEADERS_MAX,
  patternsOf,
  SERVER_WITH_BATCHES,
  SERVER_WITH_TTL,
  type Header,
  type Reply,
  type Wire,
} from './wire.ts';

const NO_RESPONDERS = 503;
const BATCH_MAX = 1000;
/** Names of chunks that are known to be there. */
const CHUNKS_KNOWN_MAX = 1 << 16;
const ROLLUP = ['Nats-Rollup', 'sub'] as const;
const SECOND_NS = 1_000_000_000;
const MARKER_SECONDS = 60;
const DEDUPE_SECONDS = 1;

export async function openJetStream(wire: Wire, options: EngineOptions, ms: number): Promise<Engine> {
  const { space } = options;
  const ttl = atLeast(wire.oldest, SERVER_WITH_TTL);
  const batches = atLeast(wire.oldest, SERVER_WITH_BATCHES);
  const open = async (
    name: string,
    storage: 'file' | 'memory',
    settings: object,
    features: readonly string[],
    live = true,
  ): Promise<Stream> => {
    const stream = new Stream(wire, `${space}-${name}`);
    const config: StreamConfig = {
      name: stream.name,
      subjects: [`${space}.${name}.>`],
      storage,
      num_replicas: options.replicas ?? 1,
      retention: 'limits',
      discard: 'new',
      max_msgs_per_subject: 1,
      duplicate_window: DEDUPE_SECONDS * SECOND_NS,
      allow_direct: true,
      allow_rollup_hdrs: true,
      ...(live ? { republish: { src: `${space}.${name}.>`, dest: `${space}.live.${name}.>` } } : {}),
      ...settings,
      ...Object.fromEntries(features.map((feature) => [feature, true])),
    };
    await stream.open(config, features, ms);
    return stream;
  };
  const ending = ttl ? ['allow_msg_ttl'] : [];
  const [logs, registers, leases, chunks] = await Promise.all([
    open('log', 'file', { max_msgs_per_subject: -1 }, batches ? ['allow_atomic', ...ending] : ending),
    open('reg', 'file', {}, ending),
    open('lease', 'file', ttl ? { subject_delete_marker_ttl: MARKER_SECONDS * SECOND_NS } : {}, ending),
    open('chunk', 'file', { discard_new_per_subject: true }, [], false),
  ]);
  return new JetStreamEngine(wire, space, { logs, registers, leases, chunks });
}

class JetStreamEngine implements Engine {
  readonly #wire: Wire;
  readonly #root: string;
  readonly #logs: Stream;
  readonly #logRoot: string;
  readonly #registers: Registers;
  readonly #leases: Leases;
  readonly #chunks: Stream;
  readonly #chunksKnown = new Set<string>();
  #batch = 0;

  constructor(
    wire: Wire,
    space: string,
    streams: { readonly logs: Stream; readonly registers: Stream; readonly leases: Stream; readonly chunks: Stream },
  ) {
    this.#wire = wire;
    this.#root = `${space}.`;
    this.#logs = streams.logs;
    this.#logRoot = `${space}.log.`;
    this.#registers = new Registers(wire, streams.registers, `${space}.reg.`, `${space}.live.reg.`);
    this.#leases = new Leases(new Registers(wire, streams.leases, `${space}.lease.`, `${space}.live.lease.`));
    this.#chunks = streams.chunks;
  }

  get facts(): EngineFacts {
    return {
      kind: this.#wire.kind,
      version: this.#wire.oldest,
      replicas: this.#logs.replicas,
      maxPayload: this.#wire.maxPayload - HEADERS_MAX,
      atomic: this.#logs.has('allow_atomic') && atLeast(this.#wire.oldest, SERVER_WITH_BATCHES),
    };
  }

  get connected(): boolean {
    return this.#wire.connected;
  }

  // --- messages ---------------------------------------------------------------------------------------------------------------------

  publish(subject: string, bytes: Uint8Array): void {
    this.#wire.publish(this.#message(subject), bytes);
  }

  subscribe(subject: string, listener: (message: Message) => void, queue?: string): Subscription {
    const root = `${this.#root}msg.`;
    return this.#wire.subscribe(
      root + checkPattern(subject, 'subject'),
      (delivery) => {
        const { answerTo } = delivery;
        const reply = (bytes: Uint8Array): void => {
          if (this.#wire.connected) this.#wire.publish(answerTo, bytes);
        };
        listener({ subject: delivery.subject.slice(root.length), bytes: delivery.bytes, reply: answerTo === '' ? undefined : reply });
      },
      queue === undefined ? undefined : checkName(queue, 'queue'),
    );
  }

  async request(subject: string, bytes: Uint8Array, ms: number): Promise<Uint8Array> {
    const reply = await this.#wire.request(this.#message(subject), bytes, ms);
    if (reply.code === NO_RESPONDERS) throw nobody(subject);
    return reply.bytes;
  }

  async ask(subject: string, bytes: Uint8Array, ms: number, answer: (bytes: Uint8Array) => boolean): Promise<void> {
    let missing = false;
    const take = (reply: Reply): boolean => {
      missing = reply.code === NO_RESPONDERS;
      return missing || answer(reply.bytes);
    };
    await this.#wire.requestMany(this.#message(subject), bytes, ms, take);
    if (missing) throw nobody(subject);
  }

  flush(ms: number): Promise<void> {
    return this.#wire.flush(ms);
  }

  // --- logs -------------------------------------------------------------------------------------------------------------------------

  append({ log, bytes, expected, ttl }: Append, ms: number): Promise<Appended> {
    return this.#logs.append(this.#log(log), bytes, expected, ms, this.#ending(ttl));
  }

  async appendAll(appends: readonly Append[], ms: number): Promise<Appended> {
    if (!this.facts.atomic)
      throw new TwzError(
        'NotSupported',
        `nats-server ${this.#wire.oldest} does not append to several logs at once: ${SERVER_WITH_BATCHES} does`,
        {
          version: this.#wire.oldest,
          needed: SERVER_WITH_BATCHES,
        },
      );
    const all = appends.map(({ log, bytes, expected, ttl }) => ({ subject: this.#log(log), bytes, expected, headers: this.#ending(ttl) }));
    if (all.length === 0 || all.length > BATCH_MAX)
      throw new TwzError('InvalidArgument', `${all.length} appends at once: expected 1 to ${BATCH_MAX}`, { count: all.length });
    if (new Set(all.map(({ subject }) => subject)).size < all.length)
      throw new TwzError('InvalidArgument', 'a log stands twice among the appends of one step', {});
    return this.#logs.appendAll(all, `${this.#wire.id}-${++this.#batch}`, ms);
  }

  replace({ log, bytes, expected, ttl }: Append, ms: number): Promise<Appended> {
    return this.#logs.append(this.#log(log), bytes, expected, ms, [ROLLUP, ...this.#ending(ttl)]);
  }

  #ending(ttl: number | undefined): Header[] {
    if (ttl === undefined || !this.#logs.has('allow_msg_ttl')) return [];
    return [['Nats-TTL', `${Math.max(1, Math.ceil(ttl / 1000))}s`]];
  }

  trim(log: string, ms: number): Promise<void> {
    return this.#logs.purge(this.#log(log), ms, 1);
  }

  async last(log: string, ms: number): Promise<LogRecord | undefined> {
    const stored = await this.#logs.last(this.#log(log), ms);
    return stored === undefined ? undefined : { seq: stored.seq, bytes: stored.bytes };
  }

  async read(log: string, seq: number, ms: number): Promise<LogRecord[]> {
    const records: LogRecord[] = [];
    await this.#logs.scan(this.#log(log), seq, ms, (stored) => records.push({ seq: stored.seq, bytes: stored.bytes }));
    return records;
  }

  follow(log: string, listener: (log: string, record: LogRecord) => void): Subscription {
    const all = patternsOf(log).map((pattern) =>
      this.#logs.subscribe(`${this.#root}live.log.${pattern}`, ({ subject, seq, bytes }) =>
        listener(subject.slice(this.#logRoot.length), { seq, bytes }),
      ),
    );
    return {
      close: () => {
        for (const each of all) each.close();
      },
    };
  }

  // --- registers and leases ---------------------------------------------------------------------------------------------------------

  get(key: string, ms: number): Promise<Register | undefined> {
    return this.#registers.get(key, ms);
  }

  set(key: string, bytes: Uint8Array, revision: number, ms: number): Promise<number | undefined> {
    return this.#registers.set(key, bytes, revision, ms);
  }

  unset(key: string, revision: number, ms: number): Promise<boolean> {
    return this.#registers.unset(key, revision, ms);
  }

  keys(prefix: string, ms: number): Promise<Register[]> {
    return this.#registers.keys(prefix, ms);
  }

  watch(prefix: string, listener: (register: Register) => void): Subscription {
    return this.#registers.watch(prefix, listener);
  }

  lease(name: string, bytes: Uint8Array, ttl: number, ms: number): Promise<boolean> {
    return this.#leases.take(name, bytes, ttl, ms);
  }

  release(name: string, bytes: Uint8Array, ms: number): Promise<void> {
    return this.#leases.release(name, bytes, ms);
  }

  leases(prefix: string, ms: number): Promise<Register[]> {
    return this.#leases.list(prefix, ms);
  }

  watchLeases(prefix: string, listener: (lease: Register) => void): Subscription {
    return this.#leases.watch(prefix, listener);
  }

  // --- chunks -----------------------------------------------------------------------------------------------------------------------

  async putChunk(name: string, bytes: Uint8Array, ms: number): Promise<void> {
    const subject = this.#chunk(name);
    // Somebody may have dropped it since: the server is asked, which takes no bytes.
    if (this.#chunksKnown.has(name) && (await this.#chunks.holds(subject, ms))) return;
    await this.#chunks.put(subject, bytes, ms);
    if (this.#chunksKnown.size >= CHUNKS_KNOWN_MAX) this.#chunksKnown.clear();
    this.#chunksKnown.add(name);
  }

  async getChunk(name: string, ms: number): Promise<Uint8Array | undefined> {
    return this.#chunks.nearest(this.#chunk(name), ms);
  }

  async dropChunk(name: string, ms: number): Promise<void> {
    this.#chunksKnown.delete(name);
    await this.#chunks.purge(this.#chunk(name), ms);
  }

  async dropChunks(prefix: string, ms: number): Promise<void> {
    const below = `${prefix}.`;
    for (const name of this.#chunksKnown) if (name.startsWith(below)) this.#chunksKnown.delete(name);
    await this.#chunks.purge(`${this.#chunk(prefix)}.>`, ms);
  }

  onState(listener: (connected: boolean) => void): Subscription {
    return this.#wire.onState(listener);
  }

  close(): Promise<void> {
    return this.#wire.close();
  }

  #message(subject: string): string {
    return `${this.#root}msg.${checkName(subject, 'subject')}`;
  }

  #log(log: string): string {
    return this.#logRoot + checkName(log, 'log');
  }

  #chunk(name: string): string {
    return `${this.#root}chunk.${checkName(name, 'chunk')}`;
  }
}

function nobody(subject: string): TwzError {
  return new TwzError('Unreachable', `${subject}: nobody listens`, { subject });
}

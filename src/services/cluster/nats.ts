/**
 * The engine over NATS JetStream. This file has the client: one connection, its requests, their deadlines. What is asked of the servers is in
 * jetstream.ts.
 *
 * Requests have an inbox of their own and not the client's: an answer that is awaited ends with the connection, and costs no more than a timer.
 * The client keeps what cannot be sent for as long as it lasts; here nothing is handed to it while there is no connection, nor when the
 * server has not taken the last UNTAKEN_MAX bytes (it is stopped, or the network is slow): requests wait for that until their deadline.
 */
import { connect, createInbox, credsAuthenticator, errors, headers as makeHeaders, nkeyAuthenticator } from '@nats-io/transport-node';
import type { Authenticator, Msg, NatsConnection, Status } from '@nats-io/transport-node';
import { isTwzError, TwzError } from '../../abi/errors.ts';
import { clock, type Clock } from '../../host/clock.ts';
import type { Timer } from '../../host/host.ts';
import type { Engine, EngineOptions, Subscription } from './engine.ts';
import { openJetStream } from './jetstream.ts';
import { inboxOf } from './permissions.ts';
import { deadline, Requests, timedOut, type Line } from './requests.ts';
import { atLeast, OLDEST_SERVER, tooOld, type Delivery, type Header, type Reply, type Wire } from './wire.ts';

/** Connects, and makes the streams of the space where they are missing. Throws EngineLost, EngineTooOld, EngineRefused, KeyInvalid. */
export async function connectNats(options: EngineOptions): Promise<Engine> {
  if (!/^[a-z0-9_-]{1,64}$/.test(options.space))
    throw new TwzError('InvalidArgument', `space ${JSON.stringify(options.space)}: expected up to 64 of a-z, 0-9, _ and -`, {});
  if (options.servers.length === 0) throw new TwzError('InvalidArgument', 'no servers: expected at least one `nats://host:port`', {});
  const ms = options.timeout ?? CONNECT_MS;
  const end = clock.now() + ms;
  const wire = await NatsWire.connect(options, ms);
  try {
    return await openJetStream(wire, options, Math.max(1, end - clock.now()));
  } catch (error) {
    await wire.close();
    throw error;
  }
}

const CONNECT_MS = 10_000;
/** For one server to say what it is; also what a server costs that dies meanwhile. */
const DIAL_MS = 3_000;
/** A connection that nothing has come from for so long is lost; it is looked at so many times meanwhile, and asked. */
const SILENCE_MS = 10_000;
const LOOKS = 5;
/** The client's own pings are off: see #look. */
const NEVER_MS = 2 ** 31 - 1;
const RECONNECT_MS = 200;
const RECONNECT_JITTER_MS = 100;
/** After so many bytes the server is asked whether it has taken them. */
const MARK_EVERY = 1 << 20;
const UNTAKEN_MAX = 64 << 20;
const FLUSH_AT_CLOSE_MS = 1_000;

class Heard implements Delivery {
  readonly #message: Msg;
  readonly bytes: Uint8Array;

  constructor(message: Msg) {
    this.#message = message;
    // A Buffer, whose `slice` would not copy.
    const { buffer, byteOffset, length } = message.data;
    this.bytes = new Uint8Array(buffer, byteOffset, length);
  }

  get subject(): string {
    return this.#message.subject;
  }

  get answerTo(): string {
    return this.#message.reply ?? '';
  }

  get code(): number {
    return this.#message.headers?.code ?? 0;
  }

  header(name: string): string {
    return this.#message.headers?.last(name) ?? '';
  }
}

class NatsWire implements Wire, Line {
  readonly kind = 'nats';
  readonly clock: Clock = clock;
  readonly #client: NatsConnection;
  readonly #servers: string;
  readonly #inbox: string;
  readonly id: string;
  readonly #requests: Requests;
  readonly #listeners = new Set<(connected: boolean) => void>();
  #connected = true;
  /** What listeners were told last. */
  #told = true;
  #closed = false;
  /** Why calls fail while it is not connected, where that is known. */
  #refusal: TwzError | undefined;
  #version = '';
  #oldest = '';
  /** Bytes sent since the server was asked last, and those that it has not said to have taken. */
  #unmarked = 0;
  #untaken = 0;
  readonly #lookMs: number;
  #looking: Timer;
  /** Looks since something came. */
  #silent = 0;
  #heard = 0;
  #asked = false;

  private constructor(client: NatsConnection, servers: string, { space, silence = SILENCE_MS }: EngineOptions) {
    this.#client = client;
    this.#servers = servers;
    const inbox = createInbox(inboxOf(space));
    this.#inbox = `${inbox}.`;
    this.id = inbox.slice(inbox.lastIndexOf('.') + 1);
    this.#requests = new Requests(this, this.#inbox);
    client.subscribe(`${this.#inbox}*`, {
      // What it may not listen to is told of by the connection, too.
      callback: (error, message) => {
        if (error === null) this.#answered(message);
      },
    });
    this.#lookMs = silence / LOOKS;
    this.#looking = clock.timer(this.#lookMs, () => this.#look());
    void this.#attend(client.status());
  }

  static async connect(options: EngineOptions, ms: number): Promise<NatsWire> {
    const servers = options.servers.join(', ');
    const met = { again: (): void => undefined };
    const keys = keysOf(options);
    const authenticator: Authenticator = (nonce) => {
      // It is called when the server has said what it is, and nothing was sent to it yet.
      met.again();
      return keys(nonce);
    };
    const connecting = connect({
      servers: [...options.servers],
      authenticator,
      name: options.name ?? `twizzler ${options.space}`,
      timeout: Math.min(ms, DIAL_MS),
      pingInterval: NEVER_MS,
      maxReconnectAttempts: -1,
      reconnectTimeWait: RECONNECT_MS,
      reconnectJitter: RECONNECT_JITTER_MS,
      ignoreAuthErrorAbort: true,
      noAsyncTraces: true,
    });
    const client = await within(connecting, ms, servers);
    const wire = new NatsWire(client, servers, options);
    wire.#meets();
    met.again = () => wire.#meets();
    const { info } = client;
    const refusal =
      wire.#refusal ??
      (info?.jetstream === true
        ? undefined
        : new TwzError('EngineRefused', `the server at ${client.getServer()} runs without JetStream`, { server: client.getServer() }));
    if (refusal !== undefined) {
      await wire.close();
      throw refusal;
    }
    return wire;
  }

  get connected(): boolean {
    return this.#connected && this.#refusal === undefined && !this.#closed;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get version(): string {
    return this.#version;
  }

  get oldest(): string {
    return this.#oldest;
  }

  get maxPayload(): number {
    return this.#client.info?.max_payload ?? 1 << 20;
  }

  publish(subject: string, bytes: Uint8Array, headers?: readonly Header[], answerTo?: string): void {
    if (!this.connected) throw this.lost();
    if (this.#untaken >= UNTAKEN_MAX)
      throw new TwzError('EngineLost', `the server takes nothing: ${this.#untaken} bytes are on their way`, { bytes: this.#untaken });
    this.send(subject, bytes, headers, answerTo);
  }

  request(subject: string, bytes: Uint8Array, ms: number, headers?: readonly Header[]): Promise<Reply> {
    return this.#requests.request(subject, bytes, ms, headers);
  }

  requestMany(subject: string, bytes: Uint8Array, ms: number, take: (reply: Reply) => boolean): Promise<void> {
    return this.#requests.requestMany(subject, bytes, ms, take);
  }

  ready(ms: number): Promise<number> {
    return this.#requests.ready(ms);
  }

  subscribe(subject: string, listener: (delivery: Delivery) => void, queue?: string): Subscription {
    if (this.#closed) throw this.lost();
    const subscription = this.#client.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error, message) => {
        if (error === null && !subscription.isClosed()) this.#safely(() => listener(new Heard(message)));
      },
    });
    return { close: () => subscription.unsubscribe() };
  }

  async flush(ms: number): Promise<void> {
    const left = await this.ready(ms);
    await new Promise<void>((resolve, reject) => {
      const timer = deadline(clock, left, () => reject(timedOut('flush')));
      this.#client
        .flush()
        .then(resolve, () => reject(this.lost()))
        .finally(() => timer.cancel());
    });
  }

  onState(listener: (connected: boolean) => void): Subscription {
    this.#listeners.add(listener);
    return { close: () => void this.#listeners.delete(listener) };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    // What was published goes out first.
    if (this.connected)
      await this.flush(FLUSH_AT_CLOSE_MS).catch((error: unknown) => {
        if (!isTwzError(error)) throw error;
      });
    this.#closed = true;
    this.#failAll(new TwzError('EngineLost', 'the connection to the engine was closed', {}));
    this.#listeners.clear();
    this.#looking.cancel();
    await this.#client.close();
  }

  // --- the connection ---------------------------------------------------------------------------------------------------------------

  /** Notes what the server is; one that is too old gets nothing, and the next one is tried. */
  #meets(): void {
    const version = this.#client.info?.version ?? '';
    this.#version = version;
    if (this.#oldest === '' || !atLeast(version, this.#oldest)) this.#oldest = version;
    this.#refusal = atLeast(version, OLDEST_SERVER) ? undefined : tooOld(version, this.#client.getServer());
    if (this.#refusal !== undefined) this.#failAll(this.#refusal);
  }

  async #attend(changes: AsyncIterable<Status>): Promise<void> {
    for await (const status of changes) {
      if (status.type === 'disconnect') this.#changed(false);
      else if (status.type === 'reconnect') this.#changed(true);
      else if (status.type === 'error') this.#refused(status.error);
      else if (status.type === 'close') this.#changed(false);
    }
  }

  #changed(connected: boolean): void {
    this.#connected = connected;
    if (!connected) {
      this.#unmarked = 0;
      this.#untaken = 0;
      this.#failAll(this.#noConnection());
    } else if (this.#refusal === undefined) this.#requests.wake();
    // The next server is tried.
    else this.#drop();
    if (this.#told === this.connected) return;
    this.#told = this.connected;
    for (const listener of this.#listeners) this.#safely(() => listener(this.connected));
  }

  /**
   * Is the connection alive? Whatever comes says so: an answer to a ping may be a long way behind what was asked for over a slow link, which the
   * client's own pings take for a loss. A thread that was busy for long looks once, not as often as it has missed.
   */
  #look(): void {
    this.#looking = clock.timer(this.#lookMs, () => this.#look());
    const { inMsgs } = this.#client.stats();
    if (!this.#connected || inMsgs !== this.#heard) this.#silent = 0;
    else if (++this.#silent > LOOKS) this.#drop();
    this.#heard = inMsgs;
    if (!this.#connected || this.#asked) return;
    this.#asked = true;
    this.#client.flush().then(
      () => {
        this.#silent = 0;
        this.#asked = false;
      },
      () => (this.#asked = false),
    );
  }

  /** Breaks the connection off. The client by itself waits before that until what it has sent is taken, which may be never. */
  #drop(): void {
    this.#silent = 0;
    const { protocol } = this.#client as NatsConnection & { readonly protocol?: { readonly transport?: { readonly socket?: object } } };
    const socket = protocol?.transport?.socket;
    if (socket !== undefined && 'destroy' in socket && typeof socket.destroy === 'function') socket.destroy();
    else
      this.#client.reconnect().catch((error: unknown) => {
        if (!this.#closed) throw error;
      });
  }

  #refused(error: Error): void {
    if (error instanceof errors.PermissionViolationError) {
      const refusal = new TwzError('EngineRefused', error.message, { subject: error.subject }, error);
      if (error.subject.startsWith(this.#inbox)) {
        // Nothing can be answered.
        this.#refusal = refusal;
        this.#failAll(refusal);
      } else if (error.operation === 'publish') this.#requests.fail(refusal, error.subject);
    } else if (error instanceof errors.AuthorizationError || error instanceof errors.UserAuthenticationExpiredError)
      this.#refusal = new TwzError('EngineRefused', error.message, { servers: this.#servers }, error);
  }

  #noConnection(): TwzError {
    return new TwzError('EngineLost', `no connection to ${this.#servers}`, { servers: this.#servers });
  }

  /** For what was not sent. */
  lost(): TwzError {
    return this.#refusal ?? this.#noConnection();
  }

  // --- what is sent -----------------------------------------------------------------------------------------------------------------

  get open(): boolean {
    return this.connected && this.#untaken < UNTAKEN_MAX;
  }

  get hopeless(): boolean {
    return this.#closed || this.#refusal !== undefined;
  }

  #answered(message: Msg): void {
    this.#safely(() => this.#requests.answer(message.subject.slice(this.#inbox.length), new Heard(message)));
  }

  #failAll(error: TwzError): void {
    this.#requests.fail(error);
    if (this.hopeless) this.#requests.wake();
  }

  send(subject: string, bytes: Uint8Array, headers: readonly Header[] | undefined, answerTo: string | undefined): void {
    if (bytes.length > this.maxPayload)
      throw new TwzError('MessageTooLarge', `a message of ${bytes.length} bytes; the server takes ${this.maxPayload}`, {
        length: bytes.length,
        most: this.maxPayload,
      });
    if (headers === undefined) this.#client.publish(subject, bytes, answerTo === undefined ? undefined : { reply: answerTo });
    else {
      const made = makeHeaders();
      for (const [name, value] of headers) made.append(name, value);
      this.#client.publish(subject, bytes, answerTo === undefined ? { headers: made } : { headers: made, reply: answerTo });
    }
    this.#untaken += bytes.length;
    this.#unmarked += bytes.length;
    if (this.#unmarked >= MARK_EVERY) this.#mark();
  }

  #mark(): void {
    const bytes = this.#unmarked;
    this.#unmarked = 0;
    const taken = (): void => {
      this.#untaken = Math.max(0, this.#untaken - bytes);
      this.#silent = 0;
      if (this.open) this.#requests.wake();
    };
    // Refused when the connection is lost: nothing is on its way then.
    this.#client.flush().then(taken, () => undefined);
  }

  /** An error of a listener is the program's, and must not end the reading of the connection. */
  #safely(call: () => void): void {
    try {
      call();
    } catch (error) {
      clock.soon(() => {
        throw error;
      });
    }
  }
}

function keysOf({ seed, credentials }: EngineOptions): Authenticator {
  if (seed !== undefined && credentials !== undefined)
    throw new TwzError('InvalidArgument', 'a seed and credentials: expected one of them', {});
  const encoder = new TextEncoder();
  const keys =
    seed !== undefined
      ? nkeyAuthenticator(encoder.encode(seed.trim()))
      : credentials !== undefined
        ? credsAuthenticator(encoder.encode(credentials))
        : (): undefined => undefined;
  try {
    keys('');
  } catch (cause) {
    throw new TwzError('KeyInvalid', `${seed === undefined ? 'the credentials have' : 'the seed is'} no NKey that can sign`, {}, cause);
  }
  return keys;
}

async function within(connecting: Promise<NatsConnection>, ms: number, servers: string): Promise<NatsConnection> {
  let late = false;
  let timer: Timer | undefined;
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = deadline(clock, ms, () => {
      late = true;
      reject(new TwzError('EngineLost', `no answer from ${servers} within ${ms} ms`, { servers }));
    });
  });
  connecting.then(
    (client) => (late ? client.close() : undefined),
    () => undefined,
  );
  try {
    return await Promise.race([connecting, tooLate]);
  } catch (error) {
    if (isTwzError(error)) throw error;
    const message = error instanceof Error ? error.message : String(error);
    const refused =
      error instanceof errors.AuthorizationError ||
      error instanceof errors.UserAuthenticationExpiredError ||
      error instanceof errors.PermissionViolationError;
    throw new TwzError(refused ? 'EngineRefused' : 'EngineLost', `${servers}: ${message}`, { servers }, error);
  } finally {
    timer?.cancel();
  }
}

/** A stream of JetStream: appended to by compare-and-set, read from the replica that decides, or in batches from the nearest. */
import { isTwzError, TwzError } from '../../abi/errors.ts';
import type { Clock } from '../../host/clock.ts';
import { timedOut } from './requests.ts';
import type { Appended, Subscription } from './engine.ts';
import { atLeast, HEADERS_MAX, SERVER_WITH_TTL, type Delivery, type Header, type Reply, type Wire } from './wire.ts';

/** What a stream is made with; names are JetStream's. */
export interface StreamConfig {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly storage: 'file' | 'memory';
  readonly num_replicas: number;
  readonly [setting: string]: unknown;
}

export interface Stored {
  readonly subject: string;
  readonly seq: number;
  readonly bytes: Uint8Array;
  header(name: string): string;
}

interface ApiError {
  readonly code?: number;
  readonly err_code?: number;
  readonly description?: string;
}

interface ApiReply {
  readonly error?: ApiError;
  readonly config?: { readonly num_replicas?: number; readonly [setting: string]: unknown };
  readonly state?: { readonly subjects?: Readonly<Record<string, number>> };
  readonly message?: {
    readonly subject: string;
    readonly seq: number;
    readonly hdrs?: string;
    readonly data?: string;
    readonly time: string;
  };
  /** Of an acknowledgement. */
  readonly seq?: number;
  readonly duplicate?: boolean;
  /** The server's time. */
  readonly ts?: string;
}

/** Codes of JetStream's errors. */
const UNAVAILABLE = 10008;
const NO_MESSAGE = 10037;
const NO_STREAM = 10059;
const WRONG_LAST: ReadonlySet<number | undefined> = new Set([10071, 10164]);
const SUBJECT_FULL = 10077;
/** A batch of which not all has come, or that is not known: nothing of it was stored. */
const BATCH_BROKEN: ReadonlySet<number | undefined> = new Set([10175, 10176, 10180]);

const NO_RESPONDERS = 503;
const NOT_FOUND = 404;
const END_OF_BATCH = 204;
/** Not one of theirs. */
const INCOMPLETE = -1;
const BATCH = 512;
const BATCH_BYTES = 8 << 20;
const PAUSE_MS = 25;
/** A server that has no leader to ask does not answer. */
const ATTEMPT_MS = 2_000;
const NO_BYTES = new Uint8Array(0);
const EXPECTED = 'Nats-Expected-Last-Subject-Sequence';

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** A point in time by which all steps of a call must be done. */
export class Deadline {
  readonly #clock: Clock;
  readonly #end: number;
  readonly #what: string;

  constructor(clock: Clock, ms: number, what: string) {
    this.#clock = clock;
    this.#end = clock.now() + ms;
    this.#what = what;
  }

  /** Milliseconds, more than 0. Throws TimedOut where there are none. */
  left(): number {
    const left = this.#end - this.#clock.now();
    if (left <= 0) throw timedOut(this.#what);
    return left;
  }

  get over(): boolean {
    return this.#clock.now() >= this.#end;
  }

  /** Waits before it is tried again. */
  async pause(): Promise<void> {
    const ms = Math.min(PAUSE_MS, this.left());
    await new Promise<void>((resolve) => this.#clock.timer(ms, resolve));
  }
}

export class Stream {
  readonly name: string;
  readonly #wire: Wire;
  #replicas = 1;
  #config: ApiReply['config'];

  constructor(wire: Wire, name: string) {
    this.#wire = wire;
    this.name = name;
  }

  get replicas(): number {
    return this.#replicas;
  }

  /** Has it that setting? */
  has(setting: string): boolean {
    return this.#config?.[setting] === true;
  }

  /** Makes it where it is missing, and gives it what it lacks of `features`: settings that are true. */
  async open(config: StreamConfig, features: readonly string[], ms: number): Promise<void> {
    const deadline = this.#deadline(ms, this.name);
    let reply = await this.#api('STREAM.INFO', undefined, deadline);
    if (reply.error?.err_code === NO_STREAM) reply = await this.#api('STREAM.CREATE', config, deadline);
    const lacking = features.filter((setting) => reply.config?.[setting] !== true);
    if (reply.config !== undefined && lacking.length > 0)
      reply = await this.#api('STREAM.UPDATE', { ...reply.config, ...Object.fromEntries(lacking.map((name) => [name, true])) }, deadline);
    if (reply.config === undefined) throw refused(`stream ${this.name}`, reply.error);
    this.#config = reply.config;
    this.#replicas = reply.config.num_replicas ?? 1;
  }

  /** Appends where the last message of the subject has that sequence. Never throws for what may have happened. */
  append(subject: string, bytes: Uint8Array, expected: number, ms: number, headers: readonly Header[] = []): Promise<Appended> {
    return this.#store(subject, bytes, expected, ms, [[EXPECTED, String(expected)], ...headers]);
  }

  /** Stores where the subject has nothing: false where it has. */
  async put(subject: string, bytes: Uint8Array, ms: number): Promise<boolean> {
    this.#checkSize(bytes);
    const deadline = this.#deadline(ms, subject);
    for (;;) {
      const reply = await this.#again(deadline, (left) => this.#wire.request(subject, bytes, left));
      if (!nobody(reply)) {
        const { error } = parse(reply);
        if (error === undefined) return true;
        if (error.err_code === SUBJECT_FULL) return false;
        if (error.err_code !== UNAVAILABLE) throw refused(subject, error);
      }
      await deadline.pause();
    }
  }

  async #store(subject: string, bytes: Uint8Array, expected: number, ms: number, headers: readonly Header[]): Promise<Appended> {
    this.#checkSize(bytes);
    const deadline = this.#deadline(ms, subject);
    let maybe = false;
    for (;;) {
      try {
        const reply = await this.#wire.request(subject, bytes, deadline.left(), headers);
        if (!nobody(reply)) {
          const { error, seq = 0, duplicate = false } = parse(reply);
          if (error === undefined) return seq > expected && !duplicate ? { kind: 'done', seq } : { kind: 'unknown' };
          if (WRONG_LAST.has(error.err_code)) return { kind: maybe ? 'unknown' : 'refused' };
          if (error.err_code !== UNAVAILABLE) throw refused(subject, error);
          maybe = true;
        }
        // A leader is being elected, or the server has only begun.
        await deadline.pause();
      } catch (error) {
        if (isTwzError(error, 'TimedOut') || isTwzError(error, 'EngineLost')) return { kind: 'unknown' };
        throw error;
      }
    }
  }

  /** Appends to several subjects, all or none. `seq` is that of the last. */
  async appendAll(
    appends: readonly {
      readonly subject: string;
      readonly bytes: Uint8Array;
      readonly expected: number;
      readonly headers?: readonly Header[];
    }[],
    batch: string,
    ms: number,
  ): Promise<Appended> {
    for (const { bytes } of appends) this.#checkSize(bytes);
    const last = appends.length - 1;
    try {
      const left = await this.#wire.ready(ms);
      let answer: Promise<Reply> | undefined;
      for (const [i, { subject, bytes, expected, headers: more = [] }] of appends.entries()) {
        const headers: Header[] = [[EXPECTED, String(expected)], ...more, ['Nats-Batch-Id', batch], ['Nats-Batch-Sequence', String(i + 1)]];
        if (i < last) this.#wire.publish(subject, bytes, headers);
        else answer = this.#wire.request(subject, bytes, left, [...headers, ['Nats-Batch-Commit', '1']]);
      }
      if (answer === undefined) throw new TwzError('InvalidArgument', 'nothing to append', {});
      const reply = await answer;
      if (nobody(reply)) return { kind: 'unknown' };
      const { error, seq = 0 } = parse(reply);
      if (error === undefined) return seq > (appends[last]?.expected ?? 0) ? { kind: 'done', seq } : { kind: 'unknown' };
      if (WRONG_LAST.has(error.err_code)) return { kind: 'refused' };
      if (error.err_code === UNAVAILABLE || BATCH_BROKEN.has(error.err_code)) return { kind: 'unknown' };
      throw refused('append to several logs', error);
    } catch (error) {
      if (isTwzError(error, 'TimedOut') || isTwzError(error, 'EngineLost')) return { kind: 'unknown' };
      throw error;
    }
  }

  /** The last message of a subject, from the replica that decides. */
  last(subject: string, ms: number): Promise<Stored | undefined> {
    return this.#get({ last_by_subj: subject }, this.#deadline(ms, subject));
  }

  /** The last message of a subject, from any replica. */
  async nearest(subject: string, ms: number): Promise<Uint8Array | undefined> {
    const deadline = this.#deadline(ms, subject);
    const reply = await this.#ask(`DIRECT.GET.${this.name}.${subject}`, NO_BYTES, deadline);
    if (reply.code === 0) return reply.bytes;
    if (reply.code !== NOT_FOUND) throw refused(subject, { description: `status ${reply.code}` });
    return this.#replicas === 1 ? undefined : (await this.last(subject, deadline.left()))?.bytes;
  }

  /** Every message from `seq` on whose subject matches, up to what is there now. */
  async scan(filter: string, seq: number, ms: number, take: (stored: Stored) => void): Promise<void> {
    const deadline = this.#deadline(ms, filter);
    let next = Math.max(1, seq);
    const batches = atLeast(this.#wire.oldest, SERVER_WITH_TTL);
    for (;;) {
      if (batches) next = await this.#scanNearest(filter, next, deadline, take);
      if (batches && this.#replicas === 1) return;
      // What the replica that decides has beyond that.
      const stored = await this.#get({ seq: next, next_by_subj: filter }, deadline);
      if (stored === undefined) return;
      take(stored);
      next = stored.seq + 1;
    }
  }

  async #scanNearest(filter: string, seq: number, deadline: Deadline, take: (stored: Stored) => void): Promise<number> {
    let next = seq;
    for (;;) {
      const body = encode({ seq: next, next_by_subj: filter, batch: BATCH, max_bytes: BATCH_BYTES });
      let code = 0;
      let pending = 0;
      let before = 0;
      await this.#again(deadline, (ms) =>
        this.#wire.requestMany(`$JS.API.DIRECT.GET.${this.name}`, body, ms, (reply) => {
          // Each says which came before it in the batch: where one is missing, it goes on from there.
          const whole = reply.code === NOT_FOUND || reply.code === NO_RESPONDERS || Number(reply.header('Nats-Last-Sequence')) === before;
          code = whole ? reply.code : INCOMPLETE;
          if (code === 0) {
            before = Number(reply.header('Nats-Sequence'));
            take({ subject: reply.header('Nats-Subject'), seq: before, bytes: reply.bytes, header: (name) => reply.header(name) });
            next = before + 1;
          } else if (code === END_OF_BATCH) pending = Number(reply.header('Nats-Num-Pending'));
          return code !== 0;
        }),
      );
      if (code === NOT_FOUND || (code === END_OF_BATCH && pending === 0)) return next;
      if (code === NO_RESPONDERS) await deadline.pause();
      else if (code !== END_OF_BATCH && code !== INCOMPLETE) throw refused(filter, { description: `status ${code}` });
    }
  }

  /** Is there a message of that subject? */
  async holds(subject: string, ms: number): Promise<boolean> {
    const reply = await this.#api('STREAM.INFO', { subjects_filter: subject }, this.#deadline(ms, subject));
    if (reply.error !== undefined) throw refused(subject, reply.error);
    return (reply.state?.subjects?.[subject] ?? 0) > 0;
  }

  /** Drops all messages of a subject but the last `keep`. */
  async purge(subject: string, ms: number, keep = 0): Promise<void> {
    const which = { filter: subject, ...(keep > 0 ? { keep } : {}) };
    const reply = await this.#api('STREAM.PURGE', which, this.#deadline(ms, subject));
    if (reply.error !== undefined) throw refused(subject, reply.error);
  }

  /** How old a message is, by the clock of the replica that decides. */
  async age(stored: Stored, ms: number): Promise<number> {
    const reply = await this.#api('STREAM.INFO', undefined, this.#deadline(ms, stored.subject));
    return Date.parse(reply.ts ?? '') - Date.parse(stored.header(TIME));
  }

  /** What is republished of it, under `live`: the stream's own headers say what it was. */
  subscribe(live: string, listener: (stored: Stored) => void): Subscription {
    return this.#wire.subscribe(live, (delivery: Delivery) => {
      const seq = Number(delivery.header('Nats-Sequence'));
      if (seq > 0)
        listener({ subject: delivery.header('Nats-Subject'), seq, bytes: delivery.bytes, header: (name) => delivery.header(name) });
    });
  }

  /** Why it is not known what became of a call. */
  lost(what: string): TwzError {
    return this.#wire.connected ? timedOut(what) : new TwzError('EngineLost', `${what}: the connection was lost`, { what });
  }

  #deadline(ms: number, what: string): Deadline {
    return new Deadline(this.#wire.clock, ms, what);
  }

  #checkSize(bytes: Uint8Array): void {
    const most = this.#wire.maxPayload - HEADERS_MAX;
    if (bytes.length > most)
      throw new TwzError('MessageTooLarge', `a record of ${bytes.length} bytes; the engine takes ${most}`, { length: bytes.length, most });
  }

  async #get(which: object, deadline: Deadline): Promise<Stored | undefined> {
    const { message, error } = await this.#api('STREAM.MSG.GET', which, deadline);
    if (error?.err_code === NO_MESSAGE) return undefined;
    if (message === undefined) throw refused(`stream ${this.name}`, error);
    const { subject, seq, hdrs, data = '', time } = message;
    return {
      subject,
      seq,
      bytes: fromBase64(data),
      header: (name) => (name === TIME ? time : hdrs === undefined ? '' : headerIn(Buffer.from(hdrs, 'base64').toString('latin1'), name)),
    };
  }

  async #api(call: string, body: object | undefined, deadline: Deadline): Promise<ApiReply> {
    const bytes = body === undefined ? NO_BYTES : encode(body);
    for (;;) {
      const reply = parse(await this.#ask(`${call}.${this.name}`, bytes, deadline));
      if (reply.error?.err_code !== UNAVAILABLE) return reply;
      await deadline.pause();
    }
  }

  /** What changes nothing, or the same if it is done twice, is asked again while nobody answers for the stream: a leader is being elected. */
  async #ask(call: string, bytes: Uint8Array, deadline: Deadline): Promise<Reply> {
    for (;;) {
      const reply = await this.#again(deadline, (ms) => this.#wire.request(`$JS.API.${call}`, bytes, ms));
      if (!nobody(reply)) return reply;
      await deadline.pause();
    }
  }

  /** Attempts that get no answer, or lose their connection, are made again up to the deadline; each has more time, since the link may be slow. */
  async #again<T>(deadline: Deadline, attempt: (ms: number) => Promise<T>): Promise<T> {
    for (let ms = ATTEMPT_MS; ; ms *= 2) {
      try {
        return await attempt(Math.min(ms, deadline.left()));
      } catch (error) {
        const passing = isTwzError(error, 'TimedOut') || isTwzError(error, 'EngineLost');
        if (!passing || this.#wire.closed || deadline.over) throw error;
      }
    }
  }
}

/** Small ones come from a pool, which is not to be kept for them. */
function fromBase64(text: string): Uint8Array {
  const { buffer, byteOffset, length } = Buffer.from(text, 'base64');
  return length < buffer.byteLength ? new Uint8Array(buffer.slice(byteOffset, byteOffset + length)) : new Uint8Array(buffer);
}

/** Of a message that was got, not of one that was heard. */
const TIME = 'Nats-Time-Stamp';

const nobody = (reply: Reply): boolean => reply.code === NO_RESPONDERS && reply.bytes.length === 0;

function parse(reply: Reply): ApiReply {
  try {
    return JSON.parse(Buffer.from(reply.bytes.buffer, reply.bytes.byteOffset, reply.bytes.byteLength).toString('utf8')) as ApiReply;
  } catch (cause) {
    throw new TwzError('EngineRefused', 'the server answered with what is no JSON', { length: reply.bytes.length }, cause);
  }
}

function refused(what: string, error: ApiError | undefined): TwzError {
  return new TwzError('EngineRefused', `${what}: ${error?.description ?? 'no reason given'}`, {
    what,
    code: error?.code ?? 0,
    error: error?.err_code ?? 0,
  });
}

function headerIn(text: string, name: string): string {
  for (const line of text.split('\r\n')) {
    if (line.startsWith(`${name}:`)) return line.slice(name.length + 1).trim();
  }
  return '';
}

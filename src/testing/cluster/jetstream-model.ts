/**
 * A model of a server with JetStream, in memory: what the engine of many machines uses of it, and nothing else. It does at once what it
 * is asked; when that is, and what of it is lost, is the network's (network.ts). What was stored outlives `kill`.
 */
import type { Timer } from '../../host/host.ts';
import type { Clock } from '../../host/clock.ts';
import { textOfTime } from '../../host/node-values.ts';
import type { Header } from '../../services/cluster/wire.ts';

export interface Packet {
  readonly subject: string;
  readonly bytes: Uint8Array;
  readonly headers: readonly Header[];
  /** Status in the headers, 0: none. */
  readonly code: number;
  readonly answerTo: string;
}

export interface ModelOptions {
  readonly version: string;
  readonly maxPayload: number;
}

/** Sends a packet to whoever listens to its subject. */
type Route = (packet: Packet) => void;

interface Kept {
  readonly seq: number;
  readonly subject: string;
  readonly bytes: Uint8Array;
  readonly headers: readonly Header[];
  readonly time: number;
  /** When it goes. */
  readonly due: number;
}

interface Config {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly num_replicas?: number;
  readonly max_msgs_per_subject?: number;
  readonly discard_new_per_subject?: boolean;
  readonly allow_msg_ttl?: boolean;
  readonly allow_atomic?: boolean;
  readonly subject_delete_marker_ttl?: number;
  readonly republish?: { readonly src: string; readonly dest: string };
}

interface Query {
  readonly last_by_subj?: string;
  readonly seq?: number;
  readonly next_by_subj?: string;
  readonly batch?: number;
  readonly max_bytes?: number;
  readonly filter?: string;
  readonly keep?: number;
  readonly subjects_filter?: string;
}

const EXPECTED = 'Nats-Expected-Last-Subject-Sequence';
const WRONG_LAST = 10071;
const SUBJECT_FULL = 10077;
const NO_STREAM = 10059;
const NO_MESSAGE = 10037;
const BATCH_INCOMPLETE = 10176;
const NO_RESPONDERS = 503;
const NS_PER_SECOND = 1e9;
const NO_BYTES = new Uint8Array(0);

const headerOf = (headers: readonly Header[], name: string): string => headers.find(([each]) => each === name)?.[1] ?? '';
const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const failure = (code: number, err_code: number, description: string): object => ({ error: { code, err_code, description } });
const wrongLast = (last: number): object => failure(400, WRONG_LAST, `wrong last sequence: ${last}`);

/** Does a subject match `a.b`, `a.>` or `>`? */
export function matches(pattern: string, subject: string): boolean {
  if (pattern === '>') return true;
  return pattern.endsWith('.>') ? subject.startsWith(pattern.slice(0, -1)) : subject === pattern;
}

interface Batch {
  readonly packets: Packet[];
  broken: boolean;
}

class ModelStream {
  config: Config;
  readonly #clock: Clock;
  readonly #messages = new Map<number, Kept>();
  readonly #bySubject = new Map<string, Set<number>>();
  readonly #ends = new Map<number, Timer>();
  readonly #batches = new Map<string, Batch>();
  #last = 0;

  constructor(clock: Clock, config: Config) {
    this.#clock = clock;
    this.config = config;
  }

  lastOf(subject: string): number {
    let last = 0;
    for (const seq of this.#bySubject.get(subject) ?? []) last = seq;
    return last;
  }

  get(seq: number): Kept | undefined {
    return this.#messages.get(seq);
  }

  *from(seq: number, filter: string): Generator<Kept, undefined> {
    for (const kept of this.#messages.values()) if (kept.seq >= seq && matches(filter, kept.subject)) yield kept;
    return undefined;
  }

  /** What is answered, undefined for a message of a batch that is not its last. */
  receive(packet: Packet, route: Route): object | undefined {
    const batch = headerOf(packet.headers, 'Nats-Batch-Id');
    if (batch !== '' && this.config.allow_atomic === true) return this.#batched(batch, packet, route);
    const problem = this.#problem(packet);
    return problem ?? { stream: this.config.name, seq: this.#store(packet, route) };
  }

  purge(filter: string, keep = 0): void {
    const all = [...this.from(1, filter)];
    for (const { seq } of all.slice(0, Math.max(0, all.length - keep))) this.#remove(seq);
  }

  /** The server ended: what is half sent is gone, and no time passes for it. */
  halt(): void {
    this.#batches.clear();
    for (const end of this.#ends.values()) end.cancel();
    this.#ends.clear();
  }

  /** It runs again. */
  resume(route: Route): void {
    for (const kept of [...this.#messages.values()]) if (kept.due < Infinity) this.#arm(kept, route);
  }

  #batched(id: string, packet: Packet, route: Route): object | undefined {
    const batch = this.#batches.get(id) ?? { packets: [], broken: false };
    this.#batches.set(id, batch);
    batch.packets.push(packet);
    if (Number(headerOf(packet.headers, 'Nats-Batch-Sequence')) !== batch.packets.length) batch.broken = true;
    if (headerOf(packet.headers, 'Nats-Batch-Commit') === '') return undefined;
    this.#batches.delete(id);
    if (batch.broken) return failure(400, BATCH_INCOMPLETE, 'atomic publish batch is incomplete');
    for (const each of batch.packets) {
      const problem = this.#problem(each);
      if (problem !== undefined) return problem;
    }
    let seq = 0;
    for (const each of batch.packets) seq = this.#store(each, route);
    return { stream: this.config.name, seq, batch: id, count: batch.packets.length };
  }

  #problem({ subject, headers }: Packet): object | undefined {
    const last = this.lastOf(subject);
    const expected = headerOf(headers, EXPECTED);
    if (expected !== '' && Number(expected) !== last) return wrongLast(last);
    if (
      this.config.discard_new_per_subject === true &&
      (this.#bySubject.get(subject)?.size ?? 0) >= (this.config.max_msgs_per_subject ?? Infinity)
    )
      return failure(400, SUBJECT_FULL, 'maximum messages per subject exceeded');
    return undefined;
  }

  #store({ subject, bytes, headers }: Packet, route: Route): number {
    const last = this.lastOf(subject);
    const seq = ++this.#last;
    const before = this.#bySubject.get(subject) ?? new Set();
    const most = headerOf(headers, 'Nats-Rollup') === 'sub' ? 1 : (this.config.max_msgs_per_subject ?? -1);
    this.#bySubject.set(subject, before.add(seq));
    for (const each of before) if (most > 0 && before.size > most) this.#remove(each);
    const ttl = this.config.allow_msg_ttl === true ? headerOf(headers, 'Nats-TTL') : '';
    const time = this.#clock.now();
    const kept = { seq, subject, bytes: bytes.slice(), headers, time, due: ttl === '' ? Infinity : time + Number.parseInt(ttl, 10) * 1000 };
    this.#messages.set(seq, kept);
    if (kept.due < Infinity) this.#arm(kept, route);
    const { republish, name } = this.config;
    if (republish !== undefined) {
      const origin: Header[] = [
        ['Nats-Stream', name],
        ['Nats-Subject', subject],
        ['Nats-Sequence', String(seq)],
        ['Nats-Last-Sequence', String(last)],
      ];
      const to = republish.dest.slice(0, -1) + subject.slice(republish.src.length - 1);
      route({ subject: to, bytes: kept.bytes, headers: [...headers, ...origin], code: 0, answerTo: '' });
    }
    return seq;
  }

  #arm(kept: Kept, route: Route): void {
    const end = (): void => {
      this.#remove(kept.seq);
      const ttl = this.config.subject_delete_marker_ttl ?? 0;
      const headers: Header[] = [
        ['Nats-Marker-Reason', 'MaxAge'],
        ['Nats-TTL', `${ttl / NS_PER_SECOND}s`],
      ];
      const marked = headerOf(kept.headers, 'Nats-Marker-Reason') !== '';
      if (ttl > 0 && !marked) this.#store({ subject: kept.subject, bytes: NO_BYTES, headers, code: 0, answerTo: '' }, route);
    };
    this.#ends.set(kept.seq, this.#clock.timer(Math.max(0, kept.due - this.#clock.now()), end));
  }

  #remove(seq: number): void {
    const kept = this.#messages.get(seq);
    if (kept !== undefined) {
      const all = this.#bySubject.get(kept.subject);
      all?.delete(seq);
      if (all?.size === 0) this.#bySubject.delete(kept.subject);
    }
    this.#messages.delete(seq);
    this.#ends.get(seq)?.cancel();
    this.#ends.delete(seq);
  }
}

export class JetStreamModel {
  readonly options: ModelOptions;
  readonly #clock: Clock;
  readonly #streams = new Map<string, ModelStream>();

  constructor(clock: Clock, options: ModelOptions) {
    this.#clock = clock;
    this.options = options;
  }

  /** What a client has sent. `route` gives it to subscribers and says whether there were any. */
  receive(packet: Packet, route: (packet: Packet) => boolean): void {
    const answer = (bytes: Uint8Array, headers: readonly Header[] = [], code = 0): void => {
      if (packet.answerTo !== '') route({ subject: packet.answerTo, bytes, headers, code, answerTo: '' });
    };
    if (packet.subject.startsWith('$JS.API.')) {
      this.#api(packet, answer);
      return;
    }
    const heard = route(packet);
    const stream = [...this.#streams.values()].find(({ config }) => config.subjects.some((pattern) => matches(pattern, packet.subject)));
    if (stream !== undefined) {
      const stored = stream.receive(packet, route);
      if (stored !== undefined) answer(json(stored));
    } else if (!heard) answer(NO_BYTES, [], NO_RESPONDERS);
  }

  kill(): void {
    for (const stream of this.#streams.values()) stream.halt();
  }

  start(route: Route): void {
    for (const stream of this.#streams.values()) stream.resume(route);
  }

  #api({ subject, bytes }: Packet, answer: (bytes: Uint8Array, headers?: readonly Header[], code?: number) => void): void {
    const [, call = '', name = '', rest = ''] =
      /^\$JS\.API\.(STREAM\.MSG\.GET|STREAM\.[A-Z]+|DIRECT\.GET)\.([^.]+)(?:\.(.+))?$/.exec(subject) ?? [];
    const query = (bytes.length === 0 ? {} : JSON.parse(new TextDecoder().decode(bytes))) as Query & Config;
    if (call === 'STREAM.CREATE' && !this.#streams.has(name)) this.#streams.set(name, new ModelStream(this.#clock, query));
    const stream = this.#streams.get(name);
    if (call === 'DIRECT.GET') {
      if (stream === undefined) answer(NO_BYTES, [], NO_RESPONDERS);
      else direct(stream, query, rest, answer);
    } else if (stream === undefined) answer(json(failure(404, NO_STREAM, 'stream not found')));
    else if (call === 'STREAM.MSG.GET') answer(json(got(stream, query)));
    else {
      if (call === 'STREAM.UPDATE') stream.config = query;
      if (call === 'STREAM.PURGE') stream.purge(query.filter ?? '>', query.keep);
      const subjects = Object.fromEntries(
        query.subjects_filter === undefined ? [] : [...stream.from(1, query.subjects_filter)].map((kept) => [kept.subject, 1]),
      );
      answer(json({ config: stream.config, state: { subjects }, ts: textOfTime(this.#clock.now()) }));
    }
  }
}

function got(stream: ModelStream, { last_by_subj, seq = 1, next_by_subj = '>' }: Query): object {
  const kept = last_by_subj === undefined ? stream.from(seq, next_by_subj).next().value : stream.get(stream.lastOf(last_by_subj));
  if (kept === undefined) return failure(404, NO_MESSAGE, 'no message found');
  const hdrs = `NATS/1.0\r\n${kept.headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  return {
    message: {
      subject: kept.subject,
      seq: kept.seq,
      time: textOfTime(kept.time),
      data: Buffer.from(kept.bytes).toString('base64'),
      ...(kept.headers.length === 0 ? {} : { hdrs: Buffer.from(hdrs).toString('base64') }),
    },
  };
}

function direct(
  stream: ModelStream,
  query: Query,
  subject: string,
  answer: (bytes: Uint8Array, headers?: readonly Header[], code?: number) => void,
): void {
  let before = 0;
  const chain = (): Header => ['Nats-Last-Sequence', String(before)];
  const give = (kept: Kept): void => {
    answer(kept.bytes.slice(), [...kept.headers, ['Nats-Subject', kept.subject], ['Nats-Sequence', String(kept.seq)], chain()]);
    before = kept.seq;
  };
  if (subject !== '') {
    const kept = stream.get(stream.lastOf(subject));
    if (kept === undefined) answer(NO_BYTES, [], 404);
    else give(kept);
    return;
  }
  const all = [...stream.from(query.seq ?? 1, query.next_by_subj ?? '>')];
  const some = all.slice(0, query.batch ?? 1);
  for (const kept of some) give(kept);
  if (some.length === 0) answer(NO_BYTES, [], 404);
  else answer(NO_BYTES, [['Nats-Num-Pending', String(all.length - some.length)], chain()], 204);
}

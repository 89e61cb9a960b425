/**
 * Connections to the model of a server, in virtual time. Each way of a connection keeps its order, as TCP does; what is under way when it
 * breaks is lost, and of what was under way to a server that is killed the first so many may have been done, with nobody told.
 */
import type { Clock } from '../../host/clock.ts';
import type { Random } from '../../host/simulated/random.ts';
import type { Schedule } from '../../host/simulated/schedule.ts';
import { TwzError } from '../../abi/errors.ts';
import type { Subscription } from '../../services/cluster/engine.ts';
import { Requests, type Line } from '../../services/cluster/requests.ts';
import type { Delivery, Header, Reply, Wire } from '../../services/cluster/wire.ts';
import type { JetStreamModel, Packet } from './jetstream-model.ts';
import { matches } from './jetstream-model.ts';

export interface Weather {
  /** Milliseconds that a packet takes, at least and at most. */
  latency: readonly [number, number];
  /** Chance that a packet is lost although the connection holds. */
  loss: number;
}

/** A connection that does not answer for so long is lost. */
const LOST_MS = 6_000;
const RECONNECT_MS = 200;
const RECONNECT_JITTER_MS = 100;
const PING = '$PING';
const NO_BYTES = new Uint8Array(0);

class Arrived implements Delivery {
  readonly subject: string;
  readonly bytes: Uint8Array;
  readonly code: number;
  readonly answerTo: string;
  readonly #headers: readonly Header[];

  constructor({ subject, bytes, headers, code, answerTo }: Packet) {
    this.subject = subject;
    this.bytes = bytes.slice();
    this.code = code;
    this.answerTo = answerTo;
    this.#headers = headers;
  }

  header(name: string): string {
    return this.#headers.findLast(([each]) => each === name)?.[1] ?? '';
  }
}

interface Interest {
  readonly pattern: string;
  readonly queue: string | undefined;
}

/** One connection, from its making to its loss. */
class Link {
  readonly wire: SimulatedWire;
  /** What the server knows that it listens to. */
  readonly interests = new Map<number, Interest>();
  dead = false;
  /** Under way to the server, the oldest first. */
  readonly up: (() => void)[] = [];
  /** What the network holds back while it is cut. */
  held: (() => void)[] = [];
  readonly arrives = { up: 0, down: 0 };

  constructor(wire: SimulatedWire) {
    this.wire = wire;
  }
}

export class Network {
  readonly schedule: Schedule;
  readonly random: Random;
  readonly clock: Clock;
  readonly model: JetStreamModel;
  readonly weather: Weather;
  readonly #wires = new Set<SimulatedWire>();
  readonly #cut = new Set<string>();
  readonly #delays = new Map<string, number>();
  #alive = true;
  #paused = false;
  /** What a stopped server has not read. */
  #unread: (() => void)[] = [];

  constructor(schedule: Schedule, random: Random, clock: Clock, model: JetStreamModel, weather: Weather) {
    this.schedule = schedule;
    this.random = random;
    this.clock = clock;
    this.model = model;
    this.weather = weather;
  }

  get alive(): boolean {
    return this.#alive;
  }

  connect(node: string): SimulatedWire {
    const wire = new SimulatedWire(this, node, `${node}-${this.#wires.size}`);
    this.#wires.add(wire);
    return wire;
  }

  reachable(node: string): boolean {
    return this.#alive && !this.#paused && !this.#cut.has(node);
  }

  cut(node: string): void {
    this.#cut.add(node);
    this.#notice(
      (wire) => wire.node === node,
      () => this.#cut.has(node),
    );
  }

  heal(node: string): void {
    this.#cut.delete(node);
    for (const wire of this.#wires) {
      if (wire.node !== node || wire.link === undefined) continue;
      const { held } = wire.link;
      wire.link.held = [];
      for (const arrive of held) arrive();
    }
  }

  delay(node: string, ms: number): void {
    this.#delays.set(node, ms);
  }

  /** The process dies. */
  kill(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#paused = false;
    this.#unread = [];
    const links = [...this.#wires].flatMap(({ link }) => (link === undefined ? [] : [link]));
    for (const link of links) link.dead = true;
    for (const link of links) {
      const done = this.#cut.has(link.wire.node) ? 0 : this.random.below(link.up.length + 1);
      for (const arrive of link.up.splice(0, done)) arrive();
    }
    this.model.kill();
    for (const link of links) this.schedule.at(this.#latency(link.wire.node), () => link.wire.lose(link));
  }

  start(): void {
    if (this.#alive) return;
    this.#alive = true;
    this.model.start((packet) => void this.route(packet));
  }

  /** The process is stopped: it keeps its connections and does nothing. */
  pause(): void {
    if (!this.#alive || this.#paused) return;
    this.#paused = true;
    this.#notice(
      () => true,
      () => this.#paused,
    );
  }

  resume(): void {
    this.#paused = false;
    const unread = this.#unread;
    this.#unread = [];
    for (const read of unread) read();
  }

  // --- packets ----------------------------------------------------------------------------------------------------------------------

  /** To the server. */
  up(link: Link, done: () => void): void {
    const arrive = (): void => {
      if (this.#paused) this.#unread.push(done);
      else done();
    };
    link.up.push(arrive);
    this.#carry(link, 'up', () => {
      if (link.up.shift() !== undefined) arrive();
    });
  }

  send(link: Link, packet: Packet): void {
    const lost = packet.subject !== PING && this.random.chance(this.weather.loss);
    this.up(link, () => {
      if (lost) return;
      if (packet.subject === PING) this.route({ ...packet, subject: packet.answerTo, answerTo: '' });
      else this.model.receive(packet, (each) => this.route(each));
    });
  }

  /** From the server to all that listen; one of each queue. False where there is nobody. */
  route(packet: Packet): boolean {
    const queues = new Map<string, (readonly [Link, number])[]>();
    let heard = false;
    for (const { link } of this.#wires) {
      for (const [id, { pattern, queue }] of link?.interests ?? []) {
        if (link === undefined || !matches(pattern, packet.subject)) continue;
        heard = true;
        if (queue === undefined) this.#down(link, id, packet);
        else queues.set(queue, [...(queues.get(queue) ?? []), [link, id]]);
      }
    }
    for (const members of queues.values()) {
      const chosen = this.random.pick(members);
      if (chosen !== undefined) this.#down(chosen[0], chosen[1], packet);
    }
    return heard;
  }

  #down(link: Link, id: number, packet: Packet): void {
    if (this.random.chance(this.weather.loss)) return;
    this.#carry(link, 'down', () => link.wire.arrived(id, packet));
  }

  #latency(node: string): number {
    const [least, most] = this.weather.latency;
    return least + (this.random.below(1001) / 1000) * (most - least) + (this.#delays.get(node) ?? 0);
  }

  #carry(link: Link, way: 'up' | 'down', arrive: () => void): void {
    const { now } = this.schedule;
    const at = Math.max(link.arrives[way], now + this.#latency(link.wire.node));
    link.arrives[way] = at;
    const come = (): void => {
      if (link.dead) return;
      if (this.#cut.has(link.wire.node)) link.held.push(come);
      else arrive();
    };
    this.schedule.at(at - now, come);
  }

  /** Those connections are found lost, if it is still so by then. */
  #notice(which: (wire: SimulatedWire) => boolean, still: () => boolean): void {
    for (const wire of this.#wires) {
      const { link } = wire;
      if (link !== undefined && which(wire))
        this.schedule.at(LOST_MS + this.#latency(wire.node), () => {
          if (still()) wire.lose(link);
        });
    }
  }

  gone(wire: SimulatedWire): void {
    this.#wires.delete(wire);
  }
}

export class SimulatedWire implements Wire, Line {
  readonly kind = 'simulated';
  readonly id: string;
  readonly node: string;
  readonly clock: Clock;
  link: Link | undefined;
  readonly #network: Network;
  readonly #requests: Requests;
  readonly #listeners = new Map<number, { readonly interest: Interest; readonly listener: (delivery: Delivery) => void }>();
  readonly #states = new Set<(connected: boolean) => void>();
  #ids = 0;
  #closed = false;

  constructor(network: Network, node: string, id: string) {
    this.#network = network;
    this.node = node;
    this.id = id;
    this.clock = network.clock;
    const inbox = `_INBOX.${id}.`;
    this.#requests = new Requests(this, inbox);
    this.#listen({ pattern: `${inbox}>`, queue: undefined }, (delivery) =>
      this.#requests.answer(delivery.subject.slice(inbox.length), delivery),
    );
    this.#reach();
  }

  get closed(): boolean {
    return this.#closed;
  }

  get version(): string {
    return this.#network.model.options.version;
  }

  get oldest(): string {
    return this.version;
  }

  get maxPayload(): number {
    return this.#network.model.options.maxPayload;
  }

  get connected(): boolean {
    return this.link !== undefined;
  }

  get open(): boolean {
    return this.connected;
  }

  get hopeless(): boolean {
    return this.#closed;
  }

  lost(): TwzError {
    return new TwzError('EngineLost', `no connection from ${this.node}`, { node: this.node });
  }

  send(subject: string, bytes: Uint8Array, headers: readonly Header[] | undefined, answerTo: string): void {
    if (bytes.length > this.maxPayload)
      throw new TwzError('MessageTooLarge', `a message of ${bytes.length} bytes; the server takes ${this.maxPayload}`, {
        length: bytes.length,
        most: this.maxPayload,
      });
    if (this.link === undefined) throw this.lost();
    this.#network.send(this.link, { subject, bytes: bytes.slice(), headers: headers ?? [], code: 0, answerTo });
  }

  publish(subject: string, bytes: Uint8Array, headers?: readonly Header[], answerTo = ''): void {
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

  subscribe(pattern: string, listener: (delivery: Delivery) => void, queue?: string): Subscription {
    if (this.#closed) throw this.lost();
    const id = this.#listen({ pattern, queue }, listener);
    return {
      close: () => {
        this.#listeners.delete(id);
        const { link } = this;
        if (link !== undefined) this.#network.up(link, () => void link.interests.delete(id));
      },
    };
  }

  async flush(ms: number): Promise<void> {
    await this.#requests.request(PING, NO_BYTES, ms);
  }

  onState(listener: (connected: boolean) => void): Subscription {
    this.#states.add(listener);
    return { close: () => void this.#states.delete(listener) };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#states.clear();
    const { link } = this;
    // What was sent goes out; nothing comes any more.
    if (link !== undefined) this.#network.up(link, () => link.interests.clear());
    this.#listeners.clear();
    this.#requests.fail(new TwzError('EngineLost', 'the connection to the engine was closed', {}));
    this.#requests.wake();
    if (link === undefined) this.#network.gone(this);
    else
      this.#network.up(link, () => {
        this.link = undefined;
        this.#network.gone(this);
      });
    await Promise.resolve();
  }

  arrived(id: number, packet: Packet): void {
    this.#listeners.get(id)?.listener(new Arrived(packet));
  }

  /** That connection is lost. */
  lose(link: Link): void {
    link.dead = true;
    if (this.link !== link) return;
    this.link = undefined;
    if (this.#closed) {
      this.#network.gone(this);
      return;
    }
    this.#requests.fail(this.lost());
    for (const listener of this.#states) listener(false);
    this.#reach();
  }

  #listen(interest: Interest, listener: (delivery: Delivery) => void): number {
    const id = ++this.#ids;
    this.#listeners.set(id, { interest, listener });
    const { link } = this;
    if (link !== undefined) this.#network.up(link, () => void link.interests.set(id, interest));
    return id;
  }

  #reach(): void {
    this.#network.schedule.at(this.#network.random.below(RECONNECT_JITTER_MS + 1), () => {
      if (this.#closed) return;
      if (!this.#network.reachable(this.node)) {
        this.#network.schedule.at(RECONNECT_MS, () => this.#reach());
        return;
      }
      const link = new Link(this);
      this.link = link;
      for (const [id, { interest }] of this.#listeners) this.#network.up(link, () => void link.interests.set(id, interest));
      this.#requests.wake();
      for (const listener of this.#states) listener(true);
    });
  }
}

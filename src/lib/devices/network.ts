/** The network: connections, listeners and datagrams. Each is a line of the network device, and an object with two rings of bytes. */
import {
  ADDRESS,
  NETWORK,
  SOCKET,
  SOCKET_COMMAND,
  SOCKET_DRIVER,
  SOCKET_LINE,
  SOCKET_RECORD,
  SOCKET_STATE,
} from '../../abi/device-format.ts';
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { readId, type ObjectId } from '../../abi/id.ts';
import { variableBytes } from '../rings/records.ts';
import { openRing } from '../rings/ring.ts';
import type { Consumer, Producer } from '../rings/sides.ts';
import type { AsyncWaitOptions, WaitOptions } from '../sync/waiting.ts';
import { readAddress, writeAddress, type Address } from './address.ts';
import { Device, SIDE, claimLine, errorOf, type DeviceHead, type Pause } from './head.ts';

const RECORD = variableBytes(SOCKET_RECORD);
const LOOPBACK = '127.0.0.1';

/** The head of a socket's object. */
type Resolve = (id: ObjectId) => DeviceHead;

export interface Endpoint {
  /** An IP address; 127.0.0.1 by default. */
  readonly host?: string;
  /** When listening, 0 is any port that is free. */
  readonly port?: number;
}

export interface ListenOptions extends Endpoint {
  /** How many connections may wait to be accepted. 128 by default. */
  readonly backlog?: number;
}

/** A claimed line of the network device. */
class Line {
  readonly head: DeviceHead;
  readonly at: number;
  /** The socket's own object. */
  part: DeviceHead | undefined;
  #released = false;

  constructor(head: DeviceHead, at: number) {
    this.head = head;
    this.at = at;
  }

  get(offset: number): number {
    return Atomics.load(this.head.i32, (this.at + offset) >>> 2);
  }

  put(offset: number, value: number): void {
    Atomics.store(this.head.i32, (this.at + offset) >>> 2, value);
  }

  order(command: number): void {
    this.put(SOCKET_LINE.command, command);
    this.head.knock();
  }

  /** Gives the line back; `command` says how. */
  release(command: number): void {
    if (this.#released) return;
    this.#released = true;
    if (this.head.isThere) this.order(command);
  }

  /** Until the driver has done what was asked. */
  asked(): Pause | undefined {
    const index = (this.at + SOCKET_LINE.state) >>> 2;
    const value = Atomics.load(this.head.i32, index);
    return value === SOCKET_STATE.asked ? { index, value } : undefined;
  }

  /** What the driver could not do, or what broke the connection. */
  get failure(): TwzError | undefined {
    return this.get(SOCKET_LINE.state) === SOCKET_STATE.failed ? this.error('the connection broke') : undefined;
  }

  error(what: string): TwzError {
    return errorOf(this.get(SOCKET_LINE.error), what);
  }
}

export class NetworkDevice extends Device {
  readonly #resolve: Resolve;

  constructor(head: DeviceHead, resolve: Resolve) {
    super(head);
    this.#resolve = resolve;
  }

  /** How many sockets there can be at a time. */
  get sockets(): number {
    return this.get(NETWORK.lines);
  }

  #claim(command: number, what: string, { host = LOOPBACK, port = 0 }: Endpoint, backlog: number): { line: Line; what: string } {
    this.head.demandReady();
    const { words } = this.head;
    // What is wrong with the address is to be known before a line is claimed.
    const address = new Uint8Array(ADDRESS.bytes);
    writeAddress({ u8: address, dv: new DataView(address.buffer) }, 0, { host, port });
    const at = claimLine(this.head, this.get(NETWORK.linesAt), this.sockets, SOCKET_LINE.bytes, SOCKET_LINE.owner);
    if (at < 0) throw new TwzError('DeviceBusy', `all ${this.sockets} sockets are in use`, { sockets: this.sockets });
    const line = new Line(this.head, at);
    words.u8.set(address, at + (command === SOCKET_COMMAND.connect ? SOCKET_LINE.remote : SOCKET_LINE.local));
    line.put(SOCKET_LINE.backlog, backlog);
    line.put(SOCKET_LINE.state, SOCKET_STATE.asked);
    line.order(command);
    return { line, what: `${what} ${host} port ${port}` };
  }

  /** The socket is there, or the line goes back. */
  #opened<S>({ line, what }: { line: Line; what: string }, make: (line: Line) => S): S {
    try {
      if (line.get(SOCKET_LINE.state) === SOCKET_STATE.failed) throw line.error(what);
      return make(this.#withPart(line));
    } catch (error) {
      line.release(SOCKET_COMMAND.abort);
      throw error;
    }
  }

  #withPart(line: Line): Line {
    line.part = this.#resolve(readId(this.head.words.u8, line.at + SOCKET_LINE.object));
    return line;
  }

  #openSync<S>(claimed: { line: Line; what: string }, make: (line: Line) => S, options?: WaitOptions): S {
    try {
      this.head.untilSync(() => claimed.line.asked(), options);
    } catch (error) {
      claimed.line.release(SOCKET_COMMAND.abort);
      throw error;
    }
    return this.#opened(claimed, make);
  }

  async #open<S>(claimed: { line: Line; what: string }, make: (line: Line) => S, options?: AsyncWaitOptions): Promise<S> {
    try {
      await this.head.until(() => claimed.line.asked(), options);
    } catch (error) {
      claimed.line.release(SOCKET_COMMAND.abort);
      throw error;
    }
    return this.#opened(claimed, make);
  }

  /** Connects by TCP. Throws ConnectionRefused, AddressForbidden, AddressInvalid, DeviceBusy, DeviceTimedOut, DeviceGone. */
  connectSync(to: Endpoint, options?: WaitOptions): Connection {
    return this.#openSync(this.#claim(SOCKET_COMMAND.connect, 'connecting to', to, 0), (line) => new Connection(line), options);
  }

  async connect(to: Endpoint, options?: AsyncWaitOptions): Promise<Connection> {
    return await this.#open(this.#claim(SOCKET_COMMAND.connect, 'connecting to', to, 0), (line) => new Connection(line), options);
  }

  /** Listens for TCP connections. Throws AddressTaken, AddressForbidden, AddressInvalid, DeviceBusy, DeviceTimedOut, DeviceGone. */
  listenSync(at: ListenOptions = {}, options?: WaitOptions): Listener {
    return this.#openSync(
      this.#claim(SOCKET_COMMAND.listen, 'listening at', at, at.backlog ?? 128),
      (line) => this.#listener(line),
      options,
    );
  }

  async listen(at: ListenOptions = {}, options?: AsyncWaitOptions): Promise<Listener> {
    return await this.#open(
      this.#claim(SOCKET_COMMAND.listen, 'listening at', at, at.backlog ?? 128),
      (line) => this.#listener(line),
      options,
    );
  }

  #listener(line: Line): Listener {
    return new Listener(line, (number) => this.#accepted(number));
  }

  /** Takes over a connection that the driver has accepted; undefined where it is gone already. */
  #accepted(number: number): Connection | undefined {
    const at = this.get(NETWORK.linesAt) + number * SOCKET_LINE.bytes;
    const owner = (at + SOCKET_LINE.owner) >>> 2;
    const { i32, words } = this.head;
    const held = Atomics.load(i32, owner);
    if ((held & SOCKET_DRIVER) === 0 || Atomics.compareExchange(i32, owner, held, words.threads.self) !== held) return undefined;
    return new Connection(this.#withPart(new Line(this.head, at)));
  }

  /** A socket for datagrams (UDP). Throws as `listen`. */
  bindSync(at: Endpoint = {}, options?: WaitOptions): DatagramSocket {
    return this.#openSync(this.#claim(SOCKET_COMMAND.bind, 'binding', at, 0), (line) => new DatagramSocket(line), options);
  }

  async bind(at: Endpoint = {}, options?: AsyncWaitOptions): Promise<DatagramSocket> {
    return await this.#open(this.#claim(SOCKET_COMMAND.bind, 'binding', at, 0), (line) => new DatagramSocket(line), options);
  }
}

/** What all sockets have. */
abstract class Socket {
  protected readonly line: Line;
  protected readonly head: DeviceHead;
  protected readonly output: Producer<Uint8Array>;
  protected readonly input: Consumer<Uint8Array>;
  readonly local: Address;
  #closed = false;
  /** Ends what waits here when it is closed here: the rings are another's soon. */
  readonly #stop = new AbortController();

  constructor(line: Line) {
    const { part } = line;
    if (part === undefined) throw new TwzError('DeviceInvalid', 'a socket without an object');
    const { words } = part;
    const body = part.at + SOCKET.body;
    this.line = line;
    this.head = part;
    this.output = openRing(words, Atomics.load(words.i32, (body + SOCKET.output) >>> 2), RECORD).producer(SIDE);
    this.input = openRing(words, Atomics.load(words.i32, (body + SOCKET.input) >>> 2), RECORD).consumer(SIDE);
    this.local = readAddress(line.head.words, line.at + SOCKET_LINE.local);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** What an error of a ring says about the socket. */
  protected told(error: unknown): unknown {
    if (this.#closed) return new TwzError('QueueClosed', 'the socket was closed here');
    if (this.head.isThere && error instanceof TwzError && isTwzError(error.cause, 'QueueClosed')) {
      if (this.head.status === 'ready') return this.line.failure ?? error.cause;
    }
    return error;
  }

  protected demandOpen(): void {
    if (this.#closed) throw new TwzError('QueueClosed', 'the socket was closed here');
  }

  /** What waits ends with the socket. */
  #until(options: AsyncWaitOptions = {}): AsyncWaitOptions {
    const { signal } = options;
    return { ...options, signal: signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]) };
  }

  protected take(bytes: Uint8Array | undefined): Uint8Array | undefined {
    if (bytes !== undefined) return bytes;
    this.demandOpen();
    this.head.demandReady();
    const { failure } = this.line;
    if (failure !== undefined) throw failure;
    return undefined;
  }

  protected nextSync(options?: WaitOptions): Uint8Array | undefined {
    this.demandOpen();
    try {
      return this.take(this.head.patientlySync((patience) => this.input.receive(patience), options));
    } catch (error) {
      throw this.told(error);
    }
  }

  protected async next(options?: AsyncWaitOptions): Promise<Uint8Array | undefined> {
    this.demandOpen();
    try {
      return this.take(await this.head.patiently((patience) => this.input.receiveAsync(patience), this.#until(options)));
    } catch (error) {
      throw this.told(error);
    }
  }

  protected submitSync(bytes: Uint8Array, options?: WaitOptions): void {
    this.demandOpen();
    try {
      this.head.patientlySync((patience) => this.output.submit(bytes, patience), options);
    } catch (error) {
      throw this.told(error);
    }
  }

  protected async submit(bytes: Uint8Array, options?: AsyncWaitOptions): Promise<void> {
    this.demandOpen();
    try {
      await this.head.patiently((patience) => this.output.submitAsync(bytes, patience), this.#until(options));
    } catch (error) {
      throw this.told(error);
    }
  }

  protected finish(command: number): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stop.abort(new TwzError('QueueClosed', 'the socket was closed here'));
    if (this.head.isThere) {
      this.output.close();
      this.output.leave();
      this.input.leave();
    }
    this.line.release(command);
  }

  /** Gives the socket back. What was sent still goes out. */
  close(): void {
    this.finish(SOCKET_COMMAND.release);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A TCP connection. */
export class Connection extends Socket implements AsyncIterable<Uint8Array> {
  readonly remote: Address;

  /** Use `connect` or `accept`. */
  constructor(line: Line) {
    super(line);
    this.remote = readAddress(line.head.words, line.at + SOCKET_LINE.remote);
  }

  /** Sends bytes; blocks while there is no room. Throws ConnectionReset, DeviceTimedOut, DeviceGone, and QueueClosed after `end`. */
  sendSync(bytes: Uint8Array, options?: WaitOptions): void {
    for (let at = 0; at < bytes.length; at += SOCKET_RECORD) this.submitSync(bytes.subarray(at, at + SOCKET_RECORD), options);
  }

  async send(bytes: Uint8Array, options?: AsyncWaitOptions): Promise<void> {
    for (let at = 0; at < bytes.length; at += SOCKET_RECORD) await this.submit(bytes.subarray(at, at + SOCKET_RECORD), options);
  }

  /** The bytes that come next, as many as there are; undefined once the other side has ended. Throws ConnectionReset and the like. */
  receiveSync(options?: WaitOptions): Uint8Array | undefined {
    return this.nextSync(options);
  }

  receive(options?: AsyncWaitOptions): Promise<Uint8Array | undefined> {
    return this.next(options);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (let bytes = await this.receive(); bytes !== undefined; bytes = await this.receive()) yield bytes;
  }

  /** Sends nothing more: the other side comes to the end. Receiving goes on. */
  end(): void {
    this.demandOpen();
    this.output.close();
  }

  /** Breaks it off: what is on its way is lost. */
  abort(): void {
    this.finish(SOCKET_COMMAND.abort);
  }
}

/** Waits for TCP connections. */
export class Listener extends Socket implements AsyncIterable<Connection> {
  readonly #accepted: (number: number) => Connection | undefined;

  /** Use `listen`. */
  constructor(line: Line, accepted: (number: number) => Connection | undefined) {
    super(line);
    this.#accepted = accepted;
  }

  #number(record: Uint8Array | undefined): Connection | undefined {
    if (record === undefined) throw new TwzError('QueueClosed', 'the listener was closed');
    return this.#accepted(new DataView(record.buffer, record.byteOffset).getUint32(0, true));
  }

  /** The next connection; blocks. Throws DeviceTimedOut, DeviceGone. */
  acceptSync(options?: WaitOptions): Connection {
    for (;;) {
      const connection = this.#number(this.nextSync(options));
      if (connection !== undefined) return connection;
    }
  }

  async accept(options?: AsyncWaitOptions): Promise<Connection> {
    for (;;) {
      const connection = this.#number(await this.next(options));
      if (connection !== undefined) return connection;
    }
  }

  /** Until the listener is closed here. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Connection, void, undefined> {
    while (!this.closed) {
      let connection: Connection;
      try {
        connection = await this.accept();
      } catch (error) {
        if (this.closed) return;
        throw error;
      }
      yield connection;
    }
  }
}

export interface Datagram {
  readonly from: Address;
  readonly bytes: Uint8Array;
}

/** Datagrams by UDP: each comes whole, or not at all. */
export class DatagramSocket extends Socket {
  /** Bytes of the longest datagram. */
  static readonly longest: number = SOCKET_RECORD - ADDRESS.bytes;

  /** How many were lost here because nobody took them. */
  get dropped(): number {
    return this.line.get(SOCKET_LINE.dropped);
  }

  /** What became of the last datagram that could not be sent. */
  get lastError(): TwzError | undefined {
    return this.line.get(SOCKET_LINE.error) === 0 ? undefined : this.line.error('a datagram was not sent');
  }

  #record(bytes: Uint8Array, { host = LOOPBACK, port = 0 }: Endpoint): Uint8Array {
    if (bytes.length > DatagramSocket.longest)
      throw new TwzError('OutOfRange', `a datagram of ${bytes.length} bytes; ${DatagramSocket.longest} at most`, { length: bytes.length });
    const record = new Uint8Array(ADDRESS.bytes + bytes.length);
    writeAddress({ u8: record, dv: new DataView(record.buffer) }, 0, { host, port });
    record.set(bytes, ADDRESS.bytes);
    return record;
  }

  sendSync(bytes: Uint8Array, to: Endpoint, options?: WaitOptions): void {
    this.submitSync(this.#record(bytes, to), options);
  }

  async send(bytes: Uint8Array, to: Endpoint, options?: AsyncWaitOptions): Promise<void> {
    await this.submit(this.#record(bytes, to), options);
  }

  #datagram(record: Uint8Array | undefined): Datagram {
    if (record === undefined) throw new TwzError('QueueClosed', 'the socket was closed');
    const dv = new DataView(record.buffer, record.byteOffset, record.length);
    return { from: readAddress({ u8: record, dv }, 0), bytes: record.subarray(ADDRESS.bytes) };
  }

  receiveSync(options?: WaitOptions): Datagram {
    return this.#datagram(this.nextSync(options));
  }

  async receive(options?: AsyncWaitOptions): Promise<Datagram> {
    return this.#datagram(await this.next(options));
  }
}

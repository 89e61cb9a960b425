/**
 * The driver of the network: sockets of the operating system behind lines of the network device.
 *
 *   idle -> asked -> open -> closed | failed -> idle        the driver; a program claims an idle line and asks
 *
 * Invariants:
 *  1. A line's owner becomes 0 when nothing of its use is left here: the next one finds it idle.
 *  2. Of a program that died the sockets are closed as if it had closed them: what it had sent goes out.
 *  3. A connection that is to be accepted belongs to the driver until then, and goes with its listener.
 */
import {
  ADDRESS,
  NETWORK,
  NETWORK_INTERRUPT,
  SOCKET_COMMAND,
  SOCKET_DRIVER,
  SOCKET_LINE,
  SOCKET_RECORD,
  SOCKET_STATE,
} from '../../abi/device-format.ts';
import { TwzError, isTwzError } from '../../abi/errors.ts';
import { writeId } from '../../abi/id.ts';
import { THREAD_MASK } from '../../abi/sync.ts';
import type { Timer } from '../../host/host.ts';
import { bindDatagrams, connectLink, listenForLinks, type Link, type SocketAddress } from '../../host/sockets.ts';
import { isLoopback, readAddress, writeAddress } from '../../lib/devices/address.ts';
import type { Space } from '../../space.ts';
import type { Driver, Served } from './served.ts';
import { SocketObjects, type Rings } from './sockets.ts';

/** How often it is looked whether the owners of sockets live, in milliseconds. */
const SWEEP_MS = 250;
/** How long what was sent before a close may take to go out, in milliseconds. */
const LINGER_MS = 30_000;
/** Bytes that are written to the system at once. */
const BATCH_BYTES = 1 << 18;

export function networkBytes(sockets: number): number {
  return NETWORK.bytes + sockets * SOCKET_LINE.bytes + 64;
}

/** One use of a line. */
interface Use {
  readonly number: number;
  /** Ends it at once. */
  readonly abort: AbortController;
  /** Ends it when what was sent has gone out. */
  readonly release: AbortController;
  /** The other side is told that it was broken off. */
  reset: boolean;
  done: Promise<void>;
}

/** Calls back when the signal is aborted, or at once. */
function onAbort(signal: AbortSignal, then: () => void): void {
  if (signal.aborted) then();
  else signal.addEventListener('abort', then, { once: true });
}

const aborted = (signal: AbortSignal): Promise<void> => new Promise((resolve) => onAbort(signal, resolve));

/** The next record; undefined at the end, which may be the program's. */
async function nextOf(ring: Rings['output'], signal: AbortSignal): Promise<Uint8Array | undefined> {
  try {
    return await ring.receiveAsync({ signal });
  } catch (error) {
    if (isTwzError(error, 'PeerGone')) return undefined;
    throw error;
  }
}

export class NetworkDriver implements Driver {
  readonly #device: Served;
  readonly #sockets: SocketObjects;
  readonly #all: boolean;
  readonly #count: number;
  readonly #first: number;
  readonly #uses = new Map<number, Use>();
  readonly #running: Promise<void>;
  #sweeping: Timer | undefined;
  /** Who waits for a line to be free, for a connection to be accepted. */
  #freed: (() => void)[] = [];

  constructor(device: Served, space: Space, path: string, sockets: number, all: boolean) {
    this.#device = device;
    this.#all = all;
    this.#count = sockets;
    this.#sockets = new SocketObjects(space, path, sockets);
    device.room(NETWORK.bytes);
    this.#first = device.room(sockets * SOCKET_LINE.bytes);
    device.put(NETWORK.lines, sockets);
    device.put(NETWORK.linesAt, this.#first);
    device.ready();
    this.#running = device.run(() => this.#serve());
    this.#sweep();
  }

  // --- lines ----------------------------------------------------------------------------------------------------------------

  #line(number: number): number {
    return this.#first + number * SOCKET_LINE.bytes;
  }

  #word(number: number, offset: number): number {
    return (this.#line(number) + offset) >>> 2;
  }

  #get(number: number, offset: number): number {
    return Atomics.load(this.#device.words.i32, this.#word(number, offset));
  }

  #put(number: number, offset: number, value: number): void {
    Atomics.store(this.#device.words.i32, this.#word(number, offset), value);
  }

  #setState(number: number, state: number): void {
    if (!this.#device.isThere) return;
    this.#put(number, SOCKET_LINE.state, state);
    this.#device.words.wake(this.#word(number, SOCKET_LINE.state));
  }

  #setError(number: number, error: unknown): void {
    if (this.#device.isThere) this.#put(number, SOCKET_LINE.error, error instanceof TwzError ? error.code : 0);
  }

  #address(number: number, offset: number): SocketAddress {
    return readAddress(this.#device.words, this.#line(number) + offset);
  }

  #setAddress(number: number, offset: number, address: SocketAddress): void {
    writeAddress(this.#device.words, this.#line(number) + offset, address);
  }

  #demandReachable({ host }: SocketAddress): void {
    if (!this.#all && !isLoopback(host))
      throw new TwzError('AddressForbidden', `${host} is not loopback, and the device was started for that alone`, { host });
  }

  /** What programs have ordered. */
  async #serve(): Promise<void> {
    for (let heard = 0; ; heard = await this.#device.knocked(heard)) {
      for (let number = 0; number < this.#count; number++) {
        if (this.#get(number, SOCKET_LINE.command) === SOCKET_COMMAND.none) continue;
        this.#obey(number, Atomics.exchange(this.#device.words.i32, this.#word(number, SOCKET_LINE.command), SOCKET_COMMAND.none));
      }
    }
  }

  #obey(number: number, command: number): void {
    const use = this.#uses.get(number);
    const ends = command === SOCKET_COMMAND.release || command === SOCKET_COMMAND.abort;
    if (ends && use === undefined) this.#free(number);
    else if (command === SOCKET_COMMAND.release) use?.release.abort();
    else if (use !== undefined && command === SOCKET_COMMAND.abort) {
      use.reset = true;
      use.abort.abort();
    } else if (use === undefined) this.#begin(number, (each) => this.#do(each, command));
  }

  /** The line is nobody's. */
  #free(number: number): void {
    if (!this.#device.isThere) return;
    const { words } = this.#device;
    words.u8.fill(0, this.#line(number) + SOCKET_LINE.local, this.#line(number) + SOCKET_LINE.bytes);
    for (const offset of [SOCKET_LINE.command, SOCKET_LINE.error, SOCKET_LINE.dropped, SOCKET_LINE.listener]) this.#put(number, offset, 0);
    Atomics.add(words.i32, this.#word(number, SOCKET_LINE.uses), 1);
    this.#put(number, SOCKET_LINE.state, SOCKET_STATE.idle);
    this.#put(number, SOCKET_LINE.owner, 0);
    this.#device.raise(NETWORK_INTERRUPT.freed);
    for (const free of this.#freed.splice(0)) free();
  }

  /** Runs a use of a line to its end, and until the program gives the line back. */
  #begin(number: number, body: (use: Use) => Promise<void>): Use {
    const use: Use = { number, abort: new AbortController(), release: new AbortController(), reset: false, done: Promise.resolve() };
    const live = async (): Promise<void> => {
      try {
        await body(use);
        this.#setState(number, SOCKET_STATE.closed);
      } catch (error) {
        this.#setError(number, error);
        this.#setState(number, SOCKET_STATE.failed);
      }
      await Promise.race([aborted(use.release.signal), aborted(use.abort.signal)]);
    };
    this.#uses.set(number, use);
    use.done = live().finally(() => {
      this.#uses.delete(number);
      this.#free(number);
    });
    return use;
  }

  async #do(use: Use, command: number): Promise<void> {
    const { number } = use;
    const object = this.#sockets.get(number);
    writeId(this.#device.words.u8, this.#line(number) + SOCKET_LINE.object, object.object.id);
    if (command === SOCKET_COMMAND.connect) await this.#connect(use);
    else if (command === SOCKET_COMMAND.listen) await this.#listen(use);
    else if (command === SOCKET_COMMAND.bind) await this.#bind(use);
    else throw new TwzError('DeviceFailed', `the network device knows no command ${command}`, { command });
  }

  // --- connections ------------------------------------------------------------------------------------------------------------

  async #connect(use: Use): Promise<void> {
    const to = this.#address(use.number, SOCKET_LINE.remote);
    this.#demandReachable(to);
    await this.#converse(use, await connectLink(to, AbortSignal.any([use.abort.signal, use.release.signal])));
  }

  #introduce(number: number, link: Link): Rings {
    this.#setAddress(number, SOCKET_LINE.local, link.local);
    this.#setAddress(number, SOCKET_LINE.remote, link.remote);
    return this.#sockets.rings(number);
  }

  /** A connection, until both sides have ended. */
  async #converse(use: Use, link: Link, rings: Rings = this.#introduce(use.number, link)): Promise<void> {
    const over = new AbortController();
    const stop = AbortSignal.any([use.abort.signal, over.signal]);
    const left = AbortSignal.any([stop, use.release.signal]);
    onAbort(stop, () => link.destroy(use.reset));
    this.#setState(use.number, SOCKET_STATE.open);
    const sending = this.#sendAll(rings, link, stop);
    const receiving = this.#receiveAll(rings, link, left);
    let linger: Timer | undefined;
    // The program has left: what it sent goes out, what comes is of no use to anybody.
    onAbort(use.release.signal, () => {
      if (over.signal.aborted) return;
      linger = this.#device.host.timer(LINGER_MS, () => over.abort());
      if (this.#device.isThere) rings.output.close();
      void Promise.allSettled([sending]).then(() => over.abort());
    });
    try {
      await Promise.all([sending, receiving]);
    } catch (error) {
      // Ended from here, in good order.
      if (!left.aborted) throw error;
    } finally {
      over.abort();
      linger?.cancel();
      await Promise.allSettled([sending, receiving]);
      this.#leave(rings);
    }
  }

  /** Both rings end, and what is in them can be received. */
  #leave({ output, input }: Rings): void {
    if (!this.#device.isThere) return;
    output.close();
    input.close();
    output.leave();
    input.leave();
  }

  /** From the program to the other side. */
  async #sendAll({ output }: Rings, link: Link, signal: AbortSignal): Promise<void> {
    for (;;) {
      const first = await nextOf(output, signal);
      if (first === undefined) break;
      const batch = [first];
      for (
        let length = first.length, next = output.tryReceive();
        next !== undefined;
        next = length < BATCH_BYTES ? output.tryReceive() : undefined
      ) {
        batch.push(next);
        length += next.length;
      }
      await link.write(batch.length === 1 ? first : Buffer.concat(batch));
    }
    await link.end();
  }

  /** From the other side to the program. */
  async #receiveAll({ input }: Rings, link: Link, signal: AbortSignal): Promise<void> {
    for (let bytes = await link.read(); bytes !== undefined; bytes = await link.read()) {
      for (let at = 0; at < bytes.length; at += SOCKET_RECORD) await input.submitAsync(bytes.subarray(at, at + SOCKET_RECORD), { signal });
    }
    if (!signal.aborted) input.close();
  }

  // --- listeners --------------------------------------------------------------------------------------------------------------

  async #listen(use: Use): Promise<void> {
    const { number } = use;
    const at = this.#address(number, SOCKET_LINE.local);
    this.#demandReachable(at);
    const backlog = Math.max(1, this.#get(number, SOCKET_LINE.backlog));
    const waiting: Link[] = [];
    let stir: (() => void) | undefined;
    const ended = AbortSignal.any([use.abort.signal, use.release.signal]);
    const listening = await listenForLinks(at, backlog, (link) => {
      if (ended.aborted || waiting.length >= backlog) link.destroy(true);
      else waiting.push(link);
      stir?.();
    });
    const rings = this.#sockets.rings(number);
    this.#setAddress(number, SOCKET_LINE.local, listening.local);
    this.#setState(number, SOCKET_STATE.open);
    onAbort(ended, () => stir?.());
    try {
      while (!ended.aborted) {
        const link = waiting.shift();
        if (link === undefined) await new Promise<void>((resolve) => (stir = resolve));
        else await this.#offer(number, link, rings, ended);
      }
    } catch (error) {
      if (!ended.aborted) throw error;
    } finally {
      const closed = listening.close();
      for (const link of waiting) link.destroy(true);
      this.#dropOffered(number);
      this.#leave(rings);
      await closed;
    }
  }

  /** Gives a connection a line, and the listener the line's number. */
  async #offer(listener: number, link: Link, rings: Rings, ended: AbortSignal): Promise<void> {
    let number = this.#claim(listener);
    while (number < 0 && !ended.aborted) {
      await Promise.race([new Promise<void>((resolve) => this.#freed.push(resolve)), aborted(ended)]);
      number = this.#claim(listener);
    }
    if (number < 0) {
      link.destroy(true);
      return;
    }
    // Its rings are there before anybody hears of it.
    const connection = this.#introduce(number, link);
    writeId(this.#device.words.u8, this.#line(number) + SOCKET_LINE.object, this.#sockets.idOf(number));
    this.#begin(number, (use) => this.#converse(use, link, connection));
    const record = new Uint8Array(4);
    new DataView(record.buffer).setUint32(0, number, true);
    await rings.input.submitAsync(record, { signal: ended });
  }

  /** A line for the driver, to be accepted from that listener; -1 for none. */
  #claim(listener: number): number {
    const { i32, threads } = this.#device.words;
    for (let number = 0; number < this.#count; number++) {
      if (Atomics.compareExchange(i32, this.#word(number, SOCKET_LINE.owner), 0, threads.self | SOCKET_DRIVER) !== 0) continue;
      this.#put(number, SOCKET_LINE.listener, listener + 1);
      return number;
    }
    return -1;
  }

  /** What nobody accepted goes with its listener. */
  #dropOffered(listener: number): void {
    if (!this.#device.isThere) return;
    for (const [number, use] of this.#uses) {
      const offered = (this.#get(number, SOCKET_LINE.owner) & SOCKET_DRIVER) !== 0;
      if (!offered || this.#get(number, SOCKET_LINE.listener) !== listener + 1) continue;
      use.reset = true;
      use.abort.abort();
    }
  }

  // --- datagrams --------------------------------------------------------------------------------------------------------------

  async #bind(use: Use): Promise<void> {
    const { number } = use;
    const at = this.#address(number, SOCKET_LINE.local);
    this.#demandReachable(at);
    let input: Rings['input'] | undefined;
    const socket = await bindDatagrams(at, (bytes, from) => this.#arrived(number, input, bytes, from));
    const rings = this.#sockets.rings(number);
    ({ input } = rings);
    this.#setAddress(number, SOCKET_LINE.local, socket.local);
    this.#setState(number, SOCKET_STATE.open);
    const { signal } = use.abort;
    onAbort(use.release.signal, () => {
      if (this.#device.isThere) rings.output.close();
    });
    try {
      for (let record = await nextOf(rings.output, signal); record !== undefined; record = await nextOf(rings.output, signal))
        await this.#send(number, socket, record);
    } catch (error) {
      if (!signal.aborted && !use.release.signal.aborted) throw error;
    } finally {
      input = undefined;
      await socket.close();
      this.#leave(rings);
    }
  }

  #arrived(number: number, input: Rings['input'] | undefined, bytes: Uint8Array, from: SocketAddress): void {
    if (input === undefined || !this.#device.isThere) return;
    const record = new Uint8Array(ADDRESS.bytes + bytes.length);
    writeAddress({ u8: record, dv: new DataView(record.buffer) }, 0, from);
    record.set(bytes, ADDRESS.bytes);
    if (record.length > SOCKET_RECORD || !input.offer(record))
      Atomics.add(this.#device.words.i32, this.#word(number, SOCKET_LINE.dropped), 1);
  }

  async #send(number: number, socket: { send(bytes: Uint8Array, to: SocketAddress): Promise<void> }, record: Uint8Array): Promise<void> {
    try {
      const to = readAddress({ u8: record, dv: new DataView(record.buffer, record.byteOffset, record.length) }, 0);
      this.#demandReachable(to);
      await socket.send(record.subarray(ADDRESS.bytes), to);
    } catch (error) {
      this.#setError(number, error);
    }
  }

  // --- the dead, and the end --------------------------------------------------------------------------------------------------

  #sweep(): void {
    this.#sweeping = this.#device.host.timer(SWEEP_MS, () => {
      if (this.#device.signal.aborted || !this.#device.isThere) return;
      this.#releaseDead();
      this.#sweep();
    });
  }

  #releaseDead(): void {
    const { threads } = this.#device.words;
    const known = new Map<number, boolean>();
    for (let number = 0; number < this.#count; number++) {
      const owner = this.#get(number, SOCKET_LINE.owner);
      if (owner === 0 || (owner & SOCKET_DRIVER) !== 0) continue;
      let lives = known.get(owner);
      if (lives === undefined) known.set(owner, (lives = threads.lives(owner & THREAD_MASK)));
      if (lives) continue;
      const use = this.#uses.get(number);
      if (use === undefined) this.#free(number);
      else use.release.abort();
    }
  }

  async close(): Promise<void> {
    this.#device.end();
    this.#sweeping?.cancel();
    for (const socket of this.#sockets.made) socket.end();
    const uses = [...this.#uses.values()];
    for (const { abort } of uses) abort.abort();
    await Promise.allSettled(uses.map(({ done }) => done));
    await this.#running;
    if (!this.#device.isThere) return;
    for (let number = 0; number < this.#count; number++) this.#device.words.wake(this.#word(number, SOCKET_LINE.state));
  }
}

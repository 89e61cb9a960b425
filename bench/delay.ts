/**
 * A link with a round trip of so many milliseconds between programs on one machine, without any rights: a TCP proxy on loopback that holds
 * every chunk back for half of it, in each direction. Order is kept, and there is no bound on what is under way, so that only the delay
 * is added. Where the link has a rate, a chunk goes when those before it are over, and who sends more than a part of a second waits. It runs on a thread of its own; the last part of each wait is spent in naps, because timers are a millisecond off, and who only
 * looked at the clock would be in the way of those who are measured.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';

/** The rest of a wait that no timer is trusted with, in milliseconds. */
const WATCH = 2.5;
/** How long nothing is looked at meanwhile, and from what rest on the clock is looked at all the time. */
const NAP = 0.1;
const LOOK = 0.2;
const still = new Int32Array(new SharedArrayBuffer(4));

interface Held {
  readonly due: number;
  /** Undefined: the sender has ended. */
  readonly chunk: Buffer | undefined;
}

/** One direction of one connection. */
interface Way {
  readonly to: Socket;
  readonly held: Held[];
  /** When the last chunk is over, on a link that has a rate. */
  over: number;
}

const active = new Set<Way>();
let wakeAt = Infinity;
let timer: NodeJS.Timeout | undefined;
let watching = false;

/** Delivers what is due, and comes back for what is due next. */
function deliver(): void {
  watching = false;
  wakeAt = Infinity;
  const now = performance.now();
  let next = Infinity;
  for (const way of active) {
    let given = 0;
    for (const { due, chunk } of way.held) {
      if (due > now) {
        next = Math.min(next, due);
        break;
      }
      given++;
      if (chunk === undefined) way.to.end();
      else if (way.to.writable) way.to.write(chunk);
    }
    way.held.splice(0, given);
    if (way.held.length === 0) active.delete(way);
  }
  if (next < Infinity) wake(next, now);
}

function wake(due: number, now: number): void {
  if (watching || due >= wakeAt) return;
  wakeAt = due;
  clearTimeout(timer);
  const rest = due - now;
  if (rest > WATCH) timer = setTimeout(deliver, Math.floor(rest - WATCH + 1));
  else {
    watching = true;
    if (rest > LOOK) Atomics.wait(still, 0, 0, NAP);
    setImmediate(deliver);
  }
}

/** What is under way on a link that has a rate, in milliseconds; who sends waits while there is more. */
const UNDER_WAY = 200;

/** `rate`: bytes a millisecond. */
function carry(from: Socket, to: Socket, delay: number, rate: number): void {
  const way: Way = { to, held: [], over: 0 };
  const hold = (chunk: Buffer | undefined): void => {
    const now = performance.now();
    way.over = Math.max(way.over, now) + (chunk?.length ?? 0) / rate;
    const due = way.over + delay;
    way.held.push({ due, chunk });
    active.add(way);
    wake(due, now);
    const ahead = way.over - now;
    if (ahead < UNDER_WAY || from.isPaused()) return;
    from.pause();
    setTimeout(() => from.resume(), ahead - UNDER_WAY / 2);
  };
  from.on('data', hold);
  from.once('end', () => hold(undefined));
  from.once('error', () => to.destroy());
  from.once('close', () => {
    if (from.errored !== null) to.destroy();
  });
}

interface Asked {
  readonly port: number;
  readonly roundTrip: number;
  /** Bytes a millisecond. */
  readonly rate: number;
}

/** The thread: opens a way to a port for each message, and says where it begins. */
function serve(): void {
  parentPort?.on('message', ({ port, roundTrip, rate }: Asked) => {
    const server = createServer({ noDelay: true, allowHalfOpen: true }, (near) => {
      const far = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
      carry(near, far, roundTrip / 2, rate);
      carry(far, near, roundTrip / 2, rate);
    });
    server.listen(0, '127.0.0.1', () => parentPort?.postMessage((server.address() as AddressInfo).port, []));
  });
}

/** Where links begin. */
export class Links {
  readonly #thread = new Worker(fileURLToPath(import.meta.url), { workerData: { what: 'links' } });
  #turn: Promise<unknown> = Promise.resolve();

  /** A port of loopback that leads to another one with this round trip, and so many megabits a second; the same port where there is neither. */
  async through(port: number, roundTrip: number, megabits = Infinity): Promise<number> {
    if (roundTrip === 0 && megabits === Infinity) return port;
    const answered = this.#turn.then(() => this.#ask({ port, roundTrip, rate: megabits * 125 }));
    this.#turn = answered;
    return answered;
  }

  #ask(asked: Asked): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#thread.once('error', reject);
      this.#thread.once('message', (begin: number) => {
        this.#thread.off('error', reject);
        resolve(begin);
      });
      this.#thread.postMessage(asked, []);
    });
  }

  async close(): Promise<void> {
    await this.#thread.terminate();
  }
}

if (!isMainThread && typeof workerData === 'object' && workerData !== null && 'what' in workerData && workerData.what === 'links') serve();

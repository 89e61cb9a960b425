/**
 * The driver of clock and timers: a thread that sleeps until something is due, and sees to it. It maps the devices' objects for itself, so
 * it needs nothing of the thread that started it, and nothing there can hold it up.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { CLOCK, HEAD, INTERRUPT_BYTES, STATUS, TIMER, TIMER_FLAG, TIMER_INTERRUPT, TIMER_LINE } from '../../abi/device-format.ts';
import type { WordState } from '../../abi/sync.ts';
import { Region } from '../futex.ts';
import { loadNative } from '../native-threads.ts';
import { libc } from './libc.ts';
import { LinuxHost } from './linux.ts';
import type { TickerPlace } from './ticker.ts';

const CLOCK_REALTIME = 0;
const NANOS_A_MS = 1e6;
/** How often the owners of timers are looked at, in nanoseconds. */
const SWEEP = 500_000_000n;
/** Longest sleep, in milliseconds. */
const LONGEST_MS = 60_000;

const { stop, clock, timer }: { stop: SharedArrayBuffer; clock: TickerPlace | undefined; timer: TickerPlace | undefined } = workerData;
loadNative();
const host = new LinuxHost();
const { threads } = host.futex;

/** Seconds and nanoseconds. */
const spec = new BigInt64Array(new SharedArrayBuffer(16));
const specBytes = new Uint8Array(spec.buffer);
const { clockGettime } = libc();

function wallTime(): bigint {
  clockGettime(CLOCK_REALTIME, specBytes);
  return (spec[0] ?? 0n) * 1_000_000_000n + (spec[1] ?? 0n);
}

/** CLOCK_MONOTONIC. */
const monotonicTime = (): bigint => process.hrtime.bigint();

/** The object's words, in a mapping of this thread's own. */
function mapped({ path, size }: TickerPlace): Region {
  const window = host.openWindow();
  const file = host.open(path, 'write');
  window.mapShared(0, size, file, 0);
  host.close(file);
  return new Region(host.futex, new Uint8Array(window.buffer, 0, size));
}

/** What clock and timers have in common: a device whose driver is this thread. */
class Driven {
  readonly words: Region;
  readonly i32: Int32Array;
  readonly at: number;
  /** Where what its class has begins. */
  readonly body: number;

  constructor(place: TickerPlace) {
    this.words = mapped(place);
    this.i32 = this.words.i32;
    this.at = place.at;
    this.body = place.at + HEAD.bytes;
  }

  /** A number of 64 bits at a byte offset from the object's start. */
  longs(offset: number, count: number): BigInt64Array {
    return new BigInt64Array(this.i32.buffer, this.i32.byteOffset + offset, count);
  }

  begin(): void {
    Atomics.store(this.i32, (this.at + HEAD.driver) >>> 2, threads.self);
    Atomics.store(this.i32, (this.at + HEAD.status) >>> 2, STATUS.ready);
  }

  raise(interrupt: number): void {
    const index = (this.at + HEAD.interrupts + interrupt * INTERRUPT_BYTES) >>> 2;
    Atomics.add(this.i32, index, 1);
    this.words.wake(index);
  }

  end(): void {
    Atomics.store(this.i32, (this.at + HEAD.status) >>> 2, STATUS.closed);
  }
}

// --- the clock ------------------------------------------------------------------------------------------------------------------

class Clock extends Driven {
  readonly #sequence: number;
  readonly #times: BigInt64Array;
  readonly #step: bigint;
  /** When it is to be set again. */
  due = 0n;

  constructor(place: TickerPlace) {
    super(place);
    this.#sequence = (this.body + CLOCK.sequence) >>> 2;
    this.#times = this.longs(this.body + CLOCK.monotonic, 3);
    this.#step = BigInt(this.words.dv.getUint32(this.body + CLOCK.resolution, true));
  }

  /** The one who writes: even, odd, even again. */
  set(now: bigint): void {
    if (now < this.due) return;
    Atomics.add(this.i32, this.#sequence, 1);
    Atomics.store(this.#times, 0, now);
    Atomics.store(this.#times, 1, wallTime());
    Atomics.add(this.#times, 2, 1n);
    Atomics.add(this.i32, this.#sequence, 1);
    this.due = now + this.#step;
  }
}

// --- timers ---------------------------------------------------------------------------------------------------------------------

interface Armed {
  command: number;
  /** 0 for none. */
  deadline: bigint;
  period: bigint;
}

class Timers extends Driven {
  readonly doorbell: number;
  readonly #armed: Armed[];
  readonly #first: number;
  #heard = 0;
  /** The nearest deadline; undefined for none. */
  due: bigint | undefined;
  #swept = 0n;

  constructor(place: TickerPlace) {
    super(place);
    this.doorbell = (this.at + HEAD.doorbell) >>> 2;
    this.#first = this.words.dv.getUint32(this.body + TIMER.linesAt, true);
    const count = this.words.dv.getUint32(this.body + TIMER.lines, true);
    this.#armed = Array.from({ length: count }, () => ({ command: 0, deadline: 0n, period: 0n }));
  }

  /** The doorbell's value when orders were looked for last: to sleep on. */
  get state(): WordState {
    return { words: this.words, index: this.doorbell, value: this.#heard };
  }

  #word(line: number, offset: number): number {
    return (this.#first + line * TIMER_LINE.bytes + offset) >>> 2;
  }

  /** Reads what programs have ordered. */
  hear(now: bigint): void {
    const heard = Atomics.load(this.i32, this.doorbell);
    if (heard === this.#heard) return;
    this.#heard = heard;
    for (const [line, armed] of this.#armed.entries())
      if (Atomics.load(this.i32, this.#word(line, TIMER_LINE.command)) !== armed.command) this.#obey(line, armed, now);
    this.#findNearest();
  }

  #obey(line: number, armed: Armed, now: bigint): void {
    const times = this.longs(this.#first + line * TIMER_LINE.bytes + TIMER_LINE.deadline, 2);
    let flags = 0;
    do {
      armed.command = Atomics.load(this.i32, this.#word(line, TIMER_LINE.command));
      armed.deadline = Atomics.load(times, 0);
      armed.period = Atomics.load(times, 1);
      flags = Atomics.load(this.i32, this.#word(line, TIMER_LINE.flags));
      // A newer order that was half given.
    } while (Atomics.load(this.i32, this.#word(line, TIMER_LINE.command)) !== armed.command);
    if ((flags & TIMER_FLAG.relative) !== 0 && armed.deadline !== 0n) armed.deadline += now;
    Atomics.store(this.i32, this.#word(line, TIMER_LINE.settled), armed.command);
    this.words.wake(this.#word(line, TIMER_LINE.settled));
    if ((flags & TIMER_FLAG.release) !== 0) this.#free(line, armed);
  }

  #free(line: number, armed: Armed): void {
    armed.deadline = 0n;
    Atomics.store(this.i32, this.#word(line, TIMER_LINE.flags), 0);
    Atomics.store(this.i32, this.#word(line, TIMER_LINE.missed), 0);
    Atomics.store(this.i32, this.#word(line, TIMER_LINE.owner), 0);
  }

  #findNearest(): void {
    this.due = undefined;
    for (const { deadline } of this.#armed) if (deadline !== 0n && (this.due === undefined || deadline < this.due)) this.due = deadline;
  }

  /** Fires what is due. */
  fire(now: bigint): void {
    if (this.due === undefined || this.due > now) return;
    for (const [line, armed] of this.#armed.entries()) {
      if (armed.deadline === 0n || armed.deadline > now) continue;
      // Cancelled, or armed anew, and not heard of yet.
      if (Atomics.load(this.i32, this.#word(line, TIMER_LINE.command)) !== armed.command) continue;
      this.#next(line, armed, now);
      Atomics.add(this.i32, this.#word(line, TIMER_LINE.fired), 1);
      this.words.wake(this.#word(line, TIMER_LINE.fired));
    }
    this.raise(TIMER_INTERRUPT.fired);
    this.#findNearest();
  }

  /** Periods that went by while it was late are counted, not made up for. */
  #next(line: number, armed: Armed, now: bigint): void {
    if (armed.period === 0n) {
      armed.deadline = 0n;
      return;
    }
    const late = (now - armed.deadline) / armed.period;
    if (late > 0n) Atomics.add(this.i32, this.#word(line, TIMER_LINE.missed), Number(BigInt.asIntN(32, late)));
    armed.deadline += (late + 1n) * armed.period;
  }

  /** Takes back the timers of threads that have ended. */
  sweep(now: bigint): void {
    if (now - this.#swept < SWEEP) return;
    this.#swept = now;
    const known = new Map<number, boolean>();
    for (const [line, armed] of this.#armed.entries()) {
      const owner = Atomics.load(this.i32, this.#word(line, TIMER_LINE.owner));
      if (owner === 0) continue;
      let lives = known.get(owner);
      if (lives === undefined) known.set(owner, (lives = threads.lives(owner)));
      if (!lives) {
        armed.command = Atomics.load(this.i32, this.#word(line, TIMER_LINE.command));
        this.#free(line, armed);
      }
    }
    this.#findNearest();
  }

  override end(): void {
    super.end();
    for (let line = 0; line < this.#armed.length; line++) {
      this.words.wake(this.#word(line, TIMER_LINE.fired));
      this.words.wake(this.#word(line, TIMER_LINE.settled));
    }
    this.raise(TIMER_INTERRUPT.fired);
  }
}

// --- the thread -----------------------------------------------------------------------------------------------------------------

const stopping = new Region(host.futex, new Uint8Array(stop));
const clockDevice = clock === undefined ? undefined : new Clock(clock);
const timerDevice = timer === undefined ? undefined : new Timers(timer);

/** How long until something is due, in milliseconds. */
function rest(now: bigint): number {
  let ms = timerDevice === undefined ? LONGEST_MS : Number(SWEEP) / NANOS_A_MS;
  if (clockDevice !== undefined) ms = Math.min(ms, Number(clockDevice.due - now) / NANOS_A_MS);
  const due = timerDevice?.due;
  if (due !== undefined) ms = Math.min(ms, Number(due - now) / NANOS_A_MS);
  return Math.max(0, ms);
}

function run(): void {
  clockDevice?.set(monotonicTime());
  for (const device of [clockDevice, timerDevice]) device?.begin();
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port between threads has no origin
  parentPort?.postMessage('ready');
  while (Atomics.load(stopping.i32, 0) === 0) {
    const now = monotonicTime();
    clockDevice?.set(now);
    timerDevice?.hear(now);
    timerDevice?.fire(now);
    timerDevice?.sweep(now);
    const states: WordState[] = [{ words: stopping, index: 0, value: 0 }];
    if (timerDevice !== undefined) states.push(timerDevice.state);
    stopping.waitAny(states, rest(monotonicTime()));
  }
  for (const device of [clockDevice, timerDevice]) device?.end();
}

run();

/** Clock and timers. Reading the clock costs a few loads; a timer is a word that is raised when its time has come. */
import { CLOCK, TIMER, TIMER_FLAG, TIMER_LINE } from '../../abi/device-format.ts';
import { TwzError } from '../../abi/errors.ts';
import type { AsyncWaitOptions, WaitOptions } from '../sync/waiting.ts';
import type { SyncWord } from '../sync/thread-sync.ts';
import { Device, claimLine, type DeviceHead, type Pause } from './head.ts';

// --- clock ----------------------------------------------------------------------------------------------------------------------

/** So many readings of one time: the driver may be dead, or somebody is in a hurry. */
const STANDING = 100_000;
const FENCE = new Int32Array(new SharedArrayBuffer(4));

export interface Time {
  /** Nanoseconds since the machine began, never going back: as `process.hrtime.bigint()`. */
  readonly monotonic: bigint;
  /** Nanoseconds since 1970. */
  readonly wall: bigint;
}

export class ClockDevice extends Device {
  readonly #sequence: number;
  readonly #times: BigInt64Array;
  #last = -1;
  #same = 0;

  constructor(head: DeviceHead) {
    super(head);
    const { i32 } = head;
    this.#sequence = (this.body + CLOCK.sequence) >>> 2;
    this.#times = new BigInt64Array(i32.buffer, i32.byteOffset + this.body + CLOCK.monotonic, 2);
  }

  /** How far behind the clock may be, in nanoseconds, while its driver gets a processor. */
  get resolution(): number {
    return this.get(CLOCK.resolution);
  }

  /** Both times of one moment. Throws DeviceGone once it is noticed that the driver is dead: `status` tells at once. */
  read(): Time {
    const times = this.#times;
    for (;;) {
      const before = this.#begin();
      const monotonic = Atomics.load(times, 0);
      const wall = Atomics.load(times, 1);
      Atomics.add(FENCE, 0, 0);
      if (Atomics.load(this.head.i32, this.#sequence) === before) return { monotonic, wall };
    }
  }

  monotonic(): bigint {
    this.#begin();
    return Atomics.load(this.#times, 0);
  }

  wall(): bigint {
    this.#begin();
    return Atomics.load(this.#times, 1);
  }

  /** The sequence, once it is even. */
  #begin(): number {
    for (;;) {
      const sequence = Atomics.load(this.head.i32, this.#sequence);
      if (sequence !== this.#last) {
        this.#last = sequence;
        this.#same = 0;
      } else if (++this.#same > STANDING) {
        this.#same = 0;
        this.head.demandServed();
      }
      if (sequence % 2 === 0) return sequence;
    }
  }
}

// --- timers ---------------------------------------------------------------------------------------------------------------------

export interface TimerOptions {
  /** Milliseconds from now. */
  readonly after?: number;
  /** The clock's monotonic time, in nanoseconds. */
  readonly at?: bigint;
  /** And then again each time so many milliseconds have gone by. */
  readonly every?: number;
}

function nanos(ms: number, what: string): bigint {
  if (!(ms >= 0 && ms <= 1e12))
    throw new TwzError('InvalidArgument', `${what}: ${ms}; expected milliseconds from 0 to 10^12`, { [what]: ms });
  return BigInt(Math.round(ms * 1e6));
}

export class TimerDevice extends Device {
  /** How many there are. */
  get timers(): number {
    return this.get(TIMER.lines);
  }

  /** A timer of the device's, not armed yet. Throws DeviceBusy, DeviceGone. */
  claim(): DeviceTimer {
    this.head.demandReady();
    const line = claimLine(this.head, this.get(TIMER.linesAt), this.timers, TIMER_LINE.bytes, TIMER_LINE.owner);
    if (line < 0) throw new TwzError('DeviceBusy', `all ${this.timers} timers are in use`, { timers: this.timers });
    return new DeviceTimer(this.head, line);
  }

  /** A timer that runs. */
  arm(options: TimerOptions): DeviceTimer {
    const timer = this.claim();
    try {
      timer.arm(options);
    } catch (error) {
      timer.release();
      throw error;
    }
    return timer;
  }
}

export class DeviceTimer {
  readonly #head: DeviceHead;
  readonly #line: number;
  readonly #times: BigInt64Array;
  /** What `fired` was when it was looked at last. */
  #seen: number;
  #released = false;

  constructor(head: DeviceHead, line: number) {
    const { i32 } = head;
    this.#head = head;
    this.#line = line;
    this.#times = new BigInt64Array(i32.buffer, i32.byteOffset + line + TIMER_LINE.deadline, 2);
    this.#seen = this.#get(TIMER_LINE.fired);
  }

  #get(offset: number): number {
    return Atomics.load(this.#head.i32, (this.#line + offset) >>> 2);
  }

  /** The word that is raised, and woken, each time it fires: for `threadSync` together with others. */
  get word(): SyncWord {
    return { words: this.#head.words, index: (this.#line + TIMER_LINE.fired) >>> 2, bits: 32 };
  }

  /** How often a period went by while it was late. */
  get missed(): number {
    return this.#get(TIMER_LINE.missed);
  }

  #order(deadline: bigint, period: bigint, flags: number): void {
    if (this.#released) throw new TwzError('InvalidArgument', 'the timer was released');
    const { i32 } = this.#head;
    Atomics.store(this.#times, 0, deadline);
    Atomics.store(this.#times, 1, period);
    Atomics.store(i32, (this.#line + TIMER_LINE.flags) >>> 2, flags);
    Atomics.add(i32, (this.#line + TIMER_LINE.command) >>> 2, 1);
    this.#head.knock();
  }

  /** Arms it, or arms it anew. What it fired before counts for the next wait. Throws InvalidArgument. */
  arm({ after, at, every }: TimerOptions): void {
    const period = every === undefined ? 0n : nanos(every, 'every');
    if (every !== undefined && period < 1000n)
      throw new TwzError('OutOfRange', `every ${every} ms; a period has a microsecond at least`, { every });
    if (at !== undefined) this.#order(at > 0n ? at : 1n, period, 0);
    else this.#order(after === undefined ? (period === 0n ? 1n : period) : nanos(after, 'after') || 1n, period, TIMER_FLAG.relative);
  }

  /** Disarms it: once this returns it does not fire any more. */
  cancelSync(options?: WaitOptions): void {
    this.#order(0n, 0n, 0);
    this.#head.untilSync(this.#settling(), options);
    this.#seen = this.#get(TIMER_LINE.fired);
  }

  async cancel(options?: AsyncWaitOptions): Promise<void> {
    this.#order(0n, 0n, 0);
    await this.#head.until(this.#settling(), options);
    this.#seen = this.#get(TIMER_LINE.fired);
  }

  #settling(): () => Pause | undefined {
    const wanted = this.#get(TIMER_LINE.command);
    const index = (this.#line + TIMER_LINE.settled) >>> 2;
    return () => {
      const value = Atomics.load(this.#head.i32, index);
      return value === wanted ? undefined : { index, value };
    };
  }

  /** Blocks until it has fired since the last wait: how often. Throws DeviceGone, DeviceTimedOut. */
  waitSync(options?: WaitOptions): number {
    this.#head.untilSync(() => this.#pause(), options);
    return this.#taken();
  }

  async wait(options?: AsyncWaitOptions): Promise<number> {
    await this.#head.until(() => this.#pause(), options);
    return this.#taken();
  }

  #pause(): Pause | undefined {
    const index = (this.#line + TIMER_LINE.fired) >>> 2;
    const value = Atomics.load(this.#head.i32, index);
    return value === this.#seen ? { index, value } : undefined;
  }

  #taken(): number {
    const fired = this.#get(TIMER_LINE.fired);
    const count = (fired - this.#seen) | 0;
    this.#seen = fired;
    return count;
  }

  /** Disarms it and gives it back. */
  release(): void {
    if (this.#released) return;
    if (this.#head.isThere) this.#order(0n, 0n, TIMER_FLAG.release);
    this.#released = true;
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

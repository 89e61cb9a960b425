/** The system's futex, by address. Used by the threads of a program and by the one that sleeps for promises. */
import { TwzError } from '../../abi/errors.ts';
import type { Wait } from '../../abi/sync.ts';
import { addressOf, lastError, libc } from './libc.ts';
import { CLOCK_MONOTONIC, FUTEX_WAIT, FUTEX_WAKE, SYS_FUTEX_WAITV, WAITV, futexNumber } from './syscalls.ts';

/** Longest single sleep in the system, in milliseconds: in between a thread can be terminated. */
const SLICE_MS = 250;
/** Where several words cannot be slept on at once, they are looked at this often. */
const POLL_MS = 1;

export class FutexCalls {
  readonly #libc = libc();
  readonly #futex = futexNumber();
  readonly #errors: {
    readonly again: number;
    readonly interrupted: number;
    readonly timedOut: number;
    readonly fault: number;
    readonly missing: number;
  };
  /** Two numbers, seconds and nanoseconds. In shared memory: it never moves. */
  readonly #time = new BigInt64Array(new SharedArrayBuffer(16));
  readonly #timeAt: number = addressOf(new Uint8Array(this.#time.buffer));
  readonly #vector = new DataView(new SharedArrayBuffer(WAITV.size * WAITV.max));
  readonly #vectorAt: number = addressOf(new Uint8Array(this.#vector.buffer));
  /** Whether several words can be slept on at once (Linux 5.16). */
  #many: boolean;

  constructor(many = true) {
    this.#many = many;
    const { errors } = this.#libc;
    this.#errors = {
      again: errors['EAGAIN'] ?? 11,
      interrupted: errors['EINTR'] ?? 4,
      timedOut: errors['ETIMEDOUT'] ?? 110,
      fault: errors['EFAULT'] ?? 14,
      missing: errors['ENOSYS'] ?? 38,
    };
  }

  /** Sleeps while the word at the address has the value. */
  wait(address: number, value: number, timeout: number): Wait {
    const { syscall } = this.#libc;
    const deadline = performance.now() + timeout;
    for (let left = timeout; ; left = deadline - performance.now()) {
      if (left <= 0) return 'timedOut';
      this.#setTime(Math.min(left, SLICE_MS));
      if (syscall(this.#futex, address, FUTEX_WAIT, value, this.#timeAt, 0, 0) === 0) return 'woken';
      const error = this.#libc.errno();
      if (error === this.#errors.again) return 'changed';
      this.#expect(error);
    }
  }

  /** Does the word have the value now? Never sleeps; a wake that comes meanwhile is not lost: it is told. */
  probe(address: number, value: number): Wait | 'fault' {
    this.#setTime(0);
    if (this.#libc.syscall(this.#futex, address, FUTEX_WAIT, value, this.#timeAt, 0, 0) === 0) return 'woken';
    const error = this.#libc.errno();
    return error === this.#errors.again ? 'changed' : error === this.#errors.fault ? 'fault' : 'timedOut';
  }

  wake(address: number, count: number): number {
    const woken = this.#libc.syscall(this.#futex, address, FUTEX_WAKE, count, 0, 0, 0);
    if (woken < 0) throw this.#failure();
    return woken;
  }

  /** Names the word at a place of the vector for `waitVector`. */
  setVector(i: number, address: number, value: number): void {
    const at = i * WAITV.size;
    const vector = this.#vector;
    vector.setUint32(at + WAITV.value, value, true);
    vector.setUint32(at + WAITV.address, address % 2 ** 32, true);
    vector.setUint32(at + WAITV.address + 4, Math.floor(address / 2 ** 32), true);
    vector.setUint32(at + WAITV.flags, WAITV.flags32, true);
  }

  #vectorWord(i: number): { address: number; value: number } {
    const at = i * WAITV.size;
    const low = this.#vector.getUint32(at + WAITV.address, true);
    return {
      address: low + this.#vector.getUint32(at + WAITV.address + 4, true) * 2 ** 32,
      value: this.#vector.getUint32(at + WAITV.value, true),
    };
  }

  vectorAddress(i: number): number {
    return this.#vectorWord(i).address;
  }

  probeVector(i: number): Wait | 'fault' {
    const { address, value } = this.#vectorWord(i);
    return this.probe(address, value);
  }

  /**
   * One sleep on the first `count` words of the vector, up to a slice long. The place of one that was woken; 'look' where some word does
   * not have its value, or where that cannot be told; 'timedOut' where the slice is over.
   */
  waitVector(count: number, timeout: number): number | 'look' | 'timedOut' {
    if (!this.#many) return this.#pollVector(timeout);
    // An instant of the clock that Node reads, too.
    this.#setNanos(process.hrtime.bigint() + BigInt(Math.round(Math.min(timeout, SLICE_MS) * 1e6)));
    const woken = this.#libc.syscall(SYS_FUTEX_WAITV, this.#vectorAt, count, 0, this.#timeAt, CLOCK_MONOTONIC, 0);
    if (woken >= 0) return woken;
    const error = this.#libc.errno();
    if (error === this.#errors.timedOut || error === this.#errors.interrupted) return 'timedOut';
    if (error === this.#errors.again || error === this.#errors.fault) return 'look';
    if (error !== this.#errors.missing) throw this.#failure();
    this.#many = false;
    return 'look';
  }

  /** Without the call: sleeps on the first word alone, for so short a time that looking at the others after it will do. */
  #pollVector(timeout: number): number | 'look' {
    const { address, value } = this.#vectorWord(0);
    this.#setTime(Math.min(timeout, POLL_MS));
    return this.#libc.syscall(this.#futex, address, FUTEX_WAIT, value, this.#timeAt, 0, 0) === 0 ? 0 : 'look';
  }

  #setTime(ms: number): void {
    this.#setNanos(BigInt(Math.round(ms * 1e6)));
  }

  #setNanos(nanos: bigint): void {
    this.#time[0] = nanos / 1_000_000_000n;
    this.#time[1] = nanos % 1_000_000_000n;
  }

  /** A sleep that ended without news, or the error that it ended with. */
  #expect(error: number): void {
    if (error !== this.#errors.timedOut && error !== this.#errors.interrupted) throw this.#failure();
  }

  #failure(): TwzError {
    if (this.#libc.errno() === this.#errors.fault) return new TwzError('StaleReference', 'a word to sleep on is not mapped any more');
    return lastError('futex');
  }
}

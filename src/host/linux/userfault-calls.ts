/** userfaultfd(2) and its ioctls, for private memory whose pages are missing, and for faults of programs only. */
import { TwzError } from '../../abi/errors.ts';
import { addressOf, lastError, libc } from './libc.ts';
import { userfaultNumber } from './syscalls.ts';

const PAGE = 4096;
const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
/** Linux 5.11. Without it only a privileged process gets one, as it could hold up the kernel, too. */
const UFFD_USER_MODE_ONLY = 1;
const UFFD_API = 0xaan;
const MODE_MISSING = 1n;
const EVENT_PAGEFAULT = 0x12;

/** Requests, and the length of what they take. */
const IOCTL = {
  api: 0xc018aa3f,
  register: 0xc020aa00,
  unregister: 0x8010aa01,
  wake: 0x8010aa02,
  copy: 0xc028aa03,
  zeroPage: 0xc020aa04,
} as const;
/** The ioctls that a registered range must offer: wake, copy, zeropage. */
const NEEDED = (1n << 2n) | (1n << 3n) | (1n << 4n);

/** `struct uffd_msg`: event (u8), then for a page fault flags (u64 at 8) and address (u64 at 16). */
const MESSAGE = { size: 32, event: 0, address: 16 } as const;
const MESSAGES = 32;

/** `struct pollfd`. */
const POLL = { size: 8, events: 4, happened: 6, in: 1 } as const;

const EVENTFD_FLAGS = O_CLOEXEC | O_NONBLOCK;

export interface Descriptors {
  readonly faults: number;
  /** Rung by whoever has news for the thread that serves faults. Never closed: somebody may still ring. */
  readonly bell: number;
}

/** Undefined where the system does not give it to this process. */
export function openUserfault(): Descriptors | undefined {
  const { syscall, ioctl, eventfd, close } = libc();
  const number = userfaultNumber();
  if (number === undefined) return undefined;
  const faults = syscall(number, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY, 0, 0, 0, 0, 0);
  if (faults < 0) return undefined;
  const api = new DataView(new ArrayBuffer(24));
  api.setBigUint64(0, UFFD_API, true);
  const bell = ioctl(faults, IOCTL.api, new Uint8Array(api.buffer)) === 0 ? eventfd(0, EVENTFD_FLAGS) : -1;
  if (bell < 0) {
    close(faults);
    return undefined;
  }
  return { faults, bell };
}

/** From now on touches of missing pages of the range stand still until somebody serves them. */
export function registerRange(faults: number, address: number, length: number): void {
  const range = new DataView(new ArrayBuffer(32));
  range.setBigUint64(0, BigInt(address), true);
  range.setBigUint64(8, BigInt(length), true);
  range.setBigUint64(16, MODE_MISSING, true);
  if (libc().ioctl(faults, IOCTL.register, new Uint8Array(range.buffer)) !== 0) throw lastError('userfaultfd: register');
  if ((range.getBigUint64(24, true) & NEEDED) !== NEEDED) {
    unregisterRange(faults, address, length);
    throw new TwzError('NotSupported', 'userfaultfd: this memory cannot be filled page by page');
  }
}

/** Wakes who stands still there: missing pages read as zeros. */
export function unregisterRange(faults: number, address: number, length: number): void {
  const range = new BigUint64Array([BigInt(address), BigInt(length)]);
  if (libc().ioctl(faults, IOCTL.unregister, new Uint8Array(range.buffer)) !== 0) throw lastError('userfaultfd: unregister');
}

/** The calls of the thread that serves faults. Its structures are made once. */
export class FaultCalls {
  readonly #libc = libc();
  readonly #faults: number;
  readonly #errors: {
    readonly exists: number;
    readonly again: number;
    readonly missing: number;
    readonly gone: number;
    readonly interrupted: number;
  };
  readonly #polled = new DataView(new ArrayBuffer(2 * POLL.size));
  readonly #polledBytes = new Uint8Array(this.#polled.buffer);
  readonly #messages = new DataView(new ArrayBuffer(MESSAGE.size * MESSAGES));
  readonly #messageBytes = new Uint8Array(this.#messages.buffer);
  readonly #rung = new Uint8Array(8);
  readonly #bell: number;
  readonly #copy = new DataView(new ArrayBuffer(40));
  readonly #copyBytes = new Uint8Array(this.#copy.buffer);
  readonly #range = new DataView(new ArrayBuffer(32));
  readonly #rangeBytes = new Uint8Array(this.#range.buffer);

  constructor({ faults, bell }: Descriptors) {
    this.#faults = faults;
    this.#bell = bell;
    const { errors } = this.#libc;
    this.#errors = {
      exists: errors['EEXIST'] ?? 17,
      again: errors['EAGAIN'] ?? 11,
      missing: errors['ENOENT'] ?? 2,
      gone: errors['ESRCH'] ?? 3,
      interrupted: errors['EINTR'] ?? 4,
    };
    for (const [i, fd] of [faults, bell].entries()) {
      this.#polled.setInt32(i * POLL.size, fd, true);
      this.#polled.setInt16(i * POLL.size + POLL.events, POLL.in, true);
    }
  }

  /** Sleeps until there is a fault or the bell rings, up to `ms` milliseconds. Does the bell ring? */
  sleep(ms: number): boolean {
    const count = this.#libc.poll(this.#polledBytes, 2, Math.max(0, Math.ceil(ms)));
    if (count < 0 && this.#libc.errno() !== this.#errors.interrupted) throw lastError('poll');
    if (count <= 0 || this.#polled.getInt16(POLL.size + POLL.happened, true) === 0) return false;
    this.#libc.read(this.#bell, this.#rung, 8);
    return true;
  }

  /** Addresses of pages that were touched. There may be more. */
  faults(): number[] {
    const length = this.#libc.read(this.#faults, this.#messageBytes, MESSAGE.size * MESSAGES);
    if (length < 0) {
      const error = this.#libc.errno();
      if (error !== this.#errors.again && error !== this.#errors.interrupted) throw lastError('userfaultfd: read');
    }
    const touched: number[] = [];
    for (let at = 0; at + MESSAGE.size <= length; at += MESSAGE.size) {
      if (this.#messages.getUint8(at + MESSAGE.event) !== EVENT_PAGEFAULT) continue;
      const address = Number(this.#messages.getBigUint64(at + MESSAGE.address, true));
      touched.push(address - (address % PAGE));
    }
    return touched;
  }

  /** Shows bytes, whole pages, from an address on, and wakes who waits for them. False where the range is not registered any more. */
  show(address: number, bytes: Uint8Array): boolean {
    const from = addressOf(bytes);
    const call = this.#copy;
    for (let done = 0; done < bytes.length;) {
      call.setBigUint64(0, BigInt(address + done), true);
      call.setBigUint64(8, BigInt(from + done), true);
      call.setBigUint64(16, BigInt(bytes.length - done), true);
      call.setBigUint64(24, 0n, true);
      call.setBigInt64(32, 0n, true);
      if (this.#libc.ioctl(this.#faults, IOCTL.copy, this.#copyBytes) === 0) return true;
      const error = this.#libc.errno();
      const copied = Number(call.getBigInt64(32, true));
      if (copied > 0) done += copied;
      else if (error === this.#errors.exists) {
        this.wake(address + done);
        done += PAGE;
      } else if (error === this.#errors.missing || error === this.#errors.gone) return false;
      // The address space changes just now: once more.
      else if (error !== this.#errors.again) throw lastError('userfaultfd: copy');
    }
    return true;
  }

  /** Shows a page of zeros. */
  zero(address: number): void {
    for (;;) {
      this.#setRange(address);
      this.#range.setBigUint64(16, 0n, true);
      if (this.#libc.ioctl(this.#faults, IOCTL.zeroPage, this.#rangeBytes) === 0) return;
      const error = this.#libc.errno();
      if (error === this.#errors.exists) {
        this.wake(address);
        return;
      }
      if (error === this.#errors.missing || error === this.#errors.gone) return;
      if (error !== this.#errors.again) throw lastError('userfaultfd: zeropage');
    }
  }

  wake(address: number): void {
    this.#setRange(address);
    // Where the range is gone nobody waits any more.
    this.#libc.ioctl(this.#faults, IOCTL.wake, this.#rangeBytes);
  }

  #setRange(address: number): void {
    this.#range.setBigUint64(0, BigInt(address), true);
    this.#range.setBigUint64(8, BigInt(PAGE), true);
  }

  /** Nobody serves faults any more: who waits, and whoever touches a missing page from now on, reads zeros. */
  end(): void {
    this.#libc.close(this.#faults);
  }
}

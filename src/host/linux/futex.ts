/**
 * Sleeping on a word until another process says that it changed: futex(2), without the PRIVATE flag, so that the word's file and offset
 * name it, not its address.
 */
import { TwzError } from '../../abi/errors.ts';
import { addressOf, lastError, libc } from './libc.ts';

const NUMBERS: Readonly<Record<string, number>> = { x64: 202, arm64: 98 };
const WAIT = 0;
const WAKE = 1;
const EAGAIN = 'EAGAIN';
const timeout = new Int32Array(4);
let timeoutAt = 0;

function number(): number {
  const found = NUMBERS[process.arch];
  if (found === undefined) throw new TwzError('NotSupported', `no futex on ${process.arch}`, { arch: process.arch });
  return found;
}

/** Returns when woken, when the word is not `value`, after `ms`, or for no reason. */
export function futexWait(address: number, value: number, ms: number): void {
  if (timeoutAt === 0) timeoutAt = addressOf(new Uint8Array(timeout.buffer));
  const seconds = Math.floor(ms / 1000);
  timeout[0] = seconds;
  timeout[1] = 0;
  timeout[2] = Math.floor((ms - seconds * 1000) * 1e6);
  timeout[3] = 0;
  const { syscall, errno, errors } = libc();
  if (syscall(number(), address, WAIT, value >>> 0, timeoutAt, 0, 0) === 0) return;
  const cause = errno();
  if (cause !== errors[EAGAIN] && cause !== errors['ETIMEDOUT'] && cause !== errors['EINTR']) throw lastError('futex wait');
}

export function futexWake(address: number, count: number): number {
  return libc().syscall(number(), address, WAKE, count, 0, 0, 0);
}

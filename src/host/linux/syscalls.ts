/** Numbers and layouts of the system calls on words and on page faults, for x86-64 and arm64. */
import { TwzError } from '../../abi/errors.ts';

interface Numbers {
  readonly futex: number;
  readonly userfaultfd: number;
}

const NUMBERS: Readonly<Record<string, Numbers>> = { x64: { futex: 202, userfaultfd: 323 }, arm64: { futex: 98, userfaultfd: 282 } };

export const FUTEX_WAIT = 0;
export const FUTEX_WAKE = 1;
/** Linux 5.16. The same on all machines. */
export const SYS_FUTEX_WAITV = 449;
export const CLOCK_MONOTONIC = 1;

/** `struct futex_waitv`, 24 bytes: value (u64), address (u64), flags (u32), zero (u32). */
export const WAITV = { size: 24, value: 0, address: 8, flags: 16, flags32: 2, max: 128 } as const;

export function futexNumber(): number {
  const known = NUMBERS[process.arch];
  if (known === undefined) throw new TwzError('HostUnavailable', `the numbers of system calls on ${process.arch} are not known`);
  return known.futex;
}

/** Undefined where it is not known. */
export function userfaultNumber(): number | undefined {
  return NUMBERS[process.arch]?.userfaultfd;
}

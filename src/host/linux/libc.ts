/** The C library calls that Node does not offer, over koffi. Addresses are numbers: user space ends below 2^47. */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';
import { TwzError, type ErrorName } from '../../abi/errors.ts';

interface Libc {
  readonly mmap: (address: number, length: number, prot: number, flags: number, fd: number, offset: number) => number;
  readonly madvise: (address: number, length: number, advice: number) => number;
  readonly mprotect: (address: number, length: number, prot: number) => number;
  readonly open: (path: string, flags: number) => number;
  readonly pread: (fd: number, into: Uint8Array, length: number, offset: number) => number;
  readonly close: (fd: number) => number;
  readonly flock: (fd: number, operation: number) => number;
  readonly syncfs: (fd: number) => number;
  /** In a thread of the pool; calls back with the result. */
  readonly syncfsAsync: (fd: number, done: (error: Error | null, result: number) => void) => void;
  readonly memmove: (to: Uint8Array, from: Uint8Array, length: number) => number;
  readonly syscall: (number: number, a: number, b: number, c: number, d: number, e: number, f: number) => number;
  /** Fills seconds and nanoseconds, 8 bytes each. */
  readonly clockGettime: (clock: number, into: Uint8Array) => number;
  readonly ioctl: (fd: number, request: number, argument: Uint8Array) => number;
  readonly memfdCreate: (name: string, flags: number) => number;
  readonly fcntl: (fd: number, command: number, argument: number) => number;
  readonly socket: (domain: number, type: number, protocol: number) => number;
  readonly connect: (fd: number, address: Uint8Array, length: number) => number;
  readonly shutdown: (fd: number, how: number) => number;
  readonly getsockopt: (fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array) => number;
  readonly setsockopt: (fd: number, level: number, name: number, value: Uint8Array, length: number) => number;
  /** The message by its address: what it points to must not move. */
  readonly sendmsg: (fd: number, message: number, flags: number) => number;
  readonly recvmsg: (fd: number, message: number, flags: number) => number;
  /** In a thread of the pool; calls back with the result. */
  readonly recvmsgAsync: (fd: number, message: number, flags: number, done: (error: Error | null, result: number) => void) => void;
  readonly fallocate: (fd: number, mode: number, offset: number, length: number) => number;
  readonly read: (fd: number, into: Uint8Array, length: number) => number;
  /** `struct pollfd`, 8 bytes each: descriptor (i32), events (i16), what happened (i16). */
  readonly poll: (descriptors: Uint8Array, count: number, timeout: number) => number;
  readonly eventfd: (value: number, flags: number) => number;
  readonly errno: () => number;
  readonly errors: Readonly<Record<string, number>>;
}

/** Loaded on first use, so that a machine without koffi can still import this package and take the portable host. */
function load(): Libc {
  const koffi: typeof Koffi = createRequire(import.meta.url)('koffi');
  const lib = koffi.load('libc.so.6');
  const syncfs = lib.func('int syncfs(int fd)');
  const recvmsg = lib.func('int64 recvmsg(int fd, int64 message, int flags)');
  return {
    syncfs,
    syncfsAsync: (fd, done) => syncfs.async(fd, done),
    mmap: lib.func('int64 mmap(int64 addr, size_t len, int prot, int flags, int fd, int64 off)'),
    madvise: lib.func('int madvise(int64 addr, size_t len, int advice)'),
    mprotect: lib.func('int mprotect(int64 addr, size_t len, int prot)'),
    open: lib.func('int open(str path, int flags)'),
    pread: lib.func('int64 pread(int fd, void *buf, size_t count, int64 offset)'),
    close: lib.func('int close(int fd)'),
    flock: lib.func('int flock(int fd, int op)'),
    memmove: lib.func('memmove', 'int64', ['void *', 'void *', 'size_t']),
    clockGettime: lib.func('int clock_gettime(int clock, void *time)'),
    ioctl: lib.func('int ioctl(int fd, uint64 request, void *argument)'),
    memfdCreate: lib.func('int memfd_create(str name, uint flags)'),
    fcntl: lib.func('int fcntl(int fd, int command, int argument)'),
    socket: lib.func('int socket(int domain, int type, int protocol)'),
    connect: lib.func('int connect(int fd, void *address, uint length)'),
    shutdown: lib.func('int shutdown(int fd, int how)'),
    getsockopt: lib.func('int getsockopt(int fd, int level, int name, void *value, void *length)'),
    setsockopt: lib.func('int setsockopt(int fd, int level, int name, void *value, uint length)'),
    sendmsg: lib.func('int64 sendmsg(int fd, int64 message, int flags)'),
    recvmsg,
    recvmsgAsync: (fd, message, flags, done) => recvmsg.async(fd, message, flags, done),
    fallocate: lib.func('int fallocate(int fd, int mode, int64 offset, int64 length)'),
    read: lib.func('int64 read(int fd, void *into, size_t length)'),
    poll: lib.func('int poll(void *descriptors, uint64 count, int timeout)'),
    eventfd: lib.func('int eventfd(uint value, int flags)'),
    // The arguments of futex(2), futex_waitv(2) and userfaultfd(2), the calls that go this way.
    syscall: lib.func('syscall', 'int64', ['int64', 'int64', 'int', 'uint32', 'int64', 'int64', 'uint32']),
    errno: () => koffi.errno(),
    errors: koffi.os.errno,
  };
}

let loaded: Libc | undefined;

/** Throws HostUnavailable where koffi or the C library cannot be loaded. */
export function libc(): Libc {
  try {
    loaded ??= load();
    return loaded;
  } catch (cause) {
    const detail = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    throw new TwzError('HostUnavailable', `koffi did not load: ${detail}`, {}, cause);
  }
}

/** The address of a buffer's first byte: memmove of nothing returns its destination. */
export function addressOf(bytes: Uint8Array): number {
  return libc().memmove(bytes, bytes, 0);
}

export const PROT = { none: 0, read: 1, readWrite: 3 } as const;
export const MAP = { shared: 0x01, private: 0x02, fixed: 0x10, anonymous: 0x20, noReserve: 0x4000 } as const;
export const MADV_DONTNEED = 4;
export const LOCK = { shared: 1, exclusive: 2, nonBlocking: 4, unlock: 8 } as const;

const NAMES: Readonly<Record<string, ErrorName>> = {
  ENOMEM: 'OutOfMemory',
  ENFILE: 'TooManyFiles',
  EMFILE: 'TooManyFiles',
  ENOENT: 'FileMissing',
  ENOTDIR: 'FileMissing',
  EACCES: 'ReadOnly',
  EPERM: 'ReadOnly',
  EROFS: 'ReadOnly',
  ENOSPC: 'DiskFull',
  EDQUOT: 'DiskFull',
  EFBIG: 'DiskFull',
};

/** The error of the call that just failed. */
export function lastError(what: string): TwzError {
  const { errno, errors } = libc();
  const number = errno();
  const code = Object.keys(NAMES).find((each) => errors[each] === number);
  const name = code === undefined ? undefined : NAMES[code];
  return new TwzError(name ?? 'IoError', `${what}: ${code ?? `errno ${number}`}`, { errno: code ?? number });
}

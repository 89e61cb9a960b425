/**
 * Devices as they lie in their objects. A device is a shared object; its root begins with a head of 512 bytes, and what its class has
 * follows. All numbers are little-endian; words that are slept on have 32 bits. Offsets of rings and lines count from the object's start.
 *
 *   0    magic, version, device type, bus type, class, number on its bus, flags, length of the name; 96 bytes of name
 *   128  status, the driver's thread, error                  written by the driver
 *   192  doorbell: programs add 1 and wake                   the driver sleeps on it
 *   256  8 interrupts of 16 bytes: a word that the driver adds 1 to and wakes, and what it stands for
 *   384  parts: how many, and where their table lies: 32 bytes each, ID, class, number
 *   512  what the class has
 *
 * Lines are the same everywhere: places of a fixed size that a program claims by storing its thread's number into the line's owner
 * (compare-and-exchange with 0). Of a program that died the driver takes them back.
 */
export const DEVICE_MAGIC = 0x56445754; // "TWDV" read as a little-endian u32
export const DEVICE_VERSION = 1;

/** Byte offsets from the root. */
export const HEAD = {
  magic: 0,
  version: 4,
  deviceType: 8,
  busType: 12,
  class: 16,
  number: 20,
  flags: 24,
  nameLength: 28,
  name: 32,
  status: 128,
  driver: 132,
  error: 136,
  doorbell: 192,
  interrupts: 256,
  parts: 384,
  partsAt: 388,
  bytes: 512,
} as const;
export const NAME_BYTES = 96;
export const INTERRUPTS = 8;
export const INTERRUPT_BYTES = 16;
export const PART = { id: 0, class: 16, number: 20, bytes: 32 } as const;

export const DEVICE_TYPE = { bus: 1, device: 2, part: 3 } as const;
export const BUS_TYPE = { system: 1, network: 2 } as const;
export const STATUS = { starting: 0, ready: 1, closed: 2, failed: 3 } as const;
export type DeviceStatus = keyof typeof STATUS | 'gone';

export const CLASS = { bus: 1, console: 2, clock: 3, timer: 4, entropy: 5, network: 6, socket: 7, block: 8 } as const;
export type DeviceClass = keyof typeof CLASS;

// --- what the classes have, from byte 512 of the root --------------------------------------------------------------------------

/** Rings: output of many producers, input of many consumers, records of up to `CONSOLE_RECORD` bytes. */
export const CONSOLE = { columns: 0, rows: 4, mode: 8, output: 12, input: 16, bytes: 64 } as const;
export const CONSOLE_RECORD = 1016;
export const CONSOLE_RECORDS = 64;
export const CONSOLE_MODE = { lines: 0, bytes: 1 } as const;
export const CONSOLE_INTERRUPT = { input: 0, size: 1 } as const;

/** Read while the sequence is even and has not changed. Nanoseconds. */
export const CLOCK = { sequence: 0, resolution: 4, monotonic: 8, wall: 16, updates: 24, bytes: 64 } as const;

export const TIMER = { lines: 0, linesAt: 4, bytes: 64 } as const;
/** `fired` is the word to sleep on. A deadline of 0: none. The driver reads a line once `command` has changed, and then settles it. */
export const TIMER_LINE = {
  fired: 0,
  owner: 4,
  command: 8,
  settled: 12,
  deadline: 16,
  period: 24,
  flags: 32,
  missed: 36,
  bytes: 64,
} as const;
/** `relative`: the deadline counts from when the driver sees it. `release`: the line is given back. */
export const TIMER_FLAG = { relative: 1, release: 2 } as const;
export const TIMER_INTERRUPT = { fired: 0 } as const;

/** A ring of one producer and many consumers, records of `ENTROPY_RECORD` random bytes. */
export const ENTROPY = { ring: 0, bytes: 64 } as const;
export const ENTROPY_RECORD = 64;
export const ENTROPY_RECORDS = 64;

export const NETWORK = { lines: 0, linesAt: 4, bytes: 64 } as const;
/** A socket: `state` is the word to sleep on, its object has the rings. */
export const SOCKET_LINE = {
  owner: 0,
  state: 4,
  command: 8,
  error: 12,
  backlog: 16,
  uses: 20,
  dropped: 24,
  listener: 28,
  local: 32,
  remote: 64,
  object: 96,
  bytes: 128,
} as const;
export const SOCKET_COMMAND = { none: 0, connect: 1, listen: 2, bind: 3, release: 4, abort: 5 } as const;
/** `closed`: what was on its way is in the ring still. */
export const SOCKET_STATE = { idle: 0, asked: 1, open: 2, closed: 3, failed: 4 } as const;
export const NETWORK_INTERRUPT = { freed: 0 } as const;
/** family 4 or 6, the port, 16 bytes of address (IPv4 in the first four). */
export const ADDRESS = { family: 0, port: 4, address: 8, bytes: 32 } as const;
/** In a line's owner: the program has given up; the driver frees the line when it is done. */
export const LINE_LEFT: number = 1 << 30;
/** In a socket's owner: the driver has it, until a program accepts it. */
export const SOCKET_DRIVER: number = 1 << 30;
/** Rings of a socket: of one producer and one consumer, records of up to `SOCKET_RECORD` bytes. */
export const SOCKET = { body: HEAD.bytes, output: 0, input: 4, bytes: 64 } as const;
export const SOCKET_RECORD = 16376;
export const SOCKET_RECORDS = 4;

export const BLOCK = { sectorSize: 0, flags: 4, sectors: 8, lines: 16, linesAt: 20, bytes: 64 } as const;
export const BLOCK_FLAG = { readOnly: 1 } as const;
/** A request: `state` is the word to sleep on. */
export const BLOCK_LINE = {
  state: 0,
  owner: 4,
  command: 8,
  error: 12,
  sector: 16,
  count: 24,
  offset: 28,
  object: 32,
  bytes: 64,
} as const;
export const BLOCK_COMMAND = { read: 1, write: 2, flush: 3, discard: 4 } as const;
export const BLOCK_STATE = { idle: 0, asked: 1, taken: 2, done: 3, failed: 4 } as const;
export const BLOCK_INTERRUPT = { completed: 0, freed: 1 } as const;
/** Bytes that one request moves at most. */
export const BLOCK_BYTES_MAX = 4 << 20;

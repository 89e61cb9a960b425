/** A file as a disk: sectors are read and written in threads of the pool, by nobody else at the same time. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { TwzError, isTwzError } from '../abi/errors.ts';
import type { Host, Lock } from './host.ts';
import { libc } from './linux/libc.ts';
import { systemError } from './node-files.ts';

const PUNCH_HOLE = 3;
const ZEROS = new Uint8Array(1 << 16);

export interface DiskOptions {
  readonly file: string;
  /** Bytes to have at least. */
  readonly size: number | undefined;
  readonly readOnly: boolean;
}

export class Disk {
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #lock: Lock | undefined;
  readonly #path: string;

  constructor(handle: FileHandle, lock: Lock | undefined, path: string, size: number) {
    this.#handle = handle;
    this.#lock = lock;
    this.#path = path;
    this.size = size;
  }

  /** Throws FileMissing, ReadOnly, DeviceBusy where another driver has the file. */
  static async open(host: Host, { file, size, readOnly }: DiskOptions): Promise<Disk> {
    let handle: FileHandle;
    try {
      handle = await open(
        file,
        readOnly ? constants.O_RDONLY : size === undefined ? constants.O_RDWR : constants.O_RDWR | constants.O_CREAT,
        0o644,
      );
    } catch (cause) {
      throw systemError(`open ${file}`, cause);
    }
    try {
      const lock = readOnly ? undefined : host.lock(file);
      const length = (await handle.stat()).size;
      if (size === undefined || length >= size) return new Disk(handle, lock, file, length);
      await handle.truncate(size);
      return new Disk(handle, lock, file, size);
    } catch (cause) {
      await handle.close();
      if (isTwzError(cause, 'SpaceBusy')) throw new TwzError('DeviceBusy', `another driver has ${file}`, { file }, cause);
      throw cause instanceof TwzError ? cause : systemError(`open ${file}`, cause);
    }
  }

  async #attempt(what: string, call: () => Promise<void>): Promise<void> {
    try {
      await call();
    } catch (cause) {
      throw systemError(`${what} ${this.#path}`, cause);
    }
  }

  /** Fills `into`; what the file has lost since reads as zero. */
  async read(into: Uint8Array, offset: number): Promise<void> {
    await this.#attempt('read', async () => {
      for (let have = 0; have < into.length;) {
        const { bytesRead } = await this.#handle.read(into, have, into.length - have, offset + have);
        if (bytesRead === 0) {
          into.fill(0, have);
          return;
        }
        have += bytesRead;
      }
    });
  }

  async write(from: Uint8Array, offset: number): Promise<void> {
    await this.#attempt('write', async () => {
      for (let have = 0; have < from.length;)
        have += (await this.#handle.write(from, have, from.length - have, offset + have)).bytesWritten;
    });
  }

  async flush(): Promise<void> {
    await this.#attempt('sync', () => this.#handle.datasync());
  }

  /** The range reads as zero; where the file system can, it takes no room. */
  async discard(offset: number, length: number): Promise<void> {
    if (libc().fallocate(this.#handle.fd, PUNCH_HOLE, offset, length) === 0) return;
    for (let at = 0; at < length; at += ZEROS.length) await this.write(ZEROS.subarray(0, Math.min(ZEROS.length, length - at)), offset + at);
  }

  async close(): Promise<void> {
    this.#lock?.release();
    await this.#attempt('close', () => this.#handle.close());
  }
}

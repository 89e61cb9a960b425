/** The file half of a host, over node:fs. Every system error leaves as a TwzError. */
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import { TwzError, type ErrorName } from '../abi/errors.ts';
import { ed25519, type Ed25519 } from './ed25519.ts';
import type { File, OpenMode, Timer } from './host.ts';

const NAMES: Readonly<Record<string, ErrorName>> = {
  ENOSPC: 'DiskFull',
  EDQUOT: 'DiskFull',
  EFBIG: 'DiskFull',
  EMFILE: 'TooManyFiles',
  ENFILE: 'TooManyFiles',
  EACCES: 'ReadOnly',
  EPERM: 'ReadOnly',
  EROFS: 'ReadOnly',
  ENOENT: 'FileMissing',
  ENOTDIR: 'FileMissing',
  ENOMEM: 'OutOfMemory',
};

/** Wraps a system error: `what` says which call on which file failed. */
export function systemError(what: string, cause: unknown): TwzError {
  const errno = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : 'unknown';
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new TwzError(NAMES[errno] ?? 'IoError', `${what}: ${detail}`, { errno }, cause);
}

/** Makes a call of the system, again where a signal interrupted it. Throws its error as a TwzError. */
export function attempt<T>(what: string, path: string | number, call: () => T): T {
  for (;;) {
    try {
      return call();
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'EINTR') continue;
      throw systemError(`${what} ${path}`, cause);
    }
  }
}

const FLAGS: Readonly<Record<OpenMode, number>> = {
  read: fs.constants.O_RDONLY,
  write: fs.constants.O_RDWR,
  create: fs.constants.O_RDWR | fs.constants.O_CREAT,
  writeThrough: fs.constants.O_RDWR | fs.constants.O_DSYNC,
};

const ZEROS = new Uint8Array(1 << 20);

export class NodeFiles {
  readonly pid = process.pid;
  readonly processors = os.availableParallelism();

  open(path: string, mode: OpenMode): File {
    return attempt('open', path, () => fs.openSync(path, FLAGS[mode], 0o644)) as File;
  }

  close(file: File): void {
    attempt('close', file, () => fs.closeSync(file));
  }

  length(file: File): number {
    return attempt('stat', file, () => fs.fstatSync(file).size);
  }

  truncate(file: File, length: number): void {
    attempt('truncate', file, () => fs.ftruncateSync(file, length));
  }

  read(file: File, into: Uint8Array, offset: number): number {
    let done = 0;
    while (done < into.length) {
      const n = attempt('read', file, () => fs.readSync(file, into, done, into.length - done, offset + done));
      if (n === 0) break;
      done += n;
    }
    return done;
  }

  readFile(path: string, into: Uint8Array): number {
    const file = this.open(path, 'read');
    try {
      return this.read(file, into, 0);
    } finally {
      this.close(file);
    }
  }

  write(file: File, from: Uint8Array, offset: number): void {
    let done = 0;
    while (done < from.length) {
      const n = attempt('write', file, () => fs.writeSync(file, from, done, from.length - done, offset + done));
      done += n;
    }
  }

  sync(file: File): void {
    attempt('sync', file, () => fs.fdatasyncSync(file));
  }

  syncAsync(file: File): Promise<void> {
    return new Promise((resolve, reject) => {
      fs.fdatasync(file, (cause) => (cause === null ? resolve() : reject(systemError('sync', cause))));
    });
  }

  writeThroughAsync(file: File, from: Uint8Array, offset: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const step = (done: number): void => {
        fs.write(file, from, done, from.length - done, offset + done, (cause, n) => {
          if (cause !== null) {
            if (cause.code === 'EINTR') step(done);
            else reject(systemError('write', cause));
          } else if (done + n < from.length) step(done + n);
          else resolve();
        });
      };
      step(0);
    });
  }

  preallocate(file: File, length: number): void {
    for (let at = this.length(file); at < length; at += ZEROS.length) {
      this.write(file, ZEROS.subarray(0, Math.min(ZEROS.length, length - at)), at);
    }
  }

  exists(path: string): boolean {
    return fs.existsSync(path);
  }

  makeDirectory(path: string): void {
    attempt('mkdir', path, () => fs.mkdirSync(path, { recursive: true }));
  }

  list(path: string): string[] {
    return attempt('list', path, () => fs.readdirSync(path));
  }

  rename(from: string, to: string): void {
    attempt('rename', from, () => fs.renameSync(from, to));
  }

  remove(path: string): void {
    attempt('remove', path, () => fs.rmSync(path, { force: true }));
  }

  syncDirectory(path: string): void {
    attempt('sync', path, () => {
      const fd = fs.openSync(path, fs.constants.O_RDONLY);
      try {
        fs.fsyncSync(fd);
      } finally {
        fs.closeSync(fd);
      }
    });
  }

  /** Without syncfs: every file and directory below, one by one. */
  syncAll(directory: string): void {
    for (const entry of attempt('list', directory, () => fs.readdirSync(directory, { withFileTypes: true }))) {
      const path = `${directory}/${entry.name}`;
      if (entry.isDirectory()) this.syncAll(path);
      else if (entry.isFile()) {
        const file = this.open(path, 'read');
        try {
          this.sync(file);
        } finally {
          this.close(file);
        }
      }
    }
    this.syncDirectory(directory);
  }

  async syncAllAsync(directory: string): Promise<void> {
    this.syncAll(directory);
  }

  time(): number {
    return Date.now();
  }

  now(): number {
    return performance.now();
  }

  random(bytes: number): Uint8Array {
    return crypto.randomFillSync(new Uint8Array(bytes));
  }

  readonly ed25519: Ed25519 = ed25519;

  sha256(...parts: Uint8Array[]): Uint8Array {
    const [only] = parts;
    if (parts.length === 1 && only !== undefined) return crypto.hash('sha256', only, 'buffer');
    const hash = crypto.createHash('sha256');
    for (const part of parts) hash.update(part);
    return hash.digest();
  }

  timer(ms: number, callback: () => void): Timer {
    const handle = setTimeout(callback, ms).unref();
    return { cancel: () => clearTimeout(handle) };
  }

  soon(callback: () => void): void {
    setImmediate(callback);
  }
}

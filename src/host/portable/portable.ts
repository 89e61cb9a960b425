/**
 * The host for machines without mmap: the same API, copies instead of maps. Objects are read whole into the window when they are
 * first touched, so opening an object costs its size, and memory is what is mapped rather than what is touched.
 *
 * The lock is a file that holds the process ID: a lock whose process is gone is taken over.
 */
import * as fs from 'node:fs';
import { TwzError } from '../../abi/errors.ts';
import type { File, Host, Lock, Window } from '../host.ts';
import { LocalFutex } from '../local-futex.ts';
import { Memory, type WasmMemory } from '../wasm-memory.ts';
import { NodeFiles, systemError } from '../node-files.ts';
import { ProcessThreads } from '../process-threads.ts';

const WINDOW_SIZE = 2 ** 32;

class CopyWindow implements Window {
  readonly memory: WasmMemory = new Memory({ initial: WINDOW_SIZE / 65536, maximum: WINDOW_SIZE / 65536, shared: true });
  readonly buffer: ArrayBufferLike = this.memory.buffer;
  readonly size = WINDOW_SIZE;
  readonly maps = false;
  readonly #files: NodeFiles;

  constructor(files: NodeFiles) {
    this.#files = files;
  }

  mapPrivate(at: number, length: number, file: File, offset: number): void {
    this.#files.read(file, new Uint8Array(this.buffer, at, length), offset);
  }

  mapShared(): boolean {
    return false;
  }

  clear(at: number, length: number): void {
    new Uint8Array(this.buffer, at, length).fill(0);
  }

  drop(): void {}

  own(): void {}

  protect(): void {}

  privatePages(): undefined {
    return undefined;
  }

  sleep(): void {
    throw noSharing();
  }

  wake(): void {}

  close(): void {}
}

function noSharing(): TwzError {
  return new TwzError('NotSupported', 'this host cannot share a space among processes');
}

function processLives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

export class PortableHost extends NodeFiles implements Host {
  readonly name = 'portable';
  readonly sharing = false;
  readonly futex: LocalFutex = new LocalFutex(new ProcessThreads());
  readonly #boot = Buffer.from(this.random(16)).toString('hex');

  lock(path: string): Lock {
    for (;;) {
      try {
        fs.writeFileSync(path, String(process.pid), { flag: 'wx' });
        return {
          release: () => fs.rmSync(path, { force: true }),
          share: () => {
            throw noSharing();
          },
        };
      } catch (cause) {
        if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) throw systemError(`lock ${path}`, cause);
      }
      const owner = Number.parseInt(fs.readFileSync(path, 'utf8'), 10);
      if (owner > 0 && processLives(owner)) {
        throw new TwzError('SpaceBusy', `${path} is held by process ${owner}`, { path, owner });
      }
      fs.rmSync(path, { force: true });
    }
  }

  lockShared(): Lock {
    throw noSharing();
  }

  openWindow(): Window {
    return new CopyWindow(this);
  }

  /** Nothing is shared past the process here: each is a run of its own. */
  boot(): string {
    return this.#boot;
  }
}

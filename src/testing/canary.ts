/**
 * Hosts with a known bug. The simulation must find each of them, or it would not find a like bug of ours.
 *
 *   sync-nothing       a sync returns and has done nothing
 *   log-unsynced       only the log's syncs do nothing: objects are written before the log that would repair them is durable
 *   files-unsynced     only the object files' syncs do nothing: the header lets go of the log that would repair them
 *   header-unsynced    only the control file's syncs do nothing: the log is recycled while the durable header still needs it
 *   names-unsynced     syncs of directories do nothing
 *   log-names-unsynced only those of the log's directory
 *   torn-acknowledge   a durable write is acknowledged before it is durable
 *   half-write         a write that returns has dropped its second half, where it is longer than a sector
 *   tail-lost          what is stored to the log's mapped tail does not outlive the process
 */
import type { File, OpenMode, Window } from '../host/host.ts';
import { SimulatedHost, type SimulatedOptions } from '../host/simulated/simulated.ts';

export const CANARIES = [
  'sync-nothing',
  'log-unsynced',
  'files-unsynced',
  'header-unsynced',
  'names-unsynced',
  'log-names-unsynced',
  'torn-acknowledge',
  'half-write',
  'tail-lost',
] as const;
export type Canary = (typeof CANARIES)[number];

const SECTOR = 512;

type Kind = 'log' | 'object' | 'header' | 'draft';

function kindOf(path: string): Kind {
  if (path.includes('/log/')) return 'log';
  if (path.includes('/objects/')) return 'object';
  return path.endsWith('/space.twz') ? 'header' : 'draft';
}

export class CanaryHost extends SimulatedHost {
  readonly #canary: Canary;
  readonly #kinds = new Map<File, Kind>();

  constructor(options: SimulatedOptions, canary: Canary) {
    super(options);
    this.#canary = canary;
  }

  override open(path: string, mode: OpenMode): File {
    const file = super.open(path, this.#canary === 'torn-acknowledge' && mode === 'writeThrough' ? 'write' : mode);
    this.#kinds.set(file, kindOf(path));
    return file;
  }

  #forgets(file: File): boolean {
    const kind = this.#kinds.get(file);
    return (
      this.#canary === 'sync-nothing' ||
      (this.#canary === 'log-unsynced' && kind === 'log') ||
      (this.#canary === 'files-unsynced' && kind === 'object') ||
      (this.#canary === 'header-unsynced' && kind === 'header')
    );
  }

  override sync(file: File): void {
    if (!this.#forgets(file)) super.sync(file);
  }

  override async syncAsync(file: File): Promise<void> {
    if (!this.#forgets(file)) await super.syncAsync(file);
  }

  override write(file: File, from: Uint8Array, offset: number): void {
    const half = this.#canary === 'half-write' && from.length > SECTOR;
    super.write(file, half ? from.subarray(0, from.length >>> 1) : from, offset);
  }

  override async writeThroughAsync(file: File, from: Uint8Array, offset: number): Promise<void> {
    if (this.#canary === 'torn-acknowledge' || this.#forgets(file)) this.write(file, from, offset);
    else await super.writeThroughAsync(file, from, offset);
  }

  override syncDirectory(path: string): void {
    if (this.#canary === 'names-unsynced' || (this.#canary === 'log-names-unsynced' && path.endsWith('/log'))) return;
    super.syncDirectory(path);
  }

  override syncAll(directory: string): void {
    if (this.#canary !== 'sync-nothing' && this.#canary !== 'files-unsynced') super.syncAll(directory);
  }

  override async syncAllAsync(directory: string): Promise<void> {
    if (this.#canary !== 'sync-nothing' && this.#canary !== 'files-unsynced') await super.syncAllAsync(directory);
  }

  override openWindow(): Window {
    const window = super.openWindow();
    if (this.#canary === 'tail-lost') {
      window.mapShared = (at, length, file, offset) => {
        if (this.options.sharedMapping) window.mapPrivate(at, length, file, offset);
        return this.options.sharedMapping;
      };
    }
    return window;
  }
}

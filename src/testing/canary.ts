/**
 * Hosts with a known bug. The simulation must find each of them, or it would not find a like bug of ours.
 *
 *   sync-nothing     a sync returns and has done nothing
 *   log-unsynced     only the log's syncs do nothing: objects are written before the log that would repair them is durable
 *   names-unsynced   syncs of directories do nothing
 *   torn-acknowledge a durable write is acknowledged before it is durable
 */
import type { File, OpenMode } from '../host/host.ts';
import { SimulatedHost, type SimulatedOptions } from '../host/simulated/simulated.ts';

export const CANARIES = ['sync-nothing', 'log-unsynced', 'names-unsynced', 'torn-acknowledge'] as const;
export type Canary = (typeof CANARIES)[number];

export class CanaryHost extends SimulatedHost {
  readonly #canary: Canary;
  readonly #logs = new Set<File>();

  constructor(options: SimulatedOptions, canary: Canary) {
    super(options);
    this.#canary = canary;
  }

  override open(path: string, mode: OpenMode): File {
    const file = super.open(path, this.#canary === 'torn-acknowledge' && mode === 'writeThrough' ? 'write' : mode);
    if (path.includes('/log/')) this.#logs.add(file);
    return file;
  }

  #forgets(file: File): boolean {
    return this.#canary === 'sync-nothing' || (this.#canary === 'log-unsynced' && this.#logs.has(file));
  }

  override sync(file: File): void {
    if (!this.#forgets(file)) super.sync(file);
  }

  override async syncAsync(file: File): Promise<void> {
    if (!this.#forgets(file)) await super.syncAsync(file);
  }

  override async writeThroughAsync(file: File, from: Uint8Array, offset: number): Promise<void> {
    if (this.#canary === 'torn-acknowledge' || this.#forgets(file)) this.write(file, from, offset);
    else await super.writeThroughAsync(file, from, offset);
  }

  override syncDirectory(path: string): void {
    if (this.#canary !== 'names-unsynced') super.syncDirectory(path);
  }

  override syncAll(directory: string): void {
    if (this.#canary === 'log-unsynced' || this.#canary === 'torn-acknowledge') super.syncAll(directory);
  }
}

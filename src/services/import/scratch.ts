/**
 * Scratch files of a space: what an import sorts outside memory. Nothing in them outlives the import, so they are plain files beside
 * the objects, outside the log; what a killed import left is removed by the next.
 */
import type { File, Host } from '../../host/host.ts';

export class Scratch {
  readonly #host: Host;
  readonly #prefix: string;
  readonly #files = new Map<string, File>();
  #next = 0;

  constructor(host: Host, directory: string) {
    this.#host = host;
    this.#prefix = `${directory}/scratch-`;
    for (const name of host.list(directory)) if (name.startsWith('scratch-')) host.remove(`${directory}/${name}`);
  }

  create(): ScratchFile {
    const path = `${this.#prefix}${this.#next++}`;
    const file = this.#host.open(path, 'create');
    this.#files.set(path, file);
    const drop = (): void => {
      if (!this.#files.delete(path)) return;
      this.#host.close(file);
      this.#host.remove(path);
    };
    return { write: (bytes, at) => this.#host.write(file, bytes, at), read: (into, at) => this.#host.read(file, into, at), drop };
  }

  /** Bytes are gone with this. */
  close(): void {
    for (const [path, file] of this.#files) {
      this.#host.close(file);
      this.#host.remove(path);
    }
    this.#files.clear();
  }
}

export interface ScratchFile {
  write(bytes: Uint8Array, at: number): void;
  read(into: Uint8Array, at: number): number;
  drop(): void;
}
